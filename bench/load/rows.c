/* rows: what each worker of a running proxy has counted, read from its ledger.
 *
 *   rows PID
 *
 * PID is the proxy or the master: whoever holds the segment open. One line of JSON: an object a worker with
 * sessions, accepted connections, and the time integral of requests being served (request seconds, all
 * clusters). */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ledger.h"

#define CLUSTERS_LOOKED_AT 64

/* The first ledger segment among the descriptors of the process. */
static bool find(const char *pid, struct ledger *l)
{
    char folder[64], path[400], target[256];
    snprintf(folder, sizeof(folder), "/proc/%s/fd", pid);
    DIR *d = opendir(folder);
    struct dirent *entry;
    bool found = false;
    while (d != NULL && !found && (entry = readdir(d)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        target[n < 0 ? 0 : n] = '\0';
        if (strstr(target, "memfd:coxswain-ledger") == NULL)
            continue;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        found = fd >= 0 && ledger_open(l, fd, false);
        if (fd >= 0)
            close(fd);
    }
    if (d != NULL)
        closedir(d);
    return found;
}

static double served_s(const struct ledger *l, uint32_t worker)
{
    const struct ledger_header *h = l->header;
    const char *row = (const char *)ledger_row(l, worker);
    uint64_t ns = 0;
    for (uint32_t i = 0; i < h->max_clusters && i < CLUSTERS_LOOKED_AT; i++) {
        const struct ledger_cluster *c =
            (const void *)(row + h->clusters_off + (uint64_t)i * h->cluster_bytes);
        ns += ledger_get(&c->integral_ns[LEDGER_SERVING]);
    }
    return (double)ns / 1e9;
}

int main(int argc, char **argv)
{
    struct ledger l;
    if (argc != 2 || !find(argv[1], &l)) {
        fprintf(stderr, "usage: rows PID (of a process that holds a ledger)\n");
        return 64;
    }
    printf("[");
    for (uint32_t w = 0; w < l.header->workers; w++) {
        const struct ledger_row *r = ledger_row(&l, w);
        printf("%s{\"sessions\": %llu, \"accepted\": %llu, \"served_s\": %.6f}", w > 0 ? ", " : "",
               (unsigned long long)ledger_get(&r->sessions), (unsigned long long)ledger_get(&r->accepted),
               served_s(&l, w));
    }
    puts("]");
    ledger_close(&l);
    return 0;
}
