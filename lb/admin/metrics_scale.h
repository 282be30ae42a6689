/* metrics_scale: the part of the metrics that is about how many members sets have. Private to metrics.c. */
#ifndef COX_ADMIN_METRICS_SCALE_H
#define COX_ADMIN_METRICS_SCALE_H

#include "base/buf.h"
#include "orch/scale.h"

#define METRICS_SET_ROWS 8u

/* Family after family; a value of each set within. */
void metrics_begin_set_row(unsigned row, struct buf *b);
void metrics_put_set_row(const struct scale_view *view, unsigned row, struct buf *b);

#endif
