#include "conf/template.h"

#include <stdlib.h>

#include "base/panic.h"
#include "conf/condition.h"

static const struct {
    struct str name;
    uint8_t variable;
} names[] = {
#define TEMPLATE_ROW(symbol, name, help) {STR(name), TEMPLATE_##symbol},
    TEMPLATE_TABLE(TEMPLATE_ROW)
#undef TEMPLATE_ROW
};

static uint8_t variable_of(struct str name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq(names[i].name, name))
            return names[i].variable;
    return TEMPLATE_TEXT;
}

static void add(struct template *t, uint8_t variable, struct str text)
{
    if (variable == TEMPLATE_TEXT && !text.n)
        return;
    t->parts = must(realloc(t->parts, (t->count + 1) * sizeof *t->parts));
    t->parts[t->count++] = (struct template_part){.variable = variable, .text = text};
}

static size_t name_length(struct str s)
{
    size_t n = 0;
    while (n < s.n && ((s.p[n] >= 'a' && s.p[n] <= 'z') || s.p[n] == '_'))
        n++;
    return n;
}

/* What follows a dollar, taken off the front of *rest. */
static bool take_variable(struct template *t, struct str *rest, bool in_answer, struct buf *why)
{
    bool is_braced = str_starts(*rest, STR("{"));
    struct str at = is_braced ? str_make(rest->p + 1, rest->n - 1) : *rest;
    if (str_starts(*rest, STR("$"))) {
        add(t, TEMPLATE_TEXT, str_make(rest->p, 1));
        *rest = str_make(rest->p + 1, rest->n - 1);
        return true;
    }
    size_t n = name_length(at);
    uint8_t variable = variable_of(str_make(at.p, n));
    if (variable == TEMPLATE_TEXT || (is_braced && (n == at.n || at.p[n] != '}'))) {
        if (why)
            buf_printf(why, "\"$%.*s\" is no variable (\"$$\" stands for a dollar)",
                       (int)(at.p + n - rest->p), rest->p);
        return false;
    }
    if (variable >= TEMPLATE_CLUSTER && !in_answer) {
        if (why)
            buf_printf(why, "\"$%.*s\" is known in response_headers only", (int)n, at.p);
        return false;
    }
    add(t, variable, STR_NULL);
    n += is_braced;
    *rest = str_make(at.p + n, at.n - n);
    return true;
}

bool template_parse(struct str source, bool in_answer, struct template *out, struct buf *why)
{
    *out = (struct template){0};
    for (struct str rest = source; rest.n;) {
        ptrdiff_t dollar = str_find(rest, '$');
        size_t n = dollar < 0 ? rest.n : (size_t)dollar;
        add(out, TEMPLATE_TEXT, str_make(rest.p, n));
        rest = str_make(rest.p + n, rest.n - n);
        if (!rest.n)
            break;
        rest = str_make(rest.p + 1, rest.n - 1);
        if (!take_variable(out, &rest, in_answer, why)) {
            template_fini(out);
            return false;
        }
    }
    return true;
}

void template_fini(struct template *t)
{
    free(t->parts);
    *t = (struct template){0};
}

/* ---- header changes ---- */

bool field_line_parse(struct str line, struct str *out_name, struct str *out_value)
{
    ptrdiff_t colon = str_find(line, ':');
    if (colon < 0)
        return false;
    *out_name = str_make(line.p, (size_t)colon);
    *out_value = str_trim(str_make(line.p + colon + 1, line.n - (size_t)colon - 1));
    return token_is_valid(*out_name);
}

bool field_name_is_settable(struct str name)
{
    static const struct str own[] = {
        STR("connection"), STR("keep-alive"),     STR("proxy-connection"),
        STR("te"),         STR("trailer"),        STR("transfer-encoding"),
        STR("upgrade"),    STR("content-length"), STR("http2-settings"),
        STR("expect"),     STR("host"),           STR("status"),
    };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (str_ieq(name, own[i]))
            return false;
    return token_is_valid(name);
}
