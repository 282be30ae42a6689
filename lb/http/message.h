/* message: one request or answer head, independent of the wire it came over.
 *
 * All text is held as spans relative to `base`, so that a head can be parsed in a worker's scratch buffer and
 * then be moved (message_keep) into the arena of its exchange by two memcpy. The parser fills it, the rules
 * change it, a back or front writes it out again. Whoever made it owns it; one thread.
 *
 * Invariants: fields stand in wire order; `present` has bit i set exactly when some field has id i;
 * framing, content_length and flags have been checked against RFC 9112 6.3: no reader needs to look at
 * Content-Length or Transfer-Encoding again, and writers make their own. */
#ifndef COX_HTTP_MESSAGE_H
#define COX_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "http/fields.h"

/* The most fields that any limit may be set to. */
#define MESSAGE_FIELDS_MAX 512

struct span {
    uint32_t off, len;
};

struct field {
    uint32_t name, value; /* offsets from base */
    uint32_t value_len;
    uint16_t name_len;
    uint8_t id;    /* enum field_id */
    uint8_t flags; /* FIELD_FLAG_* */
};

/* Not to be written out again: hop-by-hop, nominated by Connection, or replaced by our own. */
#define FIELD_FLAG_DROP 1u
/* "Name: value\r\n" stands in the head just so, with nothing more between. Whoever moves name or value clears
 * it. */
#define FIELD_FLAG_LINE 2u
/* The name is letters, digits and '-' only. Unset says nothing. */
#define FIELD_FLAG_DASHED 4u

enum http_method {
    METHOD_OTHER = 0, /* any other token: passed on as it is */
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_PATCH,
    METHOD_TRACE,
    METHOD_CONNECT
};

/* How the end of the body is known. */
enum body_framing {
    BODY_NONE,    /* there is none */
    BODY_LENGTH,  /* content_length bytes, may be 0 */
    BODY_CHUNKED, /* HTTP/1.1 chunked */
    BODY_CLOSE,   /* until the connection closes: answers only */
    BODY_STREAM   /* until the codec says so: HTTP/2, FastCGI */
};

enum message_flags {
    MSG_KEEP_ALIVE = 1u << 0,      /* the connection may carry another message after this one */
    MSG_UPGRADE = 1u << 1,         /* Upgrade is present, nominated, and not only h2c */
    MSG_EXPECT_CONTINUE = 1u << 2, /* Expect: 100-continue */
    MSG_TE_TRAILERS = 1u << 3,     /* TE: trailers */
    MSG_ABSOLUTE_FORM = 1u << 4,   /* the target was absolute-form; authority comes from it */
    MSG_ASTERISK = 1u << 5,        /* the target was "*" */
    MSG_SECURE = 1u << 6,          /* came over TLS */
    MSG_HAS_TRAILERS = 1u << 7,    /* a Trailer field announced some */
    MSG_COMPLETE = 1u << 9,        /* an answer: nothing follows this head */
    MSG_HAS_LENGTH = 1u << 8       /* an answer to HEAD, or a 304: content_length is known, no body comes */
};

struct message {
    const char *base;  /* borrowed: scratch, a connection's buffer, or an arena */
    uint32_t head_len; /* bytes from base that the head takes */
    uint16_t field_count, field_max;
    struct field *fields;    /* borrowed: field_max of them */
    uint64_t present;        /* bit per enum field_id */
    uint64_t content_length; /* with BODY_LENGTH or MSG_HAS_LENGTH, else 0 */
    uint32_t flags;          /* enum message_flags */
    uint8_t version;         /* 10, 11, 20 */
    uint8_t method;          /* enum http_method */
    uint8_t framing;         /* enum body_framing */
    bool in_arena;           /* text and fields live as long as the exchange that they are for */
    uint16_t status;         /* answers */
    struct span method_text, target, authority,
        reason_text; /* target: raw, as received (origin part of absolute-form) */
    struct span path,
        query; /* normalised path, begins with '/'; query without '?', len 0 and off 0 when absent */
};

static inline struct str message_str(const struct message *m, struct span s)
{
    return str_make(m->base + s.off, s.len);
}

static inline struct str field_name_of(const struct message *m, const struct field *f)
{
    return str_make(m->base + f->name, f->name_len);
}

static inline struct str field_value_of(const struct message *m, const struct field *f)
{
    return str_make(m->base + f->value, f->value_len);
}

static inline bool message_has(const struct message *m, enum field_id id)
{
    return (m->present >> id) & 1;
}

/* Points the message at an empty array of fields; base and text are set by the parser. */
void message_init(struct message *m, struct field *fields, uint16_t field_max);
/* The same in memory that is all zero. */
void message_init_zeroed(struct message *m, struct field *fields, uint16_t field_max);

/* First field with this id that is not dropped, or NULL. */
const struct field *message_find(const struct message *m, enum field_id id);
/* Its value, or STR_NULL. */
struct str message_value(const struct message *m, enum field_id id);

/* Copies head bytes and fields into the arena: base and fields then live as long as it does.
 * False when the arena is out of memory; the message is unchanged then. */
bool message_keep(struct message *m, struct arena *arena) __attribute__((warn_unused_result));

/* As message_keep, with room for so many more fields, whose names and values take `bytes` at most. */
bool message_extend(struct message *m, struct arena *arena, uint16_t fields, uint32_t bytes)
    __attribute__((warn_unused_result));
/* One more field behind the others, of a message that was extended for it. */
void message_add(struct message *m, struct str name, struct str value);

/* GET, HEAD, OPTIONS, TRACE, PUT, DELETE (RFC 9110 9.2.2). */
bool method_is_idempotent(enum http_method method);
enum http_method method_lookup(struct str name);

#endif
