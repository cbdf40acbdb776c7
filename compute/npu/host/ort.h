/* SPDX-License-Identifier: MIT */
#ifndef NPU_ORT_H
#define NPU_ORT_H

#include "compute/npu/ort/ortabi.h"
#include "provider.h"

/*
 * ONNX Runtime, found with dlopen: ort.c (library, models), ort_describe.c (what a model takes and
 * gives), ort_value.c (values, there and back).
 */

/* Of this process, after a successful probe. */
struct ort_library {
    const struct ort_api *api;
    uint32_t version; /* of the API: slots of later ones are not there */
    struct ort_env *env;
    struct ort_memory_info *memory;
    struct ort_allocator *allocator;
    char runtime[VD_ENGINE_BYTES];
};

extern struct ort_library ort_library;

struct ort_model {
    struct ort_session *session;
    struct onnx_io *rows; /* inputs, then outputs */
    size_t input_count, output_count;
    struct onnx_metadata metadata;
    char placement[256];
    char **texts; /* all that rows and metadata name */
    size_t text_count, text_room;
    const char **pairs; /* keys, then values */
};

struct ort_run {
    const struct ort_model *model;
    struct ort_run_options *options;
    /* Of the newest inference. */
    struct ort_value **held;
    size_t held_count, held_room;
    void **memory;
    size_t memory_count, memory_room;
    const char **names;
    struct ort_value **values; /* inputs, then outputs */
    size_t room;               /* of names and values */
};

/* Uses the library at this path, whichever it is. False, with a log line, if it cannot be used. */
bool ort_open(const char *path);
/* Consumes a status: 0, or an error with its message in `error`. */
int ort_result(struct ort_status *status, char *error, size_t error_size);

/* Fills rows and metadata. */
int ort_describe(struct ort_model *model, char *error, size_t error_size);
void ort_describe_free(struct ort_model *model);

/* A value for the library; the caller releases it. Numbers are used in place. */
int ort_value_make(const struct onnx_value *from, struct ort_value **ret_value, char *error,
                   size_t error_size);
/*
 * What the library made, without copies of numbers: valid until ort_value_forget. The run owns
 * `from` afterwards, also on failure.
 */
int ort_value_take(struct ort_run *run, struct ort_value *from, struct onnx_value *ret_value,
                   char *error, size_t error_size);
void ort_value_forget(struct ort_run *run);

#endif
