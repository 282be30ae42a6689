#include "topo/topology_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "topology"
#define HEAD_WORD "coxswain-topology"
enum { HEAD_MAX = 100 };

/* FNV-1a: against accidents, not against enemies, who could write a valid one. */
static uint64_t checksum(struct str s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    return h;
}

static void put_path(struct buf *path, const char *dir, const char *suffix)
{
    buf_init(path);
    buf_printf(path, "%s/%s%s", dir, FILE_NAME, suffix);
    buf_put(path, "", 1);
}

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        bytes = str_make(bytes.p + n, bytes.n - (size_t)n);
    }
    return true;
}

bool topology_file_write(const char *dir, struct str encoded)
{
    struct buf path, new_path, head;
    put_path(&path, dir, "");
    put_path(&new_path, dir, ".new");
    buf_init(&head);
    buf_printf(&head, "%s %d %zu %" PRIu64 "\n", HEAD_WORD, TOPOLOGY_FILE_VERSION, encoded.n,
               checksum(encoded));
    int fd = open(new_path.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok =
        fd >= 0 && write_all(fd, buf_str(&head)) && write_all(fd, encoded) && rename(new_path.p, path.p) == 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    buf_fini(&path);
    buf_fini(&new_path);
    buf_fini(&head);
    errno = why;
    return ok;
}

/* ---- reading ---- */

static bool read_all(int fd, struct buf *to)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return false;
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)TOPOLOGY_FILE_BYTES_MAX) {
        errno = EFBIG;
        return false;
    }
    while (to->len < (size_t)st.st_size) {
        size_t more = (size_t)st.st_size - to->len;
        ssize_t n = read(fd, buf_reserve(to, more), more);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        to->len += (size_t)n;
    }
    return true;
}

static bool take_head(struct str *in)
{
    struct str line, word;
    uint64_t version, bytes, sum;
    if (!in->n || !memchr(in->p, '\n', in->n < HEAD_MAX ? in->n : HEAD_MAX) || !str_next(in, '\n', &line))
        return false;
    return str_next(&line, ' ', &word) && str_eq(word, STR(HEAD_WORD)) && str_next(&line, ' ', &word) &&
           str_to_u64(word, &version) && version == TOPOLOGY_FILE_VERSION && str_next(&line, ' ', &word) &&
           str_to_u64(word, &bytes) && bytes == in->n && str_next(&line, ' ', &word) &&
           str_to_u64(word, &sum) && sum == checksum(*in);
}

static struct topology *decode(struct str bytes, struct buf *error)
{
    if (take_head(&bytes))
        return topology_decode(bytes, error);
    buf_printf(error, "of another version, or damaged");
    return NULL;
}

struct topology *topology_file_read(const char *dir, struct buf *error)
{
    struct buf path, bytes;
    struct topology *t = NULL;
    put_path(&path, dir, "");
    buf_init(&bytes);
    /* Somebody could have put a pipe there: do not wait for its other end. */
    int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd >= 0 && read_all(fd, &bytes))
        t = decode(buf_str(&bytes), error);
    else if (errno != ENOENT)
        buf_printf(error, "%s", strerror(errno));
    if (fd >= 0)
        close(fd);
    buf_fini(&bytes);
    buf_fini(&path);
    return t;
}
