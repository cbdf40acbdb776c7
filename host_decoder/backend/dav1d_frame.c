/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "../planes.h"
#include "dav1d.h"

/*
 * Picture memory for dav1d: the surface's, or planes beside it (planes.c), or memory of the
 * decoder's own for pictures that no surface is to show. All calls come from the thread that feeds
 * the decoder, since it has no frame threads.
 */

static_assert(ACCOUNT_ALIGN >= DAV1D_PICTURE_ALIGNMENT, "memory from pool_alloc");

/* Whole blocks are written (picture.h). */
#define FRAME_BLOCK 128u

static uint32_t align_up(uint32_t value, uint32_t to)
{
    return (value + to - 1) / to * to;
}

static struct convert_samples samples_of(const Dav1dPictureParameters *p)
{
    return (struct convert_samples){
        .bits = (uint8_t)p->bpc,
        .planes = p->layout == DAV1D_PIXEL_LAYOUT_I400 ? 1 : 3,
        .shift_w = p->layout != DAV1D_PIXEL_LAYOUT_I444,
        .shift_h = p->layout == DAV1D_PIXEL_LAYOUT_I420 || p->layout == DAV1D_PIXEL_LAYOUT_I400,
    };
}

static struct dav1d_memory *take_memory(struct dav1d_context *self, size_t size)
{
    struct dav1d_memory **link = &self->free, *memory;

    /* Free ones differ in size only around a change of the stream's. */
    while (*link && (*link)->size < size && (*link)->next)
        link = &(*link)->next;
    memory = *link;
    if (memory)
        *link = memory->next;
    else
        memory = calloc(1, sizeof(*memory));
    if (memory && memory->size < size) {
        void *bytes;

        pool_free(memory->bytes);
        memory->size = 0;
        memory->bytes = NULL;
        if (pool_alloc(self->info.pool, size, &bytes)) {
            free(memory);
            return NULL;
        }
        memory->bytes = bytes;
        memset(memory->bytes, 128, size);
        memory->size = size;
    }
    return memory;
}

/* 0 if the target's surface takes the picture. */
static int place(struct dav1d_context *self, Dav1dPicture *picture, struct dav1d_memory *memory)
{
    struct dav1d_target *target = &self->target;
    struct convert_samples samples = samples_of(&picture->p);
    uint32_t width = (uint32_t)picture->p.w, height = (uint32_t)picture->p.h;
    struct backing *backing = NULL;
    struct planes planes;
    int err = 0;

    if (target->fixed)
        backing = surface_current(target->surface);
    if (!backing)
        err = pool_get(target->surface, &backing);
    if (err)
        return err;
    err = planes_place(target->surface, backing, &samples, width, height,
                       align_up(width, FRAME_BLOCK), align_up(height, FRAME_BLOCK), &planes);
    if (err) {
        pool_unref(&backing);
        return err;
    }
    for (int i = 0; i < samples.planes; i++)
        picture->data[i] = planes.data[i];
    picture->stride[0] = planes.pitch[0];
    picture->stride[1] = samples.planes > 1 ? planes.pitch[1] : 0;
    *target->backing = backing;
    memory->backing = pool_ref(backing);
    return 0;
}

int dav1d_frame_get(Dav1dPicture *picture, void *cookie)
{
    struct dav1d_context *self = cookie;
    struct convert_samples samples = samples_of(&picture->p);
    struct dav1d_memory *memory;
    struct format_layout layout;
    int err = VD_ERR_UNSUPPORTED;

    if (self->target.surface) {
        memory = take_memory(self, 0);
        if (!memory)
            return DAV1D_ERR(ENOMEM);
        err = place(self, picture, memory);
        if (err) {
            memory->next = self->free;
            self->free = memory;
            *self->target.status = err;
            log_debug("surface %#x (%ux%u) cannot take the picture (%dx%d): %s",
                      (unsigned)self->target.surface->id, self->target.surface->width,
                      self->target.surface->height, picture->p.w, picture->p.h, errors_text(err));
        }
        /* With super-resolution the picture comes first, then memory to decode it in. */
        self->target.surface = NULL;
    }
    if (err) {
        /* Beside the surface, to keep the references right. */
        planes_layout(&samples, align_up((uint32_t)picture->p.w, FRAME_BLOCK),
                      align_up((uint32_t)picture->p.h, FRAME_BLOCK), &layout);
        memory = take_memory(self, layout.size + DAV1D_PICTURE_ALIGNMENT);
        if (!memory)
            return DAV1D_ERR(ENOMEM);
        for (int i = 0; i < samples.planes; i++)
            picture->data[i] = memory->bytes + layout.offset[i];
        picture->stride[0] = layout.pitch[0];
        picture->stride[1] = samples.planes > 1 ? layout.pitch[1] : 0;
    }
    picture->allocator_data = memory;
    return 0;
}

void dav1d_frame_release(Dav1dPicture *picture, void *cookie)
{
    struct dav1d_context *self = cookie;
    struct dav1d_memory *memory = picture->allocator_data;

    pool_unref(&memory->backing);
    memory->next = self->free;
    self->free = memory;
}

void dav1d_frame_copy(const Dav1dPicture *from, const Dav1dPicture *to)
{
    struct convert_samples samples = samples_of(&from->p);

    for (int i = 0; i < samples.planes; i++) {
        int shift_w = i ? samples.shift_w : 0, shift_h = i ? samples.shift_h : 0;
        size_t bytes = (size_t)((from->p.w + shift_w) >> shift_w) * (samples.bits > 8 ? 2 : 1);

        for (int y = 0; y < (from->p.h + shift_h) >> shift_h; y++)
            memcpy((uint8_t *)to->data[i] + y * to->stride[i > 0],
                   (const uint8_t *)from->data[i] + y * from->stride[i > 0], bytes);
    }
}

void dav1d_frame_finish(struct dav1d_context *self)
{
    while (self->free) {
        struct dav1d_memory *memory = self->free;

        self->free = memory->next;
        pool_free(memory->bytes);
        free(memory);
    }
}
