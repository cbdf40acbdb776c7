/* SPDX-License-Identifier: MIT */
#include "hevc_fixture.h"

#include <viaduct/errors.h>

#define BEFORE VA_PICTURE_HEVC_RPS_ST_CURR_BEFORE
#define AFTER  VA_PICTURE_HEVC_RPS_ST_CURR_AFTER
#define LT     (VA_PICTURE_HEVC_RPS_LT_CURR | VA_PICTURE_HEVC_LONG_TERM_REFERENCE)

static const struct slice_spec idr = {.nal = IDR, .type = SLICE_I};
static const struct slice_spec p = {.nal = TRAIL_R, .type = SLICE_P, .set_index = 3};
static const struct slice_spec b = {.nal = TRAIL_N, .type = SLICE_B, .tid = 2, .set_index = 4};

static void test_idr(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->vps_count, 1);
    assert_int_equal(f->sps_count, 1);
    assert_int_equal(f->pps_count, 1);
    assert_int_equal(f->slice_count, 1);
    assert_int_equal(f->eos, 0);
    assert_int_equal(f->packet.flags, BITSTREAM_KEY);
    assert_int_equal(f->packet.coded_width, 416);
    assert_int_equal(f->packet.coded_height, 240);
    assert_int_equal(f->sps.profile, 1);
    assert_int_equal(f->sps.chroma, 1);
    assert_int_equal(f->sps.width, 416);
    assert_int_equal(f->sps.height, 240);
    assert_int_equal(f->sps.depth, 0);
    assert_int_equal(f->sps.lsb, 12);
    assert_int_equal(f->sps.min_cb, 0);
    assert_int_equal(f->sps.diff_cb, 3);
    assert_int_equal(f->sps.min_tb, 0);
    assert_int_equal(f->sps.diff_tb, 3);
    assert_int_equal(f->sps.inter, 1);
    assert_int_equal(f->sps.intra, 2);
    assert_int_equal(f->sps.extension, 0);
    assert_int_equal(f->pps.id, 0);
    assert_int_equal(f->pps.l0, 2);
    assert_int_equal(f->pps.l1, 1);
    assert_int_equal(f->pps.qp, -3);
    assert_int_equal(f->pps.delta_depth, 1);
    assert_int_equal(f->pps.cb, 2);
    assert_int_equal(f->pps.cr, -4);
    assert_int_equal(f->pps.beta, -2);
    assert_int_equal(f->pps.tc, 3);
    assert_int_equal(f->pps.merge, 1);
    assert_int_equal(f->pps.scaling, 0);
    assert_int_equal(f->pps.extension, 0);
}

/* Each flag alone: it must come out at its own place and nowhere else. */
static void test_single_flags(void **state)
{
    struct fixture *f = *state;
    struct slice_spec spec = p;

    spec.set = SET_EXPLICIT;
    set_ref(f, 0, 7, 0, BEFORE);
    set_ref(f, 1, 8, 1, BEFORE);
    for (unsigned i = 0; i < 25; i++) {
        VAPictureParameterBufferHEVC *v = &f->param.base;

        v->pic_fields.bits.amp_enabled_flag = i == 0;
        v->slice_parsing_fields.bits.sample_adaptive_offset_enabled_flag = i == 1;
        v->slice_parsing_fields.bits.sps_temporal_mvp_enabled_flag = i == 2;
        v->pic_fields.bits.strong_intra_smoothing_enabled_flag = i == 3;
        v->slice_parsing_fields.bits.dependent_slice_segments_enabled_flag = i == 4;
        v->slice_parsing_fields.bits.output_flag_present_flag = i == 5;
        v->num_extra_slice_header_bits = i == 6 ? 2 : 0;
        v->pic_fields.bits.sign_data_hiding_enabled_flag = i == 7;
        v->slice_parsing_fields.bits.cabac_init_present_flag = i == 8;
        v->pic_fields.bits.constrained_intra_pred_flag = i == 9;
        v->pic_fields.bits.transform_skip_enabled_flag = i == 10;
        v->slice_parsing_fields.bits.pps_slice_chroma_qp_offsets_present_flag = i == 11;
        v->pic_fields.bits.weighted_pred_flag = i == 12;
        v->pic_fields.bits.weighted_bipred_flag = i == 13;
        v->pic_fields.bits.transquant_bypass_enabled_flag = i == 14;
        v->pic_fields.bits.entropy_coding_sync_enabled_flag = i == 15;
        v->pic_fields.bits.pps_loop_filter_across_slices_enabled_flag = i == 16;
        v->slice_parsing_fields.bits.deblocking_filter_override_enabled_flag = i == 17;
        v->slice_parsing_fields.bits.pps_disable_deblocking_filter_flag = i == 18;
        v->slice_parsing_fields.bits.lists_modification_present_flag = i == 19;
        v->slice_parsing_fields.bits.slice_segment_header_extension_present_flag = i == 20;
        v->slice_parsing_fields.bits.long_term_ref_pics_present_flag = i == 21;
        v->pic_fields.bits.cu_qp_delta_enabled_flag = i == 22;
        v->pic_fields.bits.scaling_list_enabled_flag = i == 23;
        spec.extension = i == 20 ? 5 : 0;
        spec.entry_points = i == 15 ? 3 : 0;
        spec.type = i == 13 ? SLICE_B : SLICE_P;
        set_current(f, 20, 2);
        memset(f->state, 0, bitstream_hevc.state_size);
        assert_int_equal(build_one(f, spec), 0);
        assert_int_equal(f->slice_count, 1);
        assert_int_equal(f->sps.amp, i == 0);
        assert_int_equal(f->sps.sao, i == 1);
        assert_int_equal(f->sps.temporal_mvp, i == 2);
        assert_int_equal(f->sps.smoothing, i == 3);
        assert_int_equal(f->sps.scaling, i == 23);
        assert_int_equal(f->pps.dependent, i == 4);
        assert_int_equal(f->pps.output, i == 5);
        assert_int_equal(f->pps.extra, i == 6 ? 2 : 0);
        assert_int_equal(f->pps.hiding, i == 7);
        assert_int_equal(f->pps.cabac_init, i == 8);
        assert_int_equal(f->pps.constrained, i == 9);
        assert_int_equal(f->pps.skip, i == 10);
        assert_int_equal(f->pps.chroma_offsets, i == 11);
        assert_int_equal(f->pps.weighted, i == 12);
        assert_int_equal(f->pps.bipred, i == 13);
        assert_int_equal(f->pps.bypass, i == 14);
        assert_int_equal(f->pps.wpp, i == 15);
        assert_int_equal(f->pps.tiles, 0);
        assert_int_equal(f->pps.across_slices, i == 16);
        assert_int_equal(f->pps.override, i == 17);
        assert_int_equal(f->pps.disabled, i == 18);
        assert_int_equal(f->pps.modification, i == 19);
        assert_int_equal(f->pps.header_extension, i == 20);
        assert_int_equal(f->pps.delta_qp, i == 22);
        assert_int_equal(f->pps.scaling, 0); /* the default lists */
    }
}

/* References on both sides, one that is kept for later, one the decoder never had. */
static void test_short_term(void **state)
{
    struct fixture *f = *state;
    const struct read_slice *s = &f->slice[0];

    set_current(f, 1, 0);
    assert_int_equal(build_one(f, idr), 0);
    set_current(f, 2, 8);
    set_ref(f, 3, 1, 0, BEFORE);
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(f->vps_count + f->pps_count + f->eos, 0);
    assert_int_equal(f->packet.flags, 0);
    assert_int_equal(s->lsb, 8);
    assert_int_equal(s->before, 1);
    assert_int_equal(s->ref[0].poc, -8);
    assert_true(s->ref[0].used);
    set_current(f, 3, 4);
    set_ref(f, 5, 2, 8, AFTER);
    assert_int_equal(build_one(f, b), 0);
    set_current(f, 4, 2);
    set_ref(f, 0, 3, 4, AFTER);
    set_ref(f, 5, 2, 8, 0);
    assert_int_equal(build_one(f, b), 0);
    assert_int_equal(s->lsb, 2);
    assert_int_equal(s->tid, 2);
    assert_int_equal(s->before, 1);
    assert_int_equal(s->after, 2);
    assert_int_equal(s->long_term, 0);
    assert_int_equal(s->ref[0].poc, -2);
    assert_int_equal(s->ref[1].poc, 2);
    assert_int_equal(s->ref[2].poc, 6);
    assert_true(s->ref[0].used && s->ref[1].used && !s->ref[2].used);
    /* Pictures that are missing matter only where they are used. */
    set_current(f, 5, 6);
    set_ref(f, 1, 77, -9, BEFORE);
    set_ref(f, 2, 78, -20, 0);
    assert_int_equal(build_one(f, b), 0);
    assert_int_equal(s->before, 3);
    assert_int_equal(s->ref[0].poc, -2);
    assert_int_equal(s->ref[1].poc, -6);
    assert_int_equal(s->ref[2].poc, -15);
    assert_int_equal(s->after, 1);
    /* Far away. */
    set_current(f, 6, 40000);
    assert_int_equal(build_one(f, p), VD_ERR_PARAMETER);
}

/* Sets of the slice header: coded, predicted with VA's length, predicted without. */
static void test_coded_sets(void **state)
{
    struct fixture *f = *state;
    struct slice_spec spec = p;

    set_current(f, 2, 8);
    set_ref(f, 0, 1, 0, BEFORE);
    spec.set = SET_EXPLICIT;
    f->param.base.st_rps_bits = 1; /* wrong, and not needed */
    assert_int_equal(build_one(f, spec), 0);
    f->param.base.num_short_term_ref_pic_sets = 0;
    assert_int_equal(build_one(f, spec), 0);
    f->param.base.num_short_term_ref_pic_sets = 64;
    spec.set = SET_PREDICTED;
    for (uint32_t bits = 2; bits < 100; bits += 31) {
        f->param.base.st_rps_bits = bits;
        assert_int_equal(build_one(f, spec), 0);
        assert_int_equal(f->slice[0].before, 1);
    }
    f->param.base.st_rps_bits = 0;
    assert_int_equal(build_one(f, spec), VD_ERR_UNSUPPORTED);
    f->param.base.st_rps_bits = UINT32_MAX;
    assert_int_equal(build_one(f, spec), VD_ERR_DECODE);
}

static void test_long_term(void **state)
{
    struct fixture *f = *state;
    const struct read_slice *s = &f->slice[0];
    struct slice_spec spec = b;

    f->param.base.slice_parsing_fields.bits.long_term_ref_pics_present_flag = 1;
    f->param.base.slice_parsing_fields.bits.lists_modification_present_flag = 1;
    f->param.base.num_long_term_ref_pic_sps = 3;
    set_current(f, 1, 0);
    assert_int_equal(build_one(f, idr), 0);
    for (unsigned i = 1; i < 4; i++) {
        set_ref(f, i - 1, i, (int32_t)i - 1, BEFORE);
        set_current(f, i + 1, (int32_t)i);
        assert_int_equal(build_one(f, p), 0);
    }
    /* Lists say that the order is: 3 | 1, 0, 2. */
    set_current(f, 5, 300);
    set_ref(f, 0, 1, 0, LT);
    set_ref(f, 1, 2, 1, LT);
    set_ref(f, 2, 3, 2, LT);
    set_ref(f, 3, 4, 3, BEFORE);
    spec.lt_sps = 2;
    spec.lt = 1;
    spec.active[0] = 2;
    spec.active[1] = 3;
    spec.va_list[0][0] = 3;
    spec.va_list[0][1] = 1;
    spec.va_list[1][0] = 3;
    spec.va_list[1][1] = 1;
    spec.va_list[1][2] = 0;
    assert_int_equal(build_one(f, spec), 0);
    assert_int_equal(s->before, 1);
    assert_int_equal(s->ref[0].poc, -297);
    assert_int_equal(s->long_term, 3);
    assert_int_equal(s->ref[1].poc, 1);
    assert_int_equal(s->ref[2].poc, 0);
    assert_int_equal(s->ref[3].poc, 2);
    assert_true(s->ref[1].used && s->ref[2].used && s->ref[3].used);
    assert_false(s->ref[1].msb || s->ref[2].msb || s->ref[3].msb);
    /* The same from modified lists: 2, 0 and nothing about 1; none of it from wild indices. */
    set_current(f, 6, 301);
    spec.modified = true;
    spec.entry[0][0] = 3;
    spec.entry[0][1] = 1;
    spec.va_list[0][0] = 0;
    spec.va_list[0][1] = 2;
    memset(spec.va_list[1], 0xff, sizeof(spec.va_list[1]));
    assert_int_equal(build_one(f, spec), 0);
    assert_int_equal(s->ref[1].poc, 2);
    assert_int_equal(s->ref[2].poc, 1);
    assert_int_equal(s->ref[3].poc, 0);
    /* One that is only kept comes behind those that are used. */
    set_current(f, 7, 302);
    set_ref(f, 0, 1, 0, VA_PICTURE_HEVC_LONG_TERM_REFERENCE);
    spec.modified = false;
    assert_int_equal(build_one(f, spec), 0);
    assert_int_equal(s->long_term, 3);
    assert_int_equal(s->ref[3].poc, 0);
    assert_false(s->ref[3].used);
}

/* A long-term picture whose lower bits are those of a later one. */
static void test_ambiguous_long_term(void **state)
{
    struct fixture *f = *state;
    const struct read_slice *s = &f->slice[0];

    f->param.base.slice_parsing_fields.bits.long_term_ref_pics_present_flag = 1;
    set_current(f, 1, 0);
    assert_int_equal(build_one(f, idr), 0);
    set_ref(f, 0, 1, 0, LT);
    for (unsigned i = 1; i <= 3; i++) {
        set_current(f, 1 + i, (int32_t)i * 21845 + (i == 3));
        if (i > 1)
            set_ref(f, 1, i, ((int32_t)i - 1) * 21845, BEFORE);
        assert_int_equal(build_one(f, p), 0);
        assert_int_equal(s->ref[i > 1].msb, i == 3);
    }
    assert_int_equal(s->lsb, 0);
    set_current(f, 5, 65537);
    set_ref(f, 1, 4, 65536, BEFORE);
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(s->lsb, 1);
    assert_int_equal(s->ref[0].poc, -1);
    assert_int_equal(s->ref[1].poc, 0);
    assert_true(s->ref[1].msb);
    assert_int_equal(s->ref[1].cycle, 1);
}

/* What the app counts anew, the decoder does not confuse with what it has. */
static void test_sequences(void **state)
{
    struct fixture *f = *state;
    const struct read_slice *s = &f->slice[0];
    struct slice_spec cra = {.nal = CRA, .type = SLICE_I, .set_index = 1};
    struct slice_spec rasl = {.nal = RASL_R, .type = SLICE_B, .set_index = 1};

    /* Decoding starts at a CRA picture; its references are not there. */
    set_current(f, 1, 100);
    set_ref(f, 0, 9, 96, 0);
    assert_int_equal(build_one(f, cra), 0);
    assert_int_equal(f->packet.flags, BITSTREAM_KEY);
    assert_int_equal(f->eos, 0);
    assert_int_equal(s->lsb, 0);
    assert_int_equal(s->before + s->after + s->long_term, 0);
    clear_refs(f);
    set_ref(f, 0, 1, 100, BEFORE);
    set_current(f, 2, 104);
    assert_int_equal(build_one(f, p), 0);
    /* A CRA picture within the sequence keeps what pictures that lead it refer to. */
    set_ref(f, 0, 2, 104, 0);
    set_current(f, 3, 112);
    assert_int_equal(build_one(f, cra), 0);
    assert_int_equal(f->eos, 0);
    assert_int_equal(s->before, 1);
    assert_int_equal(s->ref[0].poc, -8);
    assert_false(s->ref[0].used);
    set_ref(f, 0, 2, 104, BEFORE);
    set_ref(f, 1, 3, 112, AFTER);
    set_current(f, 4, 108);
    assert_int_equal(build_one(f, rasl), 0);
    assert_int_equal(s->nal, RADL_R);
    assert_int_equal(s->before + s->after, 2);
    /* A seek: nothing of what is there is a reference, and a count comes again. */
    clear_refs(f);
    set_ref(f, 0, 2, 96, 0);
    set_current(f, 1, 112);
    assert_int_equal(build_one(f, cra), 0);
    assert_int_equal(f->eos, 1);
    assert_int_equal(s->before + s->after, 0);
    /* BLA says so itself. */
    set_current(f, 2, 70000);
    assert_int_equal(build_one(f, (struct slice_spec){.nal = BLA, .type = SLICE_I}), 0);
    assert_int_equal(f->eos, 0);
    assert_int_equal(s->lsb, 0);
    clear_refs(f);
    set_ref(f, 0, 2, 70000, BEFORE);
    set_current(f, 3, 70001);
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(s->ref[0].poc, -1);
    /* An app whose IDR pictures count on. */
    clear_refs(f);
    set_current(f, 4, 70002);
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->eos, 0);
    set_ref(f, 0, 4, 70002, BEFORE);
    set_current(f, 5, 70003);
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(s->lsb, 1);
    assert_int_equal(s->ref[0].poc, -1);
    /* A picture that refers to itself. */
    set_ref(f, 1, 5, 70003, BEFORE);
    assert_int_equal(build_one(f, p), VD_ERR_PARAMETER);
}

static void test_tiles_and_wpp(void **state)
{
    struct fixture *f = *state;
    VAPictureParameterBufferHEVC *v = &f->param.base;
    struct slice_spec spec = p;

    v->pic_fields.bits.tiles_enabled_flag = 1;
    v->pic_fields.bits.entropy_coding_sync_enabled_flag = 1;
    v->pic_fields.bits.loop_filter_across_tiles_enabled_flag = 1;
    v->num_tile_columns_minus1 = 2;
    v->num_tile_rows_minus1 = 1;
    v->column_width_minus1[0] = 1;
    v->column_width_minus1[1] = 3;
    v->row_height_minus1[0] = 2;
    set_ref(f, 0, 1, 0, BEFORE);
    set_current(f, 2, 1);
    spec.entry_points = 7;
    spec.entry_value = 0x300;
    assert_int_equal(build_one(f, spec), 0);
    assert_int_equal(f->pps.columns, 2);
    assert_int_equal(f->pps.rows, 1);
    assert_int_equal(f->pps.column[0], 1);
    assert_int_equal(f->pps.column[1], 3);
    assert_int_equal(f->pps.row[0], 2);
    assert_int_equal(f->pps.across_tiles, 1);
    assert_int_equal(f->slice_count, 1);
    /* Entry points without end. */
    spec.entry_points = 800;
    spec.entry_value = 1;
    assert_int_not_equal(build_one(f, spec), 1);
    v->column_width_minus1[1] = 4;
    assert_int_equal(build_one(f, p), VD_ERR_PARAMETER);
    v->column_width_minus1[1] = 3;
    v->num_tile_columns_minus1 = 20;
    assert_int_equal(build_one(f, p), VD_ERR_PARAMETER);
}

static void test_dependent_slices(void **state)
{
    struct fixture *f = *state;
    struct slice_spec slices[4] = {p, p, p, p};

    f->param.base.slice_parsing_fields.bits.dependent_slice_segments_enabled_flag = 1;
    f->param.base.pic_fields.bits.entropy_coding_sync_enabled_flag = 0;
    set_ref(f, 0, 1, 0, BEFORE);
    set_current(f, 2, 1);
    for (unsigned i = 0; i < 4; i++) {
        slices[i].later = i > 0;
        slices[i].address = 7 * i;
        slices[i].dependent = i & 1;
        slices[i].pps_id = 63;
        slices[i].nal = RASL_N;
    }
    slices[2].prefix = "\0\0\1";
    slices[2].prefix_size = 3;
    slices[3].prefix = "\0\0\0\1";
    slices[3].prefix_size = 4;
    assert_int_equal(build(f, slices, 4), 0);
    assert_int_equal(f->slice_count, 4);
    assert_int_equal(f->pps.id, 63);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(f->slice[i].nal, 6);
        assert_int_equal(f->slice[i].before, i & 1 ? 0 : 1);
    }
}

static void test_range_extension(void **state)
{
    struct fixture *f = *state;
    VAPictureParameterBufferHEVCRext *r = &f->param.rext;

    f->ext = true;
    f->profile = VAProfileHEVCMain444_12;
    f->param.base.pic_fields.bits.chroma_format_idc = 3;
    f->param.base.bit_depth_luma_minus8 = 4;
    f->param.base.bit_depth_chroma_minus8 = 4;
    f->param.base.pic_fields.bits.transform_skip_enabled_flag = 1;
    f->param.base.init_qp_minus26 = -50;
    r->range_extension_pic_fields.value = 0x4ab; /* 1, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1 */
    r->range_extension_pic_fields.bits.cross_component_prediction_enabled_flag = 1;
    r->log2_max_transform_skip_block_size_minus2 = 3;
    r->diff_cu_chroma_qp_offset_depth = 2;
    r->chroma_qp_offset_list_len_minus1 = 5;
    r->log2_sao_offset_scale_luma = 2;
    r->log2_sao_offset_scale_chroma = 1;
    for (int8_t i = 0; i < 6; i++) {
        r->cb_qp_offset_list[i] = i;
        r->cr_qp_offset_list[i] = (int8_t)(-2 * i);
    }
    set_ref(f, 0, 1, 0, BEFORE);
    set_current(f, 2, 1);
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(f->sps.profile, 4);
    assert_int_equal(f->sps.constraints, 0x101);
    assert_int_equal(f->sps.chroma, 3);
    assert_int_equal(f->sps.depth, 4);
    assert_int_equal(f->sps.extension, 1);
    assert_int_equal(f->sps.range, 0x1aa);
    assert_int_equal(f->pps.qp, -50);
    assert_int_equal(f->pps.skip_size, 3);
    assert_int_equal(f->pps.cross, 1);
    assert_int_equal(f->pps.offsets, 1);
    assert_int_equal(f->pps.offset_depth, 2);
    assert_int_equal(f->pps.offset_length, 5);
    assert_int_equal(f->pps.cb_list[5], 5);
    assert_int_equal(f->pps.cr_list[5], -10);
    assert_int_equal(f->pps.sao_luma, 2);
    assert_int_equal(f->pps.sao_chroma, 1);
    assert_int_equal(f->slice_count, 1);
    /* Cross-component prediction is for 4:4:4 alone. */
    f->param.base.pic_fields.bits.chroma_format_idc = 2;
    f->profile = VAProfileHEVCMain422_10;
    assert_int_equal(build_one(f, p), 0);
    assert_int_equal(f->sps.constraints, 0x1a1);
    assert_int_equal(f->pps.cross, 0);
    /* What libavcodec would decode wrongly without a word. */
    r->range_extension_pic_fields.bits.high_precision_offsets_enabled_flag = 1;
    assert_int_equal(build_one(f, p), 0);
    f->param.base.pic_fields.bits.weighted_bipred_flag = 1;
    assert_int_equal(build_one(f, p), VD_ERR_UNSUPPORTED);
    f->param.base.pic_fields.bits.weighted_bipred_flag = 0;
    r->range_extension_pic_fields.bits.extended_precision_processing_flag = 1;
    assert_int_equal(build_one(f, p), VD_ERR_UNSUPPORTED);
    r->range_extension_pic_fields.bits.extended_precision_processing_flag = 0;
    r->range_extension_pic_fields.bits.cabac_bypass_alignment_enabled_flag = 1;
    assert_int_equal(build_one(f, p), VD_ERR_UNSUPPORTED);
    r->range_extension_pic_fields.bits.cabac_bypass_alignment_enabled_flag = 0;
    f->param.base.pic_fields.bits.chroma_format_idc = 3;
    f->param.base.pic_fields.bits.separate_colour_plane_flag = 1;
    assert_int_equal(build_one(f, p), VD_ERR_UNSUPPORTED);
}

/* The raster position of the i-th entry of the up-right diagonal scan (6.5.3). */
static unsigned diagonal(unsigned i, unsigned side)
{
    int x = 0, y = 0;

    for (;;) {
        while (y >= 0) {
            if (x < (int)side && y < (int)side && i-- == 0)
                return (unsigned)y * side + (unsigned)x;
            y--;
            x++;
        }
        y = x;
        x = 0;
    }
}

static void test_scaling_lists(void **state)
{
    struct fixture *f = *state;
    VAIQMatrixBufferHEVC *m = &f->matrix;

    f->param.base.pic_fields.bits.scaling_list_enabled_flag = 1;
    f->send_matrix = true;
    for (unsigned i = 0; i < sizeof(*m) - sizeof(m->va_reserved); i++)
        ((uint8_t *)m)[i] = (uint8_t)(1 + i * 37 % 255);
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->sps.scaling, 1);
    assert_int_equal(f->pps.scaling, 1);
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned j = 0; j < 16; j++)
            assert_int_equal(f->pps.list4x4[i][j], m->ScalingList4x4[i][diagonal(j, 4)]);
        for (unsigned j = 0; j < 64; j++) {
            unsigned at = diagonal(j, 8);

            assert_int_equal(f->pps.list[0][i][j], m->ScalingList8x8[i][at]);
            assert_int_equal(f->pps.list[1][i][j], m->ScalingList16x16[i][at]);
            if (i < 2)
                assert_int_equal(f->pps.list[2][3 * i][j], m->ScalingList32x32[i][at]);
        }
        assert_int_equal(f->pps.dc[0][i], m->ScalingListDC16x16[i]);
        if (i < 2)
            assert_int_equal(f->pps.dc[1][3 * i], m->ScalingListDC32x32[i]);
    }
    /* They stay in force while no others come, and without the flag they are not looked at. */
    f->send_matrix = false;
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->pps_count, 0);
    f->param.base.pic_fields.bits.scaling_list_enabled_flag = 0;
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->sps.scaling + f->pps.scaling, 0);
    /* The longest codes there are. */
    f->param.base.pic_fields.bits.scaling_list_enabled_flag = 1;
    f->send_matrix = true;
    for (unsigned i = 0; i < sizeof(*m) - sizeof(m->va_reserved); i++)
        ((uint8_t *)m)[i] = diagonal(i % 64, 8) % 2 ? 129 : 1;
    assert_int_equal(build_one(f, idr), 0);
    m->ScalingListDC16x16[5] = 0;
    assert_int_equal(build_one(f, idr), VD_ERR_PARAMETER);
}

static void test_pcm(void **state)
{
    struct fixture *f = *state;
    VAPictureParameterBufferHEVC *v = &f->param.base;

    v->pic_fields.bits.pcm_enabled_flag = 1;
    v->pic_fields.bits.pcm_loop_filter_disabled_flag = 1;
    v->pcm_sample_bit_depth_luma_minus1 = 7;
    v->pcm_sample_bit_depth_chroma_minus1 = 4;
    v->log2_min_pcm_luma_coding_block_size_minus3 = 1;
    v->log2_diff_max_min_pcm_luma_coding_block_size = 1;
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->sps.pcm, 1);
    assert_int_equal(f->sps.pcm_depth[0], 7);
    assert_int_equal(f->sps.pcm_depth[1], 4);
    assert_int_equal(f->sps.pcm_min, 1);
    assert_int_equal(f->sps.pcm_diff, 1);
    assert_int_equal(f->sps.pcm_filter, 1);
    v->pcm_sample_bit_depth_luma_minus1 = 8;
    assert_int_equal(build_one(f, idr), VD_ERR_PARAMETER);
}

static void test_headers_only_when_changed(void **state)
{
    struct fixture *f = *state;
    struct slice_spec spec = idr;

    assert_int_equal(build_one(f, idr), 0);
    /* Things that change from picture to picture are not in the SPS. */
    f->param.base.sps_max_dec_pic_buffering_minus1 = 9;
    f->param.base.num_short_term_ref_pic_sets = 7;
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->vps_count + f->sps_count + f->pps_count, 0);
    f->param.base.init_qp_minus26 = 5;
    assert_int_equal(build_one(f, idr), 0);
    assert_int_equal(f->sps_count, 0);
    assert_int_equal(f->pps_count, 1);
    assert_int_equal(f->pps.qp, 5);
    for (unsigned i = 0; i < 12; i++) {
        spec.pps_id = i % 3;
        assert_int_equal(build_one(f, spec), 0);
        assert_int_equal(f->pps_count, i == 1 || i == 2);
    }
    /* An SPS takes its PPSs with it. */
    f->param.base.pic_width_in_luma_samples = 424;
    assert_int_equal(build_one(f, spec), 0);
    assert_int_equal(f->vps_count + f->sps_count + f->pps_count, 3);
    /* A refused picture changes nothing. */
    f->param.base.pic_width_in_luma_samples = 425;
    assert_int_equal(build_one(f, spec), VD_ERR_PARAMETER);
    f->param.base.pic_width_in_luma_samples = 424;
    assert_int_equal(build_one(f, spec), 0);
    assert_int_equal(f->vps_count + f->sps_count + f->pps_count, 0);
}

static void test_broken_slices(void **state)
{
    struct fixture *f = *state;
    struct slice_spec slices[3] = {p, p, p};
    const uint8_t *nal[2] = {(const uint8_t *)"\x02\x01\xd0", (const uint8_t *)""};
    size_t sizes[2] = {3, 0};

    set_ref(f, 0, 1, 0, BEFORE);
    set_current(f, 2, 1);
    slices[1].later = slices[2].later = true;
    slices[0].no_alignment = true;
    slices[1].nal = TRAIL_N; /* not the picture's */
    assert_int_equal(build(f, slices, 1), VD_ERR_DECODE);
    slices[0].no_alignment = false;
    assert_int_equal(build(f, slices, 3), 0);
    assert_int_equal(f->filler, 1);
    assert_int_equal(f->slice_count, 2);
    assert_int_equal(build_raw(f, nal, sizes, 0), VD_ERR_PARAMETER);
    assert_int_equal(build_raw(f, nal, sizes, 1), VD_ERR_DECODE);
    assert_int_equal(build_raw(f, nal, sizes, 2), VD_ERR_DECODE);
    assert_int_equal(build_raw(f, nal + 1, sizes + 1, 1), VD_ERR_DECODE);
    f->slice_param[0].slice_data_flag = VA_SLICE_DATA_FLAG_BEGIN;
    assert_int_equal(build(f, slices, 1), VD_ERR_UNSUPPORTED);
}

/* Any bytes in any field: what is built is checked by build(), the rest by sanitizers. */
static void test_random(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 5;

    for (unsigned i = 0; i < 20000; i++) {
        VAPictureParameterBufferHEVCExtension keep = f->param;
        uint8_t raw[200];
        const uint8_t *nal[2] = {raw, raw + 100};
        size_t sizes[2] = {check_random(&seed) % 100, check_random(&seed) % 100};

        for (unsigned j = 0; j < sizeof(raw); j++)
            raw[j] = (uint8_t)(check_random(&seed) & check_random(&seed));
        raw[0] = raw[100] = (uint8_t)(check_random(&seed) % 22 * 2);
        raw[1] = raw[101] = 1;
        f->ext = i & 1;
        for (unsigned j = check_random(&seed) % 4; j > 0; j--) {
            ((uint8_t *)&f->param)[check_random(&seed) % sizeof(f->param.base)] =
                (uint8_t)check_random(&seed);
        }
        if (build_raw(f, nal, sizes, 2) == 0) {
            assert_true(f->packet.data >= f->block);
            assert_true(f->packet.data + f->packet.size == f->block + f->block_size);
        }
        if (i % 8 == 0)
            f->param = keep;
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_idr),
        TEST(test_single_flags),
        TEST(test_short_term),
        TEST(test_coded_sets),
        TEST(test_long_term),
        TEST(test_ambiguous_long_term),
        TEST(test_sequences),
        TEST(test_tiles_and_wpp),
        TEST(test_dependent_slices),
        TEST(test_range_extension),
        TEST(test_scaling_lists),
        TEST(test_pcm),
        TEST(test_headers_only_when_changed),
        TEST(test_broken_slices),
        TEST(test_random),
    };

    return cmocka_run_group_tests_name("hevc", tests, NULL, NULL);
}
