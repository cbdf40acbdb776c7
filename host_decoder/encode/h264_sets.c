/* SPDX-License-Identifier: MIT */
#include "h264_sets.h"

#include <viaduct/errors.h>

#include "../bitstream/bits.h"

#define MAX_SIDE_MBS (VD_MAX_H264_SIZE / 16)

/* 7.3.2.1.1: profiles whose SPS tells the chroma format. */
static bool is_high(uint32_t profile_idc)
{
    static const uint8_t high[] = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};

    for (size_t i = 0; i < sizeof(high); i++) {
        if (high[i] == profile_idc)
            return true;
    }
    return false;
}

/* 7.3.2.1.1.1. Whether the list that is sent is flat. */
static bool read_scaling_list(struct bits_reader *r, unsigned size)
{
    uint32_t last = 8, next = 8;
    bool flat = true;

    for (unsigned i = 0; i < size && !r->error; i++) {
        if (next) {
            next = (last + (uint32_t)bits_read_se(r)) & 255;
            if (!i && !next)
                flat = false; /* the default lists */
        }
        last = next ? next : last;
        flat &= last == 16;
    }
    return flat;
}

/* `inherited`: whether the lists are flat that the first ones fall back to. */
static bool read_scaling_lists(struct bits_reader *r, unsigned count, bool inherited)
{
    bool flat = true, before = inherited;

    for (unsigned i = 0; i < count; i++) {
        if (bits_read(r, 1))
            before = read_scaling_list(r, i < 6 ? 16 : 64);
        else if (i == 0 || i == 3 || i == 6 || i == 7)
            before = inherited;
        flat &= before;
    }
    return flat;
}

static int read_poc(struct bits_reader *r, struct h264_sps *sps)
{
    uint32_t type = bits_read_ue(r), value;

    if (type > 2)
        return VD_ERR_PARAMETER;
    sps->poc_type = (uint8_t)type;
    if (type == 0) {
        value = bits_read_ue(r);
        if (value > 12)
            return VD_ERR_PARAMETER;
        sps->log2_poc_lsb = (uint8_t)(value + 4);
    } else if (type == 1) {
        sps->delta_always_zero = bits_read(r, 1);
        bits_read_se(r);
        bits_read_se(r);
        value = bits_read_ue(r);
        if (value > 255)
            return VD_ERR_PARAMETER;
        while (value--)
            bits_read_se(r);
    }
    return 0;
}

/* 7.4.2.1.1: in units of chroma samples, of both fields if there may be any. */
static int read_cropping(struct bits_reader *r, struct h264_sps *sps)
{
    unsigned width = sps->width * 16u, height = sps->height * 16u;
    unsigned unit_x = sps->chroma_format == 1 || sps->chroma_format == 2 ? 2 : 1;
    unsigned unit_y = (sps->chroma_format == 1 ? 2u : 1u) * (sps->frame_mbs_only ? 1u : 2u);
    uint32_t left = bits_read_ue(r), right = bits_read_ue(r);
    uint32_t top = bits_read_ue(r), bottom = bits_read_ue(r);

    if (left >= width || right >= width || (left + right) * unit_x >= width || top >= height ||
        bottom >= height || (top + bottom) * unit_y >= height)
        return VD_ERR_PARAMETER;
    sps->left = (uint16_t)(left * unit_x);
    sps->right = (uint16_t)(right * unit_x);
    sps->top = (uint16_t)(top * unit_y);
    sps->bottom = (uint16_t)(bottom * unit_y);
    return 0;
}

/* The part that only the high profiles have. */
static int read_high(struct bits_reader *r, struct h264_sps *sps)
{
    uint32_t format = bits_read_ue(r), luma, chroma;

    if (format > 3)
        return VD_ERR_PARAMETER;
    if (format == 3 && bits_read(r, 1))
        return VD_ERR_UNSUPPORTED;
    luma = bits_read_ue(r);
    chroma = bits_read_ue(r);
    if (luma > 6 || chroma > 6)
        return VD_ERR_PARAMETER;
    sps->chroma_format = (uint8_t)format;
    sps->depth_luma = (uint8_t)(luma + 8);
    sps->depth_chroma = (uint8_t)(chroma + 8);
    sps->transform_bypass = bits_read(r, 1);
    sps->scaling = bits_read(r, 1);
    if (sps->scaling)
        sps->flat = read_scaling_lists(r, format == 3 ? 12 : 8, false);
    return 0;
}

/* 7.3.2.1.1, up to the VUI. */
static int read_sps(struct bits_reader *r, struct h264_sets *sets, uint32_t *ret_id)
{
    struct h264_sps sps = {
        .valid = true, .flat = true, .chroma_format = 1, .depth_luma = 8, .depth_chroma = 8};
    uint32_t id, value, width, height;
    int err;

    sps.profile_idc = (uint8_t)bits_read(r, 8);
    bits_read(r, 8);
    sps.level_idc = (uint8_t)bits_read(r, 8);
    id = bits_read_ue(r);
    if (id >= H264_SPS_COUNT)
        return VD_ERR_PARAMETER;
    err = is_high(sps.profile_idc) ? read_high(r, &sps) : 0;
    if (err)
        return err;
    value = bits_read_ue(r);
    if (value > 12)
        return VD_ERR_PARAMETER;
    sps.log2_frame_num = (uint8_t)(value + 4);
    err = read_poc(r, &sps);
    if (err)
        return err;
    value = bits_read_ue(r);
    bits_read(r, 1); /* gaps_in_frame_num_value_allowed_flag */
    width = bits_read_ue(r);
    height = bits_read_ue(r);
    sps.frame_mbs_only = bits_read(r, 1);
    if (value > 16 || width >= MAX_SIDE_MBS || height >= MAX_SIDE_MBS)
        return VD_ERR_PARAMETER;
    sps.ref_frames = (uint8_t)value;
    sps.width = (uint16_t)(width + 1);
    sps.height = (uint16_t)((height + 1) * (sps.frame_mbs_only ? 1 : 2));
    if (!sps.frame_mbs_only)
        bits_read(r, 1); /* mb_adaptive_frame_field_flag */
    bits_read(r, 1);     /* direct_8x8_inference_flag: only of B slices here */
    if (bits_read(r, 1)) {
        err = read_cropping(r, &sps);
        if (err)
            return err;
    }
    if (r->error)
        return VD_ERR_PARAMETER;
    sets->sps[id] = sps;
    *ret_id = id;
    return 0;
}

/* 7.2: whether anything but the stop bit follows. */
static bool more_data(const struct bits_reader *r)
{
    struct bits_reader ahead = *r;
    unsigned ones = 0;

    while (!ahead.error && ones < 2)
        ones += bits_read(&ahead, 1);
    return ones == 2;
}

/* 7.3.2.2 */
static int read_pps(struct bits_reader *r, struct h264_sets *sets, uint32_t *ret_id)
{
    struct h264_pps pps = {.valid = true};
    uint32_t id = bits_read_ue(r), sps_id = bits_read_ue(r), l0, l1;
    int32_t qp, qs, cb, cr;
    const struct h264_sps *sps;

    if (id >= H264_PPS_COUNT || sps_id >= H264_SPS_COUNT)
        return VD_ERR_PARAMETER;
    sps = &sets->sps[sps_id];
    pps.sps_id = (uint8_t)sps_id;
    pps.cabac = bits_read(r, 1);
    pps.pic_order = bits_read(r, 1);
    if (bits_read_ue(r))
        return VD_ERR_UNSUPPORTED; /* slice groups */
    l0 = bits_read_ue(r);
    l1 = bits_read_ue(r);
    pps.weighted = bits_read(r, 1);
    pps.weighted_bipred = (uint8_t)bits_read(r, 2);
    qp = bits_read_se(r);
    qs = bits_read_se(r);
    cr = cb = bits_read_se(r);
    pps.deblocking_control = bits_read(r, 1);
    pps.constrained_intra = bits_read(r, 1);
    pps.redundant = bits_read(r, 1);
    pps.flat = !sps->valid || sps->flat;
    if (more_data(r)) {
        pps.transform_8x8 = bits_read(r, 1);
        if (bits_read(r, 1)) {
            unsigned lists8x8 = sps->valid && sps->chroma_format == 3 ? 6 : 2;

            /* 7.4.2.2: lists fall back to those of the SPS only if it has any. */
            pps.flat = read_scaling_lists(r, 6 + (pps.transform_8x8 ? lists8x8 : 0),
                                          sps->scaling && sps->flat);
        }
        cr = bits_read_se(r);
    }
    /* QpBdOffset of 14 bits is 36. */
    if (r->error || l0 > 31 || l1 > 31 || qp < -62 || qp > 25 || qs < -26 || qs > 25 || cb < -12 ||
        cb > 12 || cr < -12 || cr > 12)
        return VD_ERR_PARAMETER;
    pps.ref_count = (uint8_t)(l0 + 1);
    pps.ref_count_l1 = (uint8_t)(l1 + 1);
    pps.init_qp = (int8_t)(qp + 26);
    pps.cb_offset = (int8_t)cb;
    pps.cr_offset = (int8_t)cr;
    sets->pps[id] = pps;
    *ret_id = id;
    return 0;
}

int h264_sets_read(struct h264_sets *sets, const struct h264_nal *nal, uint32_t *ret_id)
{
    struct bits_reader reader;
    unsigned type = h264_nal_type(nal);
    uint32_t id = 0;
    int err = 0;

    bits_read_init(&reader, nal->data, nal->size, nal->escaped);
    bits_read(&reader, 8);
    if (type == H264_NAL_SPS)
        err = read_sps(&reader, sets, &id);
    else if (type == H264_NAL_PPS)
        err = read_pps(&reader, sets, &id);
    if (!err && ret_id)
        *ret_id = id;
    return err;
}
