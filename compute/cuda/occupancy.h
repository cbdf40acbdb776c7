/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_OCCUPANCY_H
#define VIADUCT_CUDA_OCCUPANCY_H

#include <compute/cuda/device.h>
#include <compute/cuda/ptx/ptx.h>

struct occupancy_kernel {
    uint32_t registers, shared_bytes, max_threads;
};

/* Blocks of so many threads (at least 1) that a multiprocessor has room for, by threads, registers
 * and shared memory. */
static inline int occupancy_blocks(unsigned multiprocessors, const struct occupancy_kernel *k,
                                   int threads, uint64_t dynamic)
{
    int warps = (threads + 31) / 32, blocks = CUDA_THREADS_PER_SM / (warps * 32);
    int most = (int)CUDA_BLOCKS_PER_SM(multiprocessors);
    uint64_t shared = k->shared_bytes + dynamic, registers;

    registers = (uint64_t)k->registers * 32 * (unsigned)warps;
    if (blocks > most)
        blocks = most;
    if (threads > (int)k->max_threads || dynamic > PTX_MAX_SHARED || shared > PTX_MAX_SHARED)
        return 0;
    if (shared && blocks > (int)((228 << 10) / shared))
        blocks = (int)((228 << 10) / shared);
    if (registers && blocks > (int)(CUDA_REGISTERS_PER_SM / registers))
        blocks = (int)(CUDA_REGISTERS_PER_SM / registers);
    return blocks;
}

#endif
