/* Policies: a scaler's module with the options of one section. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/scale_priv.h"

const struct cox_math scale_math = {.size = sizeof scale_math,
                                    .exp = exp,
                                    .log = log,
                                    .pow = pow,
                                    .sqrt = sqrt,
                                    .floor = floor,
                                    .ceil = ceil};

/* FNV-1a, 64 bits. */
uint64_t scale_hash(uint64_t seed, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t h = seed ? seed : 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3ull;
    return h;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    const __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static void add_block(uint64_t h[4], const unsigned char block[32])
{
    uint64_t w[4];
    memcpy(w, block, sizeof w);
    for (int i = 0; i < 4; i++) /* four that do not wait for each other */
        h[i] = mix(h[i] ^ w[i], 0xd6e8feb86659fd93ull + (uint64_t)i * 2);
}

uint64_t scale_checksum(const void *bytes, size_t n)
{
    const unsigned char *p = bytes, *end = p + n;
    unsigned char rest[32] = {0};
    uint64_t h[4] = {0x9e3779b97f4a7c15ull, 0xbf58476d1ce4e5b9ull, 0x94d049bb133111ebull, n};
    for (; end - p >= 32; p += 32)
        add_block(h, p);
    if (end > p)
        memcpy(rest, p, (size_t)(end - p));
    add_block(h, rest);
    return mix(h[0] ^ h[1], 0xa0761d6478bd642full) ^ mix(h[2] ^ h[3], 0xe7037ed1a0b428dbull);
}

static uint64_t hash_text(uint64_t h, const char *text)
{
    return scale_hash(h, text ? text : "", text ? strlen(text) + 1 : 1);
}

static uint64_t hash_options(const struct scaler *p)
{
    uint64_t h = hash_text(0, p->plugin);
    for (size_t i = 0; i < p->values.count; i++) {
        const struct cox_value *v = &p->values.values[i];
        const uint32_t flags = v->flags & COX_VALUE_ABSENT;
        h = hash_text(h, v->key);
        h = scale_hash(h, &flags, sizeof flags);
        h = scale_hash(h, &v->i, sizeof v->i);
        h = scale_hash(h, &v->f, sizeof v->f);
        h = hash_text(h, v->text);
        for (uint32_t k = 0; k < v->list_count; k++)
            h = hash_text(h, v->list[k]);
    }
    return h;
}

/* How long a policy must look before it may shrink what it knows nothing about: the longest of its durations
 * that is called a window. */
static uint64_t window_of(const struct scaler *p)
{
    uint64_t longest_ms = 0;
    for (uint32_t i = 0; i < p->module.plugin.options.count; i++) {
        const struct cox_option *row = COX_AT(struct cox_option, p->module.plugin.options, i);
        const struct cox_value *v = &p->values.values[i];
        if (row->type == COX_OPTION_DURATION && strstr(row->key, "window") &&
            !(v->flags & COX_VALUE_ABSENT) && (uint64_t)v->i > longest_ms)
            longest_ms = (uint64_t)v->i;
    }
    return (longest_ms ? longest_ms : SCALE_WINDOW_MS) * NS_PER_MS;
}

static void complain(const struct plugin_settings *policy, struct str what, struct buf *errors)
{
    buf_printf(errors, "%s:%d: autoscaling policy \"%s\": %.*s\n", policy->file ? policy->file : "?",
               policy->line, policy->name, STR_ARG(what));
}

static bool is_scaler(const struct scaler *p, const struct plugin_settings *policy, struct buf *errors)
{
    const struct cox_scaler *ops = p->module.plugin.scaler;
    if (ops && ops->decide && ops->state_size && ops->init_state)
        return true;
    complain(policy, STR("its plugin decides nothing: it is no scaler"), errors);
    return false;
}

static bool take_scaler(struct scaler *p, const struct plugin_settings *policy, struct buf *errors)
{
    const struct cox_scaler *ops = p->module.plugin.scaler;
    p->state_bytes = ops->state_size(&p->values.options);
    if (p->state_bytes > SCALE_STATE_MAX) {
        complain(policy, STR("its plugin wants a state of more than 1 MiB for each set"), errors);
        return false;
    }
    p->ops = ops;
    p->options_hash = hash_options(p);
    p->fingerprint = scale_hash(hash_text(p->options_hash, p->module.plugin.version), &ops->state_version,
                                sizeof ops->state_version);
    p->window_ns = window_of(p);
    return true;
}

bool scaler_open(struct scaler *p, const struct settings *s, const struct plugin_settings *policy,
                 const char *dir, struct buf *errors)
{
    const struct plugin_settings *instance = settings_plugin(s, policy->plugin);
    const struct schema_place place = {.plugin = policy->plugin, .file = policy->file, .line = policy->line};
    struct buf why;
    *p = (struct scaler){.name = policy->name,
                         .plugin = instance ? instance->plugin : policy->plugin,
                         .source = policy->plugin};
    buf_init(&why);
    bool ok = module_open(&p->module, dir, p->plugin, &why);
    if (!ok)
        complain(policy, buf_str(&why), errors);
    buf_fini(&why);
    if (!ok)
        return false;
    ok = is_scaler(p, policy, errors) &&
         schema_read(p->module.plugin.options, &policy->raw, &place, &p->values, errors);
    if (ok && take_scaler(p, policy, errors))
        return true;
    scaler_close(p);
    return false;
}

void scaler_close(struct scaler *p)
{
    if (!p->module.handle)
        return;
    schema_values_free(&p->values);
    module_close(&p->module);
    p->ops = NULL;
}

void scaler_ask(const struct scaler *p, void *state, const struct cox_sample *sample,
                struct cox_decision *out)
{
    *out = (struct cox_decision){
        .size = sizeof *out, .wanted = NAN, .demand = NAN, .slots_per_member = NAN, .service_mean_ns = NAN};
    p->ops->decide(state, sample, out);
    out->reason[sizeof out->reason - 1] = 0;
    if (out->alternative_count > COX_ALTERNATIVES_MAX)
        out->alternative_count = COX_ALTERNATIVES_MAX;
}

bool scale_check(const struct settings *s, const char *plugin_dir, struct buf *errors)
{
    bool all = true;
    for (size_t i = 0; i < s->policies.count; i++) {
        struct scaler p;
        if (scaler_open(&p, s, SETTINGS_AT(s->policies, struct plugin_settings, i), plugin_dir, errors))
            scaler_close(&p);
        else
            all = false;
    }
    return all;
}
