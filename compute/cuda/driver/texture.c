/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/texture.h>

#include "array.h"

/*
 * Objects of textures and surfaces. The handle of one is the address of its struct cuda_texture in
 * device memory. They are made in blocks, and written by a queue of their own: making one is in no
 * stream's order and in no capture.
 */

#define SLOTS 64

struct object {
    uint32_t magic; /* 0: free */
    CUDA_RESOURCE_DESC resource;
    CUDA_TEXTURE_DESC texture;
};

struct CUtextures_st {
    uint64_t address;
    struct object objects[SLOTS];
    struct CUtextures_st *next;
};

/* With the lock. */
static struct object *object_find(struct CUctx_st *c, uint64_t handle, uint32_t magic)
{
    for (struct CUtextures_st *b = c->textures; b; b = b->next) {
        uint64_t offset = handle - b->address;

        if (offset < SLOTS * CUDA_TEXTURE_BYTES && !(offset % CUDA_TEXTURE_BYTES)) {
            struct object *o = &b->objects[offset / CUDA_TEXTURE_BYTES];

            return o->magic == magic ? o : NULL;
        }
    }
    return NULL;
}

/* With the lock. A free one, which is taken by its magic. */
static CUresult object_take(struct CUctx_st *c, uint32_t magic, struct object **ret_object,
                            uint64_t *ret_handle)
{
    struct CUtextures_st *b;
    CUresult err;

    for (b = c->textures; b; b = b->next)
        for (unsigned i = 0; i < SLOTS; i++)
            if (!b->objects[i].magic) {
                *ret_object = &b->objects[i];
                *ret_handle = b->address + i * CUDA_TEXTURE_BYTES;
                b->objects[i].magic = magic;
                return CUDA_SUCCESS;
            }
    b = calloc(1, sizeof(*b));
    if (!b)
        return CUDA_ERROR_OUT_OF_MEMORY;
    err = memory_hidden(c, SLOTS * CUDA_TEXTURE_BYTES, &b->address);
    if (err) {
        free(b);
        return err;
    }
    b->next = c->textures;
    c->textures = b;
    b->objects[0].magic = magic;
    *ret_object = &b->objects[0];
    *ret_handle = b->address;
    return CUDA_SUCCESS;
}

/* With the lock, which is given up while it waits. */
CUresult texture_write(struct CUctx_st *c, uint64_t handle, const struct cuda_texture *t)
{
    struct cuda_command command = {
        .kind = CUDA_COPY,
        .copy = {.to = {.address = handle},
                 .from = {.host = true, .address = (uintptr_t)t},
                 .width = sizeof(*t),
                 .height = 1,
                 .depth = 1},
    };
    struct cuda_queue *q;
    uint64_t number;
    CUresult err;

    if (!c->texture_queue) {
        err = (CUresult)backend->queue_create(c->backend, 0, &c->texture_queue);
        if (err)
            return err;
    }
    q = c->texture_queue;
    backend->queue_hold(q);
    unlock();
    number = backend->submit(q, &command);
    if (number)
        backend->wait(q, number);
    backend->queue_release(q);
    lock();
    return number ? context_error(c) : CUDA_ERROR_OUT_OF_MEMORY;
}

/* With the lock. */
static CUresult of_array(const CUDA_RESOURCE_DESC *r, struct CUctx_st *c, struct cuda_texture *t)
{
    const struct CUarray_st *a = r->res.array.hArray;

    if (!handle_is(a, ARRAY) || a->context->device != c->device)
        return CUDA_ERROR_INVALID_VALUE;
    t->address = a->address;
    t->pitch = a->pitch;
    t->slice = a->slice;
    t->width = (uint32_t)a->shape.Width;
    t->height = a->shape.Height ? (uint32_t)a->shape.Height : 1;
    t->depth = a->shape.Depth ? (uint32_t)a->shape.Depth : 1;
    t->format = a->shape.Format;
    t->channels = a->shape.NumChannels;
    if (a->shape.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP))
        t->layout |= CUDA_TEXTURE_LAYERED;
    return CUDA_SUCCESS;
}

static int attribute(const struct CUctx_st *c, CUdevice_attribute which)
{
    int value = 0;

    return device_attribute(&value, which, c->device) ? 0 : value;
}

/* With the lock. Of the program's memory. */
static CUresult of_memory(const CUDA_RESOURCE_DESC *r, struct CUctx_st *c, struct cuda_texture *t)
{
    bool linear = r->resType == CU_RESOURCE_TYPE_LINEAR;
    size_t width, height = 1, pitch = 0, texel;

    t->address = linear ? r->res.linear.devPtr : r->res.pitch2D.devPtr;
    t->format = linear ? r->res.linear.format : r->res.pitch2D.format;
    t->channels = linear ? r->res.linear.numChannels : r->res.pitch2D.numChannels;
    if (t->channels != 1 && t->channels != 2 && t->channels != 4)
        return CUDA_ERROR_INVALID_VALUE;
    texel = cuda_texture_bytes(t->format) * t->channels;
    if (!texel)
        return CUDA_ERROR_NOT_SUPPORTED;
    width = linear ? r->res.linear.sizeInBytes / texel : r->res.pitch2D.width;
    if (linear) {
        t->layout = CUDA_TEXTURE_LINEAR;
        if (width > (size_t)attribute(c, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH))
            return CUDA_ERROR_INVALID_VALUE;
    } else {
        height = r->res.pitch2D.height;
        pitch = r->res.pitch2D.pitchInBytes;
        if (width > (size_t)attribute(c, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_WIDTH) ||
            height > (size_t)attribute(c, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_HEIGHT) ||
            pitch > (size_t)attribute(c, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_PITCH) ||
            pitch < width * texel ||
            pitch % (size_t)attribute(c, CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT))
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (!width || !height ||
        t->address % (uint64_t)attribute(c, CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT) ||
        memory_check(t->address, (height - 1) * pitch + width * texel))
        return CUDA_ERROR_INVALID_VALUE;
    t->pitch = pitch;
    t->width = (uint32_t)width;
    t->height = (uint32_t)height;
    t->depth = 1;
    return CUDA_SUCCESS;
}

/* With the lock. */
CUresult texture_describe(const CUDA_RESOURCE_DESC *r, struct CUctx_st *c, struct cuda_texture *t)
{
    if (r->flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (device_properties(c->device)->textureless)
        return CUDA_ERROR_NOT_SUPPORTED;
    switch (r->resType) {
    case CU_RESOURCE_TYPE_ARRAY:
        return of_array(r, c, t);
    case CU_RESOURCE_TYPE_LINEAR:
    case CU_RESOURCE_TYPE_PITCH2D:
        return of_memory(r, c, t);
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult texture_set_sampler(struct cuda_texture *t, const CUDA_TEXTURE_DESC *d)
{
    bool floats = t->format == CU_AD_FORMAT_FLOAT || t->format == CU_AD_FORMAT_HALF ||
                  (cuda_texture_bytes(t->format) < 4 && !(d->flags & CU_TRSF_READ_AS_INTEGER));

    if (d->flags & ~(CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES |
                     CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION))
        return CUDA_ERROR_NOT_SUPPORTED;
    for (unsigned i = 0; i < 3; i++) {
        if ((unsigned)d->addressMode[i] > CU_TR_ADDRESS_MODE_BORDER)
            return CUDA_ERROR_INVALID_VALUE;
        t->modes[i] = d->addressMode[i];
    }
    if ((unsigned)d->filterMode > CU_TR_FILTER_MODE_LINEAR ||
        (d->filterMode == CU_TR_FILTER_MODE_LINEAR && !floats &&
         !(t->layout & CUDA_TEXTURE_LINEAR)))
        return CUDA_ERROR_INVALID_VALUE;
    t->filter = d->filterMode;
    t->flags = d->flags;
    memcpy(t->border, d->borderColor, sizeof(t->border));
    return CUDA_SUCCESS;
}

static CUresult create(CUtexObject *object, const CUDA_RESOURCE_DESC *resource,
                       const CUDA_TEXTURE_DESC *texture, uint32_t magic)
{
    struct cuda_texture t = {.magic = magic};
    struct object *o;
    struct CUctx_st *c;
    uint64_t handle;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!object || !resource)
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = texture_describe(resource, c, &t);
    if (!err && texture)
        err = texture_set_sampler(&t, texture);
    if (!err)
        err = object_take(c, magic, &o, &handle);
    if (err)
        return leave(err);
    o->resource = *resource;
    if (texture)
        o->texture = *texture;
    err = texture_write(c, handle, &t);
    if (err)
        o->magic = 0;
    else
        *object = handle;
    return leave(err);
}

static CUresult destroy(uint64_t handle, uint32_t magic)
{
    static const struct cuda_texture none;
    struct object *o;
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!object_find(c, handle, magic))
        return leave(CUDA_ERROR_INVALID_VALUE);
    /* Kernels may still use it; later ones are to fail. */
    err = context_wait(c);
    if (!err)
        err = texture_write(c, handle, &none);
    o = object_find(c, handle, magic);
    if (o)
        memset(o, 0, sizeof(*o));
    return leave(err);
}

/* With the lock if it is CUDA_SUCCESS. */
static CUresult enter_object(uint64_t handle, uint32_t magic, const void *target,
                             struct object **ret_object)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    *ret_object = object_find(c, handle, magic);
    return target && *ret_object ? CUDA_SUCCESS : leave(CUDA_ERROR_INVALID_VALUE);
}

API cuTexObjectCreate(CUtexObject *object, const CUDA_RESOURCE_DESC *resource,
                      const CUDA_TEXTURE_DESC *texture, const CUDA_RESOURCE_VIEW_DESC *view)
{
    if (!texture)
        return CUDA_ERROR_INVALID_VALUE;
    /* Other formats and parts of the same memory. */
    if (view)
        return CUDA_ERROR_NOT_SUPPORTED;
    return create(object, resource, texture, CUDA_TEXTURE_MAGIC);
}

API cuTexObjectDestroy(CUtexObject object)
{
    return destroy(object, CUDA_TEXTURE_MAGIC);
}

API cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC *resource, CUtexObject object)
{
    struct object *o;
    CUresult err = enter_object(object, CUDA_TEXTURE_MAGIC, resource, &o);

    if (err)
        return err;
    *resource = o->resource;
    return leave(CUDA_SUCCESS);
}

API cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC *texture, CUtexObject object)
{
    struct object *o;
    CUresult err = enter_object(object, CUDA_TEXTURE_MAGIC, texture, &o);

    if (err)
        return err;
    *texture = o->texture;
    return leave(CUDA_SUCCESS);
}

/* As none has a view. */
API cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *view, CUtexObject object)
{
    struct object *o;
    CUresult err = enter_object(object, CUDA_TEXTURE_MAGIC, view, &o);

    return err ? err : leave(CUDA_ERROR_INVALID_VALUE);
}

API cuSurfObjectCreate(CUsurfObject *object, const CUDA_RESOURCE_DESC *resource)
{
    CUDA_ARRAY3D_DESCRIPTOR shape;

    if (!resource || resource->resType != CU_RESOURCE_TYPE_ARRAY ||
        cuArray3DGetDescriptor_v2(&shape, resource->res.array.hArray) ||
        !(shape.Flags & CUDA_ARRAY3D_SURFACE_LDST))
        return CUDA_ERROR_INVALID_VALUE;
    return create(object, resource, NULL, CUDA_SURFACE_MAGIC);
}

API cuSurfObjectDestroy(CUsurfObject object)
{
    return destroy(object, CUDA_SURFACE_MAGIC);
}

API cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC *resource, CUsurfObject object)
{
    struct object *o;
    CUresult err = enter_object(object, CUDA_SURFACE_MAGIC, resource, &o);

    if (err)
        return err;
    *resource = o->resource;
    return leave(CUDA_SUCCESS);
}

void texture_drop_context(struct CUctx_st *c)
{
    while (c->textures) {
        struct CUtextures_st *b = c->textures;

        c->textures = b->next;
        free(b);
    }
    if (c->texture_queue)
        backend->queue_release(c->texture_queue);
    c->texture_queue = NULL;
    array_drop_context(c);
}
