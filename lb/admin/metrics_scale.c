#include "admin/metrics_scale.h"

#include <math.h>

#include "admin/metrics_text.h"

enum { WANTED, ASKED, READY, STARTING, DRAINING, MAX, CHANGES, DECISIONS };

static const struct {
    const char *name, *type, *help;
} rows[METRICS_SET_ROWS] = {
    [WANTED] = {"set_wanted", "gauge", "Members that the set is kept at."},
    [ASKED] = {"set_asked", "gauge", "What its scaler asked for, neither rounded nor bounded."},
    [READY] = {"set_ready", "gauge", "Members that are active."},
    [STARTING] = {"set_starting", "gauge", "Members that are being started."},
    [DRAINING] = {"set_draining", "gauge", "Members that finish what they have."},
    [MAX] = {"set_max", "gauge", "Members that the set may have at most."},
    [CHANGES] = {"set_changes_total", "counter", "Changes of the wanted count, by direction."},
    [DECISIONS] = {"set_decisions_total", "counter", "Decisions, by what led to them."},
};

static void open_set(const char *name, const char *set, struct buf *b)
{
    buf_printf(b, "coxswain_%s{set=\"", name);
    metrics_put_escaped(b, str_of(set));
    buf_printf(b, "\"");
}

void metrics_begin_set_row(unsigned row, struct buf *b)
{
    metrics_family(b, rows[row].name, rows[row].type, rows[row].help);
}

static void put_changes(const struct scale_view *view, struct buf *b)
{
    open_set(rows[CHANGES].name, view->set, b);
    metrics_put_label(b, "direction", "up");
    metrics_close_number(b, view->ups);
    open_set(rows[CHANGES].name, view->set, b);
    metrics_put_label(b, "direction", "down");
    metrics_close_number(b, view->downs);
}

static void put_decisions(const struct scale_view *view, struct buf *b)
{
    for (uint32_t i = 0; i < sizeof view->causes / sizeof view->causes[0]; i++) {
        if (!view->causes[i])
            continue;
        open_set(rows[DECISIONS].name, view->set, b);
        metrics_put_label(b, "cause", scale_cause_name(i));
        metrics_close_number(b, view->causes[i]);
    }
}

void metrics_put_set_row(const struct scale_view *view, unsigned row, struct buf *b)
{
    const uint64_t values[] = {view->count, 0, view->ready, view->starting, view->draining, view->max};
    if (row == CHANGES) {
        put_changes(view, b);
        return;
    }
    if (row == DECISIONS) {
        put_decisions(view, b);
        return;
    }
    if (row == ASKED && isnan(view->wanted))
        return;
    open_set(rows[row].name, view->set, b);
    if (row == ASKED)
        buf_printf(b, "} %.9g\n", view->wanted);
    else
        metrics_close_number(b, values[row]);
}
