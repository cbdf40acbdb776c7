/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <compute/cuda/texture.h>

#include "remote.h"

/* Textures and surfaces that are the host's objects. */

static uint32_t bits(float v)
{
    uint32_t word;

    memcpy(&word, &v, sizeof(word));
    return word;
}

int remote_texture_create(struct cuda_context *context, const struct cuda_texture *t,
                          uint64_t *ret_handle)
{
    const struct remote_context *c = (struct remote_context *)context;
    struct vd_cuda_texture_create_req req = {
        .context = c->slot,
        .magic = t->magic,
        .layout = t->layout,
        .format = t->format,
        .address = t->address,
        .pitch = t->pitch,
        .slice = t->slice,
        .width = t->width,
        .height = t->height,
        .depth = t->depth,
        .channels = t->channels,
        .flags = t->flags,
        .mode0 = t->modes[0],
        .mode1 = t->modes[1],
        .mode2 = t->modes[2],
        .filter = t->filter,
        .border0 = bits(t->border[0]),
        .border1 = bits(t->border[1]),
        .border2 = bits(t->border[2]),
        .border3 = bits(t->border[3]),
        .more_levels = t->more_levels,
        .mip_filter = t->mip_filter,
        .mip_bias = bits(t->mip_bias),
        .mip_least = bits(t->mip_least),
        .mip_most = bits(t->mip_most),
        .anisotropy = t->anisotropy,
    };
    struct vd_cuda_texture_create_rep rep;
    int err = remote_call(c->remote, VD_OP_cuda_texture_create, &req, &rep, NULL, NULL);

    if (!err)
        err = (int)rep.result;
    if (!err)
        *ret_handle = rep.handle;
    return err;
}

void remote_texture_destroy(struct cuda_context *context, uint64_t handle, bool surface)
{
    const struct remote_context *c = (struct remote_context *)context;
    struct vd_cuda_texture_destroy_req req = {
        .context = c->slot, .surface = surface, .handle = handle};

    remote_post(c->remote, VD_OP_cuda_texture_destroy, &req, sizeof(req));
}
