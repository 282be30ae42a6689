#include "http/forwarded.h"

#include "http/rules.h"
#include "http/scan.h"

#define BIT(id) (1ull << (id))
#define CLAIMS                                                                                               \
    (BIT(FIELD_FORWARDED) | BIT(FIELD_X_FORWARDED_FOR) | BIT(FIELD_X_FORWARDED_PROTO) |                      \
     BIT(FIELD_X_FORWARDED_HOST) | BIT(FIELD_X_FORWARDED_PORT) | BIT(FIELD_X_REAL_IP))
/* Longest text of an address: INET6_ADDRSTRLEN without its NUL. */
#define IP_BYTES_MAX 45

/* Fields of that family that have no id of their own: -Server, -Prefix, -Ssl and what frameworks invent. */
static bool is_other_claim(struct str name)
{
    const struct str prefix = STR("x-forwarded-");
    return name.n > prefix.n && str_ieq(str_make(name.p, prefix.n), prefix);
}

void forwarded_drop_forged(struct message *m, bool trusted_peer)
{
    if (trusted_peer || !(m->present & (CLAIMS | BIT(FIELD_OTHER))))
        return;
    for (unsigned i = 0; i < m->field_count; i++) {
        struct field *f = &m->fields[i];
        if ((BIT(f->id) & CLAIMS) || (f->id == FIELD_OTHER && is_other_claim(field_name_of(m, f))))
            f->flags |= FIELD_FLAG_DROP;
    }
}

/* Puts the values of all fields with this id, each followed by ", ", when they may be believed; all are
 * dropped from the head, for they now stand in ours. */
static void take_over(struct message *m, struct writer *w, enum field_id id, bool trusted)
{
    if (!message_has(m, id))
        return;
    for (unsigned i = 0; i < m->field_count; i++) {
        struct field *f = &m->fields[i];
        if (f->id != id || (f->flags & FIELD_FLAG_DROP))
            continue;
        f->flags |= FIELD_FLAG_DROP;
        if (trusted && f->value_len) {
            writer_str(w, field_value_of(m, f));
            writer_str(w, STR(", "));
        }
    }
}

static bool is_ip_text(struct str s)
{
    if (s.n == 0 || s.n > IP_BYTES_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!scan_is(s.p[i], SCAN_HEX) && s.p[i] != '.' && s.p[i] != ':')
            return false;
    return true;
}

void forwarded_write_for(struct message *m, struct writer *w, const struct forwarded_info *info)
{
    writer_str(w, STR("X-Forwarded-For: "));
    take_over(m, w, FIELD_X_FORWARDED_FOR, info->trusted_peer);
    writer_str(w, is_ip_text(info->client_ip) ? info->client_ip : STR("unknown"));
    writer_str(w, STR("\r\n"));
}

/* Ours, unless a trusted peer's stands in the head already and is going to be copied. */
static void write_unless_told(struct message *m, struct writer *w, enum field_id id, struct str value,
                              bool trusted)
{
    if (trusted && message_find(m, id))
        return;
    take_over(m, w, id, false);
    if (value.n)
        writer_field(w, field_name(id), value);
}

void forwarded_write_rest(struct message *m, struct writer *w, const struct forwarded_info *info)
{
    char digits[8];
    struct writer port;
    writer_init(&port, digits, sizeof digits);
    writer_u64(&port, info->port);
    const bool trusted = info->trusted_peer;
    write_unless_told(m, w, FIELD_X_FORWARDED_PROTO, info->proto, trusted);
    write_unless_told(m, w, FIELD_X_FORWARDED_HOST, info->host, trusted);
    write_unless_told(m, w, FIELD_X_FORWARDED_PORT, str_make(digits, port.len), trusted);
}

/* RFC 7239 6: a node with colons stands in brackets, and those make it a quoted string. */
static void write_node(struct writer *w, const struct forwarded_info *info)
{
    if (!is_ip_text(info->client_ip)) {
        writer_str(w, STR("unknown"));
    } else if (info->client_is_v6) {
        writer_str(w, STR("\"["));
        writer_str(w, info->client_ip);
        writer_str(w, STR("]\""));
    } else {
        writer_str(w, info->client_ip);
    }
}

void forwarded_write_rfc7239(struct message *m, struct writer *w, const struct forwarded_info *info)
{
    writer_str(w, STR("Forwarded: "));
    take_over(m, w, FIELD_FORWARDED, info->trusted_peer);
    writer_str(w, STR("for="));
    write_node(w, info);
    /* A valid authority holds neither '"' nor '\', so that it can be quoted as it is. */
    if (rules_authority_valid(info->host)) {
        writer_str(w, STR(";host=\""));
        writer_str(w, info->host);
        writer_str(w, STR("\""));
    }
    if (info->proto.n &&
        scan_token(info->proto.p, info->proto.p + info->proto.n) == info->proto.p + info->proto.n) {
        writer_str(w, STR(";proto="));
        writer_str(w, info->proto);
    }
    writer_str(w, STR("\r\n"));
}

void forwarded_write_via(const struct message *m, struct writer *w, struct str name)
{
    writer_str(w, STR("Via: "));
    writer_str(w, m->version == 20 ? STR("2.0 ") : m->version == 10 ? STR("1.0 ") : STR("1.1 "));
    bool good = name.n && scan_token(name.p, name.p + name.n) == name.p + name.n;
    writer_str(w, good ? name : STR("coxswain"));
    writer_str(w, STR("\r\n"));
}

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80": the address, or STR_NULL. */
static struct str address_of(struct str s)
{
    if (s.n && s.p[0] == '[') {
        ptrdiff_t close = str_find(s, ']');
        s = close < 0 ? STR_NULL : str_make(s.p + 1, (size_t)close - 1);
    } else {
        ptrdiff_t colon = str_find(s, ':');
        if (colon >= 0 && str_find(str_make(s.p + colon + 1, s.n - (size_t)colon - 1), ':') < 0)
            s.n = (size_t)colon;
    }
    return is_ip_text(s) ? s : STR_NULL;
}

/* Takes the last element of a list off; false when it was empty. */
static bool take_last(struct str *list, struct str *out_item)
{
    if (!list->p)
        return false;
    size_t n = list->n;
    while (n && list->p[n - 1] != ',')
        n--;
    *out_item = str_trim(str_make(list->p + n, list->n - n));
    *list = n ? str_make(list->p, n - 1) : STR_NULL;
    return true;
}

/* Where the walk from right to left stands. */
struct walk {
    struct str found; /* the last address that was believed */
    is_trusted_fn *is_trusted;
    void *arg;
    int hops;
};

/* One line of the field; false when the walk is over. */
static bool walk_line(struct walk *walk, struct str list)
{
    struct str item;
    while (take_last(&list, &item)) {
        if (item.n == 0)
            continue;
        struct str ip = address_of(item);
        if (!ip.p || ++walk->hops > FORWARDED_HOPS_MAX)
            return false;
        walk->found = ip;
        if (!walk->is_trusted(walk->arg, ip))
            return false;
    }
    return true;
}

struct str forwarded_client(const struct message *m, struct str peer_ip, is_trusted_fn *is_trusted, void *arg)
{
    struct walk walk = {.found = peer_ip, .is_trusted = is_trusted, .arg = arg};
    if (!message_has(m, FIELD_X_FORWARDED_FOR) || !is_trusted(arg, peer_ip))
        return peer_ip;
    for (unsigned i = m->field_count; i-- > 0;) {
        const struct field *f = &m->fields[i];
        if (f->id == FIELD_X_FORWARDED_FOR && !walk_line(&walk, field_value_of(m, f)))
            break;
    }
    return walk.found;
}
