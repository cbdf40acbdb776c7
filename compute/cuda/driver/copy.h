/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_COPY_H
#define VIADUCT_CUDA_COPY_H

#include "internal.h"

/* When a copy is done, and when its source is read. */
enum copy_order {
    COPY_ASYNC, /* ordinary memory before the call returns, all else in the stream's order */
    COPY_WAIT,  /* the call waits for it */
    COPY_LATE,  /* all in the stream's order */
    COPY_NOW,   /* all before the call returns */
};

/* Without the lock. */
CUresult copy_ordered(const CUDA_MEMCPY3D *c, CUstream stream, enum copy_order order);

#endif
