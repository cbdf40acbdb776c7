/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <viaduct/errors.h>

/*
 * Addresses and memory apart. Of a reservation nothing is kept but where it is: its addresses are
 * the context's, not this process's. A mapping says where the bytes of a stretch of it are, and a
 * region is made of it as long as it may be accessed; so a memory that is mapped twice has two
 * regions. Copies go from one to the next (memory.c), and kernels look each lane's up.
 */

#define PAGE 4096u
#define MOST ((uint64_t)1 << 43) /* bytes of one reservation: no more addresses are there */

struct ptx_physical {
    uint8_t *host;
    uint64_t size;
};

/* A reservation, or with `host` a mapping. */
struct stretch {
    uint64_t address, size;
    uint8_t *host;
};

int ptx_physical_create(struct ptx_context *context, uint64_t size, int fd,
                        struct ptx_physical **ret_physical)
{
    struct memory *m = &context->memory;
    struct ptx_physical *p;
    int flags = MAP_NORESERVE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    int err = VD_ERR_MEMORY;

    if (!size || size % PAGE)
        return VD_ERR_PARAMETER;
    if (size > MOST)
        return VD_ERR_MEMORY;
    p = malloc(sizeof(*p));
    if (!p)
        return VD_ERR_MEMORY;
    p->size = size;
    p->host = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (p->host == MAP_FAILED)
        goto failed;
    pthread_rwlock_wrlock(&m->lock);
    if (size <= m->most && m->used <= m->most - size) {
        m->used += size;
        err = 0;
    }
    pthread_rwlock_unlock(&m->lock);
    if (err)
        goto unmap;
    *ret_physical = p;
    return 0;
unmap:
    munmap(p->host, size);
failed:
    free(p);
    return err;
}

void ptx_physical_destroy(struct ptx_context *context, struct ptx_physical *p)
{
    struct memory *m = &context->memory;

    if (!p)
        return;
    munmap(p->host, p->size);
    pthread_rwlock_wrlock(&m->lock);
    m->used -= p->size;
    pthread_rwlock_unlock(&m->lock);
    free(p);
}

int ptx_memory_share(struct ptx_context *context, uint64_t address, int fd)
{
    struct memory *m = &context->memory;
    struct region *r;
    int err = VD_ERR_ID;
    uint8_t *host;

    pthread_rwlock_wrlock(&m->lock);
    r = m->regions + memory_behind(m, address);
    if (r == m->regions + m->count || r->address != address || r->mapped || r->constant)
        goto out;
    host = mmap(NULL, r->counted, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    err = VD_ERR_MEMORY;
    if (host == MAP_FAILED)
        goto out;
    memcpy(host, r->host, r->counted);
    munmap(r->host, r->size);
    r->host = host;
    /* Slack is not shared: what is behind would be nobody's. */
    r->size = r->counted;
    err = 0;
out:
    pthread_rwlock_unlock(&m->lock);
    return err;
}

/* Index of the first that ends behind an address. */
static uint32_t at(const struct stretches *l, uint64_t address)
{
    uint32_t low = 0, high = l->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct stretch *s = &l->at[middle];

        if (s->address + s->size <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int insert(struct stretches *l, uint32_t i, struct stretch s)
{
    if (l->count == l->room) {
        uint32_t room = l->room ? l->room * 2 : 16;
        struct stretch *grown = realloc(l->at, room * sizeof(*grown));

        if (!grown)
            return VD_ERR_MEMORY;
        l->at = grown;
        l->room = room;
    }
    memmove(l->at + i + 1, l->at + i, (l->count - i) * sizeof(s));
    l->at[i] = s;
    l->count++;
    return 0;
}

static void take_out(struct stretches *l, uint32_t first, uint32_t end)
{
    if (first == end)
        return;
    memmove(l->at + first, l->at + end, (l->count - end) * sizeof(*l->at));
    l->count -= end - first;
}

/* Free addresses, and whose index they will have; 0: there are none. */
static uint64_t place(const struct stretches *l, uint64_t size, uint64_t align, uint64_t wanted,
                      uint32_t *ret_index)
{
    uint64_t place = VIRTUAL_BASE;
    uint32_t i = at(l, wanted);

    if (wanted && !(wanted % align) && wanted >= VIRTUAL_BASE && wanted < DEVICE_BASE * 2 &&
        size <= DEVICE_BASE * 2 - wanted &&
        (i == l->count || (l->at[i].address >= wanted && l->at[i].address - wanted >= size))) {
        *ret_index = i;
        return wanted;
    }
    for (i = 0; i < l->count; i++) {
        place = (place + align - 1) / align * align;
        if (l->at[i].address >= place && l->at[i].address - place >= size)
            break;
        place = l->at[i].address + l->at[i].size;
    }
    place = (place + align - 1) / align * align;
    *ret_index = i;
    return place <= DEVICE_BASE * 2 - size ? place : 0;
}

int ptx_virtual_reserve(struct ptx_context *context, uint64_t size, uint64_t align, uint64_t wanted,
                        uint64_t *ret_address)
{
    struct memory *m = &context->memory;
    struct stretch r = {.size = size};
    int err = VD_ERR_MEMORY;
    uint32_t i;

    if (!size || size % PAGE || align & (align - 1) || align > MOST)
        return VD_ERR_PARAMETER;
    if (size > MOST)
        return err;
    pthread_rwlock_wrlock(&m->lock);
    r.address = place(&m->reserved, size, align < PAGE ? PAGE : align, wanted, &i);
    if (r.address)
        err = insert(&m->reserved, i, r);
    pthread_rwlock_unlock(&m->lock);
    if (!err)
        *ret_address = r.address;
    return err;
}

/* With the lock: the region of a mapping, or of a part of one, is no more. */
static void hide(struct memory *m, uint64_t address, uint64_t size)
{
    uint32_t i = memory_behind(m, address), n = i;

    while (n < m->count && m->regions[n].address - address < size)
        n++;
    if (n == i)
        return;
    memmove(m->regions + i, m->regions + n, (m->count - n) * sizeof(*m->regions));
    m->count -= n - i;
}

static int show(struct memory *m, const struct stretch *s, bool constant)
{
    uint32_t i = memory_behind(m, s->address);
    int err = memory_grow(m, 1);

    if (err)
        return err;
    memmove(m->regions + i + 1, m->regions + i, (m->count - i) * sizeof(*m->regions));
    m->count++;
    m->regions[i] = (struct region){.address = s->address,
                                    .size = s->size,
                                    .room = s->size,
                                    .host = s->host,
                                    .mapped = true,
                                    .constant = constant,
                                    .shown = true};
    return 0;
}

int ptx_virtual_allow(struct ptx_context *context, uint64_t address, uint64_t size,
                      enum ptx_access access)
{
    struct memory *m = &context->memory;
    int err = 0;

    pthread_rwlock_wrlock(&m->lock);
    hide(m, address, size);
    for (uint32_t i = at(&m->mappings, address);
         i < m->mappings.count && m->mappings.at[i].address - address < size && !err &&
         access != PTX_ACCESS_NONE;
         i++)
        err = show(m, &m->mappings.at[i], access == PTX_ACCESS_READ);
    pthread_rwlock_unlock(&m->lock);
    return err;
}

int ptx_virtual_map(struct ptx_context *context, uint64_t address, uint64_t size,
                    const struct ptx_physical *p, uint64_t offset)
{
    struct stretch s = {address, size, p->host + offset};
    struct memory *m = &context->memory;
    const struct stretches *l = &m->mappings;
    int err = VD_ERR_PARAMETER;
    uint32_t i;

    if (!size || address % PAGE || size % PAGE || offset % PAGE || offset > p->size ||
        size > p->size - offset)
        return err;
    pthread_rwlock_wrlock(&m->lock);
    i = at(&m->reserved, address);
    if (i < m->reserved.count && m->reserved.at[i].address <= address &&
        size <= m->reserved.at[i].size - (address - m->reserved.at[i].address)) {
        i = at(l, address);
        if (i == l->count || (l->at[i].address > address && l->at[i].address - address >= size))
            err = insert(&m->mappings, i, s);
    }
    pthread_rwlock_unlock(&m->lock);
    return err;
}

/* With the lock. */
static void unmap(struct memory *m, uint64_t address, uint64_t size)
{
    struct stretches *l = &m->mappings;
    uint32_t first = at(l, address), end = first;

    hide(m, address, size);
    while (end < l->count && l->at[end].address - address < size)
        end++;
    take_out(l, first, end);
}

int ptx_virtual_unmap(struct ptx_context *context, uint64_t address, uint64_t size)
{
    struct memory *m = &context->memory;

    pthread_rwlock_wrlock(&m->lock);
    unmap(m, address, size);
    pthread_rwlock_unlock(&m->lock);
    return 0;
}

int ptx_virtual_release(struct ptx_context *context, uint64_t address)
{
    struct memory *m = &context->memory;
    int err = VD_ERR_ID;
    uint32_t i;

    pthread_rwlock_wrlock(&m->lock);
    i = at(&m->reserved, address);
    if (i < m->reserved.count && m->reserved.at[i].address == address) {
        unmap(m, address, m->reserved.at[i].size);
        take_out(&m->reserved, i, i + 1);
        err = 0;
    }
    pthread_rwlock_unlock(&m->lock);
    return err;
}

void virtual_finish(struct memory *m)
{
    free(m->reserved.at);
    free(m->mappings.at);
}
