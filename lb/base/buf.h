/* buf: a growing byte buffer of the control plane (messages, manuals, JSON). Never on the request path.
 * The holder owns it; growth that fails ends the process. */
#ifndef COX_BASE_BUF_H
#define COX_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf {
    char *p;
    size_t len, cap;
};

void buf_init(struct buf *b);
void buf_fini(struct buf *b);
/* Room for `more` bytes behind len; returns where they go. len does not move. */
char *buf_reserve(struct buf *b, size_t more);
void buf_put(struct buf *b, const void *data, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap);

static inline void buf_put_str(struct buf *b, struct str s)
{
    buf_put(b, s.p, s.n);
}

static inline struct str buf_str(const struct buf *b)
{
    return str_make(b->p, b->len);
}

#endif
