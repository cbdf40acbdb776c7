/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_LOOP_H
#define HOST_VPP_LOOP_H

/*
 * A loop over a row, once for any processor and once for those with AVX2: "LOOP(name, parameters,
 * names)" is followed by its body, and makes name_any and name_avx2.
 */
#if defined(__x86_64__)
#define LOOP(name, parameters, names)                                         \
    static inline __attribute__((always_inline)) void name##_body parameters; \
    static void name##_any parameters                                         \
    {                                                                         \
        name##_body names;                                                    \
    }                                                                         \
    __attribute__((target("avx2"))) static void name##_avx2 parameters        \
    {                                                                         \
        name##_body names;                                                    \
    }                                                                         \
    static inline void name##_body parameters
#else
#define LOOP(name, parameters, names)                                         \
    static inline __attribute__((always_inline)) void name##_body parameters; \
    static void name##_any parameters                                         \
    {                                                                         \
        name##_body names;                                                    \
    }                                                                         \
    static inline void name##_body parameters
#endif

#endif
