/* panic: the answer to our own bugs. Asserts stay compiled in.
 *
 * `must` is for start-up and the control plane, where running out of memory has no better answer than to end
 * this process (its parent restarts it). Workers use pools and arenas, which report failure instead. */
#ifndef COX_BASE_PANIC_H
#define COX_BASE_PANIC_H

#include <stddef.h>

/* Writes the message to standard error and the log, then aborts. Never returns. */
_Noreturn void panic(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define PANIC(...) panic(__FILE__, __LINE__, __VA_ARGS__)

#define ASSERT(cond)                                                                                         \
    do {                                                                                                     \
        if (__builtin_expect(!(cond), 0))                                                                    \
            panic(__FILE__, __LINE__, "assertion failed: %s", #cond);                                        \
    } while (0)

/* Objects that travel through a void pointer carry a magic number, checked where they turn back. */
#define CHECK_MAGIC(obj, value) ASSERT((obj) != NULL && (obj)->magic == (value))

/* The pointer itself, or the end of the process when it is NULL (out of memory). */
static inline void *must(void *p)
{
    ASSERT(p != NULL);
    return p;
}

#endif
