#include "admin/json_view.h"

#include "base/clock.h"
#include "base/panic.h"
#include "topo/route.h"
#include "topo/route_rules.h"

json_t *json_text(struct str s)
{
    json_t *j = s.n ? json_stringn(s.p, s.n) : json_string("");
    return j ? j : must(json_string("?")); /* not UTF-8 */
}

json_t *json_word(const char *s)
{
    return json_text(str_of(s));
}

json_t *json_number(uint64_t v)
{
    return must(json_integer((json_int_t)v));
}

void json_set(json_t *object, const char *key, json_t *value)
{
    ASSERT(json_object_set_new(object, key, value) == 0);
}

void json_append(json_t *array, json_t *value)
{
    ASSERT(json_array_append_new(array, value) == 0);
}

/* Seconds since the epoch, null when unknown. */
json_t *json_moment(uint64_t wall_ns)
{
    return wall_ns ? must(json_real((double)wall_ns / (double)NS_PER_S)) : json_null();
}

/* ---- clusters ---- */

static json_t *endpoint(const struct survey *v, const struct endpoint *e)
{
    struct ledger_endpoint_sum s;
    char address[ADDR_TEXT_BYTES];
    json_t *o = must(json_object());
    survey_endpoint(v, e->slot, &s);
    addr_print(e->addr, address);
    json_set(o, "id", json_text(endpoint_id(e)));
    json_set(o, "address", json_word(address));
    json_set(o, "member", json_text(endpoint_member(e)));
    json_set(o, "state", json_word(endpoint_member(e).n ? survey_member_state(e->member_state) : "active"));
    json_set(o, "service", json_word(survey_service(e->service)));
    json_set(o, "health", json_word(survey_health(e->health)));
    json_set(o, "drained", json_boolean(e->admin_drain));
    json_set(o, "weight", json_number(e->weight));
    json_set(o, "priority", json_number(e->priority));
    json_set(o, "slot", json_number(e->slot));
    json_set(o, "attempts", json_number(s.attempts));
    json_set(o, "tunnels", json_number(s.tunnels));
    json_set(o, "attempt_seconds", must(json_real((double)s.integral_ns / (double)NS_PER_S)));
    json_set(o, "requests", json_number(s.requests));
    json_set(o, "connect_failures", json_number(s.connect_failures));
    json_set(o, "other_failures", json_number(s.other_failures));
    json_set(o, "ejections", json_number(s.ejections));
    json_set(o, "ejected", json_boolean(s.ejected != 0));
    json_set(o, "rx_bytes", json_number(s.rx_bytes));
    json_set(o, "tx_bytes", json_number(s.tx_bytes));
    return o;
}

static json_t *status_classes(const struct ledger_cluster_sum *s)
{
    json_t *o = must(json_object());
    for (int i = 0; i < 6; i++)
        json_set(o, survey_classes[i], json_number(s->status_class[i]));
    return o;
}

json_t *json_reasons(const struct survey *v, uint32_t slot)
{
    uint64_t counts[REASON_COUNT];
    json_t *o = must(json_object());
    survey_reasons(v, slot, counts);
    for (unsigned i = 1; i < REASON_COUNT; i++)
        if (counts[i])
            json_set(o, reason_id((enum reason)i), json_number(counts[i]));
    return o;
}

static json_t *failures(const struct ledger_cluster_sum *s)
{
    json_t *o = must(json_object());
    for (int i = 0; i < LEDGER_FAILURES; i++)
        json_set(o, survey_failures[i], json_number(s->failures[i]));
    return o;
}

static json_t *guard(const struct ledger_cluster_sum *s)
{
    json_t *o = must(json_object());
    for (int i = 0; i < LEDGER_GUARDS; i++)
        json_set(o, survey_guards[i], json_number(s->guard[i]));
    return o;
}

static void put_counts(const struct ledger_cluster_sum *s, json_t *o)
{
    json_t *seconds = must(json_object());
    for (int i = 0; i < LEDGER_COUNTS; i++) {
        json_set(o, survey_counts[i], json_number(s->count[i]));
        json_set(seconds, survey_counts[i], must(json_real((double)s->integral_ns[i] / (double)NS_PER_S)));
    }
    json_set(o, "seconds", seconds);
}

static json_t *mirrored(const struct ledger_cluster_sum *s)
{
    json_t *o = must(json_object());
    json_set(o, "now", json_number(s->mirrors));
    json_set(o, "sent", json_number(s->mirrored));
    json_set(o, "failures", json_number(s->mirror_failures));
    json_set(o, "skipped", json_number(s->mirrors_skipped));
    return o;
}

json_t *json_cluster(const struct survey *v, const struct cluster *c)
{
    struct ledger_cluster_sum s;
    json_t *o = must(json_object()), *list = must(json_array());
    survey_cluster(v, c->slot, &s);
    json_set(o, "id", json_text(c->id));
    json_set(o, "protocol", json_word(survey_protocol(c->options.protocol)));
    json_set(o, "slot", json_number(c->slot));
    put_counts(&s, o);
    json_set(o, "requests", json_number(s.requests));
    json_set(o, "completed", json_number(s.completed));
    json_set(o, "status", status_classes(&s));
    json_set(o, "failures", failures(&s));
    json_set(o, "reasons", s.completed ? json_reasons(v, c->slot) : must(json_object()));
    json_set(o, "guard", guard(&s));
    json_set(o, "retries", json_number(s.retries));
    json_set(o, "mirrored", mirrored(&s));
    json_set(o, "rx_bytes", json_number(s.rx_bytes));
    json_set(o, "tx_bytes", json_number(s.tx_bytes));
    json_set(o, "p50_ms", must(json_real((double)survey_latency(v, c->slot, 0.5) / 1e6)));
    json_set(o, "p99_ms", must(json_real((double)survey_latency(v, c->slot, 0.99) / 1e6)));
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        json_append(list, endpoint(v, &c->endpoints[i]));
    json_set(o, "endpoints", list);
    return o;
}

json_t *json_members(const struct survey *v)
{
    json_t *list = must(json_array());
    for (uint32_t i = 0; v->topology && i < v->topology->member_count; i++) {
        const struct member_info *m = &v->topology->members[i];
        json_t *o = must(json_object());
        json_set(o, "id", json_text(m->id));
        json_set(o, "set", json_text(m->set));
        json_set(o, "cartridge", json_text(m->cartridge));
        json_set(o, "state", json_word(survey_member_state(m->state)));
        json_set(o, "since", json_moment(m->since_wall_ns));
        json_set(o, "address", json_text(m->address));
        json_set(o, "partition", json_text(m->partition));
        json_set(o, "reason", json_text(m->reason));
        json_set(o, "pid", must(json_integer(m->pid)));
        json_append(list, o);
    }
    return list;
}

static json_t *words(const struct strings *list)
{
    json_t *array = must(json_array());
    for (size_t i = 0; i < list->n; i++)
        json_append(array, json_word(list->v[i]));
    return array;
}

static json_t *shares(const struct route *r)
{
    json_t *array = must(json_array());
    const struct option_list *list = &r->rules->options.clusters;
    for (size_t i = 0; i < list->count; i++) {
        const struct split_settings *s = SETTINGS_AT(*list, struct split_settings, i);
        json_t *o = must(json_object());
        json_set(o, "cluster", json_word(s->cluster));
        json_set(o, "weight", json_number((uint64_t)s->weight));
        json_set(o, "exists", json_boolean(r->targets->v[i].cluster_index != UINT32_MAX));
        json_append(array, o);
    }
    return array;
}

/* Only what the route has. */
static void put_rules(const struct route *r, json_t *o)
{
    const struct route_options *options = &r->rules->options;
    const struct strings *const lists[] = {&options->methods, &options->headers, &options->query,
                                           &options->cookies};
    static const char *const names[] = {"methods", "headers", "query", "cookies"};
    struct buf target;
    buf_init(&target);
    for (int i = 0; i < 4; i++)
        if (lists[i]->n)
            json_set(o, names[i], words(lists[i]));
    if (options->clusters.count)
        json_set(o, "clusters", shares(r));
    if (options->priority)
        json_set(o, "priority", must(json_integer(options->priority)));
    if (options->rewrite_prefix)
        json_set(o, "rewrite_prefix", json_word(options->rewrite_prefix));
    if (options->mirror.cluster)
        json_set(o, "mirror", json_word(options->mirror.cluster));
    route_rules_target(r->rules, r->cluster_id, &target);
    json_set(o, "target", json_text(target.len ? buf_str(&target) : STR("")));
    buf_fini(&target);
}

json_t *json_routes(const struct topology *t)
{
    json_t *list = must(json_array());
    uint32_t count;
    const struct route *all = route_table_all(t->routes, &count);
    for (uint32_t i = 0; i < count; i++) {
        json_t *o = must(json_object());
        json_set(o, "host", json_text(all[i].host));
        json_set(o, "path", json_text(all[i].path));
        json_set(o, "cluster", json_text(all[i].cluster_id));
        json_set(o, "exists", json_boolean(!all[i].cluster_id.n || all[i].cluster_index != UINT32_MAX));
        if (all[i].rules)
            put_rules(&all[i], o);
        json_append(list, o);
    }
    return list;
}

json_t *json_sequence(const struct topology *t)
{
    json_t *o = must(json_object());
    json_set(o, "epoch", t ? json_number(t->epoch) : json_null());
    json_set(o, "number", t ? json_number(t->number) : json_null());
    return o;
}
