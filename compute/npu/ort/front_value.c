/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "front.h"

/* Smaller tensors are the program's, and copied on their way: that costs next to nothing. */
#define VALUE_SHARED 4096u

static struct ort_value *create(int type, int dtype)
{
    struct ort_value *v = calloc(1, sizeof(*v));

    if (v) {
        atomic_init(&v->refs, 1);
        v->type = type;
        v->dtype = dtype;
        v->memory = &front_cpu;
    }
    return v;
}

struct ort_value *front_value_ref(const struct ort_value *value)
{
    struct ort_value *v = (struct ort_value *)(uintptr_t)value;

    atomic_fetch_add(&v->refs, 1);
    return v;
}

void ort_ReleaseValue(struct ort_value *input)
{
    struct ort_value *v = input;

    if (!v || atomic_fetch_sub(&v->refs, 1) > 1)
        return;
    for (size_t i = 0; v->texts && i < v->count; i++)
        free(v->texts[i].data);
    for (size_t i = 0; v->items && i < v->count; i++)
        ort_ReleaseValue(v->items[i]);
    npu_tensor_destroy(v->tensor);
    if (v->allocator && v->data)
        v->allocator->free(v->allocator, v->data);
    free(v->texts);
    free(v->items);
    free(v);
}

static struct ort_status *create_tensor(int dtype, const int64_t *shape, size_t rank,
                                        struct ort_value **ret_value)
{
    struct ort_value *v;
    size_t count, bytes;

    if (!front_bytes(dtype, shape, rank, &count, &bytes))
        return front_status(ORT_INVALID_ARGUMENT,
                            "no tensor has type %d and such dimensions (%zu of them)", dtype, rank);
    v = create(ORT_TYPE_TENSOR, dtype);
    if (!v)
        return front_no_memory();
    v->rank = rank;
    if (rank)
        memcpy(v->dims, shape, rank * sizeof(*shape));
    v->count = count;
    v->size = bytes;
    if (dtype == NPU_TEXT && !(v->texts = calloc(count + 1, sizeof(*v->texts)))) {
        ort_ReleaseValue(v);
        return front_no_memory();
    }
    *ret_value = v;
    return NULL;
}

/* Large ones lie where the host sees them, if there is a host yet. */
struct ort_status *ort_CreateTensorAsOrtValue(struct ort_allocator *allocator, const int64_t *shape,
                                              size_t shape_len, int type, struct ort_value **out)
{
    struct ort_value *v;
    struct ort_status *status = create_tensor(type, shape, shape_len, &v);
    struct npu *npu;

    if (status)
        return status;
    if (v->texts) {
        *out = v;
        return NULL;
    }
    npu = allocator == &front_allocator && v->size >= VALUE_SHARED ? front_connection() : NULL;
    if (npu && shape_len <= NPU_MAX_RANK &&
        !npu_tensor_create(npu, type, shape, (int)shape_len, &v->tensor)) {
        v->npu = npu;
        v->data = npu_tensor_data(v->tensor);
    } else {
        v->data = allocator->alloc(allocator, v->size ? v->size : 1);
        v->allocator = allocator;
    }
    npu_close(npu);
    if (!v->data) {
        ort_ReleaseValue(v);
        return front_no_memory();
    }
    *out = v;
    return NULL;
}

struct ort_status *ort_CreateTensorWithDataAsOrtValue(const struct ort_memory_info *info,
                                                      void *p_data, size_t p_data_len,
                                                      const int64_t *shape, size_t shape_len,
                                                      int type, struct ort_value **out)
{
    struct ort_status *status;
    struct ort_value *v;

    if (info->device_type)
        return front_status(ORT_INVALID_ARGUMENT, "there is no memory called %s here", info->name);
    if (type == NPU_TEXT)
        return front_status(ORT_INVALID_ARGUMENT,
                            "a tensor of strings cannot be in memory of the program's");
    status = create_tensor(type, shape, shape_len, &v);
    if (status)
        return status;
    if (v->size > p_data_len) {
        status = front_status(ORT_INVALID_ARGUMENT, "a tensor of %zu bytes in %zu bytes of memory",
                              v->size, p_data_len);
        ort_ReleaseValue(v);
        return status;
    }
    v->data = p_data;
    *out = v;
    return NULL;
}

struct ort_status *ort_CreateTensorWithDataAndDeleterAsOrtValue(struct ort_allocator *deleter,
                                                                void *p_data, size_t p_data_len,
                                                                const int64_t *shape,
                                                                size_t shape_len, int type,
                                                                struct ort_value **out)
{
    struct ort_status *status = ort_CreateTensorWithDataAsOrtValue(
        deleter->info(deleter), p_data, p_data_len, shape, shape_len, type, out);

    if (!status)
        (*out)->allocator = deleter;
    return status;
}

struct ort_status *ort_CreateValue(const struct ort_value *const *in, size_t num_values,
                                   int value_type, struct ort_value **out)
{
    struct ort_value *v;

    if (value_type == ORT_TYPE_MAP &&
        (num_values != 2 || in[0]->type != ORT_TYPE_TENSOR || in[1]->type != ORT_TYPE_TENSOR ||
         in[0]->rank != 1 || in[1]->rank != 1 || in[0]->count != in[1]->count ||
         (in[0]->dtype != NPU_INT64 && in[0]->dtype != NPU_TEXT)))
        return front_status(ORT_INVALID_ARGUMENT, "a map is made of a row of keys, int64 or "
                                                  "strings, and a row of as many values");
    if (value_type != ORT_TYPE_SEQUENCE && value_type != ORT_TYPE_MAP)
        return front_status(ORT_NOT_IMPLEMENTED, "only sequences and maps can be carried");
    for (size_t i = 0; i < num_values && value_type == ORT_TYPE_SEQUENCE; i++) {
        if ((in[i]->type != ORT_TYPE_TENSOR && in[i]->type != ORT_TYPE_MAP) ||
            in[i]->type != in[0]->type || in[i]->dtype != in[0]->dtype)
            return front_status(
                ORT_INVALID_ARGUMENT,
                "value %zu of a sequence is not a tensor, or map, of the first one's type", i);
    }
    /* A map's type is that of its values. */
    v = create(value_type, num_values ? in[num_values - 1]->dtype : 0);
    if (!v || !(v->items = calloc(num_values + 1, sizeof(struct ort_value *)))) {
        ort_ReleaseValue(v);
        return front_no_memory();
    }
    for (size_t i = 0; i < num_values; i++)
        v->items[i] = front_value_ref(in[i]);
    v->count = num_values;
    *out = v;
    return NULL;
}

struct ort_status *ort_GetValue(const struct ort_value *value, int index,
                                struct ort_allocator *allocator, struct ort_value **out)
{
    (void)allocator;
    if (!value->items || index < 0 || (size_t)index >= value->count)
        return front_status(ORT_INVALID_ARGUMENT, "there is no value %d in it", index);
    *out = front_value_ref(value->items[index]);
    return NULL;
}

struct ort_status *ort_GetValueCount(const struct ort_value *value, size_t *out)
{
    if (!value->items)
        return front_status(ORT_INVALID_ARGUMENT, "the value is neither a sequence nor a map");
    *out = value->count;
    return NULL;
}

struct ort_status *ort_GetValueType(const struct ort_value *value, int *out)
{
    *out = value->type;
    return NULL;
}

struct ort_status *ort_IsTensor(const struct ort_value *value, int *out)
{
    *out = value->type == ORT_TYPE_TENSOR;
    return NULL;
}

struct ort_status *ort_IsSparseTensor(const struct ort_value *value, int *out)
{
    (void)value;
    *out = 0;
    return NULL;
}

struct ort_status *ort_HasValue(const struct ort_value *value, int *out)
{
    *out = value->type != ORT_TYPE_UNKNOWN;
    return NULL;
}

static struct ort_status *no_numbers(void)
{
    return front_status(ORT_INVALID_ARGUMENT, "the value is not a tensor of numbers");
}

struct ort_status *ort_GetTensorMutableData(struct ort_value *value, void **out)
{
    if (value->type != ORT_TYPE_TENSOR || value->texts)
        return no_numbers();
    *out = value->data;
    return NULL;
}

struct ort_status *ort_GetTensorData(const struct ort_value *value, const void **out)
{
    if (value->type != ORT_TYPE_TENSOR || value->texts)
        return no_numbers();
    *out = value->data;
    return NULL;
}

struct ort_status *ort_GetTensorSizeInBytes(const struct ort_value *ort_value, size_t *size)
{
    if (ort_value->type != ORT_TYPE_TENSOR || ort_value->texts)
        return no_numbers();
    *size = ort_value->size;
    return NULL;
}

struct ort_status *ort_GetTensorMemoryInfo(const struct ort_value *value,
                                           const struct ort_memory_info **mem_info)
{
    *mem_info = value->memory;
    return NULL;
}

struct ort_status *ort_GetTensorElementTypeAndShapeDataReference(const struct ort_value *value,
                                                                 int *elem_type,
                                                                 const int64_t **shape_data,
                                                                 size_t *shape_data_count)
{
    if (value->type != ORT_TYPE_TENSOR)
        return front_status(ORT_INVALID_ARGUMENT, "the value is not a tensor");
    *elem_type = value->dtype;
    *shape_data = value->dims;
    *shape_data_count = value->rank;
    return NULL;
}

struct ort_status *ort_TensorAt(struct ort_value *value, const int64_t *location_values,
                                size_t location_values_count, void **out)
{
    size_t at = 0;

    if (value->type != ORT_TYPE_TENSOR || value->texts)
        return no_numbers();
    if (location_values_count != value->rank)
        return front_status(ORT_INVALID_ARGUMENT, "%zu indices into %zu dimensions",
                            location_values_count, value->rank);
    for (size_t i = 0; i < value->rank; i++) {
        if (location_values[i] < 0 || location_values[i] >= value->dims[i])
            return front_status(ORT_INVALID_ARGUMENT, "index %zu is out of range", i);
        at = at * (size_t)value->dims[i] + (size_t)location_values[i];
    }
    if (value->size % value->count)
        return front_status(ORT_NOT_IMPLEMENTED, "elements of 4 bits have no address");
    *out = (char *)value->data + at * (value->size / value->count);
    return NULL;
}

static int take_texts(struct ort_value *v, const struct npu_tensor *tensor)
{
    for (size_t i = 0; i < v->count; i++) {
        size_t length = 0;
        const char *text = npu_tensor_text(tensor, i, &length);
        char *copy = text ? malloc(length + 1) : NULL;

        if (!copy)
            return -1;
        memcpy(copy, text, length);
        copy[length] = 0;
        v->texts[i] = (struct front_text){copy, length};
    }
    return 0;
}

/* Items `from` and the next one of what came are a map. */
static struct ort_value *map_from(struct npu *npu, struct npu_tensor *tensor, size_t from)
{
    struct ort_value *v = create(ORT_TYPE_MAP, npu_tensor_dtype(tensor));

    if (!v || !(v->items = calloc(3, sizeof(struct ort_value *))))
        goto fail;
    for (; v->count < 2; v->count++) {
        struct npu_tensor *item;

        if (npu_tensor_item(tensor, from + v->count, &item))
            goto fail;
        v->items[v->count] = front_value_from(npu, item);
        if (!v->items[v->count])
            goto fail;
    }
    return v;
fail:
    ort_ReleaseValue(v);
    return NULL;
}

static struct ort_value *maps_from(struct npu *npu, struct npu_tensor *tensor)
{
    size_t count = npu_tensor_count(tensor) / 2;
    struct ort_value *v;

    if (npu_tensor_kind(tensor) == NPU_KIND_MAP) {
        v = map_from(npu, tensor, 0);
        npu_tensor_destroy(tensor);
        return v;
    }
    v = create(ORT_TYPE_SEQUENCE, npu_tensor_dtype(tensor));
    if (!v || !(v->items = calloc(count + 1, sizeof(struct ort_value *))))
        goto fail;
    for (; v->count < count; v->count++) {
        v->items[v->count] = map_from(npu, tensor, 2 * v->count);
        if (!v->items[v->count])
            goto fail;
    }
    npu_tensor_destroy(tensor);
    return v;
fail:
    ort_ReleaseValue(v);
    npu_tensor_destroy(tensor);
    return NULL;
}

static struct ort_value *sequence_from(struct npu *npu, struct npu_tensor *tensor)
{
    struct ort_value *v = create(ORT_TYPE_SEQUENCE, npu_tensor_dtype(tensor));
    size_t count = npu_tensor_count(tensor);

    if (!v || !(v->items = calloc(count + 1, sizeof(struct ort_value *))))
        goto fail;
    for (; v->count < count; v->count++) {
        struct npu_tensor *item;

        if (npu_tensor_item(tensor, v->count, &item))
            goto fail;
        v->items[v->count] = front_value_from(npu, item);
        if (!v->items[v->count])
            goto fail;
    }
    npu_tensor_destroy(tensor);
    return v;
fail:
    ort_ReleaseValue(v);
    npu_tensor_destroy(tensor);
    return NULL;
}

struct ort_value *front_value_from(struct npu *npu, struct npu_tensor *tensor)
{
    struct ort_value *v = NULL;

    if (npu_tensor_kind(tensor) == NPU_KIND_SEQUENCE)
        return sequence_from(npu, tensor);
    if (npu_tensor_kind(tensor) == NPU_KIND_MAP || npu_tensor_kind(tensor) == NPU_KIND_MAPS)
        return maps_from(npu, tensor);
    if (npu_tensor_kind(tensor) == NPU_KIND_NONE) {
        npu_tensor_destroy(tensor);
        return create(ORT_TYPE_UNKNOWN, 0);
    }
    ort_ReleaseStatus(create_tensor(npu_tensor_dtype(tensor), npu_tensor_dims(tensor),
                                    (size_t)npu_tensor_rank(tensor), &v));
    if (v && !v->texts) {
        v->tensor = tensor;
        v->npu = npu;
        v->data = npu_tensor_data(tensor);
        return v;
    }
    if (v && take_texts(v, tensor)) {
        ort_ReleaseValue(v);
        v = NULL;
    }
    npu_tensor_destroy(tensor);
    return v;
}

static struct ort_status *texts_tensor(const struct ort_value *value, struct npu *npu,
                                       struct npu_tensor **ret_tensor)
{
    const char **texts = calloc(value->count + 1, sizeof(*texts));
    size_t *lengths = calloc(value->count + 1, sizeof(*lengths));
    struct ort_status *status = texts && lengths ? NULL : front_no_memory();

    for (size_t i = 0; i < value->count && !status; i++) {
        texts[i] = value->texts[i].data;
        lengths[i] = value->texts[i].size;
    }
    if (!status)
        status = front_npu_status(npu_tensor_create_texts(npu, texts, lengths, value->dims,
                                                          (int)value->rank, ret_tensor));
    free(texts);
    free(lengths);
    return status;
}

/* A map, or a sequence of them. */
static struct ort_status *maps_tensor(const struct ort_value *value, struct npu *npu,
                                      struct npu_tensor **ret_tensor)
{
    bool one = value->type == ORT_TYPE_MAP;
    size_t count = one ? 2 : 2 * value->count;
    struct npu_tensor **items = calloc(count + 1, sizeof(struct npu_tensor *));
    struct ort_status *status = items ? NULL : front_no_memory();

    for (size_t i = 0; i < count && !status; i++)
        status = front_value_tensor(one ? value->items[i] : value->items[i / 2]->items[i % 2], npu,
                                    &items[i]);
    if (!status)
        status = front_npu_status(npu_tensor_create_maps(npu, one ? NPU_KIND_MAP : NPU_KIND_MAPS,
                                                         value->dtype, items, count, ret_tensor));
    for (size_t i = 0; items && i < count; i++)
        npu_tensor_destroy(items[i]);
    free(items);
    return status;
}

static struct ort_status *sequence_tensor(const struct ort_value *value, struct npu *npu,
                                          struct npu_tensor **ret_tensor)
{
    struct npu_tensor **items = calloc(value->count + 1, sizeof(struct npu_tensor *));
    struct ort_status *status = items ? NULL : front_no_memory();

    for (size_t i = 0; i < value->count && !status; i++)
        status = front_value_tensor(value->items[i], npu, &items[i]);
    if (!status)
        status = front_npu_status(
            npu_tensor_create_sequence(npu, value->dtype, items, value->count, ret_tensor));
    for (size_t i = 0; items && i < value->count; i++)
        npu_tensor_destroy(items[i]);
    free(items);
    return status;
}

struct ort_status *front_value_tensor(const struct ort_value *value, struct npu *npu,
                                      struct npu_tensor **ret_tensor)
{
    if (value->type == ORT_TYPE_UNKNOWN)
        return front_npu_status(npu_tensor_create_none(npu, ret_tensor));
    if (value->type == ORT_TYPE_MAP ||
        (value->type == ORT_TYPE_SEQUENCE && value->count && value->items[0]->type == ORT_TYPE_MAP))
        return maps_tensor(value, npu, ret_tensor);
    if (value->type == ORT_TYPE_SEQUENCE)
        return sequence_tensor(value, npu, ret_tensor);
    if (value->texts)
        return texts_tensor(value, npu, ret_tensor);
    if (value->tensor && value->npu == npu) {
        *ret_tensor = npu_tensor_ref(value->tensor);
        return NULL;
    }
    return front_npu_status(npu_tensor_wrap(npu, value->dtype, value->dims, (int)value->rank,
                                            value->data, value->size, ret_tensor));
}

static struct ort_status *copy_tensor(const struct ort_value *from, struct ort_value *to)
{
    struct ort_status *status = NULL;

    if (from->type != ORT_TYPE_TENSOR || to->type != ORT_TYPE_TENSOR || from->dtype != to->dtype ||
        from->count != to->count)
        return front_status(ORT_INVALID_ARGUMENT,
                            "tensors of other types or sizes cannot be copied to each other");
    if (!from->texts && from->size)
        memmove(to->data, from->data, from->size);
    for (size_t i = 0; from->texts && i < from->count && !status && from != to; i++) {
        char *room = NULL;

        status = ort_GetResizedStringTensorElementBuffer(to, i, from->texts[i].size, &room);
        if (!status && from->texts[i].size)
            memcpy(room, from->texts[i].data, from->texts[i].size);
    }
    return status;
}

struct ort_status *ort_CopyTensors(const struct ort_env *env,
                                   const struct ort_value *const *src_tensors,
                                   struct ort_value *const *dst_tensors,
                                   struct ort_sync_stream *stream, size_t count)
{
    struct ort_status *status = NULL;

    (void)env, (void)stream;
    for (size_t i = 0; i < count && !status; i++)
        status = copy_tensor(src_tensors[i], dst_tensors[i]);
    return status;
}
