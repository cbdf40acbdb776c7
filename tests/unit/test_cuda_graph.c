/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"

#include <compute/cuda/cuda.h>

/* Graphs by the driver API: every kind of node, its parameters, edges, memory, conditions. */

static const char text[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".extern .func cudaGraphSetConditional(.param .b64 h, .param .b32 v);\n"
    ".visible .entry add(.param .u64 out, .param .u32 n, .param .u32 value) {\n"
    "  .reg .pred %p; .reg .b32 %r<6>; .reg .b64 %d<3>;\n"
    "  ld.param.u64 %d1, [out]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [value];\n"
    "  mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
    "  mad.lo.u32 %r3, %r3, %r4, %r5; setp.ge.u32 %p, %r3, %r1; @%p bra done;\n"
    "  mul.wide.u32 %d2, %r3, 4; add.u64 %d1, %d1, %d2;\n"
    "  ld.global.u32 %r4, [%d1]; add.u32 %r4, %r4, %r2; st.global.u32 [%d1], %r4;\n"
    "done: ret; }\n"
    /* The condition is what lies there, which becomes less. */
    ".visible .entry count(.param .u64 at, .param .u64 handle) {\n"
    "  .reg .b32 %r<3>; .reg .b64 %d<3>; ld.param.u64 %d1, [at]; ld.param.u64 %d2, [handle];\n"
    "  ld.global.u32 %r1, [%d1]; sub.u32 %r1, %r1, 1; st.global.u32 [%d1], %r1;\n"
    "  { .param .b64 a; .param .b32 b; st.param.b64 [a], %d2; st.param.b32 [b], %r1;\n"
    "    call cudaGraphSetConditional, (a, b); } ret; }\n"
    /* A grid that launches `add`, as compilers make it. */
    ".extern .func (.param .b64 r) __cudaCDP2GetParameterBufferV2(.param .b64 f,"
    " .param .align 4 .b8 g[12], .param .align 4 .b8 b[12], .param .b32 s);\n"
    ".extern .func (.param .b32 r) __cudaCDP2LaunchDeviceV2(.param .b64 p, .param .b64 s);\n"
    ".extern .func (.param .b32 r) __cudaCDP2DeviceGetAttribute(.param .b64 p, .param .b32 a,"
    " .param .b32 d);\n"
    ".visible .entry parent(.param .u64 out, .param .u32 value) {\n"
    "  .reg .b32 %r<3>; .reg .b64 %d<4>; ld.param.u64 %d1, [out]; ld.param.u32 %r1, [value];\n"
    "  mov.u64 %d2, add;\n"
    "  { .param .b64 a; .param .b32 b; .param .b32 c; .param .b32 r; add.u64 %d3, %d1, 4;\n"
    "    st.param.b64 [a], %d3; st.param.b32 [b], 10; st.param.b32 [c], 0;\n"
    "    call (r), __cudaCDP2DeviceGetAttribute, (a, b, c); }\n"
    "  { .param .b64 f; .param .align 4 .b8 g[12]; .param .align 4 .b8 b[12]; .param .b32 s;\n"
    "    .param .b64 r; st.param.b64 [f], %d2; st.param.b32 [g], 1; st.param.b32 [g+4], 1;\n"
    "    st.param.b32 [g+8], 1; st.param.b32 [b], 1; st.param.b32 [b+4], 1;\n"
    "    st.param.b32 [b+8], 1; st.param.b32 [s], 0;\n"
    "    call (r), __cudaCDP2GetParameterBufferV2, (f, g, b, s); ld.param.b64 %d2, [r]; }\n"
    "  st.u64 [%d2], %d1; mov.u32 %r2, 1; st.u32 [%d2+8], %r2; st.u32 [%d2+12], %r1;\n"
    "  { .param .b64 p; .param .b64 s; .param .b32 r; st.param.b64 [p], %d2;\n"
    "    st.param.b64 [s], 0; call (r), __cudaCDP2LaunchDeviceV2, (p, s); }\n"
    "  ret; }\n"
    ".visible .entry bad() { .reg .b64 %d; mov.u64 %d, 16; st.global.u32 [%d], 0; ret; }\n";

static CUcontext context;
static CUmodule module;
static CUfunction add, count, bad;
static CUstream s;

#define OK(call)      assert_int_equal(call, CUDA_SUCCESS)
#define REFUSED(call) assert_int_equal(call, CUDA_ERROR_INVALID_VALUE)

static int open_all(void **state)
{
    (void)state;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&add, module, "add"));
    OK(cuModuleGetFunction(&count, module, "count"));
    OK(cuModuleGetFunction(&bad, module, "bad"));
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    OK(cuCtxDestroy_v2(context));
    return 0;
}

static CUDA_KERNEL_NODE_PARAMS kernel_of(CUfunction f, unsigned threads, void **parameters)
{
    return (CUDA_KERNEL_NODE_PARAMS){.func = f,
                                     .gridDimX = 1,
                                     .gridDimY = 1,
                                     .gridDimZ = 1,
                                     .blockDimX = threads,
                                     .blockDimY = 1,
                                     .blockDimZ = 1,
                                     .kernelParams = parameters};
}

static unsigned word(CUdeviceptr at)
{
    unsigned value;

    OK(cuMemcpyDtoH_v2(&value, at, sizeof(value)));
    return value;
}

static void run(CUgraph graph, unsigned long long flags, unsigned times)
{
    CUgraphExec exec;

    OK(cuGraphInstantiateWithFlags(&exec, graph, flags));
    for (unsigned i = 0; i < times; i++)
        OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    OK(cuGraphExecDestroy(exec));
}

static void nothing(void *user)
{
    (*(_Atomic int *)user)++;
}

static void test_parameters(void **state)
{
    unsigned n = 64, value = 3;
    CUdeviceptr d, e;
    void *parameters[] = {&d, &n, &value};
    CUDA_KERNEL_NODE_PARAMS kernel, got;
    CUDA_KERNEL_NODE_PARAMS_v1 got_v1;
    CUDA_MEMSET_NODE_PARAMS set = {.value = 1, .elementSize = 4, .width = 64, .height = 1}, set_got;
    CUDA_MEMCPY3D copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .WidthInBytes = 256,
                          .Height = 1,
                          .Depth = 1},
                  copy_got;
    _Atomic int calls = 0;
    CUDA_HOST_NODE_PARAMS host = {nothing, &calls}, host_got;
    CUgraphNodeParams any = {.type = CU_GRAPH_NODE_TYPE_MEMSET};
    CUlaunchAttributeValue attribute = {.priority = -1};
    CUgraphNode k, m, c, h, k2, clone_node;
    CUgraph graph, clone;

    (void)state;
    OK(cuMemAlloc_v2(&d, 256));
    OK(cuMemAlloc_v2(&e, 256));
    OK(cuGraphCreate(&graph, 0));
    kernel = kernel_of(add, 64, parameters);
    set.dst = copy.srcDevice = d;
    copy.dstDevice = e;
    OK(cuGraphAddMemsetNode(&m, graph, NULL, 0, &set, context));
    OK(cuGraphAddKernelNode_v2(&k, graph, &m, 1, &kernel));
    OK(cuGraphAddMemcpyNode(&c, graph, &k, 1, &copy, context));
    OK(cuGraphAddHostNode(&h, graph, &c, 1, &host));
    /* What is read back is what was given, parameters as the node took them. */
    value = 99;
    OK(cuGraphKernelNodeGetParams_v2(k, &got));
    assert_ptr_equal(got.func, add);
    assert_int_equal(got.blockDimX, 64);
    assert_int_equal(*(CUdeviceptr *)got.kernelParams[0], d);
    assert_int_equal(*(unsigned *)got.kernelParams[2], 3);
    OK(cuGraphKernelNodeGetParams(k, &got_v1));
    assert_ptr_equal(got_v1.func, add);
    OK(cuGraphMemsetNodeGetParams(m, &set_got));
    assert_memory_equal(&set_got, &set, sizeof(set));
    OK(cuGraphMemcpyNodeGetParams(c, &copy_got));
    assert_memory_equal(&copy_got, &copy, sizeof(copy));
    OK(cuGraphHostNodeGetParams(h, &host_got));
    assert_ptr_equal(host_got.userData, &calls);
    REFUSED(cuGraphHostNodeGetParams(c, &host_got));
    run(graph, 0, 1);
    assert_int_equal(word(e), 4);
    /* Set again: the node's own parameters, too. */
    got.blockDimX = 32;
    OK(cuGraphKernelNodeSetParams_v2(k, &got));
    set.value = 10;
    OK(cuGraphMemsetNodeSetParams(m, &set));
    copy.WidthInBytes = 128;
    OK(cuGraphMemcpyNodeSetParams(c, &copy));
    host.fn = NULL;
    REFUSED(cuGraphHostNodeSetParams(h, &host));
    host.fn = nothing;
    OK(cuGraphHostNodeSetParams(h, &host));
    run(graph, 0, 1);
    assert_int_equal(word(e), 13);
    assert_int_equal(word(e + 252), 4);
    assert_int_equal(word(d + 252), 10);
    assert_int_equal(calls, 2);
    /* The form that all have. */
    any.memset = (CUDA_MEMSET_NODE_PARAMS_v2){d, 0, 20, 4, 64, 1, context};
    OK(cuGraphNodeSetParams(m, &any));
    REFUSED(cuGraphNodeSetParams(c, &any));
    any.reserved2 = 1;
    REFUSED(cuGraphNodeSetParams(m, &any));
    any = (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_KERNEL, .kernel = kernel};
    value = 5;
    OK(cuGraphAddNode_v2(&k2, graph, &k, NULL, 1, &any));
    OK(cuGraphAddDependencies(graph, &k2, &c, 1));
    OK(cuGraphKernelNodeSetAttribute(k, CU_LAUNCH_ATTRIBUTE_PRIORITY, &attribute));
    OK(cuGraphKernelNodeCopyAttributes(k2, k));
    attribute.priority = 0;
    OK(cuGraphKernelNodeGetAttribute(k2, CU_LAUNCH_ATTRIBUTE_PRIORITY, &attribute));
    assert_int_equal(attribute.priority, -1);
    REFUSED(cuGraphKernelNodeGetAttribute(k2, CU_LAUNCH_ATTRIBUTE_IGNORE, &attribute));
    OK(cuGraphClone(&clone, graph));
    OK(cuGraphNodeFindInClone(&clone_node, k2, clone));
    OK(cuGraphKernelNodeGetParams_v2(clone_node, &got));
    assert_int_equal(*(unsigned *)got.kernelParams[2], 5);
    OK(cuGraphDestroy(graph));
    run(clone, 0, 1);
    assert_int_equal(word(e), 28);
    assert_int_equal(
        cuGraphAddNode(&k, clone, NULL, 0,
                       &(CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT}),
        CUDA_ERROR_NOT_SUPPORTED);
    OK(cuGraphDestroy(clone));
    OK(cuMemFree_v2(d));
    OK(cuMemFree_v2(e));
}

/* The same of instantiated graphs, also of what is in a child graph. */
static void test_exec(void **state)
{
    unsigned n = 4, value = 3;
    CUdeviceptr d;
    void *parameters[] = {&d, &n, &value};
    CUDA_KERNEL_NODE_PARAMS kernel = kernel_of(add, 4, parameters);
    CUDA_MEMSET_NODE_PARAMS set = {.value = 1, .elementSize = 4, .width = 4, .height = 1};
    CUgraphNodeParams any = {.type = CU_GRAPH_NODE_TYPE_KERNEL};
    CUgraphExecUpdateResultInfo info;
    CUgraphNode m, k, child_node, inner;
    CUgraph graph, child, kept, other;
    CUgraphExec exec;
    unsigned enabled;
    size_t one = 1;

    (void)state;
    OK(cuMemAlloc_v2(&d, 16));
    set.dst = d;
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphCreate(&child, 0));
    OK(cuGraphAddKernelNode_v2(&k, child, NULL, 0, &kernel));
    OK(cuGraphAddMemsetNode(&m, graph, NULL, 0, &set, context));
    /* A need counts once; a graph can be its own child as it was before. */
    REFUSED(cuGraphAddChildGraphNode(&child_node, graph, (CUgraphNode[]){m, m}, 2, child));
    OK(cuGraphAddChildGraphNode(&child_node, child, NULL, 0, child));
    OK(cuGraphChildGraphNodeGetGraph(child_node, &kept));
    OK(cuGraphGetNodes(kept, NULL, &one));
    assert_int_equal(one, 1);
    OK(cuGraphDestroyNode(child_node));
    OK(cuGraphAddChildGraphNode(&child_node, graph, &m, 1, child));
    OK(cuGraphChildGraphNodeGetGraph(child_node, &kept));
    OK(cuGraphGetNodes(kept, &inner, &one));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    value = 10;
    OK(cuGraphExecKernelNodeSetParams_v2(exec, inner, &kernel));
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    assert_int_equal(word(d), 11);
    OK(cuGraphNodeGetEnabled(exec, m, &enabled));
    assert_int_equal(enabled, 1);
    OK(cuGraphNodeSetEnabled(exec, m, 0));
    REFUSED(cuGraphNodeSetEnabled(exec, child_node, 0));
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    assert_int_equal(word(d), 21);
    value = 100;
    any.kernel = kernel;
    OK(cuGraphExecNodeSetParams(exec, inner, &any));
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    assert_int_equal(word(d), 121);
    /* Another child of the same form. */
    value = 1000;
    OK(cuGraphKernelNodeSetParams_v2(k, &kernel));
    OK(cuGraphExecChildGraphNodeSetParams(exec, child_node, child));
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    assert_int_equal(word(d), 1121);
    OK(cuGraphAddEmptyNode(&k, child, NULL, 0));
    REFUSED(cuGraphExecChildGraphNodeSetParams(exec, child_node, child));
    /* What an update says of a graph that does not fit. */
    OK(cuGraphCreate(&other, 0));
    OK(cuGraphAddEmptyNode(&m, other, NULL, 0));
    OK(cuGraphAddEmptyNode(&k, other, &m, 1));
    assert_int_equal(cuGraphExecUpdate_v2(exec, other, &info),
                     CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    assert_int_equal(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED);
    assert_ptr_equal(info.errorNode, m);
    OK(cuGraphDestroy(other));
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(child));
    assert_int_equal(
        cuGraphInstantiateWithFlags(&exec, graph, CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH),
        CUDA_ERROR_NOT_SUPPORTED);
    REFUSED(cuGraphInstantiateWithFlags(&exec, graph, 16));
    OK(cuGraphDestroy(graph));
    OK(cuMemFree_v2(d));
}

static void test_edges(void **state)
{
    CUgraphEdgeData early = {.type = 1, .from_port = 1}, edges[4];
    unsigned n = 1, value = 0;
    CUdeviceptr d;
    void *parameters[] = {&d, &n, &value};
    CUDA_KERNEL_NODE_PARAMS kernel = kernel_of(add, 1, parameters);
    CUgraphNode a, b, c, from[4], to[4];
    CUgraph graph;
    size_t size = 4;
    char path[] = "/tmp/graph-XXXXXX", line[4096];
    FILE *f;
    int fd;

    (void)state;
    OK(cuMemAlloc_v2(&d, 4));
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddKernelNode_v2(&a, graph, NULL, 0, &kernel));
    OK(cuGraphAddKernelNode_v2(&b, graph, &a, 1, &kernel));
    OK(cuGraphAddEmptyNode(&c, graph, NULL, 0));
    OK(cuGraphAddDependencies_v2(graph, &b, &c, &early, 1));
    REFUSED(cuGraphAddDependencies(graph, &b, &c, 1));            /* it is there */
    REFUSED(cuGraphAddDependencies_v2(graph, &c, &a, &early, 1)); /* not of a kernel */
    OK(cuGraphGetEdges_v2(graph, from, to, edges, &size));
    assert_int_equal(size, 2);
    assert_ptr_equal(from[0], a);
    assert_ptr_equal(to[1], c);
    assert_int_equal(edges[0].type, 0);
    assert_int_equal(edges[1].type, 1);
    size = 4;
    assert_int_equal(cuGraphGetEdges(graph, from, to, &size), CUDA_ERROR_LOSSY_QUERY);
    size = 4;
    OK(cuGraphNodeGetDependentNodes(a, to, &size));
    assert_int_equal(size, 1);
    assert_ptr_equal(to[0], b);
    assert_null(to[1]);
    size = 4;
    OK(cuGraphNodeGetDependencies_v2(c, from, edges, &size));
    assert_int_equal(size, 1);
    assert_int_equal(edges[0].from_port, 1);
    fd = mkstemp(path);
    assert_true(fd >= 0);
    OK(cuGraphDebugDotPrint(graph, path, 1));
    f = fdopen(fd, "r");
    line[fread(line, 1, sizeof(line) - 1, f)] = '\0';
    fclose(f);
    unlink(path);
    assert_non_null(strstr(line, "digraph"));
    assert_non_null(strstr(line, "add\\n<<<(1,1,1),(1,1,1),0>>>"));
    OK(cuGraphRemoveDependencies(graph, &b, &c, 1));
    REFUSED(cuGraphRemoveDependencies(graph, &b, &c, 1));
    size = 0;
    OK(cuGraphGetEdges(graph, NULL, NULL, &size));
    assert_int_equal(size, 1);
    OK(cuGraphDestroy(graph));
    OK(cuMemFree_v2(d));
}

static void test_events(void **state)
{
    CUgraphNode r, m, w, m2;
    CUDA_MEMSET_NODE_PARAMS set = {.value = 1, .elementSize = 4, .width = 1, .height = 1};
    CUgraph graph, waiting;
    CUgraphExec exec;
    CUevent e, f, got;
    CUdeviceptr d;
    CUstream t;

    (void)state;
    OK(cuMemAlloc_v2(&d, 4));
    set.dst = d;
    OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
    OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    OK(cuEventCreate(&f, 0));
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphCreate(&waiting, 0));
    OK(cuGraphAddMemsetNode(&m, graph, NULL, 0, &set, context));
    OK(cuGraphAddEventRecordNode(&r, graph, &m, 1, f));
    OK(cuGraphEventRecordNodeSetEvent(r, e));
    OK(cuGraphEventRecordNodeGetEvent(r, &got));
    assert_ptr_equal(got, e);
    REFUSED(cuGraphEventWaitNodeGetEvent(r, &got));
    OK(cuGraphAddEventWaitNode(&w, waiting, NULL, 0, e));
    set.value = 2;
    OK(cuGraphAddMemsetNode(&m2, waiting, &w, 1, &set, context));
    /* The first graph is held up by a word, the second by the event. */
    OK(cuMemsetD32_v2(d, 0, 1));
    OK(cuCtxSynchronize());
    OK(cuStreamWaitValue32_v2(s, d, 7, CU_STREAM_WAIT_VALUE_GEQ));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphLaunch(exec, s));
    OK(cuGraphExecDestroy(exec));
    assert_int_equal(cuEventQuery(e), CUDA_ERROR_NOT_READY);
    OK(cuGraphInstantiateWithFlags(&exec, waiting, 0));
    OK(cuGraphExecEventWaitNodeSetEvent(exec, w, f));
    OK(cuGraphExecEventWaitNodeSetEvent(exec, w, e));
    OK(cuGraphLaunch(exec, t));
    OK(cuGraphExecDestroy(exec));
    assert_int_equal(cuStreamQuery(t), CUDA_ERROR_NOT_READY);
    OK(cuMemsetD32_v2(d, 7, 1));
    OK(cuStreamSynchronize(t));
    assert_int_equal(word(d), 2);
    OK(cuEventQuery(e));
    OK(cuGraphDestroy(graph));
    OK(cuGraphDestroy(waiting));
    /* Captured, if they are external. */
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuEventRecordWithFlags(f, s, CU_EVENT_RECORD_EXTERNAL));
    OK(cuStreamWaitEvent(s, e, CU_EVENT_WAIT_EXTERNAL));
    OK(cuStreamEndCapture(s, &graph));
    run(graph, 0, 1);
    OK(cuEventQuery(f));
    OK(cuGraphDestroy(graph));
    OK(cuEventDestroy_v2(e));
    OK(cuEventDestroy_v2(f));
    OK(cuStreamDestroy_v2(t));
    OK(cuMemFree_v2(d));
}

static void test_words(void **state)
{
    CUdeviceptr d;
    CUstreamBatchMemOpParams operations[] = {
        {.writeValue = {.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32, .value64 = 5}},
        {.waitValue = {.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32,
                       .value64 = 4,
                       .flags = CU_STREAM_WAIT_VALUE_GEQ}},
        {.writeValue = {.operation = CU_STREAM_MEM_OP_WRITE_VALUE_64, .value64 = 1ull << 32 | 6}},
        {.operation = CU_STREAM_MEM_OP_BARRIER}};
    CUDA_BATCH_MEM_OP_NODE_PARAMS p = {.count = 4, .paramArray = operations}, got;
    CUgraph graph;
    CUgraphNode node;

    (void)state;
    OK(cuMemAlloc_v2(&d, 16));
    OK(cuMemsetD32_v2(d, 0, 4));
    OK(cuCtxSynchronize()); /* s does not wait for it */
    operations[0].writeValue.address = operations[1].waitValue.address = d;
    operations[2].writeValue.address = d + 8;
    p.ctx = context;
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddBatchMemOpNode(&node, graph, NULL, 0, &p));
    operations[0].writeValue.value64 = 8;
    OK(cuGraphBatchMemOpNodeGetParams(node, &got));
    assert_int_equal(got.count, 4);
    assert_int_equal(got.paramArray[0].writeValue.value64, 5);
    run(graph, 0, 1);
    assert_int_equal(word(d), 5);
    assert_int_equal(word(d + 8), 6);
    assert_int_equal(word(d + 12), 1);
    OK(cuGraphBatchMemOpNodeSetParams(node, &p));
    run(graph, 0, 1);
    assert_int_equal(word(d), 8);
    operations[3].operation = 99;
    REFUSED(cuGraphBatchMemOpNodeSetParams(node, &p));
    REFUSED(cuStreamBatchMemOp_v2(s, 4, operations, 0));
    operations[0].writeValue.value64 = 9;
    OK(cuStreamBatchMemOp_v2(s, 3, operations, 0));
    OK(cuStreamSynchronize(s));
    assert_int_equal(word(d), 9);
    OK(cuStreamWriteValue64(s, d, 12, 0));
    OK(cuStreamWaitValue32(s, d, 12, CU_STREAM_WAIT_VALUE_EQ));
    OK(cuStreamSynchronize(s));
    assert_int_equal(word(d), 12);
    OK(cuGraphDestroy(graph));
    OK(cuMemFree_v2(d));
}

static cuuint64_t memory(CUgraphMem_attribute attribute)
{
    cuuint64_t value;

    OK(cuDeviceGetGraphMemAttribute(0, attribute, &value));
    return value;
}

static void test_memory(void **state)
{
    CUDA_MEM_ALLOC_NODE_PARAMS p = {.poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                                  .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}},
                                    .bytesize = 1 << 16};
    CUDA_MEMSET_NODE_PARAMS set = {.value = 6, .elementSize = 4, .width = 16, .height = 1};
    CUgraphExec exec, second;
    CUgraphNode a, m, f;
    CUdeviceptr got, d;
    cuuint64_t zero = 0;
    CUgraph graph, clone;

    (void)state;
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddMemAllocNode(&a, graph, NULL, 0, &p));
    assert_true(p.dptr != 0);
    set.dst = p.dptr;
    OK(cuGraphAddMemsetNode(&m, graph, &a, 1, &set, context));
    assert_int_equal(cuGraphClone(&clone, graph), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(cuGraphDestroyNode(a), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(cuGraphRemoveDependencies(graph, &a, &m, 1), CUDA_ERROR_NOT_SUPPORTED);
    REFUSED(cuMemFree_v2(p.dptr)); /* not allocated yet */
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    assert_int_equal(cuGraphInstantiateWithFlags(&second, graph, 0), CUDA_ERROR_NOT_SUPPORTED);
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    assert_int_equal(memory(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT), 1 << 16);
    assert_int_equal(word(p.dptr), 6);
    REFUSED(cuGraphLaunch(exec, s)); /* allocated still */
    OK(cuMemFreeAsync(p.dptr, s));
    REFUSED(cuMemFree_v2(p.dptr));
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamSynchronize(s));
    OK(cuMemFree_v2(p.dptr));
    assert_int_equal(memory(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT), 0);
    assert_int_equal(memory(CU_GRAPH_MEM_ATTR_USED_MEM_HIGH), 1 << 16);
    assert_int_equal(memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT), 1 << 16);
    OK(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &zero));
    assert_int_equal(memory(CU_GRAPH_MEM_ATTR_USED_MEM_HIGH), 0);
    OK(cuGraphExecDestroy(exec));
    /* Freed by the launch, or by the next one. */
    OK(cuGraphInstantiateWithFlags(&exec, graph, CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH));
    OK(cuGraphLaunch(exec, s));
    OK(cuGraphLaunch(exec, s));
    OK(cuGraphExecDestroy(exec));
    OK(cuMemFreeAsync(p.dptr, s));
    OK(cuGraphAddMemFreeNode(&f, graph, &m, 1, p.dptr));
    REFUSED(cuGraphAddMemFreeNode(&f, graph, &m, 1, p.dptr));
    OK(cuGraphMemFreeNodeGetParams(f, &got));
    assert_int_equal(got, p.dptr);
    run(graph, 0, 3);
    OK(cuGraphDestroy(graph));
    OK(cuCtxSynchronize());
    OK(cuDeviceGraphMemTrim(0));
    assert_int_equal(memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT), 0);
    /* What lives outlives its graph. */
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuMemAllocAsync(&d, 4096, s));
    OK(cuMemsetD32Async(d, 31, 1024, s));
    OK(cuStreamEndCapture(s, &graph));
    run(graph, 0, 1);
    OK(cuGraphDestroy(graph));
    assert_int_equal(word(d + 4092), 31);
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuMemFreeAsync(d, s));
    OK(cuStreamEndCapture(s, &graph));
    run(graph, 0, 1);
    OK(cuGraphDestroy(graph));
    assert_int_equal(memory(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT), 0);
    REFUSED(cuMemFree_v2(d));
    p.bytesize = 0;
    OK(cuGraphCreate(&graph, 0));
    REFUSED(cuGraphAddMemAllocNode(&a, graph, NULL, 0, &p));
    OK(cuGraphDestroy(graph));
}

static void test_user_objects(void **state)
{
    CUuserObject object;
    _Atomic int calls = 0;
    CUgraphExec exec;
    CUgraph graph;

    (void)state;
    OK(cuGraphCreate(&graph, 0));
    REFUSED(cuUserObjectCreate(&object, (void *)&calls, nothing, 1, 0));
    OK(cuUserObjectCreate(&object, (void *)&calls, nothing, 1, 1));
    OK(cuUserObjectRetain(object, 2));
    OK(cuUserObjectRelease(object, 2));
    OK(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
    OK(cuGraphRetainUserObject(graph, object, 2, 0));
    OK(cuGraphReleaseUserObject(graph, object, 2));
    REFUSED(cuGraphReleaseUserObject(graph, object, 2));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphDestroy(graph));
    assert_int_equal(calls, 0);
    OK(cuGraphLaunch(exec, s));
    OK(cuGraphExecDestroy(exec));
    OK(cuCtxSynchronize());
    assert_int_equal(calls, 1);
    REFUSED(cuUserObjectRelease(object, 1));
}

static void test_capture(void **state)
{
    unsigned n = 1, value = 1;
    CUdeviceptr d;
    void *parameters[] = {&d, &n, &value};
    CUDA_KERNEL_NODE_PARAMS kernel = kernel_of(add, 1, parameters), got;
    CUgraphNode a, b, c, list[8];
    CUgraph graph, same;
    CUgraphExec exec;
    size_t size = 8;
    CUstream t;
    CUevent e;

    (void)state;
    OK(cuMemAlloc_v2(&d, 4));
    OK(cuMemsetD32_v2(d, 0, 1));
    OK(cuCtxSynchronize());
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddKernelNode_v2(&a, graph, NULL, 0, &kernel));
    OK(cuGraphAddKernelNode_v2(&b, graph, NULL, 0, &kernel));
    OK(cuStreamBeginCaptureToGraph(s, graph, &a, NULL, 1, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuStreamUpdateCaptureDependencies(s, &b, 1, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
    OK(cuLaunchKernel(add, 1, 1, 1, 1, 1, 1, 0, s, parameters, NULL));
    OK(cuStreamEndCapture(s, &same));
    assert_ptr_equal(same, graph);
    OK(cuGraphGetNodes(graph, list, &size));
    assert_int_equal(size, 3);
    c = list[2];
    OK(cuGraphKernelNodeGetParams_v2(c, &got));
    assert_ptr_equal(got.func, add);
    assert_int_equal(*(unsigned *)got.kernelParams[2], 1);
    size = 8;
    OK(cuGraphNodeGetDependencies(c, list, &size));
    assert_int_equal(size, 1);
    assert_ptr_equal(list[0], b);
    /* A stream that was joined may go; of its own graph the program needs not be told. */
    OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
    OK(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    OK(cuStreamBeginCaptureToGraph(s, graph, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuLaunchKernel(add, 1, 1, 1, 1, 1, 1, 0, s, parameters, NULL));
    OK(cuEventRecord(e, s));
    OK(cuStreamWaitEvent(t, e, 0));
    OK(cuLaunchKernel(add, 1, 1, 1, 1, 1, 1, 0, t, parameters, NULL));
    OK(cuEventRecord(e, t));
    OK(cuStreamWaitEvent(s, e, 0));
    OK(cuStreamDestroy_v2(t));
    OK(cuStreamEndCapture(s, NULL));
    OK(cuEventDestroy_v2(e));
    /* A launch of a graph becomes one in it. */
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuGraphLaunch(exec, s));
    OK(cuGraphLaunch(exec, s));
    OK(cuStreamEndCapture(s, &same));
    OK(cuGraphExecDestroy(exec));
    run(same, 0, 1);
    assert_int_equal(word(d), 10);
    OK(cuGraphDestroy(same));
    OK(cuGraphDestroy(graph));
    OK(cuMemFree_v2(d));
}

/* A graph of one condition; `bodies` gets its graphs. */
static CUgraph condition(CUgraphConditionalNodeType type, unsigned size, unsigned value,
                         CUgraphConditionalHandle *ret_handle, CUgraph *bodies)
{
    CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL};
    CUgraphNode node;
    CUgraph graph;

    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphConditionalHandleCreate(ret_handle, graph, context, value,
                                      CU_GRAPH_COND_ASSIGN_DEFAULT));
    p.conditional.handle = *ret_handle;
    p.conditional.type = type;
    p.conditional.size = size;
    p.conditional.ctx = context;
    OK(cuGraphAddNode(&node, graph, NULL, 0, &p));
    for (unsigned i = 0; i < size; i++)
        bodies[i] = p.conditional.phGraph_out[i];
    return graph;
}

static void body(CUgraph graph, CUdeviceptr at, unsigned value)
{
    unsigned n = 1;
    void *parameters[] = {&at, &n, &value};
    CUDA_KERNEL_NODE_PARAMS kernel = kernel_of(add, 1, parameters);
    CUgraphNode node;

    OK(cuGraphAddKernelNode_v2(&node, graph, NULL, 0, &kernel));
}

static void test_conditions(void **state)
{
    static const struct {
        CUgraphConditionalNodeType type;
        unsigned size, value, expected;
    } cases[] = {
        {CU_GRAPH_COND_TYPE_IF, 1, 0, 0},       {CU_GRAPH_COND_TYPE_IF, 1, 7, 1},
        {CU_GRAPH_COND_TYPE_IF, 2, 0, 10},      {CU_GRAPH_COND_TYPE_IF, 2, 1, 1},
        {CU_GRAPH_COND_TYPE_SWITCH, 3, 2, 100}, {CU_GRAPH_COND_TYPE_SWITCH, 3, 0, 1},
        {CU_GRAPH_COND_TYPE_SWITCH, 3, 3, 0},   {CU_GRAPH_COND_TYPE_WHILE, 1, 0, 0},
    };
    static const unsigned values[] = {1, 10, 100};
    CUgraphConditionalHandle handle;
    CUgraph graph, bodies[3];
    CUdeviceptr d;

    (void)state;
    OK(cuMemAlloc_v2(&d, 8));
    for (size_t i = 0; i < COUNT(cases); i++) {
        OK(cuMemsetD32_v2(d, 0, 2));
        OK(cuCtxSynchronize());
        graph = condition(cases[i].type, cases[i].size, cases[i].value, &handle, bodies);
        for (unsigned b = 0; b < cases[i].size; b++)
            body(bodies[b], d, values[b]);
        run(graph, 0, 2);
        assert_int_equal(word(d), 2 * cases[i].expected);
        OK(cuGraphDestroy(graph));
    }
    OK(cuMemFree_v2(d));
}

static void test_loop(void **state)
{
    CUdeviceptr d, counter;
    CUgraphConditionalHandle handle, unused;
    void *parameters[] = {&counter, &handle};
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUgraphNodeParams p = {.type = CU_GRAPH_NODE_TYPE_HOST};
    CUDA_GRAPH_INSTANTIATE_PARAMS how = {0};
    CUgraphExecUpdateResultInfo info;
    CUgraph graph, inner;
    CUgraphNode node, bad_node;
    _Atomic int calls = 0;
    CUgraphExec exec;

    (void)state;
    OK(cuMemAlloc_v2(&d, 8));
    counter = d + 4;
    OK(cuMemsetD32_v2(d, 0, 1));
    OK(cuMemsetD32_v2(counter, 20, 1));
    OK(cuCtxSynchronize());
    graph = condition(CU_GRAPH_COND_TYPE_WHILE, 1, 1, &handle, &inner);
    kernel = kernel_of(count, 1, parameters);
    OK(cuGraphAddKernelNode_v2(&node, inner, NULL, 0, &kernel));
    body(inner, d, 3);
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphLaunch(exec, s));
    OK(cuMemsetD32Async(counter, 5, 1, s)); /* behind the graph */
    OK(cuGraphLaunch(exec, s));
    OK(cuGraphExecUpdate_v2(exec, graph, &info));
    OK(cuStreamSynchronize(s));
    assert_int_equal(word(d), 75);
    assert_int_equal(word(counter), 0);
    OK(cuGraphExecDestroy(exec));
    /* Destroyed while it runs. */
    OK(cuMemsetD32_v2(counter, 50, 1));
    OK(cuCtxSynchronize());
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphLaunch(exec, s));
    OK(cuGraphExecDestroy(exec));
    OK(cuStreamSynchronize(s));
    assert_int_equal(word(d), 225);
    /* What bodies cannot have, and handles without a node. */
    p.host = (CUDA_HOST_NODE_PARAMS){nothing, (void *)&calls};
    OK(cuGraphAddNode(&bad_node, inner, NULL, 0, &p));
    assert_int_equal(cuGraphInstantiateWithParams(&exec, graph, &how), CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(how.result_out, CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED);
    assert_ptr_equal(how.hErrNode_out, bad_node);
    OK(cuGraphDestroyNode(bad_node));
    OK(cuGraphConditionalHandleCreate(&unused, graph, context, 0, 0));
    REFUSED(cuGraphInstantiateWithParams(&exec, graph, &how));
    assert_int_equal(how.result_out, CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED);
    p = (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_CONDITIONAL,
                            .conditional = {.handle = handle, .size = 1}};
    REFUSED(cuGraphAddNode(&node, graph, NULL, 0, &p)); /* it has a node */
    OK(cuGraphDestroy(graph));
    OK(cuMemFree_v2(d));
}

/* A kernel that launches another, in a graph as out of it. */
static void test_child(void **state)
{
    CUfunction parent;
    unsigned value = 7;
    CUdeviceptr d;
    void *parameters[] = {&d, &value};
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUgraphNode node;
    CUgraph graph;

    (void)state;
    OK(cuModuleGetFunction(&parent, module, "parent"));
    kernel = kernel_of(parent, 1, parameters);
    OK(cuMemAlloc_v2(&d, 8));
    OK(cuMemsetD32_v2(d, 1, 1));
    OK(cuCtxSynchronize());
    OK(cuLaunchKernel(parent, 1, 1, 1, 1, 1, 1, 0, s, parameters, NULL));
    OK(cuStreamSynchronize(s));
    assert_int_equal(word(d), 8);
    assert_int_equal(word(d + 4), 32); /* the size of a warp, as the kernel asks for it */
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddKernelNode_v2(&node, graph, NULL, 0, &kernel));
    run(graph, 0, 2);
    assert_int_equal(word(d), 22);
    OK(cuGraphDestroy(graph));
    OK(cuMemFree_v2(d));
}

/* A fault in a body ends the graph, and who waits for it. The last test of its context. */
static void test_fault(void **state)
{
    CUDA_KERNEL_NODE_PARAMS kernel = kernel_of(bad, 1, NULL);
    CUgraphConditionalHandle handle;
    CUgraph graph, inner;
    CUgraphNode node;
    CUgraphExec exec;

    (void)state;
    graph = condition(CU_GRAPH_COND_TYPE_WHILE, 1, 1, &handle, &inner);
    OK(cuGraphAddKernelNode_v2(&node, inner, NULL, 0, &kernel));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphLaunch(exec, s));
    assert_int_equal(cuStreamSynchronize(s), CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),   cmocka_unit_test(test_exec),
        cmocka_unit_test(test_edges),        cmocka_unit_test(test_events),
        cmocka_unit_test(test_words),        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_user_objects), cmocka_unit_test(test_capture),
        cmocka_unit_test(test_conditions),   cmocka_unit_test(test_loop),
        cmocka_unit_test(test_child),

        cmocka_unit_test(test_fault),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
