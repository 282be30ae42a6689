/* settings_tls: the keys of TLS, toward clients (of a listener) and toward servers (of a cluster). Members of
 * listener_settings and cluster_options; see settings.h for life and ownership. */
#ifndef COX_CONF_SETTINGS_TLS_H
#define COX_CONF_SETTINGS_TLS_H

#include "conf/options.h"

enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };
/* INHERIT: as the listener says; of the listener itself: OFF. */
enum client_auth { CLIENT_AUTH_INHERIT, CLIENT_AUTH_OFF, CLIENT_AUTH_OPTIONAL, CLIENT_AUTH_REQUIRED };
/* Whether a ticket of TLS 1.3 that came back brings another. */
enum ticket_renewal { TICKET_RENEWAL_ALWAYS, TICKET_RENEWAL_AGED };

struct tls_auth_settings {
    int mode;  /* enum client_auth */
    char *ca;  /* PEM: whose certificates are accepted, and the names that are told to clients */
    char *crl; /* PEM: what was revoked; NULL: not looked at */
    int64_t depth;
};

struct tls_certificate_settings {
    char *cert;           /* PEM: the leaf, then its chain */
    char *key;            /* PEM; NULL: in the file of the certificate */
    char *ocsp;           /* DER answer of the CA's OCSP responder, NULL: none is stapled */
    struct strings hosts; /* empty: the names in the certificate */
    struct tls_auth_settings client_auth;
};

/* Names of the fields that tell a server who the client is; NULL: not told. */
struct tls_field_settings {
    char *verify, *subject, *issuer, *serial, *fingerprint, *cert;
};

struct tls_listener_settings {
    struct option_list certificates; /* struct tls_certificate_settings; none: no TLS */
    int min_version, max_version;    /* enum tls_version */
    char *ciphers, *ciphersuites, *groups;
    struct strings alpn;
    uint64_t handshake_timeout_ms;
    int64_t tickets;
    int ticket_renewal; /* enum ticket_renewal */
    bool strict_sni;
    bool rest; /* idle connections do without OpenSSL's memory */
    int64_t max_key_updates; /* a minute */
    struct tls_auth_settings client_auth;
    bool early_data;
    uint64_t max_early_data_bytes;
};

struct tls_cluster_settings {
    bool enabled;
    bool verify;
    char *ca;       /* NULL: those that the system trusts */
    char *hostname; /* that the certificate must be for; NULL: cluster.host, else the endpoint's address */
    char *sni;      /* NULL: hostname, unless that is an address */
    char *cert, *key;
    struct strings alpn;
    int min_version, max_version;
    int64_t max_key_updates; /* a minute, from the server */
};

extern const struct option_table tls_listener_table, tls_cluster_table, tls_certificate_table,
    tls_field_table;

#endif
