/* SPDX-License-Identifier: MIT */
#include "av1_frame.h"

#include <string.h>
#include <viaduct/errors.h>

enum { KEY_FRAME, INTER_FRAME, INTRA_ONLY_FRAME, SWITCH_FRAME };

#define ALL_FRAMES       0xffu
#define PRIMARY_REF_NONE 7u

/* One header on its way. */
struct walk {
    struct av1_frame *frame;
    const struct av1_sequence *from, *to;
    struct bits_reader r;
    struct bits_writer *w;
    bool unsupported;

    uint32_t frame_type, refresh_frame_flags, primary_ref_frame;
    bool intra, show_frame, showable_frame, error_resilient_mode;
    bool allow_screen_content_tools, force_integer_mv, allow_intrabc, reference_select;
    bool disable_cdf_update, coded_lossless;
    uint8_t order_hint, ref_frame_idx[7];
    uint32_t base_q_idx;
    bool deltas; /* of a quantiser: no frame with one is lossless */
    struct av1_slot made;
};

static uint32_t copy(struct walk *k, unsigned bits)
{
    uint32_t value = bits_read(&k->r, bits);

    bits_write(k->w, bits, value);
    return value;
}

/* A flag that each of the two may have: where only the encoder has one, it has to be off. */
static bool copy_if(struct walk *k, bool from, bool to)
{
    bool value = from && bits_read(&k->r, 1);

    if (to)
        bits_write(k->w, 1, value);
    else
        k->unsupported = k->unsupported || value;
    return value;
}

/* get_relative_dist() (7.20) */
static int distance(const struct av1_sequence *s, uint32_t a, uint32_t b)
{
    uint32_t half = 1u << (s->order_hint_bits - 1), difference = a - b;

    return (int)(difference & (half - 1)) - (int)(difference & half);
}

static void put_hint(struct walk *k, uint32_t hint)
{
    if (k->to->order_hint_bits)
        bits_write(k->w, k->to->order_hint_bits,
                   hint << (k->to->order_hint_bits - k->from->order_hint_bits));
}

/* What the encoder is not asked for. */
static void refuse_if(struct walk *k, bool value)
{
    k->unsupported = k->unsupported || value;
}

/* frame_size() and render_size() of frames as large as the sequence says (5.9.5, 5.9.6, 5.9.8) */
static void copy_sizes(struct walk *k)
{
    refuse_if(k, copy_if(k, k->from->enable_superres, k->to->enable_superres));
    if (copy(k, 1)) {
        copy(k, 16);
        copy(k, 16);
    }
}

/* skip_mode_params() (5.9.22): whether there is a flag. Both sides' hints compare alike. */
static bool skip_mode_allowed(const struct walk *k)
{
    const struct av1_sequence *s = k->from;
    uint32_t forward = 0, backward = 0;
    bool has_forward = false, has_backward = false, has_second = false;

    if (k->intra || !k->reference_select || !s->enable_order_hint)
        return false;
    for (int i = 0; i < 7; i++) {
        uint32_t hint = k->frame->slots[k->ref_frame_idx[i]].order_hint;
        int to_now = distance(s, hint, k->order_hint);

        if (to_now < 0 && (!has_forward || distance(s, hint, forward) > 0)) {
            has_forward = true;
            forward = hint;
        } else if (to_now > 0 && (!has_backward || distance(s, hint, backward) < 0)) {
            has_backward = true;
            backward = hint;
        }
    }
    for (int i = 0; i < 7 && has_forward && !has_backward; i++) {
        uint32_t hint = k->frame->slots[k->ref_frame_idx[i]].order_hint;

        has_second = has_second || distance(s, hint, forward) < 0;
    }
    return has_forward && (has_backward || has_second);
}

static unsigned tile_log2(unsigned size, unsigned target)
{
    unsigned k = 0;

    while (size << k < target)
        k++;
    return k;
}

static unsigned copy_increments(struct walk *k, unsigned least, unsigned most)
{
    while (least < most && copy(k, 1))
        least++;
    return least;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* tile_info() (5.9.15) */
static void copy_tiles(struct walk *k)
{
    const struct av1_sequence *s = k->from;
    unsigned shift = s->use_128x128_superblock ? 7 : 6, size = 1u << shift;
    unsigned cols = (s->max_frame_width + size - 1) >> shift;
    unsigned rows = (s->max_frame_height + size - 1) >> shift;
    unsigned min_cols = tile_log2(4096u >> shift, cols);
    unsigned min_tiles = tile_log2((4096u * 2304u) >> (2 * shift), rows * cols);
    unsigned cols_log2, rows_log2;

    min_tiles = min_tiles > min_cols ? min_tiles : min_cols;
    refuse_if(k, !copy(k, 1)); /* uniform_tile_spacing_flag */
    cols_log2 = copy_increments(k, min_cols, tile_log2(1, smaller(cols, 64)));
    rows_log2 = copy_increments(k, min_tiles > cols_log2 ? min_tiles - cols_log2 : 0,
                                tile_log2(1, smaller(rows, 64)));
    if (cols_log2 || rows_log2) {
        copy(k, cols_log2 + rows_log2); /* context_update_tile_id */
        copy(k, 2);
    }
}

/* read_delta_q() (5.9.13) */
static void copy_delta_q(struct walk *k)
{
    if (copy(k, 1) && copy(k, 7))
        k->deltas = true;
}

/* quantization_params() (5.9.12) */
static void copy_quantization(struct walk *k)
{
    k->base_q_idx = copy(k, 8);
    copy_delta_q(k);
    if (!k->from->mono_chrome) {
        bool two = copy_if(k, k->from->separate_uv_delta_q, k->to->separate_uv_delta_q);

        for (int i = 0; i < (two ? 4 : 2); i++)
            copy_delta_q(k);
    }
    if (copy(k, 1)) { /* using_qmatrix */
        uint32_t qm_u;

        copy(k, 4);
        qm_u = copy(k, 4);
        if (k->from->separate_uv_delta_q && k->to->separate_uv_delta_q)
            copy(k, 4);
        else if (k->to->separate_uv_delta_q)
            bits_write(k->w, 4, qm_u);
        else if (k->from->separate_uv_delta_q)
            refuse_if(k, bits_read(&k->r, 4) != qm_u);
    }
}

/* segmentation_params() (5.9.14) */
static void copy_segmentation(struct walk *k)
{
    static const uint8_t bits[8] = {8, 6, 6, 6, 6, 3, 0, 0};
    bool data = true;

    if (!copy(k, 1))
        return;
    if (k->primary_ref_frame != PRIMARY_REF_NONE) {
        if (copy(k, 1)) /* segmentation_update_map */
            copy(k, 1);
        data = copy(k, 1);
    }
    if (!data) {
        memcpy(k->made.alt_q, k->frame->slots[k->ref_frame_idx[k->primary_ref_frame]].alt_q,
               sizeof(k->made.alt_q));
        return;
    }
    for (int i = 0; i < 8; i++) {
        for (int j = 0; j < 8; j++) {
            uint32_t value = 0;
            bool enabled = copy(k, 1);

            if (enabled && bits[j])
                value = copy(k, bits[j] + (j < 5)); /* su() of the first five */
            if (j)
                continue;
            k->made.alt_q[i].enabled = enabled;
            k->made.alt_q[i].value = (int16_t)(value & 0x100 ? (int)value - 0x200 : (int)value);
        }
    }
}

/* CodedLossless (5.9.2) */
static bool is_lossless(const struct walk *k)
{
    for (int i = 0; i < 8; i++) {
        int q = (int)k->base_q_idx;

        if (k->made.alt_q[i].enabled)
            q += k->made.alt_q[i].value;
        if (q > 0)
            return false;
    }
    return !k->deltas;
}

/* delta_q_params(), delta_lf_params() (5.9.17, 5.9.18) */
static void copy_deltas(struct walk *k)
{
    if (!k->base_q_idx || !copy(k, 1))
        return;
    copy(k, 2);
    if (!k->allow_intrabc && copy(k, 1))
        copy(k, 3);
}

/* loop_filter_params() (5.9.11) */
static void copy_loop_filter(struct walk *k)
{
    uint32_t levels;

    if (k->coded_lossless || k->allow_intrabc)
        return;
    levels = copy(k, 6);
    levels |= copy(k, 6);
    if (!k->from->mono_chrome && levels)
        copy(k, 12);
    copy(k, 3);
    if (!copy(k, 1) || !copy(k, 1)) /* loop_filter_delta_enabled, loop_filter_delta_update */
        return;
    for (int i = 0; i < 8 + 2; i++) {
        if (copy(k, 1))
            copy(k, 7);
    }
}

/* cdef_params() (5.9.19): without it the filter has no strength. */
static void copy_cdef(struct walk *k)
{
    unsigned strength = k->from->mono_chrome ? 6 : 12;
    uint32_t bits;

    if (k->coded_lossless || k->allow_intrabc)
        return;
    if (!k->from->enable_cdef) {
        if (k->to->enable_cdef)
            bits_write(k->w, 4 + strength, 0);
        return;
    }
    /* That its headers say what the app's cannot was refused before. */
    copy(k, 2);
    bits = copy(k, 2);
    for (unsigned i = 0; i < 1u << bits; i++)
        copy(k, strength);
}

/* lr_params() (5.9.20) */
static void copy_restoration(struct walk *k)
{
    bool uses = false, uses_chroma = false;
    int planes = k->from->mono_chrome ? 1 : 3;

    /* AllLossless: there is no scaling. */
    if (k->coded_lossless || k->allow_intrabc)
        return;
    if (!k->from->enable_restoration) {
        for (int i = 0; i < planes && k->to->enable_restoration; i++)
            bits_write(k->w, 2, 0);
        return;
    }
    for (int i = 0; i < planes; i++) {
        if (copy(k, 2)) {
            uses = true;
            uses_chroma = uses_chroma || i;
        }
    }
    if (!uses)
        return;
    if (copy(k, 1) && !k->from->use_128x128_superblock)
        copy(k, 1);
    if (k->from->subsampling_x && k->from->subsampling_y && uses_chroma)
        copy(k, 1);
}

static void copy_references(struct walk *k)
{
    if (k->from->enable_order_hint)
        refuse_if(k, copy(k, 1)); /* frame_refs_short_signaling */
    for (int i = 0; i < 7; i++) {
        k->ref_frame_idx[i] = (uint8_t)copy(k, 3);
        refuse_if(k, !k->frame->slots[k->ref_frame_idx[i]].valid);
    }
    copy_sizes(k);
    if (!k->force_integer_mv)
        copy(k, 1);  /* allow_high_precision_mv */
    if (!copy(k, 1)) /* is_filter_switchable */
        copy(k, 2);
    copy(k, 1); /* is_motion_mode_switchable */
    if (!k->error_resilient_mode)
        copy_if(k, k->from->enable_ref_frame_mvs, k->to->enable_ref_frame_mvs);
}

/* The first part of uncompressed_header(), up to the frame's references. */
static void copy_start(struct walk *k)
{
    const struct av1_sequence *from = k->from, *to = k->to;

    refuse_if(k, copy(k, 1)); /* show_existing_frame */
    k->frame_type = copy(k, 2);
    k->intra = k->frame_type == KEY_FRAME || k->frame_type == INTRA_ONLY_FRAME;
    refuse_if(k, k->frame_type == SWITCH_FRAME);
    k->show_frame = copy(k, 1);
    k->showable_frame = k->show_frame ? k->frame_type != KEY_FRAME : copy(k, 1);
    k->error_resilient_mode = (k->frame_type == KEY_FRAME && k->show_frame) || copy(k, 1);
    k->disable_cdf_update = copy(k, 1);
    k->allow_screen_content_tools = from->seq_force_screen_content_tools == 2
                                        ? bits_read(&k->r, 1)
                                        : from->seq_force_screen_content_tools;
    if (to->seq_force_screen_content_tools == 2)
        bits_write(k->w, 1, k->allow_screen_content_tools);
    else
        refuse_if(k, k->allow_screen_content_tools != to->seq_force_screen_content_tools);
    if (k->allow_screen_content_tools) {
        k->force_integer_mv =
            from->seq_force_integer_mv == 2 ? bits_read(&k->r, 1) : from->seq_force_integer_mv;
        if (to->seq_force_integer_mv == 2)
            bits_write(k->w, 1, k->force_integer_mv);
        else
            refuse_if(k, k->force_integer_mv != to->seq_force_integer_mv);
    }
    refuse_if(k, copy(k, 1)); /* frame_size_override_flag */
    k->order_hint = (uint8_t)bits_read(&k->r, from->order_hint_bits);
    put_hint(k, k->order_hint);
    k->primary_ref_frame = k->intra || k->error_resilient_mode ? PRIMARY_REF_NONE : copy(k, 3);
    k->refresh_frame_flags = k->frame_type == KEY_FRAME && k->show_frame ? ALL_FRAMES : copy(k, 8);
    if ((!k->intra || k->refresh_frame_flags != ALL_FRAMES) && k->error_resilient_mode &&
        from->enable_order_hint) {
        for (int i = 0; i < 8; i++)
            put_hint(k, bits_read(&k->r, from->order_hint_bits));
    }
}

/* The rest. */
static void copy_end(struct walk *k)
{
    const struct av1_sequence *from = k->from, *to = k->to;

    if (!k->disable_cdf_update)
        copy(k, 1); /* disable_frame_end_update_cdf */
    copy_tiles(k);
    copy_quantization(k);
    copy_segmentation(k);
    copy_deltas(k);
    k->coded_lossless = is_lossless(k);
    copy_loop_filter(k);
    copy_cdef(k);
    copy_restoration(k);
    if (!k->coded_lossless)
        copy(k, 1); /* tx_mode_select */
    k->reference_select = !k->intra && copy(k, 1);
    if (skip_mode_allowed(k))
        copy(k, 1); /* skip_mode_present */
    if (!k->intra && !k->error_resilient_mode)
        copy_if(k, from->enable_warped_motion, to->enable_warped_motion);
    copy(k, 1); /* reduced_tx_set */
    /* global_motion_params() (5.9.24): none */
    for (int i = 0; i < 7 && !k->intra; i++)
        refuse_if(k, copy(k, 1));
    /* film_grain_params() (5.9.30): none */
    if (k->show_frame || k->showable_frame)
        refuse_if(k, copy_if(k, from->film_grain_params_present, to->film_grain_params_present));
}

bool av1_frame_agree(const struct av1_sequence *from, const struct av1_sequence *to,
                     const char **ret_why)
{
#define SAME(field)                      \
    {                                    \
#field, from->field == to->field \
    }
#define OFF(field)                         \
    {                                      \
#field, !to->field && !from->field \
    }
    const struct {
        const char *name;
        bool good;
    } rows[] = {
        SAME(seq_profile),
        OFF(reduced_still_picture_header),
        OFF(decoder_model_info_present_flag),
        OFF(frame_id_numbers_present_flag),
        SAME(max_frame_width),
        SAME(max_frame_height),
        SAME(use_128x128_superblock),
        SAME(enable_filter_intra),
        SAME(enable_intra_edge_filter),
        SAME(enable_interintra_compound),
        SAME(enable_masked_compound),
        SAME(enable_dual_filter),
        SAME(enable_order_hint),
        SAME(enable_jnt_comp),
        SAME(bit_depth),
        SAME(mono_chrome),
        SAME(subsampling_x),
        SAME(subsampling_y),
        {"order_hint_bits", to->order_hint_bits >= from->order_hint_bits},
        {"enable_cdef", to->enable_cdef || !from->enable_cdef},
        {"enable_restoration", to->enable_restoration || !from->enable_restoration},
        /* Distances are clipped, and shifted hints clip earlier. */
        {"enable_ref_frame_mvs",
         !from->enable_ref_frame_mvs || from->order_hint_bits == to->order_hint_bits},
        {"enable_jnt_comp", !from->enable_jnt_comp || from->order_hint_bits == to->order_hint_bits},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!rows[i].good) {
            *ret_why = rows[i].name;
            return false;
        }
    }
    return true;
}

int av1_frame_rewrite(struct av1_frame *frame, const uint8_t *payload, size_t size,
                      struct bits_writer *writer, uint64_t *ret_bits)
{
    struct walk k = {.frame = frame, .from = frame->from, .to = frame->to, .w = writer};

    bits_read_init(&k.r, payload, size, false);
    copy_start(&k);
    if (k.intra) {
        copy_sizes(&k);
        k.allow_intrabc = k.allow_screen_content_tools && copy(&k, 1);
    } else if (!k.unsupported) {
        copy_references(&k);
    }
    if (!k.unsupported)
        copy_end(&k);
    if (k.unsupported)
        return VD_ERR_UNSUPPORTED;
    if (k.r.error || writer->error)
        return VD_ERR_PARAMETER;
    k.made.valid = true;
    k.made.order_hint = k.order_hint;
    for (int i = 0; i < 8; i++) {
        if (k.refresh_frame_flags >> i & 1)
            frame->slots[i] = k.made;
    }
    *ret_bits = k.r.position;
    return 0;
}
