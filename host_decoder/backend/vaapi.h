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
 * vaapi.c: the device. vaapi_caps.c: what it serves. vaapi_context.c: contexts and pictures.
 * vaapi_params.c: parameter buffers. vaapi_work.c, vaapi_copy.c: encoding and processing,
 * vaapi_encode.c: what is special to the first. vaapi_surface.c: surfaces and their pixels.
 * vaapi_export.c: their memory for others.
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
    const struct format_info *format;
    uint32_t width, height;
    struct pool *pool; /* where `bytes` count */
    uint64_t bytes;
    atomic_bool exported;
    /* Pictures that read or write it, and have not been handed to the driver yet. */
    atomic_int waiting;
    /* Session's thread: the last picture of the guest's surface that was handed to the driver. */
    bool has_handed;
    uint32_t handed;
};

/*
 * The host's surface for one of the guest's, made when it is first used. It starts black: memory of
 * a GPU may hold what others left there. The surface keeps the reference.
 */
int vaapi_surface_get(struct vaapi_device *device, struct surface *surface,
                      struct vaapi_surface **ret_surface);
/*
 * The same for who writes a picture to it on the session's thread: where older ones wait in a queue
 * for what it has, or to write to it, the guest's surface gets another one.
 */
int vaapi_surface_target(struct vaapi_device *device, struct surface *surface,
                         struct vaapi_surface **ret_surface);
/* The host's surface that a frame is, NULL if it is none of this device. NULL is fine. */
struct vaapi_surface *vaapi_surface_of(const struct vaapi_device *device,
                                       struct device_frame *frame);
/* One that belongs to no surface of the guest, of this format and size, with one reference. */
int vaapi_surface_make(struct vaapi_device *device, struct pool *pool, const struct pixels *shape,
                       struct vaapi_surface **ret_surface);
/* Writes a picture; bytes NULL: black. */
int vaapi_surface_write(const struct vaapi_surface *native, const struct pixels *p);
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

/* The host's surface for an id of the guest's, VA_INVALID_SURFACE if it names none. */
VASurfaceID vaapi_params_id(struct vaapi_device *device, const struct backend_context_info *info,
                            uint32_t id);
int vaapi_params_create(struct vaapi_device *device, VAContextID context,
                        const struct backend_context_info *info, const struct va_picture *picture,
                        struct vaapi_buffers *buffers);
/* Destroys the buffers and empties the list. */
void vaapi_params_destroy(struct vaapi_device *device, struct vaapi_buffers *buffers);

/* vaapi_caps.c: what the device serves. */
uint32_t vaapi_caps(void *device, struct vd_cap *ret_caps, uint32_t room);
/* Formats of surfaces that this takes, VD_MAX_CAP_FORMATS at most. */
uint32_t vaapi_caps_formats(const struct vaapi_device *device, VAProfile profile,
                            VAEntrypoint entrypoint, uint32_t *ret_formats);

/* vaapi_proc_caps.c: adds what the video processor can do. False: it cannot be asked. */
bool vaapi_proc_caps(const struct vaapi_device *device, struct vd_cap *cap);

/* What a context does, decoding or not; first in each context's struct. */
struct vaapi_context_ops {
    void (*submit)(void *context, struct backend_job *job);
    void (*flush)(void *context, uint64_t number);
    void (*destroy)(void *context);
};

/* vaapi_context.c: decoding. vaapi_work.c: what is made from other pictures. */
int vaapi_context_create(const struct backend_context_info *info, void **ret_context,
                         struct backend_context_traits *ret_traits);
int vaapi_work_create(const struct backend_context_info *info, void **ret_context,
                      struct backend_context_traits *ret_traits);
int vaapi_surface_native(void *device, struct surface *surface);

#endif
