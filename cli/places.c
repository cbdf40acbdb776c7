/* SPDX-License-Identifier: MIT */
#include "places.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

/* Relative to this program: in a build tree, beside it when installed; then the fixed place. */
static const struct {
    const char *built, *beside, *installed;
} places_table[] = {
    [PLACE_VIADUCTD] = {"../host_decoder/viaductd", "viaductd", VIADUCT_BINDIR "/viaductd"},
    [PLACE_DRIVER] = {"../va_driver/viaduct_drv_video.so", NULL,
                      VIADUCT_DRIVERDIR "/viaduct_drv_video.so"},
    [PLACE_DISPLAY] = {"libviaduct-display.so", NULL, VIADUCT_LIBDIR "/libviaduct-display.so"},
    [PLACE_CUDA] = {"../compute/cuda/driver/libcuda.so.1", NULL,
                    VIADUCT_LIBDIR "/cuda/libcuda.so.1"},
    [PLACE_CUDART_12] = {"../compute/cuda/runtime/12/libcudart.so.12", NULL,
                         VIADUCT_LIBDIR "/cuda/libcudart.so.12"},
    [PLACE_CUDART_13] = {"../compute/cuda/runtime/13/libcudart.so.13", NULL,
                         VIADUCT_LIBDIR "/cuda/libcudart.so.13"},
    [PLACE_NVML] = {"../compute/cuda/nvml/libnvidia-ml.so.1", NULL,
                    VIADUCT_LIBDIR "/cuda/libnvidia-ml.so.1"},
    [PLACE_NPU] = {"../compute/npu/ort/libonnxruntime.so.1", NULL,
                   VIADUCT_LIBDIR "/npu/libonnxruntime.so.1"},
    [PLACE_NPU_LOCAL] = {"../compute/npu/ort_local/libonnxruntime.so.1", NULL,
                         VIADUCT_LIBDIR "/npu/local/libonnxruntime.so.1"},
    [PLACE_LOOK] = {"viaduct-look", NULL, VIADUCT_LIBEXECDIR "/viaduct-look"},
    [PLACE_SELF] = {"viaduct", NULL, VIADUCT_BINDIR "/viaduct"},
};

static bool try_relative(const char *name, char *path, size_t room)
{
    char self[PATH_MAX], joined[PATH_MAX + 64], *real;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    bool found;

    if (n <= 0 || !name)
        return false;
    self[n] = 0;
    places_directory(self);
    snprintf(joined, sizeof(joined), "%s/%s", self, name);
    real = realpath(joined, NULL);
    found = real && (size_t)snprintf(path, room, "%s", real) < room;
    free(real);
    return found;
}

bool places_find(enum place place, char *path, size_t room)
{
    if (try_relative(places_table[place].built, path, room) ||
        try_relative(places_table[place].beside, path, room))
        return true;
    snprintf(path, room, "%s", places_table[place].installed);
    return !access(path, R_OK);
}

void places_directory(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash)
        slash[slash == path] = 0;
}

bool places_have_render_node(void)
{
    glob_t found;
    bool have = !glob("/dev/dri/renderD*", GLOB_NOSORT, NULL, &found);

    if (have)
        globfree(&found);
    return have;
}
