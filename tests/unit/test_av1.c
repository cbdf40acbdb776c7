/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <dav1d/dav1d.h>
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>

#include "bitstream/bitstream.h"

/*
 * Headers that the AV1 builder writes, read back by dav1d, which shows what it parsed when it asks
 * for memory.
 */

#define TILE_SIZE 40
#define MAX_TILES 8

static struct {
    void *state;
    Dav1dContext *decoder;
    Dav1dFrameHeader frame;
    Dav1dSequenceHeader sequence;
    unsigned asked;
    uint8_t block[BITSTREAM_HEAD_ROOM + MAX_TILES * (TILE_SIZE + 64) + BITSTREAM_TAIL_ROOM];
    VASliceParameterBufferAV1 tile[MAX_TILES];
    struct va_slice slices[MAX_TILES];
    struct bitstream_packet packet;
} f;

static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(random_state >> 4) * n >> 28);
}

static int alloc_plain(Dav1dPicture *picture, void *cookie)
{
    size_t stride = ((size_t)picture->p.w + 127) / 128 * 128 * 2;
    size_t rows = ((size_t)picture->p.h + 127) / 128 * 128;
    uint8_t *memory = NULL;

    (void)cookie;
    if (f.asked++ == 0) {
        f.frame = *picture->frame_hdr;
        f.sequence = *picture->seq_hdr;
    }
    if (posix_memalign((void **)&memory, 64, stride * rows * 3 + 64))
        return DAV1D_ERR(ENOMEM);
    memset(memory, 0, stride * rows * 3 + 64);
    picture->allocator_data = memory;
    for (size_t i = 0; i < 3; i++)
        picture->data[i] = memory + i * stride * rows;
    picture->stride[0] = picture->stride[1] = (ptrdiff_t)stride;
    return 0;
}

static void release_plain(Dav1dPicture *picture, void *cookie)
{
    (void)cookie;
    free(picture->allocator_data);
}

static int setup(void **state)
{
    Dav1dSettings settings;

    (void)state;
    memset(&f, 0, sizeof(f));
    f.state = calloc(1, bitstream_av1.state_size);
    dav1d_default_settings(&settings);
    settings.n_threads = 1;
    settings.max_frame_delay = 1;
    settings.apply_grain = 0;
    settings.output_invisible_frames = 1;
    settings.logger.callback = NULL;
    settings.allocator.alloc_picture_callback = alloc_plain;
    settings.allocator.release_picture_callback = release_plain;
    random_state = 1;
    return !f.state || dav1d_open(&f.decoder, &settings);
}

static int teardown(void **state)
{
    (void)state;
    dav1d_close(&f.decoder);
    free(f.state);
    return 0;
}

static void data_free(const uint8_t *data, void *cookie)
{
    (void)data, (void)cookie;
}

/* A key frame of 160x96 in surface 0. */
static void key_frame(VADecPictureParameterBufferAV1 *p)
{
    memset(p, 0, sizeof(*p));
    p->order_hint_bits_minus_1 = 6;
    p->matrix_coefficients = 2;
    p->seq_info_fields.fields.enable_order_hint = 1;
    p->seq_info_fields.fields.enable_cdef = 1;
    p->seq_info_fields.fields.subsampling_x = p->seq_info_fields.fields.subsampling_y = 1;
    p->frame_width_minus1 = 159;
    p->frame_height_minus1 = 95;
    for (int i = 0; i < 8; i++)
        p->ref_frame_map[i] = VA_INVALID_ID;
    p->primary_ref_frame = 7;
    p->tile_cols = p->tile_rows = 1;
    p->superres_scale_denominator = 8;
    p->base_qindex = 100;
    p->mode_control_fields.bits.tx_mode = 2;
    p->pic_info_fields.bits.show_frame = 1;
    p->pic_info_fields.bits.error_resilient_mode = 1;
    p->pic_info_fields.bits.uniform_tile_spacing_flag = 1;
    for (int i = 0; i < 7; i++)
        p->wm[i].wmmat[2] = p->wm[i].wmmat[5] = 65536;
}

/* A frame in `surface` that refers to the surfaces of `map`. */
static void inter_frame(VADecPictureParameterBufferAV1 *p, uint32_t surface, const uint32_t map[8])
{
    key_frame(p);
    p->current_frame = surface;
    p->order_hint = (uint8_t)(surface & 127);
    p->pic_info_fields.bits.frame_type = 1;
    p->pic_info_fields.bits.error_resilient_mode = 0;
    memcpy(p->ref_frame_map, map, 8 * sizeof(*map));
    for (uint8_t i = 0; i < 7; i++)
        p->ref_frame_idx[i] = i;
}

static int build_with(const struct bitstream_builder *builder,
                      const VADecPictureParameterBufferAV1 *p, uint32_t tiles)
{
    struct va_picture picture = {
        .width = 320,
        .height = 64,
        .slices = f.slices,
        .slice_count = tiles,
        .head = f.block,
    };
    uint8_t *at = f.block + BITSTREAM_HEAD_ROOM;

    for (uint32_t i = 0; i < tiles; i++) {
        f.tile[i] = (VASliceParameterBufferAV1){
            .slice_data_size = TILE_SIZE,
            .tile_row = (uint16_t)(i / p->tile_cols),
            .tile_column = (uint16_t)(i % p->tile_cols),
        };
        at += bitstream_av1.gap;
        f.slices[i] = (struct va_slice){.param = &f.tile[i], .data = at, .size = TILE_SIZE};
        /* Which is a picture; noise need not be one. */
        memset(at, 0, TILE_SIZE);
        at += TILE_SIZE;
    }
    memset(at, 0, BITSTREAM_TAIL_ROOM);
    picture.param[VA_PARAM_PICTURE] = p;
    picture.param_size[VA_PARAM_PICTURE] = sizeof(*p);
    memset(&f.packet, 0, sizeof(f.packet));
    return builder->build(f.state, &picture, &f.packet);
}

static int build_tiles(const VADecPictureParameterBufferAV1 *p, uint32_t tiles)
{
    return build_with(&bitstream_av1, p, tiles);
}

/* Builds the frame and lets the decoder read it; the number of pictures that came out. */
static unsigned decode(const VADecPictureParameterBufferAV1 *p)
{
    uint32_t tiles = (uint32_t)p->tile_cols * p->tile_rows;
    Dav1dPicture picture = {0};
    Dav1dData data = {0};
    unsigned count = 0;

    assert_int_equal(build_tiles(p, tiles), 0);
    assert_true(f.packet.data >= f.block);
    assert_ptr_equal(f.packet.data + f.packet.size, f.slices[tiles - 1].data + TILE_SIZE);
    f.asked = 0;
    assert_int_equal(dav1d_data_wrap(&data, f.packet.data, f.packet.size, data_free, NULL), 0);
    dav1d_send_data(f.decoder, &data);
    while (dav1d_get_picture(f.decoder, &picture) == 0) {
        count++;
        dav1d_picture_unref(&picture);
    }
    if (data.sz)
        dav1d_data_unref(&data);
    return count;
}

static void test_key_frame(void **state)
{
    VADecPictureParameterBufferAV1 p;

    (void)state;
    key_frame(&p);
    assert_int_equal(decode(&p), 1);
    assert_int_equal(f.packet.flags, BITSTREAM_KEY | BITSTREAM_RESET);
    assert_int_equal(f.packet.coded_width, 160);
    assert_int_equal(f.packet.open, 0);
    assert_int_equal(f.frame.frame_type, DAV1D_FRAME_TYPE_KEY);
    assert_int_equal(f.frame.refresh_frame_flags, 0xff);
    assert_int_equal(f.frame.width[1], 160);
    assert_int_equal(f.frame.height, 96);
    assert_int_equal(f.sequence.layout, DAV1D_PIXEL_LAYOUT_I420);
    assert_int_equal(f.sequence.order_hint_n_bits, 7);
    assert_int_equal(f.sequence.mtrx, 2);
}

/* Without order hints nobody needs to say how long they are. */
static void test_no_order_hints(void **state)
{
    VADecPictureParameterBufferAV1 p;
    uint32_t map[8] = {0};

    (void)state;
    key_frame(&p);
    p.order_hint_bits_minus_1 = 255;
    assert_int_equal(build_tiles(&p, 1), VD_ERR_PARAMETER);
    p.seq_info_fields.fields.enable_order_hint = 0;
    assert_int_equal(decode(&p), 1);
    assert_int_equal(f.sequence.order_hint_n_bits, 0);
    inter_frame(&p, 1, map);
    p.order_hint_bits_minus_1 = 255;
    p.seq_info_fields.fields.enable_order_hint = 0;
    assert_int_equal(decode(&p), 1);
}

/* Global motion in the range that can be coded, and what later frames predict it from. */
static void random_motion(VADecPictureParameterBufferAV1 *p)
{
    for (int i = 0; i < 7; i++) {
        VAWarpedMotionParamsAV1 *wm = &p->wm[i];
        int hp = p->pic_info_fields.bits.allow_high_precision_mv &&
                 !(p->pic_info_fields.bits.allow_screen_content_tools &&
                   p->pic_info_fields.bits.force_integer_mv);

        wm->wmtype = random_below(4);
        memset(wm->wmmat, 0, sizeof(wm->wmmat));
        wm->wmmat[2] = wm->wmmat[5] = 65536;
        p->pic_info_fields.bits.allow_high_precision_mv = (unsigned)hp;
        if (wm->wmtype == VAAV1TransformationTranslation) {
            int step = hp ? 1 << 13 : 1 << 14, most = hp ? 512 : 256;

            wm->wmmat[0] = ((int)random_below(2u * (unsigned)most + 1) - most) * step;
            wm->wmmat[1] = ((int)random_below(2u * (unsigned)most + 1) - most) * step;
        } else if (wm->wmtype > VAAV1TransformationTranslation) {
            wm->wmmat[0] = ((int)random_below(8193) - 4096) * 1024;
            wm->wmmat[1] = ((int)random_below(8193) - 4096) * 1024;
            wm->wmmat[2] = 65536 + ((int)random_below(8193) - 4096) * 2;
            wm->wmmat[3] = ((int)random_below(8193) - 4096) * 2;
            wm->wmmat[4] = -wm->wmmat[3];
            wm->wmmat[5] = wm->wmmat[2];
            if (wm->wmtype == VAAV1TransformationAffine) {
                wm->wmmat[4] = ((int)random_below(8193) - 4096) * 2;
                wm->wmmat[5] = 65536 + ((int)random_below(8193) - 4096) * 2;
            }
        }
    }
}

static int8_t random_delta(void)
{
    return random_below(2) ? (int8_t)((int)random_below(128) - 64) : 0;
}

static void random_fields(VADecPictureParameterBufferAV1 *p)
{
    p->pic_info_fields.bits.disable_cdf_update = random_below(2);
    p->pic_info_fields.bits.allow_screen_content_tools = random_below(2);
    p->pic_info_fields.bits.force_integer_mv =
        random_below(2) && p->pic_info_fields.bits.allow_screen_content_tools;
    p->pic_info_fields.bits.allow_high_precision_mv = random_below(2);
    p->pic_info_fields.bits.is_motion_mode_switchable = random_below(2);
    p->pic_info_fields.bits.use_ref_frame_mvs = random_below(2);
    p->pic_info_fields.bits.disable_frame_end_update_cdf =
        random_below(2) || p->pic_info_fields.bits.disable_cdf_update;
    p->pic_info_fields.bits.allow_warped_motion = random_below(2);
    p->primary_ref_frame = (uint8_t)random_below(8);
    p->interp_filter = (uint8_t)random_below(5);
    p->base_qindex = (uint8_t)(random_below(4) ? random_below(256) : 0);
    p->y_dc_delta_q = random_delta();
    p->u_dc_delta_q = random_delta();
    p->u_ac_delta_q = random_delta();
    p->v_dc_delta_q = random_delta();
    p->v_ac_delta_q = random_delta();
    p->qmatrix_fields.bits.using_qmatrix = random_below(2);
    p->qmatrix_fields.bits.qm_y = random_below(16) & 15;
    p->qmatrix_fields.bits.qm_u = random_below(16) & 15;
    p->qmatrix_fields.bits.qm_v = random_below(16) & 15;
    p->seg_info.segment_info_fields.bits.enabled = random_below(2);
    p->seg_info.segment_info_fields.bits.update_map = random_below(2);
    p->seg_info.segment_info_fields.bits.update_data = random_below(2);
    for (int i = 0; i < 8; i++) {
        /* Not the features that make noise refer to what is not there. */
        p->seg_info.feature_mask[i] = random_below(32) & 31;
        p->seg_info.feature_data[i][0] = (int16_t)((int)random_below(511) - 255);
        for (int j = 1; j < 5; j++)
            p->seg_info.feature_data[i][j] = (int16_t)((int)random_below(127) - 63);
    }
    p->filter_level[0] = (uint8_t)random_below(64);
    p->filter_level[1] = (uint8_t)random_below(64);
    p->filter_level_u = (uint8_t)random_below(64);
    p->filter_level_v = (uint8_t)random_below(64);
    p->loop_filter_info_fields.bits.sharpness_level = random_below(8) & 7;
    p->loop_filter_info_fields.bits.mode_ref_delta_enabled = random_below(2) & 1;
    p->loop_filter_info_fields.bits.mode_ref_delta_update = random_below(2) & 1;
    for (int i = 0; i < 8; i++)
        p->ref_deltas[i] = random_delta();
    p->mode_deltas[0] = random_delta();
    p->cdef_damping_minus_3 = (uint8_t)random_below(4);
    p->cdef_bits = (uint8_t)random_below(4);
    for (int i = 0; i < 8; i++) {
        p->cdef_y_strengths[i] = (uint8_t)random_below(64);
        p->cdef_uv_strengths[i] = (uint8_t)random_below(64);
    }
    p->loop_restoration_fields.bits.yframe_restoration_type = random_below(4) & 3;
    p->loop_restoration_fields.bits.cbframe_restoration_type = random_below(4) & 3;
    p->loop_restoration_fields.bits.lr_unit_shift = random_below(3) & 3;
    p->mode_control_fields.bits.delta_q_present_flag = random_below(2);
    p->mode_control_fields.bits.log2_delta_q_res = random_below(4);
    p->mode_control_fields.bits.delta_lf_present_flag = random_below(2);
    p->mode_control_fields.bits.delta_lf_multi = random_below(2);
    p->mode_control_fields.bits.tx_mode = 1 + random_below(2);
    p->mode_control_fields.bits.reference_select = random_below(2);
    p->mode_control_fields.bits.reduced_tx_set_used = random_below(2);
    p->mode_control_fields.bits.skip_mode_present = random_below(2);
    random_motion(p);
}

static void check_quantization(const VADecPictureParameterBufferAV1 *p)
{
    assert_int_equal(f.frame.quant.yac, p->base_qindex);
    assert_int_equal(f.frame.quant.ydc_delta, p->y_dc_delta_q);
    assert_int_equal(f.frame.quant.udc_delta, p->u_dc_delta_q);
    assert_int_equal(f.frame.quant.uac_delta, p->u_ac_delta_q);
    assert_int_equal(f.frame.quant.vdc_delta, p->v_dc_delta_q);
    assert_int_equal(f.frame.quant.vac_delta, p->v_ac_delta_q);
    assert_int_equal(f.frame.quant.qm, p->qmatrix_fields.bits.using_qmatrix);
    if (f.frame.quant.qm)
        assert_int_equal(f.frame.quant.qm_v, p->qmatrix_fields.bits.qm_v);
    if (p->base_qindex) {
        assert_int_equal(f.frame.delta.q.present, p->mode_control_fields.bits.delta_q_present_flag);
        if (f.frame.delta.q.present)
            assert_int_equal(f.frame.delta.lf.present,
                             p->mode_control_fields.bits.delta_lf_present_flag);
    }
}

static void check_filters(const VADecPictureParameterBufferAV1 *p)
{
    static const int restoration[] = {DAV1D_RESTORATION_NONE, DAV1D_RESTORATION_WIENER,
                                      DAV1D_RESTORATION_SGRPROJ, DAV1D_RESTORATION_SWITCHABLE};

    assert_int_equal(f.frame.loopfilter.level_y[0], p->filter_level[0]);
    assert_int_equal(f.frame.loopfilter.level_y[1], p->filter_level[1]);
    assert_int_equal(f.frame.loopfilter.sharpness, p->loop_filter_info_fields.bits.sharpness_level);
    if (p->loop_filter_info_fields.bits.mode_ref_delta_enabled &&
        p->loop_filter_info_fields.bits.mode_ref_delta_update) {
        for (int i = 0; i < 8; i++)
            assert_int_equal(f.frame.loopfilter.mode_ref_deltas.ref_delta[i], p->ref_deltas[i]);
        assert_int_equal(f.frame.loopfilter.mode_ref_deltas.mode_delta[0], p->mode_deltas[0]);
    }
    assert_int_equal(f.frame.cdef.n_bits, p->cdef_bits);
    for (int i = 0; i < 1 << p->cdef_bits; i++) {
        assert_int_equal(f.frame.cdef.y_strength[i], p->cdef_y_strengths[i]);
        assert_int_equal(f.frame.cdef.uv_strength[i], p->cdef_uv_strengths[i]);
    }
    assert_int_equal(f.frame.restoration.type[0],
                     restoration[p->loop_restoration_fields.bits.yframe_restoration_type]);
    assert_int_equal(f.frame.restoration.type[1],
                     restoration[p->loop_restoration_fields.bits.cbframe_restoration_type]);
    if (f.frame.restoration.type[0] || f.frame.restoration.type[1])
        assert_int_equal(f.frame.restoration.unit_size[0],
                         6 + p->loop_restoration_fields.bits.lr_unit_shift);
}

static void check_segmentation(const VADecPictureParameterBufferAV1 *p)
{
    assert_int_equal(f.frame.segmentation.enabled, p->seg_info.segment_info_fields.bits.enabled);
    if (!f.frame.segmentation.enabled || !f.frame.segmentation.update_data)
        return;
    for (int i = 0; i < 8; i++) {
        const Dav1dSegmentationData *d = &f.frame.segmentation.seg_data.d[i];
        const int read[] = {d->delta_q, d->delta_lf_y_v, d->delta_lf_y_h, d->delta_lf_u,
                            d->delta_lf_v};

        for (int j = 0; j < 5; j++)
            assert_int_equal(
                read[j], p->seg_info.feature_mask[i] >> j & 1 ? p->seg_info.feature_data[i][j] : 0);
    }
}

static void check_motion(const VADecPictureParameterBufferAV1 *p)
{
    for (int i = 0; i < 7; i++) {
        assert_int_equal(f.frame.gmv[i].type, p->wm[i].wmtype);
        for (int j = 0; j < 6; j++)
            assert_int_equal(f.frame.gmv[i].matrix[j], p->wm[i].wmmat[j]);
    }
}

/*
 * A key frame, then frames with all kinds of values, each read back. Every surface takes its turn,
 * and a map of 6 always leaves room.
 */
static void test_random_frames(void **state)
{
    VADecPictureParameterBufferAV1 p;
    uint32_t map[8] = {0}, complete = 0;
    bool skip_mode = false, loaded = false, lost = true;

    (void)state;
    for (uint32_t i = 1; i < 1000; i++) {
        if (lost) {
            key_frame(&p);
            p.current_frame = i;
            assert_int_equal(decode(&p), 1);
            for (int j = 0; j < 8; j++)
                map[j] = i;
            lost = false;
            continue;
        }
        inter_frame(&p, i, map);
        random_fields(&p);
        /* Not every combination makes a picture of zeros; then its references are gone. */
        lost = decode(&p) == 0;
        complete += !lost;
        assert_int_equal(f.packet.open, 0);
        assert_true(f.asked > 0);
        assert_int_equal(f.frame.frame_type, DAV1D_FRAME_TYPE_INTER);
        assert_int_equal(f.frame.frame_offset, i & 127);
        assert_int_equal(f.frame.primary_ref_frame, p.primary_ref_frame);
        assert_int_equal(f.frame.use_ref_frame_mvs, p.pic_info_fields.bits.use_ref_frame_mvs);
        assert_int_equal(f.frame.refresh_context,
                         !p.pic_info_fields.bits.disable_frame_end_update_cdf);
        check_quantization(&p);
        check_segmentation(&p);
        if (!f.frame.segmentation.enabled && (p.base_qindex || p.y_dc_delta_q))
            check_filters(&p);
        check_motion(&p);
        assert_int_equal(f.frame.warp_motion, p.pic_info_fields.bits.allow_warped_motion);
        assert_int_equal(f.frame.reduced_txtp_set, p.mode_control_fields.bits.reduced_tx_set_used);
        assert_int_equal(f.frame.switchable_comp_refs, p.mode_control_fields.bits.reference_select);
        if (f.frame.skip_mode_allowed)
            assert_int_equal(f.frame.skip_mode_enabled,
                             p.mode_control_fields.bits.skip_mode_present);
        skip_mode |= f.frame.skip_mode_allowed;
        loaded |= f.frame.segmentation.enabled && !f.frame.segmentation.update_data;
        map[i % 6] = i;
        map[6] = map[0];
        map[7] = map[1];
    }
    assert_true(complete > 100);
    assert_true(skip_mode);
    assert_true(loaded);
}

/* Tiles of both kinds of spacing, each in a group of its own. */
static void test_tiles(void **state)
{
    VADecPictureParameterBufferAV1 p;

    (void)state;
    key_frame(&p);
    p.frame_width_minus1 = 5 * 64 - 1;
    p.frame_height_minus1 = 3 * 64 - 1;
    p.tile_cols = 3;
    p.tile_rows = 2;
    p.context_update_tile_id = 4;
    assert_int_equal(decode(&p), 1);
    assert_int_equal(f.frame.tiling.cols, 3);
    assert_int_equal(f.frame.tiling.rows, 2);
    assert_int_equal(f.frame.tiling.update, 4);
    p.pic_info_fields.bits.uniform_tile_spacing_flag = 0;
    p.tile_cols = 2;
    p.width_in_sbs_minus_1[0] = 3;
    p.height_in_sbs_minus_1[0] = 0;
    p.context_update_tile_id = 0;
    assert_int_equal(decode(&p), 1);
    assert_int_equal(f.frame.tiling.col_start_sb[1], 4);
    assert_int_equal(f.frame.tiling.row_start_sb[1], 1);
}

static void test_film_grain(void **state)
{
    VADecPictureParameterBufferAV1 p;
    VAFilmGrainStructAV1 *g = &p.film_grain_info;

    (void)state;
    key_frame(&p);
    g->film_grain_info_fields.bits.apply_grain = 1;
    g->film_grain_info_fields.bits.ar_coeff_lag = 2;
    g->film_grain_info_fields.bits.grain_scaling_minus_8 = 3;
    g->film_grain_info_fields.bits.overlap_flag = 1;
    g->grain_seed = 12345;
    g->num_y_points = 2;
    g->point_y_value[1] = 255;
    g->point_y_scaling[0] = 20;
    g->num_cb_points = g->num_cr_points = 1;
    g->point_cr_value[0] = 128;
    g->ar_coeffs_y[11] = -7;
    g->ar_coeffs_cr[12] = 5;
    g->cr_mult = 3;
    g->cr_offset = 256;
    assert_int_equal(decode(&p), 1);
    assert_int_equal(f.frame.film_grain.data.seed, 12345);
    assert_int_equal(f.frame.film_grain.data.num_y_points, 2);
    assert_int_equal(f.frame.film_grain.data.y_points[0][1], 20);
    assert_int_equal(f.frame.film_grain.data.ar_coeffs_y[11], -7);
    assert_int_equal(f.frame.film_grain.data.ar_coeffs_uv[1][12], 5);
    assert_int_equal(f.frame.film_grain.data.uv_offset[1], 0);
    assert_int_equal(f.frame.film_grain.data.overlap_flag, 1);
    g->point_y_value[1] = 0;
    assert_int_equal(build_tiles(&p, 1), VD_ERR_PARAMETER);
}

/* 8 surfaces are referred to: the ninth is open until the next map shows whose place it took. */
static void test_open(void **state)
{
    VADecPictureParameterBufferAV1 p;
    uint32_t map[8] = {0};
    uint64_t number;
    size_t bit;

    (void)state;
    key_frame(&p);
    assert_int_equal(decode(&p), 1);
    for (uint32_t i = 1; i < 8; i++) {
        inter_frame(&p, i, map);
        decode(&p);
        assert_int_equal(f.packet.open, 0);
        map[i] = i;
    }
    inter_frame(&p, 8, map);
    decode(&p);
    number = f.packet.open;
    bit = f.packet.open_at;
    assert_true(number > 0);
    assert_int_equal(f.frame.refresh_frame_flags, 0);
    /* All ones there are what the decoder then reads. */
    assert_int_equal(build_tiles(&p, 1), 0);
    assert_int_equal(f.packet.refresh_count, 1);
    assert_int_equal(f.packet.refresh[0].open, number);
    assert_int_equal(f.packet.refresh[0].refresh_frame_flags, 0);
    assert_true(f.packet.open > number);
    assert_true(bit / 8 + 1 < f.packet.size);
    number = f.packet.open;
    map[3] = 8;
    inter_frame(&p, 9, map);
    assert_int_equal(build_tiles(&p, 1), 0);
    assert_int_equal(f.packet.refresh_count, 1);
    assert_int_equal(f.packet.refresh[0].open, number);
    assert_true(f.packet.refresh[0].refresh_frame_flags);
    assert_int_equal(
        f.packet.refresh[0].refresh_frame_flags & (f.packet.refresh[0].refresh_frame_flags - 1), 0);
    assert_true(f.packet.open > number);
}

/* What it does not know it guesses, after it saw the oldest frame go for a while. */
static void test_guess(void **state)
{
    VADecPictureParameterBufferAV1 p;
    uint32_t map[8] = {0};
    unsigned guesses = 0;
    uint8_t guess = 0;

    (void)state;
    key_frame(&p);
    assert_int_equal(build_tiles(&p, 1), 0);
    assert_int_equal(f.packet.references, 0);
    for (uint32_t i = 1; i < 60; i++) {
        inter_frame(&p, i, map);
        p.ref_frame_idx[3] = (uint8_t)((i + 7) % 8);
        assert_int_equal(build_tiles(&p, 1), 0);
        assert_false(f.packet.flags & BITSTREAM_RESET);
        assert_true(f.packet.references != 0);
        if (guess) {
            assert_int_equal(f.packet.refresh_count, 1);
            assert_int_equal(f.packet.refresh[0].refresh_frame_flags, guess);
        }
        assert_int_equal(f.packet.open != 0, i >= 8);
        guess = f.packet.guess;
        guesses += guess != 0;
        map[i % 8] = i;
    }
    assert_true(guesses > 40);
    /* Another sequence without a frame that refreshes all: nothing can be repeated. */
    p.seq_info_fields.fields.enable_filter_intra ^= 1;
    p.pic_info_fields.bits.frame_type = 2;
    for (uint32_t i = 60; i < 70; i++) {
        p.current_frame = i;
        memcpy(p.ref_frame_map, map, sizeof(map));
        assert_int_equal(build_tiles(&p, 1), 0);
        assert_int_equal(f.packet.guess, 0);
        map[i % 8] = i;
    }
}

/* For libavcodec the sequence header has the size, and each packet names it. */
static void test_sized(void **state)
{
    VADecPictureParameterBufferAV1 p;
    uint8_t extradata[128];
    size_t size;

    (void)state;
    key_frame(&p);
    assert_int_equal(decode(&p), 1);
    assert_int_equal(f.sequence.max_width, 65536);
    assert_int_equal(f.packet.extradata_size, 0);
    teardown(state);
    setup(state);
    assert_int_equal(build_with(&bitstream_av1_sized, &p, 1), 0);
    size = f.packet.extradata_size;
    assert_in_range(size, 10, sizeof(extradata));
    assert_in_range(f.packet.extradata - f.block, 0, BITSTREAM_HEAD_ROOM - (int)size);
    memcpy(extradata, f.packet.extradata, size);
    /* The first packet has it, too. */
    assert_memory_equal(f.packet.data, extradata, size);
    assert_int_equal(dav1d_parse_sequence_header(&f.sequence, extradata, size), 0);
    /* The larger one of context and frame. */
    assert_int_equal(f.sequence.max_width, 320);
    assert_int_equal(f.sequence.max_height, 96);
    p.current_frame = 1;
    p.frame_width_minus1 = 63;
    assert_int_equal(build_with(&bitstream_av1_sized, &p, 1), 0);
    assert_int_equal(f.packet.extradata_size, size);
    assert_memory_equal(f.packet.extradata, extradata, size);
    assert_memory_not_equal(f.packet.data, extradata, size);
    p.frame_width_minus1 = 399;
    assert_int_equal(build_with(&bitstream_av1_sized, &p, 1), 0);
    assert_memory_not_equal(f.packet.extradata, extradata, size);
    assert_memory_equal(f.packet.data, f.packet.extradata, size);
}

static void test_refused(void **state)
{
    VADecPictureParameterBufferAV1 p;
    uint32_t map[8] = {0, 0, 0, 0, 0, 0, 0, 77};

    (void)state;
    inter_frame(&p, 1, map);
    assert_int_equal(build_tiles(&p, 1), VD_ERR_DECODE);
    key_frame(&p);
    assert_int_equal(build_tiles(&p, 2), VD_ERR_PARAMETER);
    p.tile_cols = 7;
    assert_int_equal(build_tiles(&p, 7), VD_ERR_PARAMETER);
    key_frame(&p);
    p.profile = 2;
    assert_int_equal(build_tiles(&p, 1), VD_ERR_UNSUPPORTED);
    key_frame(&p);
    p.pic_info_fields.bits.large_scale_tile = 1;
    assert_int_equal(build_tiles(&p, 1), VD_ERR_UNSUPPORTED);
    key_frame(&p);
    p.current_frame = VA_INVALID_ID;
    assert_int_equal(build_tiles(&p, 1), VD_ERR_PARAMETER);
    key_frame(&p);
    assert_int_equal(build_tiles(&p, 1), 0);
    /* What is in no slot may be in the map as long as nothing refers to it. */
    inter_frame(&p, 1, map);
    assert_int_equal(build_tiles(&p, 1), 0);
    p.ref_frame_idx[2] = 7;
    assert_int_equal(build_tiles(&p, 1), VD_ERR_DECODE);
    inter_frame(&p, 2, map);
    p.wm[0].wmtype = VAAV1TransformationAffine;
    p.wm[0].wmmat[3] = 1;
    assert_int_equal(build_tiles(&p, 1), VD_ERR_PARAMETER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_key_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_order_hints, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tiles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_film_grain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_guess, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sized, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
