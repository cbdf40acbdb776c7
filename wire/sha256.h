/* SPDX-License-Identifier: MIT */
#ifndef WIRE_SHA256_H
#define WIRE_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* SHA-256 (FIPS 180-4): names of models. Any thread. */

#define SHA256_BYTES 32

struct sha256 {
    uint32_t state[8];
    uint64_t size; /* bytes so far */
    uint8_t block[64];
};

void sha256_init(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *bytes, size_t size);
void sha256_finish(struct sha256 *hash, uint8_t ret_hash[SHA256_BYTES]);
/* All of it at once. */
void sha256_of(const void *bytes, size_t size, uint8_t ret_hash[SHA256_BYTES]);

#endif
