/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#include <wire/log.h>

#include "config.h"
#include "ep.h"

#define VENDOR      "Viaduct"
#define MOST_DEVICE 64

struct ep_runtime ep_runtime;

struct factory {
    struct ort_ep_factory base;
    const struct ort_logger *logger;
    struct ort_hardware_device *hardware; /* of its own, made when first asked for */
};

/* One connection for all sessions of the process that have the same host; they keep an older one
 * alive. */
static pthread_mutex_t connection_lock = PTHREAD_MUTEX_INITIALIZER;
static struct npu *connection;
static pid_t connection_pid;
static char connection_uri[EP_OPTION_BYTES];

struct ort_status *ep_status(int code, const char *format, ...)
{
    char text[640];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return ep_runtime.api->CreateStatus(code, text);
}

struct ort_status *ep_npu_status(int err)
{
    switch (-err) {
    case 0:
        return NULL;
    case NPU_PARAMETER:
        return ep_status(ORT_INVALID_ARGUMENT, "%s", npu_message());
    case NPU_UNSUPPORTED:
        return ep_status(ORT_NOT_IMPLEMENTED, "%s", npu_message());
    default:
        return ep_status(ORT_EP_FAIL, "%s", npu_message());
    }
}

void ep_log(const struct ort_logger *logger, int severity, const char *format, ...)
{
    struct ort_status *status;
    char text[640];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (severity >= EP_LOG_WARNING)
        log_warn("%s", text);
    else if (severity == EP_LOG_INFO)
        log_info("%s", text);
    else
        log_debug("%s", text);
    if (!logger)
        return;
    status = ep_runtime.Logger_LogMessage(logger, severity, text, "", 0, "viaduct");
    if (status)
        ep_runtime.api->ReleaseStatus(status);
}

/* Whether the host still answers. */
static bool connection_works(const char *uri)
{
    struct npu_device devices[1];
    size_t count;

    return connection && connection_pid == getpid() && !strcmp(connection_uri, uri) &&
           !npu_devices(connection, devices, 1, &count);
}

/* `uri` "": as the environment says. The caller closes it. */
static int connect_host(const char *uri, struct npu **ret_npu)
{
    int err = 0;

    pthread_mutex_lock(&connection_lock);
    if (!connection_works(uri)) {
        struct npu *made = NULL, *old = connection;

        err = npu_open(*uri ? uri : NULL, &made);
        connection = made;
        connection_pid = getpid();
        snprintf(connection_uri, sizeof(connection_uri), "%s", uri);
        npu_close(old);
    }
    if (!err)
        *ret_npu = npu_ref(connection);
    pthread_mutex_unlock(&connection_lock);
    return err;
}

int ep_load(struct ep_session *session, const void *bytes, size_t size,
            struct npu_model **ret_model)
{
    const struct npu_options options = {
        .devices = session->devices[0] ? session->devices : NULL,
        .require = session->require,
        .threads = session->threads,
    };

    return npu_load(session->npu, bytes, size, &options, ret_model);
}

static const char *session_name(const struct ort_ep *self)
{
    (void)self;
    return EP_NAME;
}

static const char *get_name(const struct ort_ep_factory *self)
{
    (void)self;
    return EP_NAME;
}

static const char *get_vendor(const struct ort_ep_factory *self)
{
    (void)self;
    return VENDOR;
}

static uint32_t get_vendor_id(const struct ort_ep_factory *self)
{
    (void)self;
    return 0;
}

static const char *get_version(const struct ort_ep_factory *self)
{
    (void)self;
    return VIADUCT_VERSION;
}

static bool is_stream_aware(const struct ort_ep_factory *self)
{
    (void)self;
    return false;
}

static struct ort_status *create_allocator(struct ort_ep_factory *self,
                                           const struct ort_memory_info *memory,
                                           const struct ort_key_value_pairs *options,
                                           struct ort_allocator **ret_allocator)
{
    /* Tensors are the processor's. */
    (void)self, (void)memory, (void)options;
    *ret_allocator = NULL;
    return NULL;
}

static void release_allocator(struct ort_ep_factory *self, struct ort_allocator *allocator)
{
    (void)self, (void)allocator;
}

static struct ort_status *create_data_transfer(struct ort_ep_factory *self, void **ret_transfer)
{
    (void)self;
    *ret_transfer = NULL;
    return NULL;
}

/* Whether the program allows devices that the machine does not have: see docs/NPU.md. */
static bool virtual_allowed(void)
{
    const struct ort_api *api = ep_runtime.api;
    struct ort_key_value_pairs *entries = NULL;
    struct ort_status *status;
    const char *value;
    bool allowed;

    if (!ep_runtime.virtual_devices)
        return false;
    status = ep_runtime.ep->get_env_config(&entries);
    if (status) {
        api->ReleaseStatus(status);
        return false;
    }
    value = api->GetKeyValue(entries, "allow_virtual_devices");
    allowed = value && !strcmp(value, "1");
    api->ReleaseKeyValuePairs(entries);
    return allowed;
}

/* What the host runs models on, for the program to read. */
static struct ort_key_value_pairs *describe(const struct npu_device *devices, size_t count)
{
    struct ort_key_value_pairs *pairs = NULL;
    char names[512] = "";
    size_t length = 0;

    for (size_t i = 0; i < count && length < sizeof(names); i++)
        length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s", i ? "," : "",
                                   devices[i].name);
    ep_runtime.api->CreateKeyValuePairs(&pairs);
    if (!pairs)
        return NULL;
    ep_runtime.api->AddKeyValuePair(pairs, "viaduct.devices", names);
    ep_runtime.api->AddKeyValuePair(pairs, "viaduct.runtime", count ? devices[0].runtime : "");
    return pairs;
}

/* A device of the kind NPU if the program allows for that; else the machine's processor. */
static struct ort_status *find_hardware(struct factory *f,
                                        const struct ort_hardware_device *const *hardware,
                                        size_t count, const struct ort_hardware_device **ret_found)
{
    int (*type_of)(const struct ort_hardware_device *);
    struct ort_key_value_pairs *pairs = NULL;
    struct ort_status *status = NULL;

    if (virtual_allowed()) {
        if (!f->hardware) {
            ep_runtime.api->CreateKeyValuePairs(&pairs);
            if (pairs)
                ep_runtime.api->AddKeyValuePair(pairs, "is_virtual", "1");
            status = ep_runtime.ep->create_hardware_device(EP_HARDWARE_NPU, 0, 0, VENDOR, pairs,
                                                           &f->hardware);
            ep_runtime.api->ReleaseKeyValuePairs(pairs);
        }
        *ret_found = f->hardware;
        return status;
    }
    type_of = (int (*)(const struct ort_hardware_device *))(
                  void (*)(void))ep_runtime.api->HardwareDevice_Type;
    for (size_t i = 0; i < count && !*ret_found; i++) {
        if (type_of(hardware[i]) == EP_HARDWARE_CPU)
            *ret_found = hardware[i];
    }
    return NULL;
}

static struct ort_status *get_devices(struct ort_ep_factory *self,
                                      const struct ort_hardware_device *const *hardware,
                                      size_t hardware_count, struct ort_ep_device **ret_devices,
                                      size_t room, size_t *ret_count)
{
    struct factory *f = (struct factory *)self;
    const struct ort_hardware_device *found = NULL;
    struct ort_key_value_pairs *pairs = NULL;
    struct npu_device devices[MOST_DEVICE];
    struct ort_status *status = NULL;
    struct npu *npu = NULL;
    size_t count = 0;

    *ret_count = 0;
    if (!room)
        return NULL;
    if (connect_host("", &npu) || npu_devices(npu, devices, MOST_DEVICE, &count)) {
        ep_log(f->logger, EP_LOG_WARNING, "no device is listed: %s", npu_message());
        goto out;
    }
    if (!count) {
        ep_log(f->logger, EP_LOG_WARNING, "no device is listed: the host has no inference");
        goto out;
    }
    status = find_hardware(f, hardware, hardware_count, &found);
    if (status || !found)
        goto out;
    pairs = describe(devices, count < MOST_DEVICE ? count : MOST_DEVICE);
    status = ep_runtime.ep->create_ep_device(self, found, pairs, NULL, &ret_devices[0]);
    if (!status)
        *ret_count = 1;
    ep_runtime.api->ReleaseKeyValuePairs(pairs);
out:
    npu_close(npu);
    return status;
}

/* An option of the provider's; "" if it is not set. */
static struct ort_status *read_option(const struct ort_session_options *options, const char *key,
                                      char *value)
{
    const struct ort_api *api = ep_runtime.api;
    char name[64] = EP_OPTION_PREFIX;
    size_t size = EP_OPTION_BYTES;
    struct ort_status *status;
    int there = 0;

    value[0] = 0;
    snprintf(name + strlen(name), sizeof(name) - strlen(name), "%s", key);
    status = api->HasSessionConfigEntry(options, name, &there);
    if (!status && there)
        status = api->GetSessionConfigEntry(options, name, value, &size);
    return status;
}

static struct ort_status *read_options(struct ep_session *s,
                                       const struct ort_session_options *options, char *host)
{
    const char *wanted = getenv("VIADUCT_NPU_DEVICES");
    char require[EP_OPTION_BYTES], number[EP_OPTION_BYTES];
    struct ort_status *status = read_option(options, "host", host);

    if (!status)
        status = read_option(options, "require", require);
    if (!status)
        status = read_option(options, "prefer", s->devices);
    if (!status && require[0] && s->devices[0])
        status = ep_status(ORT_INVALID_ARGUMENT,
                           "the options prefer (%s) and require (%s) exclude each other",
                           s->devices, require);
    if (status)
        return status;
    s->require = require[0];
    if (s->require)
        memcpy(s->devices, require, sizeof(s->devices));
    else if (!s->devices[0] && wanted)
        snprintf(s->devices, sizeof(s->devices), "%s", wanted);
    status = read_option(options, "threads", number);
    if (status)
        return status;
    s->threads = (unsigned)strtoul(number, NULL, 10);
    status = read_option(options, "least_nodes", number);
    s->least = status ? 0 : (unsigned)strtoul(number, NULL, 10);
    return status;
}

static void release_ep(struct ort_ep_factory *self, struct ort_ep *ep)
{
    struct ep_session *s = (struct ep_session *)ep;

    (void)self;
    if (!s)
        return;
    while (s->candidates) {
        struct ep_candidate *first = s->candidates;

        s->candidates = first->next;
        npu_unload(first->model);
        free(first);
    }
    npu_close(s->npu);
    free(s);
}

static struct ort_status *create_ep(struct ort_ep_factory *self,
                                    const struct ort_hardware_device *const *hardware,
                                    const struct ort_key_value_pairs *const *metadata, size_t count,
                                    const struct ort_session_options *options,
                                    const struct ort_logger *logger, struct ort_ep **ret_ep)
{
    struct ep_session *s = calloc(1, sizeof(*s));
    char host[EP_OPTION_BYTES];
    struct ort_status *status;

    (void)hardware, (void)metadata, (void)count;
    *ret_ep = NULL;
    if (!s)
        return ep_status(ORT_FAIL, "out of memory");
    s->base = (struct ort_ep){
        .version = EP_ABI_VERSION,
        .get_name = session_name,
        .get_capability = plan_get_capability,
        .compile = kernel_compile,
        .release_compute_infos = kernel_release,
    };
    s->logger = logger;
    status = read_options(s, options, host);
    if (!status)
        status = ep_npu_status(connect_host(host, &s->npu));
    if (status)
        release_ep(self, &s->base);
    else
        *ret_ep = &s->base;
    return status;
}

/* False: the runtime is too old. */
static bool use_runtime(const struct ort_api_base *base)
{
    const struct ort_api *api = base->get_api(EP_ABI_VIRTUAL);

    ep_runtime.virtual_devices = api != NULL;
    if (!api)
        api = base->get_api(EP_ABI_VERSION);
    if (!api)
        return false;
    ep_runtime.api = api;
    ep_runtime.ep = api->GetEpApi();
/* Slots have their types only here. */
#define EP_SLOT(name, args) \
    ep_runtime.name = (struct ort_status * (*)args)(void (*)(void))api->name;
#include "slots.def"
    return ep_runtime.ep != NULL;
}

struct ort_status *CreateEpFactories(const char *name, const struct ort_api_base *base,
                                     const struct ort_logger *logger,
                                     struct ort_ep_factory **factories, size_t room,
                                     size_t *ret_count)
{
    struct factory *f;

    (void)name;
    *ret_count = 0;
    if (!use_runtime(base)) {
        const struct ort_api *old = base->get_api(1);

        return old ? old->CreateStatus(ORT_NOT_IMPLEMENTED,
                                       "Viaduct's provider needs ONNX Runtime 1.23 or newer")
                   : NULL;
    }
    if (!room)
        return ep_status(ORT_INVALID_ARGUMENT, "there is room for no factory");
    f = calloc(1, sizeof(*f));
    if (!f)
        return ep_status(ORT_FAIL, "out of memory");
    f->base = (struct ort_ep_factory){
        .version = EP_ABI_VERSION,
        .get_name = get_name,
        .get_vendor = get_vendor,
        .get_devices = get_devices,
        .create_ep = create_ep,
        .release_ep = release_ep,
        .get_vendor_id = get_vendor_id,
        .get_version = get_version,
        .create_allocator = create_allocator,
        .release_allocator = release_allocator,
        .create_data_transfer = create_data_transfer,
        .is_stream_aware = is_stream_aware,
    };
    f->logger = logger;
    factories[0] = &f->base;
    *ret_count = 1;
    return NULL;
}

struct ort_status *ReleaseEpFactory(struct ort_ep_factory *factory)
{
    struct factory *f = (struct factory *)factory;
    struct npu *npu;

    if (!f)
        return NULL;
    if (f->hardware)
        ep_runtime.ep->release_hardware_device(f->hardware);
    free(f);
    /* Sessions that still live have their own reference. */
    pthread_mutex_lock(&connection_lock);
    npu = connection;
    connection = NULL;
    pthread_mutex_unlock(&connection_lock);
    npu_close(npu);
    return NULL;
}
