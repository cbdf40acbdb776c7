/* SPDX-License-Identifier: MIT */
#ifndef CLI_NPU_INPUTS_H
#define CLI_NPU_INPUTS_H

#include <viaduct/npu.h>

/* Inputs of a model for `viaduct npu`, from files or made up. */

#define NPU_INPUTS_MOST 64

struct npu_inputs {
    /* What the user says: "NAME=FILE" with raw numbers, "NAME=NUMBER" for dimensions. */
    const char *file[NPU_INPUTS_MOST], *dim[NPU_INPUTS_MOST];
    int files, dims;
};

/* Numbers that are the same each time. Returns 0, or an error that was printed. */
int npu_inputs_make(const struct npu_inputs *inputs, struct npu *npu, const struct npu_io *io,
                    struct npu_tensor **ret_tensor);
/* "float32[1,3,H,W]"; returns `text`. */
const char *npu_inputs_type(const struct npu_io *io, char *text, size_t room);
/* Prints a result: its type and its first numbers. */
void npu_inputs_print(const char *name, const struct npu_tensor *tensor);
/* Name of a type. Never NULL. */
const char *npu_inputs_dtype(int dtype);

#endif
