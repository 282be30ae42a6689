#include "proxy/verified.h"

#include <stdlib.h>
#include <sys/random.h>

struct verified {
    struct verified_entry {
        unsigned char mac[MAC_BYTES];
        uint64_t until_ms;
    } entries[VERIFIED_SETS][VERIFIED_A_SET];
    unsigned char key[MAC_BYTES];
};

struct verified *verified_create(void)
{
    struct verified *v = calloc(1, sizeof *v); /* pages appear when they are written */
    if (v && getrandom(v->key, sizeof v->key, 0) != (ssize_t)sizeof v->key)
        verified_destroy(&v);
    return v;
}

void verified_destroy(struct verified **v)
{
    if (*v)
        explicit_bzero((*v)->key, sizeof(*v)->key);
    free(*v);
    *v = NULL;
}

struct str verified_key(const struct verified *v)
{
    return str_make((const char *)v->key, sizeof v->key);
}

static uint32_t set_of(const unsigned char mac[MAC_BYTES])
{
    return ((uint32_t)mac[0] << 8 | mac[1]) % VERIFIED_SETS;
}

/* The comparison may stop early: who does not know the key cannot steer a hash byte by byte. */
bool verified_has(const struct verified *v, const unsigned char mac[MAC_BYTES], uint64_t now_ms)
{
    const struct verified_entry *set = v->entries[set_of(mac)];
    for (int i = 0; i < VERIFIED_A_SET; i++)
        if (set[i].until_ms > now_ms && memcmp(set[i].mac, mac, MAC_BYTES) == 0)
            return true;
    return false;
}

void verified_add(struct verified *v, const unsigned char mac[MAC_BYTES], uint64_t now_ms, uint64_t for_ms)
{
    struct verified_entry *set = v->entries[set_of(mac)], *oldest = set;
    for (int i = 1; i < VERIFIED_A_SET; i++)
        if (set[i].until_ms < oldest->until_ms)
            oldest = &set[i];
    memcpy(oldest->mac, mac, MAC_BYTES);
    oldest->until_ms = now_ms + for_ms;
}
