/* SPDX-License-Identifier: MIT */
#include "hevc_slice.h"

#include <string.h>

#include <viaduct/errors.h>

#include "bits.h"

/*
 * Bytes of a header: 440 entry points (A.4.2) of 4 bytes, an extension of 256, weights for 32
 * references and a set are 2800.
 */
#define HEADER_ROOM 4096

enum slice_type { SLICE_B, SLICE_P, SLICE_I };

/* What a header is read with, and the fields that later ones depend on. */
struct header {
    struct bits_reader reader;
    const struct hevc_params *params;
    unsigned total_curr;
    struct hevc_slice slice;
    uint32_t type;
    bool temporal_mvp, sao;
};

/* Ceil(Log2(n)) */
static unsigned ceil_log2(uint32_t n)
{
    unsigned bits = 0;

    while ((UINT64_C(1) << bits) < n)
        bits++;
    return bits;
}

static void skip_bits(struct bits_reader *reader, uint64_t n)
{
    for (; n > 32 && !reader->error; n -= 32)
        bits_read(reader, 32);
    bits_read(reader, (unsigned)n);
}

static int read_start(struct bits_reader *reader, struct hevc_slice *ret_slice)
{
    struct hevc_slice slice = {0};
    uint32_t nal, tid_plus1;

    /* 7.3.1.2: other layers are for other decoders. */
    nal = bits_read(reader, 7);
    if (bits_read(reader, 6) != 0)
        return VD_ERR_DECODE;
    tid_plus1 = bits_read(reader, 3);
    /* Table 7-1: the others are reserved, or no slices. */
    if (tid_plus1 == 0 || nal > HEVC_NAL_CRA || (nal > HEVC_NAL_RASL_R && nal < HEVC_NAL_BLA_W_LP))
        return VD_ERR_DECODE;
    slice.nal = (enum hevc_nal)nal;
    slice.temporal_id = tid_plus1 - 1;
    slice.first = bits_read(reader, 1);
    if (nal >= HEVC_NAL_BLA_W_LP)
        bits_read(reader, 1); /* no_output_of_prior_pics_flag */
    slice.pps_id = bits_read_ue(reader);
    if (reader->error || slice.pps_id > 63)
        return VD_ERR_DECODE;
    *ret_slice = slice;
    return 0;
}

int hevc_slice_read_start(const uint8_t *nal, size_t size, struct hevc_slice *ret_slice)
{
    struct bits_reader reader;

    bits_read_init(&reader, nal, size, true);
    return read_start(&reader, ret_slice);
}

static unsigned address_bits(const VAPictureParameterBufferHEVC *picture)
{
    uint32_t size = hevc_ps_ctb_size(picture);
    uint32_t width = (picture->pic_width_in_luma_samples + size - 1) / size;
    uint32_t height = (picture->pic_height_in_luma_samples + size - 1) / size;

    return ceil_log2(width * height);
}

/* 7.3.7, with stRpsIdx equal to num_short_term_ref_pic_sets. */
static int skip_short_term_set(struct header *h)
{
    const VAPictureParameterBufferHEVC *picture = h->params->picture;
    struct bits_reader *reader = &h->reader;
    uint64_t start = reader->position;
    uint32_t pictures;

    if (picture->num_short_term_ref_pic_sets > 0 && bits_read(reader, 1)) {
        /* Predicted from a set that VA does not carry: its length must be told. */
        if (picture->st_rps_bits < 2)
            return VD_ERR_UNSUPPORTED;
        skip_bits(reader, picture->st_rps_bits - (reader->position - start));
        return 0;
    }
    pictures = bits_read_ue(reader); /* num_negative_pics */
    if (pictures > 16)
        return VD_ERR_DECODE;
    pictures += bits_read_ue(reader); /* num_positive_pics */
    if (pictures > 16)
        return VD_ERR_DECODE;
    for (uint32_t i = 0; i < pictures; i++) {
        bits_read_ue(reader); /* delta_poc_s0_minus1, delta_poc_s1_minus1 */
        bits_read(reader, 1); /* used_by_curr_pic_s0_flag, used_by_curr_pic_s1_flag */
    }
    return 0;
}

static int skip_long_term_set(struct header *h)
{
    const VAPictureParameterBufferHEVC *picture = h->params->picture;
    struct bits_reader *reader = &h->reader;
    uint32_t from_sps = 0, pictures;

    if (picture->num_long_term_ref_pic_sps > 0)
        from_sps = bits_read_ue(reader); /* num_long_term_sps */
    pictures = bits_read_ue(reader);     /* num_long_term_pics */
    if (from_sps > 32 || pictures > 32)
        return VD_ERR_DECODE;
    for (uint32_t i = 0; i < from_sps + pictures; i++) {
        if (i < from_sps)
            bits_read(reader, ceil_log2(picture->num_long_term_ref_pic_sps)); /* lt_idx_sps */
        else
            bits_read(reader, picture->log2_max_pic_order_cnt_lsb_minus4 + 5u);
        if (bits_read(reader, 1)) /* delta_poc_msb_present_flag */
            bits_read_ue(reader); /* delta_poc_msb_cycle_lt */
    }
    return 0;
}

static int skip_set(struct header *h)
{
    const VAPictureParameterBufferHEVC *picture = h->params->picture;
    struct bits_reader *reader = &h->reader;
    int err = 0;

    bits_read(reader, picture->log2_max_pic_order_cnt_lsb_minus4 + 4u);
    if (!bits_read(reader, 1)) /* short_term_ref_pic_set_sps_flag */
        err = skip_short_term_set(h);
    else
        bits_read(reader, ceil_log2(picture->num_short_term_ref_pic_sets));
    if (!err && picture->slice_parsing_fields.bits.long_term_ref_pics_present_flag)
        err = skip_long_term_set(h);
    return err;
}

/* 7.3.6.2 */
static void read_lists_modification(struct header *h)
{
    unsigned bits = ceil_log2(h->total_curr);

    for (unsigned list = 0; list < (h->type == SLICE_B ? 2u : 1u); list++) {
        h->slice.modified[list] = bits_read(&h->reader, 1);
        for (unsigned i = 0; h->slice.modified[list] && i < h->slice.active[list]; i++)
            h->slice.entry[list][i] = (uint8_t)bits_read(&h->reader, bits);
    }
}

/* 7.3.6.3 */
static void skip_weights(struct header *h)
{
    bool chroma = h->params->picture->pic_fields.bits.chroma_format_idc != 0;
    struct bits_reader *reader = &h->reader;

    bits_read_ue(reader); /* luma_log2_weight_denom */
    if (chroma)
        bits_read_se(reader); /* delta_chroma_log2_weight_denom */
    for (unsigned list = 0; list < (h->type == SLICE_B ? 2u : 1u); list++) {
        unsigned n = h->slice.active[list];
        uint32_t luma_flags = bits_read(reader, n);
        uint32_t chroma_flags = chroma ? bits_read(reader, n) : 0;

        for (uint32_t bit = (UINT32_C(1) << n) >> 1; bit != 0; bit >>= 1) {
            /* A weight and an offset for luma, for Cb and for Cr. */
            unsigned numbers = (luma_flags & bit ? 2 : 0) + (chroma_flags & bit ? 4 : 0);

            while (numbers-- > 0)
                bits_read_se(reader);
        }
    }
}

static int read_inter(struct header *h)
{
    const VAPictureParameterBufferHEVC *picture = h->params->picture;
    struct bits_reader *reader = &h->reader;
    unsigned *active = h->slice.active;
    bool b = h->type == SLICE_B, from_l0 = true;

    active[0] = picture->num_ref_idx_l0_default_active_minus1 + 1u;
    active[1] = b ? picture->num_ref_idx_l1_default_active_minus1 + 1u : 0;
    if (bits_read(reader, 1)) { /* num_ref_idx_active_override_flag */
        uint32_t l0 = bits_read_ue(reader), l1 = b ? bits_read_ue(reader) : 0;

        if (l0 > 14 || l1 > 14)
            return VD_ERR_DECODE;
        active[0] = l0 + 1;
        active[1] = b ? l1 + 1 : 0;
    }
    if (picture->slice_parsing_fields.bits.lists_modification_present_flag && h->total_curr > 1)
        read_lists_modification(h);
    if (b)
        bits_read(reader, 1); /* mvd_l1_zero_flag */
    if (picture->slice_parsing_fields.bits.cabac_init_present_flag)
        bits_read(reader, 1); /* cabac_init_flag */
    if (h->temporal_mvp) {
        if (b)
            from_l0 = bits_read(reader, 1); /* collocated_from_l0_flag */
        if (active[from_l0 ? 0 : 1] > 1)
            bits_read_ue(reader); /* collocated_ref_idx */
    }
    if (b ? picture->pic_fields.bits.weighted_bipred_flag
          : picture->pic_fields.bits.weighted_pred_flag)
        skip_weights(h);
    bits_read_ue(reader); /* five_minus_max_num_merge_cand */
    return 0;
}

static void skip_filters(struct header *h)
{
    const VAPictureParameterBufferHEVC *picture = h->params->picture;
    struct bits_reader *reader = &h->reader;
    bool disabled = picture->slice_parsing_fields.bits.pps_disable_deblocking_filter_flag;

    if (picture->slice_parsing_fields.bits.deblocking_filter_override_enabled_flag &&
        bits_read(reader, 1)) { /* deblocking_filter_override_flag */
        disabled = bits_read(reader, 1);
        if (!disabled) {
            bits_read_se(reader); /* slice_beta_offset_div2 */
            bits_read_se(reader); /* slice_tc_offset_div2 */
        }
    }
    if (picture->pic_fields.bits.pps_loop_filter_across_slices_enabled_flag &&
        (h->sao || !disabled))
        bits_read(reader, 1); /* slice_loop_filter_across_slices_enabled_flag */
}

static int skip_entry_points(struct header *h)
{
    const VAPictureParameterBufferHEVC *picture = h->params->picture;
    struct bits_reader *reader = &h->reader;
    uint32_t count, length;

    if (!picture->pic_fields.bits.tiles_enabled_flag &&
        !picture->pic_fields.bits.entropy_coding_sync_enabled_flag)
        return 0;
    count = bits_read_ue(reader); /* num_entry_point_offsets */
    if (count == 0)
        return 0;
    length = bits_read_ue(reader); /* offset_len_minus1 */
    if (length > 31)
        return VD_ERR_DECODE;
    skip_bits(reader, (uint64_t)count * (length + 1));
    return 0;
}

/* From slice_reserved_flag[] to the end, of an independent slice segment that is not IDR. */
static int read_independent(struct header *h)
{
    const VAPictureParameterBufferHEVC *picture = h->params->picture;
    const VAPictureParameterBufferHEVCRext *rext = h->params->rext;
    struct bits_reader *reader = &h->reader;
    int err;

    bits_read(reader, picture->num_extra_slice_header_bits);
    h->type = bits_read_ue(reader);
    if (h->type > SLICE_I)
        return VD_ERR_DECODE;
    if (picture->slice_parsing_fields.bits.output_flag_present_flag)
        bits_read(reader, 1); /* pic_output_flag */
    h->slice.set_start = reader->position;
    err = skip_set(h);
    if (err)
        return err;
    h->slice.set_end = reader->position;
    if (picture->slice_parsing_fields.bits.sps_temporal_mvp_enabled_flag)
        h->temporal_mvp = bits_read(reader, 1);
    if (picture->slice_parsing_fields.bits.sample_adaptive_offset_enabled_flag)
        h->sao = bits_read(reader, picture->pic_fields.bits.chroma_format_idc != 0 ? 2 : 1);
    if (h->type != SLICE_I) {
        err = read_inter(h);
        if (err)
            return err;
    }
    bits_read_se(reader); /* slice_qp_delta */
    if (picture->slice_parsing_fields.bits.pps_slice_chroma_qp_offsets_present_flag) {
        bits_read_se(reader); /* slice_cb_qp_offset */
        bits_read_se(reader); /* slice_cr_qp_offset */
    }
    if (rext && rext->range_extension_pic_fields.bits.chroma_qp_offset_list_enabled_flag)
        bits_read(reader, 1); /* cu_chroma_qp_offset_enabled_flag */
    skip_filters(h);
    err = skip_entry_points(h);
    if (err)
        return err;
    if (picture->slice_parsing_fields.bits.slice_segment_header_extension_present_flag)
        skip_bits(reader, UINT64_C(8) * bits_read_ue(reader));
    h->slice.end = reader->position;
    /* 7.3.2.12: what does not end like this was not read as it was meant. */
    if (!bits_read(reader, 1) || reader->error)
        return VD_ERR_DECODE;
    return 0;
}

/* The byte of the NAL unit behind `bytes` bytes without emulation prevention. */
static size_t escaped_offset(const uint8_t *nal, size_t size, uint64_t bytes)
{
    unsigned zeros = 0;
    size_t at = 0;

    for (; bytes > 0 && at < size; at++) {
        if (zeros >= 2 && nal[at] == 3) {
            zeros = 0;
            continue;
        }
        zeros = nal[at] == 0 ? zeros + 1 : 0;
        bytes--;
    }
    return at;
}

int hevc_slice_read(const uint8_t *nal, size_t size, const struct hevc_params *params,
                    unsigned total_curr, struct hevc_slice *ret_slice)
{
    const VAPictureParameterBufferHEVC *picture = params->picture;
    struct header h = {.params = params, .total_curr = total_curr};
    int err;

    bits_read_init(&h.reader, nal, size, true);
    err = read_start(&h.reader, &h.slice);
    if (err)
        return err;
    if (!h.slice.first) {
        if (picture->slice_parsing_fields.bits.dependent_slice_segments_enabled_flag)
            h.slice.dependent = bits_read(&h.reader, 1);
        bits_read(&h.reader, address_bits(picture));
    }
    if (h.reader.error)
        return VD_ERR_DECODE;
    if (!h.slice.dependent && h.slice.nal != HEVC_NAL_IDR_W_RADL &&
        h.slice.nal != HEVC_NAL_IDR_N_LP) {
        err = read_independent(&h);
        if (err)
            return err;
        h.slice.payload = escaped_offset(nal, size, (h.slice.end + 1 + 7) / 8);
    }
    *ret_slice = h.slice;
    return 0;
}

static void copy_bits(struct bits_writer *writer, struct bits_reader *reader, uint64_t end)
{
    while (reader->position < end && !reader->error) {
        uint64_t left = end - reader->position;
        unsigned n = left < 32 ? (unsigned)left : 32;

        bits_write(writer, n, bits_read(reader, n));
    }
}

int hevc_slice_write(const struct hevc_slice *slice, const uint8_t *nal, const struct hevc_rps *rps,
                     uint8_t *data, size_t room, size_t *ret_size)
{
    static const uint8_t start_code[4] = {0, 0, 0, 1};
    uint8_t rbsp[HEADER_ROOM];
    struct bits_reader reader;
    struct bits_writer writer;
    size_t size;
    int err;

    bits_read_init(&reader, nal, slice->payload, true);
    bits_write_init(&writer, rbsp, sizeof(rbsp));
    copy_bits(&writer, &reader, slice->set_start);
    hevc_rps_write(rps, &writer);
    skip_bits(&reader, slice->set_end - slice->set_start);
    copy_bits(&writer, &reader, slice->end);
    bits_write_trailing(&writer); /* byte_alignment() has the same bits */
    if (reader.error)
        return VD_ERR_DECODE;
    if (writer.error || room < sizeof(start_code))
        return VD_ERR_LIMIT;
    memcpy(data, start_code, sizeof(start_code));
    err =
        bits_escape(rbsp, writer.used, data + sizeof(start_code), room - sizeof(start_code), &size);
    if (err)
        return err;
    *ret_size = sizeof(start_code) + size;
    return 0;
}
