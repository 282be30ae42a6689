#include <stdio.h>

#include "admin/json_view.h"
#include "admin/show.h"
#include "base/clock.h"
#include "base/panic.h"

static bool print(json_t *j)
{
    bool ok = json_dumpf(j, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF && fflush(stdout) == 0;
    json_decref(j);
    return ok;
}

/* ---- processes ---- */

static json_t *processes(const struct survey *v)
{
    json_t *list = must(json_array());
    for (size_t i = 0; i < v->process_count; i++) {
        const struct survey_process *p = &v->processes[i];
        json_t *o = must(json_object());
        json_set(o, "role", json_text(p->role));
        json_set(o, "pid", json_number(p->pid));
        if (p->id.n)
            json_set(o, "member", json_text(p->id));
        else
            json_set(o, str_eq(p->role, STR("proxy")) ? "generation" : "epoch", json_number(p->number));
        json_set(o, "state", json_text(p->state));
        json_set(o, "since", json_moment(p->since_wall_ns));
        json_append(list, o);
    }
    return list;
}

static json_t *listeners(const struct survey *v)
{
    json_t *list = must(json_array());
    for (size_t i = 0; i < v->listener_count; i++) {
        json_t *o = must(json_object());
        json_set(o, "name", json_text(v->listeners[i].name));
        json_set(o, "address", json_text(v->listeners[i].address));
        json_append(list, o);
    }
    return list;
}

static json_t *plugins(const struct survey *v)
{
    json_t *list = must(json_array());
    for (size_t i = 0; i < v->plugin_count; i++) {
        json_t *o = must(json_object());
        json_set(o, "name", json_text(v->plugins[i].name));
        json_set(o, "stalls", json_number(v->plugins[i].stalls));
        json_set(o, "left_out", json_boolean(v->plugins[i].is_left_out));
        json_append(list, o);
    }
    return list;
}

static json_t *certificates(const struct survey *v)
{
    json_t *list = must(json_array());
    for (size_t i = 0; i < v->certificate_count; i++) {
        const struct survey_certificate *c = &v->certificates[i];
        json_t *o = must(json_object());
        json_set(o, "listener", json_text(c->listener));
        json_set(o, "host", json_text(c->host));
        json_set(o, "file", json_text(c->file));
        json_set(o, "end", json_moment(c->end_s * NS_PER_S));
        json_set(o, "broken", json_boolean(c->is_kept));
        json_append(list, o);
    }
    return list;
}

static void put_master(const struct survey *v, json_t *o)
{
    json_set(o, "version", json_text(v->version));
    json_set(o, "pid", json_number(v->pid));
    json_set(o, "state", json_text(v->state));
    json_set(o, "since", json_moment(v->since_wall_ns));
    json_set(o, "upgrades", json_number(v->upgrades));
    json_set(o, "config", json_text(v->config));
    json_t *reload = must(json_object());
    json_set(reload, "result", v->reload.n ? json_text(v->reload) : json_null());
    json_set(reload, "time", json_moment(v->reload_wall_ns));
    json_set(o, "reload", reload);
    json_set(o, "processes", processes(v));
    json_set(o, "listeners", listeners(v));
    json_set(o, "plugins", plugins(v));
    json_set(o, "certificates", certificates(v));
}

static void put_rows(const struct survey *v, json_t *o)
{
    struct survey_rows r;
    survey_rows(v, &r);
    json_set(o, "quiet", json_boolean(survey_is_quiet(v)));
    json_set(o, "sessions", json_number(r.sessions));
    json_set(o, "accepted", json_number(r.accepted));
    json_set(o, "uplinks", json_number(r.uplinks));
    json_set(o, "unrouted", json_number(r.unrouted));
    json_set(o, "log_dropped", json_number(r.log_dropped));
    json_set(o, "tls_handshakes", json_number(r.tls_handshakes));
    json_set(o, "tls_resumed", json_number(r.tls_resumed));
    json_set(o, "tls_out_handshakes", json_number(r.tls_out_handshakes));
    json_set(o, "tls_out_resumed", json_number(r.tls_out_resumed));
    json_set(o, "h2_sessions", json_number(r.h2_sessions));
    json_set(o, "h2_sessions_begun", json_number(r.h2_sessions_begun));
    json_set(o, "h2_streams", json_number(r.h2_streams));
    json_set(o, "h2_streams_begun", json_number(r.h2_streams_begun));
    json_set(o, "h2_resets_received", json_number(r.h2_resets_received));
    json_set(o, "h2_resets_sent", json_number(r.h2_resets_sent));
    json_set(o, "h2_stalls", json_number(r.h2_stalls));
    json_t *goaways = must(json_object());
    for (int i = 0; i < LEDGER_GOAWAYS; i++)
        json_set(goaways, survey_goaway(i), json_number(r.h2_goaways[i]));
    json_set(o, "h2_goaways", goaways);
    json_set(o, "ledgers_partial", json_number((uint64_t)v->partial_count));
    json_set(o, "ledgers_unreadable", json_number((uint64_t)v->unreadable_count));
}

static void put_topology(const struct survey *v, json_t *o)
{
    json_t *list = must(json_array());
    const struct topology *t = v->topology;
    json_set(o, "sequence", json_sequence(t));
    for (uint32_t i = 0; t && i < t->cluster_count; i++)
        json_append(list, json_cluster(v, t->clusters[i]));
    json_set(o, "clusters", list);
    json_set(o, "members", json_members(v));
}

bool show_status_json(const struct survey *v)
{
    json_t *o = must(json_object());
    put_master(v, o);
    put_rows(v, o);
    put_topology(v, o);
    return print(o);
}

bool show_topology_json(const struct survey *v)
{
    json_t *o = must(json_object());
    put_topology(v, o);
    json_set(o, "routes", json_routes(v->topology));
    return print(o);
}
