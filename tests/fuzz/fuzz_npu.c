/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <sched.h>
#include <stdbool.h>
#include <transport/arena.h>
#include <transport/fence.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

#include "compute/npu/client/internal.h"
#include "compute/npu/host/hosted.h"

/*
 * Both directions of inference. A hostile guest: models that are nearly right, jobs whose values,
 * places and numbers are nearly right. A hostile host: descriptions of models.
 *
 * Input: a byte; 0 mod 4: the rest is a description for the guest. Else bytes that spoil the model
 * (place, value; 0 ends), then jobs as run_job reads them.
 */

/* y[N,3] = x[N,3] * {1, 2, 3} */
static const uint8_t model_bytes[] = {
    0x08, 0x08, 0x12, 0x04, 0x74, 0x65, 0x73, 0x74, 0x3a, 0x68, 0x2a, 0x15, 0x08, 0x03, 0x10,
    0x01, 0x42, 0x01, 0x77, 0x4a, 0x0c, 0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x40, 0x00,
    0x00, 0x40, 0x40, 0x0a, 0x18, 0x0a, 0x01, 0x78, 0x0a, 0x01, 0x77, 0x12, 0x01, 0x79, 0x1a,
    0x08, 0x74, 0x68, 0x65, 0x5f, 0x6e, 0x6f, 0x64, 0x65, 0x22, 0x03, 0x4d, 0x75, 0x6c, 0x12,
    0x09, 0x74, 0x68, 0x65, 0x5f, 0x67, 0x72, 0x61, 0x70, 0x68, 0x5a, 0x14, 0x0a, 0x01, 0x78,
    0x12, 0x0f, 0x0a, 0x0d, 0x08, 0x01, 0x12, 0x09, 0x0a, 0x03, 0x12, 0x01, 0x4e, 0x0a, 0x02,
    0x08, 0x03, 0x62, 0x14, 0x0a, 0x01, 0x79, 0x12, 0x0f, 0x0a, 0x0d, 0x08, 0x01, 0x12, 0x09,
    0x0a, 0x03, 0x12, 0x01, 0x4e, 0x0a, 0x02, 0x08, 0x03, 0x42, 0x02, 0x10, 0x0d, 0x72, 0x0c,
    0x0a, 0x03, 0x6b, 0x65, 0x79, 0x12, 0x05, 0x76, 0x61, 0x6c, 0x75, 0x65,
};

#define ID        0x100000u
#define RESULT_AT (1u << 20) /* in the upload zone */
#define ROOM      8192u

static struct arena arena;

static int take_memory(void *owner, size_t size, void **ret_memory)
{
    (void)owner;
    *ret_memory = size < (64u << 20) ? malloc(size ? size : 1) : NULL;
    return *ret_memory ? 0 : VD_ERR_LIMIT;
}

/* A value that could be; then, now and then, a field that is not. */
static struct vd_npu_value make_value(struct fuzz_input *in)
{
    uint8_t how = fuzz_byte(in);
    struct vd_npu_value v = {
        .index = how & 1 ? fuzz_byte(in) : 0,
        .kind = how & 2 ? fuzz_byte(in) % 5 : VD_NPU_TENSOR,
        .dtype = how & 4 ? fuzz_byte(in) % 26 : 1,
        .offset = arena.upload_offset + (fuzz_word(in) & ~7u),
    };
    int64_t dims[VD_MAX_NPU_RANK] = {fuzz_byte(in) % 9, 3};
    uint64_t bytes;

    npu_value_set_dims(&v, dims, v.kind == VD_NPU_TENSOR ? 2 : 1);
    if (!npu_bytes(v.dtype, dims, v.rank, &bytes))
        v.size = bytes;
    if (v.kind == VD_NPU_SEQUENCE || v.dtype == NPU_STRING)
        v.size = fuzz_word(in);
    if (how & 8)
        fuzz_take(in, (uint8_t *)&v + fuzz_byte(in) % (sizeof(v) - 8), 8);
    return v;
}

/* One job or cancel; what is refused as a violation ends the input. */
static int run_job(struct hosted *model, struct fuzz_input *in, uint32_t *job)
{
    uint8_t kind = fuzz_byte(in), inputs = fuzz_byte(in) % 4, outputs = fuzz_byte(in) % 4;
    uint32_t number = *job + 1 + (kind & 0x40 ? fuzz_byte(in) : 0);
    uint64_t result = arena.upload_offset + RESULT_AT + (kind & 0x20 ? fuzz_word(in) : 0);
    struct vd_npu_value values[8];
    int err;

    for (int i = 0; i < inputs + outputs; i++)
        values[i] = make_value(in);
    if (kind & 0x10)
        fuzz_take(in, arena.base + arena.upload_offset, fuzz_byte(in));
    switch (kind % 4) {
    case 0:
        hosted_cancel(model, *job - fuzz_byte(in) % 3);
        return 0;
    case 1:
        err = hosted_fetch(model,
                           &(struct vd_npu_fetch_req){.model = ID,
                                                      .job = number,
                                                      .source = fuzz_byte(in) % 8,
                                                      .result = result,
                                                      .room = ROOM},
                           values, outputs);
        break;
    default:
        err = hosted_run(model,
                         &(struct vd_npu_run_req){.model = ID,
                                                  .job = number,
                                                  .inputs = inputs,
                                                  .milliseconds = kind & 8 ? 50 : 0,
                                                  .result = result,
                                                  .room = ROOM},
                         values, inputs + outputs);
    }
    *job += !err;
    return err;
}

static void wait_done(uint32_t job)
{
    while (!fence_passed(fence_load(&arena.status->contexts[VD_SLOT(ID)].done), job))
        sched_yield();
}

static void fuzz_host(struct fuzz_input *in)
{
    uint64_t runs = 0;
    struct hosted_setup setup = {.id = ID,
                                 .arena = &arena,
                                 .shelf = shelf_create(),
                                 .size = sizeof(model_bytes),
                                 .alloc = take_memory,
                                 .free = free,
                                 .runs = &runs};
    struct vd_npu_data_req data = {
        .model = ID, .offset = arena.upload_offset, .size = sizeof(model_bytes)};
    uint8_t *bytes = arena.base + arena.upload_offset;
    struct hosted *model;
    uint32_t job = 1;
    uint8_t place;

    memcpy(bytes, model_bytes, sizeof(model_bytes));
    while ((place = fuzz_byte(in)))
        bytes[place % sizeof(model_bytes)] = fuzz_byte(in);
    if (!setup.shelf || hosted_create(&setup, &model)) {
        shelf_destroy(setup.shelf);
        return;
    }
    if (hosted_data(model, &data) ||
        hosted_load(model, &(struct vd_npu_load_req){.model = ID,
                                                     .job = 1,
                                                     .result = arena.upload_offset + RESULT_AT,
                                                     .room = ROOM}))
        abort();
    while (in->size && !run_job(model, in, &job))
        if (in->size % 3)
            wait_done(job);
    wait_done(job);
    hosted_leave(model);
    if (!hosted_reap(model, 20000))
        abort();
    shelf_destroy(setup.shelf);
}

static void fuzz_guest(struct fuzz_input *in)
{
    struct npu_model model = {0};
    uint8_t *exact = malloc(in->size + 1);

    if (!exact)
        return;
    memcpy(exact, in->data, in->size);
    if (!client_info_read(&model, exact, in->size)) {
        for (size_t i = 0; i < model.info.input_count + model.info.output_count; i++)
            if (strlen(model.rows[i].name) > in->size || model.rows[i].rank > NPU_MAX_RANK)
                abort();
        for (size_t i = 0; i < model.info.pair_count; i++)
            if (!model.info.keys[i] || !model.info.values[i])
                abort();
    }
    free(model.rows);
    free(model.pairs);
    free(model.texts);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    if (!arena.base) {
        /* The first to ask for devices keeps them. */
        setenv("VIADUCT_ORT", "none", 1);
        if (arena_create(&arena, 2 << 20))
            abort();
    }
    if (fuzz_byte(&in) % 4)
        fuzz_host(&in);
    else
        fuzz_guest(&in);
    return 0;
}

size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {buffer, 0, room};
    /* Two runs, a fetch, a cancel; no spoilt byte of the model. */
    static const uint8_t jobs[] = {1, 0, 2, 1, 1, 0, 8, 0, 4,  0, 64, 0,  4, 3, 1, 1, 0, 8,
                                   0, 2, 0, 0, 8, 1, 1, 1, 16, 0, 0,  64, 0, 2, 0, 0, 0, 0};
    struct vd_npu_info info = {.inputs = 1, .outputs = 1, .pairs = 1, .texts = 4};
    struct vd_npu_io io = {.rank = 2, .dtype = 1, .name = {0, 1}, .symbols = {1, 2}};
    struct vd_npu_text text = {.at = {3, 1}};
    uint8_t guest = 0;

    switch (index) {
    case 0:
        fuzz_put(&w, jobs, sizeof(jobs));
        break;
    case 1:
        fuzz_put(&w, &guest, 1);
        fuzz_put(&w, &info, sizeof(info));
        fuzz_put(&w, &io, sizeof(io));
        fuzz_put(&w, &io, sizeof(io));
        fuzz_put(&w, &text, sizeof(text));
        fuzz_put(&w, &text, sizeof(text));
        fuzz_put(&w, "xNNk", 4);
        break;
    }
    return w.used;
}
