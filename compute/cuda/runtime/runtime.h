/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_RUNTIME_H
#define VIADUCT_CUDA_RUNTIME_H

#include <stdbool.h>

#include <compute/cuda/cuda.h>

/*
 * The runtime API of CUDA (libcudart.so.12, .13) over libcuda, from its public documentation:
 * handles of streams, events and graphs are the driver API's, and so are the codes of errors that
 * both have. Compiled once a major version: CUDART_MAJOR.
 *
 * Each entry begins with runtime_enter, which sees to it that the calling thread has a context (its
 * device's primary one, made by the first call), and ends with runtime_leave, which keeps the
 * error for cudaGetLastError. Any thread.
 */

#define RT __attribute__((visibility("default")))

typedef int cudaError_t;

enum {
    RT_INVALID_VALUE = 1,
    RT_INVALID_CONFIGURATION = 9,
    RT_INVALID_PITCH = 12,
    RT_INVALID_SYMBOL = 13,
    RT_INVALID_MEMCPY_DIRECTION = 21,
    RT_INVALID_DEVICE_FUNCTION = 98,
    RT_INVALID_DEVICE = 101,
    RT_INVALID_HANDLE = 400,
    RT_NOT_READY = 600,
    RT_NOT_SUPPORTED = 801,
};

enum runtime_copy {
    RT_HOST_TO_HOST,
    RT_HOST_TO_DEVICE,
    RT_DEVICE_TO_HOST,
    RT_DEVICE_TO_DEVICE,
    RT_DEFAULT
};

/* Passed by value, as C++ passes dim3. */
struct dim3 {
    unsigned x, y, z;
};

#define RT_PER_THREAD ((CUstream)2)
/* What stands for no stream in programs that are compiled for a default stream per thread. */
#define RT_STREAM_PT(stream) ((stream) ? (stream) : RT_PER_THREAD)

/* device.c */
cudaError_t runtime_enter(void);
/* Keeps and returns the error: a CUresult, which is the same number, or one of the runtime's. */
cudaError_t runtime_leave(cudaError_t err);

#define RT_RETURN(call)                                      \
    do {                                                     \
        cudaError_t rt_err = runtime_enter();                \
        return runtime_leave(rt_err ? rt_err : (int)(call)); \
    } while (0)

/* memory.c: cudaMemcpy3DParms, and the driver API's form of it */
struct pitched {
    void *ptr;
    size_t pitch, xsize, ysize;
};
struct extent {
    size_t width, height, depth;
};
struct copy_3d {
    CUarray srcArray;
    size_t srcPos[3];
    struct pitched srcPtr;
    CUarray dstArray;
    size_t dstPos[3];
    struct pitched dstPtr;
    struct extent extent;
    int kind;
};
/*
 * Where a part of a variable is that is registered under this host address, for a copy of `kind`
 * to it or from it. It enters the runtime.
 */
cudaError_t memory_symbol(const void *host, size_t offset, size_t count, int kind, bool to,
                          CUdeviceptr *ret_address);
/* What is wrong with a copy of rows: its direction, or a pitch less than the width; 0: neither. */
cudaError_t memory_refuse_2d(int kind, size_t width, size_t to_pitch, size_t from_pitch);
/* One that the driver API refuses, if it names no source or target, or more than one. */
CUDA_MEMCPY3D memory_copy_3d(const struct copy_3d *p);

/* texture.c */
/* Bits of each channel, and what they are. */
struct channel_desc {
    int x, y, z, w;
    int kind; /* signed, unsigned, float */
};
/* A format of the driver API; -1: there is none. */
int texture_format(const struct channel_desc *d, unsigned *ret_channels);

/* register.c: what the compiler registered under a host address. */
/* The kernel in the current context, whose module is loaded when it is first needed. */
cudaError_t register_function(const void *host, CUfunction *ret_function);
/* The host address of a kernel, or the driver's handle of one that was not registered. */
const void *register_host(CUfunction function);
cudaError_t register_variable(const void *host, CUdeviceptr *ret_address, size_t *ret_size);
/* Contexts are gone: nothing that was loaded is left. */
void register_forget(void);

#endif
