/* What happens to each start, how long it takes, and the addresses that members report. */
#include <stdlib.h>
#include <string.h>

#include "mock.h"

/* ---- fates ---- */

static bool parse_duration(const char *text, uint64_t *out_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end;
    const unsigned long long n = strtoull(text, &end, 10);
    if (end == text || n > 86400000)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(end, units[i].unit) == 0) {
            *out_ms = n * units[i].ms;
            return true;
        }
    return false;
}

/* "ok", "fail", "final", "no_capacity", "never", "die:2s", "slow:5s" */
static bool parse_fate(const char *text, struct fate *out)
{
    static const struct {
        const char *word;
        enum fate_kind kind;
    } words[] = {{"ok", FATE_OK},
                 {"fail", FATE_FAIL},
                 {"final", FATE_FINAL},
                 {"no_capacity", FATE_NO_CAPACITY},
                 {"never", FATE_NEVER}};
    *out = (struct fate){.kind = FATE_OK};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text, words[i].word) == 0) {
            out->kind = words[i].kind;
            return true;
        }
    out->kind = strncmp(text, "die:", 4) == 0 ? FATE_DIE : FATE_SLOW;
    return (out->kind == FATE_DIE || strncmp(text, "slow:", 5) == 0) &&
           parse_duration(strchr(text, ':') + 1, &out->ms);
}

static bool read_fates(struct script *s, const struct cox_host *host, const struct cox_value *v)
{
    char why[256];
    s->fates = v->list_count ? calloc(v->list_count, sizeof *s->fates) : NULL;
    for (uint32_t i = 0; i < v->list_count; i++) {
        if (s->fates && i < FATES_MAX && parse_fate(v->list[i], &s->fates[i])) {
            s->fate_count++;
            continue;
        }
        (void)snprintf(why, sizeof why,
                       "script: \"%.60s\": expected ok, fail, final, no_capacity, never, die:2s or slow:5s",
                       v->list[i]);
        host->error(host, why);
        return false;
    }
    return true;
}

struct fate script_next(struct script *s)
{
    const uint32_t n = s->starts++;
    if (n < s->fate_count)
        return s->fates[n];
    return s->repeats && s->fate_count ? s->fates[n % s->fate_count] : (struct fate){.kind = FATE_OK};
}

/* ---- addresses ---- */

static bool add_address(struct script *s, const char *text)
{
    if (s->address_count == ADDRESSES_MAX)
        return false;
    if ((s->address_count & (s->address_count - 1)) == 0) { /* 1, 2, 4, … are full */
        const size_t cap = s->address_count ? (size_t)s->address_count * 2 : 1;
        struct address *more = realloc(s->addresses, cap * sizeof *more);
        if (!more)
            return false;
        s->addresses = more;
    }
    char *copy = strdup(text);
    if (!copy)
        return false;
    s->addresses[s->address_count++] = (struct address){.text = copy};
    return true;
}

/* "HOST:PORT", "HOST:FIRST-LAST" or "unix:/path"; the core says whether one is an address at all. */
static bool add_range(struct script *s, const char *text)
{
    char one[256], *end;
    const char *colon = strrchr(text, ':');
    if (!colon || strchr(text, ' ') || strlen(text) > 200)
        return false;
    if (strncmp(text, "unix:", 5) == 0)
        return add_address(s, text);
    const unsigned long first = strtoul(colon + 1, &end, 10);
    const unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
    if (end == colon + 1 || *end || first < 1 || last > 65535 || first > last)
        return false;
    for (unsigned long port = first; port <= last; port++) {
        (void)snprintf(one, sizeof one, "%.*s:%lu", (int)(colon - text), text, port);
        if (!add_address(s, one))
            return false;
    }
    return true;
}

static bool read_addresses(struct script *s, const struct cox_host *host, const struct cox_value *v)
{
    char why[256];
    for (uint32_t i = 0; i < v->list_count; i++) {
        if (add_range(s, v->list[i]))
            continue;
        (void)snprintf(why, sizeof why,
                       "addresses: \"%.60s\": expected \"127.0.0.1:9001\", \"127.0.0.1:9001-9050\" or "
                       "\"unix:/path\", at most %u",
                       v->list[i], ADDRESSES_MAX);
        host->error(host, why);
        return false;
    }
    if (!s->address_count)
        host->error(host, "addresses: none is given");
    return s->address_count > 0;
}

uint32_t script_take_address(struct script *s)
{
    if (s->used_count == s->address_count && !s->shares)
        return UINT32_MAX;
    while (s->used_count < s->address_count && s->addresses[s->cursor % s->address_count].users)
        s->cursor++;
    const uint32_t at = s->cursor++ % s->address_count;
    s->used_count += s->addresses[at].users++ == 0;
    return at;
}

uint32_t script_claim_address(struct script *s, const char *text)
{
    for (uint32_t i = 0; i < s->address_count; i++) {
        const uint32_t at =
            (s->cursor + i) % s->address_count; /* most stand in the order they were given out */
        if (strcmp(s->addresses[at].text, text) != 0)
            continue;
        s->used_count += s->addresses[at].users++ == 0;
        s->cursor = at + 1;
        return at;
    }
    return UINT32_MAX;
}

void script_give_address(struct script *s, uint32_t address)
{
    if (address < s->address_count)
        s->used_count -= --s->addresses[address].users == 0;
}

/* ---- times ---- */

/* splitmix64: small, good enough, and the same everywhere for a seed. */
static double uniform(struct script *s)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* Marsaglia's polar method. */
static double normal(struct script *s, const struct cox_math *math)
{
    for (;;) {
        const double x = 2 * uniform(s) - 1, y = 2 * uniform(s) - 1, q = x * x + y * y;
        if (q > 0 && q < 1)
            return x * math->sqrt(-2 * math->log(q) / q);
    }
}

uint64_t script_start_ms(struct script *s, const struct cox_math *math)
{
    double ms = s->start_ms;
    if (s->spread > 0)
        ms *= math->exp(s->spread * normal(s, math));
    return ms > 0 ? (uint64_t)(ms < 86400000 ? ms : 86400000) : 0;
}

/* ---- making ---- */

bool script_init(struct script *s, const struct cox_host *host, const struct cox_options *options)
{
    *s = (struct script){.shares = cox_option_at(options, OPTION_SHARE)->i != 0,
                         .repeats = cox_option_at(options, OPTION_REPEAT)->i != 0,
                         .start_ms = (double)cox_option_at(options, OPTION_START_TIME)->i,
                         .spread = cox_option_at(options, OPTION_START_SPREAD)->f,
                         .random = (uint64_t)cox_option_at(options, OPTION_SEED)->i};
    return read_fates(s, host, cox_option_at(options, OPTION_SCRIPT)) &&
           read_addresses(s, host, cox_option_at(options, OPTION_ADDRESSES));
}

void script_fini(struct script *s)
{
    for (uint32_t i = 0; i < s->address_count; i++)
        free(s->addresses[i].text);
    free(s->addresses);
    free(s->fates);
    *s = (struct script){0};
}
