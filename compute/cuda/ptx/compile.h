/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_COMPILE_H
#define VIADUCT_PTX_COMPILE_H

#include <setjmp.h>

#include "alu.h"
#include "lex.h"

/*
 * State of compiling one module. Errors are written to the log and end the compilation by
 * compile_fail(), from however deep: everything is in an arena, or hangs on the module.
 */

enum symbol_kind {
    SYMBOL_REGISTER,
    SYMBOL_REGISTERS, /* %r<count>: name is the prefix */
    SYMBOL_GLOBAL,    /* also .const: value is the address */
    SYMBOL_SHARED,    /* value is the index of the variable */
    SYMBOL_LOCAL,     /* value is the offset in the frame; also .param of functions */
    SYMBOL_PARAM,     /* of a kernel: value is the offset */
    SYMBOL_FUNCTION,
    SYMBOL_LABEL, /* value is the instruction */
    SYMBOL_PROTOTYPE,
    SYMBOL_TARGETS,
};

struct symbol {
    struct symbol *next, *newer; /* of the same bucket; of the same scope */
    const char *name;
    uint32_t size, scope, bucket;
    enum symbol_kind kind;
    bool linked; /* other units of the module know it */
    bool weak, defined;
    uint32_t bits; /* registers: 1, 16, 32, 64 */
    uint32_t count, vector;
    uint32_t *slots; /* registers: one each, of vectors each element */
    uint64_t value, bytes;
    uint32_t align;
    struct ptx_function *function; /* also a prototype */
    struct targets *targets;
};

enum operand_kind {
    OPERAND_NONE,
    OPERAND_REGISTER,
    OPERAND_INT,
    OPERAND_F32,
    OPERAND_F64,
    OPERAND_SYMBOL,
    OPERAND_SPECIAL,
    OPERAND_NAME,    /* not declared: a label */
    OPERAND_SINK,    /* _ */
    OPERAND_ADDRESS, /* [base + value] */
    OPERAND_VECTOR,
    OPERAND_LIST, /* ( … ) of a call */
};

#define MOST_OPERANDS 8
#define MOST_LIST     64
#define MOST_PARTS    16

struct operand {
    enum operand_kind kind;
    bool negated; /* !p */
    uint32_t bits, slot;
    uint64_t value;
    int64_t offset; /* symbol + offset, address */
    struct symbol *symbol;
    struct lex_token token;
    struct operand *items; /* vector, list; of an address: [0] is the base */
    uint32_t count;
    struct operand *second; /* p|q */
    /* Video instructions: b0 to b3, h0, h1, or several at once; -a. */
    const char *part;
    bool minus;
};

/* One statement. */
struct statement {
    const char *name; /* the whole opcode, zero at its end */
    const char *parts[MOST_PARTS];
    uint32_t part_count, line;
    struct operand operands[MOST_OPERANDS];
    uint32_t count;
    bool guarded, unless;
    uint32_t guard; /* slot */
};

struct fixup {
    struct fixup *next;
    const char *name;
    uint32_t size, line, scope, insn;
    struct targets *targets; /* an entry of them, else the instruction */
    uint32_t entry;
};

struct arena_chunk {
    struct arena_chunk *next;
    max_align_t bytes[];
};

#define BUCKETS   4096
#define CONSTANTS 1024

struct compile {
    jmp_buf failed;
    int error;
    struct ptx_module *module;
    const struct isa *isa;
    struct lex lex;
    struct lex_token token; /* the next one */
    char *log;
    size_t log_size;
    struct arena_chunk *arena;
    size_t arena_left;
    char *arena_at;
    struct symbol *buckets[BUCKETS];
    struct symbol *scopes[MAX_SCOPE]; /* newest symbol of each */
    uint32_t scope;
    uint32_t units;              /* .version directives so far */
    bool external, linked, weak; /* of the declaration at hand */
    bool partial;                /* PTX_PARTIAL was seen */

    /* the function at hand */
    struct ptx_function *function;
    uint32_t insn_room;
    uint32_t slots, local;
    struct fixup *fixups;
    uint32_t constant_room;
    uint32_t constant_index[CONSTANTS]; /* +1 */
    uint32_t carry, trash;              /* slots, NO_SLOT before the first use */
    uint32_t line;
    bool complex;   /* the statement may not run under a guard */
    uint64_t bytes; /* of all compiled code, limited */
};

_Noreturn void compile_fail(struct compile *c, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void compile_memory(struct compile *c);
void *compile_arena(struct compile *c, size_t size);
/* Grows an array that hangs on the module. */
void *compile_grow(struct compile *c, void *array, uint32_t count, uint32_t *room, size_t element);

/* The next word; whether it is a character, which then is read past. */
void compile_next(struct compile *c);
bool compile_is(const struct compile *c, char character);
bool compile_char(struct compile *c, char character);
void compile_expect(struct compile *c, char character);
_Noreturn void compile_unexpected(struct compile *c);
struct lex_token compile_name(struct compile *c);
uint64_t compile_int(struct compile *c);
/* A name as a string of its own. */
char *compile_copy(struct compile *c, const struct lex_token *name);
struct symbol *symbol_add(struct compile *c, const struct lex_token *name, enum symbol_kind kind);
struct symbol *symbol_find(struct compile *c, const char *name, size_t size);
void scope_push(struct compile *c);
void scope_pop(struct compile *c);
/* declare.c */
/* A .param, .local, .shared … declaration, after its state space. */
void declare_variables(struct compile *c, const char *space, bool external);
/* Makes the variables that all units of a module know, before anything refers to them. */
void declare_linked(struct compile *c);
/* Forgets the names that only the unit that ends knows. */
void scope_unit(struct compile *c);
/* Reads past { … }, which may hold what is no PTX. */
void compile_skip_braces(struct compile *c);
struct declarator {
    uint32_t bits, align, vector;
    uint64_t size, place; /* where the caller wants a variable, or 0 */
    bool predicate, empty_array, pointer;
    uint32_t reference; /* CUDA_…_MAGIC of .texref, .samplerref, .surfref */
    struct lex_token name;
};
void parse_type(struct compile *c, struct declarator *d);
void parse_parameters(struct compile *c, struct ptx_function *f, bool out);

/* operand.c */
void declare_registers(struct compile *c);
void operand_name(struct compile *c, struct operand *o);
void operand_items(struct compile *c, struct operand *o, char end, int depth);
void operand_parse(struct compile *c, struct operand *o, int depth);

/* body.c */
void compile_body(struct compile *c, struct ptx_function *f);
uint32_t compile_slot(struct compile *c, uint32_t bits);
uint32_t compile_constant(struct compile *c, uint64_t value, bool wide);
struct insn *compile_emit(struct compile *c, ptx_handler fn);
/* A branch of `insn`, or the entry of targets, to a label. */
void compile_label(struct compile *c, const struct lex_token *name, uint32_t insn,
                   struct targets *targets, uint32_t entry);
void compile_call(struct compile *c, struct statement *s);

static inline uint32_t align_up(uint32_t value, uint32_t align)
{
    return (value + align - 1) / align * align;
}

/* skip.c: makes short branches cheap, while targets are still indices. */
void skip_branches(struct compile *c, struct ptx_function *f);

/* select.c */
void select_statement(struct compile *c, struct statement *s);
bool special_find(const char *name, size_t size, uint32_t *ret_index);
/* Slots of operands of a type such as "u32"; what is needed to have them there is emitted. */
uint32_t select_source(struct compile *c, struct statement *s, struct operand *o, unsigned type);
uint32_t select_target(struct compile *c, struct statement *s, struct operand *o, unsigned type);
void select_address(struct compile *c, struct statement *s, struct operand *o, int *space,
                    struct insn *ret_form);

#endif
