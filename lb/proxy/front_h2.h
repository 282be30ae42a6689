/* front_h2: HTTP/2 with a client. Many exchanges in one session, each on a stream.
 *
 *   session ─► h2_session ─► h2_server (the codec)          stream ◄─► exchange
 *                  └──────── streams: opened by the codec, forgotten when it says `gone`
 *
 * Begun by front_h2_begin on a session that turned out to speak HTTP/2; from then on the session's events
 * come here. All output is made in one place, pump, at the top of an event or from the run queue, so that
 * answers that come in one turn of the loop leave in one system call. What a back hands over goes into the
 * exchange's pipe and is taken from there when the codec has chosen its stream (RFC 9218), the windows have
 * room and the socket takes it: a slow stream holds its own pipe and nothing else.
 *
 * Ends by GOAWAY and a lingering close, or at once when the client is gone. */
#ifndef COX_PROXY_FRONT_H2_H
#define COX_PROXY_FRONT_H2_H

#include "proxy/session.h"

struct h2_nv;
struct h2_session;
struct stream;

/* What the HTTP/2 sessions of one worker share. */
struct front_h2_shared {
    struct pool streams;
    struct h2_nv *nv;          /* owned */
    struct stream *gathering;  /* whose small frames wait in `gather`; only within one read of a session */
    struct h2_session *urgent; /* borrowed: has much to send that was just read; see front_h2_hurry */
    uint64_t turn_ns;          /* the worker's turn in which spent_ns went by reading requests */
    uint64_t spent_ns;
    uint64_t unruly_ns; /* the part of it that went to those who take most of theirs back */
    uint32_t gathered;
    char gather[16384];
};

extern const struct front_ops front_h2;

/* NULL when memory is out. */
struct front_h2_shared *front_h2_shared_create(void);
void front_h2_shared_destroy(struct front_h2_shared **shared);

/* For berth.c. Can the request of x, which is held, sleep? It does, in that place, and x may go; the session
 * that it is of; it wakes up as x, or never (NULL: memory was out). */
bool front_h2_may_sleep(const struct exchange *x);
struct stream *front_h2_sleep(struct exchange *x, struct hold_place *place);
struct session *front_h2_session(const struct stream *t);
void front_h2_awake(struct stream *t, struct exchange *x);

/* Frees some of what lies idle in there; once a second. NULL is harmless. */
void front_h2_shared_trim(struct front_h2_shared *shared);

/* The bytes of the preface that every HTTP/2 connection begins with (RFC 9113 3.4). */
#define H2_PREFACE STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
enum h2_sniff { H2_SNIFF_NO, H2_SNIFF_MORE, H2_SNIFF_YES };
/* Do these first bytes of a connection begin the preface? */
enum h2_sniff front_h2_sniff(const char *p, size_t n);

/* Turns an idle session that has had no request into one of HTTP/2. p: what was read already. It goes on from
 * the run queue. False when memory is out: the caller closes the session. */
bool front_h2_begin(struct session *s, const char *p, size_t n) __attribute__((warn_unused_result));
/* conn.on_ready of such a session. */
void front_h2_on_ready(struct conn *c);
/* Its deadline. */
void front_h2_on_timeout(struct session *s);
/* At the end of a server's callback: what it brought for a stream of HTTP/2 leaves while it is in the cache,
 * if it is much. Small answers wait for each other, to leave together. */
void front_h2_hurry(struct pworker *pw);
/* It is idle, and has been for a while. */
void front_h2_rest(struct session *s);
/* How long until it should be looked at again while requests are open. */
uint64_t front_h2_tick_ms(const struct session *s);
/* GOAWAY in two steps; the session ends with its last stream. */
void front_h2_drain(struct session *s);
/* Ends all exchanges at once; the caller closes the session. */
void front_h2_cut(struct session *s, enum reason why);
/* Part of session_close. No exchange is left. */
void front_h2_free(struct session *s);

#endif
