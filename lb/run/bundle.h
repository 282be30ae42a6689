/* bundle: the files that TLS needs (certificates, keys, CAs), as they are at one moment, in one sealed memfd.
 *
 * The master reads them while it has the right to and hands the descriptor to proxies; nobody opens them
 * later. Bytes only: what they mean is OpenSSL's business. The memory holds private keys: it is given to
 * nobody but proxies. */
#ifndef COX_RUN_BUNDLE_H
#define COX_RUN_BUNDLE_H

#include <stdbool.h>

#include "base/buf.h"
#include "conf/settings.h"

/* Largest file; lists of revoked certificates are the big ones. */
#define BUNDLE_FILE_MAX (16u << 20)

struct bundle {
    struct str bytes; /* mapped */
};

/* Whose: a proxy needs all; health probes what connecting to servers takes, and no key of a listener. */
enum bundle_part { BUNDLE_ALL, BUNDLE_SERVERS };

/* Every path that the settings name for TLS, some more than once. */
void bundle_paths(const struct settings *s, enum bundle_part part, void (*fn)(void *ctx, const char *path),
                  void *ctx);
/* Reads them all: the descriptor (the caller closes), or -1 with a line in *errors for each that cannot be
 * read. Without any path it is an empty bundle. */
int bundle_make(const struct settings *s, enum bundle_part part, struct buf *errors)
    __attribute__((warn_unused_result));
/* Maps it; the descriptor stays the caller's. */
bool bundle_open(struct bundle *b, int fd) __attribute__((warn_unused_result));
void bundle_close(struct bundle *b);
/* The content of a file, borrowed; p is NULL when it is not in there. */
struct str bundle_file(const struct bundle *b, const char *path);

#endif
