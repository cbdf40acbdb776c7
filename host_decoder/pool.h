/* SPDX-License-Identifier: MIT */
#ifndef HOST_POOL_H
#define HOST_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <transport/arena.h>
#include <wire/format.h>

#include "account.h"

/*
 * Frame memory of one client and the surfaces that name it.
 *
 * A surface is a handle; its pixels lie in a backing, a piece of the arena's frame zone. Each
 * picture gets a fresh backing, so that a decoder that still reads an older picture (a reference
 * in another thread) never sees it overwritten; the surface is bound to the new backing when the
 * picture is complete. Backings are recycled when no surface, no decoder and no mapping of the
 * guest (the pins of the status page) holds them.
 *
 * Any thread; one lock a client. The status page is only written here.
 */
struct pool;
struct surface;
struct surface_read;

struct backing {
    struct pool *pool;
    uint32_t index;  /* into the status page */
    uint64_t offset; /* in the arena */
    uint64_t size;
    uint8_t *bytes;
    int refs;   /* under the pool's lock; 0: free for reuse unless pinned */
    bool used;  /* this entry of the table exists */
    void *side; /* private memory of the back end, from pool_alloc; NULL if none */
    size_t side_size;
};

/*
 * A picture that lies on a device. Made by a back end, which puts this first into a struct of its
 * own; freed with the last reference.
 */
struct device_frame {
    const struct device_frame_ops *ops;
    atomic_int refs;
};

/* Memory of a device as others see it, and one object of it. */
struct device_export {
    uint32_t objects;
    int fd; /* the caller's */
    uint64_t size, modifier;
    struct vd_export_plane planes[VD_MAX_PLANES];
    uint32_t plane_count;
};

struct device_frame_ops {
    /*
     * Writes the picture to memory that is laid out like the surface's. Waits for the device if it
     * must. Any thread, more than one at a time; no lock of the pool is held.
     */
    int (*fetch)(struct device_frame *frame, const struct surface *surface, uint8_t *bytes);
    void (*free)(struct device_frame *frame);
    /*
     * Optional, both or none: the frame stays with its surface for good, and others may have its
     * memory. store: the reverse of fetch. export: describes the memory, VD_EXPORT_* `flags`, and
     * opens `object` of it. -VD_ERR_UNSUPPORTED if the device's driver cannot, -VD_ERR_PARAMETER if
     * there is no such object.
     */
    int (*store)(struct device_frame *frame, const struct surface *surface, const uint8_t *bytes);
    int (*export)(struct device_frame *frame, const struct surface *surface, uint32_t flags,
                  uint32_t object, struct device_export *ret_export);
};

struct surface {
    struct pool *pool;
    uint32_t id;
    const struct format_info *format;
    struct format_layout layout;
    uint32_t width, height;
    int refs;                    /* under the lock */
    bool destroyed;              /* the guest is done with it; its slot may be another surface's */
    struct backing *current;     /* of the last complete picture, NULL before */
    struct device_frame *frame;  /* where that picture is while nobody has mapped it, or NULL */
    struct device_frame *native; /* memory that a back end keeps for this surface, or NULL */
    bool native_current;         /* it holds the last complete picture */
    struct device_frame
        *exported;     /* memory that others have: each picture must be there, or NULL */
    bool submitted;    /* had a picture: nothing can be imported any more */
    uint64_t decoder;  /* number of the decoder of its last picture; session.c's */
    uint32_t sequence; /* the dispatcher's: pictures submitted, as the guest counts them */
    /* The dispatcher's, too: the last picture submitted that writes to it, and by whom. */
    uint32_t written;
    uint32_t writer, writer_picture; /* context id, 0: nobody; number of the picture in it */
    /* Under the lock: what was published last, and the last picture that was bound or given up. */
    uint32_t published, bound;
    struct surface_read *reads; /* that wait for a picture */
    uint8_t *external;          /* the app's own memory, NULL if none */
    struct format_layout external_layout;
};

/*
 * `max_bytes`: memory this client may have, in frames and what belongs to them. 0 or
 * -VD_ERR_MEMORY.
 */
int pool_create(struct arena *arena, uint64_t max_bytes, struct pool **ret_pool);
/* All surfaces, backings and memory of pool_alloc must have been released. NULL is fine. */
void pool_destroy(struct pool *pool);
/* Bytes that exist now: of frame memory, of pool_alloc, of pool_take. */
uint64_t pool_bytes(struct pool *pool);

/*
 * Private memory that counts as the client's, as account_alloc gives it. What nobody uses is given
 * back before the answer is -VD_ERR_LIMIT. NULL pool: not counted. No lock of the pool is held.
 */
int pool_alloc(struct pool *pool, size_t size, void **ret_memory);
/* NULL is fine. */
void pool_free(void *memory);
/* The same for memory elsewhere, on a device. 0 or -VD_ERR_LIMIT. */
int pool_take(struct pool *pool, uint64_t bytes);
void pool_give(struct pool *pool, uint64_t bytes);

/* A backing for a surface, with one reference. -VD_ERR_LIMIT, -VD_ERR_MEMORY. */
int pool_get(struct surface *surface, struct backing **ret_backing);
struct backing *pool_ref(struct backing *backing);
/* Drops a reference and clears the pointer; NULL is fine. */
void pool_unref(struct backing **backing);
/* Gives memory nobody uses back to the system. */
void pool_trim(struct pool *pool);

/* A surface with one reference, its slot in the status page reset. */
int surface_create(struct pool *pool, uint32_t id, const struct format_info *format, uint32_t width,
                   uint32_t height, struct surface **ret_surface);
struct surface *surface_ref(struct surface *surface);
void surface_unref(struct surface **surface);
/* The guest destroyed it: nothing is published any more. */
void surface_retire(struct surface *surface);
/* Memory for a surface that has none yet, with its picture if it has one; publishes it. */
int surface_back(struct surface *surface, uint32_t *ret_index);
/*
 * Memory of a device for others (device_frame_ops.export): what was exported before, or what a back
 * end keeps for the surface. Pictures that are not decoded there are copied there from now on.
 * -VD_ERR_UNSUPPORTED: there is none.
 */
int surface_export(struct surface *surface, uint32_t flags, uint32_t object,
                   struct device_export *ret_export);
/* Maps memory of the app for the surface (once); the descriptor stays the caller's. */
int surface_import(struct surface *surface, int fd, const struct vd_surface_import_req *req);
/* The memory of the last complete picture with one reference, or NULL. */
struct backing *surface_current(struct surface *surface);
/*
 * Picture `sequence` is complete: copies it to imported memory if there is some, binds `backing` (a
 * reference is taken; NULL: the memory stays what it was) and publishes status (an error code, 0 or
 * negative) and the fence.
 */
void surface_complete(struct surface *surface, uint32_t sequence, struct backing *backing,
                      int status, uint32_t errors);
/*
 * The same for a picture on a device (a reference is taken; NULL: the memory stays what it was).
 * It stays there until the guest wants to see it, unless `fixed` (VD_SUBMIT_FIXED), imported memory
 * or `now` (the device is short of memory) demand it at once, or lately the guest looked at nearly
 * all.
 */
void surface_complete_device(struct surface *surface, uint32_t sequence, struct device_frame *frame,
                             bool fixed, bool now, int status, uint32_t errors);
/*
 * The same for one that only reads the surface (encoding): publishes it, pictures on their way to
 * the surface still come. The caller has waited for those before it.
 */
void surface_complete_use(struct surface *surface, uint32_t sequence, int status);
/* Picture `sequence` will never be complete: who waits to read it is told. */
void surface_give_up(struct surface *surface, uint32_t sequence);

/* Brings a picture from a device into memory of the arena, new if *backing is NULL. No lock. */
int surface_bring(struct surface *surface, struct device_frame *frame, struct backing **backing);

/* Sets what a back end keeps for the surface; takes the reference over. NULL removes it. */
void surface_set_native(struct surface *surface, struct device_frame *native);

struct device_frame *device_frame_ref(struct device_frame *frame);
/* Drops a reference and clears the pointer; NULL is fine. */
void device_frame_unref(struct device_frame **frame);

#endif
