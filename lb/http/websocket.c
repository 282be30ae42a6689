#include "http/websocket.h"

#include <stdint.h>

#define BLOCK_BYTES  64
#define DIGEST_BYTES 20

/* SHA-1 (FIPS 180-4 6.1): no secret depends on it here, the RFC just names it. */
struct sha1 {
    uint32_t h[5];
    uint64_t bytes;
    uint8_t block[BLOCK_BYTES];
};

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static uint32_t mix(unsigned round, const uint32_t v[5])
{
    if (round < 20)
        return ((v[1] & v[2]) | (~v[1] & v[3])) + 0x5a827999u;
    if (round < 40)
        return (v[1] ^ v[2] ^ v[3]) + 0x6ed9eba1u;
    if (round < 60)
        return ((v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3])) + 0x8f1bbcdcu;
    return (v[1] ^ v[2] ^ v[3]) + 0xca62c1d6u;
}

static void sha1_block(struct sha1 *s)
{
    uint32_t w[80], v[5];
    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)s->block[i * 4] << 24 | (uint32_t)s->block[i * 4 + 1] << 16 |
               (uint32_t)s->block[i * 4 + 2] << 8 | s->block[i * 4 + 3];
    for (unsigned i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(v, s->h, sizeof v);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t next = rotate(v[0], 5) + mix(i, v) + v[4] + w[i];
        v[4] = v[3];
        v[3] = v[2];
        v[2] = rotate(v[1], 30);
        v[1] = v[0];
        v[0] = next;
    }
    for (unsigned i = 0; i < 5; i++)
        s->h[i] += v[i];
}

static void sha1_add(struct sha1 *s, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) {
        s->block[s->bytes++ % BLOCK_BYTES] = p[i];
        if (s->bytes % BLOCK_BYTES == 0)
            sha1_block(s);
    }
}

static void sha1_end(struct sha1 *s, uint8_t digest[DIGEST_BYTES])
{
    uint64_t bits = s->bytes * 8;
    uint8_t length[8];
    sha1_add(s, "\x80", 1);
    while (s->bytes % BLOCK_BYTES != BLOCK_BYTES - sizeof length)
        sha1_add(s, "", 1);
    for (unsigned i = 0; i < sizeof length; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha1_add(s, length, sizeof length);
    for (unsigned i = 0; i < DIGEST_BYTES; i++)
        digest[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

/* RFC 4648 4; n is 1, 2 or 3 bytes. */
static void base64_group(const uint8_t *p, size_t n, char to[4])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)(n > 1 ? p[1] : 0) << 8 | (n > 2 ? p[2] : 0);
    for (unsigned i = 0; i < 4; i++)
        to[i] = i <= n ? digits[v >> (18 - 6 * i) & 63] : '=';
}

void websocket_accept(struct str key, char to[WEBSOCKET_ACCEPT_BYTES])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    struct sha1 s = {.h = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u}};
    uint8_t digest[DIGEST_BYTES];
    sha1_add(&s, key.p, key.n);
    sha1_add(&s, guid, sizeof guid - 1);
    sha1_end(&s, digest);
    for (size_t at = 0; at < DIGEST_BYTES; at += 3)
        base64_group(digest + at, DIGEST_BYTES - at < 3 ? DIGEST_BYTES - at : 3, to + at / 3 * 4);
}
