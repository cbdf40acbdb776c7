/* SPDX-License-Identifier: MIT */
#include "mirror_words.h"

#include <viaduct/protocol.h>

struct vd_header mirror_words_header(uint32_t op, size_t fixed_size, uint32_t size)
{
    uint32_t words = (size + 7) / 8;

    return (struct vd_header){
        .size = (uint32_t)(sizeof(struct vd_header) + fixed_size) + words * 8,
        .op = op,
        .tail = words,
    };
}

int mirror_words_send(struct channel *channel, uint32_t op, const void *fixed, size_t fixed_size,
                      const uint8_t *bytes, uint32_t size, int timeout_ms)
{
    static const uint8_t zeros[8];
    struct vd_header header = mirror_words_header(op, fixed_size, size);
    struct iovec iov[4] = {
        {&header, sizeof(header)},
        {(void *)(uintptr_t)fixed, fixed_size},
        {(void *)(uintptr_t)bytes, size},
        {(void *)(uintptr_t)zeros, header.tail * (size_t)8 - size},
    };

    return channel->ops->send(channel, iov, iov[3].iov_len ? 4 : 3, -1, timeout_ms);
}
