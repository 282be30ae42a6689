/* The tables of TLS, toward clients and toward servers. */
#include "conf/settings_rows.h"

static const char *const version_words[] = {"1.2", "1.3", NULL};
static const char *const auth_words[] = {"default", "off", "optional", "required", NULL};
static const char *const renewal_words[] = {"always", "aged", NULL};

_Static_assert(TLS_VERSION_1_3 == 1 && CLIENT_AUTH_REQUIRED == 3 && TICKET_RENEWAL_AGED == 1,
               "words stand in the order of their enum");

#define A(member) offsetof(struct tls_auth_settings, member)
static const struct option auth_rows[] = {
    ROW_ENUM(
        "mode", A(mode), "default", auth_words,
        "\"required\": only clients with a valid certificate are let in. \"optional\": one is asked for, and "
        "must be valid if it is shown. \"off\": none is asked for. \"default\" is what the listener says, "
        "and "
        "\"off\" for the listener itself."),
    ROW_PATH("ca", A(ca), NULL,
             "PEM file with the certificates of those who may sign clients' certificates."),
    ROW_PATH(
        "crl", A(crl), NULL,
        "PEM file with revocation lists, one for every CA that can stand in a chain: a client whose chain "
        "cannot be checked against one is refused. Unset: nothing is looked up."),
    ROW_INT("depth", A(depth), "4", 0, 16, "Most certificates between the client's and a CA of the file."),
};
static const struct option_table auth_table = {
    .name = "client_auth",
    .help = "Certificates of clients (mutual TLS).",
    ROWS(auth_rows),
    .struct_size = sizeof(struct tls_auth_settings),
};

#define C(member) offsetof(struct tls_certificate_settings, member)
static const struct option certificate_rows[] = {
    {.key = "cert",
     .type = OPT_PATH,
     .offset = C(cert),
     .required = true,
     .help = "PEM file: the certificate, then the intermediates that lead to its CA."},
    ROW_PATH(
        "key", C(key), NULL,
        "PEM file of its private key, without a passphrase. Unset: it is in the file of the certificate. The "
        "master reads it before it gives up its privileges."),
    ROW_PATH("ocsp", C(ocsp), NULL,
             "File with the CA's OCSP answer (DER) for this certificate, stapled to the handshake while it is valid. "
             "Keep it fresh with \"openssl ocsp ... -respout\"; it is read again when it changes. An answer for "
             "another certificate is an error at start; later nothing is stapled until it fits again."),
    ROW_STRINGS(
        "hosts", C(hosts), NULL,
        "Host names that it is for, \"www.example.com\" or \"*.example.com\". Unset: the names in the "
        "certificate."),
    ROW_GROUP("client_auth", C(client_auth), &auth_table,
              "Another rule for clients that ask for these hosts. A request whose Host falls under another "
              "rule than "
              "the name in its handshake is answered 421."),
};
const struct option_table tls_certificate_table = {
    .name = "certificate",
    .help = "A certificate with its key. A plain string is the file that has both.",
    ROWS(certificate_rows),
    .struct_size = sizeof(struct tls_certificate_settings),
    .short_key = "cert",
};

#define L(member) offsetof(struct tls_listener_settings, member)
static const struct option listener_rows[] = {
    ROW_LIST(
        "certificates", L(certificates), &tls_certificate_table,
        "At least one. Which of them a client is shown follows from the name that it asks for (SNI): an "
        "exact one "
        "wins over a pattern, the first in the list is for clients that ask for none or for an unknown one. "
        "An "
        "RSA and an ECDSA certificate of the same name stand side by side, and each client gets what it can "
        "check. All files are read again when they change; a pair that does not fit together is reported, "
        "and "
        "the one before it stays."),
    ROW_ENUM("min_version", L(min_version), "1.2", version_words,
             "Oldest version of TLS. Below 1.2 all is broken."),
    ROW_ENUM("max_version", L(max_version), "1.3", version_words, "Newest version of TLS."),
    ROW_STRING(
        "ciphers", L(ciphers), "ECDHE+AESGCM:ECDHE+CHACHA20",
        "Cipher suites of TLS 1.2 in OpenSSL's notation: forward secret and authenticated ones alone, in our "
        "order, but ChaCha20 first for clients that prefer it (they have no AES in hardware)."),
    ROW_STRING("ciphersuites", L(ciphersuites), NULL,
               "Those of TLS 1.3. Unset: OpenSSL's own list, in which none is weak."),
    ROW_STRING("groups", L(groups), NULL,
               "Key exchange groups, such as \"X25519:P-256\". Unset: what OpenSSL holds for best."),
    ROW_STRINGS(
        "alpn", L(alpn), "[ \"h2\", \"http/1.1\" ]",
        "Protocols that are offered, the preferred one first. A client that names none of them is refused; "
        "one that names none at all speaks HTTP/1.1."),
    ROW_DURATION("handshake_timeout", L(handshake_timeout_ms), "10s", MS(1), SEC(600),
                 "A client that has not finished its handshake by then is dropped."),
    ROW_INT("tickets", L(tickets), "2", 0, 8,
            "Session tickets that a client gets, to come back without a full handshake; 0: none. Two, for "
            "browsers use "
            "each once and open connections in pairs. Their keys are made by the master and never touch a "
            "disk; see "
            "ticket_rotation."),
    ROW_ENUM("ticket_renewal", L(ticket_renewal), "always", renewal_words,
             "Whether a ticket of TLS 1.3 that comes back brings another. \"always\": browsers use each once, "
             "lest somebody on the way sees by it that two connections are one client's (RFC 8446 C.4), and would "
             "need a full handshake for every third connection. \"aged\": only when half of its time is over, or its key was "
             "rotated away. For clients that are known to use theirs again, such as services of your own; it saves them and "
             "us some of each resumption, and costs all others theirs."),
    ROW_BOOL("strict_sni", L(strict_sni), "false",
             "Refuse clients that ask for a name that no certificate is for, or for none, instead of showing "
             "them the "
             "first."),
    ROW_INT("max_key_updates", L(max_key_updates), "8", 0, 10000,
            "KeyUpdate messages of TLS 1.3 that a client may send within a minute; more ends the connection. "
            "Honest "
            "ones come after gigabytes; each makes us compute and answer."),
    ROW_BOOL("rest", L(rest), "true",
             "Connections of TLS 1.3 that have been idle for client_rest_after give OpenSSL's state back, 13 "
             "KiB each; from "
             "then on their records are sealed and opened with OpenSSL's ciphers, but by coxswain itself. "
             "Those with a client's certificate stay as they are. False: all do."),
    ROW_GROUP("client_auth", L(client_auth), &auth_table, "Certificates of clients (mutual TLS)."),
    ROW_BOOL("early_data", L(early_data), "false",
             "Take requests that clients send before the handshake is over (0-RTT of TLS 1.3). Whoever "
             "records them can "
             "send them again, so it is off. On: only GET, HEAD and OPTIONS without a body are taken so "
             "early and passed "
             "on with \"Early-Data: 1\"; all others are answered 425, and so may servers answer (RFC 8470). "
             "Never where "
             "client_auth is on."),
    ROW_SIZE("max_early_data", L(max_early_data_bytes), "16k", KIB(1), KIB(64),
             "Most bytes that a client may send early; more ends the connection."),
};
const struct option_table tls_listener_table = {
    .name = "tls",
    .help = "TLS toward clients. With at least one certificate the listener speaks TLS and nothing else.",
    ROWS(listener_rows),
    .struct_size = sizeof(struct tls_listener_settings),
};

#define F(member) offsetof(struct tls_field_settings, member)
static const struct option field_rows[] = {
    ROW_STRING("verify", F(verify), "X-Client-Cert-Verify",
               "\"SUCCESS\", or \"NONE\" for a client that showed no certificate (client_auth optional)."),
    ROW_STRING("subject", F(subject), "X-Client-Cert-Subject", "Subject, as RFC 2253 writes it."),
    ROW_STRING("issuer", F(issuer), "X-Client-Cert-Issuer", "Issuer, likewise."),
    ROW_STRING("serial", F(serial), "X-Client-Cert-Serial", "Serial number in hex."),
    ROW_STRING("fingerprint", F(fingerprint), "X-Client-Cert-Fingerprint",
               "SHA-256 of the certificate in hex."),
    ROW_STRING("cert", F(cert), NULL,
               "The certificate itself; \"Client-Cert\" for the field of RFC 9440. Unset: it is not sent, "
               "being long."),
};
const struct option_table tls_field_table = {
    .name = "client_cert_fields",
    .help = "Names of the fields that tell servers whose certificate a client showed; the empty string for "
            "one that is "
            "not told. As soon as any listener asks for certificates, clients' own fields of these names are "
            "taken out "
            "of all requests, unless they come from a peer in trusted over a listener that does not ask.",
    ROWS(field_rows),
    .struct_size = sizeof(struct tls_field_settings),
};

#define S(member) offsetof(struct tls_cluster_settings, member)
static const struct option cluster_rows[] = {
    ROW_BOOL("enabled", S(enabled), "false", "Speak TLS with the servers, in health probes too."),
    ROW_BOOL("verify", S(verify), "true",
             "Check that the server's certificate is signed by ca and made for hostname. Without it anybody "
             "on the way "
             "can be the server."),
    ROW_PATH("ca", S(ca), NULL,
             "PEM file with the CAs that may sign it. Unset: those that the system trusts."),
    ROW_STRING("hostname", S(hostname), NULL,
               "Name that the certificate must be for. Unset: the cluster's host, else the address of the "
               "endpoint."),
    ROW_STRING("sni", S(sni), NULL, "Name that is asked for. Unset: hostname, if it is a name."),
    ROW_PATH("cert", S(cert), NULL, "PEM file with a certificate to show to servers that want one."),
    ROW_PATH("key", S(key), NULL, "PEM file of its key. Unset: it is in the file of the certificate."),
    ROW_STRINGS("alpn", S(alpn), NULL,
                "Protocols that are offered. Unset: what the cluster's protocol needs. \"h2\" is for protocol = \"h2\", "
                "which cannot do without it."),
    ROW_ENUM("min_version", S(min_version), "1.2", version_words, "Oldest version of TLS."),
    ROW_ENUM("max_version", S(max_version), "1.3", version_words, "Newest version of TLS."),
    ROW_INT("max_key_updates", S(max_key_updates), "8", 0, 10000,
            "KeyUpdate messages of TLS 1.3 that a server may send within a minute on one connection; more ends "
            "it. Honest ones come after gigabytes."),
};
const struct option_table tls_cluster_table = {
    .name = "tls",
    .help = "TLS toward servers.",
    ROWS(cluster_rows),
    .struct_size = sizeof(struct tls_cluster_settings),
};
