/* SPDX-License-Identifier: MIT */
#include "hevc_rps.h"

#include <stdlib.h>
#include <string.h>

#include <viaduct/errors.h>

#include "hevc_ps.h"

#define MAX_LSB   (INT64_C(1) << HEVC_POC_LSB_BITS)
#define MAX_DELTA INT64_C(32768) /* delta_poc_s0_minus1 + 1, 7.4.8 */
#define CURR_FLAGS                                                            \
    (VA_PICTURE_HEVC_RPS_ST_CURR_BEFORE | VA_PICTURE_HEVC_RPS_ST_CURR_AFTER | \
     VA_PICTURE_HEVC_RPS_LT_CURR)
#define LONG_TERM_FLAGS (VA_PICTURE_HEVC_LONG_TERM_REFERENCE | VA_PICTURE_HEVC_RPS_LT_CURR)

static bool is_irap(enum hevc_nal nal)
{
    return nal >= HEVC_NAL_BLA_W_LP && nal <= HEVC_NAL_CRA;
}

static bool is_idr(enum hevc_nal nal)
{
    return nal == HEVC_NAL_IDR_W_RADL || nal == HEVC_NAL_IDR_N_LP;
}

static bool is_bla(enum hevc_nal nal)
{
    return nal >= HEVC_NAL_BLA_W_LP && nal <= HEVC_NAL_BLA_N_LP;
}

static int32_t wrap(int64_t poc)
{
    return (int32_t)(uint32_t)(uint64_t)poc;
}

static int64_t lsb_of(int64_t poc)
{
    return poc & (MAX_LSB - 1);
}

/* 8.3.1 */
static int32_t derive_poc(const struct hevc_dpb *dpb, int64_t written)
{
    int64_t lsb = lsb_of(written), prev_lsb = lsb_of(dpb->prev_tid0_poc);
    int64_t msb = dpb->prev_tid0_poc - prev_lsb;

    if (lsb < prev_lsb && prev_lsb - lsb >= MAX_LSB / 2)
        msb += MAX_LSB;
    else if (lsb > prev_lsb && lsb - prev_lsb > MAX_LSB / 2)
        msb -= MAX_LSB;
    return wrap(msb + lsb);
}

static bool is_reference(const VAPictureHEVC *frame)
{
    /* Apps that clear unused places leave flags 0 and no surface. */
    return !(frame->flags & VA_PICTURE_HEVC_INVALID) &&
           (frame->picture_id != VA_INVALID_SURFACE || frame->flags & CURR_FLAGS);
}

/* What the decoder has of this reference: NULL if nothing. */
static const struct hevc_dpb_entry *find(const struct hevc_dpb *dpb, const VAPictureHEVC *frame)
{
    for (unsigned i = 0; i < dpb->count; i++) {
        const struct hevc_dpb_entry *entry = &dpb->entry[i];

        /* A surface that is gone by now does not change what was decoded. */
        if (entry->app_poc == frame->pic_order_cnt &&
            (entry->surface == frame->picture_id || frame->picture_id == VA_INVALID_SURFACE))
            return entry;
    }
    return NULL;
}

static bool has_poc(const struct hevc_dpb *dpb, int32_t poc)
{
    for (unsigned i = 0; i < dpb->count; i++) {
        if (dpb->entry[i].poc == poc)
            return true;
    }
    return false;
}

static bool starts_sequence(const struct hevc_dpb *dpb, const VAPictureParameterBufferHEVC *picture,
                            enum hevc_nal nal, int32_t poc)
{
    /* The decoder refuses a picture with a count that it has already. */
    if (is_idr(nal) || is_bla(nal) || has_poc(dpb, poc))
        return true;
    for (unsigned i = 0; i < HEVC_REFS; i++) {
        const VAPictureHEVC *frame = &picture->ReferenceFrames[i];
        const struct hevc_dpb_entry *entry = is_reference(frame) ? find(dpb, frame) : NULL;

        if (entry && !entry->missing)
            return false;
    }
    return dpb->count > 0;
}

/* Where a reference belongs in the order of hevc_rps.ref: which part of it, and how far away. */
static int part_of(const struct hevc_rps *rps, const struct hevc_ref *ref)
{
    if (ref->long_term)
        return 2;
    return ref->poc > rps->poc;
}

static bool comes_before(const struct hevc_rps *rps, const struct hevc_ref *a,
                         const struct hevc_ref *b)
{
    int part = part_of(rps, a), other = part_of(rps, b);

    if (part != other)
        return part < other;
    /* Used long-term references first, so that their order is a matter among themselves. */
    if (part == 2)
        return a->used && !b->used;
    return part == 0 ? a->poc > b->poc : a->poc < b->poc;
}

/* Adds `ref` at its place. The same picture twice is one reference, a used one if one is. */
static void insert(struct hevc_rps *rps, unsigned *count, const struct hevc_ref *ref)
{
    unsigned at = 0;

    for (unsigned i = 0; i < *count; i++) {
        if (rps->ref[i].poc != ref->poc)
            continue;
        if (rps->ref[i].used || !ref->used)
            return;
        for (--*count; i < *count; i++)
            rps->ref[i] = rps->ref[i + 1];
    }
    while (at < *count && !comes_before(rps, ref, &rps->ref[at]))
        at++;
    for (unsigned i = (*count)++; i > at; i--)
        rps->ref[i] = rps->ref[i - 1];
    rps->ref[at] = *ref;
}

/* Whether another picture that the decoder has ends in the same bits. */
static bool is_ambiguous(const struct hevc_dpb *dpb, const struct hevc_rps *rps, int32_t poc)
{
    if (poc != rps->poc && lsb_of(poc) == lsb_of(rps->poc))
        return true;
    for (unsigned i = 0; i < dpb->count && !rps->new_sequence; i++) {
        if (dpb->entry[i].poc != poc && lsb_of(dpb->entry[i].poc) == lsb_of(poc))
            return true;
    }
    return false;
}

int hevc_rps_derive(const struct hevc_dpb *dpb, const VAPictureParameterBufferHEVC *picture,
                    enum hevc_nal nal, struct hevc_rps *ret_rps)
{
    int32_t app_poc = picture->CurrPic.pic_order_cnt;
    struct hevc_rps rps = {
        .poc = derive_poc(dpb, (int64_t)app_poc - dpb->base),
        .base = dpb->base,
    };
    unsigned count = 0;

    rps.new_sequence = starts_sequence(dpb, picture, nal, rps.poc);
    if (rps.new_sequence || dpb->count == 0) {
        /* Whatever the app counts from, the decoder stays close to what it had: 0 after these. */
        rps.poc = is_idr(nal) || is_bla(nal) ? 0 : dpb->prev_tid0_poc;
        rps.base = wrap((int64_t)app_poc - rps.poc);
    }
    for (unsigned i = 0; i < HEVC_REFS && !is_idr(nal); i++) {
        const VAPictureHEVC *frame = &picture->ReferenceFrames[i];
        const struct hevc_dpb_entry *entry;
        struct hevc_ref ref = {
            .index = i,
            .used = frame->flags & CURR_FLAGS,
            .long_term = frame->flags & LONG_TERM_FLAGS,
        };

        if (!is_reference(frame))
            continue;
        entry = rps.new_sequence ? NULL : find(dpb, frame);
        /*
         * The decoder fills in what it does not have, which costs a frame. Only pictures that are
         * used need it.
         */
        if (!entry && (!ref.used || is_irap(nal)))
            continue;
        ref.missing = !entry || entry->missing;
        ref.poc = entry ? entry->poc : wrap((int64_t)frame->pic_order_cnt - app_poc + rps.poc);
        /* 8.3.1: counts of a sequence are closer together than these bits can say. */
        if (ref.poc == rps.poc ||
            (int64_t)ref.poc - rps.poc != (int64_t)frame->pic_order_cnt - app_poc) {
            if (ref.used)
                return VD_ERR_PARAMETER;
            continue;
        }
        ref.msb = ref.long_term && is_ambiguous(dpb, &rps, ref.poc);
        insert(&rps, &count, &ref);
    }
    for (unsigned i = 0; i < count; i++) {
        const struct hevc_ref *ref = &rps.ref[i];
        bool first = i == 0 || part_of(&rps, ref) != part_of(&rps, ref - 1);
        int64_t from = first ? rps.poc : rps.ref[i - 1].poc;

        if (!ref->long_term && llabs(ref->poc - from) > MAX_DELTA)
            return VD_ERR_PARAMETER;
        rps.before += part_of(&rps, ref) == 0;
        rps.after += part_of(&rps, ref) == 1;
        rps.long_term += ref->long_term;
        rps.total_curr += ref->used;
    }
    *ret_rps = rps;
    return 0;
}

void hevc_rps_order_long_term(struct hevc_rps *rps, const unsigned *order)
{
    struct hevc_ref *ref = &rps->ref[rps->before + rps->after];
    struct hevc_ref sorted[HEVC_REFS];
    bool placed[HEVC_REFS] = {false}, taken[HEVC_REFS] = {false};
    unsigned used = 0, next = 0;

    while (used < rps->long_term && ref[used].used)
        used++;
    for (unsigned place = 0; place < used; place++) {
        for (unsigned i = 0; i < used && !placed[place]; i++) {
            if (taken[i] || ref[i].index != order[place])
                continue;
            sorted[place] = ref[i];
            placed[place] = taken[i] = true;
        }
    }
    /* The other places go to those that are left. */
    for (unsigned place = 0; place < used; place++) {
        if (placed[place])
            continue;
        while (taken[next])
            next++;
        sorted[place] = ref[next++];
    }
    memcpy(ref, sorted, used * sizeof(*ref));
}

/* DeltaPocMsbCycleLt of (7-52), before it is made a difference. */
static int64_t msb_cycle(const struct hevc_rps *rps, const struct hevc_ref *ref)
{
    return ((rps->poc - lsb_of(rps->poc)) - (ref->poc - lsb_of(ref->poc))) / MAX_LSB;
}

void hevc_rps_write(const struct hevc_rps *rps, struct bits_writer *writer)
{
    unsigned short_term = rps->before + rps->after;
    int64_t last_cycle = 0;

    bits_write(writer, HEVC_POC_LSB_BITS, (uint32_t)lsb_of(rps->poc));
    bits_write(writer, 1, 0); /* short_term_ref_pic_set_sps_flag */
    /* 7.3.7, the set with index 0: nothing to predict it from */
    bits_write_ue(writer, rps->before);
    bits_write_ue(writer, rps->after);
    for (unsigned i = 0; i < short_term; i++) {
        int64_t from = i == 0 || i == rps->before ? rps->poc : rps->ref[i - 1].poc;

        bits_write_ue(writer, (uint32_t)(llabs(rps->ref[i].poc - from) - 1));
        bits_write(writer, 1, rps->ref[i].used);
    }
    bits_write_ue(writer, rps->long_term); /* num_long_term_pics */
    for (unsigned i = short_term; i < short_term + rps->long_term; i++) {
        const struct hevc_ref *ref = &rps->ref[i];
        /* Cycles only grow along the list: what would need less goes without. */
        bool msb = ref->msb && msb_cycle(rps, ref) >= last_cycle;

        bits_write(writer, HEVC_POC_LSB_BITS, (uint32_t)lsb_of(ref->poc));
        bits_write(writer, 1, ref->used);
        bits_write(writer, 1, msb); /* delta_poc_msb_present_flag */
        if (msb) {
            bits_write_ue(writer, (uint32_t)(msb_cycle(rps, ref) - last_cycle));
            last_cycle = msb_cycle(rps, ref);
        }
    }
}

void hevc_rps_commit(struct hevc_dpb *dpb, const VAPictureParameterBufferHEVC *picture,
                     enum hevc_nal nal, unsigned temporal_id, const struct hevc_rps *rps)
{
    bool sub_layer_non_reference = nal < HEVC_NAL_BLA_W_LP && nal % 2 == 0;
    bool leading = nal >= HEVC_NAL_RADL_N && nal <= HEVC_NAL_RASL_R;
    unsigned count = 0;

    for (unsigned i = 0; i < rps->before + rps->after + rps->long_term; i++) {
        const struct hevc_ref *ref = &rps->ref[i];

        dpb->entry[count++] = (struct hevc_dpb_entry){
            .surface = picture->ReferenceFrames[ref->index].picture_id,
            .app_poc = picture->ReferenceFrames[ref->index].pic_order_cnt,
            .poc = ref->poc,
            .missing = ref->missing,
        };
    }
    dpb->entry[count++] = (struct hevc_dpb_entry){
        .surface = picture->CurrPic.picture_id,
        .app_poc = picture->CurrPic.pic_order_cnt,
        .poc = rps->poc,
    };
    dpb->count = count;
    dpb->base = rps->base;
    /* 8.3.1 */
    if (temporal_id == 0 && !sub_layer_non_reference && !leading)
        dpb->prev_tid0_poc = rps->poc;
}
