/* h2_once: one request of HTTP/2 on a fresh connection, and the end of its answer. Belongs to the load maker:
 * what it does not need (HPACK, flow control) it does not do. */
#ifndef BENCH_H2_ONCE_H
#define BENCH_H2_ONCE_H

#include <stdint.h>
#include <string.h>

#include "answer.h"

#define H2_HEAD_BYTES   9
#define H2_SETTINGS_ACK "\0\0\0\4\1\0\0\0\0"

struct h2_once {
    unsigned char head[H2_HEAD_BYTES];
    size_t have, left; /* of the frame's head; of its payload */
    bool owes_ack;     /* SETTINGS came: whoever feeds sends H2_SETTINGS_ACK and clears this */
};

static inline void h2_once_reset(struct h2_once *o)
{
    *o = (struct h2_once){.have = 0};
}

/* Preface, SETTINGS, and GET path on stream 1. Its size. */
static inline size_t h2_once_request(unsigned char *to, size_t room, const char *path)
{
    static const unsigned char begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                         "\0\0\0\4\0\0\0\0\0"; /* SETTINGS */
    static const char host[] = "bench";
    size_t path_len = strlen(path), n = sizeof(begin) - 1, len = 2 + 2 + path_len + 2 + sizeof(host) - 1;
    if (path_len > 100 || room < n + H2_HEAD_BYTES + len)
        return 0;
    memcpy(to, begin, n);
    const unsigned char head[] = {0, 0, (unsigned char)len, 1, 5, 0, 0, 0, 1};
    memcpy(to + n, head, sizeof(head));
    n += sizeof(head);
    to[n++] = 0x82; /* :method GET */
    to[n++] = 0x87; /* :scheme https */
    to[n++] = 0x04; /* :path, in full (RFC 7541 6.2.2) */
    to[n++] = (unsigned char)path_len;
    memcpy(to + n, path, path_len);
    n += path_len;
    to[n++] = 0x01; /* :authority */
    to[n++] = sizeof(host) - 1;
    memcpy(to + n, host, sizeof(host) - 1);
    return n + sizeof(host) - 1;
}

/* DONE at END_STREAM, BAD at RST_STREAM and GOAWAY. */
static inline enum answer_result h2_once_frame(struct h2_once *o)
{
    const unsigned char *head = o->head;
    o->owes_ack |= head[3] == 4 && !(head[4] & 1);
    if (head[3] == 3 || head[3] == 7)
        return ANSWER_BAD;
    return head[3] <= 1 && (head[4] & 1) ? ANSWER_DONE : ANSWER_MORE;
}

static inline enum answer_result h2_once_feed(struct h2_once *o, const unsigned char *p, size_t n)
{
    enum answer_result r = ANSWER_MORE;
    while (n > 0 && r == ANSWER_MORE) {
        size_t part;
        if (o->have < H2_HEAD_BYTES) {
            o->head[o->have++] = *p++;
            n--;
            if (o->have == H2_HEAD_BYTES)
                o->left = (size_t)o->head[0] << 16 | (size_t)o->head[1] << 8 | o->head[2];
        }
        part = o->have < H2_HEAD_BYTES ? 0 : n < o->left ? n : o->left;
        p += part;
        n -= part;
        o->left -= part;
        if (o->have == H2_HEAD_BYTES && o->left == 0) {
            o->have = 0;
            r = h2_once_frame(o);
        }
    }
    return r;
}

#endif
