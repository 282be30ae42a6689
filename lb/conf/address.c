#include "conf/address.h"

#include <sys/un.h>

#include "base/cidr.h"

#define HOST_MAX  253
#define LABEL_MAX 63

static bool is_port(struct str text)
{
    uint64_t port;
    return str_to_u64(text, &port) && port >= 1 && port <= 65535;
}

/* At the last colon. False: there is none, or nothing before it. */
static bool split(struct str text, struct str *out_host, struct str *out_port)
{
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon < 2)
        return false;
    *out_host = str_make(text.p, colon - 1);
    *out_port = str_make(text.p + colon, text.n - colon);
    return true;
}

bool address_is_valid(struct str text)
{
    struct str host, port;
    uint8_t ip[16];
    if (str_starts(text, STR("unix:")))
        return text.n > 6 && text.p[5] == '/' && text.n - 5 < sizeof((struct sockaddr_un *)0)->sun_path;
    if (!split(text, &host, &port) || !is_port(port))
        return false;
    if (str_find(host, ':') >= 0 && host.p[0] != '[')
        return false; /* an IPv6 address needs its brackets, or its end is ambiguous */
    return cidr_ip_parse(host, ip);
}

static bool is_label(struct str label, bool *out_has_letter)
{
    *out_has_letter = false;
    if (label.n == 0 || label.n > LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++) {
        char c = char_lower(label.p[i]);
        bool is_letter = (c >= 'a' && c <= 'z') || c == '_' || c == '-';
        if (!is_letter && (c < '0' || c > '9'))
            return false;
        *out_has_letter |= is_letter;
    }
    return true;
}

bool address_is_name(struct str text)
{
    struct str host, port, label;
    bool has_letter = false;
    if (!split(text, &host, &port) || !is_port(port))
        return false;
    if (host.p[host.n - 1] == '.')
        host.n--;
    if (host.n == 0 || host.n > HOST_MAX || host.p[host.n - 1] == '.')
        return false;
    while (host.n && str_next(&host, '.', &label))
        if (!is_label(label, &has_letter))
            return false;
    return has_letter;
}

bool address_is_server(struct str text)
{
    struct str host, port;
    uint8_t ip[16];
    if (cidr_ip_parse(text, ip))
        return true;
    return split(text, &host, &port) && is_port(port) && (host.p[0] == '[' || str_find(host, ':') < 0) &&
           cidr_ip_parse(host, ip);
}
