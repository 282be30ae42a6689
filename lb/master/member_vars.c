#include <stdlib.h>

#include "base/buf.h"
#include "base/panic.h"
#include "master/members.h"

void member_vars_add(struct vars *v, struct str name, struct str value)
{
    v->names = must(realloc(v->names, sizeof *v->names * (v->n + 1)));
    v->values = must(realloc(v->values, sizeof *v->values * (v->n + 1)));
    v->names[v->n] = str_dup(name);
    v->values[v->n++] = str_dup(value);
}

void member_vars_release(struct vars *v)
{
    for (size_t i = 0; i < v->n; i++) {
        free(v->names[i]);
        free(v->values[i]);
    }
    free(v->names);
    free(v->values);
    *v = (struct vars){0};
}

static bool is_name_byte(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* The name behind a '$': its bytes, and how many of the text it takes. */
static struct str take_name(const char *text, size_t *out_used)
{
    bool braces = text[0] == '{';
    const char *name = text + (braces ? 1 : 0);
    size_t n = 0;
    while (is_name_byte(name[n]))
        n++;
    if (braces && name[n] != '}')
        n = 0;
    *out_used = n ? n + (braces ? 2 : 0) : 0;
    return str_make(name, n);
}

static const char *value_of(const struct vars *vars, struct str name)
{
    for (size_t i = 0; i < vars->n; i++)
        if (str_eq(str_of(vars->names[i]), name))
            return vars->values[i];
    return NULL;
}

char *member_expand(const char *text, const struct vars *vars)
{
    struct buf out;
    buf_init(&out);
    while (*text) {
        size_t used = 0;
        struct str name = *text == '$' ? take_name(text + 1, &used) : STR_NULL;
        const char *value = used ? value_of(vars, name) : NULL;
        if (value) {
            buf_put_str(&out, str_of(value));
            text += 1 + used;
            continue;
        }
        buf_put(&out, text, 1);
        text += text[0] == '$' && text[1] == '$' ? 2 : 1;
    }
    char *copy = str_dup(buf_str(&out));
    buf_fini(&out);
    return copy;
}
