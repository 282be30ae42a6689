#include "proxy/access_syslog.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/log.h"
#include "proxy/proxy.h"

#define RETRY_MS   2
#define GIVE_UP_MS 1000
/* When the process ends: how long the last lines may take. */
#define LAST_MS 200

struct access_syslog {
    const struct syslog *target;
    struct access_buffer *first, **last; /* in the order they came; `next` of buffers */
    uint64_t stuck_ms;                   /* nothing was taken since then; 0: all is well */
    struct timer timer;
};

static void on_again(void *ctx);

struct access_syslog *access_syslog_create(const struct syslog *target, struct loop *loop)
{
    struct access_syslog *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->target = target;
    s->last = &s->first;
    timer_init(&s->timer, loop, on_again, s);
    return s;
}

static void give_first(struct access_syslog *s)
{
    struct access_buffer *b = s->first;
    s->first = b->next;
    if (!s->first)
        s->last = &s->first;
    access_give_back(b);
}

static void lose_first(struct access_syslog *s)
{
    s->first->lost += access_count_lines(s->first, s->first->sent);
    give_first(s);
}

/* The next line of a buffer, without its end. */
static struct str next_line(const struct access_buffer *b)
{
    const char *from = b->data + b->sent, *end = memchr(from, '\n', b->len - b->sent);
    return str_make(from, end ? (size_t)(end - from) : b->len - b->sent);
}

/* False: the server takes no more for now. Errors that waiting does not mend cost the line. */
static bool send_buffer(struct access_syslog *s, struct access_buffer *b)
{
    char head[SYSLOG_HEAD_BYTES];
    struct str top = str_make(head, syslog_head(s->target, SYSLOG_INFO, "access", head));
    while (b->sent < b->len) {
        struct str line = next_line(b);
        if (!syslog_send(s->target, top, line)) {
            if (errno == EAGAIN || errno == EWOULDBLOCK)
                return false;
            LOG_LIMITED(LOG_ERROR, 1, "access log: the syslog server cannot be reached: %m");
            b->lost++;
        }
        s->stuck_ms = 0;
        b->sent += line.n + 1;
    }
    return true;
}

static void send_all(struct access_syslog *s)
{
    uint64_t now_ms = clock_now_ns() / NS_PER_MS;
    while (s->first && send_buffer(s, s->first))
        give_first(s);
    if (!s->first)
        return;
    if (!s->stuck_ms)
        s->stuck_ms = now_ms;
    if (now_ms - s->stuck_ms >= GIVE_UP_MS) {
        LOG_LIMITED(LOG_ERROR, 1, "access log: the syslog server takes no lines: they are dropped");
        while (s->first)
            lose_first(s);
        return;
    }
    timer_arm(&s->timer, RETRY_MS);
}

static void on_again(void *ctx)
{
    send_all(ctx);
}

void access_syslog_take(struct access_syslog *s, struct access_buffer *b)
{
    bool waits = s->first != NULL;
    b->next = NULL;
    b->sent = 0;
    *s->last = b;
    s->last = &b->next;
    if (!waits)
        send_all(s);
}

void access_syslog_destroy(struct access_syslog **sp)
{
    struct access_syslog *s = *sp;
    uint64_t end_ms = clock_now_ns() / NS_PER_MS + LAST_MS;
    *sp = NULL;
    if (!s)
        return;
    while (s->first && clock_now_ns() / NS_PER_MS < end_ms) {
        struct pollfd ready = {.fd = -1};
        if (send_buffer(s, s->first))
            give_first(s);
        else
            poll(&ready, 1, RETRY_MS); /* no event tells that a server's queue has room */
    }
    while (s->first)
        lose_first(s);
    timer_stop(&s->timer);
    free(s);
}
