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
#include "sandbox.h"

/*
 * viaduct-worker: started by viaductd, never by hand. It loads the back end once (the nursery)
 * and forks one sandboxed worker a client, which shares those pages and starts in a millisecond.
 * It never reads a byte of a client.
 */

struct nursery {
    struct backend_set backends;
    struct backend_options options;
    struct session_limits limits;
    int signals;
    bool inference_devices;           /* inference wants them in the sandbox */
    pid_t pids[VD_MAX_STATS_CLIENTS]; /* by the listener's slot */
};

/* Memory a worker may have beside the arena: decoders' tables and bitstreams. */
#define NURSERY_WORKER_MEMORY (6ull << 30)

static int worker_ready(void *arg, bool devices)
{
    const struct nursery *n = arg;
    uint64_t arena =
        sizeof(struct vd_status_page) + VD_UPLOAD_BYTES + session_frame_zone(&n->limits);

    trace_open();
    return sandbox_enter(arena + NURSERY_WORKER_MEMORY +
                             (n->limits.cuda ? n->limits.cuda_bytes : 0),
                         devices || n->inference_devices);
}

/* The worker's whole life; never returns. */
static void worker_run(struct nursery *n, enum listen_kind kind, int client, int stats_fd)
{
    struct stats_counters *stats;
    struct channel *channel;
    sigset_t none;
    int err;

    prctl(PR_SET_NAME, "viaduct-client");
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    stats = mmap(NULL, sizeof(*stats), PROT_READ | PROT_WRITE, MAP_SHARED, stats_fd, 0);
    close(stats_fd);
    if (stats == MAP_FAILED || listen_channel(kind, client, &channel))
        _exit(1);
    err = session_serve(channel, &n->backends, &n->options, &n->limits, stats, worker_ready, n);
    channel_destroy(&channel);
    _exit(err ? 2 : 0);
}

static void nursery_client(struct nursery *n, const struct ipc_client *request, int client,
                           int stats_fd)
{
    struct ipc_event event = {.kind = IPC_STARTED, .slot = request->slot};
    pid_t pid = fork();

    if (!pid) {
        close(IPC_FD);
        close(n->signals);
        worker_run(n, request->kind, client, stats_fd);
    }
    if (pid < 0) {
        log_error("cannot start a worker: %s", strerror(errno));
        event.kind = IPC_ENDED;
        event.status = 1 << 8;
    } else {
        n->pids[request->slot] = pid;
        event.pid = pid;
    }
    ipc_send(IPC_FD, &event, sizeof(event), NULL, 0);
}

static void nursery_reap(struct nursery *n)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
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
            int fds[2];
            int err = ipc_recv(IPC_FD, &request, sizeof(request), fds, 2);

            if (err == VD_ERR_GONE)
                return;
            if (!err && request.slot < VD_MAX_STATS_CLIENTS && fds[0] >= 0 && fds[1] >= 0)
                nursery_client(n, &request, fds[0], fds[1]);
            for (int i = 0; i < 2 && !err; i++) {
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
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static const char *text_or_null(const char *text)
{
    return *text ? text : NULL;
}

int main(int argc, char **argv)
{
    static struct nursery n;
    struct ipc_event event = {.kind = IPC_READY};
    struct tls_settings tls;
    sigset_t set;

    log_set_name("viaductd");
    if (argc != 15) {
        fprintf(stderr, "viaduct-worker is started by viaductd, not by hand\n");
        return 2;
    }
    n.options.threads = atoi(argv[2]);
    n.limits.contexts = (uint32_t)strtoul(argv[3], NULL, 10);
    n.limits.surfaces = (uint32_t)strtoul(argv[4], NULL, 10);
    n.limits.bytes = strtoull(argv[5], NULL, 10);
    n.options.surface_format = (uint32_t)strtoul(argv[6], NULL, 10);
    n.limits.pixels = strtoull(argv[7], NULL, 10);
    n.limits.cuda_bytes = strtoull(argv[13], NULL, 10);
    tls = (struct tls_settings){
        .certificate = text_or_null(argv[8]),
        .key = text_or_null(argv[9]),
        .authority = text_or_null(argv[10]),
        .secret = text_or_null(argv[11]),
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
    } else if (engine_select(argv[1], &n.options, &n.backends) || n.signals < 0) {
        event.kind = IPC_FAILED;
        snprintf(event.text, sizeof(event.text), "back end %.80s cannot serve on this machine",
                 argv[1][0] ? argv[1] : "(any)");
    } else if (cuda_engine_select(argv[12], n.limits.cuda_bytes,
                                  (uint32_t)strtoul(argv[14], NULL, 10), &n.limits.cuda)) {
        event.kind = IPC_FAILED;
        snprintf(event.text, sizeof(event.text), "CUDA by %.80s cannot be served", argv[12]);
    } else {
        /* Libraries of inference are loaded once, too. */
        n.inference_devices = session_npu_prepare();
        engine_log(&n.backends);
        snprintf(event.text, sizeof(event.text), "%s", n.backends.name);
    }
    if (ipc_send(IPC_FD, &event, sizeof(event), NULL, 0) || event.kind == IPC_FAILED)
        return 1;
    nursery_loop(&n);
    nursery_stop(&n);
    return 0;
}
