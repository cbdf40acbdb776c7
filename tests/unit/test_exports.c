/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/*
 * Every function that a library exports is called with zeros, after it was initialised and before:
 * none may crash, whatever it says. TEST_LIBRARIES: their paths, with colons between them.
 */

#define SECONDS 30 /* for one call */

typedef long (*function)(long, long, long, long, long, long, long, long, long, long, long, long);

/* What cannot be called so, and why. */
static const char *const exceptions[] = {
    "cudaCreateChannelDesc", /* its result is a struct, so its first argument is where to put it */
};

static void *library;

struct table {
    const Elf64_Sym *symbols;
    const char *names;
    const uint32_t *hash;
};

static struct table table_of(void *handle)
{
    struct table t = {0};
    struct link_map *map;

    assert_int_equal(dlinfo(handle, RTLD_DI_LINKMAP, &map), 0);
    for (const Elf64_Dyn *d = map->l_ld; d->d_tag != DT_NULL; d++)
        switch (d->d_tag) {
        case DT_SYMTAB:
            t.symbols = (const Elf64_Sym *)d->d_un.d_ptr;
            break;
        case DT_STRTAB:
            t.names = (const char *)d->d_un.d_ptr;
            break;
        case DT_GNU_HASH:
            t.hash = (const uint32_t *)d->d_un.d_ptr;
            break;
        default:
            break;
        }
    assert_non_null(t.symbols);
    assert_non_null(t.names);
    assert_non_null(t.hash);
    return t;
}

/* One behind the last symbol: the longest chain of DT_GNU_HASH ends with it. */
static uint32_t table_end(const struct table *t)
{
    uint32_t count = t->hash[0], first = t->hash[1], bloom = t->hash[2], last = 0;
    const uint32_t *buckets = t->hash + 4 + 2 * (size_t)bloom, *chain = buckets + count;

    for (uint32_t i = 0; i < count; i++)
        if (buckets[i] > last)
            last = buckets[i];
    if (!last)
        return 0;
    while (!(chain[last - first] & 1))
        last++;
    return last + 1;
}

/* ISO C has no cast from an object to a function. */
static bool find(const char *name, void *ret_function)
{
    void *found = dlsym(library, name);

    memcpy(ret_function, &found, sizeof(found));
    return found;
}

static void initialise(void)
{
    int (*driver)(unsigned), (*retain)(void **, int), (*current)(void *);
    int (*runtime)(void *), (*management)(void);
    void *context;

    if (find("cuInit", &driver) && find("cuDevicePrimaryCtxRetain", &retain) &&
        find("cuCtxSetCurrent", &current) && !driver(0) && !retain(&context, 0))
        current(context);
    if (find("cudaFree", &runtime))
        runtime(NULL);
    if (find("nvmlInit_v2", &management))
        management();
}

/* The signal that ended the call, or 0. */
static int call(const char *name, bool initialised)
{
    function f;
    pid_t child = fork();
    int status;

    if (!child) {
        alarm(SECONDS);
        if (initialised)
            initialise();
        if (find(name, &f))
            f(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static bool is_exception(const char *name)
{
    for (unsigned i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++)
        if (!strcmp(name, exceptions[i]))
            return true;
    return false;
}

static void check_library(const char *path)
{
    unsigned called = 0, failed = 0;
    struct table t;

    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail_msg("%s", dlerror());
    t = table_of(library);
    for (uint32_t i = 0, end = table_end(&t); i < end; i++) {
        const Elf64_Sym *s = &t.symbols[i];
        const char *name = t.names + s->st_name;

        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_shndx == SHN_UNDEF ||
            (strncmp(name, "cu", 2) && strncmp(name, "nvml", 4)) || is_exception(name))
            continue;
        called++;
        for (unsigned initialised = 0; initialised < 2; initialised++) {
            int end_by = call(name, initialised);

            if (end_by)
                print_error("%s, %s: signal %d\n", name, initialised ? "initialised" : "at first",
                            end_by);
            failed += end_by != 0;
        }
    }
    dlclose(library);
    print_message("%s: %u functions\n", path, called);
    assert_true(called > 0);
    assert_int_equal(failed, 0);
}

static void test_zeros(void **state)
{
    const char *list = getenv("TEST_LIBRARIES");
    char paths[4096], *rest = paths, *path;

    (void)state;
    assert_non_null(list);
    snprintf(paths, sizeof(paths), "%s", list);
    while ((path = strsep(&rest, ":")))
        check_library(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_zeros)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
