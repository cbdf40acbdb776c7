/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>

#include <cmocka.h>

#include <compute/cuda/backend/native.h>

/* The backend on a machine's libcuda: what it reads out of PTX, and its queues over Viaduct's own.
 */

static const struct {
    const char *text, *is;
} scans[] = {
    /* kernel(offset+size/align ...), then =variable */
    {".entry none {ret;}", "none()"},
    {".visible .entry a(.param .u64 p, .param .u32 n) { ret; }", "a(0+8/8 8+4/4)"},
    {".entry a(.param .u8 c, .param .u64 p) {}", "a(0+1/1 8+8/8)"},
    {".entry a(.param .align 16 .b8 s[20], .param .f32 x) {}", "a(0+20/16 20+4/4)"},
    {".entry a(.param .u64 .ptr .global .align 4 p) {}", "a(0+8/8)"},
    {".entry a(.param .align 8 .b8 s[4], .param .b16 h) .maxntid 32, 1, 1 { ret; }",
     "a(0+4/8 4+2/2)"},
    {".entry a(.param .v4 .f32 v) {}", "a(0+16/16)"},
    {".entry a() { { .reg .u32 x; } bra L; L: ret; } .entry b() {}", "a() b()"},
    {".entry a(.param .u32 n); .entry a(.param .u32 n) { ret; }", "a(0+4/4)"},
    {".func (.param .u32 r) f(.param .u32 n) { .global .u32 not; ret; } .entry a() {}", "a()"},
    {".global .align 4 .u32 x = 5; .const .f32 y[3] = {1.0, 2.0, 3.0};", "=x =y"},
    {".extern .global .u32 far; .visible .global .u64 at = generic(x)+4, more;", "=at =more"},
    {".weak .global .align 8 .b8 s[8] = {0, {1}, 2};\n// .entry no() {}\n/* .entry */ .entry b(){}",
     "b() =s"},
    {".file 1 \"x.cu\"\n.section .debug_info { .b8 1, 2 } .entry a(.param .b64 p) {}", "a(0+8/8)"},
    {".extern .func f(.param .u32 n) .global .u32 x; .extern .func g() .entry a() {}", "a() =x"},
    {".entry a(.param .u32", NULL},
    {".entry", NULL},
    {".entry a(.param .u32 x[99999]) {}", NULL},
    {".entry a(.param .align 3 .b8 x[4]) {}", NULL},
    {".entry a(.param .b8 x[32768], .param .u8 y) {}", NULL},
    {"{{{{", ""},
    {"}}} ) ; ,", ""},
    {".global", ""},
    {"", ""},
};

static void put(char *text, size_t room, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + used, room - used, format, args);
    va_end(args);
}

static void test_scan(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scans) / sizeof(scans[0]); i++) {
        struct native_ptx p;
        char text[512] = "";
        int err = native_ptx_scan(scans[i].text, strlen(scans[i].text), &p);

        for (unsigned k = 0; k < p.kernel_count; k++) {
            const struct native_ptx_kernel *kernel = &p.kernels[k];

            put(text, sizeof(text), "%s%s(", *text ? " " : "", kernel->name);
            for (uint32_t j = 0; j < kernel->parameter_count; j++) {
                const struct cuda_parameter *at = &p.parameters[kernel->parameter_first + j];

                put(text, sizeof(text), "%s%u+%u/%u", j ? " " : "", at->offset, at->size,
                    at->align);
            }
            put(text, sizeof(text), ")");
        }
        for (unsigned k = 0; k < p.global_count; k++)
            put(text, sizeof(text), "%s=%s", *text ? " " : "", p.globals[k]);
        native_ptx_finish(&p);
        if (!scans[i].is)
            assert_int_not_equal(err, 0);
        else if (err || strcmp(text, scans[i].is))
            fail_msg("%s: error %d, %s, not %s", scans[i].text, err, text, scans[i].is);
    }
}

/* Whatever stands there. */
static void test_scan_broken(void **state)
{
    static const char text[] = ".visible .entry a(.param .align 16 .b8 s[20], .param .u64 .ptr p) "
                               "{ ret; } .global .align 4 .b8 x[4] = {1, 2}; .const .u32 y;";
    char broken[sizeof(text)];
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct native_ptx p;

        memcpy(broken, text, sizeof(text));
        for (int i = 0; i < 1 + round % 4; i++) {
            seed = seed * 1103515245 + 12345;
            broken[(seed >> 8) % (sizeof(text) - 1)] = "(){}[],;.= 9ax\n"[(seed >> 24) % 15];
        }
        native_ptx_scan(broken, (seed >> 8) % sizeof(text), &p);
        native_ptx_finish(&p);
    }
}

static const struct cuda_backend *b = &cuda_backend_native;
static struct cuda_device *device;
static struct cuda_context *context;

static const char kernels[] =
    ".version 7.0\n.target sm_80\n.address_size 64\n"
    ".visible .global .u32 step = 5;\n"
    ".visible .entry add(.param .u64 at)\n{\n"
    "    .reg .b32 %r<4>;\n    .reg .b64 %d<4>;\n"
    "    ld.param.u64 %d1, [at];\n    ld.global.u32 %r1, [%d1];\n"
    "    ld.global.u32 %r2, [step];\n    add.u32 %r1, %r1, %r2;\n"
    "    st.global.u32 [%d1], %r1;\n    ret;\n}\n"
    ".visible .entry bad()\n{\n    .reg .b32 %r<2>;\n    .reg .b64 %d<2>;\n"
    "    mov.u64 %d1, 64;\n    st.global.u32 [%d1], %r1;\n    ret;\n}\n";

static int setup(void **state)
{
    char text[128] = "";

    (void)state;
    native_set_library(getenv("TEST_LIBCUDA"));
    return native_probe(text, sizeof(text)) || !*text || native_load() || b->open(0, &device) ||
           b->context_create(device, &context);
}

static int teardown(void **state)
{
    (void)state;
    b->context_destroy(context);
    return 0;
}

static struct cuda_queue *queue(void)
{
    struct cuda_queue *q;

    assert_int_equal(b->queue_create(context, 0, &q), 0);
    return q;
}

static uint64_t wait_for(struct cuda_queue *q, struct cuda_queue *other, uint64_t number)
{
    return b->submit(q, &(struct cuda_command){.kind = CUDA_WAIT, .wait = {other, number}});
}

static uint64_t nothing(struct cuda_queue *q)
{
    return b->submit(q, &(struct cuda_command){.kind = CUDA_NOTHING});
}

static uint64_t copy(struct cuda_queue *q, struct cuda_side to, struct cuda_side from,
                     uint64_t width, uint64_t height)
{
    return b->submit(
        q, &(struct cuda_command){
               .kind = CUDA_COPY,
               .copy = {.to = to, .from = from, .width = width, .height = height, .depth = 1}});
}

static struct cuda_side host(void *memory, uint64_t pitch)
{
    return (struct cuda_side){.host = true, .address = (uintptr_t)memory, .pitch = pitch};
}

static struct cuda_side there(uint64_t address, uint64_t pitch)
{
    return (struct cuda_side){.address = address, .pitch = pitch};
}

/* A queue waits for what another is given later. */
static void test_future(void **state)
{
    struct cuda_queue *first = queue(), *second = queue();
    uint64_t number = wait_for(first, second, 2), more;

    (void)state;
    more = nothing(first);
    assert_int_equal(more, number + 1);
    nothing(second);
    assert_false(b->done(first, number));
    nothing(second);
    b->wait(first, more);
    assert_true(b->done(second, 2));
    b->queue_release(first);
    b->queue_release(second);
}

static void set_flag(void *user, int error)
{
    __atomic_store_n((int *)user, error ? error : 1, __ATOMIC_RELEASE);
}

/* A function of the program runs before what comes behind it. */
static void test_call(void **state)
{
    struct cuda_queue *gate = queue(), *q = queue();
    uint64_t number;
    int flag = 0;

    (void)state;
    wait_for(q, gate, 1);
    b->submit(q, &(struct cuda_command){.kind = CUDA_CALL, .call = {set_flag, &flag}});
    number = nothing(q);
    assert_int_equal(__atomic_load_n(&flag, __ATOMIC_ACQUIRE), 0);
    nothing(gate);
    b->wait(q, number);
    assert_int_equal(__atomic_load_n(&flag, __ATOMIC_ACQUIRE), 1);
    b->queue_release(q);
    b->queue_release(gate);
}

/* Memory of the program that nobody has registered, while the stream cannot go on. */
static void test_copies(void **state)
{
    struct cuda_queue *gate = queue(), *q = queue();
    uint8_t in[4][16], out[4][32], moved[16] = {0};
    uint64_t address, number;

    (void)state;
    memset(in, 1, sizeof(in));
    memset(out, 0, sizeof(out));
    assert_int_equal(b->memory_create(device, context, 4096, &address), 0);
    wait_for(q, gate, 1);
    copy(q, there(address, 64), host(in, 16), 10, 4);
    copy(q, host(out, 32), there(address, 64), 10, 4);
    number = copy(q, host(moved, 16), host(out[3], 16), 16, 1);
    /* It is read when the stream comes to it. */
    for (int i = 0; i < 64; i++)
        in[i / 16][i % 16] = (uint8_t)i;
    nothing(gate);
    b->wait(q, number);
    assert_int_equal(context->error, 0);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 32; x++)
            assert_int_equal(out[y][x], x < 10 ? y * 16 + x : 0);
    assert_memory_equal(moved, out[3], 16);
    /* What a queue frees is gone once it came so far. */
    number = b->submit(q, &(struct cuda_command){.kind = CUDA_FREE, .free = address});
    b->wait(q, number);
    b->queue_release(q);
    b->queue_release(gate);
}

static _Atomic unsigned sets; /* that the driver was given */
static __typeof__(cuMemsetD32Async) *real_set;

static CUresult counting_set(CUdeviceptr address, unsigned value, size_t count, CUstream stream)
{
    atomic_fetch_add(&sets, 1);
    return real_set(address, value, count, stream);
}

static void look(void *user, int error)
{
    (void)error;
    *(unsigned *)user = atomic_load(&sets);
}

/* More than a driver takes at a time: submitting never waits, and the order stays. */
static void test_many(void **state)
{
    enum { MANY = 5000 };
    struct cuda_queue *gate = queue(), *q = queue(), *other = queue();
    unsigned got[2] = {0}, at_call = 0, given;
    uint64_t address, number = 0, half = 0;

    (void)state;
    assert_int_equal(b->memory_create(device, context, 4096, &address), 0);
    atomic_store(&sets, 0);
    real_set = native.cuMemsetD32Async;
    native.cuMemsetD32Async = counting_set;
    wait_for(q, gate, 1);
    for (unsigned i = 0; i < MANY; i++) {
        number = b->submit(q, &(struct cuda_command){.kind = CUDA_SET,
                                                     .set = {.address = address,
                                                             .value = i,
                                                             .element = 4,
                                                             .pitch = 4,
                                                             .width = 1,
                                                             .height = 1}});
        assert_true(number);
        if (i == MANY / 2) {
            half = copy(q, host(&got[0], 4), there(address, 4), 4, 1);
            b->submit(q, &(struct cuda_command){.kind = CUDA_CALL, .call = {look, &at_call}});
        }
    }
    number = copy(q, host(&got[1], 4), there(address, 4), 4, 1);
    /* A number that the driver has not been given yet. */
    wait_for(other, q, half);
    given = atomic_load(&sets);
    assert_true(given < 300);
    assert_false(b->done(q, 2));
    nothing(gate);
    b->wait(other, 1);
    assert_int_equal(got[0], MANY / 2);
    b->wait(q, number);
    assert_int_equal(got[1], MANY - 1);
    assert_int_equal(atomic_load(&sets), MANY);
    assert_true(at_call > MANY / 2);
    assert_int_equal(context->error, 0);
    native.cuMemsetD32Async = real_set;
    b->memory_destroy(device, address);
    b->queue_release(other);
    b->queue_release(q);
    b->queue_release(gate);
}

static void test_kernels(void **state)
{
    struct cuda_queue *q = queue();
    struct cuda_module *m;
    struct cuda_stamp *before, *after;
    uint64_t address, number, time = 0;
    uint32_t value = 37, got = 0;
    char log[1024] = "";

    (void)state;
    assert_int_equal(b->module_create(context, "this is no PTX", 14, log, sizeof(log), &m),
                     CUDA_ERROR_INVALID_PTX);
    assert_string_not_equal(log, "");
    assert_int_equal(b->module_create(context, kernels, sizeof(kernels) - 1, log, sizeof(log), &m),
                     0);
    assert_int_equal(m->kernel_count, 2);
    assert_int_equal(m->kernels[0].parameter_bytes, 8);
    assert_true(m->kernels[0].registers > 0);
    assert_int_equal(m->global_count, 1);
    assert_int_equal(m->globals[0].size, 4);
    assert_int_equal(b->memory_create(device, context, 64, &address), 0);
    assert_int_equal(b->stamp_create(&before), 0);
    assert_int_equal(b->stamp_create(&after), 0);
    b->submit(q, &(struct cuda_command){.kind = CUDA_STAMP, .stamp = {before, NULL}});
    copy(q, there(address, 4), host(&value, 4), 4, 1);
    b->submit(q, &(struct cuda_command){.kind = CUDA_LAUNCH,
                                        .launch = {.kernel = m->kernels[0].kernel,
                                                   .grid = {1, 1, 1},
                                                   .block = {1, 1, 1},
                                                   .parameters = &address,
                                                   .parameter_bytes = 8}});
    copy(q, host(&got, 4), there(address, 4), 4, 1);
    number = b->submit(q, &(struct cuda_command){.kind = CUDA_STAMP, .stamp = {after, &time}});
    b->wait(q, number);
    assert_int_equal(got, 42);
    assert_true(b->stamp_time(before) && b->stamp_time(before) <= b->stamp_time(after));
    assert_int_equal(time, b->stamp_time(after));
    b->stamp_release(before);
    b->stamp_release(after);
    assert_int_equal(b->memory_destroy(device, address), 0);
    b->queue_release(q);
    b->module_destroy(m);
}

/* A fault ends one context, what waits in it, and not the other. */
static void test_fault(void **state)
{
    struct cuda_context *other;
    struct cuda_queue *q, *never, *own = queue();
    struct cuda_module *m;
    uint64_t number;

    (void)state;
    assert_int_equal(b->context_create(device, &other), 0);
    assert_int_equal(b->module_create(other, kernels, sizeof(kernels) - 1, NULL, 0, &m), 0);
    assert_int_equal(b->queue_create(other, 0, &q), 0);
    assert_int_equal(b->queue_create(other, 0, &never), 0);
    b->submit(
        q, &(struct cuda_command){
               .kind = CUDA_LAUNCH,
               .launch = {.kernel = m->kernels[1].kernel, .grid = {1, 1, 1}, .block = {1, 1, 1}}});
    number = wait_for(q, never, 99);
    b->wait(q, number);
    assert_int_equal(other->error, CUDA_ERROR_ILLEGAL_ADDRESS);
    /* Numbers still come to pass. */
    b->wait(q, nothing(q));
    b->queue_release(q);
    b->queue_release(never);
    b->module_destroy(m);
    b->context_destroy(other);
    b->wait(own, nothing(own));
    assert_int_equal(context->error, 0);
    b->queue_release(own);
}

/* Somebody gives up. */
static void test_abort(void **state)
{
    struct cuda_context *other;
    struct cuda_queue *q, *never;
    uint64_t number;

    (void)state;
    assert_int_equal(b->context_create(device, &other), 0);
    assert_int_equal(b->queue_create(other, 0, &q), 0);
    assert_int_equal(b->queue_create(other, 0, &never), 0);
    number = wait_for(q, never, 1);
    b->abort(other, CUDA_ERROR_CONTEXT_IS_DESTROYED);
    b->wait(q, number);
    assert_int_equal(other->error, CUDA_ERROR_CONTEXT_IS_DESTROYED);
    b->queue_release(q);
    b->queue_release(never);
    b->context_destroy(other);
}

int main(void)
{
    static const struct CMUnitTest texts[] = {
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_scan_broken),
    };
    static const struct CMUnitTest queues[] = {
        cmocka_unit_test(test_future),  cmocka_unit_test(test_call),
        cmocka_unit_test(test_copies),  cmocka_unit_test(test_many),
        cmocka_unit_test(test_kernels), cmocka_unit_test(test_fault),
        cmocka_unit_test(test_abort),
    };
    int failed = cmocka_run_group_tests(texts, NULL, NULL);

    return failed ? failed : cmocka_run_group_tests(queues, setup, teardown);
}
