#include "orch/scale_codec.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "run/channel.h"

/* ---- plain members of a struct, by table ---- */

enum kind { U32, I32, U64, F64 };

struct plain {
    size_t offset;
    enum kind kind;
};

#define S(kind_, member)                                                                                     \
    {                                                                                                        \
        offsetof(struct cox_sample, member), kind_                                                           \
    }
static const struct plain sample_members[] = {
    S(U32, flags),
    S(U64, now_ns),
    S(U64, window_ns),
    S(U64, wall_ns),
    S(I32, utc_offset_s),
    S(F64, held_mean),
    S(F64, serving_mean),
    S(F64, finishing_mean),
    S(F64, tunnels_mean),
    S(U64, held_now),
    S(U64, serving_now),
    S(U64, finishing_now),
    S(U64, tunnels_now),
    S(U64, oldest_held_ns),
    S(U64, arrivals),
    S(U64, completed),
    S(U64, failed),
    S(U64, rejected),
    S(U64, abandoned),
    S(F64, latency_p50_ns),
    S(F64, latency_p90_ns),
    S(F64, latency_p99_ns),
    S(F64, service_mean_ns),
    S(U32, ready),
    S(U32, starting),
    S(U32, draining),
    S(U32, current),
    S(F64, wanted),
    S(U32, min),
    S(U32, max),
    S(U32, floor),
    S(U32, floor_origin),
    S(F64, slots_per_member),
    S(F64, start_p50_ns),
    S(F64, start_p90_ns),
    S(U64, oldest_starting_ns),
    S(U32, sources_expected),
    S(U32, sources_fresh),
    S(U64, oldest_source_ns),
    S(U64, totals.epoch),
    S(U64, totals.held_ns),
    S(U64, totals.serving_ns),
    S(U64, totals.finishing_ns),
    S(U64, totals.tunnels_ns),
    S(U64, totals.ready_ns),
    S(U64, totals.arrivals),
    S(U64, totals.completed),
    S(U64, totals.failed),
    S(U64, totals.rejected),
    S(U64, totals.abandoned),
    S(U64, totals.service_count),
    S(U64, totals.service_sum_ns),
    S(U64, totals.service_square_us2),
    S(U64, totals.waited_count),
    S(U64, idle_ns),
    S(U64, interval_ns),
    S(F64, objective_wait_ns),
};
#define D(kind_, member)                                                                                     \
    {                                                                                                        \
        offsetof(struct cox_decision, member), kind_                                                         \
    }
static const struct plain decision_members[] = {
    D(U32, flags),  D(F64, wanted),           D(U64, valid_ns),        D(U32, cause),
    D(F64, demand), D(F64, slots_per_member), D(F64, service_mean_ns), D(U64, horizon_ns),
};
#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static uint64_t plain_get(const struct plain *m, const void *obj)
{
    const char *at = (const char *)obj + m->offset;
    uint64_t v = 0;
    uint32_t half;
    if (m->kind == U64 || m->kind == F64) {
        memcpy(&v, at, 8);
        return v;
    }
    memcpy(&half, at, 4);
    return half;
}

static void plain_put(const struct plain *m, void *obj, uint64_t v)
{
    char *at = (char *)obj + m->offset;
    const uint32_t half = (uint32_t)v;
    if (m->kind == U64 || m->kind == F64)
        memcpy(at, &v, 8);
    else
        memcpy(at, &half, 4);
}

static void put_all(const struct plain *table, size_t n, const void *obj, struct buf *out)
{
    for (size_t i = 0; i < n; i++)
        buf_pack_u64(out, plain_get(&table[i], obj));
}

static bool take_all(const struct plain *table, size_t n, void *obj, struct str *in)
{
    uint64_t v;
    for (size_t i = 0; i < n; i++) {
        if (!unpack_u64(in, &v))
            return false;
        plain_put(&table[i], obj, v);
    }
    return true;
}

static void put_double(struct buf *out, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    buf_pack_u64(out, bits);
}

static bool take_double(struct str *in, double *out)
{
    uint64_t bits;
    if (!unpack_u64(in, &bits))
        return false;
    memcpy(out, &bits, sizeof bits);
    return true;
}

static bool take_u32(struct str *in, uint32_t *out)
{
    uint64_t v;
    if (!unpack_u64(in, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

/* ---- writing ---- */

static void put_buckets(const struct cox_array *buckets, struct buf *out)
{
    const uint64_t *v = buckets->items;
    uint64_t used = 0;
    for (uint32_t i = 0; i < buckets->count; i++)
        used += v[i] != 0;
    buf_pack_u64(out, used);
    for (uint32_t i = 0; i < buckets->count; i++) {
        if (!v[i])
            continue;
        buf_pack_u64(out, i);
        buf_pack_u64(out, v[i]);
    }
}

static void put_arrays(const struct cox_sample *sample, struct buf *out)
{
    put_buckets(&sample->totals.service_buckets, out);
    buf_pack_u64(out, sample->starting_ages_ns.count);
    for (uint32_t i = 0; i < sample->starting_ages_ns.count; i++)
        buf_pack_u64(out, *COX_AT(uint64_t, sample->starting_ages_ns, i));
    buf_pack_u64(out, sample->partitions.count);
    for (uint32_t i = 0; i < sample->partitions.count; i++) {
        const struct cox_partition_count *p = COX_AT(struct cox_partition_count, sample->partitions, i);
        buf_pack_str(out, str_of(p->partition));
        buf_pack_u64(out, p->ready);
        buf_pack_u64(out, p->starting);
        buf_pack_u64(out, p->draining);
        buf_pack_u64(out, p->capacity);
        buf_pack_u64(out, p->oldest_starting_ns);
    }
    buf_pack_u64(out, sample->factors.count);
    for (uint32_t i = 0; i < sample->factors.count; i++) {
        const struct cox_factor *f = COX_AT(struct cox_factor, sample->factors, i);
        buf_pack_str(out, str_of(f->metric));
        buf_pack_u64(out, f->count);
        put_double(out, f->value);
        buf_pack_u64(out, f->age_ns);
    }
}

static void put_decision(const struct cox_decision *d, struct buf *out)
{
    put_all(decision_members, COUNT(decision_members), d, out);
    buf_pack_str(out, str_of(d->reason));
    buf_pack_u64(out, d->alternative_count);
    for (uint32_t i = 0; i < d->alternative_count; i++) {
        put_double(out, d->alternatives[i].wanted);
        buf_pack_u64(out, d->alternatives[i].cause);
    }
}

void scale_encode(const struct scale_set *set, const struct cox_sample *sample,
                  const struct scale_record *record, struct buf *out)
{
    const struct scaler *p = set->policy;
    const uint64_t bytes = p ? p->state_bytes : 0;
    buf_pack_str(out, str_of(set->set->id));
    buf_pack_str(out, str_of(p ? p->name : ""));
    buf_pack_str(out, str_of(p ? p->plugin : ""));
    buf_pack_str(out, str_of(set->origin));
    buf_pack_str(out, str_of(record->why));
    buf_pack_u64(out, p ? p->fingerprint : 0);
    buf_pack_u64(out, record->from);
    buf_pack_u64(out, record->to);
    buf_pack_u64(out, record->cause);
    buf_pack_u64(out, set->has_hand);
    put_all(sample_members, COUNT(sample_members), sample, out);
    put_arrays(sample, out);
    buf_pack_u64(out, p != NULL);
    if (!p)
        return;
    buf_pack_str(out, str_make((const char *)record->state, record->state ? bytes : 0));
    buf_pack_u64(out, scale_checksum(set->state, bytes));
    put_decision(&set->decision, out);
}

/* ---- reading ---- */

static bool take_buckets(struct str *in, struct scale_record *r)
{
    uint64_t used, i, v;
    if (!unpack_u64(in, &used) || used > COX_SERVICE_BUCKETS)
        return false;
    r->buckets = must(calloc(COX_SERVICE_BUCKETS, sizeof *r->buckets));
    for (; used; used--) {
        if (!unpack_u64(in, &i) || !unpack_u64(in, &v) || i >= COX_SERVICE_BUCKETS)
            return false;
        r->buckets[i] = v;
    }
    r->sample.totals.size = sizeof r->sample.totals;
    r->sample.totals.service_buckets =
        (struct cox_array){r->buckets, COX_SERVICE_BUCKETS, sizeof *r->buckets};
    return true;
}

static bool take_partitions(struct str *in, struct scale_record *r)
{
    uint32_t n;
    struct str name;
    if (!take_u32(in, &n) || n > SCALE_PARTITIONS_MAX)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        struct cox_partition_count *p = &r->room->partitions[i];
        *p = (struct cox_partition_count){.size = sizeof *p, .partition = r->room->names[i]};
        if (!unpack_str(in, &name) || name.n >= sizeof r->room->names[i] || !take_u32(in, &p->ready) ||
            !take_u32(in, &p->starting) || !take_u32(in, &p->draining) || !take_u32(in, &p->capacity) ||
            !unpack_u64(in, &p->oldest_starting_ns))
            return false;
        if (name.n)
            memcpy(r->room->names[i], name.p, name.n);
    }
    r->sample.partitions = (struct cox_array){r->room->partitions, n, sizeof r->room->partitions[0]};
    return true;
}

static bool take_factors(struct str *in, struct scale_record *r)
{
    uint32_t n;
    struct str name;
    if (!take_u32(in, &n) || n > SCALE_FACTORS_MAX)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        struct cox_factor *f = &r->room->factors[i];
        *f = (struct cox_factor){.size = sizeof *f, .metric = r->room->metrics[i]};
        if (!unpack_str(in, &name) || name.n >= sizeof r->room->metrics[i] || !take_u32(in, &f->count) ||
            !take_double(in, &f->value) || !unpack_u64(in, &f->age_ns))
            return false;
        if (name.n)
            memcpy(r->room->metrics[i], name.p, name.n);
    }
    r->sample.factors = (struct cox_array){r->room->factors, n, sizeof r->room->factors[0]};
    return true;
}

static bool take_arrays(struct str *in, struct scale_record *r)
{
    uint32_t n;
    if (!take_buckets(in, r) || !take_u32(in, &n) || n > MEMBERS_STARTS_MAX)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!unpack_u64(in, &r->room->ages[i]))
            return false;
    r->sample.starting_ages_ns = (struct cox_array){r->room->ages, n, sizeof r->room->ages[0]};
    return take_partitions(in, r) && take_factors(in, r);
}

static bool take_text(struct str *in, char *to, size_t bytes)
{
    struct str text;
    if (!unpack_str(in, &text) || text.n >= bytes)
        return false;
    if (text.n)
        memcpy(to, text.p, text.n);
    to[text.n] = 0;
    return true;
}

static bool take_decision(struct str *in, struct cox_decision *d)
{
    d->size = sizeof *d;
    if (!take_all(decision_members, COUNT(decision_members), d, in) ||
        !take_text(in, d->reason, sizeof d->reason) || !take_u32(in, &d->alternative_count) ||
        d->alternative_count > COX_ALTERNATIVES_MAX)
        return false;
    for (uint32_t i = 0; i < d->alternative_count; i++)
        if (!take_double(in, &d->alternatives[i].wanted) || !take_u32(in, &d->alternatives[i].cause))
            return false;
    return true;
}

static bool take_record(struct str in, struct scale_record *r)
{
    struct str state;
    uint64_t by_hand, has_policy;
    if (!unpack_str(&in, &r->set) || !unpack_str(&in, &r->policy) || !unpack_str(&in, &r->plugin) ||
        !unpack_str(&in, &r->origin) || !take_text(&in, r->why, sizeof r->why) ||
        !unpack_u64(&in, &r->fingerprint) || !take_u32(&in, &r->from) || !take_u32(&in, &r->to) ||
        !take_u32(&in, &r->cause) || !unpack_u64(&in, &by_hand) ||
        !take_all(sample_members, COUNT(sample_members), &r->sample, &in) || !take_arrays(&in, r) ||
        !unpack_u64(&in, &has_policy))
        return false;
    r->is_by_hand = by_hand;
    r->wall_ns = r->sample.wall_ns;
    r->has_policy = has_policy;
    if (!r->has_policy)
        return true;
    if (!unpack_str(&in, &state) || !unpack_u64(&in, &r->state_after) || !take_decision(&in, &r->decision))
        return false;
    r->state = (const uint8_t *)state.p;
    r->state_bytes = state.n;
    return true;
}

bool scale_decode_set(struct str bytes, struct str *out_set)
{
    return unpack_str(&bytes, out_set);
}

bool scale_decode(struct str bytes, uint64_t number, struct scale_record *out)
{
    *out = (struct scale_record){.number = number, .room = must(calloc(1, sizeof *out->room))};
    out->sample.size = sizeof out->sample;
    out->sample.math = &scale_math;
    if (take_record(bytes, out))
        return true;
    scale_record_fini(out);
    return false;
}

void scale_record_fini(struct scale_record *r)
{
    free(r->room);
    free(r->buckets);
    r->room = NULL;
    r->buckets = NULL;
}

bool scale_same_decision(const struct cox_decision *a, const struct cox_decision *b)
{
    bool same = strcmp(a->reason, b->reason) == 0 && a->alternative_count == b->alternative_count;
    for (size_t i = 0; i < COUNT(decision_members); i++)
        same &= plain_get(&decision_members[i], a) == plain_get(&decision_members[i], b);
    for (uint32_t i = 0; same && i < a->alternative_count; i++)
        same &= a->alternatives[i].cause == b->alternatives[i].cause &&
                memcmp(&a->alternatives[i].wanted, &b->alternatives[i].wanted, sizeof(double)) == 0;
    return same;
}
