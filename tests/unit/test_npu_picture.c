/* SPDX-License-Identifier: MIT */
#include "npu_host.h"

#include <compute/npu/client/internal.h>
#include <va/va.h>

#include "onnx_build.h"

/* Surfaces as inputs of models: a session with surfaces of its own, pictures written by hand. */

#define WIDTH   64u
#define HEIGHT  48u
#define SURFACE 0x30000001u

static struct npu *npu;
static struct npu_model *model;
static struct format_layout layout;
static uint8_t *pixels;
static int descriptors;

/* y = x, [N, 3, N, N] or what is asked for */
static void identity(struct message *m, unsigned dtype, const int64_t dims[4])
{
    struct message graph = {.size = 0};

    m->size = 0;
    node(&graph, "Identity", "x", NULL, "y", NULL);
    text(&graph, 2, "the_graph");
    io(&graph, 11, "x", dtype, 4, dims);
    io(&graph, 12, "y", dtype, 4, dims);
    finish(m, &graph);
}

static void load(unsigned dtype, const int64_t dims[4])
{
    struct message m;

    npu_unload(model);
    identity(&m, dtype, dims);
    assert_int_equal(npu_load(npu, m.bytes, m.size, NULL, &model), 0);
}

static const int64_t any[] = {-1, 3, -1, -1};

/* NV12 with memory: left half dark, right half light. */
static int setup(void **state)
{
    struct vd_surface_create_req create = {
        .fourcc = VA_FOURCC_NV12, .width = WIDTH, .height = HEIGHT};
    struct vd_surface_create_rep created;
    struct vd_surface_back_req back = {.surface = SURFACE};
    struct vd_surface_back_rep backed;
    struct vd_id id = {SURFACE};

    (void)state;
    setenv("VIADUCT_ORT", "none", 1);
    descriptors = check_descriptors();
    if (npu_open("test:", &npu) ||
        host_call(npu->host, VD_OP_surface_create, &create, &id, 1, &created, NULL, NULL) ||
        created.status ||
        host_call(npu->host, VD_OP_surface_back, &back, NULL, 0, &backed, NULL, NULL) ||
        backed.status || format_layout(format_find(VA_FOURCC_NV12), WIDTH, HEIGHT, &layout))
        return -1;
    pixels = npu->host->arena.base + npu->host->arena.status->backings[backed.backing].offset;
    for (uint32_t y = 0; y < HEIGHT; y++) {
        memset(pixels + layout.offset[0] + y * layout.pitch[0], 16, WIDTH / 2);
        memset(pixels + layout.offset[0] + y * layout.pitch[0] + WIDTH / 2, 235, WIDTH / 2);
    }
    for (uint32_t y = 0; y < HEIGHT / 2; y++)
        memset(pixels + layout.offset[1] + y * layout.pitch[1], 128, WIDTH);
    load(ONNX_F32, any);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    npu_unload(model);
    model = NULL;
    npu_close(npu);
    npu_host_end();
    npu_host.in_band = false;
    assert_int_equal(check_descriptors(), descriptors);
    return 0;
}

static struct npu_picture plain(uint32_t width, uint32_t height)
{
    return (struct npu_picture){
        .surface = SURFACE, .width = width, .height = height, .scale = {1, 1, 1}};
}

/* One run; the output, or the error. */
static int look(const struct npu_picture *picture, const struct npu_post *post,
                struct npu_tensor **ret_tensor)
{
    struct npu_tensor *x;
    struct npu_call call = {.inputs = &x,
                            .input_count = 1,
                            .outputs = ret_tensor,
                            .output_count = 1,
                            .posts = post ? &post : NULL};
    int err = npu_tensor_create_picture(npu, &npu_model_info(model)->inputs[0], picture, &x);

    *ret_tensor = NULL;
    if (err)
        return err;
    assert_int_equal(npu_tensor_kind(x), NPU_KIND_PICTURE);
    assert_null(npu_tensor_data(x));
    err = npu_run(model, &call);
    npu_tensor_destroy(x);
    return err;
}

static void near(float got, float want)
{
    if (got < want - 1.5f || got > want + 1.5f)
        print_error("%g, not %g\n", (double)got, (double)want);
    assert_true(got >= want - 1.5f && got <= want + 1.5f);
}

static void test_stretch(void **state)
{
    struct npu_picture p = plain(8, 4);
    struct npu_tensor *y;
    const float *f;

    (void)state;
    assert_int_equal(look(&p, NULL, &y), 0);
    assert_int_equal(npu_tensor_bytes(y), 3 * 8 * 4 * 4);
    f = npu_tensor_data(y);
    for (int c = 0; c < 3; c++) {
        for (int row = 0; row < 4; row++) {
            near(f[(c * 4 + row) * 8], 0);
            near(f[(c * 4 + row) * 8 + 7], 255);
        }
    }
    npu_tensor_destroy(y);
}

/* 64 x 48 into 16 x 16: 16 x 12, two rows above and below. Mean and scale by channel. */
static void test_letterbox(void **state)
{
    struct npu_picture p = plain(16, 16);
    struct npu_tensor *y;
    const float *f;

    (void)state;
    p.fit = NPU_FIT_LETTERBOX;
    p.pad = 100;
    p.mean[0] = 10;
    p.scale[1] = 2;
    assert_int_equal(look(&p, NULL, &y), 0);
    f = npu_tensor_data(y);
    near(f[0], 90);
    near(f[256], 200);
    near(f[2 * 16 + 15], 245);
    near(f[256 + 8 * 16 + 15], 510);
    near(f[512 + 13 * 16], 0);
    near(f[512 + 14 * 16], 100);
    npu_tensor_destroy(y);
    p = plain(16, 16);
    p.fit = NPU_FIT_CORNER;
    assert_int_equal(look(&p, NULL, &y), 0);
    f = npu_tensor_data(y);
    near(f[15], 255);
    near(f[11 * 16 + 15], 255);
    near(f[12 * 16 + 15], 0);
    npu_tensor_destroy(y);
}

/* Parts, each an item: the left half, the right half. */
static void test_rois(void **state)
{
    const struct npu_roi rois[] = {{0, 0, 32, 48}, {32, 8, 32, 16}};
    struct npu_picture p = plain(4, 4);
    struct npu_tensor *y;
    const float *f;

    (void)state;
    p.rois = rois;
    p.roi_count = 2;
    assert_int_equal(look(&p, NULL, &y), 0);
    assert_int_equal(npu_tensor_dims(y)[0], 2);
    f = npu_tensor_data(y);
    for (int i = 0; i < 48; i++) {
        near(f[i], 0);
        near(f[48 + i], 255);
    }
    npu_tensor_destroy(y);
}

/* Blue, as the order and the matrix have it. */
static void test_colours(void **state)
{
    struct npu_picture p = plain(2, 2);
    struct npu_tensor *y;
    const float *f;

    (void)state;
    for (uint32_t row = 0; row < HEIGHT; row++)
        memset(pixels + layout.offset[0] + row * layout.pitch[0], 41, WIDTH);
    for (uint32_t row = 0; row < HEIGHT / 2; row++) {
        for (uint32_t x = 0; x < WIDTH; x += 2) {
            pixels[layout.offset[1] + row * layout.pitch[1] + x] = 240;
            pixels[layout.offset[1] + row * layout.pitch[1] + x + 1] = 110;
        }
    }
    assert_int_equal(look(&p, NULL, &y), 0);
    f = npu_tensor_data(y);
    near(f[0], 0);
    near(f[4], 0);
    near(f[8], 255);
    npu_tensor_destroy(y);
    p.order = NPU_ORDER_BGR;
    assert_int_equal(look(&p, NULL, &y), 0);
    near(((const float *)npu_tensor_data(y))[0], 255);
    npu_tensor_destroy(y);
    /* Taken for BT.709 the same samples are another blue, with less green taken away. */
    p.order = NPU_ORDER_RGB;
    p.matrix = 1;
    p.full_range = true;
    assert_int_equal(look(&p, NULL, &y), 0);
    f = npu_tensor_data(y);
    near(f[0], 41 + 1.5748f * (110 - 128));
    near(f[8], 41 + 1.8556f * (240 - 128));
    npu_tensor_destroy(y);
}

/* Layouts and types that models have. */
static void test_types(void **state)
{
    static const int64_t nhwc[] = {1, 4, 8, 3}, gray[] = {1, 1, 4, 8};
    struct npu_picture p;
    struct npu_tensor *y;
    const uint8_t *u;
    const uint16_t *h;

    (void)state;
    load(ONNX_U8, nhwc);
    assert_int_equal(npu_picture_guess(&npu_model_info(model)->inputs[0], &p), 0);
    assert_int_equal(p.layout, NPU_LAYOUT_NHWC);
    assert_int_equal(p.order, NPU_ORDER_RGB);
    p.surface = SURFACE;
    assert_int_equal(look(&p, NULL, &y), 0);
    u = npu_tensor_data(y);
    assert_int_equal(npu_tensor_bytes(y), 96);
    near(u[0], 0);
    near(u[23], 255);
    npu_tensor_destroy(y);
    load(ONNX_F16, gray);
    assert_int_equal(npu_picture_guess(&npu_model_info(model)->inputs[0], &p), 0);
    assert_int_equal(p.layout, NPU_LAYOUT_NCHW);
    assert_int_equal(p.order, NPU_ORDER_GRAY);
    p.surface = SURFACE;
    assert_int_equal(look(&p, NULL, &y), 0);
    h = npu_tensor_data(y);
    assert_int_equal(h[0], 0);
    /* 1.0, or the nearest below it */
    assert_in_range(h[7], 0x3be0, 0x3c00);
    npu_tensor_destroy(y);
}

/* What is made of the output is small, and in the picture's pixels. */
static void test_post(void **state)
{
    struct npu_picture p = plain(16, 12);
    struct npu_post post;
    struct npu_tensor *y;
    const float *f;

    (void)state;
    p.scale[0] = p.scale[1] = p.scale[2] = 1 / 255.0f;
    assert_int_equal(npu_post_preset("regions", &post), 0);
    post.most = 1;
    post.threshold = 0.9f;
    assert_int_equal(look(&p, &post, &y), 0);
    assert_int_equal(npu_tensor_dims(y)[0], 3); /* one of each channel */
    assert_int_equal(npu_tensor_dims(y)[1], 7);
    f = npu_tensor_data(y);
    assert_true(f[3] >= 32 && f[3] <= 40);
    assert_true(f[4] == 0 && f[5] == WIDTH && f[6] == HEIGHT);
    npu_tensor_destroy(y);
    assert_int_equal(npu_post_preset("nothing", &post), VD_ERR_PARAMETER);
}

/* More rows than there is room for: kept, and fetched. */
static void test_large_post(void **state)
{
    struct npu_picture p = plain(64, 48);
    struct npu_post post;
    struct npu_tensor *y;

    (void)state;
    assert_int_equal(npu_post_preset("classes", &post), 0);
    post.most = 64;
    assert_int_equal(look(&p, &post, &y), 0);
    assert_int_equal(npu_tensor_dims(y)[0], 3 * 48 * 64);
    npu_tensor_destroy(y);
}

static void test_refused(void **state)
{
    const struct npu_roi outside[] = {{60, 0, 8, 8}, {0, 0, 0, 8}, {0xfffffff0, 0, 32, 8}};
    struct npu_picture p = plain(0, 0);
    struct npu_tensor *y;

    (void)state;
    /* The model leaves the size open, and so do we. */
    assert_int_equal(look(&p, NULL, &y), VD_ERR_PARAMETER);
    for (int i = 0; i < 3; i++) {
        p = plain(8, 8);
        p.rois = &outside[i];
        p.roi_count = 1;
        assert_int_equal(look(&p, NULL, &y), VD_ERR_PARAMETER);
        assert_non_null(strstr(npu_message(), "not within the picture"));
    }
    p = plain(8, 8);
    p.matrix = 3;
    assert_int_equal(look(&p, NULL, &y), VD_ERR_PARAMETER);
    p = plain(8, 8);
    p.pad = 300;
    assert_int_equal(look(&p, NULL, &y), VD_ERR_PARAMETER);
    p = plain(8, 8);
    p.fit = (enum npu_fit)9;
    assert_int_equal(look(&p, NULL, &y), VD_ERR_PARAMETER);
    p = plain(20000, 8);
    assert_int_equal(look(&p, NULL, &y), VD_ERR_PARAMETER);
    /* The session lives. */
    p = plain(8, 8);
    assert_int_equal(look(&p, NULL, &y), 0);
    npu_tensor_destroy(y);
}

/* A surface that is not there ends the session: the guest's own driver knows better. */
static void test_unknown_surface(void **state)
{
    struct npu_picture p = plain(8, 8);
    struct npu_tensor *y;

    (void)state;
    p.surface = SURFACE + 1;
    assert_int_equal(look(&p, NULL, &y), VD_ERR_GONE);
}

/* Not a display at all. */
static void test_display(void **state)
{
    uint64_t nothing[8] = {0};
    struct npu *other;

    (void)state;
    assert_int_equal(npu_open_display(NULL, &other), VD_ERR_PARAMETER);
    assert_int_equal(npu_open_display(nothing, &other), VD_ERR_PARAMETER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stretch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_letterbox, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rois, setup, teardown),
        cmocka_unit_test_setup_teardown(test_colours, setup, teardown),
        cmocka_unit_test_setup_teardown(test_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_post, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_surface, setup, teardown),
        cmocka_unit_test(test_display),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
