#include "admin/top.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "admin/survey.h"
#include "base/clock.h"
#include "base/panic.h"

enum { ASK_SECONDS = 10, REFRESH_MS = 1000, NAME_BYTES = 40, LINE_BYTES = 512 };

/* What the last look found: differences are rates. By slot; a cluster keeps its slot for life. */
struct past_cluster {
    uint32_t slot;
    struct ledger_cluster_sum sum;
    uint64_t hist[LEDGER_HIST_BUCKETS];
};

struct past_endpoint {
    uint32_t slot;
    uint64_t requests, failures;
};

struct memory {
    uint64_t at_ns, accepted;      /* at_ns 0: nothing yet */
    struct past_cluster *clusters; /* owned; as the topology was ordered */
    struct past_endpoint *endpoints;
    size_t cluster_count, endpoint_count;
};

struct top {
    bool is_terminal;
    struct termios before;
    unsigned rows, columns, row; /* of the screen; row: lines printed */
    struct memory last, next;
    double seconds; /* between them */
};

/* ---- the screen ---- */

static void screen_size(struct top *t)
{
    struct winsize size;
    t->rows = 1000;
    t->columns = 120;
    if (t->is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col) {
        t->rows = size.ws_row;
        t->columns = size.ws_col;
    }
}

static void screen_open(struct top *t)
{
    t->is_terminal =
        isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && tcgetattr(STDIN_FILENO, &t->before) == 0;
    if (!t->is_terminal)
        return;
    struct termios raw = t->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG); /* ctrl-C comes as a key, so that we leave in order */
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    printf("\033[?1049h\033[?25l"); /* the other screen, no cursor */
}

static void screen_close(struct top *t)
{
    if (!t->is_terminal)
        return;
    printf("\033[?25h\033[?1049l");
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
}

/* One line, cut to the screen. bold: a heading. */
static void put_line(struct top *t, bool bold, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void put_line(struct top *t, bool bold, const char *fmt, ...)
{
    char line[LINE_BYTES];
    va_list ap;
    if (t->row + 1 >= t->rows)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    t->row++;
    if (t->is_terminal)
        printf("%s%.*s%s\033[K\r\n", bold ? "\033[1m" : "", (int)t->columns, line, bold ? "\033[0m" : "");
    else
        printf("%s\n", line);
}

/* Names come from elsewhere: nothing that a terminal would obey; the end of a long one says more. */
static const char *name(struct str s, char to[NAME_BYTES], size_t width)
{
    if (s.n > width)
        s = str_make(s.p + s.n - width, width);
    for (size_t i = 0; i < s.n; i++)
        to[i] = s.p[i] >= 0x20 && s.p[i] < 0x7f ? s.p[i] : '?';
    to[s.n] = 0;
    return to;
}

/* True when the user wants to leave. */
static bool wait_for_key(const struct top *t)
{
    struct pollfd p = {.fd = t->is_terminal ? STDIN_FILENO : -1, .events = POLLIN};
    char key;
    if (poll(&p, 1, REFRESH_MS) <= 0)
        return false;
    return read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q' || key == 3 || key == 4;
}

/* ---- remembering ---- */

static void memory_fini(struct memory *m)
{
    free(m->clusters);
    free(m->endpoints);
    *m = (struct memory){0};
}

static void remember(struct memory *m, const struct survey *v)
{
    const struct topology *t = v->topology;
    size_t endpoints = 0, at = 0;
    struct survey_rows rows;
    for (uint32_t i = 0; i < t->cluster_count; i++)
        endpoints += t->clusters[i]->endpoint_count;
    survey_rows(v, &rows);
    *m = (struct memory){.at_ns = v->now_ns,
                         .accepted = rows.accepted,
                         .clusters = must(calloc(t->cluster_count + 1, sizeof *m->clusters)),
                         .endpoints = must(calloc(endpoints + 1, sizeof *m->endpoints)),
                         .cluster_count = t->cluster_count,
                         .endpoint_count = endpoints};
    for (uint32_t i = 0; i < t->cluster_count; i++) {
        const struct cluster *c = t->clusters[i];
        m->clusters[i].slot = c->slot;
        survey_cluster(v, c->slot, &m->clusters[i].sum);
        if (m->clusters[i].sum.completed)
            survey_hist(v, c->slot, m->clusters[i].hist);
        for (uint32_t k = 0; k < c->endpoint_count; k++) {
            struct ledger_endpoint_sum sum;
            survey_endpoint(v, c->endpoints[k].slot, &sum);
            m->endpoints[at++] = (struct past_endpoint){c->endpoints[k].slot, sum.requests,
                                                        sum.connect_failures + sum.other_failures};
        }
    }
}

static const struct past_cluster *last_cluster(const struct memory *m, size_t hint, uint32_t slot)
{
    if (hint < m->cluster_count && m->clusters[hint].slot == slot)
        return &m->clusters[hint];
    for (size_t i = 0; i < m->cluster_count; i++)
        if (m->clusters[i].slot == slot)
            return &m->clusters[i];
    return NULL;
}

static const struct past_endpoint *last_endpoint(const struct memory *m, size_t hint, uint32_t slot)
{
    if (hint < m->endpoint_count && m->endpoints[hint].slot == slot)
        return &m->endpoints[hint];
    for (size_t i = 0; i < m->endpoint_count; i++)
        if (m->endpoints[i].slot == slot)
            return &m->endpoints[i];
    return NULL;
}

/* ---- showing ---- */

static double rate(const struct top *t, uint64_t now, uint64_t before)
{
    return now > before ? (double)(now - before) / t->seconds : 0;
}

static uint64_t failures(const struct ledger_cluster_sum *s)
{
    uint64_t sum = 0;
    for (int i = 0; i < LEDGER_FAILURES; i++)
        sum += s->failures[i];
    return sum;
}

static void show_cluster(struct top *t, const struct cluster *c, const struct past_cluster *now,
                         const struct past_cluster *before)
{
    uint64_t hist[LEDGER_HIST_BUCKETS];
    char text[NAME_BYTES];
    const struct ledger_cluster_sum *s = &now->sum, *b = before ? &before->sum : s;
    const uint64_t *from = before ? before->hist : now->hist;
    for (int i = 0; i < LEDGER_HIST_BUCKETS; i++)
        hist[i] = now->hist[i] > from[i] ? now->hist[i] - from[i] : 0;
    put_line(t, false,
             "%-28s %9.0f %6" PRIu64 " %7" PRIu64 " %6" PRIu64 " %6" PRIu64 " %8.2f %8.2f %7.0f %7.0f %7.0f",
             name(c->id, text, 28), rate(t, s->completed, b->completed), s->count[LEDGER_HELD],
             s->count[LEDGER_SERVING], s->count[LEDGER_FINISHING], s->count[LEDGER_TUNNEL],
             (double)ledger_hist_quantile(hist, 0.5) / 1e6, (double)ledger_hist_quantile(hist, 0.99) / 1e6,
             rate(t, s->status_class[4], b->status_class[4]), rate(t, s->status_class[5], b->status_class[5]),
             rate(t, failures(s), failures(b)));
}

static void show_clusters(struct top *t, const struct survey *v)
{
    put_line(t, false, " ");
    put_line(t, true, "%-28s %9s %6s %7s %6s %6s %8s %8s %7s %7s %7s", "CLUSTER", "REQ/S", "HELD", "SERVING",
             "FINISH", "TUNNEL", "P50 MS", "P99 MS", "4XX/S", "5XX/S", "FAIL/S");
    for (uint32_t i = 0; i < v->topology->cluster_count; i++)
        show_cluster(t, v->topology->clusters[i], &t->next.clusters[i],
                     last_cluster(&t->last, i, t->next.clusters[i].slot));
}

static void show_endpoint(struct top *t, const struct survey *v, const struct cluster *c,
                          const struct endpoint *e, size_t at)
{
    char id[NAME_BYTES], cluster[NAME_BYTES];
    struct ledger_endpoint_sum sum;
    const struct past_endpoint *now = &t->next.endpoints[at], *before = last_endpoint(&t->last, at, e->slot);
    survey_endpoint(v, e->slot, &sum);
    put_line(t, false, "%-28s %-28s %9.0f %8" PRIu64 " %6" PRIu64 " %7.0f  %-9s %-7s %s",
             name(endpoint_id(e), id, 28), name(c->id, cluster, 28),
             rate(t, now->requests, before ? before->requests : now->requests), sum.attempts, sum.tunnels,
             rate(t, now->failures, before ? before->failures : now->failures), survey_service(e->service),
             survey_health(e->health), endpoint_member(e).n ? survey_member_state(e->member_state) : "-");
}

static void show_endpoints(struct top *t, const struct survey *v)
{
    size_t at = 0;
    put_line(t, false, " ");
    put_line(t, true, "%-28s %-28s %9s %8s %6s %7s  %-9s %-7s %s", "ENDPOINT", "CLUSTER", "REQ/S", "INFLIGHT",
             "TUNNEL", "FAIL/S", "SERVICE", "HEALTH", "MEMBER");
    for (uint32_t i = 0; i < v->topology->cluster_count; i++) {
        const struct cluster *c = v->topology->clusters[i];
        for (uint32_t k = 0; k < c->endpoint_count; k++)
            show_endpoint(t, v, c, &c->endpoints[k], at++);
    }
}

static void show_top(struct top *t, const struct survey *v)
{
    struct survey_rows r;
    char text[NAME_BYTES];
    int generations = v->ledger_count + v->unreadable_count;
    survey_rows(v, &r);
    put_line(t, true, "coxswain %s, %s, %d generation%s, topology %" PRIu64 "%s", name(v->version, text, 20),
             str_eq(v->state, STR("running")) ? "running" : "stopping", generations,
             generations == 1 ? "" : "s", v->topology->number, t->is_terminal ? "   (q: quit)" : "");
    put_line(t, false,
             "clients %" PRIu64 ", %.0f accepted/s; server connections %" PRIu64
             "; members %u; lines of the log lost %" PRIu64,
             r.sessions, rate(t, r.accepted, t->last.accepted), r.uplinks, v->topology->member_count,
             r.log_dropped);
    show_clusters(t, v);
    show_endpoints(t, v);
}

static void show(struct top *t, const struct survey *v)
{
    t->row = 0;
    screen_size(t);
    remember(&t->next, v);
    if (t->last.at_ns) {
        t->seconds = (double)(t->next.at_ns - t->last.at_ns) / (double)NS_PER_S;
        if (t->is_terminal)
            printf("\033[H");
        show_top(t, v);
        if (t->is_terminal)
            printf("\033[J");
        fflush(stdout);
    }
    memory_fini(&t->last);
    t->last = t->next;
    t->next = (struct memory){0};
}

/* One question to the master. */
static bool look(struct top *t, const char *socket_path)
{
    struct client c;
    struct survey v;
    bool ok = client_open(&c, socket_path) && client_ask(&c, "status", ASK_SECONDS) && c.ok;
    if (ok) {
        survey_init(&v, &c);
        ok = v.topology != NULL;
        if (ok)
            show(t, &v);
        survey_fini(&v);
    }
    int why = errno;
    client_close(&c);
    errno = why;
    return ok;
}

bool top_run(const char *socket_path)
{
    struct top t = {.rows = 0};
    errno = 0;
    bool ok = look(&t, socket_path), leave = false;
    if (ok)
        screen_open(&t);
    while (ok && !leave) {
        leave = wait_for_key(&t) || !t.is_terminal;
        if (!leave || !t.is_terminal)
            ok = look(&t, socket_path);
    }
    screen_close(&t);
    if (!ok)
        fprintf(stderr, "coxctl: no answer from coxswain at %s%s%s\n", socket_path, errno ? ": " : "",
                errno ? strerror(errno) : "");
    memory_fini(&t.last);
    return ok;
}
