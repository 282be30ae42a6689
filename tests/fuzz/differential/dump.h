/* dump: what the dump programs share: cases from standard input, each a length (4 bytes, big-endian) and its
 * bytes; for each one line of JSON to standard output. Texts are hex, so that no escaping can hide a
 * difference.
 *
 *   { "messages": [ { "method", "target", "version", "fields": [[name, value]…], "body", "trailers", "done"
 * }… ], "end": "more" | "closed" | "upgrade" | "error", "why": … } */
#ifndef COX_TESTS_FUZZ_DUMP_H
#define COX_TESTS_FUZZ_DUMP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CASE_BYTES_MAX (1u << 20)

/* The next case, in a block of exactly its size that the caller frees; NULL at the end. */
static inline char *dump_next(size_t *out_n)
{
    unsigned char head[4];
    if (fread(head, 1, 4, stdin) != 4)
        return NULL;
    size_t n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    char *p = n <= CASE_BYTES_MAX ? malloc(n ? n : 1) : NULL;
    if (!p || fread(p, 1, n, stdin) != n)
        exit(2);
    *out_n = n;
    return p;
}

static inline void dump_hex(const char *p, size_t n)
{
    putchar('"');
    for (size_t i = 0; i < n; i++)
        printf("%02x", (unsigned char)p[i]);
    putchar('"');
}

#endif
