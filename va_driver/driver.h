/* SPDX-License-Identifier: MIT */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <va/va_backend.h>
#include <va/va_drmcommon.h>
#include <va/va_vpp.h>
#include <wire/format.h>

#include "host.h"
#include "object.h"

/*
 * The guest driver: one `struct driver` a VADisplay.
 *
 * Threads: libva calls from any thread. One lock a display guards the tables and the channel; it
 * is held for microseconds, never while pixels or bitstreams are copied and never in a wait for
 * a picture. Objects in use beyond the lock are kept by references.
 *
 * Fork: the child shares the parent's connection, so it must not use it. A fork handler counts;
 * every entry compares (driver_enter) and a display from before the fork only returns errors.
 */

#define DRIVER_MAGIC 0x76645643u
/* Most attributes of a config and image formats of the display: what libva is told. */
#define DRIVER_MAX_ATTRIBUTES  48
#define DRIVER_MAX_ENTRYPOINTS 4

struct driver {
    uint32_t magic;
    unsigned forks; /* value of the fork counter when it was made */
    pthread_mutex_t lock;
    int refs;                        /* the display's, until it is closed, and those of share.c */
    bool ended;                      /* it was */
    struct host *host;               /* the current session; may be dead */
    struct vd_cap caps[VD_MAX_CAPS]; /* of the first session: queries never change */
    uint32_t cap_count;
    struct object_table configs, contexts, surfaces, buffers, images;
    /*
     * Damaged pictures that were concealed count as decoded, as most hardware drivers do; only
     * vaQuerySurfaceError tells. Off: vaSyncSurface says DECODING_ERROR.
     */
    bool conceal;
    /* What VAProcPipelineCaps points to: inputs', outputs'. */
    VAProcColorStandardType standards[2][VAProcColorStandardCount];
    char vendor[192];
};

struct config {
    struct object object;
    VAProfile profile;
    VAEntrypoint entrypoint;
    uint32_t rt_format;
    uint32_t rate_control;   /* encoding: one VA_RC_*; else 0 */
    uint32_t packed_headers; /* VA_ENC_PACKED_HEADER_* */
};

struct context {
    struct object object;
    struct host *host;
    VAProfile profile;
    VAEntrypoint entrypoint;
    uint32_t width, height;
    uint32_t flags;          /* VD_CONTEXT_* */
    uint32_t depth;          /* pictures in flight at most */
    uint32_t submitted;      /* pictures, as the context slot of the status page counts */
    struct surface *target;  /* between vaBeginPicture and vaEndPicture, a reference */
    struct buffer **pending; /* buffers rendered since, references */
    uint32_t pending_count, pending_room;
    struct vd_buffer_ref *refs; /* room for pending_room and a coded buffer */
    struct surface **inputs;    /* processing: surfaces that are read, references */
    uint32_t input_count, input_room;
};

struct surface {
    struct object object;
    struct host *host; /* the session that knows it, NULL: none yet */
    const struct format_info *format;
    struct format_layout layout;
    uint32_t width, height;
    uint32_t rt_format;
    uint32_t sequence;               /* pictures submitted in this session */
    uint32_t kicked;                 /* sequence for which KICK was sent last */
    uint32_t context;                /* that submitted last, id */
    uint32_t picture;                /* number of that picture in its context */
    bool encoding;                   /* that picture was encoded from it */
    uint32_t reader, reader_picture; /* context that processes from it last, id; its picture */
    int lost;             /* a picture was lost with its session: error code until the next one */
    uint32_t derived;     /* images that show this memory live */
    bool uploaded;        /* vaPutImage wrote into the arena since the last picture */
    bool exported;        /* others have its arena memory */
    bool exported_device; /* others have its memory on the host's device */
    uint32_t export_backing;           /* if exported: its pinned memory */
    struct import *import;             /* memory of the app's own, NULL if none */
    VASurfaceDecodeMBErrors errors[2]; /* what vaQuerySurfaceError points to */
};

/* Where a buffer's bytes are. */
enum buffer_memory {
    BUFFER_UPLOAD, /* the arena's upload zone */
    BUFFER_IMAGE,  /* whatever its image has */
    BUFFER_HEAP,   /* the guest's alone: structs with pointers */
    BUFFER_CODED,  /* the upload zone: VD_CODED_HEAD bytes, then what the host encodes */
};

struct buffer {
    struct object object;
    VABufferType type;
    uint32_t size; /* bytes of one element */
    uint32_t count, max_count;
    enum buffer_memory memory;
    struct host *host;      /* UPLOAD, CODED: whose zone */
    uint64_t offset, bytes; /* there */
    uint8_t *heap;
    uint32_t context,
        picture; /* CODED: who encodes into it, id, 0: nobody; number of the picture */
    VACodedBufferSegment segment; /* CODED: what vaMapBuffer gives */
    bool busy;                    /* part of a picture sent */
    uint32_t submission;          /* if busy: its number */
    struct image *image;          /* IMAGE: owner, not a reference (it owns this buffer) */
    uint32_t mapped;
};

/* A surface's pixels while somebody looks at them. */
struct surface_view {
    uint8_t *bytes;
    const struct format_layout *layout;
    struct host *host; /* whose arena they are pinned in; NULL: the app's own memory */
    uint32_t backing;
    uint64_t offset; /* in the arena */
};

/* Where an image's pixels are. */
enum image_memory {
    IMAGE_NONE,     /* not yet */
    IMAGE_HEAP,     /* its own */
    IMAGE_SNAPSHOT, /* what a surface held at vaGetImage: private view of its pinned memory */
    IMAGE_DERIVED,  /* a surface's memory itself, pinned */
};

struct image {
    struct object object;
    VAImage va;
    const struct format_info *format;
    struct format_layout layout;
    enum image_memory memory;
    struct buffer *buffer;
    uint8_t *bytes;
    struct surface_view view; /* SNAPSHOT, DERIVED: what is pinned */
    struct surface *surface;  /* DERIVED: a reference */
    bool touched;             /* SNAPSHOT: was mapped, so the app may have written */
    bool writes;              /* DERIVED, in band: the app writes to it while it is mapped */
    uint64_t hash;            /* if not known: what it held when it was mapped */
};

/* Locks. VA_STATUS_SUCCESS, or an error and no lock (a display from before a fork). */
VAStatus driver_enter(VADriverContextP ctx, struct driver **ret_driver);
void driver_leave(struct driver *driver);
/* The session, opened anew if the last one died and `reopen`. NULL: none. Lock held. */
struct host *driver_host(struct driver *driver, bool reopen);
/* Drops a reference. No lock. */
void driver_unref(struct driver *driver);
/* Error code of the house to VAStatus. */
VAStatus driver_status(int err);

/* surface.c; lock held unless said otherwise. */
void surface_finish(void *owner, struct object *object);
/* Makes the surface known to the driver's current session if it is not. */
int surface_register(struct driver *driver, struct surface *surface);
/*
 * Waits for the last picture, without the lock inside. Takes and keeps the caller's lock state:
 * called and returns locked. VA status of that picture, TIMEDOUT, or HW_BUSY if the host died.
 */
VAStatus surface_wait(struct driver *driver, struct surface *surface, uint64_t timeout_ns);
/*
 * Pins the surface's memory. Gives memory to a surface that has none. No waiting for pictures.
 */
int surface_view(struct driver *driver, struct surface *surface, struct surface_view *ret_view);
/* Of the arena's memory, also where the app brought its own. */
int surface_view_arena(struct driver *driver, struct surface *surface,
                       struct surface_view *ret_view);
/* Counts a picture that the app looks at, or writes. */
void surface_view_seen(const struct surface_view *view);
/* Unpins; any view, also a copy of it kept elsewhere. */
void surface_view_end(struct surface_view *view);

/* import.c: surfaces in memory of the app's own (DRM PRIME 2). */
struct import {
    int fd;
    uint8_t *bytes;
    uint64_t size;
    struct format_layout layout;
    /* In band: pictures that the host made for it, and the last one that is here, too. */
    uint32_t made, here;
    bool exchanged; /* the arena's memory has what host and app agreed on last */
};
/* From one descriptor of vaCreateSurfaces; duplicates what it keeps. */
VAStatus import_create(const VADRMPRIMESurfaceDescriptor *descriptor,
                       const struct format_info *format, uint32_t width, uint32_t height,
                       struct import **ret_import);
void import_destroy(struct import **import);
/* Tells the host of a registered surface's memory. */
int import_register(struct host *host, uint32_t surface, const struct format_info *format,
                    const struct import *import);

/*
 * export.c. Whether surfaces can become dma-bufs here, as far as that is known before one is asked
 * for: GStreamer's elements talk each other into DMABuf memory where the driver says so, and fail
 * if it then does not come.
 */
bool export_offered(const struct driver *driver);
/* DRM_FORMAT_* of all planes together (DRM_FORMAT_INVALID: none), and of one alone. */
uint32_t export_composed(uint32_t fourcc);
uint32_t export_layer(const struct format_info *format, int plane);
/*
 * export_device.c: the surface's memory on the host's device. `flags` as vaExportSurfaceHandle has
 * them. The descriptors are the caller's. -VD_ERR_UNSUPPORTED: it has none that can be had,
 * -VD_ERR_PROTOCOL: what the host says cannot be.
 */
int export_device(struct driver *driver, struct surface *surface, uint32_t flags,
                  VADRMPRIMESurfaceDescriptor *ret_descriptor);

/* buffer.c */
void buffer_finish(void *owner, struct object *object);
/* Bytes of a buffer, NULL if it cannot be had. Lock held. */
void *buffer_bytes(struct driver *driver, struct buffer *buffer);
/* image.c */
void image_finish(void *owner, struct object *object);
/* Memory for an image that has none, its own or a view. Lock held. NULL: out of memory. */
uint8_t *image_bytes(struct image *image);
/* Images that show this memory get a copy: it is about to change. Lock held. */
int image_separate(struct driver *driver, struct host *host, uint32_t backing);
/* context.c */
void context_finish(void *owner, struct object *object);
/* Drops what was begun and rendered. */
void context_reset(struct driver *driver, struct context *context);
/*
 * Waits for picture `picture` of a context, with the lock released inside; a context that is gone
 * has none on the way. 0, -VD_ERR_TIMEOUT, -VD_ERR_GONE.
 */
int context_wait(struct driver *driver, uint32_t id, uint32_t picture, uint64_t timeout_ns);
/* Room for `count` more buffers. */
int context_room(struct context *context, uint32_t count);
/* A buffer of the upload zone that only the picture begun holds. NULL: out of memory. */
struct buffer *context_own_buffer(struct driver *driver, struct context *context, VABufferType type,
                                  uint32_t bytes);
/* Waits until nobody processes from the surface any more: its memory is about to change. */
VAStatus surface_wait_readers(struct driver *driver, struct surface *surface);

/*
 * inband.c: what is sent where the host does not share memory. Lock held; it is released inside
 * while pixels are read or sent.
 *
 * Before and after SUBMIT. A call's error means that the session is lost.
 */
int inband_submit(struct context *context, const struct vd_submit_req *req,
                  const struct buffer *coded);
void inband_submitted(struct host *host);
/* A derived image is about to be mapped, was unmapped by the last who mapped it. */
void inband_mapped(struct driver *driver, struct image *image);
int inband_unmapped(struct driver *driver, struct image *image);
/*
 * Memory that the app brought, which the host has not: the newest picture of the host comes into
 * it; what the app wrote there goes to the host before it reads the surface.
 */
int inband_pull(struct driver *driver, struct surface *surface);
VAStatus inband_push(struct driver *driver, struct surface *surface);
/* The app's pixels are in the surface's memory. */
int inband_wrote(struct driver *driver, struct surface *surface, const struct surface_view *view);

/* encode.c */
/* Renders a misc buffer whose struct has pointers; false: it has none, render it as it is. */
bool encode_render_misc(struct driver *driver, struct context *context, const struct buffer *buffer,
                        VAStatus *ret_status);
/* The coded buffer that the pending picture parameters name, or NULL. */
struct buffer *encode_coded(struct driver *driver, const struct context *context);
/* The picture is sent: `buffer` belongs to it. */
void encode_begin(struct buffer *buffer, const struct context *context);
/* Waits for what is encoded into a coded buffer. */
VAStatus encode_wait(struct driver *driver, struct buffer *buffer, uint64_t timeout_ns);
/* Fills in the segment of a complete coded buffer. */
VAStatus encode_segment(struct buffer *buffer);

/* proc.c: renders one pipeline: what its pointers point to is read now. */
VAStatus proc_render(struct driver *driver, struct context *context, const struct buffer *buffer);
/* proc_caps.c */
void proc_caps_fill(VADriverContextP ctx);
/* config.c */
const struct vd_cap *config_cap(const struct driver *driver, VAProfile profile,
                                VAEntrypoint entrypoint);
/* What a cap says of an attribute of libva's or VD_ATTRIBUTE_*; VA_ATTRIB_NOT_SUPPORTED. */
uint32_t config_attribute(const struct vd_cap *cap, uint32_t type);

/* copy.c: copies a rectangle between two pictures of formats that copy_possible knows. */
struct copy_picture {
    const struct format_info *format;
    const struct format_layout *layout;
    uint8_t *bytes;
    uint32_t width, height;
};
bool copy_possible(const struct format_info *from, const struct format_info *to);
void copy_rectangle(const struct copy_picture *to, uint32_t to_x, uint32_t to_y,
                    const struct copy_picture *from, uint32_t from_x, uint32_t from_y,
                    uint32_t width, uint32_t height);

/* The entry points, as in va_backend.h; each file defines its own and driver.c lists them. */
#define DRIVER_CALL(name, ...) VAStatus driver_##name(VADriverContextP ctx, __VA_ARGS__)
DRIVER_CALL(QueryConfigProfiles, VAProfile *, int *);
DRIVER_CALL(QueryConfigEntrypoints, VAProfile, VAEntrypoint *, int *);
DRIVER_CALL(GetConfigAttributes, VAProfile, VAEntrypoint, VAConfigAttrib *, int);
DRIVER_CALL(CreateConfig, VAProfile, VAEntrypoint, VAConfigAttrib *, int, VAConfigID *);
DRIVER_CALL(DestroyConfig, VAConfigID);
DRIVER_CALL(QueryConfigAttributes, VAConfigID, VAProfile *, VAEntrypoint *, VAConfigAttrib *,
            int *);
DRIVER_CALL(QuerySurfaceAttributes, VAConfigID, VASurfaceAttrib *, unsigned *);
DRIVER_CALL(CreateSurfaces, int, int, int, int, VASurfaceID *);
DRIVER_CALL(CreateSurfaces2, unsigned, unsigned, unsigned, VASurfaceID *, unsigned,
            VASurfaceAttrib *, unsigned);
DRIVER_CALL(DestroySurfaces, VASurfaceID *, int);
DRIVER_CALL(SyncSurface, VASurfaceID);
DRIVER_CALL(SyncSurface2, VASurfaceID, uint64_t);
DRIVER_CALL(QuerySurfaceStatus, VASurfaceID, VASurfaceStatus *);
DRIVER_CALL(QuerySurfaceError, VASurfaceID, VAStatus, void **);
DRIVER_CALL(ExportSurfaceHandle, VASurfaceID, uint32_t, uint32_t, void *);
DRIVER_CALL(CreateContext, VAConfigID, int, int, int, VASurfaceID *, int, VAContextID *);
DRIVER_CALL(DestroyContext, VAContextID);
DRIVER_CALL(CreateBuffer, VAContextID, VABufferType, unsigned, unsigned, void *, VABufferID *);
DRIVER_CALL(BufferSetNumElements, VABufferID, unsigned);
DRIVER_CALL(MapBuffer, VABufferID, void **);
DRIVER_CALL(UnmapBuffer, VABufferID);
DRIVER_CALL(DestroyBuffer, VABufferID);
DRIVER_CALL(BufferInfo, VABufferID, VABufferType *, unsigned *, unsigned *);
DRIVER_CALL(SyncBuffer, VABufferID, uint64_t);
DRIVER_CALL(AcquireBufferHandle, VABufferID, VABufferInfo *);
DRIVER_CALL(ReleaseBufferHandle, VABufferID);
DRIVER_CALL(BeginPicture, VAContextID, VASurfaceID);
DRIVER_CALL(RenderPicture, VAContextID, VABufferID *, int);
DRIVER_CALL(EndPicture, VAContextID);
DRIVER_CALL(QueryImageFormats, VAImageFormat *, int *);
DRIVER_CALL(CreateImage, VAImageFormat *, int, int, VAImage *);
DRIVER_CALL(DeriveImage, VASurfaceID, VAImage *);
DRIVER_CALL(DestroyImage, VAImageID);
DRIVER_CALL(GetImage, VASurfaceID, int, int, unsigned, unsigned, VAImageID);
DRIVER_CALL(PutImage, VASurfaceID, VAImageID, int, int, unsigned, unsigned, int, int, unsigned,
            unsigned);
/* Refuses, fills in or ignores: display.c. */
void display_fill(VADriverContextP ctx);

#endif
