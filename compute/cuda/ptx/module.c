/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef PTX_X86
#include <cpuid.h>
#endif

#include <viaduct/errors.h>

#include <compute/cuda/texture.h>

#include "compile.h"

/* The declarations of a module: directives, variables, heads of functions. */

#define CHUNK 65536u

void compile_fail(struct compile *c, uint32_t line, const char *format, ...)
{
    char what[256];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (c->log && c->log_size)
        snprintf(c->log, c->log_size,
                 "ptxas application ptx input, line %u; error   : %s\n"
                 "ptxas fatal   : Ptx assembly aborted due to errors\n",
                 line, what);
    c->error = VD_ERR_PARAMETER;
    longjmp(c->failed, 1);
}

void compile_memory(struct compile *c)
{
    if (c->log && c->log_size)
        snprintf(c->log, c->log_size, "ptxas fatal   : Memory allocation failure\n");
    c->error = VD_ERR_MEMORY;
    longjmp(c->failed, 1);
}

void *compile_arena(struct compile *c, size_t size)
{
    void *at;

    size = (size + 15) / 16 * 16;
    if (size > c->arena_left) {
        size_t bytes = size > CHUNK ? size : CHUNK;
        struct arena_chunk *chunk = calloc(1, sizeof(*chunk) + bytes);

        if (!chunk)
            compile_memory(c);
        chunk->next = c->arena;
        c->arena = chunk;
        c->arena_at = (char *)chunk->bytes;
        c->arena_left = bytes;
    }
    at = c->arena_at;
    c->arena_at += size;
    c->arena_left -= size;
    return at;
}

void *compile_grow(struct compile *c, void *array, uint32_t count, uint32_t *room, size_t element)
{
    void *grown;

    if (count < *room)
        return array;
    grown = realloc(array, (*room ? *room * 2 : 16) * element);
    if (!grown)
        compile_memory(c);
    *room = *room ? *room * 2 : 16;
    return grown;
}

void compile_next(struct compile *c)
{
    lex_next(&c->lex, &c->token);
    if (c->token.kind == LEX_BAD)
        compile_fail(c, c->token.line, "Invalid number '%.*s'", (int)c->token.size, c->token.text);
}

bool compile_char(struct compile *c, char character)
{
    if (c->token.kind != LEX_CHAR || c->token.value != (unsigned char)character)
        return false;
    compile_next(c);
    return true;
}

static _Noreturn void unexpected(struct compile *c)
{
    if (c->token.kind == LEX_END)
        compile_fail(c, c->token.line, "Parsing error near the end: syntax error");
    compile_fail(c, c->token.line, "Parsing error near '%.*s': syntax error",
                 c->token.size < 64 ? (int)c->token.size : 64, c->token.text);
}

void compile_expect(struct compile *c, char character)
{
    if (!compile_char(c, character))
        unexpected(c);
}

static struct lex_token take_name(struct compile *c)
{
    struct lex_token name = c->token;

    if (name.kind != LEX_NAME)
        unexpected(c);
    compile_next(c);
    return name;
}

static uint64_t take_int(struct compile *c)
{
    uint64_t value = c->token.value;

    if (c->token.kind != LEX_INT)
        unexpected(c);
    compile_next(c);
    return value;
}

static uint32_t hash(const char *name, size_t size)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < size; i++)
        h = (h ^ (unsigned char)name[i]) * 16777619u;
    return h % BUCKETS;
}

struct symbol *symbol_find(struct compile *c, const char *name, size_t size)
{
    for (struct symbol *s = c->buckets[hash(name, size)]; s; s = s->next)
        if (s->size == size && !memcmp(s->name, name, size))
            return s;
    return NULL;
}

struct symbol *symbol_add(struct compile *c, const struct lex_token *name, enum symbol_kind kind)
{
    struct symbol *s = symbol_find(c, name->text, name->size);

    if (s && s->scope == c->scope)
        compile_fail(c, name->line, "Duplicate definition of '%.*s'", (int)name->size, name->text);
    s = compile_arena(c, sizeof(*s));
    s->name = name->text;
    s->size = name->size;
    s->kind = kind;
    s->scope = c->scope;
    s->bucket = hash(name->text, name->size);
    s->next = c->buckets[s->bucket];
    c->buckets[s->bucket] = s;
    s->newer = c->scopes[c->scope];
    c->scopes[c->scope] = s;
    return s;
}

void scope_push(struct compile *c)
{
    if (c->scope + 1 == MAX_SCOPE)
        compile_fail(c, c->token.line, "Blocks are nested too deeply");
    c->scopes[++c->scope] = NULL;
}

void scope_pop(struct compile *c)
{
    /* Newest first: each is the head of its bucket. */
    for (struct symbol *s = c->scopes[c->scope]; s; s = s->newer)
        c->buckets[s->bucket] = s->next;
    c->scope--;
}

/* .align N, .vN, .type, .ptr … in any order; then the name and its [sizes]. */
void parse_type(struct compile *c, struct declarator *d)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } types[] = {{".b8", 8},     {".u8", 8},      {".s8", 8},          {".b16", 16},
                 {".u16", 16},   {".s16", 16},    {".f16", 16},        {".bf16", 16},
                 {".b32", 32},   {".u32", 32},    {".s32", 32},        {".f32", 32},
                 {".f16x2", 32}, {".bf16x2", 32}, {".tf32", 32},       {".b64", 64},
                 {".u64", 64},   {".s64", 64},    {".f64", 64},        {".b128", 128},
                 {".pred", 1},   {".texref", 64}, {".samplerref", 64}, {".surfref", 64}};
    uint32_t vector = 1;
    bool known;

    memset(d, 0, sizeof(*d));
    while (c->token.kind == LEX_NAME && c->token.text[0] == '.') {
        known = false;
        if (lex_is(&c->token, ".align")) {
            compile_next(c);
            d->align = (uint32_t)take_int(c);
            if (!d->align || d->align & (d->align - 1) || d->align > 4096)
                compile_fail(c, c->token.line, "Alignment must be a power of two");
            continue;
        }
        if (lex_is(&c->token, ".v2") || lex_is(&c->token, ".v4")) {
            vector = c->token.text[2] == '2' ? 2 : 4;
            known = true;
        } else if (lex_is(&c->token, ".ptr")) {
            d->pointer = known = true;
        } else if (d->pointer) {
            /* the space it points to */
            known = true;
        } else if (lex_is(&c->token, ".attribute")) {
            compile_next(c);
            compile_expect(c, '(');
            while (!compile_char(c, ')')) {
                if (c->token.kind == LEX_END)
                    unexpected(c);
                compile_next(c);
            }
            continue;
        }
        for (size_t i = 0; !known && i < sizeof(types) / sizeof(types[0]); i++)
            if (lex_is(&c->token, types[i].name)) {
                d->bits = types[i].bits;
                d->predicate = types[i].bits == 1;
                d->reference = strstr(types[i].name, "ref") != NULL;
                known = true;
            }
        if (!known)
            unexpected(c);
        compile_next(c);
    }
    if (!d->bits)
        unexpected(c);
    d->size = d->bits / 8 * vector;
    if (!d->align)
        d->align = d->size ? (uint32_t)d->size : 1;
}

static void parse_sizes(struct compile *c, struct declarator *d)
{
    while (compile_char(c, '[')) {
        if (compile_char(c, ']')) {
            d->empty_array = true;
            continue;
        }
        if (c->token.kind != LEX_INT || c->token.value > MAX_VARIABLE ||
            d->size * c->token.value > MAX_VARIABLE)
            compile_fail(c, c->token.line, "Size of '%.*s' is out of range", (int)d->name.size,
                         d->name.text);
        d->size *= c->token.value;
        compile_next(c);
        compile_expect(c, ']');
    }
}

static char *copy_name(struct compile *c, const struct lex_token *name)
{
    char *copy = strndup(name->text, name->size);

    if (!copy)
        compile_memory(c);
    return copy;
}

/* One element of an initialiser. */
static uint64_t element(struct compile *c, uint32_t bits)
{
    bool negative = compile_char(c, '-'), generic = false;
    uint64_t value = 0;

    if (c->token.kind == LEX_INT) {
        value = c->token.value;
    } else if (c->token.kind == LEX_F32 || c->token.kind == LEX_F64) {
        value = c->token.value;
        if (negative)
            value ^= c->token.kind == LEX_F32 ? 1u << 31 : 1ull << 63;
        negative = false;
        if (c->token.kind == LEX_F64 && bits == 32) {
            double wide;
            float narrow;
            uint32_t narrow_bits;

            memcpy(&wide, &value, 8);
            narrow = (float)wide;
            memcpy(&narrow_bits, &narrow, 4);
            value = narrow_bits;
        } else if (c->token.kind == LEX_F32 && bits == 64) {
            uint32_t narrow_bits = (uint32_t)value;
            float narrow;
            double wide;

            memcpy(&narrow, &narrow_bits, 4);
            wide = (double)narrow;
            memcpy(&value, &wide, 8);
        }
    } else if (c->token.kind == LEX_NAME) {
        struct symbol *s;

        if (lex_is(&c->token, "generic")) {
            compile_next(c);
            compile_expect(c, '(');
            generic = true;
        }
        s = symbol_find(c, c->token.text, c->token.size);
        if (!s || (s->kind != SYMBOL_GLOBAL && s->kind != SYMBOL_FUNCTION))
            compile_fail(c, c->token.line, "Unknown symbol '%.*s'", (int)c->token.size,
                         c->token.text);
        value = s->kind == SYMBOL_GLOBAL
                    ? s->value
                    : FUNCTION_BASE + (uint64_t)s->function->index * FUNCTION_STRIDE;
        if (generic) {
            compile_next(c);
            if (c->token.kind != LEX_CHAR || c->token.value != ')')
                unexpected(c);
        }
        compile_next(c);
        if (compile_char(c, '+'))
            value += take_int(c);
        else if (compile_char(c, '-'))
            value -= take_int(c);
        return value;
    } else {
        unexpected(c);
    }
    compile_next(c);
    return negative ? 0 - value : value;
}

static void initialise(struct compile *c, const struct declarator *d, uint8_t *host, uint64_t size)
{
    uint32_t bytes = d->bits / 8, depth = 0;
    uint64_t at = 0;

    do {
        while (compile_char(c, '{'))
            depth++;
        if (c->token.kind != LEX_CHAR || c->token.value != '}') {
            uint64_t value = element(c, d->bits);

            if (at + bytes > size)
                compile_fail(c, c->token.line, "Too many initializers for '%.*s'",
                             (int)d->name.size, d->name.text);
            memcpy(host + at, &value, bytes < 8 ? bytes : 8);
            at += bytes;
        }
        while (depth && compile_char(c, '}'))
            depth--;
    } while (compile_char(c, ','));
    if (depth)
        unexpected(c);
}

static void declare_global(struct compile *c, struct declarator *d, bool constant, bool external)
{
    struct ptx_module *m = c->module;
    struct symbol *s = symbol_find(c, d->name.text, d->name.size);
    struct ptx_global *g;
    const struct region *r;
    int err;

    if (s && s->kind == SYMBOL_GLOBAL && s->scope == c->scope) {
        /* Declared before as external. */
        if (external)
            return;
        if (s->bytes < d->size)
            compile_fail(c, d->name.line, "Declarations of '%.*s' differ", (int)d->name.size,
                         d->name.text);
    } else {
        s = symbol_add(c, &d->name, SYMBOL_GLOBAL);
        s->bytes = d->size ? d->size : 1;
        m->globals = compile_grow(c, m->globals, m->global_count, &m->global_room, sizeof(*g));
        g = &m->globals[m->global_count];
        err = memory_create(&m->context->memory, s->bytes, NULL, constant, &g->address);
        if (err)
            compile_memory(c);
        g->size = d->size;
        g->name = NULL;
        m->global_count++;
        g->name = copy_name(c, &d->name);
        s->value = g->address;
        if (constant)
            m->const_bytes += d->size;
    }
    if (!compile_char(c, '='))
        return;
    if (d->reference)
        unexpected(c);
    pthread_rwlock_rdlock(&m->context->memory.lock);
    r = memory_find(&m->context->memory, s->value);
    pthread_rwlock_unlock(&m->context->memory.lock);
    initialise(c, d, r->host, s->bytes);
}

static uint32_t align_up(uint32_t value, uint32_t align)
{
    return (value + align - 1) / align * align;
}

void declare_variables(struct compile *c, const char *space, bool external)
{
    struct declarator d, one;
    struct ptx_module *m = c->module;

    parse_type(c, &d);
    if (d.reference)
        d.size = CUDA_TEXTURE_BYTES; /* its address is the handle */
    do {
        struct symbol *s;

        one = d;
        one.name = take_name(c);
        if (compile_char(c, '<')) {
            /* name<N>: N variables */
            compile_fail(c, one.name.line, "Parameterized variables are not supported");
        }
        parse_sizes(c, &one);
        if (one.predicate)
            compile_fail(c, one.name.line, "Predicates are registers");
        if (!strcmp(space, ".shared")) {
            s = symbol_find(c, one.name.text, one.name.size);
            if (s && s->kind == SYMBOL_SHARED && s->scope == c->scope)
                continue;
            s = symbol_add(c, &one.name, SYMBOL_SHARED);
            m->shared =
                compile_grow(c, m->shared, m->shared_count, &m->shared_room, sizeof(*m->shared));
            m->shared[m->shared_count] = (struct shared_variable){
                one.empty_array ? 0 : one.size, one.align, external && one.empty_array};
            s->value = m->shared_count++;
        } else if (!strcmp(space, ".global") || !strcmp(space, ".const")) {
            if (one.empty_array && !external) {
                compile_fail(c, one.name.line, "Size of '%.*s' is missing", (int)one.name.size,
                             one.name.text);
            }
            declare_global(c, &one, space[1] == 'c', external);
        } else {
            /* .local, .param in a function */
            if (!c->function)
                compile_fail(c, one.name.line, "%s variables belong into functions", space);
            s = symbol_add(c, &one.name, SYMBOL_LOCAL);
            if (one.size > 1 << 23 || c->local > 1 << 23)
                compile_fail(c, one.name.line, "Local memory exceeds the limit");
            c->local = align_up(c->local, one.align < 4 ? 4 : one.align);
            s->value = c->local;
            s->bytes = one.size;
            s->align = one.align;
            c->local += (uint32_t)one.size;
            c->function->spills = true;
        }
    } while (compile_char(c, ','));
    compile_expect(c, ';');
}

/* ( .param .u64 a, .reg .u32 b, … ), symbols are added in the scope that is open. */
void parse_parameters(struct compile *c, struct ptx_function *f, bool out)
{
    struct ptx_argument **list = out ? &f->out : &f->in;
    uint32_t *count = out ? &f->out_count : &f->in_count, room = 0;

    free(*list);
    *list = NULL;
    *count = 0;
    compile_expect(c, '(');
    if (compile_char(c, ')'))
        return;
    do {
        struct declarator d;
        struct ptx_argument *a;
        struct symbol *s;
        bool is_register = lex_is(&c->token, ".reg");

        if (!is_register && !lex_is(&c->token, ".param"))
            unexpected(c);
        compile_next(c);
        parse_type(c, &d);
        d.name = take_name(c);
        parse_sizes(c, &d);
        if (d.size > MAX_PARAMETERS * 8 || *count >= 4096)
            compile_fail(c, d.name.line, "Parameters exceed the limit");
        *list = compile_grow(c, *list, *count, &room, sizeof(*a));
        a = &(*list)[(*count)++];
        *a = (struct ptx_argument){.size = (uint32_t)d.size, .align = d.align, .slot = NO_SLOT};
        if (is_register) {
            if (f->kernel)
                unexpected(c);
            if (d.bits < 16 && d.bits != 1)
                d.bits = 16;
            a->size = d.bits == 64 ? 8 : 4;
            a->slot = compile_slot(c, d.bits);
        } else {
            uint32_t *end = f->kernel ? &f->param_bytes : &c->local;

            a->offset = *end = align_up(*end, d.align);
            *end += (uint32_t)d.size;
            if (*end > MAX_PARAMETERS * 8)
                compile_fail(c, d.name.line, "Parameters exceed the limit");
        }
        if (!lex_is(&d.name, "_")) {
            s = symbol_add(c, &d.name,
                           is_register ? SYMBOL_REGISTER
                           : f->kernel ? SYMBOL_PARAM
                                       : SYMBOL_LOCAL);
            s->value = a->offset;
            s->bytes = d.size;
            s->align = d.align;
            if (is_register) {
                s->bits = d.bits;
                s->count = 1;
                s->slots = compile_arena(c, sizeof(*s->slots));
                s->slots[0] = a->slot;
            }
        }
    } while (compile_char(c, ','));
    compile_expect(c, ')');
}

static struct ptx_function *new_function(struct compile *c, const struct lex_token *name)
{
    struct ptx_module *m = c->module;
    struct ptx_function *f;

    m->functions = compile_grow(c, m->functions, m->function_count, &m->function_room,
                                sizeof(struct ptx_function *));
    f = calloc(1, sizeof(*f));
    if (!f)
        compile_memory(c);
    f->index = m->function_count;
    m->functions[m->function_count++] = f;
    f->module = m;
    f->max_threads = PTX_MAX_BLOCK;
    f->name = copy_name(c, name);
    return f;
}

static bool is_char(const struct compile *c, char character)
{
    return c->token.kind == LEX_CHAR && c->token.value == (unsigned char)character;
}

static void kernel_parameters(struct compile *c, struct ptx_function *f)
{
    free(f->parameters);
    f->parameters = calloc(f->in_count ? f->in_count : 1, sizeof(*f->parameters));
    if (!f->parameters)
        compile_memory(c);
    for (uint32_t i = 0; i < f->in_count; i++)
        f->parameters[i] = (struct ptx_parameter){f->in[i].offset, f->in[i].size, f->in[i].align};
}

static void performance_directives(struct compile *c, struct ptx_function *f)
{
    while (c->token.kind == LEX_NAME && c->token.text[0] == '.') {
        struct lex_token name = take_name(c);
        uint64_t values[3] = {1, 1, 1}, product = 1;
        unsigned n = 0;

        if (lex_is(&name, ".noreturn") || lex_is(&name, ".explicitcluster") ||
            lex_is(&name, ".blocksareclusters") || lex_is(&name, ".unique"))
            continue;
        if (lex_is(&name, ".pragma")) {
            while (!compile_char(c, ';')) {
                if (c->token.kind == LEX_END)
                    unexpected(c);
                compile_next(c);
            }
            continue;
        }
        do {
            uint64_t value = take_int(c);

            if (n < 3)
                values[n++] = value ? (value < 65536 ? value : 65536) : 1;
        } while (compile_char(c, ','));
        product = values[0] * values[1] * values[2];
        if (lex_is(&name, ".maxntid") || lex_is(&name, ".reqntid"))
            f->max_threads = product < PTX_MAX_BLOCK ? (uint32_t)product : PTX_MAX_BLOCK;
        if (lex_is(&name, ".reqntid"))
            for (unsigned i = 0; i < 3; i++)
                f->required[i] = (uint32_t)values[i];
    }
}

static void parse_function(struct compile *c, bool kernel)
{
    struct lex lex_out = c->lex, lex_after;
    struct lex_token token_out = c->token, token_after;
    struct lex_token name;
    struct symbol *s;
    struct ptx_function *f;
    bool returns = is_char(c, '(');

    /* The name comes behind the results: they are read again once it is known. */
    if (returns)
        while (!compile_char(c, ')')) {
            if (c->token.kind == LEX_END)
                unexpected(c);
            compile_next(c);
        }
    name = take_name(c);
    s = symbol_find(c, name.text, name.size);
    if (s && s->kind != SYMBOL_FUNCTION)
        compile_fail(c, name.line, "Duplicate definition of '%.*s'", (int)name.size, name.text);
    if (!s) {
        s = symbol_add(c, &name, SYMBOL_FUNCTION);
        s->function = new_function(c, &name);
    }
    f = s->function;
    if (f->defined)
        compile_fail(c, name.line, "Duplicate definition of '%.*s'", (int)name.size, name.text);
    f->kernel = kernel;
    f->param_bytes = 0;
    c->function = f;
    c->slots = 0;
    c->local = 0;
    scope_push(c);
    if (returns) {
        lex_after = c->lex;
        token_after = c->token;
        c->lex = lex_out;
        c->token = token_out;
        parse_parameters(c, f, true);
        c->lex = lex_after;
        c->token = token_after;
    }
    if (is_char(c, '('))
        parse_parameters(c, f, false);
    else
        f->in_count = 0;
    if (kernel)
        kernel_parameters(c, f);
    performance_directives(c, f);
    if (is_char(c, '{')) {
        f->defined = true;
        compile_body(c, f);
    } else {
        compile_expect(c, ';');
        f->builtin = builtin_find(name.text, name.size);
        if (f->builtin && !strcmp(f->builtin->name, "malloc"))
            c->module->allocates = true;
    }
    scope_pop(c);
    c->function = NULL;
}

static void skip_braces(struct compile *c)
{
    uint32_t depth = 0;

    do {
        if (c->token.kind == LEX_END)
            unexpected(c);
        if (is_char(c, '{'))
            depth++;
        if (is_char(c, '}'))
            depth--;
        /* Numbers of debug sections may be anything. */
        lex_next(&c->lex, &c->token);
    } while (depth);
}

static void skip_line(struct compile *c)
{
    uint32_t line = c->token.line;

    while (c->token.kind != LEX_END && c->token.line == line)
        lex_next(&c->lex, &c->token);
}

static void parse_target(struct compile *c)
{
    do {
        struct lex_token name = take_name(c);

        if (name.size > 3 && !memcmp(name.text, "sm_", 3)) {
            for (uint32_t i = 3; i < name.size && c->module->version < 1000; i++)
                if (name.text[i] >= '0' && name.text[i] <= '9')
                    c->module->version = c->module->version * 10 + (uint32_t)(name.text[i] - '0');
        }
    } while (compile_char(c, ','));
}

static void parse_alias(struct compile *c)
{
    struct lex_token name = take_name(c), target;
    struct symbol *s, *t;

    compile_expect(c, ',');
    target = take_name(c);
    compile_expect(c, ';');
    t = symbol_find(c, target.text, target.size);
    s = symbol_find(c, name.text, name.size);
    if (!t || t->kind != SYMBOL_FUNCTION || !s || s->kind != SYMBOL_FUNCTION ||
        s->function->defined)
        compile_fail(c, name.line, "Alias '%.*s' cannot be resolved", (int)name.size, name.text);
    s->function = t->function;
}

static void parse_module(struct compile *c)
{
    bool external = false;

    compile_next(c);
    if (!lex_is(&c->token, ".version"))
        compile_fail(c, c->token.line, "Missing .version directive at start of file");
    while (c->token.kind != LEX_END) {
        struct lex_token name;

        if (compile_char(c, ';'))
            continue;
        if (lex_is(&c->token, ".file")) {
            skip_line(c);
            continue;
        }
        name = take_name(c);
        if (lex_is(&name, ".version")) {
            if (c->token.kind != LEX_F64 && c->token.kind != LEX_INT)
                unexpected(c);
            compile_next(c);
        } else if (lex_is(&name, ".target")) {
            parse_target(c);
        } else if (lex_is(&name, ".address_size")) {
            if (take_int(c) != 64)
                compile_fail(c, name.line, "Only 64-bit addresses are supported");
        } else if (lex_is(&name, ".extern")) {
            external = true;
            continue;
        } else if (lex_is(&name, ".visible") || lex_is(&name, ".weak") ||
                   lex_is(&name, ".common")) {
            continue;
        } else if (lex_is(&name, ".entry")) {
            parse_function(c, true);
        } else if (lex_is(&name, ".func")) {
            parse_function(c, false);
        } else if (lex_is(&name, ".global")) {
            declare_variables(c, ".global", external);
        } else if (lex_is(&name, ".const")) {
            declare_variables(c, ".const", external);
        } else if (lex_is(&name, ".shared")) {
            declare_variables(c, ".shared", external);
        } else if (lex_is(&name, ".section")) {
            while (c->token.kind == LEX_NAME)
                lex_next(&c->lex, &c->token);
            skip_braces(c);
        } else if (lex_is(&name, ".alias")) {
            parse_alias(c);
        } else if (lex_is(&name, ".pragma")) {
            while (!compile_char(c, ';')) {
                if (c->token.kind == LEX_END)
                    unexpected(c);
                compile_next(c);
            }
        } else {
            compile_fail(c, name.line, "Parsing error near '%.*s': syntax error",
                         name.size < 64 ? (int)name.size : 64, name.text);
        }
        external = false;
    }
}

/* The functions a kernel may reach, and where their shared variables are. */
static void layout(struct compile *c, struct ptx_function *kernel)
{
    struct ptx_module *m = c->module;
    uint8_t *reached = compile_arena(c, m->function_count);
    uint8_t *used = compile_arena(c, m->shared_count + 1);
    uint32_t *work = compile_arena(c, (m->function_count + 1) * sizeof(*work)), count = 0;
    uint32_t at = 0, dynamic_align = 16;
    bool any = false;

    memset(reached, 0, m->function_count);
    memset(used, 0, m->shared_count + 1);
    work[count++] = kernel->index;
    reached[kernel->index] = 1;
    while (count) {
        struct ptx_function *f = m->functions[work[--count]];

        for (uint32_t i = 0; i < f->shared_use_count; i++)
            used[f->shared_uses[i]] = 1;
        for (uint32_t i = 0; i < f->call_count; i++)
            if (!reached[f->calls[i]]) {
                reached[f->calls[i]] = 1;
                work[count++] = f->calls[i];
            }
        if (f->calls_any && !any) {
            any = true;
            for (uint32_t i = 0; i < m->function_count; i++)
                if (!reached[i] && !m->functions[i]->kernel) {
                    reached[i] = 1;
                    work[count++] = i;
                }
        }
    }
    kernel->shared_at = calloc(m->shared_count + 1, sizeof(*kernel->shared_at));
    if (!kernel->shared_at)
        compile_memory(c);
    for (uint32_t i = 0; i < m->shared_count; i++) {
        if (!used[i] || m->shared[i].dynamic)
            continue;
        at = align_up(at, m->shared[i].align);
        kernel->shared_at[i] = at;
        if (m->shared[i].size > PTX_MAX_SHARED || at + m->shared[i].size > PTX_MAX_SHARED)
            compile_fail(c, 0, "Entry function '%s' uses too much shared data (max 0x%x)",
                         kernel->name, PTX_MAX_SHARED);
        at += (uint32_t)m->shared[i].size;
    }
    kernel->shared_static = at;
    for (uint32_t i = 0; i < m->shared_count; i++)
        if (used[i] && m->shared[i].dynamic && m->shared[i].align > dynamic_align)
            dynamic_align = m->shared[i].align;
    kernel->shared_dynamic_at = align_up(at, dynamic_align);
    for (uint32_t i = 0; i < m->shared_count; i++)
        if (m->shared[i].dynamic)
            kernel->shared_at[i] = kernel->shared_dynamic_at;
    kernel->as_kernel = calloc(1, sizeof(*kernel->as_kernel));
    if (!kernel->as_kernel)
        compile_memory(c);
    kernel->as_kernel->function = kernel;
}

#ifdef PTX_X86
/* Clang 14 does not know it by name. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}
#endif

/* The best that this processor has, or VIADUCT_PTX_SIMD = base, avx2: for tests of the others. */
static const struct isa *choose_isa(void)
{
    static const struct isa base = {alu_base, mem_base};
#ifdef PTX_X86
    static const struct isa avx2 = {alu_avx2, mem_avx2}, avx512 = {alu_avx512, mem_avx512};
    const char *most = getenv("VIADUCT_PTX_SIMD");

    __builtin_cpu_init();
    if (most && !strcmp(most, "base"))
        return &base;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) {
        if ((!most || strcmp(most, "avx2")) && __builtin_cpu_supports("avx512f") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd"))
            return &avx512;
        return &avx2;
    }
#endif
    return &base;
}

int ptx_module_create(struct ptx_context *context, const char *text, size_t size, char *log,
                      size_t log_size, struct ptx_module **ret_module)
{
    struct compile *c;
    int err;

    if (log && log_size)
        log[0] = '\0';
    if (!text || size > MAX_TEXT)
        return VD_ERR_PARAMETER;
    c = calloc(1, sizeof(*c));
    if (!c)
        return VD_ERR_MEMORY;
    c->log = log;
    c->log_size = log_size;
    c->lex = (struct lex){text, text + size, 1};
    c->isa = choose_isa();
    c->module = calloc(1, sizeof(*c->module));
    if (!c->module) {
        free(c);
        return VD_ERR_MEMORY;
    }
    c->module->context = context;
    if (!setjmp(c->failed)) {
        parse_module(c);
        for (uint32_t i = 0; i < c->module->function_count; i++)
            if (c->module->functions[i]->kernel && c->module->functions[i]->defined)
                layout(c, c->module->functions[i]);
    }
    err = c->error;
    while (c->arena) {
        struct arena_chunk *next = c->arena->next;

        free(c->arena);
        c->arena = next;
    }
    if (err)
        ptx_module_destroy(c->module);
    else
        *ret_module = c->module;
    free(c);
    return err;
}

static void free_function(struct ptx_function *f)
{
    free(f->name);
    free(f->in);
    free(f->out);
    free(f->insns);
    free(f->constants);
    free(f->shared_uses);
    free(f->calls);
    free(f->shared_at);
    free(f->parameters);
    free(f->as_kernel);
    free(f);
}

void ptx_module_destroy(struct ptx_module *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->function_count; i++)
        free_function(m->functions[i]);
    for (uint32_t i = 0; i < m->global_count; i++) {
        memory_destroy(&m->context->memory, m->globals[i].address);
        free(m->globals[i].name);
    }
    for (uint32_t i = 0; i < m->target_count; i++)
        free(m->targets[i]);
    for (uint32_t i = 0; i < m->call_count; i++) {
        free(m->calls[i]->in);
        free(m->calls[i]->out);
        free(m->calls[i]);
    }
    free(m->functions);
    free(m->globals);
    free(m->shared);
    free(m->targets);
    free(m->calls);
    free(m);
}

int ptx_module_kernel(struct ptx_module *m, const char *name, struct ptx_kernel **ret_kernel)
{
    for (uint32_t i = 0; i < m->function_count; i++)
        if (m->functions[i]->as_kernel && !strcmp(m->functions[i]->name, name)) {
            *ret_kernel = m->functions[i]->as_kernel;
            return 0;
        }
    return VD_ERR_ID;
}

struct ptx_kernel *ptx_module_kernel_at(struct ptx_module *m, unsigned index)
{
    for (uint32_t i = 0; i < m->function_count; i++)
        if (m->functions[i]->as_kernel && !index--)
            return m->functions[i]->as_kernel;
    return NULL;
}

int ptx_module_global(struct ptx_module *m, const char *name, uint64_t *ret_address,
                      uint64_t *ret_size)
{
    for (uint32_t i = 0; i < m->global_count; i++)
        if (!strcmp(m->globals[i].name, name)) {
            *ret_address = m->globals[i].address;
            *ret_size = m->globals[i].size;
            return 0;
        }
    return VD_ERR_ID;
}

void ptx_kernel_attributes(const struct ptx_kernel *kernel, struct ptx_attributes *ret)
{
    const struct ptx_function *f = kernel->function;

    *ret = (struct ptx_attributes){
        .name = f->name,
        .parameter_count = f->in_count,
        .parameter_bytes = f->param_bytes,
        .parameters = f->parameters,
        .registers = f->registers,
        .shared_bytes = f->shared_static,
        .const_bytes = (uint32_t)f->module->const_bytes,
        .local_bytes = f->local_bytes,
        .max_threads = f->max_threads,
        .required = {f->required[0], f->required[1], f->required[2]},
        .version = f->module->version,
    };
}

unsigned ptx_module_global_count(const struct ptx_module *module)
{
    return module->global_count;
}

void ptx_module_global_at(const struct ptx_module *module, unsigned index, const char **ret_name,
                          uint64_t *ret_address, uint64_t *ret_size)
{
    *ret_name = module->globals[index].name;
    *ret_address = module->globals[index].address;
    *ret_size = module->globals[index].size;
}
