/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "vaapi.h"

/*
 * Parameter buffers as the guest sent them. Three things change: ids of surfaces are the host's,
 * a slice's data starts at 0 (each goes into a buffer of its own), and structs have the size that
 * the protocol knows.
 */

enum params_kind { PARAMS_PARAM, PARAMS_SLICE, PARAMS_BYTES };

static const struct params_struct {
    enum vd_codec codec;
    VABufferType type;
    enum params_kind kind;
    uint32_t size;
    enum va_param slot;
    const char *name;
} params_structs[] = {
#define VD_VA_STRUCT(codec, type, kind, name, size, slot) \
    {VD_CODEC_##codec, type, PARAMS_##kind, (size), VA_PARAM_##slot, #name},
#include <viaduct/va_structs.def>
};

static const struct {
    const char *name; /* of the struct */
    uint32_t offset, count, stride;
} params_ids[] = {
#define VD_VA_MAX(s, field, most)
#define VD_VA_ID(s, field, count, stride) {#s, offsetof(s, field), (count), (stride)},
#include <viaduct/va_fields.def>
};

/* Larger than all structs of va_structs.def but those of any length. */
#define PARAMS_LARGEST 4096

union params_copy {
    uint8_t bytes[PARAMS_LARGEST];
    VASliceParameterBufferBase slice;
};

#define VD_VA_STRUCT(codec, type, kind, name, size, slot) \
    _Static_assert((size) <= PARAMS_LARGEST, #name " is too large");
#include <viaduct/va_structs.def>

VASurfaceID vaapi_params_id(struct vaapi_device *device, const struct backend_context_info *info,
                            uint32_t id)
{
    struct surface *surface = id == VA_INVALID_ID ? NULL : info->find_surface(info->find_arg, id);
    struct vaapi_surface *native;

    if (!surface || vaapi_surface_get(device, surface, &native))
        return VA_INVALID_SURFACE;
    return native->id;
}

static void translate_ids(struct vaapi_device *device, const struct backend_context_info *info,
                          const struct params_struct *s, uint8_t *bytes)
{
    for (size_t i = 0; i < sizeof(params_ids) / sizeof(params_ids[0]); i++) {
        if (strcmp(params_ids[i].name, s->name))
            continue;
        for (uint32_t j = 0; j < params_ids[i].count; j++) {
            uint8_t *at = bytes + params_ids[i].offset + (size_t)j * params_ids[i].stride;
            uint32_t id;

            memcpy(&id, at, sizeof(id));
            id = vaapi_params_id(device, info, id);
            memcpy(at, &id, sizeof(id));
        }
    }
}

/* Room is there (vaapi_params_create). libva copies the bytes. */
static int add_buffer(struct vaapi_device *device, VAContextID context, VABufferType type,
                      const void *bytes, uint32_t size, struct vaapi_buffers *buffers)
{
    int err = vaapi_error(vaCreateBuffer(device->display, context, type, size, 1,
                                         (void *)(uintptr_t)bytes, &buffers->ids[buffers->count]));

    if (!err)
        buffers->count++;
    return err;
}

static int add_param(struct vaapi_device *device, VAContextID context,
                     const struct backend_context_info *info, const struct params_struct *s,
                     const struct va_picture *picture, struct vaapi_buffers *buffers)
{
    const void *param = picture->param[s->slot];
    union params_copy copy;

    if (s->kind == PARAMS_BYTES)
        return add_buffer(device, context, s->type, param, picture->param_size[s->slot], buffers);
    memcpy(copy.bytes, param, s->size);
    translate_ids(device, info, s, copy.bytes);
    return add_buffer(device, context, s->type, copy.bytes, s->size, buffers);
}

static int add_slice(struct vaapi_device *device, VAContextID context,
                     const struct backend_context_info *info, const struct params_struct *s,
                     const struct va_slice *slice, struct vaapi_buffers *buffers)
{
    union params_copy copy;
    int err;

    memcpy(copy.bytes, slice->param, s->size);
    translate_ids(device, info, s, copy.bytes);
    copy.slice.slice_data_offset = 0;
    err = add_buffer(device, context, s->type, copy.bytes, s->size, buffers);
    if (err)
        return err;
    return add_buffer(device, context, VASliceDataBufferType, slice->data, slice->size, buffers);
}

int vaapi_params_create(struct vaapi_device *device, VAContextID context,
                        const struct backend_context_info *info, const struct va_picture *picture,
                        struct vaapi_buffers *buffers)
{
    uint32_t want = VA_PARAM_COUNT + 2 * picture->slice_count;
    int err = 0;

    if (want > buffers->room) {
        VABufferID *grown = realloc(buffers->ids, want * sizeof(*grown));

        if (!grown)
            return VD_ERR_MEMORY;
        buffers->ids = grown;
        buffers->room = want;
    }
    for (size_t i = 0; i < sizeof(params_structs) / sizeof(params_structs[0]) && !err; i++) {
        const struct params_struct *s = &params_structs[i];

        if (s->codec != info->codec)
            continue;
        if (s->kind != PARAMS_SLICE) {
            if (picture->param[s->slot])
                err = add_param(device, context, info, s, picture, buffers);
            continue;
        }
        for (uint32_t j = 0; j < picture->slice_count && !err; j++)
            err = add_slice(device, context, info, s, &picture->slices[j], buffers);
    }
    return err;
}

void vaapi_params_destroy(struct vaapi_device *device, struct vaapi_buffers *buffers)
{
    while (buffers->count)
        vaDestroyBuffer(device->display, buffers->ids[--buffers->count]);
}
