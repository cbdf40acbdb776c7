/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_DAV1D_H
#define BACKEND_DAV1D_H

#include <dav1d/dav1d.h>

#include "../backend.h"
#include "av1_feed.h"

/*
 * The dav1d back end: dav1d.c decodes packets in the order that av1_feed.c gives them,
 * dav1d_frame.c gives the decoder the surfaces' memory.
 */

/* Memory of one of the decoder's pictures. */
struct dav1d_memory {
    struct dav1d_memory *next; /* in the list of those that are free */
    struct backing *backing;   /* of a surface, one reference; NULL: `bytes` is */
    uint8_t *bytes;            /* kept when the picture is gone */
    size_t size;
};

/* Where the next picture that the decoder asks memory for belongs. */
struct dav1d_target {
    struct surface *surface;  /* NULL: beside all surfaces */
    bool fixed;               /* VD_SUBMIT_FIXED */
    struct backing **backing; /* result, one reference */
    int *status;              /* result: why the surface could not take it */
};

struct dav1d_context {
    struct backend_context_info info;
    Dav1dContext *decoder;
    struct dav1d_target target;
    struct dav1d_memory *free;
    struct av1_feed feed;
};

/* Dav1dPicAllocator; the cookie is the context. */
int dav1d_frame_get(Dav1dPicture *picture, void *cookie);
void dav1d_frame_release(Dav1dPicture *picture, void *cookie);
/* Copies a picture's samples to another of the same size. */
void dav1d_frame_copy(const Dav1dPicture *from, const Dav1dPicture *to);
/* Frees what dav1d_frame_release kept. */
void dav1d_frame_finish(struct dav1d_context *self);

#endif
