/* SPDX-License-Identifier: MIT */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "config.h"
#include "fallback.h"

static pthread_once_t driver_once = PTHREAD_ONCE_INIT;
static unsigned driver_forks; /* counts forks, in children */

static void count_fork(void)
{
    driver_forks++;
}

static void init_once(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

VAStatus driver_enter(VADriverContextP ctx, struct driver **ret_driver)
{
    struct driver *driver = ctx->pDriverData;

    if (!driver || driver->magic != DRIVER_MAGIC)
        return VA_STATUS_ERROR_INVALID_DISPLAY;
    /* Before the lock: the thread that held it may not exist in this process. */
    if (driver->forks != driver_forks)
        return VA_STATUS_ERROR_OPERATION_FAILED;
    pthread_mutex_lock(&driver->lock);
    *ret_driver = driver;
    return VA_STATUS_SUCCESS;
}

void driver_leave(struct driver *driver)
{
    pthread_mutex_unlock(&driver->lock);
}

struct host *driver_host(struct driver *driver, bool reopen)
{
    struct host *host;

    /* A dead worker may have left unread news in the socket: ask before trusting it. */
    if (driver->host && !driver->host->dead && !host_alive(driver->host))
        host_lost(driver->host);
    if (driver->host && !driver->host->dead)
        return driver->host;
    if (!reopen)
        return NULL;
    if (host_open(driver->host ? driver->host->generation + 1 : 1, &host))
        return NULL;
    host_unref(&driver->host);
    driver->host = host;
    return host;
}

VAStatus driver_status(int err)
{
    switch (err) {
    case 0:
        return VA_STATUS_SUCCESS;
    case VD_ERR_MEMORY:
    case VD_ERR_LIMIT:
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    case VD_ERR_UNSUPPORTED:
        return VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
    case VD_ERR_PARAMETER:
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    case VD_ERR_RESOLUTION:
        return VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED;
    case VD_ERR_DECODE:
        return VA_STATUS_ERROR_DECODING_ERROR;
    case VD_ERR_ENCODE:
    case VD_ERR_ROOM:
        return VA_STATUS_ERROR_ENCODING_ERROR;
    case VD_ERR_TIMEOUT:
    case VD_ERR_GONE:
    case VD_ERR_IO:
    case VD_ERR_PROTOCOL:
    case VD_ERR_BUSY:
        return VA_STATUS_ERROR_HW_BUSY;
    default:
        return VA_STATUS_ERROR_OPERATION_FAILED;
    }
}

void driver_unref(struct driver *driver)
{
    int refs;

    pthread_mutex_lock(&driver->lock);
    refs = --driver->refs;
    pthread_mutex_unlock(&driver->lock);
    if (refs)
        return;
    pthread_mutex_destroy(&driver->lock);
    driver->magic = 0;
    free(driver);
}

static VAStatus driver_Terminate(VADriverContextP ctx)
{
    struct driver *driver = ctx->pDriverData;

    if (!driver || driver->magic != DRIVER_MAGIC)
        return VA_STATUS_ERROR_INVALID_DISPLAY;
    ctx->pDriverData = NULL;
    if (driver->forks != driver_forks) {
        /* The parent still uses the session; what this child has of it goes at its exit. */
        return VA_STATUS_SUCCESS;
    }
    /* Others may still use the session. */
    pthread_mutex_lock(&driver->lock);
    driver->ended = true;
    object_table_finish(&driver->images);
    object_table_finish(&driver->contexts);
    object_table_finish(&driver->buffers);
    object_table_finish(&driver->surfaces);
    object_table_finish(&driver->configs);
    host_unref(&driver->host);
    pthread_mutex_unlock(&driver->lock);
    driver_unref(driver);
    return VA_STATUS_SUCCESS;
}

static void config_finish(void *owner, struct object *object)
{
    (void)owner, (void)object;
}

#if VA_CHECK_VERSION(1, 21, 0)
/* The flags say what the app means to do; nothing here depends on it. */
static VAStatus driver_MapBuffer2(VADriverContextP ctx, VABufferID id, void **ret_bytes,
                                  uint32_t flags)
{
    (void)flags;
    return driver_MapBuffer(ctx, id, ret_bytes);
}
#endif

static void fill_vtable(struct VADriverVTable *v)
{
    v->vaTerminate = driver_Terminate;
    v->vaQueryConfigProfiles = driver_QueryConfigProfiles;
    v->vaQueryConfigEntrypoints = driver_QueryConfigEntrypoints;
    v->vaGetConfigAttributes = driver_GetConfigAttributes;
    v->vaCreateConfig = driver_CreateConfig;
    v->vaDestroyConfig = driver_DestroyConfig;
    v->vaQueryConfigAttributes = driver_QueryConfigAttributes;
    v->vaQuerySurfaceAttributes = driver_QuerySurfaceAttributes;
    v->vaCreateSurfaces = driver_CreateSurfaces;
    v->vaCreateSurfaces2 = driver_CreateSurfaces2;
    v->vaDestroySurfaces = driver_DestroySurfaces;
    v->vaSyncSurface = driver_SyncSurface;
    v->vaSyncSurface2 = driver_SyncSurface2;
    v->vaQuerySurfaceStatus = driver_QuerySurfaceStatus;
    v->vaQuerySurfaceError = driver_QuerySurfaceError;
    v->vaExportSurfaceHandle = driver_ExportSurfaceHandle;
    v->vaCreateContext = driver_CreateContext;
    v->vaDestroyContext = driver_DestroyContext;
    v->vaCreateBuffer = driver_CreateBuffer;
    v->vaBufferSetNumElements = driver_BufferSetNumElements;
    v->vaMapBuffer = driver_MapBuffer;
#if VA_CHECK_VERSION(1, 21, 0)
    v->vaMapBuffer2 = driver_MapBuffer2;
#endif
    v->vaUnmapBuffer = driver_UnmapBuffer;
    v->vaDestroyBuffer = driver_DestroyBuffer;
    v->vaBufferInfo = driver_BufferInfo;
    v->vaSyncBuffer = driver_SyncBuffer;
    v->vaAcquireBufferHandle = driver_AcquireBufferHandle;
    v->vaReleaseBufferHandle = driver_ReleaseBufferHandle;
    v->vaBeginPicture = driver_BeginPicture;
    v->vaRenderPicture = driver_RenderPicture;
    v->vaEndPicture = driver_EndPicture;
    v->vaQueryImageFormats = driver_QueryImageFormats;
    v->vaCreateImage = driver_CreateImage;
    v->vaDeriveImage = driver_DeriveImage;
    v->vaDestroyImage = driver_DestroyImage;
    v->vaGetImage = driver_GetImage;
    v->vaPutImage = driver_PutImage;
}

/* "errors = conceal" or VIADUCT_ERRORS=conceal. */
static bool conceal_errors(void)
{
    const char *named = getenv("VIADUCT_ERRORS");
    char text[16] = "";

    if (named && *named)
        snprintf(text, sizeof(text), "%s", named);
    else
        host_setting("errors", text, sizeof(text));
    return !strcmp(text, "conceal");
}

static void vendor_string(struct driver *driver)
{
    const char *named = getenv("VIADUCT_VENDOR");

    if (named && *named)
        snprintf(driver->vendor, sizeof(driver->vendor), "%s", named);
    else if (!host_setting("vendor", driver->vendor, sizeof(driver->vendor)))
        snprintf(driver->vendor, sizeof(driver->vendor), "Viaduct %s (host back end %s)",
                 VIADUCT_VERSION, driver->host->backend);
}

/* libva looks for this name; 1_0 is found by every libva since 2.0. */
VAStatus __attribute__((visibility("default"))) __vaDriverInit_1_0(VADriverContextP ctx);

VAStatus __vaDriverInit_1_0(VADriverContextP ctx)
{
    struct driver *driver = calloc(1, sizeof(*driver));
    int err;

    if (!driver)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    pthread_once(&driver_once, init_once);
    err = host_open(1, &driver->host);
    if (err) {
        free(driver);
        return fallback_init(ctx);
    }
    driver->magic = DRIVER_MAGIC;
    driver->refs = 1;
    driver->forks = driver_forks;
    pthread_mutex_init(&driver->lock, NULL);
    memcpy(driver->caps, driver->host->caps, sizeof(driver->caps));
    driver->cap_count = driver->host->cap_count;
    object_table_init(&driver->configs, OBJECT_CONFIG, sizeof(struct config), 4096, config_finish,
                      driver);
    object_table_init(&driver->contexts, OBJECT_CONTEXT, sizeof(struct context),
                      driver->host->max_contexts, context_finish, driver);
    object_table_init(&driver->surfaces, OBJECT_SURFACE, sizeof(struct surface),
                      driver->host->max_surfaces, surface_finish, driver);
    object_table_init(&driver->buffers, OBJECT_BUFFER, sizeof(struct buffer), 1 << 20,
                      buffer_finish, driver);
    object_table_init(&driver->images, OBJECT_IMAGE, sizeof(struct image), 65536, image_finish,
                      driver);
    vendor_string(driver);
    driver->conceal = conceal_errors();
    ctx->pDriverData = driver;
    ctx->version_major = VA_MAJOR_VERSION;
    ctx->version_minor = VA_MINOR_VERSION;
    ctx->max_profiles = VD_MAX_CAPS;
    ctx->max_entrypoints = DRIVER_MAX_ENTRYPOINTS;
    ctx->max_attributes = DRIVER_MAX_ATTRIBUTES;
    ctx->str_vendor = driver->vendor;
    fill_vtable(ctx->vtable);
    display_fill(ctx);
    proc_caps_fill(ctx);
    return VA_STATUS_SUCCESS;
}
