#include "topo/topology_wire.h"

#include <stdlib.h>

#include "base/ledger.h"
#include "base/panic.h"
#include "topo/cluster.h"
#include "topo/route.h"
#include "topo/route_rules.h"
#include "topo/snapshot.h"
#include "topo/wire.h"

/* ---- writing ---- */

static void put_addr(struct buf *out, const struct addr *a)
{
    /* The textual form is the one that every build understands; an abstract unix name has no NUL inside. */
    char text[ADDR_TEXT_BYTES];
    size_t n = addr_print(a, text);
    wire_put_text(out, ENDPOINT_ADDR, str_make(text, n));
}

static void put_endpoint(struct buf *out, const struct endpoint *e)
{
    char state[5] = {(char)e->member_state, (char)e->readiness, (char)e->health, (char)e->admin_drain,
                     (char)e->priority};
    size_t begun = wire_begin(out, CLUSTER_ENDPOINT);
    wire_put_u32(out, ENDPOINT_SLOT, e->slot);
    wire_put_u32(out, ENDPOINT_WEIGHT, e->weight);
    put_addr(out, e->addr);
    wire_put_text(out, ENDPOINT_STATE, str_make(state, sizeof(state)));
    if (e->since_ns)
        wire_put_u64(out, ENDPOINT_SINCE, e->since_ns);
    for (unsigned n = 0; n < ENDPOINT_TEXTS; n++)
        if (e->text_bytes[n])
            wire_put_text(out, ENDPOINT_TEXT + n, endpoint_text(e, n));
    wire_end(out, begun);
}

void wire_put_cluster(struct buf *out, const struct cluster *c)
{
    size_t begun = wire_begin(out, WIRE_CLUSTER);
    wire_put_text(out, CLUSTER_ID, c->id);
    wire_put_text(out, CLUSTER_OWNER, c->owner);
    wire_put_u32(out, CLUSTER_SLOT, c->slot);
    size_t options = wire_begin(out, CLUSTER_OPTIONS);
    options_encode(&cluster_options_table, &c->options, out);
    wire_end(out, options);
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        put_endpoint(out, &c->endpoints[i]);
    wire_end(out, begun);
}

static void put_route(struct buf *out, const struct route *r)
{
    size_t begun = wire_begin(out, WIRE_ROUTE);
    wire_put_text(out, ROUTE_HOST, r->host);
    wire_put_text(out, ROUTE_PATH, r->path);
    wire_put_text(out, ROUTE_OWNER, r->owner);
    if (r->cluster_id.n)
        wire_put_text(out, ROUTE_CLUSTER, r->cluster_id);
    if (r->label.n)
        wire_put_text(out, ROUTE_LABEL, r->label);
    if (r->rules)
        wire_put_text(out, ROUTE_RULES, r->rules->wire.len ? buf_str(&r->rules->wire) : STR(""));
    wire_end(out, begun);
}

/* Those with rules, or those without. */
static uint32_t put_some(struct buf *out, const struct route_table *t, unsigned tag, bool ruled)
{
    uint32_t count, put = 0;
    const struct route *r = route_table_all(t, &count);
    size_t all = wire_begin(out, tag);
    for (uint32_t i = 0; i < count; i++)
        if ((r[i].rules || r[i].label.n) == ruled) {
            put_route(out, &r[i]);
            put++;
        }
    wire_end(out, all);
    return put;
}

void wire_put_routes(struct buf *out, const struct route_table *t)
{
    put_some(out, t, WIRE_ROUTES, false);
    size_t before = out->len;
    if (!put_some(out, t, WIRE_RULED_ROUTES, true))
        out->len = before;
}

void wire_put_members(struct buf *out, const struct topology *t)
{
    size_t all = wire_begin(out, WIRE_MEMBERS);
    for (uint32_t i = 0; i < t->member_count; i++) {
        const struct member_info *m = &t->members[i];
        size_t begun = wire_begin(out, WIRE_MEMBER);
        wire_put_u32(out, MEMBER_STATE, m->state);
        wire_put_u64(out, MEMBER_SINCE, m->since_wall_ns);
        wire_put_u64(out, MEMBER_PID, (uint64_t)m->pid);
        for (unsigned n = 0; n < MEMBER_TEXTS; n++)
            if (member_text_of(m, n).n)
                wire_put_text(out, MEMBER_TEXT + n, member_text_of(m, n));
        wire_end(out, begun);
    }
    wire_end(out, all);
}

/* About what a topology takes, so that its buffer is not copied again and again while it grows. */
static size_t size_guess(const struct topology *t)
{
    enum { CLUSTER_GUESS = 1024, ENDPOINT_GUESS = 96, ROUTE_GUESS = 96, MEMBER_GUESS = 160 };
    size_t endpoints = 0;
    uint32_t routes;
    (void)route_table_all(t->routes, &routes);
    for (uint32_t i = 0; i < t->cluster_count; i++)
        endpoints += t->clusters[i]->endpoint_count;
    return CLUSTER_GUESS * (t->cluster_count + 1u) + ENDPOINT_GUESS * endpoints +
           (size_t)ROUTE_GUESS * routes + (size_t)MEMBER_GUESS * t->member_count;
}

void topology_encode(const struct topology *t, struct buf *out)
{
    (void)buf_reserve(out, size_guess(t));
    wire_put_head(out, &(struct wire_head){.kind = WIRE_WHOLE,
                                           .epoch = t->epoch,
                                           .number = t->number,
                                           .cluster_slots = t->cluster_slots,
                                           .endpoint_slots = t->endpoint_slots});
    for (uint32_t i = 0; i < t->cluster_count; i++)
        wire_put_cluster(out, t->clusters[i]);
    wire_put_routes(out, t->routes);
    wire_put_members(out, t);
}

/* ---- reading ---- */

/* Room for one more of an array that doubles; NULL above `max`. */
static void *one_more(void *array, uint32_t count, uint32_t max, size_t bytes)
{
    if (count >= max)
        return NULL;
    if (count & (count - 1))
        return array; /* not yet at a power of two: there is room */
    return must(realloc(array, (count ? (size_t)count * 2 : 1) * bytes));
}

static bool is_id(struct str s)
{
    return s.n && s.n <= TOPOLOGY_ID_MAX;
}

static const char *read_endpoint_state(struct str value, struct endpoint_draft *e)
{
    if (value.n < 5)
        return "an endpoint's state is cut short";
    e->member_state = (uint8_t)value.p[0];
    e->readiness = (uint8_t)value.p[1];
    e->health = (uint8_t)value.p[2];
    e->admin_drain = (uint8_t)value.p[3];
    e->priority = (uint8_t)value.p[4];
    bool is_known = e->member_state <= MEMBER_SUSPENDED && e->readiness <= ENDPOINT_TERMINATING &&
                    e->health <= HEALTH_DOWN && e->admin_drain <= 1;
    return is_known ? NULL : "an endpoint's state is out of range";
}

static const char *read_endpoint_field(unsigned tag, struct str value, struct endpoint_draft *e)
{
    switch (tag) {
    case ENDPOINT_SLOT:
        return wire_u32(value, &e->slot) ? NULL : "an endpoint's slot is no number";
    case ENDPOINT_WEIGHT:
        return wire_u32(value, &e->weight) && e->weight <= TOPOLOGY_WEIGHT_MAX
                   ? NULL
                   : "an endpoint's weight is wrong";
    case ENDPOINT_ADDR:
        return addr_parse(value, &e->addr) ? NULL : "an endpoint's address is none";
    case ENDPOINT_STATE:
        return read_endpoint_state(value, e);
    case ENDPOINT_SINCE:
        return wire_u64(value, &e->since_ns) ? NULL : "an endpoint's time is no number";
    default:
        if (tag < ENDPOINT_TEXT || tag >= (int)ENDPOINT_TEXT + (int)ENDPOINT_TEXTS)
            return NULL;
        *draft_text(e, tag - ENDPOINT_TEXT) = value;
        return value.n <= TOPOLOGY_ID_MAX ? NULL : "a text of an endpoint is too long";
    }
}

static const char *read_endpoint(struct str fields, struct endpoint_draft *e)
{
    unsigned tag;
    struct str value;
    int more;
    *e = (struct endpoint_draft){.weight = 100, .slot = LEDGER_NO_SLOT};
    while ((more = wire_next(&fields, &tag, &value)) > 0) {
        const char *wrong = read_endpoint_field(tag, value, e);
        if (wrong)
            return wrong;
    }
    if (more < 0)
        return "an endpoint is cut short";
    return is_id(e->id) && e->addr.len ? NULL : "an endpoint has no id or no address";
}

/* A cluster while it is read. */
struct raw_cluster {
    struct str id, owner, options;
    uint32_t slot;
    struct endpoint_draft *endpoints; /* owned */
    uint32_t endpoint_count;
};

static const char *add_endpoint(struct raw_cluster *raw, struct str fields)
{
    uint32_t n = raw->endpoint_count;
    struct endpoint_draft *room = one_more(raw->endpoints, n, TOPOLOGY_ENDPOINTS_MAX, sizeof(*room));
    if (!room)
        return "a cluster has too many endpoints";
    raw->endpoints = room;
    const char *wrong = read_endpoint(fields, &room[n]);
    if (wrong)
        return wrong;
    if (n && str_order(room[n - 1].id, room[n].id) >= 0)
        return "endpoints are not sorted, or come twice";
    raw->endpoint_count++;
    return NULL;
}

static const char *read_cluster_fields(struct raw_cluster *raw, struct str fields)
{
    unsigned tag;
    struct str value;
    int more;
    while ((more = wire_next(&fields, &tag, &value)) > 0) {
        const char *wrong = NULL;
        if (tag == CLUSTER_ID)
            raw->id = value;
        else if (tag == CLUSTER_OWNER)
            raw->owner = value;
        else if (tag == CLUSTER_OPTIONS)
            raw->options = value;
        else if (tag == CLUSTER_SLOT && !wire_u32(value, &raw->slot))
            return "a cluster's slot is no number";
        else if (tag == CLUSTER_ENDPOINT)
            wrong = add_endpoint(raw, value);
        if (wrong)
            return wrong;
    }
    if (more < 0)
        return "a cluster is cut short";
    return is_id(raw->id) && raw->owner.n <= TOPOLOGY_ID_MAX ? NULL
                                                             : "a cluster's id or owner is empty or too long";
}

static const char *add_cluster(struct parsed *p, struct raw_cluster *raw)
{
    struct cluster_options options;
    uint32_t n = p->cluster_count;
    struct cluster **room = one_more(p->clusters, n, TOPOLOGY_CLUSTERS_MAX, sizeof(*room));
    if (!room)
        return "too many clusters";
    p->clusters = room;
    if (n && str_order(room[n - 1]->id, raw->id) >= 0)
        return "clusters are not sorted, or come twice";
    if (!options_decode(&cluster_options_table, &options, raw->options))
        return "the options of a cluster are malformed";
    room[n] = cluster_build(raw->id, raw->owner, raw->slot, &options, raw->endpoints, raw->endpoint_count);
    p->cluster_count++;
    options_free(&cluster_options_table, &options);
    return NULL;
}

static const char *read_cluster(struct parsed *p, struct str fields)
{
    struct raw_cluster raw = {.slot = LEDGER_NO_SLOT};
    const char *wrong = read_cluster_fields(&raw, fields);
    if (!wrong)
        wrong = add_cluster(p, &raw);
    free(raw.endpoints);
    return wrong;
}

static const char *read_removed(struct parsed *p, struct str id)
{
    uint32_t n = p->removed_count;
    struct str *room = one_more(p->removed, n, TOPOLOGY_CLUSTERS_MAX, sizeof(*room));
    if (!room)
        return "too many removed clusters";
    p->removed = room;
    if (!is_id(id))
        return "a removed cluster's id is empty or too long";
    if (n && str_order(room[n - 1], id) >= 0)
        return "removed clusters are not sorted, or come twice";
    room[n] = id;
    p->removed_count++;
    return NULL;
}

static bool is_lower(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (char_lower(s.p[i]) != s.p[i])
            return false;
    return true;
}

static const char *read_rules(struct route *r, struct str value)
{
    struct route_options options;
    if (!options_decode(&route_options_table, &options, value))
        return "the rules of a route are malformed";
    route_rules_unref(&r->rules);
    r->rules = route_rules_build(&options, r->cluster_id.n > 0, NULL);
    options_free(&route_options_table, &options);
    return r->rules ? NULL : "the rules of a route are wrong";
}

static const char *read_route_fields(struct route *r, struct str fields)
{
    struct str value, rules = STR_NULL;
    unsigned tag;
    int more;
    while ((more = wire_next(&fields, &tag, &value)) > 0) {
        if (tag == ROUTE_HOST)
            r->host = value;
        else if (tag == ROUTE_PATH)
            r->path = value;
        else if (tag == ROUTE_OWNER)
            r->owner = value;
        else if (tag == ROUTE_CLUSTER)
            r->cluster_id = value;
        else if (tag == ROUTE_LABEL)
            r->label = value;
        else if (tag == ROUTE_RULES)
            rules = value;
    }
    if (more < 0 || !route_is_valid(r->host, r->path) || !is_lower(r->host) || r->owner.n > TOPOLOGY_ID_MAX ||
        r->label.n > TOPOLOGY_LABEL_MAX)
        return "a route is malformed";
    if (rules.p ? r->cluster_id.n > TOPOLOGY_ID_MAX : !is_id(r->cluster_id))
        return "a route's cluster is empty or too long";
    return rules.p ? read_rules(r, rules) : NULL; /* last: they must go with what else it says */
}

static const char *add_route(struct parsed *p, struct str fields, bool ruled)
{
    uint32_t n = p->route_count;
    struct route *room = one_more(p->routes, n, TOPOLOGY_ROUTES_MAX, sizeof(*room));
    if (!room)
        return "too many routes";
    p->routes = room;
    struct route *r = &room[n];
    *r = (struct route){.cluster_index = UINT32_MAX};
    const char *wrong = read_route_fields(r, fields);
    p->route_count += !wrong;
    if (wrong || ruled)
        return wrong;
    int order = n ? str_order(r[-1].host, r->host) : -1;
    if (order > 0 || (order == 0 && str_order(r[-1].path, r->path) >= 0))
        return "routes are not sorted, or come twice";
    return NULL;
}

static const char *read_route(struct parsed *p, struct str fields)
{
    return add_route(p, fields, false);
}

static const char *read_ruled_route(struct parsed *p, struct str fields)
{
    return add_route(p, fields, true); /* the table sorts them */
}

static const char *read_member_field(unsigned tag, struct str value, struct member_info *m)
{
    uint32_t state;
    uint64_t pid;
    switch (tag) {
    case MEMBER_STATE:
        if (!wire_u32(value, &state) || state > MEMBER_SUSPENDED)
            return "a member's state is out of range";
        m->state = (uint8_t)state;
        return NULL;
    case MEMBER_SINCE:
        return wire_u64(value, &m->since_wall_ns) ? NULL : "a member's time is no number";
    case MEMBER_PID:
        if (!wire_u64(value, &pid))
            return "a member's pid is no number";
        m->pid = (int64_t)pid;
        return NULL;
    default:
        if (tag < MEMBER_TEXT || tag >= MEMBER_TEXT + MEMBER_TEXTS)
            return NULL;
        *member_text(m, tag - MEMBER_TEXT) = value;
        return value.n <= TOPOLOGY_TEXT_MAX ? NULL : "a text of a member is too long";
    }
}

static const char *read_member(struct parsed *p, struct str fields)
{
    uint32_t n = p->member_count;
    struct member_info *room = one_more(p->members, n, TOPOLOGY_MEMBERS_MAX, sizeof(*room));
    unsigned tag;
    struct str value;
    int more;
    if (!room)
        return "too many members";
    p->members = room;
    room[n] = (struct member_info){0};
    while ((more = wire_next(&fields, &tag, &value)) > 0) {
        const char *wrong = read_member_field(tag, value, &room[n]);
        if (wrong)
            return wrong;
    }
    if (more < 0 || !is_id(room[n].id))
        return "a member is cut short or has no id";
    if (n && str_order(room[n - 1].id, room[n].id) >= 0)
        return "members are not sorted, or come twice";
    p->member_count++;
    return NULL;
}

/* Every field of one kind inside a list. */
static const char *read_list(struct parsed *p, struct str fields, unsigned kind,
                             const char *(*read_one)(struct parsed *, struct str))
{
    unsigned tag;
    struct str value;
    int more;
    while ((more = wire_next(&fields, &tag, &value)) > 0) {
        const char *wrong = tag == kind ? read_one(p, value) : NULL;
        if (wrong)
            return wrong;
    }
    return more < 0 ? "a list is cut short" : NULL;
}

static const char *read_object(struct parsed *p, unsigned tag, struct str value)
{
    switch (tag) {
    case WIRE_CLUSTER:
        return read_cluster(p, value);
    case WIRE_REMOVED:
        return read_removed(p, value);
    case WIRE_ROUTES:
        p->has_routes = true;
        return read_list(p, value, WIRE_ROUTE, read_route);
    case WIRE_RULED_ROUTES:
        return read_list(p, value, WIRE_ROUTE, read_ruled_route);
    case WIRE_MEMBERS:
        p->has_members = true;
        return read_list(p, value, WIRE_MEMBER, read_member);
    default:
        return NULL;
    }
}

const char *parsed_read(struct parsed *p, struct str fields)
{
    unsigned tag;
    struct str value;
    int more;
    *p = (struct parsed){0};
    while ((more = wire_next(&fields, &tag, &value)) > 0) {
        const char *wrong = read_object(p, tag, value);
        if (wrong)
            return wrong;
    }
    return more < 0 ? "the message is cut short" : NULL;
}

void parsed_fini(struct parsed *p)
{
    for (uint32_t i = 0; i < p->cluster_count; i++)
        cluster_unref(&p->clusters[i]);
    free(p->clusters);
    free(p->removed);
    for (uint32_t i = 0; i < p->route_count; i++)
        route_rules_unref(&p->routes[i].rules);
    free(p->routes);
    free(p->members);
    *p = (struct parsed){0};
}
