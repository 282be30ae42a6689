#include "admin/survey.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/panic.h"
#include "run/channel.h"

void survey_begin(struct survey *v)
{
    *v = (struct survey){.version = STR(""),
                         .config = STR(""),
                         .state = STR(""),
                         .reload = STR(""),
                         .now_ns = clock_now_ns(),
                         .now_wall_ns = clock_wall_ns()};
}

void survey_lend_past(struct survey *v, const struct ledger_past *past)
{
    v->is_borrowed = true;
    v->past = *past;
    v->has_past = true;
}

void survey_lend_ledger(struct survey *v, uint64_t generation, const struct ledger *ledger)
{
    v->is_borrowed = true;
    if (v->ledger_count == SURVEY_LEDGERS_MAX || !ledger) {
        v->unreadable_count++;
        return;
    }
    if (v->has_past && ledger_past_has(&v->past, generation))
        return;
    v->ledgers[v->ledger_count] = *ledger;
    v->generations[v->ledger_count++] = generation;
}

struct survey_certificate *survey_add_certificate(struct survey *v)
{
    v->certificates = must(realloc(v->certificates, sizeof *v->certificates * (v->certificate_count + 1)));
    struct survey_certificate *c = &v->certificates[v->certificate_count++];
    *c = (struct survey_certificate){.listener = STR("")};
    return c;
}

void survey_lend_certificates(struct survey *v, struct str said)
{
    struct str listener, file, host;
    uint64_t end, is_kept;
    while (said.n && unpack_str(&said, &listener) && unpack_str(&said, &file) && unpack_str(&said, &host) &&
           unpack_u64(&said, &end) && unpack_u64(&said, &is_kept))
        *survey_add_certificate(v) = (struct survey_certificate){listener, host, file, end, is_kept != 0};
}

bool survey_is_stale(const struct survey *v)
{
    for (int i = 0; v->has_past && i < v->ledger_count; i++)
        if (ledger_past_has(&v->past, v->generations[i]))
            return true;
    return false;
}

void survey_fini(struct survey *v)
{
    for (int i = 0; i < v->ledger_count && !v->is_borrowed; i++)
        ledger_close(&v->ledgers[i]);
    if (v->has_past && !v->is_borrowed)
        ledger_past_close(&v->past);
    topology_unref(&v->topology);
    free(v->processes);
    free(v->listeners);
    free(v->plugins);
    free(v->certificates);
}

/* ---- sums ---- */

static bool has_cluster(const struct ledger *l, uint32_t slot)
{
    return slot < l->header->max_clusters;
}

/* A generation that ended after we were given its ledger is in the totals by now. */
static bool is_living(const struct survey *v, int i)
{
    return !v->has_past || !ledger_past_has(&v->past, v->generations[i]);
}

/* One of them is moved from the living to the totals while we sum: sum again. */
static uint64_t turn_of(const struct survey *v)
{
    return v->has_past ? ledger_past_turn(&v->past) : 0;
}

void survey_cluster(const struct survey *v, uint32_t slot, struct ledger_cluster_sum *out)
{
    uint64_t turn;
    do {
        turn = turn_of(v);
        *out = (struct ledger_cluster_sum){0};
        if (v->has_past && slot < v->past.max_clusters)
            ledger_past_cluster(&v->past, slot, out);
        for (int i = 0; i < v->ledger_count; i++)
            if (has_cluster(&v->ledgers[i], slot) && is_living(v, i))
                ledger_sum_cluster(&v->ledgers[i], slot, true, v->now_ns, out);
    } while (turn_of(v) != turn);
}

void survey_endpoint(const struct survey *v, uint32_t slot, struct ledger_endpoint_sum *out)
{
    uint64_t turn;
    do {
        turn = turn_of(v);
        *out = (struct ledger_endpoint_sum){0};
        if (v->has_past && slot < v->past.max_endpoints)
            ledger_past_endpoint(&v->past, slot, out);
        for (int i = 0; i < v->ledger_count; i++)
            if (slot < v->ledgers[i].header->max_endpoints && is_living(v, i))
                ledger_sum_endpoint(&v->ledgers[i], slot, true, v->now_ns, out);
    } while (turn_of(v) != turn);
}

void survey_hist(const struct survey *v, uint32_t slot, uint64_t *buckets)
{
    uint64_t turn;
    do {
        turn = turn_of(v);
        memset(buckets, 0, sizeof *buckets * LEDGER_HIST_BUCKETS);
        if (v->has_past && slot < v->past.max_clusters)
            ledger_past_hist(&v->past, slot, buckets);
        for (int i = 0; i < v->ledger_count; i++)
            if (has_cluster(&v->ledgers[i], slot) && is_living(v, i))
                ledger_sum_hist(&v->ledgers[i], slot, buckets);
    } while (turn_of(v) != turn);
}

void survey_reasons(const struct survey *v, uint32_t slot, uint64_t *counts)
{
    uint64_t turn;
    do {
        turn = turn_of(v);
        memset(counts, 0, sizeof *counts * REASON_COUNT);
        if (v->has_past && (slot < v->past.max_clusters || slot == LEDGER_NO_SLOT))
            ledger_past_reasons(&v->past, slot, counts);
        for (int i = 0; i < v->ledger_count; i++)
            if (is_living(v, i))
                ledger_sum_reasons(&v->ledgers[i], slot, counts);
    } while (turn_of(v) != turn);
}

uint64_t survey_latency(const struct survey *v, uint32_t slot, double q)
{
    uint64_t buckets[LEDGER_HIST_BUCKETS];
    survey_hist(v, slot, buckets);
    return ledger_hist_quantile(buckets, q);
}

static void add_h2(const struct ledger_row *r, struct survey_rows *sum)
{
    sum->h2_sessions += ledger_get(&r->h2_sessions);
    sum->h2_streams += ledger_get(&r->h2_streams);
    sum->h2_sessions_begun += ledger_get(&r->h2_sessions_begun);
    sum->h2_streams_begun += ledger_get(&r->h2_streams_begun);
    sum->h2_resets_received += ledger_get(&r->h2_resets_received);
    sum->h2_resets_sent += ledger_get(&r->h2_resets_sent);
    for (int i = 0; i < LEDGER_GOAWAYS; i++)
        sum->h2_goaways[i] += ledger_get(&r->h2_goaways[i]);
    sum->h2_stalls += ledger_get(&r->h2_stalls);
}

void survey_add_rows(const struct ledger *l, struct survey_rows *sum)
{
    const struct ledger_header *h = l->header;
    for (uint32_t w = 0; w < h->workers; w++) {
        const struct ledger_row *r = (const void *)(l->base + h->header_bytes + h->row_bytes * (uint64_t)w);
        sum->sessions += ledger_get(&r->sessions);
        sum->accepted += ledger_get(&r->accepted);
        sum->uplinks += ledger_get(&r->uplinks);
        sum->unrouted += ledger_get(&r->unrouted);
        sum->log_dropped += ledger_get(&r->log_dropped);
        sum->tls_handshakes += ledger_get(&r->tls_handshakes);
        sum->tls_resumed += ledger_get(&r->tls_resumed);
        sum->tls_out_handshakes += ledger_get(&r->tls_out_handshakes);
        sum->tls_out_resumed += ledger_get(&r->tls_out_resumed);
        add_h2(r, sum);
    }
}

void survey_rows(const struct survey *v, struct survey_rows *out)
{
    *out = (struct survey_rows){0};
    for (int i = 0; i < v->ledger_count; i++)
        survey_add_rows(&v->ledgers[i], out);
}

bool survey_is_quiet(const struct survey *v)
{
    struct ledger_cluster_sum sum;
    for (int i = 0; i < v->ledger_count; i++)
        if (is_living(v, i) && !ledger_is_quiet(&v->ledgers[i], &sum))
            return false;
    return v->unreadable_count == 0;
}

/* ---- words ---- */

static const char *word_of(const char *const *words, unsigned count, unsigned i)
{
    return i < count ? words[i] : "unknown";
}

const char *survey_member_state(unsigned state)
{
    static const char *const words[] = {"created",        "initialized",        "starting",   "active",
                                        "in_maintenance", "ready_to_shut_down", "terminated", "suspended"};
    return word_of(words, 8, state);
}

const char *survey_service(unsigned service)
{
    static const char *const words[] = {"off", "on", "unhealthy", "draining"};
    return word_of(words, 4, service);
}

const char *survey_health(unsigned health)
{
    static const char *const words[] = {"unknown", "up", "down"};
    return word_of(words, 3, health);
}

const char *survey_goaway(int why)
{
    static const char *const words[LEDGER_GOAWAYS] = {"done", "flood", "malformed", "internal"};
    return word_of(words, LEDGER_GOAWAYS, (unsigned)why);
}

const char *survey_protocol(int protocol)
{
    static const char *const words[] = {"http", "fastcgi", "files"};
    return word_of(words, 3, (unsigned)protocol);
}

const char *const survey_counts[LEDGER_COUNTS] = {"held", "serving", "finishing", "tunnels"};
const char *const survey_failures[LEDGER_FAILURES] = {"connect", "server",  "timeout",
                                                      "client",  "refused", "internal"};
const char *const survey_guards[LEDGER_GUARDS] = {"denied", "limited", "auth", "dry_run"};
const char *const survey_classes[6] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
