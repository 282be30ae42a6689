#include "run/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/panic.h"

/* Frozen for ever, as DATAPATH section 1 asks of all heads: peers of different builds meet during an upgrade.
 */
struct head {
    uint32_t magic;
    uint16_t version;
    uint16_t type;
    uint32_t flags;
    uint32_t payload_bytes; /* inline only */
};

enum { FLAG_MEMFD = 1 }; /* the last descriptor is a sealed memfd that holds the payload */
enum { READS_PER_TURN = 64, FDS_WITH_PAYLOAD = CHANNEL_FDS_MAX + 1 };
#define CHANNEL_OBJECT 0x6368616eu

struct queued {
    struct list node;
    struct head head;
    int fds[FDS_WITH_PAYLOAD]; /* owned duplicates */
    int fd_count;
    char payload[];
};

struct channel {
    uint32_t magic;
    int fd; /* owned */
    struct loop *loop;
    const struct channel_ops *ops;
    void *owner;
    struct watch reader, writer;
    struct list queue; /* of struct queued */
    uint32_t queued_count;
    bool broken, lost;
    bool in_callback, destroyed; /* destroy during a callback only marks; the reader frees */
    char in[sizeof(struct head) + CHANNEL_INLINE_MAX];
};

bool channel_pair(int out_fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out_fds) == 0;
}

static void close_fds(int *fds, int count)
{
    for (int i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void queued_destroy(struct queued *q)
{
    close_fds(q->fds, q->fd_count);
    free(q);
}

/* ---- sending ---- */

/* 1 sent, 0 the socket is full, -1 the peer is gone. */
static int send_now(int fd, const struct head *head, const char *payload, const int *fds, int fd_count)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)head, sizeof *head},
                             {(void *)(uintptr_t)payload, head->payload_bytes}};
    union {
        char bytes[CMSG_SPACE(sizeof(int) * FDS_WITH_PAYLOAD)];
        struct cmsghdr align;
    } control = {0};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
    if (fd_count > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)fd_count);
    }
    for (;;) {
        if (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 1;
        if (errno == EINTR)
            continue;
        /* ETOOMANYREFS: too many descriptors under way; as good as full. */
        return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS ? 0 : -1;
    }
}

static void on_writable(int fd, short events, void *ctx)
{
    struct channel *c = ctx;
    CHECK_MAGIC(c, CHANNEL_OBJECT);
    (void)fd;
    (void)events;
    while (!list_is_empty(&c->queue)) {
        struct queued *q = CONTAINER_OF(c->queue.next, struct queued, node);
        int rc = send_now(c->fd, &q->head, q->payload, q->fds, q->fd_count);
        if (rc == 0)
            return;
        if (rc < 0)
            c->broken = true; /* the reader sees the end too and reports it */
        list_remove(&q->node);
        c->queued_count--;
        queued_destroy(q);
    }
    watch_stop(&c->writer);
}

static bool is_topology(unsigned type)
{
    return type == CHANNEL_TOPOLOGY || type == CHANNEL_TOPOLOGY_DIFF;
}

/* Hints and beats: the next one says the same. */
static bool is_repeated(unsigned type)
{
    return type == CHANNEL_WAKE || type == CHANNEL_SATURATED || type == CHANNEL_PROXY_HEARTBEAT ||
           type == CHANNEL_ORCH_HEARTBEAT;
}

/* Room for one more, by dropping the oldest topology: the sender will send a whole one instead. */
static bool make_room(struct channel *c)
{
    if (c->queued_count < CHANNEL_QUEUE_MAX)
        return true;
    for (struct list *l = c->queue.next; l != &c->queue; l = l->next) {
        struct queued *q = CONTAINER_OF(l, struct queued, node);
        if (!is_topology(q->head.type))
            continue;
        list_remove(&q->node);
        c->queued_count--;
        queued_destroy(q);
        c->lost = true;
        return true;
    }
    return false;
}

static bool enqueue(struct channel *c, const struct head *head, const char *payload, const int *fds,
                    int fd_count)
{
    if (!make_room(c)) {
        if (is_repeated(head->type))
            return true;
        /* A thousand messages that must not be lost are waiting: that peer is dead, whatever it says. */
        c->broken = true;
        shutdown(c->fd, SHUT_RDWR);
        return false;
    }
    struct queued *q = must(malloc(sizeof *q + head->payload_bytes));
    q->head = *head;
    q->fd_count = fd_count;
    list_init(&q->node);
    if (head->payload_bytes)
        memcpy(q->payload, payload, head->payload_bytes);
    for (int i = 0; i < fd_count; i++)
        q->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
    for (int i = 0; i < fd_count; i++)
        if (q->fds[i] < 0) { /* out of descriptors: the message is worthless without them */
            queued_destroy(q);
            c->lost = true;
            return true;
        }
    list_push(&c->queue, &q->node);
    c->queued_count++;
    if (!c->writer.added)
        watch_start(&c->writer, c->loop, c->fd, EV_WRITE, on_writable, c);
    return true;
}

bool channel_send(struct channel *c, enum channel_type type, struct str payload, const int *fds, int fd_count)
{
    CHECK_MAGIC(c, CHANNEL_OBJECT);
    ASSERT(fd_count >= 0 && fd_count <= CHANNEL_FDS_MAX && payload.n <= CHANNEL_PAYLOAD_MAX);
    if (c->broken)
        return false;
    struct head head = {CHANNEL_MAGIC, CHANNEL_VERSION, (uint16_t)type, 0, (uint32_t)payload.n};
    int all[FDS_WITH_PAYLOAD], payload_fd = -1;
    if (fd_count)
        memcpy(all, fds, sizeof(int) * (size_t)fd_count);
    if (payload.n > CHANNEL_INLINE_MAX) {
        payload_fd = sealed_memfd("coxswain message", payload);
        if (payload_fd < 0) { /* no memory or descriptors: like a message dropped for want of room */
            c->lost = true;
            return true;
        }
        all[fd_count++] = payload_fd;
        head.flags = FLAG_MEMFD;
        head.payload_bytes = 0;
    }
    int rc = list_is_empty(&c->queue) ? send_now(c->fd, &head, payload.p, all, fd_count) : 0;
    bool ok = rc > 0 || (rc == 0 && enqueue(c, &head, payload.p, all, fd_count));
    if (rc < 0)
        c->broken = true;
    if (payload_fd >= 0)
        close(payload_fd);
    return ok;
}

bool channel_take_lost(struct channel *c)
{
    bool lost = c->lost;
    c->lost = false;
    return lost;
}

int channel_fd(const struct channel *c)
{
    return c->fd;
}

bool channel_is_idle(const struct channel *c)
{
    return list_is_empty(&c->queue);
}

/* ---- receiving ---- */

struct received {
    struct head head;
    struct str payload; /* inline part */
    int fds[FDS_WITH_PAYLOAD];
    int fd_count;
};

static void take_fds(struct msghdr *msg, struct received *r)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (r->fd_count < FDS_WITH_PAYLOAD)
                r->fds[r->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

static bool head_is_sane(const struct received *r, ssize_t n, int flags)
{
    return n >= (ssize_t)sizeof r->head && !(flags & (MSG_TRUNC | MSG_CTRUNC)) &&
           r->head.magic == CHANNEL_MAGIC && r->head.version == CHANNEL_VERSION &&
           r->head.payload_bytes == (size_t)n - sizeof r->head &&
           (!(r->head.flags & FLAG_MEMFD) || r->fd_count > 0) &&
           r->fd_count <= CHANNEL_FDS_MAX + (r->head.flags & FLAG_MEMFD ? 1 : 0);
}

/* 1 a message, 0 nothing there, -1 the end or garbage. */
static int receive(struct channel *c, struct received *r)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * FDS_WITH_PAYLOAD)];
        struct cmsghdr align;
    } control;
    struct iovec part = {c->in, sizeof c->in};
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do
        n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    *r = (struct received){0};
    take_fds(&msg, r);
    if (n >= (ssize_t)sizeof r->head)
        memcpy(&r->head, c->in, sizeof r->head);
    if (!head_is_sane(r, n, msg.msg_flags)) {
        close_fds(r->fds, r->fd_count);
        return -1;
    }
    r->payload = str_make(c->in + sizeof r->head, r->head.payload_bytes);
    return 1;
}

/* False when the payload cannot be had. */
static bool deliver(struct channel *c, struct received *r)
{
    struct channel_message m = {.type = (enum channel_type)r->head.type, .payload = r->payload};
    struct str mapped = STR_NULL;
    if (r->head.flags & FLAG_MEMFD) {
        int fd = r->fds[--r->fd_count];
        bool ok = sealed_map(fd, &mapped);
        close(fd);
        if (!ok) {
            close_fds(r->fds, r->fd_count);
            return false;
        }
        m.payload = mapped;
    }
    for (int i = 0; i < CHANNEL_FDS_MAX; i++)
        m.fds[i] = i < r->fd_count ? r->fds[i] : -1;
    m.fd_count = r->fd_count;
    c->ops->on_message(c->owner, c, &m);
    close_fds(m.fds, CHANNEL_FDS_MAX);
    sealed_unmap(mapped);
    return true;
}

static void channel_free(struct channel *c)
{
    c->magic = 0;
    free(c);
}

static void on_readable(int fd, short events, void *ctx)
{
    struct channel *c = ctx;
    CHECK_MAGIC(c, CHANNEL_OBJECT);
    (void)fd;
    (void)events;
    c->in_callback = true;
    for (int i = 0; i < READS_PER_TURN && !c->destroyed; i++) {
        struct received r;
        int rc = receive(c, &r);
        if (rc == 0)
            break;
        if (rc > 0 && deliver(c, &r))
            continue;
        if (c->destroyed)
            break;
        c->broken = true;
        watch_stop(&c->reader);
        watch_stop(&c->writer);
        c->ops->on_gone(c->owner, c);
        break;
    }
    c->in_callback = false;
    if (c->destroyed)
        channel_free(c);
}

/* ---- life ---- */

struct channel *channel_create(struct loop *loop, int fd, const struct channel_ops *ops, void *owner)
{
    struct channel *c = must(calloc(1, sizeof *c));
    c->magic = CHANNEL_OBJECT;
    c->fd = fd;
    c->loop = loop;
    c->ops = ops;
    c->owner = owner;
    list_init(&c->queue);
    watch_start(&c->reader, loop, fd, EV_READ, on_readable, c);
    return c;
}

void channel_destroy(struct channel **cp)
{
    struct channel *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    CHECK_MAGIC(c, CHANNEL_OBJECT);
    ASSERT(!c->destroyed);
    watch_stop(&c->reader);
    watch_stop(&c->writer);
    for (struct list *l; (l = list_shift(&c->queue));)
        queued_destroy(CONTAINER_OF(l, struct queued, node));
    close(c->fd);
    c->fd = -1;
    c->destroyed = true;
    if (!c->in_callback)
        channel_free(c);
}
