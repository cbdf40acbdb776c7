/* SPDX-License-Identifier: MIT */
#include "ptx_fixture.h"

/*
 * One instruction each, against results that were computed by hand from the PTX ISA. Operands are
 * 64 bits; %a %b %c are their lower halves, %ha … 16 bits, %fa %da … the same bits as floats. The
 * result is in the register of `kind`: w %d, h %dh, d %d64, f %fd, g %dd, p %pd.
 */

struct row {
    const char *name, *code;
    char kind;
    uint64_t a, b, c, expected;
};

#define ONE    0x3f800000u
#define TWO    0x40000000u
#define THREE  0x40400000u
#define NANF   0x7fffffffu
#define INFF   0x7f800000u
#define DONE   0x3ff0000000000000ull
#define DTHREE 0x4008000000000000ull

static const struct row rows[] = {
    {"add.s32", "add.s32 %d, %a, %b;", 'w', 0x7fffffff, 1, 0, 0x80000000},
    {"add.sat.s32", "add.sat.s32 %d, %a, %b;", 'w', 0x7fffffff, 1, 0, 0x7fffffff},
    {"sub.sat.s32", "sub.sat.s32 %d, %a, %b;", 'w', 0x80000000, 1, 0, 0x80000000},
    {"add.u16", "add.u16 %dh, %ha, %hb;", 'h', 0xffff, 2, 0, 1},
    {"add.s64", "add.s64 %d64, %a64, %b64;", 'd', ~0ull, 2, 0, 1},
    {"sub immediate", "sub.s32 %d, %a, -5;", 'w', 7, 0, 0, 12},
    {"mul.lo.s32", "mul.lo.s32 %d, %a, %b;", 'w', 0x10001, 0x10001, 0, 0x20001},
    {"mul.hi.u32", "mul.hi.u32 %d, %a, %b;", 'w', 0xffffffff, 0xffffffff, 0, 0xfffffffe},
    {"mul.hi.s32", "mul.hi.s32 %d, %a, %b;", 'w', 0xffffffff, 2, 0, 0xffffffff},
    {"mul.hi.u64", "mul.hi.u64 %d64, %a64, %b64;", 'd', ~0ull, ~0ull, 0, ~0ull - 1},
    {"mul.hi.s64", "mul.hi.s64 %d64, %a64, %b64;", 'd', ~0ull, 5, 0, ~0ull},
    {"mul.wide.s32", "mul.wide.s32 %d64, %a, %b;", 'd', 0xffffffff, 3, 0, (uint64_t)-3},
    {"mul.wide.u32", "mul.wide.u32 %d64, %a, %b;", 'd', 0xffffffff, 3, 0, 0x2fffffffdull},
    {"mul.wide.u16", "mul.wide.u16 %d, %ha, %hb;", 'w', 0xffff, 0xffff, 0, 0xfffe0001},
    {"mul.wide.s16", "mul.wide.s16 %d, %ha, %hb;", 'w', 0xffff, 7, 0, 0xfffffff9},
    {"mad.lo.s32", "mad.lo.s32 %d, %a, %b, %c;", 'w', 6, 7, 8, 50},
    {"mad.wide.s32", "mad.wide.s32 %d64, %a, %b, %c64;", 'd', 0xffffffff, 4, 10, 6},
    {"mad.hi.u32", "mad.hi.u32 %d, %a, %b, %c;", 'w', 0x80000000, 6, 1, 4},
    {"mul24.lo.u32", "mul24.lo.u32 %d, %a, %b;", 'w', 0xff000003, 0xff000005, 0, 15},
    {"mul24.lo.s32", "mul24.lo.s32 %d, %a, %b;", 'w', 0x00ffffff, 5, 0, 0xfffffffb},
    {"mul24.hi.u32", "mul24.hi.u32 %d, %a, %b;", 'w', 0xffffff, 0xffffff, 0, 0xfffffe00},
    {"mad24.lo.u32", "mad24.lo.u32 %d, %a, %b, %c;", 'w', 3, 5, 6, 21},
    {"div.s32", "div.s32 %d, %a, %b;", 'w', 0xfffffff9, 2, 0, 0xfffffffd},
    {"div.s32 overflow", "div.s32 %d, %a, %b;", 'w', 0x80000000, 0xffffffff, 0, 0x80000000},
    {"div.u32 by 0", "div.u32 %d, %a, %b;", 'w', 5, 0, 0, 0xffffffff},
    {"rem.s32", "rem.s32 %d, %a, %b;", 'w', 0xfffffff9, 2, 0, 0xffffffff},
    {"rem.s64", "rem.s64 %d64, %a64, %b64;", 'd', 1ull << 63, ~0ull, 0, 0},
    {"sad.u32", "sad.u32 %d, %a, %b, %c;", 'w', 3, 10, 100, 107},
    {"abs.s32", "abs.s32 %d, %a;", 'w', 0xfffffffb, 0, 0, 5},
    {"neg.s16", "neg.s16 %dh, %ha;", 'h', 1, 0, 0, 0xffff},
    {"min.s32", "min.s32 %d, %a, %b;", 'w', 0xffffffff, 1, 0, 0xffffffff},
    {"min.u32", "min.u32 %d, %a, %b;", 'w', 0xffffffff, 1, 0, 1},
    {"max.s16", "max.s16 %dh, %ha, %hb;", 'h', 0x8000, 1, 0, 1},
    {"and.b64", "and.b64 %d64, %a64, %b64;", 'd', 0xff00ff00ff00ull, 0xffff0000ffffull, 0,
     0xff000000ff00ull},
    {"not.b16", "not.b16 %dh, %ha;", 'h', 0x0f0f, 0, 0, 0xf0f0},
    {"cnot.b32", "cnot.b32 %d, %a;", 'w', 0, 0, 0, 1},
    {"shl.b32 by 32", "shl.b32 %d, %a, %b;", 'w', 1, 32, 0, 0},
    {"shr.s32 by 40", "shr.s32 %d, %a, %b;", 'w', 0x80000000, 40, 0, 0xffffffff},
    {"shr.u32 by 40", "shr.u32 %d, %a, %b;", 'w', 0x80000000, 40, 0, 0},
    {"shr.b32", "shr.b32 %d, %a, %b;", 'w', 0x80000000, 31, 0, 1},
    {"shr.b16", "shr.b16 %dh, %ha, %b;", 'h', 0x8000, 4, 0, 0x0800},
    {"shr.b64 by 64", "shr.b64 %d64, %a64, %b;", 'd', ~0ull, 64, 0, 0},
    {"shr.s64", "shr.s64 %d64, %a64, %b;", 'd', 1ull << 63, 60, 0, (uint64_t)-8},
    {"shf.l.wrap", "shf.l.wrap.b32 %d, %a, %b, %c;", 'w', 0x80000001, 0x2, 33, 5},
    {"shf.r.clamp", "shf.r.clamp.b32 %d, %a, %b, %c;", 'w', 1, 0xabcd, 40, 0xabcd},
    {"shf.r.wrap", "shf.r.wrap.b32 %d, %a, %b, %c;", 'w', 0x10, 0x3, 4, 0x30000001},
    {"popc.b32", "popc.b32 %d, %a;", 'w', 0xf0f0f0f1, 0, 0, 17},
    {"popc.b64", "popc.b64 %d, %a64;", 'w', ~0ull, 0, 0, 64},
    {"clz.b32", "clz.b32 %d, %a;", 'w', 0, 0, 0, 32},
    {"clz.b64", "clz.b64 %d, %a64;", 'w', 1, 0, 0, 63},
    {"brev.b32", "brev.b32 %d, %a;", 'w', 1, 0, 0, 0x80000000},
    {"brev.b64", "brev.b64 %d64, %a64;", 'd', 2, 0, 0, 1ull << 62},
    {"bfind.u32", "bfind.u32 %d, %a;", 'w', 0x100, 0, 0, 8},
    {"bfind.s32", "bfind.s32 %d, %a;", 'w', 0xffffffff, 0, 0, 0xffffffff},
    {"bfind.shiftamt", "bfind.shiftamt.u32 %d, %a;", 'w', 0x100, 0, 0, 23},
    {"bfe.u32", "bfe.u32 %d, %a, %b, %c;", 'w', 0x12345678, 8, 12, 0x456},
    {"bfe.s32", "bfe.s32 %d, %a, %b, %c;", 'w', 0x00000f00, 8, 4, 0xffffffff},
    {"bfe.s32 past the end", "bfe.s32 %d, %a, %b, %c;", 'w', 0x80000000, 28, 16, 0xfffffff8},
    {"bfe.u64", "bfe.u64 %d64, %a64, %b, %c;", 'd', 0x123456789abcdef0ull, 4, 60,
     0x123456789abcdefull},
    {"bfi.b32", "bfi.b32 %d, %a, %b, %c, 8;", 'w', 0xab, 0x11111111, 8, 0x1111ab11},
    {"bfi.b64", "bfi.b64 %d64, %a64, %b64, %c, 16;", 'd', 0xffff, 0, 40, 0xffffull << 40},
    {"prmt", "prmt.b32 %d, %a, %b, 0x7531;", 'w', 0x33221100, 0x77665544, 0, 0x77553311},
    {"prmt sign", "prmt.b32 %d, %a, %b, 0x8888;", 'w', 0x80, 0, 0, 0xffffffff},
    {"prmt.f4e", "prmt.b32.f4e %d, %a, %b, %c;", 'w', 0x33221100, 0x77665544, 1, 0x44332211},
    {"prmt.b4e", "prmt.b32.b4e %d, %a, %b, %c;", 'w', 0x33221100, 0x77665544, 1, 0x66770011},
    {"prmt.rc16", "prmt.b32.rc16 %d, %a, %b, %c;", 'w', 0x33221100, 0, 1, 0x33223322},
    {"lop3 xor", "lop3.b32 %d, %a, %b, %c, 0x96;", 'w', 0xff00, 0xf0f0, 0xcccc, 0xc33c},
    {"lop3 select", "lop3.b32 %d, %a, %b, %c, 0xca;", 'w', 0xff00, 0x1234, 0x5678, 0x1278},
    {"dp4a.s32.s32", "dp4a.s32.s32 %d, %a, %b, %c;", 'w', 0xff010203, 0x02030405, 10,
     10 - 2 + 3 + 8 + 15},
    {"dp4a.u32.u32", "dp4a.u32.u32 %d, %a, %b, %c;", 'w', 0xff000000, 0x02000000, 0, 510},
    {"dp2a.lo", "dp2a.lo.s32.s32 %d, %a, %b, %c;", 'w', 0xffff0003, 0x00000205, 1, 14},
    {"set.u32.f16", "set.gtu.u32.f16 %d, %ha, %hb;", 'w', 0x7e00, 0x3c00, 0, 0xffffffff},
    {"set.u16.f16", "set.lt.u16.f16 %dh, %ha, %hb;", 'h', 0x3c00, 0x4000, 0, 0xffff},
    {"set.f16x2", "set.gt.f16x2.f16x2 %d, %a, %b;", 'w', 0x40003c00, 0x3c003c00, 0, 0x3c000000},
    {"set.u32.f16x2", "set.gt.u32.f16x2 %d, %a, %b;", 'w', 0x3c004000, 0x3c003c00, 0, 0xffff},
    {"set.bf16x2", "set.eq.bf16x2.bf16x2 %d, %a, %b;", 'w', 0x3f804000, 0x3f803f80, 0, 0x3f800000},
    {"cvt.pack.u8", "cvt.pack.sat.u8.s32.b32 %d, %a, %b, %c;", 'w', 300, 0xfffffff0, 0x11223344,
     0x3344ff00},
    {"cvt.pack.s16", "cvt.pack.sat.s16.s32 %d, %a, %b;", 'w', 0x12345, 0xffff0000, 0, 0x7fff8000},
    {"cvt.pack.s4", "cvt.pack.sat.s4.s32.b32 %d, %a, %b, %c;", 'w', 100, 0xfffffff0, 1, 0x178},
    {"cvt e4m3x2", "cvt.rn.satfinite.e4m3x2.f32 %dh, %fa, %fb;", 'h', 0x3ed00000, 0x414e6666, 0,
     0x2d55},
    {"cvt e4m3x2 ends", "cvt.rn.satfinite.e4m3x2.f32 %dh, %fa, %fb;", 'h', NANF, 0xc7000000, 0,
     0x7ffe},
    {"cvt e4m3x2 subnormal", "cvt.rn.satfinite.e4m3x2.f32 %dh, %fa, %fb;", 'h', 0x3b000000,
     0x3a800000, 0, 0x0100},
    {"cvt e5m2x2", "cvt.rn.satfinite.e5m2x2.f32 %dh, %fa, %fb;", 'h', 0x3ec00000, 0xc5a444cd, 0,
     0x36ed},
    {"cvt e5m2x2 relu", "cvt.rn.satfinite.relu.e5m2x2.f32 %dh, %fa, %fb;", 'h', 0x3ec00000,
     0xc5a444cd, 0, 0x3600},
    {"cvt e4m3x2 of f16x2", "cvt.rn.satfinite.e4m3x2.f16x2 %dh, %a;", 'h', 0x36804a80, 0, 0,
     0x2d55},
    {"cvt f16x2 of e4m3x2", "cvt.rn.f16x2.e4m3x2 %d, %ha;", 'w', 0x2d55, 0, 0, 0x36804a80},
    {"cvt f16x2 of e5m2x2", "cvt.rn.f16x2.e5m2x2 %d, %ha;", 'w', 0x36ed, 0, 0, 0x3600ed00},
    {"sub.cc then addc", "sub.cc.u32 %d, %a, %b; addc.u32 %d, 0, 0;", 'w', 1, 2, 0, 0},
    {"sub.cc without borrow", "sub.cc.u32 %d, %a, %b; addc.u32 %d, 0, 0;", 'w', 2, 2, 0, 1},
    {"subc", "sub.cc.u32 %d, %a, %b; subc.u32 %d, %c, 1;", 'w', 1, 2, 10, 8},
    {"createpolicy", "createpolicy.fractional.L2::evict_last.b64 %d64, 1.0; mov.u64 %d64, %a64;",
     'd', 3, 0, 0, 3},
    {"register and offset", "mov.u32 %d, %a + 4;", 'w', 3, 0, 0, 7},
    {"selp", "setp.eq.s32 %pd, %a, %b; selp.b32 %d, %a, %c, %pd;", 'w', 4, 5, 6, 6},
    {"selp.f64", "setp.ne.s32 %pd, %a, %b; selp.f64 %dd, %da, %db, %pd;", 'g', 4, 5, 6, 4},
    {"slct", "slct.s32.f32 %d, %a, %b, %fc;", 'w', 4, 5, 0xbf800000, 5},
    {"set", "set.lt.u32.s32 %d, %a, %b;", 'w', 0xffffffff, 0, 0, 0xffffffff},
    {"set.f32", "set.gt.f32.s32 %fd, %a, %b;", 'f', 1, 0, 0, ONE},
    {"setp.lt.u32", "setp.lt.u32 %pd, %a, %b;", 'p', 0xffffffff, 0, 0, 0},
    {"setp.lo.u64", "setp.lo.u64 %pd, %a64, %b64;", 'p', 1, 1ull << 40, 0, 1},
    {"setp and", "setp.eq.s32 %p1, %c, 9; setp.lt.and.s32 %pd, %a, %b, %p1;", 'p', 1, 2, 9, 1},
    {"setp second", "setp.eq.s32 %p1|%pd, %a, %b;", 'p', 1, 2, 0, 1},
    {"setp not", "setp.eq.s32 %p1, %c, 9; setp.lt.and.s32 %pd, %a, %b, !%p1;", 'p', 1, 2, 9, 0},
    {"setp.ltu NaN", "setp.ltu.f32 %pd, %fa, %fb;", 'p', NANF, ONE, 0, 1},
    {"setp.lt NaN", "setp.lt.f32 %pd, %fa, %fb;", 'p', NANF, ONE, 0, 0},
    {"setp.ne NaN", "setp.ne.f32 %pd, %fa, %fb;", 'p', NANF, ONE, 0, 0},
    {"setp.neu NaN", "setp.neu.f32 %pd, %fa, %fb;", 'p', NANF, ONE, 0, 1},
    {"setp.nan", "setp.nan.f32 %pd, %fa, %fb;", 'p', ONE, NANF, 0, 1},
    {"setp.eq.ftz", "setp.eq.ftz.f32 %pd, %fa, %fb;", 'p', 1, 0x80000000, 0, 1},
    {"testp.subnormal", "testp.subnormal.f32 %pd, %fa;", 'p', 1, 0, 0, 1},
    {"and.pred", "setp.eq.s32 %p1, %a, 1; setp.eq.s32 %p2, %b, 1; and.pred %pd, %p1, %p2;", 'p', 1,
     1, 0, 1},
    {"add.f32", "add.f32 %fd, %fa, %fb;", 'f', ONE, TWO, 0, THREE},
    {"add.f32 NaN", "add.f32 %fd, %fa, %fb;", 'f', INFF, 0xff800000, 0, NANF},
    {"add.rz.f32", "add.rz.f32 %fd, %fa, %fb;", 'f', ONE, 0x33ffffff, 0, ONE},
    {"add.rp.f32", "add.rp.f32 %fd, %fa, %fb;", 'f', ONE, 1, 0, ONE + 1},
    {"add.rm.f32", "add.rm.f32 %fd, %fa, %fb;", 'f', ONE, 0x80000001, 0, ONE - 1},
    {"add.rn.f32 tie", "add.rn.f32 %fd, %fa, %fb;", 'f', ONE, 0x33800000, 0, ONE},
    {"add.ftz.f32", "add.ftz.f32 %fd, %fa, %fb;", 'f', 0x007fffff, 0x80000000, 0, 0},
    {"add.sat.f32", "add.sat.f32 %fd, %fa, %fb;", 'f', ONE, TWO, 0, ONE},
    {"add.sat.f32 NaN", "add.sat.f32 %fd, %fa, %fb;", 'f', NANF, TWO, 0, 0},
    {"mul.ftz.f32", "mul.ftz.f32 %fd, %fa, %fb;", 'f', 0x00800000, 0xbf000000, 0, 0x80000000},
    {"fma.rn.f32", "fma.rn.f32 %fd, %fa, %fb, %fc;", 'f', 0x3f800001, 0x3f800001, 0xbf800002,
     0x28800000},
    {"fma.rn.f64", "fma.rn.f64 %dd, %da, %db, %dc;", 'g', DONE + 1, DONE + 1, 0xbff0000000000002ull,
     0x3970000000000000ull},
    {"fma.rz.f64", "fma.rz.f64 %dd, %da, %db, %dc;", 'g', DONE, DONE, 1, DONE},
    {"div.rn.f32", "div.rn.f32 %fd, %fa, %fb;", 'f', ONE, THREE, 0, 0x3eaaaaab},
    {"div.rz.f32", "div.rz.f32 %fd, %fa, %fb;", 'f', ONE, THREE, 0, 0x3eaaaaaa},
    {"div.rn.f64", "div.rn.f64 %dd, %da, %db;", 'g', DONE, DTHREE, 0, 0x3fd5555555555555ull},
    {"div.rp.f64", "div.rp.f64 %dd, %da, %db;", 'g', DONE, DTHREE, 0, 0x3fd5555555555556ull},
    {"rcp.rn.f32", "rcp.rn.f32 %fd, %fa;", 'f', THREE, 0, 0, 0x3eaaaaab},
    {"sqrt.rn.f32", "sqrt.rn.f32 %fd, %fa;", 'f', TWO, 0, 0, 0x3fb504f3},
    {"sqrt.rp.f32", "sqrt.rp.f32 %fd, %fa;", 'f', TWO, 0, 0, 0x3fb504f4},
    {"sqrt.rn.f64", "sqrt.rn.f64 %dd, %da;", 'g', 0x4000000000000000ull, 0, 0,
     0x3ff6a09e667f3bcdull},
    {"rsqrt.approx.f32", "rsqrt.approx.f32 %fd, %fa;", 'f', 0x40800000, 0, 0, 0x3f000000},
    {"ex2.approx.f32", "ex2.approx.f32 %fd, %fa;", 'f', 0x40400000, 0, 0, 0x41000000},
    {"lg2.approx.f32", "lg2.approx.f32 %fd, %fa;", 'f', 0x41000000, 0, 0, 0x40400000},
    {"sin.approx.f32", "sin.approx.f32 %fd, %fa;", 'f', 0, 0, 0, 0},
    {"cos.approx.f32", "cos.approx.f32 %fd, %fa;", 'f', 0, 0, 0, ONE},
    {"min.f32 NaN", "min.f32 %fd, %fa, %fb;", 'f', NANF, ONE, 0, ONE},
    {"min.NaN.f32", "min.NaN.f32 %fd, %fa, %fb;", 'f', NANF, ONE, 0, NANF},
    {"min.f32 zeros", "min.f32 %fd, %fa, %fb;", 'f', 0, 0x80000000, 0, 0x80000000},
    {"max.f32 zeros", "max.f32 %fd, %fa, %fb;", 'f', 0x80000000, 0, 0, 0},
    {"abs.f64", "abs.f64 %dd, %da;", 'g', 0xbff0000000000000ull, 0, 0, DONE},
    {"neg.f32", "neg.f32 %fd, %fa;", 'f', ONE, 0, 0, 0xbf800000},
    {"copysign.f32", "copysign.f32 %fd, %fa, %fb;", 'f', 0x80000000, ONE, 0, 0xbf800000},
    {"add.f16", "add.f16 %dh, %ha, %hb;", 'h', 0x3c00, 0x4000, 0, 0x4200},
    {"add.f16x2", "add.f16x2 %d, %a, %b;", 'w', 0x3c004000, 0x3c003c00, 0, 0x40004200},
    {"mul.f16 subnormal", "mul.f16 %dh, %ha, %hb;", 'h', 0x0400, 0x3800, 0, 0x0200},
    {"mul.ftz.f16", "mul.ftz.f16 %dh, %ha, %hb;", 'h', 0x0400, 0x3800, 0, 0},
    {"fma.rn.f16", "fma.rn.f16 %dh, %ha, %hb, %hc;", 'h', 0x3c01, 0x3c01, 0xbc02, 0x0010},
    {"fma.rn.f16 one rounding", "fma.rn.f16 %dh, %ha, %hb, %hc;", 'h', 0x3c00, 0x6801, 0x0001,
     0x6801},
    {"fma.rn.f16x2", "fma.rn.f16x2 %d, %a, %b, %c;", 'w', 0x40003c00, 0x40003c00, 0x3c003c00,
     0x45004000},
    {"fma.relu.f16", "fma.rn.relu.f16 %dh, %ha, %hb, %hc;", 'h', 0xbc00, 0x3c00, 0, 0},
    {"fma.rn.bf16", "fma.rn.bf16 %dh, %ha, %hb, %hc;", 'h', 0x3f80, 0x4000, 0x3f80, 0x4040},
    {"setp.f16", "setp.lt.f16 %pd, %ha, %hb;", 'p', 0xbc00, 0x3c00, 0, 1},
    {"cvt.u8.u32", "cvt.u8.u32 %d, %a;", 'w', 0x1ff, 0, 0, 0xff},
    {"cvt.s8 sign", "cvt.s32.s8 %d, %a;", 'w', 0x80, 0, 0, 0xffffff80},
    {"cvt.s16.s8", "cvt.s16.s8 %dh, %ha;", 'h', 0x80, 0, 0, 0xff80},
    {"cvt.sat.s8.s32", "cvt.sat.s8.s32 %d, %a;", 'w', 1000, 0, 0, 127},
    {"cvt.sat.u8.s32", "cvt.sat.u8.s32 %d, %a;", 'w', 0xffffffff, 0, 0, 0},
    {"cvt.s64.s32", "cvt.s64.s32 %d64, %a;", 'd', 0x80000000, 0, 0, 0xffffffff80000000ull},
    {"cvt.u64.u32", "cvt.u64.u32 %d64, %a;", 'd', 0x80000000, 0, 0, 0x80000000},
    {"cvt.u32.u64", "cvt.u32.u64 %d, %a64;", 'w', 0x1234567890ull, 0, 0, 0x34567890},
    {"cvt wide register", "cvt.s16.s64 %dh, %a64;", 'h', 0x18000, 0, 0, 0x8000},
    {"cvt to wider register", "cvt.s16.s32 %d64, %a;", 'd', 0x18000, 0, 0, 0xffffffffffff8000ull},
    {"cvt.rn.f32.s32", "cvt.rn.f32.s32 %fd, %a;", 'f', 0xffffffff, 0, 0, 0xbf800000},
    {"cvt.rn.f32.u32", "cvt.rn.f32.u32 %fd, %a;", 'f', 0xffffffff, 0, 0, 0x4f800000},
    {"cvt.rz.f32.u32", "cvt.rz.f32.u32 %fd, %a;", 'f', 0xffffffff, 0, 0, 0x4f7fffff},
    {"cvt.rn.f64.s64", "cvt.rn.f64.s64 %dd, %a64;", 'g', ~0ull, 0, 0, 0xbff0000000000000ull},
    {"cvt.rzi.s32.f32", "cvt.rzi.s32.f32 %d, %fa;", 'w', 0xbfc00000, 0, 0, 0xffffffff},
    {"cvt.rni.s32.f32", "cvt.rni.s32.f32 %d, %fa;", 'w', 0x40200000, 0, 0, 2},
    {"cvt.rmi.s32.f32", "cvt.rmi.s32.f32 %d, %fa;", 'w', 0xbfc00000, 0, 0, 0xfffffffe},
    {"cvt.rpi.s32.f32", "cvt.rpi.s32.f32 %d, %fa;", 'w', 0x3f8ccccd, 0, 0, 2},
    {"cvt.rpi.ftz", "cvt.rpi.ftz.s32.f32 %d, %fa;", 'w', 1, 0, 0, 0},
    {"cvt s32 large", "cvt.rzi.s32.f32 %d, %fa;", 'w', 0x4f800000, 0, 0, 0x7fffffff},
    {"cvt u32 NaN", "cvt.rzi.u32.f32 %d, %fa;", 'w', NANF, 0, 0, 0},
    {"cvt u32 negative", "cvt.rzi.u32.f64 %d, %da;", 'w', 0xbff0000000000000ull, 0, 0, 0},
    {"cvt u64 large", "cvt.rzi.u64.f64 %d64, %da;", 'd', 0x43f0000000000000ull, 0, 0, ~0ull},
    {"cvt s64 large", "cvt.rzi.s64.f32 %d64, %fa;", 'd', 0x5f000000, 0, 0, INT64_MAX},
    {"cvt.f64.f32", "cvt.f64.f32 %dd, %fa;", 'g', ONE, 0, 0, DONE},
    {"cvt.rn.f32.f64", "cvt.rn.f32.f64 %fd, %da;", 'f', 0x3fd5555555555555ull, 0, 0, 0x3eaaaaab},
    {"cvt.rz.f32.f64", "cvt.rz.f32.f64 %fd, %da;", 'f', 0x3fd5555555555555ull, 0, 0, 0x3eaaaaaa},
    {"cvt.rni.f32.f32", "cvt.rni.f32.f32 %fd, %fa;", 'f', 0x3fc00000, 0, 0, TWO},
    {"cvt.sat.f32.f32", "cvt.sat.f32.f32 %fd, %fa;", 'f', 0x3fc00000, 0, 0, ONE},
    {"cvt.rn.f16.f32", "cvt.rn.f16.f32 %dh, %fa;", 'h', 0x477fefff, 0, 0, 0x7bff},
    {"cvt.rn.f16.f32 inf", "cvt.rn.f16.f32 %dh, %fa;", 'h', 0x477ff000, 0, 0, 0x7c00},
    {"cvt.rz.f16.f32", "cvt.rz.f16.f32 %dh, %fa;", 'h', 0x477ff000, 0, 0, 0x7bff},
    {"cvt.rn.f16.f32 subnormal", "cvt.rn.f16.f32 %dh, %fa;", 'h', 0x33800000, 0, 0, 1},
    {"cvt.f32.f16", "cvt.f32.f16 %fd, %ha;", 'f', 0x0001, 0, 0, 0x33800000},
    {"cvt.rn.bf16x2.f32", "cvt.rn.bf16x2.f32 %d, %fa, %fb;", 'w', ONE, TWO, 0, 0x3f804000},
    {"cvt.rn.f16x2.f32", "cvt.rn.f16x2.f32 %d, %fa, %fb;", 'w', ONE, TWO, 0, 0x3c004000},
    {"mov pack", "mov.b64 %d64, {%a, %b};", 'd', 1, 2, 0, 0x200000001ull},
    {"mov unpack", "mov.b64 {%a, %d}, %b64;", 'w', 0, 0x700000005ull, 0, 7},
    {"mov pack 16", "mov.b32 %d, {%ha, %hb};", 'w', 1, 2, 0, 0x20001},
    {"mov unpack 16", "mov.b32 {%dh, %hb}, %a;", 'h', 0x70005, 0, 0, 5},
    {"add.cc addc", "add.cc.u32 %a, %a, %b; addc.u32 %d, %c, 0;", 'w', 0xffffffff, 1, 5, 6},
    {"sub.cc subc", "sub.cc.u32 %a, %a, %b; subc.u32 %d, %c, 0;", 'w', 0, 1, 5, 4},
    {"mad.lo.cc madc.hi", "mad.lo.cc.u32 %r1, %a, %b, %c; madc.hi.u32 %d, %a, %b, 0;", 'w',
     0xffffffff, 1, 1, 1},
    {"guard", "setp.eq.s32 %p1, %a, 1; mov.u32 %d, 3; @%p1 mov.u32 %d, 4; @!%p1 add.s32 %d, %d, 7;",
     'w', 1, 0, 0, 4},
    {"guard not", "setp.eq.s32 %p1, %a, 1; mov.u32 %d, 3; @%p1 mov.u32 %d, 4;", 'w', 2, 0, 0, 3},
    {"vadd", "vadd.s32.s32.s32 %d, %a, %b;", 'w', 0x7fffffff, 2, 0, 0x80000001},
    {"vadd sat", "vadd.s32.s32.s32.sat %d, %a, %b;", 'w', 0x7fffffff, 2, 0, 0x7fffffff},
    {"vadd sat u", "vadd.u32.u32.s32.sat %d, %a, %b;", 'w', 3, 0xfffffff0, 0, 0},
    {"vadd parts", "vadd.s32.s32.u32.add %d, %a.b1, %b.h1, %c;", 'w', 0x0000ff00, 0xfffe0000, 10,
     0x10007},
    {"vadd merge", "vadd.u32.u32.u32.sat %d.b2, %a, %b, %c;", 'w', 0x80, 0x90, 0x11223344,
     0x11ff3344},
    {"vsub merge", "vsub.s32.s32.s32.sat %d.h1, %a, %b, %c;", 'w', 0xfffff000, 0x7fff, 0x55556666,
     0x80006666},
    {"vsub", "vsub.u32.u32.u32.sat %d, %a, %b;", 'w', 2, 3, 0, 0},
    {"vabsdiff max", "vabsdiff.u32.s32.s32.max %d, %a, %b, %c;", 'w', 0xfffffffb, 7, 11, 12},
    {"vmin signs", "vmin.s32.u32.s32.min %d, %a, %b, %c;", 'w', 5, 0xffffffff, 0xfffffffe,
     0xfffffffe},
    {"vmax signs", "vmax.u32.u32.s32 %d, %a, %b;", 'w', 5, 0xffffffff, 0, 5},
    {"vshl", "vshl.u32.u32.u32.clamp %d, %a, %b;", 'w', 3, 40, 0, 0},
    {"vshl wrap", "vshl.u32.u32.u32.wrap %d, %a, %b;", 'w', 3, 33, 0, 6},
    {"vshl sat", "vshl.s32.s32.u32.sat.clamp %d, %a, %b;", 'w', 0x80000000, 32, 0, 0x80000000},
    {"vshl sat u", "vshl.u32.u32.u32.sat.clamp %d, %a, %b;", 'w', 0x80000001, 32, 0, 0xffffffff},
    {"vshr", "vshr.s32.s32.u32.clamp.add %d, %a.h0, %b.b3, %c;", 'w', 0xffff8000, 0x04000000, 1,
     0xfffff801},
    {"vshr 32", "vshr.u32.u32.u32.clamp %d, %a, %b;", 'w', 0xffffffff, 99, 0, 0},
    {"vmad", "vmad.s32.s32.u32 %d, %a.h0, %b, %c;", 'w', 0xffff, 7, 10, 3},
    {"vmad -a", "vmad.s32.u32.u32.sat %d, -%a, %b, %c;", 'w', 0xffffffff, 0xffffffff, 0,
     0x80000000},
    {"vmad -c", "vmad.s32.u32.u32.shr7 %d, %a, %b, -%c;", 'w', 256, 2, 640, 0xffffffff},
    {"vmad po", "vmad.u32.u32.u32.po.shr15 %d, %a, %b, %c;", 'w', 0xffff, 1, 0xffff, 3},
    {"vmad sat", "vmad.u32.u32.u32.sat %d, %a, %b, %c;", 'w', 0xffffffff, 0xffffffff, 0xffffffff,
     0xffffffff},
    {"vset", "vset.s32.u32.lt %d, %a, %b;", 'w', 0xffffffff, 0, 0, 1},
    {"vset add", "vset.u32.u32.ge.add %d, %a.b0, %b.b1, %c;", 'w', 9, 0x0900, 41, 42},
    {"vadd2", "vadd2.u32.u32.u32 %d, %a, %b, %c;", 'w', 0xffff0001, 0x00020003, 9, 0x00010004},
    {"vadd2 sat", "vadd2.s32.s32.s32.sat %d.h1, %a, %b, %c;", 'w', 0x7fff0001, 0x00020003,
     0x11112222, 0x7fff2222},
    {"vsub2 parts", "vsub2.s32.s32.s32 %d, %a.h01, %b.h20, %c;", 'w', 0x00050003, 0x00010007, 0,
     0xfffc0002},
    {"vavrg2", "vavrg2.s32.s32.s32 %d, %a, %b, %c;", 'w', 0xfffd0003, 0xfffe0004, 0, 0xfffd0004},
    {"vabsdiff2 add", "vabsdiff2.u32.s32.s32.add %d, %a, %b, %c;", 'w', 0xffff0001, 0x00010005, 100,
     106},
    {"vmin2", "vmin2.u32.s32.u32 %d, %a, %b, %c;", 'w', 0xffff0009, 0x00010005, 0, 0xffff0005},
    {"vset2", "vset2.s32.s32.ne %d.h0, %a, %b, %c;", 'w', 0x00010009, 0x00010005, 0x77777777,
     0x77770001},
    {"vadd4", "vadd4.u32.u32.u32.sat %d, %a, %b, %c;", 'w', 0xf0010203, 0x20010101, 0, 0xff020304},
    {"vsub4 parts", "vsub4.s32.u32.u32 %d.b20, %a.b0123, %b.b7777, %c;", 'w', 0x01020304,
     0x01000000, 0xaabbccdd, 0xaa02cc00},
    {"vmax4", "vmax4.s32.s32.s32 %d, %a, %b, %c;", 'w', 0x80ff017f, 0x7f00ff80, 0, 0x7f00017f},
    {"vset4 add", "vset4.u32.u32.eq.add %d, %a, %b, %c;", 'w', 0x01020304, 0x01990399, 40, 42},
    {"vabsdiff4 mask", "vabsdiff4.u32.u32.u32.add %d.b10, %a, %b, %c;", 'w', 0x01050009, 0x03020109,
     10, 11},
    {"vabsdiff4", "vabsdiff4.u32.u32.u32.add %d, %a, %b, %c;", 'w', 0x01050009, 0x03020109, 10, 16},
};

static uint64_t run(struct ptx_run *r, const struct row *row, uint32_t threads)
{
    uint64_t in[3] = {row->a, row->b, row->c}, out[64];
    struct {
        uint64_t in, out;
    } parameters = {ptx_buffer(r, in, sizeof(in)), ptx_buffer(r, NULL, sizeof(out))};

    if (ptx_go(r, 1, threads, &parameters, sizeof(parameters)))
        fail_msg("%s: %s", row->name, r->result.text);
    ptx_memory_read(r->context, parameters.out, out, sizeof(out));
    for (uint32_t i = 1; i < threads; i++)
        assert_int_equal(out[i], out[0]);
    return out[0];
}

static void test_rows(void **state)
{
    static const char head[] = PTX_HEAD
        ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
        ".reg .pred %p1, %p2, %pd; .reg .b32 %a, %b, %c, %d, %r<4>; .reg .b16 %ha, %hb, %hc, %dh;"
        ".reg .f32 %fa, %fb, %fc, %fd; .reg .f64 %da, %db, %dc, %dd;"
        ".reg .b64 %a64, %b64, %c64, %d64, %in, %out;\n"
        "ld.param.u64 %in, [in]; ld.param.u64 %out, [out]; ld.global.v2.u64 {%a64, %b64}, [%in];"
        "ld.global.u64 %c64, [%in+16]; cvt.u32.u64 %a, %a64; cvt.u32.u64 %b, %b64;"
        "cvt.u32.u64 %c, %c64; cvt.u16.u64 %ha, %a64; cvt.u16.u64 %hb, %b64;"
        "cvt.u16.u64 %hc, %c64; mov.b32 %fa, %a; mov.b32 %fb, %b; mov.b32 %fc, %c;"
        "mov.b64 %da, %a64; mov.b64 %db, %b64; mov.b64 %dc, %c64;"
        "mov.u32 %r3, %tid.x; mul.wide.u32 %in, %r3, 8; add.s64 %out, %out, %in;\n";
    char text[4096];
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        const char *tail = row->kind == 'w'   ? "cvt.u64.u32 %d64, %d;"
                           : row->kind == 'h' ? "cvt.u64.u16 %d64, %dh;"
                           : row->kind == 'f' ? "mov.b32 %d, %fd; cvt.u64.u32 %d64, %d;"
                           : row->kind == 'g' ? "mov.b64 %d64, %dd;"
                           : row->kind == 'p' ? "selp.b64 %d64, 1, 0, %pd;"
                                              : "";
        struct ptx_run r;
        static const uint32_t threads[] = {64, 5};

        snprintf(text, sizeof(text), "%s%s\n%s\nst.global.u64 [%%out], %%d64;\nret;\n}\n", head,
                 row->code, tail);
        ptx_open(&r, text, "k");
        for (size_t n = 0; n < COUNT(threads); n++) {
            uint64_t got = run(&r, row, threads[n]);

            if (got == row->expected)
                continue;
            wrong++;
            print_error("%s/%u: 0x%llx, not 0x%llx\n", row->name, threads[n],
                        (unsigned long long)got, (unsigned long long)row->expected);
        }
        ptx_close(&r);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
