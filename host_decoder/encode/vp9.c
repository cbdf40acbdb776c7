/* SPDX-License-Identifier: MIT */
#include <va/va.h>
#include <va/va_enc_vp9.h>
#include <viaduct/errors.h>

#include "encode.h"
#include "encode_attribute.h"

/* VP9: the encoder's own frames, as for VP8. */

struct vp9_state {
    struct encode_misc_state misc;
    uint32_t max_width, max_height;
    uint32_t intra_period;
};

static int vp9_read(void *state, const struct encode_picture *picture,
                    struct encode_request *ret_request)
{
    struct vp9_state *self = state;
    const VAEncSequenceParameterBufferVP9 *sequence = picture->param[ENCODE_PARAM_SEQUENCE];
    const VAEncPictureParameterBufferVP9 *param = picture->param[ENCODE_PARAM_PICTURE];
    struct encode_tools *tools = &ret_request->tools;
    bool key;

    if (!param)
        return VD_ERR_PARAMETER;
    if (sequence) {
        self->max_width = sequence->max_frame_width;
        self->max_height = sequence->max_frame_height;
        self->intra_period = sequence->intra_period;
        encode_misc_sequence(&self->misc, sequence->bits_per_second, 0, 0);
    }
    encode_misc_read(&self->misc, picture, ret_request);
    key = param->ref_flags.bits.force_kf || !param->pic_flags.bits.frame_type;
    ret_request->type = key ? ENCODE_IDR : param->pic_flags.bits.intra_only ? ENCODE_I : ENCODE_P;
    ret_request->reference = param->refresh_frame_flags != 0;
    ret_request->layer = param->ref_flags.bits.temporal_id;
    ret_request->qp = param->luma_ac_qindex;
    tools->profile = (uint32_t)picture->profile;
    /* The context's size is one of whole blocks of 64; a picture's own is what is to be coded. */
    tools->width = param->frame_width_dst ? param->frame_width_dst : param->frame_width_src;
    tools->height = param->frame_height_dst ? param->frame_height_dst : param->frame_height_src;
    if (!tools->width || !tools->height) {
        tools->width = self->max_width ? self->max_width : picture->width;
        tools->height = self->max_height ? self->max_height : picture->height;
    }
    tools->bit_depth = picture->profile == VAProfileVP9Profile2 ? 10 : 8;
    tools->slices = 1;
    tools->intra_period = self->intra_period;
    return 0;
}

static int vp9_write(void *state, const struct encode_request *request,
                     const struct encode_packet *packet, struct encode_output *output)
{
    (void)state;
    (void)request;
    encode_put(output, packet->data, packet->size);
    return 0;
}

static uint32_t vp9_attributes(int profile, uint32_t *ret_types, uint32_t *ret_values,
                               uint32_t room)
{
    static const struct encode_attribute table[] = {
        /* Superframe headers, which this encoder has no use for. */
        {VAConfigAttribEncPackedHeaders, VA_ENC_PACKED_HEADER_RAW_DATA},
        {VAConfigAttribEncMaxRefFrames, 3},
    };

    (void)profile;
    return encode_attributes(table, sizeof(table) / sizeof(table[0]), ret_types, ret_values, room);
}

const struct encode_codec encode_vp9 = {
    .codec = VD_CODEC_VP9,
    .read_state_size = sizeof(struct vp9_state),
    .read = vp9_read,
    .write = vp9_write,
    .attributes = vp9_attributes,
};
