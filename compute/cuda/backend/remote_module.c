/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <viaduct/errors.h>

#include "remote.h"

/* Modules: text through staging memory, and the description of what is in them back. */

#define ROOM_FOR_INFO (256u << 10)
#define MOST_BYTES    (32u << 10) /* of parameters */

struct module {
    struct cuda_module head;
    struct remote *remote; /* counted */
    uint32_t slot;
    uint8_t *info; /* what the host said; names are in it */
    struct cuda_kernel_info *kernels;
    struct remote_kernel *handles;
    struct cuda_parameter *parameters;
    struct cuda_global_info *globals;
};

static void module_free(struct module *m)
{
    free(m->info);
    free(m->kernels);
    free(m->handles);
    free(m->parameters);
    free(m->globals);
    if (m->slot < VD_MAX_CUDA_MODULES) {
        pthread_mutex_lock(&m->remote->lock);
        m->remote->module_used[m->slot / 64] &= ~((uint64_t)1 << m->slot % 64);
        pthread_mutex_unlock(&m->remote->lock);
    }
    remote_drop(m->remote);
    free(m);
}

static uint32_t take_slot(struct remote *r)
{
    uint32_t slot = VD_MAX_CUDA_MODULES;

    pthread_mutex_lock(&r->lock);
    for (uint32_t i = 0; i < VD_MAX_CUDA_MODULES / 64 && slot == VD_MAX_CUDA_MODULES; i++)
        if (~r->module_used[i]) {
            uint32_t bit = (uint32_t)__builtin_ctzll(~r->module_used[i]);

            r->module_used[i] |= (uint64_t)1 << bit;
            slot = i * 64 + bit;
        }
    pthread_mutex_unlock(&r->lock);
    return slot;
}

/* A reader of the description that never goes past its end. */
struct reader {
    const uint8_t *at;
    uint64_t left;
};

static bool take(struct reader *r, void *to, uint64_t size)
{
    if (size > r->left)
        return false;
    if (to)
        memcpy(to, r->at, size);
    r->at += size;
    r->left -= size;
    return true;
}

static const char *take_name(struct reader *r, uint32_t bytes)
{
    const char *name = (const char *)r->at;

    return bytes && bytes <= r->left && !name[bytes - 1] && take(r, NULL, bytes) ? name : NULL;
}

static bool parameters_ok(const struct cuda_kernel_info *k)
{
    if (k->parameter_bytes > MOST_BYTES)
        return false;
    for (uint32_t i = 0; i < k->parameter_count; i++)
        if (k->parameters[i].offset > k->parameter_bytes ||
            k->parameters[i].size > k->parameter_bytes - k->parameters[i].offset)
            return false;
    return true;
}

/* What the host says is a description; false: it is not. */
static bool parse(struct module *m, uint64_t size, uint32_t kernels, uint32_t globals)
{
    struct reader in = {m->info, size};
    struct cuda_parameter *parameter;

    /* Each takes at least so much, so that counts cannot be out of proportion. */
    if (kernels > size / sizeof(struct vd_cuda_kernel) ||
        globals > size / sizeof(struct vd_cuda_global))
        return false;
    m->kernels = calloc(kernels + 1u, sizeof(*m->kernels));
    m->handles = calloc(kernels + 1u, sizeof(*m->handles));
    m->globals = calloc(globals + 1u, sizeof(*m->globals));
    m->parameters = calloc(size / sizeof(struct vd_cuda_parameter) + 1, sizeof(*m->parameters));
    if (!m->kernels || !m->handles || !m->globals || !m->parameters)
        return false;
    parameter = m->parameters;
    for (uint32_t i = 0; i < kernels; i++) {
        struct cuda_kernel_info *k = &m->kernels[i];
        struct vd_cuda_kernel head;

        if (!take(&in, &head, sizeof(head)))
            return false;
        *k = (struct cuda_kernel_info){.kernel = &m->handles[i],
                                       .parameter_count = head.parameter_count,
                                       .parameter_bytes = head.parameter_bytes,
                                       .parameters = parameter,
                                       .registers = head.registers,
                                       .shared_bytes = head.shared_bytes,
                                       .const_bytes = head.const_bytes,
                                       .local_bytes = head.local_bytes,
                                       .max_threads = head.max_threads,
                                       .ptx_version = head.ptx_version};
        m->handles[i] = (struct remote_kernel){m->slot, i};
        for (uint32_t j = 0; j < head.parameter_count; j++, parameter++) {
            struct vd_cuda_parameter p;

            if (!take(&in, &p, sizeof(p)))
                return false;
            *parameter = (struct cuda_parameter){p.offset, p.size, p.align};
        }
        k->name = take_name(&in, head.name_bytes);
        if (!k->name || !parameters_ok(k))
            return false;
    }
    for (uint32_t i = 0; i < globals; i++) {
        struct vd_cuda_global head;

        if (!take(&in, &head, sizeof(head)))
            return false;
        m->globals[i].address = head.address;
        m->globals[i].size = head.size;
        m->globals[i].name = take_name(&in, head.name_bytes);
        if (!m->globals[i].name || head.address + head.size < head.address)
            return false;
    }
    m->head = (struct cuda_module){m->kernels, kernels, m->globals, globals};
    return true;
}

/* The description did not fit beside the log. */
static int ask_again(struct module *m, uint64_t size)
{
    struct vd_cuda_module_info_req req = {.module = m->slot, .room = size};
    struct vd_cuda_module_info_rep rep;
    struct remote *r = m->remote;
    struct remote_piece *p = remote_stage(r, size);
    int err;

    if (!p)
        return CUDA_ERROR_OUT_OF_MEMORY;
    req.room_offset = p->offset;
    err = remote_call(r, VD_OP_cuda_module_info, &req, &rep, NULL, NULL);
    if (!err)
        err = (int)rep.result;
    if (!err)
        memcpy(m->info, r->host->arena.base + p->offset, size);
    remote_unstage(r, p);
    return err;
}

static int take_answer(struct module *m, const struct vd_cuda_module_create_rep *rep,
                       const uint8_t *room, uint64_t size, char *log, size_t log_size)
{
    uint64_t log_bytes = rep->log_bytes;
    bool fits;
    int err = 0;

    if (log_bytes > VD_CUDA_LOG_BYTES || rep->info_bytes > VD_MAX_CUDA_INFO)
        return CUDA_ERROR_UNKNOWN;
    if (log && log_size) {
        size_t n = log_bytes < log_size ? log_bytes : log_size;

        memcpy(log, room, n);
        log[n ? n - 1 : 0] = '\0';
    }
    if (rep->result)
        return (int)rep->result;
    fits = rep->info_bytes <= size - log_bytes;
    m->info = malloc(rep->info_bytes + 1);
    if (!m->info)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (fits)
        memcpy(m->info, room + log_bytes, rep->info_bytes);
    else
        err = ask_again(m, rep->info_bytes);
    if (!err && !parse(m, rep->info_bytes, rep->kernels, rep->globals))
        err = CUDA_ERROR_UNKNOWN;
    return err;
}

int remote_module_create(struct cuda_context *context, const char *text, size_t size, char *log,
                         size_t log_size, struct cuda_module **ret_module)
{
    struct remote_context *c = (struct remote_context *)context;
    struct remote *r = c->remote;
    struct module *m;
    struct vd_cuda_module_create_req req = {
        .context = c->slot, .size = size, .room = VD_CUDA_LOG_BYTES + ROOM_FOR_INFO};
    struct vd_cuda_module_create_rep rep = {0};
    struct remote_piece *in = NULL, *out = NULL;
    int err = CUDA_ERROR_OUT_OF_MEMORY;

    if (!size || size > VD_MAX_CUDA_IMAGE)
        return CUDA_ERROR_INVALID_VALUE;
    m = calloc(1, sizeof(*m));
    if (!m)
        return err;
    m->remote = r;
    remote_hold(r);
    m->slot = take_slot(r);
    if (m->slot < VD_MAX_CUDA_MODULES)
        in = remote_stage(r, size);
    if (in)
        out = remote_stage(r, req.room);
    if (!out)
        goto failed;
    memcpy(r->host->arena.base + in->offset, text, size);
    if (remote_upload(r, in->offset, size)) {
        err = CUDA_ERROR_LAUNCH_FAILED;
        goto failed;
    }
    req.module = m->slot;
    req.offset = in->offset;
    req.room_offset = out->offset;
    err = remote_call(r, VD_OP_cuda_module_create, &req, &rep, NULL, NULL);
    if (!err)
        err = take_answer(m, &rep, r->host->arena.base + out->offset, req.room, log, log_size);
    if (err && !rep.result) {
        struct vd_cuda_module_destroy_req gone = {.module = m->slot};

        remote_post(r, VD_OP_cuda_module_destroy, &gone, sizeof(gone));
    }
failed:
    if (in)
        remote_unstage(r, in);
    if (out)
        remote_unstage(r, out);
    if (err)
        module_free(m);
    else
        *ret_module = &m->head;
    return err;
}

void remote_module_destroy(struct cuda_module *module)
{
    struct module *m = (struct module *)module;
    struct vd_cuda_module_destroy_req req = {.module = m->slot};

    remote_post(m->remote, VD_OP_cuda_module_destroy, &req, sizeof(req));
    module_free(m);
}
