/* fuzz_hello: whatever a client says first, it is shown a certificate by the rules or refused.
 *
 * The first byte chooses: an even one takes the rest for a server_name extension, an odd one for what comes
 * over the socket, record by record. */
#include <sys/socket.h>
#include <unistd.h>

#include "../tls_files.h"
#include "net/tls_priv.h"

static struct {
    struct worker w;
    struct tls_worker *tw;
    struct tls_listener_settings settings;
    struct tls_certificate_settings certificates[3];
    struct tls_store *store;
    struct tls_server *server;
    bool ready;
} rig;

static void make_rig(void)
{
    static char files[3][8] = {"one", "two", "three"};
    static const char *const names[3] = {"DNS:one.test", "DNS:two.test,DNS:*.two.test", "DNS:three.test"};
    struct buf bytes, errors;
    int kept;
    buf_init(&bytes);
    buf_init(&errors);
    ASSERT(worker_init(&rig.w, 0));
    options_init(&tls_listener_table, &rig.settings);
    for (int i = 0; i < 3; i++) {
        put_pair(&bytes, files[i], names[i]);
        options_init(&tls_certificate_table, &rig.certificates[i]);
        rig.certificates[i].cert = files[i];
    }
    rig.settings.certificates = (struct option_list){rig.certificates, 3};
    struct bundle b = {buf_str(&bytes)};
    rig.store = tls_store_create(&rig.settings, &b, "fuzz", NULL, &errors, &kept);
    ASSERT(rig.store);
    rig.tw = tls_worker_create(&rig.w);
    rig.server = tls_server_create(&rig.settings, rig.store, 60, &errors);
    ASSERT(rig.tw && rig.server);
    buf_fini(&bytes);
    buf_fini(&errors);
    rig.ready = true;
}

/* What the parser lets through is a name that could be looked for, and finding is total and stable. */
static void check_sni(const unsigned char *p, size_t n)
{
    char host[TLS_SNI_MAX + 1];
    size_t len = 0;
    bool known;
    if (!tls_sni_parse(p, n, host, &len))
        return;
    ASSERT(len > 0 && len <= TLS_SNI_MAX && host[len] == 0 && strlen(host) == len);
    for (size_t i = 0; i < len; i++)
        ASSERT(host[i] > ' ' && host[i] != '*' && (host[i] < 'A' || host[i] > 'Z'));
    const struct tls_site *site = tls_site_find(rig.store, str_make(host, len), &known);
    ASSERT(site && site->policy && (known || site == rig.store->fallback));
    if (known && site->host[0] != '*')
        ASSERT(str_eq(str_of(site->host), str_make(host, len)));
}

static void on_ready(struct conn *c)
{
    (void)c;
}

static void check_wire(const char *p, size_t n)
{
    int ends[2];
    struct conn c;
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    ASSERT(conn_open(&c, &rig.w, ends[0], on_ready) && tls_accept(&c, rig.tw, rig.server));
    rig.w.turn_ns++; /* a fresh budget */
    for (size_t at = 0, step = n / 3 + 1; at < n; at += step) {
        if (send(ends[1], p + at, n - at < step ? n - at : step, MSG_NOSIGNAL) < 0)
            break;
        c.may_read = true;
        bool over = tls_on_event(&c);
        ASSERT(over == (c.broken || !tls_is_handshaking(&c)));
        if (over)
            break;
    }
    ASSERT(tls_is_handshaking(&c)); /* nobody finishes one without keys */
    ASSERT(!c.broken || (tls_failure(&c) != TLS_FINE && tls_failure_name(tls_failure(&c))));
    conn_close(&c);
    close(ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!rig.ready)
        make_rig();
    if (size < 2)
        return 0;
    if (data[0] & 1)
        check_wire((const char *)data + 1, size - 1);
    else
        check_sni(data + 1, size - 1);
    return 0;
}
