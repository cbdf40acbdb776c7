/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <inttypes.h>
#include <libavutil/hwcontext.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "corpus.h"
#include "measure.h"
#include "player.h"

/*
 * One program for an hour: streams of all codecs, sizes and depths in random order on one VA
 * display, with seeks, loops, changes of speed, streams that end in the middle or go on beside
 * others, frames that are read and frames that are not, frames that outlive their decoder. Every
 * so often all is closed, and then nothing may have grown: memory, descriptors, mappings.
 */

#define PLAYERS      3   /* at a time */
#define KEPT         6   /* frames that outlive their turn */
#define SETTLE_TRIES 300 /* of 10 ms */
#define ERROR_RUN    200 /* packets in a row that fail: the stream is given up */

struct soak {
    struct corpus corpus;
    AVBufferRef *device;
    struct player players[PLAYERS];
    int left[PLAYERS]; /* frames that the player still shall show, 0: closed */
    int source[PLAYERS];
    AVFrame *kept[KEPT];
    uint64_t seed, frames, goal;
    uint64_t opens, seeks, loops, downloads, download_errors, errors, refused, outlived;
    struct measure measures[MEASURE_MAX];
    int measured;
};

static const char usage_text[] =
    "usage: soak [--frames N] [--seed N] [--slack MIB] [--corpus DIR] [FILE...]\n"
    "Run it by `viaduct exec --private -- soak ...`. Without files the clean streams of the "
    "corpus\n"
    "(VIADUCT_CORPUS, --corpus) are played. Memory may grow by 5 % and --slack (8 MiB; less than "
    "0:\n"
    "growth is only shown). 77: no corpus. 1: something grew.\n";

/* xorshift64*: the same run for the same seed. */
static uint32_t random_below(struct soak *soak, uint32_t bound)
{
    soak->seed ^= soak->seed >> 12;
    soak->seed ^= soak->seed << 25;
    soak->seed ^= soak->seed >> 27;
    return (uint32_t)((soak->seed * 0x2545f4914f6cdd1dull) >> 32) % bound;
}

static void download(struct soak *soak, const AVFrame *frame)
{
    AVFrame *copy = av_frame_alloc();

    if (copy && !av_hwframe_transfer_data(copy, frame, 0))
        soak->downloads++;
    else
        soak->download_errors++;
    av_frame_free(&copy);
}

static void drop_kept(struct soak *soak, int index)
{
    /* Its decoder may be long gone. */
    if (soak->kept[index] && !random_below(soak, 3)) {
        download(soak, soak->kept[index]);
        soak->outlived++;
    }
    av_frame_free(&soak->kept[index]);
}

static void start(struct soak *soak, int slot)
{
    int source = (int)random_below(soak, (uint32_t)soak->corpus.count);

    if (!soak->corpus.paths[source])
        return;
    soak->opens++;
    soak->source[slot] = source;
    if (player_open(&soak->players[slot], soak->corpus.paths[source], soak->device,
                    1 + (int)random_below(soak, 3)))
        soak->errors++;
    else
        soak->left[slot] = 1 + (int)random_below(soak, 500);
}

static void stop(struct soak *soak, int slot)
{
    player_close(&soak->players[slot]);
    soak->left[slot] = 0;
}

/* A stream that does not come to VA-API at all is not opened again. */
static void give_up(struct soak *soak, int slot)
{
    soak->refused++;
    stop(soak, slot);
    corpus_drop(&soak->corpus, soak->source[slot]);
}

/* What a viewer does now and then. */
static void fiddle(struct soak *soak, struct player *player)
{
    static const enum AVDiscard speeds[] = {AVDISCARD_DEFAULT, AVDISCARD_DEFAULT, AVDISCARD_NONREF,
                                            AVDISCARD_NONKEY};

    switch (random_below(soak, 64)) {
    case 0:
    case 1:
        player_seek(player, random_below(soak, 1000) / 1000.0);
        soak->seeks++;
        break;
    case 2:
        player->codec->skip_frame = speeds[random_below(soak, 4)];
        break;
    }
}

static void show(struct soak *soak, const AVFrame *frame)
{
    soak->frames++;
    if (!random_below(soak, 4))
        download(soak, frame);
    if (!random_below(soak, 16)) {
        int index = (int)random_below(soak, KEPT);

        drop_kept(soak, index);
        soak->kept[index] = av_frame_clone(frame);
    }
}

/* One frame of one of the streams. */
static void step(struct soak *soak)
{
    int slot = (int)random_below(soak, PLAYERS), failed = 0;
    struct player *player = &soak->players[slot];
    enum player_state state;

    if (!soak->left[slot]) {
        start(soak, slot);
        if (!soak->left[slot])
            return;
    }
    do {
        state = player_next(player);
        failed++;
        soak->errors += state == PLAYER_ERROR;
    } while (state == PLAYER_ERROR && failed < ERROR_RUN);
    if (state == PLAYER_REFUSED) {
        give_up(soak, slot);
        return;
    }
    if (state == PLAYER_FRAME) {
        show(soak, player->frame);
        soak->left[slot]--;
        if (soak->left[slot])
            fiddle(soak, player);
    } else if (state == PLAYER_END && random_below(soak, 8)) {
        soak->loops++;
        player_seek(player, 0);
        soak->left[slot] -= soak->left[slot] > 1;
        return;
    } else {
        soak->left[slot] = 0;
    }
    if (!soak->left[slot])
        stop(soak, slot);
}

/* Closes everything but the display, and looks what is left. */
static bool look(struct soak *soak)
{
    struct measure *measure = &soak->measures[soak->measured];

    if (soak->measured == MEASURE_MAX)
        return true;
    for (int i = 0; i < PLAYERS; i++)
        stop(soak, i);
    for (int i = 0; i < KEPT; i++)
        drop_kept(soak, i);
    /* What the allocator keeps for later is no leak. */
    malloc_trim(0);
    /* The worker gets to know a little later that surfaces are gone. */
    for (int tries = 0; tries < SETTLE_TRIES; tries++) {
        if (!measure_take(soak->frames, measure)) {
            fprintf(stderr, "soak: the service knows no worker of this process\n");
            return false;
        }
        if (!measure->contexts && !measure->surfaces)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    soak->measured++;
    measure_print(measure);
    if (measure->contexts || measure->surfaces) {
        fprintf(stderr, "soak: %u contexts and %u surfaces are left\n", measure->contexts,
                measure->surfaces);
        return false;
    }
    return true;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run(struct soak *soak, int64_t slack_kib)
{
    uint64_t every = soak->goal / 120 > 200 ? soak->goal / 120 : 200, next = every;
    double began = seconds();
    int grown;

    measure_print_head();
    while (soak->frames < soak->goal && soak->corpus.left) {
        step(soak);
        if (soak->frames >= next) {
            if (!look(soak))
                return 1;
            next = soak->frames + every;
        }
        if (soak->opens > 1000 && soak->frames * 10 < soak->opens)
            break; /* nothing decodes */
    }
    printf("%" PRIu64 " frames in %.0f s: %" PRIu64 " streams opened, %" PRIu64 " seeks, %" PRIu64
           " loops, %" PRIu64 " frames read, %" PRIu64 " of them after their decoder, %" PRIu64
           " not read, %" PRIu64 " packets failed, %" PRIu64 " streams not for VA-API\n",
           soak->frames, seconds() - began, soak->opens, soak->seeks, soak->loops, soak->downloads,
           soak->outlived, soak->download_errors, soak->errors, soak->refused);
    if (soak->frames < soak->goal) {
        fprintf(stderr, "soak: the streams do not decode through VA-API\n");
        return 1;
    }
    grown = measure_growth(soak->measures, soak->measured, slack_kib);
    return slack_kib >= 0 && grown ? 1 : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"frames", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},
        {"corpus", required_argument, NULL, 'c'},
        {"slack", required_argument, NULL, 'k'},
        {NULL, 0, NULL, 0},
    };
    const char *folder = getenv("VIADUCT_CORPUS");
    static struct soak soak = {.seed = 1, .goal = 108000};
    long slack_mib = 8;
    int c, err = 1;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'n':
            soak.goal = strtoull(optarg, NULL, 10);
            break;
        case 's':
            soak.seed = strtoull(optarg, NULL, 10) * 2 + 1;
            break;
        case 'c':
            folder = folder ? folder : optarg;
            break;
        case 'k':
            slack_mib = strtol(optarg, NULL, 10);
            break;
        default:
            fputs(usage_text, stderr);
            return 2;
        }
    }
    for (; optind < argc; optind++)
        corpus_add(&soak.corpus, "", argv[optind]);
    if (!soak.corpus.count && (!folder || corpus_load(folder, &soak.corpus))) {
        printf("SKIP: no corpus (set VIADUCT_CORPUS)\n");
        return 77;
    }
    av_log_set_level(AV_LOG_QUIET);
    /*
     * glibc raises its limit for mappings when large blocks are freed, and keeps frames of FFmpeg's
     * own software decoders, which look at each stream first, in the heaps of its threads.
     */
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    mallopt(M_ARENA_MAX, 2);
    if (av_hwdevice_ctx_create(&soak.device, AV_HWDEVICE_TYPE_VAAPI, "/dev/dri/renderD128", NULL,
                               0)) {
        fprintf(stderr, "soak: no VA display; run it by viaduct exec\n");
        goto out;
    }
    err = run(&soak, slack_mib * 1024);
out:
    for (int i = 0; i < PLAYERS; i++)
        stop(&soak, i);
    for (int i = 0; i < KEPT; i++)
        av_frame_free(&soak.kept[i]);
    av_buffer_unref(&soak.device);
    corpus_finish(&soak.corpus);
    return err;
}
