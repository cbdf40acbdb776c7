/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "vhost_private.h"

/*
 * Messages of the front end. Each handler looks at the whole of its message first; the table says
 * how large it is and how many descriptors it brings.
 */

#define OFFERED_PROTOCOL (VHOST_P_MQ | VHOST_P_REPLY_ACK | VHOST_P_BACKEND_REQ | VHOST_P_CONFIG)
/* A number of a queue in a message with a descriptor; the bit says that there is none. */
#define NO_FD 0x100u

struct vring_state {
    uint32_t index, value;
};

struct vring_address {
    uint32_t index, flags;
    uint64_t desc, used, avail, log;
};

struct memory_table {
    uint32_t count, zero;
    struct vhost_memory_row rows[VHOST_MAX_REGIONS];
};

struct config_part {
    uint32_t offset, size, flags;
    uint8_t bytes[VHOST_MAX_CONFIG];
};

_Static_assert(sizeof(struct memory_table) <= VHOST_MESSAGE_BYTES &&
                   sizeof(struct config_part) <= VHOST_MESSAGE_BYTES,
               "the largest messages fit");

static uint64_t offered(const struct vhost *vhost)
{
    return (vhost->ops->features & 0xffffff) | VHOST_F_INDIRECT | VHOST_F_EVENT_IDX |
           VHOST_F_PROTOCOL | VHOST_F_VERSION_1;
}

static uint64_t body_u64(const struct vhost *vhost)
{
    uint64_t value;

    memcpy(&value, vhost->body, sizeof(value));
    return value;
}

/* The reply's body. */
static void answer(struct vhost *vhost, const void *bytes, uint32_t size)
{
    memcpy(vhost->body, bytes, size);
    vhost->header.size = size;
}

static void answer_u64(struct vhost *vhost, uint64_t value)
{
    answer(vhost, &value, sizeof(value));
}

/* Takes the only descriptor of a message out of it. */
static int take_fd(struct vhost *vhost)
{
    int fd = vhost->fd_count ? vhost->fds[0] : -1;

    vhost->fds[0] = -1;
    return fd;
}

static void replace_fd(int *slot, int fd)
{
    if (*slot >= 0)
        close(*slot);
    *slot = fd;
}

static int get_features(struct vhost *vhost)
{
    answer_u64(vhost, offered(vhost));
    return 0;
}

static int set_features(struct vhost *vhost)
{
    uint64_t wanted = body_u64(vhost);

    for (unsigned i = 0; i < vhost->ops->queues; i++) {
        /* Rings are read by them. */
        if (vhost_queue_running(&vhost->queue[i]) && (wanted & offered(vhost)) != vhost->features)
            return VD_ERR_PARAMETER;
    }
    /* QEMU says what its device agreed on with the driver, and has bits of its own among them. */
    vhost->features = wanted & offered(vhost);
    return 0;
}

static int get_protocol_features(struct vhost *vhost)
{
    answer_u64(vhost, OFFERED_PROTOCOL);
    return 0;
}

static int set_protocol_features(struct vhost *vhost)
{
    uint64_t wanted = body_u64(vhost);

    if (wanted & ~OFFERED_PROTOCOL)
        return VD_ERR_PARAMETER;
    vhost->protocol = wanted;
    return 0;
}

static int nothing(struct vhost *vhost)
{
    (void)vhost;
    return 0;
}

static int get_queue_num(struct vhost *vhost)
{
    answer_u64(vhost, vhost->ops->queues);
    return 0;
}

static void start_ready(struct vhost *vhost)
{
    for (unsigned i = 0; i < vhost->ops->queues; i++) {
        if (!vhost_queue_running(&vhost->queue[i]) && vhost_queue_ready(vhost, &vhost->queue[i]))
            vhost_queue_start(vhost, i);
    }
}

static int set_mem_table(struct vhost *vhost)
{
    struct memory_table table;
    bool ran[VHOST_MAX_QUEUES] = {false};
    int fds[VHOST_MESSAGE_FDS], err;

    memset(&table, 0, sizeof(table));
    memcpy(&table, vhost->body, vhost->header.size);
    /* User-mode Linux always sends two rows, whatever the count. */
    if (!table.count || table.count > VHOST_MAX_REGIONS || table.count != vhost->fd_count ||
        vhost->header.size < 8 + table.count * sizeof(table.rows[0]))
        return VD_ERR_PARAMETER;
    memcpy(fds, vhost->fds, sizeof(fds));
    vhost->fd_count = 0;
    /* With memory hotplug queues go on: what they hold is given up, as its pointers are. */
    for (unsigned i = 0; i < vhost->ops->queues; i++) {
        ran[i] = vhost_queue_running(&vhost->queue[i]);
        vhost_queue_stop(vhost, i);
    }
    err = vhost_memory_set(&vhost->memory, table.rows, fds, table.count);
    if (vhost->ops->memory)
        vhost->ops->memory(vhost->arg);
    for (unsigned i = 0; i < vhost->ops->queues && !err; i++) {
        if (ran[i])
            vhost_queue_start(vhost, i);
    }
    return err;
}

static struct vhost_queue *queue_at(struct vhost *vhost, uint32_t index)
{
    return index < vhost->ops->queues ? &vhost->queue[index] : NULL;
}

static int set_vring_num(struct vhost *vhost)
{
    struct vring_state state;
    struct vhost_queue *q;

    memcpy(&state, vhost->body, sizeof(state));
    q = queue_at(vhost, state.index);
    if (!q || vhost_queue_running(q) || !state.value || state.value > VHOST_MAX_QUEUE_SIZE ||
        state.value & (state.value - 1))
        return VD_ERR_PARAMETER;
    q->size = state.value;
    return 0;
}

static int set_vring_addr(struct vhost *vhost)
{
    struct vring_address address;
    struct vhost_queue *q;

    memcpy(&address, vhost->body, sizeof(address));
    q = queue_at(vhost, address.index);
    if (!q || vhost_queue_running(q))
        return VD_ERR_PARAMETER;
    q->desc_user = address.desc;
    q->avail_user = address.avail;
    q->used_user = address.used;
    q->has_addresses = true;
    start_ready(vhost);
    return 0;
}

static int set_vring_base(struct vhost *vhost)
{
    struct vring_state state;
    struct vhost_queue *q;

    memcpy(&state, vhost->body, sizeof(state));
    q = queue_at(vhost, state.index);
    if (!q || vhost_queue_running(q) || state.value > UINT16_MAX)
        return VD_ERR_PARAMETER;
    if (q->taken != state.value)
        q->ran = false;
    q->taken = (uint16_t)state.value;
    return 0;
}

/* The front end stops a queue with this question. */
static int get_vring_base(struct vhost *vhost)
{
    struct vring_state state;
    struct vhost_queue *q;

    memcpy(&state, vhost->body, sizeof(state));
    q = queue_at(vhost, state.index);
    if (!q)
        return VD_ERR_PROTOCOL; /* there is no answer that says no */
    vhost_queue_stop(vhost, state.index);
    replace_fd(&q->kick, -1);
    replace_fd(&q->call, -1);
    q->has_addresses = q->enabled = false;
    state.value = q->taken;
    answer(vhost, &state, sizeof(state));
    return 0;
}

/* The queue of a message with a descriptor, and that; NULL if they do not agree. */
static struct vhost_queue *queue_fd(struct vhost *vhost, int *ret_fd)
{
    uint64_t value = body_u64(vhost);
    bool has_fd = !(value & NO_FD);

    if (value & ~0x1ffull || value % NO_FD >= vhost->ops->queues ||
        vhost->fd_count != (has_fd ? 1 : 0))
        return NULL;
    *ret_fd = take_fd(vhost);
    /* Never wait for an event. */
    if (has_fd)
        fcntl(*ret_fd, F_SETFL, fcntl(*ret_fd, F_GETFL) | O_NONBLOCK);
    return &vhost->queue[value % NO_FD];
}

static int set_vring_kick(struct vhost *vhost)
{
    int fd;
    struct vhost_queue *q = queue_fd(vhost, &fd);

    /* Without a descriptor the device would have to look all the time. */
    if (!q || fd < 0)
        return VD_ERR_PARAMETER;
    replace_fd(&q->kick, fd);
    /* The old one may have had something to say. */
    q->kicked = true;
    start_ready(vhost);
    return 0;
}

static int set_vring_call(struct vhost *vhost)
{
    int fd;
    struct vhost_queue *q = queue_fd(vhost, &fd);

    if (!q)
        return VD_ERR_PARAMETER;
    replace_fd(&q->call, fd);
    return 0;
}

static int set_vring_err(struct vhost *vhost)
{
    int fd;
    struct vhost_queue *q = queue_fd(vhost, &fd);

    if (!q)
        return VD_ERR_PARAMETER;
    replace_fd(&q->err, fd);
    return 0;
}

static int set_vring_enable(struct vhost *vhost)
{
    struct vring_state state;
    struct vhost_queue *q;

    memcpy(&state, vhost->body, sizeof(state));
    q = queue_at(vhost, state.index);
    if (!q || state.value > 1)
        return VD_ERR_PARAMETER;
    q->enabled = state.value;
    if (!q->enabled)
        vhost_queue_stop(vhost, state.index);
    start_ready(vhost);
    return 0;
}

static int set_backend_req_fd(struct vhost *vhost)
{
    replace_fd(&vhost->backend_fd, take_fd(vhost));
    return 0;
}

static int get_config(struct vhost *vhost)
{
    uint8_t whole[VHOST_MAX_CONFIG] = {0};
    struct config_part part;
    uint32_t head = offsetof(struct config_part, bytes);

    memset(&part, 0, sizeof(part));
    memcpy(&part, vhost->body, vhost->header.size);
    if (!vhost->ops->get_config || part.size > VHOST_MAX_CONFIG ||
        part.offset > VHOST_MAX_CONFIG - part.size || vhost->header.size != head + part.size) {
        /* "a zero-length payload indicates an error" */
        vhost->header.size = 0;
        return 0;
    }
    vhost->ops->get_config(vhost->arg, whole);
    memcpy(part.bytes, whole + part.offset, part.size);
    answer(vhost, &part, head + part.size);
    return 0;
}

static int set_config(struct vhost *vhost)
{
    struct config_part part;
    uint32_t head = offsetof(struct config_part, bytes);

    memset(&part, 0, sizeof(part));
    memcpy(&part, vhost->body, vhost->header.size);
    if (!vhost->ops->set_config || part.size > vhost->ops->config_size ||
        part.offset > vhost->ops->config_size - part.size || vhost->header.size != head + part.size)
        return VD_ERR_PARAMETER;
    return vhost->ops->set_config(vhost->arg, part.offset, part.size, part.bytes);
}

static int gpu_set_socket(struct vhost *vhost)
{
    if (!vhost->ops->gpu_socket || vhost->fd_count != 1)
        return VD_ERR_UNSUPPORTED;
    return vhost->ops->gpu_socket(vhost->arg, take_fd(vhost));
}

static const struct message {
    int (*handle)(struct vhost *vhost);
    bool replies;         /* always; others if asked to */
    uint16_t least, most; /* bytes */
    uint8_t fds;          /* at most */
} messages[] = {
    [VHOST_GET_FEATURES] = {get_features, true, 0, 0, 0},
    [VHOST_SET_FEATURES] = {set_features, false, 8, 8, 0},
    [VHOST_SET_OWNER] = {nothing, false, 0, 0, 0},
    [VHOST_RESET_OWNER] = {nothing, false, 0, 0, 0},
    [VHOST_SET_MEM_TABLE] = {set_mem_table, false, 8, sizeof(struct memory_table),
                             VHOST_MAX_REGIONS},
    [VHOST_SET_VRING_NUM] = {set_vring_num, false, 8, 8, 0},
    [VHOST_SET_VRING_ADDR] = {set_vring_addr, false, 40, 40, 0},
    [VHOST_SET_VRING_BASE] = {set_vring_base, false, 8, 8, 0},
    [VHOST_GET_VRING_BASE] = {get_vring_base, true, 8, 8, 0},
    [VHOST_SET_VRING_KICK] = {set_vring_kick, false, 8, 8, 1},
    [VHOST_SET_VRING_CALL] = {set_vring_call, false, 8, 8, 1},
    [VHOST_SET_VRING_ERR] = {set_vring_err, false, 8, 8, 1},
    [VHOST_GET_PROTOCOL_FEATURES] = {get_protocol_features, true, 0, 0, 0},
    [VHOST_SET_PROTOCOL_FEATURES] = {set_protocol_features, false, 8, 8, 0},
    [VHOST_GET_QUEUE_NUM] = {get_queue_num, true, 0, 0, 0},
    [VHOST_SET_VRING_ENABLE] = {set_vring_enable, false, 8, 8, 0},
    [VHOST_SET_BACKEND_REQ_FD] = {set_backend_req_fd, false, 0, 8, 1},
    [VHOST_GET_CONFIG] = {get_config, true, 12, 12 + VHOST_MAX_CONFIG, 0},
    [VHOST_SET_CONFIG] = {set_config, false, 12, 12 + VHOST_MAX_CONFIG, 0},
    [VHOST_GPU_SET_SOCKET] = {gpu_set_socket, false, 0, 8, 1},
};

void vhost_message_close_fds(struct vhost *vhost)
{
    for (unsigned i = 0; i < vhost->fd_count; i++) {
        if (vhost->fds[i] >= 0)
            close(vhost->fds[i]);
    }
    vhost->fd_count = 0;
}

static int reply(struct vhost *vhost)
{
    uint8_t bytes[sizeof(vhost->header) + VHOST_MESSAGE_BYTES];
    size_t size = sizeof(vhost->header) + vhost->header.size;

    vhost->header.flags = VHOST_VERSION | VHOST_REPLY;
    memcpy(bytes, &vhost->header, sizeof(vhost->header));
    memcpy(bytes + sizeof(vhost->header), vhost->body, vhost->header.size);
    /* A front end reads its answers: one that lets them pile up is none. */
    return send(vhost->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size ? 0
                                                                                      : VD_ERR_GONE;
}

/* A message that is complete. */
static int dispatch(struct vhost *vhost)
{
    const struct vhost_header *h = &vhost->header;
    bool known = h->request < sizeof(messages) / sizeof(messages[0]) && messages[h->request].handle;
    bool must_reply = known && messages[h->request].replies;
    int err = VD_ERR_UNSUPPORTED;

    if (known) {
        const struct message *m = &messages[h->request];

        err = h->size < m->least || h->size > m->most || vhost->fd_count > m->fds
                  ? VD_ERR_PROTOCOL
                  : m->handle(vhost);
    }
    vhost_message_close_fds(vhost);
    /* A question that makes no sense has no answer. */
    if (must_reply && err)
        return VD_ERR_PROTOCOL;
    if (err)
        log_debug("%s: message %u of the front end: %s", vhost->ops->name, h->request,
                  errors_text(err));
    if (must_reply)
        return reply(vhost);
    /* User-mode Linux asks for an answer to the message that makes answers possible, and waits. */
    if (!(h->flags & VHOST_NEED_REPLY) || !(vhost->protocol & VHOST_P_REPLY_ACK))
        return 0;
    answer_u64(vhost, err ? 1 : 0);
    return reply(vhost);
}

static void take_descriptors(struct vhost *vhost, struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (vhost->fd_count < VHOST_MESSAGE_FDS)
                vhost->fds[vhost->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

int vhost_message_receive(struct vhost *vhost)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(VHOST_MESSAGE_FDS * sizeof(int))];
    } control;
    size_t head = sizeof(vhost->header);
    /* The header by itself: what comes behind the message, and its descriptors, is another's. */
    struct iovec iov = {(uint8_t *)&vhost->header + vhost->got, head - vhost->got};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n;

    if (vhost->got >= head)
        iov = (struct iovec){vhost->body + (vhost->got - head),
                             vhost->header.size - (vhost->got - head)};
    do
        n = recvmsg(vhost->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n <= 0)
        return VD_ERR_GONE;
    take_descriptors(vhost, &msg);
    vhost->got += (size_t)n;
    if (vhost->got < head)
        return 0;
    if (vhost->header.size > VHOST_MESSAGE_BYTES ||
        (vhost->header.flags & (VHOST_VERSION | VHOST_REPLY)) != VHOST_VERSION)
        return VD_ERR_PROTOCOL;
    if (vhost->got < head + vhost->header.size)
        return vhost->got == head ? vhost_message_receive(vhost) : 0;
    vhost->got = 0;
    return dispatch(vhost);
}
