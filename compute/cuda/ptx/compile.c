/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <viaduct/errors.h>

#include "compile.h"

/* What every part of compiling needs: errors, memory, the next word, names and their scopes. */

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

_Noreturn void compile_unexpected(struct compile *c)
{
    if (c->token.kind == LEX_END)
        compile_fail(c, c->token.line, "Parsing error near the end: syntax error");
    compile_fail(c, c->token.line, "Parsing error near '%.*s': syntax error",
                 c->token.size < 64 ? (int)c->token.size : 64, c->token.text);
}

void compile_expect(struct compile *c, char character)
{
    if (!compile_char(c, character))
        compile_unexpected(c);
}

struct lex_token compile_name(struct compile *c)
{
    struct lex_token name = c->token;

    if (name.kind != LEX_NAME)
        compile_unexpected(c);
    compile_next(c);
    return name;
}

uint64_t compile_int(struct compile *c)
{
    uint64_t value = c->token.value;

    if (c->token.kind != LEX_INT)
        compile_unexpected(c);
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
    s->linked = !c->scope && c->linked;
    s->bucket = hash(name->text, name->size);
    s->next = c->buckets[s->bucket];
    c->buckets[s->bucket] = s;
    s->newer = c->scopes[c->scope];
    c->scopes[c->scope] = s;
    return s;
}

void scope_unit(struct compile *c)
{
    for (struct symbol *s = c->scopes[0]; s; s = s->newer) {
        struct symbol **at = &c->buckets[s->bucket];

        if (s->linked)
            continue;
        while (*at && *at != s)
            at = &(*at)->next;
        if (*at)
            *at = s->next;
    }
}

void compile_skip_braces(struct compile *c)
{
    uint32_t depth = 0;

    do {
        if (c->token.kind == LEX_END)
            compile_unexpected(c);
        if (compile_is(c, '{'))
            depth++;
        if (compile_is(c, '}'))
            depth--;
        /* Numbers of debug sections may be anything. */
        lex_next(&c->lex, &c->token);
    } while (depth);
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

char *compile_copy(struct compile *c, const struct lex_token *name)
{
    char *copy = strndup(name->text, name->size);

    if (!copy)
        compile_memory(c);
    return copy;
}

bool compile_is(const struct compile *c, char character)
{
    return c->token.kind == LEX_CHAR && c->token.value == (unsigned char)character;
}
