/* Records of TLS 1.3 against the published trace (RFC 8448 3), and against each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "net/tls_record.h"

static const unsigned char client_secret[32] = {
    0x9e, 0x40, 0x64, 0x6c, 0xe7, 0x9a, 0x7f, 0x9d, 0xc0, 0x5a, 0xf8, 0x88, 0x9b, 0xce, 0x65, 0x52,
    0x87, 0x5a, 0xfa, 0x0b, 0x06, 0xdf, 0x00, 0x87, 0xf7, 0x92, 0xeb, 0xb7, 0xc1, 0x75, 0x04, 0xa5};
static const unsigned char client_record[72] = {
    0x17, 0x03, 0x03, 0x00, 0x43, 0xa2, 0x3f, 0x70, 0x54, 0xb6, 0x2c, 0x94, 0xd0, 0xaf, 0xfa,
    0xfe, 0x82, 0x28, 0xba, 0x55, 0xcb, 0xef, 0xac, 0xea, 0x42, 0xf9, 0x14, 0xaa, 0x66, 0xbc,
    0xab, 0x3f, 0x2b, 0x98, 0x19, 0xa8, 0xa5, 0xb4, 0x6b, 0x39, 0x5b, 0xd5, 0x4a, 0x9a, 0x20,
    0x44, 0x1e, 0x2b, 0x62, 0x97, 0x4e, 0x1f, 0x5a, 0x62, 0x92, 0xa2, 0x97, 0x70, 0x14, 0xbd,
    0x1e, 0x3d, 0xea, 0xe6, 0x3a, 0xee, 0xbb, 0x21, 0x69, 0x49, 0x15, 0xe4};

static void the_published_record(void **state)
{
    struct tls_kit kit = {0};
    struct tls_half seals, opens;
    unsigned char data[50], out[TLS_SEAL_BYTES], opened[TLS_SEALED_MAX];
    int type = 0;
    (void)state;
    for (int i = 0; i < 50; i++)
        data[i] = (unsigned char)i;
    struct iovec iov[3] = {{data, 20}, {data + 20, 0}, {data + 20, 30}};
    assert_true(tls_half_init(&seals, client_secret, sizeof client_secret));
    assert_true(tls_half_init(&opens, client_secret, sizeof client_secret));
    assert_int_equal(tls_seal(&kit, &seals, TLS_AES_128, TLS_IS_DATA, iov, 3, out), sizeof client_record);
    assert_memory_equal(out, client_record, sizeof client_record);
    assert_int_equal(tls_record_bytes(client_record, sizeof client_record), sizeof client_record);
    assert_int_equal(tls_open(&kit, &opens, TLS_AES_128, client_record, sizeof client_record, opened, &type),
                     50);
    assert_memory_equal(opened, data, 50);
    assert_int_equal(type, TLS_IS_DATA);
    tls_half_fini(&kit, &seals, TLS_AES_128);
    tls_half_fini(&kit, &opens, TLS_AES_128);
    tls_kit_fini(&kit);
}

/* Two connections take turns with one kit, change their keys, and no context mixes them up. */
static void halves_share_a_kit(void **state)
{
    (void)state;
    for (int suite = 0; suite < TLS_SUITES; suite++) {
        struct tls_kit ours = {0}, theirs = {0};
        struct tls_half seals[2], opens[2];
        unsigned char secret[TLS_SECRET_BYTES], sealed[TLS_SEAL_BYTES], opened[TLS_SEALED_MAX];
        for (int i = 0; i < 2; i++) {
            memset(secret, i + 1, sizeof secret);
            assert_true(tls_half_init(&seals[i], secret, tls_suite_secret_bytes((enum tls_suite)suite)));
            assert_true(tls_half_init(&opens[i], secret, tls_suite_secret_bytes((enum tls_suite)suite)));
        }
        for (int i = 0; i < 40; i++) {
            int who = i % 3 == 0, type = 0;
            unsigned char text[16] = {(unsigned char)i, 'x'};
            struct iovec iov = {text, (size_t)(i % 17)};
            size_t n = tls_seal(&ours, &seals[who], (enum tls_suite)suite, TLS_IS_ALERT, &iov, 1, sealed);
            assert_int_equal(n, 5 + i % 17 + 1 + 16);
            assert_int_equal(tls_open(&theirs, &opens[who], (enum tls_suite)suite, sealed, n, opened, &type),
                             i % 17);
            assert_memory_equal(opened, text, (size_t)(i % 17));
            assert_int_equal(type, TLS_IS_ALERT);
            if (i % 7 == 0) {
                assert_true(tls_half_update(&ours, &seals[who], (enum tls_suite)suite));
                assert_true(tls_half_update(&theirs, &opens[who], (enum tls_suite)suite));
            }
        }
        for (int i = 0; i < 2; i++) {
            tls_half_fini(&ours, &seals[i], (enum tls_suite)suite);
            tls_half_fini(&theirs, &opens[i], (enum tls_suite)suite);
        }
        tls_kit_fini(&ours);
        tls_kit_fini(&theirs);
    }
}

/* Every bit counts, of the head too, and a record is good once. */
static void a_bit_and_a_repetition(void **state)
{
    struct tls_kit kit = {0};
    struct tls_half h;
    unsigned char record[sizeof client_record], opened[TLS_SEALED_MAX];
    int type = 0;
    (void)state;
    for (size_t i = 3; i < sizeof record; i++) {
        memcpy(record, client_record, sizeof record);
        record[i] ^= (unsigned char)(1 << i % 8);
        assert_true(tls_half_init(&h, client_secret, sizeof client_secret));
        assert_int_equal(tls_open(&kit, &h, TLS_AES_128, record, sizeof record, opened, &type),
                         -TLS_ALERT_BAD_RECORD);
        tls_half_fini(&kit, &h, TLS_AES_128);
    }
    assert_true(tls_half_init(&h, client_secret, sizeof client_secret));
    assert_int_equal(tls_open(&kit, &h, TLS_AES_128, client_record, sizeof client_record, opened, &type), 50);
    assert_int_equal(tls_open(&kit, &h, TLS_AES_128, client_record, sizeof client_record, opened, &type),
                     -TLS_ALERT_BAD_RECORD);
    tls_half_fini(&kit, &h, TLS_AES_128);
    tls_kit_fini(&kit);
}

static void padding(void **state)
{
    struct tls_kit kit = {0};
    struct tls_half seals, opens;
    static unsigned char zeros[TLS_SEALED_MAX];
    unsigned char inner[2] = {'a', TLS_IS_DATA}, sealed[TLS_SEAL_BYTES], opened[TLS_SEALED_MAX];
    struct iovec padded[2] = {{inner, 2}, {zeros, 1000}}, nothing = {zeros, 8}, longest = {zeros, 16384};
    int type = 0;
    (void)state;
    assert_true(tls_half_init(&seals, client_secret, 32) && tls_half_init(&opens, client_secret, 32));
    size_t n = tls_seal(&kit, &seals, TLS_CHACHA, 0, padded, 2, sealed);
    assert_int_equal(tls_open(&kit, &opens, TLS_CHACHA, sealed, n, opened, &type), 1);
    assert_int_equal(type, TLS_IS_DATA);
    n = tls_seal(&kit, &seals, TLS_CHACHA, 0, &nothing, 1, sealed); /* zeros alone */
    assert_int_equal(tls_open(&kit, &opens, TLS_CHACHA, sealed, n, opened, &type), -TLS_ALERT_UNEXPECTED);
    n = tls_seal(&kit, &seals, TLS_CHACHA, TLS_IS_DATA, &longest, 1, sealed);
    assert_int_equal(n, TLS_SEAL_BYTES);
    assert_int_equal(tls_open(&kit, &opens, TLS_CHACHA, sealed, n, opened, &type), 16384);
    tls_half_fini(&kit, &seals, TLS_CHACHA);
    tls_half_fini(&kit, &opens, TLS_CHACHA);
    tls_kit_fini(&kit);
}

static void heads(void **state)
{
    static const struct {
        unsigned char head[5];
        size_t n;
        int want;
    } cases[] = {
        {{23, 3, 3, 0, 17}, 5, 22},
        {{23, 3, 3, 0, 16}, 5, -TLS_ALERT_BAD_RECORD}, /* not even a type */
        {{23, 3, 1, 0, 17}, 5, 22},                    /* the minor version means nothing */
        {{23, 2, 3, 0, 17}, 5, -TLS_ALERT_DECODE},
        {{23, 3, 3, 0x41, 0}, 5, 5 + 16640},
        {{23, 3, 3, 0x41, 1}, 5, -TLS_ALERT_OVERFLOW},
        {{22, 3, 3, 0, 17}, 5, -TLS_ALERT_UNEXPECTED}, /* nothing goes unsealed any more */
        {{20, 3, 3, 0, 1}, 1, -TLS_ALERT_UNEXPECTED},
        {{23, 3, 3, 0, 17}, 4, 0},
        {{0}, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(tls_record_bytes(cases[i].head, cases[i].n), cases[i].want);
}

static void suites(void **state)
{
    enum tls_suite suite;
    unsigned char secret[TLS_SECRET_BYTES + 1] = {0};
    struct tls_half h;
    (void)state;
    assert_true(tls_suite_of(0x1302, &suite) && suite == TLS_AES_256);
    assert_false(tls_suite_of(0x1304, &suite)); /* CCM */
    assert_false(tls_half_init(&h, secret, sizeof secret));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_record),
        cmocka_unit_test(halves_share_a_kit),
        cmocka_unit_test(a_bit_and_a_repetition),
        cmocka_unit_test(padding),
        cmocka_unit_test(heads),
        cmocka_unit_test(suites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
