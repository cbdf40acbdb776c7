/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "select.h"

/* Branches and calls, barriers, what lanes of a warp do together. */

void select_bra(struct compile *c, struct statement *s)
{
    struct insn *in;

    select_need(c, s, 1, 1);
    if (s->operands[0].kind != OPERAND_NAME && !(s->operands[0].kind == OPERAND_SYMBOL))
        select_mismatch(c, s);
    in = compile_emit(c, s->guarded ? flow_branch_if : flow_branch);
    in->a = s->guard;
    in->flags = s->unless ? F_UNLESS : 0;
    compile_label(c, &s->operands[0].token, c->function->insn_count - 1, NULL, 0);
}

void select_brx(struct compile *c, struct statement *s)
{
    struct insn *in;
    uint32_t a;

    select_need(c, s, 2, 2);
    if (s->operands[1].kind != OPERAND_SYMBOL || s->operands[1].symbol->kind != SYMBOL_TARGETS)
        select_mismatch(c, s);
    a = select_source(c, s, &s->operands[0], T_u32);
    in = compile_emit(c, flow_switch);
    in->a = a;
    in->data = s->operands[1].symbol->targets;
    c->complex = true;
}

static void plain(struct compile *c, ptx_handler fn, bool complex)
{
    compile_emit(c, fn);
    c->complex |= complex;
}

void select_flow(struct compile *c, struct statement *s)
{
    const char *name = s->parts[0];

    if (!strcmp(name, "call"))
        compile_call(c, s);
    else if (!strcmp(name, "ret"))
        compile_emit(c, flow_return);
    else if (!strcmp(name, "exit"))
        compile_emit(c, flow_exit);
    else
        compile_emit(c, flow_trap);
    c->complex = true;
}

/* What needs no doing here: hints, and waits for what is done at once. */
void select_nothing(struct compile *c, struct statement *s)
{
    (void)s;
    plain(c, flow_nothing, false);
}

void select_fence(struct compile *c, struct statement *s)
{
    (void)s;
    plain(c, flow_fence, false);
}

void select_sleep(struct compile *c, struct statement *s)
{
    (void)s;
    plain(c, flow_spin, true);
}

void select_bar(struct compile *c, struct statement *s)
{
    uint32_t d = select_trash(c), a, b = NO_SLOT, predicate = 0, next = 0;
    int mode = select_has(s, "sync") ? BARRIER_SYNC : select_has(s, "arrive") ? BARRIER_ARRIVE : -1;
    struct insn *in;

    c->complex = true;
    if (select_has(s, "warp")) {
        select_need(c, s, 1, 1);
        a = select_source(c, s, &s->operands[0], T_u32);
        in = compile_emit(c, sync_warp);
        in->a = a;
        return;
    }
    if (select_has(s, "cluster"))
        select_unknown(c, s);
    if (select_has(s, "red"))
        mode = select_has(s, "popc")  ? BARRIER_POPC
               : select_has(s, "and") ? BARRIER_AND
               : select_has(s, "or")  ? BARRIER_OR
                                      : -1;
    if (mode < 0)
        select_unknown(c, s);
    if (mode >= BARRIER_POPC) {
        select_need(c, s, 3, 4);
        d = select_target(c, s, &s->operands[next++], mode == BARRIER_POPC ? T_u32 : T_pred);
        predicate = select_source(c, s, &s->operands[s->count - 1], T_pred);
    } else {
        select_need(c, s, 1, 2);
    }
    a = select_source(c, s, &s->operands[next++], T_u32);
    if (next < s->count - (mode >= BARRIER_POPC ? 1u : 0u))
        b = select_source(c, s, &s->operands[next], T_u32);
    in = compile_emit(c, sync_barrier);
    in->d = d;
    in->a = a;
    in->b = b;
    in->c = predicate;
    in->imm = mode;
}

void select_shfl(struct compile *c, struct statement *s)
{
    bool sync = select_has(s, "sync");
    struct operand *o = s->operands;
    uint32_t d, p = NO_SLOT, a, b, clamp, members = NO_SLOT;
    int mode = select_has(s, "up")     ? SHUFFLE_UP
               : select_has(s, "down") ? SHUFFLE_DOWN
               : select_has(s, "bfly") ? SHUFFLE_XOR
               : select_has(s, "idx")  ? SHUFFLE_IDX
                                       : -1;
    struct insn *in;

    if (mode < 0 || strcmp(select_last(s), "b32"))
        select_unknown(c, s);
    select_need(c, s, sync ? 5 : 4, sync ? 5 : 4);
    d = select_target(c, s, &o[0], T_u32);
    if (o[0].second)
        p = select_target(c, s, o[0].second, T_pred);
    a = select_source(c, s, &o[1], T_u32);
    b = select_source(c, s, &o[2], T_u32);
    clamp = select_source(c, s, &o[3], T_u32);
    if (sync)
        members = select_source(c, s, &o[4], T_u32);
    in = compile_emit(c, sync_shuffle);
    in->d = d;
    in->e = p;
    in->a = a;
    in->b = b;
    in->c = clamp;
    in->f = members;
    in->imm = mode;
    c->complex = true;
}

void select_vote(struct compile *c, struct statement *s)
{
    bool sync = select_has(s, "sync");
    int mode = select_has(s, "all")      ? VOTE_ALL
               : select_has(s, "any")    ? VOTE_ANY
               : select_has(s, "uni")    ? VOTE_UNI
               : select_has(s, "ballot") ? VOTE_BALLOT
                                         : -1;
    uint32_t d, a, members = NO_SLOT;
    struct insn *in;

    if (mode < 0)
        select_unknown(c, s);
    select_need(c, s, sync ? 3 : 2, sync ? 3 : 2);
    d = select_target(c, s, &s->operands[0], mode == VOTE_BALLOT ? T_u32 : T_pred);
    a = select_source(c, s, &s->operands[1], T_pred);
    if (sync)
        members = select_source(c, s, &s->operands[2], T_u32);
    in = compile_emit(c, sync_vote);
    in->d = d;
    in->a = a;
    in->f = members;
    in->imm = mode;
    c->complex = true;
}

void select_match(struct compile *c, struct statement *s)
{
    bool all = select_has(s, "all"), wide = !strcmp(select_last(s), "b64");
    uint32_t d, p = NO_SLOT, a, members;
    struct insn *in;

    if ((!all && !select_has(s, "any")) || (!wide && strcmp(select_last(s), "b32")))
        select_unknown(c, s);
    select_need(c, s, 3, 3);
    d = select_target(c, s, &s->operands[0], T_u32);
    if (s->operands[0].second)
        p = select_target(c, s, s->operands[0].second, T_pred);
    a = select_source(c, s, &s->operands[1], wide ? T_u64 : T_u32);
    members = select_source(c, s, &s->operands[2], T_u32);
    in = compile_emit(c, sync_match);
    in->d = d;
    in->e = p;
    in->a = a;
    in->f = members;
    in->imm = (all ? MATCH_ALL : 0) | (wide ? MATCH_WIDE : 0);
    c->complex = true;
}

void select_redux(struct compile *c, struct statement *s)
{
    bool is_signed = !strcmp(select_last(s), "s32");
    int op = select_has(s, "add")   ? REDUCE_ADD
             : select_has(s, "min") ? (is_signed ? REDUCE_MIN : REDUCE_UMIN)
             : select_has(s, "max") ? (is_signed ? REDUCE_MAX : REDUCE_UMAX)
             : select_has(s, "and") ? REDUCE_AND
             : select_has(s, "or")  ? REDUCE_OR
             : select_has(s, "xor") ? REDUCE_XOR
                                    : -1;
    uint32_t d, a, members;
    struct insn *in;

    if (op < 0 || strlen(select_last(s)) != 3 || select_last(s)[0] == 'f')
        select_unknown(c, s);
    select_need(c, s, 3, 3);
    d = select_target(c, s, &s->operands[0], T_u32);
    a = select_source(c, s, &s->operands[1], T_u32);
    members = select_source(c, s, &s->operands[2], T_u32);
    in = compile_emit(c, sync_reduce);
    in->d = d;
    in->a = a;
    in->f = members;
    in->imm = op;
    c->complex = true;
}

void select_active(struct compile *c, struct statement *s)
{
    uint32_t d;

    select_need(c, s, 1, 1);
    d = select_target(c, s, &s->operands[0], T_u32);
    compile_emit(c, sync_active)->d = d;
}
