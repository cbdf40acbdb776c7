/* SPDX-License-Identifier: MIT */
#include "internal.h"

/* memset, of one and two dimensions. To device memory it is asynchronous in either form. */

static CUresult set(CUdeviceptr to, size_t pitch, uint32_t value, uint32_t element, size_t width,
                    size_t height, CUstream stream)
{
    struct cuda_command c = {.kind = CUDA_SET,
                             .set = {.address = to,
                                     .pitch = pitch,
                                     .value = value,
                                     .element = element,
                                     .width = width,
                                     .height = height}};
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!width || !height)
        return leave(CUDA_SUCCESS);
    if (height == 1)
        c.set.pitch = pitch = width * element;
    if (to % element || width > (size_t)1 << 46 || pitch < width * element ||
        (height - 1) > ((size_t)1 << 46) / pitch ||
        memory_check(to, (height - 1) * pitch + width * element))
        return leave(CUDA_ERROR_INVALID_VALUE);
    return leave(stream_submit(s, &c));
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
