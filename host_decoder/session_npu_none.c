/* SPDX-License-Identifier: MIT */
#include <viaduct/errors.h>

#include "session_private.h"

/* A build without inference: it offers no devices, so nobody can have a model. */

bool session_npu_prepare(void)
{
    return false;
}

void session_npu_sweep(void)
{
}

int session_npu_devices(void *self, const struct vd_npu_devices_req *req,
                        const struct vd_none *tail, uint32_t tail_count,
                        struct dispatch_reply *reply)
{
    (void)self, (void)req, (void)tail, (void)tail_count, (void)reply;
    return 0;
}

int session_npu_create(void *self, const struct vd_npu_create_req *req, const struct vd_none *tail,
                       uint32_t tail_count, struct dispatch_reply *reply)
{
    struct vd_npu_create_rep *rep = reply->fixed;

    (void)self, (void)req, (void)tail, (void)tail_count;
    rep->status = (uint32_t)-VD_ERR_UNSUPPORTED;
    return 0;
}

#define NOTHING(name, element)                                                                    \
    int session_##name(void *self, const struct vd_##name##_req *req, const struct element *tail, \
                       uint32_t tail_count, struct dispatch_reply *reply)                         \
    {                                                                                             \
        (void)self, (void)req, (void)tail, (void)tail_count, (void)reply;                         \
        return VD_ERR_PROTOCOL;                                                                   \
    }

NOTHING(npu_data, vd_none)
NOTHING(npu_load, vd_none)
NOTHING(npu_have, vd_none)
NOTHING(npu_run, vd_npu_value)
NOTHING(npu_fetch, vd_npu_value)
NOTHING(npu_cancel, vd_none)
NOTHING(npu_kick, vd_none)
NOTHING(npu_destroy, vd_none)

bool session_npu_finish(struct session *s)
{
    (void)s;
    return true;
}
