#include "proxy/clients.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct clients *clients_create(void)
{
    struct clients *c = calloc(1, sizeof *c);
    if (c && getrandom(&c->seed, sizeof c->seed, 0) != (ssize_t)sizeof c->seed)
        c->seed = clock_now_ns();
    return c;
}

/* The finaliser of splitmix64 over the seeded address. */
static uint64_t hash_ip(const struct clients *c, const uint8_t ip[16])
{
    uint64_t high, low, v;
    memcpy(&high, ip, 8);
    memcpy(&low, ip + 8, 8);
    v = c->seed ^ (memcmp(ip, v4_prefix, sizeof v4_prefix) == 0 ? low : high);
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ v >> 27) * 0x94d049bb133111ebull;
    return v ^ v >> 31;
}

void clients_key(const uint8_t ip[16], uint32_t what, uint8_t out_key[16])
{
    bool is_v4 = memcmp(ip, v4_prefix, sizeof v4_prefix) == 0;
    uint64_t half;
    memcpy(&half, is_v4 ? ip + 8 : ip, 8);
    half ^= (what + 1ull) * 0x9e3779b97f4a7c15ull;
    memcpy(out_key, &half, 8);
    memset(out_key + 8, 0, 8); /* so hash_ip takes the other half */
}

static _Atomic uint32_t *cell(struct clients *c, uint64_t hash, int row)
{
    return &c->counts[row][(hash >> (row * 16)) % CLIENTS_COLUMNS];
}

bool clients_enter(struct clients *c, const uint8_t ip[16], uint32_t max)
{
    uint64_t hash = hash_ip(c, ip);
    bool room = false;
    for (int row = 0; row < CLIENTS_ROWS; row++)
        room |= atomic_fetch_add_explicit(cell(c, hash, row), 1, memory_order_relaxed) < max;
    if (!room)
        clients_leave(c, ip);
    return room;
}

void clients_leave(struct clients *c, const uint8_t ip[16])
{
    uint64_t hash = hash_ip(c, ip);
    for (int row = 0; row < CLIENTS_ROWS; row++)
        atomic_fetch_sub_explicit(cell(c, hash, row), 1, memory_order_relaxed);
}

bool clients_is_loopback(const uint8_t ip[16])
{
    static const uint8_t v6_loopback[16] = {[15] = 1};
    return memcmp(ip, v6_loopback, 16) == 0 ||
           (memcmp(ip, v4_prefix, sizeof v4_prefix) == 0 && ip[12] == 127);
}
