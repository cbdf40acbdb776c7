/* SPDX-License-Identifier: MIT */
#include "encoder_rate.h"

#include <math.h>

/* Bits a pixel of an intra picture at QP 0, of pictures of no particular kind. */
#define INTRA_COST 18.0
/* What a P picture takes of that, before one was seen. */
#define INTER_SHARE 0.2
/* How much of the cost the last picture is, and where a new scene begins. */
#define SHARE_OF_LAST  0.2
#define SHARE_OF_SCENE 0.6
#define SCENE_COST     1.5
/* QP steps from one picture to the next: quality comes slowly, bits are saved at once. */
#define MAX_STEP_DOWN 4.0
#define MAX_STEP_UP   16.0
/* Better than this nobody sees, and the next scene would begin with it. */
#define LEAST_QP 5.0
/* Seconds in which a debt is paid back. */
#define CBR_SECONDS 1.5
#define VBR_SECONDS 2.0
/* Exponent of complexity, seconds of bits by which it may run up debts and savings. */
#define COMPLEXITY    0.5
#define MOST_DEBT_CBR 0.8
#define MOST_DEBT_VBR 0.8
#define MOST_SAVED    0.4
/* Seconds that complexity is compared with. */
#define MEAN_SECONDS 10.0
/* Shares of a picture that a later intra picture may take, and QP steps that this may cost. */
#define KEY_SHARE_CBR 4.0
#define KEY_SHARE_VBR 6.0
#define MAX_KEY_STEP  12.0

/*
 * Encoders that look at a picture before they choose its quantiser (CRF of libx264 and libx265,
 * qcomp 0.6) share bits out themselves, and are told the level alone. It follows the mean cost of
 * all pictures of a window, as their own control of an average bit rate has it.
 */
#define WINDOW_VBR 30.0
/* CBR: shares of the buffer. */
#define WINDOW_CBR 4.0
/* Seconds of debt that double the quantiser, and of savings that halve it. */
#define LEVEL_SECONDS 1.5
/* Seconds of pictures that the first guess counts for. */
#define GUESS_SECONDS 0.5

static double limit(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

/* A picture's share of a second, and those of pictures that the app left out before it. */
static double picture_bits(const struct encoder_rates *rates)
{
    return (double)rates->target * rates->frame_rate.den / rates->frame_rate.num *
           (1.0 + rates->left_out);
}

/*
 * How much more or less than its share a picture gets that costs more or less than others did:
 * bits make the more difference the more moves. Only as far as the debt allows: at either end of
 * it all pictures get the same.
 */
static double complexity(const struct encoder_rate *rate, const struct encoder_rates *rates,
                         bool cbr)
{
    double ratio = rate->mean > 0 ? rate->cost / rate->mean : 1;
    double most = (cbr ? MOST_DEBT_CBR : MOST_DEBT_VBR) * (double)rates->target;
    double least = -MOST_SAVED * (double)rates->target;
    double room = ratio > 1 ? 1 - rate->debt / most : 1 - rate->debt / least;

    return pow(ratio, COMPLEXITY * limit(room, 0, 1));
}

static bool foresees(enum vd_codec codec)
{
    return codec == VD_CODEC_H264 || codec == VD_CODEC_HEVC;
}

static double level(const struct encoder_rate *rate, const struct encoder_rates *rates)
{
    double owed = rate->debt / (LEVEL_SECONDS * (double)rates->target);

    return 6 * log2(rate->cost / picture_bits(rates) * limit(1 + owed, 0.5, 2));
}

static void level_done(struct encoder_rate *rate, const struct encoder_rates *rates, double cost,
                       bool cbr)
{
    double bits = picture_bits(rates);
    double window = cbr ? WINDOW_CBR * rates->vbv / bits
                        : WINDOW_VBR * rates->frame_rate.num / rates->frame_rate.den;

    if (!rate->weight) {
        rate->weight = GUESS_SECONDS * rates->frame_rate.num / rates->frame_rate.den;
        rate->cost = cost * INTER_SHARE;
    }
    rate->weight = rate->weight * (1 - 1 / (window > 1 ? window : 1)) + 1;
    rate->cost += (cost - rate->cost) / rate->weight;
}

double encoder_rate_qp(struct encoder_rate *rate, const struct encoder_rates *rates,
                       enum vd_codec codec, uint64_t pixels, bool key, bool cbr)
{
    double window = (cbr ? CBR_SECONDS : VBR_SECONDS) * (double)rates->target;
    double bits = picture_bits(rates), qp, least, most;

    encoder_chosen_range(codec, rates, &least, &most);
    if (least < LEAST_QP)
        least = LEAST_QP;
    if (!rate->pictures && !rate->qp) {
        /* An intra picture: several times what the others get, and no more than half a buffer. */
        bits = limit(8 * bits, bits, rates->vbv / 2.0);
        qp = 6 * log2((double)pixels * INTRA_COST / bits);
    } else if (foresees(codec)) {
        qp = level(rate, rates);
    } else {
        double scaled = bits * limit(1 - rate->debt / window, 0.25, 2) *
                        limit(complexity(rate, rates, cbr), 0.25, 4);

        qp = 6 * log2(rate->cost / scaled);
        qp = limit(qp, rate->qp - MAX_STEP_DOWN, rate->qp + MAX_STEP_UP);
        /* What follows would pay for an intra picture that is too good. */
        if (key && rate->intra > 0) {
            double share = (cbr ? KEY_SHARE_CBR : KEY_SHARE_VBR) * bits;
            double coarsest = 6 * log2(rate->intra / share);

            if (qp < coarsest)
                qp = limit(coarsest, qp, qp + MAX_KEY_STEP);
        }
    }
    rate->qp = limit(qp, least, most < least ? least : most);
    return rate->qp;
}

void encoder_rate_done(struct encoder_rate *rate, const struct encoder_rates *rates,
                       enum vd_codec codec, uint64_t bits, bool key, bool cbr)
{
    double used = rate->qp, cost,
           saved = cbr ? rates->vbv / 2.0 : VBR_SECONDS * (double)rates->target;

    /* What was saved long ago may not be spent at once. */
    rate->debt = limit(rate->debt + (double)(bits + rates->left_bits) - picture_bits(rates), -saved,
                       5 * (double)rates->target);
    cost = (double)(bits ? bits : 1) * exp2(used / 6);
    if (foresees(codec)) {
        level_done(rate, rates, cost, cbr);
        return;
    }
    if (key)
        rate->intra = cost;
    if (key && !rate->pictures) {
        rate->cost = cost * INTER_SHARE;
    } else if (!key) {
        double share = 1.0 / ++rate->pictures;
        bool scene = cost > SCENE_COST * rate->cost || SCENE_COST * cost < rate->cost;
        double least = scene ? SHARE_OF_SCENE : SHARE_OF_LAST;

        rate->cost += (cost - rate->cost) * (share > least ? share : least);
        least = rates->frame_rate.den / (MEAN_SECONDS * rates->frame_rate.num);
        rate->mean += (cost - rate->mean) * (share > least ? share : least);
    }
}
