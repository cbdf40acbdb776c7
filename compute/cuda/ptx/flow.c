/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "flow.h"
#include "view.h"

/* Branches, calls, and what tells a thread who it is. */

/* One value for all lanes that run. */
static void put32(struct warp *w, uint32_t slot, uint32_t value)
{
    uint32_t *d = __builtin_assume_aligned(SLOT(w, slot), 64);
    const uint32_t *m = w->lanes;

    for (unsigned i = 0; i < LANES; i++)
        d[i] = (d[i] & ~m[i]) | (value & m[i]);
}

static void put64(struct warp *w, uint32_t slot, uint64_t value)
{
    uint64_t *d = __builtin_assume_aligned(SLOT(w, slot), 64);
    const uint32_t *m = w->lanes;

    if (w->full) {
        for (unsigned i = 0; i < LANES; i++)
            d[i] = value;
        return;
    }
    for (unsigned i = 0; i < LANES; i++)
        d[i] = m[i] ? value : d[i];
}

HANDLER(flow_guard)
{
    uint32_t bits = slot_bits((const uint32_t *)(const void *)SLOT(w, in->a));
    uint32_t mask = w->mask;
    const struct insn *next;

    bits = (in->flags & F_UNLESS ? ~bits : bits) & mask;
    if (!bits)
        return in + 2;
    if (bits == mask)
        return in + 1;
    warp_set_mask(w, bits);
    next = (in + 1)->fn(w, in + 1);
    warp_set_mask(w, mask);
    return next;
}

static inline const struct insn *jump(struct warp *w, const struct insn *in,
                                      const struct insn *target)
{
    if (target <= in) {
        w->fuel -= in - target + 1;
        if (w->fuel < 0)
            return warp_stop(w, STOP_YIELD, target);
    }
    return target;
}

HANDLER(flow_branch)
{
    return jump(w, in, in->target);
}

HANDLER(flow_branch_if)
{
    uint32_t bits = slot_bits((const uint32_t *)(const void *)SLOT(w, in->a));

    bits = (in->flags & F_UNLESS ? ~bits : bits) & w->mask;
    if (bits == w->mask)
        return jump(w, in, in->target);
    if (!bits)
        return in + 1;
    return warp_branch(w, bits, in->target, in + 1);
}

/* Plain instructions from one to another, with some lanes. */
static bool body(struct warp *w, uint32_t mask, const struct insn *from, const struct insn *to)
{
    warp_set_mask(w, mask);
    while (from && from < to)
        from = from->fn(w, from);
    return from;
}

HANDLER(flow_skip)
{
    uint32_t bits = slot_bits((const uint32_t *)(const void *)SLOT(w, in->a)), mask = w->mask;

    bits = (in->flags & F_UNLESS ? ~bits : bits) & mask;
    if (bits == mask)
        return in->target;
    if (!bits)
        return in + 1;
    if (!body(w, mask & ~bits, in + 1, in->target))
        return NULL;
    warp_set_mask(w, mask);
    return in->target;
}

HANDLER(flow_either)
{
    uint32_t bits = slot_bits((const uint32_t *)(const void *)SLOT(w, in->a)), mask = w->mask;
    const struct insn *over = in->target - 1;

    bits = (in->flags & F_UNLESS ? ~bits : bits) & mask;
    if (bits == mask)
        return in->target;
    if (!bits)
        return in + 1;
    if (!body(w, mask & ~bits, in + 1, over) || !body(w, bits, in->target, over->target))
        return NULL;
    warp_set_mask(w, mask);
    return over->target;
}

HANDLER(flow_switch)
{
    const uint32_t *index = (const uint32_t *)(const void *)SLOT(w, in->a);
    const struct targets *targets = in->data;
    uint32_t first = (uint32_t)__builtin_ctz(w->mask), same = 0;

    if (index[first] >= targets->count)
        return warp_fault(w, in, PTX_FAULT_INSTRUCTION, first, 0);
    for (unsigned i = 0; i < LANES; i++)
        same |= (uint32_t)(index[i] == index[first]) << i;
    same &= w->mask;
    if (same == w->mask)
        return jump(w, in, targets->at[index[first]]);
    return warp_branch(w, same, targets->at[index[first]], in);
}

static uint8_t *local_at(struct warp *w, unsigned lane, uint32_t offset)
{
    return w->local + lane * w->local_stride + offset;
}

/* From one argument of a call to the other, either of which may be a register. */
static void copy_argument(struct warp *w, const struct frame *from, const struct ptx_argument *a,
                          const struct frame *to, const struct ptx_argument *b)
{
    uint32_t size = a->size < b->size ? a->size : b->size;

    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        const uint8_t *source = a->slot == NO_SLOT ? local_at(w, i, from->local + a->offset)
                                                   : from->slots + a->slot + i * a->size;
        uint8_t *target = b->slot == NO_SLOT ? local_at(w, i, to->local + b->offset)
                                             : to->slots + b->slot + i * b->size;

        memcpy(target, source, size);
    }
}

static const struct insn *call_builtin(struct warp *w, const struct insn *in,
                                       const struct call *call, const struct ptx_function *callee)
{
    uint8_t *arguments[8][LANES];
    uint8_t *result[LANES] = {NULL};

    if (call->in_count != callee->in_count || call->in_count > 8 || call->out_count > 1)
        return warp_fault(w, in, PTX_FAULT_INSTRUCTION, (uint32_t)__builtin_ctz(w->mask), 0);
    for (uint32_t n = 0; n < call->in_count; n++) {
        if (call->in[n].slot != NO_SLOT || call->in[n].size < callee->in[n].size)
            return warp_fault(w, in, PTX_FAULT_INSTRUCTION, (uint32_t)__builtin_ctz(w->mask), 0);
        for (unsigned i = 0; i < LANES; i++)
            arguments[n][i] = local_at(w, i, w->frame->local + call->in[n].offset);
    }
    if (call->out_count && call->out[0].size) {
        if (call->out[0].slot != NO_SLOT || call->out[0].size < 4 ||
            (callee->out_count && call->out[0].size < callee->out[0].size))
            return warp_fault(w, in, PTX_FAULT_INSTRUCTION, (uint32_t)__builtin_ctz(w->mask), 0);
        for (unsigned i = 0; i < LANES; i++)
            result[i] = local_at(w, i, w->frame->local + call->out[0].offset);
    }
    if (builtin_run(w, in, callee, arguments, result))
        return NULL;
    return in + 1;
}

HANDLER(flow_call)
{
    const struct call *call = in->data;
    struct ptx_function *callee = call->callee;
    uint32_t first = (uint32_t)__builtin_ctz(w->mask);
    struct frame *frame;

    w->fuel -= 8;
    if (w->fuel < 0)
        return warp_stop(w, STOP_YIELD, in);
    if (!callee) {
        const struct ptx_module *m = w->frame->function->module;
        const uint64_t *address = (const uint64_t *)(const void *)SLOT(w, in->a);
        uint64_t index = (address[first] - FUNCTION_BASE) / FUNCTION_STRIDE;
        uint32_t same = 0;

        if (address[first] < FUNCTION_BASE || address[first] % FUNCTION_STRIDE ||
            index >= m->function_count)
            return warp_fault(w, in, PTX_FAULT_ADDRESS, first, address[first]);
        callee = m->functions[index];
        for (unsigned i = 0; i < LANES; i++)
            same |= (uint32_t)(address[i] == address[first]) << i;
        same &= w->mask;
        if (same != w->mask) {
            warp_branch(w, same, in, in);
            /* Both are here: were they one group again, they would part for ever. */
            w->groups[w->current].state = GROUP_RELEASED;
            return NULL;
        }
        w->resuming = false;
    }
    if (callee->builtin)
        return call_builtin(w, in, call, callee);
    if (!callee->defined || callee->kernel)
        return warp_fault(w, in, PTX_FAULT_TRAP, first, 0);
    if (call->in_count != callee->in_count || call->out_count > callee->out_count)
        return warp_fault(w, in, PTX_FAULT_INSTRUCTION, first, 0);
    frame = warp_frame(w, callee, w->frame);
    if (!frame)
        return warp_fault(w, in, PTX_FAULT_STACK, first, 0);
    frame->call = call;
    frame->back = in + 1;
    for (uint32_t n = 0; n < call->in_count; n++)
        copy_argument(w, w->frame, &call->in[n], frame, &callee->in[n]);
    w->frame = frame;
    w->slots = frame->slots;
    if (w->group_count > 1)
        return warp_stop(w, STOP_SPLIT, callee->insns);
    return callee->insns;
}

HANDLER(flow_return)
{
    struct frame *frame = w->frame, *caller = frame->caller;
    const struct insn *back = frame->back;

    if (!caller)
        return flow_exit(w, in);
    for (uint32_t n = 0; n < frame->call->out_count; n++)
        copy_argument(w, frame, &frame->function->out[n], caller, &frame->call->out[n]);
    w->frame = caller;
    w->slots = caller->slots;
    warp_leave(w, frame, w->mask);
    if (w->group_count > 1)
        return warp_stop(w, STOP_SPLIT, back);
    return back;
}

HANDLER(flow_exit)
{
    for (struct frame *f = w->frame, *next; f; f = next) {
        next = f->caller;
        warp_leave(w, f, w->mask);
    }
    return warp_stop(w, STOP_EXIT, in);
}

HANDLER(flow_trap)
{
    return warp_fault(w, in, PTX_FAULT_TRAP, (uint32_t)__builtin_ctz(w->mask), 0);
}

HANDLER(flow_nothing)
{
    (void)w;
    return in + 1;
}

HANDLER(flow_fence)
{
    (void)w;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return in + 1;
}

HANDLER(flow_spin)
{
    /* Alone there is nobody to give way to but other blocks. */
    w->fuel -= w->group_count > 1 || w->block->running > 1 ? 256 : 16;
    return in + 1;
}

static uint64_t special_value(const struct warp *w, uint32_t which, unsigned lane)
{
    const struct block *b = w->block;
    const struct ptx_launch *l = w->launch->request;
    uint32_t bit = 1u << lane;

    switch (which) {
    case SPECIAL_TID_X:
    case SPECIAL_TID_Y:
    case SPECIAL_TID_Z:
        return w->tid[which - SPECIAL_TID_X][lane];
    case SPECIAL_NTID_X:
    case SPECIAL_NTID_Y:
    case SPECIAL_NTID_Z:
        return l->block[which - SPECIAL_NTID_X];
    case SPECIAL_CTAID_X:
    case SPECIAL_CTAID_Y:
    case SPECIAL_CTAID_Z:
        return b->id[which - SPECIAL_CTAID_X];
    case SPECIAL_NCTAID_X:
    case SPECIAL_NCTAID_Y:
    case SPECIAL_NCTAID_Z:
        return l->grid[which - SPECIAL_NCTAID_X];
    case SPECIAL_LANEID:
        return lane;
    case SPECIAL_WARPID:
        return w->index;
    case SPECIAL_NWARPID:
        return b->warp_count;
    case SPECIAL_NSMID:
        return w->launch->context->thread_count + 1;
    case SPECIAL_SMID:
        return b->thread;
    case SPECIAL_GRIDID:
        return w->launch->identity;
    case SPECIAL_LANEMASK_EQ:
        return bit;
    case SPECIAL_LANEMASK_LE:
        return bit | (bit - 1);
    case SPECIAL_LANEMASK_LT:
        return bit - 1;
    case SPECIAL_LANEMASK_GE:
        return ~(bit - 1);
    case SPECIAL_LANEMASK_GT:
        return ~(bit | (bit - 1));
    case SPECIAL_CLOCK:
    case SPECIAL_CLOCK64:
    case SPECIAL_TIMER:
    case SPECIAL_TIMER_LO:
        return launch_now();
    case SPECIAL_CLOCK_HI:
    case SPECIAL_TIMER_HI:
        return launch_now() >> 32;
    case SPECIAL_SHARED:
        return w->launch->shared_own;
    case SPECIAL_DYNAMIC:
        return l->shared_bytes;
    case SPECIAL_RESERVED:
        return w->launch->shared_reserved;
    case SPECIAL_RESERVED_1:
        return w->launch->shared_reserved + RESERVED_SHARED / 2;
    case SPECIAL_RESERVED_END:
        return w->launch->shared_reserved + RESERVED_SHARED;
    case SPECIAL_RESERVED_CAP:
        return RESERVED_SHARED;
    case SPECIAL_ENVREG0 + 1:
        return w->launch->environment >> 32;
    case SPECIAL_ENVREG0 + 2:
        return w->launch->environment;
    default:
        return 0;
    }
}

/* b: 1 for a result of 64 bits */
HANDLER(flow_special)
{
    uint32_t which = (uint32_t)in->imm;
    bool same = which > SPECIAL_TID_Z && which != SPECIAL_LANEID &&
                (which < SPECIAL_LANEMASK_EQ || which > SPECIAL_LANEMASK_GT);
    uint64_t value = same ? special_value(w, which, 0) : 0;

    if (same && in->b) {
        put64(w, in->d, value);
    } else if (same) {
        put32(w, in->d, (uint32_t)value);
    } else if (which <= SPECIAL_TID_Z && !in->b && w->full) {
        memcpy(SLOT(w, in->d), w->tid[which], SLOT32);
    } else {
        for (unsigned i = 0; i < LANES; i++) {
            uint64_t v;

            if (!(w->mask >> i & 1))
                continue;
            v = special_value(w, which, i);
            if (in->b)
                ((uint64_t *)(void *)SLOT(w, in->d))[i] = v;
            else
                ((uint32_t *)(void *)SLOT(w, in->d))[i] = (uint32_t)v;
        }
    }
    return in + 1;
}

HANDLER(flow_parameter)
{
    const uint8_t *from = w->launch->parameters + in->imm;
    uint64_t wide;
    uint32_t word;
    uint16_t half;

    if (in->e == 64) {
        memcpy(&wide, from, sizeof(wide));
        put64(w, in->d, wide);
        return in + 1;
    }
    if (in->e == 32) {
        memcpy(&word, from, sizeof(word));
    } else if (in->e == 16) {
        memcpy(&half, from, sizeof(half));
        word = in->f ? (uint32_t)(int16_t)half : half;
    } else {
        word = in->f ? (uint32_t)(int8_t)*from : *from;
    }
    put32(w, in->d, word);
    return in + 1;
}

HANDLER(flow_shared_address)
{
    put64(w, in->d, w->launch->kernel->shared_at[in->imm]);
    return in + 1;
}

HANDLER(flow_local_address)
{
    put64(w, in->d, w->frame->local + in->bits);
    return in + 1;
}

HANDLER(flow_is_space)
{
    uint32_t *d = (uint32_t *)(void *)SLOT(w, in->d);
    const uint64_t *a = (const uint64_t *)(const void *)SLOT(w, in->a);

    for (unsigned i = 0; i < LANES; i++)
        if (w->mask >> i & 1)
            d[i] = view_space(a[i]) == (enum ptx_space)in->imm ? ALL_LANES : 0;
    return in + 1;
}
