/* SPDX-License-Identifier: MIT */
#include "outline.h"

#include <stdio.h>
#include <stdlib.h>
#include <viaduct/errors.h>

struct onnx_io *outline_rows(const struct onnx_model *model)
{
    size_t inputs = onnx_model_input_count(model), outputs = onnx_model_output_count(model);
    struct onnx_io *rows = calloc(inputs + outputs + 1, sizeof(*rows));

    for (size_t i = 0; rows && i < inputs; i++)
        rows[i] = *onnx_model_input(model, i);
    for (size_t i = 0; rows && i < outputs; i++)
        rows[inputs + i] = *onnx_model_output(model, i);
    return rows;
}

int outline_init(struct outline *o, const void *bytes, size_t size, char *error, size_t error_size)
{
    const struct onnx_options options = {.outline = true};
    struct onnx_model *model = NULL;
    struct onnx_io *rows;
    int err = onnx_model_create(bytes, size, &options, &model, error, error_size);

    if (err)
        return err;
    rows = outline_rows(model);
    if (!rows) {
        onnx_model_destroy(model);
        snprintf(error, error_size, "out of memory");
        return VD_ERR_MEMORY;
    }
    *o = (struct outline){model, rows, onnx_model_input_count(model),
                          onnx_model_output_count(model)};
    return 0;
}

void outline_finish(struct outline *o)
{
    onnx_model_destroy(o->model);
    free(o->rows);
    *o = (struct outline){0};
}

void outline_describe(const struct outline *o, const char *placement,
                      struct provider_description *ret)
{
    *ret = (struct provider_description){
        .inputs = o->rows,
        .outputs = o->rows + o->input_count,
        .input_count = o->input_count,
        .output_count = o->output_count,
        .metadata = *onnx_model_metadata(o->model),
        .placement = placement,
    };
}
