/* SPDX-License-Identifier: MIT */
#ifndef NPU_ORT_EP_H
#define NPU_ORT_EP_H

#include "ort.h"

/*
 * Execution providers of ONNX Runtime other than the processor's: each is a device of its own.
 * Those that the runtime was built with (ort_ep_rows in ort_ep.c) are there if the runtime names
 * them and their hardware has a device node. Those in libraries of their own (API 22 and later)
 * are what the runtime says of $VIADUCT_ORT_EP ("path" or "name=path", with commas between) and of
 * libonnxruntime_ep_*.so beside the runtime.
 */

/*
 * In the nursery, after the runtime was opened from `path`: looks for providers and libraries, but
 * starts none, as drivers do not survive a fork.
 */
void ort_ep_prepare(const char *path);
/* Whether there is one that wants devices: of the sandbox. */
bool ort_ep_wanted(void);
/* Lists them, best first; starts libraries when called first. Returns how many. Any thread. */
uint32_t ort_ep_devices(struct vd_npu_device *ret_devices, uint32_t room);
/*
 * Adds the provider of this name to a session's options. A name that is none of them is an error;
 * the processor's needs no provider. `alone`: nodes that it does not take are an error of the
 * session's.
 */
int ort_ep_append(struct ort_session_options *options, const char *device, bool alone, char *error,
                  size_t error_size);
/* Whether this device makes a model for known shapes only: NPUs do. */
bool ort_ep_wants_shapes(const char *device);
/* Before a session is made: keeps which provider takes which node. */
int ort_ep_record(struct ort_session_options *options, char *error, size_t error_size);
/* "cuda 120 nodes, ort 3 nodes"; "" if this runtime does not tell. */
void ort_ep_placement(const struct ort_session *session, char *text, size_t size);

#endif
