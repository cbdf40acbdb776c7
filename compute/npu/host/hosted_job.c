/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <transport/mirror.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "choose.h"
#include "hosted_private.h"
#include "pack.h"

/* A run that takes no longer is quick: about what it costs to wake a thread. */
#define HOSTED_QUICK_NS 100000

struct outcome {
    struct vd_npu_result result;
    /* Behind it, one or the other. */
    const struct vd_npu_value *values;
    const uint8_t *info;
};

static void __attribute__((format(printf, 3, 4)))
fail(struct outcome *out, int err, const char *format, ...)
{
    va_list args;

    out->result.status = (uint32_t)-err;
    va_start(args, format);
    vsnprintf(out->result.text, sizeof(out->result.text), format, args);
    va_end(args);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* Bytes of the arena that a guest without shared memory has to get. */
static void mirror(struct hosted *m, uint64_t offset, uint64_t size)
{
    if (m->setup.arena->mirror && size)
        mirror_host_coded(m->setup.arena->mirror, offset, (uint32_t)size);
}

/* Nothing behind the texts' ends: the struct is one of the wire. */
static void write_outcome(struct hosted *m, const struct job *job, struct outcome *out)
{
    uint8_t *to = m->setup.arena->base + job->result;
    uint64_t size = sizeof(out->result);

    memcpy(out->result.device, m->device, sizeof(out->result.device));
    if (out->values) {
        memcpy(to + size, out->values, out->result.count * sizeof(*out->values));
        size += out->result.count * sizeof(*out->values);
    } else if (out->info && !out->result.status) {
        memcpy(to + size, out->info, out->result.size);
        size += out->result.size;
    }
    memcpy(to, &out->result, sizeof(out->result));
    mirror(m, job->result, size);
}

static void give_info(struct hosted *m, const struct job *job, struct outcome *out)
{
    uint64_t size = m->model->info_size;

    out->result.size = size;
    out->info = m->model->info;
    if (job->room - sizeof(out->result) < size)
        fail(out, VD_ERR_ROOM, "the model's description takes %llu bytes",
             (unsigned long long)size);
}

static bool nobody_wants(void *owner)
{
    struct hosted *m = owner;

    /* A load is the first job, and is done alone. */
    return hosted_job_left(m, &m->jobs[1]);
}

/* The model is on the shelf of the session's models, or is put there. */
static void do_load(struct hosted *m, const struct job *job, struct outcome *out)
{
    struct choose choose = {
        .bytes = m->bytes,
        .free = m->setup.free,
        .left = nobody_wants,
        .owner = m,
        .text = out->result.text,
        .text_size = sizeof(out->result.text),
    };
    struct shelf_model *model = m->model;
    int err = 0;

    if (!model) {
        sha256_of(m->bytes, m->setup.size, m->key.hash);
        err = shelf_take(m->setup.shelf, &m->key, choose_load, &choose, &model);
        if (err == VD_ERR_MEMORY && choose.bytes) {
            /* What is only kept in case has to go. */
            shelf_trim(m->setup.shelf);
            out->result.text[0] = 0;
            err = shelf_take(m->setup.shelf, &m->key, choose_load, &choose, &model);
        }
    }
    m->setup.free(choose.bytes);
    m->bytes = NULL;
    if (!err && model->model)
        err = model->provider->open(model->model, &m->run, out->result.text,
                                    sizeof(out->result.text));
    if (err) {
        shelf_put(m->setup.shelf, model);
        m->model = NULL;
        out->result.status = (uint32_t)-err;
        if (!out->result.text[0])
            fail(out, err, "there is no memory for the model");
        return;
    }
    snprintf(out->result.text, sizeof(out->result.text), "%s", model->text);
    memcpy(m->device, model->device, sizeof(m->device));
    pthread_mutex_lock(&m->lock);
    m->model = model;
    m->current = m->run;
    m->loaded = true;
    pthread_mutex_unlock(&m->lock);
    give_info(m, job, out);
}

/* Room for what a run brings. */
static int reserve(struct hosted *m, uint32_t count, uint64_t scratch)
{
    void *memory;
    int err;

    /* Also a run of nothing has a place to point to. */
    count = count ? count : 1;
    if (count > m->value_room) {
        struct onnx_value *values = realloc(m->values, count * sizeof(*values));
        uint32_t *indices;

        if (!values)
            return VD_ERR_MEMORY;
        m->values = values;
        indices = realloc(m->indices, count * sizeof(*indices));
        if (!indices)
            return VD_ERR_MEMORY;
        m->indices = indices;
        m->value_room = count;
    }
    if (scratch > m->scratch_size) {
        m->setup.free(m->scratch);
        m->scratch = NULL;
        m->scratch_size = 0;
        err = m->setup.alloc(m->setup.owner, scratch, &memory);
        if (err)
            return err;
        m->scratch = memory;
        m->scratch_size = scratch;
    }
    return 0;
}

/* Whether the model takes a value of this kind and type there: what providers trust. */
static int check_input(const struct hosted *m, const struct vd_npu_value *row, struct outcome *out)
{
    const struct onnx_io *io;

    if (row->index >= m->model->description.input_count) {
        fail(out, VD_ERR_PARAMETER, "the model has %zu inputs, not %u",
             m->model->description.input_count, row->index + 1);
        return VD_ERR_PARAMETER;
    }
    io = &m->model->description.inputs[row->index];
    if (io->kind == PROVIDER_OTHER) {
        fail(out, VD_ERR_UNSUPPORTED, "input %s is of a kind that is not carried", io->name);
        return VD_ERR_UNSUPPORTED;
    }
    if (row->kind == VD_NPU_NONE && io->optional)
        return 0;
    if (row->kind == VD_NPU_PICTURE ? io->kind != ONNX_TENSOR : row->kind != (uint32_t)io->kind) {
        fail(out, VD_ERR_PARAMETER, "input %s is not a %s", io->name,
             io->kind == ONNX_TENSOR     ? "tensor"
             : io->kind == ONNX_SEQUENCE ? "sequence"
                                         : "map, or a sequence of maps");
        return VD_ERR_PARAMETER;
    }
    /* A sequence without tensors may not know what they would be. */
    if (npu_has_items(row->kind) && !row->dims[0] && !row->dims[1])
        return 0;
    if (io->dtype && row->dtype != (uint32_t)io->dtype) {
        fail(out, VD_ERR_PARAMETER, "input %s is of type %s, not %s", io->name,
             npu_dtype_name(row->dtype), npu_dtype_name((uint32_t)io->dtype));
        return VD_ERR_PARAMETER;
    }
    return 0;
}

/* Bytes of private memory for an input, a multiple of 64. */
static uint64_t input_room(const struct vd_npu_value *row)
{
    uint64_t room = 0;
    int64_t dims[VD_MAX_NPU_RANK];

    npu_value_dims(row, dims);
    /* It was looked at when the job came. */
    if (row->kind != VD_NPU_PICTURE || npu_bytes(row->dtype, dims, row->rank, &room))
        room = pack_room(row);
    return (room + 63) & ~UINT64_C(63);
}

static int take_picture(struct hosted *m, struct job *job, uint32_t i, void *to,
                        struct outcome *out)
{
    const struct vd_npu_value *row = &job->values[i];
    struct onnx_value *value = &m->values[i];
    uint64_t bytes = 0;
    int err = hosted_extra_picture(m, job, i, to, out->result.text, sizeof(out->result.text));

    out->result.status = (uint32_t)-err;
    *value = (struct onnx_value){
        .kind = ONNX_TENSOR, .dtype = (enum onnx_dtype)row->dtype, .rank = (int)row->rank};
    npu_value_dims(row, value->dims);
    if (!err)
        err = npu_bytes(row->dtype, value->dims, row->rank, &bytes);
    value->data = to;
    value->size = bytes;
    return err;
}

static int take_inputs(struct hosted *m, struct job *job, uint32_t more, struct outcome *out)
{
    uint64_t scratch = 0;
    int err;

    for (uint32_t i = 0; i < job->inputs; i++) {
        err = check_input(m, &job->values[i], out);
        if (err)
            return err;
        scratch += input_room(&job->values[i]);
    }
    err = reserve(m, job->count + more, scratch);
    if (err) {
        fail(out, err, "there is no memory for %llu bytes of inputs", (unsigned long long)scratch);
        return err;
    }
    scratch = 0;
    for (uint32_t i = 0; i < job->inputs; i++) {
        const struct vd_npu_value *row = &job->values[i];
        /* Nothing needs no memory. */
        uint8_t *to = m->scratch ? m->scratch + scratch : NULL;

        m->indices[i] = row->index;
        if (row->kind == VD_NPU_PICTURE) {
            err = take_picture(m, job, i, to, out);
            if (err)
                return err;
            scratch += input_room(row);
            continue;
        }
        err = pack_read(row, m->setup.arena->base + row->offset, to, &m->values[i]);
        if (err) {
            fail(out, err, "the bytes of input %s are broken",
                 m->model->description.inputs[row->index].name);
            return err;
        }
        scratch += input_room(row);
    }
    return 0;
}

/* Outputs whose shape is known beforehand are written where the guest wants them. */
static int prepare_outputs(struct hosted *m, const struct job *job, struct outcome *out)
{
    for (uint32_t i = job->inputs; i < job->count; i++) {
        const struct vd_npu_value *row = &job->values[i];
        struct onnx_value *value = &m->values[i];
        const struct onnx_io *io;
        struct vd_npu_value as = {0};
        uint64_t size;

        if (row->index >= m->model->description.output_count) {
            fail(out, VD_ERR_PARAMETER, "the model has %zu outputs, not %u",
                 m->model->description.output_count, row->index + 1);
            return VD_ERR_PARAMETER;
        }
        io = &m->model->description.outputs[row->index];
        if (io->kind == PROVIDER_OTHER) {
            fail(out, VD_ERR_UNSUPPORTED, "output %s is of a kind that is not carried", io->name);
            return VD_ERR_UNSUPPORTED;
        }
        m->indices[i] = row->index;
        *value = (struct onnx_value){.kind = io->kind, .dtype = io->dtype, .rank = io->rank};
        if (io->kind != ONNX_TENSOR || io->optional || io->rank < 0 || row->kind == VD_NPU_POST ||
            npu_bytes((uint32_t)io->dtype, io->dims, (uint32_t)io->rank, &size))
            continue;
        as = (struct vd_npu_value){.dtype = (uint32_t)io->dtype, .size = size};
        if (size > row->size || !pack_in_place(&as))
            continue;
        memcpy(value->dims, io->dims, sizeof(value->dims));
        value->data = m->setup.arena->base + row->offset;
        value->size = size;
    }
    return 0;
}

/* Outputs that nobody gets, but what is made of others needs. */
static int prepare_more(struct hosted *m, const struct job *job, const uint32_t *more,
                        uint32_t count, struct outcome *out)
{
    for (uint32_t i = 0; i < count; i++) {
        struct onnx_value *value = &m->values[job->count + i];
        const struct onnx_io *io;

        if (more[i] >= m->model->description.output_count) {
            fail(out, VD_ERR_PARAMETER, "the model has %zu outputs, not %u",
                 m->model->description.output_count, more[i] + 1);
            return VD_ERR_PARAMETER;
        }
        io = &m->model->description.outputs[more[i]];
        m->indices[job->count + i] = more[i];
        *value = (struct onnx_value){.kind = io->kind, .dtype = io->dtype, .rank = io->rank};
    }
    return 0;
}

static void forget(struct hosted *m, struct kept *kept)
{
    for (uint32_t i = 0; i < kept->count; i++)
        m->setup.free(kept->values[i].bytes);
    free(kept->values);
    *kept = (struct kept){0};
}

/* A place for outputs of this job: a free one, or that of the oldest. */
static struct kept *keep_place(struct hosted *m, uint32_t job, uint32_t count)
{
    struct kept *place = &m->kept[0];

    for (uint32_t i = 0; i < VD_MAX_NPU_KEPT && place->job; i++) {
        struct kept *k = &m->kept[i];

        if (!k->job || job - k->job > job - place->job)
            place = k;
    }
    forget(m, place);
    place->values = calloc(count, sizeof(*place->values));
    if (!place->values)
        return NULL;
    place->job = job;
    return place;
}

static int keep(struct hosted *m, const struct job *job, struct kept **place,
                const struct onnx_value *value, const struct vd_npu_value *row)
{
    struct kept_value *kept;
    void *bytes;
    int err;

    if (!*place)
        *place = keep_place(m, job->number, job->count - job->inputs);
    if (!*place)
        return VD_ERR_MEMORY;
    err = m->setup.alloc(m->setup.owner, row->size, &bytes);
    if (err)
        return err;
    kept = &(*place)->values[(*place)->count++];
    kept->row = *row;
    kept->bytes = bytes;
    pack_write(value, bytes);
    return 0;
}

/* Puts outputs where there is room; turns the job's rows into what they became. */
static void give_outputs(struct hosted *m, const struct job *job, struct outcome *out)
{
    struct vd_npu_value *rows = job->values + job->inputs;
    uint32_t count = job->count - job->inputs;
    struct kept *place = NULL;

    out->values = rows;
    out->result.count = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct onnx_value *value = &m->values[job->inputs + i];
        struct vd_npu_value row = {.index = rows[i].index, .offset = rows[i].offset};
        uint64_t size;
        int err = pack_size(value, &size);

        if (err) {
            fail(out, err, "output %s is of a kind that is not carried",
                 m->model->description.outputs[row.index].name);
            return;
        }
        pack_row(value, size, &row);
        if (npu_has_items((uint32_t)value->kind) && !row.dtype)
            row.dtype = (uint32_t)m->model->description.outputs[row.index].dtype;
        if (size <= rows[i].size) {
            pack_write(value, m->setup.arena->base + row.offset);
            mirror(m, row.offset, size);
        } else {
            row.offset = 0;
            err = keep(m, job, &place, value, &row);
            if (err) {
                fail(out, err, "there is no memory to keep output %s",
                     m->model->description.outputs[row.index].name);
                return;
            }
            fail(out, VD_ERR_ROOM, "outputs are larger than the room for them");
        }
        rows[i] = row;
    }
}

/* With what was opened for these shapes, if there is one for each. */
static int execute(struct hosted *m, const struct job *job, struct provider_run *run)
{
    const struct shelf_model *model = m->model;
    struct special_one *one;
    bool left;
    int err;

    if (model->model)
        return model->provider->run(m->run, run);
    /* Whom a cancel would reach now had it before it ran. */
    pthread_mutex_lock(&m->lock);
    m->current = NULL;
    pthread_mutex_unlock(&m->lock);
    err = special_take(&m->special, m->setup.shelf, model, run, &one);
    if (err)
        return err;
    pthread_mutex_lock(&m->lock);
    m->current = one->run;
    left = m->left || job->cancelled || job->late;
    pthread_mutex_unlock(&m->lock);
    if (left) {
        snprintf(run->error, run->error_size, "the job was cancelled");
        return VD_ERR_GONE;
    }
    return model->provider->run(one->run, run);
}

static void do_run(struct hosted *m, struct job *job, struct outcome *out)
{
    uint32_t more[2 * VD_MAX_NPU_POSTS], more_count = hosted_extra_outputs(job, more);
    uint64_t start = now_ns(), taken;
    struct provider_run run;
    int err;

    if (take_inputs(m, job, more_count, out) || prepare_outputs(m, job, out) ||
        prepare_more(m, job, more, more_count, out))
        return;
    /* Not the wait for a picture. */
    if (job->extras)
        start = now_ns();
    run = (struct provider_run){
        .inputs = m->values,
        .input_index = m->indices,
        .input_count = job->inputs,
        .outputs = m->values + job->inputs,
        .output_index = m->indices + job->inputs,
        .output_count = job->count - job->inputs + more_count,
        .error = out->result.text,
        .error_size = sizeof(out->result.text),
    };
    err = execute(m, job, &run);
    if (!err && job->extras && job->extra->post_count)
        err = hosted_extra_post(m, job, m->values + job->inputs, m->values + job->count,
                                out->result.text, sizeof(out->result.text));
    taken = now_ns() - start;
    out->result.nanoseconds = taken;
    out->result.status = (uint32_t)-err;
    if (!err)
        give_outputs(m, job, out);
    if (taken > HOSTED_QUICK_NS || err) {
        m->quick = 0;
        return;
    }
    taken = 0;
    for (uint32_t i = 0; i < job->inputs; i++)
        taken += job->values[i].size;
    m->quick = taken == m->quick_bytes ? m->quick + 1 : 1;
    m->quick_bytes = taken;
}

static void do_fetch(struct hosted *m, const struct job *job, struct outcome *out)
{
    bool given[VD_MAX_NPU_VALUES] = {false};
    struct kept *kept = NULL;
    uint32_t found = 0;

    if (job->source == 1) {
        give_info(m, job, out);
        return;
    }
    for (uint32_t i = 0; i < VD_MAX_NPU_KEPT; i++)
        kept = m->kept[i].job && m->kept[i].job == job->source ? &m->kept[i] : kept;
    if (!kept) {
        fail(out, VD_ERR_ID, "nothing is kept of job %u", job->source);
        return;
    }
    for (uint32_t i = 0; i < job->count; i++) {
        for (uint32_t j = 0; j < kept->count; j++) {
            const struct kept_value *value = &kept->values[j];
            struct vd_npu_value row = value->row;

            /* One output may be there twice: as it is, and as what was made of it. */
            if (given[j] || row.index != job->values[i].index || job->values[i].size < row.size)
                continue;
            given[j] = true;
            row.offset = job->values[i].offset;
            if (row.size)
                memcpy(m->setup.arena->base + row.offset, value->bytes, row.size);
            mirror(m, row.offset, row.size);
            job->values[i] = row;
            found++;
            break;
        }
    }
    out->values = job->values;
    out->result.count = job->count;
    if (found != job->count)
        fail(out, VD_ERR_ROOM, "outputs are larger than the room for them");
    else
        forget(m, kept);
}

void hosted_job_do(struct hosted *m, struct job *job)
{
    struct outcome out = {0};
    bool late;

    if (hosted_job_left(m, job))
        fail(&out, VD_ERR_GONE, "the job was cancelled");
    else if (job->kind == JOB_LOAD)
        do_load(m, job, &out);
    else if (!m->loaded)
        fail(&out, VD_ERR_PARAMETER, "the model was not loaded");
    else if (job->kind == JOB_RUN)
        do_run(m, job, &out);
    else
        do_fetch(m, job, &out);
    if (job->kind == JOB_RUN && out.result.status && out.result.status != (uint32_t)-VD_ERR_ROOM) {
        pthread_mutex_lock(&m->lock);
        late = job->late;
        if (job->cancelled && !late)
            out.result.status = (uint32_t)-VD_ERR_GONE;
        pthread_mutex_unlock(&m->lock);
        if (late)
            fail(&out, VD_ERR_TIMEOUT, "the run took more than the %u ms it may", job->limit);
        out.values = NULL;
        out.result.count = 0;
    }
    if (job->kind == JOB_RUN && !out.result.status)
        __atomic_fetch_add(m->setup.runs, 1, __ATOMIC_RELAXED);
    write_outcome(m, job, &out);
}

void hosted_job_cancel(struct hosted *m)
{
    if (m->current)
        m->model->provider->cancel(m->current);
}

void hosted_job_finish(struct hosted *m)
{
    for (uint32_t i = 0; i < VD_MAX_NPU_KEPT; i++)
        forget(m, &m->kept[i]);
    if (m->run)
        m->model->provider->close(m->run);
    special_finish(&m->special, m->setup.shelf);
    shelf_put(m->setup.shelf, m->model);
    m->setup.free(m->bytes);
    m->setup.free(m->scratch);
    free(m->values);
    free(m->indices);
}
