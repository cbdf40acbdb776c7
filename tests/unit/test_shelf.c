/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "compute/npu/host/hosted.h"
#include "compute/npu/host/special.h"
#include "onnx_build.h"

/*
 * Models that a client's sessions share (shelf.h), and models that are made for each set of shapes
 * (special.h), with a provider that counts.
 */

static struct {
    int loads, lives, opens, runs;
    bool refuses;
    bool slow;
    int64_t dims[2]; /* of the newest model's input */
} count;

struct counted {
    struct onnx_model *model;
};

static bool wants_shapes(const char *device)
{
    return !strcmp(device, "fixed");
}

static int counted_load(const struct provider_load *load, void **ret_model, char *error,
                        size_t error_size)
{
    struct counted *c = calloc(1, sizeof(*c));
    const struct onnx_io *in;
    int err = onnx_model_create(load->bytes, load->size, NULL, &c->model, error, error_size);

    if (count.slow)
        usleep(50000);
    if (!err && count.refuses) {
        snprintf(error, error_size, "refused");
        onnx_model_destroy(c->model);
        err = VD_ERR_UNSUPPORTED;
    }
    if (err) {
        free(c);
        return err;
    }
    in = onnx_model_input(c->model, 0);
    memcpy(count.dims, in->dims, sizeof(count.dims));
    count.loads++;
    count.lives++;
    *ret_model = c;
    return 0;
}

static void counted_describe(void *model, struct provider_description *ret)
{
    struct counted *c = model;

    *ret = (struct provider_description){.inputs = onnx_model_input(c->model, 0),
                                         .outputs = onnx_model_output(c->model, 0),
                                         .input_count = 1,
                                         .output_count = 1,
                                         .metadata = *onnx_model_metadata(c->model),
                                         .placement = "counted"};
}

static void counted_destroy(void *model)
{
    struct counted *c = model;

    onnx_model_destroy(c->model);
    free(c);
    count.lives--;
}

static int counted_open(void *model, void **ret_run, char *error, size_t error_size)
{
    (void)error, (void)error_size;
    count.opens++;
    *ret_run = model;
    return 0;
}

static void counted_close(void *run)
{
    assert_non_null(run);
    count.opens--;
}

static const struct provider counted = {
    .name = "counted",
    .wants_shapes = wants_shapes,
    .load = counted_load,
    .describe = counted_describe,
    .destroy = counted_destroy,
    .open = counted_open,
    .close = counted_close,
};

static struct message simple_bytes;
static char error[200];
static struct shelf *shelf;

static int setup(void **state)
{
    (void)state;
    memset(&count, 0, sizeof(count));
    simple(&simple_bytes, "Mul");
    shelf = shelf_create();
    return !shelf;
}

/* Nothing stays behind. */
static int teardown(void **state)
{
    (void)state;
    shelf_destroy(shelf);
    return count.lives || count.opens;
}

static int load_it(void *owner, struct shelf_model *model)
{
    const char *device = owner;
    const struct provider_load load = {
        .bytes = simple_bytes.bytes, .size = simple_bytes.size, .device = device};
    int err;

    model->provider = &counted;
    snprintf(model->device, sizeof(model->device), "%s", device);
    if (special_wanted_by(&counted, device, simple_bytes.bytes, simple_bytes.size)) {
        uint8_t *bytes = malloc(simple_bytes.size);

        memcpy(bytes, simple_bytes.bytes, simple_bytes.size);
        return special_describe(model, bytes, simple_bytes.size, free, error, sizeof(error));
    }
    err = counted_load(&load, &model->model, error, sizeof(error));
    if (!err)
        counted_describe(model->model, &model->description);
    return err;
}

static struct shelf_key key_of(int number)
{
    struct shelf_key key = {.size = 1000};

    key.hash[5] = (uint8_t)number;
    return key;
}

static struct shelf_model *take(const struct shelf_key *key)
{
    struct shelf_model *m = NULL;

    assert_int_equal(shelf_take(shelf, key, load_it, "any", &m), 0);
    return m;
}

static void test_hash(void **state)
{
    /* FIPS 180-4's, and one whose length takes a block of its own. */
    static const char *const of[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    uint8_t hash[SHA256_BYTES], parts[SHA256_BYTES], bytes[1000];
    char text[2 * SHA256_BYTES + 1];
    struct sha256 sum;

    (void)state;
    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        sha256_of(of[i][0], strlen(of[i][0]), hash);
        for (size_t j = 0; j < SHA256_BYTES; j++)
            snprintf(text + 2 * j, 3, "%02x", hash[j]);
        assert_string_equal(text, of[i][1]);
    }
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7);
    sha256_of(bytes, sizeof(bytes), hash);
    for (size_t part = 1; part < 200; part++) {
        sha256_init(&sum);
        for (size_t at = 0; at < sizeof(bytes); at += part)
            sha256_add(&sum, bytes + at, part < sizeof(bytes) - at ? part : sizeof(bytes) - at);
        sha256_finish(&sum, parts);
        assert_memory_equal(hash, parts, sizeof(hash));
    }
}

static void test_shared(void **state)
{
    struct shelf_key one = key_of(1), threads = key_of(1), wish = key_of(1);
    struct shelf_model *a = take(&one), *b = take(&one);

    (void)state;
    threads.threads = 2;
    memcpy(wish.devices, "npu", 3);
    assert_ptr_equal(a, b);
    assert_int_equal(count.loads, 1);
    assert_ptr_equal(shelf_find(shelf, &one), a);
    assert_null(shelf_find(shelf, &threads));
    assert_null(shelf_find(shelf, &wish));
    shelf_put(shelf, a);
    shelf_put(shelf, a);
    shelf_put(shelf, a);
    assert_int_equal(count.lives, 1);
    assert_ptr_equal(take(&one), a);
    shelf_put(shelf, a);
    shelf_put(shelf, take(&threads));
    shelf_put(shelf, take(&wish));
    assert_int_equal(count.loads, 3);
    shelf_trim(shelf);
    assert_int_equal(count.lives, 0);
    assert_null(shelf_find(shelf, &one));
}

/* What nobody uses goes in the order in which it was put back; what is used stays. */
static void test_idle(void **state)
{
    struct shelf_key held = key_of(100), key, large = key_of(50);
    struct shelf_model *m = take(&held);

    (void)state;
    for (int i = 0; i < SHELF_IDLE_MODELS + 2; i++) {
        key = key_of(i);
        shelf_put(shelf, take(&key));
    }
    assert_int_equal(count.lives, SHELF_IDLE_MODELS + 1);
    for (int i = 0; i < SHELF_IDLE_MODELS + 2; i++) {
        struct shelf_model *found;

        key = key_of(i);
        found = shelf_find(shelf, &key);
        assert_int_equal(!!found, i >= 2);
        shelf_put(shelf, found);
    }
    /* One that is larger than all that may stay. */
    large.size = SHELF_IDLE_BYTES + 1;
    shelf_put(shelf, take(&large));
    assert_null(shelf_find(shelf, &large));
    assert_int_equal(count.lives, 1);
    shelf_trim(shelf);
    assert_ptr_equal(take(&held), m);
    shelf_put(shelf, m);
    shelf_put(shelf, m);
}

static void *take_one(void *arg)
{
    struct shelf_key key = key_of(7);

    *(struct shelf_model **)arg = NULL;
    shelf_take(shelf, &key, load_it, "any", arg);
    return NULL;
}

/* Who comes while it is loaded waits; after a failure it is tried again. */
static void test_meanwhile(void **state)
{
    struct shelf_model *models[4];
    pthread_t threads[4];

    (void)state;
    count.slow = true;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_one, &models[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count.loads, 1);
    for (int i = 0; i < 4; i++) {
        assert_non_null(models[i]);
        assert_ptr_equal(models[i], models[0]);
        shelf_put(shelf, models[i]);
    }
    shelf_trim(shelf);
    count.refuses = true;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_one, &models[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_null(models[i]);
    assert_int_equal(count.lives, 0);
}

static int with_rows(struct special *special, struct shelf_model *model, int64_t rows,
                     struct special_one **ret_one)
{
    static float data[3 * 16];
    const uint32_t zero = 0;
    struct onnx_value in = {.dtype = ONNX_F32, .rank = 2, .dims = {rows, 3}, .data = data};
    struct provider_run run = {.inputs = &in,
                               .input_index = &zero,
                               .input_count = 1,
                               .error = error,
                               .error_size = sizeof(error)};

    return special_take(special, shelf, model, &run, ret_one);
}

static void test_special(void **state)
{
    struct special special = {.clock = 0}, other = {.clock = 0};
    struct special_one *one, *again;
    struct shelf_key key = key_of(1);
    struct shelf_model *model = NULL;

    (void)state;
    assert_int_equal(shelf_take(shelf, &key, load_it, "fixed", &model), 0);
    /* Nothing is made before shapes are known, but what it takes is. */
    assert_int_equal(count.loads, 0);
    assert_null(model->model);
    assert_int_equal(model->description.input_count, 1);
    assert_int_equal(model->description.inputs[0].dims[0], -1);
    assert_string_equal(model->description.placement, "fixed, made for each set of shapes");
    assert_int_equal(with_rows(&special, model, 5, &one), 0);
    assert_int_equal(count.loads, 1);
    assert_int_equal(count.dims[0], 5);
    assert_int_equal(count.dims[1], 3);
    assert_int_equal(with_rows(&special, model, 5, &again), 0);
    assert_ptr_equal(one, again);
    /* Another session has it, too, with a run of its own. */
    assert_int_equal(with_rows(&other, model, 5, &again), 0);
    assert_int_equal(count.loads, 1);
    assert_int_equal(count.opens, 2);
    special_finish(&other, shelf);
    /* The last ones stay. */
    for (int i = 1; i < SPECIAL_KEPT; i++)
        assert_int_equal(with_rows(&special, model, 5 + i, &one), 0);
    assert_int_equal(count.loads, SPECIAL_KEPT);
    assert_int_equal(with_rows(&special, model, 5, &one), 0);
    assert_int_equal(count.loads, SPECIAL_KEPT);
    assert_int_equal(with_rows(&special, model, 16, &one), 0);
    assert_int_equal(count.opens, SPECIAL_KEPT);
    shelf_trim(shelf);
    assert_int_equal(count.lives, SPECIAL_KEPT);
    assert_int_equal(with_rows(&special, model, 5, &one), 0);
    assert_int_equal(count.loads, SPECIAL_KEPT + 1);
    assert_int_equal(with_rows(&special, model, 6, &one), 0);
    assert_int_equal(count.loads, SPECIAL_KEPT + 2);
    /* A shape that the device refuses is this run's matter. */
    count.refuses = true;
    assert_int_equal(with_rows(&special, model, 9, &one), VD_ERR_UNSUPPORTED);
    assert_string_equal(error, "refused");
    count.refuses = false;
    assert_int_equal(with_rows(&special, model, 9, &one), 0);
    special_finish(&special, shelf);
    shelf_put(shelf, model);
}

/* A model without open dimensions is loaded at once, also on such a device. */
static void test_closed(void **state)
{
    static const int64_t dims[] = {2, 3};
    struct shelf_key key = key_of(1);
    struct message graph = {.size = 0};
    struct shelf_model *model = NULL;

    (void)state;
    simple_bytes.size = 0;
    node(&graph, "Identity", "x", NULL, "y", NULL);
    text(&graph, 2, "closed");
    io(&graph, 11, "x", ONNX_F32, 2, dims);
    io(&graph, 12, "y", ONNX_F32, 2, dims);
    finish(&simple_bytes, &graph);
    assert_int_equal(shelf_take(shelf, &key, load_it, "fixed", &model), 0);
    assert_int_equal(count.loads, 1);
    shelf_put(shelf, model);
}

static int take_memory(void *owner, size_t size, void **ret_memory)
{
    (void)owner;
    *ret_memory = malloc(size);
    return *ret_memory ? 0 : VD_ERR_MEMORY;
}

/* A session's model that needs no bytes, as it was there before. */
static void test_have(void **state)
{
    struct arena arena;
    uint64_t runs = 0;
    struct hosted_setup setup = {.arena = &arena,
                                 .shelf = shelf,
                                 .size = simple_bytes.size,
                                 .alloc = take_memory,
                                 .free = free,
                                 .runs = &runs};
    struct vd_npu_have_req have = {.model = 0};
    struct vd_npu_data_req data = {.size = simple_bytes.size};
    struct vd_npu_load_req load = {.job = 1, .room = 4096};
    struct vd_npu_result *result;

    (void)state;
    setenv("VIADUCT_ORT", "none", 1);
    setenv("VIADUCT_OPENVINO", "none", 1);
    assert_int_equal(arena_create(&arena, 1 << 20), 0);
    data.offset = arena.upload_offset;
    load.result = arena.upload_offset + 65536;
    result = (void *)(arena.base + load.result);
    sha256_of(simple_bytes.bytes, simple_bytes.size, (uint8_t *)have.hash);
    for (uint32_t i = 1; i <= 3; i++) {
        struct hosted *model;
        bool known = i == 1;

        setup.id = i << 20 | i;
        setup.threads = i == 3;
        have.model = data.model = load.model = setup.id;
        memset(result, 0xff, sizeof(*result));
        assert_int_equal(hosted_create(&setup, &model), 0);
        assert_int_equal(hosted_have(model, &have, &known), 0);
        /* The third one has another wish. */
        assert_int_equal(known, i == 2);
        memcpy(arena.base + data.offset, simple_bytes.bytes, simple_bytes.size);
        assert_int_equal(hosted_data(model, &data), known ? VD_ERR_PROTOCOL : 0);
        assert_int_equal(hosted_have(model, &have, &known), VD_ERR_PROTOCOL);
        assert_int_equal(hosted_load(model, &load), 0);
        while (!__atomic_load_n(&arena.status->contexts[i].done, __ATOMIC_ACQUIRE))
            usleep(1000);
        assert_int_equal(result->status, 0);
        assert_string_equal(result->device, "builtin");
        hosted_leave(model);
        assert_true(hosted_reap(model, 10000));
    }
    arena_finish(&arena);
}

int main(void)
{
#define WITH_SHELF(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash), WITH_SHELF(test_shared),  WITH_SHELF(test_idle),
        WITH_SHELF(test_meanwhile),  WITH_SHELF(test_special), WITH_SHELF(test_closed),
        WITH_SHELF(test_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
