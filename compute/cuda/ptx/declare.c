/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/texture.h>

#include "compile.h"

/* Types, variables and what they begin with, parameters of functions. */

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
            d->align = (uint32_t)compile_int(c);
            if (!d->align || d->align & (d->align - 1) || d->align > 4096)
                compile_fail(c, c->token.line, "Alignment must be a power of two");
            continue;
        }
        if (lex_is(&c->token, ".v2") || lex_is(&c->token, ".v4") || lex_is(&c->token, ".v8")) {
            vector = (uint32_t)(c->token.text[2] - '0');
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
                    compile_unexpected(c);
                if (lex_is(&c->token, ".place")) {
                    compile_next(c);
                    d->place = compile_int(c);
                } else {
                    compile_next(c);
                }
            }
            continue;
        }
        for (size_t i = 0; !known && i < sizeof(types) / sizeof(types[0]); i++)
            if (lex_is(&c->token, types[i].name)) {
                d->bits = types[i].bits;
                d->predicate = types[i].bits == 1;
                if (strstr(types[i].name, "ref"))
                    d->reference = types[i].name[1] == 't'   ? CUDA_TEXTURE_MAGIC
                                   : types[i].name[2] == 'a' ? CUDA_SAMPLER_MAGIC
                                                             : CUDA_SURFACE_MAGIC;
                known = true;
            }
        if (!known)
            compile_unexpected(c);
        compile_next(c);
    }
    if (!d->bits)
        compile_unexpected(c);
    d->vector = vector;
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
                compile_unexpected(c);
        }
        compile_next(c);
        if (compile_char(c, '+'))
            value += compile_int(c);
        else if (compile_char(c, '-'))
            value -= compile_int(c);
        return value;
    } else {
        compile_unexpected(c);
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
        compile_unexpected(c);
}

/* PTX ISA, "Opaque Types": the names of numbers. */
static uint32_t named_value(struct compile *c)
{
    static const struct {
        const char *name;
        uint32_t value;
    } names[] = {{"nearest", CU_TR_FILTER_MODE_POINT},
                 {"linear", CU_TR_FILTER_MODE_LINEAR},
                 {"wrap", CU_TR_ADDRESS_MODE_WRAP},
                 {"mirror", CU_TR_ADDRESS_MODE_MIRROR},
                 {"clamp_ogl", CU_TR_ADDRESS_MODE_CLAMP},
                 {"clamp_to_edge", CU_TR_ADDRESS_MODE_CLAMP},
                 {"clamp_to_border", CU_TR_ADDRESS_MODE_BORDER}};

    if (c->token.kind == LEX_INT)
        return (uint32_t)compile_int(c);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (lex_is(&c->token, names[i].name)) {
            compile_next(c);
            return names[i].value;
        }
    compile_unexpected(c);
}

/*
 * { field = value, … } of a .texref, .samplerref, .surfref: how it is read. What it is of, such as
 * its width, is said when something is bound to it.
 */
static void initialise_reference(struct compile *c, const struct declarator *d, uint8_t *host)
{
    static const char *const shape[] = {"width", "height", "depth", "channel_order",
                                        "channel_data_type"};
    bool surface = d->reference == CUDA_SURFACE_MAGIC, texture = d->reference == CUDA_TEXTURE_MAGIC;
    struct cuda_texture t = {.magic = 0};

    compile_expect(c, '{');
    do {
        struct lex_token name = c->token;
        uint32_t value;

        compile_next(c);
        compile_expect(c, '=');
        value = named_value(c);
        if (!surface && lex_is(&name, "filter_mode") && value <= CU_TR_FILTER_MODE_LINEAR) {
            t.filter = value;
        } else if (!surface && name.size == 11 && !memcmp(name.text, "addr_mode_", 10) &&
                   name.text[10] >= '0' && name.text[10] <= '2' &&
                   value <= CU_TR_ADDRESS_MODE_BORDER) {
            t.modes[name.text[10] - '0'] = value;
        } else if (texture && lex_is(&name, "normalized_coords")) {
            t.flags |= value ? CU_TRSF_NORMALIZED_COORDINATES : 0;
        } else if (d->reference == CUDA_SAMPLER_MAGIC &&
                   lex_is(&name, "force_unnormalized_coords")) {
            t.layout |= value ? CUDA_SAMPLER_TEXELS : 0;
        } else {
            bool known = false;

            for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++)
                known |= lex_is(&name, shape[i]);
            if (!known || d->reference == CUDA_SAMPLER_MAGIC)
                compile_fail(c, name.line, "Unknown or wrong property '%.*s'", (int)name.size,
                             name.text);
        }
    } while (compile_char(c, ','));
    compile_expect(c, '}');
    if (d->reference == CUDA_SAMPLER_MAGIC)
        t.magic = CUDA_SAMPLER_MAGIC;
    memcpy(host, &t, sizeof(t));
}

/* A variable that has a place lies in memory that was given to the context. */
static void check_place(struct compile *c, const struct declarator *d)
{
    struct memory *m = &c->module->context->memory;
    const struct region *r;
    bool there;

    pthread_rwlock_rdlock(&m->lock);
    r = memory_find(m, d->place);
    there = r && !r->constant && d->place % d->align == 0 &&
            d->size <= r->size - (d->place - r->address);
    pthread_rwlock_unlock(&m->lock);
    if (!there)
        compile_fail(c, d->name.line, "Memory of managed variable '%.*s' is not there",
                     (int)d->name.size, d->name.text);
}

/* The variable, made if it is not there yet. */
static struct symbol *global_symbol(struct compile *c, struct declarator *d, bool constant)
{
    struct ptx_module *m = c->module;
    struct symbol *s = symbol_find(c, d->name.text, d->name.size);
    struct ptx_global *g;

    if (s && s->kind == SYMBOL_GLOBAL && s->scope == c->scope)
        return s;
    s = symbol_add(c, &d->name, SYMBOL_GLOBAL);
    s->bytes = d->size ? d->size : 1;
    m->globals = compile_grow(c, m->globals, m->global_count, &m->global_room, sizeof(*g));
    g = &m->globals[m->global_count];
    g->placed = d->place != 0;
    if (g->placed) {
        check_place(c, d);
        g->address = d->place;
    } else if (memory_create(&m->context->memory, s->bytes, NULL, constant, &g->address)) {
        compile_memory(c);
    }
    g->size = d->size;
    g->name = NULL;
    m->global_count++;
    g->name = compile_copy(c, &d->name);
    s->value = g->address;
    if (constant)
        m->const_bytes += d->size;
    return s;
}

static void declare_global(struct compile *c, struct declarator *d, bool constant, bool external)
{
    struct ptx_module *m = c->module;
    struct symbol *s = global_symbol(c, d, constant);
    const struct region *r;
    uint8_t *host;
    bool begins;

    if (external)
        return;
    if (s->bytes < d->size)
        compile_fail(c, d->name.line, "Declarations of '%.*s' differ", (int)d->name.size,
                     d->name.text);
    if (s->defined && c->units > 1 && !c->weak && !s->weak)
        compile_fail(c, d->name.line, "Multiple definition of '%.*s'", (int)d->name.size,
                     d->name.text);
    s->weak = c->weak;
    begins = compile_char(c, '=');
    if (!begins && d->reference != CUDA_SAMPLER_MAGIC) {
        s->defined = true;
        return;
    }
    if (begins && d->reference && d->size != CUDA_TEXTURE_BYTES)
        compile_unexpected(c); /* several */
    if (begins && s->defined && c->units > 1) {
        uint8_t *unused = compile_arena(c, s->bytes);

        /* Another unit's stays; what this one would begin with is read all the same. */
        if (d->reference)
            initialise_reference(c, d, unused);
        else
            initialise(c, d, unused, s->bytes);
        return;
    }
    s->defined = true;
    pthread_rwlock_rdlock(&m->context->memory.lock);
    r = memory_find(&m->context->memory, s->value);
    host = r ? r->host + (s->value - r->address) : NULL;
    pthread_rwlock_unlock(&m->context->memory.lock);
    if (!host)
        compile_fail(c, d->name.line, "Memory of managed variable '%.*s' is not there",
                     (int)d->name.size, d->name.text);
    if (!begins) {
        /* Samplers mean something from the start. */
        const uint32_t magic = CUDA_SAMPLER_MAGIC;

        for (uint64_t i = 0; i + CUDA_TEXTURE_BYTES <= d->size; i += CUDA_TEXTURE_BYTES)
            memcpy(host + i, &magic, sizeof(magic));
    } else if (d->reference) {
        initialise_reference(c, d, host);
    } else {
        initialise(c, d, host, s->bytes);
    }
}

static void skip_initialiser(struct compile *c)
{
    while (c->token.kind != LEX_END && !compile_is(c, ',') && !compile_is(c, ';')) {
        if (compile_is(c, '{'))
            compile_skip_braces(c);
        else
            lex_next(&c->lex, &c->token);
    }
}

static void announce(struct compile *c, bool constant)
{
    struct declarator d, one;

    parse_type(c, &d);
    if (d.reference)
        d.size = CUDA_TEXTURE_BYTES;
    do {
        one = d;
        one.name = compile_name(c);
        parse_sizes(c, &one);
        if (one.predicate || one.empty_array)
            compile_unexpected(c);
        d.place = 0; /* the first one's */
        global_symbol(c, &one, constant);
        skip_initialiser(c);
    } while (compile_char(c, ','));
}

void declare_linked(struct compile *c)
{
    bool external = false, linked = false;

    lex_next(&c->lex, &c->token);
    while (c->token.kind != LEX_END) {
        struct lex_token t = c->token;

        if (compile_is(c, '{')) {
            compile_skip_braces(c);
            external = linked = false;
            continue;
        }
        lex_next(&c->lex, &c->token);
        if (lex_is(&t, ".extern")) {
            external = true;
        } else if (lex_is(&t, ".visible") || lex_is(&t, ".weak") || lex_is(&t, ".common")) {
            linked = true;
        } else {
            if (linked && !external && (lex_is(&t, ".global") || lex_is(&t, ".const"))) {
                c->linked = true;
                announce(c, t.text[1] == 'c');
                c->linked = false;
            }
            external = linked = false;
        }
    }
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
        d.place = 0; /* the first one's */
        one.name = compile_name(c);
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
            compile_unexpected(c);
        compile_next(c);
        parse_type(c, &d);
        d.name = compile_name(c);
        parse_sizes(c, &d);
        if (d.size > MAX_PARAMETERS * 8 || *count >= 4096)
            compile_fail(c, d.name.line, "Parameters exceed the limit");
        *list = compile_grow(c, *list, *count, &room, sizeof(*a));
        a = &(*list)[(*count)++];
        *a = (struct ptx_argument){.size = (uint32_t)d.size, .align = d.align, .slot = NO_SLOT};
        if (is_register) {
            if (f->kernel)
                compile_unexpected(c);
            if (d.bits < 16 && d.bits != 1)
                d.bits = 16;
            a->size = d.bits == 64 ? 8 : 4;
            a->slot = compile_slot(c, d.bits);
            /* A vector is an argument each element. */
            for (uint32_t i = 1; i < d.vector; i++) {
                uint32_t slot = compile_slot(c, d.bits);

                *list = compile_grow(c, *list, *count, &room, sizeof(*a));
                a = &(*list)[(*count)++];
                *a = a[-1];
                a->slot = slot;
            }
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
                s->vector = d.vector;
                s->slots = compile_arena(c, d.vector * sizeof(*s->slots));
                for (uint32_t i = 0; i < d.vector; i++)
                    s->slots[i] = a[(int)i - (int)d.vector + 1].slot;
            }
        }
    } while (compile_char(c, ','));
    compile_expect(c, ')');
}
