/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "outline.h"

/* The interpreter of compute/npu/interp: always there. */

#define BUILTIN_NAME "builtin"

struct builtin {
    struct onnx_model *model;
    struct onnx_io *rows; /* inputs, then outputs */
    size_t input_count, output_count;
    char placement[64];
};

struct builtin_run {
    const struct builtin *model;
    struct onnx_run *run;
    /* Of the inference that goes on; all inputs may be there. */
    const char **names;
    struct onnx_value *values; /* outputs */
};

static bool builtin_probe(void)
{
    return true;
}

static uint32_t builtin_devices(struct vd_npu_device *ret_devices, uint32_t room)
{
    if (!room)
        return 0;
    *ret_devices = (struct vd_npu_device){
        .name = BUILTIN_NAME,
        .runtime = "Viaduct's interpreter",
        .kind = VD_NPU_KIND_CPU,
    };
    return 1;
}

static void builtin_destroy(void *model)
{
    struct builtin *b = model;

    if (!b)
        return;
    onnx_model_destroy(b->model);
    free(b->rows);
    free(b);
}

static int builtin_load(const struct provider_load *load, void **ret_model, char *error,
                        size_t error_size)
{
    struct builtin *b = calloc(1, sizeof(*b));
    size_t nodes;
    int err = b ? onnx_model_create(load->bytes, load->size, NULL, &b->model, error, error_size)
                : VD_ERR_MEMORY;

    if (err)
        goto fail;
    b->rows = outline_rows(b->model);
    if (!b->rows) {
        err = VD_ERR_MEMORY;
        goto fail;
    }
    b->input_count = onnx_model_input_count(b->model);
    b->output_count = onnx_model_output_count(b->model);
    nodes = onnx_model_metadata(b->model)->node_count;
    snprintf(b->placement, sizeof(b->placement), BUILTIN_NAME " %zu node%s", nodes,
             nodes == 1 ? "" : "s");
    *ret_model = b;
    return 0;
fail:
    if (err == VD_ERR_MEMORY)
        snprintf(error, error_size, "out of memory");
    builtin_destroy(b);
    return err;
}

static void builtin_describe(void *model, struct provider_description *ret)
{
    struct builtin *b = model;

    *ret = (struct provider_description){
        .inputs = b->rows,
        .outputs = b->rows + b->input_count,
        .input_count = b->input_count,
        .output_count = b->output_count,
        .metadata = *onnx_model_metadata(b->model),
        .placement = b->placement,
    };
}

static void builtin_close(void *run)
{
    struct builtin_run *r = run;

    if (!r)
        return;
    onnx_run_destroy(r->run);
    free(r->names);
    free(r->values);
    free(r);
}

static int builtin_open(void *model, void **ret_run, char *error, size_t error_size)
{
    const struct builtin *b = model;
    struct builtin_run *r = calloc(1, sizeof(*r));
    int err = r ? 0 : VD_ERR_MEMORY;

    if (!err) {
        r->model = b;
        r->names = calloc(b->input_count + 1, sizeof(*r->names));
        r->values = calloc(b->output_count + 1, sizeof(*r->values));
        err = r->names && r->values ? onnx_run_create(b->model, &r->run) : VD_ERR_MEMORY;
    }
    if (err) {
        snprintf(error, error_size, "out of memory");
        builtin_close(r);
    } else {
        *ret_run = r;
    }
    return err;
}

static int builtin_execute(void *run, struct provider_run *call)
{
    struct builtin_run *r = run;
    const struct builtin *b = r->model;
    int err;

    memset(r->values, 0, b->output_count * sizeof(*r->values));
    if (call->input_count > b->input_count) {
        snprintf(call->error, call->error_size, "the model has %zu inputs, not %u", b->input_count,
                 call->input_count);
        return VD_ERR_PARAMETER;
    }
    for (uint32_t i = 0; i < call->input_count; i++)
        r->names[i] = b->rows[call->input_index[i]].name;
    err = onnx_run_execute(r->run, r->names, call->inputs, call->input_count, r->values,
                           b->output_count);
    if (err) {
        snprintf(call->error, call->error_size, "%s", onnx_run_error(r->run));
        return err;
    }
    /* Where there is room of the caller's, the caller copies as well. */
    for (uint32_t i = 0; i < call->output_count; i++)
        call->outputs[i] = r->values[call->output_index[i]];
    return 0;
}

static void builtin_cancel(void *run)
{
    struct builtin_run *r = run;

    onnx_run_cancel(r->run);
}

static void builtin_resume(void *run)
{
    struct builtin_run *r = run;

    onnx_run_resume(r->run);
}

const struct provider provider_builtin = {
    .name = BUILTIN_NAME,
    .probe = builtin_probe,
    .devices = builtin_devices,
    .load = builtin_load,
    .describe = builtin_describe,
    .destroy = builtin_destroy,
    .open = builtin_open,
    .run = builtin_execute,
    .cancel = builtin_cancel,
    .resume = builtin_resume,
    .close = builtin_close,
};
