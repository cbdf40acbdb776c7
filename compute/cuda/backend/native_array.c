/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <stdlib.h>
#include <sys/mman.h>

/*
 * Arrays of the driver's. The guest calls their elements by addresses, as texture.h lays arrays
 * out: a piece of this process's addresses, at which nothing is, stands for each. Copies are told
 * by them, and go to and from the array.
 */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all arrays */
static struct native_array *arrays;

/* With the lock. */
static struct native_array *find(uint64_t address)
{
    for (struct native_array *a = arrays; a; a = a->next)
        if (address >= a->shape.address && address - a->shape.address < a->size)
            return a;
    return NULL;
}

static int make(struct native_array *a)
{
    CUDA_ARRAY3D_DESCRIPTOR d = {.Width = a->as.width,
                                 .Height = a->as.height,
                                 .Depth = a->as.depth,
                                 .Format = (CUarray_format)a->as.format,
                                 .NumChannels = a->as.channels,
                                 .Flags = a->as.flags};
    int err;

    if (!a->as.levels)
        return (int)native.cuArray3DCreate_v2(&a->levels[0], &d);
    err = (int)native.cuMipmappedArrayCreate(&a->mipmap, &d, a->as.levels);
    for (uint32_t i = 0; i < a->as.levels && !err; i++)
        err = (int)native.cuMipmappedArrayGetLevel(&a->levels[i], a->mipmap, i);
    if (err && a->mipmap)
        native.cuMipmappedArrayDestroy(a->mipmap);
    return err;
}

int native_array_create(struct cuda_device *d, struct cuda_context *context,
                        const struct cuda_array_shape *shape, uint64_t *ret_address)
{
    struct native_context *c = (struct native_context *)context;
    struct native_array *a = calloc(1, sizeof(*a));
    void *names;
    int err = a ? native_enter(c->handle) : CUDA_ERROR_OUT_OF_MEMORY;

    (void)d;
    if (err)
        goto out;
    a->context = c->handle;
    a->as = *shape;
    a->size = cuda_texture_lay_out(shape, &a->shape);
    names = mmap(NULL, a->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (names == MAP_FAILED) {
        err = CUDA_ERROR_OUT_OF_MEMORY;
        goto out;
    }
    a->shape.address = (uintptr_t)names;
    err = make(a);
    if (err) {
        munmap(names, a->size);
        goto out;
    }
    *ret_address = a->shape.address;
    pthread_mutex_lock(&lock);
    a->next = arrays;
    arrays = a;
    pthread_mutex_unlock(&lock);
    return 0;
out:
    free(a);
    return err;
}

/* What the driver keeps of it is gone, or goes with its context. */
static void drop(struct native_array *a)
{
    munmap((void *)(uintptr_t)a->shape.address, a->size);
    free(a);
}

bool native_array_destroy(uint64_t address)
{
    struct native_array *a;

    pthread_mutex_lock(&lock);
    a = find(address);
    for (struct native_array **at = &arrays; a && *at; at = &(*at)->next)
        if (*at == a) {
            *at = a->next;
            break;
        }
    pthread_mutex_unlock(&lock);
    if (!a)
        return false;
    if (!native_enter(a->context)) {
        if (a->mipmap)
            native.cuMipmappedArrayDestroy(a->mipmap);
        else
            native.cuArrayDestroy(a->levels[0]);
    }
    drop(a);
    return true;
}

void native_array_forget(CUcontext context)
{
    pthread_mutex_lock(&lock);
    for (struct native_array **at = &arrays, *a; (a = *at);) {
        if (a->context == context) {
            *at = a->next;
            drop(a);
        } else {
            at = &a->next;
        }
    }
    pthread_mutex_unlock(&lock);
}

/* Where in an array an address is. */
static struct native_spot spot_of(const struct native_array *a, uint64_t address)
{
    bool layered = a->shape.layout & CUDA_TEXTURE_LAYERED;
    uint64_t offset = address - a->shape.address;
    struct native_spot s = {.array = a};

    if (layered) {
        s.z = offset / a->shape.slice;
        offset %= a->shape.slice;
    }
    for (;; s.number++) {
        s.level = cuda_texture_level(&a->shape, s.number);
        s.bytes = s.level.pitch * s.level.height * (layered ? 1 : s.level.depth);
        if (offset < s.bytes || s.number == a->shape.more_levels)
            break;
        offset -= s.bytes;
    }
    if (!layered) {
        s.z = offset / s.level.slice;
        offset %= s.level.slice;
    }
    s.y = offset / s.level.pitch;
    s.x = offset % s.level.pitch;
    return s;
}

bool native_array_find(uint64_t address, struct native_spot *ret_spot)
{
    const struct native_array *a;

    pthread_mutex_lock(&lock);
    a = find(address);
    if (a)
        *ret_spot = spot_of(a, address);
    pthread_mutex_unlock(&lock);
    return a != NULL;
}

/* One side of a copy: an array's, or what it says. With the lock. */
struct end {
    struct cuda_side side;
    struct native_spot spot; /* array: NULL if it is none */
};

static struct end end_at(const struct cuda_side *side, uint64_t offset)
{
    struct end e = {.side = *side};
    const struct native_array *a;

    e.side.address += offset;
    a = side->host ? NULL : find(e.side.address);
    if (a)
        e.spot = spot_of(a, e.side.address);
    return e;
}

/* Whether a box of rows and images of that side is one of the array, too. */
static bool is_box(const struct end *e, uint64_t width, uint64_t height, uint64_t depth)
{
    const struct native_spot *s = &e->spot;

    if (!s->array)
        return e->side.pitch >= width &&
               (depth < 2 || (e->side.pitch && e->side.slice % e->side.pitch == 0));
    return s->x + width <= s->level.pitch && s->y + height <= s->level.height &&
           (height < 2 || e->side.pitch == s->level.pitch) &&
           (depth < 2 || e->side.slice == s->level.slice);
}

static int copy_box(CUstream stream, const struct end *to, const struct end *from, uint64_t width,
                    uint64_t height, uint64_t depth)
{
    CUDA_MEMCPY3D c = {.WidthInBytes = width, .Height = height, .Depth = depth};

    if (to->spot.array) {
        c.dstMemoryType = CU_MEMORYTYPE_ARRAY;
        c.dstArray = to->spot.array->levels[to->spot.number];
        c.dstXInBytes = to->spot.x;
        c.dstY = to->spot.y;
        c.dstZ = to->spot.z;
    } else {
        c.dstMemoryType = to->side.host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        c.dstHost = (void *)(uintptr_t)to->side.address;
        c.dstDevice = to->side.address;
        c.dstPitch = to->side.pitch;
        c.dstHeight = depth < 2 ? height : to->side.slice / to->side.pitch;
    }
    if (from->spot.array) {
        c.srcMemoryType = CU_MEMORYTYPE_ARRAY;
        c.srcArray = from->spot.array->levels[from->spot.number];
        c.srcXInBytes = from->spot.x;
        c.srcY = from->spot.y;
        c.srcZ = from->spot.z;
    } else {
        c.srcMemoryType = from->side.host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        c.srcHost = (const void *)(uintptr_t)from->side.address;
        c.srcDevice = from->side.address;
        c.srcPitch = from->side.pitch;
        c.srcHeight = depth < 2 ? height : from->side.slice / from->side.pitch;
    }
    return (int)native.cuMemcpy3DAsync_v2(&c, stream);
}

static uint64_t row_left(const struct end *e, uint64_t left)
{
    uint64_t row = e->spot.array ? e->spot.level.pitch - e->spot.x : left;

    return row < left ? row : left;
}

/* Bytes one after the other, over the ends of rows: rows without gaps were made one. */
static int copy_line(CUstream stream, const struct cuda_side *to, uint64_t to_at,
                     const struct cuda_side *from, uint64_t from_at, uint64_t bytes)
{
    int err = 0;

    while (bytes && !err) {
        struct end t = end_at(to, to_at), f = end_at(from, from_at);
        uint64_t width = row_left(&f, row_left(&t, bytes)), rows = 1;
        const struct native_spot *s = t.spot.array ? &t.spot : &f.spot;

        /* Whole rows of one array go together. */
        if (width == s->level.pitch && !(t.spot.array && f.spot.array)) {
            rows = bytes / width;
            if (rows > s->level.height - s->y)
                rows = s->level.height - s->y;
        }
        t.side.pitch = f.side.pitch = width;
        err = copy_box(stream, &t, &f, width, rows, 1);
        bytes -= width * rows;
        to_at += width * rows;
        from_at += width * rows;
    }
    return err;
}

bool native_array_copies(const struct cuda_command *c)
{
    bool is;

    pthread_mutex_lock(&lock);
    is = (!c->copy.to.host && find(c->copy.to.address)) ||
         (!c->copy.from.host && find(c->copy.from.address));
    pthread_mutex_unlock(&lock);
    return is;
}

int native_array_copy(CUstream stream, const struct cuda_command *c)
{
    const struct cuda_side *to = &c->copy.to, *from = &c->copy.from;
    uint64_t width = c->copy.width, height = c->copy.height, depth = c->copy.depth;
    int err = 0;

    /* Until it is submitted: nobody takes the array away meanwhile. */
    pthread_mutex_lock(&lock);
    {
        struct end t = end_at(to, 0), f = end_at(from, 0);

        if (!t.spot.array && !f.spot.array)
            err = CUDA_ERROR_ILLEGAL_ADDRESS;
        else if (height == 1 && depth == 1)
            err = copy_line(stream, to, 0, from, 0, width);
        else if (is_box(&t, width, height, depth) && is_box(&f, width, height, depth))
            err = copy_box(stream, &t, &f, width, height, depth);
        else
            for (uint64_t row = 0; row < height * depth && !err; row++)
                err =
                    copy_line(stream, to, row / height * to->slice + row % height * to->pitch, from,
                              row / height * from->slice + row % height * from->pitch, width);
    }
    pthread_mutex_unlock(&lock);
    return err;
}
