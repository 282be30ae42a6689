/* fcgi_codec: FastCGI 1.0 records, both directions, for a client of responders (the role of a web server).
 *
 * Writers append to a struct writer; the decoder is fed bytes and yields one event a step, with payload
 * borrowed from the input. Rows F6 and F7 are decided here. Request id is always 1: php-fpm does not
 * multiplex. Pure. */
#ifndef COX_HTTP_FCGI_CODEC_H
#define COX_HTTP_FCGI_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"
#include "http/h1_write.h"

#define FCGI_HEADER_BYTES 8
/* Content of one record that we send: 8-aligned below 65535 so that no padding is ever needed (F6). */
#define FCGI_RECORD_MAX 65528

enum fcgi_type {
    FCGI_BEGIN_REQUEST = 1,
    FCGI_ABORT_REQUEST = 2,
    FCGI_END_REQUEST = 3,
    FCGI_PARAMS = 4,
    FCGI_STDIN = 5,
    FCGI_STDOUT = 6,
    FCGI_STDERR = 7
};

enum fcgi_protocol_status {
    FCGI_REQUEST_COMPLETE = 0,
    FCGI_CANT_MPX_CONN = 1,
    FCGI_OVERLOADED = 2,
    FCGI_UNKNOWN_ROLE = 3
};

/* 8 bytes of record header; content_len ≤ FCGI_RECORD_MAX. */
void fcgi_put_header(struct writer *w, enum fcgi_type type, uint16_t content_len);
/* BEGIN_REQUEST of a responder. */
void fcgi_put_begin(struct writer *w, bool keep_conn);
/* One name-value pair, without record header; names and values up to 2^31-1 (FastCGI 1.0 3.4). */
void fcgi_put_param(struct writer *w, struct str name, struct str value);
/* Bytes that fcgi_put_param would write. */
size_t fcgi_param_bytes(struct str name, struct str value);
/* Writes `params` (pairs written by fcgi_put_param) as PARAMS records of at most FCGI_RECORD_MAX and the
 * empty record that ends them. */
void fcgi_put_params(struct writer *w, struct str params);

enum fcgi_event_kind {
    FCGI_EVENT_MORE,   /* all bytes used or too few: give more */
    FCGI_EVENT_STDOUT, /* payload in data */
    FCGI_EVENT_STDERR, /* payload in data */
    FCGI_EVENT_END,    /* the request is over */
    FCGI_EVENT_ERROR   /* protocol broken: close */
};

struct fcgi_event {
    enum fcgi_event_kind kind;
    struct str data;
    uint32_t app_status;     /* with END */
    uint8_t protocol_status; /* with END */
    const char *error;       /* with ERROR: static text */
};

/* Zeroed at the start of a connection. */
struct fcgi_decoder {
    uint32_t content_left; /* of the current record */
    uint32_t padding_left;
    uint8_t header[FCGI_HEADER_BYTES];
    uint8_t header_len;
    uint8_t end_body[8];
    uint8_t end_len;
    uint8_t type;
    bool in_record;
    bool ended;
};

/* One step over p[0..n): returns the bytes used; *out_event says what they were. Loop while it used some or
 * the event is not MORE. Bytes behind END are not touched. Management records (id 0), wrong ids, unknown
 * types and lengths are errors (F7). */
size_t fcgi_decode(struct fcgi_decoder *d, const char *p, size_t n, struct fcgi_event *out_event);

#endif
