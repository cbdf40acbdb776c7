/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <va/va.h>
#include <wire/log.h>

#include "session_private.h"

const struct vd_cap *session_offer_find(const struct session *s, uint32_t profile,
                                        uint32_t entrypoint)
{
    for (uint32_t i = 0; i < s->cap_count; i++) {
        if (s->caps[i].profile == profile && s->caps[i].entrypoint == entrypoint)
            return &s->caps[i];
    }
    return NULL;
}

bool session_offer_has_format(const struct session *s, uint32_t engine,
                              const struct format_info *format)
{
    for (uint32_t i = 0; i < s->cap_count; i++) {
        for (uint32_t j = 0; j < s->caps[i].format_count && s->cap_engine[i] == engine; j++) {
            if (format_find(s->caps[i].formats[j]) == format)
                return true;
        }
    }
    return false;
}

/* Takes all other surface formats, and what is left without one, out of the offer. */
void session_offer_keep(struct session *s, uint32_t fourcc)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->cap_count; i++) {
        struct vd_cap cap = s->caps[i];
        bool has = false;

        for (uint32_t j = 0; j < cap.format_count; j++)
            has = has || cap.formats[j] == fourcc;
        memset(cap.formats, 0, sizeof(cap.formats));
        cap.formats[0] = fourcc;
        cap.format_count = 1;
        if (!has)
            continue;
        s->cap_engine[kept] = s->cap_engine[i];
        s->caps[kept++] = cap;
    }
    s->cap_count = kept;
}

static bool encodes(uint32_t entrypoint)
{
    return entrypoint == VAEntrypointEncSlice || entrypoint == VAEntrypointEncSliceLP ||
           entrypoint == VAEntrypointEncPicture;
}

/*
 * Whether one of the first `count` rows does that work. The entry points of encoders are two names
 * of it: a program that looks for one and then the other must end up at the better engine.
 */
static bool offered(const struct session *s, uint32_t count, const struct vd_cap *cap)
{
    for (uint32_t i = 0; i < count; i++) {
        if (s->caps[i].profile == cap->profile && encodes(s->caps[i].entrypoint) &&
            encodes(cap->entrypoint))
            return true;
    }
    return session_offer_find(s, cap->profile, cap->entrypoint);
}

/* Takes what an engine alone serves into the session_offer; returns whether there was something. */
static bool offer_engine(struct session *s, uint32_t index)
{
    const struct engine *engine = &s->set->at[index];
    struct vd_cap caps[VD_MAX_CAPS];
    uint32_t count = engine_caps(engine, caps), before = s->cap_count;

    for (uint32_t i = 0; i < count && s->cap_count < VD_MAX_CAPS; i++) {
        struct vd_cap *cap = &s->caps[s->cap_count];

        if (offered(s, before, &caps[i]))
            continue;
        *cap = caps[i];
        /* Encoders say which one they are. */
        if (!cap->engine[0])
            snprintf(cap->engine, sizeof(cap->engine), "%s",
                     engine->name[0] ? engine->name : engine->backend->name);
        s->cap_engine[s->cap_count++] = (uint8_t)index;
    }
    return s->cap_count > before;
}

/*
 * What the engines offer together: for each profile and entry point the first one that has it.
 * Devices are opened here, if they have something to do; returns how many.
 */
uint32_t session_offer(struct session *s)
{
    uint32_t opened = 0;

    for (uint32_t i = 0; i < s->set->count; i++) {
        const struct engine *engine = &s->set->at[i];
        uint32_t before = s->cap_count;

        if (!offer_engine(s, i) || !engine->backend->open)
            continue;
        if (engine->backend->open(engine->device, s->options, &s->devices[i])) {
            log_warn("engine %s is gone; others take its place", engine->name);
            s->cap_count = before;
            s->devices[i] = NULL;
        } else {
            opened++;
        }
    }
    return opened;
}
