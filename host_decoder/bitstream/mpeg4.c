/* SPDX-License-Identifier: MIT */
#include "bitstream.h"

#include <string.h>

#include <va/va.h>

#include <viaduct/errors.h>

#include "bits.h"

/*
 * MPEG-4 part 2 (ISO/IEC 14496-2): VA passes the macroblocks of a VOP from the first one on, which
 * may start inside a byte. The headers of the sequence (sent when their bytes change) and of the
 * VOP are written anew so that they end at the bit where the macroblocks start.
 *
 * Markers of video packets lie on byte boundaries. If the written header ends at another bit of
 * its byte than the app's did, only the macroblocks up to the first marker are shifted.
 *
 * VA has no times, but the distances that direct prediction needs: TRD from one reference VOP to
 * the next, TRB from the earlier one to a B-VOP between them. A clock of our own reproduces them.
 */

#define SIZE_MAX_PIXELS 8191 /* 13 bits, 6.2.3 */
#define GAP             16   /* holds a video packet header */
#define SEQUENCE_ROOM   256
#define HEADER_ROOM     4096 /* all headers of a VOP */
/* modulo_time_base has a bit for each second that goes by. */
#define SECONDS_MAX 4096
/* A distance that many others divide, where the app tells none. */
#define DISTANCE_UNKNOWN 5040

enum {
    CODE_OBJECT = 0x00,
    CODE_LAYER = 0x20,
    CODE_SEQUENCE = 0xb0,
    CODE_VISUAL_OBJECT = 0xb5,
    CODE_VOP = 0xb6,
};

enum { TYPE_I, TYPE_P, TYPE_B, TYPE_S };
enum { SPRITE_NONE, SPRITE_STATIC, SPRITE_GMC };

/* The decoder's clock, in ticks of vop_time_increment_resolution a second. */
struct clock {
    uint64_t last;                /* time of the latest reference VOP */
    uint64_t second, last_second; /* time bases for the next reference VOP, and for B-VOPs */
    uint16_t distance;            /* from the reference VOP before to the latest one */
    uint16_t usual;               /* what the app last said of such a distance */
    bool started;
};

struct state {
    uint8_t sequence[SEQUENCE_ROOM]; /* as last sent */
    size_t sequence_size;
    VAIQMatrixBufferMPEG4 matrix; /* the last one: it holds until another one comes */
    struct clock clock;
};

static unsigned bit_count(uint32_t value)
{
    unsigned n = 0;

    while (value >> n)
        n++;
    return n;
}

static void write_code(struct bits_writer *w, uint32_t code)
{
    bits_write(w, 32, 0x100 | code);
}

/* next_start_code() and stuffing: a zero, then ones up to the byte boundary. */
static void write_stuffing(struct bits_writer *w)
{
    bits_write(w, 1, 0);
    bits_write(w, (8 - w->count) & 7, 0xff);
}

/* A zero ends a matrix: the value before it is repeated (6.3.3). */
static void write_matrix(struct bits_writer *w, int32_t load, const uint8_t *value)
{
    bits_write(w, 1, load != 0);
    for (unsigned i = 0; load && i < 64; i++) {
        bits_write(w, 8, value[i]);
        if (value[i] == 0)
            break;
    }
}

static unsigned quant_precision(const VAPictureParameterBufferMPEG4 *param)
{
    return param->quant_precision ? param->quant_precision : 5;
}

/* What VA does not have are values that forbid a decoder nothing: Advanced Simple, version 2. */
static int write_sequence(const struct state *state, const VAPictureParameterBufferMPEG4 *param,
                          uint8_t *data, size_t *ret_size)
{
    struct bits_writer w;

    bits_write_init(&w, data, SEQUENCE_ROOM);
    write_code(&w, CODE_SEQUENCE);
    bits_write(&w, 8, 0xf5); /* profile_and_level_indication: Advanced Simple at level 5 */
    write_code(&w, CODE_VISUAL_OBJECT);
    bits_write(&w, 1, 0); /* is_visual_object_identifier */
    bits_write(&w, 4, 1); /* visual_object_type: video */
    bits_write(&w, 1, 0); /* video_signal_type */
    write_stuffing(&w);
    write_code(&w, CODE_OBJECT);
    write_code(&w, CODE_LAYER);
    bits_write(&w, 1, 0);  /* random_accessible_vol */
    bits_write(&w, 8, 17); /* video_object_type_indication: Advanced Simple */
    bits_write(&w, 1, 1);  /* is_object_layer_identifier */
    bits_write(&w, 4, 2);  /* video_object_layer_verid */
    bits_write(&w, 3, 1);  /* video_object_layer_priority */
    bits_write(&w, 4, 1);  /* aspect_ratio_info: square samples */
    bits_write(&w, 1, 1);  /* vol_control_parameters */
    bits_write(&w, 2, 1);  /* chroma_format: 4:2:0 */
    bits_write(&w, 1, 0);  /* low_delay */
    bits_write(&w, 1, 0);  /* vbv_parameters */
    bits_write(&w, 2, 0);  /* video_object_layer_shape: rectangular */
    bits_write(&w, 1, 1);
    bits_write(&w, 16, param->vop_time_increment_resolution);
    bits_write(&w, 1, 1);
    bits_write(&w, 1, 0); /* fixed_vop_rate */
    bits_write(&w, 1, 1);
    bits_write(&w, 13, param->vop_width);
    bits_write(&w, 1, 1);
    bits_write(&w, 13, param->vop_height);
    bits_write(&w, 1, 1);
    bits_write(&w, 1, param->vol_fields.bits.interlaced);
    bits_write(&w, 1, param->vol_fields.bits.obmc_disable);
    bits_write(&w, 2, param->vol_fields.bits.sprite_enable);
    if (param->vol_fields.bits.sprite_enable == SPRITE_GMC) {
        bits_write(&w, 6, param->no_of_sprite_warping_points);
        bits_write(&w, 2, param->vol_fields.bits.sprite_warping_accuracy);
        bits_write(&w, 1, 0); /* sprite_brightness_change */
    }
    bits_write(&w, 1, quant_precision(param) != 5); /* not_8_bit */
    if (quant_precision(param) != 5) {
        bits_write(&w, 4, quant_precision(param));
        bits_write(&w, 4, 8); /* bits_per_pixel */
    }
    bits_write(&w, 1, param->vol_fields.bits.quant_type);
    if (param->vol_fields.bits.quant_type) {
        write_matrix(&w, state->matrix.load_intra_quant_mat, state->matrix.intra_quant_mat);
        write_matrix(&w, state->matrix.load_non_intra_quant_mat, state->matrix.non_intra_quant_mat);
    }
    bits_write(&w, 1, param->vol_fields.bits.quarter_sample);
    bits_write(&w, 1, 1); /* complexity_estimation_disable */
    bits_write(&w, 1, param->vol_fields.bits.resync_marker_disable);
    bits_write(&w, 1, param->vol_fields.bits.data_partitioned);
    if (param->vol_fields.bits.data_partitioned)
        bits_write(&w, 1, param->vol_fields.bits.reversible_vlc);
    bits_write(&w, 1, 0); /* newpred_enable */
    bits_write(&w, 1, 0); /* reduced_resolution_vop_enable */
    bits_write(&w, 1, 0); /* scalability */
    write_stuffing(&w);
    *ret_size = w.used;
    return w.error ? VD_ERR_INTERNAL : 0;
}

/* A time for a reference VOP that is TRD after the last one. */
static void time_reference(struct clock *clock, const VAPictureParameterBufferMPEG4 *param,
                           uint32_t *ret_seconds, uint32_t *ret_increment)
{
    uint32_t resolution = param->vop_time_increment_resolution;
    uint64_t distance = (uint16_t)param->TRD, seconds, time;

    /* GStreamer tells none for I-VOPs. */
    if (distance == 0 && clock->started)
        distance = clock->usual ? clock->usual : DISTANCE_UNKNOWN;
    else
        clock->usual = (uint16_t)distance;
    clock->started = true;
    if (distance / resolution >= SECONDS_MAX)
        distance %= resolution * SECONDS_MAX;
    time = clock->last + distance;
    /* The resolution may have changed: time bases do not run backwards. */
    seconds = time / resolution > clock->second ? time / resolution - clock->second : 0;
    if (seconds > SECONDS_MAX)
        seconds = SECONDS_MAX;
    clock->last_second = clock->second;
    clock->second += seconds;
    *ret_seconds = (uint32_t)seconds;
    *ret_increment = (uint32_t)(time % resolution);
    time = clock->second * resolution + *ret_increment;
    clock->distance = (uint16_t)(time - clock->last);
    clock->last = time;
}

/* A time for a B-VOP: TRB after the first reference, or as far in proportion. */
static int time_between(const struct clock *clock, const VAPictureParameterBufferMPEG4 *param,
                        uint32_t *ret_seconds, uint32_t *ret_increment)
{
    uint32_t resolution = param->vop_time_increment_resolution;
    uint32_t trb = (uint16_t)param->TRB, trd = (uint16_t)param->TRD;
    uint64_t time, second;

    if (clock->distance < 2 || clock->last < clock->distance)
        return VD_ERR_PARAMETER;
    if (trd != 0 && trd != clock->distance)
        trb = (uint32_t)(((uint64_t)trb * clock->distance + trd / 2) / trd);
    if (trb == 0)
        trb = 1;
    if (trb >= clock->distance)
        trb = clock->distance - 1u;
    time = clock->last - clock->distance + trb;
    second = time / resolution;
    if (second < clock->last_second || second - clock->last_second > SECONDS_MAX)
        return VD_ERR_PARAMETER;
    *ret_seconds = (uint32_t)(second - clock->last_second);
    *ret_increment = (uint32_t)(time % resolution);
    return 0;
}

/* One component of a warping vector: dmv_length (table B-33) and dmv_code. */
static void write_warping(struct bits_writer *w, int value)
{
    unsigned length = bit_count((uint32_t)(value < 0 ? -value : value));

    if (length > 14) {
        w->error = true;
        return;
    }
    if (length == 0)
        bits_write(w, 2, 0);
    else if (length <= 5)
        bits_write(w, 3, length + 1);
    else
        bits_write(w, length - 2, UINT32_MAX << 1); /* ones, then a zero */
    bits_write(w, length, (uint32_t)(value < 0 ? value + (1 << length) - 1 : value));
    bits_write(w, 1, 1);
}

static bool has_warping(const VAPictureParameterBufferMPEG4 *param)
{
    return param->vop_fields.bits.vop_coding_type == TYPE_S &&
           param->vol_fields.bits.sprite_enable == SPRITE_GMC;
}

static int write_vop(struct clock *clock, const VAPictureParameterBufferMPEG4 *param,
                     uint32_t quant, struct bits_writer *w)
{
    uint32_t type = param->vop_fields.bits.vop_coding_type, seconds, increment;
    int err = 0;

    if (type == TYPE_B)
        err = time_between(clock, param, &seconds, &increment);
    else
        time_reference(clock, param, &seconds, &increment);
    if (err)
        return err;
    write_code(w, CODE_VOP);
    bits_write(w, 2, type);
    for (uint32_t i = 0; i < seconds; i++)
        bits_write(w, 1, 1);
    bits_write(w, 1, 0); /* modulo_time_base ends */
    bits_write(w, 1, 1);
    bits_write(w,
               param->vop_time_increment_resolution > 1
                   ? bit_count(param->vop_time_increment_resolution - 1u)
                   : 1,
               increment);
    bits_write(w, 1, 1);
    bits_write(w, 1, 1); /* vop_coded */
    if (type == TYPE_P || has_warping(param))
        bits_write(w, 1, param->vop_fields.bits.vop_rounding_type);
    bits_write(w, 3, param->vop_fields.bits.intra_dc_vlc_thr);
    if (param->vol_fields.bits.interlaced) {
        bits_write(w, 1, param->vop_fields.bits.top_field_first);
        bits_write(w, 1, param->vop_fields.bits.alternate_vertical_scan_flag);
    }
    for (unsigned i = 0; has_warping(param) && i < param->no_of_sprite_warping_points; i++) {
        write_warping(w, param->sprite_trajectory_du[i]);
        write_warping(w, param->sprite_trajectory_dv[i]);
    }
    bits_write(w, quant_precision(param), quant);
    if (type != TYPE_I)
        bits_write(w, 3, param->vop_fcode_forward);
    if (type == TYPE_B)
        bits_write(w, 3, param->vop_fcode_backward);
    return w->error ? VD_ERR_PARAMETER : 0;
}

/* Zeros that a resync marker starts with (6.3.5.2), 16 to 22. */
static unsigned marker_zeros(const VAPictureParameterBufferMPEG4 *param)
{
    unsigned code = param->vop_fcode_forward;

    if (param->vop_fields.bits.vop_coding_type == TYPE_I)
        return 16;
    if (param->vop_fields.bits.vop_coding_type == TYPE_B) {
        if (param->vop_fcode_backward > code)
            code = param->vop_fcode_backward;
        if (code < 2)
            code = 2;
    }
    return 15 + code;
}

static uint32_t macroblocks(const VAPictureParameterBufferMPEG4 *param)
{
    return (param->vop_width + 15u) / 16 * ((param->vop_height + 15u) / 16);
}

/* Bytes up to the first resync marker or start code. */
static size_t packet_size(const uint8_t *data, size_t size, unsigned zeros)
{
    for (size_t i = 1; i + 2 < size; i++) {
        if (data[i] == 0 && data[i + 1] == 0 &&
            (data[i + 2] == 1 || bit_count(data[i + 2]) + zeros == 24))
            return i;
    }
    return size;
}

/* Bits of the packet without its stuffing; not less than `skip`. */
static size_t payload_bits(const uint8_t *data, size_t size, unsigned skip)
{
    size_t bits;
    unsigned ones = 0;

    while (size > 1 && data[size - 1] == 0)
        size--;
    bits = size * 8;
    while (ones < 8 && data[size - 1] >> ones & 1)
        ones++;
    if (ones < 8)
        bits -= ones + 1;
    return bits > skip ? bits : skip;
}

/*
 * Appends `size` bytes but for the first `skip` bits (less than `size` * 8). The writer's end may
 * overlap them: it is not behind the first bit that is appended.
 */
static void append(struct bits_writer *w, const uint8_t *data, size_t size, size_t skip,
                   unsigned zeros)
{
    size_t packet, bits, i = 0;
    unsigned first;

    data += skip / 8;
    size -= skip / 8;
    skip %= 8;
    if (w->count == skip) {
        first = ((unsigned)w->cache << (8 - skip) | (data[0] & 0xffu >> skip)) & 0xff;
        if (w->data + w->used != data)
            memmove(w->data + w->used, data, size);
        w->data[w->used] = (uint8_t)first;
        w->used += size;
        w->cache = w->count = 0;
        return;
    }
    packet = packet_size(data, size, zeros);
    bits = payload_bits(data, packet, (unsigned)skip);
    /* The first byte without what is skipped, whole bytes, the rest of the last one. */
    for (; i * 8 < bits; i++) {
        unsigned from = i ? 0 : (unsigned)skip, to = bits - i * 8 < 8 ? (unsigned)(bits % 8) : 8;

        bits_write(w, to - from, data[i] >> (8 - to));
    }
    write_stuffing(w);
    memmove(w->data + w->used, data + packet, size - packet);
    w->used += size - packet;
}

/* Slices after the first one are video packets without their headers (GStreamer). */
static void append_packet(const VAPictureParameterBufferMPEG4 *param, const struct va_slice *slice,
                          struct bits_writer *w)
{
    const VASliceParameterBufferMPEG4 *s = slice->param;

    bits_write(w, marker_zeros(param), 0);
    bits_write(w, 1, 1);
    bits_write(w, bit_count(macroblocks(param) - 1), s->macroblock_number);
    bits_write(w, quant_precision(param), (uint32_t)s->quant_scale);
    bits_write(w, 1, 0); /* header_extension_code */
    append(w, slice->data, slice->size, s->macroblock_offset, marker_zeros(param));
}

static int check(const struct va_picture *picture, const VAPictureParameterBufferMPEG4 *param)
{
    uint32_t type = param->vop_fields.bits.vop_coding_type;
    const VASliceParameterBufferMPEG4 *first = picture->slices[0].param;

    if (param->vop_width == 0 || param->vop_width > SIZE_MAX_PIXELS || param->vop_height == 0 ||
        param->vop_height > SIZE_MAX_PIXELS)
        return VD_ERR_RESOLUTION;
    /* libavcodec has H.263 apart, and no static sprites. */
    if (param->vol_fields.bits.short_video_header ||
        param->vol_fields.bits.sprite_enable == SPRITE_STATIC)
        return VD_ERR_UNSUPPORTED;
    if (param->vol_fields.bits.sprite_enable > SPRITE_GMC ||
        param->no_of_sprite_warping_points > 3 || param->vop_time_increment_resolution == 0 ||
        quant_precision(param) < 3 || quant_precision(param) > 9 ||
        (type != TYPE_I && (param->vop_fcode_forward == 0 || param->vop_fcode_forward > 7)) ||
        (type == TYPE_B && (param->vop_fcode_backward == 0 || param->vop_fcode_backward > 7)) ||
        first->quant_scale <= 0 || first->quant_scale >> quant_precision(param))
        return VD_ERR_PARAMETER;
    for (uint32_t i = 0; i < picture->slice_count; i++) {
        const VASliceParameterBufferMPEG4 *slice = picture->slices[i].param;

        if (slice->slice_data_flag != VA_SLICE_DATA_FLAG_ALL)
            return VD_ERR_UNSUPPORTED;
        if (slice->macroblock_offset / 8 >= picture->slices[i].size)
            return VD_ERR_DECODE;
        if (i > 0 &&
            (slice->macroblock_number == 0 || slice->macroblock_number >= macroblocks(param) ||
             slice->quant_scale < 0 || slice->quant_scale >> quant_precision(param)))
            return VD_ERR_PARAMETER;
    }
    return 0;
}

static int write_headers(struct state *state, const struct va_picture *picture,
                         const VAPictureParameterBufferMPEG4 *param, struct bits_writer *w)
{
    const VASliceParameterBufferMPEG4 *first = picture->slices[0].param;
    uint8_t sequence[SEQUENCE_ROOM];
    size_t size;
    int err;

    err = write_sequence(state, param, sequence, &size);
    if (err)
        return err;
    if (size != state->sequence_size || memcmp(sequence, state->sequence, size) != 0) {
        for (size_t i = 0; i < size; i++)
            bits_write(w, 8, sequence[i]);
    }
    err = write_vop(&state->clock, param, (uint32_t)first->quant_scale, w);
    if (err)
        return err;
    memcpy(state->sequence, sequence, size);
    state->sequence_size = size;
    return 0;
}

static int build(void *opaque, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet)
{
    struct state *state = opaque;
    const VAPictureParameterBufferMPEG4 *param = picture->param[VA_PARAM_PICTURE];
    const VAIQMatrixBufferMPEG4 *matrix = picture->param[VA_PARAM_IQ_MATRIX];
    const VASliceParameterBufferMPEG4 *first;
    const struct va_slice *slice;
    struct bits_writer header, w;
    size_t bits, before;
    int err;

    if (!param || picture->slice_count == 0)
        return VD_ERR_PARAMETER;
    err = check(picture, param);
    if (err)
        return err;
    if (matrix)
        state->matrix = *matrix;
    bits_write_init(&header, picture->head, HEADER_ROOM);
    err = write_headers(state, picture, param, &header);
    if (err)
        return err;

    /* Their size is known only now: move them to where they end just before the macroblocks. */
    slice = &picture->slices[0];
    first = slice->param;
    bits = header.used * 8 + header.count;
    before = (bits - first->macroblock_offset % 8 + 7) / 8;
    w = header;
    w.data = slice->data + first->macroblock_offset / 8 - before;
    w.size = (size_t)(picture->slices[picture->slice_count - 1].data +
                      picture->slices[picture->slice_count - 1].size - w.data);
    memmove(w.data, picture->head, header.used);
    append(&w, slice->data, slice->size, first->macroblock_offset, marker_zeros(param));
    for (uint32_t i = 1; i < picture->slice_count; i++)
        append_packet(param, &picture->slices[i], &w);
    if (w.error) {
        state->sequence_size = 0; /* it is lost with the rest */
        return VD_ERR_INTERNAL;
    }
    *ret_packet = (struct bitstream_packet){
        .data = w.data,
        .size = w.used,
        .flags = param->vop_fields.bits.vop_coding_type == TYPE_I ? BITSTREAM_KEY : 0,
        .coded_width = (param->vop_width + 15u) / 16 * 16,
        .coded_height = (param->vop_height + 15u) / 16 * 16,
    };
    return 0;
}

const struct bitstream_builder bitstream_mpeg4 = {
    .name = "mpeg4",
    .state_size = sizeof(struct state),
    .gap = GAP,
    .build = build,
};
