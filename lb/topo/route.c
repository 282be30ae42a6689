#include "topo/route.h"

#include <stdlib.h>

#include "base/panic.h"
#include "topo/cluster.h"
#include "topo/route_rules.h"

#define HOST_MAX   TOPOLOGY_ID_MAX
#define LABELS_MAX 128
/* Up to so many paths of a host, comparing them one by one is faster than hashing. */
#define FEW_PATHS 8
#define NO_ENTRY  UINT32_MAX

struct host_entry {
    struct str name; /* "shop.example.com", or ".example.com" for a wildcard */
    uint32_t hash;
    uint32_t first, count; /* places (host and path) in by_length */
    /* Only above FEW_PATHS: an open-addressed table of (by_length index + 1), and the lengths that occur. */
    uint32_t *paths; /* owned */
    uint32_t path_mask;
    uint16_t *lengths; /* owned; ascending */
    uint32_t length_count;
};

struct route_table {
    struct route *routes; /* owned; sorted by host and path */
    uint32_t count;
    uint32_t *by_length; /* owned; indexes of the first routes of each place, per host the longest first */
    struct host_entry *hosts; /* owned */
    uint32_t host_count;
    uint32_t *slots; /* owned; open-addressed table of (host index + 1) */
    uint32_t slot_mask;
    uint32_t any; /* entry of "*", or NO_ENTRY */
    bool has_wildcards;
    char *memory; /* owned: texts */
    /* Every snapshot that shares it counts here, while requests read what stands above. */
    struct {
        _Alignas(64) _Atomic uint32_t refs;
    } shared;
};

/* FNV-1a. Hosts are hashed from their end to their start, so the hash of every suffix comes for nothing. */
#define HASH_START 2166136261u

static inline uint32_t hash_byte(uint32_t h, char c)
{
    return (h ^ (unsigned char)c) * 16777619u;
}

static inline uint32_t hash_spread(uint32_t h)
{
    return h ^ h >> 15; /* the low bits alone choose the slot */
}

static uint32_t hash_host(struct str s)
{
    uint32_t h = HASH_START;
    for (size_t i = s.n; i-- > 0;)
        h = hash_byte(h, s.p[i]);
    return h;
}

bool route_is_valid(struct str host, struct str path)
{
    if (!host.n || host.n > HOST_MAX || !path.n || path.n > TOPOLOGY_PATH_MAX || path.p[0] != '/')
        return false;
    if (str_eq(host, STR("*")))
        return true;
    struct str plain = str_starts(host, STR("*.")) ? str_make(host.p + 2, host.n - 2) : host;
    return plain.n && str_find(plain, '*') < 0;
}

/* ---- building ---- */

static int by_host_and_path(const void *pa, const void *pb)
{
    const struct route *a = pa, *b = pb;
    int order = str_order(a->host, b->host);
    return order ? order : str_order(a->path, b->path);
}

static int in_order(const void *pa, const void *pb)
{
    const struct route *a = pa, *b = pb;
    int order = by_host_and_path(a, b);
    if (!order)
        order = route_rules_order(a->rules, b->rules);
    return order ? order : str_order(a->label, b->label);
}

static void lower(struct str s)
{
    char *p = (char *)(uintptr_t)s.p; /* our own copy */
    for (size_t i = 0; i < s.n; i++)
        p[i] = char_lower(p[i]);
}

static void copy_routes(struct route_table *t, const struct route *routes, uint32_t count)
{
    size_t bytes = 1;
    for (uint32_t i = 0; i < count; i++)
        bytes += routes[i].host.n + routes[i].path.n + routes[i].owner.n + routes[i].cluster_id.n +
                 routes[i].label.n;
    char *at = t->memory = must(malloc(bytes));
    t->routes = must(calloc(count + 1u, sizeof(*t->routes)));
    for (uint32_t i = 0; i < count; i++) {
        struct route *r = &t->routes[i];
        *r = routes[i];
        text_move(&r->host, &at);
        text_move(&r->path, &at);
        text_move(&r->owner, &at);
        text_move(&r->cluster_id, &at);
        text_move(&r->label, &at);
        lower(r->host);
        r->targets = NULL;
    }
    qsort(t->routes, count, sizeof(*t->routes), in_order);
    for (uint32_t i = 0; i < count; i++)
        if (!t->count || in_order(&t->routes[t->count - 1], &t->routes[i]) != 0)
            t->routes[t->count++] = t->routes[i];
    for (uint32_t i = 0; i < t->count; i++)
        route_rules_ref(t->routes[i].rules);
}

static void count_groups(struct route_table *t)
{
    for (uint32_t i = t->count; i-- > 0;) {
        bool is_last = i + 1 == t->count || by_host_and_path(&t->routes[i], &t->routes[i + 1]) != 0;
        t->routes[i].group = is_last ? 1 : t->routes[i + 1].group + 1;
    }
}

static uint32_t find_cluster(struct cluster *const *clusters, uint32_t count, struct str id)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (str_order(clusters[middle]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && str_eq(clusters[low]->id, id) ? low : UINT32_MAX;
}

static struct route_targets *find_targets(const struct route_rules *rules, struct cluster *const *clusters,
                                          uint32_t count)
{
    const struct option_list *split = &rules->options.clusters;
    struct route_targets *t = must(malloc(sizeof(*t) + split->count * sizeof(t->v[0])));
    *t = (struct route_targets){.count = (uint32_t)split->count};
    t->mirror_index = find_cluster(clusters, count, str_of(rules->options.mirror.cluster));
    for (uint32_t i = 0; i < t->count; i++) {
        const struct split_settings *s = SETTINGS_AT(*split, struct split_settings, i);
        t->v[i].cluster_index = find_cluster(clusters, count, str_of(s->cluster));
        t->total += t->v[i].cluster_index != UINT32_MAX ? (uint32_t)s->weight : 0;
        t->v[i].weight_sum = t->total;
    }
    return t;
}

static void find_clusters(struct route_table *t, struct cluster *const *clusters, uint32_t cluster_count)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct route *r = &t->routes[i];
        r->cluster_index =
            r->cluster_id.n ? find_cluster(clusters, cluster_count, r->cluster_id) : UINT32_MAX;
        if (r->rules)
            r->targets = find_targets(r->rules, clusters, cluster_count);
    }
}

static uint32_t mask_for(uint32_t count)
{
    uint32_t size = 4;
    while (size < count * 2)
        size *= 2;
    return size - 1;
}

static void put_slot(uint32_t *slots, uint32_t mask, uint32_t hash, uint32_t value)
{
    uint32_t at = hash_spread(hash) & mask;
    while (slots[at])
        at = (at + 1) & mask;
    slots[at] = value;
}

/* Routes of one host arrive in path order; ties of length do not matter, equal lengths never both match. */
static void sort_by_length(const struct route_table *t, struct host_entry *h, uint32_t end)
{
    uint32_t *index = &t->by_length[h->first], starts[TOPOLOGY_PATH_MAX + 2] = {0};
    for (uint32_t i = h->first; i < end; i += t->routes[i].group) {
        starts[TOPOLOGY_PATH_MAX - t->routes[i].path.n + 1]++;
        h->count++;
    }
    for (size_t n = 1; n < TOPOLOGY_PATH_MAX + 2; n++)
        starts[n] += starts[n - 1];
    for (uint32_t i = h->first; i < end; i += t->routes[i].group)
        index[starts[TOPOLOGY_PATH_MAX - t->routes[i].path.n]++] = i;
}

static void index_paths(const struct route_table *t, struct host_entry *h)
{
    h->path_mask = mask_for(h->count);
    h->paths = must(calloc((size_t)h->path_mask + 1, sizeof(*h->paths)));
    h->lengths = must(malloc(h->count * sizeof(*h->lengths)));
    for (uint32_t i = h->count; i-- > 0;) { /* shortest first */
        struct str path = t->routes[t->by_length[h->first + i]].path;
        put_slot(h->paths, h->path_mask, str_hash(path), h->first + i + 1);
        if (!h->length_count || h->lengths[h->length_count - 1] != path.n)
            h->lengths[h->length_count++] = (uint16_t)path.n;
    }
}

static void index_host(struct route_table *t, uint32_t first, uint32_t end)
{
    struct host_entry *h = &t->hosts[t->host_count++];
    struct str name = t->routes[first].host;
    *h = (struct host_entry){.first = first};
    sort_by_length(t, h, end);
    if (h->count > FEW_PATHS)
        index_paths(t, h);
    if (str_eq(name, STR("*"))) {
        t->any = t->host_count - 1;
        return;
    }
    bool is_wildcard = name.p[0] == '*';
    t->has_wildcards |= is_wildcard;
    h->name = is_wildcard ? str_make(name.p + 1, name.n - 1) : name;
    h->hash = hash_host(h->name);
    put_slot(t->slots, t->slot_mask, h->hash, t->host_count);
}

static void index_hosts(struct route_table *t)
{
    uint32_t hosts = 0;
    for (uint32_t i = 0; i < t->count; i++)
        hosts += !i || !str_eq(t->routes[i - 1].host, t->routes[i].host);
    t->hosts = must(calloc(hosts + 1u, sizeof(*t->hosts)));
    t->by_length = must(calloc(t->count + 1u, sizeof(*t->by_length)));
    t->slot_mask = mask_for(hosts);
    t->slots = must(calloc((size_t)t->slot_mask + 1, sizeof(*t->slots)));
    for (uint32_t first = 0, i = 1; i <= t->count; i++)
        if (i == t->count || !str_eq(t->routes[first].host, t->routes[i].host)) {
            index_host(t, first, i);
            first = i;
        }
}

struct route_table *route_table_build(const struct route *routes, uint32_t count,
                                      struct cluster *const *clusters, uint32_t cluster_count)
{
    struct route_table *t = must(aligned_alloc(_Alignof(struct route_table), sizeof(*t)));
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < count; i++)
        ASSERT(route_is_valid(routes[i].host, routes[i].path));
    atomic_init(&t->shared.refs, 1);
    t->any = NO_ENTRY;
    copy_routes(t, routes, count);
    count_groups(t);
    find_clusters(t, clusters, cluster_count);
    index_hosts(t);
    return t;
}

void route_table_ref(struct route_table *t)
{
    atomic_fetch_add_explicit(&t->shared.refs, 1, memory_order_relaxed);
}

void route_table_unref(struct route_table **tp)
{
    struct route_table *t = *tp;
    *tp = NULL;
    if (!t || atomic_fetch_sub_explicit(&t->shared.refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < t->host_count; i++) {
        free(t->hosts[i].paths);
        free(t->hosts[i].lengths);
    }
    for (uint32_t i = 0; i < t->count; i++) {
        route_rules_unref(&t->routes[i].rules);
        free(t->routes[i].targets);
    }
    free(t->routes);
    free(t->by_length);
    free(t->hosts);
    free(t->slots);
    free(t->memory);
    free(t);
}

const struct route *route_table_all(const struct route_table *t, uint32_t *out_count)
{
    *out_count = t->count;
    return t->routes;
}

bool route_same(const struct route *a, const struct route *b)
{
    return str_eq(a->host, b->host) && str_eq(a->path, b->path) && str_eq(a->owner, b->owner) &&
           str_eq(a->cluster_id, b->cluster_id) && str_eq(a->label, b->label) &&
           route_rules_same(a->rules, b->rules);
}

/* ---- looking up ---- */

/* The first of its group whose conditions are fulfilled. */
static const struct route *choose(const struct route *first, const struct route_asker *asker)
{
    for (uint32_t i = 0; i < first->group; i++) {
        const struct route_rules *rules = first[i].rules;
        if (!rules || !rules->rank || (asker && asker->fits(asker->ctx, rules)))
            return &first[i];
    }
    return NULL;
}

static inline const struct route *settle(const struct route *r, const struct route_asker *asker)
{
    return r->rules ? choose(r, asker) : r;
}

/* The first n bytes of the path end where a segment ends. */
static bool is_boundary(struct str path, size_t n)
{
    return n == path.n || path.p[n - 1] == '/' || path.p[n] == '/';
}

static const struct route *find_few(const struct route_table *t, const struct host_entry *h, struct str path,
                                    const struct route_asker *asker)
{
    for (uint32_t i = 0; i < h->count; i++) {
        const struct route *r = &t->routes[t->by_length[h->first + i]];
        if (str_starts(path, r->path) && is_boundary(path, r->path.n) && (r = settle(r, asker)))
            return r;
    }
    return NULL;
}

static const struct route *find_prefix(const struct route_table *t, const struct host_entry *h,
                                       struct str prefix, uint32_t hash)
{
    for (uint32_t at = hash_spread(hash) & h->path_mask; h->paths[at]; at = (at + 1) & h->path_mask) {
        const struct route *r = &t->routes[t->by_length[h->paths[at] - 1]];
        if (str_eq(r->path, prefix))
            return r;
    }
    return NULL;
}

static const struct route *find_many(const struct route_table *t, const struct host_entry *h, struct str path,
                                     const struct route_asker *asker)
{
    uint32_t hash = HASH_START, hashes[TOPOLOGY_PATH_MAX], tries = 0;
    uint16_t ends[TOPOLOGY_PATH_MAX];
    size_t at = 0;
    for (uint32_t i = 0; i < h->length_count && h->lengths[i] <= path.n; i++) {
        for (; at < h->lengths[i]; at++)
            hash = hash_byte(hash, path.p[at]);
        if (is_boundary(path, at)) {
            hashes[tries] = hash;
            ends[tries++] = (uint16_t)at;
        }
    }
    while (tries-- > 0) {
        const struct route *r = find_prefix(t, h, str_make(path.p, ends[tries]), hashes[tries]);
        if (r && (r = settle(r, asker)))
            return r;
    }
    return NULL;
}

static const struct route *find_path(const struct route_table *t, const struct host_entry *h, struct str path,
                                     const struct route_asker *asker)
{
    return h->paths ? find_many(t, h, path, asker) : find_few(t, h, path, asker);
}

static const struct host_entry *find_host(const struct route_table *t, struct str name, uint32_t hash)
{
    for (uint32_t at = hash_spread(hash) & t->slot_mask; t->slots[at]; at = (at + 1) & t->slot_mask) {
        const struct host_entry *h = &t->hosts[t->slots[at] - 1];
        if (h->hash == hash && str_eq(h->name, name))
            return h;
    }
    return NULL;
}

/* Without port and without the dot of the root: "example.com.:80" is "example.com". */
static struct str host_without_port(struct str host)
{
    size_t digits = 0;
    while (digits < host.n && host.p[host.n - 1 - digits] >= '0' && host.p[host.n - 1 - digits] <= '9')
        digits++;
    if (digits < host.n && host.p[host.n - 1 - digits] == ':')
        host.n -= digits + 1;
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    return host;
}

struct host_key {
    char text[HOST_MAX + 1];
    uint32_t hash;
    uint32_t dot_count;
    uint32_t dot_hashes[LABELS_MAX];
    uint8_t dots[LABELS_MAX]; /* from the last to the first */
};

static void host_key_make(struct host_key *k, struct str host, bool has_wildcards)
{
    uint32_t h = HASH_START;
    k->dot_count = 0;
    for (size_t i = host.n; i-- > 0;) {
        char c = char_lower(host.p[i]);
        k->text[i] = c;
        h = hash_byte(h, c);
        if (c == '.' && has_wildcards && i && k->dot_count < LABELS_MAX) {
            k->dots[k->dot_count] = (uint8_t)i;
            k->dot_hashes[k->dot_count++] = h;
        }
    }
    k->hash = h;
}

static const struct route *find_named(const struct route_table *t, struct str host, struct str path,
                                      const struct route_asker *asker)
{
    struct host_key k;
    const struct route *r;
    host_key_make(&k, host, t->has_wildcards);
    /* A name with a dot in front is ours, for wildcards: a client that sends one meets "*" alone. */
    const struct host_entry *h = k.text[0] == '.' ? NULL : find_host(t, str_make(k.text, host.n), k.hash);
    if (h && (r = find_path(t, h, path, asker)))
        return r;
    for (uint32_t i = k.dot_count; i-- > 0;) { /* the first dot has the longest suffix */
        h = find_host(t, str_make(k.text + k.dots[i], host.n - k.dots[i]), k.dot_hashes[i]);
        if (h && (r = find_path(t, h, path, asker)))
            return r;
    }
    return NULL;
}

/* Any host but "*". */
static bool has_names(const struct route_table *t)
{
    return t->host_count > (t->any != NO_ENTRY);
}

const struct route *route_table_find(const struct route_table *t, struct str host, struct str path,
                                     const struct route_asker *asker)
{
    const struct route *r = NULL;
    host = host_without_port(host);
    if (!path.n || path.p[0] != '/')
        path = STR("/"); /* "OPTIONS *" and the empty path of CONNECT belong to the whole host */
    if (host.n && host.n <= HOST_MAX && has_names(t))
        r = find_named(t, host, path, asker);
    if (!r && t->any != NO_ENTRY)
        r = find_path(t, &t->hosts[t->any], path, asker);
    return r;
}
