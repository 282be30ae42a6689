/* access_format: writes one line of the access log in a layout other than the default (access.c has that
 * one). On the worker's thread, into its log buffer. What a client chose is cut at ACCESS_TEXT_MAX bytes and
 * escaped (H36): a line never holds a control character, nor, between quotes, a quote or a backslash that
 * ends or changes them. */
#ifndef COX_PROXY_ACCESS_FORMAT_H
#define COX_PROXY_ACCESS_FORMAT_H

#include "conf/log_format.h"
#include "proxy/exchange.h"

#define ACCESS_TEXT_MAX 1024

/* Dates of the second last written, so that a line costs no calendar. Of one worker. */
struct access_clock {
    uint64_t second;
    char local[32], iso[24]; /* the latter without milliseconds */
    uint32_t local_len, iso_len;
};

/* Writes the line, its end included, to `to`, which has room for LOG_LINE_BYTES. Returns its length, never
 * more. */
size_t access_format_line(struct exchange *x, const struct log_format *f, char *to);

#endif
