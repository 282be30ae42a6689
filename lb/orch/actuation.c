/* The ties between members, plugins, proxies and the model. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/orch.h"
#include "topo/cluster.h"

static struct orch *orch_of(void *ctx)
{
    struct orch *o = ctx;
    CHECK_MAGIC(o, ORCH_MAGIC);
    return o;
}

/* ---- what members ask for ---- */

static struct plugin *find_actuator(struct orch *o, const char *name)
{
    struct plugin *p = host_find(&o->host, name);
    return p && p->is_started && p->module.plugin.actuator ? p : NULL;
}

static const char *protocol_name(int protocol)
{
    return protocol == PROTOCOL_FASTCGI ? "fastcgi" : protocol == PROTOCOL_H2 ? "h2" : "http";
}

static int port_protocol(const struct set_port *port)
{
    return port->options ? port->options->protocol : PROTOCOL_HTTP;
}

static uint32_t put_ports(const struct member_set *set, struct cox_port ports[MEMBERS_PORTS_MAX])
{
    for (size_t i = 0; i < set->port_count; i++)
        ports[i] = (struct cox_port){.size = sizeof ports[i],
                                     .name = set->ports[i].name,
                                     .protocol = protocol_name(port_protocol(&set->ports[i]))};
    return (uint32_t)set->port_count;
}

static bool counts(const struct plugin *p)
{
    return p && p->module.plugin.actuator->granularity == COX_GRANULARITY_COUNT;
}

static bool is_counted(void *ctx, const struct member *m)
{
    return counts(find_actuator(orch_of(ctx), m->set->spots[m->spot].actuator));
}

/* How many members there are to be where m is, and who of those that live is not. */
static bool ask_count(struct plugin *p, const struct member *m, uint64_t ticket)
{
    const struct member_set *set = m->set;
    const struct spot *spot = &set->spots[m->spot];
    struct cox_port ports[MEMBERS_PORTS_MAX];
    char **victims = must(calloc(spot->living + 1u, sizeof *victims));
    uint32_t victim_count = 0, count = 0;
    for (const struct list *k = set->members.next; k != &set->members; k = k->next) {
        const struct member *one = CONTAINER_OF(k, struct member, node);
        if (one->spot != m->spot)
            continue;
        count += !member_is_stopped(one);
        if (member_is_stopped(one) && !one->is_nameless)
            victims[victim_count++] = must(str_dup(str_of(one->id))); /* the call may end it */
    }
    const struct cox_count_target target = {
        .size = sizeof target,
        .count = count,
        .set = set->id,
        .cartridge = set->cartridge ? set->cartridge->name : "",
        .partition = *spot->place->partition ? spot->place->partition : NULL,
        .victims = {victims, victim_count, (uint32_t)sizeof victims[0]},
        .ports = {ports, put_ports(set, ports), (uint32_t)sizeof ports[0]}};
    struct call c = call_begin(p, "set_count");
    const int32_t result = p->module.plugin.actuator->set_count(p->instance, ticket, &target);
    call_end(&c);
    for (uint32_t i = 0; i < victim_count; i++)
        free(victims[i]);
    free(victims);
    return result == COX_OK;
}

static bool ask_start(void *ctx, const struct member *m, uint64_t ticket)
{
    struct orch *o = orch_of(ctx);
    const struct spot *spot = &m->set->spots[m->spot];
    struct plugin *p = find_actuator(o, spot->actuator);
    if (!p || !m->set->cartridge)
        return false;
    if (counts(p))
        return ask_count(p, m, ticket);
    struct cox_port ports[MEMBERS_PORTS_MAX];
    const struct cox_member_spec spec = {
        .size = sizeof spec,
        .member = m->id,
        .set = m->set->id,
        .cartridge = m->set->cartridge->name,
        .partition = *spot->place->partition ? spot->place->partition : NULL,
        .network_partition = *spot->network ? spot->network : NULL,
        .ports = {ports, put_ports(m->set, ports), (uint32_t)sizeof ports[0]}};
    struct call c = call_begin(p, "start_member");
    const int32_t result = p->module.plugin.actuator->start_member(p->instance, ticket, &spec);
    call_end(&c);
    return result == COX_OK;
}

static bool ask_stop(void *ctx, const struct member *m, bool is_drained, uint64_t ticket)
{
    static const int signals[] = {SIGTERM, SIGQUIT, SIGINT}; /* the order of stop_signal's words */
    struct orch *o = orch_of(ctx);
    const char *actuator = m->set->spots[m->spot].actuator;
    struct plugin *p = find_actuator(o, actuator);
    if (!p && orch_host_ops.is_configured(ctx, actuator))
        return false;
    if (p && counts(p))
        return ask_count(p, m, ticket);
    const struct cartridge_settings *cartridge = m->set->cartridge;
    const unsigned which = cartridge ? (unsigned)cartridge->stop_signal : 0;
    const struct cox_stop stop = {.size = sizeof stop,
                                  .mode = is_drained ? COX_STOP_DRAINED : COX_STOP_NOW,
                                  .member = m->id,
                                  .signo = signals[which < 3 ? which : 0],
                                  .deadline_ms = cartridge ? cartridge->stop_timeout_ms : 10000};
    if (!p) /* of a plugin that is in the config no more: if it is a process, the master tells its end */
        return host_stop_orphan(&o->host, stop.member, stop.signo, stop.deadline_ms);
    struct call c = call_begin(p, "stop_member");
    const int32_t result = p->module.plugin.actuator->stop_member(p->instance, ticket, &stop);
    call_end(&c);
    return result == COX_OK;
}

static uint64_t member_in_flight(void *ctx, struct str cluster, struct str endpoint)
{
    struct orch *o = orch_of(ctx);
    struct topology *t = model_current(o->model);
    const struct cluster *c = t ? topology_cluster(t, cluster) : NULL;
    const struct endpoint *e = c ? cluster_endpoint(c, endpoint) : NULL;
    struct ledger_endpoint_sum sum;
    if (!e)
        return 0;
    return proxies_endpoint(o->proxies, e->slot, &sum) ? sum.attempts + sum.tunnels : 1;
}

static bool member_acknowledged(void *ctx, uint64_t number)
{
    const struct proxies *p = orch_of(ctx)->proxies;
    return proxies_acknowledged(p) >= number && proxies_sealed(p) >= number;
}

static bool member_settled(void *ctx, uint64_t number)
{
    return model_is_settled(orch_of(ctx)->model, number);
}

static uint64_t member_now(void *ctx)
{
    (void)ctx;
    return clock_now_ns();
}

static void member_touched(void *ctx)
{
    orch_touch(orch_of(ctx));
}

static void member_wake(void *ctx)
{
    orch_wake(orch_of(ctx));
}

static void member_event(void *ctx, const struct member *m, enum member_state from)
{
    struct orch *o = orch_of(ctx);
    observers_on_member(o, m, from);
    if (o->scale)
        scale_member_changed(o->scale, m);
}

const struct members_ops orch_members_ops = {.start = ask_start,
                                             .stop = ask_stop,
                                             .is_counted = is_counted,
                                             .in_flight = member_in_flight,
                                             .is_acknowledged = member_acknowledged,
                                             .is_settled = member_settled,
                                             .now_ns = member_now,
                                             .touched = member_touched,
                                             .wake = member_wake,
                                             .event = member_event};

/* ---- what plugins say ---- */

static void on_touched(void *ctx)
{
    orch_touch(orch_of(ctx));
}

static void on_member_changed(void *ctx, struct plugin *p, const struct cox_member_change *change)
{
    struct orch *o = orch_of(ctx);
    members_on_change(&o->members, p->name, change);
    orch_wake(o);
}

static void on_ticket_done(void *ctx, struct plugin *p, uint64_t ticket, uint32_t result, const char *reason)
{
    struct orch *o = orch_of(ctx);
    (void)p;
    members_on_ticket(&o->members, ticket, (enum cox_ticket_result)result, reason);
    orch_wake(o);
}

static void on_list_done(void *ctx, struct plugin *p)
{
    struct orch *o = orch_of(ctx);
    members_on_listed(&o->members, p->name);
    orch_wake(o);
}

static void on_reported(void *ctx, struct plugin *p, const char *source, const char *subject,
                        const char *metric, double value, uint64_t time_ns)
{
    struct orch *o = orch_of(ctx);
    if (o->scale)
        scale_report(o->scale, subject, metric, value, time_ns);
    log_debug("plugin \"%s\": %s reports %s of %s: %g", p->name, source ? source : "", metric, subject,
              value);
}

static bool is_configured(void *ctx, const char *instance)
{
    const struct settings *s = orch_of(ctx)->settings;
    for (size_t i = 0; i < s->plugins.count; i++)
        if (strcmp(SETTINGS_AT(s->plugins, struct plugin_settings, i)->name, instance) == 0)
            return true;
    return false;
}

/* A process of a plugin instance that is in the config no more is a member like any other: its successors
 * take its place, and it is drained before it is stopped. */
static void on_orphan(void *ctx, const char *actuator, const struct cox_member_change *change)
{
    struct orch *o = orch_of(ctx);
    const struct member *m = members_find_exact(&o->members, str_of(change->member));
    if (change->phase == COX_PHASE_TERMINATED && (!m || is_configured(ctx, m->set->spots[m->spot].actuator)))
        return; /* its plugin tells that */
    members_on_change(&o->members, actuator, change);
    orch_wake(o);
}

static void on_orphans_listed(void *ctx)
{
    struct orch *o = orch_of(ctx);
    members_on_listed(&o->members, "");
    orch_wake(o);
}

static bool has_guard(void *ctx, const char *name)
{
    return settings_has_guard(orch_of(ctx)->settings, name);
}

static bool to_master(void *ctx, enum channel_type type, struct str payload)
{
    struct orch *o = orch_of(ctx);
    return o->master && channel_send(o->master, type, payload, NULL, 0);
}

const struct host_ops orch_host_ops = {.touched = on_touched,
                                       .member_changed = on_member_changed,
                                       .ticket_done = on_ticket_done,
                                       .list_done = on_list_done,
                                       .reported = on_reported,
                                       .is_configured = is_configured,
                                       .orphan = on_orphan,
                                       .orphans_listed = on_orphans_listed,
                                       .has_guard = has_guard,
                                       .to_master = to_master};

/* ---- what probes find ---- */

static void on_verdict(void *ctx, struct str cluster, struct str endpoint, struct str member, bool is_up)
{
    struct orch *o = orch_of(ctx);
    if (model_set_health(o->model, cluster, endpoint, is_up ? HEALTH_UP : HEALTH_DOWN))
        orch_touch(o);
    if (!member.n)
        return;
    members_on_probe(&o->members, cluster, member, is_up);
    orch_wake(o);
}

static uint64_t traffic(void *ctx, uint32_t slot)
{
    struct ledger_endpoint_sum sum;
    (void)proxies_endpoint(orch_of(ctx)->proxies, slot, &sum); /* what can be read counts */
    return sum.rx_bytes;
}

static bool holds(void *ctx, uint32_t slot)
{
    struct ledger_cluster_sum sum;
    (void)proxies_cluster(orch_of(ctx)->proxies, slot, &sum); /* what can be read counts */
    return sum.count[LEDGER_HELD] > 0;
}

const struct probe_ops orch_probe_ops = {.verdict = on_verdict, .traffic = traffic, .holds = holds};
