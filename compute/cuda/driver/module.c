/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wire/log.h>

#include "array.h"
#include "internal.h"
#include "managed.h"
#include "module.h"

/* Modules and their functions. */

#define LOG_BYTES 16384

static size_t put_log(const struct jit_log *l, const char *text)
{
    size_t n = strlen(text);

    if (!l->buffer || !l->size)
        return 0;
    if (n >= l->size)
        n = l->size - 1;
    memcpy(l->buffer, text, n);
    l->buffer[n] = '\0';
    return n + 1;
}

CUresult module_options(unsigned count, const CUjit_option *options, void *const *values,
                        struct jit *ret_jit)
{
    memset(ret_jit, 0, sizeof(*ret_jit));
    if (count && (!options || !values))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < count; i++)
        switch (options[i]) {
        case CU_JIT_INFO_LOG_BUFFER:
            ret_jit->info.buffer = values[i];
            break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
            ret_jit->info.size = (unsigned)(uintptr_t)values[i];
            ret_jit->info.index = (int)i + 1;
            break;
        case CU_JIT_ERROR_LOG_BUFFER:
            ret_jit->error.buffer = values[i];
            break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
            ret_jit->error.size = (unsigned)(uintptr_t)values[i];
            ret_jit->error.index = (int)i + 1;
            break;
        default:
            if ((unsigned)options[i] >= CU_JIT_NUM_OPTIONS)
                return CUDA_ERROR_INVALID_VALUE;
        }
    return CUDA_SUCCESS;
}

void module_log(const struct jit *jit, const char *text, void **values)
{
    size_t n = put_log(&jit->error, text);

    if (jit->info.buffer && jit->info.size)
        jit->info.buffer[0] = '\0';
    /* The sizes come back as what was written. */
    if (jit->error.index)
        values[jit->error.index - 1] = (void *)(uintptr_t)n;
    if (jit->info.index)
        values[jit->info.index - 1] = NULL;
}

void module_refused(const struct jit *jit, const char *why)
{
    size_t n = strcspn(why, "\n"); /* the first error; what follows says that it is one */

    if (n && !(jit && jit->error.buffer))
        log_error("cuda: a module is refused: %.*s", (int)n, why);
}

CUresult module_create(struct CUctx_st *c, const char *text, size_t size, const struct jit *jit,
                       void **values, struct CUmod_st **ret_module)
{
    struct CUmod_st *m = calloc(1, sizeof(*m));
    char *log = calloc(1, LOG_BYTES);
    struct managed managed = {0};
    CUresult err = CUDA_ERROR_OUT_OF_MEMORY;

    if (!m || !log)
        goto failed;
    err = managed_place(c, text, size, &managed);
    if (err)
        goto failed;
    err = (CUresult)backend->module_create(c->backend, managed.text ? managed.text : text,
                                           managed.text ? managed.size : size, log, LOG_BYTES,
                                           &m->loaded);
    if (jit)
        module_log(jit, log, values);
    if (err) {
        module_refused(jit, log);
        goto failed;
    }
    m->context = c;
    m->managed = managed.memory;
    m->functions = calloc(m->loaded->kernel_count + 1, sizeof(*m->functions));
    err = CUDA_ERROR_OUT_OF_MEMORY;
    if (!m->functions || !handle_add(m, MODULE)) {
        backend->module_destroy(m->loaded);
        free(m->functions);
        goto failed;
    }
    for (unsigned i = 0; i < m->loaded->kernel_count; i++) {
        struct CUfunc_st *f = &m->functions[i];

        f->module = m;
        f->info = &m->loaded->kernels[i];
        f->dynamic_shared = (48 << 10) - (int)f->info->shared_bytes;
        if (f->dynamic_shared < 0)
            f->dynamic_shared = 0;
        f->carveout = -1;
        handle_add(f, FUNCTION);
    }
    for (unsigned i = 0; i < m->loaded->global_count; i++)
        if (m->loaded->globals[i].size && !range_find(m->loaded->globals[i].address))
            range_add(c, RANGE_VARIABLE, m->loaded->globals[i].address, m->loaded->globals[i].size,
                      0);
    m->next = c->modules;
    c->modules = m;
    free(managed.text);
    free(log);
    *ret_module = m;
    return CUDA_SUCCESS;
failed:
    managed_free(managed.memory);
    free(managed.text);
    free(log);
    free(m);
    return err;
}

void module_destroy(struct CUmod_st *m)
{
    reference_drop_module(m);
    for (struct CUmod_st **at = &m->context->modules; *at; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            break;
        }
    for (unsigned i = 0; i < m->loaded->global_count; i++) {
        struct range *r = range_find(m->loaded->globals[i].address);

        if (r && r->kind == RANGE_VARIABLE)
            range_remove(r);
    }
    for (unsigned i = 0; i < m->loaded->kernel_count; i++) {
        handle_remove(&m->functions[i]);
        free(m->functions[i].old);
    }
    handle_remove(m);
    backend->module_destroy(m->loaded);
    managed_free(m->managed);
    free(m->functions);
    free(m);
}

CUresult module_function(struct CUmod_st *m, const char *name, struct CUfunc_st **ret_function)
{
    for (unsigned i = 0; i < m->loaded->kernel_count; i++)
        if (!strcmp(m->functions[i].info->name, name)) {
            *ret_function = &m->functions[i];
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_NOT_FOUND;
}

CUresult module_global(struct CUmod_st *m, const char *name, CUdeviceptr *address, size_t *bytes)
{
    for (unsigned i = 0; i < m->loaded->global_count; i++)
        if (!strcmp(m->loaded->globals[i].name, name)) {
            if (address)
                *address = m->loaded->globals[i].address;
            if (bytes)
                *bytes = m->loaded->globals[i].size;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_NOT_FOUND;
}

char *module_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *data = NULL;
    long size = 0;

    if (!file)
        return NULL;
    if (!fseek(file, 0, SEEK_END))
        size = ftell(file);
    rewind(file);
    if (size >= 0 && size <= 256 << 20) {
        data = calloc(1, (size_t)size + 4096);
        if (data && fread(data, 1, (size_t)size, file) != (size_t)size) {
            free(data);
            data = NULL;
        }
    }
    fclose(file);
    return data;
}

API cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, CUjit_option *options,
                       void **values)
{
    const char *why = "";
    char *text = NULL;
    struct CUctx_st *c;
    struct jit jit;
    size_t size = 0;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    err = module_options(count, options, values, &jit);
    if (!err && (!module || !image))
        err = CUDA_ERROR_INVALID_VALUE;
    if (err)
        return leave(err);
    err = image_ptx(image, &text, &size, &why);
    if (err) {
        module_log(&jit, why, values);
        module_refused(&jit, why);
    } else {
        err = module_create(c, text, size, &jit, values, module);
    }
    free(text);
    return leave(err);
}

API cuModuleLoadData(CUmodule *module, const void *image)
{
    return cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}

API cuModuleLoadFatBinary(CUmodule *module, const void *image)
{
    return cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}

API cuModuleLoad(CUmodule *module, const char *path)
{
    char *data;
    CUresult err;

    if (!path)
        return CUDA_ERROR_INVALID_VALUE;
    data = module_file(path);
    if (!data)
        return CUDA_ERROR_FILE_NOT_FOUND;
    err = cuModuleLoadDataEx(module, data, 0, NULL, NULL);
    free(data);
    return err;
}

API cuModuleUnload(CUmodule module)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!handle_is(module, MODULE) || module->library)
        return leave(CUDA_ERROR_INVALID_HANDLE);
    /* Its kernels may still be in a stream. */
    err = context_wait(module->context);
    if (handle_is(module, MODULE))
        module_destroy(module);
    return leave(err);
}

API cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!mode)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *mode = CU_MODULE_EAGER_LOADING;
    return leave(CUDA_SUCCESS);
}

static CUresult enter_module(CUmodule module)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    return handle_is(module, MODULE) ? CUDA_SUCCESS : leave(CUDA_ERROR_INVALID_HANDLE);
}

API cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
    CUresult err = enter_module(module);

    if (err)
        return err;
    if (!function || !name || !*name)
        return leave(CUDA_ERROR_INVALID_VALUE);
    return leave(module_function(module, name, function));
}

API cuModuleGetFunctionCount(unsigned *count, CUmodule module)
{
    CUresult err = enter_module(module);

    if (err)
        return err;
    if (!count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *count = module->loaded->kernel_count;
    return leave(CUDA_SUCCESS);
}

API cuModuleEnumerateFunctions(CUfunction *functions, unsigned count, CUmodule module)
{
    CUresult err = enter_module(module);

    if (err)
        return err;
    if (!functions || !count)
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (unsigned i = 0; i < count && i < module->loaded->kernel_count; i++)
        functions[i] = &module->functions[i];
    return leave(CUDA_SUCCESS);
}

API cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *bytes, CUmodule module, const char *name)
{
    CUresult err = enter_module(module);

    if (err)
        return err;
    if (!name || (!address && !bytes))
        return leave(CUDA_ERROR_INVALID_VALUE);
    return leave(module_global(module, name, address, bytes));
}
