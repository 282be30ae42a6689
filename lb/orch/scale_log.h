/* scale_log: the log of decisions: a ring of records, each with all that its decision was made from, so that
 * it can be explained and made again.
 *
 *   file decisions.ring (or memory, without a state_dir), mapped, SCALE_RING_BYTES:
 *   ┌──────┬────────┬────────┬─ ─ ─ ─┬────────┐
 *   │ head │ record │ record │       │ record │   the newest ends at head.end; each knows how long the one
 *   └──────┴────────┴────────┴─ ─ ─ ─┴────────┘   before it is, so it is read backwards
 *
 * A record is written before the head names it, into a mapping: it outlives this process, whatever ends it.
 * Each carries a checksum; what does not fit it is not read. Numbers are little-endian, doubles as their
 * bits. One writer, on the orchestrator's thread. */
#ifndef COX_ORCH_SCALE_LOG_H
#define COX_ORCH_SCALE_LOG_H

#include "orch/scale_priv.h"

#define SCALE_RING_VERSION 2u

/* What a record says besides sample, state and answer. */
struct scale_record {
    uint64_t number, wall_ns;
    uint32_t from, to, cause;
    char why[192];
    bool is_by_hand;
    const uint8_t *state; /* before the decision; borrowed; NULL: there was no time to keep it */
    /* read back only */
    struct str set, policy, plugin, origin;         /* borrowed from the log */
    uint64_t fingerprint, state_bytes, state_after; /* state_after: hash */
    struct cox_sample sample;
    struct scale_room *room; /* owned: what sample points at; scale_record_fini */
    uint64_t *buckets;       /* likewise */
    struct cox_decision decision;
    bool has_policy;
};

/* dir NULL or "": in memory. The ring itself is made with the first record; without room for it nothing is
 * logged. */
struct scale_log *scale_log_open(const char *dir);
void scale_log_close(struct scale_log **l);
/* A copy of the state until the next call, for the record of the decision that is about to change it. */
const uint8_t *scale_log_keep(struct scale_log *l, const uint8_t *state, uint64_t bytes);
/* Returns its number; *out_bytes is what it takes of the ring. */
uint64_t scale_log_put(struct scale_log *l, const struct scale_set *set, const struct cox_sample *sample,
                       const struct scale_record *record, uint64_t *out_bytes);

/* From the newest backwards, those of one set, or with an empty text all. *cursor: 0 at first. False: there
 * is no older one that can be read. The record is to be released. */
bool scale_log_before(struct scale_log *l, struct str set, uint64_t *cursor, struct scale_record *out)
    __attribute__((warn_unused_result));
void scale_record_fini(struct scale_record *r);

#endif
