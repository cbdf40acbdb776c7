/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

/*
 * Binaries, kernels and variables that programs register before main (nvcc's and clang's stubs), by
 * the addresses that stand for them in the host's code. A binary becomes a module when something
 * of it is first used in a context.
 */

struct binary {
    const void *image;          /* first: what the handle points to */
    unsigned long long context; /* the id of that which `module` is in; 0: not loaded */
    CUmodule module;
    struct binary *next;
};

struct entry {
    const void *host;
    const char *name; /* in the program */
    struct binary *binary;
    size_t size;  /* of a variable; 0: a kernel */
    bool managed; /* `host` holds the variable's address once its module is loaded */
    unsigned long long context;
    CUfunction function;
    CUdeviceptr address;
    struct entry *next;
};

#define BUCKETS 1024

static pthread_mutex_t register_lock = PTHREAD_MUTEX_INITIALIZER;
static struct binary *register_binaries;
static struct entry *register_entries[BUCKETS];

static struct entry **bucket_of(const void *host)
{
    return &register_entries[((uintptr_t)host >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

RT void **__cudaRegisterFatBinary(void *image);
RT void **__cudaRegisterFatBinary(void *image)
{
    struct binary *binary = calloc(1, sizeof(*binary));

    if (!binary)
        return NULL;
    binary->image = image;
    pthread_mutex_lock(&register_lock);
    binary->next = register_binaries;
    register_binaries = binary;
    pthread_mutex_unlock(&register_lock);
    return (void **)binary;
}

RT void __cudaRegisterFatBinaryEnd(void **handle);
RT void __cudaRegisterFatBinaryEnd(void **handle)
{
    (void)handle;
}

/* At the program's end, or when a library that has kernels is unloaded. */
RT void __cudaUnregisterFatBinary(void **handle);
RT void __cudaUnregisterFatBinary(void **handle)
{
    struct binary *binary = (struct binary *)handle;

    if (!binary)
        return;
    pthread_mutex_lock(&register_lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry **at = &register_entries[i]; *at;) {
            struct entry *entry = *at;

            if (entry->binary == binary) {
                *at = entry->next;
                free(entry);
            } else {
                at = &entry->next;
            }
        }
    }
    for (struct binary **at = &register_binaries; *at; at = &(*at)->next) {
        if (*at == binary) {
            *at = binary->next;
            break;
        }
    }
    pthread_mutex_unlock(&register_lock);
    /* The module goes with its context: the driver may be gone already when programs end. */
    free(binary);
}

static void add(void **handle, const void *host, const char *name, size_t size, bool managed)
{
    struct entry *entry = handle ? calloc(1, sizeof(*entry)) : NULL;
    struct entry **at = bucket_of(host);

    if (!entry)
        return;
    entry->host = host;
    entry->name = name;
    entry->binary = (struct binary *)handle;
    entry->size = size;
    entry->managed = managed;
    pthread_mutex_lock(&register_lock);
    entry->next = *at;
    *at = entry;
    pthread_mutex_unlock(&register_lock);
}

RT void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name,
                               int limit, void *tid, void *bid, void *block, void *grid, int *warp);
RT void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name,
                               int limit, void *tid, void *bid, void *block, void *grid, int *warp)
{
    (void)device, (void)limit, (void)tid, (void)bid, (void)block, (void)grid, (void)warp;
    add(handle, host, name, 0, false);
}

RT void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int ext,
                          size_t size, int constant, int global);
RT void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int ext,
                          size_t size, int constant, int global)
{
    (void)device, (void)ext, (void)constant, (void)global;
    add(handle, host, name, size ? size : 1, false);
}

/*
 * Managed variables have no address that both sides could use before a context is there: programs
 * call
 * __cudaInitModule before they touch one, and find it in `*host`.
 */
RT void __cudaRegisterManagedVar(void **handle, void **host, char *device, const char *name,
                                 int ext, size_t size, int constant, int global);
RT void __cudaRegisterManagedVar(void **handle, void **host, char *device, const char *name,
                                 int ext, size_t size, int constant, int global)
{
    (void)device, (void)ext, (void)constant, (void)global;
    add(handle, (const void *)host, name, size ? size : 1, true);
}

/* Tells the program where its managed variables are. The lock is held. */
static CUresult place_managed(const struct binary *binary)
{
    CUresult err = CUDA_SUCCESS;

    for (size_t i = 0; i < BUCKETS && !err; i++) {
        for (struct entry *entry = register_entries[i]; entry && !err; entry = entry->next) {
            CUdeviceptr address = 0;
            size_t size;

            if (entry->binary != binary || !entry->managed)
                continue;
            err = cuModuleGetGlobal_v2(&address, &size, binary->module, entry->name);
            if (!err)
                *(void **)(uintptr_t)entry->host = (void *)(uintptr_t)address;
        }
    }
    return err;
}

/* Loads a binary in a context. The lock is held. */
static CUresult load(struct binary *binary, unsigned long long context)
{
    CUresult err;

    /* With another context's module: that stays loaded, programs go back and forth rarely. */
    if (binary->context == context)
        return CUDA_SUCCESS;
    err = cuModuleLoadFatBinary(&binary->module, binary->image);
    if (err)
        return err;
    binary->context = context;
    return place_managed(binary);
}

/* What the stubs of programs with managed variables call before the host's code touches one. */
RT char __cudaInitModule(void **handle);
RT char __cudaInitModule(void **handle)
{
    unsigned long long context;
    cudaError_t err = runtime_enter();

    if (!err && handle) {
        pthread_mutex_lock(&register_lock);
        err = (int)cuCtxGetId(NULL, &context);
        if (!err)
            err = (int)load((struct binary *)handle, context);
        pthread_mutex_unlock(&register_lock);
    }
    runtime_leave(err);
    return 1;
}

/* By the address that it was registered with; a managed one also by where it lies. */
static struct entry *find_entry(const void *host, bool kernel)
{
    struct entry *entry = *bucket_of(host);

    while (entry && (entry->host != host || !entry->size != kernel))
        entry = entry->next;
    for (size_t i = 0; i < BUCKETS && !entry && !kernel; i++) {
        entry = register_entries[i];
        while (entry && (!entry->managed || *(const void *const *)entry->host != host))
            entry = entry->next;
    }
    return entry;
}

/* The entry of a host address, with its binary loaded in the current context. The lock is held. */
static cudaError_t find(const void *host, bool kernel, struct entry **ret_entry)
{
    struct entry *entry = find_entry(host, kernel);
    unsigned long long context;
    CUresult err;

    if (!entry)
        return kernel ? RT_INVALID_DEVICE_FUNCTION : RT_INVALID_SYMBOL;
    err = cuCtxGetId(NULL, &context);
    if (!err)
        err = load(entry->binary, context);
    if (!err && entry->context != context) {
        size_t size;

        err = kernel ? cuModuleGetFunction(&entry->function, entry->binary->module, entry->name)
                     : cuModuleGetGlobal_v2(&entry->address, &size, entry->binary->module,
                                            entry->name);
        if (!err)
            entry->context = context;
        else if (err == CUDA_ERROR_NOT_FOUND)
            return kernel ? RT_INVALID_DEVICE_FUNCTION : RT_INVALID_SYMBOL;
    }
    *ret_entry = entry;
    return (int)err;
}

cudaError_t register_function(const void *host, CUfunction *ret_function)
{
    struct entry *entry;
    const char *name;
    cudaError_t err;

    pthread_mutex_lock(&register_lock);
    err = find(host, true, &entry);
    if (!err)
        *ret_function = entry->function;
    pthread_mutex_unlock(&register_lock);
    if (err != RT_INVALID_DEVICE_FUNCTION)
        return err;
    /* A kernel of a library that was loaded by hand has the driver's handle, and so has what a
     * node of a graph says of itself. */
    if (!cuKernelGetFunction(ret_function, (CUkernel)(uintptr_t)host))
        return 0;
    if (cuFuncGetName(&name, (CUfunction)(uintptr_t)host))
        return err;
    *ret_function = (CUfunction)(uintptr_t)host;
    return 0;
}

const void *register_host(CUfunction function)
{
    const void *host = function;

    pthread_mutex_lock(&register_lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *entry = register_entries[i]; entry; entry = entry->next)
            if (entry->context && entry->function == function)
                host = entry->host;
    }
    pthread_mutex_unlock(&register_lock);
    return host;
}

cudaError_t register_variable(const void *host, CUdeviceptr *ret_address, size_t *ret_size)
{
    struct entry *entry;
    cudaError_t err;

    pthread_mutex_lock(&register_lock);
    err = find(host, false, &entry);
    if (!err) {
        *ret_address = entry->address;
        *ret_size = entry->size;
    }
    pthread_mutex_unlock(&register_lock);
    return err;
}

void register_forget(void)
{
    pthread_mutex_lock(&register_lock);
    for (struct binary *binary = register_binaries; binary; binary = binary->next)
        binary->context = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *entry = register_entries[i]; entry; entry = entry->next)
            entry->context = 0;
    }
    pthread_mutex_unlock(&register_lock);
}
