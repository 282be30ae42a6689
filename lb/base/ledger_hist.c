#include "base/ledger.h"

/* Unit 2^10 ns. Values below 16 units have a bucket each; above, the four bits behind the leading one choose
 * among the 16 buckets of an octave. */
#define UNIT_BITS 10

uint32_t ledger_hist_bucket(uint64_t ns)
{
    uint64_t v = ns >> UNIT_BITS;
    if (v < 16)
        return (uint32_t)v;
    uint32_t e = 63 - (uint32_t)__builtin_clzll(v); /* >= 4 */
    uint32_t bucket = (e - 3) * 16 + (uint32_t)((v >> (e - 4)) & 15);
    return bucket < LEDGER_HIST_BUCKETS ? bucket : LEDGER_HIST_BUCKETS - 1;
}

uint64_t ledger_hist_value(uint32_t bucket)
{
    if (bucket < 16)
        return ((uint64_t)bucket << UNIT_BITS) + (1u << (UNIT_BITS - 1));
    uint32_t shift = bucket / 16 - 1 + UNIT_BITS; /* log2 of the bucket's width */
    return ((uint64_t)(16 + bucket % 16) << shift) + (1ull << (shift - 1));
}

uint64_t ledger_hist_quantile(const uint64_t *buckets, double q)
{
    uint64_t total = 0, seen = 0;
    for (uint32_t i = 0; i < LEDGER_HIST_BUCKETS; i++)
        total += buckets[i];
    if (!total)
        return 0;
    double at = (q < 0 ? 0 : q > 1 ? 1 : q) * (double)total;
    uint64_t rank = (uint64_t)at;
    if ((double)rank < at || !rank)
        rank++;
    for (uint32_t i = 0; i < LEDGER_HIST_BUCKETS; i++) {
        seen += buckets[i];
        if (seen >= rank)
            return ledger_hist_value(i);
    }
    return ledger_hist_value(LEDGER_HIST_BUCKETS - 1); /* only by rounding of a huge total */
}
