/* forwarded: who asked, told to the server (X-Forwarded-*, RFC 7239), and read from what trusted proxies tell
 * us.
 *
 * An untrusted peer's own claims are dropped and replaced; a trusted peer's are kept, and we add ourselves
 * (P4). The writers append field lines and mark the fields they replace with FIELD_FLAG_DROP, so they must
 * run before h1_write_fields. All values that we put in are checked once more (H36). Pure. */
#ifndef COX_HTTP_FORWARDED_H
#define COX_HTTP_FORWARDED_H

#include <stdbool.h>
#include <stdint.h>

#include "http/h1_write.h"
#include "http/message.h"

/* Most addresses of X-Forwarded-For that are looked at, from the right. */
#define FORWARDED_HOPS_MAX 32

struct forwarded_info {
    struct str client_ip; /* address of the peer, as text without brackets or port; empty: unknown */
    bool client_is_v6;
    struct str proto; /* "http" or "https" */
    struct str host;  /* authority as the client sent it */
    uint16_t port;    /* that the client connected to */
    bool trusted_peer;
};

/* Drops what an untrusted peer says about who it is: X-Forwarded-*, Forwarded, X-Real-IP. Nothing if trusted.
 */
void forwarded_drop_forged(struct message *m, bool trusted_peer);

/* "X-Forwarded-For: what a trusted peer said, client_ip" in one line. */
void forwarded_write_for(struct message *m, struct writer *w, const struct forwarded_info *info);
/* X-Forwarded-Proto, -Host and -Port: ours, unless a trusted peer said them. */
void forwarded_write_rest(struct message *m, struct writer *w, const struct forwarded_info *info);
/* "Forwarded: what a trusted peer said, for=...;host=...;proto=..." (RFC 7239 4). */
void forwarded_write_rfc7239(struct message *m, struct writer *w, const struct forwarded_info *info);
/* "Via: 1.1 name" (RFC 9110 7.6.3), a further line behind those that are there. */
void forwarded_write_via(const struct message *m, struct writer *w, struct str name);

/* Is this address one of ours? */
typedef bool is_trusted_fn(void *arg, struct str ip);

/* The client's address: the rightmost one of X-Forwarded-For that is not trusted, if the peer is. Ends at the
 * first element that is no address, and after FORWARDED_HOPS_MAX. Borrowed from m or peer_ip; no port, no
 * brackets. Run it before anything is dropped. */
struct str forwarded_client(const struct message *m, struct str peer_ip, is_trusted_fn *is_trusted,
                            void *arg);

#endif
