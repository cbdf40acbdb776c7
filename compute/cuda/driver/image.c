/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "config.h"

#if HAVE_ZSTD
#include <zstd.h>
#endif

#include "internal.h"

/*
 * Images of modules: PTX as text, or a fatbin. A fatbin is a header and entries, one a target; each
 * is PTX or machine code, as it is, as an LZ4 block, or as a frame of zstd. All of it lies in the
 * program's own memory, but nothing but its headers tells where it ends.
 */

#define WRAPPER_MAGIC 0x466243b1u
#define FATBIN_MAGIC  0xba55ed50u
#define ELF_MAGIC     0x464c457fu
#define KIND_PTX      1
#define FLAG_LZ4      0x2000u
#define FLAG_ZSTD     0x8000u
#define MAX_PTX       (64u << 20)

/* What cudart's registration passes. */
struct wrapper {
    uint32_t magic, version;
    const void *data;
    const void *const *more; /* version 2: containers, up to a NULL */
};

struct fatbin {
    uint32_t magic;
    uint16_t version, header_bytes;
    uint64_t bytes; /* of the entries */
};

struct entry {
    uint16_t kind, version;
    uint32_t header_bytes;
    uint64_t bytes; /* behind the header, with padding */
    uint32_t compressed_bytes, unknown;
    uint16_t minor, major;
    uint32_t target; /* 75 for sm_75 */
    uint64_t names;
    uint64_t flags;
    uint64_t reserved;
    uint64_t plain_bytes;
};

/* A block of LZ4; the bytes it gave, or 0. */
static size_t lz4_decode(const uint8_t *in, size_t size, uint8_t *out, size_t room)
{
    const uint8_t *end = in + size;
    size_t n = 0;

    while (in < end) {
        unsigned token = *in++;
        size_t length = token >> 4, back;

        if (length == 15)
            do {
                if (in == end)
                    return 0;
                length += *in;
            } while (*in++ == 255);
        if (length > (size_t)(end - in) || length > room - n)
            return 0;
        memcpy(out + n, in, length);
        in += length;
        n += length;
        if (in == end)
            break;
        if (end - in < 2)
            return 0;
        back = (size_t)in[0] | (size_t)in[1] << 8;
        in += 2;
        length = token & 15;
        if (length == 15)
            do {
                if (in == end)
                    return 0;
                length += *in;
            } while (*in++ == 255);
        length += 4;
        if (!back || back > n || length > room - n)
            return 0;
        /* May overlap with what it makes. */
        for (; length; length--, n++)
            out[n] = out[n - back];
    }
    return n;
}

static CUresult unpack(const struct entry *e, const uint8_t *data, char **ret_text,
                       size_t *ret_size, const char **ret_why)
{
    bool packed = e->flags & (FLAG_LZ4 | FLAG_ZSTD);
    size_t size = packed ? e->plain_bytes : e->bytes, got = 0;
    size_t from = e->compressed_bytes ? e->compressed_bytes : e->bytes;
    char *text;

    *ret_why = "fatbin: an entry is damaged";
    if (!size || size > MAX_PTX || from > e->bytes)
        return CUDA_ERROR_INVALID_IMAGE;
    text = malloc(size + 1);
    if (!text)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (!packed) {
        memcpy(text, data, size);
        got = size;
    } else if (e->flags & FLAG_LZ4) {
        got = lz4_decode(data, from, (uint8_t *)text, size);
    } else {
#if HAVE_ZSTD
        size_t n = ZSTD_decompress(text, size, data, from);

        got = ZSTD_isError(n) ? 0 : n;
#else
        *ret_why = "fatbin: PTX is compressed by zstd, and this libcuda was built without libzstd";
#endif
    }
    if (!got) {
        free(text);
        return CUDA_ERROR_INVALID_IMAGE;
    }
    text[got] = '\0';
    *ret_text = text;
    *ret_size = strlen(text);
    return CUDA_SUCCESS;
}

/* The PTX for the newest target that the device is no older than; else the oldest there is. */
static CUresult from_fatbin(const struct fatbin *f, char **ret_text, size_t *ret_size,
                            const char **ret_why)
{
    const uint8_t *at = (const uint8_t *)f + f->header_bytes, *end;
    const uint8_t *best = NULL;
    uint32_t best_target = 0;

    *ret_why = "fatbin: its header is damaged";
    if (f->header_bytes < sizeof(*f) || f->bytes > (uint64_t)1 << 32)
        return CUDA_ERROR_INVALID_IMAGE;
    end = at + f->bytes;
    while (end - at >= (ptrdiff_t)sizeof(struct entry)) {
        struct entry e;
        bool fits, had = best_target && best_target <= CUDA_CAPABILITY;

        memcpy(&e, at, sizeof(e));
        if (e.header_bytes < sizeof(e) || e.header_bytes > (uint64_t)(end - at) ||
            e.bytes > (uint64_t)(end - at) - e.header_bytes)
            return CUDA_ERROR_INVALID_IMAGE;
        fits = e.target <= CUDA_CAPABILITY;
        if (e.kind == KIND_PTX && (!best || (fits && (!had || e.target > best_target)) ||
                                   (!fits && !had && e.target < best_target))) {
            best = at;
            best_target = e.target;
        }
        at += e.header_bytes + e.bytes;
    }
    *ret_why = "fatbin: it holds machine code alone; Viaduct needs PTX (build with -gencode "
               "arch=compute_XX,code=compute_XX)";
    if (!best)
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    {
        struct entry e;

        memcpy(&e, best, sizeof(e));
        return unpack(&e, best + e.header_bytes, ret_text, ret_size, ret_why);
    }
}

/* All that a program built with -rdc=true has, one text after the other: the executor links. */
static CUresult from_several(const void *const *images, char **ret_text, size_t *ret_size,
                             const char **ret_why)
{
    char *all = NULL;
    size_t size = 0;
    CUresult err = CUDA_SUCCESS;

    *ret_why = "fatbin: an unknown version of the wrapper";
    if (!images || !*images)
        return CUDA_ERROR_INVALID_IMAGE;
    for (; *images; images++) {
        size_t one_size;
        uint32_t magic;
        char *one, *grown;

        memcpy(&magic, *images, 4);
        *ret_why = "fatbin: its header is damaged";
        err = magic == FATBIN_MAGIC ? from_fatbin(*images, &one, &one_size, ret_why)
                                    : CUDA_ERROR_INVALID_IMAGE;
        if (err)
            goto out;
        *ret_why = "out of memory";
        grown = one_size < MAX_PTX - size ? realloc(all, size + one_size + 2) : NULL;
        if (!grown) {
            free(one);
            err = CUDA_ERROR_OUT_OF_MEMORY;
            goto out;
        }
        all = grown;
        memcpy(all + size, one, one_size);
        memcpy(all + size + one_size, "\n", 2);
        size += one_size + 1;
        free(one);
    }
    *ret_text = all;
    *ret_size = size;
    return CUDA_SUCCESS;
out:
    free(all);
    return err;
}

CUresult image_ptx(const void *image, char **ret_text, size_t *ret_size, const char **ret_why)
{
    const char *text = image;
    uint32_t magic;

    /* Text may be shorter than a word, but not shorter than its zero. */
    magic = 0;
    for (unsigned i = 0; i < 4 && (!i || text[i - 1]); i++)
        magic |= (uint32_t)(uint8_t)text[i] << 8 * i;
    if (magic == WRAPPER_MAGIC) {
        const struct wrapper *w = image;

        if (w->version == 2)
            return from_several(w->more, ret_text, ret_size, ret_why);
        *ret_why = "fatbin: an unknown version of the wrapper";
        if (w->version != 1 || !w->data)
            return CUDA_ERROR_INVALID_IMAGE;
        image = w->data;
        memcpy(&magic, image, 4);
        if (magic != FATBIN_MAGIC)
            return CUDA_ERROR_INVALID_IMAGE;
    }
    if (magic == FATBIN_MAGIC)
        return from_fatbin(image, ret_text, ret_size, ret_why);
    *ret_why = "cubin: machine code of NVIDIA's processors cannot run here; Viaduct needs PTX";
    if (magic == ELF_MAGIC)
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    *ret_why = "PTX: the text is larger than 64 MiB";
    *ret_size = strnlen(text, MAX_PTX);
    if (*ret_size == MAX_PTX)
        return CUDA_ERROR_INVALID_IMAGE;
    *ret_why = "out of memory";
    *ret_text = strdup(text);
    return *ret_text ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
