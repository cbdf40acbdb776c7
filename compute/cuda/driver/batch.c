/* SPDX-License-Identifier: MIT */
#include <compute/cuda/texture.h>

#include "copy.h"
#include "graph.h"

/*
 * Batches of copies: one after the other in the stream. All are looked at before the first is
 * submitted, so that mostly all or none is done.
 */

/* A copy that the program named in a batch, and when its source is read. */
struct item {
    CUDA_MEMCPY3D copy;
    enum copy_order order;
};

typedef CUresult (*describe)(const void *list, size_t index, struct item *ret_item);

static CUresult order_of(CUmemcpySrcAccessOrder order, unsigned flags, enum copy_order *ret_order)
{
    if (flags & ~CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE)
        return CUDA_ERROR_INVALID_VALUE;
    switch (order) {
    case CU_MEMCPY_SRC_ACCESS_ORDER_STREAM:
        *ret_order = COPY_LATE;
        return CUDA_SUCCESS;
    case CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL:
        *ret_order = COPY_NOW;
        return CUDA_SUCCESS;
    case CU_MEMCPY_SRC_ACCESS_ORDER_ANY:
        *ret_order = COPY_ASYNC;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult check(const void *list, size_t count, describe item, CUstream stream,
                      size_t *ret_failed)
{
    struct CUstream_st *s;
    CUresult err = CUDA_SUCCESS;

    *ret_failed = SIZE_MAX;
    if (!stream || stream == CU_STREAM_LEGACY || !count)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; !err && i < count; i++) {
        struct cuda_command command;
        struct item one;

        *ret_failed = i;
        err = item(list, i, &one);
        if (err || !one.copy.WidthInBytes)
            continue;
        err = enter_stream(stream, &s);
        if (!err)
            err = leave(copy_prepare(&one.copy, &command));
    }
    return err;
}

static CUresult run(const void *list, size_t count, describe item, CUstream stream,
                    size_t *ret_failed)
{
    CUresult err = check(list, count, item, stream, ret_failed);

    for (size_t i = 0; !err && i < count; i++) {
        struct item one;

        *ret_failed = i;
        err = item(list, i, &one);
        if (!err)
            err = copy_ordered(&one.copy, stream, one.order);
    }
    return err;
}

struct lines {
    const CUdeviceptr *to, *from;
    const size_t *sizes;
    const CUmemcpyAttributes *attributes;
    const size_t *firsts;
    size_t kinds;
};

static CUresult line(const void *list, size_t index, struct item *ret_item)
{
    const struct lines *l = list;
    size_t kind = l->kinds - 1;

    while (kind && l->firsts[kind] > index)
        kind--;
    ret_item->copy = (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_UNIFIED,
                                     .srcDevice = l->from[index],
                                     .dstMemoryType = CU_MEMORYTYPE_UNIFIED,
                                     .dstDevice = l->to[index],
                                     .WidthInBytes = l->sizes[index],
                                     .Height = 1,
                                     .Depth = 1};
    return order_of(l->attributes[kind].srcAccessOrder, l->attributes[kind].flags,
                    &ret_item->order);
}

API cuMemcpyBatchAsync(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count,
                       CUmemcpyAttributes *attributes, size_t *firsts, size_t kinds,
                       size_t *ret_failed, CUstream stream)
{
    const struct lines lines = {to, from, sizes, attributes, firsts, kinds};
    size_t failed = SIZE_MAX;
    CUresult err = CUDA_SUCCESS;

    if (!to || !from || !sizes || !attributes || !firsts || !kinds || kinds > count || firsts[0])
        err = CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 1; !err && i < kinds; i++)
        if (firsts[i] <= firsts[i - 1] || firsts[i] >= count)
            err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        err = run(&lines, count, line, stream, &failed);
    if (err && ret_failed)
        *ret_failed = failed;
    return err;
}

API cuMemcpyBatchAsync_v2(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count,
                          CUmemcpyAttributes *attributes, size_t *firsts, size_t kinds,
                          CUstream stream)
{
    return cuMemcpyBatchAsync(to, from, sizes, count, attributes, firsts, kinds, NULL, stream);
}

/* Bytes of an element of an array; 0: it is memory. */
static CUresult element(const CUmemcpy3DOperand *o, size_t *ret_bytes)
{
    CUDA_ARRAY3D_DESCRIPTOR d;
    CUresult err;

    *ret_bytes = 0;
    if (o->type == CU_MEMCPY_OPERAND_TYPE_POINTER)
        return CUDA_SUCCESS;
    if (o->type != CU_MEMCPY_OPERAND_TYPE_ARRAY)
        return CUDA_ERROR_INVALID_VALUE;
    err = cuArray3DGetDescriptor_v2(&d, o->op.array.array);
    if (!err)
        *ret_bytes = cuda_texture_bytes(d.Format) * d.NumChannels;
    return err ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

/* One side of a box, as CUDA_MEMCPY3D has them. */
struct side {
    CUmemorytype type;
    CUdeviceptr address;
    CUarray array;
    size_t x, y, z, pitch, height;
};

static CUresult side(const CUmemcpy3DOperand *o, size_t unit, size_t height, struct side *ret_side)
{
    if (o->type == CU_MEMCPY_OPERAND_TYPE_ARRAY) {
        *ret_side = (struct side){.type = CU_MEMORYTYPE_ARRAY,
                                  .array = o->op.array.array,
                                  .x = o->op.array.offset.x * unit,
                                  .y = o->op.array.offset.y,
                                  .z = o->op.array.offset.z};
        return CUDA_SUCCESS;
    }
    if (o->op.ptr.layerHeight && o->op.ptr.layerHeight < height)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_side = (struct side){.type = CU_MEMORYTYPE_UNIFIED,
                              .address = o->op.ptr.ptr,
                              .pitch = o->op.ptr.rowLength * unit,
                              .height = o->op.ptr.layerHeight};
    return CUDA_SUCCESS;
}

static CUresult box(const void *list, size_t index, struct item *ret_item)
{
    const CUDA_MEMCPY3D_BATCH_OP *b = (const CUDA_MEMCPY3D_BATCH_OP *)list + index;
    size_t of_source, of_target, unit;
    struct side from, to;
    CUresult err = element(&b->src, &of_source);

    if (!err)
        err = element(&b->dst, &of_target);
    if (err)
        return err;
    unit = of_source ? of_source : of_target ? of_target : 1;
    if ((of_target && of_target != unit) || !b->extent.width || !b->extent.height ||
        !b->extent.depth || b->extent.width > SIZE_MAX / unit)
        return CUDA_ERROR_INVALID_VALUE;
    err = side(&b->src, unit, b->extent.height, &from);
    if (!err)
        err = side(&b->dst, unit, b->extent.height, &to);
    if (err)
        return err;
    ret_item->copy = (CUDA_MEMCPY3D){.srcMemoryType = from.type,
                                     .srcDevice = from.address,
                                     .srcArray = from.array,
                                     .srcXInBytes = from.x,
                                     .srcY = from.y,
                                     .srcZ = from.z,
                                     .srcPitch = from.pitch,
                                     .srcHeight = from.height,
                                     .dstMemoryType = to.type,
                                     .dstDevice = to.address,
                                     .dstArray = to.array,
                                     .dstXInBytes = to.x,
                                     .dstY = to.y,
                                     .dstZ = to.z,
                                     .dstPitch = to.pitch,
                                     .dstHeight = to.height,
                                     .WidthInBytes = b->extent.width * unit,
                                     .Height = b->extent.height,
                                     .Depth = b->extent.depth};
    return order_of(b->srcAccessOrder, b->flags, &ret_item->order);
}

API cuMemcpy3DBatchAsync(size_t count, CUDA_MEMCPY3D_BATCH_OP *list, size_t *ret_failed,
                         unsigned long long flags, CUstream stream)
{
    size_t failed = SIZE_MAX;
    CUresult err =
        list && !flags ? run(list, count, box, stream, &failed) : CUDA_ERROR_INVALID_VALUE;

    if (err && ret_failed)
        *ret_failed = failed;
    return err;
}

API cuMemcpy3DBatchAsync_v2(size_t count, CUDA_MEMCPY3D_BATCH_OP *list, unsigned long long flags,
                            CUstream stream)
{
    return cuMemcpy3DBatchAsync(count, list, NULL, flags, stream);
}

/* No stream is the thread's. */
#define OWN(stream) ((stream) ? (stream) : CU_STREAM_PER_THREAD)

API cuMemcpyBatchAsync_ptsz(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count,
                            CUmemcpyAttributes *attributes, size_t *firsts, size_t kinds,
                            size_t *ret_failed, CUstream stream)
{
    return cuMemcpyBatchAsync(to, from, sizes, count, attributes, firsts, kinds, ret_failed,
                              OWN(stream));
}

API cuMemcpyBatchAsync_v2_ptsz(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count,
                               CUmemcpyAttributes *attributes, size_t *firsts, size_t kinds,
                               CUstream stream)
{
    return cuMemcpyBatchAsync_v2(to, from, sizes, count, attributes, firsts, kinds, OWN(stream));
}

API cuMemcpy3DBatchAsync_ptsz(size_t count, CUDA_MEMCPY3D_BATCH_OP *list, size_t *ret_failed,
                              unsigned long long flags, CUstream stream)
{
    return cuMemcpy3DBatchAsync(count, list, ret_failed, flags, OWN(stream));
}

API cuMemcpy3DBatchAsync_v2_ptsz(size_t count, CUDA_MEMCPY3D_BATCH_OP *list,
                                 unsigned long long flags, CUstream stream)
{
    return cuMemcpy3DBatchAsync_v2(count, list, flags, OWN(stream));
}
