/* SPDX-License-Identifier: MIT */
#include "npu_inputs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/npu.h>

/* Numbers of a result that are printed. */
#define INPUTS_SHOWN 8

const char *npu_inputs_dtype(int dtype)
{
    return npu_dtype_name((uint32_t)dtype);
}

/* What stands behind "NAME=" in a list, NULL if nothing does. */
static const char *value_of(const char *const *list, int count, const char *name)
{
    size_t length = name ? strlen(name) : 0;

    for (int i = 0; name && i < count; i++) {
        if (!strncmp(list[i], name, length) && list[i][length] == '=')
            return list[i] + length + 1;
    }
    return NULL;
}

const char *npu_inputs_type(const struct npu_io *io, char *text, size_t room)
{
    static const char *const kinds[] = {"", "sequence of ", "nothing ", "another kind of "};
    size_t at = (size_t)snprintf(text, room, "%s%s%s[", io->optional ? "optional " : "",
                                 kinds[io->kind], npu_inputs_dtype(io->dtype));

    for (int i = 0; i < io->rank && at < room; i++) {
        if (io->dims[i] >= 0)
            at += (size_t)snprintf(text + at, room - at, "%s%" PRId64, i ? "," : "", io->dims[i]);
        else
            at += (size_t)snprintf(text + at, room - at, "%s%s", i ? "," : "",
                                   io->symbols[i] ? io->symbols[i] : "?");
    }
    if (at < room)
        snprintf(text + at, room - at, "%s]", io->rank < 0 ? "..." : "");
    return text;
}

static int read_file(const char *path, void *to, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t got = file ? fread(to, 1, size, file) : 0;
    bool more = file && fgetc(file) != EOF;

    if (!file)
        fprintf(stderr, "viaduct npu: cannot read %s\n", path);
    else if (got != size || more)
        fprintf(stderr, "viaduct npu: %s has %s than the %zu bytes of the input\n", path,
                more ? "more" : "less", size);
    if (file)
        fclose(file);
    return got == size && !more ? 0 : VD_ERR_PARAMETER;
}

/* Small numbers: floats between -1 and 1, integers 0 and 1, which are good as indices, too. */
static void make_up(int dtype, uint8_t *to, size_t size)
{
    uint32_t state = 1;

    memset(to, 0, size);
    for (size_t i = 0; dtype == NPU_FLOAT32 && i < size / 4; i++) {
        float value;

        state = state * 1664525u + 1013904223u;
        value = (float)(int32_t)state / 2147483648.0f;
        memcpy(to + 4 * i, &value, sizeof(value));
    }
}

int npu_inputs_make(const struct npu_inputs *inputs, struct npu *npu, const struct npu_io *io,
                    struct npu_tensor **ret_tensor)
{
    const char *path = value_of(inputs->file, inputs->files, io->name);
    int64_t dims[NPU_MAX_RANK] = {0};
    int err;

    if (io->kind != NPU_KIND_TENSOR || io->dtype == NPU_TEXT || io->rank < 0) {
        fprintf(stderr, "viaduct npu: input %s is not a tensor of numbers of a known rank\n",
                io->name);
        return VD_ERR_UNSUPPORTED;
    }
    for (int i = 0; i < io->rank; i++) {
        const char *said = value_of(inputs->dim, inputs->dims, io->symbols[i]);

        dims[i] = io->dims[i] >= 0 ? io->dims[i] : said ? strtoll(said, NULL, 10) : 1;
    }
    err = npu_tensor_create(npu, io->dtype, dims, io->rank, ret_tensor);
    if (err) {
        fprintf(stderr, "viaduct npu: input %s: %s\n", io->name, npu_message());
        return err;
    }
    if (path)
        err = read_file(path, npu_tensor_data(*ret_tensor), npu_tensor_bytes(*ret_tensor));
    else
        make_up(io->dtype, npu_tensor_data(*ret_tensor), npu_tensor_bytes(*ret_tensor));
    if (err)
        npu_tensor_destroy(*ret_tensor);
    return err;
}

static void print_number(int dtype, const uint8_t *from)
{
    float f;
    double d;
    int32_t i;
    int64_t l;

    switch (dtype) {
    case NPU_FLOAT32:
        memcpy(&f, from, sizeof(f));
        printf(" %g", (double)f);
        return;
    case NPU_FLOAT64:
        memcpy(&d, from, sizeof(d));
        printf(" %g", d);
        return;
    case NPU_INT32:
        memcpy(&i, from, sizeof(i));
        printf(" %d", i);
        return;
    case NPU_INT64:
        memcpy(&l, from, sizeof(l));
        printf(" %" PRId64, l);
        return;
    case NPU_UINT8:
    case NPU_INT8:
    case NPU_BOOL:
        printf(" %d", dtype == NPU_INT8 ? *(const int8_t *)from : *from);
        return;
    default:
        printf(" ?");
    }
}

void npu_inputs_print(const char *name, const struct npu_tensor *tensor)
{
    size_t count = npu_tensor_count(tensor), bytes = npu_tensor_bytes(tensor);
    size_t shown = count < INPUTS_SHOWN ? count : INPUTS_SHOWN;

    printf("  %-24s %s[", name, npu_inputs_dtype(npu_tensor_dtype(tensor)));
    for (int i = 0; i < npu_tensor_rank(tensor); i++)
        printf("%s%" PRId64, i ? "," : "", npu_tensor_dims(tensor)[i]);
    printf("]:");
    for (size_t i = 0; i < shown; i++) {
        size_t length = 0;
        const char *text = npu_tensor_text(tensor, i, &length);

        if (text)
            printf(" \"%.*s\"", (int)length, text);
        else if (bytes)
            print_number(npu_tensor_dtype(tensor),
                         (const uint8_t *)npu_tensor_data(tensor) + i * (bytes / count));
    }
    printf("%s\n", count > shown ? " ..." : "");
}
