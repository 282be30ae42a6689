#include "stage.h"

#include <stdio.h>
#include <unistd.h>

#include "base/panic.h"
#include "http/h1_parse.h"
#include "proxy/reply.h"

#define ATTEMPT_MAGIC 0x61747470u
#define T0_NS         (1000000ull * NS_PER_MS)

static const struct front_ops fake_front;

char stage_byte(uint64_t at)
{
    return (char)(at * 29 + (at >> 8) * 11 + (at >> 16));
}

static void check_bytes(const char *p, size_t n, uint64_t at)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != stage_byte(at + i))
            fail_msg("byte %llu is not what was sent", (unsigned long long)(at + i));
}

static void fill_bytes(char *p, size_t n, uint64_t at)
{
    for (size_t i = 0; i < n; i++)
        p[i] = stage_byte(at + i);
}

static void note_memory(struct exchange *x)
{
    struct stage *st = (struct stage *)x->pw;
    struct pipe *pipes[] = {&x->req_body, &x->rsp_body};
    for (int i = 0; i < 2; i++)
        if (pipes[i]->memory_bytes > st->memory_peak)
            st->memory_peak = pipes[i]->memory_bytes;
}

/* ---- the stage ---- */

static void set_clock(struct stage *st, uint64_t now_ns)
{
    st->pw.w.now_ns = now_ns;
    st->pw.w.now_ms = now_ns / NS_PER_MS;
}

static void load(struct stage *st, const char *listener, const char *cluster, int endpoints)
{
    char text[4096], list[512] = "";
    for (int i = 0; i < endpoints; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s\"127.0.0.1:%d\"", i ? ", " : "",
                 1001 + i);
    int n = snprintf(text, sizeof text,
                     "listeners = ( { name = \"web\"; address = \"127.0.0.1:1\"; %s } );\n"
                     "clusters = ( { name = \"c\"; endpoints = ( %s ); %s } );\n"
                     "routes = ( { host = \"*\"; path = \"/\"; cluster = \"c\"; } );\n",
                     listener, list, cluster);
    struct buf errors;
    buf_init(&errors);
    st->settings = settings_load_text(text, (size_t)n, &errors);
    if (!st->settings)
        fail_msg("settings: %.*s", (int)errors.len, errors.p);
    buf_fini(&errors);
}

void stage_serve(struct stage *st, struct topology *t)
{
    view_replace(&st->pw, view_create(t));
    topology_unref(&t);
}

struct stage *stage_make(const char *listener, const char *cluster, int endpoints)
{
    struct stage *st = aligned_alloc(64, (sizeof *st + 63) / 64 * 64);
    assert_non_null(st);
    memset(st, 0, sizeof *st);
    load(st, listener, cluster, endpoints);
    stage_set_client(st, "127.0.0.1");
    st->proxy =
        (struct proxy){.settings = st->settings, .workers = &st->pw, .worker_count = 1, .access_fd = -1};
    assert_true(loop_init(&st->proxy.loop) && mailbox_init(&st->proxy.mailbox, &st->proxy.loop, NULL));
    int fd = ledger_create(1, 1, 8, 32);
    assert_true(ledger_open(&st->proxy.ledger, fd, true));
    close(fd);
    assert_true(hold_shared_init(&st->proxy, st->proxy.ledger.header->max_clusters));
    assert_true(gates_init(&st->proxy.gates, st->proxy.ledger.header->max_clusters,
                           st->proxy.ledger.header->max_endpoints));
    assert_true(guards_create(st->settings, &st->proxy.guards));
    assert_true(pworker_init(&st->pw, &st->proxy, 0));
    deadline_stop(&st->pw.w.wheel, &st->pw.tick);
    set_clock(st, T0_NS);
    wheel_init(&st->pw.w.wheel, st->pw.w.now_ms);
    st->model = model_create(1, 8, 32);
    model_load_settings(st->model, st->settings);
    stage_serve(st, model_publish(st->model));
    return st;
}

static bool run_client(struct client *c)
{
    uint64_t before = c->got_bytes;
    if (!c->again || !c->x)
        return false;
    c->again = 0;
    exchange_front_ready(c->x);
    if (c->got_bytes - before > c->longest_go)
        c->longest_go = c->got_bytes - before;
    return true;
}

static bool run_attempt(struct attempt *a)
{
    if (!a->turn || !a->x)
        return false;
    a->turn = false;
    if (a->connected && !a->blocked)
        exchange_back_ready(a->x);
    return true;
}

/* The run queue of a worker. */
static void run_asked(struct stage *st)
{
    bool more = true;
    for (int pass = 0; more; pass++) {
        assert_true(pass < 1000); /* two that wake each other for ever */
        more = false;
        for (int i = 0; i < st->client_count; i++)
            more |= run_client(&st->clients[i]);
        for (int i = 0; i < st->attempt_count; i++)
            more |= run_attempt(&st->attempts[i]);
    }
}

void stage_turn(struct stage *st)
{
    struct list *node;
    run_asked(st);
    while ((node = list_shift(&st->pw.w.run_queue)))
        CONTAINER_OF(node, struct run_node, node)->fn(CONTAINER_OF(node, struct run_node, node));
    while (st->pw.w.parked) {
        struct parked *p = st->pw.w.parked;
        st->pw.w.parked = p->next;
        p->reclaim(p);
    }
    mailbox_run(&st->proxy.mailbox, NULL);
}

void stage_advance(struct stage *st, uint64_t ms)
{
    set_clock(st, st->pw.w.now_ns + ms * NS_PER_MS);
    wheel_run(&st->pw.w.wheel, st->pw.w.now_ms);
    stage_turn(st);
}

void stage_add_endpoint(struct stage *st, const char *address)
{
    struct endpoint_draft e = {.weight = 100, .readiness = ENDPOINT_READY, .id = str_of(address)};
    assert_true(addr_parse(e.id, &e.addr));
    assert_true(model_put_endpoint(st->model, STR("test"), STR("c"), &e, NULL));
    stage_serve(st, model_publish(st->model));
    hold_release(&st->pw);
    stage_turn(st);
}

struct ledger_cluster_sum stage_counts(struct stage *st)
{
    struct ledger_cluster_sum sum = {.requests = 0};
    ledger_sum_cluster(&st->proxy.ledger, 0, true, st->pw.w.now_ns, &sum);
    return sum;
}

static void check_accounts(struct stage *st)
{
    struct ledger_cluster_sum sum = stage_counts(st);
    uint64_t buckets[LEDGER_HIST_BUCKETS] = {0}, latencies = 0, classes = 0;
    assert_true(ledger_is_quiet(&st->proxy.ledger, NULL));
    assert_int_equal(sum.requests, sum.completed);
    ledger_sum_hist(&st->proxy.ledger, 0, buckets);
    for (int i = 0; i < LEDGER_HIST_BUCKETS; i++)
        latencies += buckets[i];
    for (int i = 0; i < 6; i++)
        classes += sum.status_class[i];
    assert_int_equal(latencies, sum.completed);
    assert_int_equal(classes, sum.completed);
}

void stage_end(struct stage *st)
{
    stage_turn(st);
    for (int i = 0; i < st->client_count; i++) {
        assert_null(st->clients[i].x);
        assert_int_equal(st->clients[i].dones, 1);
    }
    for (int i = 0; i < st->attempt_count; i++)
        assert_null(st->attempts[i].x);
    check_accounts(st);
    assert_int_equal(st->pw.held_count, 0);
    assert_int_equal(st->pw.w.wheel.count, 0);
    assert_int_equal(st->pw.exchange_pool.taken_count, 0);
    assert_int_equal(worker_chunks_taken(&st->pw.w), 0);
    assert_int_equal(st->pw.view->users, 1);
    assert_int_equal(atomic_load(&st->proxy.hold.holding[0]), 0);
    assert_int_equal((uint32_t)atomic_load(&st->proxy.hold.waves[0]), 0);
    for (size_t i = 0; i < CLIENTS_ROWS * CLIENTS_COLUMNS; i++)
        assert_int_equal(atomic_load(&st->proxy.hold.clients->counts[0][i]), 0);
    pworker_fini(&st->pw);
    hold_shared_fini(&st->proxy);
    gates_fini(&st->proxy.gates);
    guards_destroy(&st->proxy.guards);
    model_destroy(&st->model);
    ledger_close(&st->proxy.ledger);
    mailbox_fini(&st->proxy.mailbox);
    loop_fini(&st->proxy.loop);
    settings_free(&st->settings);
    free(st);
}

/* ---- the fake front ---- */

static struct client *client_of(struct exchange *x)
{
    struct client *c = CONTAINER_OF(x->session, struct client, session);
    assert_ptr_equal(c->x, x); /* nothing is said to a front after done */
    return c;
}

/* One write to the client; false when it is gone. */
static bool is_written(struct client *c)
{
    if (c->gone) {
        c->session.broken = c->session.conn.broken = true;
        return false;
    }
    if (c->writes_left > 0 && --c->writes_left == 0)
        c->blocked = true;
    return true;
}

static bool fake_interim(struct exchange *x, struct message *m)
{
    struct client *c = client_of(x);
    assert_int_equal(c->heads, 0);
    assert_in_range(m->status, 100, 199);
    c->interims++;
    c->last_interim = m->status;
    return is_written(c);
}

static bool fake_head(struct exchange *x, struct message *m)
{
    struct client *c = client_of(x);
    assert_int_equal(c->heads, 0); /* never two answers */
    c->heads++;
    c->status = m->status;
    c->local = x->reason != REASON_OK;
    return is_written(c);
}

static ssize_t fake_data(struct exchange *x, const char *p, size_t n, bool last)
{
    struct client *c = client_of(x);
    (void)last;
    assert_int_equal(c->heads, 1);
    assert_int_equal(c->ends, 0);
    assert_true(n > 0);
    if (c->blocked && !c->gone)
        return 0;
    if (!c->local)
        check_bytes(p, n, c->got_bytes);
    if (!is_written(c))
        return -1;
    c->got_bytes += n;
    return (ssize_t)n;
}

static bool fake_end(struct exchange *x, struct message *trailers)
{
    struct client *c = client_of(x);
    assert_int_equal(c->heads, 1);
    assert_int_equal(c->ends, 0);
    c->ends++;
    c->has_trailers = trailers != NULL;
    return !c->gone;
}

static bool fake_is_flushed(struct exchange *x)
{
    return !client_of(x)->blocked;
}

static void fake_again(struct exchange *x)
{
    client_of(x)->again++;
}

static void fake_want_request(struct exchange *x)
{
    client_of(x)->wants = true;
}

static void fake_tunnel(struct exchange *x)
{
    client_of(x)->tunnelled = true;
    client_of(x)->sent_bytes = 0;
}

static void fake_done(struct exchange *x, bool cut)
{
    struct client *c = client_of(x);
    assert_int_equal(x->state, EXCHANGE_DONE);
    assert_true(cut || c->ends == 1); /* whole answers have an end */
    c->dones++;
    c->cut = cut;
    c->reason = x->reason;
    c->x = NULL;
}

static const struct front_ops fake_front = {
    .name = "fake",
    .interim = fake_interim,
    .head = fake_head,
    .data = fake_data,
    .end = fake_end,
    .is_flushed = fake_is_flushed,
    .again = fake_again,
    .want_request = fake_want_request,
    .tunnel = fake_tunnel,
    .done = fake_done,
};

/* ---- what a client does ---- */

static void parse_request(struct exchange *x, const char *head)
{
    struct h1_parser parser = {0};
    struct h1_limits limits = {8192, 32768, 64};
    char text[2048];
    int n = snprintf(text, sizeof text, "%sHost: sim\r\n\r\n", head);
    x->req.base = text;
    int got = h1_parse_request(&parser, text, (size_t)n, &limits, &x->req);
    assert_int_equal(got, n);
    x->req.head_len = (uint32_t)got;
    assert_true(message_keep(&x->req, &x->arena));
}

void stage_set_client(struct stage *st, const char *ip)
{
    assert_true(cidr_ip_parse(str_of(ip), st->client_ip));
}

struct client *client_send(struct stage *st, const char *head)
{
    assert_true(st->client_count < CLIENTS_MAX);
    struct client *c = &st->clients[st->client_count++];
    c->st = st;
    c->writes_left = FOR_EVER;
    c->session.magic = SESSION_MAGIC;
    c->session.family = AF_INET;
    memcpy(c->session.ip, st->client_ip, 16);
    c->session.conn.fd = -1;
    c->session.pw = &st->pw;
    c->session.listener = SETTINGS_AT(st->settings->listeners, struct listener_settings, 0);
    struct exchange *x = c->x = exchange_create(&st->pw, &c->session, &fake_front);
    assert_non_null(x);
    parse_request(x, head);
    bool body = x->req.framing == BODY_CHUNKED || x->req.content_length;
    x->request_ended = !body; /* a front knows it before it starts */
    exchange_start(x);
    if (!body && c->x)
        exchange_request_end(x, NULL);
    stage_turn(st);
    return c;
}

size_t client_body(struct client *c, size_t n)
{
    char piece[4096];
    size_t all = 0;
    while (all < n && c->x && exchange_can_take(c->x) && c->x) {
        size_t k = n - all < sizeof piece ? n - all : sizeof piece;
        fill_bytes(piece, k, c->sent_bytes);
        c->sent_bytes += k;
        all += k;
        exchange_request_data(c->x, piece, k);
        if (c->x)
            note_memory(c->x);
    }
    c->stopped = all < n;
    if (c->stopped)
        c->wants = false;
    stage_turn(c->st);
    return all;
}

void client_end(struct client *c, bool trailers)
{
    struct h1_parser parser = {0};
    struct h1_limits limits = {8192, 32768, 64};
    struct field fields[8];
    struct message m;
    static const char text[] = "X-Sum: 1\r\n\r\n";
    message_init(&m, fields, 8);
    m.base = text;
    m.head_len = (uint32_t)h1_parse_fields(&parser, text, sizeof text - 1, &limits, false, &m);
    if (c->x)
        exchange_request_end(c->x, trailers ? &m : NULL);
    stage_turn(c->st);
}

void client_leave(struct client *c)
{
    c->gone = c->session.broken = true;
    if (c->x)
        exchange_request_failed(c->x, REASON_CLIENT_GONE);
    stage_turn(c->st);
}

void client_unblock(struct client *c, int writes)
{
    c->blocked = false;
    c->writes_left = writes;
    if (c->x)
        exchange_front_ready(c->x);
    stage_turn(c->st);
}

/* ---- the fake back: takes the place of back_h1.c ---- */

static struct attempt *attempt_in(struct exchange *x)
{
    struct attempt *a = x->back_state;
    CHECK_MAGIC(a, ATTEMPT_MAGIC);
    assert_ptr_equal(a->x, x);
    return a;
}

static enum reason fake_start(struct exchange *x)
{
    struct stage *st = (struct stage *)x->pw;
    enum reason why = REASON_OK;
    if (st->refuse_count) {
        why = st->refuse[0];
        memmove(st->refuse, st->refuse + 1, (size_t)--st->refuse_count * sizeof *st->refuse);
    }
    if (why != REASON_OK)
        return why;
    assert_true(st->attempt_count < ATTEMPTS_MAX);
    struct attempt *a = &st->attempts[st->attempt_count++];
    *a = (struct attempt){.magic = ATTEMPT_MAGIC,
                          .st = st,
                          .x = x,
                          .endpoint = endpoint_id(x->endpoint),
                          .slot = x->endpoint->slot,
                          .fresh = x->fresh_uplink,
                          .writes_left = FOR_EVER};
    x->back_state = a;
    return REASON_OK;
}

static size_t fake_back_data(struct exchange *x, const char *p, size_t n, bool last)
{
    struct attempt *a = attempt_in(x);
    (void)last;
    assert_int_equal(a->ends, 0);
    assert_true(n > 0);
    if (!a->connected || a->blocked)
        return 0;
    check_bytes(p, n, a->got_bytes);
    a->got_bytes += n;
    if (a->writes_left > 0 && --a->writes_left == 0)
        a->blocked = true;
    return n;
}

static void fake_back_end(struct exchange *x, struct message *trailers)
{
    struct attempt *a = attempt_in(x);
    assert_int_equal(a->ends, 0);
    a->ends++;
    a->has_trailers = trailers != NULL;
}

static bool fake_back_is_flushed(struct exchange *x)
{
    return !attempt_in(x)->blocked;
}

static void fake_want_response(struct exchange *x)
{
    struct attempt *a = attempt_in(x);
    a->wants = a->turn = true;
}

static void let_go(struct attempt *a)
{
    struct exchange *x = a->x;
    a->x = NULL;
    x->back_state = NULL;
    exchange_endpoint_done(x);
}

static void fake_abort(struct exchange *x)
{
    struct attempt *a = attempt_in(x);
    a->aborts++;
    let_go(a);
}

#define FAKE_BACK                                                                                            \
    {                                                                                                        \
        .name = "fake", .start = fake_start, .data = fake_back_data, .end = fake_back_end,                   \
        .is_flushed = fake_back_is_flushed, .want_response = fake_want_response, .abort = fake_abort         \
    }

/* The linker takes these and leaves the real ones in their archive. */
const struct back_ops back_h1 = FAKE_BACK, back_fcgi = FAKE_BACK;

/* ---- what a server does ---- */

struct attempt *attempt_of(struct client *c)
{
    return c->x ? c->x->back_state : NULL;
}

void server_connect(struct attempt *a)
{
    a->connected = true;
    exchange_connected(a->x);
    exchange_back_ready(a->x);
    stage_turn(a->st);
}

static int parse_answer(struct attempt *a, uint16_t status, const char *fields, char *text, size_t cap,
                        struct message *m)
{
    struct h1_parser parser = {0};
    struct h1_limits limits = {8192, 32768, 64};
    int n = snprintf(text, cap, "HTTP/1.1 %u Sim\r\n%s\r\n", status, fields);
    m->base = text;
    int got = h1_parse_response(&parser, text, (size_t)n, &limits, (enum http_method)a->x->req.method, m);
    m->head_len = (uint32_t)got;
    return got - n;
}

void server_interim(struct attempt *a, uint16_t status)
{
    char text[256];
    struct field fields[16];
    struct message m;
    message_init(&m, fields, 16);
    assert_int_equal(parse_answer(a, status, "", text, sizeof text, &m), 0);
    a->x->interim_count++;
    exchange_interim(a->x, &m);
    stage_turn(a->st);
}

void server_head(struct attempt *a, uint16_t status, const char *lines)
{
    char text[1024];
    struct field fields[16];
    struct message m;
    message_init(&m, fields, 16);
    assert_int_equal(parse_answer(a, status, lines, text, sizeof text, &m), 0);
    if (exchange_response(a->x, &m))
        assert_non_null(a->x);
    stage_turn(a->st);
}

size_t server_body(struct attempt *a, size_t n)
{
    char piece[4096];
    size_t all = 0;
    while (all < n && a->x && exchange_can_give(a->x)) {
        size_t k = n - all < sizeof piece ? n - all : sizeof piece;
        fill_bytes(piece, k, a->sent_bytes);
        a->sent_bytes += k;
        all += k;
        exchange_response_data(a->x, piece, k, false);
        if (a->x)
            note_memory(a->x);
    }
    a->stopped = all < n;
    if (a->stopped)
        a->wants = false;
    stage_turn(a->st);
    return all;
}

void server_end(struct attempt *a, bool trailers)
{
    struct exchange *x = a->x;
    struct field fields[4];
    char text[64];
    struct message m;
    struct writer w;
    message_init(&m, fields, 4);
    writer_init(&w, text, sizeof text);
    reply_field(&m, &w, STR("X-Sum"), STR("1"));
    let_go(a);
    exchange_response_end(x, trailers ? &m : NULL);
    stage_turn(a->st);
}

void server_half_close(struct attempt *a)
{
    exchange_response_end(a->x, NULL);
    stage_turn(a->st);
}

void server_fail(struct attempt *a, enum reason why, bool sent, bool reused)
{
    struct exchange *x = a->x;
    let_go(a);
    exchange_attempt_failed(x, why, sent, reused);
    stage_turn(a->st);
}

void server_unblock(struct attempt *a, int writes)
{
    a->blocked = false;
    a->writes_left = writes;
    exchange_back_ready(a->x);
    stage_turn(a->st);
}

void server_answer(struct attempt *a, size_t n)
{
    char lines[64];
    snprintf(lines, sizeof lines, "Content-Length: %zu\r\n", n);
    server_connect(a);
    server_head(a, 200, lines);
    assert_int_equal(server_body(a, n), n);
    server_end(a, false);
}
