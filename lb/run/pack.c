#include <stdint.h>

#include "base/buf.h"
#include "run/channel.h"

enum { U64_BYTES = 8, LEN_BYTES = 4 };

static void put_le(char *to, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (char)(unsigned char)(v >> (8 * i));
}

static uint64_t get_le(const char *from, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)(unsigned char)from[i] << (8 * i);
    return v;
}

static char *packer_room(struct packer *p, size_t n)
{
    if (p->overflow || n > sizeof p->bytes - p->len) {
        p->overflow = true;
        return NULL;
    }
    char *at = p->bytes + p->len;
    p->len += n;
    return at;
}

void pack_u64(struct packer *p, uint64_t v)
{
    char *at = packer_room(p, U64_BYTES);
    if (at)
        put_le(at, v, U64_BYTES);
}

void pack_str(struct packer *p, struct str s)
{
    char *at = s.n <= sizeof p->bytes ? packer_room(p, LEN_BYTES + s.n) : packer_room(p, sizeof p->bytes + 1);
    if (!at)
        return;
    put_le(at, s.n, LEN_BYTES);
    if (s.n)
        memcpy(at + LEN_BYTES, s.p, s.n);
}

void buf_pack_u64(struct buf *b, uint64_t v)
{
    char bytes[U64_BYTES];
    put_le(bytes, v, U64_BYTES);
    buf_put(b, bytes, sizeof bytes);
}

void buf_pack_str(struct buf *b, struct str s)
{
    char bytes[LEN_BYTES];
    put_le(bytes, s.n, LEN_BYTES);
    buf_put(b, bytes, sizeof bytes);
    if (s.n)
        buf_put(b, s.p, s.n);
}

bool unpack_u64(struct str *in, uint64_t *out_v)
{
    if (in->n < U64_BYTES)
        return false;
    *out_v = get_le(in->p, U64_BYTES);
    *in = str_make(in->p + U64_BYTES, in->n - U64_BYTES);
    return true;
}

bool unpack_str(struct str *in, struct str *out_s)
{
    if (in->n < LEN_BYTES)
        return false;
    uint64_t n = get_le(in->p, LEN_BYTES);
    if (n > in->n - LEN_BYTES)
        return false;
    *out_s = str_make(in->p + LEN_BYTES, (size_t)n);
    *in = str_make(in->p + LEN_BYTES + n, in->n - LEN_BYTES - (size_t)n);
    return true;
}
