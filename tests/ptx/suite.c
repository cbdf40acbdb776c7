/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef OVER_CUDA
#include "../cuda/over_cuda.h"
#else
#include <compute/cuda/ptx/ptx.h>
#endif

/*
 * Runs the kernels of kernels.cu, as clang made PTX of them, and compares with plain C.
 *
 *   suite KERNELS.ptx           all, once
 *   suite --bench KERNELS.ptx   larger, with times: the executor, one thread of plain C
 */

#define SKIPPED 77

static struct ptx_context *context;
static struct ptx_module *module;
static char printed[4096];
static int failures;
static bool bench;

static void keep(void *user, const char *text, size_t size)
{
    size_t used = strlen(printed);

    (void)user;
    if (used + size < sizeof(printed))
        memcpy(printed + used, text, size);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *room(size_t size)
{
    void *p = calloc(1, size);

    if (!p)
        abort();
    return p;
}

static uint64_t device(const void *data, size_t size)
{
    uint64_t address;

    if (ptx_memory_create(context, size, &address) ||
        (data && ptx_memory_write(context, address, data, size)))
        abort();
    return address;
}

static uint32_t random_word(void)
{
    static uint64_t state = 88172645463325252ull;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20);
}

static int *ints(size_t n, uint32_t below)
{
    int *v = room(n * sizeof(*v));

    for (size_t i = 0; i < n; i++)
        v[i] = (int)(random_word() % below);
    return v;
}

static float *floats(size_t n)
{
    float *v = room(n * sizeof(*v));

    for (size_t i = 0; i < n; i++)
        v[i] = (float)(random_word() % 2000) / 1000 - 1;
    return v;
}

struct shape {
    uint32_t grid[2], block[2], shared;
};

static double launch(const char *name, struct shape shape, const void *parameters, size_t size)
{
    struct ptx_kernel *kernel;
    struct ptx_result result;
    struct ptx_launch l = {.grid = {shape.grid[0], shape.grid[1], 1},
                           .block = {shape.block[0], shape.block[1], 1},
                           .shared_bytes = shape.shared,
                           .parameters = parameters,
                           .parameter_bytes = size};
    double start = now();

    result.text[0] = '\0';
    if (ptx_module_kernel(module, name, &kernel) || ptx_launch(kernel, &l, &result)) {
        fprintf(stderr, "%s: not run: %s\n", name, result.text);
        failures++;
    }
    return now() - start;
}

/* Bytes are to be the same; frees both. */
static void compare(const char *name, uint64_t address, void *expected, size_t size, double took,
                    double plain)
{
    unsigned char *got = room(size);

    if (ptx_memory_read(context, address, got, size))
        abort();
    if (memcmp(got, expected, size)) {
        size_t at = 0;

        while (got[at] == ((unsigned char *)expected)[at])
            at++;
        fprintf(stderr, "%s: byte %zu of %zu differs\n", name, at, size);
        failures++;
    }
    if (bench)
        printf("%-14s %9.2f ms %9.2f ms %7.2f\n", name, took * 1e3, plain * 1e3,
               plain > 0 ? took / plain : 0);
    free(got);
    free(expected);
    ptx_memory_destroy(context, address);
}

static void run_vector_add(void)
{
    uint32_t n = bench ? 4000000 : 10001;
    float *a = floats(n), *b = floats(n), *c = room(n * 4);
    struct {
        uint64_t a, b, c;
        uint32_t n;
    } p = {device(a, n * 4), device(b, n * 4), device(NULL, n * 4), n};
    double took = launch("vector_add", (struct shape){{(n + 255) / 256, 1}, {256, 1}, 0}, &p, 28);
    double start = now();

    for (uint32_t i = 0; i < n; i++)
        c[i] = a[i] + b[i];
    compare("vector_add", p.c, c, n * 4, took, now() - start);
    free(a);
    free(b);
}

static void run_matmul(void)
{
    uint32_t n = bench ? 512 : 48;
    float *a = floats(n * n), *b = floats(n * n), *c = room(n * n * 4);
    struct {
        uint64_t a, b, c;
        uint32_t n;
    } p = {device(a, n * n * 4), device(b, n * n * 4), device(NULL, n * n * 4), n};
    double took = launch("matmul", (struct shape){{n / 16, n / 16}, {16, 16}, 0}, &p, 28);
    double start = now();

    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            float sum = 0;

            for (uint32_t k = 0; k < n; k++)
                sum = fmaf(a[i * n + k], b[k * n + j], sum);
            c[i * n + j] = sum;
        }
    compare("matmul", p.c, c, n * n * 4, took, now() - start);
    free(a);
    free(b);
}

static void run_scan(const char *name)
{
    uint32_t blocks = bench ? 4000 : 10, n = blocks * 256;
    int *in = ints(n, 1000), *out = room(n * 4);
    uint64_t p[2] = {device(in, n * 4), device(NULL, n * 4)};
    double took = launch(name, (struct shape){{blocks, 1}, {256, 1}, 0}, p, 16);
    double start = now();

    for (uint32_t i = 0; i < n; i++)
        out[i] = in[i] + (i % 256 ? out[i - 1] : 0);
    compare(name, p[1], out, n * 4, took, now() - start);
    free(in);
}

static void run_reduce(const char *name)
{
    uint32_t n = bench ? 4000000 : 100003;
    int *in = ints(n, 1000), *out = room(4);
    struct {
        uint64_t in, out;
        uint32_t n;
    } p = {device(in, n * 4), device(NULL, 4), n};
    double took = launch(name, (struct shape){{16, 1}, {256, 1}, 1024}, &p, 20);
    double start = now();

    for (uint32_t i = 0; i < n; i++)
        *out += in[i];
    compare(name, p.out, out, 4, took, now() - start);
    free(in);
}

static void run_histogram(void)
{
    uint32_t n = bench ? 4000000 : 100003;
    unsigned char *in = room(n);
    int *out = room(1024);
    struct {
        uint64_t in, out;
        uint32_t n;
    } p;
    double took, start;

    for (uint32_t i = 0; i < n; i++)
        in[i] = (unsigned char)random_word();
    p.in = device(in, n);
    p.out = device(NULL, 1024);
    p.n = n;
    took = launch("histogram", (struct shape){{16, 1}, {256, 1}, 0}, &p, 20);
    start = now();
    for (uint32_t i = 0; i < n; i++)
        out[in[i]]++;
    compare("histogram", p.out, out, 1024, took, now() - start);
    free(in);
}

static void run_nbody(void)
{
    uint32_t n = bench ? 4096 : 256;
    float *in = floats(n * 4), *out = room(n * 16);
    struct {
        uint64_t in, out;
        uint32_t n;
    } p = {device(in, n * 16), device(NULL, n * 16), n};
    double took = launch("nbody", (struct shape){{n / 128, 1}, {128, 1}, 0}, &p, 20);
    double start = now();

    for (uint32_t t = 0; t < n; t++) {
        float ax = 0, ay = 0, az = 0;

        for (uint32_t i = 0; i < n; i++) {
            float dx = in[i * 4] - in[t * 4], dy = in[i * 4 + 1] - in[t * 4 + 1],
                  dz = in[i * 4 + 2] - in[t * 4 + 2];
            float d = fmaf(dx, dx, fmaf(dy, dy, fmaf(dz, dz, 0.01f)));
            float r = 1.0f / sqrtf(d), f = in[i * 4 + 3] * r * r * r;

            ax = fmaf(f, dx, ax);
            ay = fmaf(f, dy, ay);
            az = fmaf(f, dz, az);
        }
        out[t * 4] = ax;
        out[t * 4 + 1] = ay;
        out[t * 4 + 2] = az;
        out[t * 4 + 3] = in[t * 4 + 3];
    }
    compare("nbody", p.out, out, n * 16, took, now() - start);
    free(in);
}

static void run_collatz(void)
{
    uint32_t n = bench ? 262144 : 2000;
    int *out = room(n * 4);
    struct {
        uint64_t out;
        uint32_t n;
    } p = {device(NULL, n * 4), n};
    double took = launch("collatz", (struct shape){{(n + 127) / 128, 1}, {128, 1}, 0}, &p, 12);
    double start = now();

    for (uint32_t i = 0; i < n; i++)
        for (uint64_t v = i + 1; v != 1; out[i]++)
            v = v & 1 ? 3 * v + 1 : v / 2;
    compare("collatz", p.out, out, n * 4, took, now() - start);
}

static void run_early_exit(void)
{
    uint32_t n = 1024;
    int *in = ints(n, 1000), *out = room(n * 4);
    uint64_t p[2];

    for (uint32_t i = 0; i < n; i += 7)
        in[i] = -1;
    p[0] = device(in, n * 4);
    p[1] = device(NULL, n * 4);
    launch("early_exit", (struct shape){{4, 1}, {256, 1}, 0}, p, 16);
    for (uint32_t i = 0; i < n; i++)
        out[i] = i % 256 >= 200 || in[i] < 0 ? -1 : in[i] * 2;
    compare("early_exit", p[1], out, n * 4, 0, 0);
    free(in);
}

static void run_transpose(void)
{
    uint32_t n = bench ? 1024 : 64;
    float *in = floats(n * n), *out = room(n * n * 4);
    struct {
        uint64_t in, out;
        uint32_t n;
    } p = {device(in, n * n * 4), device(NULL, n * n * 4), n};
    double took = launch("transpose", (struct shape){{n / 16, n / 16}, {16, 16}, 0}, &p, 20);
    double start = now();

    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            out[j * n + i] = in[i * n + j];
    compare("transpose", p.out, out, n * n * 4, took, now() - start);
    free(in);
}

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return x < y ? -1 : x > y;
}

static void run_bitonic(void)
{
    uint32_t blocks = bench ? 500 : 4, n = blocks * 512;
    int *data = ints(n, 1u << 31);
    uint64_t p = device(data, n * 4);
    double took = launch("bitonic", (struct shape){{blocks, 1}, {512, 1}, 0}, &p, 8), start = now();

    for (uint32_t i = 0; i < blocks; i++)
        qsort(data + i * 512, 512, sizeof(int), by_value);
    compare("bitonic", p, data, n * 4, took, now() - start);
}

static void run_double(void)
{
    uint32_t n = bench ? 1000000 : 3000;
    double *in = room(n * 8), *out = room(n * 8);
    struct {
        uint64_t in, out;
        uint32_t n;
    } p;
    double took, start;

    for (uint32_t i = 0; i < n; i++)
        in[i] = (double)random_word() / 1e9;
    p.in = device(in, n * 8);
    p.out = device(NULL, n * 8);
    p.n = n;
    took = launch("double_math", (struct shape){{(n + 255) / 256, 1}, {256, 1}, 0}, &p, 20);
    start = now();
    for (uint32_t i = 0; i < n; i++) {
        double x = in[i], sum = 1, term = 1;

        for (int k = 1; k < 20; k++) {
            term = term * x / k;
            sum += term;
        }
        out[i] = sum + sqrt(x * x + 1.0);
    }
    compare("double_math", p.out, out, n * 8, took, now() - start);
    free(in);
}

static int ackermann(int m, int n)
{
    if (!m)
        return n + 1;
    return ackermann(m - 1, n ? ackermann(m, n - 1) : 1);
}

static void run_calls(void)
{
    uint32_t n = 256;
    int *in = ints(n, 1000), *out = room(n * 4), *direct = room(n * 4);
    uint64_t p[2] = {device(in, n * 4), device(NULL, n * 4)}, q = device(NULL, n * 4);

    launch("indirect", (struct shape){{2, 1}, {128, 1}, 0}, p, 16);
    launch("recursion", (struct shape){{2, 1}, {128, 1}, 0}, &q, 8);
    for (uint32_t i = 0; i < n; i++) {
        int t = (int)(i % 128), v = in[i];

        out[i] = v % 3 == 0 ? v + t : v % 3 == 1 ? v * t : v - t;
        direct[i] = ackermann((int)i % 3, (int)i % 5);
    }
    compare("indirect", p[1], out, n * 4, 0, 0);
    compare("recursion", q, direct, n * 4, 0, 0);
    free(in);
}

static void run_ballots(void)
{
    uint32_t n = 128;
    int *in = ints(n, 1000), *out = room(n * 4);
    uint64_t p[2] = {device(in, n * 4), device(NULL, n * 4)};

    launch("ballots", (struct shape){{1, 1}, {128, 1}, 0}, p, 16);
    for (uint32_t i = 0; i < n; i++) {
        int count = 0;

        for (uint32_t k = i / 32 * 32; k < i / 32 * 32 + 32; k++)
            count += in[k] & 1;
        out[i] = count * 100 + (in[i] & 1);
    }
    compare("ballots", p[1], out, n * 4, 0, 0);
    free(in);
}

static void run_print(void)
{
    int n = 5;

    launch("print", (struct shape){{1, 1}, {2, 1}, 0}, &n, 4);
    if (strcmp(printed, "thread 5: 0.50\nthread 6: 0.50\n")) {
        fprintf(stderr, "print: '%s'\n", printed);
        failures++;
    }
}

int main(int argc, char **argv)
{
    struct ptx_options options = {.print = keep};
    const char *path = argc > 1 ? argv[argc - 1] : NULL;
    static char text[1 << 20], log[4096];
    FILE *file;
    size_t size;

    if (!path) {
        printf("skipped: no clang with the NVPTX back end made the kernels\n");
        return SKIPPED;
    }
    bench = argc > 2 && !strcmp(argv[1], "--bench");
    file = fopen(path, "r");
    if (!file) {
        perror(path);
        return 1;
    }
    size = fread(text, 1, sizeof(text), file);
    fclose(file);
    if (ptx_context_create(&options, &context))
        return 1;
    if (ptx_module_create(context, text, size, log, sizeof(log), &module)) {
        fprintf(stderr, "%s", log);
        ptx_context_destroy(context);
        return 1;
    }
    if (bench)
        printf("%-14s %12s %12s %7s\n", "kernel", "executor", "plain C", "times");
    run_vector_add();
    run_matmul();
    run_scan("scan");
    run_scan("scan_warp");
    run_reduce("reduce");
    run_reduce("reduce_warp");
    run_histogram();
    run_nbody();
    run_collatz();
    run_early_exit();
    run_transpose();
    run_bitonic();
    run_double();
    run_calls();
    run_ballots();
    run_print();
    ptx_module_destroy(module);
    ptx_context_destroy(context);
    return failures != 0;
}
