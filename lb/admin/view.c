#include "admin/view.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/panic.h"
#include "run/channel.h"

/* ---- reading the master's lines ---- */

static uint64_t take_number(struct str *rest)
{
    struct str word;
    uint64_t v = 0;
    if (str_next(rest, ' ', &word) && !str_to_u64(word, &v))
        v = 0;
    return v;
}

static struct str take_word(struct str *rest)
{
    struct str word;
    return str_next(rest, ' ', &word) ? word : STR("");
}

static struct view_process *add_process(struct view *v)
{
    v->processes = must(realloc(v->processes, sizeof *v->processes * (v->process_count + 1)));
    struct view_process *p = &v->processes[v->process_count++];
    *p = (struct view_process){.id = STR("")};
    return p;
}

static void take_child(struct view *v, struct str role, struct str rest)
{
    struct view_process *p = add_process(v);
    p->role = role;
    p->pid = take_number(&rest);
    p->number = take_number(&rest);
    p->state = take_word(&rest);
    p->since_wall_ns = take_number(&rest);
}

static void take_member(struct view *v, struct str role, struct str rest)
{
    struct view_process *p = add_process(v);
    p->role = role;
    p->pid = take_number(&rest);
    p->state = take_word(&rest);
    p->since_wall_ns = take_number(&rest);
    p->id = rest.p ? rest : STR("");
}

static void take_master(struct view *v, struct str rest)
{
    v->pid = take_number(&rest);
    v->state = take_word(&rest);
    v->since_wall_ns = take_number(&rest);
    v->upgrades = take_number(&rest);
}

static void take_listener(struct view *v, struct str rest)
{
    v->listeners = must(realloc(v->listeners, sizeof *v->listeners * (v->listener_count + 1)));
    struct view_listener *l = &v->listeners[v->listener_count++];
    l->address = take_word(&rest);
    l->name = rest.p ? rest : STR("");
}

static void take_plugin(struct view *v, struct str rest)
{
    v->plugins = must(realloc(v->plugins, sizeof *v->plugins * (v->plugin_count + 1)));
    struct view_plugin *p = &v->plugins[v->plugin_count++];
    p->is_left_out = str_eq(take_word(&rest), STR("left_out"));
    p->stalls = take_number(&rest);
    p->name = rest.p ? rest : STR("");
}

/* ---- descriptors ---- */

static void take_topology(struct view *v, int fd)
{
    struct str bytes;
    struct buf error;
    if (!sealed_map(fd, &bytes))
        return;
    buf_init(&error);
    topology_unref(&v->topology);
    v->topology = topology_decode(bytes, &error);
    buf_fini(&error);
    sealed_unmap(bytes);
}

static void take_ledger(struct view *v, int fd, uint64_t generation)
{
    if (v->ledger_count == VIEW_LEDGERS_MAX)
        return;
    if (!ledger_open(&v->ledgers[v->ledger_count], fd, false)) {
        v->unreadable_count++;
        return;
    }
    v->partial_count += !ledger_is_whole(&v->ledgers[v->ledger_count]);
    v->generations[v->ledger_count++] = generation;
}

static void take_fds(struct view *v, struct str names)
{
    for (int i = 0; i < v->client->fd_count; i++) {
        struct str name = take_word(&names), word;
        int fd = v->client->fds[i];
        if (str_eq(name, STR("topology")))
            take_topology(v, fd);
        else if (str_eq(name, STR("past")))
            v->has_past = ledger_past_open(&v->past, fd, false);
        else if (str_starts(name, STR("ledger:")) && str_next(&name, ':', &word)) {
            uint64_t generation = 0;
            take_ledger(v, fd, str_to_u64(name, &generation) ? generation : 0);
        }
    }
}

static void take_line(struct view *v, struct str line)
{
    struct str rest = line, word = take_word(&rest);
    if (str_eq(word, STR("version")))
        v->version = rest;
    else if (str_eq(word, STR("config")))
        v->config = rest;
    else if (str_eq(word, STR("master")))
        take_master(v, rest);
    else if (str_eq(word, STR("reload"))) {
        v->reload = take_word(&rest);
        v->reload_wall_ns = take_number(&rest);
    } else if (str_eq(word, STR("proxy")) || str_eq(word, STR("orchestrator")))
        take_child(v, word, rest);
    else if (str_eq(word, STR("member")))
        take_member(v, word, rest);
    else if (str_eq(word, STR("listener")))
        take_listener(v, rest);
    else if (str_eq(word, STR("plugin")))
        take_plugin(v, rest);
    else if (str_eq(word, STR("fds")))
        take_fds(v, rest);
}

void view_init(struct view *v, struct client *answered)
{
    struct str rest = answered->text, line;
    *v = (struct view){.client = answered,
                       .version = STR(""),
                       .config = STR(""),
                       .state = STR(""),
                       .reload = STR(""),
                       .now_ns = clock_now_ns(),
                       .now_wall_ns = clock_wall_ns()};
    while (str_next(&rest, '\n', &line))
        take_line(v, line);
}

void view_fini(struct view *v)
{
    for (int i = 0; i < v->ledger_count; i++)
        ledger_close(&v->ledgers[i]);
    if (v->has_past)
        ledger_past_close(&v->past);
    topology_unref(&v->topology);
    free(v->processes);
    free(v->listeners);
    free(v->plugins);
}

/* ---- sums ---- */

static bool has_cluster(const struct ledger *l, uint32_t slot)
{
    return slot < l->header->max_clusters;
}

void view_cluster(const struct view *v, uint32_t slot, struct ledger_cluster_sum *out)
{
    *out = (struct ledger_cluster_sum){0};
    if (v->has_past && slot < v->past.max_clusters)
        ledger_past_cluster(&v->past, slot, out);
    for (int i = 0; i < v->ledger_count; i++)
        if (has_cluster(&v->ledgers[i], slot))
            ledger_sum_cluster(&v->ledgers[i], slot, true, v->now_ns, out);
}

void view_endpoint(const struct view *v, uint32_t slot, struct ledger_endpoint_sum *out)
{
    *out = (struct ledger_endpoint_sum){0};
    if (v->has_past && slot < v->past.max_endpoints)
        ledger_past_endpoint(&v->past, slot, out);
    for (int i = 0; i < v->ledger_count; i++)
        if (slot < v->ledgers[i].header->max_endpoints)
            ledger_sum_endpoint(&v->ledgers[i], slot, true, v->now_ns, out);
}

uint64_t view_latency(const struct view *v, uint32_t slot, double q)
{
    uint64_t buckets[LEDGER_HIST_BUCKETS] = {0};
    if (v->has_past && slot < v->past.max_clusters)
        ledger_past_hist(&v->past, slot, buckets);
    for (int i = 0; i < v->ledger_count; i++)
        if (has_cluster(&v->ledgers[i], slot))
            ledger_sum_hist(&v->ledgers[i], slot, buckets);
    return ledger_hist_quantile(buckets, q);
}

void view_rows(const struct view *v, struct view_rows *out)
{
    *out = (struct view_rows){0};
    for (int i = 0; i < v->ledger_count; i++) {
        const struct ledger_header *h = v->ledgers[i].header;
        for (uint32_t w = 0; w < h->workers; w++) {
            const struct ledger_row *r =
                (const void *)(v->ledgers[i].base + h->header_bytes + h->row_bytes * (uint64_t)w);
            out->sessions += ledger_get(&r->sessions);
            out->accepted += ledger_get(&r->accepted);
            out->uplinks += ledger_get(&r->uplinks);
            out->unrouted += ledger_get(&r->unrouted);
            out->log_dropped += ledger_get(&r->log_dropped);
        }
    }
}

bool view_is_quiet(const struct view *v)
{
    struct ledger_cluster_sum sum;
    for (int i = 0; i < v->ledger_count; i++)
        if (!ledger_is_quiet(&v->ledgers[i], &sum))
            return false;
    return v->unreadable_count == 0;
}

/* ---- words ---- */

static const char *word_of(const char *const *words, unsigned count, unsigned i)
{
    return i < count ? words[i] : "unknown";
}

const char *view_member_state(unsigned state)
{
    static const char *const words[] = {"created",        "initialized",         "starting",   "active",
                                        "in_maintenance", "ready_to_shut_down", "terminated", "suspended"};
    return word_of(words, 8, state);
}

const char *view_service(unsigned service)
{
    static const char *const words[] = {"off", "on", "unhealthy", "draining"};
    return word_of(words, 4, service);
}

const char *view_health(unsigned health)
{
    static const char *const words[] = {"unknown", "up", "down"};
    return word_of(words, 3, health);
}

const char *view_protocol(int protocol)
{
    static const char *const words[] = {"http", "fastcgi", "files"};
    return word_of(words, 3, (unsigned)protocol);
}
