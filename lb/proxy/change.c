#include "proxy/change.h"

#include "http/h1_write.h"
#include "http/rules.h"
#include "proxy/proxy.h"
#include "proxy/rewrite.h"

#define DIGITS_MAX 20

/* ---- variables ---- */

/* The path behind the route's own, without its final slash: "/old" and "/old/" leave "/x" of "/old/x". */
static struct str rest_of(const struct exchange *x)
{
    struct str path = x->asked_path;
    size_t n = x->route_path_len;
    if (n && n <= path.n && path.p[n - 1] == '/')
        n--;
    return n <= path.n ? str_make(path.p + n, path.n - n) : STR_NULL;
}

/* Before the path was rewritten they stood together; the query still is what it was. */
static struct str uri_of(const struct exchange *x)
{
    const struct message *m = &x->req;
    return str_make(x->asked_path.p, x->asked_path.n + (m->query.off ? 1 + (size_t)m->query.len : 0));
}

static struct str digits(uint64_t v, char *to)
{
    struct writer w;
    writer_init(&w, to, DIGITS_MAX);
    writer_u64(&w, v);
    return str_make(to, w.len);
}

static struct str value_of(const struct exchange *x, uint8_t variable, char *scratch)
{
    const struct message *m = &x->req;
    switch (variable) {
    case TEMPLATE_CLIENT_IP:
        return x->client_ip;
    case TEMPLATE_CLIENT_PORT:
        return digits(x->session->port, scratch);
    case TEMPLATE_SCHEME:
        return rewrite_scheme(x);
    case TEMPLATE_HOST:
        return rules_authority_host(message_str(m, m->authority));
    case TEMPLATE_PORT:
        return digits(rewrite_local_port(x), scratch);
    case TEMPLATE_METHOD:
        return message_str(m, m->method_text);
    case TEMPLATE_PATH:
        return x->asked_path;
    case TEMPLATE_REST:
        return rest_of(x);
    case TEMPLATE_QUERY:
        return m->query.off ? message_str(m, m->query) : STR_NULL;
    case TEMPLATE_URI:
        return uri_of(x);
    case TEMPLATE_REQUEST_ID:
        return x->request_id;
    case TEMPLATE_CLUSTER:
        return x->cluster ? x->cluster->id : STR_NULL;
    case TEMPLATE_ENDPOINT:
        return x->endpoint ? endpoint_id(x->endpoint) : STR_NULL;
    default:
        return STR_NULL;
    }
}

static struct str part_of(const struct exchange *x, const struct template_part *p, char *scratch)
{
    return p->variable == TEMPLATE_TEXT ? p->text : value_of(x, p->variable, scratch);
}

static size_t length_of(const struct exchange *x, const struct template *t)
{
    char scratch[DIGITS_MAX];
    size_t n = 0;
    for (uint32_t i = 0; i < t->count; i++)
        n += part_of(x, &t->parts[i], scratch).n;
    return n;
}

static void fill(const struct exchange *x, const struct template *t, struct writer *w)
{
    char scratch[DIGITS_MAX];
    for (uint32_t i = 0; i < t->count; i++)
        writer_str(w, part_of(x, &t->parts[i], scratch));
}

struct str change_fill(struct exchange *x, const struct template *t)
{
    struct writer w;
    size_t n = length_of(x, t);
    char *room = arena_alloc(&x->arena, n + 1);
    if (!room)
        return STR_NULL;
    writer_init(&w, room, n);
    fill(x, t, &w);
    return str_make(room, w.len);
}

/* ---- fields ---- */

static void drop_named(struct message *m, struct str name)
{
    enum field_id id = field_lookup(name);
    if (!message_has(m, id))
        return;
    for (struct field *f = m->fields, *end = f + m->field_count; f < end; f++)
        if (f->id == id && (id != FIELD_OTHER || str_ieq(field_name_of(m, f), name)))
            f->flags |= FIELD_FLAG_DROP;
}

/* A copy of the head with room for `more` bytes behind it. */
static bool grow(struct exchange *x, struct message *m, size_t more, uint32_t fields)
{
    char *room = arena_alloc(&x->arena, m->head_len + more + 1);
    if (!room)
        return false;
    if (m->head_len)
        memcpy(room, m->base, m->head_len);
    if (m->field_count + fields > m->field_max) {
        struct field *wider = arena_alloc(&x->arena, (m->field_count + fields) * sizeof *wider);
        if (!wider)
            return false;
        if (m->field_count)
            memcpy(wider, m->fields, m->field_count * sizeof *wider);
        m->fields = wider;
        m->field_max = (uint16_t)(m->field_count + fields);
    }
    m->base = room;
    return true;
}

/* As a line of its own, so that it is written like those that came. */
static void append(struct exchange *x, struct message *m, const struct field_change *c)
{
    struct writer w;
    size_t n = length_of(x, &c->value), line = c->name.n + n + 4;
    if (!n)
        return;
    writer_init(&w, (char *)(uintptr_t)m->base + m->head_len, line);
    struct field *f = &m->fields[m->field_count++];
    *f = (struct field){.name = m->head_len,
                        .name_len = (uint16_t)c->name.n,
                        .value = m->head_len + (uint32_t)c->name.n + 2,
                        .value_len = (uint32_t)n,
                        .id = (uint8_t)field_lookup(c->name)};
    writer_str(&w, c->name);
    writer_put(&w, ": ", 2);
    fill(x, &c->value, &w);
    writer_put(&w, "\r\n", 2);
    m->present |= 1ull << f->id;
    m->head_len += (uint32_t)line;
}

static bool is_dropped(const struct field_changes *c, struct str name)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->v[i].kind != FIELD_ADD && str_ieq(c->v[i].name, name))
            return true;
    return false;
}

struct kept {
    struct writer w;
    const struct field_changes *changes;
};

static void keep_line(void *ctx, struct str name, struct str value)
{
    struct kept *k = ctx;
    if (!is_dropped(k->changes, name))
        writer_field(&k->w, name, value);
}

/* Our own field lines, those of a request, without what the route takes away. */
static bool filter_own(struct exchange *x, const struct field_changes *c)
{
    struct kept k = {.changes = c};
    char *room = arena_alloc(&x->arena, x->own_fields.n + 1);
    if (!room)
        return false;
    writer_init(&k.w, room, x->own_fields.n);
    rewrite_each(x, keep_line, &k);
    x->own_fields = str_make(room, k.w.len);
    return !k.w.overflow;
}

bool change_fields(struct exchange *x, struct message *m, const struct field_changes *c)
{
    size_t bytes = 0;
    uint32_t more = 0;
    if (!c->count)
        return true;
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->v[i].kind != FIELD_ADD)
            drop_named(m, c->v[i].name);
        if (c->v[i].kind == FIELD_REMOVE)
            continue;
        bytes += c->v[i].name.n + length_of(x, &c->v[i].value) + 4;
        more++;
    }
    if (m == &x->req && !filter_own(x, c))
        return false;
    if (more && !grow(x, m, bytes, more))
        return false;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->v[i].kind != FIELD_REMOVE)
            append(x, m, &c->v[i]);
    return true;
}

bool change_answer(struct exchange *x, struct message *m)
{
    if (!x->rules || !x->rules->answer.count)
        return true;
    /* What Connection of the server names goes before ours come; then it must not be asked again. */
    rules_drop_hop_by_hop(m);
    for (struct field *f = m->fields, *end = f + m->field_count; f < end; f++)
        if (f->id == FIELD_CONNECTION)
            f->id = FIELD_OTHER;
    m->present &= ~(1ull << FIELD_CONNECTION);
    return change_fields(x, m, &x->rules->answer);
}

/* ---- path ---- */

bool change_path(struct exchange *x)
{
    struct message *m = &x->req;
    struct str prefix = x->rules->rewrite_prefix, rest = rest_of(x), path = message_str(m, m->path);
    if (!prefix.p || !path.n || path.p[0] != '/')
        return true;                                 /* "*" of OPTIONS is no path */
    while (!prefix.n && str_starts(rest, STR("//"))) /* would read as an authority */
        rest = str_make(rest.p + 1, rest.n - 1);
    bool has_query = m->query.off != 0;
    size_t tail = 1 + prefix.n + rest.n + 1 + m->query.len;
    uint32_t fields = 0, at = m->head_len;
    struct str query = has_query ? message_str(m, m->query) : STR_NULL;
    struct writer w;
    if (!grow(x, m, tail, fields))
        return false;
    writer_init(&w, (char *)(uintptr_t)m->base + at, tail);
    writer_str(&w, prefix);
    writer_str(&w, prefix.n + rest.n ? rest : STR("/"));
    m->path = (struct span){at, (uint32_t)w.len};
    if (has_query) {
        writer_put(&w, "?", 1);
        m->query = (struct span){at + (uint32_t)w.len, query.n ? (uint32_t)query.n : 0};
        writer_str(&w, query);
    }
    m->head_len += (uint32_t)w.len;
    return true;
}
