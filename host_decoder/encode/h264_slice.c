/* SPDX-License-Identifier: MIT */
#include "h264_slice.h"

#include <viaduct/errors.h>

/* 7.3.3.1; values are checked by nobody, as a decoder would see the same. */
static int read_mods(struct bits_reader *r, struct h264_slice *slice)
{
    if (!bits_read(r, 1))
        return 0;
    for (;;) {
        uint32_t op = bits_read_ue(r);

        if (op == 3)
            return 0;
        if (r->error || op > 2 || slice->mod_count == H264_MAX_MODS)
            return VD_ERR_PARAMETER;
        slice->mod[slice->mod_count++] =
            (struct h264_mod){.op = (uint8_t)op, .value = bits_read_ue(r)};
    }
}

/* 7.3.3.2: skipped; it is copied as bits. */
static void read_weights(struct bits_reader *r, const struct h264_sps *sps,
                         struct h264_slice *slice)
{
    slice->weights = true;
    slice->weights_at = *r;
    bits_read_ue(r);
    if (sps->chroma_format)
        bits_read_ue(r);
    for (unsigned i = 0; i < slice->ref_count; i++) {
        for (unsigned plane = 0; plane < (sps->chroma_format ? 2u : 1u); plane++) {
            unsigned values = plane ? 4 : 2;

            if (!bits_read(r, 1))
                continue;
            while (values--)
                bits_read_se(r);
        }
    }
    slice->weights_bits = r->position - slice->weights_at.position;
}

/* 7.3.3.3 */
static int read_marking(struct bits_reader *r, struct h264_picture *picture)
{
    if (picture->idr) {
        picture->no_output_of_prior_pics = bits_read(r, 1);
        picture->long_term = bits_read(r, 1);
        return 0;
    }
    if (!bits_read(r, 1))
        return 0;
    for (;;) {
        struct h264_mmco mmco = {0};
        uint32_t op = bits_read_ue(r), difference = 0, index = 0;

        if (op == 0)
            return 0;
        if (r->error || op > 6 || picture->mmco_count == H264_MAX_MMCOS)
            return VD_ERR_PARAMETER;
        if (op == 1 || op == 3)
            difference = bits_read_ue(r);
        if (op == 2 || op == 3 || op == 4 || op == 6)
            index = bits_read_ue(r);
        if (difference > UINT16_MAX || index > 16)
            return VD_ERR_PARAMETER;
        mmco.op = (uint8_t)op;
        mmco.index = (uint8_t)index;
        mmco.difference = (uint16_t)difference;
        picture->mmco[picture->mmco_count++] = mmco;
    }
}

/* From frame_num to the picture order count. */
static int read_picture(struct bits_reader *r, const struct h264_sps *sps,
                        const struct h264_pps *pps, struct h264_picture *picture)
{
    uint32_t id;

    picture->frame_num = (uint16_t)bits_read(r, sps->log2_frame_num);
    if (!sps->frame_mbs_only && bits_read(r, 1))
        return VD_ERR_UNSUPPORTED;
    if (picture->idr) {
        id = bits_read_ue(r);
        if (id > UINT16_MAX)
            return VD_ERR_PARAMETER;
        picture->idr_pic_id = (uint16_t)id;
    }
    if (sps->poc_type == 0) {
        picture->poc_lsb = (uint16_t)bits_read(r, sps->log2_poc_lsb);
        if (pps->pic_order)
            picture->delta_bottom = bits_read_se(r);
    } else if (sps->poc_type == 1 && !sps->delta_always_zero) {
        picture->delta_poc[0] = bits_read_se(r);
        if (pps->pic_order)
            picture->delta_poc[1] = bits_read_se(r);
    }
    if (pps->redundant && bits_read_ue(r))
        return VD_ERR_UNSUPPORTED;
    return 0;
}

/* What only P slices have. */
static int read_references(struct bits_reader *r, const struct h264_sps *sps,
                           const struct h264_pps *pps, struct h264_slice *slice)
{
    uint32_t count = pps->ref_count;
    int err;

    if (bits_read(r, 1))
        count = bits_read_ue(r) + 1;
    if (count > H264_MAX_REFS)
        return VD_ERR_PARAMETER;
    slice->ref_count = (uint8_t)count;
    err = read_mods(r, slice);
    if (!err && pps->weighted)
        read_weights(r, sps, slice);
    return err;
}

/* From cabac_init_idc to the end. */
static int read_coding(struct bits_reader *r, const struct h264_pps *pps, struct h264_slice *slice)
{
    uint32_t init = 0, idc = 0;
    int32_t qp, alpha = 0, beta = 0;

    if (pps->cabac && h264_slice_is_p(slice))
        init = bits_read_ue(r);
    qp = bits_read_se(r);
    if (pps->deblocking_control) {
        idc = bits_read_ue(r);
        if (idc != 1) {
            alpha = bits_read_se(r);
            beta = bits_read_se(r);
        }
    }
    if (init > 2 || qp < -128 || qp > 127 || pps->init_qp + qp < -48 || pps->init_qp + qp > 51 ||
        idc > 2 || alpha < -6 || alpha > 6 || beta < -6 || beta > 6)
        return VD_ERR_PARAMETER;
    slice->cabac_init_idc = (uint8_t)init;
    slice->qp = (int8_t)(pps->init_qp + qp);
    slice->deblocking_idc = (uint8_t)idc;
    slice->alpha = (int8_t)alpha;
    slice->beta = (int8_t)beta;
    return 0;
}

int h264_slice_read(const struct h264_sets *sets, const struct h264_nal *nal,
                    struct h264_slice *ret_slice)
{
    struct h264_slice slice = {0};
    const struct h264_pps *pps;
    const struct h264_sps *sps;
    struct bits_reader reader;
    uint32_t header, pps_id;
    int err;

    bits_read_init(&reader, nal->data, nal->size, nal->escaped);
    header = bits_read(&reader, 8);
    slice.picture.ref_idc = (uint8_t)(header >> 5 & 3);
    slice.picture.idr = (header & 0x1f) == H264_NAL_IDR;
    slice.first_mb = bits_read_ue(&reader);
    slice.type = bits_read_ue(&reader);
    pps_id = bits_read_ue(&reader);
    if (reader.error || slice.type > 9 || pps_id >= H264_PPS_COUNT || !sets->pps[pps_id].valid ||
        (slice.picture.idr && !slice.picture.ref_idc))
        return VD_ERR_PARAMETER;
    if (slice.type % 5 != 0 && slice.type % 5 != 2)
        return VD_ERR_UNSUPPORTED;
    slice.pps_id = (uint8_t)pps_id;
    pps = &sets->pps[pps_id];
    sps = &sets->sps[pps->sps_id];
    if (!sps->valid)
        return VD_ERR_PARAMETER;
    err = read_picture(&reader, sps, pps, &slice.picture);
    if (!err && h264_slice_is_p(&slice))
        err = read_references(&reader, sps, pps, &slice);
    if (!err && slice.picture.ref_idc)
        err = read_marking(&reader, &slice.picture);
    if (!err)
        err = read_coding(&reader, pps, &slice);
    if (err || reader.error)
        return err ? err : VD_ERR_PARAMETER;
    slice.bits = reader.position;
    while (!reader.error && !slice.payload)
        slice.payload = bits_read(&reader, 1);
    *ret_slice = slice;
    return 0;
}

static void write_picture(struct bits_writer *w, const struct h264_sps *sps,
                          const struct h264_pps *pps, const struct h264_picture *picture)
{
    bits_write(w, sps->log2_frame_num, picture->frame_num);
    if (!sps->frame_mbs_only)
        bits_write(w, 1, 0); /* field_pic_flag */
    if (picture->idr)
        bits_write_ue(w, picture->idr_pic_id);
    if (sps->poc_type == 0) {
        bits_write(w, sps->log2_poc_lsb, picture->poc_lsb);
        if (pps->pic_order)
            bits_write_se(w, picture->delta_bottom);
    } else if (sps->poc_type == 1 && !sps->delta_always_zero) {
        bits_write_se(w, picture->delta_poc[0]);
        if (pps->pic_order)
            bits_write_se(w, picture->delta_poc[1]);
    }
    if (pps->redundant)
        bits_write_ue(w, 0);
}

/* Without weights of its own a slice gets neutral ones: the same prediction. */
static void write_weights(struct bits_writer *w, const struct h264_sps *sps,
                          const struct h264_slice *slice)
{
    struct bits_reader reader = slice->weights_at;

    if (slice->weights) {
        for (uint64_t left = slice->weights_bits; left;) {
            unsigned n = left > 32 ? 32 : (unsigned)left;

            bits_write(w, n, bits_read(&reader, n));
            left -= n;
        }
        return;
    }
    bits_write_ue(w, 0);
    if (sps->chroma_format)
        bits_write_ue(w, 0);
    for (unsigned i = 0; i < slice->ref_count; i++)
        bits_write(w, sps->chroma_format ? 2 : 1, 0);
}

static void write_references(struct bits_writer *w, const struct h264_sps *sps,
                             const struct h264_pps *pps, const struct h264_slice *slice)
{
    bool override = slice->ref_count != pps->ref_count;

    bits_write(w, 1, override);
    if (override)
        bits_write_ue(w, slice->ref_count - 1u);
    bits_write(w, 1, slice->mod_count != 0);
    for (unsigned i = 0; i < slice->mod_count; i++) {
        bits_write_ue(w, slice->mod[i].op);
        bits_write_ue(w, slice->mod[i].value);
    }
    if (slice->mod_count)
        bits_write_ue(w, 3);
    if (pps->weighted)
        write_weights(w, sps, slice);
}

static void write_marking(struct bits_writer *w, const struct h264_picture *picture)
{
    if (picture->idr) {
        bits_write(w, 1, picture->no_output_of_prior_pics);
        bits_write(w, 1, picture->long_term);
        return;
    }
    bits_write(w, 1, picture->mmco_count != 0);
    for (unsigned i = 0; i < picture->mmco_count; i++) {
        const struct h264_mmco *mmco = &picture->mmco[i];

        bits_write_ue(w, mmco->op);
        if (mmco->op == 1 || mmco->op == 3)
            bits_write_ue(w, mmco->difference);
        if (mmco->op == 2 || mmco->op == 3 || mmco->op == 4 || mmco->op == 6)
            bits_write_ue(w, mmco->index);
    }
    if (picture->mmco_count)
        bits_write_ue(w, 0);
}

void h264_slice_write(struct bits_writer *w, const struct h264_sps *sps, const struct h264_pps *pps,
                      const struct h264_slice *slice)
{
    const struct h264_picture *picture = &slice->picture;

    bits_write(w, 8,
               (uint32_t)picture->ref_idc << 5 | (picture->idr ? H264_NAL_IDR : H264_NAL_SLICE));
    bits_write_ue(w, slice->first_mb);
    bits_write_ue(w, slice->type);
    bits_write_ue(w, slice->pps_id);
    write_picture(w, sps, pps, picture);
    if (h264_slice_is_p(slice))
        write_references(w, sps, pps, slice);
    if (picture->ref_idc)
        write_marking(w, picture);
    if (pps->cabac && h264_slice_is_p(slice))
        bits_write_ue(w, slice->cabac_init_idc);
    bits_write_se(w, slice->qp - pps->init_qp);
    if (pps->deblocking_control) {
        bits_write_ue(w, slice->deblocking_idc);
        if (slice->deblocking_idc != 1) {
            bits_write_se(w, slice->alpha);
            bits_write_se(w, slice->beta);
        }
    }
}
