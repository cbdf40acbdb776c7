/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_CHECK_H
#define VIADUCT_TEST_CHECK_H

/* What every test program starts with. */

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Memory of exactly `size` bytes, so that sanitizers see one byte too many. */
static inline void *check_exact(const void *data, size_t size)
{
    void *copy = malloc(size ? size : 1);

    assert_non_null(copy);
    if (data && size)
        memcpy(copy, data, size);
    return copy;
}

/* Descriptors this process has open. */
static inline int check_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static inline double check_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Deterministic random numbers (splitmix64). */
static inline uint64_t check_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

#endif
