/* SPDX-License-Identifier: MIT */
#include "arena.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "fence.h"
#include "waker.h"

#define ARENA_ALIGN (2ull << 20) /* huge pages where the system grants them */

static uint64_t arena_align(uint64_t value)
{
    return (value + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

void *arena_view(int fd, uint64_t offset, uint64_t size, bool private)
{
    int flags = (private ? MAP_PRIVATE : MAP_SHARED) | MAP_NORESERVE | MAP_FIXED;
    uint64_t room = size + ARENA_ALIGN;
    /* The kernel does not align mappings of a memfd by itself: reserve more and cut. */
    uint8_t *reserved =
        mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint64_t head;
    void *view;

    if (reserved == MAP_FAILED)
        return NULL;
    head = (ARENA_ALIGN - (uintptr_t)reserved % ARENA_ALIGN + offset % ARENA_ALIGN) % ARENA_ALIGN;
    view = mmap(reserved + head, size, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset);
    if (view == MAP_FAILED) {
        munmap(reserved, room);
        return NULL;
    }
    if (head)
        munmap(reserved, head);
    size = (size + 4095) & ~4095ull;
    if (room > head + size)
        munmap(reserved + head + size, room - head - size);
    return view;
}

static int arena_map(struct arena *arena)
{
    void *base = arena_view(arena->fd, arena->fd_offset, arena->size, false);

    if (!base)
        return VD_ERR_MEMORY;
    arena->base = base;
    arena->status = base;
    /* A forked child must not write into the parent's pictures. */
    madvise(base, arena->size, MADV_DONTFORK);
    madvise(arena->base + arena->frame_offset, arena->frame_size, MADV_HUGEPAGE);
    return 0;
}

/* Memory for an arena whose layout stands. */
static int arena_make(struct arena *arena)
{
    arena->fd = memfd_create("viaduct-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (arena->fd < 0 || ftruncate(arena->fd, (off_t)arena->size) < 0 ||
        fcntl(arena->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return VD_ERR_MEMORY;
    return arena_map(arena);
}

int arena_create(struct arena *arena, uint64_t frame_size)
{
    int err;

    *arena = (struct arena){.fd = -1};
    arena->upload_offset = arena_align(sizeof(struct vd_status_page));
    arena->upload_size = VD_UPLOAD_BYTES;
    arena->frame_offset = arena->upload_offset + arena->upload_size;
    arena->frame_size = arena_align(frame_size);
    arena->size = arena->frame_offset + arena->frame_size;
    err = arena_make(arena);
    if (err)
        arena_finish(arena);
    return err;
}

/* A quarter of a region is for uploads: bitstreams, and what else programs put into buffers. */
#define REGION_UPLOADS 4

int arena_region(struct arena *arena, int fd, uint64_t offset, uint64_t bytes)
{
    uint64_t uploads = bytes / REGION_UPLOADS / ARENA_ALIGN * ARENA_ALIGN;
    int err = VD_ERR_LIMIT;

    *arena = (struct arena){.fd = fd, .fd_offset = offset};
    if (bytes < ARENA_REGION_LEAST || bytes > ARENA_REGION_MOST || offset % ARENA_ALIGN)
        goto fail;
    arena->size = bytes / ARENA_ALIGN * ARENA_ALIGN;
    arena->upload_offset = arena_align(sizeof(struct vd_status_page));
    arena->upload_size = uploads < VD_UPLOAD_BYTES ? uploads : VD_UPLOAD_BYTES;
    arena->frame_offset = arena->upload_offset + arena->upload_size;
    arena->frame_size = arena->size - arena->frame_offset;
    err = VD_ERR_UNSUPPORTED;
    /* What the client before this one left must be seen by nobody. */
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  (off_t)arena->size) < 0)
        goto fail;
    err = arena_map(arena);
    if (!err)
        return 0;
fail:
    arena_finish(arena);
    return err;
}

void arena_signal(struct arena *arena, uint32_t *word, uint32_t *waiters, uint32_t value)
{
    fence_signal(word, waiters, value);
    if (arena->waker && __atomic_load_n(waiters, __ATOMIC_SEQ_CST))
        waker_wake(arena->waker, word);
}

static int zone_fits(uint64_t offset, uint64_t size, uint64_t total)
{
    return offset <= total && size <= total - offset && offset % 4096 == 0;
}

/* Takes the layout that the host says, if it can be. */
static int arena_layout(struct arena *arena, const struct vd_hello_rep *hello)
{
    if (hello->arena_size < sizeof(struct vd_status_page) ||
        hello->upload_offset < sizeof(struct vd_status_page) ||
        hello->frame_offset < sizeof(struct vd_status_page) ||
        !zone_fits(hello->upload_offset, hello->upload_size, hello->arena_size) ||
        !zone_fits(hello->frame_offset, hello->frame_size, hello->arena_size))
        return VD_ERR_PROTOCOL;
    arena->size = hello->arena_size;
    arena->upload_offset = hello->upload_offset;
    arena->upload_size = hello->upload_size;
    arena->frame_offset = hello->frame_offset;
    arena->frame_size = hello->frame_size;
    return 0;
}

int arena_open(struct arena *arena, int fd, const struct vd_hello_rep *hello)
{
    struct stat st;
    int seals, err = VD_ERR_PROTOCOL;

    *arena = (struct arena){.fd = fd};
    if (fd < 0)
        goto fail;
    seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) < 0 ||
        (uint64_t)st.st_size != hello->arena_size)
        goto fail;
    err = arena_layout(arena, hello);
    if (!err)
        err = arena_map(arena);
    if (!err)
        return 0;
fail:
    arena_finish(arena);
    return err;
}

/* A character device says in sysfs how large it is (Documentation/ABI/testing/sysfs-bus-dax). */
static uint64_t device_bytes(dev_t device)
{
    char path[64], text[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/size", major(device), minor(device));
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (!fgets(text, sizeof(text), file))
        text[0] = 0;
    fclose(file);
    return strtoull(text, NULL, 10);
}

uint64_t arena_region_bytes(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return 0;
    if (S_ISCHR(st.st_mode))
        return device_bytes(st.st_rdev);
    /* A file, if it cannot shrink: what is not there any more is a fault. */
    return fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK ? (uint64_t)st.st_size : 0;
}

int arena_open_region(struct arena *arena, int fd, const struct vd_hello_rep *hello)
{
    int err;

    *arena = (struct arena){.fd = fd};
    err = arena_layout(arena, hello);
    if (!err && hello->arena_size > arena_region_bytes(fd))
        err = VD_ERR_LIMIT;
    if (!err)
        err = arena_map(arena);
    if (err)
        arena_finish(arena);
    return err;
}

int arena_twin(struct arena *arena, const struct vd_hello_rep *hello)
{
    int err;

    *arena = (struct arena){.fd = -1};
    err = arena_layout(arena, hello);
    /* Addresses for more than this are none of a host that means well. */
    if (!err && hello->arena_size > VD_MAX_ARENA)
        err = VD_ERR_PROTOCOL;
    if (!err)
        err = arena_make(arena);
    if (err)
        arena_finish(arena);
    return err;
}

void arena_finish(struct arena *arena)
{
    if (arena->base)
        munmap(arena->base, arena->size);
    if (arena->fd >= 0)
        close(arena->fd);
    *arena = (struct arena){.fd = -1};
}

void arena_discard(struct arena *arena, uint64_t offset, uint64_t size)
{
    /* Failure leaves the pages where they are: a matter of memory, not of correctness. */
    if (fallocate(arena->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)(arena->fd_offset + offset), (off_t)size) < 0)
        return;
}

int arena_check_upload(const struct arena *arena, uint64_t offset, uint64_t bytes)
{
    uint64_t end = arena->upload_offset + arena->upload_size;

    if (offset % 8 || offset < arena->upload_offset || offset > end || bytes > end - offset)
        return VD_ERR_PROTOCOL;
    return 0;
}

int arena_restore(struct arena *arena, uint64_t offset, uint64_t size)
{
    uint8_t *at = arena->base + offset;

    if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, arena->fd,
             (off_t)(arena->fd_offset + offset)) == MAP_FAILED)
        return VD_ERR_MEMORY;
    madvise(at, size, MADV_DONTFORK);
    return 0;
}
