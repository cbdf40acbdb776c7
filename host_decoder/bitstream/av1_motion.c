/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "av1_parts.h"

#define WARPEDMODEL_PREC_BITS 16

/* get_relative_dist() of 5.9.3 */
static int relative_dist(const struct av1_writing *h, int a, int b)
{
    int m = 1 << h->param->order_hint_bits_minus_1;
    int diff = a - b;

    return (diff & (m - 1)) - (diff & m);
}

bool av1_motion_skip(const struct av1_writing *h)
{
    int forward = -1, backward = -1;

    if (h->intra || !h->param->mode_control_fields.bits.reference_select || !h->order_hints)
        return false;
    for (int i = 0; i < AV1_REFS; i++) {
        int hint = h->frame->slots[h->frame->ref_frame_idx[i]].order_hint;
        int dist = relative_dist(h, hint, h->param->order_hint);

        if (dist < 0 && (forward < 0 || relative_dist(h, hint, forward) > 0))
            forward = hint;
        else if (dist > 0 && (backward < 0 || relative_dist(h, hint, backward) < 0))
            backward = hint;
    }
    if (forward < 0 || backward >= 0)
        return forward >= 0;
    for (int i = 0; i < AV1_REFS; i++) {
        int hint = h->frame->slots[h->frame->ref_frame_idx[i]].order_hint;

        if (relative_dist(h, hint, forward) < 0)
            return true;
    }
    return false;
}

/* What decode_subexp() of 5.9.26 reads back as `value`, which is below num_syms. */
static void write_subexp(struct bits_writer *writer, uint32_t num_syms, uint32_t value)
{
    uint32_t mk = 0;

    for (unsigned i = 0;; i++) {
        unsigned b2 = i ? 3 + i - 1 : 3;
        uint32_t a = UINT32_C(1) << b2;

        if (num_syms <= mk + 3 * a) {
            av1_parts_non_symmetric(writer, num_syms - mk, value - mk);
            return;
        }
        bits_write(writer, 1, value >= mk + a);
        if (value < mk + a) {
            bits_write(writer, b2, value - mk);
            return;
        }
        mk += a;
    }
}

/* inverse_recenter() of 5.9.29 the other way round */
static uint32_t recenter(uint32_t r, uint32_t value)
{
    if (value > 2 * r)
        return value;
    return value >= r ? 2 * (value - r) : 2 * (r - value) - 1;
}

/* read_global_param() of 5.9.25 the other way round */
static int write_global_param(struct av1_writing *h, unsigned type, int idx, int32_t value,
                              int32_t prev)
{
    unsigned abs_bits = 12, prec_bits = 15;
    int32_t round = 0, sub = 0, mx, coded, r;
    uint32_t span;
    unsigned prec_diff;

    if (idx < 2) {
        abs_bits = 12;
        prec_bits = 6;
        if (type == VAAV1TransformationTranslation) {
            unsigned less = !h->param->pic_info_fields.bits.allow_high_precision_mv;

            abs_bits = 9 - less;
            prec_bits = 3 - less;
        }
    }
    prec_diff = WARPEDMODEL_PREC_BITS - prec_bits;
    if (idx % 3 == 2) {
        round = 1 << WARPEDMODEL_PREC_BITS;
        sub = 1 << prec_bits;
    }
    mx = 1 << abs_bits;
    /* Kept values came through here or are defaults, so they are in range, too. */
    r = (prev >> prec_diff) - sub;
    if (r < -mx)
        r = -mx;
    if (r > mx)
        r = mx;
    if (value < INT32_MIN / 2 || value > INT32_MAX / 2)
        return VD_ERR_PARAMETER;
    coded = (value - round) >> prec_diff;
    if (coded < -mx || coded > mx || (value - round) & ((1 << prec_diff) - 1))
        return VD_ERR_PARAMETER;
    span = 2u * (uint32_t)mx + 1;
    r += mx;
    coded += mx;
    if (2 * (uint32_t)r <= span)
        write_subexp(h->writer, span, recenter((uint32_t)r, (uint32_t)coded));
    else
        write_subexp(h->writer, span, recenter(span - 1 - (uint32_t)r, span - 1 - (uint32_t)coded));
    return 0;
}

static void default_gm_params(int32_t params[6])
{
    for (int i = 0; i < 6; i++)
        params[i] = i % 3 == 2 ? 1 << WARPEDMODEL_PREC_BITS : 0;
}

int av1_motion_write(struct av1_writing *h)
{
    unsigned primary = av1_header_primary(h->param);
    int err = 0;

    for (int i = 0; i < AV1_REFS; i++)
        default_gm_params(h->frame->reference.gm_params[i]);
    if (h->intra)
        return 0;
    for (int i = 0; i < AV1_REFS && !err; i++) {
        const VAWarpedMotionParamsAV1 *wm = &h->param->wm[i];
        int32_t *to = h->frame->reference.gm_params[i];
        unsigned type = wm->wmtype;
        int32_t prev[6];

        if (type > VAAV1TransformationAffine)
            return VD_ERR_PARAMETER;
        default_gm_params(prev);
        if (primary != AV1_PRIMARY_REF_NONE)
            memcpy(prev, h->frame->slots[h->frame->ref_frame_idx[primary]].gm_params[i],
                   sizeof(prev));
        bits_write(h->writer, 1, type != VAAV1TransformationIdentity);
        if (type == VAAV1TransformationIdentity)
            continue;
        bits_write(h->writer, 1, type == VAAV1TransformationRotzoom);
        if (type != VAAV1TransformationRotzoom)
            bits_write(h->writer, 1, type == VAAV1TransformationTranslation);
        memcpy(to, wm->wmmat, 6 * sizeof(*to));
        if (type >= VAAV1TransformationRotzoom) {
            err = write_global_param(h, type, 2, to[2], prev[2]);
            if (!err)
                err = write_global_param(h, type, 3, to[3], prev[3]);
            if (!err && type == VAAV1TransformationAffine) {
                err = write_global_param(h, type, 4, to[4], prev[4]);
                if (!err)
                    err = write_global_param(h, type, 5, to[5], prev[5]);
            } else if (!err) {
                to[4] = -to[3];
                to[5] = to[2];
            }
        } else {
            to[2] = to[5] = 1 << WARPEDMODEL_PREC_BITS;
            to[3] = to[4] = 0;
        }
        if (!err)
            err = write_global_param(h, type, 0, to[0], prev[0]);
        if (!err)
            err = write_global_param(h, type, 1, to[1], prev[1]);
    }
    return err;
}
