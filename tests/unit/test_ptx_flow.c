/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "ptx_fixture.h"

/*
 * Control flow and what threads do together. Each kernel writes one word a thread; the table says
 * what thread t of `threads` has to write.
 */

#define BEGIN                                                                   \
    ".visible .entry k(.param .u64 out)\n{\n"                                   \
    ".reg .pred %p<8>; .reg .b32 %r<32>; .reg .b64 %rd<16>; .reg .f32 %f<4>;\n" \
    "ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;" \
    "add.s64 %rd1, %rd1, %rd2;\n"
#define END "st.global.u32 [%rd1], %r2;\nret;\n}\n"

struct row {
    const char *name;
    uint32_t threads;
    const char *before, *code;
    uint32_t (*expected)(uint32_t t);
};

static uint32_t collatz(uint32_t t)
{
    uint32_t steps = 0;

    for (uint32_t n = t + 1; n != 1; steps++)
        n = n & 1 ? 3 * n + 1 : n / 2;
    return steps;
}

static uint32_t odd_even(uint32_t t)
{
    return t & 1 ? 100 + t : 200 + t;
}

static uint32_t first_warp_sum(uint32_t t)
{
    return t < 32 ? 31 * 32 / 2 : t;
}

static uint32_t half_sums(uint32_t t)
{
    return t % 32 < 16 ? 15 * 16 / 2 : 16 * 16 + 15 * 16 / 2;
}

static uint32_t odd_below(uint32_t t)
{
    return t % 32 / 2;
}

static uint32_t after_exit(uint32_t t)
{
    return t < 40 ? 0 : 60;
}

static uint32_t all_counted(uint32_t t)
{
    (void)t;
    return 32;
}

static uint32_t factorial(uint32_t t)
{
    uint32_t n = t % 10, v = 1;

    while (n)
        v *= n--;
    return v;
}

static uint32_t by_pointer(uint32_t t)
{
    return t % 3 == 0 ? t + 1000 : t % 3 == 1 ? t * 2 : t * t;
}

static uint32_t switched(uint32_t t)
{
    return 10 * (t % 3 + 1);
}

static uint32_t popcount_of_odd(uint32_t t)
{
    (void)t;
    return 48 + 0x100;
}

static uint32_t named(uint32_t t)
{
    return t < 32 ? 7 : t < 64 ? 7 + 1 : 0;
}

static uint32_t matched(uint32_t t)
{
    return 0x11111111u << t % 4;
}

static uint32_t shuffled(uint32_t t)
{
    uint32_t lane = t % 32;

    /* up by 1 in segments of 8, and whether it was inside */
    return (lane % 8 ? t - 1 : t) | (lane % 8 ? 1u << 16 : 0);
}

static uint32_t reduced(uint32_t t)
{
    return t % 32 < 8 ? 28 : 0xffffffff;
}

static uint32_t ordered(uint32_t t)
{
    (void)t;
    return 64;
}

static uint32_t generic_local(uint32_t t)
{
    return 3 * t;
}

static uint32_t active(uint32_t t)
{
    return t % 2 ? 0xaaaaaaaa : 0x55555555;
}

static uint32_t ballot(uint32_t t)
{
    return t % 32 < 20 ? 0x000aaaaa : 0;
}

/* 64 threads and the four bytes of the block's own. */
static uint32_t reserved(uint32_t t)
{
    (void)t;
    return 68;
}

static uint32_t scoped(uint32_t t)
{
    return t + 3;
}

static uint32_t nested(uint32_t t)
{
    uint32_t v = 5;

    if (t & 1) {
        v = t * 3;
        if (t & 2)
            v += 1000;
        else if (t & 4)
            v += 2000;
        v = t % 3 ? v : v + 7;
    } else {
        v += t & 8 ? 50 : 60;
    }
    return v;
}

static uint32_t jumped_in(uint32_t t)
{
    return t % 3 == 0 ? 1 : t % 3 == 1 ? 110 : 10;
}

static const struct row rows[] = {
    {"divergent loop", 96, "",
     "add.u32 %r3, %r1, 1; mov.u32 %r2, 0;\n"
     "L: setp.eq.u32 %p1, %r3, 1; @%p1 bra E; add.u32 %r2, %r2, 1; and.b32 %r4, %r3, 1;"
     "setp.eq.u32 %p2, %r4, 1; @%p2 bra O; shr.u32 %r3, %r3, 1; bra L;\n"
     "O: mad.lo.u32 %r3, %r3, 3, 1; bra L;\nE:\n",
     collatz},
    {"if and else", 33, "",
     "and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; @%p1 bra O; add.u32 %r2, %r1, 200; bra.uni E;\n"
     "O: add.u32 %r2, %r1, 100;\nE:\n",
     odd_even},
    {"if in if", 77, "",
     "mov.u32 %r2, 5; and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 0; @%p1 bra O;"
     "mul.lo.u32 %r2, %r1, 3; and.b32 %r3, %r1, 2; setp.ne.u32 %p2, %r3, 0; @!%p2 bra F;"
     "add.u32 %r2, %r2, 1000; bra G;\n"
     "F: and.b32 %r3, %r1, 4; setp.eq.u32 %p3, %r3, 0; @%p3 bra G; add.u32 %r2, %r2, 2000;\n"
     "G: rem.u32 %r3, %r1, 3; setp.eq.u32 %p4, %r3, 0; @%p4 add.u32 %r2, %r2, 7; bra E;\n"
     "O: and.b32 %r3, %r1, 8; setp.ne.u32 %p5, %r3, 0; @%p5 bra P; add.u32 %r2, %r2, 60; bra Q;\n"
     "P: add.u32 %r2, %r2, 50;\nQ:\nE:\n",
     nested},
    {"a jump into a body", 64, "",
     "mov.u32 %r2, 0; rem.u32 %r3, %r1, 3; setp.eq.u32 %p1, %r3, 2; @%p1 bra M;"
     "setp.eq.u32 %p2, %r3, 0; @%p2 bra E; add.u32 %r2, %r2, 100;\n"
     "M: add.u32 %r2, %r2, 10;\nE: max.u32 %r2, %r2, 1;\n",
     jumped_in},
    {"shuffle in one warp only", 96, "",
     "mov.u32 %r2, %r1; setp.gt.u32 %p1, %r1, 31; @%p1 bra E;\n"
     "shfl.sync.bfly.b32 %r3, %r2, 16, 31, -1; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 8, 31, -1; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 4, 31, -1; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 2, 31, -1; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 1, 31, -1; add.u32 %r2, %r2, %r3;\nE:\n",
     first_warp_sum},
    {"shuffle after lanes came in turns", 32, "",
     /* each lane loops its own number of times before all meet at the sum */
     "mov.u32 %r5, 0;\nW: setp.ge.u32 %p1, %r5, %r1; @%p1 bra D; add.u32 %r5, %r5, 1; bra W;\n"
     "D: mov.u32 %r2, %r5;\n"
     "shfl.sync.bfly.b32 %r3, %r2, 16, 31, -1; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 8, 31, -1; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 4, 31, -1; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 2, 31, -1; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 1, 31, -1; add.u32 %r2, %r2, %r3;\n",
     first_warp_sum},
    {"two masks at one shuffle", 32, "",
     "mov.u32 %r2, %r1; setp.lt.u32 %p1, %r1, 16; selp.b32 %r9, 0xffff, 0xffff0000, %p1;"
     "shfl.sync.bfly.b32 %r3, %r2, 8, 31, %r9; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 4, 31, %r9; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 2, 31, %r9; add.u32 %r2, %r2, %r3;"
     "shfl.sync.bfly.b32 %r3, %r2, 1, 31, %r9; add.u32 %r2, %r2, %r3;\n",
     half_sums},
    {"votes with masks of the lanes below", 64, "",
     "and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; mov.u32 %r9, %lanemask_lt;"
     "vote.sync.ballot.b32 %r2, %p1, %r9; popc.b32 %r2, %r2;\n",
     odd_below},
    {"exit before a barrier", 100, ".shared .u32 s;\n",
     "setp.lt.u32 %p1, %r1, 40; @%p1 exit; bar.sync 0; atom.shared.add.u32 %r3, [s], 1;"
     "bar.sync 0; ld.shared.u32 %r2, [s]; setp.eq.u32 %p2, %r2, 60; @%p2 bra G; trap;\nG:\n",
     after_exit},
    {"exit while others wait for the warp", 32, "",
     "setp.lt.u32 %p1, %r1, 16; @%p1 bra W; mov.u32 %r2, 32; st.global.u32 [%rd1], %r2; exit;\n"
     "W: vote.sync.ballot.b32 %r3, %p1, -1; popc.b32 %r3, %r3; add.u32 %r2, %r3, 16;\n",
     all_counted},
    {"barriers in both branches", 64, ".shared .u32 s;\n",
     "and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; @%p1 bra O;"
     "atom.shared.add.u32 %r4, [s], 1; bar.sync 0; bra E;\n"
     "O: atom.shared.add.u32 %r4, [s], 1; bar.sync 0;\nE: ld.shared.u32 %r2, [s];\n",
     ordered},
    {"bar.red", 96, "",
     "and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; bar.red.popc.u32 %r2, 0, %p1;"
     "bar.red.and.pred %p2, 0, %p1; bar.red.or.pred %p3, 0, %p1; selp.u32 %r4, 0x200, 0, %p2;"
     "selp.u32 %r5, 0x100, 0, %p3; add.u32 %r2, %r2, %r4; add.u32 %r2, %r2, %r5;\n",
     popcount_of_odd},
    {"named barriers", 96, ".shared .u32 s;\n",
     "mov.u32 %r2, 0; setp.gt.u32 %p1, %r1, 63; @%p1 bra E; setp.gt.u32 %p2, %r1, 31;"
     "@%p2 bra C; setp.eq.u32 %p3, %r1, 0; @%p3 st.shared.u32 [s], 7; bar.arrive 3, 64;"
     "mov.u32 %r2, 7; bra E;\n"
     "C: bar.sync 3, 64; ld.shared.u32 %r2, [s]; add.u32 %r2, %r2, 1;\nE:\n",
     named},
    {"a lock of lanes of one warp", 64, ".shared .u32 lock; .shared .u32 s;\n",
     "A: atom.shared.cas.b32 %r3, [lock], 0, 1; setp.ne.u32 %p1, %r3, 0; @%p1 bra A;"
     "ld.volatile.shared.u32 %r4, [s]; add.u32 %r4, %r4, 1; st.volatile.shared.u32 [s], %r4;"
     "membar.cta; atom.shared.exch.b32 %r3, [lock], 0; bar.sync 0; ld.shared.u32 %r2, [s];\n",
     ordered},
    {"waiting for the next lane", 64, ".shared .u32 s;\n",
     "W: ld.volatile.shared.u32 %r3, [s]; setp.ne.u32 %p1, %r3, %r1; @%p1 bra W;"
     "add.u32 %r3, %r3, 1; st.volatile.shared.u32 [s], %r3; bar.sync 0; ld.shared.u32 %r2, [s];\n",
     ordered},
    {"recursion", 64,
     ".func (.param .b32 r) fac(.param .b32 n)\n{ .reg .b32 %a<4>; .reg .pred %q;\n"
     "ld.param.u32 %a0, [n]; setp.eq.u32 %q, %a0, 0; mov.u32 %a1, 1; @%q bra D;\n"
     "sub.u32 %a2, %a0, 1;\n{ .param .b32 p0; .param .b32 r0; st.param.b32 [p0+0], %a2;"
     "call.uni (r0), fac, (p0); ld.param.b32 %a3, [r0+0]; }\nmul.lo.u32 %a1, %a0, %a3;\n"
     "D: st.param.b32 [r+0], %a1; ret; }\n",
     "rem.u32 %r3, %r1, 10; { .param .b32 p0; .param .b32 r0; st.param.b32 [p0], %r3;"
     "call (r0), fac, (p0); ld.param.b32 %r2, [r0]; }\n",
     factorial},
    {"indirect calls", 64,
     ".func (.reg .u32 r) f0(.reg .u32 n) { add.u32 r, n, 1000; ret; }\n"
     ".func (.reg .u32 r) f1(.reg .u32 n) { shl.b32 r, n, 1; ret; }\n"
     ".func (.reg .u32 r) f2(.reg .u32 n) { mul.lo.u32 r, n, n; ret; }\n"
     ".global .u64 table[3] = {f0, f1, f2};\n",
     "rem.u32 %r3, %r1, 3; mul.wide.u32 %rd3, %r3, 8; mov.u64 %rd4, table;"
     "add.s64 %rd4, %rd4, %rd3; ld.global.u64 %rd5, [%rd4];"
     "P: .callprototype (.reg .u32 _) _ (.reg .u32 _);\ncall (%r2), %rd5, (%r1), P;\n",
     by_pointer},
    {"brx.idx", 64, "",
     "rem.u32 %r3, %r1, 3; T: .branchtargets A, B, C;\nbrx.idx %r3, T;\n"
     "A: mov.u32 %r2, 10; bra E;\nB: mov.u32 %r2, 20; bra E;\nC: mov.u32 %r2, 30;\nE:\n",
     switched},
    {"match.any", 64, "", "and.b32 %r3, %r1, 3; match.any.sync.b32 %r2, %r3, -1;\n", matched},
    {"shfl.up in segments", 64, "",
     "shfl.sync.up.b32 %r2|%p1, %r1, 1, 0x1800, -1; selp.u32 %r3, 0x10000, 0, %p1;"
     "or.b32 %r2, %r2, %r3;\n",
     shuffled},
    {"redux of some", 32, "",
     "mov.u32 %r2, -1; setp.gt.u32 %p1, %r1, 7; @%p1 bra E; redux.sync.add.u32 %r2, %r1, "
     "0xff;\nE:\n",
     reduced},
    {"generic addresses of local memory", 40, "",
     ".local .align 8 .b8 depot[16]; mov.u64 %rd3, depot; cvta.local.u64 %rd4, %rd3;"
     "st.u32 [%rd4+4], %r1; ld.local.u32 %r3, [%rd3+4]; st.local.u32 [depot+8], %r1;"
     "ld.u32 %r4, [%rd4+8]; add.u32 %r2, %r3, %r4; isspacep.local %p1, %rd4; @%p1 add.u32 %r2, "
     "%r2, %r1;\n",
     generic_local},
    {"activemask", 32, "",
     "and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; @%p1 bra O; activemask.b32 %r2; bra E;\n"
     "O: activemask.b32 %r2;\nE:\n",
     active},
    {"ballot of some", 32, "",
     "mov.u32 %r2, 0; setp.gt.u32 %p1, %r1, 19; @%p1 bra E; and.b32 %r3, %r1, 1;"
     "setp.eq.u32 %p2, %r3, 1; vote.sync.ballot.b32 %r2, %p2, 0xfffff;\nE:\n",
     ballot},
    {"the system's part of shared memory", 64, ".shared .u32 s;\n",
     "mov.u32 %r4, %reserved_smem_offset_1; cvt.u64.u32 %rd3, %r4; st.shared.u32 [s], %r1;"
     "atom.shared.add.u32 %r3, [%rd3], 1; bar.sync 0; ld.shared.u32 %r2, [%rd3];"
     "mov.u32 %r5, %total_smem_size; add.u32 %r2, %r2, %r5;\n",
     reserved},
    {"labels of blocks", 32, "",
     "mov.u32 %r2, %r1; { .reg .b32 t; mov.u32 t, 1; bra L; add.u32 %r2, %r2, 50; L: add.u32 %r2, "
     "%r2, t; }"
     "{ .reg .b32 t; mov.u32 t, 2; bra L; add.u32 %r2, %r2, 50; L: add.u32 %r2, %r2, t; }\n",
     scoped},
};

static void test_rows(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        char text[4096];
        uint32_t out[128];
        struct ptx_run r;
        uint64_t buffer;

        snprintf(text, sizeof(text), "%s%s%s%s%s", PTX_HEAD, row->before, BEGIN, row->code, END);
        ptx_open(&r, text, "k");
        buffer = ptx_buffer(&r, NULL, sizeof(out));
        if (ptx_go(&r, 1, row->threads, &buffer, sizeof(buffer))) {
            print_error("%s: %s\n", row->name, r.result.text);
            wrong++;
        }
        ptx_memory_read(r.context, buffer, out, sizeof(out));
        for (uint32_t t = 0; t < row->threads; t++)
            if (out[t] != row->expected(t)) {
                print_error("%s: thread %u: %u, not %u\n", row->name, t, out[t], row->expected(t));
                wrong++;
                break;
            }
        ptx_close(&r);
    }
    assert_int_equal(wrong, 0);
}

/* What ends a launch, and where. */
static const struct {
    const char *name, *code;
    enum ptx_fault fault;
} faults[] = {
    {"out of bounds", "add.s64 %rd1, %rd1, 4096;\nst.global.u32 [%rd1], 1;", PTX_FAULT_ADDRESS},
    {"null", "mov.u64 %rd1, 0;\nst.u32 [%rd1], 1;", PTX_FAULT_ADDRESS},
    {"far away", "mov.u64 %rd1, -8;\nld.u32 %r2, [%rd1];", PTX_FAULT_ADDRESS},
    {"misaligned", "add.s64 %rd1, %rd1, 2;\nst.global.u32 [%rd1], 1;", PTX_FAULT_MISALIGNED},
    {"vector past the end", "add.s64 %rd1, %rd1, 508;\nld.global.v2.u32 {%r2, %r3}, [%rd1];",
     PTX_FAULT_ADDRESS},
    {"constant", "mov.u64 %rd3, constant;\nst.u32 [%rd3], 1;", PTX_FAULT_READ_ONLY},
    {"shared", "mov.u64 %rd3, 4096;\nst.shared.u32 [%rd3], 1;", PTX_FAULT_ADDRESS},
    {"local", "mov.u64 %rd3, 1048576;\nld.local.u32 %r2, [%rd3];", PTX_FAULT_ADDRESS},
    {"parameter", "mov.u64 %rd3, 64;\nld.param.u32 %r2, [%rd3];", PTX_FAULT_ADDRESS},
    {"atomic", "mov.u64 %rd3, 64;\natom.global.add.u32 %r2, [%rd3], 1;", PTX_FAULT_ADDRESS},
    {"in the body of an if",
     "setp.lt.u32 %p1, %r1, 5; @%p1 bra L; add.s64 %rd1, %rd1, 4096;\nld.global.u32 %r2, [%rd1]; "
     "L:",
     PTX_FAULT_ADDRESS},
    {"trap", "\ntrap;", PTX_FAULT_TRAP},
    {"endless", "\nL: bra L;", PTX_FAULT_LIMIT},
    {"call of data", "mov.u64 %rd3, 77;\ncall %rd3, (), P;", PTX_FAULT_ADDRESS},
    {"endless recursion", "\ncall again, ();", PTX_FAULT_STACK},
    {"deadlock", "setp.lt.u32 %p1, %r1, 16; @%p1 bra L; bar.sync 1, 64;\nL: bar.sync 2, 64;",
     PTX_FAULT_DEADLOCK},
    {"barrier number", "\nbar.sync 16;", PTX_FAULT_INSTRUCTION},
};

static void test_faults(void **state)
{
    struct ptx_options options = {.threads = 2, .instructions = 1000000, .seconds = 60};

    (void)state;
    for (size_t i = 0; i < COUNT(faults); i++) {
        char text[4096];
        struct ptx_run r;
        uint64_t buffer;

        snprintf(text, sizeof(text), "%s%s%s%s\n%s",
                 PTX_HEAD ".const .u32 constant = 5;\n.func again() { call again, (); ret; }\n",
                 BEGIN, "P: .callprototype _ ();\n", faults[i].code, END);
        ptx_open_options(&r, text, "k", &options);
        buffer = ptx_buffer(&r, NULL, 512);
        assert_int_equal(ptx_go(&r, 2, 32, &buffer, sizeof(buffer)), VD_ERR_DECODE);
        if (r.result.fault != faults[i].fault)
            fail_msg("%s: %s", faults[i].name, r.result.text);
        assert_non_null(strstr(r.result.text, "kernel k, line "));
        if (faults[i].fault <= PTX_FAULT_TRAP)
            assert_int_equal(r.result.line, 12);
        /* The context lives on. */
        assert_int_equal(ptx_memory_destroy(r.context, buffer), 0);
        ptx_close(&r);
    }
}

static const struct {
    const char *code, *said;
} errors[] = {
    {"frob.s32 %r1, %r2;", "line 8; error   : Not a name of any known instruction: 'frob.s32'"},
    {"add.s33 %r1, %r2, %r3;", "Not a name of any known instruction: 'add.s33'"},
    {"add.s32 %r1, %r2;", "line 8; error   : Arguments mismatch for instruction 'add'"},
    {"add.s32 %rd1, %r1, %r2;", "Arguments mismatch"},
    {"add.s32 %r1, %r1, %q2;", "Unknown symbol '%q2'"},
    {"add.s32 %r1, %r2.b0, %r3;", "Arguments mismatch for instruction 'add'"},
    {"add.s32 %r1, %r2, -%r3;", "Arguments mismatch for instruction 'add'"},
    {"vadd.s32.s32.s32 %r1, -%r2, %r3;", "Arguments mismatch for instruction 'vadd'"},
    {"vadd.s32.s32.s32 %r1, %r2.h2, %r3;", "Arguments mismatch for instruction 'vadd'"},
    {"vadd.s32.s32.s32 %r1.b0, %r2, %r3;", "Arguments mismatch for instruction 'vadd'"},
    {"vadd2.s32.s32.s32 %r1.h01, %r2, %r3, %r1;", "Arguments mismatch for instruction 'vadd2'"},
    {"vadd4.s32.s32.s32 %r1, %r2.b10, %r3, %r1;", "Arguments mismatch for instruction 'vadd4'"},
    {"vshl.s32.s32.u32 %r1, %r2, %r3;", "Not a name of any known instruction"},
    {"vset.s32.s32 %r1, %r2, %r3;", "Not a name of any known instruction"},
    {"vadd2.s32.s32.s32.sat.add %r1, %r2, %r3, %r1;", "Not a name of any known instruction"},
    {"bra NOWHERE;", "Label 'NOWHERE' is not defined"},
    {"mov.u32 %r1, 99999999999999999999;", "Invalid number"},
    {"mov.u32 %r1, 1", "syntax error"},
    {"{{{{", "syntax error"},
    {".reg .b32 %r<3>;", "Duplicate"},
};

static void test_errors(void **state)
{
    struct ptx_options options = {.threads = 1};
    struct ptx_context *context;

    (void)state;
    assert_int_equal(ptx_context_create(&options, &context), 0);
    for (size_t i = 0; i < COUNT(errors); i++) {
        struct ptx_module *module = NULL;
        char text[1024], log[512];

        snprintf(text, sizeof(text), "%s%s\n}\n", PTX_HEAD BEGIN, errors[i].code);
        assert_int_equal(ptx_module_create(context, text, strlen(text), log, sizeof(log), &module),
                         VD_ERR_PARAMETER);
        assert_null(module);
        if (!strstr(log, errors[i].said))
            fail_msg("%s: %s", errors[i].code, log);
    }
    ptx_context_destroy(context);
}

static void print(void *user, const char *text, size_t size)
{
    char *all = user;
    size_t used = strlen(all);

    assert_true(used + size < 1024);
    memcpy(all + used, text, size);
    all[used + size] = '\0';
}

static void test_printf(void **state)
{
    static const char text[] = PTX_HEAD
        ".extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);\n"
        ".global .b8 format[16] = {37, 100, 32, 37, 46, 50, 102, 32, 37, 115, 10, 0};\n"
        ".global .b8 word[4] = {104, 105, 0};\n"
        ".global .b8 pointers[16] = {37, 115, 32, 37, 112, 32, 37, 56, 112, 10, 0};\n" BEGIN
        ".local .align 16 .b8 depot[24]; mov.u64 %rd3, depot; cvta.local.u64 %rd4, %rd3;"
        "st.local.u32 [depot], -7; mov.b64 %rd5, 0d3FF8000000000000; st.local.u64 [depot+8], %rd5;"
        "mov.u64 %rd6, word; st.local.u64 [depot+16], %rd6; mov.u64 %rd7, format;"
        "{ .param .b64 a; .param .b64 b; .param .b32 r; st.param.b64 [a], %rd7;"
        "st.param.b64 [b], %rd4; call (r), vprintf, (a, b); ld.param.b32 %r2, [r]; }\n"
        "st.local.v2.u64 [depot], {0, 0}; st.local.u64 [depot+16], 16; mov.u64 %rd7, pointers;"
        "{ .param .b64 a; .param .b64 b; .param .b32 r; st.param.b64 [a], %rd7;"
        "st.param.b64 [b], %rd4; call (r), vprintf, (a, b); }\n" END;
    char said[1024] = "";
    struct ptx_options options = {.threads = 1, .print = print, .user = said};
    struct ptx_run r;
    uint64_t buffer;
    uint32_t count;

    (void)state;
    ptx_open_options(&r, text, "k", &options);
    buffer = ptx_buffer(&r, NULL, 512);
    assert_int_equal(ptx_go(&r, 1, 2, &buffer, sizeof(buffer)), 0);
    assert_string_equal(said,
                        "-7 1.50 hi\n-7 1.50 hi\n(null) (nil)     0x10\n(null) (nil)     0x10\n");
    ptx_memory_read(r.context, buffer, &count, sizeof(count));
    assert_int_equal(count, 3);
    ptx_close(&r);
}

static void test_heap(void **state)
{
    static const char text[] =
        PTX_HEAD ".extern .func (.param .b64 r) malloc(.param .b64 n);\n"
                 ".extern .func free(.param .b64 p);\n" BEGIN
                 "mov.u32 %r5, 0; mov.u32 %r2, 0;\nL: mov.u64 %rd5, 100;"
                 "{ .param .b64 a; .param .b64 r; st.param.b64 [a], %rd5; call (r), malloc, (a);"
                 "ld.param.b64 %rd6, [r]; }\nsetp.eq.u64 %p1, %rd6, 0; @%p1 trap;"
                 "st.u32 [%rd6+96], %r1; ld.u32 %r3, [%rd6+96]; add.u32 %r2, %r2, %r3;"
                 "{ .param .b64 a; st.param.b64 [a], %rd6; call free, (a); }\n"
                 "add.u32 %r5, %r5, 1; setp.lt.u32 %p2, %r5, 200; @%p2 bra L;\n" END;
    struct ptx_options options = {.threads = 2, .heap = 65536};
    struct ptx_run r;
    uint64_t buffer;
    uint32_t out[128];

    (void)state;
    ptx_open_options(&r, text, "k", &options);
    buffer = ptx_buffer(&r, NULL, sizeof(out));
    assert_int_equal(ptx_go(&r, 4, 128, &buffer, sizeof(buffer)), 0);
    ptx_memory_read(r.context, buffer, out, sizeof(out));
    for (uint32_t t = 0; t < 128; t++)
        assert_int_equal(out[t], 200 * t);
    ptx_close(&r);
}

/* Every block adds 1, all wait for all, then every block reads the sum. */
static void test_cooperative(void **state)
{
    static const char text[] = PTX_HEAD
        ".global .u32 count;\n" BEGIN
        "mov.u32 %r6, %ctaid.x; mul.wide.u32 %rd3, %r6, 4; add.s64 %rd1, %rd1, %rd3;"
        "atom.global.add.u32 %r3, [count], 1; mov.u32 %r4, %nctaid.x;\n"
        "W: ld.volatile.global.u32 %r2, [count]; setp.lt.u32 %p1, %r2, %r4; @%p1 bra W;\n" END;
    struct ptx_run r;
    uint32_t out[64];
    uint64_t buffer;
    struct ptx_launch launch = {.grid = {64, 1, 1},
                                .block = {1, 1, 1},
                                .cooperative = true,
                                .parameters = &buffer,
                                .parameter_bytes = sizeof(buffer)};

    (void)state;
    ptx_open(&r, text, "k");
    buffer = ptx_buffer(&r, NULL, sizeof(out));
    assert_int_equal(ptx_launch(r.kernel, &launch, &r.result), 0);
    ptx_memory_read(r.context, buffer, out, sizeof(out));
    for (uint32_t i = 0; i < 64; i++)
        assert_int_equal(out[i], 64);
    launch.grid[0] = PTX_MAX_COOPERATIVE + 1;
    assert_int_equal(ptx_launch(r.kernel, &launch, &r.result), VD_ERR_LIMIT);
    ptx_close(&r);
}

static atomic_bool cancelled;

static void *cancel(void *context)
{
    while (!atomic_load(&cancelled)) {
        ptx_cancel(context);
        usleep(1000);
    }
    return NULL;
}

static void test_cancel(void **state)
{
    static const char text[] = PTX_HEAD BEGIN "L: bra L;\n" END;
    struct ptx_run r;
    uint64_t buffer;
    pthread_t thread;

    (void)state;
    ptx_open(&r, text, "k");
    buffer = ptx_buffer(&r, NULL, 512);
    assert_int_equal(pthread_create(&thread, NULL, cancel, r.context), 0);
    assert_int_equal(ptx_go(&r, 4, 64, &buffer, sizeof(buffer)), VD_ERR_DECODE);
    atomic_store(&cancelled, true);
    pthread_join(thread, NULL);
    assert_int_equal(r.result.fault, PTX_FAULT_CANCELLED);
    ptx_close(&r);
}

static void test_memory(void **state)
{
    struct ptx_options options = {.threads = 1, .memory = 1 << 20};
    struct ptx_context *context;
    uint64_t a, b, base, size;
    uint32_t words[4] = {1, 2, 3, 4}, got[4];

    (void)state;
    assert_int_equal(ptx_context_create(&options, &context), 0);
    assert_int_equal(ptx_memory_create(context, 1000, &a), 0);
    assert_int_equal(ptx_memory_create(context, 16, &b), 0);
    assert_int_equal(ptx_memory_create(context, 2 << 20, &base), VD_ERR_MEMORY);
    assert_int_equal(a % 512, 0);
    assert_int_equal(ptx_memory_write(context, a + 8, words, 16), 0);
    assert_int_equal(ptx_memory_copy(context, b, a + 8, 16), 0);
    assert_int_equal(ptx_memory_read(context, b, got, 16), 0);
    assert_memory_equal(got, words, 16);
    assert_int_equal(ptx_memory_write(context, b + 1, words, 16), VD_ERR_PARAMETER);
    assert_int_equal(ptx_memory_read(context, a - 1, got, 4), VD_ERR_PARAMETER);
    assert_int_equal(ptx_memory_set(context, b, 0x1234, 2, 8), 0);
    assert_int_equal(ptx_memory_read(context, b, got, 16), 0);
    assert_int_equal(got[3], 0x12341234);
    assert_int_equal(ptx_memory_set(context, b, 0, 4, 5), VD_ERR_PARAMETER);
    assert_int_equal(ptx_memory_find(context, a + 999, &base, &size), 0);
    assert_true(base == a && size == 1000);
    assert_int_equal(ptx_memory_find(context, a + 1000, &base, &size), VD_ERR_ID);
    assert_int_equal(ptx_memory_destroy(context, a + 1), VD_ERR_ID);
    assert_int_equal(ptx_memory_destroy(context, a), 0);
    assert_int_equal(ptx_memory_map(context, words, sizeof(words), &a), 0);
    assert_int_equal(ptx_memory_set(context, a, 9, 4, 1), 0);
    assert_int_equal(words[0], 9);
    ptx_context_destroy(context);
}

/* Bytes behind memory: a page of slack, which does not count, and then nothing. */
static void test_slack(void **state)
{
    static const char text[] =
        PTX_HEAD ".visible .entry k(.param .u64 p) {\n.reg .b64 %d; .reg .b32 %r;\n"
                 "ld.param.u64 %d, [p]; ld.global.u32 %r, [%d]; add.u32 %r, %r, 1; "
                 "st.global.u32 [%d], %r; ret; }\n";
    static const struct {
        uint64_t slack, size, at;
        enum ptx_fault err;
    } cases[] = {
        {0, 64, 60, PTX_FAULT_NONE},          {0, 64, 64, PTX_FAULT_ADDRESS},
        {512, 64, 64, PTX_FAULT_NONE},        {512, 64, 4092, PTX_FAULT_NONE},
        {512, 64, 4096, PTX_FAULT_ADDRESS},   {512, 4096, 4096 + 508, PTX_FAULT_NONE},
        {512, 4096, 8192, PTX_FAULT_ADDRESS},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ptx_options options = {.threads = 1, .slack = cases[i].slack, .memory = 4096};
        uint64_t address, used = 0;
        struct ptx_run r;

        ptx_open_options(&r, text, "k", &options);
        address = ptx_buffer(&r, NULL, cases[i].size);
        ptx_memory_usage(r.context, &used);
        assert_int_equal(used, cases[i].size);
        address += cases[i].at;
        ptx_go(&r, 1, 1, &address, 8);
        if (r.result.fault != cases[i].err)
            fail_msg("case %zu: %d, %s", i, r.result.fault, r.result.text);
        /* People are told how far it was. */
        if (r.result.fault && !strstr(r.result.text, "bytes behind an allocation"))
            fail_msg("case %zu: %s", i, r.result.text);
        assert_int_equal(ptx_memory_destroy(r.context, address - cases[i].at), 0);
        ptx_memory_usage(r.context, &used);
        assert_int_equal(used, 0);
        ptx_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_faults),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_printf),
        cmocka_unit_test(test_heap),   cmocka_unit_test(test_cooperative),
        cmocka_unit_test(test_cancel), cmocka_unit_test(test_slack),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
