/* tls_schedule: the key schedule of TLS 1.3 (RFC 8446 7.1) for the servers of this process, in the place of
 * OpenSSL's own: a provider that knows one algorithm, TLS13-KDF.
 *
 * It is there to see the two traffic secrets of a connection as they are made (tls_rest.c); OpenSSL would
 * print them for a log, digit by digit. It is quicker, too: OpenSSL's looks up and makes four objects for
 * each of the 25 secrets, keys and nonces of a handshake.
 *
 * Contexts that ask for it by TLS_SCHEDULE_QUERY (SSL_CTX_new_ex) get it. Once it is loaded OpenSSL may take
 * it for others too, which makes no difference to the secrets, keys and nonces of TLS, none of which is
 * longer than the hash: it computes the same, and refuses anything longer. Any thread. */
#ifndef COX_NET_TLS_SCHEDULE_H
#define COX_NET_TLS_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>

/* "If there is such a one": everything else comes from where it always does. */
#define TLS_SCHEDULE_QUERY "?provider=coxswain"

struct tls;

/* Once for the process; further calls say the same. False: OpenSSL would not have it. */
bool tls_schedule_load(void);
/* Whose handshake this thread makes from now on: tls_on_secret hears of its secrets. NULL: nobody's. */
void tls_schedule_for(struct tls *t);

#endif
