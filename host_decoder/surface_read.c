/* SPDX-License-Identifier: MIT */
#include <viaduct/errors.h>

#include "pool_private.h"

void surface_read_take(struct surface_read *read, int status)
{
    struct surface *surface = read->surface;

    read->backing = surface->current;
    if (read->backing)
        read->backing->refs++;
    if (surface->frame)
        read->frame = device_frame_ref(surface->frame);
    read->status = status;
    read->next = NULL;
    read->ready = true;
    pthread_cond_broadcast(&surface->pool->ready);
}

void surface_read_begin(struct surface *surface, struct surface_read *read)
{
    *read = (struct surface_read){.surface = surface_ref(surface), .sequence = surface->written};
    pthread_mutex_lock(&surface->pool->lock);
    if (!surface->writer || (int32_t)(surface->bound - read->sequence) >= 0) {
        surface_read_take(read, 0);
    } else {
        read->next = surface->reads;
        surface->reads = read;
    }
    pthread_mutex_unlock(&surface->pool->lock);
}

int surface_read_wait(struct surface_read *read)
{
    struct pool *pool = read->surface->pool;

    pthread_mutex_lock(&pool->lock);
    while (!read->ready)
        pthread_cond_wait(&pool->ready, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return read->status;
}

bool surface_read_ready(const struct surface_read *read)
{
    struct pool *pool = read->surface->pool;
    bool ready;

    pthread_mutex_lock(&pool->lock);
    ready = read->ready;
    pthread_mutex_unlock(&pool->lock);
    return ready;
}

void surface_read_cancel(struct surface_read *read, int status)
{
    struct surface *surface = read->surface;

    if (!surface)
        return;
    pthread_mutex_lock(&surface->pool->lock);
    for (struct surface_read **at = &surface->reads; *at; at = &(*at)->next) {
        if (*at == read) {
            *at = read->next;
            surface_read_take(read, status);
            break;
        }
    }
    pthread_mutex_unlock(&surface->pool->lock);
}

int surface_read_pixels(struct surface_read *read, struct pixels *ret_pixels)
{
    struct surface *surface = read->surface;
    uint32_t index;
    int err = 0;

    *ret_pixels = (struct pixels){
        .format = surface->format,
        .layout = &surface->layout,
        .width = surface->width,
        .height = surface->height,
    };
    /* Memory of the app's own has what the app wrote, and every picture was copied into it. */
    if (surface->external) {
        ret_pixels->bytes = surface->external;
        ret_pixels->layout = &surface->external_layout;
        return 0;
    }
    if (!read->backing && read->frame)
        err = surface_bring(surface, read->frame, &read->backing);
    if (!err && !read->backing) {
        err = surface_back(surface, &index);
        read->backing = err ? NULL : surface_current(surface);
    }
    if (err)
        return err;
    if (!read->backing)
        return VD_ERR_ID;
    ret_pixels->bytes = read->backing->bytes;
    return 0;
}

void surface_read_end(struct surface_read *read)
{
    if (!read->surface)
        return;
    surface_read_cancel(read, VD_ERR_GONE);
    pool_unref(&read->backing);
    device_frame_unref(&read->frame);
    surface_unref(&read->surface);
    read->ready = false;
}
