/* SPDX-License-Identifier: MIT */
#include "cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wire/log.h>

#define CACHE_NOBODY  65534 /* whom workers of a root's service run as */
#define CACHE_DEFAULT (2ull << 30)
#define CACHE_NAME    (2 * SHA256_BYTES)
/* So long a worker may take to finish an entry. */
#define CACHE_UNFINISHED_SECONDS 3600

struct cache_sum {
    char magic[8];
    uint64_t size;
    uint8_t hash[SHA256_BYTES];
};

static const char cache_magic[8] = "VDNPUC1";
static char folder[PATH_MAX - CACHE_NAME - 8];
static uint64_t most_bytes;

void cache_prepare(void)
{
    const char *named = getenv("VIADUCT_NPU_CACHE"), *bytes = getenv("VIADUCT_NPU_CACHE_BYTES");

    folder[0] = 0;
    if (!named || !*named)
        return;
    if (*named != '/' || strlen(named) >= sizeof(folder)) {
        log_warn("inference: %s cannot be the cache: a path from / on is needed", named);
        return;
    }
    most_bytes = bytes && *bytes ? strtoull(bytes, NULL, 10) : CACHE_DEFAULT;
    if (mkdir(named, 0700) < 0 && errno != EEXIST) {
        log_warn("inference: no cache in %s: %s", named, strerror(errno));
        return;
    }
    /* Who else may write there could give code to drivers. */
    if (!geteuid() && (chown(named, CACHE_NOBODY, CACHE_NOBODY) < 0 || chmod(named, 0700) < 0)) {
        log_warn("inference: no cache in %s: %s", named, strerror(errno));
        return;
    }
    snprintf(folder, sizeof(folder), "%s", named);
    cache_sweep(true);
    log_info("inference: compiled models are kept in %s", folder);
}

struct cache_file {
    char name[CACHE_NAME + 1];
    uint64_t size;
    time_t time;
};

static int by_time(const void *a, const void *b)
{
    const struct cache_file *one = a, *other = b;

    return (one->time > other->time) - (one->time < other->time);
}

static void path_of(const char *name, const char *suffix, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s.%s", folder, name, suffix);
}

static void remove_entry(const char *name)
{
    char path[PATH_MAX];

    /* The sum first: without it there is no entry. */
    path_of(name, "sum", path);
    unlink(path);
    path_of(name, "bin", path);
    unlink(path);
}

/* The folder's *.bin. How many; the caller frees the list. */
static size_t list_files(struct cache_file **ret_files)
{
    struct cache_file *files = NULL;
    size_t count = 0, room = 0;
    struct dirent *entry;
    DIR *dir = opendir(folder);

    while (dir && (entry = readdir(dir))) {
        char path[PATH_MAX];
        struct stat st;

        if (strlen(entry->d_name) != CACHE_NAME + 4 || strcmp(entry->d_name + CACHE_NAME, ".bin"))
            continue;
        if (count == room) {
            struct cache_file *more = realloc(files, (room + 64) * sizeof(*more));

            if (!more)
                break;
            files = more;
            room += 64;
        }
        snprintf(files[count].name, sizeof(files[count].name), "%.*s", CACHE_NAME, entry->d_name);
        path_of(files[count].name, "bin", path);
        if (lstat(path, &st))
            continue;
        files[count].size = (uint64_t)st.st_size;
        files[count++].time = st.st_mtime;
    }
    if (dir)
        closedir(dir);
    *ret_files = files;
    return count;
}

void cache_sweep(bool unfinished)
{
    struct cache_file *files;
    uint64_t bytes = 0;
    size_t count;

    if (!folder[0])
        return;
    count = list_files(&files);
    for (size_t i = 0; i < count; i++) {
        char path[PATH_MAX];

        path_of(files[i].name, "sum", path);
        if (access(path, F_OK) &&
            (unfinished || files[i].time + CACHE_UNFINISHED_SECONDS < time(NULL))) {
            remove_entry(files[i].name);
            files[i].size = 0;
        }
        bytes += files[i].size;
    }
    if (bytes > most_bytes)
        qsort(files, count, sizeof(*files), by_time);
    for (size_t i = 0; i < count && bytes > most_bytes; i++) {
        if (!files[i].size)
            continue;
        remove_entry(files[i].name);
        bytes -= files[i].size;
    }
    free(files);
}

void cache_key_of(const uint8_t model[SHA256_BYTES], const char *const *parts,
                  struct cache_key *ret_key)
{
    struct sha256 hash;

    sha256_init(&hash);
    sha256_add(&hash, model, SHA256_BYTES);
    /* With their zeros: where one ends and the next one begins counts. */
    for (; *parts; parts++)
        sha256_add(&hash, *parts, strlen(*parts) + 1);
    sha256_finish(&hash, ret_key->hash);
}

static void name_of(const struct cache_key *key, char name[CACHE_NAME + 1])
{
    for (size_t i = 0; i < SHA256_BYTES; i++)
        snprintf(name + 2 * i, 3, "%02x", key->hash[i]);
}

/* A regular file, whole; NULL if it is none, or larger than the cache. */
static uint8_t *read_whole(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    uint8_t *bytes = NULL;
    size_t size = 0;
    struct stat st;

    if (fd < 0)
        return NULL;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0 &&
        (uint64_t)st.st_size <= most_bytes)
        bytes = malloc((size_t)st.st_size);
    while (bytes && size < (size_t)st.st_size) {
        ssize_t got = read(fd, bytes + size, (size_t)st.st_size - size);

        if (got > 0) {
            size += (size_t)got;
        } else if (!got || errno != EINTR) {
            free(bytes);
            bytes = NULL;
        }
    }
    close(fd);
    *ret_size = size;
    return bytes;
}

static void sum_of(const uint8_t *bytes, size_t size, struct cache_sum *ret)
{
    *ret = (struct cache_sum){.size = size};
    memcpy(ret->magic, cache_magic, sizeof(ret->magic));
    sha256_of(bytes, size, ret->hash);
}

bool cache_find(const struct cache_key *key, uint8_t **ret_bytes, size_t *ret_size)
{
    char name[CACHE_NAME + 1], path[PATH_MAX];
    struct cache_sum is;
    uint8_t *bytes = NULL, *sum = NULL;
    size_t size = 0, sum_size = 0;

    if (!folder[0])
        return false;
    name_of(key, name);
    path_of(name, "sum", path);
    sum = read_whole(path, &sum_size);
    path_of(name, "bin", path);
    if (sum && sum_size == sizeof(is))
        bytes = read_whole(path, &size);
    if (bytes) {
        sum_of(bytes, size, &is);
        if (memcmp(&is, sum, sizeof(is))) {
            log_warn("inference: %s is broken and not used", path);
            free(bytes);
            bytes = NULL;
        }
    }
    free(sum);
    if (!bytes)
        return false;
    *ret_bytes = bytes;
    *ret_size = size;
    return true;
}

bool cache_place(const struct cache_key *key, char *path, size_t room)
{
    char name[CACHE_NAME + 1];

    if (!folder[0])
        return false;
    name_of(key, name);
    return (size_t)snprintf(path, room, "%s/%s.bin", folder, name) < room && access(path, F_OK);
}

void cache_done(const struct cache_key *key)
{
    char name[CACHE_NAME + 1], path[PATH_MAX];
    struct cache_sum sum;
    uint8_t *bytes;
    size_t size = 0;
    int fd;

    if (!folder[0])
        return;
    name_of(key, name);
    path_of(name, "bin", path);
    bytes = read_whole(path, &size);
    if (!bytes)
        return;
    sum_of(bytes, size, &sum);
    free(bytes);
    path_of(name, "sum", path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, &sum, sizeof(sum)) != (ssize_t)sizeof(sum))
        log_debug("inference: %s is not written: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}
