#include "http/message.h"

#include "base/panic.h"

void message_init_zeroed(struct message *m, struct field *fields, uint16_t field_max)
{
    ASSERT(field_max <= MESSAGE_FIELDS_MAX);
    m->fields = fields;
    m->field_max = field_max;
}

void message_init(struct message *m, struct field *fields, uint16_t field_max)
{
    memset(m, 0, sizeof *m);
    message_init_zeroed(m, fields, field_max);
}

const struct field *message_find(const struct message *m, enum field_id id)
{
    if (!message_has(m, id))
        return NULL;
    for (const struct field *f = m->fields, *end = f + m->field_count; f < end; f++)
        if (f->id == id && !(f->flags & FIELD_FLAG_DROP))
            return f;
    return NULL;
}

struct str message_value(const struct message *m, enum field_id id)
{
    const struct field *f = message_find(m, id);
    return f ? field_value_of(m, f) : STR_NULL;
}

/* Of ": " and CRLF. */
#define LINE_MARKS 4

bool message_extend(struct message *m, struct arena *arena, uint16_t fields, uint32_t bytes)
{
    size_t fields_bytes = (m->field_count + (size_t)fields) * sizeof *m->fields;
    /* One block for both: offsets stay as they are, and a failure leaves nothing half moved. */
    char *block = arena_alloc(arena, fields_bytes + m->head_len + bytes + (size_t)fields * LINE_MARKS);
    if (!block)
        return false;
    char *text = block + fields_bytes;
    if (m->field_count)
        memcpy(block, m->fields, m->field_count * sizeof *m->fields);
    if (m->head_len)
        memcpy(text, m->base, m->head_len);
    m->fields = (struct field *)(void *)block;
    m->field_max = (uint16_t)(m->field_count + fields);
    m->base = text;
    return true;
}

bool message_keep(struct message *m, struct arena *arena)
{
    return message_extend(m, arena, 0, 0);
}

static uint32_t append(struct message *m, struct str s)
{
    uint32_t at = m->head_len;
    memcpy((char *)(uintptr_t)m->base + at, s.p, s.n); /* ours since message_extend */
    m->head_len += (uint32_t)s.n;
    return at;
}

void message_add(struct message *m, struct str name, struct str value)
{
    ASSERT(m->field_count < m->field_max);
    struct field *f = &m->fields[m->field_count++];
    *f = (struct field){
        .id = (uint8_t)field_lookup(name), .name_len = (uint16_t)name.n, .value_len = (uint32_t)value.n};
    f->name = append(m, name);
    append(m, STR(": "));
    f->value = append(m, value);
    append(m, STR("\r\n"));
    m->present |= 1ull << f->id;
}

bool method_is_idempotent(enum http_method method)
{
    switch (method) {
    case METHOD_GET:
    case METHOD_HEAD:
    case METHOD_OPTIONS:
    case METHOD_TRACE:
    case METHOD_PUT:
    case METHOD_DELETE:
        return true;
    case METHOD_OTHER:
    case METHOD_POST:
    case METHOD_PATCH:
    case METHOD_CONNECT:
        return false;
    }
    return false;
}

/* Methods are case-sensitive (RFC 9110 9.1). */
enum http_method method_lookup(struct str name)
{
    switch (name.n) {
    case 3:
        if (memcmp(name.p, "GET", 3) == 0)
            return METHOD_GET;
        return memcmp(name.p, "PUT", 3) == 0 ? METHOD_PUT : METHOD_OTHER;
    case 4:
        if (memcmp(name.p, "POST", 4) == 0)
            return METHOD_POST;
        return memcmp(name.p, "HEAD", 4) == 0 ? METHOD_HEAD : METHOD_OTHER;
    case 5:
        if (memcmp(name.p, "PATCH", 5) == 0)
            return METHOD_PATCH;
        return memcmp(name.p, "TRACE", 5) == 0 ? METHOD_TRACE : METHOD_OTHER;
    case 6:
        return memcmp(name.p, "DELETE", 6) == 0 ? METHOD_DELETE : METHOD_OTHER;
    case 7:
        if (memcmp(name.p, "OPTIONS", 7) == 0)
            return METHOD_OPTIONS;
        return memcmp(name.p, "CONNECT", 7) == 0 ? METHOD_CONNECT : METHOD_OTHER;
    default:
        return METHOD_OTHER;
    }
}
