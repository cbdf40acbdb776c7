/* SPDX-License-Identifier: MIT */
#include <linux/virtio_gpu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <transport/vm.h>
#include <unistd.h>
#include <vhost/vhost.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include <gpu/device.h>

#include "front.h"

/*
 * viaduct-gpu: the virtio-gpu device of one virtual machine. Joins queues (vhost/) and device
 * (device.h) on one thread.
 */

#define DEFAULT_HOST     "/run/viaduct/vm.sock"
#define DEFAULT_SESSIONS 16

enum { QUEUE_CONTROL, QUEUE_CURSOR, QUEUES };

/* Requests before sockets and the other queue get their turn. */
#define GPU_TURN 256

static const char usage_text[] =
    "usage: viaduct-gpu --name NAME --socket PATH [options]\n"
    "A virtio-gpu device for one virtual machine: its programs find Viaduct at a render node.\n"
    "\n"
    "  --name NAME          of the machine, for logs and the service\n"
    "  --socket PATH        where QEMU connects to (vhost-user)\n"
    "  --host PATH          viaductd's socket for relays (default: " DEFAULT_HOST ")\n"
    "  --group GROUP        its members may connect to --socket, too: QEMU's\n"
    "  --max-sessions N     programs that are served at a time (default 16, 64 at most)\n"
    "  --once               end when QEMU leaves\n"
    "  --help, --version\n";

enum { OPT_HOST = 256, OPT_MAX };

static const struct option long_options[] = {
    {"host", required_argument, NULL, OPT_HOST},
    {"max-sessions", required_argument, NULL, OPT_MAX},
    FRONT_OPTIONS,
};

struct gpu_options {
    const char *name, *host;
    unsigned max_sessions;
};

/* A machine that is there. */
struct gpu {
    const struct gpu_options *options;
    struct vhost *vhost;
    struct gpu_device *device;
    int display;     /* QEMU's socket for what screens show; nothing is said there */
    bool again;      /* a queue may have more */
    unsigned queues; /* entries of the last gpu_poll that are the queues' */
    struct vhost_element element;
};

static void *gpu_translate(void *arg, uint64_t address, uint64_t size)
{
    struct gpu *gpu = arg;

    return vhost_memory_at(gpu->vhost, address, size);
}

static int gpu_connect(void *arg, int *ret_fd)
{
    struct gpu *gpu = arg;
    int err = vm_dial(gpu->options->host, gpu->options->name, ret_fd);

    if (err)
        log_warn("virtual machine %s: cannot reach viaductd at %s: %s", gpu->options->name,
                 gpu->options->host, errors_text(err));
    return err;
}

static void gpu_answer(void *arg, struct vhost_token token, uint32_t written)
{
    struct gpu *gpu = arg;

    vhost_queue_push(gpu->vhost, QUEUE_CONTROL, token, written);
}

static void gpu_get_config(void *arg, void *bytes)
{
    /* One scanout at least, or older drivers refuse the device; QEMU puts its own number there. */
    struct virtio_gpu_config config = {.num_scanouts = 1, .num_capsets = 1};

    (void)arg;
    memcpy(bytes, &config, sizeof(config));
}

/* The driver may clear events; there are none. */
static int gpu_set_config(void *arg, uint32_t offset, uint32_t size, const void *bytes)
{
    (void)arg, (void)offset, (void)size, (void)bytes;
    return 0;
}

static void gpu_kicked(void *arg, unsigned queue)
{
    struct gpu *gpu = arg;
    struct vhost_element *e = &gpu->element;
    int turn = 0;

    while (turn++ < GPU_TURN && vhost_queue_pop(gpu->vhost, queue, e)) {
        uint32_t written = 0;

        /* Cursors are shown on no screen, and their requests have no answer. */
        if (queue == QUEUE_CURSOR || gpu_device_request(gpu->device, e->token, e->iov, e->out_count,
                                                        vhost_element_in(e), e->in_count, &written))
            vhost_queue_push(gpu->vhost, queue, e->token, written);
    }
    if (turn > GPU_TURN)
        gpu->again = true;
    vhost_queue_notify(gpu->vhost, queue);
}

static void gpu_started(void *arg, unsigned queue, bool anew)
{
    struct gpu *gpu = arg;

    if (queue == QUEUE_CONTROL && anew)
        gpu_device_reset(gpu->device);
}

static void gpu_stopped(void *arg, unsigned queue)
{
    struct gpu *gpu = arg;

    /* A machine that is paused shall find its answers when it goes on. */
    if (queue == QUEUE_CONTROL)
        gpu_device_answer_all(gpu->device);
}

static void gpu_memory(void *arg)
{
    gpu_device_moved(((struct gpu *)arg)->device);
}

static int gpu_display(void *arg, int fd)
{
    struct gpu *gpu = arg;

    if (gpu->display >= 0)
        close(gpu->display);
    gpu->display = fd;
    return 0;
}

static const struct gpu_device_ops device_ops = {
    .translate = gpu_translate,
    .connect = gpu_connect,
    .answer = gpu_answer,
};

static const struct vhost_ops vhost_ops = {
    .name = "virtio-gpu",
    .features = UINT64_C(1) << VIRTIO_GPU_F_VIRGL,
    .queues = QUEUES,
    .config_size = sizeof(struct virtio_gpu_config),
    .get_config = gpu_get_config,
    .set_config = gpu_set_config,
    .kicked = gpu_kicked,
    .started = gpu_started,
    .stopped = gpu_stopped,
    .memory = gpu_memory,
    .gpu_socket = gpu_display,
};

static void gpu_destroy(void **relay)
{
    struct gpu *gpu = *relay;

    *relay = NULL;
    if (!gpu)
        return;
    gpu_device_destroy(&gpu->device);
    vhost_destroy(&gpu->vhost);
    if (gpu->display >= 0)
        close(gpu->display);
    free(gpu);
}

static int gpu_create(int fd, const void *options, void **ret_relay)
{
    struct gpu *gpu = calloc(1, sizeof(*gpu));
    void *made = gpu;
    int err;

    if (!gpu)
        return VD_ERR_MEMORY;
    gpu->options = options;
    gpu->display = -1;
    err = gpu_device_create(&device_ops, gpu, gpu->options->max_sessions, &gpu->device);
    if (!err)
        err = vhost_create(fd, &vhost_ops, gpu, &gpu->vhost);
    if (err)
        gpu_destroy(&made);
    *ret_relay = made;
    return err;
}

static unsigned gpu_poll(void *relay, struct pollfd *polls, int *ret_timeout_ms)
{
    struct gpu *gpu = relay;
    unsigned sessions;

    gpu->queues = vhost_poll(gpu->vhost, polls);
    sessions = gpu_device_poll(gpu->device, polls + gpu->queues, ret_timeout_ms);
    /* What was due is answered. */
    vhost_queue_notify(gpu->vhost, QUEUE_CONTROL);
    if (gpu->again)
        *ret_timeout_ms = 0;
    return gpu->queues + sessions;
}

static int gpu_handle(void *relay, const struct pollfd *polls, unsigned count)
{
    struct gpu *gpu = relay;
    int err;

    gpu_device_handle(gpu->device, polls + gpu->queues, count - gpu->queues);
    if (gpu->again) {
        gpu->again = false;
        for (unsigned i = 0; i < QUEUES; i++)
            gpu_kicked(gpu, i);
    }
    err = vhost_handle(gpu->vhost, polls, gpu->queues);
    if (!err)
        vhost_queue_notify(gpu->vhost, QUEUE_CONTROL);
    return err;
}

static void parse(int argc, char **argv, struct front *front, struct gpu_options *options)
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case OPT_HOST:
            options->host = optarg;
            break;
        case OPT_MAX:
            options->max_sessions = front_number("max-sessions", optarg, 1, DEVICE_MAX_SESSIONS);
            break;
        default:
            front_option(front, c, usage_text);
            break;
        }
    }
    if (optind < argc || !front->name || !front->socket)
        front_usage(usage_text);
    options->name = front->name;
}

int main(int argc, char **argv)
{
    struct gpu_options options = {.host = DEFAULT_HOST, .max_sessions = DEFAULT_SESSIONS};
    struct front front = {
        .polls = VHOST_POLL + DEVICE_MAX_SESSIONS,
        .options = &options,
        .create = gpu_create,
        .destroy = gpu_destroy,
        .poll = gpu_poll,
        .handle = gpu_handle,
    };

    log_set_name("viaduct-gpu");
    parse(argc, argv, &front, &options);
    /* A session has one; a machine's memory and queues need some. */
    front.descriptors = options.max_sessions + 64;
    return front_run(&front);
}
