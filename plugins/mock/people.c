/* Members by id: a table of chains that grows. */
#include <stdlib.h>
#include <string.h>

#include "mock.h"

static uint32_t hash(const char *id)
{
    uint32_t h = 2166136261u;
    for (; *id; id++)
        h = (h ^ (unsigned char)*id) * 16777619u;
    return h;
}

static bool grow(struct people *p)
{
    const uint32_t count = p->bucket_count ? p->bucket_count * 2 : 64;
    struct member **fresh = calloc(count, sizeof(struct member *));
    if (!fresh)
        return false;
    for (uint32_t i = 0; i < p->bucket_count; i++)
        for (struct member *m = p->buckets[i], *next; m; m = next) {
            struct member **at = &fresh[hash(m->id) % count];
            next = m->next;
            m->next = *at;
            *at = m;
        }
    free(p->buckets);
    p->buckets = fresh;
    p->bucket_count = count;
    return true;
}

static void member_free(struct member *m)
{
    for (uint32_t i = 0; i < m->port_count; i++) {
        free(m->ports[i].name);
        free(m->ports[i].text);
    }
    free(m->id);
    free(m->set);
    free(m->partition);
    free(m->network);
    free(m);
}

static char *copy(const char *text)
{
    return strdup(text ? text : "");
}

struct member *people_add(struct people *p, const char *id, const char *set, const char *partition,
                          const char *network)
{
    if (p->count >= MEMBERS_MAX || (p->count >= p->bucket_count && !grow(p)))
        return NULL;
    struct member *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->id = copy(id);
    m->set = copy(set);
    m->partition = copy(partition);
    m->network = copy(network);
    if (!m->id || !m->set || !m->partition || !m->network) {
        member_free(m);
        return NULL;
    }
    struct member **at = &p->buckets[hash(id) % p->bucket_count];
    m->next = *at;
    *at = m;
    p->count++;
    return m;
}

struct member *people_find(const struct people *p, const char *id)
{
    struct member *m = p->bucket_count ? p->buckets[hash(id) % p->bucket_count] : NULL;
    while (m && strcmp(m->id, id) != 0)
        m = m->next;
    return m;
}

void people_remove(struct people *p, struct member *gone)
{
    for (struct member **at = &p->buckets[hash(gone->id) % p->bucket_count]; *at; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            p->count--;
            member_free(gone);
            return;
        }
}

struct member *people_next(const struct people *p, uint32_t *bucket, struct member *m)
{
    if (m && m->next)
        return m->next;
    while (*bucket < p->bucket_count)
        if ((m = p->buckets[(*bucket)++]))
            return m;
    return NULL;
}

void people_fini(struct people *p)
{
    for (uint32_t i = 0; i < p->bucket_count; i++)
        while (p->buckets[i])
            people_remove(p, p->buckets[i]);
    free(p->buckets);
    *p = (struct people){0};
}
