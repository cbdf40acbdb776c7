/* SPDX-License-Identifier: MIT */
#include <va/va.h>

#include "hevc_rewrite.h"

/*
 * H.265: the app makes parameter sets and SEI (packed headers), the encoder makes slices, and other
 * parameter sets. What the app made is what muxers have put into files already, so it stays as it
 * is, and the slices are brought under it: each slice segment header is read under the encoder's
 * sets and written under the app's (hevc_head.c), with the app's picture order counts and a
 * reference picture set of its own. The data behind the header is not touched.
 *
 * That only works if both SPS agree in what slice data is parsed and decoded with: coded size, bit
 * depth, block sizes and depths, AMP, strong intra smoothing; SAO and temporal vectors may be off
 * in slices where the SPS has them on. If they do not, the packet is refused (VD_ERR_DECODE). If
 * only the PPS differ, the encoder's is sent, too, under an id that the app has not used, and
 * slices refer to that. If the app packs no SPS, the encoder's sets are sent as they are.
 *
 * What an HEVC encoder has to keep to
 *
 *   of the request's tools, always: width, height (multiples of min_cb are its own business, if
 *   it rounds them up to the same), bit_depth, log2_ctb, log2_min_cb, log2_min_tb, log2_max_tb,
 *   depth_inter, depth_intra, amp, strong_intra; sao off if `sao` is off; no temporal vectors
 *   of them, to save an extra PPS: sign_hiding, transform_skip, cu_qp_delta with its depth, chroma
 *   offsets, constrained_intra, weighted_pred, transquant_bypass; no wavefront
 *   besides: no B slices (P with one list, or B with past pictures only), no delay, one reference,
 *   no scaling lists, tiles, PCM, long-term references, or modified lists; parameter sets in front
 *   of each IDR picture; one PPS. I pictures may be IDR ones. A picture that should be P may be I.
 */

static const VAConfigAttribValEncHEVCFeatures hevc_features = {
    .bits =
        {
            .sao = VA_FEATURE_SUPPORTED,
            .strong_intra_smoothing = VA_FEATURE_SUPPORTED,
            .cu_qp_delta = VA_FEATURE_SUPPORTED,
        },
};

static const VAConfigAttribValEncHEVCBlockSizes hevc_block_sizes = {
    .bits =
        {
            .log2_max_coding_tree_block_size_minus3 = 2,
            .log2_min_coding_tree_block_size_minus3 = 2,
            .log2_min_luma_coding_block_size_minus3 = 0,
            .log2_max_luma_transform_block_size_minus2 = 3,
            .log2_min_luma_transform_block_size_minus2 = 0,
        },
};

static uint32_t hevc_attributes(int profile, uint32_t *ret_types, uint32_t *ret_values,
                                uint32_t room)
{
    const VAConfigAttrib attributes[] = {
        {VAConfigAttribEncPackedHeaders,
         VA_ENC_PACKED_HEADER_SEQUENCE | VA_ENC_PACKED_HEADER_PICTURE | VA_ENC_PACKED_HEADER_SLICE |
             VA_ENC_PACKED_HEADER_MISC | VA_ENC_PACKED_HEADER_RAW_DATA},
        /* List 0 and, in the upper half, list 1: no app makes B pictures then. */
        {VAConfigAttribEncMaxRefFrames, 1},
        {VAConfigAttribEncMaxSlices, 32},
        {VAConfigAttribEncSliceStructure, VA_ENC_SLICE_STRUCTURE_ARBITRARY_ROWS},
        /*
         * Without BI_NOT_EMPTY ffmpeg and GStreamer make P slices of P pictures; with FUTURE and
         * an empty list 1 ffmpeg gives up.
         */
        {VAConfigAttribPredictionDirection, VA_PREDICTION_DIRECTION_PREVIOUS},
        {VAConfigAttribEncHEVCFeatures, hevc_features.value},
        {VAConfigAttribEncHEVCBlockSizes, hevc_block_sizes.value},
    };
    uint32_t count = 0;

    (void)profile;
    for (; count < room && count < sizeof(attributes) / sizeof(attributes[0]); count++) {
        ret_types[count] = attributes[count].type;
        ret_values[count] = attributes[count].value;
    }
    return count;
}

const struct encode_codec encode_hevc = {
    .codec = VD_CODEC_HEVC,
    .read_state_size = sizeof(struct hevc_params_state),
    .write_state_size = sizeof(struct hevc_rewrite),
    .read = hevc_params_read,
    .write = hevc_rewrite_write,
    .attributes = hevc_attributes,
};
