#include "run/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run/channel.h"

struct visit {
    void (*fn)(void *ctx, const char *path);
    void *ctx;
};

static void visit_path(const struct visit *v, const char *path)
{
    if (path && *path)
        v->fn(v->ctx, path);
}

static void visit_auth(const struct visit *v, const struct tls_auth_settings *a)
{
    visit_path(v, a->ca);
    visit_path(v, a->crl);
}

static void visit_listener(const struct visit *v, const struct tls_listener_settings *t)
{
    for (size_t i = 0; i < t->certificates.count; i++) {
        const struct tls_certificate_settings *c =
            SETTINGS_AT(t->certificates, struct tls_certificate_settings, i);
        visit_path(v, c->cert);
        visit_path(v, c->key);
        visit_path(v, c->ocsp);
        visit_auth(v, &c->client_auth);
    }
    visit_auth(v, &t->client_auth);
}

static void visit_cluster(const struct visit *v, const struct cluster_options *o)
{
    visit_path(v, o->tls.ca);
    visit_path(v, o->tls.cert);
    visit_path(v, o->tls.key);
}

void bundle_paths(const struct settings *s, enum bundle_part part, void (*fn)(void *ctx, const char *path),
                  void *ctx)
{
    struct visit v = {fn, ctx};
    for (size_t i = 0; part == BUNDLE_ALL && i < s->listeners.count; i++)
        visit_listener(&v, &SETTINGS_AT(s->listeners, struct listener_settings, i)->tls);
    for (size_t i = 0; i < s->clusters.count; i++)
        visit_cluster(&v, &SETTINGS_AT(s->clusters, struct cluster_settings, i)->options);
    for (size_t i = 0; i < s->cartridges.count; i++) {
        const struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, i);
        for (size_t k = 0; k < c->ports.count; k++)
            visit_cluster(&v, &SETTINGS_AT(c->ports, struct port_settings, k)->options);
    }
}

struct making {
    struct buf out;
    struct buf *errors;
    bool failed;
};

static bool read_all(int fd, struct buf *out)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, 65536), 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        out->len += (size_t)n;
        if (out->len > BUNDLE_FILE_MAX) {
            errno = EFBIG;
            return false;
        }
    }
}

static void wipe(struct buf *b)
{
    if (b->p)
        explicit_bzero(b->p, b->cap);
    buf_fini(b);
}

static void add_file(void *ctx, const char *path)
{
    struct making *m = ctx;
    struct bundle so_far = {buf_str(&m->out)};
    struct buf bytes;
    struct stat st;
    if (bundle_file(&so_far, path).p)
        return;
    buf_init(&bytes);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool ok = fd >= 0 && fstat(fd, &st) == 0;
    if (ok && !S_ISREG(st.st_mode)) {
        errno = EINVAL;
        ok = false;
    }
    if (ok && read_all(fd, &bytes)) {
        buf_pack_str(&m->out, str_of(path));
        buf_pack_str(&m->out, buf_str(&bytes));
    } else {
        buf_printf(m->errors, "cannot read \"%s\": %s\n", path, strerror(errno));
        m->failed = true;
    }
    if (fd >= 0)
        close(fd);
    wipe(&bytes);
}

int bundle_make(const struct settings *s, enum bundle_part part, struct buf *errors)
{
    struct making m = {.errors = errors};
    buf_init(&m.out);
    bundle_paths(s, part, add_file, &m);
    int fd = m.failed ? -1 : sealed_memfd("coxswain tls", buf_str(&m.out));
    if (fd < 0 && !m.failed)
        buf_printf(errors, "no memory for the files of TLS: %s\n", strerror(errno));
    wipe(&m.out);
    return fd;
}

bool bundle_open(struct bundle *b, int fd)
{
    return sealed_map(fd, &b->bytes);
}

void bundle_close(struct bundle *b)
{
    sealed_unmap(b->bytes);
    b->bytes = STR_NULL;
}

struct str bundle_file(const struct bundle *b, const char *path)
{
    struct str rest = b->bytes, name, bytes;
    while (rest.n && unpack_str(&rest, &name) && unpack_str(&rest, &bytes))
        if (str_eq(name, str_of(path)))
            return bytes.p ? bytes : STR("");
    return STR_NULL;
}
