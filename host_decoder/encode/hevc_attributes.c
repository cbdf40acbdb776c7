/* SPDX-License-Identifier: MIT */
#include "hevc_attributes.h"

#include <va/va.h>

#include <viaduct/errors.h>

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

static uint32_t feature(bool on)
{
    return on ? VA_FEATURE_REQUIRED : VA_FEATURE_NOT_SUPPORTED;
}

int hevc_attributes_probe(const uint8_t *packet, size_t size, uint32_t *ret_features,
                          uint32_t *ret_block_sizes)
{
    struct hevc_unit_reader reader = {.data = packet, .size = size, .escaped = true};
    VAConfigAttribValEncHEVCBlockSizes sizes = {.value = 0};
    VAConfigAttribValEncHEVCFeatures features = {.value = 0};
    bool has_sps = false, has_pps = false;
    struct hevc_set sets[HEVC_SETS_RPS];
    struct hevc_sps sps = {0};
    struct hevc_pps pps = {0};
    struct hevc_unit unit;

    while (hevc_unit_next(&reader, &unit)) {
        if (unit.type == HEVC_NAL_SPS)
            has_sps = hevc_sets_read_sps(unit.data, unit.size, true, sets, &sps) == 0;
        else if (unit.type == HEVC_NAL_PPS)
            has_pps = hevc_sets_read_pps(unit.data, unit.size, true, &pps) == 0;
    }
    if (!has_sps || !has_pps)
        return VD_ERR_DECODE;
    if (hevc_sets_check(&sps) || sps.depth_inter > 3 || sps.depth_intra > 3)
        return VD_ERR_UNSUPPORTED;
    sizes.bits.log2_max_coding_tree_block_size_minus3 = (sps.log2_ctb - 3u) & 3;
    sizes.bits.log2_min_coding_tree_block_size_minus3 = (sps.log2_ctb - 3u) & 3;
    sizes.bits.log2_min_luma_coding_block_size_minus3 = (sps.log2_min_cb - 3u) & 3;
    sizes.bits.log2_max_luma_transform_block_size_minus2 = (sps.log2_max_tb - 2u) & 3;
    sizes.bits.log2_min_luma_transform_block_size_minus2 = (sps.log2_min_tb - 2u) & 3;
    sizes.bits.max_max_transform_hierarchy_depth_inter = sps.depth_inter & 3u;
    sizes.bits.min_max_transform_hierarchy_depth_inter = sps.depth_inter & 3u;
    sizes.bits.max_max_transform_hierarchy_depth_intra = sps.depth_intra & 3u;
    sizes.bits.min_max_transform_hierarchy_depth_intra = sps.depth_intra & 3u;
    features.bits.amp = feature(sps.amp) & 3;
    features.bits.sao = feature(sps.sao) & 3;
    features.bits.temporal_mvp = feature(sps.temporal_mvp) & 3;
    features.bits.strong_intra_smoothing = feature(sps.strong_intra) & 3;
    features.bits.sign_data_hiding = feature(pps.sign_hiding) & 3;
    features.bits.constrained_intra_pred = feature(pps.constrained_intra) & 3;
    features.bits.transform_skip = feature(pps.transform_skip) & 3;
    features.bits.cu_qp_delta = feature(pps.cu_qp_delta) & 3;
    features.bits.transquant_bypass = feature(pps.transquant_bypass) & 3;
    *ret_features = features.value;
    *ret_block_sizes = sizes.value;
    return 0;
}
