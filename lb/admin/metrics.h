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

void metrics_put(const struct survey *v, const char *version, struct buf *out);

#endif
