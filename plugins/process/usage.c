#include "usage.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROCESSES_MAX 256u
#define FILE_BYTES    4096u

/* Bytes, with a 0 behind them; 0: it cannot be read. */
static size_t read_file(int64_t pid, const char *name, char text[FILE_BYTES])
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%" PRId64 "/%s", pid, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    const ssize_t n = read(fd, text, FILE_BYTES - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

/* utime, stime, cutime and cstime of proc(5), in ticks. The name before them may hold anything but ends with
 * the last parenthesis. */
static bool read_ticks(int64_t pid, uint64_t *out_ticks)
{
    char text[FILE_BYTES];
    uint64_t own, kernel;
    int64_t children, children_kernel;
    const char *after = read_file(pid, "stat", text) ? strrchr(text, ')') : NULL;
    if (!after ||
        sscanf(after + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %" SCNd64 " %" SCNd64,
               &own, &kernel, &children, &children_kernel) != 4)
        return false;
    *out_ticks = own + kernel + (uint64_t)children + (uint64_t)children_kernel;
    return true;
}

/* Pages that only this one has, and pages of files and shared memory. */
static void read_pages(int64_t pid, uint64_t *out_own, uint64_t *out_shared)
{
    char text[FILE_BYTES];
    uint64_t resident = 0, shared = 0;
    if (read_file(pid, "statm", text))
        (void)sscanf(text, "%*u %" SCNu64 " %" SCNu64, &resident, &shared);
    *out_own = resident > shared ? resident - shared : 0;
    *out_shared = shared;
}

static uint32_t add_children(int64_t pid, int64_t *pids, uint32_t count)
{
    char name[64], text[FILE_BYTES];
    (void)snprintf(name, sizeof name, "task/%" PRId64 "/children", pid);
    const size_t n = read_file(pid, name, text);
    /* A number that the buffer cuts off is left out. */
    for (char *at = text, *end; n && count < PROCESSES_MAX; at = end) {
        const int64_t child = strtoll(at, &end, 10);
        if (end == at || *end != ' ')
            break;
        pids[count++] = child;
    }
    return count;
}

uint32_t usage_read(int64_t pid, struct usage *out)
{
    int64_t pids[PROCESSES_MAX] = {pid};
    uint64_t ticks = 0, own = 0, most_shared = 0;
    uint32_t count = 1;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t one_ticks, one_own, one_shared;
        if (!read_ticks(pids[i], &one_ticks)) {
            if (i == 0)
                return 0;
            continue; /* it ended meanwhile */
        }
        read_pages(pids[i], &one_own, &one_shared);
        ticks += one_ticks;
        own += one_own;
        most_shared = one_shared > most_shared ? one_shared : most_shared;
        count = add_children(pids[i], pids, count);
    }
    *out = (struct usage){.cpu_ns = ticks * (1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK)),
                          .memory_bytes = (own + most_shared) * (uint64_t)sysconf(_SC_PAGESIZE)};
    return count;
}

uint64_t usage_machine_bytes(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}
