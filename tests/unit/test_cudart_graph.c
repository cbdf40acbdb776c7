/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <compute/cuda/runtime/graph.h>

/* Graphs by the runtime API: what it says in forms of its own; once a major version. */

cudaError_t cudaDeviceReset(void);
cudaError_t cudaMalloc(void **memory, size_t size);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind);
cudaError_t cudaMemset(void *memory, int value, size_t size);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jit,
                                void **jit_values, unsigned jit_count, CUlibraryOption *options,
                                void **values, unsigned count);
cudaError_t cudaLibraryUnload(CUlibrary library);
cudaError_t cudaLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name);
cudaError_t cudaGraphCreate(CUgraph *graph, unsigned flags);
cudaError_t cudaGraphDestroy(CUgraph graph);
cudaError_t cudaGraphInstantiate(CUgraphExec *exec, CUgraph graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(CUgraphExec exec, CUstream stream);
cudaError_t cudaGraphExecDestroy(CUgraphExec exec);
cudaError_t cudaGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                   size_t count, const struct kernel_node *p);
cudaError_t cudaGraphKernelNodeGetParams(CUgraphNode node, struct kernel_node *p);
cudaError_t cudaGraphKernelNodeSetParams(CUgraphNode node, const struct kernel_node *p);
cudaError_t cudaGraphAddMemcpyNode1D(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                     size_t count, void *to, const void *from, size_t size,
                                     int kind);
cudaError_t cudaGraphMemcpyNodeGetParams(CUgraphNode node, struct copy_3d *p);
cudaError_t cudaGraphMemcpyNodeSetParams(CUgraphNode node, const struct copy_3d *p);
cudaError_t cudaGraphMemcpyNodeSetParams1D(CUgraphNode node, void *to, const void *from,
                                           size_t size, int kind);
cudaError_t cudaGraphAddMemAllocNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                     size_t count, CUDA_MEM_ALLOC_NODE_PARAMS *params);
cudaError_t cudaGraphAddMemFreeNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                    size_t count, void *memory);
cudaError_t cudaDeviceGetGraphMemAttribute(int device, int attribute, void *value);
cudaError_t cudaGraphConditionalHandleCreate(CUgraphConditionalHandle *handle, CUgraph graph,
                                             unsigned value, unsigned flags);
/* cudaGraphNodeParams, as far as it is used here. */
struct node_params {
    int type, reserved0[3];
    union {
        long long reserved1[29];
        struct kernel_node kernel;
        struct {
            int flags, reserved[3];
            struct copy_3d copy;
        } memcpy;
        struct {
            CUgraphConditionalHandle handle;
            int type;
            unsigned size;
            CUgraph *bodies;
        } conditional;
    };
    long long reserved2;
};
cudaError_t cudaGraphNodeSetParams(CUgraphNode node, struct node_params *p);
#if CUDART_MAJOR == 12
cudaError_t cudaGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                const CUgraphEdgeData *edges, size_t count, struct node_params *p);
cudaError_t cudaGraphGetEdges_v2(CUgraph graph, CUgraphNode *from, CUgraphNode *to,
                                 CUgraphEdgeData *edges, size_t *count);
cudaError_t cudaGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                             size_t count, struct node_params *p);
#define ADD_NODE  cudaGraphAddNode_v2
#define GET_EDGES cudaGraphGetEdges_v2
#else
cudaError_t cudaGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                             const CUgraphEdgeData *edges, size_t count, struct node_params *p);
cudaError_t cudaGraphGetEdges(CUgraph graph, CUgraphNode *from, CUgraphNode *to,
                              CUgraphEdgeData *edges, size_t *count);
#define ADD_NODE  cudaGraphAddNode
#define GET_EDGES cudaGraphGetEdges
#endif

struct update_result {
    int result;
    CUgraphNode node, from;
};
cudaError_t cudaGraphExecUpdate(CUgraphExec exec, CUgraph graph, struct update_result *result);
cudaError_t cudaGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const struct copy_3d *p);
cudaError_t cudaGraphExecMemcpyNodeSetParams1D(CUgraphExec exec, CUgraphNode node, void *to,
                                               const void *from, size_t size, int kind);
cudaError_t cudaGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const CUDA_MEMSET_NODE_PARAMS *p);
cudaError_t cudaGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *needs,
                                   size_t count, const CUDA_MEMSET_NODE_PARAMS *p);
cudaError_t cudaGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count);
cudaError_t cudaGraphGetRootNodes(CUgraph graph, CUgraphNode *nodes, size_t *count);
cudaError_t cudaStreamCreateWithFlags(CUstream *stream, unsigned flags);
cudaError_t cudaStreamDestroy(CUstream stream);
cudaError_t cudaStreamBeginCapture(CUstream stream, int mode);
cudaError_t cudaStreamEndCapture(CUstream stream, CUgraph *graph);
cudaError_t cudaStreamWaitEvent(CUstream stream, CUevent event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(CUevent *event, unsigned flags);
cudaError_t cudaEventDestroy(CUevent event);
cudaError_t cudaEventRecord(CUevent event, CUstream stream);
cudaError_t cudaMemsetAsync(void *memory, int value, size_t size, CUstream stream);

#define OK(call) assert_int_equal(call, 0)

static const char ptx[] = ".version 7.8\n.target sm_80\n.address_size 64\n"
                          ".visible .entry add(.param .u64 p, .param .u32 v)\n"
                          "{\n.reg .b64 %d; .reg .b32 %r<3>;\n"
                          "ld.param.u64 %d, [p]; ld.param.u32 %r1, [v]; ld.global.u32 %r2, [%d];\n"
                          "add.u32 %r2, %r2, %r1; st.global.u32 [%d], %r2; ret;\n}\n";

static CUlibrary library;
static CUkernel add;
static void *memory;
static uint32_t value = 3;
static void *args[] = {&memory, &value};

static int setup(void **state)
{
    (void)state;
    OK(cudaLibraryLoadData(&library, ptx, NULL, NULL, 0, NULL, NULL, 0));
    OK(cudaLibraryGetKernel(&add, library, "add"));
    OK(cudaMalloc(&memory, 256));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cudaFree(memory);
    cudaLibraryUnload(library);
    return cudaDeviceReset();
}

static struct kernel_node kernel(void)
{
    return (struct kernel_node){.func = add, .grid = {1, 1, 1}, .block = {1, 1, 1}, .args = args};
}

static uint32_t run(CUgraph graph)
{
    CUgraphExec exec;
    uint32_t got;

    OK(cudaGraphInstantiate(&exec, graph, 0));
    OK(cudaGraphLaunch(exec, NULL));
    OK(cudaGraphExecDestroy(exec));
    OK(cudaMemcpy(&got, memory, sizeof(got), RT_DEFAULT));
    return got;
}

/* What is read back can be set again. */
static void test_parameters(void **state)
{
    struct kernel_node k = kernel();
    struct node_params any = {.type = CU_GRAPH_NODE_TYPE_KERNEL, .kernel = kernel()};
    CUgraphEdgeData edges[2];
    CUgraphNode a, b, c, from[2], to[2];
    struct copy_3d copy;
    CUgraph graph;
    size_t count = 2;

    (void)state;
    OK(cudaMemset(memory, 0, 256));
    OK(cudaGraphCreate(&graph, 0));
    OK(cudaGraphAddKernelNode(&a, graph, NULL, 0, &k));
    value = 10;
    OK(ADD_NODE(&b, graph, &a, NULL, 1, &any));
    value = 99;
    OK(cudaGraphKernelNodeGetParams(a, &k));
    assert_ptr_equal(k.func, add);
    assert_int_equal(*(uint32_t *)k.args[1], 3);
    OK(cudaGraphKernelNodeSetParams(a, &k));
    assert_int_equal(run(graph), 13);
    OK(GET_EDGES(graph, from, to, edges, &count));
    assert_int_equal(count, 1);
    assert_ptr_equal(to[0], b);
    OK(cudaGraphAddMemcpyNode1D(&c, graph, &b, 1, (char *)memory + 16, memory, 4,
                                RT_DEVICE_TO_DEVICE));
    OK(cudaGraphMemcpyNodeGetParams(c, &copy));
    assert_int_equal(copy.extent.width, 4);
    assert_int_equal(copy.kind, RT_DEVICE_TO_DEVICE);
    copy.extent.width = 1;
    OK(cudaGraphMemcpyNodeSetParams(c, &copy));
    OK(cudaGraphMemcpyNodeSetParams1D(c, memory, (char *)memory + 16, 4, RT_DEVICE_TO_DEVICE));
    assert_int_equal(cudaGraphMemcpyNodeSetParams1D(c, memory, memory, 4, 9),
                     RT_INVALID_MEMCPY_DIRECTION);
    any = (struct node_params){.type = CU_GRAPH_NODE_TYPE_MEMCPY, .memcpy.copy = copy};
    OK(cudaGraphNodeSetParams(c, &any));
    any.type = 99;
    assert_int_equal(cudaGraphNodeSetParams(c, &any), RT_INVALID_VALUE);
    assert_int_equal(run(graph), 26);
    OK(cudaMemcpy(&value, (char *)memory + 16, 4, RT_DEFAULT));
    assert_int_equal(value, 26);
    OK(cudaGraphDestroy(graph));
}

static void test_memory(void **state)
{
    CUDA_MEM_ALLOC_NODE_PARAMS p = {.poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                                  .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}},
                                    .bytesize = 4096};
    uint64_t used = 1;
    CUgraphNode a, f;
    CUgraph graph;

    (void)state;
    OK(cudaGraphCreate(&graph, 0));
    OK(cudaGraphAddMemAllocNode(&a, graph, NULL, 0, &p));
    OK(cudaGraphAddMemFreeNode(&f, graph, &a, 1, (void *)(uintptr_t)p.dptr));
    run(graph);
    OK(cudaDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used));
    assert_int_equal(used, 0);
    OK(cudaGraphDestroy(graph));
}

static void test_condition(void **state)
{
    struct node_params p = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL};
    struct kernel_node k = kernel();
    CUgraphNode node, inner;
    CUgraph graph;

    (void)state;
    value = 5;
    OK(cudaMemset(memory, 0, 256));
    OK(cudaGraphCreate(&graph, 0));
    OK(cudaGraphConditionalHandleCreate(&p.conditional.handle, graph, 1,
                                        CU_GRAPH_COND_ASSIGN_DEFAULT));
    p.conditional.size = 1;
    OK(ADD_NODE(&node, graph, NULL, NULL, 0, &p));
    OK(cudaGraphAddKernelNode(&inner, p.conditional.bodies[0], NULL, 0, &k));
    assert_int_equal(run(graph), 5);
    OK(cudaGraphDestroy(graph));
}

/* An instantiated copy stays between the kinds of memory that it was between. */
static void test_kinds_of_memory(void **state)
{
    uint32_t words[4] = {7, 8, 9, 10}, got = 0;
    struct update_result result;
    CUgraph graph, other;
    CUgraphExec exec;
    CUgraphNode copy, set, back;
    struct copy_3d two = {.srcPtr = {words, 16, 16, 1},
                          .dstPtr = {memory, 16, 16, 1},
                          .extent = {4, 1, 1},
                          .kind = RT_HOST_TO_DEVICE};
    CUDA_MEMSET_NODE_PARAMS rows = {.dst = (uintptr_t)memory,
                                    .pitch = 16,
                                    .value = 1,
                                    .elementSize = 4,
                                    .width = 1,
                                    .height = 2};

    (void)state;
    OK(cudaGraphCreate(&graph, 0));
    OK(cudaGraphAddMemcpyNode1D(&copy, graph, NULL, 0, memory, words, 4, RT_DEFAULT));
    OK(cudaGraphInstantiate(&exec, graph, 0));
    assert_int_equal(cudaGraphExecMemcpyNodeSetParams1D(exec, copy, memory, (char *)memory + 8, 4,
                                                        RT_DEVICE_TO_DEVICE),
                     RT_INVALID_VALUE);
    assert_int_equal(
        cudaGraphExecMemcpyNodeSetParams1D(exec, copy, memory, (char *)memory + 8, 4, RT_DEFAULT),
        RT_INVALID_VALUE);
    OK(cudaGraphExecMemcpyNodeSetParams1D(exec, copy, memory, words + 1, 4, RT_HOST_TO_DEVICE));
    /* One source, one target. */
    two.srcArray = (CUarray)words;
    assert_int_equal(cudaGraphExecMemcpyNodeSetParams(exec, copy, &two), RT_INVALID_VALUE);
    two.srcArray = NULL;
    OK(cudaGraphExecMemcpyNodeSetParams(exec, copy, &two));
    OK(cudaGraphLaunch(exec, NULL));
    OK(cudaMemcpy(&got, memory, 4, RT_DEFAULT));
    assert_int_equal(got, 7);
    /* Nor does a graph change it. */
    OK(cudaGraphCreate(&other, 0));
    OK(cudaGraphAddMemcpyNode1D(&back, other, NULL, 0, words, memory, 4, RT_DEVICE_TO_HOST));
    assert_int_equal(cudaGraphExecUpdate(exec, other, &result),
                     CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    assert_int_equal(result.result, CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED);
    assert_ptr_equal(result.node, back);
    OK(cudaGraphExecDestroy(exec));
    OK(cudaGraphDestroy(other));
    /* To bring it to the device needs a stream, which is not named here. */
    assert_int_equal(cudaGraphInstantiate(&exec, graph, CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD),
                     RT_INVALID_VALUE);
    OK(cudaGraphDestroy(graph));
    /* Rows stay as they are. */
    OK(cudaGraphCreate(&graph, 0));
    OK(cudaGraphAddMemsetNode(&set, graph, NULL, 0, &rows));
    OK(cudaGraphInstantiate(&exec, graph, 0));
    rows.width = 2;
    assert_int_equal(cudaGraphExecMemsetNodeSetParams(exec, set, &rows), RT_INVALID_VALUE);
    rows.width = 1;
    rows.value = 5;
    OK(cudaGraphExecMemsetNodeSetParams(exec, set, &rows));
    OK(cudaGraphLaunch(exec, NULL));
    OK(cudaMemcpy(&got, (char *)memory + 16, 4, RT_DEFAULT));
    assert_int_equal(got, 5);
    OK(cudaGraphExecDestroy(exec));
    OK(cudaGraphDestroy(graph));
}

/* How nodes need one another is looked at before what they are. */
static void test_topology_first(void **state)
{
    struct kernel_node k = kernel();
    struct update_result result;
    CUgraph graph, other;
    CUgraphExec exec;
    CUgraphNode a, b;
    CUDA_MEMSET_NODE_PARAMS set = {
        .dst = (uintptr_t)memory, .elementSize = 1, .width = 4, .height = 1};

    (void)state;
    OK(cudaGraphCreate(&graph, 0));
    OK(cudaGraphAddKernelNode(&a, graph, NULL, 0, &k));
    OK(cudaGraphAddKernelNode(&b, graph, NULL, 0, &k));
    OK(cudaGraphInstantiate(&exec, graph, 0));
    OK(cudaGraphCreate(&other, 0));
    OK(cudaGraphAddMemsetNode(&a, other, NULL, 0, &set));
    OK(cudaGraphAddKernelNode(&b, other, &a, 1, &k));
    assert_int_equal(cudaGraphExecUpdate(exec, other, &result),
                     CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    assert_int_equal(result.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
    assert_ptr_equal(result.node, b);
    OK(cudaGraphExecDestroy(exec));
    OK(cudaGraphDestroy(other));
    OK(cudaGraphDestroy(graph));
}

/* An event stands for all that its stream has, which may be nothing: it adds no node. */
static void test_captured_events(void **state)
{
    CUgraphNode nodes[4], from[4], to[4];
    CUevent fork, left, right, both;
    CUstream first, second, third;
    CUgraph graph;
    size_t count;
    uint32_t got;

    (void)state;
    OK(cudaStreamCreateWithFlags(&first, CU_STREAM_NON_BLOCKING));
    OK(cudaStreamCreateWithFlags(&second, CU_STREAM_NON_BLOCKING));
    OK(cudaStreamCreateWithFlags(&third, CU_STREAM_NON_BLOCKING));
    OK(cudaEventCreateWithFlags(&fork, CU_EVENT_DISABLE_TIMING));
    OK(cudaEventCreateWithFlags(&left, CU_EVENT_DISABLE_TIMING));
    OK(cudaEventCreateWithFlags(&right, CU_EVENT_DISABLE_TIMING));
    OK(cudaEventCreateWithFlags(&both, CU_EVENT_DISABLE_TIMING));
    OK(cudaStreamBeginCapture(first, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    OK(cudaEventRecord(fork, first));
    OK(cudaStreamWaitEvent(second, fork, 0));
    OK(cudaStreamWaitEvent(third, fork, 0));
    OK(cudaMemsetAsync(memory, 1, 4, second));
    OK(cudaEventRecord(left, second));
    OK(cudaMemsetAsync((char *)memory + 4, 2, 4, third));
    OK(cudaEventRecord(right, third));
    OK(cudaStreamWaitEvent(first, left, 0));
    OK(cudaStreamWaitEvent(first, right, 0));
    OK(cudaEventRecord(both, first));
    OK(cudaStreamWaitEvent(second, both, 0));
    OK(cudaMemsetAsync((char *)memory + 2, 3, 4, second));
    OK(cudaEventRecord(left, second));
    OK(cudaEventDestroy(both));
    OK(cudaStreamWaitEvent(first, left, 0));
    OK(cudaStreamEndCapture(first, &graph));
    count = 4;
    OK(cudaGraphGetNodes(graph, nodes, &count));
    assert_int_equal(count, 3);
    count = 4;
    OK(cudaGraphGetRootNodes(graph, nodes, &count));
    assert_int_equal(count, 2);
    count = 4;
    OK(GET_EDGES(graph, from, to, NULL, &count));
    assert_int_equal(count, 2);
    run(graph);
    OK(cudaMemcpy(&got, memory, 4, RT_DEFAULT));
    assert_int_equal(got, 0x03030101);
    OK(cudaMemcpy(&got, (char *)memory + 4, 4, RT_DEFAULT));
    assert_int_equal(got, 0x02020303);
    OK(cudaGraphDestroy(graph));
    OK(cudaEventDestroy(right));
    OK(cudaEventDestroy(left));
    OK(cudaEventDestroy(fork));
    OK(cudaStreamDestroy(third));
    OK(cudaStreamDestroy(second));
    OK(cudaStreamDestroy(first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),     cmocka_unit_test(test_memory),
        cmocka_unit_test(test_condition),      cmocka_unit_test(test_kinds_of_memory),
        cmocka_unit_test(test_topology_first), cmocka_unit_test(test_captured_events),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
