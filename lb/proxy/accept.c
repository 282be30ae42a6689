/* Listeners: accepting, handing over to the least loaded worker, and what happens when descriptors run out.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "proxy/intro.h"
#include "proxy/proxy.h"
#include "proxy/resting.h"

#define ACCEPTS_A_TURN 64
/* A worker with this many more sessions than the least loaded one hands a new one over (few connections
 * spread badly by hash). */
#define HANDOVER_MARGIN 2
#define EVICT_LOOKS     16
#define DRAIN_ACCEPTS   4096

struct handover {
    struct mail mail;
    const struct listener_settings *listener;
    struct addr peer;
    int fd;
};

static void begin(struct pworker *pw, const struct listener_settings *listener, int fd,
                  const struct addr *peer)
{
    if (listener->proxy_protocol == PROXY_PROTOCOL_REQUIRED)
        intro_open(pw, listener, fd, peer);
    else
        session_open(pw, listener, fd, peer, NULL);
}

static void on_handover(struct worker *w, struct mail *m)
{
    struct handover *h = CONTAINER_OF(m, struct handover, mail);
    struct pworker *pw = pworker_of(w);
    begin(pw, h->listener, h->fd, &h->peer);
    atomic_fetch_sub_explicit(&pw->shared.coming, 1, memory_order_relaxed); /* it counts as ours now */
    free(h);
}

/* What a worker has and what was handed to it but is still on its way. */
static uint32_t load_of(struct pworker *pw)
{
    return atomic_load_explicit(&pw->shared.sessions, memory_order_relaxed) +
           atomic_load_explicit(&pw->shared.coming, memory_order_relaxed);
}

static struct pworker *least_loaded(struct pworker *pw)
{
    struct proxy *p = pw->proxy;
    struct pworker *best = pw;
    uint32_t mine = load_of(pw), least = mine;
    for (int i = 0; i < p->worker_count; i++) {
        struct pworker *other = &p->workers[i];
        uint32_t n = load_of(other);
        if (n < least && atomic_load_explicit(&other->shared.serving, memory_order_relaxed)) {
            least = n;
            best = other;
        }
    }
    return mine - least >= HANDOVER_MARGIN ? best : pw;
}

static void place(struct acceptor *a, int fd, const struct addr *peer)
{
    struct pworker *to = least_loaded(a->pw);
    struct handover *h = to == a->pw ? NULL : malloc(sizeof *h);
    if (!h) {
        begin(a->pw, a->settings, fd, peer);
        return;
    }
    *h = (struct handover){.mail = {.fn = on_handover}, .listener = a->settings, .peer = *peer, .fd = fd};
    atomic_fetch_add_explicit(&to->shared.coming, 1, memory_order_relaxed);
    mailbox_send(&to->w.mailbox, &h->mail);
}

static bool evict_first(struct list *sessions)
{
    struct list *node = sessions->next;
    for (int i = 0; i < EVICT_LOOKS && node != sessions; i++, node = node->next) {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (s->in_len || s->conn.may_read)
            continue; /* its next request is here already */
        session_close(s, false);
        return true;
    }
    return false;
}

/* Room for one more by closing the session that has been idle longest. */
static bool evict_idle(struct pworker *pw)
{
    return resting_evict(pw) || evict_first(&pw->calm_sessions) || evict_first(&pw->idle_sessions);
}

static void on_accept_error(struct pworker *pw, int err)
{
    if (err != EMFILE && err != ENFILE && err != ENOBUFS && err != ENOMEM)
        return; /* the client's own trouble: ECONNABORTED and friends */
    LOG_LIMITED(LOG_WARN, 1, "accept: out of descriptors or memory (errno %d), %u sessions", err,
                pw->session_count);
    if (!evict_idle(pw))
        acceptors_pause(pw);
}

static bool accept_one(struct acceptor *a)
{
    struct pworker *pw = a->pw;
    struct addr peer = {.len = sizeof(struct sockaddr_un)};
    int fd = accept4(a->fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR)
            on_accept_error(pw, errno);
        return false;
    }
    place(a, fd, &peer);
    if (pw->session_count >= pw->proxy->max_sessions && !evict_idle(pw)) {
        acceptors_pause(pw);
        return false;
    }
    return true;
}

static void on_acceptable(evutil_socket_t fd, short events, void *ctx)
{
    struct acceptor *a = ctx;
    (void)fd;
    (void)events;
    worker_on_event(&a->pw->w);
    for (int i = 0; i < ACCEPTS_A_TURN; i++)
        if (!accept_one(a))
            return;
}

static bool is_mine(const struct pworker *pw, const struct listener_fds *l, int i)
{
    int workers = pw->proxy->worker_count;
    return l->count >= workers ? i % workers == pw->w.index : i == pw->w.index % l->count;
}

static int count_mine(struct pworker *pw)
{
    int n = 0;
    for (size_t l = 0; l < pw->settings->listeners.count; l++)
        for (int i = 0; i < pw->proxy->role->listeners[l].count; i++)
            n += is_mine(pw, &pw->proxy->role->listeners[l], i);
    return n;
}

/* A service manager may hand over a socket that takes connections to any address (transparent proxying). */
static bool is_transparent(int fd)
{
    int v4 = 0, v6 = 0;
    socklen_t n = sizeof v4, m = sizeof v6;
    (void)getsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &v4, &n); /* fails on the other family's: not set */
    (void)getsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &v6, &m);
    return v4 || v6;
}

/* An address with len 0 when connections differ. */
static struct addr bound_to(int fd)
{
    static const uint8_t any_v6[16] = {0}, any_v4[16] = {[10] = 0xff, [11] = 0xff};
    struct addr a = {.len = sizeof a.un};
    uint8_t ip[16];
    if (getsockname(fd, &a.sa, &a.len) < 0 || !addr_ip16(&a, ip) || memcmp(ip, any_v6, 16) == 0 ||
        memcmp(ip, any_v4, 16) == 0 || is_transparent(fd))
        a.len = 0;
    return a;
}

bool proxy_look_at_bound(struct proxy *p)
{
    const size_t n = p->settings->listeners.count;
    p->bound = calloc(n + 1, sizeof *p->bound);
    for (size_t i = 0; p->bound && i < n; i++) {
        const struct listener_fds *l = &p->role->listeners[i];
        if (l->count)
            p->bound[i] = bound_to(l->fds[0]); /* all are bound alike */
    }
    return p->bound != NULL;
}

const struct addr *proxy_bound_to(const struct proxy *p, const struct listener_settings *l)
{
    const size_t i = (size_t)(l - SETTINGS_AT(p->settings->listeners, const struct listener_settings, 0));
    ASSERT(i < p->settings->listeners.count);
    return p->bound[i].len ? &p->bound[i] : NULL;
}

static bool add_acceptor(struct pworker *pw, size_t listener, int fd)
{
    struct acceptor *a = &pw->acceptors[pw->acceptor_count++];
    a->pw = pw;
    a->settings = SETTINGS_AT(pw->settings->listeners, struct listener_settings, listener);
    a->fd = fd;
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
                     sizeof one); /* what is accepted inherits it (Linux) */
    /* Level-triggered: what one turn leaves in the queue is announced again. */
    a->added = event_assign(&a->ev, pw->w.loop.base, fd, EV_READ | EV_PERSIST, on_acceptable, a) == 0 &&
               event_add(&a->ev, NULL) == 0;
    return a->added;
}

bool acceptors_start(struct pworker *pw)
{
    pw->acceptors = calloc((size_t)count_mine(pw) + 1, sizeof *pw->acceptors);
    if (!pw->acceptors)
        return false;
    for (size_t l = 0; l < pw->settings->listeners.count; l++) {
        const struct listener_fds *fds = &pw->proxy->role->listeners[l];
        for (int i = 0; i < fds->count; i++)
            if (is_mine(pw, fds, i) && !add_acceptor(pw, l, fds->fds[i]))
                return false;
    }
    return true;
}

/* epoll holds the shared file description, so taking it out of the loop is what ends accepting, not closing.
 */
void acceptors_stop(struct pworker *pw)
{
    for (int i = 0; i < pw->acceptor_count; i++) {
        if (pw->acceptors[i].added)
            event_del(&pw->acceptors[i].ev);
        pw->acceptors[i].added = false;
    }
}

void acceptors_empty(struct pworker *pw)
{
    for (int i = 0; i < pw->acceptor_count; i++)
        for (int n = 0; n < DRAIN_ACCEPTS && accept_one(&pw->acceptors[i]); n++)
            continue;
}

void proxy_close_listeners(struct proxy *p, bool final)
{
    for (size_t l = 0; l < p->settings->listeners.count; l++)
        for (int i = 0; i < p->role->listeners[l].count; i++) {
            int *fd = &p->role->listeners[l].fds[i];
            if (final && !p->role->listeners[l].is_given)
                shutdown(*fd, SHUT_RD);
            close(*fd);
            *fd = -1;
        }
}

void acceptors_pause(struct pworker *pw)
{
    acceptors_stop(pw);
    pw->accept_paused = true;
}

void acceptors_resume(struct pworker *pw)
{
    if (!pw->accept_paused || pw->draining)
        return;
    pw->accept_paused = false;
    for (int i = 0; i < pw->acceptor_count; i++) {
        struct acceptor *a = &pw->acceptors[i];
        a->added = a->added || event_add(&a->ev, NULL) == 0;
        pw->accept_paused |= !a->added; /* the next tick tries again */
    }
}
