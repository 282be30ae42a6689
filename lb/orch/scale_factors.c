/* What members or others report about members: load average, memory, the length of a queue. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/panic.h"
#include "orch/scale_priv.h"

#define FRESH_NS    (60 * NS_PER_S) /* an older report says nothing any more */
#define REPORTS_MAX 20000u          /* of one set */

#define KEY_BYTES    512 /* the id of a member or set, and a metric */
#define METRIC_BYTES 64  /* longer names are cut, for records of decisions hold no more */

/* Of one metric of one subject; borrowed from `to`. Empty: the id is too long to be anybody's. */
static struct str key_of(uint32_t metric, struct str subject, char to[KEY_BYTES])
{
    if (subject.n >= KEY_BYTES)
        return STR_NULL;
    to[0] = (char)('A' + metric);
    memcpy(to + 1, subject.p, subject.n);
    return str_make(to, subject.n + 1);
}

static void report_free(struct scale_set *set, struct scale_report *r)
{
    list_remove(&r->node);
    index_remove(&set->reports_by, str_of(r->key));
    free(r->key);
    free(r);
}

void scale_forget_reports(struct scale_set *set)
{
    while (!list_is_empty(&set->reports))
        report_free(set, CONTAINER_OF(set->reports.next, struct scale_report, node));
    index_fini(&set->reports_by);
}

void scale_drop_reports(const struct scale *s, struct scale_set *set, const char *member)
{
    char text[KEY_BYTES];
    for (uint32_t i = 0; i < s->metric_count && !list_is_empty(&set->reports); i++) {
        struct scale_report *r = index_get(&set->reports_by, key_of(i, str_of(member), text));
        if (r)
            report_free(set, r);
    }
}

/* SCALE_FACTORS_MAX: there are too many kinds of metrics. */
static uint32_t metric_index(struct scale *s, const char *metric)
{
    char name[METRIC_BYTES];
    (void)snprintf(name, sizeof name, "%s", metric);
    for (uint32_t i = 0; i < s->metric_count; i++)
        if (strcmp(s->metrics[i], name) == 0)
            return i;
    if (s->metric_count == SCALE_FACTORS_MAX)
        return SCALE_FACTORS_MAX;
    s->metrics[s->metric_count] = must(str_dup(str_of(name)));
    return (uint32_t)s->metric_count++;
}

void scale_know_metrics(struct scale *s)
{
    (void)metric_index(s, "load_average");
    (void)metric_index(s, "memory_consumption");
}

bool scale_heeds_reports(const struct member *m)
{
    return m->state <= MEMBER_ACTIVE || m->state == MEMBER_SUSPENDED;
}

/* NULL: it is nobody, or leaves. */
static struct scale_set *set_of(struct scale *s, struct str subject)
{
    const struct member *m = members_find_exact(s->members, subject);
    if (m)
        return scale_heeds_reports(m) ? m->set->scale : NULL;
    struct member_set *set = members_find_set(s->members, subject);
    return set ? set->scale : NULL;
}

void scale_report(struct scale *s, const char *subject, const char *metric, double value, uint64_t time_ns)
{
    char text[KEY_BYTES];
    struct scale_set *set = set_of(s, str_of(subject));
    const uint32_t index = set && isfinite(value) ? metric_index(s, metric) : SCALE_FACTORS_MAX;
    const struct str key = index < SCALE_FACTORS_MAX ? key_of(index, str_of(subject), text) : STR_NULL;
    if (!key.n)
        return;
    struct scale_report *r = index_get(&set->reports_by, key);
    if (!r && set->reports_by.count >= REPORTS_MAX)
        return;
    if (!r) {
        r = must(calloc(1, sizeof *r));
        *r = (struct scale_report){.key = must(str_dup(key)), .metric = index};
        list_push(&set->reports, &r->node);
        index_put(&set->reports_by, str_of(r->key), r);
    }
    r->value = value;
    r->at_ns = time_ns;
}

/* The mean of each metric over those who reported it lately. What is stale goes: its
 * reporter is gone. */
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
            report_free(set, r);
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
