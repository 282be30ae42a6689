/* The JSON of the admin listener. conf/api.json is its schema: what is added here is added there. */
#include <stdlib.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/json_view.h"
#include "base/clock.h"
#include "base/panic.h"

static int put_bytes(const char *p, size_t n, void *ctx)
{
    buf_put(ctx, p, n);
    return 0;
}

/* Takes the value over. */
static void put_json(json_t *j, struct buf *out)
{
    ASSERT(json_dump_callback(j, put_bytes, out, JSON_COMPACT | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY) ==
           0);
    json_decref(j);
}

void api_put_member(const char *key, json_t *j, struct buf *out)
{
    buf_printf(out, ",\n\"%s\":", key);
    put_json(j, out);
}

/* ---- pieces ---- */

struct generations {
    json_t *list;
    uint64_t newest;
};

static void find_newest(void *ctx, uint64_t generation, uint64_t acknowledged, const struct ledger *ledger)
{
    struct generations *g = ctx;
    (void)ledger;
    if (acknowledged && generation > g->newest)
        g->newest = generation;
}

static void add_generation(void *ctx, uint64_t generation, uint64_t acknowledged, const struct ledger *ledger)
{
    struct generations *g = ctx;
    struct survey_rows r = {0};
    json_t *o = must(json_object());
    if (ledger)
        survey_add_rows(ledger, &r);
    json_set(o, "generation", json_number(generation));
    json_set(o, "state",
             json_word(generation > g->newest    ? "starting"
                       : generation == g->newest ? "serving"
                                                 : "draining"));
    json_set(o, "acknowledged", json_number(acknowledged));
    json_set(o, "readable", json_boolean(ledger != NULL));
    json_set(o, "workers", json_number(ledger ? ledger->header->workers : 0));
    json_set(o, "sessions", json_number(r.sessions));
    json_set(o, "accepted", json_number(r.accepted));
    json_set(o, "uplinks", json_number(r.uplinks));
    json_set(o, "unrouted", json_number(r.unrouted));
    json_set(o, "log_dropped", json_number(r.log_dropped));
    json_append(g->list, o);
}

static json_t *generations(const struct admin *a)
{
    struct generations g = {.list = must(json_array())};
    proxies_each(a->orch->proxies, find_newest, &g);
    proxies_each(a->orch->proxies, add_generation, &g);
    return g.list;
}

static json_t *orchestrator(const struct admin *a)
{
    json_t *o = must(json_object());
    json_set(o, "pid", json_number((uint64_t)getpid()));
    json_set(o, "epoch", json_number(a->orch->role->epoch));
    json_set(o, "since", json_moment(a->since_wall_ns));
    return o;
}

static json_t *listeners(const struct settings *s)
{
    json_t *list = must(json_array());
    for (size_t i = 0; i < s->listeners.count; i++) {
        const struct listener_settings *l = SETTINGS_AT(s->listeners, struct listener_settings, i);
        json_t *o = must(json_object());
        json_set(o, "name", json_word(l->name));
        json_set(o, "address", json_word(l->address));
        json_append(list, o);
    }
    return list;
}

/* The buckets that are not empty: upper end in seconds, and how many fell into it. */
static json_t *histogram(const struct survey *v, const struct cluster *c)
{
    uint64_t buckets[LEDGER_HIST_BUCKETS];
    json_t *list = must(json_array());
    survey_hist(v, c->slot, buckets);
    for (uint32_t i = 0; i < LEDGER_HIST_BUCKETS; i++) {
        if (!buckets[i])
            continue;
        json_t *pair = must(json_array());
        json_append(pair, must(json_real((double)ledger_hist_value(i) / (double)NS_PER_S)));
        json_append(pair, json_number(buckets[i]));
        json_append(list, pair);
    }
    return list;
}

/* One after the other, so that only one of them is ever in memory as a tree. */
static void status_cluster(const struct survey *v, const struct cluster *c, struct buf *out)
{
    json_t *o = json_cluster(v, c);
    if (json_integer_value(json_object_get(o, "completed")) > 0)
        json_set(o, "histogram", histogram(v, c));
    else
        json_set(o, "histogram", must(json_array()));
    put_json(o, out);
}

static json_t *event(const struct event_row *row)
{
    json_t *o = must(json_object());
    json_set(o, "number", json_number(row->number));
    json_set(o, "time", json_moment(row->wall_ns));
    json_set(o, "kind", json_word(row->kind));
    json_set(o, "subject", json_word(row->subject));
    json_set(o, "text", json_word(row->text));
    return o;
}

static json_t *events(const struct admin *a)
{
    json_t *list = must(json_array());
    for (uint64_t i = 0; i < events_known(&a->events); i++)
        json_append(list, event(events_at(&a->events, i)));
    return list;
}

/* ---- documents ---- */

void api_begin(const struct survey *v, struct buf *out)
{
    buf_printf(out, "{\"version\":");
    put_json(json_text(v->version), out);
    api_put_member("time", json_moment(v->now_wall_ns), out);
    api_put_member("sequence", json_sequence(v->topology), out);
}

static void status_head(struct admin *a, const struct survey *v, struct buf *out)
{
    struct survey_rows r;
    survey_rows(v, &r);
    api_begin(v, out);
    api_put_member("config", json_text(v->config), out);
    api_put_member("orchestrator", orchestrator(a), out);
    api_put_member("generations", generations(a), out);
    api_put_member("ledgers_unreadable", json_number((uint64_t)v->unreadable_count), out);
    api_put_member("listeners", listeners(a->orch->settings), out);
    api_put_member("sessions", json_number(r.sessions), out);
    api_put_member("accepted", json_number(r.accepted), out);
    api_put_member("uplinks", json_number(r.uplinks), out);
    api_put_member("unrouted", json_number(r.unrouted), out);
    api_put_member("unrouted_reasons", json_reasons(v, LEDGER_NO_SLOT), out);
    api_put_member("log_dropped", json_number(r.log_dropped), out);
    api_put_member("last_event", json_number(a->events.count), out);
    buf_printf(out, ",\n\"clusters\":[");
}

static void status_tail(struct admin *a, const struct survey *v, struct buf *out)
{
    (void)a;
    buf_printf(out, "]");
    api_put_member("members", json_members(v), out);
    buf_printf(out, "}\n");
}

const struct api_pieces api_status = {status_head, status_cluster, status_tail};

static json_t *cluster_places(const struct cluster *c)
{
    json_t *o = must(json_object()), *list = must(json_array());
    json_set(o, "id", json_text(c->id));
    json_set(o, "owner", json_text(c->owner));
    json_set(o, "protocol", json_word(survey_protocol(c->options.protocol)));
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        const struct endpoint *e = &c->endpoints[i];
        char address[ADDR_TEXT_BYTES];
        json_t *p = must(json_object());
        addr_print(e->addr, address);
        json_set(p, "id", json_text(endpoint_id(e)));
        json_set(p, "address", json_word(address));
        json_set(p, "member", json_text(endpoint_member(e)));
        json_set(p, "weight", json_number(e->weight));
        json_set(p, "service", json_word(survey_service(e->service)));
        json_set(p, "health", json_word(survey_health(e->health)));
        json_append(list, p);
    }
    json_set(o, "endpoints", list);
    return o;
}

static void places_head(struct admin *a, const struct survey *v, struct buf *out)
{
    api_begin(v, out);
    api_put_member("listeners", listeners(a->orch->settings), out);
    api_put_member("routes", v->topology ? json_routes(v->topology) : must(json_array()), out);
    buf_printf(out, ",\n\"clusters\":[");
}

static void place_cluster(const struct survey *v, const struct cluster *c, struct buf *out)
{
    (void)v;
    put_json(cluster_places(c), out);
}

static void places_tail(struct admin *a, const struct survey *v, struct buf *out)
{
    (void)a, (void)v;
    buf_printf(out, "]}\n");
}

const struct api_pieces api_topology = {places_head, place_cluster, places_tail};

void api_members(struct admin *a, const struct survey *v, struct buf *out)
{
    (void)a;
    api_begin(v, out);
    api_put_member("members", json_members(v), out);
    buf_printf(out, "}\n");
}

void api_events(struct admin *a, const struct survey *v, struct buf *out)
{
    api_begin(v, out);
    api_put_member("events", events(a), out);
    buf_printf(out, "}\n");
}

void api_error(uint16_t status, const char *message, struct buf *out)
{
    json_t *error = must(json_object()), *o = must(json_object());
    json_set(error, "status", json_number(status));
    json_set(error, "message", json_word(message));
    json_set(o, "error", error);
    put_json(o, out);
    buf_printf(out, "\n");
}

static bool is_id(struct str id)
{
    if (!id.n || id.n > TOPOLOGY_ID_MAX)
        return false;
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= ' ' || id.p[i] == 0x7f)
            return false;
    return true;
}

char *api_take_id(struct str body)
{
    json_error_t error;
    json_t *o = json_loadb(body.n ? body.p : "", body.n, JSON_REJECT_DUPLICATES, &error);
    const char *id = json_string_value(json_object_get(o, "id"));
    char *copy = id && is_id(str_of(id)) ? must(str_dup(str_of(id))) : NULL;
    json_decref(o);
    return copy;
}
