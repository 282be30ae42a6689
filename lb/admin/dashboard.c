#include "admin/dashboard.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/panic.h"

/* Made from dashboard.html by the build: one string literal a line. */
static const char page[] =
#include "lb/admin/dashboard.inc"
    ;

#define NONCE_MARK "@NONCE@"

enum { NONCE_BYTES = 16 };

static void make_nonce(char text[2 * NONCE_BYTES + 1])
{
    unsigned char bytes[NONCE_BYTES];
    ASSERT(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    for (int i = 0; i < NONCE_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

void dashboard_put(struct buf *body, struct buf *fields)
{
    char nonce[2 * NONCE_BYTES + 1];
    make_nonce(nonce);
    const char *at = page;
    for (const char *mark; (mark = strstr(at, NONCE_MARK)) != NULL; at = mark + sizeof NONCE_MARK - 1) {
        buf_put(body, at, (size_t)(mark - at));
        buf_put_str(body, str_of(nonce));
    }
    buf_put_str(body, str_of(at));
    buf_printf(
        fields,
        "Content-Security-Policy: default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
        "X-Frame-Options: DENY\r\n",
        nonce, nonce);
}
