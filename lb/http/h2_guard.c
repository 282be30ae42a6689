#include "http/h2_guard.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#define HEAD_BYTES    9u
#define PREFACE_BYTES 24u

void h2_guard_init(struct h2_guard *g, uint32_t continuations)
{
    g->continuations_max = continuations;
    g->skip = PREFACE_BYTES;
}

static uint32_t length_of(const struct h2_guard *g)
{
    return (uint32_t)g->head[0] << 16 | (uint32_t)g->head[1] << 8 | g->head[2];
}

static uint32_t id_at(const uint8_t *p)
{
    return (uint32_t)(p[0] & 0x7f) << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ---- streams ---- */

static bool get_bit(const uint64_t *bits, uint32_t id)
{
    uint32_t i = (id >> 1) % H2_GUARD_STREAMS;
    return bits[i / 64] >> (i % 64) & 1;
}

static void set_bit(uint64_t *bits, uint32_t id, bool on)
{
    uint32_t i = (id >> 1) % H2_GUARD_STREAMS;
    bits[i / 64] &= ~(1ull << (i % 64));
    bits[i / 64] |= (uint64_t)on << (i % 64);
}

static bool is_remembered(const struct h2_guard *g, uint32_t id)
{
    return (id & 1) && id <= g->last_id && (g->last_id - id) / 2 < H2_GUARD_STREAMS;
}

static void open_stream(struct h2_guard *g, uint32_t id)
{
    uint32_t passed = (id - g->last_id + 1) / 2;
    for (uint32_t i = 0; i < passed && i < H2_GUARD_STREAMS; i++) {
        set_bit(g->opened, id - 2 * i, i == 0);
        set_bit(g->ended, id - 2 * i, false);
    }
    g->last_id = id;
}

/* RFC 9113 5.1, 5.1.1: nothing comes on a stream that the client ended, and numbers only grow. Who was reset
 * by us may still have sent something: that is for nghttp2 to ignore. */
static uint32_t check_order(struct h2_guard *g, uint8_t type, uint32_t id)
{
    if (type == NGHTTP2_HEADERS && (id & 1) && id > g->last_id)
        open_stream(g, id);
    if (!is_remembered(g, id))
        return 0;
    if (!get_bit(g->opened, id))
        return NGHTTP2_PROTOCOL_ERROR;
    return get_bit(g->ended, id) ? NGHTTP2_STREAM_CLOSED : 0;
}

static void note_end(struct h2_guard *g, uint8_t type, uint8_t flags, uint32_t id)
{
    bool ends = type == NGHTTP2_RST_STREAM || (flags & NGHTTP2_FLAG_END_STREAM);
    if (ends && is_remembered(g, id))
        set_bit(g->ended, id, true);
}

/* ---- frames ---- */

static bool take_block(struct h2_guard *g, uint8_t type, uint8_t flags)
{
    g->continued = type == NGHTTP2_HEADERS ? 0 : g->continued + 1;
    g->blocks += type == NGHTTP2_HEADERS;
    g->in_block = !(flags & NGHTTP2_FLAG_END_HEADERS);
    return g->continued <= g->continuations_max; /* T3 */
}

/* RFC 9113 6.3, RFC 7540 5.3.1: nghttp2 does not look into them once we have said that nobody here does. */
static bool is_priority_wrong(const struct h2_guard *g, uint32_t id)
{
    return id == 0 || (g->have > HEAD_BYTES && id_at(g->head + HEAD_BYTES) == id);
}

/* Sets flood or code when the connection has to end. */
static void take_frame(struct h2_guard *g, uint64_t now_ms)
{
    uint8_t type = g->head[3], flags = g->head[4];
    uint32_t id = id_at(g->head + 5);
    bool ok = true;
    g->began = true;
    switch (type) {
    case NGHTTP2_DATA:
        g->code = check_order(g, type, id);
        ok = length_of(g) || (flags & NGHTTP2_FLAG_END_STREAM) || h2_budget_take(&g->control, now_ms);
        note_end(g, type, flags, id);
        break;
    case NGHTTP2_HEADERS:
        g->code = check_order(g, type, id);
        ok = take_block(g, type, flags);
        note_end(g, type, flags, id);
        break;
    case NGHTTP2_CONTINUATION:
        ok = take_block(g, type, flags);
        break;
    case NGHTTP2_RST_STREAM:
        ok = h2_budget_take(&g->resets, now_ms); /* T1 */
        note_end(g, type, flags, id);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (g->windows) {
            g->windows--;
            break;
        }
        ok = h2_budget_take(&g->control, now_ms);
        break;
    default: /* T5 */
        ok = h2_budget_take(&g->control, now_ms);
        if (type == NGHTTP2_PRIORITY && is_priority_wrong(g, id))
            g->code = NGHTTP2_PROTOCOL_ERROR;
    }
    g->flood |= !ok;
}

/* Bytes of this frame that are looked at. */
static uint32_t wanted(const struct h2_guard *g)
{
    bool more = g->have >= HEAD_BYTES && g->head[3] == NGHTTP2_PRIORITY && length_of(g) == 5;
    return more ? sizeof g->head : HEAD_BYTES;
}

size_t h2_guard_look(struct h2_guard *g, const char *p, size_t n, uint64_t now_ms)
{
    for (size_t at = 0; at < n;) {
        if (g->skip) {
            size_t step = g->skip < n - at ? g->skip : n - at;
            g->skip -= (uint32_t)step;
            at += step;
            continue;
        }
        size_t want = wanted(g) - g->have, step = want < n - at ? want : n - at;
        memcpy(g->head + g->have, p + at, step);
        g->have += (uint8_t)step;
        at += step;
        if (g->have < HEAD_BYTES || g->have < wanted(g))
            continue;
        take_frame(g, now_ms);
        g->skip = length_of(g) - (g->have - HEAD_BYTES);
        g->have = 0;
        if (g->flood || g->code)
            return at;
    }
    return n;
}

uint32_t h2_guard_block(const struct h2_guard *g)
{
    uint8_t type = g->head[3]; /* of the frame whose payload comes in, while there is something to skip */
    bool half = g->began && g->skip && (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION);
    return g->in_block || half ? g->blocks : 0;
}
