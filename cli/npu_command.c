/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/npu.h>

#include "cli.h"
#include "npu_inputs.h"
#include "places.h"

static const char usage_text[] =
    "usage: viaduct npu devices\n"
    "       viaduct npu info MODEL [options]\n"
    "       viaduct npu run MODEL [options]\n"
    "       viaduct npu bench MODEL [options]\n"
    "       viaduct npu watch [options] VIDEO MODEL\n"
    "Runs models (ONNX) on the host: lists what it runs them on; shows what a model takes and\n"
    "gives; runs it once; measures what a run takes, and how much of that is the way to the host;\n"
    "decodes a video there and prints what the model says of each picture (watch --help).\n"
    "\n"
    "  --device NAME,...  where, best first (default: as the host prefers)\n"
    "  --require          there or nowhere\n"
    "  --threads N        threads of a run\n"
    "  --input NAME=FILE  raw numbers of an input (default: made up)\n"
    "  --dim NAME=N       a dimension that the model leaves open (default: 1)\n"
    "  --runs N           of bench (default: 1000, 10 seconds at most)\n"
    "  --help\n"
    "\n"
    "The host is that of VIADUCT_HOST; `viaduct exec -- viaduct npu ...` starts a private one.\n";

/* A measurement ends after that, however slow the model is. */
#define BENCH_MOST_NS UINT64_C(10000000000)

struct command {
    const char *verb, *model;
    struct npu_options options;
    struct npu_inputs inputs;
    unsigned runs;
    /* Of a model that is loaded. */
    struct npu *npu;
    struct npu_model *loaded;
    const struct npu_info *info;
    struct npu_tensor **in, **out;
};

static int parse(int argc, char **argv, struct command *c)
{
    static const struct option options[] = {
        {"device", required_argument, NULL, 'd'},  {"require", no_argument, NULL, 'r'},
        {"threads", required_argument, NULL, 't'}, {"input", required_argument, NULL, 'i'},
        {"dim", required_argument, NULL, 'm'},     {"runs", required_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    int o;

    optind = 0;
    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (o) {
        case 'd':
            c->options.devices = optarg;
            break;
        case 'r':
            c->options.require = true;
            break;
        case 't':
            c->options.threads = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'i':
        case 'm':
            if (!strchr(optarg, '=') || c->inputs.files == NPU_INPUTS_MOST ||
                c->inputs.dims == NPU_INPUTS_MOST) {
                fprintf(stderr, "viaduct npu: %s: say NAME=VALUE\n", optarg);
                return CLI_USAGE;
            }
            if (o == 'i')
                c->inputs.file[c->inputs.files++] = optarg;
            else
                c->inputs.dim[c->inputs.dims++] = optarg;
            break;
        case 'n':
            c->runs = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'h':
            fputs(usage_text, stdout);
            exit(CLI_OK);
        default:
            fputs(usage_text, stderr);
            return CLI_USAGE;
        }
    }
    c->verb = optind < argc ? argv[optind++] : "";
    c->model = optind < argc ? argv[optind++] : NULL;
    if (optind < argc || !c->runs || (!c->model == !!strcmp(c->verb, "devices"))) {
        fputs(usage_text, stderr);
        return CLI_USAGE;
    }
    return 0;
}

static int failed(const char *what)
{
    fprintf(stderr, "viaduct npu: %s: %s\n", what, npu_message());
    return CLI_FAIL;
}

static int list_devices(struct command *c)
{
    static const char *const kinds[] = {"?", "CPU", "GPU", "NPU"};
    struct npu_device devices[64];
    size_t count;

    if (npu_devices(c->npu, devices, 64, &count))
        return failed("devices");
    if (!count) {
        fprintf(stderr, "viaduct npu: this host has no inference\n");
        return CLI_FAIL;
    }
    for (size_t i = 0; i < count; i++)
        printf("%-16s %s  %s\n", devices[i].name, kinds[devices[i].kind & 3], devices[i].runtime);
    return CLI_OK;
}

static void *read_model(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    void *bytes = NULL;
    long size;

    if (file && !fseek(file, 0, SEEK_END) && (size = ftell(file)) > 0 &&
        !fseek(file, 0, SEEK_SET) && (bytes = malloc((size_t)size))) {
        *ret_size = fread(bytes, 1, (size_t)size, file);
        if (*ret_size != (size_t)size) {
            free(bytes);
            bytes = NULL;
        }
    }
    if (file)
        fclose(file);
    return bytes;
}

static int load(struct command *c)
{
    size_t size = 0;
    void *bytes = read_model(c->model, &size);
    char folder[PATH_MAX];
    int err;

    if (!bytes) {
        fprintf(stderr, "viaduct npu: cannot read %s\n", c->model);
        return CLI_FAIL;
    }
    /* Weights may be in files beside it. */
    snprintf(folder, sizeof(folder), "%s", strchr(c->model, '/') ? c->model : "./");
    places_directory(folder);
    c->options.folder = folder;
    err = npu_load(c->npu, bytes, size, &c->options, &c->loaded);
    c->options.folder = NULL;
    free(bytes);
    if (err)
        return failed(c->model);
    c->info = npu_model_info(c->loaded);
    return CLI_OK;
}

static int show_info(struct command *c)
{
    const struct npu_info *info = c->info;
    char text[256];

    printf("model    %s: graph %s, version %" PRId64 "%s%s\n", c->model, info->graph, info->version,
           *info->producer ? ", made by " : "", info->producer);
    printf("runs on  %s%s%s\n", info->device, *info->reason ? "; " : "", info->reason);
    if (*info->placement)
        printf("nodes    %s\n", info->placement);
    else if (info->node_count)
        printf("nodes    %zu\n", info->node_count);
    for (size_t i = 0; i < info->input_count; i++)
        printf("input    %-24s %s\n", info->inputs[i].name,
               npu_inputs_type(&info->inputs[i], text, sizeof(text)));
    for (size_t i = 0; i < info->output_count; i++)
        printf("output   %-24s %s\n", info->outputs[i].name,
               npu_inputs_type(&info->outputs[i], text, sizeof(text)));
    for (size_t i = 0; i < info->pair_count; i++)
        printf("property %s = %s\n", info->keys[i], info->values[i]);
    return CLI_OK;
}

/* Inputs as said, no outputs yet. */
static int prepare(struct command *c)
{
    c->in = calloc(c->info->input_count + 1, sizeof(struct npu_tensor *));
    c->out = calloc(c->info->output_count + 1, sizeof(struct npu_tensor *));
    if (!c->in || !c->out)
        return CLI_FAIL;
    for (size_t i = 0; i < c->info->input_count; i++) {
        if (npu_inputs_make(&c->inputs, c->npu, &c->info->inputs[i], &c->in[i]))
            return CLI_FAIL;
    }
    return CLI_OK;
}

static void drop_outputs(struct command *c)
{
    for (size_t i = 0; c->out && i < c->info->output_count; i++) {
        npu_tensor_destroy(c->out[i]);
        c->out[i] = NULL;
    }
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* One run; how long it took, and of that the device. */
static int run_once(struct command *c, uint64_t *ret_all, uint64_t *ret_device)
{
    struct npu_call call = {
        .inputs = c->in,
        .input_count = c->info->input_count,
        .outputs = c->out,
        .output_count = c->info->output_count,
    };
    uint64_t start = now_ns();
    struct npu_run *run;
    int err = npu_submit(c->loaded, &call, &run);

    if (err)
        return failed("run");
    err = npu_wait(run, UINT64_MAX);
    *ret_all = now_ns() - start;
    *ret_device = npu_run_nanoseconds(run);
    npu_run_destroy(run);
    return err ? failed("run") : CLI_OK;
}

static int show_run(struct command *c)
{
    uint64_t all, device;
    int code = prepare(c);

    if (!code)
        code = run_once(c, &all, &device);
    if (code)
        return code;
    printf("ran on %s in %.3f ms\n", c->info->device, (double)device / 1e6);
    for (size_t i = 0; i < c->info->output_count; i++)
        npu_inputs_print(c->info->outputs[i].name, c->out[i]);
    return CLI_OK;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int show_bench(struct command *c)
{
    uint64_t *all = calloc(c->runs, sizeof(*all)), *device = calloc(c->runs, sizeof(*device));
    uint64_t *way = calloc(c->runs, sizeof(*way)), start;
    int code = all && device && way ? prepare(c) : CLI_FAIL;
    unsigned done = 0;

    /* The first ones learn. */
    for (int i = 0; i < 8 && !code; i++) {
        code = run_once(c, &all[0], &device[0]);
        drop_outputs(c);
    }
    start = now_ns();
    while (!code && done < c->runs && now_ns() - start < BENCH_MOST_NS) {
        code = run_once(c, &all[done], &device[done]);
        drop_outputs(c);
        way[done] = all[done] - (device[done] < all[done] ? device[done] : all[done]);
        done++;
    }
    if (!code) {
        qsort(all, done, sizeof(*all), by_size);
        qsort(device, done, sizeof(*device), by_size);
        qsort(way, done, sizeof(*way), by_size);
        printf("%u runs on %s: median %.1f us, 99%% %.1f us\n", done, c->info->device,
               (double)all[done / 2] / 1e3, (double)all[done - 1 - done / 100] / 1e3);
        printf("of that the model %.1f us, the way to it %.1f us\n", (double)device[done / 2] / 1e3,
               (double)way[done / 2] / 1e3);
    }
    free(all);
    free(device);
    free(way);
    return code;
}

static void finish(struct command *c)
{
    for (size_t i = 0; c->in && i < c->info->input_count; i++)
        npu_tensor_destroy(c->in[i]);
    drop_outputs(c);
    free(c->in);
    free(c->out);
    npu_unload(c->loaded);
    npu_close(c->npu);
}

/* A program of its own: this one needs no libavcodec. */
static int watch(char **argv)
{
    char path[PATH_MAX];

    if (!places_find(PLACE_LOOK, path, sizeof(path))) {
        fprintf(stderr,
                "viaduct npu: %s is not there: it is built where libavformat and libavcodec are\n",
                path);
        return CLI_FAIL;
    }
    argv[1] = path;
    execv(path, argv + 1);
    fprintf(stderr, "viaduct npu: cannot run %s: %s\n", path, strerror(errno));
    return CLI_FAIL;
}

int npu_command_run(int argc, char **argv)
{
    static const struct {
        const char *verb;
        int (*run)(struct command *c);
    } verbs[] = {{"info", show_info}, {"run", show_run}, {"bench", show_bench}};
    struct command c = {.runs = 1000};
    int code;

    if (argc > 1 && !strcmp(argv[1], "watch"))
        return watch(argv);
    code = parse(argc, argv, &c);
    if (code)
        return code;
    if (npu_open(NULL, &c.npu))
        return failed("host");
    if (!strcmp(c.verb, "devices")) {
        code = list_devices(&c);
        finish(&c);
        return code;
    }
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(c.verb, verbs[i].verb))
            continue;
        code = load(&c);
        if (!code)
            code = verbs[i].run(&c);
        finish(&c);
        return code;
    }
    finish(&c);
    fputs(usage_text, stderr);
    return CLI_USAGE;
}
