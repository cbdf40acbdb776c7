/* SPDX-License-Identifier: MIT */
#include "hevc_counts.h"

#include <string.h>

#include <viaduct/errors.h>

/* 8.3.1, in the encoder's stream. */
static int32_t derive_poc(const struct hevc_rewrite *state, const struct hevc_head *head)
{
    int32_t range = INT32_C(1) << state->sps.log2_poc_lsb;
    int32_t previous = state->encoder_poc & (range - 1), lsb = (int32_t)head->poc_lsb;
    int64_t msb = (int64_t)state->encoder_poc - previous;

    if (hevc_head_is_idr(head->nal))
        return 0;
    if (hevc_head_is_irap(head->nal) && head->nal != HEVC_NAL_CRA)
        msb = 0;
    else if (lsb < previous && previous - lsb >= range / 2)
        msb += range;
    else if (lsb > previous && lsb - previous > range / 2)
        msb -= range;
    return (int32_t)(msb + lsb);
}

/*
 * The app's count, as far as its steps are ones that decoders can follow. There are no B pictures,
 * so it only grows.
 */
static int32_t next_poc(const struct hevc_picture *p)
{
    const struct hevc_rewrite *state = p->state;
    int64_t step = (int64_t)p->app->poc - state->app_poc;
    int64_t most = (INT64_C(1) << (p->sps->log2_poc_lsb - 1)) - 1;

    if (step < 1 || step > most)
        step = 1;
    return (int32_t)(((int64_t)state->poc + step) & INT32_MAX);
}

/* Whether the first picture that is used is the one before. */
static bool refers_to_last(const struct hevc_picture *p)
{
    const struct hevc_set *set = &p->first.set;
    unsigned i = 0;

    while (i < set->before && !set->used[i])
        i++;
    return i < set->before && p->state->ref_count > 0 &&
           (int64_t)p->encoder_poc + set->delta[i] == p->state->ref[0].encoder_poc;
}

/*
 * Vectors are scaled by counts: temporal ones, and those to different pictures. They come out the
 * same if both streams count alike, or if each picture refers to the one before, always so many
 * counts away: then nothing is scaled.
 */
static int check_vectors(struct hevc_picture *p)
{
    struct hevc_rewrite *state = p->state;
    int64_t encoder_step, step;

    if ((int64_t)p->poc - p->encoder_poc != state->shift)
        state->counts_alike = false;
    if (p->refs > 1 || (p->refs == 1 && !refers_to_last(p)))
        state->steady = false;
    if (state->ref_count > 0) {
        encoder_step = (int64_t)p->encoder_poc - state->ref[0].encoder_poc;
        step = (int64_t)p->poc - state->ref[0].poc;
        if (state->step == 0) {
            state->encoder_step = encoder_step;
            state->step = step;
        }
        if (encoder_step != state->encoder_step || step != state->step)
            state->steady = false;
    }
    if (p->temporal_mvp && (!p->sps->temporal_mvp || (!state->counts_alike && !state->steady)))
        return VD_ERR_DECODE;
    return p->refs > 1 && !state->counts_alike ? VD_ERR_DECODE : 0;
}

int hevc_counts_name(struct hevc_picture *p)
{
    struct hevc_rewrite *state = p->state;

    p->nal = p->app->nal;
    if (hevc_head_is_irap(p->nal) && !p->intra)
        return VD_ERR_DECODE;
    p->encoder_poc = derive_poc(state, &p->first);
    p->poc = hevc_head_is_idr(p->nal) ? 0 : next_poc(p);
    /* Neither the encoder nor the app can mean anything from before. */
    if (hevc_head_is_irap(p->nal) || hevc_head_is_idr(p->first.nal)) {
        state->ref_count = 0;
        state->shift = (int64_t)p->poc - p->encoder_poc;
        state->counts_alike = state->steady = true;
        state->step = state->encoder_step = 0;
    }
    return check_vectors(p);
}

static const struct hevc_rewrite_ref *find_ref(const struct hevc_rewrite *state, int64_t poc)
{
    for (unsigned i = 0; i < state->ref_count; i++) {
        if (state->ref[i].encoder_poc == poc)
            return &state->ref[i];
    }
    return NULL;
}

/*
 * The encoder's set in the new counts: what it refers to, and as much of what it may refer to later
 * as the app's SPS lets decoders keep.
 */
int hevc_counts_set(struct hevc_picture *p)
{
    struct hevc_rewrite *state = p->state;
    const struct hevc_set *from = &p->first.set;
    unsigned used = 0, spare = p->sps->dpb > p->refs ? p->sps->dpb - p->refs : 0;
    struct hevc_rewrite_ref kept[HEVC_REWRITE_REFS];
    int32_t last = 0;

    for (unsigned i = 0; i < from->before; i++) {
        const struct hevc_rewrite_ref *ref =
            find_ref(state, (int64_t)p->encoder_poc + from->delta[i]);
        bool needed = from->used[i] && used < p->refs;
        int64_t delta = ref ? (int64_t)ref->poc - p->poc : 0;

        if (needed)
            used++;
        else if (spare == 0 || !ref)
            continue;
        else
            spare--;
        if (!ref || delta >= last || last - delta > INT32_C(1) << 15)
            return VD_ERR_DECODE;
        last = (int32_t)delta;
        p->set.delta[p->set.before] = last;
        p->set.used[p->set.before] = needed;
        kept[p->set.before++] = *ref;
    }
    /* More than the SPS lets decoders keep is as illegal as what they do not have. */
    if (used < p->refs || p->refs > p->sps->dpb)
        return VD_ERR_DECODE;
    memcpy(state->ref, kept, p->set.before * sizeof(kept[0]));
    state->ref_count = p->set.before;
    return 0;
}

void hevc_counts_done(struct hevc_picture *p)
{
    struct hevc_rewrite *state = p->state;
    bool sub_layer_non_reference = p->first.nal < HEVC_NAL_BLA_W_LP && p->first.nal % 2 == 0;

    if (!sub_layer_non_reference)
        state->encoder_poc = p->encoder_poc;
    state->poc = p->poc;
    state->app_poc = p->app->poc;
    if (state->ref_count == HEVC_REWRITE_REFS)
        state->ref_count--;
    memmove(&state->ref[1], &state->ref[0], state->ref_count * sizeof(state->ref[0]));
    state->ref[0] = (struct hevc_rewrite_ref){.encoder_poc = p->encoder_poc, .poc = p->poc};
    state->ref_count++;
}
