/* What members or others report about members: load average, memory, the length of a queue. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/panic.h"
#include "orch/scale_priv.h"

#define FRESH_NS    (60 * NS_PER_S) /* an older report says nothing any more */
#define REPORTS_MAX 20000u          /* of one set */

static void report_free(struct scale_report *r)
{
    list_remove(&r->node);
    free(r->subject);
    free(r);
}

void scale_forget_reports(struct scale_set *set)
{
    while (!list_is_empty(&set->reports))
        report_free(CONTAINER_OF(set->reports.next, struct scale_report, node));
}

/* SCALE_FACTORS_MAX: there are too many kinds of metrics. */
static uint32_t metric_index(struct scale *s, const char *metric)
{
    for (uint32_t i = 0; i < s->metric_count; i++)
        if (strcmp(s->metrics[i], metric) == 0)
            return i;
    if (s->metric_count == SCALE_FACTORS_MAX)
        return SCALE_FACTORS_MAX;
    s->metrics[s->metric_count] = must(str_dup(str_of(metric)));
    return (uint32_t)s->metric_count++;
}

static struct scale_set *set_of(struct scale *s, const char *subject)
{
    struct member *m = members_find(s->members, subject);
    if (m && strcmp(m->id, subject) == 0)
        return m->set->scale;
    struct member_set *set = members_find_set(s->members, str_of(subject));
    return set ? set->scale : NULL;
}

void scale_report(struct scale *s, const char *subject, const char *metric, double value, uint64_t time_ns)
{
    struct scale_set *set = set_of(s, subject);
    const uint32_t index = set && value == value ? metric_index(s, metric) : SCALE_FACTORS_MAX;
    uint32_t count = 0;
    if (index == SCALE_FACTORS_MAX)
        return;
    for (struct list *n = set->reports.next; n != &set->reports; n = n->next, count++) {
        struct scale_report *r = CONTAINER_OF(n, struct scale_report, node);
        if (r->metric != index || strcmp(r->subject, subject) != 0)
            continue;
        r->value = value;
        r->at_ns = time_ns;
        return;
    }
    if (count == REPORTS_MAX)
        return;
    struct scale_report *r = must(calloc(1, sizeof *r));
    *r = (struct scale_report){
        .subject = must(str_dup(str_of(subject))), .metric = index, .value = value, .at_ns = time_ns};
    list_push(&set->reports, &r->node);
}

/* The mean of each metric over those who reported it lately. What is stale goes: its member is gone, or its
 * reporter. */
uint32_t scale_factors(struct scale *s, struct scale_set *set, uint64_t now, struct cox_factor *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->metric_count; i++)
        out[i] = (struct cox_factor){.size = sizeof out[i], .metric = s->metrics[i]};
    for (struct list *n = set->reports.next, *next; n != &set->reports; n = next) {
        next = n->next;
        struct scale_report *r = CONTAINER_OF(n, struct scale_report, node);
        const uint64_t age = now > r->at_ns ? now - r->at_ns : 0;
        if (age > FRESH_NS) {
            report_free(r);
            continue;
        }
        struct cox_factor *f = &out[r->metric];
        f->value += r->value;
        f->count++;
        f->age_ns = age > f->age_ns ? age : f->age_ns;
    }
    for (uint32_t i = 0; i < s->metric_count; i++) {
        if (!out[i].count)
            continue;
        out[count] = out[i];
        out[count].value /= (double)out[i].count;
        count++;
    }
    return count;
}
