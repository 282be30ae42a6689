/* wake: what a proxy tells the orchestrator when requests wait in vain, and the answer to it.
 *
 *   proxy ── CHANNEL_WAKE: cluster holds (or refuses) requests and has no endpoint ────────────► orchestrator
 *         ── CHANNEL_SATURATED: all its endpoints are at max_in_flight, somebody has to wait ──►
 *         ◄── CHANNEL_WAKE_ACK: taken; tell me of the next ──
 *
 * Edge-triggered per cluster and kind: the first request tells, and nothing more is said until the
 * orchestrator has acknowledged; then the next one that must wait tells again, but not within WAKE_EVERY_MS.
 * A hint: the ledger's held cell is the truth, and a new orchestrator is told of all clusters that hold. */
#ifndef COX_RUN_WAKE_H
#define COX_RUN_WAKE_H

#include "run/channel.h"

#define WAKE_EVERY_MS 10

enum wake_kind { WAKE_HELD, WAKE_SATURATED, WAKE_KINDS };

struct wake {
    enum wake_kind kind;
    struct str cluster; /* id */
    uint32_t slot;      /* of the cluster in the ledger, as its proxy knows it; echoed by the answer */
    struct str
        request; /* the correlation id: of the request that could not go on; empty: not known any more */
    uint64_t route_ns; /* monotonic, the same clock in all processes: when that request was routed */
};

/* Texts are borrowed from the payload. The kind follows from the message's type. */
void wake_pack(const struct wake *w, struct packer *out);
bool wake_unpack(struct str payload, enum wake_kind kind, struct wake *out)
    __attribute__((warn_unused_result));
enum channel_type wake_message(enum wake_kind kind);
void wake_ack_pack(const struct wake *w, struct packer *out);
/* False when malformed; the slot is whatever the peer says. */
bool wake_ack_unpack(struct str payload, uint32_t *out_slot, enum wake_kind *out_kind)
    __attribute__((warn_unused_result));

#endif
