/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "hosted_private.h"
#include "post.h"

/*
 * Reads begin on the session's thread, since they mean what was submitted last; the executor waits
 * for them and ends them. Who cancels does so under the model's lock, as whoever ends them must.
 */

static int take_picture(struct hosted *m, struct job *job, uint32_t index)
{
    const struct vd_npu_value *row = &job->values[index];
    struct job_extra *x = job->extra;
    struct job_picture *p = &x->pictures[x->picture_count];
    const uint8_t *from = m->setup.arena->base + row->offset;
    int64_t dims[VD_MAX_NPU_RANK];
    uint64_t bytes;
    int err;

    npu_value_dims(row, dims);
    if (x->picture_count == VD_MAX_NPU_PICTURES || !m->setup.pictures || row->rank != 4 ||
        npu_bytes(row->dtype, dims, 4, &bytes) || row->size < sizeof(p->how))
        return VD_ERR_PROTOCOL;
    memcpy(&p->how, from, sizeof(p->how));
    if (p->how.rois > VD_MAX_NPU_ROIS ||
        row->size != sizeof(p->how) + p->how.rois * sizeof(p->rois[0]))
        return VD_ERR_PROTOCOL;
    memcpy(p->rois, from + sizeof(p->how), p->how.rois * sizeof(p->rois[0]));
    p->value = index;
    p->width = p->height = 0;
    memset(p->read, 0, sizeof(p->read));
    err = m->setup.pictures->begin(m->setup.pictures_owner, p->how.surface, p->read);
    if (err)
        return VD_ERR_PROTOCOL;
    p->reading = true;
    x->picture_count++;
    return 0;
}

static int take_post(struct hosted *m, struct job *job, uint32_t index)
{
    struct job_extra *x = job->extra;
    struct job_post *p = &x->posts[x->post_count];
    int64_t dims[VD_MAX_NPU_RANK];

    npu_value_dims(&job->values[index], dims);
    if (x->post_count == VD_MAX_NPU_POSTS ||
        arena_check_upload(m->setup.arena, (uint64_t)dims[0], sizeof(p->how)))
        return VD_ERR_PROTOCOL;
    memcpy(&p->how, m->setup.arena->base + dims[0], sizeof(p->how));
    if (p->how.flags & ~VD_NPU_POST_FLAGS ||
        (p->how.input != VD_NPU_NOWHERE &&
         (p->how.input >= job->inputs || job->values[p->how.input].kind != VD_NPU_PICTURE)))
        return VD_ERR_PROTOCOL;
    p->value = index;
    x->post_count++;
    return 0;
}

int hosted_extra_take(struct hosted *m, struct job *job)
{
    int err = 0;

    if (!job->extra)
        job->extra = calloc(1, sizeof(*job->extra));
    if (!job->extra)
        return VD_ERR_MEMORY;
    job->extra->picture_count = job->extra->post_count = 0;
    for (uint32_t i = 0; i < job->count && !err; i++) {
        if (i < job->inputs && job->values[i].kind == VD_NPU_PICTURE)
            err = take_picture(m, job, i);
        else if (i >= job->inputs && job->values[i].kind == VD_NPU_POST)
            err = take_post(m, job, i);
    }
    return err;
}

void hosted_extra_end(struct hosted *m, struct job *job)
{
    for (uint32_t i = 0; job->extra && i < VD_MAX_NPU_PICTURES; i++) {
        struct job_picture *p = &job->extra->pictures[i];
        bool reading;

        pthread_mutex_lock(&m->lock);
        reading = p->reading;
        p->reading = false;
        pthread_mutex_unlock(&m->lock);
        if (reading)
            m->setup.pictures->end(p->read);
    }
}

/* The lock is held. */
void hosted_extra_cancel(struct hosted *m, struct job *job)
{
    for (uint32_t i = 0; job->extra && i < VD_MAX_NPU_PICTURES; i++) {
        if (job->extra->pictures[i].reading)
            m->setup.pictures->cancel(job->extra->pictures[i].read);
    }
}

static struct job_picture *picture_of(const struct job *job, uint32_t index)
{
    for (uint32_t i = 0; i < job->extra->picture_count; i++) {
        if (job->extra->pictures[i].value == index)
            return &job->extra->pictures[i];
    }
    return NULL;
}

int hosted_extra_picture(struct hosted *m, struct job *job, uint32_t index, void *to, char *error,
                         size_t error_size)
{
    struct job_picture *p = picture_of(job, index);
    int64_t dims[VD_MAX_NPU_RANK];
    struct pictures_input in;
    int err;

    npu_value_dims(&job->values[index], dims);
    err = m->setup.pictures->wait(p->read);
    if (err) {
        snprintf(error, error_size, "there is no picture to look at: %s", errors_text(err));
        return err;
    }
    in = (struct pictures_input){
        .how = &p->how,
        .rois = p->rois,
        .dtype = job->values[index].dtype,
        .dims = dims,
        .to = to,
        .places = p->places,
    };
    err = m->setup.pictures->make(&m->picture_state, p->read, &in, error, error_size);
    p->width = in.width;
    p->height = in.height;
    return err;
}

uint32_t hosted_extra_outputs(const struct job *job, uint32_t *ret_outputs)
{
    uint32_t count = 0;

    for (uint32_t i = 0; job->extras && i < job->extra->post_count; i++) {
        uint32_t needs[2];

        post_needs(&job->extra->posts[i].how, needs);
        for (int j = 0; j < 2; j++) {
            if (needs[j] != VD_NPU_NOWHERE)
                ret_outputs[count++] = needs[j];
        }
    }
    return count;
}

const struct vd_npu_post *hosted_extra_post_of(const struct job *job, uint32_t index)
{
    for (uint32_t i = 0; job->extras && i < job->extra->post_count; i++) {
        if (job->extra->posts[i].value == index)
            return &job->extra->posts[i].how;
    }
    return NULL;
}

static bool nobody_wants(void *arg)
{
    struct hosted *m = arg;
    bool left;

    pthread_mutex_lock(&m->lock);
    left = m->left || (m->running && (m->running->cancelled || m->running->late));
    pthread_mutex_unlock(&m->lock);
    return left;
}

static int make_posts(struct hosted *m)
{
    m->posts = calloc(VD_MAX_NPU_POSTS, sizeof(*m->posts));
    for (uint32_t i = 0; m->posts && i < VD_MAX_NPU_POSTS; i++)
        m->posts[i] = (struct post){
            .alloc = m->setup.alloc,
            .free = m->setup.free,
            .owner = m->setup.owner,
            .left = nobody_wants,
            .left_arg = m,
        };
    return m->posts ? 0 : VD_ERR_MEMORY;
}

static struct post_view view_of(const struct job *job, uint32_t input)
{
    const struct job_picture *p = input != VD_NPU_NOWHERE ? picture_of(job, input) : NULL;
    struct post_view view = {0};
    int64_t dims[VD_MAX_NPU_RANK];
    bool nchw;

    if (!p)
        return view;
    npu_value_dims(&job->values[input], dims);
    nchw = p->how.layout == VD_NPU_LAYOUT_NCHW;
    view.height = (uint32_t)dims[nchw ? 2 : 1];
    view.width = (uint32_t)dims[nchw ? 3 : 2];
    view.places = p->places;
    view.place_count = p->how.rois ? p->how.rois : 1;
    view.picture_width = p->width;
    view.picture_height = p->height;
    return view;
}

int hosted_extra_post(struct hosted *m, struct job *job, struct onnx_value *outputs,
                      const struct onnx_value *more, char *error, size_t error_size)
{
    int err = 0;

    if (!m->posts && make_posts(m)) {
        snprintf(error, error_size, "out of memory");
        return VD_ERR_MEMORY;
    }
    for (uint32_t i = 0; i < job->extra->post_count && !err; i++) {
        const struct job_post *p = &job->extra->posts[i];
        struct post_view view = view_of(job, p->how.input);
        struct onnx_value *value = &outputs[p->value - job->inputs], result;
        const struct onnx_value *scores = NULL, *classes = NULL;
        uint32_t needs[2];

        post_needs(&p->how, needs);
        if (needs[0] != VD_NPU_NOWHERE)
            scores = more++;
        if (needs[1] != VD_NPU_NOWHERE)
            classes = more++;
        err = post_run(&m->posts[i], &p->how, value, scores, classes, &view, &result, error,
                       error_size);
        if (!err)
            *value = result;
    }
    return err;
}

void hosted_extra_finish(struct hosted *m)
{
    for (uint32_t i = 0; i < VD_MAX_NPU_JOBS; i++) {
        hosted_extra_end(m, &m->jobs[i]);
        free(m->jobs[i].extra);
    }
    for (uint32_t i = 0; m->posts && i < VD_MAX_NPU_POSTS; i++)
        post_finish(&m->posts[i]);
    free(m->posts);
    if (m->picture_state)
        m->setup.pictures->forget(m->picture_state);
}
