/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "flow.h"
#include "select.h"

/* Copies in the background, which are done at once, and barriers in shared memory. */

static const struct {
    const char *name;
    enum mbarrier_op op;
    bool state; /* it gives one */
    uint32_t least, most;
} operations[] = {
    {"init", MBARRIER_INIT, false, 2, 2},        {"inval", MBARRIER_INVAL, false, 1, 1},
    {"expect_tx", MBARRIER_EXPECT, false, 2, 2}, {"complete_tx", MBARRIER_COMPLETE, false, 2, 2},
    {"arrive", MBARRIER_ARRIVE, true, 2, 3},     {"arrive_drop", MBARRIER_DROP, true, 2, 3},
    {"test_wait", MBARRIER_TEST, false, 3, 3},   {"try_wait", MBARRIER_TEST, false, 3, 4},
};

static void emit(struct compile *c, struct statement *s, struct operand *address,
                 enum mbarrier_op op, uint32_t d, uint32_t b)
{
    int space = SPACE_GENERIC;
    struct insn form = {0}, *in;

    for (uint32_t i = 1; i < s->part_count; i++)
        if (!strncmp(s->parts[i], "shared", 6))
            space = SPACE_SHARED;
    select_address(c, s, address, &space, &form);
    in = compile_emit(c, mbarrier_run);
    in->d = d;
    in->a = form.a;
    in->b = b;
    in->imm = form.imm;
    in->flags = form.flags | MBARRIER_FLAGS(op) | (space == SPACE_SHARED ? 0 : MBARRIER_GENERIC);
}

/* mbarrier.arrive{…}.b64 state, [object]{, count} and the like */
void select_mbarrier(struct compile *c, struct statement *s)
{
    struct operand *o = s->operands;
    uint32_t d = NO_SLOT, b = NO_SLOT;
    enum mbarrier_op op;
    size_t at = 0;

    if (s->part_count < 3)
        select_unknown(c, s);
    if (!strcmp(s->parts[1], "pending_count")) {
        struct insn *in;

        select_need(c, s, 2, 2);
        b = select_source(c, s, &o[1], T_u64);
        d = select_target(c, s, &o[0], T_u32);
        in = compile_emit(c, mbarrier_pending);
        in->d = d;
        in->a = b;
        return;
    }
    while (at < sizeof(operations) / sizeof(operations[0]) &&
           strcmp(operations[at].name, s->parts[1]))
        at++;
    if (at == sizeof(operations) / sizeof(operations[0]) || strcmp(select_last(s), "b64"))
        select_unknown(c, s);
    select_need(c, s, operations[at].least, operations[at].most);
    op = operations[at].op;
    c->complex = true;
    if (op == MBARRIER_TEST) {
        bool parity = select_has(s, "parity");

        /* Who waits gives way to those he waits for. */
        compile_emit(c, flow_spin);
        b = select_source(c, s, &o[2], parity ? T_u32 : T_u64);
        d = select_target(c, s, &o[0], T_pred);
        emit(c, s, &o[1], parity ? MBARRIER_PARITY : MBARRIER_TEST, d, b);
        return;
    }
    if (operations[at].state) {
        if (select_has(s, "expect_tx")) {
            if (op != MBARRIER_ARRIVE || s->count != 3)
                select_unknown(c, s);
            op = MBARRIER_ARRIVE_EXPECT;
        }
        d = o[0].kind == OPERAND_SINK ? NO_SLOT : select_target(c, s, &o[0], T_u64);
        o++;
        s->count--;
    }
    if (s->count == 2)
        b = select_source(c, s, &o[1], T_u32);
    emit(c, s, &o[0], op, d, b);
}

/* cp.async.mbarrier.arrive{.noinc}: all copies are done. Without .noinc what arrives is what was
 * added for it. */
static void copies_arrive(struct compile *c, struct statement *s)
{
    select_need(c, s, 1, 1);
    if (select_has(s, "noinc"))
        emit(c, s, &s->operands[0], MBARRIER_ARRIVE, NO_SLOT, NO_SLOT);
    else
        select_nothing(c, s);
    c->complex = true;
}

/* Caches are not modelled: a policy is a word nobody reads. */
void select_policy(struct compile *c, struct statement *s)
{
    select_need(c, s, 1, 5);
    select_emit(c, ALU_mov_b64, select_target(c, s, &s->operands[0], T_u64),
                compile_constant(c, 0, true), 0);
}

void select_elect(struct compile *c, struct statement *s)
{
    struct operand *o = s->operands;
    uint32_t d, p, members;
    struct insn *in;

    select_need(c, s, 2, 2);
    if (!select_has(s, "sync") || !o[0].second)
        select_unknown(c, s);
    members = select_source(c, s, &o[1], T_u32);
    d = select_target(c, s, &o[0], T_u32);
    p = select_target(c, s, o[0].second, T_pred);
    in = compile_emit(c, sync_elect);
    in->d = d;
    in->e = p;
    in->f = members;
    c->complex = true;
}

/* cp.async.{ca,cg}.shared.global [to], [from], size{, bytes}; groups complete at once */
void select_cp(struct compile *c, struct statement *s)
{
    int to_space = SPACE_SHARED, from_space = SPACE_GLOBAL;
    struct insn to = {0}, from = {0}, *in;
    uint32_t size, bytes = NO_SLOT;

    if (s->part_count < 3 || strcmp(s->parts[1], "async") || select_has(s, "bulk"))
        select_unknown(c, s);
    if (!strcmp(s->parts[2], "mbarrier")) {
        copies_arrive(c, s);
        return;
    }
    if (select_has(s, "commit_group") || select_has(s, "wait_group") || select_has(s, "wait_all")) {
        select_nothing(c, s);
        return;
    }
    select_need(c, s, 3, 5);
    select_address(c, s, &s->operands[0], &to_space, &to);
    select_address(c, s, &s->operands[1], &from_space, &from);
    size = (uint32_t)s->operands[2].value;
    if (s->operands[2].kind != OPERAND_INT || (size != 4 && size != 8 && size != 16) ||
        from.flags & F_ADDRESS32 || to.imm != (int32_t)to.imm || from.imm != (int32_t)from.imm)
        select_mismatch(c, s);
    if (s->count > 3 && (s->operands[3].kind == OPERAND_INT || s->operands[3].bits == 32))
        bytes = select_source(c, s, &s->operands[3], T_u32);
    in = compile_emit(c, copy_async);
    in->d = to.a;
    in->a = from.a;
    in->b = bytes;
    in->e = size;
    in->flags = to.flags;
    in->imm = (int64_t)((uint64_t)to.imm << 32 | (uint32_t)from.imm);
}
