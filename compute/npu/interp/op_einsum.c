/* SPDX-License-Identifier: MIT */
#include <ctype.h>

#include "ops.h"

/* Einsum: the sum over all indices that the output does not name, term by term. */

#define MOST_INPUTS 8
#define MOST_LABELS 16

struct einsum {
    char labels[MOST_LABELS]; /* those of the output first */
    int64_t dims[MOST_LABELS];
    int count, out;
    int spread; /* most dimensions that an ellipsis stands for */
    int64_t strides[MOST_INPUTS][MOST_LABELS];
};

static int label(struct einsum *e, char c)
{
    for (int i = 0; i < e->count; i++)
        if (e->labels[i] == c)
            return i;
    if (e->count == MOST_LABELS)
        return -1;
    e->labels[e->count] = c;
    e->dims[e->count] = -1;
    return e->count++;
}

/* Dimensions that the ellipsis of a term stands for: its tensor's that no letter names; 0: none. */
static int ellipsis(const char *term, const struct value *x)
{
    bool found = false;
    int letters = 0;

    for (; *term && *term != ',' && *term != '-'; term++) {
        letters += isalpha((unsigned char)*term) != 0;
        found = found || *term == '.';
    }
    return found && x->rank > letters ? x->rank - letters : 0;
}

static void measure(struct call *call, const char *equation, struct einsum *e)
{
    for (size_t i = 0; i < call->in_count; i++) {
        int n = ellipsis(equation, call->in[i]);

        e->spread = n > e->spread ? n : e->spread;
        equation += strcspn(equation, ",");
        equation += *equation == ',';
    }
}

/* The label of one of those dimensions, counted from the last; no letter. */
static int spread_label(struct einsum *e, int from_last)
{
    return label(e, (char)(1 + from_last));
}

/* The output's labels; without an arrow, those that are there once, in the order of the alphabet.
 */
static int read_output(struct call *call, const char *equation, struct einsum *e)
{
    const char *arrow = strstr(equation, "->");

    for (const char *p = arrow ? arrow + 2 : "\0"; *p; p++) {
        if (*p == ' ')
            continue;
        if (!strncmp(p, "...", 3) && e->count + e->spread <= RANK) {
            for (int i = e->spread; i > 0; i--)
                spread_label(e, i);
            p += 2;
            continue;
        }
        if (!isalpha((unsigned char)*p) || e->count == RANK)
            return CANT(call, "with equation %.60s", equation);
        for (int i = 0; i < e->count; i++)
            if (e->labels[i] == *p)
                return BAD(call, "names an output index twice");
        label(e, *p);
    }
    for (int i = e->spread; !arrow && i > 0; i--)
        spread_label(e, i);
    for (int c = 'A'; !arrow && c <= 'z'; c++) {
        const char *first = isalpha(c) ? strchr(equation, c) : NULL;

        if (first && !strchr(first + 1, c) && label(e, (char)c) >= RANK)
            return CANT(call, "with equation %.60s", equation);
    }
    e->out = e->count;
    return 0;
}

static int read_inputs(struct call *call, const char *equation, struct einsum *e)
{
    size_t input = 0;
    int at = 0;
    int64_t strides[RANK];
    const char *term = equation;

    for (const char *p = equation;; p++) {
        const struct value *x = call->in[input];

        if (at == 0)
            onnx_strides(x->rank, x->dims, strides);
        if (*p == ' ')
            continue;
        if (*p == ',' || *p == '-' || !*p) {
            if (at != x->rank)
                return BAD(call, "input %zu has %d dimensions, not %d", input, x->rank, at);
            at = 0;
            term = p + 1;
            if (++input == call->in_count || *p != ',')
                return input == call->in_count && *p != ','
                           ? 0
                           : BAD(call, "equation %.60s is not for %zu inputs", equation,
                                 call->in_count);
            continue;
        }
        if (!strncmp(p, "...", 3)) {
            for (int left = ellipsis(term, x); left > 0; left--, at++) {
                int l = spread_label(e, left);

                if (l < 0)
                    return CANT(call, "with equation %.60s", equation);
                /* These are spread over each other, as elsewhere. */
                if (e->dims[l] > 1 && x->dims[at] > 1 && e->dims[l] != x->dims[at])
                    return BAD(call, "dimensions of %lld and %lld do not fit",
                               (long long)e->dims[l], (long long)x->dims[at]);
                if (e->dims[l] < 0 || x->dims[at] != 1)
                    e->dims[l] = x->dims[at];
                e->strides[input][l] += x->dims[at] == 1 ? 0 : strides[at];
            }
            p += 2;
            continue;
        }
        int l = isalpha((unsigned char)*p) ? label(e, *p) : -1;

        if (l < 0 || at >= x->rank)
            return CANT(call, "with equation %.60s", equation);
        if (e->dims[l] >= 0 && e->dims[l] != x->dims[at])
            return BAD(call, "index %c is %lld and %lld long", *p, (long long)e->dims[l],
                       (long long)x->dims[at]);
        e->dims[l] = x->dims[at];
        /* An index twice in one input is its diagonal. */
        e->strides[input][l] += strides[at++];
    }
}

int onnx_op_einsum(struct call *call)
{
    const char *equation = onnx_attr_string(call->node, "equation", "");
    struct einsum e = {.count = 0};
    int64_t at[MOST_LABELS] = {0}, i = 0;
    double total = 1;

    if (call->in_count > MOST_INPUTS)
        return CANT(call, "of more than %d inputs", MOST_INPUTS);
    for (size_t k = 0; k < call->in_count; k++)
        if (!call->in[k])
            return BAD(call, "input %zu is missing", k);
    measure(call, equation, &e);
    TRY(read_output(call, equation, &e));
    TRY(read_inputs(call, equation, &e));
    for (int k = 0; k < e.count; k++) {
        if (e.dims[k] < 0)
            return BAD(call, "index %c is in no input", e.labels[k]);
        total *= (double)e.dims[k];
    }
    if (!onnx_out(call, 0, call->in[0]->dtype, e.out, e.dims))
        return VD_ERR_MEMORY;
    if (!call->out[0]->count)
        return 0;
    TRY(onnx_work(call, total));
    do {
        int64_t inner[MOST_LABELS] = {0};
        double sum = 0;

        TRY(onnx_work(call, 0));
        do {
            double product = 1;

            for (size_t k = 0; total > 0 && k < call->in_count; k++) {
                int64_t from = 0;

                for (int l = 0; l < e.count; l++)
                    from += (l < e.out ? at[l] : inner[l - e.out]) * e.strides[k][l];
                product *= onnx_number(call->in[k], from);
            }
            sum += total > 0 ? product : 0;
        } while (total > 0 && onnx_next(e.count - e.out, e.dims + e.out, inner));
        onnx_set(call->out[0], i++, sum);
    } while (onnx_next(e.out, e.dims, at));
    return 0;
}
