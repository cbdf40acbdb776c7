/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "reference.h"

/* Of references to textures: mipmapped arrays, how their levels are read, the border; and
 * references that are no module's. */

API cuTexRefCreate(CUtexref *reference)
{
    struct CUtexref_st *r;
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!reference)
        return leave(CUDA_ERROR_INVALID_VALUE);
    r = calloc(1, sizeof(*r));
    if (!r || !handle_add(r, REFERENCE)) {
        free(r);
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    }
    r->context = c;
    r->magic = CUDA_TEXTURE_MAGIC;
    r->next = c->texrefs;
    c->texrefs = r;
    *reference = r;
    return leave(CUDA_SUCCESS);
}

/* Those of a module go with it. */
API cuTexRefDestroy(CUtexref reference)
{
    struct CUtexref_st **at;
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (reference->module)
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (at = &reference->context->texrefs; *at != reference;)
        at = &(*at)->next;
    *at = reference->next;
    handle_remove(reference);
    free(reference);
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetMipmappedArray(CUtexref reference, CUmipmappedArray mipmap, unsigned flags)
{
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY,
                                   .res.mipmap.hMipmappedArray = mipmap};
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (flags & ~CU_TRSA_OVERRIDE_FORMAT || !handle_is(mipmap, MIPMAP))
        return leave(CUDA_ERROR_INVALID_VALUE);
    reference->format = (CUarray_format)mipmap->texture.format;
    reference->channels = mipmap->texture.channels;
    return leave(reference_bind(reference, &resource));
}

API cuTexRefGetMipmappedArray(CUmipmappedArray *mipmap, CUtexref reference)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!mipmap || !reference->bound ||
        reference->resource.resType != CU_RESOURCE_TYPE_MIPMAPPED_ARRAY)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *mipmap = reference->resource.res.mipmap.hMipmappedArray;
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetMipmapFilterMode(CUtexref reference, CUfilter_mode mode)
{
    CUDA_TEXTURE_DESC how;
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if ((unsigned)mode > CU_TR_FILTER_MODE_LINEAR)
        return leave(CUDA_ERROR_INVALID_VALUE);
    how = reference->texture;
    how.mipmapFilterMode = mode;
    return leave(reference_describe(reference, &how));
}

API cuTexRefGetMipmapFilterMode(CUfilter_mode *mode, CUtexref reference)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!mode)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *mode = reference->texture.mipmapFilterMode;
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetMipmapLevelBias(CUtexref reference, float bias)
{
    CUDA_TEXTURE_DESC how;
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    how = reference->texture;
    how.mipmapLevelBias = bias;
    return leave(reference_describe(reference, &how));
}

API cuTexRefGetMipmapLevelBias(float *bias, CUtexref reference)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!bias)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *bias = reference->texture.mipmapLevelBias;
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetMipmapLevelClamp(CUtexref reference, float least, float most)
{
    CUDA_TEXTURE_DESC how;
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    how = reference->texture;
    how.minMipmapLevelClamp = least;
    how.maxMipmapLevelClamp = most;
    return leave(reference_describe(reference, &how));
}

API cuTexRefGetMipmapLevelClamp(float *least, float *most, CUtexref reference)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!least || !most)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *least = reference->texture.minMipmapLevelClamp;
    *most = reference->texture.maxMipmapLevelClamp;
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetMaxAnisotropy(CUtexref reference, unsigned most)
{
    CUDA_TEXTURE_DESC how;
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    how = reference->texture;
    how.maxAnisotropy = most;
    return leave(reference_describe(reference, &how));
}

API cuTexRefGetMaxAnisotropy(int *most, CUtexref reference)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!most)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *most = (int)reference->texture.maxAnisotropy;
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetBorderColor(CUtexref reference, float *colour)
{
    CUDA_TEXTURE_DESC how;
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!colour)
        return leave(CUDA_ERROR_INVALID_VALUE);
    how = reference->texture;
    memcpy(how.borderColor, colour, sizeof(how.borderColor));
    return leave(reference_describe(reference, &how));
}

API cuTexRefGetBorderColor(float *colour, CUtexref reference)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!colour)
        return leave(CUDA_ERROR_INVALID_VALUE);
    memcpy(colour, reference->texture.borderColor, sizeof(reference->texture.borderColor));
    return leave(CUDA_SUCCESS);
}
