#include "http/fields.h"

#include "base/panic.h"
#include "http/field_table.h"

const struct field_row field_rows[FIELD_COUNT] = {
#define FIELD_ROW(symbol, name) [FIELD_##symbol] = {name, sizeof(name) - 1},
    FIELD_TABLE(FIELD_ROW)
#undef FIELD_ROW
};

/* A new name gets a row here: its length, and in lower case its first and last byte and the one at three quarters
 * of the length. Should two rows collide the compiler says so (-Woverride-init), and other factors have to be found
 * for FIELD_HASH. The unit test looks up every name of the table. */
#define ROW(symbol, n, first, last, inner) [FIELD_HASH(n, first, last, inner)] = FIELD_##symbol

const uint8_t field_slots[256] = {
    ROW(HOST, 4, 'h', 't', 't'),
    ROW(CONNECTION, 10, 'c', 'n', 'i'),
    ROW(CONTENT_LENGTH, 14, 'c', 'h', 'n'),
    ROW(TRANSFER_ENCODING, 17, 't', 'g', 'o'),
    ROW(CONTENT_TYPE, 12, 'c', 'e', 'y'),
    ROW(EXPECT, 6, 'e', 't', 'c'),
    ROW(UPGRADE, 7, 'u', 'e', 'd'),
    ROW(KEEP_ALIVE, 10, 'k', 'e', 'i'),
    ROW(PROXY_CONNECTION, 16, 'p', 'n', 't'),
    ROW(PROXY_AUTHENTICATE, 18, 'p', 'e', 'i'),
    ROW(PROXY_AUTHORIZATION, 19, 'p', 'n', 'a'),
    ROW(TE, 2, 't', 'e', 'e'),
    ROW(TRAILER, 7, 't', 'r', 'e'),
    ROW(HTTP2_SETTINGS, 14, 'h', 's', 'i'),
    ROW(VIA, 3, 'v', 'a', 'a'),
    ROW(FORWARDED, 9, 'f', 'd', 'd'),
    ROW(X_FORWARDED_FOR, 15, 'x', 'r', '-'),
    ROW(X_FORWARDED_PROTO, 17, 'x', 'o', 'p'),
    ROW(X_FORWARDED_HOST, 16, 'x', 't', 'h'),
    ROW(X_FORWARDED_PORT, 16, 'x', 't', 'p'),
    ROW(X_REAL_IP, 9, 'x', 'p', '-'),
    ROW(X_REQUEST_ID, 12, 'x', 'd', '-'),
    ROW(TRACEPARENT, 11, 't', 't', 'e'),
    ROW(TRACESTATE, 10, 't', 'e', 'a'),
    ROW(MAX_FORWARDS, 12, 'm', 's', 'r'),
    ROW(AUTHORIZATION, 13, 'a', 'n', 't'),
    ROW(COOKIE, 6, 'c', 'e', 'i'),
    ROW(SET_COOKIE, 10, 's', 'e', 'k'),
    ROW(PROXY, 5, 'p', 'y', 'x'),
    ROW(SERVER, 6, 's', 'r', 'e'),
    ROW(DATE, 4, 'd', 'e', 'e'),
    ROW(LOCATION, 8, 'l', 'n', 'o'),
    ROW(STATUS, 6, 's', 's', 'u'),
    ROW(USER_AGENT, 10, 'u', 't', 'e'),
    ROW(REFERER, 7, 'r', 'r', 'e'),
    ROW(RANGE, 5, 'r', 'e', 'g'),
    ROW(IF_RANGE, 8, 'i', 'e', 'g'),
    ROW(IF_MATCH, 8, 'i', 'h', 'c'),
    ROW(IF_NONE_MATCH, 13, 'i', 'h', 'a'),
    ROW(IF_MODIFIED_SINCE, 17, 'i', 'e', 's'),
    ROW(IF_UNMODIFIED_SINCE, 19, 'i', 'e', 's'),
    ROW(ETAG, 4, 'e', 'g', 'g'),
    ROW(LAST_MODIFIED, 13, 'l', 'd', 'f'),
    ROW(ACCEPT_RANGES, 13, 'a', 's', 'n'),
    ROW(CONTENT_RANGE, 13, 'c', 'e', 'a'),
    ROW(CONTENT_ENCODING, 16, 'c', 'g', 'd'),
    ROW(X_ACCEL_REDIRECT, 16, 'x', 't', 'r'),
    ROW(X_ACCEL_BUFFERING, 17, 'x', 'g', 'e'),
    ROW(X_SENDFILE, 10, 'x', 'e', 'i'),
    ROW(RETRY_AFTER, 11, 'r', 'r', 't')};

enum field_id field_lookup(struct str name)
{
    return field_lookup_inline(name.p, name.n);
}

struct str field_name(enum field_id id)
{
    ASSERT(id > FIELD_OTHER && id < FIELD_COUNT);
    return str_make(field_rows[id].text, field_rows[id].len);
}
