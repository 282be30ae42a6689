#include "proxy/send_proxy.h"

#include "net/proxyproto.h"
#include "net/tls_facts.h"
#include "proxy/proxy.h"

static void set_ip(struct addr *a, const uint8_t ip[16], uint16_t port)
{
    *a = (struct addr){.len = sizeof a->in6};
    a->in6.sin6_family = AF_INET6;
    a->in6.sin6_port = htons(port);
    memcpy(&a->in6.sin6_addr, ip, 16);
}

/* What a proxy in front of us told us goes on as it came. */
static void describe_proxied(const struct session_proxied *p, struct proxyproto *h)
{
    h->unique_id = p->unique_id;
    h->authority = p->authority;
    h->alpn = p->alpn;
    h->has_tls = p->has_tls;
    h->tls_client = p->tls_client;
    h->tls_verify = p->tls_verify;
    h->tls_version = p->tls_version;
    h->tls_cipher = p->tls_cipher;
    h->tls_name = p->tls_name;
}

/* The name that a client asks for is its own invention. */
static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~')
            return false;
    return text.n <= PROXYPROTO_NAME_MAX;
}

/* TLS that ends here. Texts point into f. */
static void describe_tls(const struct conn *c, const struct tls_facts *f, struct proxyproto *h)
{
    enum alpn alpn = conn_alpn(c);
    h->alpn = alpn == ALPN_H2 ? STR("h2") : alpn == ALPN_HTTP_1_1 ? STR("http/1.1") : STR_NULL;
    h->authority = is_plain(f->sni) ? f->sni : STR_NULL;
    h->has_tls = true;
    h->tls_client = PROXYPROTO_TLS;
    if (f->has_certificate)
        h->tls_client |= f->is_resumed ? PROXYPROTO_TLS_SESS : PROXYPROTO_TLS_SESS | PROXYPROTO_TLS_CERT;
    h->tls_verify = f->verify;
    h->tls_version = f->version;
    h->tls_cipher = f->cipher;
    h->tls_name = str_make(f->name, f->name_len);
}

static void describe(const struct session *s, struct proxyproto *h, struct tls_facts *f)
{
    *h = (struct proxyproto){0};
    if (s->family == AF_UNIX) {
        h->from.sa.sa_family = h->to.sa.sa_family = AF_UNIX;
        return;
    }
    set_ip(&h->from, s->ip, s->port);
    set_ip(&h->to, s->local_ip, s->local_port);
    if (s->proxied)
        describe_proxied(s->proxied, h);
    if (tls_facts_read(&s->conn, f))
        describe_tls(&s->conn, f, h);
}

bool send_proxy_begin(struct uplink *u)
{
    const struct exchange *x = u->x;
    char header[PROXYPROTO_WRITE_MAX];
    struct proxyproto h;
    struct tls_facts facts;
    describe(x->session, &h, &facts);
    size_t n = proxyproto_write(&h, x->opt->send_proxy == SEND_PROXY_V1 ? 1 : 2, header, sizeof header);
    return n && conn_send_first(&u->conn, header, n);
}
