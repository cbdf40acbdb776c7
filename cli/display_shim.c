/* SPDX-License-Identifier: MIT */
/* Both names of every call are defined below, so no macro may turn one into the other. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include "display_shim.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A memfd of this odd size with all seals is a node of ours. */
#define NODE_SIZE  226128
#define NODE_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

display_function display_next(display_function *slot, const char *library, const char *name)
{
    display_function function = __atomic_load_n(slot, __ATOMIC_RELAXED);
    union {
        void *object;
        display_function function;
    } found;

    if (function)
        return function;
    found.object = dlsym(RTLD_NEXT, name);
    if (!found.object && library) {
        void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);

        /* The handle is kept: what was found must stay. */
        if (handle)
            found.object = dlsym(handle, name);
    }
    __atomic_store_n(slot, found.function, __ATOMIC_RELAXED);
    return found.function;
}

#define NEXT(name) ((__typeof__(&name))display_next(&next_##name, NULL, #name))
#define SLOT(name) static display_function next_##name

SLOT(open);
SLOT(open64);
SLOT(openat);
SLOT(openat64);
SLOT(access);
SLOT(faccessat);
SLOT(stat);
SLOT(stat64);
SLOT(lstat);
SLOT(lstat64);
SLOT(fstat);
SLOT(fstat64);
SLOT(fstatat);
SLOT(fstatat64);
SLOT(statx);
SLOT(opendir);
SLOT(readdir);
SLOT(readdir64);
SLOT(closedir);

bool display_active(void)
{
    int saved = errno;
    bool missing = syscall(SYS_faccessat, AT_FDCWD, DISPLAY_NODE, F_OK) < 0 && errno == ENOENT;

    errno = saved;
    return missing;
}

static bool is_node(const char *path)
{
    return path && !strcmp(path, DISPLAY_NODE) && display_active();
}

static bool is_dir(const char *path)
{
    return path && (!strcmp(path, DISPLAY_DIR) || !strcmp(path, DISPLAY_DIR "/")) &&
           syscall(SYS_faccessat, AT_FDCWD, DISPLAY_DIR, F_OK) < 0;
}

/* Folders with the node in them. */
static bool is_listing(const char *path)
{
    return is_dir(path) || display_sysfs_list(path);
}

/* What the kernel, not our fstat, says. struct stat is the kernel's on 64-bit machines. */
static bool is_node_stat(int fd, const struct stat *st)
{
    int saved = errno, seals;

    if (!S_ISREG(st->st_mode) || st->st_size != NODE_SIZE || st->st_nlink)
        return false;
    seals = fcntl(fd, F_GET_SEALS);
    errno = saved;
    return seals >= 0 && (seals & NODE_SEALS) == NODE_SEALS;
}

bool display_owns(int fd)
{
    int saved = errno;
    struct stat st;
    bool owns = !syscall(SYS_fstat, fd, &st) && is_node_stat(fd, &st);

    errno = saved;
    return owns;
}

static int open_node(int flags)
{
    unsigned cloexec = flags & O_CLOEXEC ? MFD_CLOEXEC : 0;
    int fd = memfd_create("viaduct-display", MFD_ALLOW_SEALING | cloexec);
    int saved;

    if (fd < 0)
        return -1;
    if (!ftruncate(fd, NODE_SIZE) && !fcntl(fd, F_ADD_SEALS, NODE_SEALS))
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int missing_function(void)
{
    errno = ENOSYS;
    return -1;
}

/* The mode is there only if the flags say so. */
static mode_t mode_argument(int flags, va_list args)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

#define OPEN(name)                                                               \
    DISPLAY_EXPORT int name(const char *path, int flags, ...)                    \
    {                                                                            \
        va_list args;                                                            \
        mode_t mode;                                                             \
                                                                                 \
        va_start(args, flags);                                                   \
        mode = mode_argument(flags, args);                                       \
        va_end(args);                                                            \
        return is_node(path) ? open_node(flags) : NEXT(name)(path, flags, mode); \
    }

#define OPENAT(name)                                                                  \
    DISPLAY_EXPORT int name(int dir, const char *path, int flags, ...)                \
    {                                                                                 \
        va_list args;                                                                 \
        mode_t mode;                                                                  \
                                                                                      \
        va_start(args, flags);                                                        \
        mode = mode_argument(flags, args);                                            \
        va_end(args);                                                                 \
        return is_node(path) ? open_node(flags) : NEXT(name)(dir, path, flags, mode); \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* What programs built with _FORTIFY_SOURCE call; without a mode these are the plain ones. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

DISPLAY_EXPORT int __open_2(const char *path, int flags)
{
    return open(path, flags, 0);
}

DISPLAY_EXPORT int __open64_2(const char *path, int flags)
{
    return open64(path, flags, 0);
}

DISPLAY_EXPORT int __openat_2(int dir, const char *path, int flags)
{
    return openat(dir, path, flags, 0);
}

DISPLAY_EXPORT int __openat64_2(int dir, const char *path, int flags)
{
    return openat64(dir, path, flags, 0);
}

static bool answer_access(const char *path, int mode, int *ret_result)
{
    bool node = is_node(path);

    if (!node && !is_dir(path))
        return false;
    *ret_result = mode & (node ? X_OK : W_OK) ? -1 : 0;
    if (*ret_result)
        errno = EACCES;
    return true;
}

DISPLAY_EXPORT int access(const char *path, int mode)
{
    int result;

    return answer_access(path, mode, &result) ? result : NEXT(access)(path, mode);
}

DISPLAY_EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
    int result;

    return answer_access(path, mode, &result) ? result : NEXT(faccessat)(dir, path, mode, flags);
}

static void fill_stat(struct stat *st, bool node)
{
    memset(st, 0, sizeof(*st));
    st->st_mode = node ? S_IFCHR | 0666 : S_IFDIR | 0755;
    st->st_nlink = node ? 1 : 2;
    st->st_ino = node ? DISPLAY_MINOR : DISPLAY_MAJOR;
    st->st_blksize = 4096;
    if (node)
        st->st_rdev = makedev(DISPLAY_MAJOR, DISPLAY_MINOR);
}

static bool answer_stat(const char *path, void *st)
{
    bool node = is_node(path);

    if (!node && !is_dir(path) && !display_sysfs_dir(path))
        return false;
    fill_stat(st, node);
    return true;
}

_Static_assert(sizeof(struct stat) == sizeof(struct stat64), "one layout on 64-bit machines");

/* libc had no such symbols before 2.33; nobody calls ours there. */
#define STAT(name, type)                                               \
    DISPLAY_EXPORT int name(const char *path, struct type *st)         \
    {                                                                  \
        if (answer_stat(path, st))                                     \
            return 0;                                                  \
        return NEXT(name) ? NEXT(name)(path, st) : missing_function(); \
    }

#define FSTAT(name, type)                                                  \
    DISPLAY_EXPORT int name(int fd, struct type *st)                       \
    {                                                                      \
        int result = NEXT(name) ? NEXT(name)(fd, st) : missing_function(); \
                                                                           \
        if (!result && is_node_stat(fd, (struct stat *)st))                \
            fill_stat((struct stat *)st, true);                            \
        return result;                                                     \
    }

#define FSTATAT(name, type)                                                        \
    DISPLAY_EXPORT int name(int dir, const char *path, struct type *st, int flags) \
    {                                                                              \
        if (answer_stat(path, st))                                                 \
            return 0;                                                              \
        return NEXT(name) ? NEXT(name)(dir, path, st, flags) : missing_function(); \
    }

STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)
FSTAT(fstat, stat)
FSTAT(fstat64, stat64)
FSTATAT(fstatat, stat)
FSTATAT(fstatat64, stat64)

DISPLAY_EXPORT int statx(int dir, const char *restrict path, int flags, unsigned mask,
                         struct statx *restrict ret)
{
    struct stat st;

    if (!answer_stat(path, &st))
        return NEXT(statx) ? NEXT(statx)(dir, path, flags, mask, ret) : missing_function();
    memset(ret, 0, sizeof(*ret));
    ret->stx_mask = STATX_BASIC_STATS;
    ret->stx_mode = (uint16_t)st.st_mode;
    ret->stx_nlink = (uint32_t)st.st_nlink;
    ret->stx_ino = st.st_ino;
    ret->stx_blksize = 4096;
    ret->stx_rdev_major = major(st.st_rdev);
    ret->stx_rdev_minor = minor(st.st_rdev);
    return 0;
}

/*
 * Listing of the directory, for programs that look around before they open. The stream is a real
 * one of "/", so whatever is not caught here still meets a valid DIR.
 */
#define LISTINGS 8
static struct listing {
    DIR *dir;
    bool read; /* the one entry */
    struct dirent entry;
} listings[LISTINGS];
static int listings_used; /* so that others' readdir costs no lock */
static pthread_mutex_t listings_lock = PTHREAD_MUTEX_INITIALIZER;

static struct listing *listing_find(DIR *dir)
{
    for (int i = 0; i < LISTINGS; i++) {
        if (listings[i].dir == dir)
            return &listings[i];
    }
    return NULL;
}

DISPLAY_EXPORT DIR *opendir(const char *path)
{
    bool ours = is_listing(path);
    DIR *dir = NEXT(opendir)(ours ? "/" : path);
    struct listing *listing;

    if (!ours || !dir)
        return dir;
    pthread_mutex_lock(&listings_lock);
    listing = listing_find(NULL);
    if (listing) {
        *listing = (struct listing){.dir = dir};
        __atomic_add_fetch(&listings_used, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&listings_lock);
    if (!listing) {
        NEXT(closedir)(dir);
        errno = EMFILE;
        return NULL;
    }
    return dir;
}

/* False: not ours, ask libc. */
static bool answer_readdir(DIR *dir, struct dirent **ret_entry)
{
    struct listing *listing;

    if (!__atomic_load_n(&listings_used, __ATOMIC_RELAXED))
        return false;
    pthread_mutex_lock(&listings_lock);
    listing = listing_find(dir);
    if (listing) {
        *ret_entry = NULL;
        if (!listing->read) {
            struct dirent *entry = &listing->entry;

            listing->read = true;
            entry->d_ino = DISPLAY_MINOR;
            entry->d_reclen = sizeof(*entry);
            entry->d_type = DT_CHR;
            strcpy(entry->d_name, DISPLAY_NAME);
            *ret_entry = entry;
        }
    }
    pthread_mutex_unlock(&listings_lock);
    return listing;
}

DISPLAY_EXPORT struct dirent *readdir(DIR *dir)
{
    struct dirent *entry;

    return answer_readdir(dir, &entry) ? entry : NEXT(readdir)(dir);
}

DISPLAY_EXPORT struct dirent64 *readdir64(DIR *dir)
{
    struct dirent *entry;

    return answer_readdir(dir, &entry) ? (struct dirent64 *)entry : NEXT(readdir64)(dir);
}

DISPLAY_EXPORT int closedir(DIR *dir)
{
    if (__atomic_load_n(&listings_used, __ATOMIC_RELAXED)) {
        struct listing *listing;

        pthread_mutex_lock(&listings_lock);
        listing = listing_find(dir);
        if (listing && listing->dir) {
            listing->dir = NULL;
            __atomic_sub_fetch(&listings_used, 1, __ATOMIC_RELAXED);
        }
        pthread_mutex_unlock(&listings_lock);
    }
    return NEXT(closedir)(dir);
}
