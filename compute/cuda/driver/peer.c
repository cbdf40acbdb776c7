/* SPDX-License-Identifier: MIT */
#include "internal.h"

/* Devices do not reach each other's memory (cuDeviceCanAccessPeer); copies between them work. */

API cuCtxEnablePeerAccess(CUcontext peer, unsigned flags)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!handle_is(peer, CONTEXT) || peer == c)
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    return leave(flags ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
}

API cuCtxDisablePeerAccess(CUcontext peer)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    return leave(handle_is(peer, CONTEXT) ? CUDA_ERROR_PEER_ACCESS_NOT_ENABLED
                                          : CUDA_ERROR_INVALID_CONTEXT);
}

API cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!value || attribute < CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK ||
        attribute > CU_DEVICE_P2P_ATTRIBUTE_ONLY_PARTIAL_NATIVE_ATOMIC_SUPPORTED)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!device_properties(from) || !device_properties(to) || from == to)
        return leave(CUDA_ERROR_INVALID_DEVICE);
    *value = 0;
    return leave(CUDA_SUCCESS);
}
