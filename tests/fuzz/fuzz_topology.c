/* Bytes that claim to be a topology, or a difference from one. Whatever is accepted must write and read back
 * the same, and must be fit to be served from. */
#include <stdlib.h>

#include "base/panic.h"
#include "topo/balance.h"
#include "topo/cluster.h"
#include "topo/model.h"
#include "topo/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Epoch 1, number 1: two clusters, two routes, one member. The committed differences start from it. */
static struct topology *make_base(void)
{
    struct cluster_options options;
    struct model *m = model_create(1, 8, 8);
    struct endpoint_draft e = {.weight = 100, .readiness = ENDPOINT_READY, .id = STR("127.0.0.1:80")};
    bool done = addr_parse(e.id, &e.addr);
    options_init(&cluster_options_table, &options);
    done = done && model_put_cluster(m, STR("config"), STR("a"), &options, NULL) &&
           model_put_cluster(m, STR("config"), STR("b"), &options, NULL) &&
           model_put_endpoint(m, STR("config"), STR("a"), &e, NULL) &&
           model_put_route(m, STR("config"), STR("*"), STR("/"), STR("a"), NULL) &&
           model_put_route(m, STR("config"), STR("*.x"), STR("/b"), STR("b"), NULL);
    ASSERT(done);
    model_put_member(m, &(struct member_info){.id = STR("m"), .state = MEMBER_ACTIVE});
    struct topology *t = model_publish(m);
    options_free(&cluster_options_table, &options);
    model_destroy(&m);
    return t;
}

static void serve_from(const struct topology *t)
{
    uint64_t random = 7;
    uint32_t cursor = 0;
    bool is_known;
    (void)topology_route(t, STR("a.b.x:80"), STR("/b/c"), &is_known);
    for (uint32_t i = 0; i < t->cluster_count; i++) {
        struct balance_request r = {.random = &random, .cursor = &cursor};
        int at = balance_pick(t->clusters[i], &r);
        ASSERT(at >= -1 && at < (int64_t)t->clusters[i]->endpoint_count);
        ASSERT(topology_cluster(t, t->clusters[i]->id) == t->clusters[i]);
    }
}

static void check(struct topology *t)
{
    struct buf once, twice;
    if (!t)
        return;
    serve_from(t);
    buf_init(&once);
    buf_init(&twice);
    topology_encode(t, &once);
    struct topology *copy = topology_decode(buf_str(&once), NULL);
    ASSERT(copy != NULL);
    topology_encode(copy, &twice);
    ASSERT(str_eq(buf_str(&once), buf_str(&twice)));
    buf_fini(&once);
    buf_fini(&twice);
    topology_unref(&copy);
    topology_unref(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_make((const char *)data, size);
    struct topology *base = make_base();
    check(topology_decode(bytes, NULL));
    check(topology_diff_apply(base, bytes, NULL));
    topology_unref(&base);
    return 0;
}
