/* SPDX-License-Identifier: MIT */
#include "region_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <viaduct/errors.h>

#define HEAD_BYTES (2u << 20)
/*
 * The info block of a namespace in device-dax mode, in the kernel's words (drivers/nvdimm/pfn.h,
 * struct nd_pfn_sb), which it looks for 4 KiB into the device. Its page structs are in the
 * machine's own memory.
 */
#define INFO_OFFSET      4096
#define INFO_BYTES       4096u
#define INFO_SIGNATURE   "NVDIMM_DAX_INFO"
#define INFO_MODE_RAM    1u
#define INFO_PAGE        4096u
#define INFO_PAGE_STRUCT 64u

struct info {
    char signature[16];
    uint8_t uuid[16], parent_uuid[16];
    uint32_t flags;
    uint16_t major, minor;
    uint64_t data_offset, pages;
    uint32_t mode, start_pad, end_truncate, align, page_size;
    uint16_t page_struct_size;
    uint8_t padding[3994];
    uint64_t checksum;
};

_Static_assert(sizeof(struct info) == INFO_BYTES, "the kernel's layout");

/* Fletcher's sum with 64 bits (nd_fletcher64), over words of 32 with a checksum of 0. */
static uint64_t fletcher(const struct info *info)
{
    const uint8_t *bytes = (const uint8_t *)info;
    uint32_t low = 0, word;
    uint64_t high = 0;

    for (size_t i = 0; i < INFO_BYTES; i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        low += word;
        high += low;
    }
    return high << 32 | low;
}

static int write_head(int fd, uint64_t bytes)
{
    struct info info = {
        .signature = INFO_SIGNATURE,
        .major = 1,
        .minor = 4,
        .data_offset = HEAD_BYTES,
        .pages = bytes / INFO_PAGE,
        .mode = INFO_MODE_RAM,
        .align = HEAD_BYTES,
        .page_size = INFO_PAGE,
        .page_struct_size = INFO_PAGE_STRUCT,
    };

    if (getrandom(info.uuid, sizeof(info.uuid), 0) != sizeof(info.uuid))
        return VD_ERR_IO;
    info.checksum = fletcher(&info);
    if (pwrite(fd, &info, sizeof(info), INFO_OFFSET) != sizeof(info))
        return errno == ENOSPC ? VD_ERR_LIMIT : VD_ERR_IO;
    return 0;
}

int region_file_make(const char *path, uint64_t bytes, uint32_t group)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), err, why;

    if (fd < 0)
        return errno == EEXIST ? VD_ERR_BUSY : errno == EACCES ? VD_ERR_DENIED : VD_ERR_IO;
    err = ftruncate(fd, (off_t)(HEAD_BYTES + bytes)) < 0 ? VD_ERR_IO : write_head(fd, bytes);
    if (!err && group != (gid_t)-1 &&
        (fchown(fd, (uid_t)-1, (gid_t)group) < 0 || fchmod(fd, 0660) < 0))
        err = VD_ERR_IO;
    why = errno;
    if (err)
        unlink(path);
    close(fd);
    errno = why;
    return err;
}
