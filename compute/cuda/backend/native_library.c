/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <wire/log.h>

/* Loading libcuda. */

struct native_functions native;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static char *wanted;                                     /* path; NULL: the linker's search */
static void *library;
static bool own, loaded;
static int loaded_error;

void native_set_library(const char *path)
{
    pthread_mutex_lock(&lock);
    free(wanted);
    wanted = path && *path ? strdup(path) : NULL;
    pthread_mutex_unlock(&lock);
}

static int load(void)
{
    const char *name = wanted ? wanted : "libcuda.so.1";
    int err;

    library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        log_info("cuda: %s", dlerror());
        return CUDA_ERROR_NOT_FOUND;
    }
    own = dlsym(library, "viaduct_libcuda") != NULL;
    if (own && !wanted) {
        /* It would come back here, or run what the executor runs without it. */
        log_info("cuda: the machine's libcuda.so.1 is Viaduct's, which serves no other");
        return CUDA_ERROR_NOT_FOUND;
    }
    /* One that somebody named serves in this process, or at the host that somebody named. */
    if (own)
        setenv("VIADUCT_CUDA", "local", 0);
#define NATIVE_FUNCTION(f)                                        \
    do {                                                          \
        void *at = dlsym(library, #f);                            \
                                                                  \
        if (!at) {                                                \
            log_warn("cuda: %s is too old: it has no " #f, name); \
            return CUDA_ERROR_NOT_FOUND;                          \
        }                                                         \
        memcpy(&native.f, &at, sizeof(at));                       \
    } while (0);
    NATIVE_FUNCTIONS(NATIVE_FUNCTION)
#undef NATIVE_FUNCTION
    err = (int)native.cuInit(0);
    if (err)
        log_warn("cuda: %s does not start: error %d", name, err);
    return err;
}

int native_load(void)
{
    int err;

    pthread_mutex_lock(&lock);
    if (!loaded) {
        loaded_error = load();
        loaded = true;
    }
    err = loaded_error;
    pthread_mutex_unlock(&lock);
    return err;
}
