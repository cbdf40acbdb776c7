/* SPDX-License-Identifier: MIT */
#include "npu_host.h"

#include <viaduct/npu.h>

#include "onnx_build.h"

/* The client library and a session that serves it, in one process, over shared memory and without.
 */

static struct npu *npu;
static int descriptors;

static int setup(void **state)
{
    (void)state;
    setenv("VIADUCT_ORT", "none", 1);
    descriptors = check_descriptors();
    return npu_open("test:", &npu);
}

static int teardown(void **state)
{
    (void)state;
    npu_close(npu);
    npu_host_end();
    npu_host.in_band = false;
    assert_int_equal(check_descriptors(), descriptors);
    return 0;
}

static int setup_in_band(void **state)
{
    npu_host.in_band = true;
    return setup(state);
}

static struct npu_model *load(const struct message *m)
{
    struct npu_model *model = NULL;
    int err = npu_load(npu, m->bytes, m->size, NULL, &model);

    if (err)
        print_error("%s\n", npu_message());
    assert_int_equal(err, 0);
    return model;
}

static struct npu_model *load_simple(const char *op)
{
    struct message m;

    simple(&m, op);
    return load(&m);
}

static struct npu_tensor *rows_of(int64_t rows)
{
    const int64_t dims[] = {rows, 3};
    struct npu_tensor *t;
    float *data;

    assert_int_equal(npu_tensor_create(npu, NPU_FLOAT32, dims, 2, &t), 0);
    data = npu_tensor_data(t);
    for (int64_t i = 0; i < rows * 3; i++)
        data[i] = (float)i;
    return t;
}

/* y = x * {1, 2, 3} */
static void check_product(const struct npu_tensor *y, int64_t rows)
{
    const float *data = npu_tensor_data(y);

    assert_int_equal(npu_tensor_kind(y), NPU_KIND_TENSOR);
    assert_int_equal(npu_tensor_dtype(y), NPU_FLOAT32);
    assert_int_equal(npu_tensor_rank(y), 2);
    assert_int_equal(npu_tensor_dims(y)[0], rows);
    assert_int_equal(npu_tensor_bytes(y), rows * 12);
    for (int64_t i = 0; i < rows * 3; i++)
        assert_true(data[i] == (float)(i * (i % 3 + 1)));
}

static int run(struct npu_model *model, struct npu_tensor *x, struct npu_tensor **y)
{
    struct npu_call call = {.inputs = &x, .input_count = 1, .outputs = y, .output_count = 1};

    return npu_run(model, &call);
}

static void test_devices(void **state)
{
    struct npu_device devices[8];
    size_t count = 0;

    (void)state;
    assert_int_equal(npu_devices(npu, devices, 8, &count), 0);
    assert_int_equal(count, 1);
    assert_string_equal(devices[0].name, "builtin");
    assert_int_equal(devices[0].kind, NPU_DEVICE_CPU);
    assert_int_equal(npu_devices(npu, devices, 0, &count), 0);
    assert_int_equal(count, 0);
}

static void test_info(void **state)
{
    struct npu_model *model = load_simple("Mul");
    const struct npu_info *info = npu_model_info(model);

    (void)state;
    assert_string_equal(info->device, "builtin");
    assert_string_equal(info->reason, "");
    assert_string_equal(info->producer, "test");
    assert_string_equal(info->graph, "the_graph");
    assert_string_equal(info->domain, "");
    assert_int_equal(info->node_count, 1);
    assert_int_equal(info->pair_count, 1);
    assert_string_equal(info->keys[0], "key");
    assert_string_equal(info->values[0], "value");
    assert_int_equal(info->input_count, 1);
    assert_int_equal(info->output_count, 1);
    assert_string_equal(info->inputs[0].name, "x");
    assert_string_equal(info->outputs[0].name, "y");
    assert_int_equal(info->inputs[0].kind, NPU_KIND_TENSOR);
    assert_int_equal(info->inputs[0].dtype, NPU_FLOAT32);
    assert_int_equal(info->inputs[0].rank, 2);
    assert_int_equal(info->inputs[0].dims[0], -1);
    assert_string_equal(info->inputs[0].symbols[0], "N");
    assert_int_equal(info->inputs[0].dims[1], 3);
    assert_null(info->inputs[0].symbols[1]);
    npu_unload(model);
}

/* A description larger than the room for most: it is fetched. */
static void test_large_info(void **state)
{
    struct message m = {.size = 0}, graph = {.size = 0}, pair = {.size = 0};
    char *large = calloc(1, 80000);
    struct npu_model *model = NULL;
    uint8_t *bytes_of_model;
    size_t size;

    (void)state;
    simple(&m, "Mul");
    /* metadata_props { key: "large", value: 79,999 letters }, behind the model's own */
    memset(large, 'v', 79999);
    bytes_of_model = malloc(m.size + 80100);
    memcpy(bytes_of_model, m.bytes, m.size);
    size = m.size;
    text(&pair, 1, "large");
    varint(&pair, 2 << 3 | 2);
    varint(&pair, 79999);
    varint(&graph, 14 << 3 | 2);
    varint(&graph, pair.size + 79999);
    memcpy(bytes_of_model + size, graph.bytes, graph.size);
    memcpy(bytes_of_model + size + graph.size, pair.bytes, pair.size);
    memcpy(bytes_of_model + size + graph.size + pair.size, large, 79999);
    size += graph.size + pair.size + 79999;
    assert_int_equal(npu_load(npu, bytes_of_model, size, NULL, &model), 0);
    assert_int_equal(npu_model_info(model)->pair_count, 2);
    assert_string_equal(npu_model_info(model)->keys[1], "large");
    assert_string_equal(npu_model_info(model)->values[1], large);
    npu_unload(model);
    free(bytes_of_model);
    free(large);
}

static void test_run(void **state)
{
    struct npu_model *model = load_simple("Mul");
    float memory[6] = {0, 1, 2, 3, 4, 5}, result[8] = {0};
    const int64_t dims[] = {2, 3};
    struct npu_tensor *x = rows_of(2), *y = NULL, *wrapped, *place;

    (void)state;
    assert_int_equal(run(model, x, &y), 0);
    check_product(y, 2);
    npu_tensor_destroy(y);
    /* The program's own memory, in and out. */
    assert_int_equal(npu_tensor_wrap(npu, NPU_FLOAT32, dims, 2, memory, sizeof(memory), &wrapped),
                     0);
    assert_int_equal(npu_tensor_wrap(npu, NPU_FLOAT32, dims, 2, result, sizeof(result), &place), 0);
    y = place;
    assert_int_equal(run(model, wrapped, &y), 0);
    assert_ptr_equal(y, place);
    assert_ptr_equal(npu_tensor_data(y), result);
    check_product(y, 2);
    assert_true(result[6] == 0);
    npu_tensor_destroy(place);
    npu_tensor_destroy(wrapped);
    npu_tensor_destroy(x);
    npu_unload(model);
}

/* Outputs that are larger than the room that was guessed are fetched; the next time it is enough.
 */
static void test_room(void **state)
{
    struct npu_model *model = load_simple("Mul");
    float result[3];
    const int64_t dims[] = {1, 3};
    struct npu_tensor *x = rows_of(20000), *y = NULL, *place;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(model, x, &y), 0);
        check_product(y, 20000);
        npu_tensor_destroy(y);
        y = NULL;
    }
    /* What the caller has is not made larger. */
    assert_int_equal(npu_tensor_wrap(npu, NPU_FLOAT32, dims, 2, result, sizeof(result), &place), 0);
    y = place;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(run(model, x, &y), -NPU_PARAMETER);
        assert_non_null(strstr(npu_message(), "output y takes 240000 bytes"));
    }
    npu_tensor_destroy(place);
    npu_tensor_destroy(x);
    npu_unload(model);
}

static void expect(struct npu_model *model, struct npu_tensor *x, const char *because)
{
    struct npu_tensor *y = NULL;

    assert_int_equal(run(model, x, &y), -NPU_PARAMETER);
    assert_null(y);
    if (!strstr(npu_message(), because))
        print_error("%s\n", npu_message());
    assert_non_null(strstr(npu_message(), because));
    npu_tensor_destroy(x);
}

static void test_wrong(void **state)
{
    struct npu_model *model = load_simple("Mul"), *none = NULL;
    const int64_t dims[] = {2, 3, 1}, wrong[] = {2, -3}, most[] = {1ll << 40, 1ll << 40};
    const struct npu_options there = {.devices = "nowhere", .require = true},
                             elsewhere = {.devices = "nowhere,builtin"};
    struct npu_tensor *x;
    struct npu_call call = {0};
    struct message m;

    (void)state;
    assert_int_equal(npu_tensor_create(npu, NPU_INT64, dims, 2, &x), 0);
    expect(model, x, "input x is of type int64, not float32");
    assert_int_equal(npu_tensor_create(npu, NPU_FLOAT32, dims, 3, &x), 0);
    expect(model, x, "has 3 dimensions, not 2");
    assert_int_equal(npu_tensor_create(npu, NPU_FLOAT32, dims + 1, 2, &x), 0);
    expect(model, x, "dimension 1 of input x is 1, not 3");
    assert_int_equal(npu_tensor_create_none(npu, &x), 0);
    expect(model, x, "input x is not a tensor");
    assert_int_equal(npu_run(model, &call), -NPU_PARAMETER);
    assert_non_null(strstr(npu_message(), "input x is missing"));
    assert_int_equal(npu_tensor_create(npu, NPU_FLOAT32, wrong, 2, &x), -NPU_PARAMETER);
    assert_int_equal(npu_tensor_create(npu, NPU_FLOAT32, most, 2, &x), -NPU_PARAMETER);
    assert_int_equal(npu_tensor_create(npu, NPU_FLOAT32, dims, 9, &x), -NPU_PARAMETER);
    assert_int_equal(npu_tensor_create(npu, 77, dims, 2, &x), -NPU_PARAMETER);
    npu_unload(model);
    simple(&m, "NoSuchOperator");
    assert_int_equal(npu_load(npu, m.bytes, m.size, NULL, &none), -NPU_UNSUPPORTED);
    assert_non_null(strstr(npu_message(), "builtin: "));
    for (size_t cut = 1; cut < 60; cut += 7)
        assert_int_not_equal(npu_load(npu, m.bytes, m.size - cut, NULL, &none), 0);
    simple(&m, "Mul");
    assert_int_equal(npu_load(npu, m.bytes, m.size, &there, &none), -NPU_UNSUPPORTED);
    assert_non_null(strstr(npu_message(), "nowhere: this host has no such device"));
    /* Another one serves, and it is said why. */
    assert_int_equal(npu_load(npu, m.bytes, m.size, &elsewhere, &model), 0);
    assert_string_equal(npu_model_info(model)->device, "builtin");
    assert_string_equal(npu_model_info(model)->reason, "nowhere: this host has no such device");
    npu_unload(model);
}

static void test_texts(void **state)
{
    static const char *const texts[] = {"", "a", "with\0zero", "Grüße"};
    static const size_t lengths[] = {0, 1, 9, 7};
    struct message m = {.size = 0}, graph = {.size = 0};
    const int64_t dims[] = {4};
    struct npu_tensor *x, *y = NULL;
    struct npu_model *model;

    (void)state;
    node(&graph, "Identity", "x", NULL, "y", NULL);
    io(&graph, 11, "x", ONNX_STRING, 1, dims);
    io(&graph, 12, "y", ONNX_STRING, 1, dims);
    finish(&m, &graph);
    model = load(&m);
    assert_int_equal(npu_tensor_create_texts(npu, texts, lengths, dims, 1, &x), 0);
    assert_int_equal(run(model, x, &y), 0);
    assert_int_equal(npu_tensor_dtype(y), NPU_TEXT);
    assert_int_equal(npu_tensor_count(y), 4);
    for (size_t i = 0; i < 4; i++) {
        size_t length = 99;
        const char *got = npu_tensor_text(y, i, &length);

        assert_int_equal(length, lengths[i]);
        assert_memory_equal(got, texts[i], length);
    }
    npu_tensor_destroy(x);
    npu_tensor_destroy(y);
    npu_unload(model);
}

static struct npu_run *begin(struct npu_model *model, struct npu_tensor *x, struct npu_tensor **y,
                             uint32_t milliseconds)
{
    struct npu_call call = {.inputs = &x,
                            .input_count = 1,
                            .outputs = y,
                            .output_count = 1,
                            .milliseconds = milliseconds};
    struct npu_run *one = NULL;

    assert_int_equal(npu_submit(model, &call, &one), 0);
    return one;
}

static void test_cancel(void **state)
{
    struct npu_model *model, *other = load_simple("Mul");
    struct npu_tensor *x = rows_of(1), *y = NULL, *z = NULL;
    struct npu_run *runs[3];
    struct message m;

    (void)state;
    endless(&m, "Mul");
    model = load(&m);
    for (int i = 0; i < 3; i++)
        runs[i] = begin(model, x, &y, 0);
    assert_false(npu_run_done(runs[0]));
    assert_int_equal(npu_wait(runs[0], 1000000), -NPU_TIMEOUT);
    /* Others go on meanwhile. */
    assert_int_equal(run(other, x, &z), 0);
    check_product(z, 1);
    /* One that waits, then the one that runs. */
    npu_run_cancel(runs[1]);
    npu_run_cancel(runs[0]);
    assert_int_equal(npu_wait(runs[0], UINT64_MAX), -NPU_GONE);
    assert_non_null(strstr(npu_message(), "cancelled"));
    assert_int_equal(npu_wait(runs[1], UINT64_MAX), -NPU_GONE);
    npu_run_destroy(runs[0]);
    npu_run_destroy(runs[1]);
    npu_run_destroy(runs[2]);
    runs[0] = begin(model, x, &y, 30);
    assert_int_equal(npu_wait(runs[0], UINT64_MAX), -NPU_TIMEOUT);
    assert_non_null(strstr(npu_message(), "30 ms"));
    npu_run_destroy(runs[0]);
    assert_null(y);
    /* Left with a run that would not end: the session ends all the same. */
    runs[0] = begin(model, x, &y, 0);
    npu_unload(model);
    npu_run_destroy(runs[0]);
    npu_tensor_destroy(z);
    npu_tensor_destroy(x);
    npu_unload(other);
}

static int setup_limited(void **state)
{
    npu_host.run_seconds = 1;
    return setup(state);
}

/* The host's limit holds for who says none or a later one, run after run; who says less gets less.
 */
static void test_limit(void **state)
{
    struct npu_model *model, *other = load_simple("Mul");
    struct npu_tensor *x = rows_of(1), *y = NULL, *z = NULL;
    static const struct {
        uint32_t milliseconds;
        const char *told;
    } rows[] = {{0, "1000 ms"}, {5000, "1000 ms"}, {20, "20 ms"}, {0, "1000 ms"}};
    struct message m;

    (void)state;
    endless(&m, "Mul");
    model = load(&m);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct npu_run *one = begin(model, x, &y, rows[i].milliseconds);

        assert_int_equal(npu_wait(one, UINT64_MAX), -NPU_TIMEOUT);
        assert_non_null(strstr(npu_message(), rows[i].told));
        npu_run_destroy(one);
        assert_null(y);
    }
    /* Quick ones, also those that the session's thread does itself. */
    for (int i = 0; i < 20; i++)
        assert_int_equal(run(other, x, &z), 0);
    check_product(z, 1);
    npu_tensor_destroy(z);
    npu_tensor_destroy(x);
    npu_unload(model);
    npu_unload(other);
    npu_host.run_seconds = 0;
}

/* More than the shared memory holds, if anything of it stayed. */
static void test_cycles(void **state)
{
    struct message m;

    (void)state;
    simple(&m, "Mul");
    for (int i = 0; i < 200; i++) {
        struct npu_model *model = load(&m);
        struct npu_tensor *x = rows_of(i % 20 ? 10 : 500000), *y = NULL;

        assert_int_equal(run(model, x, &y), 0);
        check_product(y, npu_tensor_dims(x)[0]);
        npu_tensor_destroy(y);
        npu_tensor_destroy(x);
        npu_unload(model);
    }
}

static void *many_runs(void *arg)
{
    for (int64_t i = 0; i < 50; i++) {
        struct npu_tensor *x = rows_of(i % 5 + 1), *y = NULL;

        assert_int_equal(run(arg, x, &y), 0);
        check_product(y, i % 5 + 1);
        npu_tensor_destroy(y);
        npu_tensor_destroy(x);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct npu_model *model = load_simple("Mul");
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many_runs, model), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    npu_unload(model);
}

/* The same model again, while it is used and after: the host has it. */
static void test_again(void **state)
{
    struct npu_options one = {.threads = 1};
    struct npu_model *models[5];
    struct message m, other;

    (void)state;
    simple(&m, "Mul");
    simple(&other, "Add");
    for (int i = 0; i < 5; i++) {
        struct npu_tensor *x = rows_of(3), *y = NULL;

        assert_int_equal(npu_load(npu, m.bytes, m.size, i == 2 ? &one : NULL, &models[i]), 0);
        assert_string_equal(npu_model_info(models[i])->device, "builtin");
        assert_string_equal(npu_model_info(models[i])->graph, "the_graph");
        assert_int_equal(run(models[i], x, &y), 0);
        check_product(y, 3);
        npu_tensor_destroy(y);
        if (i == 3) {
            for (int j = 0; j < 3; j++)
                npu_unload(models[j]);
            /* One that goes does not take the others with it. */
            y = NULL;
            assert_int_equal(run(models[3], x, &y), 0);
            check_product(y, 3);
            npu_tensor_destroy(y);
            npu_unload(models[3]);
        }
        npu_tensor_destroy(x);
    }
    npu_unload(models[4]);
    /* Of the same size, but another one. */
    assert_int_equal(m.size, other.size);
    models[0] = load(&other);
    models[1] = load(&m);
    for (int i = 0; i < 2; i++) {
        struct npu_tensor *x = rows_of(1), *y = NULL;

        assert_int_equal(run(models[i], x, &y), 0);
        assert_true(((const float *)npu_tensor_data(y))[2] == (i ? 6 : 5));
        npu_tensor_destroy(x);
        npu_tensor_destroy(y);
        npu_unload(models[i]);
    }
}

/* More jobs than a model may have at a time: who submits waits. */
static void test_full(void **state)
{
    struct npu_model *model = load_simple("Mul");
    struct npu_tensor *x = rows_of(3), *y[150] = {NULL};
    struct npu_run *runs[150];

    (void)state;
    for (int i = 0; i < 150; i++)
        runs[i] = begin(model, x, &y[i], 0);
    for (int i = 150; i--;) {
        assert_int_equal(npu_wait(runs[i], UINT64_MAX), 0);
        check_product(y[i], 3);
        npu_run_destroy(runs[i]);
        npu_tensor_destroy(y[i]);
    }
    npu_tensor_destroy(x);
    npu_unload(model);
}

static void test_host_dies(void **state)
{
    struct npu_tensor *x = rows_of(1), *y = NULL;
    struct npu_model *model, *none = NULL;
    struct message m;
    struct npu_run *one;

    (void)state;
    endless(&m, "Mul");
    model = load(&m);
    one = begin(model, x, &y, 0);
    npu_host_kill();
    assert_int_equal(npu_wait(one, UINT64_MAX), -NPU_GONE);
    assert_non_null(strstr(npu_message(), "went away during a run"));
    assert_int_equal(run(model, x, &y), -NPU_GONE);
    assert_non_null(strstr(npu_message(), "is gone"));
    assert_int_not_equal(npu_load(npu, m.bytes, m.size, NULL, &none), 0);
    npu_run_destroy(one);
    npu_tensor_destroy(x);
    npu_unload(model);
}

int main(void)
{
#define HERE(test)    cmocka_unit_test_setup_teardown(test, setup, teardown)
#define IN_BAND(test) cmocka_unit_test_setup_teardown(test, setup_in_band, teardown)
    const struct CMUnitTest tests[] = {
        HERE(test_devices),
        HERE(test_info),
        HERE(test_large_info),
        HERE(test_run),
        HERE(test_room),
        HERE(test_wrong),
        HERE(test_texts),
        HERE(test_cancel),
        cmocka_unit_test_setup_teardown(test_limit, setup_limited, teardown),
        HERE(test_cycles),
        HERE(test_threads),
        HERE(test_again),
        HERE(test_full),
        HERE(test_host_dies),
        IN_BAND(test_info),
        IN_BAND(test_large_info),
        IN_BAND(test_run),
        IN_BAND(test_room),
        IN_BAND(test_wrong),
        IN_BAND(test_texts),
        IN_BAND(test_cancel),
        IN_BAND(test_threads),
        IN_BAND(test_again),
        IN_BAND(test_full),
        IN_BAND(test_host_dies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
