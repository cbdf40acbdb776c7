/* SPDX-License-Identifier: MIT */
#include "device.h"

#include <linux/virtio_gpu.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <viaduct/virtgpu.h>
#include <wire/log.h>

#include "resource.h"
#include "session.h"
#include "table.h"

/* Sessions up to which kicks are held (session_idle): a queue has 256 entries. */
#define DEVICE_MAX_IDLE 16u

/* A guest's context: what one process opened the render node for. */
struct gpu_context {
    struct gpu_entry entry;
    struct gpu_session *session; /* NULL: none */
};

struct gpu_device {
    const struct gpu_device_ops *ops;
    void *arg;
    unsigned max_sessions;
    struct gpu_table contexts;
    struct gpu_resources resources;
    struct gpu_context *serving[DEVICE_MAX_SESSIONS]; /* contexts with a session */
    unsigned serving_count;
};

/* A request that is being carried out. */
struct request {
    struct vhost_token token;
    struct virtio_gpu_ctrl_hdr header;
    const struct iovec *out;
    unsigned out_count;
    union {
        struct virtio_gpu_ctrl_hdr header;
        struct virtio_gpu_resp_display_info display_info;
        struct virtio_gpu_resp_capset_info capset_info;
        struct {
            struct virtio_gpu_ctrl_hdr header;
            struct vd_virtgpu_caps caps;
        } capset;
        /* Largest fixed part. */
        struct virtio_gpu_resource_create_3d create_3d;
        struct virtio_gpu_ctx_create ctx_create;
    } answer;
    uint32_t answer_size;
    struct gpu_context *keep; /* SUBMIT_3D: who holds the answer, NULL: nobody */
    struct vd_virtgpu_command command;
};

static uint32_t response(int err)
{
    switch (err) {
    case 0:
        return VIRTIO_GPU_RESP_OK_NODATA;
    case VD_ERR_MEMORY:
    case VD_ERR_LIMIT:
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    case VD_ERR_PARAMETER:
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    default:
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
}

/* Ends a context's session; `err` 0: regular. */
static void end_session(struct gpu_device *d, struct gpu_context *c, int err)
{
    if (!c->session)
        return;
    if (err && err != VD_ERR_GONE)
        log_warn("session of context %u ends: %s", c->entry.id, errors_text(err));
    else
        log_info("session of context %u ends: %llu bytes to the host, %llu to the guest",
                 c->entry.id, (unsigned long long)c->session->to_host,
                 (unsigned long long)c->session->to_guest);
    for (unsigned i = 0; i < d->serving_count; i++) {
        if (d->serving[i] == c)
            d->serving[i] = d->serving[--d->serving_count];
    }
    session_finish(c->session, err == VD_ERR_GONE ? 0 : err);
    free(c->session);
    c->session = NULL;
}

static void end_context(struct gpu_device *d, struct gpu_context *c)
{
    end_session(d, c, 0);
    table_remove(&d->contexts, &c->entry);
    free(c);
}

static void end_each(void *arg, struct gpu_entry *entry)
{
    end_context(arg, (struct gpu_context *)entry);
}

void gpu_device_reset(struct gpu_device *d)
{
    table_each(&d->contexts, end_each, d);
    resource_finish(&d->resources);
}

/* Pages that a session uses go: before the guest hears that they are its own again. */
static void end_users(struct gpu_device *d, const struct gpu_resource *resource)
{
    for (unsigned i = 0; i < d->serving_count;) {
        struct gpu_context *c = d->serving[i];

        if (c->session->resource == resource)
            end_session(d, c, VD_ERR_GONE);
        else
            i++;
    }
}

static struct gpu_context *context_of(struct gpu_device *d, const struct request *r)
{
    return (struct gpu_context *)table_find(&d->contexts, r->header.ctx_id);
}

static uint32_t get_display_info(struct gpu_device *d, struct request *r, const void *fixed)
{
    (void)d, (void)fixed;
    /* No screen is connected. */
    memset(&r->answer.display_info, 0, sizeof(r->answer.display_info));
    r->answer_size = sizeof(r->answer.display_info);
    return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

static uint32_t get_capset_info(struct gpu_device *d, struct request *r, const void *fixed)
{
    const struct virtio_gpu_get_capset_info *cmd = fixed;

    (void)d;
    if (cmd->capset_index)
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    r->answer.capset_info.capset_id = VD_VIRTGPU_CAPSET;
    r->answer.capset_info.capset_max_version = VD_VIRTGPU_VERSION;
    r->answer.capset_info.capset_max_size = sizeof(struct vd_virtgpu_caps);
    r->answer.capset_info.padding = 0;
    r->answer_size = sizeof(r->answer.capset_info);
    return VIRTIO_GPU_RESP_OK_CAPSET_INFO;
}

static uint32_t get_capset(struct gpu_device *d, struct request *r, const void *fixed)
{
    const struct virtio_gpu_get_capset *cmd = fixed;

    (void)d;
    if (cmd->capset_id != VD_VIRTGPU_CAPSET || cmd->capset_version > VD_VIRTGPU_VERSION)
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    r->answer.capset.caps = (struct vd_virtgpu_caps){
        .magic = VD_VIRTGPU_MAGIC,
        .version = VD_VIRTGPU_VERSION,
        .max_ring = VD_VIRTGPU_MAX_RING,
    };
    r->answer_size = sizeof(r->answer.capset);
    return VIRTIO_GPU_RESP_OK_CAPSET;
}

static uint32_t create(struct gpu_device *d, uint32_t id)
{
    return response(resource_create(&d->resources, id));
}

static uint32_t resource_create_2d(struct gpu_device *d, struct request *r, const void *fixed)
{
    (void)r;
    return create(d, ((const struct virtio_gpu_resource_create_2d *)fixed)->resource_id);
}

static uint32_t resource_create_3d(struct gpu_device *d, struct request *r, const void *fixed)
{
    (void)r;
    return create(d, ((const struct virtio_gpu_resource_create_3d *)fixed)->resource_id);
}

static uint32_t resource_unref(struct gpu_device *d, struct request *r, const void *fixed)
{
    const struct virtio_gpu_resource_unref *cmd = fixed;
    struct gpu_resource *resource = resource_find(&d->resources, cmd->resource_id);

    (void)r;
    if (!resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    end_users(d, resource);
    resource_destroy(&d->resources, resource);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t attach_backing(struct gpu_device *d, struct request *r, const void *fixed)
{
    const struct virtio_gpu_resource_attach_backing *cmd = fixed;
    struct gpu_resource *resource = resource_find(&d->resources, cmd->resource_id);

    if (!resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    return response(resource_back(&d->resources, resource, r->out, r->out_count, sizeof(*cmd),
                                  cmd->nr_entries));
}

static uint32_t detach_backing(struct gpu_device *d, struct request *r, const void *fixed)
{
    const struct virtio_gpu_resource_detach_backing *cmd = fixed;
    struct gpu_resource *resource = resource_find(&d->resources, cmd->resource_id);

    (void)r;
    if (!resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    end_users(d, resource);
    resource_unback(&d->resources, resource);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t set_scanout(struct gpu_device *d, struct request *r, const void *fixed)
{
    const struct virtio_gpu_set_scanout *cmd = fixed;

    (void)d, (void)r;
    /* Resource 0 switches a screen off, which it is. */
    return cmd->resource_id ? VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID : VIRTIO_GPU_RESP_OK_NODATA;
}

/* Flushes and transfers: pages are the guest's own, and nothing else is made of them. */
static uint32_t nothing_to_move(struct gpu_device *d, struct request *r, const void *fixed)
{
    (void)d, (void)r, (void)fixed;
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t ctx_create(struct gpu_device *d, struct request *r, const void *fixed)
{
    struct gpu_context *c = context_of(d, r);

    (void)fixed;
    if (c || !r->header.ctx_id)
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    if (d->contexts.count == DEVICE_MAX_CONTEXTS)
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    c = calloc(1, sizeof(*c));
    if (!c)
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    c->entry.id = r->header.ctx_id;
    table_add(&d->contexts, &c->entry);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static void forget_context(void *arg, struct gpu_entry *entry)
{
    resource_detach((struct gpu_resource *)entry, *(const uint32_t *)arg);
}

static uint32_t ctx_destroy(struct gpu_device *d, struct request *r, const void *fixed)
{
    struct gpu_context *c = context_of(d, r);
    uint32_t id = r->header.ctx_id;

    (void)fixed;
    if (!c)
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    end_context(d, c);
    /* The number will name another process's. */
    table_each(&d->resources.table, forget_context, &id);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t ctx_attach(struct gpu_device *d, struct request *r, const void *fixed)
{
    const struct virtio_gpu_ctx_resource *cmd = fixed;
    struct gpu_resource *resource = resource_find(&d->resources, cmd->resource_id);

    if (!context_of(d, r))
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    if (!resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    return response(resource_attach(resource, r->header.ctx_id));
}

static uint32_t ctx_detach(struct gpu_device *d, struct request *r, const void *fixed)
{
    const struct virtio_gpu_ctx_resource *cmd = fixed;
    struct gpu_resource *resource = resource_find(&d->resources, cmd->resource_id);
    struct gpu_context *c = context_of(d, r);

    if (!c)
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    if (!resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (c->session && c->session->resource == resource)
        end_session(d, c, VD_ERR_GONE);
    resource_detach(resource, r->header.ctx_id);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* Opens a session in a window that the context has. 0, or what the page says then. */
static int open_session(struct gpu_device *d, struct gpu_context *c,
                        const struct gpu_resource *resource, const struct window *window)
{
    int fd = -1, err;

    if (d->serving_count == d->max_sessions)
        return VD_ERR_BUSY;
    err = d->ops->connect(d->arg, &fd);
    if (err)
        return err;
    c->session = calloc(1, sizeof(*c->session));
    if (!c->session) {
        close(fd);
        return VD_ERR_MEMORY;
    }
    session_init(c->session, resource, window, fd, d->ops->answer, d->arg);
    d->serving[d->serving_count++] = c;
    log_info("session of context %u begins", c->entry.id);
    return 0;
}

static uint32_t submit_open(struct gpu_device *d, struct gpu_context *c, struct request *r)
{
    const struct vd_virtgpu_command *cmd = &r->command;
    struct gpu_resource *resource = resource_find(&d->resources, cmd->resource);
    struct window window;
    int err;

    /* Another process's memory is not this one's window. */
    if (!resource || !resource_attached(resource, c->entry.id)) {
        log_warn("context %u is not served: it has no memory object %u", c->entry.id,
                 cmd->resource);
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    }
    if (c->session)
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    err = window_init(&window, resource, cmd->to_host, cmd->to_guest, d->ops->translate, d->arg);
    if (err) {
        log_warn("context %u is not served: rings of %u and %u bytes in a memory object of %llu: "
                 "%s",
                 c->entry.id, cmd->to_host, cmd->to_guest, (unsigned long long)resource->size,
                 errors_text(err));
        /* The guest's kernel shows answers to nobody. */
        window_refuse(resource, err, d->ops->translate, d->arg);
        return response(err);
    }
    err = open_session(d, c, resource, &window);
    if (err) {
        log_warn("context %u is not served: %s", c->entry.id, errors_text(err));
        window_state(&window, VD_VIRTGPU_CLOSED, err);
        window_finish(&window);
    }
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* Moves bytes; a session that ends tells its guest in the page. */
static void run(struct gpu_device *d, struct gpu_context *c)
{
    int err = session_run(c->session);

    if (err)
        end_session(d, c, err);
}

static uint32_t submit_3d(struct gpu_device *d, struct request *r, const void *fixed)
{
    const struct virtio_gpu_cmd_submit *cmd = fixed;
    struct gpu_context *c = context_of(d, r);

    if (!c)
        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
    if (cmd->size != sizeof(r->command) ||
        vhost_iov_get(r->out, r->out_count, sizeof(*cmd), &r->command, sizeof(r->command)) !=
            sizeof(r->command))
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    switch (r->command.op) {
    case VD_VIRTGPU_CMD_OPEN:
        return submit_open(d, c, r);
    case VD_VIRTGPU_CMD_KICK:
    case VD_VIRTGPU_CMD_WAIT:
        if (r->command.op == VD_VIRTGPU_CMD_WAIT && r->command.wait >= VD_VIRTGPU_WAITS)
            return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        /* A session that ended in between is no mistake of the guest's. */
        if (c->session)
            run(d, c);
        r->keep = c->session ? c : NULL;
        return VIRTIO_GPU_RESP_OK_NODATA;
    case VD_VIRTGPU_CMD_CLOSE:
        end_session(d, c, 0);
        return VIRTIO_GPU_RESP_OK_NODATA;
    default:
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
}

/* A request: its type, bytes of its fixed part, who carries it out. All others are refused. */
static const struct command {
    uint32_t type, size;
    uint32_t (*run)(struct gpu_device *d, struct request *r, const void *fixed);
} commands[] = {
    {VIRTIO_GPU_CMD_GET_DISPLAY_INFO, sizeof(struct virtio_gpu_ctrl_hdr), get_display_info},
    {VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, sizeof(struct virtio_gpu_resource_create_2d),
     resource_create_2d},
    {VIRTIO_GPU_CMD_RESOURCE_UNREF, sizeof(struct virtio_gpu_resource_unref), resource_unref},
    {VIRTIO_GPU_CMD_SET_SCANOUT, sizeof(struct virtio_gpu_set_scanout), set_scanout},
    {VIRTIO_GPU_CMD_RESOURCE_FLUSH, sizeof(struct virtio_gpu_resource_flush), nothing_to_move},
    {VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, sizeof(struct virtio_gpu_transfer_to_host_2d),
     nothing_to_move},
    {VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, sizeof(struct virtio_gpu_resource_attach_backing),
     attach_backing},
    {VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, sizeof(struct virtio_gpu_resource_detach_backing),
     detach_backing},
    {VIRTIO_GPU_CMD_GET_CAPSET_INFO, sizeof(struct virtio_gpu_get_capset_info), get_capset_info},
    {VIRTIO_GPU_CMD_GET_CAPSET, sizeof(struct virtio_gpu_get_capset), get_capset},
    {VIRTIO_GPU_CMD_CTX_CREATE, sizeof(struct virtio_gpu_ctx_create), ctx_create},
    {VIRTIO_GPU_CMD_CTX_DESTROY, sizeof(struct virtio_gpu_ctx_destroy), ctx_destroy},
    {VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, sizeof(struct virtio_gpu_ctx_resource), ctx_attach},
    {VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, sizeof(struct virtio_gpu_ctx_resource), ctx_detach},
    {VIRTIO_GPU_CMD_RESOURCE_CREATE_3D, sizeof(struct virtio_gpu_resource_create_3d),
     resource_create_3d},
    {VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, sizeof(struct virtio_gpu_transfer_host_3d),
     nothing_to_move},
    {VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D, sizeof(struct virtio_gpu_transfer_host_3d),
     nothing_to_move},
    {VIRTIO_GPU_CMD_SUBMIT_3D, sizeof(struct virtio_gpu_cmd_submit), submit_3d},
};

static uint32_t carry_out(struct gpu_device *d, struct request *r)
{
    union {
        struct virtio_gpu_resource_create_3d create_3d;
        struct virtio_gpu_ctx_create ctx_create;
        struct virtio_gpu_transfer_host_3d transfer;
        uint8_t bytes[128];
    } fixed;

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct command *command = &commands[i];

        if (command->type != r->header.type)
            continue;
        if (vhost_iov_get(r->out, r->out_count, 0, &fixed, command->size) != command->size)
            return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        return command->run(d, r, &fixed);
    }
    return VIRTIO_GPU_RESP_ERR_UNSPEC;
}

bool gpu_device_request(struct gpu_device *d, struct vhost_token token, const struct iovec *out,
                        unsigned out_count, const struct iovec *in, unsigned in_count,
                        uint32_t *ret_written)
{
    struct request r = {.token = token, .out = out, .out_count = out_count};
    uint32_t type = VIRTIO_GPU_RESP_ERR_UNSPEC;

    memset(&r.answer, 0, sizeof(r.answer));
    r.answer_size = sizeof(r.answer.header);
    /* The request may change while it is read: the header is this copy from here on. */
    if (vhost_iov_get(out, out_count, 0, &r.header, sizeof(r.header)) == sizeof(r.header))
        type = carry_out(d, &r);
    r.answer.header = (struct virtio_gpu_ctrl_hdr){
        .type = type,
        .flags = r.header.flags & VIRTIO_GPU_FLAG_FENCE,
        .fence_id = r.header.fence_id,
        .ctx_id = r.header.ctx_id,
    };
    /* Written now in any case: when a held one is given back its segments may be elsewhere. */
    *ret_written = (uint32_t)vhost_iov_put(in, in_count, 0, &r.answer, r.answer_size);
    if (!r.keep)
        return true;
    if (r.command.op == VD_VIRTGPU_CMD_WAIT)
        return !session_wait(r.keep->session, (enum vd_virtgpu_wait)r.command.wait, r.command.seen,
                             token, *ret_written);
    /* An answer without a fence wakes nobody. What is held takes the queue's room from others. */
    return !(r.header.flags & VIRTIO_GPU_FLAG_FENCE) || d->serving_count > DEVICE_MAX_IDLE ||
           !session_idle(r.keep->session, token, *ret_written);
}

void gpu_device_answer_all(struct gpu_device *d)
{
    for (unsigned i = 0; i < d->serving_count; i++)
        session_answer_all(d->serving[i]->session);
}

void gpu_device_moved(struct gpu_device *d)
{
    for (unsigned i = 0; i < d->serving_count;) {
        struct gpu_context *c = d->serving[i];
        int err = window_move(&c->session->window, c->session->resource, d->ops->translate, d->arg);

        if (!err) {
            i++;
            continue;
        }
        c->session->window.page = NULL;
        end_session(d, c, err);
    }
}

unsigned gpu_device_poll(struct gpu_device *d, struct pollfd *polls, int *ret_timeout_ms)
{
    struct timespec t;
    uint64_t now;

    clock_gettime(CLOCK_MONOTONIC, &t);
    now = (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
    *ret_timeout_ms = -1;
    for (unsigned i = 0; i < d->serving_count; i++) {
        int due = session_due(d->serving[i]->session, now);

        if (due >= 0 && (*ret_timeout_ms < 0 || due < *ret_timeout_ms))
            *ret_timeout_ms = due;
        polls[i] = session_poll(d->serving[i]->session);
    }
    return d->serving_count;
}

void gpu_device_handle(struct gpu_device *d, const struct pollfd *polls, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!polls[i].revents)
            continue;
        /* Sessions end and others take their place in the list: the descriptor tells. */
        for (unsigned j = 0; j < d->serving_count; j++) {
            if (d->serving[j]->session->fd == polls[i].fd) {
                run(d, d->serving[j]);
                break;
            }
        }
    }
}

unsigned gpu_device_sessions(const struct gpu_device *d)
{
    return d->serving_count;
}

int gpu_device_create(const struct gpu_device_ops *ops, void *arg, unsigned max_sessions,
                      struct gpu_device **ret_device)
{
    struct gpu_device *d = calloc(1, sizeof(*d));

    if (!d)
        return VD_ERR_MEMORY;
    d->ops = ops;
    d->arg = arg;
    d->max_sessions = max_sessions < DEVICE_MAX_SESSIONS ? max_sessions : DEVICE_MAX_SESSIONS;
    *ret_device = d;
    return 0;
}

static void quiet(void *arg, struct vhost_token token, uint32_t written)
{
    (void)arg, (void)token, (void)written;
}

void gpu_device_destroy(struct gpu_device **device)
{
    struct gpu_device *d = *device;

    *device = NULL;
    if (!d)
        return;
    for (unsigned i = 0; i < d->serving_count; i++)
        d->serving[i]->session->answer = quiet;
    gpu_device_reset(d);
    free(d);
}
