/* mock_count: a platform that is told how many members a set has in a partition, and names them itself. */
#include <inttypes.h>
#include <string.h>

#include "mock.h"

#define ID_BYTES 160

static bool is_of(const struct member *m, const struct cox_count_target *t)
{
    return !m->gone_at_ms && strcmp(m->set, t->set) == 0 &&
           strcmp(m->partition, t->partition ? t->partition : "") == 0;
}

static uint32_t count(const struct instance *p, const struct cox_count_target *t)
{
    uint32_t bucket = 0, n = 0;
    for (const struct member *m = people_next(&p->people, &bucket, NULL); m;
         m = people_next(&p->people, &bucket, (struct member *)(uintptr_t)m))
        n += is_of(m, t);
    return n;
}

/* By set and time, so that none is ever given again. */
static void name(const struct instance *p, const struct cox_count_target *t, char id[ID_BYTES])
{
    uint64_t moment = p->host->wall_ns(p->host);
    do {
        (void)snprintf(id, ID_BYTES, "%.100s-p%" PRIx64, t->set, moment++);
        for (char *c = id; *c; c++)
            *c = (char)(*c == '/' ? '-' : *c);
    } while (people_find(&p->people, id));
}

static uint32_t grow(struct instance *p, const struct cox_count_target *t, uint32_t by, const char **out_why)
{
    for (; by; by--) {
        char id[ID_BYTES];
        name(p, t, id);
        const struct cox_member_spec spec = {.size = sizeof spec,
                                             .member = id,
                                             .set = t->set,
                                             .cartridge = t->cartridge,
                                             .partition = t->partition,
                                             .ports = t->ports};
        const uint32_t result = mock_make(p, &spec, out_why);
        if (result != COX_TICKET_DONE)
            return result;
    }
    return COX_TICKET_DONE;
}

/* Who is named first, then those that do not run yet, then any. */
static bool shrink(struct instance *p, const struct cox_count_target *t, uint32_t by)
{
    for (uint32_t i = 0; i < t->victims.count && by; i++) {
        struct member *m = people_find(&p->people, *COX_AT(const char *const, t->victims, i));
        if (!m || !is_of(m, t))
            continue;
        if (!mock_end(m, 0))
            return false;
        by--;
    }
    for (int may_run = 0; may_run < 2 && by; may_run++) {
        uint32_t bucket = 0;
        for (struct member *m = people_next(&p->people, &bucket, NULL), *next; m && by; m = next) {
            next = people_next(&p->people, &bucket, m); /* its end may free it */
            if (!is_of(m, t) || (m->runs && !may_run))
                continue;
            if (!mock_end(m, 0))
                return false;
            by--;
        }
    }
    return true;
}

int32_t mock_set_count(void *instance, uint64_t ticket, const struct cox_count_target *target)
{
    struct instance *p = instance;
    const char *why = NULL;
    uint32_t result = COX_TICKET_DONE;
    const uint32_t now = count(p, target);
    if (now < target->count)
        result = grow(p, target, target->count - now, &why);
    else if (!shrink(p, target, now - target->count))
        return COX_FAILED;
    p->host->ticket_done(p->host, ticket, result, why);
    return COX_OK;
}
