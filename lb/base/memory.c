#include "base/memory.h"

#include <stddef.h>
#include <stdio.h>

/* Of jemalloc, when it is linked; else NULL. */
extern int mallctl(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes)
    __attribute__((weak));

void memory_decay(void)
{
    unsigned arena;
    size_t n = sizeof arena;
    char name[48];
    if (!mallctl || mallctl("thread.arena", &arena, &n, NULL, 0) != 0)
        return;
    snprintf(name, sizeof name, "arena.%u.decay", arena);
    (void)mallctl(name, NULL, NULL, NULL, 0);
}
