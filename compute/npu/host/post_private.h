/* SPDX-License-Identifier: MIT */
#ifndef NPU_POST_PRIVATE_H
#define NPU_POST_PRIVATE_H

#include "post.h"

/* post.c has the kinds but for boxes and regions (post_boxes.c, post_regions.c). */

/* One that goes on. */
struct post_work {
    struct post *post;
    const struct vd_npu_post *how;
    const struct onnx_value *value, *scores, *classes;
    const struct post_view *view;
    float threshold;
    uint64_t columns;
    struct onnx_value *result;
    char *error;
    size_t error_size;
};

int post_fail(struct post_work *w, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
float post_float(uint32_t bits);
/* A number of an output; its type is one that post_run lets in. */
float post_number(const struct onnx_value *value, uint64_t index);
float post_sigmoid(float x);
/* Memory for intermediate things; what was there is lost. */
int post_scratch(struct post_work *w, uint64_t size, void **ret_memory);
/* Adds a row of `columns` numbers. -VD_ERR_LIMIT, -VD_ERR_MEMORY. */
int post_add(struct post_work *w, const float *row);
int post_left(struct post_work *w);
/* From the tensor to the picture, within it. */
void post_to_picture(const struct post_view *view, uint64_t item, float box[4]);

int post_boxes(struct post_work *w);
int post_regions(struct post_work *w);

#endif
