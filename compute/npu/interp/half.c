/* SPDX-License-Identifier: MIT */
#include "internal.h"

/* IEEE 754 binary16 and its 8-bit-exponent cousin; to the nearest, ties to even. */

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

float onnx_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31;
    uint32_t mantissa = half & 0x3ff;

    if (exponent == 31)
        return float_of(sign | 0x7f800000 | mantissa << 13);
    if (exponent)
        return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
    return float_of(sign | 0x3f800000) * (float)mantissa * 0x1p-24f;
}

uint16_t onnx_float_to_half(float value)
{
    uint32_t bits, sign;

    memcpy(&bits, &value, sizeof(bits));
    sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (bits >= 0x47800000) /* 65536 */
        return (uint16_t)(sign | 0x7c00);
    if (bits < 0x38800000) /* 2^-14: adding 0.5 rounds where the half's last bit is */
        value = float_of(bits) + 0.5f, memcpy(&bits, &value, sizeof(bits)), bits -= 0x3f000000;
    else
        bits = (bits + 0xfff + (bits >> 13 & 1) - 0x38000000) >> 13;
    return (uint16_t)(sign | bits);
}

float onnx_bfloat_to_float(uint16_t value)
{
    return float_of((uint32_t)value << 16);
}

uint16_t onnx_float_to_bfloat(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
