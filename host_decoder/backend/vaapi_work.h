/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_VAAPI_WORK_H
#define BACKEND_VAAPI_WORK_H

#include "vaapi.h"

/*
 * Contexts of the vaapi back end whose pictures are made from other pictures: encoding, video
 * processing. vaapi_work.c finds the pictures and keeps the order, the kinds of work do the rest.
 */

/* Surfaces of its own that a context keeps. */
#define VAAPI_SPARE 4

/* A picture that is read. */
struct vaapi_input {
    VASurfaceID id; /* where it is, when `render` is called */
    /* References: what the back end keeps for the guest's surface, and a copy made for this job. */
    struct vaapi_surface *own, *copy;
    bool exported; /* others write to `own` */
};

struct vaapi_task {
    struct backend_job *job;
    struct vaapi_input *inputs; /* one for each of the job's reads */
    uint32_t input_count, input_room;
    bool waits; /* counted in `waiting` of the surfaces */
    /* Encoding: */
    VABufferID coded;
    uint64_t coded_bytes; /* on the client's account */
};

struct vaapi_work {
    const struct vaapi_context_ops *ops;
    const struct vaapi_work_kind *kind;
    void *state; /* of the kind */
    struct backend_context_info info;
    struct vaapi_device *device;
    VAConfigID config;
    VAContextID id;
    /* Of the picture that is rendered; `aside`: those that others of them name. */
    struct vaapi_buffers buffers, aside;
    uint32_t formats[VD_MAX_CAP_FORMATS]; /* that it takes; none: the driver does not say */
    uint32_t format_count;
    pthread_t thread;
    bool started;
    struct vaapi_surface *spare[VAAPI_SPARE]; /* the thread's: copies that were used before */
    struct vaapi_task tasks[VD_MAX_IN_FLIGHT];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Under the lock: counts of jobs, done <= rendered <= queued. */
    uint64_t queued, rendered, done;
    bool quit;
};

struct vaapi_work_kind {
    /* Once, when there is a context. Optional. */
    int (*create)(struct vaapi_work *self);
    void (*destroy)(struct vaapi_work *self);
    /* Session's thread: translates what only it can. */
    int (*prepare)(struct vaapi_work *self, struct vaapi_task *task);
    /* Makes the buffers, and says what to begin with; one thread at a time. */
    int (*render)(struct vaapi_work *self, struct vaapi_task *task, VASurfaceID *ret_target);
    /* Waits for the device. */
    int (*finish)(struct vaapi_work *self, struct vaapi_task *task);
    /* Gives up what the task has, done or not. Optional. */
    void (*release)(struct vaapi_work *self, struct vaapi_task *task);
};

/* Adds one buffer of the picture that is rendered; libva copies the bytes. */
int vaapi_work_buffer(struct vaapi_work *self, VABufferType type, uint32_t size, uint32_t count,
                      const void *bytes);
/* One that is named by others: it is the last of `aside`. */
int vaapi_work_aside(struct vaapi_work *self, VABufferType type, uint32_t size, uint32_t count,
                     const void *bytes);

/* Drops a reference and clears the pointer; NULL is fine. */
void vaapi_work_drop(struct vaapi_surface **surface);
/* vaapi_copy.c: a surface of the context's own with this picture. The thread's. */
int vaapi_copy(struct vaapi_work *self, const struct pixels *pixels,
               struct vaapi_surface **ret_copy);

extern const struct vaapi_work_kind vaapi_encode_kind, vaapi_proc_kind;

#endif
