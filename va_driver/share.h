/* SPDX-License-Identifier: MIT */
#ifndef DRIVER_SHARE_H
#define DRIVER_SHARE_H

#include <pthread.h>
#include <stdint.h>
#include <va/va_backend.h>

/*
 * What the driver lets libviaduct-npu have of a display: its session, so that a model can look at
 * surfaces. Both are of one build, as `version` and `host_size` tell; the library finds the
 * function by its name in the driver that libva loaded.
 */
struct driver;
struct host;

#define SHARE_SYMBOL "viaduct_driver_share"
/* Raised when something here, or in struct host, changes. */
#define SHARE_VERSION 1u

struct share_ops {
    uint32_t version, host_size;
    /*
     * The display's session (a reference) and lock, which is whole until leave, also when the
     * display is closed before. -VD_ERR_GONE: no host, or a display of the process that this one
     * was forked from.
     */
    int (*join)(VADriverContextP ctx, struct driver **ret_driver, struct host **ret_host,
                pthread_mutex_t **ret_lock);
    /* The host's reference is gone already. No lock. */
    void (*leave)(struct driver *driver);
    /* All below: the lock is held. An id for a model, whose slot no context gets. -VD_ERR_LIMIT. */
    int (*take_slot)(struct driver *driver, uint32_t *ret_id);
    void (*give_slot)(struct driver *driver, uint32_t id);
    /* Makes sure that the session knows the surface. -VD_ERR_ID, -VD_ERR_GONE, ... */
    int (*surface)(struct driver *driver, const struct host *host, uint32_t id);
};

typedef const struct share_ops *(*share_function)(void);

#endif
