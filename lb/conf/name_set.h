/* name_set: names of one kind in a config, to see what comes twice and what is there. Each with the place
 * that messages point at. On the stack of a check; zero is the empty set. */
#ifndef COX_CONF_NAME_SET_H
#define COX_CONF_NAME_SET_H

#include "conf/reader.h"

struct name;

struct name_set {
    struct name *v; /* owned; sorted by name_set_close */
    size_t n, cap;
};

/* Takes the text over. */
void name_set_add(struct name_set *set, char *text, const void *at);
/* Sorts, and reports what is there twice as "second WHAT ...". */
void name_set_close(struct name_set *set, struct reader *r, const char *what);
/* Once it is closed. */
bool name_set_has(const struct name_set *set, const char *text);
void name_set_free(struct name_set *set);

#endif
