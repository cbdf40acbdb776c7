/* SPDX-License-Identifier: MIT */
#include "memory.h"

#include <fcntl.h>
#include <unistd.h>
#include <viaduct/errors.h>

int memory_check(int fd, uint64_t size)
{
    int seals = fcntl(fd, F_GET_SEALS);
    off_t end = lseek(fd, 0, SEEK_END);

    if (!size || end < 0 || (uint64_t)end < size)
        return VD_ERR_PARAMETER;
    /*
     * The pages of shared memory or a file could go under our feet. The sandbox leaves one way to
     * tell a dma-buf from those: it refuses to seek anywhere but to its ends (dma_buf_llseek).
     */
    if (seals >= 0 ? !(seals & F_SEAL_SHRINK) : lseek(fd, 1, SEEK_SET) >= 0)
        return VD_ERR_PARAMETER;
    return 0;
}
