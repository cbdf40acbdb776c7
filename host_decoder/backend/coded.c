/* SPDX-License-Identifier: MIT */
#include "coded.h"

#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>

void coded_head(const struct backend_work *work, uint32_t size, uint32_t status, int err)
{
    struct vd_coded head = {
        .size = err ? 0 : size,
        .status = status,
        .error = (uint32_t)-err,
    };

    if (err == VD_ERR_ROOM)
        head.status |= VA_CODED_BUF_STATUS_BAD_BITSTREAM | VA_CODED_BUF_STATUS_SLICE_OVERFLOW_MASK;
    memcpy(work->coded, &head, sizeof(head));
}
