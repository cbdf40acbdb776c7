/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "compile.h"
#include "flow.h"
#include "source.h"

/*
 * Short branches: `if` and `if … else` whose bodies are instructions that only go on to the next.
 * Where lanes part at one, the bodies run one after the other with fewer lanes, and all go on
 * behind: what groups would do (see warp.c), without making them.
 */

#define LONGEST 128u /* instructions of both bodies */
#define SET     4096u

/* Handlers that go on to the next instruction, or fail. */
struct set {
    ptx_handler handlers[SET];
};

static uint32_t place(ptx_handler fn)
{
    return (uint32_t)((uintptr_t)fn >> 4) * 2654435761u >> 20 & (SET - 1);
}

static void add(struct set *set, ptx_handler fn)
{
    uint32_t at = place(fn);

    while (set->handlers[at] && set->handlers[at] != fn)
        at = (at + 1) & (SET - 1);
    set->handlers[at] = fn;
}

static bool has(const struct set *set, ptx_handler fn)
{
    uint32_t at = place(fn);

    while (set->handlers[at] && set->handlers[at] != fn)
        at = (at + 1) & (SET - 1);
    return set->handlers[at];
}

static void fill(struct set *set, const struct isa *isa)
{
    static const ptx_handler others[] = {
        atom_run,      copy_async,          flow_fence,         flow_guard,     flow_is_space,
        flow_nothing,  flow_parameter,      flow_special,       flow_skip,      flow_either,
        flow_spin,     flow_shared_address, flow_local_address, texture_fetch,  texture_gather,
        texture_query, surface_load,        surface_store,      surface_reduce,
    };

    _Static_assert(ALU_COUNT + MEM_COUNT < SET / 2, "the set is to have room");
    for (size_t i = 0; i < ALU_COUNT; i++)
        add(set, isa->alu[i]);
    for (size_t i = 0; i < MEM_COUNT; i++)
        add(set, isa->mem[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        add(set, others[i]);
}

/* Which instructions jump to one: the first and the last of them. */
struct sources {
    uint32_t low, high;
};

static void came(struct sources *s, uint64_t target, uint32_t from)
{
    if (s[target].low > from)
        s[target].low = from;
    if (s[target].high < from)
        s[target].high = from;
}

/* Whether what is in [from, to) only goes on, and nobody outside of it jumps in. */
static bool is_plain(const struct ptx_function *f, const struct set *set, const struct sources *s,
                     uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        const struct insn *in = &f->insns[i];

        if (!has(set, in->fn) || (i > from && (s[i].low < from || s[i].high >= to)))
            return false;
        /* A guard runs the next one itself. */
        if (in->fn == flow_guard && i + 1 == to)
            return false;
        if (in->fn == flow_skip && in->bits > to)
            return false;
        if (in->fn == flow_either && f->insns[in->bits - 1].bits > to)
            return false;
        /* The jump over its second body. */
        if (in->fn == flow_either)
            i = (uint32_t)f->insns[in->bits - 1].bits - 1;
    }
    return true;
}

static void look(struct ptx_function *f, const struct set *set, const struct sources *s, uint32_t i)
{
    struct insn *in = &f->insns[i];
    uint64_t target = in->bits, end;

    if (target <= i + 1 || target > i + LONGEST)
        return;
    /* A label right behind the branch is no body's alone. */
    if (s[i + 1].low != UINT32_MAX)
        return;
    if (is_plain(f, set, s, i + 1, (uint32_t)target)) {
        in->fn = flow_skip;
        return;
    }
    end = f->insns[target - 1].bits;
    if (f->insns[target - 1].fn != flow_branch || end <= target || end > i + LONGEST ||
        s[target - 1].low != UINT32_MAX || s[target].low != i || s[target].high != i)
        return;
    if (is_plain(f, set, s, i + 1, (uint32_t)target - 1) &&
        is_plain(f, set, s, (uint32_t)target, (uint32_t)end))
        in->fn = flow_either;
}

void skip_branches(struct compile *c, struct ptx_function *f)
{
    const struct ptx_module *m = c->module;
    struct sources *s = malloc((f->insn_count + 1) * sizeof(*s));
    struct set *set = calloc(1, sizeof(*set));

    if (!s || !set) {
        free(s);
        free(set);
        compile_memory(c);
    }
    fill(set, c->isa);
    for (uint32_t i = 0; i <= f->insn_count; i++)
        s[i] = (struct sources){UINT32_MAX, 0};
    for (uint32_t i = 0; i < f->insn_count; i++)
        if (f->insns[i].fn == flow_branch || f->insns[i].fn == flow_branch_if)
            came(s, f->insns[i].bits, i);
    /* From anywhere: these are never inside of a body. */
    for (uint32_t t = 0; t < m->target_count; t++)
        for (uint32_t i = 0; i < m->targets[t]->count; i++)
            if ((uintptr_t)m->targets[t]->at[i] <= MAX_INSNS) {
                came(s, (uintptr_t)m->targets[t]->at[i], 0);
                came(s, (uintptr_t)m->targets[t]->at[i], UINT32_MAX - 1);
            }
    /* Inner ones begin later. */
    for (uint32_t i = f->insn_count; i-- > 0;)
        if (f->insns[i].fn == flow_branch_if)
            look(f, set, s, i);
    free(s);
    free(set);
}
