/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODER_OPTIONS_H
#define HOST_ENCODER_OPTIONS_H

#include "encoder_list.h"

/*
 * From requests to the options of each encoder: encoder_options_*.c. What all have in common: no
 * delay, no B pictures, one reference, no key picture that nobody asked for. Quality levels from 1
 * (best) to ENCODE_QUALITY_LEVELS are presets; level 0, of apps that say nothing, is one of the
 * middle that is fast enough for 1080p.
 */

#define ENCODER_MAX_BITRATE 1000000000
/* Pictures between intra pictures that nobody asked for. */
#define ENCODER_NO_PERIOD (1 << 24)

static inline int64_t encoder_clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

void encoder_options_put(struct encoder_setup *setup, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds to an option that is a list, "a=1:b=2". */
void encoder_options_add(struct encoder_setup *setup, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* VA_RC_*. */
uint32_t encoder_options_mode(const struct encoder_setup *setup);
/* Bit rate, peak and buffer, as all encoders of libavcodec are told. */
void encoder_options_rate(struct encoder_setup *setup);
/* The app's limits of QP, of encoders with H.264's scale. */
void encoder_options_limits(struct encoder_setup *setup);

#endif
