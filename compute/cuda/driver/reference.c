/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/texture.h>

#include "array.h"
#include "module.h"

/*
 * References to textures and surfaces: variables of a module, .texref and .surfref, which the
 * program binds before it launches kernels. The variable is the struct cuda_texture itself. It is
 * written whenever something of a bound reference changes, behind the launches before.
 */

struct CUtexref_st {
    struct CUmod_st *module;
    uint64_t address; /* of the variable */
    uint32_t magic;
    bool bound;
    CUDA_RESOURCE_DESC resource;
    CUDA_TEXTURE_DESC texture;
    CUarray_format format; /* for memory; 0: not yet said */
    unsigned channels;
    struct CUtexref_st *next;
};

static CUresult find(void **ret_reference, CUmodule module, const char *name, uint32_t magic)
{
    CUdeviceptr address;
    struct CUtexref_st *r;
    size_t size;
    CUresult err = cuModuleGetGlobal_v2(&address, &size, module, name);

    if (err)
        return err;
    if (!ret_reference)
        return CUDA_ERROR_INVALID_VALUE;
    if (size != CUDA_TEXTURE_BYTES)
        return CUDA_ERROR_NOT_FOUND;
    err = enter();
    if (err)
        return err;
    if (!handle_is(module, MODULE))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    for (r = module->references; r; r = r->next)
        if (r->address == address)
            break;
    if (!r) {
        r = calloc(1, sizeof(*r));
        if (!r || !handle_add(r, REFERENCE)) {
            free(r);
            return leave(CUDA_ERROR_OUT_OF_MEMORY);
        }
        r->module = module;
        r->address = address;
        r->magic = magic;
        r->next = module->references;
        module->references = r;
    }
    if (r->magic != magic)
        return leave(CUDA_ERROR_NOT_FOUND);
    *ret_reference = r;
    return leave(CUDA_SUCCESS);
}

void reference_drop_module(struct CUmod_st *m)
{
    while (m->references) {
        struct CUtexref_st *r = m->references;

        m->references = r->next;
        handle_remove(r);
        free(r);
    }
}

static CUresult enter_reference(const struct CUtexref_st *r, uint32_t magic)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    return handle_is(r, REFERENCE) && r->magic == magic ? CUDA_SUCCESS
                                                        : leave(CUDA_ERROR_INVALID_VALUE);
}

/* With the lock, which is given up meanwhile. Tells the variable what has changed. */
static CUresult apply(struct CUtexref_st *r)
{
    struct cuda_texture t = {.magic = r->magic};
    struct CUctx_st *c = r->module->context;
    uint64_t address = r->address;
    CUresult err;

    if (!r->bound)
        return CUDA_SUCCESS;
    if (r->resource.resType == CU_RESOURCE_TYPE_LINEAR) {
        /* The rest is said later. */
        if (!r->format)
            return CUDA_SUCCESS;
        r->resource.res.linear.format = r->format;
        r->resource.res.linear.numChannels = r->channels;
    }
    err = texture_describe(&r->resource, c, &t);
    if (!err && r->magic == CUDA_TEXTURE_MAGIC)
        err = texture_set_sampler(&t, &r->texture);
    if (!err)
        err = context_wait(c);
    return err ? err : texture_write(c, address, &t);
}

/* A new resource; the old one stays when the new one cannot be. */
static CUresult bind(struct CUtexref_st *r, const CUDA_RESOURCE_DESC *resource)
{
    CUDA_RESOURCE_DESC kept = r->resource;
    bool bound = r->bound;
    CUresult err;

    r->resource = *resource;
    r->bound = true;
    err = apply(r);
    if (err && handle_is(r, REFERENCE)) {
        r->resource = kept;
        r->bound = bound;
    }
    return err;
}

static CUresult bind_array(struct CUtexref_st *r, CUarray array, unsigned flags, uint32_t magic)
{
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = array};
    CUresult err = enter_reference(r, magic);

    if (err)
        return err;
    if (flags & ~CU_TRSA_OVERRIDE_FORMAT || !handle_is(array, ARRAY) ||
        (magic == CUDA_SURFACE_MAGIC && !(array->shape.Flags & CUDA_ARRAY3D_SURFACE_LDST)))
        return leave(CUDA_ERROR_INVALID_VALUE);
    r->format = array->shape.Format;
    r->channels = array->shape.NumChannels;
    return leave(bind(r, &resource));
}

static CUresult bound_array(CUarray *array, const struct CUtexref_st *r, uint32_t magic)
{
    CUresult err = enter_reference(r, magic);

    if (err)
        return err;
    if (!array || !r->bound || r->resource.resType != CU_RESOURCE_TYPE_ARRAY)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *array = r->resource.res.array.hArray;
    return leave(CUDA_SUCCESS);
}

API cuModuleGetTexRef(CUtexref *reference, CUmodule module, const char *name)
{
    return find((void **)reference, module, name, CUDA_TEXTURE_MAGIC);
}

API cuModuleGetSurfRef(CUsurfref *reference, CUmodule module, const char *name)
{
    return find((void **)reference, module, name, CUDA_SURFACE_MAGIC);
}

API cuSurfRefSetArray(CUsurfref reference, CUarray array, unsigned flags)
{
    return bind_array((struct CUtexref_st *)reference, array, flags, CUDA_SURFACE_MAGIC);
}

API cuSurfRefGetArray(CUarray *array, CUsurfref reference)
{
    return bound_array(array, (struct CUtexref_st *)reference, CUDA_SURFACE_MAGIC);
}

API cuTexRefSetArray(CUtexref reference, CUarray array, unsigned flags)
{
    return bind_array(reference, array, flags, CUDA_TEXTURE_MAGIC);
}

API cuTexRefGetArray(CUarray *array, CUtexref reference)
{
    return bound_array(array, reference, CUDA_TEXTURE_MAGIC);
}

API cuTexRefSetAddress_v2(size_t *offset, CUtexref reference, CUdeviceptr address, size_t bytes)
{
    int align = 1;
    size_t beyond;
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_LINEAR};
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    device_attribute(&align, CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT,
                     reference->module->context->device);
    beyond = address % (unsigned)align;
    if ((beyond && !offset) || bytes > SIZE_MAX - beyond)
        return leave(CUDA_ERROR_INVALID_VALUE);
    resource.res.linear.devPtr = address - beyond;
    resource.res.linear.sizeInBytes = bytes + beyond;
    err = bind(reference, &resource);
    if (!err && offset)
        *offset = beyond;
    return leave(err);
}

API cuTexRefSetAddress2D_v3(CUtexref reference, const CUDA_ARRAY_DESCRIPTOR *d, CUdeviceptr address,
                            size_t pitch)
{
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_PITCH2D};
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!d)
        return leave(CUDA_ERROR_INVALID_VALUE);
    resource.res.pitch2D.devPtr = address;
    resource.res.pitch2D.format = d->Format;
    resource.res.pitch2D.numChannels = d->NumChannels;
    resource.res.pitch2D.width = d->Width;
    resource.res.pitch2D.height = d->Height;
    resource.res.pitch2D.pitchInBytes = pitch;
    return leave(bind(reference, &resource));
}

API cuTexRefGetAddress_v2(CUdeviceptr *address, CUtexref reference)
{
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!address || !reference->bound || reference->resource.resType == CU_RESOURCE_TYPE_ARRAY)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *address = reference->resource.resType == CU_RESOURCE_TYPE_LINEAR
                   ? reference->resource.res.linear.devPtr
                   : reference->resource.res.pitch2D.devPtr;
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetFormat(CUtexref reference, CUarray_format format, int channels)
{
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!cuda_texture_bytes(format) || (channels != 1 && channels != 2 && channels != 4))
        return leave(CUDA_ERROR_INVALID_VALUE);
    reference->format = format;
    reference->channels = (unsigned)channels;
    return leave(apply(reference));
}

API cuTexRefGetFormat(CUarray_format *format, int *channels, CUtexref reference)
{
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!format || !channels)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *format = reference->format;
    *channels = (int)reference->channels;
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetAddressMode(CUtexref reference, int dimension, CUaddress_mode mode)
{
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (dimension < 0 || dimension > 2 || (unsigned)mode > CU_TR_ADDRESS_MODE_BORDER)
        return leave(CUDA_ERROR_INVALID_VALUE);
    reference->texture.addressMode[dimension] = mode;
    return leave(apply(reference));
}

API cuTexRefGetAddressMode(CUaddress_mode *mode, CUtexref reference, int dimension)
{
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!mode || dimension < 0 || dimension > 2)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *mode = reference->texture.addressMode[dimension];
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetFilterMode(CUtexref reference, CUfilter_mode mode)
{
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if ((unsigned)mode > CU_TR_FILTER_MODE_LINEAR)
        return leave(CUDA_ERROR_INVALID_VALUE);
    reference->texture.filterMode = mode;
    return leave(apply(reference));
}

API cuTexRefGetFilterMode(CUfilter_mode *mode, CUtexref reference)
{
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!mode)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *mode = reference->texture.filterMode;
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetFlags(CUtexref reference, unsigned flags)
{
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (flags & ~(CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES |
                  CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION))
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    reference->texture.flags = flags;
    return leave(apply(reference));
}

API cuTexRefGetFlags(unsigned *flags, CUtexref reference)
{
    CUresult err = enter_reference(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!flags)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *flags = reference->texture.flags;
    return leave(CUDA_SUCCESS);
}
