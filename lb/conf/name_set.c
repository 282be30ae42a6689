#include "conf/name_set.h"

#include <stdlib.h>

#include "base/panic.h"

struct name {
    char *text;     /* owned */
    const void *at; /* whose place it is */
};

void name_set_add(struct name_set *set, char *text, const void *at)
{
    if (set->n == set->cap) {
        set->cap = set->cap ? set->cap * 2 : 64;
        set->v = must(realloc(set->v, set->cap * sizeof *set->v));
    }
    set->v[set->n++] = (struct name){text, at};
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

void name_set_close(struct name_set *set, struct reader *r, const char *what)
{
    const char *file[2];
    int line[2];
    if (set->n)
        qsort(set->v, set->n, sizeof *set->v, by_text);
    for (size_t i = 1; i < set->n; i++) {
        if (strcmp(set->v[i - 1].text, set->v[i].text) != 0)
            continue;
        const void *first = set->v[i - 1].at, *second = set->v[i].at;
        reader_place(r, first, &file[0], &line[0]);
        reader_place(r, second, &file[1], &line[1]);
        if (strcmp(file[0], file[1]) == 0 && line[0] > line[1]) {
            first = second;
            second = set->v[i - 1].at;
            line[0] = line[1];
        }
        reader_error(r, second, "second %s \"%s\"; the first is at %s:%d", what, set->v[i].text, file[0],
                     line[0]);
    }
}

bool name_set_has(const struct name_set *set, const char *text)
{
    struct name key = {(char *)(uintptr_t)text, NULL};
    return set->n && bsearch(&key, set->v, set->n, sizeof key, by_text);
}

void name_set_free(struct name_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        free(set->v[i].text);
    free(set->v);
}
