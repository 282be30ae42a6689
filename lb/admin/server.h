/* server: a small HTTP/1.1 server on a control loop, for the few clients of an admin listener.
 *
 *   listening socket ──accept──► conn: READ head and body ─► answer() ─► WRITE ─┬─► READ the next one
 * (keep-alive) └─ malformed, too large, too late: error ────┴─► LINGER ─► closed
 *
 * Owned by whoever made it, on one thread. An answer is made whole in memory by the owner's function and then
 * sent as the client takes it; or its body piece by piece, each in a turn of the loop of its own and when the
 * one before has been taken (chunked; until the end of the connection for HTTP/1.0). Bounded:
 * SERVER_CONNS_MAX connections (an idle one makes room for a new one), SERVER_INPUT_MAX bytes of head and
 * body, SERVER_BUFFERED_MAX bytes of answers that clients have not taken (503 beyond), and a time-out for
 * every state. Strict parsing is lb/http's. */
#ifndef COX_ADMIN_SERVER_H
#define COX_ADMIN_SERVER_H

#include "base/buf.h"
#include "base/list.h"
#include "http/h1_parse.h"
#include "run/loop.h"

#define SERVER_MAGIC        0x61646d73u
#define SERVER_CONNS_MAX    64
#define SERVER_INPUT_MAX    16384
#define SERVER_BODY_MAX     4096
#define SERVER_FIELDS_MAX   64
#define SERVER_BUFFERED_MAX (256u << 20)
#define SERVER_READ_MS      10000 /* from the first byte to the last of a request */
#define SERVER_IDLE_MS      30000
#define SERVER_WRITE_MS     30000 /* without a byte taken */
#define SERVER_LINGER_MS    2000

struct server_request {
    const struct message *head; /* borrowed for the call, as all texts */
    struct str path, query;     /* as received; query without '?' */
    struct str body;
};

struct server_answer {
    uint16_t status;   /* 200 */
    const char *type;  /* Content-Type; static */
    struct buf body;   /* filled by the owner's function */
    struct buf fields; /* further field lines, each ending in CRLF; checked text only */
    /* NULL, or what makes the body, which is then left empty: called until it returns false. `ended` is
     * called once in any case, all made or not. */
    bool (*more)(void *ctx, struct buf *out);
    void (*ended)(void *ctx);
    void *ctx;
};

typedef void server_fn(void *ctx, const struct server_request *r, struct server_answer *out);

struct server {
    uint32_t magic;
    struct loop *loop; /* borrowed */
    int fd;            /* borrowed: the listening socket */
    struct watch accept;
    struct timer sweep;
    struct list conns;
    int count;
    size_t buffered;
    server_fn *answer;
    void *ctx;
};

void server_init(struct server *s, struct loop *loop, int fd, server_fn *answer, void *ctx);
/* Closes all connections. */
void server_fini(struct server *s);

/* Value of a field by its name in any case; of several the first. STR_NULL: not there. */
struct str server_field(const struct server_request *r, const char *name);

#endif
