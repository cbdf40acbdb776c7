/* SPDX-License-Identifier: MIT */
#ifndef NPU_PROVIDER_H
#define NPU_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viaduct/protocol.h>
#include <wire/sha256.h>

#include "compute/npu/interp/onnx.h"

/*
 * What runs models on the host. The vocabulary of values is the interpreter's (onnx.h): its kinds
 * and types have the wire's numbers.
 *
 * Errors are VD_ERR_* codes with a sentence. Neither models nor tensors are trusted, but their
 * sizes and dimensions agree when they come here.
 */

/* kind of an input or output that no run can carry. */
#define PROVIDER_OTHER ((enum onnx_kind)VD_NPU_OTHER)

struct provider_load {
    const void *bytes; /* not needed afterwards */
    size_t size;
    uint8_t hash[SHA256_BYTES]; /* that names these bytes and no others */
    const char *device;         /* as npu_device.name, one of this provider's */
    uint32_t threads;           /* 0: one */
    bool alone;                 /* nodes that the device does not take are an error */
};

/* Belongs to the model. */
struct provider_description {
    const struct onnx_io *inputs, *outputs;
    size_t input_count, output_count;
    struct onnx_metadata metadata;
    const char *placement; /* as npu_info.placement; NULL: unknown */
};

struct provider_run {
    const struct onnx_value *inputs;
    const uint32_t *input_index; /* of the model's inputs */
    uint32_t input_count;
    /*
     * Wanted ones. Where `data` is set it has `size` bytes for a tensor of numbers, which a
     * provider may use; `data` then stays. Else it is the provider's until the next run.
     */
    struct onnx_value *outputs;
    const uint32_t *output_index;
    uint32_t output_count;
    char *error;
    size_t error_size;
};

struct provider {
    const char *name;
    /*
     * Whether it works here. Called once, in the nursery: what needs files happens here. A fork
     * follows, so it leaves no thread behind.
     */
    bool (*probe)(void);
    /* Whether it has a device that wants files and ioctls in the sandbox. NULL: it has none. */
    bool (*wants_devices)(void);
    /* Its devices; returns how many. In a worker: drivers may start here. */
    uint32_t (*devices)(struct vd_npu_device *ret_devices, uint32_t room);
    /*
     * Whether this device makes a model for shapes that are known beforehand, and no others:
     * models that leave some open are loaded for each set of shapes (special.h). NULL: none does.
     */
    bool (*wants_shapes)(const char *device);
    /*
     * A model: never changes afterwards, and any thread may use it. What it is run with belongs to
     * a run, of which there may be many.
     */
    int (*load)(const struct provider_load *load, void **ret_model, char *error, size_t error_size);
    void (*describe)(void *model, struct provider_description *ret_description);
    /* Its runs are closed. */
    void (*destroy)(void *model);
    /* One inference at a time, one thread. 0 or an error with a sentence. */
    int (*open)(void *model, void **ret_run, char *error, size_t error_size);
    int (*run)(void *run, struct provider_run *call);
    /* Any thread, while it runs: it ends soon. */
    void (*cancel)(void *run);
    /* After a cancel, with nothing running: the next one is not cancelled. */
    void (*resume)(void *run);
    void (*close)(void *run);
};

extern const struct provider provider_builtin, provider_openvino, provider_ort;

/* All that were found, best first; probes them when called first. Any thread, as all below. */
const struct provider *const *provider_list(void);
/* In the nursery: probes them. Whether one wants devices in the sandbox. */
bool provider_prepare(void);
/* What they run models on, best first; returns how many. */
uint32_t provider_devices(struct vd_npu_device *ret_devices, uint32_t room);
/*
 * Whether a program that wishes for `wish` means this device: its name, its kind (npu, gpu, cpu),
 * or the first words of its name ("openvino" is openvino-npu, too, "openvino-gpu" openvino-gpu.1
 * and ort-openvino-gpu). Who asks takes a device of that very name before others.
 */
bool provider_wished(const char *wish, const struct vd_npu_device *device);
/* The provider of a device by its name; NULL if there is none. */
const struct provider *provider_of(const char *device);

#endif
