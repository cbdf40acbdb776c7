/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/*
 * Launches as before CUDA 4: a function keeps the shape of its blocks, and parameters are put where
 * the caller says. Drivers of today still have it.
 */

#define MAX_BYTES 4096 /* of parameters, as then */

struct old_launch {
    unsigned block[3], shared, bytes;
    _Alignas(16) uint8_t parameters[MAX_BYTES];
};

/* With the lock. What a function keeps, made with the first question. */
static CUresult enter_old(CUfunction function, struct old_launch **ret_old)
{
    struct CUfunc_st *f;
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    err = function_find(function, c, &f);
    if (!err && !f->old)
        f->old = calloc(1, sizeof(*f->old));
    if (!err && !f->old)
        err = CUDA_ERROR_OUT_OF_MEMORY;
    if (err)
        return leave(err);
    *ret_old = f->old;
    return CUDA_SUCCESS;
}

API cuFuncSetBlockShape(CUfunction function, int x, int y, int z)
{
    struct old_launch *o;
    CUresult err = enter_old(function, &o);

    if (err)
        return err;
    if (x < 1 || y < 1 || z < 1)
        return leave(CUDA_ERROR_INVALID_VALUE);
    o->block[0] = (unsigned)x;
    o->block[1] = (unsigned)y;
    o->block[2] = (unsigned)z;
    return leave(CUDA_SUCCESS);
}

API cuFuncSetSharedSize(CUfunction function, unsigned bytes)
{
    struct old_launch *o;
    CUresult err = enter_old(function, &o);

    if (err)
        return err;
    o->shared = bytes;
    return leave(CUDA_SUCCESS);
}

API cuParamSetSize(CUfunction function, unsigned bytes)
{
    struct old_launch *o;
    CUresult err = enter_old(function, &o);

    if (err)
        return err;
    if (bytes > MAX_BYTES)
        return leave(CUDA_ERROR_INVALID_VALUE);
    o->bytes = bytes;
    return leave(CUDA_SUCCESS);
}

API cuParamSetv(CUfunction function, int offset, void *from, unsigned bytes)
{
    struct old_launch *o;
    CUresult err = enter_old(function, &o);

    if (err)
        return err;
    if (!from || offset < 0 || offset > MAX_BYTES || bytes > MAX_BYTES - (unsigned)offset)
        return leave(CUDA_ERROR_INVALID_VALUE);
    memcpy(o->parameters + offset, from, bytes);
    return leave(CUDA_SUCCESS);
}

API cuParamSeti(CUfunction function, int offset, unsigned value)
{
    return cuParamSetv(function, offset, &value, sizeof(value));
}

API cuParamSetf(CUfunction function, int offset, float value)
{
    return cuParamSetv(function, offset, &value, sizeof(value));
}

API cuLaunchGridAsync(CUfunction function, int width, int height, CUstream stream)
{
    struct old_launch *o, now;
    size_t bytes;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, now.parameters, CU_LAUNCH_PARAM_BUFFER_SIZE,
                     &bytes, CU_LAUNCH_PARAM_END};
    CUresult err = enter_old(function, &o);

    if (err)
        return err;
    now = *o;
    bytes = o->bytes;
    unlock();
    if (width < 1 || height < 1)
        return CUDA_ERROR_INVALID_VALUE;
    return cuLaunchKernel(function, (unsigned)width, (unsigned)height, 1, now.block[0],
                          now.block[1], now.block[2], now.shared, stream, NULL, extra);
}

API cuLaunchGrid(CUfunction function, int width, int height)
{
    return cuLaunchGridAsync(function, width, height, NULL);
}

API cuLaunch(CUfunction function)
{
    return cuLaunchGridAsync(function, 1, 1, NULL);
}
