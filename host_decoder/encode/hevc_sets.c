/* SPDX-License-Identifier: MIT */
#include "hevc_sets.h"

#include <string.h>

#include <viaduct/errors.h>
#include <viaduct/limits.h>

#include "hevc_vui.h"

static void skip_bits(struct bits_reader *reader, uint64_t n)
{
    for (; n > 32 && !reader->error; n -= 32)
        bits_read(reader, 32);
    bits_read(reader, (unsigned)(n % 33));
}

/* ue(v) that is at most `most`: more is an error of the reader. */
static uint8_t read_ue(struct bits_reader *reader, uint32_t most)
{
    uint32_t value = bits_read_ue(reader);

    if (value > most) {
        reader->error = true;
        return 0;
    }
    return (uint8_t)value;
}

static int8_t read_se(struct bits_reader *reader, int least, int most)
{
    int32_t value = bits_read_se(reader);

    if (value < least || value > most) {
        reader->error = true;
        return 0;
    }
    return (int8_t)value;
}

/* profile_tier_level(1, sub_layers - 1), 7.3.3 */
static void read_level(struct bits_reader *reader, unsigned sub_layers, uint8_t *ret_level)
{
    bool profile[8] = {0}, level[8] = {0};

    skip_bits(reader, 88); /* general_profile_space to general_inbld_flag */
    *ret_level = (uint8_t)bits_read(reader, 8);
    for (unsigned i = 0; i + 1 < sub_layers; i++) {
        profile[i] = bits_read(reader, 1);
        level[i] = bits_read(reader, 1);
    }
    if (sub_layers > 1)
        skip_bits(reader, 2 * (8 - (sub_layers - 1)));
    for (unsigned i = 0; i + 1 < sub_layers; i++)
        skip_bits(reader, (profile[i] ? 88u : 0u) + (level[i] ? 8u : 0u));
}

/* 7.4.8: a set derived from the one before it (or, in a slice header, from any). */
static int predict_set(struct bits_reader *reader, const struct hevc_set *sets, unsigned index,
                       unsigned count, struct hevc_set *ret_set)
{
    unsigned back = index == count ? read_ue(reader, 63) + 1u : 1u, total, kept = 0;
    int32_t sign = bits_read(reader, 1) ? -1 : 1;
    int32_t shift = sign * ((int32_t)(bits_read_ue(reader) & 0xffff) + 1);
    const struct hevc_set *from;
    struct hevc_set set = {0};
    int32_t delta[17];
    bool used[17];

    if (back > index)
        return VD_ERR_DECODE;
    from = &sets[index - back];
    total = from->before + from->after;
    for (unsigned j = 0; j <= total; j++) {
        bool is_used = bits_read(reader, 1), is_kept = is_used || bits_read(reader, 1);

        if (!is_kept)
            continue;
        delta[kept] = (j < total ? from->delta[j] : 0) + shift;
        used[kept++] = is_used;
    }
    if (kept > 16)
        return VD_ERR_DECODE;
    /* The same order as (7-61) and (7-62): closest first, on either side. */
    for (int side = -1; side <= 1; side += 2) {
        for (;;) {
            unsigned best = kept, at = set.before + set.after;

            for (unsigned j = 0; j < kept; j++) {
                if (delta[j] * side > 0 && (best == kept || delta[j] * side < delta[best] * side))
                    best = j;
            }
            if (best == kept)
                break;
            set.delta[at] = delta[best];
            set.used[at] = used[best];
            delta[best] = 0;
            if (side < 0)
                set.before++;
            else
                set.after++;
        }
    }
    *ret_set = set;
    return 0;
}

int hevc_sets_read_set(struct bits_reader *reader, const struct hevc_set *sets, unsigned index,
                       unsigned count, struct hevc_set *ret_set)
{
    struct hevc_set set = {0};
    int32_t delta = 0;

    if (index > 0 && bits_read(reader, 1))
        return predict_set(reader, sets, index, count, ret_set);
    set.before = read_ue(reader, 16);
    set.after = read_ue(reader, 16u - set.before);
    for (unsigned i = 0; i < set.before + (unsigned)set.after && !reader->error; i++) {
        int32_t step = (int32_t)(bits_read_ue(reader) & 0xffff) + 1;

        if (i == set.before)
            delta = 0;
        delta += i < set.before ? -step : step;
        set.delta[i] = delta;
        set.used[i] = bits_read(reader, 1);
    }
    if (reader->error)
        return VD_ERR_DECODE;
    *ret_set = set;
    return 0;
}

static void read_size(struct bits_reader *reader, struct hevc_sps *sps)
{
    uint32_t width = bits_read_ue(reader), height = bits_read_ue(reader);
    uint32_t unit_x, unit_y, cut[4] = {0};

    if (width > VD_MAX_WIDTH || height > VD_MAX_HEIGHT) {
        reader->error = true;
        return;
    }
    /* Table 6-1 */
    unit_x = sps->chroma_format_idc == 1 || sps->chroma_format_idc == 2 ? 2 : 1;
    unit_y = sps->chroma_format_idc == 1 ? 2 : 1;
    if (bits_read(reader, 1)) {
        for (unsigned i = 0; i < 4; i++) /* left, right, top, bottom */
            cut[i] = bits_read_ue(reader) & 0xffff;
    }
    if ((cut[0] + cut[1]) * unit_x >= width || (cut[2] + cut[3]) * unit_y >= height) {
        reader->error = true;
        return;
    }
    sps->width = (uint16_t)width;
    sps->height = (uint16_t)height;
    sps->shown_width = (uint16_t)(width - (cut[0] + cut[1]) * unit_x);
    sps->shown_height = (uint16_t)(height - (cut[2] + cut[3]) * unit_y);
}

static void read_buffering(struct bits_reader *reader, unsigned sub_layers, struct hevc_sps *sps)
{
    unsigned i = bits_read(reader, 1) ? 0 : sub_layers - 1;

    for (; i < sub_layers; i++) {
        sps->dpb = read_ue(reader, 15);
        bits_read_ue(reader); /* sps_max_num_reorder_pics */
        bits_read_ue(reader); /* sps_max_latency_increase_plus1 */
    }
}

static void read_blocks(struct bits_reader *reader, struct hevc_sps *sps)
{
    sps->log2_min_cb = read_ue(reader, 3) + 3;
    sps->log2_ctb = sps->log2_min_cb + read_ue(reader, 3);
    sps->log2_min_tb = read_ue(reader, 3) + 2;
    sps->log2_max_tb = sps->log2_min_tb + read_ue(reader, 3);
    sps->depth_inter = read_ue(reader, 4);
    sps->depth_intra = read_ue(reader, 4);
}

/* scaling_list_data(), 7.3.4 */
static void skip_scaling_lists(struct bits_reader *reader)
{
    for (unsigned size = 0; size < 4; size++) {
        for (unsigned matrix = 0; matrix < 6; matrix += size == 3 ? 3 : 1) {
            unsigned count = size == 0 ? 16 : 64;

            if (!bits_read(reader, 1)) {
                bits_read_ue(reader); /* scaling_list_pred_matrix_id_delta */
                continue;
            }
            if (size > 1)
                bits_read_se(reader); /* scaling_list_dc_coef_minus8 */
            for (unsigned i = 0; i < count && !reader->error; i++)
                bits_read_se(reader); /* scaling_list_delta_coef */
        }
    }
}

static void read_tools(struct bits_reader *reader, struct hevc_sps *sps)
{
    sps->scaling_lists = bits_read(reader, 1);
    if (sps->scaling_lists && bits_read(reader, 1))
        skip_scaling_lists(reader);
    sps->amp = bits_read(reader, 1);
    sps->sao = bits_read(reader, 1);
    sps->pcm = bits_read(reader, 1);
    if (sps->pcm) {
        bits_read(reader, 8); /* pcm_sample_bit_depth_* */
        bits_read_ue(reader); /* log2_min_pcm_luma_coding_block_size_minus3 */
        bits_read_ue(reader); /* log2_diff_max_min_pcm_luma_coding_block_size */
        bits_read(reader, 1); /* pcm_loop_filter_disabled_flag */
    }
}

int hevc_sets_read_sps(const uint8_t *nal, size_t size, bool escaped, struct hevc_set *sets,
                       struct hevc_sps *ret_sps)
{
    struct hevc_sps sps = {0};
    struct bits_reader reader;
    unsigned sub_layers;

    bits_read_init(&reader, nal, size, escaped);
    bits_read(&reader, 16 + 4); /* NAL unit header, sps_video_parameter_set_id */
    sub_layers = bits_read(&reader, 3) + 1;
    bits_read(&reader, 1); /* sps_temporal_id_nesting_flag */
    if (sub_layers > 7)
        return VD_ERR_DECODE;
    read_level(&reader, sub_layers, &sps.level_idc);
    sps.id = read_ue(&reader, 15);
    sps.chroma_format_idc = read_ue(&reader, 3);
    if (sps.chroma_format_idc == 3)
        sps.separate_planes = bits_read(&reader, 1);
    read_size(&reader, &sps);
    sps.bit_depth_luma = read_ue(&reader, 8) + 8;
    sps.bit_depth_chroma = read_ue(&reader, 8) + 8;
    sps.log2_poc_lsb = read_ue(&reader, 12) + 4;
    read_buffering(&reader, sub_layers, &sps);
    read_blocks(&reader, &sps);
    read_tools(&reader, &sps);
    sps.rps_count = read_ue(&reader, HEVC_SETS_RPS);
    for (unsigned i = 0; i < sps.rps_count; i++) {
        if (hevc_sets_read_set(&reader, sets, i, sps.rps_count, &sets[i]))
            return VD_ERR_DECODE;
    }
    sps.long_term = bits_read(&reader, 1);
    if (sps.long_term) {
        sps.rps_lt_count = read_ue(&reader, HEVC_SETS_RPS_LT);
        skip_bits(&reader, (uint64_t)sps.rps_lt_count * (sps.log2_poc_lsb + 1u));
    }
    sps.temporal_mvp = bits_read(&reader, 1);
    sps.strong_intra = bits_read(&reader, 1);
    /* Main and Main 10 have no extensions; apps that get their VUI wrong are none of our business.
     */
    if (sps.chroma_format_idc != 1) {
        if (bits_read(&reader, 1))
            hevc_vui_skip(&reader, sub_layers);
        sps.extension = bits_read(&reader, 1) && bits_read(&reader, 8);
    }
    if (reader.error)
        return VD_ERR_DECODE;
    *ret_sps = sps;
    return 0;
}

static void skip_tiles(struct bits_reader *reader)
{
    unsigned columns = read_ue(reader, 19), rows = read_ue(reader, 21);

    if (!bits_read(reader, 1)) { /* uniform_spacing_flag */
        for (unsigned i = 0; i < columns + rows; i++)
            bits_read_ue(reader); /* column_width_minus1, row_height_minus1 */
    }
    bits_read(reader, 1); /* loop_filter_across_tiles_enabled_flag */
}

static void read_pps_tools(struct bits_reader *reader, struct hevc_pps *pps)
{
    pps->constrained_intra = bits_read(reader, 1);
    pps->transform_skip = bits_read(reader, 1);
    pps->cu_qp_delta = bits_read(reader, 1);
    if (pps->cu_qp_delta)
        pps->diff_cu_qp_delta_depth = read_ue(reader, 3);
    pps->cb_qp_offset = read_se(reader, -12, 12);
    pps->cr_qp_offset = read_se(reader, -12, 12);
    pps->slice_chroma_offsets = bits_read(reader, 1);
    pps->weighted_pred = bits_read(reader, 1);
    pps->weighted_bipred = bits_read(reader, 1);
    pps->transquant_bypass = bits_read(reader, 1);
    pps->tiles = bits_read(reader, 1);
    pps->entropy_sync = bits_read(reader, 1);
    if (pps->tiles)
        skip_tiles(reader);
    pps->loop_filter_across = bits_read(reader, 1);
    if (bits_read(reader, 1)) { /* deblocking_filter_control_present_flag */
        pps->deblocking_override = bits_read(reader, 1);
        pps->deblocking_disabled = bits_read(reader, 1);
        if (!pps->deblocking_disabled) {
            pps->beta_offset_div2 = read_se(reader, -6, 6);
            pps->tc_offset_div2 = read_se(reader, -6, 6);
        }
    }
}

int hevc_sets_read_pps(const uint8_t *nal, size_t size, bool escaped, struct hevc_pps *ret_pps)
{
    struct hevc_pps pps = {0};
    struct bits_reader reader;

    bits_read_init(&reader, nal, size, escaped);
    bits_read(&reader, 16);
    pps.id = read_ue(&reader, HEVC_SETS_PPS - 1);
    pps.sps_id = read_ue(&reader, 15);
    pps.dependent_slices = bits_read(&reader, 1);
    pps.output_flag = bits_read(&reader, 1);
    pps.extra_header_bits = (uint8_t)bits_read(&reader, 3);
    pps.sign_hiding = bits_read(&reader, 1);
    pps.cabac_init = bits_read(&reader, 1);
    pps.active[0] = read_ue(&reader, 14) + 1;
    pps.active[1] = read_ue(&reader, 14) + 1;
    /* 10 bits: from -(26 + 12) */
    pps.init_qp = (int8_t)(read_se(&reader, -38, 25) + 26);
    read_pps_tools(&reader, &pps);
    pps.scaling_lists = bits_read(&reader, 1);
    if (pps.scaling_lists)
        skip_scaling_lists(&reader);
    pps.lists_modification = bits_read(&reader, 1);
    pps.log2_merge_level = read_ue(&reader, 4) + 2;
    pps.header_extension = bits_read(&reader, 1);
    pps.extension = bits_read(&reader, 1);
    if (reader.error)
        return VD_ERR_DECODE;
    *ret_pps = pps;
    return 0;
}

/* Bytes of a NAL unit without emulation prevention bytes and zeros at its end. */
static size_t rbsp_size(const uint8_t *nal, size_t size)
{
    size_t bytes = 0;
    unsigned zeros = 0;

    while (size > 0 && nal[size - 1] == 0)
        size--;
    for (size_t i = 0; i < size; i++) {
        if (zeros >= 2 && nal[i] == 3) {
            zeros = 0;
            continue;
        }
        zeros = nal[i] == 0 ? zeros + 1 : 0;
        bytes++;
    }
    return bytes;
}

int hevc_sets_rename_pps(const uint8_t *nal, size_t size, uint32_t id, uint32_t sps_id,
                         struct bits_writer *writer)
{
    uint64_t end = 8 * (uint64_t)rbsp_size(nal, size);
    uint8_t last = 0;
    struct bits_reader reader;

    while (size > 0 && nal[size - 1] == 0)
        size--;
    if (size < 3)
        return VD_ERR_DECODE;
    /* Up to rbsp_stop_one_bit. */
    for (last = nal[size - 1]; !(last & 1); last >>= 1)
        end--;
    end--;
    bits_read_init(&reader, nal, size, true);
    bits_write(writer, 16, bits_read(&reader, 16));
    bits_read_ue(&reader);
    bits_read_ue(&reader);
    bits_write_ue(writer, id);
    bits_write_ue(writer, sps_id);
    while (reader.position < end && !reader.error)
        bits_write(writer, 1, bits_read(&reader, 1));
    bits_write_trailing(writer);
    return reader.error || writer->error ? VD_ERR_DECODE : 0;
}

uint32_t hevc_sets_ctbs(const struct hevc_sps *sps)
{
    uint32_t size = UINT32_C(1) << sps->log2_ctb;

    return ((sps->width + size - 1) / size) * ((sps->height + size - 1) / size);
}

int hevc_sets_check(const struct hevc_sps *sps)
{
    unsigned most = sps->log2_ctb < 5 ? sps->log2_ctb : 5;

    if (sps->chroma_format_idc < 1 || sps->separate_planes || sps->scaling_lists || sps->pcm ||
        sps->extension || sps->bit_depth_luma != sps->bit_depth_chroma ||
        (sps->bit_depth_luma != 8 && sps->bit_depth_luma != 10))
        return VD_ERR_UNSUPPORTED;
    if (sps->log2_ctb < 4 || sps->log2_ctb > 6 || sps->log2_min_cb < 3 ||
        sps->log2_min_cb > sps->log2_ctb || sps->log2_min_tb < 2 ||
        sps->log2_min_tb >= sps->log2_min_cb || sps->log2_max_tb < sps->log2_min_tb ||
        sps->log2_max_tb > most || sps->depth_inter > sps->log2_ctb - sps->log2_min_tb ||
        sps->depth_intra > sps->log2_ctb - sps->log2_min_tb)
        return VD_ERR_PARAMETER;
    if (sps->width == 0 || sps->height == 0 || sps->width > VD_MAX_WIDTH ||
        sps->height > VD_MAX_HEIGHT || sps->width % (1u << sps->log2_min_cb) ||
        sps->height % (1u << sps->log2_min_cb))
        return VD_ERR_PARAMETER;
    return 0;
}
