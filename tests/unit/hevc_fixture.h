/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_HEVC_FIXTURE_H
#define VIADUCT_TEST_HEVC_FIXTURE_H

#include <va/va.h>

#include "bitstream/bits.h"
#include "bitstream/bitstream.h"
#include "check.h"

/*
 * For test_hevc.c: writes slice segments, lays them out in a block of exactly their size, has a
 * picture built and reads all of the packet back.
 */

#define MAX_SLICES 4
#define MAX_REFS   15

enum { TRAIL_N = 0, TRAIL_R = 1, RADL_R = 7, RASL_N = 8, RASL_R = 9, BLA = 16, IDR = 19, CRA = 21 };
enum { SLICE_B = 0, SLICE_P = 1, SLICE_I = 2 };
enum set_kind { SET_SPS, SET_EXPLICIT, SET_PREDICTED };

/* A slice segment to be written, fields in the order of 7.3.6.1. */
struct slice_spec {
    uint8_t nal, tid;
    bool later; /* not the first of the picture */
    bool dependent;
    uint32_t pps_id, address;
    uint8_t type;
    enum set_kind set;
    uint32_t set_index; /* SET_SPS */
    uint8_t lt_sps, lt; /* long-term pictures from the SPS, and explicit ones */
    uint8_t active[2];  /* 0: the defaults */
    bool modified;
    uint8_t entry[2][MAX_REFS];
    bool weights;
    uint32_t entry_points, entry_value;
    uint8_t extension; /* bytes */
    bool no_alignment; /* the bit that must follow is 0 */
    const char *prefix;
    size_t prefix_size;
    uint8_t va_list[2][MAX_REFS]; /* RefPicList */
};

struct read_sps {
    uint32_t profile, constraints, chroma, width, height, depth, lsb, min_cb, diff_cb, min_tb,
        diff_tb;
    uint32_t inter, intra, scaling, amp, sao, pcm, pcm_depth[2], pcm_min, pcm_diff, pcm_filter;
    uint32_t temporal_mvp, smoothing, extension, range;
};

struct read_pps {
    uint32_t id, dependent, output, extra, hiding, cabac_init, l0, l1, constrained, skip, delta_qp;
    uint32_t delta_depth, chroma_offsets, weighted, bipred, bypass, tiles, wpp, columns, rows;
    uint32_t column[20], row[22], across_tiles, across_slices, override, disabled, scaling;
    uint32_t modification, merge, header_extension, extension;
    uint32_t skip_size, cross, offsets, offset_depth, offset_length, sao_luma, sao_chroma;
    int32_t qp, cb, cr, beta, tc, cb_list[6], cr_list[6];
    uint8_t list4x4[6][16], list[3][6][64], dc[2][6]; /* in the order of the bits */
};

struct read_ref {
    int32_t poc; /* relative to the picture; of a long-term one, its lower bits */
    bool used, msb;
    uint32_t cycle;
};

struct read_slice {
    uint32_t nal, tid, pps_id, lsb;
    uint32_t before, after, long_term;
    struct read_ref ref[2 * MAX_REFS];
};

struct fixture {
    void *state;
    VAPictureParameterBufferHEVCExtension param;
    bool ext;
    int profile;
    VAIQMatrixBufferHEVC matrix;
    bool send_matrix;
    VASliceParameterBufferHEVC slice_param[MAX_SLICES];
    struct va_slice slices[MAX_SLICES];
    uint8_t *block;
    size_t block_size;
    struct bitstream_packet packet;
    /* What was read back. */
    unsigned eos, vps_count, sps_count, pps_count, slice_count, filler;
    struct read_sps sps;
    struct read_pps pps;
    struct read_slice slice[MAX_SLICES];
};

/* Distinct values wherever they are free. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    VAPictureParameterBufferHEVC *p = &f->param.base;

    f->state = calloc(1, bitstream_hevc.state_size);
    f->profile = VAProfileHEVCMain;
    p->pic_width_in_luma_samples = 416;
    p->pic_height_in_luma_samples = 240;
    p->pic_fields.bits.chroma_format_idc = 1;
    p->log2_diff_max_min_luma_coding_block_size = 3;
    p->log2_diff_max_min_transform_block_size = 3;
    p->max_transform_hierarchy_depth_inter = 1;
    p->max_transform_hierarchy_depth_intra = 2;
    p->log2_max_pic_order_cnt_lsb_minus4 = 4;
    p->num_short_term_ref_pic_sets = 5;
    p->num_ref_idx_l0_default_active_minus1 = 2;
    p->num_ref_idx_l1_default_active_minus1 = 1;
    p->init_qp_minus26 = -3;
    p->pps_cb_qp_offset = 2;
    p->pps_cr_qp_offset = -4;
    p->pps_beta_offset_div2 = -2;
    p->pps_tc_offset_div2 = 3;
    p->log2_parallel_merge_level_minus2 = 1;
    p->pic_fields.bits.cu_qp_delta_enabled_flag = 1;
    p->diff_cu_qp_delta_depth = 1;
    p->slice_parsing_fields.bits.sps_temporal_mvp_enabled_flag = 1;
    p->slice_parsing_fields.bits.sample_adaptive_offset_enabled_flag = 1;
    /* Apps leave such things where a flag says that they mean nothing. */
    p->pcm_sample_bit_depth_luma_minus1 = 255;
    p->pcm_sample_bit_depth_chroma_minus1 = 255;
    p->log2_min_pcm_luma_coding_block_size_minus3 = 253;
    p->num_tile_columns_minus1 = 77;
    for (unsigned i = 0; i < MAX_REFS; i++) {
        p->ReferenceFrames[i].picture_id = VA_INVALID_SURFACE;
        p->ReferenceFrames[i].flags = VA_PICTURE_HEVC_INVALID;
    }
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

static void set_current(struct fixture *f, VASurfaceID surface, int32_t poc)
{
    f->param.base.CurrPic = (VAPictureHEVC){.picture_id = surface, .pic_order_cnt = poc};
}

static void set_ref(struct fixture *f, unsigned i, VASurfaceID surface, int32_t poc, uint32_t flags)
{
    f->param.base.ReferenceFrames[i] =
        (VAPictureHEVC){.picture_id = surface, .pic_order_cnt = poc, .flags = flags};
}

static void clear_refs(struct fixture *f)
{
    for (unsigned i = 0; i < MAX_REFS; i++)
        set_ref(f, i, VA_INVALID_SURFACE, 0, VA_PICTURE_HEVC_INVALID);
}

static unsigned bits_for(uint32_t n)
{
    unsigned bits = 0;

    while (1u << bits < n)
        bits++;
    return bits;
}

/* NumPicTotalCurr, as the app sees it. */
static unsigned total_curr(const struct fixture *f)
{
    unsigned n = 0;

    for (unsigned i = 0; i < MAX_REFS; i++)
        n += (f->param.base.ReferenceFrames[i].flags & 0x70) != 0;
    return n;
}

/* The bits behind the reference picture set, up to the alignment. */
static void write_rest(const struct fixture *f, const struct slice_spec *s, struct bits_writer *w)
{
    const VAPictureParameterBufferHEVC *p = &f->param.base;
    uint32_t n[2] = {s->active[0] ? s->active[0] : p->num_ref_idx_l0_default_active_minus1 + 1u,
                     s->active[1] ? s->active[1] : p->num_ref_idx_l1_default_active_minus1 + 1u};
    unsigned lists = s->type == SLICE_I ? 0 : s->type == SLICE_P ? 1 : 2;

    if (p->slice_parsing_fields.bits.sps_temporal_mvp_enabled_flag)
        bits_write(w, 1, 1);
    if (p->slice_parsing_fields.bits.sample_adaptive_offset_enabled_flag)
        bits_write(w, p->pic_fields.bits.chroma_format_idc ? 2 : 1, 1);
    if (lists) {
        bits_write(w, 1, s->active[0] != 0);
        for (unsigned i = 0; s->active[0] && i < lists; i++)
            bits_write_ue(w, n[i] - 1);
        if (p->slice_parsing_fields.bits.lists_modification_present_flag && total_curr(f) > 1) {
            for (unsigned i = 0; i < lists; i++) {
                bits_write(w, 1, s->modified);
                for (unsigned j = 0; s->modified && j < n[i]; j++)
                    bits_write(w, bits_for(total_curr(f)), s->entry[i][j]);
            }
        }
        if (lists == 2)
            bits_write(w, 1, 1); /* mvd_l1_zero_flag */
        if (p->slice_parsing_fields.bits.cabac_init_present_flag)
            bits_write(w, 1, 1);
        if (p->slice_parsing_fields.bits.sps_temporal_mvp_enabled_flag) {
            if (lists == 2)
                bits_write(w, 1, 0); /* collocated_from_l0_flag */
            if (n[lists - 1] > 1)
                bits_write_ue(w, 1);
        }
        if (lists == 2 ? p->pic_fields.bits.weighted_bipred_flag
                       : p->pic_fields.bits.weighted_pred_flag) {
            bits_write_ue(w, 6);
            if (p->pic_fields.bits.chroma_format_idc)
                bits_write_se(w, -1);
            for (unsigned i = 0; i < lists; i++) {
                unsigned numbers = 0;

                for (unsigned j = 0; j < n[i]; j++, numbers += 2 * (j & 1))
                    bits_write(w, 1, j & 1 ? 0 : 1);
                for (unsigned j = 0; p->pic_fields.bits.chroma_format_idc && j < n[i]; j++)
                    bits_write(w, 1, j & 1);
                for (unsigned j = 0; j < n[i]; j++) {
                    unsigned count = j & 1 ? (p->pic_fields.bits.chroma_format_idc ? 4 : 0) : 2;

                    while (count-- > 0)
                        bits_write_se(w, (int32_t)j - 40);
                }
            }
        }
        bits_write_ue(w, 2); /* five_minus_max_num_merge_cand */
    }
    bits_write_se(w, -7); /* slice_qp_delta */
    if (p->slice_parsing_fields.bits.pps_slice_chroma_qp_offsets_present_flag) {
        bits_write_se(w, 5);
        bits_write_se(w, -6);
    }
    if (f->ext && f->param.rext.range_extension_pic_fields.bits.chroma_qp_offset_list_enabled_flag)
        bits_write(w, 1, 1);
    if (p->slice_parsing_fields.bits.deblocking_filter_override_enabled_flag) {
        bits_write(w, 2, 2); /* override, not disabled */
        bits_write_se(w, 1);
        bits_write_se(w, -1);
    }
    if (p->pic_fields.bits.pps_loop_filter_across_slices_enabled_flag)
        bits_write(w, 1, 1);
    if (p->pic_fields.bits.tiles_enabled_flag ||
        p->pic_fields.bits.entropy_coding_sync_enabled_flag) {
        bits_write_ue(w, s->entry_points);
        if (s->entry_points)
            bits_write_ue(w, 31);
        for (uint32_t i = 0; i < s->entry_points; i++)
            bits_write(w, 32, s->entry_value + i);
    }
    if (p->slice_parsing_fields.bits.slice_segment_header_extension_present_flag) {
        bits_write_ue(w, s->extension);
        for (unsigned i = 0; i < s->extension; i++)
            bits_write(w, 8, 0);
    }
}

static void write_set(const struct fixture *f, const struct slice_spec *s, struct bits_writer *w)
{
    const VAPictureParameterBufferHEVC *p = &f->param.base;
    unsigned lsb_bits = p->log2_max_pic_order_cnt_lsb_minus4 + 4u;

    bits_write(w, lsb_bits, (uint32_t)p->CurrPic.pic_order_cnt);
    bits_write(w, 1, s->set == SET_SPS);
    if (s->set == SET_SPS) {
        bits_write(w, bits_for(p->num_short_term_ref_pic_sets), s->set_index);
    } else {
        if (p->num_short_term_ref_pic_sets)
            bits_write(w, 1, s->set == SET_PREDICTED);
        if (s->set == SET_PREDICTED) {
            /* As long as st_rps_bits says: what is in it nobody can read. */
            for (uint32_t i = 1; i < p->st_rps_bits && i < 100; i++)
                bits_write(w, 1, i & 1);
        } else {
            bits_write_ue(w, 2);
            bits_write_ue(w, 1);
            for (unsigned i = 0; i < 3; i++) {
                bits_write_ue(w, i);
                bits_write(w, 1, 1);
            }
        }
    }
    if (p->slice_parsing_fields.bits.long_term_ref_pics_present_flag) {
        if (p->num_long_term_ref_pic_sps)
            bits_write_ue(w, s->lt_sps);
        bits_write_ue(w, s->lt);
        for (unsigned i = 0; i < s->lt_sps + s->lt; i++) {
            if (i < s->lt_sps)
                bits_write(w, bits_for(p->num_long_term_ref_pic_sps), i);
            else
                bits_write(w, lsb_bits + 1, i);
            bits_write(w, 1, i & 1);
            if (i & 1)
                bits_write_ue(w, i);
        }
    }
}

static void write_start(const struct fixture *f, const struct slice_spec *s, struct bits_writer *w)
{
    const VAPictureParameterBufferHEVC *p = &f->param.base;

    bits_write(w, 16, (uint32_t)s->nal << 9 | (s->tid + 1u));
    bits_write(w, 1, !s->later);
    if (s->nal >= 16)
        bits_write(w, 1, 0);
    bits_write_ue(w, s->pps_id);
    if (s->later) {
        if (p->slice_parsing_fields.bits.dependent_slice_segments_enabled_flag)
            bits_write(w, 1, s->dependent);
        bits_write(w, 5, s->address); /* 7 x 4 coding tree blocks */
    }
    if (s->dependent)
        return;
    bits_write(w, p->num_extra_slice_header_bits, 1);
    bits_write_ue(w, s->type);
    if (p->slice_parsing_fields.bits.output_flag_present_flag)
        bits_write(w, 1, 1);
}

/* Starts with zeros and what looks like an escape: it must come out untouched. */
static const uint8_t payload[] = {0, 0, 3, 0, 0, 3, 1, 0x80, 0, 0, 3, 2, 0xff, 0x80};

static size_t write_slice(const struct fixture *f, const struct slice_spec *s, uint8_t *nal,
                          size_t room)
{
    struct bits_writer w;
    uint8_t rbsp[4096];
    size_t size;

    if (s->prefix_size)
        memcpy(nal, s->prefix, s->prefix_size);
    bits_write_init(&w, rbsp, sizeof(rbsp));
    write_start(f, s, &w);
    if (!s->dependent && s->nal != IDR)
        write_set(f, s, &w);
    if (!s->dependent)
        write_rest(f, s, &w);
    if (s->no_alignment)
        bits_write(&w, 1, 0);
    bits_write_trailing(&w);
    assert_false(w.error);
    assert_int_equal(bits_escape(rbsp, w.used, nal + s->prefix_size, room - s->prefix_size, &size),
                     0);
    size += s->prefix_size;
    memcpy(nal + size, payload, sizeof(payload));
    return size + sizeof(payload);
}

static void read_profile(struct bits_reader *r, struct read_sps *s)
{
    assert_int_equal(bits_read(r, 3), 0);
    s->profile = bits_read(r, 5);
    assert_int_equal(bits_read(r, 32), 1u << (31 - s->profile));
    assert_int_equal(bits_read(r, 4), 9);
    s->constraints = bits_read(r, 9);
    assert_int_equal(bits_read(r, 32) | bits_read(r, 3), 0);
    assert_int_equal(bits_read(r, 8), 186);
    assert_int_equal(bits_read(r, 16), 0);
}

static void read_ordering(struct bits_reader *r)
{
    assert_int_equal(bits_read(r, 1), 0);
    assert_int_equal(bits_read_ue(r), 15);
    assert_int_equal(bits_read_ue(r), 0);
    assert_int_equal(bits_read_ue(r), 0);
}

static void read_vps(struct bits_reader *r)
{
    struct read_sps ignored;

    assert_int_equal(bits_read(r, 16), 3 << 10 | 6 << 1);
    assert_int_equal(bits_read(r, 16), 0xffff);
    read_profile(r, &ignored);
    read_ordering(r);
    assert_int_equal(bits_read(r, 6), 0);
    assert_int_equal(bits_read_ue(r), 0);
    assert_int_equal(bits_read(r, 2), 0);
}

static void read_sps(struct bits_reader *r, struct read_sps *s)
{
    assert_int_equal(bits_read(r, 8), 6 << 1);
    read_profile(r, s);
    assert_int_equal(bits_read_ue(r), 0);
    s->chroma = bits_read_ue(r);
    if (s->chroma == 3)
        assert_int_equal(bits_read(r, 1), 0);
    s->width = bits_read_ue(r);
    s->height = bits_read_ue(r);
    assert_int_equal(bits_read(r, 1), 0);
    s->depth = bits_read_ue(r);
    assert_int_equal(bits_read_ue(r), s->depth);
    s->lsb = bits_read_ue(r);
    read_ordering(r);
    s->min_cb = bits_read_ue(r);
    s->diff_cb = bits_read_ue(r);
    s->min_tb = bits_read_ue(r);
    s->diff_tb = bits_read_ue(r);
    s->inter = bits_read_ue(r);
    s->intra = bits_read_ue(r);
    s->scaling = bits_read(r, 1);
    if (s->scaling)
        assert_int_equal(bits_read(r, 1), 0);
    s->amp = bits_read(r, 1);
    s->sao = bits_read(r, 1);
    s->pcm = bits_read(r, 1);
    if (s->pcm) {
        s->pcm_depth[0] = bits_read(r, 4);
        s->pcm_depth[1] = bits_read(r, 4);
        s->pcm_min = bits_read_ue(r);
        s->pcm_diff = bits_read_ue(r);
        s->pcm_filter = bits_read(r, 1);
    }
    assert_int_equal(bits_read_ue(r), 0); /* no sets */
    assert_int_equal(bits_read(r, 1), 1); /* long-term pictures */
    assert_int_equal(bits_read_ue(r), 0);
    s->temporal_mvp = bits_read(r, 1);
    s->smoothing = bits_read(r, 1);
    assert_int_equal(bits_read(r, 1), 0); /* no VUI */
    s->extension = bits_read(r, 1);
    if (s->extension) {
        assert_int_equal(bits_read(r, 8), 0x80);
        s->range = bits_read(r, 9);
    }
}

static void read_lists(struct bits_reader *r, struct read_pps *s)
{
    for (unsigned size = 0; size < 4; size++) {
        for (unsigned m = 0; m < 6; m += size == 3 ? 3 : 1) {
            uint8_t *list = size == 0 ? s->list4x4[m] : s->list[size - 1][m];
            int32_t next = 8;

            assert_int_equal(bits_read(r, 1), 1);
            if (size >= 2)
                next = s->dc[size - 2][m] = (uint8_t)(bits_read_se(r) + 8);
            for (unsigned i = 0; i < (size == 0 ? 16 : 64); i++) {
                next = (next + bits_read_se(r) + 256) % 256;
                list[i] = (uint8_t)next;
            }
        }
    }
}

static void read_pps(struct bits_reader *r, struct read_pps *s)
{
    memset(s, 0, sizeof(*s));
    s->id = bits_read_ue(r);
    assert_int_equal(bits_read_ue(r), 0);
    s->dependent = bits_read(r, 1);
    s->output = bits_read(r, 1);
    s->extra = bits_read(r, 3);
    s->hiding = bits_read(r, 1);
    s->cabac_init = bits_read(r, 1);
    s->l0 = bits_read_ue(r);
    s->l1 = bits_read_ue(r);
    s->qp = bits_read_se(r);
    s->constrained = bits_read(r, 1);
    s->skip = bits_read(r, 1);
    s->delta_qp = bits_read(r, 1);
    s->delta_depth = s->delta_qp ? bits_read_ue(r) : 0;
    s->cb = bits_read_se(r);
    s->cr = bits_read_se(r);
    s->chroma_offsets = bits_read(r, 1);
    s->weighted = bits_read(r, 1);
    s->bipred = bits_read(r, 1);
    s->bypass = bits_read(r, 1);
    s->tiles = bits_read(r, 1);
    s->wpp = bits_read(r, 1);
    if (s->tiles) {
        s->columns = bits_read_ue(r);
        s->rows = bits_read_ue(r);
        assert_int_equal(bits_read(r, 1), 0);
        for (unsigned i = 0; i < s->columns; i++)
            s->column[i] = bits_read_ue(r);
        for (unsigned i = 0; i < s->rows; i++)
            s->row[i] = bits_read_ue(r);
        s->across_tiles = bits_read(r, 1);
    }
    s->across_slices = bits_read(r, 1);
    assert_int_equal(bits_read(r, 1), 1);
    s->override = bits_read(r, 1);
    s->disabled = bits_read(r, 1);
    if (!s->disabled) {
        s->beta = bits_read_se(r);
        s->tc = bits_read_se(r);
    }
    s->scaling = bits_read(r, 1);
    if (s->scaling)
        read_lists(r, s);
    s->modification = bits_read(r, 1);
    s->merge = bits_read_ue(r);
    s->header_extension = bits_read(r, 1);
    s->extension = bits_read(r, 1);
    if (!s->extension)
        return;
    assert_int_equal(bits_read(r, 8), 0x80);
    s->skip_size = s->skip ? bits_read_ue(r) : 0;
    s->cross = bits_read(r, 1);
    s->offsets = bits_read(r, 1);
    if (s->offsets) {
        s->offset_depth = bits_read_ue(r);
        s->offset_length = bits_read_ue(r);
        for (unsigned i = 0; i <= s->offset_length; i++) {
            s->cb_list[i] = bits_read_se(r);
            s->cr_list[i] = bits_read_se(r);
        }
    }
    s->sao_luma = bits_read_ue(r);
    s->sao_chroma = bits_read_ue(r);
}

static void check_end(struct bits_reader *r)
{
    assert_int_equal(bits_read(r, 1), 1);
    while (r->position % 8)
        assert_int_equal(bits_read(r, 1), 0);
    assert_false(r->error);
}

/* The set that was written instead, and that all bits around it are as they were. */
static void read_slice(const struct fixture *f, const struct slice_spec *spec, const uint8_t *nal,
                       size_t size, struct read_slice *s)
{
    struct slice_spec expect = *spec;
    uint8_t start[64], rest[4096];
    struct bits_reader r, want;
    struct bits_writer w;
    int32_t poc = 0;

    bits_read_init(&r, nal, size, true);
    if (spec->nal == RASL_N || spec->nal == RASL_R)
        expect.nal = (uint8_t)(spec->nal - 2);
    bits_write_init(&w, start, sizeof(start));
    write_start(f, &expect, &w);
    bits_read_init(&want, start, sizeof(start), false);
    for (uint64_t n = w.used * 8 + w.count; n > 0; n--) {
        if (want.position == w.used * 8)
            break;
        assert_int_equal(bits_read(&r, 1), bits_read(&want, 1));
    }
    for (unsigned n = w.count; n > 0; n--)
        assert_int_equal(bits_read(&r, 1), (w.cache >> (n - 1)) & 1);
    s->nal = nal[0] >> 1;
    s->tid = (nal[1] & 7u) - 1;
    s->pps_id = spec->pps_id;
    if (!spec->dependent && spec->nal != IDR) {
        s->lsb = bits_read(&r, 16);
        assert_int_equal(bits_read(&r, 1), 0);
        s->before = bits_read_ue(&r);
        s->after = bits_read_ue(&r);
        assert_in_range(s->before + s->after, 0, MAX_REFS);
        for (unsigned i = 0; i < s->before + s->after; i++) {
            int32_t step = (int32_t)bits_read_ue(&r) + 1;

            if (i == s->before)
                poc = 0;
            poc += i < s->before ? -step : step;
            s->ref[i] = (struct read_ref){.poc = poc, .used = bits_read(&r, 1)};
        }
        s->long_term = bits_read_ue(&r);
        assert_in_range(s->before + s->after + s->long_term, 0, MAX_REFS);
        for (unsigned i = s->before + s->after; i < s->before + s->after + s->long_term; i++) {
            s->ref[i].poc = (int32_t)bits_read(&r, 16);
            s->ref[i].used = bits_read(&r, 1);
            s->ref[i].msb = bits_read(&r, 1);
            s->ref[i].cycle = s->ref[i].msb ? bits_read_ue(&r) : 0;
        }
    }
    if (!spec->dependent) {
        uint64_t bits;

        bits_write_init(&w, rest, sizeof(rest));
        write_rest(f, spec, &w);
        bits = w.used * 8 + w.count;
        bits_write(&w, 8, 0);
        bits_read_init(&want, rest, w.used, false);
        while (want.position < bits)
            assert_int_equal(bits_read(&r, 1), bits_read(&want, 1));
    }
    check_end(&r);
    assert_true(size >= sizeof(payload));
    assert_memory_equal(nal + size - sizeof(payload), payload, sizeof(payload));
}

/* Goes over the packet: zeros, start codes, NAL units. */
static void read_packet(struct fixture *f, const struct slice_spec *specs, unsigned count)
{
    const uint8_t *at = f->packet.data, *end = at + f->packet.size;
    unsigned next = 0;

    f->eos = f->vps_count = f->sps_count = f->pps_count = f->slice_count = f->filler = 0;
    memset(f->slice, 0, sizeof(f->slice));
    while (at < end) {
        const uint8_t *nal, *stop;
        struct bits_reader r;

        while (at < end && *at == 0)
            at++;
        if (at == end)
            break;
        assert_true(at - f->packet.data >= 2 && *at == 1);
        nal = at + 1;
        for (stop = nal; stop + 3 <= end && (stop[0] || stop[1] || stop[2] > 1);)
            stop++;
        if (stop + 3 > end)
            stop = end;
        at = stop;
        bits_read_init(&r, nal, (size_t)(stop - nal), true);
        assert_int_equal(bits_read(&r, 8), nal[0]);
        assert_int_equal(bits_read(&r, 5), 0);
        bits_read(&r, 3);
        switch (nal[0] >> 1) {
        case 32:
            f->vps_count++;
            read_vps(&r);
            check_end(&r);
            break;
        case 33:
            f->sps_count++;
            assert_int_equal(f->vps_count, 1);
            memset(&f->sps, 0, sizeof(f->sps));
            read_sps(&r, &f->sps);
            check_end(&r);
            break;
        case 34:
            f->pps_count++;
            read_pps(&r, &f->pps);
            check_end(&r);
            break;
        case 36:
            assert_int_equal(f->vps_count + f->pps_count + f->slice_count, 0);
            f->eos++;
            break;
        case 38:
            f->filler++;
            next++;
            break;
        default:
            assert_true(next < count);
            read_slice(f, &specs[next++], nal, (size_t)(stop - nal), &f->slice[f->slice_count++]);
        }
    }
}

/* Lays `count` slices of raw bytes out and builds; the packet is not read. */
static int build_raw(struct fixture *f, const uint8_t *const *nal, const size_t *sizes,
                     unsigned count)
{
    struct va_picture picture = {.width = 416, .height = 240, .slices = f->slices};
    size_t at = BITSTREAM_HEAD_ROOM;

    f->block_size = BITSTREAM_HEAD_ROOM;
    for (unsigned i = 0; i < count; i++)
        f->block_size += bitstream_hevc.gap + sizes[i];
    free(f->block);
    f->block = malloc(f->block_size);
    assert_non_null(f->block);
    memset(f->block, 0xee, f->block_size);
    for (unsigned i = 0; i < count; i++) {
        at += bitstream_hevc.gap;
        if (sizes[i])
            memcpy(f->block + at, nal[i], sizes[i]);
        f->slices[i] = (struct va_slice){
            .param = &f->slice_param[i], .data = f->block + at, .size = (uint32_t)sizes[i]};
        at += sizes[i];
    }
    picture.profile = f->profile;
    picture.slice_count = count;
    picture.head = f->block;
    picture.param[VA_PARAM_PICTURE] = &f->param;
    picture.param_size[VA_PARAM_PICTURE] = f->ext ? sizeof(f->param) : sizeof(f->param.base);
    picture.param[VA_PARAM_IQ_MATRIX] = f->send_matrix ? &f->matrix : NULL;
    memset(&f->packet, 0x5a, sizeof(f->packet));
    return bitstream_hevc.build(f->state, &picture, &f->packet);
}

static int build(struct fixture *f, const struct slice_spec *specs, unsigned count)
{
    static uint8_t nal[MAX_SLICES][4096];
    const uint8_t *at[MAX_SLICES];
    size_t sizes[MAX_SLICES];
    int err;

    assert_in_range(count, 0, MAX_SLICES);
    for (unsigned i = 0; i < count; i++) {
        sizes[i] = write_slice(f, &specs[i], nal[i], sizeof(nal[i]) - sizeof(payload));
        at[i] = nal[i];
        memset(f->slice_param[i].RefPicList, 0xff, sizeof(f->slice_param[i].RefPicList));
        memcpy(f->slice_param[i].RefPicList[0], specs[i].va_list[0], MAX_REFS);
        memcpy(f->slice_param[i].RefPicList[1], specs[i].va_list[1], MAX_REFS);
    }
    err = build_raw(f, at, sizes, count);
    if (err)
        return err;
    assert_true(f->packet.data >= f->block);
    assert_true(f->packet.data + f->packet.size == f->block + f->block_size);
    read_packet(f, specs, count);
    return 0;
}

static int build_one(struct fixture *f, struct slice_spec spec)
{
    return build(f, &spec, 1);
}

#endif
