/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_ONNX_H
#define VIADUCT_ONNX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Runs ONNX models on the host's processors. A model is read once and never changes: any number of
 * threads may use it. A run is one inference at a time with memory of its own, kept for the next
 * one; it belongs to one thread, only onnx_run_cancel may be called on others.
 *
 * Functions return 0 or a negative VD_ERR_* code: PARAMETER (a broken model, a wrong input),
 * UNSUPPORTED (the model asks for what is not known here), LIMIT, MEMORY, TIMEOUT, GONE
 * (cancelled), ROOM (the caller's memory is too small). With each failure comes a sentence that
 * names the node or the input it is about.
 *
 * Neither models nor tensors are trusted: sizes, indices and references are checked; memory, work
 * and time are limited.
 */

#define ONNX_MAX_RANK 8

struct onnx_model;
struct onnx_run;

/* Numbers of TensorProto.DataType. */
enum onnx_dtype {
    ONNX_UNKNOWN = 0,
    ONNX_F32 = 1,
    ONNX_U8 = 2,
    ONNX_I8 = 3,
    ONNX_U16 = 4,
    ONNX_I16 = 5,
    ONNX_I32 = 6,
    ONNX_I64 = 7,
    ONNX_STRING = 8, /* elements are struct onnx_string */
    ONNX_BOOL = 9,   /* a byte, 0 or 1 */
    ONNX_F16 = 10,
    ONNX_F64 = 11,
    ONNX_U32 = 12,
    ONNX_U64 = 13,
    ONNX_BF16 = 16,
    ONNX_DTYPES = 17,
};

/* Any bytes; no zero at the end. */
struct onnx_string {
    const char *data;
    size_t size;
};

enum onnx_kind {
    ONNX_TENSOR,
    ONNX_SEQUENCE,
    ONNX_NONE, /* an optional value that is not there */
    /* Items are rows of keys and of values: two of a map, two for each of a sequence of maps. */
    ONNX_MAP = 6,
    ONNX_MAPS = 7,
};

/* What a model takes or gives. Tensors are dense, row by row, aligned to their elements. */
struct onnx_value {
    enum onnx_kind kind;
    enum onnx_dtype dtype;
    int rank;
    int64_t dims[ONNX_MAX_RANK];
    void *data;
    size_t size; /* bytes at data */
    const struct onnx_value *items;
    size_t item_count;
};

struct onnx_io {
    const char *name;
    enum onnx_kind kind;                /* of the value, or of what an optional one may hold */
    bool optional;                      /* may be ONNX_NONE */
    enum onnx_dtype dtype;              /* of the tensor, a sequence's tensors, a map's values */
    enum onnx_dtype key;                /* of a map's keys */
    int rank;                           /* -1: the model does not say */
    int64_t dims[ONNX_MAX_RANK];        /* -1: any */
    const char *symbols[ONNX_MAX_RANK]; /* the name of such a dimension, or NULL */
};

/* 0 means the default everywhere. */
struct onnx_options {
    size_t model_bytes;    /* most bytes of a model; 2 GiB */
    uint32_t nodes;        /* most nodes of a model, those of subgraphs too; 100,000 */
    uint64_t memory;       /* most bytes that a run holds at a time; 4 GiB */
    uint64_t work;         /* most steps of one run, about one an element or product; 2^44 */
    uint32_t milliseconds; /* most time of one run; no limit */
    bool outline;          /* only inputs, outputs and metadata: operators may be any; no runs */
};

struct onnx_metadata {
    const char *producer, *producer_version, *domain, *description, *graph;
    int64_t ir_version, model_version;
    int64_t opset;     /* of the default domain */
    size_t pair_count; /* the model's own properties */
    const char *const *keys, *const *values;
    size_t node_count; /* those of subgraphs too */
};

/*
 * Reads a model. `bytes` are the caller's and not needed afterwards. `options` may be NULL.
 * `error` (may be NULL) gets the sentence.
 */
int onnx_model_create(const void *bytes, size_t size, const struct onnx_options *options,
                      struct onnx_model **ret_model, char *error, size_t error_size);
/* Its runs are destroyed before. NULL is fine. */
void onnx_model_destroy(struct onnx_model *model);

/* What these return belongs to the model. Initialisers are no inputs. */
size_t onnx_model_input_count(const struct onnx_model *model);
size_t onnx_model_output_count(const struct onnx_model *model);
const struct onnx_io *onnx_model_input(const struct onnx_model *model, size_t index);
const struct onnx_io *onnx_model_output(const struct onnx_model *model, size_t index);
const struct onnx_metadata *onnx_model_metadata(const struct onnx_model *model);

/* -VD_ERR_PARAMETER for an outline. */
int onnx_run_create(const struct onnx_model *model, struct onnx_run **ret_run);
/* NULL is fine. */
void onnx_run_destroy(struct onnx_run *run);

/*
 * One inference. `names` says which input each of `inputs` is; NULL: they are in the model's order.
 * All inputs must be there, optional ones at least as ONNX_NONE. They are read in place and must
 * not change meanwhile.
 *
 * `outputs` are in the model's order, as many as it has. An output tensor whose `data` is set is
 * written there, into at most `size` bytes (VD_ERR_ROOM if that is too little: `size` is then what
 * is needed). Any other output is memory of the run, valid until its next execution. All other
 * fields are filled in.
 */
int onnx_run_execute(struct onnx_run *run, const char *const *names,
                     const struct onnx_value *inputs, size_t input_count,
                     struct onnx_value *outputs, size_t output_count);
/* Why the last execution failed; "" if it did not. */
const char *onnx_run_error(const struct onnx_run *run);
/* Most bytes that this run held at a time so far. */
uint64_t onnx_run_peak(const struct onnx_run *run);
/* Any thread: what runs ends soon with VD_ERR_GONE; if nothing does, the next execution does. */
void onnx_run_cancel(struct onnx_run *run);
/* Takes back a cancel that came when nothing ran. */
void onnx_run_resume(struct onnx_run *run);

/* Bytes of an element; 0 for what is no type of a tensor. */
size_t onnx_dtype_size(enum onnx_dtype dtype);
const char *onnx_dtype_name(enum onnx_dtype dtype);

/*
 * Reads a TensorProto, SequenceProto or OptionalProto as `like` says (files of test data). The
 * value and all in it is one allocation chain freed by onnx_value_free.
 */
struct onnx_store;
int onnx_value_read(const void *bytes, size_t size, const struct onnx_io *like,
                    struct onnx_value *ret_value, struct onnx_store **ret_store, char *error,
                    size_t error_size);
void onnx_store_destroy(struct onnx_store *store);

/* The table of operators: the i-th row's domain and name; false behind the last. */
bool onnx_operator_at(size_t index, const char **ret_domain, const char **ret_name, int *ret_since,
                      int *ret_until);

/* float16 to and from float, to the nearest. */
float onnx_half_to_float(uint16_t half);
uint16_t onnx_float_to_half(float value);

#endif
