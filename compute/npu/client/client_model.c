/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/sha256.h>

#include "internal.h"

/* Bytes of a model that travel at a time. */
#define MODEL_CHUNK (16ull << 20)
/* Room for the description of most models. */
#define MODEL_INFO_ROOM (64u << 10)

struct npu_model *client_model_ref(struct npu_model *model)
{
    __atomic_add_fetch(&model->refs, 1, __ATOMIC_RELAXED);
    return model;
}

static void forget(struct npu_model *model)
{
    struct vd_npu_destroy_req req = {.model = model->id};
    struct npu *npu = model->npu;

    if (npu->pid == getpid()) {
        pthread_mutex_lock(npu->lock);
        if (model->id && !npu->host->dead)
            host_send(npu->host, VD_OP_npu_destroy, &req, NULL, 0);
        if (model->id && npu->models[VD_SLOT(model->id)] == model) {
            npu->models[VD_SLOT(model->id)] = NULL;
            if (npu->share)
                npu->share->give_slot(npu->driver, model->id);
        }
        pthread_mutex_unlock(npu->lock);
    }
    client_unref(npu);
    free(model->learnt);
    free(model->rows);
    free(model->pairs);
    free(model->texts);
    free(model);
}

void client_model_unref(struct npu_model *model)
{
    if (model && !__atomic_sub_fetch(&model->refs, 1, __ATOMIC_ACQ_REL))
        forget(model);
}

void npu_unload(struct npu_model *model)
{
    client_model_unref(model);
}

const struct npu_info *npu_model_info(const struct npu_model *model)
{
    return &model->info;
}

/* A slot and an id in it; lock held. */
static int take_id(struct npu *npu, uint32_t *ret_id)
{
    uint32_t slot = 0;

    if (npu->share)
        return npu->share->take_slot(npu->driver, ret_id)
                   ? client_fail(VD_ERR_LIMIT,
                                 "the display has too many contexts and models, or is closed")
                   : 0;
    while (slot < VD_MAX_CONTEXTS && npu->models[slot])
        slot++;
    if (slot == VD_MAX_CONTEXTS)
        return client_fail(VD_ERR_LIMIT, "%d models are loaded; there cannot be more",
                           VD_MAX_CONTEXTS);
    /* Never 0, which would be no id. */
    npu->generation = npu->generation % 0xfff + 1;
    *ret_id = npu->generation << 20 | slot;
    return 0;
}

/* Lock held. */
static int announce(struct npu_model *model, size_t size, const struct npu_options *options)
{
    struct vd_npu_create_req req = {.size = size};
    struct vd_npu_create_rep rep;
    struct npu *npu = model->npu;
    int err;

    if (options) {
        const char *devices = options->devices ? options->devices : "";

        req.threads = options->threads;
        req.flags = options->require ? VD_NPU_REQUIRE : 0;
        if (strlen(devices) >= sizeof(req.devices))
            return client_fail(VD_ERR_PARAMETER, "the list of devices is too long: %s", devices);
        snprintf(req.devices, sizeof(req.devices), "%s", devices);
    }
    err = take_id(npu, &req.model);
    if (err)
        return err;
    if (npu->host->mirror)
        mirror_guest_expect_context(npu->host->mirror, req.model);
    err = host_call(npu->host, VD_OP_npu_create, &req, NULL, 0, &rep, NULL, NULL);
    if (!err)
        err = errors_from_wire(rep.status);
    if (err) {
        if (npu->share)
            npu->share->give_slot(npu->driver, req.model);
        return client_fail(err, "the host refuses a model of %zu bytes: %s", size,
                           errors_text(err));
    }
    model->id = req.model;
    npu->models[VD_SLOT(req.model)] = model;
    return 0;
}

/* Lock held. */
static int send_bytes(struct npu_model *model, const uint8_t *bytes, size_t size)
{
    struct npu *npu = model->npu;
    struct vd_npu_data_req req = {.model = model->id};
    struct vd_npu_data_rep rep;
    struct piece piece;
    int err = client_take(npu, size < MODEL_CHUNK ? size : MODEL_CHUNK, &piece);

    if (err)
        return client_fail(err, "no shared memory is left for a model");
    for (size_t at = 0; at < size && !err; at += req.size) {
        req.offset = piece.offset;
        req.size = size - at < piece.size ? size - at : piece.size;
        memcpy(npu->host->arena.base + piece.offset, bytes + at, req.size);
        err = client_upload(npu, piece.offset, req.size);
        if (!err)
            err = host_call(npu->host, VD_OP_npu_data, &req, NULL, 0, &rep, NULL, NULL);
        if (!err)
            err = errors_from_wire(rep.status);
    }
    client_give(npu, &piece);
    return err ? client_fail(err, "the model does not reach the host: %s", errors_text(err)) : 0;
}

/* Whether a model of this size was loaded before; lock held. */
static bool is_known(const struct npu *npu, size_t size)
{
    bool known = false;

    for (size_t i = 0; i < CLIENT_LOADED; i++)
        known = known || npu->loaded[i] == size;
    return known;
}

/* Sends the bytes, unless the host has them from before. Lock held. */
static int send_model(struct npu_model *model, const uint8_t *bytes, size_t size,
                      const uint8_t *hash)
{
    struct vd_npu_have_req req = {.model = model->id};
    struct vd_npu_have_rep rep = {.known = 0};
    struct npu *npu = model->npu;
    int err = 0;

    if (hash) {
        memcpy(req.hash, hash, sizeof(req.hash));
        err = host_call(npu->host, VD_OP_npu_have, &req, NULL, 0, &rep, NULL, NULL);
        if (!err)
            err = errors_from_wire(rep.status);
        if (err)
            return client_fail(err, "the host %s is gone", npu->host->uri);
    }
    return rep.known ? 0 : send_bytes(model, bytes, size);
}

/* The info of a load that is done, which may take another job to get. */
static int take_info(struct npu_model *model, struct piece *piece, struct vd_npu_result *result)
{
    struct npu *npu = model->npu;
    struct vd_npu_fetch_req req = {.model = model->id, .job = 2, .source = 1};
    uint8_t *copy;
    int err = 0;

    if (result->status == (uint32_t)-VD_ERR_ROOM && result->size < VD_UPLOAD_BYTES / 2) {
        pthread_mutex_lock(npu->lock);
        client_give(npu, piece);
        err = client_take(npu, sizeof(*result) + result->size, piece);
        req.result = piece->offset;
        req.room = piece->size;
        if (!err)
            err = host_send(npu->host, VD_OP_npu_fetch, &req, NULL, 0);
        model->submitted = 2;
        pthread_mutex_unlock(npu->lock);
        if (!err)
            err = client_wait_job(model, 2, UINT64_MAX);
        if (err)
            return client_fail(err, "the model's description does not arrive: %s",
                               errors_text(err));
        client_result(npu, piece, result);
    }
    err = errors_from_wire(result->status);
    if (err)
        return client_fail(err, "%s", result->text[0] ? result->text : errors_text(err));
    if (result->size > piece->size - sizeof(*result))
        return client_fail(VD_ERR_PROTOCOL, "the host's description of the model is broken");
    memcpy(model->device, result->device, sizeof(model->device));
    memcpy(model->reason, result->text, sizeof(model->reason));
    copy = malloc(result->size + 1);
    if (!copy)
        return client_fail(VD_ERR_MEMORY, "out of memory");
    memcpy(copy, npu->host->arena.base + piece->offset + sizeof(*result), result->size);
    err = client_info_read(model, copy, result->size);
    free(copy);
    return err ? client_fail(err, "the host's description of the model is broken") : 0;
}

static int load(struct npu_model *model, const void *bytes, size_t size,
                const struct npu_options *options)
{
    struct vd_npu_result result = {.status = (uint32_t)-VD_ERR_INTERNAL};
    struct npu *npu = model->npu;
    struct vd_npu_load_req req = {.job = 1};
    struct piece piece = {0};
    uint8_t hash[SHA256_BYTES];
    bool known;
    int err;

    pthread_mutex_lock(npu->lock);
    known = is_known(npu, size);
    pthread_mutex_unlock(npu->lock);
    if (known)
        sha256_of(bytes, size, hash);
    pthread_mutex_lock(npu->lock);
    err = announce(model, size, options);
    if (!err)
        err = send_model(model, bytes, size, known ? hash : NULL);
    if (!err) {
        err = client_take(npu, MODEL_INFO_ROOM, &piece);
        if (err)
            client_fail(err, "no shared memory is left for a model");
    }
    if (!err) {
        memcpy(npu->host->arena.base + piece.offset, &result, sizeof(result));
        req.model = model->id;
        req.result = piece.offset;
        req.room = piece.size;
        model->submitted = 1;
        err = host_send(npu->host, VD_OP_npu_load, &req, NULL, 0);
        if (err)
            client_fail(err, "the host %s is gone", npu->host->uri);
    }
    pthread_mutex_unlock(npu->lock);
    if (!err) {
        err = client_wait_job(model, 1, UINT64_MAX);
        if (err)
            client_fail(err, "the host %s went away while it loaded a model: %s", npu->host->uri,
                        errors_text(err));
    }
    if (!err) {
        client_result(npu, &piece, &result);
        err = take_info(model, &piece, &result);
    }
    pthread_mutex_lock(npu->lock);
    if (!err && !known)
        npu->loaded[npu->loaded_at++ % CLIENT_LOADED] = size;
    client_give(npu, &piece);
    pthread_mutex_unlock(npu->lock);
    return err;
}

int npu_load(struct npu *npu, const void *bytes, size_t size, const struct npu_options *options,
             struct npu_model **ret_model)
{
    struct npu_model *model = NULL;
    void *merged = NULL;
    int err = client_usable(npu);

    if (err)
        return err;
    if (!size || size > VD_MAX_NPU_MODEL_BYTES)
        return client_fail(VD_ERR_PARAMETER, "a model of %zu bytes cannot be loaded", size);
    err = client_external_merge(bytes, size, options, &merged, &size);
    if (err)
        return err;
    model = calloc(1, sizeof(*model));
    if (!model) {
        free(merged);
        return client_fail(VD_ERR_MEMORY, "out of memory");
    }
    model->refs = 1;
    model->npu = client_ref(npu);
    err = load(model, merged ? merged : bytes, size, options);
    free(merged);
    if (!err) {
        model->learnt = calloc(model->info.output_count + 1, sizeof(*model->learnt));
        err = model->learnt ? 0 : client_fail(VD_ERR_MEMORY, "out of memory");
    }
    if (err)
        client_model_unref(model);
    else
        *ret_model = model;
    return err;
}
