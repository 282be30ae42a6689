/* resolve: host names to addresses, asynchronously: the one door to c-ares. It reads resolv.conf and hosts as
 * the C library does, asks for IPv4 and IPv6, over TCP where an answer is too long, and says how long the
 * answer may be believed.
 *
 * Owned by the orchestrator, on its thread. Every lookup ends with one call of its function, at the latest
 * when the resolver is destroyed (then with RESOLVE_FAILED, and nothing may be asked again). */
#ifndef COX_ORCH_RESOLVE_H
#define COX_ORCH_RESOLVE_H

#include "conf/settings.h"
#include "net/addr.h"
#include "run/loop.h"

struct resolver;

enum resolve_result {
    RESOLVE_OK,     /* at least one address */
    RESOLVE_NONE,   /* its server says that there is none */
    RESOLVE_FAILED, /* nobody could say */
};

struct resolve_answer {
    enum resolve_result result;
    const struct addr *addrs; /* sorted, each once, with the port asked for; borrowed for the call */
    size_t count;
    bool is_cut;      /* there were more than the limit */
    uint32_t ttl_s;   /* with RESOLVE_OK: the shortest of the answer, 0 if it came from the hosts file */
    const char *text; /* otherwise: why, for the log */
};

typedef void resolve_fn(void *ctx, const struct resolve_answer *answer);

/* NULL, with the reason in the log: no memory, or servers that c-ares does not take. */
struct resolver *resolver_create(struct loop *loop, const struct resolver_settings *s);
void resolver_destroy(struct resolver **r);
/* May call fn before it returns. host: NUL-terminated. */
void resolver_ask(struct resolver *r, const char *host, uint16_t port, resolve_fn *fn, void *ctx);

#endif
