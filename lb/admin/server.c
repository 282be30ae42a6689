#include "admin/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "http/h1_write.h"

#define CONN_MAGIC 0x61646d63u

enum { SWEEP_MS = 500, ACCEPTS_PER_TURN = 16, HEAD_BYTES = 2048 };

static const struct h1_limits limits = {
    .line_bytes = 4096, .head_bytes = 8192, .field_count = SERVER_FIELDS_MAX};

enum conn_state { CONN_READ, CONN_WRITE, CONN_LINGER };

struct conn {
    uint32_t magic;
    struct list node;
    struct server *server;
    int fd;
    uint8_t state; /* enum conn_state */
    bool keep;     /* after this answer */
    bool again;    /* pipelined: the next request is here already, and waits for the next turn of the loop */
    struct watch watch;
    uint64_t deadline_ms;
    size_t in_len, used;   /* used: what the request at the front takes, once it is answered */
    struct buf head, body; /* of the answer, or of the piece that is sent: then head is its size line */
    size_t sent;           /* of both */
    bool (*more)(void *ctx, struct buf *out); /* NULL: there are no further pieces */
    void (*ended)(void *ctx);                 /* not called yet; may be NULL */
    void *ctx;
    bool is_chunked;
    struct field fields[SERVER_FIELDS_MAX];
    char in[SERVER_INPUT_MAX];
};

static void on_ready(int fd, short events, void *ctx);
static void on_accept(int fd, short events, void *ctx);

static uint64_t now_ms(void)
{
    return clock_now_ns() / NS_PER_MS;
}

/* ---- coming and going ---- */

static void forget_answer(struct conn *c)
{
    c->server->buffered -= c->head.len + c->body.len;
    buf_fini(&c->head);
    buf_fini(&c->body);
    buf_init(&c->head);
    buf_init(&c->body);
    c->sent = 0;
}

static void end_pieces(struct conn *c)
{
    void (*ended)(void *ctx) = c->ended;
    c->more = NULL;
    c->ended = NULL;
    if (ended)
        ended(c->ctx);
}

static void conn_destroy(struct conn *c)
{
    struct server *s = c->server;
    end_pieces(c);
    watch_stop(&c->watch);
    close(c->fd);
    forget_answer(c);
    list_remove(&c->node);
    s->count--;
    c->magic = 0;
    free(c);
    if (!s->accept.added)
        watch_start(&s->accept, s->loop, s->fd, EV_READ, on_accept, s);
}

static void wait_for(struct conn *c, short events, uint64_t timeout_ms)
{
    watch_stop(&c->watch);
    watch_start(&c->watch, c->server->loop, c->fd, events, on_ready, c);
    c->deadline_ms = now_ms() + timeout_ms;
}

static void conn_create(struct server *s, int fd)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    c->magic = CONN_MAGIC;
    c->server = s;
    c->fd = fd;
    buf_init(&c->head);
    buf_init(&c->body);
    list_init(&c->node);
    list_push(&s->conns, &c->node);
    s->count++;
    wait_for(c, EV_READ, SERVER_READ_MS);
    if (!timer_is_armed(&s->sweep))
        timer_arm(&s->sweep, SWEEP_MS);
}

/* Of the connections that wait for nothing of ours, the one that has done so for longest. */
static bool make_room(struct server *s)
{
    struct conn *oldest = NULL;
    for (struct list *n = s->conns.next; n != &s->conns; n = n->next) {
        struct conn *c = CONTAINER_OF(n, struct conn, node);
        if (c->state == CONN_READ && !c->in_len && (!oldest || c->deadline_ms < oldest->deadline_ms))
            oldest = c;
    }
    if (oldest)
        conn_destroy(oldest);
    return oldest != NULL;
}

static void on_accept(int fd, short events, void *ctx)
{
    struct server *s = ctx;
    (void)events;
    CHECK_MAGIC(s, SERVER_MAGIC);
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (s->count >= SERVER_CONNS_MAX && !make_room(s)) {
            watch_stop(&s->accept); /* the end of a connection starts it again */
            return;
        }
        int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got >= 0) {
            conn_create(s, got);
            continue;
        }
        if (errno == ECONNABORTED || errno == EINTR)
            continue;
        if (errno != EAGAIN) { /* out of descriptors: not again before the next sweep */
            LOG_LIMITED(LOG_ERROR, 1, "admin listener: %s", strerror(errno));
            watch_stop(&s->accept);
            if (!timer_is_armed(&s->sweep))
                timer_arm(&s->sweep, SWEEP_MS);
        }
        return;
    }
}

static void on_sweep(void *ctx)
{
    struct server *s = ctx;
    CHECK_MAGIC(s, SERVER_MAGIC);
    uint64_t now = now_ms();
    for (struct list *n = s->conns.next, *next; n != &s->conns; n = next) {
        struct conn *c = CONTAINER_OF(n, struct conn, node);
        next = n->next;
        if (now >= c->deadline_ms)
            conn_destroy(c);
    }
    if (!s->accept.added && s->count < SERVER_CONNS_MAX)
        watch_start(&s->accept, s->loop, s->fd, EV_READ, on_accept, s);
    if (s->count || !s->accept.added)
        timer_arm(&s->sweep, SWEEP_MS);
}

void server_init(struct server *s, struct loop *loop, int fd, server_fn *answer, void *ctx)
{
    *s = (struct server){.magic = SERVER_MAGIC, .loop = loop, .fd = fd, .answer = answer, .ctx = ctx};
    list_init(&s->conns);
    timer_init(&s->sweep, loop, on_sweep, s);
    watch_start(&s->accept, loop, fd, EV_READ, on_accept, s);
}

void server_fini(struct server *s)
{
    while (!list_is_empty(&s->conns))
        conn_destroy(CONTAINER_OF(s->conns.next, struct conn, node));
    watch_stop(&s->accept);
    timer_stop(&s->sweep);
    s->magic = 0;
}

/* ---- answering ---- */

static void linger(struct conn *c)
{
    /* Closing while bytes of the client wait unread would reset the answer away (RFC 9112 9.6). */
    shutdown(c->fd, SHUT_WR);
    c->state = CONN_LINGER;
    wait_for(c, EV_READ, SERVER_LINGER_MS);
}

static void on_written(struct conn *c)
{
    forget_answer(c);
    if (!c->keep) {
        linger(c);
        return;
    }
    memmove(c->in, c->in + c->used, c->in_len - c->used);
    c->in_len -= c->used;
    c->used = 0;
    c->state = CONN_READ;
    c->again = c->in_len > 0;
    if (c->again)
        wait_for(c, EV_WRITE, SERVER_READ_MS); /* true at once, but not from within this call */
    else
        wait_for(c, EV_READ, SERVER_IDLE_MS);
}

/* Of bounded size, so that the memory of the one before serves it too. */
static void make_piece(struct conn *c)
{
    c->server->buffered -= c->head.len + c->body.len;
    c->head.len = c->body.len = c->sent = 0;
    bool more = c->more(c->ctx, &c->body);
    size_t n = c->body.len;
    if (c->is_chunked && n) {
        buf_printf(&c->head, "%zx\r\n", n);
        buf_put(&c->body, "\r\n", 2);
    }
    if (!more) {
        if (c->is_chunked)
            buf_printf(&c->body, "0\r\n\r\n");
        end_pieces(c);
    }
    c->server->buffered += c->head.len + c->body.len;
}

static struct str unsent(const struct conn *c)
{
    if (c->sent < c->head.len)
        return str_make(c->head.p + c->sent, c->head.len - c->sent);
    size_t at = c->sent - c->head.len;
    return str_make(c->body.p + at, c->body.len - at);
}

static void write_on(struct conn *c)
{
    bool moved = false;
    while (c->sent < c->head.len + c->body.len) {
        struct str rest = unsent(c);
        ssize_t n =
            send(c->fd, rest.p, rest.n, MSG_NOSIGNAL | (c->sent < c->head.len && c->body.len ? MSG_MORE : 0));
        if (n > 0) {
            c->sent += (size_t)n;
            moved = true;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (n == 0 || errno != EINTR) {
            conn_destroy(c);
            return;
        }
    }
    if (c->sent == c->head.len + c->body.len && c->more) {
        c->state = CONN_WRITE;
        wait_for(c, EV_WRITE, SERVER_WRITE_MS); /* the next piece in another turn of the loop */
    } else if (c->sent == c->head.len + c->body.len)
        on_written(c);
    else if (c->state != CONN_WRITE || moved) {
        c->state = CONN_WRITE;
        wait_for(c, EV_WRITE, SERVER_WRITE_MS);
    }
}

static void put_head(struct conn *c, const struct server_answer *a, size_t body)
{
    char text[HEAD_BYTES];
    struct writer w;
    struct message m;
    message_init(&m, NULL, 0);
    m.base = "";
    m.status = a->status;
    writer_init(&w, text, sizeof text);
    h1_write_status_line(&w, &m);
    writer_field(&w, STR("Content-Type"), str_of(a->type));
    writer_field(&w, STR("Cache-Control"), STR("no-store"));
    writer_field(&w, STR("X-Content-Type-Options"), STR("nosniff"));
    writer_field(&w, STR("Cross-Origin-Resource-Policy"), STR("same-origin"));
    writer_field(&w, STR("Referrer-Policy"), STR("no-referrer"));
    writer_field(&w, STR("Connection"), c->keep ? STR("keep-alive") : STR("close"));
    writer_str(&w, buf_str(&a->fields));
    if (!a->more)
        h1_write_framing(&w, BODY_LENGTH, body);
    else if (c->is_chunked)
        h1_write_framing(&w, BODY_CHUNKED, 0);
    writer_str(&w, STR("\r\n"));
    ASSERT(!w.overflow);
    buf_put(&c->head, w.p, w.len);
}

/* What makes the body in pieces is asked for none when nobody is to have them. */
static void take_pieces(struct conn *c, struct server_answer *a, const struct message *m)
{
    c->ctx = a->ctx;
    c->ended = a->ended;
    c->is_chunked = a->more && m->version >= 11;
    if (a->more && !c->is_chunked)
        c->keep = false;
    if (a->more && m->method != METHOD_HEAD)
        c->more = a->more;
    else
        end_pieces(c);
}

static void send_answer(struct conn *c, struct server_answer *a, bool is_head)
{
    if (c->server->buffered + a->body.len > SERVER_BUFFERED_MAX) {
        a->status = 503;
        a->body.len = 0;
        a->more = NULL;
        end_pieces(c);
        c->keep = false;
    }
    put_head(c, a, a->body.len);
    if (is_head)
        buf_fini(&a->body);
    else
        c->body = a->body; /* moved */
    c->server->buffered += c->head.len + c->body.len;
    buf_fini(&a->fields);
    write_on(c);
}

static void answer_init(struct server_answer *a)
{
    *a = (struct server_answer){.status = 200, .type = "text/plain; charset=utf-8"};
    buf_init(&a->body);
    buf_init(&a->fields);
}

static void refuse(struct conn *c, uint16_t status)
{
    struct server_answer a;
    answer_init(&a);
    a.status = status;
    c->keep = false;
    buf_printf(&a.body, "%u %.*s\n", status, STR_ARG(status_phrase(status)));
    send_answer(c, &a, false);
}

static void answer(struct conn *c, const struct message *m, struct str body)
{
    struct server_answer a;
    struct server_request r = {.head = m, .path = message_str(m, m->target), .query = STR(""), .body = body};
    ptrdiff_t mark = str_find(r.path, '?');
    if (mark >= 0) {
        r.query = str_make(r.path.p + mark + 1, r.path.n - (size_t)mark - 1);
        r.path.n = (size_t)mark;
    }
    c->keep = (m->flags & MSG_KEEP_ALIVE) != 0;
    answer_init(&a);
    c->server->answer(c->server->ctx, &r, &a);
    take_pieces(c, &a, m);
    send_answer(c, &a, m->method == METHOD_HEAD);
}

/* ---- reading ---- */

/* The body lies behind the head, whole, or it is waited for. */
static void take_body(struct conn *c, const struct message *m, size_t head)
{
    uint64_t want = m->framing == BODY_LENGTH ? m->content_length : 0;
    if (m->framing == BODY_CHUNKED)
        refuse(c, 411);
    else if (want > SERVER_BODY_MAX)
        refuse(c, 413);
    else if ((m->flags & MSG_EXPECT_CONTINUE) && want)
        refuse(c, 417); /* nothing that we take is worth asking first */
    else if (c->in_len - head >= want) {
        c->used = head + (size_t)want;
        answer(c, m, str_make(c->in + head, (size_t)want));
    }
}

/* Looks at what has arrived; heads are small and rare, so each try begins at the front. */
static void go_on(struct conn *c)
{
    struct h1_parser parser = {0};
    struct message m;
    message_init(&m, c->fields, SERVER_FIELDS_MAX);
    int head = h1_parse_request(&parser, c->in, c->in_len, &limits, &m);
    if (head > 0)
        take_body(c, &m, (size_t)head);
    else if (head < 0)
        refuse(c, reason_status((enum reason) - head));
}

static void read_on(struct conn *c)
{
    bool was_idle = c->in_len == 0;
    /* Head and body limits are below the size of the buffer, so a full one was refused before. */
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_destroy(c);
        return;
    }
    c->in_len += (size_t)n;
    if (was_idle)
        c->deadline_ms = now_ms() + SERVER_READ_MS;
    go_on(c);
}

static void drop_input(struct conn *c)
{
    ssize_t n = recv(c->fd, c->in, sizeof c->in, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        conn_destroy(c);
}

static void on_ready(int fd, short events, void *ctx)
{
    struct conn *c = ctx;
    (void)fd;
    (void)events;
    CHECK_MAGIC(c, CONN_MAGIC);
    if (c->again) {
        c->again = false;
        wait_for(c, EV_READ, SERVER_READ_MS);
        go_on(c);
    } else if (c->state == CONN_READ)
        read_on(c);
    else if (c->state == CONN_WRITE) {
        if (c->more && c->sent == c->head.len + c->body.len)
            make_piece(c);
        write_on(c);
    } else
        drop_input(c);
}

struct str server_field(const struct server_request *r, const char *name)
{
    for (uint16_t i = 0; i < r->head->field_count; i++)
        if (str_ieq(field_name_of(r->head, &r->head->fields[i]), str_of(name)))
            return field_value_of(r->head, &r->head->fields[i]);
    return STR_NULL;
}
