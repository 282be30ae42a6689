/* Clients and servers that do anything at any time, in any order, for ten thousand steps a seed. The fakes
 * check what a client and a server may see (one answer, bytes as sent, nothing after the end); here is
 * checked that memory stays bounded on the way, and that afterwards nothing is in flight, held, open or lent.
 */
#include "stage.h"

#include <stdio.h>

#define STEPS  10000
#define SEEDS  12
#define MEMORY 16384u
#define PUSH   4096u

struct dice {
    uint64_t state;
};

static uint32_t roll(struct dice *d, uint32_t sides)
{
    return (uint32_t)(balance_random(&d->state) >> 20) % sides;
}

static void begin(struct stage *st, struct dice *d)
{
    static const char *const heads[] = {
        "GET /a HTTP/1.1\r\n",
        "HEAD /a HTTP/1.1\r\n",
        "GET /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
        "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
        "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
    };
    st->refuse_count = 0;
    while (roll(d, 6) == 0 && st->refuse_count < 4)
        st->refuse[st->refuse_count++] = roll(d, 2) ? REASON_CONNECT_FAILED : REASON_NO_MEMORY;
    struct client *c = client_send(st, heads[roll(d, sizeof heads / sizeof *heads)]);
    if (roll(d, 3) == 0)
        c->writes_left = (int)roll(d, 5) + 1;
}

static bool has_request_end(const struct client *c)
{
    return c->x->request_ended;
}

static void client_step(struct client *c, struct dice *d)
{
    switch (roll(d, 12)) {
    case 0:
    case 1:
        if (roll(d, 4) == 0)
            c->gone = true; /* found out at the next write */
        else if (roll(d, 4) == 0)
            client_leave(c);
        break;
    case 2:
    case 3:
        if (c->blocked) /* a bare event would put right what was forgotten */
            client_unblock(c, roll(d, 2) ? FOR_EVER : (int)roll(d, 5) + 1);
        break;
    case 4:
        if (!has_request_end(c) && client_may_go_on(c))
            client_end(c, !c->tunnelled && roll(d, 2));
        break;
    default:
        if (!has_request_end(c) && client_may_go_on(c))
            client_body(c, roll(d, 5) ? roll(d, 6000) + 1 : roll(d, 60000) + 1);
    }
}

static void attempt_fails(struct attempt *a, struct dice *d)
{
    static const enum reason whys[] = {REASON_CONNECT_FAILED, REASON_SERVER_CLOSED, REASON_SERVER_RESET,
                                       REASON_SERVER_TIMEOUT, REASON_SERVER_OVERLOADED};
    bool sent = a->connected && roll(d, 2);
    a->st->refuse_count = 0;
    server_fail(a, whys[roll(d, 5)], sent, a->x->first_byte_ns == 0 && !a->fresh && roll(d, 4) == 0);
}

static void answer(struct client *c, struct attempt *a, struct dice *d)
{
    static const char *const fields[] = {"Transfer-Encoding: chunked\r\n", "Connection: close\r\n",
                                         "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"};
    if ((a->x->req.flags & MSG_UPGRADE) && roll(d, 2)) {
        a->ends = 0; /* the request's; from now on FIN */
        a->got_bytes = 0;
        a->writes_left = roll(d, 2) ? FOR_EVER : (int)roll(d, 5) + 1;
        server_head(a, 101, "Connection: upgrade\r\nUpgrade: websocket\r\n");
        (void)c;
    } else if (roll(d, 5) == 0)
        server_interim(a, roll(d, 2) ? 100 : 103);
    else
        server_head(a, (uint16_t)(200 + roll(d, 4) * 100), fields[roll(d, 3)]);
}

static void server_step(struct client *c, struct attempt *a, struct dice *d)
{
    bool head = a->x->head_forwarded, tunnel = a->x->is_tunnel;
    uint32_t r = roll(d, 16);
    if (r == 0)
        attempt_fails(a, d);
    else if (!a->connected)
        server_connect(a);
    else if (r < 4 && a->blocked)
        server_unblock(a, roll(d, 2) ? FOR_EVER : (int)roll(d, 5) + 1);
    else if (!head)
        answer(c, a, d);
    else if (!server_may_go_on(a))
        return;
    else if (r < 6 && tunnel && !a->x->response_ended)
        server_half_close(a);
    else if (r < 6 && !tunnel && exchange_can_give(a->x))
        server_end(a, roll(d, 2));
    else if (!a->x->response_ended && a->x->req.method != METHOD_HEAD)
        server_body(a, roll(d, 5) ? roll(d, 6000) + 1 : roll(d, 60000) + 1);
}

/* Brought to an end from wherever it is: each party does what it must, but nothing that a real one would have
 * no reason for (no event, no word from the exchange), and that has to be enough. */
static void wind_up(struct stage *st, struct client *c)
{
    for (int i = 0; i < 3000 && c->x; i++) {
        struct attempt *a = attempt_of(c);
        if (c->blocked || c->writes_left > 0)
            client_unblock(c, FOR_EVER);
        else if (a && !a->connected)
            server_connect(a);
        else if (a && (a->blocked || a->writes_left > 0))
            server_unblock(a, FOR_EVER);
        else if (a && !a->x->head_forwarded)
            server_head(a, 200, "Transfer-Encoding: chunked\r\n");
        else if (!c->x->request_ended && client_may_go_on(c))
            client_end(c, false);
        else if (a && server_may_go_on(a) && !a->x->response_ended) {
            if (a->x->is_tunnel)
                server_half_close(a);
            else
                server_end(a, false);
        } else
            stage_advance(st, 10); /* a hold may time out; nothing else should need time */
    }
    assert_null(c->x); /* nothing left to do, and still not done: a hang */
}

static void step(struct stage *st, struct dice *d)
{
    struct client *c = &st->clients[roll(d, (uint32_t)st->client_count)];
    if (roll(d, 20) == 0)
        stage_advance(st, roll(d, 400));
    if (!c->x)
        return;
    struct attempt *a = attempt_of(c);
    if (roll(d, 20) == 0)
        wind_up(st, c);
    else if (a && roll(d, 2))
        server_step(c, a, d);
    else
        client_step(c, d);
}

/* Places on the stage are used again: only what is over is overwritten. */
static void recycle(struct stage *st)
{
    for (int i = 0; i < st->client_count; i++) {
        struct client *c = &st->clients[i];
        if (c->x)
            continue;
        assert_int_equal(c->dones, 1);
        *c = st->clients[--st->client_count];
        if (c->x)
            c->x->session = &c->session;
        memset(&st->clients[st->client_count], 0, sizeof *c);
        i--;
    }
    for (int i = 0; i < st->attempt_count; i++) {
        struct attempt *a = &st->attempts[i];
        if (a->x)
            continue;
        assert_in_range(a->aborts, 0, 1);
        *a = st->attempts[--st->attempt_count];
        if (a->x)
            a->x->back_state = a;
        i--;
    }
}

static void run(uint64_t seed, const char *cluster, int endpoints)
{
    struct dice d = {seed * 0x9e3779b97f4a7c15ull + 1};
    struct stage *st = stage_make("max_body_size = \"300k\";", cluster, endpoints);
    for (int i = 0; i < STEPS; i++) {
        recycle(st);
        if (!st->client_count || (st->client_count < 6 && roll(&d, 8) == 0))
            begin(st, &d);
        step(st, &d);
        assert_true(st->memory_peak <= MEMORY + 2 * PUSH);
        if (endpoints == 0 && i == STEPS / 2)
            stage_add_endpoint(st, "127.0.0.1:1001");
    }
    for (int i = 0; i < st->client_count; i++)
        wind_up(st, &st->clients[i]);
    stage_end(st);
}

static const char *const options[] = {
    "buffer_memory = \"16k\"; replay_limit = \"4k\"; retries = 3;",
    "buffer_memory = \"16k\"; buffer_file = \"128k\"; request_buffer = true; response_buffer = true;",
    "buffer_memory = \"16k\"; buffer_file = \"64k\"; response_buffer = true; retries = 0; hold_max = 3;",
    "buffer_memory = \"16k\"; replay_limit = \"0\"; retries = 1; hold_max = 3; hold_timeout = \"300ms\";",
};

static void anything_may_happen(void **state)
{
    uint64_t k = (uint64_t)(uintptr_t)*state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed + k * 1000, options[k], (int)(seed % 4));
}

int main(void)
{
#define CASE(name, k)                                                                                        \
    {                                                                                                        \
#name, anything_may_happen, NULL, NULL, (void *)(uintptr_t)(k)                                       \
    }
    const struct CMUnitTest tests[] = {
        CASE(anything_may_happen_unbuffered, 0),
        CASE(anything_may_happen_buffered, 1),
        CASE(anything_may_happen_buffered_answers, 2),
        CASE(anything_may_happen_held, 3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
