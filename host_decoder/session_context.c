/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <va/va.h>
#include <viaduct/errors.h>

#include "session_private.h"

/* Whether a surface that this decoder decoded is left. */
bool session_decoder_needed(void *arg, uint64_t number)
{
    const struct session *s = arg;

    for (size_t i = 0; i < VD_MAX_SURFACES; i++) {
        if (s->surfaces[i] && s->surfaces[i]->decoder == number)
            return true;
    }
    return false;
}

/* Whether these bits are among those that a cap's attribute offers; no bits always are. */
static bool attribute_allows(const struct vd_cap *cap, uint32_t type, uint32_t bits)
{
    for (uint32_t i = 0; i < cap->attribute_count && i < VD_MAX_CAP_ATTRIBUTES; i++) {
        if (cap->attributes[i] == type)
            return !(bits & ~cap->values[i]);
    }
    return !bits;
}

int session_context_create(void *self, const struct vd_context_create_req *req,
                           const struct vd_none *tail, uint32_t tail_count,
                           struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_context_create_rep *rep = reply->fixed;
    struct backend_context_traits traits = {0};
    const struct vd_cap *cap = session_offer_find(s, req->profile, req->entrypoint);
    struct context_setup setup = {
        .id = req->context,
        .arena = &s->arena,
        .info = {.profile = req->profile,
                 .entrypoint = req->entrypoint,
                 .rate_control = req->rate_control,
                 .packed_headers = req->packed_headers,
                 .width = req->width,
                 .height = req->height,
                 .codec = codecs_of((int)req->profile, (int)req->entrypoint),
                 .options = s->options,
                 .pool = s->pool,
                 .find_surface = session_surface_of,
                 .find_arg = s,
                 .surfaces = s->surface_count},
        .stats = s->stats,
    };
    int err = 0;

    (void)tail, (void)tail_count;
    if (VD_SLOT(req->context) >= VD_MAX_CONTEXTS || s->contexts[VD_SLOT(req->context)] ||
        s->models[VD_SLOT(req->context)])
        return VD_ERR_PROTOCOL;
    /* A guest whose first session offered more asks for more. */
    if (cap)
        setup.info.rt_formats = cap->rt_formats & req->rt_formats;
    if (!setup.info.rt_formats)
        err = VD_ERR_UNSUPPORTED;
    else if (req->width < cap->min_width || req->width > cap->max_width ||
             req->height < cap->min_height || req->height > cap->max_height)
        err = VD_ERR_RESOLUTION;
    else if (!attribute_allows(cap, VAConfigAttribRateControl, req->rate_control) ||
             !attribute_allows(cap, VAConfigAttribEncPackedHeaders, req->packed_headers))
        err = VD_ERR_PARAMETER;
    else if (s->context_count >= s->limits->contexts)
        err = VD_ERR_LIMIT;
    if (!err) {
        const struct engine *engine = &s->set->at[s->cap_engine[cap - s->caps]];

        s->engine = s->cap_engine[cap - s->caps];
        setup.backend = engine->backend;
        setup.info.device = s->devices[s->engine];
        memcpy(s->stats->engine, cap->engine, sizeof(s->stats->engine));
        setup.decoder = ++s->decoder_count;
        err = context_create(&setup, &s->contexts[VD_SLOT(req->context)], &traits);
    }
    if (!err) {
        s->stats->contexts = ++s->context_count;
        rep->flags = traits.flags;
        rep->depth = traits.depth;
    }
    rep->status = (uint32_t)-err;
    return 0;
}

int session_context_destroy(void *self, const struct vd_context_destroy_req *req,
                            const struct vd_none *tail, uint32_t tail_count,
                            struct dispatch_reply *reply)
{
    struct session *s = self;
    struct context *context = session_find_context(s, req->context);

    (void)tail, (void)tail_count, (void)reply;
    if (!context)
        return VD_ERR_PROTOCOL;
    s->contexts[VD_SLOT(req->context)] = NULL;
    s->stats->contexts = --s->context_count;
    decoder_park_put(&s->park, context_leave(context));
    decoder_park_sweep(&s->park, session_decoder_needed, s);
    if (!s->context_count)
        block_pool_trim(s->blocks);
    pool_trim(s->pool);
    stats_set(&s->stats->frame_bytes, pool_bytes(s->pool));
    return 0;
}

/*
 * A picture that is waited for may itself wait for one of another context, which is held back
 * there until somebody wants it. Each picture needs older ones only, so this ends.
 */
static void kick(struct session *s, const struct context *context, uint32_t picture)
{
    struct context_need needs[VD_MAX_CONTEXTS] = {{context_id(context), picture}};
    uint32_t wanted[VD_MAX_CONTEXTS], count = 1;
    uint64_t seen = 0, open = 0; /* contexts, by slot */

    _Static_assert(VD_MAX_CONTEXTS <= 64, "slots are bits");
    for (;;) {
        unsigned slot;

        for (uint32_t i = 0; i < count; i++) {
            slot = VD_SLOT(needs[i].context);
            if (!session_find_context(s, needs[i].context) ||
                (seen >> slot & 1 && (int32_t)(needs[i].picture - wanted[slot]) <= 0))
                continue;
            wanted[slot] = needs[i].picture;
            seen |= UINT64_C(1) << slot;
            open |= UINT64_C(1) << slot;
        }
        if (!open)
            return;
        slot = (unsigned)__builtin_ctzll(open);
        open &= open - 1;
        count = context_needs(s->contexts[slot], wanted[slot], needs, VD_MAX_CONTEXTS);
        context_kick(s->contexts[slot], wanted[slot]);
    }
}

void session_kick_picture(struct session *s, uint32_t context, uint32_t picture)
{
    const struct context *c = session_find_context(s, context);

    if (c)
        kick(s, c, picture);
}

int session_kick(void *self, const struct vd_kick_req *req, const struct vd_none *tail,
                 uint32_t tail_count, struct dispatch_reply *reply)
{
    struct session *s = self;
    struct context *context = session_find_context(s, req->context);

    (void)tail, (void)tail_count, (void)reply;
    if (!context)
        return VD_ERR_PROTOCOL;
    kick(s, context, req->picture);
    return 0;
}
