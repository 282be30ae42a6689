/* http_parser_dump: what http-parser (libhttp-parser 2.9) makes of a stream of requests. */
#include <http_parser.h>
#include <string.h>

#include "dump.h"

struct text {
    char p[CASE_BYTES_MAX];
    size_t n;
};

/* One message being read; fields are flat: name, value, name, value. */
struct seen {
    struct text target, body;
    struct {
        size_t from, n;
    } parts[1024];
    struct text fields;
    int count, trailers_from; /* parts; trailers_from -1: no head yet */
    bool in_value, has_head;
    int messages;
    bool closes, upgrades;
};

static struct seen *seen_of(http_parser *h)
{
    return h->data;
}

static int add(struct text *t, const char *p, size_t n)
{
    memcpy(t->p + t->n, p, n);
    t->n += n;
    return 0;
}

static int on_begin(http_parser *h)
{
    struct seen *s = seen_of(h);
    s->target.n = s->body.n = s->fields.n = 0;
    s->count = 0;
    s->trailers_from = -1;
    s->in_value = s->has_head = false;
    return 0;
}

static int on_url(http_parser *h, const char *p, size_t n)
{
    return add(&seen_of(h)->target, p, n);
}

static void open_part(struct seen *s)
{
    if (s->count < 1023)
        s->count++;
    s->parts[s->count - 1].from = s->fields.n;
    s->parts[s->count - 1].n = 0;
}

static int on_part(struct seen *s, bool is_value, const char *p, size_t n)
{
    if (s->count % 2 == (is_value ? 1 : 0))
        open_part(s);
    s->parts[s->count - 1].n += n;
    return add(&s->fields, p, n);
}

static int on_name(http_parser *h, const char *p, size_t n)
{
    return on_part(seen_of(h), false, p, n);
}

static int on_value(http_parser *h, const char *p, size_t n)
{
    return on_part(seen_of(h), true, p, n);
}

static void put_parts(const struct seen *s, const char *key, int from, int to)
{
    printf(", \"%s\": [", key);
    for (int i = from; i + 1 < to; i += 2) {
        printf(i > from ? ", [" : "[");
        dump_hex(s->fields.p + s->parts[i].from, s->parts[i].n);
        printf(", ");
        dump_hex(s->fields.p + s->parts[i + 1].from, s->parts[i + 1].n);
        printf("]");
    }
    printf("]");
}

static int on_head(http_parser *h)
{
    struct seen *s = seen_of(h);
    const char *method = http_method_str((enum http_method)h->method);
    printf(s->messages++ ? ", { \"method\": " : "{ \"method\": ");
    dump_hex(method, strlen(method));
    printf(", \"target\": ");
    dump_hex(s->target.p, s->target.n);
    printf(", \"version\": %d", h->http_major * 10 + h->http_minor);
    put_parts(s, "fields", 0, s->count);
    s->trailers_from = s->count;
    s->has_head = true;
    s->closes = !http_should_keep_alive(h);
    s->upgrades = h->upgrade;
    return 0;
}

static int on_body(http_parser *h, const char *p, size_t n)
{
    return add(&seen_of(h)->body, p, n);
}

static void put_rest(struct seen *s, bool done)
{
    printf(", \"body\": ");
    dump_hex(s->body.p, s->body.n);
    put_parts(s, "trailers", s->trailers_from, s->count);
    printf(", \"done\": %s }", done ? "true" : "false");
    s->has_head = false;
}

static int on_complete(http_parser *h)
{
    put_rest(seen_of(h), true);
    return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void dump_case(struct seen *s, const char *p, size_t n)
{
    http_parser h;
    http_parser_init(&h, HTTP_REQUEST);
    h.data = s;
    s->messages = 0;
    s->has_head = s->closes = s->upgrades = false;
    printf("{ \"messages\": [");
    size_t used = http_parser_execute(&h, &settings, p, n);
    enum http_errno why = HTTP_PARSER_ERRNO(&h);
    bool open = s->has_head;
    if (open)
        put_rest(s, false);
    const char *end = why == HPE_CLOSED_CONNECTION || (why == HPE_OK && !open && s->messages && s->closes)
                          ? "closed"
                      : why != HPE_OK            ? "error"
                      : h.upgrade && s->upgrades ? "upgrade"
                                                 : "more";
    printf("], \"end\": \"%s\", \"why\": \"%s at %zu\" }\n", end, http_errno_name(why), used);
}

int main(void)
{
    struct seen *s = calloc(1, sizeof *s);
    size_t n;
    char *p;
    if (!s)
        return 2;
    while ((p = dump_next(&n))) {
        dump_case(s, p, n);
        free(p);
        fflush(stdout);
    }
    free(s);
    return 0;
}
