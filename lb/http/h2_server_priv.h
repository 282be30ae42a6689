/* The body of h2_server, shared by its two halves. */
#ifndef COX_HTTP_H2_SERVER_PRIV_H
#define COX_HTTP_H2_SERVER_PRIV_H

#include "http/h2_guard.h"
#include "http/h2_nv.h"
#include "http/h2_server.h"

struct h2_server {
    nghttp2_session *ng; /* owned */
    const struct h2_server_ops *ops;
    void *ctx;
    struct h2_nv *nv; /* borrowed */
    struct h2_server_limits limits;
    struct h2_head head;           /* of the block being decoded */
    struct h2_stream *head_stream; /* whose it is; NULL: nobody's */
    struct h2_stream *last;        /* the one that was asked for, while last_id is not 0 */
    int32_t last_id;
    struct h2_guard guard;
    uint64_t now_ms;
    uint64_t unread; /* of all streams */
    uint64_t owed;   /* of the connection's window, not given back yet */
    size_t emitted;  /* by this h2_server_send */
    size_t budget;   /* its argument */
    void *page;      /* of nghttp2: h2_mem_priv.h; NULL: none, or not any more */
    bool rested;     /* nothing came since h2_server_rest */
    uint8_t why;     /* enum reason */
    bool notice_sent, shut;
    bool goaway_counted;
    bool peer_left; /* the client sent GOAWAY */
};

/* server_send.c: what nghttp2 calls when it writes. */
void h2_server_set_send_callbacks(nghttp2_session_callbacks *callbacks);
/* The stream of an id, NULL when it is not ours any more. */
struct h2_stream *h2_server_stream(struct h2_server *srv, int32_t id);
/* Gives back of the connection's window what may be given. */
void h2_server_give_window(struct h2_server *srv);
static inline void h2_server_count(struct h2_server *srv, enum h2_count what)
{
    if (srv->ops->count)
        srv->ops->count(srv->ctx, what);
}
/* Remembers why the connection has to end; the first reason stays. */
void h2_server_set_why(struct h2_server *srv, enum reason why);

#endif
