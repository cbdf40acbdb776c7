/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "array.h"

/* Mipmapped arrays: one piece of device memory, whose levels are arrays (texture.h says where). */

static size_t half(size_t n, unsigned level)
{
    return !n ? 0 : n >> level ? n >> level : 1;
}

static unsigned level_count(const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned wanted)
{
    size_t most = d->Width > d->Height ? d->Width : d->Height;
    unsigned count = 1;

    if (!(d->Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) && d->Depth > most)
        most = d->Depth;
    while (count < wanted && count < CUDA_TEXTURE_LEVELS && most >> count)
        count++;
    return count;
}

/* With the lock. */
static void release(struct CUmipmappedArray_st *m)
{
    for (unsigned i = 0; i < m->count; i++)
        handle_remove(&m->levels[i]);
    handle_remove(m);
    memory_hidden_free(m->texture.address);
    free(m);
}

static bool add_handles(struct CUmipmappedArray_st *m)
{
    unsigned i = 0;

    if (!handle_add(m, MIPMAP))
        return false;
    for (; i < m->count; i++)
        if (!handle_add(&m->levels[i], ARRAY))
            break;
    if (i == m->count)
        return true;
    while (i)
        handle_remove(&m->levels[--i]);
    handle_remove(m);
    return false;
}

API cuMipmappedArrayCreate(CUmipmappedArray *mipmap, const CUDA_ARRAY3D_DESCRIPTOR *d,
                           unsigned levels)
{
    struct CUmipmappedArray_st *m;
    struct CUarray_st *a;
    struct cuda_texture t;
    struct CUctx_st *c;
    uint64_t size;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!mipmap || !d)
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = array_check(d, c, true);
    if (err)
        return leave(err);
    size = array_lay_out(d, level_count(d, levels), &t);
    if (size > device_properties(c->device)->memory)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    m = calloc(1, sizeof(*m));
    if (!m)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    err = memory_array(c, d, t.more_levels + 1, size, &t.address);
    if (err)
        goto no_memory;
    m->context = c;
    m->texture = t;
    m->count = t.more_levels + 1;
    a = m->levels;
    for (unsigned i = 0; i < m->count; i++, a++) {
        struct cuda_texture_level l = cuda_texture_level(&t, i);

        *a = (struct CUarray_st){.context = c,
                                 .shape = *d,
                                 .address = l.address,
                                 .pitch = l.pitch,
                                 .slice = l.slice,
                                 .texel = cuda_texture_bytes(d->Format) * d->NumChannels,
                                 .level = true};
        a->shape.Width = half(d->Width, i);
        a->shape.Height = half(d->Height, i);
        if (!(t.layout & CUDA_TEXTURE_LAYERED))
            a->shape.Depth = half(d->Depth, i);
    }
    if (!add_handles(m)) {
        err = CUDA_ERROR_OUT_OF_MEMORY;
        goto no_handles;
    }
    m->next = c->mipmaps;
    c->mipmaps = m;
    *mipmap = m;
    return leave(CUDA_SUCCESS);

no_handles:
    memory_hidden_free(t.address);
no_memory:
    free(m);
    return leave(err);
}

API cuMipmappedArrayGetLevel(CUarray *array, CUmipmappedArray mipmap, unsigned level)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(mipmap, MIPMAP))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (!array || level >= mipmap->count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *array = &mipmap->levels[level];
    return leave(CUDA_SUCCESS);
}

API cuMipmappedArrayDestroy(CUmipmappedArray mipmap)
{
    struct CUmipmappedArray_st **at;
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(mipmap, MIPMAP))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    /* Kernels may still read it. */
    err = context_wait(mipmap->context);
    if (handle_is(mipmap, MIPMAP)) {
        for (at = &mipmap->context->mipmaps; *at != mipmap;)
            at = &(*at)->next;
        *at = mipmap->next;
        release(mipmap);
    }
    return leave(err);
}

void mipmap_drop_context(struct CUctx_st *c)
{
    while (c->mipmaps) {
        struct CUmipmappedArray_st *m = c->mipmaps;

        c->mipmaps = m->next;
        release(m);
    }
}

/* None is sparse, and none waits for memory to be mapped. */
static CUresult refuse(CUmipmappedArray mipmap)
{
    CUresult err = enter();

    if (err)
        return err;
    return leave(handle_is(mipmap, MIPMAP) ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE);
}

API cuMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties,
                                        CUmipmappedArray mipmap)
{
    (void)properties;
    return refuse(mipmap);
}

API cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements,
                                          CUmipmappedArray mipmap, CUdevice device)
{
    (void)requirements;
    (void)device;
    return refuse(mipmap);
}
