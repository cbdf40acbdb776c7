/* SPDX-License-Identifier: MIT */
#include "sha256.h"

#include <stdbool.h>
#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn(uint32_t value, int by)
{
    return value >> by | value << (32 - by);
}

static void take_blocks_plain(uint32_t state[8], const uint8_t *block, size_t count)
{
    for (; count; count--) {
        uint32_t w[64], v[8];

        for (int i = 0; i < 16; i++, block += 4)
            w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 |
                   (uint32_t)block[3];
        for (int i = 16; i < 64; i++)
            w[i] = w[i - 16] + w[i - 7] +
                   (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
                   (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
        memcpy(v, state, sizeof(v));
        /* Instead of moving a to h their numbers move: it is the value at -i that is `a`. */
        for (int i = 0; i < 64; i++) {
#define AT(n) v[((n)-i) & 7]
            uint32_t one = AT(7) + (turn(AT(4), 6) ^ turn(AT(4), 11) ^ turn(AT(4), 25)) +
                           ((AT(4) & AT(5)) ^ (~AT(4) & AT(6))) + round_constants[i] + w[i];

            AT(3) += one;
            AT(7) = one + (turn(AT(0), 2) ^ turn(AT(0), 13) ^ turn(AT(0), 22)) +
                    ((AT(0) & AT(1)) ^ (AT(0) & AT(2)) ^ (AT(1) & AT(2)));
#undef AT
        }
        for (int i = 0; i < 8; i++)
            state[i] += v[i];
    }
}

#ifdef __x86_64__
/* Whether the processor has instructions for it: CPUID leaf 7, EBX bit 29. */
static bool has_instructions(void)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1 &&
           __builtin_cpu_supports("sse4.1");
}

/* The state is held as the instructions want it: a, b, e, f and c, d, g, h, the last one lowest. */
__attribute__((target("sha,sse4.1"))) static void
take_blocks_fast(uint32_t state[8], const uint8_t *block, size_t count)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
    __m128i abef = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4], (int)state[5]);
    __m128i cdgh = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6], (int)state[7]);
    uint32_t out[8];

    for (; count; count--) {
        __m128i abef_before = abef, cdgh_before = cdgh, w[4];

        for (int i = 0; i < 16; i++) {
            __m128i sum;

            if (i < 4) {
                w[i] =
                    _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)block), swap);
                block += 16;
            } else {
                sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]),
                                    _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
                w[i & 3] = _mm_sha256msg2_epu32(sum, w[(i + 3) & 3]);
            }
            sum = _mm_add_epi32(
                w[i & 3],
                _mm_loadu_si128((const __m128i *)(const void *)(round_constants + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    _mm_storeu_si128((__m128i *)(void *)out, abef);
    _mm_storeu_si128((__m128i *)(void *)(out + 4), cdgh);
    for (int i = 0; i < 2; i++) {
        state[i] = out[3 - i];
        state[4 + i] = out[1 - i];
        state[2 + i] = out[7 - i];
        state[6 + i] = out[5 - i];
    }
}
#endif

static void take_blocks(uint32_t state[8], const uint8_t *blocks, size_t count)
{
#ifdef __x86_64__
    if (has_instructions()) {
        take_blocks_fast(state, blocks, count);
        return;
    }
#endif
    take_blocks_plain(state, blocks, count);
}

void sha256_init(struct sha256 *hash)
{
    *hash = (struct sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                                      0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void sha256_add(struct sha256 *hash, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    while (size) {
        size_t used = hash->size % sizeof(hash->block), part = sizeof(hash->block) - used;

        if (!used && size >= sizeof(hash->block)) {
            part = size - size % sizeof(hash->block);
            take_blocks(hash->state, at, part / sizeof(hash->block));
        } else {
            part = part < size ? part : size;
            memcpy(hash->block + used, at, part);
            if (used + part == sizeof(hash->block))
                take_blocks(hash->state, hash->block, 1);
        }
        hash->size += part;
        at += part;
        size -= part;
    }
}

void sha256_finish(struct sha256 *hash, uint8_t ret_hash[SHA256_BYTES])
{
    static const uint8_t end[64] = {0x80};
    uint64_t bits = hash->size * 8;
    uint8_t length[8];

    sha256_add(hash, end, 1 + (119 - hash->size % 64) % 64);
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(hash, length, sizeof(length));
    for (int i = 0; i < SHA256_BYTES; i++)
        ret_hash[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}

void sha256_of(const void *bytes, size_t size, uint8_t ret_hash[SHA256_BYTES])
{
    struct sha256 hash;

    sha256_init(&hash);
    sha256_add(&hash, bytes, size);
    sha256_finish(&hash, ret_hash);
}
