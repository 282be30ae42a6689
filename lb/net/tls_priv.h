/* tls_priv: what the files of net/tls*.c share; nobody else includes it. */
#ifndef COX_NET_TLS_PRIV_H
#define COX_NET_TLS_PRIV_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/list.h"
#include "net/tls.h"
#include "net/tls_record.h"

#define TLS_MAGIC      0x746c7363u
#define TLS_KEY_TYPES  3 /* RSA, ECDSA, EdDSA */
#define TLS_SID_BYTES  32
#define TLS_ALPN_BYTES 32
/* Of a connection that is compact. */
#define TLS_COMPACT_VERSION "TLSv1.3"

/* A certificate with its chain and key. */
struct tls_pair {
    X509 *leaf;             /* owned */
    STACK_OF(X509) * chain; /* owned; may be empty */
    EVP_PKEY *key;          /* owned */
    unsigned char *ocsp;    /* owned, of OPENSSL_malloc; NULL: none */
    int ocsp_len;
    int64_t ocsp_until; /* its nextUpdate; 0: it says none */
    const char *file;   /* borrowed from the settings */
    uint8_t type;       /* of the key, below TLS_KEY_TYPES */
    bool is_kept;       /* of the store before: the files are broken now */
};

/* The rule for clients' certificates. */
struct tls_policy {
    int mode;                    /* enum client_auth, never INHERIT */
    X509_STORE *store;           /* owned; NULL when off */
    STACK_OF(X509_NAME) * names; /* owned; told to clients */
    int depth;
    unsigned char
        sid[TLS_SID_BYTES]; /* of mode and files: a session is resumed under the same policy only (P6) */
};

/* What clients get that ask for one name. */
struct tls_site {
    struct tls_site *next; /* in its bucket */
    char *host;            /* owned; lower case; "*.example.com" is kept as it is. NULL: the default */
    const struct tls_pair *pairs[TLS_KEY_TYPES]; /* borrowed from the store */
    const struct tls_policy *policy;             /* likewise */
};

struct tls_store {
    _Atomic uint32_t refs;
    struct tls_pair *pairs; /* owned */
    size_t pair_count;
    struct tls_policy *policies; /* owned; [0] is the listener's */
    size_t policy_count;
    struct tls_site *fallback; /* owned; for no name, and for unknown ones */
    struct tls_site **buckets; /* owned, with their sites */
    size_t bucket_count;       /* a power of two */
    size_t site_count;
};

struct tls_server {
    const struct tls_listener_settings *settings; /* borrowed */
    SSL_CTX *ctx;                                 /* owned */
    struct tls_store *store;                      /* counted */
    bool show_fallback; /* the context still holds a kind of certificate that the fallback has no more */
    unsigned char alpn[TLS_ALPN_BYTES]; /* as it stands in the handshake */
    unsigned alpn_len;
};

struct tls_client {
    _Atomic uint32_t refs;
    uint64_t id; /* of no other client of this process */
    SSL_CTX *ctx;
    char *hostname, *sni; /* owned, or NULL */
    bool verify, has_alpn;
    int64_t max_key_updates; /* of the server, a minute */
};

/* Below what AES-GCM bears. */
#define TLS_RECORDS_A_KEY (UINT64_C(1) << 24)
/* What one step of a handshake writes, and more: certificates of clients' CAs can make it longer. */
#define TLS_STAGE_BYTES 16384
/* What one step reads at a time: a ClientHello with the key share of ML-KEM768 is about 1,600 bytes. */
#define TLS_AHEAD_BYTES 8192

struct tls_worker {
    struct worker *worker; /* borrowed */
    uint32_t staged;       /* bytes of `stage`, in the middle of a step */
    BIO_METHOD *bio;       /* owned */
    EVP_CIPHER *cipher;    /* owned; of tickets */
    struct ticket_keys tickets;
    bool has_tickets;
    struct list waiting; /* of struct tls: handshakes for the next turn */
    struct run_node run;
    uint64_t turn_ns;             /* the worker's clock when spent_ns began */
    uint64_t spent_ns;            /* on handshakes in this turn */
    uint32_t ahead_at, ahead_len; /* what OpenSSL has not taken yet of `ahead`, in the middle of a step */
    struct tls_kit kit;
    uint64_t records_a_key;  /* sealed with one key, then comes a KeyUpdate (RFC 8446 5.5) */
    struct tls_bench *bench; /* owned; of tls_compact.c, NULL: not needed yet */
    char stage[TLS_STAGE_BYTES];
    char ahead[TLS_AHEAD_BYTES];
};

/* NONE: not taken, or none came. EXPECTED: the handshake begins with looking for some. OPEN: some came, more
 * may. OVER: the rest of the handshake goes on behind reads. */
enum early { EARLY_NONE, EARLY_EXPECTED, EARLY_OPEN, EARLY_OVER };

/* What a connection of TLS 1.3 needs to do without OpenSSL (tls_compact.c). Its secrets are taken down in the
 * handshake; the rest is for the time after. */
struct tls_own {
    struct tls_half in, out;
    uint8_t suite; /* enum tls_suite; from here on once it is compact */
    bool resumed;
    bool half_read;       /* of a record of the peer no more than the head came */
    bool closed;          /* close_notify came */
    bool said_goodbye;    /* ours is out, or held */
    bool owes_update;     /* a KeyUpdate of ours goes before anything else */
    uint8_t empties;      /* records without a byte, in a row */
    uint8_t message_len;  /* of `message` */
    uint8_t message[5];   /* a KeyUpdate that comes in pieces */
    const char *cipher;   /* constant */
    char *sni;            /* owned, or NULL */
    unsigned char *kept;  /* owned; sealed bytes that were read, and not opened yet, or NULL */
    unsigned char *plain; /* owned; opened, and nobody took it yet, or NULL */
    uint32_t kept_len, plain_at, plain_len;
    uint32_t pending; /* bytes in the record that is or was held, which count as written when it is gone */
};

/* One connection's. Freed with its conn. */
struct tls {
    uint32_t magic;
    bool is_server, handshaking;
    bool wants_write;      /* the handshake waits for the socket to take bytes, not to bring some */
    bool read_wants_write; /* an answer of TLS itself has to go out before more can be read */
    bool write_wants_read; /* likewise the other way round */
    bool raw_empty;        /* the socket had less than was asked for: no second look in this call */
    bool raw_eof;          /* FIN */
    bool has_more;         /* another record follows this one at once: the kernel may wait for it */
    bool staging;          /* a step of the handshake runs: its messages leave together behind it */
    bool half_written;     /* OpenSSL holds a record that the socket did not take as a whole */
    bool fatal;            /* nothing more can be read or written */
    uint8_t early;         /* enum early */
    bool has_early_byte;
    char early_byte;   /* the first; it told that there are some */
    bool shut_pending; /* close_notify could not go out yet */
    uint8_t alpn;      /* enum alpn */
    uint8_t failure;   /* enum tls_failure */
    const char *failure_text;
    struct conn *conn; /* borrowed: it owns us */
    struct tls_worker *worker;
    struct tls_server *server;        /* borrowed; NULL: a client's */
    struct tls_store *store;          /* counted, until the handshake is over */
    unsigned char sid[TLS_SID_BYTES]; /* of the policy of the name in the handshake */
    int auth_mode;                    /* enum client_auth; of that policy */
    struct tls_identity *identity;    /* owned; NULL: not asked for yet */
    const struct tls_site *site;      /* in store */
    struct tls_client *client;        /* counted; NULL: a server's */
    struct tls_resume *resume;        /* borrowed, or NULL */
    struct addr to;                   /* of a client */
    struct list node;                 /* in worker->waiting */
    int64_t key_updates;              /* in this minute */
    uint64_t key_updates_ms;          /* when it began */
    char *held;                       /* owned; what of them the socket did not take, NULL: nothing */
    uint32_t held_len;
    uint32_t ahead_at, ahead_len; /* what of it is left */
    char *ahead;                  /* owned; what came along with the last message of the handshake, or NULL */
    struct tls_own *own;          /* owned; NULL: its secrets were not taken down */
    SSL *ssl;                     /* owned; NULL: it is compact */
};

extern const struct conn_ops conn_tls;

/* tls_bio.c: a conn's socket as OpenSSL sees it. NULL when memory is out. */
BIO_METHOD *tls_bio_method(void);
/* Sends what is staged or held. False: the socket has no room, and the rest is held; a socket that is broken
 * takes everything, and says so when it is read. */
bool tls_push(struct tls *t);
/* The end of a step: what was read and not taken stays with the connection. False: memory is out. */
bool tls_keep_ahead(struct tls *t) __attribute__((warn_unused_result));

/* tls_handshake.c */
/* One step of the handshake, within the budget. True: it is over, one way or the other. */
bool tls_handshake(struct tls *t);
/* NULL when memory is out. */
struct tls *tls_create(struct conn *c, struct tls_worker *tw, SSL_CTX *ctx);
/* Counts a KeyUpdate of the client's; true when it was one too many for this minute. */
bool tls_is_flooding(struct tls *t);
/* Marks the connection as failed; takes the reason out of OpenSSL's queue when why is TLS_FAIL_OTHER. */
void tls_fail(struct tls *t, enum tls_failure why);
static inline struct tls *tls_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

/* tls_rest.c. A traffic secret of a server's connection (tls_schedule.h). */
void tls_on_secret(struct tls *t, bool is_ours, const unsigned char *secret, size_t n);
/* Every message callback: records of both directions are counted, and what changes keys is seen. */
void tls_count_record(struct tls *t, bool is_sent, int type, const unsigned char *p);
/* Wipes and frees; harmless when there is none. */
void tls_own_free(struct tls *t);

/* tls_compact.c: a conn without OpenSSL. False: memory is out. */
extern const struct conn_ops conn_compact;
bool tls_compact_prepare(struct tls_worker *tw);
/* Says goodbye, if it can be said at once. */
void tls_compact_goodbye(struct tls *t);
/* The socket takes bytes again. False: it is full again. */
bool tls_compact_flush(struct tls *t);

/* tls_ticket.c: seals and opens tickets with the worker's keys; a callback of OpenSSL. */
int tls_on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                  int is_new);
/* With ticket_renewal = "aged": whether one that was opened brings another; likewise. */
SSL_TICKET_RETURN tls_on_ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                       size_t name_len, SSL_TICKET_STATUS status, void *arg);

/* tls_pem.c: PEM out of memory. On failure false, and a text without line end in *errors. */
bool tls_pem_certificates(struct str pem, STACK_OF(X509) * *out_list, struct buf *errors);
bool tls_pem_key(struct str pem, EVP_PKEY **out_key, struct buf *errors);
/* Adds all certificates of a file; names may be NULL. */
bool tls_pem_store(struct str pem, X509_STORE *store, STACK_OF(X509_NAME) * names, struct buf *errors);
bool tls_pem_crls(struct str pem, X509_STORE *store, struct buf *errors);
/* OpenSSL's last words, and forgets them. */
const char *tls_last_error(void);

/* tls_identity.c: verify callback of OpenSSL for clients' certificates. One whose names hold a NUL is
 * refused: whoever reads them later may stop there and take it for somebody else (P5). */
int tls_on_client_certificate(int ok, X509_STORE_CTX *ctx);

/* tls_client.c: whom we want to speak with, and what its certificate must say. */
bool tls_client_aim(SSL *ssl, const struct tls_client *tc, const struct addr *to);

/* tls_site.c */
/* By the name of a handshake in lower case; an exact one, then "*." for its first label, then the fallback.
 * out_known (may be NULL): it was not the fallback. */
const struct tls_site *tls_site_find(const struct tls_store *s, struct str host, bool *out_known);
/* What a client has to show for this host (in lower case): of the name itself, else of the longest "*." above
 * it, over any number of labels as routes have it, else of the fallback. */
const struct tls_policy *tls_policy_find(const struct tls_store *s, struct str host);
/* The site of this host, made when there is none; NULL host: the fallback. */
struct tls_site *tls_site_make(struct tls_store *s, struct str host);
void tls_sites_free(struct tls_store *s);
/* The name in a server_name extension (RFC 6066 3), in lower case; false when there is none or it is
 * malformed. */
bool tls_sni_parse(const unsigned char *p, size_t n, char out_host[TLS_SNI_MAX + 1], size_t *out_len);
/* client_hello callback of OpenSSL: before anything is resumed (P6). arg is the tls_server. */
int tls_on_client_hello(SSL *ssl, int *alert, void *arg);

/* The wire form of a list of protocols; 0 when it does not fit. */
unsigned tls_alpn_encode(const struct strings *list, unsigned char out[TLS_ALPN_BYTES]);
enum alpn tls_alpn_of(const unsigned char *p, unsigned n);
/* Versions and modes that both sides share. */
bool tls_ctx_basics(SSL_CTX *ctx, int min_version, int max_version);

#endif
