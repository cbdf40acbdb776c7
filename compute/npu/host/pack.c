/* SPDX-License-Identifier: MIT */
#include "pack.h"

#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

/* Smaller tensors are copied: that costs less than to think about who changes them meanwhile. */
#define PACK_SMALL (64u << 10)

static uint64_t align8(uint64_t size)
{
    return (size + 7) & ~UINT64_C(7);
}

static uint64_t align64(uint64_t size)
{
    return (size + 63) & ~UINT64_C(63);
}

static uint64_t string_count(const struct onnx_value *value)
{
    return value->size / sizeof(struct onnx_string);
}

int pack_size(const struct onnx_value *value, uint64_t *ret_size)
{
    uint64_t size = 0;
    int err = 0;

    switch (value->kind) {
    case ONNX_NONE:
        break;
    case ONNX_TENSOR:
        if (value->dtype != ONNX_STRING) {
            if (npu_bytes(value->dtype, value->dims, (uint32_t)value->rank, &size))
                return VD_ERR_UNSUPPORTED;
            break;
        }
        for (uint64_t i = 0; i < string_count(value); i++) {
            const struct onnx_string *s = (const struct onnx_string *)value->data + i;

            if (s->size > UINT32_MAX)
                return VD_ERR_UNSUPPORTED;
            size += sizeof(uint32_t) + s->size;
        }
        break;
    case ONNX_SEQUENCE:
    case ONNX_MAP:
    case ONNX_MAPS:
        size = value->item_count * sizeof(struct vd_npu_value);
        for (size_t i = 0; i < value->item_count && !err; i++) {
            uint64_t item = 0;

            err = value->items[i].kind == ONNX_TENSOR ? pack_size(&value->items[i], &item)
                                                      : VD_ERR_UNSUPPORTED;
            size += align8(item);
        }
        break;
    default:
        err = VD_ERR_UNSUPPORTED;
    }
    *ret_size = size;
    return err;
}

void pack_row(const struct onnx_value *value, uint64_t size, struct vd_npu_value *ret_row)
{
    int64_t items = (int64_t)value->item_count;

    ret_row->kind = (uint32_t)value->kind;
    ret_row->dtype = value->kind == ONNX_NONE ? 0 : (uint32_t)value->dtype;
    ret_row->size = size;
    if (value->kind == ONNX_TENSOR)
        npu_value_set_dims(ret_row, value->dims, (uint32_t)value->rank);
    else
        npu_value_set_dims(ret_row, &items, npu_has_items(ret_row->kind));
}

static void write_strings(const struct onnx_value *value, uint8_t *to)
{
    const struct onnx_string *strings = value->data;
    uint64_t count = string_count(value);
    uint8_t *text = to + count * sizeof(uint32_t);

    for (uint64_t i = 0; i < count; i++) {
        uint32_t length = (uint32_t)strings[i].size;

        memcpy(to + i * sizeof(length), &length, sizeof(length));
        if (length)
            memcpy(text, strings[i].data, length);
        text += length;
    }
}

static void write_items(const struct onnx_value *value, uint8_t *to)
{
    uint64_t at = value->item_count * sizeof(struct vd_npu_value);

    for (size_t i = 0; i < value->item_count; i++) {
        struct vd_npu_value row = {.index = (uint32_t)i, .offset = at};
        uint64_t size = 0;

        /* It was asked before: the size of the whole is its result. */
        if (pack_size(&value->items[i], &size))
            return;
        pack_row(&value->items[i], size, &row);
        memcpy(to + i * sizeof(row), &row, sizeof(row));
        pack_write(&value->items[i], to + at);
        at += align8(size);
    }
}

void pack_write(const struct onnx_value *value, uint8_t *to)
{
    uint64_t size = 0;

    if (npu_has_items((uint32_t)value->kind))
        write_items(value, to);
    else if (value->kind == ONNX_TENSOR && value->dtype == ONNX_STRING)
        write_strings(value, to);
    else if (!pack_size(value, &size) && size && value->data != to)
        memcpy(to, value->data, size);
}

/*
 * Integers may be indices, which are checked before they are used: a guest must not change them in
 * between. What is done with floats does not depend on a second look at them.
 */
bool pack_in_place(const struct vd_npu_value *row)
{
    bool floats = row->dtype == ONNX_F32 || row->dtype == ONNX_F16 || row->dtype == ONNX_F64 ||
                  row->dtype == ONNX_BF16;

    return row->kind == VD_NPU_TENSOR && floats && row->size >= PACK_SMALL;
}

uint64_t pack_room(const struct vd_npu_value *row)
{
    uint64_t strings = row->size / sizeof(uint32_t) * sizeof(struct onnx_string);
    int64_t dims[VD_MAX_NPU_RANK];

    if (pack_in_place(row) || row->kind == VD_NPU_NONE)
        return 0;
    if (row->kind == VD_NPU_TENSOR)
        return align64(row->size) + (row->dtype == NPU_STRING ? align64(strings) : 0) + 64;
    npu_value_dims(row, dims);
    return align64(row->size) + align64((uint64_t)dims[0] * sizeof(struct onnx_value)) +
           align64(strings) + 64;
}

/* Of a private, checked value; `*memory` moves behind what it takes. */
static void read_value(const struct vd_npu_value *row, uint8_t *bytes, uint8_t **memory,
                       struct onnx_value *ret)
{
    int64_t dims[VD_MAX_NPU_RANK];
    uint64_t count = 0;

    npu_value_dims(row, dims);
    *ret = (struct onnx_value){.kind = (enum onnx_kind)row->kind,
                               .dtype = (enum onnx_dtype)row->dtype,
                               .data = bytes,
                               .size = row->size};
    /* The row was checked, so there are so many. */
    if (npu_count(dims, row->rank, &count))
        count = 0;
    if (npu_has_items(row->kind)) {
        struct onnx_value *items = (void *)*memory;

        *memory += align64(count * sizeof(*items));
        for (uint64_t i = 0; i < count; i++) {
            struct vd_npu_value item;

            memcpy(&item, bytes + i * sizeof(item), sizeof(item));
            read_value(&item, bytes + item.offset, memory, &items[i]);
        }
        ret->items = items;
        ret->item_count = count;
        ret->data = NULL;
        ret->size = 0;
        return;
    }
    ret->rank = (int)row->rank;
    memcpy(ret->dims, dims, sizeof(dims));
    if (row->kind == VD_NPU_TENSOR && row->dtype == NPU_STRING) {
        struct onnx_string *strings = (void *)*memory;
        const uint8_t *text = bytes + count * sizeof(uint32_t);

        *memory += count * sizeof(*strings);
        for (uint64_t i = 0; i < count; i++) {
            uint32_t length;

            memcpy(&length, bytes + i * sizeof(length), sizeof(length));
            strings[i] = (struct onnx_string){(const char *)text, length};
            text += length;
        }
        ret->data = strings;
        ret->size = count * sizeof(*strings);
    }
}

int pack_read(const struct vd_npu_value *row, uint8_t *from, uint8_t *memory,
              struct onnx_value *ret_value)
{
    uint8_t *bytes = from;

    if (pack_room(row)) {
        if (row->size)
            memcpy(memory, from, row->size);
        bytes = memory;
        memory += align64(row->size);
        if (npu_value_check_bytes(row, bytes))
            return VD_ERR_PARAMETER;
    }
    read_value(row, bytes, &memory, ret_value);
    return 0;
}

/* Two passes: without `out` it only counts. */
struct info_writer {
    uint8_t *texts;
    uint64_t at;
};

static void put_text(struct info_writer *w, const char *text, uint32_t *ret_at)
{
    size_t length = text ? strlen(text) : 0;

    ret_at[0] = (uint32_t)w->at;
    ret_at[1] = (uint32_t)length;
    if (w->texts && length)
        memcpy(w->texts + w->at, text, length);
    w->at += length;
}

static void put_io(struct info_writer *w, const struct onnx_io *io, struct vd_npu_io *ret)
{
    int64_t dims[VD_MAX_NPU_RANK] = {0};

    *ret = (struct vd_npu_io){
        .kind = (uint32_t)io->kind,
        .flags = io->optional ? VD_NPU_IO_OPTIONAL : 0,
        .dtype = (uint32_t)io->dtype,
        .rank = io->rank < 0 ? VD_NPU_ANY_RANK : (uint32_t)io->rank,
    };
    put_text(w, io->name, ret->name);
    for (int i = 0; i < io->rank; i++) {
        dims[i] = io->dims[i];
        put_text(w, io->symbols[i], ret->symbols + 2 * (ptrdiff_t)i);
    }
    if (io->kind == ONNX_MAP || io->kind == ONNX_MAPS)
        dims[0] = io->key;
    memcpy(ret->dims, dims, sizeof(dims));
}

static void put_info(const struct provider_description *d, struct info_writer *w, uint8_t *to,
                     struct vd_npu_info *ret)
{
    const struct onnx_metadata *m = &d->metadata;

    *ret = (struct vd_npu_info){
        .inputs = (uint32_t)d->input_count,
        .outputs = (uint32_t)d->output_count,
        .pairs = (uint32_t)m->pair_count,
        .nodes = (uint32_t)m->node_count,
        .version = (uint64_t)m->model_version,
    };
    put_text(w, m->producer, ret->producer);
    put_text(w, m->domain, ret->domain);
    put_text(w, m->description, ret->description);
    put_text(w, m->graph, ret->graph);
    put_text(w, d->placement, ret->placement);
    for (size_t i = 0; i < d->input_count + d->output_count; i++) {
        struct vd_npu_io io;

        put_io(w, i < d->input_count ? &d->inputs[i] : &d->outputs[i - d->input_count], &io);
        if (to)
            memcpy(to + sizeof(*ret) + i * sizeof(io), &io, sizeof(io));
    }
    if (to)
        to += sizeof(*ret) + (d->input_count + d->output_count) * sizeof(struct vd_npu_io);
    for (size_t i = 0; i < 2 * m->pair_count; i++) {
        struct vd_npu_text text;

        put_text(w, i % 2 ? m->values[i / 2] : m->keys[i / 2], text.at);
        if (to)
            memcpy(to + i * sizeof(text), &text, sizeof(text));
    }
    ret->texts = w->at;
}

uint8_t *pack_info(const struct provider_description *d, uint64_t *ret_size)
{
    uint64_t rows = sizeof(struct vd_npu_info) +
                    (d->input_count + d->output_count) * sizeof(struct vd_npu_io) +
                    2 * d->metadata.pair_count * sizeof(struct vd_npu_text);
    struct info_writer w = {0};
    struct vd_npu_info info;
    uint8_t *bytes;

    put_info(d, &w, NULL, &info);
    if (w.at > UINT32_MAX)
        return NULL;
    bytes = malloc(rows + w.at + 8);
    if (!bytes)
        return NULL;
    w = (struct info_writer){.texts = bytes + rows};
    put_info(d, &w, bytes, &info);
    memcpy(bytes, &info, sizeof(info));
    *ret_size = rows + w.at;
    return bytes;
}
