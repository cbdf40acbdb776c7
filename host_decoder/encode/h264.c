/* SPDX-License-Identifier: MIT */
#include <va/va.h>

#include "h264.h"

/*
 * What an H.264 encoder has to keep to, so that its pictures can be brought under the app's
 * headers. What breaks a rule marked * is refused (VD_ERR_DECODE), never put out wrong.
 *
 *   one packet a picture, in the order of the pictures, Annex B, as many slices as it likes
 *   SPS and PPS are in the packets, at every IDR picture at the latest (no global header) *
 *   frames only, no MBAFF, no lossless (x264: qp 0), no slice groups, partitions, extensions *
 *   size in macroblocks, chroma format and bit depth are those of encode_tools *
 *   flat scaling lists *
 *   I and P slices only *; ENCODE_IDR gives an IDR picture *, ENCODE_I an I or an IDR picture *;
 *     ENCODE_P may give any
 *   a P picture refers to the picture before, or also to others that the app keeps *; reordered
 *     lists are fine. It need not look at encode_request.reference: after a picture to which
 *     nothing may refer comes an I picture
 *   all slices of a picture have the same PPS, or PPSs that say the same *
 *   CABAC, 8x8 transform, and what else High or Main have, only if encode_tools has them: a PPS of
 *     ours can say otherwise than the app's, but not more than its profile allows *
 *
 * What costs an extra PPS in the stream, harmless to most players, and should be avoided:
 *   CABAC, transform_8x8, chroma QP offsets (x264's psychovisual options change them),
 *     constrained intra prediction (off) that are not those of encode_tools
 *   weighted prediction (x264: weightp=0), if not encode_tools.h264.weighted
 *   deblocking offsets other than 0, or idc 2 (x264: sliced threads), or the filter off, if not
 *     encode_tools.h264.deblocking_control
 *
 * For libx264: scenecut=0 weightp=0 ref=1 bframes=0 deblock=0,0 keyint=infinite sliced-threads=0
 * annexb=1 repeat-headers=1 force-cfr=1 forced-idr=1 tune=zerolatency.
 *
 * Its SEI, access unit delimiters and filler are dropped; level, cropping, VUI, frame_num and POC
 * do not matter.
 */

static uint32_t attributes(int profile, uint32_t *ret_types, uint32_t *ret_values, uint32_t room)
{
    static const struct {
        uint32_t type, value;
    } rows[] = {
        {VAConfigAttribEncPackedHeaders,
         VA_ENC_PACKED_HEADER_SEQUENCE | VA_ENC_PACKED_HEADER_PICTURE | VA_ENC_PACKED_HEADER_SLICE |
             VA_ENC_PACKED_HEADER_MISC | VA_ENC_PACKED_HEADER_RAW_DATA},
        {VAConfigAttribEncMaxRefFrames, 1}, /* list 1: none, so no B pictures */
        {VAConfigAttribEncMaxSlices, 32},
        /* Whole rows, in all slices the same but for the last. */
        {VAConfigAttribEncSliceStructure, VA_ENC_SLICE_STRUCTURE_POWER_OF_TWO_ROWS |
                                              VA_ENC_SLICE_STRUCTURE_EQUAL_ROWS |
                                              VA_ENC_SLICE_STRUCTURE_EQUAL_MULTI_ROWS},
        {VAConfigAttribEncInterlaced, VA_ENC_INTERLACED_NONE},
    };
    uint32_t count = 0;

    (void)profile;
    for (; count < sizeof(rows) / sizeof(rows[0]) && count < room; count++) {
        ret_types[count] = rows[count].type;
        ret_values[count] = rows[count].value;
    }
    return count;
}

const struct encode_codec encode_h264 = {
    .codec = VD_CODEC_H264,
    .read_state_size = sizeof(struct h264_read_state),
    .write_state_size = sizeof(struct h264_write_state),
    .read = h264_read,
    .write = h264_write,
    .attributes = attributes,
};
