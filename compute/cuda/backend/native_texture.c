/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <stdlib.h>
#include <string.h>

/* Textures and surfaces of the driver's, from what stands for them here (texture.h). */

/* Those that live: a driver might take any number for one. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct made {
    uint64_t handle;
    bool surface;
    CUcontext context;
    struct made *next;
} * all;

/* CU_RES_VIEW_FORMAT_…: 8, 16 and 32 bits, unsigned and signed in turn, then floats, each of 1, 2,
 * 4 channels. */
static unsigned view_format(const struct cuda_texture *t)
{
    static const uint32_t formats[] = {CU_AD_FORMAT_UNSIGNED_INT8,  CU_AD_FORMAT_SIGNED_INT8,
                                       CU_AD_FORMAT_UNSIGNED_INT16, CU_AD_FORMAT_SIGNED_INT16,
                                       CU_AD_FORMAT_UNSIGNED_INT32, CU_AD_FORMAT_SIGNED_INT32,
                                       CU_AD_FORMAT_HALF,           CU_AD_FORMAT_FLOAT};
    unsigned i = 0;

    while (i < 7 && formats[i] != t->format)
        i++;
    return 1 + i * 3 + (t->channels == 4 ? 2 : t->channels - 1);
}

static size_t level_extent(uint32_t n, uint32_t level)
{
    return !n ? 0 : n >> level ? n >> level : 1;
}

/* Of an array. `ret_viewed`: not all of it, or not as it is. */
static void describe(const struct native_spot *s, const struct cuda_texture *t,
                     CUDA_RESOURCE_DESC *ret_resource, CUDA_RESOURCE_VIEW_DESC *ret_view,
                     bool *ret_viewed)
{
    const struct cuda_array_shape *as = &s->array->as;
    bool layered = as->flags & CUDA_ARRAY3D_LAYERED, levels = t->more_levels != 0;
    uint32_t level = levels ? 0 : s->number;
    CUDA_RESOURCE_DESC r = {.resType =
                                levels ? CU_RESOURCE_TYPE_MIPMAPPED_ARRAY : CU_RESOURCE_TYPE_ARRAY};
    CUDA_RESOURCE_VIEW_DESC v = {.format = view_format(t),
                                 .width = level_extent(as->width, level),
                                 .height = level_extent(as->height, level),
                                 .depth = s->array->shape.layout & CUDA_TEXTURE_LAYERED
                                              ? as->depth
                                              : level_extent(as->depth, level)};

    if (levels) {
        r.res.mipmap.hMipmappedArray = s->array->mipmap;
        v.firstMipmapLevel = s->number;
        v.lastMipmapLevel = s->number + t->more_levels;
    } else {
        r.res.array.hArray = s->array->levels[s->number];
    }
    if (layered) {
        v.firstLayer = (unsigned)s->z;
        v.lastLayer = (unsigned)s->z + t->depth - 1;
    }
    *ret_resource = r;
    *ret_view = v;
    *ret_viewed = t->format != as->format || t->channels != as->channels ||
                  (levels && (s->number || t->more_levels != s->array->shape.more_levels)) ||
                  (layered && (s->z || t->depth != as->depth));
}

static CUDA_RESOURCE_DESC of_memory(const struct cuda_texture *t)
{
    CUDA_RESOURCE_DESC r = {.resType = CU_RESOURCE_TYPE_PITCH2D};

    if (t->layout & CUDA_TEXTURE_LINEAR) {
        r.resType = CU_RESOURCE_TYPE_LINEAR;
        r.res.linear.devPtr = t->address;
        r.res.linear.format = (CUarray_format)t->format;
        r.res.linear.numChannels = t->channels;
        r.res.linear.sizeInBytes = (size_t)t->width * cuda_texture_bytes(t->format) * t->channels;
    } else {
        r.res.pitch2D.devPtr = t->address;
        r.res.pitch2D.format = (CUarray_format)t->format;
        r.res.pitch2D.numChannels = t->channels;
        r.res.pitch2D.width = t->width;
        r.res.pitch2D.height = t->height;
        r.res.pitch2D.pitchInBytes = t->pitch;
    }
    return r;
}

int native_texture_create(struct cuda_context *context, const struct cuda_texture *t,
                          uint64_t *ret_handle)
{
    struct native_context *c = (struct native_context *)context;
    CUDA_TEXTURE_DESC how = {.filterMode = (CUfilter_mode)t->filter,
                             .flags = t->flags,
                             .maxAnisotropy = t->anisotropy,
                             .mipmapFilterMode = (CUfilter_mode)t->mip_filter,
                             .mipmapLevelBias = t->mip_bias,
                             .minMipmapLevelClamp = t->mip_least,
                             .maxMipmapLevelClamp = t->mip_most};
    bool viewed = false, surface = t->magic == CUDA_SURFACE_MAGIC;
    CUDA_RESOURCE_DESC resource;
    CUDA_RESOURCE_VIEW_DESC view;
    struct native_spot s;
    struct made *m;
    CUtexObject handle = 0;
    int err = native_enter(c->handle);

    if (err)
        return err;
    if (!native_array_find(t->address, &s)) {
        if (surface)
            return CUDA_ERROR_INVALID_VALUE;
        resource = of_memory(t);
    } else if (s.x || s.y || s.number + t->more_levels > s.array->shape.more_levels) {
        return CUDA_ERROR_INVALID_VALUE;
    } else {
        describe(&s, t, &resource, &view, &viewed);
    }
    for (unsigned i = 0; i < 3; i++)
        how.addressMode[i] = (CUaddress_mode)t->modes[i];
    memcpy(how.borderColor, t->border, sizeof(how.borderColor));
    m = malloc(sizeof(*m));
    if (!m)
        return CUDA_ERROR_OUT_OF_MEMORY;
    err = surface ? (int)native.cuSurfObjectCreate(&handle, &resource)
                  : (int)native.cuTexObjectCreate(&handle, &resource, &how, viewed ? &view : NULL);
    if (err) {
        free(m);
        return err;
    }
    pthread_mutex_lock(&lock);
    *m = (struct made){handle, surface, c->handle, all};
    all = m;
    pthread_mutex_unlock(&lock);
    *ret_handle = handle;
    return 0;
}

/* In its context. */
static void destroy(struct made *m)
{
    if (m->surface)
        native.cuSurfObjectDestroy(m->handle);
    else
        native.cuTexObjectDestroy(m->handle);
    free(m);
}

void native_texture_destroy(struct cuda_context *context, uint64_t handle, bool surface)
{
    struct native_context *c = (struct native_context *)context;
    struct made *m;

    pthread_mutex_lock(&lock);
    for (struct made **at = &all; (m = *at); at = &m->next)
        if (m->handle == handle && m->surface == surface && m->context == c->handle) {
            *at = m->next;
            break;
        }
    pthread_mutex_unlock(&lock);
    if (!m)
        return;
    native_enter(c->handle);
    destroy(m);
}

void native_texture_forget(CUcontext context)
{
    pthread_mutex_lock(&lock);
    for (struct made **at = &all, *m; (m = *at);) {
        if (m->context == context) {
            *at = m->next;
            destroy(m);
        } else {
            at = &m->next;
        }
    }
    pthread_mutex_unlock(&lock);
}
