/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <compute/npu/host/post.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

/* What is made of outputs: a case is an output, what is wanted of it and the rows that come. */

#define MOST_ROWS 8

static uint32_t bits(float value)
{
    uint32_t b;

    memcpy(&b, &value, sizeof(b));
    return b;
}

static int take(void *owner, size_t size, void **ret_memory)
{
    (void)owner;
    *ret_memory = malloc(size ? size : 1);
    return *ret_memory ? 0 : VD_ERR_MEMORY;
}

static struct post make_post(void)
{
    return (struct post){.alloc = take, .free = free};
}

static struct onnx_value value_of(float *numbers, int rank, const int64_t *dims)
{
    struct onnx_value v = {.kind = ONNX_TENSOR, .dtype = ONNX_F32, .rank = rank, .data = numbers};
    uint64_t size = 0;

    memcpy(v.dims, dims, (size_t)rank * sizeof(*dims));
    assert_int_equal(npu_bytes(ONNX_F32, v.dims, (uint32_t)rank, &size), 0);
    v.size = size;
    return v;
}

#define NOWHERE                                                                                \
    .input = VD_NPU_NOWHERE, .scores_output = VD_NPU_NOWHERE, .objectness_at = VD_NPU_NOWHERE, \
    .class_at = VD_NPU_NOWHERE

static const struct npu_place places[] = {{10, 20, 2, 4}, {0, 0, 1, 1}};

static const struct row_case {
    const char *name;
    struct vd_npu_post how;
    float threshold, overlap;
    int rank, columns, count;
    int64_t dims[4];
    float numbers[32];
    float scores[16]; /* [N, boxes, classes] of scores_output */
    int64_t score_dims[3];
    bool placed;
    float rows[MOST_ROWS][7];
} cases[] = {
    {.name = "the best two of each item",
     .how = {.kind = VD_NPU_POST_CLASSES, .most = 2, NOWHERE},
     .rank = 2,
     .dims = {2, 3},
     .numbers = {1, 3, 2, 9, 7, 8},
     .columns = 3,
     .count = 4,
     .rows = {{0, 1, 3}, {0, 2, 2}, {1, 0, 9}, {1, 2, 8}}},
    {.name = "a threshold, a background",
     .how = {.kind = VD_NPU_POST_CLASSES, .flags = VD_NPU_POST_BACKGROUND, NOWHERE},
     .threshold = 2,
     .rank = 2,
     .dims = {1, 4},
     .numbers = {9, 1, 2, 3},
     .columns = 3,
     .count = 2,
     .rows = {{0, 2, 3}, {0, 1, 2}}},
    {.name = "softmax",
     .how = {.kind = VD_NPU_POST_CLASSES, .most = 1, .activation = VD_NPU_SCORE_SOFTMAX, NOWHERE},
     .rank = 4,
     .dims = {1, 2, 1, 1},
     .numbers = {1000, 1000},
     .columns = 3,
     .count = 1,
     .rows = {{0, 0, 0.5f}}},
    {.name = "CTC: repetitions and blanks",
     .how = {.kind = VD_NPU_POST_TEXT, NOWHERE},
     .rank = 3,
     .dims = {1, 6, 3},
     .numbers = {0, 1, 0, 0, 2, 0, 1, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 5},
     .columns = 3,
     .count = 3,
     .rows = {{0, 1, 1}, {0, 1, 3}, {0, 2, 4}}},
    {.name = "CTC: steps first, two items",
     .how = {.kind = VD_NPU_POST_TEXT, .flags = VD_NPU_POST_TURNED, NOWHERE},
     .rank = 3,
     .dims = {2, 2, 2},
     .numbers = {0, 1, 1, 0, 1, 0, 0, 1},
     .columns = 3,
     .count = 2,
     .rows = {{0, 1, 1}, {1, 1, 1}}},
    {.name = "YOLOv5: objectness, overlap of one class",
     .how = {.kind = VD_NPU_POST_BOXES,
             .scores_at = 5,
             .input = 0,
             .scores_output = VD_NPU_NOWHERE,
             .objectness_at = 4,
             .class_at = VD_NPU_NOWHERE},
     .threshold = 0.3f,
     .overlap = 0.5f,
     .rank = 3,
     .dims = {1, 4, 7},
     .numbers = {10, 10, 4, 4, 1, 0.5f, 0,    10, 10, 4, 5, 1,    0.75f, 0,
                 10, 10, 4, 4, 1, 0,    0.5f, 50, 50, 2, 2, 0.5f, 0.5f,  0},
     .columns = 7,
     .count = 2,
     .rows = {{0, 0, 0.75f, 8, 7.5f, 12, 12.5f}, {0, 1, 0.5f, 8, 8, 12, 12}}},
    {.name = "the same, across classes, in the picture",
     .how = {.kind = VD_NPU_POST_BOXES,
             .flags = VD_NPU_POST_ACROSS,
             .scores_at = 4,
             .input = 0,
             .scores_output = VD_NPU_NOWHERE,
             .objectness_at = VD_NPU_NOWHERE,
             .class_at = VD_NPU_NOWHERE},
     .threshold = 0.3f,
     .overlap = 0.5f,
     .rank = 2,
     .dims = {2, 6},
     .numbers = {10, 10, 4, 4, 0.5f, 0, 10, 10, 4, 5, 0, 0.75f},
     .placed = true,
     .columns = 7,
     .count = 1,
     .rows = {{0, 1, 0.75f, 26, 50, 34, 70}}},
    {.name = "YOLOv8: turned",
     .how = {.kind = VD_NPU_POST_BOXES, .flags = VD_NPU_POST_TURNED, .scores_at = 4, NOWHERE},
     .threshold = 0.3f,
     .overlap = 0.5f,
     .rank = 3,
     .dims = {1, 5, 2},
     .numbers = {10, 50, 10, 50, 4, 2, 4, 2, 0.5f, 0.25f},
     .columns = 7,
     .count = 1,
     .rows = {{0, 0, 0.5f, 8, 8, 12, 12}}},
    {.name = "YOLOv10: the class is a number",
     .how = {.kind = VD_NPU_POST_BOXES,
             .form = VD_NPU_BOX_XYXY,
             .scores_at = 4,
             .classes = 1,
             .input = VD_NPU_NOWHERE,
             .scores_output = VD_NPU_NOWHERE,
             .objectness_at = VD_NPU_NOWHERE,
             .class_at = 5},
     .threshold = 0.3f,
     .overlap = 1,
     .rank = 3,
     .dims = {1, 1, 6},
     .numbers = {1, 2, 3, 4, 0.5f, 17},
     .columns = 7,
     .count = 1,
     .rows = {{0, 17, 0.5f, 1, 2, 3, 4}}},
    {.name = "SSD: 0 to 1, a background, scores elsewhere",
     .how = {.kind = VD_NPU_POST_BOXES,
             .flags = VD_NPU_POST_NORMAL | VD_NPU_POST_BACKGROUND,
             .form = VD_NPU_BOX_YXYX,
             .input = VD_NPU_NOWHERE,
             .scores_output = 1,
             .objectness_at = VD_NPU_NOWHERE,
             .class_at = VD_NPU_NOWHERE},
     .threshold = 0.3f,
     .overlap = 0.5f,
     .rank = 3,
     .dims = {1, 2, 4},
     .numbers = {0, 0, 0.5f, 0.25f, 0, 0, 1, 1},
     .scores = {0.25f, 0.5f, 0.25f, 1, 0, 0},
     .score_dims = {1, 2, 3},
     .columns = 7,
     .count = 1,
     .rows = {{0, 0, 0.5f, 0, 0, 25, 25}}},
    {.name = "regions: diagonals belong together",
     .how = {.kind = VD_NPU_POST_REGIONS, NOWHERE},
     .threshold = 0.5f,
     .rank = 4,
     .dims = {1, 1, 3, 5},
     .numbers = {1, 0, 0, 0, 0.5f, 0, 0.5f, 0, 0, 0.5f, 0, 0, 0, 0, 0.5f},
     .columns = 7,
     .count = 2,
     .rows = {{0, 0, 0.75f, 0, 0, 40, 33.333332f}, {0, 0, 0.5f, 80, 0, 100, 50}}},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct row_case c = cases[i];
        struct post post = make_post();
        struct onnx_value v = value_of(c.numbers, c.rank, c.dims), scores, result = {0};
        struct post_view view = {.width = 100, .height = 50};
        char error[200] = "";

        c.how.threshold = bits(c.threshold);
        c.how.overlap = bits(c.overlap);
        if (c.score_dims[0])
            scores = value_of(c.scores, 3, c.score_dims);
        if (c.placed) {
            view.places = places;
            view.place_count = 1;
            view.picture_width = 1000;
            view.picture_height = 70;
        }
        /* Twice: memory is used again. */
        for (int again = 0; again < 2; again++) {
            int err = post_run(&post, &c.how, &v, c.score_dims[0] ? &scores : NULL, NULL, &view,
                               &result, error, sizeof(error));

            if (err || result.dims[0] != c.count)
                print_error("%s: %d, %s, %lld rows\n", c.name, err, error,
                            (long long)result.dims[0]);
            assert_int_equal(err, 0);
            assert_int_equal(result.dims[0], c.count);
            assert_int_equal(result.dims[1], c.columns);
            for (int j = 0; j < c.count * c.columns; j++) {
                float got = ((const float *)result.data)[j],
                      want = c.rows[j / c.columns][j % c.columns];

                if (got < want - 1e-4f || got > want + 1e-4f)
                    print_error("%s: row %d column %d: %g, not %g\n", c.name, j / c.columns,
                                j % c.columns, (double)got, (double)want);
                assert_true(got >= want - 1e-4f && got <= want + 1e-4f);
            }
        }
        post_finish(&post);
    }
}

static void test_map(void **state)
{
    float numbers[] = {0, 5, 1, 4, 9, 2}; /* [1, 3, 2] */
    const int64_t dims[] = {1, 3, 2}, one[] = {6, 1};
    struct vd_npu_post how = {.kind = VD_NPU_POST_MAP, .axis = 1, .threshold = bits(2), NOWHERE};
    struct onnx_value v = value_of(numbers, 3, dims), result;
    struct post post = make_post();
    struct post_view view = {0};
    char error[200];

    (void)state;
    assert_int_equal(post_run(&post, &how, &v, NULL, NULL, &view, &result, error, sizeof(error)),
                     0);
    assert_int_equal(result.rank, 2);
    assert_int_equal(result.dtype, ONNX_U8);
    assert_int_equal(result.size, 2);
    assert_memory_equal(result.data, "\2\0", 2);
    v = value_of(numbers, 2, one);
    assert_int_equal(post_run(&post, &how, &v, NULL, NULL, &view, &result, error, sizeof(error)),
                     0);
    assert_memory_equal(result.data, "\0\1\0\1\1\1", 6);
    post_finish(&post);
}

/* Outputs and parameters that cannot be: an error and a sentence, and nothing is read outside. */
static void test_refused(void **state)
{
    static const struct {
        struct vd_npu_post how;
        int rank, err;
        enum onnx_dtype dtype;
    } refused[] = {
        {{.kind = 0, NOWHERE}, 2, VD_ERR_PARAMETER, ONNX_F32},
        {{.kind = VD_NPU_POSTS, NOWHERE}, 2, VD_ERR_PARAMETER, ONNX_F32},
        {{.kind = VD_NPU_POST_BOXES, .form = 9, NOWHERE}, 2, VD_ERR_PARAMETER, ONNX_F32},
        {{.kind = VD_NPU_POST_CLASSES, .activation = 9, NOWHERE}, 2, VD_ERR_PARAMETER, ONNX_F32},
        {{.kind = VD_NPU_POST_CLASSES, NOWHERE}, 2, VD_ERR_UNSUPPORTED, ONNX_STRING},
        {{.kind = VD_NPU_POST_TEXT, NOWHERE}, 1, VD_ERR_PARAMETER, ONNX_F32},
        {{.kind = VD_NPU_POST_MAP, .axis = 2, NOWHERE}, 2, VD_ERR_PARAMETER, ONNX_F32},
        {{.kind = VD_NPU_POST_REGIONS, NOWHERE}, 1, VD_ERR_PARAMETER, ONNX_F32},
        {{.kind = VD_NPU_POST_BOXES, .boxes_at = 5, NOWHERE}, 2, VD_ERR_PARAMETER, ONNX_F32},
        {{.kind = VD_NPU_POST_BOXES, .boxes_at = UINT32_MAX, NOWHERE},
         2,
         VD_ERR_PARAMETER,
         ONNX_F32},
        {{.kind = VD_NPU_POST_BOXES, .scores_at = 8, NOWHERE}, 2, VD_ERR_PARAMETER, ONNX_F32},
        {{.kind = VD_NPU_POST_BOXES, .classes = 9, NOWHERE}, 2, VD_ERR_PARAMETER, ONNX_F32},
        {{.kind = VD_NPU_POST_BOXES,
          .input = VD_NPU_NOWHERE,
          .scores_output = VD_NPU_NOWHERE,
          .objectness_at = 8,
          .class_at = VD_NPU_NOWHERE},
         2,
         VD_ERR_PARAMETER,
         ONNX_F32},
        {{.kind = VD_NPU_POST_BOXES, .flags = VD_NPU_POST_NORMAL, NOWHERE},
         2,
         VD_ERR_PARAMETER,
         ONNX_F32},
    };
    float numbers[8] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const int64_t dims[] = {refused[i].rank == 1 ? 8 : 1, 8};
        struct onnx_value v = value_of(numbers, refused[i].rank, dims), result;
        struct post post = make_post();
        struct post_view view = {0};
        char error[200] = "";

        v.dtype = refused[i].dtype;
        assert_int_equal(
            post_run(&post, &refused[i].how, &v, NULL, NULL, &view, &result, error, sizeof(error)),
            refused[i].err);
        assert_true(*error);
        post_finish(&post);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
