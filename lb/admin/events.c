#include "admin/events.h"

#include <stdio.h>

#include "admin/survey.h"
#include "base/clock.h"
#include "topo/route.h"

/* One snapshot's worth: after EVENTS_AT_ONCE only counted. */
struct burst {
    struct events *events;
    uint64_t wall_ns, made;
};

static struct event_row *add(struct events *e, uint64_t wall_ns, const char *kind, struct str subject)
{
    struct event_row *row = &e->rows[e->count % EVENTS_MAX];
    *row = (struct event_row){.number = ++e->count, .wall_ns = wall_ns, .kind = kind};
    size_t n = subject.n < EVENT_SUBJECT_MAX - 1 ? subject.n : EVENT_SUBJECT_MAX - 1;
    if (n)
        memcpy(row->subject, subject.p, n);
    return row;
}

static void note(struct burst *b, const char *kind, struct str subject, const char *what, const char *more)
{
    if (b->made++ >= EVENTS_AT_ONCE)
        return;
    struct event_row *row = add(b->events, b->wall_ns, kind, subject);
    snprintf(row->text, sizeof row->text, "%s%s", what, more);
}

static void note_change(struct burst *b, const char *kind, struct str subject, const char *from,
                        const char *to)
{
    char text[EVENT_TEXT_MAX];
    snprintf(text, sizeof text, "%s \xe2\x86\x92 ", from);
    note(b, kind, subject, text, to);
}

/* As the sorted arrays of a snapshot are ordered. */
static int compare(struct str a, struct str b)
{
    int order = memcmp(a.p ? a.p : "", b.p ? b.p : "", a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* ---- endpoints of one cluster ---- */

static void endpoint_subject(const struct cluster *c, const struct endpoint *e, char *to)
{
    snprintf(to, EVENT_SUBJECT_MAX, "%.*s %.*s", STR_ARG(c->id), STR_ARG(endpoint_id(e)));
}

static void compare_endpoint(struct burst *b, const struct cluster *c, const struct endpoint *from,
                             const struct endpoint *to)
{
    char subject[EVENT_SUBJECT_MAX];
    endpoint_subject(c, to ? to : from, subject);
    if (!from)
        note(b, "endpoint", str_of(subject), "added, ", survey_service(to->service));
    else if (!to)
        note(b, "endpoint", str_of(subject), "removed", "");
    else if (from->service != to->service)
        note_change(b, "endpoint", str_of(subject), survey_service(from->service),
                    survey_service(to->service));
    else if (from->weight != to->weight)
        note(b, "endpoint", str_of(subject), "weight changed", "");
}

static void compare_endpoints(struct burst *b, const struct cluster *from, const struct cluster *to)
{
    uint32_t i = 0, k = 0;
    while (i < from->endpoint_count || k < to->endpoint_count) {
        const struct endpoint *f = i < from->endpoint_count ? &from->endpoints[i] : NULL;
        const struct endpoint *t = k < to->endpoint_count ? &to->endpoints[k] : NULL;
        int order = !f ? 1 : !t ? -1 : compare(endpoint_id(f), endpoint_id(t));
        compare_endpoint(b, to, order <= 0 ? f : NULL, order >= 0 ? t : NULL);
        i += order <= 0;
        k += order >= 0;
    }
}

/* ---- clusters, members, routes ---- */

static void compare_cluster(struct burst *b, const struct cluster *from, const struct cluster *to)
{
    if (from == to)
        return; /* shared: nothing changed */
    if (!from)
        note(b, "cluster", to->id, "added", "");
    else if (!to)
        note(b, "cluster", from->id, "removed", "");
    else
        compare_endpoints(b, from, to);
}

static void compare_clusters(struct burst *b, const struct topology *from, const struct topology *to)
{
    uint32_t i = 0, k = 0;
    while (i < from->cluster_count || k < to->cluster_count) {
        const struct cluster *f = i < from->cluster_count ? from->clusters[i] : NULL;
        const struct cluster *t = k < to->cluster_count ? to->clusters[k] : NULL;
        int order = !f ? 1 : !t ? -1 : compare(f->id, t->id);
        compare_cluster(b, order <= 0 ? f : NULL, order >= 0 ? t : NULL);
        i += order <= 0;
        k += order >= 0;
    }
}

static void compare_member(struct burst *b, const struct member_info *from, const struct member_info *to)
{
    if (!from)
        note(b, "member", to->id, survey_member_state(to->state), "");
    else if (!to)
        note(b, "member", from->id, "gone", "");
    else if (from->state != to->state)
        note_change(b, "member", to->id, survey_member_state(from->state), survey_member_state(to->state));
}

static void compare_members(struct burst *b, const struct topology *from, const struct topology *to)
{
    uint32_t i = 0, k = 0;
    while (i < from->member_count || k < to->member_count) {
        const struct member_info *f = i < from->member_count ? &from->members[i] : NULL;
        const struct member_info *t = k < to->member_count ? &to->members[k] : NULL;
        int order = !f ? 1 : !t ? -1 : compare(f->id, t->id);
        compare_member(b, order <= 0 ? f : NULL, order >= 0 ? t : NULL);
        i += order <= 0;
        k += order >= 0;
    }
}

/* The table is made anew when clusters come or go, though every route may be what it was. */
static bool has_same_routes(const struct topology *a, const struct topology *b)
{
    uint32_t count[2];
    if (a->routes == b->routes)
        return true;
    const struct route *x = route_table_all(a->routes, &count[0]), *y = route_table_all(b->routes, &count[1]);
    for (uint32_t i = 0; count[0] == count[1] && i < count[0]; i++)
        if (!route_same(&x[i], &y[i]))
            return false;
    return count[0] == count[1];
}

void events_on_topology(struct events *e, const struct topology *from, const struct topology *to)
{
    struct burst b = {.events = e, .wall_ns = clock_wall_ns()};
    if (!from) {
        note(&b, "topology", STR(""), "first topology of this orchestrator", "");
        return;
    }
    if (from == to)
        return;
    if (from->member_table != to->member_table)
        compare_members(&b, from, to);
    compare_clusters(&b, from, to);
    if (!has_same_routes(from, to))
        note(&b, "routes", STR(""), "changed", "");
    if (b.made > EVENTS_AT_ONCE) {
        struct event_row *row = add(e, b.wall_ns, "topology", STR(""));
        snprintf(row->text, sizeof row->text, "and %llu more changes",
                 (unsigned long long)(b.made - EVENTS_AT_ONCE));
    }
}

void events_on_scale(struct events *e, struct str set, uint32_t from, uint32_t to, const char *why)
{
    struct event_row *row = add(e, clock_wall_ns(), "scale", set);
    if (from == to)
        snprintf(row->text, sizeof row->text, "%u: %.140s", to, why);
    else
        snprintf(row->text, sizeof row->text, "%u \xe2\x86\x92 %u: %.140s", from, to, why);
}

uint64_t events_known(const struct events *e)
{
    return e->count < EVENTS_MAX ? e->count : EVENTS_MAX;
}

const struct event_row *events_at(const struct events *e, uint64_t i)
{
    return &e->rows[(e->count - events_known(e) + i) % EVENTS_MAX];
}
