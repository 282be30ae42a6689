#include "master/state.h"

#include <stdlib.h>

#include "base/panic.h"
#include "master/members.h"
#include "run/channel.h"

enum state_tag {
    TAG_LISTENER = 1,
    TAG_GENERATION,
    TAG_MEMBER,
    TAG_ORCHESTRATOR,
    TAG_COUNTERS,
    TAG_DESCRIPTORS,
    TAG_CONTROL_PATH,
    TAG_LIMITS,
    TAG_EXECUTABLE,
    TAG_TICKETS,
    TAG_PLACES
};

void state_init(struct upgrade_state *s)
{
    *s = (struct upgrade_state){.orchestrator_fd = -1,
                                .places_fd = -1,
                                .past_fd = -1,
                                .topology_fd = -1,
                                .control_fd = -1,
                                .waiter_fd = -1};
}

void state_fini(struct upgrade_state *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        free(s->listeners[i].address);
        free(s->listeners[i].fds);
    }
    for (size_t i = 0; i < s->member_count; i++) {
        free(s->members[i].id);
        free(s->members[i].cartridge);
        member_vars_release(&s->members[i].vars);
    }
    free(s->listeners);
    free(s->generations);
    free(s->members);
    free(s->control_path);
    free(s->executable);
    state_init(s);
}

struct state_listener *state_add_listener(struct upgrade_state *s)
{
    s->listeners = must(realloc(s->listeners, sizeof *s->listeners * (s->listener_count + 1)));
    struct state_listener *l = &s->listeners[s->listener_count++];
    *l = (struct state_listener){0};
    return l;
}

struct state_generation *state_add_generation(struct upgrade_state *s)
{
    s->generations = must(realloc(s->generations, sizeof *s->generations * (s->generation_count + 1)));
    struct state_generation *g = &s->generations[s->generation_count++];
    *g = (struct state_generation){.channel_fd = -1, .ledger_fd = -1};
    return g;
}

struct state_member *state_add_member(struct upgrade_state *s)
{
    s->members = must(realloc(s->members, sizeof *s->members * (s->member_count + 1)));
    struct state_member *m = &s->members[s->member_count++];
    *m = (struct state_member){.output_fd = -1};
    return m;
}

/* ---- writing ---- */

/* Descriptors travel plus one, so that "none" is 0. */
static void put_fd(struct buf *b, int fd)
{
    buf_pack_u64(b, (uint64_t)(fd + 1));
}

static void put_record(struct buf *out, enum state_tag tag, struct buf *body)
{
    buf_pack_u64(out, tag);
    buf_pack_str(out, buf_str(body));
    body->len = 0;
}

static void put_listener(const struct state_listener *l, struct buf *b)
{
    buf_pack_str(b, str_of(l->address));
    buf_pack_u64(b, (uint64_t)l->count);
    for (int i = 0; i < l->count; i++)
        put_fd(b, l->fds[i]);
    buf_pack_u64(b, l->is_given);
}

static void put_generation(const struct state_generation *g, struct buf *b)
{
    buf_pack_u64(b, g->number);
    buf_pack_u64(b, g->state);
    buf_pack_u64(b, (uint64_t)g->pid);
    put_fd(b, g->channel_fd);
    put_fd(b, g->ledger_fd);
}

static void put_member(const struct state_member *m, struct buf *b)
{
    buf_pack_str(b, str_of(m->id));
    buf_pack_str(b, str_of(m->cartridge));
    buf_pack_u64(b, (uint64_t)m->pid);
    put_fd(b, m->output_fd);
    buf_pack_u64(b, m->since_wall_ns);
    buf_pack_u64(b, m->vars.n);
    for (size_t i = 0; i < m->vars.n; i++) {
        buf_pack_str(b, str_of(m->vars.names[i]));
        buf_pack_str(b, str_of(m->vars.values[i]));
    }
}

static void put_singles(const struct upgrade_state *s, struct buf *b, struct buf *out)
{
    buf_pack_u64(b, (uint64_t)s->orchestrator_pid);
    put_fd(b, s->orchestrator_fd);
    put_record(out, TAG_ORCHESTRATOR, b);
    buf_pack_u64(b, s->last_generation);
    buf_pack_u64(b, s->last_epoch);
    buf_pack_u64(b, s->restarts);
    put_record(out, TAG_COUNTERS, b);
    put_fd(b, s->past_fd);
    put_fd(b, s->topology_fd);
    put_fd(b, s->control_fd);
    put_fd(b, s->waiter_fd);
    put_record(out, TAG_DESCRIPTORS, b);
    put_fd(b, s->places_fd);
    put_record(out, TAG_PLACES, b);
    buf_pack_str(b, str_of(s->control_path));
    put_record(out, TAG_CONTROL_PATH, b);
    buf_pack_str(b, str_of(s->executable));
    put_record(out, TAG_EXECUTABLE, b);
    buf_pack_u64(b, s->files_soft);
    buf_pack_u64(b, s->files_hard);
    put_record(out, TAG_LIMITS, b);
    if (!s->has_tickets)
        return;
    buf_put(b, &s->tickets, sizeof s->tickets);
    put_record(out, TAG_TICKETS, b);
}

void state_encode(const struct upgrade_state *s, struct buf *out)
{
    struct buf body;
    buf_init(&body);
    buf_pack_u64(out, STATE_MAGIC);
    buf_pack_u64(out, STATE_VERSION);
    for (size_t i = 0; i < s->listener_count; i++) {
        put_listener(&s->listeners[i], &body);
        put_record(out, TAG_LISTENER, &body);
    }
    for (size_t i = 0; i < s->generation_count; i++) {
        put_generation(&s->generations[i], &body);
        put_record(out, TAG_GENERATION, &body);
    }
    for (size_t i = 0; i < s->member_count; i++) {
        put_member(&s->members[i], &body);
        put_record(out, TAG_MEMBER, &body);
    }
    put_singles(s, &body, out);
    buf_fini(&body);
}

/* ---- reading ---- */

static bool take_fd(struct str *in, int *out_fd)
{
    uint64_t v;
    if (!unpack_u64(in, &v) || v > INT32_MAX)
        return false;
    *out_fd = (int)v - 1;
    return true;
}

static bool take_pid(struct str *in, pid_t *out_pid)
{
    uint64_t v;
    if (!unpack_u64(in, &v) || v > INT32_MAX)
        return false;
    *out_pid = (pid_t)v;
    return true;
}

static bool take_text(struct str *in, char **out)
{
    struct str s;
    if (!unpack_str(in, &s))
        return false;
    *out = str_dup(s);
    return true;
}

static bool take_listener(struct str in, struct upgrade_state *s)
{
    struct state_listener *l = state_add_listener(s);
    uint64_t n;
    if (!take_text(&in, &l->address) || !unpack_u64(&in, &n) || n > STATE_ITEMS_MAX)
        return false;
    l->fds = must(calloc((size_t)n + 1, sizeof *l->fds));
    for (; l->count < (int)n; l->count++)
        if (!take_fd(&in, &l->fds[l->count]))
            return false;
    n = 0;
    if (in.n && !unpack_u64(&in, &n)) /* older versions do not say it */
        return false;
    l->is_given = n == 1;
    return true;
}

static bool take_generation(struct str in, struct upgrade_state *s)
{
    struct state_generation *g = state_add_generation(s);
    return unpack_u64(&in, &g->number) && unpack_u64(&in, &g->state) && take_pid(&in, &g->pid) &&
           take_fd(&in, &g->channel_fd) && take_fd(&in, &g->ledger_fd);
}

static bool take_member(struct str in, struct upgrade_state *s)
{
    struct state_member *m = state_add_member(s);
    uint64_t n;
    if (!take_text(&in, &m->id) || !take_text(&in, &m->cartridge) || !take_pid(&in, &m->pid) ||
        !take_fd(&in, &m->output_fd) || !unpack_u64(&in, &m->since_wall_ns) || !unpack_u64(&in, &n) ||
        n > STATE_ITEMS_MAX)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        struct str name, value;
        if (!unpack_str(&in, &name) || !unpack_str(&in, &value))
            return false;
        member_vars_add(&m->vars, name, value);
    }
    return true;
}

static bool take_record(uint64_t tag, struct str in, struct upgrade_state *s)
{
    switch (tag) {
    case TAG_LISTENER:
        return take_listener(in, s);
    case TAG_GENERATION:
        return take_generation(in, s);
    case TAG_MEMBER:
        return take_member(in, s);
    case TAG_ORCHESTRATOR:
        return take_pid(&in, &s->orchestrator_pid) && take_fd(&in, &s->orchestrator_fd);
    case TAG_COUNTERS:
        return unpack_u64(&in, &s->last_generation) && unpack_u64(&in, &s->last_epoch) &&
               unpack_u64(&in, &s->restarts);
    case TAG_DESCRIPTORS:
        return take_fd(&in, &s->past_fd) && take_fd(&in, &s->topology_fd) && take_fd(&in, &s->control_fd) &&
               take_fd(&in, &s->waiter_fd);
    case TAG_CONTROL_PATH:
        free(s->control_path);
        return take_text(&in, &s->control_path);
    case TAG_EXECUTABLE:
        free(s->executable);
        return take_text(&in, &s->executable);
    case TAG_LIMITS:
        return unpack_u64(&in, &s->files_soft) && unpack_u64(&in, &s->files_hard);
    case TAG_PLACES:
        return take_fd(&in, &s->places_fd);
    case TAG_TICKETS: /* of another size: of another version, whose tickets we could not open */
        s->has_tickets = in.n == sizeof s->tickets;
        if (s->has_tickets)
            memcpy(&s->tickets, in.p, in.n);
        return true;
    default:
        return true; /* of a later version, which knows that we may not */
    }
}

bool state_decode(struct str in, struct upgrade_state *s)
{
    uint64_t magic, version, tag;
    struct str body;
    size_t records = 0;
    if (!unpack_u64(&in, &magic) || magic != STATE_MAGIC || !unpack_u64(&in, &version) ||
        version != STATE_VERSION)
        return false;
    while (in.n) {
        if (++records > STATE_ITEMS_MAX || !unpack_u64(&in, &tag) || !unpack_str(&in, &body))
            return false;
        if (!take_record(tag, body, s))
            return false;
    }
    return true;
}

static void each(void (*fn)(void *ctx, int fd), void *ctx, int fd)
{
    if (fd >= 0)
        fn(ctx, fd);
}

void state_each_fd(const struct upgrade_state *s, void (*fn)(void *ctx, int fd), void *ctx)
{
    for (size_t i = 0; i < s->listener_count; i++)
        for (int k = 0; k < s->listeners[i].count; k++)
            each(fn, ctx, s->listeners[i].fds[k]);
    for (size_t i = 0; i < s->generation_count; i++) {
        each(fn, ctx, s->generations[i].channel_fd);
        each(fn, ctx, s->generations[i].ledger_fd);
    }
    for (size_t i = 0; i < s->member_count; i++)
        each(fn, ctx, s->members[i].output_fd);
    each(fn, ctx, s->orchestrator_fd);
    each(fn, ctx, s->past_fd);
    each(fn, ctx, s->places_fd);
    each(fn, ctx, s->topology_fd);
    each(fn, ctx, s->control_fd);
    each(fn, ctx, s->waiter_fd);
}
