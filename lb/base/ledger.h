/* ledger: the counters in shared memory. One writer a row, many readers, no locks.
 *
 *   segment (one memfd per proxy generation, sparse)
 *   ┌────────┬───────────────────────────┬───────────────────────────┬──
 *   │ header │ row of worker 0           │ row of worker 1           │ …
 *   └────────┴───────────────────────────┴───────────────────────────┴──
 *     row = row head (sequence word, pid) | cluster cells [max_clusters] | endpoint cells [max_endpoints]
 *           | histograms [max_clusters] | reasons [max_clusters + 1]
 *     each part page aligned, untouched pages cost nothing
 *
 * Made by the master, mapped writable by the proxy of that generation only; then sealed (F_SEAL_FUTURE_WRITE)
 * and mapped read-only by the master, the orchestrator and coxctl. A row is written by its worker alone, with
 * relaxed stores inside an odd/even sequence (row_begin, row_end); a reader retries a torn read a bounded
 * number of times, and takes the row of a dead generation as it is.
 *
 * Counting (DATAPATH.md of the design, in one paragraph): of a cluster an exchange is in flight from ROUTE to
 * END in exactly one of held, serving, finishing, each with its own time integral; of an endpoint an attempt
 * is in flight from PICK until its uplink has delivered the last byte or is closed. Tunnels are counted
 * apart. All other cells are cumulative and never run backwards: totals of ended generations are folded into
 * `past`.
 *
 * Builds of different versions read each other's segments (a binary upgrade has both alive). What is frozen
 * for ever: the header up to `spare`, the head of a row, and the first words of each cell (counts, integrals,
 * requests). A reader goes by the offsets and sizes in the header, never by its own structs, and takes as
 * many words of a cell as both sides mean the same by: all that both have when one layout is the other with
 * words added at its end (`grown_from`), else the frozen ones. Words that a segment lacks read as zero. Only
 * the same version may map it writable. */
#ifndef COX_BASE_LEDGER_H
#define COX_BASE_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/panic.h"
#include "base/reason.h"

#ifdef __SANITIZE_THREAD__ /* gcc says that its checker does not follow fences; every cell is an atomic of   \
                              its own */
#pragma GCC diagnostic ignored "-Wtsan"
#endif

#define LEDGER_MAGIC 0x63786c64u /* "cxld" */
/* The layout of cells and totals. A build with another one exists for the tests of the upgrade: it has words
 * added at the end of cells and totals, and a gap before the cells. */
#ifndef COX_LEDGER_LAYOUT
#define COX_LEDGER_LAYOUT 3
#endif
#define LEDGER_VERSION     COX_LEDGER_LAYOUT
#define LEDGER_GROWN_FROM  1 /* the oldest version whose cells ours begin with */
#define LEDGER_SPARE_WORDS (COX_LEDGER_LAYOUT > 3 ? 4 : 0)
#define LEDGER_NO_SLOT     UINT32_MAX

/* Latency histogram: log-linear, 16 buckets an octave from 16 us up to 2^36 ns·16 (about 18 min); relative
 * error of a value read from the middle of its bucket is at most 1/32. */
#define LEDGER_HIST_OCTAVES 27
#define LEDGER_HIST_BUCKETS (LEDGER_HIST_OCTAVES * 16)

/* Histogram of service times for whoever decides how many servers there are: 4 buckets an octave, the first
 * takes all below 5/4 of 2^16 ns, the last all that is longer (include/coxswain/scale.h has the same). */
#define LEDGER_SERVICE_BUCKETS   96
#define LEDGER_SERVICE_FIRST_LOG 16

enum ledger_count { LEDGER_HELD, LEDGER_SERVING, LEDGER_FINISHING, LEDGER_TUNNEL, LEDGER_COUNTS };

/* Why an attempt on an endpoint, or an exchange of a cluster, counts as failed. */
enum ledger_failure {
    LEDGER_FAIL_CONNECT,  /* no connection */
    LEDGER_FAIL_SERVER,   /* closed, reset or broken answer */
    LEDGER_FAIL_TIMEOUT,  /* of the server */
    LEDGER_FAIL_CLIENT,   /* client gone, stalled or malformed after ROUTE */
    LEDGER_FAIL_REFUSED,  /* no endpoint, hold full or timed out */
    LEDGER_FAIL_INTERNAL, /* memory, descriptors, spill */
    LEDGER_FAILURES
};

/* What the guard of a request decided; none of these but the last reached ROUTE's counts. */
enum ledger_guard {
    LEDGER_GUARD_DENIED,  /* address, maintenance */
    LEDGER_GUARD_LIMITED, /* rate or number at a time */
    LEDGER_GUARD_AUTH,    /* not who it says, or nobody could tell */
    LEDGER_GUARD_DRY,     /* would have been limited; passed */
    LEDGER_GUARDS
};

/* Why a connection of HTTP/2 was told to go. */
enum ledger_goaway {
    LEDGER_GOAWAY_DONE,      /* idle, draining, enough requests */
    LEDGER_GOAWAY_FLOOD,     /* a budget was used up */
    LEDGER_GOAWAY_MALFORMED, /* the client broke the protocol */
    LEDGER_GOAWAY_INTERNAL,  /* out of memory or of order */
    LEDGER_GOAWAYS
};

typedef _Atomic uint64_t ledger_u64; /* the one typedef: a cell is always atomic */

struct ledger_cluster {
    ledger_u64 count[LEDGER_COUNTS];       /* now */
    ledger_u64 integral_ns[LEDGER_COUNTS]; /* ∫ n·dt up to since_ns */
    ledger_u64 since_ns;                   /* monotonic time of the last change */
    ledger_u64 requests;                   /* exchanges that reached ROUTE */
    ledger_u64 completed;                  /* exchanges that ended, well or not */
    ledger_u64 status_class[6];            /* [1..5]; [0]: ended without an answer */
    ledger_u64 failures[LEDGER_FAILURES];
    ledger_u64 retries;
    ledger_u64 rx_bytes, tx_bytes; /* from and to clients, bodies and heads */
    ledger_u64 latency_sum_ns;     /* of completed, ROUTE to END */
    ledger_u64 service_sum_ns;     /* PICK to last byte from the server, successful attempts */
    ledger_u64 service_count;
    ledger_u64 guard[LEDGER_GUARDS]; /* since layout 2, where spare words were */
    /* Copies of requests for other clusters: in none of the above, but the attempts of the endpoints. */
    ledger_u64 mirrors;         /* now */
    ledger_u64 mirrored;        /* sent, ever */
    ledger_u64 mirror_failures; /* of those, without an answer */
    ledger_u64 mirrors_skipped; /* not sent: too large, too many at a time, or the request was not complete */
    /* Since layout 3. */
    ledger_u64 waited;             /* were held before they were sent for the first time */
    ledger_u64 abandoned;          /* their client left while they were held */
    ledger_u64 service_square_us2; /* of what service_sum_ns is the sum of, in microseconds, squared */
    ledger_u64 service[LEDGER_SERVICE_BUCKETS];
    ledger_u64 spare[LEDGER_SPARE_WORDS];
};
#define LEDGER_CLUSTER_FROZEN offsetof(struct ledger_cluster, status_class)

struct ledger_endpoint {    /* one cache line */
    ledger_u64 count;       /* attempts in flight now (low 32 bits) and tunnels (high 32 bits) */
    ledger_u64 integral_ns; /* of the attempts */
    ledger_u64 since_ns;
    ledger_u64 requests;
    ledger_u64 failures; /* connect (low 32), other (high 32) */
    ledger_u64 rx_bytes; /* from the server */
    ledger_u64 tx_bytes;
    ledger_u64 ejections; /* since layout 2: until when by this worker's last one, ms (high 40), and how many
                             (low 24) */
    ledger_u64 spare[2 * LEDGER_SPARE_WORDS];
};
#define LEDGER_ENDPOINT_FROZEN offsetof(struct ledger_endpoint, failures)

struct ledger_header {
    uint32_t magic, version;
    uint64_t header_bytes, row_bytes, total_bytes;
    uint32_t cluster_bytes, endpoint_bytes; /* size of one cell */
    uint32_t workers, max_clusters, max_endpoints, hist_buckets;
    uint64_t clusters_off, endpoints_off, hists_off; /* within a row */
    uint64_t generation;
    uint32_t grown_from; /* the oldest version whose cells these begin with */
    uint32_t spare;
    uint64_t reasons_off; /* within a row; 0: it has none */
    uint32_t reasons;     /* counters of a slot */
    uint32_t reasons_id;  /* ledger_reasons_id of its writer: who has another one cannot tell them apart */
};

struct ledger_row {            /* head of a row */
    _Atomic uint64_t sequence; /* odd while its worker writes */
    ledger_u64 sessions;       /* client connections now */
    ledger_u64 accepted;       /* ever */
    ledger_u64 heartbeat_ns;   /* last loop turn */
    ledger_u64 uplinks;        /* server connections now, idle ones too */
    ledger_u64 unrouted;       /* answers made before a cluster was known, ever */
    ledger_u64 log_dropped;    /* access log lines lost */
    ledger_u64 spare[1];
    /* What was added later: zero in a row of an older version, which has nothing there. */
    ledger_u64 tls_handshakes, tls_resumed;         /* with clients, done; of them, without a full one */
    ledger_u64 tls_out_handshakes, tls_out_resumed; /* with servers */
    /* HTTP/2 with clients. */
    ledger_u64 h2_sessions, h2_streams;             /* now */
    ledger_u64 h2_sessions_begun, h2_streams_begun; /* ever */
    ledger_u64 h2_resets_received, h2_resets_sent;
    ledger_u64 h2_goaways[LEDGER_GOAWAYS]; /* sent, one a connection */
    ledger_u64 h2_stalls;                  /* times that a stream was found waiting for its client's window */
};

/* A mapping, owned by the process that made it. */
struct ledger {
    char *base;
    size_t bytes;
    const struct ledger_header
        *header; /* owned: a private copy, checked once, so no writer can change it under us */
    uint32_t cluster_words,
        endpoint_words; /* of a cell that can be read; fewer than ours in another version's */
    bool has_hists, has_reasons;
    bool writable;
};

/* A worker's view of its own row; embedded in the worker. */
struct ledger_writer {
    struct ledger_row *row;
    struct ledger_cluster *clusters;
    struct ledger_endpoint *endpoints;
    ledger_u64 *hists, *reasons;
    uint32_t max_clusters, max_endpoints;
};

/* Makes the memfd (close-on-exec) with its header; -1 and errno on failure. */
int ledger_create(uint64_t generation, uint32_t workers, uint32_t max_clusters, uint32_t max_endpoints)
    __attribute__((warn_unused_result));
/* No new writable mapping from now on. */
bool ledger_seal(int fd);
/* Maps it; checks magic and sizes. One of another version is opened for reading only. False when it is
 * malformed. */
bool ledger_open(struct ledger *l, int fd, bool writable) __attribute__((warn_unused_result));
void ledger_close(struct ledger *l);
/* Every cell can be read in full; false: of an unknown version, of which counts, integrals and requests are
 * known. */
bool ledger_is_whole(const struct ledger *l);
void ledger_writer_init(struct ledger_writer *w, struct ledger *l, uint32_t worker);

/* ---- writer side: the worker's thread only; inline because they are on the request path ---- */

static inline uint64_t ledger_get(const ledger_u64 *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void ledger_set(ledger_u64 *c, uint64_t v)
{
    atomic_store_explicit(c, v, memory_order_relaxed);
}

static inline void ledger_add(ledger_u64 *c, uint64_t v)
{
    ledger_set(c, ledger_get(c) + v); /* one writer: no locked instruction needed */
}

static inline void ledger_row_begin(struct ledger_writer *w)
{
    atomic_store_explicit(&w->row->sequence,
                          atomic_load_explicit(&w->row->sequence, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static inline void ledger_row_end(struct ledger_writer *w)
{
    atomic_store_explicit(&w->row->sequence,
                          atomic_load_explicit(&w->row->sequence, memory_order_relaxed) + 1,
                          memory_order_release);
}

/* Integrals up to now. A reading of the clock older than the last change counts as that change's: time never
 * runs backwards in a cell. */
static inline void ledger_cluster_advance(struct ledger_cluster *c, uint64_t now_ns)
{
    uint64_t since = ledger_get(&c->since_ns);
    if (now_ns <= since)
        return;
    for (int i = 0; i < LEDGER_COUNTS; i++) {
        uint64_t n = ledger_get(&c->count[i]);
        if (n)
            ledger_add(&c->integral_ns[i], n * (now_ns - since));
    }
    ledger_set(&c->since_ns, now_ns);
}

/* Moves one exchange between counts: from or to may be LEDGER_COUNTS for "none". Integrals are brought up to
 * now. Coming from none is the arrival: it adds one to `requests`. A slot out of bounds counts nothing. */
static inline void ledger_cluster_move(struct ledger_writer *w, uint32_t slot, enum ledger_count from,
                                       enum ledger_count to, uint64_t now_ns)
{
    if (slot >= w->max_clusters || from == to)
        return;
    struct ledger_cluster *c = &w->clusters[slot];
    ledger_row_begin(w);
    ledger_cluster_advance(c, now_ns);
    if (from < LEDGER_COUNTS) {
        uint64_t n = ledger_get(&c->count[from]);
        ASSERT(n != 0);
        ledger_set(&c->count[from], n - 1);
    } else {
        ledger_add(&c->requests, 1);
    }
    if (to < LEDGER_COUNTS)
        ledger_add(&c->count[to], 1);
    ledger_row_end(w);
}

/* An exchange ended: completed, its class (`status` is a code or a class; 0: without an answer), latency into
 * sum and histogram. */
void ledger_cluster_done(struct ledger_writer *w, uint32_t slot, unsigned status, uint64_t latency_ns);
void ledger_cluster_failure(struct ledger_writer *w, uint32_t slot, enum ledger_failure why);

/* Bucket of a service time. */
static inline uint32_t ledger_service_bucket(uint64_t ns)
{
    if (ns < 1ull << LEDGER_SERVICE_FIRST_LOG)
        return 0;
    uint32_t e = 63 - (uint32_t)__builtin_clzll(ns);
    uint32_t bucket = (e - LEDGER_SERVICE_FIRST_LOG) * 4 + (uint32_t)(ns >> (e - 2) & 3);
    return bucket < LEDGER_SERVICE_BUCKETS ? bucket : LEDGER_SERVICE_BUCKETS - 1;
}

/* A successful attempt took so long, from PICK to the server's last byte. Each word only grows: no sequence.
 */
static inline void ledger_cluster_service(struct ledger_writer *w, uint32_t slot, uint64_t ns)
{
    struct ledger_cluster *c = &w->clusters[slot];
    uint64_t us = ns / 1000;
    ledger_add(&c->service_sum_ns, ns);
    ledger_add(&c->service_count, 1);
    ledger_add(&c->service_square_us2, us * us);
    ledger_add(&c->service[ledger_service_bucket(ns)], 1);
}

/* An exchange ended for a reason other than REASON_OK. LEDGER_NO_SLOT, or a slot out of bounds: of no
 * cluster. */
static inline void ledger_reason(struct ledger_writer *w, uint32_t slot, enum reason reason)
{
    size_t at = slot < w->max_clusters ? slot : w->max_clusters;
    ledger_add(&w->reasons[at * REASON_COUNT + reason], 1); /* each counter only grows: no sequence */
}

static inline void ledger_endpoint_advance(struct ledger_endpoint *e, uint64_t now_ns)
{
    uint64_t since = ledger_get(&e->since_ns);
    if (now_ns <= since)
        return;
    uint64_t n = ledger_get(&e->count) & UINT32_MAX;
    if (n)
        ledger_add(&e->integral_ns, n * (now_ns - since));
    ledger_set(&e->since_ns, now_ns);
}

/* delta is +1 or -1. `requests` of the endpoint is the uplink's to count. */
static inline void ledger_endpoint_attempt(struct ledger_writer *w, uint32_t slot, int delta, uint64_t now_ns)
{
    if (slot >= w->max_endpoints)
        return;
    struct ledger_endpoint *e = &w->endpoints[slot];
    uint64_t n = ledger_get(&e->count);
    ledger_row_begin(w);
    ledger_endpoint_advance(e, now_ns);
    ASSERT(delta > 0 || (n & UINT32_MAX) != 0);
    ledger_set(&e->count, delta > 0 ? n + 1 : n - 1);
    ledger_row_end(w);
}

/* It was ejected by this worker, until a moment of the monotonic clock. */
void ledger_endpoint_ejected(struct ledger_writer *w, uint32_t slot, uint64_t until_ms);
/* An attempt in flight becomes a tunnel (+1), or a tunnel ends (-1). */
void ledger_endpoint_tunnel(struct ledger_writer *w, uint32_t slot, int delta, uint64_t now_ns);

/* ---- reader side: any process, any thread ---- */

/* Attempts in flight plus tunnels of an endpoint over all workers of this segment; for the balancer, so no
 * retry and no sequence. */
uint32_t ledger_endpoint_in_flight(const struct ledger *l, uint32_t slot);

/* Exchanges that are being served, and tunnels, of a cluster over all workers; likewise. */
uint64_t ledger_cluster_in_flight(const struct ledger *l, uint32_t slot);
/* Exchanges that ever reached ROUTE there, over all workers; likewise: one word a worker is read. */
uint64_t ledger_cluster_arrivals(const struct ledger *l, uint32_t slot);

struct ledger_cluster_sum { /* plain copy, sums over rows; integrals brought up to now_ns */
    uint64_t count[LEDGER_COUNTS], integral_ns[LEDGER_COUNTS];
    uint64_t requests, completed, status_class[6], failures[LEDGER_FAILURES], retries, rx_bytes, tx_bytes;
    uint64_t latency_sum_ns, service_sum_ns, service_count;
    uint64_t guard[LEDGER_GUARDS];
    uint64_t mirrors, mirrored, mirror_failures, mirrors_skipped;
    uint64_t waited, abandoned, service_square_us2, service[LEDGER_SERVICE_BUCKETS];
    uint64_t
        spare[LEDGER_SPARE_WORDS]; /* new words only at the end, here and below: totals are kept by them */
};
struct ledger_endpoint_sum {
    uint64_t attempts, tunnels, integral_ns, requests, connect_failures, other_failures, rx_bytes, tx_bytes;
    uint64_t ejections;
    uint64_t ejected; /* generations in which it is ejected now; of a dead one: none */
    uint64_t spare[LEDGER_SPARE_WORDS];
};

/* How much of a cluster's cell is read. The histogram of service times is two thirds of it. */
enum ledger_part { LEDGER_WITHOUT_SERVICE, LEDGER_WHOLE };

/* Copies `words` cells of a row, all of one moment; bounded tries. False: still torn after the last of them
 * (its writer was stopped in the middle of a change), and the copy is as it was found. */
bool ledger_copy(const struct ledger_row *row, const ledger_u64 *from, uint64_t *to, size_t words);
const struct ledger_row *ledger_row(const struct ledger *l, uint32_t worker);

/* Add this segment's values of a slot to *sum (zero it first). `alive`: count and bring integrals up to now;
 * else the generation is dead: its in-flight counts are dropped, integrals end at the last change. */
void ledger_sum_cluster(const struct ledger *l, uint32_t slot, bool alive, uint64_t now_ns,
                        struct ledger_cluster_sum *sum);
/* The same of a part; nothing of *sum beyond it is touched, so that needs not be zero either. */
void ledger_sum_cluster_part(const struct ledger *l, uint32_t slot, bool alive, uint64_t now_ns,
                             enum ledger_part part, struct ledger_cluster_sum *sum);
/* What is to be zero of a sum before a part is added. */
static inline size_t ledger_part_bytes(enum ledger_part part)
{
    return part == LEDGER_WHOLE ? sizeof(struct ledger_cluster_sum)
                                : offsetof(struct ledger_cluster_sum, service);
}
void ledger_sum_endpoint(const struct ledger *l, uint32_t slot, bool alive, uint64_t now_ns,
                         struct ledger_endpoint_sum *sum);
/* Adds the histogram of a slot into buckets[LEDGER_HIST_BUCKETS]. */
void ledger_sum_hist(const struct ledger *l, uint32_t slot, uint64_t *buckets);
/* Adds the counts by reason of a slot, or with LEDGER_NO_SLOT of what had no cluster, into
 * counts[REASON_COUNT]. */
void ledger_sum_reasons(const struct ledger *l, uint32_t slot, uint64_t *counts);
/* Of the ids in their order: counters of two builds mean the same when this is the same. */
uint32_t ledger_reasons_id(void);
/* True when every in-flight cell of every row is exactly zero. *out_sum (may be NULL) gets the sums of the
 * clusters' counts, with the endpoints' attempts and tunnels added to `service_count`. Walks all slots: for
 * tests and the end of a drain. */
bool ledger_is_quiet(const struct ledger *l, struct ledger_cluster_sum *out_sum);

/* Bucket of a latency, and the middle of a bucket in ns. */
uint32_t ledger_hist_bucket(uint64_t ns);
uint64_t ledger_hist_value(uint32_t bucket);
/* The q-quantile (0..1) in ns of a histogram, 0 when it is empty. */
uint64_t ledger_hist_quantile(const uint64_t *buckets, double q);

/* ---- past: totals of ended generations ---- */

/* A memfd that the master alone writes: two buffers of sums for every slot and a flip word, so that a crash
 * in the middle of folding repeats and loses nothing. Readers add it to the living generations. Same slot
 * numbers. */
struct ledger_past {
    char *base;
    size_t bytes;
    uint32_t max_clusters, max_endpoints;
    uint32_t cluster_words, endpoint_words, hist_buckets,
        reasons; /* of its own layout; reasons 0: none of ours */
    bool writable;
};
int ledger_past_create(uint32_t max_clusters, uint32_t max_endpoints) __attribute__((warn_unused_result));
/* Totals of another version are opened for reading only. */
bool ledger_past_open(struct ledger_past *p, int fd, bool writable) __attribute__((warn_unused_result));
/* Into new ones: all totals of others, with which generations went into them. */
void ledger_past_take_over(struct ledger_past *p, const struct ledger_past *from);
void ledger_past_close(struct ledger_past *p);
/* Adds all cumulative cells of an ended generation. Idempotent per generation number. */
void ledger_past_fold(struct ledger_past *p, const struct ledger *ended);
/* It is in the totals: a reader that still has its segment must not add it again. */
bool ledger_past_has(const struct ledger_past *p, uint64_t generation);
/* How many folds there were: equal before and after reading, nothing was added meanwhile. */
uint64_t ledger_past_turn(const struct ledger_past *p);
void ledger_past_cluster(const struct ledger_past *p, uint32_t slot,
                         struct ledger_cluster_sum *sum); /* adds */
void ledger_past_cluster_part(const struct ledger_past *p, uint32_t slot, enum ledger_part part,
                              struct ledger_cluster_sum *sum); /* likewise */
void ledger_past_endpoint(const struct ledger_past *p, uint32_t slot, struct ledger_endpoint_sum *sum);
void ledger_past_hist(const struct ledger_past *p, uint32_t slot, uint64_t *buckets);
/* Slot LEDGER_NO_SLOT: of no cluster. */
void ledger_past_reasons(const struct ledger_past *p, uint32_t slot, uint64_t *counts);

#endif
