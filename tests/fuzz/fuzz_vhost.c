/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "../unit/vhost_guest.h"

/*
 * A hostile guest and a hostile front end of a vhost-user device. The input is a list of steps: a
 * message with any content, a write of any bytes into guest memory, a kick. The device reads and
 * writes all that it is given.
 */

enum { STEP_MESSAGE, STEP_WRITE, STEP_KICK, STEP_KINDS };

struct device {
    struct vhost *vhost;
    struct vhost_element element;
};

static void device_kicked(void *arg, unsigned queue)
{
    struct device *d = arg;
    uint8_t bytes[512];

    for (unsigned turn = 0; turn < 2 * VHOST_MAX_QUEUE_SIZE; turn++) {
        const struct vhost_element *e = &d->element;
        size_t n;

        if (!vhost_queue_pop(d->vhost, queue, &d->element))
            return;
        n = vhost_iov_get(e->iov, e->out_count, 3, bytes, sizeof(bytes));
        if (n > e->out_size)
            abort();
        n = vhost_iov_put(vhost_element_in(e), e->in_count, 0, bytes, n);
        /* The last byte that it says it has. */
        if (e->in_size)
            vhost_iov_put(vhost_element_in(e), e->in_count, e->in_size - 1, bytes, 1);
        vhost_queue_push(d->vhost, queue, e->token, (uint32_t)n);
        vhost_queue_notify(d->vhost, queue);
    }
}

static void device_get_config(void *arg, void *config)
{
    (void)arg;
    memset(config, 7, 24);
}

static int device_set_config(void *arg, uint32_t offset, uint32_t size, const void *bytes)
{
    uint8_t config[24];

    (void)arg;
    memcpy(config + offset, bytes, size);
    return config[offset] == 77;
}

static int device_gpu_socket(void *arg, int fd)
{
    (void)arg;
    close(fd);
    return 0;
}

static const struct vhost_ops device_ops = {
    .name = "fuzz",
    .queues = 2,
    .config_size = 24,
    .get_config = device_get_config,
    .set_config = device_set_config,
    .kicked = device_kicked,
    .gpu_socket = device_gpu_socket,
};

static void step_message(struct fuzz_input *input, struct vhost_guest *g)
{
    uint8_t body[VHOST_MAX_CONFIG + 64];
    uint32_t request = fuzz_byte(input), size = fuzz_byte(input) * 2u, flags = fuzz_byte(input);
    unsigned fds = flags >> 4 & 3;
    int list[3] = {g->memory_fd, g->memory_fd, g->memory_fd};

    if (size > sizeof(body))
        size = sizeof(body);
    fuzz_take(input, body, size);
    if (flags & 0x80)
        list[0] = g->queue[0].kick;
    vhost_guest_send(g, request, flags & 14, body, size, list, fds);
}

/* Mostly into the queues, where it hurts. */
static void step_write(struct fuzz_input *input, struct vhost_guest *g)
{
    uint8_t bytes[64];
    uint32_t at = fuzz_word(input), size = fuzz_byte(input) % sizeof(bytes);

    fuzz_take(input, bytes, size);
    if (at & 0x8000)
        at = (at & 0x7fff) * 29u % (GUEST_BYTES - 64);
    memcpy(g->memory + at, bytes, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct device device;
    struct fuzz_input input = {data, size};
    struct vhost_guest g;
    uint8_t answer[512];
    uint64_t one = 1;
    int before = fuzz_descriptors(), err = 0;

    vhost_guest_init(&g);
    if (vhost_create(g.device_fd, &device_ops, &device, &device.vhost))
        abort();
    vhost_guest_begin(&g, device.vhost, 1ull << 32 | (uint64_t)(fuzz_byte(&input) & 3) << 28);
    vhost_guest_start(&g, device.vhost, 0, 8, 0);
    vhost_guest_start(&g, device.vhost, 1, 4, 65530);
    for (int steps = 0; input.size && !err && steps < 64; steps++) {
        switch (fuzz_byte(&input) % STEP_KINDS) {
        case STEP_MESSAGE:
            step_message(&input, &g);
            break;
        case STEP_WRITE:
            step_write(&input, &g);
            break;
        default:
            if (write(g.queue[steps % 2].kick, &one, 8) < 0)
                abort();
        }
        err = vhost_guest_turn(device.vhost);
        while (recv(g.fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
            ;
    }
    vhost_destroy(&device.vhost);
    vhost_guest_finish(&g);
    if (fuzz_descriptors() != before)
        abort();
    return 0;
}

static void put_message(struct fuzz_writer *w, uint8_t request, uint8_t flags, const void *body,
                        uint8_t size)
{
    fuzz_put_byte(w, STEP_MESSAGE);
    fuzz_put_byte(w, request);
    fuzz_put_byte(w, size / 2);
    fuzz_put_byte(w, flags);
    fuzz_put(w, body, size);
}

static void put_write(struct fuzz_writer *w, uint16_t at, const void *bytes, uint8_t size)
{
    fuzz_put_byte(w, STEP_WRITE);
    fuzz_put_word(w, at);
    fuzz_put_byte(w, size);
    fuzz_put(w, bytes, size);
}

/* Chains that are right, in place and in a table; then the queue starts anew. */
size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {buffer, 0, room};
    const struct vring_desc chain[3] = {
        {GUEST_BASE + GUEST_BUFFERS, 64, VRING_DESC_F_NEXT, 1},
        {GUEST_SECOND, 640, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2},
        {GUEST_SECOND + 99, 64, VRING_DESC_F_WRITE, 0},
    };
    const struct vring_desc table = {GUEST_BASE + 0x200, sizeof(chain), VRING_DESC_F_INDIRECT, 0};
    const uint16_t avail[4] = {0, 2, 0, 0};
    const uint32_t state[2] = {0, 0};
    const uint64_t none = 0;

    if (index >= 3)
        return 0;
    fuzz_put_byte(&w, (uint8_t)index);
    put_write(&w, 0, chain, sizeof(chain));
    put_write(&w, 0x200, chain, sizeof(chain));
    if (index == 1)
        put_write(&w, 0, &table, sizeof(table));
    put_write(&w, 8 * 16, avail, sizeof(avail));
    fuzz_put_byte(&w, STEP_KICK);
    fuzz_put_byte(&w, STEP_KICK);
    if (index == 2) {
        put_message(&w, 11, 0, state, 8);
        put_message(&w, 10, 8, state, 8);
        put_message(&w, 12, 0x90, &none, 8);
    }
    put_message(&w, 1, 0, NULL, 0);
    return w.used;
}
