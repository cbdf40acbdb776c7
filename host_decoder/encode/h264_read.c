/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <viaduct/errors.h>

#include "h264.h"

/*
 * From VA buffers to a request. The app's packed headers count for more than the structs, as they
 * are what decoders will see; where there are none, sets are made of the structs.
 */

#define QP_MAX     51
#define NO_PICTURE VA_INVALID_SURFACE /* of no list */

static int at_range(int value, int min, int max)
{
    return value < min ? min : value > max ? max : value;
}

/* The app's parameter sets. */
static int read_packed_sets(struct h264_read_state *state, const struct encode_picture *picture)
{
    for (uint32_t i = 0; i < picture->header_count; i++) {
        const struct encode_header *header = &picture->headers[i];
        struct h264_nals nals = {
            .data = header->bytes, .size = (header->bits + 7) / 8, .escaped = header->escaped};
        struct h264_nal nal;

        while (h264_nal_next(&nals, &nal)) {
            int err = h264_sets_read(&state->sets, &nal, NULL);

            if (err)
                return err;
            state->packed_sps |= h264_nal_type(&nal) == H264_NAL_SPS;
            state->packed_pps |= h264_nal_type(&nal) == H264_NAL_PPS;
        }
    }
    return 0;
}

/* A header may end with zeros, which are no part of a whole NAL unit: they are put back. */
static int read_slice_header(const struct h264_sets *sets, struct h264_nal nal,
                             struct h264_slice *ret_slice)
{
    uint8_t padded[512] = {0};

    if (nal.size > sizeof(padded) - 16)
        return VD_ERR_LIMIT;
    memcpy(padded, nal.data, nal.size);
    nal.data = padded;
    nal.size += 16;
    return h264_slice_read(sets, &nal, ret_slice);
}

/*
 * The app's first slice header; false if there is none that can be read. FFmpeg puts the delimiter
 * into the same buffer.
 */
static bool read_packed_slice(const struct h264_read_state *state,
                              const struct encode_picture *picture, struct h264_slice *ret_slice)
{
    for (uint32_t i = 0; i < picture->header_count; i++) {
        const struct encode_header *header = &picture->headers[i];
        struct h264_nals nals = {
            .data = header->bytes, .size = (header->bits + 7) / 8, .escaped = header->escaped};
        struct h264_nal nal;

        if (header->type != VAEncPackedHeaderSlice)
            continue;
        while (h264_nal_next(&nals, &nal)) {
            if (h264_nal_is_slice(&nal) && read_slice_header(&state->sets, nal, ret_slice) == 0)
                return true;
        }
    }
    return false;
}

static void picture_from_va(const VAEncPictureParameterBufferH264 *pic,
                            const VAEncSliceParameterBufferH264 *slice,
                            struct h264_picture *ret_picture)
{
    uint32_t ref_idc = pic->pic_fields.bits.reference_pic_flag;
    bool idr = pic->pic_fields.bits.idr_pic_flag;

    *ret_picture = (struct h264_picture){
        .idr = idr,
        .ref_idc = (uint8_t)(idr && !ref_idc ? 1 : ref_idc),
        .frame_num = idr ? 0 : pic->frame_num,
        .idr_pic_id = slice->idr_pic_id,
        .poc_lsb = slice->pic_order_cnt_lsb,
        .delta_bottom = slice->delta_pic_order_cnt_bottom,
        .delta_poc = {slice->delta_pic_order_cnt[0], slice->delta_pic_order_cnt[1]},
    };
}

/* Any value that cannot be written is none that a decoder would miss. */
static void bound_picture(const struct h264_sps *sps, struct h264_picture *picture)
{
    const int32_t most = 1 << 30;

    picture->frame_num &= (uint16_t)((1u << sps->log2_frame_num) - 1);
    if (sps->poc_type == 0)
        picture->poc_lsb &= (uint16_t)((1u << sps->log2_poc_lsb) - 1);
    picture->delta_bottom = at_range(picture->delta_bottom, -most, most);
    picture->delta_poc[0] = at_range(picture->delta_poc[0], -most, most);
    picture->delta_poc[1] = at_range(picture->delta_poc[1], -most, most);
}

static int make_sps(struct h264_read_state *state, int profile, struct h264_own *own)
{
    struct h264_nals nals = {.data = own->sets, .escaped = true};
    struct h264_nal nal;
    int err = h264_make_sps(&state->sequence, profile, own->sets, sizeof(own->sets), &nals.size);

    if (err)
        return err;
    own->sets_size = (uint8_t)nals.size;
    return h264_nal_next(&nals, &nal) ? h264_sets_read(&state->sets, &nal, NULL) : VD_ERR_PARAMETER;
}

/*
 * Nobody sees a PPS that is made here, so it may be what suits encoders. But a packed slice header
 * must be read as the app wrote it.
 */
static int make_pps(struct h264_read_state *state, const struct encode_picture *picture,
                    struct h264_own *own)
{
    const VAEncPictureParameterBufferH264 *pic = picture->param[ENCODE_PARAM_PICTURE];
    const struct h264_sps *sps = &state->sets.sps[pic->seq_parameter_set_id % H264_SPS_COUNT];
    bool sliced = picture->packed_headers & VA_ENC_PACKED_HEADER_SLICE;
    bool high = sps->profile_idc >= 100;
    int cb = at_range(pic->chroma_qp_index_offset, -12, 12);
    int cr = at_range(pic->second_chroma_qp_index_offset, -12, 12);
    struct h264_pps pps = {
        .valid = true,
        .flat = true,
        .cabac = pic->pic_fields.bits.entropy_coding_mode_flag && sps->profile_idc != 66,
        .pic_order = pic->pic_fields.bits.pic_order_present_flag,
        .weighted = sliced && pic->pic_fields.bits.weighted_pred_flag && sps->profile_idc != 66,
        .deblocking_control =
            !sliced || pic->pic_fields.bits.deblocking_filter_control_present_flag,
        .redundant = sliced && pic->pic_fields.bits.redundant_pic_cnt_present_flag,
        .transform_8x8 = pic->pic_fields.bits.transform_8x8_mode_flag && high,
        .sps_id = pic->seq_parameter_set_id % H264_SPS_COUNT,
        .ref_count = (uint8_t)(at_range(pic->num_ref_idx_l0_active_minus1, 0, 31) + 1),
        .ref_count_l1 = 1,
        .init_qp = (int8_t)at_range(pic->pic_init_qp, 0, QP_MAX),
        .cb_offset = (int8_t)cb,
        .cr_offset = (int8_t)(high ? cr : cb),
    };
    size_t size;
    int err;

    if (!sps->valid)
        return VD_ERR_PARAMETER;
    err = h264_make_pps(&pps, pic->pic_parameter_set_id, sps, own->sets + own->sets_size,
                        sizeof(own->sets) - own->sets_size, &size);
    if (err)
        return err;
    own->sets_size = (uint8_t)(own->sets_size + size);
    state->sets.pps[pic->pic_parameter_set_id] = pps;
    return 0;
}

/* Which sets are in force, after those were made that the app did not send. */
static int read_sets(struct h264_read_state *state, const struct encode_picture *picture,
                     struct h264_own *own)
{
    int err = read_packed_sets(state, picture);

    if (!err && !state->packed_sps && !state->sequence_known)
        err = VD_ERR_PARAMETER;
    if (!err && !state->packed_sps)
        err = make_sps(state, picture->profile, own);
    if (!err && !state->packed_pps)
        err = make_pps(state, picture, own);
    return err;
}

static int find_sets(const struct h264_read_state *state, uint32_t pps_id, struct h264_own *own)
{
    const struct h264_pps *pps = &state->sets.pps[pps_id % H264_PPS_COUNT];
    const struct h264_sps *sps = &state->sets.sps[pps->sps_id];

    if (!pps->valid || !sps->valid)
        return VD_ERR_PARAMETER;
    if (!sps->frame_mbs_only || sps->chroma_format != 1 || sps->transform_bypass ||
        sps->depth_luma != sps->depth_chroma || (sps->depth_luma != 8 && sps->depth_luma != 10))
        return VD_ERR_UNSUPPORTED;
    own->pps = *pps;
    own->sps = *sps;
    own->pps_id = (uint8_t)pps_id;
    own->spare_pps_id = 0;
    for (unsigned i = 0; i < H264_PPS_COUNT; i++) {
        if (!state->sets.pps[i].valid) {
            own->spare_pps_id = (uint8_t)i;
            break;
        }
    }
    return 0;
}

/* I or P: what all its slices are. */
static int read_type(const struct encode_picture *picture, bool idr, enum encode_type *ret_type)
{
    enum encode_type type = ENCODE_I;

    for (uint32_t i = 0; i < picture->slice_count; i++) {
        const VAEncSliceParameterBufferH264 *slice = picture->slices[i];

        if (slice->slice_type % 5 == 0)
            type = ENCODE_P;
        else if (slice->slice_type % 5 != 2)
            return VD_ERR_UNSUPPORTED; /* no B: EncMaxRefFrames says so */
    }
    *ret_type = idr ? ENCODE_IDR : type;
    return 0;
}

static bool contains(const VAPictureH264 *list, unsigned count, uint32_t surface, bool *ret_any)
{
    for (unsigned i = 0; i < count; i++) {
        if (list[i].picture_id == VA_INVALID_SURFACE || list[i].flags & VA_PICTURE_H264_INVALID)
            continue;
        *ret_any = true;
        if (list[i].picture_id == surface)
            return true;
    }
    return false;
}

/*
 * Whether the app lets the picture refer to the one that the encoder will refer to, which is the
 * one before: encoders make no P pictures that are no references. An app that fills no lists gets
 * what encoders do.
 */
static bool may_refer(const struct h264_read_state *state, const struct encode_picture *picture)
{
    const VAEncPictureParameterBufferH264 *pic = picture->param[ENCODE_PARAM_PICTURE];
    const VAEncSliceParameterBufferH264 *slice = picture->slices[0];
    unsigned count = slice->num_ref_idx_active_override_flag ? slice->num_ref_idx_l0_active_minus1
                                                             : pic->num_ref_idx_l0_active_minus1;
    bool any = false;

    if (state->reference == NO_PICTURE)
        return false;
    if (contains(slice->RefPicList0, count > 31 ? 32 : count + 1, state->reference, &any))
        return true;
    if (!any && contains(pic->ReferenceFrames, 16, state->reference, &any))
        return true;
    return !any;
}

/*
 * Pixels of one side. An encoder pads to whole macroblocks by itself, so it is given what is shown
 * of the last one, and never more than there is. Other cropping is for decoders only.
 */
static int read_side(uint32_t mbs, uint32_t before, uint32_t behind, uint32_t surface,
                     uint32_t *ret_side)
{
    uint32_t side = mbs * 16 - (before || behind > 15 ? 0 : behind);

    if (side > surface)
        side = surface;
    if (side <= (mbs - 1) * 16)
        return VD_ERR_RESOLUTION;
    *ret_side = side;
    return 0;
}

static int read_size(const struct h264_sps *sps, const struct encode_picture *picture,
                     struct encode_tools *tools)
{
    int err = read_side(sps->width, sps->left, sps->right, picture->surface_width, &tools->width);

    return err ? err
               : read_side(sps->height, sps->top, sps->bottom, picture->surface_height,
                           &tools->height);
}

/* Rows of macroblocks that all slices have but the last, which may have fewer. 0: they differ. */
static uint32_t slice_rows(const struct encode_picture *picture, uint32_t columns)
{
    const VAEncSliceParameterBufferH264 *first = picture->slices[0];
    uint32_t rows = columns ? first->num_macroblocks / columns : 0;

    if (picture->slice_count < 2 || !rows)
        return 0;
    for (uint32_t i = 0; i < picture->slice_count; i++) {
        const VAEncSliceParameterBufferH264 *slice = picture->slices[i];
        bool last = i + 1 == picture->slice_count;

        if (last ? slice->num_macroblocks > rows * columns
                 : slice->num_macroblocks != rows * columns)
            return 0;
    }
    return rows;
}

static void read_tools(const struct h264_read_state *state, const struct encode_picture *picture,
                       const struct h264_own *own, struct encode_tools *tools)
{
    const struct h264_pps *pps = &own->pps;
    uint32_t slices = picture->slice_count;

    tools->profile = (uint32_t)picture->profile;
    tools->bit_depth = own->sps.depth_luma;
    tools->intra_period = state->sequence_known ? state->sequence.intra_period : 0;
    tools->slices = slices > own->sps.height ? own->sps.height : slices;
    tools->slice_rows = slice_rows(picture, own->sps.width);
    tools->h264.cabac = pps->cabac;
    tools->h264.transform_8x8 = pps->transform_8x8;
    tools->h264.deblocking_control = pps->deblocking_control;
    tools->h264.weighted = pps->weighted;
    tools->h264.cb_qp_offset = pps->cb_offset;
    tools->h264.cr_qp_offset = pps->cr_offset;
    tools->h264.level_idc = own->sps.level_idc;
}

static void read_sequence(struct h264_read_state *state, const struct encode_picture *picture)
{
    const VAEncPictureParameterBufferH264 *pic = picture->param[ENCODE_PARAM_PICTURE];
    const VAEncSequenceParameterBufferH264 *seq = picture->param[ENCODE_PARAM_SEQUENCE];
    uint32_t tick = seq ? seq->num_units_in_tick : 0;

    if (!seq)
        return;
    encode_misc_sequence(&state->misc, seq->bits_per_second, seq->time_scale,
                         tick > UINT32_MAX / 2 ? 0 : tick * 2);
    /* Elsewhere it can only say what is in force. */
    if (pic->pic_fields.bits.idr_pic_flag || !state->sequence_known)
        state->sequence = *seq;
    state->sequence_known = true;
}

static void copy_headers(const struct encode_picture *picture, struct encode_request *request)
{
    uint32_t count =
        picture->header_count < VD_MAX_HEADERS ? picture->header_count : VD_MAX_HEADERS;

    request->packed_headers = picture->packed_headers;
    request->header_count = count;
    if (count)
        memcpy(request->headers, picture->headers, count * sizeof(request->headers[0]));
}

/* What the app's pictures are to the encoder, and which comes next. */
static void read_references(struct h264_read_state *state, const struct encode_picture *picture,
                            const struct h264_own *own, struct encode_request *request)
{
    const VAEncPictureParameterBufferH264 *pic = picture->param[ENCODE_PARAM_PICTURE];

    request->reference = own->picture.ref_idc != 0;
    /* Intra coded it is right whatever the app wanted to refer to. */
    if (request->type == ENCODE_P && !may_refer(state, picture))
        request->type = ENCODE_I;
    state->reference = request->reference ? pic->CurrPic.picture_id : NO_PICTURE;
}

int h264_read(void *opaque, const struct encode_picture *picture,
              struct encode_request *ret_request)
{
    struct h264_read_state *state = opaque;
    const VAEncPictureParameterBufferH264 *pic = picture->param[ENCODE_PARAM_PICTURE];
    struct h264_own *own = (struct h264_own *)ret_request->own;
    const VAEncSliceParameterBufferH264 *slice;
    struct h264_slice packed;
    uint32_t pps_id;
    int err;

    if (!pic || !picture->slice_count)
        return VD_ERR_PARAMETER;
    slice = picture->slices[0];
    memset(own, 0, sizeof(*own));
    read_sequence(state, picture);
    err = read_sets(state, picture, own);
    if (err)
        return err;
    picture_from_va(pic, slice, &own->picture);
    pps_id = state->packed_pps ? slice->pic_parameter_set_id : pic->pic_parameter_set_id;
    if (read_packed_slice(state, picture, &packed)) {
        own->picture = packed.picture;
        pps_id = packed.pps_id;
    }
    err = find_sets(state, pps_id, own);
    if (!err)
        err = read_size(&own->sps, picture, &ret_request->tools);
    if (!err)
        err = read_type(picture, own->picture.idr, &ret_request->type);
    if (err)
        return err;
    bound_picture(&own->sps, &own->picture);
    own->last_picture = pic->last_picture;
    ret_request->qp = (uint32_t)at_range(pic->pic_init_qp + slice->slice_qp_delta, 1, QP_MAX);
    encode_misc_read(&state->misc, picture, ret_request);
    read_tools(state, picture, own, &ret_request->tools);
    read_references(state, picture, own, ret_request);
    copy_headers(picture, ret_request);
    return 0;
}
