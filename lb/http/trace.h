/* trace: the two ids that follow a request through a system: traceparent (W3C Trace Context) and
 * X-Request-Id. Pure: random bits come from the caller. */
#ifndef COX_HTTP_TRACE_H
#define COX_HTTP_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define TRACEPARENT_BYTES    55
#define REQUEST_ID_BYTES_MAX 128

/* version-traceid-parentid-flags in lower-case hex; neither id all zeros, version not ff. A version above 00
 * may carry more behind a '-' (Trace Context 3.2.2, 4.3). */
bool traceparent_valid(struct str s);

/* Writes TRACEPARENT_BYTES of a new, sampled trace. The parent id is mixed from the same 128 bits. */
void traceparent_make(char *to, uint64_t random_high, uint64_t random_low);

/* 1 to REQUEST_ID_BYTES_MAX of letters, digits, '.', '_', '-': safe in any log and any URL. */
bool request_id_valid(struct str s);

#endif
