/* SPDX-License-Identifier: MIT */
#include "graph.h"

/* Words in memory that streams write and wait for, alone and as batches. */

static bool is_wait(CUstreamBatchMemOpType operation)
{
    return operation == CU_STREAM_MEM_OP_WAIT_VALUE_32 ||
           operation == CU_STREAM_MEM_OP_WAIT_VALUE_64;
}

/* Barriers and flushes need no command: all work of a stream is in order. */
static bool is_nothing(CUstreamBatchMemOpType operation)
{
    return operation == CU_STREAM_MEM_OP_BARRIER ||
           operation == CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES;
}

CUresult value_prepare(const CUstreamBatchMemOpParams *p, struct cuda_command *ret_command)
{
    uint32_t bytes = 8;
    bool wait = is_wait(p->operation);

    switch (p->operation) {
    case CU_STREAM_MEM_OP_BARRIER:
    case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
        *ret_command = (struct cuda_command){.kind = CUDA_NOTHING};
        return CUDA_SUCCESS;
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        bytes = 4;
        break;
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (p->waitValue.address % bytes || (wait ? memory_check(p->waitValue.address, bytes)
                                              : memory_check_write(p->waitValue.address, bytes)))
        return CUDA_ERROR_INVALID_VALUE;
    *ret_command = (struct cuda_command){
        .kind = wait ? CUDA_WAIT_VALUE : CUDA_WRITE_VALUE,
        .value = {.address = p->waitValue.address,
                  .value = bytes == 4 ? (uint32_t)p->waitValue.value64 : p->waitValue.value64,
                  .bytes = bytes,
                  .compare = wait ? p->waitValue.flags & 3 : 0}};
    return CUDA_SUCCESS;
}

static CUresult add(CUstream stream, CUstreamBatchMemOpType operation, CUdeviceptr address,
                    uint64_t value, unsigned flags)
{
    CUstreamBatchMemOpParams p = {
        .waitValue = {
            .operation = operation, .address = address, .value64 = value, .flags = flags}};
    struct cuda_command command;
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    err = value_prepare(&p, &command);
    return leave(err ? err : stream_submit(s, &command));
}

API cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned flags)
{
    return add(stream, CU_STREAM_MEM_OP_WAIT_VALUE_32, address, value, flags);
}

API cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned flags)
{
    return add(stream, CU_STREAM_MEM_OP_WAIT_VALUE_64, address, value, flags);
}

API cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned flags)
{
    return add(stream, CU_STREAM_MEM_OP_WRITE_VALUE_32, address, value, flags);
}

API cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned flags)
{
    return add(stream, CU_STREAM_MEM_OP_WRITE_VALUE_64, address, value, flags);
}

API cuStreamBatchMemOp_v2(CUstream stream, unsigned count, CUstreamBatchMemOpParams *operations,
                          unsigned flags)
{
    CUgraphNodeParams node = {.type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
                              .memOp = {.count = count, .paramArray = operations}};
    struct cuda_command command;
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (flags || count > VALUE_MOST || (count && !operations))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (s->capture)
        return leave(capture_node(s, &node));
    /* All are checked before the first is done. */
    for (unsigned i = 0; i < count && !err; i++)
        err = value_prepare(&operations[i], &command);
    for (unsigned i = 0; i < count && !err; i++) {
        value_prepare(&operations[i], &command);
        if (!is_nothing(operations[i].operation))
            err = stream_submit(s, &command);
    }
    return leave(err);
}

/* The first versions differ in what a device has to promise alone. */
API cuStreamBatchMemOp(CUstream stream, unsigned count, CUstreamBatchMemOpParams *operations,
                       unsigned flags)
{
    return cuStreamBatchMemOp_v2(stream, count, operations, flags);
}

API cuStreamBatchMemOp_ptsz(CUstream stream, unsigned count, CUstreamBatchMemOpParams *operations,
                            unsigned flags)
{
    return cuStreamBatchMemOp_v2_ptsz(stream, count, operations, flags);
}

#define FIRST(name, type)                                                                       \
    API cuStream##name(CUstream stream, CUdeviceptr address, type value, unsigned flags)        \
    {                                                                                           \
        return cuStream##name##_v2(stream, address, value, flags);                              \
    }                                                                                           \
    API cuStream##name##_ptsz(CUstream stream, CUdeviceptr address, type value, unsigned flags) \
    {                                                                                           \
        return cuStream##name##_v2_ptsz(stream, address, value, flags);                         \
    }

FIRST(WaitValue32, cuuint32_t)
FIRST(WaitValue64, cuuint64_t)
FIRST(WriteValue32, cuuint32_t)
FIRST(WriteValue64, cuuint64_t)
