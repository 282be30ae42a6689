/* What the orchestrator is told of clusters that cannot serve, and when it is told again. The other end of the channel is
 * read by hand. */
#include <sys/socket.h>
#include <unistd.h>

#include "stage.h"
#include "topo/route_rules.h"

#define GET     "GET /a HTTP/1.1\r\n"
#define CRAWLER "GET /a HTTP/1.1\r\nUser-Agent: Crawler/1\r\n"
#define HEAD_BYTES 16 /* of a message: magic, version, type, flags, length */

struct told {
    char bytes[1024];
    struct wake wake;
};

static int orchestrator = -1;

static void on_message(void *owner, struct channel *c, struct channel_message *m)
{
    (void)c;
    if (m->type == CHANNEL_WAKE_ACK)
        wakes_on_ack(owner, m->payload);
}

static void on_gone(void *owner, struct channel *c)
{
    (void)owner;
    (void)c;
}

static const struct channel_ops ops = {on_message, on_gone};

static void connect_orchestrator(struct stage *st)
{
    int fds[2];
    assert_true(channel_pair(fds));
    st->proxy.orchestrator = channel_create(&st->proxy.loop, fds[0], &ops, &st->proxy);
    orchestrator = fds[1];
}

static struct stage *make(const char *cluster, int endpoints)
{
    struct stage *st = stage_make("", cluster, endpoints);
    connect_orchestrator(st);
    return st;
}

static void end(struct stage *st)
{
    channel_destroy(&st->proxy.orchestrator);
    close(orchestrator);
    stage_end(st);
}

/* Nothing more was said when it is false. */
static bool was_told(struct told *t)
{
    ssize_t n = recv(orchestrator, t->bytes, sizeof t->bytes, MSG_DONTWAIT);
    uint16_t type;
    if (n < HEAD_BYTES)
        return false;
    memcpy(&type, t->bytes + 6, sizeof type);
    assert_true(type == CHANNEL_WAKE || type == CHANNEL_SATURATED);
    assert_true(wake_unpack(str_make(t->bytes + HEAD_BYTES, (size_t)n - HEAD_BYTES),
                            type == CHANNEL_SATURATED ? WAKE_SATURATED : WAKE_HELD, &t->wake));
    return true;
}

static void acknowledge(struct stage *st, const struct wake *w)
{
    struct packer p;
    wake_ack_pack(w, &p);
    wakes_on_ack(&st->proxy, pack_result(&p));
}

static void the_first_held_request_tells_at_once(void **state)
{
    (void)state;
    struct told t;
    struct stage *st = make("hold_max = 8;", 0);
    struct client *a = client_send(st, "GET /a HTTP/1.1\r\nX-Request-Id: who-woke-it\r\n");
    assert_true(was_told(&t));
    assert_int_equal(t.wake.kind, WAKE_HELD);
    assert_true(str_eq(t.wake.cluster, STR("c")));
    assert_true(str_eq(t.wake.request, STR("who-woke-it")));
    assert_int_equal(t.wake.route_ns, a->x->route_ns);
    assert_int_equal(t.wake.slot, a->x->cluster->slot);
    for (int i = 0; i < 3; i++)
        client_leave(client_send(st, GET)); /* however many more */
    stage_advance(st, 500);
    client_leave(client_send(st, GET)); /* and however late */
    assert_false(was_told(&t));
    client_leave(a);
    end(st);
}

static void an_acknowledgement_arms_it_again(void **state)
{
    (void)state;
    struct told t;
    struct stage *st = make("hold_max = 8;", 0);
    struct client *a = client_send(st, GET);
    assert_true(was_told(&t));
    acknowledge(st, &t.wake);
    stage_advance(st, 9);
    struct client *b = client_send(st, GET);
    assert_false(was_told(&t)); /* not twice in ten milliseconds */
    stage_advance(st, 1);
    struct client *c = client_send(st, GET);
    assert_true(was_told(&t));
    assert_int_equal(t.wake.route_ns, c->x->route_ns);
    client_leave(a);
    client_leave(b);
    client_leave(c);
    end(st);
}

/* It dropped our message, or its answer: the ledger told it, but the next edge must not be lost. */
static void what_is_never_acknowledged_is_forgotten(void **state)
{
    (void)state;
    struct told t;
    struct stage *st = make("hold_max = 8;", 0);
    struct client *a = client_send(st, GET);
    assert_true(was_told(&t));
    stage_advance(st, WAKE_FORGOTTEN_MS - 1);
    client_leave(client_send(st, GET));
    assert_false(was_told(&t));
    stage_advance(st, 1);
    client_leave(client_send(st, GET));
    assert_true(was_told(&t));
    client_leave(a);
    end(st);
}

static void who_is_refused_tells_too(void **state)
{
    (void)state;
    struct told t;
    struct stage *st = make("hold_max = 0;", 0);
    struct client *a = client_send(st, GET);
    assert_int_equal(a->reason, REASON_NO_ENDPOINT);
    assert_true(was_told(&t));
    assert_int_equal(t.wake.kind, WAKE_HELD);
    end(st);
}

static void a_full_room_of_a_sleeping_cluster_is_no_saturation(void **state)
{
    (void)state;
    struct told t;
    struct stage *st = make("hold_max = 1;", 0);
    struct client *a = client_send(st, GET);
    assert_true(was_told(&t));
    acknowledge(st, &t.wake);
    stage_advance(st, 20);
    assert_int_equal(client_send(st, GET)->reason, REASON_HOLD_FULL);
    assert_true(was_told(&t));
    assert_int_equal(t.wake.kind, WAKE_HELD);
    client_leave(a);
    end(st);
}

static void saturated_is_an_edge_of_its_own(void **state)
{
    (void)state;
    struct told t;
    struct stage *st = make("hold_max = 8; max_in_flight = 1; eject_failures = 0;", 1);
    struct client *a = client_send(st, GET);
    assert_false(was_told(&t));
    struct client *b = client_send(st, GET), *c = client_send(st, GET);
    assert_true(was_told(&t));
    assert_int_equal(t.wake.kind, WAKE_SATURATED);
    assert_int_equal(t.wake.route_ns, b->x->route_ns);
    assert_false(was_told(&t));
    server_answer(attempt_of(a), 0);
    server_answer(attempt_of(b), 0);
    server_answer(attempt_of(c), 0);
    end(st);
}

static void a_new_orchestrator_is_told_of_all_that_hold(void **state)
{
    (void)state;
    struct told t;
    struct stage *st = stage_make("", "hold_max = 8;", 0);
    struct client *a = client_send(st, "GET /a HTTP/1.1\r\nX-Request-Id: first\r\n");
    st->proxy.topology = model_current(st->model);
    connect_orchestrator(st);
    wakes_tell_all(&st->proxy);
    assert_true(was_told(&t)); /* nobody heard the first */
    assert_true(str_eq(t.wake.request, STR("first")));
    wakes_tell_all(&st->proxy); /* one that has died before it answered */
    assert_true(was_told(&t));
    client_leave(a);
    wakes_tell_all(&st->proxy);
    assert_false(was_told(&t));
    end(st);
}

static void nonsense_from_the_orchestrator_is_ignored(void **state)
{
    (void)state;
    struct told t;
    struct stage *st = make("hold_max = 8;", 0);
    const struct wake far = {.slot = 4000000};
    struct client *a = client_send(st, GET);
    assert_true(was_told(&t));
    acknowledge(st, &far);
    wakes_on_ack(&st->proxy, STR("short"));
    stage_advance(st, 20);
    client_leave(client_send(st, GET));
    assert_false(was_told(&t));
    client_leave(a);
    end(st);
}

/* ---- wake = false ---- */

static void put_crawlers_route(struct stage *st)
{
    static const struct route_place place = {.host = STR("*"), .path = STR("/"), .label = STR("crawlers")};
    struct route_options options;
    options_init(&route_options_table, &options);
    options.priority = 1;
    assert_null(options_set(&route_options_table, &options, "headers", "User-Agent^=Crawler", NULL));
    assert_null(options_set(&route_options_table, &options, "wake", "false", NULL));
    assert_true(model_put_ruled_route(st->model, STR("test"), &place, STR("c"), &options, NULL));
    options_free(&route_options_table, &options);
    stage_serve(st, model_publish(st->model));
}

static void a_crawler_wakes_nobody_and_is_no_demand(void **state)
{
    (void)state;
    struct told t;
    struct stage *st = make("hold_max = 8; request_buffer = true;", 0);
    put_crawlers_route(st);
    struct client *a = client_send(st, CRAWLER);
    assert_int_equal(a->status, 503);
    assert_int_equal(a->reason, REASON_ASLEEP);
    struct client *b = client_send(st, CRAWLER "Content-Length: 10\r\n");
    assert_int_equal(b->reason, REASON_ASLEEP); /* its body is not waited for */
    assert_false(was_told(&t));
    assert_int_equal(stage_counts(st).requests, 0);
    assert_int_equal(stage_counts(st).failures[LEDGER_FAIL_REFUSED], 0);
    struct client *c = client_send(st, GET); /* a client does */
    assert_true(was_told(&t));
    assert_int_equal(client_send(st, CRAWLER)->reason, REASON_ASLEEP);
    stage_add_endpoint(st, "127.0.0.1:2001");
    server_answer(attempt_of(c), 10);
    struct client *d = client_send(st, CRAWLER); /* awake it is served like any other */
    server_answer(attempt_of(d), 10);
    assert_int_equal(d->status, 200);
    assert_int_equal(stage_counts(st).requests, 2);
    end(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_held_request_tells_at_once),
        cmocka_unit_test(an_acknowledgement_arms_it_again),
        cmocka_unit_test(what_is_never_acknowledged_is_forgotten),
        cmocka_unit_test(who_is_refused_tells_too),
        cmocka_unit_test(a_full_room_of_a_sleeping_cluster_is_no_saturation),
        cmocka_unit_test(saturated_is_an_edge_of_its_own),
        cmocka_unit_test(a_new_orchestrator_is_told_of_all_that_hold),
        cmocka_unit_test(nonsense_from_the_orchestrator_is_ignored),
        cmocka_unit_test(a_crawler_wakes_nobody_and_is_no_demand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
