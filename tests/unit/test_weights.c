/* SPDX-License-Identifier: MIT */
#include "npu_host.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include <compute/npu/ort/front.h>

#include "onnx_build.h"

/* Models whose weights are elsewhere: y = x * w, w = {1, 2, 3}, by the library that forwards. */

static const struct ort_api *api;
static struct ort_env *env;
static char folder[] = "/tmp/viaduct-weights-XXXXXX";
static const float weights[] = {9, 1, 2, 3};

static void good(struct ort_status *status)
{
    if (status)
        print_error("%s\n", api->GetErrorMessage(status));
    assert_null(status);
}

static void bad(struct ort_status *status, const char *because)
{
    assert_non_null(status);
    if (!strstr(api->GetErrorMessage(status), because))
        print_error("%s\n", api->GetErrorMessage(status));
    assert_non_null(strstr(api->GetErrorMessage(status), because));
    api->ReleaseStatus(status);
}

static void write_file(const char *name, const void *data, size_t size)
{
    char path[PATH_MAX];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    (void)state;
    setenv("VIADUCT_ORT", "none", 1);
    setenv("VIADUCT_HOST", "test:", 1);
    unsetenv("VIADUCT_NPU_DEVICES");
    api = OrtGetApiBase()->get_api(ORT_ABI_VERSION);
    good(api->CreateEnv(ORT_LOG_ERROR, "test", &env));
    assert_non_null(mkdtemp(folder));
    write_file("w.bin", weights, sizeof(weights));
    write_file("short.bin", weights, 10);
    write_file("exact.bin", weights + 1, 12);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"w.bin", "short.bin", "exact.bin", "model.onnx"};
    char path[PATH_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    api->ReleaseEnv(env);
    npu_host_kill();
    npu_host_end();
    return 0;
}

static void entry(struct message *tensor, const char *key, const char *value)
{
    struct message pair = {.size = 0};

    if (!value)
        return;
    text(&pair, 1, key);
    text(&pair, 2, value);
    nest(tensor, 13, &pair);
}

/* `in_node`: the weights are a Constant's, else an initializer. Strings NULL: are not there. */
static void make_model(struct message *model, bool in_node, const char *location,
                       const char *offset, const char *length)
{
    struct message graph = {.size = 0}, w = {.size = 0}, attribute = {.size = 0};

    model->size = 0;
    number(&w, 1, 3);
    number(&w, 2, ONNX_F32);
    if (!in_node)
        text(&w, 8, "w");
    entry(&w, "location", location);
    entry(&w, "offset", offset);
    entry(&w, "length", length);
    entry(&w, "checksum", "a long one that nobody needs to look at here");
    number(&w, 14, 1);
    if (in_node) {
        text(&attribute, 1, "value");
        nest(&attribute, 5, &w);
        number(&attribute, 20, 4);
        node(&graph, "Constant", NULL, NULL, "w", &attribute);
    } else
        nest(&graph, 5, &w);
    node(&graph, "Mul", "x", "w", "y", NULL);
    text(&graph, 2, "the_graph");
    io(&graph, 11, "x", ONNX_F32, 2, row);
    io(&graph, 12, "y", ONNX_F32, 2, row);
    finish(model, &graph);
}

static struct ort_status *load_path(const struct message *model, struct ort_session **session)
{
    char path[PATH_MAX];

    write_file("model.onnx", model->bytes, model->size);
    snprintf(path, sizeof(path), "%s/model.onnx", folder);
    return api->CreateSession(env, path, NULL, session);
}

/* The session computes with these weights; it is released. */
static void check(struct ort_session *session, const float *factors)
{
    static const char *const in[] = {"x"}, *const out[] = {"y"};
    const int64_t dims[] = {2, 3};
    float x[] = {1, 2, 3, 4, 5, 6}, *result;
    const struct ort_value *given;
    struct ort_value *value = NULL, *y = NULL;

    good(api->CreateTensorWithDataAsOrtValue(&front_cpu, x, sizeof(x), dims, 2, ONNX_F32, &value));
    given = value;
    good(api->Run(session, NULL, in, &given, 1, out, 1, &y));
    good(api->GetTensorMutableData(y, (void **)&result));
    for (size_t i = 0; i < 6; i++)
        assert_true(result[i] == x[i] * factors[i % 3]);
    api->ReleaseValue(y);
    api->ReleaseValue(value);
    api->ReleaseSession(session);
}

static void test_files(void **state)
{
    static const struct {
        bool in_node;
        const char *location, *offset, *length;
        const char *because; /* NULL: it works */
    } rows[] = {
        {false, "w.bin", "4", "12", NULL},
        {false, "w.bin", "4", NULL, NULL},
        {true, "w.bin", "4", "12", NULL},
        {false, "exact.bin", NULL, NULL, NULL},
        {false, "./exact.bin", "0", "12", NULL},
        {false, "no.bin", "0", "12", "no.bin"},
        {false, "short.bin", "0", "12", "fewer bytes"},
        {false, "w.bin", "8", "12", "fewer bytes"},
        {false, "w.bin", "18446744073709551615", "12", "fewer bytes"},
        {false, "w.bin", "4", "18446744073709551615", "more than"},
        {false, "w.bin", "-4", "12", "broken"},
        {false, "w.bin", "4", "twelve", "broken"},
        {true, "../w.bin", "4", "12", "not within its folder"},
        {false, "a/../../w.bin", "4", "12", "not within its folder"},
        {false, "/etc/hostname", NULL, NULL, "not within its folder"},
        {false, ".", NULL, NULL, "is no file"},
        {false, NULL, NULL, NULL, "not within its folder"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ort_session *session = NULL;
        struct message model;

        make_model(&model, rows[i].in_node, rows[i].location, rows[i].offset, rows[i].length);
        if (rows[i].because)
            bad(load_path(&model, &session), rows[i].because);
        else {
            good(load_path(&model, &session));
            check(session, weights + 1);
        }
    }
}

/* A model that is cut anywhere is refused, and nothing else happens. */
static void test_cut(void **state)
{
    struct ort_session *session = NULL;
    struct message model, cut;

    (void)state;
    make_model(&model, false, "w.bin", "4", "12");
    for (size_t size = 1; size < model.size - 30; size += 7) {
        struct ort_status *status;

        cut = model;
        cut.size = size;
        status = load_path(&cut, &session);
        assert_non_null(status);
        api->ReleaseStatus(status);
        assert_null(session);
    }
}

static void test_memory(void **state)
{
    static const char *const names[] = {"w.bin"};
    char *const buffers[] = {(char *)(uintptr_t)weights};
    const size_t lengths[] = {sizeof(weights)};
    struct ort_session_options *options, *clone;
    struct ort_session *session = NULL;
    struct message model;

    (void)state;
    make_model(&model, false, "w.bin", "4", "12");
    bad(api->CreateSessionFromArray(env, model.bytes, model.size, NULL, &session), "w.bin");
    good(api->CreateSessionOptions(&options));
    good(api->AddExternalInitializersFromFilesInMemory(options, names, buffers, lengths, 1));
    good(api->CloneSessionOptions(options, &clone));
    api->ReleaseSessionOptions(options);
    good(api->CreateSessionFromArray(env, model.bytes, model.size, clone, &session));
    check(session, weights + 1);
    api->ReleaseSessionOptions(clone);
    /* The folder may be named. */
    good(api->CreateSessionOptions(&options));
    good(api->AddSessionConfigEntry(options, "session.model_external_initializers_file_folder_path",
                                    folder));
    good(api->CreateSessionFromArray(env, model.bytes, model.size, options, &session));
    check(session, weights + 1);
    api->ReleaseSessionOptions(options);
}

/* Values of the program's, for weights in files and for those of the model. */
static void test_values(void **state)
{
    static const char *const names[] = {"w"};
    static const float other[] = {5, 6, 7};
    const int64_t dims[] = {3};
    struct ort_session_options *options;
    struct ort_session *session = NULL;
    const struct ort_value *given;
    struct ort_value *value = NULL;
    struct message model;

    (void)state;
    good(api->CreateTensorWithDataAsOrtValue(&front_cpu, (void *)(uintptr_t)other, sizeof(other),
                                             dims, 1, ONNX_F32, &value));
    given = value;
    good(api->CreateSessionOptions(&options));
    good(api->AddExternalInitializers(options, names, &given, 1));
    api->ReleaseValue(value);
    make_model(&model, false, "no.bin", NULL, NULL);
    good(api->CreateSessionFromArray(env, model.bytes, model.size, options, &session));
    check(session, other);
    simple(&model, "Mul");
    good(api->CreateSessionFromArray(env, model.bytes, model.size, options, &session));
    check(session, other);
    good(api->SessionOptionsSetLoadCancellationFlag(options, true));
    bad(api->CreateSessionFromArray(env, model.bytes, model.size, options, &session), "canceled");
    api->ReleaseSessionOptions(options);
}

static void test_format(void **state)
{
    static const char bytes[16] = {16, 0, 0, 0, 'O', 'R', 'T', 'M'};
    struct ort_session *session = NULL;

    (void)state;
    bad(api->CreateSessionFromArray(env, bytes, sizeof(bytes), NULL, &session), ".ort");
}

static void test_copy(void **state)
{
    const int64_t dims[] = {3}, fewer[] = {2};
    float from[] = {1, 2, 3}, to[3] = {0};
    struct ort_value *a = NULL, *b = NULL, *c = NULL;
    struct ort_allocator *allocator;
    const struct ort_value *source;

    (void)state;
    good(
        api->CreateTensorWithDataAsOrtValue(&front_cpu, from, sizeof(from), dims, 1, ONNX_F32, &a));
    good(api->CreateTensorWithDataAsOrtValue(&front_cpu, to, sizeof(to), dims, 1, ONNX_F32, &b));
    source = a;
    good(api->CopyTensors(env, &source, &b, NULL, 1));
    assert_memory_equal(from, to, sizeof(to));
    good(api->GetAllocatorWithDefaultOptions(&allocator));
    good(api->CreateTensorAsOrtValue(allocator, fewer, 1, ONNX_F32, &c));
    bad(api->CopyTensors(env, &source, &c, NULL, 1), "other types or sizes");
    api->ReleaseValue(a);
    api->ReleaseValue(b);
    api->ReleaseValue(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),  cmocka_unit_test(test_cut),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_values), cmocka_unit_test(test_format), cmocka_unit_test(test_copy),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
