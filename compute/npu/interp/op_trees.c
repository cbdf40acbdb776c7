/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ml.h"
#include "ops.h"

/*
 * TreeEnsembleClassifier, TreeEnsembleRegressor. A model's nodes are sorted once, so that branches
 * are indexes; what the specification leaves open is as ONNX Runtime does it.
 */

enum mode { LEAF, LEQ, LT, GTE, GT, EQ, NEQ };

struct tree_node {
    int64_t tree, id;
    int64_t feature;
    double value;
    int64_t yes, no; /* ids first, then indexes */
    enum mode mode;
    bool missing; /* NaN is a yes */
    int64_t first_weight, weights;
};

struct tree_weight {
    int64_t tree, node, target;
    double weight;
};

/* One allocation. */
struct trees {
    int64_t count, roots, weight_count, most_feature;
    int64_t *root; /* indexes */
    struct tree_node *nodes;
    struct tree_weight *weights;
    bool one_class, positive; /* all weights are of one class; none is negative */
};

struct names {
    const char *trees, *nodes, *ids, *weights;
};

static int compare(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_place(const void *a, const void *b)
{
    const struct tree_node *one = a, *other = b;

    return one->tree != other->tree ? compare(one->tree, other->tree) : compare(one->id, other->id);
}

static int by_node(const void *a, const void *b)
{
    const struct tree_weight *one = a, *other = b;

    return one->tree != other->tree   ? compare(one->tree, other->tree)
           : one->node != other->node ? compare(one->node, other->node)
                                      : compare(one->target, other->target);
}

static int64_t find(const struct trees *t, int64_t tree, int64_t id)
{
    const struct tree_node key = {.tree = tree, .id = id};
    const struct tree_node *found =
        bsearch(&key, t->nodes, (size_t)t->count, sizeof(key), by_place);

    return found ? found - t->nodes : -1;
}

static int read_mode(struct call *call, const struct onnx_string *name, enum mode *ret)
{
    static const char *const names[] = {"LEAF",      "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE",
                                        "BRANCH_GT", "BRANCH_EQ",  "BRANCH_NEQ"};

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (strlen(names[i]) == name->size && !memcmp(names[i], name->data, name->size)) {
            *ret = (enum mode)i;
            return 0;
        }
    return CANT(call, "with nodes of mode %.40s", name->data);
}

/* Thresholds and weights: floats, or a tensor of doubles. */
static bool read_double(const struct call *call, const char *name, size_t i, double *ret)
{
    char tensor[64];
    const struct attribute *a = ml_floats(call, name);

    if (a && i < a->count) {
        *ret = a->floats[i];
        return true;
    }
    snprintf(tensor, sizeof(tensor), "%s_as_tensor", name);
    a = onnx_attr(call->node, tensor);
    if (!a || !a->tensor || (M(a->tensor->dtype) & M_FLOAT) == 0 || (int64_t)i >= a->tensor->count)
        return false;
    *ret = onnx_number(a->tensor, (int64_t)i);
    return true;
}

static int read_nodes(struct call *call, struct trees *t)
{
    const struct attribute *trees = ml_ints(call, "nodes_treeids");
    const struct attribute *ids = ml_ints(call, "nodes_nodeids");
    const struct attribute *features = ml_ints(call, "nodes_featureids");
    const struct attribute *yes = ml_ints(call, "nodes_truenodeids");
    const struct attribute *no = ml_ints(call, "nodes_falsenodeids");
    const struct attribute *modes = ml_strings(call, "nodes_modes");
    const struct attribute *missing = ml_ints(call, "nodes_missing_value_tracks_true");
    size_t n = trees->count;

    if (!ids || ids->count != n || !features || features->count != n || !yes || yes->count != n ||
        !no || no->count != n || !modes || modes->count != n || (missing && missing->count != n))
        return BAD(call, "its lists of nodes are not of one length");
    for (size_t i = 0; i < n; i++) {
        struct tree_node *node = &t->nodes[i];

        *node = (struct tree_node){.tree = trees->ints[i],
                                   .id = ids->ints[i],
                                   .feature = features->ints[i],
                                   .yes = yes->ints[i],
                                   .no = no->ints[i],
                                   .missing = missing && missing->ints[i]};
        TRY(read_mode(call, &modes->strings[i], &node->mode));
        if (!read_double(call, "nodes_values", i, &node->value))
            return BAD(call, "node %zu has no value", i);
        if (node->mode != LEAF && (node->feature < 0 || node->feature > INT32_MAX))
            return BAD(call, "node %zu asks for feature %lld", i, (long long)node->feature);
        if (node->mode != LEAF && node->feature > t->most_feature)
            t->most_feature = node->feature;
    }
    return 0;
}

static int read_weights(struct call *call, const struct names *names, int64_t targets,
                        struct trees *t)
{
    const struct attribute *trees = ml_ints(call, names->trees);
    const struct attribute *nodes = ml_ints(call, names->nodes);
    const struct attribute *ids = ml_ints(call, names->ids);
    size_t n = trees->count;

    if (!nodes || nodes->count != n || !ids || ids->count != n)
        return BAD(call, "its lists of weights are not of one length");
    t->one_class = t->positive = true;
    for (size_t i = 0; i < n; i++) {
        struct tree_weight *w = &t->weights[i];

        *w = (struct tree_weight){trees->ints[i], nodes->ints[i], ids->ints[i], 0};
        if (!read_double(call, names->weights, i, &w->weight))
            return BAD(call, "weight %zu is missing", i);
        if (w->target < 0 || w->target >= targets)
            return BAD(call, "weight %zu is of result %lld of %lld", i, (long long)w->target,
                       (long long)targets);
        t->one_class = t->one_class && w->target == ids->ints[0];
        t->positive = t->positive && w->weight >= 0;
    }
    return 0;
}

/* Ids become indexes; roots are what no branch leads to. `seen` has a byte for each node. */
static int link_nodes(struct call *call, struct trees *t, uint8_t *seen)
{
    int64_t at = 0;

    qsort(t->nodes, (size_t)t->count, sizeof(*t->nodes), by_place);
    qsort(t->weights, (size_t)t->weight_count, sizeof(*t->weights), by_node);
    for (int64_t i = 0; i < t->count; i++) {
        struct tree_node *n = &t->nodes[i];

        if (i && !by_place(n - 1, n))
            return BAD(call, "node %lld of tree %lld is there twice", (long long)n->id,
                       (long long)n->tree);
        while (at < t->weight_count &&
               (t->weights[at].tree < n->tree ||
                (t->weights[at].tree == n->tree && t->weights[at].node < n->id)))
            at++;
        n->first_weight = at;
        while (at + n->weights < t->weight_count && t->weights[at + n->weights].tree == n->tree &&
               t->weights[at + n->weights].node == n->id)
            n->weights++;
        if (n->mode == LEAF)
            continue;
        n->yes = find(t, n->tree, n->yes);
        n->no = find(t, n->tree, n->no);
        /* Each node has one way to it: no walk is longer than a tree is deep. */
        if (n->yes < 0 || n->no < 0 || n->yes == i || n->no == i || seen[n->yes] ||
            (n->no != n->yes && seen[n->no]))
            return BAD(call, "tree %lld is none", (long long)n->tree);
        seen[n->yes] = seen[n->no] = 1;
    }
    for (int64_t i = 0; i < t->count; i++)
        if (!seen[i])
            t->root[t->roots++] = i;
    return 0;
}

static int make(struct call *call, const struct names *names, int64_t targets, struct trees **ret)
{
    const struct attribute *nodes = ml_ints(call, "nodes_treeids");
    const struct attribute *weights = ml_ints(call, names->trees);
    struct trees *t;
    uint8_t *seen;
    int status;

    if (!nodes || !weights)
        return BAD(call, "has no trees");
    t = calloc(1, sizeof(*t) + nodes->count * (sizeof(*t->nodes) + sizeof(*t->root)) +
                      weights->count * sizeof(*t->weights));
    if (!t)
        return onnx_call_fail(call, VD_ERR_MEMORY, "out of memory");
    t->count = (int64_t)nodes->count;
    t->weight_count = (int64_t)weights->count;
    t->nodes = (struct tree_node *)(t + 1);
    t->weights = (struct tree_weight *)(t->nodes + t->count);
    t->root = (int64_t *)(t->weights + t->weight_count);
    seen = onnx_scratch(call, (uint64_t)t->count, 1);
    status = seen ? read_nodes(call, t) : VD_ERR_MEMORY;
    if (status == 0)
        status = read_weights(call, names, targets, t);
    if (status == 0) {
        memset(seen, 0, (size_t)t->count);
        status = link_nodes(call, t, seen);
    }
    if (status < 0)
        free(t);
    else
        *ret = t;
    return status;
}

/* The node's trees: made by whoever comes first. */
static int prepare(struct call *call, const struct names *names, int64_t targets,
                   const struct trees **ret)
{
    struct node *node = (struct node *)(uintptr_t)call->node;
    void *there = atomic_load(&node->prepared);
    struct trees *made = NULL;

    if (!there) {
        TRY(make(call, names, targets, &made));
        if (atomic_compare_exchange_strong(&node->prepared, &there, made))
            there = made;
        else
            free(made);
    }
    *ret = there;
    return 0;
}

static bool goes(const struct tree_node *n, double x)
{
    switch (n->mode) {
    case LEQ:
        return x <= n->value;
    case LT:
        return x < n->value;
    case GTE:
        return x >= n->value;
    case GT:
        return x > n->value;
    case EQ:
        return x == n->value;
    default:
        return x != n->value;
    }
}

static const struct tree_node *walk(const struct trees *t, int64_t root, const struct value *x,
                                    int64_t row)
{
    const struct tree_node *n = &t->nodes[root];

    while (n->mode != LEAF) {
        double v = onnx_number(x, row + n->feature);

        n = &t->nodes[goes(n, v) || (n->missing && isnan(v)) ? n->yes : n->no];
    }
    return n;
}

static int check(struct call *call, const struct trees *t, int64_t rows, int64_t columns)
{
    if (t->most_feature >= columns && t->roots < t->count)
        return BAD(call, "asks for feature %lld of %lld", (long long)t->most_feature,
                   (long long)columns);
    return onnx_work(call, (double)rows * (double)t->roots * 16);
}

int onnx_op_trees_regressor(struct call *call)
{
    static const struct names names = {"target_treeids", "target_nodeids", "target_ids",
                                       "target_weights"};
    const struct value *x = call->in[0];
    const char *how = onnx_attr_string(call->node, "aggregate_function", "SUM");
    int64_t targets = onnx_attr_int(call->node, "n_targets", 1), rows = 0, columns = 0, dims[2];
    bool sum = !strcmp(how, "SUM") || !strcmp(how, "AVERAGE"), least = !strcmp(how, "MIN");
    const struct trees *t = NULL;
    enum ml_post post = ML_NONE;
    double *scores, base;
    bool *has;
    float *to;

    TRY(ml_post(call, &post));
    TRY(ml_rows(call, x, &rows, &columns));
    if (!sum && !least && strcmp(how, "MAX"))
        return BAD(call, "its aggregate_function is %.40s", how);
    if (targets < 1 || targets > 1 << 20)
        return BAD(call, "cannot have %lld targets", (long long)targets);
    TRY(prepare(call, &names, targets, &t));
    TRY(check(call, t, rows, columns));
    dims[0] = rows;
    dims[1] = targets;
    to = onnx_out(call, 0, ONNX_F32, 2, dims);
    scores = onnx_scratch(call, (uint64_t)targets, sizeof(*scores));
    has = onnx_scratch(call, (uint64_t)targets, sizeof(*has));
    if (!to || !scores || !has)
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++, to += targets) {
        memset(scores, 0, (size_t)targets * sizeof(*scores));
        memset(has, 0, (size_t)targets * sizeof(*has));
        for (int64_t i = 0; i < t->roots; i++) {
            const struct tree_node *leaf = walk(t, t->root[i], x, r * columns);

            for (int64_t k = 0; k < leaf->weights; k++) {
                const struct tree_weight *w = &t->weights[leaf->first_weight + k];
                double *score = &scores[w->target];

                if (sum || !has[w->target])
                    *score += w->weight;
                else if (least ? w->weight < *score : w->weight > *score)
                    *score = w->weight;
                has[w->target] = true;
            }
        }
        for (int64_t k = 0; k < targets; k++) {
            if (!strcmp(how, "AVERAGE"))
                scores[k] /= (double)t->roots;
            to[k] = (float)scores[k];
            if (read_double(call, "base_values", (size_t)k, &base))
                to[k] = (float)(scores[k] + base);
        }
        ml_finish(post, to, targets);
    }
    return 0;
}

/* Two classes: scores, and which one it is. */
static int64_t finish_two(struct call *call, const struct trees *t, enum ml_post post, double *s,
                          bool *has, float *to)
{
    double base[2] = {0, 0};
    int bases = 0;
    bool both = has[1];
    double score;

    while (bases < 2 && read_double(call, "base_values", (size_t)bases, &base[bases]))
        bases++;
    if (bases == 2 && has[1]) {
        /* The first base counts for nothing. */
        s[1] = base[1] + s[0];
        s[0] = -s[1];
    } else if (bases == 2) {
        s[1] += base[1];
        s[0] += base[0];
        has[0] = both = true;
    } else if (bases == 1) {
        s[0] += base[0];
    }
    score = has[1] ? s[1] : has[0] ? s[0] : 0;
    if (both) {
        /* What no leaf has said anything of is zero, bases or not. */
        to[0] = has[0] ? (float)s[0] : 0;
        to[1] = has[1] ? (float)s[1] : 0;
        ml_finish(post, to, 2);
    } else {
        ml_finish_two(post, t->one_class && t->positive, (float)s[0], to);
    }
    return score > (t->one_class && t->positive ? 0.5 : 0);
}

int onnx_op_trees_classifier(struct call *call)
{
    static const struct names names = {"class_treeids", "class_nodeids", "class_ids",
                                       "class_weights"};
    const struct value *x = call->in[0];
    int64_t rows = 0, columns = 0;
    const struct trees *t = NULL;
    struct ml_labels labels;
    enum ml_post post = ML_NONE;
    double *scores, base;
    bool *has;
    float *to;
    void *out;

    TRY(ml_post(call, &post));
    TRY(ml_rows(call, x, &rows, &columns));
    TRY(ml_labels(call, &labels));
    TRY(prepare(call, &names, labels.count, &t));
    TRY(check(call, t, rows, columns));
    if (labels.count < 2)
        return CANT(call, "of one class");
    /* Runtimes give 0 and 1 then, the specification the labels. */
    if (labels.count == 2 && !t->one_class && labels.ints &&
        (labels.ints->ints[0] != 0 || labels.ints->ints[1] != 1))
        return CANT(call, "of two classes that are not 0 and 1, with weights of both");
    TRY(ml_labels_out(call, &labels, rows, &out));
    to = ml_scores_out(call, rows, labels.count);
    scores = onnx_scratch(call, (uint64_t)labels.count, sizeof(*scores));
    has = onnx_scratch(call, (uint64_t)labels.count, sizeof(*has));
    if (!to || !scores || !has)
        return VD_ERR_MEMORY;
    for (int64_t r = 0; r < rows; r++, to += labels.count) {
        int64_t best = 0;

        memset(scores, 0, (size_t)labels.count * sizeof(*scores));
        memset(has, 0, (size_t)labels.count * sizeof(*has));
        for (int64_t i = 0; i < t->roots; i++) {
            const struct tree_node *leaf = walk(t, t->root[i], x, r * columns);

            for (int64_t k = 0; k < leaf->weights; k++) {
                const struct tree_weight *w = &t->weights[leaf->first_weight + k];

                scores[w->target] += w->weight;
                has[w->target] = true;
            }
        }
        if (labels.count == 2) {
            ml_label(&labels, finish_two(call, t, post, scores, has, to), out, r);
            continue;
        }
        for (int64_t k = 0; k < labels.count; k++) {
            if (read_double(call, "base_values", (size_t)k, &base))
                scores[k] += base;
            to[k] = (float)scores[k];
            best = scores[k] > scores[best] ? k : best;
        }
        ml_label(&labels, best, out, r);
        ml_finish(post, to, labels.count);
    }
    return 0;
}
