/* SPDX-License-Identifier: MIT */
#ifndef NPU_HOSTED_PRIVATE_H
#define NPU_HOSTED_PRIVATE_H

#include <pthread.h>

#include "hosted.h"
#include "provider.h"

/* hosted.c has the jobs and who does them, hosted_job.c what is done. */

enum job_kind { JOB_LOAD, JOB_RUN, JOB_FETCH };

struct job {
    enum job_kind kind;
    uint32_t number;
    uint32_t source;       /* fetch */
    uint32_t inputs;       /* run: of values */
    uint32_t milliseconds; /* run: 0: no limit */
    uint64_t result, room;
    struct vd_npu_value *values;
    uint32_t count, value_room;
    bool cancelled, late; /* under the model's lock */
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
    uint64_t deadline; /* of `running`, 0: none; CLOCK_MONOTONIC */
    bool left, watching;
    /* The session's. */
    bool loading; /* the load was submitted */
    /* Whoever executes. */
    const struct provider *provider; /* NULL: not loaded */
    void *loaded;
    char device[VD_NAME_BYTES];
    struct provider_description description;
    uint8_t *info;
    uint64_t info_size;
    uint8_t *bytes; /* of the model until it is loaded */
    uint64_t filled;
    struct kept kept[VD_MAX_NPU_KEPT];
    uint8_t *scratch; /* copies of inputs */
    uint64_t scratch_size;
    struct onnx_value *values; /* of a run */
    uint32_t *indices;
    uint32_t value_room;
    uint32_t quick; /* runs in a row that were */
    uint64_t quick_bytes;
};

/* Does a job, writes what it came to into the arena. `quick`: counts. */
void hosted_job_do(struct hosted *model, struct job *job);
/* What the model holds beside its thread and lock. */
void hosted_job_finish(struct hosted *model);
/* Whether nobody wants this job any more. Any thread. */
bool hosted_job_left(struct hosted *model, const struct job *job);

#endif
