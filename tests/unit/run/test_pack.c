/* Payload helpers: what goes in comes out, nothing is read beyond the end, a full packer says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/buf.h"
#include "run/channel.h"
#include "run/wake.h"

static void values_come_back(void **state)
{
    (void)state;
    struct packer p = {.len = 0};
    uint64_t v;
    struct str s;
    pack_u64(&p, UINT64_MAX - 1);
    pack_str(&p, STR("member 7"));
    pack_str(&p, STR(""));
    struct str in = pack_result(&p);
    assert_true(unpack_u64(&in, &v) && v == UINT64_MAX - 1);
    assert_true(unpack_str(&in, &s) && str_eq(s, STR("member 7")));
    assert_true(unpack_str(&in, &s) && s.n == 0);
    assert_int_equal(in.n, 0);
    assert_false(p.overflow);
}

static void buffer_has_the_same_form(void **state)
{
    (void)state;
    struct packer p = {.len = 0};
    struct buf b;
    buf_init(&b);
    pack_u64(&p, 5);
    pack_str(&p, STR("x"));
    buf_pack_u64(&b, 5);
    buf_pack_str(&b, STR("x"));
    assert_true(str_eq(pack_result(&p), buf_str(&b)));
    buf_fini(&b);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct packer p = {.len = 0};
    uint64_t v;
    struct str s;
    pack_u64(&p, 1);
    pack_str(&p, STR("abc"));
    for (size_t n = 0; n < p.len; n++) {
        struct str in = str_make(p.bytes, n);
        assert_false(unpack_u64(&in, &v) && unpack_str(&in, &s));
    }
}

static void length_beyond_the_end_is_refused(void **state)
{
    (void)state;
    struct str s, in = STR("\xff\xff\xff\xff"
                           "abc");
    assert_false(unpack_str(&in, &s));
}

static void a_full_packer_says_so_and_stays_whole(void **state)
{
    (void)state;
    static char big[sizeof((struct packer *)0)->bytes];
    struct packer p = {.len = 0};
    pack_str(&p, str_make(big, sizeof big - 4)); /* exactly full */
    assert_false(p.overflow);
    pack_str(&p, STR(""));
    assert_true(p.overflow);
    struct packer q = {.len = 0};
    pack_str(&q, str_make(big, sizeof big - 3)); /* one byte too many */
    assert_true(q.overflow);
    assert_int_equal(q.len, 0);
}

static void a_wake_travels_whole_or_not_at_all(void **state)
{
    (void)state;
    const struct wake w = {.kind = WAKE_SATURATED,
                           .cluster = STR("shop/1/1/web:http"),
                           .slot = 77,
                           .request = STR("abc"),
                           .route_ns = 1234567890123};
    struct wake got;
    struct packer p;
    uint32_t slot;
    enum wake_kind kind;
    wake_pack(&w, &p);
    assert_true(wake_unpack(pack_result(&p), WAKE_SATURATED, &got));
    assert_true(str_eq(got.cluster, w.cluster) && str_eq(got.request, w.request));
    assert_true(got.slot == w.slot && got.route_ns == w.route_ns && got.kind == w.kind);
    for (size_t n = 0; n < p.len; n++)
        assert_false(wake_unpack(str_make(p.bytes, n), WAKE_HELD, &got));
    wake_ack_pack(&w, &p);
    assert_true(wake_ack_unpack(pack_result(&p), &slot, &kind));
    assert_true(slot == 77 && kind == WAKE_SATURATED);
    for (size_t n = 0; n < p.len; n++)
        assert_false(wake_ack_unpack(str_make(p.bytes, n), &slot, &kind));
    p.bytes[8] = WAKE_KINDS;
    assert_false(wake_ack_unpack(pack_result(&p), &slot, &kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(buffer_has_the_same_form),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(length_beyond_the_end_is_refused),
        cmocka_unit_test(a_full_packer_says_so_and_stays_whole),
        cmocka_unit_test(a_wake_travels_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
