/* SPDX-License-Identifier: MIT */
#include "collect_encode.h"

#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>

#define COLLECT_ALIGN 8u

struct encode_struct {
    enum vd_codec codec;
    uint32_t type;
    bool slice;
    uint32_t size;
    enum encode_param slot;
};

enum { KIND_PARAM, KIND_SLICE };

static const struct encode_struct encode_structs[] = {
#define VD_VA_ENCODE(codec, type, kind, name, size, slot) \
    {VD_CODEC_##codec, type, KIND_##kind == KIND_SLICE, (size), ENCODE_PARAM_##slot},
#define VD_VA_CODED(codec, name, field)
#include <viaduct/va_encode.def>
};

#define VD_VA_ENCODE(codec, type, kind, name, size, slot) \
    _Static_assert(sizeof(name) == (size), "libva's " #name " is not what the protocol carries");
#define VD_VA_CODED(codec, name, field)
#include <viaduct/va_encode.def>

/* What the first pass found. */
struct encode_sizes {
    uint64_t params, headers;
    uint32_t slices, misc, header_count, buffers;
    const struct vd_buffer_ref *coded;
};

static const struct encode_struct *find_struct(enum vd_codec codec, uint32_t type)
{
    for (size_t i = 0; i < sizeof(encode_structs) / sizeof(encode_structs[0]); i++) {
        if (encode_structs[i].codec == codec && encode_structs[i].type == type)
            return &encode_structs[i];
    }
    return NULL;
}

static uint64_t aligned(uint64_t size)
{
    return (size + COLLECT_ALIGN - 1) / COLLECT_ALIGN * COLLECT_ALIGN;
}

static int measure_one(const struct vd_buffer_ref *ref, enum vd_codec codec,
                       struct encode_sizes *sizes)
{
    const struct encode_struct *s = find_struct(codec, ref->type);
    uint64_t bytes = (uint64_t)ref->size * ref->count;

    switch (ref->type) {
    case VAEncCodedBufferType:
        if (sizes->coded || bytes < VD_CODED_HEAD || bytes > VD_MAX_CODED_BYTES + VD_CODED_HEAD)
            return VD_ERR_PARAMETER;
        sizes->coded = ref;
        return 0;
    case VAEncPackedHeaderParameterBufferType:
        sizes->buffers++;
        return ref->size < sizeof(VAEncPackedHeaderParameterBuffer) || ref->count != 1
                   ? VD_ERR_PARAMETER
                   : 0;
    case VAEncPackedHeaderDataBufferType:
        sizes->buffers++;
        sizes->header_count++;
        sizes->headers += aligned(bytes);
        return 0;
    case VAEncMiscParameterBufferType:
        if (bytes < sizeof(uint32_t) || bytes > VD_MAX_HEADER_BYTES)
            return VD_ERR_PARAMETER;
        sizes->buffers++;
        sizes->misc++;
        sizes->params += aligned(bytes);
        return 0;
    default:
        break;
    }
    if (!s || ref->size < s->size || !ref->count || (!s->slice && ref->count != 1))
        return VD_ERR_PARAMETER;
    sizes->params += aligned(s->size) * ref->count;
    sizes->buffers += ref->count;
    if (s->slice)
        sizes->slices += ref->count;
    return sizes->slices > VD_MAX_SLICES ? VD_ERR_LIMIT : 0;
}

/* All references inside the zone, types known, counts within limits. */
static int measure(const struct arena *arena, const struct vd_buffer_ref *refs, uint32_t count,
                   enum vd_codec codec, struct encode_sizes *ret_sizes)
{
    struct encode_sizes sizes = {0};
    int err = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (arena_check_upload(arena, refs[i].offset, (uint64_t)refs[i].size * refs[i].count))
            return VD_ERR_PROTOCOL;
        if (!err)
            err = measure_one(&refs[i], codec, &sizes);
    }
    if (err)
        return err;
    if (!sizes.coded)
        return VD_ERR_PARAMETER;
    if (sizes.headers > VD_MAX_HEADER_BYTES || sizes.header_count > VD_MAX_HEADERS ||
        sizes.misc > VD_MAX_MISC || sizes.params > VD_MAX_PICTURE_BYTES)
        return VD_ERR_LIMIT;
    *ret_sizes = sizes;
    return 0;
}

static int make_room(struct collect_encode *collect, const struct encode_sizes *sizes)
{
    if (sizes->params > collect->room) {
        uint8_t *bytes = realloc(collect->bytes, sizes->params);

        if (!bytes)
            return VD_ERR_MEMORY;
        collect->bytes = bytes;
        collect->room = sizes->params;
    }
    if (sizes->slices > collect->slice_room) {
        const void **slices = realloc(collect->slices, sizes->slices * sizeof(*slices));

        if (!slices)
            return VD_ERR_MEMORY;
        collect->slices = slices;
        collect->slice_room = sizes->slices;
    }
    return 0;
}

/* A header's data; what it is stands in the parameter buffer before it. */
static int copy_header(struct collect_encode *collect, const uint8_t *from, uint64_t bytes,
                       const VAEncPackedHeaderParameterBuffer *param, uint8_t **to)
{
    struct encode_picture *picture = &collect->picture;

    if (!param || param->bit_length > bytes * 8)
        return VD_ERR_PARAMETER;
    memcpy(*to, from, bytes);
    collect->headers[picture->header_count++] = (struct encode_header){
        .type = param->type,
        .escaped = param->has_emulation_bytes,
        .bits = param->bit_length,
        .bytes = *to,
    };
    *to += aligned(bytes);
    return 0;
}

static int copy_all(struct collect_encode *collect, const struct arena *arena,
                    const struct vd_buffer_ref *refs, uint32_t count, enum vd_codec codec,
                    uint8_t *headers)
{
    struct encode_picture *picture = &collect->picture;
    VAEncPackedHeaderParameterBuffer param;
    bool has_param = false;
    uint8_t *at = collect->bytes;
    int err = 0;

    for (uint32_t i = 0; i < count && !err; i++) {
        const struct encode_struct *s = find_struct(codec, refs[i].type);
        const uint8_t *from = arena->base + refs[i].offset;
        uint64_t bytes = (uint64_t)refs[i].size * refs[i].count;

        if (refs[i].type == VAEncPackedHeaderParameterBufferType) {
            memcpy(&param, from, sizeof(param));
            has_param = true;
        } else if (refs[i].type == VAEncPackedHeaderDataBufferType) {
            err = copy_header(collect, from, bytes, has_param ? &param : NULL, &headers);
            has_param = false;
        } else if (refs[i].type == VAEncMiscParameterBufferType) {
            struct encode_misc *misc = &collect->misc[picture->misc_count++];

            memcpy(&misc->type, from, sizeof(misc->type));
            misc->size = (uint32_t)(bytes - sizeof(misc->type));
            memcpy(at, from + sizeof(misc->type), misc->size);
            misc->data = at;
            at += aligned(bytes);
        } else if (s) {
            for (uint32_t j = 0; j < refs[i].count; j++, at += aligned(s->size)) {
                memcpy(at, from + (size_t)j * refs[i].size, s->size);
                if (s->slice)
                    collect->slices[picture->slice_count++] = at;
                else
                    picture->param[s->slot] = at;
            }
        }
    }
    return err;
}

int collect_encode(struct collect_encode *collect, const struct arena *arena,
                   const struct vd_buffer_ref *refs, uint32_t count, enum vd_codec codec,
                   struct block_pool *blocks, struct block **ret_block,
                   struct backend_work **ret_work, struct encode_request **ret_request)
{
    struct encode_sizes sizes;
    struct backend_work *work;
    struct encode_request *request;
    struct surface_read *read;
    struct block *block;
    int err;

    memset(&collect->picture, 0, sizeof(collect->picture));
    err = measure(arena, refs, count, codec, &sizes);
    if (!err)
        err = make_room(collect, &sizes);
    if (err)
        return err;
    err =
        block_get(blocks, sizeof(*work) + sizeof(*request) + sizeof(*read) + sizes.headers, &block);
    if (err)
        return err;
    request = (struct encode_request *)block->bytes;
    work = (struct backend_work *)(request + 1);
    read = (struct surface_read *)(work + 1);
    err = copy_all(collect, arena, refs, count, codec, (uint8_t *)(read + 1));
    if (err) {
        block_unref(&block);
        return err;
    }
    memset(request, 0, sizeof(*request));
    *read = (struct surface_read){0};
    *work = (struct backend_work){
        .reads = read,
        .read_count = 1,
        .request = request,
        .coded = arena->base + sizes.coded->offset,
        .coded_room = sizes.coded->size * sizes.coded->count,
    };
    collect->picture.slices = collect->slices;
    collect->picture.misc = collect->misc;
    collect->picture.headers = collect->headers;
    *ret_block = block;
    *ret_work = work;
    *ret_request = request;
    return 0;
}

/* Where copies go. */
struct encode_room {
    struct backend_work *work;
    uint8_t *at;
};

static const uint8_t *keep(struct encode_room *room, uint32_t type, const uint8_t *from,
                           uint32_t size)
{
    uint8_t *to = room->at;

    memcpy(to, from, size);
    room->at += aligned(size);
    room->work->buffers[room->work->buffer_count++] = (struct backend_buffer){type, size, to};
    return to;
}

static int keep_all(struct encode_room *room, const struct arena *arena,
                    const struct vd_buffer_ref *refs, uint32_t count, enum vd_codec codec)
{
    const VAEncPackedHeaderParameterBuffer *header = NULL;

    for (uint32_t i = 0; i < count; i++) {
        const struct encode_struct *s = find_struct(codec, refs[i].type);
        const uint8_t *from = arena->base + refs[i].offset;
        uint32_t bytes = refs[i].size * refs[i].count;

        if (refs[i].type == VAEncPackedHeaderParameterBufferType) {
            header = (const void *)keep(room, refs[i].type, from, sizeof(*header));
        } else if (refs[i].type == VAEncPackedHeaderDataBufferType) {
            if (!header || header->bit_length > (uint64_t)bytes * 8)
                return VD_ERR_PARAMETER;
            keep(room, refs[i].type, from, bytes);
            header = NULL;
        } else if (refs[i].type == VAEncMiscParameterBufferType) {
            keep(room, refs[i].type, from, bytes);
        } else if (s) {
            for (uint32_t j = 0; j < refs[i].count; j++)
                keep(room, refs[i].type, from + (size_t)j * refs[i].size, s->size);
        }
    }
    return 0;
}

int collect_buffers(const struct arena *arena, const struct vd_buffer_ref *refs, uint32_t count,
                    enum vd_codec codec, struct block_pool *blocks, struct block **ret_block,
                    struct backend_work **ret_work)
{
    const size_t header = aligned(sizeof(VAEncPackedHeaderParameterBuffer));
    struct encode_sizes sizes;
    struct encode_room room;
    struct surface_read *read;
    struct block *block;
    int err = measure(arena, refs, count, codec, &sizes);

    if (!err && sizes.buffers > VD_MAX_BUFFERS)
        err = VD_ERR_LIMIT;
    if (!err)
        err = block_get(blocks,
                        sizeof(*room.work) + sizeof(*read) +
                            sizes.buffers * (sizeof(struct backend_buffer) + header) +
                            sizes.params + sizes.headers,
                        &block);
    if (err)
        return err;
    room.work = (struct backend_work *)block->bytes;
    read = (struct surface_read *)(room.work + 1);
    *read = (struct surface_read){0};
    *room.work = (struct backend_work){
        .reads = read,
        .read_count = 1,
        .buffers = (struct backend_buffer *)(read + 1),
        .coded = arena->base + sizes.coded->offset,
        .coded_room = sizes.coded->size * sizes.coded->count,
    };
    room.at = (uint8_t *)(room.work->buffers + sizes.buffers);
    err = keep_all(&room, arena, refs, count, codec);
    if (err) {
        block_unref(&block);
        return err;
    }
    *ret_block = block;
    *ret_work = room.work;
    return 0;
}

void collect_encode_finish(struct collect_encode *collect)
{
    free(collect->bytes);
    free(collect->slices);
    *collect = (struct collect_encode){0};
}
