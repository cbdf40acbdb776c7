/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "module.h"

/*
 * The linker, for programs that load what it makes of one piece of PTX: the image is the PTX, whose
 * errors are known when it is added. Several pieces are not linked with one another.
 */

struct CUlinkState_st {
    struct jit jit;
    void **values; /* the program's; logs go by them until the end */
    char *text;
    size_t size;
};

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
static CUresult try_out(struct CUctx_st *c, struct CUlinkState_st *l)
{
    struct CUmod_st *m;
    CUresult err = module_create(c, l->text, l->size, &l->jit, l->values, &m);

    if (!err)
        module_destroy(m);
    return err;
}

API cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t size,
                     const char *name, unsigned count, CUjit_option *options, void **values)
{
    const char *why = "linker: several inputs are not linked with one another";
    char *text = NULL, *image;
    size_t length = 0;
    struct CUctx_st *c;
    struct jit ignored;
    CUresult err = enter_context(&c);

    (void)name;
    if (err)
        return err;
    if (!handle_is(state, LINK))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    err = module_options(count, options, values, &ignored);
    if (!err && (!data || !size || (unsigned)type >= CU_JIT_NUM_INPUT_TYPES))
        err = CUDA_ERROR_INVALID_VALUE;
    if (err)
        return leave(err);
    if (state->text) {
        module_log(&state->jit, why, state->values);
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    }
    /* Text need not end with a zero here. */
    image = calloc(1, size + 4096);
    if (!image)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    memcpy(image, data, size);
    err = image_ptx(image, &text, &length, &why);
    free(image);
    if (err) {
        module_log(&state->jit, why, state->values);
        return leave(err);
    }
    state->text = text;
    state->size = length;
    err = try_out(c, state);
    if (err) {
        free(state->text);
        state->text = NULL;
    }
    return leave(err);
}

API cuLinkAddData(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name,
                  unsigned count, CUjit_option *options, void **values)
{
    return cuLinkAddData_v2(state, type, data, size, name, count, options, values);
}

/* The image belongs to the linker. */
API cuLinkComplete(CUlinkState state, void **image, size_t *size)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(state, LINK))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (!image || !state->text)
        return leave(CUDA_ERROR_INVALID_VALUE);
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
