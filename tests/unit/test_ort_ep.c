/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "compute/npu/host/ort_ep.h"
#include "check.h"

/* A runtime of this test's own: what it says of providers, and what it is told. */

struct ort_status {
    int code;
    char text[100];
};

struct ort_ep_device {
    const char *provider;
    int type; /* OrtHardwareDeviceType */
};

struct ort_session_options {
    char said[400]; /* all that it was told, with spaces between */
};

static const char *const *provider_names;
static char error[200];

static struct ort_status *status_make(int code, const char *text)
{
    struct ort_status *status = calloc(1, sizeof(*status));

    assert_non_null(status);
    status->code = code;
    snprintf(status->text, sizeof(status->text), "%s", text);
    return status;
}

static int fake_code(const struct ort_status *status)
{
    return status->code;
}

static const char *fake_message(const struct ort_status *status)
{
    return status->text;
}

static void fake_release(struct ort_status *status)
{
    free(status);
}

static struct ort_status *fake_providers(char ***out, int *count)
{
    *count = 0;
    while (provider_names[*count])
        ++*count;
    *out = (char **)(uintptr_t)provider_names;
    return NULL;
}

static struct ort_status *fake_release_providers(char **names, int count)
{
    (void)names, (void)count;
    return NULL;
}

static void say(struct ort_session_options *options, const char *a, const char *b)
{
    size_t length = strlen(options->said);

    snprintf(options->said + length, sizeof(options->said) - length, "%s%s=%s", length ? " " : "",
             a, b);
}

static struct ort_status *fake_entry(struct ort_session_options *options, const char *key,
                                     const char *value)
{
    say(options, key, value);
    return NULL;
}

static struct ort_status *fake_openvino(struct ort_session_options *options,
                                        const char *const *keys, const char *const *values,
                                        size_t count)
{
    for (size_t i = 0; i < count; i++)
        say(options, keys[i], values[i]);
    return NULL;
}

static const struct ort_ep_device of_libraries[] = {
    {"CPUExecutionProvider", 0},
    {"OpenVINOExecutionProvider", 2},
    {"FancyExecutionProvider", 2},
    {"FancyExecutionProvider", 1},
    {"Odd provider/2", 0},
    {"openvino", 1},
    {"AVeryLongNameOfAnExecutionProviderThatDoesNotEnd", 1},
};

#define OF_LIBRARIES (sizeof(of_libraries) / sizeof(of_libraries[0]))

static char registered[400];

static struct ort_status *fake_register(struct ort_env *env, const char *name, const char *path)
{
    size_t length = strlen(registered);

    (void)env;
    snprintf(registered + length, sizeof(registered) - length, "%s:%s;", name, path);
    return strstr(path, "broken") ? status_make(ORT_FAIL, "it is broken") : NULL;
}

static struct ort_status *fake_devices(const struct ort_env *env,
                                       const struct ort_ep_device *const **out, size_t *count)
{
    static const struct ort_ep_device *rows[OF_LIBRARIES];

    (void)env;
    for (size_t i = 0; i < OF_LIBRARIES; i++)
        rows[i] = &of_libraries[i];
    *out = rows;
    *count = OF_LIBRARIES;
    return NULL;
}

static const char *fake_ep_name(const struct ort_ep_device *device)
{
    return device->provider;
}

static const void *fake_ep_hardware(const struct ort_ep_device *device)
{
    return device;
}

static int fake_hardware_type(const struct ort_ep_device *device)
{
    return device->type;
}

static struct ort_status *fake_append_v2(struct ort_session_options *options, struct ort_env *env,
                                         const struct ort_ep_device *const *devices, size_t count,
                                         const char *const *keys, const char *const *values,
                                         size_t pairs)
{
    (void)env, (void)keys, (void)values;
    assert_int_equal(count, 1);
    assert_int_equal(pairs, 0);
    if (devices[0]->type == 1 && devices[0] == &of_libraries[3])
        return status_make(ORT_NOT_IMPLEMENTED, "the device is busy");
    say(options, "device", devices[0]->provider);
    return NULL;
}

static struct ort_status *fake_assignment(const struct ort_session *session,
                                          const char *const **out, size_t *count)
{
    static const char *rows[] = {"FancyExecutionProvider", "CPUExecutionProvider",
                                 "FancyExecutionProvider", "UnheardOf"};

    (void)session;
    *out = (const char *const *)rows;
    *count = 4;
    return NULL;
}

static struct ort_status *fake_subgraph_name(const char *subgraph, const char **out)
{
    *out = subgraph;
    return NULL;
}

static struct ort_status *fake_subgraph_nodes(const char *subgraph, const void *const **out,
                                              size_t *count)
{
    (void)out;
    *count = subgraph[0] == 'F' ? 60 : 1;
    return NULL;
}

/* Functions whose types the table does not know. */
#define PUT(slot, function)      api.slot = (struct ort_status * (*)(void))(void (*)(void))function
#define PUT_ZERO(slot, function) api.slot = (void *(*)(void))(void (*)(void))function

static struct ort_api api;

static int setup(void **state)
{
    (void)state;
    api.GetErrorCode = fake_code;
    api.GetErrorMessage = fake_message;
    api.ReleaseStatus = fake_release;
    api.GetAvailableProviders = fake_providers;
    api.ReleaseAvailableProviders = fake_release_providers;
    api.AddSessionConfigEntry = fake_entry;
    api.SessionOptionsAppendExecutionProvider_OpenVINO_V2 = fake_openvino;
    api.GetEpDevices = fake_devices;
    PUT(RegisterExecutionProviderLibrary, fake_register);
    PUT(SessionOptionsAppendExecutionProvider_V2, fake_append_v2);
    PUT_ZERO(EpDevice_EpName, fake_ep_name);
    PUT_ZERO(EpDevice_Device, fake_ep_hardware);
    PUT_ZERO(HardwareDevice_Type, fake_hardware_type);
    PUT(Session_GetEpGraphAssignmentInfo, fake_assignment);
    PUT(EpAssignedSubgraph_GetEpName, fake_subgraph_name);
    PUT(EpAssignedSubgraph_GetNodes, fake_subgraph_nodes);
    ort_library = (struct ort_library){.api = &api, .version = 24, .runtime = "a test"};
    return 0;
}

/* The library's state is one of the process: what follows is told in this order. */
static void test_providers(void **state)
{
    static const char *const names[] = {"OpenVINOExecutionProvider", "CUDAExecutionProviderOfOld",
                                        "CPUExecutionProvider", NULL};
    static const struct {
        const char *name;
        uint32_t kind;
    } expected[] = {
        {"fancy", VD_NPU_KIND_NPU},          {"fancy.1", VD_NPU_KIND_GPU},
        {"openvino", VD_NPU_KIND_GPU},       {"averylongnameofanexecutionpr", VD_NPU_KIND_GPU},
        {"odd-provider-2", VD_NPU_KIND_CPU}, {"ort-openvino", VD_NPU_KIND_CPU},
    };
    struct vd_npu_device devices[VD_MAX_NPU_DEVICES];
    size_t at = 0;

    (void)state;
    provider_names = names;
    setenv("VIADUCT_ORT_EP", "fancy=/nowhere/fancy.so,/nowhere/broken.so,,", 1);
    ort_ep_prepare("/nowhere/libonnxruntime.so.1");
    /* Nothing starts in the process that forks. */
    assert_string_equal(registered, "");
    assert_true(ort_ep_wanted());
    memset(devices, 0, sizeof(devices));
    /* Machines with an accelerator or a GPU have rows of the runtime's between. */
    for (uint32_t i = 0, count = ort_ep_devices(devices, VD_MAX_NPU_DEVICES); i < count; i++) {
        assert_string_equal(devices[i].runtime, "a test");
        if (!strcmp(devices[i].name, "ort-openvino-npu") ||
            !strcmp(devices[i].name, "ort-openvino-gpu"))
            continue;
        assert_in_range(at, 0, 5);
        assert_string_equal(devices[i].name, expected[at].name);
        assert_int_equal(devices[i].kind, expected[at].kind);
        at++;
    }
    assert_int_equal(at, 6);
    assert_string_equal(registered, "fancy:/nowhere/fancy.so;broken.so:/nowhere/broken.so;");
    assert_int_equal(ort_ep_devices(devices, 2), 2);
    assert_int_equal(ort_ep_devices(devices, 0), 0);
}

static void test_wishes(void **state)
{
    static const struct {
        const char *wish, *name;
        uint32_t kind;
        bool meant;
    } rows[] = {
        {"openvino", "openvino-npu", VD_NPU_KIND_NPU, true},
        {"openvino", "openvino", VD_NPU_KIND_CPU, true},
        {"openvino", "ort-openvino-npu", VD_NPU_KIND_NPU, true},
        {"openvino-gpu", "openvino-gpu.1", VD_NPU_KIND_GPU, true},
        {"openvino-gpu", "openvino-npu", VD_NPU_KIND_NPU, false},
        {"npu", "vitisai", VD_NPU_KIND_NPU, true},
        {"npu", "cuda", VD_NPU_KIND_GPU, false},
        {"cpu", "ort", VD_NPU_KIND_CPU, true},
        {"cuda", "cuda", VD_NPU_KIND_GPU, true},
        {"cud", "cuda", VD_NPU_KIND_GPU, false},
        {"", "cuda", VD_NPU_KIND_GPU, false},
        {"", "-", 77, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct vd_npu_device device = {.kind = rows[i].kind};

        snprintf(device.name, sizeof(device.name), "%s", rows[i].name);
        assert_int_equal(provider_wished(rows[i].wish, &device), rows[i].meant);
    }
}

static void test_append(void **state)
{
    static const struct {
        const char *device;
        bool alone;
        int err;
        const char *said, *error;
    } rows[] = {
        {"fancy", false, 0, "device=FancyExecutionProvider", ""},
        {"fancy", true, 0, "device=FancyExecutionProvider session.disable_cpu_ep_fallback=1", ""},
        {"fancy.1", true, VD_ERR_UNSUPPORTED, "", "the device is busy"},
        {"ort-openvino", false, 0, "device_type=CPU", ""},
        {"cuda", false, VD_ERR_UNSUPPORTED, "", "this host has no such device"},
        {"", false, VD_ERR_UNSUPPORTED, "", "this host has no such device"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ort_session_options options = {""};

        error[0] = 0;
        assert_int_equal(
            ort_ep_append(&options, rows[i].device, rows[i].alone, error, sizeof(error)),
            rows[i].err);
        assert_string_equal(options.said, rows[i].said);
        assert_string_equal(error, rows[i].error);
    }
}

static void test_placement(void **state)
{
    struct ort_session_options options = {""};
    char text[256];

    (void)state;
    assert_int_equal(ort_ep_record(&options, error, sizeof(error)), 0);
    assert_string_equal(options.said, "session.record_ep_graph_assignment_info=1");
    ort_ep_placement(NULL, text, sizeof(text));
    assert_string_equal(text, "fancy 120 nodes, ort 1 node, UnheardOf 1 node");
    /* Too little room cuts it. */
    ort_ep_placement(NULL, text, 12);
    assert_string_equal(text, "fancy 120 n");
    /* Older ones do not tell. */
    ort_library.version = 23;
    options.said[0] = 0;
    assert_int_equal(ort_ep_record(&options, error, sizeof(error)), 0);
    assert_string_equal(options.said, "");
    ort_ep_placement(NULL, text, sizeof(text));
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_providers, setup),
        cmocka_unit_test(test_wishes),
        cmocka_unit_test_setup(test_append, setup),
        cmocka_unit_test_setup(test_placement, setup),
    };

    return cmocka_run_group_tests_name("ort_ep", tests, NULL, NULL);
}
