/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/texture.h>

#include "array.h"

/* Arrays: device memory with a shape, rows behind each other. */

struct limit {
    CUdevice_attribute width, height, depth;
};

static int attribute(CUdevice device, CUdevice_attribute which)
{
    int value = 0;

    return which && !device_attribute(&value, which, device) ? value : 0;
}

/* Extents as the API has them: 0 for dimensions that are not there. */
static bool fits(const CUDA_ARRAY3D_DESCRIPTOR *d, CUdevice device, bool mipmapped)
{
    static const struct limit limits[] = {{CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH, 0, 0},
                                          {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_WIDTH,
                                           CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_HEIGHT, 0},
                                          {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH,
                                           CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT,
                                           CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH},
                                          {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_WIDTH, 0,
                                           CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_LAYERS},
                                          {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_WIDTH,
                                           CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_HEIGHT,
                                           CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_LAYERS}};
    static const struct limit levels[] = {
        {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_MIPMAPPED_WIDTH, 0, 0},
        {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_MIPMAPPED_WIDTH,
         CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_MIPMAPPED_HEIGHT, 0}};
    static const struct limit gather = {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_WIDTH,
                                        CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_HEIGHT, 0};
    static const struct limit cube = {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH,
                                      CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH, 0};
    static const struct limit cubes = {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH,
                                       CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH,
                                       CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS};
    bool layered = d->Flags & CUDA_ARRAY3D_LAYERED,
         gathers = d->Flags & CUDA_ARRAY3D_TEXTURE_GATHER;
    bool flat = d->Height && !d->Depth;
    const struct limit *l;

    if (d->Flags & CUDA_ARRAY3D_CUBEMAP) {
        if (d->Width != d->Height || !d->Depth || (layered ? d->Depth % 6 : d->Depth != 6))
            return false;
        l = layered ? &cubes : &cube;
    } else {
        l = layered     ? d->Height ? &limits[4] : &limits[3]
                : d->Depth ? &limits[2]
            : mipmapped ? &levels[flat]
            : gathers   ? &gather
                        : &limits[flat];
    }
    if (!d->Width || d->Width > (size_t)attribute(device, l->width) || (layered && !d->Depth) ||
        (d->Depth && !layered && !d->Height) || (gathers && !flat))
        return false;
    return (!d->Height || d->Height <= (size_t)attribute(device, l->height)) &&
           (!d->Depth || l == &cube || d->Depth <= (size_t)attribute(device, l->depth));
}

CUresult array_check(const CUDA_ARRAY3D_DESCRIPTOR *d, const struct CUctx_st *c, bool mipmapped)
{
    if (d->Flags & ~(CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_CUBEMAP |
                     CUDA_ARRAY3D_TEXTURE_GATHER))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!cuda_texture_bytes(d->Format))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!cuda_texture_channels(d->NumChannels) || !fits(d, c->device, mipmapped))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

uint64_t array_lay_out(const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned levels,
                       struct cuda_texture *ret_texture)
{
    const struct cuda_array_shape shape = array_shape(d, levels);

    return cuda_texture_lay_out(&shape, ret_texture);
}

API cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *d)
{
    struct cuda_texture t;
    struct CUarray_st *a;
    struct CUctx_st *c;
    uint64_t size;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!array || !d)
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = array_check(d, c, false);
    if (err)
        return leave(err);
    size = array_lay_out(d, 0, &t);
    if (size > device_properties(c->device)->memory)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    a = calloc(1, sizeof(*a));
    if (!a)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    a->context = c;
    a->shape = *d;
    a->texel = cuda_texture_bytes(d->Format) * d->NumChannels;
    a->pitch = t.pitch;
    a->slice = t.slice;
    err = memory_array(c, d, 0, size, &a->address);
    if (!err && !handle_add(a, ARRAY)) {
        memory_hidden_free(a->address);
        err = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (err) {
        free(a);
        return leave(err);
    }
    a->next = c->arrays;
    c->arrays = a;
    *array = a;
    return leave(CUDA_SUCCESS);
}

API cuArrayCreate_v2(CUarray *array, const CUDA_ARRAY_DESCRIPTOR *d)
{
    CUDA_ARRAY3D_DESCRIPTOR full;

    if (!d)
        return CUDA_ERROR_INVALID_VALUE;
    full = (CUDA_ARRAY3D_DESCRIPTOR){
        .Width = d->Width, .Height = d->Height, .Format = d->Format, .NumChannels = d->NumChannels};
    return cuArray3DCreate_v2(array, &full);
}

API cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *d, CUarray array)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!d)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!handle_is(array, ARRAY))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    *d = array->shape;
    return leave(CUDA_SUCCESS);
}

API cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *d, CUarray array)
{
    CUDA_ARRAY3D_DESCRIPTOR full;
    CUresult err = cuArray3DGetDescriptor_v2(&full, array);

    if (!err && !d)
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        *d = (CUDA_ARRAY_DESCRIPTOR){.Width = full.Width,
                                     .Height = full.Height,
                                     .Format = full.Format,
                                     .NumChannels = full.NumChannels};
    return err;
}

/* With the lock. */
static void array_free(struct CUarray_st *a)
{
    struct CUarray_st **at = &a->context->arrays;

    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    handle_remove(a);
    memory_hidden_free(a->address);
    free(a);
}

API cuArrayDestroy(CUarray array)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(array, ARRAY) || array->level)
        return leave(CUDA_ERROR_INVALID_HANDLE);
    /* Kernels may still read it. */
    err = context_wait(array->context);
    if (handle_is(array, ARRAY))
        array_free(array);
    return leave(err);
}

/* What is asked of an array that is of another kind than any here is. */
static CUresult refuse(CUarray array)
{
    CUresult err = enter();

    if (err)
        return err;
    return leave(handle_is(array, ARRAY) ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE);
}

/* None has planes, none is sparse, and none waits for memory to be mapped. */
API cuArrayGetPlane(CUarray *plane, CUarray array, unsigned index)
{
    (void)plane;
    (void)index;
    return refuse(array);
}

API cuArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties, CUarray array)
{
    (void)properties;
    return refuse(array);
}

API cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements, CUarray array,
                                 CUdevice device)
{
    (void)requirements;
    (void)device;
    return refuse(array);
}

API cuDeviceGetTexture1DLinearMaxWidth(size_t *width, CUarray_format format, unsigned channels,
                                       CUdevice device)
{
    int most;
    CUresult err;

    if (!width || !cuda_texture_bytes(format) || !cuda_texture_channels(channels))
        return CUDA_ERROR_INVALID_VALUE;
    err = cuDeviceGetAttribute(&most, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH, device);
    if (!err)
        *width = (size_t)most;
    return err;
}

void array_drop_context(struct CUctx_st *c)
{
    while (c->arrays)
        array_free(c->arrays);
}
