/* Checks of the keys of TLS. What is in the files is looked at where OpenSSL is (net/tls_store.h). */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "conf/settings_check.h"

static void check_file(struct reader *r, char *const *path)
{
    if (!*path)
        return;
    int fd = open(*path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        reader_error(r, path, "cannot read \"%s\": %s", *path, strerror(errno));
    else
        close(fd);
}

static void check_auth(struct reader *r, const struct tls_auth_settings *a)
{
    bool asks = a->mode == CLIENT_AUTH_OPTIONAL || a->mode == CLIENT_AUTH_REQUIRED;
    if (asks && !a->ca)
        reader_error(r, &a->mode,
                     "client_auth needs a ca, the file of those who may sign clients' certificates");
    if (!asks && (a->ca || a->crl))
        reader_error(r, a->ca ? (const void *)&a->ca : &a->crl,
                     "ca and crl of client_auth need mode = \"optional\" or \"required\"");
    check_file(r, &a->ca);
    check_file(r, &a->crl);
}

static bool is_sni_host(struct str host)
{
    struct str label;
    if (str_starts(host, STR("*.")))
        host = str_make(host.p + 2, host.n - 2);
    if (!host.n || host.n > 253)
        return false;
    for (struct str rest = host; str_next(&rest, '.', &label);) {
        for (size_t i = 0; i < label.n; i++) {
            char c = char_lower(label.p[i]);
            if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
                return false;
        }
        if (!label.n || label.n > 63)
            return false;
    }
    return host.p[host.n - 1] != '.';
}

static void check_certificate(struct reader *r, const struct tls_certificate_settings *c)
{
    check_file(r, &c->cert);
    check_file(r, &c->key);
    check_file(r, &c->ocsp);
    check_auth(r, &c->client_auth);
    for (size_t i = 0; i < c->hosts.n; i++)
        if (!is_sni_host(str_of(c->hosts.v[i])))
            reader_error(r, &c->hosts, "\"%s\" is no host: expected \"www.example.com\" or \"*.example.com\"",
                         c->hosts.v[i]);
}

static void check_alpn(struct reader *r, const struct strings *list, bool h2)
{
    for (size_t i = 0; i < list->n; i++) {
        struct str word = str_of(list->v[i]);
        if (!str_eq(word, STR("http/1.1")) && !(h2 && str_eq(word, STR("h2"))))
            reader_error(r, list, "\"%s\" in alpn: expected %s\"http/1.1\"", list->v[i],
                         h2 ? "\"h2\" or " : "");
    }
}

/* A listener without certificates has no TLS, so no other key may claim that it has. */
static void check_listener(struct reader *r, const struct listener_settings *l)
{
    const struct tls_listener_settings *t = &l->tls;
    if (t->certificates.count == 0) {
        if (reader_has(r, t))
            reader_error(r, t, "tls of a listener needs certificates");
        return;
    }
    for (size_t i = 0; i < t->certificates.count; i++)
        check_certificate(r, SETTINGS_AT(t->certificates, struct tls_certificate_settings, i));
    check_auth(r, &t->client_auth);
    check_alpn(r, &t->alpn, true);
    if (t->min_version > t->max_version)
        reader_error(r, &t->min_version, "min_version is above max_version");
}

static void check_cluster(struct reader *r, const struct cluster_options *o)
{
    const struct tls_cluster_settings *t = &o->tls;
    bool has_keys = t->ca || t->hostname || t->sni || t->cert || t->key || t->alpn.n;
    if (!t->enabled && has_keys)
        reader_error(r, t, "tls of a cluster needs enabled = true, or its other keys mean nothing");
    if (t->key && !t->cert)
        reader_error(r, &t->key, "a key without cert");
    if (t->enabled && o->protocol == PROTOCOL_FILES)
        reader_error(r, &t->enabled, "a cluster of files has no servers to speak TLS with");
    if (t->min_version > t->max_version)
        reader_error(r, &t->min_version, "min_version is above max_version");
    check_file(r, &t->ca);
    check_file(r, &t->cert);
    check_file(r, &t->key);
    check_alpn(r, &t->alpn, true);
}

/* A name of a field (RFC 9110 5.1), short enough to be sensible. */
static void check_field(struct reader *r, char *const *name)
{
    struct str text = str_of(*name);
    bool ok = text.n <= 64;
    for (size_t i = 0; i < text.n; i++) {
        char c = char_lower(text.p[i]);
        ok &= (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    }
    if (!ok)
        reader_error(r, name, "\"%s\" is no name of a field: expected up to 64 of A-Z a-z 0-9 - _", *name);
}

static void check_fields(struct reader *r, const struct tls_field_settings *f)
{
    char *const *names[] = {&f->verify, &f->subject, &f->issuer, &f->serial, &f->fingerprint, &f->cert};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (*names[i])
            check_field(r, names[i]);
}

void settings_check_tls(const struct settings *s, struct reader *r)
{
    check_fields(r, &s->client_cert_fields);
    for (size_t i = 0; i < s->listeners.count; i++)
        check_listener(r, SETTINGS_AT(s->listeners, struct listener_settings, i));
    for (size_t i = 0; i < s->clusters.count; i++)
        check_cluster(r, &SETTINGS_AT(s->clusters, struct cluster_settings, i)->options);
    for (size_t i = 0; i < s->cartridges.count; i++) {
        const struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, i);
        for (size_t k = 0; k < c->ports.count; k++)
            check_cluster(r, &SETTINGS_AT(c->ports, struct port_settings, k)->options);
    }
}
