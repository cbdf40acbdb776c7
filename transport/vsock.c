/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "stream.h"
#include "vsock.h"

/*
 * vsock between a virtual machine and its host (vsock(7)): virtio-vsock of KVM and of vhost-user
 * devices, hv_sock of Hyper-V and WSL2. "CID:PORT"; CID 2 ("host") is the host.
 */
#define VSOCK_CONNECT_S 10

/* "CID:PORT", "host:PORT", "any:PORT". */
static int vsock_parse(const char *address, struct sockaddr_vm *ret_address)
{
    const char *colon = strchr(address, ':');
    unsigned long cid, port;
    char *end;

    if (!colon)
        return VD_ERR_PARAMETER;
    errno = 0;
    port = strtoul(colon + 1, &end, 10);
    if (errno || end == colon + 1 || *end || port >= VMADDR_PORT_ANY)
        return VD_ERR_PARAMETER;
    if (!strncmp(address, "host:", 5)) {
        cid = VMADDR_CID_HOST;
    } else if (!strncmp(address, "any:", 4)) {
        cid = VMADDR_CID_ANY;
    } else {
        cid = strtoul(address, &end, 10);
        if (errno || end != colon || end == address || cid >= VMADDR_CID_ANY)
            return VD_ERR_PARAMETER;
    }
    *ret_address = (struct sockaddr_vm){
        .svm_family = AF_VSOCK,
        .svm_cid = (unsigned)cid,
        .svm_port = (unsigned)port,
    };
    return 0;
}

int vsock_listen(const char *address, int *ret_fd)
{
    struct sockaddr_vm vm;
    int err = vsock_parse(address, &vm), fd;

    if (err)
        return err;
    fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return VD_ERR_UNSUPPORTED;
    if (bind(fd, (struct sockaddr *)&vm, sizeof(vm)) < 0 || listen(fd, 64) < 0) {
        close(fd);
        return VD_ERR_IO;
    }
    *ret_fd = fd;
    return 0;
}

uint32_t vsock_peer(int fd)
{
    struct sockaddr_vm vm = {.svm_cid = VMADDR_CID_ANY};
    socklen_t size = sizeof(vm);

    getpeername(fd, (struct sockaddr *)&vm, &size);
    return vm.svm_cid;
}

int vsock_create(int fd, struct channel **ret_channel)
{
    return stream_create(fd, &vsock_ops, ret_channel);
}

static int vsock_connect(const char *address, struct channel **ret_channel)
{
    struct timeval limit = {.tv_sec = VSOCK_CONNECT_S};
    struct sockaddr_vm vm;
    int err = vsock_parse(address, &vm), fd;

    if (err)
        return err;
    fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* No such family: no virtual machine, or its kernel's module is not loaded. */
    if (fd < 0)
        return VD_ERR_GONE;
    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit));
    while (connect(fd, (struct sockaddr *)&vm, sizeof(vm)) < 0) {
        if (errno == EINTR)
            continue;
        err = errno == ETIMEDOUT ? VD_ERR_TIMEOUT : VD_ERR_GONE;
        break;
    }
    if (!err)
        err = vsock_create(fd, ret_channel);
    if (err)
        close(fd);
    return err;
}

const struct channel_ops vsock_ops = {
    .scheme = "vsock",
    .send = stream_send,
    .recv = stream_recv,
    .alive = stream_alive,
    .shut = stream_shut,
    .destroy = stream_destroy,
    .connect = vsock_connect,
};
