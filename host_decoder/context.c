/* SPDX-License-Identifier: MIT */
#include "context.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <transport/fence.h>
#include <transport/mirror.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/log.h>

struct context {
    struct context_setup setup;
    /*
     * Replaced by the dispatcher before it queues the first job; the thread looks at it only
     * after that.
     */
    struct decoder *decoder;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Numbers of jobs, from 1: queued <= submitted to the decoder <= complete. */
    uint64_t queued, taken;
    uint64_t complete; /* jobs complete in this order, so this is a count, too */
    uint64_t kicked;   /* flush up to this number; 0: nobody waits */
    bool quit;
    struct backend_job jobs[VD_MAX_IN_FLIGHT];
    /* The dispatcher's: what each job needs of other contexts; see context_needs. */
    struct context_need needs[VD_MAX_IN_FLIGHT][CONTEXT_MAX_NEEDS];
};

static struct backend_job *job_at(struct context *context, uint64_t number)
{
    return &context->jobs[number % VD_MAX_IN_FLIGHT];
}

static void release_job(struct backend_job *job)
{
    pool_unref(&job->backing);
    pool_unref(&job->display_backing);
    device_frame_unref(&job->device);
    device_frame_unref(&job->display_device);
    for (uint32_t i = 0; job->work && i < job->work->read_count; i++)
        surface_read_end(&job->work->reads[i]);
    surface_unref(&job->surface);
    surface_unref(&job->display);
    block_unref(&job->block);
}

static bool ends(struct context *context)
{
    bool quit;

    pthread_mutex_lock(&context->lock);
    quit = context->quit;
    pthread_mutex_unlock(&context->lock);
    return quit;
}

/* What was encoded, for a guest that does not see the coded buffer. */
static void mirror_coded(struct arena *arena, const struct backend_job *job)
{
    const struct backend_work *work = job->work;
    struct vd_coded head;
    uint64_t size;

    if (!work || !work->coded)
        return;
    memcpy(&head, work->coded, sizeof(head));
    size = VD_CODED_HEAD + (uint64_t)head.size;
    if (size > work->coded_room)
        size = work->coded_room;
    mirror_host_coded(arena->mirror, (uint64_t)(work->coded - arena->base), (uint32_t)size);
}

/* backend_context_info.done: publishes one picture. Context's thread. */
static void job_done(void *arg, struct backend_job *job)
{
    struct context *context = arg;
    struct vd_context_slot *slot =
        &context->setup.arena->status->contexts[VD_SLOT(context->setup.id)];
    struct backend_job done;
    uint32_t count;

    /* One whose reads were cancelled has waited for nothing, and its context is gone for the guest.
     */
    if (context_encodes(context) && job->status && ends(context))
        log_debug("context %#x ends: a picture less", (unsigned)context->setup.id);
    else if (context_encodes(context))
        surface_complete_use(job->surface, job->sequence, job->status);
    else if (job->device)
        surface_complete_device(job->surface, job->sequence, job->device,
                                job->flags & VD_SUBMIT_FIXED, job->fetch, job->status, job->errors);
    else
        surface_complete(job->surface, job->sequence, job->backing, job->status, job->errors);
    if (job->display && job->display_device)
        surface_complete_device(job->display, job->display_sequence, job->display_device,
                                job->flags & VD_SUBMIT_DISPLAY_FIXED, job->fetch, job->status,
                                job->errors);
    else if (job->display)
        surface_complete(job->display, job->display_sequence, job->display_backing, job->status,
                         job->errors);
    if (!job->status && context_encodes(context))
        stats_add(&context->setup.stats->encoded, 1);
    else if (!job->status && job->work)
        stats_add(&context->setup.stats->processed, 1);
    else if (!job->status)
        stats_add(&context->setup.stats->decoded, 1);
    else if (job->backing || job->device)
        stats_add(&context->setup.stats->concealed, 1);
    else
        stats_add(&context->setup.stats->failed, 1);
    stats_set(&context->setup.stats->frame_bytes, pool_bytes(job->surface->pool));
    stats_add(&context->setup.stats->bytes_out, job->coded_size);
    stats_set(&context->setup.stats->mapped,
              __atomic_load_n(&context->setup.arena->status->mapped, __ATOMIC_RELAXED));
    if (context->setup.arena->mirror)
        mirror_coded(context->setup.arena, job);
    done = *job;
    pthread_mutex_lock(&context->lock);
    context->complete++;
    count = (uint32_t)context->complete;
    pthread_mutex_unlock(&context->lock);
    /* Not before it counts as complete: cancel_reads looks at jobs that are not. */
    release_job(&done);
    arena_signal(context->setup.arena, &slot->done, &slot->waiters, count);
    if (context->setup.arena->mirror)
        mirror_host_context(context->setup.arena->mirror, context->setup.id, count);
}

/* The pictures that a job reads. A damaged one is read all the same; one that will not come fails
 * it. */
static void await_reads(struct backend_job *job)
{
    for (uint32_t i = 0; job->work && i < job->work->read_count; i++) {
        int err = surface_read_wait(&job->work->reads[i]);

        if (err == VD_ERR_GONE && !job->refused)
            job->refused = err;
    }
}

static void *context_run(void *arg)
{
    struct context *context = arg;
    const struct backend *backend = context->setup.backend;

    pthread_mutex_lock(&context->lock);
    while (!context->quit) {
        if (context->taken < context->queued) {
            struct backend_job *job = job_at(context, ++context->taken);

            pthread_mutex_unlock(&context->lock);
            await_reads(job);
            backend->submit(context->decoder->context, job);
            pthread_mutex_lock(&context->lock);
        } else if (context->kicked) {
            uint64_t number = context->kicked;

            context->kicked = 0;
            pthread_mutex_unlock(&context->lock);
            backend->flush(context->decoder->context, number);
            pthread_mutex_lock(&context->lock);
        } else {
            pthread_cond_wait(&context->wake, &context->lock);
        }
    }
    pthread_mutex_unlock(&context->lock);
    return NULL;
}

int context_create(const struct context_setup *setup, struct context **ret_context,
                   struct backend_context_traits *ret_traits)
{
    struct context *context = calloc(1, sizeof(*context));
    int err;

    if (!context)
        return VD_ERR_MEMORY;
    context->setup = *setup;
    context->setup.info.done = job_done;
    context->setup.info.done_arg = context;
    setup->arena->status->contexts[VD_SLOT(setup->id)].done = 0;
    err = decoder_create(setup->backend, &context->setup.info, setup->decoder, &context->decoder,
                         ret_traits);
    if (err)
        goto fail;
    pthread_mutex_init(&context->lock, NULL);
    pthread_cond_init(&context->wake, NULL);
    if (!setup->backend->immediate &&
        pthread_create(&context->thread, NULL, context_run, context)) {
        err = VD_ERR_MEMORY;
        goto fail_thread;
    }
    *ret_context = context;
    return 0;
fail_thread:
    pthread_cond_destroy(&context->wake);
    pthread_mutex_destroy(&context->lock);
    decoder_destroy(context->decoder);
fail:
    free(context);
    return err;
}

/*
 * The thread may wait for a picture of a context that is about to end, too. Jobs from taken on are
 * not released while the lock is held: they complete in order, under it.
 */
static void cancel_reads(struct context *context)
{
    for (uint64_t n = context->complete + 1; n <= context->queued; n++) {
        struct backend_work *work = job_at(context, n)->work;

        for (uint32_t i = 0; work && i < work->read_count; i++)
            surface_read_cancel(&work->reads[i], VD_ERR_GONE);
    }
}

struct decoder *context_leave(struct context *context)
{
    struct decoder *decoder = NULL;

    if (!context)
        return NULL;
    pthread_mutex_lock(&context->lock);
    context->quit = true;
    cancel_reads(context);
    pthread_cond_signal(&context->wake);
    pthread_mutex_unlock(&context->lock);
    if (!context->setup.backend->immediate)
        pthread_join(context->thread, NULL);
    /* A decoder that does not may still complete pictures on a thread of its own. */
    if (decoder_survives(context->decoder) && context->complete == context->queued)
        decoder = context->decoder;
    else
        decoder_destroy(context->decoder);
    for (uint64_t n = context->complete + 1; n <= context->queued; n++) {
        struct backend_job *job = job_at(context, n);

        /* An encoder's picture never was to come to the surface: what is on its way still does. */
        if (!context_encodes(context))
            surface_give_up(job->surface, job->sequence);
        if (job->display)
            surface_give_up(job->display, job->display_sequence);
        release_job(job);
    }
    pthread_cond_destroy(&context->wake);
    pthread_mutex_destroy(&context->lock);
    free(context);
    return decoder;
}

void context_destroy(struct context *context)
{
    decoder_destroy(context_leave(context));
}

void context_adopt(struct context *context, struct decoder_park *park, uint32_t place)
{
    struct decoder *decoder =
        decoder_park_take(park, place, context->setup.backend, context->setup.info.codec);

    if (!decoder)
        return;
    log_debug("context %#x goes on with decoder %llu", (unsigned)context->setup.id,
              (unsigned long long)decoder->number);
    decoder_destroy(context->decoder);
    context->decoder = decoder;
    decoder->backend->context_adopt(decoder->context, &context->setup.info);
}

bool context_fresh(const struct context *context)
{
    return !context->queued;
}

uint64_t context_decoder(const struct context *context)
{
    return context->decoder->number;
}

uint32_t context_id(const struct context *context)
{
    return context->setup.id;
}

enum vd_codec context_codec(const struct context *context)
{
    return context->setup.info.codec;
}

size_t context_gap(const struct context *context)
{
    const struct bitstream_builder *builder = context->decoder->builder;

    return builder ? builder->gap : BITSTREAM_SLICE_GAP;
}

static uint32_t add_need(struct context_need *needs, uint32_t count, uint32_t room, uint32_t id,
                         uint32_t picture)
{
    for (uint32_t i = 0; i < count; i++) {
        if (needs[i].context == id) {
            if ((int32_t)(picture - needs[i].picture) > 0)
                needs[i].picture = picture;
            return count;
        }
    }
    /* More contexts than there is room for: those are finished when the guest waits for them. */
    if (count == room)
        return count;
    needs[count] = (struct context_need){id, picture};
    return count + 1;
}

/* Whose pictures the reads of a job wait for: the youngest of each context. */
static void note_needs(struct context *context, uint64_t number, const struct backend_work *work)
{
    struct context_need *needs = context->needs[number % VD_MAX_IN_FLIGHT];
    uint32_t count = 0;

    for (uint32_t i = 0; work && i < work->read_count; i++) {
        const struct surface *surface = work->reads[i].surface;

        if (surface && surface->writer)
            count =
                add_need(needs, count, CONTEXT_MAX_NEEDS, surface->writer, surface->writer_picture);
    }
    if (count < CONTEXT_MAX_NEEDS)
        needs[count].context = 0;
}

uint32_t context_needs(struct context *context, uint32_t picture, struct context_need *ret_needs,
                       uint32_t room)
{
    uint64_t first, last = context->queued;
    int32_t ahead = (int32_t)(picture - (uint32_t)last);
    uint32_t count = 0;

    if (ahead < 0 && (uint64_t) - (int64_t)ahead < last)
        last -= (uint64_t) - (int64_t)ahead;
    pthread_mutex_lock(&context->lock);
    first = context->complete + 1;
    pthread_mutex_unlock(&context->lock);
    for (uint64_t n = first; n <= last; n++) {
        const struct context_need *needs = context->needs[n % VD_MAX_IN_FLIGHT];

        for (uint32_t i = 0; i < CONTEXT_MAX_NEEDS && needs[i].context; i++)
            count = add_need(ret_needs, count, room, needs[i].context, needs[i].picture);
    }
    return count;
}

uint32_t context_submitted(const struct context *context)
{
    return (uint32_t)context->queued;
}

const struct encode_codec *context_encode(const struct context *context, void **ret_state)
{
    *ret_state = context->decoder->read_state;
    return context->decoder->encode;
}

bool context_decodes(const struct context *context)
{
    return context->setup.info.entrypoint == VAEntrypointVLD;
}

bool context_encodes(const struct context *context)
{
    uint32_t entrypoint = context->setup.info.entrypoint;

    return entrypoint == VAEntrypointEncSlice || entrypoint == VAEntrypointEncSliceLP ||
           entrypoint == VAEntrypointEncPicture;
}

const struct backend_context_info *context_info(const struct context *context)
{
    return &context->setup.info;
}

int context_submit(struct context *context, const struct context_target *target,
                   struct block *block, const struct va_picture *picture, int refused)
{
    const struct decoder *decoder = context->decoder;
    struct bitstream_packet packet = {0};
    struct backend_job *job;
    uint64_t in_flight;

    pthread_mutex_lock(&context->lock);
    in_flight = context->queued - context->complete;
    pthread_mutex_unlock(&context->lock);
    if (in_flight >= VD_MAX_IN_FLIGHT)
        return VD_ERR_PROTOCOL;
    if (!refused && decoder->builder && !target->work) {
        struct va_picture p = *picture;

        p.profile = (int)context->setup.info.profile;
        p.width = context->setup.info.width;
        p.height = context->setup.info.height;
        refused = decoder->builder->build(decoder->builder_state, &p, &packet);
    }
    pthread_mutex_lock(&context->lock);
    job = job_at(context, context->queued + 1);
    *job = (struct backend_job){
        .surface = target->surface,
        .sequence = target->sequence,
        .display = target->display,
        .display_sequence = target->display_sequence,
        .flags = target->flags,
        .number = context->queued + 1,
        .refused = refused,
        .block = block,
        .packet = packet,
        .work = target->work,
    };
    note_needs(context, context->queued + 1, target->work);
    context->queued++;
    if (context->setup.backend->immediate) {
        context->taken++;
        job->picture = refused ? NULL : picture;
        pthread_mutex_unlock(&context->lock);
        decoder->backend->submit(decoder->context, job);
        return 0;
    }
    pthread_cond_signal(&context->wake);
    pthread_mutex_unlock(&context->lock);
    return 0;
}

void context_kick(struct context *context, uint32_t picture)
{
    uint64_t number;
    int32_t ahead;

    pthread_mutex_lock(&context->lock);
    /* The count as the client sees it wraps; a picture it did not submit is nobody's. */
    ahead = (int32_t)(picture - (uint32_t)context->queued);
    number = context->queued;
    if (ahead < 0 && (uint64_t) - (int64_t)ahead < number)
        number -= (uint64_t) - (int64_t)ahead;
    if (context->setup.backend->immediate) {
        pthread_mutex_unlock(&context->lock);
        context->setup.backend->flush(context->decoder->context, number);
        return;
    }
    if (number > context->kicked)
        context->kicked = number;
    pthread_cond_signal(&context->wake);
    pthread_mutex_unlock(&context->lock);
}
