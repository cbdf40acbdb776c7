/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Commands for the device, in the driver's words. */

static int launch(CUstream stream, const struct cuda_command *c)
{
    struct native_kernel *k = c->launch.kernel;
    const uint32_t *g = c->launch.grid, *b = c->launch.block;
    size_t bytes = c->launch.parameter_bytes;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)(uintptr_t)c->launch.parameters,
                     CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
    void **parameters;
    int err;

    /* Beyond what all kernels may have, each has to be asked for. */
    if (c->launch.shared_bytes > INT_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    if ((int)c->launch.shared_bytes > k->dynamic_shared) {
        err = (int)native.cuFuncSetAttribute(k->function,
                                             CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                             (int)c->launch.shared_bytes);
        if (err)
            return err;
        k->dynamic_shared = (int)c->launch.shared_bytes;
    }
    if (!c->launch.cooperative)
        return (int)native.cuLaunchKernel(k->function, g[0], g[1], g[2], b[0], b[1], b[2],
                                          c->launch.shared_bytes, stream, NULL,
                                          bytes ? extra : NULL);
    parameters = calloc(k->parameter_count + 1, sizeof(*parameters));
    if (!parameters)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < k->parameter_count; i++)
        parameters[i] = (uint8_t *)(uintptr_t)c->launch.parameters + k->parameters[i].offset;
    err = (int)native.cuLaunchCooperativeKernel(k->function, g[0], g[1], g[2], b[0], b[1], b[2],
                                                c->launch.shared_bytes, stream, parameters);
    free(parameters);
    return err;
}

static int copy_bytes(CUstream stream, const struct cuda_side *to, uint64_t to_at,
                      const struct cuda_side *from, uint64_t from_at, uint64_t bytes)
{
    CUdeviceptr t = to->address + to_at, f = from->address + from_at;

    if (to->host && from->host)
        return (int)native.cuMemcpyAsync(t, f, bytes, stream);
    if (to->host)
        return (int)native.cuMemcpyDtoHAsync_v2((void *)(uintptr_t)t, f, bytes, stream);
    if (from->host)
        return (int)native.cuMemcpyHtoDAsync_v2(t, (const void *)(uintptr_t)f, bytes, stream);
    return (int)native.cuMemcpyDtoDAsync_v2(t, f, bytes, stream);
}

static int copy_image(CUstream stream, const struct cuda_command *c, uint64_t z)
{
    const struct cuda_side *to = &c->copy.to, *from = &c->copy.from;
    uint64_t t = z * to->slice, f = z * from->slice;
    int err = CUDA_ERROR_INVALID_VALUE;

    if (c->copy.height == 1)
        return copy_bytes(stream, to, t, from, f, c->copy.width);
    if (to->pitch >= c->copy.width && from->pitch >= c->copy.width && to->pitch <= INT_MAX &&
        from->pitch <= INT_MAX) {
        CUDA_MEMCPY2D d = {
            .srcMemoryType = from->host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE,
            .srcHost = from->host ? (const void *)(uintptr_t)(from->address + f) : NULL,
            .srcDevice = from->host ? 0 : from->address + f,
            .srcPitch = from->pitch,
            .dstMemoryType = to->host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE,
            .dstHost = to->host ? (void *)(uintptr_t)(to->address + t) : NULL,
            .dstDevice = to->host ? 0 : to->address + t,
            .dstPitch = to->pitch,
            .WidthInBytes = c->copy.width,
            .Height = c->copy.height,
        };

        err = (int)native.cuMemcpy2DAsync_v2(&d, stream);
    }
    /* Pitches that a device does not like. */
    if (err == CUDA_ERROR_INVALID_VALUE) {
        err = 0;
        for (uint64_t y = 0; y < c->copy.height && !err; y++)
            err =
                copy_bytes(stream, to, t + y * to->pitch, from, f + y * from->pitch, c->copy.width);
    }
    return err;
}

static int copy(CUstream stream, const struct cuda_command *c)
{
    const struct cuda_side *to = &c->copy.to, *from = &c->copy.from;
    uint64_t width = c->copy.width, height = c->copy.height, depth = c->copy.depth;
    int err = 0;

    if (native_array_copies(c))
        return native_array_copy(stream, c);
    if (to->pitch == width && from->pitch == width &&
        (depth < 2 || (to->slice == from->slice && to->slice == width * height)))
        return copy_bytes(stream, to, 0, from, 0, width * height * depth);
    for (uint64_t z = 0; z < depth && !err; z++)
        err = copy_image(stream, c, z);
    return err;
}

static int set(CUstream stream, const struct cuda_command *c)
{
    uint64_t address = c->set.address, pitch = c->set.pitch, width = c->set.width,
             height = c->set.height;
    uint32_t value = c->set.value;

    if (pitch == width * c->set.element) {
        width *= height;
        height = 1;
    }
    if (height == 1) {
        switch (c->set.element) {
        case 1:
            return (int)native.cuMemsetD8Async(address, (unsigned char)value, width, stream);
        case 2:
            return (int)native.cuMemsetD16Async(address, (unsigned short)value, width, stream);
        default:
            return (int)native.cuMemsetD32Async(address, value, width, stream);
        }
    }
    switch (c->set.element) {
    case 1:
        return (int)native.cuMemsetD2D8Async(address, pitch, (unsigned char)value, width, height,
                                             stream);
    case 2:
        return (int)native.cuMemsetD2D16Async(address, pitch, (unsigned short)value, width, height,
                                              stream);
    default:
        return (int)native.cuMemsetD2D32Async(address, pitch, value, width, height, stream);
    }
}

static int write_value(CUstream stream, const struct cuda_command *c)
{
    if (c->value.bytes == 4)
        return (int)native.cuStreamWriteValue32_v2(stream, c->value.address,
                                                   (uint32_t)c->value.value, 0);
    return (int)native.cuStreamWriteValue64_v2(stream, c->value.address, c->value.value, 0);
}

static int wait_value(CUstream stream, const struct cuda_command *c)
{
    if (c->value.bytes == 4)
        return (int)native.cuStreamWaitValue32_v2(stream, c->value.address,
                                                  (uint32_t)c->value.value, c->value.compare & 3);
    return (int)native.cuStreamWaitValue64_v2(stream, c->value.address, c->value.value,
                                              c->value.compare & 3);
}

int native_command(CUstream stream, const struct cuda_command *c)
{
    switch (c->kind) {
    case CUDA_LAUNCH:
        return launch(stream, c);
    case CUDA_COPY:
        return copy(stream, c);
    case CUDA_SET:
        return set(stream, c);
    case CUDA_WRITE_VALUE:
        return write_value(stream, c);
    case CUDA_WAIT_VALUE:
        return wait_value(stream, c);
    default:
        return 0;
    }
}
