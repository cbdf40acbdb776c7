/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "fuzz.h"

#include <compute/cuda/ptx/ptx.h>

/* Hostile text: compiled, and what compiles runs, on little memory and few instructions. */

static const char *const seeds[] = {
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".visible .entry k(.param .u64 out, .param .u32 n)\n{\n"
    ".reg .pred %p<4>; .reg .b32 %r<16>; .reg .b64 %rd<8>; .reg .f32 %f<4>;\n"
    ".shared .align 4 .b8 s[128];\n"
    "ld.param.u64 %rd1, [out]; cvta.to.global.u64 %rd1, %rd1; mov.u32 %r1, %tid.x;\n"
    "mul.wide.u32 %rd2, %r1, 4; add.s64 %rd1, %rd1, %rd2; setp.gt.u32 %p1, %r1, 15;\n"
    "@%p1 bra L; mov.u64 %rd3, s; add.s64 %rd3, %rd3, %rd2; st.shared.u32 [%rd3], %r1;\n"
    "L: bar.sync 0; shfl.sync.bfly.b32 %r2, %r1, 1, 31, -1;\n"
    "atom.global.add.u32 %r3, [%rd1], %r2; cvt.rn.f32.u32 %f1, %r3; add.f32 %f2, %f1, %f1;\n"
    "st.global.f32 [%rd1+4], %f2; vote.sync.ballot.b32 %r4, %p1, -1; red.global.max.u32 [%rd1], "
    "%r4;\n"
    "ret;\n}\n",
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".global .align 4 .b8 g[8] = {1, 2, 3, 4};\n.const .u64 c[2] = {g, generic(g)+4};\n"
    ".extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);\n"
    ".func (.param .b32 r) f(.param .b32 n)\n{ .reg .b32 %a<4>; .reg .pred %q;\n"
    "ld.param.u32 %a0, [n]; setp.eq.u32 %q, %a0, 0; mov.u32 %a1, 1; @%q bra D;\n"
    "sub.u32 %a2, %a0, 1; { .param .b32 p0; .param .b32 r0; st.param.b32 [p0+0], %a2;\n"
    "call.uni (r0), f, (p0); ld.param.b32 %a3, [r0+0]; }\nmul.lo.u32 %a1, %a0, %a3;\n"
    "D: st.param.b32 [r+0], %a1; ret; }\n"
    ".entry k()\n{ .reg .b32 %r<9>; .reg .b64 %d<9>; .local .align 8 .b8 l[16];\n"
    "mov.u64 %d1, l; cvta.local.u64 %d2, %d1; st.u32 [%d2], 5; mov.u64 %d3, f;\n"
    "{ .param .b32 a; .param .b32 b; st.param.b32 [a], 6; P: .callprototype (.param .b32 _) _ "
    "(.param .b32 _);\n"
    "call (b), %d3, (a), P; ld.param.b32 %r1, [b]; }\n"
    "{ .param .b64 a; .param .b64 b; .param .b32 r; st.param.b64 [a], g; st.param.b64 [b], %d2;\n"
    "call (r), vprintf, (a, b); }\n"
    "T: .branchtargets X, Y; brx.idx %r1, T; X: lop3.b32 %r2, %r1, 3, %r1, 0x96; Y: exit; }\n",
    /* The descriptor is made by the kernel itself: "VTTX", two dimensions of floats. */
    ".version 7.8\n.target sm_80, texmode_unified\n.address_size 64\n"
    ".global .texref t; .global .align 16 .b32 d[32] = {0x58545456, 0, 0, 0, 64, 0, 256, 0, 16, 4, "
    "1, 32, 1, 0, 1, 1, 1, 1};\n.global .align 16 .b8 m[512];\n"
    ".entry k(.param .u64 out)\n{ .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .f32 %f<8>; .reg .b16 "
    "%h<4>;\n"
    "mov.u64 %d1, m; st.global.u64 [d+8], %d1; mov.u64 %d2, d; mov.u32 %r1, %tid.x;\n"
    "cvt.rn.f32.u32 %f1, %r1; tex.2d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [%d2, {%f1, %f2}];\n"
    "tex.level.3d.v4.u32.f32 {%r2, %r3, %r4, %r5}, [d, {%f1, %f2, %f2, %f2}], %f1;\n"
    "tld4.g.2d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [d, {%f1, %f2}]; txq.width.b32 %r2, [d];\n"
    "st.global.u32 [d], 0x46535456; suld.b.2d.v2.b16.clamp {%h0, %h1}, [%d2, {%r1, %r1}];\n"
    "sust.b.a1d.b32.zero [%d2, {%r1, %r1}], {%r1}; tex.1d.v4.s32.s32 {%r2, %r3, %r4, %r5}, [t, "
    "{%r1}]; "
    "ret; }\n",
    /* The same of a cube map with levels, a sampler, gradients, offsets, formatted surfaces. */
    ".version 7.8\n.target sm_80, texmode_independent\n.address_size 64\n"
    ".global .samplerref s = { filter_mode = linear, addr_mode_0 = mirror };\n"
    ".global .texref t = { normalized_coords = 1, addr_mode_1 = clamp_to_edge };\n"
    ".global .align 16 .b32 d[32] = {0x58545456, 2, 0, 0, 32, 0, 64, 0, 2, 2, 6, 32, 1, 0x42, 1, "
    "1, "
    "1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0x40000000, 8};\n.global .align 16 .b8 m[512];\n"
    ".entry k(.param .u64 out)\n{ .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .f32 %f<8>; .reg .b16 "
    "%h<4>; .reg .pred %p;\n"
    "mov.u64 %d1, m; st.global.u64 [d+8], %d1; mov.u64 %d2, d; mov.u32 %r1, %tid.x;\n"
    "cvt.rn.f32.u32 %f1, %r1; tex.level.acube.v4.f32.f32 {%f2, %f3, %f4, %f5}, [%d2, {%r1, %f1, "
    "%f2, %f3}], %f1;\n"
    "tex.grad.2d.v2.f16x2.f32 {%r2, %r3}|%p, [%d2, s, {%f1, %f2}], {%f1, %f2}, {%f2, %f1}, {%r1, "
    "%r1};\n"
    "tex.grad.cube.v4.f16.f32 {%h0, %h1, %h2, %h3}, [d, {%f1, %f2, %f3, %f3}], {%f1, %f2, %f3, "
    "%f3}, "
    "{%f3, %f2, %f1, %f1};\n"
    "tld4.a.acube.v4.f32.f32 {%f2, %f3, %f4, %f5}, [d, s, {%r1, %f1, %f2, %f3}];\n"
    "txq.level.width.b32 %r2, [d], %r1; txq.addr_mode_2.b32 %r3, [s];\n"
    "st.global.u32 [d], 0x46535456; sust.p.2d.v4.b32.clamp [%d2, {%r1, %r1}], {%r1, %r2, %r3, "
    "%r1};\n"
    "sured.b.add.1d.u64.zero [%d2, {%r1}], %d1; sured.p.min.3d.b32.trap [%d2, {%r1, %r1, %r1, "
    "%r1}], "
    "%r1; ret; }\n",
    /* A managed variable in the first memory that there is; parts of registers; an alias. */
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".visible .global .attribute(.managed, .place 0x100000000000) .align 4 .b8 v[8] = {1, 2};\n"
    ".func g();\n.func f() { ret; }\n"
    ".entry k(.param .u64 out)\n{ .reg .b32 %r<8>;\n"
    "mov.u32 %r1, %tid.x; ld.global.u32 %r2, [v+4]; call g, ();\n"
    "vadd.s32.s32.u32.sat.add %r3, %r1.b1, %r2.h1, %r1; vsub.u32.u32.u32 %r3.b2, %r1, %r2, %r3;\n"
    "vshl.u32.u32.u32.sat.clamp %r4, %r3, %r2; vmad.s32.s32.u32.shr7 %r4, -%r1.h0, %r2, %r3;\n"
    "vset.s32.u32.lt.max %r5, %r3, %r4, %r1; vavrg2.s32.s32.s32 %r6.h1, %r1.h31, %r2.h02, %r3;\n"
    "vabsdiff4.u32.s32.u32.add %r7.b310, %r1.b7654, %r2.b0123, %r3; st.global.u32 [v], %r7;\n"
    "ret; }\n.alias g, f;\n",
};

size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    size_t size;

    if (index >= (int)(sizeof(seeds) / sizeof(seeds[0])))
        return 0;
    size = strlen(seeds[index]);
    if (size > room)
        return 0;
    memcpy(buffer, seeds[index], size);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ptx_options options = {
        .threads = 1, .memory = 1 << 22, .heap = 4096, .stack = 4096, .instructions = 20000};
    struct ptx_context *context;
    struct ptx_module *module;
    struct ptx_kernel *kernel;
    uint8_t parameters[512] = {0};
    uint64_t buffer;
    char log[256];

    if (ptx_context_create(&options, &context))
        return 0;
    if (ptx_memory_create(context, 1024, &buffer) == 0)
        memcpy(parameters, &buffer, sizeof(buffer));
    if (ptx_module_create(context, (const char *)data, size, log, sizeof(log), &module) == 0) {
        for (unsigned i = 0; i < 4 && (kernel = ptx_module_kernel_at(module, i)); i++) {
            struct ptx_attributes a;
            struct ptx_launch launch = {.grid = {2, 1, 1}, .block = {40, 1, 1}};
            struct ptx_result result;

            ptx_kernel_attributes(kernel, &a);
            if (a.parameter_bytes > sizeof(parameters))
                continue;
            if (a.required[0])
                memcpy(launch.block, a.required, sizeof(launch.block));
            launch.parameters = parameters;
            launch.parameter_bytes = sizeof(parameters);
            ptx_launch(kernel, &launch, &result);
        }
        ptx_module_destroy(module);
    }
    ptx_context_destroy(context);
    return 0;
}
