/* One source, many plugins that are each wrong in one way, or well-behaved ones that tests can look into.
 * What it becomes is decided by BAD_KIND and BAD_NAME on the compiler's command line. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <coxswain/plugin.h>

#define KIND_GOOD     0
#define KIND_SYMBOL   1 /* exports nothing */
#define KIND_ABI      2
#define KIND_SHORT    3
#define KIND_NAME     4
#define KIND_OPEN     5 /* open fails */
#define KIND_STALL    6 /* start takes 30 ms */
#define KIND_ROLE     7 /* an actuator without functions */
#define KIND_SCHEMA   8
#define KIND_LEFTOVER 9  /* leaves timers behind */
#define KIND_CRASH    10 /* dies 300 ms after its start, every time: for the wire tests */
#define KIND_HANG     12 /* does not come back from a timer, 200 ms after its start: for the wire tests */
#define KIND_LEAK     11 /* takes 64 MiB every 10 ms and never gives them back: for the wire tests */

#if BAD_KIND == KIND_SYMBOL
COX_EXPORT int something_else;
#else

static const struct cox_option options[] = {
    {.size = sizeof(struct cox_option),
     .type = BAD_KIND == KIND_SCHEMA ? 77 : COX_OPTION_INT,
     .key = "count",
     .def = "3",
     .min = 1,
     .max = 10,
     .help = "how many"},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_DURATION,
     .key = "pause",
     .def = "1s",
     .help = "how long"},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_ENUM,
     .key = "mode",
     .words = "slow fast",
     .def = "slow",
     .help = "which"},
};

static int32_t bad_open(const struct cox_host *host, const struct cox_open *args, void **out)
{
    (void)args;
    if (BAD_KIND == KIND_OPEN) {
        host->error(host, "the moon is in the wrong phase");
        return COX_FAILED;
    }
    *out = (void *)(uintptr_t)host;
    return COX_OK;
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static void on_crash(void *ctx)
{
    (void)ctx;
    raise(SIGSEGV);
}

static void on_hang(void *ctx)
{
    (void)ctx;
    for (;;)
        pause();
}

static void on_leak(void *ctx)
{
    const size_t bytes = 64u << 20;
    void **block = malloc(bytes);
    if (!block)
        return;
    memset(block, 1, bytes);
    *block = *(void **)ctx; /* a chain, so that the compiler cannot leave it out */
    *(void **)ctx = block;
}

static int32_t bad_start(void *instance)
{
    const struct cox_host *host = instance;
    if (BAD_KIND == KIND_STALL)
        nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    if (BAD_KIND == KIND_LEFTOVER)
        (void)host->timer_start(host, 3600000, 0, on_nothing, NULL);
    if (BAD_KIND == KIND_CRASH)
        (void)host->timer_start(host, 300, 0, on_crash, NULL);
    if (BAD_KIND == KIND_HANG)
        (void)host->timer_start(host, 200, 0, on_hang, NULL);
    static void *leaked;
    if (BAD_KIND == KIND_LEAK)
        (void)host->timer_start(host, 10, 10, on_leak, &leaked);
    return COX_OK;
}

static void bad_stop(void *instance)
{
    (void)instance;
}

static const struct cox_actuator actuator = {.size = sizeof actuator, .granularity = COX_GRANULARITY_MEMBER};
static const struct cox_discovery discovery = {.size = sizeof discovery};

COX_EXPORT const struct cox_plugin cox_plugin = {
    .size = BAD_KIND == KIND_SHORT ? 24 : sizeof cox_plugin,
    .abi = BAD_KIND == KIND_ABI ? COX_ABI + 1 : COX_ABI,
    .name = BAD_KIND == KIND_NAME ? "somebody" : BAD_NAME,
    .summary = "for tests",
    .options = COX_ARRAY(options),
    .open = bad_open,
    .start = bad_start,
    .stop = bad_stop,
    .close = bad_stop,
    .actuator = BAD_KIND == KIND_ROLE ? &actuator : NULL,
    .discovery = BAD_KIND == KIND_GOOD ? &discovery : NULL,
};
#endif
