/* SPDX-License-Identifier: MIT */
#ifndef EP_ABI_H
#define EP_ABI_H

#include "compute/npu/ort/ortabi.h"

/*
 * The binary interface between ONNX Runtime and a plug-in execution provider, as of API 23: what a
 * library exports, and the tables that go either way. Facts from the documentation of its C API;
 * structs only ever grow at their end, and `version` says how far one goes.
 */

#define EP_ABI_VERSION 23u
/* The API that lets providers make devices of their own. */
#define EP_ABI_VIRTUAL 24u

enum ep_hardware {
    EP_HARDWARE_CPU,
    EP_HARDWARE_GPU,
    EP_HARDWARE_NPU,
};

enum ep_attribute {
    EP_ATTRIBUTE_UNDEFINED,
    EP_ATTRIBUTE_INT,
    EP_ATTRIBUTE_INTS,
    EP_ATTRIBUTE_FLOAT,
    EP_ATTRIBUTE_FLOATS,
    EP_ATTRIBUTE_STRING,
    EP_ATTRIBUTE_STRINGS, /* each with a NUL behind it */
    EP_ATTRIBUTE_GRAPH,
    EP_ATTRIBUTE_TENSOR,
};

/* OrtLoggingLevel */
enum ep_severity { EP_LOG_VERBOSE, EP_LOG_INFO, EP_LOG_WARNING, EP_LOG_ERROR };

struct ort_graph;
struct ort_kernel_context;
struct ort_logger;
struct ort_node;
struct ort_op_attr;
struct ort_support_info;
struct ort_value_info;

struct ort_fusion_options {
    uint32_t version;
    bool drop_constant_initializers;
};

/* One fused node that runs. */
struct ort_compute_info {
    uint32_t version;
    struct ort_status *(*create_state)(struct ort_compute_info *self, void *context,
                                       void **ret_state);
    struct ort_status *(*compute)(struct ort_compute_info *self, void *state,
                                  struct ort_kernel_context *context);
    void (*release_state)(struct ort_compute_info *self, void *state);
};

/* A provider in a session. Slots that are NULL are not there. */
struct ort_ep {
    uint32_t version;
    const char *(*get_name)(const struct ort_ep *self);
    struct ort_status *(*get_capability)(struct ort_ep *self, const struct ort_graph *graph,
                                         struct ort_support_info *info);
    struct ort_status *(*compile)(struct ort_ep *self, const struct ort_graph **graphs,
                                  const struct ort_node **fused, size_t count,
                                  struct ort_compute_info **ret_infos,
                                  struct ort_node **ret_context_nodes);
    void (*release_compute_infos)(struct ort_ep *self, struct ort_compute_info **infos,
                                  size_t count);
    void *get_preferred_data_layout, *should_convert_data_layout, *set_dynamic_options;
    void *on_run_start, *on_run_end;
    void *create_allocator, *create_sync_stream, *get_compatibility_info;
};

struct ort_ep_factory {
    uint32_t version;
    const char *(*get_name)(const struct ort_ep_factory *self);
    const char *(*get_vendor)(const struct ort_ep_factory *self);
    struct ort_status *(*get_devices)(struct ort_ep_factory *self,
                                      const struct ort_hardware_device *const *hardware,
                                      size_t hardware_count, struct ort_ep_device **ret_devices,
                                      size_t room, size_t *ret_count);
    struct ort_status *(*create_ep)(struct ort_ep_factory *self,
                                    const struct ort_hardware_device *const *hardware,
                                    const struct ort_key_value_pairs *const *metadata, size_t count,
                                    const struct ort_session_options *options,
                                    const struct ort_logger *logger, struct ort_ep **ret_ep);
    void (*release_ep)(struct ort_ep_factory *self, struct ort_ep *ep);
    uint32_t (*get_vendor_id)(const struct ort_ep_factory *self);
    const char *(*get_version)(const struct ort_ep_factory *self);
    struct ort_status *(*validate_compatibility)(struct ort_ep_factory *self,
                                                 const struct ort_hardware_device *const *hardware,
                                                 size_t count, const char *text, int *ret_value);
    struct ort_status *(*create_allocator)(struct ort_ep_factory *self,
                                           const struct ort_memory_info *memory,
                                           const struct ort_key_value_pairs *options,
                                           struct ort_allocator **ret_allocator);
    void (*release_allocator)(struct ort_ep_factory *self, struct ort_allocator *allocator);
    struct ort_status *(*create_data_transfer)(struct ort_ep_factory *self, void **ret_transfer);
    bool (*is_stream_aware)(const struct ort_ep_factory *self);
    void *create_sync_stream;
};

/* OrtEpApi, by its slots: those that are called. */
struct ort_ep_api {
    struct ort_status *(*create_ep_device)(struct ort_ep_factory *factory,
                                           const struct ort_hardware_device *hardware,
                                           const struct ort_key_value_pairs *metadata,
                                           const struct ort_key_value_pairs *options,
                                           struct ort_ep_device **ret_device);
    void (*release_ep_device)(struct ort_ep_device *device);
    struct ort_status *(*add_nodes_to_fuse)(struct ort_support_info *info,
                                            const struct ort_node *const *nodes, size_t count,
                                            const struct ort_fusion_options *options);
    void *slots_3_to_15[13];
    /* From EP_ABI_VIRTUAL on. */
    struct ort_status *(*create_hardware_device)(int type, uint32_t vendor, uint32_t device,
                                                 const char *vendor_name,
                                                 const struct ort_key_value_pairs *metadata,
                                                 struct ort_hardware_device **ret_device);
    void (*release_hardware_device)(struct ort_hardware_device *device);
    void *slots_18_to_48[31];
    struct ort_status *(*get_env_config)(struct ort_key_value_pairs **ret_entries);
};

_Static_assert(offsetof(struct ort_ep_api, create_hardware_device) == 16 * sizeof(void *), "");
_Static_assert(offsetof(struct ort_ep_api, get_env_config) == 49 * sizeof(void *), "");

/* What the library exports. */
__attribute__((visibility("default"))) struct ort_status *
CreateEpFactories(const char *name, const struct ort_api_base *base,
                  const struct ort_logger *logger, struct ort_ep_factory **factories, size_t room,
                  size_t *ret_count);
__attribute__((visibility("default"))) struct ort_status *
ReleaseEpFactory(struct ort_ep_factory *factory);

#endif
