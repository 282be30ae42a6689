#include "base/reason.h"

#include "base/panic.h"

static const struct {
    const char *id, *text;
    uint16_t status;
} rows[REASON_COUNT] = {
#define REASON_ROW(symbol, id, status, text) {id, text, status},
    REASON_TABLE(REASON_ROW)
#undef REASON_ROW
};

const char *reason_id(enum reason reason)
{
    ASSERT((unsigned)reason < REASON_COUNT);
    return rows[reason].id;
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
