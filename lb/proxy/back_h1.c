/* The HTTP/1.x back: requests to a server, its answers back. */
#include "base/panic.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"
#include "http/rules.h"
#include "proxy/patience.h"
#include "proxy/proxy.h"
#include "proxy/rewrite.h"

#define TURN_READS   4     /* of one uplink in one turn of the loop */
#define GATHER_BYTES 16384 /* payload of small chunks that is handed on in one run */

static struct uplink *uplink_of(struct exchange *x)
{
    struct uplink *u = x->back_state;
    CHECK_MAGIC(u, UPLINK_MAGIC);
    return u;
}

/* ---- request ---- */

static void put_request(struct exchange *x, struct writer *w)
{
    struct message *m = &x->req;
    struct str authority = x->opt->host ? str_of(x->opt->host) : message_str(m, m->authority);
    h1_write_request_head(w, m, rules_target(m), authority);
}

static void put_framing(struct exchange *x, struct uplink *u, struct writer *w)
{
    if (x->req.framing == BODY_NONE)
        return;
    if (x->req.framing == BODY_LENGTH)
        h1_write_framing(w, BODY_LENGTH, x->req.content_length);
    else if (u->was_whole) /* collected: the length is known */
        h1_write_framing(w, BODY_LENGTH, x->req_body.pushed_bytes);
    else {
        u->chunked_out = true;
        h1_write_framing(w, BODY_CHUNKED, 0);
    }
}

static void put_connection(struct exchange *x, struct writer *w)
{
    struct message *m = &x->req;
    if ((m->flags & MSG_UPGRADE) && x->opt->upgrade == UPGRADE_ALLOW) {
        writer_str(w, STR("Connection: upgrade\r\n"));
        for (uint16_t i = 0; i < m->field_count; i++)
            if (m->fields[i].id == FIELD_UPGRADE && !(m->fields[i].flags & FIELD_FLAG_DROP)) {
                writer_field(w, STR("Upgrade"), field_value_of(m, &m->fields[i]));
                break;
            }
    } else if (m->flags & MSG_TE_TRAILERS)
        writer_str(w, STR("TE: trailers\r\nConnection: TE\r\n"));
}

static bool put_head(struct exchange *x, struct uplink *u)
{
    struct writer w;
    size_t room = x->req.head_len + x->own_fields.n + 4096u;
    if (room > WORKER_CORK_BYTES)
        room = WORKER_CORK_BYTES;
    writer_init(&w, sink_reserve(&u->sink, room), room);
    put_request(x, &w);
    writer_str(&w, x->own_fields);
    put_framing(x, u, &w);
    put_connection(x, &w);
    writer_str(&w, STR("\r\n"));
    if (w.overflow)
        return false;
    sink_commit(&u->sink, w.len);
    return true;
}

static void write_failed(struct uplink *u)
{
    u->broken_write = true;
    u->conn.may_read = true; /* an answer may have come before the reset; if not, the read says so */
    run_queue_add(&u->pw->w, &u->run);
}

static size_t h1_data(struct exchange *x, const char *p, size_t n, bool last)
{
    ASSERT(n > 0); /* an empty chunk would end the body */
    struct uplink *u = uplink_of(x);
    struct iovec iov[3];
    char head[24];
    int count = 0;
    if (u->connecting || sink_is_blocked(&u->sink))
        return 0;
    if (u->broken_write)
        return n;
    u->sink.quota = x->req_body.quota; /* what it queues from now on is payload */
    if (u->chunked_out)
        iov[count++] = (struct iovec){head, h1_chunk_head(head, n)};
    iov[count++] = (struct iovec){(void *)(uintptr_t)p, n};
    if (u->chunked_out)
        iov[count++] = (struct iovec){(void *)(uintptr_t) "\r\n0\r\n\r\n", last ? 7 : 2};
    u->last_sent = u->chunked_out && last;
    if (!sink_write(&u->sink, iov, count))
        write_failed(u);
    u->moved_ms = u->pw->w.now_ms;
    if (!u->head_done)
        worker_deadline(&u->pw->w, &u->deadline, x->opt->response_timeout_ms);
    return n;
}

static ssize_t h1_splice(struct exchange *x, struct conn *from, size_t most)
{
    struct uplink *u = uplink_of(x);
    bool ok;
    if (u->connecting || u->broken_write || u->chunked_out)
        return CONN_AGAIN;
    if (sink_is_blocked(&u->sink)) {
        x->request_paused = true;
        return CONN_BLOCKED;
    }
    ssize_t got = sink_splice(&u->sink, from, most, &ok);
    if (!ok) {
        sink_fini(&u->sink);
        write_failed(u);
    }
    if (got > 0)
        u->moved_ms = u->pw->w.now_ms;
    if (got > 0 && !u->head_done)
        worker_deadline(&u->pw->w, &u->deadline, x->opt->response_timeout_ms);
    return got;
}

static void put_last_chunk(struct uplink *u, struct message *trailers)
{
    struct writer w;
    size_t room = 16 + (trailers ? trailers->head_len + 1024u : 0);
    writer_init(&w, sink_reserve(&u->sink, room), room);
    h1_write_last_chunk(&w, trailers);
    sink_commit(&u->sink, w.len);
}

static void h1_end(struct exchange *x, struct message *trailers)
{
    struct uplink *u = uplink_of(x);
    u->request_done = true;
    u->moved_ms = u->pw->w.now_ms;
    if (x->is_tunnel) {
        u->shut_pending = true;
        if (!sink_is_blocked(&u->sink))
            conn_shutdown(&u->conn);
        return;
    }
    if (u->chunked_out && !u->last_sent && !u->broken_write)
        put_last_chunk(u, trailers);
    if (!u->connecting && !u->broken_write && !sink_flush(&u->sink))
        write_failed(u);
    if (!u->head_done)
        worker_deadline(&u->pw->w, &u->deadline,
                        u->connecting ? x->opt->connect_timeout_ms : x->opt->response_timeout_ms);
}

static bool h1_is_flushed(struct exchange *x)
{
    return !x->back_state || !sink_is_blocked(&uplink_of(x)->sink);
}

static void h1_want_response(struct exchange *x)
{
    struct uplink *u = uplink_of(x);
    u->want_read = true;
    u->moved_ms = u->pw->w.now_ms; /* until now it was not allowed to send */
    run_queue_add(&u->pw->w, &u->run);
}

static void h1_abort(struct exchange *x)
{
    uplink_close(uplink_of(x));
}

/* ---- answer ---- */

static struct h1_limits limits_of(const struct exchange *x)
{
    uint32_t max = (uint32_t)x->opt->max_response_header_bytes;
    return (struct h1_limits){.line_bytes = max, .head_bytes = max, .field_count = MESSAGE_FIELDS_MAX};
}

/* A 1xx head (but 101): passed on, bounded in number (H28). False: the uplink is gone. */
static bool take_interim(struct uplink *u, struct message *m)
{
    struct exchange *x = u->x;
    if (++x->interim_count > x->opt->max_interim) {
        uplink_fail(u, REASON_SERVER_INTERIM);
        return false;
    }
    exchange_interim(x, m);
    return x->back_state == u;
}

static bool take_final(struct uplink *u, struct message *m)
{
    struct exchange *x = u->x;
    bool asked = (x->req.flags & MSG_UPGRADE) && x->opt->upgrade == UPGRADE_ALLOW;
    if (m->status == 101 && !asked) {
        uplink_fail(u, REASON_SERVER_PROTOCOL); /* H22: nobody asked to switch */
        return false;
    }
    u->head_done = true;
    u->may_keep = (m->flags & MSG_KEEP_ALIVE) && m->framing != BODY_CLOSE && m->status != 101;
    h1_body_init(&u->body, m);
    m->flags |= u->body.done ? MSG_COMPLETE : 0;
    worker_deadline(&u->pw->w, &u->deadline,
                    m->status == 101 ? x->opt->tunnel_timeout_ms : x->opt->body_timeout_ms);
    return exchange_response(x, m) && x->back_state == u;
}

/* Heads from the front of *in; returns false when the uplink is gone, or bytes are missing (then *in is
 * kept). */
static bool take_heads(struct uplink *u, struct str *in)
{
    struct exchange *x = u->x;
    while (!u->head_done) {
        struct h1_parser parser = {0};
        struct h1_limits limits = limits_of(x);
        struct message m;
        message_init(&m, u->pw->fields, MESSAGE_FIELDS_MAX);
        m.base = in->p;
        int got = h1_parse_response(&parser, in->p, in->n, &limits, (enum http_method)x->req.method, &m);
        if (got == H1_MORE)
            return false;
        if (got < 0) {
            uplink_fail(u, (enum reason) - got);
            return false;
        }
        m.base = in->p;
        m.head_len = (uint32_t)got;
        *in = str_make(in->p + got, in->n - (size_t)got);
        bool interim = m.status < 200 && m.status != 101;
        if (interim ? !take_interim(u, &m) : !take_final(u, &m))
            return false;
    }
    return true;
}

/* The last byte is here. The uplink is free for others before the client has read a byte of it. */
static void answer_done(struct uplink *u, struct str rest, struct str last, struct message *trailers)
{
    struct exchange *x = u->x;
    bool keep = u->may_keep && rest.n == 0 && u->request_done && !u->broken_write;
    uplink_give(u, keep);
    if (last.n)
        exchange_response_data(x, last.p, last.n, !trailers);
    exchange_response_end(x, trailers);
}

static void take_trailers(struct uplink *u, struct str in, struct str last)
{
    struct h1_limits limits = limits_of(u->x);
    struct h1_parser parser = {0};
    struct message m;
    message_init(&m, u->pw->fields, MESSAGE_FIELDS_MAX);
    m.base = in.p;
    int got = h1_parse_fields(&parser, in.p, in.n, &limits, false, &m);
    if (got < 0) {
        uplink_fail(u, REASON_SERVER_BODY);
        return;
    }
    if (got == H1_MORE) {
        if (last.n)
            exchange_response_data(u->x, last.p, last.n, false);
        if (u->x && !uplink_keep_input(u, in.p, in.n, limits.head_bytes))
            uplink_fail(u, REASON_SERVER_HEAD_LIMIT);
        return;
    }
    m.head_len = (uint32_t)got;
    h1_body_trailers_done(&u->body);
    answer_done(u, str_make(in.p + got, in.n - (size_t)got), last, m.field_count ? &m : NULL);
}

/* Payload runs are handed on one behind, so that the last one goes out together with the end of the framing.
 */
static void take_body(struct uplink *u, struct str in)
{
    struct exchange *x = u->x;
    struct str data, pending = STR_NULL;
    while (!u->body.done && !u->body.in_trailers) {
        ssize_t used = h1_body_step(&u->body, in.p, in.n, &data);
        if (used < 0) {
            uplink_fail(u, REASON_SERVER_BODY);
            return;
        }
        in = str_make(in.p + used, in.n - (size_t)used);
        if (data.n && pending.n + data.n <= GATHER_BYTES && u->body.framing == BODY_CHUNKED)
            h1_body_join(&pending, data); /* small chunks go on as one: all of this came in one read */
        else if (data.n) {
            if (pending.n)
                exchange_response_data(x, pending.p, pending.n, false);
            if (x->back_state != u)
                return;
            pending = data;
        }
        if (used == 0)
            break;
    }
    if (u->body.done)
        answer_done(u, in, pending, NULL);
    else if (u->body.in_trailers)
        take_trailers(u, in, pending);
    else {
        if (pending.n)
            exchange_response_data(x, pending.p, pending.n, false);
        if (x->back_state == u && !uplink_keep_input(u, in.p, in.n, WORKER_HEAD_BYTES))
            uplink_fail(u, REASON_SERVER_BODY);
    }
}

static void take_bytes(struct uplink *u, struct str in)
{
    struct exchange *x = u->x;
    if (!u->head_done && !take_heads(u, &in)) {
        if (x->back_state == u && !uplink_keep_input(u, in.p, in.n, x->opt->max_response_header_bytes))
            uplink_fail(u, REASON_SERVER_HEAD_LIMIT);
        return;
    }
    if (!uplink_keep_input(u, NULL, 0, 0))
        return;
    u->moved_ms = u->pw->w.now_ms;
    worker_deadline(&u->pw->w, &u->deadline,
                    x->is_tunnel ? x->opt->tunnel_timeout_ms : x->opt->body_timeout_ms);
    if (!x->is_tunnel)
        take_body(u, in);
    else if (in.n)
        exchange_response_data(x, in.p, in.n, false);
}

static void on_eof(struct uplink *u)
{
    struct exchange *x = u->x;
    if (x->is_tunnel) {
        if (!x->response_ended)
            exchange_response_end(x, NULL);
        return;
    }
    if (!u->head_done) {
        uplink_fail(u, u->got_bytes ? REASON_SERVER_HEAD : REASON_SERVER_CLOSED);
        return;
    }
    if (!h1_body_on_eof(&u->body)) {
        uplink_fail(u, REASON_SERVER_BODY);
        return;
    }
    uplink_close(u);
    exchange_response_end(x, NULL);
}

/* n bytes of the body went from socket to socket. */
static void take_spliced(struct uplink *u, size_t n, bool ok)
{
    struct exchange *x = u->x;
    u->received_bytes += n;
    h1_body_skip(&u->body, n);
    exchange_response_spliced(x, n, ok);
    if (x->back_state != u)
        return;
    u->moved_ms = u->pw->w.now_ms;
    worker_deadline(&u->pw->w, &u->deadline, x->opt->body_timeout_ms);
    if (!u->body.done)
        return;
    if (conn_peek(&u->conn) == CONN_AGAIN)
        u->conn.may_read = false; /* or it could not be used again: see conn_is_quiet */
    answer_done(u, STR_NULL, STR_NULL, NULL);
}

/* What is left of the body is worth it, and nothing stands in the way. */
static inline bool wants_splice(const struct uplink *u)
{
    return u->head_done && h1_body_run(&u->body) >= CONDUIT_WORTH_BYTES && !u->in_len && !u->x->is_tunnel &&
           exchange_can_splice_response(u->x);
}

/* As a read: bytes, end, error. CONN_AGAIN with may_read: it has to be read. */
static ssize_t splice_some(struct uplink *u)
{
    bool ok;
    ssize_t got = u->x->front->splice(u->x, &u->conn, h1_body_run(&u->body), &ok);
    if (got > 0 || !ok)
        take_spliced(u, got > 0 ? (size_t)got : 0, ok);
    return got;
}

/* One read and what follows from it; false: enough for now. */
static bool read_once(struct uplink *u)
{
    struct exchange *x = u->x;
    struct str all;
    if (!u->conn.may_read || !exchange_can_give(x))
        return false;
    ssize_t got = wants_splice(u) ? splice_some(u) : CONN_AGAIN;
    if (got > 0 || x->back_state != u)
        return false; /* much in one go: others have their turn */
    if (got == CONN_AGAIN && u->conn.may_read) {
        got = uplink_read(u, &all);
        if (got > 0)
            take_bytes(u, all);
    }
    if (got == 0)
        on_eof(u);
    else if (got == CONN_ERROR || (got < 0 && u->broken_write)) /* what came before the reset has been read */
        uplink_fail(u, REASON_SERVER_RESET);
    if (got <= 0 || x->back_state != u)
        return false;
    u->conn.may_read = true; /* a reset that came along is not announced again: see look_again of the front */
    return true;
}

static void drain_sink(struct uplink *u)
{
    uint64_t before = u->sink.sent_bytes;
    bool ok = sink_drain(&u->sink);
    if (u->sink.sent_bytes != before)
        u->moved_ms = u->pw->w.now_ms;
    if (!ok) {
        sink_fini(&u->sink);
        write_failed(u);
    }
    if (!sink_is_blocked(&u->sink) && u->shut_pending)
        conn_shutdown(&u->conn);
}

/* It is connected now. False: the uplink is gone. */
static bool put_late_head(struct uplink *u)
{
    struct exchange *x = u->x;
    u->head_due = false;
    if (!put_head(x, u)) {
        uplink_fail(u, REASON_NO_MEMORY);
        return false;
    }
    if (u->request_done && u->chunked_out) /* an empty body, with trailers */
        put_last_chunk(u, x->req_trailers);
    if (u->request_done && !sink_flush(&u->sink))
        write_failed(u);
    return true;
}

static void h1_on_ready(struct uplink *u)
{
    struct exchange *x = u->x;
    if (u->head_due && !put_late_head(u))
        return;
    if (sink_is_blocked(&u->sink) && u->conn.may_write)
        drain_sink(u);
    if (!sink_is_blocked(&u->sink))
        exchange_back_ready(x);
    for (int i = 0; i < TURN_READS && x->back_state == u; i++)
        if (!read_once(u))
            break;
    if (x->back_state == u && x->response_paused)
        return; /* woken by want_response */
    if (x->back_state == u && u->conn.may_read)
        run_queue_add(&u->pw->w, &u->run);
    else if (x->back_state == u && x->is_tunnel && u->broken_write)
        uplink_fail(u,
                    REASON_SERVER_RESET); /* nothing more to read, and what the client sends goes nowhere */
}

static void h1_on_timeout(struct uplink *u)
{
    struct exchange *x = u->x;
    if (x->is_tunnel) {
        bool recent = x->tunnel_seen_ms + x->opt->tunnel_timeout_ms > u->pw->w.now_ms;
        if (!recent) {
            x->reason = REASON_TUNNEL_IDLE;
            exchange_reply(x, REASON_TUNNEL_IDLE);
        } else
            worker_deadline(&u->pw->w, &u->deadline, x->opt->tunnel_timeout_ms);
    } else if (u->head_done)
        uplink_look_at_patience(u);
    else if (patience_is_clients(x, sink_is_blocked(&u->sink)))
        worker_deadline(&u->pw->w, &u->deadline, x->opt->response_timeout_ms);
    else
        uplink_fail(u, REASON_SERVER_TIMEOUT);
}

static const struct uplink_ops h1_uplink_ops = {.on_ready = h1_on_ready, .on_timeout = h1_on_timeout};

static enum reason h1_start(struct exchange *x)
{
    enum reason why;
    struct uplink *u = uplink_take(x, &h1_uplink_ops, true, &why);
    if (!u)
        return why;
    u->was_whole = x->request_ended && !x->req_trailers;
    u->head_due = u->connecting; /* until then the exchange has it, and nobody needs a second one */
    if (!u->head_due && !put_head(x, u)) {
        uplink_close(u);
        return REASON_NO_MEMORY;
    }
    return REASON_OK;
}

const struct back_ops back_h1 = {
    .name = "h1",
    .start = h1_start,
    .data = h1_data,
    .splice = h1_splice,
    .end = h1_end,
    .is_flushed = h1_is_flushed,
    .want_response = h1_want_response,
    .abort = h1_abort,
};
