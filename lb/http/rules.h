/* rules: what a proxy must do to a message between its two sides (RFC 9110 7.6, RFC 7239, RFC 3986).
 * Pure; the arena given is that of the exchange. */
#ifndef COX_HTTP_RULES_H
#define COX_HTTP_RULES_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/reason.h"
#include "http/message.h"

/* Splits target into path and query and normalises the path (H18, H35): decodes unreserved octets,
 * upper-cases the other escapes, removes dot segments, and rejects what two parsers could read in two ways:
 * %00, %2F, %5C, backslash, '#', control bytes, a ".." above the root, encoded dots in dot segments, broken
 * escapes. `//` is merged to '/' when merge_slashes. When nothing changes, path points into target; else into
 * text appended in the arena, and m->base, m->path are adjusted so that spans stay valid (the message must
 * have been kept). (head_len grows by that text, so that it is kept along with the head: note before how many
 * bytes were read.) Returns REASON_OK, REASON_TARGET, REASON_PATH or REASON_NO_MEMORY. */
enum reason rules_normalise_path(struct message *m, struct arena *arena, bool merge_slashes);

/* "path?query" as it goes to the server, once rules_normalise_path said REASON_OK: they always stand
 * together. */
struct str rules_target(const struct message *m);

/* Marks with FIELD_FLAG_DROP the hop-by-hop fields and those that Connection nominates (RFC 9110 7.6.1), but
 * never lets Connection remove Host, Content-*, Cookie, Authorization, Forwarded, X-Forwarded-*, X-Real-IP,
 * Via, X-Request-Id, Traceparent (H26). Upgrade tokens h2c and HTTP2-Settings go always (H23): with
 * MSG_UPGRADE message_value(m, FIELD_UPGRADE) is afterwards exactly one protocol, the first that is not h2c;
 * without it Upgrade is gone. Names that become a framing, routing or client-identity field when a server
 * reads '_' as '-' go too (H37). */
void rules_drop_hop_by_hop(struct message *m);

/* Is s a valid Host / authority: host [":" port], no userinfo, RFC 3986 3.2 (H15, H17)? */
bool rules_authority_valid(struct str s);
/* Host without port, lower-cased by the caller when it compares; brackets of an IPv6 literal are kept. */
struct str rules_authority_host(struct str authority);

/* Is this trailer field name allowed to be passed on (RFC 9110 6.5.1): not framing, routing, authentication,
 * request modifiers, or content fields (H9)? */
bool rules_trailer_allowed(enum field_id id, struct str name);

#endif
