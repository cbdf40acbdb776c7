/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "compute/npu/interp/proto.h"
#include "internal.h"
#include "proto_writer.h"

/*
 * Models keep large weights in other files (TensorProto.external_data of onnx.proto), and programs
 * bring weights of their own for names of the model's. The host gets one model with all of them:
 * it reads no files of a guest's.
 */

/* Graphs within graphs, and all messages around them. */
#define MAX_DEPTH 64
#define MAX_RANK  64
#define NAME_ROOM 1024

enum { TENSOR_DIM = 1, TENSOR_DTYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9 };
enum { TENSOR_EXTERNAL = 13, TENSOR_LOCATION = 14, LOCATION_EXTERNAL = 1 };
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 };

/* Messages of a model that have tensors somewhere in them. */
enum kind { MODEL, FUNCTION, GRAPH, NODE, ATTRIBUTE, INITIALIZER, TENSOR, OTHER };

static const struct {
    enum kind in;
    uint32_t field;
    enum kind has;
} fields[] = {
    {MODEL, 7, GRAPH},       {MODEL, 25, FUNCTION},  {FUNCTION, 7, NODE},    {GRAPH, 1, NODE},
    {GRAPH, 5, INITIALIZER}, {NODE, 5, ATTRIBUTE},   {ATTRIBUTE, 5, TENSOR}, {ATTRIBUTE, 6, GRAPH},
    {ATTRIBUTE, 10, TENSOR}, {ATTRIBUTE, 11, GRAPH},
};

struct merge {
    const struct npu_options *options;
    struct proto_writer w;
    size_t found;   /* tensors that need something */
    uint64_t bytes; /* that they need, as far as the model says */
    unsigned depth;
    /* The file of the newest tensor: the next one's is the same, mostly. */
    char name[NAME_ROOM];
    int fd;
};

/* What a tensor says of itself. */
struct tensor {
    char name[NAME_ROOM];
    char location[NAME_ROOM];
    bool external, has_length;
    uint64_t offset, length;
    int64_t dims[MAX_RANK];
    uint32_t rank, dtype;
};

static enum kind kind_of(enum kind in, const struct proto_field *field)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].in == in && fields[i].field == field->number && field->type == PROTO_BYTES)
            return fields[i].has;
    }
    return OTHER;
}

static int broken(void)
{
    return client_fail(VD_ERR_PARAMETER, "the model is broken: it is no ONNX model, or cut off");
}

/* False if it does not fit, or ends early. */
static bool copy_text(struct proto bytes, char *to, size_t room)
{
    size_t size = onnx_proto_size(bytes);

    if (size >= room || memchr(bytes.at, 0, size))
        return false;
    if (size)
        memcpy(to, bytes.at, size);
    to[size] = 0;
    return true;
}

static bool read_number(const char *text, uint64_t *ret_value)
{
    char *end;

    errno = 0;
    *ret_value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static bool read_entry(struct proto entry, struct tensor *t)
{
    char key[32] = "", value[NAME_ROOM] = "";
    struct proto_field f;
    int more;

    while ((more = onnx_proto_next(&entry, &f)) > 0) {
        if (f.type != PROTO_BYTES)
            continue;
        /* Other keys, such as checksums, may be longer: they are not needed. */
        if (f.number == ENTRY_KEY && !copy_text(f.bytes, key, sizeof(key)))
            key[0] = 0;
        if (f.number == ENTRY_VALUE && !copy_text(f.bytes, value, sizeof(value)))
            return false;
    }
    if (!strcmp(key, "location"))
        memcpy(t->location, value, sizeof(value));
    else if (!strcmp(key, "offset"))
        return read_number(value, &t->offset) && !more;
    else if (!strcmp(key, "length")) {
        t->has_length = true;
        return read_number(value, &t->length) && !more;
    }
    return !more;
}

/* Dimensions come one a field, or many in one. */
static bool read_dims(const struct proto_field *f, struct tensor *t)
{
    struct proto packed = f->bytes;
    uint64_t value = f->value;
    int more = 1;

    if (f->type == PROTO_BYTES)
        more = onnx_proto_varint(&packed, &value);
    while (more > 0) {
        if (t->rank == MAX_RANK)
            return false;
        t->dims[t->rank++] = (int64_t)value;
        more = f->type == PROTO_BYTES ? onnx_proto_varint(&packed, &value) : 0;
    }
    return !more;
}

static bool read_tensor(struct proto p, struct tensor *t)
{
    struct proto_field f;
    int more;

    *t = (struct tensor){.rank = 0};
    while ((more = onnx_proto_next(&p, &f)) > 0) {
        switch (f.number) {
        case TENSOR_DIM:
            if (!read_dims(&f, t))
                return false;
            break;
        case TENSOR_DTYPE:
            t->dtype = (uint32_t)f.value;
            break;
        case TENSOR_NAME:
            /* One that is too long is nobody's. */
            if (f.type == PROTO_BYTES && !copy_text(f.bytes, t->name, sizeof(t->name)))
                t->name[0] = 0;
            break;
        case TENSOR_EXTERNAL:
            if (f.type != PROTO_BYTES || !read_entry(f.bytes, t))
                return false;
            break;
        case TENSOR_LOCATION:
            t->external = f.value == LOCATION_EXTERNAL;
            break;
        default:
            break;
        }
    }
    return !more;
}

static const struct npu_weight *weight_of(const struct merge *m, const char *name)
{
    for (size_t i = 0; i < m->options->weight_count; i++) {
        if (!strcmp(m->options->weights[i].name, name))
            return &m->options->weights[i];
    }
    return NULL;
}

/* Counts what is not in the model. */
static int scan(struct merge *m, struct proto p, enum kind kind)
{
    struct proto_field f;
    int more, err = 0;

    if (kind == TENSOR || kind == INITIALIZER) {
        const struct npu_weight *weight;
        struct tensor t;

        if (!read_tensor(p, &t)) {
            m->found++;
            return broken();
        }
        weight = kind == INITIALIZER && m->options->weight_count ? weight_of(m, t.name) : NULL;
        m->found += weight || t.external;
        m->bytes += weight ? weight->size : t.external ? t.length : 0;
        return m->bytes > VD_MAX_NPU_MODEL_BYTES
                   ? client_fail(VD_ERR_LIMIT,
                                 "the model has more than %llu bytes with the weights in its files",
                                 VD_MAX_NPU_MODEL_BYTES + 0ull)
                   : 0;
    }
    if (++m->depth > MAX_DEPTH)
        return broken();
    while (!err && (more = onnx_proto_next(&p, &f)) > 0) {
        enum kind within = kind_of(kind, &f);

        if (within != OTHER)
            err = scan(m, f.bytes, within);
    }
    m->depth--;
    return err ? err : more ? broken() : 0;
}

/* A path within the folder; links of the folder's owner may lead elsewhere. */
static bool is_within(const char *location)
{
    const char *at = location;

    if (!*location || *location == '/')
        return false;
    while (at && *at) {
        size_t length = strcspn(at, "/");

        if (length == 2 && !memcmp(at, "..", 2))
            return false;
        at += length + (at[length] == '/');
    }
    return true;
}

static int open_file(struct merge *m, const char *location)
{
    char path[PATH_MAX];

    if (m->fd >= 0 && !strcmp(m->name, location))
        return 0;
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
    if (!m->options->folder)
        return client_fail(VD_ERR_PARAMETER,
                           "the model has weights in the file %s: load it by its path", location);
    if (!is_within(location) ||
        (size_t)snprintf(path, sizeof(path), "%s/%s", m->options->folder, location) >= sizeof(path))
        return client_fail(VD_ERR_PARAMETER,
                           "the model has weights in %s, which is not within its folder", location);
    m->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (m->fd < 0)
        return client_fail(VD_ERR_PARAMETER, "cannot open %s, which has weights of the model: %s",
                           path, strerror(errno));
    snprintf(m->name, sizeof(m->name), "%s", location);
    return 0;
}

static int too_short(const struct tensor *t)
{
    return client_fail(VD_ERR_PARAMETER, "%s has fewer bytes than the weights %s of the model",
                       t->location, t->name);
}

/* Files without a length in the model have what the shape needs. */
static int find_length(struct tensor *t, uint64_t file_size)
{
    uint64_t bytes;

    if (t->offset > file_size)
        return too_short(t);
    if (!t->has_length)
        t->length = t->rank <= NPU_MAX_RANK && !npu_bytes(t->dtype, t->dims, t->rank, &bytes)
                        ? bytes
                        : file_size - t->offset;
    return t->length > file_size - t->offset ? too_short(t) : 0;
}

static int read_file(struct merge *m, struct tensor *t)
{
    uint64_t done = 0;
    uint8_t *to;
    struct stat st;
    int err = open_file(m, t->location);

    if (err)
        return err;
    if (fstat(m->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return client_fail(VD_ERR_PARAMETER, "%s, which has weights of the model, is no file",
                           t->location);
    err = find_length(t, (uint64_t)st.st_size);
    if (err)
        return err;
    to = proto_writer_room(&m->w, TENSOR_RAW, t->length);
    while (to && done < t->length) {
        ssize_t n = pread(m->fd, to + done, t->length - done, (off_t)(t->offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        /* It may have been cut since. */
        if (n <= 0)
            return too_short(t);
        done += (uint64_t)n;
    }
    return 0;
}

static int write_data(struct merge *m, struct tensor *t)
{
    for (size_t i = 0; i < m->options->file_count; i++) {
        const struct npu_file *file = &m->options->files[i];
        int err;

        if (strcmp(file->name, t->location))
            continue;
        err = find_length(t, file->size);
        if (!err)
            proto_writer_bytes(&m->w, TENSOR_RAW, (const uint8_t *)file->bytes + t->offset,
                               t->length);
        return err;
    }
    return read_file(m, t);
}

static void write_weight(struct merge *m, const struct npu_weight *weight)
{
    for (int i = 0; i < weight->rank; i++)
        proto_writer_number(&m->w, TENSOR_DIM, (uint64_t)weight->dims[i]);
    proto_writer_number(&m->w, TENSOR_DTYPE, (uint64_t)weight->dtype);
    proto_writer_text(&m->w, TENSOR_NAME, weight->name);
    proto_writer_bytes(&m->w, TENSOR_RAW, weight->bytes, weight->size);
}

static int write_tensor(struct merge *m, struct proto p, enum kind kind)
{
    const struct npu_weight *weight;
    struct proto_field f;
    struct tensor t;

    if (!read_tensor(p, &t))
        return broken();
    weight = kind == INITIALIZER ? weight_of(m, t.name) : NULL;
    if (weight) {
        write_weight(m, weight);
        return 0;
    }
    if (!t.external) {
        proto_writer_raw(&m->w, p.at, onnx_proto_size(p));
        return 0;
    }
    for (const uint8_t *at = p.at; onnx_proto_next(&p, &f) > 0; at = p.at) {
        if (f.number != TENSOR_EXTERNAL && f.number != TENSOR_LOCATION && f.number != TENSOR_RAW)
            proto_writer_raw(&m->w, at, (size_t)(p.at - at));
    }
    return write_data(m, &t);
}

/* The message, with all weights in it; scan has seen that it is whole. */
static int write_message(struct merge *m, struct proto p, enum kind kind)
{
    struct proto_field f;
    int err = 0;

    if (kind == TENSOR || kind == INITIALIZER)
        return write_tensor(m, p, kind);
    for (const uint8_t *at = p.at; !err && onnx_proto_next(&p, &f) > 0; at = p.at) {
        enum kind within = kind_of(kind, &f);
        size_t opened;

        if (within == OTHER) {
            proto_writer_raw(&m->w, at, (size_t)(p.at - at));
            continue;
        }
        opened = proto_writer_open(&m->w, f.number);
        err = write_message(m, f.bytes, within);
        proto_writer_close(&m->w, opened);
    }
    return err;
}

int client_external_merge(const void *bytes, size_t size, const struct npu_options *options,
                          void **ret_bytes, size_t *ret_size)
{
    static const struct npu_options none;
    struct merge m = {.options = options ? options : &none, .fd = -1};
    struct proto model = onnx_proto_of(bytes, size);
    int err = scan(&m, model, MODEL);

    *ret_bytes = NULL;
    /* What is broken is for the host to say, who sees more; the same for what needs nothing. */
    if (!m.found)
        return err == VD_ERR_PARAMETER ? 0 : err;
    if (!err) {
        /* Each tensor's own fields grow by the length of its bytes. */
        proto_writer_expect(&m.w, size + m.bytes + m.found * 64);
        err = write_message(&m, model, MODEL);
    }
    if (m.fd >= 0)
        close(m.fd);
    if (!err && m.w.failed)
        err =
            client_fail(VD_ERR_LIMIT,
                        "the model is too large with the weights in its files, or memory is short");
    if (err) {
        proto_writer_finish(&m.w);
        return err;
    }
    *ret_bytes = m.w.data;
    *ret_size = m.w.size;
    return 0;
}
