/* metrics_tls: the part of the metrics that is about TLS. Private to metrics.c. */
#ifndef COX_ADMIN_METRICS_TLS_H
#define COX_ADMIN_METRICS_TLS_H

#include "admin/survey.h"
#include "base/buf.h"

void metrics_put_tls(const struct survey *v, struct buf *b);
/* A reason that metrics_put_tls shows: a handshake that failed, no request. */
bool metrics_is_of_tls(unsigned reason);

#endif
