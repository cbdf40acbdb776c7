/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include <compute/cuda/ptx/ptx.h>

#include "array.h"
#include "graph.h"
#include "internal.h"

/* Contexts, primary and other, and the stack each thread has of them. */

static struct CUctx_st *contexts; /* all that live */

struct CUctx_st *context_current(void)
{
    struct thread *t = thread_self();
    struct CUctx_st *c = t->depth ? t->stack[t->depth - 1] : NULL;

    return c && handle_is(c, CONTEXT) ? c : NULL;
}

struct CUctx_st *context_next(struct CUctx_st *c)
{
    int device = -1;

    if (!c && contexts)
        return contexts;
    if (c && !c->primary && c->next)
        return c->next;
    if (c && c->primary)
        device = c->device;
    for (device++; device < MAX_DEVICES; device++)
        if (primaries[device])
            return primaries[device];
    return NULL;
}

#define L2_FETCH 128u /* bytes at most, which is a hint */

/* Its streams and what it is made of on the backend. */
static CUresult activate(struct CUctx_st *c)
{
    static const size_t limits[CU_LIMIT_MAX] = {
        [CU_LIMIT_STACK_SIZE] = 64 << 10,
        [CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20,
        [CU_LIMIT_MALLOC_HEAP_SIZE] = 8 << 20,
        [CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2,
        [CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048,
        [CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = L2_FETCH,
    };
    CUresult err = (CUresult)backend->open((unsigned)c->device, &c->open);

    for (int i = 0; i < CU_LIMIT_MAX; i++)
        c->limits[i] = limits[i];
    if (!err)
        err = (CUresult)backend->context_create(c->open, &c->backend);
    if (err)
        return err;
    err = stream_make(c, 0, 0, &c->legacy);
    if (err) {
        backend->context_destroy(c->backend);
        c->backend = NULL;
        return err;
    }
    c->id = unique();
    c->active = true;
    return CUDA_SUCCESS;
}

/* Waits for its work, then frees all it has. Gives up the lock meanwhile. */
static void deactivate(struct CUctx_st *c)
{
    if (!c->active)
        return;
    /* The threads of graphs with conditions give it more while others wait. */
    while (context_wait(c) != CUDA_ERROR_OUT_OF_MEMORY && !stream_all_done(c))
        ;
    c->active = false;
    while (c->modules)
        module_destroy(c->modules);
    while (c->streams)
        stream_end(c->streams);
    c->legacy = NULL;
    texture_drop_context(c);
    range_drop_context(c);
    backend->context_destroy(c->backend);
    c->backend = NULL;
}

CUresult context_any(struct CUctx_st **ret_context)
{
    struct CUctx_st *c = context_current();

    if (!c)
        c = primaries[0];
    if (!c || !c->active)
        return CUDA_ERROR_INVALID_CONTEXT;
    *ret_context = c;
    return context_error(c);
}

CUresult context_wait(struct CUctx_st *c)
{
    struct cuda_context *b = c->backend;
    struct cuda_device *open = c->open;
    struct {
        struct cuda_queue *queue;
        uint64_t number;
    } * list;
    size_t n = 0, room = 0;
    CUresult err;

    for (struct CUstream_st *s = c->streams; s; s = s->next)
        room++;
    list = calloc(room + 1, sizeof(*list));
    if (!list)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (struct CUstream_st *s = c->streams; s; s = s->next)
        if (!backend->done(s->queue, s->last)) {
            backend->queue_hold(s->queue);
            list[n].queue = s->queue;
            list[n++].number = s->last;
        }
    unlock();
    for (size_t i = 0; i < n; i++) {
        backend->wait(list[i].queue, list[i].number);
        backend->queue_release(list[i].queue);
    }
    backend->print(open);
    err = (CUresult)atomic_load(&b->error);
    lock();
    free(list);
    return err;
}

/* One way to wait at most (CU_CTX_SCHED_SPIN, _YIELD, _BLOCKING_SYNC), and no bit beyond. */
static bool flags_are_valid(unsigned flags)
{
    unsigned way = flags & 7;

    return !(flags & ~0xffu) && !(way & (way - 1));
}

static CUresult create(CUcontext *ret, unsigned flags, CUdevice device)
{
    struct thread *t = thread_self();
    CUresult err = enter();
    struct CUctx_st *c = NULL;

    if (err)
        return err;
    err = CUDA_ERROR_INVALID_VALUE;
    if (!ret || !flags_are_valid(flags))
        goto out;
    err = CUDA_ERROR_INVALID_DEVICE;
    if (!device_properties(device))
        goto out;
    err = CUDA_ERROR_OUT_OF_MEMORY;
    c = t->depth < MAX_STACK ? calloc(1, sizeof(*c)) : NULL;
    if (!c)
        goto out;
    c->device = device;
    c->flags = flags;
    err = activate(c);
    if (!err && !handle_add(c, CONTEXT)) {
        deactivate(c);
        err = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (err) {
        free(c);
        goto out;
    }
    c->next = contexts;
    contexts = c;
    t->stack[t->depth++] = c;
    *ret = c;
out:
    return leave(err);
}

API cuCtxCreate(CUcontext *context, unsigned flags, CUdevice device)
{
    return create(context, flags, device);
}

API cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device)
{
    return create(context, flags, device);
}

API cuCtxCreate_v3(CUcontext *context, void *affinity, int count, unsigned flags, CUdevice device)
{
    return affinity || count ? CUDA_ERROR_NOT_SUPPORTED : create(context, flags, device);
}

API cuCtxCreate_v4(CUcontext *context, CUctxCreateParams *params, unsigned flags, CUdevice device)
{
    if (params && (params->numExecAffinityParams || params->cigParams))
        return CUDA_ERROR_NOT_SUPPORTED;
    return create(context, flags, device);
}

API cuCtxDestroy_v2(CUcontext context)
{
    struct thread *t = thread_self();
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(context, CONTEXT) || context->primary)
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    deactivate(context);
    for (struct CUctx_st **at = &contexts; *at; at = &(*at)->next)
        if (*at == context) {
            *at = context->next;
            break;
        }
    handle_remove(context);
    free(context);
    if (t->depth && t->stack[t->depth - 1] == context)
        t->depth--;
    return leave(CUDA_SUCCESS);
}

API cuCtxDestroy(CUcontext context)
{
    return cuCtxDestroy_v2(context);
}

API cuCtxDetach(CUcontext context)
{
    return cuCtxDestroy_v2(context);
}

API cuCtxPushCurrent_v2(CUcontext context)
{
    struct thread *t = thread_self();
    CUresult err = enter();

    if (err)
        return err;
    if (!handle_is(context, CONTEXT))
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    if (t->depth == MAX_STACK)
        return leave(CUDA_ERROR_INVALID_VALUE);
    t->stack[t->depth++] = context;
    return leave(CUDA_SUCCESS);
}

API cuCtxPushCurrent(CUcontext context)
{
    return cuCtxPushCurrent_v2(context);
}

API cuCtxPopCurrent_v2(CUcontext *context)
{
    struct thread *t = thread_self();
    CUresult err = enter();

    if (err)
        return err;
    if (!t->depth)
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    t->depth--;
    if (context)
        *context = t->stack[t->depth];
    return leave(CUDA_SUCCESS);
}

API cuCtxPopCurrent(CUcontext *context)
{
    return cuCtxPopCurrent_v2(context);
}

API cuCtxSetCurrent(CUcontext context)
{
    struct thread *t = thread_self();
    CUresult err = enter();

    if (err)
        return err;
    if (context && !handle_is(context, CONTEXT))
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    if (t->depth)
        t->depth--;
    if (context)
        t->stack[t->depth++] = context;
    return leave(CUDA_SUCCESS);
}

API cuCtxGetCurrent(CUcontext *context)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!context)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *context = context_current();
    return leave(CUDA_SUCCESS);
}

API cuCtxGetDevice_v2(CUdevice *device, CUcontext context)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!context)
        context = context_current();
    else if (!handle_is(context, CONTEXT))
        context = NULL;
    if (!context || !device)
        return leave(context ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_CONTEXT);
    *device = context->device;
    return leave(CUDA_SUCCESS);
}

API cuCtxGetDevice(CUdevice *device)
{
    return cuCtxGetDevice_v2(device, NULL);
}

API cuCtxGetFlags(unsigned *flags)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!flags)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *flags = c->flags;
    return leave(CUDA_SUCCESS);
}

API cuCtxSetFlags(unsigned flags)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (flags & ~0xffu)
        return leave(CUDA_ERROR_INVALID_VALUE);
    c->flags = flags;
    return leave(CUDA_SUCCESS);
}

API cuCtxGetId(CUcontext context, unsigned long long *id)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!context)
        context = context_current();
    if (!handle_is(context, CONTEXT) || !context->active)
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    if (!id)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *id = context->id;
    return leave(CUDA_SUCCESS);
}

API cuCtxGetApiVersion(CUcontext context, unsigned *version)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!context)
        context = context_current();
    if (!handle_is(context, CONTEXT))
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    if (!version)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *version = 3020; /* the API's, not the driver's */
    return leave(CUDA_SUCCESS);
}

API cuCtxSynchronize(void)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    err = capture_refuse_context(c);
    return leave(err ? err : context_wait(c));
}

API cuCtxSynchronize_v2(CUcontext context)
{
    CUresult err;

    if (!context)
        return cuCtxSynchronize();
    err = enter();
    if (err)
        return err;
    if (!handle_is(context, CONTEXT) || !context->active)
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    err = capture_refuse_context(context);
    return leave(err ? err : context_wait(context));
}

API cuCtxSetLimit(CUlimit limit, size_t value)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    switch (limit) {
    case CU_LIMIT_MALLOC_HEAP_SIZE:
        err = (CUresult)backend->heap(c->open, value ? value : 1);
        break;
    case CU_LIMIT_STACK_SIZE:
        /* Every thread has 64 KiB; more is not to be had. */
        err = value > 64 << 10 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
        break;
    case CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT:
        /* There is always room for as many. */
        if (value > PTX_MAX_CHILDREN)
            value = PTX_MAX_CHILDREN;
        break;
    case CU_LIMIT_MAX_L2_FETCH_GRANULARITY: /* "a performance hint", of 0 to 128 bytes */
        err = value > L2_FETCH ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
        break;
    case CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH: /* kernels cannot wait for others any more */
    case CU_LIMIT_PRINTF_FIFO_SIZE:
        break;
    default:
        err = (unsigned)limit < CU_LIMIT_MAX ? CUDA_ERROR_UNSUPPORTED_LIMIT
                                             : CUDA_ERROR_INVALID_VALUE;
    }
    if (!err)
        c->limits[limit] = value;
    return leave(err);
}

API cuCtxGetLimit(size_t *value, CUlimit limit)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!value)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if ((unsigned)limit >= CU_LIMIT_MAX)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (limit > CU_LIMIT_MAX_L2_FETCH_GRANULARITY)
        return leave(CUDA_ERROR_UNSUPPORTED_LIMIT);
    *value = c->limits[limit];
    return leave(CUDA_SUCCESS);
}

API cuCtxGetCacheConfig(CUfunc_cache *config)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!config)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *config = c->cache;
    return leave(CUDA_SUCCESS);
}

API cuCtxSetCacheConfig(CUfunc_cache config)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if ((unsigned)config > 3)
        return leave(CUDA_ERROR_INVALID_VALUE);
    c->cache = config;
    return leave(CUDA_SUCCESS);
}

API cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (least)
        *least = 0;
    if (greatest)
        *greatest = -5;
    return leave(CUDA_SUCCESS);
}

API cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    CUresult err = enter();
    struct CUctx_st *c;

    if (err)
        return err;
    if (!context)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (!device_properties(device))
        return leave(CUDA_ERROR_INVALID_DEVICE);
    c = primaries[device];
    if (!c) {
        c = calloc(1, sizeof(*c));
        if (!c || !handle_add(c, CONTEXT)) {
            free(c);
            return leave(CUDA_ERROR_OUT_OF_MEMORY);
        }
        c->device = device;
        c->primary = true;
        primaries[device] = c;
    }
    if (!c->active)
        err = activate(c);
    if (!err) {
        c->references++;
        *context = c;
    }
    return leave(err);
}

API cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    CUresult err = enter();
    struct CUctx_st *c;

    if (err)
        return err;
    if (!device_properties(device))
        return leave(CUDA_ERROR_INVALID_DEVICE);
    c = primaries[device];
    if (!c || !c->references)
        return leave(CUDA_ERROR_INVALID_CONTEXT);
    if (!--c->references)
        deactivate(c);
    return leave(CUDA_SUCCESS);
}

API cuDevicePrimaryCtxRelease(CUdevice device)
{
    return cuDevicePrimaryCtxRelease_v2(device);
}

API cuDevicePrimaryCtxReset_v2(CUdevice device)
{
    CUresult err = enter();
    struct CUctx_st *c;

    if (err)
        return err;
    if (!device_properties(device))
        return leave(CUDA_ERROR_INVALID_DEVICE);
    c = primaries[device];
    if (c) {
        deactivate(c);
        c->flags = 0;
        c->cache = 0;
        /* Who retained it goes on with a new one. */
        if (c->references)
            err = activate(c);
    }
    return leave(err);
}

API cuDevicePrimaryCtxReset(CUdevice device)
{
    return cuDevicePrimaryCtxReset_v2(device);
}

API cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active)
{
    CUresult err = enter();
    struct CUctx_st *c;

    if (err)
        return err;
    if (!device_properties(device))
        return leave(CUDA_ERROR_INVALID_DEVICE);
    if (!flags || !active)
        return leave(CUDA_ERROR_INVALID_VALUE);
    c = primaries[device];
    *flags = c ? c->flags : 0;
    *active = c && c->active;
    return leave(CUDA_SUCCESS);
}

API cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags)
{
    CUresult err = enter();

    if (err)
        return err;
    if (!device_properties(device))
        return leave(CUDA_ERROR_INVALID_DEVICE);
    if (!flags_are_valid(flags))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (primaries[device])
        primaries[device]->flags = flags;
    return leave(CUDA_SUCCESS);
}

API cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags)
{
    return cuDevicePrimaryCtxSetFlags_v2(device, flags);
}
