/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "flow.h"

/* Bodies of functions: slots, constants, labels, statements, calls. */

uint32_t compile_slot(struct compile *c, uint32_t bits)
{
    uint32_t slot, size = bits == 64 ? SLOT64 : SLOT32;

    if (c->slots > MAX_REGISTER - size)
        compile_fail(c, c->line, "Too many registers");
    slot = c->slots;
    c->slots += size;
    return slot;
}

uint32_t compile_constant(struct compile *c, uint64_t value, bool wide)
{
    struct ptx_function *f = c->function;
    uint32_t at = (uint32_t)((value ^ value >> 29 ^ (wide ? 77 : 0)) * 2654435761u) % CONSTANTS;
    struct ptx_constant *k;

    if (c->constant_index[at]) {
        k = &f->constants[c->constant_index[at] - 1];
        if (k->value == value && k->wide == wide)
            return k->slot;
    }
    f->constants = compile_grow(c, f->constants, f->constant_count, &c->constant_room, sizeof(*k));
    k = &f->constants[f->constant_count];
    *k = (struct ptx_constant){compile_slot(c, wide ? 64 : 32), wide, value};
    c->constant_index[at] = ++f->constant_count;
    return k->slot;
}

struct insn *compile_emit(struct compile *c, ptx_handler fn)
{
    struct ptx_function *f = c->function;
    struct insn *in;

    if (f->insn_count == MAX_INSNS)
        compile_fail(c, c->line, "Function '%s' is too long", f->name);
    f->insns = compile_grow(c, f->insns, f->insn_count, &c->insn_room, sizeof(*in));
    in = &f->insns[f->insn_count++];
    *in = (struct insn){.fn = fn, .line = c->line};
    return in;
}

void compile_label(struct compile *c, const struct lex_token *name, uint32_t insn,
                   struct targets *targets, uint32_t entry)
{
    struct fixup *fix = compile_arena(c, sizeof(*fix));

    *fix = (struct fixup){.next = c->fixups,
                          .name = name->text,
                          .size = name->size,
                          .line = name->line,
                          .scope = c->scope,
                          .insn = insn,
                          .targets = targets,
                          .entry = entry};
    c->fixups = fix;
}

/*
 * Labels belong to their block: when one closes, what names its labels is resolved and the rest
 * waits for the next outer one. Until the code stands still, targets are indices.
 */
static void resolve(struct compile *c, bool last)
{
    struct fixup **at = &c->fixups, *fix;

    while ((fix = *at)) {
        struct symbol *s;

        if (fix->scope < c->scope)
            break;
        s = symbol_find(c, fix->name, fix->size);
        if (s && s->kind == SYMBOL_LABEL && s->scope == c->scope) {
            if (fix->targets)
                fix->targets->at[fix->entry] = (const struct insn *)(uintptr_t)s->value;
            else
                c->function->insns[fix->insn].bits = s->value;
            *at = fix->next;
            continue;
        }
        if (last)
            compile_fail(c, fix->line, "Label '%.*s' is not defined in function '%s'",
                         (int)fix->size, fix->name, c->function->name);
        fix->scope = c->scope - 1;
        at = &fix->next;
    }
}

static void split_opcode(struct compile *c, struct statement *s, const struct lex_token *t)
{
    char *name = compile_arena(c, t->size + 1), *parts = compile_arena(c, t->size + 1), *at;

    memcpy(name, t->text, t->size);
    memcpy(parts, t->text, t->size);
    s->name = name;
    for (at = parts; at && s->part_count < MOST_PARTS;) {
        char *dot = strchr(at, '.');

        if (dot)
            *dot++ = '\0';
        s->parts[s->part_count++] = at;
        at = dot;
    }
    if (at)
        compile_fail(c, t->line, "Not a name of any known instruction: '%s'", s->name);
}

static void parse_statement(struct compile *c, struct statement *s)
{
    struct lex_token name;

    c->line = s->line = c->token.line;
    if (compile_char(c, '@')) {
        struct operand guard = {0};

        s->guarded = true;
        s->unless = compile_char(c, '!');
        if (c->token.kind != LEX_NAME)
            compile_unexpected(c);
        operand_name(c, &guard);
        if (guard.kind != OPERAND_REGISTER || guard.bits != 1)
            compile_fail(c, s->line, "A guard must be a predicate");
        s->guard = guard.slot;
    }
    name = c->token;
    if (name.kind != LEX_NAME)
        compile_unexpected(c);
    c->line = s->line = name.line;
    compile_next(c);
    split_opcode(c, s, &name);
    if (compile_char(c, ';'))
        return;
    do {
        if (s->count == MOST_OPERANDS)
            compile_fail(c, s->line, "Too many operands for instruction '%s'", s->parts[0]);
        operand_parse(c, &s->operands[s->count++], 0);
    } while (compile_char(c, ','));
    compile_expect(c, ';');
}

/*
 * A statement that became one plain instruction runs under flow_guard; anything else is branched
 * around.
 */
static void guarded_statement(struct compile *c, struct statement *s)
{
    uint32_t at = c->function->insn_count, end;
    struct insn *in;

    compile_emit(c, flow_guard);
    c->complex = false;
    select_statement(c, s);
    end = c->function->insn_count;
    in = &c->function->insns[at];
    in->a = s->guard;
    in->flags = s->unless ? F_UNLESS : 0;
    if (end - at == 2 && !c->complex)
        return;
    in->fn = flow_branch_if;
    in->flags ^= F_UNLESS;
    in->bits = end;
}

static void label_or_statement(struct compile *c)
{
    struct lex ahead = c->lex;
    struct lex_token next;
    struct statement s;

    if (c->token.kind == LEX_NAME && c->token.text[0] != '.') {
        lex_next(&ahead, &next);
        if (next.kind == LEX_CHAR && next.value == ':') {
            struct lex_token name = c->token;

            compile_next(c);
            compile_next(c);
            if (lex_is(&c->token, ".callprototype")) {
                struct ptx_function *f = compile_arena(c, sizeof(*f)), *outer = c->function;
                struct symbol *p = symbol_add(c, &name, SYMBOL_PROTOTYPE);

                /* Only read past: what is called says what it takes. */
                (void)f;
                (void)outer;
                p->function = NULL;
                while (!compile_char(c, ';')) {
                    if (c->token.kind == LEX_END)
                        compile_unexpected(c);
                    compile_next(c);
                }
                return;
            }
            if (lex_is(&c->token, ".calltargets")) {
                symbol_add(c, &name, SYMBOL_PROTOTYPE);
                while (!compile_char(c, ';')) {
                    if (c->token.kind == LEX_END)
                        compile_unexpected(c);
                    compile_next(c);
                }
                return;
            }
            if (lex_is(&c->token, ".branchtargets")) {
                struct symbol *p = symbol_add(c, &name, SYMBOL_TARGETS);
                struct ptx_module *m = c->module;
                struct operand list = {0};

                compile_next(c);
                operand_items(c, &list, ';', 0);
                m->targets = compile_grow(c, m->targets, m->target_count, &m->target_room,
                                          sizeof(*m->targets));
                p->targets =
                    calloc(1, sizeof(*p->targets) + list.count * sizeof(p->targets->at[0]));
                if (!p->targets)
                    compile_memory(c);
                m->targets[m->target_count++] = p->targets;
                p->targets->count = list.count;
                for (uint32_t i = 0; i < list.count; i++)
                    compile_label(c, &list.items[i].token, 0, p->targets, i);
                return;
            }
            symbol_add(c, &name, SYMBOL_LABEL)->value = c->function->insn_count;
            return;
        }
    }
    memset(&s, 0, sizeof(s));
    parse_statement(c, &s);
    if (s.guarded && strcmp(s.parts[0], "bra"))
        guarded_statement(c, &s);
    else
        select_statement(c, &s);
}

static void skip_statement(struct compile *c)
{
    while (!compile_char(c, ';')) {
        if (c->token.kind == LEX_END)
            compile_unexpected(c);
        compile_next(c);
    }
}

static void skip_line(struct compile *c)
{
    uint32_t line = c->token.line;

    while (c->token.kind != LEX_END && c->token.line == line)
        lex_next(&c->lex, &c->token);
}

static void finish(struct compile *c, struct ptx_function *f)
{
    struct ptx_module *m = c->module;

    f->local_bytes = (c->local + 15) / 16 * 16;
    f->slots = c->slots;
    f->registers = 32;
    skip_branches(c, f);
    for (uint32_t i = 0; i < f->insn_count; i++) {
        struct insn *in = &f->insns[i];

        if (in->fn == flow_branch || in->fn == flow_branch_if || in->fn == flow_skip ||
            in->fn == flow_either)
            in->target = f->insns + in->bits;
    }
    for (uint32_t t = 0; t < m->target_count; t++) {
        /* Those of this function; of others they are addresses already. */
        struct targets *targets = m->targets[t];

        for (uint32_t i = 0; i < targets->count; i++)
            if ((uintptr_t)targets->at[i] <= MAX_INSNS)
                targets->at[i] = f->insns + (uintptr_t)targets->at[i];
    }
}

void compile_body(struct compile *c, struct ptx_function *f)
{
    uint32_t base = c->scope;

    c->insn_room = 0;
    c->constant_room = 0;
    memset(c->constant_index, 0, sizeof(c->constant_index));
    c->carry = c->trash = NO_SLOT;
    c->fixups = NULL;
    compile_expect(c, '{');
    scope_push(c);
    while (c->scope > base) {
        if (compile_char(c, ';'))
            continue;
        if (compile_char(c, '{')) {
            scope_push(c);
        } else if (c->token.kind == LEX_CHAR && c->token.value == '}') {
            resolve(c, c->scope == base + 1);
            scope_pop(c);
            if (c->scope == base)
                break;
            compile_next(c);
        } else if (lex_is(&c->token, ".reg")) {
            compile_next(c);
            declare_registers(c);
        } else if (lex_is(&c->token, ".local") || lex_is(&c->token, ".param")) {
            compile_next(c);
            declare_variables(c, ".local", false);
        } else if (lex_is(&c->token, ".shared") || lex_is(&c->token, ".global") ||
                   lex_is(&c->token, ".const")) {
            char space = c->token.text[1];

            compile_next(c);
            declare_variables(c,
                              space == 's'   ? ".shared"
                              : space == 'g' ? ".global"
                                             : ".const",
                              false);
        } else if (lex_is(&c->token, ".pragma")) {
            skip_statement(c);
        } else if (lex_is(&c->token, ".loc") || lex_is(&c->token, ".file")) {
            skip_line(c);
        } else {
            label_or_statement(c);
        }
    }
    c->line = c->token.line;
    compile_emit(c, flow_return);
    finish(c, f);
    /* The closing brace, which may be the last word. */
    compile_next(c);
}

/* The registers and variables of a call; a vector is an argument each element, and a result that
 * goes nowhere one without bytes. */
static uint32_t copy_items(struct compile *c, struct statement *s, struct operand *list,
                           struct ptx_argument **ret, bool out)
{
    uint32_t count = 0, n = 0;

    *ret = NULL;
    if (!list || !list->count)
        return 0;
    for (uint32_t i = 0; i < list->count; i++)
        count += list->items[i].kind == OPERAND_VECTOR ? list->items[i].count : 1;
    *ret = calloc(count, sizeof(**ret));
    if (!*ret)
        compile_memory(c);
    for (uint32_t i = 0; i < list->count; i++) {
        bool vector = list->items[i].kind == OPERAND_VECTOR;
        uint32_t parts = vector ? list->items[i].count : 1;

        for (uint32_t part = 0; part < parts; part++) {
            struct operand *o = vector ? &list->items[i].items[part] : &list->items[i];
            struct ptx_argument *a = &(*ret)[n++];

            a->slot = NO_SLOT;
            if (o->kind == OPERAND_SYMBOL && o->symbol->kind == SYMBOL_LOCAL && !o->offset) {
                a->offset = (uint32_t)o->symbol->value;
                a->size = (uint32_t)o->symbol->bytes;
            } else if (o->kind == OPERAND_REGISTER) {
                a->slot = o->slot;
                a->size = o->bits == 64 ? 8 : 4;
            } else if (out && o->kind == OPERAND_SINK) {
                a->size = 0;
            } else if (!out && o->kind == OPERAND_INT) {
                a->slot = compile_constant(c, o->value, true);
                a->size = 8;
            } else {
                compile_fail(c, s->line, "Arguments mismatch for instruction 'call'");
            }
        }
    }
    return n;
}

/* call (results), name, (arguments), prototype; */
void compile_call(struct compile *c, struct statement *s)
{
    struct ptx_module *m = c->module;
    struct ptx_function *f = c->function;
    struct operand *out = NULL, *in = NULL, *target;
    struct call *call;
    struct insn *at;
    uint32_t n = 0, room;

    if (n < s->count && s->operands[n].kind == OPERAND_LIST)
        out = &s->operands[n++];
    if (n == s->count)
        compile_fail(c, s->line, "Arguments mismatch for instruction 'call'");
    target = &s->operands[n++];
    if (n < s->count && s->operands[n].kind == OPERAND_LIST)
        in = &s->operands[n++];
    call = calloc(1, sizeof(*call));
    if (!call)
        compile_memory(c);
    if (m->call_count == m->call_room) {
        room = m->call_room ? m->call_room * 2 : 16;
        struct call **grown = realloc(m->calls, room * sizeof(struct call *));

        if (!grown) {
            free(call);
            compile_memory(c);
        }
        m->calls = grown;
        m->call_room = room;
    }
    m->calls[m->call_count++] = call;
    call->out_count = copy_items(c, s, out, &call->out, true);
    call->in_count = copy_items(c, s, in, &call->in, false);
    f->spills = true;
    if (target->kind == OPERAND_SYMBOL && target->symbol->kind == SYMBOL_FUNCTION) {
        struct ptx_function *callee = target->symbol->function;
        uint32_t *grown;

        /* What the callee takes is checked when it runs: it may be declared again. */
        call->callee = callee;
        grown = realloc(f->calls, (f->call_count + 1) * sizeof(*grown));
        if (!grown)
            compile_memory(c);
        f->calls = grown;
        f->calls[f->call_count++] = callee->index;
        at = compile_emit(c, flow_call);
    } else if (target->kind == OPERAND_REGISTER && target->bits == 64) {
        f->calls_any = true;
        at = compile_emit(c, flow_call);
        at->a = target->slot;
    } else {
        compile_fail(c, s->line, "Call target '%.*s' is not defined", (int)target->token.size,
                     target->token.text);
    }
    at->data = call;
}
