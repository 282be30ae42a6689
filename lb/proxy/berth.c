#include "proxy/berth.h"

#include <stdlib.h>

#include "base/panic.h"
#include "proxy/exchange_priv.h"
#include "proxy/front_h2.h"
#include "proxy/hold.h"
#include "proxy/proxy.h"
#include "proxy/routing.h"
#include "topo/route_rules.h"

#define BERTH_MAGIC 0x62727468u

/* A piece of the block's text; off 0, len 0: none. */
struct piece {
    uint32_t off, len;
};

/* Of a connection that gave back its session. */
struct line {
    struct event ev;
    struct session_kept kept;
};

struct berth {
    union {
        struct hold_place place;
        struct parked parked;
    };
    struct deadline deadline;
    struct pworker *pw;
    struct line *line;     /* behind this object; NULL: the session is still there */
    struct session *s;     /* borrowed, without `line` */
    struct stream *stream; /* borrowed; of HTTP/2, else NULL */
    uint32_t magic;
    uint16_t route_path_len;
    bool share_taken;
    struct view *view;         /* counted */
    struct cluster *cluster;   /* borrowed from view */
    struct route_rules *rules; /* counted, or NULL */
    const char *route_guard;   /* borrowed from rules */
    uint64_t start_ns, route_ns;
    struct piece request_id, client_ip, own_fields, asked_path;
    struct message req; /* base: text; fields: behind this object */
    /* Behind it: the line, if it has one, req.field_count fields, then the text: head, our own lines, and
     * whatever lies in neither. */
};

static struct berth *berth_of(const struct hold_place *place)
{
    struct berth *b = CONTAINER_OF(place, struct berth, place);
    CHECK_MAGIC(b, BERTH_MAGIC);
    return b;
}

const struct cluster *berth_cluster(const struct hold_place *place)
{
    return place->is_berth ? berth_of(place)->cluster : CONTAINER_OF(place, struct exchange, place)->cluster;
}

/* ---- in ---- */

static bool is_body_untouched(const struct exchange *x)
{
    return x->request_ended && !x->rx_bytes && !x->continue_sent && !x->req_trailers &&
           x->req.framing != BODY_CHUNKED && !x->req.content_length && !x->req_body.pushed_bytes;
}

/* Nothing hangs on it but what a berth has. */
static bool may_sleep(const struct exchange *x)
{
    return x->state == EXCHANGE_HOLD && x->back != &back_files && !x->attempts && !x->pass && !x->mirror &&
           !x->internal_path.p && !x->interim_count && is_body_untouched(x) &&
           (x->front == &front_h2 ? front_h2_may_sleep(x)
                                  : x->front == &front_h1 && session_may_sleep(x->session));
}

static bool is_within(struct str part, struct str all)
{
    return part.p >= all.p && part.p + part.n <= all.p + all.n;
}

/* How much of the text this takes for itself. */
static size_t room_for(const struct exchange *x, struct str s)
{
    struct str head = str_make(x->req.base, x->req.head_len);
    return !s.n || is_within(s, head) || is_within(s, x->own_fields) ? 0 : s.n;
}

static struct piece put(struct berth *b, const struct exchange *x, struct str s, char **at)
{
    char *text = (char *)(uintptr_t)b->req.base;
    struct str head = str_make(x->req.base, x->req.head_len);
    if (!s.n)
        return (struct piece){0, 0};
    if (is_within(s, head))
        return (struct piece){(uint32_t)(s.p - head.p), (uint32_t)s.n};
    if (b->own_fields.len && is_within(s, x->own_fields))
        return (struct piece){b->own_fields.off + (uint32_t)(s.p - x->own_fields.p), (uint32_t)s.n};
    memcpy(*at, s.p, s.n);
    *at += s.n;
    return (struct piece){(uint32_t)(*at - text - (ptrdiff_t)s.n), (uint32_t)s.n};
}

/* NULL: no memory, it stays as it is. */
static struct berth *make(const struct exchange *x, bool has_line)
{
    size_t line = has_line ? sizeof(struct line) : 0, fields = x->req.field_count * sizeof *x->req.fields;
    size_t text = x->req.head_len + x->own_fields.n + room_for(x, x->request_id) + room_for(x, x->client_ip) +
                  room_for(x, x->asked_path);
    struct berth *b = malloc(sizeof *b + line + fields + text);
    if (!b)
        return NULL;
    *b = (struct berth){.magic = BERTH_MAGIC,
                        .pw = x->pw,
                        .line = has_line ? (struct line *)(void *)(b + 1) : NULL,
                        .s = has_line ? NULL : x->session,
                        .view = x->view,
                        .cluster = x->cluster,
                        .rules = x->rules,
                        .route_guard = x->route_guard,
                        .route_path_len = x->route_path_len,
                        .share_taken = x->share_taken,
                        .start_ns = x->start_ns,
                        .route_ns = x->route_ns,
                        .req = x->req};
    char *at = (char *)(b + 1) + line;
    b->req.fields = (struct field *)(void *)at;
    at += fields;
    b->req.base = at;
    memcpy(b->req.fields, x->req.fields, fields);
    memcpy(at, x->req.base, x->req.head_len);
    at += x->req.head_len;
    b->own_fields = put(b, x, x->own_fields, &at);
    b->request_id = put(b, x, x->request_id, &at);
    b->client_ip = put(b, x, x->client_ip, &at);
    b->asked_path = put(b, x, x->asked_path, &at);
    return b;
}

/* The descriptor announced something, or its time is up: it is whole again, and that happens to it. */
static void on_readable(evutil_socket_t fd, short events, void *ctx)
{
    struct berth *b = ctx;
    (void)fd;
    (void)events;
    CHECK_MAGIC(b, BERTH_MAGIC);
    worker_on_event(&b->pw->w);
    (void)!berth_leave(&b->place); /* the session is told what waits there anew */
}

static void on_timeout(struct deadline *d)
{
    struct exchange *x = berth_leave(&CONTAINER_OF(d, struct berth, deadline)->place);
    if (x)
        hold_give_up(x);
}

/* The berth takes the place of the exchange in every list. */
static void swap(struct list *out, struct list *in)
{
    list_init(in);
    list_push(out->next, in); /* behind it */
    list_remove(out);
}

/* The connection alone stays, with what is known of it. */
static void give_session_up(struct berth *b, struct session *s)
{
    struct line *l = b->line;
    s->x = NULL;
    session_set_state(s, SESSION_IDLE);
    session_give_up(s, &l->kept);
    if (event_assign(&l->ev, b->pw->w.loop.base, l->kept.fd, EV_READ | EV_PERSIST, on_readable, b) != 0 ||
        event_add(&l->ev, NULL) != 0)
        (void)!berth_leave(&b->place); /* no memory in the loop: as if it had been closed, or as it was */
}

static void enter(struct exchange *x)
{
    if (x->rules)
        routing_keep_rules(x);
    struct pworker *pw = x->pw;
    struct session *s = x->session;
    const bool is_h2 = x->front == &front_h2;
    struct berth *b = make(x, !is_h2 && session_can_be_kept(s));
    if (!b)
        return;
    b->place.held_ns = x->place.held_ns;
    b->place.is_berth = true;
    swap(&x->place.node, &b->place.node);
    deadline_init(&b->deadline, on_timeout);
    if (x->deadline.at_ms)
        deadline_set(&pw->w.wheel, &b->deadline, x->deadline.at_ms);
    exchange_vanish(x);
    if (is_h2)
        b->stream = front_h2_sleep(x, &b->place);
    else if (b->line)
        give_session_up(b, s);
    else
        session_sleep(s, &b->place);
}

void berth_consider(struct exchange *x)
{
    struct pworker *pw = x->pw;
    if (pw->held_count <= BERTH_FROM)
        return;
    list_init(&x->fat);
    list_push(&pw->to_berth, &x->fat);
    run_queue_add(&pw->w, &pw->hold_run);
}

void berth_forget(struct exchange *x)
{
    if (x->fat.next)
        list_remove(&x->fat);
}

void berth_all(struct pworker *pw)
{
    struct list *node;
    while ((node = list_shift(&pw->to_berth))) {
        struct exchange *x = CONTAINER_OF(node, struct exchange, fat);
        if (may_sleep(x))
            enter(x);
    }
}

/* ---- out ---- */

static void reclaim(struct parked *p)
{
    struct berth *b = CONTAINER_OF(p, struct berth, parked);
    b->magic = 0;
    free(b);
}

static struct str text_of(const char *base, struct piece p)
{
    return p.len ? str_make(base + p.off, p.len) : STR_NULL;
}

/* False when memory is out. */
static bool restore(struct berth *b, struct exchange *x)
{
    struct message *m = &x->req;
    struct field *fields = m->fields;
    uint16_t max = m->field_max;
    size_t count = b->req.field_count, head = b->req.head_len;
    size_t text = head;
    const struct piece *pieces[] = {&b->own_fields, &b->request_id, &b->client_ip, &b->asked_path};
    for (size_t i = 0; i < 4; i++)
        if (pieces[i]->off + pieces[i]->len > text)
            text = pieces[i]->off + pieces[i]->len;
    char *base = arena_alloc(&x->arena, text);
    if (count > max) {
        fields = arena_alloc(&x->arena, count * sizeof *fields);
        max = (uint16_t)count;
    }
    if (!base || !fields)
        return false;
    memcpy(base, b->req.base, text);
    memcpy(fields, b->req.fields, count * sizeof *fields);
    *m = b->req;
    m->base = base;
    m->fields = fields;
    m->field_max = max;
    x->own_fields = text_of(base, b->own_fields);
    x->request_id = text_of(base, b->request_id);
    x->client_ip = text_of(base, b->client_ip);
    x->asked_path = text_of(base, b->asked_path);
    return true;
}

/* As exchange_start and hold_add left it. */
static void fill(struct berth *b, struct exchange *x)
{
    x->view = b->view;
    x->cluster = b->cluster;
    x->opt = &b->cluster->options;
    x->rules = b->rules;
    x->rules_kept = b->rules != NULL;
    x->route_guard = b->route_guard;
    x->route_path_len = b->route_path_len;
    x->share_taken = b->share_taken;
    x->start_ns = b->start_ns;
    x->route_ns = b->route_ns;
    x->place.held_ns = b->place.held_ns;
    x->request_ended = true;
    exchange_resume_held(x);
    swap(&b->place.node, &x->place.node);
    hold_set_deadline(x, b->deadline.at_ms);
}

static void fill_session(const struct berth *b, struct session *s, struct exchange *x)
{
    if (b->stream) {
        front_h2_awake(b->stream, x);
        return;
    }
    s->x = x;
    if (!b->line) { /* it is as it was */
        session_wake_up(s);
        return;
    }
    h1_body_init(&s->body, &x->req);
    session_set_state(s, SESSION_WAIT);
}

/* Who asked is told in the way that is left. */
static void lose_session(const struct berth *b, struct session *s)
{
    if (b->stream) {
        front_h2_awake(b->stream, NULL);
    } else if (s) {
        if (!b->line)
            session_wake_up(s);
        session_close(s, false);
    }
}

/* No memory for it to be whole: its client sees the connection end. */
static void lose(struct berth *b, const struct listener_settings *listener)
{
    struct ledger_writer *l = &b->pw->ledger;
    uint32_t slot = b->cluster->slot;
    uint64_t now = b->pw->w.now_ns;
    struct str ip = text_of(b->req.base, b->client_ip);
    hold_drop(b->pw, &b->place, b->cluster);
    if (b->share_taken)
        hold_leave_share(b->pw, listener, ip, slot);
    ledger_cluster_failure(l, slot, LEDGER_FAIL_INTERNAL);
    ledger_cluster_move(l, slot, LEDGER_HELD, LEDGER_COUNTS, now);
    ledger_cluster_done(l, slot, 0, now - b->route_ns);
    ledger_reason(l, slot, REASON_NO_MEMORY);
    route_rules_unref(&b->rules);
    view_unref(b->pw, &b->view);
}

struct exchange *berth_leave(struct hold_place *place)
{
    struct berth *b = berth_of(place);
    struct pworker *pw = b->pw;
    if (b->line)
        event_del(&b->line->ev);
    struct session *s = b->line ? session_revive(pw, &b->line->kept) : b->s;
    const struct listener_settings *listener = b->line ? b->line->kept.listener : s->listener;
    struct exchange *x = s ? exchange_create(pw, s, b->stream ? &front_h2 : &front_h1) : NULL;
    bool is_whole = x && restore(b, x);
    if (is_whole) {
        fill(b, x);
        fill_session(b, s, x);
    } else {
        if (x)
            exchange_vanish(x);
        lose_session(b, s);
        lose(b, listener);
    }
    deadline_stop(&pw->w.wheel, &b->deadline);
    worker_park(&pw->w, &b->parked, reclaim);
    return is_whole ? x : NULL;
}
