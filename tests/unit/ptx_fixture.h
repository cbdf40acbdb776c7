/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_PTX_FIXTURE_H
#define VIADUCT_TEST_PTX_FIXTURE_H

#include <stdio.h>

#include "check.h"

#include <compute/cuda/ptx/ptx.h>
#include <viaduct/errors.h>

#define PTX_HEAD ".version 7.8\n.target sm_80\n.address_size 64\n"

/* A context of two threads, with a module and one kernel of it. */
struct ptx_run {
    struct ptx_context *context;
    struct ptx_module *module;
    struct ptx_kernel *kernel;
    struct ptx_result result;
    char log[1024];
};

static inline void ptx_open_options(struct ptx_run *r, const char *text, const char *kernel,
                                    const struct ptx_options *options)
{
    char *exact = check_exact(text, strlen(text));

    memset(r, 0, sizeof(*r));
    assert_int_equal(ptx_context_create(options, &r->context), 0);
    if (ptx_module_create(r->context, exact, strlen(text), r->log, sizeof(r->log), &r->module))
        fail_msg("%s", r->log);
    free(exact);
    assert_int_equal(ptx_module_kernel(r->module, kernel, &r->kernel), 0);
}

static inline void ptx_open(struct ptx_run *r, const char *text, const char *kernel)
{
    struct ptx_options options = {.threads = 2, .seconds = 60};

    ptx_open_options(r, text, kernel, &options);
}

static inline void ptx_close(struct ptx_run *r)
{
    ptx_module_destroy(r->module);
    ptx_context_destroy(r->context);
}

static inline int ptx_go(struct ptx_run *r, uint32_t grid, uint32_t block, const void *parameters,
                         size_t size)
{
    struct ptx_launch launch = {.grid = {grid, 1, 1},
                                .block = {block, 1, 1},
                                .parameters = parameters,
                                .parameter_bytes = size};

    return ptx_launch(r->kernel, &launch, &r->result);
}

static inline uint64_t ptx_buffer(struct ptx_run *r, const void *data, size_t size)
{
    uint64_t address;

    assert_int_equal(ptx_memory_create(r->context, size, &address), 0);
    if (data)
        assert_int_equal(ptx_memory_write(r->context, address, data, size), 0);
    return address;
}

#endif
