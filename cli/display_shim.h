/* SPDX-License-Identifier: MIT */
#ifndef CLI_DISPLAY_SHIM_H
#define CLI_DISPLAY_SHIM_H

#include <stdbool.h>

/*
 * libviaduct-display.so: an LD_PRELOAD library that gives one process a DRM render node on a
 * machine that has none, so that libva finds a display to put the driver on. `viaduct exec` sets
 * it up; the driver itself never touches the node.
 *
 * It answers for one path and for the descriptors it made, and passes everything else on. Where
 * the real node exists it does nothing. No state but what display_shim.c says about directories:
 * a descriptor of ours is known by what it is, so it may be inherited, passed on or closed by
 * people who close everything.
 *
 * display_shim.c: files. display_drm.c: libdrm. display_sysfs.c: for a libdrm inside the program.
 * display_udev.c: enumeration by libudev.
 */
#define DISPLAY_DIR   "/dev/dri"
#define DISPLAY_NAME  "renderD128"
#define DISPLAY_NODE  DISPLAY_DIR "/" DISPLAY_NAME
#define DISPLAY_MAJOR 226
#define DISPLAY_MINOR 128

/* What drmGetVersion tells. */
#define DISPLAY_DRIVER      "viaduct"
#define DISPLAY_DATE        "0"
#define DISPLAY_DESCRIPTION "Viaduct stand-in for a render node"

/* Exported: what the process finds before the real function of that name. */
#define DISPLAY_EXPORT __attribute__((visibility("default")))

/* Whether the real node is missing, so ours stands in. */
bool display_active(void);
/* Whether a descriptor is one of our nodes. */
bool display_owns(int fd);
/* Whether the path is a folder of the node's device in /sys, which we stand in for. */
bool display_sysfs_dir(const char *path);
/* Whether it is the one with the node's name in it. */
bool display_sysfs_list(const char *path);

/*
 * The function of this name that would have been called without us; NULL if there is none.
 * `library` (may be NULL) is asked, too, if it is loaded: plug-ins have libraries of their own
 * that RTLD_NEXT does not see. `slot` keeps the answer. Any thread.
 */
typedef void (*display_function)(void);
display_function display_next(display_function *slot, const char *library, const char *name);

#endif
