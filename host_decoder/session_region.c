/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <transport/waker.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "session_private.h"

/*
 * Sessions whose arena is memory that a virtual machine has in common with its host
 * (VD_FEATURE_REGION): one of the files of the machine, which its kernel shows as devices.
 *
 * Each file is one client's at a time: a lock on it, which ends with the session's process, keeps
 * the others out. It is emptied before it is used. Which one it is the guest is told by a random
 * number at its start, which only this client hears: whoever opens the device for it there
 * (viaduct-region) looks for that. A program that has kept a device may see it there, and show it
 * in another one; so the guest then writes a number of its own, and says which. So the host need
 * not know what the guest calls its devices, and a program of the guest cannot ask for those of
 * others.
 */

/* What the session had instead. */
static void drop_arena(struct session *s)
{
    block_pool_destroy(s->blocks);
    pool_destroy(s->pool);
    arena_finish(&s->arena);
    s->blocks = NULL;
    s->pool = NULL;
}

/* Nobody else has it, and it is empty. The arena takes the descriptor over. */
static int take(struct session_region *region, struct arena *ret_arena)
{
    int fd = region->fd;

    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? VD_ERR_BUSY : VD_ERR_IO;
    region->fd = -1;
    return arena_region(ret_arena, fd, region->offset, region->bytes);
}

static int use(struct session *s, const struct arena *arena, const uint64_t token[2])
{
    int err;

    drop_arena(s);
    s->arena = *arena;
    memcpy(s->arena.status->region, token, sizeof(s->arena.status->region));
    memcpy(s->region, token, sizeof(s->region));
    err = pool_create(&s->arena, s->limits->bytes, &s->pool);
    if (!err) {
        s->blocks = block_pool_create(s->pool);
        err = s->blocks ? 0 : VD_ERR_MEMORY;
    }
    return err ? err : waker_create(s->channel, &s->arena, &s->arena.waker);
}

int session_region_start(struct session *s)
{
    uint32_t count = s->region_count;
    int err = VD_ERR_BUSY, why = VD_ERR_BUSY;
    struct arena arena;
    uint64_t token[2];

    if (s->channel->ops->shares_memory || !count)
        return 0;
    if (getrandom(token, sizeof(token), 0) != sizeof(token))
        return 0;
    /* Not always the first: a program of the guest may have kept that. */
    for (uint32_t i = 0; i < count && err; i++) {
        err = take(&s->regions[(token[0] + i) % count], &arena);
        if (err && err != VD_ERR_BUSY)
            why = err;
    }
    session_region_close(s);
    if (!err)
        return use(s, &arena, token);
    if (why == VD_ERR_BUSY)
        log_info("all %u regions of the machine are in use: this client goes without", count);
    else
        log_warn("a region of the machine cannot be used: %s", errors_text(why));
    return 0;
}

void session_region_close(struct session *s)
{
    for (uint32_t i = 0; i < s->region_count; i++) {
        if (s->regions[i].fd >= 0)
            close(s->regions[i].fd);
    }
    s->region_count = 0;
}

int session_region(void *self, const struct vd_region_req *req, const struct vd_none *tail,
                   uint32_t tail_count, struct dispatch_reply *reply)
{
    struct session *s = self;
    struct vd_region_rep *rep = reply->fixed;

    (void)tail, (void)tail_count;
    if (!s->arena.waker)
        return VD_ERR_PROTOCOL;
    /* The guest was given something else: by a program of it that could copy the number. */
    if ((req->first || req->second) &&
        (__atomic_load_n(&s->arena.status->region[0], __ATOMIC_ACQUIRE) != req->first ||
         __atomic_load_n(&s->arena.status->region[1], __ATOMIC_ACQUIRE) != req->second))
        return VD_ERR_PROTOCOL;
    rep->first = s->region[0];
    rep->second = s->region[1];
    return 0;
}
