/* SPDX-License-Identifier: MIT */
#include "npu_host.h"

#include <stdio.h>

#include <compute/npu/ep/ep.h>
#include <compute/npu/ort/front.h>

/*
 * The execution provider, a runtime that calls it, and a session of the host's, in one process. The
 * runtime is this test's: graphs are its own, values and options are those of the library that
 * guests get.
 */

#define MOST 8

struct ort_value_info {
    const char *name;
    struct npu_io io;
    const struct ort_value *constant;
    bool output;
    struct ort_type_info *type;
};

struct ort_op_attr {
    const char *name;
    int type;
    const void *data;
    size_t size;
    struct ort_value *tensor;
};

struct ort_node {
    size_t id;
    const char *type, *domain, *provider;
    const struct ort_value_info *inputs[MOST], *outputs[MOST];
    size_t input_count, output_count;
    const struct ort_op_attr *attributes[MOST];
    size_t attribute_count;
};

struct ort_graph {
    const struct ort_node *nodes[MOST];
    size_t count;
    const struct ort_node *parent;
};

struct ort_hardware_device {
    int type;
};

struct ort_ep_device {
    const struct ort_hardware_device *hardware;
    char devices[200];
};

struct ort_kernel_context {
    const struct ort_value *inputs[MOST];
    struct ort_value *outputs[MOST];
    int dtypes[MOST];
};

/* What the provider claims. */
struct ort_support_info {
    struct {
        const struct ort_node *nodes[MOST];
        size_t count;
    } parts[MOST];
    size_t count;
};

static struct ort_api api;
static struct ort_ep_factory *factory;
static const struct ort_graph *graph_now; /* for values, which know no graph */
static bool virtual_devices, too_old;
static char logged[4000];

static struct ort_status *fake_log(const struct ort_logger *logger, int severity,
                                   const char *message, const char *file, int line,
                                   const char *function)
{
    size_t length = strlen(logged);

    (void)logger, (void)severity, (void)file, (void)line, (void)function;
    snprintf(logged + length, sizeof(logged) - length, "%s\n", message);
    return NULL;
}

static struct ort_status *fake_input(const struct ort_kernel_context *context, size_t index,
                                     const struct ort_value **out)
{
    *out = context->inputs[index];
    return NULL;
}

static struct ort_status *fake_output(struct ort_kernel_context *context, size_t index,
                                      const int64_t *dims, size_t rank, struct ort_value **out)
{
    struct ort_allocator *allocator;
    struct ort_status *status = api.GetAllocatorWithDefaultOptions(&allocator);

    if (!status)
        status = api.CreateTensorAsOrtValue(allocator, dims, rank, context->dtypes[index], out);
    context->outputs[index] = *out;
    return status;
}

static struct ort_status *fake_attribute(const struct ort_op_attr *attribute, int type, void *data,
                                         size_t size, size_t *ret_size)
{
    assert_int_equal(attribute->type, type);
    *ret_size = attribute->size;
    if (size < attribute->size)
        return api.CreateStatus(ORT_INVALID_ARGUMENT, "too little room");
    memcpy(data, attribute->data, attribute->size);
    return NULL;
}

#define GIVES(name, from, type, what)                                        \
    static struct ort_status *name(const struct from *object, type *ret_out) \
    {                                                                        \
        *ret_out = what;                                                     \
        return NULL;                                                         \
    }

GIVES(value_name, ort_value_info, const char *, object->name)
GIVES(value_type, ort_value_info, const struct ort_type_info *, object->type)
GIVES(value_constant, ort_value_info, const struct ort_value *, object->constant)
GIVES(value_is_output, ort_value_info, bool, object->output)
GIVES(value_is_constant, ort_value_info, bool, object->constant != NULL)
GIVES(graph_name, ort_graph, const char *, (object ? "g" : ""))
GIVES(graph_ir, ort_graph, int64_t, (object ? 3 : 0))
GIVES(graph_opsets, ort_graph, size_t, (object ? 3 : 0))
GIVES(graph_count, ort_graph, size_t, object->count)
GIVES(graph_parent, ort_graph, const struct ort_node *, object->parent)
GIVES(node_id, ort_node, size_t, object->id)
GIVES(node_name, ort_node, const char *, object->type)
GIVES(node_type, ort_node, const char *, object->type)
GIVES(node_domain, ort_node, const char *, object->domain)
GIVES(node_inputs_count, ort_node, size_t, object->input_count)
GIVES(node_outputs_count, ort_node, size_t, object->output_count)
GIVES(node_attributes_count, ort_node, size_t, object->attribute_count)
GIVES(node_provider, ort_node, const char *, object->provider)
GIVES(node_none, ort_node, size_t, (object ? 0 : 1))
GIVES(attribute_type, ort_op_attr, int, object->type)
GIVES(attribute_name, ort_op_attr, const char *, object->name)
GIVES(attribute_tensor, ort_op_attr, struct ort_value *, front_value_ref(object->tensor))

#define LISTS(name, from, type, what)                                                 \
    static struct ort_status *name(const struct from *object, type *to, size_t count) \
    {                                                                                 \
        memcpy(to, what, count * sizeof(*to));                                        \
        return NULL;                                                                  \
    }

LISTS(graph_nodes, ort_graph, const struct ort_node *, object->nodes)
LISTS(node_inputs, ort_node, const struct ort_value_info *, object->inputs)
LISTS(node_outputs, ort_node, const struct ort_value_info *, object->outputs)
LISTS(node_attributes, ort_node, const struct ort_op_attr *, object->attributes)

static struct ort_status *node_implicit(const struct ort_node *node,
                                        const struct ort_value_info **out, size_t count)
{
    (void)node, (void)out, (void)count;
    return NULL;
}

static struct ort_status *opset_list(const struct ort_graph *graph, const char **domains,
                                     int64_t *versions, size_t count)
{
    (void)graph;
    assert_int_equal(count, 3);
    /* The host does not know the last one: it must not see it. */
    domains[0] = "", domains[1] = "ai.onnx.ml", domains[2] = "test.other";
    versions[0] = 13, versions[1] = 2, versions[2] = 77;
    return NULL;
}

static size_t consumers(const struct ort_value_info *value, const struct ort_node **nodes,
                        int64_t *indices)
{
    size_t count = 0;

    for (size_t i = 0; i < graph_now->count; i++) {
        const struct ort_node *node = graph_now->nodes[i];

        for (size_t j = 0; j < node->input_count; j++) {
            if (node->inputs[j] != value)
                continue;
            if (nodes) {
                nodes[count] = node;
                indices[count] = (int64_t)j;
            }
            count++;
        }
    }
    return count;
}

static struct ort_status *consumer_count(const struct ort_value_info *value, size_t *out)
{
    *out = consumers(value, NULL, NULL);
    return NULL;
}

static struct ort_status *consumer_list(const struct ort_value_info *value,
                                        const struct ort_node **nodes, int64_t *indices,
                                        size_t count)
{
    assert_int_equal(consumers(value, nodes, indices), count);
    return NULL;
}

static struct ort_status *create_device(struct ort_ep_factory *from,
                                        const struct ort_hardware_device *hardware,
                                        const struct ort_key_value_pairs *metadata,
                                        const struct ort_key_value_pairs *options,
                                        struct ort_ep_device **out)
{
    assert_ptr_equal(from, factory);
    assert_null(options);
    *out = calloc(1, sizeof(**out));
    (*out)->hardware = hardware;
    snprintf((*out)->devices, sizeof((*out)->devices), "%s",
             api.GetKeyValue(metadata, "viaduct.devices"));
    return NULL;
}

static struct ort_status *create_hardware(int type, uint32_t vendor, uint32_t device,
                                          const char *name,
                                          const struct ort_key_value_pairs *metadata,
                                          struct ort_hardware_device **out)
{
    (void)vendor, (void)device, (void)name;
    assert_string_equal(api.GetKeyValue(metadata, "is_virtual"), "1");
    *out = calloc(1, sizeof(**out));
    (*out)->type = type;
    return NULL;
}

static void release_hardware(struct ort_hardware_device *device)
{
    free(device);
}

static int hardware_type(const struct ort_hardware_device *device)
{
    return device->type;
}

static struct ort_status *env_config(struct ort_key_value_pairs **out)
{
    api.CreateKeyValuePairs(out);
    if (virtual_devices)
        api.AddKeyValuePair(*out, "allow_virtual_devices", "1");
    return NULL;
}

static struct ort_status *add_nodes(struct ort_support_info *info,
                                    const struct ort_node *const *nodes, size_t count,
                                    const struct ort_fusion_options *options)
{
    assert_true(options->drop_constant_initializers);
    assert_true(info->count < MOST && count <= MOST);
    memcpy(info->parts[info->count].nodes, nodes, count * sizeof(*nodes));
    info->parts[info->count++].count = count;
    return NULL;
}

static void *ep_api(void)
{
    static struct ort_ep_api table = {
        .create_ep_device = create_device,
        .add_nodes_to_fuse = add_nodes,
        .create_hardware_device = create_hardware,
        .release_hardware_device = release_hardware,
        .get_env_config = env_config,
    };

    return &table;
}

static const struct ort_api *get_api(uint32_t version)
{
    return too_old && version > 22 ? NULL : &api;
}

static const struct ort_api_base base = {get_api, NULL};

#define PUT(name, function) api.name = (struct ort_status * (*)(void))(void (*)(void))function

static void make_api(void)
{
    api = *OrtGetApiBase()->get_api(ORT_ABI_VERSION);
    api.GetEpApi = ep_api;
    api.HardwareDevice_Type = (void *(*)(void))(void (*)(void))hardware_type;
    PUT(Logger_LogMessage, fake_log);
    PUT(KernelContext_GetInput, fake_input);
    PUT(KernelContext_GetOutput, fake_output);
    PUT(ReadOpAttr, fake_attribute);
    PUT(GetValueInfoName, value_name);
    PUT(GetValueInfoTypeInfo, value_type);
    PUT(ValueInfo_GetValueNumConsumers, consumer_count);
    PUT(ValueInfo_GetValueConsumers, consumer_list);
    PUT(ValueInfo_GetInitializerValue, value_constant);
    PUT(ValueInfo_IsGraphOutput, value_is_output);
    PUT(ValueInfo_IsConstantInitializer, value_is_constant);
    PUT(Graph_GetName, graph_name);
    PUT(Graph_GetOnnxIRVersion, graph_ir);
    PUT(Graph_GetNumOperatorSets, graph_opsets);
    PUT(Graph_GetOperatorSets, opset_list);
    PUT(Graph_GetNumNodes, graph_count);
    PUT(Graph_GetNodes, graph_nodes);
    PUT(Graph_GetParentNode, graph_parent);
    PUT(Node_GetId, node_id);
    PUT(Node_GetName, node_name);
    PUT(Node_GetOperatorType, node_type);
    PUT(Node_GetDomain, node_domain);
    PUT(Node_GetNumInputs, node_inputs_count);
    PUT(Node_GetInputs, node_inputs);
    PUT(Node_GetNumOutputs, node_outputs_count);
    PUT(Node_GetOutputs, node_outputs);
    PUT(Node_GetNumImplicitInputs, node_none);
    PUT(Node_GetImplicitInputs, node_implicit);
    PUT(Node_GetNumAttributes, node_attributes_count);
    PUT(Node_GetAttributes, node_attributes);
    PUT(OpAttr_GetTensorAttributeAsOrtValue, attribute_tensor);
    PUT(OpAttr_GetType, attribute_type);
    PUT(OpAttr_GetName, attribute_name);
    PUT(Node_GetNumSubgraphs, node_none);
    PUT(Node_GetEpName, node_provider);
}

static void good(struct ort_status *status)
{
    if (status)
        print_error("%s\n", api.GetErrorMessage(status));
    assert_null(status);
}

static void bad(struct ort_status *status, const char *because)
{
    assert_non_null(status);
    if (!strstr(api.GetErrorMessage(status), because))
        print_error("%s\n", api.GetErrorMessage(status));
    assert_non_null(strstr(api.GetErrorMessage(status), because));
    api.ReleaseStatus(status);
}

static int setup(void **state)
{
    size_t count = 0;

    (void)state;
    setenv("VIADUCT_ORT", "none", 1);
    setenv("VIADUCT_HOST", "test:", 1);
    setenv("VIADUCT_LOG", "none", 1);
    unsetenv("VIADUCT_NPU_DEVICES");
    logged[0] = 0;
    too_old = virtual_devices = false;
    make_api();
    good(CreateEpFactories("viaduct", &base, (const struct ort_logger *)&api, &factory, 1, &count));
    assert_int_equal(count, 1);
    assert_string_equal(factory->get_name(factory), EP_NAME);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    /* The connection goes with the factory. */
    good(ReleaseEpFactory(factory));
    npu_host_end();
    return 0;
}

/* A session's provider, with options: pairs of key and value, and NULL behind. */
static struct ort_status *make_session(const char *const *pairs, struct ort_ep **out)
{
    struct ort_session_options *options;
    struct ort_status *status;
    char key[100];

    good(api.CreateSessionOptions(&options));
    for (; pairs && *pairs; pairs += 2) {
        snprintf(key, sizeof(key), EP_OPTION_PREFIX "%s", pairs[0]);
        good(api.AddSessionConfigEntry(options, key, pairs[1]));
    }
    status =
        factory->create_ep(factory, NULL, NULL, 0, options, (const struct ort_logger *)&api, out);
    api.ReleaseSessionOptions(options);
    return status;
}

static struct ort_value *tensor(void *data, size_t bytes, int64_t rows, int64_t columns, int dtype)
{
    const int64_t dims[] = {rows, columns};
    struct ort_value *value = NULL;

    good(api.CreateTensorWithDataAsOrtValue(&front_cpu, data, bytes, dims, columns ? 2 : 1, dtype,
                                            &value));
    return value;
}

/* A value of floats, any number of rows. */
static struct ort_value_info floats(const char *name, int64_t columns)
{
    return (struct ort_value_info){
        .name = name,
        .io = {.name = name, .dtype = NPU_FLOAT32, .rank = 2, .dims = {-1, columns}},
    };
}

static void give_types(const struct ort_graph *graph, bool give)
{
    static const struct ort_key_value_pairs none;

    for (size_t i = 0; i < graph->count; i++) {
        const struct ort_node *node = graph->nodes[i];

        for (size_t j = 0; j < node->input_count + node->output_count; j++) {
            struct ort_value_info *value =
                (struct ort_value_info *)(uintptr_t)(j < node->input_count
                                                         ? node->inputs[j]
                                                         : node->outputs[j - node->input_count]);

            if (give && !value->type)
                value->type = front_type_of(&value->io, &none);
            if (!give) {
                api.ReleaseTypeInfo(value->type);
                value->type = NULL;
            }
        }
    }
}

static struct ort_support_info plan(struct ort_ep *ep, const struct ort_graph *graph)
{
    struct ort_support_info info = {.count = 0};

    graph_now = graph;
    give_types(graph, true);
    good(ep->get_capability(ep, graph, &info));
    return info;
}

#define MUL(number, a, b, y)                                                         \
    {                                                                                \
        .id = number, .type = "Mul", .domain = "", .inputs = {a, b}, .outputs = {y}, \
        .input_count = 2, .output_count = 1                                          \
    }

static float factors[] = {1, 2, 3};

static void check_run(struct ort_compute_info *kernel, struct ort_kernel_context *context)
{
    void *state = NULL;

    good(kernel->create_state(kernel, NULL, &state));
    good(kernel->compute(kernel, state, context));
    kernel->release_state(kernel, state);
}

static void test_devices(void **state)
{
    static const struct ort_hardware_device gpu = {EP_HARDWARE_GPU}, cpu = {EP_HARDWARE_CPU};
    const struct ort_hardware_device *const hardware[] = {&gpu, &cpu};
    struct ort_ep_device *device = NULL;
    size_t count = 0;

    (void)state;
    good(factory->get_devices(factory, hardware, 2, &device, 1, &count));
    assert_int_equal(count, 1);
    assert_ptr_equal(device->hardware, &cpu);
    assert_string_equal(device->devices, "builtin");
    free(device);
    virtual_devices = true;
    good(factory->get_devices(factory, hardware, 2, &device, 1, &count));
    assert_int_equal(count, 1);
    assert_int_equal(device->hardware->type, EP_HARDWARE_NPU);
    free(device);
}

static void test_no_host(void **state)
{
    static const struct ort_hardware_device cpu = {EP_HARDWARE_CPU};
    const struct ort_hardware_device *const hardware[] = {&cpu};
    struct ort_ep_device *device = NULL;
    struct ort_ep *ep = NULL;
    size_t count = 1;

    (void)state;
    setenv("VIADUCT_HOST", "unix:/nowhere", 1);
    good(factory->get_devices(factory, hardware, 1, &device, 1, &count));
    assert_int_equal(count, 0);
    assert_non_null(strstr(logged, "no device is listed"));
    bad(make_session(NULL, &ep), "no host");
    assert_null(ep);
    /* The option is for one that answers. */
    good(make_session((const char *const[]){"host", "test:", NULL}, &ep));
    factory->release_ep(factory, ep);
}

static void test_too_old(void **state)
{
    struct ort_ep_factory *other = NULL;
    size_t count = 1;

    (void)state;
    too_old = true;
    bad(CreateEpFactories("viaduct", &base, NULL, &other, 1, &count), "1.23");
    assert_int_equal(count, 0);
}

static void test_options(void **state)
{
    struct ort_ep *ep = NULL;

    (void)state;
    bad(make_session((const char *const[]){"prefer", "npu", "require", "builtin", NULL}, &ep),
        "exclude each other");
    assert_null(ep);
}

/* The whole graph, with constants and attributes of all kinds, in two sizes. */
static void test_whole(void **state)
{
    static const int64_t perm[] = {1, 0};
    static const float alpha = 0.5f;
    struct ort_value *c_value = tensor(factors, sizeof(factors), 3, 0, NPU_FLOAT32);
    struct ort_value_info x = floats("x", 3), c = {.name = "c", .constant = c_value},
                          p = floats("p", 3), t = floats("t", -1), y = floats("y", -1);
    struct ort_op_attr a_perm = {"perm", EP_ATTRIBUTE_INTS, perm, sizeof(perm), NULL};
    struct ort_op_attr a_alpha = {"alpha", EP_ATTRIBUTE_FLOAT, &alpha, sizeof(alpha), NULL};
    struct ort_node mul = MUL(10, &x, &c, &p);
    struct ort_node transpose = {.id = 20,
                                 .type = "Transpose",
                                 .domain = "",
                                 .inputs = {&p},
                                 .outputs = {&t},
                                 .input_count = 1,
                                 .output_count = 1,
                                 .attributes = {&a_perm},
                                 .attribute_count = 1};
    struct ort_node relu = {.id = 30,
                            .type = "LeakyRelu",
                            .domain = "ai.onnx",
                            .inputs = {&t},
                            .outputs = {&y},
                            .input_count = 1,
                            .output_count = 1,
                            .attributes = {&a_alpha},
                            .attribute_count = 1};
    struct ort_node fused = {.inputs = {&x}, .outputs = {&y}, .input_count = 1, .output_count = 1};
    struct ort_graph graph = {.nodes = {&mul, &transpose, &relu}, .count = 3};
    const struct ort_graph *graphs[] = {&graph};
    const struct ort_node *fuseds[] = {&fused};
    struct ort_compute_info *kernel = NULL;
    struct ort_support_info claimed;
    struct ort_ep *ep = NULL;

    (void)state;
    c.io = (struct npu_io){.name = "c", .dtype = NPU_FLOAT32, .rank = 1, .dims = {3}};
    y.output = true;
    good(make_session(NULL, &ep));
    claimed = plan(ep, &graph);
    assert_int_equal(claimed.count, 1);
    assert_int_equal(claimed.parts[0].count, 3);
    assert_non_null(strstr(logged, "3 of 3 nodes run on the host's builtin"));
    /* The second time there is no candidate: it is loaded anew. */
    for (int round = 0; round < 2; round++) {
        good(ep->compile(ep, graphs, fuseds, 1, &kernel, NULL));
        for (int64_t rows = 1; rows < 4; rows += 2) {
            float in[9] = {1, -2, 3, 4, 5, -6, 7, 8, 9}, *out;
            struct ort_kernel_context context = {
                .inputs = {tensor(in, (size_t)rows * 12, rows, 3, NPU_FLOAT32)},
                .dtypes = {NPU_FLOAT32},
            };

            check_run(kernel, &context);
            good(api.GetTensorMutableData(context.outputs[0], (void **)&out));
            for (int64_t i = 0; i < 3 * rows; i++) {
                float v = in[i] * factors[i % 3];

                assert_true(out[i % 3 * rows + i / 3] == (v < 0 ? v * alpha : v));
            }
            api.ReleaseValue((struct ort_value *)(uintptr_t)context.inputs[0]);
            api.ReleaseValue(context.outputs[0]);
        }
        ep->release_compute_infos(ep, &kernel, 1);
    }
    give_types(&graph, false);
    factory->release_ep(factory, ep);
    api.ReleaseValue(c_value);
}

/* Tensors of strings, attributes of strings. */
static void test_texts(void **state)
{
    static const char words[] = "monday\0of"; /* each with a NUL behind */
    static const char lower[] = "UPPER";
    static const char *const in[] = {"monday", "tuesday", "of", "x"};
    struct ort_value_info x = {.name = "x"}, y = {.name = "y", .output = true};
    struct ort_op_attr stop = {"stopwords", EP_ATTRIBUTE_STRINGS, words, sizeof(words), NULL};
    struct ort_op_attr change = {"case_change_action", EP_ATTRIBUTE_STRING, lower, 5, NULL};
    struct ort_node node = {.id = 1,
                            .type = "StringNormalizer",
                            .domain = "",
                            .inputs = {&x},
                            .outputs = {&y},
                            .input_count = 1,
                            .output_count = 1,
                            .attributes = {&stop, &change},
                            .attribute_count = 2};
    struct ort_graph graph = {.nodes = {&node}, .count = 1};
    const struct ort_graph *graphs[] = {&graph};
    const struct ort_node *fuseds[] = {&node};
    struct ort_kernel_context context = {.dtypes = {NPU_TEXT}};
    struct ort_compute_info *kernel = NULL;
    struct ort_allocator *allocator;
    struct ort_value *value = NULL;
    struct ort_ep *ep = NULL;
    const int64_t dims[] = {4};
    char text[16] = "";
    size_t length;

    (void)state;
    x.io = y.io = (struct npu_io){.dtype = NPU_TEXT, .rank = 1, .dims = {-1}};
    good(make_session(NULL, &ep));
    assert_int_equal(plan(ep, &graph).count, 1);
    good(ep->compile(ep, graphs, fuseds, 1, &kernel, NULL));
    good(api.GetAllocatorWithDefaultOptions(&allocator));
    good(api.CreateTensorAsOrtValue(allocator, dims, 1, NPU_TEXT, &value));
    good(api.FillStringTensor(value, in, 4));
    context.inputs[0] = value;
    check_run(kernel, &context);
    good(api.GetStringTensorElementLength(context.outputs[0], 0, &length));
    assert_int_equal(length, 7);
    good(api.GetStringTensorElement(context.outputs[0], length, 0, text));
    assert_string_equal(text, "TUESDAY");
    good(api.GetStringTensorElementLength(context.outputs[0], 1, &length));
    assert_int_equal(length, 1);
    api.ReleaseValue(value);
    api.ReleaseValue(context.outputs[0]);
    ep->release_compute_infos(ep, &kernel, 1);
    give_types(&graph, false);
    factory->release_ep(factory, ep);
}

/*
 * What only the runtime knows divides the graph: a, then z and Odd of it, then y of both. a and z
 * are one part, y another; no way leads out of a part and back.
 */
static void test_parts(void **state)
{
    struct ort_value_info x = floats("x", 3), a = floats("a", 3), b = floats("b", 3),
                          z = floats("z", 3), y = floats("y", 3);
    struct ort_node first = MUL(1, &x, &x, &a), third = MUL(3, &a, &x, &z),
                    last = MUL(4, &b, &z, &y);
    struct ort_node odd = {.id = 2,
                           .type = "Odd",
                           .domain = "test",
                           .inputs = {&a},
                           .outputs = {&b},
                           .input_count = 1,
                           .output_count = 1};
    struct ort_graph graph = {.nodes = {&first, &odd, &third, &last}, .count = 4};
    struct ort_node fused = {
        .inputs = {&x}, .outputs = {&a, &z}, .input_count = 1, .output_count = 2};
    const struct ort_graph *graphs[] = {&graph};
    const struct ort_node *fuseds[] = {&fused};
    struct ort_compute_info *kernel = NULL;
    struct ort_support_info claimed;
    struct ort_ep *ep = NULL;
    float in[] = {1, -2, 3}, *out;
    struct ort_kernel_context context = {.dtypes = {NPU_FLOAT32, NPU_FLOAT32}};

    (void)state;
    y.output = true;
    good(make_session(NULL, &ep));
    claimed = plan(ep, &graph);
    assert_int_equal(claimed.count, 2);
    assert_int_equal(claimed.parts[0].count, 2);
    assert_ptr_equal(claimed.parts[0].nodes[0], &first);
    assert_ptr_equal(claimed.parts[0].nodes[1], &third);
    assert_int_equal(claimed.parts[1].count, 1);
    assert_ptr_equal(claimed.parts[1].nodes[0], &last);
    /* Both values that leave the part come out of it. */
    good(ep->compile(ep, graphs, fuseds, 1, &kernel, NULL));
    context.inputs[0] = tensor(in, sizeof(in), 1, 3, NPU_FLOAT32);
    check_run(kernel, &context);
    for (size_t i = 0; i < 2; i++) {
        good(api.GetTensorMutableData(context.outputs[i], (void **)&out));
        assert_true(out[1] == (i ? -8 : 4));
        api.ReleaseValue(context.outputs[i]);
    }
    api.ReleaseValue((struct ort_value *)(uintptr_t)context.inputs[0]);
    ep->release_compute_infos(ep, &kernel, 1);
    factory->release_ep(factory, ep);
    /* Parts of one node are not worth it here. */
    good(make_session((const char *const[]){"least_nodes", "2", NULL}, &ep));
    claimed = plan(ep, &graph);
    assert_int_equal(claimed.count, 1);
    assert_int_equal(claimed.parts[0].count, 2);
    factory->release_ep(factory, ep);
    /* A node that another provider has is not asked for, and a node's graph is not looked at. */
    third.provider = "other";
    good(make_session(NULL, &ep));
    claimed = plan(ep, &graph);
    assert_int_equal(claimed.count, 2);
    assert_int_equal(claimed.parts[0].count, 1);
    graph.parent = &odd;
    assert_int_equal(plan(ep, &graph).count, 0);
    factory->release_ep(factory, ep);
    give_types(&graph, false);
}

/* What is required and cannot be is an error of the session's, not the processor's business. */
static void test_require(void **state)
{
    struct ort_value_info x = floats("x", 3), y = floats("y", 3);
    struct ort_node odd = {.id = 2,
                           .type = "Odd",
                           .domain = "test",
                           .inputs = {&x},
                           .outputs = {&y},
                           .input_count = 1,
                           .output_count = 1};
    struct ort_graph graph = {.nodes = {&odd}, .count = 1};
    const struct ort_graph *graphs[] = {&graph};
    const struct ort_node *fuseds[] = {&odd};
    struct ort_compute_info *kernel = NULL;
    struct ort_ep *ep = NULL;

    (void)state;
    y.output = true;
    good(make_session((const char *const[]){"require", "builtin", NULL}, &ep));
    assert_int_equal(plan(ep, &graph).count, 1);
    bad(ep->compile(ep, graphs, fuseds, 1, &kernel, NULL), "Odd");
    factory->release_ep(factory, ep);
    odd.type = "Abs", odd.domain = "";
    good(make_session((const char *const[]){"require", "tpu", NULL}, &ep));
    assert_int_equal(plan(ep, &graph).count, 1);
    bad(ep->compile(ep, graphs, fuseds, 1, &kernel, NULL), "tpu");
    factory->release_ep(factory, ep);
    give_types(&graph, false);
}

#define THREADS 3
#define ROUNDS  40

struct runner {
    pthread_t thread;
    struct ort_compute_info *kernel;
    float factor;
    unsigned wrong;
};

/* x * x, each thread with numbers and a size of its own. */
static void *run_often(void *data)
{
    struct runner *r = data;
    float in[3 * THREADS], *out = NULL;
    int64_t rows = (int64_t)r->factor;

    for (int i = 0; i < 3 * THREADS; i++)
        in[i] = r->factor + (float)i;
    for (int round = 0; round < ROUNDS; round++) {
        struct ort_kernel_context context = {.dtypes = {NPU_FLOAT32}};
        struct ort_value *x = NULL;
        const int64_t dims[] = {rows, 3};

        if (api.CreateTensorWithDataAsOrtValue(&front_cpu, in, (size_t)rows * 12, dims, 2,
                                               NPU_FLOAT32, &x)) {
            r->wrong++;
            break;
        }
        context.inputs[0] = x;
        if (r->kernel->compute(r->kernel, r->kernel, &context) ||
            api.GetTensorMutableData(context.outputs[0], (void **)&out))
            r->wrong++;
        for (int64_t i = 0; out && i < 3 * rows; i++)
            r->wrong += out[i] != in[i] * in[i];
        api.ReleaseValue(x);
        api.ReleaseValue(context.outputs[0]);
    }
    return NULL;
}

/* Runs of one session come from any thread. */
static void test_threads(void **state)
{
    struct ort_value_info x = floats("x", 3), y = floats("y", 3);
    struct ort_node node = MUL(1, &x, &x, &y);
    struct ort_graph graph = {.nodes = {&node}, .count = 1};
    struct ort_node fused = {.inputs = {&x}, .outputs = {&y}, .input_count = 1, .output_count = 1};
    const struct ort_graph *graphs[] = {&graph};
    const struct ort_node *fuseds[] = {&fused};
    struct ort_compute_info *kernel = NULL;
    struct runner runners[THREADS];
    struct ort_ep *ep = NULL;

    (void)state;
    y.output = true;
    good(make_session(NULL, &ep));
    assert_int_equal(plan(ep, &graph).count, 1);
    good(ep->compile(ep, graphs, fuseds, 1, &kernel, NULL));
    for (int i = 0; i < THREADS; i++) {
        runners[i] = (struct runner){.kernel = kernel, .factor = (float)(i + 1)};
        assert_int_equal(pthread_create(&runners[i].thread, NULL, run_often, &runners[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(runners[i].thread, NULL);
        assert_int_equal(runners[i].wrong, 0);
    }
    ep->release_compute_infos(ep, &kernel, 1);
    factory->release_ep(factory, ep);
    give_types(&graph, false);
}

static void test_host_gone(void **state)
{
    struct ort_value_info x = floats("x", 3), y = floats("y", 3);
    struct ort_node node = MUL(1, &x, &x, &y);
    struct ort_graph graph = {.nodes = {&node}, .count = 1};
    struct ort_node fused = {.inputs = {&x}, .outputs = {&y}, .input_count = 1, .output_count = 1};
    const struct ort_graph *graphs[] = {&graph};
    const struct ort_node *fuseds[] = {&fused};
    struct ort_kernel_context context = {.dtypes = {NPU_FLOAT32}};
    struct ort_compute_info *kernel = NULL;
    float in[] = {1, 2, 3};
    struct ort_ep *ep = NULL;

    (void)state;
    y.output = true;
    good(make_session(NULL, &ep));
    assert_int_equal(plan(ep, &graph).count, 1);
    good(ep->compile(ep, graphs, fuseds, 1, &kernel, NULL));
    npu_host_kill();
    context.inputs[0] = tensor(in, sizeof(in), 1, 3, NPU_FLOAT32);
    bad(kernel->compute(kernel, kernel, &context), "gone");
    assert_null(context.outputs[0]);
    api.ReleaseValue((struct ort_value *)(uintptr_t)context.inputs[0]);
    ep->release_compute_infos(ep, &kernel, 1);
    factory->release_ep(factory, ep);
    /* A new session has a new connection. */
    npu_host_end();
    good(make_session(NULL, &ep));
    assert_int_equal(plan(ep, &graph).count, 1);
    factory->release_ep(factory, ep);
    give_types(&graph, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_devices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_host, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_old, setup, teardown),
        cmocka_unit_test_setup_teardown(test_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_require, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_host_gone, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
