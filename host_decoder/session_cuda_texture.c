/* SPDX-License-Identifier: MIT */
#include "session_cuda.h"

#include <string.h>

#include <compute/cuda/texture.h>
#include <viaduct/errors.h>

/* Arrays, textures and surfaces of backends that have their own. */

#define MOST_EXTENT (1u << 17) /* no device has more */

/* Bytes that the guest's copies may name; 0: there is no such array. */
static uint64_t size_of(const struct cuda_array_shape *s)
{
    bool layered = s->flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP);
    uint32_t most = s->width > s->height ? s->width : s->height;
    struct cuda_texture t;

    if (!layered && s->depth > most)
        most = s->depth;
    if (!s->width || most > MOST_EXTENT || s->depth > MOST_EXTENT ||
        !cuda_texture_bytes(s->format) || !cuda_texture_channels(s->channels) ||
        s->levels > CUDA_TEXTURE_LEVELS || (s->levels && !(most >> (s->levels - 1))))
        return 0;
    return cuda_texture_lay_out(s, &t);
}

int session_cuda_array_create(void *self, const struct vd_cuda_array_create_req *req,
                              const struct vd_none *tail, uint32_t tail_count,
                              struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_array_create_rep *rep = reply->fixed;
    const struct cuda_array_shape shape = {req->width,    req->height, req->depth, req->format,
                                           req->channels, req->flags,  req->levels};
    struct cuda_session_range range = {
        .kind = CUDA_RANGE_DEVICE, .device = req->device, .size = size_of(&shape)};
    struct cuda_device *device = cuda_session_device(c, req->device);

    (void)tail, (void)tail_count;
    if (req->device >= c->device_count || req->context >= VD_MAX_CUDA_CONTEXTS ||
        !c->contexts[req->context] || c->context_device[req->context] != req->device)
        return VD_ERR_PROTOCOL;
    cuda_session_freed(c);
    rep->result = !device                                     ? CUDA_ERROR_DEVICE_UNAVAILABLE
                  : !c->backend->array_create                 ? CUDA_ERROR_NOT_SUPPORTED
                  : !range.size                               ? CUDA_ERROR_INVALID_VALUE
                  : range.size > c->max_bytes - c->used_bytes ? CUDA_ERROR_OUT_OF_MEMORY
                                                              : CUDA_SUCCESS;
    if (!rep->result)
        rep->result = (uint32_t)c->backend->array_create(device, c->contexts[req->context], &shape,
                                                         &range.address);
    if (rep->result)
        return 0;
    if (cuda_session_add(c, &range)) {
        c->backend->memory_destroy(device, range.address);
        rep->result = CUDA_ERROR_OUT_OF_MEMORY;
        return 0;
    }
    cuda_session_use(c, range.size);
    rep->address = range.address;
    return 0;
}

/* Whether it is one, over memory of this session; what array it is of, the backend looks. */
static bool is_sane(struct cuda_session *c, const struct cuda_texture *t)
{
    uint64_t row;

    if ((t->magic != CUDA_TEXTURE_MAGIC && t->magic != CUDA_SURFACE_MAGIC) ||
        !cuda_texture_bytes(t->format) || !cuda_texture_channels(t->channels) || !t->width ||
        !t->height || !t->depth || t->height > MOST_EXTENT || t->depth > MOST_EXTENT ||
        t->pitch > UINT32_MAX || t->more_levels >= CUDA_TEXTURE_LEVELS)
        return false;
    row = (uint64_t)t->width * cuda_texture_bytes(t->format) * t->channels;
    return cuda_session_has(c, t->address, (t->height - 1) * t->pitch + row);
}

int session_cuda_texture_create(void *self, const struct vd_cuda_texture_create_req *req,
                                const struct vd_none *tail, uint32_t tail_count,
                                struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    struct vd_cuda_texture_create_rep *rep = reply->fixed;
    const uint32_t border[4] = {req->border0, req->border1, req->border2, req->border3};
    struct cuda_texture t = {
        .magic = req->magic,
        .layout = req->layout,
        .address = req->address,
        .pitch = req->pitch,
        .slice = req->slice,
        .width = req->width,
        .height = req->height,
        .depth = req->depth,
        .format = req->format,
        .channels = req->channels,
        .flags = req->flags,
        .modes = {req->mode0, req->mode1, req->mode2},
        .filter = req->filter,
        .more_levels = req->more_levels,
        .mip_filter = req->mip_filter,
        .anisotropy = req->anisotropy,
    };

    (void)tail, (void)tail_count;
    memcpy(t.border, border, sizeof(border));
    memcpy(&t.mip_bias, &req->mip_bias, sizeof(t.mip_bias));
    memcpy(&t.mip_least, &req->mip_least, sizeof(t.mip_least));
    memcpy(&t.mip_most, &req->mip_most, sizeof(t.mip_most));
    if (req->context >= VD_MAX_CUDA_CONTEXTS || !c->contexts[req->context])
        return VD_ERR_PROTOCOL;
    rep->result =
        !c->backend->texture_create ? CUDA_ERROR_NOT_SUPPORTED
        : !is_sane(c, &t)
            ? CUDA_ERROR_INVALID_VALUE
            : (uint32_t)c->backend->texture_create(c->contexts[req->context], &t, &rep->handle);
    return 0;
}

int session_cuda_texture_destroy(void *self, const struct vd_cuda_texture_destroy_req *req,
                                 const struct vd_none *tail, uint32_t tail_count,
                                 struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;

    (void)tail, (void)tail_count, (void)reply;
    if (req->context >= VD_MAX_CUDA_CONTEXTS || !c->contexts[req->context])
        return VD_ERR_PROTOCOL;
    if (c->backend->texture_destroy)
        c->backend->texture_destroy(c->contexts[req->context], req->handle, req->surface != 0);
    return 0;
}
