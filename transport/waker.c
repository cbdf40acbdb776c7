/* SPDX-License-Identifier: MIT */
#include "waker.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "message.h"

/* A guest that does not read for this long is given up, as with replies. */
#define WAKER_SEND_MS 10000
/* Words that may be slept on are the first of lines; behind the surfaces there are none. */
#define WAKER_LINE  64u
#define WAKER_LINES (offsetof(struct vd_status_page, backings) / WAKER_LINE)
#define WAKER_WORDS ((WAKER_LINES + 63) / 64)

struct waker {
    struct channel *channel;
    struct arena *arena;
    pthread_t thread;
    pthread_mutex_t send; /* whoever writes to the channel */
    pthread_mutex_t lock; /* all below; never held while something is sent */
    pthread_cond_t wake;
    bool quit, any;
    uint64_t lines[WAKER_WORDS]; /* bits of lines whose sleepers are to be woken */
};

/* The newest value is in memory: one event a line, however often it was signalled. */
static int send_lines(struct waker *w, const uint64_t *lines)
{
    int err = 0;

    for (size_t i = 0; i < WAKER_WORDS && !err; i++) {
        for (uint64_t bits = lines[i]; bits && !err; bits &= bits - 1) {
            uint32_t line = (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(bits);
            struct vd_wake_event event = {.offset = line * WAKER_LINE};

            pthread_mutex_lock(&w->send);
            err = message_send(w->channel, VD_EVENT_wake, 0, &event, sizeof(event), NULL, 0, 0, -1,
                               WAKER_SEND_MS);
            pthread_mutex_unlock(&w->send);
        }
    }
    return err;
}

static void *waker_run(void *arg)
{
    struct waker *w = arg;
    uint64_t lines[WAKER_WORDS];
    int err = 0;

    while (!err) {
        pthread_mutex_lock(&w->lock);
        while (!w->quit && !w->any)
            pthread_cond_wait(&w->wake, &w->lock);
        if (w->quit) {
            pthread_mutex_unlock(&w->lock);
            return NULL;
        }
        for (size_t i = 0; i < WAKER_WORDS; i++) {
            lines[i] = w->lines[i];
            w->lines[i] = 0;
        }
        w->any = false;
        pthread_mutex_unlock(&w->lock);
        err = send_lines(w, lines);
    }
    if (err != VD_ERR_GONE)
        log_warn("nothing wakes the client any more: %s", errors_text(err));
    /* The session's thread sees the end of the channel. */
    w->channel->ops->shut(w->channel);
    return NULL;
}

int waker_create(struct channel *channel, struct arena *arena, struct waker **ret_waker)
{
    struct waker *w = calloc(1, sizeof(*w));

    if (!w)
        return VD_ERR_MEMORY;
    w->channel = channel;
    w->arena = arena;
    pthread_mutex_init(&w->send, NULL);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    if (pthread_create(&w->thread, NULL, waker_run, w)) {
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
        pthread_mutex_destroy(&w->send);
        free(w);
        return VD_ERR_MEMORY;
    }
    *ret_waker = w;
    return 0;
}

void waker_destroy(struct waker *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->quit = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    w->channel->ops->shut(w->channel);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    pthread_mutex_destroy(&w->send);
    free(w);
}

int waker_reply(struct waker *w, uint32_t op, uint32_t serial, const void *fixed, size_t fixed_size,
                const void *tail, uint32_t tail_count, size_t tail_element)
{
    int err;

    pthread_mutex_lock(&w->send);
    err = message_send(w->channel, op, serial, fixed, fixed_size, tail, tail_count, tail_element,
                       -1, WAKER_SEND_MS);
    pthread_mutex_unlock(&w->send);
    return err;
}

void waker_wake(struct waker *w, const uint32_t *word)
{
    size_t line = (size_t)((const uint8_t *)word - w->arena->base) / WAKER_LINE;

    pthread_mutex_lock(&w->lock);
    w->lines[line / 64] |= UINT64_C(1) << line % 64;
    if (!w->any)
        pthread_cond_signal(&w->wake);
    w->any = true;
    pthread_mutex_unlock(&w->lock);
}
