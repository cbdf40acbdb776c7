/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <sched.h>
#include <stdbool.h>
#include <transport/arena.h>
#include <transport/fence.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "compute/npu/client/internal.h"
#include "compute/npu/host/hosted.h"
#include "compute/npu/host/special.h"
#include "host_decoder/npu_picture.h"

/*
 * What is around models. Input: a byte modulo 4, then
 * 0: runs that take pictures and make something of outputs (vd_npu_picture, vd_npu_post);
 * 1: a model whose weights are in files, which the client puts into it;
 * 2: a model that is written anew with the shapes of a run;
 * 3: a value with items (sequences, maps), as both sides check it.
 */

#define ID         0x100000u
#define RESULT_AT  (1u << 20) /* in the upload zone */
#define POST_AT    (1u << 16)
#define PICTURE_AT (2u << 16)
#define ROOM       8192u
#define WIDTH      96u
#define HEIGHT     64u

/* y[N,C,H,W] = x[N,C,H,W] */
static const uint8_t model_bytes[] = {
    0x08, 0x08, 0x3a, 0x57, 0x0a, 0x10, 0x0a, 0x01, 0x78, 0x12, 0x01, 0x79, 0x22, 0x08, 0x49, 0x64,
    0x65, 0x6e, 0x74, 0x69, 0x74, 0x79, 0x12, 0x01, 0x67, 0x5a, 0x1f, 0x0a, 0x01, 0x78, 0x12, 0x1a,
    0x0a, 0x18, 0x08, 0x01, 0x12, 0x14, 0x0a, 0x03, 0x12, 0x01, 0x4e, 0x0a, 0x03, 0x12, 0x01, 0x43,
    0x0a, 0x03, 0x12, 0x01, 0x48, 0x0a, 0x03, 0x12, 0x01, 0x57, 0x62, 0x1f, 0x0a, 0x01, 0x79, 0x12,
    0x1a, 0x0a, 0x18, 0x08, 0x01, 0x12, 0x14, 0x0a, 0x03, 0x12, 0x01, 0x4e, 0x0a, 0x03, 0x12, 0x01,
    0x43, 0x0a, 0x03, 0x12, 0x01, 0x48, 0x0a, 0x03, 0x12, 0x01, 0x57, 0x42, 0x02, 0x10, 0x0d,
};

static struct arena arena;
static uint8_t *picture_bytes;

static int take_memory(void *owner, size_t size, void **ret_memory)
{
    (void)owner;
    *ret_memory = size < (64u << 20) ? malloc(size ? size : 1) : NULL;
    return *ret_memory ? 0 : VD_ERR_LIMIT;
}

/* Surfaces 0 to 3 are there; 2 has no picture that could be decoded. */
static int read_begin(void *owner, uint32_t surface, void *read)
{
    (void)owner;
    memcpy(read, &surface, sizeof(surface));
    return surface < 4 ? 0 : VD_ERR_ID;
}

static int read_wait(void *read)
{
    uint32_t surface;

    memcpy(&surface, read, sizeof(surface));
    return surface == 2 ? VD_ERR_INTERNAL : 0;
}

static void read_nothing(void *read)
{
    (void)read;
}

static void read_kick(void *owner, const void *read)
{
    (void)owner, (void)read;
}

static int read_make(void **state, void *read, struct pictures_input *input, char *error,
                     size_t error_size)
{
    static const uint32_t formats[] = {VA_FOURCC_NV12, VA_FOURCC_I420, VA_FOURCC_NV12,
                                       VA_FOURCC_P010};
    struct format_layout layout;
    struct pixels pixels = {
        .layout = &layout, .bytes = picture_bytes, .width = WIDTH, .height = HEIGHT};
    struct npu_picture *builder = *state;
    uint32_t surface;
    int err;

    memcpy(&surface, read, sizeof(surface));
    pixels.format = format_find(formats[surface % 4]);
    if (!pixels.format || format_layout(pixels.format, WIDTH, HEIGHT, &layout))
        abort();
    err = npu_picture_make(&builder, &pixels, input, error, error_size);
    *state = builder;
    return err;
}

static void forget(void *state)
{
    npu_picture_destroy(state);
}

static const struct pictures_ops pictures = {
    .begin = read_begin,
    .wait = read_wait,
    .cancel = read_nothing,
    .make = read_make,
    .end = read_nothing,
    .kick = read_kick,
    .forget = forget,
};

/* A picture that could be, in the upload zone; then, now and then, a word that is not. */
static void make_picture(struct fuzz_input *in, struct vd_npu_value *row)
{
    uint8_t how = fuzz_byte(in);
    struct vd_npu_picture p = {.surface = how & 3, .rois = (how >> 2) & 3};
    uint8_t *to = arena.base + arena.upload_offset + PICTURE_AT;
    const float one = 1.0f / 255;
    int64_t dims[VD_MAX_NPU_RANK] = {p.rois ? p.rois : 1, 3, 1 + fuzz_byte(in) % 40,
                                     1 + fuzz_byte(in) % 40};

    p.fit = fuzz_byte(in) % 5;
    p.filter = fuzz_byte(in) % 5;
    p.order = fuzz_byte(in) % 4;
    p.layout = fuzz_byte(in) % 3;
    for (int i = 0; i < 3; i++)
        memcpy(&p.scale[i], &one, sizeof(one));
    if (p.layout == VD_NPU_LAYOUT_NHWC) {
        dims[3] = 3;
        dims[1] = 1 + fuzz_byte(in) % 40;
    }
    if (p.order == VD_NPU_ORDER_GRAY)
        dims[p.layout == VD_NPU_LAYOUT_NHWC ? 3 : 1] = 1;
    if (how & 16)
        fuzz_take(in, (uint8_t *)&p + fuzz_byte(in) % (sizeof(p) - 4), 4);
    if (how & 32)
        dims[fuzz_byte(in) % 4] = fuzz_byte(in);
    memcpy(to, &p, sizeof(p));
    for (uint32_t i = 0; i < 4; i++) {
        struct vd_npu_roi roi = {fuzz_byte(in), fuzz_byte(in), fuzz_byte(in), fuzz_byte(in)};

        memcpy(to + sizeof(p) + i * sizeof(roi), &roi, sizeof(roi));
    }
    *row = (struct vd_npu_value){.kind = VD_NPU_PICTURE,
                                 .dtype = how & 64 ? fuzz_byte(in) % 20 : 1,
                                 .offset = arena.upload_offset + PICTURE_AT,
                                 .size = sizeof(p) + p.rois * sizeof(struct vd_npu_roi)};
    npu_value_set_dims(row, dims, 4);
}

/* An output, or what is made of it. */
static void make_output(struct fuzz_input *in, struct vd_npu_value *row, bool picture)
{
    uint8_t how = fuzz_byte(in);
    int64_t place = (int64_t)(arena.upload_offset + POST_AT);
    struct vd_npu_post post = {
        .kind = 1 + fuzz_byte(in) % 6,
        .flags = fuzz_byte(in) & VD_NPU_POST_FLAGS,
        .input = picture && how & 1 ? 0 : VD_NPU_NOWHERE,
        .activation = fuzz_byte(in) % 4,
        .form = fuzz_byte(in) % 5,
        .scores_output = how & 2 ? fuzz_byte(in) % 3 : VD_NPU_NOWHERE,
        .boxes_at = fuzz_byte(in) % 8,
        .scores_at = how & 4 ? fuzz_byte(in) : 4,
        .classes = fuzz_byte(in) % 4,
        .objectness_at = how & 8 ? fuzz_byte(in) % 8 : VD_NPU_NOWHERE,
        .class_at = how & 16 ? fuzz_byte(in) % 8 : VD_NPU_NOWHERE,
        .most = fuzz_byte(in) % 8,
        .axis = fuzz_byte(in) % 6,
        .blank = fuzz_byte(in) % 4,
    };

    if (how & 32)
        fuzz_take(in, (uint8_t *)&post + fuzz_byte(in) % (sizeof(post) - 4), 4);
    memcpy(arena.base + place, &post, sizeof(post));
    *row = (struct vd_npu_value){.kind = how & 64 ? VD_NPU_TENSOR : VD_NPU_POST,
                                 .offset = arena.upload_offset + (3u << 16),
                                 .size = how & 128 ? 65536 : fuzz_word(in)};
    npu_value_set_dims(row, &place, 1);
}

static void make_tensor(struct fuzz_input *in, struct vd_npu_value *row)
{
    int64_t dims[VD_MAX_NPU_RANK] = {1 + fuzz_byte(in) % 3, 1 + fuzz_byte(in) % 8,
                                     1 + fuzz_byte(in) % 8, 1 + fuzz_byte(in) % 8};
    uint8_t *numbers = arena.base + arena.upload_offset + (5u << 16);

    fuzz_take(in, numbers, 256);
    *row = (struct vd_npu_value){.kind = VD_NPU_TENSOR,
                                 .dtype = 1,
                                 .offset = arena.upload_offset + (5u << 16),
                                 .size = (uint64_t)(dims[0] * dims[1] * dims[2] * dims[3]) * 4};
    npu_value_set_dims(row, dims, 4);
}

static void wait_done(uint32_t job)
{
    while (!fence_passed(fence_load(&arena.status->contexts[VD_SLOT(ID)].done), job))
        sched_yield();
}

static void fuzz_pictures(struct fuzz_input *in)
{
    uint64_t runs = 0, result = arena.upload_offset + RESULT_AT;
    struct hosted_setup setup = {.id = ID,
                                 .arena = &arena,
                                 .shelf = shelf_create(),
                                 .size = sizeof(model_bytes),
                                 .alloc = take_memory,
                                 .free = free,
                                 .runs = &runs,
                                 .pictures = &pictures};
    struct vd_npu_data_req data = {
        .model = ID, .offset = arena.upload_offset, .size = sizeof(model_bytes)};
    struct vd_npu_load_req load = {.model = ID, .job = 1, .result = result, .room = ROOM};
    struct hosted *model;
    uint32_t job = 1;
    int err = 0;

    memcpy(arena.base + arena.upload_offset, model_bytes, sizeof(model_bytes));
    if (!setup.shelf || hosted_create(&setup, &model)) {
        shelf_destroy(setup.shelf);
        return;
    }
    if (hosted_data(model, &data) || hosted_load(model, &load))
        abort();
    wait_done(job);
    /* The model itself is a good one. */
    if (((const struct vd_npu_result *)(const void *)(arena.base + result))->status)
        abort();
    while (in->size && !err) {
        struct vd_npu_value values[4];
        uint8_t how = fuzz_byte(in);
        bool picture = how & 1;
        uint32_t outputs = 1 + (how >> 1) % 3;
        struct vd_npu_run_req run = {
            .model = ID, .job = job + 1, .inputs = 1, .result = result, .room = ROOM};

        if (picture)
            make_picture(in, &values[0]);
        else
            make_tensor(in, &values[0]);
        for (uint32_t i = 0; i < outputs; i++)
            make_output(in, &values[1 + i], picture);
        err = hosted_run(model, &run, values, 1 + outputs);
        job += !err;
        if (!err && how & 16)
            hosted_cancel(model, job);
        if (!err && how & 32)
            hosted_kick(model, job);
        if (!err)
            wait_done(job);
    }
    hosted_leave(model);
    if (!hosted_reap(model, 20000))
        abort();
    shelf_destroy(setup.shelf);
}

/* Weights in memory, under names that the model may have. */
static void fuzz_weights(struct fuzz_input *in)
{
    static const float numbers[8] = {1, 2, 3};
    static const int64_t dims[] = {2, 2};
    const struct npu_file files[] = {{"f", numbers, sizeof(numbers)}, {"", numbers, 4}};
    const struct npu_weight weights[] = {{"w", NPU_FLOAT32, 2, dims, numbers, 16}};
    uint8_t how = fuzz_byte(in);
    const struct npu_options options = {.folder = how & 1 ? "/nonexistent" : NULL,
                                        .files = files,
                                        .file_count = 2,
                                        .weights = weights,
                                        .weight_count = how & 2 ? 1 : 0};
    uint8_t *exact = malloc(in->size + 1);
    size_t size = in->size;
    void *merged = NULL;

    if (!exact)
        return;
    memcpy(exact, in->data, in->size);
    if (!client_external_merge(exact, size, &options, &merged, &size) && merged && !size)
        abort();
    free(merged);
    free(exact);
}

static void fuzz_shapes(struct fuzz_input *in)
{
    struct special_source source = {.size = in->size > 8 ? in->size - 8 : 0};
    struct provider_description about = {0};
    struct onnx_value values[4];
    uint32_t indices[4] = {0, 1, 2, 3};
    struct onnx_options options = {.outline = true};
    struct onnx_model *model = NULL;
    struct onnx_io ios[4];
    uint8_t *bytes = NULL;
    size_t size = 0;
    char error[300];

    for (int i = 0; i < 4; i++)
        values[i] = (struct onnx_value){
            .dtype = ONNX_F32, .rank = 2, .dims = {fuzz_byte(in), fuzz_byte(in)}};
    source.bytes = malloc(in->size + 1);
    if (!source.bytes)
        return;
    source.size = in->size;
    memcpy(source.bytes, in->data, in->size);
    if (!onnx_model_create(source.bytes, source.size, &options, &model, error, sizeof(error))) {
        about.input_count = onnx_model_input_count(model);
        if (about.input_count > 4)
            about.input_count = 4;
        for (size_t i = 0; i < about.input_count; i++)
            ios[i] = *onnx_model_input(model, i);
        about.inputs = ios;
        if (!special_write(&source, &about, values, indices, (uint32_t)about.input_count, &bytes,
                           &size, error, sizeof(error))) {
            struct onnx_model *again = NULL;

            /* What it writes is as whole as what it read. */
            if (onnx_model_create(bytes, size, &options, &again, error, sizeof(error)))
                abort();
            onnx_model_destroy(again);
            free(bytes);
        }
        onnx_model_destroy(model);
    }
    free(source.bytes);
}

static void fuzz_items(struct fuzz_input *in)
{
    struct vd_npu_value row;
    uint8_t *exact;

    fuzz_take(in, &row, sizeof(row));
    row.kind = row.kind % 8;
    row.size = in->size;
    if (npu_value_check(&row))
        return;
    exact = malloc(in->size + 1);
    if (!exact)
        return;
    memcpy(exact, in->data, in->size);
    npu_value_check_bytes(&row, exact);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    if (!arena.base) {
        /* The first to ask for devices keeps them. */
        setenv("VIADUCT_ORT", "none", 1);
        setenv("VIADUCT_OPENVINO", "none", 1);
        picture_bytes = calloc(4, WIDTH * HEIGHT * 4);
        if (!picture_bytes || arena_create(&arena, 2 << 20))
            abort();
    }
    switch (fuzz_byte(&in) % 4) {
    case 0:
        fuzz_pictures(&in);
        break;
    case 1:
        fuzz_weights(&in);
        break;
    case 2:
        fuzz_shapes(&in);
        break;
    default:
        fuzz_items(&in);
    }
    return 0;
}

size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {buffer, 0, room};
    /* graph { initializer { dims: 2 dtype: 1 name: w location: external data { location: f } } } */
    static const uint8_t external[] = {
        0x08, 0x08, 0x3a, 0x1a, 0x2a, 0x18, 0x08, 0x02, 0x10, 0x01, 0x42, 0x01, 0x77, 0x70, 0x01,
        0x6a, 0x0d, 0x0a, 0x08, 0x6c, 0x6f, 0x63, 0x61, 0x74, 0x69, 0x6f, 0x6e, 0x12, 0x01, 0x66,
    };
    static const uint8_t run[] = {0, 1, 1, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 128};
    struct vd_npu_value map = {.kind = VD_NPU_MAPS, .dtype = 1, .rank = 1, .dims = {2}};
    struct vd_npu_value items[2] = {
        {.dtype = 7, .rank = 1, .dims = {1}, .offset = 2 * sizeof(map), .size = 8},
        {.dtype = 1, .rank = 1, .dims = {1}, .offset = 2 * sizeof(map) + 8, .size = 4}};
    uint64_t numbers[2] = {5, 6};

    switch (index) {
    case 0:
        fuzz_put(&w, run, sizeof(run));
        break;
    case 1:
        fuzz_put_byte(&w, 1);
        fuzz_put_byte(&w, 2);
        fuzz_put(&w, external, sizeof(external));
        break;
    case 2:
        fuzz_put_byte(&w, 2);
        for (int i = 0; i < 8; i++)
            fuzz_put_byte(&w, 3);
        fuzz_put(&w, model_bytes, sizeof(model_bytes));
        break;
    case 3:
        fuzz_put_byte(&w, 3);
        fuzz_put(&w, &map, sizeof(map));
        fuzz_put(&w, items, sizeof(items));
        fuzz_put(&w, numbers, sizeof(numbers));
        break;
    }
    return w.used;
}
