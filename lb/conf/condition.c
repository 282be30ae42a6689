#include "conf/condition.h"

#include <string.h>

bool token_is_valid(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = char_lower(s.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c))))
            return false;
    }
    return s.n > 0;
}

bool condition_parse(enum condition_kind kind, struct str text, struct condition *out)
{
    ptrdiff_t equals = str_find(text, '=');
    *out = (struct condition){.kind = (uint8_t)kind, .name = text};
    if (equals >= 0) {
        size_t n = (size_t)equals;
        out->value = str_make(text.p + n + 1, text.n - n - 1);
        out->test = n && text.p[n - 1] == '^' ? CONDITION_PREFIX : CONDITION_EXACT;
        out->name = str_make(text.p, n - (out->test == CONDITION_PREFIX));
    } else if (str_starts(text, STR("!"))) {
        out->test = CONDITION_ABSENT;
        out->name = str_make(text.p + 1, text.n - 1);
    }
    return kind == CONDITION_QUERY ? out->name.n > 0 : token_is_valid(out->name);
}
