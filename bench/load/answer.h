/* answer: finds the end of HTTP/1 answers in the bytes of one connection. Belongs to the load maker; what it
 * does not need it does not check. Length, chunked and until-close bodies. */
#ifndef BENCH_ANSWER_H
#define BENCH_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#define ANSWER_HEAD_MAX 8192

enum answer_result { ANSWER_MORE, ANSWER_DONE, ANSWER_BAD };

struct answer {
    enum { AT_HEAD, AT_BODY, AT_CHUNK_LINE, AT_CHUNK, AT_CHUNK_END, AT_TRAILER, AT_CLOSE } at;
    int status;
    bool closes;     /* Connection: close */
    size_t left;     /* of the body or the chunk */
    size_t line_len; /* of the trailer line so far */
    char *kept;      /* owned; a head that came in pieces, or NULL */
    size_t kept_len;
};

/* Ready for the next answer. */
void answer_reset(struct answer *a);
/* Takes bytes that came; one answer at a time, bytes behind it are an error, for nobody asked for them. */
enum answer_result answer_feed(struct answer *a, const char *p, size_t n);
/* The server closed: DONE when that was the end of the body. */
enum answer_result answer_end(const struct answer *a);

#endif
