/* What people have set, in a file of its own beside scale.state: it is small, so it is written at once,
 * whole, and before the answer; the state of thousands of sets would keep who waits for it. The file counts
 * for all sets: who is not in it is in nobody's hand. It says when it was written: a newer scale.state knows
 * better, because builds before this file keep hands there alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "orch/scale_priv.h"
#include "run/channel.h"

#define HANDS_HEAD      "coxswain-hands 2"
#define HANDS_BYTES_MAX (64u << 20)

static void put_path(const struct scale *s, const char *name, struct buf *out)
{
    buf_init(out);
    buf_printf(out, "%s/%s", s->dir, name);
    buf_put(out, "", 1);
}

static bool write_file(const char *path, struct str bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    const bool ok = write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n && fsync(fd) == 0;
    return close(fd) == 0 && ok;
}

void scale_save_hands(struct scale *s)
{
    struct buf body, all, path, fresh;
    s->are_hands_unsaved = false;
    if (!s->dir)
        return;
    buf_init(&body);
    buf_init(&all);
    buf_pack_u64(&body, s->ops->wall_ns(s->ctx));
    for (size_t i = 0; i < s->set_count; i++) {
        const struct scale_set *set = &s->sets[i];
        if (!set->has_hand)
            continue;
        buf_pack_str(&body, str_of(set->set->id));
        buf_pack_u64(&body, set->hand);
        buf_pack_u64(&body, set->hand_until_wall_ns);
    }
    buf_printf(&all, HANDS_HEAD " %016llx\n", (unsigned long long)scale_checksum(body.p, body.len));
    buf_put(&all, body.p, body.len);
    put_path(s, "scale.hands", &path);
    put_path(s, "scale.hands.new", &fresh);
    if (!write_file(fresh.p, buf_str(&all)) || rename(fresh.p, path.p) != 0)
        LOG_LIMITED(LOG_WARN, 1, "cannot keep what was set by hand in %s: %s", path.p, strerror(errno));
    buf_fini(&path);
    buf_fini(&fresh);
    buf_fini(&body);
    buf_fini(&all);
}

/* False: there is none, or it is not whole. */
static bool read_file(const char *path, struct buf *out, struct str *out_body)
{
    unsigned long long checksum;
    char head[64] = "";
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool ok = fgets(head, sizeof head, f) && sscanf(head, HANDS_HEAD " %llx\n", &checksum) == 1;
    for (size_t n = 1; ok && n && out->len < HANDS_BYTES_MAX; out->len += n)
        n = fread(buf_reserve(out, 65536), 1, 65536, f);
    fclose(f);
    *out_body = buf_str(out);
    ok = ok && scale_checksum(out->len ? out->p : "", out->len) == checksum;
    if (!ok)
        log_warn("%s is cut off or of another version and is not used", path);
    return ok;
}

void scale_restore_hands(struct scale *s, uint64_t state_wall_ns)
{
    struct buf path, bytes;
    struct str in, id;
    uint64_t hand, until, wall_ns;
    put_path(s, "scale.hands", &path);
    buf_init(&bytes);
    if (read_file(path.p, &bytes, &in) && unpack_u64(&in, &wall_ns) && wall_ns >= state_wall_ns) {
        for (size_t i = 0; i < s->set_count; i++)
            s->sets[i].has_hand = false;
        while (in.n && unpack_str(&in, &id) && unpack_u64(&in, &hand) && unpack_u64(&in, &until)) {
            struct scale_set *set = scale_find_id(s, id);
            if (!set || hand > MEMBERS_SET_MAX)
                continue;
            set->has_hand = true;
            set->hand = (uint32_t)hand;
            set->hand_until_wall_ns = until;
        }
    }
    buf_fini(&bytes);
    buf_fini(&path);
}
