#include "proxy/back_h2_tunnel.h"

#include "http/websocket.h"

static struct str key_of(const struct message *m)
{
    for (uint16_t i = 0; i < m->field_count; i++)
        if (m->fields[i].id == FIELD_OTHER &&
            str_ieq(field_name_of(m, &m->fields[i]), STR("sec-websocket-key")))
            return field_value_of(m, &m->fields[i]);
    return STR_NULL;
}

bool h2_tunnel_is_wanted(const struct exchange *x)
{
    const struct message *m = &x->req;
    return (m->flags & MSG_UPGRADE) && x->opt->upgrade == UPGRADE_ALLOW && m->method == METHOD_GET &&
           str_ieq(message_value(m, FIELD_UPGRADE), STR("websocket"));
}

static void add(struct message *m, char *text, enum field_id id, struct str name, struct str value)
{
    struct field *f = &m->fields[m->field_count++];
    *f = (struct field){.name = m->head_len,
                        .name_len = (uint16_t)name.n,
                        .value = m->head_len + (uint32_t)name.n + 2,
                        .value_len = (uint32_t)value.n,
                        .id = (uint8_t)id};
    memcpy(text + f->name, name.p, name.n);
    memcpy(text + f->name + name.n, ": ", 2);
    memcpy(text + f->value, value.p, value.n);
    memcpy(text + f->value + value.n, "\r\n", 2);
    m->head_len = f->value + f->value_len + 2;
    m->present |= 1ull << id;
}

bool h2_tunnel_answer(struct exchange *x, struct message *m)
{
    char accept[WEBSOCKET_ACCEPT_BYTES];
    struct str key = key_of(&x->req);
    struct field *fields = arena_alloc(&x->arena, (m->field_count + 2u) * sizeof *fields);
    char *text = arena_alloc(&x->arena, m->head_len + 128u);
    if (!fields || !text)
        return false;
    memcpy(fields, m->fields, m->field_count * sizeof *fields);
    memcpy(text, m->base, m->head_len);
    m->fields = fields;
    m->field_max = (uint16_t)(m->field_count + 2);
    m->base = text;
    m->status = 101;
    m->framing = BODY_NONE;
    m->content_length = 0;
    m->flags = (m->flags & ~(unsigned)MSG_HAS_LENGTH) | MSG_UPGRADE;
    add(m, text, FIELD_UPGRADE, STR("upgrade"), STR("websocket"));
    if (key.n) {
        websocket_accept(key, accept);
        add(m, text, FIELD_OTHER, STR("sec-websocket-accept"), str_make(accept, sizeof accept));
    }
    return true;
}
