/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wire/log.h>

#include "local.h"

#define NAME "libonnxruntime.so"

const char *find_self(void)
{
    static const char inside = 0;
    Dl_info info;

    return dladdr(&inside, &info) ? info.dli_fname : NULL;
}

/* Viaduct's own have a symbol for that. */
static void *open_foreign(const char *path, bool quiet)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        if (!quiet)
            log_warn("ONNX Runtime: %s", dlerror());
        return NULL;
    }
    if (dlsym(library, "OrtGetApiBase") && !dlsym(library, "viaduct_ort_front")) {
        log_info("the local ONNX Runtime is %s", path);
        return library;
    }
    dlclose(library);
    return NULL;
}

static void *open_pattern(const char *pattern)
{
    void *library = NULL;
    glob_t found;

    if (glob(pattern, 0, NULL, &found))
        return NULL;
    /* The newest first, as far as names tell. */
    for (size_t i = found.gl_pathc; i-- && !library;)
        library = open_foreign(found.gl_pathv[i], true);
    globfree(&found);
    return library;
}

static void *open_in(const char *folder, size_t length)
{
    char pattern[PATH_MAX];

    if (!length || (size_t)snprintf(pattern, sizeof(pattern), "%.*s/" NAME "*", (int)length,
                                    folder) >= sizeof(pattern))
        return NULL;
    return open_pattern(pattern);
}

static void *open_beside(const void *caller)
{
    const char *slash;
    Dl_info info;

    if (!dladdr(caller, &info) || !info.dli_fname)
        return NULL;
    slash = strrchr(info.dli_fname, '/');
    return slash ? open_in(info.dli_fname, (size_t)(slash - info.dli_fname)) : NULL;
}

/* The first object of that name that is not this one; its path goes to `data`. */
static int look_at(struct dl_phdr_info *info, size_t size, void *data)
{
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash ? slash + 1 : info->dlpi_name, *self = find_self();

    (void)size;
    if (strncmp(name, NAME, strlen(NAME)) || (self && !strcmp(info->dlpi_name, self)))
        return 0;
    snprintf(data, PATH_MAX, "%s", info->dlpi_name);
    return 1;
}

static void *open_loaded(void)
{
    char path[PATH_MAX] = "";

    dl_iterate_phdr(look_at, path);
    return *path ? open_foreign(path, true) : NULL;
}

static void *open_in_path(const char *folders)
{
    void *library = NULL;

    while (folders && *folders && !library) {
        size_t length = strcspn(folders, ":");

        library = open_in(folders, length);
        folders += length + (folders[length] == ':');
    }
    return library;
}

/* Installed, and in a build tree. */
static void *open_forwarding(void)
{
    static const char *const places[] = {"../libonnxruntime.so.1", "../ort/libonnxruntime.so.1"};
    const char *self = find_self(), *slash = self ? strrchr(self, '/') : NULL;
    void *library = NULL;

    for (size_t i = 0; slash && !library && i < sizeof(places) / sizeof(places[0]); i++) {
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - self), self, places[i]);
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return library;
}

void *find_runtime(const void *caller)
{
    static const char *const patterns[] = {
        "/usr/lib/*/libonnxruntime.so.1*",
        "/usr/lib/libonnxruntime.so.1*",
        "/usr/lib64/libonnxruntime.so.1*",
        "/usr/local/lib/libonnxruntime.so.1*",
        "/opt/onnxruntime*/lib/libonnxruntime.so.1*",
    };
    const char *named = getenv("VIADUCT_ORT_LOCAL");
    void *library = named && *named ? open_foreign(named, false) : NULL;

    if (!library)
        library = open_beside(caller);
    if (!library)
        library = open_loaded();
    if (!library)
        library = open_in_path(getenv("LD_LIBRARY_PATH"));
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]) && !library; i++)
        library = open_pattern(patterns[i]);
    if (library)
        return library;
    library = open_forwarding();
    if (library)
        log_info("there is no local ONNX Runtime: all of it is forwarded");
    else
        log_error("there is no local ONNX Runtime; VIADUCT_ORT_LOCAL may name one");
    return library;
}
