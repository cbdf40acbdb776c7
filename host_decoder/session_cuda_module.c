/* SPDX-License-Identifier: MIT */
#include "session_cuda.h"

#include <stdlib.h>
#include <string.h>

#include <viaduct/errors.h>

/* Modules: text in, a description of kernels and variables out. */

static uint32_t padded(size_t bytes)
{
    return (uint32_t)((bytes + 7) / 8 * 8);
}

static uint32_t name_bytes(const char *name)
{
    return padded(strlen(name) + 1);
}

static uint64_t info_bytes(const struct cuda_module *m)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < m->kernel_count; i++)
        n += sizeof(struct vd_cuda_kernel) +
             m->kernels[i].parameter_count * sizeof(struct vd_cuda_parameter) +
             name_bytes(m->kernels[i].name);
    for (unsigned i = 0; i < m->global_count; i++)
        n += sizeof(struct vd_cuda_global) + name_bytes(m->globals[i].name);
    return n;
}

static uint8_t *put_name(uint8_t *at, const char *name)
{
    uint32_t n = name_bytes(name);

    memset(at + n - 8, 0, 8);
    memcpy(at, name, strlen(name));
    return at + n;
}

/* Writes what info_bytes counted. */
static void put_info(const struct cuda_module *m, uint8_t *at)
{
    for (unsigned i = 0; i < m->kernel_count; i++) {
        const struct cuda_kernel_info *k = &m->kernels[i];
        struct vd_cuda_kernel head = {.name_bytes = name_bytes(k->name),
                                      .parameter_count = k->parameter_count,
                                      .parameter_bytes = k->parameter_bytes,
                                      .registers = k->registers,
                                      .shared_bytes = k->shared_bytes,
                                      .const_bytes = k->const_bytes,
                                      .local_bytes = k->local_bytes,
                                      .max_threads = k->max_threads,
                                      .ptx_version = k->ptx_version};

        memcpy(at, &head, sizeof(head));
        at += sizeof(head);
        for (uint32_t j = 0; j < k->parameter_count; j++) {
            struct vd_cuda_parameter p = {.offset = k->parameters[j].offset,
                                          .size = k->parameters[j].size,
                                          .align = k->parameters[j].align};

            memcpy(at, &p, sizeof(p));
            at += sizeof(p);
        }
        at = put_name(at, k->name);
    }
    for (unsigned i = 0; i < m->global_count; i++) {
        struct vd_cuda_global head = {.address = m->globals[i].address,
                                      .size = m->globals[i].size,
                                      .name_bytes = name_bytes(m->globals[i].name)};

        memcpy(at, &head, sizeof(head));
        at = put_name(at + sizeof(head), m->globals[i].name);
    }
}

void cuda_session_module_end(struct cuda_session *c, struct cuda_session_module *m)
{
    for (unsigned i = 0; i < m->module->global_count; i++) {
        struct cuda_session_range *r = cuda_session_find(c, m->module->globals[i].address);

        if (r && r->kind == CUDA_RANGE_GLOBAL)
            cuda_session_remove(c, r);
    }
    c->backend->module_destroy(m->module);
    m->module = NULL;
}

/* The guest may name them in copies. */
static int add_globals(struct cuda_session *c, const struct cuda_module *m)
{
    int err = 0;

    for (unsigned i = 0; i < m->global_count && !err; i++) {
        struct cuda_session_range r = {.address = m->globals[i].address,
                                       .size = m->globals[i].size,
                                       .kind = CUDA_RANGE_GLOBAL};

        /* Managed ones lie in memory that is the session's already. */
        if (r.size && !cuda_session_overlaps(c, r.address, r.size))
            err = cuda_session_add(c, &r);
    }
    return err;
}

int session_cuda_module_create(void *self, const struct vd_cuda_module_create_req *req,
                               const struct vd_none *tail, uint32_t tail_count,
                               struct dispatch_reply *reply)
{
    struct session *s = self;
    struct cuda_session *c = s->cuda;
    struct vd_cuda_module_create_rep *rep = reply->fixed;
    struct cuda_session_module *m;
    uint8_t *room = s->arena.base + req->room_offset;
    char *text = NULL, *log = NULL;
    bool told = false;
    int err = 0;

    (void)tail, (void)tail_count;
    if (req->module >= VD_MAX_CUDA_MODULES || c->modules[req->module].module ||
        req->context >= VD_MAX_CUDA_CONTEXTS || !c->contexts[req->context] || !req->size ||
        req->size > VD_MAX_CUDA_IMAGE || req->room % 8 || req->room < VD_CUDA_LOG_BYTES ||
        arena_check_upload(&s->arena, req->offset, req->size) ||
        arena_check_upload(&s->arena, req->room_offset, req->room) ||
        req->room_offset < s->arena.upload_offset + sizeof(struct vd_cuda_status))
        return VD_ERR_PROTOCOL;
    m = &c->modules[req->module];
    text = malloc(req->size);
    log = calloc(1, VD_CUDA_LOG_BYTES);
    if (!text || !log) {
        rep->result = CUDA_ERROR_OUT_OF_MEMORY;
        goto out;
    }
    memcpy(text, s->arena.base + req->offset, req->size);
    rep->result = (uint32_t)c->backend->module_create(c->contexts[req->context], text, req->size,
                                                      log, VD_CUDA_LOG_BYTES, &m->module);
    if (rep->result)
        m->module = NULL;
    log[VD_CUDA_LOG_BYTES - 1] = '\0';
    rep->log_bytes = padded(strlen(log) + 1);
    memcpy(room, log, rep->log_bytes);
    if (!m->module)
        goto out;
    m->context = req->context;
    rep->info_bytes = info_bytes(m->module);
    if (rep->info_bytes > VD_MAX_CUDA_INFO || add_globals(c, m->module)) {
        cuda_session_module_end(c, m);
        rep->result = CUDA_ERROR_OUT_OF_MEMORY;
        goto out;
    }
    rep->kernels = m->module->kernel_count;
    rep->globals = m->module->global_count;
    told = rep->info_bytes <= req->room - rep->log_bytes;
    if (told)
        put_info(m->module, room + rep->log_bytes);
out:
    if (c->mirror)
        err = cuda_mirror_bytes(c->mirror, req->room_offset,
                                rep->log_bytes + (told ? rep->info_bytes : 0));
    free(text);
    free(log);
    return err;
}

int session_cuda_module_info(void *self, const struct vd_cuda_module_info_req *req,
                             const struct vd_none *tail, uint32_t tail_count,
                             struct dispatch_reply *reply)
{
    struct session *s = self;
    struct cuda_session *c = s->cuda;
    struct vd_cuda_module_info_rep *rep = reply->fixed;
    uint64_t bytes;

    (void)tail, (void)tail_count;
    if (req->module >= VD_MAX_CUDA_MODULES || !c->modules[req->module].module || req->room % 8 ||
        arena_check_upload(&s->arena, req->room_offset, req->room) ||
        req->room_offset < s->arena.upload_offset + sizeof(struct vd_cuda_status))
        return VD_ERR_PROTOCOL;
    bytes = info_bytes(c->modules[req->module].module);
    if (bytes > req->room) {
        rep->result = CUDA_ERROR_INVALID_VALUE;
        return 0;
    }
    put_info(c->modules[req->module].module, s->arena.base + req->room_offset);
    return c->mirror ? cuda_mirror_bytes(c->mirror, req->room_offset, bytes) : 0;
}

int session_cuda_module_destroy(void *self, const struct vd_cuda_module_destroy_req *req,
                                const struct vd_none *tail, uint32_t tail_count,
                                struct dispatch_reply *reply)
{
    struct cuda_session *c = ((struct session *)self)->cuda;
    uint32_t context;

    (void)tail, (void)tail_count, (void)reply;
    if (req->module >= VD_MAX_CUDA_MODULES || !c->modules[req->module].module)
        return VD_ERR_PROTOCOL;
    context = c->modules[req->module].context;
    /* No launch of it may run, whatever the guest says. */
    for (uint32_t i = 0; i < VD_MAX_CUDA_QUEUES; i++)
        if (c->queues[i] && c->queues[i]->queue && c->queues[i]->context == context &&
            c->queues[i]->submitted)
            c->backend->wait(c->queues[i]->queue, c->queues[i]->submitted);
    cuda_session_module_end(c, &c->modules[req->module]);
    return 0;
}
