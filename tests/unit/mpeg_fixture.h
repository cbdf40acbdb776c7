/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_MPEG_FIXTURE_H
#define VIADUCT_TEST_MPEG_FIXTURE_H

#include "check.h"

#include <va/va.h>

#include "bitstream/bits.h"
#include "bitstream/bitstream.h"

/*
 * For the tests of the MPEG-2, MPEG-4 and H.263 builders: lays slices out in a block of exactly
 * their size, has a picture built, and reads headers back.
 */

#define MPEG_SLICES 4

struct mpeg_fixture {
    const struct bitstream_builder *builder;
    void *state;
    const void *param, *matrix; /* matrix: NULL for none */
    size_t slice_param_size;
    struct va_slice slices[MPEG_SLICES]; /* param, data and size as the test wants them */
    uint32_t count;
    uint8_t *block;
    size_t block_size;
    struct bitstream_packet packet;
    struct bits_reader reader; /* on the packet */
};

static inline void mpeg_setup(struct mpeg_fixture *f, const struct bitstream_builder *builder)
{
    memset(f, 0, sizeof(*f));
    f->builder = builder;
    f->state = calloc(1, builder->state_size);
    assert_non_null(f->state);
}

static inline void mpeg_reset(struct mpeg_fixture *f)
{
    memset(f->state, 0, f->builder->state_size);
}

static inline void mpeg_teardown(struct mpeg_fixture *f)
{
    free(f->state);
    free(f->block);
}

static inline int mpeg_build(struct mpeg_fixture *f)
{
    struct va_slice slices[MPEG_SLICES];
    struct va_picture picture = {.width = 64, .height = 64, .slices = slices};
    size_t at = BITSTREAM_HEAD_ROOM;
    int err;

    f->block_size = BITSTREAM_HEAD_ROOM;
    for (uint32_t i = 0; i < f->count; i++)
        f->block_size += f->builder->gap + f->slices[i].size;
    free(f->block);
    f->block = malloc(f->block_size);
    assert_non_null(f->block);
    memset(f->block, 0xee, f->block_size);
    for (uint32_t i = 0; i < f->count; i++) {
        slices[i] = f->slices[i];
        at += f->builder->gap;
        slices[i].data = f->block + at;
        if (slices[i].size > 0)
            memcpy(slices[i].data, f->slices[i].data, slices[i].size);
        at += slices[i].size;
    }
    picture.slice_count = f->count;
    picture.head = f->block;
    picture.param[VA_PARAM_PICTURE] = f->param;
    picture.param[VA_PARAM_IQ_MATRIX] = f->matrix;
    memset(&f->packet, 0x5a, sizeof(f->packet));
    err = f->builder->build(f->state, &picture, &f->packet);
    if (err)
        return err;
    assert_true(f->packet.data >= f->block);
    assert_true(f->packet.data + f->packet.size <= f->block + f->block_size);
    bits_read_init(&f->reader, f->packet.data, f->packet.size, false);
    return 0;
}

static inline uint32_t mpeg_read(struct mpeg_fixture *f, unsigned n)
{
    return bits_read(&f->reader, n);
}

static inline void mpeg_expect(struct mpeg_fixture *f, unsigned n, uint32_t value)
{
    assert_int_equal(bits_read(&f->reader, n), value);
    assert_false(f->reader.error);
}

/* Zeros up to the byte boundary. */
static inline void mpeg_align(struct mpeg_fixture *f)
{
    while (f->reader.position % 8)
        mpeg_expect(f, 1, 0);
}

/* A zero and ones up to the byte boundary. */
static inline void mpeg_stuffing(struct mpeg_fixture *f)
{
    mpeg_expect(f, 1, 0);
    while (f->reader.position % 8)
        mpeg_expect(f, 1, 1);
}

#endif
