/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>

#include "encoder.h"
#include "encoder_list.h"

/* What can be encoded here, as HELLO tells it. */

struct profile {
    uint32_t profile;
    enum vd_codec codec;
    uint32_t bit_depth, chroma; /* chroma_format_idc */
    uint32_t formats[VD_MAX_CAP_FORMATS];
};

/*
 * Entry points of a codec: all lead to the same encoder. "Low power" is where programs look that
 * were written for GPUs whose fixed functions are there alone (newer Intel ones: AV1 has no other),
 * and where GStreamer has elements of their own; VP8, MPEG-2 and JPEG are nowhere there.
 */
static const uint32_t entrypoints[VD_CODEC_COUNT][2] = {
    [VD_CODEC_H264] = {VAEntrypointEncSlice, VAEntrypointEncSliceLP},
    [VD_CODEC_HEVC] = {VAEntrypointEncSlice, VAEntrypointEncSliceLP},
    [VD_CODEC_VP9] = {VAEntrypointEncSlice, VAEntrypointEncSliceLP},
    [VD_CODEC_AV1] = {VAEntrypointEncSlice, VAEntrypointEncSliceLP},
    [VD_CODEC_VP8] = {VAEntrypointEncSlice},
    [VD_CODEC_MPEG2] = {VAEntrypointEncSlice},
    [VD_CODEC_JPEG] = {VAEntrypointEncPicture},
};

/* What encoder_input.c reads; what costs nothing first. */
#define RGB    VA_FOURCC_BGRX, VA_FOURCC_BGRA, VA_FOURCC_RGBX, VA_FOURCC_RGBA
#define BITS_8 VA_FOURCC_NV12, VA_FOURCC_I420, VA_FOURCC_YV12, VA_FOURCC_YUY2, VA_FOURCC_UYVY, RGB

static const struct profile profiles[] = {
    {VAProfileH264ConstrainedBaseline, VD_CODEC_H264, 8, 1, {BITS_8}},
    {VAProfileH264Main, VD_CODEC_H264, 8, 1, {BITS_8}},
    {VAProfileH264High, VD_CODEC_H264, 8, 1, {BITS_8}},
    {VAProfileHEVCMain, VD_CODEC_HEVC, 8, 1, {BITS_8}},
    {VAProfileHEVCMain10, VD_CODEC_HEVC, 10, 1, {VA_FOURCC_P010, BITS_8}},
    {VAProfileHEVCMain422_10,
     VD_CODEC_HEVC,
     10,
     2,
     {VA_FOURCC_Y210, VA_FOURCC_422H, VA_FOURCC_YUY2, VA_FOURCC_UYVY}},
    {VAProfileHEVCMain444,
     VD_CODEC_HEVC,
     8,
     3,
     {VA_FOURCC_444P, VA_FOURCC_XYUV, VA_FOURCC_AYUV, RGB}},
    {VAProfileHEVCMain444_10,
     VD_CODEC_HEVC,
     10,
     3,
     {VA_FOURCC_Y410, VA_FOURCC_444P, VA_FOURCC_XYUV, VA_FOURCC_AYUV, RGB}},
    {VAProfileVP8Version0_3, VD_CODEC_VP8, 8, 1, {BITS_8}},
    {VAProfileVP9Profile0, VD_CODEC_VP9, 8, 1, {BITS_8}},
    {VAProfileVP9Profile2, VD_CODEC_VP9, 10, 1, {VA_FOURCC_P010, BITS_8}},
    {VAProfileAV1Profile0, VD_CODEC_AV1, 8, 1, {BITS_8, VA_FOURCC_P010}},
    {VAProfileMPEG2Simple, VD_CODEC_MPEG2, 8, 1, {BITS_8}},
    {VAProfileMPEG2Main, VD_CODEC_MPEG2, 8, 1, {BITS_8}},
    {VAProfileJPEGBaseline,
     VD_CODEC_JPEG,
     8,
     0,
     {BITS_8, VA_FOURCC_422H, VA_FOURCC_444P, VA_FOURCC_Y800}},
};

static void put(struct vd_cap *cap, uint32_t type, uint32_t value)
{
    if (cap->attribute_count == VD_MAX_CAP_ATTRIBUTES)
        return;
    cap->attributes[cap->attribute_count] = type;
    cap->values[cap->attribute_count++] = value;
}

static void put_jpeg(struct vd_cap *cap)
{
    static const VAConfigAttribValEncJPEG jpeg = {
        .bits = {.max_num_components = 3,
                 .max_num_scans = 1,
                 .max_num_huffman_tables = 2,
                 .max_num_quantization_tables = 2},
    };

    put(cap, VAConfigAttribEncJPEG, jpeg.value);
    put(cap, VAConfigAttribRateControl, VA_RC_CQP);
}

/* VP8 and VP9 know four and eight segments, one of which is the rest of the picture. */
static uint32_t regions(enum vd_codec codec)
{
    return codec == VD_CODEC_VP8 ? 3 : codec == VD_CODEC_VP9 ? 7 : VD_MAX_ROI;
}

static void put_encoder(struct vd_cap *cap, const struct encoder_row *row)
{
    put(cap, VAConfigAttribRateControl, row->rates);
    put(cap, VAConfigAttribEncQualityRange, ENCODE_QUALITY_LEVELS);
    put(cap, VAConfigAttribEncMaxSlices, row->flags & ENCODER_SLICES ? ENCODER_MAX_SLICES : 1);
    if (row->flags & ENCODER_SLICES)
        put(cap, VAConfigAttribEncSliceStructure, VA_ENC_SLICE_STRUCTURE_EQUAL_ROWS);
    /* Its rate control is told of pictures that the app left out. */
    if (row->flags & ENCODER_RATE)
        put(cap, VAConfigAttribEncSkipFrame, 1);
    if (row->flags & ENCODER_ROI) {
        VAConfigAttribValEncROI roi = {
            .bits = {.num_roi_regions = regions(row->codec),
                     .roi_rc_priority_support = 1,
                     .roi_rc_qp_delta_support = 1},
        };

        put(cap, VAConfigAttribEncROI, roi.value);
    }
    if (row->flags & ENCODER_LAYERS) {
        VAConfigAttribValEncRateControlExt layers = {
            .bits = {.max_num_temporal_layers_minus1 = ENCODE_TEMPORAL_LAYERS - 1},
        };

        put(cap, VAConfigAttribEncRateControlExt, layers.value);
    }
    if (row->flags & ENCODER_REFRESH)
        put(cap, VAConfigAttribEncIntraRefresh,
            VA_ENC_INTRA_REFRESH_ROLLING_COLUMN | VA_ENC_INTRA_REFRESH_P_FRAME);
}

/* The codec's own attributes come last, and not those that are there. */
static void put_codec(struct vd_cap *cap, const struct encode_codec *codec,
                      const struct encoder_row *row)
{
    uint32_t types[VD_MAX_CAP_ATTRIBUTES], values[VD_MAX_CAP_ATTRIBUTES];
    uint32_t count = codec->attributes ? codec->attributes((int)cap->profile, types, values,
                                                           VD_MAX_CAP_ATTRIBUTES)
                                       : 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = 0;

        /* How a codec cuts pictures is of use to encoders that do. */
        if ((!row || !(row->flags & ENCODER_SLICES)) &&
            (types[i] == VAConfigAttribEncMaxSlices || types[i] == VAConfigAttribEncSliceStructure))
            continue;

        while (j < cap->attribute_count && cap->attributes[j] != types[i])
            j++;
        if (j == cap->attribute_count)
            put(cap, types[i], values[i]);
        else
            cap->values[j] = values[i];
    }
}

static bool fill(const struct profile *profile, uint32_t entrypoint, const char *family,
                 struct vd_cap *ret_cap)
{
    const struct encode_codec *codec = encode_codec_find(profile->codec);
    const struct encoder_row *row = NULL;
    struct vd_cap cap = {
        .profile = profile->profile,
        .entrypoint = entrypoint,
        .min_width = 16,
        .min_height = 16,
        .max_width = VD_MAX_WIDTH,
        .max_height = VD_MAX_HEIGHT,
    };

    if (!codec)
        return false;
    if (profile->codec == VD_CODEC_JPEG) {
        if (family)
            return false;
        put_jpeg(&cap);
    } else {
        row = encoder_list_find(profile->codec, profile->bit_depth, profile->chroma, family, NULL);
        if (!row || (family && !encoder_list_family(row)))
            return false;
        cap.min_width = cap.min_height = row->min_size;
        cap.max_width = cap.max_height = row->max_size;
        put_encoder(&cap, row);
    }
    strncpy((char *)cap.engine, row ? row->name : "libjpeg-turbo", sizeof(cap.engine) - 1);
    for (int i = 0; i < VD_MAX_CAP_FORMATS && profile->formats[i]; i++) {
        const struct format_info *format = format_find(profile->formats[i]);

        /* AV1 has one profile for both depths. */
        if (format->sample_bytes > 1 &&
            !encoder_list_find(profile->codec, 10, profile->chroma, family, NULL))
            continue;
        cap.formats[cap.format_count++] = profile->formats[i];
        cap.rt_formats |= format->rt_format;
    }
    put_codec(&cap, codec, row);
    *ret_cap = cap;
    return true;
}

uint32_t encoder_caps(const char *family, struct vd_cap *ret_caps, uint32_t room)
{
    uint32_t n = 0;

    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
        const uint32_t *points = entrypoints[profiles[i].codec];

        for (int j = 0; j < 2 && points[j] && n < room; j++)
            n += fill(&profiles[i], points[j], family, &ret_caps[n]);
    }
    return n;
}

const char *encoder_name(enum vd_codec codec, const char *family)
{
    const struct encoder_row *row;

    if (!encode_codec_find(codec))
        return NULL;
    if (codec == VD_CODEC_JPEG)
        return "libjpeg-turbo";
    row = encoder_list_find(codec, 8, 1, family, NULL);
    return row ? row->name : NULL;
}
