/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_FUZZ_H
#define VIADUCT_TEST_FUZZ_H

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What main.c runs, the name that libFuzzer looks for, too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Built-in inputs to start from: the i-th, 0 behind the last. Optional. */
size_t fuzz_seed(int index, uint8_t *buffer, size_t room);

/* An input that is consumed from the front; behind its end there are zeros. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

static inline void fuzz_take(struct fuzz_input *input, void *target, size_t size)
{
    size_t have = size < input->size ? size : input->size;

    if (size)
        memset(target, 0, size);
    if (!have)
        return;
    memcpy(target, input->data, have);
    input->data += have;
    input->size -= have;
}

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    uint8_t byte;

    fuzz_take(input, &byte, 1);
    return byte;
}

static inline uint16_t fuzz_word(struct fuzz_input *input)
{
    uint16_t word;

    fuzz_take(input, &word, 2);
    return word;
}

/* Writes a seed; what does not fit is dropped. */
struct fuzz_writer {
    uint8_t *at;
    size_t used, room;
};

static inline void fuzz_put(struct fuzz_writer *w, const void *bytes, size_t size)
{
    if (size > w->room - w->used)
        size = w->room - w->used;
    if (size)
        memcpy(w->at + w->used, bytes, size);
    w->used += size;
}

static inline void fuzz_put_byte(struct fuzz_writer *w, uint8_t byte)
{
    fuzz_put(w, &byte, 1);
}

static inline void fuzz_put_word(struct fuzz_writer *w, uint16_t word)
{
    fuzz_put(w, &word, 2);
}

/* Leaks include descriptors: how many are open. */
static inline int fuzz_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    if (!dir)
        abort();
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

#endif
