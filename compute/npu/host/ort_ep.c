/* SPDX-License-Identifier: MIT */
#include "ort_ep.h"

#include <ctype.h>
#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#define EP_SUFFIX    "ExecutionProvider"
#define EP_LIBRARIES 16

/* Slots that only the host calls have no type in the table. */
#define EP_SLOT(type, name) ((type)(void (*)(void))ort_library.api->name)

struct ort_ep_subgraph;
struct ort_ep_node;

typedef struct ort_status *(*register_fn)(struct ort_env *, const char *, const char *);
typedef struct ort_status *(*append_v2_fn)(struct ort_session_options *, struct ort_env *,
                                           const struct ort_ep_device *const *, size_t,
                                           const char *const *, const char *const *, size_t);
typedef const char *(*ep_name_fn)(const struct ort_ep_device *);
typedef const struct ort_hardware_device *(*ep_hardware_fn)(const struct ort_ep_device *);
typedef int (*hardware_type_fn)(const struct ort_hardware_device *);
typedef struct ort_status *(*assignment_fn)(const struct ort_session *,
                                            const struct ort_ep_subgraph *const **, size_t *);
typedef struct ort_status *(*subgraph_name_fn)(const struct ort_ep_subgraph *, const char **);
typedef struct ort_status *(*subgraph_nodes_fn)(const struct ort_ep_subgraph *,
                                                const struct ort_ep_node *const **, size_t *);

/* OrtHardwareDeviceType */
enum { EP_HARDWARE_CPU, EP_HARDWARE_GPU, EP_HARDWARE_NPU };

struct ort_ep_row {
    const char *provider; /* as GetAvailableProviders says, without its suffix */
    const char *device;
    uint32_t kind;
    const char *nodes; /* patterns of files, one of which is there with the hardware */
    struct ort_status *(*append)(struct ort_session_options *options, const struct ort_ep_row *row);
    const char *key, *value; /* of the provider */
};

static struct ort_status *append_named(struct ort_session_options *options,
                                       const struct ort_ep_row *row)
{
    return ort_library.api->SessionOptionsAppendExecutionProvider(options, row->provider, &row->key,
                                                                  &row->value, row->key ? 1 : 0);
}

static struct ort_status *append_openvino(struct ort_session_options *options,
                                          const struct ort_ep_row *row)
{
    return ort_library.api->SessionOptionsAppendExecutionProvider_OpenVINO_V2(options, &row->key,
                                                                              &row->value, 1);
}

static struct ort_status *append_vitisai(struct ort_session_options *options,
                                         const struct ort_ep_row *row)
{
    return ort_library.api->SessionOptionsAppendExecutionProvider_VitisAI(options, &row->key,
                                                                          &row->value, 0);
}

static struct ort_status *append_cuda(struct ort_session_options *options,
                                      const struct ort_ep_row *row)
{
    const struct ort_api *api = ort_library.api;
    struct ort_cuda_provider_options_v2 *cuda = NULL;
    struct ort_status *status = api->CreateCUDAProviderOptions(&cuda);

    (void)row;
    if (!status)
        status = api->SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda);
    if (cuda)
        api->ReleaseCUDAProviderOptions(cuda);
    return status;
}

static struct ort_status *append_tensorrt(struct ort_session_options *options,
                                          const struct ort_ep_row *row)
{
    const struct ort_api *api = ort_library.api;
    struct ort_tensor_rt_provider_options_v2 *tensorrt = NULL;
    struct ort_status *status = api->CreateTensorRTProviderOptions(&tensorrt);

    (void)row;
    if (!status)
        status = api->SessionOptionsAppendExecutionProvider_TensorRT_V2(options, tensorrt);
    if (tensorrt)
        api->ReleaseTensorRTProviderOptions(tensorrt);
    return status;
}

#define NVIDIA_NODES "/dev/nvidiactl /dev/nvhost-ctrl /dev/dxg"
#define ACCEL_NODES  "/dev/accel/accel*"

/* The preference list: best first, what is made for inference before what is made for more. */
static const struct ort_ep_row ort_ep_rows[] = {
    {"OpenVINO", "ort-openvino-npu", VD_NPU_KIND_NPU, ACCEL_NODES, append_openvino, "device_type",
     "NPU"},
    {"QNN", "qnn", VD_NPU_KIND_NPU, "/dev/fastrpc-cdsp* /dev/adsprpc-smd*", append_named,
     "backend_path", "libQnnHtp.so"},
    {"VitisAI", "vitisai", VD_NPU_KIND_NPU, ACCEL_NODES, append_vitisai, NULL, NULL},
    {"Tensorrt", "tensorrt", VD_NPU_KIND_GPU, NVIDIA_NODES, append_tensorrt, NULL, NULL},
    {"CUDA", "cuda", VD_NPU_KIND_GPU, NVIDIA_NODES, append_cuda, NULL, NULL},
    {"OpenVINO", "ort-openvino-gpu", VD_NPU_KIND_GPU, "/dev/dri/renderD*", append_openvino,
     "device_type", "GPU"},
    {"OpenVINO", "ort-openvino", VD_NPU_KIND_CPU, "/proc/self", append_openvino, "device_type",
     "CPU"},
};

#define ROWS (sizeof(ort_ep_rows) / sizeof(ort_ep_rows[0]))

static struct {
    const struct ort_ep_row *rows[ROWS]; /* that can be had here */
    size_t row_count;
    struct ep_library {
        char *name, *path;
    } libraries[EP_LIBRARIES];
    size_t library_count;
    /* Of a worker: devices of libraries. */
    struct ep_device {
        const struct ort_ep_device *device;
        char name[VD_NAME_BYTES];
        uint32_t kind;
    } devices[VD_MAX_NPU_DEVICES];
    size_t device_count;
} ep;

static pthread_once_t started = PTHREAD_ONCE_INIT;

static bool is_there(const char *patterns)
{
    char text[256], *rest = text;
    const char *pattern;
    bool there = false;

    snprintf(text, sizeof(text), "%s", patterns);
    while (!there && (pattern = strsep(&rest, " "))) {
        glob_t found;

        if (!glob(pattern, 0, NULL, &found)) {
            there = found.gl_pathc > 0;
            globfree(&found);
        }
    }
    return there;
}

/* Whether the runtime's "CUDAExecutionProvider" is this row's. */
static bool is_provider(const char *name, const char *provider)
{
    size_t length = strlen(provider);

    return !strncmp(name, provider, length) && !strcmp(name + length, EP_SUFFIX);
}

static void find_rows(void)
{
    const struct ort_api *api = ort_library.api;
    char **names = NULL, error[256];
    int count = 0;

    if (ort_result(api->GetAvailableProviders(&names, &count), error, sizeof(error))) {
        log_warn("inference: providers of ONNX Runtime: %s", error);
        return;
    }
    for (size_t i = 0; i < ROWS; i++) {
        const struct ort_ep_row *row = &ort_ep_rows[i];
        bool named = false;

        for (int j = 0; j < count; j++)
            named = named || is_provider(names[j], row->provider);
        if (named && is_there(row->nodes)) {
            ep.rows[ep.row_count++] = row;
            log_info("inference: %s of ONNX Runtime", row->device);
        } else if (named)
            log_debug("inference: no %s: none of %s is there", row->device, row->nodes);
    }
    ort_result(api->ReleaseAvailableProviders(names, count), error, sizeof(error));
}

/* `text`: "path" or "name=path". */
static void add_library(const char *text)
{
    const char *equals = strchr(text, '=');
    const char *path = equals ? equals + 1 : text;
    const char *slash = strrchr(path, '/');
    struct ep_library *library = &ep.libraries[ep.library_count];

    if (!*path)
        return;
    if (ep.library_count == EP_LIBRARIES) {
        log_warn("inference: %s is one provider too many, %d are the most", path, EP_LIBRARIES);
        return;
    }
    library->name =
        equals ? strndup(text, (size_t)(equals - text)) : strdup(slash ? slash + 1 : path);
    library->path = strdup(path);
    if (library->name && library->path)
        ep.library_count++;
}

static void find_libraries(const char *path)
{
    const char *named = getenv("VIADUCT_ORT_EP");
    const char *slash = strrchr(path, '/');
    char pattern[512], *text, *rest;
    const char *one;
    glob_t found;

    if (ort_library.version < 22) {
        if (named)
            log_warn("inference: VIADUCT_ORT_EP is not used: %s loads no providers",
                     ort_library.runtime);
        return;
    }
    rest = text = named ? strdup(named) : NULL;
    while (text && (one = strsep(&rest, ",")))
        add_library(one);
    free(text);
    snprintf(pattern, sizeof(pattern), "%.*s/libonnxruntime_ep_*.so",
             slash ? (int)(slash - path) : 0, path);
    if (named || !slash || glob(pattern, 0, NULL, &found))
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        add_library(found.gl_pathv[i]);
    globfree(&found);
}

void ort_ep_prepare(const char *path)
{
    find_rows();
    find_libraries(path);
    for (size_t i = 0; i < ep.library_count; i++) {
        /* Its pages are then shared by all workers. */
        if (!dlopen(ep.libraries[i].path, RTLD_LAZY | RTLD_LOCAL))
            log_warn("inference: %s", dlerror());
    }
}

bool ort_ep_wanted(void)
{
    bool wanted = ep.library_count > 0;

    for (size_t i = 0; i < ep.row_count; i++)
        wanted = wanted || ep.rows[i]->kind != VD_NPU_KIND_CPU;
    return wanted;
}

static uint32_t kind_of(const struct ort_ep_device *device)
{
    const struct ort_hardware_device *hardware = EP_SLOT(ep_hardware_fn, EpDevice_Device)(device);

    switch (EP_SLOT(hardware_type_fn, HardwareDevice_Type)(hardware)) {
    case EP_HARDWARE_NPU:
        return VD_NPU_KIND_NPU;
    case EP_HARDWARE_GPU:
        return VD_NPU_KIND_GPU;
    default:
        return VD_NPU_KIND_CPU;
    }
}

/* "QNNExecutionProvider" is qnn. A second one of a name gets a number. */
static void name_device(struct ep_device *to, const char *provider)
{
    size_t length = strlen(provider), suffix = strlen(EP_SUFFIX);
    uint32_t same = 0;

    if (length > suffix && !strcmp(provider + length - suffix, EP_SUFFIX))
        length -= suffix;
    if (length > sizeof(to->name) - 4)
        length = sizeof(to->name) - 4;
    for (size_t i = 0; i < length; i++)
        to->name[i] = isalnum((unsigned char)provider[i]) || strchr("-_.", provider[i])
                          ? (char)tolower((unsigned char)provider[i])
                          : '-';
    to->name[length] = 0;
    for (size_t i = 0; i < ep.row_count; i++)
        same += !strcmp(ep.rows[i]->device, to->name);
    for (const struct ep_device *other = ep.devices; other < to; other++)
        same += !strncmp(other->name, to->name, length) && strchr(".", other->name[length]);
    if (same)
        snprintf(to->name + length, sizeof(to->name) - length, ".%u", same % 100);
}

/* Those of the runtime itself are no news: the processor's, and what stands in the table. */
static bool is_of_table(const char *provider)
{
    bool known = is_provider(provider, "CPU");

    for (size_t i = 0; i < ep.row_count; i++)
        known = known || is_provider(provider, ep.rows[i]->provider);
    return known;
}

static void start(void)
{
    const struct ort_api *api = ort_library.api;
    const struct ort_ep_device *const *devices = NULL;
    size_t count = 0, at = 0;
    char error[256];

    if (!ep.library_count)
        return;
    for (size_t i = 0; i < ep.library_count; i++) {
        if (ort_result(EP_SLOT(register_fn, RegisterExecutionProviderLibrary)(
                           ort_library.env, ep.libraries[i].name, ep.libraries[i].path),
                       error, sizeof(error)))
            log_warn("inference: provider %s: %s", ep.libraries[i].path, error);
    }
    if (ort_result(api->GetEpDevices(ort_library.env, &devices, &count), error, sizeof(error))) {
        log_warn("inference: devices of providers: %s", error);
        return;
    }
    for (size_t i = 0; i < count && at < VD_MAX_NPU_DEVICES; i++) {
        const char *provider = EP_SLOT(ep_name_fn, EpDevice_EpName)(devices[i]);

        if (is_of_table(provider))
            continue;
        ep.devices[at].device = devices[i];
        ep.devices[at].kind = kind_of(devices[i]);
        name_device(&ep.devices[at], provider);
        at++;
    }
    ep.device_count = at;
}

/* Devices of this kind, first those of libraries: who put one there wants it. */
static uint32_t list_kind(uint32_t kind, struct vd_npu_device *ret_devices, uint32_t room)
{
    uint32_t count = 0;

    for (size_t i = 0; i < ep.device_count && count < room; i++) {
        struct vd_npu_device *to = &ret_devices[count];

        if (ep.devices[i].kind != kind)
            continue;
        to->kind = kind;
        memcpy(to->name, ep.devices[i].name, sizeof(to->name));
        memcpy(to->runtime, ort_library.runtime, sizeof(to->runtime));
        count++;
    }
    for (size_t i = 0; i < ep.row_count && count < room; i++) {
        struct vd_npu_device *to = &ret_devices[count];

        if (ep.rows[i]->kind != kind)
            continue;
        to->kind = kind;
        snprintf(to->name, sizeof(to->name), "%s", ep.rows[i]->device);
        memcpy(to->runtime, ort_library.runtime, sizeof(to->runtime));
        count++;
    }
    return count;
}

uint32_t ort_ep_devices(struct vd_npu_device *ret_devices, uint32_t room)
{
    static const uint32_t order[] = {VD_NPU_KIND_NPU, VD_NPU_KIND_GPU, VD_NPU_KIND_CPU};
    uint32_t count = 0;

    pthread_once(&started, start);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        count += list_kind(order[i], ret_devices + count, room - count);
    return count;
}

bool ort_ep_wants_shapes(const char *device)
{
    bool npu = false;

    pthread_once(&started, start);
    for (size_t i = 0; i < ep.device_count; i++)
        npu = npu || (ep.devices[i].kind == VD_NPU_KIND_NPU && !strcmp(ep.devices[i].name, device));
    for (size_t i = 0; i < ep.row_count; i++)
        npu = npu || (ep.rows[i]->kind == VD_NPU_KIND_NPU && !strcmp(ep.rows[i]->device, device));
    return npu;
}

static struct ort_status *append_device(struct ort_session_options *options,
                                        const struct ep_device *device)
{
    return EP_SLOT(append_v2_fn, SessionOptionsAppendExecutionProvider_V2)(
        options, ort_library.env, &device->device, 1, NULL, NULL, 0);
}

int ort_ep_append(struct ort_session_options *options, const char *device, bool alone, char *error,
                  size_t error_size)
{
    struct ort_status *status = NULL;
    bool found = false;
    int err;

    pthread_once(&started, start);
    for (size_t i = 0; i < ep.device_count && !found; i++) {
        found = !strcmp(device, ep.devices[i].name);
        if (found)
            status = append_device(options, &ep.devices[i]);
    }
    for (size_t i = 0; i < ep.row_count && !found; i++) {
        found = !strcmp(device, ep.rows[i]->device);
        if (found)
            status = ep.rows[i]->append(options, ep.rows[i]);
    }
    if (!found) {
        snprintf(error, error_size, "this host has no such device");
        return VD_ERR_UNSUPPORTED;
    }
    err = ort_result(status, error, error_size);
    if (!err && alone)
        err = ort_result(
            ort_library.api->AddSessionConfigEntry(options, "session.disable_cpu_ep_fallback", "1"),
            error, error_size);
    return err;
}

int ort_ep_record(struct ort_session_options *options, char *error, size_t error_size)
{
    if (ort_library.version < 24)
        return 0;
    return ort_result(ort_library.api->AddSessionConfigEntry(
                          options, "session.record_ep_graph_assignment_info", "1"),
                      error, error_size);
}

/* The device's name of a provider, for people. */
static const char *device_of(const char *provider)
{
    if (is_provider(provider, "CPU"))
        return "ort";
    for (size_t i = 0; i < ep.row_count; i++) {
        if (is_provider(provider, ep.rows[i]->provider))
            return ep.rows[i]->device;
    }
    for (size_t i = 0; i < ep.device_count; i++) {
        if (!strcmp(provider, EP_SLOT(ep_name_fn, EpDevice_EpName)(ep.devices[i].device)))
            return ep.devices[i].name;
    }
    return provider;
}

struct ep_count {
    const char *provider;
    size_t nodes;
};

void ort_ep_placement(const struct ort_session *session, char *text, size_t size)
{
    const struct ort_ep_subgraph *const *subgraphs = NULL;
    struct ep_count counts[8] = {{NULL, 0}};
    size_t count = 0, used = 0, length = 0;
    char error[64];

    text[0] = 0;
    if (ort_library.version < 24 ||
        ort_result(
            EP_SLOT(assignment_fn, Session_GetEpGraphAssignmentInfo)(session, &subgraphs, &count),
            error, sizeof(error)))
        return;
    for (size_t i = 0; i < count; i++) {
        const struct ort_ep_node *const *nodes = NULL;
        const char *provider = NULL;
        size_t taken = 0, at = 0;

        if (ort_result(
                EP_SLOT(subgraph_name_fn, EpAssignedSubgraph_GetEpName)(subgraphs[i], &provider),
                error, sizeof(error)) ||
            ort_result(EP_SLOT(subgraph_nodes_fn, EpAssignedSubgraph_GetNodes)(subgraphs[i], &nodes,
                                                                               &taken),
                       error, sizeof(error)))
            return;
        while (at < used && strcmp(counts[at].provider, provider))
            at++;
        if (at == sizeof(counts) / sizeof(counts[0]))
            continue;
        used += at == used;
        counts[at].provider = provider;
        counts[at].nodes += taken;
    }
    for (size_t i = 0; i < used && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%s %zu node%s", i ? ", " : "",
                                   device_of(counts[i].provider), counts[i].nodes,
                                   counts[i].nodes == 1 ? "" : "s");
}
