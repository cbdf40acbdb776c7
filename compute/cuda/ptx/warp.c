/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "flow.h"
#include "view.h"

/*
 * Which lanes of a warp run. Lanes at the same instruction of the same frame are a group. The group
 * of the deepest frame and the smallest address runs until it meets another, so that lanes that
 * parted meet again. Two rules make every lane independent:
 *
 * - A group that uses up its fuel (turns of a loop) hands over to the one that waited longest,
 * once; so a lane may wait for another of its own warp.
 * - `.sync` operations wait until every lane of their mask that lives has come; barriers count
 *   lanes, and those that ended count no longer.
 */

void warp_set_mask(struct warp *w, uint32_t mask)
{
    /* Not shifts by the lane, which SSE2 has none of. */
#define FOUR(n) 1u << (n), 1u << ((n) + 1), 1u << ((n) + 2), 1u << ((n) + 3)
    static const uint32_t bits[LANES] = {FOUR(0),  FOUR(4),  FOUR(8),  FOUR(12),
                                         FOUR(16), FOUR(20), FOUR(24), FOUR(28)};
#undef FOUR

    w->mask = mask;
    w->full = mask == ALL_LANES;
    for (unsigned i = 0; i < LANES; i++)
        w->lanes[i] = (mask & bits[i]) ? ALL_LANES : 0;
}

const struct insn *warp_stop(struct warp *w, enum stop why, const struct insn *pc)
{
    w->stop = why;
    w->pc = pc;
    return NULL;
}

const struct insn *warp_branch(struct warp *w, uint32_t taken, const struct insn *target,
                               const struct insn *next)
{
    struct group *own = &w->groups[w->current], *other = &w->groups[w->group_count++];

    /* Groups have no lane in common: there are never more than 32. */
    *other =
        (struct group){.mask = w->mask & ~taken, .frame = w->frame, .pc = next, .ran = w->turn};
    own->mask = taken;
    /* Going back costs fuel here, too, or a loop of branches would never hand over. */
    w->fuel -= target < next ? next - target : 1;
    return warp_stop(w, w->fuel < 0 ? STOP_YIELD : STOP_SPLIT, target);
}

const struct insn *warp_fault(struct warp *w, const struct insn *in, enum ptx_fault fault,
                              uint32_t lane, uint64_t address)
{
    static const char *const texts[] = {
        [PTX_FAULT_NONE] = "",
        [PTX_FAULT_ADDRESS] = "address out of bounds",
        [PTX_FAULT_MISALIGNED] = "misaligned address",
        [PTX_FAULT_READ_ONLY] = "write to read-only memory",
        [PTX_FAULT_TRAP] = "trap, or a call of a function that is not there",
        [PTX_FAULT_ASSERT] = "assertion failed",
        [PTX_FAULT_LIMIT] = "limit of instructions or time reached",
        [PTX_FAULT_CANCELLED] = "cancelled",
        [PTX_FAULT_DEADLOCK] = "deadlock: all threads of a block wait",
        [PTX_FAULT_STACK] = "stack used up",
        [PTX_FAULT_INSTRUCTION] = "operands without a meaning",
        [PTX_FAULT_MEMORY] = "out of host memory",
    };
    struct launch *l = w->launch;
    struct ptx_result *r = &l->result;
    uint64_t past = fault == PTX_FAULT_ADDRESS ? memory_past(&l->context->memory, address) : 0;
    char where[64] = "";

    if (past)
        snprintf(where, sizeof(where), ", %llu bytes behind an allocation",
                 (unsigned long long)past);
    pthread_mutex_lock(&l->lock);
    if (r->fault == PTX_FAULT_NONE) {
        r->fault = fault;
        r->address = address;
        r->line = in ? in->line : 0;
        memcpy(r->block, w->block->id, sizeof(r->block));
        r->thread = w->index * LANES + lane;
        snprintf(r->text, sizeof(r->text),
                 "kernel %.64s, line %u, block %u,%u,%u, thread %u: %s%s (0x%llx)", l->kernel->name,
                 r->line, r->block[0], r->block[1], r->block[2], r->thread, texts[fault], where,
                 (unsigned long long)address);
    }
    pthread_mutex_unlock(&l->lock);
    atomic_store(&l->stop, true);
    return warp_stop(w, STOP_FAULT, in);
}

uint8_t *access_lane(struct warp *w, const struct insn *in, enum ptx_space space, uint64_t address,
                     uint32_t lane, uint32_t bytes, uint32_t align, bool write)
{
    struct window x;
    enum ptx_fault fault = PTX_FAULT_NONE;

    if (!view_find(w, in, space, address, &x) || address - x.address > x.size ||
        bytes > x.size - (address - x.address))
        fault = PTX_FAULT_ADDRESS;
    else if (address & (align - 1))
        fault = PTX_FAULT_MISALIGNED;
    else if (write && x.constant)
        fault = PTX_FAULT_READ_ONLY;
    if (fault) {
        warp_fault(w, in, fault, lane, address);
        return NULL;
    }
    return x.host + (address - x.address) + lane * x.lane_stride;
}

bool warp_gather(struct warp *w, const struct insn *in, uint32_t member)
{
    struct group *g = &w->groups[w->current];

    if (w->resuming) {
        w->resuming = false;
        return true;
    }
    if (!(member & w->live & ~w->mask))
        return true;
    g->state = GROUP_SYNC;
    g->member = member;
    warp_stop(w, STOP_WAIT, in);
    return false;
}

struct frame *warp_frame(struct warp *w, const struct ptx_function *f, struct frame *caller)
{
    struct frame **at = &w->free_frames, *frame;
    uint32_t local = caller ? caller->local + caller->function->local_bytes : 0;

    if ((caller && caller->depth + 1 >= MAX_DEPTH) || local > w->local_stride ||
        f->local_bytes > w->local_stride - local)
        return NULL;
    while ((frame = *at) && frame->function != f)
        at = &frame->next_free;
    if (frame) {
        *at = frame->next_free;
    } else {
        size_t bytes = (f->slots + 63) / 64 * 64;

        if (bytes > MAX_FRAMES - w->frame_bytes)
            return NULL;
        frame = calloc(1, sizeof(*frame));
        if (!frame)
            return NULL;
        frame->slots = aligned_alloc(64, bytes ? bytes : 64);
        if (!frame->slots) {
            free(frame);
            return NULL;
        }
        memset(frame->slots, 0, bytes);
        for (uint32_t i = 0; i < f->constant_count; i++) {
            const struct ptx_constant *k = &f->constants[i];

            for (unsigned n = 0; n < LANES; n++)
                if (k->wide)
                    ((uint64_t *)(void *)(frame->slots + k->slot))[n] = k->value;
                else
                    ((uint32_t *)(void *)(frame->slots + k->slot))[n] = (uint32_t)k->value;
        }
        frame->function = f;
        w->frame_bytes += bytes + sizeof(*frame);
    }
    frame->caller = caller;
    frame->next_free = NULL;
    frame->depth = caller ? caller->depth + 1 : 0;
    frame->local = local;
    frame->lanes = caller ? w->mask : w->all;
    return frame;
}

void warp_leave(struct warp *w, struct frame *frame, uint32_t lanes)
{
    frame->lanes &= ~lanes;
    if (frame->lanes || !frame->caller)
        return;
    frame->next_free = w->free_frames;
    w->free_frames = frame;
}

int warp_start(struct warp *w, struct block *b, uint32_t index)
{
    struct launch *l = b->launch;
    uint32_t threads = l->threads - index * LANES;
    const uint32_t *size = l->request->block;

    w->block = b;
    w->launch = l;
    w->index = index;
    w->views = b->views;
    w->all = w->live = threads >= LANES ? ALL_LANES : (1u << threads) - 1;
    /* The memory of a block is used for one after the other: the threads are the same. */
    for (unsigned i = 0; i < LANES && !w->root; i++) {
        uint32_t at = index * LANES + i;

        w->tid[0][i] = at % size[0];
        w->tid[1][i] = at / size[0] % size[1];
        w->tid[2][i] = at / size[0] / size[1];
    }
    w->shared = b->shared;
    w->shared_bytes = l->shared_bytes;
    w->local = w->local_memory;
    if (!w->root)
        w->root = warp_frame(w, l->kernel, NULL);
    if (!w->root)
        return -1;
    w->root->lanes = w->all;
    w->group_count = 1;
    w->groups[0] = (struct group){.mask = w->all, .frame = w->root, .pc = l->kernel->insns};
    w->fair = w->resuming = false;
    return 0;
}

void warp_finish(struct warp *w)
{
    struct frame *f;

    /* A launch that was stopped leaves groups in frames of calls. */
    for (uint32_t i = 0; i < w->group_count; i++)
        for (f = w->groups[i].frame; f; f = f->caller)
            warp_leave(w, f, f->caller ? w->groups[i].mask : 0);
    w->group_count = 0;
    while ((f = w->free_frames)) {
        w->free_frames = f->next_free;
        free(f->slots);
        free(f);
    }
    if (w->root) {
        free(w->root->slots);
        free(w->root);
    }
    w->root = NULL;
    w->frame_bytes = 0;
}

/* Whether two groups at the same place are one. What waits for different things is not. */
static bool alike(const struct group *a, const struct group *b)
{
    if (a->pc != b->pc || a->frame != b->frame || a->state != b->state)
        return false;
    switch (a->state) {
    case GROUP_READY:
        return true;
    case GROUP_SYNC:
        return a->member == b->member;
    case GROUP_BARRIER:
        return a->barrier == b->barrier;
    default:
        /* Others were parted to run on their own. */
        return (a->pc->fn == sync_barrier && a->barrier == b->barrier) ||
               (a->pc->fn == sync_warp && a->member == b->member);
    }
}

static void merge(struct warp *w)
{
    for (uint32_t i = 0; i < w->group_count; i++) {
        struct group *a = &w->groups[i];

        for (uint32_t n = i + 1; n < w->group_count;) {
            struct group *b = &w->groups[n];

            if (alike(a, b)) {
                a->mask |= b->mask;
                *b = w->groups[--w->group_count];
            } else {
                n++;
            }
        }
    }
}

static bool is_warp_barrier(const struct group *g)
{
    return g->pc->fn == sync_warp;
}

/* Groups whose mask is complete go on; those of bar.warp.sync need not be at the same place. */
static void release(struct warp *w)
{
    for (uint32_t i = 0; i < w->group_count; i++) {
        struct group *g = &w->groups[i];
        uint32_t have = 0;

        if (g->state != GROUP_SYNC)
            continue;
        for (uint32_t n = 0; n < w->group_count; n++) {
            const struct group *o = &w->groups[n];

            if (o == g || (o->state == GROUP_SYNC && o->member == g->member && is_warp_barrier(o) &&
                           is_warp_barrier(g)))
                have |= o->mask;
        }
        if (g->member & w->live & ~have)
            continue;
        for (uint32_t n = 0; n < w->group_count; n++) {
            struct group *o = &w->groups[n];

            if (o == g || (o->state == GROUP_SYNC && o->member == g->member && is_warp_barrier(o) &&
                           is_warp_barrier(g)))
                o->state = GROUP_RELEASED;
        }
    }
}

static struct group *pick(struct warp *w)
{
    struct group *best = NULL;

    for (uint32_t i = 0; i < w->group_count; i++) {
        struct group *g = &w->groups[i];
        bool better;

        if (g->state != GROUP_READY && g->state != GROUP_RELEASED)
            continue;
        if (!best)
            better = true;
        else if (w->fair)
            better = g->ran < best->ran;
        else if (g->frame->depth != best->frame->depth)
            better = g->frame->depth > best->frame->depth;
        else
            better = g->pc < best->pc;
        if (better)
            best = g;
    }
    return best;
}

enum stop warp_run(struct warp *w)
{
    for (;;) {
        const struct insn *in, *limit = NULL;
        struct group *g;

        if (w->group_count == 1 && w->groups[0].state != GROUP_SYNC) {
            g = &w->groups[0];
            if (g->state == GROUP_BARRIER)
                return STOP_WAIT;
        } else {
            if (w->group_count > 1)
                merge(w);
            release(w);
            g = pick(w);
        }
        if (!g)
            return w->group_count ? STOP_WAIT : STOP_EXIT;
        for (uint32_t i = 0; i < w->group_count && w->group_count > 1; i++) {
            const struct group *o = &w->groups[i];

            if (o != g && o->frame == g->frame && o->pc > g->pc && (!limit || o->pc < limit))
                limit = o->pc;
        }
        w->current = (uint32_t)(g - w->groups);
        if (w->mask != g->mask)
            warp_set_mask(w, g->mask);
        w->frame = g->frame;
        w->slots = g->frame->slots;
        w->resuming = g->state == GROUP_RELEASED;
        g->state = GROUP_READY;
        g->ran = ++w->turn;
        w->stop = STOP_NONE;
        in = g->pc;
        if (!limit) {
            while (in)
                in = in->fn(w, in);
        } else {
            const struct frame *frame = w->frame;

            /* The first instruction runs in any case. */
            in = in->fn(w, in);
            while (in && (in < limit || w->frame != frame))
                in = in->fn(w, in);
            if (in)
                warp_stop(w, STOP_SPLIT, in);
        }
        g = &w->groups[w->current];
        g->pc = w->pc;
        g->frame = w->frame;
        switch (w->stop) {
        case STOP_EXIT:
            w->live &= ~w->mask;
            w->block->live -= (uint32_t)__builtin_popcount(w->mask);
            *g = w->groups[--w->group_count];
            for (uint32_t i = 0; i < BARRIERS; i++)
                if (w->block->barriers[i].warps)
                    block_barrier_check(w->block, i);
            break;
        case STOP_YIELD:
            w->fair = !w->fair && w->group_count > 1;
            return STOP_YIELD;
        case STOP_FAULT:
            return STOP_FAULT;
        default:
            w->fair = false;
            break;
        }
    }
}
