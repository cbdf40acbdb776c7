/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/texture.h>

#include "array.h"

/*
 * Objects of textures and surfaces. The handle of one is the address of its struct cuda_texture in
 * device memory. They are made in blocks, and written by a queue of their own: making one is in no
 * stream's order and in no capture. Of devices that want objects of their own (textureless) the
 * handle is the backend's, and the blocks have no memory.
 */

#define SLOTS 64

struct object {
    uint32_t magic; /* 0: free */
    uint64_t handle;
    bool viewed;
    CUDA_RESOURCE_DESC resource;
    CUDA_TEXTURE_DESC texture;
    CUDA_RESOURCE_VIEW_DESC view;
};

struct CUtextures_st {
    uint64_t address;
    struct object objects[SLOTS];
    struct CUtextures_st *next;
};

/* With the lock. */
static struct object *object_find(struct CUctx_st *c, uint64_t handle, uint32_t magic)
{
    for (struct CUtextures_st *b = c->textures; b; b = b->next)
        for (unsigned i = 0; i < SLOTS; i++)
            if (b->objects[i].magic == magic && b->objects[i].handle == handle)
                return &b->objects[i];
    return NULL;
}

static bool is_apart(const struct CUctx_st *c)
{
    return device_properties(c->device)->textureless;
}

/* With the lock. A free one, which is taken by its magic. */
static CUresult object_take(struct CUctx_st *c, uint32_t magic, struct object **ret_object)
{
    struct CUtextures_st *b;
    CUresult err;

    for (b = c->textures; b; b = b->next)
        for (unsigned i = 0; i < SLOTS; i++)
            if (!b->objects[i].magic) {
                *ret_object = &b->objects[i];
                b->objects[i].handle = b->address + i * CUDA_TEXTURE_BYTES;
                b->objects[i].magic = magic;
                return CUDA_SUCCESS;
            }
    b = calloc(1, sizeof(*b));
    if (!b)
        return CUDA_ERROR_OUT_OF_MEMORY;
    err = is_apart(c) ? CUDA_SUCCESS : memory_hidden(c, SLOTS * CUDA_TEXTURE_BYTES, &b->address);
    if (err) {
        free(b);
        return err;
    }
    b->next = c->textures;
    c->textures = b;
    b->objects[0].magic = magic;
    b->objects[0].handle = b->address;
    *ret_object = &b->objects[0];
    return CUDA_SUCCESS;
}

/* With the lock, which is given up while it waits. */
static CUresult copy(struct CUctx_st *c, struct cuda_side to, struct cuda_side from)
{
    struct cuda_command command = {
        .kind = CUDA_COPY,
        .copy =
            {.to = to, .from = from, .width = sizeof(struct cuda_texture), .height = 1, .depth = 1},
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

CUresult texture_write(struct CUctx_st *c, uint64_t address, const struct cuda_texture *t)
{
    return copy(c, (struct cuda_side){.address = address},
                (struct cuda_side){.host = true, .address = (uintptr_t)t});
}

CUresult texture_read(struct CUctx_st *c, uint64_t address, struct cuda_texture *t)
{
    return copy(c, (struct cuda_side){.host = true, .address = (uintptr_t)t},
                (struct cuda_side){.address = address});
}

/* With the lock. */
static CUresult of_array(const CUDA_RESOURCE_DESC *r, struct CUctx_st *c,
                         const CUDA_RESOURCE_VIEW_DESC *view, struct cuda_texture *t)
{
    const struct CUarray_st *a = r->res.array.hArray;
    const uint32_t magic = t->magic;

    if (!handle_is(a, ARRAY) || a->context->device != c->device)
        return CUDA_ERROR_INVALID_VALUE;
    array_lay_out(&a->shape, 0, t);
    t->magic = magic;
    t->address = a->address;
    t->pitch = a->pitch;
    t->slice = a->slice;
    return view ? view_apply(view, &a->shape, t) : CUDA_SUCCESS;
}

/* With the lock. */
static CUresult of_mipmap(const CUDA_RESOURCE_DESC *r, struct CUctx_st *c,
                          const CUDA_RESOURCE_VIEW_DESC *view, struct cuda_texture *t)
{
    const struct CUmipmappedArray_st *m = r->res.mipmap.hMipmappedArray;
    const uint32_t magic = t->magic;

    if (!handle_is(m, MIPMAP) || m->context->device != c->device || magic != CUDA_TEXTURE_MAGIC)
        return CUDA_ERROR_INVALID_VALUE;
    *t = m->texture;
    t->magic = magic;
    return view ? view_apply(view, &m->levels[0].shape, t) : CUDA_SUCCESS;
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
    if (!cuda_texture_channels(t->channels))
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
CUresult texture_describe(const CUDA_RESOURCE_DESC *r, const CUDA_RESOURCE_VIEW_DESC *view,
                          struct CUctx_st *c, struct cuda_texture *t)
{
    if (r->flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (is_apart(c) && !backend->texture_create)
        return CUDA_ERROR_NOT_SUPPORTED;
    switch (r->resType) {
    case CU_RESOURCE_TYPE_ARRAY:
        return of_array(r, c, view, t);
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
        return of_mipmap(r, c, view, t);
    case CU_RESOURCE_TYPE_LINEAR:
    case CU_RESOURCE_TYPE_PITCH2D:
        return view ? CUDA_ERROR_INVALID_VALUE : of_memory(r, c, t);
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult texture_set_sampler(struct cuda_texture *t, const CUDA_TEXTURE_DESC *d)
{
    bool floats = cuda_texture_floats(t->format, d->flags);

    if (d->flags & ~(CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB |
                     CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION | CU_TRSF_SEAMLESS_CUBEMAP))
        return CUDA_ERROR_NOT_SUPPORTED;
    /* What it would be of other formats is not said. */
    if (d->flags & CU_TRSF_SRGB && (t->format != CU_AD_FORMAT_UNSIGNED_INT8 || !floats))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (d->flags & CU_TRSF_SEAMLESS_CUBEMAP && !(t->layout & CUDA_TEXTURE_CUBE))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < 3; i++) {
        if ((unsigned)d->addressMode[i] > CU_TR_ADDRESS_MODE_BORDER)
            return CUDA_ERROR_INVALID_VALUE;
        t->modes[i] = d->addressMode[i];
    }
    if ((unsigned)d->filterMode > CU_TR_FILTER_MODE_LINEAR ||
        (d->filterMode == CU_TR_FILTER_MODE_LINEAR && !floats &&
         !(t->layout & CUDA_TEXTURE_LINEAR)) ||
        (unsigned)d->mipmapFilterMode > CU_TR_FILTER_MODE_LINEAR)
        return CUDA_ERROR_INVALID_VALUE;
    t->filter = d->filterMode;
    t->flags = d->flags;
    t->mip_filter = d->mipmapFilterMode;
    t->mip_bias = d->mipmapLevelBias;
    t->mip_least = d->minMipmapLevelClamp;
    t->mip_most = d->maxMipmapLevelClamp;
    t->anisotropy = d->maxAnisotropy;
    memcpy(t->border, d->borderColor, sizeof(t->border));
    return CUDA_SUCCESS;
}

/* With the lock, which is given up meanwhile: what kernels find, or the backend's object. */
static CUresult give(struct CUctx_st *c, struct object *o, const struct cuda_texture *t)
{
    uint64_t handle;
    CUresult err;

    if (!is_apart(c))
        return texture_write(c, o->handle, t);
    unlock();
    err = (CUresult)backend->texture_create(c->backend, t, &handle);
    lock();
    if (!err)
        o->handle = handle;
    return err;
}

static CUresult take_away(struct CUctx_st *c, uint64_t handle, uint32_t magic)
{
    static const struct cuda_texture none;

    if (!is_apart(c))
        return texture_write(c, handle, &none);
    unlock();
    backend->texture_destroy(c->backend, handle, magic == CUDA_SURFACE_MAGIC);
    lock();
    return CUDA_SUCCESS;
}

static CUresult create(CUtexObject *object, const CUDA_RESOURCE_DESC *resource,
                       const CUDA_TEXTURE_DESC *texture, const CUDA_RESOURCE_VIEW_DESC *view,
                       uint32_t magic)
{
    struct cuda_texture t = {.magic = magic};
    struct object *o;
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!object || !resource)
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = texture_describe(resource, view, c, &t);
    /* Mipmaps are for normalised coordinates. */
    if (!err && texture && resource->resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY &&
        !(texture->flags & CU_TRSF_NORMALIZED_COORDINATES))
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err && texture)
        err = texture_set_sampler(&t, texture);
    if (!err)
        err = object_take(c, magic, &o);
    if (err)
        return leave(err);
    o->resource = *resource;
    if (texture)
        o->texture = *texture;
    o->viewed = view != NULL;
    if (view)
        o->view = *view;
    err = give(c, o, &t);
    if (err)
        memset(o, 0, sizeof(*o));
    else
        *object = o->handle;
    return leave(err);
}

static CUresult destroy(uint64_t handle, uint32_t magic)
{
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
        err = take_away(c, handle, magic);
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
    return create(object, resource, texture, view, CUDA_TEXTURE_MAGIC);
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

API cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *view, CUtexObject object)
{
    struct object *o;
    CUresult err = enter_object(object, CUDA_TEXTURE_MAGIC, view, &o);

    if (err)
        return err;
    if (!o->viewed)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *view = o->view;
    return leave(CUDA_SUCCESS);
}

API cuSurfObjectCreate(CUsurfObject *object, const CUDA_RESOURCE_DESC *resource)
{
    CUDA_ARRAY3D_DESCRIPTOR shape;

    if (!resource || resource->resType != CU_RESOURCE_TYPE_ARRAY ||
        cuArray3DGetDescriptor_v2(&shape, resource->res.array.hArray) ||
        !(shape.Flags & CUDA_ARRAY3D_SURFACE_LDST))
        return CUDA_ERROR_INVALID_VALUE;
    return create(object, resource, NULL, NULL, CUDA_SURFACE_MAGIC);
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

        for (unsigned i = 0; is_apart(c) && i < SLOTS; i++)
            if (b->objects[i].magic)
                backend->texture_destroy(c->backend, b->objects[i].handle,
                                         b->objects[i].magic == CUDA_SURFACE_MAGIC);
        c->textures = b->next;
        free(b);
    }
    if (c->texture_queue)
        backend->queue_release(c->texture_queue);
    c->texture_queue = NULL;
    reference_drop_context(c);
    mipmap_drop_context(c);
    array_drop_context(c);
}
