/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <va/va.h>
#include <va/va_enc_av1.h>
#include <viaduct/errors.h>

#include "av1_rewrite.h"
#include "encode_attribute.h"

/*
 * AV1: if the app made a sequence header (a packed one), the stream has that, as it is in the app's
 * container already, and the encoder's frames are brought under it: each frame header is read under
 * the encoder's sequence header and written under the app's (av1_frame.c). That works if blocks are
 * read alike under both: the encoder is told to use no tool that the app's header has not
 * (encode_tools.av1). The app's frame headers are not used: nearly every field of them steers how
 * the tiles are read, and the encoder has made its own choice. Metadata OBUs are passed on.
 *
 * An app without a sequence header gets the encoder's temporal units as they are.
 */

/* In VAConfigAttribEncAV1Ext1 and Ext2, which libva before 2.16 has no unions for. */
#define EXT1_ALL_FILTERS    0x1fu
#define EXT2_TX_MODES(mask) ((uint32_t)(mask) << 4)

struct av1_state {
    struct encode_misc_state misc;
    uint32_t bit_depth;
    uint32_t intra_period;
    bool has_header;
    struct av1_sequence header; /* the app's newest */
};

static void read_header(struct av1_state *self, const struct encode_picture *picture,
                        struct encode_request *request)
{
    const struct av1_sequence *s = &self->header;
    struct av1_obu obu;

    if (request->type == ENCODE_IDR &&
        av1_rewrite_find(picture->headers, picture->header_count, &self->header, &obu))
        self->has_header = true;
    request->header_count = picture->header_count;
    if (picture->header_count)
        memcpy(request->headers, picture->headers,
               picture->header_count * sizeof(request->headers[0]));
    request->packed_headers = picture->packed_headers;
    if (!self->has_header)
        return;
    /* FFmpeg says it only here. */
    request->tools.bit_depth = s->bit_depth;
    request->tools.av1.header = true;
    request->tools.av1.superblock_128 = s->use_128x128_superblock;
    request->tools.av1.filter_intra = s->enable_filter_intra;
    request->tools.av1.intra_edge_filter = s->enable_intra_edge_filter;
    request->tools.av1.interintra_compound = s->enable_interintra_compound;
    request->tools.av1.masked_compound = s->enable_masked_compound;
    request->tools.av1.warped_motion = s->enable_warped_motion;
    request->tools.av1.dual_filter = s->enable_dual_filter;
    request->tools.av1.order_hint = s->enable_order_hint;
    request->tools.av1.jnt_comp = s->enable_jnt_comp;
    request->tools.av1.cdef = s->enable_cdef;
    request->tools.av1.restoration = s->enable_restoration;
}

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
    read_header(self, picture, ret_request);
    return 0;
}

static uint32_t av1_attributes(int profile, uint32_t *ret_types, uint32_t *ret_values,
                               uint32_t room)
{
    static const struct encode_attribute table[] = {
        {VAConfigAttribEncPackedHeaders,
         VA_ENC_PACKED_HEADER_SEQUENCE | VA_ENC_PACKED_HEADER_PICTURE | VA_ENC_PACKED_HEADER_MISC},
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
    .write_state_size = sizeof(struct av1_rewrite),
    .read = av1_read,
    .write = av1_rewrite_write,
    .attributes = av1_attributes,
};
