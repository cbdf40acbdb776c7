/* SPDX-License-Identifier: MIT */
#include "ptx_fixture.h"

/*
 * Loads, stores and atomics whose lanes' addresses lie next to each other, at one place, in two
 * rows, anywhere, with all lanes and with some, against plain C; and faults of single lanes in
 * them.
 */

#define BYTES 1024u
#define OTHER 0xddddddddu /* what lanes that do not run have */

/* Offsets of the lanes, in elements, of `most` that there are. */
static uint32_t line(uint32_t i, uint32_t most)
{
    (void)most;
    return i;
}
static uint32_t end(uint32_t i, uint32_t most)
{
    return most - 32 + i;
}
/* Lanes above the 16th would be outside. */
static uint32_t past(uint32_t i, uint32_t most)
{
    return most - 16 + i;
}
/* Those below would be. */
static uint32_t before(uint32_t i, uint32_t most)
{
    (void)most;
    return i - 16;
}
static uint32_t same(uint32_t i, uint32_t most)
{
    (void)i;
    return most - 1;
}
static uint32_t rows(uint32_t i, uint32_t most)
{
    return i % 16 + i / 16 * (most / 2);
}
static uint32_t two(uint32_t i, uint32_t most)
{
    return i < 16 ? 3 : most - 1;
}
static uint32_t overlap(uint32_t i, uint32_t most)
{
    (void)most;
    return i % 16 + i / 16 * 4;
}
static uint32_t down(uint32_t i, uint32_t most)
{
    (void)most;
    return 31 - i;
}
static uint32_t odd_one(uint32_t i, uint32_t most)
{
    return i == 19 ? most - 1 : i;
}
static uint32_t anywhere(uint32_t i, uint32_t most)
{
    return (i * 2654435761u >> 7) % most;
}

static const struct {
    const char *name;
    uint32_t (*at)(uint32_t lane, uint32_t most);
    uint32_t lanes;
} shapes[] = {
    {"line", line, ~0u},
    {"line, some", line, 0xf00ff0f1},
    {"end", end, ~0u},
    {"past", past, 0xffff},
    {"before", before, ~0xffffu},
    {"same", same, ~0u},
    {"same, one", same, 1u << 7},
    {"rows", rows, ~0u},
    {"rows, some", rows, 0x7ffe},
    {"two", two, ~0u},
    {"two, some", two, 0x10001},
    {"overlap", overlap, ~0u},
    {"overlap, some", overlap, 0x55555555},
    {"down", down, ~0u},
    {"odd one", odd_one, ~0u},
    {"anywhere", anywhere, ~0u},
    {"anywhere, some", anywhere, 0x12345678},
};

static const struct {
    const char *type, *list;
    uint32_t bytes, count;
    bool is_signed;
} kinds[] = {
    {"u8", "%r10", 1, 1, false},
    {"s8", "%r10", 1, 1, true},
    {"u16", "%r10", 2, 1, false},
    {"s16", "%r10", 2, 1, true},
    {"u32", "%r10", 4, 1, false},
    {"v2.u32", "{%r10, %r11}", 4, 2, false},
    {"v4.u32", "{%r10, %r11, %r12, %r13}", 4, 4, false},
    {"v4.u8", "{%r10, %r11, %r12, %r13}", 1, 4, false},
    {"u64", "%rd10", 8, 1, false},
};

/*
 * k(data, offsets, out, lanes): %rd4 is lane %r1's address in `space`, whose first BYTES are
 * data's; then `code`, under %p1 for the lanes that run; %r10 to %r13 or %rd10 go to out and what
 * is in the space back to data.
 */
static void open_kernel(struct ptx_run *r, const char *space, bool wide, const char *code)
{
    bool shared = !strcmp(space, "shared");
    char text[8192];

    snprintf(
        text, sizeof(text),
        "%s.visible .entry k(.param .u64 d, .param .u64 o, .param .u64 t, .param .u32 m) {\n"
        ".reg .b32 %%r<20>; .reg .b64 %%rd<20>; .reg .pred %%p<4>;\n"
        ".shared .align 16 .b8 s[%u];\n"
        "ld.param.u64 %%rd1, [d]; ld.param.u64 %%rd2, [o]; ld.param.u64 %%rd3, [t];\n"
        "ld.param.u32 %%r2, [m]; mov.u32 %%r1, %%tid.x;\n"
        "mul.wide.u32 %%rd5, %%r1, 4; add.s64 %%rd5, %%rd5, %%rd2; ld.global.s32 %%r3, [%%rd5];\n"
        "shr.u32 %%r4, %%r2, %%r1; and.b32 %%r4, %%r4, 1; setp.ne.u32 %%p1, %%r4, 0;\n"
        "mov.u64 %%rd6, s; mov.u32 %%r5, %%r1;\n"
        "IN: mul.wide.u32 %%rd7, %%r5, 4; add.s64 %%rd8, %%rd7, %%rd1; ld.global.u32 %%r6, "
        "[%%rd8];\n"
        "add.s64 %%rd8, %%rd7, %%rd6; st.shared.u32 [%%rd8], %%r6; add.s32 %%r5, %%r5, 32;\n"
        "setp.lt.u32 %%p2, %%r5, %u; @%%p2 bra IN;\n"
        "cvt.s64.s32 %%rd4, %%r3; add.s64 %%rd4, %%rd4, %s;\n"
        "mov.u32 %%r10, 0xdddddddd; mov.u32 %%r11, %%r10; mov.u32 %%r12, %%r10; mov.u32 %%r13, "
        "%%r10;\n"
        "mov.u64 %%rd10, 0xdddddddddddddddd; mad.lo.u32 %%r7, %%r1, 77, 5;\n"
        "%s\n"
        "mul.wide.u32 %%rd7, %%r1, 16; add.s64 %%rd3, %%rd3, %%rd7;\n%s"
        "mov.u32 %%r5, %%r1;\n"
        "OUT: mul.wide.u32 %%rd7, %%r5, 4; add.s64 %%rd8, %%rd7, %%rd6; ld.shared.u32 %%r6, "
        "[%%rd8];\n"
        "add.s64 %%rd8, %%rd7, %%rd1; %s add.s32 %%r5, %%r5, 32;\n"
        "setp.lt.u32 %%p2, %%r5, %u; @%%p2 bra OUT;\nret; }\n",
        PTX_HEAD, BYTES, BYTES / 4, shared ? "%rd6" : "%rd1", code,
        wide ? "st.global.u64 [%rd3], %rd10;\n"
             : "st.global.v4.u32 [%rd3], {%r10, %r11, %r12, %r13};\n",
        shared ? "st.global.u32 [%rd8], %r6;" : "", BYTES / 4);
    ptx_open(r, text, "k");
}

struct memory {
    uint8_t data[BYTES];
    int32_t offsets[32];
    uint32_t out[32][4];
};

/* Runs it; a fault is left in r->result. */
static void run(struct ptx_run *r, struct memory *m, uint32_t lanes)
{
    struct {
        uint64_t data, offsets, out;
        uint32_t lanes;
    } p = {ptx_buffer(r, m->data, BYTES), ptx_buffer(r, m->offsets, sizeof(m->offsets)),
           ptx_buffer(r, NULL, sizeof(m->out)), lanes};

    if (!ptx_go(r, 1, 32, &p, 28)) {
        assert_int_equal(ptx_memory_read(r->context, p.data, m->data, BYTES), 0);
        assert_int_equal(ptx_memory_read(r->context, p.out, m->out, sizeof(m->out)), 0);
    }
    assert_int_equal(ptx_memory_destroy(r->context, p.data), 0);
    assert_int_equal(ptx_memory_destroy(r->context, p.offsets), 0);
    assert_int_equal(ptx_memory_destroy(r->context, p.out), 0);
}

static void fill(struct memory *m, uint32_t (*at)(uint32_t lane, uint32_t most), uint32_t bytes)
{
    memset(m, 0, sizeof(*m));
    for (uint32_t i = 0; i < BYTES; i++)
        m->data[i] = (uint8_t)(i * 37 ^ i >> 3);
    for (uint32_t i = 0; i < 32; i++)
        m->offsets[i] = (int32_t)at(i, BYTES / bytes) * (int32_t)bytes;
}

static void test_loads(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(kinds) * 2; n++) {
        const uint32_t bytes = kinds[n / 2].bytes, count = kinds[n / 2].count;
        const char *space = n % 2 ? "shared" : "global";
        struct ptx_run r;
        char code[256];

        snprintf(code, sizeof(code), "@%%p1 ld.%s.%s %s, [%%rd4];", space, kinds[n / 2].type,
                 kinds[n / 2].list);
        open_kernel(&r, space, bytes == 8, code);
        for (size_t i = 0; i < COUNT(shapes); i++) {
            struct memory m;

            fill(&m, shapes[i].at, bytes * count);
            run(&r, &m, shapes[i].lanes);
            assert_int_equal(r.result.fault, PTX_FAULT_NONE);
            for (uint32_t lane = 0; lane < 32; lane++)
                for (uint32_t e = 0; e < count; e++) {
                    uint64_t want = 0, got = 0;

                    memcpy(&got, &m.out[lane][e], bytes == 8 ? 8 : 4);
                    if (shapes[i].lanes >> lane & 1) {
                        memcpy(&want, m.data + m.offsets[lane] + e * bytes, bytes);
                        if (kinds[n / 2].is_signed)
                            want = (uint32_t)(bytes == 1 ? (int8_t)want : (int16_t)want);
                    } else {
                        memset(&want, 0xdd, bytes == 8 ? 8 : 4);
                    }
                    if (got != want)
                        fail_msg("%s %s, %s, lane %u: %llx, not %llx", space, kinds[n / 2].type,
                                 shapes[i].name, lane, (unsigned long long)got,
                                 (unsigned long long)want);
                }
        }
        ptx_close(&r);
    }
}

static void test_stores(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(kinds) * 2; n++) {
        const uint32_t bytes = kinds[n / 2].bytes, count = kinds[n / 2].count;
        const char *space = n % 2 ? "shared" : "global";
        struct ptx_run r;
        char code[512];

        snprintf(code, sizeof(code),
                 "mov.u32 %%r10, %%r7; add.u32 %%r11, %%r7, 1; add.u32 %%r12, %%r7, 2;\n"
                 "add.u32 %%r13, %%r7, 3; cvt.u64.u32 %%rd10, %%r7; @%%p1 st.%s.%s [%%rd4], %s;",
                 space, kinds[n / 2].type, kinds[n / 2].list);
        open_kernel(&r, space, bytes == 8, code);
        for (size_t i = 0; i < COUNT(shapes); i++) {
            struct memory m, want;

            fill(&m, shapes[i].at, bytes * count);
            want = m;
            run(&r, &m, shapes[i].lanes);
            assert_int_equal(r.result.fault, PTX_FAULT_NONE);
            for (uint32_t lane = 0; lane < 32; lane++)
                for (uint32_t e = 0; e < count; e++) {
                    uint64_t v = lane * 77 + 5 + e;

                    if (shapes[i].lanes >> lane & 1)
                        memcpy(want.data + want.offsets[lane] + e * bytes, &v, bytes);
                }
            if (memcmp(m.data, want.data, BYTES))
                fail_msg("%s %s, %s: memory differs", space, kinds[n / 2].type, shapes[i].name);
        }
        ptx_close(&r);
    }
}

static void test_atomics(void **state)
{
    static const char *const ops[] = {"add.u32", "exch.b32", "max.u32"};

    (void)state;
    for (size_t n = 0; n < COUNT(ops) * 2; n++) {
        const char *space = n % 2 ? "shared" : "global";
        struct ptx_run r;
        char code[256];

        snprintf(code, sizeof(code), "@%%p1 atom.%s.%s %%r10, [%%rd4], %%r7;", space, ops[n / 2]);
        open_kernel(&r, space, false, code);
        for (size_t i = 0; i < COUNT(shapes); i++) {
            struct memory m, want;

            fill(&m, shapes[i].at, 4);
            want = m;
            run(&r, &m, shapes[i].lanes);
            assert_int_equal(r.result.fault, PTX_FAULT_NONE);
            for (uint32_t lane = 0; lane < 32; lane++) {
                uint32_t v = lane * 77 + 5, old, new;

                if (!(shapes[i].lanes >> lane & 1)) {
                    assert_int_equal(m.out[lane][0], OTHER);
                    continue;
                }
                memcpy(&old, want.data + want.offsets[lane], 4);
                new = n / 2 == 0 ? old + v : n / 2 == 1 ? v : old > v ? old : v;
                memcpy(want.data + want.offsets[lane], &new, 4);
                if (m.out[lane][0] != old)
                    fail_msg("%s %s, %s, lane %u: %x, not %x", space, ops[n / 2], shapes[i].name,
                             lane, m.out[lane][0], old);
            }
            if (memcmp(m.data, want.data, BYTES))
                fail_msg("%s %s, %s: memory differs", space, ops[n / 2], shapes[i].name);
        }
        ptx_close(&r);
    }
}

/* The first lane that is wrong is told, whatever the others' shape. */
static void test_faults(void **state)
{
    static const struct {
        const char *name, *code;
        uint32_t (*at)(uint32_t lane, uint32_t most);
        uint32_t lanes, thread;
        int32_t shift;
        enum ptx_fault fault;
    } cases[] = {
        {"line past the end", "@%p1 ld.global.u32 %r10, [%rd4];", past, ~0u, 16, 0,
         PTX_FAULT_ADDRESS},
        {"line before the start", "@%p1 st.global.u32 [%rd4], %r7;", before, ~0u, 0, 0,
         PTX_FAULT_ADDRESS},
        {"line past the end, some", "@%p1 st.global.u32 [%rd4], %r7;", past, 0x30ff0, 16, 0,
         PTX_FAULT_ADDRESS},
        {"same, outside", "@%p1 ld.global.u32 %r10, [%rd4+4];", same, ~7u, 3, 0, PTX_FAULT_ADDRESS},
        {"second row", "@%p1 ld.global.u32 %r10, [%rd4+4];", two, ~0u, 16, 0, PTX_FAULT_ADDRESS},
        {"misaligned line", "@%p1 ld.global.u32 %r10, [%rd4];", line, ~0u, 0, 2,
         PTX_FAULT_MISALIGNED},
        {"misaligned, same", "@%p1 st.global.u32 [%rd4+1], %r7;", same, ~1u, 1, -4,
         PTX_FAULT_MISALIGNED},
        {"atomics at one address", "@%p1 atom.global.add.u32 %r10, [%rd4+4], 1;", same, ~3u, 2, 0,
         PTX_FAULT_ADDRESS},
        {"one atomic", "@%p1 red.global.add.u32 [%rd4+4], 1;", odd_one, ~0u, 19, 0,
         PTX_FAULT_ADDRESS},
        {"shared", "@%p1 ld.shared.u32 %r10, [%rd4];", past, ~0u, 16, 0, PTX_FAULT_ADDRESS},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ptx_run r;
        struct memory m;

        open_kernel(&r, strstr(cases[i].code, "shared") ? "shared" : "global", false,
                    cases[i].code);
        fill(&m, cases[i].at, 4);
        for (uint32_t n = 0; n < 32; n++)
            m.offsets[n] += cases[i].shift;
        run(&r, &m, cases[i].lanes);
        if (r.result.fault != cases[i].fault || r.result.thread != cases[i].thread)
            fail_msg("%s: %s", cases[i].name, r.result.text);
        ptx_close(&r);
    }
}

/* Of each width, as numbers with and without a sign, also in parts of a vector. */
static void test_parameters(void **state)
{
    static const struct {
        int8_t a;
        uint8_t b;
        int16_t c;
        uint16_t d;
        uint16_t pad;
        uint32_t e[2];
        uint64_t out;
    } p = {-3, 0xfd, -300, 0xfed4, 0, {7, 0x87654321}, 0};
    static const uint32_t want[] = {(uint32_t)-3, 0xfd, (uint32_t)-300, 0xfed4, 7, 0x87654321};
    uint32_t got[6][32];
    unsigned char bytes[sizeof(p)];
    struct ptx_run r;
    uint64_t out;

    (void)state;
    ptx_open(&r,
             PTX_HEAD
             ".visible .entry k(.param .align 8 .b8 p[24]) {\n"
             ".reg .b32 %r<9>; .reg .b64 %rd<4>; .reg .pred %p;\n"
             "mov.u32 %r1, 0; mov.u32 %r2, 0; mov.u32 %r3, 0; mov.u32 %r4, 0; mov.u32 %r5, 0;\n"
             "mov.u32 %r6, 0; mov.u32 %r7, %tid.x; setp.ne.u32 %p, %r7, 9;\n"
             "@%p ld.param.s8 %r1, [p]; @%p ld.param.u8 %r2, [p+1]; @%p ld.param.s16 %r3, [p+2];\n"
             "@%p ld.param.u16 %r4, [p+4]; @%p ld.param.v2.u32 {%r5, %r6}, [p+8];\n"
             "ld.param.u64 %rd1, [p+16]; mul.wide.u32 %rd2, %r7, 4; add.s64 %rd1, %rd1, %rd2;\n"
             "st.global.u32 [%rd1], %r1; st.global.u32 [%rd1+128], %r2;\n"
             "st.global.u32 [%rd1+256], %r3; st.global.u32 [%rd1+384], %r4;\n"
             "st.global.u32 [%rd1+512], %r5; st.global.u32 [%rd1+640], %r6; ret; }\n",
             "k");
    out = ptx_buffer(&r, NULL, sizeof(got));
    memcpy(bytes, &p, sizeof(p));
    memcpy(bytes + 16, &out, 8);
    assert_int_equal(ptx_go(&r, 1, 32, bytes, sizeof(bytes)), 0);
    assert_int_equal(ptx_memory_read(r.context, out, got, sizeof(got)), 0);
    for (size_t i = 0; i < 6; i++)
        for (uint32_t lane = 0; lane < 32; lane++)
            assert_int_equal(got[i][lane], lane == 9 ? 0 : want[i]);
    assert_int_equal(ptx_memory_destroy(r.context, out), 0);
    ptx_close(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads),      cmocka_unit_test(test_stores),
        cmocka_unit_test(test_atomics),    cmocka_unit_test(test_faults),
        cmocka_unit_test(test_parameters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
