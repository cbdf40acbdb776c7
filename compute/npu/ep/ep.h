/* SPDX-License-Identifier: MIT */
#ifndef NPU_EP_H
#define NPU_EP_H

#include <viaduct/npu.h>

#include "epabi.h"

/*
 * libviaduct-ep.so: an execution provider that a real ONNX Runtime (1.23 or newer) loads beside its
 * own, and which hands graphs to the host. factory.c (the library, devices, options), plan.c (which
 * nodes the host takes), emit.c (a graph of the runtime's becomes an ONNX model), kernel.c (fused
 * nodes and their runs), names.c.
 *
 * The runtime calls a session's provider on one thread while it makes the session; runs come from
 * any.
 */

#define EP_NAME "ViaductExecutionProvider"
/* Options as the session's configuration has them: the name in lower case. */
#define EP_OPTION_PREFIX "ep.viaductexecutionprovider."
#define EP_OPTION_BYTES  128

/* Of the process, since the factory was made: the runtime is one. */
struct ep_runtime {
    const struct ort_api *api;
    const struct ort_ep_api *ep;
    bool virtual_devices; /* `ep` has what makes them */
#define EP_SLOT(name, args) struct ort_status *(*name)args;
#include "slots.def"
};

extern struct ep_runtime ep_runtime;

/* A part of the graph that is at the host: until the runtime asks to compile it. */
struct ep_candidate {
    struct npu_model *model;
    struct ep_candidate *next;
};

struct ep_session {
    struct ort_ep base;
    const struct ort_logger *logger;
    struct npu *npu;
    char devices[EP_OPTION_BYTES];
    bool require;
    unsigned threads;
    unsigned least; /* nodes of a part that is worth it */
    struct ep_candidate *candidates;
    char refusal[512]; /* why the host does not take the graph, if it had to */
};

/* A status with a message. */
struct ort_status *ep_status(int code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The status of an error of npu.h, with its message; NULL for 0. */
struct ort_status *ep_npu_status(int err);
/* To the log of the program's runtime, and to Viaduct's. */
void ep_log(const struct ort_logger *logger, int severity, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The slots of a session's provider that plan.c and kernel.c have. */
struct ort_status *plan_get_capability(struct ort_ep *self, const struct ort_graph *graph,
                                       struct ort_support_info *info);
struct ort_status *kernel_compile(struct ort_ep *self, const struct ort_graph **graphs,
                                  const struct ort_node **fused, size_t count,
                                  struct ort_compute_info **ret_infos,
                                  struct ort_node **ret_context_nodes);
void kernel_release(struct ort_ep *self, struct ort_compute_info **infos, size_t count);

/* Loads a model that was emitted, as the session's options say. 0 or a negative error of npu.h. */
int ep_load(struct ep_session *session, const void *bytes, size_t size,
            struct npu_model **ret_model);

#endif
