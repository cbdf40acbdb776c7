/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/ptx/lex.h>

#include "managed.h"

/*
 * Managed variables (`.attribute(.managed)`, `__managed__` in C++): the host reads and writes them,
 * too, so they lie in managed memory that is taken here, and the text that is compiled says where:
 * `.attribute(.managed, .place 0x…)`, which is Viaduct's own. Each definition gets memory; of weak
 * ones that several units have, the first is taken.
 */

#define MAX_MANAGED (1u << 30) /* bytes of one module */

struct place {
    size_t at;       /* in the text, behind .managed */
    uint64_t offset; /* of the variable in the memory */
};

struct scan {
    struct lex lex;
    struct lex_token token;
    struct place *places;
    size_t count, room;
    uint64_t bytes;
};

static void next(struct scan *s)
{
    lex_next(&s->lex, &s->token);
}

static bool is_char(const struct scan *s, char c)
{
    return s->token.kind == LEX_CHAR && s->token.value == (unsigned char)c;
}

static CUresult add_place(struct scan *s, size_t at, uint64_t size, uint64_t align)
{
    if (s->count == s->room) {
        size_t room = s->room ? s->room * 2 : 16;
        struct place *grown = realloc(s->places, room * sizeof(*grown));

        if (!grown)
            return CUDA_ERROR_OUT_OF_MEMORY;
        s->places = grown;
        s->room = room;
    }
    s->bytes = (s->bytes + align - 1) / align * align;
    s->places[s->count++] = (struct place){at, s->bytes};
    s->bytes += size ? size : 1;
    return s->bytes > MAX_MANAGED ? CUDA_ERROR_INVALID_PTX : CUDA_SUCCESS;
}

/* Bytes of a type's elements; 0: it is none. */
static uint64_t type_bytes(const struct lex_token *t)
{
    unsigned bits = 0;

    if (t->kind != LEX_NAME || t->size < 3 || t->size > 4 || t->text[0] != '.' ||
        !strchr("busf", t->text[1]))
        return 0;
    for (unsigned i = 2; i < t->size; i++)
        bits = bits * 10 + (unsigned)(t->text[i] - '0');
    return bits == 8 || bits == 16 || bits == 32 || bits == 64 ? bits / 8 : 0;
}

/*
 * What follows .global. A mistake is left for the compiler to find: then no place is added, or one
 * that is not used.
 */
static CUresult declaration(struct scan *s, const char *text, bool external)
{
    uint64_t align = 0, bytes = 0, vector = 1, size;
    size_t managed = 0;

    while (s->token.kind == LEX_NAME && s->token.text[0] == '.') {
        if (lex_is(&s->token, ".align")) {
            next(s);
            if (s->token.kind == LEX_INT)
                align = s->token.value;
        } else if (lex_is(&s->token, ".managed")) {
            managed = (size_t)(s->token.text - text) + s->token.size;
        } else if (lex_is(&s->token, ".v2") || lex_is(&s->token, ".v4")) {
            vector = (uint64_t)(s->token.text[2] - '0');
        } else if (type_bytes(&s->token)) {
            bytes = type_bytes(&s->token);
        }
        next(s);
        while (is_char(s, '(') || is_char(s, ')') || is_char(s, ','))
            next(s);
    }
    if (!managed || external || s->token.kind != LEX_NAME || !bytes)
        return CUDA_SUCCESS;
    size = bytes * vector;
    if (!align)
        align = size;
    if (align & (align - 1) || align > 4096)
        return CUDA_SUCCESS;
    next(s);
    while (is_char(s, '[')) {
        next(s);
        if (s->token.kind != LEX_INT || s->token.value > MAX_MANAGED ||
            size * s->token.value > MAX_MANAGED)
            return CUDA_SUCCESS;
        size *= s->token.value;
        next(s);
        next(s);
    }
    return add_place(s, managed, size, align);
}

static CUresult scan(struct scan *s, const char *text)
{
    bool external = false;
    CUresult err = CUDA_SUCCESS;

    for (next(s); s->token.kind != LEX_END && !err;) {
        bool global = lex_is(&s->token, ".global");

        if (lex_is(&s->token, ".extern"))
            external = true;
        else if (is_char(s, ';') || is_char(s, '}'))
            external = false;
        next(s);
        if (global)
            err = declaration(s, text, external);
    }
    return err;
}

/* The text with the places in it. */
static char *rewrite(const struct scan *s, const char *text, size_t size, uint64_t base,
                     size_t *ret_size)
{
    char *all = malloc(size + s->count * 32 + 1);
    size_t from = 0, n = 0;

    if (!all)
        return NULL;
    for (size_t i = 0; i < s->count; i++) {
        memcpy(all + n, text + from, s->places[i].at - from);
        n += s->places[i].at - from;
        from = s->places[i].at;
        n += (size_t)sprintf(all + n, ", .place 0x%llx",
                             (unsigned long long)(base + s->places[i].offset));
    }
    memcpy(all + n, text + from, size - from);
    n += size - from;
    all[n] = '\0';
    *ret_size = n;
    return all;
}

CUresult managed_place(struct CUctx_st *c, const char *text, size_t size, struct managed *ret)
{
    struct scan s = {.lex = {text, text + size, 1}};
    void *memory = NULL;
    CUresult err = CUDA_SUCCESS;

    memset(ret, 0, sizeof(*ret));
    if (!memmem(text, size, ".managed", 8))
        goto out;
    err = scan(&s, text);
    if (err || !s.count)
        goto out;
    err = (CUresult)backend->host_create(s.bytes, true, &memory);
    if (err)
        goto out;
    ret->text = rewrite(&s, text, size, (uintptr_t)memory, &ret->size);
    err = ret->text ? range_add(c, RANGE_MANAGED, (uintptr_t)memory, s.bytes,
                                CU_MEM_ATTACH_GLOBAL | RANGE_OF_MODULE)
                    : CUDA_ERROR_OUT_OF_MEMORY;
    if (err)
        backend->host_destroy(memory, s.bytes);
    else
        ret->memory = (uintptr_t)memory;
out:
    if (err) {
        free(ret->text);
        ret->text = NULL;
    }
    free(s.places);
    return err;
}

void managed_free(uint64_t memory)
{
    struct range *r = memory ? range_find(memory) : NULL;
    uint64_t size;

    if (!r || r->address != memory || r->kind != RANGE_MANAGED)
        return;
    size = r->size;
    range_remove(r);
    backend->host_destroy((void *)(uintptr_t)memory, size);
}
