#include "proxy/mirror.h"

#include "proxy/exchange_priv.h"
#include "proxy/proxy.h"
#include "topo/route_rules.h"

#define MIRROR_MAGIC 0x6d697272u
#define MIRRORS_KEPT 64

struct mirror {
    struct parked parked;
    uint32_t magic;
    struct run_node run;
    struct deadline deadline; /* for all of it */
    struct list node;         /* in pworker.mirrors */
    struct session session;   /* what its exchange looks at; never a connection */
    struct exchange *x;       /* the copy */
};

static struct mirror *mirror_of(struct exchange *x)
{
    struct mirror *m = CONTAINER_OF(x->session, struct mirror, session);
    CHECK_MAGIC(m, MIRROR_MAGIC);
    return m;
}

static struct ledger_cluster *cell_of(struct exchange *x)
{
    return &x->pw->ledger.clusters[x->cluster->slot];
}

/* ---- a front that throws away ---- */

static bool no_interim(struct exchange *x, struct message *m)
{
    (void)x;
    (void)m;
    return true;
}

static bool no_head(struct exchange *x, struct message *m)
{
    (void)x;
    (void)m;
    return true;
}

static ssize_t no_data(struct exchange *x, const char *p, size_t n, bool last)
{
    (void)p;
    (void)last;
    if (x->tx_bytes + n > MIRROR_ANSWER_MAX) {
        x->session->broken = true; /* as if a client had left */
        return -1;
    }
    return (ssize_t)n;
}

static bool no_end(struct exchange *x, struct message *trailers)
{
    (void)x;
    (void)trailers;
    return true;
}

static bool is_flushed(struct exchange *x)
{
    (void)x;
    return true;
}

static void nothing(struct exchange *x)
{
    (void)x;
}

static void reclaim(struct parked *p)
{
    struct mirror *m = CONTAINER_OF(p, struct mirror, parked);
    m->magic = 0;
    pool_give(&m->session.pw->mirror_pool, m);
}

static void on_done(struct exchange *x, bool cut)
{
    struct mirror *m = mirror_of(x);
    struct pworker *pw = x->pw;
    struct ledger_cluster *cell = cell_of(x);
    ledger_set(&cell->mirrors, ledger_get(&cell->mirrors) - 1);
    if (x->start_ns && (cut || x->reason))
        ledger_add(&cell->mirror_failures, 1);
    while (!list_is_empty(&m->session.own_uplinks))
        uplink_close(CONTAINER_OF(m->session.own_uplinks.next, struct uplink, own));
    run_queue_remove(&m->run);
    deadline_stop(&pw->w.wheel, &m->deadline);
    list_remove(&m->node);
    worker_park(&pw->w, &m->parked, reclaim);
}

static const struct front_ops front_mirror = {
    .name = "mirror",
    .interim = no_interim,
    .head = no_head,
    .data = no_data,
    .end = no_end,
    .is_flushed = is_flushed,
    .again = nothing,
    .want_request = nothing,
    .tunnel = nothing,
    .done = on_done,
};

/* ---- life ---- */

static void on_late(struct deadline *d)
{
    struct mirror *m = CONTAINER_OF(d, struct mirror, deadline);
    struct worker *w = &m->session.pw->w;
    CHECK_MAGIC(m, MIRROR_MAGIC);
    exchange_reply(m->x, REASON_SERVER_TIMEOUT);
    cork_flush(w);
}

static void on_run(struct run_node *n)
{
    struct mirror *m = CONTAINER_OF(n, struct mirror, run);
    struct exchange *x = m->x;
    struct worker *w = &x->pw->w;
    CHECK_MAGIC(m, MIRROR_MAGIC);
    ledger_add(&cell_of(x)->mirrored, 1);
    x->start_ns = w->now_ns;
    worker_deadline(w, &m->deadline, x->opt->response_timeout_ms + x->opt->body_timeout_ms);
    exchange_start_mirror(x);
    cork_flush(w);
}

static struct mirror *create(struct exchange *x, struct cluster *c)
{
    struct pworker *pw = x->pw;
    struct mirror *m = pool_take(&pw->mirror_pool);
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m);
    m->magic = MIRROR_MAGIC;
    m->session = (struct session){.magic = SESSION_MAGIC,
                                  .pw = pw,
                                  .listener = x->session->listener,
                                  .family = x->session->family,
                                  .trusted = x->session->trusted,
                                  .port = x->session->port,
                                  .local_port = x->session->local_port,
                                  .conn = {.fd = -1}};
    memcpy(m->session.ip, x->session->ip, sizeof m->session.ip);
    memcpy(m->session.local_ip, x->session->local_ip, sizeof m->session.local_ip);
    list_init(&m->session.own_uplinks);
    m->x = exchange_create(pw, &m->session, &front_mirror);
    if (!m->x) {
        pool_give(&pw->mirror_pool, m);
        return NULL;
    }
    run_node_init(&m->run, on_run);
    deadline_init(&m->deadline, on_late);
    list_init(&m->node);
    list_push(&pw->mirrors, &m->node);
    m->x->is_mirror = true;
    m->x->start_ns = 0; /* until it is sent */
    m->x->view = x->view; /* the one that c belongs to */
    x->view->users++;
    m->x->cluster = c;
    m->x->opt = &c->options;
    ledger_add(&cell_of(m->x)->mirrors, 1);
    return m;
}

/* The head as it goes to the server, in the copy's own arena. False when that is out. */
static bool copy_head(struct exchange *to, const struct exchange *from)
{
    to->req = from->req;
    to->own_fields = arena_copy(&to->arena, from->own_fields);
    to->client_ip = arena_copy(&to->arena, from->client_ip);
    to->req.flags &= ~(uint32_t)MSG_EXPECT_CONTINUE;
    if (!message_keep(&to->req, &to->arena) || !to->own_fields.p || !to->client_ip.p) {
        to->req.fields = NULL;
        to->req.field_count = 0;
        return false;
    }
    for (uint16_t i = 0; i < to->req.field_count; i++) /* nobody is there to wait for a 100 */
        if (to->req.fields[i].id == FIELD_EXPECT)
            to->req.fields[i].flags |= FIELD_FLAG_DROP;
    return true;
}

static bool is_wanted(struct exchange *x, const struct mirror_settings *s)
{
    if (!s->cluster || (x->req.flags & MSG_UPGRADE) || x->pw->draining)
        return false;
    /* 53 bits are what a double holds. */
    double draw = (double)(balance_random(&x->pw->random) >> 11) / (double)(1ull << 53);
    return draw * 100 < s->percent;
}

static bool is_bodiless(const struct message *m)
{
    return m->framing == BODY_NONE || (m->framing == BODY_LENGTH && m->content_length == 0);
}

static void set_off(struct mirror *m)
{
    m->x->request_ended = true;
    m->x->req_body.ended = true;
    run_queue_add(&m->x->pw->w, &m->run);
}

/* Not sent: ends without having begun. */
static void discard(struct mirror *m)
{
    ledger_add(&cell_of(m->x)->mirrors_skipped, 1);
    exchange_finish(m->x, true);
}

void mirror_drop(struct exchange *x)
{
    struct mirror *m = x->mirror;
    x->mirror = NULL;
    discard(m);
}

void mirror_data(struct exchange *x, const char *p, size_t n)
{
    struct pipe *body = &x->mirror->x->req_body;
    if (body->pushed_bytes + n > x->rules->options.mirror.max_body_bytes || !pipe_push(body, p, n))
        mirror_drop(x);
}

void mirror_end(struct exchange *x)
{
    struct mirror *m = x->mirror;
    x->mirror = NULL;
    set_off(m);
}

/* What came while the request waited for its guard. */
static void copy_waiting(struct exchange *x)
{
    struct pipe *p = &x->req_body;
    bool ok = true, kept = p->keep;
    if (!pipe_queued(p))
        return;
    p->keep = true;
    for (struct str s; x->mirror && (s = pipe_peek(p, &ok)).n; pipe_take(p, s.n))
        mirror_data(x, s.p, s.n);
    pipe_rewind(p);
    p->keep = kept;
    if (!ok && x->mirror)
        mirror_drop(x);
}

void mirror_begin(struct exchange *x)
{
    const struct mirror_settings *s = &x->rules->options.mirror;
    const struct topology *t = x->view->topology;
    if (!is_wanted(x, s) || x->targets->mirror_index >= t->cluster_count)
        return;
    struct cluster *c = t->clusters[x->targets->mirror_index];
    struct ledger_cluster *cell = &x->pw->ledger.clusters[c->slot];
    if (c->options.protocol == PROTOCOL_FILES)
        return; /* a file does not mind */
    bool is_large = x->req.framing == BODY_LENGTH && x->req.content_length > s->max_body_bytes;
    bool is_full = ledger_get(&cell->mirrors) >= (uint64_t)s->max_in_flight;
    struct mirror *m = is_large || is_full ? NULL : create(x, c);
    if (!m) {
        ledger_add(&cell->mirrors_skipped, 1);
        return;
    }
    m->x->req_body.memory_max = UINT64_MAX; /* max_body is the limit */
    x->mirror = m;
    if (!copy_head(m->x, x))
        mirror_drop(x);
    else
        copy_waiting(x);
    if (x->mirror && (x->request_ended || is_bodiless(&x->req)))
        mirror_end(x);
}

void mirrors_cut(struct pworker *pw)
{
    struct list *node;
    while (!list_is_empty(&pw->mirrors)) {
        node = pw->mirrors.next;
        struct mirror *m = CONTAINER_OF(node, struct mirror, node);
        if (m->x->start_ns)
            exchange_reply(m->x, REASON_SHUTDOWN);
        else
            discard(m);
    }
}

void mirrors_init(struct pworker *pw)
{
    list_init(&pw->mirrors);
    pool_init(&pw->mirror_pool, sizeof(struct mirror), MIRRORS_KEPT);
}
