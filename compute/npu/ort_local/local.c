/* SPDX-License-Identifier: MIT */
#include "local.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wire/log.h>

#include "compute/npu/ep/ep.h"

/* Slots of APIs behind ORT_ABI_VERSION, which programs may call, too. */
#define LOCAL_SPARE 64
/* Tables: the runtime has one, for all versions that it knows. */
#define LOCAL_TABLES 4
/* With it the runtime allows the provider a device of its own. */
#define LOCAL_NAME "viaduct.virtual"

#define REQUIRE EP_OPTION_PREFIX "require"

/* A slot that has no type in the table. */
#define SLOT(type, name) ((type)(void (*)(void))api->name)

typedef struct ort_status *(*register_fn)(struct ort_env *, const char *, const char *);
typedef struct ort_status *(*unregister_fn)(struct ort_env *, const char *);
typedef const char *(*ep_name_fn)(const struct ort_ep_device *);
typedef struct ort_status *(*append_fn)(struct ort_session_options *, struct ort_env *,
                                        const struct ort_ep_device *const *, size_t,
                                        const char *const *, const char *const *, size_t);

static struct {
    void *library;
    const struct ort_api_base *base;
    unsigned minor;  /* of its version */
    bool forwarding; /* it is Viaduct's other library: all is the host's already */
} runtime;

static struct local_table {
    struct ort_api api;
    void *spare[LOCAL_SPARE];
    const struct ort_api *real;
} tables[LOCAL_TABLES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all above */
/* Of registering, during which the runtime may call this library as any program does. */
static pthread_mutex_t register_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct ort_api *real_api(void)
{
    return runtime.base->get_api(runtime.minor < ORT_ABI_VERSION ? runtime.minor : ORT_ABI_VERSION);
}

/* Drops a status; true if it was none. */
static bool worked(const struct ort_api *api, struct ort_status *status, const char *what)
{
    if (!status)
        return true;
    if (what)
        log_warn("sessions stay local: %s: %s", what, api->GetErrorMessage(status));
    api->ReleaseStatus(status);
    return false;
}

static const struct ort_ep_device *find_device(const struct ort_api *api, const struct ort_env *env)
{
    const struct ort_ep_device *const *devices = NULL;
    size_t count = 0;

    if (!worked(api, api->GetEpDevices(env, &devices, &count), "devices of providers"))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(SLOT(ep_name_fn, EpDevice_EpName)(devices[i]), EP_NAME))
            return devices[i];
    }
    return NULL;
}

/* The host as a device of this environment, which outlives those of programs; NULL if none. */
static const struct ort_ep_device *host_device(const struct ort_api *api, struct ort_env *env)
{
    const struct ort_ep_device *device;

    pthread_mutex_lock(&register_lock);
    device = find_device(api, env);
    if (!device) {
        /* A library that is there, but listed nothing: the host may have come since. */
        worked(api, SLOT(unregister_fn, UnregisterExecutionProviderLibrary)(env, LOCAL_NAME), NULL);
        if (worked(
                api,
                SLOT(register_fn, RegisterExecutionProviderLibrary)(env, LOCAL_NAME, find_self()),
                "the provider"))
            device = find_device(api, env);
    }
    pthread_mutex_unlock(&register_lock);
    return device;
}

/* A copy of a session's options with the provider behind those of the program. NULL: stays local */
static struct ort_session_options *attach(const struct ort_api *api, const struct ort_env *env,
                                          const struct ort_session_options *options)
{
    /* The API has it const where sessions are made only. */
    struct ort_env *owner = (struct ort_env *)(uintptr_t)env;
    const struct ort_ep_device *device;
    struct ort_session_options *copy = NULL;
    struct ort_status *status;

    if (runtime.forwarding)
        return NULL;
    if (runtime.minor < EP_ABI_VERSION) {
        log_info("sessions stay local: ONNX Runtime %s is older than 1.23",
                 runtime.base->get_version_string());
        return NULL;
    }
    device = host_device(api, owner);
    if (!device)
        return NULL;
    status = options ? api->CloneSessionOptions(options, &copy) : api->CreateSessionOptions(&copy);
    if (!worked(api, status, "options"))
        return NULL;
    if (worked(api,
               SLOT(append_fn, SessionOptionsAppendExecutionProvider_V2)(copy, owner, &device, 1,
                                                                         NULL, NULL, 0),
               "the provider"))
        return copy;
    api->ReleaseSessionOptions(copy);
    return NULL;
}

/* Whether the program wants the host or nothing. */
static bool is_required(const struct ort_api *api, const struct ort_session_options *options)
{
    int there = 0;

    return options && worked(api, api->HasSessionConfigEntry(options, REQUIRE, &there), NULL) &&
           there;
}

struct making {
    const char *path; /* or bytes: */
    const void *bytes;
    size_t size;
    struct ort_prepacked_weights *container; /* may be NULL */
};

static struct ort_status *make(const struct ort_api *api, const struct ort_env *env,
                               const struct making *from, const struct ort_session_options *options,
                               struct ort_session **out)
{
    if (from->container)
        return from->path ? api->CreateSessionWithPrepackedWeightsContainer(
                                env, from->path, options, from->container, out)
                          : api->CreateSessionFromArrayWithPrepackedWeightsContainer(
                                env, from->bytes, from->size, options, from->container, out);
    return from->path ? api->CreateSession(env, from->path, options, out)
                      : api->CreateSessionFromArray(env, from->bytes, from->size, options, out);
}

static struct ort_status *create(const struct ort_env *env, const struct making *from,
                                 const struct ort_session_options *options,
                                 struct ort_session **out)
{
    const struct ort_api *api = real_api();
    struct ort_session_options *more = attach(api, env, options);
    struct ort_status *status;

    if (!more)
        return make(api, env, from, options, out);
    status = make(api, env, from, more, out);
    api->ReleaseSessionOptions(more);
    if (!status || is_required(api, options))
        return status;
    /* The program is not to be worse off than without this library. */
    log_warn("a session stays local: %s", api->GetErrorMessage(status));
    api->ReleaseStatus(status);
    return make(api, env, from, options, out);
}

static struct ort_status *create_session(const struct ort_env *env, const char *model_path,
                                         const struct ort_session_options *options,
                                         struct ort_session **out)
{
    return create(env, &(struct making){.path = model_path}, options, out);
}

static struct ort_status *create_from_array(const struct ort_env *env, const void *model_data,
                                            size_t model_data_length,
                                            const struct ort_session_options *options,
                                            struct ort_session **out)
{
    return create(env, &(struct making){.bytes = model_data, .size = model_data_length}, options,
                  out);
}

static struct ort_status *create_session_prepacked(const struct ort_env *env,
                                                   const char *model_path,
                                                   const struct ort_session_options *options,
                                                   struct ort_prepacked_weights *container,
                                                   struct ort_session **out)
{
    return create(env, &(struct making){.path = model_path, .container = container}, options, out);
}

static struct ort_status *
create_from_array_prepacked(const struct ort_env *env, const void *model_data,
                            size_t model_data_length, const struct ort_session_options *options,
                            struct ort_prepacked_weights *container, struct ort_session **out)
{
    return create(
        env,
        &(struct making){.bytes = model_data, .size = model_data_length, .container = container},
        options, out);
}

/* Where the memory of an object that has `at` in it ends. */
struct segment {
    uintptr_t at, end;
};

static int look_at(struct dl_phdr_info *info, size_t size, void *data)
{
    struct segment *segment = data;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        uintptr_t end = start + info->dlpi_phdr[i].p_memsz;

        if (info->dlpi_phdr[i].p_type == PT_LOAD && segment->at >= start && segment->at < end)
            segment->end = end;
    }
    return segment->end != 0;
}

/*
 * How much of a table to copy. Its length is not known, but that of this version is a lower bound,
 * and programs call only what theirs has: bytes behind the end do no harm as long as they can be
 * read.
 */
static size_t table_size(const struct ort_api *real)
{
    struct segment segment = {.at = (uintptr_t)real};
    size_t size = offsetof(struct local_table, real);

    dl_iterate_phdr(look_at, &segment);
    if (segment.end && segment.end - segment.at < size)
        size = segment.end - segment.at;
    return size;
}

static const struct ort_api *get_api(uint32_t version)
{
    const struct ort_api *real = runtime.base->get_api(version);
    const struct ort_api *found = real;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < LOCAL_TABLES && real; i++) {
        struct local_table *table = &tables[i];

        if (!table->real) {
            memcpy(table, real, table_size(real));
            table->api.CreateSession = create_session;
            table->api.CreateSessionFromArray = create_from_array;
            table->api.CreateSessionWithPrepackedWeightsContainer = create_session_prepacked;
            table->api.CreateSessionFromArrayWithPrepackedWeightsContainer =
                create_from_array_prepacked;
            table->real = real;
        }
        if (table->real == real) {
            found = &table->api;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static const char *get_version_string(void)
{
    return runtime.base->get_version_string();
}

static void *open_runtime(const void *caller)
{
    const struct ort_api_base *(*get)(void);

    pthread_mutex_lock(&lock);
    if (!runtime.library)
        runtime.library = find_runtime(caller);
    if (runtime.library && !runtime.base) {
        /* dlsym gives functions as objects. */
        *(void **)&get = dlsym(runtime.library, "OrtGetApiBase");
        runtime.base = get();
        runtime.forwarding = dlsym(runtime.library, "viaduct_ort_front") != NULL;
        if (sscanf(runtime.base->get_version_string(), "1.%u", &runtime.minor) != 1)
            runtime.minor = 1;
    }
    pthread_mutex_unlock(&lock);
    return runtime.library;
}

__attribute__((visibility("default"))) extern const int viaduct_ort_front;

/* By this a host tells that it has found no runtime, but us. */
const int viaduct_ort_front = 1;

const struct ort_api_base *versions_base(const void *caller)
{
    static const struct ort_api_base base = {get_api, get_version_string};

    return open_runtime(caller) ? &base : NULL;
}

const struct ort_api_base *OrtGetApiBase(void)
{
    return versions_base(__builtin_return_address(0));
}

/* Functions from before the table. */
#define LEGACY(provider)                                                                          \
    __attribute__((visibility("default"))) struct ort_status                                      \
        *OrtSessionOptionsAppendExecutionProvider_##provider(struct ort_session_options *options, \
                                                             int number);                         \
    struct ort_status *OrtSessionOptionsAppendExecutionProvider_##provider(                       \
        struct ort_session_options *options, int number)                                          \
    {                                                                                             \
        void *library = open_runtime(__builtin_return_address(0));                                \
        struct ort_status *(*append)(struct ort_session_options *, int) = NULL;                   \
                                                                                                  \
        if (library)                                                                              \
            *(void **)&append =                                                                   \
                dlsym(library, "OrtSessionOptionsAppendExecutionProvider_" #provider);            \
        if (append)                                                                               \
            return append(options, number);                                                       \
        return library ? real_api()->CreateStatus(ORT_NOT_IMPLEMENTED,                            \
                                                  "the local runtime has no " #provider)          \
                       : NULL;                                                                    \
    }

LEGACY(CPU)
LEGACY(CUDA)
LEGACY(Tensorrt)
