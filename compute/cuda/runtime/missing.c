/* SPDX-License-Identifier: MIT */
#include "runtime.h"

/* What missing.def lists: there, so that programs which link to it start, and without their types.
 */

#define CUDART_MISSING(name)                    \
    RT cudaError_t name(void);                  \
    RT cudaError_t name(void)                   \
    {                                           \
        return runtime_leave(RT_NOT_SUPPORTED); \
    }
#include "missing.def"
