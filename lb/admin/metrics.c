#include "admin/metrics.h"

#include <stddef.h>
#include <stdlib.h>

#include "admin/metrics_scale.h"
#include "admin/metrics_text.h"
#include "admin/metrics_tls.h"
#include "base/clock.h"
#include "base/panic.h"

#define CLOCK_EVERY 32 /* items between two looks at the clock */

/* All sums are taken before a line is written: a format that wants one family after the other must not cost a
 * walk through the ledger for each. */
struct metrics {
    struct topology *topology;             /* counted; NULL: none yet */
    const char *version;                   /* borrowed; static */
    struct ledger_cluster_sum *clusters;   /* owned; in the order of the topology */
    struct ledger_endpoint_sum *endpoints; /* owned; likewise, cluster after cluster */
    /* Where it goes on. */
    unsigned phase, row;
    bool has_begun;
    uint32_t cluster, endpoint;
    size_t flat; /* the endpoint, counted over all clusters */
};

static const struct cluster *cluster_at(const struct metrics *m)
{
    return m->topology->clusters[m->cluster];
}

static const struct endpoint *endpoint_at(const struct metrics *m)
{
    return &cluster_at(m)->endpoints[m->endpoint];
}

static uint64_t word_at(const void *sum, size_t offset)
{
    return *(const uint64_t *)(const void *)((const char *)sum + offset);
}

/* ---- the program and its generations ---- */

static void put_program(struct metrics *m, const struct survey *v, struct buf *b)
{
    metrics_family(b, "build_info", "gauge", "Version of the program; always 1.");
    buf_printf(b, "coxswain_build_info{version=\"");
    metrics_put_escaped(b, str_of(m->version));
    buf_printf(b, "\"");
    metrics_close_number(b, 1);
    metrics_family(b, "topology_clusters", "gauge", "Clusters of the topology that is served.");
    buf_printf(b, "coxswain_topology_clusters %u\n", v->topology ? v->topology->cluster_count : 0);
    metrics_family(b, "topology_number", "gauge",
                   "Number of the topology that is served; grows with every change.");
    buf_printf(b, "coxswain_topology_number %llu\n",
               v->topology ? (unsigned long long)v->topology->number : 0);
    metrics_family(b, "ledgers_unreadable", "gauge",
                   "Generations whose counters this version cannot read; they are missing in all sums.");
    buf_printf(b, "coxswain_ledgers_unreadable %d\n", v->unreadable_count);
    metrics_family(b, "generation_info", "gauge",
                   "Living generations of the proxy; always 1. The highest serves, the others drain.");
    for (int i = 0; i < v->ledger_count; i++)
        buf_printf(b, "coxswain_generation_info{generation=\"%llu\"} 1\n",
                   (unsigned long long)v->generations[i]);
}

struct generation_row {
    const char *name, *type, *help;
    size_t at;         /* in survey_rows */
    const char *label; /* NULL: none; rows of one name stand together */
};

/* With the generation as a label: these counts end with it, and a sum without the label would run backwards.
 */
static void put_generations(const struct survey *v, struct buf *b, const struct generation_row *rows,
                            size_t n)
{
    for (size_t k = 0; k < n; k++) {
        if (!k || strcmp(rows[k].name, rows[k - 1].name) != 0)
            metrics_family(b, rows[k].name, rows[k].type, rows[k].help);
        for (int i = 0; i < v->ledger_count; i++) {
            struct survey_rows sum = {0};
            survey_add_rows(&v->ledgers[i], &sum);
            buf_printf(b, "coxswain_%s{generation=\"%llu\"", rows[k].name,
                       (unsigned long long)v->generations[i]);
            if (rows[k].label)
                buf_printf(b, ",reason=\"%s\"", rows[k].label);
            metrics_close_number(b, word_at(&sum, rows[k].at));
        }
    }
}

static void put_rows(struct metrics *m, const struct survey *v, struct buf *b)
{
    static const struct generation_row rows[] = {
        {"sessions", "gauge", "Client connections now.", offsetof(struct survey_rows, sessions), NULL},
        {"uplinks", "gauge", "Server connections now, idle ones too.", offsetof(struct survey_rows, uplinks),
         NULL},
        {"accepted_total", "counter", "Client connections accepted.", offsetof(struct survey_rows, accepted),
         NULL},
        {"unrouted_total", "counter", "Requests answered before a cluster was known.",
         offsetof(struct survey_rows, unrouted), NULL},
        {"access_log_dropped_lines_total", "counter", "Lines of the access log that were lost.",
         offsetof(struct survey_rows, log_dropped), NULL},
        {"tls_handshakes_total", "counter", "TLS handshakes with clients that were completed.",
         offsetof(struct survey_rows, tls_handshakes), NULL},
        {"tls_resumed_total", "counter", "Of them, those that took up an earlier session.",
         offsetof(struct survey_rows, tls_resumed), NULL},
        {"tls_server_handshakes_total", "counter", "TLS handshakes with servers that were completed.",
         offsetof(struct survey_rows, tls_out_handshakes), NULL},
        {"tls_server_resumed_total", "counter", "Of them, those that took up an earlier session.",
         offsetof(struct survey_rows, tls_out_resumed), NULL},
    };
    (void)m;
    put_generations(v, b, rows, sizeof rows / sizeof *rows);
}

#define GOAWAY(reason) (offsetof(struct survey_rows, h2_goaways) + (reason) * sizeof(uint64_t))
static const char goaway_help[] = "Connections of HTTP/2 that were told to go (GOAWAY), by why; done: idle, "
                                  "draining, or had enough requests.";

static void put_h2(struct metrics *m, const struct survey *v, struct buf *b)
{
    static const struct generation_row rows[] = {
        {"h2_sessions", "gauge", "Client connections that speak HTTP/2 now.",
         offsetof(struct survey_rows, h2_sessions), NULL},
        {"h2_sessions_begun_total", "counter", "Client connections that spoke HTTP/2.",
         offsetof(struct survey_rows, h2_sessions_begun), NULL},
        {"h2_streams", "gauge", "Streams of HTTP/2 that clients have open now.",
         offsetof(struct survey_rows, h2_streams), NULL},
        {"h2_streams_begun_total", "counter", "Streams of HTTP/2 that clients opened.",
         offsetof(struct survey_rows, h2_streams_begun), NULL},
        {"h2_resets_received_total", "counter", "Streams that clients reset.",
         offsetof(struct survey_rows, h2_resets_received), NULL},
        {"h2_resets_sent_total", "counter", "Streams that were reset towards clients.",
         offsetof(struct survey_rows, h2_resets_sent), NULL},
        {"h2_goaways_total", "counter", goaway_help, GOAWAY(LEDGER_GOAWAY_DONE), "done"},
        {"h2_goaways_total", "counter", goaway_help, GOAWAY(LEDGER_GOAWAY_FLOOD), "flood"},
        {"h2_goaways_total", "counter", goaway_help, GOAWAY(LEDGER_GOAWAY_MALFORMED), "malformed"},
        {"h2_goaways_total", "counter", goaway_help, GOAWAY(LEDGER_GOAWAY_INTERNAL), "internal"},
        {"h2_stalls_total", "counter",
         "Times that an answer was found waiting because its client had opened no window.",
         offsetof(struct survey_rows, h2_stalls), NULL},
    };
    (void)m;
    put_generations(v, b, rows, sizeof rows / sizeof *rows);
}

/* ---- sums ---- */

static void sum_cluster(struct metrics *m, const struct survey *v, struct buf *b)
{
    (void)b;
    survey_cluster(v, cluster_at(m)->slot, &m->clusters[m->cluster]);
}

static void sum_endpoint(struct metrics *m, const struct survey *v, struct buf *b)
{
    (void)b;
    survey_endpoint(v, endpoint_at(m)->slot, &m->endpoints[m->flat]);
}

/* ---- families whose values are words of a sum ---- */

struct row {
    const char *name, *type, *help;
    size_t at;                /* of the first word in the sum */
    const char *label;        /* NULL: one series, else one for each of the words */
    const char *const *words; /* `count` of them */
    int count;
    bool in_seconds;
};

#define CLUSTER(member)  offsetof(struct ledger_cluster_sum, member)
#define ENDPOINT(member) offsetof(struct ledger_endpoint_sum, member)

static const char *const failure_words[] = {"connect", "other"};

static const struct row cluster_rows[] = {
    {"cluster_requests_total", "counter",
     "Requests that ended, by class of the status sent; none: no answer was sent.", CLUSTER(status_class),
     "class", survey_classes, 6, false},
    {"cluster_failures_total", "counter", "Requests that failed, by where.", CLUSTER(failures), "reason",
     survey_failures, LEDGER_FAILURES, false},
    {"cluster_guard_total", "counter",
     "Requests that a guard refused, by why; dry_run: that it would have limited, and passed.",
     CLUSTER(guard), "decision", survey_guards, LEDGER_GUARDS, false},
    {"cluster_in_flight", "gauge",
     "Requests in flight; held ones wait for an endpoint, of finishing ones only the client still reads.",
     CLUSTER(count), "state", survey_counts, LEDGER_COUNTS, false},
    {"cluster_in_flight_seconds_total", "counter",
     "Time integral of the requests in flight: its rate is their exact average.", CLUSTER(integral_ns),
     "state", survey_counts, LEDGER_COUNTS, true},
    {"cluster_arrivals_total", "counter", "Requests routed to the cluster.", CLUSTER(requests), NULL, NULL, 1,
     false},
    {"cluster_retries_total", "counter", "Further attempts after a failed one.", CLUSTER(retries), NULL, NULL,
     1, false},
    {"cluster_received_bytes_total", "counter", "Bytes from clients.", CLUSTER(rx_bytes), NULL, NULL, 1,
     false},
    {"cluster_sent_bytes_total", "counter", "Bytes to clients.", CLUSTER(tx_bytes), NULL, NULL, 1, false},
    {"cluster_mirrors_in_flight", "gauge", "Copies of requests for the cluster, now.", CLUSTER(mirrors), NULL,
     NULL, 1, false},
    {"cluster_mirrored_total", "counter", "Copies of requests sent to the cluster; in no other count of it.",
     CLUSTER(mirrored), NULL, NULL, 1, false},
    {"cluster_mirror_failures_total", "counter", "Of those, copies without an answer.",
     CLUSTER(mirror_failures), NULL, NULL, 1, false},
    {"cluster_mirrors_skipped_total", "counter",
     "Copies that were not sent: too large, or too many at a time.", CLUSTER(mirrors_skipped), NULL, NULL, 1,
     false},
};

static const struct row endpoint_rows[] = {
    {"endpoint_in_flight", "gauge", "Attempts in flight.", ENDPOINT(attempts), NULL, NULL, 1, false},
    {"endpoint_tunnels", "gauge", "Tunnels open.", ENDPOINT(tunnels), NULL, NULL, 1, false},
    {"endpoint_in_flight_seconds_total", "counter", "Time integral of the attempts in flight.",
     ENDPOINT(integral_ns), NULL, NULL, 1, true},
    {"endpoint_requests_total", "counter", "Requests sent to the endpoint.", ENDPOINT(requests), NULL, NULL,
     1, false},
    {"endpoint_ejections_total", "counter",
     "Times that real traffic found it failing and it was left out for a while.", ENDPOINT(ejections), NULL,
     NULL, 1, false},
    {"endpoint_ejected", "gauge", "Generations in which it is left out now.", ENDPOINT(ejected), NULL, NULL,
     1, false},
    {"endpoint_received_bytes_total", "counter", "Bytes from the server.", ENDPOINT(rx_bytes), NULL, NULL, 1,
     false},
    {"endpoint_sent_bytes_total", "counter", "Bytes to the server.", ENDPOINT(tx_bytes), NULL, NULL, 1,
     false},
    {"endpoint_failures_total", "counter", "Attempts that failed: no connection, or anything after it.",
     ENDPOINT(connect_failures), "reason", failure_words, 2, false},
};

static void begin_row(const struct row *r, struct buf *b)
{
    metrics_family(b, r->name, r->type, r->help);
}

static void begin_cluster_row(struct metrics *m, const struct survey *v, struct buf *b)
{
    (void)v;
    begin_row(&cluster_rows[m->row], b);
}

static void begin_endpoint_row(struct metrics *m, const struct survey *v, struct buf *b)
{
    (void)v;
    begin_row(&endpoint_rows[m->row], b);
}

static void close_row(const struct row *r, const void *sum, int k, struct buf *b)
{
    uint64_t value = word_at(sum, r->at + (size_t)k * sizeof(uint64_t));
    if (r->label)
        metrics_put_label(b, r->label, r->words[k]);
    if (r->in_seconds)
        metrics_close_seconds(b, value);
    else
        metrics_close_number(b, value);
}

static void put_cluster_row(struct metrics *m, const struct survey *v, struct buf *b)
{
    const struct row *r = &cluster_rows[m->row];
    (void)v;
    for (int k = 0; k < r->count; k++) {
        metrics_open_cluster(b, r->name, cluster_at(m));
        close_row(r, &m->clusters[m->cluster], k, b);
    }
}

static void put_endpoint_row(struct metrics *m, const struct survey *v, struct buf *b)
{
    const struct row *r = &endpoint_rows[m->row];
    (void)v;
    for (int k = 0; k < r->count; k++) {
        metrics_open_endpoint(b, r->name, cluster_at(m), endpoint_at(m));
        close_row(r, &m->endpoints[m->flat], k, b);
    }
}

/* ---- latency ---- */

static void put_buckets(const struct cluster *c, const uint64_t *buckets, uint64_t sum_ns, struct buf *b)
{
    static const char name[] = "cluster_request_duration_seconds";
    uint64_t seen = 0;
    uint32_t at = 0;
    for (int bit = METRICS_LE_FIRST; bit <= METRICS_LE_LAST; bit++) {
        for (uint32_t end = ledger_hist_bucket(1ull << bit); at < end; at++)
            seen += buckets[at];
        metrics_open_cluster(b, "cluster_request_duration_seconds_bucket", c);
        buf_printf(b, ",le=\"%.9g\"", (double)(1ull << bit) / (double)NS_PER_S);
        metrics_close_number(b, seen);
    }
    for (; at < LEDGER_HIST_BUCKETS; at++)
        seen += buckets[at];
    metrics_open_cluster(b, "cluster_request_duration_seconds_bucket", c);
    metrics_put_label(b, "le", "+Inf");
    metrics_close_number(b, seen);
    buf_printf(b, "coxswain_%s_sum{cluster=\"", name);
    metrics_put_escaped(b, c->id);
    buf_printf(b, "\"");
    metrics_close_seconds(b, sum_ns);
    buf_printf(b, "coxswain_%s_count{cluster=\"", name);
    metrics_put_escaped(b, c->id);
    buf_printf(b, "\"");
    metrics_close_number(b, seen);
}

static void begin_histogram(struct metrics *m, const struct survey *v, struct buf *b)
{
    (void)m, (void)v;
    metrics_family(b, "cluster_request_duration_seconds", "histogram",
                   "Time from route to the end of the exchange.");
}

static void put_histogram(struct metrics *m, const struct survey *v, struct buf *b)
{
    uint64_t buckets[LEDGER_HIST_BUCKETS] = {0};
    const struct ledger_cluster_sum *sum = &m->clusters[m->cluster];
    if (sum->completed) /* else reading would make pages of the sparse segment real */
        survey_hist(v, cluster_at(m)->slot, buckets);
    put_buckets(cluster_at(m), buckets, sum->latency_sum_ns, b);
}

/* ---- reasons: only what has happened, for nearly all of the pairs never do ---- */

static void begin_reasons(struct metrics *m, const struct survey *v, struct buf *b)
{
    (void)m, (void)v;
    metrics_family(b, "cluster_reasons_total", "counter",
                   "Requests of the cluster that did not end well, by the id of the reason.");
}

static void put_reasons(struct metrics *m, const struct survey *v, struct buf *b)
{
    uint64_t counts[REASON_COUNT];
    if (!m->clusters[m->cluster].completed)
        return;
    survey_reasons(v, cluster_at(m)->slot, counts);
    for (unsigned k = 1; k < REASON_COUNT; k++)
        if (counts[k]) {
            metrics_open_cluster(b, "cluster_reasons_total", cluster_at(m));
            metrics_put_label(b, "reason", reason_id((enum reason)k));
            metrics_close_number(b, counts[k]);
        }
}

static void put_unrouted(struct metrics *m, const struct survey *v, struct buf *b)
{
    uint64_t counts[REASON_COUNT];
    (void)m;
    metrics_family(b, "unrouted_reasons_total", "counter",
                   "Requests that came to no cluster, by the id of the reason.");
    survey_reasons(v, LEDGER_NO_SLOT, counts);
    for (unsigned k = 1; k < REASON_COUNT; k++)
        if (counts[k] && !metrics_is_of_tls(k))
            buf_printf(b, "coxswain_unrouted_reasons_total{reason=\"%s\"} %llu\n", reason_id((enum reason)k),
                       (unsigned long long)counts[k]);
}

static void put_tls(struct metrics *m, const struct survey *v, struct buf *b)
{
    (void)m;
    metrics_put_tls(v, b);
}

/* ---- states of endpoints ---- */

static const struct {
    const char *name, *help;
} state_rows[] = {
    {"endpoint_up", "1 when the endpoint serves; 0 when it is off, unhealthy or draining."},
    {"endpoint_healthy", "0 when probes say that the endpoint is down, else 1."},
    {"endpoint_weight", "Weight of the endpoint."},
};

static void begin_state(struct metrics *m, const struct survey *v, struct buf *b)
{
    (void)v;
    metrics_family(b, state_rows[m->row].name, "gauge", state_rows[m->row].help);
}

static void put_state(struct metrics *m, const struct survey *v, struct buf *b)
{
    const struct endpoint *e = endpoint_at(m);
    const uint64_t values[] = {e->service == SERVICE_ON, e->health != HEALTH_DOWN, e->weight};
    (void)v;
    metrics_open_endpoint(b, state_rows[m->row].name, cluster_at(m), e);
    metrics_close_number(b, values[m->row]);
}

/* ---- members ---- */

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
        metrics_put_escaped(b, set);
        buf_printf(b, "\"");
        metrics_put_label(b, "state", survey_member_state(i));
        metrics_close_number(b, counts[i]);
    }
}

static void put_members(struct metrics *m, const struct survey *v, struct buf *b)
{
    const struct topology *t = m->topology;
    (void)v;
    metrics_family(b, "members", "gauge", "Members of a set by state.");
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

/* ---- how many members sets have ---- */

static void begin_set_row(struct metrics *m, const struct survey *v, struct buf *b)
{
    (void)v;
    metrics_begin_set_row(m->row, b);
}

static void put_set_row(struct metrics *m, const struct survey *v, struct buf *b)
{
    struct scale_view view;
    scale_look(v->scale, m->cluster, &view);
    metrics_put_set_row(&view, m->row, b);
}

/* ---- one after the other ---- */

enum scope { ONCE, PER_CLUSTER, PER_ENDPOINT, PER_SET };

typedef void step_fn(struct metrics *m, const struct survey *v, struct buf *b);

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

/* Each phase goes through all that its scope has, row by row; what the first two put needs no topology. */
static const struct phase {
    enum scope scope;
    unsigned rows;
    step_fn *begin; /* of a row; may be NULL */
    step_fn *item;
} phases[] = {
    {ONCE, 1, NULL, put_program},
    {ONCE, 1, NULL, put_rows},
    {ONCE, 1, NULL, put_h2},
    {ONCE, 1, NULL, put_tls},
    {PER_CLUSTER, 1, NULL, sum_cluster},
    {PER_ENDPOINT, 1, NULL, sum_endpoint},
    {PER_CLUSTER, COUNT(cluster_rows), begin_cluster_row, put_cluster_row},
    {PER_CLUSTER, 1, begin_histogram, put_histogram},
    {PER_CLUSTER, 1, begin_reasons, put_reasons},
    {ONCE, 1, NULL, put_unrouted},
    {PER_ENDPOINT, COUNT(endpoint_rows), begin_endpoint_row, put_endpoint_row},
    {PER_ENDPOINT, COUNT(state_rows), begin_state, put_state},
    {ONCE, 1, NULL, put_members},
    {PER_SET, METRICS_SET_ROWS, begin_set_row, put_set_row},
};

enum { PHASES_WITHOUT_TOPOLOGY = 3 };

static bool is_done(const struct metrics *m)
{
    return m->phase == (m->topology ? COUNT(phases) : PHASES_WITHOUT_TOPOLOGY);
}

static void next_row(struct metrics *m)
{
    m->has_begun = false;
    m->cluster = m->endpoint = 0;
    m->flat = 0;
    if (++m->row == phases[m->phase].rows) {
        m->row = 0;
        m->phase++;
    }
}

/* False: this row has no more. */
static bool find_item(struct metrics *m, const struct survey *v, enum scope scope)
{
    if (scope == ONCE)
        return m->cluster == 0;
    if (scope == PER_SET)
        return v->scale && m->cluster < scale_count(v->scale);
    while (scope == PER_ENDPOINT && m->cluster < m->topology->cluster_count &&
           m->endpoint == cluster_at(m)->endpoint_count) {
        m->cluster++;
        m->endpoint = 0;
    }
    return m->cluster < m->topology->cluster_count;
}

static void put_one(struct metrics *m, const struct survey *v, struct buf *out)
{
    const struct phase *p = &phases[m->phase];
    if (!m->has_begun && p->begin)
        p->begin(m, v, out);
    m->has_begun = true;
    if (!find_item(m, v, p->scope)) {
        next_row(m);
        return;
    }
    p->item(m, v, out);
    if (p->scope == PER_ENDPOINT) {
        m->endpoint++;
        m->flat++;
    } else {
        m->cluster++;
    }
}

struct metrics *metrics_begin(struct topology *t, const char *version)
{
    struct metrics *m = must(calloc(1, sizeof *m));
    size_t count = 0;
    *m = (struct metrics){.topology = t, .version = version};
    if (!t)
        return m;
    topology_ref(t);
    for (uint32_t i = 0; i < t->cluster_count; i++)
        count += t->clusters[i]->endpoint_count;
    m->clusters = must(calloc(t->cluster_count + 1u, sizeof *m->clusters));
    m->endpoints = must(calloc(count + 1, sizeof *m->endpoints));
    return m;
}

bool metrics_step(struct metrics *m, const struct survey *v, uint64_t until_ns, size_t bytes_max,
                  struct buf *out)
{
    for (unsigned n = 1; !is_done(m); n++) {
        if (out->len >= bytes_max || (n % CLOCK_EVERY == 0 && clock_now_ns() >= until_ns))
            return true;
        put_one(m, v, out);
    }
    return false;
}

void metrics_end(struct metrics **m)
{
    if (!*m)
        return;
    topology_unref(&(*m)->topology);
    free((*m)->clusters);
    free((*m)->endpoints);
    free(*m);
    *m = NULL;
}

void metrics_put(const struct survey *v, const char *version, struct buf *out)
{
    struct metrics *m = metrics_begin(v->topology, version);
    while (metrics_step(m, v, UINT64_MAX, SIZE_MAX, out))
        ;
    metrics_end(&m);
}
