/* SPDX-License-Identifier: MIT */
#include "hevc_head.h"

#include <viaduct/errors.h>

/* Entry points of a picture (A.4.2: 440 are the most of any level), with some to spare. */
#define MAX_POINTS 600

/* Ceil(Log2(n)) */
static unsigned ceil_log2(uint32_t n)
{
    unsigned bits = 0;

    while ((UINT64_C(1) << bits) < n)
        bits++;
    return bits;
}

unsigned hevc_head_used(const struct hevc_set *set)
{
    unsigned used = 0;

    for (unsigned i = 0; i < (unsigned)set->before + set->after; i++)
        used += set->used[i];
    return used;
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

/* slice_pic_order_cnt_lsb up to long-term pictures, which no encoder here makes. */
static int read_set(struct bits_reader *reader, const struct hevc_head_sets *sets,
                    struct hevc_head *head)
{
    const struct hevc_sps *sps = sets->sps;

    head->poc_lsb = bits_read(reader, sps->log2_poc_lsb);
    if (!bits_read(reader, 1)) { /* short_term_ref_pic_set_sps_flag */
        if (hevc_sets_read_set(reader, sets->sets, sps->rps_count, sps->rps_count, &head->set))
            return VD_ERR_DECODE;
    } else {
        uint32_t index = bits_read(reader, ceil_log2(sps->rps_count));

        if (index >= sps->rps_count)
            return VD_ERR_DECODE;
        head->set = sets->sets[index];
    }
    if (sps->long_term) {
        uint32_t count = sps->rps_lt_count ? bits_read_ue(reader) : 0;

        if (count || bits_read_ue(reader))
            return VD_ERR_DECODE;
    }
    return 0;
}

/* pred_weight_table(), 7.3.6.3, for 4:2:0. All references are other pictures. */
static void skip_weights(struct bits_reader *reader, const struct hevc_head *head)
{
    bits_read_ue(reader); /* luma_log2_weight_denom */
    bits_read_se(reader); /* delta_chroma_log2_weight_denom */
    for (unsigned list = 0; list < 2; list++) {
        uint32_t luma = bits_read(reader, head->active[list]);
        uint32_t chroma = bits_read(reader, head->active[list]);

        for (unsigned i = head->active[list]; i-- > 0;) {
            /* A weight and an offset for luma, two of each for chroma. */
            unsigned values = (luma >> i & 1 ? 2 : 0) + (chroma >> i & 1 ? 4 : 0);

            while (values-- > 0)
                bits_read_se(reader);
        }
    }
}

static bool has_weights(const struct hevc_head *head, const struct hevc_pps *pps)
{
    return head->type == HEVC_SLICE_P   ? pps->weighted_pred
           : head->type == HEVC_SLICE_B ? pps->weighted_bipred
                                        : false;
}

static int read_inter(struct bits_reader *reader, const struct hevc_pps *pps,
                      struct hevc_head *head)
{
    bool b = head->type == HEVC_SLICE_B;

    head->active[0] = pps->active[0];
    head->active[1] = b ? pps->active[1] : 0;
    if (bits_read(reader, 1)) { /* num_ref_idx_active_override_flag */
        for (unsigned list = 0; list < (b ? 2u : 1u); list++) {
            uint32_t minus1 = bits_read_ue(reader);

            if (minus1 > 14)
                return VD_ERR_DECODE;
            head->active[list] = (uint8_t)(minus1 + 1);
        }
    }
    if (hevc_head_used(&head->set) == 0)
        return VD_ERR_DECODE;
    /* ref_pic_list_modification_flag_lX: the order would not be that of other sets. */
    if (pps->lists_modification && hevc_head_used(&head->set) > 1 && bits_read(reader, b ? 2 : 1))
        return VD_ERR_DECODE;
    head->mvd_l1_zero = b && bits_read(reader, 1);
    head->cabac_init = pps->cabac_init && bits_read(reader, 1);
    head->collocated_from_l0 = true;
    if (head->temporal_mvp) {
        if (b)
            head->collocated_from_l0 = bits_read(reader, 1);
        if (head->active[!head->collocated_from_l0] > 1)
            head->collocated = (uint8_t)(bits_read_ue(reader) & 15);
    }
    if (has_weights(head, pps)) {
        head->weights = reader->position;
        skip_weights(reader, head);
        head->weights_end = reader->position;
    }
    head->five_minus_merge = (uint8_t)(bits_read_ue(reader) & 7);
    return head->five_minus_merge > 4 ? VD_ERR_DECODE : 0;
}

static void read_filters(struct bits_reader *reader, const struct hevc_pps *pps,
                         struct hevc_head *head)
{
    head->deblocking_disabled = pps->deblocking_disabled;
    head->beta_offset_div2 = pps->beta_offset_div2;
    head->tc_offset_div2 = pps->tc_offset_div2;
    if (pps->deblocking_override && bits_read(reader, 1)) {
        head->deblocking_disabled = bits_read(reader, 1);
        if (!head->deblocking_disabled) {
            head->beta_offset_div2 = read_se(reader, -6, 6);
            head->tc_offset_div2 = read_se(reader, -6, 6);
        }
    }
    head->loop_filter_across = pps->loop_filter_across;
    if (pps->loop_filter_across &&
        (head->sao_luma || head->sao_chroma || !head->deblocking_disabled))
        head->loop_filter_across = bits_read(reader, 1);
}

static int read_independent(struct bits_reader *reader, const struct hevc_head_sets *sets,
                            const struct hevc_pps *pps, struct hevc_head *head)
{
    uint32_t type;
    int qp;

    bits_read(reader, pps->extra_header_bits);
    type = bits_read_ue(reader);
    if (type > HEVC_SLICE_I)
        return VD_ERR_DECODE;
    head->type = (enum hevc_slice_type)type;
    if (pps->output_flag && !bits_read(reader, 1)) /* pic_output_flag */
        return VD_ERR_DECODE;
    if (!hevc_head_is_idr(head->nal)) {
        if (read_set(reader, sets, head))
            return VD_ERR_DECODE;
        head->temporal_mvp = sets->sps->temporal_mvp && bits_read(reader, 1);
    }
    if (sets->sps->sao) {
        head->sao_luma = bits_read(reader, 1);
        head->sao_chroma = bits_read(reader, 1);
    }
    if (head->type != HEVC_SLICE_I && read_inter(reader, pps, head))
        return VD_ERR_DECODE;
    qp = pps->init_qp + read_se(reader, -89, 89); /* slice_qp_delta */
    if (qp < 6 * (8 - sets->sps->bit_depth_luma) || qp > 51)
        return VD_ERR_DECODE;
    head->qp = (int8_t)qp;
    if (pps->slice_chroma_offsets) {
        head->cb_qp_offset = read_se(reader, -12, 12);
        head->cr_qp_offset = read_se(reader, -12, 12);
    }
    read_filters(reader, pps, head);
    return 0;
}

static int read_points(struct bits_reader *reader, struct hevc_head *head)
{
    uint32_t count, bits;

    head->points = reader->position;
    count = bits_read_ue(reader);
    if (count > MAX_POINTS)
        return VD_ERR_DECODE;
    if (count) {
        bits = bits_read_ue(reader) + 1; /* offset_len_minus1 */
        if (bits > 32)
            return VD_ERR_DECODE;
        while (count-- > 0)
            bits_read(reader, bits);
    }
    head->points_end = reader->position;
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

int hevc_head_read(const uint8_t *nal, size_t size, const struct hevc_head_sets *sets,
                   struct hevc_head *ret_head)
{
    struct hevc_head head = {0};
    const struct hevc_pps *pps;
    struct bits_reader reader;
    uint32_t id;

    bits_read_init(&reader, nal, size, true);
    head.nal = (enum hevc_nal)bits_read(&reader, 7);
    bits_read(&reader, 9); /* nuh_layer_id, nuh_temporal_id_plus1 */
    head.first = bits_read(&reader, 1);
    if (head.nal >= HEVC_NAL_BLA_W_LP)
        head.no_output = bits_read(&reader, 1);
    id = bits_read_ue(&reader);
    if (reader.error || head.nal > HEVC_NAL_CRA || id >= HEVC_SETS_PPS ||
        !(sets->pps_known >> id & 1))
        return VD_ERR_DECODE;
    head.pps_id = (uint8_t)id;
    pps = &sets->pps[id];
    if (pps->sps_id != sets->sps->id)
        return VD_ERR_DECODE;
    if (!head.first) {
        head.dependent = pps->dependent_slices && bits_read(&reader, 1);
        head.address = bits_read(&reader, ceil_log2(hevc_sets_ctbs(sets->sps)));
    }
    if (!head.dependent && read_independent(&reader, sets, pps, &head))
        return VD_ERR_DECODE;
    if ((pps->tiles || pps->entropy_sync) && read_points(&reader, &head))
        return VD_ERR_DECODE;
    if (pps->header_extension) {
        for (uint32_t left = bits_read_ue(&reader) & 0x1ff; left > 0; left--)
            bits_read(&reader, 8);
    }
    /* byte_alignment(): what does not end like this was not read as it was meant. */
    if (!bits_read(&reader, 1) || bits_read(&reader, (8 - reader.position % 8) % 8) || reader.error)
        return VD_ERR_DECODE;
    head.data = escaped_offset(nal, size, reader.position / 8);
    *ret_head = head;
    return 0;
}

/* What the data is parsed and decoded with, beyond what a header can say. */
static bool same_tools(const struct hevc_pps *a, const struct hevc_pps *b)
{
    return !a->tiles && !b->tiles && !a->scaling_lists && !b->scaling_lists && !a->extension &&
           !b->extension && a->sign_hiding == b->sign_hiding &&
           a->constrained_intra == b->constrained_intra && a->transform_skip == b->transform_skip &&
           a->cu_qp_delta == b->cu_qp_delta &&
           (!a->cu_qp_delta || a->diff_cu_qp_delta_depth == b->diff_cu_qp_delta_depth) &&
           a->cb_qp_offset == b->cb_qp_offset && a->cr_qp_offset == b->cr_qp_offset &&
           a->transquant_bypass == b->transquant_bypass && a->entropy_sync == b->entropy_sync &&
           a->log2_merge_level == b->log2_merge_level;
}

static bool same_deblocking(const struct hevc_head *head, const struct hevc_pps *pps)
{
    return head->deblocking_disabled == pps->deblocking_disabled &&
           (head->deblocking_disabled || (head->beta_offset_div2 == pps->beta_offset_div2 &&
                                          head->tc_offset_div2 == pps->tc_offset_div2));
}

bool hevc_head_fits(const struct hevc_head *head, const struct hevc_pps *from,
                    const struct hevc_pps *to, bool slices)
{
    if (!same_tools(from, to) || (head->dependent && !to->dependent_slices))
        return false;
    if (head->dependent)
        return true;
    if ((head->cabac_init && !to->cabac_init) || (head->weights && !has_weights(head, to)) ||
        (!to->slice_chroma_offsets && (head->cb_qp_offset || head->cr_qp_offset)))
        return false;
    if (!same_deblocking(head, to) && !to->deblocking_override)
        return false;
    /* A flag that is not sent is that of the PPS. */
    return !slices || to->loop_filter_across || !head->loop_filter_across;
}

static void copy_bits(struct bits_writer *writer, struct bits_reader *reader, uint64_t start,
                      uint64_t end)
{
    while (reader->position < start && !reader->error)
        bits_read(reader,
                  start - reader->position < 32 ? (unsigned)(start - reader->position) : 32);
    while (reader->position < end && !reader->error) {
        unsigned n = end - reader->position < 32 ? (unsigned)(end - reader->position) : 32;

        bits_write(writer, n, bits_read(reader, n));
    }
}

static void write_set(const struct hevc_head *head, const struct hevc_sps *sps,
                      struct bits_writer *writer)
{
    const struct hevc_set *set = &head->set;
    int32_t last = 0;

    bits_write(writer, sps->log2_poc_lsb, head->poc_lsb);
    bits_write(writer, 1, 0); /* short_term_ref_pic_set_sps_flag */
    if (sps->rps_count > 0)
        bits_write(writer, 1, 0); /* inter_ref_pic_set_prediction_flag */
    bits_write_ue(writer, set->before);
    bits_write_ue(writer, 0); /* num_positive_pics */
    for (unsigned i = 0; i < set->before; i++) {
        bits_write_ue(writer, (uint32_t)(last - set->delta[i] - 1));
        bits_write(writer, 1, set->used[i]);
        last = set->delta[i];
    }
    if (sps->long_term) {
        if (sps->rps_lt_count > 0)
            bits_write_ue(writer, 0); /* num_long_term_sps */
        bits_write_ue(writer, 0);     /* num_long_term_pics */
    }
}

/* The default weights of table of its own: the app's PPS wants one, the encoder's has none. */
static void write_no_weights(const struct hevc_head *head, struct bits_writer *writer)
{
    bits_write_ue(writer, 0); /* luma_log2_weight_denom */
    bits_write_se(writer, 0); /* delta_chroma_log2_weight_denom */
    bits_write(writer, 2u * head->active[0], 0);
    bits_write(writer, 2u * head->active[1], 0);
}

static void write_inter(const struct hevc_head *head, const struct hevc_pps *pps,
                        struct bits_reader *source, struct bits_writer *writer)
{
    bool b = head->type == HEVC_SLICE_B;
    bool override = head->active[0] != pps->active[0] || (b && head->active[1] != pps->active[1]);

    bits_write(writer, 1, override);
    if (override) {
        bits_write_ue(writer, head->active[0] - 1u);
        if (b)
            bits_write_ue(writer, head->active[1] - 1u);
    }
    if (pps->lists_modification && hevc_head_used(&head->set) > 1)
        bits_write(writer, b ? 2 : 1, 0);
    if (b)
        bits_write(writer, 1, head->mvd_l1_zero);
    if (pps->cabac_init)
        bits_write(writer, 1, head->cabac_init);
    if (head->temporal_mvp) {
        if (b)
            bits_write(writer, 1, head->collocated_from_l0);
        if (head->active[!head->collocated_from_l0] > 1)
            bits_write_ue(writer, head->collocated);
    }
    if (has_weights(head, pps) && head->weights)
        copy_bits(writer, source, head->weights, head->weights_end);
    else if (has_weights(head, pps))
        write_no_weights(head, writer);
    bits_write_ue(writer, head->five_minus_merge);
}

static void write_filters(const struct hevc_head *head, const struct hevc_pps *pps,
                          struct bits_writer *writer)
{
    bool override = !same_deblocking(head, pps);

    if (pps->deblocking_override)
        bits_write(writer, 1, override);
    if (override) {
        bits_write(writer, 1, head->deblocking_disabled);
        if (!head->deblocking_disabled) {
            bits_write_se(writer, head->beta_offset_div2);
            bits_write_se(writer, head->tc_offset_div2);
        }
    }
    if (pps->loop_filter_across &&
        (head->sao_luma || head->sao_chroma || !head->deblocking_disabled))
        bits_write(writer, 1, head->loop_filter_across);
}

static void write_independent(const struct hevc_head *head, const struct hevc_sps *sps,
                              const struct hevc_pps *pps, struct bits_reader *source,
                              struct bits_writer *writer)
{
    bits_write(writer, pps->extra_header_bits, 0);
    bits_write_ue(writer, head->type);
    if (pps->output_flag)
        bits_write(writer, 1, 1); /* pic_output_flag */
    if (!hevc_head_is_idr(head->nal)) {
        write_set(head, sps, writer);
        if (sps->temporal_mvp)
            bits_write(writer, 1, head->temporal_mvp);
    }
    if (sps->sao) {
        bits_write(writer, 1, head->sao_luma);
        bits_write(writer, 1, head->sao_chroma);
    }
    if (head->type != HEVC_SLICE_I)
        write_inter(head, pps, source, writer);
    bits_write_se(writer, head->qp - pps->init_qp);
    if (pps->slice_chroma_offsets) {
        bits_write_se(writer, head->cb_qp_offset);
        bits_write_se(writer, head->cr_qp_offset);
    }
    write_filters(head, pps, writer);
}

int hevc_head_write(const struct hevc_head *head, const struct hevc_sps *sps,
                    const struct hevc_pps *pps, const uint8_t *source, struct bits_writer *writer)
{
    struct bits_reader reader;

    bits_read_init(&reader, source, head->data, true);
    bits_write(writer, 7, head->nal);
    bits_write(writer, 9, 1); /* nuh_layer_id, nuh_temporal_id_plus1 */
    bits_write(writer, 1, head->first);
    if (head->nal >= HEVC_NAL_BLA_W_LP)
        bits_write(writer, 1, head->no_output);
    bits_write_ue(writer, head->pps_id);
    if (!head->first) {
        if (pps->dependent_slices)
            bits_write(writer, 1, head->dependent);
        bits_write(writer, ceil_log2(hevc_sets_ctbs(sps)), head->address);
    }
    if (!head->dependent)
        write_independent(head, sps, pps, &reader, writer);
    if (pps->tiles || pps->entropy_sync)
        copy_bits(writer, &reader, head->points, head->points_end);
    if (pps->header_extension)
        bits_write_ue(writer, 0);
    bits_write_trailing(writer); /* byte_alignment() has the same bits */
    return reader.error || writer->error ? VD_ERR_DECODE : 0;
}
