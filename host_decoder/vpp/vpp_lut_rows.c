/* SPDX-License-Identifier: MIT */
#include "vpp_lut_rows.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Words at any address. */
typedef uint16_t __attribute__((may_alias, aligned(1))) word16_t;

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#endif

static inline __attribute__((always_inline)) void mix_body(uint16_t *restrict to,
                                                           const uint8_t *restrict a,
                                                           const uint8_t *restrict b, size_t n,
                                                           int weight, int bits)
{
    const word16_t *x = (const word16_t *)a, *y = (const word16_t *)b;
    const int up = 16 - bits;

    if (bits == 8) {
        for (size_t i = 0; i < n; i++)
            to[i] = (uint16_t)((a[i] * (4 - weight) + b[i] * weight) << 6);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = (uint16_t)(((x[i] << up) * (4 - weight) + (y[i] << up) * weight) >> 2);
    }
}

static inline __attribute__((always_inline)) void spread_body(uint16_t *restrict to,
                                                              uint16_t *restrict from, size_t n)
{
    from[n] = from[n - 1];
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = from[i];
        to[2 * i + 1] = (uint16_t)((from[i] + from[i + 1] + 1) >> 1);
    }
}

static inline __attribute__((always_inline)) void
thin_body(uint16_t *restrict to, const uint16_t *restrict from, size_t n, size_t width)
{
    to[0] = from[0];
    for (size_t i = 1; i < n; i++) {
        size_t next = 2 * i + 1 < width ? 2 * i + 1 : 2 * i;

        to[i] = (uint16_t)((from[2 * i - 1] + 2 * from[2 * i] + from[next] + 2) >> 2);
    }
}

static inline int between(int a, int b, int part, int shift)
{
    return a + (((b - a) * part) >> shift);
}

static inline int pair(uint32_t word, int part)
{
    return between((int16_t)word, (int16_t)(word >> 16), part, 10);
}

static inline int four(uint64_t word, int py, int pu)
{
    return between(pair((uint32_t)word, py), pair((uint32_t)(word >> 32), py), pu, 11);
}

static void look_one(uint8_t *to, uint16_t y, uint16_t u, uint16_t v, const uint64_t *table,
                     int bits)
{
    const uint64_t *at = table + lut_place(y, u, v);
    const int py = y & 1023, pu = u & 2047, pv = v & 2047, most = (1 << bits) - 1;
    int value = between(four(at[0], py, pu), four(at[LUT_NEXT_V], py, pu), pv, 11);

    value = bits > LUT_ONE ? value * (1 << (bits - LUT_ONE))
                           : (value + (1 << LUT_ONE >> bits >> 1)) >> (LUT_ONE - bits);
    value = value < 0 ? 0 : value > most ? most : value;
    if (bits == 8) {
        *to = (uint8_t)value;
    } else {
        uint16_t word = (uint16_t)value;

        memcpy(to, &word, 2);
    }
}

static void look_any(uint8_t *to, const uint16_t *y, const uint16_t *u, const uint16_t *v, size_t n,
                     const uint64_t *table, int bits)
{
    const size_t step = bits == 8 ? 1 : 2;

    for (size_t i = 0; i < n; i++)
        look_one(to + i * step, y[i], u[i], v[i], table, bits);
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i between8(__m256i a, __m256i b, __m256i part)
{
    return _mm256_add_epi32(
        a, _mm256_srai_epi32(_mm256_mullo_epi32(_mm256_sub_epi32(b, a), part), 11));
}

AVX2 static inline __m256i load8(const uint16_t *from)
{
    return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from));
}

/*
 * Values of eight pixels, between places of Y and of U. Eight loads are several times faster than
 * a gather, on AMD's processors.
 */
AVX2 static inline __m256i fours8(const uint64_t *table, const uint32_t *at, __m256i weights,
                                  __m256i pu)
{
    __m256i a = _mm256_set_epi64x((long long)table[at[5]], (long long)table[at[4]],
                                  (long long)table[at[1]], (long long)table[at[0]]);
    __m256i b = _mm256_set_epi64x((long long)table[at[7]], (long long)table[at[6]],
                                  (long long)table[at[3]], (long long)table[at[2]]);
    __m256 low, high;

    /* 5 more bits than the entries have: 10 of the weights, 5 shifted out. */
    a = _mm256_srai_epi32(_mm256_madd_epi16(a, _mm256_unpacklo_epi32(weights, weights)), 5);
    b = _mm256_srai_epi32(_mm256_madd_epi16(b, _mm256_unpackhi_epi32(weights, weights)), 5);
    low = _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88);
    high = _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xdd);
    return between8(_mm256_castps_si256(low), _mm256_castps_si256(high), pu);
}

AVX2 static void look_avx2(uint8_t *to, const uint16_t *y, const uint16_t *u, const uint16_t *v,
                           size_t n, const uint64_t *table, int bits)
{
    const int down = LUT_ONE + 5 - bits;
    const __m256i half = _mm256_set1_epi32(1 << down >> 1);
    const __m256i most = _mm256_set1_epi32((1 << bits) - 1), zero = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256i sy = load8(y + i), su = load8(u + i), sv = load8(v + i), weights, pu, pv, a;
        uint32_t at[8];

        a = _mm256_or_si256(_mm256_srli_epi32(sy, 10),
                            _mm256_or_si256(_mm256_slli_epi32(_mm256_srli_epi32(su, 11), 6),
                                            _mm256_slli_epi32(_mm256_srli_epi32(sv, 11), 11)));
        _mm256_storeu_si256((__m256i *)at, a);
        weights = _mm256_and_si256(sy, _mm256_set1_epi32(1023));
        weights = _mm256_or_si256(_mm256_slli_epi32(weights, 16),
                                  _mm256_sub_epi32(_mm256_set1_epi32(1024), weights));
        pu = _mm256_and_si256(su, _mm256_set1_epi32(2047));
        pv = _mm256_and_si256(sv, _mm256_set1_epi32(2047));
        a = between8(fours8(table, at, weights, pu), fours8(table + LUT_NEXT_V, at, weights, pu),
                     pv);
        a = _mm256_srai_epi32(_mm256_add_epi32(a, half), down);
        a = _mm256_min_epi32(_mm256_max_epi32(a, zero), most);
        a = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, a), 0x08);
        if (bits == 8)
            _mm_storel_epi64((__m128i *)(to + i),
                             _mm_packus_epi16(_mm256_castsi256_si128(a), _mm_setzero_si128()));
        else
            _mm_storeu_si128((__m128i *)(to + 2 * i), _mm256_castsi256_si128(a));
    }
    look_any(to + i * (bits == 8 ? 1 : 2), y + i, u + i, v + i, n - i, table, bits);
}
#endif

static void mix_any(uint16_t *to, const uint8_t *a, const uint8_t *b, size_t n, int weight,
                    int bits)
{
    mix_body(to, a, b, n, weight, bits);
}

static void spread_any(uint16_t *to, uint16_t *from, size_t n)
{
    spread_body(to, from, n);
}

static void thin_any(uint16_t *to, const uint16_t *from, size_t n, size_t width)
{
    thin_body(to, from, n, width);
}

const struct vpp_lut_rows vpp_lut_rows_any = {mix_any, spread_any, thin_any, look_any};

#if defined(__x86_64__)
AVX2 static void mix_avx2(uint16_t *to, const uint8_t *a, const uint8_t *b, size_t n, int weight,
                          int bits)
{
    mix_body(to, a, b, n, weight, bits);
}

AVX2 static void spread_avx2(uint16_t *to, uint16_t *from, size_t n)
{
    spread_body(to, from, n);
}

AVX2 static void thin_avx2(uint16_t *to, const uint16_t *from, size_t n, size_t width)
{
    thin_body(to, from, n, width);
}

static const struct vpp_lut_rows rows_avx2 = {mix_avx2, spread_avx2, thin_avx2, look_avx2};
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

const struct vpp_lut_rows *vpp_lut_rows(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return &rows_avx2;
#endif
    return &vpp_lut_rows_any;
}
