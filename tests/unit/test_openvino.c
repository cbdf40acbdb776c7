/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "compute/npu/host/cache.h"
#include "compute/npu/host/choose.h"
#include "compute/npu/host/special.h"
#include "onnx_build.h"

/*
 * The provider of OpenVINO over a library of the tests' own (tests/npu/openvino_fake.c). Arguments:
 * its path, and the year of the version whose element types it has.
 */

static char error[300];

static void *opened;
static uint8_t hash[SHA256_BYTES]; /* the name of what is loaded */

/* A model, and what it is run with in `opened`. */
static int load(const struct message *m, const char *device, void **ret_model)
{
    struct provider_load request = {.bytes = m->bytes, .size = m->size, .device = device};
    int err;

    memcpy(request.hash, hash, sizeof(request.hash));
    error[0] = 0;
    err = provider_openvino.load(&request, ret_model, error, sizeof(error));
    if (!err && provider_openvino.open(*ret_model, &opened, error, sizeof(error)))
        fail_msg("%s", error);
    return err;
}

static void destroy(void *model)
{
    provider_openvino.close(opened);
    provider_openvino.destroy(model);
}

static void test_devices(void **state)
{
    struct vd_npu_device devices[VD_MAX_NPU_DEVICES] = {{.kind = 0}};

    (void)state;
    assert_true(provider_openvino.probe());
    assert_true(provider_openvino.wants_devices());
    assert_int_equal(provider_openvino.devices(devices, VD_MAX_NPU_DEVICES), 3);
    assert_string_equal(devices[0].name, "openvino");
    assert_int_equal(devices[0].kind, VD_NPU_KIND_CPU);
    assert_string_equal(devices[1].name, "openvino-gpu.1");
    assert_int_equal(devices[1].kind, VD_NPU_KIND_GPU);
    assert_string_equal(devices[2].name, "openvino-npu");
    assert_int_equal(devices[2].kind, VD_NPU_KIND_NPU);
    assert_string_equal(devices[2].runtime, "OpenVINO 2024.0.0-a test's");
    assert_int_equal(provider_openvino.devices(devices, 1), 1);
}

static int run(struct onnx_value *in, struct onnx_value *out)
{
    const uint32_t zero = 0;
    struct provider_run r = {
        .inputs = in,
        .input_index = &zero,
        .input_count = 1,
        .outputs = out,
        .output_index = &zero,
        .output_count = 1,
        .error = error,
        .error_size = sizeof(error),
    };

    error[0] = 0;
    return provider_openvino.run(opened, &r);
}

static void test_run(void **state)
{
    struct provider_description d;
    struct message m;
    void *model;

    (void)state;
    simple(&m, "Add");
    assert_int_equal(load(&m, "openvino-gpu.1", &model), 0);
    provider_openvino.describe(model, &d);
    assert_int_equal(d.input_count, 1);
    assert_string_equal(d.inputs[0].name, "x");
    assert_string_equal(d.inputs[0].symbols[0], "N");
    assert_string_equal(d.outputs[0].name, "y");
    assert_string_equal(d.placement, "openvino-gpu.1 1 node");
    assert_string_equal(d.metadata.graph, "the_graph");
    /* Shapes change from run to run. */
    for (int n = 1; n <= 4; n++) {
        float x[12] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120};
        struct onnx_value in = {.dtype = ONNX_F32, .rank = 2, .dims = {n, 3}, .data = x};
        struct onnx_value out = {.kind = ONNX_TENSOR};

        in.size = (size_t)n * 12;
        if (run(&in, &out))
            fail_msg("%s", error);
        assert_int_equal(out.dtype, ONNX_F32);
        assert_int_equal(out.rank, 2);
        assert_int_equal(out.dims[0], n);
        assert_int_equal(out.size, n * 12);
        for (int i = 0; i < 3 * n; i++)
            assert_true(((float *)out.data)[i] == x[i] + (float)(i % 3 + 1));
    }
    destroy(model);
}

/* Each type keeps its bits. */
static void test_types(void **state)
{
    static const struct {
        enum onnx_dtype dtype;
        size_t size;
    } types[] = {{ONNX_F32, 4}, {ONNX_U8, 1},  {ONNX_I8, 1},   {ONNX_U16, 2}, {ONNX_I16, 2},
                 {ONNX_I32, 4}, {ONNX_I64, 8}, {ONNX_BOOL, 1}, {ONNX_F16, 2}, {ONNX_F64, 8},
                 {ONNX_U32, 4}, {ONNX_U64, 8}, {ONNX_BF16, 2}};
    static const int64_t dims[] = {3};

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct message m = {.size = 0}, graph = {.size = 0};
        uint8_t bits[24] = {1, 0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 0, 0, 1};
        struct onnx_value in = {.dtype = types[i].dtype, .rank = 1, .dims = {3}, .data = bits};
        struct onnx_value out = {.kind = ONNX_TENSOR};
        void *model;

        in.size = 3 * types[i].size;
        node(&graph, "Identity", "x", NULL, "y", NULL);
        text(&graph, 2, "types");
        io(&graph, 11, "x", types[i].dtype, 1, dims);
        io(&graph, 12, "y", types[i].dtype, 1, dims);
        finish(&m, &graph);
        assert_int_equal(load(&m, "openvino", &model), 0);
        assert_int_equal(run(&in, &out), 0);
        assert_int_equal(out.dtype, types[i].dtype);
        assert_int_equal(out.size, in.size);
        assert_memory_equal(out.data, bits, in.size);
        destroy(model);
    }
}

static void identity(struct message *m, const char *name, unsigned dtype)
{
    static const int64_t dims[] = {1};
    struct message graph = {.size = 0};

    m->size = 0;
    node(&graph, "Identity", "x", NULL, "y", NULL);
    text(&graph, 2, name);
    io(&graph, 11, "x", dtype, 1, dims);
    io(&graph, 12, "y", dtype, 1, dims);
    finish(m, &graph);
}

static void test_refused(void **state)
{
    struct message m;
    float x[4] = {0};
    struct onnx_value in = {.dtype = ONNX_F32, .rank = 2, .dims = {1, 4}, .data = x, .size = 16};
    struct onnx_value out = {.kind = ONNX_TENSOR};
    void *model = NULL;

    (void)state;
    identity(&m, "refused", ONNX_F32);
    assert_int_equal(load(&m, "openvino-npu", &model), VD_ERR_UNSUPPORTED);
    assert_string_equal(error, "OpenVINO: the NPU does not take it");
    assert_int_equal(load(&m, "openvino-tpu", &model), VD_ERR_UNSUPPORTED);
    assert_string_equal(error, "this host has no such device");
    identity(&m, "strings", ONNX_STRING);
    assert_int_equal(load(&m, "openvino", &model), VD_ERR_UNSUPPORTED);
    assert_string_equal(error, "OpenVINO takes tensors of numbers only, and x is none");
    m.size /= 2;
    assert_int_not_equal(load(&m, "openvino", &model), 0);
    assert_true(error[0]);
    /* A wrong shape is the run's error, and the next run is right. */
    simple(&m, "Add");
    assert_int_equal(load(&m, "openvino", &model), 0);
    assert_int_equal(run(&in, &out), VD_ERR_UNSUPPORTED);
    assert_true(error[0]);
    in.dims[1] = 3;
    in.size = 12;
    assert_int_equal(run(&in, &out), 0);
    destroy(model);
}

static void *cancel_soon(void *run_opened)
{
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    provider_openvino.cancel(run_opened);
    return NULL;
}

static void test_cancel(void **state)
{
    struct message m;
    float x = 0;
    struct onnx_value in = {.dtype = ONNX_F32, .rank = 1, .dims = {1}, .data = &x, .size = 4};
    struct onnx_value out = {.kind = ONNX_TENSOR};
    pthread_t thread;
    void *model;

    (void)state;
    identity(&m, "endless", ONNX_F32);
    assert_int_equal(load(&m, "openvino", &model), 0);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, opened), 0);
    assert_int_equal(run(&in, &out), VD_ERR_GONE);
    pthread_join(thread, NULL);
    /* One that comes before the run starts is not lost. */
    assert_int_equal(run(&in, &out), VD_ERR_GONE);
    provider_openvino.resume(opened);
    destroy(model);
    identity(&m, "quick", ONNX_F32);
    assert_int_equal(load(&m, "openvino", &model), 0);
    provider_openvino.cancel(opened);
    provider_openvino.resume(opened);
    assert_int_equal(run(&in, &out), 0);
    destroy(model);
}

static bool never_left(void *owner)
{
    (void)owner;
    return false;
}

/* The NPU wants all dimensions: the model is made for each set of them. */
static void test_shapes(void **state)
{
    struct shelf *shelf = shelf_create();
    struct shelf_key key = {.devices = "openvino-npu", .require = true};
    struct special special = {.clock = 0};
    struct shelf_model *model = NULL;
    struct message m;
    char text[300] = "";
    struct choose choose = {
        .free = free, .left = never_left, .text = text, .text_size = sizeof(text)};
    const uint32_t zero = 0;

    (void)state;
    simple(&m, "Add");
    assert_int_equal(load(&m, "openvino-npu", (void **)&model), VD_ERR_UNSUPPORTED);
    assert_string_equal(error, "OpenVINO: the NPU wants all dimensions");
    key.size = m.size;
    choose.bytes = malloc(m.size);
    memcpy(choose.bytes, m.bytes, m.size);
    assert_int_equal(shelf_take(shelf, &key, choose_load, &choose, &model), 0);
    assert_null(choose.bytes);
    assert_string_equal(model->description.placement, "openvino-npu, made for each set of shapes");
    for (int64_t n = 1; n <= 2 * SPECIAL_KEPT; n++) {
        float x[3 * 2 * SPECIAL_KEPT] = {10, 20, 30};
        struct onnx_value in = {
            .dtype = ONNX_F32, .rank = 2, .dims = {n, 3}, .data = x, .size = (size_t)n * 12};
        struct onnx_value out = {.kind = ONNX_TENSOR};
        struct provider_run r = {.inputs = &in,
                                 .input_index = &zero,
                                 .input_count = 1,
                                 .outputs = &out,
                                 .output_index = &zero,
                                 .output_count = 1,
                                 .error = error,
                                 .error_size = sizeof(error)};
        struct special_one *one;

        for (int again = 0; again < 2; again++) {
            if (special_take(&special, shelf, model, &r, &one) ||
                provider_openvino.run(one->run, &r))
                fail_msg("%s", error);
            assert_int_equal(out.dims[0], n);
            assert_true(((float *)out.data)[2] == 33);
        }
    }
    special_finish(&special, shelf);
    shelf_put(shelf, model);
    shelf_destroy(shelf);
}

/* The name of the one entry with this ending. */
static void entry(const char *folder, const char *ending, char path[600])
{
    char pattern[300];
    glob_t found;

    snprintf(pattern, sizeof(pattern), "%s/*.%s", folder, ending);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    snprintf(path, 600, "%s", found.gl_pathv[0]);
    globfree(&found);
}

/* Compiled once, and again only if what is kept was spoilt or is too old. */
static void test_cache(void **state)
{
    char folder[] = "/tmp/viaduct-cache-XXXXXX", cache[64], path[600], sum[600];
    int *compiled = dlsym(dlopen(getenv("VIADUCT_OPENVINO"), RTLD_NOW), "openvino_fake_compiled");
    struct message m, other;
    float x[3] = {1, 2, 3};
    struct onnx_value in = {.dtype = ONNX_F32, .rank = 2, .dims = {1, 3}, .data = x, .size = 12};
    struct onnx_value out = {.kind = ONNX_TENSOR};
    void *model;
    int before;
    FILE *file;

    (void)state;
    assert_non_null(compiled);
    assert_non_null(mkdtemp(folder));
    snprintf(cache, sizeof(cache), "%s/models", folder);
    setenv("VIADUCT_NPU_CACHE", cache, 1);
    setenv("VIADUCT_NPU_CACHE_BYTES", "1000000", 1);
    cache_prepare();
    simple(&m, "Add");
    for (int i = 0; i < 4; i++) {
        before = *compiled;
        assert_int_equal(load(&m, "openvino", &model), 0);
        /* The third one finds its entry spoilt: it neither uses nor keeps it. */
        assert_int_equal(*compiled - before, i == 0 || i == 2);
        assert_int_equal(run(&in, &out), 0);
        assert_true(((float *)out.data)[2] == 6);
        destroy(model);
        entry(cache, "bin", path);
        entry(cache, "sum", sum);
        if (i == 1) {
            file = fopen(path, "r+b");
            assert_non_null(file);
            fseek(file, 20, SEEK_SET);
            fputc('!', file);
            fclose(file);
        }
        if (i == 2) {
            /* Without its sum it was never finished: the service removes it when it starts. */
            assert_int_equal(unlink(sum), 0);
            cache_prepare();
            assert_int_equal(access(path, F_OK), -1);
            assert_int_equal(load(&m, "openvino", &model), 0);
            destroy(model);
        }
    }
    /* Another device or model is another entry; the oldest goes if there are too many bytes. */
    simple(&other, "Mul");
    before = *compiled;
    entry(cache, "bin", path);
    memcpy(hash, "other", 5);
    assert_int_equal(load(&other, "openvino", &model), 0);
    destroy(model);
    assert_int_equal(*compiled - before, 1);
    assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[2]){{1, 0}, {1, 0}}, 0), 0);
    snprintf(sum, sizeof(sum), "%zu", m.size + 20);
    setenv("VIADUCT_NPU_CACHE_BYTES", sum, 1);
    cache_prepare();
    assert_int_equal(access(path, F_OK), -1);
    entry(cache, "bin", path);
    unlink(path);
    entry(cache, "sum", path);
    unlink(path);
    rmdir(cache);
    rmdir(folder);
    setenv("VIADUCT_NPU_CACHE", "", 1);
    cache_prepare();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices), cmocka_unit_test(test_run),
        cmocka_unit_test(test_types),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cancel),  cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_cache),
    };

    if (argc != 3)
        return 2;
    setenv("VIADUCT_OPENVINO", argv[1], 1);
    setenv("FAKE_OPENVINO_NUMBERS", argv[2], 1);
    return cmocka_run_group_tests_name("openvino", tests, NULL, NULL);
}
