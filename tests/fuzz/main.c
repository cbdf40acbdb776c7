/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

/*
 * Runs a fuzz target as an ordinary program:
 *
 *   fuzz_x FILE...                     each file once
 *   fuzz_x [--runs N] [--seconds S] [--seed X] [--start N]
 *                                      random inputs and mutations of the built-in ones
 *
 * Run n of seed x is always the same input: a failure names both, and --seed x --start n --runs 1
 * repeats it (--dump FILE writes it instead of running it).
 */

#define MAX_SEEDS   32
#define MOST_INPUT  65536
#define RUN_SECONDS 60 /* one input that takes longer hangs */

__attribute__((weak)) size_t fuzz_seed(int index, uint8_t *buffer, size_t room);

static struct {
    uint8_t *bytes;
    size_t size;
} seeds[MAX_SEEDS];
static int seed_count;
static unsigned long long run_seed = 1, run_now;

static void say_run(int sig)
{
    static const char text[] = "fuzz: failed; repeat with --runs 1 --seed ";
    unsigned long long values[2] = {run_seed, run_now};
    char line[128];
    size_t n = sizeof(text) - 1;

    memcpy(line, text, n);
    for (int i = 0; i < 2; i++) {
        char digits[24];
        int count = 0;

        do
            digits[count++] = (char)('0' + values[i] % 10);
        while (values[i] /= 10);
        while (count)
            line[n++] = digits[--count];
        if (!i) {
            memcpy(line + n, " --start ", 9);
            n += 9;
        }
    }
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0)
        n = 0;
    signal(sig, SIG_DFL);
    raise(sig);
}

/* splitmix64 */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit ? (size_t)(next(state) % limit) : 0;
}

static size_t mutate_once(uint64_t *r, uint8_t *bytes, size_t size)
{
    static const uint32_t values[] = {0,          1,           16,          64,         4096,
                                      0x7fffffff, 0x80000000u, 0xfffffffeu, 0xffffffffu};
    size_t at = below(r, size), n = 1 + below(r, 1 + below(r, 64)), from;
    uint32_t value;

    switch (next(r) % 8) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << next(r) % 8);
        break;
    case 1:
        bytes[at] = (uint8_t)next(r);
        break;
    case 2:
        bytes[at] = (uint8_t)(bytes[at] + (next(r) & 1 ? 1 : -1));
        break;
    case 3:
        value = values[below(r, sizeof(values) / sizeof(values[0]))];
        memcpy(bytes + at, &value, size - at < 4 ? size - at : 4);
        break;
    case 4: /* remove */
        if (n < size - at) {
            memmove(bytes + at, bytes + at + n, size - at - n);
            size -= n;
        }
        break;
    case 5: /* repeat */
        if (n < size - at && size + n <= MOST_INPUT) {
            memmove(bytes + at + n, bytes + at, size - at);
            size += n;
        }
        break;
    case 6: /* cut */
        if (next(r) % 8 == 0)
            size = at + 1;
        break;
    default: /* copy from elsewhere */
        from = below(r, size);
        if (n < size - at && n < size - from)
            memmove(bytes + at, bytes + from, n);
        break;
    }
    return size;
}

static size_t make_input(uint64_t r, unsigned long long run, uint8_t *bytes)
{
    size_t size, changes;
    int which;

    /* First the seeds as they are. */
    if (run < (unsigned long long)seed_count) {
        memcpy(bytes, seeds[run].bytes, seeds[run].size);
        return seeds[run].size;
    }
    if (!seed_count || next(&r) % 16 == 0) {
        size = 1 + below(&r, (size_t)1 << next(&r) % 13);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)next(&r);
        return size;
    }
    which = (int)below(&r, (size_t)seed_count);
    size = seeds[which].size;
    memcpy(bytes, seeds[which].bytes, size);
    changes = (size_t)1 << next(&r) % 6;
    while (changes-- && size)
        size = mutate_once(&r, bytes, size);
    return size;
}

/* In memory of just its size. */
static void run_one(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, bytes, size);
    alarm(RUN_SECONDS);
    LLVMFuzzerTestOneInput(copy, size);
    alarm(0);
    free(copy);
}

static int run_file(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    run_one(bytes, size);
    return 0;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dump(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    int failed = !file || fwrite(bytes, 1, size, file) != size;

    if (file && fclose(file))
        failed = 1;
    return failed;
}

int main(int argc, char **argv)
{
    static const int caught[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    static uint8_t bytes[MOST_INPUT + 64];
    unsigned long long runs = ~0ull, start = 0, done = 0;
    const char *dump_to = NULL;
    double seconds = 2, begin = now();
    int files = 0, limited = 0;

    for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
        signal(caught[i], say_run);
    while (fuzz_seed && seed_count < MAX_SEEDS) {
        size_t size = fuzz_seed(seed_count, bytes, MOST_INPUT);

        if (!size)
            break;
        seeds[seed_count].bytes = malloc(size);
        if (!seeds[seed_count].bytes)
            abort();
        memcpy(seeds[seed_count].bytes, bytes, size);
        seeds[seed_count++].size = size;
    }
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (!strcmp(argv[i], "--runs")) {
            runs = strtoull(value, NULL, 0);
            limited = 1;
        } else if (!strcmp(argv[i], "--seconds")) {
            seconds = strtod(value, NULL);
            limited |= 2;
        } else if (!strcmp(argv[i], "--seed")) {
            run_seed = strtoull(value, NULL, 0);
        } else if (!strcmp(argv[i], "--start")) {
            start = strtoull(value, NULL, 0);
        } else if (!strcmp(argv[i], "--dump")) {
            dump_to = value;
        } else {
            if (run_file(argv[i]))
                return 1;
            files++;
            continue;
        }
        i++;
    }
    if (limited == 1)
        seconds = 1e9;
    for (; !files && done < runs && now() - begin < seconds; done++) {
        size_t size;

        run_now = start + done;
        size = make_input(run_seed * 0x9e3779b97f4a7c15ull ^ run_now << 20, run_now, bytes);
        if (dump_to)
            return dump(dump_to, bytes, size);
        run_one(bytes, size);
    }
    printf("fuzz: %llu runs, %d seeds, %.1f seconds, no failure\n", files ? (unsigned)files : done,
           seed_count, now() - begin);
    for (int i = 0; i < seed_count; i++)
        free(seeds[i].bytes);
    return 0;
}
