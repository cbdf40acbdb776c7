/* SPDX-License-Identifier: MIT */
#include <va/va.h>
#include <va/va_enc_av1.h>
#include <viaduct/errors.h>

#include "encode.h"
#include "encode_attribute.h"

/*
 * AV1: the encoder's own temporal units. The app's headers cannot be put before them, as nearly
 * every field of a frame header steers how the tiles are read: packed headers are not offered.
 */

/* In VAConfigAttribEncAV1Ext1 and Ext2, which libva before 2.16 has no unions for. */
#define EXT1_ALL_FILTERS    0x1fu
#define EXT2_TX_MODES(mask) ((uint32_t)(mask) << 4)

struct av1_state {
    struct encode_misc_state misc;
    uint32_t bit_depth;
    uint32_t intra_period;
};

static int av1_read(void *state, const struct encode_picture *picture,
                    struct encode_request *ret_request)
{
    struct av1_state *self = state;
    const VAEncSequenceParameterBufferAV1 *sequence = picture->param[ENCODE_PARAM_SEQUENCE];
    const VAEncPictureParameterBufferAV1 *param = picture->param[ENCODE_PARAM_PICTURE];
    struct encode_tools *tools = &ret_request->tools;

    if (!param)
        return VD_ERR_PARAMETER;
    if (sequence) {
        if (sequence->seq_profile)
            return VD_ERR_UNSUPPORTED;
        self->bit_depth = sequence->seq_fields.bits.bit_depth_minus8 ? 10 : 8;
        self->intra_period = sequence->intra_period;
        encode_misc_sequence(&self->misc, sequence->bits_per_second, 0, 0);
    }
    encode_misc_read(&self->misc, picture, ret_request);
    switch (param->picture_flags.bits.frame_type) {
    case 0: /* key frame */
        ret_request->type = ENCODE_IDR;
        break;
    case 1: /* inter frame */
        ret_request->type = ENCODE_P;
        break;
    default: /* intra only, switch */
        ret_request->type = ENCODE_I;
        break;
    }
    ret_request->reference = param->refresh_frame_flags != 0;
    ret_request->layer = param->temporal_id;
    ret_request->qp = param->base_qindex;
    if (param->min_base_qindex <= param->max_base_qindex && param->max_base_qindex &&
        !ret_request->rate.max_qp) {
        ret_request->rate.min_qp = param->min_base_qindex;
        ret_request->rate.max_qp = param->max_base_qindex;
    }
    tools->profile = (uint32_t)picture->profile;
    tools->width = (uint32_t)param->frame_width_minus_1 + 1;
    tools->height = (uint32_t)param->frame_height_minus_1 + 1;
    tools->bit_depth = self->bit_depth ? self->bit_depth : 8;
    tools->slices = 1;
    tools->intra_period = self->intra_period;
    return 0;
}

static int av1_write(void *state, const struct encode_request *request,
                     const struct encode_packet *packet, struct encode_output *output)
{
    (void)state;
    (void)request;
    encode_put(output, packet->data, packet->size);
    return 0;
}

static uint32_t av1_attributes(int profile, uint32_t *ret_types, uint32_t *ret_values,
                               uint32_t room)
{
    static const struct encode_attribute table[] = {
        {VAConfigAttribEncPackedHeaders, VA_ENC_PACKED_HEADER_NONE},
        {VAConfigAttribEncMaxRefFrames, 3},
        /* FFmpeg insists on all three; no tool of the app's choice is needed. */
        {VAConfigAttribEncAV1, 0},
        {VAConfigAttribEncAV1Ext1, EXT1_ALL_FILTERS},
        {VAConfigAttribEncAV1Ext2, EXT2_TX_MODES(1 << 1 | 1 << 2)},
    };

    (void)profile;
    return encode_attributes(table, sizeof(table) / sizeof(table[0]), ret_types, ret_values, room);
}

const struct encode_codec encode_av1 = {
    .codec = VD_CODEC_AV1,
    .read_state_size = sizeof(struct av1_state),
    .read = av1_read,
    .write = av1_write,
    .attributes = av1_attributes,
};
