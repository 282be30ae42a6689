/* The writing half of the HTTP/1.x front: answers toward the client. */
#include <stdio.h>

#include "base/panic.h"
#include "http/h1_write.h"
#include "http/rules.h"
#include "proxy/affinity.h"
#include "proxy/proxy.h"

static struct session *session_of(struct exchange *x)
{
    CHECK_MAGIC(x->session, SESSION_MAGIC);
    return x->session;
}

static bool client_is_11(const struct exchange *x)
{
    return x->req.version >= 11;
}

/* The time it was not allowed to send is not the client's. */
static void restart_body_clock(struct session *s)
{
    s->body_seen_ms = s->body_started_ms = s->pw->w.now_ms;
    s->body_bytes = 0;
}

static bool h1_interim(struct exchange *x, struct message *m)
{
    struct session *s = session_of(x);
    struct writer w;
    if (!client_is_11(x) || m->status == 101)
        return true; /* RFC 9110 15.2: never to an HTTP/1.0 client */
    if (m->status == 100)
        restart_body_clock(s);
    rules_drop_hop_by_hop(m);
    writer_init(&w, sink_reserve(&s->sink, m->head_len + 1024u), m->head_len + 1024u);
    h1_write_status_line(&w, m);
    h1_write_fields(&w, m);
    writer_str(&w, STR("\r\n"));
    if (w.overflow)
        return true; /* an interim answer may be dropped */
    sink_commit(&s->sink, w.len);
    return sink_flush(&s->sink);
}

/* What ends the connection after this answer, whatever the client asked. */
static void decide_close(struct exchange *x, struct session *s)
{
    bool waits_for_continue = (x->req.flags & MSG_EXPECT_CONTINUE) && !x->continue_sent && !x->request_ended;
    uint64_t limit = (uint64_t)s->listener->max_requests;
    s->client_closes = !(x->req.flags & MSG_KEEP_ALIVE);
    if (s->client_closes || waits_for_continue || x->pw->draining || (s->conn.eof && !s->in_len) ||
        (limit && s->request_count >= limit))
        s->close_after = true;
    /* A malformed or refused request leaves no safe place where the next could begin (H1 to H20). */
    if (x->reason && (reason_status((enum reason)x->reason) == 400 || !x->request_ended))
        s->close_after = true;
}

static void decide_framing(struct exchange *x, struct session *s, const struct message *m)
{
    s->rsp_no_body = x->req.method == METHOD_HEAD || m->status == 204 || m->status == 304 || m->status == 101;
    s->rsp_chunked = s->rsp_close_delimited = s->rsp_last_sent = false;
    if (s->rsp_no_body || m->framing == BODY_LENGTH || m->framing == BODY_NONE)
        return;
    if (client_is_11(x))
        s->rsp_chunked = true;
    else
        s->close_after = s->rsp_close_delimited = true;
}

static void put_framing(struct session *s, const struct message *m, struct writer *w)
{
    if (s->rsp_chunked)
        h1_write_framing(w, BODY_CHUNKED, 0);
    else if (m->framing == BODY_LENGTH)
        h1_write_framing(w, BODY_LENGTH, m->content_length);
    else if (!s->rsp_no_body && m->framing == BODY_NONE)
        h1_write_framing(w, BODY_LENGTH, 0);
    else if (s->rsp_no_body && (m->flags & MSG_HAS_LENGTH) && m->status >= 200 && m->status != 204)
        h1_write_framing(w, BODY_LENGTH, m->content_length); /* of the body that GET would have had */
}

static void put_connection(struct exchange *x, struct session *s, const struct message *m, struct writer *w)
{
    if (m->status == 101) {
        writer_str(w, STR("Connection: upgrade\r\n"));
        struct str upgrade = message_value(m, FIELD_UPGRADE);
        if (upgrade.p)
            writer_field(w, STR("Upgrade"), upgrade);
    } else if (s->close_after)
        writer_str(w, STR("Connection: close\r\n"));
    else if (!client_is_11(x))
        writer_str(w, STR("Connection: keep-alive\r\n"));
}

static void put_proxy_fields(struct exchange *x, const struct message *m, struct writer *w)
{
    if (!message_has(m, FIELD_DATE)) { /* RFC 9110 6.6.1: whoever has a clock adds it */
        writer_str(w, pworker_date_line(x->pw));
    }
    if (x->opt && x->opt->sticky.cookie) {
        char cookie[AFFINITY_COOKIE_BYTES];
        size_t n = affinity_set_cookie(x, cookie);
        if (n)
            writer_field(w, STR("Set-Cookie"), str_make(cookie, n));
    }
    if (x->pw->settings->via && !x->reason) {
        writer_str(w, x->pw->via_line);
    }
}

static bool h1_head(struct exchange *x, struct message *m)
{
    struct session *s = session_of(x);
    struct writer w;
    rules_drop_hop_by_hop(m);
    decide_close(x, s);
    decide_framing(x, s, m);
    size_t room = m->head_len + 4096u;
    if (room > WORKER_CORK_BYTES)
        room = WORKER_CORK_BYTES;
    writer_init(&w, sink_reserve(&s->sink, room), room);
    bool same_length = !s->rsp_chunked && m->framing == BODY_LENGTH;
    if (!h1_write_response_head(&w, m, same_length))
        put_framing(s, m, &w);
    put_connection(x, s, m, &w);
    put_proxy_fields(x, m, &w);
    writer_str(&w, STR("\r\n"));
    if (w.overflow)
        return false;
    sink_commit(&s->sink, w.len);
    return true;
}

static void watch_write(struct session *s)
{
    if (s->write_watched || (!sink_is_blocked(&s->sink) && s->conn.may_write))
        return; /* a file waits in no sink, only for the socket */
    s->write_watched = true;
    s->write_progress = s->sink.sent_bytes;
    s->write_seen_ms = s->pw->w.now_ms;
    worker_deadline(&s->pw->w, &s->deadline, s->listener->client_write_timeout_ms);
}

static ssize_t h1_data(struct exchange *x, const char *p, size_t n, bool last)
{
    struct session *s = session_of(x);
    struct iovec iov[3];
    char head[24];
    int count = 0;
    ASSERT(n > 0); /* an empty chunk would end the body */
    if (sink_is_blocked(&s->sink)) {
        watch_write(s);
        return 0;
    }
    if (s->rsp_no_body && s->state != SESSION_TUNNEL)
        return (ssize_t)n;
    if (s->rsp_chunked)
        iov[count++] = (struct iovec){head, h1_chunk_head(head, n)};
    iov[count++] = (struct iovec){(void *)(uintptr_t)p, n};
    if (s->rsp_chunked) {
        iov[count++] = last ? (struct iovec){(void *)(uintptr_t) "\r\n0\r\n\r\n", 7}
                            : (struct iovec){(void *)(uintptr_t) "\r\n", 2};
        s->rsp_last_sent = last;
    }
    if (!sink_write(&s->sink, iov, count))
        return -1;
    watch_write(s);
    return (ssize_t)n;
}

static ssize_t h1_file(struct exchange *x, int fd, off_t *offset, size_t n, bool last)
{
    struct session *s = session_of(x);
    (void)last; /* files always have a length */
    ASSERT(!s->rsp_chunked);
    if (!sink_flush(&s->sink))
        return -1;
    if (sink_is_blocked(&s->sink) || !s->conn.may_write) {
        watch_write(s);
        return 0;
    }
    ssize_t put = s->conn.ops->send_file(&s->conn, fd, offset, n);
    if (put > 0)
        s->sink.sent_bytes += (uint64_t)put;
    if (put != CONN_AGAIN)
        return put;
    watch_write(s);
    return 0;
}

static ssize_t h1_splice(struct exchange *x, struct conn *from, size_t most, bool *out_ok)
{
    struct session *s = session_of(x);
    *out_ok = true;
    if (s->rsp_chunked || s->rsp_no_body || sink_is_blocked(&s->sink))
        return CONN_AGAIN;
    ssize_t got = sink_splice(&s->sink, from, most, out_ok);
    watch_write(s);
    return got;
}

static bool end_chunked(struct session *s, struct message *trailers)
{
    struct writer w;
    size_t room = 16 + (trailers ? trailers->head_len + 1024u : 0);
    writer_init(&w, sink_reserve(&s->sink, room), room);
    h1_write_last_chunk(&w, trailers);
    sink_commit(&s->sink, w.len);
    return !w.overflow;
}

static bool h1_end(struct exchange *x, struct message *trailers)
{
    struct session *s = session_of(x);
    if (s->state == SESSION_TUNNEL) {
        s->shut_pending = true;
        if (!sink_is_blocked(&s->sink))
            conn_shutdown(&s->conn);
        return true;
    }
    if (s->rsp_chunked && !s->rsp_last_sent && !end_chunked(s, trailers))
        return false;
    s->rsp_last_sent = true;
    if (!sink_flush(&s->sink))
        return false;
    watch_write(s);
    return true;
}

/* Who is told that it is not may wait for that, so it must end. */
static bool h1_is_flushed(struct exchange *x)
{
    struct session *s = session_of(x);
    if (!sink_is_blocked(&s->sink))
        return true;
    watch_write(s);
    return false;
}

/* FIN alone may be a half-close, but nobody keeps a place in a waiting room for a client that has most likely
 * left it. */
static bool h1_is_gone(struct exchange *x)
{
    return conn_ask_peer(&session_of(x)->conn) != CONN_AGAIN;
}

static void h1_want_request(struct exchange *x)
{
    restart_body_clock(session_of(x));
    front_h1_resume(session_of(x));
}

static void h1_again(struct exchange *x)
{
    front_h1_resume(session_of(x));
}

static void h1_tunnel(struct exchange *x)
{
    struct session *s = session_of(x);
    s->close_after = true;
    session_set_state(s, SESSION_TUNNEL);
    if (!sink_flush(&s->sink))
        s->broken = true;
    front_h1_resume(s); /* bytes that came behind the request are the tunnel's */
}

static void h1_done(struct exchange *x, bool cut)
{
    struct session *s = session_of(x);
    s->x = NULL;
    s->write_watched = false;
    if (cut || s->broken) {
        /* Without a length or chunks only a reset tells the client that the answer is not whole. */
        session_close(s, s->rsp_close_delimited && x->head_forwarded);
        return;
    }
    front_h1_next(s);
}

const struct front_ops front_h1 = {
    .name = "h1",
    .interim = h1_interim,
    .head = h1_head,
    .data = h1_data,
    .file = h1_file,
    .splice = h1_splice,
    .end = h1_end,
    .is_flushed = h1_is_flushed,
    .is_gone = h1_is_gone,
    .again = h1_again,
    .want_request = h1_want_request,
    .tunnel = h1_tunnel,
    .done = h1_done,
};
