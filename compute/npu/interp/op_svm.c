/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ml.h"
#include "ops.h"

/*
 * SVMRegressor, SVMClassifier: sums over support vectors, as libsvm has them. Probabilities of
 * classes (Platt's, coupled for more than two) and one-class models are refused.
 */

struct svm {
    const struct attribute *coefficients, *vectors, *rho;
    float gamma, coef0, degree;
    enum { SVM_LINEAR, SVM_POLY, SVM_RBF, SVM_SIGMOID } kernel;
    int64_t count; /* support vectors */
};

static int read_svm(struct call *call, int64_t columns, struct svm *s)
{
    static const char *const names[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
    const char *name = onnx_attr_string(call->node, "kernel_type", "LINEAR");
    const struct attribute *with = ml_floats(call, "kernel_params");
    size_t kernel = 0;

    *s = (struct svm){.coefficients = ml_floats(call, "coefficients"),
                      .vectors = ml_floats(call, "support_vectors"),
                      .rho = ml_floats(call, "rho")};
    while (kernel < ARRAY_COUNT(names) && strcmp(names[kernel], name) != 0)
        kernel++;
    if (kernel == ARRAY_COUNT(names))
        return BAD(call, "its kernel_type is %.40s", name);
    if (with && with->count != 3)
        return BAD(call, "its kernel has %zu parameters", with->count);
    s->kernel = kernel;
    if (with) {
        s->gamma = with->floats[0];
        s->coef0 = with->floats[1];
        s->degree = with->floats[2];
    }
    if (!s->coefficients || !s->rho || !s->vectors || !columns ||
        (int64_t)s->vectors->count % columns)
        return CANT(call, "without support vectors of %lld columns", (long long)columns);
    s->count = (int64_t)s->vectors->count / columns;
    return 0;
}

static float kernel(const struct svm *s, const float *x, int64_t vector, int64_t columns)
{
    const float *v = s->vectors->floats + vector * columns;
    float sum = 0;

    for (int64_t i = 0; i < columns; i++)
        sum += s->kernel == SVM_RBF ? (x[i] - v[i]) * (x[i] - v[i]) : x[i] * v[i];
    switch (s->kernel) {
    case SVM_RBF:
        return expf(-s->gamma * sum);
    case SVM_POLY:
        return powf(s->gamma * sum + s->coef0, s->degree);
    case SVM_SIGMOID:
        return tanhf(s->gamma * sum + s->coef0);
    default:
        return sum;
    }
}

/* A row's kernels with all support vectors. */
static void kernels(const struct svm *s, const struct value *x, int64_t row, int64_t columns,
                    float *numbers, float *to)
{
    for (int64_t i = 0; i < columns; i++)
        numbers[i] = (float)onnx_number(x, row * columns + i);
    for (int64_t i = 0; i < s->count; i++)
        to[i] = kernel(s, numbers, i, columns);
}

int onnx_op_svm_regressor(struct call *call)
{
    const struct value *x = call->in[0];
    int64_t rows = 0, columns = 0, dims[2] = {0, 1};
    enum ml_post post = ML_NONE;
    float *numbers, *k, *to;
    struct svm s;

    TRY(ml_post(call, &post));
    TRY(ml_rows(call, x, &rows, &columns));
    TRY(read_svm(call, columns, &s));
    if (onnx_attr_int(call->node, "one_class", 0))
        return CANT(call, "of one class");
    if ((int64_t)s.coefficients->count < s.count || s.rho->count != 1)
        return BAD(call, "has %zu coefficients for %lld support vectors", s.coefficients->count,
                   (long long)s.count);
    TRY(onnx_work(call, (double)rows * (double)s.vectors->count));
    dims[0] = rows;
    numbers = onnx_scratch(call, (uint64_t)columns, sizeof(*numbers));
    k = onnx_scratch(call, (uint64_t)s.count, sizeof(*k));
    to = onnx_out(call, 0, ONNX_F32, 2, dims);
    if (!numbers || !k || !to)
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++) {
        float sum = 0;

        kernels(&s, x, r, columns, numbers, k);
        for (int64_t i = 0; i < s.count; i++)
            sum += k[i] * s.coefficients->floats[i];
        to[r] = sum + s.rho->floats[0];
        ml_finish(post, to + r, 1);
    }
    return 0;
}

/* Of each pair of classes which is more likely: its sum, and a vote. */
static void vote(const struct svm *s, const struct attribute *per_class, int64_t classes,
                 const float *k, const int64_t *begin, float *sums, int64_t *votes)
{
    int64_t pair = 0;

    memset(votes, 0, (size_t)classes * sizeof(*votes));
    for (int64_t i = 0; i < classes; i++)
        for (int64_t j = i + 1; j < classes; j++, pair++) {
            const float *of_i = s->coefficients->floats + (j - 1) * s->count;
            const float *of_j = s->coefficients->floats + i * s->count;
            double sum = 0;

            for (int64_t v = begin[i]; v < begin[i] + per_class->ints[i]; v++)
                sum += (double)(of_i[v] * k[v]);
            for (int64_t v = begin[j]; v < begin[j] + per_class->ints[j]; v++)
                sum += (double)(of_j[v] * k[v]);
            sums[pair] = (float)sum + s->rho->floats[pair];
            votes[sums[pair] > 0 ? i : j]++;
        }
}

int onnx_op_svm_classifier(struct call *call)
{
    const struct attribute *per_class = ml_ints(call, "vectors_per_class");
    const struct value *x = call->in[0];
    int64_t rows = 0, columns = 0, pairs, width, total = 0, *begin, *votes;
    enum ml_post post = ML_NONE;
    struct ml_labels labels;
    float *numbers, *k, *to;
    struct svm s;
    void *out;

    TRY(ml_post(call, &post));
    TRY(ml_labels(call, &labels));
    TRY(ml_rows(call, x, &rows, &columns));
    TRY(read_svm(call, columns, &s));
    if (ml_floats(call, "prob_a") || post != ML_NONE)
        return CANT(call, "with probabilities");
    if (labels.count == 2 &&
        (!labels.ints || labels.ints->ints[0] != 0 || labels.ints->ints[1] != 1))
        return CANT(call, "of two classes that are not 0 and 1");
    if (!per_class || (int64_t)per_class->count != labels.count || labels.count < 2 ||
        labels.count > 4096)
        return CANT(call, "of %lld classes with support vectors of %zu", (long long)labels.count,
                    per_class ? per_class->count : 0);
    pairs = labels.count * (labels.count - 1) / 2;
    begin = onnx_scratch(call, (uint64_t)labels.count, sizeof(*begin));
    votes = onnx_scratch(call, (uint64_t)labels.count, sizeof(*votes));
    numbers = onnx_scratch(call, (uint64_t)columns, sizeof(*numbers));
    k = onnx_scratch(call, (uint64_t)s.count, sizeof(*k));
    if (!begin || !votes || !numbers || !k)
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < labels.count; i++) {
        begin[i] = total;
        if (per_class->ints[i] < 0 || per_class->ints[i] > s.count - total)
            return BAD(call, "has more support vectors of classes than there are");
        total += per_class->ints[i];
    }
    if ((int64_t)s.rho->count != pairs ||
        (int64_t)s.coefficients->count < (labels.count - 1) * s.count)
        return BAD(call, "has %zu coefficients and %zu offsets for %lld classes",
                   s.coefficients->count, s.rho->count, (long long)labels.count);
    TRY(onnx_work(call, (double)rows * (double)(s.vectors->count + (size_t)(pairs * s.count))));
    TRY(ml_labels_out(call, &labels, rows, &out));
    /* Two classes have a score each, more have one for each pair. */
    width = labels.count == 2 ? 2 : pairs;
    to = ml_scores_out(call, rows, width);
    if (!to)
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++, to += width) {
        int64_t best = 0;

        kernels(&s, x, r, columns, numbers, k);
        vote(&s, per_class, labels.count, k, begin, to, votes);
        for (int64_t i = 1; i < labels.count; i++)
            best = votes[i] > votes[best] ? i : best;
        if (labels.count == 2) {
            to[1] = to[0];
            to[0] = -to[0];
        }
        ml_label(&labels, best, out, r);
    }
    return 0;
}
