/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "module.h"

/* Libraries: modules of no context, which are loaded into each when they are first asked there. */

static CUresult library_module(struct CUlib_st *l, struct CUctx_st *c, struct CUmod_st **ret_module)
{
    CUresult err;

    for (struct CUmod_st *m = c->modules; m; m = m->next)
        if (m->library == l) {
            *ret_module = m;
            return CUDA_SUCCESS;
        }
    err = module_create(c, l->text, l->size, NULL, NULL, ret_module);
    if (!err)
        (*ret_module)->library = l;
    return err;
}

static CUresult kernel_function(struct CUkern_st *k, struct CUctx_st *c,
                                struct CUfunc_st **ret_function)
{
    struct CUmod_st *m;
    CUresult err = library_module(k->library, c, &m);

    return err ? err : module_function(m, k->name, ret_function);
}

CUresult function_find(CUfunction handle, struct CUctx_st *c, struct CUfunc_st **ret_function)
{
    if (handle_is(handle, FUNCTION)) {
        *ret_function = handle;
        return CUDA_SUCCESS;
    }
    if (!handle_is(handle, KERNEL))
        return CUDA_ERROR_INVALID_HANDLE;
    return kernel_function((struct CUkern_st *)(void *)handle, c, ret_function);
}

API cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jit_options,
                      void **jit_values, unsigned jit_count, CUlibraryOption *options,
                      void **values, unsigned count)
{
    const char *why = "";
    struct CUlib_st *l = NULL;
    struct CUctx_st *c;
    struct CUmod_st *m;
    struct jit jit;
    CUresult err = enter();

    (void)options;
    (void)values;
    (void)count;
    if (err)
        return err;
    err = module_options(jit_count, jit_options, jit_values, &jit);
    if (!err && (!library || !code))
        err = CUDA_ERROR_INVALID_VALUE;
    if (err)
        return leave(err);
    l = calloc(1, sizeof(*l));
    if (!l)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    err = image_ptx(code, &l->text, &l->size, &why);
    if (err) {
        module_log(&jit, why, jit_values);
        module_refused(&jit, why);
    } else if (!handle_add(l, LIBRARY)) {
        err = CUDA_ERROR_OUT_OF_MEMORY;
    }
    /* Errors in its text are known at once where there is a context. */
    if (!err && !context_any(&c)) {
        err = module_create(c, l->text, l->size, &jit, jit_values, &m);
        if (!err)
            m->library = l;
        else
            handle_remove(l);
    }
    if (err) {
        free(l->text);
        free(l);
        return leave(err);
    }
    *library = l;
    return leave(CUDA_SUCCESS);
}

API cuLibraryLoadFromFile(CUlibrary *library, const char *path, CUjit_option *jit_options,
                          void **jit_values, unsigned jit_count, CUlibraryOption *options,
                          void **values, unsigned count)
{
    char *data;
    CUresult err;

    if (!path)
        return CUDA_ERROR_INVALID_VALUE;
    data = module_file(path);
    if (!data)
        return CUDA_ERROR_FILE_NOT_FOUND;
    err = cuLibraryLoadData(library, data, jit_options, jit_values, jit_count, options, values,
                            count);
    free(data);
    return err;
}

/* Every module of it in every context that the program can have made current. */
static void unload(struct CUlib_st *l, struct CUctx_st *c)
{
    struct CUmod_st *m = c ? c->modules : NULL;

    while (m && m->library != l)
        m = m->next;
    if (!m)
        return;
    context_wait(c);
    if (handle_is(m, MODULE))
        module_destroy(m);
}

API cuLibraryUnload(CUlibrary library)
{
    struct CUctx_st *c = NULL;
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(library, LIBRARY))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    while ((c = context_next(c)))
        if (c->active)
            unload(library, c);
    while (library->kernels) {
        struct CUkern_st *k = library->kernels;

        library->kernels = k->next;
        handle_remove(k);
        free(k->name);
        free(k);
    }
    handle_remove(library);
    free(library->text);
    free(library);
    return leave(CUDA_SUCCESS);
}

/* Takes the lock; a library with its module in the current context. */
static CUresult enter_library(CUlibrary library, struct CUmod_st **ret_module)
{
    struct CUctx_st *c;
    CUresult err = enter();

    if (err)
        return err;
    err = handle_is(library, LIBRARY) ? context_any(&c) : CUDA_ERROR_INVALID_HANDLE;
    if (!err)
        err = library_module(library, c, ret_module);
    return err ? leave(err) : CUDA_SUCCESS;
}

static CUresult kernel_get(struct CUlib_st *l, const char *name, CUkernel *ret_kernel)
{
    struct CUkern_st *k;

    for (k = l->kernels; k; k = k->next)
        if (!strcmp(k->name, name)) {
            *ret_kernel = k;
            return CUDA_SUCCESS;
        }
    k = calloc(1, sizeof(*k));
    if (k)
        k->name = strdup(name);
    if (!k || !k->name || !handle_add(k, KERNEL)) {
        if (k)
            free(k->name);
        free(k);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    k->library = l;
    k->next = l->kernels;
    l->kernels = k;
    *ret_kernel = k;
    return CUDA_SUCCESS;
}

API cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name)
{
    struct CUfunc_st *f;
    struct CUmod_st *m;
    CUresult err = enter_library(library, &m);

    if (err)
        return err;
    if (!kernel || !name || !*name)
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = module_function(m, name, &f);
    return leave(err ? err : kernel_get(library, name, kernel));
}

API cuLibraryGetKernelCount(unsigned *count, CUlibrary library)
{
    struct CUmod_st *m;
    CUresult err = enter_library(library, &m);

    if (err)
        return err;
    if (!count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *count = m->loaded->kernel_count;
    return leave(CUDA_SUCCESS);
}

API cuLibraryEnumerateKernels(CUkernel *kernels, unsigned count, CUlibrary library)
{
    struct CUmod_st *m;
    CUresult err = enter_library(library, &m);

    if (err)
        return err;
    if (!kernels || !count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (unsigned i = 0; i < count && i < m->loaded->kernel_count && !err; i++)
        err = kernel_get(library, m->loaded->kernels[i].name, &kernels[i]);
    return leave(err);
}

API cuLibraryGetModule(CUmodule *module, CUlibrary library)
{
    struct CUmod_st *m;
    CUresult err = enter_library(library, &m);

    if (err)
        return err;
    if (!module)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *module = m;
    return leave(CUDA_SUCCESS);
}

API cuLibraryGetGlobal(CUdeviceptr *address, size_t *bytes, CUlibrary library, const char *name)
{
    struct CUmod_st *m;
    CUresult err = enter_library(library, &m);

    if (err)
        return err;
    if (!name)
        return leave(CUDA_ERROR_INVALID_VALUE);
    return leave(module_global(m, name, address, bytes));
}

API cuLibraryGetManaged(CUdeviceptr *address, size_t *bytes, CUlibrary library, const char *name)
{
    CUdeviceptr found = 0;
    const struct range *r;
    struct CUmod_st *m;
    CUresult err = enter_library(library, &m);

    if (err)
        return err;
    if (!name || (!address && !bytes))
        return leave(CUDA_ERROR_INVALID_VALUE);
    err = module_global(m, name, &found, bytes);
    r = err ? NULL : range_find(found);
    if (!err && (!r || r->kind != RANGE_MANAGED))
        err = CUDA_ERROR_NOT_FOUND;
    if (!err && address)
        *address = found;
    return leave(err);
}

API cuKernelGetFunction(CUfunction *function, CUkernel kernel)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!handle_is(kernel, KERNEL))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (!function)
        return leave(CUDA_ERROR_INVALID_VALUE);
    return leave(kernel_function(kernel, c, function));
}

API cuKernelGetLibrary(CUlibrary *library, CUkernel kernel)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(kernel, KERNEL))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (!library)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *library = kernel->library;
    return leave(CUDA_SUCCESS);
}

API cuKernelGetName(const char **name, CUkernel kernel)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(kernel, KERNEL))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (!name)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *name = kernel->name;
    return leave(CUDA_SUCCESS);
}

API cuKernelGetParamInfo(CUkernel kernel, size_t index, size_t *offset, size_t *size)
{
    return cuFuncGetParamInfo((CUfunction)(void *)kernel, index, offset, size);
}

API cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel,
                         CUdevice device)
{
    (void)device;
    return cuFuncGetAttribute(value, attribute, (CUfunction)(void *)kernel);
}

API cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel,
                         CUdevice device)
{
    (void)device;
    return cuFuncSetAttribute((CUfunction)(void *)kernel, attribute, value);
}

API cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice device)
{
    (void)device;
    return cuFuncSetCacheConfig((CUfunction)(void *)kernel, config);
}
