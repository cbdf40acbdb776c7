/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "encode.h"

void encode_put(struct encode_output *output, const void *bytes, size_t size)
{
    if (output->size <= output->room && size <= output->room - output->size)
        memcpy(output->bytes + output->size, bytes, size);
    output->size += size;
}
