/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_VIEW_H
#define VIADUCT_PTX_VIEW_H

#include "internal.h"

/* Where the bytes of an address are. Lane i's are `lane_stride` × i further. */
struct window {
    uint64_t address, size;
    uint8_t *host;
    uint64_t lane_stride;
    bool constant;
};

static inline enum ptx_space view_space(uint64_t address)
{
    if (address - SHARED_BASE < WINDOW)
        return SPACE_SHARED;
    if (address - LOCAL_BASE < WINDOW)
        return SPACE_LOCAL;
    if (address - PARAM_BASE < WINDOW)
        return SPACE_PARAM;
    return SPACE_GLOBAL;
}

/* The window an address is in, of a space that addresses are relative to, or SPACE_GENERIC. */
static inline bool view_find(struct warp *w, const struct insn *in, enum ptx_space space,
                             uint64_t address, struct window *ret)
{
    uint64_t base = 0;

    if (space == SPACE_GENERIC) {
        space = view_space(address);
        base = space == SPACE_SHARED  ? SHARED_BASE
               : space == SPACE_LOCAL ? LOCAL_BASE
               : space == SPACE_PARAM ? PARAM_BASE
                                      : 0;
    }
    if (space == SPACE_GLOBAL) {
        struct view *v = &w->views[((uintptr_t)in / sizeof(*in)) % VIEWS];
        const struct region *r;

        if (v->insn != in || address - v->address >= v->size) {
            r = memory_find(&w->launch->context->memory, address);
            if (!r)
                return false;
            *v = (struct view){in, r->address, r->size, r->host, r->constant};
        }
        *ret = (struct window){v->address, v->size, v->host, 0, v->constant};
        return true;
    }
    if (space == SPACE_SHARED)
        *ret = (struct window){base, w->shared_bytes, w->shared, 0, false};
    else if (space == SPACE_LOCAL)
        *ret = (struct window){base, w->local_stride, w->local, w->local_stride, false};
    else
        *ret = (struct window){base, w->launch->kernel->param_bytes,
                               (uint8_t *)(uintptr_t)w->launch->parameters, 0, true};
    return address - ret->address < ret->size;
}

/*
 * Host memory of one lane's access, mostly in the window `x` of the first one (size 0: none). NULL
 * and the warp has failed.
 */
static inline uint8_t *view_lane(struct warp *w, const struct insn *in, enum ptx_space space,
                                 const struct window *x, uint64_t address, uint32_t lane,
                                 uint32_t bytes, uint32_t align, bool write)
{
    uint64_t offset = address - x->address;

    if (offset < x->size && bytes <= x->size - offset && !(address & (align - 1)) &&
        !(write && x->constant))
        return x->host + offset + lane * x->lane_stride;
    return access_lane(w, in, space, address, lane, bytes, align, write);
}

#endif
