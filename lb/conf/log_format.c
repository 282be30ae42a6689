#include "conf/log_format.h"

#include <stdlib.h>

#include "base/panic.h"

#define KIND_TEXT  false
#define KIND_FIXED true

static const struct {
    struct str name;
    bool fixed;
    const char *help;
} vars[LOG_VARS] = {
#define LOG_VAR_ROW(symbol, name, kind, help) [LOG_VAR_##symbol] = {STR(name), KIND_##kind, help},
    LOG_VAR_TABLE(LOG_VAR_ROW)
#undef LOG_VAR_ROW
};

/* The NCSA format as Apache and nginx write it; we never ask identd. */
static const char combined[] =
    "$client_ip - $user [$time_local] \"$request\" $status $bytes_sent \"$referer\" \"$user_agent\"";

/* Times that were not reached are null. */
static const char json_lines[] =
    "{\"time\":\"$time_iso8601\",\"client_ip\":\"$client_ip\",\"client_port\":$client_port,\"user\":\"$user\",\"listener\":\"$"
    "listener\","
    "\"scheme\":\"$scheme\",\"method\":\"$method\",\"host\":\"$host\",\"target\":\"$target\","
    "\"protocol\":\"$protocol\",\"status\":$status,\"bytes_sent\":$bytes_sent,\"bytes_received\":$bytes_"
    "received,"
    "\"referer\":\"$referer\",\"user_agent\":\"$user_agent\",\"cluster\":\"$cluster\",\"endpoint\":\"$"
    "endpoint\","
    "\"attempts\":$attempts,\"reason\":\"$reason\",\"hold_us\":$hold_us,\"connect_us\":$connect_us,"
    "\"first_byte_us\":$first_byte_us,\"server_us\":$server_us,\"total_us\":$total_us,\"start_ns\":$start_ns,"
    "\"request_id\":\"$request_id\"}";

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static enum log_var var_of(struct str name)
{
    for (unsigned i = 0; i < LOG_VARS; i++)
        if (vars[i].name.n && str_eq(vars[i].name, name))
            return (enum log_var)i;
    return LOG_VAR_LITERAL;
}

static bool add(struct log_format *f, enum log_var var, struct str text, struct buf *message)
{
    if (f->count == LOG_SEGMENTS_MAX) {
        buf_printf(message, "more than %d pieces", LOG_SEGMENTS_MAX);
        return false;
    }
    f->segments[f->count++] = (struct log_segment){.var = (uint8_t)var, .text = text};
    return true;
}

/* Names are text of ours that may be changed: _ in a variable is - in a field. */
static bool add_header(struct log_format *f, char *name, size_t n, struct buf *message)
{
    for (size_t i = 0; i < n; i++)
        if (name[i] == '_')
            name[i] = '-';
    struct str text = str_make(name, n);
    if (str_eq(text, STR("authorization")) || str_eq(text, STR("proxy-authorization"))) {
        buf_printf(message, "$header_%.*s would write passwords to the log", STR_ARG(text));
        return false;
    }
    return add(f, LOG_VAR_HEADER, text, message);
}

/* A variable begins at text[at], behind the dollar sign. Returns where it ends, 0 on error. */
static size_t take_variable(struct log_format *f, size_t at, struct buf *message)
{
    bool braces = f->text[at] == '{';
    size_t from = at + braces, to = from;
    while (is_name_char(f->text[to]))
        to++;
    struct str name = str_make(f->text + from, to - from);
    if (braces && f->text[to] != '}') {
        buf_printf(message, "${%.*s without its }", STR_ARG(name));
        return 0;
    }
    if (str_starts(name, STR("header_")) && name.n > 7 && name.n <= 7 + 64)
        return add_header(f, f->text + from + 7, name.n - 7, message) ? to + braces : 0;
    enum log_var var = var_of(name);
    if (var == LOG_VAR_LITERAL) {
        buf_printf(message, "unknown variable \"$%.*s\"", STR_ARG(name));
        return 0;
    }
    return add(f, var, STR_NULL, message) ? to + braces : 0;
}

static bool take_all(struct log_format *f, struct buf *message)
{
    char *text = f->text;
    size_t n = strlen(text), from = 0, at = 0;
    while (at < n) {
        if ((unsigned char)text[at] < 0x20 || text[at] == 0x7f) {
            buf_printf(message, "a control character");
            return false;
        }
        if (text[at] != '$') {
            at++;
            continue;
        }
        bool dollar = text[at + 1] == '$'; /* the first of two stays as the end of the literal */
        size_t end = at + dollar;
        if (end > from && !add(f, LOG_VAR_LITERAL, str_make(text + from, end - from), message))
            return false;
        at = dollar ? at + 2 : take_variable(f, at + 1, message);
        if (!at)
            return false;
        from = at;
    }
    return from == n || add(f, LOG_VAR_LITERAL, str_make(text + from, n - from), message);
}

static bool reserve(struct log_format *f, struct buf *message)
{
    uint32_t bytes = 1; /* the line end */
    for (size_t i = f->count; i-- > 0;) {
        struct log_segment *s = &f->segments[i];
        s->reserve = bytes;
        if (s->var == LOG_VAR_LITERAL)
            bytes += (uint32_t)s->text.n;
        else
            bytes += vars[s->var].fixed ? LOG_FIXED_BYTES : 1;
    }
    if (bytes > LOG_RESERVED_MAX)
        buf_printf(message, "a line of it could not be bounded: use fewer variables");
    return bytes <= LOG_RESERVED_MAX;
}

static bool compile(struct log_format *f, const char *text, struct buf *message)
{
    if (strlen(text) > LOG_FORMAT_MAX) {
        buf_printf(message, "longer than %d bytes", LOG_FORMAT_MAX);
        return false;
    }
    if (!strchr(text, '$')) {
        buf_printf(message, "\"%s\" is neither default, combined, json nor off, and has no variable", text);
        return false;
    }
    f->text = must(str_dup(str_of(text)));
    f->segments = must(calloc(LOG_SEGMENTS_MAX, sizeof *f->segments));
    return take_all(f, message) && reserve(f, message);
}

bool log_format_create(const char *text, bool json, struct log_format **out, struct buf *message)
{
    *out = NULL;
    if (strcmp(text, "default") == 0)
        return true;
    *out = must(calloc(1, sizeof **out));
    (*out)->json = json || strcmp(text, "json") == 0;
    if (strcmp(text, "off") == 0)
        return true;
    if (strcmp(text, "combined") == 0)
        text = combined;
    else if (strcmp(text, "json") == 0)
        text = json_lines;
    if (compile(*out, text, message))
        return true;
    log_format_destroy(out);
    return false;
}

void log_format_destroy(struct log_format **f)
{
    if (!*f)
        return;
    free((*f)->segments);
    free((*f)->text);
    free(*f);
    *f = NULL;
}

void log_format_manual(struct buf *out)
{
    for (unsigned i = 0; i < LOG_VARS; i++)
        if (vars[i].name.n)
            buf_printf(out, ".TP\n.B $%.*s\n%s.\n", STR_ARG(vars[i].name), vars[i].help);
    buf_printf(
        out,
        ".TP\n.B $header_NAME\nrequest field of that name, as the client sent it: $header_accept_language "
        "is Accept\\-Language.\n");
}
