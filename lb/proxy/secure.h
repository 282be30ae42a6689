/* secure: TLS in the proxy: whose certificates a listener shows, and what a cluster's servers must prove.
 *
 *   bundle (run/bundle.h) ─► control thread: one tls_store a listener, one tls_client for each way to connect
 *                            │ by mail                │ hangs on the clusters of a topology
 *                            ▼                        ▼
 *   worker: one tls_server a listener            tls_connect of an uplink
 *
 * Stores and clients are immutable and counted; a worker takes new ones between two events. */
#ifndef COX_PROXY_SECURE_H
#define COX_PROXY_SECURE_H

#include "net/tls.h"
#include "topo/topology.h"

struct message;
struct exchange;
struct proxy;
struct pworker;
struct session;
struct uplink;

/* Of the proxy; the control thread's. */
struct secure_files {
    struct bundle bundle;
    struct tls_store **stores;     /* owned; one per listener, NULL: plain */
    struct secure_client *clients; /* owned list; one per different way to connect */
    struct secure_client *former;  /* owned list; while new ones are made: what they stand in for */
};

/* Of a worker. */
struct secure {
    struct tls_worker *worker;   /* owned */
    struct tls_server **servers; /* owned; one per listener, NULL: plain */
    struct tls_resume *resumes;  /* owned; one per endpoint slot; what servers gave us to come back with */
    uint32_t resume_count;
};

/* Before the workers are made. False: said in the log. */
bool secure_load(struct proxy *p) __attribute__((warn_unused_result));
void secure_unload(struct proxy *p);
/* Control thread: the files have changed; takes over fd. What is no good in them is said in the log, and what
 * was there before stays in its place. */
void secure_reload(struct proxy *p, int fd);
/* Control thread: other keys for tickets, a struct ticket_keys; ignored when it is none. */
void secure_set_tickets(struct proxy *p, struct str payload);
/* Control thread: tells master and orchestrator about the certificates (CHANNEL_CERTIFICATES). */
void secure_tell(struct proxy *p);

bool secure_init(struct pworker *pw) __attribute__((warn_unused_result));
void secure_fini(struct pworker *pw);

/* Control thread: makes clients for the clusters of a topology that is about to be published. A cluster that
 * wants TLS and gets none (said in the log) is never spoken to in clear: its requests fail. */
void secure_sign(struct proxy *p, struct topology *t);

/* Begins TLS on a session whose listener wants it. False when memory is out. */
bool secure_accept(struct session *s) __attribute__((warn_unused_result));
/* Its handshake is over, well or not; a failure is a reason in the ledger (tls_...). */
void secure_count_accepted(struct session *s);
void secure_count_failed(struct session *s, enum tls_failure why);
/* Begins TLS on an uplink whose cluster wants it; alpn as of tls_connect. False: it cannot be. */
bool secure_connect(struct uplink *u, const struct cluster *c, const char *alpn)
    __attribute__((warn_unused_result));
/* Its handshake is done. */
void secure_count_connected(struct uplink *u);
/* Whether an idle uplink is still what this cluster wants. */
bool secure_fits(const struct uplink *u, const struct cluster *c);

/* Drops what clients claim about certificates, and tells servers whose certificate came with this one; called
 * when settings.asks_clients, before the head is written. */
enum reason secure_tell_client(struct exchange *x);

/* Drops the same claims from the trailers of a request. When settings.asks_clients. */
void secure_drop_claims(const struct exchange *x, struct message *trailers);

/* A request that came as early data: 425, or told to the server (RFC 8470 5.1, 5.2). When
 * settings.takes_early_data. */
enum reason secure_take_early(struct exchange *x);

/* For a check of the configuration: what secure_load would do; a line in *errors for each thing wrong. */
bool secure_check(const struct settings *s, struct buf *errors);

#endif
