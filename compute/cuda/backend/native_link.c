/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <stdlib.h>
#include <string.h>

#include <compute/cuda/ptx/lex.h>
#include <compute/cuda/ptx/ptx.h>

/*
 * Modules of several texts. What the guest's linker makes is one text after the other, which the
 * executor takes as it is. A driver takes one at a time, and has a linker of its own.
 */

/* The next piece's end; `*ret_partial`: it says itself that it is not all of a module. */
static const char *piece_end(const char *at, const char *end, bool *ret_partial)
{
    struct lex lex = {.at = at, .end = end, .line = 1};
    struct lex_token t;
    unsigned depth = 0;
    bool begun = false;

    for (lex_next(&lex, &t); t.kind != LEX_END; lex_next(&lex, &t)) {
        if (t.kind == LEX_STRING && t.size == strlen(PTX_PARTIAL) &&
            !memcmp(t.text, PTX_PARTIAL, t.size))
            *ret_partial = true;
        if (t.kind == LEX_CHAR && t.value == '{')
            depth++;
        else if (t.kind == LEX_CHAR && t.value == '}' && depth)
            depth--;
        /* PTX ISA, "PTX Module Directives": each text begins with one. */
        if (!depth && lex_is(&t, ".version")) {
            if (begun)
                return t.text;
            begun = true;
        }
    }
    return end;
}

bool native_link_wanted(const char *text, size_t size)
{
    const char *end = text + strnlen(text, size), *first = strstr(text, ".version");
    bool partial = false;

    /* Most texts are one, which is seen sooner than read. */
    if (!strstr(text, PTX_PARTIAL) && (!first || !strstr(first + 1, ".version")))
        return false;
    return piece_end(text, end, &partial) != end || partial;
}

static int add(CUlinkState link, const char *text, size_t size)
{
    char *piece = malloc(size + 1);
    int err;

    if (!piece)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(piece, text, size);
    piece[size] = '\0';
    err = (int)native.cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, piece, size + 1, "piece", 0, NULL,
                                       NULL);
    free(piece);
    return err;
}

int native_link(const char *text, size_t size, unsigned count, CUjit_option *options, void **values,
                CUmodule *ret_module)
{
    const char *at = text, *end = text + strnlen(text, size);
    bool partial = false;
    CUlinkState link;
    void *image;
    int err = (int)native.cuLinkCreate_v2(count, options, values, &link);

    if (err)
        return err;
    while (!err && at < end) {
        const char *next = piece_end(at, end, &partial);

        err = add(link, at, (size_t)(next - at));
        at = next;
    }
    /* Of a piece only its own errors are wanted: what it calls is elsewhere. */
    *ret_module = NULL;
    if (!err && !partial) {
        err = (int)native.cuLinkComplete(link, &image, NULL);
        if (!err)
            err = (int)native.cuModuleLoadDataEx(ret_module, image, 0, NULL, NULL);
    }
    native.cuLinkDestroy(link);
    return err;
}
