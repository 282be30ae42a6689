#include "topo/wire.h"

#include <endian.h>
#include <string.h>

#include "base/panic.h"

/* A hundred thousand endpoints are a million fields: numbers are stored whole. */
static inline void store_number(char *to, uint64_t v, size_t bytes)
{
    v = htole64(v);
    memcpy(to, &v, bytes); /* the lowest of them come first */
}

static void put_number(struct buf *out, uint64_t v, size_t bytes)
{
    store_number(buf_reserve(out, bytes), v, bytes);
    out->len += bytes;
}

static uint64_t get_number(const char *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = bytes; i-- > 0;)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

void wire_put_head(struct buf *out, const struct wire_head *h)
{
    put_number(out, WIRE_MAGIC, 4);
    put_number(out, WIRE_VERSION, 2);
    put_number(out, h->kind, 2);
    put_number(out, h->epoch, 8);
    put_number(out, h->number, 8);
    put_number(out, h->base, 8);
    put_number(out, h->cluster_slots, 4);
    put_number(out, h->endpoint_slots, 4);
}

bool wire_head(struct str bytes, struct wire_head *out_head, struct str *out_rest)
{
    if (bytes.n < WIRE_HEAD_BYTES || get_number(bytes.p, 4) != WIRE_MAGIC ||
        get_number(bytes.p + 4, 2) != WIRE_VERSION)
        return false;
    out_head->kind = (uint16_t)get_number(bytes.p + 6, 2);
    out_head->epoch = get_number(bytes.p + 8, 8);
    out_head->number = get_number(bytes.p + 16, 8);
    out_head->base = get_number(bytes.p + 24, 8);
    out_head->cluster_slots = (uint32_t)get_number(bytes.p + 32, 4);
    out_head->endpoint_slots = (uint32_t)get_number(bytes.p + 36, 4);
    *out_rest = str_make(bytes.p + WIRE_HEAD_BYTES, bytes.n - WIRE_HEAD_BYTES);
    return true;
}

static void put_field(struct buf *out, unsigned tag, size_t bytes)
{
    ASSERT(bytes <= UINT32_MAX);
    char *to = buf_reserve(out, 6 + bytes); /* for what follows, too */
    store_number(to, tag, 2);
    store_number(to + 2, bytes, 4);
    out->len += 6;
}

void wire_put_u32(struct buf *out, unsigned tag, uint32_t v)
{
    put_field(out, tag, 4);
    put_number(out, v, 4);
}

void wire_put_u64(struct buf *out, unsigned tag, uint64_t v)
{
    put_field(out, tag, 8);
    put_number(out, v, 8);
}

void wire_put_text(struct buf *out, unsigned tag, struct str text)
{
    put_field(out, tag, text.n);
    buf_put_str(out, text);
}

size_t wire_begin(struct buf *out, unsigned tag)
{
    put_field(out, tag, 0);
    return out->len;
}

void wire_end(struct buf *out, size_t begun)
{
    size_t n = out->len - begun;
    ASSERT(n <= UINT32_MAX);
    store_number(out->p + begun - 4, n, 4);
}

int wire_next(struct str *rest, unsigned *out_tag, struct str *out_value)
{
    if (!rest->n)
        return 0;
    if (rest->n < 6)
        return -1;
    size_t n = get_number(rest->p + 2, 4);
    if (n > rest->n - 6)
        return -1;
    *out_tag = (unsigned)get_number(rest->p, 2);
    *out_value = str_make(rest->p + 6, n);
    *rest = str_make(rest->p + 6 + n, rest->n - 6 - n);
    return 1;
}

bool wire_u32(struct str value, uint32_t *out)
{
    if (value.n != 4)
        return false;
    *out = (uint32_t)get_number(value.p, 4);
    return true;
}

bool wire_u64(struct str value, uint64_t *out)
{
    if (value.n != 8)
        return false;
    *out = get_number(value.p, 8);
    return true;
}
