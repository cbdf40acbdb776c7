/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_ALU_MATH_H
#define VIADUCT_PTX_ALU_MATH_H

#include <float.h>
#include <math.h>
#include <string.h>

#ifdef __F16C__
#include <immintrin.h>
#endif

#include "internal.h"

/* What one lane computes where an expression is not enough; part of alu.c. Not all is used by all.
 */

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 s128;

#define FUNCTION static inline __attribute__((always_inline, unused))

FUNCTION uint32_t float_bits(float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

FUNCTION float bits_float(uint32_t bits)
{
    float v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

FUNCTION uint64_t double_bits(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

FUNCTION double bits_double(uint64_t bits)
{
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

/* The one NaN of f32 results. */
FUNCTION float canonical(float v)
{
    return v == v ? v : bits_float(0x7fffffff);
}

FUNCTION float flush(float v)
{
    uint32_t bits = float_bits(v);

    return bits_float((bits & 0x7f800000) ? bits : bits & 0x80000000u);
}

FUNCTION double flush_f64(double v)
{
    uint64_t bits = double_bits(v);

    return bits_double(bits & 0x7ffull << 52 ? bits : bits & 1ull << 63);
}

/*
 * 2^v and the binary logarithm, in double and rounded once: without a branch, which makes vectors
 * of them. 2^v is 2^n * e^(f ln 2) with |f| <= 1/2, by Taylor's series, whose rest is below 2^-36.
 */
FUNCTION float exp2_lane(float v)
{
    /* Beyond, all is infinite or zero. */
    double x = v > 160 ? 160 : v < -160 ? -160 : (double)v, r, whole;
    uint64_t n;

    whole = x + 0x1.8p52; /* the integer is in its low bits */
    n = double_bits(whole) << 52;
    r = (x - (whole - 0x1.8p52)) * 0x1.62e42fefa39efp-1;
    x = 1.0 / 362880;
    x = x * r + 1.0 / 40320;
    x = x * r + 1.0 / 5040;
    x = x * r + 1.0 / 720;
    x = x * r + 1.0 / 120;
    x = x * r + 1.0 / 24;
    x = x * r + 1.0 / 6;
    x = x * r + 0.5;
    x = x * r + 1;
    x = x * r + 1;
    return v == v ? (float)bits_double(double_bits(x) + n) : v;
}

/* v is 2^n * m with m between the roots of 1/2 and 2: n + 2 / ln 2 * artanh((m - 1) / (m + 1)). */
FUNCTION float log2_lane(float v)
{
    uint64_t bits = double_bits((double)v), up;
    double n, m, s, q;

    up = (bits & 0xfffffffffffffull) > 0x6a09e667f3bcdull;
    m = bits_double((bits & 0xfffffffffffffull) | (0x3ffull - up) << 52);
    /* The exponent as a number, by the same trick. */
    n = bits_double(0x4330000000000000ull | ((bits >> 52) + up)) - (0x1p52 + 1023);
    s = (m - 1) / (m + 1);
    q = s * s;
    m = 1.0 / 15;
    m = m * q + 1.0 / 13;
    m = m * q + 1.0 / 11;
    m = m * q + 1.0 / 9;
    m = m * q + 1.0 / 7;
    m = m * q + 1.0 / 5;
    m = m * q + 1.0 / 3;
    m = m * q + 1;
    n += m * s * 0x1.71547652b82fep+1;
    return v > 0 ? (v < INFINITY ? (float)n : v) : v == 0 ? -INFINITY : NAN;
}

/* rcp.approx.ftz.f64 and rsqrt give the upper half only. */
FUNCTION double coarse(double v)
{
    return bits_double(double_bits(flush_f64(v)) & 0xffffffff00000000ull);
}

FUNCTION float minimum(float a, float b)
{
    float least = a < b ? a : b < a ? b : bits_float(float_bits(a) | float_bits(b));

    return a != a ? b : b != b ? a : least;
}

FUNCTION float maximum(float a, float b)
{
    float most = a > b ? a : b > a ? b : bits_float(float_bits(a) & float_bits(b));

    return a != a ? b : b != b ? a : most;
}

FUNCTION double minimum_f64(double a, double b)
{
    double least = a < b ? a : b < a ? b : bits_double(double_bits(a) | double_bits(b));

    return a != a ? b : b != b ? a : least;
}

FUNCTION double maximum_f64(double a, double b)
{
    double most = a > b ? a : b > a ? b : bits_double(double_bits(a) & double_bits(b));

    return a != a ? b : b != b ? a : most;
}

FUNCTION double nearest(double v)
{
    return __builtin_rint(v);
}

/* Conversions to integers saturate; NaN is 0. */
#define TO_SMALL(D, low, high)                         \
    FUNCTION D##_v to_##D(double v)                    \
    {                                                  \
        double limited = v > (low) ? v : (low);        \
                                                       \
        limited = limited < (high) ? limited : (high); \
        return (D##_v)(int64_t)(v == v ? limited : 0); \
    }

typedef uint8_t u8_v;
typedef int8_t s8_v;
typedef uint16_t u16_v;
typedef int16_t s16_v;
typedef uint32_t u32_v;
typedef int32_t s32_v;
typedef uint64_t u64_v;
typedef int64_t s64_v;

TO_SMALL(u8, 0.0, 255.0)
TO_SMALL(s8, -128.0, 127.0)
TO_SMALL(u16, 0.0, 65535.0)
TO_SMALL(s16, -32768.0, 32767.0)
TO_SMALL(u32, 0.0, 4294967295.0)

FUNCTION int32_t to_s32(double v)
{
    double limited = v > -2147483648.0 ? v : -2147483648.0;

    limited = limited < 2147483647.0 ? limited : 2147483647.0;
    return (int32_t)(v == v ? limited : 0);
}

FUNCTION uint64_t to_u64(double v)
{
    if (!(v > 0))
        return 0;
    return v < 18446744073709551616.0 ? (uint64_t)v : UINT64_MAX;
}

FUNCTION int64_t to_s64(double v)
{
    if (v != v)
        return 0;
    if (v >= 9223372036854775808.0)
        return INT64_MAX;
    return v > -9223372036854775808.0 ? (int64_t)v : INT64_MIN;
}

FUNCTION int32_t clamp_s32(int64_t v)
{
    return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int32_t)v;
}

FUNCTION uint64_t high_u64(uint64_t a, uint64_t b)
{
    return (uint64_t)((u128)a * b >> 64);
}

FUNCTION int64_t high_s64(int64_t a, int64_t b)
{
    return (int64_t)((s128)a * b >> 64);
}

FUNCTION int32_t sign24(int32_t v)
{
    return (int32_t)((uint32_t)v << 8) >> 8;
}

FUNCTION uint16_t lo16(uint32_t v)
{
    return (uint16_t)v;
}

FUNCTION uint16_t hi16(uint32_t v)
{
    return (uint16_t)(v >> 16);
}

FUNCTION uint32_t pair(int lo, int hi)
{
    return (uint32_t)hi << 16 | ((uint32_t)lo & 0xffff);
}

FUNCTION uint32_t popcount32(uint32_t v)
{
    v = v - (v >> 1 & 0x55555555);
    v = (v & 0x33333333) + (v >> 2 & 0x33333333);
    return ((v + (v >> 4)) & 0x0f0f0f0f) * 0x01010101u >> 24;
}

FUNCTION uint32_t reverse32(uint32_t v)
{
    v = (v >> 1 & 0x55555555) | (v & 0x55555555) << 1;
    v = (v >> 2 & 0x33333333) | (v & 0x33333333) << 2;
    v = (v >> 4 & 0x0f0f0f0f) | (v & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(v);
}

FUNCTION uint32_t find_bit(uint64_t v)
{
    return v ? 63u - (uint32_t)__builtin_clzll(v) : 0xffffffffu;
}

FUNCTION uint32_t find_shift(uint32_t found, uint32_t most)
{
    return found == 0xffffffffu ? found : most - found;
}

FUNCTION uint32_t funnel_left(uint32_t a, uint32_t b, uint32_t n)
{
    return (uint32_t)(((uint64_t)b << 32 | a) << n >> 32);
}

FUNCTION uint32_t funnel_right(uint32_t a, uint32_t b, uint32_t n)
{
    return (uint32_t)(((uint64_t)b << 32 | a) >> n);
}

FUNCTION uint64_t field(uint64_t a, unsigned bits, uint32_t b, uint32_t c, bool is_signed)
{
    uint32_t pos = b & 255, len = c & 255, top;
    uint64_t value;

    if (!len)
        return 0;
    top = pos + len - 1 < bits - 1 ? pos + len - 1 : bits - 1;
    value = pos < bits ? a >> pos : 0;
    if (pos < bits && top - pos < 63)
        value &= ((uint64_t)2 << (top - pos)) - 1;
    if (is_signed && a >> top & 1) {
        uint32_t have = pos < bits ? top - pos + 1 : 0;

        value |= have < 64 ? UINT64_MAX << have : 0;
    }
    return value;
}

FUNCTION uint64_t insert(uint64_t a, uint64_t b, unsigned bits, uint32_t c, uint32_t q)
{
    uint32_t pos = c & 255, len = q & 255;
    uint64_t mask;

    if (!len || pos >= bits)
        return b;
    if (len > bits - pos)
        len = bits - pos;
    mask = (len < 64 ? ((uint64_t)1 << len) - 1 : UINT64_MAX) << pos;
    return (b & ~mask) | (a << pos & mask);
}

FUNCTION uint32_t bit_mask(uint32_t a, uint32_t b, bool wrap)
{
    uint64_t ones;

    if (wrap) {
        a &= 31;
        b &= 31;
    }
    if (a > 31)
        return 0;
    ones = b > 31 ? 0xffffffffu : (1u << b) - 1;
    return (uint32_t)(ones << a);
}

FUNCTION int32_t extend(int32_t a, uint32_t bits)
{
    if (!bits)
        return 0;
    return bits > 31 ? a : (int32_t)((uint32_t)a << (32 - bits)) >> (32 - bits);
}

FUNCTION uint32_t find_nth(uint32_t mask, uint32_t base, int32_t offset)
{
    int64_t at = base, step = offset < 0 ? -1 : 1;
    uint32_t count;

    if (!offset)
        return base < 32 && mask >> base & 1 ? base : 0xffffffffu;
    count = (offset < 0 ? 0u - (uint32_t)offset : (uint32_t)offset) - 1;
    for (; at >= 0 && at < 32; at += step)
        if (mask >> at & 1 && !count--)
            return (uint32_t)at;
    return 0xffffffffu;
}

FUNCTION uint32_t select_bytes(uint32_t a, uint32_t b, uint32_t selector)
{
    uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t value = 0;

    for (unsigned i = 0; i < 4; i++)
        value |= ((uint32_t)(bytes >> (selector >> (4 * i) & 7) * 8) & 255) << 8 * i;
    return value;
}

FUNCTION uint32_t permute(uint32_t a, uint32_t b, uint32_t selector)
{
    uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t value = 0;

    for (unsigned i = 0; i < 4; i++) {
        uint32_t nibble = selector >> (4 * i);
        uint32_t byte = (uint32_t)(bytes >> (nibble & 7) * 8) & 255;

        value |= (nibble & 8 ? (byte >> 7) * 255u : byte) << 8 * i;
    }
    return value;
}

FUNCTION uint32_t permute_b4e(uint32_t a, uint32_t b, uint32_t s)
{
    return select_bytes(a, b, s == 0 ? 0x5670 : s == 1 ? 0x6701 : s == 2 ? 0x7012 : 0x0123);
}

FUNCTION uint32_t permute_ecl(uint32_t a, uint32_t b, uint32_t s)
{
    return select_bytes(a, b, s == 0 ? 0x3210 : s == 1 ? 0x3211 : s == 2 ? 0x3222 : 0x3333);
}

FUNCTION uint32_t permute_ecr(uint32_t a, uint32_t b, uint32_t s)
{
    return select_bytes(a, b, s == 0 ? 0x0000 : s == 1 ? 0x1110 : s == 2 ? 0x2210 : 0x3210);
}

FUNCTION uint32_t logic3(uint32_t a, uint32_t b, uint32_t c, uint32_t table)
{
    uint32_t value = 0;

    value |= (0u - (table & 1)) & ~a & ~b & ~c;
    value |= (0u - (table >> 1 & 1)) & ~a & ~b & c;
    value |= (0u - (table >> 2 & 1)) & ~a & b & ~c;
    value |= (0u - (table >> 3 & 1)) & ~a & b & c;
    value |= (0u - (table >> 4 & 1)) & a & ~b & ~c;
    value |= (0u - (table >> 5 & 1)) & a & ~b & c;
    value |= (0u - (table >> 6 & 1)) & a & b & ~c;
    value |= (0u - (table >> 7 & 1)) & a & b & c;
    return value;
}

FUNCTION uint32_t dot4(uint32_t a, uint32_t b, uint32_t c, int sa, int sb)
{
    for (unsigned i = 0; i < 32; i += 8) {
        int32_t x = sa ? (int8_t)(a >> i) : (uint8_t)(a >> i);
        int32_t y = sb ? (int8_t)(b >> i) : (uint8_t)(b >> i);

        c += (uint32_t)(x * y);
    }
    return c;
}

FUNCTION uint32_t dot2(uint32_t a, uint32_t b, uint32_t c, int sa, int sb)
{
    for (unsigned i = 0; i < 2; i++) {
        int32_t x = sa ? (int16_t)(a >> 16 * i) : (uint16_t)(a >> 16 * i);
        int32_t y = sb ? (int8_t)(b >> 8 * i) : (uint8_t)(b >> 8 * i);

        c += (uint32_t)x * (uint32_t)y;
    }
    return c;
}

FUNCTION uint32_t absdiff4(uint32_t a, uint32_t b)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < 32; i += 8) {
        uint32_t x = a >> i & 255, y = b >> i & 255;

        value |= (x > y ? x - y : y - x) << i;
    }
    return value;
}

FUNCTION uint32_t absdiff4_add(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t value = absdiff4(a, b);

    return c + (value & 255) + (value >> 8 & 255) + (value >> 16 & 255) + (value >> 24);
}

FUNCTION float half_float(uint16_t h)
{
#ifdef __F16C__
    return _cvtsh_ss(h);
#else
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    float scaled;

    if (rest >= 0x7c00)
        return bits_float(sign | 0x7f800000 | (rest & 0x3ff) << 13);
    /* 2^112 moves the exponent, also of subnormals. */
    scaled = bits_float(rest << 13) * 0x1p112f;
    return bits_float(float_bits(scaled) | sign);
#endif
}

FUNCTION float brain_float(uint16_t v)
{
    return bits_float((uint32_t)v << 16);
}

/* Rounds to `digits` bits and no exponent under `least`, the one rounding there is. */
static inline double round_digits(double v, int digits, int least, uint32_t flags)
{
    int exponent;
    double quantum, steps;

    if (v == 0 || v != v || fabs(v) == (double)INFINITY)
        return v;
    frexp(v, &exponent);
    exponent -= digits;
    quantum = ldexp(1, exponent < least ? least : exponent);
    steps = v / quantum;
    steps = flags & F_RZ   ? __builtin_trunc(steps)
            : flags & F_RM ? __builtin_floor(steps)
            : flags & F_RP ? __builtin_ceil(steps)
                           : nearest(steps);
    return copysign(steps * quantum, v);
}

/* What does not fit: infinity, or the largest number if the rounding is towards zero. */
FUNCTION double limit_range(double rounded, double most, uint32_t flags)
{
    bool inward = flags & F_RZ || (flags & F_RM && rounded > 0) || (flags & F_RP && rounded < 0);

    if (fabs(rounded) <= most || rounded != rounded || fabs(rounded) == (double)INFINITY)
        return rounded;
    return copysign(inward ? most : (double)INFINITY, rounded);
}

static inline uint16_t half_from(uint32_t flags, double v)
{
    double r;
    uint32_t bits;

    if (flags & F_SAT)
        v = v > 0 ? (v < 1 ? v : 1) : 0;
    if (v != v)
        return 0x7fff;
    r = limit_range(round_digits(v, 11, -24, flags), 65504, flags);
    bits = float_bits((float)r);
    if ((bits & 0x7fffffff) >= 0x7f800000)
        return (uint16_t)(bits >> 16 & 0x8000) | 0x7c00;
    if (fabs(r) < 0x1p-14)
        return (uint16_t)((bits >> 16 & 0x8000) | (uint32_t)(fabs(r) * 0x1p24));
    return (uint16_t)((bits >> 16 & 0x8000) | ((bits & 0x7fffffff) - (112u << 23)) >> 13);
}

static inline uint16_t brain_from_f64(uint32_t flags, double v)
{
    double r;

    if (flags & F_SAT)
        v = v > 0 ? (v < 1 ? v : 1) : 0;
    if (v != v)
        return 0x7fff;
    r = limit_range(round_digits(v, 8, -133, flags), 0x1.fep127, flags);
    return (uint16_t)(float_bits((float)r) >> 16);
}

FUNCTION uint16_t brain_from(uint32_t flags, float v)
{
    return brain_from_f64(flags, (double)v);
}

FUNCTION uint16_t brain_result(float v)
{
    uint32_t bits = float_bits(v);

    if (v != v)
        return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

FUNCTION uint16_t half_plain(float v)
{
#ifdef __F16C__
    return v != v ? 0x7fff : (uint16_t)_cvtss_sh(v, 0);
#else
    return half_from(0, (double)v);
#endif
}

FUNCTION float half_in(const struct insn *in, uint16_t h)
{
    if (in->flags & F_FTZ && !(h & 0x7c00))
        h &= 0x8000;
    return half_float(h);
}

FUNCTION uint16_t half_result(const struct insn *in, float v)
{
    uint16_t h;

    if (in->flags & F_SAT)
        v = v > 0 ? (v < 1 ? v : 1) : 0;
    h = half_plain(v);
    if (in->flags & F_FTZ && !(h & 0x7c00))
        h &= 0x8000;
    return h;
}

FUNCTION float half_binary_add(float a, float b)
{
    return a + b;
}

FUNCTION float half_binary_sub(float a, float b)
{
    return a - b;
}

FUNCTION float half_binary_mul(float a, float b)
{
    return a * b;
}

FUNCTION float half_binary_min(float a, float b)
{
    return minimum(a, b);
}

FUNCTION float half_binary_max(float a, float b)
{
    return maximum(a, b);
}

FUNCTION float half_nan_min(float a, float b)
{
    return a != a || b != b ? NAN : minimum(a, b);
}

FUNCTION float half_nan_max(float a, float b)
{
    return a != a || b != b ? NAN : maximum(a, b);
}

/* a * b + c, a * b being exact: rounded to odd, so that rounding once more is as one rounding. */
static inline double sum_odd(double p, double c)
{
    double s = p + c, back = s - p, error = (p - (s - back)) + (c - back);
    uint64_t bits = double_bits(s);

    if (error == 0 || error != error || bits & 1)
        return s;
    return bits_double((error > 0) == (s > 0) ? bits + 1 : bits - 1);
}

static inline uint16_t half_fma(const struct insn *in, uint16_t a, uint16_t b, uint16_t c)
{
    double v = sum_odd((double)half_in(in, a) * (double)half_in(in, b), (double)half_in(in, c));
    uint16_t h = half_from(in->flags, v);

    if (in->flags & F_FTZ && !(h & 0x7c00))
        h &= 0x8000;
    return h;
}

static inline uint16_t brain_fma(uint16_t a, uint16_t b, uint16_t c)
{
    return brain_from_f64(
        0, sum_odd((double)brain_float(a) * (double)brain_float(b), (double)brain_float(c)));
}

FUNCTION uint16_t half_relu(uint16_t h)
{
    return h & 0x8000 && (h & 0x7fff) <= 0x7f80 ? 0 : h;
}

/* Floats of 8 bits. e4m3 has no infinity, and one number that is none of each sign. */
FUNCTION float e4m3_float(uint8_t v)
{
    uint32_t exponent = v >> 3 & 15, rest = v & 7;
    float magnitude =
        exponent ? bits_float((exponent + 120) << 23 | rest << 20) : (float)rest * 0x1p-9f;

    if ((v & 0x7f) == 0x7f)
        return bits_float(0x7fffffff);
    return v & 0x80 ? -magnitude : magnitude;
}

FUNCTION float e5m2_float(uint8_t v)
{
    return half_float((uint16_t)(v << 8));
}

/* .satfinite: what does not fit becomes the largest number. */
static inline uint8_t e4m3_from(double v)
{
    double r = round_digits(v, 4, -9, 0), magnitude = fabs(r);
    uint8_t sign = double_bits(v) >> 56 & 0x80;
    uint32_t bits;

    if (v != v)
        return 0x7f;
    if (magnitude > 448)
        magnitude = 448;
    if (magnitude < 0x1p-6)
        return (uint8_t)(sign | (uint32_t)(magnitude * 0x1p9));
    bits = float_bits((float)magnitude) - (120u << 23);
    return (uint8_t)(sign | bits >> 20);
}

static inline uint8_t e5m2_from(double v)
{
    double r = round_digits(v, 3, -16, 0), magnitude = fabs(r);
    uint8_t sign = double_bits(v) >> 56 & 0x80;
    uint32_t bits;

    if (v != v)
        return 0x7f;
    if (magnitude > 57344)
        magnitude = 57344;
    if (magnitude < 0x1p-14)
        return (uint8_t)(sign | (uint32_t)(magnitude * 0x1p16));
    bits = float_bits((float)magnitude) - (112u << 23);
    return (uint8_t)(sign | bits >> 21);
}

FUNCTION uint8_t relu8(uint8_t v)
{
    return v & 0x80 ? 0 : v;
}

/* Two integers of `bits` above and below each other, and what was there before above them. */
FUNCTION uint32_t pack_bits(int32_t a, int32_t b, uint32_t c, unsigned bits, bool is_signed)
{
    int32_t most = (1 << (is_signed ? bits - 1 : bits)) - 1, least = is_signed ? -most - 1 : 0;
    uint32_t mask = (1u << bits) - 1;
    uint32_t high = (uint32_t)(a > most ? most : a < least ? least : a) & mask;
    uint32_t low = (uint32_t)(b > most ? most : b < least ? least : b) & mask;

    return low | high << bits | (bits < 16 ? c << 2 * bits : 0);
}

FUNCTION uint32_t tf32_from(uint32_t bits)
{
    if ((bits & 0x7f800000) == 0x7f800000)
        return bits & 0x7fffff ? 0x7fffffff : bits;
    return (bits + 0x1000) & ~0x1fffu;
}

#endif
