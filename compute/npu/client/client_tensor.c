/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "internal.h"

struct npu_tensor *npu_tensor_ref(struct npu_tensor *tensor)
{
    __atomic_add_fetch(&tensor->refs, 1, __ATOMIC_RELAXED);
    return tensor;
}

/* Nothing but its shape yet. */
static int create(struct npu *npu, enum npu_kind kind, int dtype, const int64_t *dims, int rank,
                  struct npu_tensor **ret_tensor)
{
    struct npu_tensor *t;
    int err = client_usable(npu);

    if (err)
        return err;
    if (rank < 0 || rank > NPU_MAX_RANK)
        return client_fail(VD_ERR_PARAMETER, "a tensor of %d dimensions: there can be %d", rank,
                           NPU_MAX_RANK);
    t = calloc(1, sizeof(*t));
    if (!t)
        return client_fail(VD_ERR_MEMORY, "out of memory");
    t->refs = 1;
    t->npu = client_ref(npu);
    t->value.kind = (uint32_t)kind;
    t->value.dtype = (uint32_t)dtype;
    npu_value_set_dims(&t->value, dims, (uint32_t)rank);
    npu_value_dims(&t->value, t->dims);
    *ret_tensor = t;
    return 0;
}

/* Memory of its own that is not shared: for what is copied anyway. */
static int give_local(struct npu_tensor *t, uint64_t size)
{
    t->local = malloc(size ? size : 1);
    if (!t->local)
        return client_fail(VD_ERR_MEMORY, "out of memory");
    t->value.size = t->room = size;
    return 0;
}

static int number_bytes(int dtype, const int64_t *dims, int rank, uint64_t *ret_bytes)
{
    if (rank < 0 || rank > NPU_MAX_RANK ||
        npu_bytes((uint32_t)dtype, dims, (uint32_t)rank, ret_bytes))
        return client_fail(VD_ERR_PARAMETER,
                           "no tensor of numbers has this type (%s) and these %d dimensions",
                           npu_dtype_name((uint32_t)dtype), rank);
    return 0;
}

int npu_tensor_create(struct npu *npu, int dtype, const int64_t *dims, int rank,
                      struct npu_tensor **ret_tensor)
{
    struct npu_tensor *t;
    uint64_t bytes;
    int err = number_bytes(dtype, dims, rank, &bytes);

    if (!err)
        err = create(npu, NPU_KIND_TENSOR, dtype, dims, rank, &t);
    if (err)
        return err;
    pthread_mutex_lock(npu->lock);
    err = client_take(npu, bytes, &t->piece);
    pthread_mutex_unlock(npu->lock);
    if (err) {
        npu_tensor_destroy(t);
        return client_fail(err, "no shared memory is left for a tensor of %llu bytes",
                           (unsigned long long)bytes);
    }
    t->value.size = bytes;
    t->room = t->piece.size;
    *ret_tensor = t;
    return 0;
}

int npu_tensor_wrap(struct npu *npu, int dtype, const int64_t *dims, int rank, void *data,
                    size_t bytes, struct npu_tensor **ret_tensor)
{
    struct npu_tensor *t;
    uint64_t needed;
    int err = number_bytes(dtype, dims, rank, &needed);

    if (!err && needed > bytes)
        err = client_fail(VD_ERR_PARAMETER, "a tensor of %llu bytes in %zu bytes of memory",
                          (unsigned long long)needed, bytes);
    if (!err)
        err = create(npu, NPU_KIND_TENSOR, dtype, dims, rank, &t);
    if (err)
        return err;
    t->local = data;
    t->wrapped = true;
    t->value.size = needed;
    t->room = bytes;
    *ret_tensor = t;
    return 0;
}

int npu_tensor_create_texts(struct npu *npu, const char *const *texts, const size_t *lengths,
                            const int64_t *dims, int rank, struct npu_tensor **ret_tensor)
{
    struct npu_tensor *t;
    uint64_t count, size;
    int err;

    if (rank < 0 || rank > NPU_MAX_RANK || npu_count(dims, (uint32_t)rank, &count))
        return client_fail(VD_ERR_PARAMETER, "no tensor has these %d dimensions", rank);
    size = count * sizeof(uint32_t);
    for (uint64_t i = 0; i < count; i++) {
        if (lengths[i] > VD_UPLOAD_BYTES)
            return client_fail(VD_ERR_PARAMETER, "a string of %zu bytes is too long", lengths[i]);
        size += lengths[i];
    }
    err = create(npu, NPU_KIND_TENSOR, NPU_TEXT, dims, rank, &t);
    if (err)
        return err;
    err = give_local(t, size);
    if (err) {
        npu_tensor_destroy(t);
        return err;
    }
    size = count * sizeof(uint32_t);
    for (uint64_t i = 0; i < count; i++) {
        uint32_t length = (uint32_t)lengths[i];

        memcpy(t->local + i * sizeof(length), &length, sizeof(length));
        if (length)
            memcpy(t->local + size, texts[i], length);
        size += length;
    }
    *ret_tensor = t;
    return 0;
}

/* The bytes of a tensor, wherever they are. */
static const uint8_t *bytes_of(const struct npu_tensor *t)
{
    return t->piece.offset ? t->npu->host->arena.base + t->piece.offset : t->local;
}

static int create_items(struct npu *npu, enum npu_kind kind, int dtype,
                        struct npu_tensor *const *items, size_t count,
                        struct npu_tensor **ret_tensor)
{
    uint64_t size = count * sizeof(struct vd_npu_value);
    int64_t dims = (int64_t)count;
    struct npu_tensor *t;
    int err;

    for (size_t i = 0; i < count; i++) {
        if (items[i]->value.kind != VD_NPU_TENSOR ||
            (items[i]->value.dtype != (uint32_t)dtype && (kind == NPU_KIND_SEQUENCE || i % 2)))
            return client_fail(VD_ERR_PARAMETER, "tensor %zu of a sequence is not of type %s", i,
                               npu_dtype_name((uint32_t)dtype));
        size += (items[i]->value.size + 7) & ~UINT64_C(7);
    }
    err = create(npu, kind, dtype, &dims, 1, &t);
    if (err)
        return err;
    err = give_local(t, size);
    if (err) {
        npu_tensor_destroy(t);
        return err;
    }
    memset(t->local, 0, size);
    size = count * sizeof(struct vd_npu_value);
    for (size_t i = 0; i < count; i++) {
        struct vd_npu_value row = items[i]->value;

        row.index = (uint32_t)i;
        row.offset = size;
        memcpy(t->local + i * sizeof(row), &row, sizeof(row));
        if (row.size)
            memcpy(t->local + size, bytes_of(items[i]), row.size);
        size += (row.size + 7) & ~UINT64_C(7);
    }
    if (npu_value_check_bytes(&t->value, t->local)) {
        npu_tensor_destroy(t);
        return client_fail(VD_ERR_PARAMETER, "a map's keys and values are rows, as many of both, "
                                             "keys int64 or strings");
    }
    *ret_tensor = t;
    return 0;
}

int npu_tensor_create_sequence(struct npu *npu, int dtype, struct npu_tensor *const *items,
                               size_t count, struct npu_tensor **ret_tensor)
{
    return create_items(npu, NPU_KIND_SEQUENCE, dtype, items, count, ret_tensor);
}

int npu_tensor_create_maps(struct npu *npu, enum npu_kind kind, int dtype,
                           struct npu_tensor *const *items, size_t count,
                           struct npu_tensor **ret_tensor)
{
    if ((kind != NPU_KIND_MAP && kind != NPU_KIND_MAPS) || count % 2 ||
        (kind == NPU_KIND_MAP && count != 2))
        return client_fail(VD_ERR_PARAMETER, "%zu tensors are no keys and values of maps", count);
    return create_items(npu, kind, dtype, items, count, ret_tensor);
}

int npu_tensor_create_none(struct npu *npu, struct npu_tensor **ret_tensor)
{
    int64_t nothing = 0;

    return create(npu, NPU_KIND_NONE, 0, &nothing, 0, ret_tensor);
}

void npu_tensor_destroy(struct npu_tensor *t)
{
    struct npu *npu = t ? t->npu : NULL;

    if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (t->piece.offset && npu->pid == getpid()) {
        pthread_mutex_lock(npu->lock);
        client_give(npu, &t->piece);
        pthread_mutex_unlock(npu->lock);
    }
    if (!t->wrapped)
        free(t->local);
    free(t->ends);
    free(t);
    client_unref(npu);
}

enum npu_kind npu_tensor_kind(const struct npu_tensor *t)
{
    return (enum npu_kind)t->value.kind;
}

int npu_tensor_dtype(const struct npu_tensor *t)
{
    return (int)t->value.dtype;
}

int npu_tensor_rank(const struct npu_tensor *t)
{
    return (int)t->value.rank;
}

const int64_t *npu_tensor_dims(const struct npu_tensor *t)
{
    return t->dims;
}

size_t npu_tensor_count(const struct npu_tensor *t)
{
    uint64_t count = 0;

    /* Its dimensions were checked when it was made. */
    if (t->value.kind == VD_NPU_NONE || npu_count(t->dims, t->value.rank, &count))
        return 0;
    return count;
}

static bool has_numbers(const struct npu_tensor *t)
{
    return t->value.kind == VD_NPU_TENSOR && t->value.dtype != NPU_TEXT;
}

void *npu_tensor_data(const struct npu_tensor *t)
{
    return has_numbers(t) ? (void *)(uintptr_t)bytes_of(t) : NULL;
}

size_t npu_tensor_bytes(const struct npu_tensor *t)
{
    return has_numbers(t) ? t->value.size : 0;
}

/* Where strings end; made once, by whoever asks first. NULL if there is no memory. */
static const size_t *string_ends(const struct npu_tensor *tensor, size_t count)
{
    struct npu_tensor *t = (struct npu_tensor *)(uintptr_t)tensor;
    size_t *ends = __atomic_load_n(&t->ends, __ATOMIC_ACQUIRE), *none = NULL, sum = 0;

    if (ends)
        return ends;
    ends = malloc((count + 1) * sizeof(*ends));
    for (size_t i = 0; ends && i < count; i++) {
        uint32_t length;

        memcpy(&length, t->local + i * sizeof(length), sizeof(length));
        sum += length;
        ends[i] = sum;
    }
    if (ends && !__atomic_compare_exchange_n(&t->ends, &none, ends, false, __ATOMIC_ACQ_REL,
                                             __ATOMIC_ACQUIRE)) {
        free(ends);
        ends = none;
    }
    return ends;
}

const char *npu_tensor_text(const struct npu_tensor *t, size_t index, size_t *ret_length)
{
    size_t count = npu_tensor_count(t), start;
    const size_t *ends;

    if (t->value.kind != VD_NPU_TENSOR || t->value.dtype != NPU_TEXT || index >= count)
        return NULL;
    ends = string_ends(t, count);
    if (!ends)
        return NULL;
    start = index ? ends[index - 1] : 0;
    *ret_length = ends[index] - start;
    return (const char *)t->local + count * sizeof(uint32_t) + start;
}

int npu_tensor_item(const struct npu_tensor *t, size_t index, struct npu_tensor **ret_tensor)
{
    struct npu_tensor *item;
    struct vd_npu_value row;
    int64_t dims[NPU_MAX_RANK];
    int err;

    if (!npu_has_items(t->value.kind) || index >= npu_tensor_count(t))
        return client_fail(VD_ERR_PARAMETER, "there is no tensor %zu in it", index);
    memcpy(&row, t->local + index * sizeof(row), sizeof(row));
    npu_value_dims(&row, dims);
    if (row.dtype != NPU_TEXT) {
        err = npu_tensor_create(t->npu, (int)row.dtype, dims, (int)row.rank, &item);
        if (!err && row.size)
            memcpy(npu_tensor_data(item), t->local + row.offset, row.size);
    } else {
        err = create(t->npu, NPU_KIND_TENSOR, NPU_TEXT, dims, (int)row.rank, &item);
        if (!err && (err = give_local(item, row.size)))
            npu_tensor_destroy(item);
        else if (!err && row.size)
            memcpy(item->local, t->local + row.offset, row.size);
    }
    if (!err)
        *ret_tensor = item;
    return err;
}

void client_tensor_become(struct npu_tensor *t, const struct vd_npu_value *row)
{
    t->value.rank = row->rank;
    memcpy(t->value.dims, row->dims, sizeof(row->dims));
    t->value.size = row->size;
    npu_value_dims(&t->value, t->dims);
}

int client_tensor_from(struct npu *npu, const struct vd_npu_value *row, struct piece *piece,
                       struct npu_tensor **ret_tensor)
{
    struct npu_tensor *t;
    int64_t dims[NPU_MAX_RANK];
    int err;

    npu_value_dims(row, dims);
    err = create(npu, (enum npu_kind)row->kind, (int)row->dtype, dims, (int)row->rank, &t);
    if (err)
        return err;
    if (has_numbers(t)) {
        t->value.size = row->size;
        t->room = piece->size;
        t->piece = *piece;
        *piece = (struct piece){0};
    } else {
        err = give_local(t, row->size);
        if (!err && row->size)
            memcpy(t->local, npu->host->arena.base + piece->offset, row->size);
        if (!err && npu_value_check_bytes(row, t->local))
            err = client_fail(VD_ERR_PROTOCOL, "what the host gives as a result is broken");
    }
    if (err)
        npu_tensor_destroy(t);
    else
        *ret_tensor = t;
    return err;
}
