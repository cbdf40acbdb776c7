/* SPDX-License-Identifier: MIT */
#include "va.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <viaduct/errors.h>

#define NODE_FIRST 128
#define NODE_LAST  191

int va_load(struct va *ret_va, char *why, size_t room)
{
    void *libva = dlopen("libva.so.2", RTLD_NOW | RTLD_GLOBAL);
    void *libva_drm = libva ? dlopen("libva-drm.so.2", RTLD_NOW) : NULL;

    if (!libva_drm) {
        snprintf(why, room, "%s", dlerror());
        return VD_ERR_UNSUPPORTED;
    }
    /* libva-drm depends on libva, so asking it finds both. POSIX's way to store a function. */
#define VA_FIND(name)                                  \
    *(void **)&ret_va->name = dlsym(libva_drm, #name); \
    if (!ret_va->name) {                               \
        snprintf(why, room, "libva lacks %s", #name);  \
        return VD_ERR_UNSUPPORTED;                     \
    }
    VA_FUNCTIONS(VA_FIND)
#undef VA_FIND
    return 0;
}

int va_open_node(char *path, size_t room)
{
    for (int n = NODE_FIRST; n <= NODE_LAST; n++) {
        snprintf(path, room, "/dev/dri/renderD%d", n);
        if (!access(path, F_OK))
            return open(path, O_RDWR | O_CLOEXEC);
    }
    path[0] = 0;
    errno = ENOENT;
    return -1;
}

static void ignore(void *context, const char *message)
{
    (void)context, (void)message;
}

void va_silence(const struct va *va, VADisplay display)
{
    va->vaSetInfoCallback(display, ignore, NULL);
    va->vaSetErrorCallback(display, ignore, NULL);
}
