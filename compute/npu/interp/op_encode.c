/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ml.h"
#include "ops.h"

/* ai.onnx.ml: words and numbers for one another. LabelEncoder, CategoryMapper, OneHotEncoder. */

/* Keys or values: one of three kinds, or a tensor. */
struct list {
    const struct attribute *attribute;
    const struct value *tensor;
    enum onnx_dtype dtype;
    int64_t count;
};

static bool find_list(const struct call *call, const char *prefix, struct list *ret)
{
    static const struct {
        const char *suffix;
        enum attribute_type type;
        enum onnx_dtype dtype;
    } kinds[] = {{"strings", ATTR_STRINGS, ONNX_STRING},
                 {"int64s", ATTR_INTS, ONNX_I64},
                 {"floats", ATTR_FLOATS, ONNX_F32}};
    char name[40];

    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        const struct attribute *a;

        snprintf(name, sizeof(name), "%s_%s", prefix, kinds[i].suffix);
        a = onnx_attr(call->node, name);
        if (a && a->type == kinds[i].type && a->count) {
            *ret = (struct list){a, NULL, kinds[i].dtype, (int64_t)a->count};
            return true;
        }
    }
    snprintf(name, sizeof(name), "%s_tensor", prefix);
    *ret = (struct list){onnx_attr(call->node, name), NULL, ONNX_UNKNOWN, 0};
    if (!ret->attribute || !ret->attribute->tensor)
        return false;
    ret->tensor = ret->attribute->tensor;
    ret->dtype = ret->tensor->dtype;
    ret->count = ret->tensor->count;
    return true;
}

static struct onnx_string string_at(const struct list *l, int64_t i)
{
    return l->tensor ? ((const struct onnx_string *)l->tensor->data)[i] : l->attribute->strings[i];
}

static int64_t int_at(const struct list *l, int64_t i)
{
    return l->tensor ? ((const int64_t *)l->tensor->data)[i] : l->attribute->ints[i];
}

static double number_at(const struct list *l, int64_t i)
{
    return l->tensor ? onnx_number(l->tensor, i) : (double)l->attribute->floats[i];
}

static bool equal(const struct onnx_string *a, const struct onnx_string *b)
{
    return a->size == b->size && !memcmp(a->data, b->data, a->size);
}

/* Where an element of x is among keys of its type; -1: nowhere. The last of several counts. */
static int64_t look_up(const struct call *call, const struct list *keys, const struct value *x,
                       int64_t at)
{
    /* What is no number is a key from version 4 on. */
    bool nan_is_key = call->node->opset >= 4;

    for (int64_t i = keys->count - 1; i >= 0; i--) {
        if (x->dtype == ONNX_STRING) {
            struct onnx_string key = string_at(keys, i);

            if (equal(&key, (const struct onnx_string *)x->data + at))
                return i;
        } else if (x->dtype == ONNX_I64) {
            if (int_at(keys, i) == ((const int64_t *)x->data)[at])
                return i;
        } else {
            double key = number_at(keys, i), v = onnx_number(x, at);

            if (key == v || (nan_is_key && isnan(key) && isnan(v)))
                return i;
        }
    }
    return -1;
}

static void put(const struct list *values, int64_t i, struct value *to, int64_t at)
{
    if (to->dtype == ONNX_STRING)
        ((struct onnx_string *)to->data)[at] = string_at(values, i);
    else if (to->dtype == ONNX_I64)
        ((int64_t *)to->data)[at] = int_at(values, i);
    else
        onnx_set(to, at, number_at(values, i));
}

/* The value of what is no key. */
static int put_default(struct call *call, struct value *to, int64_t at)
{
    const struct attribute *a = onnx_attr(call->node, "default_tensor");
    const struct attribute *text = onnx_attr(call->node, "default_string");

    if (a && a->tensor) {
        const struct list one = {NULL, a->tensor, a->tensor->dtype, a->tensor->count};

        if (one.dtype != to->dtype || one.count != 1)
            return BAD(call, "its default is not one value of the type of the others");
        put(&one, 0, to, at);
    } else if (to->dtype == ONNX_STRING) {
        ((struct onnx_string *)to->data)[at] =
            text && text->type == ATTR_STRING ? text->s : (struct onnx_string){"_Unused", 7};
    } else if (to->dtype == ONNX_I64) {
        ((int64_t *)to->data)[at] = onnx_attr_int(call->node, "default_int64", -1);
    } else {
        onnx_set(to, at, (double)onnx_attr_float(call->node, "default_float", -0.0f));
    }
    return 0;
}

static int map(struct call *call, const struct list *keys, const struct list *values)
{
    const struct value *x = call->in[0];
    struct value *y;

    if (keys->count != values->count)
        return BAD(call, "has %lld keys and %lld values", (long long)keys->count,
                   (long long)values->count);
    if (keys->dtype != x->dtype)
        return BAD(call, "its keys are of type %s, not %s", onnx_dtype_name(keys->dtype),
                   onnx_dtype_name(x->dtype));
    if (!onnx_dtype_size(values->dtype) ||
        (M(values->dtype) & (M_FLOAT | M(ONNX_I64) | M(ONNX_STRING) | M(ONNX_I16))) == 0)
        return CANT(call, "to type %s", onnx_dtype_name(values->dtype));
    if (!onnx_out(call, 0, values->dtype, x->rank, x->dims))
        return VD_ERR_MEMORY;
    y = call->out[0];
    TRY(onnx_work(call, (double)x->count * (double)keys->count));
    for (int64_t i = 0; i < x->count; i++) {
        int64_t found = look_up(call, keys, x, i);

        if (found >= 0)
            put(values, found, y, i);
        else
            TRY(put_default(call, y, i));
    }
    return 0;
}

/* arg 1: its first form, whose classes have the numbers of their places. */
int onnx_op_label_encoder(struct call *call)
{
    const struct value *x = call->in[0];
    struct list keys, values;

    if (call->arg) {
        const struct attribute *classes = ml_strings(call, "classes_strings");
        struct value *y;

        if (!classes || (x->dtype != ONNX_STRING && x->dtype != ONNX_I64))
            return BAD(call, "has no classes for input of type %s", onnx_dtype_name(x->dtype));
        keys = (struct list){classes, NULL, ONNX_STRING, (int64_t)classes->count};
        if (!onnx_out(call, 0, x->dtype == ONNX_STRING ? ONNX_I64 : ONNX_STRING, x->rank, x->dims))
            return VD_ERR_MEMORY;
        y = call->out[0];
        TRY(onnx_work(call, (double)x->count * (double)keys.count));
        for (int64_t i = 0; i < x->count; i++) {
            int64_t found = x->dtype == ONNX_STRING ? look_up(call, &keys, x, i)
                                                    : ((const int64_t *)x->data)[i];

            if (found < 0 || found >= keys.count)
                TRY(put_default(call, y, i));
            else if (x->dtype == ONNX_STRING)
                ((int64_t *)y->data)[i] = found;
            else
                put(&keys, found, y, i);
        }
        return 0;
    }
    if (!find_list(call, "keys", &keys) || !find_list(call, "values", &values))
        return BAD(call, "has no keys, or no values");
    return map(call, &keys, &values);
}

int onnx_op_category_mapper(struct call *call)
{
    const struct attribute *ints = ml_ints(call, "cats_int64s");
    const struct attribute *strings = ml_strings(call, "cats_strings");
    struct list numbers, words;

    if (!ints || !strings)
        return BAD(call, "has no categories");
    numbers = (struct list){ints, NULL, ONNX_I64, (int64_t)ints->count};
    words = (struct list){strings, NULL, ONNX_STRING, (int64_t)strings->count};
    return call->in[0]->dtype == ONNX_STRING ? map(call, &words, &numbers)
                                             : map(call, &numbers, &words);
}

int onnx_op_one_hot_encoder(struct call *call)
{
    const struct value *x = call->in[0];
    const struct attribute *ints = ml_ints(call, "cats_int64s");
    const struct attribute *strings = ml_strings(call, "cats_strings");
    bool zeros = onnx_attr_int(call->node, "zeros", 1);
    int64_t dims[RANK];
    struct list cats;
    float *to;

    if (!ints == !strings || !strings != (x->dtype != ONNX_STRING))
        return BAD(call, "has no categories of the type of its input");
    if (x->rank >= RANK)
        return CANT(call, "of %d dimensions", x->rank);
    cats = ints ? (struct list){ints, NULL, ONNX_I64, (int64_t)ints->count}
                : (struct list){strings, NULL, ONNX_STRING, (int64_t)strings->count};
    memcpy(dims, x->dims, sizeof(dims));
    dims[x->rank] = cats.count;
    to = onnx_out(call, 0, ONNX_F32, x->rank + 1, dims);
    if (!to)
        return VD_ERR_MEMORY;
    memset(to, 0, (size_t)call->out[0]->count * sizeof(*to));
    TRY(onnx_work(call, (double)call->out[0]->count));
    for (int64_t i = 0; i < x->count; i++, to += cats.count) {
        int64_t found = -1;

        if (strings) {
            found = look_up(call, &cats, x, i);
        } else {
            double d = onnx_number(x, i);
            int64_t v = x->dtype == ONNX_I64 ? ((const int64_t *)x->data)[i]
                        : fabs(d) < 9e18     ? (int64_t)d
                                             : INT64_MIN;

            for (int64_t k = 0; k < cats.count; k++)
                found = int_at(&cats, k) == v ? k : found;
        }
        if (found >= 0)
            to[found] = 1;
        else if (!zeros)
            return BAD(call, "element %lld is of no category", (long long)i);
    }
    return 0;
}
