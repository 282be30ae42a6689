/* route_rules: what a route asks beyond host and path, and what it does with a request, ready for use.
 *
 * Built once from its options (conf/settings_route.h), immutable and counted: route tables that are made anew
 * because clusters come and go share them. Plain routes have none. Any thread. */
#ifndef COX_TOPO_ROUTE_RULES_H
#define COX_TOPO_ROUTE_RULES_H

#include <stdatomic.h>

#include "base/buf.h"
#include "conf/condition.h"
#include "conf/settings.h"
#include "conf/template.h"

enum field_change_kind { FIELD_REMOVE, FIELD_SET, FIELD_ADD };

struct field_change {
    uint8_t kind; /* enum field_change_kind */
    struct str name;
    struct template value; /* owned; of SET and ADD */
};

struct field_changes {
    struct field_change *v; /* owned; removals, then sets, then adds */
    uint32_t count;
};

struct route_rules {
    _Atomic uint32_t refs;
    struct route_options options; /* owned; all texts below lie in it */
    struct buf wire;              /* owned; the options as they travel */
    struct buf match;             /* owned; the conditions as text, empty when there is none */
    struct condition *conditions; /* owned */
    uint32_t condition_count;     /* of `conditions` */
    uint32_t rank;                /* how many there are, methods counting as one; 0: always fits */
    struct template location;     /* of a redirect */
    struct field_changes request, answer;
    uint8_t split_key; /* enum hash_key, with options.split_on */
    struct str split_name;
    struct str rewrite_prefix; /* without a slash at its end; p NULL: none */
    struct str body;           /* of a fixed reply */
};

/* A copy of the options, settled and checked; one reference. NULL, and why in *why (may be NULL), when they
 * are wrong: they came from somewhere else than the config file. */
struct route_rules *route_rules_build(const struct route_options *options, bool has_cluster, struct buf *why)
    __attribute__((warn_unused_result));
/* Whether the options are those of a plain route, which needs no rules. */
bool route_options_are_plain(const struct route_options *options);
void route_rules_ref(struct route_rules *r);
void route_rules_unref(struct route_rules **r);
/* The one that is tried first comes first; NULL is a plain route. */
int route_rules_order(const struct route_rules *a, const struct route_rules *b);
/* The same in every respect; both may be NULL. */
bool route_rules_same(const struct route_rules *a, const struct route_rules *b);
/* The conditions as text, empty for NULL. */
struct str route_rules_match(const struct route_rules *r);
/* What is done with a request, for people: "a 90, b 10", "redirect 308 to https", "reply 410"; `cluster` when
 * there is nothing else to say. */
void route_rules_target(const struct route_rules *r, struct str cluster, struct buf *out);

#endif
