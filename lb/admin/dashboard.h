/* dashboard: the live page of the admin listener: one HTML document without anything from outside, compiled
 * in. */
#ifndef COX_ADMIN_DASHBOARD_H
#define COX_ADMIN_DASHBOARD_H

#include "base/buf.h"

/* Appends the page to *body, and to *fields the Content-Security-Policy that lets run what stands in it and
 * nothing else: each copy has a nonce of its own. */
void dashboard_put(struct buf *body, struct buf *fields);

#endif
