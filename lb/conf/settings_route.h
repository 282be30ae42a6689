/* settings_route: what a route asks of a request beyond host and path, and what it does with one. Part of
 * settings.h, and what travels of a route in a topology. */
#ifndef COX_CONF_SETTINGS_ROUTE_H
#define COX_CONF_SETTINGS_ROUTE_H

#include "conf/options.h"

/* One of the clusters that a route divides its requests between. */
struct split_settings {
    char *cluster; /* its id; "ID=WEIGHT" until route_options_settle has taken it apart */
    int64_t weight;
};

struct redirect_settings {
    char *location; /* template; NULL: no redirect, or to https */
    int64_t code;   /* 301, 302, 303, 307, 308 */
    bool https;     /* the same URI over TLS; requests that came over TLS go on to the cluster */
    int64_t port;   /* of https; 443 is left out of the URI */
};

struct reply_settings {
    int64_t status; /* 0: none */
    char *body;     /* may hold any byte but NUL */
    char *file;     /* read into body by settings_load, NULL afterwards */
    char *content_type;
};

/* Changes of a header section, as lines "Name: template" and names. */
struct field_settings {
    struct strings set, add, remove;
};

struct mirror_settings {
    char *cluster;           /* NULL: no copies */
    double percent;          /* of the requests */
    uint64_t max_body_bytes; /* a request with a larger body is not copied */
    int64_t max_in_flight;   /* copies to this cluster in each worker; beyond it none is made */
};

struct route_options {
    int64_t priority;
    bool wake;                                       /* its requests start members of a cluster that has none */
    char *guard;                                     /* its name; NULL: none */
    struct strings methods, headers, query, cookies; /* conditions, see conf/condition.h */
    struct option_list clusters;                     /* struct split_settings */
    char *split_on;                                  /* NULL: at random */
    struct redirect_settings redirect;
    struct reply_settings reply;
    char *rewrite_prefix; /* NULL: the path goes on as it is */
    bool rewrite_answers; /* with it: Location and cookies are put as the client sees them */
    struct field_settings request_headers, response_headers;
    struct mirror_settings mirror;
};

extern const struct option_table route_options_table;

/* Largest body of a fixed reply. */
#define ROUTE_REPLY_MAX (64u << 10)
/* Most conditions, and most changes of one header section, of one route. */
#define ROUTE_WORDS_MAX 64u
/* A status without a body (RFC 9110 15.3.5, 15.3.6, 15.4.5). */
#define ROUTE_IS_BODILESS(status) ((status) == 204 || (status) == 205 || (status) == 304)

/* Takes "ID=WEIGHT" apart. Whoever makes options with options_set calls it; calling it twice is harmless. */
void route_options_settle(struct route_options *o);
static inline bool route_is_redirect(const struct route_options *o)
{
    return o->redirect.location || o->redirect.https;
}
/* Told of everything that is wrong: `at` is the member. */
typedef void route_complain_fn(void *ctx, const void *at, const char *what);
/* Checks what a row alone cannot say. has_cluster: the route names a cluster beside its options. False when
 * something was wrong. */
bool route_options_check(const struct route_options *o, bool has_cluster, route_complain_fn *complain,
                         void *ctx) __attribute__((warn_unused_result));

#endif
