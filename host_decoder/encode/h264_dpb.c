/* SPDX-License-Identifier: MIT */
#include "h264_dpb.h"

#include <string.h>

#include <viaduct/errors.h>

static int32_t max_frame_num(const struct h264_sps *sps)
{
    return 1 << sps->log2_frame_num;
}

/* 8.2.4.1: FrameNumWrap and PicNum of a frame are the same. */
static int32_t pic_num(const struct h264_sps *sps, uint16_t frame_num,
                       const struct h264_reference *ref)
{
    return ref->frame_num > frame_num ? ref->frame_num - max_frame_num(sps) : ref->frame_num;
}

static void remove_at(struct h264_dpb *dpb, unsigned at)
{
    dpb->count--;
    memmove(&dpb->ref[at], &dpb->ref[at + 1], (dpb->count - at) * sizeof(dpb->ref[0]));
}

/* 8.2.5.3; returns false if there is no short-term picture to drop. */
static bool drop_oldest(struct h264_dpb *dpb, const struct h264_sps *sps, uint16_t frame_num)
{
    unsigned oldest = H264_DPB_ROOM;

    for (unsigned i = 0; i < dpb->count; i++) {
        if (!dpb->ref[i].long_term &&
            (oldest == H264_DPB_ROOM ||
             pic_num(sps, frame_num, &dpb->ref[i]) < pic_num(sps, frame_num, &dpb->ref[oldest])))
            oldest = i;
    }
    if (oldest == H264_DPB_ROOM)
        return false;
    remove_at(dpb, oldest);
    return true;
}

static void slide(struct h264_dpb *dpb, const struct h264_sps *sps, uint16_t frame_num)
{
    unsigned most = sps->ref_frames ? sps->ref_frames : 1;

    while (dpb->count >= most && drop_oldest(dpb, sps, frame_num))
        ;
}

/* Long-term pictures never fill all the room in a stream that is legal. */
static void add(struct h264_dpb *dpb, struct h264_reference ref)
{
    if (dpb->count == H264_DPB_ROOM)
        remove_at(dpb, 0);
    dpb->ref[dpb->count++] = ref;
}

void h264_dpb_begin(struct h264_dpb *dpb, const struct h264_sps *sps,
                    const struct h264_picture *picture)
{
    uint16_t mask = (uint16_t)(max_frame_num(sps) - 1), next;
    unsigned gap;

    if (picture->idr || picture->frame_num == dpb->last_frame_num)
        return;
    /* 8.2.5.2: only the last ones survive the sliding window. */
    gap = (uint16_t)(picture->frame_num - dpb->last_frame_num - 1) & mask;
    if (gap > H264_DPB_ROOM)
        gap = H264_DPB_ROOM;
    for (; gap; gap--) {
        next = (uint16_t)(picture->frame_num - gap) & mask;
        slide(dpb, sps, next);
        add(dpb, (struct h264_reference){.frame_num = next});
        dpb->last_frame_num = next;
    }
}

/* A picture's place in the initial list: larger comes first. */
static int32_t rank(const struct h264_sps *sps, uint16_t frame_num,
                    const struct h264_reference *ref)
{
    return ref->long_term ? -(1 << 20) - ref->index : pic_num(sps, frame_num, ref);
}

/* 8.2.4.2.1: indices of `dpb`. */
static unsigned initial_list(const struct h264_dpb *dpb, const struct h264_sps *sps,
                             uint16_t frame_num, uint8_t list[H264_MAX_REFS])
{
    for (unsigned i = 0; i < dpb->count; i++) {
        unsigned at = i;

        for (; at &&
               rank(sps, frame_num, &dpb->ref[list[at - 1]]) < rank(sps, frame_num, &dpb->ref[i]);
             at--)
            list[at] = list[at - 1];
        list[at] = (uint8_t)i;
    }
    return dpb->count;
}

#define NOT_FOUND 0xff

static uint8_t find(const struct h264_dpb *dpb, const struct h264_sps *sps, uint16_t frame_num,
                    bool long_term, int32_t number)
{
    for (unsigned i = 0; i < dpb->count; i++) {
        const struct h264_reference *ref = &dpb->ref[i];

        if (ref->long_term == long_term &&
            number == (long_term ? ref->index : pic_num(sps, frame_num, ref)))
            return (uint8_t)i;
    }
    return NOT_FOUND;
}

unsigned h264_dpb_list(const struct h264_dpb *dpb, const struct h264_sps *sps,
                       const struct h264_slice *slice, uint32_t ret_list[H264_MAX_REFS])
{
    uint8_t list[H264_MAX_REFS + 1];
    uint16_t frame_num = slice->picture.frame_num;
    unsigned there, at = 0;
    int64_t predicted = frame_num, max = max_frame_num(sps);

    memset(list, NOT_FOUND, sizeof(list));
    there = initial_list(dpb, sps, frame_num, list);
    /* 8.2.4.3 */
    for (unsigned i = 0; i < slice->mod_count && at < slice->ref_count; i++) {
        const struct h264_mod *mod = &slice->mod[i];
        uint8_t which;
        unsigned to;

        if (mod->op < 2) {
            int64_t difference = ((int64_t)mod->value + 1) % max;

            predicted += mod->op ? difference : -difference;
            predicted = (predicted % max + max) % max;
            which = find(dpb, sps, frame_num, false,
                         (int32_t)(predicted > frame_num ? predicted - max : predicted));
        } else {
            which =
                find(dpb, sps, frame_num, true, mod->value > INT32_MAX ? -1 : (int32_t)mod->value);
        }
        if (which == NOT_FOUND)
            continue;
        /* In front of what follows, and out of there. */
        for (to = at; to < H264_MAX_REFS && list[to] != which && list[to] != NOT_FOUND; to++)
            ;
        if (to < H264_MAX_REFS && list[to] == NOT_FOUND && to >= there)
            there = to + 1;
        memmove(&list[at + 1], &list[at], (to - at) * sizeof(list[0]));
        list[at++] = which;
    }
    if (there > slice->ref_count)
        there = slice->ref_count;
    for (unsigned i = 0; i < there; i++)
        ret_list[i] = list[i] == NOT_FOUND ? 0 : dpb->ref[list[i]].serial;
    return there;
}

int h264_dpb_modify(const struct h264_dpb *dpb, const struct h264_sps *sps, const uint32_t *list,
                    unsigned count, struct h264_slice *slice)
{
    uint8_t initial[H264_MAX_REFS];
    uint16_t frame_num = slice->picture.frame_num;
    int32_t predicted = frame_num, max = max_frame_num(sps);
    unsigned there, same = 0;

    slice->mod_count = 0;
    there = initial_list(dpb, sps, frame_num, initial);
    while (same < count && same < there && dpb->ref[initial[same]].serial == list[same])
        same++;
    if (same == count)
        return 0;
    for (unsigned i = 0; i < count; i++) {
        const struct h264_reference *ref = NULL;
        struct h264_mod *mod = &slice->mod[slice->mod_count++];
        int32_t number, difference;

        for (unsigned j = 0; j < dpb->count && list[i]; j++) {
            if (dpb->ref[j].serial == list[i])
                ref = &dpb->ref[j];
        }
        if (!ref)
            return VD_ERR_DECODE;
        if (ref->long_term) {
            *mod = (struct h264_mod){.op = 2, .value = ref->index};
            continue;
        }
        number = pic_num(sps, frame_num, ref);
        difference = number - predicted;
        /* The same one again: all the way round. */
        if (difference > 0)
            *mod = (struct h264_mod){.op = 1, .value = (uint32_t)difference - 1};
        else
            *mod =
                (struct h264_mod){.op = 0, .value = (uint32_t)(difference ? -difference : max) - 1};
        predicted = number;
    }
    return 0;
}

static void remove_found(struct h264_dpb *dpb, uint8_t which)
{
    if (which != NOT_FOUND)
        remove_at(dpb, which);
}

/* 8.2.5.4, except for what concerns the current picture. */
static void control(struct h264_dpb *dpb, const struct h264_sps *sps, uint16_t frame_num,
                    const struct h264_mmco *mmco)
{
    uint8_t which;

    switch (mmco->op) {
    case 1:
        remove_found(dpb, find(dpb, sps, frame_num, false, frame_num - (mmco->difference + 1)));
        break;
    case 2:
        remove_found(dpb, find(dpb, sps, frame_num, true, mmco->index));
        break;
    case 3:
        which = find(dpb, sps, frame_num, true, mmco->index);
        remove_found(dpb, which);
        which = find(dpb, sps, frame_num, false, frame_num - (mmco->difference + 1));
        if (which != NOT_FOUND) {
            dpb->ref[which].long_term = true;
            dpb->ref[which].index = mmco->index;
        }
        break;
    case 4:
        for (unsigned i = dpb->count; i-- > 0;) {
            if (dpb->ref[i].long_term && dpb->ref[i].index >= mmco->index)
                remove_at(dpb, i);
        }
        break;
    case 5:
        dpb->count = 0;
        break;
    default: /* 6 */
        remove_found(dpb, find(dpb, sps, frame_num, true, mmco->index));
        break;
    }
}

void h264_dpb_end(struct h264_dpb *dpb, const struct h264_sps *sps,
                  const struct h264_picture *picture, uint32_t serial)
{
    struct h264_reference current = {.serial = serial, .frame_num = picture->frame_num};

    if (!picture->ref_idc)
        return;
    if (picture->idr) {
        dpb->count = 0;
        current.long_term = picture->long_term;
    } else if (!picture->mmco_count) {
        slide(dpb, sps, picture->frame_num);
    }
    for (unsigned i = 0; i < picture->mmco_count; i++) {
        const struct h264_mmco *mmco = &picture->mmco[i];

        control(dpb, sps, picture->frame_num, mmco);
        if (mmco->op == 5) {
            current.frame_num = 0;
        } else if (mmco->op == 6) {
            current.long_term = true;
            current.index = mmco->index;
        }
    }
    dpb->last_frame_num = current.frame_num;
    add(dpb, current);
}
