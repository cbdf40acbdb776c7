/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "internal.h"

/* Room for an output whose size nobody knows yet. */
#define RUN_OUTPUT_ROOM 4096u
/* For what is made of one. */
#define RUN_POST_ROOM 16384u

static int run_fail(struct npu_run *run, int err, const char *text)
{
    run->err = err;
    snprintf(run->message, sizeof(run->message), "%s", text);
    return err;
}

static struct run_value *output_of(struct npu_run *run, uint32_t i)
{
    return &run->values[run->input_count + i];
}

static struct vd_npu_value *output_row(struct npu_run *run, uint32_t i)
{
    return &run->rows[run->input_count + i];
}

/* How much the output will take: known, learnt, or guessed. */
static uint64_t output_room(const struct npu_model *model, uint32_t index, bool post)
{
    const struct npu_io *io = &model->info.outputs[index];
    uint64_t learnt = __atomic_load_n(&model->learnt[index], __ATOMIC_RELAXED), bytes;

    if (post)
        return learnt > RUN_POST_ROOM ? learnt : RUN_POST_ROOM;
    if (io->kind == NPU_KIND_TENSOR && io->rank >= 0 &&
        !npu_bytes((uint32_t)io->dtype, io->dims, (uint32_t)io->rank, &bytes))
        return bytes;
    return learnt > RUN_OUTPUT_ROOM ? learnt : RUN_OUTPUT_ROOM;
}

/* Where an input lies for the host: in place, or staged. Lock held. */
static int stage_input(struct npu_run *run, uint32_t i)
{
    struct npu *npu = run->model->npu;
    struct run_value *v = &run->values[i];
    struct vd_npu_value *row = &run->rows[i];
    uint32_t index = row->index;
    int err;

    *row = v->tensor->value;
    row->index = index;
    row->offset = v->tensor->piece.offset;
    if (v->tensor->value.kind == VD_NPU_NONE)
        return 0;
    if (!row->offset) {
        err = client_take(npu, row->size, &v->staged);
        if (err)
            return client_fail(err, "no shared memory is left for an input of %llu bytes",
                               (unsigned long long)row->size);
        row->offset = v->staged.offset;
        if (row->size)
            memcpy(npu->host->arena.base + row->offset, v->tensor->local, row->size);
    }
    return client_upload(npu, row->offset, row->size);
}

static int stage_output(struct npu_run *run, uint32_t i)
{
    struct run_value *v = output_of(run, i);
    struct vd_npu_value *row = output_row(run, i);
    struct npu_tensor *t = v->tensor;
    uint64_t room = t ? t->room : output_room(run->model, row->index, v->post);
    int err;

    *row = (struct vd_npu_value){.index = row->index};
    if (v->post) {
        int64_t at = (int64_t)(run->posts.offset + i * sizeof(struct vd_npu_post));

        row->kind = VD_NPU_POST;
        npu_value_set_dims(row, &at, 1);
        row->rank = 0;
    }
    if (t && t->piece.offset) {
        row->offset = t->piece.offset;
        row->size = t->room;
        return 0;
    }
    err = client_take(run->model->npu, room, &v->staged);
    if (err)
        return client_fail(err, "no shared memory is left for an output of %llu bytes",
                           (unsigned long long)room);
    row->offset = v->staged.offset;
    row->size = v->staged.size;
    return 0;
}

/* What the outputs' npu_posts say, where the host reads it. Lock held. */
static int stage_posts(struct npu_run *run, const struct npu_call *call)
{
    struct npu *npu = run->model->npu;
    struct vd_npu_post post;
    int err = 0;

    if (!call->posts || !run->output_count)
        return 0;
    err = client_take(npu, run->output_count * sizeof(post), &run->posts);
    if (err)
        return client_fail(err, "no shared memory is left");
    for (uint32_t i = 0; i < run->output_count && !err; i++) {
        post = (struct vd_npu_post){0};
        if (output_of(run, i)->post)
            err = client_post_pack(run->model, call, output_of(run, i)->post, &post);
        memcpy(npu->host->arena.base + run->posts.offset + i * sizeof(post), &post, sizeof(post));
    }
    return err ? err : client_upload(npu, run->posts.offset, run->posts.size);
}

/* Gives everything back; lock held. */
static void unstage(struct npu_run *run)
{
    for (uint32_t i = 0; i < run->input_count + run->output_count; i++)
        client_give(run->model->npu, &run->values[i].staged);
    client_give(run->model->npu, &run->result);
    client_give(run->model->npu, &run->posts);
}

static void free_run(struct npu_run *run)
{
    for (uint32_t i = 0; i < run->input_count + run->output_count; i++)
        npu_tensor_destroy(run->values[i].tensor);
    client_model_unref(run->model);
    free(run);
}

static int check_call(const struct npu_model *model, const struct npu_call *call)
{
    const struct npu_info *info = &model->info;

    if (call->input_count + call->output_count > VD_MAX_NPU_VALUES)
        return client_fail(VD_ERR_LIMIT, "%zu inputs and outputs; %d can be",
                           call->input_count + call->output_count, VD_MAX_NPU_VALUES);
    for (size_t i = 0; i < call->input_count; i++) {
        size_t index = call->input_index ? call->input_index[i] : i;

        if (index >= info->input_count)
            return client_fail(VD_ERR_PARAMETER, "the model has %zu inputs", info->input_count);
        if (!call->inputs[i] || call->inputs[i]->npu != model->npu)
            return client_fail(VD_ERR_PARAMETER, "input %s is no tensor of this connection",
                               info->inputs[index].name);
    }
    for (size_t i = 0; i < call->output_count; i++) {
        size_t index = call->output_index ? call->output_index[i] : i;
        const struct npu_tensor *t = call->outputs[i];

        if (index >= info->output_count)
            return client_fail(VD_ERR_PARAMETER, "the model has %zu outputs", info->output_count);
        if (t && (t->npu != model->npu || !npu_tensor_data(t)))
            return client_fail(VD_ERR_PARAMETER,
                               "output %s cannot be given there: not a tensor of numbers of this "
                               "connection",
                               info->outputs[index].name);
    }
    return 0;
}

static struct npu_run *make_run(struct npu_model *model, const struct npu_call *call)
{
    size_t count = call->input_count + call->output_count;
    struct npu_run *run =
        calloc(1, sizeof(*run) + count * (sizeof(*run->values) + sizeof(*run->rows)));

    if (!run)
        return NULL;
    run->model = client_model_ref(model);
    run->values = (struct run_value *)(run + 1);
    run->rows = (struct vd_npu_value *)(run->values + count);
    run->input_count = (uint32_t)call->input_count;
    run->output_count = (uint32_t)call->output_count;
    for (uint32_t i = 0; i < run->input_count; i++) {
        run->values[i].tensor = npu_tensor_ref(call->inputs[i]);
        run->pictures = run->pictures || call->inputs[i]->value.kind == VD_NPU_PICTURE;
        run->rows[i].index = call->input_index ? call->input_index[i] : i;
    }
    for (uint32_t i = 0; i < run->output_count; i++) {
        struct run_value *v = output_of(run, i);

        v->place = &call->outputs[i];
        v->post = call->posts ? call->posts[i] : NULL;
        v->tensor = call->outputs[i] ? npu_tensor_ref(call->outputs[i]) : NULL;
        output_row(run, i)->index = call->output_index ? call->output_index[i] : i;
    }
    return run;
}

/* The model takes another job; waits while it has too many. Takes the lock. */
static int begin_job(struct npu_model *model)
{
    for (;;) {
        uint32_t oldest;
        int err;

        pthread_mutex_lock(model->npu->lock);
        err = client_usable(model->npu);
        if (!err && model->npu->host->dead)
            err = client_fail(VD_ERR_GONE, "the host %s is gone", model->npu->host->uri);
        oldest = model->submitted + 1 - VD_MAX_NPU_JOBS;
        if (err || model->submitted < VD_MAX_NPU_JOBS || client_job_done(model, oldest)) {
            if (err)
                pthread_mutex_unlock(model->npu->lock);
            return err;
        }
        pthread_mutex_unlock(model->npu->lock);
        err = client_wait_job(model, oldest, UINT64_MAX);
        if (err)
            return client_fail(err, "the host %s is gone", model->npu->host->uri);
    }
}

/* Memory for the result, which says that nothing came until something did. Lock held. */
static int take_result(struct npu_run *run, uint32_t values)
{
    struct npu *npu = run->model->npu;
    struct vd_npu_result nothing = {.status = (uint32_t)-VD_ERR_INTERNAL};
    int err =
        client_take(npu, sizeof(nothing) + values * sizeof(struct vd_npu_value), &run->result);

    if (err)
        return client_fail(err, "no shared memory is left");
    memcpy(npu->host->arena.base + run->result.offset, &nothing, sizeof(nothing));
    return 0;
}

int npu_submit(struct npu_model *model, const struct npu_call *call, struct npu_run **ret_run)
{
    struct npu *npu = model->npu;
    struct vd_npu_run_req req = {.model = model->id, .milliseconds = call->milliseconds};
    struct npu_run *run;
    int err = check_call(model, call);

    if (err)
        return err;
    run = make_run(model, call);
    if (!run)
        return client_fail(VD_ERR_MEMORY, "out of memory");
    err = begin_job(model);
    if (err) {
        free_run(run);
        return err;
    }
    for (uint32_t i = 0; i < run->input_count && !err; i++)
        err = stage_input(run, i);
    if (!err)
        err = stage_posts(run, call);
    for (uint32_t i = 0; i < run->output_count && !err; i++)
        err = stage_output(run, i);
    if (!err)
        err = take_result(run, run->output_count);
    if (!err) {
        req.job = run->job = ++model->submitted;
        req.inputs = run->input_count;
        req.result = run->result.offset;
        req.room = run->result.size;
        err = host_send(npu->host, VD_OP_npu_run, &req, run->rows,
                        run->input_count + run->output_count);
        if (err)
            client_fail(err, "the host %s is gone", npu->host->uri);
    }
    if (err)
        unstage(run);
    pthread_mutex_unlock(npu->lock);
    if (err)
        free_run(run);
    else
        *ret_run = run;
    return err;
}

/* Pictures that the run takes may be held back until somebody wants them. */
static void kick(struct npu_run *run)
{
    struct vd_npu_kick_req req = {.model = run->model->id, .job = run->job};
    struct npu *npu = run->model->npu;

    if (!run->pictures || run->kicked || client_job_done(run->model, run->job))
        return;
    pthread_mutex_lock(npu->lock);
    run->kicked = true;
    if (!npu->host->dead)
        host_send(npu->host, VD_OP_npu_kick, &req, NULL, 0);
    pthread_mutex_unlock(npu->lock);
}

bool npu_run_done(struct npu_run *run)
{
    if (!run->finished)
        kick(run);
    return run->finished || client_job_done(run->model, run->job) ||
           !host_alive(run->model->npu->host);
}

/* Copies a result and its rows, and looks whether they answer what was asked. */
static int read_result(struct npu_run *run, struct vd_npu_result *ret_result, bool *ret_room)
{
    struct npu *npu = run->model->npu;
    int err;

    client_result(npu, &run->result, ret_result);
    err = errors_from_wire(ret_result->status);
    *ret_room = err == VD_ERR_ROOM;
    if (err && err != VD_ERR_ROOM)
        return run_fail(run, err, ret_result->text[0] ? ret_result->text : errors_text(err));
    return 0;
}

/* Takes rows of a result over where outputs have their bytes; says which have not. */
static int read_rows(struct npu_run *run, const struct vd_npu_result *result, const uint32_t *which,
                     uint32_t count)
{
    const uint8_t *from = run->model->npu->host->arena.base + run->result.offset + sizeof(*result);

    if (result->count != count)
        return run_fail(run, VD_ERR_PROTOCOL, "the host answers with another number of results");
    for (uint32_t i = 0; i < count; i++) {
        struct vd_npu_value *asked = output_row(run, which ? which[i] : i), row;

        memcpy(&row, from + i * sizeof(row), sizeof(row));
        if (npu_value_check(&row) || row.index != asked->index ||
            (row.offset && (row.offset != asked->offset || row.size > asked->size)))
            return run_fail(run, VD_ERR_PROTOCOL, "a result of the host's cannot be");
        *asked = row;
    }
    return 0;
}

/* Room for outputs that had too little of what is made here. Lock held. */
static int more_room(struct npu_run *run, uint32_t i)
{
    struct run_value *v = output_of(run, i);
    struct vd_npu_value *row = output_row(run, i);
    int err;

    client_give(run->model->npu, &v->staged);
    err = client_take(run->model->npu, row->size, &v->staged);
    if (err)
        return run_fail(run, err, "no shared memory is left for an output");
    *row = (struct vd_npu_value){
        .index = row->index, .offset = v->staged.offset, .size = v->staged.size};
    return 0;
}

/* Gets outputs that the host keeps, or lets it forget them. */
static int fetch(struct npu_run *run)
{
    struct npu_model *model = run->model;
    struct npu *npu = model->npu;
    struct vd_npu_fetch_req req = {.model = model->id, .source = run->job};
    struct vd_npu_value rows[VD_MAX_NPU_VALUES];
    uint32_t which[VD_MAX_NPU_VALUES], count = 0;
    struct vd_npu_result result;
    int err = 0, refused = 0;
    bool room;

    for (uint32_t i = 0; i < run->output_count; i++) {
        const struct npu_tensor *t = output_of(run, i)->tensor;
        const struct vd_npu_value *row = output_row(run, i);

        if (row->offset || row->kind == VD_NPU_NONE)
            continue;
        if (t) {
            refused = VD_ERR_PARAMETER;
            snprintf(run->message, sizeof(run->message),
                     "output %s takes %llu bytes, and there is room for %llu",
                     model->info.outputs[row->index].name, (unsigned long long)row->size,
                     (unsigned long long)t->room);
        }
        which[count++] = i;
    }
    if (begin_job(model))
        return run_fail(run, VD_ERR_GONE, npu_message());
    client_give(npu, &run->result);
    /* Without rows it forgets them. */
    count = refused ? 0 : count;
    for (uint32_t i = 0; i < count && !err; i++) {
        err = more_room(run, which[i]);
        rows[i] = *output_row(run, which[i]);
    }
    if (!err && take_result(run, count))
        err = run_fail(run, VD_ERR_MEMORY, npu_message());
    if (!err) {
        req.job = ++model->submitted;
        req.result = run->result.offset;
        req.room = run->result.size;
        err = host_send(npu->host, VD_OP_npu_fetch, &req, rows, count);
    }
    pthread_mutex_unlock(npu->lock);
    if (!err)
        err = client_wait_job(model, req.job, UINT64_MAX);
    if (err || refused)
        return run->err = err ? err : refused;
    err = read_result(run, &result, &room);
    if (!err && room)
        err = run_fail(run, VD_ERR_PROTOCOL, "the host still has no room for its results");
    return err ? err : read_rows(run, &result, which, count);
}

static int give_output(struct npu_run *run, uint32_t i)
{
    struct npu *npu = run->model->npu;
    struct run_value *v = output_of(run, i);
    const struct vd_npu_value *row = output_row(run, i);
    struct npu_tensor *t = v->tensor;
    uint64_t learnt = row->size + row->size / 4;
    int err;

    if (t && (row->kind != VD_NPU_TENSOR || row->dtype != t->value.dtype)) {
        snprintf(run->message, sizeof(run->message), "output %s is not a tensor of type %s",
                 run->model->info.outputs[row->index].name, npu_dtype_name(t->value.dtype));
        return run->err = VD_ERR_PARAMETER;
    }
    if (t) {
        if (!t->piece.offset && row->size)
            memcpy(t->local, npu->host->arena.base + row->offset, row->size);
        client_tensor_become(t, row);
        return 0;
    }
    if (learnt > __atomic_load_n(&run->model->learnt[row->index], __ATOMIC_RELAXED))
        __atomic_store_n(&run->model->learnt[row->index], learnt, __ATOMIC_RELAXED);
    err = client_tensor_from(npu, row, &v->staged, &t);
    if (err)
        return run_fail(run, err, npu_message());
    *v->place = t;
    return 0;
}

/* The job is done: all or none of the new outputs are given. */
static void finish(struct npu_run *run)
{
    struct vd_npu_result result;
    bool room = false;
    uint32_t i = 0;
    int err = read_result(run, &result, &room);

    run->nanoseconds = result.nanoseconds;
    if (!err)
        err = read_rows(run, &result, NULL, run->output_count);
    if (!err && room)
        err = fetch(run);
    for (uint32_t j = 0; j < run->output_count && !err; j++) {
        if (!output_row(run, j)->offset && output_row(run, j)->size)
            err = run_fail(run, VD_ERR_PROTOCOL, "the host gives no bytes of a result");
    }
    for (; i < run->output_count && !err; i++)
        err = give_output(run, i);
    while (err && i--) {
        struct run_value *v = output_of(run, i);

        if (!v->tensor && *v->place) {
            npu_tensor_destroy(*v->place);
            *v->place = NULL;
        }
    }
}

int npu_wait(struct npu_run *run, uint64_t nanoseconds)
{
    struct npu *npu = run->model->npu;
    int err;

    if (!run->finished) {
        kick(run);
        err = client_wait_job(run->model, run->job, nanoseconds);
        if (err == VD_ERR_TIMEOUT)
            return client_fail(err, "the run is not done yet");
        run->finished = true;
        if (err)
            run_fail(run, err, "the host went away during a run");
        else
            finish(run);
        pthread_mutex_lock(npu->lock);
        if (err)
            host_lost(npu->host);
        unstage(run);
        pthread_mutex_unlock(npu->lock);
    }
    return run->err ? client_fail(run->err, "%s", run->message) : 0;
}

void npu_run_cancel(struct npu_run *run)
{
    struct npu *npu = run->model->npu;
    struct vd_npu_cancel_req req = {.model = run->model->id, .job = run->job};

    pthread_mutex_lock(npu->lock);
    if (!client_job_done(run->model, run->job) && !npu->host->dead)
        host_send(npu->host, VD_OP_npu_cancel, &req, NULL, 0);
    pthread_mutex_unlock(npu->lock);
}

uint64_t npu_run_nanoseconds(const struct npu_run *run)
{
    return run->nanoseconds;
}

void npu_run_destroy(struct npu_run *run)
{
    if (!run)
        return;
    if (!run->finished) {
        npu_run_cancel(run);
        npu_wait(run, UINT64_MAX);
    }
    free_run(run);
}

int npu_run(struct npu_model *model, const struct npu_call *call)
{
    struct npu_run *run;
    int err = npu_submit(model, call, &run);

    if (err)
        return err;
    err = npu_wait(run, UINT64_MAX);
    free_run(run);
    return err;
}
