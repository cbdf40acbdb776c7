/* SPDX-License-Identifier: MIT */
#include "array.h"

/* Views of arrays: another format of the same size, some of their levels, some of their layers. */

/* 8, 16 and 32 bits, unsigned and signed in turn, then floats, each of 1, 2, 4 channels. */
static bool format_of(unsigned view, uint32_t *ret_format, uint32_t *ret_channels)
{
    static const uint32_t formats[] = {CU_AD_FORMAT_UNSIGNED_INT8,  CU_AD_FORMAT_SIGNED_INT8,
                                       CU_AD_FORMAT_UNSIGNED_INT16, CU_AD_FORMAT_SIGNED_INT16,
                                       CU_AD_FORMAT_UNSIGNED_INT32, CU_AD_FORMAT_SIGNED_INT32,
                                       CU_AD_FORMAT_HALF,           CU_AD_FORMAT_FLOAT};

    if (!view || view > CU_RES_VIEW_FORMAT_FLOAT_4X32)
        return false;
    *ret_format = formats[(view - 1) / 3];
    *ret_channels = 1u << (view - 1) % 3;
    return true;
}

static CUresult take_levels(const CUDA_RESOURCE_VIEW_DESC *v, struct cuda_texture *t)
{
    struct cuda_texture_level first;

    if (v->firstMipmapLevel > v->lastMipmapLevel || v->lastMipmapLevel > t->more_levels)
        return CUDA_ERROR_INVALID_VALUE;
    first = cuda_texture_level(t, v->firstMipmapLevel);
    t->address = first.address;
    t->pitch = first.pitch;
    t->slice = first.slice;
    t->width = first.width;
    t->height = first.height;
    t->depth = first.depth;
    t->more_levels = v->lastMipmapLevel - v->firstMipmapLevel;
    return CUDA_SUCCESS;
}

static CUresult take_layers(const CUDA_RESOURCE_VIEW_DESC *v, bool layered, struct cuda_texture *t)
{
    if (!layered)
        return v->firstLayer || v->lastLayer ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    if (v->firstLayer > v->lastLayer || v->lastLayer >= t->depth)
        return CUDA_ERROR_INVALID_VALUE;
    if (t->layout & CUDA_TEXTURE_CUBE) {
        /* Whether its layers are cubes or faces is not said: all of them, counted either way. */
        bool all = v->lastLayer == t->depth - 1 || v->lastLayer == t->depth / 6 - 1;

        return v->firstLayer || !all ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
    }
    t->address += v->firstLayer * t->slice;
    t->depth = v->lastLayer - v->firstLayer + 1;
    return CUDA_SUCCESS;
}

CUresult view_apply(const CUDA_RESOURCE_VIEW_DESC *v, const CUDA_ARRAY3D_DESCRIPTOR *shape,
                    struct cuda_texture *t)
{
    uint32_t format = t->format, channels = t->channels;
    CUresult err;

    /* Compressed blocks. */
    if (v->format > CU_RES_VIEW_FORMAT_FLOAT_4X32 && v->format <= CU_RES_VIEW_FORMAT_UNSIGNED_BC7)
        return CUDA_ERROR_NOT_SUPPORTED;
    if ((v->format && !format_of(v->format, &format, &channels)) ||
        cuda_texture_bytes(format) * channels != cuda_texture_bytes(t->format) * t->channels ||
        v->width != shape->Width || v->height != shape->Height || v->depth != shape->Depth)
        return CUDA_ERROR_INVALID_VALUE;
    t->format = format;
    t->channels = channels;
    err = take_levels(v, t);
    return err ? err : take_layers(v, shape->Flags & CUDA_ARRAY3D_LAYERED, t);
}
