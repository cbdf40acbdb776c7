/* SPDX-License-Identifier: MIT */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "places.h"
#include "service_find.h"
#include "stats_read.h"

/* viaductd gives its back end 30 s to load; it has said why if that was not enough. */
#define PRIVATE_START_MS 40000
#define PRIVATE_LOOK_MS  5
#define PRIVATE_STOP_MS  5000

static int make_directory(struct private_service *service)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    size_t room = sizeof(service->directory);

    /* A socket's path is short: take the run-time directory only if it leaves room. */
    for (int i = run && *run && strlen(run) < 32 ? 0 : 1; i < 2; i++) {
        snprintf(service->directory, room, "%s/viaduct-XXXXXX", i ? "/tmp" : run);
        if (mkdtemp(service->directory)) {
            snprintf(service->uri, sizeof(service->uri), "unix:%s/viaduct.sock",
                     service->directory);
            return 0;
        }
    }
    fprintf(stderr, "viaduct: cannot make a directory for a private service in /tmp: %s\n",
            strerror(errno));
    service->directory[0] = 0;
    return VD_ERR_IO;
}

static void run_service(const char *program, const struct private_service *service,
                        const struct private_options *options, int lifeline)
{
    char fd[16];
    /* What the system's service may do says nothing about this one. */
    const char *argv[16] = {"viaductd",       "--config",   "/dev/null", "--socket",
                            service->uri + 5, "--lifeline", fd};
    int argc = 7, null = open("/dev/null", O_RDWR);
    sigset_t none;

    snprintf(fd, sizeof(fd), "%d", lifeline);
    if (options->backend) {
        argv[argc++] = "--backend";
        argv[argc++] = options->backend;
    }
    if (options->threads) {
        argv[argc++] = "--threads";
        argv[argc++] = options->threads;
    }
    if (options->surface_format) {
        argv[argc++] = "--surface-format";
        argv[argc++] = options->surface_format;
    }
    /* The terminal's ^C is for the command; the service ends after it. */
    setpgid(0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    execv(program, (char **)argv);
    fprintf(stderr, "viaduct: cannot run %s: %s\n", program, strerror(errno));
    _exit(127);
}

/* 0 when it serves, a signal, or what is wrong. */
static int wait_until_ready(const struct private_service *service, const sigset_t *signals)
{
    struct timespec pause = {.tv_nsec = PRIVATE_LOOK_MS * 1000000};

    for (int ms = 0; ms < PRIVATE_START_MS; ms += PRIVATE_LOOK_MS) {
        struct stats_read stats;
        struct host *host;
        siginfo_t ended = {0};
        int signal, err;

        if (!stats_read_open(service->uri, &stats)) {
            stats_read_finish(&stats);
            log_set_level(LOG_LEVEL_NONE);
            err = service_find_open_uri(service->uri, &host);
            if (!err)
                host_unref(&host);
            else
                fprintf(stderr, "viaduct: the private service runs but does not serve: %s\n",
                        errors_text(err));
            return err;
        }
        if (!waitid(P_PID, (id_t)service->pid, &ended, WEXITED | WNOHANG | WNOWAIT) &&
            ended.si_pid) {
            fprintf(stderr,
                    "viaduct: the private service ended at its start (%s %d); what it "
                    "said stands above\n",
                    ended.si_code == CLD_EXITED ? "exit code" : "signal", ended.si_status);
            return VD_ERR_GONE;
        }
        signal = sigtimedwait(signals, NULL, &pause);
        if (signal > 0 && signal != SIGCHLD)
            return signal;
    }
    fprintf(stderr, "viaduct: the private service did not answer within %d s\n",
            PRIVATE_START_MS / 1000);
    return VD_ERR_TIMEOUT;
}

int private_start(const struct private_options *options, const sigset_t *signals,
                  struct private_service *ret_service)
{
    struct private_service service = {.lifeline = -1};
    char program[PATH_MAX];
    int ends[2], err;

    *ret_service = service;
    if (!places_find(PLACE_VIADUCTD, program, sizeof(program))) {
        fprintf(stderr,
                "viaduct: no viaductd beside this program nor at %s; install it or start "
                "a service elsewhere and set VIADUCT_HOST\n",
                program);
        return VD_ERR_IO;
    }
    err = make_directory(&service);
    if (err)
        return err;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        err = VD_ERR_IO;
        goto fail;
    }
    service.pid = fork();
    if (!service.pid) {
        fcntl(ends[0], F_SETFD, 0);
        run_service(program, &service, options, ends[0]);
    }
    close(ends[0]);
    service.lifeline = ends[1];
    if (service.pid < 0) {
        service.pid = 0;
        err = VD_ERR_MEMORY;
        goto fail;
    }
    err = wait_until_ready(&service, signals);
    if (err)
        goto fail;
    *ret_service = service;
    return 0;
fail:
    private_stop(&service);
    return err;
}

void private_stop(struct private_service *service)
{
    struct timespec pause = {.tv_nsec = PRIVATE_LOOK_MS * 1000000};
    char path[sizeof(service->uri) + 8];

    if (service->lifeline >= 0)
        close(service->lifeline);
    service->lifeline = -1;
    for (int ms = 0; service->pid; ms += PRIVATE_LOOK_MS) {
        if (waitpid(service->pid, NULL, WNOHANG))
            break;
        if (ms == PRIVATE_STOP_MS)
            kill(service->pid, SIGKILL);
        nanosleep(&pause, NULL);
    }
    service->pid = 0;
    if (!service->directory[0])
        return;
    /* It removes its sockets itself unless it was killed. */
    unlink(service->uri + 5);
    snprintf(path, sizeof(path), "%s.stats", service->uri + 5);
    unlink(path);
    rmdir(service->directory);
    service->directory[0] = 0;
}
