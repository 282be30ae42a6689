/* files_range: what a request for a file is answered with: all of it, a part, or nothing because the client
 * has it (RFC 9110 13 and 14). Pure: no file, no clock. */
#ifndef COX_PROXY_FILES_RANGE_H
#define COX_PROXY_FILES_RANGE_H

#include <stdbool.h>

#include "http/message.h"

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define HTTP_DATE_BYTES 29
/* Both quotes, 16 hex digits, '-', 16 hex digits. */
#define FILES_ETAG_MAX 36

struct files_facts {
    uint64_t size;
    int64_t modified_s; /* Unix time */
    int64_t now_s;
    struct str etag; /* with its quotes; strong */
};

struct files_plan {
    uint16_t status;     /* 200, 206, 304, 412, 416 */
    uint64_t from, size; /* the part to send; 0 bytes for 304, 412, 416 */
};

/* Preconditions in the order of RFC 9110 13.2.2, then Range. One range is heeded; a list of several is
 * allowed to be answered with the whole (14.2), which also makes overlapping ones harmless. Fields of methods
 * other than GET and HEAD are not looked at. */
void files_plan(const struct message *req, const struct files_facts *facts, struct files_plan *out);

/* Writes an ETag into to[FILES_ETAG_MAX]; returns its length. */
size_t files_etag(char *to, uint64_t modified_ns, uint64_t size);

/* Writes HTTP_DATE_BYTES bytes. Years 0 to 9999. */
void http_date_write(char *to, int64_t unix_s);
/* IMF-fixdate only: the two older formats have not been sent for decades, and a date that is not understood
 * makes a condition void, never true. */
bool http_date_parse(struct str text, int64_t *out_unix_s) __attribute__((warn_unused_result));

#endif
