/* Values to text, in the syntax of the file. */
#include <inttypes.h>
#include <limits.h>

#include "conf/options_row.h"

static void quoted(const char *text, struct buf *out)
{
    buf_put(out, "\"", 1);
    for (; text && *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_put(out, "\\", 1);
        buf_put(out, text, 1);
    }
    buf_put(out, "\"", 1);
}

static void net_format(const struct cidr *net, struct buf *out)
{
    for (size_t i = 0; i < 16; i += 2)
        buf_printf(out, "%s%x", i ? ":" : "", (unsigned)(net->net[i] << 8 | net->net[i + 1]));
    buf_printf(out, "/%u", net->bits);
}

static void strings_format(const struct strings *list, struct buf *out)
{
    buf_printf(out, "[");
    for (size_t i = 0; i < list->n; i++) {
        buf_printf(out, i ? ", " : " ");
        quoted(list->v[i], out);
    }
    buf_printf(out, list->n ? " ]" : "]");
}

static void nets_format(const struct cidr_list *list, struct buf *out)
{
    buf_printf(out, "[");
    for (size_t i = 0; i < list->count; i++) {
        buf_printf(out, i ? ", \"" : " \"");
        net_format(&list->nets[i], out);
        buf_printf(out, "\"");
    }
    buf_printf(out, list->count ? " ]" : "]");
}

void option_format(const struct option *row, const void *obj, struct buf *out)
{
    const void *member = option_value(row, obj);
    if (row->secret) {
        buf_printf(out, "\"(secret)\"");
        return;
    }
    switch (row->type) {
    case OPT_BOOL:
        buf_printf(out, "%s", *(const bool *)member ? "true" : "false");
        break;
    case OPT_AUTO:
        buf_printf(out, "%s", ((const bool *)member)[1] ? "true" : "false");
        break;
    case OPT_INT:
        buf_printf(out, "%" PRId64, *(const int64_t *)member);
        if (*(const int64_t *)member > INT_MAX || *(const int64_t *)member < INT_MIN)
            buf_printf(out, "L");
        break;
    case OPT_DURATION:
    case OPT_SIZE:
        buf_printf(out, "\"");
        option_number(row, *(const int64_t *)member, out);
        buf_printf(out, "\"");
        break;
    case OPT_REAL:
        buf_printf(out, "%.17g", *(const double *)member);
        break;
    case OPT_STRING:
    case OPT_PATH:
        quoted(*(char *const *)member, out);
        break;
    case OPT_ENUM:
        quoted(row->words[*(const int *)member], out);
        break;
    case OPT_STRINGS:
    case OPT_PATHS:
        strings_format(member, out);
        break;
    case OPT_NETS:
        nets_format(member, out);
        break;
    default:
        break;
    }
}
