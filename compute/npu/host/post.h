/* SPDX-License-Identifier: MIT */
#ifndef NPU_POST_H
#define NPU_POST_H

#include <stdbool.h>

#include "provider.h"

/*
 * What is made of outputs before they travel (vd_npu_post): classes, boxes, texts, maps, regions.
 * Small results leave the host instead of large tensors.
 */

/* Where an item of the batch lies in a picture: x of the picture = x + step_x * x of the tensor. */
struct npu_place {
    float x, y, step_x, step_y;
};

/* The tensor that boxes are in: its size, and the places of its items if it came from a picture. */
struct post_view {
    uint32_t width, height; /* 0: unknown */
    const struct npu_place *places;
    uint32_t place_count;
    uint32_t picture_width, picture_height;
};

/* A result and the memory for it, kept for the next run. Zeroed but for the first four. */
struct post {
    int (*alloc)(void *owner, size_t size, void **ret_memory);
    void (*free)(void *memory);
    void *owner;
    /* Whether nobody wants the result any more; looked at once an item. */
    bool (*left)(void *arg);
    void *left_arg;
    float *rows;
    uint64_t row_count, rows_size;
    void *scratch;
    uint64_t scratch_size;
};

/* Outputs that are wanted besides the one it is made of; VD_NPU_NOWHERE: none. */
void post_needs(const struct vd_npu_post *how, uint32_t ret_outputs[2]);
/*
 * `value` is the output, `scores` and `classes` those that post_needs names, or NULL. The result's
 * memory is the post's until it is next used. 0, -VD_ERR_PARAMETER (an output of another shape, a
 * parameter that cannot be), -VD_ERR_UNSUPPORTED (another type), -VD_ERR_LIMIT, -VD_ERR_MEMORY,
 * -VD_ERR_GONE, with a sentence.
 */
int post_run(struct post *post, const struct vd_npu_post *how, const struct onnx_value *value,
             const struct onnx_value *scores, const struct onnx_value *classes,
             const struct post_view *view, struct onnx_value *ret_value, char *error,
             size_t error_size);
void post_finish(struct post *post);

#endif
