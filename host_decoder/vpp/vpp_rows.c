/* SPDX-License-Identifier: MIT */
#include "vpp_rows.h"

#include "vpp_loop.h"

/* Words at any address, which may be other types' memory. */
typedef uint16_t __attribute__((may_alias, aligned(1))) word16_t;
typedef uint32_t __attribute__((may_alias, aligned(1))) word32_t;

#define IN_ROW  const uint8_t *restrict
#define OUT_ROW uint8_t *restrict

/* gcc leaves loops alone at lower levels. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#endif

static inline int clip(int value, int most)
{
    return value < 0 ? 0 : value > most ? most : value;
}

LOOP(split8, (OUT_ROW a, OUT_ROW b, IN_ROW from, size_t n), (a, b, from, n))
{
    const word16_t *f = (const word16_t *)from;

    for (size_t i = 0; i < n; i++) {
        a[i] = (uint8_t)f[i];
        b[i] = (uint8_t)(f[i] >> 8);
    }
}

LOOP(split16, (OUT_ROW a, OUT_ROW b, IN_ROW from, size_t n, int down), (a, b, from, n, down))
{
    const word32_t *f = (const word32_t *)from;
    word16_t *x = (word16_t *)a, *y = (word16_t *)b;

    for (size_t i = 0; i < n; i++) {
        x[i] = (uint16_t)((f[i] & 0xffff) >> down);
        y[i] = (uint16_t)(f[i] >> (16 + down));
    }
}

LOOP(down16, (OUT_ROW to, IN_ROW from, size_t n, int down), (to, from, n, down))
{
    const word16_t *f = (const word16_t *)from;
    word16_t *t = (word16_t *)to;

    for (size_t i = 0; i < n; i++)
        t[i] = (uint16_t)(f[i] >> down);
}

LOOP(mask16, (OUT_ROW to, IN_ROW from, size_t n, int mask), (to, from, n, mask))
{
    const word16_t *f = (const word16_t *)from;
    word16_t *t = (word16_t *)to;

    for (size_t i = 0; i < n; i++)
        t[i] = (uint16_t)(f[i] & mask);
}

LOOP(narrow, (OUT_ROW to, IN_ROW from, size_t n, int bits), (to, from, n, bits))
{
    const word16_t *f = (const word16_t *)from;
    const int low = 16 - bits, half = 1 << (bits - 9), down = bits - 8;

    for (size_t i = 0; i < n; i++) {
        int value = ((f[i] >> low) + half) >> down;

        to[i] = (uint8_t)(value > 255 ? 255 : value);
    }
}

LOOP(widen, (OUT_ROW to, IN_ROW from, size_t n, int mask), (to, from, n, mask))
{
    word16_t *t = (word16_t *)to;

    for (size_t i = 0; i < n; i++)
        t[i] = (uint16_t)((from[i] << 8 | from[i]) & mask);
}

LOOP(mean8, (OUT_ROW to, IN_ROW a, IN_ROW b, size_t n), (to, a, b, n))
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)((a[i] + b[i] + 1) >> 1);
}

LOOP(mean16, (OUT_ROW to, IN_ROW a, IN_ROW b, size_t n), (to, a, b, n))
{
    const word16_t *x = (const word16_t *)a, *y = (const word16_t *)b;
    word16_t *t = (word16_t *)to;

    for (size_t i = 0; i < n; i++)
        t[i] = (uint16_t)((x[i] + y[i] + 1) >> 1);
}

LOOP(unpack8, (OUT_ROW y, OUT_ROW u, OUT_ROW v, IN_ROW from, size_t n), (y, u, v, from, n))
{
    const word32_t *f = (const word32_t *)from;

    for (size_t i = 0; i < n; i++) {
        y[i] = (uint8_t)(f[i] >> 16);
        u[i] = (uint8_t)(f[i] >> 8);
        v[i] = (uint8_t)f[i];
    }
}

LOOP(unpack10, (OUT_ROW y, OUT_ROW u, OUT_ROW v, IN_ROW from, size_t n), (y, u, v, from, n))
{
    const word32_t *f = (const word32_t *)from;
    word16_t *a = (word16_t *)y, *b = (word16_t *)u, *c = (word16_t *)v;

    for (size_t i = 0; i < n; i++) {
        a[i] = f[i] >> 10 & 1023;
        b[i] = f[i] & 1023;
        c[i] = f[i] >> 20 & 1023;
    }
}

LOOP(unpack21x, (OUT_ROW y, OUT_ROW u, OUT_ROW v, IN_ROW from, size_t n, int down),
     (y, u, v, from, n, down))
{
    const word16_t *f = (const word16_t *)from;
    word16_t *a = (word16_t *)y, *b = (word16_t *)u, *c = (word16_t *)v;

    for (size_t i = 0; i < n; i++) {
        a[2 * i] = (uint16_t)(f[4 * i] >> down);
        b[i] = (uint16_t)(f[4 * i + 1] >> down);
        a[2 * i + 1] = (uint16_t)(f[4 * i + 2] >> down);
        c[i] = (uint16_t)(f[4 * i + 3] >> down);
    }
}

LOOP(unpack41x, (OUT_ROW y, OUT_ROW u, OUT_ROW v, IN_ROW from, size_t n), (y, u, v, from, n))
{
    const word16_t *f = (const word16_t *)from;
    word16_t *a = (word16_t *)y, *b = (word16_t *)u, *c = (word16_t *)v;

    for (size_t i = 0; i < n; i++) {
        a[i] = f[4 * i + 1];
        b[i] = f[4 * i];
        c[i] = f[4 * i + 2];
    }
}

LOOP(look8, (OUT_ROW to, IN_ROW from, size_t n, const uint16_t *table), (to, from, n, table))
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)table[from[i]];
}

LOOP(look16, (OUT_ROW to, IN_ROW from, size_t n, const uint16_t *table, int mask),
     (to, from, n, table, mask))
{
    const word16_t *f = (const word16_t *)from;
    word16_t *t = (word16_t *)to;

    for (size_t i = 0; i < n; i++)
        t[i] = table[f[i] & mask];
}

LOOP(turn8, (OUT_ROW u_to, OUT_ROW v_to, IN_ROW u, IN_ROW v, size_t n, const int32_t matrix[4]),
     (u_to, v_to, u, v, n, matrix))
{
    const int32_t a = matrix[0], b = matrix[1], c = matrix[2], d = matrix[3];

    for (size_t i = 0; i < n; i++) {
        int32_t x = u[i] - 128, y = v[i] - 128;

        u_to[i] = (uint8_t)clip(((a * x + b * y + (1 << 13)) >> 14) + 128, 255);
        v_to[i] = (uint8_t)clip(((c * x + d * y + (1 << 13)) >> 14) + 128, 255);
    }
}

LOOP(turn16,
     (OUT_ROW u_to, OUT_ROW v_to, IN_ROW u, IN_ROW v, size_t n, const int32_t matrix[4], int bits),
     (u_to, v_to, u, v, n, matrix, bits))
{
    const int64_t a = matrix[0], b = matrix[1], c = matrix[2], d = matrix[3];
    const word16_t *f = (const word16_t *)u, *g = (const word16_t *)v;
    const int middle = 1 << (bits - 1), most = (1 << bits) - 1;
    word16_t *s = (word16_t *)u_to, *t = (word16_t *)v_to;

    for (size_t i = 0; i < n; i++) {
        int64_t x = f[i] - middle, y = g[i] - middle;

        s[i] = (uint16_t)clip((int)((a * x + b * y + (1 << 13)) >> 14) + middle, most);
        t[i] = (uint16_t)clip((int)((c * x + d * y + (1 << 13)) >> 14) + middle, most);
    }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

#define TABLE(kind)                                                                                \
    {                                                                                              \
        .split8 = split8_##kind, .split16 = split16_##kind, .down16 = down16_##kind,               \
        .mask16 = mask16_##kind, .narrow = narrow_##kind, .widen = widen_##kind,                   \
        .mean8 = mean8_##kind, .mean16 = mean16_##kind, .unpack8 = unpack8_##kind,                 \
        .unpack10 = unpack10_##kind, .unpack21x = unpack21x_##kind, .unpack41x = unpack41x_##kind, \
        .look8 = look8_##kind, .look16 = look16_##kind, .turn8 = turn8_##kind,                     \
        .turn16 = turn16_##kind,                                                                   \
    }

const struct vpp_rows vpp_rows_any = TABLE(any);
#if defined(__x86_64__)
static const struct vpp_rows rows_avx2 = TABLE(avx2);
#endif

const struct vpp_rows *vpp_rows(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return &rows_avx2;
#endif
    return &vpp_rows_any;
}
