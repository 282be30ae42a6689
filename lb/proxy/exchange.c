#include "proxy/exchange.h"

#include "base/log.h"
#include "base/panic.h"
#include "proxy/choose.h"
#include "proxy/exchange_priv.h"
#include "proxy/files.h"
#include "proxy/guard.h"
#include "proxy/hold.h"
#include "proxy/mirror.h"
#include "proxy/proxy.h"
#include "proxy/reply.h"
#include "proxy/rewrite.h"
#include "proxy/routing.h"
#include "proxy/wave.h"

#define EXCHANGE_ARENA_MAX (512u << 10)

struct exchange *exchange_create(struct pworker *pw, struct session *s, const struct front_ops *front)
{
    struct pool *pool = exchange_pool_of(pw, front);
    struct exchange *x = pool_take_zeroed(pool);
    if (!x)
        return NULL;
    arena_init(&x->arena, x + 1, pool->block_bytes - sizeof *x, EXCHANGE_ARENA_MAX);
    x->arena.blocks = &pw->arena_pool;
    uint16_t most = (uint16_t)s->listener->max_header_count;
    uint16_t fields = front->first_fields && front->first_fields < most ? front->first_fields : most;
    struct field *array = arena_alloc(&x->arena, fields * sizeof *array);
    if (!array) {
        pool_give(pool, x);
        return NULL;
    }
    message_init_zeroed(&x->req, array, fields);
    x->magic = EXCHANGE_MAGIC;
    x->counted = LEDGER_COUNTS;
    x->pw = pw;
    x->session = s;
    x->front = front;
    x->start_ns = pw->w.now_ns;
    list_init(&x->place.node);
    pipe_init_zeroed(&x->req_body, &pw->w);
    pipe_init_zeroed(&x->rsp_body, &pw->w);
    return x;
}

void exchange_set_state(struct exchange *x, enum exchange_state state)
{
    ASSERT(x->state != EXCHANGE_DONE);
    x->state = (uint8_t)state;
}

/* The one place that moves the exchange between the cluster's counts. */
static void count_as(struct exchange *x, enum ledger_count to)
{
    if (x->counted == to || x->is_mirror)
        return;
    ledger_cluster_move(&x->pw->ledger, x->cluster->slot, x->counted, to, x->pw->w.now_ns);
    x->counted = (uint8_t)to;
}

static enum reason check_request(struct exchange *x)
{
    const struct listener_settings *l = x->session->listener;
    const struct message *m = &x->req;
    if (m->method == METHOD_TRACE && !l->trace)
        return REASON_METHOD;
    /* Reserved for the preface of HTTP/2 (RFC 9113 3.4): no server must be made to think that it begins. */
    if (m->method == METHOD_OTHER && str_eq(message_str(m, m->method_text), STR("PRI")))
        return REASON_METHOD;
    if (l->max_body_bytes && m->framing == BODY_LENGTH && m->content_length > l->max_body_bytes)
        return REASON_BODY_LIMIT;
    enum reason why = rewrite_request(x);
    if (why == REASON_OK && x->pw->settings->takes_early_data && tls_is_early(&x->session->conn))
        why = secure_take_early(x);
    if (why == REASON_OK && x->pw->settings->asks_clients) {
        if (!tls_serves_host(&x->session->conn, message_str(m, m->authority)))
            return REASON_MISDIRECTED;
        why = secure_tell_client(x);
    }
    return why;
}

const struct back_ops *exchange_back_of(const struct exchange *x)
{
    switch (x->opt->protocol) {
    case PROTOCOL_FASTCGI:
        return &back_fcgi;
    case PROTOCOL_FILES:
        return &back_files;
    case PROTOCOL_H2:
        return &back_h2;
    default:
        return &back_h1;
    }
}

static bool has_body(const struct exchange *x)
{
    return x->req.framing != BODY_NONE && !(x->req.framing == BODY_LENGTH && x->req.content_length == 0);
}

/* FastCGI needs CONTENT_LENGTH before the first byte (F12), so a body of unknown length is always collected.
 */
static bool must_collect(const struct exchange *x)
{
    if (!has_body(x) || (x->req.flags & MSG_UPGRADE))
        return false;
    return x->opt->request_buffer || (x->opt->protocol == PROTOCOL_FASTCGI && x->req.framing != BODY_LENGTH);
}

/* A client that waits for 100 must get one when nobody behind us will be asked before the body is here. */
static void send_continue(struct exchange *x)
{
    if (!(x->req.flags & MSG_EXPECT_CONTINUE) || x->continue_sent)
        return;
    struct message m;
    message_init(&m, NULL, 0);
    m.base = "";
    m.status = 100;
    m.version = 11;
    x->continue_sent = true;
    if (!x->front->interim(x, &m))
        x->session->broken = true;
}

static void setup_pipes(struct exchange *x)
{
    struct pipe *req = &x->req_body, *rsp = &x->rsp_body;
    req->memory_max = rsp->memory_max = x->opt->buffer_memory_bytes;
    req->temp_dir = rsp->temp_dir = x->pw->settings->temp_dir;
    req->keep = true;
    req->keep_max = x->opt->replay_limit_bytes;
}

static void pick(struct exchange *x);

static void begin_collect(struct exchange *x)
{
    exchange_set_state(x, EXCHANGE_COLLECT);
    count_as(x, LEDGER_HELD);
    x->req_body.file_max = x->opt->buffer_file_bytes;
    x->req_body.keep_max = UINT64_MAX;
    send_continue(x);
}

static bool is_asleep(const struct exchange *x)
{
    return x->cluster && !x->cluster->candidate_count && !x->opt->files.root &&
           x->opt->protocol != PROTOCOL_FILES;
}

/* True: that was all. */
static bool follow_rules(struct exchange *x)
{
    if (routing_answer(x))
        return true;
    if (is_asleep(x) && routing_must_not_wake(x)) { /* before a body is collected: it is no demand */
        exchange_reply(x, REASON_ASLEEP);
        return true;
    }
    enum reason why = routing_rewrite(x);
    if (why != REASON_OK) {
        count_as(x, LEDGER_SERVING);
        exchange_reply(x, why);
        return true;
    }
    mirror_begin(x);
    return false;
}

/* While it waited for its guard no more of the body was taken than a retry may keep. */
static void collect(struct exchange *x)
{
    x->req_body.keep |= !x->req_body.taken_bytes;
    begin_collect(x);
    if (!x->request_paused)
        return;
    x->request_paused = false;
    x->front->want_request(x);
}

void exchange_admit(struct exchange *x, enum reason why)
{
    if (why != REASON_OK) {
        ledger_add(&x->pw->ledger.row->unrouted, 1);
        exchange_reply(x, why);
        return;
    }
    if (x->rules && follow_rules(x))
        return;
    x->back = exchange_back_of(x);
    if (x->opt->files.root || x->opt->protocol == PROTOCOL_FILES) {
        enum files_found found = files_try(x);
        if (found == FILES_NOT_FOUND) {
            count_as(x, LEDGER_SERVING);
            exchange_reply(x, REASON_FILE_NOT_FOUND);
            return;
        }
        if (found == FILES_SERVE)
            x->back = &back_files;
    }
    if (x->back != &back_files && !x->req_body.ended && must_collect(x))
        collect(x);
    else
        pick(x);
}

void exchange_start(struct exchange *x)
{
    x->route_ns = x->pw->w.now_ns;
    enum reason why = check_request(x);
    if (why == REASON_OK && reply_probe(x))
        return;
    bool is_sound = why == REASON_OK;
    if (is_sound)
        why = routing_find(x);
    if (why == REASON_OK && x->cluster)
        setup_pipes(x);
    if (!x->pw->proxy->guards || !is_sound || guard_enter(x, why))
        exchange_admit(x, why);
}

void exchange_start_in(struct exchange *x, struct cluster *c)
{
    x->route_ns = x->pw->w.now_ns;
    x->view = view_ref(x->pw);
    x->cluster = c;
    x->opt = &c->options;
    setup_pipes(x);
    exchange_admit(x, REASON_OK);
}

static void count_failure(struct exchange *x, enum ledger_failure kind)
{
    if (!x->is_mirror)
        ledger_cluster_failure(&x->pw->ledger, x->cluster->slot, kind);
}

static enum ledger_failure failure_kind(enum reason why)
{
    switch (why) {
    case REASON_CONNECT_FAILED:
    case REASON_CONNECT_TIMEOUT:
        return LEDGER_FAIL_CONNECT;
    case REASON_SERVER_TIMEOUT:
    case REASON_SERVER_STALL:
        return LEDGER_FAIL_TIMEOUT;
    case REASON_NO_MEMORY:
    case REASON_SPILL:
    case REASON_INTERNAL:
        return LEDGER_FAIL_INTERNAL;
    default:
        return LEDGER_FAIL_SERVER;
    }
}

/* Every endpoint was tried. */
static void fail_at_last(struct exchange *x)
{
    count_failure(x, failure_kind((enum reason)x->last_failure));
    exchange_reply(x, (enum reason)x->last_failure);
}

/* Nothing can serve it now. is_full: somebody could, once there is room. */
static void hold_or_refuse(struct exchange *x, bool is_full)
{
    if (x->attempts && (!is_full || !x->opt->hold_max)) {
        fail_at_last(x);
        return;
    }
    if (x->is_mirror) { /* never waits */
        exchange_reply(x, is_full ? REASON_SATURATED : REASON_NO_ENDPOINT);
        return;
    }
    if (!is_full && routing_must_not_wake(x)) {
        exchange_reply(x, REASON_ASLEEP);
        return;
    }
    if (x->opt->hold_max && x->front->is_gone && x->front->is_gone(x)) {
        exchange_request_failed(x, REASON_CLIENT_GONE);
        return;
    }
    count_as(x, LEDGER_HELD);
    enum reason why = is_full ? REASON_SATURATED : REASON_NO_ENDPOINT;
    if (x->opt->hold_max)
        why = hold_add(x);
    if (why == REASON_OK) {
        exchange_set_state(x, EXCHANGE_HOLD);
        return;
    }
    wakes_tell(x, x->cluster, is_full ? WAKE_SATURATED : WAKE_HELD);
    ledger_cluster_failure(&x->pw->ledger, x->cluster->slot, LEDGER_FAIL_REFUSED);
    exchange_reply(x, why);
}

static void begin_attempt(struct exchange *x)
{
    x->pick_ns = x->pw->w.now_ns;
    if (x->attempts++)
        ledger_add(&x->pw->ledger.clusters[x->cluster->slot].retries, 1);
    x->request_end_sent = false;
    exchange_set_state(x, EXCHANGE_ATTEMPT);
    count_as(x, LEDGER_SERVING);
    enum reason why = x->back->start(x);
    if (x->state == EXCHANGE_DONE)
        return;
    if (why != REASON_OK) {
        exchange_attempt_failed(x, why, false, false);
        return;
    }
    if (x->back == &back_fcgi && has_body(x))
        send_continue(x); /* a script never sends one */
    exchange_back_ready(x);
}

/* PICK: begins an attempt, or holds, or refuses. Where requests wait a new one goes behind them; not so one
 * whose turn it was already, and whose uplink was stale. */
static void pick(struct exchange *x)
{
    bool is_new = !x->attempts && !x->fresh_uplink;
    bool must_wait = x->opt->hold_max && is_new && x->back != &back_files && hold_is_used(x);
    enum choice choice = !must_wait                    ? choose_endpoint(x)
                         : x->cluster->candidate_count ? CHOICE_FULL
                                                       : CHOICE_NONE;
    if (choice == CHOSEN)
        begin_attempt(x);
    else
        hold_or_refuse(x, choice == CHOICE_FULL);
}

bool exchange_retry_held(struct exchange *x)
{
    ASSERT(x->state == EXCHANGE_HOLD);
    bool is_paced = wave_is_for(x->cluster) && x->cluster->candidate_count;
    if (is_paced && !wave_take(x))
        return false;
    enum choice choice = choose_endpoint(x);
    bool is_hopeless = choice == CHOICE_NONE && x->attempts;
    if (choice != CHOSEN)
        wave_give(x, WAVE_UNUSED);
    if (choice != CHOSEN && !is_hopeless)
        return false;
    hold_remove(x);
    if (is_hopeless) { /* what it waited for is gone; it is not to be in the way of those behind it */
        fail_at_last(x);
        return true;
    }
    if (!x->attempts)
        ledger_add(&x->pw->ledger.clusters[x->cluster->slot].waited, 1);
    begin_attempt(x);
    return true;
}

void exchange_resume_held(struct exchange *x)
{
    setup_pipes(x);
    x->req_body.ended = true;
    x->back = exchange_back_of(x);
    x->counted = LEDGER_HELD;
    exchange_set_state(x, EXCHANGE_HOLD);
}

void exchange_collected(struct exchange *x)
{
    pick(x);
}

void exchange_start_mirror(struct exchange *x)
{
    setup_pipes(x);
    x->route_ns = x->pw->w.now_ns;
    x->back = exchange_back_of(x);
    pick(x);
}

void exchange_endpoint_done(struct exchange *x)
{
    choose_done(x);
}

void exchange_count_finishing(struct exchange *x)
{
    if (x->counted != LEDGER_COUNTS && x->counted != LEDGER_TUNNEL)
        count_as(x, LEDGER_FINISHING);
}

void exchange_count_tunnel(struct exchange *x)
{
    count_as(x, LEDGER_TUNNEL);
    if (x->endpoint_counted) {
        ledger_endpoint_tunnel(&x->pw->ledger, x->endpoint->slot, 1, x->pw->w.now_ns);
        x->tunnel_counted = true;
    }
}

/* Only attempts that nobody can have seen, or that may be repeated (RFC 9110 9.2.2), and whose body is still
 * here. */
static bool may_retry(struct exchange *x, enum reason why, bool sent, bool reused)
{
    /* A server that is too slow is not helped by doing it all again elsewhere. */
    if (sent && (why == REASON_SERVER_TIMEOUT || why == REASON_SERVER_STALL))
        return false;
    if (x->is_mirror && !reused)
        return false;
    if (x->head_forwarded || x->back == &back_files || (!reused && x->attempts > x->opt->retries))
        return false;
    if (x->session->broken || !pipe_can_rewind(&x->req_body))
        return false;
    if (sent && !method_is_idempotent(x->req.method))
        return false;
    return !sent || reused || choose_may_retry(x); /* last: it takes from the budget */
}

static void note_endpoint_failure(struct exchange *x, enum reason why)
{
    enum ledger_failure kind = failure_kind(why);
    if (!x->endpoint)
        return;
    struct ledger_endpoint *cell = &x->pw->ledger.endpoints[x->endpoint->slot];
    ledger_add(&cell->failures, kind == LEDGER_FAIL_CONNECT ? 1 : 1ull << 32);
    if (kind != LEDGER_FAIL_INTERNAL && why != REASON_SERVER_OVERLOADED) /* busy is not broken */
        choose_failed(x);
}

/* A stale uplink is no verdict on its endpoint: the same one, on a new connection, and it costs no retry.
 * Happens once, for a new connection is never stale. */
static void try_same_again(struct exchange *x)
{
    x->fresh_uplink = true;
    x->attempts--;
    if (x->balance.tried_count)
        x->balance.tried_count--;
}

void exchange_attempt_failed(struct exchange *x, enum reason why, bool sent, bool reused)
{
    if (x->state == EXCHANGE_DONE)
        return;
    exchange_endpoint_done(x);
    if (x->from_wave && !reused && failure_kind(why) != LEDGER_FAIL_INTERNAL)
        wave_failed(x);
    x->from_wave = false;
    x->last_failure = (uint8_t)why;
    /* An idle uplink that the server closed in the same moment says nothing about the server. */
    if (!reused) {
        note_endpoint_failure(x, why);
        log_debug("cluster %.*s endpoint %.*s: %s", STR_ARG(x->cluster->id),
                  STR_ARG(x->endpoint ? endpoint_id(x->endpoint) : STR("-")), reason_text(why));
    }
    if (x->state == EXCHANGE_ATTEMPT && may_retry(x, why, sent, reused)) {
        if (reused)
            try_same_again(x);
        pipe_rewind(&x->req_body);
        pick(x);
        return;
    }
    count_failure(x, failure_kind(why));
    exchange_reply(x, why);
}

void exchange_switch_back(struct exchange *x, const struct back_ops *back)
{
    if (x->back_state)
        x->back->abort(x);
    exchange_endpoint_done(x);
    x->back = back;
    x->back_state = NULL;
    x->redirected = true;
}
