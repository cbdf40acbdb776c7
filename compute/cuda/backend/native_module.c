/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <stdlib.h>
#include <string.h>

/* Modules: the driver compiles, the text tells what is in them. */

struct module {
    struct cuda_module head;
    struct native_context *context;
    CUmodule handle;
    struct native_ptx ptx;
    struct native_kernel *natives;
    struct cuda_kernel_info *kernels;
    struct cuda_global_info *globals;
};

static int load(struct module *m, const char *text, size_t size, char *log, size_t log_size)
{
    enum { OPTIONS = 4 };
    CUjit_option options[OPTIONS] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                                     CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    char info[1024] = "";
    void *values[OPTIONS] = {info, (void *)(uintptr_t)sizeof(info), log,
                             (void *)(uintptr_t)log_size};
    bool logs = log && log_size;
    unsigned count = logs ? OPTIONS : 0;
    int err;

    if (native_link_wanted(text, size))
        err = native_link(text, size, count, options, values, &m->handle);
    else
        err = (int)native.cuModuleLoadDataEx(&m->handle, text, count, options, values);

    if (logs) {
        log[log_size - 1] = '\0';
        info[sizeof(info) - 1] = '\0';
        if (!err && !*log)
            memcpy(log, info, log_size < sizeof(info) ? log_size : sizeof(info));
        log[log_size - 1] = '\0';
    }
    return err;
}

static uint32_t attribute(CUfunction f, CUfunction_attribute what)
{
    int value = 0;

    return native.cuFuncGetAttribute(&value, what, f) || value < 0 ? 0 : (uint32_t)value;
}

/* What the text calls a kernel, and the driver has. */
static int add_kernel(struct module *m, const struct native_ptx_kernel *k)
{
    struct native_kernel *n = &m->natives[m->head.kernel_count];
    int err = (int)native.cuModuleGetFunction(&n->function, m->handle, k->name);

    if (err == CUDA_ERROR_NOT_FOUND)
        return 0;
    if (err)
        return err;
    n->parameter_count = k->parameter_count;
    n->parameter_bytes = k->parameter_bytes;
    n->parameters = m->ptx.parameters + k->parameter_first;
    n->static_shared = attribute(n->function, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
    n->dynamic_shared =
        (int)attribute(n->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
    m->kernels[m->head.kernel_count++] = (struct cuda_kernel_info){
        .name = k->name,
        .kernel = n,
        .parameter_count = n->parameter_count,
        .parameter_bytes = n->parameter_bytes,
        .parameters = n->parameters,
        .registers = attribute(n->function, CU_FUNC_ATTRIBUTE_NUM_REGS),
        .shared_bytes = n->static_shared,
        .const_bytes = attribute(n->function, CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES),
        .local_bytes = attribute(n->function, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES),
        .max_threads = attribute(n->function, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
        .ptx_version = attribute(n->function, CU_FUNC_ATTRIBUTE_PTX_VERSION),
    };
    return 0;
}

static int describe(struct module *m)
{
    int err = 0;

    m->natives = calloc(m->ptx.kernel_count + 1, sizeof(*m->natives));
    m->kernels = calloc(m->ptx.kernel_count + 1, sizeof(*m->kernels));
    m->globals = calloc(m->ptx.global_count + 1, sizeof(*m->globals));
    if (!m->natives || !m->kernels || !m->globals)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < m->ptx.kernel_count && !err; i++)
        err = add_kernel(m, &m->ptx.kernels[i]);
    for (unsigned i = 0; i < m->ptx.global_count && !err; i++) {
        CUdeviceptr address;
        size_t size;

        /* References of textures look like variables, and are none. */
        if (native.cuModuleGetGlobal_v2(&address, &size, m->handle, m->ptx.globals[i]))
            continue;
        m->globals[m->head.global_count++] =
            (struct cuda_global_info){.name = m->ptx.globals[i], .address = address, .size = size};
    }
    m->head.kernels = m->kernels;
    m->head.globals = m->globals;
    return err;
}

int native_module_create(struct cuda_context *context, const char *text, size_t size, char *log,
                         size_t log_size, struct cuda_module **ret_module)
{
    struct native_context *c = (struct native_context *)context;
    struct module *m = calloc(1, sizeof(*m));
    char *ended = malloc(size + 1);
    int err = m && ended ? native_enter(c->handle) : CUDA_ERROR_OUT_OF_MEMORY;

    if (!err) {
        m->context = c;
        memcpy(ended, text, size);
        ended[size] = '\0';
        err = load(m, ended, size, log, log_size);
    }
    /* A piece that was only tried out has nothing. */
    if (!err && m->handle)
        err = native_ptx_scan(ended, size, &m->ptx);
    if (!err && m->handle)
        err = describe(m);
    free(ended);
    if (err) {
        if (m)
            native_module_destroy(&m->head);
        return err;
    }
    *ret_module = &m->head;
    return 0;
}

void native_module_destroy(struct cuda_module *module)
{
    struct module *m = (struct module *)module;

    if (m->handle && !native_enter(m->context->handle))
        native.cuModuleUnload(m->handle);
    native_ptx_finish(&m->ptx);
    free(m->natives);
    free(m->kernels);
    free(m->globals);
    free(m);
}
