/* SPDX-License-Identifier: MIT */
#include "h264_poc.h"

#include <viaduct/errors.h>

/*
 * 8.2.1.2, read backwards. The slice header adds delta_pic_order_cnt to an expected value that
 * the SPS determines, and VA has the sum; so any SPS will do that has the right expected value
 * for this very picture. libavcodec takes a new SPS of the same size without dropping references.
 *
 * Pictures that are not referenced have an offset of their own. For the others the expected
 * value is a sum of offsets that depends on absFrameNum, which VA does not tell. With a cycle
 * X, 0, ..., 0, -X it is X unless absFrameNum is a multiple of the cycle. absFrameNum is
 * frame_num plus a multiple of MaxFrameNum, which is 16 or a higher power of two: if bit n is
 * the lowest one set in frame_num, it is no multiple of 2^(n+1). Where that is too long
 * (frame_num is a multiple of 128, mostly 0) a length is taken that fits a guess of the offset;
 * memory_management_control_operation 5 and lost pictures can spoil the guess, and then one in
 * 255 of these pictures is wrong.
 *
 * The two fields of a frame may reach the decoder in one packet, in which libavcodec does not
 * let the SPS change. So the second field gets the SPS of the first. It fits, since both have
 * the same expected value but for offset_for_top_to_bottom_field. That is a constant of the
 * stream, which any frame and any pair of fields reveals; only a first pair before that relies
 * on a guess.
 */

#define LONGEST_CYCLE       255 /* num_ref_frames_in_pic_order_cnt_cycle */
#define LONGEST_POWER       128
#define USUAL_TOP_TO_BOTTOM 1

static bool fits(int64_t value)
{
    return value > INT32_MIN && value <= INT32_MAX;
}

static bool is_second_field(const struct h264_poc_state *state,
                            const struct h264_poc_picture *picture)
{
    return state->first_field && picture->field && !picture->idr &&
           picture->bottom_field != state->first.bottom_field &&
           picture->reference == state->first.reference &&
           picture->frame_num == state->first.frame_num;
}

/* Learns offset_for_top_to_bottom_field where this picture shows it. */
static void learn_top_to_bottom(struct h264_poc_state *state,
                                const struct h264_poc_picture *picture, bool second)
{
    int64_t value;

    if (!picture->field) {
        value = picture->bottom - picture->top - picture->delta[1];
    } else if (second) {
        const struct h264_poc_picture *top = picture->bottom_field ? &state->first : picture;
        const struct h264_poc_picture *bottom = picture->bottom_field ? picture : &state->first;

        value = bottom->bottom - bottom->delta[0] - (top->top - top->delta[0]);
    } else if (picture->idr && picture->bottom_field) {
        /* The expected value is zero. */
        value = picture->bottom - picture->delta[0];
    } else {
        return;
    }
    state->top_to_bottom = value;
    state->top_to_bottom_known = true;
}

/* The length of a cycle that absFrameNum is no multiple of. */
static uint8_t choose_cycle(const struct h264_poc_state *state, uint32_t frame_num)
{
    uint32_t lowest = frame_num & (~frame_num + 1);

    if (lowest != 0 && lowest < LONGEST_POWER)
        return (uint8_t)(2 * lowest);
    if ((state->frame_num_offset + frame_num) % LONGEST_CYCLE != 0)
        return LONGEST_CYCLE;
    return LONGEST_CYCLE - 1;
}

int h264_poc_solve(struct h264_poc_state *state, const struct h264_poc_picture *picture,
                   struct h264_poc *ret_poc)
{
    bool second = is_second_field(state, picture);
    struct h264_poc poc = {0};
    int64_t expected, top_to_bottom;

    learn_top_to_bottom(state, picture, second);
    state->first_field = false;
    if (second) {
        *ret_poc = state->poc;
        return 0;
    }
    if (picture->idr)
        state->frame_num_offset = 0;
    else if (picture->frame_num < state->frame_num)
        state->frame_num_offset += picture->max_frame_num;
    state->frame_num = picture->frame_num;

    top_to_bottom = state->top_to_bottom_known ? state->top_to_bottom : USUAL_TOP_TO_BOTTOM;
    if (picture->field && picture->bottom_field)
        expected = picture->bottom - picture->delta[0] - top_to_bottom;
    else
        expected = picture->top - picture->delta[0];
    if (!fits(expected) || !fits(top_to_bottom))
        return VD_ERR_PARAMETER;
    poc.top_to_bottom = (int32_t)top_to_bottom;
    if (!picture->reference) {
        poc.non_ref = (int32_t)expected;
    } else if (expected != 0 && !picture->idr) {
        poc.ref = (int32_t)expected;
        poc.cycle = choose_cycle(state, picture->frame_num);
    }
    state->first_field = picture->field;
    state->first = *picture;
    state->poc = poc;
    *ret_poc = poc;
    return 0;
}
