/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "cli.h"
#include "service_find.h"
#include "stats_read.h"

static const char usage_text[] =
    "usage: viaduct top [--once] [--json]\n"
    "Shows what a host service on this machine does for whom, every second.\n"
    "\n"
    "  --once   once, instead of every second; rates are then missing\n"
    "  --json   once, as JSON\n"
    "  --help\n"
    "\n"
    "DECODED, ENCODED and PROCESSED count good pictures, CONCEALED damaged ones, FAILED lost "
    "ones;\n"
    "MODELS and RUNS are those of inference, KERNELS those of CUDA and CUDA MiB its memory;\n"
    "TOTAL includes clients that are gone.\n";

/* Pictures of any outcome: what the rate is made of. */
static uint64_t pictures(const struct stats_counters *counters)
{
    return counters->decoded + counters->encoded + counters->processed + counters->concealed +
           counters->failed;
}

/* The same client a second ago, NULL if it is new. */
static const struct stats_row *row_before(const struct stats_read *before, uint32_t pid)
{
    for (uint32_t i = 0; i < before->reply.rows; i++) {
        if (before->rows[i].pid == pid)
            return &before->rows[i];
    }
    return NULL;
}

static void print_counters(const struct stats_counters *counters, double rate)
{
    char text[16] = "-";

    if (rate >= 0)
        snprintf(text, sizeof(text), "%.1f", rate);
    printf("%5u %5u %7.1f %9llu %9llu %9llu %9llu %7llu %8s %6u %9llu %9llu %8.1f\n",
           counters->contexts, counters->surfaces, (double)counters->frame_bytes / (1 << 20),
           (unsigned long long)counters->decoded, (unsigned long long)counters->encoded,
           (unsigned long long)counters->processed, (unsigned long long)counters->concealed,
           (unsigned long long)counters->failed, text, counters->models,
           (unsigned long long)counters->inferences, (unsigned long long)counters->launches,
           (double)counters->cuda_bytes / (1 << 20));
}

/* A counter can go back: a worker lies, or a pid was used again. */
static double rate_of(const struct stats_counters *now, const struct stats_counters *before,
                      double seconds)
{
    if (!before || seconds <= 0 || pictures(now) < pictures(before))
        return -1;
    return (double)(pictures(now) - pictures(before)) / seconds;
}

static void print_table(const char *uri, const struct stats_read *now,
                        const struct stats_read *before, double seconds)
{
    struct stats_counters total = stats_read_total(now);
    struct stats_counters total_before = stats_read_total(before);

    printf("%s  back end %s  %u clients, %llu since start, %llu refused, %llu workers died\n\n",
           uri, now->reply.backend, now->reply.rows, (unsigned long long)now->reply.clients_served,
           (unsigned long long)now->reply.clients_refused,
           (unsigned long long)now->reply.workers_died);
    printf("%7s %7s %5s %-16s %-20s %5s %5s %7s %9s %9s %9s %9s %7s %8s %6s %9s %9s %8s\n",
           "WORKER", "CLIENT", "UID", "NAME", "ENGINE", "CTXS", "SURFS", "MiB", "DECODED",
           "ENCODED", "PROCESSED", "CONCEALED", "FAILED", "PICT/S", "MODELS", "RUNS", "KERNELS",
           "CUDA MiB");
    for (uint32_t i = 0; i < now->reply.rows; i++) {
        const struct stats_row *row = &now->rows[i];
        const struct stats_row *old = row_before(before, row->pid);

        printf("%7u %7u %5u %-16.16s %-20.20s ", row->pid, row->client_pid, row->uid,
               row->counters.name, row->counters.engine);
        print_counters(&row->counters,
                       rate_of(&row->counters, old ? &old->counters : NULL, seconds));
    }
    printf("%7s %7s %5s %-16s %-20s ", "TOTAL", "", "", "", "");
    print_counters(&total, rate_of(&total, seconds > 0 ? &total_before : NULL, seconds));
}

/* Texts are printable ASCII already; two characters mean something to JSON. */
static void print_json_text(const char *key, const char *text)
{
    printf("\"%s\": \"", key);
    for (; *text; text++)
        printf("%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    printf("\"");
}

static void print_json_counters(const struct stats_counters *counters)
{
    printf("\"contexts\": %u, \"surfaces\": %u, \"frame_bytes\": %llu, \"bytes_in\": %llu, "
           "\"bytes_out\": %llu, \"decoded\": %llu, \"encoded\": %llu, \"processed\": %llu, "
           "\"mapped\": %llu, \"concealed\": %llu, \"failed\": %llu, \"models\": %u, "
           "\"inferences\": %llu, \"launches\": %llu, \"cuda_bytes\": %llu",
           counters->contexts, counters->surfaces, (unsigned long long)counters->frame_bytes,
           (unsigned long long)counters->bytes_in, (unsigned long long)counters->bytes_out,
           (unsigned long long)counters->decoded, (unsigned long long)counters->encoded,
           (unsigned long long)counters->processed, (unsigned long long)counters->mapped,
           (unsigned long long)counters->concealed, (unsigned long long)counters->failed,
           counters->models, (unsigned long long)counters->inferences,
           (unsigned long long)counters->launches, (unsigned long long)counters->cuda_bytes);
}

static void print_json(const char *uri, const struct stats_read *now)
{
    struct stats_counters total = stats_read_total(now);

    printf("{");
    print_json_text("host", uri);
    printf(", ");
    print_json_text("backend", now->reply.backend);
    printf(", \"clients_served\": %llu, \"clients_refused\": %llu, \"workers_died\": %llu,\n"
           " \"clients\": [",
           (unsigned long long)now->reply.clients_served,
           (unsigned long long)now->reply.clients_refused,
           (unsigned long long)now->reply.workers_died);
    for (uint32_t i = 0; i < now->reply.rows; i++) {
        const struct stats_row *row = &now->rows[i];

        printf("%s\n  {\"worker\": %u, \"client\": %u, \"uid\": %u, ", i ? "," : "", row->pid,
               row->client_pid, row->uid);
        print_json_text("name", row->counters.name);
        printf(", ");
        print_json_text("backend", row->counters.backend);
        printf(", ");
        print_json_text("engine", row->counters.engine);
        printf(", ");
        print_json_counters(&row->counters);
        printf("}");
    }
    printf("],\n \"total\": {");
    print_json_counters(&total);
    printf("}}\n");
}

/* The first place whose service gives an account; no session is opened for that. */
static int open_first(struct service_places *places, const char **ret_uri,
                      struct stats_read *ret_stats)
{
    for (int i = 0; i < places->count; i++) {
        struct service_place *place = &places->place[i];

        place->err = stats_read_open(place->uri, ret_stats);
        if (!place->err) {
            *ret_uri = place->uri;
            return 0;
        }
    }
    fputs("viaduct top: no host service gives an account of itself here:\n", stderr);
    service_find_print(places);
    fputs("`viaduct top` works on the machine of the service, for those whom it serves\n", stderr);
    return VD_ERR_GONE;
}

static int watch(const char *uri, struct stats_read *stats)
{
    struct timespec at, start, pause = {.tv_sec = 1};
    struct stats_read before = {0};
    bool terminal = isatty(STDOUT_FILENO);
    double seconds = 0;
    int err = 0;

    clock_gettime(CLOCK_MONOTONIC, &start);
    while (!err) {
        if (terminal)
            fputs("\033[H\033[2J", stdout);
        print_table(uri, stats, &before, seconds);
        fflush(stdout);
        if (ferror(stdout))
            break;
        stats_read_finish(&before);
        before = *stats;
        *stats = (struct stats_read){0};
        nanosleep(&pause, NULL);
        err = stats_read_open(uri, stats);
        clock_gettime(CLOCK_MONOTONIC, &at);
        seconds = (double)(at.tv_sec - start.tv_sec) + (double)(at.tv_nsec - start.tv_nsec) * 1e-9;
        start = at;
        if (!terminal)
            putchar('\n');
    }
    stats_read_finish(&before);
    if (err)
        fprintf(stderr, "viaduct top: %s: %s\n", uri, errors_text(err));
    return err ? CLI_FAIL : CLI_OK;
}

int top_run(int argc, char **argv)
{
    static const struct option options[] = {
        {"once", no_argument, NULL, 'o'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool once = false, json = false;
    struct service_places places;
    struct stats_read stats, none = {0};
    const char *uri;
    int c, code = CLI_OK;

    optind = 0;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(usage_text, stdout);
            return CLI_OK;
        }
        if (c != 'o' && c != 'j') {
            fputs(usage_text, stderr);
            return CLI_USAGE;
        }
        once = true;
        json = json || c == 'j';
    }
    if (optind < argc) {
        fprintf(stderr, "viaduct top: %s: not an option\n%s", argv[optind], usage_text);
        return CLI_USAGE;
    }
    service_find_places(&places);
    if (open_first(&places, &uri, &stats))
        return CLI_FAIL;
    if (json)
        print_json(uri, &stats);
    else if (once)
        print_table(uri, &stats, &none, 0);
    else
        code = watch(uri, &stats);
    stats_read_finish(&stats);
    return code;
}
