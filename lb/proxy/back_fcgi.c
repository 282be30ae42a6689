/* The FastCGI back: requests to a responder such as php-fpm, its answers back. One request at a time a
 * connection. */
#include <stdlib.h>

#include "base/log.h"
#include "base/panic.h"
#include "http/cgi.h"
#include "http/fcgi_codec.h"
#include "proxy/fcgi_send.h"
#include "proxy/patience.h"
#include "proxy/proxy.h"

#define TURN_READS        4 /* of one uplink in one turn of the loop */
#define STDERR_LINE_MAX   1024
#define STDERR_PER_SECOND 20

static struct uplink *uplink_of(struct exchange *x)
{
    struct uplink *u = x->back_state;
    CHECK_MAGIC(u, UPLINK_MAGIC);
    return u;
}

/* ---- request ---- */

static size_t fcgi_data(struct exchange *x, const char *p, size_t n, bool last)
{
    struct uplink *u = uplink_of(x);
    if (u->connecting || sink_is_blocked(&u->sink))
        return 0;
    u->sink.quota = x->req_body.quota; /* what it queues from now on is payload */
    fcgi_send_body(u, p, n, last);
    u->moved_ms = u->pw->w.now_ms;
    if (!u->head_done)
        worker_deadline(&u->pw->w, &u->deadline, x->opt->response_timeout_ms);
    return n;
}

static void fcgi_end(struct exchange *x, struct message *trailers)
{
    struct uplink *u = uplink_of(x);
    (void)trailers; /* CGI knows none */
    u->request_done = true;
    u->moved_ms = u->pw->w.now_ms;
    fcgi_send_end(u);
    if (!u->head_done)
        worker_deadline(&u->pw->w, &u->deadline,
                        u->connecting ? x->opt->connect_timeout_ms : x->opt->response_timeout_ms);
}

static void fcgi_want_response(struct exchange *x)
{
    struct uplink *u = uplink_of(x);
    u->moved_ms = u->pw->w.now_ms; /* until now it was not allowed to send */
    run_queue_add(&u->pw->w, &u->run);
}

static void fcgi_abort(struct exchange *x)
{
    uplink_close(uplink_of(x));
}

/* ---- answer ---- */

static void log_line(const struct exchange *x, struct str line)
{
    line = str_trim(line);
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n > STDERR_LINE_MAX)
        line.n = STDERR_LINE_MAX;
    if (line.n)
        LOG_LIMITED(LOG_WARN, STDERR_PER_SECOND, "cluster %.*s endpoint %.*s says: %.*s",
                    STR_ARG(x->cluster->id), STR_ARG(endpoint_id(x->endpoint)), STR_ARG(line));
}

/* The logger escapes what is not printable, so a script cannot forge a line. */
static void take_stderr(const struct exchange *x, struct str text)
{
    struct str line;
    while (str_next(&text, '\n', &line))
        log_line(x, line);
}

/* Bytes of STDOUT up to the end of the request if all of that has been read already, else -1. `ahead` follows
 * the record being looked at. Saves the client chunked framing, and one more write. */
static int64_t bytes_until_end(const struct uplink *u, struct str ahead)
{
    struct fcgi_decoder d = u->fcgi;
    struct fcgi_event ev;
    int64_t sum = 0;
    for (;;) {
        size_t used = fcgi_decode(&d, ahead.p, ahead.n, &ev);
        ahead = str_make(ahead.p + used, ahead.n - used);
        if (ev.kind == FCGI_EVENT_STDOUT)
            sum += (int64_t)ev.data.n;
        else if (ev.kind == FCGI_EVENT_END)
            return ev.protocol_status == FCGI_REQUEST_COMPLETE ? sum : -1;
        else if (ev.kind != FCGI_EVENT_STDERR)
            return -1;
    }
}

static struct h1_limits limits_of(const struct exchange *x)
{
    uint32_t max = (uint32_t)x->opt->max_response_header_bytes;
    return (struct h1_limits){.line_bytes = max, .head_bytes = max, .field_count = MESSAGE_FIELDS_MAX};
}

/* Is there an empty line in p[0..n) that ends at or behind `from`? The head is parsed once, when it is whole.
 */
static bool has_empty_line(const char *p, size_t n, size_t from)
{
    for (const char *at = p + from, *end = p + n; at < end && (at = memchr(at, '\n', (size_t)(end - at)));
         at++) {
        size_t before = (size_t)(at - p);
        if (before && p[before - 1] == '\r')
            before--;
        if (before == 0 || p[before - 1] == '\n')
            return true;
    }
    return false;
}

/* Appends to the head that is being collected over several records; false when it is too large or memory is
 * out. */
static bool collect_head(struct uplink *u, struct str data, size_t max)
{
    size_t n = u->in_len + data.n;
    if (n > max + WORKER_SCRATCH_BYTES) /* head and what may lie behind it in one read */
        return false;
    if (n > u->in_cap) {
        size_t cap = n < 2048 ? 4096 : n * 2;
        char *grown = realloc(u->in, cap);
        if (!grown)
            return false;
        u->in = grown;
        u->in_cap = (uint32_t)cap;
    }
    memcpy(u->in + u->in_len, data.p, data.n);
    u->in_len = (uint32_t)n;
    return true;
}

enum step { STEP_MORE, STEP_GONE, STEP_DONE };

static void set_body(struct uplink *u, struct message *m, struct str rest, struct str ahead)
{
    int64_t more = m->framing == BODY_STREAM ? bytes_until_end(u, ahead) : -1;
    if (more >= 0) {
        m->framing = BODY_LENGTH;
        m->content_length = (uint64_t)more + rest.n;
    }
    u->body = (struct h1_body){.framing = m->framing, .left = m->content_length};
    if (m->framing == BODY_NONE)
        u->body.left = 0;
    else if (m->framing == BODY_STREAM)
        u->body.left = UINT64_MAX;
}

/* head: all of STDOUT so far; *io_data: the last piece of it, which becomes what lies behind the head. */
static enum step parse_head(struct uplink *u, struct str head, struct str ahead, struct str *io_data)
{
    struct exchange *x = u->x;
    struct h1_parser parser = {0};
    struct h1_limits limits = limits_of(x);
    struct message m;
    message_init(&m, u->pw->fields, MESSAGE_FIELDS_MAX);
    int got = cgi_parse_head(&parser, head.p, head.n, &limits, (enum http_method)x->req.method, &m);
    if (got == H1_MORE)
        return STEP_MORE;
    if (got < 0) {
        uplink_fail(u, (enum reason) - got);
        return STEP_GONE;
    }
    m.head_len = (uint32_t)got;
    size_t rest = head.n - (size_t)got;
    ASSERT(rest <= io_data->n); /* no earlier piece held the empty line */
    *io_data = str_make(io_data->p + io_data->n - rest, rest);
    set_body(u, &m, *io_data, ahead);
    u->head_done = true;
    worker_deadline(&u->pw->w, &u->deadline, x->opt->body_timeout_ms);
    if (!exchange_response(x, &m) || x->back_state != u)
        return STEP_GONE;
    return uplink_keep_input(u, NULL, 0, 0) ? STEP_DONE : STEP_GONE;
}

/* The empty line cannot begin more than three bytes before the new piece. */
static enum step take_head(struct uplink *u, struct str ahead, struct str *io_data)
{
    size_t old = u->in_len, max = (size_t)u->x->opt->max_response_header_bytes;
    if (!old && has_empty_line(io_data->p, io_data->n, 0))
        return parse_head(u, *io_data, ahead, io_data);
    bool room = collect_head(u, *io_data, max);
    enum step step = STEP_MORE;
    if (room && has_empty_line(u->in, u->in_len, old))
        step = parse_head(u, str_make(u->in, u->in_len), ahead, io_data);
    if (step == STEP_MORE && (!room || u->in_len > max)) {
        uplink_fail(u, REASON_SERVER_HEAD_LIMIT);
        step = STEP_GONE;
    }
    return step;
}

/* The last byte is here. The uplink is free for others before the client has read a byte of it. */
static void answer_done(struct uplink *u, bool keep, struct str last)
{
    struct exchange *x = u->x;
    uplink_give(u, keep && x->opt->fastcgi.keep_conn && u->request_done && !u->broken_write);
    if (last.n)
        exchange_response_data(x, last.p, last.n, true);
    exchange_response_end(x, NULL);
}

/* Hands `pending` on; false when the exchange went away meanwhile. */
static bool hand_on(struct uplink *u, struct str pending)
{
    struct exchange *x = u->x;
    if (pending.n)
        exchange_response_data(x, pending.p, pending.n, u->body.framing == BODY_LENGTH && !u->body.left);
    return x->back_state == u;
}

/* What did come is handed on before the cut. */
static void give_up(struct uplink *u, enum reason why, struct str pending)
{
    if (hand_on(u, pending))
        uplink_fail(u, why);
}

static void on_end(struct uplink *u, const struct fcgi_event *ev, struct str rest, struct str last)
{
    struct exchange *x = u->x;
    bool untouched = ev->protocol_status == FCGI_OVERLOADED || ev->protocol_status == FCGI_CANT_MPX_CONN;
    if (untouched && !u->head_done) {
        /* FastCGI 1.0 5.5: refused before any work, so as good as not sent. */
        bool overloaded = ev->protocol_status == FCGI_OVERLOADED;
        uplink_close(u);
        exchange_attempt_failed(x, overloaded ? REASON_SERVER_OVERLOADED : REASON_SERVER_PROTOCOL, false,
                                false);
    } else if (!u->head_done || ev->protocol_status != FCGI_REQUEST_COMPLETE) {
        give_up(u, REASON_SERVER_PROTOCOL, last);
    } else if (u->body.framing == BODY_LENGTH && u->body.left) {
        give_up(u, REASON_SERVER_BODY, last);
    } else {
        answer_done(u, rest.n == 0, last);
    }
}

/* More than the script promised is not the client's: a second answer could hide in it. */
static struct str clip(struct uplink *u, struct str data)
{
    if (data.n > u->body.left)
        data.n = (size_t)u->body.left;
    if (u->body.framing == BODY_LENGTH)
        u->body.left -= data.n;
    return data;
}

static enum step take_stdout(struct uplink *u, struct str data, struct str ahead, struct str *io_pending)
{
    if (!u->head_done) {
        enum step step = take_head(u, ahead, &data);
        if (step != STEP_DONE)
            return step;
    }
    struct str before = *io_pending;
    *io_pending = STR_NULL;
    if (!hand_on(u, before))
        return STEP_GONE;
    *io_pending = clip(u, data);
    return STEP_DONE;
}

static void on_error(struct uplink *u, const char *error, struct str pending)
{
    struct exchange *x = u->x;
    LOG_LIMITED(LOG_WARN, STDERR_PER_SECOND, "cluster %.*s endpoint %.*s: %s", STR_ARG(x->cluster->id),
                STR_ARG(endpoint_id(x->endpoint)), error);
    give_up(u, REASON_SERVER_PROTOCOL, pending);
}

/* Payload is handed on one record behind, so that the last one goes out together with the end of the framing.
 */
static void take_bytes(struct uplink *u, struct str in)
{
    struct str pending = STR_NULL;
    struct fcgi_event ev;
    for (;;) {
        size_t used = fcgi_decode(&u->fcgi, in.p, in.n, &ev);
        in = str_make(in.p + used, in.n - used);
        switch (ev.kind) {
        case FCGI_EVENT_STDOUT:
            if (take_stdout(u, ev.data, in, &pending) == STEP_GONE)
                return;
            break;
        case FCGI_EVENT_STDERR:
            take_stderr(u->x, ev.data);
            break;
        case FCGI_EVENT_END:
            on_end(u, &ev, in, pending);
            return;
        case FCGI_EVENT_ERROR:
            on_error(u, ev.error, pending);
            return;
        case FCGI_EVENT_MORE:
            hand_on(u, pending);
            return;
        }
    }
}

/* Without END the request is not known to be complete, unless its length was. */
static void on_eof(struct uplink *u)
{
    if (!u->head_done)
        uplink_fail(u, u->got_bytes ? REASON_SERVER_HEAD : REASON_SERVER_CLOSED);
    else if (u->body.framing != BODY_STREAM && !u->body.left)
        answer_done(u, false, STR_NULL);
    else
        uplink_fail(u, u->body.framing == BODY_LENGTH ? REASON_SERVER_BODY : REASON_SERVER_CLOSED);
}

/* One read and what follows from it; false: enough for now. */
static bool read_once(struct uplink *u)
{
    struct exchange *x = u->x;
    struct worker *w = &u->pw->w;
    if (!u->conn.may_read || !exchange_can_give(x))
        return false;
    ssize_t got = conn_read(&u->conn, w->scratch, WORKER_READ_BYTES);
    if (got > 0) {
        u->got_bytes = true;
        u->received_bytes += (uint64_t)got;
        u->moved_ms = w->now_ms;
        if (u->head_done)
            worker_deadline(w, &u->deadline, x->opt->body_timeout_ms);
        take_bytes(u, str_make(w->scratch, (size_t)got));
    } else if (got == 0)
        on_eof(u);
    else if (got == CONN_ERROR || u->broken_write) /* what came before the reset has been read by now */
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
    if (ok)
        return;
    sink_fini(&u->sink);
    fcgi_write_failed(u);
}

static void fcgi_on_ready(struct uplink *u)
{
    struct exchange *x = u->x;
    if (sink_is_blocked(&u->sink) && u->conn.may_write)
        drain_sink(u);
    if (!sink_is_blocked(&u->sink))
        exchange_back_ready(x);
    for (int i = 0; i < TURN_READS && x->back_state == u; i++)
        if (!read_once(u))
            break;
    if (x->back_state == u && u->conn.may_read && !x->response_paused) /* else woken by want_response */
        run_queue_add(&u->pw->w, &u->run);
}

static void fcgi_on_timeout(struct uplink *u)
{
    struct exchange *x = u->x;
    if (u->head_done)
        uplink_look_at_patience(u);
    else if (patience_is_clients(x, sink_is_blocked(&u->sink)))
        worker_deadline(&u->pw->w, &u->deadline, x->opt->response_timeout_ms);
    else
        uplink_fail(u, REASON_SERVER_TIMEOUT);
}

static const struct uplink_ops fcgi_uplink_ops = {.on_ready = fcgi_on_ready, .on_timeout = fcgi_on_timeout};

static enum reason fcgi_start(struct exchange *x)
{
    struct fcgi_build b;
    enum reason why = x->req.framing == BODY_LENGTH || x->req.framing == BODY_NONE || x->request_ended
                          ? fcgi_describe(x, &b)
                          : REASON_LENGTH_REQUIRED;
    if (why != REASON_OK) {
        /* The request's fault, not the endpoint's: no other one is tried and none is blamed. */
        exchange_reply(x, why);
        return REASON_OK;
    }
    struct uplink *u = uplink_take(x, &fcgi_uplink_ops, x->opt->fastcgi.keep_conn, &why);
    if (!u)
        return why;
    u->fcgi = (struct fcgi_decoder){0};
    u->body = (struct h1_body){0};
    if (!fcgi_send_head(u, &b.r)) {
        uplink_close(u);
        return REASON_NO_MEMORY;
    }
    return REASON_OK;
}

const struct back_ops back_fcgi = {
    .name = "fastcgi",
    .start = fcgi_start,
    .data = fcgi_data,
    .end = fcgi_end,
    .want_response = fcgi_want_response,
    .abort = fcgi_abort,
};
