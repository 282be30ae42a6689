/* session: one client connection of HTTP/1.x. The front_h1 codec works on it.
 *
 * Born by accept, or by a hand-over from another worker; owned by its worker; dies in session_close (after a
 * lingering close: FIN first, then what the client still sends is discarded, so that it never sees a reset).
 * An idle session holds no buffer and no exchange. States change in session_set_state alone, which also sets
 * the time-out that belongs to the state. With TLS the first is HANDSHAKE, and the front begins behind it. */
#ifndef COX_PROXY_SESSION_H
#define COX_PROXY_SESSION_H

#include "conf/settings.h"
#include "http/h1_body.h"
#include "http/h1_parse.h"
#include "net/sink.h"
#include "net/tls.h"
#include "proxy/exchange.h"

#define SESSION_MAGIC 0x73657373u

enum session_state {
    SESSION_IDLE,      /* between requests */
    SESSION_HEAD,      /* some bytes of a request head are there */
    SESSION_BODY,      /* its body is being read */
    SESSION_WAIT,      /* the request is complete, the answer is not */
    SESSION_TUNNEL,    /* raw bytes */
    SESSION_STREAMS,   /* HTTP/2: requests are open */
    SESSION_DRAIN,     /* answered early: the rest of the request is discarded */
    SESSION_HANDSHAKE, /* TLS comes first; listed with the idle ones */
    SESSION_LINGER,    /* FIN sent, waiting for the client's */
    SESSION_CLOSED
};

struct h2_session;

struct session {
    struct parked parked;
    uint32_t magic;
    uint8_t state;      /* enum session_state */
    bool close_after;   /* no further request on this connection */
    bool client_closes; /* the client said that this request is its last */
    bool rsp_chunked;   /* the answer goes out chunked */
    bool rsp_no_body;   /* HEAD, 204, 304 */
    bool rsp_last_sent; /* the last chunk went out */
    bool rsp_close_delimited;
    bool shut_pending;  /* tunnel: FIN when the sink is empty */
    bool write_watched; /* the deadline stands for the write time-out too */
    bool broken;
    bool may_be_h2;          /* its first bytes decide */
    uint8_t family;          /* AF_INET, AF_INET6, AF_UNIX */
    bool trusted;            /* the peer is in listener.trusted */
    bool limited;            /* counted in proxy.clients */
    bool secure_before;      /* a PROXY header says that the client used TLS */
    uint16_t port;           /* of the client */
    uint16_t local_port;     /* that it connected to */
    uint8_t ip[16];          /* of the client, v4-mapped */
    uint8_t local_ip[16];    /* that it connected to; zero for unix sockets */
    struct list own_uplinks; /* idle ones that began with this client's PROXY header; they close with it */
    struct session_proxied *proxied; /* owned; NULL: no PROXY header, or one that says nothing more */
    struct conn conn;
    struct sink sink;
    struct deadline deadline;
    struct run_node run;
    struct list node; /* in pworker.sessions (busy) or pworker.idle_sessions, oldest first */
    struct pworker *pw;
    const struct listener_settings *listener;
    struct exchange *x;        /* owned, NULL when idle, or asleep */
    struct hold_place *asleep; /* where it sleeps (berth.h); NULL: it does not */
    struct h2_session *h2;     /* owned; NULL: HTTP/1 */
    char *in;                  /* bytes read but not used up; owned, NULL when none */
    uint32_t in_len, in_cap;
    uint32_t request_count;
    struct h1_parser parser;
    struct h1_body body;
    uint64_t body_started_ms, body_seen_ms, body_bytes, drained_bytes;
    uint64_t write_progress, write_seen_ms; /* sink.sent_bytes when it last moved, and when that was */
    uint64_t linger_until_ms;
};

/* What a PROXY header said beside the addresses; borrowed texts lie behind it in the same block. */
struct session_proxied {
    struct str unique_id, authority, alpn, tls_version, tls_cipher, tls_name;
    uint32_t tls_verify;
    uint8_t tls_client;
    bool has_tls;
};

/* Did the client come over TLS, to us or to the proxy that introduced it? */
static inline bool session_is_secure(const struct session *s)
{
    return conn_is_secure(&s->conn) || s->secure_before;
}

/* What a session must know after its connection was kept without one: whoever adds to struct session a field
 * that outlives a request adds it here. */
struct session_kept {
    const struct listener_settings *listener;
    int fd; /* owned */
    uint32_t request_count;
    uint16_t port, local_port;
    uint8_t family;
    bool trusted, limited, secure_before;
    uint8_t ip[16], local_ip[16];
};

struct proxyproto;

/* Takes over fd. peer: of the socket. said: the PROXY header that came before, or NULL; borrowed for the
 * call. */
void session_open(struct pworker *pw, const struct listener_settings *listener, int fd,
                  const struct addr *peer, const struct proxyproto *said);
/* An idle session again from a connection that rested (resting.h) or was held (berth.h); it is not counted
 * anew. NULL: memory was out, and the connection is closed and counted no more. */
struct session *session_revive(struct pworker *pw, const struct session_kept *kept);
/* The opposite: an idle session goes, its connection stays open and counted. */
void session_give_up(struct session *s, struct session_kept *out_kept);
/* Nothing hangs on it but what session_kept has, and an exchange perhaps. */
bool session_can_be_kept(const struct session *s);
/* Can its exchange sleep (berth.h), if not the session with it? It does, in that place; whatever the
 * connection announces wakes it up first. And afterwards, with s->x set anew. */
bool session_may_sleep(const struct session *s);
void session_sleep(struct session *s, struct hold_place *place);
void session_wake_up(struct session *s);
/* At once, for a session without an exchange. reset: RST instead of FIN. */
void session_close(struct session *s, bool reset);
/* Closes it when it is idle: for a shutdown, where no other generation will answer the next request, and for
 * want of descriptors. A generation that drains after a reload leaves idle sessions alone: the answer to
 * their next request says "Connection: close". */
void session_drain(struct session *s);
void session_set_state(struct session *s, enum session_state state);

/* ---- front_h1: the codec ---- */

extern const struct front_ops front_h1;
/* conn.on_ready of a session: drains the sink, reads, parses, and ends with the cork empty. */
void front_h1_on_ready(struct conn *c);
/* Goes on with what is buffered or readable, in a later pass of the run queue. */
void front_h1_resume(struct session *s);
/* The exchange is over and the answer out: next request, drain, or close. */
void front_h1_next(struct session *s);
/* Keeps n unused bytes for later; p may point into s->in. False when memory is out. */
bool session_keep_input(struct session *s, const char *p, size_t n) __attribute__((warn_unused_result));
/* FIN now, then what still comes is discarded. */
void session_linger(struct session *s);
/* Something (or nothing) came while it lingers: waits on, within bounds, or closes. */
void session_go_on_lingering(struct session *s, bool got_some);

#endif
