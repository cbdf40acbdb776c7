/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_ONNX_ML_H
#define VIADUCT_ONNX_ML_H

#include "internal.h"

/* What the operators of ai.onnx.ml share (op_ml.c). Attributes that are not there are NULL. */
const struct attribute *ml_floats(const struct call *call, const char *name);
const struct attribute *ml_ints(const struct call *call, const char *name);
const struct attribute *ml_strings(const struct call *call, const char *name);

/* One row (rank 1) or many. */
int ml_rows(struct call *call, const struct value *x, int64_t *ret_rows, int64_t *ret_columns);

enum ml_post { ML_NONE, ML_SOFTMAX, ML_LOGISTIC, ML_SOFTMAX_ZERO, ML_PROBIT };

int ml_post(struct call *call, enum ml_post *ret);
/* Scores of one row. */
void ml_finish(enum ml_post post, float *scores, int64_t n);
/* One score for two classes; `probability`: of the second one. */
void ml_finish_two(enum ml_post post, bool probability, float score, float *to);

/* Of classes: one or the other. */
struct ml_labels {
    const struct attribute *ints, *strings;
    int64_t count;
};

int ml_labels(struct call *call, struct ml_labels *ret);
/* Output 0: a label for each row. */
/* Output 1: `classes` scores for each row; memory of the node's own if nobody asks for them. */
float *ml_scores_out(struct call *call, int64_t rows, int64_t classes);
int ml_labels_out(struct call *call, const struct ml_labels *labels, int64_t rows, void **ret);
void ml_label(const struct ml_labels *labels, int64_t label, void *to, int64_t row);

#endif
