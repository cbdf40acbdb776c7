/* SPDX-License-Identifier: MIT */
#include "budget.h"

#include <time.h>

#define SECOND UINT64_C(1000000000)

/* Rates and pictures are far below 2^60 pixels, so sums of two of them fit. */
#define MOST (UINT64_C(1) << 60)

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t budget_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

void budget_init(struct budget *budget, uint64_t rate, uint64_t now_ns)
{
    *budget = (struct budget){.rate = least(rate, MOST), .at_ns = now_ns};
    budget->left = (int64_t)budget->rate;
}

uint64_t budget_take(struct budget *budget, uint64_t pixels, uint64_t now_ns)
{
    uint64_t passed = now_ns > budget->at_ns ? now_ns - budget->at_ns : 0;
    double earned = (double)budget->rate * (double)passed / SECOND;
    double wait;

    if (!budget->rate)
        return 0;
    budget->at_ns = now_ns;
    if ((double)budget->left + earned >= (double)budget->rate)
        budget->left = (int64_t)budget->rate;
    else
        budget->left += (int64_t)earned;
    budget->left -= (int64_t)least(pixels, MOST);
    if (budget->left >= 0)
        return 0;
    wait = -(double)budget->left / (double)budget->rate * SECOND;
    /* What it owes is bounded, too: a second's pixels beyond the longest wait. */
    if (wait > (double)BUDGET_MAX_WAIT_NS) {
        double most = (double)budget->rate * (BUDGET_MAX_WAIT_NS / SECOND + 1);

        if (-(double)budget->left > most)
            budget->left = -(int64_t)least((uint64_t)most, MOST);
        return BUDGET_MAX_WAIT_NS;
    }
    return (uint64_t)wait;
}
