/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <viaduct/errors.h>
#include <wire/log.h>

#include "remote.h"

/* Devices, contexts, what kernels print; and the backend's table. */

static struct cuda_device devices[VD_MAX_CUDA_DEVICES];

/* cuInit asks this first; no host is no error, since there is another backend. */
static int count(unsigned *ret_count)
{
    struct remote *r;

    if (remote_find(true, &r))
        return CUDA_ERROR_NO_DEVICE;
    *ret_count = r->device_count;
    remote_drop(r);
    return CUDA_SUCCESS;
}

static int properties(unsigned index, struct cuda_properties *ret)
{
    const struct vd_cuda_device *d;
    struct remote *r;
    int err = remote_get(&r);

    if (err)
        return err;
    d = &r->devices[index];
    if (index >= r->device_count) {
        err = CUDA_ERROR_INVALID_DEVICE;
    } else {
        memset(ret, 0, sizeof(*ret));
        ret->index = (int)index;
        memcpy(ret->name, d->name, sizeof(ret->name));
        ret->name[sizeof(ret->name) - 1] = '\0';
        memcpy(ret->uuid, d->uuid, sizeof(ret->uuid));
        ret->memory = d->memory;
        /* Programs divide by it. */
        ret->multiprocessors = d->multiprocessors ? d->multiprocessors : 1;
        ret->clock_khz = (int)(d->clock_khz & INT32_MAX);
        ret->l2_bytes = (int)(d->l2_bytes & INT32_MAX);
        ret->local = 0;
        ret->coherent = d->flags & VD_CUDA_DEVICE_LOCAL && !r->pump ? 1 : 0;
        ret->apart = r->apart ? 1 : 0;
        ret->virtual_memory = d->flags & VD_CUDA_DEVICE_VIRTUAL ? 1 : 0;
        ret->imports = d->flags & VD_CUDA_DEVICE_IMPORTS && !r->pump ? 1 : 0;
        ret->textureless = d->flags & VD_CUDA_DEVICE_TEXTURELESS ? 1 : 0;
    }
    remote_drop(r);
    return err;
}

static int open_device(unsigned index, struct cuda_device **ret_device)
{
    if (index >= VD_MAX_CUDA_DEVICES)
        return CUDA_ERROR_INVALID_DEVICE;
    devices[index].index = index;
    *ret_device = &devices[index];
    return CUDA_SUCCESS;
}

/* `ret_lost`: by the session's end. */
static int context_create_once(struct cuda_device *device, struct cuda_context **ret_context,
                               bool *ret_lost)
{
    struct vd_cuda_context_create_req req = {.device = device->index};
    struct vd_cuda_context_create_rep rep = {0};
    struct remote_context *c = calloc(1, sizeof(*c));
    struct remote *r = NULL;
    int err = c ? remote_get(&r) : CUDA_ERROR_OUT_OF_MEMORY;

    if (err)
        goto failed;
    c->remote = r;
    pthread_mutex_lock(&r->lock);
    while (c->slot < VD_MAX_CUDA_CONTEXTS && r->contexts[c->slot])
        c->slot++;
    if (c->slot < VD_MAX_CUDA_CONTEXTS)
        r->contexts[c->slot] = c;
    pthread_mutex_unlock(&r->lock);
    err = CUDA_ERROR_OUT_OF_MEMORY;
    if (c->slot == VD_MAX_CUDA_CONTEXTS)
        goto failed;
    req.context = c->slot;
    /* What an older one of this slot ended with. */
    if (r->pump)
        __atomic_store_n(&r->status->errors[c->slot], 0, __ATOMIC_RELEASE);
    err = remote_call(r, VD_OP_cuda_context_create, &req, &rep, NULL, NULL);
    if (!err)
        err = (int)rep.result;
    if (!err) {
        *ret_context = &c->head;
        return CUDA_SUCCESS;
    }
    pthread_mutex_lock(&r->lock);
    r->contexts[c->slot] = NULL;
    pthread_mutex_unlock(&r->lock);
failed:
    *ret_lost = r && atomic_load(&r->dead);
    remote_drop(r);
    free(c);
    return err;
}

static int context_create(struct cuda_device *device, struct cuda_context **ret_context)
{
    bool lost = false;
    int err = context_create_once(device, ret_context, &lost);

    /* A worker may end with its last context, if that had a fault that its device does not get
     * over. */
    return err && lost ? context_create_once(device, ret_context, &lost) : err;
}

static void context_destroy(struct cuda_context *context)
{
    struct remote_context *c = (struct remote_context *)context;
    struct vd_cuda_context_destroy_req req = {.context = c->slot};
    struct remote *r = c->remote;

    /* All its work is over, as was waited for. */
    remote_land(r);
    remote_stamp_sweep(r);
    pthread_mutex_lock(&r->lock);
    remote_queue_sweep(r);
    pthread_mutex_unlock(&r->lock);
    remote_post(r, VD_OP_cuda_context_destroy, &req, sizeof(req));
    pthread_mutex_lock(&r->lock);
    r->contexts[c->slot] = NULL;
    pthread_mutex_unlock(&r->lock);
    remote_drop(r);
    free(c);
}

void remote_fault(struct remote_context *c)
{
    struct vd_cuda_fault_req req = {.context = c->slot};
    struct vd_cuda_fault_rep rep;
    char text[VD_MAX_CUDA_FAULT * 8 + 1];
    uint32_t words = 0;

    if (!remote_alive(c->remote) ||
        remote_call(c->remote, VD_OP_cuda_fault, &req, &rep, text, &words) || !rep.bytes ||
        rep.bytes > words * 8)
        return;
    /* It is for a terminal, maybe. */
    for (uint32_t i = 0; i < rep.bytes; i++)
        if (text[i] < ' ' || text[i] > '~')
            text[i] = '?';
    text[rep.bytes] = '\0';
    log_error("cuda: %s", text);
}

static int heap(struct cuda_device *device, uint64_t bytes)
{
    struct vd_cuda_heap_req req = {.device = device->index, .bytes = bytes};
    struct vd_cuda_heap_rep rep;
    struct remote *r = remote_current();
    int err =
        r ? remote_call(r, VD_OP_cuda_heap, &req, &rep, NULL, NULL) : CUDA_ERROR_LAUNCH_FAILED;

    return err ? err : (int)rep.result;
}

static void print(struct cuda_device *device)
{
    struct vd_cuda_print_req req = {.device = device->index};
    struct vd_cuda_print_rep rep;
    struct remote *r = remote_current();
    char *text;

    if (!r || !__atomic_load_n(&r->status->printed, __ATOMIC_ACQUIRE))
        return;
    text = malloc(VD_MAX_CUDA_TEXT * 8);
    while (text) {
        uint32_t words = 0;

        /* Before it is taken: what comes after that sets it again. */
        if (r->pump)
            __atomic_store_n(&r->status->printed, 0, __ATOMIC_RELEASE);
        if (remote_call(r, VD_OP_cuda_print, &req, &rep, text, &words) || !rep.bytes ||
            rep.bytes > words * 8)
            break;
        fwrite(text, 1, rep.bytes, stdout);
    }
    fflush(stdout);
    free(text);
}

const struct cuda_backend cuda_backend_remote = {
    .name = "remote",
    .stages = true,
    .count = count,
    .properties = properties,
    .open = open_device,
    .context_create = context_create,
    .context_destroy = context_destroy,
    .memory_create = remote_memory_create,
    .host_create = remote_host_create,
    .host_destroy = remote_host_destroy,
    .memory_map = remote_memory_map,
    .memory_map_as = remote_memory_map_as,
    .memory_import = remote_memory_import,
    .memory_unmap = remote_memory_unmap,
    .memory_destroy = remote_memory_destroy,
    .memory_share = remote_memory_share,
    .memory_info = remote_memory_info,
    .virtual_reserve = remote_virtual_reserve,
    .virtual_release = remote_virtual_release,
    .physical_create = remote_physical_create,
    .physical_destroy = remote_physical_destroy,
    .virtual_map = remote_virtual_map,
    .virtual_unmap = remote_virtual_unmap,
    .virtual_allow = remote_virtual_allow,
    .array_create = remote_array_create,
    .texture_create = remote_texture_create,
    .texture_destroy = remote_texture_destroy,
    .module_create = remote_module_create,
    .module_destroy = remote_module_destroy,
    .heap = heap,
    .queue_create = remote_queue_create,
    .queue_hold = remote_queue_hold,
    .queue_release = remote_queue_release,
    .submit = remote_queue_submit,
    .done = remote_queue_done,
    .wait = remote_queue_wait,
    .stamp_create = remote_stamp_create,
    .stamp_release = remote_stamp_release,
    .stamp_time = remote_stamp_time,
    .print = print,
};
