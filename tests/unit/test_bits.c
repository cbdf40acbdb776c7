/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <viaduct/errors.h>

#include "bitstream/bits.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Memory of exactly `size` bytes, so that sanitizers see one byte too many. */
static uint8_t *exact(const void *data, size_t size)
{
    uint8_t *copy = malloc(size);

    assert_true(size == 0 || copy);
    if (data && size)
        memcpy(copy, data, size);
    return copy;
}

/* H.264 table 9-2 and 9-3, and the ends of the range. */
static const struct {
    uint32_t ue;
    int32_t se;
    unsigned length;
} codes[] = {
    {0, 0, 1},
    {1, 1, 3},
    {2, -1, 3},
    {3, 2, 5},
    {6, -3, 5},
    {7, 4, 7},
    {254, -127, 15},
    {255, 128, 17},
    {65534, -32767, 31},
    {65535, 32768, 33},
    {UINT32_MAX - 2, INT32_MAX, 63},
    {UINT32_MAX - 1, -INT32_MAX, 63},
};

static void test_codes_round_trip(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < COUNT(codes); i++) {
        /* With 0 to 7 bits in front: every alignment. */
        for (unsigned shift = 0; shift < 8; shift++) {
            uint8_t data[24];
            struct bits_writer writer;
            struct bits_reader reader;

            bits_write_init(&writer, data, sizeof(data));
            bits_write(&writer, shift, 0x55);
            bits_write_ue(&writer, codes[i].ue);
            bits_write_se(&writer, codes[i].se);
            bits_write(&writer, 5, 0x16);
            bits_write_trailing(&writer);
            assert_false(writer.error);
            assert_int_equal(writer.used, (shift + 2 * codes[i].length + 5 + 8) / 8);

            bits_read_init(&reader, data, writer.used, false);
            assert_int_equal(bits_read(&reader, shift), 0x55 & ((1u << shift) - 1));
            assert_int_equal(bits_read_ue(&reader), codes[i].ue);
            assert_int_equal(reader.position, shift + codes[i].length);
            assert_int_equal(bits_read_se(&reader), codes[i].se);
            assert_int_equal(bits_read(&reader, 5), 0x16);
            assert_int_equal(bits_read(&reader, 1), 1);
            assert_false(reader.error);
        }
    }
}

static void test_fixed_round_trip(void **unused)
{
    uint8_t data[128];
    struct bits_writer writer;
    struct bits_reader reader;

    (void)unused;
    bits_write_init(&writer, data, sizeof(data));
    /* Bits above the width are dropped. */
    for (unsigned n = 0; n <= 32; n++)
        bits_write(&writer, n, UINT32_C(0xdeadbeef) + n);
    bits_write_trailing(&writer);
    assert_false(writer.error);
    bits_read_init(&reader, data, writer.used, false);
    for (unsigned n = 0; n <= 32; n++)
        assert_int_equal(bits_read(&reader, n),
                         (UINT32_C(0xdeadbeef) + n) & (UINT64_C(0xffffffff) >> (32 - n)));
    assert_int_equal(reader.position, 32 * 33 / 2);
    assert_false(reader.error);
}

static void test_trailing(void **unused)
{
    uint8_t data[2];
    struct bits_writer writer;

    (void)unused;
    /* On a byte boundary a whole byte is added (7.3.2.11). */
    bits_write_init(&writer, data, sizeof(data));
    bits_write(&writer, 8, 0x12);
    bits_write_trailing(&writer);
    assert_int_equal(writer.used, 2);
    assert_int_equal(data[1], 0x80);
    bits_write_init(&writer, data, sizeof(data));
    bits_write(&writer, 7, 0x12);
    bits_write_trailing(&writer);
    assert_int_equal(writer.used, 1);
    assert_int_equal(data[0], 0x25);
}

static void test_overrun_is_sticky(void **unused)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff};
    uint8_t *data = exact(bytes, sizeof(bytes));
    struct bits_reader reader;

    (void)unused;
    bits_read_init(&reader, data, sizeof(bytes), true);
    assert_int_equal(bits_read(&reader, 20), 0xfffff);
    assert_false(reader.error);
    assert_int_equal(bits_read(&reader, 5), 0);
    assert_true(reader.error);
    /* There were four bits left; they are gone. */
    assert_int_equal(bits_read(&reader, 1), 0);
    assert_int_equal(bits_read_ue(&reader), 0);
    assert_int_equal(bits_read_se(&reader), 0);
    assert_true(reader.error);
    free(data);

    bits_read_init(&reader, NULL, 0, true);
    assert_int_equal(bits_read_ue(&reader), 0);
    assert_true(reader.error);
    bits_read_init(&reader, bytes, sizeof(bytes), false);
    assert_int_equal(bits_read(&reader, 33), 0);
    assert_true(reader.error);
}

static void test_illegal_codes(void **unused)
{
    static const uint8_t zeros32[] = {0, 0, 0, 0, 0x80, 0, 0, 0, 0x80};
    static const uint8_t cut[] = {0x00, 0x01};
    struct bits_reader reader;

    (void)unused;
    bits_read_init(&reader, zeros32, sizeof(zeros32), false);
    assert_int_equal(bits_read_ue(&reader), 0);
    assert_true(reader.error);
    bits_read_init(&reader, cut, sizeof(cut), false);
    assert_int_equal(bits_read_ue(&reader), 0);
    assert_true(reader.error);
}

static void test_writer_overflow_is_sticky(void **unused)
{
    uint8_t *data = exact(NULL, 3);
    struct bits_writer writer;

    (void)unused;
    bits_write_init(&writer, data, 3);
    bits_write(&writer, 24, 0x123456);
    assert_false(writer.error);
    bits_write(&writer, 8, 0x78);
    assert_true(writer.error);
    bits_write(&writer, 1, 1);
    bits_write_ue(&writer, 7);
    bits_write_trailing(&writer);
    assert_true(writer.error);
    assert_int_equal(writer.used, 3);
    assert_memory_equal(data, "\x12\x34\x56", 3);
    free(data);

    bits_write_init(&writer, NULL, 0);
    bits_write_trailing(&writer);
    assert_true(writer.error);
}

static void test_values_without_code(void **unused)
{
    uint8_t data[32];
    struct bits_writer writer;

    (void)unused;
    bits_write_init(&writer, data, sizeof(data));
    bits_write_ue(&writer, UINT32_MAX);
    assert_true(writer.error);
    bits_write_init(&writer, data, sizeof(data));
    bits_write_se(&writer, INT32_MIN);
    assert_true(writer.error);
    bits_write_init(&writer, data, sizeof(data));
    bits_write(&writer, 33, 0);
    assert_true(writer.error);
}

/* 7.4.1: what must not stand in a NAL unit, and what it becomes. */
static const struct {
    uint8_t rbsp[8];
    size_t rbsp_size;
    uint8_t nal[12];
    size_t nal_size;
} escapes[] = {
    {{0x65}, 1, {0x65}, 1},
    {{1, 0, 1}, 3, {1, 0, 1}, 3},
    {{1, 0, 0, 0, 1}, 5, {1, 0, 0, 3, 0, 1}, 6},
    {{1, 0, 0, 1}, 4, {1, 0, 0, 3, 1}, 5},
    {{1, 0, 0, 2}, 4, {1, 0, 0, 3, 2}, 5},
    {{1, 0, 0, 3}, 4, {1, 0, 0, 3, 3}, 5},
    {{1, 0, 0, 4}, 4, {1, 0, 0, 4}, 4},
    {{1, 0, 0, 0, 0, 0, 0, 1}, 8, {1, 0, 0, 3, 0, 0, 3, 0, 0, 3, 1}, 11},
    {{1, 0, 0}, 3, {1, 0, 0, 3}, 4},
    {{1, 0, 0, 0, 0}, 5, {1, 0, 0, 3, 0, 0, 3}, 7},
};

static void test_escape(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < COUNT(escapes); i++) {
        size_t size = 0;
        uint8_t *nal;
        struct bits_reader reader;

        for (size_t room = 0; room < escapes[i].nal_size; room++) {
            nal = exact(NULL, room);
            assert_int_equal(bits_escape(escapes[i].rbsp, escapes[i].rbsp_size, nal, room, &size),
                             VD_ERR_LIMIT);
            free(nal);
        }
        assert_int_equal(size, 0);
        nal = exact(NULL, escapes[i].nal_size);
        assert_int_equal(
            bits_escape(escapes[i].rbsp, escapes[i].rbsp_size, nal, escapes[i].nal_size, &size), 0);
        assert_int_equal(size, escapes[i].nal_size);
        assert_memory_equal(nal, escapes[i].nal, size);

        bits_read_init(&reader, nal, size, true);
        for (size_t j = 0; j < escapes[i].rbsp_size; j++)
            assert_int_equal(bits_read(&reader, 8), escapes[i].rbsp[j]);
        assert_false(reader.error);
        assert_int_equal(reader.position, 8 * escapes[i].rbsp_size);
        bits_read(&reader, 1);
        assert_true(reader.error);
        free(nal);
    }
}

static void test_start_code_ends_nal(void **unused)
{
    static const uint8_t three[] = {0x65, 0, 0, 1, 0xff};
    static const uint8_t four[] = {0x65, 0, 0, 0, 1, 0xff};
    struct bits_reader reader;

    (void)unused;
    bits_read_init(&reader, three, sizeof(three), true);
    assert_int_equal(bits_read(&reader, 24), 0x650000);
    bits_read(&reader, 1);
    assert_true(reader.error);
    bits_read_init(&reader, four, sizeof(four), true);
    assert_int_equal(bits_read(&reader, 32), 0x65000000);
    bits_read(&reader, 1);
    assert_true(reader.error);
    /* Not so where nothing is escaped. */
    bits_read_init(&reader, three, sizeof(three), false);
    assert_int_equal(bits_read(&reader, 32), 0x65000001);
    assert_int_equal(bits_read(&reader, 8), 0xff);
    assert_false(reader.error);
}

/* A walk over random fields, through emulation prevention and back; the seed is fixed. */
static void test_random_walk(void **unused)
{
    uint32_t seed = 1;

    (void)unused;
    for (unsigned round = 0; round < 200; round++) {
        uint8_t rbsp[600], nal[900];
        uint8_t kind[64];
        uint32_t value[64];
        struct bits_writer writer;
        struct bits_reader reader;
        size_t size;

        bits_write_init(&writer, rbsp, sizeof(rbsp));
        for (unsigned i = 0; i < 64; i++) {
            seed = seed * 1664525 + 1013904223;
            kind[i] = seed >> 26 & 3;
            /* Many zeros, so that there is something to escape. */
            value[i] = kind[i] == 3 ? 0 : seed >> (seed >> 28);
            if (kind[i] == 0)
                bits_write(&writer, 32, value[i]);
            else if (kind[i] == 1)
                bits_write_ue(&writer, value[i] / 2);
            else if (kind[i] == 2)
                bits_write_se(&writer, (int32_t)value[i] / 2);
            else
                bits_write(&writer, 23, 0);
        }
        bits_write_trailing(&writer);
        assert_false(writer.error);
        assert_int_equal(bits_escape(rbsp, writer.used, nal, sizeof(nal), &size), 0);
        for (size_t i = 2; i < size; i++)
            assert_false(nal[i - 2] == 0 && nal[i - 1] == 0 && nal[i] < 3);

        bits_read_init(&reader, nal, size, true);
        for (unsigned i = 0; i < 64; i++) {
            if (kind[i] == 0)
                assert_int_equal(bits_read(&reader, 32), value[i]);
            else if (kind[i] == 1)
                assert_int_equal(bits_read_ue(&reader), value[i] / 2);
            else if (kind[i] == 2)
                assert_int_equal(bits_read_se(&reader), (int32_t)value[i] / 2);
            else
                assert_int_equal(bits_read(&reader, 23), 0);
        }
        assert_int_equal(bits_read(&reader, 1), 1);
        assert_false(reader.error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes_round_trip),
        cmocka_unit_test(test_fixed_round_trip),
        cmocka_unit_test(test_trailing),
        cmocka_unit_test(test_overrun_is_sticky),
        cmocka_unit_test(test_illegal_codes),
        cmocka_unit_test(test_writer_overflow_is_sticky),
        cmocka_unit_test(test_values_without_code),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_start_code_ends_nal),
        cmocka_unit_test(test_random_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
