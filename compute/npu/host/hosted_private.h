/* SPDX-License-Identifier: MIT */
#ifndef NPU_HOSTED_PRIVATE_H
#define NPU_HOSTED_PRIVATE_H

#include <pthread.h>

#include "hosted.h"
#include "special.h"

/* hosted.c has the jobs and who does them, hosted_job.c what is done. */

enum job_kind { JOB_LOAD, JOB_RUN, JOB_FETCH };

/* What a run has beside tensors. */
struct job_extra {
    uint32_t picture_count, post_count;
    struct job_picture {
        uint32_t value; /* which one of the job's */
        bool reading;   /* between begin and end */
        _Alignas(16) uint8_t read[PICTURES_READ_BYTES];
        struct vd_npu_picture how;
        struct vd_npu_roi rois[VD_MAX_NPU_ROIS];
        struct npu_place places[VD_MAX_NPU_ROIS];
        uint32_t width, height; /* once it is made */
    } pictures[VD_MAX_NPU_PICTURES];
    struct job_post {
        uint32_t value;
        struct vd_npu_post how;
    } posts[VD_MAX_NPU_POSTS];
};

struct job {
    enum job_kind kind;
    uint32_t number;
    uint32_t source;       /* fetch */
    uint32_t inputs;       /* run: of values */
    uint32_t milliseconds; /* run: as it says itself, 0: no limit */
    uint32_t limit;        /* run: that, or the host's */
    uint64_t result, room;
    struct vd_npu_value *values;
    uint32_t count, value_room;
    bool cancelled, late;    /* under the model's lock */
    struct job_extra *extra; /* NULL until one needs it; then used again */
    bool extras;             /* this one does */
};

/* Outputs that had no room. */
struct kept {
    uint32_t job; /* 0: free */
    uint32_t count;
    struct kept_value {
        struct vd_npu_value row;
        uint8_t *bytes; /* by setup.alloc */
    } * values;
};

struct hosted {
    struct hosted_setup setup;
    pthread_t thread, watch;
    pthread_mutex_t lock;
    pthread_cond_t wake, watched;
    /* Under the lock. */
    struct job jobs[VD_MAX_NPU_JOBS]; /* by number; those in flight are their executor's */
    uint32_t submitted, done;         /* the newest number, and that of the last that is done */
    struct job *running;
    uint64_t deadline;    /* of `running`, 0: none; CLOCK_MONOTONIC */
    uint64_t watch_until; /* when `watch` looks again by itself; UINT64_MAX: it does not */
    bool left, watching;
    bool loaded;   /* the model can be run */
    void *current; /* the provider's run that a cancel is for, NULL: none */
    /* The session's. */
    bool loading; /* the load was submitted */
    /* Whoever executes. */
    struct shelf_key key; /* its hash: once it is loaded, or was asked for */
    struct shelf_model *model;
    void *run; /* of the model's provider; NULL: `special` has them */
    struct special special;
    char device[VD_NAME_BYTES];
    uint8_t *bytes; /* of the model until it is loaded */
    uint64_t filled;
    struct kept kept[VD_MAX_NPU_KEPT];
    uint8_t *scratch; /* copies of inputs */
    uint64_t scratch_size;
    struct onnx_value *values; /* of a run */
    uint32_t *indices;
    uint32_t value_room;
    struct post *posts;  /* VD_MAX_NPU_POSTS, NULL until one is needed */
    void *picture_state; /* pictures_ops.make's */
    uint32_t quick;      /* runs in a row that were */
    uint64_t quick_bytes;
};

/* Does a job, writes what it came to into the arena. `quick`: counts. */
void hosted_job_do(struct hosted *model, struct job *job);
/* hosted_extra.c: what a run makes of pictures before, and of outputs behind the model. */

/*
 * Copies and checks what the run's values point to; begins to read surfaces. The session's thread.
 * 0, -VD_ERR_PROTOCOL, -VD_ERR_MEMORY.
 */
int hosted_extra_take(struct hosted *model, struct job *job);
/* Lets go of surfaces. */
void hosted_extra_end(struct hosted *model, struct job *job);
/* Wakes who waits for them. */
void hosted_extra_cancel(struct hosted *model, struct job *job);
/* The tensor of the job's value `index`, into `to`. 0 or an error with a sentence. */
int hosted_extra_picture(struct hosted *model, struct job *job, uint32_t index, void *to,
                         char *error, size_t error_size);
/* Outputs that the run needs beyond those that were asked for, at most twice VD_MAX_NPU_POSTS. */
uint32_t hosted_extra_outputs(const struct job *job, uint32_t *ret_outputs);
/* Turns outputs into what is made of them. `more` are those of hosted_extra_outputs. */
int hosted_extra_post(struct hosted *model, struct job *job, struct onnx_value *outputs,
                      const struct onnx_value *more, char *error, size_t error_size);
/* The post of a value, or NULL. */
const struct vd_npu_post *hosted_extra_post_of(const struct job *job, uint32_t index);
void hosted_extra_finish(struct hosted *model);

/* What the model holds beside its thread and lock. */
void hosted_job_finish(struct hosted *model);
/* Ends what the provider does; the lock is held. */
void hosted_job_cancel(struct hosted *model);
/* Whether nobody wants this job any more. Any thread. */
bool hosted_job_left(struct hosted *model, const struct job *job);

#endif
