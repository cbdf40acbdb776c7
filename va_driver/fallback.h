/* SPDX-License-Identifier: MIT */
#ifndef DRIVER_FALLBACK_H
#define DRIVER_FALLBACK_H

#include <va/va_backend.h>

/*
 * The driver whose place this one took. Packages put Viaduct under the names that libva asks for on
 * a render node (virtio_gpu_drv_video.so), which are other drivers' names, too; dpkg-divert keeps
 * those as NAME.distrib. Where no host of Viaduct answers, the machine shall have what it had
 * before.
 *
 * Initialises that driver for `ctx`, whose table and data are its from then on.
 * VA_STATUS_ERROR_OPERATION_FAILED: there is none, or this was loaded under its own name; else what
 * the driver says.
 */
VAStatus fallback_init(VADriverContextP ctx);

#endif
