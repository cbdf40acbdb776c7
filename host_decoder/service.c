/* SPDX-License-Identifier: MIT */
#include "service.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <transport/message.h>
#include <transport/unix.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <viaduct/protocol.h>
#include <wire/log.h>

#include "config.h"
#include "ipc.h"
#include "listen.h"

#if HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

/* Time a nursery has for loading its codecs. */
#define SERVICE_START_MS 30000
/* A nursery that dies this often has a reason that another try does not cure. */
#define SERVICE_MAX_RESTARTS 16

struct service {
    const struct service_options *options;
    struct clients clients;
    struct listener further[SERVICE_MAX_LISTEN + 1]; /* --listen's, then systemd's */
    int further_count;
    int listen_fd, stats_fd, signal_fd, nursery_fd;
    pid_t nursery;
    int restarts;
    bool own_socket; /* made here, not by systemd */
    bool stop;
    char stats_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
};

static int listen_on(const char *path, mode_t mode)
{
    int fd, err = unix_listen(path, mode, &fd);

    if (!err)
        return fd;
    if (err == VD_ERR_PARAMETER)
        log_error("socket path %s is too long", path);
    else if (err == VD_ERR_BUSY)
        log_error("%s: another viaductd serves here already", path);
    else
        log_error("cannot listen on %s: %s", path, strerror(errno));
    return -1;
}

static int open_sockets(struct service *s)
{
    /* With further users allowed the policy decides, not the mode. */
    mode_t mode =
        s->options->allow_any || s->options->allow_uids || s->options->allow_gids ? 0666 : 0600;
    int n = 0;

#if HAVE_SYSTEMD
    n = sd_listen_fds(1);
    if (n > 0)
        s->listen_fd = SD_LISTEN_FDS_START;
    if (n > 1)
        s->stats_fd = SD_LISTEN_FDS_START + 1;
    if (n > 2)
        s->further[s->further_count++] = (struct listener){
            .fd = SD_LISTEN_FDS_START + 2, .kind = LISTEN_VM, .uri = "systemd's socket"};
#endif
    s->own_socket = n <= 0;
    if (s->own_socket &&
        !strncmp(s->options->socket, SERVICE_RUN_DIR "/", strlen(SERVICE_RUN_DIR) + 1))
        mkdir(SERVICE_RUN_DIR, 0755);
    if (s->listen_fd < 0)
        s->listen_fd = listen_on(s->options->socket, mode);
    if (s->listen_fd < 0)
        return VD_ERR_IO;
    if (s->stats_fd < 0 && s->own_socket) {
        snprintf(s->stats_path, sizeof(s->stats_path), "%s.stats", s->options->socket);
        s->stats_fd = listen_on(s->stats_path, mode);
        if (s->stats_fd < 0)
            return VD_ERR_IO;
    }
    for (int i = 0; i < s->options->listen_count; i++) {
        struct listener *listener = &s->further[s->further_count];
        int err = listen_open(s->options->listen[i], mode, listener);

        if (err)
            return err;
        s->further_count++;
        if (listener->kind == LISTEN_TLS && !*s->options->tls_certificate &&
            !*s->options->tls_secret) {
            log_error("%s: TLS needs --tls-certificate, --tls-key and --tls-authority, or "
                      "--tls-secret",
                      s->options->listen[i]);
            return VD_ERR_PARAMETER;
        }
    }
    umask(077);
    return 0;
}

/* The worker program: beside this one in a build tree, else where it was installed. */
static void worker_path(char *path, size_t room)
{
    ssize_t n = readlink("/proc/self/exe", path, room - 32);

    if (n > 0) {
        path[n] = 0;
        strcpy(strrchr(path, '/') + 1, "viaduct-worker");
        if (!access(path, X_OK))
            return;
    }
    snprintf(path, room, "%s", VIADUCT_LIBEXECDIR "/viaduct-worker");
}

static void nursery_exec(const struct service_options *o, int fd)
{
    char path[4096], threads[16], contexts[16], surfaces[16], bytes[32], format[16], pixels[32];
    char cuda_bytes[32], cuda_seconds[16];
    sigset_t none;

    worker_path(path, sizeof(path));
    snprintf(threads, sizeof(threads), "%d", o->threads);
    snprintf(contexts, sizeof(contexts), "%u", o->max_contexts);
    snprintf(surfaces, sizeof(surfaces), "%u", o->max_surfaces);
    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)o->max_bytes);
    snprintf(format, sizeof(format), "%u", o->surface_format);
    snprintf(pixels, sizeof(pixels), "%llu", (unsigned long long)o->max_pixels);
    snprintf(cuda_bytes, sizeof(cuda_bytes), "%llu", (unsigned long long)o->max_cuda_bytes);
    snprintf(cuda_seconds, sizeof(cuda_seconds), "%u", o->max_cuda_seconds);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* Everything else is close-on-exec; dup2 clears that, but not onto itself. */
    if (fd == IPC_FD)
        fd = dup(fd);
    if (fd < 0 || dup2(fd, IPC_FD) < 0)
        _exit(127);
    execl(path, "viaduct-worker", o->backend, threads, contexts, surfaces, bytes, format, pixels,
          o->tls_certificate, o->tls_key, o->tls_authority, o->tls_secret, o->cuda, cuda_bytes,
          cuda_seconds, (char *)NULL);
    log_error("cannot run %s: %s", path, strerror(errno));
    _exit(127);
}

static int start_nursery(struct service *s)
{
    struct ipc_event event;
    struct pollfd p;
    int pair[2], err;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return VD_ERR_IO;
    s->nursery = fork();
    if (!s->nursery)
        nursery_exec(s->options, pair[1]);
    close(pair[1]);
    s->nursery_fd = pair[0];
    if (s->nursery < 0)
        return VD_ERR_MEMORY;
    p = (struct pollfd){.fd = pair[0], .events = POLLIN};
    while (poll(&p, 1, SERVICE_START_MS) < 0 && errno == EINTR)
        ;
    err = ipc_recv(s->nursery_fd, &event, sizeof(event), NULL, 0);
    event.text[sizeof(event.text) - 1] = 0;
    if (err || event.kind != IPC_READY) {
        log_error("no host back end: %s", err ? "the worker program did not start" : event.text);
        return VD_ERR_UNSUPPORTED;
    }
    snprintf(s->clients.totals.backend, sizeof(s->clients.totals.backend), "%.*s",
             VD_NAME_BYTES - 1, event.text);
    return 0;
}

static bool in_group(pid_t pid, gid_t primary, gid_t wanted)
{
    char path[64], line[4096];
    bool found = primary == wanted;
    FILE *file;

    /* SO_PEERCRED has the primary group only; the others stand in /proc. */
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = found ? NULL : fopen(path, "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        char *at = line + 7;

        if (strncmp(line, "Groups:", 7))
            continue;
        for (;;) {
            char *end;
            unsigned long gid = strtoul(at, &end, 10);

            if (end == at)
                break;
            found = found || gid == wanted;
            at = end;
        }
    }
    if (file)
        fclose(file);
    return found;
}

static bool allowed(const struct service *s, int fd, struct ucred *ret_peer)
{
    const struct service_options *o = s->options;
    socklen_t size = sizeof(*ret_peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &size) < 0)
        return false;
    if (o->allow_any || ret_peer->uid == geteuid() || ret_peer->uid == 0)
        return true;
    for (int i = 0; i < o->allow_uids; i++) {
        if (o->allow_uid[i] == ret_peer->uid)
            return true;
    }
    for (int i = 0; i < o->allow_gids; i++) {
        if (in_group(ret_peer->pid, ret_peer->gid, o->allow_gid[i]))
            return true;
    }
    return false;
}

/* Tells a client why it is not served: an answer to the HELLO it is about to send. */
static void refuse(struct service *s, enum listen_kind kind, int fd, int reason)
{
    struct vd_hello_rep rep = {.status = (uint32_t)-reason, .major = VD_MAJOR};
    struct channel *channel;

    s->clients.totals.clients_refused++;
    /* With TLS that would be a handshake: a client could keep this process waiting. */
    if (kind == LISTEN_TLS || listen_channel(kind, fd, &channel)) {
        close(fd);
        return;
    }
    message_send(channel, VD_OP_hello | VD_REPLY, 1, &rep, sizeof(rep), NULL, 0, 0, -1, 0);
    channel_destroy(&channel);
}

/* Hands a client on to the nursery. */
static void serve(struct service *s, enum listen_kind kind, int fd, const struct listen_peer *peer)
{
    struct ipc_client request = {.kind = kind};
    int fds[2] = {fd, -1}, err;

    if (s->clients.count >= s->options->max_clients || s->nursery_fd < 0) {
        log_warn("refused %s: %u clients are served already (--max-clients)", peer->text,
                 s->clients.count);
        err = VD_ERR_BUSY;
    } else {
        err = clients_add(&s->clients, peer->uid, peer->pid, &request.slot, &fds[1]);
    }
    if (err) {
        refuse(s, kind, fd, err);
        return;
    }
    if (ipc_send(s->nursery_fd, &request, sizeof(request), fds, 2))
        clients_remove(&s->clients, request.slot, false);
    close(fds[0]);
    close(fds[1]);
}

static void accept_client(struct service *s)
{
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    struct listen_peer peer;
    struct ucred user;

    if (fd < 0)
        return;
    if (!allowed(s, fd, &user)) {
        log_warn("refused a client of user %u; allow it with --allow-uid", user.uid);
        refuse(s, LISTEN_UNIX, fd, VD_ERR_DENIED);
        return;
    }
    peer = (struct listen_peer){.uid = user.uid, .pid = user.pid};
    snprintf(peer.text, sizeof(peer.text), "process %d", (int)user.pid);
    serve(s, LISTEN_UNIX, fd, &peer);
}

/* Who can reach these, and proves who it is where that is asked for, is served. */
static void accept_further(struct service *s, const struct listener *listener)
{
    struct listen_peer peer;
    int fd = listen_accept(listener, &peer);
    struct ucred user;

    if (fd < 0)
        return;
    /* A relay is a program of this machine. */
    if (listener->kind == LISTEN_VM && !allowed(s, fd, &user)) {
        log_warn("refused %s: its relay is a program of user %u; allow it with --allow-uid",
                 peer.text, user.uid);
        refuse(s, listener->kind, fd, VD_ERR_DENIED);
        return;
    }
    log_info("a client on %s: %s", listener->uri, peer.text);
    serve(s, listener->kind, fd, &peer);
}

static void accept_stats(struct service *s)
{
    int fd = accept4(s->stats_fd, NULL, NULL, SOCK_CLOEXEC);
    struct ucred peer;

    if (fd < 0)
        return;
    if (allowed(s, fd, &peer))
        clients_report(&s->clients, fd);
    close(fd);
}

/* All workers died with it; a new one serves new clients. */
static void nursery_died(struct service *s)
{
    close(s->nursery_fd);
    s->nursery_fd = -1;
    waitpid(s->nursery, NULL, 0);
    for (uint32_t i = 0; i < VD_MAX_STATS_CLIENTS; i++)
        clients_remove(&s->clients, i, true);
    if (++s->restarts > SERVICE_MAX_RESTARTS || start_nursery(s)) {
        log_error("the worker program ended and cannot be started again");
        s->stop = true;
    }
}

static void nursery_event(struct service *s)
{
    struct ipc_event event;
    int err = ipc_recv(s->nursery_fd, &event, sizeof(event), NULL, 0);

    if (err == VD_ERR_GONE) {
        nursery_died(s);
        return;
    }
    if (err || event.slot >= VD_MAX_STATS_CLIENTS)
        return;
    if (event.kind == IPC_STARTED)
        s->clients.slot[event.slot].worker = event.pid;
    if (event.kind == IPC_ENDED) {
        clients_remove(&s->clients, event.slot, WIFSIGNALED(event.status));
        if (s->options->once && !s->clients.count)
            s->stop = true;
    }
}

static void service_loop(struct service *s)
{
    while (!s->stop) {
        struct pollfd p[5 + SERVICE_MAX_LISTEN + 1] = {
            {.fd = s->listen_fd, .events = POLLIN},    {.fd = s->stats_fd, .events = POLLIN},
            {.fd = s->signal_fd, .events = POLLIN},    {.fd = s->nursery_fd, .events = POLLIN},
            {.fd = s->options->lifeline, .events = 0},
        };

        for (int i = 0; i < s->further_count; i++)
            p[5 + i] = (struct pollfd){.fd = s->further[i].fd, .events = POLLIN};
        if (poll(p, 5 + (nfds_t)s->further_count, -1) < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (p[3].revents)
            nursery_event(s);
        if (p[0].revents)
            accept_client(s);
        for (int i = 0; i < s->further_count; i++) {
            if (p[5 + i].revents)
                accept_further(s, &s->further[i]);
        }
        if (p[1].revents)
            accept_stats(s);
        if (p[2].revents || p[4].revents)
            s->stop = true;
    }
}

static void service_finish(struct service *s)
{
    if (s->nursery_fd >= 0)
        close(s->nursery_fd);
    if (s->nursery > 0)
        waitpid(s->nursery, NULL, 0);
    for (int i = 0; i < s->further_count; i++)
        listen_close(&s->further[i]);
    if (s->own_socket && s->listen_fd >= 0)
        unlink(s->options->socket);
    if (s->own_socket && s->stats_fd >= 0)
        unlink(s->stats_path);
}

int service_run(const struct service_options *options)
{
    static struct service s;
    sigset_t set;
    int code = 1;

    s = (struct service){.options = options, .listen_fd = -1, .stats_fd = -1, .nursery_fd = -1};
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    /* Sockets first: systemd's are close-on-exec from then on. Early clients wait in the queue. */
    if (s.signal_fd < 0 || open_sockets(&s) || start_nursery(&s))
        goto out;
    log_info("serving on %s, back end %s", s.own_socket ? options->socket : "systemd's socket",
             s.clients.totals.backend);
#if HAVE_SYSTEMD
    sd_notifyf(0, "READY=1\nSTATUS=back end %s", s.clients.totals.backend);
#endif
    service_loop(&s);
    code = 0;
out:
    service_finish(&s);
    return code;
}
