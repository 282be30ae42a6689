/* fuzz_h2_back: what a server sends on an HTTP/2 connection gives the same events however it arrives; each stream hears
 * one final head, then data, then one end, and is closed once; what we send in return stays in proportion.
 *
 * The first byte says how the requests end; the rest are the server's bytes. */
#include <stdlib.h>

#include "base/panic.h"
#include "http/h2_client.h"

#define STREAMS 4

struct watched {
    struct h2_client_stream h2;
    int heads, finals, ends, closes;
    uint64_t got, copied;
    enum h2_closed how;
};

struct run {
    struct watched streams[STREAMS];
    uint64_t sent, events;
    bool ok;
};

static struct watched *of(struct h2_client_stream *s)
{
    struct watched *w = (struct watched *)(void *)s;
    ASSERT(!w->closes);
    return w;
}

static void on_head(struct h2_client_stream *s, struct message *m)
{
    struct watched *w = of(s);
    ASSERT(!w->finals && !w->ends && !s->abandoned);
    ASSERT(m->status >= 100 && m->status <= 999 && m->status != 101 && m->version == 20);
    for (unsigned i = 0; i < m->field_count; i++) {
        struct str name = field_name_of(m, &m->fields[i]), value = field_value_of(m, &m->fields[i]);
        ASSERT(name.n && m->fields[i].value + value.n <= m->head_len);
        ASSERT(!memchr(name.p, ':', name.n) && (!value.n || !memchr(value.p, '\n', value.n)));
    }
    w->heads++;
    w->finals += m->status >= 200;
}

static void on_data(struct h2_client_stream *s, const char *p, size_t n, bool last)
{
    struct watched *w = of(s);
    ASSERT(w->finals == 1 && !w->ends && p && n && !s->abandoned);
    w->got += n;
    (void)last;
}

static void on_end(struct h2_client_stream *s, struct message *trailers)
{
    struct watched *w = of(s);
    ASSERT(w->finals == 1 && !w->ends && !s->abandoned && (!trailers || trailers->field_count));
    w->ends++;
}

static void on_closed(struct h2_client_stream *s, enum h2_closed how)
{
    struct watched *w = of(s);
    w->closes++;
    w->how = how;
    ASSERT(how != H2_CLOSED_DONE || w->ends);
}

static void on_copy(struct h2_client_stream *s, char *to, size_t n)
{
    ASSERT(n <= s->out_bytes);
    memset(to, 'x', n);
    s->out_bytes -= (uint32_t)n;
    of(s)->copied += n;
}

static const struct h2_client_ops ops = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_closed = on_closed, .copy = on_copy};

static void pump(struct h2_client *c, struct run *r)
{
    static char room[65536];
    ssize_t n;
    while ((n = h2_client_fill(c, room, sizeof room)) > 0)
        r->sent += (uint64_t)n;
}

static void ask(struct h2_client *c, struct run *r, uint8_t how)
{
    static const char text[] = "POST /path example.com";
    struct field none[1];
    struct message m;
    message_init(&m, none, 1);
    m.base = text;
    m.method = METHOD_POST;
    m.method_text = (struct span){0, 4};
    for (unsigned i = 0; i < STREAMS; i++) {
        struct h2_request q = {.m = &m,
                               .scheme = STR("http"),
                               .authority = str_make(text + 11, 11),
                               .target = str_make(text + 5, 5),
                               .content_length = -1,
                               .has_body = how & 1u << i};
        bool opened = h2_client_request(c, &r->streams[i].h2, &q);
        ASSERT(opened);
        if (q.has_body) {
            r->streams[i].h2.out_bytes = 100000;
            r->streams[i].h2.out_ended = how & 16u;
            h2_client_resume(c, &r->streams[i].h2);
        }
    }
    pump(c, r);
}

static struct run play(const uint8_t *data, size_t size, size_t step)
{
    static const struct h2_client_limits limits = {
        .head_bytes = 4096, .stream_window = 65536, .connection_window = 1 << 20, .control_frames = 200};
    struct run r;
    memset(&r, 0, sizeof r);
    struct h2_client *c = h2_client_create(&ops, &limits, NULL);
    ASSERT(c);
    uint8_t how = size ? data[0] : 0;
    ask(c, &r, how);
    r.ok = true;
    for (size_t at = 1; at < size && r.ok; at += step) {
        size_t n = size - at < step ? size - at : step;
        r.ok = h2_client_feed(c, (const char *)data + at, n, 1000);
        if (how & 32 && r.streams[1].finals && !r.streams[1].closes)
            h2_client_reset(c, &r.streams[1].h2, 8);
        if (how & 64)
            pump(c, &r);
    }
    pump(c, &r);
    h2_client_destroy(&c);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536)
        return 0;
    struct run whole = play(data, size, size ? size : 1), pieces = play(data, size, 7);
    /* What we send is requests (bounded), answers to control frames and little else. */
    ASSERT(whole.sent < 600000 + 64 * size);
    if (size && data[0] & 96) /* when we reset and write in between, what is heard depends on when */
        return 0;
    ASSERT(whole.ok == pieces.ok);
    for (unsigned i = 0; i < STREAMS; i++) {
        const struct watched *a = &whole.streams[i], *b = &pieces.streams[i];
        ASSERT(a->heads == b->heads && a->finals == b->finals && a->ends == b->ends);
        ASSERT(!a->ends || a->got == b->got); /* of a frame at fault the first part may have been taken */
    }
    return 0;
}
