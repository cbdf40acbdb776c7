/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <transport/unix.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "vhost_private.h"

int vhost_listen(const char *path, int *ret_fd)
{
    return unix_listen(path, 0600, ret_fd);
}

int vhost_create(int fd, const struct vhost_ops *ops, void *arg, struct vhost **ret_vhost)
{
    struct vhost *vhost;

    if (ops->queues > VHOST_MAX_QUEUES || ops->config_size > VHOST_MAX_CONFIG)
        return VD_ERR_PARAMETER;
    vhost = calloc(1, sizeof(*vhost));
    if (!vhost)
        return VD_ERR_MEMORY;
    vhost->ops = ops;
    vhost->arg = arg;
    vhost->fd = fd;
    vhost->backend_fd = -1;
    for (unsigned i = 0; i < VHOST_MAX_QUEUES; i++)
        vhost->queue[i].kick = vhost->queue[i].call = vhost->queue[i].err = -1;
    *ret_vhost = vhost;
    return 0;
}

void vhost_destroy(struct vhost **vhost)
{
    struct vhost *v = *vhost;

    if (!v)
        return;
    vhost_message_close_fds(v);
    for (unsigned i = 0; i < VHOST_MAX_QUEUES; i++) {
        const int fds[] = {v->queue[i].kick, v->queue[i].call, v->queue[i].err};

        for (unsigned j = 0; j < 3; j++) {
            if (fds[j] >= 0)
                close(fds[j]);
        }
    }
    if (v->backend_fd >= 0)
        close(v->backend_fd);
    vhost_memory_clear(&v->memory);
    close(v->fd);
    free(v);
    *vhost = NULL;
}

unsigned vhost_poll(const struct vhost *vhost, struct pollfd *polls)
{
    unsigned n = 0;

    polls[n++] = (struct pollfd){.fd = vhost->fd, .events = POLLIN};
    for (unsigned i = 0; i < vhost->ops->queues; i++) {
        const struct vhost_queue *q = &vhost->queue[i];
        bool wanted = vhost_queue_running(q) && !vhost->broken;

        polls[n++] = (struct pollfd){.fd = wanted ? q->kick : -1, .events = POLLIN};
    }
    return n;
}

int vhost_handle(struct vhost *vhost, const struct pollfd *polls, unsigned count)
{
    uint64_t times;
    int err = 0;

    /* Kicks before messages: the descriptors are those that were waited for. */
    for (unsigned i = 0; i + 1 < count; i++) {
        struct vhost_queue *q = &vhost->queue[i];

        ssize_t n;

        if (!polls[i + 1].revents || !vhost_queue_running(q))
            continue;
        n = read(q->kick, &times, sizeof(times));
        /* One that is no eventfd, or at its end, would keep us busy for ever. */
        if (n != sizeof(times) && (n >= 0 || (errno != EAGAIN && errno != EINTR))) {
            vhost_break(vhost, i, "its event descriptor is broken");
            continue;
        }
        q->kicked = true;
    }
    if (polls[0].revents)
        err = vhost_message_receive(vhost);
    for (unsigned i = 0; i < vhost->ops->queues && !err; i++) {
        struct vhost_queue *q = &vhost->queue[i];

        if (!q->kicked || !vhost_queue_running(q))
            continue;
        q->kicked = false;
        if (vhost->ops->kicked)
            vhost->ops->kicked(vhost->arg, i);
    }
    return err;
}

uint64_t vhost_features(const struct vhost *vhost)
{
    return vhost->features;
}
