/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "provider.h"

/* The interpreter of compute/npu/interp: always there. */

#define BUILTIN_NAME "builtin"

struct builtin {
    struct onnx_model *model;
    struct onnx_run *run;
    const struct onnx_io *inputs, *outputs; /* rows in their order */
    struct onnx_io *rows;
    size_t input_count, output_count;
    char placement[64];
    /* Of the run that goes on; all inputs may be there. */
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
    onnx_run_destroy(b->run);
    onnx_model_destroy(b->model);
    free(b->rows);
    free(b->names);
    free(b->values);
    free(b);
}

static int builtin_load(const struct provider_load *load, void **ret_model, char *error,
                        size_t error_size)
{
    struct builtin *b = calloc(1, sizeof(*b));
    int err = b ? onnx_model_create(load->bytes, load->size, NULL, &b->model, error, error_size)
                : VD_ERR_MEMORY;

    if (err)
        goto fail;
    err = onnx_run_create(b->model, &b->run);
    if (err)
        goto fail;
    b->input_count = onnx_model_input_count(b->model);
    b->output_count = onnx_model_output_count(b->model);
    b->rows = calloc(b->input_count + b->output_count + 1, sizeof(*b->rows));
    b->names = calloc(b->input_count + 1, sizeof(*b->names));
    b->values = calloc(b->output_count + 1, sizeof(*b->values));
    if (!b->rows || !b->names || !b->values) {
        err = VD_ERR_MEMORY;
        goto fail;
    }
    for (size_t i = 0; i < b->input_count; i++)
        b->rows[i] = *onnx_model_input(b->model, i);
    for (size_t i = 0; i < b->output_count; i++)
        b->rows[b->input_count + i] = *onnx_model_output(b->model, i);
    b->inputs = b->rows;
    b->outputs = b->rows + b->input_count;
    snprintf(b->placement, sizeof(b->placement), BUILTIN_NAME " %zu node%s",
             onnx_model_metadata(b->model)->node_count,
             onnx_model_metadata(b->model)->node_count == 1 ? "" : "s");
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
        .inputs = b->inputs,
        .outputs = b->outputs,
        .input_count = b->input_count,
        .output_count = b->output_count,
        .metadata = *onnx_model_metadata(b->model),
        .placement = b->placement,
    };
}

static int builtin_run(void *model, struct provider_run *run)
{
    struct builtin *b = model;
    int err;

    memset(b->values, 0, b->output_count * sizeof(*b->values));
    if (run->input_count > b->input_count) {
        snprintf(run->error, run->error_size, "the model has %zu inputs, not %u", b->input_count,
                 run->input_count);
        return VD_ERR_PARAMETER;
    }
    for (uint32_t i = 0; i < run->input_count; i++)
        b->names[i] = b->inputs[run->input_index[i]].name;
    err = onnx_run_execute(b->run, b->names, run->inputs, run->input_count, b->values,
                           b->output_count);
    if (err) {
        snprintf(run->error, run->error_size, "%s", onnx_run_error(b->run));
        return err;
    }
    /* Where there is room of the caller's, the caller copies as well. */
    for (uint32_t i = 0; i < run->output_count; i++)
        run->outputs[i] = b->values[run->output_index[i]];
    return 0;
}

static void builtin_cancel(void *model)
{
    struct builtin *b = model;

    onnx_run_cancel(b->run);
}

static void builtin_resume(void *model)
{
    struct builtin *b = model;

    onnx_run_resume(b->run);
}

const struct provider provider_builtin = {
    .name = BUILTIN_NAME,
    .probe = builtin_probe,
    .devices = builtin_devices,
    .load = builtin_load,
    .describe = builtin_describe,
    .run = builtin_run,
    .cancel = builtin_cancel,
    .resume = builtin_resume,
    .destroy = builtin_destroy,
};
