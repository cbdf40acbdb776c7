/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_LEX_H
#define VIADUCT_PTX_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Words of PTX text. An opcode with its modifiers is one name, as is a special register. */

enum lex_kind {
    LEX_END,
    LEX_NAME, /* also directives and types, which start with a dot */
    LEX_INT,
    LEX_F32,    /* 0f…: bits in value */
    LEX_F64,    /* 0d… and decimal: bits in value */
    LEX_STRING, /* text without its quotes */
    LEX_CHAR,   /* one character, in value */
    LEX_BAD,
};

struct lex_token {
    enum lex_kind kind;
    const char *text;
    uint32_t size, line;
    uint64_t value;
};

struct lex {
    const char *at, *end;
    uint32_t line;
};

void lex_next(struct lex *lex, struct lex_token *ret_token);
bool lex_is(const struct lex_token *token, const char *text);

#endif
