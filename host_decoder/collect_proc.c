/* SPDX-License-Identifier: MIT */
#include "collect_proc.h"

#include <string.h>
#include <va/va.h>
#include <va/va_vpp.h>
#include <viaduct/errors.h>

/* All references inside the zone and shaped like a pipeline; bytes of all of them. */
static int measure(const struct arena *arena, const struct vd_buffer_ref *refs, uint32_t count,
                   uint64_t *ret_bytes)
{
    uint64_t total = 0;
    int err = count && count <= VD_MAX_PIPELINES ? 0 : VD_ERR_PARAMETER;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t bytes = (uint64_t)refs[i].size * refs[i].count;

        if (arena_check_upload(arena, refs[i].offset, bytes))
            return VD_ERR_PROTOCOL;
        if (refs[i].type != VAProcPipelineParameterBufferType || refs[i].count != 1 ||
            refs[i].size < sizeof(struct vd_proc_pipeline) ||
            refs[i].size > sizeof(struct vd_proc_pipeline) +
                               VD_MAX_PROC_FILTERS * sizeof(struct vd_proc_filter))
            err = VD_ERR_PARAMETER;
        total += (bytes + 7) & ~7ull;
    }
    *ret_bytes = total;
    return err;
}

/* What the guest driver always keeps to. */
static int check(const struct vd_proc_pipeline *p, uint32_t size)
{
    if (p->filter_count > VD_MAX_PROC_FILTERS ||
        size != sizeof(*p) + p->filter_count * sizeof(struct vd_proc_filter) ||
        p->forward_count > VD_MAX_PROC_REFS || p->backward_count > VD_MAX_PROC_REFS ||
        p->flags & ~VD_PROC_FLAGS)
        return VD_ERR_PROTOCOL;
    return 0;
}

static int set_read(struct surface_read *read, uint32_t id, collect_find_surface find, void *arg)
{
    *read = (struct surface_read){.surface = find(arg, id)};
    return read->surface ? 0 : VD_ERR_ID;
}

static int set_reads(struct backend_work *work, const struct vd_proc_pipeline *p,
                     collect_find_surface find, void *arg)
{
    int err = set_read(&work->reads[work->read_count++], p->surface, find, arg);

    for (uint32_t i = 0; i < p->forward_count && !err; i++)
        err = set_read(&work->reads[work->read_count++], p->forward[i], find, arg);
    for (uint32_t i = 0; i < p->backward_count && !err; i++)
        err = set_read(&work->reads[work->read_count++], p->backward[i], find, arg);
    return err;
}

/* Whether pixels of the target may show through. */
static bool shows_target(const struct vd_proc_pipeline *lowest)
{
    return VD_PROC_KEEPS(lowest->background) && lowest->flags & (VD_PROC_DEST | VD_PROC_BLEND);
}

int collect_proc(const struct arena *arena, const struct vd_buffer_ref *refs, uint32_t count,
                 struct block_pool *blocks, struct surface *target, collect_find_surface find,
                 void *find_arg, struct block **ret_block, struct backend_work **ret_work)
{
    const size_t reads = 1 + 2 * VD_MAX_PROC_REFS;
    const struct vd_proc_pipeline **pipelines;
    struct backend_work *work;
    struct block *block;
    uint64_t bytes;
    uint8_t *at;
    int err = measure(arena, refs, count, &bytes);

    if (err)
        return err;
    bytes += sizeof(*work) + count * (sizeof(*pipelines) + reads * sizeof(struct surface_read)) +
             sizeof(struct surface_read);
    err = block_get(blocks, bytes, &block);
    if (err)
        return err;
    work = (struct backend_work *)block->bytes;
    *work = (struct backend_work){.reads = (struct surface_read *)(work + 1)};
    pipelines = (const struct vd_proc_pipeline **)(work->reads + count * reads + 1);
    at = (uint8_t *)(pipelines + count);
    work->pipelines = pipelines;
    for (uint32_t i = 0; i < count && !err; i++) {
        struct vd_proc_pipeline *p = (struct vd_proc_pipeline *)at;

        memcpy(at, arena->base + refs[i].offset, refs[i].size);
        at += (refs[i].size + 7) & ~7u;
        pipelines[work->pipeline_count++] = p;
        err = check(p, refs[i].size);
        if (!err)
            err = set_reads(work, p, find, find_arg);
    }
    if (err) {
        block_unref(&block);
        return err;
    }
    if (shows_target(pipelines[0])) {
        work->reads[work->read_count++] = (struct surface_read){.surface = target};
        work->under = true;
    }
    *ret_block = block;
    *ret_work = work;
    return 0;
}
