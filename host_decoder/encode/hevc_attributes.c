/* SPDX-License-Identifier: MIT */
#include "hevc_attributes.h"

#include <va/va.h>

#include "hevc_sets.h"
#include "hevc_unit.h"

/* EncMaxSlices: enough for a slice a row of tree blocks at 1080p; encoders may make fewer. */
#define MAX_SLICES 32

/*
 * SAO: slices may do without, so it costs nothing to allow it. Temporal vectors depend on picture
 * order counts, and those are the app's. AMP, sign hiding and transform skip are what fast presets
 * leave out.
 */
static const VAConfigAttribValEncHEVCFeatures default_features = {
    .bits =
        {
            .sao = VA_FEATURE_SUPPORTED,
            .strong_intra_smoothing = VA_FEATURE_SUPPORTED,
            .cu_qp_delta = VA_FEATURE_SUPPORTED,
        },
};

/* CTU 32, CB from 8, TB 4 to 32, depths 0: libx265's `superfast`. */
static const VAConfigAttribValEncHEVCBlockSizes default_block_sizes = {
    .bits =
        {
            .log2_max_coding_tree_block_size_minus3 = 2,
            .log2_min_coding_tree_block_size_minus3 = 2,
            .log2_max_luma_transform_block_size_minus2 = 3,
        },
};

uint32_t hevc_attributes(int profile, uint32_t *ret_types, uint32_t *ret_values, uint32_t room)
{
    const VAConfigAttrib attributes[] = {
        {VAConfigAttribEncPackedHeaders,
         VA_ENC_PACKED_HEADER_SEQUENCE | VA_ENC_PACKED_HEADER_PICTURE | VA_ENC_PACKED_HEADER_SLICE |
             VA_ENC_PACKED_HEADER_MISC | VA_ENC_PACKED_HEADER_RAW_DATA},
        /* One in list 0, none in list 1 (the upper half): ffmpeg and GStreamer make no B then. */
        {VAConfigAttribEncMaxRefFrames, 1},
        {VAConfigAttribEncMaxSlices, MAX_SLICES},
        {VAConfigAttribEncSliceStructure, VA_ENC_SLICE_STRUCTURE_ARBITRARY_ROWS},
        /*
         * P pictures have P slices. With BI_NOT_EMPTY they would be B slices of two equal lists;
         * with that or FUTURE and no list 1 both apps refuse to start.
         */
        {VAConfigAttribPredictionDirection, VA_PREDICTION_DIRECTION_PREVIOUS},
        {VAConfigAttribEncHEVCFeatures, default_features.value},
        {VAConfigAttribEncHEVCBlockSizes, default_block_sizes.value},
    };
    uint32_t count = 0;

    (void)profile;
    for (; count < room && count < sizeof(attributes) / sizeof(attributes[0]); count++) {
        ret_types[count] = attributes[count].type;
        ret_values[count] = attributes[count].value;
    }
    return count;
}
