/* SPDX-License-Identifier: MIT */
#include "lex.h"

#include <stdlib.h>
#include <string.h>

#define MOST_NUMBER 64

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool starts_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '%' ||
           c == '.';
}

static bool continues_name(char c)
{
    return starts_name(c) ? c != '%' : is_digit(c);
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void skip(struct lex *l)
{
    while (l->at < l->end) {
        if (*l->at == '\n') {
            l->line++;
            l->at++;
        } else if (*l->at == ' ' || *l->at == '\t' || *l->at == '\r' || *l->at == '\0') {
            l->at++;
        } else if (*l->at == '/' && l->end - l->at > 1 && l->at[1] == '/') {
            while (l->at < l->end && *l->at != '\n')
                l->at++;
        } else if (*l->at == '/' && l->end - l->at > 1 && l->at[1] == '*') {
            l->at += 2;
            while (l->at < l->end && !(*l->at == '*' && l->end - l->at > 1 && l->at[1] == '/')) {
                l->line += *l->at == '\n';
                l->at++;
            }
            l->at = l->end - l->at > 1 ? l->at + 2 : l->end;
        } else {
            return;
        }
    }
}

/* The digits of a base; what does not fit in 64 bits is no number. */
static void integer(struct lex *l, struct lex_token *t, unsigned base)
{
    const char *first = l->at;
    uint64_t value = 0;

    for (; l->at < l->end; l->at++) {
        int digit = hex_digit(*l->at);

        if (digit < 0 || (unsigned)digit >= base)
            break;
        if (value > (UINT64_MAX - (unsigned)digit) / base)
            t->kind = LEX_BAD;
        value = value * base + (unsigned)digit;
    }
    if (l->at == first)
        t->kind = LEX_BAD;
    if (l->at < l->end && *l->at == 'U')
        l->at++;
    t->value = value;
}

static void bits(struct lex *l, struct lex_token *t, unsigned digits)
{
    t->value = 0;
    for (unsigned i = 0; i < digits; i++, l->at++) {
        int digit = l->at < l->end ? hex_digit(*l->at) : -1;

        if (digit < 0) {
            t->kind = LEX_BAD;
            return;
        }
        t->value = t->value << 4 | (unsigned)digit;
    }
}

static void decimal(struct lex *l, struct lex_token *t)
{
    char text[MOST_NUMBER];
    double value;
    size_t n = 0;

    while (l->at < l->end && n < sizeof(text) - 1 &&
           (is_digit(*l->at) || *l->at == '.' || *l->at == 'e' || *l->at == 'E' ||
            ((*l->at == '-' || *l->at == '+') && n && (text[n - 1] | 32) == 'e')))
        text[n++] = *l->at++;
    text[n] = '\0';
    value = strtod(text, NULL);
    memcpy(&t->value, &value, sizeof(value));
}

static void number(struct lex *l, struct lex_token *t)
{
    const char *at = l->at;
    char next = l->end - at > 1 ? at[1] : '\0';

    t->kind = LEX_INT;
    if (*at == '0' && (next == 'x' || next == 'X')) {
        l->at += 2;
        integer(l, t, 16);
        return;
    }
    if (*at == '0' && (next == 'f' || next == 'F' || next == 'd' || next == 'D')) {
        bool wide = (next | 32) == 'd';

        l->at += 2;
        t->kind = wide ? LEX_F64 : LEX_F32;
        bits(l, t, wide ? 16 : 8);
        return;
    }
    if (*at == '0' && (next == 'b' || next == 'B')) {
        l->at += 2;
        integer(l, t, 2);
        return;
    }
    while (at < l->end && is_digit(*at))
        at++;
    if (at < l->end && (*at == '.' || *at == 'e' || *at == 'E')) {
        t->kind = LEX_F64;
        decimal(l, t);
        return;
    }
    integer(l, t, *l->at == '0' && is_digit(next) ? 8 : 10);
}

void lex_next(struct lex *l, struct lex_token *t)
{
    skip(l);
    *t = (struct lex_token){.kind = LEX_END, .text = l->at, .line = l->line};
    if (l->at == l->end)
        return;
    if (starts_name(*l->at)) {
        bool directive = *l->at == '.';

        t->kind = LEX_NAME;
        l->at++;
        /* ".param.u64" is two words; ".shared::cta" is one modifier; "label:" is not. */
        while (l->at < l->end && !(directive && *l->at == '.') &&
               (continues_name(*l->at) || (*l->at == ':' && l->end - l->at > 2 && l->at[1] == ':' &&
                                           continues_name(l->at[2]) && ++l->at)))
            l->at++;
    } else if (is_digit(*l->at)) {
        number(l, t);
    } else if (*l->at == '"') {
        t->kind = LEX_STRING;
        t->text = ++l->at;
        while (l->at < l->end && *l->at != '"' && *l->at != '\n')
            l->at += *l->at == '\\' && l->end - l->at > 1 ? 2 : 1;
        if (l->at > l->end)
            l->at = l->end;
        t->size = (uint32_t)(l->at - t->text);
        if (l->at < l->end)
            l->at++;
        return;
    } else {
        t->kind = LEX_CHAR;
        t->value = (unsigned char)*l->at++;
    }
    t->size = (uint32_t)(l->at - t->text);
}

bool lex_is(const struct lex_token *t, const char *text)
{
    return t->kind == LEX_NAME && strlen(text) == t->size && !memcmp(t->text, text, t->size);
}
