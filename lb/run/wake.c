#include "run/wake.h"

enum channel_type wake_message(enum wake_kind kind)
{
    return kind == WAKE_SATURATED ? CHANNEL_SATURATED : CHANNEL_WAKE;
}

void wake_pack(const struct wake *w, struct packer *out)
{
    out->len = 0;
    out->overflow = false;
    pack_str(out, w->cluster);
    pack_u64(out, w->slot);
    pack_str(out, w->request);
    pack_u64(out, w->route_ns);
}

bool wake_unpack(struct str payload, enum wake_kind kind, struct wake *out)
{
    uint64_t slot;
    out->kind = kind;
    if (!unpack_str(&payload, &out->cluster) || !unpack_u64(&payload, &slot) || slot > UINT32_MAX ||
        !unpack_str(&payload, &out->request) || !unpack_u64(&payload, &out->route_ns))
        return false;
    out->slot = (uint32_t)slot;
    return out->cluster.n > 0;
}

void wake_ack_pack(const struct wake *w, struct packer *out)
{
    out->len = 0;
    out->overflow = false;
    pack_u64(out, w->slot);
    pack_u64(out, (uint64_t)w->kind);
}

bool wake_ack_unpack(struct str payload, uint32_t *out_slot, enum wake_kind *out_kind)
{
    uint64_t slot, kind;
    if (!unpack_u64(&payload, &slot) || !unpack_u64(&payload, &kind) || slot > UINT32_MAX ||
        kind >= WAKE_KINDS)
        return false;
    *out_slot = (uint32_t)slot;
    *out_kind = (enum wake_kind)kind;
    return true;
}
