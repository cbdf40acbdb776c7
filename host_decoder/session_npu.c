/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "compute/npu/host/cache.h"
#include "compute/npu/host/hosted.h"
#include "compute/npu/host/provider.h"
#include "npu_picture.h"
#include "session_private.h"

/*
 * Handlers of inference. A model's id has a slot among those of contexts, whose counter of the
 * status page counts its jobs. What is said about models and jobs is checked in hosted_*.
 */

/* A run that does not end when it is told to is given up after this. */
#define NPU_LEAVE_MS 5000

bool session_npu_prepare(void)
{
    bool wanted = provider_prepare();

    /* Workers without devices open no files. */
    if (wanted)
        cache_prepare();

    for (const struct provider *const *at = provider_list(); *at; at++)
        log_info("inference: %s", (*at)->name);
    return wanted;
}

void session_npu_sweep(void)
{
    cache_sweep(false);
}

static struct hosted *find_model(struct session *s, uint32_t id)
{
    struct hosted *m = VD_SLOT(id) < VD_MAX_CONTEXTS ? s->models[VD_SLOT(id)] : NULL;

    return m && hosted_id(m) == id ? m : NULL;
}

static int alloc_memory(void *owner, size_t size, void **ret_memory)
{
    return pool_alloc(owner, size, ret_memory);
}

/* Frees models that have left and whose thread has ended; how many others there are. */
static uint32_t reap(struct session *s, int milliseconds)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < s->leaving_count; i++) {
        if (!hosted_reap(s->leaving[i], milliseconds))
            s->leaving[left++] = s->leaving[i];
    }
    s->leaving_count = left;
    return left;
}

/* pictures_ops: a surface's picture, and who makes it, for the session's thread alone. */
struct picture_read {
    struct surface_read read;
    uint32_t context, picture;
};

_Static_assert(sizeof(struct picture_read) <= PICTURES_READ_BYTES, "reads have room");

static int read_begin(void *owner, uint32_t id, void *read)
{
    struct surface *surface = session_find_surface(owner, id);
    struct picture_read *r = read;

    if (!surface)
        return VD_ERR_ID;
    /* Nobody may give it other memory from now on. */
    surface->submitted = true;
    r->context = surface->writer;
    r->picture = surface->writer_picture;
    surface_read_begin(surface, &r->read);
    return 0;
}

static int read_wait(void *read)
{
    struct picture_read *r = read;

    return surface_read_wait(&r->read);
}

static void read_cancel(void *read)
{
    struct picture_read *r = read;

    surface_read_cancel(&r->read, VD_ERR_GONE);
}

static int read_make(void **state, void *read, struct pictures_input *input, char *error,
                     size_t error_size)
{
    struct picture_read *r = read;
    struct npu_picture *builder = *state;
    struct pixels pixels;
    int err = surface_read_pixels(&r->read, &pixels);

    if (err) {
        snprintf(error, error_size, "the picture does not come from its device: %s",
                 errors_text(err));
        return err;
    }
    err = npu_picture_make(&builder, &pixels, input, error, error_size);
    *state = builder;
    return err;
}

static void read_end(void *read)
{
    struct picture_read *r = read;

    surface_read_end(&r->read);
}

static void read_kick(void *owner, const void *read)
{
    const struct picture_read *r = read;

    session_kick_picture(owner, r->context, r->picture);
}

static void forget_builder(void *state)
{
    npu_picture_destroy(state);
}

static const struct pictures_ops pictures = {
    .begin = read_begin,
    .wait = read_wait,
    .cancel = read_cancel,
    .make = read_make,
    .end = read_end,
    .kick = read_kick,
    .forget = forget_builder,
};

int session_npu_devices(void *self, const struct vd_npu_devices_req *req,
                        const struct vd_none *tail, uint32_t tail_count,
                        struct dispatch_reply *reply)
{
    (void)self, (void)req, (void)tail, (void)tail_count;
    reply->tail_count = provider_devices(reply->tail, VD_MAX_NPU_DEVICES);
    return 0;
}

int session_npu_create(void *self, const struct vd_npu_create_req *req, const struct vd_none *tail,
                       uint32_t tail_count, struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_npu_create_rep *rep = reply->fixed;
    struct hosted_setup setup = {
        .id = req->model,
        .arena = &s->arena,
        .shelf = s->shelf,
        .size = req->size,
        .threads = req->threads,
        .require = req->flags & VD_NPU_REQUIRE,
        .alloc = alloc_memory,
        .free = pool_free,
        .owner = s->pool,
        .milliseconds = s->limits->run_seconds * 1000,
        .runs = &s->stats->inferences,
        .pictures = &pictures,
        .pictures_owner = s,
    };
    uint32_t slot = VD_SLOT(req->model);
    int err = 0;

    (void)tail, (void)tail_count;
    if (slot >= VD_MAX_CONTEXTS || s->contexts[slot] || s->models[slot])
        return VD_ERR_PROTOCOL;
    memcpy(setup.devices, req->devices, sizeof(setup.devices));
    if (s->model_count >= s->limits->contexts || reap(s, 0) >= VD_MAX_CONTEXTS)
        err = VD_ERR_LIMIT;
    else if (req->size > VD_MAX_NPU_MODEL_BYTES)
        err = VD_ERR_LIMIT;
    else if (setup.threads > 64)
        err = VD_ERR_PARAMETER;
    if (!err && !s->shelf) {
        setup.shelf = s->shelf = shelf_create();
        err = s->shelf ? 0 : VD_ERR_MEMORY;
    }
    if (!err) {
        err = hosted_create(&setup, &s->models[slot]);
        /* What is only kept in case makes room. */
        if (err == VD_ERR_MEMORY || err == VD_ERR_LIMIT) {
            shelf_trim(s->shelf);
            err = hosted_create(&setup, &s->models[slot]);
        }
    }
    if (!err)
        __atomic_store_n(&s->stats->models, ++s->model_count, __ATOMIC_RELAXED);
    rep->status = (uint32_t)-err;
    return 0;
}

int session_npu_data(void *self, const struct vd_npu_data_req *req, const struct vd_none *tail,
                     uint32_t tail_count, struct dispatch_reply *reply)
{
    struct hosted *model = find_model(self, req->model);

    (void)tail, (void)tail_count, (void)reply;
    return model ? hosted_data(model, req) : VD_ERR_PROTOCOL;
}

int session_npu_have(void *self, const struct vd_npu_have_req *req, const struct vd_none *tail,
                     uint32_t tail_count, struct dispatch_reply *reply)
{
    struct hosted *model = find_model(self, req->model);
    struct vd_npu_have_rep *rep = reply->fixed;
    bool known = false;
    int err;

    (void)tail, (void)tail_count;
    if (!model)
        return VD_ERR_PROTOCOL;
    err = hosted_have(model, req, &known);
    rep->known = known;
    return err;
}

int session_npu_load(void *self, const struct vd_npu_load_req *req, const struct vd_none *tail,
                     uint32_t tail_count, struct dispatch_reply *reply)
{
    struct hosted *model = find_model(self, req->model);

    (void)tail, (void)tail_count, (void)reply;
    return model ? hosted_load(model, req) : VD_ERR_PROTOCOL;
}

int session_npu_run(void *self, const struct vd_npu_run_req *req, const struct vd_npu_value *tail,
                    uint32_t tail_count, struct dispatch_reply *reply)
{
    struct hosted *model = find_model(self, req->model);

    (void)reply;
    return model ? hosted_run(model, req, tail, tail_count) : VD_ERR_PROTOCOL;
}

int session_npu_fetch(void *self, const struct vd_npu_fetch_req *req,
                      const struct vd_npu_value *tail, uint32_t tail_count,
                      struct dispatch_reply *reply)
{
    struct hosted *model = find_model(self, req->model);

    (void)reply;
    return model ? hosted_fetch(model, req, tail, tail_count) : VD_ERR_PROTOCOL;
}

int session_npu_cancel(void *self, const struct vd_npu_cancel_req *req, const struct vd_none *tail,
                       uint32_t tail_count, struct dispatch_reply *reply)
{
    struct hosted *model = find_model(self, req->model);

    (void)tail, (void)tail_count, (void)reply;
    if (!model)
        return VD_ERR_PROTOCOL;
    hosted_cancel(model, req->job);
    return 0;
}

int session_npu_kick(void *self, const struct vd_npu_kick_req *req, const struct vd_none *tail,
                     uint32_t tail_count, struct dispatch_reply *reply)
{
    struct hosted *model = find_model(self, req->model);

    (void)tail, (void)tail_count, (void)reply;
    if (!model)
        return VD_ERR_PROTOCOL;
    hosted_kick(model, req->job);
    return 0;
}

static void leave(struct session *s, uint32_t slot)
{
    hosted_leave(s->models[slot]);
    s->leaving[s->leaving_count++] = s->models[slot];
    s->models[slot] = NULL;
    __atomic_store_n(&s->stats->models, --s->model_count, __ATOMIC_RELAXED);
}

int session_npu_destroy(void *self, const struct vd_npu_destroy_req *req,
                        const struct vd_none *tail, uint32_t tail_count,
                        struct dispatch_reply *reply)
{
    struct session *s = self;

    (void)tail, (void)tail_count, (void)reply;
    if (!find_model(s, req->model))
        return VD_ERR_PROTOCOL;
    leave(s, VD_SLOT(req->model));
    reap(s, 0);
    return 0;
}

bool session_npu_finish(struct session *s)
{
    for (uint32_t i = 0; i < VD_MAX_CONTEXTS; i++) {
        if (s->models[i])
            leave(s, i);
    }
    if (!reap(s, NPU_LEAVE_MS)) {
        shelf_destroy(s->shelf);
        s->shelf = NULL;
        return true;
    }
    log_warn("a model of %s does not end when it is told to; what it holds goes with the worker",
             s->stats->name[0] ? s->stats->name : "a client");
    return false;
}
