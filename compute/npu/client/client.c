/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <transport/fence.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "internal.h"

static _Thread_local char client_message[VD_NPU_TEXT_BYTES + 64];

int client_fail(int err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(client_message, sizeof(client_message), format, args);
    va_end(args);
    return err;
}

const char *npu_message(void)
{
    return client_message;
}

const char *npu_error_text(int error)
{
    return errors_text(error);
}

int client_usable(struct npu *npu)
{
    if (npu->pid != getpid())
        return client_fail(VD_ERR_GONE, "the connection to the host belongs to the process that "
                                        "this one was forked from");
    return 0;
}

int npu_open(const char *uri, struct npu **ret_npu)
{
    struct npu *npu = calloc(1, sizeof(*npu));
    struct channel *channel;
    int err;

    if (!npu)
        return client_fail(VD_ERR_MEMORY, "out of memory");
    if (uri) {
        err = host_connect(uri, &channel);
        if (!err)
            err = host_open_channel(channel, uri, 0, &npu->host);
        if (err)
            client_fail(err, "no host at %s: %s", uri, errors_text(err));
    } else {
        err = host_open(0, &npu->host);
        if (err)
            client_fail(err,
                        "no host service: %s; start viaductd, set VIADUCT_HOST, or run the program "
                        "with `viaduct exec -- ...`",
                        errors_text(err));
    }
    if (err) {
        free(npu);
        return err;
    }
    npu->refs = 1;
    npu->pid = getpid();
    npu->lock = &npu->own_lock;
    pthread_mutex_init(npu->lock, NULL);
    *ret_npu = npu;
    return 0;
}

struct npu *client_ref(struct npu *npu)
{
    __atomic_add_fetch(&npu->refs, 1, __ATOMIC_RELAXED);
    return npu;
}

void client_unref(struct npu *npu)
{
    if (!npu || __atomic_sub_fetch(&npu->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (npu->share)
        client_display_leave(npu);
    else if (npu->pid == getpid())
        host_unref(&npu->host);
    else
        host_abandon(&npu->host);
    if (npu->lock == &npu->own_lock)
        pthread_mutex_destroy(npu->lock);
    free(npu);
}

struct npu *npu_ref(struct npu *npu)
{
    return client_ref(npu);
}

void npu_close(struct npu *npu)
{
    client_unref(npu);
}

int npu_devices(struct npu *npu, struct npu_device *ret_devices, size_t room, size_t *ret_count)
{
    struct vd_npu_devices_req req = {0};
    struct vd_npu_devices_rep rep;
    const void *tail = NULL;
    uint32_t count = 0;
    size_t given = 0;
    int err;

    err = client_usable(npu);
    if (err)
        return err;
    pthread_mutex_lock(npu->lock);
    err = host_call(npu->host, VD_OP_npu_devices, &req, NULL, 0, &rep, &tail, &count);
    if (!err)
        err = errors_from_wire(rep.status);
    for (uint32_t i = 0; !err && i < count && given < room; i++) {
        struct vd_npu_device device;

        memcpy(&device, (const uint8_t *)tail + i * sizeof(device), sizeof(device));
        ret_devices[given] = (struct npu_device){.kind = (enum npu_device_kind)device.kind};
        memcpy(ret_devices[given].name, device.name, sizeof(device.name));
        memcpy(ret_devices[given++].runtime, device.runtime, sizeof(device.runtime));
    }
    pthread_mutex_unlock(npu->lock);
    if (err)
        return client_fail(err, "the host %s does not say what it runs models on: %s",
                           npu->host->uri, errors_text(err));
    *ret_count = given;
    return 0;
}

int client_take(struct npu *npu, uint64_t size, struct piece *ret_piece)
{
    int err;

    *ret_piece = (struct piece){.size = size ? size : 8};
    err = upload_get(&npu->host->upload, ret_piece->size, &ret_piece->offset);
    if (err)
        *ret_piece = (struct piece){0};
    return err;
}

void client_give(struct npu *npu, struct piece *piece)
{
    if (piece->offset)
        upload_give(&npu->host->upload, piece->offset, piece->size, 0, 0);
    *piece = (struct piece){0};
}

int client_upload(struct npu *npu, uint64_t offset, uint64_t size)
{
    if (!npu->host->mirror || !size)
        return 0;
    return mirror_guest_upload(npu->host->mirror, offset, size, HOST_CALL_MS);
}

static struct vd_context_slot *slot_of(const struct npu_model *model)
{
    return &model->npu->host->arena.status->contexts[VD_SLOT(model->id)];
}

int client_wait_job(struct npu_model *model, uint32_t job, uint64_t nanoseconds)
{
    struct vd_context_slot *slot = slot_of(model);

    return fence_wait(&slot->done, &slot->waiters, job, nanoseconds, host_alive, model->npu->host);
}

bool client_job_done(const struct npu_model *model, uint32_t job)
{
    return fence_passed(fence_load(&slot_of(model)->done), job);
}

void client_result(struct npu *npu, const struct piece *piece, struct vd_npu_result *ret_result)
{
    memcpy(ret_result, npu->host->arena.base + piece->offset, sizeof(*ret_result));
    ret_result->text[sizeof(ret_result->text) - 1] = 0;
    ret_result->device[sizeof(ret_result->device) - 1] = 0;
}
