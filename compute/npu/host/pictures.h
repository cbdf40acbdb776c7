/* SPDX-License-Identifier: MIT */
#ifndef NPU_PICTURES_H
#define NPU_PICTURES_H

#include <stddef.h>
#include <stdint.h>
#include <viaduct/protocol.h>

#include "post.h"

/*
 * What a session has of pictures for runs that take them (host_decoder/session_npu.c). A read is
 * memory of PICTURES_READ_BYTES, zeroed before begin, that stays in place until end.
 */

#define PICTURES_READ_BYTES 128

/* One input that is made of a picture. */
struct pictures_input {
    const struct vd_npu_picture *how;
    const struct vd_npu_roi *rois; /* how->rois of them */
    uint32_t dtype;                /* ONNX_F32, ONNX_F16, ONNX_U8, ONNX_I8 */
    const int64_t *dims;           /* four */
    void *to;                      /* the tensor */
    struct npu_place *places;      /* gets one an item */
    uint32_t width, height;        /* get the picture's */
};

struct pictures_ops {
    /* What was submitted last to the surface. The session's thread. -VD_ERR_ID: no such surface. */
    int (*begin)(void *owner, uint32_t surface, void *read);
    /* Waits for it. 0, the picture's error, -VD_ERR_GONE after cancel. */
    int (*wait)(void *read);
    /* Any thread. */
    void (*cancel)(void *read);
    /* Makes the tensor. `*state` is kept for the next one, NULL at first; a model has one. */
    int (*make)(void **state, void *read, struct pictures_input *input, char *error,
                size_t error_size);
    void (*end)(void *read);
    /* The session's thread: it is waited for. */
    void (*kick)(void *owner, const void *read);
    void (*forget)(void *state);
};

#endif
