/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wire/log.h>

#include "front.h"

/*
 * Options of sessions and runs. What is about how the runtime computes (threads, memory, graph
 * optimisation) is the host's business: it is taken, kept and, but for the number of threads, not
 * carried. Execution providers name devices of the host's that the program prefers.
 */

struct ort_status *ort_CreateSessionOptions(struct ort_session_options **options)
{
    struct ort_session_options *o = calloc(1, sizeof(*o));

    if (!o)
        return front_no_memory();
    o->mem_pattern = true;
    *options = o;
    return NULL;
}

void ort_ReleaseSessionOptions(struct ort_session_options *input)
{
    if (!input)
        return;
    front_pairs_finish(&input->config);
    front_pairs_finish(&input->dimensions);
    front_weights_finish(&input->weights);
    free(input->profile);
    free(input);
}

static int copy_pairs(struct ort_key_value_pairs *to, const struct ort_key_value_pairs *from)
{
    for (size_t i = 0; i < from->count; i++) {
        if (front_pairs_set(to, from->keys[i], from->values[i]))
            return -1;
    }
    return 0;
}

struct ort_status *ort_CloneSessionOptions(const struct ort_session_options *in_options,
                                           struct ort_session_options **out_options)
{
    struct ort_status *status = ort_CreateSessionOptions(out_options);
    struct ort_session_options *o = status ? NULL : *out_options;

    if (status)
        return status;
    memcpy(o->devices, in_options->devices, sizeof(o->devices));
    o->threads = in_options->threads;
    o->mode = in_options->mode;
    o->mem_pattern = in_options->mem_pattern;
    o->canceled = in_options->canceled;
    o->profile = in_options->profile ? strdup(in_options->profile) : NULL;
    if (!o->profile != !in_options->profile || copy_pairs(&o->config, &in_options->config) ||
        front_weights_copy(&o->weights, &in_options->weights) ||
        copy_pairs(&o->dimensions, &in_options->dimensions)) {
        ort_ReleaseSessionOptions(o);
        *out_options = NULL;
        return front_no_memory();
    }
    return NULL;
}

/* Adds a device behind those that are preferred already. */
static struct ort_status *prefer(struct ort_session_options *o, const char *name)
{
    size_t at = strlen(o->devices), length = strlen(name);
    /* "OpenVINOExecutionProvider" is what others call "OpenVINO". */
    const char *suffix = strstr(name, "ExecutionProvider");

    if (suffix && !suffix[strlen("ExecutionProvider")])
        length = (size_t)(suffix - name);
    if (!strncasecmp(name, "CPU", 3) && length == 3)
        return NULL;
    if (at + length + 2 > sizeof(o->devices))
        return front_status(ORT_INVALID_ARGUMENT, "too many execution providers");
    if (at)
        o->devices[at++] = ',';
    for (size_t i = 0; i < length; i++)
        o->devices[at++] = (char)tolower((unsigned char)name[i]);
    o->devices[at] = 0;
    return NULL;
}

struct ort_status *ort_SessionOptionsAppendExecutionProvider(
    struct ort_session_options *options, const char *provider_name,
    const char *const *provider_options_keys, const char *const *provider_options_values,
    size_t num_keys)
{
    for (size_t i = 0; i < num_keys; i++)
        log_info("%s: %s = %s is not carried to the host", provider_name, provider_options_keys[i],
                 provider_options_values[i]);
    return prefer(options, provider_name);
}

/* The providers that have functions of their own: name of the function, of the device. */
#define APPEND(function, type, device)                                       \
    struct ort_status *ort_SessionOptionsAppendExecutionProvider_##function( \
        struct ort_session_options *options, const struct type *unused)      \
    {                                                                        \
        (void)unused;                                                        \
        return prefer(options, device);                                      \
    }

APPEND(CUDA, ort_cuda_provider_options, "cuda")
APPEND(CUDA_V2, ort_cuda_provider_options_v2, "cuda")
APPEND(ROCM, ort_rocm_provider_options, "rocm")
APPEND(OpenVINO, ort_open_vino_provider_options, "openvino")
APPEND(TensorRT, ort_tensor_rt_provider_options, "tensorrt")
APPEND(TensorRT_V2, ort_tensor_rt_provider_options_v2, "tensorrt")
APPEND(MIGraphX, ort_migraphx_provider_options, "migraphx")

struct ort_status *ort_SessionOptionsAppendExecutionProvider_OpenVINO_V2(
    struct ort_session_options *options, const char *const *provider_options_keys,
    const char *const *provider_options_values, size_t num_keys)
{
    char name[24] = "OpenVINO";

    for (size_t i = 0; i < num_keys; i++) {
        const char *value = provider_options_values[i];

        /* One device: of several ("AUTO:NPU,GPU") the host takes the best it has. */
        if (!strcmp(provider_options_keys[i], "device_type") &&
            (!strncmp(value, "NPU", 3) || !strncmp(value, "GPU", 3)))
            snprintf(name, sizeof(name), "OpenVINO-%.10s", value);
    }
    return ort_SessionOptionsAppendExecutionProvider(options, name, provider_options_keys,
                                                     provider_options_values, num_keys);
}

struct ort_status *ort_SessionOptionsAppendExecutionProvider_VitisAI(
    struct ort_session_options *options, const char *const *provider_options_keys,
    const char *const *provider_options_values, size_t num_keys)
{
    return ort_SessionOptionsAppendExecutionProvider(options, "VitisAI", provider_options_keys,
                                                     provider_options_values, num_keys);
}

struct ort_status *
ort_SessionOptionsSetEpSelectionPolicy(struct ort_session_options *session_options, int policy)
{
    /* PREFER_NPU and PREFER_GPU; all others leave it to the host. */
    return policy == 2   ? prefer(session_options, "npu")
           : policy == 3 ? prefer(session_options, "gpu")
                         : NULL;
}

/* Options of providers: objects that only have to be there. */
struct ort_cuda_provider_options_v2 {
    int nothing;
};

struct ort_tensor_rt_provider_options_v2 {
    int nothing;
};

#define OBJECT(name, type)                                                                      \
    struct ort_status *ort_Create##name##ProviderOptions(struct type **out)                     \
    {                                                                                           \
        *out = calloc(1, sizeof(**out));                                                        \
        return *out ? NULL : front_no_memory();                                                 \
    }                                                                                           \
    void ort_Release##name##ProviderOptions(struct type *input)                                 \
    {                                                                                           \
        free(input);                                                                            \
    }                                                                                           \
    struct ort_status *ort_Update##name##ProviderOptions(                                       \
        struct type *options, const char *const *keys, const char *const *values, size_t count) \
    {                                                                                           \
        (void)options;                                                                          \
        for (size_t i = 0; i < count; i++)                                                      \
            log_info("%s: %s = %s is not carried to the host", #name, keys[i], values[i]);      \
        return NULL;                                                                            \
    }

OBJECT(CUDA, ort_cuda_provider_options_v2)
OBJECT(TensorRT, ort_tensor_rt_provider_options_v2)

struct ort_status *ort_SetIntraOpNumThreads(struct ort_session_options *options,
                                            int intra_op_num_threads)
{
    options->threads = intra_op_num_threads;
    return NULL;
}

struct ort_status *ort_SetSessionExecutionMode(struct ort_session_options *options,
                                               int execution_mode)
{
    options->mode = execution_mode;
    return NULL;
}

struct ort_status *ort_GetSessionExecutionMode(const struct ort_session_options *options, int *out)
{
    *out = options->mode;
    return NULL;
}

struct ort_status *ort_EnableMemPattern(struct ort_session_options *options)
{
    options->mem_pattern = true;
    return NULL;
}

struct ort_status *ort_DisableMemPattern(struct ort_session_options *options)
{
    options->mem_pattern = false;
    return NULL;
}

struct ort_status *ort_GetMemPatternEnabled(const struct ort_session_options *options, int *out)
{
    *out = options->mem_pattern;
    return NULL;
}

/* Of sessions that are made later; one that is being made goes on. */
struct ort_status *ort_SessionOptionsSetLoadCancellationFlag(struct ort_session_options *options,
                                                             bool cancel)
{
    options->canceled = cancel;
    return NULL;
}

/* What would write files of the host's. */
struct ort_status *ort_SetOptimizedModelFilePath(struct ort_session_options *options,
                                                 const char *optimized_model_filepath)
{
    (void)options;
    return front_status(ORT_NOT_IMPLEMENTED, "the host does not write models: %s",
                        optimized_model_filepath);
}

/* Said and kept by nobody: it makes no difference to results. */
#define TAKEN(name, ...)                       \
    struct ort_status *ort_##name(__VA_ARGS__) \
    {                                          \
        return NULL;                           \
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
TAKEN(EnableCpuMemArena, struct ort_session_options *options)
TAKEN(DisableCpuMemArena, struct ort_session_options *options)
TAKEN(SetSessionLogId, struct ort_session_options *options, const char *logid)
TAKEN(SetSessionLogVerbosityLevel, struct ort_session_options *options, int level)
TAKEN(SetSessionLogSeverityLevel, struct ort_session_options *options, int level)
TAKEN(SetSessionGraphOptimizationLevel, struct ort_session_options *options, int level)
TAKEN(SetInterOpNumThreads, struct ort_session_options *options, int count)
TAKEN(DisablePerSessionThreads, struct ort_session_options *options)
TAKEN(SetDeterministicCompute, struct ort_session_options *options, bool value)
TAKEN(SetUserLoggingFunction, struct ort_session_options *options, ort_log_fn function, void *param)
TAKEN(SetGlobalIntraOpNumThreads, struct ort_threading_options *tp_options, int count)
TAKEN(SetGlobalInterOpNumThreads, struct ort_threading_options *tp_options, int count)
TAKEN(SetGlobalSpinControl, struct ort_threading_options *tp_options, int allow_spinning)
TAKEN(SetGlobalDenormalAsZero, struct ort_threading_options *tp_options)
TAKEN(SetGlobalIntraOpThreadAffinity, struct ort_threading_options *tp_options, const char *text)
#pragma GCC diagnostic pop

struct ort_threading_options {
    int nothing;
};

struct ort_status *ort_CreateThreadingOptions(struct ort_threading_options **out)
{
    *out = calloc(1, sizeof(**out));
    return *out ? NULL : front_no_memory();
}

void ort_ReleaseThreadingOptions(struct ort_threading_options *input)
{
    free(input);
}

struct ort_status *ort_AddFreeDimensionOverrideByName(struct ort_session_options *options,
                                                      const char *dim_name, int64_t dim_value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)dim_value);
    return front_pairs_set(&options->dimensions, dim_name, text) ? front_no_memory() : NULL;
}

struct ort_status *ort_AddSessionConfigEntry(struct ort_session_options *options,
                                             const char *config_key, const char *config_value)
{
    return front_pairs_set(&options->config, config_key, config_value) ? front_no_memory() : NULL;
}

struct ort_status *ort_HasSessionConfigEntry(const struct ort_session_options *options,
                                             const char *config_key, int *out)
{
    *out = front_pairs_get(&options->config, config_key) != NULL;
    return NULL;
}

struct ort_status *ort_GetSessionConfigEntry(const struct ort_session_options *options,
                                             const char *config_key, char *config_value,
                                             size_t *size)
{
    const char *value = front_pairs_get(&options->config, config_key);
    size_t needed = value ? strlen(value) + 1 : 0, room = *size;

    if (!value)
        return front_status(ORT_FAIL, "there is no entry %s", config_key);
    *size = needed;
    if (!config_value)
        return NULL;
    if (room < needed)
        return front_status(ORT_INVALID_ARGUMENT, "room for %zu bytes; %zu are needed", room,
                            needed);
    memcpy(config_value, value, needed);
    return NULL;
}

struct ort_status *ort_GetSessionOptionsConfigEntries(const struct ort_session_options *options,
                                                      struct ort_key_value_pairs **out)
{
    struct ort_key_value_pairs *pairs = calloc(1, sizeof(*pairs));

    if (!pairs || copy_pairs(pairs, &options->config)) {
        ort_ReleaseKeyValuePairs(pairs);
        return front_no_memory();
    }
    *out = pairs;
    return NULL;
}
