/* SPDX-License-Identifier: MIT */
#include "virtgpu_loop.h"

#include <drm.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_gpu.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <transport/virtgpu.h>
#include <transport/vm.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <viaduct/virtgpu.h>
#include <virtgpu_drm.h>

#include <gpu/device.h>

#define LOOP_PAGE    4096u
#define LOOP_PAGES   (128u << 8) /* 128 MiB */
#define LOOP_BASE    0x100000000ull
#define LOOP_FILES   128
#define LOOP_OBJECTS 256
#define LOOP_ENDS    64

/* Fences and requests that the device holds. */
struct loop_request {
    struct loop_request *next;
    uint64_t fence; /* number, 0: none */
    uint32_t flags, context;
    uint32_t size;
    uint8_t bytes[256];
    uint8_t *tail; /* entries of a request for backing, NULL: none */
    uint32_t tail_size;
    uint8_t answer[512];
    struct iovec out[2], in;
    int event;        /* signalled when answered, -1: nobody asked */
    bool done, waits; /* waits: its sender waits and frees it */
};

struct loop_object {
    uint32_t handle; /* its number at the device, too; 0: free */
    int file;
    uint32_t pages;
    uint32_t *page;
    bool passed_on;
};

static struct {
    struct loop_options options;
    struct gpu_device *device;
    pthread_t thread;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t done;
    bool quit, pause, move, moved;
    int memory, wake;
    uint8_t *base;
    struct loop_request *first, **last; /* not taken by the device yet */
    struct loop_request *held[256];
    uint64_t fence;
    uint32_t next_handle, next_context, next_page;
    bool *used;
    struct loop_object objects[LOOP_OBJECTS];
    int files[LOOP_FILES];
    uint32_t contexts[LOOP_FILES];
    int ends[LOOP_ENDS], end_count;
    unsigned sessions, commands;
} l;

static void poke(void)
{
    uint64_t one = 1;

    if (write(l.wake, &one, sizeof(one)) != sizeof(one))
        abort();
}

static void signal_event(struct loop_request *r)
{
    uint64_t one = 1;

    if (r->event >= 0 && write(r->event, &one, sizeof(one)) != sizeof(one))
        abort();
    if (r->event >= 0)
        close(r->event);
    r->event = -1;
}

static void finish(struct loop_request *r)
{
    if (r->fence && l.options.one_time_line) {
        for (size_t i = 0; i < 256; i++) {
            if (l.held[i] && l.held[i]->fence < r->fence)
                signal_event(l.held[i]);
        }
    }
    signal_event(r);
    free(r->tail);
    r->tail = NULL;
    r->done = true;
    if (r->waits)
        pthread_cond_broadcast(&l.done);
    else
        free(r);
}

static void *loop_translate(void *arg, uint64_t address, uint64_t size)
{
    uint64_t room = (uint64_t)LOOP_PAGES * LOOP_PAGE;

    (void)arg;
    if (address < LOOP_BASE || address - LOOP_BASE > room || size > room - (address - LOOP_BASE))
        return NULL;
    return l.base + (address - LOOP_BASE);
}

static int loop_connect(void *arg, int *ret_fd)
{
    int pair[2];

    (void)arg;
    if (l.options.socket)
        return vm_dial(l.options.socket, "loop", ret_fd);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return VD_ERR_LIMIT;
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    pthread_mutex_lock(&l.lock);
    l.ends[l.end_count++] = pair[1];
    pthread_cond_broadcast(&l.done);
    pthread_mutex_unlock(&l.lock);
    *ret_fd = pair[0];
    return 0;
}

static void loop_answer(void *arg, struct vhost_token token, uint32_t written)
{
    struct loop_request *r;

    (void)arg, (void)written;
    pthread_mutex_lock(&l.lock);
    r = l.held[token.head];
    l.held[token.head] = NULL;
    finish(r);
    pthread_mutex_unlock(&l.lock);
}

static const struct gpu_device_ops loop_ops = {loop_translate, loop_connect, loop_answer};

static uint8_t *map_memory(void)
{
    uint8_t *base =
        mmap(NULL, (size_t)LOOP_PAGES * LOOP_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, l.memory, 0);

    if (base == MAP_FAILED)
        abort();
    return base;
}

/* The next request; the device's thread. */
static struct loop_request *take(struct vhost_token *ret_token)
{
    struct loop_request *r = NULL;

    pthread_mutex_lock(&l.lock);
    for (uint16_t i = 0; l.first && i < 256; i++) {
        if (l.held[i])
            continue;
        r = l.first;
        l.first = r->next;
        if (!l.first)
            l.last = &l.first;
        l.held[i] = r;
        ret_token->head = i;
        break;
    }
    pthread_mutex_unlock(&l.lock);
    return r;
}

static void *loop_run(void *arg)
{
    struct pollfd polls[1 + DEVICE_MAX_SESSIONS];
    uint64_t count;

    (void)arg;
    for (;;) {
        struct vhost_token token = {0};
        struct loop_request *r;
        bool quit, pause, move;
        unsigned sessions;
        int timeout;

        sessions = gpu_device_poll(l.device, polls + 1, &timeout);
        pthread_mutex_lock(&l.lock);
        l.sessions = sessions;
        pthread_mutex_unlock(&l.lock);
        polls[0] = (struct pollfd){.fd = l.wake, .events = POLLIN};
        if (poll(polls, 1 + sessions, timeout) < 0 && errno != EINTR)
            abort();
        if (polls[0].revents && read(l.wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
            abort();
        gpu_device_handle(l.device, polls + 1, sessions);
        while ((r = take(&token))) {
            uint32_t written;

            if (gpu_device_request(l.device, token, r->out, r->tail ? 2 : 1, &r->in, 1, &written))
                loop_answer(NULL, token, written);
        }
        pthread_mutex_lock(&l.lock);
        quit = l.quit;
        pause = l.pause;
        move = l.move;
        l.pause = l.move = false;
        pthread_mutex_unlock(&l.lock);
        if (pause)
            gpu_device_answer_all(l.device);
        if (move) {
            uint8_t *old = l.base;

            l.base = map_memory();
            munmap(old, (size_t)LOOP_PAGES * LOOP_PAGE);
            gpu_device_moved(l.device);
        }
        if (pause || move) {
            pthread_mutex_lock(&l.lock);
            l.moved = true;
            pthread_cond_broadcast(&l.done);
            pthread_mutex_unlock(&l.lock);
        }
        if (quit)
            return NULL;
    }
}

/* Queues a request. `wait`: until it is answered; the answer goes to `answer`. */
static int request(uint32_t type, uint32_t context, const void *fixed, uint32_t size, void *tail,
                   uint32_t tail_size, bool fence, int event, void *answer, uint32_t answer_size)
{
    struct loop_request *r = calloc(1, sizeof(*r));
    struct virtio_gpu_ctrl_hdr header = {.type = type, .ctx_id = context}, got;

    if (!r || size > sizeof(r->bytes))
        abort();
    pthread_mutex_lock(&l.lock);
    r->fence = fence ? ++l.fence : 0;
    header.flags = fence ? VIRTIO_GPU_FLAG_FENCE : 0;
    header.fence_id = r->fence;
    memcpy(r->bytes, fixed, size);
    memcpy(r->bytes, &header, sizeof(header));
    r->tail = tail;
    r->out[0] = (struct iovec){r->bytes, size};
    r->out[1] = (struct iovec){tail, tail_size};
    r->in = (struct iovec){r->answer, sizeof(r->answer)};
    r->event = event;
    r->waits = answer != NULL;
    *l.last = r;
    l.last = &r->next;
    poke();
    if (!answer) {
        pthread_mutex_unlock(&l.lock);
        return 0;
    }
    while (!r->done)
        pthread_cond_wait(&l.done, &l.lock);
    pthread_mutex_unlock(&l.lock);
    memcpy(&got, r->answer, sizeof(got));
    memcpy(answer, r->answer, answer_size);
    free(r);
    return got.type >= VIRTIO_GPU_RESP_ERR_UNSPEC ? -1 : 0;
}

static void context_request(uint32_t type, uint32_t context, uint32_t resource)
{
    struct virtio_gpu_ctx_resource cmd = {.resource_id = resource};

    request(type, context, &cmd, sizeof(cmd), NULL, 0, false, -1, NULL, 0);
}

static int slot_of(int file)
{
    for (int i = 0; i < LOOP_FILES; i++) {
        if (l.files[i] == file)
            return i;
    }
    return -1;
}

static int loop_open(const char *path, int flags)
{
    int fd, slot;

    (void)flags;
    if (strcmp(path, "/dev/dri/renderD128") != 0) {
        errno = ENOENT;
        return -1;
    }
    fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_lock(&l.lock);
    slot = slot_of(-1);
    if (fd < 0 || slot < 0)
        abort();
    l.files[slot] = fd;
    l.contexts[slot] = 0;
    pthread_mutex_unlock(&l.lock);
    return fd;
}

/* As the kernel: when the first command or object comes. */
static uint32_t context_of(int file)
{
    struct virtio_gpu_ctx_create cmd = {.nlen = 0};
    uint32_t context;
    bool made = false;
    int slot;

    pthread_mutex_lock(&l.lock);
    slot = slot_of(file);
    if (slot < 0)
        abort();
    if (!l.contexts[slot]) {
        l.contexts[slot] = ++l.next_context;
        made = true;
    }
    context = l.contexts[slot];
    pthread_mutex_unlock(&l.lock);
    if (made)
        request(VIRTIO_GPU_CMD_CTX_CREATE, context, &cmd, sizeof(cmd), NULL, 0, false, -1, NULL, 0);
    return context;
}

static void unref(struct loop_object *object)
{
    struct virtio_gpu_resource_unref cmd = {.resource_id = object->handle};
    struct virtio_gpu_ctrl_hdr answer;

    request(VIRTIO_GPU_CMD_RESOURCE_UNREF, 0, &cmd, sizeof(cmd), NULL, 0, false, -1, &answer,
            sizeof(answer));
    pthread_mutex_lock(&l.lock);
    for (uint32_t i = 0; i < object->pages; i++)
        l.used[object->page[i]] = false;
    free(object->page);
    memset(object, 0, sizeof(*object));
    pthread_mutex_unlock(&l.lock);
}

static int loop_close(int file)
{
    uint32_t context;
    int slot;

    pthread_mutex_lock(&l.lock);
    slot = slot_of(file);
    if (slot < 0)
        abort();
    context = l.contexts[slot];
    pthread_mutex_unlock(&l.lock);
    for (size_t i = 0; i < LOOP_OBJECTS; i++) {
        if (l.objects[i].handle && l.objects[i].file == file && !l.objects[i].passed_on)
            unref(&l.objects[i]);
    }
    if (context) {
        struct virtio_gpu_ctx_destroy cmd = {{0}};

        request(VIRTIO_GPU_CMD_CTX_DESTROY, context, &cmd, sizeof(cmd), NULL, 0, false, -1, NULL,
                0);
    }
    pthread_mutex_lock(&l.lock);
    l.files[slot] = -1;
    pthread_mutex_unlock(&l.lock);
    return close(file);
}

static int get_version(struct drm_version *version)
{
    const char *name = l.options.foreign ? "other" : "virtio_gpu";

    strncpy(version->name, name, version->name_len);
    version->name_len = strlen(name);
    return 0;
}

static int get_caps(const struct drm_virtgpu_get_caps *get)
{
    struct {
        struct virtio_gpu_ctrl_hdr header;
        uint8_t caps[64];
    } answer;
    struct virtio_gpu_get_capset cmd = {
        .capset_id = get->cap_set_id,
        .capset_version = get->cap_set_ver,
    };

    if (l.options.no_caps || request(VIRTIO_GPU_CMD_GET_CAPSET, 0, &cmd, sizeof(cmd), NULL, 0,
                                     false, -1, &answer, sizeof(answer))) {
        errno = EINVAL;
        return -1;
    }
    if (l.options.small_rings)
        answer.caps[offsetof(struct vd_virtgpu_caps, max_ring) + 3] = 0;
    memcpy((void *)(uintptr_t)get->addr, answer.caps, get->size);
    return 0;
}

static int create_object(int file, struct drm_virtgpu_resource_create *create)
{
    uint32_t context = context_of(file),
             pages = (create->size + LOOP_PAGE - 1) / LOOP_PAGE - l.options.short_object;
    struct virtio_gpu_resource_create_3d make = {.width = create->width};
    struct virtio_gpu_resource_attach_backing back = {.nr_entries = pages};
    struct virtio_gpu_mem_entry *entries = calloc(pages, sizeof(*entries));
    struct loop_object *object = NULL;

    if (l.options.no_memory || !entries) {
        free(entries);
        errno = ENOMEM;
        return -1;
    }
    pthread_mutex_lock(&l.lock);
    for (size_t i = 0; i < LOOP_OBJECTS && !object; i++)
        object = l.objects[i].handle ? NULL : &l.objects[i];
    if (!object)
        abort();
    object->handle = ++l.next_handle;
    object->file = file;
    object->pages = pages;
    object->page = calloc(pages, sizeof(object->page[0]));
    for (uint32_t i = 0; i < pages; i++) {
        /* Some neighbours stay together. */
        do
            l.next_page = i % 5 ? (l.next_page + 1) % LOOP_PAGES
                                : (l.next_page * 25173u + 13849u) % LOOP_PAGES;
        while (l.used[l.next_page]);
        l.used[l.next_page] = true;
        object->page[i] = l.next_page;
        memset(l.base + (size_t)l.next_page * LOOP_PAGE, 0, LOOP_PAGE);
        entries[i] = (struct virtio_gpu_mem_entry){
            .addr = LOOP_BASE + (uint64_t)l.next_page * LOOP_PAGE,
            .length = LOOP_PAGE,
        };
    }
    create->bo_handle = create->res_handle = object->handle;
    make.resource_id = back.resource_id = object->handle;
    pthread_mutex_unlock(&l.lock);
    if (l.options.no_object) {
        free(entries);
        return 0;
    }
    back.nr_entries -= l.options.short_pages;
    pages = back.nr_entries;
    request(VIRTIO_GPU_CMD_RESOURCE_CREATE_3D, context, &make, sizeof(make), NULL, 0, false, -1,
            NULL, 0);
    context_request(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, context, create->res_handle);
    request(VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, context, &back, sizeof(back), entries,
            pages * (uint32_t)sizeof(*entries), true, -1, NULL, 0);
    return 0;
}

static int execute(int file, struct drm_virtgpu_execbuffer *exec)
{
    struct {
        struct virtio_gpu_cmd_submit submit;
        uint8_t bytes[128];
    } cmd = {.submit = {.size = exec->size}};
    bool wanted = exec->flags & VIRTGPU_EXECBUF_FENCE_FD_OUT;
    int event = -1;

    if (exec->size > sizeof(cmd.bytes)) {
        errno = EINVAL;
        return -1;
    }
    memcpy(cmd.bytes, (const void *)(uintptr_t)exec->command, exec->size);
    if (wanted) {
        exec->fence_fd = eventfd(0, EFD_CLOEXEC);
        event = fcntl(exec->fence_fd, F_DUPFD_CLOEXEC, 0);
    }
    pthread_mutex_lock(&l.lock);
    l.commands++;
    pthread_mutex_unlock(&l.lock);
    return request(VIRTIO_GPU_CMD_SUBMIT_3D, context_of(file), &cmd,
                   (uint32_t)sizeof(cmd.submit) + exec->size, NULL, 0,
                   wanted || l.options.one_time_line, event, NULL, 0);
}

/* A descriptor in which the object's number stands: loop_peek knows it. */
static int pass_on(struct drm_prime_handle *prime)
{
    prime->fd = memfd_create("object", MFD_CLOEXEC);
    if (prime->fd < 0 ||
        write(prime->fd, &prime->handle, sizeof(prime->handle)) != sizeof(prime->handle))
        return -1;
    for (size_t i = 0; i < LOOP_OBJECTS; i++) {
        if (l.objects[i].handle == prime->handle)
            l.objects[i].passed_on = true;
    }
    return 0;
}

/* What was passed on or is mapped lives on, and its pages are not used again here. */
static int drop(const struct drm_gem_close *gone)
{
    for (size_t i = 0; i < LOOP_OBJECTS; i++) {
        if (l.objects[i].handle == gone->handle && !l.objects[i].passed_on)
            unref(&l.objects[i]);
    }
    return 0;
}

void loop_peek(int fd, size_t offset, void *bytes, size_t size)
{
    uint32_t handle = 0;

    if (pread(fd, &handle, sizeof(handle), 0) != sizeof(handle))
        abort();
    for (size_t i = 0; i < LOOP_OBJECTS; i++) {
        const struct loop_object *o = &l.objects[i];

        for (size_t j = offset; o->handle == handle && j < offset + size; j++)
            ((uint8_t *)bytes)[j - offset] =
                l.base[(size_t)o->page[j / LOOP_PAGE] * LOOP_PAGE + j % LOOP_PAGE];
    }
}

unsigned loop_objects(void)
{
    unsigned n = 0;

    for (size_t i = 0; i < LOOP_OBJECTS; i++)
        n += l.objects[i].handle != 0;
    return n;
}

static int loop_ioctl(int file, unsigned long what, void *arg)
{
    switch (what) {
    case DRM_IOCTL_VERSION:
        return get_version(arg);
    case DRM_IOCTL_VIRTGPU_GETPARAM: {
        int value = !l.options.no_3d;

        memcpy((void *)(uintptr_t)((struct drm_virtgpu_getparam *)arg)->value, &value,
               sizeof(value));
        return 0;
    }
    case DRM_IOCTL_VIRTGPU_GET_CAPS:
        return get_caps(arg);
    case DRM_IOCTL_VIRTGPU_RESOURCE_CREATE:
        return create_object(file, arg);
    case DRM_IOCTL_VIRTGPU_MAP: {
        struct drm_virtgpu_map *map = arg;

        map->offset = (uint64_t)map->handle << 32;
        return 0;
    }
    case DRM_IOCTL_PRIME_HANDLE_TO_FD:
        return pass_on(arg);
    case DRM_IOCTL_GEM_CLOSE:
        return drop(arg);
    case DRM_IOCTL_VIRTGPU_EXECBUFFER:
        return execute(file, arg);
    default:
        errno = EINVAL;
        return -1;
    }
}

static void *loop_mmap(void *at, size_t size, int prot, int flags, int file, off_t offset)
{
    uint32_t handle = (uint32_t)((uint64_t)offset >> 32);
    uint8_t *base;

    (void)file;
    /* As drm_gem_mmap does. */
    for (size_t i = 0; i < LOOP_OBJECTS; i++) {
        if (l.objects[i].handle == handle && (size_t)l.objects[i].pages * LOOP_PAGE < size) {
            errno = EINVAL;
            return MAP_FAILED;
        }
    }
    base = mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | (flags & MAP_FIXED), -1, 0);
    for (size_t i = 0; base != MAP_FAILED && i < LOOP_OBJECTS; i++) {
        const struct loop_object *object = &l.objects[i];

        if (object->handle != handle)
            continue;
        for (uint32_t j = 0; j < object->pages && (size_t)j * LOOP_PAGE < size; j++) {
            if (mmap(base + (size_t)j * LOOP_PAGE, LOOP_PAGE, prot, MAP_SHARED | MAP_FIXED,
                     l.memory, (off_t)object->page[j] * LOOP_PAGE) == MAP_FAILED)
                abort();
        }
    }
    return base;
}

static const struct virtgpu_drm loop_drm = {loop_open, loop_ioctl, loop_mmap, loop_close};

int loop_start(const struct loop_options *options)
{
    memset(&l, 0, sizeof(l));
    l.options = *options;
    l.last = &l.first;
    for (int i = 0; i < LOOP_FILES; i++)
        l.files[i] = -1;
    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.done, NULL);
    l.memory = memfd_create("guest", MFD_CLOEXEC);
    l.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l.used = calloc(LOOP_PAGES, sizeof(l.used[0]));
    if (l.memory < 0 || l.wake < 0 || !l.used ||
        ftruncate(l.memory, (off_t)LOOP_PAGES * LOOP_PAGE) < 0)
        return -1;
    l.base = map_memory();
    if (gpu_device_create(&loop_ops, NULL, options->max_sessions ? options->max_sessions : 64,
                          &l.device))
        return -1;
    return pthread_create(&l.thread, NULL, loop_run, NULL) ? -1 : 0;
}

void loop_stop(void)
{
    virtgpu_set_drm(NULL);
    pthread_mutex_lock(&l.lock);
    l.quit = true;
    poke();
    pthread_mutex_unlock(&l.lock);
    pthread_join(l.thread, NULL);
    gpu_device_destroy(&l.device);
    for (size_t i = 0; i < 256; i++) {
        if (l.held[i]) {
            signal_event(l.held[i]);
            free(l.held[i]);
        }
    }
    for (size_t i = 0; i < LOOP_OBJECTS; i++)
        free(l.objects[i].page);
    for (int i = 0; i < l.end_count; i++)
        close(l.ends[i]);
    munmap(l.base, (size_t)LOOP_PAGES * LOOP_PAGE);
    close(l.memory);
    close(l.wake);
    free(l.used);
    pthread_cond_destroy(&l.done);
    pthread_mutex_destroy(&l.lock);
}

void loop_install(void)
{
    virtgpu_set_drm(&loop_drm);
}

int loop_accept(void)
{
    struct timespec until;
    int fd = -1, err = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&l.lock);
    while (!l.end_count && !err)
        err = pthread_cond_timedwait(&l.done, &l.lock, &until);
    if (l.end_count) {
        fd = l.ends[0];
        memmove(l.ends, l.ends + 1, (size_t)--l.end_count * sizeof(l.ends[0]));
    }
    pthread_mutex_unlock(&l.lock);
    return fd;
}

unsigned loop_sessions(void)
{
    unsigned n;

    pthread_mutex_lock(&l.lock);
    n = l.sessions;
    pthread_mutex_unlock(&l.lock);
    return n;
}

unsigned loop_commands(void)
{
    unsigned n;

    pthread_mutex_lock(&l.lock);
    n = l.commands;
    pthread_mutex_unlock(&l.lock);
    return n;
}

static void change(bool *what)
{
    pthread_mutex_lock(&l.lock);
    *what = true;
    l.moved = false;
    poke();
    while (!l.moved)
        pthread_cond_wait(&l.done, &l.lock);
    pthread_mutex_unlock(&l.lock);
}

void loop_pause(void)
{
    change(&l.pause);
}

void loop_move(void)
{
    change(&l.move);
}
