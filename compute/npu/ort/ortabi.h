/* SPDX-License-Identifier: MIT */
#ifndef ORT_ABI_H
#define ORT_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The binary interface of ONNX Runtime as programs and libraries see it: what libonnxruntime.so.1
 * here serves, and what the host calls in the real one. Facts from the documentation of its C API
 * (API version 29); enums are ints.
 */

#define ORT_ABI_VERSION 29u

enum ort_code {
    ORT_OK,
    ORT_FAIL,
    ORT_INVALID_ARGUMENT,
    ORT_NO_SUCHFILE,
    ORT_NO_MODEL,
    ORT_ENGINE_ERROR,
    ORT_RUNTIME_EXCEPTION,
    ORT_INVALID_PROTOBUF,
    ORT_MODEL_LOADED,
    ORT_NOT_IMPLEMENTED,
    ORT_INVALID_GRAPH,
    ORT_EP_FAIL,
    ORT_LOAD_CANCELED,
};

/* ONNXType */
enum ort_type {
    ORT_TYPE_UNKNOWN,
    ORT_TYPE_TENSOR,
    ORT_TYPE_SEQUENCE,
    ORT_TYPE_MAP,
    ORT_TYPE_OPAQUE,
    ORT_TYPE_SPARSE,
    ORT_TYPE_OPTIONAL,
};

/* OrtAllocatorType, OrtMemType, OrtLoggingLevel: those that are named here. */
#define ORT_DEVICE_ALLOCATOR 0
#define ORT_MEM_DEFAULT      0
#define ORT_LOG_ERROR        3
#define ORT_LOG_FATAL        4

struct ort_status;
struct ort_value;
struct ort_key_value_pairs;
struct ort_memory_info;
struct ort_session;

typedef void (*ort_log_fn)(void *param, int severity, const char *category, const char *logid,
                           const char *location, const char *message);
typedef void (*ort_async_fn)(void *user_data, struct ort_value **outputs, size_t count,
                             struct ort_status *status);

/* Programs bring their own, too: fields behind `info` are there from API 18 on. */
struct ort_allocator {
    uint32_t version;
    void *(*alloc)(struct ort_allocator *self, size_t size);
    void (*free)(struct ort_allocator *self, void *memory);
    const struct ort_memory_info *(*info)(const struct ort_allocator *self);
    void *(*reserve)(struct ort_allocator *self, size_t size);
    struct ort_status *(*stats)(const struct ort_allocator *self, struct ort_key_value_pairs **out);
    void *(*alloc_on_stream)(struct ort_allocator *self, size_t size, void *stream);
    struct ort_status *(*shrink)(struct ort_allocator *self);
};

/* Opaque to who only calls. */
struct ort_arena_cfg;
struct ort_cuda_provider_options;
struct ort_cuda_provider_options_v2;
struct ort_env;
struct ort_env_creation_options;
struct ort_ep_device;
struct ort_hardware_device;
struct ort_io_binding;
struct ort_map_type_info;
struct ort_migraphx_provider_options;
struct ort_model_metadata;
struct ort_open_vino_provider_options;
struct ort_optional_type_info;
struct ort_prepacked_weights;
struct ort_rocm_provider_options;
struct ort_run_options;
struct ort_sequence_type_info;
struct ort_session_options;
struct ort_sync_stream;
struct ort_tensor_rt_provider_options;
struct ort_tensor_rt_provider_options_v2;
struct ort_tensor_type_and_shape_info;
struct ort_threading_options;
struct ort_type_info;

struct ort_api {
#define ORT_SLOT(number, since, name, ret, args) ret(*name) args;
#define ORT_NONE(number, since, name)            struct ort_status *(*name)(void);
#define ORT_VOID(number, since, name)            void (*name)(void *);
#define ORT_ZERO(number, since, name)            void *(*name)(void);
#include "ortapi.def"
};

struct ort_api_base {
    const struct ort_api *(*get_api)(uint32_t version);
    const char *(*get_version_string)(void);
};

#endif
