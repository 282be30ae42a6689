#include "proxy/resting.h"

#include <unistd.h>

#include "base/panic.h"
#include "net/tls.h"
#include "proxy/front_h2.h"
#include "proxy/proxy.h"

#define RESTING_MAGIC 0x72657374u
/* Of one worker in one second: 2 ms at most are spent on it. */
#define RESTS_A_TICK   1024
#define IN_PLACE_RESTS 2 /* what freeing the state of a library costs, in such rests */
#define LOOKS_A_TICK   8192
#define RESTING_KEPT   1024

struct resting {
    union {
        struct list node; /* in pworker.resting, longest first */
        struct parked parked;
    };
    struct event ev;
    struct deadline deadline;
    struct pworker *pw;
    uint32_t magic;
    struct session_kept kept;
};

static bool can_rest(const struct session *s)
{
    return s->request_count > 0 && !s->x && session_can_be_kept(s);
}

static void reclaim(struct parked *p)
{
    struct resting *r = CONTAINER_OF(p, struct resting, parked);
    r->magic = 0;
    pool_give(&r->pw->resting_pool, r);
}

/* Out of the loop and of every list; its memory goes when the turn ends. The descriptor is the caller's. */
static void leave(struct resting *r)
{
    event_del(&r->ev);
    deadline_stop(&r->pw->w.wheel, &r->deadline);
    list_remove(&r->node);
    worker_park(&r->pw->w, &r->parked, reclaim);
}

/* Back to a session that is idle; its descriptor announces anew what waits there. NULL: memory was out, the
 * connection is closed. */
static struct session *wake(struct resting *r)
{
    CHECK_MAGIC(r, RESTING_MAGIC);
    uint64_t at_ms = r->deadline.at_ms;
    leave(r);
    struct session *s = session_revive(r->pw, &r->kept);
    if (!s)
        return NULL;
    if (at_ms)
        deadline_set(&r->pw->w.wheel, &s->deadline, at_ms);
    return s;
}

static void on_readable(evutil_socket_t fd, short events, void *ctx)
{
    struct resting *r = ctx;
    (void)fd;
    (void)events;
    worker_on_event(&r->pw->w);
    (void)wake(r);
}

static void on_timeout(struct deadline *d)
{
    struct session *s = wake(CONTAINER_OF(d, struct resting, deadline));
    if (s)
        session_linger(s);
}

static void rest(struct session *s)
{
    struct pworker *pw = s->pw;
    struct resting *r = pool_take(&pw->resting_pool);
    if (!r)
        return; /* later perhaps */
    *r = (struct resting){.pw = pw, .magic = RESTING_MAGIC};
    uint64_t at_ms = s->deadline.at_ms;
    deadline_init(&r->deadline, on_timeout);
    list_push(&pw->resting, &r->node);
    session_give_up(s, &r->kept);
    if (at_ms)
        deadline_set(&pw->w.wheel, &r->deadline, at_ms);
    /* Level-triggered: what has come since the last look is announced too. */
    if (event_assign(&r->ev, pw->w.loop.base, r->kept.fd, EV_READ | EV_PERSIST, on_readable, r) != 0 ||
        event_add(&r->ev, NULL) != 0)
        (void)wake(r); /* no memory in the loop: as if it had been closed, or as it was */
}

void resting_init(struct pworker *pw)
{
    list_init(&pw->resting);
    pool_init(&pw->resting_pool, sizeof(struct resting), RESTING_KEPT);
}

/* Idle for long enough. Connections are in the list by the time they became idle, but listeners may differ.
 */
static bool is_due(const struct session *s)
{
    const struct listener_settings *l = s->listener;
    uint64_t began_ms = s->deadline.at_ms - l->client_idle_timeout_ms;
    return l->client_rest_after_ms && began_ms + l->client_rest_after_ms <= s->pw->w.now_ms;
}

static bool can_rest_in_place(const struct session *s)
{
    return s->state == SESSION_IDLE && !s->x && !tls_is_handshaking(&s->conn) && !sink_is_blocked(&s->sink);
}

/* It stays a session, of HTTP/2 or with TLS, but what libraries hold for it goes as far as can be. */
static void rest_in_place(struct session *s)
{
    list_remove(&s->node);
    list_push(&s->pw->calm_sessions, &s->node);
    if (s->h2)
        front_h2_rest(s);
    (void)tls_rest(&s->conn);
}

void resting_tick(struct pworker *pw)
{
    struct list *node = pw->idle_sessions.next;
    uint32_t looked_at = 0, rested = 0;
    while (node != &pw->idle_sessions && looked_at++ < LOOKS_A_TICK && rested < RESTS_A_TICK) {
        struct session *s = CONTAINER_OF(node, struct session, node);
        node = node->next;
        if ((s->h2 || conn_is_secure(&s->conn)) && can_rest_in_place(s) && is_due(s)) {
            rest_in_place(s);
            rested += IN_PLACE_RESTS;
        } else if (can_rest(s) && is_due(s)) {
            rest(s);
            rested++;
        }
    }
}

bool resting_evict(struct pworker *pw)
{
    if (list_is_empty(&pw->resting))
        return false;
    struct session *s = wake(CONTAINER_OF(pw->resting.next, struct resting, node));
    if (!s)
        return true;
    if (conn_peek(&s->conn) == 1)
        return false;
    session_close(s, false);
    return true;
}

void resting_wake_all(struct pworker *pw)
{
    while (!list_is_empty(&pw->resting))
        (void)wake(CONTAINER_OF(pw->resting.next, struct resting, node));
}
