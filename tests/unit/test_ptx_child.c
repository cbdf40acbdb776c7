/* SPDX-License-Identifier: MIT */
#include "ptx_fixture.h"

#include <pthread.h>
#include <unistd.h>

/* Kernels that launch kernels: order, errors, limits. */

#define FUNCTION(result, name, ...) \
    ".extern .func (.param " result " r) __cudaCDP2" name "(" __VA_ARGS__ ");\n"
#define CALL(name, ...) "call (r), __cudaCDP2" name ", (" __VA_ARGS__ ");"

/*
 * start(kernel, threads, log, value, stream) launches a kernel of the two parameters (log, value)
 * and gives the error, 1000 if there was no buffer. `note` writes down `value` behind those before.
 */
static const char head[] = PTX_HEAD FUNCTION(
    ".b64", "GetParameterBufferV2",
    ".param .b64 f, .param .align 4 .b8 g[12], .param .align 4 .b8 b[12], .param .b32 s")
    FUNCTION(".b32", "LaunchDeviceV2", ".param .b64 p, .param .b64 s") FUNCTION(
        ".b32", "StreamCreateWithFlags",
        ".param .b64 p, .param .b32 f") FUNCTION(".b32", "EventCreateWithFlags",
                                                 ".param .b64 p, .param .b32 f")
        FUNCTION(".b32", "EventRecord", ".param .b64 e, .param .b64 s") FUNCTION(
            ".b32", "MemsetAsync", ".param .b64 p, .param .b32 v, .param .b64 n, .param .b64 s")
            FUNCTION(".b32", "MemcpyAsync",
                     ".param .b64 p, .param .b64 q, .param .b64 n, .param .b32 k, .param .b64 s")
                FUNCTION(".b32", "GetLastError", ) FUNCTION(".b32", "PeekAtLastError", ) FUNCTION(
                    ".b64", "GetErrorName",
                    ".param .b32 e") ".extern .func cudaGraphSetConditional(.param .b64 h, .param "
                                     ".b32 v);\n"
                                     /* The toolkit's own runtime has one, too, for another driver.
                                      */
                                     ".extern .func other_driver();\n"
                                     ".visible .func (.param .b32 r) __cudaCDP2GetDevice(.param "
                                     ".b64 p) { call other_driver, ();"
                                     " ret; }\n"
                                     ".func (.param .b32 e) start(.param .b64 k, .param .b32 t, "
                                     ".param .b64 log, .param .b32 v,"
                                     " .param .b64 stream)\n{\n"
                                     ".reg .b64 %k, %log, %s, %p; .reg .b32 %t, %v, %e; .reg .pred "
                                     "%none;\n"
                                     "ld.param.b64 %k, [k]; ld.param.b32 %t, [t]; ld.param.b64 "
                                     "%log, [log]; ld.param.b32 %v, [v];"
                                     "ld.param.b64 %s, [stream];"
                                     "{ .param .b64 f; .param .align 4 .b8 g[12]; .param .align 4 "
                                     ".b8 b[12]; .param .b32 s;"
                                     " .param .b64 r; st.param.b64 [f], %k; st.param.b32 [g], 1; "
                                     "st.param.b32 [g+4], 1;"
                                     " st.param.b32 [g+8], 1; st.param.b32 [b], %t; st.param.b32 "
                                     "[b+4], 1; st.param.b32 [b+8], 1;"
                                     " st.param.b32 [s], 0;" CALL(
                                         "GetParameterBufferV2",
                                         "f, g, b, s") " ld.param.b64 %p, [r]; }"
                                                       "mov.b32 %e, 1000; setp.eq.u64 %none, %p, "
                                                       "0; @%none bra OUT;"
                                                       "st.u64 [%p], %log; st.u32 [%p+8], %v;"
                                                       "{ .param .b64 a; .param .b64 b; .param "
                                                       ".b32 r; st.param.b64 [a], %p; st.param.b64 "
                                                       "[b], %s;" CALL(
                                                           "LaunchDeviceV2",
                                                           "a, b") " ld.param.b32 %e, [r]; }\n"
                                                                   "OUT: st.param.b32 [e], %e; "
                                                                   "ret;\n}\n"
                                                                   ".func note(.param .b64 log, "
                                                                   ".param .b32 v)\n{\n"
                                                                   ".reg .b64 %log, %at; .reg .b32 "
                                                                   "%v, %n;"
                                                                   "ld.param.b64 %log, [log]; "
                                                                   "ld.param.b32 %v, [v]; "
                                                                   "atom.global.add.u32 %n, "
                                                                   "[%log], 1;"
                                                                   "mul.wide.u32 %at, %n, 4; "
                                                                   "add.u64 %at, %at, %log; "
                                                                   "st.global.u32 [%at+4], %v; "
                                                                   "ret;\n}\n"
                                                                   ".visible .entry child(.param "
                                                                   ".u64 log, .param .u32 v)\n{\n"
                                                                   ".reg .b64 %log; .reg .b32 %v; "
                                                                   "ld.param.u64 %log, [log]; "
                                                                   "ld.param.u32 %v, [v];"
                                                                   "{ .param .b64 a; .param .b32 "
                                                                   "b; st.param.b64 [a], %log; "
                                                                   "st.param.b32 [b], %v;"
                                                                   " call note, (a, b); } "
                                                                   "ret;\n}\n";

/* Within kernels: %log, %k (a kernel), %e (the error). */
#define BEGIN(name)                                                                                \
    ".visible .entry " name "(.param .u64 log, .param .u32 v)\n{\n"                                \
    ".reg .b64 %log, %k, %s; .reg .b32 %v, %e; .reg .pred %p; .local .b64 handle; .reg .b64 %h;\n" \
    "ld.param.u64 %log, [log]; ld.param.u32 %v, [v];"
#define END "ret;\n}\n"
#define START(threads, value, stream)                                                             \
    "{ .param .b64 a; .param .b32 b; .param .b64 c; .param .b32 d; .param .b64 f; .param .b32 r;" \
    " st.param.b64 [a], %k; st.param.b32 [b], " threads "; st.param.b64 [c], %log;"               \
    " st.param.b32 [d], " value "; st.param.b64 [f], " stream ";"                                 \
    " call (r), start, (a, b, c, d, f); ld.param.b32 %e, [r]; }"
#define NOTE(value)                                                                    \
    "{ .param .b64 a; .param .b32 b; st.param.b64 [a], %log; st.param.b32 [b], " value \
    "; call note, (a, b); }"

static void open_text(struct ptx_run *r, const char *text, const char *kernel,
                      const struct ptx_options *options)
{
    char all[16384];

    assert_true(snprintf(all, sizeof(all), "%s%s", head, text) < (int)sizeof(all));
    ptx_open_options(r, all, kernel, options);
}

static int go(struct ptx_run *r, uint64_t log, uint32_t value)
{
    struct {
        uint64_t log;
        uint32_t value;
    } parameters = {log, value};

    return ptx_go(r, 1, 1, &parameters, sizeof(parameters));
}

/* What was noted is these numbers. */
static void noted(struct ptx_run *r, uint64_t log, const uint32_t *expected, uint32_t count)
{
    uint32_t got[64] = {0};

    assert_int_equal(ptx_memory_read(r->context, log, got, sizeof(got)), 0);
    for (uint32_t i = 0; i < count && i < got[0]; i++)
        assert_int_equal(got[1 + i], expected[i]);
    assert_int_equal(got[0], count);
}

static const struct ptx_options plain = {.threads = 2, .seconds = 60};

static void test_order(void **state)
{
    static const char text[] = BEGIN("nest") "mov.u64 %k, child;" NOTE("%v") START(
        "1", "6", "3") START("1", "5", "0")
        END BEGIN("k") "mov.u64 %k, child; mov.u64 %h, handle; cvta.local.u64 %h, %h;" START(
            "1", "9", "3") START("1", "1", "0")
            START("1", "2", "4") "{ .param .b64 a; .param .b32 b; .param .b32 r; st.param.b64 [a], "
                                 "%h; st.param.b32 [b], 1;" CALL("StreamCreateWithFlags", "a, b") "} ld.local.u64 %s, [handle];" START(
                                     "1", "3",
                                     "%s") "{ .param .b64 a; .param .b32 b; .param .b32 "
                                           "r; st.param.b64 [a], %h; st.param.b32 [b], "
                                           "2;" CALL("EventCreateWithFlags",
                                                     "a, b") "}"
                                                             "{ .param .b64 a; .param "
                                                             ".b64 b; .param .b32 r; "
                                                             "ld.local.u64 %h, [handle];"
                                                             " st.param.b64 [a], %h; "
                                                             "st.param.b64 [b], %s;" CALL(
                                                                 "EventRecord",
                                                                 "a, b") " ld.param.b32 "
                                                                         "%e, [r]; "
                                                                         "setp.ne.u32 "
                                                                         "%p, %e, 0; @%p "
                                                                         "trap; }"
                                                                         "mov.u64 %k, "
                                                                         "nest;" START(
                                                                             "1", "4",
                                                                             "0") "mov."
                                                                                  "u64 "
                                                                                  "%k, "
                                                                                  "child"
                                                                                  ";" START(
                                                                                      "1", "7", "0")
                                                                                      NOTE("0") END;
    static const uint32_t expected[] = {0, 1, 2, 3, 4, 5, 6, 7, 9};
    struct ptx_run r;

    (void)state;
    open_text(&r, text, "k", &plain);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t log = ptx_buffer(&r, NULL, 256);

        if (go(&r, log, 0))
            fail_msg("%s", r.result.text);
        noted(&r, log, expected, COUNT(expected));
    }
    ptx_close(&r);
}

/* Many blocks of many threads, each with a child. */
static void test_many(void **state)
{
    static const char text[] =
        ".visible .entry add(.param .u64 log, .param .u32 v)\n{\n"
        ".reg .b64 %log; .reg .b32 %v; ld.param.u64 %log, [log]; ld.param.u32 %v, [v];"
        "red.global.add.u32 [%log], %v; ret;\n}\n" BEGIN(
            "k") ".reg .b32 %t; mov.u64 %k, add; mov.u32 %t, %tid.x;" START("64", "%t", "0") END;
    struct {
        uint64_t log;
        uint32_t value;
    } parameters = {0};
    struct ptx_run r;
    uint32_t sum;

    (void)state;
    open_text(&r, text, "k", &plain);
    parameters.log = ptx_buffer(&r, NULL, 4);
    if (ptx_go(&r, 16, 100, &parameters, sizeof(parameters)))
        fail_msg("%s", r.result.text);
    ptx_memory_read(r.context, parameters.log, &sum, 4);
    assert_int_equal(sum, 16 * 64 * (99 * 100 / 2));
    ptx_close(&r);
}

/* Copies and fills wait for the grids before them. */
static void test_copies(void **state)
{
    static const char text[] = BEGIN("k") "mov.u64 %k, child; add.u64 %s, %log, 8;" START(
        "1", "5",
        "0") "{ .param .b64 a; .param .b64 b; .param .b64 c; .param .b32 d; .param .b64 f; .param "
             ".b32 r;"
             " st.param.b64 [a], %s; add.u64 %h, %log, 4; st.param.b64 [b], %h; st.param.b64 [c], "
             "4;"
             " st.param.b32 [d], 3; st.param.b64 [f], 0;" CALL(
                 "MemcpyAsync",
                 "a, b, c, d, f") " ld.param.b32 %e, [r]; }" NOTE("77") "{ .param .b64 a; .param "
                                                                        ".b32 b; .param .b64 c; "
                                                                        ".param .b64 d; .param "
                                                                        ".b32 r;"
                                                                        " add.u64 %h, %log, 4; "
                                                                        "st.param.b64 [a], %h; "
                                                                        "st.param.b32 [b], 1; "
                                                                        "st.param.b64 [c], %log;"
                                                                        " st.param.b64 [c], 3; "
                                                                        "st.param.b64 [d], 0;" CALL(
                                                                            "MemsetAsync",
                                                                            "a, b, c, d") "}" END;
    static const uint32_t expected[] = {0x010101, 77};
    struct ptx_run r;
    uint64_t log;

    (void)state;
    /* 77 first, then the child's 5, which the copy of 77 replaces, and the fill of the first. */
    open_text(&r, text, "k", &plain);
    log = ptx_buffer(&r, NULL, 256);
    if (go(&r, log, 0))
        fail_msg("%s", r.result.text);
    noted(&r, log, expected, COUNT(expected));
    ptx_close(&r);
}

static void test_errors(void **state)
{
    static const char text[] =
        BEGIN("k") "mov.u64 %k, child;" START("1025", "1", "0")
            NOTE("%e") "{ .param .b32 r;" CALL("PeekAtLastError", ) " ld.param.b32 %e, [r]; }" NOTE(
                "%"
                "e") "{ .param .b32 r;" CALL("GetLastError", ) " ld.param.b32 %e, [r]; }" NOTE("%e") "{ .param .b32 r;" CALL("GetLas"
                                                                                                                             "tErro"
                                                                                                                             "r", ) " ld.param.b32 %e, [r]; }" NOTE("%e")
                START("1", "1", "12345")
                    NOTE("%e") "mov.u64 %k, note;" START("1", "1", "0") "{ .param .b32 r;" CALL(
                        "GetLastError", ) " ld.param.b32 %e, [r]; }" NOTE("%e") "{ .param .b32 a; "
                                                                                ".param .b64 r; "
                                                                                "st.param.b32 [a], "
                                                                                "%e;" CALL(
                                                                                    "GetErrorNam"
                                                                                    "e",
                                                                                    "a") " ld."
                                                                                         "param."
                                                                                         "b64 "
                                                                                         "%h, "
                                                                                         "[r]; "
                                                                                         "ld."
                                                                                         "u32 "
                                                                                         "%e, "
                                                                                         "[%h+8]"
                                                                                         "; "
                                                                                         "}" NOTE(
                                                                                             "%e") /* cudaErro, rInv, alid... */
        "{ .param .b64 a; .param .b32 b; st.param.b64 [a], %log; st.param.b32 [b], 6;"
        " call cudaGraphSetConditional, (a, b); }" END;
    static const uint32_t expected[] = {1000, 9, 9, 0, 400, 98};
    struct ptx_run r;
    uint32_t word[8];
    uint64_t log;

    (void)state;
    open_text(&r, text, "k", &plain);
    log = ptx_buffer(&r, NULL, 256);
    if (go(&r, log, 0))
        fail_msg("%s", r.result.text);
    ptx_memory_read(r.context, log, word, sizeof(word));
    assert_int_equal(word[0], 6); /* the conditional; seven were noted */
    for (unsigned i = 0; i < COUNT(expected); i++)
        assert_int_equal(word[1 + i], expected[i]);
    assert_memory_equal(&word[7], "rInv", 4);
    ptx_close(&r);
}

/* The first form of a launch; and what was launched is nobody's any more. */
static void test_twice(void **state)
{
    static const char text[] = FUNCTION(
        ".b64", "GetParameterBuffer",
        ".param .b64 a, .param .b64 n") FUNCTION(".b32", "LaunchDevice",
                                                 ".param .b64 f, .param .b64 p, .param .align 4 "
                                                 ".b8 g[12],"
                                                 " .param .align 4 .b8 b[12], .param .b32 s, "
                                                 ".param .b64 t")
        BEGIN(
            "k") "mov.u64 %k, child;"
                 "{ .param .b64 a; .param .b64 n; .param .b64 r; st.param.b64 [a], 8; st.param.b64 "
                 "[n], 12;" CALL(
                     "GetParameterBuffer",
                     "a, n") " ld.param.b64 %h, [r]; }"
                             "st.u64 [%h], %log; st.u32 [%h+8], 5; mov.u32 %v, 0;\n"
                             "AGAIN: { .param .b64 f; .param .b64 p; .param .align 4 .b8 g[12];"
                             " .param .align 4 .b8 b[12]; .param .b32 s; .param .b64 t; .param "
                             ".b32 r;"
                             " st.param.b64 [f], %k; st.param.b64 [p], %h; st.param.b32 [g], 1; "
                             "st.param.b32 [g+4], 1;"
                             " st.param.b32 [g+8], 1; st.param.b32 [b], 1; st.param.b32 [b+4], 1;"
                             " st.param.b32 [b+8], 1; st.param.b32 [s], 0; st.param.b64 [t], "
                             "0;" CALL("LaunchDevice",
                                       "f, p, g, b, s, t") " ld.param.b32 %e, [r]; "
                                                           "}" NOTE("%e") "add.u32 %v, "
                                                                          "%v, 1; "
                                                                          "setp.lt.u32 "
                                                                          "%p, %v, 2; "
                                                                          "@%p bra AGAIN;"
                                                                          "{ .param .b64 "
                                                                          "p; .param "
                                                                          ".b64 s; "
                                                                          ".param .b32 "
                                                                          "r; "
                                                                          "st.param.b64 "
                                                                          "[p], %h; "
                                                                          "st.param.b64 "
                                                                          "[s], 0;" CALL(
                                                                              "LaunchDevi"
                                                                              "ceV2",
                                                                              "p, s") " l"
                                                                                      "d."
                                                                                      "pa"
                                                                                      "ra"
                                                                                      "m."
                                                                                      "b3"
                                                                                      "2 "
                                                                                      "%e"
                                                                                      ", "
                                                                                      "[r"
                                                                                      "];"
                                                                                      " "
                                                                                      "}" NOTE("%e")
                                                                                          END;
    static const uint32_t expected[] = {0, 1, 1, 5};
    struct ptx_run r;
    uint64_t log;

    (void)state;
    open_text(&r, text, "k", &plain);
    log = ptx_buffer(&r, NULL, 256);
    if (go(&r, log, 0))
        fail_msg("%s", r.result.text);
    noted(&r, log, expected, COUNT(expected));
    ptx_close(&r);
}

/* Grids in grids: 24 deep, then an error. */
static void test_depth(void **state)
{
    static const char text[] = BEGIN("k") "mov.u64 %k, k; add.u32 %v, %v, 1;" START(
        "1", "%v", "0") "setp.eq.u32 %p, %e, 0; @%p bra OUT;" NOTE("%v") NOTE("%e") "OUT:" END;
    static const uint32_t expected[] = {25, 65};
    struct ptx_run r;
    uint64_t log;

    (void)state;
    open_text(&r, text, "k", &plain);
    log = ptx_buffer(&r, NULL, 256);
    if (go(&r, log, 0))
        fail_msg("%s", r.result.text);
    noted(&r, log, expected, COUNT(expected));
    ptx_close(&r);
}

/* As many may wait, then there is an error; the next launch has all places again. */
static void test_pending(void **state)
{
    static const char text[] = BEGIN(
        "k") ".reg .b32 %n; mov.u64 %k, child; mov.u32 %n, 0; mov.b64 %s, 0;\n"
             "AGAIN: add.u32 %n, %n, 1;" START(
                 "0x20", "%n",
                 "%s") "setp.eq.u32 %p, %e, 0; @%p bra AGAIN;"
                       "{ .param .b32 r;" CALL(
                           "GetLastError", ) " ld.param.b32 %e, [r]; }"
                                             "st.global.v2.u32 [%log+8], {%n, %e}; trap; " END;
    struct ptx_run r;
    uint32_t got[2];
    uint64_t log;

    (void)state;
    open_text(&r, text, "k", &plain);
    log = ptx_buffer(&r, NULL, 256);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(go(&r, log, 0), VD_ERR_DECODE);
        assert_int_equal(r.result.fault, PTX_FAULT_TRAP);
        ptx_memory_read(r.context, log + 8, got, sizeof(got));
        assert_true(got[0] > PTX_MAX_CHILDREN && got[0] < 2 * PTX_MAX_CHILDREN);
        assert_int_equal(got[1], 69);
    }
    /* What a grid with a fault has launched does not run. */
    ptx_memory_read(r.context, log, got, 4);
    assert_int_equal(got[0], 0);
    ptx_close(&r);
}

static void test_fault(void **state)
{
    static const char text[] =
        ".visible .entry bad(.param .u64 log, .param .u32 v)\n{ .reg .b32 %r; "
        "ld.global.u32 %r, [64]; ret; }\n" BEGIN("k") "mov.u64 %k, bad;" START(
            "1", "1", "0") "mov.u64 %k, child;" START("1", "1", "0")
            END BEGIN("copies") "{ .param .b64 a; .param .b32 b; .param .b64 c; .param .b64 d;"
                                " .param .b32 r; st.param.b64 [a], %log; st.param.b32 [b], 1; "
                                "st.param.b64 [c], 257;"
                                " st.param.b64 [d], 0;" CALL("MemsetAsync", "a, b, c, d") "}" END;
    struct ptx_run r;
    uint32_t count;
    uint64_t log;

    (void)state;
    open_text(&r, text, "k", &plain);
    log = ptx_buffer(&r, NULL, 256);
    assert_int_equal(go(&r, log, 0), VD_ERR_DECODE);
    assert_int_equal(r.result.fault, PTX_FAULT_ADDRESS);
    assert_non_null(strstr(r.result.text, "kernel bad"));
    ptx_memory_read(r.context, log, &count, 4);
    assert_int_equal(count, 0);
    assert_int_equal(ptx_module_kernel(r.module, "copies", &r.kernel), 0);
    assert_int_equal(go(&r, log, 0), VD_ERR_DECODE);
    assert_int_equal(r.result.fault, PTX_FAULT_ADDRESS);
    ptx_close(&r);
}

static const char endless[] = BEGIN("k") "mov.u64 %k, k;" START("1", "1", "3") END;

/* A kernel that comes after itself again and again has the time of one launch. */
static void test_endless(void **state)
{
    const struct ptx_options options = {.threads = 2, .seconds = 1};
    const struct ptx_options few = {.threads = 2, .instructions = 100000};
    struct ptx_run r;

    (void)state;
    open_text(&r, endless, "k", &options);
    assert_int_equal(go(&r, 0, 0), VD_ERR_DECODE);
    assert_int_equal(r.result.fault, PTX_FAULT_LIMIT);
    ptx_close(&r);
    open_text(&r, endless, "k", &few);
    assert_int_equal(go(&r, 0, 0), VD_ERR_DECODE);
    assert_int_equal(r.result.fault, PTX_FAULT_LIMIT);
    ptx_close(&r);
}

static void *cancel(void *argument)
{
    usleep(100000);
    ptx_cancel(argument);
    return NULL;
}

static void test_cancel(void **state)
{
    struct ptx_run r;
    pthread_t thread;

    (void)state;
    open_text(&r, endless, "k", &plain);
    assert_int_equal(pthread_create(&thread, NULL, cancel, r.context), 0);
    assert_int_equal(go(&r, 0, 0), VD_ERR_DECODE);
    assert_int_equal(r.result.fault, PTX_FAULT_CANCELLED);
    pthread_join(thread, NULL);
    ptx_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),  cmocka_unit_test(test_many),
        cmocka_unit_test(test_copies), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_twice),

        cmocka_unit_test(test_depth),  cmocka_unit_test(test_pending),
        cmocka_unit_test(test_fault),  cmocka_unit_test(test_endless),
        cmocka_unit_test(test_cancel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
