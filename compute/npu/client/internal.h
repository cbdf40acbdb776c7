/* SPDX-License-Identifier: MIT */
#ifndef NPU_INTERNAL_H
#define NPU_INTERNAL_H

#include <pthread.h>
#include <sys/types.h>
#include <viaduct/npu.h>
#include <viaduct/protocol.h>

#include "va_driver/host.h"
#include "va_driver/share.h"

/*
 * The client's own: client.c (connection, messages), client_display.c, client_picture.c,
 * client_post.c, client_model.c, client_external.c (weights in files), client_info.c,
 * client_tensor.c, client_run.c, proto_writer.c. Nothing that the host writes is believed: results
 * are copied, then checked; numbers of tensors alone are used where they lie.
 */

#define CLIENT_LOADED 16

struct npu {
    int refs; /* atomic */
    pid_t pid;
    /* Guards all below: the channel, memory of the upload zone, ids. The display's, if it has one.
     */
    pthread_mutex_t *lock, own_lock;
    const struct share_ops *share; /* of the driver whose session it is, or NULL */
    struct driver *driver;
    void *driver_handle; /* keeps its code */
    struct host *host;
    struct npu_model *models[VD_MAX_CONTEXTS];
    uint32_t generation; /* of ids */
    /* Sizes of the models that were loaded last: one like them may be on the host still. */
    uint64_t loaded[CLIENT_LOADED];
    uint32_t loaded_at;
};

struct npu_model {
    int refs; /* atomic */
    struct npu *npu;
    uint32_t id;
    uint32_t submitted; /* under npu->lock */
    uint64_t *learnt;   /* bytes that outputs had, by index; atomic */
    struct npu_info info;
    char device[VD_NAME_BYTES];
    char reason[VD_NPU_TEXT_BYTES];
    struct npu_io *rows;
    const char **pairs;
    char *texts;
};

/* A piece of the upload zone; offset 0: none. */
struct piece {
    uint64_t offset, size;
};

struct npu_tensor {
    int refs; /* atomic */
    struct npu *npu;
    struct vd_npu_value value; /* kind, type, dimensions, size */
    int64_t dims[NPU_MAX_RANK];
    struct piece piece; /* where it lies, if it does in shared memory */
    uint8_t *local;     /* else here */
    uint64_t room;      /* bytes there */
    bool wrapped;       /* `local` is the caller's */
    size_t *ends;       /* of strings, within the text behind their lengths; made when asked for */
};

struct npu_run {
    struct npu_model *model;
    uint32_t job;
    bool finished;
    bool pictures, kicked; /* it takes some; the host was told that they are waited for */
    int err;               /* once finished */
    uint64_t nanoseconds;
    char message[VD_NPU_TEXT_BYTES + 64];
    struct piece result, posts; /* posts: the npu_posts of its outputs */
    uint32_t input_count, output_count;
    struct run_value {
        struct npu_tensor *tensor;   /* NULL: an output that is made */
        struct npu_tensor **place;   /* of an output */
        const struct npu_post *post; /* of an output, until it was submitted */
        struct piece staged;         /* what is not in shared memory, or has no tensor yet */
    } * values;
    struct vd_npu_value *rows;
};

/* Sets this thread's message. Returns `err`, for tails of functions. */
int client_fail(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The connection is this process's: 0, or -NPU_GONE with the message set. */
int client_usable(struct npu *npu);
/* Of a display's session: lets it go. */
void client_display_leave(struct npu *npu);
struct npu *client_ref(struct npu *npu);
void client_unref(struct npu *npu);
/* Pieces of the upload zone; lock held. -NPU_MEMORY if it is full. */
int client_take(struct npu *npu, uint64_t size, struct piece *ret_piece);
void client_give(struct npu *npu, struct piece *piece);
/* Without shared memory: sends what was written there. Lock held. */
int client_upload(struct npu *npu, uint64_t offset, uint64_t size);
/* Waits until the model has done so many jobs. 0, -VD_ERR_TIMEOUT, -VD_ERR_GONE. No lock. */
int client_wait_job(struct npu_model *model, uint32_t job, uint64_t nanoseconds);
bool client_job_done(const struct npu_model *model, uint32_t job);
/* The result of a job: a copy whose texts end. */
void client_result(struct npu *npu, const struct piece *piece, struct vd_npu_result *ret_result);

struct npu_model *client_model_ref(struct npu_model *model);
void client_model_unref(struct npu_model *model);
/* Fills the model's info from bytes that nobody else has. 0 or -VD_ERR_PROTOCOL, -VD_ERR_MEMORY. */
int client_info_read(struct npu_model *model, const uint8_t *bytes, uint64_t size);

/*
 * The model with all of its weights in it: `*ret_bytes` are its own then, to be freed; NULL if it
 * has them already. Sets the message.
 */
int client_external_merge(const void *bytes, size_t size, const struct npu_options *options,
                          void **ret_bytes, size_t *ret_size);

/*
 * A tensor of a checked result, which takes the piece over. Strings and sequences are copied and
 * checked.
 */
int client_tensor_from(struct npu *npu, const struct vd_npu_value *row, struct piece *piece,
                       struct npu_tensor **ret_tensor);
/* An npu_post as it travels; 0, or -NPU_PARAMETER with the message set. */
int client_post_pack(const struct npu_model *model, const struct npu_call *call,
                     const struct npu_post *post, struct vd_npu_post *ret);
/* Gives a tensor of the caller's type and dimensions of a result. */
void client_tensor_become(struct npu_tensor *tensor, const struct vd_npu_value *row);

#endif
