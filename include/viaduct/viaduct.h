/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_H
#define VIADUCT_H

#include <stdint.h>

/*
 * What Viaduct's VA-API driver gives beyond VA-API.
 *
 * Surfaces lie in memory that the program and the host share. vaExportSurfaceHandle with the memory
 * type VIADUCT_SURFACE_MEMFD tells where: for work of the host's on them that is not VA-API's, such
 * as CUDA (cuImportExternalMemory takes the descriptor as an OPAQUE_FD; samples/compute.c), without
 * a pixel crossing to the program.
 *
 *     struct viaduct_surface where;
 *     status = vaExportSurfaceHandle(display, surface, VIADUCT_SURFACE_MEMFD,
 *                                    VA_EXPORT_SURFACE_READ_WRITE, &where);
 *
 * VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE: another driver, a host that shares no memory (TLS,
 * vsock, virtio-gpu), or a surface that was exported as memory of the host's device before. Where
 * pictures are decoded on a device, those of an exported surface are brought into its memory. A
 * surface that was exported keeps its place as long as it is there, and is decoded into, processed
 * into and encoded from in place. The call waits for a picture on its way; who looks at later ones
 * waits with vaSyncSurface.
 */
#define VIADUCT_SURFACE_MEMFD 0x56440000u

#define VIADUCT_SURFACE_PLANES 4

struct viaduct_surface {
    /*
     * The program's, to be closed. It is all of the display's memory, other surfaces included: not
     * to be given to whom those are none of the business of.
     */
    int32_t fd;
    uint32_t fourcc; /* VA_FOURCC_* */
    uint32_t width, height;
    uint64_t offset, size; /* of the surface in it, bytes */
    uint32_t planes;
    uint32_t reserved;
    uint32_t plane_offset[VIADUCT_SURFACE_PLANES]; /* from `offset` */
    uint32_t pitch[VIADUCT_SURFACE_PLANES];
};

#endif
