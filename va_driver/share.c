/* SPDX-License-Identifier: MIT */
#include "share.h"

#include <stdlib.h>
#include <viaduct/errors.h>

#include "driver.h"

/* Ids of models: an object of the contexts' table that no call of VA-API finds by its id. */
#define SHARE_ID (0xfu << 28)

static int share_join(VADriverContextP ctx, struct driver **ret_driver, struct host **ret_host,
                      pthread_mutex_t **ret_lock)
{
    struct driver *driver;
    struct host *host;

    if (driver_enter(ctx, &driver))
        return VD_ERR_GONE;
    host = driver_host(driver, true);
    if (host) {
        *ret_host = host_ref(host);
        *ret_driver = driver;
        *ret_lock = &driver->lock;
        driver->refs++;
    }
    driver_leave(driver);
    return host ? 0 : VD_ERR_GONE;
}

static int share_take_slot(struct driver *driver, uint32_t *ret_id)
{
    struct context *place = driver->ended ? NULL : object_create(&driver->contexts);

    if (!place)
        return VD_ERR_LIMIT;
    place->object.id = (place->object.id & ~SHARE_ID) | SHARE_ID;
    *ret_id = place->object.id;
    return 0;
}

static void share_give_slot(struct driver *driver, uint32_t id)
{
    struct context *place = object_find(&driver->contexts, id);

    if (place)
        object_remove(&driver->contexts, place);
}

static int share_surface(struct driver *driver, const struct host *host, uint32_t id)
{
    struct surface *surface = object_find(&driver->surfaces, id);
    int err;

    if (!surface)
        return VD_ERR_ID;
    if (driver_host(driver, false) != host)
        return VD_ERR_GONE;
    err = surface->host == host ? 0 : surface_register(driver, surface);
    /* What a session that died had of it is not there any more. */
    return !err && surface->lost ? surface->lost : err;
}

__attribute__((visibility("default"))) const struct share_ops *viaduct_driver_share(void);

const struct share_ops *viaduct_driver_share(void)
{
    static const struct share_ops ops = {
        .version = SHARE_VERSION,
        .host_size = sizeof(struct host),
        .join = share_join,
        .leave = driver_unref,
        .take_slot = share_take_slot,
        .give_slot = share_give_slot,
        .surface = share_surface,
    };

    return &ops;
}
