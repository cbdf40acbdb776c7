/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_H264_FIXTURE_H
#define VIADUCT_TEST_H264_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <va/va.h>

#include "bitstream/bits.h"
#include "bitstream/bitstream.h"

/*
 * For test_h264.c: writes slices, lays them out in a block of exactly their size, has a picture
 * built and reads the parameter sets back.
 */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MAX_SLICES   4
#define MAX_PPS      4

/* A slice to be written: header fields in the order of 7.3.3, and VA's word on the references. */
struct slice_spec {
    uint8_t nal_header;
    uint8_t type;
    uint32_t pps_id, frame_num;
    bool bottom;
    uint32_t idr_pic_id, poc_lsb;
    int32_t delta_bottom, delta[2];
    bool override;
    uint8_t va_l0, va_l1;
    const char *prefix; /* raw bytes instead of the slice, or in front of it */
    size_t prefix_size;
    bool prefix_only;
};

struct sps {
    uint32_t profile, level, id, chroma, depth, chroma_depth, log2_frame_num, poc_type, log2_lsb;
    uint32_t always_zero, cycle, ref_frames, gaps, width, height, mbs_only, mbaff, direct;
    int32_t non_ref, top_to_bottom, offset[256];
    uint32_t reorder, buffering;
};

struct pps {
    uint32_t id, cabac, pic_order, l0, l1, weighted, bipred, deblocking, intra, redundant, t8x8;
    int32_t qp, qs, chroma, chroma2;
    uint32_t scaling;
    uint8_t list[8][64]; /* in the order of the bits */
};

/* What the builder wrote in front of the slices. */
struct headers {
    unsigned sps_count, pps_count;
    struct sps sps;
    struct pps pps[MAX_PPS];
    size_t slices; /* offset of the first slice's start code */
};

struct fixture {
    void *state;
    VAPictureParameterBufferH264 param;
    VAIQMatrixBufferH264 matrix;
    bool send_matrix;
    VASliceParameterBufferH264 slice_param[MAX_SLICES];
    struct va_slice slices[MAX_SLICES];
    uint8_t *block;
    size_t block_size;
    uint32_t context_height;
    struct bitstream_packet packet;
    struct headers headers;
};

static const struct slice_spec idr = {.nal_header = 0x65, .type = 7, .poc_lsb = 3};
static const struct slice_spec p = {.nal_header = 0x41, .type = 5, .frame_num = 9, .va_l0 = 2};

/* Distinct values wherever they are free. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->state = calloc(1, bitstream_h264.state_size);
    assert_non_null(f->state);
    f->param.picture_width_in_mbs_minus1 = 21;
    f->param.picture_height_in_mbs_minus1 = 17;
    f->param.num_ref_frames = 5;
    f->param.seq_fields.bits.chroma_format_idc = 1;
    f->param.seq_fields.bits.frame_mbs_only_flag = 1;
    f->param.seq_fields.bits.direct_8x8_inference_flag = 1;
    f->param.seq_fields.bits.log2_max_frame_num_minus4 = 6;
    f->param.seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 = 7;
    f->param.pic_init_qp_minus26 = -13;
    f->param.pic_init_qs_minus26 = 8;
    f->param.chroma_qp_index_offset = -2;
    f->param.second_chroma_qp_index_offset = 4;
    f->param.pic_fields.bits.weighted_bipred_idc = 2;
    f->param.pic_fields.bits.transform_8x8_mode_flag = 1;
    f->context_height = 288;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    free(f->block);
    free(f->state);
    free(f);
    return 0;
}

/* Writes the NAL unit of `spec` as the picture's parameters demand; returns its size. */
static size_t write_slice(const struct fixture *f, const struct slice_spec *spec, uint8_t *nal)
{
    uint32_t type = spec->type % 5;
    bool field = f->param.pic_fields.bits.field_pic_flag;
    struct bits_writer w;
    uint8_t rbsp[128];
    size_t size;

    if (spec->prefix)
        memcpy(nal, spec->prefix, spec->prefix_size);
    if (spec->prefix_only)
        return spec->prefix_size;
    bits_write_init(&w, rbsp, sizeof(rbsp));
    bits_write(&w, 8, spec->nal_header);
    bits_write_ue(&w, 0);
    bits_write_ue(&w, spec->type);
    bits_write_ue(&w, spec->pps_id);
    bits_write(&w, f->param.seq_fields.bits.log2_max_frame_num_minus4 + 4, spec->frame_num);
    if (!f->param.seq_fields.bits.frame_mbs_only_flag)
        bits_write(&w, field ? 2 : 1, (field ? 2u : 0u) | spec->bottom);
    if ((spec->nal_header & 31) == 5)
        bits_write_ue(&w, spec->idr_pic_id);
    if (f->param.seq_fields.bits.pic_order_cnt_type == 0) {
        bits_write(&w, f->param.seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 + 4,
                   spec->poc_lsb);
        if (f->param.pic_fields.bits.pic_order_present_flag && !field)
            bits_write_se(&w, spec->delta_bottom);
    }
    if (f->param.seq_fields.bits.pic_order_cnt_type == 1 &&
        !f->param.seq_fields.bits.delta_pic_order_always_zero_flag) {
        bits_write_se(&w, spec->delta[0]);
        if (f->param.pic_fields.bits.pic_order_present_flag && !field)
            bits_write_se(&w, spec->delta[1]);
    }
    if (f->param.pic_fields.bits.redundant_pic_cnt_present_flag)
        bits_write_ue(&w, 0);
    if (type == 1)
        bits_write(&w, 1, 1);
    if (type == 0 || type == 1 || type == 3)
        bits_write(&w, 1, spec->override);
    bits_write(&w, 32, 0x12345678); /* the rest matters to nobody here */
    bits_write_trailing(&w);
    assert_false(w.error);
    assert_int_equal(
        bits_escape(rbsp, w.used, nal + spec->prefix_size, 256 - spec->prefix_size, &size), 0);
    return spec->prefix_size + size;
}

static void read_sps(struct bits_reader *r, struct sps *s)
{
    s->profile = bits_read(r, 8);
    assert_int_equal(bits_read(r, 8), 0);
    s->level = bits_read(r, 8);
    s->id = bits_read_ue(r);
    s->chroma = bits_read_ue(r);
    if (s->chroma == 3)
        assert_int_equal(bits_read(r, 1), 0);
    s->depth = bits_read_ue(r);
    s->chroma_depth = bits_read_ue(r);
    assert_int_equal(bits_read(r, 2), 0);
    s->log2_frame_num = bits_read_ue(r);
    s->poc_type = bits_read_ue(r);
    if (s->poc_type == 0)
        s->log2_lsb = bits_read_ue(r);
    if (s->poc_type == 1) {
        s->always_zero = bits_read(r, 1);
        s->non_ref = bits_read_se(r);
        s->top_to_bottom = bits_read_se(r);
        s->cycle = bits_read_ue(r);
        assert_in_range(s->cycle, 0, 255);
        for (uint32_t i = 0; i < s->cycle; i++)
            s->offset[i] = bits_read_se(r);
    }
    s->ref_frames = bits_read_ue(r);
    s->gaps = bits_read(r, 1);
    s->width = bits_read_ue(r);
    s->height = bits_read_ue(r);
    s->mbs_only = bits_read(r, 1);
    s->mbaff = s->mbs_only ? 0 : bits_read(r, 1);
    s->direct = bits_read(r, 1);
    assert_int_equal(bits_read(r, 1), 0); /* cropping */
    assert_int_equal(bits_read(r, 1), 1); /* VUI */
    assert_int_equal(bits_read(r, 9), 1); /* only a bitstream restriction */
    assert_int_equal(bits_read(r, 3), 7); /* vectors over boundaries, no limits */
    assert_int_equal(bits_read_ue(r), 15);
    assert_int_equal(bits_read_ue(r), 15);
    s->reorder = bits_read_ue(r);
    s->buffering = bits_read_ue(r);
}

static void read_pps(struct bits_reader *r, const struct sps *sps, struct pps *s)
{
    s->id = bits_read_ue(r);
    assert_int_equal(bits_read_ue(r), 0);
    s->cabac = bits_read(r, 1);
    s->pic_order = bits_read(r, 1);
    assert_int_equal(bits_read_ue(r), 0);
    s->l0 = bits_read_ue(r);
    s->l1 = bits_read_ue(r);
    s->weighted = bits_read(r, 1);
    s->bipred = bits_read(r, 2);
    s->qp = bits_read_se(r);
    s->qs = bits_read_se(r);
    s->chroma = bits_read_se(r);
    s->deblocking = bits_read(r, 1);
    s->intra = bits_read(r, 1);
    s->redundant = bits_read(r, 1);
    s->t8x8 = bits_read(r, 1);
    s->scaling = bits_read(r, 1);
    for (unsigned i = 0; s->scaling && i < (s->t8x8 ? 8u : 6u); i++) {
        uint32_t last = 8;

        assert_int_not_equal(sps->chroma, 3);
        assert_int_equal(bits_read(r, 1), 1);
        for (unsigned j = 0; j < (i < 6 ? 16 : 64); j++) {
            last = (last + (uint32_t)bits_read_se(r)) & 255;
            assert_int_not_equal(last, 0);
            s->list[i][j] = (uint8_t)last;
        }
    }
    s->chroma2 = bits_read_se(r);
}

/* Reads SPS and PPS up to the first slice. */
static void read_headers(const struct bitstream_packet *packet, struct headers *h)
{
    static const uint8_t code[4] = {0, 0, 0, 1};
    size_t at = 0;

    while (at + 5 < packet->size) {
        uint8_t type = packet->data[at + 4] & 31;
        struct bits_reader r;

        if (memcmp(packet->data + at, code, 4) != 0 || (type != 7 && type != 8))
            break;
        bits_read_init(&r, packet->data + at + 4, packet->size - at - 4, true);
        assert_int_equal(bits_read(&r, 8), 0x60 | type);
        if (type == 7) {
            /* An SPS comes first or not at all. */
            assert_int_equal(h->sps_count + h->pps_count, 0);
            h->sps_count++;
            read_sps(&r, &h->sps);
        } else {
            assert_in_range(h->pps_count, 0, MAX_PPS - 1);
            read_pps(&r, &h->sps, &h->pps[h->pps_count++]);
        }
        assert_int_equal(bits_read(&r, 1), 1);
        while (r.position % 8)
            assert_int_equal(bits_read(&r, 1), 0);
        assert_false(r.error);
        at += 5;
        while (at + 4 <= packet->size && memcmp(packet->data + at, code, 3) != 0)
            at++;
    }
    h->slices = at;
}

/* Lays the slices out in a block of exactly their size and builds. */
static int build(struct fixture *f, const struct slice_spec *specs, unsigned count)
{
    static uint8_t nal[MAX_SLICES][256];
    struct va_picture picture = {.width = 352, .height = f->context_height, .slices = f->slices};
    size_t sizes[MAX_SLICES], at = BITSTREAM_HEAD_ROOM;
    struct sps sps = f->headers.sps; /* stays in force until another one comes */
    int err;

    assert_in_range(count, 0, MAX_SLICES);
    f->block_size = BITSTREAM_HEAD_ROOM;
    for (unsigned i = 0; i < count; i++) {
        sizes[i] = write_slice(f, &specs[i], nal[i]);
        f->block_size += BITSTREAM_SLICE_GAP + sizes[i];
    }
    free(f->block);
    f->block = malloc(f->block_size);
    assert_non_null(f->block);
    memset(f->block, 0xee, f->block_size);
    for (unsigned i = 0; i < count; i++) {
        at += BITSTREAM_SLICE_GAP;
        memcpy(f->block + at, nal[i], sizes[i]);
        f->slice_param[i].num_ref_idx_l0_active_minus1 = specs[i].va_l0;
        f->slice_param[i].num_ref_idx_l1_active_minus1 = specs[i].va_l1;
        f->slices[i] = (struct va_slice){
            .param = &f->slice_param[i], .data = f->block + at, .size = (uint32_t)sizes[i]};
        at += sizes[i];
    }
    picture.slice_count = count;
    picture.head = f->block;
    picture.param[VA_PARAM_PICTURE] = &f->param;
    picture.param[VA_PARAM_IQ_MATRIX] = f->send_matrix ? &f->matrix : NULL;
    memset(&f->packet, 0x5a, sizeof(f->packet));
    err = bitstream_h264.build(f->state, &picture, &f->packet);
    memset(&f->headers, 0, sizeof(f->headers));
    f->headers.sps = sps;
    if (err)
        return err;
    assert_true(f->packet.data >= f->block);
    assert_true(f->packet.data + f->packet.size == f->block + f->block_size);
    read_headers(&f->packet, &f->headers);
    return 0;
}

static int build_one(struct fixture *f, struct slice_spec spec)
{
    return build(f, &spec, 1);
}

#endif
