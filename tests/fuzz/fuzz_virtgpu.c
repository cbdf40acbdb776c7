/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <gpu/device.h>
#include <linux/virtio_gpu.h>
#include <sys/socket.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <viaduct/virtgpu.h>
#include <wire/log.h>

#include "fuzz.h"

/*
 * A hostile guest: any requests, with any content, in any order, while it writes into its memory.
 * The device must answer each once, at the latest when the queue stops, and leak nothing.
 */

#define MEMORY (256u << 10)
#define BASE   0x100000u
#define MOST   256

static uint8_t memory[MEMORY] __attribute__((aligned(4096)));
static int far[MOST], far_count;
static bool held[65536], mapped;

static void *translate(void *arg, uint64_t address, uint64_t size)
{
    (void)arg;
    if (!mapped || address < BASE || address - BASE > MEMORY || size > MEMORY - (address - BASE))
        return NULL;
    return memory + (address - BASE);
}

static int connect_to(void *arg, int *ret_fd)
{
    int pair[2];

    (void)arg;
    if (far_count == MOST || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return VD_ERR_GONE;
    for (int i = 0; i < 2; i++)
        fcntl(pair[i], F_SETFL, O_NONBLOCK);
    far[far_count++] = pair[1];
    *ret_fd = pair[0];
    return 0;
}

static void answer(void *arg, struct vhost_token token, uint32_t written)
{
    (void)arg;
    /* Never one that is not held, or twice. */
    if (!held[token.head] || written > 512)
        abort();
    held[token.head] = false;
}

static const uint32_t types[] = {
    VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
    VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
    VIRTIO_GPU_CMD_RESOURCE_UNREF,
    VIRTIO_GPU_CMD_SET_SCANOUT,
    VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
    VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING,
    VIRTIO_GPU_CMD_GET_CAPSET_INFO,
    VIRTIO_GPU_CMD_GET_CAPSET,
    VIRTIO_GPU_CMD_CTX_CREATE,
    VIRTIO_GPU_CMD_CTX_DESTROY,
    VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE,
    VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE,
    VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
    VIRTIO_GPU_CMD_SUBMIT_3D,
    VIRTIO_GPU_CMD_SUBMIT_3D,
    VIRTIO_GPU_CMD_SUBMIT_3D,
};

/* One step of the guest; what a byte chooses keeps numbers small enough to meet. */
static void step(struct gpu_device *device, struct fuzz_input *input, uint16_t number)
{
    uint8_t what = fuzz_byte(input), bytes[512], reply[512];
    struct virtio_gpu_ctrl_hdr header = {.ctx_id = fuzz_byte(input) % 4u};
    struct pollfd polls[DEVICE_MAX_SESSIONS];
    struct iovec out[2], in = {reply, sizeof(reply)};
    size_t size = fuzz_word(input) % sizeof(bytes);
    unsigned count;
    uint32_t written;
    int timeout;

    switch (what % 32) {
    case 0: /* writes into its memory */
        fuzz_take(input, memory + (size_t)fuzz_byte(input) * 1024, size < 128 ? size : 128);
        return;
    case 1: /* viaductd speaks, or leaves */
        if (far_count && header.ctx_id) {
            fuzz_take(input, bytes, size);
            if (send(far[what / 32 % far_count], bytes, size, MSG_NOSIGNAL) < 0 && errno == EBADF)
                abort();
        } else if (far_count) {
            shutdown(far[what / 32 % far_count], SHUT_RDWR);
        }
        return;
    case 2:
        count = gpu_device_poll(device, polls, &timeout);
        if (count > DEVICE_MAX_SESSIONS || poll(polls, count, 0) < 0)
            abort();
        gpu_device_handle(device, polls, count);
        return;
    case 3:
        if (size % 4)
            gpu_device_answer_all(device);
        else
            gpu_device_reset(device);
        return;
    case 4:
        mapped = header.ctx_id;
        gpu_device_moved(device);
        return;
    default:
        break;
    }
    header.type = what % 32 == 31 ? fuzz_word(input) : types[what % 16];
    header.flags = what >> 5 & VIRTIO_GPU_FLAG_FENCE;
    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, &header, sizeof(header));
    if (size > sizeof(header))
        fuzz_take(input, bytes + sizeof(header), size - sizeof(header));
    out[0] = (struct iovec){bytes, size < 30 ? size : 30};
    out[1] = (struct iovec){bytes + out[0].iov_len, size - out[0].iov_len};
    in.iov_len = what % 64 == 63 ? size : sizeof(reply);
    held[number] = true;
    if (gpu_device_request(device, (struct vhost_token){.head = number}, out, 2, &in, 1, &written))
        answer(NULL, (struct vhost_token){.head = number}, written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct gpu_device_ops ops = {translate, connect_to, answer};
    struct fuzz_input input = {data, size};
    struct gpu_device *device;
    int before = fuzz_descriptors();

    log_set_level(LOG_LEVEL_NONE);
    memset(memory, 0, sizeof(memory));
    memset(held, 0, sizeof(held));
    mapped = true;
    far_count = 0;
    if (gpu_device_create(&ops, NULL, 3, &device))
        abort();
    for (uint16_t i = 0; input.size && i < 4096; i++)
        step(device, &input, i);
    gpu_device_answer_all(device);
    for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
        if (held[i])
            abort();
    }
    gpu_device_destroy(&device);
    for (int i = 0; i < far_count; i++)
        close(far[i]);
    if (fuzz_descriptors() != before)
        abort();
    return 0;
}

static void put_request(struct fuzz_writer *w, uint8_t which, const void *body, uint16_t size)
{
    fuzz_put_byte(w, (uint8_t)(which | 32));
    fuzz_put_byte(w, 1);
    fuzz_put_word(w, (uint16_t)(sizeof(struct virtio_gpu_ctrl_hdr) + size));
    fuzz_put(w, body, size);
}

/* A session that begins, waits and ends, as a guest means it. */
size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {.at = buffer, .room = room};
    struct virtio_gpu_ctx_create context = {.nlen = 0};
    struct virtio_gpu_resource_create_3d resource = {.resource_id = 1};
    struct virtio_gpu_ctx_resource attach = {.resource_id = 1};
    struct {
        uint32_t id, count;
        struct virtio_gpu_mem_entry entry[5];
    } backing = {.id = 1, .count = 5};
    struct {
        uint32_t size, padding;
        struct vd_virtgpu_command command;
    } submit = {
        .size = sizeof(submit.command),
        .command = {.op = VD_VIRTGPU_CMD_OPEN, .resource = 1, .to_host = 8192, .to_guest = 8192},
    };
    const size_t head = sizeof(struct virtio_gpu_ctrl_hdr);

    if (index)
        return 0;
    for (uint32_t i = 0; i < 5; i++)
        backing.entry[i] =
            (struct virtio_gpu_mem_entry){.addr = BASE + (4 - i) * 4096, .length = 4096};
    put_request(&w, 8 + 16, (uint8_t *)&context + head, sizeof(context) - head);
    put_request(&w, 12, (uint8_t *)&resource + head, sizeof(resource) - head);
    put_request(&w, 10, (uint8_t *)&attach + head, sizeof(attach) - head);
    put_request(&w, 4 + 16, &backing, sizeof(backing));
    put_request(&w, 13, &submit, sizeof(submit));
    for (uint32_t op = VD_VIRTGPU_CMD_KICK; op <= VD_VIRTGPU_CMD_CLOSE; op++) {
        submit.command = (struct vd_virtgpu_command){.op = op};
        put_request(&w, 13, &submit, sizeof(submit));
        fuzz_put_byte(&w, 1);
        fuzz_put_byte(&w, 1);
        fuzz_put_word(&w, 16);
        fuzz_put(&w, "0123456789abcdef", 16);
        fuzz_put(&w, "\2\0\0\0", 4);
    }
    return w.used;
}
