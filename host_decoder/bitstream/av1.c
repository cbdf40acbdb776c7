/* SPDX-License-Identifier: MIT */
#include "bitstream.h"

#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>

#include "av1_guess.h"
#include "av1_header.h"

/*
 * AV1: tiles arrive bare, all headers are written anew.
 *
 * VA does not say refresh_frame_flags: which of the 8 slots of references a frame replaces. It
 * says which surfaces are in the slots before each frame. So slots here are our own: a new frame
 * goes into one whose surface the map of this frame no longer has. If the map has 8 surfaces
 * there is none; then the next frame's map tells which of them is gone, and whether the frame
 * is kept at all. Until then the frame is `open`, and the back end must cope (struct
 * bitstream_packet). av1_guess.h helps: what it guesses right need not be decoded again.
 *
 * Each tile of a frame with several becomes a tile group of its own, whose header fits into the
 * gap in front of it.
 */

/*
 * Where in the head room a copy of the sequence header is kept for packets that name it, behind
 * what is written at its front and before what lies at its end.
 */
#define EXTRADATA_AT (BITSTREAM_HEAD_ROOM / 2)

/*
 * OBU header, obu_size, and tile_start_and_end_present_flag with two numbers of 0 to 12 bits. What
 * those leave makes obu_size longer: up to 8 bytes, the most that leb128() may have.
 */
#define TILE_GAP (1 + 5 + 4)

enum {
    OBU_SEQUENCE_HEADER = 1,
    OBU_FRAME_HEADER = 3,
    OBU_TILE_GROUP = 4,
    OBU_FRAME = 6,
    OBU_HAS_SIZE = 2, /* a bit of the OBU header */
};

/* A frame that later ones can refer to. */
struct slot {
    uint32_t surface; /* VA_INVALID_ID: the slot is empty */
    struct av1_reference reference;
};

struct open_frame {
    uint64_t number;
    struct slot frame;
    int guess; /* the slot it may be kept in, or -1 */
};

struct state {
    uint8_t sequence[AV1_SEQUENCE_ROOM]; /* as last sent; size 0: nothing was sent yet */
    size_t sequence_size;
    struct slot slots[AV1_SLOTS];
    struct open_frame open[BITSTREAM_MAX_OPEN]; /* in coding order */
    uint32_t open_count;
    uint64_t open_number;
    struct av1_guess guess;
    uint32_t max_width, max_height; /* of bitstream_av1_sized's sequence header */
    bool repeatable; /* all since the last frame that refreshed all, sent again, leads here */
};

static bool in_map(const VADecPictureParameterBufferAV1 *param, uint32_t surface)
{
    for (int i = 0; i < AV1_SLOTS; i++) {
        if (param->ref_frame_map[i] == surface)
            return true;
    }
    return false;
}

static int find_slot(const struct state *state, uint32_t surface)
{
    for (int i = 0; i < AV1_SLOTS; i++) {
        if (surface != VA_INVALID_ID && state->slots[i].surface == surface)
            return i;
    }
    return -1;
}

/*
 * A slot that nothing will be lost with: empty, holding what the map (if `known`) no longer has, or
 * one of two that hold the same. -1 if there is none.
 */
static int find_room(const struct state *state, const VADecPictureParameterBufferAV1 *param,
                     bool known)
{
    for (int i = 0; i < AV1_SLOTS; i++) {
        uint32_t surface = state->slots[i].surface;

        if (surface == VA_INVALID_ID || (known && !in_map(param, surface)) ||
            find_slot(state, surface) < i)
            return i;
    }
    return -1;
}

/*
 * Whether the map says what is still referred to. Apps leave it empty for key frames, which may
 * be hidden ones that leave the others alone.
 */
static bool map_known(const VADecPictureParameterBufferAV1 *param)
{
    for (int i = 0; i < AV1_SLOTS; i++) {
        if (param->ref_frame_map[i] != VA_INVALID_ID)
            return true;
    }
    return param->pic_info_fields.bits.frame_type != AV1_KEY_FRAME ||
           av1_header_refreshes_all(param);
}

static void settle(struct state *state, struct bitstream_packet *packet, uint32_t index, int slot)
{
    struct bitstream_refresh *refresh = &packet->refresh[packet->refresh_count++];

    refresh->open = state->open[index].number;
    refresh->refresh_frame_flags = slot < 0 ? 0 : (uint8_t)(1u << slot);
    if (slot >= 0)
        state->slots[slot] = state->open[index].frame;
}

/* The decoder forgets all frames when it gets another sequence header. */
static void forget_slots(struct state *state, struct bitstream_packet *packet)
{
    for (uint32_t i = 0; i < state->open_count; i++)
        settle(state, packet, i, -1);
    state->open_count = 0;
    for (int i = 0; i < AV1_SLOTS; i++)
        state->slots[i].surface = VA_INVALID_ID;
}

/* Frames that were open: kept if this frame's map has them, in the place of one it has not. */
static void settle_open(struct state *state, const VADecPictureParameterBufferAV1 *param,
                        struct bitstream_packet *packet)
{
    if (!map_known(param)) {
        if (state->open_count < BITSTREAM_MAX_OPEN)
            return;
        settle(state, packet, 0, -1);
        state->open[0] = state->open[1];
        state->open_count--;
        return;
    }
    for (uint32_t i = 0; i < state->open_count; i++) {
        uint32_t surface = state->open[i].frame.surface;
        bool kept = surface != VA_INVALID_ID && in_map(param, surface);
        int slot = state->open[i].guess;

        /* A guess that comes true may be one of several slots with room. */
        if (kept && (slot < 0 || in_map(param, state->slots[slot].surface)))
            slot = find_room(state, param, true);
        settle(state, packet, i, kept ? slot : -1);
    }
    state->open_count = 0;
}

/* The new frame is in its slots, or open. The surface's older content can be no reference. */
static void place_frame(struct state *state, const struct av1_frame *frame, bool open, int guess)
{
    struct slot new = {.surface = frame->param->current_frame, .reference = frame->reference};

    for (int i = 0; i < AV1_SLOTS; i++) {
        if (state->slots[i].surface == new.surface)
            state->slots[i].surface = VA_INVALID_ID;
        if (frame->refresh_frame_flags >> i & 1)
            state->slots[i] = new;
    }
    for (uint32_t i = 0; i < state->open_count; i++) {
        if (state->open[i].frame.surface == new.surface)
            state->open[i].frame.surface = VA_INVALID_ID;
    }
    if (open)
        state->open[state->open_count++] =
            (struct open_frame){.number = state->open_number, .frame = new, .guess = guess};
}

/* The slot that the frame will be kept in, if that can be guessed. */
static int guess_slot(struct state *state, const VADecPictureParameterBufferAV1 *param)
{
    int index = av1_guess_next(&state->guess, param);

    if (index < 0 || !state->repeatable || state->open_count > 0)
        return -1;
    return find_slot(state, param->ref_frame_map[index]);
}

/* References by our slots instead of the app's. */
static int map_references(const struct state *state, struct av1_frame *frame)
{
    unsigned type = frame->param->pic_info_fields.bits.frame_type;

    if (type == AV1_KEY_FRAME || type == AV1_INTRA_ONLY_FRAME)
        return 0;
    for (int i = 0; i < AV1_REFS; i++) {
        int slot = find_slot(state, frame->param->ref_frame_map[frame->param->ref_frame_idx[i]]);

        if (slot < 0)
            return VD_ERR_DECODE;
        frame->ref_frame_idx[i] = (uint8_t)slot;
    }
    return 0;
}

static uint8_t references_of(const struct av1_frame *frame)
{
    unsigned type = frame->param->pic_info_fields.bits.frame_type, slots = 0;

    for (int i = 0; i < AV1_REFS && type != AV1_KEY_FRAME && type != AV1_INTRA_ONLY_FRAME; i++)
        slots |= 1u << frame->ref_frame_idx[i];
    return (uint8_t)slots;
}

/* Whether decoding the frame again, and those behind it, brings back the decoder's state. */
static bool is_reset(const VADecPictureParameterBufferAV1 *param)
{
    return param->pic_info_fields.bits.frame_type == AV1_KEY_FRAME &&
           param->pic_info_fields.bits.show_frame;
}

/* Tiles in raster order, as tile groups need them. */
static int check_tiles(const VADecPictureParameterBufferAV1 *param,
                       const struct va_picture *picture)
{
    if (picture->slice_count != (uint32_t)param->tile_cols * param->tile_rows)
        return VD_ERR_PARAMETER;
    for (uint32_t i = 0; i < picture->slice_count; i++) {
        const VASliceParameterBufferAV1 *tile = picture->slices[i].param;

        if (tile->slice_data_flag != VA_SLICE_DATA_FLAG_ALL)
            return VD_ERR_UNSUPPORTED;
        if (tile->tile_row >= param->tile_rows || tile->tile_column >= param->tile_cols ||
            (uint32_t)tile->tile_row * param->tile_cols + tile->tile_column != i ||
            picture->slices[i].size == 0)
            return VD_ERR_PARAMETER;
    }
    return 0;
}

/* An OBU header and obu_size in exactly `room` bytes: leb128() may have empty bytes at its end. */
static void write_obu_header(uint8_t *at, unsigned type, size_t room, uint64_t size)
{
    *at++ = (uint8_t)(type << 3 | OBU_HAS_SIZE);
    for (size_t i = 1; i < room; i++) {
        *at++ = (uint8_t)((size & 0x7f) | (i + 1 < room ? 0x80 : 0));
        size >>= 7;
    }
}

#define OBU_HEADER_ROOM 6 /* sizes below 2^35 */

/* Bits written so far, then bits up to a byte's end: a one and zeros, or zeros. */
static int finish_bits(struct bits_writer *writer, bool trailing)
{
    if (trailing)
        bits_write_trailing(writer);
    else if (writer->count > 0)
        bits_write(writer, 8 - writer->count, 0);
    return writer->error ? VD_ERR_LIMIT : 0;
}

/* The header of a tile group with one tile, in the gap before its data. */
static void write_tile_group(const struct va_slice *slice, uint32_t number, unsigned tile_bits)
{
    uint8_t flags[4];
    struct bits_writer writer;
    uint8_t *gap = slice->data - TILE_GAP;

    bits_write_init(&writer, flags, sizeof(flags));
    bits_write(&writer, 1, 1); /* tile_start_and_end_present_flag */
    bits_write(&writer, tile_bits, number);
    bits_write(&writer, tile_bits, number);
    finish_bits(&writer, false);
    write_obu_header(gap, OBU_TILE_GROUP, TILE_GAP - writer.used,
                     (uint64_t)slice->size + writer.used);
    memcpy(gap + TILE_GAP - writer.used, flags, writer.used);
}

/* The sequence header's OBU at the front of `head`, if the decoder has another; size 0 if not. */
static int write_sequence(const struct state *state, const VADecPictureParameterBufferAV1 *param,
                          uint8_t *head, size_t *ret_size)
{
    struct bits_writer writer;

    bits_write_init(&writer, head + OBU_HEADER_ROOM, AV1_SEQUENCE_ROOM);
    av1_header_sequence(param, state->max_width, state->max_height, &writer);
    if (writer.error)
        return VD_ERR_LIMIT;
    write_obu_header(head, OBU_SEQUENCE_HEADER, OBU_HEADER_ROOM, writer.used);
    memcpy(head + EXTRADATA_AT, head, OBU_HEADER_ROOM + writer.used);
    *ret_size = 0;
    if (writer.used != state->sequence_size ||
        memcmp(head + OBU_HEADER_ROOM, state->sequence, writer.used) != 0)
        *ret_size = OBU_HEADER_ROOM + writer.used;
    return 0;
}

/*
 * Writes the frame header behind the `sequence` bytes at the front of `head`, and moves both to
 * where the slices start.
 */
static int write_frame(const struct va_picture *picture, struct av1_frame *frame, size_t sequence,
                       uint8_t **ret_data)
{
    const struct va_slice *slices = picture->slices;
    bool single = picture->slice_count == 1;
    uint8_t *header = picture->head + sequence, *data;
    struct bits_writer writer;
    size_t size;
    int err;

    bits_write_init(&writer, header + OBU_HEADER_ROOM, AV1_FRAME_ROOM);
    err = av1_header_frame(frame, &writer);
    if (!err)
        err = finish_bits(&writer, !single);
    if (err)
        return err;
    write_obu_header(header, single ? OBU_FRAME : OBU_FRAME_HEADER, OBU_HEADER_ROOM,
                     writer.used + (single ? (uint64_t)slices[0].size : 0));
    size = sequence + OBU_HEADER_ROOM + writer.used;
    frame->refresh_bit += (sequence + OBU_HEADER_ROOM) * 8;
    data = slices[0].data - (single ? 0 : TILE_GAP) - size;
    memmove(data, picture->head, size);
    for (uint32_t i = 0; !single && i < picture->slice_count; i++)
        write_tile_group(&slices[i], i, frame->tile_bits);
    *ret_data = data;
    return 0;
}

static int build_frame(struct state *state, const struct va_picture *picture,
                       struct bitstream_packet *ret_packet)
{
    const VADecPictureParameterBufferAV1 *param = picture->param[VA_PARAM_PICTURE];
    struct bitstream_packet packet = {0};
    struct av1_reference references[AV1_SLOTS];
    struct av1_frame frame = {.param = param, .slots = references};
    const struct va_slice *last;
    bool open = false;
    size_t sequence;
    int err, guess;

    if (!param || picture->slice_count == 0 || param->current_frame == VA_INVALID_ID)
        return VD_ERR_PARAMETER;
    err = av1_header_check(param);
    if (!err)
        err = check_tiles(param, picture);
    if (!err)
        err = write_sequence(state, param, picture->head, &sequence);
    if (err)
        return err;
    if (sequence > 0)
        forget_slots(state, &packet);
    settle_open(state, param, &packet);
    /* What was settled must reach the back end, even if this picture does not. */
    err = map_references(state, &frame);
    if (err)
        goto out;
    for (int i = 0; i < AV1_SLOTS; i++)
        references[i] = state->slots[i].reference;
    if (av1_header_refreshes_all(param)) {
        frame.refresh_frame_flags = AV1_ALL_SLOTS;
    } else {
        int room = find_room(state, param, map_known(param));

        open = room < 0;
        if (!open)
            frame.refresh_frame_flags = (uint8_t)(1u << room);
    }
    err = write_frame(picture, &frame, sequence, &packet.data);
    if (err)
        goto out;
    if (sequence > 0 || is_reset(param))
        state->repeatable = is_reset(param);
    if (sequence > 0) {
        state->sequence_size = sequence - OBU_HEADER_ROOM;
        memcpy(state->sequence, packet.data + OBU_HEADER_ROOM, state->sequence_size);
    }
    guess = guess_slot(state, param);
    if (open) {
        packet.open = ++state->open_number;
        packet.open_at = frame.refresh_bit;
        packet.guess = guess < 0 ? 0 : (uint8_t)(1u << guess);
    }
    place_frame(state, &frame, open, guess);
    packet.refresh_frame_flags = frame.refresh_frame_flags;
    packet.references = references_of(&frame);
    last = &picture->slices[picture->slice_count - 1];
    packet.size = (size_t)(last->data + last->size - packet.data);
    packet.flags = param->pic_info_fields.bits.frame_type == AV1_KEY_FRAME ? BITSTREAM_KEY : 0;
    if (is_reset(param))
        packet.flags |= BITSTREAM_RESET;
    packet.coded_width = param->frame_width_minus1 + 1u;
    packet.coded_height = param->frame_height_minus1 + 1u;
out:
    *ret_packet = packet;
    return err;
}

/* One sequence header for all sizes: frames may refer to those of another. */
static int build(void *opaque, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet)
{
    struct state *state = opaque;

    state->max_width = state->max_height = AV1_MAX_SIZE;
    return build_frame(state, picture, ret_packet);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/*
 * libavcodec makes its surfaces as large as the sequence header says, and only once: a new header
 * opens the decoder anew. Frames in between that are larger than the first one have no room.
 */
static int build_sized(void *opaque, const struct va_picture *picture,
                       struct bitstream_packet *ret_packet)
{
    struct state *state = opaque;
    const VADecPictureParameterBufferAV1 *param = picture->param[VA_PARAM_PICTURE];
    int err;

    if (param && (is_reset(param) || state->sequence_size == 0)) {
        state->max_width = larger(picture->width, param->frame_width_minus1 + 1u);
        state->max_height = larger(picture->height, param->frame_height_minus1 + 1u);
        if (state->max_width > AV1_MAX_SIZE || state->max_height > AV1_MAX_SIZE)
            return VD_ERR_RESOLUTION;
    }
    err = build_frame(state, picture, ret_packet);
    if (err)
        return err;
    ret_packet->extradata = picture->head + EXTRADATA_AT;
    ret_packet->extradata_size = OBU_HEADER_ROOM + state->sequence_size;
    return 0;
}

const struct bitstream_builder bitstream_av1 = {
    .name = "av1",
    .state_size = sizeof(struct state),
    .gap = TILE_GAP,
    .survives = true,
    .build = build,
};

const struct bitstream_builder bitstream_av1_sized = {
    .name = "av1",
    .state_size = sizeof(struct state),
    .gap = TILE_GAP,
    .survives = true,
    .build = build_sized,
};
