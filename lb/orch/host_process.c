/* Processes of this machine: what plugins ask of the master, and what it answers. */
#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "base/panic.h"
#include "orch/host.h"

#define LIST_MAX 65536

int32_t process_watch(const struct cox_host *table, cox_process_fn *fn, void *ctx)
{
    struct plugin *p = host_plugin(table);
    p->process_fn = fn;
    p->process_ctx = ctx;
    return COX_OK;
}

static int32_t send_packed(struct plugin *p, enum channel_type type, const struct packer *packed)
{
    if (packed->overflow)
        return COX_INVALID;
    return p->host->ops->to_master(p->host->ctx, type, pack_result(packed)) ? COX_OK : COX_UNSUPPORTED;
}

int32_t process_start(const struct cox_host *table, const struct cox_process *process)
{
    if (!process || !process->cartridge || !process->member || process->environment.count > HOST_ENV_MAX)
        return COX_INVALID;
    struct packer packed = {.len = 0};
    pack_str(&packed, str_of(process->cartridge));
    pack_str(&packed, str_of(process->member));
    pack_u64(&packed, process->environment.count);
    for (uint32_t i = 0; i < process->environment.count; i++) {
        const struct cox_pair *pair = COX_AT(struct cox_pair, process->environment, i);
        pack_str(&packed, str_of(pair->key));
        pack_str(&packed, str_of(pair->value));
    }
    return send_packed(host_plugin(table), CHANNEL_MEMBER_START, &packed);
}

static int32_t pack_stop(struct packer *packed, const char *member, int32_t signo, uint64_t kill_after_ms)
{
    if (!member || signo <= 0 || signo > 64)
        return COX_INVALID;
    packed->len = 0;
    packed->overflow = false;
    pack_str(packed, str_of(member));
    pack_u64(packed, (uint64_t)signo);
    pack_u64(packed, kill_after_ms);
    return packed->overflow ? COX_INVALID : COX_OK;
}

int32_t process_stop(const struct cox_host *table, const char *member, int32_t signo, uint64_t kill_after_ms)
{
    struct packer packed;
    const int32_t result = pack_stop(&packed, member, signo, kill_after_ms);
    return result == COX_OK ? send_packed(host_plugin(table), CHANNEL_MEMBER_STOP, &packed) : result;
}

bool host_stop_orphan(struct host *h, const char *member, int32_t signo, uint64_t kill_after_ms)
{
    struct packer packed;
    return pack_stop(&packed, member, signo, kill_after_ms) == COX_OK &&
           h->ops->to_master(h->ctx, CHANNEL_MEMBER_STOP, pack_result(&packed));
}

int32_t process_list(const struct cox_host *table)
{
    const struct packer nothing = {.len = 0};
    struct plugin *p = host_plugin(table);
    p->host->has_asked = true;
    return send_packed(p, CHANNEL_MEMBER_ASK_LIST, &nothing);
}

void host_list_orphans(struct host *h)
{
    if (!h->has_asked)
        (void)h->ops->to_master(h->ctx, CHANNEL_MEMBER_ASK_LIST, STR_NULL); /* false: there is none to list */
}

static void tell(struct host *h, const struct cox_process_event *event)
{
    for (struct list *n = h->plugins.next; n != &h->plugins; n = n->next) {
        struct plugin *p = CONTAINER_OF(n, struct plugin, node);
        if (!p->process_fn || !p->is_started)
            continue;
        struct call c = call_begin(p, "a process event");
        p->process_fn(p->process_ctx, event);
        call_end(&c);
    }
}

/* Texts of one message, made into C strings. A message is bounded, so is this. */
struct texts {
    char bytes[32768];
    size_t used;
};

static bool take_text(struct str *in, struct texts *t, const char **out)
{
    struct str s;
    if (!unpack_str(in, &s) || s.n >= sizeof t->bytes - t->used || memchr(s.p, 0, s.n))
        return false;
    memcpy(t->bytes + t->used, s.p, s.n);
    t->bytes[t->used + s.n] = 0;
    *out = t->bytes + t->used;
    t->used += s.n + 1;
    return true;
}

static bool on_started(struct host *h, struct str in)
{
    struct texts texts = {.used = 0};
    struct cox_process_event e = {.size = sizeof e};
    uint64_t pid;
    if (!take_text(&in, &texts, &e.member) || !unpack_u64(&in, &pid) || !take_text(&in, &texts, &e.error))
        return false;
    e.pid = (int64_t)pid;
    e.kind = pid ? COX_PROCESS_STARTED : COX_PROCESS_FAILED;
    tell(h, &e);
    return true;
}

static bool on_exit_of(struct host *h, struct str in)
{
    struct texts texts = {.used = 0};
    struct cox_process_event e = {.size = sizeof e, .kind = COX_PROCESS_EXITED};
    uint64_t status;
    if (!take_text(&in, &texts, &e.member) || !unpack_u64(&in, &status))
        return false;
    e.status = (int32_t)status;
    tell(h, &e);
    const struct cox_member_change change = {.size = sizeof change,
                                             .phase = COX_PHASE_TERMINATED,
                                             .member = e.member,
                                             .reason = "its process has ended"};
    h->ops->orphan(h->ctx, "", &change);
    return true;
}

static const char *find_pair(struct cox_array pairs, const char *key)
{
    for (uint32_t i = 0; i < pairs.count; i++) {
        const struct cox_pair *pair = COX_AT(struct cox_pair, pairs, i);
        if (strcmp(pair->key, key) == 0)
            return pair->value;
    }
    return NULL;
}

/* A process whose plugin instance is no longer in the config has nobody left who would stop it but us. */
static bool is_orphan(struct host *h, const struct cox_process_event *e)
{
    const char *actuator = find_pair(e->environment, "ACTUATOR");
    if (!actuator || h->ops->is_configured(h->ctx, actuator))
        return false;
    log_warn("member %s: its actuator \"%s\" is no longer configured: it is drained and stopped", e->member,
             actuator);
    const struct cox_member_change change = {.size = sizeof change,
                                             .phase = COX_PHASE_RUNNING,
                                             .member = e->member,
                                             .set = find_pair(e->environment, "SET"),
                                             .partition = find_pair(e->environment, "PARTITION"),
                                             .network_partition =
                                                 find_pair(e->environment, "NETWORK_PARTITION"),
                                             .pid = e->pid};
    h->ops->orphan(h->ctx, actuator, &change);
    return true;
}

static bool on_listed(struct host *h, struct str *in)
{
    struct texts texts = {.used = 0};
    struct cox_pair pairs[HOST_ENV_MAX];
    struct cox_process_event e = {.size = sizeof e, .kind = COX_PROCESS_LISTED};
    uint64_t pid, count;
    if (!take_text(in, &texts, &e.member) || !take_text(in, &texts, &e.cartridge) || !unpack_u64(in, &pid) ||
        !unpack_u64(in, &count) || count > HOST_ENV_MAX)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        pairs[i] = (struct cox_pair){.size = sizeof pairs[i]};
        if (!take_text(in, &texts, &pairs[i].key) || !take_text(in, &texts, &pairs[i].value))
            return false;
    }
    e.pid = (int64_t)pid;
    e.environment = (struct cox_array){pairs, (uint32_t)count, (uint32_t)sizeof pairs[0]};
    if (!is_orphan(h, &e))
        tell(h, &e);
    return true;
}

static bool on_list(struct host *h, struct str in)
{
    uint64_t count;
    if (!unpack_u64(&in, &count) || count > LIST_MAX)
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (!on_listed(h, &in))
            return false;
    const struct cox_process_event end = {.size = sizeof end, .kind = COX_PROCESS_LIST_END};
    h->ops->orphans_listed(h->ctx);
    tell(h, &end);
    return true;
}

bool host_on_process(struct host *h, const struct channel_message *m)
{
    switch (m->type) {
    case CHANNEL_MEMBER_STARTED:
        return on_started(h, m->payload);
    case CHANNEL_MEMBER_EXIT:
        return on_exit_of(h, m->payload);
    case CHANNEL_MEMBER_LIST:
        return on_list(h, m->payload);
    default:
        return false;
    }
}
