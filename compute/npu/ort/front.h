/* SPDX-License-Identifier: MIT */
#ifndef ORT_FRONT_H
#define ORT_FRONT_H

#include <pthread.h>
#include <stdatomic.h>
#include <viaduct/npu.h>

#include "versions.h"

/*
 * libonnxruntime.so.1 for guests: ONNX Runtime's API, and the host does the work. A function of
 * the API is called ort_NAME here and stands in the file of what it is about: front.c (the table,
 * statuses), front_options.c, front_type.c (types, shapes), front_memory.c (allocators),
 * front_value.c, front_string.c (tensors of strings), front_session.c, front_run.c,
 * front_binding.c, front_pairs.c, front_weights.c (of models, that are not in them).
 *
 * As with the real one a NULL where an object is wanted is the program's fault.
 */

#define FRONT_MAX_RANK 16
#define FRONT_DEVICES  64 /* bytes of the list of devices */

/* The functions of the API. */
#define ORT_SLOT(number, since, name, ret, args) ret ort_##name args;
#define ORT_NONE(number, since, name)
#define ORT_VOID(number, since, name)
#define ORT_ZERO(number, since, name)
#include "ortapi.def"

struct ort_status {
    int code;
    const char *message; /* behind it */
};

/* A status with a message; when there is no memory, one that says that. */
struct ort_status *front_status(int code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The status of an error of npu.h, with its message. NULL for 0. */
struct ort_status *front_npu_status(int err);
/* The same for lack of memory. */
struct ort_status *front_no_memory(void);

struct ort_memory_info {
    char name[32];
    int id, mem_type, allocator_type, device_type, device_mem_type;
    uint32_t vendor;
};

extern const struct ort_memory_info front_cpu;
extern struct ort_allocator front_allocator;
/* A copy of a text by the program's allocator. */
struct ort_status *front_give_text(struct ort_allocator *allocator, const char *text,
                                   char **ret_text);

/* Pairs of texts, sorted in no way. */
struct ort_key_value_pairs {
    char **keys, **values;
    size_t count;
};

/* 0 or -1 if there is no memory; a key that is there gets the new value. */
int front_pairs_set(struct ort_key_value_pairs *pairs, const char *key, const char *value);
const char *front_pairs_get(const struct ort_key_value_pairs *pairs, const char *key);
void front_pairs_finish(struct ort_key_value_pairs *pairs);

struct ort_tensor_type_and_shape_info {
    int dtype;
    bool shaped;
    size_t rank;
    int64_t dims[FRONT_MAX_RANK];
    char *symbols[FRONT_MAX_RANK]; /* NULL: none */
};

struct ort_sequence_type_info {
    struct ort_type_info *element;
};

struct ort_map_type_info {
    int key;
    struct ort_type_info *value;
};

struct ort_optional_type_info {
    struct ort_type_info *contained;
};

struct ort_type_info {
    int type;
    struct ort_tensor_type_and_shape_info tensor;
    struct ort_sequence_type_info sequence;
    struct ort_map_type_info map;
    struct ort_optional_type_info optional;
};

/* An input or output; `overrides` have dimensions by name. NULL if there is no memory. */
struct ort_type_info *front_type_of(const struct npu_io *io,
                                    const struct ort_key_value_pairs *overrides);

/* Bytes of a tensor of numbers. False if there is no such tensor. */
bool front_bytes(int dtype, const int64_t *dims, size_t rank, size_t *ret_count, size_t *ret_bytes);

struct front_text {
    char *data;
    size_t size;
};

struct ort_value {
    atomic_int refs;
    int type; /* ORT_TYPE_TENSOR, _SEQUENCE, _MAP; _UNKNOWN: an optional value that is not there */
    int dtype;
    size_t rank;
    int64_t dims[FRONT_MAX_RANK];
    size_t count, size; /* elements, bytes */
    void *data;
    /* One of these owns `data`, or nothing here does. */
    struct npu_tensor *tensor;
    struct ort_allocator *allocator;
    struct npu *npu;          /* of `tensor` */
    struct front_text *texts; /* a tensor of strings */
    struct ort_value **items; /* a sequence: count of them; a map: keys, values */
    const struct ort_memory_info *memory;
};

struct ort_value *front_value_ref(const struct ort_value *value);
/* A tensor that the host gave becomes a value, which owns it; NULL if there is no memory. */
struct ort_value *front_value_from(struct npu *npu, struct npu_tensor *tensor);
/* A tensor for the host, to be destroyed. */
struct ort_status *front_value_tensor(const struct ort_value *value, struct npu *npu,
                                      struct npu_tensor **ret_tensor);

/* Weights that the program brings for models: values, and files whose memory is the program's. */
struct front_weights {
    struct front_weight {
        char *name;
        struct ort_value *value; /* or a file: */
        const void *bytes;
        size_t size;
    } * at;
    size_t count;
};

int front_weights_copy(struct front_weights *to, const struct front_weights *from);
void front_weights_finish(struct front_weights *weights);
/* Fills options for the client with arrays of its own, to be freed: `*ret_memory`. */
struct ort_status *front_weights_give(const struct front_weights *weights, struct npu_options *ret,
                                      void **ret_memory);

struct ort_session_options {
    struct ort_key_value_pairs config, dimensions;
    char devices[FRONT_DEVICES];
    int threads, mode;
    bool mem_pattern, canceled;
    struct front_weights weights;
    char *profile; /* what the names of profiles begin with; NULL: none are made */
};

struct ort_run_options {
    pthread_mutex_t lock;
    bool terminate;
    struct front_active *active; /* runs that go on */
    char *tag;
    int verbosity, severity;
    struct ort_key_value_pairs config;
};

/* On the stack of who runs. */
struct front_active {
    struct npu_run *run;
    struct front_active *next;
};

struct ort_session {
    struct npu *npu;
    struct npu_model *model;
    const struct npu_info *info;
    struct ort_key_value_pairs dimensions;
    struct front_profile *profile; /* NULL: there is none */
};

/* What a session did when. Any thread; a NULL one takes events and forgets them. */
struct front_profile;

int64_t front_profile_now(void); /* ns */
struct ort_status *front_profile_create(const char *prefix, struct front_profile **ret_profile);
/* `name` stays; `length` in ns from `start`. */
void front_profile_add(struct front_profile *profile, const char *name, int64_t start,
                       int64_t length);
/* Once; later calls do nothing. */
struct ort_status *front_profile_write(struct front_profile *profile);
/* Writes it, if nobody did. */
void front_profile_destroy(struct front_profile *profile);

struct ort_env {
    int nothing;
};

/* The process's connection, made when it is first needed, anew if it broke; the caller closes it.
 */
struct ort_status *front_connect(struct npu **ret_npu);
/* The connection if there is one, NULL if not; the caller closes it. */
struct npu *front_connection(void);

/* Index of a name, -1 if there is none. */
int front_find(const struct npu_io *ios, size_t count, const char *name);

#endif
