/* metrics_text: lines of the text format of Prometheus. A series is opened with what names it, gets further
 * labels, and is closed with its value. Private to metrics.c. */
#ifndef COX_ADMIN_METRICS_TEXT_H
#define COX_ADMIN_METRICS_TEXT_H

#include "base/buf.h"
#include "topo/topology.h"

/* # HELP and # TYPE; names are without their prefix, here and below. */
void metrics_family(struct buf *b, const char *name, const char *type, const char *help);
void metrics_put_text(struct buf *b, const char *text);
void metrics_put_number(struct buf *b, uint64_t v, int digits_min);
/* As a label value wants it; bytes beyond ASCII by their code. */
void metrics_put_escaped(struct buf *b, struct str s);
/* name{cluster="id" */
void metrics_open_cluster(struct buf *b, const char *name, const struct cluster *c);
/* name{cluster="id",endpoint="id" */
void metrics_open_endpoint(struct buf *b, const char *name, const struct cluster *c,
                           const struct endpoint *e);
/* ,label="value"; the value is a word of ours. */
void metrics_put_label(struct buf *b, const char *label, const char *value);
void metrics_close_number(struct buf *b, uint64_t v);
void metrics_close_seconds(struct buf *b, uint64_t ns);

#endif
