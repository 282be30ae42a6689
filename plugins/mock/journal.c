/* The journal: what a platform would know of its members. One line an event, each written in one piece before
 * it is told, so that a plugin that is killed at any moment finds exactly what it had done:
 *
 *   asked ID NS                                                 when it was ordered, by the monotonic clock
 *   start ID SET PARTITION NETWORK RUN_AT DIE_AT NAME=ADDRESS …    times in ms by the wall clock, 0: never
 *   stop ID GONE_AT
 *   gone ID
 *
 * "-" stands for an empty text. A file of more than a MiB is written anew with those that live. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mock.h"

#define COMPACT_BYTES (1u << 20)

static bool append(int fd, const char *line, int n)
{
    return fd < 0 || (n > 0 && n < LINE_BYTES && write(fd, line, (size_t)n) == n);
}

static const char *dash(const char *text)
{
    return *text ? text : "-";
}

static int print_start(const struct member *m, char line[LINE_BYTES])
{
    int n = snprintf(line, LINE_BYTES, "start %s %s %s %s %" PRIu64 " %" PRIu64, m->id, dash(m->set),
                     dash(m->partition), dash(m->network), m->run_at_ms, m->die_at_ms);
    for (uint32_t i = 0; i < m->port_count && n > 0 && n < LINE_BYTES; i++)
        n += snprintf(line + n, (size_t)(LINE_BYTES - n), " %s=%s", m->ports[i].name, m->ports[i].text);
    return n > 0 && n < LINE_BYTES ? n + snprintf(line + n, (size_t)(LINE_BYTES - n), "\n") : n;
}

void journal_asked(struct instance *p, const char *id)
{
    char line[LINE_BYTES];
    (void)append(p->journal, line,
                 snprintf(line, sizeof line, "asked %s %" PRIu64 "\n", id, p->host->now_ns(p->host)));
}

bool journal_start(struct instance *p, const struct member *m)
{
    char line[LINE_BYTES];
    return append(p->journal, line, print_start(m, line));
}

bool journal_stop(struct instance *p, const struct member *m)
{
    char line[LINE_BYTES];
    return append(p->journal, line,
                  snprintf(line, sizeof line, "stop %s %" PRIu64 "\n", m->id, m->gone_at_ms));
}

void journal_gone(struct instance *p, const struct member *m)
{
    char line[LINE_BYTES];
    if (!append(p->journal, line, snprintf(line, sizeof line, "gone %s\n", m->id)))
        cox_log(p->host, COX_LOG_ERROR, "cannot write the state: %s", strerror(errno));
}

/* ---- reading ---- */

static char *word(char **rest)
{
    char *w = strsep(rest, " \n");
    return w ? w : (char *)(uintptr_t) "";
}

static uint64_t number(char **rest)
{
    return strtoull(word(rest), NULL, 10);
}

static const char *text_of(const char *w)
{
    return strcmp(w, "-") == 0 ? "" : w;
}

static void read_start(struct instance *p, char *rest)
{
    const char *id = word(&rest), *set = text_of(word(&rest)), *partition = text_of(word(&rest)),
               *network = text_of(word(&rest));
    struct member *m =
        *id && !people_find(&p->people, id) ? people_add(&p->people, id, set, partition, network) : NULL;
    if (!m)
        return;
    m->instance = p;
    m->run_at_ms = number(&rest);
    m->die_at_ms = number(&rest);
    for (char *port; *(port = word(&rest)) && m->port_count < PORTS_MAX;) {
        char *address = strchr(port, '=');
        if (!address)
            continue;
        *address++ = 0;
        struct port *to = &m->ports[m->port_count];
        *to = (struct port){.name = strdup(port), .text = strdup(address)};
        if (!to->name || !to->text) {
            free(to->name);
            free(to->text);
            return;
        }
        to->address = script_claim_address(&p->script, address);
        m->port_count++;
    }
}

static void read_line(struct instance *p, char *line)
{
    char *rest = line;
    const char *what = word(&rest);
    if (strcmp(what, "start") == 0) {
        read_start(p, rest);
        return;
    }
    struct member *m = people_find(&p->people, word(&rest));
    if (!m)
        return;
    if (strcmp(what, "stop") == 0)
        m->gone_at_ms = number(&rest);
    else if (strcmp(what, "gone") == 0) {
        for (uint32_t i = 0; i < m->port_count; i++)
            script_give_address(&p->script, m->ports[i].address);
        people_remove(&p->people, m);
    }
}

static void read_all(struct instance *p, FILE *f)
{
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, f))
        if (strchr(line, '\n')) /* else it was cut off in the middle: it was never told */
            read_line(p, line);
}

/* ---- opening ---- */

static bool complain(struct instance *p, const char *path)
{
    char why[512];
    (void)snprintf(why, sizeof why, "state: cannot use %.300s: %s", path, strerror(errno));
    p->host->error(p->host, why);
    return false;
}

static bool compact(struct instance *p, const char *path)
{
    char fresh[4096], line[LINE_BYTES];
    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
        return false;
    const int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0;
    uint32_t bucket = 0;
    for (struct member *m = people_next(&p->people, &bucket, NULL); ok && m;
         m = people_next(&p->people, &bucket, m)) {
        ok = append(fd, line, print_start(m, line));
        if (ok && m->gone_at_ms)
            ok = append(fd, line, snprintf(line, sizeof line, "stop %s %" PRIu64 "\n", m->id, m->gone_at_ms));
    }
    if (fd >= 0)
        close(fd);
    return ok && rename(fresh, path) == 0;
}

bool journal_open(struct instance *p, const char *path)
{
    struct stat st;
    p->journal = -1;
    if (!path || !*path)
        return true;
    FILE *f = fopen(path, "re");
    if (!f && errno != ENOENT)
        return complain(p, path);
    if (f) {
        const bool is_file = fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode);
        if (is_file)
            read_all(p, f);
        const bool is_large = is_file && st.st_size > (off_t)COMPACT_BYTES;
        fclose(f);
        if (is_large && !compact(p, path))
            return complain(p, path);
    }
    p->journal = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    return p->journal >= 0 || complain(p, path);
}

void journal_close(struct instance *p)
{
    if (p->journal >= 0)
        close(p->journal);
    p->journal = -1;
}
