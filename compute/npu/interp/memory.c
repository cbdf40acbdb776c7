/* SPDX-License-Identifier: MIT */
#include "internal.h"

/*
 * Memory of a run. Freed blocks wait, by size, for the next tensor of that size: from the second
 * run on nothing is allocated. Sizes are rounded up to one of four steps between powers of two.
 */

_Static_assert(sizeof(struct block) == 64, "what follows a block is aligned");

static int bin_of(uint64_t *bytes)
{
    uint64_t size = *bytes < 256 ? 256 : *bytes;
    int log = 63 - __builtin_clzll(size), step;

    step = (int)((size - (1ull << log) + (1ull << (log - 2)) - 1) >> (log - 2));
    *bytes = (1ull << log) + ((uint64_t)step << (log - 2));
    return (log - 8) * 4 + step;
}

static void free_cached(struct onnx_run *run)
{
    for (int i = 0; i < ONNX_BINS; i++) {
        while (run->cache[i]) {
            struct block *block = run->cache[i];

            run->cache[i] = block->next;
            free(block);
        }
    }
    run->cached = 0;
}

void *onnx_memory_get(struct onnx_run *run, uint64_t bytes)
{
    struct block *block;
    int bin;

    if (bytes > ONNX_MAX_BYTES || run->held + bytes > run->model->options.memory) {
        onnx_fail(&run->error, VD_ERR_LIMIT,
                  "the run needs more than the %llu bytes of memory it may have",
                  (unsigned long long)run->model->options.memory);
        return NULL;
    }
    bin = bin_of(&bytes);
    block = run->cache[bin];
    if (block) {
        run->cache[bin] = block->next;
        run->cached -= block->size;
    } else {
        if (run->held + run->cached + bytes > run->model->options.memory)
            free_cached(run);
        block = aligned_alloc(64, sizeof(*block) + bytes);
        if (!block) {
            onnx_fail(&run->error, VD_ERR_MEMORY, "there is no memory for %llu bytes",
                      (unsigned long long)bytes);
            return NULL;
        }
        block->size = bytes;
        block->bin = bin;
    }
    run->held += block->size;
    if (run->held > run->peak)
        run->peak = run->held;
    block->next = run->all.next;
    block->previous = &run->all;
    block->next->previous = block;
    run->all.next = block;
    return block + 1;
}

void onnx_memory_put(struct onnx_run *run, void *memory)
{
    struct block *block;

    if (!memory)
        return;
    block = (struct block *)memory - 1;
    block->next->previous = block->previous;
    block->previous->next = block->next;
    run->held -= block->size;
    run->cached += block->size;
    block->next = run->cache[block->bin];
    run->cache[block->bin] = block;
}

void onnx_memory_finish(struct onnx_run *run)
{
    while (run->all.next != &run->all)
        onnx_memory_put(run, run->all.next + 1);
    free_cached(run);
    while (run->unused) {
        struct value *value = run->unused;

        run->unused = value->next;
        free(value);
    }
}

/* Scratch starts with a link to the one before. */
void *onnx_scratch(struct call *call, uint64_t count, size_t size)
{
    struct onnx_run *run = call->run;
    uint8_t *memory;

    if (count > ONNX_MAX_BYTES / size) {
        onnx_fail(&run->error, VD_ERR_LIMIT, "node %s (%s) needs too much memory", call->node->name,
                  call->node->op);
        return NULL;
    }
    memory = onnx_memory_get(run, count * size + 64);
    if (!memory)
        return NULL;
    memcpy(memory, &run->scratch, sizeof(run->scratch));
    run->scratch = (struct block *)(void *)memory;
    return memory + 64;
}

char *onnx_text(struct onnx_run *run, uint64_t size)
{
    uint8_t *memory = onnx_memory_get(run, size + 64);

    if (!memory)
        return NULL;
    memcpy(memory, &run->texts, sizeof(run->texts));
    run->texts = (struct block *)(void *)memory;
    return (char *)memory + 64;
}

static struct value *value_new(struct onnx_run *run, enum onnx_kind kind)
{
    struct value *value = run->unused;

    if (value) {
        run->unused = value->next;
    } else if (!(value = malloc(sizeof(*value)))) {
        onnx_fail(&run->error, VD_ERR_MEMORY, "there is no memory for a value");
        return NULL;
    }
    memset(value, 0, sizeof(*value));
    value->refs = 1;
    value->kind = kind;
    return value;
}

static struct value *value_shaped(struct onnx_run *run, enum onnx_dtype dtype, int rank,
                                  const int64_t *dims)
{
    struct value *value;
    int64_t count;

    if (rank > RANK) {
        onnx_fail(&run->error, VD_ERR_UNSUPPORTED, "a tensor has more than %d dimensions", RANK);
        return NULL;
    }
    count = onnx_count(dtype, rank, dims);
    if (count < 0) {
        onnx_fail(&run->error, VD_ERR_LIMIT, "a tensor is too large, or has a negative size");
        return NULL;
    }
    value = value_new(run, ONNX_TENSOR);
    if (!value)
        return NULL;
    value->dtype = dtype;
    value->rank = rank;
    for (int i = 0; i < rank; i++)
        value->dims[i] = dims[i];
    value->count = count;
    return value;
}

struct value *onnx_value_tensor(struct onnx_run *run, enum onnx_dtype dtype, int rank,
                                const int64_t *dims)
{
    struct value *value = value_shaped(run, dtype, rank, dims);
    uint64_t size;

    if (!value)
        return NULL;
    size = (uint64_t)value->count * onnx_dtype_size(dtype);
    value->data = onnx_memory_get(run, size);
    if (!value->data) {
        onnx_value_drop(run, value);
        return NULL;
    }
    if (dtype == ONNX_STRING)
        memset(value->data, 0, size);
    return value;
}

struct value *onnx_value_alias(struct onnx_run *run, struct value *of, int rank,
                               const int64_t *dims)
{
    struct value *value = value_shaped(run, of->dtype, rank, dims);

    if (!value)
        return NULL;
    value->data = of->data;
    value->borrowed = true;
    /* Chains of aliases all hold the first. */
    value->owner = onnx_value_keep(of->owner ? of->owner : of);
    return value;
}

struct value *onnx_value_none(struct onnx_run *run)
{
    return value_new(run, ONNX_NONE);
}

struct value *onnx_value_sequence(struct onnx_run *run, struct value **items, size_t count)
{
    struct value *value = value_new(run, ONNX_SEQUENCE);

    if (!value)
        return NULL;
    value->items = onnx_memory_get(run, count * sizeof(*items));
    if (!value->items) {
        onnx_value_drop(run, value);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        value->items[i] = onnx_value_keep(items[i]);
    value->item_count = count;
    if (count)
        value->dtype = items[0]->dtype;
    return value;
}

/* Items of sequences and maps are tensors. */
struct value *onnx_value_borrow(struct onnx_run *run, const struct onnx_value *from)
{
    struct value *value;

    if (from->kind == ONNX_NONE)
        return onnx_value_none(run);
    if (from->kind == ONNX_TENSOR) {
        size_t size = onnx_dtype_size(from->dtype);

        if (from->rank < 0 || from->rank > RANK || !size) {
            onnx_fail(&run->error, VD_ERR_PARAMETER, "a tensor has no valid type or rank");
            return NULL;
        }
        value = value_shaped(run, from->dtype, from->rank, from->dims);
        if (!value)
            return NULL;
        value->borrowed = true;
        value->data = from->data;
        if (from->size < (uint64_t)value->count * size ||
            (uintptr_t)from->data % (size < 8 ? size : 8) || (value->count && !from->data)) {
            onnx_fail(&run->error, VD_ERR_PARAMETER,
                      "a tensor has %zu bytes at %p, too few for its shape or not aligned",
                      from->size, from->data);
            onnx_value_drop(run, value);
            return NULL;
        }
        return value;
    }
    value = onnx_value_sequence(run, NULL, 0);
    if (!value)
        return NULL;
    value->kind = from->kind;
    onnx_memory_put(run, value->items);
    value->items = onnx_memory_get(run, from->item_count * sizeof(*value->items));
    for (size_t i = 0; value->items && i < from->item_count; i++) {
        struct value *item =
            from->items[i].kind == ONNX_TENSOR ? onnx_value_borrow(run, &from->items[i]) : NULL;

        if (!item)
            break;
        value->items[value->item_count++] = item;
        value->dtype = item->dtype;
    }
    if (value->item_count == from->item_count)
        return value;
    onnx_fail(&run->error, VD_ERR_PARAMETER, "a sequence or map holds something else than tensors");
    onnx_value_drop(run, value);
    return NULL;
}

struct value *onnx_value_keep(struct value *value)
{
    if (value && !value->fixed)
        value->refs++;
    return value;
}

void onnx_value_drop(struct onnx_run *run, struct value *value)
{
    if (!value || value->fixed || --value->refs)
        return;
    for (size_t i = 0; i < value->item_count; i++)
        onnx_value_drop(run, value->items[i]);
    onnx_memory_put(run, value->items);
    if (!value->borrowed)
        onnx_memory_put(run, value->data);
    onnx_value_drop(run, value->owner);
    value->next = run->unused;
    run->unused = value;
}
