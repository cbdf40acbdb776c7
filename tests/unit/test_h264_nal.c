/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "encode/h264_nal.h"

/* NAL units of H.264: found, escaped, and slices whose header changes. */

#define MOST 600

static void test_next(void **state)
{
    static const uint8_t bytes[] = {9, 9, 0, 0, 0, 1, 0x67, 1,    2, 0, 0, 1, 0x68, 3, 0,
                                    0, 0, 0, 1, 0, 0, 1,    0x65, 0, 0, 3, 1, 0,    0};
    struct h264_nals nals = {.size = sizeof(bytes), .escaped = true};
    uint8_t *copy = check_exact(bytes, sizeof(bytes));
    struct h264_nal nal;

    (void)state;
    nals.data = copy;
    assert_true(h264_nal_next(&nals, &nal));
    assert_int_equal(nal.size, 3);
    assert_memory_equal(nal.data, "\x67\1\2", 3);
    assert_true(h264_nal_next(&nals, &nal));
    assert_int_equal(nal.size, 2);
    assert_memory_equal(nal.data, "\x68\3", 2);
    assert_true(h264_nal_next(&nals, &nal));
    assert_int_equal(nal.size, 5);
    assert_memory_equal(nal.data, "\x65\0\0\3\1", 5);
    assert_false(h264_nal_next(&nals, &nal));
    assert_false(h264_nal_next(&nals, &nal));
    /* One NAL unit, whatever is in it. */
    nals = (struct h264_nals){.data = copy, .size = sizeof(bytes)};
    assert_true(h264_nal_next(&nals, &nal));
    assert_int_equal(nal.size, sizeof(bytes) - 6 - 2);
    assert_false(h264_nal_next(&nals, &nal));
    free(copy);
}

static void test_put_raw(void **state)
{
    static const uint8_t raw[] = {0x67, 0, 0, 1, 0, 0, 0, 0, 0, 3, 7};
    static const uint8_t escaped[] = {0, 0, 0, 1, 0x67, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 0, 3, 7};
    uint8_t bytes[64];
    struct encode_output output = {.bytes = bytes, .room = sizeof(bytes)};
    struct h264_nal nal = {.data = raw, .size = sizeof(raw)};

    (void)state;
    h264_nal_put(&output, &nal);
    assert_int_equal(output.size, sizeof(escaped));
    assert_memory_equal(bytes, escaped, sizeof(escaped));
    /* Without room it is counted. */
    output = (struct encode_output){.bytes = bytes, .room = 5};
    h264_nal_put(&output, &nal);
    assert_int_equal(output.size, sizeof(escaped));
}

/* Few different bytes: much that has to be escaped. */
static uint32_t low_bits(uint64_t *seed)
{
    static const uint8_t bytes[] = {0, 0, 0, 0, 0, 1, 2, 3, 3, 4, 0x80, 0xff};

    return bytes[check_random(seed) % COUNT(bytes)];
}

/* The payload stays the same, bit for bit, under a header of another length. */
static void test_put_slice(void **state)
{
    uint64_t seed = 3;

    (void)state;
    for (unsigned n = 0; n < 30000; n++) {
        uint8_t from[MOST], escaped[MOST * 2], header[64], out[MOST * 3], *exact;
        unsigned old_bits = 8 + (unsigned)(check_random(&seed) % 60);
        unsigned new_bits = 8 + (unsigned)(check_random(&seed) % 60);
        unsigned payload = 1 + (unsigned)(check_random(&seed) % (n % 16 ? 30 : 400));
        bool aligned = check_random(&seed) & 1;
        struct encode_output output = {.bytes = out, .room = sizeof(out)};
        struct bits_reader ours, theirs;
        struct bits_writer w;
        struct h264_nals nals = {.data = out, .escaped = true};
        struct h264_nal nal = {.escaped = true};
        uint64_t bits;

        bits_write_init(&w, from, sizeof(from));
        for (unsigned i = 0; i < old_bits; i++)
            bits_write(&w, 1, i == 0 || check_random(&seed) % 8 == 0);
        if (aligned)
            bits_write(&w, (8 - w.count) & 7, 0xff);
        bits = w.used * 8 + w.count;
        for (unsigned i = 0; i < payload; i++)
            bits_write(&w, 8, low_bits(&seed));
        bits_write_trailing(&w);
        assert_int_equal(bits_escape(from, w.used, escaped, sizeof(escaped), &nal.size), 0);
        exact = check_exact(escaped, nal.size);
        nal.data = exact;
        bits_read_init(&theirs, exact, nal.size, true);
        for (uint64_t i = 0; i < bits; i++)
            bits_read(&theirs, 1);

        bits_write_init(&w, header, sizeof(header));
        for (unsigned i = 0; i < new_bits; i++)
            bits_write(&w, 1, i == 0 || check_random(&seed) % 8 == 0);
        h264_nal_put_slice(&output, &w, &nal, old_bits, aligned);
        nals.size = output.size;
        assert_true(h264_nal_next(&nals, &nal));
        assert_ptr_equal(nal.data, out + 4);
        assert_int_equal(nal.size, output.size - 4); /* no zeros at the end, no start codes */
        bits_read_init(&ours, nal.data, nal.size, true);
        for (uint64_t i = 0; i < (aligned ? (new_bits + 7) / 8 * 8 : new_bits); i++)
            bits_read(&ours, 1);
        for (unsigned i = 0; i < payload; i++)
            assert_int_equal(bits_read(&ours, 8), bits_read(&theirs, 8));
        assert_int_equal(bits_read(&ours, 1), 1);
        assert_false(ours.error || theirs.error);
        while (ours.position % 8)
            assert_int_equal(bits_read(&ours, 1), 0);
        bits_read(&ours, 1);
        assert_true(ours.error);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_put_raw),
        cmocka_unit_test(test_put_slice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
