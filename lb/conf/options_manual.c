/* The manual page and the reference config, from the rows themselves. */
#include <ctype.h>
#include <stdlib.h>

#include "base/panic.h"
#include "base/reason.h"
#include "conf/options_row.h"
#include "conf/settings.h"

/* Inline tables and groups that have been written already are referred to by name. */
#define SEEN_MAX 64

struct writer {
    struct buf *out;
    const struct option_table *seen[SEEN_MAX];
    size_t seen_count;
};

static bool has_seen(struct writer *w, const struct option_table *table)
{
    for (size_t i = 0; i < w->seen_count; i++)
        if (w->seen[i] == table)
            return true;
    ASSERT(w->seen_count < SEEN_MAX);
    w->seen[w->seen_count++] = table;
    return false;
}

/* ---- troff ---- */

/* A dot or quote at the beginning of a line is a request, a backslash an escape, a bare hyphen may break a
 * copied word. */
static void troff_text(struct buf *out, const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            buf_put(out, "\\&", 2);
        if (*text == '\\')
            buf_put(out, "\\e", 2);
        else if (*text == '-')
            buf_put(out, "\\-", 2);
        else
            buf_put(out, text, 1);
        line_start = *text == '\n';
    }
}

static void troff_buf(struct buf *out, struct buf *text)
{
    buf_put(text, "", 1);
    troff_text(out, text->p);
    buf_fini(text);
}

static void manual_default(const struct option *row, struct buf *out)
{
    struct buf text;
    buf_init(&text);
    if (row->required)
        buf_printf(&text, "Required. ");
    else if (row->def && row->def[0])
        buf_printf(&text, "Default: %s. ", row->def);
    else if (row->type == OPT_AUTO)
        buf_printf(&text, "Default: by protocol. ");
    troff_buf(out, &text);
}

static void manual_type(const struct option *row, struct buf *out)
{
    struct buf text;
    buf_init(&text);
    if (row->type == OPT_STRING || row->type == OPT_PATH)
        buf_printf(&text, row->type == OPT_PATH ? "a path" : "a string");
    else
        option_expected(row, &text);
    if (text.len)
        text.p[0] = (char)toupper((unsigned char)text.p[0]);
    buf_printf(&text, ". ");
    troff_buf(out, &text);
}

static void manual_row(const struct option *row, struct buf *out)
{
    buf_printf(out, ".TP\n.B ");
    troff_text(out, row->type == OPT_PLUGIN ? "..." : row->key);
    buf_printf(out, "\n");
    if (row->type == OPT_RESERVED) {
        buf_printf(out, "Reserved, not available in this version. ");
    } else if (row->type != OPT_PLUGIN) {
        manual_type(row, out);
        manual_default(row, out);
    }
    if (row->secret)
        buf_printf(out, "Secret: never logged. ");
    if (row->type != OPT_PLUGIN)
        buf_printf(out, "\n");
    troff_text(out, row->help ? row->help : "");
    buf_printf(out, "\n");
}

static void manual_rows(struct writer *w, const struct option_table *table, bool reserved)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        if (row->type != OPT_INLINE && (row->type == OPT_RESERVED) == reserved) {
            manual_row(row, w->out);
        } else if (row->type == OPT_INLINE && !reserved) {
            if (has_seen(w, row->table))
                buf_printf(w->out, ".PP\nFurthermore every key of a %s.\n", row->table->name);
            else
                manual_rows(w, row->table, false);
        }
    }
}

static void manual_table(struct writer *w, const struct option_table *table);

static void manual_below(struct writer *w, const struct option_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        if (row->type == OPT_INLINE)
            manual_below(w, row->table);
        else if ((row->type == OPT_GROUP || row->type == OPT_LIST) && !has_seen(w, row->table))
            manual_table(w, row->table);
    }
}

static void manual_table(struct writer *w, const struct option_table *table)
{
    buf_printf(w->out, ".SH ");
    for (const char *p = table->name; *p; p++)
        buf_printf(w->out, "%c", toupper((unsigned char)*p));
    buf_printf(w->out, "\n");
    troff_text(w->out, table->help);
    buf_printf(w->out, "\n");
    manual_rows(w, table, false);
    manual_rows(w, table, true);
    manual_below(w, table);
}

void options_manual(const struct option_table *table, struct buf *out)
{
    struct writer w = {.out = out};
    manual_table(&w, table);
}

static const char manual_head[] =
    ".TH COXSWAIN.CFG 5 \"\" \"coxswain\" \"File formats\"\n"
    ".SH NAME\n"
    "coxswain.cfg \\- configuration of the coxswain load balancer\n"
    ".SH DESCRIPTION\n"
    "One file in the syntax of libconfig: keys with values, groups in braces, lists in parentheses or "
    "brackets, "
    "comments after # or //.\n"
    "A line @include \"FILE\" is replaced by that file; its path, like every relative path, belongs to the "
    "folder of "
    "the file that names it.\n"
    "In strings ${NAME} is replaced by that variable of the environment and $${ stands for ${; the command "
    "and the "
    "environment of a cartridge are left alone.\n"
    "Durations are strings with a unit: ms, s, m, h or d. Sizes are numbers of bytes, or strings with k, m, "
    "g or t "
    "(powers of 1024).\n"
    ".PP\n"
    "Unknown keys, wrong types, values out of range and references to nothing are errors with file and "
    "line.\n"
    ".B coxswain \\-t \\-c\n"
    ".I FILE\n"
    "says all of them. Every key has a default that is safe on the open internet.\n"
    ".SH EXAMPLE\n"
    ".nf\n"
    "listeners = ( { name = \"web\"; address = \"0.0.0.0:8080\"; } );\n"
    "clusters  = ( { name = \"php\"; endpoints = ( \"127.0.0.1:9001\", \"127.0.0.1:9002\" ); } );\n"
    "routes    = ( { host = \"*\"; path = \"/\"; cluster = \"php\"; } );\n"
    ".fi\n"
    ".PP\n"
    "Routes can do more than lead to a cluster:\n"
    ".PP\n"
    ".nf\n"
    "routes = (\n"
    "  { host = \"shop.example.com\"; clusters = ( \"blue=90\", \"green=10\" ); split_on = \"cookie:id\"; },\n"
    "  { host = \"shop.example.com\"; cluster = \"beta\"; cookies = [ \"beta=1\" ]; },\n"
    "  { host = \"shop.example.com\"; path = \"/api\"; cluster = \"api\"; rewrite_prefix = \"/\";\n"
    "    request_headers = { set = [ \"X-Client: $client_ip\" ]; remove = [ \"Cookie\" ]; };\n"
    "    mirror = { cluster = \"api\\-next\"; percent = 10; }; },\n"
    "  { host = \"www.example.com\"; redirect = { location = \"https://example.com$uri\"; }; },\n"
    "  { host = \"old.example.com\"; reply = { status = 410; body = \"gone\"; }; }\n"
    ");\n"
    ".fi\n";

static void manual_reasons(struct buf *out)
{
    buf_printf(
        out,
        ".SH REASONS\nWhy a request, an attempt or a connection ended: the id stands in the access log, in "
        "metrics, and in X\\-Coxswain\\-Reason if reason_header is on. The number is the status of the "
        "answer "
        "that coxswain then makes; without one the connection is closed.\n");
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        const char *text = reason_text((enum reason)i);
        uint16_t status = reason_status((enum reason)i);
        buf_printf(out, ".TP\n.B ");
        troff_text(out, reason_id((enum reason)i));
        buf_printf(out, "\n%c", toupper((unsigned char)text[0]));
        troff_text(out, text + 1);
        if (status)
            buf_printf(out, " (%u)", status);
        buf_printf(out, ".\n");
    }
}

void settings_manual(struct buf *out)
{
    buf_printf(out, "%s", manual_head);
    options_manual(&settings_table, out);
    buf_printf(
        out,
        ".SH LOG VARIABLES\nFor access_format. ${NAME} where a letter follows, $$ for a dollar sign. A text "
        "has 1024 bytes at most.\n");
    log_format_manual(out);
    manual_reasons(out);
    buf_printf(out, ".SH SEE ALSO\n.BR coxswain (8),\n.BR coxctl (1)\n");
}

/* ---- reference config ---- */

#define REFERENCE_WIDTH 100

/* Help as comment lines of bounded width. */
static void comment(struct buf *out, int indent, const char *prefix, const char *text)
{
    struct str rest = str_of(text), word;
    int column = 0;
    while (rest.n && str_next(&rest, ' ', &word)) {
        if (column == 0 || column + (int)word.n + 1 > REFERENCE_WIDTH) {
            buf_printf(out, "%s%s%*s#", column ? "\n" : "", prefix, indent, "");
            column = indent + 1 + (int)strlen(prefix);
        }
        buf_printf(out, " %.*s", STR_ARG(word));
        column += (int)word.n + 1;
    }
    if (column)
        buf_printf(out, "\n");
}

static void reference_table(struct buf *out, const struct option_table *table, const void *def, int indent,
                            const char *prefix);

/* `obj` has its default; a value that is absent, or that the user must give, is shown commented out. */
static void reference_value(struct buf *out, const struct option *row, const void *obj, int indent,
                            const char *prefix)
{
    bool absent = row->required || row->type == OPT_AUTO || row->secret;
    if (row->type == OPT_STRING || row->type == OPT_PATH)
        absent = absent || !*(char *const *)option_value(row, obj);
    const char *off = absent && !row->required ? "#" : "";
    buf_printf(out, "%s%*s%s%s = ", prefix, indent, "", off, row->key);
    if (row->type == OPT_VARS)
        buf_printf(out, "{ }");
    else
        option_format(row, obj, out);
    buf_printf(out, ";%s\n", row->required ? " # required" : "");
}

/* What one item looks like, as a comment: taking the # away makes a list of one. */
static void reference_list(struct buf *out, const struct option *row, int indent, const char *prefix)
{
    void *item = must(malloc(row->table->struct_size));
    options_init(row->table, item);
    comment(out, indent, prefix, row->table->help);
    buf_printf(out, "#%*s%s = ( {\n", indent, "", row->key);
    reference_table(out, row->table, item, indent + 4, "#");
    buf_printf(out, "#%*s} );\n", indent, "");
    options_free(row->table, item);
    free(item);
}

/* The help, and what values there are. */
static void reference_comment(struct buf *out, const struct option *row, int indent, const char *prefix)
{
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "%s", row->help);
    if (row->type == OPT_ENUM) {
        buf_printf(&text, " ");
        option_expected(row, &text);
        buf_printf(&text, ".");
        char *first = text.p + strlen(row->help) + 1;
        *first = (char)toupper((unsigned char)*first);
    } else {
        size_t before = text.len;
        option_range(row, &text);
        if (text.len > before) {
            text.p[before + 1] = (char)toupper((unsigned char)text.p[before + 1]);
            buf_printf(&text, ".");
        }
    }
    buf_put(&text, "", 1);
    comment(out, indent, prefix, text.p);
    buf_fini(&text);
}

static void reference_row(struct buf *out, const struct option *row, const void *obj, int indent,
                          const char *prefix)
{
    if (row->type == OPT_INLINE) {
        reference_table(out, row->table, option_value(row, obj), indent, prefix);
        return;
    }
    if (row->type == OPT_RESERVED)
        return;
    if (row->type != OPT_LIST)
        reference_comment(out, row, indent, prefix);
    if (row->type == OPT_GROUP) {
        buf_printf(out, "%s%*s%s = {\n", prefix, indent, "", row->key);
        reference_table(out, row->table, option_value(row, obj), indent + 4, prefix);
        buf_printf(out, "%s%*s};\n", prefix, indent, "");
    } else if (row->type == OPT_LIST) {
        reference_list(out, row, indent, prefix);
    } else if (row->type != OPT_PLUGIN) {
        reference_value(out, row, obj, indent, prefix);
    }
    if (!*prefix)
        buf_printf(out, "\n");
}

static void reference_table(struct buf *out, const struct option_table *table, const void *def, int indent,
                            const char *prefix)
{
    for (size_t i = 0; i < table->count; i++)
        reference_row(out, &table->rows[i], def, indent, prefix);
}

void options_reference(const struct option_table *table, struct buf *out)
{
    void *def = must(malloc(table->struct_size));
    options_init(table, def);
    reference_table(out, table, def, 0, "");
    options_free(table, def);
    free(def);
}

void settings_reference(struct buf *out)
{
    buf_printf(
        out,
        "# coxswain: every key at its default. Printed by coxswain --reference; the same in "
        "coxswain.cfg(5).\n"
        "# Lines that begin with # and a key show what is unset, or what an item of a list looks like.\n\n");
    options_reference(&settings_table, out);
}
