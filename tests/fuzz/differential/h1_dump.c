/* h1_dump: what our own HTTP/1 parser makes of a stream of requests, read as the front reads them. */
#include "dump.h"
#include "http/h1_body.h"
#include "http/h1_parse.h"

static const struct h1_limits limits = {.line_bytes = 8192, .head_bytes = 32768, .field_count = 100};

struct stream {
    const char *p;
    size_t n;
    int count; /* messages so far */
};

static void put_fields(const char *key, const struct message *m)
{
    printf(", \"%s\": [", key);
    for (unsigned i = 0; i < m->field_count; i++) {
        struct str name = field_name_of(m, &m->fields[i]), value = field_value_of(m, &m->fields[i]);
        printf(i ? ", [" : "[");
        dump_hex(name.p, name.n);
        printf(", ");
        dump_hex(value.p, value.n);
        printf("]");
    }
    printf("]");
}

/* The target as it stands in the request line. */
static struct str raw_target(const struct message *m)
{
    struct str method = message_str(m, m->method_text);
    const char *p = method.p + method.n + 1, *end = p;
    while (*end != ' ')
        end++;
    return str_make(p, (size_t)(end - p));
}

static void put_head(struct stream *s, const struct message *m)
{
    struct str method = message_str(m, m->method_text), target = raw_target(m);
    printf(s->count++ ? ", { \"method\": " : "{ \"method\": ");
    dump_hex(method.p, method.n);
    printf(", \"target\": ");
    dump_hex(target.p, target.n);
    printf(", \"version\": %u", m->version);
    put_fields("fields", m);
}

static void advance(struct stream *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

/* 1 done, 0 more bytes are needed, < 0 a reason. */
static int take_trailers(struct stream *s, struct h1_body *body)
{
    struct field fields[100];
    struct message m;
    struct h1_parser parser = {0};
    message_init(&m, fields, 100);
    m.base = s->p;
    int got = h1_parse_fields(&parser, s->p, s->n, &limits, false, &m);
    if (got <= 0)
        return got;
    m.head_len = (uint32_t)got;
    put_fields("trailers", &m);
    advance(s, (size_t)got);
    h1_body_trailers_done(body);
    return 1;
}

static int take_body(struct stream *s, const struct message *m)
{
    struct h1_body body;
    struct str data;
    int result = 1;
    h1_body_init(&body, m);
    printf(", \"body\": \"");
    while (!body.done && !body.in_trailers && result > 0) {
        ssize_t used = h1_body_step(&body, s->p, s->n, &data);
        if (used <= 0)
            result = (int)used;
        for (size_t i = 0; used > 0 && i < data.n; i++)
            printf("%02x", (unsigned char)data.p[i]);
        if (used > 0)
            advance(s, (size_t)used);
    }
    printf("\"");
    if (result > 0 && body.in_trailers)
        result = take_trailers(s, &body);
    printf(", \"done\": %s }", result > 0 ? "true" : "false");
    return result;
}

/* One message: 1 go on, 2 the last of this connection, 0 more bytes are needed, < 0 a reason. */
static int take_message(struct stream *s)
{
    struct field fields[100];
    struct message m;
    struct h1_parser parser = {0};
    message_init(&m, fields, 100);
    m.base = s->p;
    int got = h1_parse_request(&parser, s->p, s->n, &limits, &m);
    if (got <= 0)
        return got;
    if (str_eq(message_str(&m, m.method_text), STR("PRI")))
        return -REASON_METHOD; /* exchange_start refuses it */
    m.head_len = (uint32_t)got;
    put_head(s, &m);
    advance(s, (size_t)got);
    int result = take_body(s, &m);
    return result == 1 && !(m.flags & MSG_KEEP_ALIVE) ? 2 : result;
}

static void dump_case(const char *p, size_t n)
{
    struct stream s = {.p = p, .n = n};
    int result;
    printf("{ \"messages\": [");
    while ((result = take_message(&s)) == 1)
        continue;
    printf("], \"end\": \"%s\"", result == 2 ? "closed" : result == 0 ? "more" : "error");
    if (result < 0)
        printf(", \"why\": \"%s\"", reason_id((enum reason) - result));
    printf(" }\n");
}

int main(void)
{
    size_t n;
    char *p;
    while ((p = dump_next(&n))) {
        dump_case(p, n);
        free(p);
        fflush(stdout);
    }
    return 0;
}
