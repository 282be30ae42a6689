/* h2_guard: what a client may send how often, and in which order (rows T1, T3, T5, T13). */
#include "support.h"

#include "http/h2_guard.h"

#define DATA     0
#define HEADERS  1
#define PRIORITY 2
#define RST      3
#define PING     6
#define CONTINUE 9
#define END      1
#define WHOLE    4 /* END_HEADERS */

struct wire {
    char bytes[4096];
    size_t n;
};

static void put(struct wire *w, unsigned type, unsigned flags, uint32_t id, size_t length)
{
    char *p = w->bytes + w->n;
    assert_true(w->n + 9 + length <= sizeof w->bytes);
    memset(p, 0, 9 + length);
    p[1] = (char)(length >> 8);
    p[2] = (char)length;
    p[3] = (char)type;
    p[4] = (char)flags;
    p[7] = (char)(id >> 8);
    p[8] = (char)id;
    w->n += 9 + length;
}

static void begin(struct h2_guard *g, struct wire *w)
{
    memset(g, 0, sizeof *g);
    h2_budget_init(&g->resets, 3, 1);
    h2_budget_init(&g->control, 3, 0);
    h2_guard_init(g, 2);
    memset(w->bytes, 'p', 24); /* the preface is for somebody else to check */
    w->n = 24;
}

/* In pieces of every size; all must end at the same byte. */
static size_t look(struct h2_guard *g, const struct wire *w)
{
    size_t whole = 0;
    for (size_t step = 1; step <= w->n; step++) {
        struct h2_guard mine = *g;
        size_t at = 0;
        while (at < w->n) {
            size_t n = w->n - at < step ? w->n - at : step,
                   used = h2_guard_look(&mine, w->bytes + at, n, 1000);
            at += used;
            if (mine.flood || mine.code)
                break;
            assert_int_equal(used, n);
        }
        if (step == 1)
            whole = at;
        assert_int_equal(at, whole);
        if (step == w->n)
            *g = mine;
    }
    return whole;
}

static void budgets_hold_at_and_above(void **state)
{
    (void)state;
    static const struct {
        unsigned type, flags;
        size_t length;
        unsigned allowed;
    } cases[] = {{RST, 0, 4, 3}, {PING, 0, 8, 3}, {0xbb, 0, 1, 3}, {DATA, 0, 0, 3}, {PRIORITY, 0, 5, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned more = 0; more <= 1; more++) {
            struct h2_guard g;
            struct wire w;
            begin(&g, &w);
            put(&w, HEADERS, WHOLE, 1, 3);
            for (unsigned n = 0; n < cases[i].allowed + more; n++)
                put(&w, cases[i].type, cases[i].flags, cases[i].type == RST ? 2 * n + 101 : 1,
                    cases[i].length);
            if (cases[i].type == PRIORITY)
                w.bytes[w.n - 5] = 0;
            look(&g, &w);
            assert_int_equal(g.flood, more);
        }
}

static void tokens_come_back_with_time_and_honest_work(void **state)
{
    (void)state;
    struct h2_budget b;
    h2_budget_init(&b, 2, 10);
    assert_true(h2_budget_take(&b, 1000) && h2_budget_take(&b, 1000));
    assert_false(h2_budget_take(&b, 1099));
    assert_true(h2_budget_take(&b, 1100));
    assert_false(h2_budget_take(&b, 1100));
    h2_budget_give(&b, 5); /* no more than the burst */
    assert_true(h2_budget_take(&b, 1100) && h2_budget_take(&b, 1100));
    assert_false(h2_budget_take(&b, 1100));
}

static void a_quarter_of_the_burst_is_a_strain(void **state)
{
    (void)state;
    struct h2_budget b;
    h2_budget_init(&b, 8, 10);
    assert_false(h2_budget_is_strained(&b, 1000));
    assert_true(h2_budget_take(&b, 1000) && h2_budget_take(&b, 1000));
    assert_false(h2_budget_is_strained(&b, 1000)); /* at it */
    assert_true(h2_budget_take(&b, 1000));
    assert_true(h2_budget_is_strained(&b, 1000));
    assert_true(h2_budget_is_strained(&b, 1099));
    assert_false(h2_budget_is_strained(&b, 1100)); /* time alone makes up for it */
    h2_budget_give(&b, 1);
    assert_false(h2_budget_is_strained(&b, 1000));
}

/* A client that opens its windows after every frame, all at once, because we were slow to read: no flood, up
 * to two updates for each frame that we sent; beyond that they cost what others do. */
static void updates_of_windows_are_paid_for_by_data(void **state)
{
    struct h2_guard g;
    struct wire w;
    (void)state;
    begin(&g, &w);
    for (int i = 0; i < 10; i++)
        h2_guard_sent_data(&g);
    for (int i = 0; i < 20 + 3; i++)
        put(&w, 8, 0, 1, 4);
    assert_int_equal(h2_guard_look(&g, w.bytes, w.n, 1000), w.n);
    assert_false(g.flood);
    w.n = 0;
    put(&w, 8, 0, 1, 4);
    h2_guard_look(&g, w.bytes, w.n, 1000);
    assert_true(g.flood);
}

static void continuations_are_counted_by_block(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 3; count++) {
        struct h2_guard g;
        struct wire w;
        begin(&g, &w);
        for (uint32_t id = 1; id <= 3; id += 2) {
            put(&w, HEADERS, 0, id, 1);
            for (unsigned i = 1; i <= count; i++)
                put(&w, CONTINUE, i == count ? WHOLE : 0, id, 1);
        }
        look(&g, &w);
        assert_int_equal(g.flood, count > 2);
    }
}

/* RFC 9113 5.1, 5.1.1, 6.3 */
static void streams_have_an_order(void **state)
{
    (void)state;
    static const struct {
        struct {
            unsigned type, flags;
            uint32_t id;
            size_t length;
        } frames[4];
        uint32_t code;
    } cases[] = {
        {{{HEADERS, WHOLE | END, 1, 1}, {HEADERS, WHOLE | END, 3, 1}}, 0},
        {{{HEADERS, WHOLE, 1, 1}, {DATA, 0, 1, 5}, {DATA, END, 1, 5}}, 0},
        {{{HEADERS, WHOLE, 1, 1}, {DATA, 0, 1, 5}, {HEADERS, WHOLE | END, 1, 5}}, 0},
        {{{HEADERS, WHOLE | END, 1, 1}, {DATA, 0, 1, 5}}, 5},
        {{{HEADERS, WHOLE | END, 1, 1}, {HEADERS, WHOLE | END, 1, 5}}, 5},
        {{{HEADERS, WHOLE, 1, 1}, {RST, 0, 1, 4}, {DATA, 0, 1, 5}}, 5},
        {{{HEADERS, WHOLE | END, 5, 1}, {HEADERS, WHOLE | END, 3, 1}}, 1},
        {{{HEADERS, WHOLE | END, 5, 1}, {DATA, END, 3, 1}}, 1},
        {{{HEADERS, WHOLE | END, 1001, 1}, {DATA, END, 3, 1}}, 0}, /* too long ago to know */
        {{{PRIORITY, 0, 0, 5}}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct h2_guard g;
        struct wire w;
        begin(&g, &w);
        for (size_t f = 0; f < 4 && (f == 0 || cases[i].frames[f].id); f++)
            put(&w, cases[i].frames[f].type, cases[i].frames[f].flags, cases[i].frames[f].id,
                cases[i].frames[f].length);
        look(&g, &w);
        assert_int_equal(g.code, cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budgets_hold_at_and_above),
        cmocka_unit_test(tokens_come_back_with_time_and_honest_work),
        cmocka_unit_test(a_quarter_of_the_burst_is_a_strain),
        cmocka_unit_test(updates_of_windows_are_paid_for_by_data),
        cmocka_unit_test(continuations_are_counted_by_block),
        cmocka_unit_test(streams_have_an_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
