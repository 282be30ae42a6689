/* intro: a client connection whose PROXY header has not arrived yet (listener.proxy_protocol).
 *
 *   accept ─► intro: peeks until the header is whole ─► takes exactly its bytes ─► session
 *
 * So the session, TLS and HTTP begin behind it and never see it, and know the client's address from their
 * first moment. Peers outside listener.proxy_from are closed at once; whoever sends something else, or takes
 * longer than client_header_timeout, is closed without a word: no protocol is spoken yet (P1, P2). Owned by
 * its worker; counts as one of its client connections. Nothing is buffered: the bytes wait in the socket. */
#ifndef COX_PROXY_INTRO_H
#define COX_PROXY_INTRO_H

#include "conf/settings.h"
#include "net/proxyproto.h"
#include "proxy/session.h"

#define INTRO_MAGIC 0x696e7472u

struct intro {
    struct parked parked;
    uint32_t magic;
    struct conn conn;
    struct deadline deadline;
    struct list node; /* in pworker.intros */
    struct pworker *pw;
    const struct listener_settings *listener;
    struct addr peer;
};

/* Takes over fd. */
void intro_open(struct pworker *pw, const struct listener_settings *listener, int fd,
                const struct addr *peer);
/* The end of a drain. */
void intro_close_all(struct pworker *pw);
/* Copies what the header says beside the addresses; *out_proxied stays NULL when it says nothing. The caller
 * frees. False when memory is out. */
bool intro_keep(const struct proxyproto *said, struct session_proxied **out_proxied)
    __attribute__((warn_unused_result));

#endif
