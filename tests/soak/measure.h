/* SPDX-License-Identifier: MIT */
#ifndef SOAK_MEASURE_H
#define SOAK_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#define MEASURE_MAX 256 /* measurements of a run */

/* What a process holds. -1: may not be known. */
struct measure_process {
    int64_t pss_kib;
    int64_t rss_kib;
    int64_t descriptors;
    int64_t mappings;
};

struct measure {
    uint64_t frames;  /* decoded so far */
    int64_t heap_kib; /* of this process, in use: unlike PSS, without what the allocator keeps */
    struct measure_process guest;
    struct measure_process worker;
    uint64_t frame_bytes;
    uint32_t contexts, surfaces;
};

/* Looks at this process and at its worker, which "<socket>.stats" names. False: no worker. */
bool measure_take(uint64_t frames, struct measure *ret_measure);

/*
 * Compares the middle third of the measurements with the last: medians must not grow by more
 * than 5 % and an allowance, for memory `slack_kib`. Prints both; returns how many grew.
 */
int measure_growth(const struct measure *all, int count, int64_t slack_kib);

void measure_print_head(void);
void measure_print(const struct measure *measure);

#endif
