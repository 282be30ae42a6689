/* The identity of clients: which requests their certificate is good for, and what servers are told about it.
 */
#include "base/panic.h"
#include "proxy/proxy.h"
#include "proxy/secure.h"

#define IDENTITY_FIELDS (TLS_IDENTITY_TEXTS + 1)

struct told {
    struct str name, value;
};

/* Names and values in one order; those without a name are not told. */
static int tell(const struct settings *s, const struct tls_identity *id, struct told out[IDENTITY_FIELDS])
{
    static const struct tls_identity nobody;
    const struct tls_field_settings *f = &s->client_cert_fields;
    const struct tls_identity *i = id ? id : &nobody;
    const struct {
        const char *name;
        struct str value;
    } all[IDENTITY_FIELDS] = {{f->verify, id ? STR("SUCCESS") : STR("NONE")},
                              {f->subject, i->subject},
                              {f->issuer, i->issuer},
                              {f->serial, i->serial},
                              {f->fingerprint, i->fingerprint},
                              {f->cert, i->cert}};
    int n = 0;
    for (int k = 0; k < IDENTITY_FIELDS; k++)
        if (all[k].name && *all[k].name)
            out[n++] = (struct told){str_of(all[k].name), all[k].value};
    return n;
}

/* CGI makes one variable out of both, so both are the same name here. */
static bool is_same_name(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        char x = a.p[i] == '_' ? '-' : char_lower(a.p[i]), y = b.p[i] == '_' ? '-' : char_lower(b.p[i]);
        if (x != y)
            return false;
    }
    return true;
}

static void drop_claims(struct message *m, const struct told *told, int count)
{
    for (uint16_t i = 0; i < m->field_count; i++)
        for (int k = 0; k < count; k++)
            if (is_same_name(field_name_of(m, &m->fields[i]), told[k].name))
                m->fields[i].flags |= FIELD_FLAG_DROP;
}

static bool append(struct exchange *x, const struct told *told, int count)
{
    size_t cap = x->own_fields.n;
    struct writer w;
    for (int k = 0; k < count; k++)
        cap += told[k].name.n + told[k].value.n + 4;
    char *room = arena_alloc(&x->arena, cap);
    if (!room)
        return false;
    writer_init(&w, room, cap);
    writer_str(&w, x->own_fields);
    for (int k = 0; k < count; k++)
        if (told[k].value.n)
            writer_field(&w, told[k].name, told[k].value);
    x->own_fields = str_make(w.p, w.len);
    return !w.overflow;
}

enum reason secure_tell_client(struct exchange *x)
{
    struct session *s = x->session;
    const struct tls_identity *id = NULL;
    struct told told[IDENTITY_FIELDS];
    bool asks = tls_asks_for_certificate(&s->conn);
    if (asks && !tls_identity(&s->conn, &id))
        return REASON_NO_MEMORY;
    int count = tell(x->pw->settings, id, told);
    /* A trusted proxy in front of us may have asked, where we do not. */
    if (asks || !s->trusted)
        drop_claims(&x->req, told, count);
    if (asks && !append(x, told, count))
        return REASON_NO_MEMORY;
    return REASON_OK;
}

void secure_drop_claims(const struct exchange *x, struct message *trailers)
{
    struct told told[IDENTITY_FIELDS];
    int count = tell(x->pw->settings, NULL, told);
    if (tls_asks_for_certificate(&x->session->conn) || !x->session->trusted)
        drop_claims(trailers, told, count);
}

enum reason secure_take_early(struct exchange *x)
{
    const struct told early = {STR("Early-Data"), STR("1")};
    const struct message *m = &x->req;
    bool is_safe = m->method == METHOD_GET || m->method == METHOD_HEAD || m->method == METHOD_OPTIONS;
    if (!is_safe || m->framing != BODY_NONE || (m->flags & MSG_UPGRADE))
        return REASON_TOO_EARLY;
    drop_claims(&x->req, &early, 1);
    return append(x, &early, 1) ? REASON_OK : REASON_NO_MEMORY;
}
