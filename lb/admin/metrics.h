/* metrics: a view in the text format of Prometheus (0.0.4). Costs what there is to show: every cell of the
 * ledger that the topology names is read once, no writer is stopped. Label values are escaped, bytes beyond
 * ASCII by their code. */
#ifndef COX_ADMIN_METRICS_H
#define COX_ADMIN_METRICS_H

#include "admin/survey.h"
#include "base/buf.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The upper bounds of the histogram's buckets are powers of two nanoseconds, so they fall between the
 * ledger's own buckets and nothing is guessed: from 2^METRICS_LE_FIRST (131 us) to 2^METRICS_LE_LAST (34 s).
 */
#define METRICS_LE_FIRST 17
#define METRICS_LE_LAST  35

/* All at once. */
void metrics_put(const struct survey *v, const char *version, struct buf *out);

/* Piece by piece, so that a hundred thousand endpoints hold nobody up: the topology is that of the beginning,
 * each value that of the step that reads it. A reference to t (NULL: none yet) is taken; version is a
 * literal. */
struct metrics;
struct metrics *metrics_begin(struct topology *t, const char *version);
/* Appends to *out until it holds bytes_max or the monotonic clock passes until_ns, give or take 32 items (one
 * of which may be all members). v: of this moment, made anew for each step. False: that was all. */
bool metrics_step(struct metrics *m, const struct survey *v, uint64_t until_ns, size_t bytes_max,
                  struct buf *out) __attribute__((warn_unused_result));
void metrics_end(struct metrics **m);

#endif
