/* SPDX-License-Identifier: MIT */
#include "bitstream.h"

#include <string.h>

#include <va/va.h>

#include <viaduct/errors.h>

#include "bits.h"
#include "h264_poc.h"
#include "h264_ps.h"

/*
 * H.264: slices arrive whole, from their NAL unit header on; SPS and PPS are missing. Both are
 * written anew from the VA structs, and sent only when their bytes are not what the decoder has.
 *
 * What VA does not tell is read from the first bits of every slice header: the PPS id, and
 * whether the header overrides num_ref_idx_active. Where it does not, VA's number is the default
 * of that PPS, which is remembered. Slice payloads are neither read nor moved.
 *
 * The guest writes the slices, so it can hide parameter sets of its own in them. The decoder
 * behind must therefore check the size of what it is asked to allocate, as it has to anyway.
 */

#define PPS_COUNT  256 /* 7.4.2.2 */
#define BODY_COUNT 4   /* PPS contents known at a time; streams switch between two at most */

enum {
    NAL_SLICE = 1,
    NAL_IDR_SLICE = 5,
    NAL_FILLER = 12, /* and nal_ref_idc 0: decoders skip it */
};

/* A PPS content, and the number it got when it was first seen. 0: this place is free. */
struct pps_body {
    uint64_t number;
    struct h264_pps pps;
};

/* What the decoder was last sent under a PPS id, and what slices taught about it. */
struct pps_entry {
    uint64_t body; /* number of the content sent, 0 for none that is still valid */
    uint8_t sent_l0, sent_l1;
    uint8_t default_l0, default_l1;
};

struct state {
    uint8_t sps[H264_SPS_ROOM]; /* as last sent */
    size_t sps_size;
    struct pps_body body[BODY_COUNT];
    unsigned body_next; /* the place to give away next */
    uint64_t body_number;
    struct pps_entry pps[PPS_COUNT];
    VAIQMatrixBufferH264 matrix; /* the last one: it holds until another one comes */
    bool matrix_known;
    struct h264_poc_state poc;
};

/* The start of a slice header (7.3.3). */
struct slice_header {
    bool idr, reference;
    bool p, b; /* slice_type is P or SP, B */
    bool field, bottom_field;
    bool override;
    uint32_t pps_id;
    uint32_t frame_num;
    int32_t delta_pic_order_cnt[2];
};

/* What the slices of a picture say together. */
struct picture_scan {
    uint32_t pps_used[PPS_COUNT / 32];
    struct slice_header first;
};

/* Length of the start code that some apps leave in front of the NAL unit, 0 if there is none. */
static uint32_t start_code_size(const struct va_slice *slice)
{
    uint32_t zeros = 0;

    while (zeros < slice->size && slice->data[zeros] == 0)
        zeros++;
    return zeros >= 2 && zeros < slice->size && slice->data[zeros] == 1 ? zeros + 1 : 0;
}

/* VD_ERR_DECODE if `data` is no slice or too short to hold the fields we need. */
static int parse_header(const uint8_t *data, uint32_t size,
                        const VAPictureParameterBufferH264 *picture,
                        struct slice_header *ret_header)
{
    struct slice_header header = {0};
    struct bits_reader reader;
    uint32_t nal_header, slice_type;

    bits_read_init(&reader, data, size, true);
    nal_header = bits_read(&reader, 8);
    header.reference = nal_header & 0x60;
    header.idr = (nal_header & 0x1f) == NAL_IDR_SLICE;
    if (nal_header & 0x80 || (!header.idr && (nal_header & 0x1f) != NAL_SLICE))
        return VD_ERR_DECODE;

    bits_read_ue(&reader); /* first_mb_in_slice */
    slice_type = bits_read_ue(&reader);
    if (slice_type > 9)
        return VD_ERR_DECODE;
    header.p = slice_type % 5 == 0 || slice_type % 5 == 3;
    header.b = slice_type % 5 == 1;
    header.pps_id = bits_read_ue(&reader);
    if (header.pps_id >= PPS_COUNT)
        return VD_ERR_DECODE;
    header.frame_num = bits_read(&reader, picture->seq_fields.bits.log2_max_frame_num_minus4 + 4);
    if (!picture->seq_fields.bits.frame_mbs_only_flag) {
        header.field = bits_read(&reader, 1);
        if (header.field)
            header.bottom_field = bits_read(&reader, 1);
    }
    if (header.idr)
        bits_read_ue(&reader); /* idr_pic_id */
    if (picture->seq_fields.bits.pic_order_cnt_type == 0) {
        bits_read(&reader, picture->seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 + 4);
        if (picture->pic_fields.bits.pic_order_present_flag && !header.field)
            bits_read_se(&reader); /* delta_pic_order_cnt_bottom */
    } else if (picture->seq_fields.bits.pic_order_cnt_type == 1 &&
               !picture->seq_fields.bits.delta_pic_order_always_zero_flag) {
        header.delta_pic_order_cnt[0] = bits_read_se(&reader);
        if (picture->pic_fields.bits.pic_order_present_flag && !header.field)
            header.delta_pic_order_cnt[1] = bits_read_se(&reader);
    }
    if (picture->pic_fields.bits.redundant_pic_cnt_present_flag)
        bits_read_ue(&reader); /* redundant_pic_cnt */
    if (header.b)
        bits_read(&reader, 1); /* direct_spatial_mv_pred_flag */
    if (header.p || header.b)
        header.override = bits_read(&reader, 1);
    if (reader.error)
        return VD_ERR_DECODE;
    *ret_header = header;
    return 0;
}

/*
 * Puts the start codes into the gaps, and learns from the slice headers. A slice that cannot be
 * decoded becomes filler data, so that the others still are.
 */
static int scan_slices(struct state *state, const struct va_picture *picture,
                       struct picture_scan *ret_scan)
{
    static const uint8_t start_code[BITSTREAM_SLICE_GAP] = {0, 0, 0, 1};
    struct picture_scan scan = {0};
    bool found = false;

    for (uint32_t i = 0; i < picture->slice_count; i++) {
        const struct va_slice *slice = &picture->slices[i];
        const VASliceParameterBufferH264 *param = slice->param;
        uint32_t start = start_code_size(slice);
        struct slice_header header;
        struct pps_entry *entry;

        /* Slices in pieces would have to be moved together; no known app sends them. */
        if (param->slice_data_flag != VA_SLICE_DATA_FLAG_ALL)
            return VD_ERR_UNSUPPORTED;
        /* Annex B: zeros may stand before a start code, and after a NAL unit. */
        if (start == 0 && slice->size != 0)
            memcpy(slice->data - BITSTREAM_SLICE_GAP, start_code, BITSTREAM_SLICE_GAP);
        else
            memset(slice->data - BITSTREAM_SLICE_GAP, 0, BITSTREAM_SLICE_GAP);
        if (parse_header(slice->data + start, slice->size - start, picture->param[VA_PARAM_PICTURE],
                         &header)) {
            if (start < slice->size)
                slice->data[start] = NAL_FILLER;
            else if (start != 0)
                slice->data[start - 1] = 0;
            continue;
        }
        if (param->num_ref_idx_l0_active_minus1 > 31 || param->num_ref_idx_l1_active_minus1 > 31)
            return VD_ERR_PARAMETER;
        if (!found)
            scan.first = header;
        found = true;
        scan.pps_used[header.pps_id / 32] |= UINT32_C(1) << (header.pps_id % 32);
        entry = &state->pps[header.pps_id];
        if ((header.p || header.b) && !header.override)
            entry->default_l0 = param->num_ref_idx_l0_active_minus1;
        if (header.b && !header.override)
            entry->default_l1 = param->num_ref_idx_l1_active_minus1;
    }
    if (!found)
        return VD_ERR_DECODE;
    *ret_scan = scan;
    return 0;
}

/* The number of a PPS content, the same one each time it comes while it is remembered. */
static uint64_t find_body(struct state *state, const struct h264_pps *pps)
{
    struct pps_body *body;

    for (unsigned i = 0; i < BODY_COUNT; i++) {
        body = &state->body[i];
        if (body->number != 0 && memcmp(&body->pps, pps, sizeof(*pps)) == 0)
            return body->number;
    }
    body = &state->body[state->body_next];
    state->body_next = (state->body_next + 1) % BODY_COUNT;
    body->pps = *pps;
    body->number = ++state->body_number;
    return body->number;
}

/* After this the decoder counts as having nothing; what slices taught stays. */
static void forget_sent(struct state *state)
{
    state->sps_size = 0;
    for (unsigned i = 0; i < PPS_COUNT; i++)
        state->pps[i].body = 0;
}

/* Only for POC type 1; for other types `ret_poc` is left alone. */
static int solve_poc(struct state *state, const VAPictureParameterBufferH264 *param,
                     const struct slice_header *header, struct h264_poc *ret_poc)
{
    struct h264_poc_picture picture = {
        .top = param->CurrPic.TopFieldOrderCnt,
        .bottom = param->CurrPic.BottomFieldOrderCnt,
        .delta = {header->delta_pic_order_cnt[0], header->delta_pic_order_cnt[1]},
        .frame_num = header->frame_num,
        .max_frame_num = UINT32_C(16) << param->seq_fields.bits.log2_max_frame_num_minus4,
        .idr = header->idr,
        .reference = header->reference,
        .field = header->field,
        .bottom_field = header->bottom_field,
    };

    if (param->seq_fields.bits.pic_order_cnt_type != 1)
        return 0;
    return h264_poc_solve(&state->poc, &picture, ret_poc);
}

/* Writes what the decoder lacks to the front of `head`. */
static int write_headers(struct state *state, const struct va_picture *picture,
                         const struct picture_scan *scan, const struct h264_pps *pps,
                         const struct h264_poc *poc, uint8_t *head, size_t *ret_size)
{
    const VAPictureParameterBufferH264 *param = picture->param[VA_PARAM_PICTURE];
    size_t used = 0, size;
    uint64_t body;
    int err;

    err = h264_ps_write_sps(param, h264_ps_map_units(param, picture->height), poc, head,
                            H264_SPS_ROOM, &size);
    if (err)
        return err;
    if (size != state->sps_size || memcmp(head, state->sps, size) != 0) {
        /* A PPS belongs to the SPS that was there when it came: send all of them again. */
        forget_sent(state);
        memcpy(state->sps, head, size);
        state->sps_size = size;
        used = size;
    }
    body = find_body(state, pps);
    for (uint32_t id = 0; id < PPS_COUNT; id++) {
        struct pps_entry *entry = &state->pps[id];

        if (!(scan->pps_used[id / 32] & UINT32_C(1) << (id % 32)))
            continue;
        if (entry->body == body && entry->sent_l0 == entry->default_l0 &&
            entry->sent_l1 == entry->default_l1)
            continue;
        err = h264_ps_write_pps(pps, id, entry->default_l0, entry->default_l1, head + used,
                                BITSTREAM_HEAD_ROOM - used, &size);
        if (err) {
            /* None of this reaches the decoder. */
            forget_sent(state);
            return err;
        }
        used += size;
        entry->body = body;
        entry->sent_l0 = entry->default_l0;
        entry->sent_l1 = entry->default_l1;
    }
    *ret_size = used;
    return 0;
}

static uint32_t field_flags(const VAPictureParameterBufferH264 *param)
{
    if (!param->pic_fields.bits.field_pic_flag)
        return 0;
    if (param->CurrPic.flags & VA_PICTURE_H264_TOP_FIELD)
        return BITSTREAM_TOP_FIELD;
    return param->CurrPic.flags & VA_PICTURE_H264_BOTTOM_FIELD ? BITSTREAM_BOTTOM_FIELD : 0;
}

static int build(void *opaque, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet)
{
    struct state *state = opaque;
    const VAPictureParameterBufferH264 *param = picture->param[VA_PARAM_PICTURE];
    const VAIQMatrixBufferH264 *matrix = picture->param[VA_PARAM_IQ_MATRIX];
    const struct va_slice *last;
    struct picture_scan scan;
    struct h264_poc poc = {0};
    struct h264_pps pps;
    size_t size;
    uint8_t *data;
    int err;

    if (!param || picture->slice_count == 0)
        return VD_ERR_PARAMETER;
    err = h264_ps_check(param);
    if (err)
        return err;
    err = h264_ps_collect(param, matrix || !state->matrix_known ? matrix : &state->matrix, &pps);
    if (err)
        return err;
    if (matrix) {
        state->matrix = *matrix;
        state->matrix_known = true;
    }
    err = scan_slices(state, picture, &scan);
    if (err)
        return err;
    err = solve_poc(state, param, &scan.first, &poc);
    if (err)
        return err;
    err = write_headers(state, picture, &scan, &pps, &poc, picture->head, &size);
    if (err)
        return err;

    /* Their size is known only now: move them to where the slices start. */
    data = picture->head + BITSTREAM_HEAD_ROOM - size;
    memmove(data, picture->head, size);
    last = &picture->slices[picture->slice_count - 1];
    *ret_packet = (struct bitstream_packet){
        .data = data,
        .size = (size_t)(last->data + last->size - data),
        .flags = (scan.first.idr ? BITSTREAM_KEY : 0) | field_flags(param),
        .coded_width = (param->picture_width_in_mbs_minus1 + 1u) * 16,
        .coded_height = h264_ps_map_units(param, picture->height) *
                        (param->seq_fields.bits.frame_mbs_only_flag ? 16 : 32),
    };
    return 0;
}

const struct bitstream_builder bitstream_h264 = {
    .name = "h264",
    .state_size = sizeof(struct state),
    .gap = BITSTREAM_SLICE_GAP,
    .build = build,
};
