/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <viaduct/errors.h>

#include "compute/npu/interp/onnx.h"

/*
 * OpenVINO's C API as far as the host calls it, over the interpreter: what the provider is tested
 * with where OpenVINO is not to be had. FAKE_OPENVINO_NUMBERS = 2023, 2024 (default) or 2025: whose
 * element types it has. A model whose graph is called "endless" runs until it is cancelled; one
 * called "refused" is not compiled for the NPU, which wants all dimensions of inputs, too. What is
 * exported is the model behind a mark.
 */

#define EXPORT __attribute__((visibility("default")))

enum { OK = 0, GENERAL_ERROR = -1, NOT_FOUND = -5, NOT_READY = -9, CANCELLED = -13 };

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

struct ov_core {
    int unused;
};

struct ov_model {
    struct onnx_model *model;
    char *bytes;
    size_t size;
};

struct ov_compiled {
    struct onnx_model *model;
    char *bytes;
    size_t size;
};

static const char export_mark[8] = "BLOB";

struct ov_tensor {
    int type;
    struct onnx_value value;
    void *own;
};

struct ov_request {
    const struct onnx_model *model;
    struct onnx_run *run;
    struct onnx_value *inputs;
    const char **names;
    size_t input_count;
    struct onnx_value *outputs;
    pthread_t thread;
    pthread_mutex_t lock;
    bool running, done, endless, cancelled;
    int status;
};

static _Thread_local char last_error[256];

static const uint8_t *numbers(void)
{
    /* By dtype. */
    static const uint8_t of[][ONNX_DTYPES] = {
        {0, 5, 14, 8, 15, 9, 10, 11, 0, 2, 4, 6, 16, 17, 0, 0, 3},
        {0, 5, 17, 8, 18, 9, 10, 11, 24, 2, 4, 6, 19, 20, 0, 0, 3},
        {0, 4, 16, 7, 17, 8, 9, 10, 23, 1, 3, 5, 18, 19, 0, 0, 2},
    };
    const char *version = getenv("FAKE_OPENVINO_NUMBERS");

    return of[version && !strcmp(version, "2023")   ? 0
              : version && !strcmp(version, "2025") ? 2
                                                    : 1];
}

/* Bits of an element, also of those that ONNX has not. */
static size_t bits_of(int type)
{
    static const uint8_t bits[ONNX_DTYPES] = {0, 32, 8,  8,  16, 16, 32, 64, 0,
                                              8, 16, 64, 32, 64, 0,  0,  16};
    /* I4, then U1 to U4 or U6: where no ONNX type is. */
    static const uint8_t of_2023[] = {[7] = 4, [12] = 1, [13] = 4};
    static const uint8_t of_2024[] = {[7] = 4, [12] = 1, [13] = 2, [14] = 3, [15] = 4, [16] = 6};
    const uint8_t *at = numbers();
    bool old = at[ONNX_U8] == 14, newest = at[ONNX_U8] == 16;
    int place = newest ? type + 1 : type;

    for (int dtype = 1; dtype < ONNX_DTYPES; dtype++) {
        if (at[dtype] == type && bits[dtype])
            return bits[dtype];
    }
    if (old)
        return place >= 0 && place < 14 ? of_2023[place] : 0;
    return place >= 0 && place < 17 ? of_2024[place] : 0;
}

static enum onnx_dtype dtype_of(int type)
{
    for (int dtype = 1; dtype < ONNX_DTYPES; dtype++) {
        if (type && numbers()[dtype] == type)
            return dtype;
    }
    return ONNX_UNKNOWN;
}

static int fail(int status, const char *text)
{
    snprintf(last_error, sizeof(last_error), "%s", text);
    return status;
}

EXPORT const char *ov_get_last_err_msg(void);
EXPORT const char *ov_get_last_err_msg(void)
{
    return last_error;
}

/* The rest is declared as the provider sees it. */
#define OV(name, returns, takes) EXPORT returns name takes;
#include "compute/npu/host/openvino.def"

int ov_get_openvino_version(struct ov_version *version)
{
    *version = (struct ov_version){"2024.0.0-a test's", "OpenVINO Runtime"};
    return OK;
}

void ov_version_free(struct ov_version *version)
{
    memset(version, 0, sizeof(*version));
}

const char *ov_get_error_info(int status)
{
    return status == GENERAL_ERROR ? "general error" : "another error";
}

void ov_free(const char *content)
{
    free((void *)(uintptr_t)content);
}

int ov_core_create(struct ov_core **core)
{
    *core = calloc(1, sizeof(**core));
    return *core ? OK : GENERAL_ERROR;
}

void ov_core_free(struct ov_core *core)
{
    free(core);
}

int ov_core_get_available_devices(const struct ov_core *core, struct ov_devices *devices)
{
    static const char *const names[] = {"CPU", "GPU.1", "NPU"};

    (void)core;
    devices->names = calloc(3, sizeof(char *));
    for (size_t i = 0; devices->names && i < 3; i++)
        devices->names[i] = strdup(names[i]);
    devices->count = 3;
    return devices->names ? OK : GENERAL_ERROR;
}

void ov_available_devices_free(struct ov_devices *devices)
{
    for (size_t i = 0; i < devices->count; i++)
        free(devices->names[i]);
    free(devices->names);
}

int ov_core_read_model_from_memory_buffer(const struct ov_core *core, const char *model,
                                          size_t size, const struct ov_tensor *weights,
                                          struct ov_model **out)
{
    struct ov_model *m = calloc(1, sizeof(*m));

    (void)core;
    if (!m || weights ||
        onnx_model_create(model, size, NULL, &m->model, last_error, sizeof(last_error))) {
        free(m);
        return GENERAL_ERROR;
    }
    m->bytes = malloc(size);
    m->size = m->bytes ? size : 0;
    if (m->bytes)
        memcpy(m->bytes, model, size);
    *out = m;
    return OK;
}

void ov_model_free(struct ov_model *model)
{
    if (!model)
        return;
    onnx_model_destroy(model->model);
    free(model->bytes);
    free(model);
}

EXPORT int openvino_fake_compiled;
int openvino_fake_compiled;

static bool has_shapes(const struct onnx_model *model)
{
    bool all = true;

    for (size_t i = 0; i < onnx_model_input_count(model); i++)
        for (int j = 0; j < onnx_model_input(model, i)->rank; j++)
            all = all && onnx_model_input(model, i)->dims[j] >= 0;
    return all;
}

int ov_core_compile_model(const struct ov_core *core, const struct ov_model *model,
                          const char *device, size_t property_args, struct ov_compiled **out, ...)
{
    struct ov_compiled *compiled;
    va_list properties;
    bool hinted = false;

    (void)core;
    va_start(properties, out);
    for (size_t i = 0; i < property_args / 2; i++) {
        const char *key = va_arg(properties, const char *);
        const char *value = va_arg(properties, const char *);

        hinted = hinted || (!strcmp(key, "PERFORMANCE_HINT") && !strcmp(value, "LATENCY"));
    }
    va_end(properties);
    if (property_args % 2 || !hinted)
        return fail(GENERAL_ERROR, "the hint is missing");
    if (!strcmp(device, "NPU") && !strcmp(onnx_model_metadata(model->model)->graph, "refused"))
        return fail(GENERAL_ERROR, "the NPU does not take it");
    if (!strcmp(device, "NPU") && !has_shapes(model->model))
        return fail(GENERAL_ERROR, "the NPU wants all dimensions");
    compiled = calloc(1, sizeof(*compiled));
    if (!compiled)
        return GENERAL_ERROR;
    /* Models are not shared here: the compiled one takes it. */
    *compiled = (struct ov_compiled){model->model, model->bytes, model->size};
    ((struct ov_model *)(uintptr_t)model)->model = NULL;
    ((struct ov_model *)(uintptr_t)model)->bytes = NULL;
    openvino_fake_compiled++;
    *out = compiled;
    return OK;
}

void ov_compiled_model_free(struct ov_compiled *model)
{
    onnx_model_destroy(model->model);
    free(model->bytes);
    free(model);
}

EXPORT int ov_compiled_model_export_model(const struct ov_compiled *model, const char *path);
int ov_compiled_model_export_model(const struct ov_compiled *model, const char *path)
{
    FILE *file = fopen(path, "wb");
    bool written = file && fwrite(export_mark, sizeof(export_mark), 1, file) == 1 &&
                   fwrite(model->bytes, 1, model->size, file) == model->size;

    if (file && fclose(file))
        written = false;
    return written ? OK : fail(GENERAL_ERROR, "the file is not written");
}

EXPORT int ov_core_import_model(const struct ov_core *core, const char *bytes, size_t size,
                                const char *device, struct ov_compiled **out);
int ov_core_import_model(const struct ov_core *core, const char *bytes, size_t size,
                         const char *device, struct ov_compiled **out)
{
    struct ov_compiled *compiled = calloc(1, sizeof(*compiled));

    (void)core, (void)device;
    if (!compiled || size < sizeof(export_mark) ||
        memcmp(bytes, export_mark, sizeof(export_mark)) ||
        onnx_model_create(bytes + sizeof(export_mark), size - sizeof(export_mark), NULL,
                          &compiled->model, last_error, sizeof(last_error))) {
        free(compiled);
        return fail(GENERAL_ERROR, "that was not exported here");
    }
    *out = compiled;
    return OK;
}

EXPORT int ov_core_get_property(const struct ov_core *core, const char *device, const char *key,
                                char **value);
int ov_core_get_property(const struct ov_core *core, const char *device, const char *key,
                         char **value)
{
    (void)core;
    if (strcmp(key, "FULL_DEVICE_NAME"))
        return NOT_FOUND;
    *value = strdup(device);
    return *value ? OK : GENERAL_ERROR;
}

int ov_compiled_model_create_infer_request(const struct ov_compiled *model, struct ov_request **out)
{
    struct ov_request *r = calloc(1, sizeof(*r));
    size_t inputs = onnx_model_input_count(model->model);
    size_t outputs = onnx_model_output_count(model->model);

    if (!r || onnx_run_create(model->model, &r->run)) {
        free(r);
        return GENERAL_ERROR;
    }
    r->model = model->model;
    r->inputs = calloc(inputs + 1, sizeof(*r->inputs));
    r->names = calloc(inputs + 1, sizeof(*r->names));
    r->outputs = calloc(outputs + 1, sizeof(*r->outputs));
    r->endless = !strcmp(onnx_model_metadata(model->model)->graph, "endless");
    pthread_mutex_init(&r->lock, NULL);
    *out = r;
    return OK;
}

void ov_infer_request_free(struct ov_request *r)
{
    if (r->running)
        pthread_join(r->thread, NULL);
    onnx_run_destroy(r->run);
    pthread_mutex_destroy(&r->lock);
    free(r->inputs);
    free(r->names);
    free(r->outputs);
    free(r);
}

int ov_infer_request_set_tensor(struct ov_request *r, const char *name,
                                const struct ov_tensor *tensor)
{
    size_t at = 0;

    for (size_t i = 0; i < onnx_model_input_count(r->model); i++) {
        const struct onnx_io *io = onnx_model_input(r->model, i);

        if (strcmp(io->name, name))
            continue;
        while (at < r->input_count && strcmp(r->names[at], name))
            at++;
        r->names[at] = io->name;
        r->inputs[at] = tensor->value;
        r->input_count += at == r->input_count;
        return OK;
    }
    return fail(NOT_FOUND, "there is no such input");
}

int ov_infer_request_get_tensor(const struct ov_request *r, const char *name,
                                struct ov_tensor **out)
{
    for (size_t i = 0; i < onnx_model_output_count(r->model); i++) {
        struct ov_tensor *tensor;

        if (strcmp(onnx_model_output(r->model, i)->name, name))
            continue;
        tensor = calloc(1, sizeof(*tensor));
        if (!tensor)
            return GENERAL_ERROR;
        tensor->value = r->outputs[i];
        tensor->type = numbers()[r->outputs[i].dtype];
        *out = tensor;
        return OK;
    }
    return fail(NOT_FOUND, "there is no such output");
}

static bool is_cancelled(struct ov_request *r)
{
    bool cancelled;

    pthread_mutex_lock(&r->lock);
    cancelled = r->cancelled;
    pthread_mutex_unlock(&r->lock);
    return cancelled;
}

static void *work(void *arg)
{
    struct ov_request *r = arg;
    int err = 0;

    if (r->endless) {
        while (!is_cancelled(r))
            nanosleep(&(struct timespec){0, 1000000}, NULL);
    } else {
        memset(r->outputs, 0, onnx_model_output_count(r->model) * sizeof(*r->outputs));
        err = onnx_run_execute(r->run, r->names, r->inputs, r->input_count, r->outputs,
                               onnx_model_output_count(r->model));
    }
    pthread_mutex_lock(&r->lock);
    r->status = r->cancelled ? CANCELLED : err ? GENERAL_ERROR : OK;
    r->done = true;
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

int ov_infer_request_start_async(struct ov_request *r)
{
    r->done = r->cancelled = false;
    r->running = !pthread_create(&r->thread, NULL, work, r);
    return r->running ? OK : GENERAL_ERROR;
}

int ov_infer_request_wait_for(struct ov_request *r, int64_t milliseconds)
{
    bool done = false;

    for (int64_t i = 0; i <= 10 * milliseconds && !done; i++) {
        pthread_mutex_lock(&r->lock);
        done = r->done;
        pthread_mutex_unlock(&r->lock);
        if (!done)
            nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    if (!done)
        return NOT_READY;
    pthread_join(r->thread, NULL);
    r->running = false;
    if (r->status == GENERAL_ERROR)
        return fail(r->status, onnx_run_error(r->run));
    return r->status;
}

int ov_infer_request_cancel(struct ov_request *r)
{
    pthread_mutex_lock(&r->lock);
    r->cancelled = r->running && !r->done;
    pthread_mutex_unlock(&r->lock);
    return OK;
}

static int create(int type, struct ov_shape shape, void *data, struct ov_tensor **out)
{
    struct ov_tensor *tensor;
    size_t count = 1;

    if (!bits_of(type) || shape.rank < 0 || shape.rank > ONNX_MAX_RANK)
        return fail(GENERAL_ERROR, "no such tensor");
    tensor = calloc(1, sizeof(*tensor));
    if (!tensor)
        return GENERAL_ERROR;
    tensor->type = type;
    tensor->value.kind = ONNX_TENSOR;
    tensor->value.dtype = dtype_of(type);
    tensor->value.rank = (int)shape.rank;
    for (int64_t i = 0; i < shape.rank; i++) {
        tensor->value.dims[i] = shape.dims[i];
        count *= (size_t)shape.dims[i];
    }
    tensor->value.size = (count * bits_of(type) + 7) / 8;
    tensor->own = data ? NULL : calloc(1, tensor->value.size + 1);
    tensor->value.data = data ? data : tensor->own;
    *out = tensor;
    return OK;
}

int ov_tensor_create(int type, struct ov_shape shape, struct ov_tensor **out)
{
    return create(type, shape, NULL, out);
}

int ov_tensor_create_from_host_ptr(int type, struct ov_shape shape, void *data,
                                   struct ov_tensor **out)
{
    return create(type, shape, data, out);
}

void ov_tensor_free(struct ov_tensor *tensor)
{
    free(tensor->own);
    free(tensor);
}

int ov_tensor_get_shape(const struct ov_tensor *tensor, struct ov_shape *out)
{
    out->rank = tensor->value.rank;
    out->dims = calloc(ONNX_MAX_RANK, sizeof(*out->dims));
    if (!out->dims)
        return GENERAL_ERROR;
    memcpy(out->dims, tensor->value.dims, sizeof(tensor->value.dims));
    return OK;
}

int ov_shape_free(struct ov_shape *shape)
{
    free(shape->dims);
    shape->dims = NULL;
    return OK;
}

int ov_tensor_get_element_type(const struct ov_tensor *tensor, int *out)
{
    *out = tensor->type;
    return OK;
}

int ov_tensor_get_byte_size(const struct ov_tensor *tensor, size_t *out)
{
    *out = tensor->value.size;
    return OK;
}

int ov_tensor_data(const struct ov_tensor *tensor, void **out)
{
    *out = tensor->value.data;
    return OK;
}
