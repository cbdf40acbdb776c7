/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wire/log.h>

#include "front.h"

/* One connection for all sessions of the process; they and their tensors keep an older one alive.
 */
static pthread_mutex_t connection_lock = PTHREAD_MUTEX_INITIALIZER;
static struct npu *connection;
static pid_t connection_pid;

/* Whether the host still answers. */
static bool connection_works(void)
{
    struct npu_device devices[1];
    size_t count;

    return connection && connection_pid == getpid() && !npu_devices(connection, devices, 1, &count);
}

struct ort_status *front_connect(struct npu **ret_npu)
{
    struct ort_status *status = NULL;

    pthread_mutex_lock(&connection_lock);
    if (!connection_works()) {
        struct npu *made = NULL, *old = connection;

        status = front_npu_status(npu_open(NULL, &made));
        connection = made;
        connection_pid = getpid();
        /* Who uses it has a reference. */
        npu_close(old);
    }
    if (!status)
        *ret_npu = npu_ref(connection);
    pthread_mutex_unlock(&connection_lock);
    return status;
}

struct npu *front_connection(void)
{
    struct npu *npu = NULL;

    pthread_mutex_lock(&connection_lock);
    if (connection && connection_pid == getpid())
        npu = npu_ref(connection);
    pthread_mutex_unlock(&connection_lock);
    return npu;
}

static struct ort_status *create_env(struct ort_env **out)
{
    *out = calloc(1, sizeof(**out));
    return *out ? NULL : front_no_memory();
}

struct ort_status *ort_CreateEnv(int log_severity_level, const char *logid, struct ort_env **out)
{
    (void)log_severity_level, (void)logid;
    return create_env(out);
}

struct ort_status *ort_CreateEnvWithCustomLogger(ort_log_fn logging_function, void *logger_param,
                                                 int log_severity_level, const char *logid,
                                                 struct ort_env **out)
{
    (void)logging_function, (void)logger_param, (void)log_severity_level, (void)logid;
    return create_env(out);
}

struct ort_status *
ort_CreateEnvWithGlobalThreadPools(int log_severity_level, const char *logid,
                                   const struct ort_threading_options *tp_options,
                                   struct ort_env **out)
{
    (void)log_severity_level, (void)logid, (void)tp_options;
    return create_env(out);
}

struct ort_status *ort_CreateEnvWithCustomLoggerAndGlobalThreadPools(
    ort_log_fn logging_function, void *logger_param, int log_severity_level, const char *logid,
    const struct ort_threading_options *tp_options, struct ort_env **out)
{
    (void)logging_function, (void)logger_param, (void)log_severity_level, (void)logid;
    (void)tp_options;
    return create_env(out);
}

struct ort_status *ort_CreateEnvWithOptions(const struct ort_env_creation_options *options,
                                            struct ort_env **out)
{
    (void)options;
    return create_env(out);
}

void ort_ReleaseEnv(struct ort_env *input)
{
    free(input);
}

struct ort_status *ort_EnableTelemetryEvents(const struct ort_env *env)
{
    (void)env;
    return NULL;
}

struct ort_status *ort_DisableTelemetryEvents(const struct ort_env *env)
{
    (void)env;
    return NULL;
}

struct ort_status *ort_UpdateEnvWithCustomLogLevel(struct ort_env *ort_env, int log_severity_level)
{
    (void)ort_env, (void)log_severity_level;
    return NULL;
}

struct ort_status *ort_SetLanguageProjection(const struct ort_env *ort_env, int projection)
{
    (void)ort_env, (void)projection;
    return NULL;
}

/* Providers that run in this process: none but the one that every program takes for granted. */
struct ort_status *ort_GetAvailableProviders(char ***out_ptr, int *provider_length)
{
    char **names = malloc(sizeof(*names));

    if (!names || !(names[0] = strdup("CPUExecutionProvider"))) {
        free(names);
        return front_no_memory();
    }
    *out_ptr = names;
    *provider_length = 1;
    return NULL;
}

struct ort_status *ort_ReleaseAvailableProviders(char **ptr, int providers_length)
{
    for (int i = 0; i < providers_length; i++)
        free(ptr[i]);
    free(ptr);
    return NULL;
}

struct ort_status *ort_GetEpDevices(const struct ort_env *env,
                                    const struct ort_ep_device *const **ep_devices,
                                    size_t *num_ep_devices)
{
    static const struct ort_ep_device *const none[1];

    (void)env;
    *ep_devices = none;
    *num_ep_devices = 0;
    return NULL;
}

/* The guest's own: nothing here would run on them. */
struct ort_status *ort_GetNumHardwareDevices(const struct ort_env *env, size_t *out)
{
    (void)env;
    *out = 0;
    return NULL;
}

struct ort_status *ort_GetHardwareDevices(const struct ort_env *env,
                                          const struct ort_hardware_device **devices, size_t count)
{
    (void)env, (void)devices;
    return count ? front_status(ORT_INVALID_ARGUMENT, "there are no devices") : NULL;
}

static int copy_dimensions(struct ort_session *session, const struct ort_session_options *options)
{
    for (size_t i = 0; options && i < options->dimensions.count; i++) {
        if (front_pairs_set(&session->dimensions, options->dimensions.keys[i],
                            options->dimensions.values[i]))
            return -1;
    }
    return 0;
}

void ort_ReleaseSession(struct ort_session *input)
{
    if (!input)
        return;
    front_profile_destroy(input->profile);
    npu_unload(input->model);
    npu_close(input->npu);
    front_pairs_finish(&input->dimensions);
    free(input);
}

/* What ONNX's parser would only call broken. */
static struct ort_status *check_format(const void *bytes, size_t size)
{
    if (size >= 8 && !memcmp((const char *)bytes + 4, "ORTM", 4))
        return front_status(
            ORT_NOT_IMPLEMENTED,
            "the model is in ONNX Runtime's own format (.ort), which is tied to one "
            "runtime; the host takes ONNX models (.onnx)");
    return NULL;
}

/* `folder`: of the model's other files, NULL if it has none. */
static struct ort_status *create_session(const void *bytes, size_t size, const char *folder,
                                         const struct ort_session_options *options,
                                         struct ort_session **out)
{
    const char *strict =
        options ? front_pairs_get(&options->config, "session.disable_cpu_ep_fallback") : NULL;
    const char *wanted = getenv("VIADUCT_NPU_DEVICES");
    struct npu_options how = {
        .devices = options && options->devices[0] ? options->devices : wanted,
        .require = strict && !strcmp(strict, "1"),
        .threads = options && options->threads > 0 ? (unsigned)options->threads : 0,
        .folder = folder,
    };
    struct ort_session *session;
    struct ort_status *status = check_format(bytes, size);
    int64_t start = front_profile_now();
    void *memory = NULL;

    if (!status && options && options->canceled)
        status = front_status(ORT_LOAD_CANCELED, "loading of models is canceled by the options");
    if (status)
        return status;
    session = calloc(1, sizeof(*session));
    if (!session)
        return front_no_memory();
    status = options && options->profile ? front_profile_create(options->profile, &session->profile)
                                         : NULL;
    if (!status)
        status = front_connect(&session->npu);
    if (!status && copy_dimensions(session, options))
        status = front_no_memory();
    if (!status && options)
        status = front_weights_give(&options->weights, &how, &memory);
    if (!status)
        status = front_npu_status(npu_load(session->npu, bytes, size, &how, &session->model));
    free(memory);
    if (status) {
        ort_ReleaseSession(session);
        return status;
    }
    session->info = npu_model_info(session->model);
    front_profile_add(session->profile, "session_initialization", start,
                      front_profile_now() - start);
    log_info("model %s runs on the host's %s%s%s", session->info->graph, session->info->device,
             session->info->reason[0] ? "; " : "", session->info->reason);
    *out = session;
    return NULL;
}

struct ort_status *ort_CreateSessionFromArray(const struct ort_env *env, const void *model_data,
                                              size_t model_data_length,
                                              const struct ort_session_options *options,
                                              struct ort_session **out)
{
    const char *folder =
        options ? front_pairs_get(&options->config,
                                  "session.model_external_initializers_file_folder_path")
                : NULL;

    (void)env;
    return create_session(model_data, model_data_length, folder ? folder : ".", options, out);
}

struct ort_status *ort_CreateSession(const struct ort_env *env, const char *model_path,
                                     const struct ort_session_options *options,
                                     struct ort_session **out)
{
    const char *slash = strrchr(model_path, '/');
    struct ort_status *status;
    struct stat st;
    char *folder;
    void *bytes;
    int fd = open(model_path, O_RDONLY | O_CLOEXEC);

    (void)env;
    if (fd < 0)
        return front_status(ORT_NO_SUCHFILE, "cannot open the model %s: %s", model_path,
                            strerror(errno));
    if (fstat(fd, &st) < 0 || st.st_size <= 0) {
        close(fd);
        return front_status(ORT_NO_MODEL, "%s is no model", model_path);
    }
    bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return front_status(ORT_FAIL, "cannot read the model %s: %s", model_path, strerror(errno));
    folder = slash ? strndup(model_path, (size_t)(slash - model_path) + 1) : strdup(".");
    status = folder ? create_session(bytes, (size_t)st.st_size, folder, options, out)
                    : front_no_memory();
    free(folder);
    munmap(bytes, (size_t)st.st_size);
    return status;
}

/* Weights that sessions would share are the host's: the container stays empty. */
struct ort_prepacked_weights {
    int nothing;
};

struct ort_status *ort_CreatePrepackedWeightsContainer(struct ort_prepacked_weights **out)
{
    *out = calloc(1, sizeof(**out));
    return *out ? NULL : front_no_memory();
}

void ort_ReleasePrepackedWeightsContainer(struct ort_prepacked_weights *input)
{
    free(input);
}

struct ort_status *ort_CreateSessionWithPrepackedWeightsContainer(
    const struct ort_env *env, const char *model_path, const struct ort_session_options *options,
    struct ort_prepacked_weights *container, struct ort_session **out)
{
    (void)container;
    return ort_CreateSession(env, model_path, options, out);
}

struct ort_status *ort_CreateSessionFromArrayWithPrepackedWeightsContainer(
    const struct ort_env *env, const void *model_data, size_t model_data_length,
    const struct ort_session_options *options, struct ort_prepacked_weights *container,
    struct ort_session **out)
{
    (void)container;
    return ort_CreateSessionFromArray(env, model_data, model_data_length, options, out);
}

int front_find(const struct npu_io *ios, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(ios[i].name, name))
            return (int)i;
    }
    return -1;
}

struct ort_status *ort_SessionGetInputCount(const struct ort_session *session, size_t *out)
{
    *out = session->info->input_count;
    return NULL;
}

struct ort_status *ort_SessionGetOutputCount(const struct ort_session *session, size_t *out)
{
    *out = session->info->output_count;
    return NULL;
}

struct ort_status *ort_SessionGetOverridableInitializerCount(const struct ort_session *session,
                                                             size_t *out)
{
    (void)session;
    *out = 0;
    return NULL;
}

static struct ort_status *out_of_range(size_t index)
{
    return front_status(ORT_INVALID_ARGUMENT, "the model has no input or output %zu", index);
}

struct ort_status *ort_SessionGetInputTypeInfo(const struct ort_session *session, size_t index,
                                               struct ort_type_info **type_info)
{
    if (index >= session->info->input_count)
        return out_of_range(index);
    *type_info = front_type_of(&session->info->inputs[index], &session->dimensions);
    return *type_info ? NULL : front_no_memory();
}

struct ort_status *ort_SessionGetOutputTypeInfo(const struct ort_session *session, size_t index,
                                                struct ort_type_info **type_info)
{
    if (index >= session->info->output_count)
        return out_of_range(index);
    *type_info = front_type_of(&session->info->outputs[index], &session->dimensions);
    return *type_info ? NULL : front_no_memory();
}

struct ort_status *ort_SessionGetInputName(const struct ort_session *session, size_t index,
                                           struct ort_allocator *allocator, char **value)
{
    return index < session->info->input_count
               ? front_give_text(allocator, session->info->inputs[index].name, value)
               : out_of_range(index);
}

struct ort_status *ort_SessionGetOutputName(const struct ort_session *session, size_t index,
                                            struct ort_allocator *allocator, char **value)
{
    return index < session->info->output_count
               ? front_give_text(allocator, session->info->outputs[index].name, value)
               : out_of_range(index);
}

static struct ort_status *all_cpu(const struct ort_memory_info **infos, size_t count, size_t most)
{
    if (count != most)
        return front_status(ORT_INVALID_ARGUMENT, "room for %zu; %zu are needed", count, most);
    for (size_t i = 0; i < count; i++)
        infos[i] = &front_cpu;
    return NULL;
}

struct ort_status *ort_SessionGetMemoryInfoForInputs(const struct ort_session *session,
                                                     const struct ort_memory_info **infos,
                                                     size_t num_inputs)
{
    return all_cpu(infos, num_inputs, session->info->input_count);
}

struct ort_status *ort_SessionGetMemoryInfoForOutputs(const struct ort_session *session,
                                                      const struct ort_memory_info **infos,
                                                      size_t num_outputs)
{
    return all_cpu(infos, num_outputs, session->info->output_count);
}

/* As of sessions without providers in libraries: there is no such device. */
static struct ort_status *no_devices(const struct ort_ep_device **devices, size_t count,
                                     size_t most)
{
    if (count != most)
        return front_status(ORT_INVALID_ARGUMENT, "room for %zu; %zu are needed", count, most);
    for (size_t i = 0; i < count; i++)
        devices[i] = NULL;
    return NULL;
}

struct ort_status *ort_SessionGetEpDeviceForInputs(const struct ort_session *session,
                                                   const struct ort_ep_device **devices,
                                                   size_t count)
{
    return no_devices(devices, count, session->info->input_count);
}

struct ort_status *ort_SessionGetEpDeviceForOutputs(const struct ort_session *session,
                                                    const struct ort_ep_device **devices,
                                                    size_t count)
{
    return no_devices(devices, count, session->info->output_count);
}
