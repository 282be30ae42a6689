#include <inttypes.h>
#include <stdio.h>

#include "admin/show.h"
#include "base/clock.h"
#include "topo/route.h"
#include "topo/route_rules.h"

enum { TEXTS_MAX = 8, TEXT_BYTES = 300 };

/* Texts that come from elsewhere, without what a terminal would obey. */
static const char *clean(struct str s, char *to)
{
    size_t n = s.n < TEXT_BYTES - 1 ? s.n : TEXT_BYTES - 1;
    for (size_t i = 0; i < n; i++)
        to[i] = s.p[i] >= 0x20 && s.p[i] < 0x7f ? s.p[i] : '?';
    to[n] = 0;
    return to;
}

static const char *age(const struct survey *v, uint64_t since_wall_ns, char *to)
{
    uint64_t s =
        since_wall_ns && v->now_wall_ns > since_wall_ns ? (v->now_wall_ns - since_wall_ns) / NS_PER_S : 0;
    if (s < 100)
        snprintf(to, TEXT_BYTES, "%" PRIu64 "s", s);
    else if (s < 6000)
        snprintf(to, TEXT_BYTES, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    else if (s < 172800)
        snprintf(to, TEXT_BYTES, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(to, TEXT_BYTES, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
    return to;
}

static void show_processes(const struct survey *v)
{
    char a[TEXT_BYTES], b[TEXT_BYTES];
    printf("coxswain %.*s, process %" PRIu64 ", %.*s for %s, config %.*s\n", STR_ARG(v->version), v->pid,
           STR_ARG(v->state), age(v, v->since_wall_ns, a), STR_ARG(v->config));
    if (v->upgrades)
        printf("upgrades: %" PRIu64 "\n", v->upgrades);
    if (v->reload.n)
        printf("last reload: %.*s, %s ago\n", STR_ARG(v->reload), age(v, v->reload_wall_ns, a));
    for (size_t i = 0; i < v->plugin_count; i++)
        printf("plugin \"%s\" stalled the orchestrator %" PRIu64 " times%s\n", clean(v->plugins[i].name, a),
               v->plugins[i].stalls, v->plugins[i].is_left_out ? "; LEFT OUT until the next reload" : "");
    printf("\n%-14s %8s  %-10s %8s\n", "PROCESS", "PID", "STATE", "SINCE");
    for (size_t i = 0; i < v->process_count; i++) {
        const struct survey_process *p = &v->processes[i];
        if (p->id.n)
            continue;
        snprintf(b, sizeof b, "%.*s %" PRIu64, STR_ARG(p->role), p->number);
        printf("%-14s %8" PRIu64 "  %-10.*s %8s\n", b, p->pid, STR_ARG(p->state),
               age(v, p->since_wall_ns, a));
    }
}

static void show_rows(const struct survey *v)
{
    struct survey_rows r;
    survey_rows(v, &r);
    printf("\nclients: %" PRIu64 " connected, %" PRIu64 " accepted; server connections: %" PRIu64
           "; answered without a cluster: %" PRIu64 "\n",
           r.sessions, r.accepted, r.uplinks, r.unrouted);
    if (r.tls_handshakes || r.tls_out_handshakes)
        printf("TLS handshakes: %" PRIu64 " with clients (%" PRIu64 " resumed), %" PRIu64
               " with servers (%" PRIu64 " resumed)\n",
               r.tls_handshakes, r.tls_resumed, r.tls_out_handshakes, r.tls_out_resumed);
    if (r.h2_sessions_begun)
        printf("HTTP/2: %" PRIu64 " clients now, %" PRIu64 " ever, with %" PRIu64 " streams now, %" PRIu64
               " ever; resets: %" PRIu64 " received, %" PRIu64 " sent\n",
               r.h2_sessions, r.h2_sessions_begun, r.h2_streams, r.h2_streams_begun, r.h2_resets_received,
               r.h2_resets_sent);
    if (v->partial_count)
        printf("%d ledger(s) of an unknown version: of them only requests and what is in flight\n",
               v->partial_count);
    if (v->unreadable_count)
        printf("%d ledger(s) that cannot be read are not in these numbers\n", v->unreadable_count);
}

static int width_of_ids(const struct survey *v)
{
    int width = 12;
    for (uint32_t i = 0; i < v->topology->cluster_count; i++) {
        const struct cluster *c = v->topology->clusters[i];
        if ((int)c->id.n > width)
            width = (int)c->id.n;
        for (uint32_t k = 0; k < c->endpoint_count; k++)
            if ((int)endpoint_id(&c->endpoints[k]).n + 2 > width)
                width = (int)endpoint_id(&c->endpoints[k]).n + 2;
    }
    return width < 60 ? width : 60;
}

static void show_cluster(const struct survey *v, const struct cluster *c, int width)
{
    struct ledger_cluster_sum s;
    char name[TEXT_BYTES];
    uint64_t failed = 0;
    survey_cluster(v, c->slot, &s);
    for (int i = 0; i < LEDGER_FAILURES; i++)
        failed += s.failures[i];
    printf("%-*s %5" PRIu64 " %7" PRIu64 " %9" PRIu64 " %7" PRIu64 " %10" PRIu64 " %10" PRIu64 " %8" PRIu64
           " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8.1f %8.1f\n",
           width, clean(c->id, name), s.count[LEDGER_HELD], s.count[LEDGER_SERVING],
           s.count[LEDGER_FINISHING], s.count[LEDGER_TUNNEL], s.requests, s.status_class[2],
           s.status_class[3], s.status_class[4], s.status_class[5], failed, s.retries,
           (double)survey_latency(v, c->slot, 0.5) / 1e6, (double)survey_latency(v, c->slot, 0.99) / 1e6);
}

static void show_clusters(const struct survey *v, int width)
{
    printf("\n%-*s %5s %7s %9s %7s %10s %10s %8s %8s %8s %8s %8s %8s %8s\n", width, "CLUSTER", "HELD",
           "SERVING", "FINISHING", "TUNNELS", "REQUESTS", "2XX", "3XX", "4XX", "5XX", "FAILED", "RETRIES",
           "P50 MS", "P99 MS");
    for (uint32_t i = 0; i < v->topology->cluster_count; i++)
        show_cluster(v, v->topology->clusters[i], width);
}

static void show_endpoint(const struct survey *v, const struct endpoint *e, int width)
{
    struct ledger_endpoint_sum s;
    char id[TEXT_BYTES], address[ADDR_TEXT_BYTES], member[TEXT_BYTES];
    survey_endpoint(v, e->slot, &s);
    addr_print(e->addr, address);
    printf("  %-*s %-21s %-10s %-8s %9" PRIu64 " %8" PRIu64 " %10" PRIu64 " %9" PRIu64 " %9" PRIu64
           " %9" PRIu64 "  %s\n",
           width - 2, clean(endpoint_id(e), id), address, s.ejected ? "ejected" : survey_service(e->service),
           survey_health(e->health), s.attempts, s.tunnels, s.requests, s.connect_failures, s.other_failures,
           s.ejections, clean(endpoint_member(e), member));
}

static void show_endpoints(const struct survey *v, int width)
{
    char name[TEXT_BYTES];
    printf("\n%-*s %-21s %-10s %-8s %9s %8s %10s %9s %9s %9s  %s\n", width, "ENDPOINT", "ADDRESS", "SERVICE",
           "HEALTH", "IN FLIGHT", "TUNNELS", "REQUESTS", "CONN.FAIL", "OTH.FAIL", "EJECTIONS", "MEMBER");
    for (uint32_t i = 0; i < v->topology->cluster_count; i++) {
        const struct cluster *c = v->topology->clusters[i];
        if (c->endpoint_count)
            printf("%s\n", clean(c->id, name));
        for (uint32_t k = 0; k < c->endpoint_count; k++)
            show_endpoint(v, &c->endpoints[k], width);
    }
}

static void show_members(const struct survey *v)
{
    char id[TEXT_BYTES], cartridge[TEXT_BYTES], address[TEXT_BYTES], since[TEXT_BYTES], reason[TEXT_BYTES];
    char partition[TEXT_BYTES];
    if (!v->topology->member_count)
        return;
    printf("\n%-32s %-18s %-16s %8s %8s %-21s %-12s %s\n", "MEMBER", "STATE", "CARTRIDGE", "SINCE", "PID",
           "ADDRESS", "PARTITION", "REASON");
    for (uint32_t i = 0; i < v->topology->member_count; i++) {
        const struct member_info *m = &v->topology->members[i];
        printf("%-32s %-18s %-16s %8s %8" PRId64 " %-21s %-12s %s\n", clean(m->id, id),
               survey_member_state(m->state), clean(m->cartridge, cartridge), age(v, m->since_wall_ns, since),
               m->pid, clean(m->address, address), m->partition.n ? clean(m->partition, partition) : "-",
               clean(m->reason, reason));
    }
}

static void show_certificates(const struct survey *v)
{
    char listener[TEXT_BYTES], host[TEXT_BYTES], file[TEXT_BYTES];
    int64_t now_s = (int64_t)(v->now_wall_ns / NS_PER_S);
    if (!v->certificate_count)
        return;
    printf("\n%-16s %-32s %9s  %s\n", "LISTENER", "CERTIFICATE", "DAYS LEFT", "FILE");
    for (size_t i = 0; i < v->certificate_count; i++) {
        const struct survey_certificate *c = &v->certificates[i];
        printf("%-16s %-32s %9" PRId64 "  %s%s\n", clean(c->listener, listener), clean(c->host, host),
               ((int64_t)c->end_s - now_s) / 86400, clean(c->file, file),
               c->is_kept ? " (BROKEN: the one before is in use)" : "");
    }
}

bool show_status(const struct survey *v)
{
    show_processes(v);
    show_rows(v);
    show_certificates(v);
    if (v->topology) {
        int width = width_of_ids(v);
        show_clusters(v, width);
        show_endpoints(v, width);
        show_members(v);
    }
    return fflush(stdout) == 0;
}

static void show_route(const struct route *r)
{
    char host[TEXT_BYTES], path[TEXT_BYTES], target[TEXT_BYTES], match[TEXT_BYTES];
    struct buf b;
    buf_init(&b);
    route_rules_target(r->rules, r->cluster_id, &b);
    struct str when = route_rules_match(r->rules);
    printf("%-32s %-24s %s%s%s%s\n", clean(r->host, host), clean(r->path, path),
           clean(b.len ? buf_str(&b) : STR(""), target),
           r->cluster_id.n && r->cluster_index == UINT32_MAX ? " (does not exist)" : "", when.n ? " if " : "",
           when.n ? clean(when, match) : "");
    buf_fini(&b);
}

static void show_routes(const struct topology *t)
{
    uint32_t count;
    const struct route *routes = route_table_all(t->routes, &count);
    printf("\n%-32s %-24s %s\n", "HOST", "PATH", "CLUSTER");
    for (uint32_t i = 0; i < count; i++)
        show_route(&routes[i]);
}

static void show_plain_cluster(const struct cluster *c)
{
    char id[TEXT_BYTES], member[TEXT_BYTES], address[ADDR_TEXT_BYTES];
    printf("\n%s (%s, slot %u)\n", clean(c->id, id), survey_protocol(c->options.protocol), c->slot);
    for (uint32_t k = 0; k < c->endpoint_count; k++) {
        const struct endpoint *e = &c->endpoints[k];
        addr_print(e->addr, address);
        printf("  %-24s %-21s weight %-4u tier %-3u %-9s %-7s %-18s %s%s\n", clean(endpoint_id(e), id),
               address, e->weight, e->priority, survey_service(e->service), survey_health(e->health),
               endpoint_member(e).n ? survey_member_state(e->member_state) : "",
               clean(endpoint_member(e), member), e->admin_drain ? " (drained by hand)" : "");
    }
}

bool show_topology(const struct survey *v)
{
    const struct topology *t = v->topology;
    printf("topology %" PRIu64 ".%" PRIu64 "\n", t->epoch, t->number);
    show_routes(t);
    for (uint32_t i = 0; i < t->cluster_count; i++)
        show_plain_cluster(t->clusters[i]);
    show_members(v);
    return fflush(stdout) == 0;
}
