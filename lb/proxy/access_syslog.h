/* access_syslog: the access log to a syslog server, a message a line.
 *
 *   worker ─► access_buffer by mail ─► access_syslog ─► socket
 *                 ▲                       │ the server is busy: again after RETRY_MS
 *                 └───────────────────────┘ sent, or given up after GIVE_UP_MS
 *
 * Buffers wait here while the server takes nothing; meanwhile workers find none free and drop their lines, so
 * nothing grows and nobody waits. Owned by the proxy; its control thread. */
#ifndef COX_PROXY_ACCESS_SYSLOG_H
#define COX_PROXY_ACCESS_SYSLOG_H

#include "base/syslog.h"
#include "run/loop.h"

struct access_buffer;
struct access_syslog;

/* target is borrowed. NULL when memory is out. */
struct access_syslog *access_syslog_create(const struct syslog *target, struct loop *loop);
/* What still waits has a last moment, and is dropped then; all buffers are given back. NULL is fine. */
void access_syslog_destroy(struct access_syslog **s);
/* Takes the buffer; it goes back to its worker with what was lost in b->lost. */
void access_syslog_take(struct access_syslog *s, struct access_buffer *b);

/* access.c: back to its worker, which counts b->lost. */
void access_give_back(struct access_buffer *b);
/* Lines from this byte on. */
uint64_t access_count_lines(const struct access_buffer *b, size_t from);

#endif
