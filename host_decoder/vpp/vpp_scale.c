/* SPDX-License-Identifier: MIT */
#include "vpp_scale.h"

#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

/* Below this a second thread costs more than it saves. */
#define SMALL_PICTURE (320 * 240)
/* What the vector code of swscale writes at a time, and wants aligned. */
#define WRITE_BLOCK 64
/*
 * swscale refuses to make pictures 8192 times as large, and its filters of a thousand taps do not
 * add up: another size comes between.
 */
#define STEEP  1024
#define FLAT   256
#define GROW   32
#define SHRINK 128

/* Compared as bytes. */
struct scale_key {
    int from_format, from_width, from_height, from_full;
    int to_format, to_width, to_height, to_full;
    int matrix, flags, chroma[4];
};

struct vpp_scaler {
    struct scale_key key;
    struct SwsContext *sws;
    uint64_t used;
};

static void scaler_destroy(struct vpp_scaler *scaler)
{
    if (scaler)
        sws_freeContext(scaler->sws);
    free(scaler);
}

void vpp_scale_finish(struct vpp *vpp)
{
    for (int i = 0; i < VPP_SCALERS; i++) {
        scaler_destroy(vpp->scalers[i]);
        vpp->scalers[i] = NULL;
    }
}

static int scaler_open(struct vpp_scaler *scaler, int threads)
{
    const struct scale_key *key = &scaler->key;
    const int *table = sws_getCoefficients(key->matrix);
    const struct {
        const char *name;
        int value;
    } options[] = {
        {"srcw", key->from_width},
        {"srch", key->from_height},
        {"src_format", key->from_format},
        {"src_range", key->from_full},
        {"dstw", key->to_width},
        {"dsth", key->to_height},
        {"dst_format", key->to_format},
        {"dst_range", key->to_full},
        {"sws_flags", key->flags},
        {"src_h_chr_pos", key->chroma[0]},
        {"src_v_chr_pos", key->chroma[1]},
        {"dst_h_chr_pos", key->chroma[2]},
        {"dst_v_chr_pos", key->chroma[3]},
        {"threads", (int64_t)key->to_width * key->to_height < SMALL_PICTURE ? 1 : threads},
    };

    scaler->sws = sws_alloc_context();
    if (!scaler->sws)
        return VD_ERR_MEMORY;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (av_opt_set_int(scaler->sws, options[i].name, options[i].value, 0) < 0)
            return VD_ERR_UNSUPPORTED;
    }
    if (sws_init_context(scaler->sws, NULL, NULL) < 0)
        return VD_ERR_UNSUPPORTED;
    /* Refused for some pairs that have nothing to convert. */
    sws_setColorspaceDetails(scaler->sws, table, key->from_full, table, key->to_full, 0, 1 << 16,
                             1 << 16);
    return 0;
}

static int scaler_get(struct vpp *vpp, const struct scale_key *key, struct vpp_scaler **ret_scaler)
{
    struct vpp_scaler *scaler;
    int oldest = 0, err;

    for (int i = 0; i < VPP_SCALERS; i++) {
        scaler = vpp->scalers[i];
        if (!scaler) {
            oldest = i;
            break;
        }
        if (!memcmp(&scaler->key, key, sizeof(*key))) {
            scaler->used = ++vpp->clock;
            *ret_scaler = scaler;
            return 0;
        }
        if (scaler->used < vpp->scalers[oldest]->used)
            oldest = i;
    }
    scaler = calloc(1, sizeof(*scaler));
    if (!scaler)
        return VD_ERR_MEMORY;
    scaler->key = *key;
    err = scaler_open(scaler, vpp->threads);
    if (err) {
        scaler_destroy(scaler);
        return err;
    }
    scaler_destroy(vpp->scalers[oldest]);
    vpp->scalers[oldest] = scaler;
    scaler->used = ++vpp->clock;
    *ret_scaler = scaler;
    return 0;
}

static int sws_matrix(int matrix)
{
    switch (matrix) {
    case 1:
        return SWS_CS_ITU709;
    case 4:
        return SWS_CS_FCC;
    case 7:
        return SWS_CS_SMPTE240M;
    case 9:
        return SWS_CS_BT2020;
    default:
        return SWS_CS_ITU601;
    }
}

/*
 * Unknown places of 4:2:0 chroma are treated as FFmpeg's scale filter does, vertically between
 * lines.
 */
static void chroma_place(const AVFrame *frame, const struct vpp_color *color, int *ret_place)
{
    ret_place[0] = color->chroma_x;
    ret_place[1] = color->chroma_y;
    if (frame->format == AV_PIX_FMT_YUV420P && color->chroma_y == VPP_COLOR_ANYWHERE)
        ret_place[1] = 128;
}

/*
 * fast_bilinear is left out: it writes machine code, which a worker may not. High quality is worth
 * exact rounding and chroma for each pixel of RGB.
 */
static int flags_of(enum vpp_quality quality)
{
    switch (quality) {
    case VPP_QUALITY_FAST:
        return SWS_BILINEAR;
    case VPP_QUALITY_HIGH:
        return SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT;
    default:
        return SWS_BICUBIC;
    }
}

static int step_of(int from, int to)
{
    return to / from >= STEEP ? from * GROW : from / to >= FLAT ? from / SHRINK : from;
}

static int scale_plainly(struct vpp *vpp, const AVFrame *from, const struct vpp_color *from_color,
                         AVFrame *to, const struct vpp_color *to_color, enum vpp_quality quality);

static int scale_twice(struct vpp *vpp, const AVFrame *from, const struct vpp_color *from_color,
                       AVFrame *to, const struct vpp_color *to_color, enum vpp_quality quality)
{
    const int width = step_of(from->width, to->width);
    const int height = step_of(from->height, to->height);
    AVFrame *step = vpp_frame_scratch(vpp, VPP_SCRATCH_STEP, from->format, width, height);
    int err;

    if (!step)
        return VD_ERR_MEMORY;
    err = scale_plainly(vpp, from, from_color, step, from_color, quality);
    return err ? err : scale_plainly(vpp, step, from_color, to, to_color, quality);
}

static int scale_plainly(struct vpp *vpp, const AVFrame *from, const struct vpp_color *from_color,
                         AVFrame *to, const struct vpp_color *to_color, enum vpp_quality quality)
{
    struct vpp_scaler *scaler;
    struct scale_key key;
    int err;

    memset(&key, 0, sizeof(key));
    key.from_format = from->format;
    key.from_width = from->width;
    key.from_height = from->height;
    key.from_full = from_color->full_range || vpp_format_rgb(from->format);
    key.to_format = to->format;
    key.to_width = to->width;
    key.to_height = to->height;
    key.to_full = to_color->full_range || vpp_format_rgb(to->format);
    key.matrix = sws_matrix(to_color->matrix);
    key.flags = flags_of(quality);
    chroma_place(from, from_color, key.chroma);
    chroma_place(to, to_color, key.chroma + 2);
    if (from != vpp->scratch[VPP_SCRATCH_STEP] &&
        (step_of(from->width, to->width) != from->width ||
         step_of(from->height, to->height) != from->height))
        return scale_twice(vpp, from, from_color, to, to_color, quality);
    err = scaler_get(vpp, &key, &scaler);
    if (err)
        return err;
    return sws_scale_frame(scaler->sws, to, from) < 0 ? VD_ERR_UNSUPPORTED : 0;
}

/* Whether swscale may write here: aligned, and what it writes too much hits nothing. */
static bool may_write(const AVFrame *to)
{
    for (int i = 0; i < 4 && to->data[i]; i++) {
        int bytes = vpp_frame_row_bytes(to, i);
        int rounded = (bytes + WRITE_BLOCK - 1) / WRITE_BLOCK * WRITE_BLOCK;

        if ((uintptr_t)to->data[i] % WRITE_BLOCK || to->linesize[i] % WRITE_BLOCK ||
            (bytes != rounded && to->opaque) || rounded > to->linesize[i])
            return false;
    }
    return true;
}

/*
 * swscale takes grey for full range. Where it would have to convert that, grey is luma of a
 * picture without colour.
 */
static int scale_grey(struct vpp *vpp, const AVFrame *from, const struct vpp_color *from_color,
                      AVFrame *to, const struct vpp_color *to_color, enum vpp_quality quality)
{
    AVFrame *planes;
    int err;

    if (from->format == AV_PIX_FMT_GRAY8) {
        planes = vpp_frame_scratch(vpp, VPP_SCRATCH_GREY_FROM, AV_PIX_FMT_YUV444P, from->width,
                                   from->height);
        if (!planes)
            return VD_ERR_MEMORY;
        vpp_frame_shuffle(planes, from, false);
        return vpp_scale(vpp, planes, from_color, to, to_color, quality);
    }
    planes = vpp_frame_scratch(vpp, VPP_SCRATCH_GREY_TO, AV_PIX_FMT_YUV420P, to->width, to->height);
    if (!planes)
        return VD_ERR_MEMORY;
    err = vpp_scale(vpp, from, from_color, planes, to_color, quality);
    if (!err)
        vpp_frame_shuffle(to, planes, false);
    return err;
}

int vpp_scale(struct vpp *vpp, const AVFrame *from, const struct vpp_color *from_color, AVFrame *to,
              const struct vpp_color *to_color, enum vpp_quality quality)
{
    const bool same = vpp_format_rgb(from->format) || vpp_format_rgb(to->format) ||
                      from_color->full_range == to_color->full_range;
    const bool from_grey = from->format == AV_PIX_FMT_GRAY8;
    const bool to_grey = to->format == AV_PIX_FMT_GRAY8;
    AVFrame *beside;
    int err;

    if (same && vpp_frame_shuffle(to, from, to_color->full_range))
        return 0;
    if (from_grey != to_grey || (from_grey && !same))
        return scale_grey(vpp, from, from_color, to, to_color, quality);
    if (may_write(to))
        return scale_plainly(vpp, from, from_color, to, to_color, quality);
    beside = vpp_frame_scratch(vpp, VPP_SCRATCH_PLACE, to->format, to->width, to->height);
    if (!beside)
        return VD_ERR_MEMORY;
    err = scale_plainly(vpp, from, from_color, beside, to_color, quality);
    if (!err)
        vpp_frame_copy(to, beside);
    return err;
}
