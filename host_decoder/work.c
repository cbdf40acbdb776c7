/* SPDX-License-Identifier: MIT */
#include "work.h"

#include <viaduct/errors.h>

/* What the encoder's codec reads from the app's buffers. */
static int collect_request(const struct work_setup *setup, struct context *context,
                           const struct encode_codec *codec, void *state,
                           const struct surface *surface, const struct vd_buffer_ref *refs,
                           uint32_t count, struct block **ret_block, struct backend_work **ret_work)
{
    const struct backend_context_info *info = context_info(context);
    struct encode_picture *picture = &setup->collect->picture;
    struct encode_request *request;
    struct backend_work *work;
    struct block *block;
    int err = collect_encode(setup->collect, setup->arena, refs, count, info->codec, setup->blocks,
                             &block, &work, &request);

    if (err)
        return err;
    picture->profile = (int)info->profile;
    picture->width = info->width;
    picture->height = info->height;
    picture->surface_width = surface->width;
    picture->surface_height = surface->height;
    picture->rate_control = info->rate_control;
    picture->packed_headers = info->packed_headers;
    err = codec->read(state, picture, request);
    if (err) {
        block_unref(&block);
        return err;
    }
    *ret_block = block;
    *ret_work = work;
    return 0;
}

static int collect_input(const struct work_setup *setup, struct context *context,
                         struct surface *surface, const struct vd_buffer_ref *refs, uint32_t count,
                         struct block **ret_block, struct backend_work **ret_work)
{
    void *state;
    const struct encode_codec *codec = context_encode(context, &state);
    int err = codec ? collect_request(setup, context, codec, state, surface, refs, count, ret_block,
                                      ret_work)
                    : collect_buffers(setup->arena, refs, count, context_codec(context),
                                      setup->blocks, ret_block, ret_work);

    if (!err)
        (*ret_work)->reads[0].surface = surface;
    return err;
}

/*
 * An encoder's picture that is refused still waits for what is in its surface: the guest takes its
 * completion for that of all before it.
 */
static void collect_nothing(const struct work_setup *setup, struct surface *surface,
                            struct block **ret_block, struct backend_work **ret_work)
{
    struct backend_work *work;

    if (block_get(setup->blocks, sizeof(*work) + sizeof(*work->reads), ret_block))
        return;
    work = (struct backend_work *)(*ret_block)->bytes;
    *work = (struct backend_work){.reads = (struct surface_read *)(work + 1), .read_count = 1};
    surface_read_begin(surface, &work->reads[0]);
    *ret_work = work;
}

int work_collect(const struct work_setup *setup, struct context *context, struct surface *surface,
                 const struct vd_buffer_ref *refs, uint32_t count, struct block **ret_block,
                 struct backend_work **ret_work)
{
    struct backend_work *work;
    int err;

    if (context_info(context)->codec == VD_CODEC_PROC)
        err = collect_proc(setup->arena, refs, count, setup->blocks, surface, setup->find,
                           setup->find_arg, ret_block, &work);
    else
        err = collect_input(setup, context, surface, refs, count, ret_block, &work);
    if (err && err != VD_ERR_PROTOCOL && context_encodes(context))
        collect_nothing(setup, surface, ret_block, ret_work);
    if (err)
        return err;
    for (uint32_t i = 0; i < work->read_count; i++)
        surface_read_begin(work->reads[i].surface, &work->reads[i]);
    *ret_work = work;
    return 0;
}

void work_drop(struct backend_work *work)
{
    for (uint32_t i = 0; work && i < work->read_count; i++)
        surface_read_end(&work->reads[i]);
}
