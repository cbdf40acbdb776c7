/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#ifdef PTX_X86
#include <cpuid.h>
#endif

#include <viaduct/errors.h>

#include "child.h"
#include "compile.h"
#include "matrix.h"

/* A module: its directives, heads of functions, and what programs ask about it. */

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
    f->name = compile_copy(c, name);
    return f;
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

/* What begins another statement of a module, so that a declaration before it ends without ';'. */
static bool begins_statement(const struct lex_token *t)
{
    static const char *const names[] = {".visible", ".extern", ".weak",    ".common",
                                        ".func",    ".entry",  ".global",  ".const",
                                        ".shared",  ".file",   ".section", ".alias"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (lex_is(t, names[i]))
            return true;
    return false;
}

static void performance_directives(struct compile *c, struct ptx_function *f)
{
    while (c->token.kind == LEX_NAME && c->token.text[0] == '.' && !begins_statement(&c->token)) {
        struct lex_token name = compile_name(c);
        uint64_t values[3] = {1, 1, 1}, product = 1;
        unsigned n = 0;

        if (lex_is(&name, ".noreturn") || lex_is(&name, ".explicitcluster") ||
            lex_is(&name, ".blocksareclusters") || lex_is(&name, ".unique"))
            continue;
        if (lex_is(&name, ".pragma")) {
            while (!compile_char(c, ';')) {
                /* Anyone may ignore a pragma: this one is of the linker here. */
                c->partial |= c->token.kind == LEX_STRING && c->token.size == strlen(PTX_PARTIAL) &&
                              !memcmp(c->token.text, PTX_PARTIAL, c->token.size);
                if (c->token.kind == LEX_END)
                    compile_unexpected(c);
                compile_next(c);
            }
            continue;
        }
        do {
            uint64_t value = compile_int(c);

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

static void use_builtin(struct compile *c, struct ptx_function *f, const struct lex_token *name)
{
    f->builtin = builtin_find(name->text, name->size);
    if (f->builtin) {
        c->module->allocates |= f->builtin->allocates;
        c->module->launches |= f->builtin->launches;
    }
}

static void parse_function(struct compile *c, bool kernel)
{
    struct lex lex_out = c->lex, lex_after;
    struct lex_token token_out = c->token, token_after;
    struct lex_token name;
    struct symbol *s;
    struct ptx_function *f;
    bool returns = compile_is(c, '('), again = false, strong = false;

    /* The name comes behind the results: they are read again once it is known. */
    if (returns)
        while (!compile_char(c, ')')) {
            if (c->token.kind == LEX_END)
                compile_unexpected(c);
            compile_next(c);
        }
    name = compile_name(c);
    s = symbol_find(c, name.text, name.size);
    if (s && s->kind != SYMBOL_FUNCTION)
        compile_fail(c, name.line, "Duplicate definition of '%.*s'", (int)name.size, name.text);
    if (!s) {
        s = symbol_add(c, &name, SYMBOL_FUNCTION);
        s->function = new_function(c, &name);
    }
    f = s->function;
    if (f->defined) {
        /* Another unit's function: declared again, or one of the same that both have. The first
         * is the one that is called. */
        again = true;
        strong = !c->weak && !s->weak && !c->external;
        f = new_function(c, &name);
    }
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
    if (compile_is(c, '('))
        parse_parameters(c, f, false);
    else
        f->in_count = 0;
    if (kernel)
        kernel_parameters(c, f);
    performance_directives(c, f);
    if (compile_is(c, '{') && !kernel && child_replaces(name.text, name.size)) {
        compile_skip_braces(c);
        use_builtin(c, f, &name);
    } else if (compile_is(c, '{')) {
        if (again && (c->units == 1 || strong))
            compile_fail(c, name.line, "Duplicate definition of '%.*s'", (int)name.size, name.text);
        if (!again)
            s->weak = c->weak;
        f->defined = true;
        compile_body(c, f);
        f->defined = !again;
    } else {
        /* ptxas wants no ';' behind functions, and compilers before PTX 3 wrote none. */
        if (kernel || (c->token.kind != LEX_END && !begins_statement(&c->token)))
            compile_expect(c, ';');
        use_builtin(c, f, &name);
    }
    scope_pop(c);
    c->function = NULL;
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
        struct lex_token name = compile_name(c);

        if (name.size > 3 && !memcmp(name.text, "sm_", 3)) {
            for (uint32_t i = 3; i < name.size && c->module->version < 1000; i++)
                if (name.text[i] >= '0' && name.text[i] <= '9')
                    c->module->version = c->module->version * 10 + (uint32_t)(name.text[i] - '0');
        }
    } while (compile_char(c, ','));
}

static void parse_alias(struct compile *c)
{
    struct lex_token name = compile_name(c), target;
    struct symbol *s, *t;

    compile_expect(c, ',');
    target = compile_name(c);
    compile_expect(c, ';');
    t = symbol_find(c, target.text, target.size);
    s = symbol_find(c, name.text, name.size);
    if (!t || t->kind != SYMBOL_FUNCTION || !s || s->kind != SYMBOL_FUNCTION ||
        s->function->defined)
        compile_fail(c, name.line, "Alias '%.*s' cannot be resolved", (int)name.size, name.text);
    /* Calls that were compiled before this was known. */
    for (uint32_t i = 0; i < c->module->call_count; i++)
        if (c->module->calls[i]->callee == s->function)
            c->module->calls[i]->callee = t->function;
    for (uint32_t i = 0; i < c->module->function_count; i++) {
        struct ptx_function *f = c->module->functions[i];

        for (uint32_t j = 0; j < f->call_count; j++)
            if (f->calls[j] == s->function->index)
                f->calls[j] = t->function->index;
    }
    s->function = t->function;
}

/*
 * Every function that a kernel may come to by calls is there, but in a piece that a linker tries
 * out. What no kernel comes to may lack some: device runtimes that compilers link to everything do.
 */
static void check_calls(struct compile *c)
{
    const struct ptx_module *m = c->module;
    uint8_t *reached = compile_arena(c, m->function_count + 1);
    uint32_t *work = compile_arena(c, (m->function_count + 1) * sizeof(*work)), count = 0;

    memset(reached, 0, m->function_count + 1);
    for (uint32_t i = 0; i < m->function_count; i++)
        if (m->functions[i]->kernel && m->functions[i]->defined) {
            reached[i] = 1;
            work[count++] = i;
        }
    while (count) {
        const struct ptx_function *f = m->functions[work[--count]];

        for (uint32_t j = 0; j < f->call_count; j++) {
            const struct ptx_function *callee = m->functions[f->calls[j]];

            if (callee->defined && !reached[callee->index]) {
                reached[callee->index] = 1;
                work[count++] = callee->index;
            }
            if (callee->defined || callee->builtin)
                continue;
            compile_fail(c, 0, "Unresolved extern function '%s', called by '%s'", callee->name,
                         f->name);
        }
    }
}

/* How many units a text has: what a linker made of several pieces of PTX is one text, in which
 * each begins with .version. */
static bool has_units(const struct compile *c)
{
    struct lex lex = c->lex;
    struct lex_token t;
    unsigned count = 0;

    for (lex_next(&lex, &t); t.kind != LEX_END && count < 2; lex_next(&lex, &t))
        count += lex_is(&t, ".version");
    return count > 1;
}

static void parse_module(struct compile *c)
{
    if (has_units(c)) {
        struct lex lex = c->lex;

        declare_linked(c);
        c->lex = lex;
    }
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
        name = compile_name(c);
        if (lex_is(&name, ".version")) {
            if (c->token.kind != LEX_F64 && c->token.kind != LEX_INT)
                compile_unexpected(c);
            compile_next(c);
            if (c->units++)
                scope_unit(c);
        } else if (lex_is(&name, ".target")) {
            parse_target(c);
        } else if (lex_is(&name, ".address_size")) {
            if (compile_int(c) != 64)
                compile_fail(c, name.line, "Only 64-bit addresses are supported");
        } else if (lex_is(&name, ".extern")) {
            c->external = c->linked = true;
            continue;
        } else if (lex_is(&name, ".visible")) {
            c->linked = true;
            continue;
        } else if (lex_is(&name, ".weak") || lex_is(&name, ".common")) {
            c->linked = c->weak = true;
            continue;
        } else if (lex_is(&name, ".entry")) {
            parse_function(c, true);
        } else if (lex_is(&name, ".func")) {
            parse_function(c, false);
        } else if (lex_is(&name, ".global")) {
            declare_variables(c, ".global", c->external);
        } else if (lex_is(&name, ".const")) {
            declare_variables(c, ".const", c->external);
        } else if (lex_is(&name, ".shared")) {
            declare_variables(c, ".shared", c->external);
        } else if (lex_is(&name, ".section")) {
            while (c->token.kind == LEX_NAME)
                lex_next(&c->lex, &c->token);
            compile_skip_braces(c);
        } else if (lex_is(&name, ".alias")) {
            parse_alias(c);
        } else if (lex_is(&name, ".pragma")) {
            while (!compile_char(c, ';')) {
                if (c->token.kind == LEX_END)
                    compile_unexpected(c);
                compile_next(c);
            }
        } else {
            compile_fail(c, name.line, "Parsing error near '%.*s': syntax error",
                         name.size < 64 ? (int)name.size : 64, name.text);
        }
        c->external = c->linked = c->weak = false;
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
    static const struct isa base = {alu_base, mem_base, matrix_base, sample_base};
#ifdef PTX_X86
    static const struct isa avx2 = {alu_avx2, mem_avx2, matrix_avx2, sample_avx2},
                            avx512 = {alu_avx512, mem_avx512, matrix_avx512, sample_avx512};
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
        if (!c->partial)
            check_calls(c);
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
        if (!m->globals[i].placed)
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
    for (uint32_t i = 0; i < m->matrix_count; i++) {
        free(m->matrices[i]->a.at);
        free(m->matrices[i]->b.at);
        free(m->matrices[i]->c.at);
        free(m->matrices[i]->d.at);
        free(m->matrices[i]);
    }
    for (uint32_t i = 0; i < m->form_count; i++)
        free(m->forms[i]);
    free(m->forms);
    free(m->matrices);
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
