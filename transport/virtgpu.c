/* SPDX-License-Identifier: MIT */
#include "virtgpu.h"

#include <drm.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <viaduct/virtgpu.h>
#include <virtgpu_drm.h>
#include <wire/log.h>

/* Render nodes that are looked at. */
#define VIRTGPU_FIRST_NODE 128
#define VIRTGPU_LAST_NODE  143

/* Large enough for a picture on its way, small enough for a process that only asks. */
#define VIRTGPU_TO_HOST  (1u << 20)
#define VIRTGPU_TO_GUEST (4u << 20)
#define VIRTGPU_BYTES    (VD_VIRTGPU_PAGE + VIRTGPU_TO_HOST + VIRTGPU_TO_GUEST)

/* The device answers a wait within SESSION_WAIT_MS; one that does not for so long is gone. */
#define VIRTGPU_DEAD_MS 20000
/* As for sockets (stream.c): how long a receiver looks before it asks to be woken. */
#define VIRTGPU_QUICK_NS 100000
#define VIRTGPU_EAGER_NS 50000

/* virgl's PIPE_BUFFER and R8_UNORM: bytes. The device does not look, kernels may some day. */
#define VIRTGPU_TARGET 0
#define VIRTGPU_FORMAT 64
#define VIRTGPU_BIND   (1u << 17) /* custom */

struct virtgpu_channel {
    struct channel base;
    int fd;      /* the render node, one context */
    pid_t owner; /* a child of its has neither the window nor a say */
    int stop;    /* readable once shut was called */
    uint8_t *window;
    struct vd_virtgpu_page *page;
    uint32_t sent; /* sender's thread */
    uint32_t read; /* receiver's thread */
    bool eager;    /* the last bytes came quickly; receiver's thread */
    bool shut;
};

static int real_open(const char *path, int flags)
{
    return open(path, flags);
}

static int real_ioctl(int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}

static const struct virtgpu_drm virtgpu_real = {real_open, real_ioctl, mmap, close};
static const struct virtgpu_drm *drm = &virtgpu_real;

void virtgpu_set_drm(const struct virtgpu_drm *other)
{
    drm = other ? other : &virtgpu_real;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* As drmIoctl: signals and a busy kernel are no errors. */
static int ask(int fd, unsigned long request, void *arg)
{
    int result;

    do {
        result = drm->ioctl(fd, request, arg);
    } while (result < 0 && (errno == EINTR || errno == EAGAIN));
    return result;
}

/* A render node of the virtio_gpu driver whose device is viaduct-gpu's. */
static bool is_ours(int fd)
{
    struct vd_virtgpu_caps caps = {0};
    uint64_t three_d = 0;
    char name[16] = "";
    struct drm_version version = {.name = name, .name_len = sizeof(name) - 1};
    struct drm_virtgpu_getparam param = {
        .param = VIRTGPU_PARAM_3D_FEATURES,
        .value = (uintptr_t)&three_d,
    };
    struct drm_virtgpu_get_caps get = {
        .cap_set_id = VD_VIRTGPU_CAPSET,
        .cap_set_ver = VD_VIRTGPU_VERSION,
        .addr = (uintptr_t)&caps,
        .size = sizeof(caps),
    };

    /* The kernel writes a number of 32 bits there. */
    if (ask(fd, DRM_IOCTL_VERSION, &version) || strcmp(name, "virtio_gpu") != 0 ||
        ask(fd, DRM_IOCTL_VIRTGPU_GETPARAM, &param) || !three_d ||
        ask(fd, DRM_IOCTL_VIRTGPU_GET_CAPS, &get) || caps.magic != VD_VIRTGPU_MAGIC)
        return false;
    if (caps.version != VD_VIRTGPU_VERSION || caps.max_ring < VIRTGPU_TO_GUEST) {
        log_warn("the host's viaduct-gpu does not go with this driver: version %u with rings of %u "
                 "bytes, wanted are %u and %u",
                 caps.version, caps.max_ring, VD_VIRTGPU_VERSION, VIRTGPU_TO_GUEST);
        return false;
    }
    return true;
}

/* Opening another driver's node may wake a GPU. Without sysfs nobody knows: false. */
static bool is_other(int node)
{
    char path[64], driver[256];
    const char *base;
    ssize_t n;

    snprintf(path, sizeof(path), "/sys/class/drm/renderD%d/device/driver", node);
    n = drm == &virtgpu_real ? readlink(path, driver, sizeof(driver) - 1) : -1;
    if (n < 0)
        return false;
    driver[n] = 0;
    base = strrchr(driver, '/');
    /* virtio_gpu, or that of the bus that it is on: virtio-pci, virtio-mmio. */
    return strncmp(base ? base + 1 : driver, "virtio", 6) != 0;
}

bool virtgpu_find(char *path, size_t room)
{
    for (int node = VIRTGPU_FIRST_NODE; node <= VIRTGPU_LAST_NODE; node++) {
        bool found;
        int fd;

        if (snprintf(path, room, "/dev/dri/renderD%d", node) >= (int)room)
            return false;
        fd = is_other(node) ? -1 : drm->open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            continue;
        found = is_ours(fd);
        drm->close(fd);
        if (found)
            return true;
    }
    return false;
}

/* Sends a command; with ret_fence a descriptor that is readable when it is answered. */
static int execute(int fd, struct vd_virtgpu_command *command, int *ret_fence)
{
    struct drm_virtgpu_execbuffer exec = {
        .flags = ret_fence ? VIRTGPU_EXECBUF_FENCE_FD_OUT : 0,
        .size = sizeof(*command),
        .command = (uintptr_t)command,
        .fence_fd = -1,
    };

    if (ask(fd, DRM_IOCTL_VIRTGPU_EXECBUFFER, &exec))
        return errno == ENOMEM ? VD_ERR_MEMORY : VD_ERR_GONE;
    if (ret_fence)
        *ret_fence = exec.fence_fd;
    return 0;
}

static int wait_for(struct pollfd *polls, nfds_t count, int timeout_ms)
{
    int n;

    do {
        n = poll(polls, count, timeout_ms);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? VD_ERR_IO : n ? 0 : VD_ERR_TIMEOUT;
}

static bool is_shut(const struct virtgpu_channel *self)
{
    return __atomic_load_n(&self->shut, __ATOMIC_ACQUIRE);
}

static uint32_t state_of(const struct virtgpu_channel *self)
{
    return __atomic_load_n(&self->page->state, __ATOMIC_ACQUIRE);
}

static int kick(struct virtgpu_channel *self)
{
    struct vd_virtgpu_command command = {.op = VD_VIRTGPU_CMD_KICK};

    return execute(self->fd, &command, NULL);
}

/* Waits until the host has changed that counter, or for no reason. `timeout_ms` -1: no limit. */
static int wait_host(struct virtgpu_channel *self, enum vd_virtgpu_wait kind, uint32_t seen,
                     int timeout_ms)
{
    struct vd_virtgpu_command command = {
        .op = VD_VIRTGPU_CMD_WAIT,
        .wait = kind,
        .seen = seen,
    };
    struct pollfd polls[2] = {{.events = POLLIN}, {.fd = self->stop, .events = POLLIN}};
    bool bounded = timeout_ms >= 0 && timeout_ms < VIRTGPU_DEAD_MS;
    int err = execute(self->fd, &command, &polls[0].fd);

    if (err)
        return err;
    err = wait_for(polls, 2, bounded ? timeout_ms : VIRTGPU_DEAD_MS);
    close(polls[0].fd);
    if (!err && polls[1].revents)
        return VD_ERR_GONE;
    return err == VD_ERR_TIMEOUT && !bounded ? VD_ERR_GONE : err;
}

static int left_ms(int timeout_ms, uint64_t start)
{
    uint64_t passed = (now_ns() - start) / 1000000u;

    if (timeout_ms < 0)
        return -1;
    return passed < (uint64_t)timeout_ms ? timeout_ms - (int)passed : 0;
}

static void copy_in(struct virtgpu_channel *self, const uint8_t *bytes, uint32_t size)
{
    uint8_t *ring = self->window + VD_VIRTGPU_PAGE;
    uint32_t at = self->sent & (VIRTGPU_TO_HOST - 1);
    uint32_t first = size < VIRTGPU_TO_HOST - at ? size : VIRTGPU_TO_HOST - at;

    memcpy(ring + at, bytes, first);
    memcpy(ring, bytes + first, size - first);
    self->sent += size;
}

/* Makes what was put in visible, and wakes the host if it does not look. */
static int publish(struct virtgpu_channel *self)
{
    __atomic_store_n(&self->page->sent, self->sent, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&self->page->host_sleeps, __ATOMIC_SEQ_CST) ? kick(self) : 0;
}

static int virtgpu_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                        int timeout_ms)
{
    struct virtgpu_channel *self = (struct virtgpu_channel *)channel;
    uint64_t start = now_ns();

    if (fd >= 0)
        return VD_ERR_UNSUPPORTED;
    for (int i = 0; i < count; i++) {
        const uint8_t *bytes = iov[i].iov_base;
        size_t size = iov[i].iov_len;

        while (size) {
            uint32_t taken = __atomic_load_n(&self->page->taken, __ATOMIC_ACQUIRE);
            uint32_t room = VIRTGPU_TO_HOST - (self->sent - taken);
            int err = 0;

            if (room > VIRTGPU_TO_HOST)
                return VD_ERR_PROTOCOL;
            if (is_shut(self) || state_of(self) != VD_VIRTGPU_OPEN)
                return VD_ERR_GONE;
            if (room) {
                uint32_t n = size < room ? (uint32_t)size : room;

                copy_in(self, bytes, n);
                bytes += n;
                size -= n;
                continue;
            }
            err = publish(self);
            if (!err && timeout_ms >= 0 && !left_ms(timeout_ms, start))
                err = VD_ERR_TIMEOUT;
            if (!err)
                err = wait_host(self, VD_VIRTGPU_FOR_ROOM, taken, left_ms(timeout_ms, start));
            if (err)
                return err;
        }
    }
    return publish(self);
}

/* Takes what there is; 0 bytes: nothing. */
static int take(struct virtgpu_channel *self, void *bytes, size_t room, size_t *ret_size)
{
    const uint8_t *ring = self->window + VD_VIRTGPU_PAGE + VIRTGPU_TO_HOST;
    uint32_t have = __atomic_load_n(&self->page->filled, __ATOMIC_ACQUIRE) - self->read;
    uint32_t at = self->read & (VIRTGPU_TO_GUEST - 1), size, first;

    if (have > VIRTGPU_TO_GUEST)
        return VD_ERR_PROTOCOL;
    size = have < room ? have : (uint32_t)room;
    *ret_size = size;
    if (!size)
        return 0;
    first = size < VIRTGPU_TO_GUEST - at ? size : VIRTGPU_TO_GUEST - at;
    memcpy(bytes, ring + at, first);
    memcpy((uint8_t *)bytes + first, ring, size - first);
    self->read += size;
    __atomic_store_n(&self->page->read, self->read, __ATOMIC_SEQ_CST);
    /* The last bytes of a closed session need no room behind them. */
    if (have - size <= VIRTGPU_TO_GUEST / 2 &&
        __atomic_load_n(&self->page->host_full, __ATOMIC_SEQ_CST) &&
        state_of(self) == VD_VIRTGPU_OPEN)
        return kick(self);
    return 0;
}

static int virtgpu_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size,
                        int *ret_fd, int timeout_ms)
{
    struct virtgpu_channel *self = (struct virtgpu_channel *)channel;
    uint64_t start = now_ns();
    bool look = self->eager && timeout_ms < 0;

    for (;;) {
        /* In this order: what was sent before the end is read. */
        bool open = state_of(self) == VD_VIRTGPU_OPEN;
        size_t size;
        int err = take(self, bytes, room, &size);

        if (err)
            return err;
        if (size) {
            *ret_size = size;
            *ret_fd = -1;
            self->eager = now_ns() - start < VIRTGPU_QUICK_NS;
            return 0;
        }
        if (!open || is_shut(self))
            return VD_ERR_GONE;
        if (look) {
            look = now_ns() - start < VIRTGPU_EAGER_NS;
            /* The host may be waiting for this very core. */
            sched_yield();
            continue;
        }
        if (timeout_ms >= 0 && !left_ms(timeout_ms, start))
            return VD_ERR_TIMEOUT;
        err = wait_host(self, VD_VIRTGPU_FOR_DATA, self->read, left_ms(timeout_ms, start));
        if (err)
            return err;
    }
}

static bool virtgpu_alive(struct channel *channel)
{
    struct virtgpu_channel *self = (struct virtgpu_channel *)channel;

    return !is_shut(self) && state_of(self) == VD_VIRTGPU_OPEN;
}

static void virtgpu_shut(struct channel *channel)
{
    struct virtgpu_channel *self = (struct virtgpu_channel *)channel;
    struct vd_virtgpu_command command = {.op = VD_VIRTGPU_CMD_CLOSE};
    uint64_t one = 1;

    if (__atomic_exchange_n(&self->shut, true, __ATOMIC_ACQ_REL))
        return;
    if (write(self->stop, &one, sizeof(one)) < 0)
        return;
    /* If it fails, the device is gone already. */
    execute(self->fd, &command, NULL);
}

static void virtgpu_destroy(struct channel *channel)
{
    struct virtgpu_channel *self = (struct virtgpu_channel *)channel;

    if (self->window && self->owner == getpid()) {
        /* A child may hold the node open: the session must not last as long as that. */
        if (state_of(self) == VD_VIRTGPU_OPEN)
            virtgpu_shut(channel);
        munmap(self->window, VIRTGPU_BYTES);
    }
    if (self->stop >= 0)
        close(self->stop);
    if (self->fd >= 0)
        drm->close(self->fd);
    free(self);
}

static void drop_object(int fd, uint32_t handle)
{
    struct drm_gem_close closing = {.handle = handle};

    ask(fd, DRM_IOCTL_GEM_CLOSE, &closing);
}

/* A memory object of `size` bytes, and where the node's file has it. */
static int make_object(int fd, uint64_t size, struct drm_virtgpu_resource_create *ret_object,
                       uint64_t *ret_offset)
{
    struct drm_virtgpu_map map = {0};

    *ret_object = (struct drm_virtgpu_resource_create){
        .target = VIRTGPU_TARGET,
        .format = VIRTGPU_FORMAT,
        .bind = VIRTGPU_BIND,
        .width = (uint32_t)size,
        .height = 1,
        .depth = 1,
        .array_size = 1,
        .size = (uint32_t)size,
    };
    if (size > UINT32_MAX || ask(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE, ret_object))
        return VD_ERR_MEMORY;
    map.handle = ret_object->bo_handle;
    if (ask(fd, DRM_IOCTL_VIRTGPU_MAP, &map)) {
        drop_object(fd, ret_object->bo_handle);
        return VD_ERR_MEMORY;
    }
    *ret_offset = map.offset;
    return 0;
}

/* Makes and maps the window. Its resource goes with the node. */
static int make_window(struct virtgpu_channel *self, uint32_t *ret_resource)
{
    struct drm_virtgpu_resource_create object;
    uint64_t offset;
    void *window;
    int err = make_object(self->fd, VIRTGPU_BYTES, &object, &offset);

    if (err)
        return err;
    window =
        drm->mmap(NULL, VIRTGPU_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, (off_t)offset);
    if (window == MAP_FAILED)
        return VD_ERR_MEMORY;
    /* A forked child has no part in it. */
    madvise(window, VIRTGPU_BYTES, MADV_DONTFORK);
    self->window = window;
    self->page = window;
    *ret_resource = object.res_handle;
    return 0;
}

static int virtgpu_share(struct channel *channel, void *at, uint64_t size, int *ret_fd)
{
    struct virtgpu_channel *self = (struct virtgpu_channel *)channel;
    struct drm_virtgpu_resource_create object;
    struct drm_prime_handle prime = {.flags = DRM_CLOEXEC | DRM_RDWR, .fd = -1};
    const int prot = PROT_READ | PROT_WRITE;
    void *view = MAP_FAILED;
    uint64_t offset;
    int err = make_object(self->fd, size, &object, &offset);

    if (err)
        return err;
    err = VD_ERR_UNSUPPORTED;
    prime.handle = object.bo_handle;
    if (ask(self->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime))
        goto out;
    err = VD_ERR_MEMORY;
    view = drm->mmap(NULL, size, prot, MAP_SHARED, self->fd, (off_t)offset);
    if (view == MAP_FAILED)
        goto out;
    memcpy(view, at, size);
    if (drm->mmap(at, size, prot, MAP_SHARED | MAP_FIXED, self->fd, (off_t)offset) == MAP_FAILED)
        goto out;
    madvise(at, size, MADV_DONTFORK);
    *ret_fd = prime.fd;
    prime.fd = -1;
    err = 0;
out:
    if (view != MAP_FAILED)
        munmap(view, size);
    if (prime.fd >= 0)
        close(prime.fd);
    /* Mappings and the descriptor keep it. */
    drop_object(self->fd, object.bo_handle);
    return err;
}

static int open_window(struct virtgpu_channel *self, uint32_t resource)
{
    struct vd_virtgpu_command command = {
        .op = VD_VIRTGPU_CMD_OPEN,
        .resource = resource,
        .to_host = VIRTGPU_TO_HOST,
        .to_guest = VIRTGPU_TO_GUEST,
    };
    struct pollfd p = {.events = POLLIN};
    int err = execute(self->fd, &command, &p.fd);

    if (err)
        return err;
    /* A later command's fence may stand for this one's; the device takes them in order. */
    err = wait_for(&p, 1, VIRTGPU_DEAD_MS);
    close(p.fd);
    if (err || state_of(self) == VD_VIRTGPU_OPEN)
        return err;
    /* It has answered, and what it says is not in this memory. */
    if (state_of(self) == VD_VIRTGPU_NEW) {
        log_warn("the host's viaduct-gpu does not take this machine's memory; its log says why");
        return VD_ERR_PROTOCOL;
    }
    err = errors_from_wire(self->page->error);
    return err ? err : VD_ERR_GONE;
}

static int virtgpu_connect(const char *address, struct channel **ret_channel)
{
    struct virtgpu_channel *self;
    uint32_t resource = 0;
    int err = VD_ERR_MEMORY;

    if (!*address)
        return VD_ERR_PARAMETER;
    self = calloc(1, sizeof(*self));
    if (!self)
        return VD_ERR_MEMORY;
    self->base.ops = &virtgpu_ops;
    self->owner = getpid();
    self->fd = drm->open(address, O_RDWR | O_CLOEXEC);
    self->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->stop < 0)
        goto fail;
    err = VD_ERR_GONE;
    if (self->fd < 0 || !is_ours(self->fd))
        goto fail;
    err = make_window(self, &resource);
    if (!err)
        err = open_window(self, resource);
    if (err)
        goto fail;
    *ret_channel = &self->base;
    return 0;
fail:
    virtgpu_destroy(&self->base);
    return err;
}

const struct channel_ops virtgpu_ops = {
    .scheme = "virtgpu",
    .send = virtgpu_send,
    .recv = virtgpu_recv,
    .alive = virtgpu_alive,
    .shut = virtgpu_shut,
    .destroy = virtgpu_destroy,
    .share = virtgpu_share,
    .connect = virtgpu_connect,
};
