/* SPDX-License-Identifier: MIT */
#include "ptx_fixture.h"

/*
 * Products of matrices by mma and wmma, with every element of the fragments checked through the
 * layout of the PTX ISA; ldmatrix; mbarrier. Elements are small integers, so that results are
 * exact in every type.
 */

static int32_t element_a(uint32_t row, uint32_t column)
{
    return (int32_t)((row * 7 + column * 3) % 4);
}

static int32_t element_b(uint32_t row, uint32_t column)
{
    return (int32_t)((row * 5 + column) % 3);
}

static int32_t element_c(uint32_t row, uint32_t column)
{
    return (int32_t)(row + 2 * column);
}

/* Small integers in each type of at most 32 bits. */
static uint32_t encode(const char *type, int32_t v)
{
    static const uint16_t halves[] = {0, 0x3c00, 0x4000, 0x4200};
    static const uint8_t e4m3[] = {0, 0x38, 0x40, 0x44}, e5m2[] = {0, 0x3c, 0x40, 0x42};
    float f = (float)v;
    uint32_t bits;

    memcpy(&bits, &f, 4);
    if (!strcmp(type, "f16"))
        return halves[v];
    if (!strcmp(type, "bf16"))
        return bits >> 16;
    if (!strcmp(type, "tf32") || !strcmp(type, "f32"))
        return bits;
    if (!strcmp(type, "e4m3"))
        return e4m3[v];
    if (!strcmp(type, "e5m2"))
        return e5m2[v];
    return (uint32_t)v;
}

static const struct {
    const char *name, *shape, *d, *a, *b;
    uint32_t m, n, k, bits;
} products[] = {
    {"m16n8k16 f16", "m16n8k16", "f32", "f16", "f16", 16, 8, 16, 16},
    {"m16n8k8 f16", "m16n8k8", "f32", "f16", "f16", 16, 8, 8, 16},
    {"m16n8k16 bf16", "m16n8k16", "f32", "bf16", "bf16", 16, 8, 16, 16},
    {"m16n8k8 bf16", "m16n8k8", "f32", "bf16", "bf16", 16, 8, 8, 16},
    {"m16n8k8 tf32", "m16n8k8", "f32", "tf32", "tf32", 16, 8, 8, 32},
    {"m16n8k4 tf32", "m16n8k4", "f32", "tf32", "tf32", 16, 8, 4, 32},
    {"m16n8k32 e4m3", "m16n8k32", "f32", "e4m3", "e5m2", 16, 8, 32, 8},
    {"m16n8k16 s8", "m16n8k16", "s32", "s8", "s8", 16, 8, 16, 8},
    {"m16n8k32 s8", "m16n8k32", "s32", "s8", "u8", 16, 8, 32, 8},
    {"m8n8k16 u8", "m8n8k16", "s32", "u8", "u8", 8, 8, 16, 8},
    {"m16n8k32 s4", "m16n8k32", "s32", "s4", "u4", 16, 8, 32, 4},
    {"m16n8k64 u4", "m16n8k64", "s32", "u4", "u4", 16, 8, 64, 4},
    {"m8n8k32 s4", "m8n8k32", "s32", "s4", "s4", 8, 8, 32, 4},
};

/* Appends "{%r8, %r9}" of `count` registers from `first` on. */
static void list(char *text, size_t room, uint32_t first, uint32_t count)
{
    size_t n = strlen(text);

    for (uint32_t i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, room - n, "%s%%r%u", i ? ", " : "{", first + i);
    snprintf(text + n, room - n, "}");
}

/* Each lane loads its registers of a, b and c, 16 words from in + lane * 64, and stores d. */
static void multiply(const char *name, const char *opcode, uint32_t a, uint32_t b, uint32_t c,
                     const uint32_t *in, uint32_t *out)
{
    char text[4096] = PTX_HEAD
        ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
        ".reg .b32 %r<40>; .reg .b64 %rd<4>;\n"
        "ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out]; mov.u32 %r0, %tid.x;"
        "mul.wide.u32 %rd3, %r0, 64; add.s64 %rd1, %rd1, %rd3; add.s64 %rd2, %rd2, %rd3;\n";
    uint64_t parameters[2];
    struct ptx_run r;
    size_t n;

    for (uint32_t i = 0; i < a + b + c; i++) {
        n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "ld.global.b32 %%r%u, [%%rd1+%u];\n", i + 1, 4 * i);
    }
    n = strlen(text);
    snprintf(text + n, sizeof(text) - n, "%s ", opcode);
    list(text, sizeof(text), 20, c);
    strcat(text, ", ");
    list(text, sizeof(text), 1, a);
    strcat(text, ", ");
    list(text, sizeof(text), 1 + a, b);
    strcat(text, ", ");
    list(text, sizeof(text), 1 + a + b, c);
    strcat(text, ";\n");
    for (uint32_t i = 0; i < c; i++) {
        n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "st.global.b32 [%%rd2+%u], %%r%u;\n", 4 * i, 20 + i);
    }
    strcat(text, "ret;\n}\n");
    ptx_open(&r, text, "k");
    parameters[0] = ptx_buffer(&r, in, 2048);
    parameters[1] = ptx_buffer(&r, NULL, 2048);
    if (ptx_go(&r, 1, 32, parameters, sizeof(parameters)))
        fail_msg("%s: %s", name, r.result.text);
    ptx_memory_read(r.context, parameters[1], out, 2048);
    ptx_close(&r);
}

static void test_mma(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT(products); p++) {
        uint32_t bits = products[p].bits, each = 32 / bits, m = products[p].m;
        uint32_t a = m * products[p].k / 32 / each, b = products[p].k * 8 / 32 / each;
        uint32_t c = m * 8 / 32, in[32][16] = {{0}}, out[32][16];
        char opcode[128];

        /* The fragments as "Matrix Fragments for mma" has them. */
        for (uint32_t lane = 0; lane < 32; lane++) {
            uint32_t group = lane / 4, thread = lane % 4;

            for (uint32_t i = 0; i < a * each; i++) {
                uint32_t reg = i / each;
                uint32_t row = m == 16 && reg % 2 ? group + 8 : group;
                uint32_t column = thread * each + i % each + (m == 16 ? reg / 2 : reg) * 4 * each;

                in[lane][reg] |= encode(products[p].a, element_a(row, column)) << i % each * bits;
            }
            for (uint32_t i = 0; i < b * each; i++) {
                uint32_t row = thread * each + i % each + i / each * 4 * each;

                in[lane][a + i / each] |= encode(products[p].b, element_b(row, group))
                                          << i % each * bits;
            }
            for (uint32_t i = 0; i < c; i++)
                in[lane][a + b + i] =
                    encode(products[p].d, element_c(group + i / 2 * 8, thread * 2 + i % 2));
        }
        snprintf(opcode, sizeof(opcode), "mma.sync.aligned.%s.row.col.%s.%s.%s.%s",
                 products[p].shape, products[p].d, products[p].a, products[p].b, products[p].d);
        multiply(products[p].name, opcode, a, b, c, in[0], out[0]);
        for (uint32_t lane = 0; lane < 32; lane++)
            for (uint32_t i = 0; i < c; i++) {
                uint32_t row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
                int32_t sum = element_c(row, column);

                for (uint32_t k = 0; k < products[p].k; k++)
                    sum += element_a(row, k) * element_b(k, column);
                if (out[lane][i] != encode(products[p].d, sum))
                    fail_msg("%s: lane %u, element %u: 0x%x, not 0x%x", products[p].name, lane, i,
                             out[lane][i], encode(products[p].d, sum));
            }
    }
}

/* Sums of integers that do not fit: with .satfinite they stay at the end, else they wrap. */
static void test_saturation(void **state)
{
    uint32_t in[32][16], out[32][16];

    (void)state;
    for (uint32_t lane = 0; lane < 32; lane++)
        for (uint32_t i = 0; i < 16; i++)
            in[lane][i] = i < 3 ? 0x01010101 : 0x7fffffff;
    multiply("satfinite", "mma.sync.aligned.m16n8k16.row.col.satfinite.s32.s8.s8.s32", 2, 1, 4,
             in[0], out[0]);
    assert_int_equal(out[7][3], 0x7fffffff);
    multiply("wraps", "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32", 2, 1, 4, in[0], out[0]);
    assert_int_equal(out[7][3], 0x7fffffffu + 16);
}

static const struct {
    const char *name, *a_type, *shape, *a_layout, *b_layout, *d_layout, *mma;
    uint32_t m, n, k, a, b;
} tiles[] = {
    {"16x16x16", "f16", "m16n16k16", "row", "col", "row", "f32.f32", 16, 16, 16, 8, 8},
    {"16x16x16 the other way", "f16", "m16n16k16", "col", "row", "col", "f32.f32", 16, 16, 16, 8,
     8},
    {"32x8x16", "f16", "m32n8k16", "row", "row", "row", "f32.f32", 32, 8, 16, 8, 8},
    {"8x32x16", "f16", "m8n32k16", "col", "col", "row", "f32.f32", 8, 32, 16, 8, 8},
    {"bf16", "bf16", "m16n16k16", "row", "col", "row", "f32.bf16.bf16.f32", 16, 16, 16, 4, 4},
    {"tf32", "tf32", "m16n16k8", "row", "col", "row", "f32.tf32.tf32.f32", 16, 16, 8, 4, 4},
};

/* d = a * b + c from memory to memory, with rows that are longer than the tile. */
static void test_wmma(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT(tiles); t++) {
        enum { STRIDE = 40 };
        bool wide = !strcmp(tiles[t].a_type, "tf32");
        uint32_t m = tiles[t].m, n = tiles[t].n, k = tiles[t].k, size = wide ? 4 : 2;
        uint8_t a[STRIDE * STRIDE * 4] = {0}, b[STRIDE * STRIDE * 4] = {0};
        float c[STRIDE * STRIDE] = {0}, d[STRIDE * STRIDE];
        bool d_by_rows = tiles[t].d_layout[0] == 'r';
        uint64_t parameters[4];
        char text[4096], ra[128] = "", rb[128] = "", rc[128] = "", rd[128] = "";
        struct ptx_run r;

        for (uint32_t i = 0; i < m; i++)
            for (uint32_t j = 0; j < k; j++) {
                uint32_t v = encode(tiles[t].a_type, element_a(i, j));
                uint32_t at = tiles[t].a_layout[0] == 'r' ? i * STRIDE + j : j * STRIDE + i;

                memcpy(a + (size_t)at * size, &v, size);
            }
        for (uint32_t i = 0; i < k; i++)
            for (uint32_t j = 0; j < n; j++) {
                uint32_t v = encode(tiles[t].a_type, element_b(i, j));
                uint32_t at = tiles[t].b_layout[0] == 'r' ? i * STRIDE + j : j * STRIDE + i;

                memcpy(b + (size_t)at * size, &v, size);
            }
        for (uint32_t i = 0; i < m; i++)
            for (uint32_t j = 0; j < n; j++)
                c[d_by_rows ? i * STRIDE + j : j * STRIDE + i] = (float)element_c(i, j);
        list(ra, sizeof(ra), 0, tiles[t].a);
        list(rb, sizeof(rb), 8, tiles[t].b);
        list(rc, sizeof(rc), 16, 8);
        list(rd, sizeof(rd), 24, 8);
        snprintf(text, sizeof(text),
                 PTX_HEAD
                 ".visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)\n"
                 "{\n.reg .b32 %%r<40>; .reg .b64 %%a, %%b, %%c, %%d;\n"
                 "ld.param.u64 %%a, [a]; ld.param.u64 %%b, [b]; ld.param.u64 %%c, [c];"
                 "ld.param.u64 %%d, [d]; mov.u32 %%r39, 40;\n"
                 "wmma.load.a.sync.aligned.%s.%s.global.%s %s, [%%a], %%r39;\n"
                 "wmma.load.b.sync.aligned.%s.%s.global.%s %s, [%%b], %%r39;\n"
                 "wmma.load.c.sync.aligned.%s.%s.f32 %s, [%%c], %%r39;\n"
                 "wmma.mma.sync.aligned.%s.%s.%s.%s %s, %s, %s, %s;\n"
                 "wmma.store.d.sync.aligned.%s.%s.global.f32 [%%d], %s, %%r39;\nret;\n}\n",
                 tiles[t].a_layout, tiles[t].shape, tiles[t].a_type, ra, tiles[t].b_layout,
                 tiles[t].shape, tiles[t].a_type, rb, tiles[t].d_layout, tiles[t].shape, rc,
                 tiles[t].a_layout, tiles[t].b_layout, tiles[t].shape, tiles[t].mma, rd, ra, rb, rc,
                 tiles[t].d_layout, tiles[t].shape, rd);
        ptx_open(&r, text, "k");
        parameters[0] = ptx_buffer(&r, a, sizeof(a));
        parameters[1] = ptx_buffer(&r, b, sizeof(b));
        parameters[2] = ptx_buffer(&r, c, sizeof(c));
        parameters[3] = ptx_buffer(&r, NULL, sizeof(d));
        if (ptx_go(&r, 1, 32, parameters, sizeof(parameters)))
            fail_msg("%s: %s", tiles[t].name, r.result.text);
        ptx_memory_read(r.context, parameters[3], d, sizeof(d));
        for (uint32_t i = 0; i < m; i++)
            for (uint32_t j = 0; j < n; j++) {
                int32_t sum = element_c(i, j);

                for (uint32_t l = 0; l < k; l++)
                    sum += element_a(i, l) * element_b(l, j);
                if (d[d_by_rows ? i * STRIDE + j : j * STRIDE + i] != (float)sum)
                    fail_msg("%s: %u, %u", tiles[t].name, i, j);
            }
        ptx_close(&r);
    }
}

/* A matrix of 8 x 8 halves from shared memory, as it is or transposed, and back. */
static void test_ldmatrix(void **state)
{
    static const char text[] = PTX_HEAD
        ".visible .entry k(.param .u64 out)\n{\n"
        ".shared .align 16 .b8 tile[256]; .reg .b32 %r<16>; .reg .b64 %rd<4>;\n"
        "ld.param.u64 %rd1, [out]; mov.u32 %r0, %tid.x; mul.wide.u32 %rd2, %r0, 4;"
        "add.s64 %rd1, %rd1, %rd2; mov.u32 %r1, tile; shl.b32 %r2, %r0, 2; add.u32 %r2, %r2, %r1;"
        /* word t: halves 2t and 2t + 1, by rows */
        "shl.b32 %r3, %r0, 1; add.u32 %r4, %r3, 1; shl.b32 %r4, %r4, 16; or.b32 %r3, %r3, %r4;"
        "st.shared.u32 [%r2], %r3; bar.sync 0;"
        "and.b32 %r5, %r0, 7; shl.b32 %r5, %r5, 4; add.u32 %r5, %r5, %r1;"
        "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r6}, [%r5];"
        "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r7}, [%r5];"
        "movmatrix.sync.aligned.m8n8.trans.b16 %r8, %r6;"
        "stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%r5+128], {%r6}; bar.sync 0;"
        "ld.shared.u32 %r9, [%r2+128];"
        "st.global.u32 [%rd1], %r6; st.global.u32 [%rd1+128], %r7;"
        "st.global.u32 [%rd1+256], %r8; st.global.u32 [%rd1+384], %r9; ret;\n}\n";
    struct ptx_run r;
    uint64_t out;
    uint32_t got[4][32];

    (void)state;
    ptx_open(&r, text, "k");
    out = ptx_buffer(&r, NULL, sizeof(got));
    if (ptx_go(&r, 1, 32, &out, sizeof(out)))
        fail_msg("%s", r.result.text);
    ptx_memory_read(r.context, out, got, sizeof(got));
    for (uint32_t lane = 0; lane < 32; lane++) {
        uint32_t row = lane / 4, column = lane % 4 * 2;
        uint32_t turned = (column * 8 + row) | ((column + 1) * 8 + row) << 16;

        assert_int_equal(got[0][lane], 2 * lane | (2 * lane + 1) << 16);
        assert_int_equal(got[1][lane], turned);
        assert_int_equal(got[2][lane], turned);
        assert_int_equal(got[3][lane], turned);
    }
    ptx_close(&r);
}

/*
 * Two warps that fill a buffer in turns: each phase all 64 threads arrive, thread t then reads what
 * thread 63 - t wrote. By state and by parity; 4 phases.
 */
static void test_mbarrier(void **state)
{
    static const char text[] = PTX_HEAD
        ".visible .entry k(.param .u64 out)\n{\n"
        ".shared .align 8 .b64 bar; .shared .align 4 .b8 words[256];\n"
        ".reg .b32 %r<16>; .reg .b64 %rd<8>; .reg .pred %p<4>;\n"
        "ld.param.u64 %rd1, [out]; mov.u32 %r0, %tid.x; mul.wide.u32 %rd2, %r0, 4;"
        "add.s64 %rd1, %rd1, %rd2; mov.u64 %rd3, words; add.s64 %rd4, %rd3, %rd2;"
        "mov.u32 %r1, 63; sub.u32 %r1, %r1, %r0; mul.wide.u32 %rd5, %r1, 4; add.s64 %rd5, %rd3, "
        "%rd5; setp.eq.u32 %p1, %r0, 0; @%p1 mbarrier.init.shared.b64 [bar], 64; bar.sync 0;"
        "mov.u32 %r2, 0; mov.u32 %r3, 0;\n"
        "L: mad.lo.u32 %r4, %r2, 100, %r0; st.volatile.shared.u32 [%rd4], %r4;"
        "mbarrier.arrive.shared.b64 %rd6, [bar];\n"
        "W: mbarrier.test_wait.shared.b64 %p2, [bar], %rd6; @!%p2 bra W;"
        "ld.volatile.shared.u32 %r5, [%rd5]; add.u32 %r3, %r3, %r5; add.u32 %r6, %r2, %r2;"
        "mbarrier.arrive.shared.b64 _, [bar], 1;\n"
        "V: mbarrier.try_wait.parity.shared.b64 %p2, [bar], 1; @!%p2 bra V;"
        "add.u32 %r2, %r2, 1; setp.lt.u32 %p3, %r2, 4; @%p3 bra L;\n"
        "st.global.u32 [%rd1], %r3; ret;\n}\n";
    struct ptx_run r;
    uint64_t out;
    uint32_t got[64];

    (void)state;
    ptx_open(&r, text, "k");
    out = ptx_buffer(&r, NULL, sizeof(got));
    if (ptx_go(&r, 1, 64, &out, sizeof(out)))
        fail_msg("%s", r.result.text);
    ptx_memory_read(r.context, out, got, sizeof(got));
    for (uint32_t t = 0; t < 64; t++)
        assert_int_equal(got[t], 600 + 4 * (63 - t));
    ptx_close(&r);
}

/* Bytes that are announced hold the phase open; what never was made is an error. */
static void test_mbarrier_bytes(void **state)
{
    static const char text[] =
        PTX_HEAD ".visible .entry k(.param .u64 out)\n{\n"
                 ".shared .align 8 .b64 bar; .reg .b32 %r<8>; .reg .b64 %rd<4>; .reg .pred %p<4>;\n"
                 "ld.param.u64 %rd1, [out]; mbarrier.init.shared.b64 [bar], 2;"
                 "mbarrier.arrive.expect_tx.shared.b64 %rd2, [bar], 16;"
                 "mbarrier.arrive_drop.shared.b64 %rd3, [bar];"
                 "mbarrier.test_wait.shared.b64 %p1, [bar], %rd2; selp.u32 %r1, 1, 0, %p1;"
                 "mbarrier.complete_tx.relaxed.cta.shared.b64 [bar], 16;"
                 "mbarrier.test_wait.shared.b64 %p1, [bar], %rd2; selp.u32 %r2, 1, 0, %p1;"
                 /* the next phase waits for one only */
                 "mbarrier.arrive.shared.b64 %rd2, [bar]; mbarrier.pending_count.b64 %r3, %rd2;"
                 "mbarrier.test_wait.shared.b64 %p1, [bar], %rd2; selp.u32 %r4, 1, 0, %p1;"
                 "st.global.v4.u32 [%rd1], {%r1, %r2, %r3, %r4}; mbarrier.inval.shared.b64 [bar];"
                 "mbarrier.arrive.shared.b64 %rd2, [bar]; ret;\n}\n";
    struct ptx_run r;
    uint64_t out;
    uint32_t got[4];

    (void)state;
    ptx_open(&r, text, "k");
    out = ptx_buffer(&r, NULL, sizeof(got));
    assert_int_equal(ptx_go(&r, 1, 1, &out, sizeof(out)), VD_ERR_DECODE);
    assert_int_equal(r.result.fault, PTX_FAULT_INSTRUCTION);
    ptx_memory_read(r.context, out, got, sizeof(got));
    assert_int_equal(got[0], 0);
    assert_int_equal(got[1], 1);
    assert_int_equal(got[2], 1);
    assert_int_equal(got[3], 1);
    ptx_close(&r);
}

static const char *const refused[] = {
    "mma.sync.aligned.m16n8k7.row.col.f32.f16.f16.f32 {%r0,%r1,%r2,%r3}, {%r0,%r1,%r2,%r3}, "
    "{%r0,%r1}, {%r0,%r1,%r2,%r3};",
    "mma.sync.aligned.m16n8k16.col.col.f32.f16.f16.f32 {%r0,%r1,%r2,%r3}, {%r0,%r1,%r2,%r3}, "
    "{%r0,%r1}, {%r0,%r1,%r2,%r3};",
    "mma.sync.aligned.m16n8k16.row.col.f32.f16.bf16.f32 {%r0,%r1,%r2,%r3}, {%r0,%r1,%r2,%r3}, "
    "{%r0,%r1}, {%r0,%r1,%r2,%r3};",
    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r0,%r1}, {%r0,%r1,%r2,%r3}, {%r0,%r1}, "
    "{%r0,%r1,%r2,%r3};",
    "wmma.load.a.sync.aligned.row.m16n16k17.f16 {%r0,%r1,%r2,%r3,%r4,%r5,%r6,%r7}, [%rd0];",
    "wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {%r0}, {%r0}, {%r0}, {%r0};",
    "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0,%r1}, [%rd0];",
    "ldmatrix.sync.aligned.m8n16.x1.shared.b8 {%r0}, [%rd0];",
    "mbarrier.arrive.b64 %rd0;",
    "mbarrier.frob.b64 %rd0, [%rd0];",
};

static void test_refused(void **state)
{
    struct ptx_options options = {.threads = 1};
    struct ptx_context *context;

    (void)state;
    assert_int_equal(ptx_context_create(&options, &context), 0);
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct ptx_module *module = NULL;
        char text[1024], log[512];

        snprintf(text, sizeof(text),
                 PTX_HEAD ".visible .entry k()\n{\n.reg .b32 %%r<8>; .reg .b64 %%rd<2>;\n%s\n}\n",
                 refused[i]);
        if (ptx_module_create(context, text, strlen(text), log, sizeof(log), &module) !=
            VD_ERR_PARAMETER)
            fail_msg("%s was taken", refused[i]);
        assert_non_null(strstr(log, "line 7;"));
    }
    ptx_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mma),      cmocka_unit_test(test_saturation),
        cmocka_unit_test(test_wmma),     cmocka_unit_test(test_ldmatrix),
        cmocka_unit_test(test_mbarrier), cmocka_unit_test(test_mbarrier_bytes),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
