#include "master/admin_token.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

void admin_token_wipe(struct admin_token *t)
{
    explicit_bzero(t, sizeof *t);
}

/* What may stand behind "Bearer" (RFC 6750 2.1), and thus needs no care in a field value. */
static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (char_lower(c) >= 'a' && char_lower(c) <= 'z') ||
           (c && strchr("-._~+/=", c));
}

static bool take(struct admin_token *t, size_t n, const char *path, struct buf *error)
{
    size_t len = 0;
    while (len < n && t->text[len] != '\n' && t->text[len] != '\r')
        len++;
    t->text[len < ADMIN_TOKEN_MAX ? len : ADMIN_TOKEN_MAX] = 0;
    bool ok = len >= ADMIN_TOKEN_MIN && len <= ADMIN_TOKEN_MAX;
    for (size_t i = 0; ok && i < len; i++)
        ok = is_token_char(t->text[i]);
    if (ok)
        return true;
    buf_printf(error,
               "%s: the first line must be a secret of %d to %d letters out of A-Z a-z 0-9 - . _ ~ + / =\n",
               path, ADMIN_TOKEN_MIN, ADMIN_TOKEN_MAX);
    admin_token_wipe(t);
    return false;
}

bool admin_token_read(const struct settings *s, struct admin_token *out, struct buf *error)
{
    const char *path = s->admin.token_file;
    struct stat st;
    *out = (struct admin_token){{0}};
    if (!s->admin.address || !path)
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, out->text, sizeof out->text); /* one more than may be */
    if (n < 0)
        buf_printf(error, "token_file %s: %s\n", path, strerror(errno));
    else if (fstat(fd, &st) == 0 && (st.st_mode & 0007))
        log_warn("token_file %s: everybody on this machine may read it", path);
    if (fd >= 0)
        close(fd);
    return n >= 0 && take(out, (size_t)n, path, error);
}
