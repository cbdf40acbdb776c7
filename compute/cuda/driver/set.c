/* SPDX-License-Identifier: MIT */
#include "graph.h"
#include "internal.h"

/* memset, of one and two dimensions. To device memory it is asynchronous in either form. */

CUresult set_prepare(const CUDA_MEMSET_NODE_PARAMS *p, struct cuda_command *ret_command)
{
    size_t pitch = p->height == 1 ? p->width * p->elementSize : p->pitch;

    if ((p->elementSize != 1 && p->elementSize != 2 && p->elementSize != 4) || !p->width ||
        !p->height || p->dst % p->elementSize || p->width > (size_t)1 << 46 ||
        pitch < p->width * p->elementSize || (p->height - 1) > ((size_t)1 << 46) / pitch ||
        memory_check_write(p->dst, (p->height - 1) * pitch + p->width * p->elementSize))
        return CUDA_ERROR_INVALID_VALUE;
    *ret_command = (struct cuda_command){.kind = CUDA_SET,
                                         .set = {.address = p->dst,
                                                 .pitch = pitch,
                                                 .value = p->value,
                                                 .element = p->elementSize,
                                                 .width = p->width,
                                                 .height = p->height}};
    return CUDA_SUCCESS;
}

static CUresult set(CUdeviceptr to, size_t pitch, uint32_t value, uint32_t element, size_t width,
                    size_t height, CUstream stream)
{
    CUDA_MEMSET_NODE_PARAMS p = {to, pitch, value, element, width, height};
    struct cuda_command c;
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (width && height) {
        err = set_prepare(&p, &c);
        if (!err)
            err = stream_submit(s, &c);
        if (!err && !s->capture && memory_syncs(to, stream))
            err = stream_wait(s);
    }
    return leave(err);
}

#define SETS(bits, type, bytes)                                                             \
    API cuMemsetD##bits##Async(CUdeviceptr to, type value, size_t n, CUstream stream)       \
    {                                                                                       \
        return set(to, 0, value, bytes, n, 1, stream);                                      \
    }                                                                                       \
    API cuMemsetD##bits##_v2(CUdeviceptr to, type value, size_t n)                          \
    {                                                                                       \
        return set(to, 0, value, bytes, n, 1, NULL);                                        \
    }                                                                                       \
    API cuMemsetD##bits##_v2_ptds(CUdeviceptr to, type value, size_t n)                     \
    {                                                                                       \
        return set(to, 0, value, bytes, n, 1, CU_STREAM_PER_THREAD);                        \
    }                                                                                       \
    API cuMemsetD2D##bits##Async(CUdeviceptr to, size_t pitch, type value, size_t width,    \
                                 size_t height, CUstream stream)                            \
    {                                                                                       \
        return set(to, pitch, value, bytes, width, height, stream);                         \
    }                                                                                       \
    API cuMemsetD2D##bits##_v2(CUdeviceptr to, size_t pitch, type value, size_t width,      \
                               size_t height)                                               \
    {                                                                                       \
        return set(to, pitch, value, bytes, width, height, NULL);                           \
    }                                                                                       \
    API cuMemsetD2D##bits##_v2_ptds(CUdeviceptr to, size_t pitch, type value, size_t width, \
                                    size_t height)                                          \
    {                                                                                       \
        return set(to, pitch, value, bytes, width, height, CU_STREAM_PER_THREAD);           \
    }

SETS(8, unsigned char, 1)
SETS(16, unsigned short, 2)
SETS(32, unsigned, 4)
