/* SPDX-License-Identifier: MIT */
#include "ort.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "cache.h"
#include "ort_ep.h"

#define ORT_NAME "ort"
/* Threads of a run by default: more seldom pay for themselves. */
#define ORT_MOST_THREADS 8

struct ort_library ort_library;

static void log_message(void *param, int severity, const char *category, const char *logid,
                        const char *location, const char *message)
{
    (void)param, (void)category, (void)logid, (void)location;
    if (severity >= ORT_LOG_ERROR)
        log_info("ONNX Runtime: %s", message);
    else
        log_debug("ONNX Runtime: %s", message);
}

int ort_result(struct ort_status *status, char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    int code;

    if (!status)
        return 0;
    code = api->GetErrorCode(status);
    snprintf(error, error_size, "%s", api->GetErrorMessage(status));
    api->ReleaseStatus(status);
    switch (code) {
    case ORT_INVALID_ARGUMENT:
    case ORT_INVALID_PROTOBUF:
    case ORT_INVALID_GRAPH:
    case ORT_NO_MODEL:
        return VD_ERR_PARAMETER;
    case ORT_NOT_IMPLEMENTED:
        return VD_ERR_UNSUPPORTED;
    default:
        return VD_ERR_INTERNAL;
    }
}

bool ort_open(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct ort_api_base *(*get)(void);
    const struct ort_api_base *base;
    struct ort_library *l = &ort_library;
    unsigned minor = 0;
    char error[256];

    if (!library) {
        log_debug("inference: %s", dlerror());
        return false;
    }
    /* dlsym gives functions as objects. */
    *(void **)&get = dlsym(library, "OrtGetApiBase");
    base = get ? get() : NULL;
    if (!base || sscanf(base->get_version_string(), "1.%u", &minor) != 1)
        goto fail;
    l->version = minor < ORT_ABI_VERSION ? minor : ORT_ABI_VERSION;
    /* Optional values and what reads them came with 1.15. */
    l->api = minor >= 16 ? base->get_api(l->version) : NULL;
    if (!l->api) {
        log_warn("inference: ONNX Runtime %s in %s is too old: 1.16 is needed",
                 base->get_version_string(), path);
        goto fail;
    }
    if (ort_result(l->api->CreateEnvWithCustomLogger(log_message, NULL, ORT_LOG_ERROR, "viaductd",
                                                     &l->env),
                   error, sizeof(error)) ||
        ort_result(l->api->DisableTelemetryEvents(l->env), error, sizeof(error)) ||
        ort_result(l->api->CreateCpuMemoryInfo(ORT_DEVICE_ALLOCATOR, ORT_MEM_DEFAULT, &l->memory),
                   error, sizeof(error)) ||
        ort_result(l->api->GetAllocatorWithDefaultOptions(&l->allocator), error, sizeof(error))) {
        log_warn("inference: %s: %s", path, error);
        l->api = NULL;
        goto fail;
    }
    snprintf(l->runtime, sizeof(l->runtime), "ONNX Runtime %.40s", base->get_version_string());
    log_info("inference: %s from %s", l->runtime, path);
    ort_ep_prepare(path);
    return true;
fail:
    dlclose(library);
    return false;
}

/* The library that this project gives to guests would only ask the host again. */
static bool is_ours(const char *path)
{
    void *library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    bool ours = library && dlsym(library, "viaduct_ort_front");

    if (library)
        dlclose(library);
    return ours;
}

static bool try_library(const char *path)
{
    return !is_ours(path) && ort_open(path);
}

/* Debian's and others' have names with versions only. */
static bool try_pattern(const char *pattern)
{
    bool found = false;
    glob_t paths;

    if (glob(pattern, 0, NULL, &paths))
        return false;
    /* The newest first, as far as names tell. */
    for (size_t i = paths.gl_pathc; i-- && !found;)
        found = try_library(paths.gl_pathv[i]);
    globfree(&paths);
    return found;
}

static bool ort_probe(void)
{
    static const char *const patterns[] = {
        "/usr/lib/*/libonnxruntime.so.1*",
        "/usr/lib/libonnxruntime.so.1*",
        "/usr/lib64/libonnxruntime.so.1*",
        "/usr/local/lib/libonnxruntime.so.1*",
        "/opt/onnxruntime*/lib/libonnxruntime.so.1*",
    };
    const char *named = getenv("VIADUCT_ORT");

    if (named && !strcmp(named, "none"))
        return false;
    if (named && *named) {
        if (try_library(named))
            return true;
        log_warn("inference: VIADUCT_ORT=%s is no ONNX Runtime that can be used", named);
        return false;
    }
    if (try_library("libonnxruntime.so.1") || try_library("libonnxruntime.so"))
        return true;
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        if (try_pattern(patterns[i]))
            return true;
    }
    return false;
}

static uint32_t ort_devices(struct vd_npu_device *ret_devices, uint32_t room)
{
    uint32_t count = ort_ep_devices(ret_devices, room);

    if (count == room)
        return count;
    ret_devices[count] = (struct vd_npu_device){.name = ORT_NAME, .kind = VD_NPU_KIND_CPU};
    memcpy(ret_devices[count].runtime, ort_library.runtime, sizeof(ret_devices[count].runtime));
    return count + 1;
}

static int processors(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

    return count < ORT_MOST_THREADS ? count : ORT_MOST_THREADS;
}

static void ort_destroy(void *model)
{
    const struct ort_api *api = ort_library.api;
    struct ort_model *m = model;

    if (!m)
        return;
    if (m->session)
        api->ReleaseSession(m->session);
    ort_describe_free(m);
    free(m);
}

/* What a provider compiled goes to `context`, as a model with that in it; NULL: nowhere. */
static int keep_context(struct ort_session_options *options, const char *context, char *error,
                        size_t error_size)
{
    const char *const entries[][2] = {{"ep.context_enable", "1"},
                                      {"ep.context_embed_mode", "1"},
                                      {"ep.context_file_path", context}};
    int err = 0;

    for (size_t i = 0; context && !err && i < sizeof(entries) / sizeof(entries[0]); i++)
        err = ort_result(
            ort_library.api->AddSessionConfigEntry(options, entries[i][0], entries[i][1]), error,
            error_size);
    return err;
}

static int make_session(struct ort_model *m, const struct provider_load *load, const char *context,
                        char *error, size_t error_size)
{
    const struct ort_api *api = ort_library.api;
    int threads = load->threads ? (int)load->threads : processors();
    struct ort_session_options *options = NULL;
    int err;

    err = ort_result(api->CreateSessionOptions(&options), error, error_size);
    if (!err)
        err = ort_result(api->SetIntraOpNumThreads(options, threads), error, error_size);
    if (!err)
        err = ort_result(api->SetInterOpNumThreads(options, 1), error, error_size);
    /* Threads that spin take the processors from whoever shares them. */
    if (!err)
        err =
            ort_result(api->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"),
                       error, error_size);
    if (!err)
        err =
            ort_result(api->AddSessionConfigEntry(options, "session.inter_op.allow_spinning", "0"),
                       error, error_size);
    if (!err)
        err = ort_ep_record(options, error, error_size);
    if (!err && strcmp(load->device, ORT_NAME))
        err = ort_ep_append(options, load->device, load->alone, error, error_size);
    if (!err)
        err = keep_context(options, context, error, error_size);
    if (!err)
        err = ort_result(api->CreateSessionFromArray(ort_library.env, load->bytes, load->size,
                                                     options, &m->session),
                         error, error_size);
    if (options)
        api->ReleaseSessionOptions(options);
    return err;
}

/* Of providers: as they compiled it before, or so that it can be found the next time. */
static int make_cached(struct ort_model *m, const struct provider_load *load, char *error,
                       size_t error_size)
{
    const char *const parts[] = {load->device, ort_library.runtime, NULL};
    struct provider_load cached = *load;
    struct cache_key key;
    char path[PATH_MAX];
    uint8_t *bytes = NULL;
    int err = VD_ERR_UNSUPPORTED;

    cache_key_of(load->hash, parts, &key);
    if (cache_find(&key, &bytes, &cached.size)) {
        cached.bytes = bytes;
        err = make_session(m, &cached, NULL, error, error_size);
        free(bytes);
        if (err)
            log_warn("inference: %s does not take what it had compiled: %s", load->device, error);
    } else if (cache_place(&key, path, sizeof(path))) {
        err = make_session(m, load, path, error, error_size);
        if (!err)
            cache_done(&key);
    }
    return err;
}

static int ort_load(const struct provider_load *load, void **ret_model, char *error,
                    size_t error_size)
{
    struct ort_model *m = calloc(1, sizeof(*m));
    int err = VD_ERR_UNSUPPORTED;

    if (!m) {
        snprintf(error, error_size, "out of memory");
        return VD_ERR_MEMORY;
    }
    /* Nothing is compiled for the processor, and who runs it opens no files. */
    if (strcmp(load->device, ORT_NAME))
        err = make_cached(m, load, error, error_size);
    if (err)
        err = make_session(m, load, NULL, error, error_size);
    if (!err)
        err = ort_describe(m, error, error_size);
    if (!err)
        ort_ep_placement(m->session, m->placement, sizeof(m->placement));
    if (err)
        ort_destroy(m);
    else
        *ret_model = m;
    return err;
}

static void ort_describe_model(void *model, struct provider_description *ret)
{
    struct ort_model *m = model;

    *ret = (struct provider_description){
        .inputs = m->rows,
        .outputs = m->rows + m->input_count,
        .input_count = m->input_count,
        .output_count = m->output_count,
        .metadata = m->metadata,
        .placement = m->placement,
    };
}

static void ort_close(void *run)
{
    struct ort_run *r = run;

    if (!r)
        return;
    ort_value_forget(r);
    if (r->options)
        ort_library.api->ReleaseRunOptions(r->options);
    free(r->held);
    free(r->memory);
    free(r->names);
    free(r->values);
    free(r);
}

static int ort_open_run(void *model, void **ret_run, char *error, size_t error_size)
{
    struct ort_run *r = calloc(1, sizeof(*r));
    int err;

    if (!r) {
        snprintf(error, error_size, "out of memory");
        return VD_ERR_MEMORY;
    }
    r->model = model;
    err = ort_result(ort_library.api->CreateRunOptions(&r->options), error, error_size);
    if (err)
        ort_close(r);
    else
        *ret_run = r;
    return err;
}

/* Room for names and values of a run. */
static int reserve(struct ort_run *m, size_t count)
{
    if (count > m->room) {
        const char **names = realloc(m->names, count * sizeof(*names));
        struct ort_value **values;

        if (!names)
            return VD_ERR_MEMORY;
        m->names = names;
        values = realloc(m->values, count * sizeof(struct ort_value *));
        if (!values)
            return VD_ERR_MEMORY;
        m->values = values;
        m->room = count;
    }
    memset(m->values, 0, count * sizeof(m->values[0]));
    return 0;
}

static int ort_execute(void *opened, struct provider_run *run)
{
    const struct ort_api *api = ort_library.api;
    struct ort_run *r = opened;
    const struct ort_model *m = r->model;
    uint32_t inputs = run->input_count, outputs = run->output_count;
    int err;

    ort_value_forget(r);
    err = reserve(r, (size_t)inputs + outputs);
    if (err) {
        snprintf(run->error, run->error_size, "out of memory");
        return err;
    }
    for (uint32_t i = 0; i < inputs; i++) {
        r->names[i] = m->rows[run->input_index[i]].name;
        if (!err && run->inputs[i].kind != ONNX_NONE)
            err = ort_value_make(&run->inputs[i], &r->values[i], run->error, run->error_size);
    }
    for (uint32_t i = 0; i < outputs; i++) {
        r->names[inputs + i] = m->rows[m->input_count + run->output_index[i]].name;
        if (!err && run->outputs[i].data)
            err = ort_value_make(&run->outputs[i], &r->values[inputs + i], run->error,
                                 run->error_size);
    }
    if (!err)
        err = ort_result(api->Run(m->session, r->options, r->names,
                                  (const struct ort_value *const *)r->values, inputs,
                                  r->names + inputs, outputs, r->values + inputs),
                         run->error, run->error_size);
    for (uint32_t i = 0; i < inputs; i++) {
        if (r->values[i])
            api->ReleaseValue(r->values[i]);
    }
    for (uint32_t i = 0; i < outputs; i++) {
        struct ort_value *value = r->values[inputs + i];

        if (value && (err || run->outputs[i].data))
            api->ReleaseValue(value);
        else if (value)
            err = ort_value_take(r, value, &run->outputs[i], run->error, run->error_size);
        else
            run->outputs[i] = (struct onnx_value){.kind = ONNX_NONE};
    }
    return err;
}

static void ort_cancel(void *run)
{
    struct ort_run *r = run;
    char error[64];

    /* Only a lack of memory could fail here. */
    if (ort_result(ort_library.api->RunOptionsSetTerminate(r->options), error, sizeof(error)))
        log_warn("ONNX Runtime does not end a run: %s", error);
}

static void ort_resume(void *run)
{
    struct ort_run *r = run;
    char error[64];

    if (ort_result(ort_library.api->RunOptionsUnsetTerminate(r->options), error, sizeof(error)))
        log_warn("ONNX Runtime runs nothing any more: %s", error);
}

const struct provider provider_ort = {
    .name = ORT_NAME,
    .probe = ort_probe,
    .wants_devices = ort_ep_wanted,
    .devices = ort_devices,
    .wants_shapes = ort_ep_wants_shapes,
    .load = ort_load,
    .describe = ort_describe_model,
    .destroy = ort_destroy,
    .open = ort_open_run,
    .run = ort_execute,
    .cancel = ort_cancel,
    .resume = ort_resume,
    .close = ort_close,
};
