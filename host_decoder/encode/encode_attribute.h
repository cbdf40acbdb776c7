/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_ATTRIBUTE_H
#define HOST_ENCODE_ATTRIBUTE_H

#include <stddef.h>
#include <stdint.h>

/* For encode_codec.attributes of codecs that have a table of them. */
struct encode_attribute {
    uint32_t type, value;
};

static inline uint32_t encode_attributes(const struct encode_attribute *table, size_t count,
                                         uint32_t *ret_types, uint32_t *ret_values, uint32_t room)
{
    uint32_t n = 0;

    for (; n < count && n < room; n++) {
        ret_types[n] = table[n].type;
        ret_values[n] = table[n].value;
    }
    return n;
}

#endif
