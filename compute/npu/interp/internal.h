/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_ONNX_INTERNAL_H
#define VIADUCT_ONNX_INTERNAL_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <viaduct/errors.h>

#include "onnx.h"
#include "proto.h"

/*
 * Layers: proto (bytes) <- model, tensor (what they say) <- graph (names resolved, operators looked
 * up, lifetimes) <- exec (a run), memory <- op_*.c (the operators), which the table in ops.def
 * names.
 */

#define RANK           ONNX_MAX_RANK
#define ONNX_MAX_DEPTH 16           /* subgraphs within subgraphs */
#define ONNX_MAX_BYTES (1ull << 40) /* of any tensor: products of sizes stay far from overflow */
#define ONNX_MAX_ARITY 4096         /* inputs, or outputs, of a node */

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The sentence of a failure. The first one stays. */
struct onnx_error {
    int status;
    char text[320];
};

__attribute__((format(printf, 3, 4))) int onnx_fail(struct onnx_error *error, int status,
                                                    const char *format, ...);

/* A value inside: counted, but for those of the model (fixed), which outlive every run. */
struct value {
    int refs;
    bool fixed;
    bool borrowed; /* data is the caller's */
    enum onnx_kind kind;
    enum onnx_dtype dtype; /* of a sequence: that of its elements, if known */
    int rank;
    int64_t dims[RANK];
    int64_t count; /* elements */
    void *data;
    struct value *owner; /* whose data this is */
    struct value **items;
    size_t item_count;
    struct value *next; /* in the run's list of unused ones */
};

struct graph;
struct op;

enum attribute_type {
    ATTR_NONE = 0,
    ATTR_FLOAT = 1,
    ATTR_INT = 2,
    ATTR_STRING = 3,
    ATTR_TENSOR = 4,
    ATTR_GRAPH = 5,
    ATTR_FLOATS = 6,
    ATTR_INTS = 7,
    ATTR_STRINGS = 8,
    ATTR_SPARSE = 11,
    ATTR_TYPE = 13,
};

struct attribute {
    const char *name;
    enum attribute_type type;
    float f;
    int64_t i;
    struct onnx_string s; /* also zero-terminated */
    struct value *tensor;
    struct graph *graph;
    float *floats;
    int64_t *ints;
    struct onnx_string *strings;
    size_t count;
    struct onnx_io io; /* ATTR_TYPE */
};

/* Where a value is: `up` frames out, then a slot. Slot -1: left out. */
struct reference {
    int up;
    int slot;
};

struct node {
    const char *name, *op, *domain;
    const char **input_names, **output_names;
    struct reference *inputs;
    int *outputs; /* slots, -1: not wanted */
    size_t input_count, output_count;
    struct attribute *attributes;
    size_t attribute_count;
    const struct op *row;
    int opset;
    bool has_graph;
    int *dead; /* slots of this graph that are not used after this node */
    size_t dead_count, dead_room;
    /* What an operator prepared at its first run (packed weights); set once. */
    _Atomic(void *) prepared;
};

struct slot {
    const char *name;
    struct value *initial;
    struct node *maker;
    int last;  /* the last node that uses it; -1 none */
    bool kept; /* an output of the graph */
};

struct graph {
    struct onnx_model *model;
    struct graph *parent;
    int depth;
    int at; /* while it is resolved: the node whose names are looked up */
    const char *name;
    struct slot *slots;
    size_t slot_count, slot_room;
    int32_t *hash; /* names to slots + 1 */
    size_t hash_size;
    struct node *nodes;
    size_t node_count;
    struct onnx_io *inputs; /* all declared inputs, initialisers included */
    int *input_slots;
    size_t input_count;
    struct onnx_io *outputs;
    struct reference *output_refs;
    size_t output_count;
};

struct opset {
    const char *domain;
    int64_t version;
};

struct chunk {
    struct chunk *next;
};

struct onnx_model {
    struct onnx_options options;
    struct onnx_metadata metadata;
    struct graph *graph;
    struct opset opsets[16];
    size_t opset_count;
    int *inputs; /* inputs of the graph that are no initialisers */
    size_t input_count;
    struct chunk *chunks;
    uint64_t chunk_bytes;
    struct onnx_error *error; /* while it is read */
    struct onnx_error own_error;
};

/* model.c: zeroed memory that lives as long as the model. NULL with the error set. */
void *onnx_model_alloc(struct onnx_model *model, uint64_t count, size_t size);
/* Zero-terminated copy. */
const char *onnx_model_text(struct onnx_model *model, struct proto bytes);
int onnx_model_bad(struct onnx_model *model, const char *what);
int onnx_model_io(struct onnx_model *model, struct proto proto, struct onnx_io *io);
int onnx_model_type(struct onnx_model *model, struct proto proto, struct onnx_io *io);
int onnx_model_graph(struct onnx_model *model, struct graph *parent, struct proto proto,
                     struct graph **ret_graph);

/* tensor.c: a TensorProto, SparseTensorProto; the value is the model's. */
int onnx_tensor_read(struct onnx_model *model, struct proto proto, const char **ret_name,
                     struct value **ret_value);
int onnx_tensor_sparse(struct onnx_model *model, struct proto proto, const char **ret_name,
                       struct value **ret_value);

/* attr.c: reads the attributes of a node; and looks them up, with their defaults. */
int onnx_attr_read(struct onnx_model *model, struct graph *graph, struct proto proto,
                   struct attribute *attribute);
const struct attribute *onnx_attr(const struct node *node, const char *name);
int64_t onnx_attr_int(const struct node *node, const char *name, int64_t otherwise);
float onnx_attr_float(const struct node *node, const char *name, float otherwise);
const char *onnx_attr_string(const struct node *node, const char *name, const char *otherwise);
bool onnx_attr_is(const struct node *node, const char *name, const char *otherwise,
                  const char *value);
/* The count; 0 if missing; -1 if there are more than `most`. */
int onnx_attr_ints(const struct node *node, const char *name, int64_t *values, int most);
struct graph *onnx_attr_graph(const struct node *node, const char *name);

/* graph.c */
int onnx_graph_find(const struct graph *graph, const char *name); /* a slot or -1 */
int onnx_graph_add(struct graph *graph, const char *name);        /* slot or a negative error */
int onnx_graph_resolve(struct graph *graph);

/* ---- Operators ---- */

#define M(type)    (1u << (type))
#define M_HALF     (M(ONNX_F16) | M(ONNX_BF16))
#define M_FLOAT    (M(ONNX_F32) | M(ONNX_F64))
#define M_SIGNED   (M(ONNX_I8) | M(ONNX_I16) | M(ONNX_I32) | M(ONNX_I64))
#define M_UNSIGNED (M(ONNX_U8) | M(ONNX_U16) | M(ONNX_U32) | M(ONNX_U64))
#define M_INT      (M_SIGNED | M_UNSIGNED)
#define M_NUMBER   (M_FLOAT | M_INT)
#define M_BYTE     (M(ONNX_U8) | M(ONNX_I8))
#define M_FIXED    (M_NUMBER | M_HALF | M(ONNX_BOOL)) /* all but strings */
#define M_ANY      (M_FIXED | M(ONNX_STRING))
#define M_F32      M(ONNX_F32)

struct call {
    struct onnx_run *run;
    struct frame *frame;
    const struct node *node;
    int arg;           /* of the operator's row */
    struct value **in; /* NULL: left out */
    struct value **out;
    size_t in_count, out_count;
    uint64_t dying; /* bit i: nothing uses in[i] after this node */
};

/*
 * A row of ops.def. `types` has a letter for each input, the last counts for all further ones:
 * T of the mask, all T the same; I int32 or int64; L int64; B bool; S string; f float32; N any
 * number; U any tensor; K any value; 8 (u)int8. The executor checks count and types. Half floats
 * which the mask lacks are computed as floats, if it has those.
 */
struct op {
    const char *domain, *name;
    int since, until; /* versions of the operator set */
    int (*run)(struct call *call);
    int arg;
    int in_min, in_max, out_max;
    uint32_t mask;
    const char *types;
};

/* ops.c. NULL: not in the table; *ret_known says whether another version is. */
const struct op *onnx_op_find(const char *domain, const char *name, int64_t version,
                              bool *ret_known);

/* ---- A run (exec.c, memory.c) ---- */

struct frame {
    const struct graph *graph;
    struct frame *parent;
    struct value **values;
};

struct block {
    struct block *next, *previous;
    uint64_t size; /* usable bytes */
    int bin;
    uint8_t pad[36];
};

#define ONNX_BINS 176

struct onnx_run {
    const struct onnx_model *model;
    struct onnx_error error;
    _Atomic int stop;
    uint64_t deadline; /* CLOCK_MONOTONIC, ns; 0 none */
    uint64_t work;
    uint64_t held, cached, peak; /* bytes */
    struct block *cache[ONNX_BINS];
    struct block all;      /* ring of blocks in use */
    struct block *scratch; /* of the node that runs, linked by next */
    struct value *unused;
    struct value **results;
    struct block *texts; /* strings made */
    int depth;
    uint64_t random;
};

/* Sets the error with the node's name in front. */
__attribute__((format(printf, 3, 4))) int onnx_call_fail(struct call *call, int status,
                                                         const char *format, ...);
#define BAD(call, ...)  onnx_call_fail(call, VD_ERR_PARAMETER, __VA_ARGS__)
#define CANT(call, ...) onnx_call_fail(call, VD_ERR_UNSUPPORTED, __VA_ARGS__)

/* Memory of the run, at a multiple of 64. NULL with the error set. */
void *onnx_memory_get(struct onnx_run *run, uint64_t bytes);
void onnx_memory_put(struct onnx_run *run, void *memory);
void onnx_memory_finish(struct onnx_run *run); /* all of it */
/* Memory until the node, subgraphs of its own excluded, is done. */
void *onnx_scratch(struct call *call, uint64_t count, size_t size);
/* Bytes of strings: live until the next execution. */
char *onnx_text(struct onnx_run *run, uint64_t size);

/* Values with one reference. NULL with the error set. Tensors are zeroed only if of strings. */
struct value *onnx_value_tensor(struct onnx_run *run, enum onnx_dtype dtype, int rank,
                                const int64_t *dims);
struct value *onnx_value_alias(struct onnx_run *run, struct value *of, int rank,
                               const int64_t *dims);
struct value *onnx_value_none(struct onnx_run *run);
/* Takes references of its own to the items. */
struct value *onnx_value_sequence(struct onnx_run *run, struct value **items, size_t count);
struct value *onnx_value_borrow(struct onnx_run *run, const struct onnx_value *from);
struct value *onnx_value_keep(struct value *value);
void onnx_value_drop(struct onnx_run *run, struct value *value);
/* The product of dims, or -1 if a tensor cannot be that large. */
int64_t onnx_count(enum onnx_dtype dtype, int rank, const int64_t *dims);

/* Makes output i, if it is wanted or not. Its data, or NULL with the error set. */
void *onnx_out(struct call *call, size_t i, enum onnx_dtype dtype, int rank, const int64_t *dims);
void *onnx_out_like(struct call *call, size_t i, const struct value *like);
/* As onnx_out_like, but may be the memory of in[from], if nothing else uses that. */
void *onnx_out_over(struct call *call, size_t i, size_t from);
int onnx_out_share(struct call *call, size_t i, struct value *value);
int onnx_out_alias(struct call *call, size_t i, struct value *of, int rank, const int64_t *dims);
bool onnx_wanted(const struct call *call, size_t i);

static inline struct value *onnx_in(const struct call *call, size_t i)
{
    return i < call->in_count ? call->in[i] : NULL;
}

/* Reads a tensor of int32 or int64. The count, or a negative error. */
int onnx_in_ints(struct call *call, size_t i, int64_t *values, int most);
/* Reads one number of any type. */
int onnx_in_int(struct call *call, size_t i, int64_t *ret);
int onnx_in_double(struct call *call, size_t i, double *ret);
/* An integer of an I tensor. */
int64_t onnx_index(const struct value *value, int64_t at);
/* Makes a negative axis positive; refuses one that is not in [-rank, rank). */
int onnx_axis(struct call *call, int64_t *axis, int rank);
/* Axes from input i or attribute "axes", positive and different; 0 if there are none. */
int onnx_axes(struct call *call, size_t i, int rank, int64_t *axes);

/* Runs a subgraph. Gives references in `outputs`. Inputs stay the caller's. */
int onnx_exec_graph(struct call *call, const struct graph *graph, struct value **inputs,
                    size_t input_count, struct value **outputs, size_t output_count);
/* Accounts for work that is about to be done, and says whether the run must end: 0 or the error. */
int onnx_work(struct call *call, double steps);

/* shape.c */
/* Spreads dims over those of value; false if they do not fit. */
bool onnx_broadcast(const struct value *value, int *rank, int64_t *dims);
/* Strides, in elements, of `value` seen as dims; 0 where it is spread. It must fit. */
void onnx_spread(const struct value *value, int rank, const int64_t *dims, int64_t *strides);
void onnx_strides(int rank, const int64_t *dims, int64_t *strides);
int64_t onnx_product(const int64_t *dims, int from, int to);
/* Copies elements of `size` bytes with steps (in elements) of any sign. */
void onnx_copy(size_t size, void *to, const int64_t *to_strides, const void *from,
               const int64_t *from_strides, int rank, const int64_t *dims);
/* Goes through dims but the last `inner`: false at the end. */
bool onnx_next(int rank, const int64_t *dims, int64_t *at);
/* Reads any tensor of numbers as doubles: scratch. */
double *onnx_doubles(struct call *call, const struct value *value);
double onnx_number(const struct value *value, int64_t at);
void onnx_set(struct value *value, int64_t at, double number);

float onnx_bfloat_to_float(uint16_t value);
uint16_t onnx_float_to_bfloat(float value);

#define TRY(expression)                \
    do {                               \
        int try_status = (expression); \
        if (try_status < 0)            \
            return try_status;         \
    } while (0)

#endif
