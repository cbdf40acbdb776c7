/* SPDX-License-Identifier: MIT */
#include "capture.h"

/*
 * What a thread may not do while something is captured (cuThreadExchangeStreamCaptureMode). Calls
 * that might wait, or make others wait, are potentially unsafe: the thread that captures may not
 * make them unless it said so, and nor may any other where the capture is global.
 */

static unsigned
    strict; /* captures that are not relaxed; mostly none, which is all that calls look at */

static uint64_t self(struct thread *t)
{
    if (!t->id)
        t->id = unique();
    return t->id;
}

void capture_count(struct capture *c)
{
    c->thread = self(thread_self());
    strict += c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
}

void capture_discount(const struct capture *c)
{
    strict -= c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
}

bool capture_is_mine(const struct capture *c)
{
    return c->mode == CU_STREAM_CAPTURE_MODE_RELAXED || c->thread == self(thread_self());
}

CUresult capture_unsafe(void)
{
    struct thread *t = thread_self();
    CUresult err = CUDA_SUCCESS;
    struct CUctx_st *c = NULL;

    if (!strict || t->capture == CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_SUCCESS;
    while ((c = context_next(c)))
        for (struct CUstream_st *s = c->streams; s; s = s->next) {
            struct capture *a = s->capture;

            if (!a || a->origin != s || a->mode == CU_STREAM_CAPTURE_MODE_RELAXED)
                continue;
            if (a->thread == self(t) || (a->mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                                         t->capture == CU_STREAM_CAPTURE_MODE_GLOBAL))
                err = capture_refuse(s);
        }
    return err;
}

CUresult capture_refuse_context(const struct CUctx_st *c)
{
    CUresult err = CUDA_SUCCESS;

    for (struct CUstream_st *s = c->streams; s; s = s->next)
        if (s->capture)
            err = capture_refuse(s);
    return err;
}

CUresult capture_enter(struct CUctx_st **ret_context)
{
    CUresult err = enter_context(ret_context);

    if (!err) {
        err = capture_unsafe();
        if (err)
            unlock();
    }
    return err;
}

API cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (!status)
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (stream_blocks_capture(s))
        return leave(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    *status = !s->capture          ? CU_STREAM_CAPTURE_STATUS_NONE
              : s->capture->broken ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                   : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return leave(CUDA_SUCCESS);
}

API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    struct thread *t = thread_self();
    CUstreamCaptureMode before = t->capture;
    CUresult err = enter();

    if (err)
        return err;
    if (!mode || (unsigned)*mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return leave(CUDA_ERROR_INVALID_VALUE);
    t->capture = *mode;
    *mode = before;
    return leave(CUDA_SUCCESS);
}
