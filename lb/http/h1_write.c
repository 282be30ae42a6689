#include "http/h1_write.h"

#include "http/rules.h"
#include "http/scan.h"

#define BIT(id) (1ull << (id))
/* Written by h1_write_request_line and h1_write_framing, or by a front or back that knows why. */
#define NEVER_COPIED                                                                                         \
    (BIT(FIELD_HOST) | BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_CONNECTION) |    \
     BIT(FIELD_KEEP_ALIVE) | BIT(FIELD_PROXY_CONNECTION) | BIT(FIELD_TE) | BIT(FIELD_TRAILER) |              \
     BIT(FIELD_UPGRADE))

void writer_u64(struct writer *w, uint64_t v)
{
    char digits[20], *p = digits + sizeof digits;
    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    writer_put(w, p, (size_t)(digits + sizeof digits - p));
}

/* H36: a value with a line end in it would be two fields. The head is spoiled, and so never sent. */
void writer_field(struct writer *w, struct str name, struct str value)
{
    const char *end = value.p + value.n;
    if (name.n == 0 || scan_token(name.p, name.p + name.n) != name.p + name.n ||
        (value.n && scan_value(value.p, value.p, end) != end)) {
        w->overflow = true;
        return;
    }
    writer_str(w, name);
    writer_put(w, ": ", 2);
    writer_str(w, value);
    writer_put(w, "\r\n", 2);
}

/* Where the line of a field ends that stands in the head just as we would write it, else 0. */
static inline uint32_t plain_line_end(const struct field *f)
{
    return f->flags & FIELD_FLAG_LINE ? f->value + f->value_len + 2 : 0;
}

static void write_copy(struct writer *w, const struct message *m, const struct field *f)
{
    writer_str(w, field_name_of(m, f));
    writer_put(w, ": ", 2);
    writer_str(w, field_value_of(m, f));
    writer_put(w, "\r\n", 2);
}

/* Neighbouring lines that stay are copied in one piece; [from, to) is one that has begun already. Fields of
 * the ids in `never` are left out. */
static void write_runs(struct writer *w, const struct message *m, uint32_t from, uint32_t to, uint64_t never)
{
    for (const struct field *f = m->fields, *end = f + m->field_count; f < end; f++) {
        if ((f->flags & FIELD_FLAG_DROP) || (BIT(f->id) & never))
            continue;
        uint32_t line_end = plain_line_end(f);
        if (line_end && f->name == to) {
            to = line_end;
            continue;
        }
        writer_put(w, m->base + from, to - from);
        from = to = 0;
        if (line_end) {
            from = f->name;
            to = line_end;
        } else {
            write_copy(w, m, f);
        }
    }
    writer_put(w, m->base + from, to - from);
}

void h1_write_fields(struct writer *w, const struct message *m)
{
    write_runs(w, m, 0, 0, NEVER_COPIED);
}

/* The one field of this id, NULL when there are more, or none. */
static const struct field *only_field(const struct message *m, enum field_id id)
{
    const struct field *found = NULL;
    if (!message_has(m, id))
        return NULL;
    for (const struct field *f = m->fields, *end = f + m->field_count; f < end; f++) {
        if (f->id != id || (f->flags & FIELD_FLAG_DROP))
            continue;
        if (found)
            return NULL;
        found = f;
    }
    return found;
}

static bool is_field_value(const struct message *m, const struct field *f, struct str value)
{
    return f && m->base + f->value == value.p && f->value_len == value.n;
}

/* Does the head hold "METHOD target HTTP/1.1\r\n" just as it is to be written? Returns where the line ends,
 * else 0. */
static uint32_t plain_request_line(const struct message *m, struct str target)
{
    static const char version[] = " HTTP/1.1\r\n";
    const uint32_t size = sizeof version - 1;
    uint32_t at = m->method_text.off + m->method_text.len + 1;
    if (target.p != m->base + at || at + target.n + size > m->head_len ||
        memcmp(target.p + target.n, version, size) != 0)
        return 0;
    return at + (uint32_t)target.n + size;
}

void h1_write_request_head(struct writer *w, const struct message *m, struct str target, struct str authority)
{
    uint32_t line_end = plain_request_line(m, target);
    if (line_end && is_field_value(m, only_field(m, FIELD_HOST), authority)) {
        write_runs(w, m, m->method_text.off, line_end, NEVER_COPIED & ~BIT(FIELD_HOST));
        return;
    }
    h1_write_request_line(w, m, target, authority);
    h1_write_fields(w, m);
}

/* Likewise "HTTP/1.1 200 OK\r\n", with which a head begins. */
static uint32_t plain_status_line(const struct message *m)
{
    static const char version[] = "HTTP/1.1 ";
    uint32_t end = m->reason_text.off + m->reason_text.len;
    if (!m->reason_text.len || m->reason_text.off != sizeof version - 1 + 4 || end + 2 > m->head_len ||
        memcmp(m->base, version, sizeof version - 1) != 0 || m->base[end] != '\r' || m->base[end + 1] != '\n')
        return 0;
    return end + 2;
}

/* Is its Content-Length what we would write: no sign of any kind, no zeros in front? */
static bool has_plain_length(const struct message *m)
{
    const struct field *f = only_field(m, FIELD_CONTENT_LENGTH);
    return f && plain_line_end(f) && f->value_len && (f->value_len == 1 || m->base[f->value] != '0');
}

bool h1_write_response_head(struct writer *w, const struct message *m, bool keep_length)
{
    uint32_t line_end = plain_status_line(m);
    uint64_t never = NEVER_COPIED;
    keep_length = keep_length && has_plain_length(m);
    if (keep_length)
        never &= ~BIT(FIELD_CONTENT_LENGTH);
    if (!line_end)
        h1_write_status_line(w, m);
    write_runs(w, m, 0, line_end, never);
    return keep_length;
}

void h1_write_request_line(struct writer *w, const struct message *m, struct str target, struct str authority)
{
    writer_str(w, message_str(m, m->method_text));
    writer_put(w, " ", 1);
    writer_str(w, target);
    writer_str(w, STR(" HTTP/1.1\r\nHost: "));
    writer_str(w, authority);
    writer_put(w, "\r\n", 2);
}

void h1_write_status_line(struct writer *w, const struct message *m)
{
    char code[3] = {(char)('0' + m->status / 100 % 10), (char)('0' + m->status / 10 % 10),
                    (char)('0' + m->status % 10)};
    writer_str(w, STR("HTTP/1.1 "));
    writer_put(w, code, sizeof code);
    writer_put(w, " ", 1);
    writer_str(w, m->reason_text.len ? message_str(m, m->reason_text) : status_phrase(m->status));
    writer_put(w, "\r\n", 2);
}

void h1_write_framing(struct writer *w, enum body_framing framing, uint64_t content_length)
{
    switch (framing) {
    case BODY_LENGTH:
        writer_str(w, STR("Content-Length: "));
        writer_u64(w, content_length);
        writer_put(w, "\r\n", 2);
        break;
    case BODY_CHUNKED:
    case BODY_STREAM:
        writer_str(w, STR("Transfer-Encoding: chunked\r\n"));
        break;
    case BODY_NONE:
    case BODY_CLOSE:
        break;
    }
}

void h1_write_last_chunk(struct writer *w, const struct message *trailers)
{
    writer_str(w, STR("0\r\n"));
    for (uint16_t i = 0; trailers && i < trailers->field_count; i++) {
        const struct field *f = &trailers->fields[i];
        if (!(f->flags & FIELD_FLAG_DROP) &&
            rules_trailer_allowed((enum field_id)f->id, field_name_of(trailers, f)))
            writer_field(w, field_name_of(trailers, f), field_value_of(trailers, f));
    }
    writer_str(w, STR("\r\n"));
}

size_t h1_chunk_head(char *to, uint64_t n)
{
    static const char hex[] = "0123456789abcdef";
    char digits[16], *p = digits + sizeof digits;
    do {
        *--p = hex[n & 15];
        n >>= 4;
    } while (n);
    size_t count = (size_t)(digits + sizeof digits - p);
    memcpy(to, p, count);
    to[count] = '\r';
    to[count + 1] = '\n';
    return count + 2;
}

/* RFC 9110 15, and the few that other RFCs add. */
struct str status_phrase(uint16_t status)
{
    static const struct {
        uint16_t status;
        struct str phrase;
    } phrases[] = {
        {100, STR("Continue")},
        {101, STR("Switching Protocols")},
        {102, STR("Processing")},
        {103, STR("Early Hints")},
        {200, STR("OK")},
        {201, STR("Created")},
        {202, STR("Accepted")},
        {203, STR("Non-Authoritative Information")},
        {204, STR("No Content")},
        {205, STR("Reset Content")},
        {206, STR("Partial Content")},
        {207, STR("Multi-Status")},
        {300, STR("Multiple Choices")},
        {301, STR("Moved Permanently")},
        {302, STR("Found")},
        {303, STR("See Other")},
        {304, STR("Not Modified")},
        {305, STR("Use Proxy")},
        {307, STR("Temporary Redirect")},
        {308, STR("Permanent Redirect")},
        {400, STR("Bad Request")},
        {401, STR("Unauthorized")},
        {402, STR("Payment Required")},
        {403, STR("Forbidden")},
        {404, STR("Not Found")},
        {405, STR("Method Not Allowed")},
        {406, STR("Not Acceptable")},
        {407, STR("Proxy Authentication Required")},
        {408, STR("Request Timeout")},
        {409, STR("Conflict")},
        {410, STR("Gone")},
        {411, STR("Length Required")},
        {412, STR("Precondition Failed")},
        {413, STR("Content Too Large")},
        {414, STR("URI Too Long")},
        {415, STR("Unsupported Media Type")},
        {416, STR("Range Not Satisfiable")},
        {417, STR("Expectation Failed")},
        {421, STR("Misdirected Request")},
        {422, STR("Unprocessable Content")},
        {423, STR("Locked")},
        {425, STR("Too Early")},
        {426, STR("Upgrade Required")},
        {428, STR("Precondition Required")},
        {429, STR("Too Many Requests")},
        {431, STR("Request Header Fields Too Large")},
        {451, STR("Unavailable For Legal Reasons")},
        {500, STR("Internal Server Error")},
        {501, STR("Not Implemented")},
        {502, STR("Bad Gateway")},
        {503, STR("Service Unavailable")},
        {504, STR("Gateway Timeout")},
        {505, STR("HTTP Version Not Supported")},
        {507, STR("Insufficient Storage")},
        {511, STR("Network Authentication Required")},
    };
    if (status == 200)
        return STR("OK");
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return STR("Unknown");
}
