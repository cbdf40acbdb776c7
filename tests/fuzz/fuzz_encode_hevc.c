/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <va/va.h>

#include "fuzz.h"
#include "../unit/hevc_app.h"

/*
 * A few pictures through H.265's `read` and `write`, with their states kept: the app's structs and
 * headers, then what an encoder is said to have made of it.
 *
 * Input, a picture: flags, then the structs from their first field that counts, cut short where
 * the input ends (the rest is zero), then headers and a packet, each with its size in front.
 */

#define MAX_PICTURES 6
#define MAX_HEADERS  8
#define MAX_BYTES    1024

enum {
    WITH_SEQUENCE = 1,
    RESET = 2,
    SMALL_ROOM = 4,
    TEN_BITS = 8,
    ANY_REQUEST = 16, /* `write` also after `read` refused */
};

#define SEQ_USED offsetof(VAEncSequenceParameterBufferHEVC, va_reserved)
#define PIC_SKIP offsetof(VAEncPictureParameterBufferHEVC, coded_buf)
#define PIC_USED offsetof(VAEncPictureParameterBufferHEVC, va_reserved)

static void *exact(const void *data, size_t size)
{
    void *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    return copy;
}

/* Bytes with their size in front, as heap memory of exactly that size. */
static uint8_t *take_bytes(struct fuzz_input *input, size_t *ret_size)
{
    uint8_t bytes[MAX_BYTES];

    *ret_size = fuzz_word(input) % (MAX_BYTES + 1);
    fuzz_take(input, bytes, *ret_size);
    return exact(bytes, *ret_size);
}

struct states {
    void *read, *write;
};

static void reset(struct states *states)
{
    free(states->read);
    free(states->write);
    states->read = calloc(1, encode_hevc.read_state_size);
    states->write = calloc(1, encode_hevc.write_state_size);
    if (!states->read || !states->write)
        abort();
}

static void run_write(struct fuzz_input *input, uint8_t flags, struct states *states,
                      const struct encode_request *request)
{
    struct encode_output output = {.room = flags & SMALL_ROOM ? 100 : 65536};
    struct encode_packet packet = {.qp = -1};
    uint8_t *bytes = take_bytes(input, &packet.size);

    packet.data = bytes;
    output.bytes = malloc(output.room);
    if (!output.bytes)
        abort();
    /* Headers and slices do not grow without end. */
    if (encode_hevc.write(states->write, request, &packet, &output) == 0 && output.size > 65536)
        abort();
    free(output.bytes);
    free(bytes);
}

static void run_picture(struct fuzz_input *input, struct states *states)
{
    uint8_t flags = fuzz_byte(input), slices = fuzz_byte(input) % 4;
    VAEncSequenceParameterBufferHEVC seq = {0};
    VAEncPictureParameterBufferHEVC pic = {0};
    VAEncSliceParameterBufferHEVC slice = {0};
    const void *slice_list[3] = {&slice, &slice, &slice};
    struct encode_header headers[MAX_HEADERS];
    uint8_t *bytes[MAX_HEADERS];
    struct encode_request *request = calloc(1, sizeof(*request));
    struct encode_picture picture = {
        .profile = flags & TEN_BITS ? VAProfileHEVCMain10 : VAProfileHEVCMain,
        .param = {flags & WITH_SEQUENCE ? &seq : NULL, &pic},
        .slices = slice_list,
        .slice_count = slices,
        .headers = headers,
    };

    if (!request)
        abort();
    if (flags & RESET)
        reset(states);
    if (flags & WITH_SEQUENCE)
        fuzz_take(input, &seq, SEQ_USED);
    fuzz_take(input, (uint8_t *)&pic + PIC_SKIP, PIC_USED - PIC_SKIP);
    fuzz_take(input, &pic.decoded_curr_pic.pic_order_cnt, 4);
    slice.slice_type = fuzz_byte(input);
    slice.slice_qp_delta = (int8_t)fuzz_byte(input);
    picture.width = fuzz_word(input);
    picture.height = fuzz_word(input);
    picture.header_count = fuzz_byte(input) % (MAX_HEADERS + 1);
    for (uint32_t i = 0; i < picture.header_count; i++) {
        size_t size;

        headers[i].type = VAEncPackedHeaderRawData;
        headers[i].escaped = fuzz_byte(input) & 1;
        headers[i].bytes = bytes[i] = take_bytes(input, &size);
        headers[i].bits = (uint32_t)(8 * size);
    }
    if (encode_hevc.read(states->read, &picture, request) == 0 || flags & ANY_REQUEST)
        run_write(input, flags, states, request);
    for (uint32_t i = 0; i < picture.header_count; i++)
        free(bytes[i]);
    free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.data = data, .size = size};
    struct states states = {0};

    reset(&states);
    for (unsigned i = 0; i < MAX_PICTURES && input.size > 0; i++)
        run_picture(&input, &states);
    free(states.read);
    free(states.write);
    return 0;
}

/* libx265: 64x64, CTU 32, min CB 8, TU 4 to 32, depths 0. */
static const uint8_t idr_packet[] = {
    0x00, 0x00, 0x00, 0x01, 0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00,
    0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x1e, 0xba, 0x02, 0x40, 0x00, 0x00, 0x00, 0x01,
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
    0x00, 0x1e, 0xa0, 0x20, 0x81, 0x05, 0x96, 0xea, 0xe4, 0xc2, 0x30, 0x16, 0x80, 0x80, 0x00, 0x00,
    0x03, 0x00, 0x80, 0x00, 0x00, 0x0c, 0x84, 0x00, 0x00, 0x00, 0x01, 0x44, 0x01, 0xc0, 0x71, 0x81,
    0x12, 0x00, 0x00, 0x01, 0x28, 0x01, 0xac, 0x16, 0x60, 0x3b, 0x92, 0x13, 0x7d, 0x68, 0xdf, 0x7b,
    0x6c, 0x55, 0xce, 0x15, 0xcc, 0x8d, 0xff, 0x71, 0x13, 0xf4, 0x95, 0x5e, 0x9e, 0x56, 0x61, 0xfa,
    0x54, 0xe8, 0xad, 0x70, 0x00, 0x4a, 0x08, 0x7f, 0xe9, 0xbe, 0x0f, 0xc0, 0x61, 0xe6, 0x08, 0xbc,
    0x27, 0x97, 0x70, 0x75, 0x79, 0x2d, 0x98, 0xdf, 0x68, 0x1d, 0x78, 0x0f, 0x12, 0xbf, 0x3a, 0xc2,
    0xf3, 0x27, 0x13, 0xd4, 0xb2, 0x95, 0xfa, 0x63, 0x52, 0xb7, 0x1a, 0xfb, 0x11, 0x4d, 0xd6, 0xa8,
    0xad, 0x07, 0x31, 0x44, 0x4f, 0x83, 0x1b, 0x92, 0x72, 0x50, 0x96, 0x3d, 0xa4, 0xd8, 0x68, 0x39,
    0x17, 0x61, 0xc6, 0x6a, 0x29, 0x0b, 0x56, 0x09, 0x62, 0x95, 0xdc, 0x53, 0x67, 0x91, 0x8d, 0x22,
    0xf1, 0x36, 0x16, 0x59, 0xde, 0x50, 0x30, 0x46, 0x5b, 0x8f, 0x7d, 0xd4, 0xee, 0x14, 0x68, 0x43,
    0x61, 0xd9, 0xae, 0x4d, 0x66, 0x7f, 0x90, 0xea, 0x57, 0xbc, 0xf5, 0x74, 0xf9, 0xe0, 0xa4, 0x00,
    0x2b, 0x44, 0x21, 0x20, 0x45, 0x62, 0x31, 0x54, 0xa8, 0x26, 0x1d, 0xe3, 0x10, 0x89, 0xf7, 0xc2,
    0xc4, 0xd9, 0xd8, 0x31, 0xa1, 0x80, 0x60, 0xc0, 0x10, 0xea, 0xdf, 0xb6, 0xac, 0xb0, 0xf7, 0x1e,
    0x43, 0xa9, 0xb3, 0xa3, 0xce, 0xc0, 0x56, 0xeb, 0x2d, 0xf5, 0x5b, 0xfd, 0x78, 0xe3, 0x87, 0xfc,
};
static const uint8_t p_packet[] = {
    0x00, 0x00, 0x00, 0x01, 0x02, 0x01, 0xd0, 0x09, 0x71, 0x01, 0x96, 0x46, 0xaf,
};

static void put_bytes(struct fuzz_writer *w, const void *bytes, size_t size)
{
    fuzz_put_word(w, (uint16_t)size);
    fuzz_put(w, bytes, size);
}

/* A key picture, then ones that refer to it. */
size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {.at = buffer, .room = room};
    static struct app app;
    struct app_config config = {
        .style = (enum app_style)(index % 4),
        .width = 64,
        .height = 64,
        .depth = 8,
        .chroma = 1,
        .log2_ctb = 5,
        .log2_min_cb = 3,
        .log2_max_tb = 5,
        .init_qp = 40,
        .poc_step = 1,
        .slices = 1,
        .dpb = 1,
        .odd = index & 4,
        .sao = index & 4,
        .tmvp = index & 4,
        .cb = index & 8 ? 1 : 0,
        .weighted = index & 8,
    };

    if (index >= 16)
        return 0;
    app_init(&app, &config);
    for (unsigned i = 0; i < 3; i++) {
        const struct encode_picture *p =
            app_picture(&app, i ? HEVC_NAL_TRAIL_R : HEVC_NAL_IDR_W_RADL, i == 0);

        fuzz_put_byte(&w, i ? 0 : WITH_SEQUENCE);
        fuzz_put_byte(&w, 1);
        if (!i)
            fuzz_put(&w, &app.seq, SEQ_USED);
        fuzz_put(&w, (uint8_t *)&app.pic + PIC_SKIP, PIC_USED - PIC_SKIP);
        fuzz_put(&w, &app.pic.decoded_curr_pic.pic_order_cnt, 4);
        fuzz_put_byte(&w, app.slice[0].slice_type);
        fuzz_put_byte(&w, 0);
        fuzz_put_word(&w, 64);
        fuzz_put_word(&w, 64);
        fuzz_put_byte(&w, (uint8_t)p->header_count);
        for (uint32_t k = 0; k < p->header_count; k++) {
            fuzz_put_byte(&w, p->headers[k].escaped);
            put_bytes(&w, p->headers[k].bytes, p->headers[k].bits / 8);
        }
        if (i)
            put_bytes(&w, p_packet, sizeof(p_packet));
        else
            put_bytes(&w, idr_packet, sizeof(idr_packet));
    }
    return w.used;
}
