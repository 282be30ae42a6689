#include "run/prompt.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROMPT_SLICE_NS 100000ull /* the least that the kernel grants */
#define RESET_ON_FORK   1u        /* SCHED_FLAG_RESET_ON_FORK */

/* As the kernel defines it; libc has no name for it before 2.41. */
struct prompt_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

void prompt_thread(void)
{
    errno = 0;
    const int nice = getpriority(PRIO_PROCESS, (id_t)gettid()); /* -1 may be a niceness */
    if (errno || sched_getscheduler(0) != SCHED_OTHER)
        return; /* an operator's choice stands */
    const struct prompt_attr attr = {.size = sizeof attr,
                                     .policy = SCHED_OTHER,
                                     .flags = RESET_ON_FORK,
                                     .nice = nice,
                                     .runtime_ns = PROMPT_SLICE_NS};
    (void)syscall(SYS_sched_setattr, 0, &attr, 0u); /* older kernels, sandboxes: usual turns then */
}
