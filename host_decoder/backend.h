/* SPDX-License-Identifier: MIT */
#ifndef HOST_BACKEND_H
#define HOST_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viaduct/codecs.h>
#include <viaduct/protocol.h>

#include "bitstream/bitstream.h"
#include "block.h"
#include "encode/encode.h"
#include "pool.h"
#include "surface_read.h"

/*
 * What a back end is to the rest of the host. It sees this header and what it includes, nothing
 * else of the service.
 */

/* Text that names a device to its back end: "vaapi:/dev/dri/renderD129". */
#define BACKEND_DEVICE_BYTES 48

/* A VA buffer of a picture to be encoded as the app sent it, copied: private to the job. */
struct backend_buffer {
    uint32_t type; /* VABufferType */
    uint32_t size; /* of codecs' structs: that of va_encode.def */
    uint8_t *bytes;
};

/*
 * What a picture is made from where it is not decoded: encoding and video processing. Lies in the
 * job's block.
 */
struct backend_work {
    struct surface_read *reads; /* the pictures it reads, ready when submit is called */
    uint32_t read_count;
    /* Processing: the last read is what the target held before (protocol.h, VD_PROC_KEEPS). */
    bool under;
    /* Encoding: what the back end's encode_codec read, or for one without, each buffer in order. */
    const struct encode_request *request;
    struct backend_buffer *buffers;
    uint32_t buffer_count;
    uint8_t *coded; /* the guest's coded buffer, in shared memory: VD_CODED_HEAD bytes, then the
                       stream */
    uint32_t coded_room;
    /*
     * Processing: each pipeline with its filters behind it. Its reads follow each other: the input,
     * then forward, then backward references.
     */
    const struct vd_proc_pipeline *const *pipelines;
    uint32_t pipeline_count;
};

struct backend_options {
    int threads; /* decoder threads a context, 0: as many as the machine has (16 at most) */
    uint32_t surface_format; /* VA_FOURCC_* to offer alone, 0: all */
};

/*
 * One picture on its way. It belongs to the context (context.c); the back end holds it from
 * submit until it calls backend_done, exactly once.
 */
struct backend_job {
    struct surface *surface;
    uint32_t sequence;       /* of the surface */
    uint32_t flags;          /* VD_SUBMIT_* */
    struct surface *display; /* gets the picture with film grain, or NULL */
    uint32_t display_sequence;
    uint64_t number;     /* of the context, from 1 */
    int refused;         /* not 0: the picture could not be built; only ordering is left to do */
    struct block *block; /* holds the packet */
    struct bitstream_packet packet; /* empty for back ends without a builder */
    struct backend_work *work;      /* in the block; NULL: decoding */
    /* What the packet was made from, during submit of an `immediate` back end only. */
    const struct va_picture *picture;
    /* The back end's own: */
    struct backing *backing; /* memory this picture is decoded into, one reference */
    struct backing *display_backing;
    struct device_frame *device; /* or the frame of a device it is decoded into, one reference */
    struct device_frame *display_device;
    void *frame;
    struct backend_job *pair; /* a first field that completes with this second one */
    int status;
    uint32_t errors;
    bool fetch;          /* bring `device` into the arena now: its memory is short */
    bool output;         /* the decoder handed it out */
    uint32_t coded_size; /* bytes of the stream that were encoded */
};

struct backend_context_info {
    void *device; /* what struct backend.open gave, NULL in software */
    uint32_t profile, entrypoint, width, height;
    uint32_t rt_formats;                   /* VA_RT_FORMAT_* bits its surfaces may have */
    uint32_t rate_control, packed_headers; /* encoding: VA_RC_*, VA_ENC_PACKED_HEADER_* */
    enum vd_codec codec;
    const struct backend_options *options;
    struct pool *pool; /* memory beside surfaces counts here; NULL: nowhere */
    /* The guest's surface of this id or NULL. During submit of an `immediate` back end only. */
    struct surface *(*find_surface)(void *arg, uint32_t id);
    void *find_arg;
    uint32_t surfaces; /* that the client has now: a guess at how many it decodes into */
    /* Called by the back end when a picture is complete: in order, one call at a time. */
    void (*done)(void *arg, struct backend_job *job);
    void *done_arg;
};

struct backend_context_traits {
    uint32_t flags; /* VD_CONTEXT_* */
    uint32_t depth; /* pictures in flight that keep it busy, 1 to VD_MAX_IN_FLIGHT */
};

struct backend {
    const char *name;
    /*
     * submit and flush only pass work on and take microseconds: they run on the session's thread,
     * which saves a wake-up a picture; done may then be called by a thread of the back end.
     * Otherwise each context has a thread of its own.
     */
    bool immediate;
    /*
     * Before the sandbox closes, in the process that later forks the workers: load libraries,
     * open devices. 0 if the back end can serve here. Optional.
     */
    int (*probe)(const struct backend_options *options);
    /* Profiles and entry points it serves; returns how many rows were written. */
    uint32_t (*caps)(struct vd_cap *ret_caps, uint32_t room);
    /* The builder a codec's pictures go through; NULL: submit gets no packet. Optional. */
    const struct bitstream_builder *(*builder)(enum vd_codec codec);
    /*
     * How an encoder's requests are read. Optional: a back end without it gets an app's buffers as
     * they are (backend_work.buffers) for the entry points of encoders in its caps.
     */
    const struct encode_codec *(*encode_codec)(enum vd_codec codec);
    /*
     * Back ends that work on a device have these four instead of probe and caps. A device does not
     * survive fork: it is opened in a short-lived child of the nursery, to see what it serves, and
     * again in each worker, before the sandbox closes.
     */
    /*
     * Devices to try if the user names none, best first: what follows "name:" in an engine's name.
     * `asked`: the user named the back end, so also those that are never chosen on their own.
     */
    uint32_t (*devices)(bool asked, char (*ret_devices)[BACKEND_DEVICE_BYTES], uint32_t room);
    int (*open)(const char *device, const struct backend_options *options, void **ret_device);
    uint32_t (*device_caps)(void *device, struct vd_cap *ret_caps, uint32_t room);
    void (*close)(void *device);
    /*
     * Memory for a surface that had no picture yet (surface_set_native): what contexts of this
     * device decode into. Optional.
     */
    int (*surface_native)(void *device, struct surface *surface);
    /* Opens a decoder and fills in what the guest must know of it. */
    int (*context_create)(const struct backend_context_info *info, void **ret_context,
                          struct backend_context_traits *ret_traits);
    /* All below are called by one thread at a time. */
    /*
     * The decoder goes on in another context of the same codec, with no picture on its way: `info`
     * replaces that of context_create. Optional: without it no decoder outlives its context.
     */
    void (*context_adopt)(void *context, const struct backend_context_info *info);
    /* Takes the job; completes it and maybe earlier ones, now or in later calls. */
    void (*submit)(void *context, struct backend_job *job);
    /*
     * Completes all jobs up to `number` without more input. Later ones may stay (a first field
     * whose second is about to come must).
     */
    void (*flush)(void *context, uint64_t number);
    /* Gives up what is not complete (no more done calls). */
    void (*context_destroy)(void *context);
};

#define BACKEND_SET_MAX 16

/* What serves profiles: a back end, on a device or in software. */
struct engine {
    const struct backend *backend;
    char name[VD_ENGINE_BYTES];        /* "vaapi:/dev/dri/renderD128", "avcodec:software" */
    char device[BACKEND_DEVICE_BYTES]; /* for backend->open; empty in software */
    /* Of a device, found by engine.c; other back ends are asked (caps). */
    struct vd_cap caps[VD_MAX_CAPS];
    uint32_t cap_count;
};

/* The engines of a service, best first: each profile is served by the first that has it. */
struct backend_set {
    struct engine at[BACKEND_SET_MAX];
    uint32_t count;
    char name[VD_NAME_BYTES]; /* their back ends, "vaapi+avcodec" */
};

/* backend/list.c: the i-th back end, best first; NULL behind the last. */
const struct backend *backend_at(size_t i);

extern const struct backend backend_avcodec;
extern const struct backend backend_avcodec_device;
extern const struct backend backend_dav1d;
extern const struct backend backend_encode;
extern const struct backend backend_encode_device;
extern const struct backend backend_filter;
extern const struct backend backend_null;
extern const struct backend backend_vaapi;

#endif
