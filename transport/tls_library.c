/* SPDX-License-Identifier: MIT */
#include "tls_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <viaduct/errors.h>
#include <wire/log.h>

/* The ABI that the headers are of (3.7 and later). */
#define LIBRARY "libgnutls.so.30"

struct tls_library tls_library;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool loaded;

static void load(void)
{
    void *module = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    bool whole = module;

#define LOAD(name)                                                            \
    if (whole) {                                                              \
        *(void **)(void *)&tls_library.name = dlsym(module, "gnutls_" #name); \
        whole = tls_library.name;                                             \
    }
    TLS_LIBRARY(LOAD)
#undef LOAD
    if (!whole)
        log_info("TLS: %s", dlerror());
    loaded = whole;
}

int tls_library_load(void)
{
    pthread_once(&once, load);
    if (loaded)
        return 0;
    log_error("TLS wants %s, which cannot be loaded here (Debian has it in libgnutls30)", LIBRARY);
    return VD_ERR_UNSUPPORTED;
}
