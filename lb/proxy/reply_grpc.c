#include "proxy/reply_grpc.h"

#include "base/panic.h"
#include "proxy/exchange_priv.h"
#include "proxy/proxy.h"
#include "proxy/reply.h"

#define HEAD_BYTES 512
#define FIELDS_MAX 4

bool reply_is_grpc(const struct exchange *x)
{
    struct str type = message_value(&x->req, FIELD_CONTENT_TYPE);
    return type.n >= 16 && str_ieq(str_make(type.p, 16), STR("application/grpc")) &&
           (type.n == 16 || type.p[16] == '+' || type.p[16] == ';');
}

/* What HTTP says in the words of gRPC (its http-grpc-status-mapping, and limits as what they are). A server
 * that took too long may have done it all: a library that repeats what is UNAVAILABLE must not repeat that.
 */
static struct str grpc_status(const struct exchange *x, uint16_t status)
{
    if (x->reason == REASON_SERVER_TIMEOUT || x->reason == REASON_SERVER_STALL)
        return STR("4"); /* DEADLINE_EXCEEDED */
    switch (status) {
    case 400:
        return STR("13"); /* INTERNAL */
    case 401:
        return STR("16"); /* UNAUTHENTICATED */
    case 403:
        return STR("7"); /* PERMISSION_DENIED */
    case 404:
        return STR("12"); /* UNIMPLEMENTED */
    case 413:
    case 431:
        return STR("8"); /* RESOURCE_EXHAUSTED */
    case 429:
    case 502:
    case 503:
    case 504:
        return STR("14"); /* UNAVAILABLE */
    default:
        return STR("2"); /* UNKNOWN */
    }
}

void reply_grpc(struct exchange *x, uint16_t status)
{
    char head[HEAD_BYTES];
    struct field fields[FIELDS_MAX];
    struct message m;
    struct writer w;
    message_init(&m, fields, FIELDS_MAX);
    writer_init(&w, head, sizeof head);
    reply_field(&m, &w, STR("content-type"), STR("application/grpc"));
    reply_field(&m, &w, STR("grpc-status"), grpc_status(x, status));
    reply_field(&m, &w, STR("grpc-message"), str_of(reason_text((enum reason)x->reason)));
    if (x->pw->settings->reason_header && x->reason)
        reply_field(&m, &w, STR("X-Coxswain-Reason"), str_of(reason_id((enum reason)x->reason)));
    ASSERT(!w.overflow);
    m.base = head;
    m.head_len = (uint32_t)w.len;
    m.status = x->status = 200;
    m.version = 11;
    m.framing = BODY_NONE;
    m.flags = MSG_COMPLETE;
    x->pick_ns = 0; /* whatever a server did is not the service of this answer */
    exchange_set_state(x, EXCHANGE_RELAY);
    x->head_forwarded = true;
    pipe_forget(&x->req_body);
    if (x->front->head(x, &m))
        exchange_response_end(x, NULL);
    else
        exchange_finish(x, true);
}
