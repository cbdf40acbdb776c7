/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "cache.h"
#include "outline.h"

/*
 * OpenVINO by its C API, found with dlopen: the way to Intel's NPUs and GPUs on hosts without an
 * ONNX Runtime that was built for it. Inputs, outputs and their names are those that the ONNX model
 * itself declares; OpenVINO is asked for tensors by these names.
 */

#define OV_PREFIX  "openvino"
#define OV_DEVICES 8
/* ov_status_e */
#define OV_NOT_READY (-9)
#define OV_CANCELLED (-13)
/* How long a cancel that came before a run had started may go unseen. */
#define OV_LOOK_MS 50

struct ov_core;
struct ov_model;
struct ov_compiled;
struct ov_request;
struct ov_tensor;

struct ov_shape {
    int64_t rank;
    int64_t *dims;
};

struct ov_version {
    const char *build, *description;
};

struct ov_devices {
    char **names;
    size_t count;
};

static struct {
#define OV(name, returns, takes) returns(*name) takes;
#include "openvino.def"
    const char *(*last_error)(void); /* since 2023.2; else NULL */
    /* What the cache needs; all of them or none. */
    int (*export)(const struct ov_compiled *model, const char *path);
    int (*import)(const struct ov_core *core, const char *bytes, size_t size, const char *device,
                  struct ov_compiled **out);
    int (*property)(const struct ov_core *core, const char *device, const char *key, char **value);
    char runtime[VD_ENGINE_BYTES];
    /* Of a worker. */
    struct ov_core *core;
    struct ov_place {
        char name[VD_NAME_BYTES]; /* ours */
        char device[32];          /* OpenVINO's */
        uint32_t kind;
    } places[OV_DEVICES];
    size_t place_count;
    const struct ov_numbers *numbers;
} ov;

static pthread_once_t started = PTHREAD_ONCE_INIT;

/*
 * ov_element_type_e was renumbered twice: U2, U3 and U6 came in (2024), UNDEFINED fell together
 * with DYNAMIC (2025). Versions do not tell reliably; what eight elements take does.
 */
static const struct ov_numbers {
    size_t probe, bytes; /* eight elements of this number take so many: one of U4, F64, U2 */
    unsigned boolean, bf16, f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64;
} ov_numberings[] = {
    {5, 64, 1, 2, 3, 4, 5, 7, 8, 9, 10, 16, 17, 18, 19},
    {13, 2, 2, 3, 4, 5, 6, 8, 9, 10, 11, 17, 18, 19, 20},
    {13, 4, 2, 3, 4, 5, 6, 8, 9, 10, 11, 14, 15, 16, 17},
};

static int number_of(enum onnx_dtype dtype)
{
    const struct ov_numbers *n = ov.numbers;
    const unsigned of[ONNX_DTYPES] = {
        [ONNX_F32] = n->f32,   [ONNX_U8] = n->u8,   [ONNX_I8] = n->i8,   [ONNX_U16] = n->u16,
        [ONNX_I16] = n->i16,   [ONNX_I32] = n->i32, [ONNX_I64] = n->i64, [ONNX_BOOL] = n->boolean,
        [ONNX_F16] = n->f16,   [ONNX_F64] = n->f64, [ONNX_U32] = n->u32, [ONNX_U64] = n->u64,
        [ONNX_BF16] = n->bf16,
    };

    return (unsigned)dtype < ONNX_DTYPES ? (int)of[dtype] : 0;
}

static enum onnx_dtype dtype_of(int number)
{
    for (enum onnx_dtype dtype = ONNX_F32; dtype < ONNX_DTYPES; dtype++) {
        if (number && number_of(dtype) == number)
            return dtype;
    }
    return ONNX_UNKNOWN;
}

struct openvino {
    struct ov_compiled *compiled;
    struct outline outline;
    char placement[VD_NAME_BYTES + 32];
};

struct openvino_run {
    const struct openvino *model;
    struct ov_request *request;
    struct ov_tensor **held; /* outputs of the newest inference */
    size_t held_count;
    atomic_bool cancelled;
};

/* 0, or an error with OpenVINO's words in `error`. */
static int result(int status, char *error, size_t error_size)
{
    const char *text;

    if (!status)
        return 0;
    text = ov.last_error ? ov.last_error() : NULL;
    if (!text || !*text)
        text = ov.ov_get_error_info(status);
    snprintf(error, error_size, "OpenVINO: %s", text ? text : "an error without a name");
    return status == OV_CANCELLED ? VD_ERR_GONE : VD_ERR_UNSUPPORTED;
}

static bool open_library(const char *path)
{
    struct ov_version version = {NULL, NULL};
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *missing = NULL;

    if (!library) {
        log_debug("inference: %s", dlerror());
        return false;
    }
    /* dlsym gives functions as objects. */
#define OV(name, returns, takes)                \
    *(void **)&ov.name = dlsym(library, #name); \
    if (!ov.name)                               \
        missing = #name;
#include "openvino.def"
    *(void **)&ov.last_error = dlsym(library, "ov_get_last_err_msg");
    *(void **)&ov.export = dlsym(library, "ov_compiled_model_export_model");
    *(void **)&ov.import = dlsym(library, "ov_core_import_model");
    *(void **)&ov.property = dlsym(library, "ov_core_get_property");
    if (!ov.export || !ov.import || !ov.property)
        ov.export = NULL;
    if (missing) {
        log_warn("inference: %s has no %s: OpenVINO 2023.0 or newer is needed", path, missing);
        dlclose(library);
        return false;
    }
    snprintf(ov.runtime, sizeof(ov.runtime), "OpenVINO");
    if (!ov.ov_get_openvino_version(&version)) {
        snprintf(ov.runtime, sizeof(ov.runtime), "OpenVINO %.50s", version.build);
        ov.ov_version_free(&version);
    }
    log_info("inference: %s from %s", ov.runtime, path);
    return true;
}

static bool openvino_probe(void)
{
    static const char *const patterns[] = {
        "/usr/lib/*/libopenvino_c.so*",
        "/usr/lib64/libopenvino_c.so*",
        "/usr/local/lib/libopenvino_c.so*",
        "/opt/intel/openvino*/runtime/lib/*/libopenvino_c.so*",
    };
    const char *named = getenv("VIADUCT_OPENVINO");
    bool found = false;

    if (named && *named)
        return strcmp(named, "none") && open_library(named);
    found = open_library("libopenvino_c.so");
    for (size_t i = 0; !found && i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        glob_t paths;

        if (glob(patterns[i], 0, NULL, &paths))
            continue;
        /* The newest first, as far as names tell. */
        for (size_t j = paths.gl_pathc; !found && j--;)
            found = open_library(paths.gl_pathv[j]);
        globfree(&paths);
    }
    return found;
}

/* Its plugins are libraries that are loaded late, and open devices. */
static bool openvino_wants_devices(void)
{
    return true;
}

static size_t bytes_of_eight(int number)
{
    int64_t eight = 8;
    struct ov_tensor *tensor = NULL;
    size_t size = 0;

    if (ov.ov_tensor_create(number, (struct ov_shape){1, &eight}, &tensor))
        return 0;
    if (ov.ov_tensor_get_byte_size(tensor, &size))
        size = 0;
    ov.ov_tensor_free(tensor);
    return size;
}

static const struct ov_numbers *find_numbers(void)
{
    for (size_t i = 0; i < sizeof(ov_numberings) / sizeof(ov_numberings[0]); i++) {
        const struct ov_numbers *n = &ov_numberings[i];

        if (bytes_of_eight((int)n->probe) == n->bytes && bytes_of_eight((int)n->f32) == 32 &&
            bytes_of_eight((int)n->u8) == 8 && bytes_of_eight((int)n->u64) == 64)
            return n;
    }
    return NULL;
}

/* NPU is openvino-npu, GPU.1 openvino-gpu.1, the processor openvino. */
static void add_place(const char *device)
{
    struct ov_place *place = &ov.places[ov.place_count];
    size_t length;

    if (ov.place_count == OV_DEVICES || strlen(device) >= sizeof(place->device))
        return;
    snprintf(place->device, sizeof(place->device), "%s", device);
    place->kind = !strncmp(device, "NPU", 3)   ? VD_NPU_KIND_NPU
                  : !strncmp(device, "GPU", 3) ? VD_NPU_KIND_GPU
                                               : VD_NPU_KIND_CPU;
    snprintf(place->name, sizeof(place->name), "%s", OV_PREFIX);
    if (strcmp(device, "CPU")) {
        length = strlen(place->name);
        snprintf(place->name + length, sizeof(place->name) - length, "-%.20s", device);
        for (char *at = place->name + length; *at; at++)
            *at = (char)tolower((unsigned char)*at);
    }
    ov.place_count++;
}

static void start(void)
{
    struct ov_devices devices = {NULL, 0};
    char error[256];

    if (result(ov.ov_core_create(&ov.core), error, sizeof(error)) ||
        result(ov.ov_core_get_available_devices(ov.core, &devices), error, sizeof(error))) {
        log_warn("inference: %s", error);
        return;
    }
    ov.numbers = find_numbers();
    if (ov.numbers) {
        for (size_t i = 0; i < devices.count; i++)
            add_place(devices.names[i]);
    } else {
        log_warn("inference: %s numbers its element types in a way that is not known", ov.runtime);
    }
    ov.ov_available_devices_free(&devices);
}

static uint32_t openvino_devices(struct vd_npu_device *ret_devices, uint32_t room)
{
    uint32_t count = 0;

    pthread_once(&started, start);
    for (size_t i = 0; i < ov.place_count && count < room; i++) {
        struct vd_npu_device *to = &ret_devices[count++];

        to->kind = ov.places[i].kind;
        memcpy(to->name, ov.places[i].name, sizeof(to->name));
        memcpy(to->runtime, ov.runtime, sizeof(to->runtime));
    }
    return count;
}

/* The NPU's compiler wants all shapes; plug-ins for others take what comes. */
static bool openvino_wants_shapes(const char *device)
{
    return !strncmp(device, OV_PREFIX "-npu", strlen(OV_PREFIX "-npu"));
}

static void openvino_destroy(void *model)
{
    struct openvino *m = model;

    if (!m)
        return;
    if (m->compiled)
        ov.ov_compiled_model_free(m->compiled);
    outline_finish(&m->outline);
    free(m);
}

/* What the ONNX model says of itself. */
static int outline(struct openvino *m, const struct provider_load *load, char *error,
                   size_t error_size)
{
    struct outline *o = &m->outline;
    int err = outline_init(o, load->bytes, load->size, error, error_size);

    for (size_t i = 0; !err && i < o->input_count + o->output_count; i++) {
        const struct onnx_io *row = &o->rows[i];

        if (row->kind != ONNX_TENSOR || row->optional || row->dtype == ONNX_STRING) {
            snprintf(error, error_size, "OpenVINO takes tensors of numbers only, and %s is none",
                     row->name);
            err = VD_ERR_UNSUPPORTED;
        }
    }
    return err;
}

/* All that a compiled model depends on. */
static void name_compiled(const struct provider_load *load, const char *device,
                          struct cache_key *ret_key)
{
    static const char *const properties[] = {"FULL_DEVICE_NAME", "NPU_DRIVER_VERSION"};
    char values[2][128] = {"", ""}, threads[16];
    const char *const parts[] = {"openvino", ov.runtime, device, values[0],
                                 values[1],  threads,    NULL};

    for (size_t i = 0; i < 2; i++) {
        char *value = NULL;

        /* A device need not have it. */
        if (!ov.property(ov.core, device, properties[i], &value) && value) {
            snprintf(values[i], sizeof(values[i]), "%s", value);
            ov.ov_free(value);
        }
    }
    snprintf(threads, sizeof(threads), "%u", load->threads);
    cache_key_of(load->hash, parts, ret_key);
}

/* Takes what was compiled before. */
static bool find_compiled(struct openvino *m, const struct cache_key *key, const char *device)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    char error[256];
    int err;

    if (!cache_find(key, &bytes, &size))
        return false;
    err = result(ov.import(ov.core, (const char *)bytes, size, device, &m->compiled), error,
                 sizeof(error));
    if (err)
        log_warn("inference: %s does not take what it had compiled: %s", device, error);
    free(bytes);
    return !err;
}

static void keep_compiled(const struct openvino *m, const struct cache_key *key)
{
    char path[PATH_MAX], error[256];

    if (!cache_place(key, path, sizeof(path)))
        return;
    if (result(ov.export(m->compiled, path), error, sizeof(error)))
        log_debug("inference: a compiled model is not kept: %s", error);
    else
        cache_done(key);
}

static int compile(struct openvino *m, const struct provider_load *load, const char *device,
                   char *error, size_t error_size)
{
    struct ov_model *read = NULL;
    struct cache_key key;
    char threads[16];
    int err;

    if (ov.export) {
        name_compiled(load, device, &key);
        if (find_compiled(m, &key, device))
            return 0;
    }
    err = result(
        ov.ov_core_read_model_from_memory_buffer(ov.core, load->bytes, load->size, NULL, &read),
        error, error_size);

    snprintf(threads, sizeof(threads), "%u", load->threads);
    /* Threads of a run are the processor's matter. */
    if (!err && load->threads && !strcmp(device, "CPU"))
        err = result(ov.ov_core_compile_model(ov.core, read, device, 4, &m->compiled,
                                              "INFERENCE_NUM_THREADS", threads, "PERFORMANCE_HINT",
                                              "LATENCY"),
                     error, error_size);
    else if (!err)
        err = result(ov.ov_core_compile_model(ov.core, read, device, 2, &m->compiled,
                                              "PERFORMANCE_HINT", "LATENCY"),
                     error, error_size);
    if (!err && ov.export)
        keep_compiled(m, &key);
    if (read)
        ov.ov_model_free(read);
    return err;
}

static int openvino_load(const struct provider_load *load, void **ret_model, char *error,
                         size_t error_size)
{
    struct openvino *m = NULL;
    const struct ov_place *place = NULL;
    size_t nodes;
    int err;

    pthread_once(&started, start);
    for (size_t i = 0; i < ov.place_count; i++) {
        if (!strcmp(ov.places[i].name, load->device))
            place = &ov.places[i];
    }
    if (!place) {
        snprintf(error, error_size, "this host has no such device");
        return VD_ERR_UNSUPPORTED;
    }
    m = calloc(1, sizeof(*m));
    if (!m) {
        snprintf(error, error_size, "out of memory");
        return VD_ERR_MEMORY;
    }
    err = outline(m, load, error, error_size);
    if (!err)
        err = compile(m, load, place->device, error, error_size);
    if (err) {
        openvino_destroy(m);
        return err;
    }
    /* A device takes a model whole, or refuses it. */
    nodes = onnx_model_metadata(m->outline.model)->node_count;
    snprintf(m->placement, sizeof(m->placement), "%s %zu node%s", place->name, nodes,
             nodes == 1 ? "" : "s");
    *ret_model = m;
    return 0;
}

static void openvino_describe(void *model, struct provider_description *ret)
{
    struct openvino *m = model;

    outline_describe(&m->outline, m->placement, ret);
}

static void forget(struct openvino_run *r)
{
    for (size_t i = 0; i < r->held_count; i++)
        ov.ov_tensor_free(r->held[i]);
    r->held_count = 0;
}

static void openvino_close(void *run)
{
    struct openvino_run *r = run;

    if (!r)
        return;
    forget(r);
    if (r->request)
        ov.ov_infer_request_free(r->request);
    free(r->held);
    free(r);
}

static int openvino_open(void *model, void **ret_run, char *error, size_t error_size)
{
    const struct openvino *m = model;
    struct openvino_run *r = calloc(1, sizeof(*r));
    int err = VD_ERR_MEMORY;

    snprintf(error, error_size, "out of memory");
    if (r) {
        r->model = m;
        r->held = calloc(m->outline.output_count + 1, sizeof(struct ov_tensor *));
    }
    if (r && r->held)
        err = result(ov.ov_compiled_model_create_infer_request(m->compiled, &r->request), error,
                     error_size);
    if (err)
        openvino_close(r);
    else
        *ret_run = r;
    return err;
}

static int give(struct openvino_run *r, const struct onnx_io *io, const struct onnx_value *value,
                char *error, size_t error_size)
{
    int64_t dims[ONNX_MAX_RANK];
    struct ov_tensor *tensor = NULL;
    int err;

    memcpy(dims, value->dims, sizeof(dims));
    err = result(ov.ov_tensor_create_from_host_ptr(number_of(value->dtype),
                                                   (struct ov_shape){value->rank, dims},
                                                   value->data, &tensor),
                 error, error_size);
    if (!err)
        err =
            result(ov.ov_infer_request_set_tensor(r->request, io->name, tensor), error, error_size);
    if (tensor)
        ov.ov_tensor_free(tensor);
    return err;
}

static int take(struct openvino_run *r, const struct onnx_io *io, struct onnx_value *ret,
                char *error, size_t error_size)
{
    struct onnx_value value = {.kind = ONNX_TENSOR};
    struct ov_shape shape = {0, NULL};
    struct ov_tensor *tensor = NULL;
    int number = 0;
    int err =
        result(ov.ov_infer_request_get_tensor(r->request, io->name, &tensor), error, error_size);

    if (err)
        return err;
    r->held[r->held_count++] = tensor;
    err = result(ov.ov_tensor_get_element_type(tensor, &number), error, error_size);
    if (!err)
        err = result(ov.ov_tensor_get_shape(tensor, &shape), error, error_size);
    if (!err)
        err = result(ov.ov_tensor_get_byte_size(tensor, &value.size), error, error_size);
    if (!err)
        err = result(ov.ov_tensor_data(tensor, &value.data), error, error_size);
    value.dtype = dtype_of(number);
    if (!err && (shape.rank < 0 || shape.rank > ONNX_MAX_RANK || value.dtype == ONNX_UNKNOWN)) {
        snprintf(error, error_size, "output %s has a type or a shape that is not carried",
                 io->name);
        err = VD_ERR_UNSUPPORTED;
    }
    if (!err) {
        value.rank = (int)shape.rank;
        for (int i = 0; i < value.rank; i++)
            value.dims[i] = shape.dims[i];
        /* Where there is room of the caller's, the caller copies. */
        *ret = value;
    }
    if (shape.dims)
        ov.ov_shape_free(&shape);
    return err;
}

/* A cancel does nothing to a request that has not started: it is said again. */
static int infer(struct openvino_run *r, char *error, size_t error_size)
{
    int status = ov.ov_infer_request_start_async(r->request);

    if (status)
        return result(status, error, error_size);
    do {
        if (atomic_load(&r->cancelled))
            ov.ov_infer_request_cancel(r->request);
        status = ov.ov_infer_request_wait_for(r->request, OV_LOOK_MS);
    } while (status == OV_NOT_READY);
    return result(status, error, error_size);
}

static int openvino_execute(void *opened, struct provider_run *run)
{
    struct openvino_run *r = opened;
    const struct outline *o = &r->model->outline;
    int err = 0;

    forget(r);
    for (uint32_t i = 0; i < run->input_count && !err; i++)
        err = give(r, &o->rows[run->input_index[i]], &run->inputs[i], run->error, run->error_size);
    if (!err)
        err = infer(r, run->error, run->error_size);
    if (!err && run->output_count > o->output_count) {
        snprintf(run->error, run->error_size, "the model has %zu outputs, not %u", o->output_count,
                 run->output_count);
        err = VD_ERR_PARAMETER;
    }
    for (uint32_t i = 0; i < run->output_count && !err; i++)
        err = take(r, &o->rows[o->input_count + run->output_index[i]], &run->outputs[i], run->error,
                   run->error_size);
    return err;
}

static void openvino_cancel(void *run)
{
    struct openvino_run *r = run;
    char error[128];

    atomic_store(&r->cancelled, true);
    if (result(ov.ov_infer_request_cancel(r->request), error, sizeof(error)))
        log_debug("a run is not ended yet: %s", error);
}

static void openvino_resume(void *run)
{
    struct openvino_run *r = run;

    atomic_store(&r->cancelled, false);
}

const struct provider provider_openvino = {
    .name = OV_PREFIX,
    .probe = openvino_probe,
    .wants_devices = openvino_wants_devices,
    .devices = openvino_devices,
    .wants_shapes = openvino_wants_shapes,
    .load = openvino_load,
    .describe = openvino_describe,
    .destroy = openvino_destroy,
    .open = openvino_open,
    .run = openvino_execute,
    .cancel = openvino_cancel,
    .resume = openvino_resume,
    .close = openvino_close,
};
