/* Checks of what is done to answers. */
#include "conf/settings_check.h"

static bool is_type_char(char c)
{
    return (c >= '0' && c <= '9') || (char_lower(c) >= 'a' && char_lower(c) <= 'z') ||
           (c && strchr("!#$&-^_.+", c));
}

/* "text/html", "text/" and a star, or a star. */
static bool is_type(struct str text)
{
    ptrdiff_t slash = str_find(text, '/');
    if (str_eq(text, STR("*")))
        return true;
    if (slash <= 0 || (size_t)slash + 1 == text.n)
        return false;
    if (str_eq(str_make(text.p + slash, text.n - (size_t)slash), STR("/*")))
        text.n--;
    for (size_t i = 0; i < text.n; i++)
        if (!is_type_char(text.p[i]) && i != (size_t)slash)
            return false;
    return true;
}

void settings_check_compress(const struct compress_settings *c, struct reader *r)
{
    for (size_t i = 0; i < c->types.n; i++)
        if (!is_type(str_of(c->types.v[i])))
            reader_error(r, &c->types,
                         "\"%s\" in compress: expected a media type such as \"text/html\" or \"text/*\"",
                         c->types.v[i]);
}
