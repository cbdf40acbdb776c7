/* SPDX-License-Identifier: MIT */
#include "ptx_fixture.h"

/* Several units in one text, as the linker makes it: what they share and what they do not. */

#define UNIT PTX_HEAD

static const char first[] = UNIT
    ".extern .func (.param .b32 r) twice(.param .b32 v);\n"
    ".extern .global .align 4 .b8 table[];\n"
    ".extern .const .align 4 .u32 factor;\n"
    ".global .u32 own = 5;\n" /* the other unit has one, too */
    ".weak .global .u32 shared_by_all = 7;\n"
    ".weak .func (.param .b32 r) both(.param .b32 v)\n"
    "{ .reg .b32 %r<3>; ld.param.b32 %r1, [v]; add.u32 %r1, %r1, 1000; st.param.b32 [r], %r1; "
    "ret; }\n"
    ".func (.param .b32 r) local(.param .b32 v)\n"
    "{ .reg .b32 %r<3>; ld.param.b32 %r1, [v]; add.u32 %r1, %r1, 1; st.param.b32 [r], %r1; ret; }\n"
    ".visible .entry k(.param .u64 out)\n{\n"
    ".reg .b32 %r<16>; .reg .b64 %rd<4>;\n"
    "ld.param.u64 %rd1, [out]; mov.u32 %r1, 21;"
    "{ .param .b32 a; .param .b32 r; st.param.b32 [a], %r1; call (r), twice, (a);"
    "ld.param.b32 %r2, [r]; }\n"
    "{ .param .b32 a; .param .b32 r; st.param.b32 [a], %r1; call (r), local, (a);"
    "ld.param.b32 %r3, [r]; }\n"
    "{ .param .b32 a; .param .b32 r; st.param.b32 [a], %r1; call (r), both, (a);"
    "ld.param.b32 %r4, [r]; }\n"
    "mov.u64 %rd2, table; ld.global.u32 %r5, [%rd2+8]; ld.const.u32 %r6, [factor];"
    "ld.global.u32 %r7, [own]; ld.global.u32 %r8, [shared_by_all];"
    "st.global.v4.u32 [%rd1], {%r2, %r3, %r4, %r5};"
    "st.global.v4.u32 [%rd1+16], {%r6, %r7, %r8, %r8}; ret;\n}\n";

static const char second[] = UNIT
    ".visible .global .align 4 .u32 table[4] = {1, 2, 3, 4};\n"
    ".visible .const .align 4 .u32 factor = 9;\n"
    ".global .u32 own = 6;\n"
    ".weak .global .u32 shared_by_all = 7;\n"
    ".func (.param .b32 r) local(.param .b32 v)\n"
    "{ .reg .b32 %r<3>; ld.param.b32 %r1, [v]; mul.lo.u32 %r1, %r1, 2; st.param.b32 [r], %r1; ret;"
    "}\n"
    ".weak .func (.param .b32 r) both(.param .b32 v)\n"
    "{ .reg .b32 %r<3>; ld.param.b32 %r1, [v]; add.u32 %r1, %r1, 1000; st.param.b32 [r], %r1; "
    "ret; }\n"
    ".visible .func (.param .b32 r) twice(.param .b32 v)\n"
    "{ .reg .b32 %r<4>; ld.param.b32 %r1, [v];"
    "{ .param .b32 a; .param .b32 q; st.param.b32 [a], %r1; call (q), local, (a);"
    "ld.param.b32 %r1, [q]; } ld.global.u32 %r2, [own]; add.u32 %r1, %r1, %r2;"
    "st.param.b32 [r], %r1; ret; }\n";

static void test_link(void **state)
{
    static const uint32_t expected[] = {48, 22, 1021, 3, 9, 5, 7, 7};

    (void)state;
    /* In either order. */
    for (unsigned order = 0; order < 2; order++) {
        char text[8192];
        uint32_t got[8];
        struct ptx_run r;
        uint64_t out, address, size;

        snprintf(text, sizeof(text), "%s\n%s\n", order ? second : first, order ? first : second);
        ptx_open(&r, text, "k");
        out = ptx_buffer(&r, NULL, sizeof(got));
        if (ptx_go(&r, 1, 1, &out, sizeof(out)))
            fail_msg("%s", r.result.text);
        ptx_memory_read(r.context, out, got, sizeof(got));
        for (unsigned i = 0; i < COUNT(expected); i++)
            assert_int_equal(got[i], expected[i]);
        assert_int_equal(ptx_module_global(r.module, "table", &address, &size), 0);
        assert_int_equal(size, 16);
        assert_null(ptx_module_kernel_at(r.module, 1));
        ptx_close(&r);
    }
}

/* What no kernel calls may call what nobody has. */
static void test_unreached(void **state)
{
    struct ptx_run r;

    (void)state;
    ptx_open(&r,
             UNIT ".extern .func far();\n.visible .func lost() { call far, (); ret; }\n"
                  ".visible .entry k() { ret; }\n",
             "k");
    if (ptx_go(&r, 1, 1, NULL, 0))
        fail_msg("%s", r.result.text);
    ptx_close(&r);
}

static const struct {
    const char *second, *said;
} errors[] = {
    {".visible .func both(.param .b32 v) { ret; }\n.visible .func both(.param .b32 v) { ret; }\n",
     "Duplicate definition of 'both'"},
    {".visible .global .u32 x = 1;\n" UNIT ".visible .global .u32 x = 2;\n",
     "Multiple definition of 'x'"},
    {".visible .func f() { ret; }\n" UNIT ".visible .func f() { ret; }\n",
     "Duplicate definition of 'f'"},
    {".func f() { ret; }\n" UNIT ".visible .entry q() { call hidden, (); ret; }\n",
     "Call target 'hidden' is not defined"},
    {".visible .global .u32 x\n", "syntax error"},
    {".func f() nonsense\n", "Parsing error near 'nonsense': syntax error"},
    {".visible .entry q()\n", "syntax error"},
    {".visible .entry q()\n.func f() { ret; }\n", "Parsing error near '.func': syntax error"},
    {".extern .func far();\n.visible .entry q() { call far, (); ret; }\n",
     "Unresolved extern function 'far', called by 'q'"},
    {".extern .func far();\n.func near() { call far, (); ret; }\n"
     ".visible .entry q() { call near, (); ret; }\n",
     "Unresolved extern function 'far', called by 'near'"},
    {".visible .global .attribute(.managed, .place 0x1000) .u32 x;\n",
     "Memory of managed variable 'x' is not there"},
};

static void test_errors(void **state)
{
    struct ptx_options options = {.threads = 1};
    struct ptx_context *context;

    (void)state;
    assert_int_equal(ptx_context_create(&options, &context), 0);
    for (size_t i = 0; i < COUNT(errors); i++) {
        struct ptx_module *module = NULL;
        char text[8192], log[512] = "";

        snprintf(text, sizeof(text), UNIT ".func hidden() { ret; }\n" UNIT "%s", errors[i].second);
        assert_int_equal(ptx_module_create(context, text, strlen(text), log, sizeof(log), &module),
                         VD_ERR_PARAMETER);
        if (!strstr(log, errors[i].said))
            fail_msg("%zu: %s", i, log);
    }
    ptx_context_destroy(context);
}

/* Registers that are vectors: as a whole, by element, in loads, stores, moves and calls. */
static void test_vectors(void **state)
{
    static const char text[] =
        PTX_HEAD ".func (.reg .u32 r) sum(.reg .v4 .u32 v)\n"
                 "{ add.u32 r, v.x, v.y; add.u32 r, r, v.z; mad.lo.u32 r, v.w, 10, r; ret; }\n"
                 ".visible .entry k(.param.u64 out)\n{\n"
                 ".reg.v4.u32 a, b<2>; .reg .u32 %r<4>; .reg .u64 %rd1;\n"
                 "ld.param.u64 %rd1, [out]; ld.global.v4.u32 a, [%rd1];"
                 "mov.v4.u32 b1, {a.w, a.z, a.y, a.x}; mov.v4.u32 a, {b1.x, b1.y, a.g, a.r};"
                 "st.global.v4.u32 [%rd1], b1; call (%r1), sum, (a);"
                 "ld.global.v8.u32 {_, _, _, _, %r2, _, _, %r3}, [%rd1];"
                 "st.global.v4.u32 [%rd1+16], {%r1, %r2, %r3, a.z}; ret;\n}\n";
    uint32_t words[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const uint32_t expected[] = {4, 3, 2, 1, 4 + 3 + 2 + 10, 5, 8, 2};
    struct ptx_run r;
    uint64_t out;

    (void)state;
    ptx_open(&r, text, "k");
    out = ptx_buffer(&r, words, sizeof(words));
    if (ptx_go(&r, 1, 3, &out, sizeof(out)))
        fail_msg("%s", r.result.text);
    ptx_memory_read(r.context, out, words, sizeof(words));
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(words[i], expected[i]);
    ptx_close(&r);
}

/* Compilers before PTX 3 end what declares a function by nothing, and ptxas takes it to this day.
 */
static void test_declarations(void **state)
{
    static const char text[] =
        PTX_HEAD ".visible .func (.param .b32 r) twice (.param .b32 v)\n"
                 ".func nothing\n"
                 ".extern .func far () .noreturn\n"
                 ".visible .func (.param .b32 r) more (.param .b32 v)\n"
                 ".file 1 \"<command-line>\"\n"
                 ".file 2 \"kernel.cu\"\n"
                 ".func last\n"
                 ".global .u32 base = 4;\n"
                 ".visible .entry k (.param .u64 out) .maxntid 32, 1, 1\n{\n"
                 ".reg .b32 %r<4>; .reg .b64 %rd<2>; ld.param.u64 %rd1, [out];"
                 "{ .param .b32 a; .param .b32 q; st.param.b32 [a], 5; call (q), twice, (a);"
                 "ld.param.b32 %r1, [q]; } call nothing; call last;"
                 "st.global.u32 [%rd1], %r1; ret;\n}\n"
                 ".func nothing { ret; }\n"
                 ".func last { ret; }\n"
                 ".visible .func (.param .b32 r) more (.param .b32 v)\n"
                 "{ .reg .b32 %r<3>; ld.param.b32 %r1, [v]; ld.global.u32 %r2, [base];"
                 "add.u32 %r1, %r1, %r2; st.param.b32 [r], %r1; ret; }\n"
                 ".visible .func (.param .b32 r) twice (.param .b32 v)\n"
                 "{ .reg .b32 %r<3>; ld.param.b32 %r1, [v]; add.u32 %r1, %r1, %r1;"
                 "{ .param .b32 a; .param .b32 q; st.param.b32 [a], %r1; call (q), more, (a);"
                 "ld.param.b32 %r1, [q]; } st.param.b32 [r], %r1; ret; }\n"
                 ".visible .func (.param .b32 r) far (.param .b32 v)";
    struct ptx_attributes attributes;
    struct ptx_run r;
    uint32_t got;
    uint64_t out;

    (void)state;
    ptx_open(&r, text, "k");
    out = ptx_buffer(&r, NULL, sizeof(got));
    if (ptx_go(&r, 1, 1, &out, sizeof(out)))
        fail_msg("%s", r.result.text);
    ptx_memory_read(r.context, out, &got, sizeof(got));
    assert_int_equal(got, 14);
    ptx_kernel_attributes(r.kernel, &attributes);
    assert_int_equal(attributes.max_threads, 32);
    ptx_close(&r);
}

/* call (_): the result goes nowhere, whatever has it. */
static void test_unwanted(void **state)
{
    static const char text[] =
        PTX_HEAD ".extern .func (.param .b64 r) malloc(.param .b64 n);\n"
                 ".global .u32 sum;\n"
                 ".func (.param .b32 r) memory(.param .b32 v)\n"
                 "{ .reg .b32 %r<3>; ld.param.b32 %r1, [v]; red.global.add.u32 [sum], %r1;"
                 "st.param.b32 [r], %r1; ret; }\n"
                 ".func (.reg .b32 r) register(.reg .b32 v)\n"
                 "{ red.global.add.u32 [sum], v; mov.b32 r, v; ret; }\n"
                 ".visible .entry k(.param .u64 out)\n{\n"
                 ".reg .b32 %r<4>; .reg .b64 %rd<4>; ld.param.u64 %rd1, [out];"
                 "mov.u32 %r1, 77; mov.u32 %r2, 100;"
                 "{ .param .b32 a; st.param.b32 [a], 1; call (_), memory, (a); }"
                 "{ .param .b64 n; st.param.b64 [n], 64; call (_), malloc, (n); }"
                 "mov.u32 %r3, 10; call.uni (_), register, (%r3);"
                 "P: .callprototype (.reg .b32 _) _ (.reg .b32 _);\n"
                 "mov.u64 %rd2, register; call (_), %rd2, (%r2), P;"
                 "ld.global.u32 %r3, [sum]; st.global.v2.u32 [%rd1], {%r3, %r1}; ret;\n}\n";
    static const char taken[] = PTX_HEAD ".func (.reg .b32 r) f(.reg .b32 v) { ret; }\n"
                                         ".visible .entry k() { call (_), f, (_); ret; }\n";
    struct ptx_module *module;
    struct ptx_run r;
    uint32_t got[2];
    uint64_t out;

    (void)state;
    ptx_open(&r, text, "k");
    out = ptx_buffer(&r, NULL, sizeof(got));
    if (ptx_go(&r, 1, 1, &out, sizeof(out)))
        fail_msg("%s", r.result.text);
    ptx_memory_read(r.context, out, got, sizeof(got));
    assert_int_equal(got[0], 111);
    assert_int_equal(got[1], 77);
    assert_int_equal(
        ptx_module_create(r.context, taken, strlen(taken), r.log, sizeof(r.log), &module),
        VD_ERR_PARAMETER);
    assert_non_null(strstr(r.log, "Arguments mismatch for instruction 'call'"));
    ptx_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link),         cmocka_unit_test(test_unreached),
        cmocka_unit_test(test_errors),       cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_declarations), cmocka_unit_test(test_unwanted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
