/* SPDX-License-Identifier: MIT */
#include "hevc_params.h"

#include <string.h>

#include <viaduct/errors.h>

#include "hevc_head.h"
#include "hevc_unit.h"

/*
 * From VA buffers to a request. What the packed headers say counts more than the structs: they are
 * what decoders get to see, and the structs have no conformance window.
 */

enum coding_type { CODING_I = 1, CODING_P = 2 }; /* coding_type of va_enc_hevc.h */

static uint32_t clamp(int64_t value, int64_t least, int64_t most)
{
    return (uint32_t)(value < least ? least : value > most ? most : value);
}

/* The app's parameter sets. One that cannot be read is as good as none. */
static void take_set(struct hevc_params_state *state, const struct hevc_unit *unit,
                     struct hevc_app *app)
{
    struct hevc_pps pps;

    if (unit->type == HEVC_NAL_SPS) {
        state->has_sps = hevc_sets_read_sps(unit->data, unit->size, unit->escaped, state->sets,
                                            &state->sps) == 0;
        app->has_sets = true;
    } else if (hevc_sets_read_pps(unit->data, unit->size, unit->escaped, &pps) == 0) {
        state->pps[pps.id] = pps;
        state->pps_known |= UINT64_C(1) << pps.id;
        app->has_sets = true;
    }
}

/* The first bits of a slice segment header: all that is needed of it. */
static void take_slice(const struct hevc_unit *unit, struct hevc_app *app, uint32_t *ret_pps_id)
{
    struct bits_reader reader;
    bool no_output = false;
    uint32_t id;

    bits_read_init(&reader, unit->data, unit->size, unit->escaped);
    bits_read(&reader, 16 + 1); /* NAL unit header, first_slice_segment_in_pic_flag */
    if (hevc_head_is_irap(unit->type))
        no_output = bits_read(&reader, 1);
    id = bits_read_ue(&reader);
    if (reader.error || id >= HEVC_SETS_PPS)
        return;
    app->nal = unit->type;
    app->no_output = no_output;
    *ret_pps_id = id;
}

static void take_headers(struct hevc_params_state *state, const struct encode_picture *picture,
                         struct hevc_app *app, uint32_t *ret_pps_id)
{
    for (uint32_t i = 0; i < picture->header_count; i++) {
        const struct encode_header *header = &picture->headers[i];
        struct hevc_unit_reader reader = {
            .data = header->bytes,
            .size = (header->bits + 7u) / 8,
            .escaped = header->escaped,
        };
        struct hevc_unit unit;

        while (hevc_unit_next(&reader, &unit)) {
            if (unit.type == HEVC_NAL_SPS || unit.type == HEVC_NAL_PPS)
                take_set(state, &unit, app);
            else if (unit.type <= HEVC_NAL_RASL_R || hevc_head_is_irap(unit.type))
                take_slice(&unit, app, ret_pps_id);
        }
    }
}

/* An SPS as the struct says, if the app packs none. */
static struct hevc_sps sequence_sps(const VAEncSequenceParameterBufferHEVC *seq,
                                    const struct encode_picture *picture)
{
    struct hevc_sps sps = {
        .level_idc = seq->general_level_idc,
        .chroma_format_idc = (uint8_t)seq->seq_fields.bits.chroma_format_idc,
        .bit_depth_luma = (uint8_t)(seq->seq_fields.bits.bit_depth_luma_minus8 + 8),
        .bit_depth_chroma = (uint8_t)(seq->seq_fields.bits.bit_depth_chroma_minus8 + 8),
        .width = seq->pic_width_in_luma_samples,
        .height = seq->pic_height_in_luma_samples,
        .shown_width = seq->pic_width_in_luma_samples,
        .shown_height = seq->pic_height_in_luma_samples,
        .log2_min_cb = (uint8_t)clamp(seq->log2_min_luma_coding_block_size_minus3 + 3, 3, 6),
        .log2_min_tb = (uint8_t)clamp(seq->log2_min_transform_block_size_minus2 + 2, 2, 5),
        .depth_inter = seq->max_transform_hierarchy_depth_inter,
        .depth_intra = seq->max_transform_hierarchy_depth_intra,
        .separate_planes = seq->seq_fields.bits.separate_colour_plane_flag,
        .scaling_lists = seq->seq_fields.bits.scaling_list_enabled_flag,
        .amp = seq->seq_fields.bits.amp_enabled_flag,
        .sao = seq->seq_fields.bits.sample_adaptive_offset_enabled_flag,
        .pcm = seq->seq_fields.bits.pcm_enabled_flag,
        .strong_intra = seq->seq_fields.bits.strong_intra_smoothing_enabled_flag,
    };

    sps.log2_ctb =
        (uint8_t)clamp(sps.log2_min_cb + seq->log2_diff_max_min_luma_coding_block_size, 3, 7);
    sps.log2_max_tb =
        (uint8_t)clamp(sps.log2_min_tb + seq->log2_diff_max_min_transform_block_size, 2, 6);
    /* Of a coded size that was rounded up, the context has the true one. */
    if (picture->width <= sps.width && sps.width - picture->width < 64)
        sps.shown_width = (uint16_t)picture->width;
    if (picture->height <= sps.height && sps.height - picture->height < 64)
        sps.shown_height = (uint16_t)picture->height;
    return sps;
}

static struct hevc_pps picture_pps(const VAEncPictureParameterBufferHEVC *pic)
{
    return (struct hevc_pps){
        .diff_cu_qp_delta_depth = (uint8_t)clamp(pic->diff_cu_qp_delta_depth, 0, 3),
        .cb_qp_offset = (int8_t)(pic->pps_cb_qp_offset % 13),
        .cr_qp_offset = (int8_t)(pic->pps_cr_qp_offset % 13),
        .sign_hiding = pic->pic_fields.bits.sign_data_hiding_enabled_flag,
        .constrained_intra = pic->pic_fields.bits.constrained_intra_pred_flag,
        .transform_skip = pic->pic_fields.bits.transform_skip_enabled_flag,
        .cu_qp_delta = pic->pic_fields.bits.cu_qp_delta_enabled_flag,
        .weighted_pred = pic->pic_fields.bits.weighted_pred_flag,
        .transquant_bypass = pic->pic_fields.bits.transquant_bypass_enabled_flag,
        .loop_filter_across = pic->pic_fields.bits.pps_loop_filter_across_slices_enabled_flag,
    };
}

/* A B slice that looks back only: as P it has the same references. Some apps have no others. */
static bool looks_back(const VAEncSliceParameterBufferHEVC *slice, int32_t poc)
{
    uint32_t count = clamp(slice->num_ref_idx_l1_active_minus1, 0, 14) + 1;
    bool any = false;

    for (uint32_t i = 0; i < count; i++) {
        const VAPictureHEVC *ref = &slice->ref_pic_list1[i];

        if (ref->picture_id == VA_INVALID_SURFACE || ref->flags & VA_PICTURE_HEVC_INVALID)
            continue;
        if (ref->pic_order_cnt >= poc)
            return false;
        any = true;
    }
    return any;
}

/* B pictures are not offered, and the encoder here could not make them in the app's order. */
static int read_type(const struct encode_picture *picture, enum encode_type *ret_type)
{
    const VAEncPictureParameterBufferHEVC *pic = picture->param[ENCODE_PARAM_PICTURE];
    bool intra = true;

    for (uint32_t i = 0; i < picture->slice_count; i++) {
        const VAEncSliceParameterBufferHEVC *slice = picture->slices[i];

        if (slice->slice_type > HEVC_SLICE_I ||
            (slice->slice_type == HEVC_SLICE_B &&
             !looks_back(slice, pic->decoded_curr_pic.pic_order_cnt)))
            return VD_ERR_UNSUPPORTED;
        intra = intra && slice->slice_type == HEVC_SLICE_I;
    }
    if (pic->pic_fields.bits.coding_type > CODING_P)
        return VD_ERR_UNSUPPORTED;
    *ret_type = pic->pic_fields.bits.idr_pic_flag ? ENCODE_IDR : intra ? ENCODE_I : ENCODE_P;
    return 0;
}

/*
 * The NAL unit type that is written. Every picture can be referred to: whichever the app has in
 * mind, the encoder refers to the one before. Leading pictures need such that are shown later.
 */
static enum hevc_nal choose_nal(enum encode_type type, enum hevc_nal asked)
{
    if (type == ENCODE_IDR)
        return asked == HEVC_NAL_IDR_N_LP ? HEVC_NAL_IDR_N_LP : HEVC_NAL_IDR_W_RADL;
    return type == ENCODE_I && asked == HEVC_NAL_CRA ? HEVC_NAL_CRA : HEVC_NAL_TRAIL_R;
}

/*
 * The size that an encoder is given: what is shown, which it pads to whole blocks. Where the app's
 * coded size is larger than that (GStreamer rounds up to 16), the encoder must not know the
 * difference.
 */
static uint32_t input_side(uint32_t shown, uint32_t coded, unsigned log2_min_cb)
{
    uint32_t block = 1u << log2_min_cb;

    return (shown + block - 1) / block * block == coded ? shown : coded;
}

static void fill_tools(const struct encode_picture *picture,
                       const VAEncSequenceParameterBufferHEVC *seq, const struct hevc_sps *sps,
                       const struct hevc_pps *pps, struct encode_tools *tools)
{
    tools->profile = (uint32_t)picture->profile;
    tools->width = input_side(sps->shown_width, sps->width, sps->log2_min_cb);
    tools->height = input_side(sps->shown_height, sps->height, sps->log2_min_cb);
    tools->bit_depth = sps->bit_depth_luma;
    tools->chroma = sps->chroma_format_idc;
    tools->intra_period = seq->intra_period;
    tools->slices = picture->slice_count;
    tools->hevc.log2_ctb = sps->log2_ctb;
    tools->hevc.log2_min_cb = sps->log2_min_cb;
    tools->hevc.log2_min_tb = sps->log2_min_tb;
    tools->hevc.log2_max_tb = sps->log2_max_tb;
    tools->hevc.depth_inter = sps->depth_inter;
    tools->hevc.depth_intra = sps->depth_intra;
    tools->hevc.level_idc = sps->level_idc;
    tools->hevc.amp = sps->amp;
    tools->hevc.sao = sps->sao;
    tools->hevc.strong_intra = sps->strong_intra;
    tools->hevc.sign_hiding = pps->sign_hiding;
    tools->hevc.transform_skip = pps->transform_skip;
    tools->hevc.cu_qp_delta = pps->cu_qp_delta;
    tools->hevc.diff_cu_qp_delta_depth =
        pps->diff_cu_qp_delta_depth < sps->log2_ctb - sps->log2_min_cb
            ? pps->diff_cu_qp_delta_depth
            : sps->log2_ctb - sps->log2_min_cb;
    tools->hevc.transquant_bypass = pps->transquant_bypass;
    tools->hevc.weighted_pred = pps->weighted_pred;
    tools->hevc.constrained_intra = pps->constrained_intra;
    tools->hevc.loop_filter_across = pps->loop_filter_across;
    tools->hevc.cb_qp_offset = pps->cb_qp_offset;
    tools->hevc.cr_qp_offset = pps->cr_qp_offset;
}

static void take_sequence(struct hevc_params_state *state, const struct encode_picture *picture)
{
    const VAEncSequenceParameterBufferHEVC *seq = picture->param[ENCODE_PARAM_SEQUENCE];

    if (!seq)
        return;
    state->sequence = *seq;
    state->has_sequence = true;
    /* A packed SPS of another size is not of this sequence. */
    if (state->sps.width != seq->pic_width_in_luma_samples ||
        state->sps.height != seq->pic_height_in_luma_samples)
        state->has_sps = false;
    encode_misc_sequence(&state->misc, seq->bits_per_second,
                         seq->vui_fields.bits.vui_timing_info_present_flag ? seq->vui_time_scale
                                                                           : 0,
                         seq->vui_num_units_in_tick);
}

/* A.3: profiles of more bits and chroma have those of less. */
static bool in_profile(int profile, const struct hevc_sps *sps)
{
    switch (profile) {
    case VAProfileHEVCMain:
        return sps->bit_depth_luma == 8 && sps->chroma_format_idc == 1;
    case VAProfileHEVCMain10:
        return sps->chroma_format_idc == 1;
    case VAProfileHEVCMain422_10:
        return sps->chroma_format_idc <= 2;
    case VAProfileHEVCMain444:
        return sps->bit_depth_luma == 8;
    case VAProfileHEVCMain444_10:
        return true;
    default:
        return false;
    }
}

int hevc_params_read(void *memory, const struct encode_picture *picture,
                     struct encode_request *ret_request)
{
    struct hevc_params_state *state = memory;
    const VAEncPictureParameterBufferHEVC *pic = picture->param[ENCODE_PARAM_PICTURE];
    const VAEncSliceParameterBufferHEVC *slice;
    struct hevc_app app = {0};
    struct hevc_sps sps;
    struct hevc_pps pps;
    uint32_t pps_id;
    int err;

    take_sequence(state, picture);
    encode_misc_read(&state->misc, picture, ret_request);
    if (!pic || !picture->slice_count || !state->has_sequence)
        return VD_ERR_PARAMETER;
    err = read_type(picture, &ret_request->type);
    if (err)
        return err;
    app.nal = (enum hevc_nal)(pic->nal_unit_type & 0x3f);
    app.no_output = pic->pic_fields.bits.no_output_of_prior_pics_flag;
    pps_id = pic->slice_pic_parameter_set_id;
    take_headers(state, picture, &app, &pps_id);
    /*
     * What follows an end of sequence is an IRAP picture (7.4.2.4.4). Apps whose count of intra
     * pictures is another one than theirs of sequences (libva's hevcencode) get one here.
     */
    if (state->ended && ret_request->type != ENCODE_IDR) {
        ret_request->type = ENCODE_I;
        app.nal = HEVC_NAL_CRA;
    }
    app.nal = choose_nal(ret_request->type, app.nal);

    sps = state->has_sps ? state->sps : sequence_sps(&state->sequence, picture);
    err = hevc_sets_check(&sps);
    if (err)
        return err;
    if (!in_profile((int)picture->profile, &sps))
        return VD_ERR_UNSUPPORTED;
    app.has_sps = state->has_sps;
    app.has_pps = app.has_sps && pps_id < HEVC_SETS_PPS && state->pps_known >> pps_id & 1 &&
                  state->pps[pps_id].sps_id == sps.id;
    pps = app.has_pps ? state->pps[pps_id] : picture_pps(pic);
    app.sps = sps;
    app.pps = pps;
    app.pps_ids = state->pps_known;
    app.poc = pic->decoded_curr_pic.pic_order_cnt;
    app.last = pic->last_picture;
    state->ended = pic->last_picture & HEVC_LAST_PICTURE_EOSEQ;

    slice = picture->slices[0];
    ret_request->reference = pic->pic_fields.bits.reference_pic_flag;
    ret_request->qp = clamp((int64_t)pic->pic_init_qp + slice->slice_qp_delta, 0, 51);
    fill_tools(picture, &state->sequence, &sps, &pps, &ret_request->tools);
    ret_request->packed_headers = picture->packed_headers;
    ret_request->header_count =
        picture->header_count < VD_MAX_HEADERS ? picture->header_count : VD_MAX_HEADERS;
    memcpy(ret_request->headers, picture->headers,
           ret_request->header_count * sizeof(ret_request->headers[0]));
    memcpy(ret_request->own, &app, sizeof(app));
    return 0;
}
