/* SPDX-License-Identifier: MIT */
#include "av1_guess.h"

#include <string.h>

#include "av1_header.h"

/* A rule is believed after so many right guesses in a row; each costly mistake doubles that. */
#define TRUST     8
#define TRUST_MAX 256
/* A context of a table counts after so many equal outcomes. */
#define SETTLED   2
#define COUNT_MAX 15
/* Places of a table where a context may be. */
#define WAYS 4
/* Of two rules that disagree the better one is believed only if its streak is so much longer. */
#define CLEAR_LEAD 4
/* libaom keeps the frames that are shown last before this one. */
#define LIBAOM_RECENT 3
#define GOLDEN        3 /* of ref_frame_idx */

enum { RULE_LIBAOM, RULE_FIRST_TABLE };

/*
 * What is learned: by how many frames before it (2 bits each), and how an outcome is coded: as the
 * place of the replaced frame among the 8 by age, or as its index. SVT-AV1, hardware and
 * encoders for calls repeat a pattern in one way or the other.
 */
static const struct {
    uint32_t history;
    bool by_age;
} tables[AV1_GUESS_TABLES] = {
    {UINT32_C(0xffff), true},
    {UINT32_C(0xffffffff), true},
    {UINT32_C(0xffff), false},
};

static int32_t distance(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

/* How many of the others are older. */
static int age_of(const struct av1_guess *guess, int index)
{
    int rank = 0;

    for (int i = 0; i < AV1_GUESS_MAP; i++)
        rank += distance(guess->map[i].born, guess->map[index].born) < 0;
    return rank;
}

static int outcome_of(const struct av1_guess *guess, int table, int index)
{
    return index < 0 || !tables[table].by_age ? index : age_of(guess, index);
}

static int index_of(const struct av1_guess *guess, int table, int outcome)
{
    if (outcome < 0 || !tables[table].by_age)
        return outcome;
    for (int i = 0; i < AV1_GUESS_MAP; i++) {
        if (age_of(guess, i) == outcome)
            return i;
    }
    return AV1_GUESS_UNSURE;
}

/*
 * get_refresh_idx() of libaom's encode_strategy.c: the frame that was shown first is replaced, but
 * not the last ones, and those of the lowest layer only for their like or if there are no others.
 * Overlays, which show again what there is, are not kept.
 */
static int guess_libaom(const struct av1_guess *guess, const struct av1_guess_picture *now,
                        bool shown)
{
    int oldest = AV1_GUESS_UNSURE, oldest_base = AV1_GUESS_UNSURE, bases = 0;

    for (int i = 0; i < AV1_GUESS_MAP; i++) {
        const struct av1_guess_picture *p = &guess->map[i];
        int *best = p->base ? &oldest_base : &oldest;

        if (shown && p->order == now->order)
            return AV1_GUESS_NOT_KEPT;
        if (distance(p->order, now->order) > -LIBAOM_RECENT)
            continue;
        bases += p->base;
        if (*best < 0 || distance(p->order, guess->map[*best].order) < 0)
            *best = i;
    }
    if (oldest < 0 || (now->base && bases > 2))
        return oldest_base;
    return oldest;
}

/* The context with this key, or the one of its neighbours that is worth least. */
static struct av1_guess_context *find_context(struct av1_guess_context *table, uint32_t key)
{
    struct av1_guess_context *least = NULL;

    for (uint32_t i = 0; i < WAYS; i++) {
        struct av1_guess_context *c = &table[((key >> 16) + i) % AV1_GUESS_CONTEXTS];

        if (c->key == key)
            return c;
        if (!least || c->count < least->count)
            least = c;
    }
    return least;
}

static void guess_table(struct av1_guess *guess, int table,
                        const VADecPictureParameterBufferAV1 *param)
{
    uint32_t key = (guess->history & tables[table].history) * UINT32_C(2654435761);
    int rule = RULE_FIRST_TABLE + table;

    key ^= param->pic_info_fields.bits.show_frame << 2 | param->pic_info_fields.bits.frame_type;
    key *= UINT32_C(2246822519);
    guess->key[table] = key;
    guess->context[table] = find_context(guess->tables[table], key);
    guess->guess[rule] = AV1_GUESS_UNSURE;
    if (guess->context[table]->key != key)
        return;
    guess->guess[rule] = (int8_t)index_of(guess, table, guess->context[table]->outcome);
    guess->settled[rule] = guess->context[table]->count >= SETTLED;
}

static bool believed(const struct av1_guess *guess, int rule)
{
    uint16_t need = guess->need[rule] ? guess->need[rule] : TRUST;

    return guess->guess[rule] != AV1_GUESS_UNSURE && guess->settled[rule] &&
           guess->streak[rule] >= need;
}

static int decide(const struct av1_guess *guess)
{
    int best = -1;

    for (int i = 0; i < AV1_GUESS_RULES; i++) {
        if (believed(guess, i) && (best < 0 || guess->streak[i] > guess->streak[best]))
            best = i;
    }
    if (best < 0)
        return AV1_GUESS_UNSURE;
    for (int i = 0; i < AV1_GUESS_RULES; i++) {
        if (believed(guess, i) && guess->guess[i] != guess->guess[best] &&
            guess->streak[i] * CLEAR_LEAD >= guess->streak[best])
            return AV1_GUESS_UNSURE;
    }
    return guess->guess[best];
}

static void judge_rule(struct av1_guess *guess, int rule, unsigned replaced)
{
    int said = guess->guess[rule];

    if (said == AV1_GUESS_UNSURE)
        return;
    if (said < 0 ? replaced == 0 : replaced >> said & 1) {
        if (guess->streak[rule] < TRUST_MAX)
            guess->streak[rule]++;
        else
            guess->need[rule] = TRUST;
        return;
    }
    if (!guess->settled[rule])
        return;
    /* Nobody waits for hidden frames: mistakes there cost nothing. */
    if (!guess->pending_shown) {
        guess->streak[rule] /= 2;
        return;
    }
    guess->streak[rule] = 0;
    if (said < 0)
        return; /* which costs no more than not to guess */
    guess->need[rule] = guess->need[rule] ? guess->need[rule] : TRUST;
    if (guess->need[rule] < TRUST_MAX)
        guess->need[rule] *= 2;
}

static void learn_outcome(struct av1_guess *guess, int table, int index)
{
    struct av1_guess_context *context = guess->context[table];
    int outcome = outcome_of(guess, table, index);

    if (context->key != guess->key[table] || context->outcome != outcome)
        *context = (struct av1_guess_context){.key = guess->key[table], .outcome = (int8_t)outcome};
    if (context->count < COUNT_MAX)
        context->count++;
}

/* What became of the last frame: the indices where the map has it now. */
static void learn(struct av1_guess *guess, unsigned replaced)
{
    int index = AV1_GUESS_NOT_KEPT;

    for (int i = AV1_GUESS_MAP - 1; i >= 0; i--) {
        if (replaced >> i & 1)
            index = i;
    }
    if (guess->open) {
        for (int i = 0; i < AV1_GUESS_RULES; i++)
            judge_rule(guess, i, replaced);
        for (int i = 0; i < AV1_GUESS_TABLES; i++)
            learn_outcome(guess, i, index);
    }
    guess->history = guess->history << 2 | (unsigned)guess->pending_shown << 1 | (replaced != 0);
}

static struct av1_guess_picture find(const struct av1_guess *guess, uint32_t surface)
{
    for (int i = 0; i < AV1_GUESS_RECENT; i++) {
        if (guess->recent[i].surface == surface && guess->recent[i].born)
            return guess->recent[i];
    }
    for (int i = 0; i < AV1_GUESS_MAP; i++) {
        if (guess->map[i].surface == surface)
            return guess->map[i];
    }
    return (struct av1_guess_picture){.surface = surface};
}

static void take_map(struct av1_guess *guess, const VADecPictureParameterBufferAV1 *param)
{
    struct av1_guess_picture map[AV1_GUESS_MAP];
    unsigned replaced = 0;

    for (int i = 0; i < AV1_GUESS_MAP; i++) {
        map[i] = find(guess, param->ref_frame_map[i]);
        if (guess->pending && map[i].surface == guess->recent[0].surface)
            replaced |= 1u << i;
    }
    /* Ages are those of the map before. */
    if (guess->pending)
        learn(guess, replaced);
    memcpy(guess->map, map, sizeof(map));
}

static bool all_differ(const struct av1_guess *guess)
{
    for (int i = 0; i < AV1_GUESS_MAP; i++) {
        if (!guess->map[i].born || guess->map[i].surface == VA_INVALID_ID)
            return false;
        for (int j = 0; j < i; j++) {
            if (guess->map[i].born == guess->map[j].born)
                return false;
        }
    }
    return true;
}

/* Order hints have few bits: the next one is near the last one. */
static void advance_order(struct av1_guess *guess, const VADecPictureParameterBufferAV1 *param)
{
    int32_t half = (int32_t)1 << (param->order_hint_bits_minus_1 & 7);
    int32_t step = (int32_t)param->order_hint - (int32_t)guess->hint;

    guess->hint = param->order_hint;
    step = (step & (half - 1)) - (step & half);
    guess->order += param->seq_info_fields.fields.enable_order_hint ? (uint32_t)step : 1;
}

static struct av1_guess_picture describe(struct av1_guess *guess,
                                         const VADecPictureParameterBufferAV1 *param)
{
    struct av1_guess_picture now = {.surface = param->current_frame, .base = true};

    advance_order(guess, param);
    now.order = guess->order;
    if (++guess->born == 0)
        guess->born = 1;
    now.born = guess->born;
    /* One that is shown later than all others starts a group of pictures in libaom. */
    for (int i = 0; i < AV1_GUESS_MAP; i++) {
        if (guess->map[i].born && distance(guess->map[i].order, now.order) >= 0)
            now.base = false;
    }
    if (param->pic_info_fields.bits.show_frame)
        now.base = false;
    if (param->pic_info_fields.bits.frame_type == AV1_KEY_FRAME)
        now.base = true;
    return now;
}

/* libaom's golden frame is one of the lowest layer, too, which only the frames after it show. */
static void mark_golden(struct av1_guess *guess, struct av1_guess_picture *golden)
{
    golden->base = true;
    for (int i = 0; i < AV1_GUESS_RECENT; i++)
        guess->recent[i].base |= guess->recent[i].born == golden->born;
}

/* Apps leave the map empty for key frames. */
static bool map_known(const VADecPictureParameterBufferAV1 *param)
{
    for (int i = 0; i < AV1_GUESS_MAP; i++) {
        if (param->ref_frame_map[i] != VA_INVALID_ID)
            return true;
    }
    return false;
}

int av1_guess_next(struct av1_guess *guess, const VADecPictureParameterBufferAV1 *param)
{
    bool known = map_known(param);
    unsigned type = param->pic_info_fields.bits.frame_type;
    bool intra = type == AV1_KEY_FRAME || type == AV1_INTRA_ONLY_FRAME;
    struct av1_guess_picture now;
    int result = AV1_GUESS_UNSURE;

    if (known)
        take_map(guess, param);
    now = describe(guess, param);
    if (!intra)
        mark_golden(guess, &guess->map[param->ref_frame_idx[GOLDEN] % AV1_GUESS_MAP]);
    guess->open = known && !av1_header_refreshes_all(param) && all_differ(guess);
    if (guess->open) {
        guess->settled[RULE_LIBAOM] = true;
        guess->guess[RULE_LIBAOM] =
            (int8_t)guess_libaom(guess, &now, param->pic_info_fields.bits.show_frame);
        for (int i = 0; i < AV1_GUESS_TABLES; i++)
            guess_table(guess, i, param);
        result = decide(guess);
    }
    guess->pending = true;
    guess->pending_shown = param->pic_info_fields.bits.show_frame;
    memmove(&guess->recent[1], &guess->recent[0],
            (AV1_GUESS_RECENT - 1) * sizeof(guess->recent[0]));
    guess->recent[0] = now;
    return result;
}
