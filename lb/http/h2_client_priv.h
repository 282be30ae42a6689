/* h2_client_priv: what the two halves of h2_client share, and nobody else: h2_client_recv.c takes what the
 * server sends, h2_client.c does the rest. */
#ifndef COX_HTTP_H2_CLIENT_PRIV_H
#define COX_HTTP_H2_CLIENT_PRIV_H

#include <nghttp2/nghttp2.h>

#include "http/h2_client.h"
#include "http/h2_mem_priv.h"

#define H2_CLIENT_HEAD_ROOM 4096 /* first block of a head's memory: most heads need no more */

/* A server may send frames that carry nothing only so often (T5): `credit` is what is left of them. Time
 * earns control_frames a second, up to BURST_SECONDS; streams and bodies earn what they need. A window that
 * is opened byte by byte earns nothing (T6). */
struct h2_client {
    nghttp2_session *session; /* owned */
    const struct h2_client_ops *ops;
    struct h2_client_limits limits;
    const char *trouble; /* NULL: all is well */
    bool ready, leaving, has_connect, busy;
    uint32_t max_streams;
    uint32_t continuations;
    uint32_t requests;
    struct h2_client_stream *last; /* the one that was asked for, while last_id is not 0 */
    int32_t last_id;
    uint64_t credit, credit_max, now_ms, moved_bytes;
    /* the answer's head being received */
    struct h2_head head;
    struct message m;
    struct arena arena;
    bool collecting;
    /* payload that waits to be told whether it is the last */
    struct h2_client_stream *data_of;
    struct str data;
    /* fill: where frames go, and one that did not fit */
    char *to;
    size_t room, len;
    struct str held; /* borrowed from the session until its next mem_send */
    struct field fields[MESSAGE_FIELDS_MAX];
    _Alignas(16) char head_room[H2_CLIENT_HEAD_ROOM];
};

static inline struct h2_client_stream *client_stream_of(struct h2_client *c, int32_t id)
{
    if (!id)
        return NULL;
    if (c->last_id != id) {
        c->last = nghttp2_session_get_stream_user_data(c->session, id);
        c->last_id = c->last ? id : 0; /* who is none may be one later */
    }
    return c->last;
}

static inline int client_give_up(struct h2_client *c, const char *why)
{
    if (!c->trouble)
        c->trouble = why;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static inline void client_earn(struct h2_client *c, uint64_t n)
{
    c->credit = c->credit + n < c->credit_max ? c->credit + n : c->credit_max;
}

static inline void client_earn_bytes(struct h2_client *c, size_t n)
{
    c->moved_bytes += n;
    client_earn(c, c->moved_bytes >> 10);
    c->moved_bytes &= 1023;
}

static inline void client_earn_time(struct h2_client *c, uint64_t now_ms)
{
    uint64_t passed = (now_ms - c->now_ms) * c->limits.control_frames / 1000;
    if (!c->now_ms || passed) { /* else the rest of a millisecond would be lost */
        c->now_ms = now_ms;
        client_earn(c, passed);
    }
}

static inline int client_spend(struct h2_client *c)
{
    if (!c->credit)
        return client_give_up(c, "too many frames that carry nothing");
    c->credit--;
    return 0;
}

/* The callbacks of h2_client_recv.c. */
void h2_client_recv_callbacks(nghttp2_session_callbacks *cb);
/* Payload that waited to be told whether it is the last goes on. */
void h2_client_flush_data(struct h2_client *c, bool last);
/* Forgets a head that is being received. */
void h2_client_drop_head(struct h2_client *c);

#endif
