#include "admin/metrics_text.h"

#include "base/clock.h"

void metrics_family(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP coxswain_%s %s\n# TYPE coxswain_%s %s\n", name, help, name, type);
}

/* A hundred thousand endpoints make a million lines, on the loop of the orchestrator: printf is not for
 * these. */
void metrics_put_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void metrics_put_number(struct buf *b, uint64_t v, int digits_min)
{
    char text[24];
    size_t at = sizeof text;
    for (; v || digits_min > 0; v /= 10, digits_min--)
        text[--at] = (char)('0' + v % 10);
    buf_put(b, text + at, sizeof text - at);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

void metrics_put_escaped(struct buf *b, struct str s)
{
    for (size_t i = 0, from = 0; i <= s.n; i++) {
        if (i < s.n && is_plain((unsigned char)s.p[i]))
            continue;
        buf_put(b, s.p + from, i - from);
        from = i + 1;
        if (i == s.n)
            return;
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (c == '\n')
            metrics_put_text(b, "\\n");
        else
            buf_printf(b, "\\\\x%02x", c);
    }
}

/* name{cluster="id", left open for more. */
void metrics_open_cluster(struct buf *b, const char *name, const struct cluster *c)
{
    metrics_put_text(b, "coxswain_");
    metrics_put_text(b, name);
    metrics_put_text(b, "{cluster=\"");
    metrics_put_escaped(b, c->id);
    metrics_put_text(b, "\"");
}

void metrics_open_endpoint(struct buf *b, const char *name, const struct cluster *c, const struct endpoint *e)
{
    metrics_open_cluster(b, name, c);
    metrics_put_text(b, ",endpoint=\"");
    metrics_put_escaped(b, endpoint_id(e));
    metrics_put_text(b, "\"");
}

void metrics_close_number(struct buf *b, uint64_t v)
{
    metrics_put_text(b, "} ");
    metrics_put_number(b, v, 1);
    metrics_put_text(b, "\n");
}

void metrics_close_seconds(struct buf *b, uint64_t ns)
{
    metrics_put_text(b, "} ");
    metrics_put_number(b, ns / NS_PER_S, 1);
    metrics_put_text(b, ".");
    metrics_put_number(b, ns % NS_PER_S, 9);
    metrics_put_text(b, "\n");
}

void metrics_put_label(struct buf *b, const char *label, const char *value)
{
    metrics_put_text(b, ",");
    metrics_put_text(b, label);
    metrics_put_text(b, "=\"");
    metrics_put_text(b, value);
    metrics_put_text(b, "\"");
}
