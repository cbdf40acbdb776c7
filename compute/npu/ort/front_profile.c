/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "front.h"

/*
 * Profiles of sessions: a list of events in the form that trace viewers open (ui.perfetto.dev,
 * chrome://tracing), in a file of the program's. What a run took as the program sees it, and how
 * much of that the host computed; operators are the host's, and not told apart.
 */

/* So many are kept; later ones are only counted. */
#define PROFILE_MOST 1000000u

struct profile_event {
    const char *name;
    int64_t start, length; /* ns */
    int thread;
};

struct front_profile {
    pthread_mutex_t lock;
    char *path;
    int64_t start; /* ns, CLOCK_MONOTONIC */
    struct profile_event *events;
    size_t count, room, lost;
    bool written;
};

int64_t front_profile_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

struct ort_status *front_profile_create(const char *prefix, struct front_profile **ret_profile)
{
    struct front_profile *p = calloc(1, sizeof(*p));
    time_t now = time(NULL);
    char date[32] = "";
    struct tm parts;

    if (!p)
        return front_no_memory();
    if (localtime_r(&now, &parts))
        strftime(date, sizeof(date), "%Y-%m-%d_%H-%M-%S", &parts);
    if (asprintf(&p->path, "%s_%s.json", prefix, date) < 0) {
        free(p);
        return front_no_memory();
    }
    pthread_mutex_init(&p->lock, NULL);
    p->start = front_profile_now();
    *ret_profile = p;
    return NULL;
}

void front_profile_add(struct front_profile *p, const char *name, int64_t start, int64_t length)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    if (p->count == p->room && p->room < PROFILE_MOST) {
        size_t room = p->room ? 2 * p->room : 1024;
        struct profile_event *more =
            realloc(p->events, (room < PROFILE_MOST ? room : PROFILE_MOST) * sizeof(*more));

        if (more) {
            p->events = more;
            p->room = room < PROFILE_MOST ? room : PROFILE_MOST;
        }
    }
    if (p->count < p->room)
        p->events[p->count++] =
            (struct profile_event){name, start, length, (int)syscall(SYS_gettid)};
    else
        p->lost++;
    pthread_mutex_unlock(&p->lock);
}

static void write_event(FILE *file, const struct front_profile *p, const struct profile_event *e)
{
    fprintf(file,
            "{\"cat\":\"Session\",\"pid\":%d,\"tid\":%d,\"dur\":%" PRId64 ",\"ts\":%" PRId64
            ",\"ph\":\"X\",\"name\":\"%s\",\"args\":{}},\n",
            (int)getpid(), e->thread, e->length / 1000, (e->start - p->start) / 1000, e->name);
}

struct ort_status *front_profile_write(struct front_profile *p)
{
    struct ort_status *status = NULL;
    FILE *file = NULL;

    pthread_mutex_lock(&p->lock);
    if (p->written)
        goto done;
    file = fopen(p->path, "we");
    if (!file) {
        status = front_status(ORT_FAIL, "the profile %s cannot be written: %s", p->path,
                              strerror(errno));
        goto done;
    }
    fprintf(file, "[\n");
    for (size_t i = 0; i < p->count; i++)
        write_event(file, p, &p->events[i]);
    /* Also the end of the list, whose other rows end in commas. */
    fprintf(file,
            "{\"cat\":\"Session\",\"pid\":%d,\"tid\":0,\"dur\":0,\"ts\":%" PRId64
            ",\"ph\":\"X\",\"name\":\"session_end\",\"args\":{\"events_lost\":\"%zu\"}}\n]\n",
            (int)getpid(), (front_profile_now() - p->start) / 1000, p->lost);
    if (fclose(file))
        status = front_status(ORT_FAIL, "the profile %s cannot be written: %s", p->path,
                              strerror(errno));
    p->written = !status;
done:
    pthread_mutex_unlock(&p->lock);
    return status;
}

void front_profile_destroy(struct front_profile *p)
{
    if (!p)
        return;
    /* As the real one does for a session whose profile nobody ended. */
    ort_ReleaseStatus(front_profile_write(p));
    pthread_mutex_destroy(&p->lock);
    free(p->events);
    free(p->path);
    free(p);
}

struct ort_status *ort_SessionEndProfiling(struct ort_session *session,
                                           struct ort_allocator *allocator, char **out)
{
    struct ort_status *status = NULL;

    /* Without a profile the real one gives no name. */
    if (!session->profile)
        return front_give_text(allocator, "", out);
    status = front_profile_write(session->profile);
    return status ? status : front_give_text(allocator, session->profile->path, out);
}

struct ort_status *ort_SessionGetProfilingStartTimeNs(const struct ort_session *session,
                                                      uint64_t *out)
{
    *out = session->profile ? (uint64_t)session->profile->start : 0;
    return NULL;
}

struct ort_status *ort_EnableProfiling(struct ort_session_options *options,
                                       const char *profile_file_prefix)
{
    char *copy = strdup(profile_file_prefix);

    if (!copy)
        return front_no_memory();
    free(options->profile);
    options->profile = copy;
    return NULL;
}

struct ort_status *ort_DisableProfiling(struct ort_session_options *options)
{
    free(options->profile);
    options->profile = NULL;
    return NULL;
}
