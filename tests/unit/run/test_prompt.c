/* A thread that asks for short turns has them, keeps its niceness, and hands them on to nobody. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <cmocka.h>

#include "run/prompt.h"

#define NICENESS 3

struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

/* What was seen in threads; looked at in main, where a failure can be told. */
struct seen {
    struct attr before, mine, childs;
};

static struct attr attr_of_me(void)
{
    struct attr a;
    memset(&a, 0, sizeof a);
    if (syscall(SYS_sched_getattr, 0, &a, (unsigned)sizeof a, 0u) != 0)
        a.policy = UINT32_MAX;
    return a;
}

static void *child_main(void *out)
{
    *(struct attr *)out = attr_of_me();
    return NULL;
}

static void *prompt_main(void *arg)
{
    struct seen *seen = arg;
    pthread_t child;
    seen->before = attr_of_me();
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS) != 0)
        return NULL;
    prompt_thread();
    seen->mine = attr_of_me();
    if (pthread_create(&child, NULL, child_main, &seen->childs) == 0)
        pthread_join(child, NULL);
    return NULL;
}

/* Slices of usual threads are taken and told since Linux 6.12. */
static int kernel_has_slices(void)
{
    struct utsname u;
    int major = 0, minor = 0;
    assert_int_equal(uname(&u), 0);
    assert_int_equal(sscanf(u.release, "%d.%d", &major, &minor), 2);
    return major > 6 || (major == 6 && minor >= 12);
}

static void short_turns_are_asked_for(void **state)
{
    struct seen seen = {.mine = {.policy = UINT32_MAX}, .childs = {.policy = UINT32_MAX}};
    pthread_t t;
    (void)state;
    assert_int_equal(pthread_create(&t, NULL, prompt_main, &seen), 0);
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(seen.mine.policy, SCHED_OTHER);
    assert_int_equal(seen.mine.nice, NICENESS);
    assert_int_equal(seen.childs.policy, SCHED_OTHER);
    if (!kernel_has_slices())
        return;
    assert_int_equal(seen.mine.runtime_ns, 100000);
    assert_int_equal(seen.childs.runtime_ns, seen.before.runtime_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(short_turns_are_asked_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
