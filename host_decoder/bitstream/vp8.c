/* SPDX-License-Identifier: MIT */
#include "bitstream.h"

#include <va/va.h>
#include <viaduct/errors.h>

/*
 * VP8: the slice data starts after the uncompressed data chunk (RFC 6386 9.1), which is written
 * anew in front of it: 3 bytes, 10 for a key frame. All else is in the first partition's bits.
 *
 * What VA does not tell makes no difference to the decoded picture: show_frame, and the scaling
 * that a key frame recommends to the player.
 */

#define TAG_SIZE     3
#define KEY_TAG_SIZE 10
#define MAX_SIZE     16383   /* 14 bits */
#define MAX_FIRST    0x7ffff /* 19 bits */

struct state {
    uint32_t width, height; /* of the last key frame, 0 before */
};

static int build(void *builder_state, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet)
{
    struct state *state = builder_state;
    const VAPictureParameterBufferVP8 *param = picture->param[VA_PARAM_PICTURE];
    const struct va_slice *slice = picture->slices;
    const VASliceParameterBufferVP8 *part;
    uint32_t first, tag, tag_size;
    uint8_t *at;
    bool key;

    if (!param || picture->slice_count != 1)
        return VD_ERR_PARAMETER;
    part = slice->param;
    key = !param->pic_fields.bits.key_frame; /* as in the stream: 0 is a key frame */
    if (key && (!param->frame_width || !param->frame_height || param->frame_width > MAX_SIZE ||
                param->frame_height > MAX_SIZE))
        return VD_ERR_RESOLUTION;
    if (!key && !state->width)
        return VD_ERR_DECODE;
    /*
     * partition_size[0] counts from the macroblocks on, which start at a bit of the partition.
     * Where the header ends with the partition, GStreamer's count of bits is 2^30 short, and that
     * of bytes as much too large: the sum is right again, modulo 2^32.
     */
    first = part->partition_size[0] + (part->macroblock_offset + 7) / 8;
    if (first > MAX_FIRST || first > slice->size)
        return VD_ERR_PARAMETER;
    if (key) {
        state->width = param->frame_width;
        state->height = param->frame_height;
    }

    tag_size = key ? KEY_TAG_SIZE : TAG_SIZE;
    at = slice->data - tag_size;
    tag = (key ? 0 : 1) | (uint32_t)param->pic_fields.bits.version << 1 | 1 << 4 /* show_frame */ |
          first << 5;
    at[0] = (uint8_t)tag;
    at[1] = (uint8_t)(tag >> 8);
    at[2] = (uint8_t)(tag >> 16);
    if (key) {
        at[3] = 0x9d; /* start code */
        at[4] = 0x01;
        at[5] = 0x2a;
        at[6] = (uint8_t)state->width;
        at[7] = (uint8_t)(state->width >> 8);
        at[8] = (uint8_t)state->height;
        at[9] = (uint8_t)(state->height >> 8);
    }
    *ret_packet = (struct bitstream_packet){
        .data = at,
        .size = tag_size + (size_t)slice->size,
        .flags = key ? BITSTREAM_KEY : 0,
        .coded_width = state->width,
        .coded_height = state->height,
    };
    return 0;
}

const struct bitstream_builder bitstream_vp8 = {
    .name = "vp8",
    .state_size = sizeof(struct state),
    .gap = KEY_TAG_SIZE,
    .build = build,
};
