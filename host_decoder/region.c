/* SPDX-License-Identifier: MIT */
#include "region.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wire/log.h>

static bool is_region(const char *name)
{
    static const char suffix[] = ".region";
    size_t n = strlen(name);

    return n >= sizeof(suffix) && !strcmp(name + n - sizeof(suffix) + 1, suffix);
}

int region_open(const char *folder, int *ret_fds, int room)
{
    DIR *list = opendir(folder);
    struct dirent *entry;
    int count = 0;

    if (!list) {
        log_warn("no regions in %s: %s", folder, strerror(errno));
        return 0;
    }
    while (count < room && (entry = readdir(list))) {
        int fd;

        if (!is_region(entry->d_name))
            continue;
        fd = openat(dirfd(list), entry->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
            log_warn("%s/%s cannot be used: %s", folder, entry->d_name, strerror(errno));
        else
            ret_fds[count++] = fd;
    }
    closedir(list);
    if (!count)
        log_warn("no file *.region in %s can be used: clients go without", folder);
    return count;
}

uint32_t region_list(const int *fds, struct session_region *ret_regions)
{
    uint32_t count = 0;

    for (int i = 0; i < SESSION_MAX_REGIONS; i++) {
        struct stat st;

        if (fds[i] < 0)
            continue;
        if (fstat(fds[i], &st) < 0 || !S_ISREG(st.st_mode) ||
            (uint64_t)st.st_size < REGION_HEAD + ARENA_REGION_LEAST) {
            log_warn("a region is no file of %llu MiB or more: nobody gets it",
                     (unsigned long long)(REGION_HEAD + ARENA_REGION_LEAST) >> 20);
            close(fds[i]);
            continue;
        }
        ret_regions[count++] = (struct session_region){
            .fd = fds[i],
            .offset = REGION_HEAD,
            .bytes = ((uint64_t)st.st_size - REGION_HEAD) / REGION_HEAD * REGION_HEAD,
        };
    }
    return count;
}
