/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ml.h"
#include "ops.h"

/* ai.onnx.ml: what stands before and behind a model of numbers, and linear models. */

const struct attribute *ml_floats(const struct call *call, const char *name)
{
    const struct attribute *a = onnx_attr(call->node, name);

    return a && a->type == ATTR_FLOATS && a->count ? a : NULL;
}

const struct attribute *ml_ints(const struct call *call, const char *name)
{
    const struct attribute *a = onnx_attr(call->node, name);

    return a && a->type == ATTR_INTS && a->count ? a : NULL;
}

const struct attribute *ml_strings(const struct call *call, const char *name)
{
    const struct attribute *a = onnx_attr(call->node, name);

    return a && a->type == ATTR_STRINGS && a->count ? a : NULL;
}

int ml_rows(struct call *call, const struct value *x, int64_t *ret_rows, int64_t *ret_columns)
{
    if (x->rank < 1 || x->rank > 2)
        return BAD(call, "its input is not one or several rows");
    *ret_rows = x->rank == 2 ? x->dims[0] : 1;
    *ret_columns = x->dims[x->rank - 1];
    return 0;
}

/* The inverse of the error function, as ONNX Runtime has it (after Winitzki). */
static float probit(float score)
{
    float x = 2 * score - 1, sign = x < 0 ? -1 : 1, log = logf((1 - x) * (1 + x));
    float v = 2 / (3.14159f * 0.147f) + 0.5f * log, v2 = 1 / 0.147f * log;

    return 1.41421356f * sign * sqrtf(-v + sqrtf(v * v - v2));
}

static float logistic(float x)
{
    float v = 1 / (1 + expf(-fabsf(x)));

    return x < 0 ? 1 - v : v;
}

static void softmax(float *scores, int64_t n, bool keeps_zero)
{
    float most = -INFINITY, sum = 0;

    for (int64_t i = 0; i < n; i++)
        most = scores[i] > most ? scores[i] : most;
    for (int64_t i = 0; i < n; i++) {
        /* SOFTMAX_ZERO: what is zero takes no part. */
        if (keeps_zero && fabsf(scores[i]) <= 1e-7f)
            scores[i] *= expf(-most);
        else
            scores[i] = expf(scores[i] - most);
        sum += scores[i];
    }
    for (int64_t i = 0; i < n && sum != 0; i++)
        scores[i] /= sum;
}

int ml_post(struct call *call, enum ml_post *ret)
{
    static const char *const names[] = {
        [ML_NONE] = "NONE",         [ML_SOFTMAX] = "SOFTMAX",
        [ML_LOGISTIC] = "LOGISTIC", [ML_SOFTMAX_ZERO] = "SOFTMAX_ZERO",
        [ML_PROBIT] = "PROBIT",
    };
    const char *name = onnx_attr_string(call->node, "post_transform", "NONE");

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (!strcmp(names[i], name)) {
            *ret = (enum ml_post)i;
            return 0;
        }
    return BAD(call, "its post_transform is %.40s", name);
}

void ml_finish(enum ml_post post, float *scores, int64_t n)
{
    /* One result is given as it is: ONNX Runtime's transforms are of several. */
    if (n == 1 && post != ML_PROBIT)
        return;
    for (int64_t i = 0; i < n && (post == ML_LOGISTIC || post == ML_PROBIT); i++)
        scores[i] = post == ML_LOGISTIC ? logistic(scores[i]) : probit(scores[i]);
    if (post == ML_SOFTMAX || post == ML_SOFTMAX_ZERO)
        softmax(scores, n, post == ML_SOFTMAX_ZERO);
}

void ml_finish_two(enum ml_post post, bool probability, float score, float *to)
{
    if (post == ML_PROBIT) {
        to[0] = 1 - probit(score);
        to[1] = probit(score);
    } else if (post == ML_LOGISTIC) {
        to[0] = logistic(-score);
        to[1] = logistic(score);
    } else {
        to[0] = probability ? 1 - score : -score;
        to[1] = score;
    }
}

int ml_labels(struct call *call, struct ml_labels *ret)
{
    const struct attribute *ints = ml_ints(call, "classlabels_int64s");

    ints = ints ? ints : ml_ints(call, "classlabels_ints");
    *ret = (struct ml_labels){ints, ml_strings(call, "classlabels_strings"), 0};
    ret->strings = ret->ints ? NULL : ret->strings;
    if (!ret->ints && !ret->strings)
        return BAD(call, "has no labels");
    ret->count = (int64_t)(ret->ints ? ret->ints->count : ret->strings->count);
    return 0;
}

int ml_labels_out(struct call *call, const struct ml_labels *labels, int64_t rows, void **ret)
{
    *ret = onnx_out(call, 0, labels->ints ? ONNX_I64 : ONNX_STRING, 1, &rows);
    return *ret ? 0 : VD_ERR_MEMORY;
}

float *ml_scores_out(struct call *call, int64_t rows, int64_t classes)
{
    const int64_t dims[2] = {rows, classes};

    return call->out_count > 1 ? onnx_out(call, 1, ONNX_F32, 2, dims)
                               : onnx_scratch(call, (uint64_t)(rows * classes) + 1, sizeof(float));
}

void ml_label(const struct ml_labels *labels, int64_t label, void *to, int64_t row)
{
    if (labels->ints)
        ((int64_t *)to)[row] = labels->ints->ints[label];
    else
        ((struct onnx_string *)to)[row] = labels->strings->strings[label];
}

int onnx_op_scaler(struct call *call)
{
    const struct value *x = call->in[0];
    const struct attribute *offset = ml_floats(call, "offset"), *scale = ml_floats(call, "scale");
    int64_t columns = x->rank ? x->dims[x->rank - 1] : 1;
    float *to;

    if ((offset && offset->count != 1 && (int64_t)offset->count != columns) ||
        (scale && scale->count != 1 && (int64_t)scale->count != columns))
        return BAD(call, "its offsets or scales are not those of %lld columns", (long long)columns);
    to = onnx_out(call, 0, ONNX_F32, x->rank, x->dims);
    if (!to)
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t column = i % columns;
        float by = scale ? scale->floats[scale->count > 1 ? column : 0] : 1;
        float from = offset ? offset->floats[offset->count > 1 ? column : 0] : 0;

        to[i] = ((float)onnx_number(x, i) - from) * by;
    }
    return 0;
}

int onnx_op_normalizer(struct call *call)
{
    const struct value *x = call->in[0];
    const char *norm = onnx_attr_string(call->node, "norm", "MAX");
    int64_t rows = 0, columns = 0;
    float *to;

    TRY(ml_rows(call, x, &rows, &columns));
    if (strcmp(norm, "MAX") && strcmp(norm, "L1") && strcmp(norm, "L2"))
        return BAD(call, "its norm is %.40s", norm);
    to = onnx_out(call, 0, ONNX_F32, x->rank, x->dims);
    if (!to)
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++, to += columns) {
        float most = -INFINITY, sum = 0, squares = 0, by;

        for (int64_t c = 0; c < columns; c++) {
            float v = (float)onnx_number(x, r * columns + c);

            to[c] = v;
            most = v > most ? v : most;
            sum += fabsf(v);
            squares += v * v;
        }
        by = !strcmp(norm, "MAX") ? most : !strcmp(norm, "L1") ? sum : sqrtf(squares);
        for (int64_t c = 0; c < columns && by != 0; c++)
            to[c] /= by;
    }
    return 0;
}

int onnx_op_binarizer(struct call *call)
{
    const struct value *x = call->in[0];
    double threshold = onnx_attr_float(call->node, "threshold", 0);

    if (!onnx_out_like(call, 0, x))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < x->count; i++)
        onnx_set(call->out[0], i, onnx_number(x, i) > threshold);
    return 0;
}

/* Columns by their numbers. */
int onnx_op_array_features(struct call *call)
{
    const struct value *x = call->in[0], *y = call->in[1];
    size_t size = onnx_dtype_size(x->dtype);
    int64_t columns, rows, dims[RANK];
    int rank = x->rank > 1 ? x->rank : 2;
    uint8_t *to;

    if (!x->rank || !x->dims[x->rank - 1])
        return BAD(call, "its input has no columns");
    columns = x->dims[x->rank - 1];
    rows = x->count / columns;
    dims[0] = 1;
    memcpy(dims, x->dims, (size_t)x->rank * sizeof(*dims));
    if (x->rank == 1)
        dims[0] = 1;
    dims[rank - 1] = y->count;
    for (int64_t i = 0; i < y->count; i++)
        if (onnx_index(y, i) < 0 || onnx_index(y, i) >= columns)
            return BAD(call, "there is no column %lld of %lld", (long long)onnx_index(y, i),
                       (long long)columns);
    to = onnx_out(call, 0, x->dtype, rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < y->count; i++, to += size)
            memcpy(to, (const uint8_t *)x->data + (size_t)(r * columns + onnx_index(y, i)) * size,
                   size);
    return 0;
}

/* What is missing becomes a number. */
int onnx_op_imputer(struct call *call)
{
    const struct value *x = call->in[0];
    bool whole = x->dtype == ONNX_I64;
    const struct attribute *by =
        whole ? ml_ints(call, "imputed_value_int64s") : ml_floats(call, "imputed_value_floats");
    float missing = onnx_attr_float(call->node, "replaced_value_float", 0);
    int64_t missing_int = onnx_attr_int(call->node, "replaced_value_int64", 0);
    int64_t columns = x->rank ? x->dims[x->rank - 1] : 1;

    if (!by || (by->count != 1 && (int64_t)by->count != columns))
        return BAD(call, "does not say what is put in for each column");
    if (!onnx_out_like(call, 0, x))
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t place = by->count > 1 ? i % columns : 0;

        if (whole) {
            int64_t v = ((const int64_t *)x->data)[i];

            ((int64_t *)call->out[0]->data)[i] = v == missing_int ? by->ints[place] : v;
        } else {
            float v = ((const float *)x->data)[i];

            ((float *)call->out[0]->data)[i] =
                (isnan(missing) ? isnan(v) : v == missing) ? by->floats[place] : v;
        }
    }
    return 0;
}

/* Columns side by side. */
int onnx_op_feature_vectorizer(struct call *call)
{
    const struct attribute *widths = ml_ints(call, "inputdimensions");
    int64_t rows = -1, total = 0, at = 0, dims[2];
    float *to;

    if (!widths || widths->count != call->in_count)
        return BAD(call, "does not say how wide each input is");
    for (size_t i = 0; i < call->in_count; i++) {
        const struct value *x = call->in[i];
        int64_t r = 0, c = 0;

        if (!x)
            return BAD(call, "input %zu is missing", i);
        TRY(ml_rows(call, x, &r, &c));
        if (widths->ints[i] < 0 || widths->ints[i] > 1 << 24)
            return BAD(call, "input %zu cannot be %lld wide", i, (long long)widths->ints[i]);
        if (rows >= 0 && r != rows)
            return BAD(call, "its inputs have %lld and %lld rows", (long long)rows, (long long)r);
        rows = r;
        total += widths->ints[i];
    }
    dims[0] = rows;
    dims[1] = total;
    to = onnx_out(call, 0, ONNX_F32, 2, dims);
    if (!to)
        return VD_ERR_MEMORY;
    memset(to, 0, (size_t)call->out[0]->count * sizeof(*to));
    for (size_t i = 0; i < call->in_count; at += widths->ints[i++]) {
        const struct value *x = call->in[i];
        int64_t columns = x->dims[x->rank - 1];

        /* What is wider than it says is cut, what is narrower has zeros behind it. */
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns && c < widths->ints[i]; c++)
                to[r * total + at + c] = (float)onnx_number(x, r * columns + c);
    }
    return 0;
}

/* rows x columns by coefficients of each class: scores, in scratch. */
static int linear(struct call *call, int64_t classes, float **ret_scores)
{
    const struct value *x = call->in[0];
    const struct attribute *by = ml_floats(call, "coefficients");
    const struct attribute *plus = ml_floats(call, "intercepts");
    int64_t rows = 0, columns = 0;
    float *to;

    TRY(ml_rows(call, x, &rows, &columns));
    if (!by || classes < 1 || (int64_t)by->count / classes != columns ||
        (int64_t)by->count % classes)
        return BAD(call, "has %zu coefficients for %lld columns and %lld results",
                   by ? by->count : 0, (long long)columns, (long long)classes);
    if (plus && (int64_t)plus->count != classes)
        return BAD(call, "has %zu intercepts for %lld results", plus->count, (long long)classes);
    TRY(onnx_work(call, (double)rows * (double)by->count));
    to = onnx_scratch(call, (uint64_t)(rows * classes) + 1, sizeof(*to));
    if (!to)
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < classes; k++) {
            float sum = 0;

            for (int64_t c = 0; c < columns; c++)
                sum += (float)onnx_number(x, r * columns + c) * by->floats[k * columns + c];
            to[r * classes + k] = sum + (plus ? plus->floats[k] : 0);
        }
    *ret_scores = to;
    return 0;
}

int onnx_op_linear_regressor(struct call *call)
{
    int64_t targets = onnx_attr_int(call->node, "targets", 1), dims[2];
    const struct value *x = call->in[0];
    enum ml_post post = ML_NONE;
    float *scores = NULL, *to;

    TRY(ml_post(call, &post));
    if (targets < 1 || targets > 1 << 20)
        return BAD(call, "cannot have %lld targets", (long long)targets);
    TRY(linear(call, targets, &scores));
    dims[0] = x->rank == 2 ? x->dims[0] : 1;
    dims[1] = targets;
    to = onnx_out(call, 0, ONNX_F32, 2, dims);
    if (!to)
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < dims[0]; r++)
        ml_finish(post, scores + r * targets, targets);
    memcpy(to, scores, (size_t)call->out[0]->count * sizeof(*to));
    return 0;
}

int onnx_op_linear_classifier(struct call *call)
{
    const struct attribute *plus = ml_floats(call, "intercepts");
    const struct value *x = call->in[0];
    struct ml_labels labels;
    int64_t classes, dims[2];
    enum ml_post post = ML_NONE;
    float *scores = NULL, *to;
    bool two;
    void *out;

    TRY(ml_post(call, &post));
    TRY(ml_labels(call, &labels));
    classes = plus ? (int64_t)plus->count : labels.count;
    /* One score tells two classes apart. */
    two = classes == 1 && labels.count == 2;
    if (!two && classes != labels.count)
        return BAD(call, "has %lld labels for %lld classes", (long long)labels.count,
                   (long long)classes);
    TRY(linear(call, classes, &scores));
    dims[0] = x->rank == 2 ? x->dims[0] : 1;
    dims[1] = labels.count;
    TRY(ml_labels_out(call, &labels, dims[0], &out));
    to = ml_scores_out(call, dims[0], dims[1]);
    if (!to)
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < dims[0]; r++, scores += classes, to += labels.count) {
        int64_t best = two && scores[0] > 0;

        for (int64_t k = 1; k < classes; k++)
            best = scores[k] > scores[best] ? k : best;
        ml_label(&labels, best, out, r);
        if (two) {
            ml_finish_two(post, true, scores[0], to);
        } else {
            memcpy(to, scores, (size_t)classes * sizeof(*to));
            ml_finish(post, to, classes);
        }
    }
    return 0;
}
