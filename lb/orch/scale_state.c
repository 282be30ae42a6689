/* What outlives the orchestrator: counts, hands, learned start-up times, what was counted, the scalers'
 * states. A file beside the others of state_dir, whole, versioned, with a checksum; written beside the old
 * one, and renamed over it once it is on the disk, at most once a second (less often when it is large: it is
 * written on the loop). What was decided since the last time is in the log of decisions, which is never late.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/scale_log.h"
#include "orch/scale_priv.h"
#include "run/channel.h"

#define STATE_VERSION   1ull
#define STATE_HEAD      "coxswain-scale"
#define STATE_BYTES_MAX (1ull << 30)
#define SAVE_EVERY_NS   NS_PER_S
#define SAVE_RATE       (4ull << 20) /* bytes a second, over time */
#define SAVE_SLICE      (1u << 20)   /* bytes in one tick */
#define HEAD_BYTES      80

/* ---- writing ---- */

static void put_double(struct buf *out, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    buf_pack_u64(out, bits);
}

static void put_words(struct buf *out, const uint64_t *words, uint64_t n)
{
    buf_pack_u64(out, n);
    for (uint64_t i = 0; i < n; i++)
        buf_pack_u64(out, words[i]);
}

static void put_counted(const struct scale_set *set, struct buf *out)
{
    buf_pack_u64(out, set->epoch);
    put_words(out, set->totals, WORDS);
    put_words(out, set->before, WORD_SERVICE);
    buf_pack_u64(out, set->before_ns);
    buf_pack_u64(out, set->cluster_count);
    for (size_t i = 0; i < set->cluster_count; i++) {
        const struct scale_cluster *c = &set->clusters[i];
        buf_pack_str(out, str_of(c->id));
        buf_pack_u64(out, c->has_last ? c->slot : LEDGER_NO_SLOT);
        put_words(out, c->last, WORDS);
    }
}

static void put_policy(const struct scale_set *set, struct buf *out)
{
    const struct scaler *p = set->policy;
    buf_pack_u64(out, p != NULL);
    if (!p)
        return;
    buf_pack_u64(out, p->options_hash);
    buf_pack_u64(out, p->ops->state_version);
    buf_pack_str(out, str_make((const char *)set->state, p->state_bytes));
}

static void put_set(const struct scale_set *set, uint64_t now, struct buf *out)
{
    uint64_t starts[MEMBERS_STARTS_MAX];
    buf_pack_u64(out, now);
    buf_pack_u64(out, set->has_count);
    buf_pack_u64(out, set->count);
    put_double(out, set->wanted);
    buf_pack_u64(out, set->cause);
    buf_pack_str(out, str_of(set->why));
    buf_pack_u64(out, set->changed_wall_ns);
    buf_pack_u64(out, set->has_hand);
    buf_pack_u64(out, set->hand);
    buf_pack_u64(out, set->hand_until_wall_ns);
    put_words(out, starts, members_starts(set->set, starts));
    /* The integral of ready members goes on with the count of now until somebody looks again. */
    buf_pack_u64(out, set->ready_carry_ns + set->facts.ready_ns + set->facts.ready * (now - set->facts_ns));
    buf_pack_u64(out, set->facts.ready);
    put_counted(set, out);
    put_policy(set, out);
    buf_pack_u64(out, set->idle_since_ns); /* files of older builds end before it */
}

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        const ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        bytes = str_make(bytes.p + n, bytes.n - (size_t)n);
    }
    return true;
}

static void put_path(const struct scale *s, const char *name, struct buf *out)
{
    buf_init(out);
    buf_printf(out, "%s/%s", s->dir, name);
    buf_put(out, "", 1);
}

/* Of fixed length: it is written last, over what was in its place. */
static void put_head(const struct scale_saving *w, char head[HEAD_BYTES])
{
    (void)snprintf(head, HEAD_BYTES, "%s %llu %020llu %016llx", STATE_HEAD, STATE_VERSION,
                   (unsigned long long)w->bytes, (unsigned long long)w->hash);
    const size_t n = strlen(head);
    memset(head + n, ' ', HEAD_BYTES - n);
    head[HEAD_BYTES - 1] = '\n';
}

static void stop(struct scale_saving *w)
{
    if (w->fd >= 0)
        close(w->fd);
    buf_fini(&w->slice);
    *w = (struct scale_saving){.fd = -1};
}

static void fail(struct scale *s)
{
    LOG_LIMITED(LOG_WARN, 1, "cannot keep the state of scaling in %s: %s", s->dir, strerror(errno));
    stop(&s->saving);
}

/* What was written before is in its place, or is not to be. */
static void end_last(struct scale *s)
{
    errno = scale_keep_end(&s->keep);
    if (errno)
        fail(s);
}

static void begin(struct scale *s, uint64_t now)
{
    struct scale_saving *w = &s->saving;
    end_last(s);
    struct buf path;
    char head[HEAD_BYTES] = {0};
    stop(w);
    s->saved_ns = now;
    s->is_unsaved = false;
    put_path(s, "scale.state.new", &path);
    w->fd = open(path.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    buf_fini(&path);
    if (w->fd < 0 || !write_all(w->fd, str_make(head, sizeof head))) {
        fail(s);
        return;
    }
    buf_init(&w->slice);
    buf_pack_str(&w->slice, str_of(s->incarnation));
    buf_pack_u64(&w->slice, s->ops->wall_ns(s->ctx));
    buf_pack_u64(&w->slice, s->epochs);
}

static void put_slice(struct scale *s, uint64_t now, size_t bytes_max)
{
    struct scale_saving *w = &s->saving;
    struct buf one;
    buf_init(&one);
    for (; w->next < s->set_count && w->slice.len < bytes_max; w->next++) {
        struct scale_set *set = &s->sets[w->next];
        if (set->due_ns == UINT64_MAX && !set->has_hand)
            continue; /* nothing is decided there */
        set->is_changed = false;
        one.len = 0;
        put_set(set, now, &one);
        buf_pack_str(&w->slice, str_of(set->set->id));
        buf_pack_str(&w->slice, buf_str(&one));
    }
    buf_fini(&one);
}

static void finish(struct scale *s)
{
    struct scale_saving *w = &s->saving;
    struct buf path, fresh;
    char head[HEAD_BYTES];
    put_head(w, head);
    put_path(s, "scale.state", &path);
    put_path(s, "scale.state.new", &fresh);
    const uint64_t every = w->bytes * NS_PER_S / SAVE_RATE;
    s->save_every_ns = every > SAVE_EVERY_NS ? every : SAVE_EVERY_NS;
    if (pwrite(w->fd, head, sizeof head, 0) == (ssize_t)sizeof head) {
        scale_keep_start(&s->keep, w->fd, fresh.p, path.p);
        w->fd = -1; /* taken */
        stop(w);
    } else {
        fail(s);
    }
    buf_fini(&path);
    buf_fini(&fresh);
}

/* False: there is more. */
static bool step(struct scale *s, uint64_t now, size_t bytes_max)
{
    struct scale_saving *w = &s->saving;
    if (w->fd < 0)
        return true;
    put_slice(s, now, bytes_max);
    w->hash = scale_hash(w->hash, w->slice.p, w->slice.len);
    w->bytes += w->slice.len;
    if (!write_all(w->fd, buf_str(&w->slice))) {
        fail(s);
        return true;
    }
    w->slice.len = 0;
    if (w->next < s->set_count)
        return false;
    finish(s);
    return true;
}

void scale_save(struct scale *s, uint64_t now)
{
    if (!s->dir)
        return;
    begin(s, now);
    (void)step(s, now, SIZE_MAX);
    end_last(s);
}

void scale_save_some(struct scale *s, uint64_t now)
{
    if (!s->dir)
        return;
    if (s->saving.fd < 0) {
        if (!s->is_unsaved || now - s->saved_ns < s->save_every_ns || scale_keep_is_at_work(&s->keep))
            return;
        begin(s, now);
    }
    (void)step(s, now, SAVE_SLICE);
}

void scale_save_stop(struct scale *s)
{
    stop(&s->saving);
    end_last(s);
}

/* ---- reading ---- */

struct restored {
    uint64_t now, wall_ns;
    bool is_same; /* the ledgers have gone on counting since */
};

static bool take_u32(struct str *in, uint32_t *out)
{
    uint64_t v;
    if (!unpack_u64(in, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

/* As many as both know: words are only ever added behind the others. */
static bool take_words(struct str *in, uint64_t *words, uint64_t max, uint64_t *out_n)
{
    uint64_t n, v;
    if (!unpack_u64(in, &n) || n > in->n / 8)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        if (!unpack_u64(in, &v))
            return false;
        if (i < max)
            words[i] = v;
    }
    *out_n = n < max ? n : max;
    return true;
}

static bool take_cluster(struct str *in, struct scale_set *set)
{
    struct str id;
    uint64_t words[WORDS] = {0}, slot, n;
    if (!unpack_str(in, &id) || !unpack_u64(in, &slot) || !take_words(in, words, WORDS, &n))
        return false;
    for (size_t i = 0; i < set->cluster_count; i++) {
        struct scale_cluster *c = &set->clusters[i];
        if (!str_eq(str_of(c->id), id) || slot == LEDGER_NO_SLOT)
            continue;
        memcpy(c->last, words, sizeof c->last);
        c->slot = (uint32_t)slot;
        c->has_last = true;
    }
    return true;
}

static bool take_counted(struct str *in, struct scale_set *set)
{
    uint64_t n, clusters;
    if (!unpack_u64(in, &set->epoch) || !take_words(in, set->totals, WORDS, &n) || n != WORDS ||
        !take_words(in, set->before, WORD_SERVICE, &n) || n != WORD_SERVICE ||
        !unpack_u64(in, &set->before_ns) || !unpack_u64(in, &clusters))
        return false;
    for (; clusters; clusters--)
        if (!take_cluster(in, set))
            return false;
    return true;
}

/* The state itself, or what the plugin makes of an older version's. False: it starts anew. */
static bool take_state(const struct scaler *p, uint64_t hash, uint32_t version, struct str bytes,
                       uint8_t *state)
{
    if (hash != p->options_hash)
        return false;
    if (version == p->ops->state_version) {
        if (bytes.n != p->state_bytes)
            return false;
        if (bytes.n)
            memcpy(state, bytes.p, bytes.n);
        return true;
    }
    uint8_t *old = must(malloc(bytes.n + 1)); /* aligned for any member */
    if (bytes.n)
        memcpy(old, bytes.p, bytes.n);
    const bool ok = p->ops->upgrade_state &&
                    p->ops->upgrade_state(&p->values.options, version, old, bytes.n, state) == COX_OK;
    free(old);
    if (!ok)
        p->ops->init_state(&p->values.options, state);
    return ok;
}

static bool take_policy(struct str *in, struct scale_set *set, bool *out_recovered)
{
    uint64_t has_policy, hash;
    uint32_t version;
    struct str state;
    *out_recovered = true;
    if (!unpack_u64(in, &has_policy))
        return false;
    if (has_policy && (!unpack_u64(in, &hash) || !take_u32(in, &version) || !unpack_str(in, &state)))
        return false;
    if (set->policy)
        *out_recovered = has_policy && take_state(set->policy, hash, version, state, set->state);
    return true;
}

static bool take_count(struct str *in, struct scale_set *set)
{
    uint64_t has_count, has_hand, wanted;
    struct str why;
    if (!unpack_u64(in, &has_count) || !take_u32(in, &set->count) || !unpack_u64(in, &wanted) ||
        !take_u32(in, &set->cause) || !unpack_str(in, &why) || !unpack_u64(in, &set->changed_wall_ns) ||
        !unpack_u64(in, &has_hand) || !take_u32(in, &set->hand) || !unpack_u64(in, &set->hand_until_wall_ns))
        return false;
    memcpy(&set->wanted, &wanted, sizeof wanted);
    (void)snprintf(set->why, sizeof set->why, "%.*s", (int)(why.n < sizeof set->why ? why.n : 0),
                   why.n ? why.p : "");
    set->has_count = has_count;
    set->has_hand = has_hand;
    return true;
}

/* Other counters, another clock perhaps: what was counted is not of this world. What the scaler has learned
 * is: it sees a new epoch, and that its past was cut off. Nothing shrinks before a window was seen. */
static bool take_learned(struct str *in, struct scale_set *set)
{
    struct scale_set *unused = must(calloc(1, sizeof *unused));
    uint64_t ready_ns;
    uint32_t ready;
    bool recovered;
    const bool ok = unpack_u64(in, &ready_ns) && take_u32(in, &ready) && take_counted(in, unused) &&
                    take_policy(in, set, &recovered);
    free(unused);
    return ok;
}

static bool take_set(struct str in, struct scale_set *set, const struct restored *r)
{
    uint64_t starts[MEMBERS_STARTS_MAX], n, ready_ns, saved_ns;
    uint32_t ready;
    bool recovered;
    if (!unpack_u64(&in, &saved_ns) || !take_count(&in, set) ||
        !take_words(&in, starts, MEMBERS_STARTS_MAX, &n))
        return false;
    members_restore_starts(set->set, starts, (uint32_t)n);
    if (!r->is_same || saved_ns > r->now)
        return take_learned(&in, set);
    if (!unpack_u64(&in, &ready_ns) || !take_u32(&in, &ready) || !take_counted(&in, set) ||
        !take_policy(&in, set, &recovered))
        return false;
    set->ready_carry_ns = ready_ns + ready * (r->now - saved_ns);
    if (recovered)
        set->first_ns = 0;
    /* Whatever came since is an arrival of the first sample, and ends it. */
    return in.n == 0 || unpack_u64(&in, &set->idle_since_ns);
}

static void take_all(struct scale *s, struct str in, struct restored *r)
{
    struct str incarnation, id, body;
    uint64_t epochs;
    if (!unpack_str(&in, &incarnation) || !unpack_u64(&in, &r->wall_ns) || !unpack_u64(&in, &epochs))
        return;
    s->epochs = epochs > s->epochs ? epochs : s->epochs;
    r->is_same = str_eq(incarnation, str_of(s->incarnation)) && incarnation.n;
    size_t count = 0;
    while (in.n && unpack_str(&in, &id) && unpack_str(&in, &body)) {
        struct scale_set *set = scale_find_id(s, id);
        if (!set)
            continue;
        count += take_set(body, set, r);
    }
    for (size_t i = 0; i < s->set_count; i++)
        if (!r->is_same || s->sets[i].first_ns)
            s->sets[i].epoch = ++s->epochs;
    log_info("scaling: the state of %zu sets was recovered%s", count,
             r->is_same ? "" : "; their counters begin anew");
}

/* False: there is none, or it is not whole. */
static bool read_file(const struct scale *s, struct buf *out)
{
    struct buf path;
    char head[HEAD_BYTES + 1];
    put_path(s, "scale.state", &path);
    FILE *f = fopen(path.p, "re");
    unsigned long long version, bytes, checksum;
    bool ok = f && fgets(head, sizeof head, f) &&
              sscanf(head, STATE_HEAD " %llu %llu %llx\n", &version, &bytes, &checksum) == 3 &&
              version == STATE_VERSION && bytes < STATE_BYTES_MAX;
    if (ok) {
        ok = fread(buf_reserve(out, bytes + 1), 1, bytes, f) == bytes &&
             scale_hash(0, out->p, bytes) == checksum;
        out->len = ok ? bytes : 0;
    }
    if (f && !ok)
        log_warn("%s is cut off or of another version and is not used", path.p);
    if (f)
        fclose(f);
    buf_fini(&path);
    return ok;
}

/* What was decided after the state was saved. */
static void take_decisions(struct scale *s, const struct restored *r)
{
    struct scale_record one;
    uint64_t cursor = 0;
    bool *is_known = must(calloc(s->set_count + 1, sizeof *is_known));
    while (scale_log_before(s->log, STR(""), &cursor, &one)) {
        const bool is_newer = one.wall_ns > r->wall_ns;
        struct scale_set *set = is_newer ? scale_find_id(s, one.set) : NULL;
        if (set && !is_known[set - s->sets]) { /* the newest of each counts */
            is_known[set - s->sets] = true;
            set->has_count = true;
            set->count = one.to;
            if (one.from != one.to) {
                memcpy(set->why, one.why, sizeof set->why);
                set->changed_wall_ns = one.wall_ns;
            }
        }
        scale_record_fini(&one);
        if (!is_newer)
            break;
    }
    free(is_known);
}

void scale_restore(struct scale *s)
{
    struct restored r = {.now = s->ops->now_ns(s->ctx)};
    struct buf bytes;
    if (!s->dir)
        return;
    buf_init(&bytes);
    if (read_file(s, &bytes))
        take_all(s, buf_str(&bytes), &r);
    take_decisions(s, &r);
    scale_restore_hands(s, r.wall_ns);
    buf_fini(&bytes);
}
