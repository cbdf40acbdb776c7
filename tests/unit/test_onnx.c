/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <pthread.h>
#include <stdio.h>

#include <viaduct/errors.h>

#include "onnx_build.h"

static struct onnx_model *load(const struct message *m, const struct onnx_options *options)
{
    void *exact = check_exact(m->bytes, m->size);
    struct onnx_model *model = NULL;
    char error[300] = "";
    int status = onnx_model_create(exact, m->size, options, &model, error, sizeof(error));

    if (status)
        print_error("%s\n", error);
    assert_int_equal(status, 0);
    free(exact);
    return model;
}

static void refused(const struct message *m, int status, const char *because)
{
    void *exact = check_exact(m->bytes, m->size);
    struct onnx_model *model = NULL;
    char error[300] = "";

    assert_int_equal(onnx_model_create(exact, m->size, NULL, &model, error, sizeof(error)), status);
    if (!strstr(error, because))
        print_error("%s\n", error);
    assert_non_null(strstr(error, because));
    assert_null(model);
    free(exact);
}

static struct onnx_value tensor(float *data, int64_t rows)
{
    return (struct onnx_value){.kind = ONNX_TENSOR,
                               .dtype = ONNX_F32,
                               .rank = 2,
                               .dims = {rows, 3},
                               .data = data,
                               .size = (size_t)rows * 3 * sizeof(*data)};
}

static void test_info(void **state)
{
    struct message m;
    struct onnx_model *model;
    const struct onnx_metadata *meta;
    const struct onnx_io *x;

    (void)state;
    simple(&m, "Add");
    model = load(&m, NULL);
    meta = onnx_model_metadata(model);
    assert_string_equal(meta->producer, "test");
    assert_string_equal(meta->graph, "the_graph");
    assert_int_equal(meta->opset, 13);
    assert_int_equal(meta->ir_version, 8);
    assert_int_equal(meta->pair_count, 1);
    assert_string_equal(meta->keys[0], "key");
    assert_string_equal(meta->values[0], "value");
    assert_int_equal(onnx_model_input_count(model), 1);
    x = onnx_model_input(model, 0);
    assert_string_equal(x->name, "x");
    assert_int_equal(x->dtype, ONNX_F32);
    assert_int_equal(x->rank, 2);
    assert_int_equal(x->dims[0], -1);
    assert_string_equal(x->symbols[0], "N");
    assert_int_equal(x->dims[1], 3);
    assert_null(onnx_model_input(model, 1));
    onnx_model_destroy(model);
}

static void test_run(void **state)
{
    float x[6] = {1, 2, 3, 4, 5, 6}, own[6];
    const char *names[] = {"x"};
    struct onnx_value in = tensor(x, 2), out = {0};
    struct message m;
    struct onnx_model *model;
    struct onnx_run *run;

    (void)state;
    simple(&m, "Mul");
    model = load(&m, NULL);
    assert_int_equal(onnx_run_create(model, &run), 0);
    for (int i = 0; i < 3; i++) {
        out.data = NULL;
        assert_int_equal(onnx_run_execute(run, i ? names : NULL, &in, 1, &out, 1), 0);
        assert_int_equal(out.rank, 2);
        assert_int_equal(out.dims[0], 2);
        assert_int_equal(out.size, sizeof(x));
        for (int k = 0; k < 6; k++)
            assert_true(((float *)out.data)[k] == x[k] * (float)(k % 3 + 1));
    }
    out.data = own;
    out.size = sizeof(own);
    assert_int_equal(onnx_run_execute(run, NULL, &in, 1, &out, 1), 0);
    assert_ptr_equal(out.data, own);
    assert_true(own[5] == 18);
    out.size = 8;
    assert_int_equal(onnx_run_execute(run, NULL, &in, 1, &out, 1), VD_ERR_ROOM);
    assert_int_equal(out.size, sizeof(own));
    onnx_run_destroy(run);
    onnx_model_destroy(model);
}

/* An INT attribute. */
static struct message integer(const char *name, int64_t value)
{
    struct message a = {.size = 0};

    text(&a, 1, name);
    number(&a, 3, (uint64_t)value);
    number(&a, 20, 2);
    return a;
}

/* ONNX has no cases for these: columns of x become a sequence, which is put together as `axis`
 * says. */
static void test_sequences(void **state)
{
    static const struct {
        int64_t keep, anew, axis, dims[3];
        int rank;
        float want[6];
    } cases[] = {
        {1, 0, 1, {2, 3}, 2, {1, 2, 3, 4, 5, 6}},    {1, 0, 0, {6, 1}, 2, {1, 4, 2, 5, 3, 6}},
        {0, 1, 0, {3, 2}, 2, {1, 4, 2, 5, 3, 6}},    {0, 1, -1, {2, 3}, 2, {1, 2, 3, 4, 5, 6}},
        {1, 1, 0, {3, 2, 1}, 3, {1, 4, 2, 5, 3, 6}}, {0, 0, 0, {6}, 1, {1, 4, 2, 5, 3, 6}},
    };
    float x[6] = {1, 2, 3, 4, 5, 6};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct message m = {.size = 0}, graph = {.size = 0}, split = {.size = 0},
                       concat = {.size = 0}, a;
        struct onnx_value in = tensor(x, 2), out = {0};
        struct onnx_model *model;
        struct onnx_run *run;

        text(&split, 1, "x");
        text(&split, 2, "s");
        text(&split, 4, "SplitToSequence");
        a = integer("axis", 1);
        nest(&split, 5, &a);
        a = integer("keepdims", cases[i].keep);
        nest(&split, 5, &a);
        nest(&graph, 1, &split);
        text(&concat, 1, "s");
        text(&concat, 2, "y");
        text(&concat, 4, "ConcatFromSequence");
        a = integer("axis", cases[i].axis);
        nest(&concat, 5, &a);
        a = integer("new_axis", cases[i].anew);
        nest(&concat, 5, &a);
        nest(&graph, 1, &concat);
        text(&graph, 2, "the_graph");
        io(&graph, 11, "x", ONNX_F32, 2, row);
        io(&graph, 12, "y", ONNX_F32, 2, row);
        finish(&m, &graph);
        model = load(&m, NULL);
        assert_int_equal(onnx_run_create(model, &run), 0);
        assert_int_equal(onnx_run_execute(run, NULL, &in, 1, &out, 1), 0);
        assert_int_equal(out.rank, cases[i].rank);
        for (int d = 0; d < out.rank; d++)
            assert_int_equal(out.dims[d], cases[i].dims[d]);
        assert_memory_equal(out.data, cases[i].want, sizeof(x));
        onnx_run_destroy(run);
        onnx_model_destroy(model);
    }
}

static void test_wrong_inputs(void **state)
{
    float x[6] = {0};
    struct onnx_value in = tensor(x, 2), out = {0}, bad;
    const char *other[] = {"z"};
    struct message m;
    struct onnx_model *model;
    struct onnx_run *run;

    (void)state;
    simple(&m, "Mul");
    model = load(&m, NULL);
    assert_int_equal(onnx_run_create(model, &run), 0);
#define FAILS(count, outs, because)                                                               \
    do {                                                                                          \
        assert_int_equal(onnx_run_execute(run, NULL, &bad, count, &out, outs), VD_ERR_PARAMETER); \
        assert_non_null(strstr(onnx_run_error(run), because));                                    \
    } while (0)
    bad = in;
    FAILS(0, 1, "input x is missing");
    FAILS(1, 2, "1 outputs");
    bad.dtype = ONNX_I32;
    FAILS(1, 1, "int32, not float");
    bad = in;
    bad.dims[1] = 2;
    FAILS(1, 1, "dimension 1 of input x is 2, not 3");
    bad = in;
    bad.rank = 1;
    FAILS(1, 1, "1 dimensions, not 2");
    bad = in;
    bad.dims[0] = 3;
    FAILS(1, 1, "too few");
    bad = in;
    bad.rank = 9;
    FAILS(1, 1, "rank");
    bad = in;
    bad.kind = ONNX_SEQUENCE;
    FAILS(1, 1, "not a tensor");
    assert_int_equal(onnx_run_execute(run, other, &in, 1, &out, 1), VD_ERR_PARAMETER);
    assert_non_null(strstr(onnx_run_error(run), "no input z"));
    /* And it still runs. */
    assert_int_equal(onnx_run_execute(run, NULL, &in, 1, &out, 1), 0);
    assert_string_equal(onnx_run_error(run), "");
    onnx_run_destroy(run);
    onnx_model_destroy(model);
}

static void test_truncated(void **state)
{
    struct message m, cut;

    (void)state;
    simple(&m, "Add");
    for (size_t size = 0; size < m.size; size++) {
        struct onnx_model *model = NULL;
        void *exact = check_exact(m.bytes, size);
        char error[300] = "";
        int status = onnx_model_create(exact, size, NULL, &model, error, sizeof(error));

        /* What is cut off behind the operator sets is not missed. */
        assert_true(status == 0 || (status < 0 && error[0]));
        onnx_model_destroy(model);
        free(exact);
    }
    cut = m;
    cut.size = 40;
    refused(&cut, VD_ERR_PARAMETER, "cut off");
    cut.size = 0;
    refused(&cut, VD_ERR_PARAMETER, "no graph");
}

static void test_broken_graphs(void **state)
{
    struct message m = {.size = 0}, graph = {.size = 0}, w = {.size = 0};

    (void)state;
    simple(&m, "Frobnicate");
    refused(&m, VD_ERR_UNSUPPORTED, "Frobnicate");
    /* In a cycle. */
    node(&graph, "Add", "x", "b", "a", NULL);
    node(&graph, "Add", "a", "x", "b", NULL);
    io(&graph, 11, "x", ONNX_F32, 2, row);
    io(&graph, 12, "b", ONNX_F32, 2, row);
    m.size = 0;
    finish(&m, &graph);
    refused(&m, VD_ERR_PARAMETER, "node the_node (Add): nothing before it makes b");
    /* Twice the same name. */
    graph.size = m.size = 0;
    io(&graph, 11, "x", ONNX_F32, 2, row);
    node(&graph, "Add", "x", "x", "x", NULL);
    finish(&m, &graph);
    refused(&m, VD_ERR_PARAMETER, "makes x, which is there already");
    /* An output nobody makes. */
    graph.size = m.size = 0;
    io(&graph, 12, "y", ONNX_F32, 2, row);
    finish(&m, &graph);
    refused(&m, VD_ERR_PARAMETER, "no node makes output y");
    /* A tensor that says it is huge. */
    graph.size = m.size = 0;
    number(&w, 1, 1ull << 62);
    number(&w, 1, 1ull << 62);
    number(&w, 2, ONNX_F32);
    text(&w, 8, "w");
    nest(&graph, 5, &w);
    finish(&m, &graph);
    refused(&m, VD_ERR_PARAMETER, "tensor w has an impossible shape");
    graph.size = m.size = w.size = 0;
    number(&w, 1, 1 << 30);
    number(&w, 2, ONNX_F32);
    text(&w, 8, "w");
    nest(&graph, 5, &w);
    finish(&m, &graph);
    refused(&m, VD_ERR_PARAMETER, "larger than what the model holds");
}

static void test_deep(void **state)
{
    struct message graph = {.size = 0}, m = {.size = 0};

    (void)state;
    io(&graph, 12, "c", ONNX_BOOL, 0, NULL);
    for (int depth = 0; depth < 40; depth++) {
        struct message attribute = {.size = 0}, outer = {.size = 0};

        text(&attribute, 1, "then_branch");
        nest(&attribute, 6, &graph);
        number(&attribute, 20, 5);
        node(&outer, "If", "c", NULL, "d", &attribute);
        io(&outer, 12, "d", ONNX_BOOL, 0, NULL);
        graph = outer;
    }
    io(&graph, 11, "c", ONNX_BOOL, 0, NULL);
    finish(&m, &graph);
    refused(&m, VD_ERR_LIMIT, "nested more than");
}

static int run_limited(const char *op, const struct onnx_options *options, char *error, size_t room)
{
    float x[3] = {1, 2, 3};
    struct onnx_value in = tensor(x, 1), out = {0};
    struct message m;
    struct onnx_model *model;
    struct onnx_run *run;
    int status;

    endless(&m, op);
    model = load(&m, options);
    assert_int_equal(onnx_run_create(model, &run), 0);
    status = onnx_run_execute(run, NULL, &in, 1, &out, 1);
    snprintf(error, room, "%s", onnx_run_error(run));
    onnx_run_destroy(run);
    onnx_model_destroy(model);
    return status;
}

static void test_limits(void **state)
{
    const struct onnx_options memory = {.memory = 1 << 20}, work = {.work = 10000},
                              time = {.milliseconds = 20};
    char error[400];

    (void)state;
    assert_int_equal(run_limited("Concat", &memory, error, sizeof(error)), VD_ERR_LIMIT);
    assert_non_null(strstr(error, "memory"));
    assert_int_equal(run_limited("Add", &work, error, sizeof(error)), VD_ERR_LIMIT);
    assert_non_null(strstr(error, "steps"));
    assert_int_equal(run_limited("Add", &time, error, sizeof(error)), VD_ERR_TIMEOUT);
    assert_non_null(strstr(error, "20 ms"));
}

static void *run_thread(void *run)
{
    float x[3] = {1, 2, 3};
    struct onnx_value in = tensor(x, 1), out = {0};

    return (void *)(intptr_t)onnx_run_execute(run, NULL, &in, 1, &out, 1);
}

static void test_cancel(void **state)
{
    struct message m;
    struct onnx_model *model;
    struct onnx_run *runs[3];
    pthread_t threads[3];

    (void)state;
    endless(&m, "Mul");
    model = load(&m, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(onnx_run_create(model, &runs[i]), 0);
        assert_int_equal(pthread_create(&threads[i], NULL, run_thread, runs[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        void *status;

        onnx_run_cancel(runs[i]);
        assert_int_equal(pthread_join(threads[i], &status), 0);
        assert_int_equal((intptr_t)status, VD_ERR_GONE);
        assert_non_null(strstr(onnx_run_error(runs[i]), "cancelled"));
        onnx_run_destroy(runs[i]);
    }
    onnx_model_destroy(model);
}

static void test_table(void **state)
{
    const char *domain, *name, *other_domain, *other;
    int since, until, other_since, other_until;

    (void)state;
    for (size_t i = 0; onnx_operator_at(i, &domain, &name, &since, &until); i++) {
        assert_true(since >= 1 && since <= until);
        for (size_t k = 0; k < i; k++) {
            onnx_operator_at(k, &other_domain, &other, &other_since, &other_until);
            /* Two rows of one operator do not overlap. */
            assert_true(strcmp(name, other) || strcmp(domain, other_domain) ||
                        since > other_until || until < other_since);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),      cmocka_unit_test(test_run),
        cmocka_unit_test(test_sequences), cmocka_unit_test(test_wrong_inputs),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_broken_graphs),
        cmocka_unit_test(test_deep),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_cancel),    cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
