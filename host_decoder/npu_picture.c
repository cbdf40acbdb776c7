/* SPDX-License-Identifier: MIT */
#include "npu_picture.h"

#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "unpack.h"
#include "vpp/vpp_format.h"

/* Parts of other sizes each want a scaler; so many are kept. */
#define PICTURE_SCALERS 8
/* Pixels of an item at most: what is kept of them is nobody's account. */
#define PICTURE_MOST (1 << 24)
/* libswscale reads a little beyond rows and planes of its input. */
#define PICTURE_SLACK 64

struct scaler {
    struct SwsContext *sws;
    int from_width, from_height, to_width, to_height, flags;
    uint32_t matrix, full_range;
    enum AVPixelFormat format;
    uint64_t used;
};

struct npu_picture {
    struct scaler scalers[PICTURE_SCALERS];
    uint64_t uses;
    uint8_t *scaled; /* RGB, a part in the tensor's size */
    size_t scaled_size;
    uint8_t *planes; /* of formats that libswscale does not know */
    size_t planes_size;
};

/* A part of the picture and where it goes in the tensor. */
struct fitted {
    int x, y, width, height;             /* of the picture */
    int to_x, to_y, to_width, to_height; /* of the tensor */
};

/* A picture as libswscale takes it. */
struct source {
    enum AVPixelFormat format;
    const uint8_t *data[4];
    int stride[4];
    int step[4]; /* bytes from a sample to the next, of each plane */
    int shift_w, shift_h;
};

static int __attribute__((format(printf, 4, 5)))
fail(char *error, size_t size, int err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, size, format, args);
    va_end(args);
    return err;
}

static int grow(uint8_t **memory, size_t *size, size_t wanted)
{
    uint8_t *grown;

    if (wanted <= *size)
        return 0;
    grown = realloc(*memory, wanted);
    if (!grown)
        return VD_ERR_MEMORY;
    *memory = grown;
    *size = wanted;
    return 0;
}

void npu_picture_destroy(struct npu_picture *b)
{
    if (!b)
        return;
    for (int i = 0; i < PICTURE_SCALERS; i++)
        sws_freeContext(b->scalers[i].sws);
    free(b->scaled);
    free(b->planes);
    free(b);
}

/* Packed formats of VA-API that become planes first. */
static int unpack(struct npu_picture *b, const struct vpp_format *format,
                  const struct pixels *pixels, struct source *ret)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(format->planar);
    int sample = desc->comp[0].depth > 8 ? 2 : 1;
    size_t stride = ((size_t)pixels->width * (size_t)sample + 63) / 64 * 64;
    size_t plane = stride * pixels->height;
    uint8_t *planes[3];
    int strides[3] = {(int)stride, (int)stride, (int)stride};

    if (grow(&b->planes, &b->planes_size, 3 * plane + PICTURE_SLACK))
        return VD_ERR_MEMORY;
    for (size_t i = 0; i < 3; i++)
        planes[i] = b->planes + i * plane;
    unpack_run(pixels, planes, strides);
    ret->format = format->planar;
    for (int i = 0; i < 3; i++) {
        ret->data[i] = planes[i];
        ret->stride[i] = strides[i];
    }
    return 0;
}

static int open_source(struct npu_picture *b, const struct pixels *pixels, struct source *ret)
{
    const struct vpp_format *format = vpp_format_find(pixels->format->fourcc);
    const AVPixFmtDescriptor *desc;
    int err = 0;

    *ret = (struct source){0};
    if (!format)
        return VD_ERR_UNSUPPORTED;
    if (format->direct == AV_PIX_FMT_NONE) {
        err = unpack(b, format, pixels, ret);
    } else {
        ret->format = format->direct;
        for (int i = 0; i < av_pix_fmt_count_planes(format->direct); i++) {
            int plane = format->order[i];

            ret->data[i] = pixels->bytes + pixels->layout->offset[plane];
            ret->stride[i] = (int)pixels->layout->pitch[plane];
        }
    }
    if (err)
        return err;
    desc = av_pix_fmt_desc_get(ret->format);
    /* Of YUY2 and its kin luma comes first: parts begin at whole pairs of pixels. */
    for (int i = desc->nb_components - 1; i >= 0; i--)
        ret->step[desc->comp[i].plane] = desc->comp[i].step;
    ret->shift_w = desc->log2_chroma_w;
    ret->shift_h = desc->log2_chroma_h;
    return 0;
}

static const int sws_filters[VD_NPU_FILTERS] = {
    [VD_NPU_FILTER_LINEAR] = SWS_BILINEAR,
    [VD_NPU_FILTER_NEAREST] = SWS_POINT,
    [VD_NPU_FILTER_AREA] = SWS_AREA,
    [VD_NPU_FILTER_CUBIC] = SWS_BICUBIC,
};

static struct SwsContext *get_scaler(struct npu_picture *b, const struct scaler *like)
{
    struct scaler *s = &b->scalers[0];
    int range = (int)like->full_range;

    for (int i = 0; i < PICTURE_SCALERS; i++) {
        struct scaler *at = &b->scalers[i];

        if (at->sws && at->from_width == like->from_width && at->from_height == like->from_height &&
            at->to_width == like->to_width && at->to_height == like->to_height &&
            at->flags == like->flags && at->matrix == like->matrix &&
            at->full_range == like->full_range && at->format == like->format) {
            at->used = ++b->uses;
            return at->sws;
        }
        s = at->used < s->used ? at : s;
    }
    sws_freeContext(s->sws);
    *s = *like;
    s->used = ++b->uses;
    s->sws = sws_getContext(like->from_width, like->from_height, like->format, like->to_width,
                            like->to_height, AV_PIX_FMT_RGB24, like->flags, NULL, NULL, NULL);
    /* Refused where there is nothing to convert: RGB. */
    if (s->sws)
        sws_setColorspaceDetails(s->sws, sws_getCoefficients((int)like->matrix), range,
                                 sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    return s->sws;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* At least one, at most `most`. */
static int rounded(double x, int most)
{
    int n = (int)(x + 0.5);

    return n < 1 ? 1 : smaller(n, most);
}

/* Chroma samples are not cut: parts begin and end between them. */
static void align(int *at, int *size, int shift, int most)
{
    int mask = (1 << shift) - 1, end = smaller((*at + *size + mask) & ~mask, most);

    *at &= ~mask;
    *size = end - *at;
}

static struct fitted fit(const struct pictures_input *in, const struct vd_npu_roi *roi, int width,
                         int height, const struct source *source)
{
    struct fitted f = {(int)roi->x, (int)roi->y, (int)roi->width, (int)roi->height,
                       0,           0,           width,           height};
    double scale = fmin((double)width / f.width, (double)height / f.height);

    switch (in->how->fit) {
    case VD_NPU_FIT_LETTERBOX:
    case VD_NPU_FIT_CORNER:
        f.to_width = rounded(f.width * scale, width);
        f.to_height = rounded(f.height * scale, height);
        if (in->how->fit == VD_NPU_FIT_LETTERBOX) {
            f.to_x = (width - f.to_width) / 2;
            f.to_y = (height - f.to_height) / 2;
        }
        break;
    case VD_NPU_FIT_CROP:
        scale = fmax((double)width / f.width, (double)height / f.height);
        f.width = rounded(width / scale, f.width);
        f.height = rounded(height / scale, f.height);
        f.x += ((int)roi->width - f.width) / 2;
        f.y += ((int)roi->height - f.height) / 2;
        break;
    default:
        break;
    }
    align(&f.x, &f.width, source->shift_w, (int)in->width);
    align(&f.y, &f.height, source->shift_h, (int)in->height);
    return f;
}

/* The part, scaled into RGB of the tensor's size. */
static int scale(struct npu_picture *b, const struct pictures_input *in,
                 const struct source *source, const struct fitted *f, int width, int height)
{
    struct scaler like = {
        .from_width = f->width,
        .from_height = f->height,
        .to_width = f->to_width,
        .to_height = f->to_height,
        .flags = sws_filters[in->how->filter] | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT |
                 SWS_FULL_CHR_H_INP,
        .matrix = in->how->matrix     ? in->how->matrix
                  : in->height >= 720 ? 1
                                      : 6,
        .full_range = in->how->full_range,
        .format = source->format,
    };
    size_t stride = 3 * (size_t)width;
    struct SwsContext *sws = get_scaler(b, &like);
    const uint8_t *from[4] = {0};
    uint8_t *to = b->scaled + stride * (size_t)f->to_y + 3 * (size_t)f->to_x;

    if (!sws)
        return VD_ERR_UNSUPPORTED;
    for (int i = 0; i < 4 && source->data[i]; i++) {
        bool chroma = i == 1 || i == 2;
        int x = f->x >> (chroma ? source->shift_w : 0);
        int y = f->y >> (chroma ? source->shift_h : 0);

        from[i] =
            source->data[i] + (ptrdiff_t)y * source->stride[i] + (ptrdiff_t)x * source->step[i];
    }
    if (f->to_width != width || f->to_height != height)
        memset(b->scaled, (int)in->how->pad, stride * (size_t)height);
    return sws_scale(sws, from, source->stride, 0, f->height, &to, (const int[]){(int)stride}) ==
                   f->to_height
               ? 0
               : VD_ERR_INTERNAL;
}

struct numbers {
    float mean, scale;
    uint32_t dtype;
};

static float bounded(float x, float least, float most)
{
    return x > least ? x < most ? x : most : least;
}

static void put(const struct numbers *n, void *to, size_t at, float sample)
{
    float value = (sample - n->mean) * n->scale;

    switch (n->dtype) {
    case ONNX_F32:
        ((float *)to)[at] = value;
        break;
    case ONNX_F16:
        ((uint16_t *)to)[at] = onnx_float_to_half(value);
        break;
    case ONNX_I8:
        ((int8_t *)to)[at] = (int8_t)lrintf(bounded(value, -128, 127));
        break;
    default:
        ((uint8_t *)to)[at] = (uint8_t)lrintf(bounded(value, 0, 255));
    }
}

/* A channel of an item; `step` elements from one to the next. */
static void channel(const uint8_t *rgb, size_t pixels, int which, const struct numbers *n, void *to,
                    size_t at, size_t step)
{
    float table[256];

    if (which < 3 && n->dtype == ONNX_F32) {
        for (int i = 0; i < 256; i++)
            table[i] = ((float)i - n->mean) * n->scale;
        for (size_t i = 0; i < pixels; i++)
            ((float *)to)[at + i * step] = table[rgb[3 * i + (size_t)which]];
        return;
    }
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *p = rgb + 3 * i;

        put(n, to, at + i * step,
            which < 3 ? p[which] : 0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2]);
    }
}

static float as_float(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void fill(const struct npu_picture *b, const struct pictures_input *in, uint32_t item,
                 size_t pixels)
{
    size_t channels = in->how->order == VD_NPU_ORDER_GRAY ? 1 : 3, first = item * pixels * channels;

    for (size_t c = 0; c < channels; c++) {
        struct numbers n = {as_float(in->how->mean[c]), as_float(in->how->scale[c]), in->dtype};
        int which = channels == 1 ? 3 : in->how->order == VD_NPU_ORDER_BGR ? 2 - (int)c : (int)c;

        if (in->how->layout == VD_NPU_LAYOUT_NCHW)
            channel(b->scaled, pixels, which, &n, in->to, first + c * pixels, 1);
        else
            channel(b->scaled, pixels, which, &n, in->to, first + c, channels);
    }
}

static bool known_matrix(uint32_t matrix)
{
    return !matrix || matrix == 1 || (matrix >= 4 && matrix <= 7) || matrix == 9;
}

static int check(const struct pictures_input *in, char *error, size_t size)
{
    const struct vd_npu_picture *how = in->how;
    bool nchw = how->layout == VD_NPU_LAYOUT_NCHW;
    int64_t channels = how->order == VD_NPU_ORDER_GRAY ? 1 : 3;
    uint32_t items = how->rois ? how->rois : 1;

    if (how->fit >= VD_NPU_FITS || how->filter >= VD_NPU_FILTERS || how->order >= VD_NPU_ORDERS ||
        how->layout >= VD_NPU_LAYOUTS || how->pad > 255 || how->full_range > 1 ||
        !known_matrix(how->matrix))
        return fail(error, size, VD_ERR_PARAMETER, "this host cannot make that of a picture");
    if (in->dims[nchw ? 1 : 3] != channels || in->dims[0] != items)
        return fail(error, size, VD_ERR_PARAMETER,
                    "a picture makes %u items of %d channels, %s; the tensor has another shape",
                    items, (int)channels, nchw ? "channels first" : "channels last");
    for (int i = nchw ? 2 : 1; i < (nchw ? 4 : 3); i++) {
        if (in->dims[i] < 1 || in->dims[i] > VD_MAX_SURFACE_SIZE)
            return fail(error, size, VD_ERR_PARAMETER, "no picture is %lld wide or high",
                        (long long)in->dims[i]);
    }
    if (in->dims[nchw ? 2 : 1] * in->dims[nchw ? 3 : 2] > PICTURE_MOST)
        return fail(error, size, VD_ERR_PARAMETER, "an input of %lld x %lld is too large",
                    (long long)in->dims[nchw ? 3 : 2], (long long)in->dims[nchw ? 2 : 1]);
    for (uint32_t i = 0; i < how->rois; i++) {
        const struct vd_npu_roi *r = &in->rois[i];

        if (!r->width || !r->height || r->x > in->width || r->width > in->width - r->x ||
            r->y > in->height || r->height > in->height - r->y)
            return fail(error, size, VD_ERR_PARAMETER,
                        "part %u (%ux%u at %u,%u) is not within the picture of %ux%u", i, r->width,
                        r->height, r->x, r->y, in->width, in->height);
    }
    if (in->dtype != ONNX_F32 && in->dtype != ONNX_F16 && in->dtype != ONNX_U8 &&
        in->dtype != ONNX_I8)
        return fail(error, size, VD_ERR_UNSUPPORTED,
                    "pictures become float32, float16, uint8 or int8");
    return 0;
}

int npu_picture_make(struct npu_picture **builder, const struct pixels *pixels,
                     struct pictures_input *in, char *error, size_t size)
{
    const struct vd_npu_roi whole = {0, 0, pixels->width, pixels->height};
    bool nchw = in->how->layout == VD_NPU_LAYOUT_NCHW;
    uint32_t items = in->how->rois ? in->how->rois : 1;
    struct npu_picture *b = *builder;
    struct source source;
    int width, height, err;

    in->width = pixels->width;
    in->height = pixels->height;
    err = check(in, error, size);
    if (err)
        return err;
    width = (int)in->dims[nchw ? 3 : 2];
    height = (int)in->dims[nchw ? 2 : 1];
    if (!b)
        b = *builder = calloc(1, sizeof(*b));
    if (!b || grow(&b->scaled, &b->scaled_size, 3 * (size_t)width * (size_t)height + PICTURE_SLACK))
        return fail(error, size, VD_ERR_MEMORY, "out of memory");
    err = open_source(b, pixels, &source);
    if (err)
        return fail(error, size, err, "surfaces of format %s are no inputs", pixels->format->name);
    for (uint32_t i = 0; i < items; i++) {
        struct fitted f = fit(in, in->how->rois ? &in->rois[i] : &whole, width, height, &source);

        err = scale(b, in, &source, &f, width, height);
        if (err)
            return fail(error, size, err, "%dx%d pixels of format %s do not become %dx%d", f.width,
                        f.height, pixels->format->name, f.to_width, f.to_height);
        fill(b, in, i, (size_t)width * (size_t)height);
        in->places[i].step_x = (float)f.width / (float)f.to_width;
        in->places[i].step_y = (float)f.height / (float)f.to_height;
        in->places[i].x = (float)f.x - (float)f.to_x * in->places[i].step_x;
        in->places[i].y = (float)f.y - (float)f.to_y * in->places[i].step_y;
    }
    return 0;
}
