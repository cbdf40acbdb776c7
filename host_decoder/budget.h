/* SPDX-License-Identifier: MIT */
#ifndef HOST_BUDGET_H
#define HOST_BUDGET_H

#include <stdint.h>

/*
 * Pixels a second that one client may have decoded, encoded or processed (--max-pixels). A client
 * that wants more is not refused anything: it is made to wait, so it gets what it may have, and the
 * others get the rest. What was saved up lasts for one second at most.
 *
 * One thread.
 */
struct budget {
    uint64_t rate; /* pixels a second, 0: no limit */
    int64_t left;
    uint64_t at_ns; /* when `left` was right */
};

/* A client is let go on after that long, however large its picture was; the rest it owes. */
#define BUDGET_MAX_WAIT_NS UINT64_C(4000000000)

/* The clock of `now_ns`. */
uint64_t budget_now(void);
void budget_init(struct budget *budget, uint64_t rate, uint64_t now_ns);
/* A picture of so many pixels is begun. How long to wait before that, in ns. */
uint64_t budget_take(struct budget *budget, uint64_t pixels, uint64_t now_ns);

#endif
