/* A view out of what the master answers to "status": its lines, and descriptors of the shared memory. */
#include <stdlib.h>

#include "admin/survey.h"
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

static struct survey_process *add_process(struct survey *v)
{
    v->processes = must(realloc(v->processes, sizeof *v->processes * (v->process_count + 1)));
    struct survey_process *p = &v->processes[v->process_count++];
    *p = (struct survey_process){.id = STR("")};
    return p;
}

static void take_child(struct survey *v, struct str role, struct str rest)
{
    struct survey_process *p = add_process(v);
    p->role = role;
    p->pid = take_number(&rest);
    p->number = take_number(&rest);
    p->state = take_word(&rest);
    p->since_wall_ns = take_number(&rest);
}

static void take_member(struct survey *v, struct str role, struct str rest)
{
    struct survey_process *p = add_process(v);
    p->role = role;
    p->pid = take_number(&rest);
    p->state = take_word(&rest);
    p->since_wall_ns = take_number(&rest);
    p->id = rest.p ? rest : STR("");
}

static void take_master(struct survey *v, struct str rest)
{
    v->pid = take_number(&rest);
    v->state = take_word(&rest);
    v->since_wall_ns = take_number(&rest);
    v->upgrades = take_number(&rest);
}

static void take_listener(struct survey *v, struct str rest)
{
    v->listeners = must(realloc(v->listeners, sizeof *v->listeners * (v->listener_count + 1)));
    struct survey_listener *l = &v->listeners[v->listener_count++];
    l->address = take_word(&rest);
    l->name = rest.p ? rest : STR("");
}

static void take_plugin(struct survey *v, struct str rest)
{
    v->plugins = must(realloc(v->plugins, sizeof *v->plugins * (v->plugin_count + 1)));
    struct survey_plugin *p = &v->plugins[v->plugin_count++];
    p->is_left_out = str_eq(take_word(&rest), STR("left_out"));
    p->stalls = take_number(&rest);
    p->name = rest.p ? rest : STR("");
}

static void take_certificate(struct survey *v, struct str rest)
{
    struct survey_certificate *c = survey_add_certificate(v);
    c->end_s = take_number(&rest);
    c->is_kept = take_number(&rest) != 0;
    c->listener = take_word(&rest);
    c->host = take_word(&rest);
    c->file = rest.p ? rest : STR("");
}

/* ---- descriptors ---- */

static void take_topology(struct survey *v, int fd)
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

static void take_ledger(struct survey *v, int fd, uint64_t generation)
{
    if (v->ledger_count == SURVEY_LEDGERS_MAX)
        return;
    if (v->has_past && ledger_past_has(&v->past, generation))
        return; /* it ended since, and is in the totals */
    if (!ledger_open(&v->ledgers[v->ledger_count], fd, false)) {
        v->unreadable_count++;
        return;
    }
    v->partial_count += !ledger_is_whole(&v->ledgers[v->ledger_count]);
    v->generations[v->ledger_count++] = generation;
}

static void take_fds(struct survey *v, struct str names)
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

static void take_line(struct survey *v, struct str line)
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
    else if (str_eq(word, STR("certificate")))
        take_certificate(v, rest);
    else if (str_eq(word, STR("plugin")))
        take_plugin(v, rest);
    else if (str_eq(word, STR("fds")))
        take_fds(v, rest);
}

void survey_init(struct survey *v, struct client *answered)
{
    struct str rest = answered->text, line;
    survey_begin(v);
    v->client = answered;
    while (str_next(&rest, '\n', &line))
        take_line(v, line);
}
