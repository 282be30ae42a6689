/* wire: the frame of a topology on its way, and the small pieces it is made of. Little-endian.
 *
 *   head (40 bytes, frozen): u32 magic, u16 version, u16 kind, u64 epoch, u64 number, u64 base (the number
 * that a difference starts from, else 0), u32 cluster slots, u32 endpoint slots then fields: u16 tag, u32
 * length, value; a value may be fields again. Unknown tags are skipped.
 *
 *   CLUSTER* sorted by id | REMOVED* ids, sorted (difference only) | ROUTES { ROUTE* } |
 *   RULED_ROUTES { ROUTE* } | MEMBERS { MEMBER* }
 *
 * Routes with rules stand in a list of their own: who does not know them still has the plain ones. It comes
 * with ROUTES only, and an empty one is left out.
 *
 * In a difference an absent ROUTES or MEMBERS means "as before". Sorted and without doubles, so that equal
 * topologies have equal bytes. Readers borrow from the bytes and never look past them. */
#ifndef COX_TOPO_WIRE_H
#define COX_TOPO_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define WIRE_MAGIC      0x63787470u /* "cxtp" */
#define WIRE_VERSION    1
#define WIRE_HEAD_BYTES 40u

enum wire_kind { WIRE_WHOLE = 1, WIRE_DIFFERENCE = 2 };

/* Frozen: a number never gets another meaning. */
enum wire_object {
    WIRE_CLUSTER = 1,
    WIRE_REMOVED,
    WIRE_ROUTES,
    WIRE_ROUTE,
    WIRE_MEMBERS,
    WIRE_MEMBER,
    WIRE_RULED_ROUTES
};
enum wire_cluster { CLUSTER_ID = 1, CLUSTER_OWNER, CLUSTER_SLOT, CLUSTER_OPTIONS, CLUSTER_ENDPOINT };
enum wire_endpoint {
    ENDPOINT_SLOT = 1,
    ENDPOINT_WEIGHT,
    ENDPOINT_ADDR,
    ENDPOINT_STATE, /* five bytes: member state, readiness, health, drain, priority; more may follow some day
                     */
    ENDPOINT_SINCE, /* u64 wall time in ns; absent: 0 */
    ENDPOINT_TEXT = 16 /* + enum endpoint_text */
};
enum wire_route { ROUTE_HOST = 1, ROUTE_PATH, ROUTE_OWNER, ROUTE_CLUSTER, ROUTE_RULES, ROUTE_LABEL };
enum wire_member { MEMBER_STATE = 1, MEMBER_SINCE, MEMBER_PID, MEMBER_TEXT = 16 /* + n of member_text */ };

struct wire_head {
    uint16_t kind;
    uint64_t epoch, number, base;
    uint32_t cluster_slots, endpoint_slots;
};

void wire_put_head(struct buf *out, const struct wire_head *h);
/* False when the bytes are no topology of our version; *rest is what follows the head. */
bool wire_head(struct str bytes, struct wire_head *out_head, struct str *out_rest)
    __attribute__((warn_unused_result));

void wire_put_u32(struct buf *out, unsigned tag, uint32_t v);
void wire_put_u64(struct buf *out, unsigned tag, uint64_t v);
void wire_put_text(struct buf *out, unsigned tag, struct str text);
/* A field whose value is written between begin and end; begin returns what end wants. */
size_t wire_begin(struct buf *out, unsigned tag);
void wire_end(struct buf *out, size_t begun);

/* Takes the next field off the front: 1, 0 at the end, -1 when it is cut short. */
int wire_next(struct str *rest, unsigned *out_tag, struct str *out_value) __attribute__((warn_unused_result));
/* False when the value has another length. */
bool wire_u32(struct str value, uint32_t *out) __attribute__((warn_unused_result));
bool wire_u64(struct str value, uint64_t *out) __attribute__((warn_unused_result));

#endif
