/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <transport/tls.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>
#include <wire/trace.h>

#include "config.h"
#include "cuda_engine.h"
#include "engine.h"
#include "ipc.h"
#include "listen.h"
#include "policy.h"
#include "porter.h"
#include "region.h"
#include "sandbox.h"

/*
 * viaduct-worker: started by viaductd, never by hand. It loads the back end once (the nursery)
 * and forks one sandboxed worker a client, which shares those pages and starts in a millisecond,
 * and porters (porter.h). It never reads a byte of a client.
 */

struct nursery {
    struct backend_set backends[1 + POLICY_MAX_BACKENDS]; /* the service's, then rules' */
    uint32_t backend_count;
    struct backend_options options;
    const struct cuda_backend *cuda;
    int signals;
    bool inference_devices;           /* inference wants them in the sandbox */
    pid_t pids[VD_MAX_STATS_CLIENTS]; /* by the listener's slot */
    struct porters porters;
};

/* Memory a worker may have beside the arena: decoders' tables and bitstreams. */
#define NURSERY_WORKER_MEMORY (6ull << 30)

struct worker {
    const struct nursery *nursery;
    struct session_limits limits;
    bool cuda_devices; /* this client's CUDA wants them in the sandbox */
};

static int worker_ready(void *arg, bool devices)
{
    const struct worker *w = arg;
    uint64_t arena =
        sizeof(struct vd_status_page) + VD_UPLOAD_BYTES + session_frame_zone(&w->limits);

    trace_open();
    return sandbox_enter(arena + NURSERY_WORKER_MEMORY +
                             (w->limits.cuda ? w->limits.cuda_bytes : 0),
                         devices || w->nursery->inference_devices || w->cuda_devices);
}

/* A process of its own begins: what was the nursery's alone ends. */
static void begin_child(struct nursery *n, const char *name)
{
    sigset_t none;

    close(IPC_FD);
    close(n->signals);
    prctl(PR_SET_NAME, name);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

/* The worker's whole life; never returns. */
static void worker_run(struct nursery *n, const struct ipc_client *request, const int *fds)
{
    int client = fds[0], stats_fd = fds[1];
    struct worker worker = {
        .nursery = n,
        .limits = {.contexts = request->contexts,
                   .surfaces = request->surfaces,
                   .bytes = request->bytes,
                   .pixels = request->pixels,
                   .cuda = request->cuda_bytes ? n->cuda : NULL,
                   .cuda_bytes = request->cuda_bytes,
                   .run_seconds = request->run_seconds},
    };
    struct stats_counters *stats;
    struct channel *channel;
    int err;

    worker.limits.region_count = region_list(fds + 2, worker.limits.regions);
    stats = mmap(NULL, sizeof(*stats), PROT_READ | PROT_WRITE, MAP_SHARED, stats_fd, 0);
    close(stats_fd);
    if (stats == MAP_FAILED)
        _exit(1);
    if (!cuda_engine_enter(worker.limits.cuda, request->kind == LISTEN_TLS ? -1 : client,
                           &worker.cuda_devices))
        worker.limits.cuda = NULL;
    if (listen_channel(request->kind, client, &channel))
        _exit(1);
    err = session_serve(channel, &n->backends[request->backends], &n->options, &worker.limits,
                        stats, worker_ready, &worker);
    channel_destroy(&channel);
    _exit(err ? 2 : 0);
}

static void nursery_client(struct nursery *n, const struct ipc_client *request, const int *fds)
{
    struct ipc_event event = {.kind = IPC_STARTED, .slot = request->slot};
    pid_t pid;

    session_npu_sweep();
    pid = fork();

    if (!pid) {
        begin_child(n, "viaduct-client");
        worker_run(n, request, fds);
    }
    if (pid < 0) {
        log_error("cannot start a worker: %s", strerror(errno));
        event.kind = IPC_ENDED;
        event.status = 1 << 8;
    } else {
        n->pids[request->slot] = pid;
        event.pid = pid;
        if (request->door)
            porters_adopt(&n->porters, request->door - 1, request->slot);
    }
    ipc_send(IPC_FD, &event, sizeof(event), NULL, 0);
}

static void nursery_porter(struct nursery *n, uint32_t door, const int *fds)
{
    pid_t pid = fork();

    if (!pid) {
        begin_child(n, "viaduct-porter");
        porter_run(fds[0], fds[1], fds[2], NURSERY_WORKER_MEMORY);
    }
    if (pid < 0)
        log_error("cannot start a porter: %s", strerror(errno));
    else
        porters_add(&n->porters, door, pid);
}

/* What the listener asks for; who asks for what there is not gets nothing. */
static void nursery_request(struct nursery *n, const struct ipc_client *request, const int *fds)
{
    if (request->what == IPC_SERVE && request->slot < VD_MAX_STATS_CLIENTS &&
        request->door <= VD_MAX_DOORS && request->backends < n->backend_count && fds[0] >= 0 &&
        fds[1] >= 0)
        nursery_client(n, request, fds);
    else if (request->what == IPC_SHAKE && request->slot < VD_MAX_DOORS && fds[2] >= 0)
        nursery_porter(n, request->slot, fds);
    else if (request->what == IPC_SHUT && request->slot < VD_MAX_DOORS)
        porters_shut(&n->porters, request->slot);
}

static void nursery_reap(struct nursery *n)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        porters_ended(&n->porters, pid);
        for (uint32_t i = 0; i < VD_MAX_STATS_CLIENTS; i++) {
            struct ipc_event event = {.kind = IPC_ENDED, .slot = i, .pid = pid, .status = status};

            if (n->pids[i] != pid)
                continue;
            n->pids[i] = 0;
            if (WIFSIGNALED(status))
                log_warn("worker %d was killed by signal %d; its client gets errors, others do not",
                         (int)pid, WTERMSIG(status));
            ipc_send(IPC_FD, &event, sizeof(event), NULL, 0);
        }
    }
}

/* Until the listener goes away. */
static void nursery_loop(struct nursery *n)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = IPC_FD, .events = POLLIN},
                              {.fd = n->signals, .events = POLLIN}};

        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return;
        if (p[1].revents) {
            struct signalfd_siginfo info;

            if (read(n->signals, &info, sizeof(info)) == sizeof(info) && info.ssi_signo != SIGCHLD)
                return;
            nursery_reap(n);
        }
        if (p[0].revents) {
            struct ipc_client request;
            int fds[IPC_CLIENT_FDS];
            int err = ipc_recv(IPC_FD, &request, sizeof(request), fds, IPC_CLIENT_FDS);

            if (err == VD_ERR_GONE)
                return;
            if (!err)
                nursery_request(n, &request, fds);
            for (int i = 0; i < IPC_CLIENT_FDS && !err; i++) {
                if (fds[i] >= 0)
                    close(fds[i]);
            }
        }
    }
}

static void nursery_stop(struct nursery *n)
{
    for (uint32_t i = 0; i < VD_MAX_STATS_CLIENTS; i++) {
        if (n->pids[i])
            kill(n->pids[i], SIGKILL);
    }
    porters_stop(&n->porters);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static const char *text_or_null(const char *text)
{
    return *text ? text : NULL;
}

/* The service's engines and those of rules; *ret_wrong: the list of which nothing works. */
static int select_engines(struct nursery *n, int argc, char **argv, const char **ret_wrong)
{
    int err = 0;

    for (int i = IPC_ARGUMENTS - 1; i < argc && !err; i++) {
        *ret_wrong = i < IPC_ARGUMENTS ? argv[1] : argv[i];
        err = engine_select(*ret_wrong, &n->options, &n->backends[n->backend_count]);
        n->backend_count += !err;
    }
    return err;
}

int main(int argc, char **argv)
{
    static struct nursery n;
    struct ipc_event event = {.kind = IPC_READY};
    struct tls_settings tls;
    const char *wrong = "";
    sigset_t set;

    log_set_name("viaductd");
    if (argc < IPC_ARGUMENTS || argc > IPC_ARGUMENTS + POLICY_MAX_BACKENDS) {
        fprintf(stderr, "viaduct-worker is started by viaductd, not by hand\n");
        return 2;
    }
    n.options.threads = atoi(argv[2]);
    n.options.surface_format = (uint32_t)strtoul(argv[3], NULL, 10);
    tls = (struct tls_settings){
        .certificate = text_or_null(argv[4]),
        .key = text_or_null(argv[5]),
        .authority = text_or_null(argv[6]),
        .secret = text_or_null(argv[7]),
    };
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    n.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (!sandbox_has_filter())
        log_warn("this build's workers run without a system call filter");
    if ((tls.certificate || tls.secret) && tls_load(&tls)) {
        event.kind = IPC_FAILED;
        snprintf(event.text, sizeof(event.text), "TLS cannot be served");
    } else if (n.signals < 0 || select_engines(&n, argc, argv, &wrong)) {
        event.kind = IPC_FAILED;
        snprintf(event.text, sizeof(event.text), "back end %.80s cannot serve on this machine",
                 *wrong ? wrong : "(any)");
    } else if (cuda_engine_select(argv[8], strtoull(argv[9], NULL, 10),
                                  (uint32_t)strtoul(argv[10], NULL, 10), &n.cuda)) {
        event.kind = IPC_FAILED;
        snprintf(event.text, sizeof(event.text), "CUDA by %.80s cannot be served", argv[8]);
    } else {
        /* Libraries of inference are loaded once, too. */
        n.inference_devices = session_npu_prepare();
        for (uint32_t i = 0; i < n.backend_count; i++)
            engine_log(&n.backends[i]);
        snprintf(event.text, sizeof(event.text), "%s", n.backends[0].name);
    }
    if (ipc_send(IPC_FD, &event, sizeof(event), NULL, 0) || event.kind == IPC_FAILED)
        return 1;
    nursery_loop(&n);
    nursery_stop(&n);
    return 0;
}
