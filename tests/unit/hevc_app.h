/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_HEVC_APP_H
#define VIADUCT_TEST_HEVC_APP_H

#include <string.h>

#include <va/va.h>

#include "bitstream/bits.h"
#include "encode/encode.h"
#include "encode/hevc_head.h"

/*
 * What an app that encodes H.265 sends: parameter buffers, and headers that it packed itself, as
 * ffmpeg or GStreamer do.
 */

enum app_style {
    APP_FFMPEG,    /* all parameter sets in one buffer, emulation prevention bytes included */
    APP_GSTREAMER, /* a buffer each, without them */
    APP_NO_PPS,    /* the driver takes packed sequence headers only */
    APP_NONE,
};

struct app_config {
    enum app_style style;
    unsigned width, height, depth, chroma; /* chroma_format_idc */
    unsigned log2_ctb, log2_min_cb, log2_max_tb, inter, intra;
    bool amp, sao, strong, sign, tskip, cu_qp_delta, tmvp, weighted, deblock_override, odd, still,
        uneven, extension, vui;
    unsigned qp_depth, slices, dpb;
    int cb;
    int init_qp, poc_step;
};

#define APP_HEADER_BYTES 512

struct app {
    struct app_config config;
    VAEncSequenceParameterBufferHEVC seq;
    VAEncPictureParameterBufferHEVC pic;
    VAEncSliceParameterBufferHEVC slice[8];
    const void *slices[8];
    uint8_t bytes[8][APP_HEADER_BYTES];
    struct encode_header headers[8];
    unsigned header_count;
    int32_t poc;
    struct encode_picture picture;
};

static inline unsigned app_align(unsigned value, unsigned log2)
{
    return (value + (1u << log2) - 1) >> log2 << log2;
}

static inline void app_profile(struct bits_writer *w, const struct app_config *c)
{
    unsigned profile = c->chroma > 1 ? 4 : c->depth == 10 ? 2 : 1;

    bits_write(w, 8, profile);
    bits_write(w, 32, 0x80000000u >> profile);
    bits_write(w, 4, 9); /* progressive, frames only */
    bits_write(w, 32, 0);
    bits_write(w, 12, 0);
    bits_write(w, 8, 93);
}

static inline void app_vps(struct bits_writer *w, const struct app_config *c)
{
    bits_write(w, 16, HEVC_NAL_VPS << 9 | 1);
    bits_write(w, 4, 0);
    bits_write(w, 2, 3);
    bits_write(w, 6, 0);
    bits_write(w, 3, 0);
    bits_write(w, 1, 1);
    bits_write(w, 16, 0xffff);
    app_profile(w, c);
    bits_write(w, 1, 0);
    bits_write_ue(w, 1);
    bits_write_ue(w, 0);
    bits_write_ue(w, 0);
    bits_write(w, 6, 0);
    bits_write_ue(w, 0);
    bits_write(w, 2, 0);
    bits_write_trailing(w);
}

/* All that a VUI may have. */
static inline void app_vui(struct bits_writer *w)
{
    bits_write(w, 1, 1);
    bits_write(w, 8, 255);
    bits_write(w, 32, 0x00010001);
    bits_write(w, 2, 2); /* overscan */
    bits_write(w, 1, 1);
    bits_write(w, 5, 5 << 2 | 1);
    bits_write(w, 24, 0x010101);
    bits_write(w, 1, 1);
    bits_write_ue(w, 1);
    bits_write_ue(w, 1);
    bits_write(w, 3, 0);
    bits_write(w, 1, 1);
    for (int i = 0; i < 4; i++)
        bits_write_ue(w, 0);
    bits_write(w, 1, 1);
    bits_write(w, 32, 1);
    bits_write(w, 32, 30);
    bits_write(w, 1, 1);
    bits_write_ue(w, 0);
    bits_write(w, 1, 1); /* hrd_parameters: NAL alone, no sub-pictures */
    bits_write(w, 3, 4);
    bits_write(w, 8, 0x11);
    bits_write(w, 15, 0x1234);
    bits_write(w, 2, 0);
    bits_write(w, 1, 0); /* low_delay_hrd_flag */
    bits_write_ue(w, 1); /* two CPBs */
    for (int i = 0; i < 2; i++) {
        bits_write_ue(w, 1000);
        bits_write_ue(w, 2000);
        bits_write(w, 1, 0);
    }
    bits_write(w, 1, 1);
    bits_write(w, 3, 2);
    for (int i = 0; i < 5; i++)
        bits_write_ue(w, 1);
}

static inline void app_sps(struct bits_writer *w, const struct app_config *c)
{
    unsigned width = app_align(c->width, c->log2_min_cb);
    unsigned height = app_align(c->height, c->log2_min_cb);

    bits_write(w, 16, HEVC_NAL_SPS << 9 | 1);
    bits_write(w, 4, 0);
    bits_write(w, 3, 0);
    bits_write(w, 1, 1);
    app_profile(w, c);
    bits_write_ue(w, c->odd ? 3 : 0);
    bits_write_ue(w, c->chroma);
    if (c->chroma == 3)
        bits_write(w, 1, 0);
    bits_write_ue(w, width);
    bits_write_ue(w, height);
    bits_write(w, 1, width != c->width || height != c->height);
    if (width != c->width || height != c->height) {
        bits_write_ue(w, 0);
        bits_write_ue(w, (width - c->width) / (c->chroma == 3 ? 1 : 2));
        bits_write_ue(w, 0);
        bits_write_ue(w, (height - c->height) / (c->chroma == 1 ? 2 : 1));
    }
    bits_write_ue(w, c->depth - 8);
    bits_write_ue(w, c->depth - 8);
    bits_write_ue(w, c->odd ? 0 : 8); /* log2_max_pic_order_cnt_lsb_minus4 */
    bits_write(w, 1, 0);
    bits_write_ue(w, c->dpb); /* sps_max_dec_pic_buffering_minus1 */
    bits_write_ue(w, 0);
    bits_write_ue(w, 0);
    bits_write_ue(w, c->log2_min_cb - 3);
    bits_write_ue(w, c->log2_ctb - c->log2_min_cb);
    bits_write_ue(w, 0);
    bits_write_ue(w, c->log2_max_tb - 2);
    bits_write_ue(w, c->inter);
    bits_write_ue(w, c->intra);
    bits_write(w, 1, 0); /* scaling_list_enabled_flag */
    bits_write(w, 1, c->amp);
    bits_write(w, 1, c->sao);
    bits_write(w, 1, 0); /* pcm_enabled_flag */
    if (c->odd) {
        /* Two sets, the second predicted from the first; long-term pictures, one in the SPS. */
        bits_write_ue(w, 2);
        bits_write_ue(w, 1);
        bits_write_ue(w, 0);
        bits_write_ue(w, 0);
        bits_write(w, 1, 1);
        bits_write(w, 1, 1);
        bits_write(w, 1, 1);
        bits_write_ue(w, 0);
        bits_write(w, 2, 3);
        bits_write(w, 1, 1);
        bits_write_ue(w, 1);
        bits_write(w, 4, 5);
        bits_write(w, 1, 0);
    } else {
        bits_write_ue(w, 0);
        bits_write(w, 1, 0);
    }
    bits_write(w, 1, c->tmvp);
    bits_write(w, 1, c->strong);
    bits_write(w, 1, c->vui);
    if (c->vui)
        app_vui(w);
    bits_write(w, 1, c->extension);
    if (c->extension) {
        bits_write(w, 8, 0x80); /* sps_range_extension_flag */
        bits_write(w, 9, 0x80); /* transform_skip_context_enabled_flag */
    }
    bits_write_trailing(w);
}

static inline void app_pps(struct bits_writer *w, const struct app_config *c)
{
    bits_write(w, 16, HEVC_NAL_PPS << 9 | 1);
    bits_write_ue(w, c->odd ? 5 : 0);
    bits_write_ue(w, c->odd ? 3 : 0);
    bits_write(w, 1, c->odd); /* dependent_slice_segments_enabled_flag */
    bits_write(w, 1, c->odd); /* output_flag_present_flag */
    bits_write(w, 3, c->odd ? 2 : 0);
    bits_write(w, 1, c->sign);
    bits_write(w, 1, c->odd); /* cabac_init_present_flag */
    bits_write_ue(w, c->odd ? 2 : 0);
    bits_write_ue(w, 0);
    bits_write_se(w, c->init_qp - 26);
    bits_write(w, 1, 0); /* constrained_intra_pred_flag */
    bits_write(w, 1, c->tskip);
    bits_write(w, 1, c->cu_qp_delta);
    if (c->cu_qp_delta)
        bits_write_ue(w, c->qp_depth);
    bits_write_se(w, c->cb);
    bits_write_se(w, 0);
    bits_write(w, 1, c->odd); /* pps_slice_chroma_qp_offsets_present_flag */
    bits_write(w, 1, c->weighted);
    bits_write(w, 1, 0);
    bits_write(w, 1, 0);
    bits_write(w, 2, 0); /* tiles, entropy_coding_sync */
    bits_write(w, 1, 1); /* pps_loop_filter_across_slices_enabled_flag */
    bits_write(w, 1, c->deblock_override);
    if (c->deblock_override) {
        bits_write(w, 1, 1);
        bits_write(w, 1, 0);
        bits_write_se(w, 2);
        bits_write_se(w, -1);
    }
    bits_write(w, 1, 0);
    bits_write(w, 1, c->odd); /* lists_modification_present_flag */
    bits_write_ue(w, 0);
    bits_write(w, 1, c->odd); /* slice_segment_header_extension_present_flag */
    bits_write(w, 1, 0);
    bits_write_trailing(w);
}

static inline void app_raw(struct bits_writer *w, unsigned nal, const uint8_t *bytes, size_t size)
{
    bits_write(w, 16, nal << 9 | 1);
    while (size-- > 0)
        bits_write(w, 8, *bytes++);
}

/* Appends a NAL unit to header `at`, or to a new one. */
static inline void app_header(struct app *app, bool append, uint32_t type, const uint8_t *rbsp,
                              size_t size)
{
    bool escaped = app->config.style != APP_GSTREAMER;
    unsigned at = append ? app->header_count - 1 : app->header_count++;
    struct encode_header *header = &app->headers[at];
    size_t used = append ? header->bits / 8 : 0;
    static const uint8_t start[4] = {0, 0, 0, 1};

    memcpy(app->bytes[at] + used, start, 4);
    used += 4;
    if (escaped) {
        bits_escape(rbsp, size, app->bytes[at] + used, APP_HEADER_BYTES - used, &size);
    } else {
        memcpy(app->bytes[at] + used, rbsp, size);
    }
    *header = (struct encode_header){
        .type = type,
        .escaped = escaped,
        .bits = (uint32_t)(8 * (used + size)),
        .bytes = app->bytes[at],
    };
}

/* mastering_display_colour_volume, with bytes that look like a start code. */
static const uint8_t app_sei[] = {137,  24,   0x33, 0xc2, 0x86, 0xc4, 0x1d, 0x4c, 0x0b,
                                  0xb8, 0x84, 0xd0, 0x3e, 0x80, 0x3d, 0x13, 0x40, 0x42,
                                  0x00, 0x98, 0x96, 0x80, 0x00, 0x00, 0x00, 0x01, 0x80};
static const uint8_t app_aud[] = {0x50};
static const uint8_t app_suffix[] = {200, 1, 7, 0x80};

static inline void app_pack(struct app *app, bool key, unsigned nal)
{
    enum app_style style = app->config.style;
    struct bits_writer w;
    uint8_t rbsp[256];

    app->header_count = 0;
    if (style == APP_NONE)
        return;
    if (style == APP_GSTREAMER) {
        bits_write_init(&w, rbsp, sizeof(rbsp));
        app_raw(&w, HEVC_NAL_AUD, app_aud, sizeof(app_aud));
        app_header(app, false, VAEncPackedHeaderRawData, rbsp, w.used);
    }
    if (key) {
        bits_write_init(&w, rbsp, sizeof(rbsp));
        app_vps(&w, &app->config);
        app_header(app, false, VAEncPackedHeaderSequence, rbsp, w.used);
        bits_write_init(&w, rbsp, sizeof(rbsp));
        app_sps(&w, &app->config);
        app_header(app, style == APP_FFMPEG, VAEncPackedHeaderSequence, rbsp, w.used);
        if (style != APP_NO_PPS) {
            bits_write_init(&w, rbsp, sizeof(rbsp));
            app_pps(&w, &app->config);
            app_header(app, style == APP_FFMPEG, VAEncPackedHeaderPicture, rbsp, w.used);
        }
        bits_write_init(&w, rbsp, sizeof(rbsp));
        app_raw(&w, HEVC_NAL_SUFFIX_SEI, app_suffix, sizeof(app_suffix));
        app_header(app, false, VAEncPackedHeaderRawData, rbsp, w.used);
        bits_write_init(&w, rbsp, sizeof(rbsp));
        app_raw(&w, HEVC_NAL_PREFIX_SEI, app_sei, sizeof(app_sei));
        app_header(app, false, VAEncPackedHeaderRawData, rbsp, w.used);
    }
    if (style != APP_NO_PPS) {
        bits_write_init(&w, rbsp, sizeof(rbsp));
        bits_write(&w, 16, nal << 9 | 1);
        bits_write(&w, 1, 1);
        if (nal >= 16)
            bits_write(&w, 1, 0);
        bits_write_ue(&w, app->config.odd ? 5 : 0);
        bits_write_trailing(&w);
        app_header(app, false, VAEncPackedHeaderSlice, rbsp, w.used);
    }
}

static inline void app_init(struct app *app, const struct app_config *config)
{
    const struct app_config *c = config;

    memset(app, 0, sizeof(*app));
    app->config = *config;
    app->seq = (VAEncSequenceParameterBufferHEVC){
        .general_profile_idc = c->chroma > 1    ? 4
                               : c->depth == 10 ? 2
                                                : 1,
        .general_level_idc = 93,
        .intra_period = 30,
        .intra_idr_period = 30,
        .ip_period = 1,
        .bits_per_second = 400000,
        .pic_width_in_luma_samples = (uint16_t)app_align(c->width, c->log2_min_cb),
        .pic_height_in_luma_samples = (uint16_t)app_align(c->height, c->log2_min_cb),
        .log2_min_luma_coding_block_size_minus3 = (uint8_t)(c->log2_min_cb - 3),
        .log2_diff_max_min_luma_coding_block_size = (uint8_t)(c->log2_ctb - c->log2_min_cb),
        .log2_diff_max_min_transform_block_size = (uint8_t)(c->log2_max_tb - 2),
        .max_transform_hierarchy_depth_inter = (uint8_t)c->inter,
        .max_transform_hierarchy_depth_intra = (uint8_t)c->intra,
    };
    app->seq.seq_fields.bits.chroma_format_idc = c->chroma & 3;
    app->seq.seq_fields.bits.bit_depth_luma_minus8 = (c->depth - 8) & 7;
    app->seq.seq_fields.bits.bit_depth_chroma_minus8 = (c->depth - 8) & 7;
    app->seq.seq_fields.bits.strong_intra_smoothing_enabled_flag = c->strong;
    app->seq.seq_fields.bits.amp_enabled_flag = c->amp;
    app->seq.seq_fields.bits.sample_adaptive_offset_enabled_flag = c->sao;
    app->pic.pic_init_qp = (uint8_t)c->init_qp;
    app->pic.diff_cu_qp_delta_depth = (uint8_t)c->qp_depth;
    app->pic.pic_fields.bits.cu_qp_delta_enabled_flag = c->cu_qp_delta;
    app->pic.pic_fields.bits.sign_data_hiding_enabled_flag = c->sign;
    app->pic.pic_fields.bits.transform_skip_enabled_flag = c->tskip;
    app->pic.pic_fields.bits.reference_pic_flag = 1;
}

static inline VAProfile app_va_profile(const struct app_config *c)
{
    static const VAProfile profiles[3][2] = {
        {VAProfileHEVCMain, VAProfileHEVCMain10},
        {VAProfileHEVCMain422_10, VAProfileHEVCMain422_10},
        {VAProfileHEVCMain444, VAProfileHEVCMain444_10},
    };

    return profiles[c->chroma - 1][c->depth == 10];
}

/* The next picture, which lies in `app`. `nal` is what the app makes of it. */
static inline const struct encode_picture *app_picture(struct app *app, enum hevc_nal nal,
                                                       bool intra)
{
    bool idr = nal == HEVC_NAL_IDR_W_RADL || nal == HEVC_NAL_IDR_N_LP;

    app->poc = idr ? 0 : app->poc + app->config.poc_step;
    if (app->config.uneven)
        app->poc += (app->poc & 3) == 2;
    app->pic.decoded_curr_pic.pic_order_cnt = app->poc;
    app->pic.nal_unit_type = (uint8_t)nal;
    app->pic.pic_fields.bits.idr_pic_flag = idr;
    app->pic.pic_fields.bits.coding_type = intra ? 1 : 2;
    app->pic.slice_pic_parameter_set_id = app->config.odd ? 5 : 0;
    for (unsigned i = 0; i < app->config.slices; i++) {
        app->slice[i].slice_type = intra ? HEVC_SLICE_I : HEVC_SLICE_P;
        app->slices[i] = &app->slice[i];
    }
    app_pack(app, idr, nal);
    app->picture = (struct encode_picture){
        .profile = app_va_profile(&app->config),
        .width = app->config.width,
        .height = app->config.height,
        .surface_width = app->config.width,
        .surface_height = app->config.height,
        .rate_control = app->config.cu_qp_delta ? VA_RC_CBR : VA_RC_CQP,
        .param = {idr ? &app->seq : NULL, &app->pic},
        .slices = app->slices,
        .slice_count = app->config.slices,
        .headers = app->headers,
        .header_count = app->header_count,
    };
    return &app->picture;
}

#endif
