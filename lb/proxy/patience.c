#include "proxy/patience.h"

#include "proxy/proxy.h"

static bool is_servers_turn(const struct exchange *x, bool is_untaken)
{
    return is_untaken || x->request_end_sent || exchange_awaits_continue(x);
}

bool patience_is_clients(const struct exchange *x, bool is_untaken)
{
    return x->response_paused || !is_servers_turn(x, is_untaken);
}

bool patience_is_conversation(const struct exchange *x)
{
    return x->req.framing == BODY_STREAM && !x->request_end_sent && !x->opt->request_buffer &&
           x->opt->protocol != PROTOCOL_FASTCGI && !exchange_awaits_continue(x);
}

uint64_t patience_left_ms(const struct exchange *x, bool is_untaken, uint64_t moved_ms, enum reason *out_why)
{
    uint64_t most_ms = x->opt->body_timeout_ms, silent_ms = x->pw->w.now_ms - moved_ms;
    if (x->response_paused)
        return most_ms;
    bool is_servers = !patience_is_conversation(x) && is_servers_turn(x, is_untaken);
    uint64_t may_ms = is_servers ? most_ms : x->opt->stream_idle_timeout_ms;
    if (!may_ms) /* for ever; but it may become the server's turn */
        return most_ms;
    if (may_ms < most_ms)
        may_ms = most_ms;
    *out_why = is_servers ? REASON_SERVER_STALL : REASON_STREAM_IDLE;
    if (silent_ms >= may_ms)
        return 0;
    uint64_t left_ms = may_ms - silent_ms;
    return left_ms < most_ms ? left_ms : most_ms;
}
