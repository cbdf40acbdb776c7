/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "select.h"

/*
 * From a statement to instructions. Arithmetic is found in the table of alu.def by its name; what
 * only says how to round and the like becomes flags first. The rest has a function each, in the
 * table at the end.
 */

_Noreturn void select_unknown(struct compile *c, const struct statement *s)
{
    compile_fail(c, s->line, "Not a name of any known instruction: '%.80s'", s->name);
}

_Noreturn void select_mismatch(struct compile *c, const struct statement *s)
{
    compile_fail(c, s->line, "Arguments mismatch for instruction '%.32s'", s->parts[0]);
}

static const struct {
    const char *name;
    enum special special;
    bool wide;
} specials[] = {
    {"%tid.x", SPECIAL_TID_X, 0},
    {"%tid.y", SPECIAL_TID_Y, 0},
    {"%tid.z", SPECIAL_TID_Z, 0},
    {"%ntid.x", SPECIAL_NTID_X, 0},
    {"%ntid.y", SPECIAL_NTID_Y, 0},
    {"%ntid.z", SPECIAL_NTID_Z, 0},
    {"%ctaid.x", SPECIAL_CTAID_X, 0},
    {"%ctaid.y", SPECIAL_CTAID_Y, 0},
    {"%ctaid.z", SPECIAL_CTAID_Z, 0},
    {"%nctaid.x", SPECIAL_NCTAID_X, 0},
    {"%nctaid.y", SPECIAL_NCTAID_Y, 0},
    {"%nctaid.z", SPECIAL_NCTAID_Z, 0},
    {"%laneid", SPECIAL_LANEID, 0},
    {"%warpid", SPECIAL_WARPID, 0},
    {"%nwarpid", SPECIAL_NWARPID, 0},
    {"%smid", SPECIAL_SMID, 0},
    {"%nsmid", SPECIAL_NSMID, 0},
    {"%gridid", SPECIAL_GRIDID, 1},
    {"%lanemask_eq", SPECIAL_LANEMASK_EQ, 0},
    {"%lanemask_le", SPECIAL_LANEMASK_LE, 0},
    {"%lanemask_lt", SPECIAL_LANEMASK_LT, 0},
    {"%lanemask_ge", SPECIAL_LANEMASK_GE, 0},
    {"%lanemask_gt", SPECIAL_LANEMASK_GT, 0},
    {"%clock", SPECIAL_CLOCK, 0},
    {"%clock_hi", SPECIAL_CLOCK_HI, 0},
    {"%clock64", SPECIAL_CLOCK64, 1},
    {"%globaltimer", SPECIAL_TIMER, 1},
    {"%globaltimer_lo", SPECIAL_TIMER_LO, 0},
    {"%globaltimer_hi", SPECIAL_TIMER_HI, 0},
    {"%total_smem_size", SPECIAL_SHARED, 0},
    {"%dynamic_smem_size", SPECIAL_DYNAMIC, 0},
    {"%reserved_smem_offset_begin", SPECIAL_RESERVED, 0},
    {"%reserved_smem_offset_0", SPECIAL_RESERVED, 0},
    {"%reserved_smem_offset_1", SPECIAL_RESERVED_1, 0},
    {"%reserved_smem_offset_end", SPECIAL_RESERVED_END, 0},
    {"%reserved_smem_offset_cap", SPECIAL_RESERVED_CAP, 0},
};

bool special_find(const char *name, size_t size, uint32_t *ret_index)
{
    uint32_t number = 0;

    for (uint32_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++)
        if (strlen(specials[i].name) == size && !memcmp(specials[i].name, name, size)) {
            *ret_index = (uint32_t)specials[i].special | (specials[i].wide ? 1u << 16 : 0);
            return true;
        }
    if (size < 8 || size > 9 || memcmp(name, "%envreg", 7))
        return false;
    for (size_t i = 7; i < size; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        number = number * 10 + (uint32_t)(name[i] - '0');
    }
    if (number > 31)
        return false;
    *ret_index = SPECIAL_ENVREG0 + number;
    return true;
}

struct insn *select_emit(struct compile *c, unsigned op, uint32_t d, uint32_t a, uint32_t b)
{
    struct insn *in = compile_emit(c, c->isa->alu[op]);

    in->d = d;
    in->a = a;
    in->b = b;
    return in;
}

static bool is_wide(unsigned type)
{
    return type == T_u64 || type == T_s64 || type == T_f64 || type == T_u64_in || type == T_s64_in;
}

static uint32_t type_bits(unsigned type)
{
    switch (type) {
    case T_pred:
        return 1;
    case T_u16:
    case T_s16:
        return 16;
    case T_u64:
    case T_s64:
    case T_f64:
    case T_u64_in:
    case T_s64_in:
        return 64;
    default:
        return 32;
    }
}

/* What an immediate of the text is in a type. */
static uint64_t immediate(struct compile *c, struct statement *s, const struct operand *o,
                          unsigned type)
{
    uint64_t value = o->value;
    uint32_t narrow = (uint32_t)value;
    double wide;
    float single;

    if (o->kind == OPERAND_INT) {
        if (type == T_pred)
            return value ? ALL_LANES : 0;
        if (type == T_f32 || type == T_f64)
            select_mismatch(c, s);
        value += (uint64_t)o->offset;
        return is_wide(type)                    ? value
               : type == T_u16 || type == T_s16 ? value & 0xffff
                                                : (uint32_t)value;
    }
    if (type == T_pred)
        select_mismatch(c, s);
    if (o->kind == OPERAND_F64) {
        memcpy(&wide, &value, 8);
        if (is_wide(type))
            return value;
        single = (float)wide;
        memcpy(&narrow, &single, 4);
        return narrow;
    }
    if (!is_wide(type))
        return narrow;
    memcpy(&single, &narrow, 4);
    wide = (double)single;
    memcpy(&value, &wide, 8);
    return value;
}

static void use_shared(struct compile *c, uint32_t index)
{
    struct ptx_function *f = c->function;
    uint32_t *grown;

    for (uint32_t i = 0; i < f->shared_use_count; i++)
        if (f->shared_uses[i] == index)
            return;
    grown = realloc(f->shared_uses, (f->shared_use_count + 1) * sizeof(*grown));
    if (!grown)
        compile_memory(c);
    f->shared_uses = grown;
    f->shared_uses[f->shared_use_count++] = index;
}

/* The address of a symbol, 64 bits, in its own space. */
uint32_t select_symbol_address(struct compile *c, struct statement *s, const struct symbol *y,
                               int64_t offset)
{
    struct insn *in;
    uint32_t slot;

    switch (y->kind) {
    case SYMBOL_GLOBAL:
    case SYMBOL_PARAM:
        return compile_constant(c, y->value + (uint64_t)offset, true);
    case SYMBOL_FUNCTION:
        c->function->calls_any = true;
        return compile_constant(c, FUNCTION_BASE + (uint64_t)y->function->index * FUNCTION_STRIDE,
                                true);
    case SYMBOL_SHARED:
        use_shared(c, (uint32_t)y->value);
        slot = compile_slot(c, 64);
        in = compile_emit(c, flow_shared_address);
        in->d = slot;
        in->imm = (int64_t)y->value;
        if (offset)
            select_emit(c, ALU_offset, slot, slot, compile_constant(c, (uint64_t)offset, true));
        return slot;
    case SYMBOL_LOCAL:
        slot = compile_slot(c, 64);
        in = compile_emit(c, flow_local_address);
        in->d = slot;
        in->bits = y->value + (uint64_t)offset;
        return slot;
    default:
        select_mismatch(c, s);
    }
}

static uint32_t special_slot(struct compile *c, uint64_t which, bool wide)
{
    uint32_t slot = compile_slot(c, wide ? 64 : 32);
    struct insn *in = compile_emit(c, flow_special);

    in->d = slot;
    in->imm = (int64_t)(which & 0xffff);
    in->b = wide;
    return slot;
}

uint32_t select_source(struct compile *c, struct statement *s, struct operand *o, unsigned type)
{
    bool relaxed = type >= T_u8_in;
    uint32_t bits = type_bits(type), slot;

    if (o->negated) {
        if (o->kind != OPERAND_REGISTER || o->bits != 1 || type != T_pred)
            select_mismatch(c, s);
        slot = compile_slot(c, 32);
        select_emit(c, ALU_not_pred, slot, o->slot, 0);
        return slot;
    }
    switch (o->kind) {
    case OPERAND_REGISTER:
        if ((o->bits == 1) != (type == T_pred))
            select_mismatch(c, s);
        if (o->offset && o->bits != 1) {
            struct operand sum = *o;

            sum.slot = compile_slot(c, o->bits);
            sum.offset = 0;
            select_emit(c, o->bits == 64 ? ALU_offset : ALU_add_u32, sum.slot, o->slot,
                        compile_constant(c, (uint64_t)o->offset, o->bits == 64));
            return select_source(c, s, &sum, type);
        }
        if ((o->bits == 64) == (bits == 64))
            return o->slot;
        if (o->bits == 64 && relaxed) {
            slot = compile_slot(c, 32);
            select_emit(c, ALU_low32, slot, o->slot, 0);
            return slot;
        }
        select_mismatch(c, s);
    case OPERAND_INT:
    case OPERAND_F32:
    case OPERAND_F64:
        return compile_constant(c, immediate(c, s, o, type), bits == 64);
    case OPERAND_SPECIAL:
        if (type == T_pred)
            select_mismatch(c, s);
        return special_slot(c, o->value, bits == 64);
    case OPERAND_SYMBOL:
        slot = select_symbol_address(c, s, o->symbol, o->offset);
        if (bits != 64) {
            uint32_t narrow = compile_slot(c, 32);

            if (bits != 32)
                select_mismatch(c, s);
            select_emit(c, ALU_low32, narrow, slot, 0);
            return narrow;
        }
        return slot;
    default:
        select_mismatch(c, s);
    }
}

uint32_t select_trash(struct compile *c)
{
    if (c->trash == NO_SLOT)
        c->trash = compile_slot(c, 64);
    return c->trash;
}

uint32_t select_target(struct compile *c, struct statement *s, struct operand *o, unsigned type)
{
    if (o->kind == OPERAND_SINK)
        return select_trash(c);
    if (o->kind != OPERAND_REGISTER || o->negated || (o->bits == 1) != (type == T_pred) ||
        (o->bits == 64) != (type_bits(type) == 64))
        select_mismatch(c, s);
    return o->slot;
}

/*
 * The target of an instruction that may write a wider register: the slot it writes, and then
 * select_finish_wide() once it is emitted.
 */
uint32_t select_wide_target(struct compile *c, struct statement *s, struct operand *o,
                            unsigned type)
{
    if (o->kind == OPERAND_REGISTER && o->bits == 64 && type_bits(type) != 64)
        return compile_slot(c, 32);
    return select_target(c, s, o, type);
}

void select_finish_wide(struct compile *c, struct operand *o, uint32_t slot, bool is_signed)
{
    if (o->kind != OPERAND_REGISTER || o->slot == slot)
        return;
    select_emit(c, is_signed ? ALU_extend32 : ALU_widen, o->slot, slot, 0);
}

bool select_has(const struct statement *s, const char *part)
{
    for (uint32_t i = 1; i < s->part_count; i++)
        if (!strcmp(s->parts[i], part))
            return true;
    return false;
}

const char *select_last(const struct statement *s)
{
    return s->parts[s->part_count - 1];
}

void select_need(struct compile *c, struct statement *s, uint32_t least, uint32_t most)
{
    if (s->count < least || s->count > most)
        select_mismatch(c, s);
}

static const struct {
    const char *name;
    void (*select)(struct compile *c, struct statement *s);
} selectors[] = {
    {"mov", select_mov},
    {"ld", select_load_store},
    {"ldu", select_load_store},
    {"st", select_load_store},
    {"setp", select_setp},
    {"set", select_set},
    {"cvt", select_cvt},
    {"cvta", select_cvta},
    {"selp", select_bits},
    {"slct", select_bits},
    {"lop3", select_lop3},
    {"isspacep", select_isspacep},
    {"atom", select_atom},
    {"red", select_atom},
    {"bra", select_bra},
    {"brx", select_brx},
    {"call", select_flow},
    {"ret", select_flow},
    {"exit", select_flow},
    {"trap", select_flow},
    {"brkpt", select_nothing},
    {"pmevent", select_nothing},
    {"prefetch", select_nothing},
    {"prefetchu", select_nothing},
    {"discard", select_nothing},
    {"applypriority", select_nothing},
    {"membar", select_fence},
    {"fence", select_fence},
    {"nanosleep", select_sleep},
    {"bar", select_bar},
    {"barrier", select_bar},
    {"shfl", select_shfl},
    {"vote", select_vote},
    {"match", select_match},
    {"redux", select_redux},
    {"activemask", select_active},
    {"cp", select_cp},
    {"mbarrier", select_mbarrier},
    {"createpolicy", select_policy},
    {"elect", select_elect},
    {"griddepcontrol", select_nothing},
    {"setmaxnreg", select_nothing},
    {"mma", select_mma},
    {"wmma", select_wmma},
    {"ldmatrix", select_ldmatrix},
    {"stmatrix", select_ldmatrix},
    {"movmatrix", select_movmatrix},
    {"tex", select_tex},
    {"tld4", select_tex},
    {"suld", select_surface},
    {"sust", select_surface},
    {"sured", select_reduce},
    {"txq", select_query},
    {"suq", select_query},
    {"vadd", select_video},
    {"vsub", select_video},
    {"vabsdiff", select_video},
    {"vmin", select_video},
    {"vmax", select_video},
    {"vshl", select_video},
    {"vshr", select_video},
    {"vmad", select_video},
    {"vset", select_video},
    {"vadd2", select_video},
    {"vsub2", select_video},
    {"vavrg2", select_video},
    {"vabsdiff2", select_video},
    {"vmin2", select_video},
    {"vmax2", select_video},
    {"vset2", select_video},
    {"vadd4", select_video},
    {"vsub4", select_video},
    {"vavrg4", select_video},
    {"vabsdiff4", select_video},
    {"vmin4", select_video},
    {"vmax4", select_video},
    {"vset4", select_video},
};

/* vadd and the like, but no instruction of another kind that begins so. */
static bool is_video(const struct statement *s)
{
    return s->parts[0][0] == 'v' && strcmp(s->parts[0], "vote");
}

void select_statement(struct compile *c, struct statement *s)
{
    for (uint32_t i = 0; i < s->count && !is_video(s); i++)
        if (s->operands[i].part || s->operands[i].minus)
            select_mismatch(c, s);
    for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++)
        if (!strcmp(s->parts[0], selectors[i].name)) {
            selectors[i].select(c, s);
            return;
        }
    select_alu(c, s);
}
