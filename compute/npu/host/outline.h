/* SPDX-License-Identifier: MIT */
#ifndef NPU_OUTLINE_H
#define NPU_OUTLINE_H

#include "provider.h"

/*
 * What an ONNX model says of itself, whether it could be run here or not: for devices whose runtime
 * is told names and shapes rather than asked for them.
 */
struct outline {
    struct onnx_model *model;
    struct onnx_io *rows; /* inputs, then outputs */
    size_t input_count, output_count;
};

/* 0, or an error with a sentence; then there is nothing to finish. `bytes` are not kept. */
int outline_init(struct outline *outline, const void *bytes, size_t size, char *error,
                 size_t error_size);
void outline_finish(struct outline *outline);
void outline_describe(const struct outline *outline, const char *placement,
                      struct provider_description *ret_description);
/* Takes rows from a model; the caller's to free. NULL if there is no memory. */
struct onnx_io *outline_rows(const struct onnx_model *model);

#endif
