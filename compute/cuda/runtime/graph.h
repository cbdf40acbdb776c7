/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_RUNTIME_GRAPH_H
#define VIADUCT_CUDA_RUNTIME_GRAPH_H

#include "runtime.h"

/* cudaKernelNodeParams */
struct kernel_node {
    const void *func;
    struct dim3 grid, block;
    unsigned shared;
    void **args, **extra;
};

/* graph_node.c: enters the runtime. */
cudaError_t graph_kernel_params(const struct kernel_node *p, CUDA_KERNEL_NODE_PARAMS *ret);

/* graph.c */
struct copy_3d graph_copy_1d(void *to, const void *from, size_t size, int kind);

#endif
