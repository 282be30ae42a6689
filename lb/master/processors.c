#include "master/processors.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

static struct str read_file(const char *path, char *to, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return STR_NULL;
    ssize_t n = read(fd, to, cap);
    close(fd);
    return n > 0 ? str_make(to, (size_t)n) : STR_NULL;
}

static int in_affinity_mask(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

/* cpu.max holds "QUOTA PERIOD" or "max PERIOD"; 0 when there is no quota. */
static int quota_of(const char *path)
{
    char text[64];
    struct str rest = read_file(path, text, sizeof text), item;
    uint64_t quota, period;
    if (!str_next(&rest, ' ', &item) || !str_to_u64(item, &quota) || !str_next(&rest, '\n', &item) ||
        !str_to_u64(item, &period) || period == 0)
        return 0;
    uint64_t n = (quota + period - 1) / period;
    return n > WORKERS_MAX ? WORKERS_MAX : (int)n;
}

/* The group's own file, and the root of the name space, which in a container is the container's group. */
static int in_cgroup_quota(void)
{
    char text[1024], path[1200];
    struct str groups = read_file("/proc/self/cgroup", text, sizeof text), line;
    int quota = 0;
    while (str_next(&groups, '\n', &line)) {
        if (!str_starts(line, STR("0::/")))
            continue;
        snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/cpu.max", (int)line.n - 3, line.p + 3);
        quota = quota_of(path);
    }
    int root = quota_of("/sys/fs/cgroup/cpu.max");
    if (root > 0 && (quota == 0 || root < quota))
        quota = root;
    return quota;
}

int processors_usable(void)
{
    int n = in_affinity_mask(), quota = in_cgroup_quota();
    if (quota > 0 && quota < n)
        n = quota;
    if (n < 1)
        n = 1;
    return n > WORKERS_MAX ? WORKERS_MAX : n;
}
