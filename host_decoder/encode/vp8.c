/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <va/va.h>
#include <va/va_enc_vp8.h>
#include <viaduct/errors.h>

#include "encode.h"
#include "encode_attribute.h"

/*
 * VP8: the encoder's own frames, with its own references. What the app says of references, loop
 * filters and segments are hints that no decoder needs to hear of.
 */

struct vp8_state {
    struct encode_misc_state misc;
    uint32_t width, height;
    uint32_t intra_period;
    uint16_t qp;
    bool layered;
};

/* The app's references, once it has layers; else the encoder finds better ones. */
static void read_references(struct vp8_state *self, const VAEncPictureParameterBufferVP8 *param,
                            struct encode_request *request)
{
    if (request->rate.temporal_layers > 1 || request->layer)
        self->layered = true;
    request->tools.layered = self->layered;
    request->refer = (uint8_t)((param->ref_flags.bits.no_ref_last ? 0 : ENCODE_LAST) |
                               (param->ref_flags.bits.no_ref_gf ? 0 : ENCODE_GOLDEN) |
                               (param->ref_flags.bits.no_ref_arf ? 0 : ENCODE_ALTERNATE));
    request->refresh =
        (uint8_t)((param->pic_flags.bits.refresh_last ? ENCODE_LAST : 0) |
                  (param->pic_flags.bits.refresh_golden_frame ? ENCODE_GOLDEN : 0) |
                  (param->pic_flags.bits.refresh_alternate_frame ? ENCODE_ALTERNATE : 0));
}

static int vp8_read(void *state, const struct encode_picture *picture,
                    struct encode_request *ret_request)
{
    struct vp8_state *self = state;
    const VAEncSequenceParameterBufferVP8 *sequence = picture->param[ENCODE_PARAM_SEQUENCE];
    const VAEncPictureParameterBufferVP8 *param = picture->param[ENCODE_PARAM_PICTURE];
    const VAQMatrixBufferVP8 *matrix = picture->param[ENCODE_PARAM_MATRIX];
    bool key;

    if (!param)
        return VD_ERR_PARAMETER;
    if (sequence) {
        self->width = sequence->frame_width;
        self->height = sequence->frame_height;
        self->intra_period = sequence->intra_period;
        encode_misc_sequence(&self->misc, sequence->bits_per_second, 0, 0);
    }
    if (matrix)
        self->qp = matrix->quantization_index[0];
    encode_misc_read(&self->misc, picture, ret_request);
    /* frame_type is the bit of the frame tag: 0 for key frames. */
    key = param->ref_flags.bits.force_kf || !param->pic_flags.bits.frame_type;
    ret_request->type = key ? ENCODE_IDR : ENCODE_P;
    ret_request->reference = param->pic_flags.bits.refresh_last ||
                             param->pic_flags.bits.refresh_golden_frame ||
                             param->pic_flags.bits.refresh_alternate_frame;
    ret_request->layer = param->ref_flags.bits.temporal_id;
    ret_request->qp = self->qp < 127 ? self->qp : 127;
    if (param->clamp_qindex_low <= param->clamp_qindex_high && param->clamp_qindex_high &&
        !ret_request->rate.max_qp) {
        ret_request->rate.min_qp = param->clamp_qindex_low;
        ret_request->rate.max_qp = param->clamp_qindex_high;
    }
    ret_request->tools.profile = (uint32_t)picture->profile;
    ret_request->tools.width = self->width ? self->width : picture->width;
    ret_request->tools.height = self->height ? self->height : picture->height;
    ret_request->tools.bit_depth = 8;
    ret_request->tools.slices = 1;
    ret_request->tools.intra_period = self->intra_period;
    read_references(self, param, ret_request);
    return 0;
}

static int vp8_write(void *state, const struct encode_request *request,
                     const struct encode_packet *packet, struct encode_output *output)
{
    (void)state;
    (void)request;
    encode_put(output, packet->data, packet->size);
    return 0;
}

static uint32_t vp8_attributes(int profile, uint32_t *ret_types, uint32_t *ret_values,
                               uint32_t room)
{
    static const struct encode_attribute table[] = {
        {VAConfigAttribEncPackedHeaders, VA_ENC_PACKED_HEADER_NONE},
        {VAConfigAttribEncMaxRefFrames, 3},
    };

    (void)profile;
    return encode_attributes(table, sizeof(table) / sizeof(table[0]), ret_types, ret_values, room);
}

const struct encode_codec encode_vp8 = {
    .codec = VD_CODEC_VP8,
    .read_state_size = sizeof(struct vp8_state),
    .read = vp8_read,
    .write = vp8_write,
    .attributes = vp8_attributes,
};
