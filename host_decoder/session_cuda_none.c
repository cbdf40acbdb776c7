/* SPDX-License-Identifier: MIT */
#include "session_private.h"

#include <viaduct/errors.h>

/* A host without CUDA: no session has the feature, so none of this is ever called for one. */

int session_cuda_start(struct session *s)
{
    (void)s;
    return VD_ERR_UNSUPPORTED;
}

void session_cuda_finish(struct session *s)
{
    (void)s;
}

int session_cuda_idle(struct session *s, struct message_reader *reader, const uint8_t **ret_bytes,
                      size_t *ret_size, int *ret_fd)
{
    (void)s, (void)reader, (void)ret_bytes, (void)ret_size, (void)ret_fd;
    return VD_ERR_INTERNAL;
}

int session_cuda_drain(struct session *s, bool *ret_any)
{
    (void)s, (void)ret_any;
    return VD_ERR_INTERNAL;
}

#define NONE(name, element)                                                                       \
    int session_##name(void *self, const struct vd_##name##_req *req, const struct element *tail, \
                       uint32_t tail_count, struct dispatch_reply *reply)                         \
    {                                                                                             \
        (void)self, (void)req, (void)tail, (void)tail_count, (void)reply;                         \
        return VD_ERR_PROTOCOL;                                                                   \
    }

NONE(cuda_open, vd_none)
NONE(cuda_context_create, vd_none)
NONE(cuda_context_destroy, vd_none)
NONE(cuda_memory_create, vd_none)
NONE(cuda_memory_destroy, vd_none)
NONE(cuda_memory_map, vd_none)
NONE(cuda_memory_unmap, vd_none)
NONE(cuda_memory_info, vd_none)
NONE(cuda_module_create, vd_none)
NONE(cuda_module_info, vd_none)
NONE(cuda_module_destroy, vd_none)
NONE(cuda_heap, vd_none)
NONE(cuda_queue_create, vd_none)
NONE(cuda_queue_destroy, vd_none)
NONE(cuda_launch, vd_word)
NONE(cuda_copy, vd_none)
NONE(cuda_set, vd_none)
NONE(cuda_wait, vd_none)
NONE(cuda_stamp, vd_none)
NONE(cuda_value, vd_none)
NONE(cuda_free, vd_none)
NONE(cuda_nothing, vd_none)
NONE(cuda_print, vd_none)
NONE(cuda_kick, vd_none)
NONE(cuda_memory_import, vd_none)
NONE(cuda_fault, vd_none)
NONE(cuda_virtual_reserve, vd_none)
NONE(cuda_virtual_release, vd_none)
NONE(cuda_virtual_map, vd_none)
NONE(cuda_virtual_unmap, vd_none)
NONE(cuda_virtual_allow, vd_none)
NONE(cuda_physical_create, vd_none)
NONE(cuda_physical_destroy, vd_none)
NONE(cuda_memory_share, vd_none)
NONE(cuda_array_create, vd_none)
NONE(cuda_texture_create, vd_none)
NONE(cuda_texture_destroy, vd_none)
