/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <stdlib.h>
#include <string.h>

#include <compute/cuda/ptx/lex.h>

/*
 * Kernels, their parameters and the variables of a module, from its text: PTX ISA, "Directives".
 * Drivers enumerate kernels since CUDA 12.4, and variables never. Whether the rest is right is the
 * driver's business, which has compiled it before.
 */

struct scan {
    struct lex lex;
    struct lex_token token;
    struct native_ptx *ptx;
};

static void next(struct scan *s)
{
    lex_next(&s->lex, &s->token);
}

static bool is_char(const struct scan *s, char c)
{
    return s->token.kind == LEX_CHAR && s->token.value == (unsigned char)c;
}

static void *grow(void *array, unsigned count, unsigned *room, size_t element)
{
    void *grown;

    if (count < *room)
        return array;
    grown = realloc(array, (*room ? *room * 2 : 16) * element);
    if (grown)
        *room = *room ? *room * 2 : 16;
    return grown;
}

/* Behind the '{' that is the token: to behind its '}'. */
static void skip_body(struct scan *s)
{
    unsigned depth = 0;

    do {
        if (is_char(s, '{'))
            depth++;
        else if (is_char(s, '}'))
            depth--;
        next(s);
    } while (depth && s->token.kind != LEX_END);
}

static uint32_t bytes_of(const struct lex_token *t)
{
    /* The digits of .b64, .u8, .f32, ...; vectors are of several. */
    uint32_t bits = 0;

    for (uint32_t i = 2; i < t->size; i++)
        if (t->text[i] >= '0' && t->text[i] <= '9')
            bits = bits * 10 + (uint32_t)(t->text[i] - '0');
    return bits / 8;
}

static bool is_type(const struct lex_token *t)
{
    return t->kind == LEX_NAME && t->size >= 3 && t->text[0] == '.' && strchr("bufs", t->text[1]) &&
           t->text[2] >= '1' && t->text[2] <= '9';
}

static int add_parameter(struct scan *s, struct native_ptx_kernel *k, uint32_t size, uint32_t align)
{
    struct native_ptx *p = s->ptx;
    struct cuda_parameter *grown =
        grow(p->parameters, p->parameter_count, &p->parameter_room, sizeof(*grown));
    uint32_t offset;

    if (!grown)
        return CUDA_ERROR_OUT_OF_MEMORY;
    p->parameters = grown;
    if (!size || !align || size > 32768 || align > 4096 || (align & (align - 1)))
        return CUDA_ERROR_INVALID_PTX;
    offset = (k->parameter_bytes + align - 1) / align * align;
    if (offset + size > 32768)
        return CUDA_ERROR_INVALID_PTX;
    grown[p->parameter_count++] = (struct cuda_parameter){offset, size, align};
    k->parameter_bytes = offset + size;
    k->parameter_count++;
    return 0;
}

/* ".param .align 8 .b8 name[16]", ".param .u64 .ptr .global .align 4 name", ... from behind '('. */
static int scan_parameters(struct scan *s, struct native_ptx_kernel *k)
{
    int err = 0;

    while (!err && s->token.kind != LEX_END && !is_char(s, ')')) {
        uint32_t size = 0, align = 0, lanes = 1, count = 1;
        bool pointer = false;

        while (s->token.kind != LEX_END && !is_char(s, ')') && !is_char(s, ',')) {
            if (lex_is(&s->token, ".ptr")) {
                pointer = true;
            } else if (lex_is(&s->token, ".align")) {
                next(s);
                /* Behind .ptr it is that of what it points to. */
                if (s->token.kind == LEX_INT && !pointer)
                    align = s->token.value > 4096 ? 4097 : (uint32_t)s->token.value;
            } else if (lex_is(&s->token, ".v2") || lex_is(&s->token, ".v4")) {
                lanes = (uint32_t)(s->token.text[2] - '0');
            } else if (is_type(&s->token)) {
                size = bytes_of(&s->token);
            } else if (lex_is(&s->token, ".texref") || lex_is(&s->token, ".surfref") ||
                       lex_is(&s->token, ".samplerref")) {
                size = 8;
            } else if (is_char(s, '[')) {
                next(s);
                count = s->token.kind == LEX_INT && s->token.value <= 32768
                            ? (uint32_t)s->token.value
                            : 0;
            }
            next(s);
        }
        err = add_parameter(s, k, size > 16 || lanes * size > 64 ? 0 : lanes * size * count,
                            align ? align : lanes * size);
        if (is_char(s, ','))
            next(s);
    }
    return err || is_char(s, ')') ? err : CUDA_ERROR_INVALID_PTX;
}

static char *name_of(const struct lex_token *t)
{
    return t->kind == LEX_NAME && t->text[0] != '.' ? strndup(t->text, t->size) : NULL;
}

/* From behind ".entry". */
static int scan_entry(struct scan *s)
{
    struct native_ptx *p = s->ptx;
    struct native_ptx_kernel *grown =
                                 grow(p->kernels, p->kernel_count, &p->kernel_room, sizeof(*grown)),
                             *k;
    int err = 0;

    if (!grown)
        return CUDA_ERROR_OUT_OF_MEMORY;
    p->kernels = grown;
    k = &grown[p->kernel_count];
    *k = (struct native_ptx_kernel){.name = name_of(&s->token),
                                    .parameter_first = p->parameter_count};
    if (!k->name)
        return CUDA_ERROR_INVALID_PTX;
    p->kernel_count++;
    next(s);
    if (is_char(s, '(')) {
        next(s);
        err = scan_parameters(s, k);
    }
    while (!err && s->token.kind != LEX_END && !is_char(s, '{') && !is_char(s, ';'))
        next(s);
    if (is_char(s, '{')) {
        skip_body(s);
    } else if (!err) {
        /* A declaration. */
        p->kernel_count--;
        free(k->name);
        p->parameter_count = k->parameter_first;
    }
    return err;
}

/* From behind ".global" or ".const" at the top: each name, to behind ';'. */
static int scan_variables(struct scan *s, bool defined)
{
    struct native_ptx *p = s->ptx;
    bool wants = true;

    while (s->token.kind != LEX_END && !is_char(s, ';')) {
        if (is_char(s, '{')) {
            skip_body(s);
            continue;
        }
        if (is_char(s, ','))
            wants = true;
        if (s->token.kind == LEX_NAME && s->token.text[0] != '.' && wants) {
            char *name = name_of(&s->token), **grown;

            wants = false;
            grown = grow(p->globals, p->global_count, &p->global_room, sizeof(*grown));
            if (grown)
                p->globals = grown;
            if (!name || !grown) {
                free(name);
                return CUDA_ERROR_OUT_OF_MEMORY;
            }
            if (defined)
                p->globals[p->global_count++] = name;
            else
                free(name);
        }
        next(s);
    }
    return 0;
}

int native_ptx_scan(const char *text, size_t size, struct native_ptx *ret_ptx)
{
    struct scan s = {.lex = {.at = text, .end = text + strnlen(text, size), .line = 1},
                     .ptx = ret_ptx};
    bool defined = true;
    int err = 0;

    memset(ret_ptx, 0, sizeof(*ret_ptx));
    next(&s);
    while (!err && s.token.kind != LEX_END) {
        if (lex_is(&s.token, ".extern")) {
            defined = false;
            next(&s);
        } else if (lex_is(&s.token, ".entry")) {
            next(&s);
            err = scan_entry(&s);
            defined = true;
        } else if (lex_is(&s.token, ".global") || lex_is(&s.token, ".const")) {
            next(&s);
            err = scan_variables(&s, defined);
            defined = true;
        } else if (is_char(&s, '{')) {
            skip_body(&s);
            defined = true;
        } else {
            /* Behind functions that are declared there may be no ';'. */
            if (is_char(&s, ';') || lex_is(&s.token, ".func"))
                defined = true;
            next(&s);
        }
    }
    return err;
}

void native_ptx_finish(struct native_ptx *p)
{
    for (unsigned i = 0; i < p->kernel_count; i++)
        free(p->kernels[i].name);
    for (unsigned i = 0; i < p->global_count; i++)
        free(p->globals[i]);
    free(p->kernels);
    free(p->parameters);
    free(p->globals);
    memset(p, 0, sizeof(*p));
}
