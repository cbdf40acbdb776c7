/* SPDX-License-Identifier: MIT */
#include "shelf.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "special.h"

struct shelf {
    pthread_mutex_t lock;
    pthread_cond_t loaded;
    struct shelf_model *models;
    uint64_t clock; /* counts models that were put back */
};

struct shelf *shelf_create(void)
{
    struct shelf *s = calloc(1, sizeof(*s));

    if (s) {
        pthread_mutex_init(&s->lock, NULL);
        pthread_cond_init(&s->loaded, NULL);
    }
    return s;
}

static void free_model(struct shelf_model *m)
{
    if (m->provider && m->model)
        m->provider->destroy(m->model);
    special_source_destroy(m->source);
    free(m->info);
    free(m);
}

void shelf_destroy(struct shelf *s)
{
    if (!s)
        return;
    while (s->models) {
        struct shelf_model *m = s->models;

        s->models = m->next;
        free_model(m);
    }
    pthread_cond_destroy(&s->loaded);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static bool same(const struct shelf_key *a, const struct shelf_key *b)
{
    return a->size == b->size && a->threads == b->threads && a->require == b->require &&
           !memcmp(a->hash, b->hash, sizeof(a->hash)) &&
           !memcmp(a->devices, b->devices, sizeof(a->devices));
}

static struct shelf_model *find(struct shelf *s, const struct shelf_key *key)
{
    struct shelf_model *m = s->models;

    while (m && !same(&m->key, key))
        m = m->next;
    return m;
}

static void unlink_model(struct shelf *s, const struct shelf_model *m)
{
    struct shelf_model **at = &s->models;

    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
}

struct shelf_model *shelf_find(struct shelf *s, const struct shelf_key *key)
{
    struct shelf_model *m;

    pthread_mutex_lock(&s->lock);
    m = find(s, key);
    if (m && m->loading)
        m = NULL;
    if (m)
        m->holders++;
    pthread_mutex_unlock(&s->lock);
    return m;
}

int shelf_take(struct shelf *s, const struct shelf_key *key,
               int (*load)(void *owner, struct shelf_model *model), void *owner,
               struct shelf_model **ret_model)
{
    struct shelf_model *m;
    int err = 0;

    pthread_mutex_lock(&s->lock);
    /* A load that fails is tried again by who waited: it may be told why, too. */
    while ((m = find(s, key)) && m->loading)
        pthread_cond_wait(&s->loaded, &s->lock);
    if (m) {
        m->holders++;
        pthread_mutex_unlock(&s->lock);
        *ret_model = m;
        return 0;
    }
    m = calloc(1, sizeof(*m));
    if (!m) {
        pthread_mutex_unlock(&s->lock);
        return VD_ERR_MEMORY;
    }
    m->key = *key;
    m->loading = true;
    m->holders = 1;
    m->next = s->models;
    s->models = m;
    pthread_mutex_unlock(&s->lock);
    err = load(owner, m);
    pthread_mutex_lock(&s->lock);
    m->loading = false;
    if (err)
        unlink_model(s, m);
    pthread_cond_broadcast(&s->loaded);
    pthread_mutex_unlock(&s->lock);
    if (err)
        free(m);
    else
        *ret_model = m;
    return err;
}

/* Takes out what is idle beyond `models` and `bytes`, the oldest first; a list of it. */
static struct shelf_model *take_idle(struct shelf *s, uint32_t models, uint64_t bytes)
{
    struct shelf_model *list = NULL;

    for (;;) {
        struct shelf_model *oldest = NULL;
        uint64_t idle_bytes = 0;
        uint32_t idle = 0;

        for (struct shelf_model *m = s->models; m; m = m->next) {
            if (m->holders)
                continue;
            idle++;
            idle_bytes += m->key.size;
            if (!oldest || m->used < oldest->used)
                oldest = m;
        }
        if (!oldest || (idle <= models && idle_bytes <= bytes))
            return list;
        unlink_model(s, oldest);
        oldest->next = list;
        list = oldest;
    }
}

static void free_list(struct shelf_model *list)
{
    while (list) {
        struct shelf_model *m = list;

        list = m->next;
        free_model(m);
    }
}

void shelf_put(struct shelf *s, struct shelf_model *m)
{
    struct shelf_model *idle;

    if (!m)
        return;
    pthread_mutex_lock(&s->lock);
    m->holders--;
    m->used = ++s->clock;
    idle = take_idle(s, SHELF_IDLE_MODELS, SHELF_IDLE_BYTES);
    pthread_mutex_unlock(&s->lock);
    /* Drivers may take their time. */
    free_list(idle);
}

void shelf_trim(struct shelf *s)
{
    struct shelf_model *idle;

    pthread_mutex_lock(&s->lock);
    idle = take_idle(s, 0, 0);
    pthread_mutex_unlock(&s->lock);
    free_list(idle);
}
