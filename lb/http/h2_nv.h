/* h2_nv: fields on their way out, as the list that the HPACK encoder takes.
 *
 * One list a worker, lent for one head; nothing in it outlives the call that submits it. Names that are not
 * in lower case (RFC 9113 8.2) are put so into room of the list's own; all else is borrowed until then.
 * Included inside lb/http only: nghttp2 shows. */
#ifndef COX_HTTP_H2_NV_H
#define COX_HTTP_H2_NV_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>

#include "http/h2_mem_priv.h"
#include "http/message.h"

#define H2_NV_MAX        (MESSAGE_FIELDS_MAX + 32)
#define H2_NV_NAME_BYTES 32768

/* Once something did not fit, `overflow` stays set and the head must not be sent. mem: of the connections
 * that share it. */
struct h2_nv {
    nghttp2_nv v[H2_NV_MAX];
    char names[H2_NV_NAME_BYTES];
    uint32_t count, names_len;
    bool overflow;
    bool teaches; /* also what never comes twice goes into the peer's table, so that its name is there */
    struct h2_mem *mem; /* owned; NULL in a list that is on the stack */
};

static inline void h2_nv_init(struct h2_nv *nv)
{
    nv->count = nv->names_len = 0;
    nv->overflow = nv->teaches = false;
}

/* A pseudo-header field, or one of our own: name is a lower-case literal, which nobody copies. */
void h2_nv_put(struct h2_nv *nv, struct str name, struct str value);
/* Any field, checked (H36) and lowered. Connection-specific ones are left out. */
void h2_nv_field(struct h2_nv *nv, struct str name, struct str value);
/* The fields of m that are not dropped, but for those that have no place in HTTP/2 (RFC 9113 8.2.2), Host,
 * Content-Length (see h2_nv_length) and TE. */
void h2_nv_fields(struct h2_nv *nv, const struct message *m);
/* "Name: value\r\n" lines such as exchange.own_fields. */
void h2_nv_lines(struct h2_nv *nv, struct str lines);
/* content-length; `text` is room that must live as long as the list. */
void h2_nv_length(struct h2_nv *nv, uint64_t n, char text[24]);
/* The name of a field that we know, in lower case; not of FIELD_OTHER. Lives for ever. */
const char *h2_nv_lower_name(enum field_id id);
/* Those that may be passed on as trailers (RFC 9110 6.5.1). */
void h2_nv_trailers(struct h2_nv *nv, const struct message *trailers);

#endif
