/* SPDX-License-Identifier: MIT */
#include "listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <transport/tcp.h>
#include <transport/tls.h>
#include <transport/unix.h>
#include <transport/vm.h>
#include <transport/vsock.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

static int listen_tcp(const char *address, mode_t mode, int *ret_fd)
{
    (void)mode;
    return tcp_listen(address, true, ret_fd);
}

static int listen_tls(const char *address, mode_t mode, int *ret_fd)
{
    (void)mode;
    return tcp_listen(address, false, ret_fd);
}

static int listen_vsock(const char *address, mode_t mode, int *ret_fd)
{
    (void)mode;
    return vsock_listen(address, ret_fd);
}

static void listen_peer_tcp(int fd, struct listen_peer *peer)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    char host[48] = "?", port[8] = "";

    tcp_tune(fd);
    if (!getpeername(fd, (struct sockaddr *)&address, &size)) {
        getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV);
        peer->has_address = address.ss_family == AF_INET || address.ss_family == AF_INET6;
        if (address.ss_family == AF_INET) {
            memset(peer->address + 10, 0xff, 2);
            memcpy(peer->address + 12, &((struct sockaddr_in *)&address)->sin_addr, 4);
        } else if (address.ss_family == AF_INET6) {
            memcpy(peer->address, &((struct sockaddr_in6 *)&address)->sin6_addr, 16);
        }
    }
    snprintf(peer->text, sizeof(peer->text), "%s port %s", host, port);
}

static void listen_peer_vsock(int fd, struct listen_peer *peer)
{
    peer->cid = vsock_peer(fd);
    snprintf(peer->text, sizeof(peer->text), "virtual machine %u", peer->cid);
}

static void listen_peer_unix(int fd, struct listen_peer *peer)
{
    struct ucred user;
    socklen_t size = sizeof(user);

    if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &size)) {
        peer->uid = user.uid;
        peer->gid = user.gid;
        peer->pid = user.pid;
    }
    snprintf(peer->text, sizeof(peer->text), "process %d of user %u", (int)peer->pid, peer->uid);
}

static void listen_peer_vm(int fd, struct listen_peer *peer)
{
    listen_peer_unix(fd, peer);
    if (vm_peer(fd, peer->vm))
        snprintf(peer->text, sizeof(peer->text), "virtual machine %s", peer->vm);
    else
        snprintf(peer->text, sizeof(peer->text), "a machine without name, process %d",
                 (int)peer->pid);
}

static const struct {
    const char *scheme;
    int (*open)(const char *address, mode_t mode, int *ret_fd);
    void (*peer)(int fd, struct listen_peer *peer);
    int (*channel)(int fd, struct channel **ret_channel);
} listen_kinds[LISTEN_KINDS] = {
    [LISTEN_UNIX] = {"unix", NULL, listen_peer_unix, unix_create},
    [LISTEN_TCP] = {"tcp", listen_tcp, listen_peer_tcp, tcp_create},
    [LISTEN_VSOCK] = {"vsock", listen_vsock, listen_peer_vsock, vsock_create},
    [LISTEN_TLS] = {"tls", listen_tls, listen_peer_tcp, tls_accept},
    [LISTEN_VM] = {"vm", unix_listen, listen_peer_vm, vm_create},
};

static const char *listen_why(enum listen_kind kind, int err)
{
    if (kind == LISTEN_TCP && err == VD_ERR_DENIED)
        return "without encryption only addresses of this machine (127.0.0.1, [::1]) are allowed; "
               "for others use tls:";
    if (kind == LISTEN_VSOCK && err == VD_ERR_UNSUPPORTED)
        return "this kernel has no vsock; load the module vhost_vsock";
    if (kind == LISTEN_VM && err == VD_ERR_BUSY)
        return "another viaductd serves there already";
    if (kind == LISTEN_VM && err == VD_ERR_PARAMETER)
        return "the path is too long";
    if (err == VD_ERR_PARAMETER)
        return kind == LISTEN_VSOCK ? "write vsock:any:PORT" : "write it as ADDRESS:PORT";
    return err == VD_ERR_IO ? strerror(errno) : errors_text(err);
}

const char *listen_scheme(enum listen_kind kind)
{
    return listen_kinds[kind].scheme;
}

int listen_open(const char *uri, mode_t mode, struct listener *ret_listener)
{
    for (enum listen_kind kind = 0; kind < LISTEN_KINDS; kind++) {
        size_t n = strlen(listen_kinds[kind].scheme);
        int fd, err;

        if (!listen_kinds[kind].open || strncmp(uri, listen_kinds[kind].scheme, n) || uri[n] != ':')
            continue;
        err = kind == LISTEN_TLS ? tls_ready() : 0;
        if (!err)
            err = listen_kinds[kind].open(uri + n + 1, mode, &fd);
        if (err) {
            log_error("cannot listen on %s: %s", uri, listen_why(kind, err));
            return err;
        }
        *ret_listener = (struct listener){.fd = fd, .kind = kind, .uri = uri};
        if (kind == LISTEN_VM)
            ret_listener->path = uri + n + 1;
        return 0;
    }
    log_error("cannot listen on %s: it starts with none of tcp:, tls:, vsock:, vm:", uri);
    return VD_ERR_PARAMETER;
}

void listen_close(struct listener *listener)
{
    if (listener->fd >= 0) {
        close(listener->fd);
        if (listener->path)
            unlink(listener->path);
    }
    listener->fd = -1;
}

int listen_accept(const struct listener *listener, struct listen_peer *ret_peer)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

    *ret_peer = (struct listen_peer){.uid = (uid_t)-1, .gid = (gid_t)-1};
    if (fd >= 0 && listen_kinds[listener->kind].peer)
        listen_kinds[listener->kind].peer(fd, ret_peer);
    return fd;
}

int listen_channel(enum listen_kind kind, int fd, struct channel **ret_channel)
{
    return kind < LISTEN_KINDS ? listen_kinds[kind].channel(fd, ret_channel) : VD_ERR_PARAMETER;
}
