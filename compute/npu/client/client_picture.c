/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "internal.h"

/* Surfaces as inputs. */

_Static_assert((int)NPU_FIT_CROP == VD_NPU_FIT_CROP &&
                   (int)NPU_FILTER_CUBIC == VD_NPU_FILTER_CUBIC &&
                   (int)NPU_ORDER_GRAY == VD_NPU_ORDER_GRAY &&
                   (int)NPU_LAYOUT_NHWC == VD_NPU_LAYOUT_NHWC,
               "the wire's numbers");

static bool colours(int64_t channels)
{
    return channels == 1 || channels == 3;
}

int npu_picture_guess(const struct npu_io *io, struct npu_picture *ret)
{
    struct npu_picture p = {0};

    if (io->kind != NPU_KIND_TENSOR || io->rank != 4)
        return client_fail(VD_ERR_PARAMETER,
                           "input %s takes no pictures: it has %d dimensions, not "
                           "items, channels, rows and columns",
                           io->name, io->rank);
    if (colours(io->dims[3]) && !colours(io->dims[1]))
        p.layout = NPU_LAYOUT_NHWC;
    else if (!colours(io->dims[1]) && io->dims[1] >= 0)
        return client_fail(VD_ERR_PARAMETER,
                           "input %s takes no pictures: they have 1 or 3 channels, not %lld",
                           io->name, (long long)io->dims[1]);
    if (io->dims[p.layout == NPU_LAYOUT_NHWC ? 3 : 1] == 1)
        p.order = NPU_ORDER_GRAY;
    *ret = p;
    return 0;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* What the model says counts, and has to agree with what is made. */
static int shape(const struct npu_io *io, const struct npu_picture *p, int64_t dims[4])
{
    bool nchw = p->layout == NPU_LAYOUT_NCHW;
    int64_t wanted[4] = {(int64_t)(p->roi_count ? p->roi_count : 1)};

    wanted[nchw ? 1 : 3] = p->order == NPU_ORDER_GRAY ? 1 : 3;
    wanted[nchw ? 2 : 1] = p->height;
    wanted[nchw ? 3 : 2] = p->width;
    for (int i = 0; i < 4; i++) {
        bool size = i && i != (nchw ? 1 : 3);

        dims[i] = size && io->dims[i] >= 0 ? io->dims[i] : wanted[i];
        if (!dims[i] || (io->dims[i] >= 0 && dims[i] != io->dims[i]))
            return client_fail(VD_ERR_PARAMETER,
                               size ? "input %s leaves dimension %d open: say the width and height"
                                    : "input %s has another dimension %d than the picture",
                               io->name, i);
    }
    return 0;
}

static void pack(const struct npu_io *io, const struct npu_picture *p, struct vd_npu_picture *ret)
{
    bool integers = io->dtype == NPU_UINT8 || io->dtype == NPU_INT8;
    bool plain = !p->scale[0] && !p->scale[1] && !p->scale[2];

    *ret = (struct vd_npu_picture){
        .surface = p->surface,
        .fit = (uint32_t)p->fit,
        .filter = (uint32_t)p->filter,
        .order = (uint32_t)p->order,
        .layout = (uint32_t)p->layout,
        .matrix = (uint32_t)p->matrix,
        .full_range = p->full_range,
        .pad = (uint32_t)p->pad,
        .rois = (uint32_t)p->roi_count,
    };
    for (int i = 0; i < 3; i++) {
        ret->mean[i] = bits_of(p->mean[i]);
        ret->scale[i] = bits_of(plain ? integers ? 1.0f : 1.0f / 255 : p->scale[i]);
    }
}

static int know_surface(struct npu *npu, uint32_t surface)
{
    int err = npu->share ? npu->share->surface(npu->driver, npu->host, surface) : 0;

    return err ? client_fail(err, "surface %#x is none of the display's, or has no picture: %s",
                             surface, errors_text(err))
               : 0;
}

int npu_tensor_create_picture(struct npu *npu, const struct npu_io *io,
                              const struct npu_picture *picture, struct npu_tensor **ret_tensor)
{
    struct vd_npu_picture head;
    struct npu_tensor *t;
    struct npu_picture guess;
    int64_t dims[4], bytes;
    uint8_t *to;
    int err = npu_picture_guess(io, &guess);

    if (err)
        return err;
    if (picture->roi_count > VD_MAX_NPU_ROIS)
        return client_fail(VD_ERR_LIMIT, "%zu parts of a picture; there can be %d",
                           picture->roi_count, VD_MAX_NPU_ROIS);
    err = shape(io, picture, dims);
    if (err)
        return err;
    pack(io, picture, &head);
    bytes = (int64_t)(sizeof(head) + picture->roi_count * sizeof(struct vd_npu_roi));
    err = npu_tensor_create(npu, NPU_UINT8, &bytes, 1, &t);
    if (err)
        return err;
    to = npu_tensor_data(t);
    memcpy(to, &head, sizeof(head));
    for (size_t i = 0; i < picture->roi_count; i++) {
        const struct npu_roi *r = &picture->rois[i];
        struct vd_npu_roi roi = {r->x, r->y, r->width, r->height};

        memcpy(to + sizeof(head) + i * sizeof(roi), &roi, sizeof(roi));
    }
    t->value.kind = VD_NPU_PICTURE;
    t->value.dtype = (uint32_t)io->dtype;
    npu_value_set_dims(&t->value, dims, 4);
    npu_value_dims(&t->value, t->dims);
    pthread_mutex_lock(npu->lock);
    err = know_surface(npu, picture->surface);
    pthread_mutex_unlock(npu->lock);
    if (err)
        npu_tensor_destroy(t);
    else
        *ret_tensor = t;
    return err;
}
