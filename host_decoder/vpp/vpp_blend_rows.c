/* SPDX-License-Identifier: MIT */
#include "vpp_blend_rows.h"

#include "vpp_loop.h"

/* Words at any address, which may be other types' memory. */
typedef uint16_t __attribute__((may_alias, aligned(1))) word16_t;

#define INLINE static inline __attribute__((always_inline))

/* gcc leaves loops alone at lower levels. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3")
#endif

INLINE float get(const uint8_t *at, bool wide)
{
    return wide ? (float)*(const word16_t *)at : (float)*at;
}

/* With all but the rows known to the compiler. */
INLINE void add_some(float *restrict alphas, float *restrict values,
                     const struct blend_source *source, size_t n, int step, bool wide, bool weigh,
                     int pixels)
{
    const uint8_t *restrict alpha = source->alpha;
    const uint8_t *restrict value = source->value;
    const float most = source->most, black = (float)source->black;

    for (size_t i = 0; i < n; i++) {
        float a = 0, v = 0;

        for (int k = 0; k < pixels; k++) {
            float one = get(alpha + (i * (size_t)pixels + (size_t)k) * (size_t)step, wide);
            float it = get(value + (i * (size_t)pixels + (size_t)k) * (size_t)step, wide);

            a += one;
            v += weigh ? one * it : most * (it - black);
        }
        alphas[i] += a;
        values[i] += v;
    }
}

LOOP(add, (float *alphas, float *values, const struct blend_source *s, size_t n),
     (alphas, values, s, n))
{
    if (s->wide && s->weigh && s->pixels == 1)
        add_some(alphas, values, s, n, 2, true, true, 1);
    else if (s->wide)
        add_some(alphas, values, s, n, 2, true, s->weigh, s->pixels);
    else if (s->step == 4 && s->weigh)
        add_some(alphas, values, s, n, 4, false, true, 1);
    else if (s->step == 4)
        add_some(alphas, values, s, n, 4, false, false, 1);
    else if (s->weigh && s->pixels == 1)
        add_some(alphas, values, s, n, 1, false, true, 1);
    else if (s->weigh)
        add_some(alphas, values, s, n, 1, false, true, 2);
    else
        add_some(alphas, values, s, n, 1, false, false, s->pixels);
}

/* A little more than a half: floats round exact halves down now and then. */
#define HALF 0.50003f

INLINE void apply_some(const struct blend_target *target, const float *restrict alphas,
                       const float *restrict values, size_t n, int step, bool wide)
{
    const float scale = target->scale, black = (float)target->black;
    const int most = (1 << target->bits) - 1, shift = target->shift;
    uint8_t *restrict to = target->first;

    for (size_t i = 0; i < n; i++) {
        uint8_t *at = to + i * (size_t)step;
        int old = wide ? *(word16_t *)at >> shift : *at, new;

        new = (int)((float)old + (values[i] - alphas[i] * ((float)old - black)) * scale + HALF);
        new = new < 0 ? 0 : new > most ? most : new;
        if (wide)
            *(word16_t *)at = (uint16_t)(new << shift);
        else
            *at = (uint8_t) new;
    }
}

LOOP(apply, (const struct blend_target *target, const float *alphas, const float *values, size_t n),
     (target, alphas, values, n))
{
    if (target->wide)
        apply_some(target, alphas, values, n, target->step, true);
    else if (target->step == 1)
        apply_some(target, alphas, values, n, 1, false);
    else if (target->step == 2)
        apply_some(target, alphas, values, n, 2, false);
    else
        apply_some(target, alphas, values, n, 4, false);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

const struct vpp_blend_rows vpp_blend_rows_any = {add_any, apply_any};
#if defined(__x86_64__)
static const struct vpp_blend_rows rows_avx2 = {add_avx2, apply_avx2};
#endif

const struct vpp_blend_rows *vpp_blend_rows(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return &rows_avx2;
#endif
    return &vpp_blend_rows_any;
}
