/* SPDX-License-Identifier: MIT */
#include "fallback.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

/* Newest minor version of VA-API whose entry point is looked for. */
#define FALLBACK_MINOR 64

/* What stood where this file was loaded from, unless it was loaded under its own name. */
static bool driver_path(char *path, size_t room)
{
    static const char here;
    Dl_info info;
    const char *base;
    int length;

    if (!dladdr(&here, &info) || !info.dli_fname)
        return false;
    base = strrchr(info.dli_fname, '/');
    if (!strcmp(base ? base + 1 : info.dli_fname, "viaduct_drv_video.so"))
        return false;
    length = snprintf(path, room, "%s.distrib", info.dli_fname);
    return length > 0 && (size_t)length < room;
}

VAStatus fallback_init(VADriverContextP ctx)
{
    VADriverInit init = NULL;
    char path[512], name[32];
    VAStatus status;
    void *module;

    if (!driver_path(path, sizeof(path)))
        return VA_STATUS_ERROR_OPERATION_FAILED;
    /* As libva does: for good, drivers leave threads and handlers behind. */
    module = dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    if (!module)
        return VA_STATUS_ERROR_OPERATION_FAILED;
    for (int minor = FALLBACK_MINOR; minor >= 0 && !init; minor--) {
        snprintf(name, sizeof(name), "__vaDriverInit_1_%d", minor);
        *(void **)&init = dlsym(module, name);
    }
    status = init ? init(ctx) : VA_STATUS_ERROR_OPERATION_FAILED;
    if (status)
        log_debug("%s does not serve either", path);
    else
        log_info("no host serves: going on with %s", path);
    dlclose(module);
    return status;
}
