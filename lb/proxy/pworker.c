#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/buf.h"
#include "base/panic.h"
#include "proxy/back_h2.h"
#include "proxy/berth.h"
#include "proxy/compress.h"
#include "proxy/front_h2.h"
#include "proxy/hold.h"
#include "proxy/intro.h"
#include "proxy/mirror.h"
#include "proxy/proxy.h"
#include "proxy/resting.h"

#define TICK_MS        1000
#define DRAIN_TICK_MS  50
#define CUT_AT_ONCE    4096 /* held requests that a drain at its end wakes to be cut, in one step */
#define EXCHANGES_KEPT 1024
#define ARENAS_KEPT    64 /* heads that an exchange's own block has no room for */
#define SESSIONS_KEPT  1024
#define UPLINKS_KEPT   512
#define INTROS_KEPT    256
#define GZIPS_KEPT     4

struct drain_mail {
    struct mail mail;
    uint64_t timeout_ms;
    bool final;
};

void pworker_count_session(struct pworker *pw, int delta)
{
    pw->session_count += (uint32_t)delta;
    ledger_set(&pw->ledger.row->sessions, pw->session_count);
    atomic_store_explicit(&pw->shared.sessions, pw->session_count, memory_order_relaxed);
}

static void close_idle_uplinks(struct pworker *pw)
{
    struct list *node = pw->uplinks.next;
    while (node != &pw->uplinks) {
        struct uplink *u = CONTAINER_OF(node, struct uplink, all);
        node = node->next;
        if (!u->x)
            uplink_close(u);
    }
}

/* The time is up: what still runs is cut. */
static void cut_all(struct pworker *pw)
{
    struct list *lists[] = {&pw->sessions, &pw->idle_sessions};
    intro_close_all(pw);
    resting_wake_all(pw);
    hold_wake_some(pw, CUT_AT_ONCE);
    for (size_t i = 0; i < 2; i++)
        while (!list_is_empty(lists[i])) {
            struct session *s = CONTAINER_OF(lists[i]->next, struct session, node);
            if (s->asleep)
                (void)!berth_leave(s->asleep);
            if (s->state != SESSION_CLOSED && s->x)
                exchange_reply(s->x, REASON_SHUTDOWN);
            if (s->state != SESSION_CLOSED && s->h2)
                front_h2_cut(s, REASON_SHUTDOWN);
            if (s->state != SESSION_CLOSED)
                session_close(s, false);
        }
}

static void close_idle_sessions(struct pworker *pw)
{
    resting_wake_all(pw);
    struct list *node = pw->idle_sessions.next;
    while (node != &pw->idle_sessions) {
        struct session *s = CONTAINER_OF(node, struct session, node);
        node = node->next;
        session_drain(s);
    }
}

/* HTTP/2 can be told to go elsewhere with its next request, without waiting for an answer to say so. */
static void drain_h2(struct pworker *pw)
{
    struct list *lists[] = {&pw->sessions, &pw->idle_sessions};
    for (size_t i = 0; i < 2; i++)
        for (struct list *n = lists[i]->next; n != lists[i]; n = n->next) {
            struct session *s = CONTAINER_OF(n, struct session, node);
            if (s->h2)
                front_h2_drain(s);
        }
}

static void drain_step(struct pworker *pw)
{
    if (pw->drain_final)
        close_idle_sessions(pw);
    if (pw->w.now_ms >= pw->drain_at_ms)
        cut_all(pw);
    if (pw->session_count == 0)
        mirrors_cut(pw);
    close_idle_uplinks(pw);
    h2_pool_drain(pw);
    /* Not before no worker can hand one more connection over, and the last that was is counted. */
    bool all =
        atomic_load_explicit(&pw->proxy->shared.draining, memory_order_acquire) == pw->proxy->worker_count;
    bool mail = atomic_load_explicit(&pw->w.mailbox.shared.head, memory_order_acquire) != NULL;
    if (all && !mail && pw->session_count == 0 && pw->uplink_count == 0)
        worker_stop(&pw->w);
}

/* What a storm left in the pools goes back, a little every second. */
static void trim(struct pworker *pw)
{
    struct pool *pools[] = {&pw->exchange_pool, &pw->short_exchange_pool, &pw->arena_pool,
                            &pw->session_pool,  &pw->uplink_pool_mem,     &pw->intro_pool,
                            &pw->compress_pool, &pw->resting_pool,        &pw->mirror_pool};
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        pool_trim(pools[i]);
    pool_trim(&pw->w.chunks);
    pool_trim(&pw->w.short_chunks);
    front_h2_shared_trim(pw->h2);
    h2_pool_trim(pw->h2_pool);
}

static void on_tick(struct deadline *d)
{
    struct pworker *pw = CONTAINER_OF(d, struct pworker, tick);
    access_flush(pw);
    files_roots_forget(&pw->files_roots);
    trim(pw);
    memory_decay();
    acceptors_resume(pw);
    if (!list_is_empty(&pw->rooms))
        hold_tick(pw);
    if (pw->draining)
        drain_step(pw);
    else
        resting_tick(pw);
    cork_flush(&pw->w);
    worker_deadline(&pw->w, d, pw->draining ? DRAIN_TICK_MS : TICK_MS);
}

static void on_drain(struct worker *w, struct mail *m)
{
    struct pworker *pw = pworker_of(w);
    struct drain_mail *d = CONTAINER_OF(m, struct drain_mail, mail);
    bool first = !pw->draining;
    pw->draining = true;
    pw->drain_final |= d->final;
    pw->drain_at_ms = w->now_ms + d->timeout_ms;
    bool d_final = d->final;
    free(d);
    atomic_store_explicit(&pw->shared.serving, false, memory_order_relaxed);
    if (d_final && first)
        acceptors_empty(pw);
    acceptors_stop(pw);
    list_splice(&pw->idle_sessions, &pw->calm_sessions);
    drain_h2(pw);
    if (first && atomic_fetch_add_explicit(&pw->proxy->shared.draining, 1, memory_order_acq_rel) + 1 ==
                     pw->proxy->worker_count)
        proxy_close_listeners(pw->proxy, d_final);
    drain_step(pw);
    worker_deadline(w, &pw->tick, DRAIN_TICK_MS);
}

void pworker_send_drain(struct pworker *pw, uint64_t timeout_ms, bool final)
{
    struct drain_mail *d = must(malloc(sizeof *d));
    *d = (struct drain_mail){.mail = {.fn = on_drain}, .timeout_ms = timeout_ms, .final = final};
    mailbox_send(&pw->w.mailbox, &d->mail);
}

static struct str via_line(const struct settings *s)
{
    struct buf b;
    buf_init(&b);
    buf_printf(&b, "Via: 1.1 %s\r\n", s->server_name);
    return buf_str(&b);
}

bool pworker_init(struct pworker *pw, struct proxy *p, int index)
{
    memset(pw, 0, sizeof *pw);
    if (!worker_init(&pw->w, index))
        return false;
    pw->proxy = p;
    pw->settings = p->settings;
    pw->h2_pool = h2_pool_create(p->ledger.header->max_endpoints);
    if (!pw->h2_pool)
        return false;
    list_init(&pw->sessions);
    list_init(&pw->idle_sessions);
    list_init(&pw->calm_sessions);
    list_init(&pw->uplinks);
    list_init(&pw->intros);
    resting_init(pw);
    pool_init(&pw->intro_pool, sizeof(struct intro), INTROS_KEPT);
    mirrors_init(pw);
    pool_init(&pw->exchange_pool, EXCHANGE_BLOCK_BYTES, EXCHANGES_KEPT);
    conduits_init(&pw->conduits, (uint32_t)p->settings->splice_pipes);
    pw->w.conduits = &pw->conduits;
    pw->w.temp.limit_bytes = p->settings->temp_max_bytes / (uint64_t)p->worker_count;
    pool_init(&pw->arena_pool, ARENA_POOL_BYTES, ARENAS_KEPT);
    pool_init(&pw->short_exchange_pool, EXCHANGE_SHORT_BYTES, EXCHANGES_KEPT);
    pw->exchange_pool.zero_bytes = pw->short_exchange_pool.zero_bytes = sizeof(struct exchange);
    pool_init(&pw->session_pool, sizeof(struct session), SESSIONS_KEPT);
    pool_init(&pw->uplink_pool_mem, sizeof(struct uplink), UPLINKS_KEPT);
    pool_init(&pw->compress_pool, compress_block_bytes(), GZIPS_KEPT);
    pw->fields = malloc(MESSAGE_FIELDS_MAX * sizeof *pw->fields);
    pw->cursors = calloc(p->ledger.header->max_clusters, sizeof *pw->cursors);
    if (getrandom(&pw->random, sizeof pw->random, 0) != sizeof pw->random || !pw->random)
        pw->random = clock_now_ns() | 1;
    pw->ewma = calloc(p->ledger.header->max_endpoints, sizeof *pw->ewma);
    bool has_many = p->worker_count > BALANCE_READ_WORKERS;
    if (has_many) {
        pw->loads = calloc(p->ledger.header->max_endpoints, sizeof *pw->loads);
        pw->cluster_loads = calloc(p->ledger.header->max_clusters, sizeof *pw->cluster_loads);
    }
    pw->server_errors = calloc(p->ledger.header->max_endpoints, sizeof *pw->server_errors);
    pw->budgets = calloc(p->ledger.header->max_clusters, sizeof *pw->budgets);
    bool has_rooms = hold_init(pw, p->ledger.header->max_clusters);
    pw->origins = calloc(ORIGIN_ENTRIES, sizeof *pw->origins);
    pw->via_line = via_line(p->settings);
    bool has_passwords = p->guards && p->guards->hasher;
    if (has_passwords)
        pw->verified = verified_create();
    ledger_writer_init(&pw->ledger, &p->ledger, (uint32_t)index);
    deadline_init(&pw->tick, on_tick);
    worker_deadline(&pw->w, &pw->tick, TICK_MS);
    return secure_init(pw) && pw->fields && pw->cursors && pw->ewma && pw->budgets && has_rooms &&
           pw->origins && pw->server_errors && ((pw->loads && pw->cluster_loads) || !has_many) &&
           (!has_passwords || pw->verified) && uplink_pool_init(&pw->pool, p->ledger.header->max_endpoints);
}

void pworker_fini(struct pworker *pw)
{
    access_fini(pw);
    secure_fini(pw);
    uplink_pool_fini(&pw->pool);
    if (pw->view)
        view_unref(pw, &pw->view);
    free(pw->acceptors);
    free(pw->fields);
    free(pw->cursors);
    free(pw->ewma);
    free(pw->budgets);
    verified_destroy(&pw->verified);
    free(pw->server_errors);
    free(pw->loads);
    free(pw->cluster_loads);
    hold_fini(pw);
    free(pw->origins);
    free((char *)(uintptr_t)pw->via_line.p);
    deadline_stop(&pw->w.wheel, &pw->tick);
    files_roots_forget(&pw->files_roots);
    struct pool *pools[] = {&pw->exchange_pool, &pw->short_exchange_pool, &pw->arena_pool,
                            &pw->session_pool,  &pw->uplink_pool_mem,     &pw->intro_pool,
                            &pw->compress_pool, &pw->resting_pool};
    worker_fini(&pw->w);
    pool_fini(&pw->mirror_pool);
    conduits_fini(&pw->conduits);
    front_h2_shared_destroy(&pw->h2);
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        pool_fini(pools[i]);
    h2_pool_destroy(&pw->h2_pool);
}

struct str pworker_date_line(struct pworker *pw)
{
    uint64_t second = worker_wall_ns(&pw->w) / NS_PER_S;
    if (second != pw->http_date_second) {
        time_t now = (time_t)second;
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(pw->http_date, sizeof pw->http_date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        pw->http_date_second = second;
    }
    return str_make(pw->http_date, sizeof "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" - 1);
}

struct str pworker_http_date(struct pworker *pw)
{
    struct str line = pworker_date_line(pw);
    return str_make(line.p + 6, line.n - 8);
}

static void on_worker_done(struct worker *none, struct mail *m)
{
    struct done_mail {
        struct mail mail;
        struct proxy *proxy;
    } *d = (void *)m;
    (void)none;
    if (++d->proxy->workers_done == d->proxy->worker_count)
        loop_stop(&d->proxy->loop);
    free(d);
}

void *pworker_main(void *arg)
{
    struct pworker *pw = arg;
    char name[16];
    snprintf(name, sizeof name, "worker %d", pw->w.index);
    pthread_setname_np(pthread_self(), name);
    worker_run(&pw->w);
    access_flush(pw);
    struct done_mail {
        struct mail mail;
        struct proxy *proxy;
    } *d = must(malloc(sizeof *d));
    d->mail.fn = on_worker_done;
    d->proxy = pw->proxy;
    mailbox_send(&pw->proxy->mailbox, &d->mail);
    return NULL;
}
