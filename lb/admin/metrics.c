#include "admin/metrics.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/panic.h"

static void family(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP coxswain_%s %s\n# TYPE coxswain_%s %s\n", name, help, name, type);
}

/* A hundred thousand endpoints make a million lines, on the loop of the orchestrator: printf is not for
 * these. */
static void put_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

static void put_number(struct buf *b, uint64_t v, int digits_min)
{
    char text[24];
    size_t at = sizeof text;
    for (; v || digits_min > 0; v /= 10, digits_min--)
        text[--at] = (char)('0' + v % 10);
    buf_put(b, text + at, sizeof text - at);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_escaped(struct buf *b, struct str s)
{
    for (size_t i = 0, from = 0; i <= s.n; i++) {
        if (i < s.n && is_plain((unsigned char)s.p[i]))
            continue;
        buf_put(b, s.p + from, i - from);
        from = i + 1;
        if (i == s.n)
            return;
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (c == '\n')
            put_text(b, "\\n");
        else
            buf_printf(b, "\\\\x%02x", c);
    }
}

/* name{cluster="id", left open for more. */
static void open_cluster(struct buf *b, const char *name, const struct cluster *c)
{
    put_text(b, "coxswain_");
    put_text(b, name);
    put_text(b, "{cluster=\"");
    put_escaped(b, c->id);
    put_text(b, "\"");
}

static void open_endpoint(struct buf *b, const char *name, const struct cluster *c, const struct endpoint *e)
{
    open_cluster(b, name, c);
    put_text(b, ",endpoint=\"");
    put_escaped(b, e->id);
    put_text(b, "\"");
}

static void close_number(struct buf *b, uint64_t v)
{
    put_text(b, "} ");
    put_number(b, v, 1);
    put_text(b, "\n");
}

static void close_seconds(struct buf *b, uint64_t ns)
{
    put_text(b, "} ");
    put_number(b, ns / NS_PER_S, 1);
    put_text(b, ".");
    put_number(b, ns % NS_PER_S, 9);
    put_text(b, "\n");
}

static uint64_t word_at(const void *sum, size_t offset)
{
    return *(const uint64_t *)(const void *)((const char *)sum + offset);
}

/* ---- the program and its generations ---- */

static void put_program(const struct survey *v, const char *version, struct buf *b)
{
    family(b, "build_info", "gauge", "Version of the program; always 1.");
    buf_printf(b, "coxswain_build_info{version=\"");
    put_escaped(b, str_of(version));
    buf_printf(b, "\"");
    close_number(b, 1);
    family(b, "topology_clusters", "gauge", "Clusters of the topology that is served.");
    buf_printf(b, "coxswain_topology_clusters %u\n", v->topology ? v->topology->cluster_count : 0);
    family(b, "topology_number", "gauge", "Number of the topology that is served; grows with every change.");
    buf_printf(b, "coxswain_topology_number %llu\n",
               v->topology ? (unsigned long long)v->topology->number : 0);
    family(b, "ledgers_unreadable", "gauge",
           "Generations whose counters this version cannot read; they are missing in all sums.");
    buf_printf(b, "coxswain_ledgers_unreadable %d\n", v->unreadable_count);
    family(b, "generation_info", "gauge",
           "Living generations of the proxy; always 1. The highest serves, the others drain.");
    for (int i = 0; i < v->ledger_count; i++)
        buf_printf(b, "coxswain_generation_info{generation=\"%llu\"} 1\n",
                   (unsigned long long)v->generations[i]);
}

/* With the generation as a label: these counts end with it, and a sum without the label would run backwards.
 */
static void put_rows(const struct survey *v, struct buf *b)
{
    static const struct {
        const char *name, *type, *help;
        size_t at;
    } rows[] = {
        {"sessions", "gauge", "Client connections now.", offsetof(struct survey_rows, sessions)},
        {"uplinks", "gauge", "Server connections now, idle ones too.", offsetof(struct survey_rows, uplinks)},
        {"accepted_total", "counter", "Client connections accepted.", offsetof(struct survey_rows, accepted)},
        {"unrouted_total", "counter", "Requests answered before a cluster was known.",
         offsetof(struct survey_rows, unrouted)},
        {"access_log_dropped_lines_total", "counter", "Lines of the access log that were lost.",
         offsetof(struct survey_rows, log_dropped)},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        family(b, rows[k].name, rows[k].type, rows[k].help);
        for (int i = 0; i < v->ledger_count; i++) {
            struct survey_rows sum = {0};
            survey_add_rows(&v->ledgers[i], &sum);
            buf_printf(b, "coxswain_%s{generation=\"%llu\"", rows[k].name,
                       (unsigned long long)v->generations[i]);
            close_number(b, word_at(&sum, rows[k].at));
        }
    }
}

/* ---- clusters ---- */

/* All sums are taken before a line is written: a format that wants one family after the other must not cost a
 * walk through the ledger for each. */
struct sums {
    const struct topology *topology;       /* borrowed */
    struct ledger_cluster_sum *clusters;   /* owned; in the order of the topology */
    struct ledger_endpoint_sum *endpoints; /* owned; likewise, cluster after cluster */
};

static void sums_init(struct sums *s, const struct survey *v)
{
    const struct topology *t = v->topology;
    size_t count = 0, at = 0;
    for (uint32_t i = 0; i < t->cluster_count; i++)
        count += t->clusters[i]->endpoint_count;
    *s = (struct sums){.topology = t,
                       .clusters = must(calloc(t->cluster_count + 1, sizeof *s->clusters)),
                       .endpoints = must(calloc(count + 1, sizeof *s->endpoints))};
    for (uint32_t i = 0; i < t->cluster_count; i++) {
        const struct cluster *c = t->clusters[i];
        survey_cluster(v, c->slot, &s->clusters[i]);
        for (uint32_t k = 0; k < c->endpoint_count; k++)
            survey_endpoint(v, c->endpoints[k].slot, &s->endpoints[at++]);
    }
}

static void sums_fini(struct sums *s)
{
    free(s->clusters);
    free(s->endpoints);
}

struct plain {
    const char *name, *help;
    size_t at;
};

static void put_cluster_counters(const struct sums *s, struct buf *b)
{
    static const struct plain rows[] = {
        {"cluster_arrivals_total", "Requests routed to the cluster.",
         offsetof(struct ledger_cluster_sum, requests)},
        {"cluster_retries_total", "Further attempts after a failed one.",
         offsetof(struct ledger_cluster_sum, retries)},
        {"cluster_received_bytes_total", "Bytes from clients.",
         offsetof(struct ledger_cluster_sum, rx_bytes)},
        {"cluster_sent_bytes_total", "Bytes to clients.", offsetof(struct ledger_cluster_sum, tx_bytes)},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        family(b, rows[k].name, "counter", rows[k].help);
        for (uint32_t i = 0; i < s->topology->cluster_count; i++) {
            open_cluster(b, rows[k].name, s->topology->clusters[i]);
            close_number(b, word_at(&s->clusters[i], rows[k].at));
        }
    }
}

static void put_label(struct buf *b, const char *label, const char *value)
{
    put_text(b, ",");
    put_text(b, label);
    put_text(b, "=\"");
    put_text(b, value);
    put_text(b, "\"");
}

/* One family whose series differ in a label with fixed words. */
struct labelled {
    const char *name, *type, *help, *label;
    const char *const *words;
    int count;
    size_t at;
    bool in_seconds;
};

static void put_cluster_labelled(const struct sums *s, const struct labelled *f, struct buf *b)
{
    family(b, f->name, f->type, f->help);
    for (uint32_t i = 0; i < s->topology->cluster_count; i++)
        for (int k = 0; k < f->count; k++) {
            uint64_t value = word_at(&s->clusters[i], f->at + (size_t)k * sizeof(uint64_t));
            open_cluster(b, f->name, s->topology->clusters[i]);
            put_label(b, f->label, f->words[k]);
            if (f->in_seconds)
                close_seconds(b, value);
            else
                close_number(b, value);
        }
}

static void put_clusters(const struct sums *s, struct buf *b)
{
    const struct labelled rows[] = {
        {"cluster_requests_total", "counter",
         "Requests that ended, by class of the status sent; none: no answer was sent.", "class",
         survey_classes, 6, offsetof(struct ledger_cluster_sum, status_class), false},
        {"cluster_failures_total", "counter", "Requests that failed, by where.", "reason", survey_failures,
         LEDGER_FAILURES, offsetof(struct ledger_cluster_sum, failures), false},
        {"cluster_in_flight", "gauge",
         "Requests in flight; held ones wait for an endpoint, of finishing ones only the client still reads.",
         "state", survey_counts, LEDGER_COUNTS, offsetof(struct ledger_cluster_sum, count), false},
        {"cluster_in_flight_seconds_total", "counter",
         "Time integral of the requests in flight: its rate is their exact average.", "state", survey_counts,
         LEDGER_COUNTS, offsetof(struct ledger_cluster_sum, integral_ns), true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        put_cluster_labelled(s, &rows[i], b);
    put_cluster_counters(s, b);
}

static void put_histogram(const struct cluster *c, const uint64_t *buckets, uint64_t sum_ns, struct buf *b)
{
    static const char name[] = "cluster_request_duration_seconds";
    uint64_t seen = 0;
    uint32_t at = 0;
    for (int bit = METRICS_LE_FIRST; bit <= METRICS_LE_LAST; bit++) {
        for (uint32_t end = ledger_hist_bucket(1ull << bit); at < end; at++)
            seen += buckets[at];
        open_cluster(b, "cluster_request_duration_seconds_bucket", c);
        buf_printf(b, ",le=\"%.9g\"", (double)(1ull << bit) / (double)NS_PER_S);
        close_number(b, seen);
    }
    for (; at < LEDGER_HIST_BUCKETS; at++)
        seen += buckets[at];
    open_cluster(b, "cluster_request_duration_seconds_bucket", c);
    put_label(b, "le", "+Inf");
    close_number(b, seen);
    buf_printf(b, "coxswain_%s_sum{cluster=\"", name);
    put_escaped(b, c->id);
    buf_printf(b, "\"");
    close_seconds(b, sum_ns);
    buf_printf(b, "coxswain_%s_count{cluster=\"", name);
    put_escaped(b, c->id);
    buf_printf(b, "\"");
    close_number(b, seen);
}

static void put_histograms(const struct survey *v, const struct sums *s, struct buf *b)
{
    uint64_t buckets[LEDGER_HIST_BUCKETS];
    family(b, "cluster_request_duration_seconds", "histogram", "Time from route to the end of the exchange.");
    for (uint32_t i = 0; i < s->topology->cluster_count; i++) {
        memset(buckets, 0, sizeof buckets);
        if (s->clusters[i].completed) /* else reading would make pages of the sparse segment real */
            survey_hist(v, s->topology->clusters[i]->slot, buckets);
        put_histogram(s->topology->clusters[i], buckets, s->clusters[i].latency_sum_ns, b);
    }
}

/* ---- reasons ---- */

/* Only what has happened: nearly all of the pairs never do. */
static void put_reasons(const struct survey *v, struct buf *b)
{
    uint64_t counts[REASON_COUNT];
    family(b, "cluster_reasons_total", "counter",
           "Requests of the cluster that did not end well, by the id of the reason.");
    for (uint32_t i = 0; i < v->topology->cluster_count; i++) {
        survey_reasons(v, v->topology->clusters[i]->slot, counts);
        for (unsigned k = 1; k < REASON_COUNT; k++)
            if (counts[k]) {
                open_cluster(b, "cluster_reasons_total", v->topology->clusters[i]);
                put_label(b, "reason", reason_id((enum reason)k));
                close_number(b, counts[k]);
            }
    }
    family(b, "unrouted_reasons_total", "counter",
           "Requests that came to no cluster, by the id of the reason.");
    survey_reasons(v, LEDGER_NO_SLOT, counts);
    for (unsigned k = 1; k < REASON_COUNT; k++)
        if (counts[k])
            buf_printf(b, "coxswain_unrouted_reasons_total{reason=\"%s\"} %llu\n", reason_id((enum reason)k),
                       (unsigned long long)counts[k]);
}

/* ---- endpoints and members ---- */

static void put_endpoint_counts(const struct sums *s, struct buf *b)
{
    static const struct {
        struct plain p;
        const char *type;
        bool in_seconds;
    } rows[] = {
        {{"endpoint_in_flight", "Attempts in flight.", offsetof(struct ledger_endpoint_sum, attempts)},
         "gauge",
         false},
        {{"endpoint_tunnels", "Tunnels open.", offsetof(struct ledger_endpoint_sum, tunnels)},
         "gauge",
         false},
        {{"endpoint_in_flight_seconds_total", "Time integral of the attempts in flight.",
          offsetof(struct ledger_endpoint_sum, integral_ns)},
         "counter",
         true},
        {{"endpoint_requests_total", "Requests sent to the endpoint.",
          offsetof(struct ledger_endpoint_sum, requests)},
         "counter",
         false},
        {{"endpoint_received_bytes_total", "Bytes from the server.",
          offsetof(struct ledger_endpoint_sum, rx_bytes)},
         "counter",
         false},
        {{"endpoint_sent_bytes_total", "Bytes to the server.",
          offsetof(struct ledger_endpoint_sum, tx_bytes)},
         "counter",
         false},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        size_t at = 0;
        family(b, rows[r].p.name, rows[r].type, rows[r].p.help);
        for (uint32_t i = 0; i < s->topology->cluster_count; i++) {
            const struct cluster *c = s->topology->clusters[i];
            for (uint32_t k = 0; k < c->endpoint_count; k++, at++) {
                open_endpoint(b, rows[r].p.name, c, &c->endpoints[k]);
                uint64_t value = word_at(&s->endpoints[at], rows[r].p.at);
                if (rows[r].in_seconds)
                    close_seconds(b, value);
                else
                    close_number(b, value);
            }
        }
    }
}

static void put_endpoint_failures(const struct sums *s, struct buf *b)
{
    static const char name[] = "endpoint_failures_total";
    size_t at = 0;
    family(b, name, "counter", "Attempts that failed: no connection, or anything after it.");
    for (uint32_t i = 0; i < s->topology->cluster_count; i++) {
        const struct cluster *c = s->topology->clusters[i];
        for (uint32_t k = 0; k < c->endpoint_count; k++, at++) {
            open_endpoint(b, name, c, &c->endpoints[k]);
            put_label(b, "reason", "connect");
            close_number(b, s->endpoints[at].connect_failures);
            open_endpoint(b, name, c, &c->endpoints[k]);
            put_label(b, "reason", "other");
            close_number(b, s->endpoints[at].other_failures);
        }
    }
}

static void put_endpoint_states(const struct topology *t, struct buf *b)
{
    family(b, "endpoint_up", "gauge", "1 when the endpoint serves; 0 when it is off, unhealthy or draining.");
    for (uint32_t i = 0; i < t->cluster_count; i++)
        for (uint32_t k = 0; k < t->clusters[i]->endpoint_count; k++) {
            open_endpoint(b, "endpoint_up", t->clusters[i], &t->clusters[i]->endpoints[k]);
            close_number(b, t->clusters[i]->endpoints[k].service == SERVICE_ON);
        }
    family(b, "endpoint_healthy", "gauge", "0 when probes say that the endpoint is down, else 1.");
    for (uint32_t i = 0; i < t->cluster_count; i++)
        for (uint32_t k = 0; k < t->clusters[i]->endpoint_count; k++) {
            open_endpoint(b, "endpoint_healthy", t->clusters[i], &t->clusters[i]->endpoints[k]);
            close_number(b, t->clusters[i]->endpoints[k].health != HEALTH_DOWN);
        }
    family(b, "endpoint_weight", "gauge", "Weight of the endpoint.");
    for (uint32_t i = 0; i < t->cluster_count; i++)
        for (uint32_t k = 0; k < t->clusters[i]->endpoint_count; k++) {
            open_endpoint(b, "endpoint_weight", t->clusters[i], &t->clusters[i]->endpoints[k]);
            close_number(b, t->clusters[i]->endpoints[k].weight);
        }
}

enum { STATES = MEMBER_SUSPENDED + 1 };

static int by_set(const void *a, const void *b)
{
    const struct member_info *x = *(const struct member_info *const *)a,
                             *y = *(const struct member_info *const *)b;
    int order =
        memcmp(x->set.p ? x->set.p : "", y->set.p ? y->set.p : "", x->set.n < y->set.n ? x->set.n : y->set.n);
    return order ? order : (x->set.n > y->set.n) - (x->set.n < y->set.n);
}

static void put_set(struct str set, const uint64_t *counts, struct buf *b)
{
    for (unsigned i = 0; i < STATES; i++) {
        buf_printf(b, "coxswain_members{set=\"");
        put_escaped(b, set);
        buf_printf(b, "\"");
        put_label(b, "state", survey_member_state(i));
        close_number(b, counts[i]);
    }
}

static void put_members(const struct topology *t, struct buf *b)
{
    family(b, "members", "gauge", "Members of a set by state.");
    if (!t->member_count)
        return;
    const struct member_info **all = must(calloc(t->member_count, sizeof *all));
    for (uint32_t i = 0; i < t->member_count; i++)
        all[i] = &t->members[i];
    qsort(all, t->member_count, sizeof *all, by_set);
    for (uint32_t i = 0, k; i < t->member_count; i = k) {
        uint64_t counts[STATES] = {0};
        for (k = i; k < t->member_count && str_eq(all[k]->set, all[i]->set); k++)
            counts[all[k]->state < STATES ? all[k]->state : MEMBER_TERMINATED]++;
        put_set(all[i]->set, counts, b);
    }
    free(all);
}

void metrics_put(const struct survey *v, const char *version, struct buf *out)
{
    struct sums s;
    put_program(v, version, out);
    put_rows(v, out);
    if (!v->topology)
        return;
    sums_init(&s, v);
    put_clusters(&s, out);
    put_histograms(v, &s, out);
    put_reasons(v, out);
    put_endpoint_counts(&s, out);
    put_endpoint_failures(&s, out);
    put_endpoint_states(v->topology, out);
    put_members(v->topology, out);
    sums_fini(&s);
}
