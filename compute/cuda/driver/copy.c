/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "copy.h"
#include "graph.h"
#include "virtual.h"

/*
 * Copies. Each becomes one command for boxes of bytes. Of the program's ordinary memory a copy is
 * taken before an asynchronous call returns, and to it nothing is copied asynchronously.
 */

/* One side of a box. */
struct box {
    CUmemorytype type;
    uint64_t address; /* of what is copied first */
    uint64_t pitch, slice;
    CUarray array; /* instead of an address: what is first of it, in bytes, rows, images */
    uint64_t at[3];
};

/* Bytes from the first to behind the last of a side. */
static uint64_t extent(const struct cuda_side *s, uint64_t width, uint64_t height, uint64_t depth)
{
    return (depth - 1) * s->slice + (height - 1) * s->pitch + width;
}

static bool sane(const struct cuda_side *s, uint64_t width, uint64_t height, uint64_t depth)
{
    const uint64_t most = (uint64_t)1 << 46;

    return width < most && s->pitch < most && s->slice < most &&
           (depth < 2 || (depth - 1) < most / (s->slice ? s->slice : 1)) &&
           (height < 2 || (height - 1) < most / (s->pitch ? s->pitch : 1));
}

/* With the lock. Which memory a side is in. */
static CUresult resolve_array(const struct box *b, const uint64_t *extent,
                              struct cuda_side *ret_side)
{
    const struct CUarray_st *a = b->array;
    const uint64_t most[3] = {handle_is(a, ARRAY) ? a->shape.Width * a->texel : 0,
                              handle_is(a, ARRAY) && a->shape.Height ? a->shape.Height : 1,
                              handle_is(a, ARRAY) && a->shape.Depth ? a->shape.Depth : 1};

    for (unsigned i = 0; i < 3; i++)
        if (extent[i] > most[i] || b->at[i] > most[i] - extent[i])
            return CUDA_ERROR_INVALID_VALUE;
    *ret_side = (struct cuda_side){.address = a->address + b->at[2] * a->slice +
                                              b->at[1] * a->pitch + b->at[0],
                                   .pitch = a->pitch,
                                   .slice = a->slice};
    return CUDA_SUCCESS;
}

static CUresult resolve(const struct box *b, const uint64_t *extent, struct cuda_side *ret_side,
                        bool *ret_pageable)
{
    struct range *r;

    *ret_pageable = false;
    if (b->type == CU_MEMORYTYPE_ARRAY)
        return resolve_array(b, extent, ret_side);
    r = range_find(b->address);
    if (!b->address || (!r && virtual_is_reserved(b->address)))
        return CUDA_ERROR_INVALID_VALUE;
    *ret_side = (struct cuda_side){.address = b->address, .pitch = b->pitch, .slice = b->slice};
    switch (b->type) {
    case CU_MEMORYTYPE_HOST:
        /* With unified addressing it is what it is: programs that say so of the device's work. */
        break;
    case CU_MEMORYTYPE_DEVICE:
        if (!r && memory_check(b->address, 1))
            return CUDA_ERROR_INVALID_VALUE;
        break;
    case CU_MEMORYTYPE_UNIFIED:
        break;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    ret_side->host = r ? range_is_host(b->address) : memory_check(b->address, 1) != CUDA_SUCCESS;
    ret_side->locked = r && ret_side->host;
    *ret_pageable = !r && ret_side->host;
    return CUDA_SUCCESS;
}

/* With the lock. */
static CUresult prepare(struct box to, struct box from, uint64_t width, uint64_t height,
                        uint64_t depth, struct cuda_command *ret_command, bool *ret_to_pageable,
                        bool *ret_from_pageable)
{
    struct cuda_command c = {.kind = CUDA_COPY,
                             .copy = {.width = width, .height = height, .depth = depth}};
    const uint64_t box[3] = {width, height, depth};
    CUresult err = resolve(&to, box, &c.copy.to, ret_to_pageable);

    if (!err)
        err = resolve(&from, box, &c.copy.from, ret_from_pageable);
    if (!err &&
        (!sane(&c.copy.to, width, height, depth) || !sane(&c.copy.from, width, height, depth)))
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err && !*ret_to_pageable)
        err = memory_check_write(c.copy.to.address, extent(&c.copy.to, width, height, depth));
    if (!err && !*ret_from_pageable)
        err = memory_check(c.copy.from.address, extent(&c.copy.from, width, height, depth));
    if (!err)
        *ret_command = c;
    return err;
}

/* Of ordinary memory, which the program may change as soon as the call returns. */
static CUresult stage(struct cuda_command *c)
{
    uint64_t width = c->copy.width, height = c->copy.height, depth = c->copy.depth;
    struct cuda_side from = c->copy.from;
    uint8_t *staged = malloc(width * height * depth), *at = staged;

    if (!staged)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (uint64_t z = 0; z < depth; z++)
        for (uint64_t y = 0; y < height; y++, at += width)
            memcpy(at, (const void *)(uintptr_t)(from.address + z * from.slice + y * from.pitch),
                   width);
    c->copy.from = (struct cuda_side){
        .host = true, .address = (uintptr_t)staged, .pitch = width, .slice = width * height};
    c->copy.staged = staged;
    return CUDA_SUCCESS;
}

/* `order` may be a bool: whether to wait. */
static CUresult copy(struct box to, struct box from, uint64_t width, uint64_t height,
                     uint64_t depth, CUstream stream, enum copy_order order)
{
    bool to_pageable, from_pageable, wait = order == COPY_WAIT;
    struct cuda_command c;
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!width || !height || !depth)
        return leave(CUDA_SUCCESS);
    err = prepare(to, from, width, height, depth, &c, &to_pageable, &from_pageable);
    if (!err && s->capture) {
        /* A node reads it when its turn comes. */
        c.copy.from.locked = c.copy.from.host;
        return leave(wait || order == COPY_NOW ? capture_refuse(s) : stream_submit(s, &c));
    }
    if (order == COPY_LATE)
        c.copy.from.locked = c.copy.from.host;
    else if (!err && !wait && !to_pageable &&
             (order == COPY_NOW ? c.copy.from.host && (!from_pageable || !backend->stages)
                                : from_pageable && !backend->stages))
        err = stage(&c);
    if (err)
        return leave(err);
    /* "API synchronization behavior": nobody waits for a copy within a device. */
    wait &= c.copy.from.host || c.copy.to.host;
    wait |= order == COPY_NOW && !c.copy.from.host;
    wait = wait || memory_syncs(to.address, stream) || memory_syncs(from.address, stream);
    err = stream_submit(s, &c);
    if (err)
        free(c.copy.staged);
    else if (wait || to_pageable)
        err = stream_wait(s);
    return leave(err);
}

static struct box box_line(CUmemorytype type, uint64_t address, size_t size)
{
    return (struct box){.type = type, .address = address, .pitch = size, .slice = size};
}

static CUresult linear(CUmemorytype to_type, uint64_t to, CUmemorytype from_type, uint64_t from,
                       size_t size, CUstream stream, bool wait)
{
    return copy(box_line(to_type, to, size), box_line(from_type, from, size), size, 1, 1, stream,
                wait);
}

static CUresult copy_linear(uint64_t to, uint64_t from, size_t size, CUstream stream, bool wait)
{
    return linear(CU_MEMORYTYPE_UNIFIED, to, CU_MEMORYTYPE_UNIFIED, from, size, stream, wait);
}

#define H(p) (uint64_t)(uintptr_t)(p)

/* The forms of one dimension: with and without a stream. */
API cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream)
{
    return copy_linear(to, from, size, stream, false);
}

API cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t size)
{
    return copy_linear(to, from, size, NULL, true);
}

API cuMemcpy_ptds(CUdeviceptr to, CUdeviceptr from, size_t size)
{
    return copy_linear(to, from, size, CU_STREAM_PER_THREAD, true);
}

API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream)
{
    return linear(CU_MEMORYTYPE_DEVICE, to, CU_MEMORYTYPE_HOST, H(from), size, stream, false);
}

API cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size)
{
    return linear(CU_MEMORYTYPE_DEVICE, to, CU_MEMORYTYPE_HOST, H(from), size, NULL, true);
}

API cuMemcpyHtoD_v2_ptds(CUdeviceptr to, const void *from, size_t size)
{
    return linear(CU_MEMORYTYPE_DEVICE, to, CU_MEMORYTYPE_HOST, H(from), size, CU_STREAM_PER_THREAD,
                  true);
}

API cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream)
{
    return linear(CU_MEMORYTYPE_HOST, H(to), CU_MEMORYTYPE_DEVICE, from, size, stream, false);
}

API cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size)
{
    return linear(CU_MEMORYTYPE_HOST, H(to), CU_MEMORYTYPE_DEVICE, from, size, NULL, true);
}

API cuMemcpyDtoH_v2_ptds(void *to, CUdeviceptr from, size_t size)
{
    return linear(CU_MEMORYTYPE_HOST, H(to), CU_MEMORYTYPE_DEVICE, from, size, CU_STREAM_PER_THREAD,
                  true);
}

API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream)
{
    return linear(CU_MEMORYTYPE_DEVICE, to, CU_MEMORYTYPE_DEVICE, from, size, stream, false);
}

/* Within the device a copy is asynchronous to the host in either form. */
API cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size)
{
    return cuMemcpyDtoDAsync_v2(to, from, size, NULL);
}

API cuMemcpyDtoD_v2_ptds(CUdeviceptr to, CUdeviceptr from, size_t size)
{
    return cuMemcpyDtoDAsync_v2(to, from, size, CU_STREAM_PER_THREAD);
}

static struct box box_in(CUmemorytype type, const void *host, CUdeviceptr device, size_t x,
                         size_t y, size_t z, size_t pitch, size_t height, size_t width)
{
    struct box b = {.type = type, .pitch = pitch ? pitch : width};

    b.slice = b.pitch * height;
    b.address = (type == CU_MEMORYTYPE_HOST ? H(host) : device) + z * b.slice + y * b.pitch + x;
    return b;
}

static struct box box_of(CUmemorytype type, const void *host, CUdeviceptr device, CUarray array,
                         size_t x, size_t y, size_t z, size_t pitch, size_t height, size_t width)
{
    if (type == CU_MEMORYTYPE_ARRAY)
        return (struct box){.type = type, .array = array, .at = {x, y, z}};
    return box_in(type, host, device, x, y, z, pitch, height, width);
}
static bool pitch_fits(CUmemorytype type, size_t pitch, size_t row)
{
    return type == CU_MEMORYTYPE_ARRAY || !pitch || pitch >= row;
}

static CUresult copy_2d(const CUDA_MEMCPY2D *c, CUstream stream, bool wait)
{
    if (!c || !pitch_fits(c->srcMemoryType, c->srcPitch, c->srcXInBytes + c->WidthInBytes) ||
        !pitch_fits(c->dstMemoryType, c->dstPitch, c->dstXInBytes + c->WidthInBytes))
        return CUDA_ERROR_INVALID_VALUE;
    return copy(box_of(c->dstMemoryType, c->dstHost, c->dstDevice, c->dstArray, c->dstXInBytes,
                       c->dstY, 0, c->dstPitch, 0, c->WidthInBytes),
                box_of(c->srcMemoryType, c->srcHost, c->srcDevice, c->srcArray, c->srcXInBytes,
                       c->srcY, 0, c->srcPitch, 0, c->WidthInBytes),
                c->WidthInBytes, c->Height, 1, stream, wait);
}

static CUresult boxes(const CUDA_MEMCPY3D *c, struct box *ret_to, struct box *ret_from)
{
    if (!c || !pitch_fits(c->srcMemoryType, c->srcPitch, c->srcXInBytes + c->WidthInBytes) ||
        !pitch_fits(c->dstMemoryType, c->dstPitch, c->dstXInBytes + c->WidthInBytes) || c->srcLOD ||
        c->dstLOD)
        return CUDA_ERROR_INVALID_VALUE;
    /* An image has as many rows as its height says, if there is another behind it. */
    if (c->Depth > 1 && (!pitch_fits(c->srcMemoryType, c->srcHeight, c->srcY + c->Height) ||
                         !pitch_fits(c->dstMemoryType, c->dstHeight, c->dstY + c->Height)))
        return CUDA_ERROR_INVALID_VALUE;
    *ret_to =
        box_of(c->dstMemoryType, c->dstHost, c->dstDevice, c->dstArray, c->dstXInBytes, c->dstY,
               c->dstZ, c->dstPitch, c->dstHeight ? c->dstHeight : c->Height, c->WidthInBytes);
    *ret_from =
        box_of(c->srcMemoryType, c->srcHost, c->srcDevice, c->srcArray, c->srcXInBytes, c->srcY,
               c->srcZ, c->srcPitch, c->srcHeight ? c->srcHeight : c->Height, c->WidthInBytes);
    return CUDA_SUCCESS;
}

CUresult copy_ordered(const CUDA_MEMCPY3D *c, CUstream stream, enum copy_order order)
{
    struct box to, from;
    CUresult err = boxes(c, &to, &from);

    return err ? err : copy(to, from, c->WidthInBytes, c->Height, c->Depth, stream, order);
}

/* A graph's node: it reads memory of whatever kind when its turn comes. */
CUresult copy_prepare(const CUDA_MEMCPY3D *c, struct cuda_command *ret_command)
{
    bool to_pageable, from_pageable;
    struct box to, from;
    CUresult err = boxes(c, &to, &from);

    if (!err && (!c->WidthInBytes || !c->Height || !c->Depth))
        err = CUDA_ERROR_INVALID_VALUE;
    if (!err)
        err = prepare(to, from, c->WidthInBytes, c->Height, c->Depth, ret_command, &to_pageable,
                      &from_pageable);
    if (!err)
        ret_command->copy.from.locked = ret_command->copy.from.host;
    return err;
}

API cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *c, CUstream stream)
{
    return copy_2d(c, stream, false);
}

API cuMemcpy2D_v2(const CUDA_MEMCPY2D *c)
{
    return copy_2d(c, NULL, true);
}

API cuMemcpy2D_v2_ptds(const CUDA_MEMCPY2D *c)
{
    return copy_2d(c, CU_STREAM_PER_THREAD, true);
}

API cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *c)
{
    return copy_2d(c, NULL, true);
}

API cuMemcpy2DUnaligned_v2_ptds(const CUDA_MEMCPY2D *c)
{
    return copy_2d(c, CU_STREAM_PER_THREAD, true);
}

API cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *c, CUstream stream)
{
    return copy_ordered(c, stream, COPY_ASYNC);
}

API cuMemcpy3D_v2(const CUDA_MEMCPY3D *c)
{
    return copy_ordered(c, NULL, COPY_WAIT);
}

API cuMemcpy3D_v2_ptds(const CUDA_MEMCPY3D *c)
{
    return copy_ordered(c, CU_STREAM_PER_THREAD, COPY_WAIT);
}

/* Arrays of one dimension; offsets are bytes. */
static struct box box_row(CUarray array, size_t offset)
{
    return (struct box){.type = CU_MEMORYTYPE_ARRAY, .array = array, .at = {offset}};
}

API cuMemcpyAtoA_v2(CUarray to, size_t to_offset, CUarray from, size_t from_offset, size_t size)
{
    return copy(box_row(to, to_offset), box_row(from, from_offset), size, 1, 1, NULL, false);
}

API cuMemcpyAtoA_v2_ptds(CUarray to, size_t to_offset, CUarray from, size_t from_offset,
                         size_t size)
{
    return copy(box_row(to, to_offset), box_row(from, from_offset), size, 1, 1,
                CU_STREAM_PER_THREAD, false);
}

API cuMemcpyAtoD_v2(CUdeviceptr to, CUarray from, size_t offset, size_t size)
{
    return copy(box_line(CU_MEMORYTYPE_DEVICE, to, size), box_row(from, offset), size, 1, 1, NULL,
                false);
}

API cuMemcpyAtoD_v2_ptds(CUdeviceptr to, CUarray from, size_t offset, size_t size)
{
    return copy(box_line(CU_MEMORYTYPE_DEVICE, to, size), box_row(from, offset), size, 1, 1,
                CU_STREAM_PER_THREAD, false);
}

API cuMemcpyAtoHAsync_v2(void *to, CUarray from, size_t offset, size_t size, CUstream stream)
{
    return copy(box_line(CU_MEMORYTYPE_HOST, H(to), size), box_row(from, offset), size, 1, 1,
                stream, false);
}

API cuMemcpyAtoHAsync_v2_ptsz(void *to, CUarray from, size_t offset, size_t size, CUstream stream)
{
    return copy(box_line(CU_MEMORYTYPE_HOST, H(to), size), box_row(from, offset), size, 1, 1,
                stream ? stream : CU_STREAM_PER_THREAD, false);
}

API cuMemcpyAtoH_v2(void *to, CUarray from, size_t offset, size_t size)
{
    return copy(box_line(CU_MEMORYTYPE_HOST, H(to), size), box_row(from, offset), size, 1, 1, NULL,
                true);
}

API cuMemcpyAtoH_v2_ptds(void *to, CUarray from, size_t offset, size_t size)
{
    return copy(box_line(CU_MEMORYTYPE_HOST, H(to), size), box_row(from, offset), size, 1, 1,
                CU_STREAM_PER_THREAD, true);
}

API cuMemcpyDtoA_v2(CUarray to, size_t offset, CUdeviceptr from, size_t size)
{
    return copy(box_row(to, offset), box_line(CU_MEMORYTYPE_DEVICE, from, size), size, 1, 1, NULL,
                false);
}

API cuMemcpyDtoA_v2_ptds(CUarray to, size_t offset, CUdeviceptr from, size_t size)
{
    return copy(box_row(to, offset), box_line(CU_MEMORYTYPE_DEVICE, from, size), size, 1, 1,
                CU_STREAM_PER_THREAD, false);
}

API cuMemcpyHtoAAsync_v2(CUarray to, size_t offset, const void *from, size_t size, CUstream stream)
{
    return copy(box_row(to, offset), box_line(CU_MEMORYTYPE_HOST, H(from), size), size, 1, 1,
                stream, false);
}

API cuMemcpyHtoAAsync_v2_ptsz(CUarray to, size_t offset, const void *from, size_t size,
                              CUstream stream)
{
    return copy(box_row(to, offset), box_line(CU_MEMORYTYPE_HOST, H(from), size), size, 1, 1,
                stream ? stream : CU_STREAM_PER_THREAD, false);
}

API cuMemcpyHtoA_v2(CUarray to, size_t offset, const void *from, size_t size)
{
    return copy(box_row(to, offset), box_line(CU_MEMORYTYPE_HOST, H(from), size), size, 1, 1, NULL,
                true);
}

API cuMemcpyHtoA_v2_ptds(CUarray to, size_t offset, const void *from, size_t size)
{
    return copy(box_row(to, offset), box_line(CU_MEMORYTYPE_HOST, H(from), size), size, 1, 1,
                CU_STREAM_PER_THREAD, true);
}

/* Contexts of one device share its memory; what is another device's is refused by its address. */
API cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                      CUcontext from_context, size_t size, CUstream stream)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(to_context, CONTEXT) || !handle_is(from_context, CONTEXT))
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    unlock();
    return cuMemcpyDtoDAsync_v2(to, from, size, stream);
}

API cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                 size_t size)
{
    return cuMemcpyPeerAsync(to, to_context, from, from_context, size, NULL);
}

API cuMemcpyPeer_ptds(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                      CUcontext from_context, size_t size)
{
    return cuMemcpyPeerAsync(to, to_context, from, from_context, size, CU_STREAM_PER_THREAD);
}

/* The layout is that of CUDA_MEMCPY3D, with contexts in the reserved words. */
API cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *c, CUstream stream)
{
    return copy_ordered((const CUDA_MEMCPY3D *)c, stream, COPY_ASYNC);
}

API cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *c)
{
    return copy_ordered((const CUDA_MEMCPY3D *)c, NULL, COPY_WAIT);
}

API cuMemcpy3DPeer_ptds(const CUDA_MEMCPY3D_PEER *c)
{
    return copy_ordered((const CUDA_MEMCPY3D *)c, CU_STREAM_PER_THREAD, COPY_WAIT);
}
