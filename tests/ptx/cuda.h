/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_PTX_CUDA_H
#define VIADUCT_TEST_PTX_CUDA_H

/* As much of CUDA C++ as the kernels need, over clang's builtins: no toolkit is used. */

#define __global__   __attribute__((global))
#define __device__   __attribute__((device))
#define __shared__   __attribute__((shared))
#define __constant__ __attribute__((constant))
#define KERNEL       extern "C" __global__ void

typedef unsigned int u32;
typedef unsigned long long u64;

#define TID    __nvvm_read_ptx_sreg_tid_x()
#define TIDY   __nvvm_read_ptx_sreg_tid_y()
#define BLOCK  __nvvm_read_ptx_sreg_ctaid_x()
#define BLOCKY __nvvm_read_ptx_sreg_ctaid_y()
#define SIZE   __nvvm_read_ptx_sreg_ntid_x()
#define GRID   __nvvm_read_ptx_sreg_nctaid_x()
#define INDEX  (BLOCK * SIZE + TID)

#define SYNC()          __syncthreads()
#define SHFL_DOWN(v, n) __nvvm_shfl_sync_down_i32(0xffffffff, v, n, 31)
#define SHFL_UP(v, n)   __nvvm_shfl_sync_up_i32(0xffffffff, v, n, 0)
#define SHFL_XORF(v, n) __nvvm_shfl_sync_bfly_f32(0xffffffff, v, n, 31)
#define BALLOT(p)       __nvvm_vote_ballot_sync(0xffffffff, p)

extern "C" __device__ int vprintf(const char *format, const char *arguments);

#endif
