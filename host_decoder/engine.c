/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

/* A driver that takes longer to open its device hangs. */
#define ENGINE_PROBE_MS 6000
/* All devices together: viaductd gives up a worker program that says nothing for 30 s. */
#define ENGINE_TOTAL_MS    20000
#define ENGINE_MAX_DEVICES 16
/* Stands for a device in the names of engines that have none. */
#define ENGINE_SOFTWARE "software"

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The child's part: what the device serves goes into the pipe, or nothing. */
static void probe_child(const struct engine *engine, const struct backend_options *options, int fd)
{
    struct vd_cap caps[VD_MAX_CAPS];
    void *device;
    size_t bytes, done = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (engine->backend->open(engine->device, options, &device))
        return;
    memset(caps, 0, sizeof(caps));
    bytes = engine->backend->device_caps(device, caps, VD_MAX_CAPS) * sizeof(caps[0]);
    while (done < bytes) {
        ssize_t n = write(fd, (const char *)caps + done, bytes - done);

        if (n <= 0 && errno != EINTR)
            return;
        done += n > 0 ? (size_t)n : 0;
    }
    engine->backend->close(device);
}

/* Bytes until the other side closes the pipe or time is up. */
static size_t read_all(int fd, void *bytes, size_t room)
{
    int64_t end = now_ms() + ENGINE_PROBE_MS;
    size_t done = 0;

    while (done < room) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = end - now_ms();
        ssize_t n;

        if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
            break;
        if (!p.revents)
            continue;
        n = read(fd, (char *)bytes + done, room - done);
        if (!n || (n < 0 && errno != EINTR))
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    return done;
}

/*
 * What a device serves, found in a process of its own: contexts of a GPU driver do not survive
 * the forks of the nursery, and a driver may crash or hang.
 */
static int probe_device(struct engine *engine, const struct backend_options *options, int64_t end)
{
    int ends[2], status;
    pid_t pid;

    if (now_ms() >= end) {
        log_warn("engine %s is not tried: others took too long", engine->name);
        return VD_ERR_TIMEOUT;
    }
    if (pipe(ends) < 0)
        return VD_ERR_IO;
    pid = fork();
    if (!pid) {
        close(ends[0]);
        probe_child(engine, options, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    if (pid > 0) {
        size_t n = read_all(ends[0], engine->caps, sizeof(engine->caps));

        engine->cap_count = (uint32_t)(n / sizeof(engine->caps[0]));
        kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    close(ends[0]);
    return engine->cap_count ? 0 : VD_ERR_UNSUPPORTED;
}

static bool has_engine(const struct backend_set *set, const char *name)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (!strcmp(set->at[i].name, name))
            return true;
    }
    return false;
}

/* Whether a back end of this name works on devices: then software needs a name, too. */
static bool has_devices(const char *name)
{
    for (size_t i = 0; backend_at(i); i++) {
        if (!strcmp(backend_at(i)->name, name) && backend_at(i)->open)
            return true;
    }
    return false;
}

/* Adds one engine if it works. */
static void add(struct backend_set *set, const struct backend *backend, const char *device,
                bool asked, const struct backend_options *options, int64_t end)
{
    struct engine *engine = &set->at[set->count];
    const char *name = backend->name;
    int err = 0;

    if (set->count == BACKEND_SET_MAX)
        return;
    memset(engine, 0, sizeof(*engine));
    engine->backend = backend;
    if (!*device && has_devices(name))
        device = ENGINE_SOFTWARE;
    snprintf(engine->name, sizeof(engine->name), "%s%s%s", name, *device ? ":" : "", device);
    if (backend->open)
        snprintf(engine->device, sizeof(engine->device), "%s", device);
    if (has_engine(set, engine->name))
        return;
    if (backend->open)
        err = probe_device(engine, options, end);
    else if (backend->probe)
        err = backend->probe(options);
    if (!err)
        set->count++;
    else if (asked)
        log_warn("engine %s does not work here", engine->name);
    else
        log_debug("engine %s does not work here", engine->name);
}

static void add_devices(struct backend_set *set, const struct backend *backend, bool asked,
                        const struct backend_options *options, int64_t end)
{
    char devices[ENGINE_MAX_DEVICES][BACKEND_DEVICE_BYTES];
    uint32_t count = backend->devices(asked, devices, ENGINE_MAX_DEVICES);

    for (uint32_t i = 0; i < count; i++)
        add(set, backend, devices[i], asked, options, end);
}

/* One item of the user's list. -VD_ERR_PARAMETER if there is no such engine anywhere. */
static int add_item(struct backend_set *set, const char *item,
                    const struct backend_options *options, int64_t end)
{
    const char *device = strchr(item, ':');
    size_t length = device ? (size_t)(device - item) : strlen(item);
    bool known = false;

    device = device ? device + 1 : "";
    if (strlen(device) >= BACKEND_DEVICE_BYTES)
        return VD_ERR_PARAMETER;
    for (size_t i = 0; backend_at(i); i++) {
        const struct backend *b = backend_at(i);

        if (strlen(b->name) != length || strncmp(b->name, item, length))
            continue;
        if (!b->open && (!*device || !strcmp(device, ENGINE_SOFTWARE))) {
            known = true;
            add(set, b, "", true, options, end);
        } else if (b->open && !*device) {
            known = true;
            add_devices(set, b, true, options, end);
        } else if (b->open && strcmp(device, ENGINE_SOFTWARE)) {
            known = true;
            add(set, b, device, true, options, end);
        }
    }
    if (!known)
        log_error("there is no engine %s", item);
    return known ? 0 : VD_ERR_PARAMETER;
}

/* "vaapi+avcodec": each back end once, in order. */
static void name_set(struct backend_set *set)
{
    size_t used = 0;

    for (uint32_t i = 0; i < set->count; i++) {
        const char *name = set->at[i].backend->name;
        bool seen = false;

        for (uint32_t j = 0; j < i; j++)
            seen = seen || !strcmp(set->at[j].backend->name, name);
        if (seen || used + strlen(name) + 2 > sizeof(set->name))
            continue;
        used += (size_t)snprintf(set->name + used, sizeof(set->name) - used, "%s%s",
                                 used ? "+" : "", name);
    }
}

int engine_select(const char *spec, const struct backend_options *options,
                  struct backend_set *ret_set)
{
    int64_t end = now_ms() + ENGINE_TOTAL_MS;
    int err = 0;

    memset(ret_set, 0, sizeof(*ret_set));
    if (!spec || !*spec) {
        for (size_t i = 0; backend_at(i); i++) {
            const struct backend *b = backend_at(i);

            if (b->open)
                add_devices(ret_set, b, false, options, end);
            else if (b != &backend_null)
                add(ret_set, b, "", false, options, end);
        }
    } else {
        char *list = strdup(spec), *rest = list;
        const char *item;

        if (!list)
            return VD_ERR_MEMORY;
        while (!err && (item = strsep(&rest, ",")))
            err = add_item(ret_set, item, options, end);
        free(list);
    }
    name_set(ret_set);
    if (err)
        return err;
    return ret_set->count ? 0 : VD_ERR_UNSUPPORTED;
}

uint32_t engine_caps(const struct engine *engine, struct vd_cap *ret_caps)
{
    if (!engine->backend->open)
        return engine->backend->caps(ret_caps, VD_MAX_CAPS);
    memcpy(ret_caps, engine->caps, engine->cap_count * sizeof(engine->caps[0]));
    return engine->cap_count;
}

void engine_log(const struct backend_set *set)
{
    struct vd_cap caps[VD_MAX_CAPS];
    uint32_t seen[VD_MAX_CAPS], seen_count = 0;
    bool hardware = false;

    for (uint32_t i = 0; i < set->count; i++) {
        const struct engine *engine = &set->at[i];
        uint32_t count = engine_caps(engine, caps);
        char line[1024] = "";
        size_t used = 0;

        hardware = hardware || engine->backend->open;
        for (uint32_t j = 0; j < count; j++) {
            bool served = false;

            for (uint32_t k = 0; k < seen_count; k++)
                served = served || seen[k] == caps[j].profile;
            if (served || seen_count == VD_MAX_CAPS || used >= sizeof(line))
                continue;
            seen[seen_count++] = caps[j].profile;
            used += (size_t)snprintf(line + used, sizeof(line) - used, " %s",
                                     codecs_profile_name((int)caps[j].profile));
        }
        log_info("engine %s serves%s", engine->name, used ? line : " nothing that others do not");
    }
    if (!hardware)
        log_info("no hardware decoder is used: all work is done in software");
}
