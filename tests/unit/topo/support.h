/* support: short ways to fill a model and to compare topologies, for the tests of this folder. */
#ifndef TOPO_SUPPORT_H
#define TOPO_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/ledger.h"
#include "base/panic.h"
#include "topo/balance.h"
#include "topo/cluster.h"
#include "topo/model.h"
#include "topo/route.h"
#include "topo/route_rules.h"

#define OWNER STR("test")

static inline struct cluster_options default_options(int balance)
{
    struct cluster_options options;
    options_init(&cluster_options_table, &options);
    options.balance = balance;
    return options;
}

static inline void free_options(struct cluster_options *options)
{
    options_free(&cluster_options_table, options);
}

static inline bool put_cluster(struct model *m, const char *id)
{
    struct cluster_options options = default_options(BALANCE_P2C);
    bool is_put = model_put_cluster(m, OWNER, str_of(id), &options, NULL);
    free_options(&options);
    return is_put;
}

/* A ready endpoint of weight 100 whose id is its address. */
static inline struct endpoint_draft make_endpoint(const char *address)
{
    struct endpoint_draft e = {.weight = 100, .readiness = ENDPOINT_READY, .id = str_of(address)};
    ASSERT(addr_parse(e.id, &e.addr));
    return e;
}

static inline bool put_endpoint(struct model *m, const char *cluster, const char *address)
{
    struct endpoint_draft e = make_endpoint(address);
    return model_put_endpoint(m, OWNER, str_of(cluster), &e, NULL);
}

/* The bytes of a topology: equal topologies have equal bytes. */
static inline void assert_same_topology(const struct topology *a, const struct topology *b)
{
    struct buf x, y;
    buf_init(&x);
    buf_init(&y);
    topology_encode(a, &x);
    topology_encode(b, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.p, y.p, x.len);
    buf_fini(&x);
    buf_fini(&y);
}

#endif
