/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "compile.h"
#include "flow.h"

/* Registers, and the operands of each statement. */

void declare_registers(struct compile *c)
{
    struct declarator d;

    parse_type(c, &d);
    if (d.bits > 64)
        compile_fail(c, c->token.line, "Registers of this type are not supported");
    do {
        struct lex_token name = c->token;
        struct symbol *s;
        uint32_t count = 1;
        bool many;

        if (name.kind != LEX_NAME)
            compile_unexpected(c);
        compile_next(c);
        many = compile_char(c, '<');
        if (many) {
            if (c->token.kind != LEX_INT || c->token.value > 1u << 20)
                compile_fail(c, name.line, "Too many registers");
            count = (uint32_t)c->token.value;
            compile_next(c);
            compile_expect(c, '>');
        }
        s = symbol_add(c, &name, many ? SYMBOL_REGISTERS : SYMBOL_REGISTER);
        s->bits = d.predicate ? 1 : d.bits < 16 ? 16 : d.bits;
        s->count = count;
        s->vector = d.vector;
        count *= d.vector;
        s->slots = compile_arena(c, (size_t)(count + 1) * sizeof(*s->slots));
        for (uint32_t i = 0; i < count; i++)
            s->slots[i] = NO_SLOT;
    } while (compile_char(c, ','));
    compile_expect(c, ';');
}

/* %r17 of .reg .b32 %r<100>: the symbol and which of it; NULL: no register. */
static struct symbol *register_symbol(struct compile *c, const char *text, uint32_t size,
                                      uint32_t *ret_index)
{
    struct symbol *s = symbol_find(c, text, size);
    uint32_t digits = 0, index = 0;

    if (!s || s->kind == SYMBOL_REGISTERS) {
        while (digits < 7 && digits < size && text[size - digits - 1] >= '0' &&
               text[size - digits - 1] <= '9')
            digits++;
        /* The longest prefix first: %p1 may be a prefix of its own. */
        for (uint32_t n = 1; n <= digits; n++) {
            s = symbol_find(c, text, size - n);
            if (s && s->kind == SYMBOL_REGISTERS) {
                for (uint32_t i = size - n; i < size; i++)
                    index = index * 10 + (uint32_t)(text[i] - '0');
                break;
            }
            s = NULL;
        }
    }
    if (!s || (s->kind != SYMBOL_REGISTER && s->kind != SYMBOL_REGISTERS) || index >= s->count)
        return NULL;
    *ret_index = index;
    return s;
}

static void take_register(struct compile *c, struct symbol *s, uint32_t at, struct operand *o)
{
    if (s->slots[at] == NO_SLOT)
        s->slots[at] = compile_slot(c, s->bits);
    o->kind = OPERAND_REGISTER;
    o->bits = s->bits;
    o->slot = s->slots[at];
}

/* Parts of a register that video instructions name: .b0, .h1, .h10, .b3210. */
static bool take_part(struct compile *c, const struct lex_token *t, struct operand *o)
{
    uint32_t at = t->size, index;
    struct symbol *s;
    char *part;

    while (at && t->text[at - 1] >= '0' && t->text[at - 1] <= '7')
        at--;
    if (at < 3 || at == t->size || t->size - at > 4 || t->text[at - 2] != '.' ||
        (t->text[at - 1] != 'b' && t->text[at - 1] != 'h'))
        return false;
    s = register_symbol(c, t->text, at - 2, &index);
    if (!s || s->vector != 1)
        return false;
    take_register(c, s, index, o);
    part = compile_arena(c, t->size - at + 2);
    memcpy(part, t->text + at - 1, t->size - at + 1);
    part[t->size - at + 1] = '\0';
    o->part = part;
    return true;
}

/* A register, an element of a vector (.x .y .z .w, or .r .g .b .a), or all of them. */
static bool find_register(struct compile *c, const struct lex_token *t, struct operand *o)
{
    static const char letters[] = "xyzwrgba";
    uint32_t index;
    struct symbol *s = register_symbol(c, t->text, t->size, &index);

    if (s && s->vector == 1) {
        take_register(c, s, index, o);
        return true;
    }
    if (s) {
        o->kind = OPERAND_VECTOR;
        o->count = s->vector;
        o->items = compile_arena(c, s->vector * sizeof(*o->items));
        for (uint32_t i = 0; i < s->vector; i++) {
            o->items[i] = (struct operand){.token = *t};
            take_register(c, s, index * s->vector + i, &o->items[i]);
        }
        return true;
    }
    if (t->size > 2 && t->text[t->size - 2] == '.') {
        const char *letter = memchr(letters, t->text[t->size - 1], 8);

        s = letter ? register_symbol(c, t->text, t->size - 2, &index) : NULL;
        if (s && s->vector > 1 && (uint32_t)(letter - letters) % 4 < s->vector) {
            take_register(c, s, index * s->vector + (uint32_t)(letter - letters) % 4, o);
            return true;
        }
    }
    return take_part(c, t, o);
}

void operand_name(struct compile *c, struct operand *o)
{
    struct lex_token t = c->token;
    uint32_t index;

    compile_next(c);
    o->token = t;
    if (t.size == 1 && t.text[0] == '_') {
        o->kind = OPERAND_SINK;
        return;
    }
    if (find_register(c, &t, o))
        return;
    if (t.text[0] == '%' && special_find(t.text, t.size, &index)) {
        o->kind = OPERAND_SPECIAL;
        o->value = index;
        index &= 0xffff;
        c->module->reserves |= index >= SPECIAL_RESERVED && index <= SPECIAL_RESERVED_CAP;
        return;
    }
    if (lex_is(&t, "WARP_SZ")) {
        o->kind = OPERAND_INT;
        o->value = LANES;
        return;
    }
    o->symbol = symbol_find(c, t.text, t.size);
    o->kind = o->symbol && o->symbol->kind != SYMBOL_LABEL ? OPERAND_SYMBOL : OPERAND_NAME;
    if (o->kind == OPERAND_NAME && t.text[0] == '%')
        compile_fail(c, t.line, "Unknown symbol '%.*s'", (int)t.size, t.text);
}

static int64_t parse_offset(struct compile *c)
{
    int64_t offset = 0;

    for (;;) {
        bool minus = false;

        if (compile_char(c, '+'))
            minus = compile_char(c, '-');
        else if (compile_char(c, '-'))
            minus = true;
        else
            return offset;
        if (c->token.kind != LEX_INT)
            compile_unexpected(c);
        offset = minus ? (int64_t)((uint64_t)offset - c->token.value)
                       : (int64_t)((uint64_t)offset + c->token.value);
        compile_next(c);
    }
}

void operand_items(struct compile *c, struct operand *o, char end, int depth)
{
    uint32_t room = 4;

    o->items = compile_arena(c, room * sizeof(*o->items));
    if (compile_char(c, end))
        return;
    do {
        if (o->count == room) {
            struct operand *more;

            if (room >= MOST_LIST * 64)
                compile_fail(c, c->token.line, "Too many operands");
            more = compile_arena(c, room * 2 * sizeof(*more));
            memcpy(more, o->items, room * sizeof(*more));
            o->items = more;
            room *= 2;
        }
        operand_parse(c, &o->items[o->count], depth + 1);
        if (o->items[o->count].part || o->items[o->count].minus)
            compile_unexpected(c);
        o->count++;
    } while (compile_char(c, ','));
    compile_expect(c, end);
}

void operand_parse(struct compile *c, struct operand *o, int depth)
{
    memset(o, 0, sizeof(*o));
    o->token = c->token;
    if (depth > 4)
        compile_unexpected(c);
    if (compile_char(c, '!'))
        o->negated = true;
    if (compile_char(c, '{')) {
        o->kind = OPERAND_VECTOR;
        operand_items(c, o, '}', depth);
        if (compile_char(c, '|')) {
            /* tex: the predicate behind the vector */
            o->second = compile_arena(c, sizeof(*o->second));
            operand_parse(c, o->second, depth + 1);
        }
        return;
    }
    if (compile_char(c, '(')) {
        o->kind = OPERAND_LIST;
        operand_items(c, o, ')', depth);
        return;
    }
    if (compile_char(c, '[')) {
        o->kind = OPERAND_ADDRESS;
        operand_items(c, o, ']', depth);
        return;
    }
    if (c->token.kind == LEX_NAME) {
        operand_name(c, o);
        o->offset = parse_offset(c);
        if (o->offset && o->kind == OPERAND_NAME)
            compile_unexpected(c);
        if (compile_char(c, '|')) {
            o->second = compile_arena(c, sizeof(*o->second));
            operand_parse(c, o->second, depth + 1);
            if (o->second->part || o->second->minus)
                compile_unexpected(c);
        }
        return;
    }
    {
        bool minus = compile_char(c, '-');

        if (minus && c->token.kind == LEX_NAME) {
            operand_name(c, o);
            o->minus = true;
            return;
        }
        o->value = c->token.value;
        switch (c->token.kind) {
        case LEX_INT:
            o->kind = OPERAND_INT;
            if (minus)
                o->value = 0 - o->value;
            break;
        case LEX_F32:
            o->kind = OPERAND_F32;
            o->value ^= minus ? 1u << 31 : 0;
            break;
        case LEX_F64:
            o->kind = OPERAND_F64;
            o->value ^= minus ? 1ull << 63 : 0;
            break;
        default:
            compile_unexpected(c);
        }
        compile_next(c);
        if (o->kind == OPERAND_INT && depth)
            o->offset = parse_offset(c);
    }
}
