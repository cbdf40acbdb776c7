/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PTX_FLOW_H
#define VIADUCT_PTX_FLOW_H

#include "internal.h"

/*
 * Handlers that are no arithmetic and no plain load or store. Operands: d result, a first source …
 * as select.c sets them.
 */

#define HANDLER(name) const struct insn *name(struct warp *w, const struct insn *in)

/* flow.c */
HANDLER(flow_guard);     /* the next instruction for lanes of predicate a */
HANDLER(flow_branch);    /* to target */
HANDLER(flow_branch_if); /* lanes of a; F_UNLESS: not of a */
HANDLER(flow_skip);      /* the same, where what is jumped over is plain (skip.c) */
HANDLER(flow_either);    /* the same, and before target is the jump over what is there */
HANDLER(flow_switch);    /* brx.idx: by a into targets */
HANDLER(flow_call);
HANDLER(flow_return);
HANDLER(flow_exit);
HANDLER(flow_trap);
HANDLER(flow_nothing);
HANDLER(flow_fence);
HANDLER(flow_spin);           /* another warp or lane may be waited for */
HANDLER(flow_special);        /* d = special register `imm` */
HANDLER(flow_parameter);      /* d = the kernel's parameter at imm, of e bits; f: signed */
HANDLER(flow_shared_address); /* d = address of shared variable `imm`, plus f */
HANDLER(flow_local_address);  /* d = address of this frame's local memory plus imm */
HANDLER(flow_is_space);       /* d = a is in space `imm` */

/* sync.c */
HANDLER(sync_barrier); /* barrier a of b threads (NO_SLOT: all), predicate c, mode in imm */
HANDLER(sync_warp);    /* bar.warp.sync a */
HANDLER(sync_shuffle); /* d, predicate e = a, b, c; members f; imm: mode */
HANDLER(sync_vote);    /* d = mode of a; members f */
HANDLER(sync_match);   /* d, predicate e = a; members f; imm: all, wide */
HANDLER(sync_reduce);  /* d = a; members f; imm: operation */
HANDLER(sync_active);
HANDLER(sync_elect); /* d = the first lane of members f, predicate e: it is this one */

enum { BARRIER_SYNC, BARRIER_ARRIVE, BARRIER_POPC, BARRIER_AND, BARRIER_OR };
enum { SHUFFLE_UP, SHUFFLE_DOWN, SHUFFLE_XOR, SHUFFLE_IDX };
enum { VOTE_ALL, VOTE_ANY, VOTE_UNI, VOTE_BALLOT };
enum {
    REDUCE_ADD,
    REDUCE_MIN,
    REDUCE_MAX,
    REDUCE_AND,
    REDUCE_OR,
    REDUCE_XOR,
    REDUCE_UMIN,
    REDUCE_UMAX
};
enum { MATCH_ANY = 0, MATCH_ALL = 1, MATCH_WIDE = 2 };

/* mbarrier.c: d = the state before (NO_SLOT: none) or a predicate, object [a + imm], count b */
HANDLER(mbarrier_run);
HANDLER(mbarrier_pending); /* d = arrivals that state a waits for */
enum mbarrier_op {
    MBARRIER_INIT,
    MBARRIER_INVAL,
    MBARRIER_EXPECT,
    MBARRIER_COMPLETE,
    MBARRIER_ARRIVE,
    MBARRIER_ARRIVE_EXPECT,
    MBARRIER_DROP,
    MBARRIER_TEST,   /* by state b */
    MBARRIER_PARITY, /* by parity b */
};
#define MBARRIER_FLAGS(op) ((uint32_t)(op) << 16)
#define MBARRIER_GENERIC   (1u << 20)

/* atom.c: d (NO_SLOT: none) = operation on [a + imm] with b, c; flags: operation, type, space */
HANDLER(atom_run);
enum atom_op {
    ATOM_ADD,
    ATOM_MIN,
    ATOM_MAX,
    ATOM_AND,
    ATOM_OR,
    ATOM_XOR,
    ATOM_EXCH,
    ATOM_CAS,
    ATOM_INC,
    ATOM_DEC
};
enum atom_type {
    TYPE_U32,
    TYPE_S32,
    TYPE_U64,
    TYPE_S64,
    TYPE_F32,
    TYPE_F64,
    TYPE_F16,
    TYPE_F16X2,
    TYPE_BF16,
    TYPE_BF16X2,
    TYPE_B16
};
#define ATOM_FLAGS(op, type, space) \
    ((uint32_t)(op) << 16 | (uint32_t)(type) << 20 | (uint32_t)(space) << 24)
/* On device memory, of 2, 4 or 8 bytes and aligned to them: atomic on the host. What was there. */
uint64_t atom_exchange(uint8_t *host, uint32_t bytes, enum atom_op op, enum atom_type type,
                       uint64_t b, uint64_t c);

/* cp.async: [d + (imm >> 32)] = [a + (int32_t)imm], e bytes of which b (slot) come from there */
HANDLER(copy_async);

enum special {
    SPECIAL_TID_X,
    SPECIAL_TID_Y,
    SPECIAL_TID_Z,
    SPECIAL_NTID_X,
    SPECIAL_NTID_Y,
    SPECIAL_NTID_Z,
    SPECIAL_CTAID_X,
    SPECIAL_CTAID_Y,
    SPECIAL_CTAID_Z,
    SPECIAL_NCTAID_X,
    SPECIAL_NCTAID_Y,
    SPECIAL_NCTAID_Z,
    SPECIAL_LANEID,
    SPECIAL_WARPID,
    SPECIAL_NWARPID,
    SPECIAL_SMID,
    SPECIAL_NSMID,
    SPECIAL_GRIDID,
    SPECIAL_LANEMASK_EQ,
    SPECIAL_LANEMASK_LE,
    SPECIAL_LANEMASK_LT,
    SPECIAL_LANEMASK_GE,
    SPECIAL_LANEMASK_GT,
    SPECIAL_CLOCK,
    SPECIAL_CLOCK_HI,
    SPECIAL_CLOCK64,
    SPECIAL_TIMER,
    SPECIAL_TIMER_LO,
    SPECIAL_TIMER_HI,
    SPECIAL_SHARED,
    SPECIAL_DYNAMIC,
    SPECIAL_RESERVED, /* PTX 7.6: of the system's part of shared memory; from here on, its registers
                       */
    SPECIAL_RESERVED_1,
    SPECIAL_RESERVED_END,
    SPECIAL_RESERVED_CAP,
    SPECIAL_ENVREG0, /* to 31 */
    SPECIAL_COUNT = SPECIAL_ENVREG0 + 32,
};

#endif
