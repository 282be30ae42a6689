#include "run/stall.h"

#include <string.h>
#include <sys/mman.h>

enum { WORDS = STALL_NAME_BYTES / 8 };

struct stall *stall_create(void)
{
    void *at = mmap(NULL, sizeof(struct stall), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

void stall_leave(struct stall *s)
{
    if (s)
        atomic_store_explicit(&s->since_ns, 0, memory_order_release);
}

void stall_enter(struct stall *s, const char *name, uint64_t since_ns)
{
    uint64_t words[WORDS] = {0};
    if (!s)
        return;
    stall_leave(s); /* nobody may take the new name for the old call's */
    memcpy(words, name, strnlen(name, sizeof words - 1));
    for (int i = 0; i < WORDS; i++)
        atomic_store_explicit(&s->name[i], words[i], memory_order_relaxed);
    atomic_store_explicit(&s->since_ns, since_ns, memory_order_release);
}

bool stall_look(const struct stall *s, uint64_t *out_since_ns, char out_name[STALL_NAME_BYTES])
{
    uint64_t words[WORDS];
    uint64_t since = s ? atomic_load_explicit(&s->since_ns, memory_order_acquire) : 0;
    if (!since)
        return false;
    for (int i = 0; i < WORDS; i++)
        words[i] = atomic_load_explicit(&s->name[i], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&s->since_ns, memory_order_relaxed) != since)
        return false; /* that call has just ended */
    memcpy(out_name, words, sizeof words);
    out_name[STALL_NAME_BYTES - 1] = 0;
    *out_since_ns = since;
    return true;
}
