/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <compute/cuda/cuda.h>

/*
 * A program for CUDA at a host, for what its service has to stand: see cuda.py. The first argument
 * says what it does; the exit code is 0 if all was as it should be.
 */

static const char text[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".global .align 1 .b8 words[10] = {104, 101, 108, 108, 111, 32, 37, 100, 10, 0};\n"
    ".extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);\n"
    ".visible .entry loop() { .reg .pred %p; .reg .b32 %r;\n"
    "  mov.u32 %r, 0; again: add.u32 %r, %r, 1; setp.ne.u32 %p, %r, 0xffffffff;\n"
    "  @%p bra again; bra again; }\n"
    ".visible .entry add(.param .u64 out, .param .u32 n, .param .u32 value) {\n"
    "  .reg .pred %p; .reg .b32 %r<6>; .reg .b64 %d<3>;\n"
    "  ld.param.u64 %d1, [out]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [value];\n"
    "  mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
    "  mad.lo.u32 %r3, %r3, %r4, %r5; setp.ge.u32 %p, %r3, %r1; @%p bra done;\n"
    "  mul.wide.u32 %d2, %r3, 4; add.u64 %d1, %d1, %d2;\n"
    "  ld.global.u32 %r4, [%d1]; add.u32 %r4, %r4, %r2; st.global.u32 [%d1], %r4;\n"
    "done: ret; }\n"
    ".visible .entry say() { .local .align 8 .b8 args[8]; .reg .b64 %d<3>; .reg .b32 %r<3>;\n"
    "  mov.u32 %r1, 42; mov.u64 %d1, args; st.local.u32 [%d1], %r1;\n"
    "  cvta.local.u64 %d1, %d1; mov.u64 %d2, words; cvta.global.u64 %d2, %d2;\n"
    "  { .param .b64 a; .param .b64 b; .param .b32 r;\n"
    "  st.param.b64 [a], %d2; st.param.b64 [b], %d1;\n"
    "  call.uni (r), vprintf, (a, b); ld.param.b32 %r2, [r]; } ret; }\n"
    ".visible .entry empty() { ret; }\n";

static CUcontext context;
static CUmodule module;

static void check(CUresult got, CUresult want, const char *what, int line)
{
    const char *name;

    if (got == want)
        return;
    cuGetErrorName(got, &name);
    fprintf(stderr, "line %d: %s: %s (%d), not %d\n", line, what, name ? name : "?", (int)got,
            (int)want);
    exit(1);
}
#define WANT(call, want) check(call, want, #call, __LINE__)
#define OK(call)         WANT(call, CUDA_SUCCESS)
#define TRUE(what)       check((what) ? 0 : 1, 0, #what, __LINE__)

static void begin(void)
{
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuModuleLoadData(&module, text));
}

static CUresult launch(const char *name, CUstream stream, void **parameters)
{
    CUfunction f;

    OK(cuModuleGetFunction(&f, module, name));
    return cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, stream, parameters, NULL);
}

/* That it works, from a new context to a result. */
static void works(void)
{
    unsigned n = 32, value = 3, host[32] = {1, 2};
    CUdeviceptr d;
    void *parameters[] = {&d, &n, &value};

    begin();
    OK(cuMemAlloc_v2(&d, sizeof(host)));
    OK(cuMemcpyHtoD_v2(d, host, sizeof(host)));
    OK(launch("add", NULL, parameters));
    OK(cuMemcpyDtoH_v2(host, d, sizeof(host)));
    TRUE(host[0] == 4 && host[1] == 5 && host[31] == 3);
    OK(cuMemFree_v2(d));
    OK(cuCtxDestroy_v2(context));
}

/* A kernel that does not end is ended by the host's limit. */
static void run_limit(void)
{
    begin();
    OK(launch("loop", NULL, NULL));
    WANT(cuCtxSynchronize(), CUDA_ERROR_LAUNCH_TIMEOUT);
    OK(cuCtxDestroy_v2(context));
    works();
}

/* The worker is killed meanwhile. */
static void run_killed(void)
{
    CUdeviceptr d;
    void *pinned;

    begin();
    OK(cuMemAlloc_v2(&d, 1000));
    OK(cuMemHostAlloc(&pinned, 10000, 0));
    OK(launch("loop", NULL, NULL));
    printf("running\n");
    fflush(stdout);
    WANT(cuCtxSynchronize(), CUDA_ERROR_LAUNCH_FAILED);
    WANT(cuMemAlloc_v2(&d, 4), CUDA_ERROR_LAUNCH_FAILED);
    memset(pinned, 1, 10000); /* still there */
    OK(cuCtxDestroy_v2(context));
    works();
}

/* A fault, on which the log has a sentence. */
static void run_fault(void)
{
    unsigned n = 32, value = 3;
    CUdeviceptr d = 16;
    void *parameters[] = {&d, &n, &value};

    begin();
    OK(launch("add", NULL, parameters));
    WANT(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    WANT(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    OK(cuCtxDestroy_v2(context));
    works();
}

/* A child, which has no part in it, ends meanwhile. */
static void run_fork(void)
{
    unsigned n = 32, value = 3, host[32] = {1, 2};
    CUdeviceptr d;
    void *parameters[] = {&d, &n, &value};
    int status = 1, count;
    pid_t child;

    begin();
    OK(cuMemAlloc_v2(&d, sizeof(host)));
    OK(cuMemcpyHtoD_v2(d, host, sizeof(host)));
    child = fork();
    if (!child)
        exit(cuDeviceGetCount(&count) != CUDA_ERROR_NOT_INITIALIZED);
    TRUE(waitpid(child, &status, 0) == child && !status);
    OK(launch("add", NULL, parameters));
    OK(cuMemcpyDtoH_v2(host, d, sizeof(host)));
    TRUE(host[0] == 4 && host[31] == 3);
    OK(cuCtxDestroy_v2(context));
}

/* Leaves without a word while a kernel runs. */
static void run_leave(void)
{
    begin();
    OK(launch("loop", NULL, NULL));
    printf("running\n");
    fflush(stdout);
    _exit(0);
}

/* The host's limit on memory is 64 MiB here. */
/* What a stream frees counts until the stream has come so far. */
static void run_quota_later(void)
{
    CUdeviceptr flag, d;
    CUstream held, other;

    begin();
    OK(cuMemAlloc_v2(&flag, 4));
    OK(cuMemsetD32_v2(flag, 0, 1));
    OK(cuStreamCreate(&held, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    OK(cuStreamWaitValue32_v2(held, flag, 1, CU_STREAM_WAIT_VALUE_EQ));
    for (int i = 0; i < 3; i++) {
        OK(cuMemAllocAsync(&d, 20 << 20, held));
        OK(cuMemFreeAsync(d, held));
    }
    WANT(cuMemAlloc_v2(&d, 20 << 20), CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuStreamWriteValue32_v2(other, flag, 1, 0));
    OK(cuStreamSynchronize(held));
    OK(cuMemAlloc_v2(&d, 60 << 20));
    OK(cuCtxDestroy_v2(context));
}

static void run_quota(void)
{
    size_t available, total;
    CUdeviceptr d[4];

    begin();
    OK(cuMemGetInfo_v2(&available, &total));
    TRUE(total == 64 << 20 && available <= total);
    for (int i = 0; i < 3; i++)
        OK(cuMemAlloc_v2(&d[i], 20 << 20));
    WANT(cuMemAlloc_v2(&d[3], 20 << 20), CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuMemFree_v2(d[1]));
    OK(cuMemAlloc_v2(&d[3], 20 << 20));
    OK(cuCtxDestroy_v2(context));
    run_quota_later();
    works();
}

static void run_print(void)
{
    begin();
    OK(launch("say", NULL, NULL));
    OK(cuCtxSynchronize());
    OK(cuCtxDestroy_v2(context));
}

/* Streams and events by the thousand, each with work of its own. */
static void run_streams(void)
{
    enum { STREAMS = 4000 };
    static CUstream streams[STREAMS];
    static CUevent events[STREAMS];
    static unsigned host[STREAMS];
    unsigned n = 1, value = 1;
    CUdeviceptr d, at;
    void *parameters[] = {&at, &n, &value};
    float ms;

    begin();
    OK(cuMemAlloc_v2(&d, sizeof(host)));
    OK(cuMemsetD32_v2(d, 7, STREAMS));
    OK(cuCtxSynchronize());
    for (unsigned i = 0; i < STREAMS; i++) {
        OK(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
        OK(cuEventCreate(&events[i], 0));
        at = d + 4 * i;
        if (i)
            OK(cuStreamWaitEvent(streams[i], events[i - 1], 0));
        OK(launch("add", streams[i], parameters));
        OK(cuEventRecord(events[i], streams[i]));
    }
    OK(cuEventSynchronize(events[STREAMS - 1]));
    OK(cuEventElapsedTime(&ms, events[0], events[STREAMS - 1]));
    TRUE(ms > 0);
    OK(cuMemcpyDtoH_v2(host, d, sizeof(host)));
    for (unsigned i = 0; i < STREAMS; i++) {
        TRUE(host[i] == 8);
        OK(cuStreamDestroy_v2(streams[i]));
        OK(cuEventDestroy_v2(events[i]));
    }
    OK(cuCtxDestroy_v2(context));
    works();
}

/* More than the staging memory holds, to and fro, in rows and whole. */
static void run_large(void)
{
    size_t size = 40 << 20;
    unsigned *host = malloc(size), *back = malloc(size);
    CUstream stream;
    CUdeviceptr d;
    CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                       .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                       .srcPitch = 10007,
                       .dstPitch = 10240,
                       .WidthInBytes = 9999,
                       .Height = 4000};

    TRUE(host && back);
    for (size_t i = 0; i < size / 4; i++)
        host[i] = (unsigned)i * 2654435761u;
    begin();
    OK(cuStreamCreate(&stream, 0));
    OK(cuMemAlloc_v2(&d, size + (1 << 20)));
    /* Thirty of them are more than there is room for: they have to wait for each other. */
    for (int i = 0; i < 30; i++)
        OK(cuMemcpyHtoDAsync_v2(d, host, size, stream));
    memset(back, 0, size);
    OK(cuMemcpyDtoHAsync_v2(back, d, size, stream));
    OK(cuStreamSynchronize(stream));
    TRUE(!memcmp(host, back, size));
    c.srcHost = host;
    c.dstDevice = d;
    OK(cuMemcpy2D_v2(&c));
    memset(back, 0, size);
    c = (CUDA_MEMCPY2D){.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstMemoryType = CU_MEMORYTYPE_HOST,
                        .srcDevice = d,
                        .srcPitch = 10240,
                        .dstHost = back,
                        .dstPitch = 10007,
                        .WidthInBytes = 9999,
                        .Height = 4000};
    OK(cuMemcpy2D_v2(&c));
    for (size_t y = 0; y < 4000; y++) {
        TRUE(!memcmp((char *)host + y * 10007, (char *)back + y * 10007, 9999));
        TRUE(y == 3999 || !((char *)back)[y * 10007 + 10000]);
    }
    OK(cuCtxDestroy_v2(context));
    free(host);
    free(back);
}

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* What waits once each: a question that the host answers from memory, which is the channel's own
 * round trip, and what programs do. */
static void bench_waits(CUfunction f, CUdeviceptr d)
{
    enum { ROUNDS = 4000, WAYS = 3 };
    static const char *const names[WAYS] = {"a question and its answer", "launch and wait",
                                            "four bytes from the device"};
    static double took[WAYS][ROUNDS];
    size_t available, total;
    unsigned word;

    /* In turns, so that all have the same of what else the machine does. */
    for (int i = 0; i < ROUNDS; i++)
        for (int way = 0; way < WAYS; way++) {
            double start = now_us();

            if (way == 0)
                OK(cuMemGetInfo_v2(&available, &total));
            if (way == 1) {
                OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
                OK(cuCtxSynchronize());
            }
            if (way == 2)
                OK(cuMemcpyDtoH_v2(&word, d, 4));
            took[way][i] = now_us() - start;
        }
    for (int way = 0; way < WAYS; way++) {
        qsort(took[way], ROUNDS, sizeof(took[way][0]), by_value);
        printf("%s: p50 %.1f us, p99 %.1f us\n", names[way], took[way][ROUNDS / 2],
               took[way][ROUNDS * 99 / 100]);
    }
}

/* Times, for docs/PERFORMANCE.md. */
static void run_bench(void)
{
    enum { N = 300000 };
    size_t size = 64 << 20;
    unsigned char *pinned, *own = malloc(size);
    double start, enqueued, done;
    CUfunction f;
    CUdeviceptr d;

    begin();
    OK(cuModuleGetFunction(&f, module, "empty"));
    for (int pass = 0; pass < 2; pass++) {
        start = now_us();
        for (int i = 0; i < N; i++)
            OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
        enqueued = now_us();
        OK(cuCtxSynchronize());
        done = now_us();
    }
    printf("launch: %.2f us to enqueue, %.0f a second to their end\n", (enqueued - start) / N,
           N / (done - start) * 1e6);
    TRUE(own);
    memset(own, 1, size);
    OK(cuMemAlloc_v2(&d, size));
    bench_waits(f, d);
    OK(cuMemHostAlloc((void **)&pinned, size, 0));
    memset(pinned, 2, size);
    for (int way = 0; way < 4; way++) {
        void *host = way & 1 ? pinned : own;
        double best = 1e12;

        for (int i = 0; i < 8; i++) {
            start = now_us();
            OK(way & 2 ? cuMemcpyDtoH_v2(host, d, size) : cuMemcpyHtoD_v2(d, host, size));
            done = now_us() - start;
            best = done < best ? done : best;
        }
        printf("%s %s: %.2f GB/s\n", way & 2 ? "from the device to" : "to the device from",
               way & 1 ? "pinned memory" : "other memory", (double)size / best / 1e3);
    }
    start = now_us();
    memcpy(own, pinned, size);
    printf("memcpy here: %.2f GB/s\n", (double)size / (now_us() - start) / 1e3);
    OK(cuCtxDestroy_v2(context));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {
        {"works", works},         {"fault", run_fault}, {"fork", run_fork},   {"limit", run_limit},
        {"killed", run_killed},   {"leave", run_leave}, {"quota", run_quota}, {"print", run_print},
        {"streams", run_streams}, {"large", run_large}, {"bench", run_bench},
    };

    for (size_t i = 0; argc == 2 && i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(argv[1], all[i].name))
            continue;
        OK(cuInit(0));
        all[i].run();
        return 0;
    }
    fprintf(
        stderr,
        "usage: cuda_client works|fault|fork|limit|killed|leave|quota|print|streams|large|bench\n");
    return 2;
}
