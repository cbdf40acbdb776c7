/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_VAAPI_H
#define BACKEND_VAAPI_H

#include <pthread.h>
#include <va/va.h>

#include "../backend.h"

/*
 * The vaapi back end: what the guest calls is called again on the host's libva, one to one. No
 * bitstream is rebuilt.
 *
 * vaapi.c: the device, what it serves. vaapi_context.c: contexts and pictures. vaapi_params.c:
 * parameter buffers. vaapi_surface.c: surfaces and their pixels. vaapi_export.c: their memory for
 * others.
 */

/* VAImages kept for reading surfaces: one for each thread that does so at a time. */
#define VAAPI_IMAGES 4

struct vaapi_image {
    VAImage va; /* image_id VA_INVALID_ID: none */
    bool busy;
};

/* Descriptors of exported memory that is watched when its surface is gone. */
#define VAAPI_LENT        256
#define VAAPI_MAX_OBJECTS 4 /* of a VADRMPRIMESurfaceDescriptor */

/* Memory of a surface that others have, which counts as the client's as long as they do. */
struct vaapi_lent {
    int fds[VAAPI_MAX_OBJECTS];
    uint32_t count;
    bool blind; /* it could not be opened: nobody knows */
    struct pool *pool;
    uint64_t bytes;
};

struct vaapi_device {
    VADisplay display;
    int fd; /* -1: the display has none */
    VAImageFormat *image_formats;
    int image_format_count;
    pthread_mutex_t lock; /* of what follows */
    struct vaapi_image images[VAAPI_IMAGES];
    struct vaapi_lent lent[VAAPI_LENT]; /* of surfaces that are gone */
    uint32_t lent_count;
};

/* How an image of this format is asked for; NULL if the driver has none. */
const VAImageFormat *vaapi_image_format(const struct vaapi_device *device, uint32_t fourcc);
/* A VAStatus as an error of ours. */
int vaapi_error(VAStatus status);

/* A surface of the guest on the device: struct surface.native. */
struct vaapi_surface {
    struct device_frame frame;
    struct vaapi_device *device;
    VASurfaceID id;
    struct pool *pool; /* where `bytes` count */
    uint64_t bytes;
    atomic_bool exported;
};

/*
 * The host's surface for one of the guest's, made when it is first used. It starts black: memory of
 * a GPU may hold what others left there. The surface keeps the reference.
 */
int vaapi_surface_get(struct vaapi_device *device, struct surface *surface,
                      struct vaapi_surface **ret_surface);
/* vaapi_export.c: device_frame_ops.export. */
int vaapi_surface_export(struct device_frame *frame, const struct surface *surface, uint32_t flags,
                         uint32_t object, struct device_export *ret_export);
/* A surface is about to go: opens what others may have of it. */
void vaapi_lent_open(const struct vaapi_surface *native, struct vaapi_lent *ret_lent);
/* It is gone: its memory is given back if nobody has it, else watched. */
void vaapi_lent_close(struct vaapi_device *device, struct vaapi_lent *lent);
/* Gives back what nobody has any more; `all`: whoever has it. */
void vaapi_lent_sweep(struct vaapi_device *device, bool all);
/* Destroys what is kept for reading surfaces. */
void vaapi_surface_finish(struct vaapi_device *device);

/*
 * The VA buffers of one picture. `ids` grows to the largest picture seen; the caller frees it.
 * The guest's surface ids in the parameters are translated with `find_surface` of the context.
 */
struct vaapi_buffers {
    VABufferID *ids;
    uint32_t count, room;
};

int vaapi_params_create(struct vaapi_device *device, VAContextID context,
                        const struct backend_context_info *info, const struct va_picture *picture,
                        struct vaapi_buffers *buffers);
/* Destroys the buffers and empties the list. */
void vaapi_params_destroy(struct vaapi_device *device, struct vaapi_buffers *buffers);

/* struct backend's */
int vaapi_surface_native(void *device, struct surface *surface);
int vaapi_context_create(const struct backend_context_info *info, void **ret_context,
                         struct backend_context_traits *ret_traits);
void vaapi_context_submit(void *context, struct backend_job *job);
void vaapi_context_flush(void *context, uint64_t number);
void vaapi_context_destroy(void *context);

#endif
