/* scale_codec: a decision with its inputs as bytes, and back. Versioned by the log that keeps it. */
#ifndef COX_ORCH_SCALE_CODEC_H
#define COX_ORCH_SCALE_CODEC_H

#include "orch/scale_log.h"

void scale_encode(const struct scale_set *set, const struct cox_sample *sample,
                  const struct scale_record *record, struct buf *out);
/* Texts and the state are borrowed from bytes. False: malformed; *out owns nothing then. */
bool scale_decode(struct str bytes, uint64_t number, struct scale_record *out)
    __attribute__((warn_unused_result));
/* Only whose it is. */
bool scale_decode_set(struct str bytes, struct str *out_set) __attribute__((warn_unused_result));
/* Whether two answers are the same, bit for bit in all that was recorded. */
bool scale_same_decision(const struct cox_decision *a, const struct cox_decision *b);

#endif
