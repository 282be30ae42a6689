/* Commands of coxctl that only the orchestrator can answer. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "orch/orch.h"

static void drain(struct orch *o, const char *id, bool on, struct buf *out)
{
    struct member *m = members_find(&o->members, id);
    const char *why = "";
    if (m) {
        if (on ? members_drain(&o->members, m, &why) : members_undrain(&o->members, m, &why)) {
            buf_printf(out, "ok: member %s is %s\n", m->id, member_state_name(m->state));
            orch_wake(o);
        } else {
            buf_printf(out, "error: member %s: %s (%s)\n", m->id, why, member_state_name(m->state));
        }
        return;
    }
    if (!model_set_admin_drain(o->model, str_of(id), on)) {
        buf_printf(out, "error: no member or endpoint \"%s\", or several\n", id);
        return;
    }
    if (!state_set_drain(&o->state, id, on))
        log_error("too many endpoints are drained by hand: %s is not remembered", id);
    orch_touch(o);
    buf_printf(out, "ok: endpoint %s is %s\n", id, on ? "draining" : "serving");
}

static void list_plugins(struct orch *o, struct buf *out)
{
    buf_printf(out, "ok\n");
    for (struct list *n = o->host.plugins.next; n != &o->host.plugins; n = n->next) {
        const struct plugin *p = CONTAINER_OF(n, struct plugin, node);
        buf_printf(out, "%s\t%s\t%s\tslow_calls=%u\tconflicts=%u\t%s\n", p->name, p->module.plugin.name,
                   p->is_started ? "started" : "stopped", p->slow_calls, p->conflicts,
                   p->source_problem ? p->source_problem : "");
        for (size_t i = 0; i < p->metric_count; i++)
            buf_printf(out, "%s\tcoxswain_plugin_%s\t%g\n", p->name, p->metrics[i].name, p->metrics[i].value);
    }
}

static void refresh(struct orch *o, const char *name, struct buf *out)
{
    struct plugin *p = host_find(&o->host, name);
    if (!p || !p->module.plugin.discovery || !p->module.plugin.discovery->refresh) {
        buf_printf(out, "error: no plugin \"%s\" that reads a source\n", name);
        return;
    }
    struct call c = call_begin(p, "refresh");
    p->module.plugin.discovery->refresh(p->instance);
    call_end(&c);
    buf_printf(out, "ok\n");
}

/* False: it is none of these. */
static bool scale_command(struct orch *o, struct str word, struct str argument, struct buf *out)
{
    if (!o->scale || !argument.n)
        return false;
    if (str_eq(word, STR("scale")))
        scale_by_hand(o->scale, argument, out);
    else if (str_eq(word, STR("explain")))
        scale_explain(o->scale, argument, out);
    else if (str_eq(word, STR("replay")))
        scale_replay(o->scale, argument, out);
    else
        return false;
    orch_scale_touch(o);
    return true;
}

void orch_command(struct orch *o, struct str command, struct buf *out)
{
    struct str word;
    command = str_trim(command);
    if (!str_next(&command, ' ', &word))
        word = STR_NULL;
    char *argument = str_dup(str_trim(command));
    if (str_eq(word, STR("drain")) && argument && *argument)
        drain(o, argument, true, out);
    else if (str_eq(word, STR("undrain")) && argument && *argument)
        drain(o, argument, false, out);
    else if (str_eq(word, STR("plugins")))
        list_plugins(o, out);
    else if (str_eq(word, STR("refresh")) && argument && *argument)
        refresh(o, argument, out);
    else if (!scale_command(o, word, str_trim(command), out))
        buf_printf(
            out,
            "error: the orchestrator knows drain ID, undrain ID, plugins, refresh PLUGIN, scale CLUSTER N, "
            "explain CLUSTER, replay CLUSTER\n");
    free(argument);
}

bool orch_on_admin(struct orch *o, const struct channel_message *m)
{
    struct str payload = m->payload, command;
    uint64_t request;
    if (!unpack_u64(&payload, &request) || !unpack_str(&payload, &command))
        return false;
    struct buf out;
    buf_init(&out);
    orch_command(o, command, &out);
    struct packer *answer = calloc(1, sizeof *answer);
    if (answer) {
        pack_u64(answer, request);
        const struct str text = buf_str(&out);
        pack_str(answer, str_make(text.p, text.n < 3800 ? text.n : 3800)); /* one packer's worth */
        (void)channel_send(o->master, CHANNEL_ADMIN_ANSWER, pack_result(answer), NULL,
                           0); /* false: on_gone follows */
    }
    free(answer);
    buf_fini(&out);
    return true;
}
