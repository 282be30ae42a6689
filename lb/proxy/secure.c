#include "proxy/secure.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "proxy/proxy.h"
#include "run/channel.h"

/* ---- certificates of listeners ---- */

static const struct listener_settings *listener_at(const struct settings *s, size_t i)
{
    return SETTINGS_AT(s->listeners, struct listener_settings, i);
}

static void log_lines(const struct buf *text)
{
    struct str rest = buf_str(text), line;
    while (rest.n && str_next(&rest, '\n', &line))
        if (line.n)
            log_error("%.*s", STR_ARG(line));
}

/* NULL with lines in *errors. */
static struct tls_store *make_store(const struct listener_settings *l, const struct bundle *b,
                                    const struct tls_store *old, struct buf *errors)
{
    char who[128];
    int kept = 0;
    snprintf(who, sizeof who, "listener \"%s\"", l->name);
    return tls_store_create(&l->tls, b, who, old, errors, &kept);
}

static void free_stores(const struct settings *s, struct tls_store ***pstores)
{
    struct tls_store **stores = *pstores;
    for (size_t i = 0; stores && i < s->listeners.count; i++)
        tls_store_unref(&stores[i]);
    free(stores);
    *pstores = NULL;
}

/* False when one of them cannot be had; the others are looked at in any case. */
static bool make_stores(const struct settings *s, const struct bundle *b, struct tls_store **stores,
                        struct buf *errors)
{
    bool ok = true;
    for (size_t i = 0; i < s->listeners.count; i++) {
        const struct listener_settings *l = listener_at(s, i);
        if (!l->tls.certificates.count)
            continue;
        stores[i] = make_store(l, b, NULL, errors);
        ok &= stores[i] != NULL;
    }
    return ok;
}

bool secure_load(struct proxy *p)
{
    struct secure_files *f = &p->secure;
    struct buf errors;
    buf_init(&errors);
    f->stores = must(calloc(p->settings->listeners.count + 1, sizeof *f->stores));
    bool ok = bundle_open(&f->bundle, p->role->tls_fd);
    if (!ok)
        log_error("the files of TLS cannot be read");
    ok = ok && make_stores(p->settings, &f->bundle, f->stores, &errors);
    log_lines(&errors);
    buf_fini(&errors);
    return ok;
}

/* ---- ways to connect ---- */

struct secure_client {
    struct secure_client *next;
    struct buf key;            /* owned: the options that make it what it is */
    struct tls_client *client; /* counted; NULL: its files are no good */
    bool used;
};

static struct secure_client *find_client(struct secure_client *list, struct str key)
{
    while (list && !str_eq(buf_str(&list->key), key))
        list = list->next;
    return list;
}

static void key_of(const struct cluster_options *o, struct buf *key)
{
    options_encode(&tls_cluster_table, &o->tls, key);
    if (o->host)
        buf_printf(key, "\n%s", o->host);
}

static struct secure_client *client_for(struct secure_files *f, const struct cluster *c)
{
    struct buf key, errors;
    buf_init(&key);
    key_of(&c->options, &key);
    struct secure_client *sc = find_client(f->clients, buf_str(&key));
    if (sc) {
        buf_fini(&key);
        return sc;
    }
    char who[CLUSTER_ID_MAX + 64];
    snprintf(who, sizeof who, "cluster %.*s: tls", STR_ARG(c->id));
    buf_init(&errors);
    sc = must(calloc(1, sizeof *sc));
    sc->key = key;
    sc->client = tls_client_create(&c->options.tls, c->options.host, &f->bundle, who, &errors);
    struct secure_client *before = sc->client ? NULL : find_client(f->former, buf_str(&key));
    if (before && before->client)
        sc->client = tls_client_ref(before->client);
    sc->next = f->clients;
    f->clients = sc;
    log_lines(&errors);
    buf_fini(&errors);
    return sc;
}

static void drop_clients(struct secure_client **at, bool all)
{
    while (*at) {
        struct secure_client *sc = *at;
        if (sc->used && !all) {
            at = &sc->next;
            continue;
        }
        *at = sc->next;
        tls_client_unref(&sc->client);
        buf_fini(&sc->key);
        free(sc);
    }
}

static void free_client(void *client)
{
    struct tls_client *tc = client;
    tls_client_unref(&tc);
}

void secure_sign(struct proxy *p, struct topology *t)
{
    bool any = p->secure.clients != NULL;
    for (struct secure_client *sc = p->secure.clients; sc; sc = sc->next)
        sc->used = false;
    for (uint32_t i = 0; i < t->cluster_count; i++) {
        struct cluster *c = t->clusters[i];
        if (!c->options.tls.enabled)
            continue;
        struct secure_client *sc = client_for(&p->secure, c);
        sc->used = any = true;
        if (c->secure_free) /* shared with the topology before */
            continue;
        c->secure = sc->client ? tls_client_ref(sc->client) : NULL;
        c->secure_free = free_client;
    }
    if (any)
        drop_clients(&p->secure.clients, false);
}

/* ---- changes ---- */

struct store_mail {
    struct mail mail;
    struct tls_store **stores; /* owned, with a reference each */
};

static void on_store_mail(struct worker *w, struct mail *m)
{
    struct pworker *pw = pworker_of(w);
    struct store_mail *sm = CONTAINER_OF(m, struct store_mail, mail);
    for (size_t i = 0; i < pw->settings->listeners.count; i++)
        if (sm->stores[i])
            tls_server_set_store(pw->secure.servers[i], sm->stores[i]);
    free_stores(pw->settings, &sm->stores);
    free(sm);
}

static void send_stores(struct proxy *p)
{
    size_t n = p->settings->listeners.count;
    for (int k = 0; k < p->worker_count; k++) {
        struct store_mail *m = must(calloc(1, sizeof *m));
        m->mail.fn = on_store_mail;
        m->stores = must(calloc(n + 1, sizeof *m->stores));
        for (size_t i = 0; i < n; i++)
            m->stores[i] = p->secure.stores[i] ? tls_store_ref(p->secure.stores[i]) : NULL;
        mailbox_send(&p->workers[k].w.mailbox, &m->mail);
    }
}

/* A store of which nothing can be had stays whole. */
static void renew_stores(struct proxy *p)
{
    struct buf errors;
    buf_init(&errors);
    for (size_t i = 0; i < p->settings->listeners.count; i++) {
        struct tls_store **at = &p->secure.stores[i], *old = *at;
        struct tls_store *fresh =
            old ? make_store(listener_at(p->settings, i), &p->secure.bundle, old, &errors) : NULL;
        if (!fresh)
            continue;
        *at = fresh;
        tls_store_unref(&old);
    }
    if (errors.len)
        log_error("some files of TLS are no good; the former certificates stay in use:");
    else
        log_info("the certificates are in use");
    log_lines(&errors);
    buf_fini(&errors);
}

/* Clusters are shared by snapshots and read by workers: new clients need new clusters, hence a whole topology
 * of its own. */
static void renew_clients(struct proxy *p)
{
    struct secure_files *f = &p->secure;
    struct buf bytes;
    if (!f->clients)
        return;
    f->former = f->clients;
    f->clients = NULL;
    buf_init(&bytes);
    topology_encode(p->topology, &bytes);
    proxy_on_topology(p, buf_str(&bytes), false);
    buf_fini(&bytes);
    drop_clients(&f->former, true);
}

void secure_reload(struct proxy *p, int fd)
{
    struct bundle fresh;
    if (fd < 0)
        return;
    if (bundle_open(&fresh, fd)) {
        bundle_close(&p->secure.bundle);
        p->secure.bundle = fresh;
        renew_stores(p);
        send_stores(p);
        renew_clients(p);
        secure_tell(p);
    }
    close(fd);
}

struct ticket_mail {
    struct mail mail;
    struct ticket_keys keys;
};

static void on_ticket_mail(struct worker *w, struct mail *m)
{
    struct ticket_mail *tm = CONTAINER_OF(m, struct ticket_mail, mail);
    tls_worker_set_tickets(pworker_of(w)->secure.worker, &tm->keys);
    explicit_bzero(&tm->keys, sizeof tm->keys);
    free(tm);
}

void secure_set_tickets(struct proxy *p, struct str payload)
{
    if (payload.n != sizeof(struct ticket_keys))
        return;
    for (int k = 0; k < p->worker_count; k++) {
        struct ticket_mail *m = must(calloc(1, sizeof *m));
        m->mail.fn = on_ticket_mail;
        memcpy(&m->keys, payload.p, payload.n);
        mailbox_send(&p->workers[k].w.mailbox, &m->mail);
    }
}

/* ---- what people ask about ---- */

static void describe(const struct proxy *p, struct buf *out)
{
    for (size_t i = 0; i < p->settings->listeners.count; i++) {
        struct tls_certificate_info info;
        for (size_t k = 0; p->secure.stores[i] && tls_store_certificate(p->secure.stores[i], k, &info); k++) {
            buf_pack_str(out, str_of(listener_at(p->settings, i)->name));
            buf_pack_str(out, str_of(info.file));
            for (char *c = info.subject; *c; c++) /* a word of a line, further on */
                *c = *c > ' ' && *c < 0x7f ? *c : '_';
            buf_pack_str(out, str_of(info.subject[0] ? info.subject : "-"));
            buf_pack_u64(out, (uint64_t)info.not_after);
            buf_pack_u64(out, info.is_kept);
        }
    }
}

void secure_tell(struct proxy *p)
{
    struct buf text;
    buf_init(&text);
    describe(p, &text);
    if (p->master)
        channel_send(p->master, CHANNEL_CERTIFICATES, buf_str(&text), NULL, 0);
    if (p->orchestrator)
        channel_send(p->orchestrator, CHANNEL_CERTIFICATES, buf_str(&text), NULL, 0);
    buf_fini(&text);
}

void secure_unload(struct proxy *p)
{
    drop_clients(&p->secure.clients, true);
    free_stores(p->settings, &p->secure.stores);
    bundle_close(&p->secure.bundle);
}

/* ---- a worker ---- */

static bool make_servers(struct pworker *pw)
{
    const struct settings *s = pw->settings;
    struct buf errors;
    bool ok = true;
    buf_init(&errors);
    for (size_t i = 0; i < s->listeners.count; i++) {
        struct tls_store *store = pw->proxy->secure.stores ? pw->proxy->secure.stores[i] : NULL;
        if (!store)
            continue;
        pw->secure.servers[i] =
            tls_server_create(&listener_at(s, i)->tls, store, s->ticket_rotation_ms / 1000, &errors);
        ok &= pw->secure.servers[i] != NULL;
    }
    log_lines(&errors);
    buf_fini(&errors);
    return ok;
}

bool secure_init(struct pworker *pw)
{
    struct secure *sec = &pw->secure;
    sec->worker = tls_worker_create(&pw->w);
    sec->servers = calloc(pw->settings->listeners.count + 1, sizeof *sec->servers);
    sec->resume_count = pw->proxy->ledger.header->max_endpoints;
    sec->resumes = calloc(sec->resume_count, sizeof *sec->resumes);
    if (sec->worker && pw->proxy->role)
        tls_worker_set_tickets(sec->worker, pw->proxy->role->tickets);
    return sec->worker && sec->servers && sec->resumes && make_servers(pw);
}

void secure_fini(struct pworker *pw)
{
    struct secure *sec = &pw->secure;
    for (size_t i = 0; sec->servers && i < pw->settings->listeners.count; i++)
        tls_server_destroy(&sec->servers[i]);
    for (uint32_t i = 0; sec->resumes && i < sec->resume_count; i++)
        if (sec->resumes[i].session)
            tls_resume_forget(&sec->resumes[i]);
    free(sec->servers);
    free(sec->resumes);
    tls_worker_destroy(&sec->worker);
}

bool secure_accept(struct session *s)
{
    struct pworker *pw = s->pw;
    size_t i = (size_t)(s->listener - listener_at(pw->settings, 0));
    return tls_accept(&s->conn, pw->secure.worker, pw->secure.servers[i]);
}

/* enum tls_failure and the reasons stand in one order. */
_Static_assert(REASON_TLS_OTHER - REASON_TLS_TIMEOUT == TLS_FAIL_OTHER - TLS_FAIL_TIMEOUT &&
                   REASON_TLS_ABUSE - REASON_TLS_TIMEOUT == TLS_FAIL_ABUSE - TLS_FAIL_TIMEOUT,
               "one reason for each failure");

void secure_count_failed(struct session *s, enum tls_failure why)
{
    ASSERT(why > TLS_FINE && why < TLS_FAILURES);
    log_debug("listener %s: TLS: %s %s", s->listener->name, tls_failure_name(why),
              tls_failure_text(&s->conn));
    ledger_reason(&s->pw->ledger, LEDGER_NO_SLOT,
                  (enum reason)(REASON_TLS_TIMEOUT + (why - TLS_FAIL_TIMEOUT)));
}

void secure_count_accepted(struct session *s)
{
    struct ledger_row *row = s->pw->ledger.row;
    enum tls_failure why = tls_failure(&s->conn);
    if (s->conn.broken) {
        secure_count_failed(s, why ? why : TLS_FAIL_CLOSED);
        return;
    }
    ledger_add(&row->tls_handshakes, 1);
    if (tls_is_resumed(&s->conn))
        ledger_add(&row->tls_resumed, 1);
}

void secure_count_connected(struct uplink *u)
{
    struct ledger_row *row = u->pw->ledger.row;
    ledger_add(&row->tls_out_handshakes, 1);
    if (tls_is_resumed(&u->conn))
        ledger_add(&row->tls_out_resumed, 1);
}

bool secure_connect(struct uplink *u, const struct cluster *c, const char *alpn)
{
    struct secure *sec = &u->pw->secure;
    struct tls_resume *resume = u->slot < sec->resume_count ? &sec->resumes[u->slot] : NULL;
    if (!c->secure || !tls_connect(&u->conn, sec->worker, c->secure, &u->addr, alpn, resume))
        return false;
    u->secure = c->secure;
    return true;
}

/* By address alone, which is safe: the conn keeps its client alive, so nobody else has that address. */
bool secure_fits(const struct uplink *u, const struct cluster *c)
{
    return u->secure == c->secure && conn_is_secure(&u->conn) == c->options.tls.enabled;
}

/* ---- checking ---- */

static void check_cluster(const struct cluster_options *o, const char *name, const struct bundle *b,
                          struct buf *errors)
{
    char who[CLUSTER_ID_MAX + 64];
    if (!o->tls.enabled)
        return;
    snprintf(who, sizeof who, "\"%s\": tls", name);
    struct tls_client *tc = tls_client_create(&o->tls, o->host, b, who, errors);
    tls_client_unref(&tc);
}

static void check_listener(const struct listener_settings *l, const struct bundle *b, struct buf *errors)
{
    if (!l->tls.certificates.count)
        return;
    struct tls_store *store = make_store(l, b, NULL, errors);
    struct tls_server *ts = store ? tls_server_create(&l->tls, store, 1, errors) : NULL;
    tls_server_destroy(&ts);
    tls_store_unref(&store);
}

bool secure_check(const struct settings *s, struct buf *errors)
{
    struct bundle b = {STR_NULL};
    size_t before = errors->len;
    int fd = bundle_make(s, BUNDLE_ALL, errors);
    if (fd < 0 || !bundle_open(&b, fd))
        return false;
    for (size_t i = 0; i < s->listeners.count; i++)
        check_listener(listener_at(s, i), &b, errors);
    for (size_t i = 0; i < s->clusters.count; i++) {
        const struct cluster_settings *c = SETTINGS_AT(s->clusters, struct cluster_settings, i);
        check_cluster(&c->options, c->name, &b, errors);
    }
    for (size_t i = 0; i < s->cartridges.count; i++) {
        const struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, i);
        for (size_t k = 0; k < c->ports.count; k++)
            check_cluster(&SETTINGS_AT(c->ports, struct port_settings, k)->options, c->name, &b, errors);
    }
    bundle_close(&b);
    close(fd);
    return errors->len == before;
}
