/* fuzz_cookie: the cookie that a request is said to have is the one that a second reading finds, byte by byte
 * (H38: only ';' separates); and whatever its value, it names an endpoint only when it is the endpoint's own
 * token. */
#include <stdio.h>

#include "heads.h"
#include "proxy/affinity.h"
#include "topo/model.h"
#include "topo/token.h"

static const struct h1_limits limits = {
    .line_bytes = 1024, .head_bytes = 8192, .field_count = HEAD_FIELDS_MAX};

/* The first "name=" that stands at the beginning of a pair. */
static struct str cookie_again(const struct message *m, struct str name)
{
    for (unsigned i = 0; i < m->field_count; i++) {
        struct str v = field_value_of(m, &m->fields[i]);
        if (m->fields[i].id != FIELD_COOKIE)
            continue;
        for (size_t at = 0; at <= v.n;) {
            size_t end = at;
            while (end < v.n && v.p[end] != ';')
                end++;
            struct str pair = str_trim(str_make(v.p + at, end - at));
            at = end + 1;
            if (pair.n < name.n + 1 || memcmp(pair.p, name.p, name.n) != 0 || pair.p[name.n] != '=')
                continue;
            struct str value = str_make(pair.p + name.n + 1, pair.n - name.n - 1);
            if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
                value = str_make(value.p + 1, value.n - 2);
            return value;
        }
    }
    return STR_NULL;
}

static struct topology *make_topology(void)
{
    static struct model *model; /* static, so that nothing of this counts as leaked */
    static struct settings *s;
    model = model_create(1, 8, 32);
    static const char text[] =
        "clusters = ( { name = \"c\"; endpoints = ( \"10.0.0.1:1\", \"10.0.0.2:1\", \"10.0.0.3:1\" );"
        " sticky = { cookie = \"s\"; }; } ); sticky_secret = \"0123456789abcdef0123456789abcdef\";";
    struct buf errors;
    buf_init(&errors);
    s = settings_load_text(text, sizeof text - 1, &errors);
    if (!s)
        PANIC("%.*s", (int)errors.len, errors.p);
    model_load_settings(model, s);
    struct topology *t = model_publish(model);
    ASSERT(topology_sign(t, s->sticky_key));
    for (uint32_t i = 0; i < t->clusters[0]->endpoint_count; i++) {
        char token[TOKEN_TEXT_BYTES];
        token_text(t->clusters[0], i, token);
        ASSERT(token_find(t->clusters[0], str_make(token, sizeof token)) == (int)i);
    }
    return t;
}

static void check_token(const struct cluster *c, struct str value)
{
    char token[TOKEN_TEXT_BYTES];
    int found = token_find(c, value);
    ASSERT(found >= -1 && found < (int)c->endpoint_count);
    bool is_one = false;
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        token_text(c, i, token);
        bool same = str_eq(value, str_make(token, sizeof token));
        ASSERT(!same || found == (int)i);
        is_one |= same;
    }
    ASSERT(is_one == (found >= 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[8192];
    static struct topology *topology;
    static const struct str names[] = {STR("s"), STR("sid"), STR("a.b-c_d")};
    struct fuzz_head h;
    struct h1_parser p = {0};
    if (size > 4096)
        return 0;
    if (!topology)
        topology = make_topology();
    size_t n = (size_t)snprintf(text, sizeof text, "GET /x HTTP/1.1\r\nHost: web.test\r\nCookie: ");
    if (size)
        memcpy(text + n, data, size);
    n += size;
    memcpy(text + n, "\r\n\r\n", 4);
    message_init(&h.m, h.fields, HEAD_FIELDS_MAX);
    h.m.base = text;
    h.got = h1_parse_request(&p, text, n + 4, &limits, &h.m);
    check_token(topology->clusters[0], str_make((const char *)data, size));
    if (h.got <= 0)
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct str value = affinity_cookie(&h.m, names[i]);
        ASSERT(str_eq(value, cookie_again(&h.m, names[i])) && str_find(value, ';') < 0);
        ASSERT(!value.n || (value.p >= text && value.p + value.n <= text + n));
        if (value.p)
            check_token(topology->clusters[0], value);
    }
    return 0;
}
