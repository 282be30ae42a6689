#include "base/reason.h"

#include "base/panic.h"

static const struct {
    const char *id, *text;
    uint16_t status, id_len;
} rows[REASON_COUNT] = {
#define REASON_ROW(symbol, id, status, text) {id, text, status, sizeof(id) - 1},
    REASON_TABLE(REASON_ROW)
#undef REASON_ROW
};

const char *reason_id(enum reason reason)
{
    ASSERT((unsigned)reason < REASON_COUNT);
    return rows[reason].id;
}

struct str reason_name(enum reason reason)
{
    ASSERT((unsigned)reason < REASON_COUNT);
    return str_make(rows[reason].id, rows[reason].id_len);
}

const char *reason_text(enum reason reason)
{
    ASSERT((unsigned)reason < REASON_COUNT);
    return rows[reason].text;
}

uint16_t reason_status(enum reason reason)
{
    ASSERT((unsigned)reason < REASON_COUNT);
    return rows[reason].status;
}
