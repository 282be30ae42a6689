#include "proxy/intro.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "proxy/proxy.h"

static void reclaim(struct parked *p)
{
    struct intro *i = CONTAINER_OF(p, struct intro, parked);
    i->magic = 0;
    pool_give(&i->pw->intro_pool, i);
}

/* The descriptor lives on, or is -1. */
static void dispose(struct intro *i)
{
    deadline_stop(&i->pw->w.wheel, &i->deadline);
    list_remove(&i->node);
    pworker_count_session(i->pw, -1);
    worker_park(&i->pw->w, &i->parked, reclaim);
}

static void close_intro(struct intro *i)
{
    conn_close(&i->conn);
    dispose(i);
    acceptors_resume(i->pw);
}

/* Counted with the requests that never had a cluster. */
static void refuse(struct pworker *pw, const struct listener_settings *l, const struct addr *peer,
                   enum reason reason, const char *why)
{
    char text[ADDR_TEXT_BYTES];
    ledger_reason(&pw->ledger, LEDGER_NO_SLOT, reason);
    (void)addr_print_ip(peer, text);
    LOG_LIMITED(LOG_WARN, 1, "listener %s: connection from %s closed: %s", l->name, text, why);
}

static void on_timeout(struct deadline *d)
{
    struct intro *i = CONTAINER_OF(d, struct intro, deadline);
    CHECK_MAGIC(i, INTRO_MAGIC);
    refuse(i->pw, i->listener, &i->peer, REASON_PROXY_HEADER, "its PROXY header took too long");
    close_intro(i);
}

/* The header's bytes are in the worker's scratch buffer, and its texts point there: the session copies them.
 */
static void begin_session(struct intro *i, const struct proxyproto *said)
{
    struct pworker *pw = i->pw;
    int fd = conn_release(&i->conn);
    dispose(i);
    session_open(pw, i->listener, fd, &i->peer, said);
    cork_flush(&pw->w);
}

static void look(struct intro *i)
{
    char *buf = i->pw->w.scratch;
    size_t max = i->listener->max_proxy_header_bytes;
    struct proxyproto said;
    const char *why;
    ssize_t have = conn_peek_bytes(&i->conn, buf, max);
    if (have == CONN_AGAIN)
        return;
    if (have <= 0) {
        close_intro(i); /* gone again: a probe of a port, not worth a line */
        return;
    }
    int n = proxyproto_parse(buf, (size_t)have, max, &said, &why);
    if (n == 0 && !i->conn.peer_done)
        return;
    if (n <= 0 || !conn_skip_bytes(&i->conn, buf, (size_t)n)) {
        refuse(i->pw, i->listener, &i->peer, REASON_PROXY_HEADER, n ? why : "closed within its PROXY header");
        close_intro(i);
        return;
    }
    begin_session(i, &said);
}

static void on_ready(struct conn *c)
{
    struct intro *i = CONTAINER_OF(c, struct intro, conn);
    CHECK_MAGIC(i, INTRO_MAGIC);
    look(i);
}

static bool may_introduce(const struct listener_settings *l, const struct addr *peer)
{
    uint8_t ip[16];
    return !addr_ip16(peer, ip) ||
           cidr_list_has(&l->proxy_from, ip); /* a unix socket has permissions of its own */
}

void intro_open(struct pworker *pw, const struct listener_settings *listener, int fd, const struct addr *peer)
{
    if (!may_introduce(listener, peer)) {
        refuse(pw, listener, peer, REASON_PROXY_PEER, "not in proxy_protocol_from");
        close(fd);
        return;
    }
    struct intro *i = pool_take(&pw->intro_pool);
    if (!i) {
        close(fd);
        return;
    }
    memset(i, 0, sizeof *i);
    i->magic = INTRO_MAGIC;
    i->pw = pw;
    i->listener = listener;
    i->peer = *peer;
    if (!conn_open(&i->conn, &pw->w, fd, on_ready)) {
        pool_give(&pw->intro_pool, i);
        return;
    }
    deadline_init(&i->deadline, on_timeout);
    worker_deadline(&pw->w, &i->deadline, listener->client_header_timeout_ms);
    list_push(&pw->intros, &i->node);
    pworker_count_session(pw, 1);
}

void intro_close_all(struct pworker *pw)
{
    while (!list_is_empty(&pw->intros))
        close_intro(CONTAINER_OF(pw->intros.next, struct intro, node));
}

bool intro_keep(const struct proxyproto *said, struct session_proxied **out_proxied)
{
    const struct str *from[] = {&said->unique_id,   &said->authority,  &said->alpn,
                                &said->tls_version, &said->tls_cipher, &said->tls_name};
    size_t all = 0;
    for (size_t k = 0; k < sizeof from / sizeof *from; k++)
        all += from[k]->n;
    *out_proxied = NULL;
    if (!all && !said->has_tls)
        return true;
    struct session_proxied *p = calloc(1, sizeof *p + all);
    if (!p)
        return false;
    struct str *to[] = {&p->unique_id,   &p->authority,  &p->alpn,
                        &p->tls_version, &p->tls_cipher, &p->tls_name};
    char *at = (char *)(p + 1);
    for (size_t k = 0; k < sizeof from / sizeof *from; k++) {
        if (from[k]->n)
            memcpy(at, from[k]->p, from[k]->n);
        *to[k] = str_make(at, from[k]->n);
        at += from[k]->n;
    }
    p->tls_verify = said->tls_verify;
    p->tls_client = said->tls_client;
    p->has_tls = said->has_tls;
    *out_proxied = p;
    return true;
}
