/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <viaduct/errors.h>

#include "child.h"
#include "flow.h"

/* Contexts, their threads, and the blocks of a launch. */

#define SLICE       20000 /* instructions a warp runs before the next one has its turn */
#define STACK       (64u << 10)
#define HEAP        (8u << 20)
#define MAX_THREADS 256u

uint64_t launch_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void block_free(struct block *b)
{
    for (uint32_t i = 0; i < b->warp_count; i++)
        warp_finish(&b->warps[i]);
    if (b->warp_count && b->warps[0].local_memory)
        munmap(b->warps[0].local_memory, b->warps[0].local_stride * LANES * b->warp_count);
    free(b->warps);
    free(b->shared);
    free(b->errors);
    b->errors = NULL;
    b->warps = NULL;
    b->shared = NULL;
    b->warp_count = 0;
}

static uint64_t local_stride(const struct launch *l)
{
    const struct ptx_function *k = l->kernel;

    if (!k->call_count && !k->calls_any)
        return k->local_bytes ? k->local_bytes + 64 : 0;
    return (l->context->options.stack + 127) / 64 * 64;
}

/* The memory of a block, used for one block of the grid after the other. */
static int block_create(struct block *b, struct launch *l, struct view *views, uint32_t thread)
{
    size_t bytes = sizeof(struct warp) * l->warps, shared = (l->shared_bytes + 63) / 64 * 64 + 64;
    uint64_t stride = local_stride(l);

    memset(b, 0, sizeof(*b));
    b->launch = l;
    b->views = views;
    b->thread = thread;
    b->warps = aligned_alloc(64, (bytes + 63) / 64 * 64);
    b->shared = aligned_alloc(64, shared);
    if (l->kernel->module->launches)
        b->errors = calloc(l->threads, sizeof(*b->errors));
    if (!b->warps || !b->shared || (l->kernel->module->launches && !b->errors))
        goto failed;
    memset(b->warps, 0, bytes);
    memset(b->shared, 0, shared);
    b->warp_count = l->warps;
    if (stride) {
        uint8_t *local = mmap(NULL, stride * LANES * l->warps, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (local == MAP_FAILED)
            goto failed;
        for (uint32_t i = 0; i < l->warps; i++) {
            b->warps[i].local_stride = stride;
            b->warps[i].local_memory = local + i * stride * LANES;
        }
    }
    return 0;
failed:
    block_free(b);
    return VD_ERR_MEMORY;
}

/* The next block of the grid in `b`; false: there is none. */
static bool block_next(struct block *b)
{
    struct launch *l = b->launch;
    const uint32_t *grid = l->request->grid;
    uint64_t n = atomic_fetch_add(&l->next_block, 1);

    b->active = n < l->block_count;
    if (!b->active)
        return false;
    b->id[0] = (uint32_t)(n % grid[0]);
    b->id[1] = (uint32_t)(n / grid[0] % grid[1]);
    b->id[2] = (uint32_t)(n / grid[0] / grid[1]);
    memset(b->barriers, 0, sizeof(b->barriers));
    if (b->errors)
        memset(b->errors, 0, l->threads * sizeof(*b->errors));
    if (l->kernel->module->reserves)
        memset(b->shared + l->shared_reserved, 0, RESERVED_SHARED);
    b->live = l->threads;
    b->running = b->warp_count;
    for (uint32_t i = 0; i < b->warp_count; i++)
        if (warp_start(&b->warps[i], b, i)) {
            warp_fault(&b->warps[i], NULL, PTX_FAULT_MEMORY, 0, 0);
            return false;
        }
    return true;
}

/* Once over all warps. False: the launch is to end. */
static bool block_step(struct block *b)
{
    struct launch *l = b->launch;
    bool progress = false;
    struct warp *waiting = NULL;
    int64_t used = 0;

    for (uint32_t i = 0; i < b->warp_count; i++) {
        struct warp *w = &b->warps[i];
        uint64_t turn = w->turn;

        if (!w->group_count)
            continue;
        w->fuel = SLICE;
        switch (warp_run(w)) {
        case STOP_EXIT:
            b->running--;
            break;
        case STOP_FAULT:
            return false;
        case STOP_WAIT:
            waiting = w;
            break;
        default:
            break;
        }
        used += SLICE - w->fuel;
        progress |= w->turn != turn;
    }
    if (!progress) {
        warp_fault(waiting, waiting->groups[0].pc, PTX_FAULT_DEADLOCK,
                   (uint32_t)__builtin_ctz(waiting->groups[0].mask), 0);
        return false;
    }
    b->active = b->running > 0;
    if (used) {
        struct ptx_context *c = l->context;
        uint64_t all = atomic_fetch_add(&l->instructions, (uint64_t)used) + (uint64_t)used;
        enum ptx_fault fault = PTX_FAULT_NONE;

        if (atomic_load(&c->cancel))
            fault = PTX_FAULT_CANCELLED;
        else if ((c->options.instructions && all > c->options.instructions) ||
                 (l->deadline && launch_now() > l->deadline))
            fault = PTX_FAULT_LIMIT;
        if (fault) {
            warp_fault(&b->warps[0], b->warps[0].group_count ? b->warps[0].groups[0].pc : NULL,
                       fault, 0, 0);
            return false;
        }
    }
    return !atomic_load_explicit(&l->stop, memory_order_relaxed);
}

/* Blocks of one thread: one at a time, or in turns all that are its share of a cooperative grid. */
static void run_blocks(struct launch *l, uint32_t thread)
{
    struct view views[VIEWS] = {{0}};
    uint32_t share = 1, have = 0;
    struct block *blocks;
    bool more = true, any = true;

    if (l->request->cooperative)
        share = l->share;
    blocks = calloc(share, sizeof(*blocks));
    if (!blocks) {
        atomic_store(&l->stop, true);
        pthread_mutex_lock(&l->lock);
        l->result.fault = PTX_FAULT_MEMORY;
        pthread_mutex_unlock(&l->lock);
        return;
    }
    while (any && !atomic_load_explicit(&l->stop, memory_order_relaxed)) {
        /* Its share of the grid, not all that is left: the other threads shall have theirs. */
        if (more && have < share) {
            if (block_create(&blocks[have], l, views, thread)) {
                pthread_mutex_lock(&l->lock);
                if (!l->result.fault)
                    l->result.fault = PTX_FAULT_MEMORY;
                pthread_mutex_unlock(&l->lock);
                atomic_store(&l->stop, true);
                break;
            }
            more = block_next(&blocks[have]);
            have++;
            if (l->request->cooperative && more)
                continue;
        }
        any = false;
        for (uint32_t i = 0; i < have; i++) {
            struct block *b = &blocks[i];

            if (b->active && !block_step(b))
                goto out;
            while (!l->request->cooperative && !b->active && more && (more = block_next(b)))
                while (b->active)
                    if (!block_step(b))
                        goto out;
            any |= b->active;
        }
    }
out:
    for (uint32_t i = 0; i < have; i++)
        block_free(&blocks[i]);
    free(blocks);
}

static void *pool_thread(void *argument)
{
    struct ptx_context *c = argument;
    uint64_t seen = 0;
    uint32_t index;

    pthread_mutex_lock(&c->lock);
    index = ++c->started;
    for (;;) {
        struct launch *l;

        while (!c->quit && c->generation == seen)
            pthread_cond_wait(&c->wake, &c->lock);
        if (c->quit)
            break;
        seen = c->generation;
        l = c->launch;
        pthread_mutex_unlock(&c->lock);
        run_blocks(l, index);
        pthread_mutex_lock(&c->lock);
        if (!--c->busy)
            pthread_cond_signal(&c->idle);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int ptx_context_create(const struct ptx_options *options, struct ptx_context **ret_context)
{
    struct ptx_context *c = calloc(1, sizeof(*c));
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads;

    if (!c)
        return VD_ERR_MEMORY;
    if (options)
        c->options = *options;
    if (!c->options.stack)
        c->options.stack = STACK;
    if (c->options.stack > WINDOW)
        c->options.stack = (unsigned)WINDOW;
    if (!c->options.heap)
        c->options.heap = HEAP;
    if (memory_init(&c->memory, c->options.memory)) {
        free(c);
        return VD_ERR_MEMORY;
    }
    pthread_mutex_init(&c->launching, NULL);
    pthread_mutex_init(&c->print_lock, NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    pthread_cond_init(&c->idle, NULL);
    threads = c->options.threads ? c->options.threads : processors > 0 ? (unsigned)processors : 1;
    if (threads > MAX_THREADS)
        threads = MAX_THREADS;
    c->threads = calloc(threads, sizeof(*c->threads));
    if (!c->threads)
        goto failed;
    /* The caller of a launch is one of them. */
    for (; c->thread_count + 1 < threads; c->thread_count++)
        if (pthread_create(&c->threads[c->thread_count], NULL, pool_thread, c))
            goto failed;
    *ret_context = c;
    return 0;
failed:
    ptx_context_destroy(c);
    return VD_ERR_MEMORY;
}

void ptx_context_destroy(struct ptx_context *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->quit = true;
    pthread_cond_broadcast(&c->wake);
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < c->thread_count; i++)
        pthread_join(c->threads[i], NULL);
    free(c->threads);
    heap_destroy(c->heap);
    children_destroy(c->children);
    memory_finish(&c->memory);
    pthread_cond_destroy(&c->idle);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->print_lock);
    pthread_mutex_destroy(&c->launching);
    free(c);
}

void ptx_cancel(struct ptx_context *c)
{
    if (atomic_load(&c->running))
        atomic_store(&c->cancel, true);
}

int launch_check(const struct ptx_function *f, const struct ptx_launch *r)
{
    uint64_t threads = (uint64_t)r->block[0] * r->block[1] * r->block[2];

    if (!r->grid[0] || !r->grid[1] || !r->grid[2] || r->grid[0] > INT32_MAX || r->grid[1] > 65535 ||
        r->grid[2] > 65535)
        return VD_ERR_PARAMETER;
    if (!threads || r->block[0] > PTX_MAX_BLOCK || r->block[1] > PTX_MAX_BLOCK ||
        r->block[2] > 64 || threads > f->max_threads)
        return VD_ERR_PARAMETER;
    if (f->required[0] && memcmp(f->required, r->block, sizeof(f->required)))
        return VD_ERR_PARAMETER;
    if (r->shared_bytes > PTX_MAX_SHARED || f->shared_dynamic_at + r->shared_bytes > PTX_MAX_SHARED)
        return VD_ERR_PARAMETER;
    if (r->parameter_bytes < f->param_bytes)
        return VD_ERR_PARAMETER;
    if (r->cooperative && (uint64_t)r->grid[0] * r->grid[1] * r->grid[2] > PTX_MAX_COOPERATIVE)
        return VD_ERR_LIMIT;
    return 0;
}

static int make_heap(struct ptx_context *c)
{
    uint64_t address;
    int err = 0;

    if (c->heap)
        return 0;
    err = memory_create(&c->memory, c->options.heap, NULL, false, &address);
    if (!err)
        err = heap_create(address, c->options.heap, &c->heap);
    return err;
}

void launch_init(struct launch *l, struct ptx_function *f, const struct ptx_launch *request,
                 const void *parameters)
{
    struct ptx_context *c = l->context;

    l->kernel = f;
    l->request = request;
    l->parameters = parameters;
    l->threads = request->block[0] * request->block[1] * request->block[2];
    l->warps = (l->threads + LANES - 1) / LANES;
    l->block_count = (uint64_t)request->grid[0] * request->grid[1] * request->grid[2];
    l->share = (uint32_t)((l->block_count + c->thread_count) / (c->thread_count + 1));
    l->shared_own =
        request->shared_bytes ? f->shared_dynamic_at + request->shared_bytes : f->shared_static;
    l->shared_reserved = (l->shared_own + 63) / 64 * 64;
    l->shared_bytes = f->module->reserves ? l->shared_reserved + RESERVED_SHARED : l->shared_own;
    pthread_mutex_init(&l->lock, NULL);
}

void launch_finish(struct launch *l)
{
    pthread_mutex_destroy(&l->lock);
}

void launch_blocks(struct launch *l)
{
    struct ptx_context *c = l->context;
    bool spread = c->thread_count && l->block_count > 1;

    l->identity = ++c->launches;
    if (spread) {
        pthread_mutex_lock(&c->lock);
        c->launch = l;
        c->generation++;
        c->busy = c->thread_count;
        pthread_cond_broadcast(&c->wake);
        pthread_mutex_unlock(&c->lock);
    }
    run_blocks(l, 0);
    if (spread) {
        pthread_mutex_lock(&c->lock);
        while (c->busy)
            pthread_cond_wait(&c->idle, &c->lock);
        c->launch = NULL;
        pthread_mutex_unlock(&c->lock);
    }
}

/* What kernels of the module use beside memory of the host program. */
static int prepare(struct ptx_context *c, const struct ptx_module *m)
{
    int err = m->allocates ? make_heap(c) : 0;

    if (!err && m->launches && !c->children)
        err = children_create(c, &c->children);
    return err;
}

int ptx_launch(struct ptx_kernel *kernel, const struct ptx_launch *request,
               struct ptx_result *ret_result)
{
    struct ptx_function *f = kernel->function;
    struct ptx_context *c = f->module->context;
    struct launch l = {.context = c};
    uint64_t workspace = 0;
    void *parameters = NULL;
    int err = launch_check(f, request);

    if (err)
        return err;
    if (f->param_bytes && !request->parameters)
        return VD_ERR_PARAMETER;
    parameters = aligned_alloc(64, (f->param_bytes + 127) / 64 * 64);
    if (!parameters)
        return VD_ERR_MEMORY;
    if (f->param_bytes)
        memcpy(parameters, request->parameters, f->param_bytes);
    launch_init(&l, f, request, parameters);
    pthread_mutex_lock(&c->launching);
    if (request->cooperative) {
        err = memory_create(&c->memory, 4096, NULL, false, &workspace);
        l.environment = workspace;
    }
    if (!err)
        err = prepare(c, f->module);
    if (err)
        goto out;
    if (c->options.seconds)
        l.deadline = launch_now() + c->options.seconds * 1000000000ull;
    pthread_rwlock_rdlock(&c->memory.lock);
    atomic_store(&c->cancel, false);
    atomic_store(&c->running, true);
    if (f->module->launches)
        children_start(c->children);
    launch_blocks(&l);
    if (f->module->launches)
        children_run(c->children, &l);
    atomic_store(&c->running, false);
    pthread_rwlock_unlock(&c->memory.lock);
    if (workspace)
        memory_destroy(&c->memory, workspace);
    l.result.instructions = atomic_load(&l.instructions);
    if (ret_result)
        *ret_result = l.result;
    err = l.result.fault ? VD_ERR_DECODE : 0;
out:
    pthread_mutex_unlock(&c->launching);
    launch_finish(&l);
    free(parameters);
    return err;
}
