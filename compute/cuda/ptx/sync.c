/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "alu_math.h"
#include "flow.h"

/* Operations between the lanes of a warp, and barriers of a block. */

static uint32_t *words(struct warp *w, uint32_t slot)
{
    return (uint32_t *)(void *)SLOT(w, slot);
}

/* One value for all lanes that run. */
static void put(struct warp *w, uint32_t slot, uint32_t value)
{
    uint32_t *d = words(w, slot);
    const uint32_t *m = w->lanes;

    for (unsigned i = 0; i < LANES; i++)
        d[i] = (d[i] & ~m[i]) | (value & m[i]);
}

/*
 * Waits for the lanes of the mask in slot `members`. Lanes with different masks are different
 * operations: they part and come here again. NO_SLOT: without .sync, for whoever is here.
 */
static bool gather(struct warp *w, const struct insn *in, uint32_t members)
{
    const uint32_t *mask;
    uint32_t first, same = 0, other = 0;

    if (members == NO_SLOT)
        return true;
    mask = words(w, members);
    first = mask[__builtin_ctz(w->mask)];
    for (unsigned i = 0; i < LANES; i++)
        other |= (mask[i] ^ first) & w->lanes[i];
    if (other) {
        for (unsigned i = 0; i < LANES; i++)
            same |= (uint32_t)(mask[i] == first) << i;
        same &= w->mask;
        if (w->resuming)
            w->resuming = false;
        warp_branch(w, same, in, in);
        /* Both are here: were they one group again, they would part for ever. */
        w->groups[w->current].state = GROUP_SYNC;
        w->groups[w->current].member = first;
        w->groups[w->group_count - 1].state = GROUP_SYNC;
        w->groups[w->group_count - 1].member =
            mask[__builtin_ctz(w->groups[w->group_count - 1].mask)];
        return false;
    }
    return warp_gather(w, in, first);
}

void block_barrier_check(struct block *b, uint32_t barrier)
{
    struct barrier *r = &b->barriers[barrier];
    uint32_t total = 0;
    bool complete = true;

    /* Mostly more are to come, which the count tells. */
    if (!r->expected && r->arrived < b->live)
        return;
    for (uint32_t i = 0; i < b->warp_count; i++) {
        const struct warp *w = &b->warps[i];

        if (!(r->warps >> i & 1)) {
            complete &= !w->live;
            continue;
        }
        complete &= !(w->live & ~r->lanes[i]);
        total += popcount32(r->lanes[i] | ~w->live);
    }
    if (r->expected ? total < r->expected : !complete)
        return;
    for (uint32_t i = 0; i < b->warp_count; i++) {
        struct warp *w = &b->warps[i];

        r->lanes[i] = 0;
        for (uint32_t n = 0; n < w->group_count; n++) {
            struct group *g = &w->groups[n];

            if (g->state != GROUP_BARRIER || g->barrier != barrier)
                continue;
            g->state = GROUP_RELEASED;
            g->result = g->pc->imm == BARRIER_POPC  ? r->popc
                        : g->pc->imm == BARRIER_AND ? (r->all ? ALL_LANES : 0)
                                                    : (r->any ? ALL_LANES : 0);
        }
    }
    r->warps = r->arrived = 0;
    r->popc = r->any = 0;
    r->all = 1;
    r->expected = 0;
}

HANDLER(sync_barrier)
{
    struct block *b = w->block;
    struct group *g = &w->groups[w->current];
    uint32_t first = (uint32_t)__builtin_ctz(w->mask), id = words(w, in->a)[first];
    struct barrier *r;

    if (w->resuming) {
        w->resuming = false;
        if (in->imm >= BARRIER_POPC)
            for (unsigned i = 0; i < LANES; i++)
                if (w->mask >> i & 1)
                    words(w, in->d)[i] = g->result;
        return in + 1;
    }
    if (id >= BARRIERS)
        return warp_fault(w, in, PTX_FAULT_INSTRUCTION, first, id);
    r = &b->barriers[id];
    if (!r->warps)
        r->all = 1;
    if (in->b != NO_SLOT) {
        r->expected = words(w, in->b)[first];
        if (!r->expected || r->expected % LANES || r->expected > PTX_MAX_BLOCK)
            return warp_fault(w, in, PTX_FAULT_INSTRUCTION, first, r->expected);
    }
    r->warps |= 1u << w->index;
    r->arrived += popcount32(w->mask & ~r->lanes[w->index]);
    r->lanes[w->index] |= w->mask;
    if (in->imm >= BARRIER_POPC) {
        uint32_t bits = slot_bits(words(w, in->c));

        bits = (in->flags & F_UNLESS ? ~bits : bits) & w->mask;
        r->popc += popcount32(bits);
        r->all &= bits == w->mask;
        r->any |= bits != 0;
    }
    g->pc = in;
    g->frame = w->frame;
    if (in->imm == BARRIER_ARRIVE) {
        block_barrier_check(b, id);
        return in + 1;
    }
    g->state = GROUP_BARRIER;
    g->barrier = id;
    block_barrier_check(b, id);
    return warp_stop(w, STOP_WAIT, in);
}

HANDLER(sync_warp)
{
    if (!gather(w, in, in->a))
        return NULL;
    return in + 1;
}

HANDLER(sync_active)
{
    put(w, in->d, w->mask);
    return in + 1;
}

HANDLER(sync_elect)
{
    uint32_t first;

    if (!gather(w, in, in->f))
        return NULL;
    first = (uint32_t)__builtin_ctz(w->mask);
    for (unsigned i = 0; i < LANES; i++) {
        if (!(w->mask >> i & 1))
            continue;
        words(w, in->d)[i] = first;
        words(w, in->e)[i] = i == first ? ALL_LANES : 0;
    }
    return in + 1;
}

/* Of each lane: the one it takes from, and whether that is in its segment (all ones or zero). */
static void shuffle_sources(int64_t mode, const uint32_t *b, const uint32_t *c, uint32_t *at,
                            uint32_t *inside)
{
    for (unsigned i = 0; i < LANES; i++) {
        uint32_t clamp = c[i] & 31, segment = c[i] >> 8 & 31, by = b[i] & 31;
        uint32_t most = (i & segment) | (clamp & ~segment);
        uint32_t up = (uint32_t)((int32_t)(i - by) >= (int32_t)most);
        uint32_t from = mode == SHUFFLE_UP     ? i - by
                        : mode == SHUFFLE_DOWN ? i + by
                        : mode == SHUFFLE_XOR  ? i ^ by
                                               : (i & segment) | (by & ~segment);
        uint32_t in = 0u - (mode == SHUFFLE_UP ? up : (uint32_t)(from <= most));

        at[i] = ((from & in) | (i & ~in)) & 31;
        inside[i] = in;
    }
}

HANDLER(sync_shuffle)
{
    uint32_t *d = words(w, in->d), source[LANES], at[LANES], inside[LANES];
    const uint32_t *b = words(w, in->b), *c = words(w, in->c), *m = w->lanes;

    if (!gather(w, in, in->f))
        return NULL;
    memcpy(source, words(w, in->a), sizeof(source));
    switch (in->imm) {
    case SHUFFLE_UP:
        shuffle_sources(SHUFFLE_UP, b, c, at, inside);
        break;
    case SHUFFLE_DOWN:
        shuffle_sources(SHUFFLE_DOWN, b, c, at, inside);
        break;
    case SHUFFLE_XOR:
        shuffle_sources(SHUFFLE_XOR, b, c, at, inside);
        break;
    default:
        shuffle_sources(SHUFFLE_IDX, b, c, at, inside);
        break;
    }
    if (w->full) {
        for (unsigned i = 0; i < LANES; i++)
            d[i] = source[at[i]];
    } else {
        for (unsigned i = 0; i < LANES; i++)
            if (w->mask >> i & 1)
                d[i] = source[at[i]];
    }
    if (in->e != NO_SLOT) {
        uint32_t *e = words(w, in->e);

        for (unsigned i = 0; i < LANES; i++)
            e[i] = (e[i] & ~m[i]) | (inside[i] & m[i]);
    }
    return in + 1;
}

static uint32_t vote(int64_t mode, uint32_t bits, uint32_t lanes)
{
    switch (mode) {
    case VOTE_ALL:
        return bits == lanes ? ALL_LANES : 0;
    case VOTE_ANY:
        return bits ? ALL_LANES : 0;
    case VOTE_UNI:
        return bits == lanes || !bits ? ALL_LANES : 0;
    default:
        return bits;
    }
}

/*
 * Whether a lane's mask is without the lane itself. PTX leaves that open; programs that count the
 * lanes below one's own (a mask of %lanemask_lt) want what GPUs do, where whoever is here votes,
 * and each lane sees its own mask's part of that.
 */
static bool astray(struct warp *w, uint32_t members)
{
    const uint32_t *mask = words(w, members);

    uint32_t out = 0;

    for (unsigned i = 0; i < LANES; i++)
        out |= ~mask[i] & w->lanes[i] & 1u << i;
    return out;
}

HANDLER(sync_vote)
{
    uint32_t bits, value;

    bits = slot_bits(words(w, in->a));
    bits = in->flags & F_UNLESS ? ~bits : bits;
    if (in->f != NO_SLOT && !w->resuming && astray(w, in->f)) {
        for (unsigned i = 0; i < LANES; i++) {
            uint32_t lanes = words(w, in->f)[i] & w->mask;

            if (w->mask >> i & 1)
                words(w, in->d)[i] = vote(in->imm, bits & lanes, lanes);
        }
        return in + 1;
    }
    if (!gather(w, in, in->f))
        return NULL;
    bits &= w->mask;
    value = vote(in->imm, bits, w->mask);
    put(w, in->d, value);
    return in + 1;
}

HANDLER(sync_match)
{
    uint64_t value[LANES];
    uint32_t same[LANES];

    if (!gather(w, in, in->f))
        return NULL;
    for (unsigned i = 0; i < LANES; i++)
        value[i] = in->imm & MATCH_WIDE ? ((const uint64_t *)(const void *)SLOT(w, in->a))[i]
                                        : words(w, in->a)[i];
    for (unsigned i = 0; i < LANES; i++) {
        same[i] = 0;
        for (unsigned n = 0; n < LANES; n++)
            same[i] |= (uint32_t)(value[i] == value[n]) << n;
        same[i] &= w->mask;
    }
    for (unsigned i = 0; i < LANES; i++) {
        bool all = same[i] == w->mask;

        if (!(w->mask >> i & 1))
            continue;
        words(w, in->d)[i] = in->imm & MATCH_ALL ? (all ? w->mask : 0) : same[i];
        if (in->e != NO_SLOT)
            words(w, in->e)[i] = all ? ALL_LANES : 0;
    }
    return in + 1;
}

HANDLER(sync_reduce)
{
    uint32_t value = 0;
    bool first = true;

    if (!gather(w, in, in->f))
        return NULL;
    for (unsigned i = 0; i < LANES; i++) {
        uint32_t v = words(w, in->a)[i];

        if (!(w->mask >> i & 1))
            continue;
        if (first)
            value = v;
        else if (in->imm == REDUCE_ADD)
            value += v;
        else if (in->imm == REDUCE_MIN)
            value = (int32_t)v < (int32_t)value ? v : value;
        else if (in->imm == REDUCE_MAX)
            value = (int32_t)v > (int32_t)value ? v : value;
        else if (in->imm == REDUCE_UMIN)
            value = v < value ? v : value;
        else if (in->imm == REDUCE_UMAX)
            value = v > value ? v : value;
        else if (in->imm == REDUCE_AND)
            value &= v;
        else if (in->imm == REDUCE_OR)
            value |= v;
        else
            value ^= v;
        first = false;
    }
    put(w, in->d, value);
    return in + 1;
}
