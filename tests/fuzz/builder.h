/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_FUZZ_BUILDER_H
#define VIADUCT_FUZZ_BUILDER_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bitstream/bitstream.h"

/*
 * Runs a builder over a few pictures with the state kept between them, as the dispatcher would:
 * every struct and the block with the slices are heap memory of exactly their size.
 *
 * Input, a picture: flags, number of slices, size of the context, then structs and slices, each
 * cut short where the input ends (the rest is zero). A slice is its struct, a size and bytes.
 */

#define FUZZ_PICTURES    8
#define FUZZ_SLICES      8
#define FUZZ_SLICE_BYTES 64

enum {
    FUZZ_WITH_MATRIX = 1,
    FUZZ_RESET = 2,
    FUZZ_SANE = 4, /* the fields that are refused most often are put right */
};

struct fuzz_codec {
    const struct bitstream_builder *builder;
    size_t picture_size, matrix_size, slice_size; /* of the structs; what is reserved stays zero */
    size_t picture_used, matrix_used, slice_used; /* without what is reserved at their ends */
    void (*sane_picture)(void *picture);
    void (*sane_slice)(void *slice, uint32_t bytes);
};

struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_take(struct fuzz_input *input, void *target, size_t size)
{
    size_t have = size < input->size ? size : input->size;

    memset(target, 0, size);
    if (have == 0)
        return;
    memcpy(target, input->data, have);
    input->data += have;
    input->size -= have;
}

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    uint8_t byte;

    fuzz_take(input, &byte, 1);
    return byte;
}

static inline void *fuzz_zeroed(size_t size)
{
    void *memory = calloc(1, size ? size : 1);

    if (!memory)
        abort();
    return memory;
}

static inline void fuzz_picture(const struct fuzz_codec *codec, struct fuzz_input *input,
                                void *state)
{
    uint8_t flags = fuzz_byte(input), count = fuzz_byte(input) % (FUZZ_SLICES + 1);
    size_t gap = codec->builder->gap, at = BITSTREAM_HEAD_ROOM;
    uint8_t bytes[FUZZ_SLICES][FUZZ_SLICE_BYTES], *block;
    struct va_slice *slices = fuzz_zeroed(count * sizeof(*slices));
    struct va_picture picture = {.slices = slices, .slice_count = count};
    void *matrix = NULL, *param = fuzz_zeroed(codec->picture_size);
    struct bitstream_packet packet;

    if (flags & FUZZ_RESET)
        memset(state, 0, codec->builder->state_size);
    picture.width = fuzz_byte(input) * 32u;
    picture.height = fuzz_byte(input) * 32u;
    fuzz_take(input, param, codec->picture_used);
    if (flags & FUZZ_SANE)
        codec->sane_picture(param);
    picture.param[VA_PARAM_PICTURE] = param;
    if (flags & FUZZ_WITH_MATRIX) {
        matrix = fuzz_zeroed(codec->matrix_size);
        fuzz_take(input, matrix, codec->matrix_used);
        picture.param[VA_PARAM_IQ_MATRIX] = matrix;
    }
    for (uint8_t i = 0; i < count; i++) {
        void *slice = fuzz_zeroed(codec->slice_size);

        fuzz_take(input, slice, codec->slice_used);
        slices[i].size = fuzz_byte(input) % (FUZZ_SLICE_BYTES + 1);
        if (flags & FUZZ_SANE)
            codec->sane_slice(slice, slices[i].size);
        slices[i].param = slice;
        fuzz_take(input, bytes[i], slices[i].size);
        at += gap + slices[i].size;
    }
    block = fuzz_zeroed(at);
    memset(block, 0xee, at);
    picture.head = block;
    at = BITSTREAM_HEAD_ROOM;
    for (uint8_t i = 0; i < count; i++) {
        slices[i].data = block + at + gap;
        memcpy(slices[i].data, bytes[i], slices[i].size);
        at += gap + slices[i].size;
    }
    if (codec->builder->build(state, &picture, &packet) == 0) {
        void *copy;

        if (packet.data < block || packet.size == 0 || packet.data + packet.size > block + at ||
            packet.coded_width == 0 || packet.coded_height == 0)
            abort();
        copy = fuzz_zeroed(packet.size);
        memcpy(copy, packet.data, packet.size);
        free(copy);
    }
    for (uint8_t i = 0; i < count; i++)
        free((void *)(uintptr_t)slices[i].param);
    free(slices);
    free(param);
    free(matrix);
    free(block);
}

static inline void fuzz_builder(const struct fuzz_codec *codec, const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.data = data, .size = size};
    void *state = fuzz_zeroed(codec->builder->state_size);

    for (unsigned i = 0; i < FUZZ_PICTURES && input.size > 0; i++)
        fuzz_picture(codec, &input, state);
    free(state);
}

#endif
