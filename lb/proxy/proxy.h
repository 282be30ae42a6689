/* proxy: one generation of the data plane: N workers and a control thread.
 *
 *   control thread (main): channels to master and orchestrator, topology building, access log writing,
 * signals workers: nothing but requests; get topologies, drain and log buffers back by mailbox
 *
 * Started by the master after a fork; ends when drained. The proxy never waits for the orchestrator. */
#ifndef COX_PROXY_PROXY_H
#define COX_PROXY_PROXY_H

#include <stdatomic.h>

#include "base/ledger.h"
#include "proxy/access_format.h"
#include "proxy/choose.h"
#include "proxy/clients.h"
#include "proxy/exchange.h"
#include "proxy/files_open.h"
#include "proxy/guard.h"
#include "proxy/hold.h"
#include "proxy/secure.h"
#include "proxy/session.h"
#include "proxy/uplink.h"
#include "proxy/verified.h"
#include "proxy/wakes.h"
#include "run/role.h"
#include "run/worker.h"

struct proxy;

/* A worker's hold on a topology: counted without atomics by the exchanges that use it. */
struct view {
    struct topology *topology; /* counted reference */
    uint32_t users;            /* exchanges, plus one while it is the current */
};

/* A listener's socket in one worker. The descriptor is the process's; several workers never share one unless
 * there are fewer sockets than workers. */
struct acceptor {
    struct event ev;
    struct pworker *pw;
    const struct listener_settings *settings;
    int fd; /* borrowed from the role */
    bool added;
};

#define ACCESS_BUFFER_BYTES 65536
#define ACCESS_BUFFERS_MAX  4 /* per worker; when all are on their way lines are dropped and counted */

struct access_buffer {
    struct mail mail;
    struct pworker *pw;
    struct access_buffer *next;
    size_t len;
    size_t sent;   /* of it, when lines go one by one */
    uint64_t lost; /* lines, for the worker to count */
    char data[ACCESS_BUFFER_BYTES];
};

/* Field lines that say where a request came from, kept for the next request of the same client to the same
 * Host. */
#define ORIGIN_ENTRIES    64
#define ORIGIN_HOST_BYTES 64
struct origin_entry {
    uint8_t ip[16];
    uint16_t port, text_len; /* text_len 0: empty */
    /* Behind the text_len bytes that are always the same stand the two lines that are new with each request,
     * with room for their ids at these places (0: not configured). full_len 0: they did not fit. */
    uint16_t id_at, trace_at, full_len;
    uint8_t family, secure, trusted, host_len, ip_len, version;
    char host[ORIGIN_HOST_BYTES], ip_text[46], text[512];
};

struct pworker {
    struct worker w; /* first */
    struct proxy *proxy;
    const struct settings *settings;
    struct view *view; /* current; NULL before the first topology */
    struct ledger_writer ledger;
    struct pool exchange_pool, short_exchange_pool, arena_pool, session_pool, uplink_pool_mem, intro_pool, compress_pool,
        mirror_pool;
    struct list sessions, idle_sessions; /* busy and idle, oldest first */
    struct list calm_sessions;           /* idle for so long that they rest (resting.h), likewise */
    struct list resting;                 /* connections that have been idle for long, longest first */
    struct pool resting_pool;
    struct files_roots files_roots;
    struct conduits conduits;     /* for large bodies, between plain sockets */
    struct list intros;           /* connections whose PROXY header is not there yet */
    struct list uplinks;          /* all */
    struct list mirrors;          /* copies for other clusters, all */
    struct hold_room *hold_rooms; /* owned; one per cluster slot */
    struct list to_berth;         /* held exchanges that may become berths when the turn is over */
    struct list rooms, rooms_due; /* rooms in which someone waits; rooms to look into */
    struct run_node hold_run;
    struct deadline hold_look; /* when to look for places that another generation freed */
    struct uplink_pool pool;
    struct secure secure;                       /* TLS */
    struct field *fields;                       /* MESSAGE_FIELDS_MAX, lent to backs for answer heads */
    uint32_t *cursors;                          /* round robin, one per cluster slot */
    struct balance_load *loads, *cluster_loads; /* owned; by endpoint and cluster slot; NULL: few workers */
    struct balance_ewma *ewma;                  /* owned; one per endpoint slot; touched by peak_ewma only */
    struct retry_budget *budgets;               /* owned; one per cluster slot */
    uint64_t random;
    struct acceptor *acceptors; /* owned */
    int acceptor_count;
    uint32_t session_count, uplink_count, held_count;
    bool draining;    /* accepts no more; answers say Connection: close */
    bool drain_final; /* nobody comes after us: idle sessions are closed too */
    bool accept_paused;
    uint64_t drain_at_ms;       /* then what is left is cut */
    struct h2_pool *h2_pool;    /* owned; server connections of HTTP/2 */
    struct front_h2_shared *h2; /* owned; NULL: no HTTP/2 session yet */
    struct access_buffer *log;  /* being filled; NULL: none yet */
    struct access_buffer *log_free;
    int log_made;
    struct origin_entry *origins; /* owned; ORIGIN_ENTRIES */
    uint64_t log_second;          /* date_text is of this one */
    struct access_clock log_clock;
    char date_text[48];
    uint32_t date_len;
    uint64_t http_date_second; /* http_date is of this one */
    char http_date[48];
    struct str via_line;             /* owned; "Via: 1.1 NAME\r\n" */
    _Atomic uint32_t *server_errors; /* owned; answers from 500 on per endpoint slot, with eject_rate; read by
                                        all workers */
    struct verified *verified;       /* owned; NULL: no guard has passwords */
    struct deadline tick;            /* once a second: log flush, end of the drain */
    /* Read by the other workers (hand-over) and the control thread. */
    struct {
        _Alignas(64) _Atomic uint32_t sessions; /* written by the worker alone */
        _Atomic bool serving; /* has a topology and accepts: connections may be handed to it; likewise */
        /* Connections handed to it that it has not taken yet: others add, it subtracts. */
        _Alignas(64) _Atomic uint32_t coming;
    } shared;
};
/* They stand in an array, and lines of two of them must not mix. */
_Static_assert(sizeof(struct pworker) % 64 == 0 && offsetof(struct pworker, shared) % 64 == 0 &&
                   offsetof(struct pworker, w.shared) % 64 == 0 &&
                   offsetof(struct pworker, w.mailbox.shared) % 64 == 0,
               "what threads share has lines of its own");

struct proxy {
    const struct settings *settings;
    struct proxy_role *role;
    struct ledger ledger;
    struct pworker *workers; /* owned */
    int worker_count;
    uint32_t max_sessions;                 /* per worker */
    struct loop loop;                      /* of the control thread */
    struct mailbox mailbox;                /* of the control thread */
    struct channel *master, *orchestrator; /* owned; NULL: gone */
    struct topology *topology;             /* the newest, counted */
    struct timer tick;
    struct timer guard_timer; /* how long `topology` is kept from the workers */
    bool waits_for_guards;
    bool ready_sent, draining;
    int workers_done;
    struct access_syslog *access_syslog; /* owned; NULL: lines go to access_fd as they are */
    _Atomic int access_fd;      /* -1: off; the control thread writes it, workers look whether there is one */
    struct addr *bound;         /* owned; one per listener, see proxy_bound_to */
    struct secure_files secure; /* certificates; the control thread's */
    struct clients *clients;    /* owned; connections per client address */
    struct guards *guards;      /* owned; NULL: the config has none */
    struct hold_shared hold;    /* requests that wait */
    struct gates gates;         /* max_in_flight and ejection, shared by the workers */
    struct {
        _Atomic int draining; /* workers that accept no more: then no hand-over can come any more */
    } shared;
    _Atomic bool fail_ready; /* /readyz says no; the control thread sets it, workers look */
};

static inline struct pworker *pworker_of(struct worker *w)
{
    return (struct pworker *)w;
}

/* view.c */
struct view *view_ref(struct pworker *pw);
void view_unref(struct pworker *pw, struct view **v);
/* For one worker, with a reference of its own to t. Control thread: a worker must not need memory for a new
 * topology. */
struct view *view_create(struct topology *t);
/* Makes it the current one; it belongs to the worker from now on. */
void view_replace(struct pworker *pw, struct view *fresh);

/* accept.c */
bool acceptors_start(struct pworker *pw) __attribute__((warn_unused_result));
void acceptors_stop(struct pworker *pw);
/* Takes what waits in the queues, before they are closed for good. */
void acceptors_empty(struct pworker *pw);
/* When no worker accepts any more: lets go of the sockets, so that a listener that the new config does not
 * have is gone. final: a shutdown, connecting is refused from now on, whoever else has them. */
void proxy_close_listeners(struct proxy *p, bool final);
/* Looks where the listeners are bound, once, before the workers start. False: memory is out. */
bool proxy_look_at_bound(struct proxy *p) __attribute__((warn_unused_result));
/* The local address of every connection of this listener; NULL when each has to be asked for its own, because
 * the listener is bound to a wildcard, or takes connections meant for others. Any thread. */
const struct addr *proxy_bound_to(const struct proxy *p, const struct listener_settings *l);
/* Until a session ends. */
void acceptors_pause(struct pworker *pw);
void acceptors_resume(struct pworker *pw);

/* pworker.c */
bool pworker_init(struct pworker *pw, struct proxy *p, int index) __attribute__((warn_unused_result));
void pworker_fini(struct pworker *pw);
/* One client connection more (1) or less (-1): the worker's own count, the ledger's, and what other workers
 * see. */
void pworker_count_session(struct pworker *pw, int delta);
/* The time of this second as a Date field has it (RFC 9110 5.6.7); borrowed until the next call. */
struct str pworker_http_date(struct pworker *pw);
/* The same as a whole field line. */
struct str pworker_date_line(struct pworker *pw);
/* Its thread. */
void *pworker_main(void *pw);
/* Control thread: tells the worker. */
void pworker_send_drain(struct pworker *pw, uint64_t timeout_ms, bool final);

/* proxy_topology.c, control thread */
bool proxy_first_topology(struct proxy *p) __attribute__((warn_unused_result));
void proxy_on_topology(struct proxy *p, struct str payload, bool is_diff);

/* access.c: one line at DONE */
void access_log(struct exchange *x);
/* Hands the buffer to the control thread. */
void access_flush(struct pworker *pw);
void access_fini(struct pworker *pw);

#endif
