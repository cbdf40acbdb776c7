/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <compute/npu/host/ort.h>
#include <compute/npu/host/provider.h>
#include <compute/npu/interp/proto.h>

/*
 * usage: suite [--table | --verbose | --print] [--least N] [--wrong N]
 *              [--ort LIBRARY [--device NAME]] DIR...
 *
 * Runs ONNX's conformance cases (folders of a model and of inputs and outputs) through the
 * interpreter, or through a libonnxruntime: a real one, or that which asks the host. A model may be
 * refused, with a sentence; what it answers must be right, within the tolerance of ONNX's own
 * runner (1e-3 of the value, or 1e-7). Fails on a wrong answer, and if fewer than N cases pass;
 * --wrong allows for N wrong ones. --table prints the result by operator as Markdown. --device is
 * one of the runtime's, of a provider that VIADUCT_ORT_EP names: how many cases ran there alone is
 * told. --print compares nothing, but prints what comes out (cases.py). Of what is drawn at random
 * type and shape are compared.
 */

#define RELATIVE 1e-3
#define ABSOLUTE 1e-7
#define SKIPPED  77

enum verdict {
    PASSED,
    REFUSED,
    WRONG,
};

struct row {
    char name[64];
    unsigned count[3];
};

static struct row rows[512];
static size_t row_count;
static int verbose, prints;
static int drawn; /* the model has something random in it */
static const struct provider *provider = &provider_builtin;
static const char *device = "ort";
static unsigned on_device; /* cases with all of their nodes there */
static uint32_t in_order[64];

static void *read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    void *bytes = NULL;

    if (!file)
        return NULL;
    if (fstat(fileno(file), &st) == 0 && (bytes = malloc((size_t)st.st_size + 1))) {
        *ret_size = fread(bytes, 1, (size_t)st.st_size, file);
        if (*ret_size != (size_t)st.st_size) {
            free(bytes);
            bytes = NULL;
        }
    }
    fclose(file);
    return bytes;
}

static double number(const struct onnx_value *v, size_t i)
{
    union {
        uint32_t bits;
        float value;
    } as;
    uint16_t half;

    switch (v->dtype) {
    case ONNX_F32:
        return (double)((const float *)v->data)[i];
    case ONNX_F64:
        return ((const double *)v->data)[i];
    case ONNX_BF16:
        as.bits = (uint32_t)((const uint16_t *)v->data)[i] << 16;
        return (double)as.value;
    case ONNX_F16:
        half = ((const uint16_t *)v->data)[i];
        if ((half >> 10 & 31) == 31)
            return half & 1023 ? (double)NAN : half >> 15 ? (double)-INFINITY : (double)INFINITY;
        return (half >> 15 ? -1 : 1) * (half >> 10 & 31
                                            ? ldexp((half & 1023) + 1024, (half >> 10 & 31) - 25)
                                            : ldexp(half & 1023, -24));
    default:
        return 0;
    }
}

static int is_float(enum onnx_dtype dtype)
{
    return dtype == ONNX_F32 || dtype == ONNX_F64 || dtype == ONNX_F16 || dtype == ONNX_BF16;
}

/* 1: as it must be */
static int same(const struct onnx_value *is, const struct onnx_value *must)
{
    /* The cases cut floats to bfloat16 where later versions of the standard round. */
    double relative = must->dtype == ONNX_BF16 ? 0x1p-7 : RELATIVE;
    size_t count = 1;

    if (is->kind != must->kind)
        return 0;
    if (must->kind == ONNX_NONE)
        return 1;
    if (must->kind != ONNX_TENSOR) {
        if (is->item_count != must->item_count)
            return 0;
        for (size_t i = 0; i < must->item_count; i++)
            if (!same(&is->items[i], &must->items[i]))
                return 0;
        return 1;
    }
    if (is->dtype != must->dtype || is->rank != must->rank || is->size != must->size)
        return 0;
    for (int i = 0; i < must->rank; i++) {
        if (is->dims[i] != must->dims[i])
            return 0;
        count *= (size_t)must->dims[i];
    }
    if (drawn)
        return 1;
    if (must->dtype == ONNX_STRING) {
        const struct onnx_string *a = is->data, *b = must->data;

        for (size_t i = 0; i < count; i++)
            if (a[i].size != b[i].size || (a[i].size && memcmp(a[i].data, b[i].data, a[i].size)))
                return 0;
        return 1;
    }
    if (!is_float(must->dtype))
        return !must->size || memcmp(is->data, must->data, must->size) == 0;
    for (size_t i = 0; i < count && !drawn; i++) {
        double a = number(is, i), b = number(must, i);

        if (isnan(a) && isnan(b))
            continue;
        if (!(a == b || fabs(a - b) <= ABSOLUTE + relative * fabs(b)))
            return 0;
    }
    return 1;
}

static void print_element(const struct onnx_value *v, size_t i)
{
    const struct onnx_string *s = (const struct onnx_string *)v->data + i;

    if (v->dtype == ONNX_STRING)
        printf("\"%.*s\"", (int)s->size, s->data);
    else if (v->dtype == ONNX_F32)
        printf("%.9g", (double)((const float *)v->data)[i]);
    else if (is_float(v->dtype))
        printf("%.17g", number(v, i));
    else if (v->dtype == ONNX_I64)
        printf("%lld", (long long)((const int64_t *)v->data)[i]);
    else if (v->dtype == ONNX_I32)
        printf("%d", ((const int32_t *)v->data)[i]);
    else if (v->dtype == ONNX_I8)
        printf("%d", ((const int8_t *)v->data)[i]);
    else
        printf("%u", ((const uint8_t *)v->data)[i]);
}

/* As JSON: [type, [dimensions], [elements]], or a list of such for a sequence or a map. */
static void print_value(const struct onnx_value *v)
{
    size_t count = 1;

    printf("[");
    for (size_t i = 0; v->kind != ONNX_TENSOR && i < v->item_count; i++) {
        printf("%s", i ? ", " : "");
        print_value(&v->items[i]);
    }
    if (v->kind == ONNX_TENSOR)
        printf("%d, [", (int)v->dtype);
    for (int i = 0; v->kind == ONNX_TENSOR && i < v->rank; i++) {
        printf("%s%lld", i ? ", " : "", (long long)v->dims[i]);
        count *= (size_t)v->dims[i];
    }
    if (v->kind == ONNX_TENSOR)
        printf("], [");
    for (size_t i = 0; v->kind == ONNX_TENSOR && i < count; i++) {
        printf("%s", i ? ", " : "");
        print_element(v, i);
    }
    printf(v->kind == ONNX_TENSOR ? "]]" : "]");
}

/* Reads the n-th input or output of a set. 0: there is none. */
static int read_value(const char *set, const char *what, size_t n, const struct onnx_io *io,
                      struct onnx_value *value, struct onnx_store **store)
{
    char path[1024], error[256];
    size_t size;
    void *bytes;
    int status;

    snprintf(path, sizeof(path), "%s/%s_%zu.pb", set, what, n);
    bytes = read_file(path, &size);
    if (!bytes)
        return 0;
    status = onnx_value_read(bytes, size, io, value, store, error, sizeof(error));
    free(bytes);
    if (status < 0) {
        printf("%s: %s\n", path, error);
        exit(2);
    }
    /* These cases hold bfloat16 as a flat list of uint16: the shape is the model's. */
    if (io->dtype == ONNX_BF16 && value->kind == ONNX_TENSOR && value->dtype == ONNX_U16) {
        value->dtype = ONNX_BF16;
        if (io->rank > 0) {
            value->rank = io->rank;
            memcpy(value->dims, io->dims, sizeof(value->dims));
        }
    }
    return 1;
}

static enum verdict run_set(void *model, void *opened, const char *set, char *why, size_t room)
{
    struct onnx_value in[64], out[64], must;
    struct onnx_store *stores[64] = {NULL}, *store;
    struct provider_description about;
    enum verdict verdict = PASSED;
    uint32_t given = 0;

    provider->describe(model, &about);
    if (about.input_count > 64 || about.output_count > 64)
        exit(2);
    while (given < about.input_count &&
           read_value(set, "input", given, &about.inputs[given], &in[given], &stores[given]))
        given++;
    /* The second run finds memory as the first one left it. */
    for (int round = 0; verdict == PASSED && round < 2; round++) {
        struct provider_run run = {
            .inputs = in,
            .input_index = in_order,
            .input_count = given,
            .outputs = out,
            .output_index = in_order,
            .output_count = (uint32_t)about.output_count,
            .error = why,
            .error_size = room,
        };

        memset(out, 0, sizeof(out));
        if (provider->run(opened, &run) < 0)
            verdict = REFUSED;
        for (size_t i = 0; prints && !round && verdict == PASSED && i < about.output_count; i++) {
            printf("%s%s", i ? ", " : "[", "");
            print_value(&out[i]);
        }
        if (prints && !round && verdict == PASSED)
            printf("]");
        for (size_t i = 0; verdict == PASSED && !prints && i < about.output_count; i++) {
            if (!read_value(set, "output", i, &about.outputs[i], &must, &store))
                continue;
            if (!same(&out[i], &must)) {
                snprintf(why, room, "output %zu is wrong", i);
                verdict = WRONG;
            }
            onnx_store_destroy(store);
        }
    }
    for (size_t i = 0; i < given; i++)
        onnx_store_destroy(stores[i]);
    return verdict;
}

/* The operator a model is about: its only node's, or none. */
static void subject(const void *bytes, size_t size, char *to, size_t room)
{
    struct proto model = onnx_proto_of(bytes, size);
    struct proto_field f, g, h;
    size_t nodes = 0;

    drawn = 0;
    snprintf(to, room, "?");
    while (onnx_proto_next(&model, &f) > 0)
        while (f.number == 7 && f.type == PROTO_BYTES && onnx_proto_next(&f.bytes, &g) > 0) {
            if (g.number != 1 || g.type != PROTO_BYTES)
                continue;
            nodes++;
            while (onnx_proto_next(&g.bytes, &h) > 0)
                if (h.number == 4 && h.type == PROTO_BYTES) {
                    snprintf(to, room, "%.*s", (int)onnx_proto_size(h.bytes),
                             (const char *)h.bytes.at);
                    drawn |= !strncmp(to, "Random", 6) || !strcmp(to, "Bernoulli");
                }
        }
    if (nodes != 1)
        snprintf(to, room, "(several nodes)");
}

/* Whether the runtime says that all nodes are the device's: "viaduct 3 nodes". */
static unsigned is_alone(void *model)
{
    struct provider_description about;
    size_t length = strlen(device);

    provider->describe(model, &about);
    return about.placement && !strncmp(about.placement, device, length) &&
           about.placement[length] == ' ' && !strchr(about.placement, ',');
}

static void run_case(const char *folder)
{
    char path[1024], name[64], why[400] = "";
    struct provider_load load = {0};
    void *model = NULL, *opened = NULL;
    enum verdict verdict = PASSED;
    size_t size, i = 0;
    void *bytes;
    struct stat st;
    int sets = 0;

    snprintf(path, sizeof(path), "%.900s/model.onnx", folder);
    bytes = read_file(path, &size);
    if (!bytes)
        return;
    snprintf(path, sizeof(path), "%.900s/test_data_set_0", folder);
    if (stat(path, &st)) {
        free(bytes);
        return;
    }
    subject(bytes, size, name, sizeof(name));
    if (prints)
        printf("\"%s\": ", strrchr(folder, '/') + 1);
    load = (struct provider_load){.bytes = bytes, .size = size, .device = device, .threads = 1};
    if (provider->load(&load, &model, why, sizeof(why)) < 0 ||
        provider->open(model, &opened, why, sizeof(why)) < 0)
        verdict = REFUSED;
    free(bytes);
    if (model)
        on_device += is_alone(model);
    for (; opened && verdict == PASSED && stat(path, &st) == 0;
         snprintf(path, sizeof(path), "%.900s/test_data_set_%d", folder, ++sets))
        verdict = run_set(model, opened, path, why, sizeof(why));
    provider->close(opened);
    provider->destroy(model);
    if (prints)
        printf(verdict == PASSED ? ",\n" : "null,\n");
    if (verdict == WRONG || (verbose && verdict == REFUSED))
        printf("%s %s: %s\n", verdict == WRONG ? "WRONG  " : "refused", strrchr(folder, '/') + 1,
               why);
    while (i < row_count && strcmp(rows[i].name, name))
        i++;
    if (i == sizeof(rows) / sizeof(rows[0]))
        exit(2);
    if (i == row_count)
        memcpy(rows[row_count++].name, name, sizeof(name));
    rows[i].count[verdict]++;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static int run_folder(const char *folder)
{
    struct dirent **entries;
    char path[512];
    int n = scandir(folder, &entries, NULL, alphasort);

    if (n < 0)
        return errno == ENOENT ? 0 : -1;
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.' &&
            snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name) < (int)sizeof(path))
            run_case(path);
        free(entries[i]);
    }
    free(entries);
    return n;
}

int main(int argc, char **argv)
{
    unsigned sum[3] = {0}, least = 0, wrong = 0;
    int table = 0;

    for (uint32_t i = 0; i < 64; i++)
        in_order[i] = i;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--table") == 0)
            table = 1;
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = 1;
        else if (strcmp(argv[i], "--print") == 0)
            prints = 1;
        else if (strcmp(argv[i], "--least") == 0 && i + 1 < argc)
            least = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--wrong") == 0 && i + 1 < argc)
            wrong = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--ort") == 0 && i + 1 < argc) {
            if (!ort_open(argv[++i]))
                return 2;
            provider = &provider_ort;
        } else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            device = argv[++i];
        else if (run_folder(argv[i]) < 0)
            return 2;
    }
    if (!row_count) {
        printf("skipped: no cases here; Debian has them in libonnx-testdata\n");
        return SKIPPED;
    }
    if (prints)
        return 0;
    qsort(rows, row_count, sizeof(rows[0]), by_name);
    if (table)
        printf("| operator | cases | right | refused | wrong |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < row_count; i++) {
        const unsigned *c = rows[i].count;

        for (int v = 0; v < 3; v++)
            sum[v] += c[v];
        if (table)
            printf("| %s | %u | %u | %u | %u |\n", rows[i].name, c[0] + c[1] + c[2], c[0], c[1],
                   c[2]);
    }
    if (table)
        printf("| **all** | %u | %u | %u | %u |\n", sum[0] + sum[1] + sum[2], sum[0], sum[1],
               sum[2]);
    else
        printf("%u right, %u refused, %u wrong\n", sum[PASSED], sum[REFUSED], sum[WRONG]);
    if (strcmp(device, "ort"))
        printf("%u with all of their nodes on %s\n", on_device, device);
    if (sum[PASSED] < least)
        printf("%u were right before\n", least);
    return sum[WRONG] > wrong || sum[PASSED] < least;
}
