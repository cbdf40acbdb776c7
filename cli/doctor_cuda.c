/* SPDX-License-Identifier: MIT */
#include "doctor_cuda.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether a text stands anywhere in the file. */
static bool has(const void *bytes, size_t size, const char *text)
{
    return memmem(bytes, size, text, strlen(text));
}

/*
 * The static runtime asks the driver for cuGetExportTable, by that name; a program with the shared
 * one names its file as a library that it needs. Neither does without its text.
 */
static void judge(struct doctor *doctor, const char *path, const void *bytes, size_t size)
{
    if (has(bytes, size, "libcudart.so."))
        doctor_say(doctor, DOCTOR_OK, NULL, "%s is linked with the shared runtime of CUDA", path);
    else if (has(bytes, size, "cuGetExportTable"))
        doctor_say(
            doctor, DOCTOR_WARN, "link it with `nvcc -cudart shared`",
            "%s has the static runtime of CUDA in it, which works with NVIDIA's driver alone",
            path);
    else
        doctor_say(doctor, DOCTOR_OK, NULL, "%s has no runtime of CUDA", path);
}

void doctor_cuda_program(struct doctor *doctor, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    void *bytes = MAP_FAILED;
    struct stat st;

    if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0)
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    else if (fd >= 0)
        errno = EINVAL;
    if (bytes == MAP_FAILED) {
        doctor_say(doctor, DOCTOR_FAIL, "name the program's file", "cannot look into %s: %s", path,
                   strerror(errno));
    } else {
        judge(doctor, path, bytes, (size_t)st.st_size);
        munmap(bytes, (size_t)st.st_size);
    }
    if (fd >= 0)
        close(fd);
}
