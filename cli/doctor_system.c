/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config.h"
#include "doctor.h"
#include "places.h"
#include "va.h"

#define DRIVER_FILE   "viaduct_drv_video.so"
#define DRIVER_SYMBOL "__vaDriverInit_1_0"
/* Less frame memory than this and one 4K stream is in trouble. */
#define MEMORY_LITTLE (512ull << 20)

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

void doctor_system_environment(struct doctor *doctor)
{
    const char *name = variable("LIBVA_DRIVER_NAME");

    if (name && strcmp(name, "viaduct"))
        doctor_say(doctor, DOCTOR_FAIL, "unset it or set it to viaduct",
                   "LIBVA_DRIVER_NAME=%s: programs load that driver", name);
    if (variable("LIBVA_TRACE"))
        doctor_say(doctor, DOCTOR_WARN, "unset it unless you want the trace",
                   "LIBVA_TRACE is set: libva writes down every call, which is slow");
    if (variable("VIADUCT_TRACE"))
        doctor_say(doctor, DOCTOR_WARN, "unset it unless you want the trace",
                   "VIADUCT_TRACE is set: the driver writes down every message, which is slow");
    if (variable("VIADUCT_VENDOR"))
        doctor_say(doctor, DOCTOR_OK, NULL, "VIADUCT_VENDOR=%s: what programs see as the vendor",
                   getenv("VIADUCT_VENDOR"));
}

static void check_driver(struct doctor *doctor, const char *path)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!module) {
        doctor_say(doctor, DOCTOR_FAIL, "install Viaduct anew", "driver %s does not load: %s", path,
                   dlerror());
        return;
    }
    if (dlsym(module, DRIVER_SYMBOL)) {
        doctor_say(doctor, DOCTOR_OK, NULL, "driver %s loads", path);
        snprintf(doctor->driver, sizeof(doctor->driver), "%s", path);
    } else {
        doctor_say(doctor, DOCTOR_FAIL, "install Viaduct anew", "driver %s has no %s", path,
                   DRIVER_SYMBOL);
    }
    dlclose(module);
}

/* As libva does: every directory of the list, in order. */
void doctor_system_driver(struct doctor *doctor)
{
    const char *chosen = variable("LIBVA_DRIVERS_PATH");
    const char *at = chosen ? chosen : VIADUCT_DRIVERDIR;

    while (*at) {
        size_t length = strcspn(at, ":");
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%.*s/" DRIVER_FILE, (int)length, at);
        if (length && !access(path, F_OK)) {
            check_driver(doctor, path);
            return;
        }
        at += length + (at[length] == ':');
    }
    doctor_say(doctor, DOCTOR_FAIL,
               chosen ? "unset LIBVA_DRIVERS_PATH or add the directory that has it"
                      : "install Viaduct, or set LIBVA_DRIVERS_PATH to the directory that has it",
               "driver " DRIVER_FILE " is not in %s", chosen ? chosen : VIADUCT_DRIVERDIR);
}

void doctor_system_node(struct doctor *doctor)
{
    bool window = variable("DISPLAY") || variable("WAYLAND_DISPLAY");
    char path[64];
    int fd = va_open_node(path, sizeof(path));

    if (fd >= 0) {
        /* libc's own glob() is not fooled. */
        doctor_say(doctor, DOCTOR_OK, NULL, "render node %s%s", path,
                   places_have_render_node() ? "" : ", Viaduct's stand-in");
        close(fd);
    } else if (*path) {
        doctor_say(doctor, DOCTOR_FAIL,
                   errno == EACCES ? "add this user to the node's group (ls -l /dev/dri), often "
                                     "\"render\" or \"video\""
                                   : "see whether the device works at all",
                   "render node %s cannot be opened: %s", path, strerror(errno));
    } else if (window) {
        doctor_say(doctor, DOCTOR_WARN,
                   "for programs that want a render node use `viaduct exec -- PROGRAM`",
                   "no render node; programs can work on X11 or Wayland");
    } else {
        doctor_say(doctor, DOCTOR_FAIL,
                   "run programs with `viaduct exec -- PROGRAM`, which shows them one, or pass "
                   "/dev/dri into the container",
                   "no render node in /dev/dri, nor X11 or Wayland");
    }
}

/* Bytes the control group allows, UINT64_MAX if it does not say. */
static uint64_t group_limit(void)
{
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "re");
    unsigned long long bytes;
    bool known = file && fscanf(file, "%llu", &bytes) == 1;

    if (file)
        fclose(file);
    return known ? bytes : UINT64_MAX;
}

void doctor_system_memory(struct doctor *doctor)
{
    struct rlimit limit;
    uint64_t group = group_limit();
    int fd = memfd_create("viaduct-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        doctor_say(doctor, DOCTOR_FAIL,
                   "allow memfd_create in the container's system call filter; the host service "
                   "needs it",
                   "no anonymous shared memory: %s", strerror(errno));
    else
        close(fd);
    if (!getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < doctor->arena_bytes * 2)
        doctor_say(doctor, limit.rlim_cur < doctor->arena_bytes ? DOCTOR_FAIL : DOCTOR_WARN,
                   "raise it (ulimit -v unlimited) or give the service a smaller --max-bytes",
                   "the limit on address space, %llu MiB, is small against the %llu MiB arena",
                   (unsigned long long)limit.rlim_cur >> 20,
                   (unsigned long long)doctor->arena_bytes >> 20);
    if (group < MEMORY_LITTLE)
        doctor_say(doctor, DOCTOR_WARN, "raise the container's memory limit",
                   "this control group may use %llu MiB of memory, frames included",
                   (unsigned long long)group >> 20);
    if (doctor->served && doctor->frame_bytes < MEMORY_LITTLE)
        doctor_say(doctor, DOCTOR_WARN, "start viaductd with a larger --max-bytes",
                   "the host gives this client %llu MiB of frame memory",
                   (unsigned long long)doctor->frame_bytes >> 20);
    else if (doctor->served)
        doctor_say(doctor, DOCTOR_OK, NULL, "memory: up to %llu MiB of frames in a %llu MiB arena",
                   (unsigned long long)doctor->frame_bytes >> 20,
                   (unsigned long long)doctor->arena_bytes >> 20);
}
