/* SPDX-License-Identifier: MIT */
#include "cuda.h"

/* The kernels of the suite; suite.c has what each must compute, in plain C. */

KERNEL vector_add(const float *a, const float *b, float *c, u32 n)
{
    u32 i = INDEX;

    if (i < n)
        c[i] = a[i] + b[i];
}

KERNEL matmul(const float *a, const float *b, float *c, u32 n)
{
    __shared__ float ta[16][16], tb[16][16];
    u32 row = BLOCKY * 16 + TIDY, column = BLOCK * 16 + TID;
    float sum = 0;

    for (u32 t = 0; t < n; t += 16) {
        ta[TIDY][TID] = a[row * n + t + TID];
        tb[TIDY][TID] = b[(t + TIDY) * n + column];
        SYNC();
        for (u32 k = 0; k < 16; k++)
            sum = __builtin_fmaf(ta[TIDY][k], tb[k][TID], sum);
        SYNC();
    }
    c[row * n + column] = sum;
}

/* Inclusive sums of each block of 256, by shared memory. */
KERNEL scan(const int *in, int *out)
{
    __shared__ int s[256];

    s[TID] = in[INDEX];
    SYNC();
    for (u32 d = 1; d < 256; d *= 2) {
        int v = TID >= d ? s[TID - d] : 0;

        SYNC();
        s[TID] += v;
        SYNC();
    }
    out[INDEX] = s[TID];
}

/* The same by shuffles. */
KERNEL scan_warp(const int *in, int *out)
{
    __shared__ int sums[8];
    int v = in[INDEX], lane = TID % 32, warp = TID / 32;

    for (int d = 1; d < 32; d *= 2) {
        int o = SHFL_UP(v, d);

        if (lane >= d)
            v += o;
    }
    if (lane == 31)
        sums[warp] = v;
    SYNC();
    for (int i = 0; i < warp; i++)
        v += sums[i];
    out[INDEX] = v;
}

extern __shared__ int dynamic[];

KERNEL reduce(const int *in, int *out, u32 n)
{
    int v = 0;

    for (u32 i = INDEX; i < n; i += GRID * SIZE)
        v += in[i];
    dynamic[TID] = v;
    SYNC();
    for (u32 d = SIZE / 2; d; d /= 2) {
        if (TID < d)
            dynamic[TID] += dynamic[TID + d];
        SYNC();
    }
    if (!TID)
        __nvvm_atom_add_gen_i(out, dynamic[0]);
}

KERNEL reduce_warp(const int *in, int *out, u32 n)
{
    __shared__ int sums[32];
    int v = 0;

    for (u32 i = INDEX; i < n; i += GRID * SIZE)
        v += in[i];
    for (int d = 16; d; d /= 2)
        v += SHFL_DOWN(v, d);
    if (TID % 32 == 0)
        sums[TID / 32] = v;
    SYNC();
    /* Shuffles under a condition: one warp only. */
    if (TID < 32) {
        v = TID < SIZE / 32 ? sums[TID] : 0;
        for (int d = 16; d; d /= 2)
            v += SHFL_DOWN(v, d);
        if (!TID)
            __nvvm_atom_add_gen_i(out, v);
    }
}

KERNEL histogram(const unsigned char *in, int *out, u32 n)
{
    __shared__ int bins[256];

    bins[TID] = 0;
    SYNC();
    for (u32 i = INDEX; i < n; i += GRID * SIZE)
        __nvvm_atom_add_gen_i(&bins[in[i]], 1);
    SYNC();
    __nvvm_atom_add_gen_i(&out[TID], bins[TID]);
}

struct body {
    float x, y, z, m;
};

KERNEL nbody(const struct body *b, struct body *out, u32 n)
{
    struct body me = b[INDEX];
    float ax = 0, ay = 0, az = 0;

    for (u32 i = 0; i < n; i++) {
        float dx = b[i].x - me.x, dy = b[i].y - me.y, dz = b[i].z - me.z;
        float d = __builtin_fmaf(dx, dx, __builtin_fmaf(dy, dy, __builtin_fmaf(dz, dz, 0.01f)));
        float r = 1.0f / __nvvm_sqrt_rn_f(d);
        float f = b[i].m * r * r * r;

        ax = __builtin_fmaf(f, dx, ax);
        ay = __builtin_fmaf(f, dy, ay);
        az = __builtin_fmaf(f, dz, az);
    }
    out[INDEX] = (struct body){ax, ay, az, me.m};
}

KERNEL collatz(int *out, u32 n)
{
    u32 i = INDEX, steps = 0;
    u64 v = i + 1;

    if (i >= n)
        return;
    while (v != 1) {
        v = v & 1 ? 3 * v + 1 : v / 2;
        steps++;
    }
    out[i] = (int)steps;
}

KERNEL early_exit(const int *in, int *out)
{
    __shared__ int s[256];

    if (TID >= 200 || in[INDEX] < 0) {
        out[INDEX] = -1;
        return;
    }
    s[TID] = in[INDEX];
    SYNC();
    out[INDEX] = s[TID] * 2;
}

KERNEL transpose(const float *in, float *out, u32 n)
{
    __shared__ float tile[16][17];

    tile[TIDY][TID] = in[(BLOCKY * 16 + TIDY) * n + BLOCK * 16 + TID];
    SYNC();
    out[(BLOCK * 16 + TIDY) * n + BLOCKY * 16 + TID] = tile[TID][TIDY];
}

KERNEL bitonic(int *data)
{
    __shared__ int s[512];
    u32 t = TID;

    s[t] = data[BLOCK * 512 + t];
    SYNC();
    for (u32 k = 2; k <= 512; k *= 2)
        for (u32 j = k / 2; j; j /= 2) {
            u32 other = t ^ j;

            if (other > t) {
                int a = s[t], b = s[other];

                if ((t & k) == 0 ? a > b : a < b) {
                    s[t] = b;
                    s[other] = a;
                }
            }
            SYNC();
        }
    data[BLOCK * 512 + t] = s[t];
}

KERNEL double_math(const double *in, double *out, u32 n)
{
    u32 i = INDEX;

    if (i >= n)
        return;
    double x = in[i], sum = 1, term = 1;

    for (int k = 1; k < 20; k++) {
        term = term * x / k;
        sum += term;
    }
    out[i] = sum + __nvvm_sqrt_rn_d(x * x + 1.0);
}

static __device__ __attribute__((noinline)) int ackermann(int m, int n)
{
    if (!m)
        return n + 1;
    return ackermann(m - 1, n ? ackermann(m, n - 1) : 1);
}

KERNEL recursion(int *out)
{
    out[INDEX] = ackermann(INDEX % 3, INDEX % 5);
}

typedef int (*operation)(int, int);

static __device__ int op_add(int a, int b)
{
    return a + b;
}

static __device__ int op_mul(int a, int b)
{
    return a * b;
}

static __device__ int op_sub(int a, int b)
{
    return a - b;
}

__device__ operation operations[3] = {op_add, op_mul, op_sub};

KERNEL indirect(const int *in, int *out)
{
    out[INDEX] = operations[in[INDEX] % 3](in[INDEX], (int)TID);
}

KERNEL ballots(const int *in, int *out)
{
    u32 odd = BALLOT(in[INDEX] & 1);

    out[INDEX] = __builtin_popcount(odd) * 100 + (odd >> (TID % 32) & 1);
}

KERNEL print(int n)
{
    struct {
        int a;
        double b;
    } v = {(int)TID + n, 0.5};

    vprintf("thread %d: %.2f\n", (const char *)&v);
}
