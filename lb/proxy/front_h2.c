/* The writing half of the HTTP/2 front: answers toward the client, and the end of a session. */
#include "proxy/front_h2.h"

#include "base/panic.h"
#include "http/rules.h"
#include "proxy/affinity.h"
#include "proxy/front_h2_priv.h"

#define EXTRA_MAX 4
/* So much in one piece does not wait. It is more than a frame of HTTP/2: what comes from that codec is within
 * its events. */
#define URGENT_BYTES 20000
/* A pipe gives out less at a time; else front_h2_direct would offer its bytes to the codec twice. */
_Static_assert(CHUNK_BYTES < URGENT_BYTES, "a pipe's piece must not go the short way");

static bool h2_interim(struct exchange *x, struct message *m)
{
    struct stream *t = stream_of(x);
    if (m->status == 101)
        return true; /* RFC 9113 8.6: there is none in HTTP/2 */
    if (m->status == 100) {
        t->body_started_ms = t->body_seen_ms = x->pw->w.now_ms; /* until now it was not allowed to send */
        t->body_bytes = 0;
    }
    rules_drop_hop_by_hop(m);
    h2_server_interim(t->h->srv, &t->h2, m);
    h2_wake(t->h);
    return true;
}

/* The fields that are ours. Texts live until the head is submitted. */
static size_t extra_fields(struct exchange *x, const struct message *m, char cookie[AFFINITY_COOKIE_BYTES],
                           char via[256], struct h2_extra to[EXTRA_MAX])
{
    size_t count = 0;
    if (!message_has(m, FIELD_DATE)) /* RFC 9110 6.6.1 */
        to[count++] = (struct h2_extra){STR("date"), pworker_http_date(x->pw)};
    if (x->opt && x->opt->sticky.cookie) {
        size_t n = affinity_set_cookie(x, cookie);
        if (n)
            to[count++] = (struct h2_extra){STR("set-cookie"), str_make(cookie, n)};
    }
    if (x->pw->settings->via && !x->reason) {
        struct writer w;
        writer_init(&w, via, 256);
        writer_str(&w, STR("1.1 "));
        writer_str(&w, str_of(x->pw->settings->server_name));
        if (!w.overflow)
            to[count++] = (struct h2_extra){STR("via"), str_make(via, w.len)};
    }
    return count;
}

/* Is a length to be told: of the body that follows, or of the one that GET would have had? */
static bool has_length(const struct stream *t, const struct message *m)
{
    if (m->framing == BODY_LENGTH)
        return true;
    return t->no_body ? (m->flags & MSG_HAS_LENGTH) && m->status != 204 : false;
}

/* RFC 8441 5: what is 101 to HTTP/1.1 is 200 here, and what else is well there is no tunnel here. */
static struct message answer_to_connect(struct exchange *x, const struct message *m)
{
    struct message out = *m;
    bool switched = m->status == 101;
    out.status = switched ? 200 : m->status < 300 ? 502 : m->status;
    if (!switched) {
        x->status = out.status;
        return out;
    }
    out.flags &= ~(uint32_t)MSG_COMPLETE;
    for (uint16_t i = 0; i < out.field_count; i++)
        if (str_ieq(field_name_of(&out, &out.fields[i]), STR("Sec-WebSocket-Accept")))
            out.fields[i].flags |= FIELD_FLAG_DROP;
    return out;
}

static bool h2_head(struct exchange *x, struct message *given)
{
    struct stream *t = stream_of(x);
    struct message copy, *m = given;
    if (t->connect) {
        copy = answer_to_connect(x, given);
        m = &copy;
    }
    struct h2_extra extra[EXTRA_MAX];
    char cookie[AFFINITY_COOKIE_BYTES], via[256];
    rules_drop_hop_by_hop(m);
    t->no_body = x->req.method == METHOD_HEAD || m->status == 204 || m->status == 304;
    size_t count = extra_fields(x, m, cookie, via, extra);
    bool end = (m->flags & MSG_COMPLETE) || (x->reason && t->no_body);
    if (!h2_server_respond(t->h->srv, &t->h2, m, has_length(t, m), extra, count, end))
        return false;
    h2_wake(t->h);
    return true;
}

static ssize_t h2_data(struct exchange *x, const char *p, size_t n, bool last)
{
    struct stream *t = stream_of(x);
    (void)last;
    if (t->no_body || t->h2.closed)
        return (ssize_t)n;
    if (!t->room) {
        size_t went = n >= URGENT_BYTES ? front_h2_direct(t, p, n) : 0;
        h2_server_resume(t->h->srv, &t->h2);
        h2_wake(t->h);
        if (n >= URGENT_BYTES)
            x->pw->h2->urgent = t->h;
        if (!went) /* or answers that wait for their client's window keep others from being begun */
            pipe_give_window(&x->rsp_body);
        return (ssize_t)went;
    }
    size_t take = n < t->room ? n : t->room;
    h2_server_put(t->h->srv, p, take);
    t->room -= take;
    return (ssize_t)take;
}

static bool h2_end(struct exchange *x, struct message *trailers)
{
    struct stream *t = stream_of(x);
    (void)trailers; /* x->rsp_trailers has them: they are read when their turn comes */
    t->ended = true;
    h2_server_resume(t->h->srv, &t->h2);
    h2_wake(t->h);
    return true;
}

static bool h2_is_flushed(struct exchange *x)
{
    struct stream *t = stream_of(x);
    return !t->ended || t->h2.end_sent || t->h2.closed;
}

static bool h2_is_gone(struct exchange *x)
{
    return conn_ask_peer(&stream_of(x)->h->s->conn) != CONN_AGAIN; /* see h1_is_gone */
}

/* At most so much comes with one read of an uplink. */
#define READ_BYTES WORKER_READ_BYTES

/* However much else there is, some answers are begun: they go by themselves, and what they stand for with
 * them. */
static bool h2_has_room(struct exchange *x)
{
    struct h2_session *h = stream_of(x)->h;
    uint64_t used = h->memory.used_bytes + h->answers.used_bytes;
    if (used + READ_BYTES <= h->s->listener->h2.max_memory_bytes || !quota_is_short(&h->answers))
        return true;
    h->crowded = true;
    return false;
}

static void h2_again(struct exchange *x)
{
    h2_wake(stream_of(x)->h);
}

static void h2_want_request(struct exchange *x)
{
    struct stream *t = stream_of(x);
    t->body_started_ms = t->body_seen_ms = x->pw->w.now_ms; /* the time it was not allowed to send */
    t->body_bytes = 0;
    front_h2_consumed(t);
}

static void h2_tunnel(struct exchange *x)
{
    h2_wake(stream_of(x)->h);
}

/* An answer that is complete before its request: what is on its way is thrown away for a moment, because a
 * client that is busy sending may take a reset for an error and lose the answer; then it is asked to stop,
 * without error (RFC 9113 8.1). Some clients go wrong all the same, whatever they are sent: curl 7.88 may
 * wait for ever when an answer was complete before it began to send. */
static void h2_done(struct exchange *x, bool cut)
{
    struct stream *t = stream_of(x);
    struct h2_session *h = t->h;
    t->x = NULL;
    x->front_state = NULL;
    arena_leave_quota(&x->arena); /* it goes when this turn ends, and the session may go before */
    quota_give(&h->requests, H2_STREAM_BYTES);
    h2_server_forget_head(h->srv, &t->h2);
    if (cut || !t->h2.end_sent)
        h2_server_reset(h->srv, &t->h2, x->reason ? (enum reason)x->reason : REASON_INTERNAL);
    else if (!t->h2.remote_ended)
        t->over_ms = x->pw->w.now_ms;
    if (!t->h2.closed)
        front_h2_consumed(t);
    h2_wake(h);
}

/* ---- asleep ---- */

bool front_h2_may_sleep(const struct exchange *x)
{
    const struct stream *t = stream_of(x);
    return t->h2.remote_ended && !t->h2.closed && !t->connect && !t->h->closing;
}

struct stream *front_h2_sleep(struct exchange *x, struct hold_place *place)
{
    struct stream *t = stream_of(x);
    h2_server_forget_head(t->h->srv, &t->h2);
    x->front_state = NULL;
    t->x = NULL;
    t->asleep = place;
    t->asleep_bytes =
        x->req.head_len + (uint32_t)x->own_fields.n; /* about what it takes there beyond the least */
    arena_leave_quota(&x->arena);
    quota_take(&t->h->requests, t->asleep_bytes);
    return t;
}

struct session *front_h2_session(const struct stream *t)
{
    return t->h->s;
}

void front_h2_awake(struct stream *t, struct exchange *x)
{
    CHECK_MAGIC(t, H2_STREAM_MAGIC);
    t->asleep = NULL;
    t->x = x;
    quota_give(&t->h->requests, t->asleep_bytes);
    if (x) {
        x->front_state = t;
        front_h2_charge(t);
        return;
    }
    quota_give(&t->h->requests, H2_STREAM_BYTES);
    h2_server_reset(t->h->srv, &t->h2, REASON_NO_MEMORY);
    h2_wake(t->h);
}

const struct front_ops front_h2 = {
    .name = "h2",
    .first_fields = H2_FIELDS_FIRST,
    .interim = h2_interim,
    .head = h2_head,
    .data = h2_data,
    .end = h2_end,
    .is_flushed = h2_is_flushed,
    .is_gone = h2_is_gone,
    .has_room = h2_has_room,
    .again = h2_again,
    .want_request = h2_want_request,
    .tunnel = h2_tunnel,
    .done = h2_done,
};
