/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/texture.h>

#include "array.h"

/* Arrays: device memory with a shape, rows behind each other. */

#define ROW 32u /* pitch of rows; also of what a texture of the program's memory has */

struct limit {
    CUdevice_attribute width, height, depth;
};

static int attribute(CUdevice device, CUdevice_attribute which)
{
    int value = 0;

    return which && !device_attribute(&value, which, device) ? value : 0;
}

/* Extents as the API has them: 0 for dimensions that are not there. */
static bool fits(const CUDA_ARRAY3D_DESCRIPTOR *d, CUdevice device)
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
                                           CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_LAYERS},
                                          {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH,
                                           CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH, 0}};
    bool layered = d->Flags & CUDA_ARRAY3D_LAYERED;
    const struct limit *l;

    if (d->Flags & CUDA_ARRAY3D_CUBEMAP)
        return d->Width && d->Width == d->Height && d->Depth == 6 &&
               d->Width <= (size_t)attribute(device, limits[5].width);
    l = layered     ? d->Height ? &limits[4] : &limits[3]
            : d->Depth ? &limits[2]
        : d->Height ? &limits[1]
                    : &limits[0];
    if (!d->Width || d->Width > (size_t)attribute(device, l->width) || (layered && !d->Depth) ||
        (d->Depth && !layered && !d->Height))
        return false;
    return (!d->Height || d->Height <= (size_t)attribute(device, l->height)) &&
           (!d->Depth || d->Depth <= (size_t)attribute(device, l->depth));
}

API cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *d)
{
    uint64_t rows, size, pitch;
    struct CUarray_st *a;
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!array || !d)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (d->Flags & ~(CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_CUBEMAP |
                     CUDA_ARRAY3D_TEXTURE_GATHER) ||
        (d->Flags & CUDA_ARRAY3D_CUBEMAP && d->Flags & CUDA_ARRAY3D_LAYERED))
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if (!cuda_texture_bytes(d->Format))
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if ((d->NumChannels != 1 && d->NumChannels != 2 && d->NumChannels != 4) || !fits(d, c->device))
        return leave(CUDA_ERROR_INVALID_VALUE);
    pitch = (d->Width * cuda_texture_bytes(d->Format) * d->NumChannels + ROW - 1) / ROW * ROW;
    rows = (d->Height ? d->Height : 1) * (uint64_t)(d->Depth ? d->Depth : 1);
    size = pitch * rows;
    if (size > device_properties(c->device)->memory)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    a = calloc(1, sizeof(*a));
    if (!a)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    a->context = c;
    a->shape = *d;
    a->texel = cuda_texture_bytes(d->Format) * d->NumChannels;
    a->pitch = pitch;
    a->slice = pitch * (d->Height ? d->Height : 1);
    err = memory_hidden(c, size, &a->address);
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
    if (!handle_is(array, ARRAY))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    /* Kernels may still read it. */
    err = context_wait(array->context);
    if (handle_is(array, ARRAY))
        array_free(array);
    return leave(err);
}

void array_drop_context(struct CUctx_st *c)
{
    while (c->arrays)
        array_free(c->arrays);
}
