/* SPDX-License-Identifier: MIT */
#include <string.h>
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
    bool layered;
    uint8_t
        place[8]; /* of each reference of the app: one of the encoder's three, as a bit; 0: lost */
};

static const uint8_t places[] = {ENCODE_LAST, ENCODE_GOLDEN, ENCODE_ALTERNATE};

static uint8_t read_refer(const struct vp9_state *self, const VAEncPictureParameterBufferVP9 *param)
{
    uint32_t used =
        param->ref_flags.bits.ref_frame_ctrl_l0 | param->ref_flags.bits.ref_frame_ctrl_l1;

    return (uint8_t)((used & 1 ? self->place[param->ref_flags.bits.ref_last_idx] : 0) |
                     (used & 2 ? self->place[param->ref_flags.bits.ref_gf_idx] : 0) |
                     (used & 4 ? self->place[param->ref_flags.bits.ref_arf_idx] : 0));
}

/*
 * VP9 keeps eight pictures, the encoder three: enough for three layers, whose apps spread them over
 * more. The new picture goes where none is that the app still has; if all are in use, the one that
 * most of its references share stays, and others are lost.
 */
static uint8_t read_refresh(struct vp9_state *self, const VAEncPictureParameterBufferVP9 *param)
{
    uint32_t users[3] = {0}, best = 0;

    if (!param->refresh_frame_flags)
        return 0;
    for (uint32_t i = 0; i < 8; i++) {
        for (uint32_t j = 0; j < 3 && !(param->refresh_frame_flags >> i & 1); j++)
            users[j] += self->place[i] == places[j];
    }
    for (uint32_t j = 1; j < 3; j++)
        best = users[j] < users[best] ? j : best;
    for (uint32_t i = 0; i < 8; i++) {
        if (param->refresh_frame_flags >> i & 1)
            self->place[i] = places[best];
        else if (self->place[i] == places[best])
            self->place[i] = 0;
    }
    return places[best];
}

/* The app's references, once it has layers; else the encoder finds better ones. */
static void read_references(struct vp9_state *self, const VAEncPictureParameterBufferVP9 *param,
                            struct encode_request *request)
{
    if (request->rate.temporal_layers > 1 || request->layer)
        self->layered = true;
    request->tools.layered = self->layered;
    if (request->type == ENCODE_IDR) {
        /* All three are this picture then. */
        memset(self->place, ENCODE_LAST, sizeof(self->place));
        return;
    }
    request->refer = read_refer(self, param);
    request->refresh = read_refresh(self, param);
}

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
    /* It would be shown later, by its place among the app's references, which are not the stream's.
     */
    if (!param->pic_flags.bits.show_frame)
        return VD_ERR_UNSUPPORTED;
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
    read_references(self, param, ret_request);
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
        /* With three GStreamer takes one for the future, and hides pictures. */
        {VAConfigAttribEncMaxRefFrames, 2},
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
