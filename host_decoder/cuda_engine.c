/* SPDX-License-Identifier: MIT */
#include "cuda_engine.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <viaduct/errors.h>
#include <viaduct/protocol.h>
#include <wire/log.h>

#include "config.h"

#if HAVE_CUDA
#include <compute/cuda/device.h>

/* What it is allowed to take until a client says which kind it is. */
#define FIRST_MESSAGE_MS 10000

static bool executor(const struct cuda_limits *limits, const struct cuda_backend **ret_backend)
{
    struct cuda_properties look;
    unsigned count;

    ptx_set_limits(limits);
    /* What a sandboxed worker could not ask the machine any more. */
    if (cuda_backend_ptx.count(&count) || cuda_backend_ptx.properties(0, &look))
        return false;
    *ret_backend = &cuda_backend_ptx;
    return true;
}

/* `path` may be empty. */
static bool driver(const char *path, const struct cuda_limits *limits,
                   const struct cuda_backend **ret_backend)
{
    char text[128] = "";
    int err;

    native_set_limits(limits);
    native_set_library(path);
    err = native_probe(text, sizeof(text));
    if (err) {
        log_info("cuda: no driver runs kernels here: error %d", err);
        return false;
    }
    log_info("cuda: %s runs CUDA", text);
    *ret_backend = &cuda_backend_native;
    return true;
}

static bool is_driver(const char *name)
{
    return !strncmp(name, "cuda", 4) && (!name[4] || (name[4] == ':' && name[5]));
}

int cuda_engine_select(const char *name, uint64_t bytes, uint32_t seconds,
                       const struct cuda_backend **ret_backend)
{
    struct cuda_limits limits = {.bytes = bytes, .seconds = seconds, .idle = !strcmp(name, "idle")};
    bool any = !*name || !strcmp(name, "auto");

    *ret_backend = NULL;
    if (!strcmp(name, "none"))
        return 0;
    if ((any || is_driver(name)) && driver(!any && name[4] ? name + 5 : "", &limits, ret_backend))
        return 0;
    if (any || limits.idle || !strcmp(name, "ptx")) {
        executor(&limits, ret_backend);
        return 0;
    }
    if (is_driver(name))
        log_error("--cuda %s: no driver there runs kernels; VIADUCT_LOG=debug tells why", name);
    else
        log_error(
            "--cuda %s: there is no such thing; it may be cuda, cuda:PATH, ptx, idle, none, auto",
            name);
    return VD_ERR_UNSUPPORTED;
}

/* Whether the first message asks for CUDA. It is left where it is. */
static bool wants_cuda(int socket)
{
    struct {
        struct vd_header header;
        struct vd_hello_req hello;
    } first;
    struct pollfd p = {.fd = socket, .events = POLLIN};

    return poll(&p, 1, FIRST_MESSAGE_MS) > 0 &&
           recv(socket, &first, sizeof(first), MSG_PEEK | MSG_DONTWAIT) == sizeof(first) &&
           first.header.op == VD_OP_hello && first.hello.features & VD_FEATURE_CUDA;
}

bool cuda_engine_enter(const struct cuda_backend *backend, int socket, bool *ret_devices)
{
    *ret_devices = false;
    if (backend != &cuda_backend_native)
        return backend != NULL;
    if (socket < 0 || !wants_cuda(socket))
        return false;
    if (native_prepare()) {
        log_warn("cuda: the driver does not start any more");
        return false;
    }
    *ret_devices = true;
    return true;
}
#else
int cuda_engine_select(const char *name, uint64_t bytes, uint32_t seconds,
                       const struct cuda_backend **ret_backend)
{
    (void)bytes, (void)seconds;
    *ret_backend = NULL;
    if (!*name || !strcmp(name, "auto") || !strcmp(name, "none"))
        return 0;
    log_error("--cuda %s: this build has no CUDA", name);
    return VD_ERR_UNSUPPORTED;
}

bool cuda_engine_enter(const struct cuda_backend *backend, int socket, bool *ret_devices)
{
    (void)backend, (void)socket;
    *ret_devices = false;
    return false;
}
#endif
