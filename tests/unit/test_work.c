/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <va/va_vpp.h>

/*
 * A whole session whose pictures go from a decoder to processing to an encoder. The back ends are
 * scripted: the decoder holds every picture until it is kicked, processing adds 1 to the first
 * byte, the encoder writes that byte.
 */

#define DECODER 0x20000000u
#define PROC    0x20000001u
#define ENCODER 0x20000002u
#define SECOND  0x20000003u /* another decoder */
#define SURFACE 0x30000000u

static struct fixture {
    struct guest guest;
    uint64_t coded; /* in the arena */
} f;

/* --- decoder: one struct a context; `flushed` is what the session asked it for */
struct held {
    struct backend_context_info info;
    struct backend_job *jobs[VD_MAX_IN_FLIGHT];
    uint64_t taken, given;
};

static uint32_t one_cap(struct vd_cap *ret_caps, uint32_t room, int profile, int entrypoint)
{
    if (!room)
        return 0;
    *ret_caps = (struct vd_cap){
        .profile = (uint32_t)profile,
        .entrypoint = (uint32_t)entrypoint,
        .rt_formats = VA_RT_FORMAT_YUV420,
        .min_width = 16,
        .min_height = 16,
        .max_width = 64,
        .max_height = 64,
        .format_count = 1,
        .formats = {VA_FOURCC_NV12},
    };
    return 1;
}

static uint32_t held_caps(struct vd_cap *ret_caps, uint32_t room)
{
    return one_cap(ret_caps, room, VAProfileH264High, VAEntrypointVLD);
}

static int held_create(const struct backend_context_info *info, void **ret_context,
                       struct backend_context_traits *ret_traits)
{
    struct held *held = calloc(1, sizeof(*held));

    held->info = *info;
    *ret_context = held;
    *ret_traits = (struct backend_context_traits){VD_CONTEXT_KICK, 8};
    return 0;
}

static void held_submit(void *context, struct backend_job *job)
{
    struct held *held = context;

    held->jobs[++held->taken % VD_MAX_IN_FLIGHT] = job;
}

static void held_flush(void *context, uint64_t number)
{
    struct held *held = context;

    while (held->given < number && held->given < held->taken) {
        struct backend_job *job = held->jobs[++held->given % VD_MAX_IN_FLIGHT];

        job->status = job->refused ? job->refused : pool_get(job->surface, &job->backing);
        /* The number of the picture is its contents. */
        if (!job->status)
            job->backing->bytes[0] = (uint8_t)(10 * job->number);
        held->info.done(held->info.done_arg, job);
    }
}

static void held_destroy(void *context)
{
    free(context);
}

static const struct backend held_backend = {
    .name = "held",
    .caps = held_caps,
    .context_create = held_create,
    .submit = held_submit,
    .flush = held_flush,
    .context_destroy = held_destroy,
};

/* --- processing and encoding, which are complete when submit returns */
static int plain_create(const struct backend_context_info *info, void **ret_context,
                        struct backend_context_traits *ret_traits)
{
    struct backend_context_info *copy = malloc(sizeof(*copy));

    *copy = *info;
    *ret_context = copy;
    *ret_traits = (struct backend_context_traits){VD_CONTEXT_KICK, 4};
    return 0;
}

static void plain_flush(void *context, uint64_t number)
{
    (void)context, (void)number;
}

static uint32_t proc_caps(struct vd_cap *ret_caps, uint32_t room)
{
    return one_cap(ret_caps, room, VAProfileNone, VAEntrypointVideoProc);
}

static void proc_submit(void *context, struct backend_job *job)
{
    const struct backend_context_info *info = context;
    struct pixels pixels;
    uint8_t sum = 1;

    job->status = job->refused;
    for (uint32_t i = 0; !job->status && i < job->work->read_count; i++) {
        job->status = surface_read_pixels(&job->work->reads[i], &pixels);
        if (!job->status)
            sum = (uint8_t)(sum + pixels.bytes[0]);
    }
    if (!job->status)
        job->status = pool_get(job->surface, &job->backing);
    if (!job->status)
        job->backing->bytes[0] = sum;
    info->done(info->done_arg, job);
}

static const struct backend proc_backend = {
    .name = "proc",
    .caps = proc_caps,
    .context_create = plain_create,
    .submit = proc_submit,
    .flush = plain_flush,
    .context_destroy = held_destroy,
};

static uint32_t encode_caps(struct vd_cap *ret_caps, uint32_t room)
{
    return one_cap(ret_caps, room, VAProfileMPEG2Main, VAEntrypointEncSlice);
}

static int codec_read(void *state, const struct encode_picture *picture,
                      struct encode_request *ret_request)
{
    (void)state;
    if (picture->surface_width != 16 || picture->profile != VAProfileMPEG2Main)
        return VD_ERR_PARAMETER;
    ret_request->qp = picture->slice_count;
    return picture->param[ENCODE_PARAM_PICTURE] ? 0 : VD_ERR_PARAMETER;
}

static const struct encode_codec codec = {.codec = VD_CODEC_MPEG2, .read = codec_read};

static const struct encode_codec *find_codec(enum vd_codec which)
{
    return which == VD_CODEC_MPEG2 ? &codec : NULL;
}

static void encode_submit(void *context, struct backend_job *job)
{
    const struct backend_context_info *info = context;
    struct vd_coded head = {.size = 1};
    struct pixels pixels;

    job->status = job->refused;
    if (!job->status)
        job->status = surface_read_pixels(&job->work->reads[0], &pixels);
    if (!job->status) {
        memcpy(job->work->coded, &head, sizeof(head));
        job->work->coded[VD_CODED_HEAD] = pixels.bytes[0];
        job->coded_size = 1;
    }
    info->done(info->done_arg, job);
}

static const struct backend encode_backend = {
    .name = "encode",
    .caps = encode_caps,
    .encode_codec = find_codec,
    .context_create = plain_create,
    .submit = encode_submit,
    .flush = plain_flush,
    .context_destroy = held_destroy,
};

/* A worse encoder: it has another name for what the one before does, and something of its own. */
static uint32_t late_caps(struct vd_cap *ret_caps, uint32_t room)
{
    uint32_t n = one_cap(ret_caps, room, VAProfileMPEG2Main, VAEntrypointEncSliceLP);

    n += one_cap(ret_caps + n, room - n, VAProfileVP8Version0_3, VAEntrypointEncSlice);
    return n + one_cap(ret_caps + n, room - n, VAProfileVP8Version0_3, VAEntrypointEncSliceLP);
}

static const struct backend late_backend = {.name = "late", .caps = late_caps};

/* --- the guest */
static int context_of(uint32_t id, int profile, int entrypoint)
{
    struct vd_context_create_req req = {
        .context = id,
        .profile = (uint32_t)profile,
        .entrypoint = (uint32_t)entrypoint,
        .rt_formats = VA_RT_FORMAT_YUV420,
        .width = 16,
        .height = 16,
    };
    struct vd_context_create_rep rep;
    int err = guest_call(&f.guest, VD_OP_context_create, &req, NULL, 0, &rep);

    return err ? err : -(int)rep.status;
}

static int setup(void **state)
{
    struct guest *g = &f.guest;

    (void)state;
    memset(&f, 0, sizeof(f));
    g->arena.fd = -1;
    g->backends = (struct backend_set){
        .at = {{.backend = &held_backend},
               {.backend = &proc_backend},
               {.backend = &encode_backend},
               {.backend = &late_backend}},
        .count = 4,
        .name = "held+proc+encode+late",
    };
    g->limits = (struct session_limits){.contexts = 4, .surfaces = 40, .bytes = 64 << 20};
    if (mem_create_pair(&g->channel, &g->host_end))
        return 1;
    message_init(&g->reader, g->channel);
    g->running = pthread_create(&g->thread, NULL, guest_serve, g) == 0;
    assert_true(g->running);
    assert_int_equal(guest_hello(g), 0);
    assert_int_equal(context_of(DECODER, VAProfileH264High, VAEntrypointVLD), 0);
    assert_int_equal(context_of(SECOND, VAProfileH264High, VAEntrypointVLD), 0);
    assert_int_equal(context_of(PROC, VAProfileNone, VAEntrypointVideoProc), 0);
    assert_int_equal(context_of(ENCODER, VAProfileMPEG2Main, VAEntrypointEncSlice), 0);
    assert_int_equal(guest_surfaces(g, VA_FOURCC_NV12, SURFACE, 12), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(guest_stop(&f.guest), 0);
    return 0;
}

static int submit(uint32_t context, uint32_t surface, uint32_t sequence,
                  const struct vd_buffer_ref *refs, uint32_t count)
{
    struct vd_submit_req req = {
        .context = context,
        .surface = surface,
        .sequence = sequence,
        .submission = ++f.guest.submission,
    };

    return guest_oneway(&f.guest, VD_OP_submit, &req, refs, count);
}

static void decode(uint32_t context, uint32_t surface, uint32_t sequence)
{
    struct picture p;

    picture_idr(&p, surface);
    assert_int_equal(guest_submit(&f.guest, context, surface, sequence, &p), 0);
}

/* From up to two surfaces; id 0: none. */
static void process(uint32_t from, uint32_t second, uint32_t to, uint32_t sequence)
{
    struct vd_proc_pipeline p = {.surface = from};
    struct vd_buffer_ref refs[2];

    refs[0] = guest_buffer(&f.guest, VAProcPipelineParameterBufferType, &p, sizeof(p));
    p.surface = second;
    refs[1] = guest_buffer(&f.guest, VAProcPipelineParameterBufferType, &p, sizeof(p));
    assert_int_equal(submit(PROC, to, sequence, refs, second ? 2 : 1), 0);
}

static void encode(uint32_t surface, uint32_t sequence)
{
    VAEncPictureParameterBufferMPEG2 param = {0};
    uint8_t room[VD_CODED_HEAD + 64] = {0};
    struct vd_buffer_ref refs[2];

    refs[0] = guest_buffer(&f.guest, VAEncCodedBufferType, room, sizeof(room));
    refs[1] = guest_buffer(&f.guest, VAEncPictureParameterBufferType, &param, sizeof(param));
    f.coded = refs[0].offset;
    assert_int_equal(submit(ENCODER, surface, sequence, refs, 2), 0);
}

static void await(uint32_t context, uint32_t number)
{
    struct vd_context_slot *slot = &f.guest.arena.status->contexts[VD_SLOT(context)];

    assert_int_equal(fence_wait(&slot->done, &slot->waiters, number, GUEST_MS * 1000000ull,
                                guest_host_alive, &f.guest),
                     0);
}

/* So many pictures, no more. Who reads one may be faster than its context's `done`. */
static void assert_done(uint32_t context, uint32_t number)
{
    await(context, number);
    assert_int_equal(fence_load(&f.guest.arena.status->contexts[VD_SLOT(context)].done), number);
}

static uint8_t coded(void)
{
    struct vd_coded head;

    memcpy(&head, f.guest.arena.base + f.coded, sizeof(head));
    assert_int_equal(head.size, 1);
    return f.guest.arena.base[f.coded + VD_CODED_HEAD];
}

/* Who waits for the encoder waits for the decoder, two contexts before it. */
static void test_chain(void **state)
{
    (void)state;
    decode(DECODER, SURFACE, 1);
    decode(DECODER, SURFACE + 1, 1);
    process(SURFACE, 0, SURFACE + 2, 1);
    encode(SURFACE + 2, 2);
    assert_int_equal(guest_kick(&f.guest, ENCODER, 1), 0);
    await(ENCODER, 1);
    assert_int_equal(coded(), 11);
    /* The second picture is wanted by nobody. */
    assert_done(DECODER, 1);
    assert_done(PROC, 1);
    assert_int_equal(STATS_GET(f.guest.stats, decoded), 1);
    assert_int_equal(STATS_GET(f.guest.stats, processed), 1);
    assert_int_equal(STATS_GET(f.guest.stats, encoded), 1);
    assert_int_equal(STATS_GET(f.guest.stats, bytes_out), 1);
}

/* One picture of two decoders; and both are asked for no more than is needed. */
static void test_two_decoders(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        decode(DECODER, SURFACE + i, 1);
        decode(SECOND, SURFACE + 4 + i, 1);
    }
    process(SURFACE + 2, SURFACE + 5, SURFACE + 8, 1);
    assert_int_equal(guest_kick(&f.guest, PROC, 1), 0);
    assert_int_equal(guest_wait(&f.guest, SURFACE + 8, 1), 0);
    assert_int_equal(guest_pixels(&f.guest, SURFACE + 8)[0], 30 + 20 + 1);
    assert_done(DECODER, 3);
    assert_done(SECOND, 2);
}

/* Pictures before the one that is waited for are finished, too, with what those need. */
static void test_earlier_ones(void **state)
{
    (void)state;
    decode(DECODER, SURFACE, 1);
    decode(SECOND, SURFACE + 1, 1);
    process(SURFACE, 0, SURFACE + 2, 1);
    process(SURFACE + 1, 0, SURFACE + 3, 1);
    assert_int_equal(guest_kick(&f.guest, PROC, 2), 0);
    assert_int_equal(guest_wait(&f.guest, SURFACE + 3, 1), 0);
    assert_int_equal(guest_wait(&f.guest, SURFACE + 2, 1), 0);
}

/* Processing chained with itself, and a surface that is written again meanwhile. */
static void test_same_context(void **state)
{
    (void)state;
    decode(DECODER, SURFACE, 1);
    process(SURFACE, 0, SURFACE + 1, 1);
    process(SURFACE + 1, 0, SURFACE + 2, 1);
    decode(DECODER, SURFACE, 2);
    process(SURFACE + 2, SURFACE, SURFACE + 3, 1);
    encode(SURFACE + 3, 2);
    assert_int_equal(guest_kick(&f.guest, ENCODER, 1), 0);
    await(ENCODER, 1);
    assert_int_equal(coded(), 10 + 1 + 1 + 20 + 1);
}

/* A decoder that ends takes its pictures with it: who waits for them is told. */
static void test_decoder_ends(void **state)
{
    (void)state;
    decode(DECODER, SURFACE, 1);
    process(SURFACE, 0, SURFACE + 1, 1);
    encode(SURFACE + 1, 2);
    assert_int_equal(guest_context_destroy(&f.guest, DECODER), 0);
    await(ENCODER, 1);
    assert_int_equal(guest_wait(&f.guest, SURFACE + 1, 1), VD_ERR_GONE);
    assert_true(STATS_GET(f.guest.stats, failed) >= 1);
}

/* So does one that waits for others. */
static void test_reader_ends(void **state)
{
    (void)state;
    decode(DECODER, SURFACE, 1);
    process(SURFACE, 0, SURFACE + 1, 1);
    encode(SURFACE + 1, 2);
    assert_int_equal(guest_context_destroy(&f.guest, PROC), 0);
    await(ENCODER, 1);
    assert_int_equal(guest_context_destroy(&f.guest, ENCODER), 0);
    assert_int_equal(guest_kick(&f.guest, DECODER, 1), 0);
    assert_int_equal(guest_wait(&f.guest, SURFACE, 1), 0);
}

/* The session ends with everything on its way. */
static void test_leave(void **state)
{
    (void)state;
    decode(DECODER, SURFACE, 1);
    for (uint32_t i = 1; i <= 4; i++) {
        process(SURFACE, 0, SURFACE + i, 1);
        encode(SURFACE + i, 2);
    }
}

/* Surfaces may be destroyed while they are still needed. */
static void test_surfaces_destroyed(void **state)
{
    (void)state;
    decode(DECODER, SURFACE, 1);
    process(SURFACE, 0, SURFACE + 1, 1);
    encode(SURFACE + 1, 2);
    assert_int_equal(guest_surface_destroy(&f.guest, SURFACE), 0);
    assert_int_equal(guest_surface_destroy(&f.guest, SURFACE + 1), 0);
    assert_int_equal(guest_kick(&f.guest, ENCODER, 1), 0);
    await(ENCODER, 1);
    assert_int_equal(coded(), 11);
}

/* What an app can cause is an error of its picture, in order; the session goes on. */
static void test_refused(void **state)
{
    uint8_t room[VD_CODED_HEAD] = {0};
    struct vd_buffer_ref ref;

    (void)state;
    process(SURFACE + 99, 0, SURFACE, 1);
    assert_int_equal(guest_wait(&f.guest, SURFACE, 1), VD_ERR_ID);
    assert_int_equal(submit(PROC, SURFACE, 2, NULL, 0), 0);
    assert_int_equal(guest_wait(&f.guest, SURFACE, 2), VD_ERR_PARAMETER);
    ref = guest_buffer(&f.guest, VAEncCodedBufferType, room, sizeof(room));
    assert_int_equal(submit(ENCODER, SURFACE, 3, &ref, 1), 0);
    await(ENCODER, 1);
    encode(SURFACE + 1, 1);
    assert_int_equal(guest_kick(&f.guest, ENCODER, 2), 0);
    await(ENCODER, 2);
    assert_int_equal(coded(), 0);
    assert_int_equal(STATS_GET(f.guest.stats, failed), 3);
}

/* What an encoder refuses is not complete before the picture that it would have read. */
static void test_refused_input(void **state)
{
    uint8_t room[VD_CODED_HEAD] = {0};
    struct vd_buffer_ref ref;

    (void)state;
    decode(DECODER, SURFACE, 1);
    ref = guest_buffer(&f.guest, VAEncCodedBufferType, room, sizeof(room));
    assert_int_equal(submit(ENCODER, SURFACE, 2, &ref, 1), 0);
    assert_int_equal(guest_kick(&f.guest, ENCODER, 1), 0);
    assert_int_equal(guest_wait(&f.guest, SURFACE, 2), VD_ERR_PARAMETER);
    assert_int_equal(guest_pixels(&f.guest, SURFACE)[0], 10);
}

/* An encoder that ends leaves alone what is on its way to its input. */
static void test_encoder_ends(void **state)
{
    (void)state;
    decode(DECODER, SURFACE, 1);
    encode(SURFACE, 2);
    assert_int_equal(guest_context_destroy(&f.guest, ENCODER), 0);
    assert_int_equal(guest_kick(&f.guest, DECODER, 1), 0);
    assert_int_equal(guest_wait(&f.guest, SURFACE, 1), 0);
    assert_int_equal(guest_pixels(&f.guest, SURFACE)[0], 10);
}

/* The better encoder's codecs are its own, under any entry point. */
static void test_late_encoder(void **state)
{
    uint32_t mpeg2 = 0, vp8 = 0;

    (void)state;
    for (uint32_t i = 0; i < f.guest.cap_count; i++) {
        mpeg2 += f.guest.caps[i].profile == VAProfileMPEG2Main;
        vp8 += f.guest.caps[i].profile == VAProfileVP8Version0_3;
    }
    assert_int_equal(mpeg2, 1);
    assert_int_equal(vp8, 2);
}

/* Lies end the session. */
static void test_lies(void **state)
{
    struct vd_proc_pipeline p = {.surface = SURFACE, .filter_count = 1};
    struct vd_buffer_ref ref;

    (void)state;
    ref = guest_buffer(&f.guest, VAProcPipelineParameterBufferType, &p, sizeof(p));
    assert_int_equal(submit(PROC, SURFACE + 1, 1, &ref, 1), 0);
    guest_join(&f.guest);
    assert_int_equal(f.guest.result, VD_ERR_PROTOCOL);
    f.guest.result = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_chain),         TEST(test_two_decoders),       TEST(test_earlier_ones),
        TEST(test_same_context),  TEST(test_decoder_ends),       TEST(test_reader_ends),
        TEST(test_leave),         TEST(test_surfaces_destroyed), TEST(test_refused),
        TEST(test_refused_input), TEST(test_encoder_ends),       TEST(test_late_encoder),
        TEST(test_lies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
