/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "external.h"
#include "ipc.h"

/*
 * Memory and events of other processes. A handle says in which process which descriptor is the
 * memory, and which memory that has to be; it is opened through /proc/PID/fd. So it is no secret
 * and needs to be none: the kernel lets those have the memory that might trace the process
 * (ptrace(2), PTRACE_MODE_READ_FSCREDS: the same user, in the same container), and nobody else.
 *
 * An event is two numbers in such memory: how often it was recorded, and which of these has come to
 * pass, which the stream itself writes.
 */

#define MAGIC_MEMORY 0x4d435049u /* "IPCM" */
#define MAGIC_EVENT  0x45435049u

struct handle {
    uint32_t magic, pid;
    int32_t fd;
    int32_t device;
    uint64_t filesystem, file; /* st_dev, st_ino */
    uint64_t size;
};

_Static_assert(sizeof(struct handle) <= sizeof(CUipcMemHandle), "it fits");

struct ipc_event {
    struct words {
        _Atomic uint64_t recorded, passed;
    } * words; /* at this address for the device, too */
    int fd;
    struct CUctx_st *context;
    struct ipc_event *next; /* of `left` */
};

static int make_memory(uint64_t size)
{
    int fd = memfd_create("viaduct-ipc", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && (ftruncate(fd, (off_t)((size + IMPORT_PAGE - 1) / IMPORT_PAGE * IMPORT_PAGE)) ||
                    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static CUresult describe(uint32_t magic, int fd, int device, uint64_t size, void *ret_handle)
{
    struct handle h = {.magic = magic, .pid = (uint32_t)getpid(), .fd = fd, .device = device};
    struct stat s;

    if (fstat(fd, &s))
        return CUDA_ERROR_OPERATING_SYSTEM;
    h.filesystem = s.st_dev;
    h.file = s.st_ino;
    h.size = size;
    memset(ret_handle, 0, sizeof(CUipcMemHandle));
    memcpy(ret_handle, &h, sizeof(h));
    return CUDA_SUCCESS;
}

/* A descriptor of what a handle says; negative: it is not there, or not for this user. */
static int open_memory(const struct handle *h)
{
    char path[64];
    struct stat s;
    int fd, seals;

    snprintf(path, sizeof(path), "/proc/%u/fd/%d", h->pid, h->fd);
    /* A handle may lie: nothing else that is opened so waits, or becomes a terminal. */
    fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fd;
    seals = fcntl(fd, F_GET_SEALS);
    if (fstat(fd, &s) || s.st_dev != h->filesystem || s.st_ino != h->file || !h->size ||
        (uint64_t)s.st_size < h->size || seals < 0 || !(seals & F_SEAL_SHRINK)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool is_there(int device)
{
    return device_properties(device)->imports && backend->memory_share;
}

void ipc_drop(struct range *r)
{
    if (r->shared)
        close(r->shared - 1);
    r->shared = 0;
}

API cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr address)
{
    struct CUctx_st *c;
    struct range *r;
    CUresult err = enter_context(&c);
    uint64_t base, size;
    int fd;

    if (err)
        return err;
    r = range_find(address);
    if (!handle || !r || r->kind != RANGE_DEVICE)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!is_there(r->device))
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if (r->shared)
        return leave(describe(MAGIC_MEMORY, r->shared - 1, r->device, r->size, handle));
    base = r->address;
    size = r->size;
    fd = make_memory(size);
    if (fd < 0)
        return leave(CUDA_ERROR_OUT_OF_MEMORY);
    unlock();
    err = (CUresult)backend->memory_share(c->open, base, fd);
    lock();
    r = range_find(base);
    if (!err && (!r || r->address != base || r->size != size || r->shared))
        err = CUDA_ERROR_INVALID_VALUE; /* freed meanwhile */
    if (err) {
        close(fd);
        return leave(err);
    }
    r->shared = fd + 1;
    return leave(describe(MAGIC_MEMORY, fd, r->device, size, handle));
}

/* The same memory a second time is the same address. */
struct opened {
    struct opened *next;
    uint64_t filesystem, file, address;
    unsigned count;
};

static struct opened *openings; /* with the lock */

static struct opened *find_opened(const struct handle *h)
{
    struct opened *o = openings;

    while (o && (o->filesystem != h->filesystem || o->file != h->file))
        o = o->next;
    return o;
}

static CUresult open_new(struct CUctx_st *c, const struct handle *h, CUdeviceptr *ret_address)
{
    struct opened *o = malloc(sizeof(*o));
    CUresult err = CUDA_ERROR_OUT_OF_MEMORY;
    void *p;
    int fd;

    if (!o)
        return err;
    fd = open_memory(h);
    err = fd < 0 ? CUDA_ERROR_INVALID_HANDLE : external_map(fd, 0, h->size, &p);
    if (fd >= 0)
        close(fd);
    if (err)
        goto failed;
    err = range_add(c, RANGE_IPC, (uintptr_t)p, h->size, 0);
    if (err) {
        external_unmap((uintptr_t)p, h->size);
        goto failed;
    }
    *o = (struct opened){openings, h->filesystem, h->file, (uintptr_t)p, 1};
    openings = o;
    *ret_address = o->address;
    return CUDA_SUCCESS;
failed:
    free(o);
    return err;
}

API cuIpcOpenMemHandle_v2(CUdeviceptr *address, CUipcMemHandle handle, unsigned flags)
{
    struct handle h;
    struct CUctx_st *c;
    struct opened *o;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    memcpy(&h, &handle, sizeof(h));
    if (!address || flags & ~CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!is_there(c->device))
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if (h.magic != MAGIC_MEMORY)
        return leave(CUDA_ERROR_INVALID_HANDLE);
    /* Nobody opens what is his own. */
    if (h.pid == (uint32_t)getpid())
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    o = find_opened(&h);
    if (!o)
        return leave(open_new(c, &h, address));
    o->count++;
    *address = o->address;
    return leave(CUDA_SUCCESS);
}

API cuIpcOpenMemHandle(CUdeviceptr *address, CUipcMemHandle handle, unsigned flags)
{
    return cuIpcOpenMemHandle_v2(address, handle, flags);
}

void ipc_closed(uint64_t address)
{
    for (struct opened **at = &openings, *o; (o = *at); at = &o->next)
        if (o->address == address) {
            *at = o->next;
            free(o);
            return;
        }
}

API cuIpcCloseMemHandle(CUdeviceptr address)
{
    struct CUctx_st *c;
    struct range *r;
    struct opened *o;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    r = range_find(address);
    for (o = openings; o && o->address != address; o = o->next)
        ;
    if (!r || r->address != address || r->kind != RANGE_IPC || !o)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (--o->count)
        return leave(CUDA_SUCCESS);
    /* Kernels may still be at it. */
    err = r->context->active ? context_wait(r->context) : CUDA_SUCCESS;
    r = range_find(address);
    if (r && r->address == address && r->kind == RANGE_IPC) {
        uint64_t size = r->size;

        range_remove(r);
        ipc_closed(address);
        external_unmap(address, size);
    }
    return leave(err);
}

/* The words of an event, here and for the device. */
static CUresult event_map(struct CUctx_st *c, int fd, struct ipc_event **ret_event)
{
    struct ipc_event *e = malloc(sizeof(*e));
    void *p;
    CUresult err = e ? external_map(fd, 0, IMPORT_PAGE, &p) : CUDA_ERROR_OUT_OF_MEMORY;

    if (err) {
        free(e);
        return err;
    }
    *e = (struct ipc_event){.words = p, .fd = fd, .context = c};
    *ret_event = e;
    return CUDA_SUCCESS;
}

CUresult ipc_event_create(struct CUctx_st *c, struct ipc_event **ret_event)
{
    int fd = is_there(c->device) ? make_memory(IMPORT_PAGE) : -1;
    CUresult err;

    if (fd < 0)
        return is_there(c->device) ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_NOT_SUPPORTED;
    err = event_map(c, fd, ret_event);
    if (err)
        close(fd);
    return err;
}

/* Streams may still come to commands that name the words of events which are gone. */
static struct ipc_event *left; /* with the lock */

static bool is_idle(struct CUctx_st *c)
{
    bool idle = true;

    if (!handle_is(c, CONTEXT) || !c->active)
        return true;
    for (const struct CUstream_st *s = c->streams; s && idle; s = s->next)
        idle = backend->done(s->queue, s->last);
    return idle;
}

static void sweep(void)
{
    for (struct ipc_event **at = &left, *e; (e = *at);) {
        if (!is_idle(e->context)) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        external_unmap((uintptr_t)e->words, IMPORT_PAGE);
        free(e);
    }
}

void ipc_event_destroy(struct ipc_event *e)
{
    if (!e)
        return;
    close(e->fd);
    e->next = left;
    left = e;
    sweep();
}

CUresult ipc_event_record(struct ipc_event *e, struct CUstream_st *s)
{
    uint64_t number = atomic_fetch_add(&e->words->recorded, 1) + 1;
    struct cuda_command command = {
        .kind = CUDA_WRITE_VALUE,
        .value = {.address = (uintptr_t)&e->words->passed, .value = number, .bytes = 8}};

    return stream_submit(s, &command);
}

CUresult ipc_event_wait(struct ipc_event *e, struct CUstream_st *s)
{
    struct cuda_command command = {.kind = CUDA_WAIT_VALUE,
                                   .value = {.address = (uintptr_t)&e->words->passed,
                                             .value = atomic_load(&e->words->recorded),
                                             .bytes = 8,
                                             .compare = CU_STREAM_WAIT_VALUE_GEQ}};

    return ipc_event_done(e) ? CUDA_SUCCESS : stream_submit(s, &command);
}

bool ipc_event_done(const struct ipc_event *e)
{
    return atomic_load(&e->words->passed) >= atomic_load(&e->words->recorded);
}

API cuIpcGetEventHandle(CUipcEventHandle *handle, CUevent event)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(event, EVENT))
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (!handle || !event->shared)
        return leave(CUDA_ERROR_INVALID_VALUE);
    return leave(
        describe(MAGIC_EVENT, event->shared->fd, event->context->device, IMPORT_PAGE, handle));
}

API cuIpcOpenEventHandle(CUevent *event, CUipcEventHandle handle)
{
    struct ipc_event *shared;
    struct handle h;
    struct CUctx_st *c;
    CUresult err = enter_context(&c);
    int fd;

    if (err)
        return err;
    memcpy(&h, &handle, sizeof(h));
    if (!event)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!is_there(c->device))
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if (h.magic != MAGIC_EVENT || h.size != IMPORT_PAGE)
        return leave(CUDA_ERROR_INVALID_HANDLE);
    if (h.pid == (uint32_t)getpid())
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    fd = open_memory(&h);
    if (fd < 0)
        return leave(CUDA_ERROR_INVALID_HANDLE);
    err = event_map(c, fd, &shared);
    if (err) {
        close(fd);
        return leave(err);
    }
    err = event_make(c, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING, shared, event);
    if (err)
        ipc_event_destroy(shared);
    return leave(err);
}
