/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "vhost.h"

unsigned vhost_iov_slice(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t size,
                         struct iovec *ret_iov, unsigned room)
{
    unsigned n = 0;

    for (unsigned i = 0; i < count && size && n < room; i++) {
        size_t part;

        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        part = iov[i].iov_len - (size_t)offset;
        if (part > size)
            part = (size_t)size;
        ret_iov[n++] = (struct iovec){(uint8_t *)iov[i].iov_base + offset, part};
        size -= part;
        offset = 0;
    }
    return n;
}

size_t vhost_iov_get(const struct iovec *iov, unsigned count, uint64_t offset, void *bytes,
                     size_t size)
{
    size_t done = 0;

    for (unsigned i = 0; i < count && done < size; i++) {
        struct iovec part;

        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        vhost_iov_slice(&iov[i], 1, offset, size - done, &part, 1);
        memcpy((uint8_t *)bytes + done, part.iov_base, part.iov_len);
        done += part.iov_len;
        offset = 0;
    }
    return done;
}

size_t vhost_iov_put(const struct iovec *iov, unsigned count, uint64_t offset, const void *bytes,
                     size_t size)
{
    size_t done = 0;

    for (unsigned i = 0; i < count && done < size; i++) {
        struct iovec part;

        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        vhost_iov_slice(&iov[i], 1, offset, size - done, &part, 1);
        memcpy(part.iov_base, (const uint8_t *)bytes + done, part.iov_len);
        done += part.iov_len;
        offset = 0;
    }
    return done;
}
