/* condition: what a route may ask of a header field, a query argument or a cookie, as one short text.
 *
 *   NAME           it is there              !NAME          it is not there
 *   NAME=VALUE     it has this value        NAME^=PREFIX   its value begins so
 *
 * Pure; borrows from the text. */
#ifndef COX_CONF_CONDITION_H
#define COX_CONF_CONDITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum condition_kind { CONDITION_HEADER, CONDITION_QUERY, CONDITION_COOKIE };
enum condition_test { CONDITION_PRESENT, CONDITION_ABSENT, CONDITION_EXACT, CONDITION_PREFIX };

struct condition {
    uint8_t kind, test;
    struct str name, value; /* value: of EXACT and PREFIX */
};

/* False when there is no name, or it is no token where one is needed (headers, cookies). */
bool condition_parse(enum condition_kind kind, struct str text, struct condition *out)
    __attribute__((warn_unused_result));
/* What a value of the request says about an EXACT or PREFIX condition. */
static inline bool condition_fits(const struct condition *c, struct str value)
{
    if (c->test == CONDITION_EXACT)
        return str_eq(value, c->value);
    return c->test != CONDITION_PREFIX || str_starts(value, c->value);
}
/* 1*tchar of RFC 9110 5.6.2. */
bool token_is_valid(struct str s);

#endif
