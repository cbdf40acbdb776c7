/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <compute/cuda/ptx/ptx.h>

#include "internal.h"
#include "module.h"

/*
 * The linker. What it makes is one text of PTX after the other, which the executor compiles as one
 * module whose parts see each other's functions and variables that are .visible, .weak or .common.
 * Errors of a piece are known when it is added, those of the whole when it is complete.
 */

struct CUlinkState_st {
    struct jit jit;
    void **values; /* the program's; logs go by them until the end */
    char *text;
    size_t size;
    unsigned pieces;
    bool complete;
};

#define MAX_LINKED ((size_t)64 << 20)

API cuLinkCreate_v2(unsigned count, CUjit_option *options, void **values, CUlinkState *state)
{
    struct CUlinkState_st *l;
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    l = state ? calloc(1, sizeof(*l)) : NULL;
    err = !state ? CUDA_ERROR_INVALID_VALUE : !l ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
    if (!err)
        err = module_options(count, options, values, &l->jit);
    if (!err && !handle_add(l, LINK))
        err = CUDA_ERROR_OUT_OF_MEMORY;
    if (err) {
        free(l);
        return leave(err);
    }
    l->values = values;
    *state = l;
    return leave(CUDA_SUCCESS);
}

API cuLinkCreate(unsigned count, CUjit_option *options, void **values, CUlinkState *state)
{
    return cuLinkCreate_v2(count, options, values, state);
}

/* Compiles it once, for its errors. */
static CUresult try_out(struct CUctx_st *c, struct CUlinkState_st *l, const char *text, size_t size)
{
    struct CUmod_st *m;
    CUresult err = module_create(c, text, size, &l->jit, l->values, &m);

    if (!err)
        module_destroy(m);
    return err;
}

static CUresult append(struct CUlinkState_st *l, const char *text, size_t length)
{
    char *all;

    if (length > MAX_LINKED - l->size)
        return CUDA_ERROR_INVALID_IMAGE;
    all = realloc(l->text, l->size + length + 2);
    if (!all)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(all + l->size, text, length);
    memcpy(all + l->size + length, "\n", 2);
    l->text = all;
    l->size += length + 1;
    l->pieces++;
    return CUDA_SUCCESS;
}

/* An image with zeros behind it. */
static CUresult add_image(struct CUctx_st *c, struct CUlinkState_st *l, const void *image)
{
    /* What it calls may be in other pieces. */
    static const char end[] = "\n.pragma \"" PTX_PARTIAL "\";\n";
    const char *why = "linker: out of memory";
    char *text = NULL, *partial;
    size_t length = 0;
    CUresult err = image_ptx(image, &text, &length, &why);

    if (err) {
        module_log(&l->jit, why, l->values);
        return err;
    }
    partial = malloc(length + sizeof(end));
    err = partial ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    if (!err) {
        memcpy(partial, text, length);
        memcpy(partial + length, end, sizeof(end));
        err = try_out(c, l, partial, length + sizeof(end) - 1);
    }
    if (!err)
        err = append(l, text, length);
    free(partial);
    free(text);
    return err;
}

API cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t size,
                     const char *name, unsigned count, CUjit_option *options, void **values)
{
    struct CUctx_st *c;
    struct jit ignored;
    char *image;
    CUresult err = enter_context(&c);

    (void)name;
    if (err)
        return err;
    if (!handle_is(state, LINK))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    err = module_options(count, options, values, &ignored);
    if (!err && (!data || !size || (unsigned)type >= CU_JIT_NUM_INPUT_TYPES || state->complete))
        err = CUDA_ERROR_INVALID_VALUE;
    if (err)
        return leave(err);
    /* Text need not end with a zero here. */
    image = calloc(1, size + 4096);
    if (!image)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    memcpy(image, data, size);
    err = add_image(c, state, image);
    free(image);
    return leave(err);
}

API cuLinkAddData(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name,
                  unsigned count, CUjit_option *options, void **values)
{
    return cuLinkAddData_v2(state, type, data, size, name, count, options, values);
}

API cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char *path, unsigned count,
                     CUjit_option *options, void **values)
{
    struct CUctx_st *c;
    struct jit ignored;
    char *data;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!handle_is(state, LINK))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    err = module_options(count, options, values, &ignored);
    if (!err && (!path || (unsigned)type >= CU_JIT_NUM_INPUT_TYPES || state->complete))
        err = CUDA_ERROR_INVALID_VALUE;
    if (err)
        return leave(err);
    data = module_file(path);
    if (!data)
        return leave(CUDA_ERROR_FILE_NOT_FOUND);
    err = add_image(c, state, data);
    free(data);
    return leave(err);
}

API cuLinkAddFile(CUlinkState state, CUjitInputType type, const char *path, unsigned count,
                  CUjit_option *options, void **values)
{
    return cuLinkAddFile_v2(state, type, path, count, options, values);
}

/* The image belongs to the linker. */
API cuLinkComplete(CUlinkState state, void **image, size_t *size)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!handle_is(state, LINK))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (!image || !state->text)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!state->complete)
        err = try_out(c, state, state->text, state->size);
    if (err)
        return leave(err);
    state->complete = true;
    *image = state->text;
    if (size)
        *size = state->size + 1;
    return leave(CUDA_SUCCESS);
}

API cuLinkDestroy(CUlinkState state)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(state, LINK))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    handle_remove(state);
    free(state->text);
    free(state);
    return leave(CUDA_SUCCESS);
}
