/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "cli.h"
#include "places.h"
#include "private.h"
#include "service_find.h"
#include "stats_read.h"

/* As env(1) and timeout(1): told apart from what the command itself returns. */
#define EXEC_FAILED    125
#define EXEC_NOT_RUN   126
#define EXEC_NOT_FOUND 127
/* The service notices a moment later than we do that a client has gone. */
#define EXEC_SETTLE_MS 3000

static const char usage_text[] =
    "usage: viaduct exec [options] [--] COMMAND [ARGUMENT...]\n"
    "Runs a command with Viaduct's VA-API driver: on the host service that answers, else on a\n"
    "private one that lives as long as the command. Where the machine has no render node, the\n"
    "command is shown one. Programs for CUDA get Viaduct's libcuda, if it is installed, and\n"
    "programs for ONNX Runtime its libonnxruntime.\n"
    "\n"
    "  --private            start a private service even if a host service answers\n"
    "  --backend ENGINE,... the same, with these engines (see viaductd --help)\n"
    "  --threads N          the same, with N decoder threads a context\n"
    "  --surface-format F   the same, offering surfaces of this format only (NV12, I420)\n"
    "  --ort MODE           ONNX Runtime: forward (default: models run on the host), local (the\n"
    "                       command's own, with the host as one of its devices) or none;\n"
    "                       also $VIADUCT_EXEC_ORT\n"
    "  --stats FILE         afterwards write what the service counted meanwhile (- for stderr)\n"
    "  --help\n"
    "\n"
    "The exit code is the command's, or 128 and its signal; 125: no service, 126, 127: the\n"
    "command could not be run.\n";

struct exec {
    struct private_options service_options;
    bool private;
    enum { ORT_FORWARD, ORT_LOCAL, ORT_NONE } ort;
    FILE *stats;
    bool counting; /* `before` is known, else why not */
    int counting_err;
    struct stats_counters before;
    uint64_t served_before, died_before;
    uint32_t rows_before;
    char uri[192];
    struct private_service service;
    sigset_t signals;
};

static int parse_ort(const char *name, struct exec *exec)
{
    static const char *const names[] = {
        [ORT_FORWARD] = "forward", [ORT_LOCAL] = "local", [ORT_NONE] = "none"};

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!strcmp(name, names[i])) {
            exec->ort = i;
            return 0;
        }
    }
    fprintf(stderr, "viaduct exec: ONNX Runtime is forward, local or none, and not %s\n", name);
    return CLI_USAGE;
}

static int parse(int argc, char **argv, struct exec *exec)
{
    const char *ort = getenv("VIADUCT_EXEC_ORT");
    static const struct option options[] = {
        {"private", no_argument, NULL, 'p'},       {"backend", required_argument, NULL, 'b'},
        {"threads", required_argument, NULL, 't'}, {"ort", required_argument, NULL, 'o'},
        {"stats", required_argument, NULL, 's'},   {"surface-format", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    int c;

    optind = 0;
    while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (c) {
        case 'p':
            exec->private = true;
            break;
        case 'b':
            exec->service_options.backend = optarg;
            exec->private = true;
            break;
        case 't':
            exec->service_options.threads = optarg;
            exec->private = true;
            break;
        case 'f':
            exec->service_options.surface_format = optarg;
            exec->private = true;
            break;
        case 'o':
            ort = optarg;
            break;
        case 's':
            /* Opened before the command runs, so that a wrong name does not cost a run. */
            exec->stats = strcmp(optarg, "-") ? fopen(optarg, "we") : stderr;
            if (!exec->stats) {
                fprintf(stderr, "viaduct exec: cannot write %s: %s\n", optarg, strerror(errno));
                return EXEC_FAILED;
            }
            break;
        case 'h':
            fputs(usage_text, stdout);
            exit(CLI_OK);
        default:
            fputs(usage_text, stderr);
            return CLI_USAGE;
        }
    }
    if (optind == argc) {
        fprintf(stderr, "viaduct exec: which command?\n%s", usage_text);
        return CLI_USAGE;
    }
    return ort && *ort ? parse_ort(ort, exec) : 0;
}

/* 0, a signal, or an error that has been told. */
static int find_service(struct exec *exec)
{
    const struct service_place *place;
    struct service_places places;
    struct host *host;
    int err;

    if (!exec->private) {
        service_find_places(&places);
        err = service_find_open(&places, false, &host, &place);
        if (!err) {
            snprintf(exec->uri, sizeof(exec->uri), "%s", place->uri);
            host_unref(&host);
            return 0;
        }
        /* Silence about a missing usual place is right; about a chosen or a refusing one not. */
        for (int i = 0; i < places.count; i++) {
            place = &places.place[i];
            if (place->err != SERVICE_NOT_TRIED && (place->chosen || place->err != VD_ERR_GONE))
                fprintf(stderr, "viaduct exec: %s (%s): %s; starting a private service\n",
                        place->uri, place->source, errors_text(place->err));
        }
    }
    err = private_start(&exec->service_options, &exec->signals, &exec->service);
    if (!err)
        snprintf(exec->uri, sizeof(exec->uri), "%s", exec->service.uri);
    return err;
}

/* Puts libraries in front of LD_PRELOAD: a sanitizer's run time first, since it insists on it. */
static void set_preload(const char *shim)
{
    const char *first = getenv("VIADUCT_PRELOAD_FIRST");
    const char *present = getenv("LD_PRELOAD");
    char *value;

    first = first ? first : "";
    present = present ? present : "";
    if (!*first && !*shim)
        return;
    if (asprintf(&value, "%s%s%s%s%s", first, *first && *shim ? ":" : "", shim, *present ? ":" : "",
                 present) < 0)
        return;
    setenv("LD_PRELOAD", value, 1);
    free(value);
}

/* Programs for CUDA and ONNX Runtime: our libraries, in front of what else there is. */
static void set_library_path(const struct exec *exec)
{
    const enum place places[] = {PLACE_NVML, PLACE_CUDART_13, PLACE_CUDART_12, PLACE_CUDA,
                                 exec->ort == ORT_LOCAL ? PLACE_NPU_LOCAL : PLACE_NPU};
    size_t count = sizeof(places) / sizeof(places[0]) - (exec->ort == ORT_NONE);

    for (size_t i = 0; i < count; i++) {
        const char *present = getenv("LD_LIBRARY_PATH");
        char path[PATH_MAX], *value;

        if (!places_find(places[i], path, sizeof(path)))
            continue;
        places_directory(path);
        /* Installed they lie together. */
        if (present && !strncmp(present, path, strlen(path)) &&
            (!present[strlen(path)] || present[strlen(path)] == ':'))
            continue;
        if (asprintf(&value, "%s%s%s", path, present && *present ? ":" : "",
                     present ? present : "") < 0)
            return;
        setenv("LD_LIBRARY_PATH", value, 1);
        free(value);
    }
}

/* Programs that look for ONNX Runtime elsewhere. */
static void set_inference(const struct exec *exec)
{
    const char *own = getenv("ORT_DYLIB_PATH");
    char path[PATH_MAX];

    if (exec->ort == ORT_NONE ||
        !places_find(exec->ort == ORT_LOCAL ? PLACE_NPU_LOCAL : PLACE_NPU, path, sizeof(path)))
        return;
    if (!own)
        own = getenv("GST_ONNXRT_LIBRARY");
    if (exec->ort == ORT_LOCAL && own)
        setenv("VIADUCT_ORT_LOCAL", own, 0);
    setenv("ORT_DYLIB_PATH", path, 1);
    setenv("GST_ONNXRT_LIBRARY", path, 1);
}

static int set_environment(const struct exec *exec)
{
    char path[PATH_MAX];

    if (!places_find(PLACE_DRIVER, path, sizeof(path))) {
        fprintf(stderr, "viaduct exec: the driver is missing: no %s\n", path);
        return VD_ERR_IO;
    }
    places_directory(path);
    setenv("LIBVA_DRIVERS_PATH", path, 1);
    setenv("LIBVA_DRIVER_NAME", "viaduct", 1);
    setenv("VIADUCT_HOST", exec->uri, 1);
    set_library_path(exec);
    set_inference(exec);
    /* gstreamer-vaapi, and GStreamer's `va` since 1.26, have lists of vendors they like. */
    setenv("GST_VAAPI_ALL_DRIVERS", "1", 1);
    setenv("GST_VA_ALL_DRIVERS", "1", 1);
    if (places_have_render_node()) {
        set_preload("");
        return 0;
    }
    if (!places_find(PLACE_DISPLAY, path, sizeof(path))) {
        fprintf(stderr,
                "viaduct exec: this machine has no /dev/dri/renderD* and the stand-in "
                "%s is missing; only X11 displays can work\n",
                path);
        return 0;
    }
    set_preload(path);
    setenv("GST_VAAPI_DRM_DEVICE", "/dev/dri/renderD128", 1);
    return 0;
}

static pid_t start_command(char **argv)
{
    pid_t pid = fork();
    sigset_t none;

    if (pid)
        return pid;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(argv[0], argv);
    fprintf(stderr, "viaduct exec: cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? EXEC_NOT_FOUND : EXEC_NOT_RUN);
}

/* Until the command has ended; signals sent to us are its signals. */
static int wait_command(pid_t pid, const sigset_t *signals)
{
    for (;;) {
        siginfo_t info;
        int status;

        if (sigwaitinfo(signals, &info) < 0)
            continue;
        /* The terminal tells the whole process group, so the command knows already. */
        if (info.si_signo != SIGCHLD) {
            if (info.si_code != SI_KERNEL)
                kill(pid, info.si_signo);
            continue;
        }
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
}

static void count_before(struct exec *exec)
{
    struct stats_read stats;

    if (!exec->stats)
        return;
    exec->counting_err = stats_read_open(exec->uri, &stats);
    if (exec->counting_err)
        return;
    exec->before = stats_read_total(&stats);
    exec->served_before = stats.reply.clients_served;
    exec->died_before = stats.reply.workers_died;
    exec->rows_before = stats.reply.rows;
    exec->counting = true;
    stats_read_finish(&stats);
}

static int write_stats(const struct exec *exec)
{
    struct timespec pause = {.tv_nsec = 10000000};
    struct stats_counters now;
    struct stats_read stats;
    int err;

    for (int ms = 0;; ms += 10) {
        err = exec->counting ? stats_read_open(exec->uri, &stats) : exec->counting_err;
        if (err) {
            fprintf(stderr, "viaduct exec: no counters from %s: %s\n", exec->uri, errors_text(err));
            return VD_ERR_IO;
        }
        if (stats.reply.rows <= exec->rows_before || ms >= EXEC_SETTLE_MS)
            break;
        stats_read_finish(&stats);
        nanosleep(&pause, NULL);
    }
    now = stats_read_total(&stats);
    fprintf(exec->stats,
            "service %s\nbackend %s\nengine %s\nclients %llu\ndecoded %llu\nconcealed %llu\n"
            "failed %llu\nencoded %llu\nprocessed %llu\nmapped %llu\n"
            "bytes_in %llu\nbytes_out %llu\ninferences %llu\nlaunches %llu\nworkers_died %llu\n",
            exec->service.pid ? "private" : exec->uri, stats.reply.backend, now.engine,
            (unsigned long long)(stats.reply.clients_served - exec->served_before),
            (unsigned long long)(now.decoded - exec->before.decoded),
            (unsigned long long)(now.concealed - exec->before.concealed),
            (unsigned long long)(now.failed - exec->before.failed),
            (unsigned long long)(now.encoded - exec->before.encoded),
            (unsigned long long)(now.processed - exec->before.processed),
            (unsigned long long)(now.mapped - exec->before.mapped),
            (unsigned long long)(now.bytes_in - exec->before.bytes_in),
            (unsigned long long)(now.bytes_out - exec->before.bytes_out),
            (unsigned long long)(now.inferences - exec->before.inferences),
            (unsigned long long)(now.launches - exec->before.launches),
            (unsigned long long)(stats.reply.workers_died - exec->died_before));
    stats_read_finish(&stats);
    if (fflush(exec->stats) || ferror(exec->stats)) {
        fprintf(stderr, "viaduct exec: cannot write the counters: %s\n", strerror(errno));
        return VD_ERR_IO;
    }
    return 0;
}

int exec_run(int argc, char **argv)
{
    struct exec exec = {.service = {.lifeline = -1}};
    int code, err;
    pid_t pid;

    code = parse(argc, argv, &exec);
    if (code)
        return code;
    /* An ignored SIGCHLD is inherited and would never come. */
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&exec.signals);
    sigaddset(&exec.signals, SIGCHLD);
    sigaddset(&exec.signals, SIGINT);
    sigaddset(&exec.signals, SIGTERM);
    sigaddset(&exec.signals, SIGHUP);
    sigaddset(&exec.signals, SIGQUIT);
    sigprocmask(SIG_BLOCK, &exec.signals, NULL);
    err = find_service(&exec);
    if (err)
        return err > 0 ? 128 + err : EXEC_FAILED;
    code = EXEC_FAILED;
    if (set_environment(&exec))
        goto out;
    count_before(&exec);
    pid = start_command(argv + optind);
    if (pid < 0) {
        fprintf(stderr, "viaduct exec: cannot start a process: %s\n", strerror(errno));
        goto out;
    }
    code = wait_command(pid, &exec.signals);
    if (exec.stats && write_stats(&exec) && !code)
        code = EXEC_FAILED;
out:
    private_stop(&exec.service);
    return code;
}
