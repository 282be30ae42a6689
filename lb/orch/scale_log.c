#include "orch/scale_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "orch/scale_codec.h"

#define RING_MAGIC   0x63786472u /* "cxdr" */
#define RECORD_MAGIC 0x63786465u
#define HEAD_BYTES   4096u
#define ALIGN        8u

struct ring_head {
    uint32_t magic, version;
    uint64_t bytes;  /* of the ring behind the head */
    uint64_t end;    /* bytes ever written; the ring is what is left of the last `bytes` of them */
    uint64_t number; /* of the last record */
    uint64_t last;   /* bytes of the last record */
};

struct record_head {
    uint32_t magic, bytes; /* whole, a multiple of ALIGN */
    uint64_t number, at;   /* at: value of end before it */
    uint64_t before;       /* bytes of the record before it, 0: none */
    uint64_t body;         /* bytes that follow this head, without padding */
    uint64_t checksum;     /* of them */
};

struct scale_log {
    char *dir;              /* owned; NULL: in memory */
    struct ring_head *head; /* mapped; NULL: not yet, or it cannot be */
    bool has_failed;
    char *ring;
    uint8_t *kept; /* owned */
    uint64_t kept_bytes;
    struct buf scratch;
};

static uint64_t ring_bytes(void)
{
    return SCALE_RING_BYTES - HEAD_BYTES;
}

static bool is_usable(const struct ring_head *h)
{
    return h->magic == RING_MAGIC && h->version == SCALE_RING_VERSION && h->bytes == ring_bytes() &&
           h->end % ALIGN == 0 && h->end <= UINT64_MAX / 2 && h->last % ALIGN == 0 && h->last <= h->end;
}

/* -1: there is none, or none can be made. */
static int open_file(const struct scale_log *l, bool may_create)
{
    struct buf path;
    if (!l->dir)
        return -1;
    buf_init(&path);
    buf_printf(&path, "%s/decisions.ring", l->dir);
    buf_put(&path, "", 1);
    const int fd = open(path.p, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (may_create ? O_CREAT : 0), 0600);
    if (fd < 0 && may_create)
        log_warn("cannot keep decisions in %s: %s", path.p, strerror(errno));
    buf_fini(&path);
    return fd;
}

/* A disk that is full must show now and not in a write to the mapping. */
static bool has_room(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(fd, SCALE_RING_BYTES) == 0 &&
           posix_fallocate(fd, 0, SCALE_RING_BYTES) == 0;
}

static void map(struct scale_log *l, int fd)
{
    void *at = mmap(NULL, SCALE_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return;
    l->head = at;
    l->ring = (char *)at + HEAD_BYTES;
    if (!is_usable(l->head))
        *l->head =
            (struct ring_head){.magic = RING_MAGIC, .version = SCALE_RING_VERSION, .bytes = ring_bytes()};
}

/* Made when there is something to be written, so that who scales nothing pays nothing. In memory only what is
 * used of it becomes real. */
static void ensure(struct scale_log *l, bool may_create)
{
    if (l->head || l->has_failed)
        return;
    int fd = open_file(l, may_create);
    const bool is_file = fd >= 0;
    if (!is_file && may_create) {
        fd = memfd_create("coxswain-decisions", MFD_CLOEXEC);
        l->has_failed = fd < 0 || ftruncate(fd, SCALE_RING_BYTES) < 0;
    }
    if (fd >= 0 && !l->has_failed && (!is_file || has_room(fd)))
        map(l, fd);
    if (fd >= 0)
        close(fd);
    l->has_failed = may_create && !l->head;
    if (l->has_failed)
        log_warn("decisions are not logged: %s", strerror(errno));
}

struct scale_log *scale_log_open(const char *dir)
{
    struct scale_log *l = must(calloc(1, sizeof *l));
    l->dir = dir && *dir ? must(str_dup(str_of(dir))) : NULL;
    buf_init(&l->scratch);
    return l;
}

void scale_log_close(struct scale_log **lp)
{
    struct scale_log *l = *lp;
    *lp = NULL;
    if (!l)
        return;
    if (l->head)
        munmap(l->head, SCALE_RING_BYTES);
    free(l->kept);
    free(l->dir);
    buf_fini(&l->scratch);
    free(l);
}

const uint8_t *scale_log_keep(struct scale_log *l, const uint8_t *state, uint64_t bytes)
{
    if (bytes > l->kept_bytes) {
        l->kept = must(realloc(l->kept, bytes));
        l->kept_bytes = bytes;
    }
    if (bytes)
        memcpy(l->kept, state, bytes);
    return l->kept;
}

/* ---- writing ---- */

static char *place(const struct scale_log *l, uint64_t at)
{
    return l->ring + at % ring_bytes();
}

/* A record never wraps: what is left at the end of the ring is skipped, as part of the one before. */
static uint64_t skip_end(struct scale_log *l, uint64_t need)
{
    struct ring_head *h = l->head;
    const uint64_t left = ring_bytes() - h->end % ring_bytes();
    if (left >= need)
        return 0;
    h->last += h->last ? left : 0;
    h->end += left;
    return left;
}

uint64_t scale_log_put(struct scale_log *l, const struct scale_set *set, const struct cox_sample *sample,
                       const struct scale_record *record, uint64_t *out_bytes)
{
    *out_bytes = 0;
    ensure(l, true);
    struct ring_head *h = l->head;
    if (!h)
        return 0;
    l->scratch.len = 0;
    scale_encode(set, sample, record, &l->scratch);
    const uint64_t bytes = (sizeof(struct record_head) + l->scratch.len + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
    if (bytes > ring_bytes() / 4)
        return 0;
    (void)skip_end(l, bytes);
    char *at = place(l, h->end);
    const struct record_head head = {.magic = RECORD_MAGIC,
                                     .bytes = (uint32_t)bytes,
                                     .number = h->number + 1,
                                     .at = h->end,
                                     .before = h->last,
                                     .body = l->scratch.len,
                                     .checksum = scale_checksum(l->scratch.p, l->scratch.len)};
    memset(at + bytes - ALIGN, 0, ALIGN);
    memcpy(at + sizeof head, l->scratch.p, l->scratch.len);
    memcpy(at, &head, sizeof head);
    __atomic_thread_fence(__ATOMIC_RELEASE); /* the head names it only once it is there */
    h->number++;
    h->last = bytes;
    h->end += bytes;
    *out_bytes = bytes;
    return h->number;
}

/* ---- reading ---- */

/* The record before *cursor, which is the start of the one to be read plus one; *cursor goes on to the next.
 * What it says of itself is not to be believed yet. */
static bool take_before(struct scale_log *l, uint64_t *cursor, struct record_head *r, struct str *out_body)
{
    const struct ring_head *h = l->head;
    const uint64_t start = *cursor ? *cursor - 1 : h->end - h->last;
    if (start >= h->end || h->end - start > ring_bytes() || start % ALIGN)
        return false; /* it was overwritten */
    if (ring_bytes() - start % ring_bytes() < sizeof *r)
        return false; /* no record begins there */
    memcpy(r, place(l, start), sizeof *r);
    if (r->magic != RECORD_MAGIC || r->at != start || r->bytes < sizeof *r || r->bytes > ring_bytes() / 4 ||
        r->body > r->bytes - sizeof *r || start % ring_bytes() + r->bytes > ring_bytes())
        return false;
    *cursor = r->before && r->before <= start ? start - r->before + 1 : h->end + 1;
    *out_body = str_make(place(l, start) + sizeof *r, r->body);
    return true;
}

/* Told before anything costly is done with it: most records are of others. */
static bool is_of(struct str body, struct str set)
{
    struct str id;
    return set.n == 0 || (scale_decode_set(body, &id) && str_eq(id, set));
}

bool scale_log_before(struct scale_log *l, struct str set, uint64_t *cursor, struct scale_record *out)
{
    struct record_head r;
    struct str body;
    ensure(l, false);
    if (!l->head || !l->head->last)
        return false;
    while (take_before(l, cursor, &r, &body)) /* one that cannot be read hides no other */
        if (is_of(body, set) && scale_checksum(body.p, body.n) == r.checksum &&
            scale_decode(body, r.number, out))
            return true;
    return false;
}
