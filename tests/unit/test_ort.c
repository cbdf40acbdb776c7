/* SPDX-License-Identifier: MIT */
#include "npu_host.h"

#include <stdio.h>
#include <unistd.h>

#include <compute/npu/ort/front.h>

#include "onnx_build.h"

/* What guests have as libonnxruntime.so.1, and a session that serves it, in one process. */

static const struct ort_api *api;
static struct ort_env *env;
static struct ort_memory_info *cpu;
static struct ort_allocator *allocator;

static void good(struct ort_status *status)
{
    if (status)
        print_error("%s\n", api->GetErrorMessage(status));
    assert_null(status);
}

static void bad(struct ort_status *status, int code, const char *because)
{
    assert_non_null(status);
    if (api->GetErrorCode(status) != code || !strstr(api->GetErrorMessage(status), because))
        print_error("%d: %s\n", api->GetErrorCode(status), api->GetErrorMessage(status));
    assert_int_equal(api->GetErrorCode(status), code);
    assert_non_null(strstr(api->GetErrorMessage(status), because));
    api->ReleaseStatus(status);
}

static int setup(void **state)
{
    (void)state;
    setenv("VIADUCT_ORT", "none", 1);
    setenv("VIADUCT_HOST", "test:", 1);
    unsetenv("VIADUCT_NPU_DEVICES");
    api = OrtGetApiBase()->get_api(ORT_ABI_VERSION);
    assert_non_null(api);
    good(api->CreateEnv(ORT_LOG_ERROR, "test", &env));
    good(api->CreateCpuMemoryInfo(ORT_DEVICE_ALLOCATOR, ORT_MEM_DEFAULT, &cpu));
    good(api->GetAllocatorWithDefaultOptions(&allocator));
    return 0;
}

/* The connection stays for the process: it is cut, as if the host had ended. */
static int teardown(void **state)
{
    (void)state;
    api->ReleaseMemoryInfo(cpu);
    api->ReleaseEnv(env);
    npu_host_kill();
    npu_host_end();
    return 0;
}

static struct ort_session *load_model(const struct message *m)
{
    struct ort_session *session = NULL;

    good(api->CreateSessionFromArray(env, m->bytes, m->size, NULL, &session));
    return session;
}

static struct ort_session *load_simple(const char *op)
{
    struct message m;

    simple(&m, op);
    return load_model(&m);
}

static struct ort_value *wrap(float *data, int64_t rows)
{
    const int64_t dims[] = {rows, 3};
    struct ort_value *value = NULL;

    good(api->CreateTensorWithDataAsOrtValue(cpu, data, (size_t)rows * 12, dims, 2, ONNX_F32,
                                             &value));
    return value;
}

static struct ort_status *run(struct ort_session *session, const struct ort_run_options *options,
                              const struct ort_value *x, struct ort_value **y)
{
    static const char *const in[] = {"x"}, *const out[] = {"y"};

    return api->Run(session, options, in, &x, 1, out, 1, y);
}

static void check_product(struct ort_value *y, const float *x, size_t rows)
{
    struct ort_tensor_type_and_shape_info *info;
    size_t count = 0, rank = 0;
    int64_t dims[2];
    float *data;
    int dtype;

    good(api->GetTensorTypeAndShape(y, &info));
    good(api->GetTensorElementType(info, &dtype));
    good(api->GetDimensionsCount(info, &rank));
    good(api->GetTensorShapeElementCount(info, &count));
    assert_int_equal(dtype, ONNX_F32);
    assert_int_equal(rank, 2);
    good(api->GetDimensions(info, dims, 2));
    assert_int_equal(dims[0], rows);
    assert_int_equal(count, rows * 3);
    api->ReleaseTensorTypeAndShapeInfo(info);
    good(api->GetTensorMutableData(y, (void **)&data));
    for (size_t i = 0; i < count; i++)
        assert_true(data[i] == x[i] * (float)(i % 3 + 1));
}

static void test_table(void **state)
{
    struct ort_custom_op_domain *domain = NULL;
    struct ort_status *(*newer)(void);

    (void)state;
    assert_non_null(OrtGetApiBase()->get_api(1));
    assert_null(OrtGetApiBase()->get_api(0));
    assert_null(OrtGetApiBase()->get_api(1000));
    assert_string_equal(OrtGetApiBase()->get_version_string(), "1.29.0");
    /* All slots are there; those that do nothing say so by name, those behind the last, too. */
    for (size_t i = 0; i < sizeof(*api) / sizeof(void *); i++)
        assert_non_null(((void *const *)api)[i]);
    (void)domain;
#define ORT_SLOT(number, since, name, ...)
#define ORT_NONE(number, since, name) bad(api->name(), ORT_NOT_IMPLEMENTED, #name);
#define ORT_VOID(number, since, name) api->name(NULL);
#define ORT_ZERO(number, since, name) assert_null(api->name());
#include <compute/npu/ort/ortapi.def>
    memcpy(&newer, (const char *)api + sizeof(*api), sizeof(newer));
    bad(newer(), ORT_NOT_IMPLEMENTED, "newer than version 29");
}

static void test_info(void **state)
{
    struct ort_session *session = load_simple("Mul");
    const struct ort_tensor_type_and_shape_info *tensor;
    struct ort_model_metadata *metadata;
    struct ort_type_info *type;
    const char *symbols[2];
    int64_t dims[2], keys;
    size_t count = 0;
    char *text, **names;
    int kind;

    (void)state;
    good(api->SessionGetInputCount(session, &count));
    assert_int_equal(count, 1);
    good(api->SessionGetOutputName(session, 0, allocator, &text));
    assert_string_equal(text, "y");
    good(api->AllocatorFree(allocator, text));
    bad(api->SessionGetInputName(session, 1, allocator, &text), ORT_INVALID_ARGUMENT, "no input");
    good(api->SessionGetInputTypeInfo(session, 0, &type));
    good(api->GetOnnxTypeFromTypeInfo(type, &kind));
    assert_int_equal(kind, ORT_TYPE_TENSOR);
    good(api->CastTypeInfoToTensorInfo(type, &tensor));
    good(api->GetDimensions(tensor, dims, 2));
    good(api->GetSymbolicDimensions(tensor, symbols, 2));
    assert_int_equal(dims[0], -1);
    assert_int_equal(dims[1], 3);
    assert_string_equal(symbols[0], "N");
    assert_string_equal(symbols[1], "");
    assert_true(api->TensorTypeAndShape_HasShape(tensor));
    api->ReleaseTypeInfo(type);
    good(api->SessionGetModelMetadata(session, &metadata));
    good(api->ModelMetadataGetProducerName(metadata, allocator, &text));
    assert_string_equal(text, "test");
    good(api->AllocatorFree(allocator, text));
    good(api->ModelMetadataGetCustomMetadataMapKeys(metadata, allocator, &names, &keys));
    assert_int_equal(keys, 1);
    assert_string_equal(names[0], "key");
    good(api->AllocatorFree(allocator, names[0]));
    good(api->AllocatorFree(allocator, names));
    good(api->ModelMetadataLookupCustomMetadataMap(metadata, allocator, "key", &text));
    assert_string_equal(text, "value");
    good(api->AllocatorFree(allocator, text));
    good(api->ModelMetadataLookupCustomMetadataMap(metadata, allocator, "no", &text));
    assert_null(text);
    api->ReleaseModelMetadata(metadata);
    api->ReleaseSession(session);
}

static void test_run(void **state)
{
    struct ort_session *session = load_simple("Mul");
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6] = {0}, *large;
    struct ort_value *in = wrap(x, 2), *out = NULL, *place = wrap(y, 2), *shared;
    const int64_t dims[] = {1000, 3};
    float *data;

    (void)state;
    good(run(session, NULL, in, &out));
    check_product(out, x, 2);
    /* A result as the next input: it lies where the host sees it already. */
    shared = out;
    out = NULL;
    good(api->GetTensorMutableData(shared, (void **)&data));
    memcpy(y, data, sizeof(y));
    good(run(session, NULL, shared, &out));
    check_product(out, y, 2);
    api->ReleaseValue(out);
    api->ReleaseValue(shared);
    /* The program's own memory for the output. */
    out = place;
    good(run(session, NULL, in, &out));
    assert_ptr_equal(out, place);
    check_product(place, x, 2);
    /* A tensor that is made by the library, and large enough to be shared. */
    good(api->CreateTensorAsOrtValue(allocator, dims, 2, ONNX_F32, &shared));
    good(api->GetTensorMutableData(shared, (void **)&large));
    for (int i = 0; i < 3000; i++)
        large[i] = (float)i;
    out = NULL;
    good(run(session, NULL, shared, &out));
    check_product(out, large, 1000);
    api->ReleaseValue(out);
    api->ReleaseValue(shared);
    api->ReleaseValue(place);
    api->ReleaseValue(in);
    api->ReleaseSession(session);
}

static void test_wrong(void **state)
{
    struct ort_session *session = load_simple("Mul"), *none = NULL;
    static const char *const nothing[] = {"nothing"}, *const in[] = {"x"}, *const out[] = {"y"};
    const int64_t dims[] = {2, 3};
    int64_t numbers[6] = {0};
    float data[12] = {0};
    struct ort_session_options *options;
    struct ort_value *x = wrap(data, 2), *three = wrap(data, 3), *y = NULL, *ints;
    const struct ort_value *list[] = {x};
    struct message m;

    (void)state;
    bad(api->Run(session, NULL, nothing, list, 1, out, 1, &y), ORT_INVALID_ARGUMENT,
        "Invalid input name: nothing");
    bad(api->Run(session, NULL, in, list, 1, nothing, 1, &y), ORT_INVALID_ARGUMENT,
        "Invalid output name: nothing");
    good(api->CreateTensorWithDataAsOrtValue(cpu, numbers, sizeof(numbers), dims, 2, ONNX_I64,
                                             &ints));
    bad(run(session, NULL, ints, &y), ORT_INVALID_ARGUMENT, "is of type int64, not float32");
    bad(api->CreateTensorWithDataAsOrtValue(cpu, numbers, 47, dims, 2, ONNX_I64, &y),
        ORT_INVALID_ARGUMENT, "48 bytes in 47");
    y = three;
    bad(run(session, NULL, x, &y), ORT_INVALID_ARGUMENT, "another shape");
    bad(api->CreateSession(env, "/nowhere/model.onnx", NULL, &none), ORT_NO_SUCHFILE,
        "/nowhere/model.onnx");
    simple(&m, "Mul");
    bad(api->CreateSessionFromArray(env, m.bytes, 20, NULL, &none), ORT_INVALID_ARGUMENT,
        "builtin: ");
    /* Where it may run: a wish, a condition. */
    good(api->CreateSessionOptions(&options));
    good(
        api->SessionOptionsAppendExecutionProvider(options, "QNNExecutionProvider", NULL, NULL, 0));
    good(api->CreateSessionFromArray(env, m.bytes, m.size, options, &none));
    assert_string_equal(none->info->device, "builtin");
    assert_non_null(strstr(none->info->reason, "qnn: this host has no such device"));
    api->ReleaseSession(none);
    good(api->AddSessionConfigEntry(options, "session.disable_cpu_ep_fallback", "1"));
    bad(api->CreateSessionFromArray(env, m.bytes, m.size, options, &none), ORT_NOT_IMPLEMENTED,
        "qnn: this host has no such device");
    api->ReleaseSessionOptions(options);
    api->ReleaseValue(ints);
    api->ReleaseValue(three);
    api->ReleaseValue(x);
    api->ReleaseSession(session);
}

static void test_strings(void **state)
{
    static const char *const texts[] = {"one", "", "three"};
    struct message m = {.size = 0}, graph = {.size = 0};
    const int64_t dims[] = {3};
    size_t length = 0, offsets[3];
    struct ort_value *x, *y = NULL;
    struct ort_session *session;
    char content[8];

    (void)state;
    node(&graph, "Identity", "x", NULL, "y", NULL);
    io(&graph, 11, "x", ONNX_STRING, 1, dims);
    io(&graph, 12, "y", ONNX_STRING, 1, dims);
    finish(&m, &graph);
    session = load_model(&m);
    good(api->CreateTensorAsOrtValue(allocator, dims, 1, ONNX_STRING, &x));
    good(api->FillStringTensor(x, texts, 3));
    good(run(session, NULL, x, &y));
    good(api->GetStringTensorDataLength(y, &length));
    assert_int_equal(length, 8);
    good(api->GetStringTensorContent(y, content, length, offsets, 3));
    assert_memory_equal(content, "onethree", 8);
    assert_int_equal(offsets[1], 3);
    assert_int_equal(offsets[2], 3);
    api->ReleaseValue(x);
    api->ReleaseValue(y);
    api->ReleaseSession(session);
}

static void test_binding(void **state)
{
    struct ort_session *session = load_simple("Mul");
    float x[3] = {1, 2, 3};
    struct ort_value *in = wrap(x, 1), **values;
    struct ort_io_binding *binding;
    size_t *lengths, count = 0;
    char *names;

    (void)state;
    good(api->CreateIoBinding(session, &binding));
    good(api->BindInput(binding, "x", in));
    good(api->BindOutputToDevice(binding, "y", cpu));
    for (int i = 0; i < 3; i++) {
        x[0] = (float)i;
        good(api->RunWithBinding(session, NULL, binding));
        good(api->GetBoundOutputValues(binding, allocator, &values, &count));
        assert_int_equal(count, 1);
        check_product(values[0], x, 1);
        api->ReleaseValue(values[0]);
        good(api->AllocatorFree(allocator, values));
    }
    good(api->GetBoundOutputNames(binding, allocator, &names, &lengths, &count));
    assert_int_equal(lengths[0], 1);
    assert_memory_equal(names, "y", 1);
    good(api->AllocatorFree(allocator, names));
    good(api->AllocatorFree(allocator, lengths));
    api->ReleaseIoBinding(binding);
    api->ReleaseValue(in);
    api->ReleaseSession(session);
}

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done;
    struct ort_status *status;
} async = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, NULL};

static void async_done(void *user_data, struct ort_value **outputs, size_t count,
                       struct ort_status *status)
{
    (void)user_data, (void)outputs, (void)count;
    pthread_mutex_lock(&async.lock);
    async.done = true;
    async.status = status;
    pthread_cond_signal(&async.wake);
    pthread_mutex_unlock(&async.lock);
}

static struct ort_status *async_wait(void)
{
    pthread_mutex_lock(&async.lock);
    while (!async.done)
        pthread_cond_wait(&async.wake, &async.lock);
    async.done = false;
    pthread_mutex_unlock(&async.lock);
    return async.status;
}

static void test_async(void **state)
{
    static const char *const in[] = {"x"}, *const out[] = {"y"};
    struct ort_session *session = load_simple("Mul"), *forever;
    float x[3] = {1, 2, 3};
    struct ort_value *value = wrap(x, 1), *y = NULL;
    const struct ort_value *list[] = {value};
    struct ort_run_options *options;
    struct message m;

    (void)state;
    good(api->RunAsync(session, NULL, in, list, 1, out, 1, &y, async_done, NULL));
    good(async_wait());
    check_product(y, x, 1);
    api->ReleaseValue(y);
    /* One that would never end, and is told to. */
    endless(&m, "Mul");
    forever = load_model(&m);
    good(api->CreateRunOptions(&options));
    y = NULL;
    good(api->RunAsync(forever, options, in, list, 1, out, 1, &y, async_done, NULL));
    usleep(20000);
    good(api->RunOptionsSetTerminate(options));
    bad(async_wait(), ORT_FAIL, "");
    assert_null(y);
    bad(run(session, options, value, &y), ORT_FAIL, "terminate flag");
    good(api->RunOptionsUnsetTerminate(options));
    good(run(session, options, value, &y));
    api->ReleaseValue(y);
    api->ReleaseRunOptions(options);
    api->ReleaseValue(value);
    api->ReleaseSession(forever);
    api->ReleaseSession(session);
}

/* A type of maps from strings to floats, in a sequence or not, as an input or output. */
static void map_io(struct message *graph, unsigned field, const char *name, bool sequence)
{
    struct message value = {.size = 0}, type = {.size = 0}, map = {.size = 0}, list = {.size = 0};
    struct message tensor = {.size = 0}, element = {.size = 0}, outer = {.size = 0};

    number(&tensor, 1, ONNX_F32);
    nest(&element, 1, &tensor);
    number(&map, 1, ONNX_STRING);
    nest(&map, 2, &element);
    nest(&type, 5, &map);
    nest(&list, 1, &type);
    nest(&outer, 4, &list);
    text(&value, 1, name);
    nest(&value, 2, sequence ? &outer : &type);
    nest(graph, field, &value);
}

/* A node of ai.onnx.ml with one attribute: words. */
static void words_node(struct message *graph, const char *op, const char *attribute,
                       const char *const words[3])
{
    struct message n = {.size = 0}, a = {.size = 0};

    text(&a, 1, attribute);
    for (int i = 0; i < 3; i++)
        text(&a, 9, words[i]);
    number(&a, 20, 8);
    text(&n, 1, "x");
    text(&n, 2, "y");
    text(&n, 4, op);
    nest(&n, 5, &a);
    text(&n, 7, "ai.onnx.ml");
    nest(graph, 1, &n);
}

static struct ort_session *load_words(const struct message *graph)
{
    struct message m = {.size = 0}, set = {.size = 0};

    finish(&m, graph);
    text(&set, 1, "ai.onnx.ml");
    number(&set, 2, 3);
    nest(&m, 8, &set);
    return load_model(&m);
}

/* The type of an output: a sequence of maps, or a map. */
static void check_map_type(struct ort_type_info *type, bool sequence)
{
    const struct ort_sequence_type_info *list = NULL;
    const struct ort_tensor_type_and_shape_info *info = NULL;
    const struct ort_map_type_info *map = NULL;
    struct ort_type_info *element = NULL, *value = NULL;
    int kind = 0, dtype = 0;

    if (sequence) {
        good(api->GetOnnxTypeFromTypeInfo(type, &kind));
        assert_int_equal(kind, ORT_TYPE_SEQUENCE);
        good(api->CastTypeInfoToSequenceTypeInfo(type, &list));
        good(api->GetSequenceElementType(list, &element));
    }
    good(api->GetOnnxTypeFromTypeInfo(sequence ? element : type, &kind));
    assert_int_equal(kind, ORT_TYPE_MAP);
    good(api->CastTypeInfoToMapTypeInfo(sequence ? element : type, &map));
    good(api->GetMapKeyType(map, &dtype));
    assert_int_equal(dtype, ONNX_STRING);
    good(api->GetMapValueType(map, &value));
    good(api->CastTypeInfoToTensorInfo(value, &info));
    good(api->GetTensorElementType(info, &dtype));
    assert_int_equal(dtype, ONNX_F32);
    api->ReleaseTypeInfo(value);
    if (sequence)
        api->ReleaseTypeInfo(element);
}

/* What classifiers of scikit-learn give, and what its vectorisers take. */
static void test_maps(void **state)
{
    static const char *const words[] = {"no", "perhaps", "yes"};
    struct message graph = {.size = 0};
    struct ort_value *x, *y = NULL, *map = NULL, *keys = NULL, *values = NULL, *vector = NULL;
    struct ort_type_info *type = NULL;
    struct ort_session *session;
    float scores[] = {1, 2, 3, 4, 5, 6}, *data = NULL;
    const int64_t two = 2;
    size_t count = 0, length = 0;
    char letters[16];
    int kind = 0;

    (void)state;
    words_node(&graph, "ZipMap", "classlabels_strings", words);
    text(&graph, 2, "zip");
    io(&graph, 11, "x", ONNX_F32, 2, row);
    map_io(&graph, 12, "y", true);
    session = load_words(&graph);
    good(api->SessionGetOutputTypeInfo(session, 0, &type));
    check_map_type(type, true);
    api->ReleaseTypeInfo(type);
    x = wrap(scores, 2);
    good(run(session, NULL, x, &y));
    good(api->GetValueCount(y, &count));
    assert_int_equal(count, 2);
    good(api->GetTypeInfo(y, &type));
    check_map_type(type, true);
    api->ReleaseTypeInfo(type);
    good(api->GetValue(y, 1, allocator, &map));
    good(api->GetValueType(map, &kind));
    assert_int_equal(kind, ORT_TYPE_MAP);
    good(api->GetValueCount(map, &count));
    assert_int_equal(count, 2);
    good(api->GetValue(map, 0, allocator, &keys));
    good(api->GetValue(map, 1, allocator, &values));
    bad(api->GetValue(map, 2, allocator, &vector), ORT_INVALID_ARGUMENT, "no value 2");
    good(api->GetStringTensorElementLength(keys, 1, &length));
    assert_int_equal(length, 7);
    good(api->GetStringTensorElement(keys, length, 1, letters));
    assert_memory_equal(letters, "perhaps", 7);
    good(api->GetTensorMutableData(values, (void **)&data));
    assert_true(data[0] == 4 && data[1] == 5 && data[2] == 6);
    api->ReleaseValue(keys);
    api->ReleaseValue(values);
    api->ReleaseValue(y);
    api->ReleaseValue(x);
    api->ReleaseSession(session);
    /* The map goes back as an input of another model, then one of the program's own. */
    graph.size = 0;
    words_node(&graph, "DictVectorizer", "string_vocabulary", words);
    text(&graph, 2, "vectorise");
    map_io(&graph, 11, "x", false);
    io(&graph, 12, "y", ONNX_F32, 2, row);
    session = load_words(&graph);
    good(api->SessionGetInputTypeInfo(session, 0, &type));
    check_map_type(type, false);
    api->ReleaseTypeInfo(type);
    good(run(session, NULL, map, &vector));
    good(api->GetTensorMutableData(vector, (void **)&data));
    assert_true(data[0] == 4 && data[1] == 5 && data[2] == 6);
    api->ReleaseValue(vector);
    api->ReleaseValue(map);
    good(api->CreateTensorAsOrtValue(allocator, &two, 1, ONNX_STRING, &keys));
    good(api->FillStringTensor(keys, (const char *const[]){"yes", "never"}, 2));
    good(api->CreateTensorWithDataAsOrtValue(cpu, scores, 8, &two, 1, ONNX_F32, &values));
    good(api->CreateValue((const struct ort_value *const[]){keys, values}, 2, ORT_TYPE_MAP, &map));
    bad(api->CreateValue((const struct ort_value *const[]){values, values}, 2, ORT_TYPE_MAP, &y),
        ORT_INVALID_ARGUMENT, "a map is made of");
    vector = NULL;
    good(run(session, NULL, map, &vector));
    good(api->GetTensorMutableData(vector, (void **)&data));
    assert_true(data[0] == 0 && data[1] == 0 && data[2] == 1);
    api->ReleaseValue(vector);
    vector = NULL;
    bad(run(session, NULL, values, &vector), ORT_INVALID_ARGUMENT, "is not a map");
    api->ReleaseValue(map);
    api->ReleaseValue(keys);
    api->ReleaseValue(values);
    api->ReleaseSession(session);
}

/* A file that viewers of traces open: a list of events. */
static void test_profile(void **state)
{
    char prefix[] = "/tmp/viaduct-profile-XXXXXX", bytes[4096], *path = NULL;
    struct ort_session_options *options = NULL, *clone = NULL;
    struct ort_session *session = NULL;
    float x[] = {1, 2, 3};
    struct ort_value *in, *y;
    uint64_t start = 0;
    struct message m;
    size_t size;
    FILE *file;

    (void)state;
    close(mkstemp(prefix));
    unlink(prefix);
    simple(&m, "Mul");
    good(api->CreateSessionOptions(&options));
    good(api->EnableProfiling(options, prefix));
    good(api->CloneSessionOptions(options, &clone));
    good(api->DisableProfiling(options));
    good(api->CreateSessionFromArray(env, m.bytes, m.size, options, &session));
    good(api->SessionEndProfiling(session, allocator, &path));
    assert_string_equal(path, "");
    good(api->AllocatorFree(allocator, path));
    api->ReleaseSession(session);
    good(api->CreateSessionFromArray(env, m.bytes, m.size, clone, &session));
    good(api->SessionGetProfilingStartTimeNs(session, &start));
    assert_true(start > 0);
    in = wrap(x, 1);
    for (int i = 0; i < 3; i++) {
        y = NULL;
        good(run(session, NULL, in, &y));
        api->ReleaseValue(y);
    }
    good(api->SessionEndProfiling(session, allocator, &path));
    assert_memory_equal(path, prefix, strlen(prefix));
    file = fopen(path, "r");
    assert_non_null(file);
    size = fread(bytes, 1, sizeof(bytes) - 1, file);
    bytes[size] = 0;
    fclose(file);
    unlink(path);
    assert_memory_equal(bytes, "[\n{", 3);
    assert_string_equal(bytes + size - 4, "}\n]\n");
    assert_non_null(strstr(bytes, "\"session_initialization\""));
    size = 0;
    for (const char *at = bytes; (at = strstr(at, "\"model_run\"")); at++)
        size++;
    assert_int_equal(size, 3);
    assert_non_null(strstr(bytes, "\"host_execute\""));
    api->ReleaseSession(session);
    /* It was written once. */
    assert_int_equal(access(path, F_OK), -1);
    good(api->AllocatorFree(allocator, path));
    api->ReleaseValue(in);
    api->ReleaseSessionOptions(options);
    api->ReleaseSessionOptions(clone);
}

static void test_host_dies(void **state)
{
    struct ort_session *session = load_simple("Mul");
    float x[3] = {1, 2, 3};
    struct ort_value *value = wrap(x, 1), *y = NULL;

    (void)state;
    npu_host_kill();
    bad(run(session, NULL, value, &y), ORT_FAIL, "");
    assert_null(y);
    bad(run(session, NULL, value, &y), ORT_FAIL, "is gone");
    api->ReleaseSession(session);
    npu_host_end();
    /* A host that is there again serves new sessions. */
    session = load_simple("Mul");
    good(run(session, NULL, value, &y));
    check_product(y, x, 1);
    api->ReleaseValue(y);
    api->ReleaseValue(value);
    api->ReleaseSession(session);
}

static long resident(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*s %ld", &pages), 1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Whatever is made is freed: memory does not grow. More cycles: VIADUCT_TEST_CYCLES=10000. */
static void test_cycles(void **state)
{
    const char *more = getenv("VIADUCT_TEST_CYCLES");
    long cycles = more ? strtol(more, NULL, 10) : 200, start = 0;
    float x[6] = {1, 2, 3, 4, 5, 6};

    (void)state;
    for (long i = 0; i < cycles; i++) {
        struct ort_session *session = load_simple("Mul");
        struct ort_value *value = wrap(x, 2), *y = NULL;

        good(run(session, NULL, value, &y));
        check_product(y, x, 2);
        api->ReleaseValue(y);
        api->ReleaseValue(value);
        api->ReleaseSession(session);
        if (i == cycles / 4)
            start = resident();
    }
    /* Sanitizers keep what is freed for a while. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_in_range(resident() - start + (64 << 20), 0, 72 << 20);
#else
    (void)start;
#endif
}

int main(void)
{
#define HERE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        HERE(test_table),   HERE(test_info),      HERE(test_run),    HERE(test_wrong),
        HERE(test_strings), HERE(test_binding),   HERE(test_maps),   HERE(test_profile),
        HERE(test_async),   HERE(test_host_dies), HERE(test_cycles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
