/* SPDX-License-Identifier: MIT */
#include "convert_rows.h"

/* Samples are put together in words: a pair of bytes is a word with the first in its low bits. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "byte order");

/* Words at any address, which may be other types' memory. */
typedef uint16_t __attribute__((may_alias, aligned(1))) word16_t;
typedef uint32_t __attribute__((may_alias, aligned(1))) word32_t;
typedef uint64_t __attribute__((may_alias, aligned(1))) word64_t;

#define IN_ROW const uint8_t *restrict

#define LOOP static inline __attribute__((always_inline)) void

/* gcc leaves loops alone at lower levels. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#endif

LOOP loop_shift16(uint8_t *restrict to, IN_ROW from, size_t n, int up)
{
    const word16_t *f = (const word16_t *)from;
    word16_t *t = (word16_t *)to;

    for (size_t i = 0; i < n; i++)
        t[i] = (uint16_t)(f[i] << up);
}

LOOP loop_pair8(uint8_t *restrict to, IN_ROW a, IN_ROW b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = a[i];
        to[2 * i + 1] = b[i];
    }
}

LOOP loop_pair16(uint8_t *restrict to, IN_ROW a, IN_ROW b, size_t n, int up)
{
    const word16_t *x = (const word16_t *)a, *y = (const word16_t *)b;
    word16_t *t = (word16_t *)to;

    for (size_t i = 0; i < n; i++) {
        t[2 * i] = (uint16_t)(x[i] << up);
        t[2 * i + 1] = (uint16_t)(y[i] << up);
    }
}

LOOP loop_quad8(uint8_t *restrict to, IN_ROW y, IN_ROW u, IN_ROW v, size_t n, int luma_at)
{
    const word16_t *luma = (const word16_t *)y;
    const int u_at = 8 - luma_at, v_at = 24 - luma_at;
    word32_t *t = (word32_t *)to;

    for (size_t i = 0; i < n; i++) {
        uint32_t two = luma[i];

        two = (two & 0xff) | (two & 0xff00) << 8;
        t[i] = two << luma_at | (uint32_t)u[i] << u_at | (uint32_t)v[i] << v_at;
    }
}

LOOP loop_quad16(uint8_t *restrict to, IN_ROW y, IN_ROW u, IN_ROW v, size_t n, int up)
{
    const word16_t *cb = (const word16_t *)u, *cr = (const word16_t *)v;
    const word32_t *luma = (const word32_t *)y;
    word64_t *t = (word64_t *)to;

    for (size_t i = 0; i < n; i++) {
        uint64_t two = luma[i];

        two = (two & 0xffff) | (two & 0xffff0000) << 16;
        t[i] = (two | (uint64_t)cb[i] << 16 | (uint64_t)cr[i] << 48) << up;
    }
}

LOOP loop_word8(uint8_t *restrict to, IN_ROW a, IN_ROW b, IN_ROW c, size_t n, const int at[3],
                uint32_t ones)
{
    const int at_a = at[0], at_b = at[1], at_c = at[2];
    word32_t *t = (word32_t *)to;

    for (size_t i = 0; i < n; i++)
        t[i] = ones | (uint32_t)a[i] << at_a | (uint32_t)b[i] << at_b | (uint32_t)c[i] << at_c;
}

LOOP loop_word16(uint8_t *restrict to, IN_ROW a, IN_ROW b, IN_ROW c, size_t n, const int at[3],
                 uint32_t ones)
{
    const word16_t *x = (const word16_t *)a, *y = (const word16_t *)b, *z = (const word16_t *)c;
    const int at_a = at[0], at_b = at[1], at_c = at[2];
    word32_t *t = (word32_t *)to;

    for (size_t i = 0; i < n; i++)
        t[i] = ones | (uint32_t)x[i] << at_a | (uint32_t)y[i] << at_b | (uint32_t)z[i] << at_c;
}

LOOP loop_long16(uint8_t *restrict to, IN_ROW a, IN_ROW b, IN_ROW c, size_t n, const int at[3],
                 uint64_t ones)
{
    const word16_t *x = (const word16_t *)a, *y = (const word16_t *)b, *z = (const word16_t *)c;
    const int at_a = at[0], at_b = at[1], at_c = at[2];
    word64_t *t = (word64_t *)to;

    for (size_t i = 0; i < n; i++)
        t[i] = ones | (uint64_t)x[i] << at_a | (uint64_t)y[i] << at_b | (uint64_t)z[i] << at_c;
}

LOOP loop_mean_rows(uint8_t *restrict to, IN_ROW a, IN_ROW b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)((a[i] + b[i] + 1) >> 1);
}

LOOP loop_mean_neighbours(uint8_t *restrict to, IN_ROW from, size_t n)
{
    const word16_t *f = (const word16_t *)from;

    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(((f[i] & 0xff) + (f[i] >> 8) + 1) >> 1);
}

/* All loops, for one kind of processor. */
#define ROWS(kind, attribute)                                                                      \
    attribute static void shift16_##kind(uint8_t *to, const uint8_t *from, size_t n, int up)       \
    {                                                                                              \
        loop_shift16(to, from, n, up);                                                             \
    }                                                                                              \
    attribute static void pair8_##kind(uint8_t *to, const uint8_t *a, const uint8_t *b, size_t n)  \
    {                                                                                              \
        loop_pair8(to, a, b, n);                                                                   \
    }                                                                                              \
    attribute static void pair16_##kind(uint8_t *to, const uint8_t *a, const uint8_t *b, size_t n, \
                                        int up)                                                    \
    {                                                                                              \
        loop_pair16(to, a, b, n, up);                                                              \
    }                                                                                              \
    attribute static void quad8_##kind(uint8_t *to, const uint8_t *y, const uint8_t *u,            \
                                       const uint8_t *v, size_t n, int luma_at)                    \
    {                                                                                              \
        if (luma_at)                                                                               \
            loop_quad8(to, y, u, v, n, 8);                                                         \
        else                                                                                       \
            loop_quad8(to, y, u, v, n, 0);                                                         \
    }                                                                                              \
    attribute static void quad16_##kind(uint8_t *to, const uint8_t *y, const uint8_t *u,           \
                                        const uint8_t *v, size_t n, int up)                        \
    {                                                                                              \
        loop_quad16(to, y, u, v, n, up);                                                           \
    }                                                                                              \
    attribute static void word8_##kind(uint8_t *to, const uint8_t *a, const uint8_t *b,            \
                                       const uint8_t *c, size_t n, const int at[3], uint32_t ones) \
    {                                                                                              \
        loop_word8(to, a, b, c, n, at, ones);                                                      \
    }                                                                                              \
    attribute static void word16_##kind(uint8_t *to, const uint8_t *a, const uint8_t *b,           \
                                        const uint8_t *c, size_t n, const int at[3],               \
                                        uint32_t ones)                                             \
    {                                                                                              \
        loop_word16(to, a, b, c, n, at, ones);                                                     \
    }                                                                                              \
    attribute static void long16_##kind(uint8_t *to, const uint8_t *a, const uint8_t *b,           \
                                        const uint8_t *c, size_t n, const int at[3],               \
                                        uint64_t ones)                                             \
    {                                                                                              \
        loop_long16(to, a, b, c, n, at, ones);                                                     \
    }                                                                                              \
    attribute static void mean_rows_##kind(uint8_t *to, const uint8_t *a, const uint8_t *b,        \
                                           size_t n)                                               \
    {                                                                                              \
        loop_mean_rows(to, a, b, n);                                                               \
    }                                                                                              \
    attribute static void mean_neighbours_##kind(uint8_t *to, const uint8_t *from, size_t n)       \
    {                                                                                              \
        loop_mean_neighbours(to, from, n);                                                         \
    }

#define TABLE(kind)                                                                      \
    {                                                                                    \
        .shift16 = shift16_##kind, .pair8 = pair8_##kind, .pair16 = pair16_##kind,       \
        .quad8 = quad8_##kind, .quad16 = quad16_##kind, .word8 = word8_##kind,           \
        .word16 = word16_##kind, .long16 = long16_##kind, .mean_rows = mean_rows_##kind, \
        .mean_neighbours = mean_neighbours_##kind,                                       \
    }

ROWS(any, )
const struct convert_rows convert_rows_any = TABLE(any);
#if defined(__x86_64__)
ROWS(avx2, __attribute__((target("avx2"))))
static const struct convert_rows convert_rows_avx2 = TABLE(avx2);
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

const struct convert_rows *convert_rows(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return &convert_rows_avx2;
#endif
    return &convert_rows_any;
}
