/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODER_RATE_H
#define HOST_ENCODER_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "encoder_list.h"

/*
 * Rate control for encoders whose own does not follow a bit rate that changes while they run, but
 * whose quantiser does: bits and quantiser of the last pictures say what the next one will take.
 * Zeroed: nothing was encoded. QPs are H.264's: six double the bits.
 */
struct encoder_rate {
    double cost;       /* bits that a P picture (H.264, HEVC: any) takes at QP 0, smoothed */
    double weight;     /* H.264, HEVC: pictures that it is made of */
    double mean;       /* the same over some seconds */
    double intra;      /* bits that the last intra picture took at QP 0 */
    double debt;       /* bits above the target so far */
    double qp;         /* of the last picture */
    uint32_t pictures; /* P, that `cost` is made of */
};

/* QP of the next picture. */
double encoder_rate_qp(struct encoder_rate *rate, const struct encoder_rates *rates,
                       enum vd_codec codec, uint64_t pixels, bool key, bool cbr);
/* What it took. */
void encoder_rate_done(struct encoder_rate *rate, const struct encoder_rates *rates,
                       enum vd_codec codec, uint64_t bits, bool key, bool cbr);

#endif
