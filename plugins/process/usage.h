/* usage: what a member takes of this machine: it and all that descends from it, as /proc has it. */
#ifndef PLUGIN_PROCESS_USAGE_H
#define PLUGIN_PROCESS_USAGE_H

#include <stdbool.h>
#include <stdint.h>

struct usage {
    uint64_t cpu_ns;       /* processor time ever, children that ended and were waited for included */
    uint64_t memory_bytes; /* resident: what each has for itself, and what they share once */
};

/* How many processes were looked at, at most a few hundred; 0: it is gone, or /proc does not tell. */
uint32_t usage_read(int64_t pid, struct usage *out);
/* Of this machine. */
uint64_t usage_machine_bytes(void);

#endif
