/* SPDX-License-Identifier: MIT */
#include <drm_fourcc.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <transport/memory.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "driver.h"

/*
 * Surfaces in memory that the app brings (DRM PRIME 2): one object with all planes, linear. The
 * descriptor may be a dma-buf or a memfd sealed against shrinking. Both sides map it; the host
 * copies each picture into it, since a decoder's own references must not lie in memory that
 * others may write. Where the host cannot have it the driver copies, when the app waits for a
 * picture, and before the host reads one (inband.c).
 */

/* Planes of all layers in order, as VA_EXPORT_SURFACE_SEPARATE_LAYERS and COMPOSED give them. */
static int flatten(const VADRMPRIMESurfaceDescriptor *d, uint32_t *pitch, uint32_t *offset,
                   uint32_t *ret_count)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < d->num_layers && i < 4; i++) {
        for (uint32_t j = 0; j < d->layers[i].num_planes && j < 4; j++) {
            if (n == VD_MAX_PLANES || d->layers[i].object_index[j] != 0)
                return VD_ERR_UNSUPPORTED;
            pitch[n] = d->layers[i].pitch[j];
            offset[n++] = d->layers[i].offset[j];
        }
    }
    *ret_count = n;
    return 0;
}

VAStatus import_create(const VADRMPRIMESurfaceDescriptor *d, const struct format_info *format,
                       uint32_t width, uint32_t height, struct import **ret_import)
{
    uint64_t modifier = d->objects[0].drm_format_modifier;
    uint32_t pitch[VD_MAX_PLANES], offset[VD_MAX_PLANES], planes;
    struct import *import;
    void *bytes;
    off_t size;

    if (d->num_objects != 1 ||
        (modifier != DRM_FORMAT_MOD_LINEAR && modifier != DRM_FORMAT_MOD_INVALID) ||
        flatten(d, pitch, offset, &planes)) {
        log_info("import: only linear memory in one object can be used");
        return VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
    }
    if (planes != format->planes)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    import = calloc(1, sizeof(*import));
    if (!import)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    import->fd = fcntl(d->objects[0].fd, F_DUPFD_CLOEXEC, 3);
    size = import->fd >= 0 ? lseek(import->fd, 0, SEEK_END) : -1;
    import->size = size > 0 ? (uint64_t)size : 0;
    if (memory_check(import->fd, import->size) || import->size > VD_MAX_IMPORT_BYTES ||
        format_layout_given(format, width, height, pitch, offset, import->size, &import->layout))
        goto fail;
    bytes = mmap(NULL, import->size, PROT_READ | PROT_WRITE, MAP_SHARED, import->fd, 0);
    if (bytes == MAP_FAILED)
        goto fail;
    import->bytes = bytes;
    *ret_import = import;
    return VA_STATUS_SUCCESS;
fail:
    import_destroy(&import);
    return VA_STATUS_ERROR_INVALID_PARAMETER;
}

void import_destroy(struct import **ref)
{
    struct import *import = *ref;

    *ref = NULL;
    if (!import)
        return;
    if (import->bytes)
        munmap(import->bytes, import->size);
    if (import->fd >= 0)
        close(import->fd);
    free(import);
}

int import_register(struct host *host, uint32_t surface, const struct format_info *format,
                    const struct import *import)
{
    struct vd_surface_import_req req = {
        .surface = surface,
        .planes = format->planes,
        .size = import->size,
    };
    struct vd_surface_import_rep rep;
    int err;

    for (int i = 0; i < format->planes; i++) {
        req.pitch[i] = import->layout.pitch[i];
        req.offset[i] = import->layout.offset[i];
    }
    err = host_call_fd(host, VD_OP_surface_import, &req, &rep, import->fd);
    return err ? err : errors_from_wire(rep.status);
}
