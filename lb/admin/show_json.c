#include <jansson.h>
#include <stdio.h>

#include "admin/show.h"
#include "base/clock.h"
#include "base/panic.h"
#include "topo/route.h"

static json_t *text(struct str s)
{
    json_t *j = s.n ? json_stringn(s.p, s.n) : json_string("");
    return j ? j : must(json_string("?")); /* not UTF-8 */
}

static json_t *cstr(const char *s)
{
    return text(str_of(s));
}

static json_t *number(uint64_t v)
{
    return must(json_integer((json_int_t)v));
}

static void set(json_t *object, const char *key, json_t *value)
{
    ASSERT(json_object_set_new(object, key, value) == 0);
}

static void append(json_t *array, json_t *value)
{
    ASSERT(json_array_append_new(array, value) == 0);
}

/* Seconds since the epoch, null when unknown. */
static json_t *moment(uint64_t wall_ns)
{
    return wall_ns ? must(json_real((double)wall_ns / (double)NS_PER_S)) : json_null();
}

static bool print(json_t *j)
{
    bool ok = json_dumpf(j, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF && fflush(stdout) == 0;
    json_decref(j);
    return ok;
}

/* ---- processes ---- */

static json_t *processes(const struct view *v)
{
    json_t *list = must(json_array());
    for (size_t i = 0; i < v->process_count; i++) {
        const struct view_process *p = &v->processes[i];
        json_t *o = must(json_object());
        set(o, "role", text(p->role));
        set(o, "pid", number(p->pid));
        if (p->id.n)
            set(o, "member", text(p->id));
        else
            set(o, str_eq(p->role, STR("proxy")) ? "generation" : "epoch", number(p->number));
        set(o, "state", text(p->state));
        set(o, "since", moment(p->since_wall_ns));
        append(list, o);
    }
    return list;
}

static json_t *listeners(const struct view *v)
{
    json_t *list = must(json_array());
    for (size_t i = 0; i < v->listener_count; i++) {
        json_t *o = must(json_object());
        set(o, "name", text(v->listeners[i].name));
        set(o, "address", text(v->listeners[i].address));
        append(list, o);
    }
    return list;
}

static json_t *plugins(const struct view *v)
{
    json_t *list = must(json_array());
    for (size_t i = 0; i < v->plugin_count; i++) {
        json_t *o = must(json_object());
        set(o, "name", text(v->plugins[i].name));
        set(o, "stalls", number(v->plugins[i].stalls));
        set(o, "left_out", json_boolean(v->plugins[i].is_left_out));
        append(list, o);
    }
    return list;
}

static void put_master(const struct view *v, json_t *o)
{
    set(o, "version", text(v->version));
    set(o, "pid", number(v->pid));
    set(o, "state", text(v->state));
    set(o, "since", moment(v->since_wall_ns));
    set(o, "upgrades", number(v->upgrades));
    set(o, "config", text(v->config));
    json_t *reload = must(json_object());
    set(reload, "result", v->reload.n ? text(v->reload) : json_null());
    set(reload, "time", moment(v->reload_wall_ns));
    set(o, "reload", reload);
    set(o, "processes", processes(v));
    set(o, "listeners", listeners(v));
    set(o, "plugins", plugins(v));
}

static void put_rows(const struct view *v, json_t *o)
{
    struct view_rows r;
    view_rows(v, &r);
    set(o, "quiet", json_boolean(view_is_quiet(v)));
    set(o, "sessions", number(r.sessions));
    set(o, "accepted", number(r.accepted));
    set(o, "uplinks", number(r.uplinks));
    set(o, "unrouted", number(r.unrouted));
    set(o, "log_dropped", number(r.log_dropped));
    set(o, "ledgers_partial", number((uint64_t)v->partial_count));
    set(o, "ledgers_unreadable", number((uint64_t)v->unreadable_count));
}

/* ---- clusters ---- */

static json_t *endpoint(const struct view *v, const struct endpoint *e)
{
    struct ledger_endpoint_sum s;
    char address[ADDR_TEXT_BYTES];
    json_t *o = must(json_object());
    view_endpoint(v, e->slot, &s);
    addr_print(&e->addr, address);
    set(o, "id", text(e->id));
    set(o, "address", cstr(address));
    set(o, "member", text(e->member));
    set(o, "state", cstr(e->member.n ? view_member_state(e->member_state) : "active"));
    set(o, "service", cstr(view_service(e->service)));
    set(o, "health", cstr(view_health(e->health)));
    set(o, "drained", json_boolean(e->admin_drain));
    set(o, "weight", number(e->weight));
    set(o, "slot", number(e->slot));
    set(o, "attempts", number(s.attempts));
    set(o, "tunnels", number(s.tunnels));
    set(o, "attempt_seconds", must(json_real((double)s.integral_ns / (double)NS_PER_S)));
    set(o, "requests", number(s.requests));
    set(o, "connect_failures", number(s.connect_failures));
    set(o, "other_failures", number(s.other_failures));
    set(o, "rx_bytes", number(s.rx_bytes));
    set(o, "tx_bytes", number(s.tx_bytes));
    return o;
}

static json_t *status_classes(const struct ledger_cluster_sum *s)
{
    static const char *const names[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    json_t *o = must(json_object());
    for (int i = 0; i < 6; i++)
        set(o, names[i], number(s->status_class[i]));
    return o;
}

static json_t *failures(const struct ledger_cluster_sum *s)
{
    static const char *const names[LEDGER_FAILURES] = {"connect", "server", "timeout", "client", "refused", "internal"};
    json_t *o = must(json_object());
    for (int i = 0; i < LEDGER_FAILURES; i++)
        set(o, names[i], number(s->failures[i]));
    return o;
}

static void put_counts(const struct ledger_cluster_sum *s, json_t *o)
{
    static const char *const names[LEDGER_COUNTS] = {"held", "serving", "finishing", "tunnels"};
    json_t *seconds = must(json_object());
    for (int i = 0; i < LEDGER_COUNTS; i++) {
        set(o, names[i], number(s->count[i]));
        set(seconds, names[i], must(json_real((double)s->integral_ns[i] / (double)NS_PER_S)));
    }
    set(o, "seconds", seconds);
}

static json_t *cluster(const struct view *v, const struct cluster *c)
{
    struct ledger_cluster_sum s;
    json_t *o = must(json_object()), *list = must(json_array());
    view_cluster(v, c->slot, &s);
    set(o, "id", text(c->id));
    set(o, "protocol", cstr(view_protocol(c->options.protocol)));
    set(o, "slot", number(c->slot));
    put_counts(&s, o);
    set(o, "requests", number(s.requests));
    set(o, "completed", number(s.completed));
    set(o, "status", status_classes(&s));
    set(o, "failures", failures(&s));
    set(o, "retries", number(s.retries));
    set(o, "rx_bytes", number(s.rx_bytes));
    set(o, "tx_bytes", number(s.tx_bytes));
    set(o, "p50_ms", must(json_real((double)view_latency(v, c->slot, 0.5) / 1e6)));
    set(o, "p99_ms", must(json_real((double)view_latency(v, c->slot, 0.99) / 1e6)));
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        append(list, endpoint(v, &c->endpoints[i]));
    set(o, "endpoints", list);
    return o;
}

static json_t *members(const struct view *v)
{
    json_t *list = must(json_array());
    for (uint32_t i = 0; v->topology && i < v->topology->member_count; i++) {
        const struct member_info *m = &v->topology->members[i];
        json_t *o = must(json_object());
        set(o, "id", text(m->id));
        set(o, "set", text(m->set));
        set(o, "cartridge", text(m->cartridge));
        set(o, "state", cstr(view_member_state(m->state)));
        set(o, "since", moment(m->since_wall_ns));
        set(o, "address", text(m->address));
        set(o, "partition", text(m->partition));
        set(o, "reason", text(m->reason));
        set(o, "pid", must(json_integer(m->pid)));
        append(list, o);
    }
    return list;
}

static json_t *routes(const struct topology *t)
{
    json_t *list = must(json_array());
    uint32_t count;
    const struct route *all = route_table_all(t->routes, &count);
    for (uint32_t i = 0; i < count; i++) {
        json_t *o = must(json_object());
        set(o, "host", text(all[i].host));
        set(o, "path", text(all[i].path));
        set(o, "cluster", text(all[i].cluster_id));
        set(o, "exists", json_boolean(all[i].cluster_index != UINT32_MAX));
        append(list, o);
    }
    return list;
}

static void put_topology(const struct view *v, json_t *o)
{
    json_t *list = must(json_array()), *sequence = must(json_object());
    const struct topology *t = v->topology;
    set(sequence, "epoch", t ? number(t->epoch) : json_null());
    set(sequence, "number", t ? number(t->number) : json_null());
    set(o, "sequence", sequence);
    for (uint32_t i = 0; t && i < t->cluster_count; i++)
        append(list, cluster(v, t->clusters[i]));
    set(o, "clusters", list);
    set(o, "members", members(v));
}

bool show_status_json(const struct view *v)
{
    json_t *o = must(json_object());
    put_master(v, o);
    put_rows(v, o);
    put_topology(v, o);
    return print(o);
}

bool show_topology_json(const struct view *v)
{
    json_t *o = must(json_object());
    put_topology(v, o);
    set(o, "routes", routes(v->topology));
    return print(o);
}
