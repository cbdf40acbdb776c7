/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "places.h"
#include "stats_read.h"
#include "va.h"

static const char usage_text[] =
    "usage: viaduct bench [--pictures N]\n"
    "Measures what the way from the program to the host costs a picture: the real driver and a\n"
    "private service whose back end does nothing.\n"
    "\n"
    "  --pictures N   how many (default 20000)\n"
    "  --help\n";

#define BENCH_PICTURES 20000
#define BENCH_WARM_UP  1000
#define BENCH_SURFACES 8
#define BENCH_WIDTH    1920
#define BENCH_HEIGHT   1080
#define BENCH_SLICE    1024 /* bytes of slice data */
#define BENCH_BUFFERS  4
/* On few cores it is chance whether both sides share one, which changes everything: the median of
 * several rounds, and their range. */
#define BENCH_ROUNDS  7
#define BENCH_AHEAD   4 /* pictures a player has on their way */
#define BENCH_GOAL_US 20.0

enum part {
    PART_CREATE,
    PART_BEGIN,
    PART_RENDER,
    PART_END,
    PART_SYNC,
    PART_DESTROY,
    PARTS,
};

static const char *const part_names[PARTS] = {
    [PART_CREATE] = "create 4 buffers",
    [PART_BEGIN] = "begin",
    [PART_RENDER] = "render",
    [PART_END] = "end",
    [PART_SYNC] = "sync",
    [PART_DESTROY] = "destroy 4 buffers",
};

struct bench {
    struct va va;
    VADisplay display;
    VAConfigID config;
    VAContextID context;
    VASurfaceID surface[BENCH_SURFACES];
    uint64_t part_ns[PARTS];
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t = {0};

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Says which call went wrong. */
static bool good(const struct bench *b, VAStatus status, const char *call)
{
    if (status == VA_STATUS_SUCCESS)
        return true;
    fprintf(stderr, "viaduct bench: %s: %s\n", call, b->va.vaErrorStr(status));
    return false;
}

static bool open_display(struct bench *b)
{
    char path[64], why[256];
    int major, minor, fd;

    if (va_load(&b->va, why, sizeof(why))) {
        fprintf(stderr, "viaduct bench: no libva: %s\n", why);
        return false;
    }
    fd = va_open_node(path, sizeof(path));
    b->display = fd >= 0 ? b->va.vaGetDisplayDRM(fd) : NULL;
    if (!b->display) {
        fprintf(stderr, "viaduct bench: no display on %s; `viaduct doctor` tells more\n",
                *path ? path : "/dev/dri");
        return false;
    }
    va_silence(&b->va, b->display);
    return good(b, b->va.vaInitialize(b->display, &major, &minor), "vaInitialize") &&
           good(b,
                b->va.vaCreateConfig(b->display, VAProfileH264High, VAEntrypointVLD, NULL, 0,
                                     &b->config),
                "vaCreateConfig") &&
           good(b,
                b->va.vaCreateSurfaces(b->display, VA_RT_FORMAT_YUV420, BENCH_WIDTH, BENCH_HEIGHT,
                                       b->surface, BENCH_SURFACES, NULL, 0),
                "vaCreateSurfaces") &&
           good(b,
                b->va.vaCreateContext(b->display, b->config, BENCH_WIDTH, BENCH_HEIGHT,
                                      VA_PROGRESSIVE, b->surface, BENCH_SURFACES, &b->context),
                "vaCreateContext");
}

static void fill_picture(VAPictureParameterBufferH264 *picture, VASurfaceID surface, uint32_t n)
{
    *picture = (VAPictureParameterBufferH264){
        .CurrPic = {.picture_id = surface, .frame_idx = n & 0xffff},
        .picture_width_in_mbs_minus1 = (BENCH_WIDTH + 15) / 16 - 1,
        .picture_height_in_mbs_minus1 = (BENCH_HEIGHT + 15) / 16 - 1,
        .num_ref_frames = 1,
        .frame_num = (uint16_t)n,
    };
    picture->seq_fields.bits.chroma_format_idc = 1;
    picture->seq_fields.bits.frame_mbs_only_flag = 1;
    picture->pic_fields.bits.reference_pic_flag = 1;
    for (int i = 0; i < 16; i++) {
        picture->ReferenceFrames[i].picture_id = VA_INVALID_ID;
        picture->ReferenceFrames[i].flags = VA_PICTURE_H264_INVALID;
    }
}

/* Adds the time since `at` to a part and restarts it; nothing where parts are not wanted. */
static void lap(struct bench *b, bool parts, enum part part, uint64_t *at)
{
    uint64_t now;

    if (!parts)
        return;
    now = clock_ns(CLOCK_MONOTONIC);
    b->part_ns[part] += now - *at;
    *at = now;
}

/* Submits a picture and waits for the one `ahead` pictures before it. */
static bool run_picture(struct bench *b, uint32_t n, uint32_t ahead, bool parts)
{
    static const VAIQMatrixBufferH264 matrix;
    static const uint8_t slice_data[BENCH_SLICE] = {0x65, 0x88};
    VASliceParameterBufferH264 slice = {.slice_data_size = BENCH_SLICE, .slice_type = 7};
    VASurfaceID surface = b->surface[n % BENCH_SURFACES];
    VAPictureParameterBufferH264 picture;
    const struct {
        VABufferType type;
        unsigned size;
        const void *data;
    } buffers[BENCH_BUFFERS] = {
        {VAPictureParameterBufferType, sizeof(picture), &picture},
        {VAIQMatrixBufferType, sizeof(matrix), &matrix},
        {VASliceParameterBufferType, sizeof(slice), &slice},
        {VASliceDataBufferType, sizeof(slice_data), slice_data},
    };
    VABufferID ids[BENCH_BUFFERS];
    uint64_t at;

    fill_picture(&picture, surface, n);
    at = parts ? clock_ns(CLOCK_MONOTONIC) : 0;
    for (int i = 0; i < BENCH_BUFFERS; i++) {
        if (!good(b,
                  b->va.vaCreateBuffer(b->display, b->context, buffers[i].type, buffers[i].size, 1,
                                       (void *)(uintptr_t)buffers[i].data, &ids[i]),
                  "vaCreateBuffer"))
            return false;
    }
    lap(b, parts, PART_CREATE, &at);
    if (!good(b, b->va.vaBeginPicture(b->display, b->context, surface), "vaBeginPicture"))
        return false;
    lap(b, parts, PART_BEGIN, &at);
    if (!good(b, b->va.vaRenderPicture(b->display, b->context, ids, BENCH_BUFFERS),
              "vaRenderPicture"))
        return false;
    lap(b, parts, PART_RENDER, &at);
    if (!good(b, b->va.vaEndPicture(b->display, b->context), "vaEndPicture"))
        return false;
    lap(b, parts, PART_END, &at);
    surface = b->surface[(n - ahead) % BENCH_SURFACES];
    if (n >= ahead && !good(b, b->va.vaSyncSurface(b->display, surface), "vaSyncSurface"))
        return false;
    lap(b, parts, PART_SYNC, &at);
    for (int i = 0; i < BENCH_BUFFERS; i++)
        b->va.vaDestroyBuffer(b->display, ids[i]);
    lap(b, parts, PART_DESTROY, &at);
    return true;
}

static bool run_pictures(struct bench *b, uint32_t count, uint32_t ahead, bool parts)
{
    for (uint32_t n = 0; n < count; n++) {
        if (!run_picture(b, n, ahead, parts))
            return false;
    }
    for (int i = 0; i < BENCH_SURFACES; i++) {
        if (!good(b, b->va.vaSyncSurface(b->display, b->surface[i]), "vaSyncSurface"))
            return false;
    }
    return true;
}

/* The clock of our worker's CPU time, found by what the service counts about us. */
static bool worker_clock(clockid_t *ret_clock)
{
    const char *uri = getenv("VIADUCT_HOST");
    struct stats_read stats;
    bool found = false;

    if (!uri || stats_read_open(uri, &stats))
        return false;
    for (uint32_t i = 0; i < stats.reply.rows && !found; i++) {
        const struct stats_row *row = &stats.rows[i];

        found = row->client_pid == (uint32_t)getpid() && row->pid &&
                !clock_getcpuclockid((pid_t)row->pid, ret_clock);
    }
    stats_read_finish(&stats);
    return found;
}

/* us a picture of one round. */
enum cost { COST_WALL, COST_GUEST, COST_HOST, COST_BOTH, COSTS };

static bool measure_round(struct bench *b, uint32_t count, uint32_t ahead, const clockid_t *worker,
                          double cost[COSTS][BENCH_ROUNDS], int round)
{
    uint64_t wall = clock_ns(CLOCK_MONOTONIC);
    uint64_t guest = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t host = worker ? clock_ns(*worker) : 0;
    double n = count * 1e3;

    if (!run_pictures(b, count, ahead, false))
        return false;
    cost[COST_WALL][round] = (double)(clock_ns(CLOCK_MONOTONIC) - wall) / n;
    cost[COST_GUEST][round] = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - guest) / n;
    cost[COST_HOST][round] = worker ? (double)(clock_ns(*worker) - host) / n : 0;
    cost[COST_BOTH][round] = cost[COST_GUEST][round] + cost[COST_HOST][round];
    return true;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One way of waiting, one line: medians, and how far the rounds lie apart. */
static bool measure(struct bench *b, uint32_t count, uint32_t ahead, const clockid_t *worker)
{
    double cost[COSTS][BENCH_ROUNDS];
    char how[32] = "waited for at once";
    double both;

    for (int i = 0; i < BENCH_ROUNDS; i++) {
        if (!measure_round(b, count / BENCH_ROUNDS + 1, ahead, worker, cost, i))
            return false;
    }
    for (int i = 0; i < COSTS; i++)
        qsort(cost[i], BENCH_ROUNDS, sizeof(cost[i][0]), compare);
    if (ahead)
        snprintf(how, sizeof(how), "waited for %u later", ahead);
    printf("%-20s %8.2f %10.2f", how, cost[COST_WALL][BENCH_ROUNDS / 2],
           cost[COST_GUEST][BENCH_ROUNDS / 2]);
    both = cost[COST_BOTH][BENCH_ROUNDS / 2];
    if (worker)
        printf(" %10.2f %10.2f  %6.2f to %6.2f  %s\n", cost[COST_HOST][BENCH_ROUNDS / 2], both,
               cost[COST_BOTH][0], cost[COST_BOTH][BENCH_ROUNDS - 1],
               both <= BENCH_GOAL_US ? "goal met" : "ABOVE THE GOAL");
    else
        printf("    unknown    unknown\n");
    return true;
}

static bool measure_parts(struct bench *b, uint32_t count)
{
    if (!run_pictures(b, count, 0, true))
        return false;
    printf("\nwall time by part, waited for at once\n");
    for (int i = 0; i < PARTS; i++)
        printf("  %-22s %8.2f\n", part_names[i], (double)b->part_ns[i] / count / 1e3);
    return true;
}

/* In the private service's environment. */
static int run_inside(uint32_t count)
{
    struct bench b = {0};
    clockid_t worker;
    bool known;

    if (!open_display(&b) || !run_pictures(&b, BENCH_WARM_UP, 0, false))
        return CLI_FAIL;
    known = worker_clock(&worker);
    printf("%u pictures of %d buffers and %d bytes, null back end, medians of %d rounds\n"
           "us a picture; the goal is %.0f us of CPU\n\n",
           count, BENCH_BUFFERS, BENCH_SLICE, BENCH_ROUNDS, BENCH_GOAL_US);
    printf("%-20s %8s %10s %10s %10s  %s\n", "", "WALL", "GUEST CPU", "HOST CPU", "BOTH CPU",
           "LEAST AND MOST");
    /* The parts apart, since looking at the clock costs, too. */
    if (!measure(&b, count, 0, known ? &worker : NULL) ||
        !measure(&b, count, BENCH_AHEAD, known ? &worker : NULL) ||
        !measure_parts(&b, count / 4 + 1))
        return CLI_FAIL;
    b.va.vaDestroyContext(b.display, b.context);
    b.va.vaDestroySurfaces(b.display, b.surface, BENCH_SURFACES);
    b.va.vaDestroyConfig(b.display, b.config);
    b.va.vaTerminate(b.display);
    return CLI_OK;
}

int bench_run(int argc, char **argv)
{
    static const struct option options[] = {
        {"pictures", required_argument, NULL, 'n'},
        {"inside", no_argument, NULL, 'i'}, /* how it calls itself */
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    char self[PATH_MAX], number[16];
    char *again[] = {"exec",  "--backend", "null",       "--",   self,
                     "bench", "--inside",  "--pictures", number, NULL};
    unsigned long count = BENCH_PICTURES;
    bool inside = false;
    char *end;
    int c;

    optind = 0;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'n':
            count = strtoul(optarg, &end, 10);
            if (*end || !count || count > 100000000) {
                fprintf(stderr, "viaduct bench: --pictures %s: give a number from 1 to 100000000\n",
                        optarg);
                return CLI_USAGE;
            }
            break;
        case 'i':
            inside = true;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return CLI_OK;
        default:
            fputs(usage_text, stderr);
            return CLI_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "viaduct bench: %s: not an option\n%s", argv[optind], usage_text);
        return CLI_USAGE;
    }
    if (inside)
        return run_inside((uint32_t)count);
    if (!places_find(PLACE_SELF, self, sizeof(self))) {
        fprintf(stderr, "viaduct bench: cannot find itself at %s\n", self);
        return CLI_FAIL;
    }
    snprintf(number, sizeof(number), "%lu", count);
    return exec_run((int)(sizeof(again) / sizeof(again[0])) - 1, again);
}
