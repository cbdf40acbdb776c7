/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <va/va.h>

#include "encoder_options.h"

/* What the options of all encoders are made of. */

#define MIN_BITRATE        8000
#define MIN_BITS_A_PICTURE 64

static AVRational frame_rate(const struct encode_rate *rate)
{
    uint32_t num = rate->frame_rate_num, den = rate->frame_rate_den;
    AVRational result = {30, 1};

    if (!num || !den)
        return result;
    if (num / den >= 1000)
        return (AVRational){1000, 1};
    /* libaom takes no less. */
    if (num < den)
        return (AVRational){1, 1};
    av_reduce(&result.num, &result.den, num, den, 100000);
    return result;
}

void encoder_rates_read(const struct encode_request *request, struct encoder_rates *ret_rates)
{
    const struct encode_rate *rate = &request->rate;
    int limit = encode_qp_limit((int)request->tools.profile);
    int64_t target = rate->bits_per_second, low;
    struct encoder_rates rates = {
        .frame_rate = frame_rate(rate),
        .left_out = request->skipped,
        .left_bits = request->skipped_bits,
        .qp = (int)encoder_clamp(request->qp, 0, limit),
        .min_qp = (int)encoder_clamp(rate->min_qp, 0, limit),
        .max_qp = (int)encoder_clamp(rate->max_qp, 0, limit),
        .quality = (uint32_t)encoder_clamp(rate->quality ? rate->quality : 26, 1, 51),
        .level = rate->quality_level <= ENCODE_QUALITY_LEVELS ? rate->quality_level : 0,
    };

    /* An app that tells no bit rate gets what a picture of this size needs. */
    if (!target)
        target = av_rescale((int64_t)request->tools.width * request->tools.height,
                            rates.frame_rate.num, 10 * (int64_t)rates.frame_rate.den);
    low = MIN_BITS_A_PICTURE * (int64_t)rates.frame_rate.num / rates.frame_rate.den;
    target = encoder_clamp(target, low > MIN_BITRATE ? low : MIN_BITRATE, ENCODER_MAX_BITRATE);
    rates.target = target;
    rates.peak =
        rate->mode == VA_RC_CBR ? target : encoder_clamp(rate->peak, target, ENCODER_MAX_BITRATE);
    /* Less than two pictures is no buffer, more than a minute no control. */
    low = 2 * rates.peak * rates.frame_rate.den / rates.frame_rate.num;
    rates.vbv = (int)encoder_clamp(
        rate->vbv_bits ? rate->vbv_bits : rates.peak, encoder_clamp(low, 1000, INT_MAX),
        encoder_clamp(60 * rates.peak, encoder_clamp(low, 1000, INT_MAX), INT_MAX));
    rates.initial = (int)encoder_clamp(rate->vbv_initial, 0, rates.vbv);
    if (!rates.max_qp && rates.min_qp)
        rates.max_qp = limit;
    if (rates.max_qp < rates.min_qp)
        rates.max_qp = rates.min_qp;
    *ret_rates = rates;
}

void encoder_options_put(struct encoder_setup *setup, const char *key, const char *format, ...)
{
    char value[1024];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(value) || av_dict_set(&setup->options, key, value, 0) < 0)
        setup->failed = true;
}

void encoder_options_add(struct encoder_setup *setup, const char *key, const char *format, ...)
{
    const AVDictionaryEntry *have = av_dict_get(setup->options, key, NULL, 0);
    char value[256];
    va_list args;

    va_start(args, format);
    if ((size_t)vsnprintf(value, sizeof(value), format, args) >= sizeof(value))
        setup->failed = true;
    va_end(args);
    if (have)
        encoder_options_put(setup, key, "%s:%s", have->value, value);
    else
        encoder_options_put(setup, key, "%s", value);
}

uint32_t encoder_options_mode(const struct encoder_setup *setup)
{
    return setup->request->rate.mode;
}

void encoder_options_rate(struct encoder_setup *setup)
{
    const struct encoder_rates *rates = setup->rates;
    AVCodecContext *context = setup->context;

    context->bit_rate = rates->target;
    context->rc_max_rate = rates->peak;
    context->rc_buffer_size = rates->vbv;
    if (rates->initial)
        context->rc_initial_buffer_occupancy = rates->initial;
}

void encoder_options_limits(struct encoder_setup *setup)
{
    if (!setup->rates->max_qp)
        return;
    setup->context->qmin = setup->rates->min_qp;
    setup->context->qmax = setup->rates->max_qp;
}
