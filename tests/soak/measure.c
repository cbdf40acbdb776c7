/* SPDX-License-Identifier: MIT */
#include "measure.h"

#include <dirent.h>
#include <inttypes.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cli/stats_read.h>

/* What may be added between the thirds. */
#define ALLOW_DESCRIPTORS 2
#define ALLOW_MAPPINGS    48

static int64_t count_entries(uint32_t pid, const char *what)
{
    char path[64];
    int64_t count = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%u/%s", pid, what);
    folder = opendir(path);
    if (!folder)
        return -1;
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static int64_t count_lines(uint32_t pid, const char *what)
{
    char path[64], line[512];
    int64_t count = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%u/%s", pid, what);
    file = fopen(path, "re");
    if (!file)
        return -1;
    while (fgets(line, sizeof(line), file))
        count += strchr(line, '\n') != NULL;
    fclose(file);
    return count ? count : -1;
}

static void take_process(uint32_t pid, struct measure_process *ret_process)
{
    char path[64], line[256];
    long long total, resident;
    FILE *file;

    *ret_process = (struct measure_process){.pss_kib = -1, .rss_kib = -1};
    /* Readable by everybody, unlike the rest. */
    snprintf(path, sizeof(path), "/proc/%u/statm", pid);
    file = fopen(path, "re");
    if (file) {
        if (fscanf(file, "%lld %lld", &total, &resident) == 2)
            ret_process->rss_kib = resident * (sysconf(_SC_PAGESIZE) / 1024);
        fclose(file);
    }
    snprintf(path, sizeof(path), "/proc/%u/smaps_rollup", pid);
    file = fopen(path, "re");
    if (file) {
        while (fgets(line, sizeof(line), file))
            sscanf(line, "Pss: %" SCNd64, &ret_process->pss_kib);
        fclose(file);
    }
    ret_process->descriptors = count_entries(pid, "fd");
    ret_process->mappings = count_lines(pid, "maps");
}

bool measure_take(uint64_t frames, struct measure *ret_measure)
{
    const char *uri = getenv("VIADUCT_HOST");
    struct mallinfo2 heap = mallinfo2();
    struct stats_read stats;
    bool found = false;

    if (!uri || stats_read_open(uri, &stats))
        return false;
    for (uint32_t i = 0; i < stats.reply.rows && !found; i++) {
        const struct stats_row *row = &stats.rows[i];

        if (row->client_pid != (uint32_t)getpid())
            continue;
        found = true;
        ret_measure->frames = frames;
        ret_measure->heap_kib = (int64_t)(heap.uordblks + heap.hblkhd) / 1024;
        ret_measure->frame_bytes = row->counters.frame_bytes;
        ret_measure->contexts = row->counters.contexts;
        ret_measure->surfaces = row->counters.surfaces;
        take_process((uint32_t)getpid(), &ret_measure->guest);
        take_process(row->pid, &ret_measure->worker);
    }
    stats_read_finish(&stats);
    return found;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* The median of a member, given by its place in struct measure. */
static int64_t median(const struct measure *all, int count, size_t place)
{
    int64_t values[MEASURE_MAX];

    for (int i = 0; i < count; i++)
        memcpy(&values[i], (const char *)&all[i] + place, sizeof(values[i]));
    qsort(values, (size_t)count, sizeof(values[0]), compare);
    return values[count / 2];
}

#define MEMBER(process, member) \
    offsetof(struct measure, process) + offsetof(struct measure_process, member)

int measure_growth(const struct measure *all, int count, int64_t slack_kib)
{
    const struct {
        const char *name;
        size_t place;
        int64_t allow;
    } members[] = {
        {"guest heap (KiB)", offsetof(struct measure, heap_kib), 1024},
        {"guest PSS (KiB)", MEMBER(guest, pss_kib), slack_kib},
        {"guest RSS (KiB)", MEMBER(guest, rss_kib), slack_kib},
        {"guest descriptors", MEMBER(guest, descriptors), ALLOW_DESCRIPTORS},
        {"guest mappings", MEMBER(guest, mappings), ALLOW_MAPPINGS},
        {"worker PSS (KiB)", MEMBER(worker, pss_kib), slack_kib},
        {"worker RSS (KiB)", MEMBER(worker, rss_kib), slack_kib},
        {"worker descriptors", MEMBER(worker, descriptors), ALLOW_DESCRIPTORS},
        {"worker mappings", MEMBER(worker, mappings), ALLOW_MAPPINGS},
    };
    int third = count / 3, grown = 0;

    if (!third)
        return 0;
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        int64_t before = median(all + third, third, members[i].place);
        int64_t after = median(all + count - third, third, members[i].place);
        bool more = after > before + before / 20 + members[i].allow;

        printf("%-20s %10" PRId64 " -> %10" PRId64 "%s\n", members[i].name, before, after,
               before < 0 ? "  not known"
               : more     ? "  GROWS"
                          : "");
        grown += more && before >= 0;
    }
    return grown;
}

void measure_print_head(void)
{
    printf("%9s | %8s %9s %9s %4s %5s | %9s %9s %4s %5s | %8s %4s %5s\n", "frames", "heap KiB",
           "guest PSS", "RSS", "fds", "maps", "worker PSS", "RSS", "fds", "maps", "pool MiB",
           "ctxs", "surfs");
}

void measure_print(const struct measure *measure)
{
    const struct measure_process *g = &measure->guest, *w = &measure->worker;

    printf("%9" PRIu64 " | %8" PRId64 " %9" PRId64 " %9" PRId64 " %4" PRId64 " %5" PRId64
           " | %10" PRId64 " %9" PRId64 " %4" PRId64 " %5" PRId64 " | %8.1f %4u %5u\n",
           measure->frames, measure->heap_kib, g->pss_kib, g->rss_kib, g->descriptors, g->mappings,
           w->pss_kib, w->rss_kib, w->descriptors, w->mappings,
           (double)measure->frame_bytes / (1 << 20), measure->contexts, measure->surfaces);
    fflush(stdout);
}
