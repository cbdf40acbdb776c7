/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "graph.h"

/* Attributes of kernel nodes: all but the cooperative one are hints, which are kept and mean
 * nothing. */

static const CUlaunchAttributeID ids[GRAPH_ATTRIBUTES] = {
    CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW,
    CU_LAUNCH_ATTRIBUTE_COOPERATIVE,
    CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
    CU_LAUNCH_ATTRIBUTE_PRIORITY,
    CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP,
    CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN,
    CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
};

static CUlaunchAttributeValue *place(CUgraphNode node, CUlaunchAttributeID id)
{
    for (unsigned i = 0; i < GRAPH_ATTRIBUTES; i++)
        if (ids[i] == id)
            return &node->attributes[i];
    return NULL;
}

API cuGraphKernelNodeGetAttribute(CUgraphNode node, CUlaunchAttributeID id,
                                  CUlaunchAttributeValue *value)
{
    CUlaunchAttributeValue *kept;
    CUresult err = graph_enter_node(node, CU_GRAPH_NODE_TYPE_KERNEL);

    if (err)
        return err;
    kept = place(node, id);
    if (!kept || !value)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *value = *kept;
    if (id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE)
        value->cooperative = node->command.launch.cooperative;
    return leave(CUDA_SUCCESS);
}

API cuGraphKernelNodeSetAttribute(CUgraphNode node, CUlaunchAttributeID id,
                                  const CUlaunchAttributeValue *value)
{
    CUlaunchAttributeValue *kept;
    CUgraphNodeParams p;
    bool before;
    CUresult err = graph_enter_node(node, CU_GRAPH_NODE_TYPE_KERNEL);

    if (err)
        return err;
    kept = place(node, id);
    if (!kept || !value ||
        (id == CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW &&
         !hints_window_is_sane(&value->accessPolicyWindow)))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION &&
        (value->clusterDim.x > 1 || value->clusterDim.y > 1 || value->clusterDim.z > 1))
        return leave(CUDA_ERROR_NOT_SUPPORTED);
    if (id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) {
        before = node->command.launch.cooperative;
        node->command.launch.cooperative = value->cooperative != 0;
        /* Its grid has to fit now. */
        graph_node_get(node, &p);
        err = graph_node_set(node, &p);
        if (err)
            node->command.launch.cooperative = before;
    }
    if (!err)
        *kept = *value;
    return leave(err);
}

API cuGraphKernelNodeCopyAttributes(CUgraphNode to, CUgraphNode from)
{
    CUresult err = graph_enter_node(to, CU_GRAPH_NODE_TYPE_KERNEL);

    if (err)
        return err;
    if (!handle_is(from, NODE) || from->type != CU_GRAPH_NODE_TYPE_KERNEL)
        return leave(CUDA_ERROR_INVALID_VALUE);
    memcpy(to->attributes, from->attributes, sizeof(to->attributes));
    to->command.launch.cooperative = from->command.launch.cooperative;
    return leave(CUDA_SUCCESS);
}
