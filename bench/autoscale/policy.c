#include "policy.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

static const struct cox_math math_table = {.size = sizeof(math_table),
                                           .exp = exp,
                                           .log = log,
                                           .pow = pow,
                                           .sqrt = sqrt,
                                           .floor = floor,
                                           .ceil = ceil};

static const struct baseline *find_baseline(const char *name)
{
    for (const struct baseline *b = baselines; b->name; b++)
        if (strcmp(b->name, name) == 0)
            return b;
    return NULL;
}

static bool knobs_read(struct policy *p, const char *const *settings, size_t n, struct buf *why)
{
    for (size_t i = 0; i < BASELINE_KNOBS; i++)
        p->knobs[i] = p->baseline->knobs[i].value;
    for (size_t i = 0; i < n; i++) {
        const char *is = strchr(settings[i], '=');
        size_t k = 0;
        while (is && k < BASELINE_KNOBS && p->baseline->knobs[k].name &&
               !str_eq(str_of(p->baseline->knobs[k].name),
                       (struct str){settings[i], (size_t)(is - settings[i])}))
            k++;
        char *end = NULL;
        if (!is || k == BASELINE_KNOBS || !p->baseline->knobs[k].name) {
            buf_printf(why, "%s has no setting %s", p->name, settings[i]);
            return false;
        }
        p->knobs[k] = strtod(is + 1, &end);
        if (*end || end == is + 1 || !isfinite(p->knobs[k])) {
            buf_printf(why, "%s: %s is no number", p->name, settings[i]);
            return false;
        }
    }
    return true;
}

/* As the config file would have given it. */
static bool raw_of(const char *setting, struct raw_option *out)
{
    const char *is = strchr(setting, '=');
    if (!is || is == setting)
        return false;
    char *end;
    *out = (struct raw_option){.key = must(strndup(setting, (size_t)(is - setting)))};
    out->i = strtoll(is + 1, &end, 10);
    if (*end == 0 && end != is + 1) {
        out->type = 'i';
        return true;
    }
    out->f = strtod(is + 1, &end);
    if (*end == 0 && end != is + 1) {
        out->type = 'f';
        return true;
    }
    out->type = 's';
    out->s = must(strdup(is + 1));
    if (strcmp(out->s, "true") == 0 || strcmp(out->s, "false") == 0) {
        out->type = 'b';
        out->i = out->s[0] == 't';
    }
    return true;
}

static bool options_read(struct policy *p, const char *const *settings, size_t n, struct buf *why)
{
    struct raw_option raw[32];
    size_t count = 0;
    const struct schema_place place = {.plugin = p->name, .file = "command line"};
    bool is_good = n <= 32;
    while (is_good && count < n) {
        is_good = raw_of(settings[count], &raw[count]);
        if (!is_good)
            buf_printf(why, "%s is not key=value", settings[count]);
        else
            count++;
    }
    const struct raw_options all = {.v = raw, .n = count};
    is_good = is_good && schema_read(p->module.plugin.options, &all, &place, &p->values, why);
    for (size_t i = 0; i < count; i++) {
        free(raw[i].key);
        free(raw[i].s);
    }
    return is_good;
}

static bool open_plugin(struct policy *p, const char *name, const char *dir, const char *const *settings,
                        size_t n, struct buf *why)
{
    char path[4096], *stem = path;
    const size_t length = strlen(name);
    if (length >= sizeof(path))
        return false;
    memcpy(path, name, length + 1);
    char *slash = strrchr(path, '/');
    if (slash && length > 3 && strcmp(name + length - 3, ".so") == 0) {
        path[length - 3] = 0;
        *slash = 0;
        dir = path;
        stem = slash + 1;
    }
    if (!module_open(&p->module, dir, stem, why))
        return false;
    if (!p->module.plugin.scaler) {
        buf_printf(why, "%s is no scaler", name);
        return false;
    }
    if (!options_read(p, settings, n, why))
        return false;
    p->state = must(calloc(1, p->module.plugin.scaler->state_size(&p->values.options) + 64));
    return true;
}

bool policy_open(struct policy *p, const char *name, const char *dir, const char *const *settings,
                 size_t setting_count, const struct policy_world *world, struct buf *why)
{
    *p = (struct policy){.name = name, .world = *world, .baseline = find_baseline(name)};
    bool is_good;
    if (p->baseline) {
        is_good = knobs_read(p, settings, setting_count, why);
        p->state = must(calloc(1, p->baseline->state_bytes + 1));
        if (is_good && p->baseline->prepare)
            p->baseline->prepare(p);
    } else {
        is_good = open_plugin(p, name, dir, settings, setting_count, why);
    }
    if (!is_good)
        policy_close(p);
    else
        policy_reset(p);
    return is_good;
}

void policy_close(struct policy *p)
{
    if (p->baseline && p->baseline->release)
        p->baseline->release(p);
    schema_values_free(&p->values);
    if (p->module.handle)
        module_close(&p->module);
    free(p->state);
    *p = (struct policy){0};
}

void policy_reset(struct policy *p)
{
    if (p->baseline)
        memset(p->state, 0, p->baseline->state_bytes + 1);
    else
        p->module.plugin.scaler->init_state(&p->values.options, p->state);
}

void policy_decide(struct policy *p, struct cox_sample *sample, struct cox_decision *out)
{
    *out = (struct cox_decision){.size = sizeof(*out),
                                 .wanted = sample->current,
                                 .demand = NAN,
                                 .slots_per_member = NAN,
                                 .service_mean_ns = NAN};
    if (p->baseline) {
        p->baseline->decide(p, sample, out);
        return;
    }
    sample->math = &math_table;
    sample->options = &p->values.options;
    p->module.plugin.scaler->decide(p->state, sample, out);
}
