/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/texture.h>

#include "module.h"
#include "reference.h"

/*
 * References to textures and surfaces: variables of a module, .texref and .surfref, which the
 * program binds before it launches kernels. The variable is the struct cuda_texture itself. It is
 * written whenever something of a bound reference changes, behind the launches before.
 */

static struct CUtexref_st *known(const struct CUmod_st *m, uint64_t address)
{
    for (struct CUtexref_st *r = m->references; r; r = r->next)
        if (r->address == address)
            return r;
    return NULL;
}

static CUresult find(void **ret_reference, CUmodule module, const char *name, uint32_t magic)
{
    struct cuda_texture t;
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
    r = known(module, address);
    /* The variable of another driver is its own business. */
    if (device_properties(module->context->device)->textureless)
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if (!r) {
        /* How it is read may stand in the module's text. */
        err = texture_read(module->context, address, &t);
        if (!err && !handle_is(module, MODULE))
            err = CUDA_ERROR_INVALID_HANDLE;
        if (err)
            return leave(err);
        r = known(module, address);
    }
    if (!r) {
        r = calloc(1, sizeof(*r));
        if (!r || !handle_add(r, REFERENCE)) {
            free(r);
            return leave(CUDA_ERROR_OUT_OF_MEMORY);
        }
        r->context = module->context;
        r->module = module;
        r->address = address;
        r->magic = magic;
        r->texture.filterMode = (CUfilter_mode)t.filter;
        r->texture.flags = t.flags;
        for (unsigned i = 0; i < 3; i++)
            r->texture.addressMode[i] = (CUaddress_mode)t.modes[i];
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

void reference_drop_context(struct CUctx_st *c)
{
    while (c->texrefs) {
        struct CUtexref_st *r = c->texrefs;

        c->texrefs = r->next;
        handle_remove(r);
        free(r);
    }
}

CUresult reference_enter(const struct CUtexref_st *r, uint32_t magic)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    return handle_is(r, REFERENCE) && r->magic == magic ? CUDA_SUCCESS
                                                        : leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult reference_apply(struct CUtexref_st *r)
{
    struct cuda_texture t = {.magic = r->magic};
    struct CUctx_st *c = r->context;
    uint64_t address = r->address;
    CUresult err;

    if (!r->bound || !r->module)
        return CUDA_SUCCESS;
    if (r->resource.resType == CU_RESOURCE_TYPE_LINEAR) {
        /* The rest is said later. */
        if (!r->format)
            return CUDA_SUCCESS;
        r->resource.res.linear.format = r->format;
        r->resource.res.linear.numChannels = r->channels;
    }
    /* Mipmaps are for normalised coordinates; that may be said later, too. */
    if (r->resource.resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY &&
        !(r->texture.flags & CU_TRSF_NORMALIZED_COORDINATES))
        return CUDA_SUCCESS;
    err = texture_describe(&r->resource, NULL, c, &t);
    if (!err && r->magic == CUDA_TEXTURE_MAGIC)
        err = texture_set_sampler(&t, &r->texture);
    if (!err)
        err = context_wait(c);
    return err ? err : texture_write(c, address, &t);
}

CUresult reference_bind(struct CUtexref_st *r, const CUDA_RESOURCE_DESC *resource)
{
    CUDA_RESOURCE_DESC kept = r->resource;
    bool bound = r->bound;
    CUresult err;

    r->resource = *resource;
    r->bound = true;
    err = reference_apply(r);
    if (err && handle_is(r, REFERENCE)) {
        r->resource = kept;
        r->bound = bound;
    }
    return err;
}

CUresult reference_describe(struct CUtexref_st *r, const CUDA_TEXTURE_DESC *how)
{
    CUDA_TEXTURE_DESC kept = r->texture;
    CUresult err;

    r->texture = *how;
    err = reference_apply(r);
    if (err && handle_is(r, REFERENCE))
        r->texture = kept;
    return err;
}

static CUresult bind_array(struct CUtexref_st *r, CUarray array, unsigned flags, uint32_t magic)
{
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = array};
    CUresult err = reference_enter(r, magic);

    if (err)
        return err;
    if (flags & ~CU_TRSA_OVERRIDE_FORMAT || !handle_is(array, ARRAY) ||
        (magic == CUDA_SURFACE_MAGIC && !(array->shape.Flags & CUDA_ARRAY3D_SURFACE_LDST)))
        return leave(CUDA_ERROR_INVALID_VALUE);
    r->format = array->shape.Format;
    r->channels = array->shape.NumChannels;
    return leave(reference_bind(r, &resource));
}

static CUresult bound_array(CUarray *array, const struct CUtexref_st *r, uint32_t magic)
{
    CUresult err = reference_enter(r, magic);

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
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    device_attribute(&align, CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, reference->context->device);
    beyond = address % (unsigned)align;
    if ((beyond && !offset) || bytes > SIZE_MAX - beyond)
        return leave(CUDA_ERROR_INVALID_VALUE);
    resource.res.linear.devPtr = address - beyond;
    resource.res.linear.sizeInBytes = bytes + beyond;
    err = reference_bind(reference, &resource);
    if (!err && offset)
        *offset = beyond;
    return leave(err);
}

API cuTexRefSetAddress2D_v3(CUtexref reference, const CUDA_ARRAY_DESCRIPTOR *d, CUdeviceptr address,
                            size_t pitch)
{
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_PITCH2D};
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

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
    return leave(reference_bind(reference, &resource));
}

/* The form before asked the same of the pitch. */
API cuTexRefSetAddress2D_v2(CUtexref reference, const CUDA_ARRAY_DESCRIPTOR *d, CUdeviceptr address,
                            size_t pitch)
{
    return cuTexRefSetAddress2D_v3(reference, d, address, pitch);
}

API cuTexRefGetAddress_v2(CUdeviceptr *address, CUtexref reference)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!address || !reference->bound || reference->resource.resType < CU_RESOURCE_TYPE_LINEAR)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *address = reference->resource.resType == CU_RESOURCE_TYPE_LINEAR
                   ? reference->resource.res.linear.devPtr
                   : reference->resource.res.pitch2D.devPtr;
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetFormat(CUtexref reference, CUarray_format format, int channels)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!cuda_texture_bytes(format) || channels < 1 || !cuda_texture_channels((unsigned)channels))
        return leave(CUDA_ERROR_INVALID_VALUE);
    reference->format = format;
    reference->channels = (unsigned)channels;
    return leave(reference_apply(reference));
}

API cuTexRefGetFormat(CUarray_format *format, int *channels, CUtexref reference)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

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
    CUDA_TEXTURE_DESC how;
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (dimension < 0 || dimension > 2 || (unsigned)mode > CU_TR_ADDRESS_MODE_BORDER)
        return leave(CUDA_ERROR_INVALID_VALUE);
    how = reference->texture;
    how.addressMode[dimension] = mode;
    return leave(reference_describe(reference, &how));
}

API cuTexRefGetAddressMode(CUaddress_mode *mode, CUtexref reference, int dimension)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!mode || dimension < 0 || dimension > 2)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *mode = reference->texture.addressMode[dimension];
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetFilterMode(CUtexref reference, CUfilter_mode mode)
{
    CUDA_TEXTURE_DESC how;
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if ((unsigned)mode > CU_TR_FILTER_MODE_LINEAR)
        return leave(CUDA_ERROR_INVALID_VALUE);
    how = reference->texture;
    how.filterMode = mode;
    return leave(reference_describe(reference, &how));
}

API cuTexRefGetFilterMode(CUfilter_mode *mode, CUtexref reference)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!mode)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *mode = reference->texture.filterMode;
    return leave(CUDA_SUCCESS);
}

API cuTexRefSetFlags(CUtexref reference, unsigned flags)
{
    CUDA_TEXTURE_DESC how;
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (flags & ~(CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB |
                  CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION))
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    how = reference->texture;
    how.flags = flags;
    return leave(reference_describe(reference, &how));
}

API cuTexRefGetFlags(unsigned *flags, CUtexref reference)
{
    CUresult err = reference_enter(reference, CUDA_TEXTURE_MAGIC);

    if (err)
        return err;
    if (!flags)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *flags = reference->texture.flags;
    return leave(CUDA_SUCCESS);
}
