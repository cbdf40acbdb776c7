/* SPDX-License-Identifier: MIT */
#include "bridge.h"

#include <stdlib.h>
#include <string.h>
#include <transport/vm.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "bridge_conn.h"

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT, QUEUE_COUNT };

/* Packets of a turn, then messages and other connections have theirs. */
#define BRIDGE_TX_TURN 256
/* The guest's buffers that a connection fills in a turn. */
#define BRIDGE_RX_TURN 8
/* Refusals that wait for a buffer of the guest; then it is not read until it gives some. */
#define BRIDGE_REFUSALS 64

#define HEADER sizeof(struct virtio_vsock_hdr)

struct refusal {
    uint32_t guest_port, host_port;
    uint16_t type;
};

struct bridge {
    const struct bridge_options *options;
    struct vhost *vhost;
    struct bridge_conn conn[BRIDGE_MAX_CONNECTIONS];
    unsigned turn; /* the connection that is first next time */
    unsigned first_polled;
    struct refusal refusal[BRIDGE_REFUSALS];
    unsigned refusals;
    bool failing[BRIDGE_MAX_PORTS]; /* said on the log that it is */
    bool full;                      /* the same */
    struct vhost_element element;
};

static void bridge_get_config(void *arg, void *config)
{
    const struct bridge *b = arg;

    /* struct virtio_vsock_config. */
    memcpy(config, &b->options->cid, sizeof(b->options->cid));
}

static void bridge_drop_all(struct bridge *b)
{
    for (unsigned i = 0; i < BRIDGE_MAX_CONNECTIONS; i++)
        bridge_conn_close(&b->conn[i]);
    b->refusals = 0;
}

/* A guest that starts over knows nothing of connections. */
static void bridge_started(void *arg, unsigned queue, bool anew)
{
    if (anew && queue != QUEUE_EVENT)
        bridge_drop_all(arg);
}

static void bridge_refuse(struct bridge *b, const struct virtio_vsock_hdr *h)
{
    if (b->refusals < BRIDGE_REFUSALS)
        b->refusal[b->refusals++] = (struct refusal){h->src_port, h->dst_port, h->type};
}

static struct bridge_conn *find(struct bridge *b, uint32_t guest_port, uint32_t host_port)
{
    for (unsigned i = 0; i < b->options->max_connections; i++) {
        struct bridge_conn *c = &b->conn[i];

        if (c->used && c->guest_port == guest_port && c->host_port == host_port)
            return c;
    }
    return NULL;
}

static struct bridge_conn *find_free(struct bridge *b)
{
    for (unsigned i = 0; i < b->options->max_connections; i++) {
        if (!b->conn[i].used)
            return &b->conn[i];
    }
    return NULL;
}

/* Once, until it is otherwise: a guest could fill the log. */
static void say_failing(struct bridge *b, unsigned port, int err)
{
    const struct bridge_port *p = &b->options->port[port];

    if (!b->failing[port])
        log_warn("virtual machine %s: port %u is not served: %s: %s", b->options->name, p->port,
                 p->path,
                 err == VD_ERR_GONE     ? "nobody listens there; is viaductd running?"
                 : err == VD_ERR_DENIED ? "its owner does not let this user in"
                                        : errors_text(err));
    b->failing[port] = true;
}

static int dial(struct bridge *b, uint32_t guest_port, int *ret_fd)
{
    for (unsigned i = 0; i < b->options->ports; i++) {
        const struct bridge_port *p = &b->options->port[i];
        int err;

        if (p->port != guest_port)
            continue;
        err = p->named ? vm_dial(p->path, b->options->name, ret_fd)
                       : vm_dial_unnamed(p->path, ret_fd);
        if (err)
            say_failing(b, i, err);
        else
            b->failing[i] = false;
        return err;
    }
    return VD_ERR_ID;
}

static void bridge_request(struct bridge *b, const struct virtio_vsock_hdr *h)
{
    struct bridge_conn *c = find_free(b);
    int fd, err;

    if (!c) {
        if (!b->full)
            log_warn("virtual machine %s has %u connections already (--max-connections)",
                     b->options->name, b->options->max_connections);
        b->full = true;
        bridge_refuse(b, h);
        return;
    }
    b->full = false;
    err = dial(b, h->dst_port, &fd);
    if (!err) {
        err = bridge_conn_open(c, fd, h);
        if (err)
            close(fd);
    }
    if (err)
        bridge_refuse(b, h);
}

/* One packet of the guest, in b->element. */
static void bridge_packet(struct bridge *b)
{
    const struct vhost_element *e = &b->element;
    struct virtio_vsock_hdr h;
    struct bridge_conn *c;

    if (vhost_iov_get(e->iov, e->out_count, 0, &h, HEADER) != HEADER ||
        h.len > e->out_size - HEADER) {
        vhost_break(b->vhost, QUEUE_TX, "a packet is shorter than it says");
        return;
    }
    /* As Linux has it: dropped without a word. */
    if (h.src_cid != b->options->cid || h.dst_cid != 2)
        return;
    if (h.type != VIRTIO_VSOCK_TYPE_STREAM) {
        bridge_refuse(b, &h);
        return;
    }
    c = find(b, h.src_port, h.dst_port);
    if (c && h.op == VIRTIO_VSOCK_OP_REQUEST) {
        c->pending |= BRIDGE_SAY_RST;
        return;
    }
    if (h.op == VIRTIO_VSOCK_OP_REQUEST) {
        bridge_request(b, &h);
        return;
    }
    if (!c) {
        if (h.op != VIRTIO_VSOCK_OP_RST)
            bridge_refuse(b, &h);
        return;
    }
    bridge_conn_credit(c, &h);
    switch (h.op) {
    case VIRTIO_VSOCK_OP_RST:
        bridge_conn_close(c);
        break;
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        bridge_conn_shutdown(c, h.flags);
        break;
    case VIRTIO_VSOCK_OP_RW:
        bridge_conn_data(c, e->iov, e->out_count, HEADER, h.len);
        break;
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        break;
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        c->pending |= BRIDGE_SAY_CREDIT;
        break;
    default:
        c->pending |= BRIDGE_SAY_RST;
    }
}

static void bridge_send_turn(struct bridge *b)
{
    for (unsigned i = 0; i < BRIDGE_TX_TURN && b->refusals < BRIDGE_REFUSALS; i++) {
        if (!vhost_queue_pop(b->vhost, QUEUE_TX, &b->element))
            return;
        bridge_packet(b);
        vhost_queue_push(b->vhost, QUEUE_TX, b->element.token, 0);
    }
}

/* A buffer of the guest with room for a header at least. */
static bool take_buffer(struct bridge *b)
{
    if (!vhost_queue_pop(b->vhost, QUEUE_RX, &b->element))
        return false;
    if (b->element.in_size >= HEADER)
        return true;
    vhost_break(b->vhost, QUEUE_RX, "a buffer is too small for a packet");
    return false;
}

static void give_buffer(struct bridge *b, struct virtio_vsock_hdr *h)
{
    h->src_cid = 2;
    h->dst_cid = b->options->cid;
    vhost_iov_put(vhost_element_in(&b->element), b->element.in_count, 0, h, HEADER);
    vhost_queue_push(b->vhost, QUEUE_RX, b->element.token, (uint32_t)HEADER + h->len);
}

static struct virtio_vsock_hdr conn_header(struct bridge_conn *c, uint16_t op)
{
    c->told = c->taken;
    c->pending &= ~(unsigned)BRIDGE_SAY_CREDIT;
    return (struct virtio_vsock_hdr){
        .src_port = c->host_port,
        .dst_port = c->guest_port,
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .op = op,
        .buf_alloc = BRIDGE_BUFFER,
        .fwd_cnt = c->taken,
    };
}

static bool say(struct bridge *b, struct bridge_conn *c, unsigned what, uint16_t op)
{
    struct virtio_vsock_hdr h;

    if (!(c->pending & what))
        return true;
    if (!take_buffer(b))
        return false;
    h = conn_header(c, op);
    if (op == VIRTIO_VSOCK_OP_SHUTDOWN)
        h.flags = c->shutdown;
    c->pending &= ~what;
    give_buffer(b, &h);
    return true;
}

/* Fills one buffer from the service. False: none left. */
static bool move_some(struct bridge *b, struct bridge_conn *c)
{
    struct iovec part[64];
    struct virtio_vsock_hdr h;
    uint64_t room;
    unsigned n;

    if (!take_buffer(b))
        return false;
    room = b->element.in_size - HEADER;
    if (room > bridge_conn_room(c))
        room = bridge_conn_room(c);
    n = vhost_iov_slice(vhost_element_in(&b->element), b->element.in_count, HEADER, room, part, 64);
    if (!n) {
        vhost_break(b->vhost, QUEUE_RX, "a buffer is too small for a packet");
        return false;
    }
    room = bridge_conn_read(c, part, n);
    if (!room) {
        vhost_queue_unpop(b->vhost, QUEUE_RX);
        return true;
    }
    h = conn_header(c, VIRTIO_VSOCK_OP_RW);
    h.len = (uint32_t)room;
    give_buffer(b, &h);
    /* A guest that gives no credit back on its own is asked for it. */
    if (!bridge_conn_room(c))
        c->pending |= BRIDGE_ASK_CREDIT;
    return true;
}

/* False: the guest has no buffers left. */
static bool conn_turn(struct bridge *b, struct bridge_conn *c)
{
    if (c->pending & BRIDGE_SAY_RST) {
        if (!say(b, c, BRIDGE_SAY_RST, VIRTIO_VSOCK_OP_RST))
            return false;
        bridge_conn_close(c);
        return true;
    }
    if (!say(b, c, BRIDGE_SAY_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE))
        return false;
    for (unsigned i = 0; i < BRIDGE_RX_TURN && c->readable && bridge_conn_wants(c); i++) {
        if (!move_some(b, c))
            return false;
    }
    return say(b, c, BRIDGE_SAY_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE) &&
           say(b, c, BRIDGE_ASK_CREDIT, VIRTIO_VSOCK_OP_CREDIT_REQUEST) &&
           say(b, c, BRIDGE_SAY_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN);
}

static void bridge_receive_turn(struct bridge *b)
{
    unsigned done = 0, max = b->options->max_connections;

    while (done < b->refusals && take_buffer(b)) {
        const struct refusal *r = &b->refusal[done++];
        struct virtio_vsock_hdr h = {
            .src_port = r->host_port,
            .dst_port = r->guest_port,
            .type = r->type,
            .op = VIRTIO_VSOCK_OP_RST,
        };

        give_buffer(b, &h);
    }
    memmove(b->refusal, b->refusal + done, (b->refusals - done) * sizeof(b->refusal[0]));
    b->refusals -= done;
    for (unsigned i = 0; i < max && !b->refusals; i++) {
        struct bridge_conn *c = &b->conn[(b->turn + i) % max];

        /* Who was left without a buffer is first next time. */
        if (c->used && !conn_turn(b, c)) {
            b->turn = (b->turn + i) % max;
            return;
        }
    }
    b->turn = (b->turn + 1) % max;
}

/* Work is done by bridge_handle, whatever queue it was. */
static const struct vhost_ops bridge_ops = {
    .name = "vsock",
    .queues = QUEUE_COUNT,
    .config_size = sizeof(struct virtio_vsock_config),
    .get_config = bridge_get_config,
    .started = bridge_started,
};

int bridge_create(int fd, const struct bridge_options *options, struct bridge **ret_bridge)
{
    struct bridge *b = calloc(1, sizeof(*b));
    int err;

    if (!b)
        return VD_ERR_MEMORY;
    b->options = options;
    for (unsigned i = 0; i < BRIDGE_MAX_CONNECTIONS; i++)
        b->conn[i].fd = -1;
    err = vhost_create(fd, &bridge_ops, b, &b->vhost);
    if (err) {
        free(b);
        return err;
    }
    *ret_bridge = b;
    return 0;
}

void bridge_destroy(struct bridge **bridge)
{
    struct bridge *b = *bridge;

    if (!b)
        return;
    bridge_drop_all(b);
    vhost_destroy(&b->vhost);
    free(b);
    *bridge = NULL;
}

unsigned bridge_poll(struct bridge *b, struct pollfd *polls, bool *ret_busy)
{
    /* Looking asks for kicks where there is nothing. */
    bool room = vhost_queue_available(b->vhost, QUEUE_RX), wants = b->refusals;
    unsigned n = vhost_poll(b->vhost, polls);

    b->first_polled = n;
    for (unsigned i = 0; i < b->options->max_connections; i++) {
        const struct bridge_conn *c = &b->conn[i];
        short events = bridge_conn_events(c, room);

        polls[n++] = (struct pollfd){.fd = events ? c->fd : -1, .events = events};
        wants = wants || (c->used && (c->pending || (c->readable && bridge_conn_wants(c))));
    }
    *ret_busy = (room && wants) ||
                (b->refusals < BRIDGE_REFUSALS && vhost_queue_available(b->vhost, QUEUE_TX));
    return n;
}

int bridge_handle(struct bridge *b, const struct pollfd *polls, unsigned count)
{
    int err = vhost_handle(b->vhost, polls, b->first_polled);

    if (err)
        return err;
    for (unsigned i = 0; b->first_polled + i < count; i++) {
        struct bridge_conn *c = &b->conn[i];
        short events = polls[b->first_polled + i].revents;

        /* The front end may have started the device anew: others are here then. */
        if (!c->used || c->fd != polls[b->first_polled + i].fd)
            continue;
        if (events & (POLLIN | POLLHUP | POLLERR))
            c->readable = true;
        if (events & (POLLOUT | POLLERR))
            bridge_conn_flush(c);
    }
    bridge_send_turn(b);
    bridge_receive_turn(b);
    vhost_queue_notify(b->vhost, QUEUE_TX);
    vhost_queue_notify(b->vhost, QUEUE_RX);
    return 0;
}

struct vhost *bridge_vhost(struct bridge *b)
{
    return b->vhost;
}
