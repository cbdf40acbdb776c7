/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "vhost_private.h"

static bool sum_fits(uint64_t a, uint64_t b)
{
    return b && a <= UINT64_MAX - (b - 1);
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b ? b - a < a_size : a - b < b_size;
}

/* Whether a row makes sense beside those that are there already. */
static bool row_fits(const struct vhost_memory *memory, const struct vhost_memory_row *row, int fd)
{
    struct stat st;

    if (fd < 0 || !sum_fits(row->guest, row->size) || !sum_fits(row->user, row->size) ||
        !sum_fits(row->offset, row->size) || row->offset + row->size > SIZE_MAX / 2)
        return false;
    /* What is not there cannot be touched: SIGBUS. */
    if (fstat(fd, &st) < 0 || st.st_size < 0 || (uint64_t)st.st_size < row->offset + row->size)
        return false;
    for (unsigned i = 0; i < memory->count; i++) {
        const struct vhost_region *other = &memory->region[i];

        if (overlap(row->guest, row->size, other->guest, other->size) ||
            overlap(row->user, row->size, other->user, other->size))
            return false;
    }
    return true;
}

void vhost_memory_clear(struct vhost_memory *memory)
{
    for (unsigned i = 0; i < memory->count; i++) {
        struct vhost_region *region = &memory->region[i];

        munmap(region->map, region->offset + region->size);
        close(region->fd);
    }
    memory->count = 0;
}

int vhost_memory_set(struct vhost_memory *memory, const struct vhost_memory_row *rows,
                     const int *fds, unsigned count)
{
    int err = count <= VHOST_MAX_REGIONS ? 0 : VD_ERR_LIMIT;

    vhost_memory_clear(memory);
    for (unsigned i = 0; i < count; i++) {
        struct vhost_region *region = &memory->region[memory->count];
        void *map = MAP_FAILED;

        if (!err && !row_fits(memory, &rows[i], fds[i]))
            err = VD_ERR_PARAMETER;
        /* From the start of the file: the offset need not be one that a huge page can have. */
        if (!err)
            map = mmap(NULL, rows[i].offset + rows[i].size, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_NORESERVE, fds[i], 0);
        if (map == MAP_FAILED) {
            err = err ? err : VD_ERR_MEMORY;
            if (fds[i] >= 0)
                close(fds[i]);
            continue;
        }
        /* Guest memory has no place in a core dump. */
        madvise(map, rows[i].offset + rows[i].size, MADV_DONTDUMP);
        *region = (struct vhost_region){
            .guest = rows[i].guest,
            .size = rows[i].size,
            .user = rows[i].user,
            .offset = rows[i].offset,
            .map = map,
            .fd = fds[i],
        };
        memory->count++;
    }
    if (err)
        vhost_memory_clear(memory);
    return err;
}

/* The region that holds a whole range, by the guest's or the front end's addresses. */
static const struct vhost_region *find(const struct vhost_memory *memory, uint64_t address,
                                       uint64_t size, bool user, uint64_t *ret_at)
{
    for (unsigned i = 0; i < memory->count; i++) {
        const struct vhost_region *region = &memory->region[i];
        uint64_t start = user ? region->user : region->guest;

        if (address >= start && address - start < region->size &&
            size <= region->size - (address - start)) {
            *ret_at = region->offset + (address - start);
            return region;
        }
    }
    return NULL;
}

void *vhost_memory_user(const struct vhost_memory *memory, uint64_t address, uint64_t size)
{
    uint64_t at;
    const struct vhost_region *region = find(memory, address, size, true, &at);

    return region ? region->map + at : NULL;
}

void *vhost_memory_at(const struct vhost *vhost, uint64_t address, uint64_t size)
{
    uint64_t at;
    const struct vhost_region *region = find(&vhost->memory, address, size, false, &at);

    return region ? region->map + at : NULL;
}

int vhost_memory_fd(const struct vhost *vhost, uint64_t address, uint64_t size, int *ret_fd,
                    uint64_t *ret_offset)
{
    const struct vhost_region *region = find(&vhost->memory, address, size, false, ret_offset);

    if (!region)
        return VD_ERR_PARAMETER;
    *ret_fd = region->fd;
    return 0;
}
