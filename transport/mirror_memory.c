/* SPDX-License-Identifier: MIT */
#include "mirror_memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <viaduct/errors.h>

void mirror_memory_init(struct mirror_memory *memory, struct arena *arena)
{
    memset(memory, 0, sizeof(*memory));
    memory->arena = arena;
    memory->next = arena->frame_offset;
    memory->writing = VD_NO_BACKING;
    for (uint32_t i = 0; i < VD_MAX_SURFACES; i++) {
        memory->filling[i] = VD_NO_BACKING;
        arena->status->surfaces[i].backing = VD_NO_BACKING;
    }
}

void mirror_memory_finish(struct mirror_memory *memory)
{
    for (uint32_t i = 0; i < memory->count; i++) {
        if (memory->pieces[i].dmabuf >= 0)
            close(memory->pieces[i].dmabuf);
    }
    free(memory->pieces);
    memory->pieces = NULL;
}

static uint32_t *backing_of(struct mirror_memory *memory, uint32_t slot)
{
    return &memory->arena->status->surfaces[slot].backing;
}

static uint32_t pins_of(const struct mirror_memory *memory, uint32_t piece)
{
    return __atomic_load_n(&memory->arena->status->backings[piece].pins, __ATOMIC_SEQ_CST);
}

static void give(struct mirror_memory *memory, uint32_t *piece)
{
    if (*piece != VD_NO_BACKING)
        memory->pieces[*piece].used = false;
    *piece = VD_NO_BACKING;
}

/* Takes the surface's piece off it; who pins it later sees that it is gone. */
static void take_off(struct mirror_memory *memory, uint32_t slot)
{
    uint32_t piece = __atomic_exchange_n(backing_of(memory, slot), VD_NO_BACKING, __ATOMIC_SEQ_CST);

    give(memory, &piece);
}

/* What others got of a piece stays theirs; here the arena's own memory is there again. */
static int restore(struct mirror_memory *memory, struct mirror_piece *piece)
{
    int err = piece->dmabuf < 0 ? 0 : arena_restore(memory->arena, piece->offset, piece->size);

    if (!err && piece->dmabuf >= 0) {
        close(piece->dmabuf);
        piece->dmabuf = -1;
        piece->fresh = false;
    }
    return err;
}

/* Gives the pages of a piece back that nobody has. */
static void discard(struct mirror_memory *memory, uint32_t piece)
{
    struct mirror_piece *p = piece < memory->count ? &memory->pieces[piece] : NULL;

    if (!p || p->used || pins_of(memory, piece) || memory->writing == piece || restore(memory, p))
        return;
    arena_discard(memory->arena, p->offset, p->size);
    p->fresh = true;
}

void mirror_memory_expect(struct mirror_memory *memory, uint32_t slot, uint64_t size)
{
    uint32_t piece = __atomic_load_n(backing_of(memory, slot), __ATOMIC_SEQ_CST);

    take_off(memory, slot);
    discard(memory, piece);
    give(memory, &memory->filling[slot]);
    memory->sizes[slot] = size;
    memory->fixed[slot] = false;
}

void mirror_memory_fix(struct mirror_memory *memory, uint32_t slot, bool fixed)
{
    memory->fixed[slot] = fixed;
}

void mirror_memory_stale(struct mirror_memory *memory, uint32_t slot)
{
    if (!memory->fixed[slot])
        take_off(memory, slot);
}

static uint64_t whole_pages(uint64_t size)
{
    return (size + 4095) & ~UINT64_C(4095);
}

/* Makes one of neighbours that nobody has: sizes change, and the zone ends. */
static void merge(struct mirror_memory *memory)
{
    struct mirror_piece *run = NULL;

    for (uint32_t i = 0; i < memory->count; i++) {
        struct mirror_piece *p = &memory->pieces[i];

        if (p->used || pins_of(memory, i) || memory->writing == i || restore(memory, p)) {
            run = NULL;
        } else if (run) {
            run->size += p->size;
            run->fresh = false;
            p->size = 0;
        } else {
            run = p;
        }
    }
}

/* A piece that was never used. */
static int make_piece(struct mirror_memory *memory, uint64_t size, uint32_t *ret_piece)
{
    uint64_t end = memory->arena->frame_offset + memory->arena->frame_size;
    struct mirror_piece *grown;

    if (memory->count == VD_MAX_BACKINGS || size > end - memory->next)
        return VD_ERR_LIMIT;
    if (memory->count % 64 == 0) {
        grown = realloc(memory->pieces, (memory->count + 64) * sizeof(*grown));
        if (!grown)
            return VD_ERR_LIMIT;
        memory->pieces = grown;
    }
    memory->pieces[memory->count] =
        (struct mirror_piece){.offset = memory->next, .size = size, .fresh = true, .dmabuf = -1};
    memory->arena->status->backings[memory->count].offset = memory->next;
    memory->next += size;
    *ret_piece = memory->count++;
    return 0;
}

/* The smallest that fits and is not shown to the app, or VD_NO_BACKING. */
static uint32_t find(const struct mirror_memory *memory, uint64_t size)
{
    uint32_t best = VD_NO_BACKING;

    for (uint32_t i = 0; i < memory->count; i++) {
        const struct mirror_piece *p = &memory->pieces[i];

        if (p->used || p->size < size || pins_of(memory, i) || memory->writing == i ||
            (best != VD_NO_BACKING && memory->pieces[best].size <= p->size))
            continue;
        best = i;
    }
    return best;
}

static int get(struct mirror_memory *memory, uint64_t bytes, uint32_t *ret_piece)
{
    uint64_t size = whole_pages(bytes);
    uint32_t best = find(memory, size);
    int err = 0;

    /* A piece four times too large is for others, as long as there is room. */
    if (best == VD_NO_BACKING || memory->pieces[best].size / 4 > size) {
        uint32_t made;

        err = make_piece(memory, size, &made);
        if (!err) {
            best = made;
        } else if (best == VD_NO_BACKING) {
            merge(memory);
            best = find(memory, size);
        }
        err = best == VD_NO_BACKING ? err : 0;
    }
    if (!err)
        err = restore(memory, &memory->pieces[best]);
    if (err)
        return err;
    memory->pieces[best].used = true;
    *ret_piece = best;
    return 0;
}

int mirror_memory_fill(struct mirror_memory *memory, uint32_t slot, uint64_t offset, uint64_t size,
                       uint64_t whole, uint8_t **ret_to)
{
    uint32_t *filling = &memory->filling[slot];
    uint64_t want = (memory->sizes[slot] + 7) & ~UINT64_C(7);
    int err = 0;

    if (whole != want || !size || size > whole || offset > whole - size)
        return VD_ERR_PROTOCOL;
    if (!offset) {
        uint32_t own = __atomic_load_n(backing_of(memory, slot), __ATOMIC_SEQ_CST);

        give(memory, filling);
        memory->filled[slot] = 0;
        if (memory->fixed[slot] && own != VD_NO_BACKING) {
            /* Who maps it sees the picture change, as with shared memory. */
            __atomic_store_n(backing_of(memory, slot), VD_NO_BACKING, __ATOMIC_SEQ_CST);
            *filling = own;
        } else {
            take_off(memory, slot);
            err = get(memory, whole, filling);
        }
    }
    if (err)
        return err;
    if (*filling == VD_NO_BACKING || offset != memory->filled[slot])
        return VD_ERR_PROTOCOL;
    memory->pieces[*filling].fresh = false;
    memory->filled[slot] = offset + size;
    memory->writing = *filling;
    *ret_to = memory->arena->base + memory->pieces[*filling].offset + offset;
    return 0;
}

void mirror_memory_filled(struct mirror_memory *memory, uint32_t slot, bool last)
{
    memory->writing = VD_NO_BACKING;
    /* The app may have destroyed the surface meanwhile. */
    if (!last || memory->filling[slot] == VD_NO_BACKING)
        return;
    __atomic_store_n(backing_of(memory, slot), memory->filling[slot], __ATOMIC_SEQ_CST);
    memory->filling[slot] = VD_NO_BACKING;
}

uint32_t mirror_memory_piece(const struct mirror_memory *memory, uint32_t slot)
{
    uint32_t piece =
        __atomic_load_n(&memory->arena->status->surfaces[slot].backing, __ATOMIC_SEQ_CST);

    return piece < memory->count && memory->writing != piece ? piece : VD_NO_BACKING;
}

void mirror_memory_shared(struct mirror_memory *memory, uint32_t piece, int dmabuf)
{
    memory->pieces[piece].dmabuf = dmabuf;
}

int mirror_memory_blank(struct mirror_memory *memory, uint32_t slot)
{
    uint32_t piece;
    int err;

    if (__atomic_load_n(backing_of(memory, slot), __ATOMIC_SEQ_CST) != VD_NO_BACKING)
        return 0;
    err = get(memory, memory->sizes[slot], &piece);
    if (err)
        return err;
    if (!memory->pieces[piece].fresh)
        memset(memory->arena->base + memory->pieces[piece].offset, 0, memory->sizes[slot]);
    memory->pieces[piece].fresh = false;
    __atomic_store_n(backing_of(memory, slot), piece, __ATOMIC_SEQ_CST);
    return 0;
}
