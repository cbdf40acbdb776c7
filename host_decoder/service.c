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
#include <time.h>
#include <transport/message.h>
#include <transport/unix.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <viaduct/protocol.h>
#include <wire/log.h>

#include "config.h"
#include "doors.h"
#include "ipc.h"
#include "listen.h"
#include "region.h"

#if HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

/* Time a nursery has for loading its codecs, and for each further list of engines. */
#define SERVICE_START_MS 30000
/* A nursery that dies this often has a reason that another try does not cure. */
#define SERVICE_MAX_RESTARTS 16

/* Where doors stand among what is waited for: behind 5 of its own, and the listeners. */
#define SERVICE_DOORS (5 + SERVICE_MAX_LISTEN + 1)

struct service {
    const struct service_options *options;
    struct clients clients;
    struct doors doors;
    struct listener further[SERVICE_MAX_LISTEN + 1]; /* --listen's, then systemd's */
    int further_count;
    int listen_fd, stats_fd, signal_fd, nursery_fd;
    pid_t nursery;
    int restarts;
    bool own_socket; /* made here, not by systemd */
    bool stop;
    char stats_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
};

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

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

/* What clients cannot prove here; NULL: they can. */
static const char *cannot_prove(const struct service *s, enum policy_what what)
{
    bool has_tls = false, has_secret = *s->options->tls_secret;

    for (int i = 0; i < s->further_count; i++)
        has_tls = has_tls || s->further[i].kind == LISTEN_TLS;
    if (what == POLICY_CERTIFICATE && (!has_tls || has_secret))
        return "from = certificate: nobody comes by TLS with one; see listen =, tls-certificate =";
    if (what == POLICY_SECRET && (!has_tls || !has_secret))
        return "from = secret: nobody comes by TLS with one; see listen =, tls-secret =";
    return NULL;
}

/* A rule for a place where nobody can come in is a mistake that would not be noticed. */
static int check_rules(const struct service *s)
{
    const struct policy *policy = &s->options->policy;

    for (int i = 0; i < policy->count; i++) {
        for (int j = 0; j < policy->rule[i].from_count; j++) {
            const char *wrong = cannot_prove(s, policy->rule[i].from[j].what);

            if (wrong) {
                log_error("[client %s]: %s", policy->rule[i].name, wrong);
                return VD_ERR_PARAMETER;
            }
        }
        for (int j = 0; j < policy->rule[i].on_count; j++) {
            const char *on = policy->rule[i].on[j];
            bool found = !strcmp(on, "unix");

            for (int k = 0; k < s->further_count; k++)
                found = found || !strcmp(on, s->further[k].uri) ||
                        !strcmp(on, listen_scheme(s->further[k].kind));
            if (!found) {
                log_error("[client %s]: on = %s: nothing listens there; see listen =",
                          policy->rule[i].name, on);
                return VD_ERR_PARAMETER;
            }
        }
    }
    return 0;
}

static int open_sockets(struct service *s)
{
    bool further = s->options->allow_any || s->options->allow_uids || s->options->allow_gids;
    mode_t mode;
    int n = 0;

    for (int i = 0; i < s->options->policy.count; i++)
        further = further || s->options->policy.rule[i].serve == POLICY_YES;
    /* With further users allowed the policy decides, not the mode. */
    mode = further ? 0666 : 0600;

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
    /* The last of all: who waits for it finds the others. */
    if (s->stats_fd < 0 && s->own_socket) {
        snprintf(s->stats_path, sizeof(s->stats_path), "%s.stats", s->options->socket);
        s->stats_fd = listen_on(s->stats_path, mode);
        if (s->stats_fd < 0)
            return VD_ERR_IO;
    }
    umask(077);
    return check_rules(s);
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
    char path[4096], threads[16], format[16], cuda_bytes[32], cuda_seconds[16];
    const char *args[IPC_ARGUMENTS + POLICY_MAX_BACKENDS + 1] = {
        "viaduct-worker", o->backend,    threads, format,     o->tls_certificate, o->tls_key,
        o->tls_authority, o->tls_secret, o->cuda, cuda_bytes, cuda_seconds,
    };
    char cache_bytes[32];
    sigset_t none;

    worker_path(path, sizeof(path));
    snprintf(threads, sizeof(threads), "%d", o->threads);
    snprintf(format, sizeof(format), "%u", o->surface_format);
    snprintf(cuda_bytes, sizeof(cuda_bytes), "%llu", (unsigned long long)o->max_cuda_bytes);
    snprintf(cuda_seconds, sizeof(cuda_seconds), "%u", o->max_cuda_seconds);
    /* As the other settings of inference: VIADUCT_ORT and its kind. */
    snprintf(cache_bytes, sizeof(cache_bytes), "%llu", (unsigned long long)o->npu_cache_bytes);
    if (o->npu_cache)
        setenv("VIADUCT_NPU_CACHE", o->npu_cache, 1);
    if (o->npu_cache_bytes)
        setenv("VIADUCT_NPU_CACHE_BYTES", cache_bytes, 1);
    policy_backends(&o->policy, args + IPC_ARGUMENTS, POLICY_MAX_BACKENDS);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* Everything else is close-on-exec; dup2 clears that, but not onto itself. */
    if (fd == IPC_FD)
        fd = dup(fd);
    if (fd < 0 || dup2(fd, IPC_FD) < 0)
        _exit(127);
    execv(path, (char *const *)args);
    log_error("cannot run %s: %s", path, strerror(errno));
    _exit(127);
}

static int start_nursery(struct service *s)
{
    const char *backends[POLICY_MAX_BACKENDS];
    int further = policy_backends(&s->options->policy, backends, POLICY_MAX_BACKENDS);
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
    while (poll(&p, 1, SERVICE_START_MS * (1 + further)) < 0 && errno == EINTR)
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

static bool allowed(const struct service *s, const struct listen_peer *peer)
{
    const struct service_options *o = s->options;

    if (peer->uid == (uid_t)-1)
        return false;
    if (o->allow_any || peer->uid == geteuid() || peer->uid == 0)
        return true;
    for (int i = 0; i < o->allow_uids; i++) {
        if (o->allow_uid[i] == peer->uid)
            return true;
    }
    for (int i = 0; i < o->allow_gids; i++) {
        if (policy_in_group(peer->pid, peer->gid, o->allow_gid[i]))
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
    /* A handshake of TLS is a porter's: a client could keep this process waiting. */
    if (kind == LISTEN_TLS || listen_channel(kind, fd, &channel)) {
        close(fd);
        return;
    }
    message_send(channel, VD_OP_hello | VD_REPLY, 1, &rep, sizeof(rep), NULL, 0, 0, -1, 0);
    channel_destroy(&channel);
}

/* What the service is for, unless a rule says otherwise. */
static uint64_t or_else(uint64_t own, uint64_t others)
{
    return own ? own : others;
}

static void set_limits(const struct service_options *o, const struct policy_rule *rule,
                       struct ipc_client *request)
{
    static const struct policy_rule none;
    const char *backends[POLICY_MAX_BACKENDS];
    int count = policy_backends(&o->policy, backends, POLICY_MAX_BACKENDS);

    if (!rule)
        rule = &none;
    request->contexts = (uint32_t)or_else(rule->max_contexts, o->max_contexts);
    request->surfaces = (uint32_t)or_else(rule->max_surfaces, o->max_surfaces);
    request->bytes = or_else(rule->max_bytes, o->max_bytes);
    request->pixels = or_else(rule->max_pixels, o->max_pixels);
    request->run_seconds = o->max_run_seconds;
    request->cuda_bytes = rule->no_cuda ? 0 : or_else(rule->max_cuda_bytes, o->max_cuda_bytes);
    for (int i = 0; i < count && rule->backend; i++) {
        if (!strcmp(backends[i], rule->backend))
            request->backends = (uint32_t)i + 1;
    }
}

/* Whether a client is served; says why not on the log. */
static int admit(struct service *s, const struct listener *listener, const struct listen_peer *peer,
                 const struct policy_rule *rule)
{
    const struct service_options *o = s->options;

    if (rule && rule->serve == POLICY_NO) {
        log_warn("refused %s on %s: [client %s] says serve = no", peer->text,
                 listen_scheme(listener->kind), rule->name);
        return VD_ERR_DENIED;
    }
    /*
     * Who can reach the others, and proves who it is where that is asked for, is served. A relay
     * is a program of this machine.
     */
    if ((listener->kind == LISTEN_UNIX || listener->kind == LISTEN_VM) &&
        !(rule && rule->serve == POLICY_YES) && !allowed(s, peer)) {
        log_warn("refused %s: %s user %u; allow it with --allow-uid", peer->text,
                 listener->kind == LISTEN_VM ? "its relay is a program of" : "it is not served,",
                 peer->uid);
        return VD_ERR_DENIED;
    }
    if (rule && rule->max_clients && clients_of(&s->clients, rule) >= rule->max_clients) {
        log_warn("refused %s: [client %s] has %u clients already (max-clients)", peer->text,
                 rule->name, rule->max_clients);
        return VD_ERR_BUSY;
    }
    if (s->clients.count >= o->max_clients || s->nursery_fd < 0) {
        log_warn("refused %s: %u clients are served already (--max-clients)", peer->text,
                 s->clients.count);
        return VD_ERR_BUSY;
    }
    return 0;
}

/*
 * Hands an admitted client on to the nursery. `fd`, which is closed, is its socket, or the plain
 * end behind its door. Or an error code.
 */
static int serve(struct service *s, const struct listener *listener, const struct listen_peer *peer,
                 const struct policy_rule *rule, int fd, uint32_t door)
{
    /* Behind a door it is a stream without shared memory, which a relay's is, too. */
    struct ipc_client request = {.kind = door ? LISTEN_VM : listener->kind, .door = door};
    int fds[IPC_CLIENT_FDS] = {fd, -1}, count = 2;
    int err = clients_add(&s->clients, peer, rule, &request.slot, &fds[1]);

    if (err)
        return err;
    if (listener->kind != LISTEN_UNIX || rule)
        log_info("a client on %s: %s%s%s", listener->uri, peer->text, rule ? ", as [client] " : "",
                 rule ? rule->name : "");
    set_limits(s->options, rule, &request);
    /* Memory in common only a machine has. */
    if (rule && rule->region && listener->kind == LISTEN_VM)
        count += region_open(rule->region, fds + 2, SESSION_MAX_REGIONS);
    if (ipc_send(s->nursery_fd, &request, sizeof(request), fds, count))
        clients_remove(&s->clients, request.slot, false);
    while (count)
        close(fds[--count]);
    return 0;
}

/* Takes a client in. */
static void accept_client(struct service *s, const struct listener *listener)
{
    const struct policy_rule *rule;
    struct listen_peer peer;
    int fd = listen_accept(listener, &peer), err;
    bool asks;

    if (fd < 0)
        return;
    rule = policy_find(&s->options->policy, listener, &peer);
    asks = policy_asks(&s->options->policy, listener, &peer);
    err = asks ? 0 : admit(s, listener, &peer, rule);
    /* Who it is, or that it is refused, is said after a handshake, which is not made here. */
    if (listener->kind == LISTEN_TLS && (asks || err) && s->nursery_fd >= 0) {
        err = door_open(&s->doors, s->nursery_fd, listener, &peer, fd, err, now_ms());
        if (err == VD_ERR_BUSY)
            log_warn("refused %s: its address has %d handshakes that are not over", peer.text,
                     VD_MAX_DOORS_ADDRESS);
        s->clients.totals.clients_refused += !!err;
        close(fd);
        return;
    }
    if (!err)
        err = serve(s, listener, &peer, rule, fd, 0);
    if (err)
        refuse(s, listener->kind, fd, err);
}

/* A client on TLS has proved who it is, or is gone. */
static void door_event(struct service *s, struct door *door)
{
    const struct policy_rule *rule;
    struct listen_peer peer = door->peer;
    struct tls_proof proof;
    int err = door_read(door, &proof);

    if (err == VD_ERR_TIMEOUT)
        return;
    if (err) {
        s->clients.totals.clients_refused += !door->leaving;
        door_leave(door);
        return;
    }
    peer.proof = &proof;
    snprintf(peer.text, sizeof(peer.text), "%.80s (%s %s)", door->peer.text,
             proof.kind == TLS_PROOF_SECRET ? "secret" : "certificate",
             proof.count ? proof.name[0] : "without a name");
    rule = policy_find(&s->options->policy, door->listener, &peer);
    err = door->refusal;
    if (!err)
        err = admit(s, door->listener, &peer, rule);
    if (!err)
        err =
            serve(s, door->listener, &peer, rule, door->plain, (uint32_t)(door - s->doors.at) + 1);
    if (!err) {
        door->plain = -1;
        door_leave(door);
    } else {
        refuse(s, LISTEN_VM, door->plain, err);
        door_refused(door, now_ms());
    }
}

static void doors_events(struct service *s, const struct pollfd *p)
{
    uint64_t now = now_ms();

    for (uint32_t i = 0; i < VD_MAX_DOORS; i++) {
        struct door *door = &s->doors.at[i];

        /* The nursery may have died meanwhile, and taken it along. */
        if (door->used && p[i].fd == door->proof && p[i].revents)
            door_event(s, door);
        if (!door->used || door->until > now)
            continue;
        if (!door->leaving)
            log_warn("refused %s: no handshake within its time", door->peer.text);
        s->clients.totals.clients_refused += !door->leaving;
        door_shut(&s->doors, s->nursery_fd, door);
    }
}

static void accept_stats(struct service *s)
{
    struct listener listener = {.fd = s->stats_fd, .kind = LISTEN_UNIX};
    struct listen_peer peer;
    int fd = listen_accept(&listener, &peer);

    if (fd < 0)
        return;
    if (allowed(s, &peer))
        clients_report(&s->clients, fd);
    close(fd);
}

/* All workers died with it; a new one serves new clients. */
static void nursery_died(struct service *s)
{
    close(s->nursery_fd);
    s->nursery_fd = -1;
    doors_clear(&s->doors);
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
    const struct listener own = {.fd = s->listen_fd, .kind = LISTEN_UNIX, .uri = "unix"};

    while (!s->stop) {
        struct pollfd p[SERVICE_DOORS + VD_MAX_DOORS] = {
            {.fd = s->listen_fd, .events = POLLIN},    {.fd = s->stats_fd, .events = POLLIN},
            {.fd = s->signal_fd, .events = POLLIN},    {.fd = s->nursery_fd, .events = POLLIN},
            {.fd = s->options->lifeline, .events = 0},
        };

        int timeout = doors_poll(&s->doors, p + SERVICE_DOORS, now_ms());

        for (int i = 0; i <= SERVICE_MAX_LISTEN; i++)
            p[5 + i] = (struct pollfd){.fd = i < s->further_count ? s->further[i].fd : -1,
                                       .events = POLLIN};
        if (poll(p, SERVICE_DOORS + VD_MAX_DOORS, timeout) < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (p[3].revents)
            nursery_event(s);
        doors_events(s, p + SERVICE_DOORS);
        if (p[0].revents)
            accept_client(s, &own);
        for (int i = 0; i < s->further_count; i++) {
            if (p[5 + i].revents)
                accept_client(s, &s->further[i]);
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
