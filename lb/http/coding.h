/* coding: may this answer be sent with a content coding that its server did not choose, and does this client
 * want one? (RFC 9110 8.4, 12.5.3; RFC 9111 5.2.2.6.) Pure. */
#ifndef COX_HTTP_CODING_H
#define COX_HTTP_CODING_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/options.h"
#include "http/message.h"

/* Does Accept-Encoding ask for gzip? Not without the field, not with q=0, and not when the client likes the
 * answer better as it is. */
bool coding_wants_gzip(const struct message *request);

/* May it be compressed, were there somebody who wants it? Not when its server has coded it, cut a part out of
 * it or forbidden that, when a digest goes along, when it has no content, when its type is none of `types`
 * ("text/html", "text/" followed by a star, or a star), or when it is known to be shorter than min_bytes. */
bool coding_may_compress(const struct message *request, const struct message *answer,
                         const struct strings *types, uint64_t min_bytes);

/* Changes the head of such an answer: Vary: Accept-Encoding if it is not there; with gzip also
 * Content-Encoding, a weak ETag, no length and no Accept-Ranges. The message is copied into the arena; false
 * when that is full, and nothing has changed. */
bool coding_change_head(struct message *answer, struct arena *arena, bool gzip)
    __attribute__((warn_unused_result));

#endif
