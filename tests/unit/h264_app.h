/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_H264_APP_H
#define VIADUCT_H264_APP_H

/*
 * An app that encodes H.264 through VA-API: it makes VA structs and packed headers of its own, as
 * FFmpeg or GStreamer do, and has them brought to a request.
 */

#include <va/va.h>
#include <va/va_enc_h264.h>
#include <viaduct/errors.h>
#include <viaduct/va_newer.h>

#include "bitstream/bits.h"
#include "check.h"
#include "encode/encode.h"

enum app_style {
    APP_FFMPEG,
    APP_GSTREAMER,
    APP_NO_HEADERS,
    APP_NO_SLICE_HEADERS,
    APP_ONLY_SPS,
    APP_ONLY_PPS
};

struct app_config {
    const char *name;
    const char *x264; /* options besides the usual ones */
    unsigned width, height;
    unsigned idc;         /* profile_idc */
    unsigned extra_depth; /* bits above 8 */
    enum app_style style;
    bool end; /* the last picture ends the stream */
    bool cabac, transform_8x8, deblocking_control, weighted, aud, sei, scaling, constrained_intra;
    int slices, qp, init_qp, cb_offset, cr_offset;
    unsigned log2_frame_num, poc_type, log2_poc; /* 0: 4, 0, 4 */
    unsigned ref_frames, list_size;              /* 0: 1 */
    unsigned idr_period, i_period;               /* pictures, 0: only the first */
    unsigned long_term;  /* IDR pictures and every n-th one become long-term references */
    unsigned skip_every; /* every n-th picture is no reference */
    bool spare;          /* an extra PPS is expected */
    bool fails;          /* write refuses */
};

#define APP_REFS 16

struct app {
    struct app_config c;
    VAEncSequenceParameterBufferH264 seq;
    VAEncPictureParameterBufferH264 pic;
    VAEncSliceParameterBufferH264 slice[64];
    const void *slices[64];
    uint8_t bytes[16][512];
    struct encode_header headers[16];
    struct encode_picture picture;
    unsigned count, frame_num, idr_count, since_idr;
    VAPictureH264 refs[APP_REFS]; /* latest first */
    unsigned ref_count;
};

static inline unsigned app_mbs(unsigned pixels)
{
    return (pixels + 15) / 16;
}

static inline void app_start(struct app *app, const struct app_config *config)
{
    struct app_config *c = &app->c;

    memset(app, 0, sizeof(*app));
    *c = *config;
    c->log2_frame_num = c->log2_frame_num ? c->log2_frame_num : 4;
    c->log2_poc = c->log2_poc ? c->log2_poc : 4;
    c->ref_frames = c->ref_frames ? c->ref_frames : 1;
    c->list_size = c->list_size ? c->list_size : 1;
    c->slices = c->slices ? c->slices : 1;
    c->init_qp = c->init_qp ? c->init_qp : 26;
    c->width = c->width ? c->width : 176;
    c->height = c->height ? c->height : 144;
    app->seq = (VAEncSequenceParameterBufferH264){
        .level_idc = 41,
        .intra_period = 30,
        .max_num_ref_frames = c->ref_frames,
        .picture_width_in_mbs = (uint16_t)app_mbs(c->width),
        .picture_height_in_mbs = (uint16_t)app_mbs(c->height),
        .frame_cropping_flag = c->width % 16 || c->height % 16,
        .frame_crop_right_offset = (app_mbs(c->width) * 16 - c->width) / 2,
        .frame_crop_bottom_offset = (app_mbs(c->height) * 16 - c->height) / 2,
        .bit_depth_luma_minus8 = (uint8_t)c->extra_depth,
        .bit_depth_chroma_minus8 = (uint8_t)c->extra_depth,
        .vui_parameters_present_flag = 1,
        .num_units_in_tick = 1,
        .time_scale = 50,
    };
    app->seq.seq_fields.bits.chroma_format_idc = 1;
    app->seq.seq_fields.bits.frame_mbs_only_flag = 1;
    app->seq.seq_fields.bits.direct_8x8_inference_flag = 1;
    app->seq.seq_fields.bits.log2_max_frame_num_minus4 = (c->log2_frame_num - 4) & 15;
    app->seq.seq_fields.bits.pic_order_cnt_type = c->poc_type & 3;
    app->seq.seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 = (c->log2_poc - 4) & 15;
    app->seq.vui_fields.bits.timing_info_present_flag = 1;
    app->pic.pic_init_qp = (uint8_t)c->init_qp;
    app->pic.chroma_qp_index_offset = (int8_t)c->cb_offset;
    app->pic.second_chroma_qp_index_offset = (int8_t)c->cr_offset;
    app->pic.num_ref_idx_l0_active_minus1 = (uint8_t)(c->list_size - 1);
    app->pic.pic_fields.bits.entropy_coding_mode_flag = c->cabac;
    app->pic.pic_fields.bits.transform_8x8_mode_flag = c->transform_8x8;
    app->pic.pic_fields.bits.deblocking_filter_control_present_flag = c->deblocking_control;
    app->pic.pic_fields.bits.weighted_pred_flag = c->weighted;
    app->pic.pic_fields.bits.constrained_intra_pred_flag = c->constrained_intra;
}

static inline void app_sps(struct app *app, struct bits_writer *w)
{
    const struct app_config *c = &app->c;

    bits_write(w, 8, 0x67);
    bits_write(w, 8, c->idc);
    bits_write(w, 8, 0);
    bits_write(w, 8, 41);
    bits_write_ue(w, 0);
    if (c->idc >= 100) {
        bits_write_ue(w, 1);
        bits_write_ue(w, c->extra_depth);
        bits_write_ue(w, c->extra_depth);
        bits_write(w, 1, 0);
        bits_write(w, 1, c->scaling);
        if (c->scaling)
            bits_write(w, 8, 0); /* all lists are the default ones */
    }
    bits_write_ue(w, c->log2_frame_num - 4);
    bits_write_ue(w, c->poc_type);
    if (c->poc_type == 0)
        bits_write_ue(w, c->log2_poc - 4);
    bits_write_ue(w, c->ref_frames);
    bits_write(w, 1, 0);
    bits_write_ue(w, app_mbs(c->width) - 1);
    bits_write_ue(w, app_mbs(c->height) - 1);
    bits_write(w, 2, 3);
    bits_write(w, 1, app->seq.frame_cropping_flag);
    if (app->seq.frame_cropping_flag) {
        bits_write_ue(w, 0);
        bits_write_ue(w, app->seq.frame_crop_right_offset);
        bits_write_ue(w, 0);
        bits_write_ue(w, app->seq.frame_crop_bottom_offset);
    }
    bits_write(w, 1, 1);
    bits_write(w, 4, 0); /* aspect, overscan, video, chroma */
    /* A tick of 1 has 00 00 00 01 in it: it must be escaped. */
    bits_write(w, 1, 1);
    bits_write(w, 32, 1);
    bits_write(w, 32, 50);
    bits_write(w, 1, 1);
    bits_write(w, 3, 0);
    bits_write(w, 2, 3); /* bitstream restriction: vectors over boundaries */
    bits_write_ue(w, 0);
    bits_write_ue(w, 0);
    bits_write_ue(w, 15);
    bits_write_ue(w, 15);
    bits_write_ue(w, 0);
    bits_write_ue(w, c->ref_frames);
}

static inline void app_pps(const struct app *app, struct bits_writer *w)
{
    const struct app_config *c = &app->c;

    bits_write(w, 8, 0x68);
    bits_write_ue(w, 0);
    bits_write_ue(w, 0);
    bits_write(w, 1, c->cabac);
    bits_write(w, 1, 0);
    bits_write_ue(w, 0);
    bits_write_ue(w, c->list_size - 1);
    bits_write_ue(w, 0);
    bits_write(w, 1, c->weighted);
    bits_write(w, 2, 0);
    bits_write_se(w, c->init_qp - 26);
    bits_write_se(w, 0);
    bits_write_se(w, c->cb_offset);
    bits_write(w, 1, c->deblocking_control);
    bits_write(w, 1, c->constrained_intra);
    bits_write(w, 1, 0);
    if (c->idc >= 100) {
        bits_write(w, 1, c->transform_8x8);
        bits_write(w, 1, 0);
        bits_write_se(w, c->cr_offset);
    }
}

static inline void app_slice(const struct app *app, struct bits_writer *w)
{
    const struct app_config *c = &app->c;
    const VAEncSliceParameterBufferH264 *s = &app->slice[0];
    bool idr = app->pic.pic_fields.bits.idr_pic_flag;
    bool reference = app->pic.pic_fields.bits.reference_pic_flag;
    unsigned period = c->long_term;

    bits_write(w, 8, (reference ? 0x60u : 0u) | (idr ? 5 : 1));
    bits_write_ue(w, 0);
    bits_write_ue(w, s->slice_type);
    bits_write_ue(w, 0);
    bits_write(w, c->log2_frame_num, app->pic.frame_num);
    if (idr)
        bits_write_ue(w, s->idr_pic_id);
    if (c->poc_type == 0)
        bits_write(w, c->log2_poc, s->pic_order_cnt_lsb);
    if (s->slice_type % 5 == 0) {
        bits_write(w, 1, 1);
        bits_write_ue(w, s->num_ref_idx_l0_active_minus1);
        bits_write(w, 1, 0);
        if (c->weighted) {
            bits_write_ue(w, 0);
            bits_write_ue(w, 0);
            bits_write(w, 2u * (s->num_ref_idx_l0_active_minus1 + 1u), 0);
        }
    }
    if (idr) {
        bits_write(w, 1, 0);
        bits_write(w, 1, period != 0);
    } else if (reference) {
        bool mark = period && app->since_idr % period == 0;

        bits_write(w, 1, mark);
        if (mark) {
            bits_write_ue(w, 2); /* the last one is replaced */
            bits_write_ue(w, 0);
            bits_write_ue(w, 6);
            bits_write_ue(w, 0);
            bits_write_ue(w, 0);
        }
    }
    if (c->cabac && s->slice_type % 5 == 0)
        bits_write_ue(w, 0);
    bits_write_se(w, s->slice_qp_delta);
    if (c->deblocking_control) {
        bits_write_ue(w, 0);
        bits_write_se(w, 0);
        bits_write_se(w, 0);
    }
}

static inline size_t app_put(struct app *app, uint8_t *data, const struct bits_writer *w)
{
    size_t size;

    assert_false(w->error);
    memcpy(data, "\0\0\0\1", 4);
    if (app->c.style == APP_GSTREAMER) {
        memcpy(data + 4, w->data, w->used);
        size = w->used;
    } else {
        assert_int_equal(bits_escape(w->data, w->used, data + 4, 400, &size), 0);
    }
    return size + 4;
}

static inline void app_header(struct app *app, uint32_t type, size_t size, unsigned spare_bits)
{
    uint32_t i = app->picture.header_count++;

    app->headers[i] = (struct encode_header){
        .type = type,
        .escaped = app->c.style != APP_GSTREAMER,
        .bits = (uint32_t)size * 8 - spare_bits,
        .bytes = app->bytes[i],
    };
}

/* The packed headers of a picture. */
static inline void app_headers(struct app *app)
{
    static const uint8_t sei[] = {6, 5, 18, 1, 0, 0, 1, 0, 0, 0, 0,
                                  0, 0, 0,  0, 0, 0, 0, 0, 0, 2, 0x80};
    bool idr = app->pic.pic_fields.bits.idr_pic_flag;
    uint8_t rbsp[256];
    struct bits_writer w;
    size_t size = 0;

    if (app->c.style == APP_NO_HEADERS)
        return;
    if (app->c.aud && (app->c.style == APP_GSTREAMER || idr)) {
        bits_write_init(&w, rbsp, sizeof(rbsp));
        bits_write(&w, 16, 0x0930);
        size = app_put(app, app->bytes[app->picture.header_count], &w);
        if (app->c.style == APP_GSTREAMER) {
            app_header(app, VAEncPackedHeaderRawData, size, 0);
            size = 0;
        }
    }
    if (idr) {
        bits_write_init(&w, rbsp, sizeof(rbsp));
        app_sps(app, &w);
        bits_write_trailing(&w);
        if (app->c.style != APP_ONLY_PPS)
            size += app_put(app, app->bytes[app->picture.header_count] + size, &w);
        if (app->c.style == APP_GSTREAMER) {
            app_header(app, VAEncPackedHeaderSequence, size, 0);
            size = 0;
        }
        bits_write_init(&w, rbsp, sizeof(rbsp));
        app_pps(app, &w);
        bits_write_trailing(&w);
        if (app->c.style != APP_ONLY_SPS)
            size += app_put(app, app->bytes[app->picture.header_count] + size, &w);
        app_header(app,
                   app->c.style == APP_GSTREAMER || app->c.style == APP_ONLY_PPS
                       ? VAEncPackedHeaderPicture
                       : VAEncPackedHeaderSequence,
                   size, 0);
    }
    if (app->c.sei) {
        bits_write_init(&w, rbsp, sizeof(rbsp));
        for (size_t i = 0; i < sizeof(sei); i++)
            bits_write(&w, 8, sei[i]);
        size = app_put(app, app->bytes[app->picture.header_count], &w);
        app_header(app, VAEncPackedHeaderRawData, size, 0);
    }
    if (app->c.style != APP_FFMPEG && app->c.style != APP_GSTREAMER)
        return;
    for (int i = 0; i < app->c.slices; i++) {
        unsigned spare;

        if (i && app->picture.header_count == COUNT(app->headers))
            break;
        size = 0;
        if (!i && app->c.aud && app->c.style == APP_FFMPEG && !idr) {
            bits_write_init(&w, rbsp, sizeof(rbsp));
            bits_write(&w, 16, 0x0930);
            size = app_put(app, app->bytes[app->picture.header_count], &w);
        }
        bits_write_init(&w, rbsp, sizeof(rbsp));
        app_slice(app, &w);
        spare = (8 - w.count) & 7;
        bits_write(&w, spare, 0);
        size += app_put(app, app->bytes[app->picture.header_count] + size, &w);
        app_header(app, VAEncPackedHeaderSlice, size, spare);
    }
}

/* The next picture: everything but the pixels. */
static inline const struct encode_picture *app_next(struct app *app)
{
    static const uint32_t packed[] = {
        [APP_FFMPEG] = 0xd,
        [APP_GSTREAMER] = 0x17,
        [APP_NO_HEADERS] = 0,
        [APP_NO_SLICE_HEADERS] = VA_ENC_PACKED_HEADER_SEQUENCE | VA_ENC_PACKED_HEADER_PICTURE,
        [APP_ONLY_SPS] = VA_ENC_PACKED_HEADER_SEQUENCE,
        [APP_ONLY_PPS] = VA_ENC_PACKED_HEADER_PICTURE,
    };
    const struct app_config *c = &app->c;
    bool idr = !app->count || (c->idr_period && app->since_idr == c->idr_period);
    bool i, reference = idr || !c->skip_every || app->count % c->skip_every;
    uint32_t rows = app_mbs(c->height);

    app->since_idr = idr ? 0 : app->since_idr + (app->count ? 1 : 0);
    i = idr || (c->i_period && app->since_idr % c->i_period == 0);
    if (idr) {
        app->frame_num = 0;
        app->ref_count = 0;
        app->idr_count++;
    }
    app->pic.pic_fields.bits.idr_pic_flag = idr;
    app->pic.pic_fields.bits.reference_pic_flag = reference;
    app->pic.frame_num = (uint16_t)(app->frame_num & ((1u << c->log2_frame_num) - 1));
    app->pic.CurrPic =
        (VAPictureH264){.picture_id = 100 + app->count % 32, .frame_idx = app->pic.frame_num};
    for (unsigned r = 0; r < 16; r++) {
        app->pic.ReferenceFrames[r] =
            (VAPictureH264){.picture_id = VA_INVALID_SURFACE, .flags = VA_PICTURE_H264_INVALID};
        if (r < app->ref_count)
            app->pic.ReferenceFrames[r] = app->refs[r];
    }
    for (int s = 0; s < c->slices; s++) {
        VAEncSliceParameterBufferH264 *slice = &app->slice[s];
        unsigned active = app->ref_count < c->list_size ? app->ref_count : c->list_size;

        memset(slice, 0, sizeof(*slice));
        slice->macroblock_address = rows * (uint32_t)s / (uint32_t)c->slices * app_mbs(c->width);
        slice->slice_type = i ? 7 : 5;
        slice->idr_pic_id = (uint16_t)(app->idr_count & 1);
        slice->pic_order_cnt_lsb = (uint16_t)(app->since_idr * 2 & ((1u << c->log2_poc) - 1));
        slice->num_ref_idx_active_override_flag = 1;
        slice->num_ref_idx_l0_active_minus1 = (uint8_t)(active ? active - 1 : 0);
        slice->slice_qp_delta = (int8_t)(c->qp - c->init_qp);
        for (unsigned r = 0; r < 32; r++)
            slice->RefPicList0[r] = r < active ? app->refs[r]
                                               : (VAPictureH264){.picture_id = VA_INVALID_SURFACE,
                                                                 .flags = VA_PICTURE_H264_INVALID};
        app->slices[s] = slice;
    }
    app->picture = (struct encode_picture){
        .profile = c->idc == 110   ? VAProfileH264High10
                   : c->idc == 100 ? VAProfileH264High
                   : c->idc == 77  ? VAProfileH264Main
                                   : VAProfileH264ConstrainedBaseline,
        .width = c->width,
        .height = c->height,
        .surface_width = c->width,
        .surface_height = c->height,
        .rate_control = VA_RC_CQP,
        .packed_headers = packed[c->style],
        .slices = app->slices,
        .slice_count = (uint32_t)c->slices,
        .headers = app->headers,
    };
    app->picture.param[ENCODE_PARAM_PICTURE] = &app->pic;
    if (idr)
        app->picture.param[ENCODE_PARAM_SEQUENCE] = &app->seq;
    app_headers(app);
    if (reference) {
        memmove(&app->refs[1], &app->refs[0], (APP_REFS - 1) * sizeof(app->refs[0]));
        app->refs[0] = app->pic.CurrPic;
        if (app->ref_count < c->ref_frames)
            app->ref_count++;
        app->frame_num++;
    }
    app->count++;
    return &app->picture;
}

#endif
