/* GET /v1/scale: what the scaling loop wants, and why. */
#include <math.h>

#include "admin/admin.h"
#include "admin/json_view.h"
#include "base/panic.h"

static json_t *word_or_null(const char *word)
{
    return word && *word ? json_word(word) : json_null();
}

static json_t *real_or_null(double v)
{
    return isfinite(v) ? must(json_real(v)) : json_null();
}

static json_t *causes(const struct scale_view *view)
{
    json_t *o = must(json_object());
    for (uint32_t i = 0; i < sizeof view->causes / sizeof view->causes[0]; i++)
        if (view->causes[i])
            json_set(o, scale_cause_name(i), json_number(view->causes[i]));
    return o;
}

static json_t *one_set(const struct scale_view *view)
{
    json_t *o = must(json_object());
    json_set(o, "set", json_word(view->set));
    json_set(o, "policy", word_or_null(view->policy));
    json_set(o, "plugin", word_or_null(view->plugin));
    json_set(o, "wanted", json_number(view->count));
    json_set(o, "asked", real_or_null(view->wanted));
    json_set(o, "ready", json_number(view->ready));
    json_set(o, "starting", json_number(view->starting));
    json_set(o, "draining", json_number(view->draining));
    json_set(o, "min", json_number(view->min));
    json_set(o, "max", json_number(view->max));
    json_set(o, "floor", json_number(view->floor));
    json_set(o, "floor_origin", json_word(scale_floor_name(view->floor_origin)));
    json_set(o, "by_hand", json_boolean(view->is_by_hand));
    json_set(o, "by_hand_until", json_moment(view->hand_until_wall_ns));
    json_set(o, "may_not_shrink", json_boolean(view->may_not_shrink));
    json_set(o, "not_capacity", json_boolean(view->is_not_capacity));
    json_set(o, "cause", json_word(scale_cause_name(view->cause)));
    json_set(o, "reason", word_or_null(view->why));
    json_set(o, "changed", json_moment(view->changed_wall_ns));
    json_set(o, "samples", json_number(view->samples));
    json_set(o, "ups", json_number(view->ups));
    json_set(o, "downs", json_number(view->downs));
    json_set(o, "decisions", causes(view));
    return o;
}

void api_scale(struct admin *a, const struct survey *v, struct buf *out)
{
    struct scale *s = a->orch->scale;
    json_t *list = must(json_array());
    for (size_t i = 0; s && i < scale_count(s); i++) {
        struct scale_view view;
        scale_look(s, i, &view);
        json_append(list, one_set(&view));
    }
    api_begin(v, out);
    api_put_member("sets", list, out);
    buf_printf(out, "}\n");
}
