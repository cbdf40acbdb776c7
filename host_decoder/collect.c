/* SPDX-License-Identifier: MIT */
#include "collect.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>

enum collect_kind { COLLECT_PARAM, COLLECT_SLICE, COLLECT_BYTES };

/* Structs are copied to such addresses. */
#define COLLECT_ALIGN 8u

struct collect_struct {
    enum vd_codec codec;
    uint32_t type;
    enum collect_kind kind;
    uint32_t size;
    enum va_param slot;
    const char *name;
};

static const struct collect_struct collect_structs[] = {
#define VD_VA_STRUCT(codec, type, kind, name, size, slot) \
    {VD_CODEC_##codec, type, COLLECT_##kind, (size), VA_PARAM_##slot, #name},
#include <viaduct/va_structs.def>
};

#define VD_VA_STRUCT(codec, type, kind, name, size, slot) \
    _Static_assert(sizeof(name) == (size), "libva's " #name " is not what the protocol carries");
#include <viaduct/va_structs.def>

struct collect_field {
    const char *name; /* of the struct */
    uint32_t offset, bytes, most;
    uint32_t id_count, id_stride; /* id_count 0: a maximum */
};

static const struct collect_field collect_fields[] = {
#define VD_VA_MAX(s, field, most) {#s, offsetof(s, field), sizeof(((s *)0)->field), (most), 0, 0},
#define VD_VA_ID(s, field, count, stride) \
    {#s, offsetof(s, field), sizeof(((s *)0)->field), 0, (count), (stride)},
#include <viaduct/va_fields.def>
};

/* One slice data buffer of the picture. */
struct collect_data {
    const uint8_t *bytes; /* in the upload zone: only ever copied from */
    uint32_t size;
};

static const struct collect_struct *find_row(enum vd_codec codec, uint32_t type)
{
    for (size_t i = 0; i < sizeof(collect_structs) / sizeof(collect_structs[0]); i++) {
        if (collect_structs[i].codec == codec && collect_structs[i].type == type)
            return &collect_structs[i];
    }
    return NULL;
}

static const struct collect_struct *find_struct(enum vd_codec codec,
                                                const struct vd_buffer_ref *ref)
{
    const struct collect_struct *s;

    /*
     * FFmpeg decodes streams of range extensions as Main where it is told not to mind profiles
     * (AV_HWACCEL_FLAG_ALLOW_PROFILE_MISMATCH), and sends the long structs.
     */
    if (codec == VD_CODEC_HEVC) {
        s = find_row(VD_CODEC_HEVC_EXT, ref->type);
        if (s && ref->size >= s->size)
            return s;
    }
    return find_row(codec, ref->type);
}

static int check_fields(const struct collect_struct *s, uint8_t *copy, collect_surface_known known,
                        void *known_arg)
{
    for (size_t i = 0; i < sizeof(collect_fields) / sizeof(collect_fields[0]); i++) {
        const struct collect_field *f = &collect_fields[i];
        uint64_t value = 0;

        if (strcmp(f->name, s->name))
            continue;
        if (!f->id_count) {
            memcpy(&value, copy + f->offset, f->bytes);
            if (value > f->most)
                return VD_ERR_PARAMETER;
        }
        for (uint32_t j = 0; j < f->id_count; j++) {
            uint32_t id;

            memcpy(&id, copy + f->offset + (size_t)j * f->id_stride, sizeof(id));
            if (id != VA_INVALID_ID && !known(known_arg, id)) {
                id = VA_INVALID_ID;
                memcpy(copy + f->offset + (size_t)j * f->id_stride, &id, sizeof(id));
            }
        }
    }
    return 0;
}

static int grow(void **array, size_t element, size_t want, size_t have)
{
    void *grown;

    if (want <= have)
        return 0;
    grown = realloc(*array, want * element);
    if (!grown)
        return VD_ERR_MEMORY;
    *array = grown;
    return 0;
}

/* Copies that one reference makes, and bytes from one to the next. */
static uint32_t copy_count(const struct collect_struct *s, const struct vd_buffer_ref *ref)
{
    return s->kind == COLLECT_BYTES ? 1 : ref->count;
}

static uint64_t copy_bytes(const struct collect_struct *s, const struct vd_buffer_ref *ref)
{
    return s->kind == COLLECT_BYTES ? (uint64_t)ref->size * ref->count : s->size;
}

static uint64_t copy_size(const struct collect_struct *s, const struct vd_buffer_ref *ref)
{
    return (copy_bytes(s, ref) + COLLECT_ALIGN - 1) / COLLECT_ALIGN * COLLECT_ALIGN;
}

/* First pass: every reference inside the zone, types known, room for the copies. */
static int measure(struct collect *collect, const struct arena *arena,
                   const struct vd_buffer_ref *refs, uint32_t count, enum vd_codec codec,
                   uint32_t *ret_slices)
{
    uint64_t params = 0, copies = 0, slices = 0, data = 0;
    int err = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct collect_struct *s = find_struct(codec, &refs[i]);

        if (arena_check_upload(arena, refs[i].offset, (uint64_t)refs[i].size * refs[i].count))
            return VD_ERR_PROTOCOL;
        if (refs[i].type == VASliceDataBufferType) {
            data++;
            continue;
        }
        if (!s || refs[i].size < s->size || !refs[i].count ||
            (s->kind == COLLECT_PARAM && refs[i].count != 1)) {
            err = VD_ERR_PARAMETER;
            continue;
        }
        params += copy_size(s, &refs[i]) * copy_count(s, &refs[i]);
        if (s->kind == COLLECT_SLICE)
            slices += refs[i].count;
        else
            copies++;
    }
    if (err)
        return err;
    if (slices > VD_MAX_SLICES || params > VD_MAX_PICTURE_BYTES)
        return VD_ERR_LIMIT;
    if (!slices || !data)
        return VD_ERR_PARAMETER;
    if (grow((void **)&collect->params, 1, params, collect->param_room) ||
        grow((void **)&collect->copies, sizeof(*collect->copies), copies, collect->copy_room) ||
        grow((void **)&collect->slices, sizeof(*collect->slices), slices, collect->slice_room) ||
        grow((void **)&collect->data, sizeof(*collect->data), data, collect->data_room))
        return VD_ERR_MEMORY;
    if (params > collect->param_room)
        collect->param_room = params;
    if (copies > collect->copy_room)
        collect->copy_room = (uint32_t)copies;
    if (slices > collect->slice_room)
        collect->slice_room = (uint32_t)slices;
    if (data > collect->data_room)
        collect->data_room = (uint32_t)data;
    *ret_slices = (uint32_t)slices;
    return 0;
}

/*
 * Fields that every slice parameter struct of libva starts with. GStreamer's VP8 skips a header
 * by the offset and leaves the size that of the whole data.
 */
static VASliceParameterBufferBase slice_base(const struct va_slice *slice,
                                             const struct collect_data *data)
{
    VASliceParameterBufferBase base;

    memcpy(&base, slice->param, sizeof(base));
    if (base.slice_data_size == data->size && base.slice_data_offset <= data->size)
        base.slice_data_size -= base.slice_data_offset;
    return base;
}

/*
 * Which data buffer a slice belongs to. Apps send parameters then their data (ffmpeg, GStreamer),
 * or one data buffer and then parameters for parts of it (Chrome). If the first of both kinds is
 * data, a parameter buffer means the last data before it, else the next data after it. Data
 * indices go into `size` of the slice until the copy.
 */
static int pair_slices(struct collect *collect, const struct vd_buffer_ref *refs, uint32_t count,
                       const struct arena *arena, uint32_t slice_count)
{
    uint32_t slices = 0, data = 0, pending = 0;
    bool data_first = false;

    for (uint32_t i = 0; i < count; i++) {
        if (refs[i].type == VASliceDataBufferType) {
            uint64_t size = (uint64_t)refs[i].size * refs[i].count;

            if (size > VD_MAX_PICTURE_BYTES)
                return VD_ERR_LIMIT;
            if (!slices)
                data_first = true;
            collect->data[data].bytes = arena->base + refs[i].offset;
            collect->data[data].size = (uint32_t)size;
            while (!data_first && pending < slices)
                collect->slices[pending++].size = data;
            data++;
        } else if (refs[i].type == VASliceParameterBufferType) {
            for (uint32_t j = 0; j < refs[i].count; j++, slices++) {
                if (data_first)
                    collect->slices[slices].size = data - 1;
            }
        }
    }
    if (slices != slice_count || (!data_first && pending < slices))
        return VD_ERR_PARAMETER;
    return 0;
}

static int copy_params(struct collect *collect, const struct arena *arena,
                       const struct vd_buffer_ref *refs, uint32_t count, enum vd_codec codec,
                       collect_surface_known known, void *known_arg)
{
    uint8_t *at = collect->params;
    uint32_t slices = 0, copies = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct collect_struct *s = find_struct(codec, &refs[i]);

        if (refs[i].type == VASliceDataBufferType)
            continue;
        for (uint32_t j = 0; j < copy_count(s, &refs[i]); j++, at += copy_size(s, &refs[i])) {
            uint64_t bytes = copy_bytes(s, &refs[i]);

            memcpy(at, arena->base + refs[i].offset + (uint64_t)j * refs[i].size, bytes);
            if (check_fields(s, at, known, known_arg))
                return VD_ERR_PARAMETER;
            if (s->kind == COLLECT_SLICE) {
                collect->slices[slices++].param = at;
            } else {
                collect->picture.param[s->slot] = at;
                collect->picture.param_size[s->slot] = (uint32_t)bytes;
                collect->copies[copies++] = (struct va_copy){.slot = s->slot, .param = at};
            }
        }
    }
    collect->picture.copies = collect->copies;
    collect->picture.copy_count = copies;
    return 0;
}

int collect_picture(struct collect *collect, const struct arena *arena,
                    const struct vd_buffer_ref *refs, uint32_t count, enum vd_codec codec,
                    size_t gap, struct block_pool *blocks, collect_surface_known known,
                    void *known_arg, struct block **ret_block)
{
    uint64_t total = BITSTREAM_HEAD_ROOM + BITSTREAM_TAIL_ROOM;
    struct block *block;
    uint32_t slices;
    uint8_t *at;
    int err;

    memset(&collect->picture, 0, sizeof(collect->picture));
    err = measure(collect, arena, refs, count, codec, &slices);
    if (!err)
        err = pair_slices(collect, refs, count, arena, slices);
    if (!err)
        err = copy_params(collect, arena, refs, count, codec, known, known_arg);
    if (err)
        return err;
    for (uint32_t i = 0; i < slices; i++) {
        const struct collect_data *data = &collect->data[collect->slices[i].size];
        VASliceParameterBufferBase base = slice_base(&collect->slices[i], data);

        if (base.slice_data_offset > data->size ||
            base.slice_data_size > data->size - base.slice_data_offset)
            return VD_ERR_PARAMETER;
        total += gap + (uint64_t)base.slice_data_size;
    }
    if (total > VD_MAX_PICTURE_BYTES)
        return VD_ERR_LIMIT;
    err = block_get(blocks, total, &block);
    if (err)
        return err;
    at = block->bytes + BITSTREAM_HEAD_ROOM;
    for (uint32_t i = 0; i < slices; i++) {
        const struct collect_data *data = &collect->data[collect->slices[i].size];
        VASliceParameterBufferBase base = slice_base(&collect->slices[i], data);

        at += gap;
        memcpy(at, data->bytes + base.slice_data_offset, base.slice_data_size);
        collect->slices[i].data = at;
        collect->slices[i].size = base.slice_data_size;
        at += base.slice_data_size;
    }
    memset(at, 0, BITSTREAM_TAIL_ROOM);
    collect->picture.head = block->bytes;
    collect->picture.slices = collect->slices;
    collect->picture.slice_count = slices;
    *ret_block = block;
    return 0;
}

void collect_finish(struct collect *collect)
{
    free(collect->params);
    free(collect->copies);
    free(collect->slices);
    free(collect->data);
    *collect = (struct collect){0};
}
