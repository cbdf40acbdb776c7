/* SPDX-License-Identifier: MIT */
#include "av1_sequence.h"

#include <string.h>
#include <viaduct/errors.h>

int av1_obu_read(const uint8_t *data, size_t size, struct av1_obu *ret_obu)
{
    struct av1_obu obu = {.start = data};
    size_t at = 1;

    if (!size || data[0] & 0x80)
        return VD_ERR_PARAMETER;
    obu.type = data[0] >> 3 & 15;
    at += data[0] >> 2 & 1;
    if (at > size)
        return VD_ERR_PARAMETER;
    obu.payload_size = size - at;
    if (data[0] & 2) {
        uint64_t value = 0;
        unsigned i = 0;

        /* leb128() (4.10.5) */
        for (;; i++) {
            if (i == 8 || at == size)
                return VD_ERR_PARAMETER;
            value |= (uint64_t)(data[at] & 0x7f) << (7 * i);
            if (!(data[at++] & 0x80))
                break;
        }
        if (value > size - at)
            return VD_ERR_PARAMETER;
        obu.payload_size = (size_t)value;
    }
    obu.payload = data + at;
    obu.size = at + obu.payload_size;
    *ret_obu = obu;
    return 0;
}

size_t av1_obu_header(uint32_t type, size_t payload_size, uint8_t *ret_bytes)
{
    size_t at = 0;

    ret_bytes[at++] = (uint8_t)(type << 3 | 2);
    do {
        ret_bytes[at++] = (uint8_t)((payload_size & 0x7f) | (payload_size > 0x7f ? 0x80 : 0));
        payload_size >>= 7;
    } while (payload_size && at < AV1_OBU_HEADER);
    return at;
}

/* uvlc() (4.10.3) */
static void skip_uvlc(struct bits_reader *r)
{
    unsigned zeros = 0;

    while (zeros < 32 && !r->error && !bits_read(r, 1))
        zeros++;
    if (zeros < 32)
        bits_read(r, zeros);
}

/* timing_info(), decoder_model_info() (5.5.3, 5.5.4): returns buffer_delay_length, 0: none */
static unsigned read_timing(struct bits_reader *r, struct av1_sequence *s)
{
    unsigned length;

    bits_read(r, 32);
    bits_read(r, 32);
    if (bits_read(r, 1)) /* equal_picture_interval */
        skip_uvlc(r);
    s->decoder_model_info_present_flag = bits_read(r, 1);
    if (!s->decoder_model_info_present_flag)
        return 0;
    length = bits_read(r, 5) + 1;
    bits_read(r, 32);
    bits_read(r, 10);
    return length;
}

static void read_operating_points(struct bits_reader *r, struct av1_sequence *s)
{
    unsigned delay_length = 0, count;
    bool delays;

    if (bits_read(r, 1)) /* timing_info_present_flag */
        delay_length = read_timing(r, s);
    delays = bits_read(r, 1);
    count = bits_read(r, 5) + 1;
    for (unsigned i = 0; i < count && !r->error; i++) {
        bits_read(r, 12);
        if (bits_read(r, 5) > 7) /* seq_level_idx */
            bits_read(r, 1);
        if (delay_length && bits_read(r, 1)) {
            bits_read(r, delay_length);
            bits_read(r, delay_length);
            bits_read(r, 1);
        }
        if (delays && bits_read(r, 1))
            bits_read(r, 4);
    }
}

static void read_tools(struct bits_reader *r, struct av1_sequence *s)
{
    s->enable_interintra_compound = bits_read(r, 1);
    s->enable_masked_compound = bits_read(r, 1);
    s->enable_warped_motion = bits_read(r, 1);
    s->enable_dual_filter = bits_read(r, 1);
    s->enable_order_hint = bits_read(r, 1);
    if (s->enable_order_hint) {
        s->enable_jnt_comp = bits_read(r, 1);
        s->enable_ref_frame_mvs = bits_read(r, 1);
    }
    s->seq_force_screen_content_tools = bits_read(r, 1) ? 2 : (uint8_t)bits_read(r, 1);
    s->seq_force_integer_mv = 2;
    if (s->seq_force_screen_content_tools)
        s->seq_force_integer_mv = bits_read(r, 1) ? 2 : (uint8_t)bits_read(r, 1);
    if (s->enable_order_hint)
        s->order_hint_bits = (uint8_t)(bits_read(r, 3) + 1);
}

/* color_config() (5.5.2) */
static void read_color(struct bits_reader *r, struct av1_sequence *s)
{
    uint32_t primaries = 2, transfer = 2, matrix = 2;

    s->bit_depth = bits_read(r, 1) ? 10 : 8;
    if (s->seq_profile == 2 && s->bit_depth == 10 && bits_read(r, 1))
        s->bit_depth = 12;
    s->mono_chrome = s->seq_profile != 1 && bits_read(r, 1);
    if (bits_read(r, 1)) { /* color_description_present_flag */
        primaries = bits_read(r, 8);
        transfer = bits_read(r, 8);
        matrix = bits_read(r, 8);
    }
    s->subsampling_x = s->subsampling_y = true;
    if (s->mono_chrome) {
        bits_read(r, 1);
        return;
    }
    if (primaries == 1 && transfer == 13 && matrix == 0) { /* sRGB */
        s->subsampling_x = s->subsampling_y = false;
    } else {
        bits_read(r, 1);
        if (s->seq_profile == 1) {
            s->subsampling_x = s->subsampling_y = false;
        } else if (s->seq_profile == 2) {
            s->subsampling_x = s->bit_depth < 12 || bits_read(r, 1);
            s->subsampling_y = s->bit_depth == 12 && s->subsampling_x && bits_read(r, 1);
        }
        if (s->subsampling_x && s->subsampling_y)
            bits_read(r, 2);
    }
    s->separate_uv_delta_q = bits_read(r, 1);
}

int av1_sequence_read(const uint8_t *payload, size_t size, struct av1_sequence *ret_sequence)
{
    struct av1_sequence s = {0};
    struct bits_reader r;

    bits_read_init(&r, payload, size, false);
    s.seq_profile = (uint8_t)bits_read(&r, 3);
    s.still_picture = bits_read(&r, 1);
    s.reduced_still_picture_header = bits_read(&r, 1);
    if (s.reduced_still_picture_header)
        bits_read(&r, 5);
    else
        read_operating_points(&r, &s);
    s.frame_width_bits = (uint8_t)(bits_read(&r, 4) + 1);
    s.frame_height_bits = (uint8_t)(bits_read(&r, 4) + 1);
    s.max_frame_width = bits_read(&r, s.frame_width_bits) + 1;
    s.max_frame_height = bits_read(&r, s.frame_height_bits) + 1;
    s.frame_id_numbers_present_flag = !s.reduced_still_picture_header && bits_read(&r, 1);
    if (s.frame_id_numbers_present_flag)
        bits_read(&r, 7);
    s.use_128x128_superblock = bits_read(&r, 1);
    s.enable_filter_intra = bits_read(&r, 1);
    s.enable_intra_edge_filter = bits_read(&r, 1);
    s.seq_force_screen_content_tools = s.seq_force_integer_mv = 2;
    if (!s.reduced_still_picture_header)
        read_tools(&r, &s);
    s.enable_superres = bits_read(&r, 1);
    s.enable_cdef = bits_read(&r, 1);
    s.enable_restoration = bits_read(&r, 1);
    read_color(&r, &s);
    s.film_grain_params_present = bits_read(&r, 1);
    if (r.error || s.seq_profile > 2)
        return VD_ERR_PARAMETER;
    *ret_sequence = s;
    return 0;
}
