/* SPDX-License-Identifier: MIT */
#include "bitstream.h"

#include <va/va.h>
#include <viaduct/errors.h>
#include <viaduct/limits.h>

#include "bits.h"

/*
 * VP9: the slice data is the whole frame, from its uncompressed header on; it goes on as it is.
 *
 * Clauses are those of the VP9 Bitstream & Decoding Process Specification, version 0.6. The start
 * of the header is read for two reasons. A frame that the decoder cannot take (references that
 * were never decoded, sizes that cannot be scaled) is refused here: libavcodec's frame threads
 * lose all references if a header fails. And which of the eight slots hold a frame must be known
 * for the packet without a picture, show_existing_frame: libavcodec writes its frame to nowhere.
 */

#define SLOTS      8 /* NUM_REF_FRAMES */
#define REFERENCES 3 /* REFS_PER_FRAME */

enum { CS_RGB = 7 };

struct format {
    uint8_t bit_depth; /* 0: no frame is there */
    uint8_t subsampling_x, subsampling_y;
    bool rgb;
};

struct slot {
    struct format format;
    uint32_t width, height;
};

struct state {
    struct slot slots[SLOTS];
    struct format format; /* of the last frame that told it: inter frames do not */
};

struct header {
    bool key;
    uint32_t refresh_frame_flags;
    struct slot frame;
};

static bool same_format(const struct format *a, const struct format *b)
{
    return a->bit_depth == b->bit_depth && a->subsampling_x == b->subsampling_x &&
           a->subsampling_y == b->subsampling_y && a->rgb == b->rgb;
}

/* frame_sync_code(), 7.2.1 */
static int read_sync_code(struct bits_reader *r)
{
    return bits_read(r, 24) == 0x498342 ? 0 : VD_ERR_DECODE;
}

/* color_config(), 6.2.2 */
static int read_color_config(struct bits_reader *r, int profile, struct format *ret_format)
{
    struct format format = {8, 1, 1, false};

    if (profile >= 2)
        format.bit_depth = bits_read(r, 1) ? 12 : 10;
    format.rgb = bits_read(r, 3) == CS_RGB;
    if (format.rgb) {
        format.subsampling_x = format.subsampling_y = 0;
    } else {
        bits_read(r, 1); /* color_range */
        if (profile & 1) {
            format.subsampling_x = (uint8_t)bits_read(r, 1);
            format.subsampling_y = (uint8_t)bits_read(r, 1);
        }
    }
    /* 4:2:0 is for profiles 0 and 2, all else for 1 and 3, which have a reserved_zero here. */
    if ((profile & 1) == (format.subsampling_x && format.subsampling_y) ||
        (profile & 1 && bits_read(r, 1)))
        return VD_ERR_DECODE;
    *ret_format = format;
    return 0;
}

/* frame_size(), 6.2.3 */
static void read_frame_size(struct bits_reader *r, struct slot *frame)
{
    frame->width = bits_read(r, 16) + 1;
    frame->height = bits_read(r, 16) + 1;
}

/* Whether a frame can be predicted from the other, 7.2 (ref_frame_idx). */
static bool scalable(const struct slot *from, const struct slot *to)
{
    return 2 * to->width >= from->width && 2 * to->height >= from->height &&
           to->width <= 16 * from->width && to->height <= 16 * from->height;
}

/* References and frame_size_with_refs() of an inter frame, 6.2 and 6.2.5. */
static int read_references(struct bits_reader *r, const struct state *state, struct header *h)
{
    const struct slot *refs[REFERENCES];
    bool found = false, usable = false;

    for (int i = 0; i < REFERENCES; i++) {
        refs[i] = &state->slots[bits_read(r, 3)];
        bits_read(r, 1); /* ref_frame_sign_bias */
        if (!same_format(&refs[i]->format, &state->format) || !refs[i]->format.bit_depth)
            return VD_ERR_DECODE;
    }
    h->frame.format = state->format;
    for (int i = 0; i < REFERENCES && !found; i++) {
        found = bits_read(r, 1);
        if (found) {
            h->frame.width = refs[i]->width;
            h->frame.height = refs[i]->height;
        }
    }
    if (!found)
        read_frame_size(r, &h->frame);
    for (int i = 0; i < REFERENCES; i++)
        usable = usable || scalable(refs[i], &h->frame);
    return usable ? 0 : VD_ERR_DECODE;
}

/* The start of uncompressed_header(), 6.2. */
static int parse_header(const struct state *state, const struct va_slice *slice, int profile,
                        struct header *ret_header)
{
    struct header h = {0};
    struct bits_reader r;
    bool show, error_resilient, intra_only;
    int told, err;

    bits_read_init(&r, slice->data, slice->size, false);
    if (bits_read(&r, 2) != 2) /* frame_marker */
        return VD_ERR_DECODE;
    told = (int)bits_read(&r, 1);
    told |= (int)bits_read(&r, 1) << 1;
    if (told != profile || (told == 3 && bits_read(&r, 1)))
        return VD_ERR_UNSUPPORTED;
    /* An app shows a frame again by itself. */
    if (bits_read(&r, 1)) /* show_existing_frame */
        return VD_ERR_PARAMETER;
    h.key = !bits_read(&r, 1); /* frame_type */
    show = bits_read(&r, 1);
    error_resilient = bits_read(&r, 1);
    if (h.key) {
        err = read_sync_code(&r);
        if (!err)
            err = read_color_config(&r, profile, &h.frame.format);
        h.refresh_frame_flags = 0xff;
        read_frame_size(&r, &h.frame);
    } else {
        intra_only = show ? false : bits_read(&r, 1);
        if (!error_resilient)
            bits_read(&r, 2); /* reset_frame_context */
        err = intra_only ? read_sync_code(&r) : 0;
        h.frame.format = (struct format){8, 1, 1, false};
        if (!err && intra_only && profile > 0)
            err = read_color_config(&r, profile, &h.frame.format);
        h.refresh_frame_flags = bits_read(&r, 8);
        if (intra_only)
            read_frame_size(&r, &h.frame);
        else if (!err)
            err = read_references(&r, state, &h);
    }
    if (err)
        return err;
    if (r.error)
        return VD_ERR_DECODE;
    if (h.frame.width > VD_MAX_WIDTH || h.frame.height > VD_MAX_HEIGHT)
        return VD_ERR_RESOLUTION;
    *ret_header = h;
    return 0;
}

/* show_existing_frame of a slot that holds a frame, if there is one. */
static void write_no_op(const struct state *state, int profile, struct bitstream_packet *packet)
{
    uint32_t slot = 0;
    struct bits_writer w;

    while (slot < SLOTS && !state->slots[slot].format.bit_depth)
        slot++;
    if (slot == SLOTS)
        return;
    bits_write_init(&w, packet->no_op, sizeof(packet->no_op));
    bits_write(&w, 2, 2); /* frame_marker */
    bits_write(&w, 1, (uint32_t)profile);
    bits_write(&w, 1, (uint32_t)profile >> 1);
    if (profile == 3)
        bits_write(&w, 1, 0); /* reserved_zero */
    bits_write(&w, 1, 1);     /* show_existing_frame */
    bits_write(&w, 3, slot);
    if (profile == 3)
        bits_write(&w, 7, 0);
    packet->no_op_size = w.used;
}

static int build(void *builder_state, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet)
{
    struct state *state = builder_state;
    int profile = picture->profile - VAProfileVP9Profile0;
    const struct va_slice *slice = picture->slices;
    struct bitstream_packet packet = {0};
    struct header header;
    int err;

    if (!picture->param[VA_PARAM_PICTURE] || picture->slice_count != 1)
        return VD_ERR_PARAMETER;
    err = parse_header(state, slice, profile, &header);
    if (err)
        return err;
    state->format = header.frame.format;
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (header.refresh_frame_flags >> i & 1)
            state->slots[i] = header.frame;
    }
    packet.data = slice->data;
    packet.size = slice->size;
    /* Not to be taken for a superframe (annex B), which the app has split: one zero more. */
    if ((slice->data[slice->size - 1] & 0xe0) == 0xc0)
        packet.size++;
    packet.flags = header.key ? BITSTREAM_KEY : 0;
    packet.coded_width = header.frame.width;
    packet.coded_height = header.frame.height;
    write_no_op(state, profile, &packet);
    *ret_packet = packet;
    return 0;
}

const struct bitstream_builder bitstream_vp9 = {
    .name = "vp9",
    .state_size = sizeof(struct state),
    .gap = BITSTREAM_SLICE_GAP,
    .survives = true,
    .build = build,
};
