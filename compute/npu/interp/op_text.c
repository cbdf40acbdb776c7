/* SPDX-License-Identifier: MIT */
#include <strings.h>

#include "ops.h"

/* StringNormalizer, TfIdfVectorizer. */

static const struct attribute *strings_of(const struct call *call, const char *name)
{
    const struct attribute *a = onnx_attr(call->node, name);

    return a && a->type == ATTR_STRINGS ? a : NULL;
}

static bool is_ascii(const struct onnx_string *s)
{
    for (size_t i = 0; i < s->size; i++)
        if ((uint8_t)s->data[i] > 127)
            return false;
    return true;
}

static bool same(const struct onnx_string *a, const struct onnx_string *b, bool sensitive)
{
    return a->size == b->size && !(sensitive ? memcmp(a->data, b->data, a->size)
                                             : strncasecmp(a->data, b->data, a->size));
}

static int change_case(struct call *call, struct onnx_string *s, int shift)
{
    char *text;

    if (!shift || !s->size)
        return 0;
    text = onnx_text(call->run, s->size);
    if (!text)
        return VD_ERR_MEMORY;
    for (size_t i = 0; i < s->size; i++) {
        char c = s->data[i], first = shift > 0 ? 'A' : 'a';

        text[i] = c >= first && c < first + 26 ? (char)(c + shift) : c;
    }
    s->data = text;
    return 0;
}

/* Letters beyond ASCII change by the rules of a locale: where they would count it is refused. */
int onnx_op_string_normalizer(struct call *call)
{
    const struct value *x = call->in[0];
    const struct attribute *stop = strings_of(call, "stopwords");
    const char *action = onnx_attr_string(call->node, "case_change_action", "NONE");
    bool sensitive = onnx_attr_int(call->node, "is_case_sensitive", 0);
    int shift = !strcmp(action, "LOWER") ? 'a' - 'A' : !strcmp(action, "UPPER") ? 'A' - 'a' : 0;
    const struct onnx_string *words = x->data;
    int64_t dims[2] = {1, 1}, kept = 0;
    struct onnx_string *all, *to;

    if (x->rank < 1 || x->rank > 2 || (x->rank == 2 && x->dims[0] != 1))
        return BAD(call, "its input is not one row of words");
    if (!shift && strcmp(action, "NONE") != 0)
        return BAD(call, "its case_change_action is %.40s", action);
    all = onnx_scratch(call, (uint64_t)x->count + 1, sizeof(*all));
    if (!all)
        return VD_ERR_MEMORY;
    for (int64_t i = 0; i < x->count; i++) {
        bool stopped = false;

        if ((shift || (stop && !sensitive)) && !is_ascii(&words[i]))
            return CANT(call, "changes the case of letters beyond ASCII");
        for (size_t k = 0; stop && k < stop->count && !stopped; k++)
            stopped = same(&words[i], &stop->strings[k], sensitive);
        if (stopped)
            continue;
        all[kept] = words[i];
        TRY(change_case(call, &all[kept++], shift));
    }
    /* Nothing left is one empty word. */
    if (!kept)
        all[kept++] = (struct onnx_string){"", 0};
    dims[x->rank - 1] = kept;
    to = onnx_out(call, 0, ONNX_STRING, x->rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    memcpy(to, all, (size_t)kept * sizeof(*to));
    return 0;
}

/* The n-grams that are counted, all lengths in one pool. */
struct grams {
    const struct attribute *counts, *indexes, *weights, *ints, *strings;
    int64_t pool; /* elements */
};

static int64_t gram_begin(const struct grams *g, int64_t n)
{
    return n - 1 < (int64_t)g->counts->count ? g->counts->ints[n - 1] : g->pool;
}

static bool matches(const struct grams *g, const struct value *x, int64_t at, int64_t step,
                    int64_t n, int64_t gram)
{
    for (int64_t k = 0; k < n; k++, at += step, gram++) {
        if (g->strings
                ? !same((const struct onnx_string *)x->data + at, &g->strings->strings[gram], true)
                : onnx_index(x, at) != g->ints->ints[gram])
            return false;
    }
    return true;
}

static int read_grams(struct call *call, struct grams *g, int64_t *ret_width)
{
    int64_t width = 0, count = 0;

    *g = (struct grams){
        .counts = onnx_attr(call->node, "ngram_counts"),
        .indexes = onnx_attr(call->node, "ngram_indexes"),
        .weights = onnx_attr(call->node, "weights"),
        .ints = onnx_attr(call->node, "pool_int64s"),
        .strings = strings_of(call, "pool_strings"),
    };
    if (!g->counts || g->counts->type != ATTR_INTS || !g->indexes ||
        g->indexes->type != ATTR_INTS || (g->ints && g->ints->type != ATTR_INTS) ||
        !g->ints == !g->strings || (g->weights && g->weights->type != ATTR_FLOATS))
        return BAD(call, "its attributes are not those of n-grams");
    if (!g->strings != (call->in[0]->dtype != ONNX_STRING))
        return BAD(call, "its pool is of another type than its input");
    g->pool = (int64_t)(g->strings ? g->strings->count : g->ints->count);
    for (size_t n = 1; n <= g->counts->count; n++) {
        int64_t begin = gram_begin(g, (int64_t)n), end = gram_begin(g, (int64_t)n + 1);

        if (begin < 0 || end < begin || end > g->pool || (end - begin) % (int64_t)n)
            return BAD(call, "its pool of %lld has no %zu-grams from %lld to %lld",
                       (long long)g->pool, n, (long long)begin, (long long)end);
        count += (end - begin) / (int64_t)n;
    }
    if (count > (int64_t)g->indexes->count || (g->weights && g->weights->count < (size_t)count))
        return BAD(call, "has %lld n-grams and %zu indexes", (long long)count, g->indexes->count);
    for (size_t i = 0; i < g->indexes->count; i++) {
        if (g->indexes->ints[i] < 0 || g->indexes->ints[i] > INT64_C(1) << 32)
            return BAD(call, "has an index of %lld", (long long)g->indexes->ints[i]);
        width = g->indexes->ints[i] >= width ? g->indexes->ints[i] + 1 : width;
    }
    *ret_width = width;
    return 0;
}

/* Row `row` of the output: how often each n-gram is in `length` elements from `at` on. */
static void count_row(const struct grams *g, const struct value *x, int64_t at, int64_t length,
                      const int64_t limits[3], float *row)
{
    int64_t number = 0;

    for (int64_t n = 1; n <= (int64_t)g->counts->count; n++) {
        int64_t end = gram_begin(g, n + 1);

        for (int64_t gram = gram_begin(g, n); gram < end; gram += n, number++) {
            if (n < limits[0] || n > limits[1])
                continue;
            /* One element has nothing to skip. */
            for (int64_t skip = 0; skip <= (n > 1 ? limits[2] : 0); skip++)
                for (int64_t i = 0; i + (n - 1) * (skip + 1) < length; i++)
                    row[g->indexes->ints[number]] +=
                        (float)matches(g, x, at + i, skip + 1, n, gram);
        }
    }
}

static void weigh(const struct grams *g, const char *mode, float *row)
{
    int64_t number = 0;

    for (int64_t n = 1; n <= (int64_t)g->counts->count; n++)
        for (int64_t gram = gram_begin(g, n); gram < gram_begin(g, n + 1); gram += n, number++) {
            float *count = &row[g->indexes->ints[number]];
            float weight = g->weights ? g->weights->floats[number] : 1;

            if (!strcmp(mode, "IDF"))
                *count = *count > 0 ? weight : 0;
            else
                *count *= weight;
        }
}

int onnx_op_tf_idf(struct call *call)
{
    const struct value *x = call->in[0];
    const char *mode = onnx_attr_string(call->node, "mode", "TF");
    int64_t limits[3] = {onnx_attr_int(call->node, "min_gram_length", 1),
                         onnx_attr_int(call->node, "max_gram_length", 1),
                         onnx_attr_int(call->node, "max_skip_count", 0)};
    int64_t width = 0, rows, length, dims[2];
    struct grams g;
    float *to;

    if (x->rank < 1 || x->rank > 2 ||
        (x->dtype != ONNX_STRING && x->dtype != ONNX_I32 && x->dtype != ONNX_I64))
        return BAD(call, "its input is not one or several rows of words or integers");
    if (strcmp(mode, "TF") && strcmp(mode, "IDF") && strcmp(mode, "TFIDF"))
        return BAD(call, "its mode is %.40s", mode);
    if (limits[0] < 1 || limits[1] < limits[0] || limits[2] < 0 || limits[2] > 1 << 20)
        return BAD(call, "its lengths are out of range");
    TRY(read_grams(call, &g, &width));
    rows = x->rank == 2 ? x->dims[0] : 1;
    length = x->dims[x->rank - 1];
    dims[0] = x->rank == 2 ? rows : width;
    dims[1] = width;
    to = onnx_out(call, 0, ONNX_F32, x->rank, dims);
    if (!to)
        return VD_ERR_MEMORY;
    memset(to, 0, (size_t)(rows * width) * sizeof(*to));
    TRY(onnx_work(call, (double)x->count * (double)(g.pool + 1) * (double)(limits[2] + 1)));
    for (int64_t r = 0; r < rows; r++) {
        count_row(&g, x, r * length, length, limits, to + r * width);
        if (strcmp(mode, "TF") != 0)
            weigh(&g, mode, to + r * width);
    }
    return 0;
}
