/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <wire/log.h>

#include "options.h"

static void default_socket(char *path, size_t room)
{
    const char *run = getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0 || !run || !*run) {
        snprintf(path, room, SERVICE_RUN_DIR "/viaduct.sock");
    } else {
        snprintf(path, room, "%s/viaduct.sock", run);
    }
}

int main(int argc, char **argv)
{
    struct service_options options = {
        .backend = "",
        .tls_certificate = "",
        .tls_key = "",
        .tls_authority = "",
        .tls_secret = "",
        .max_clients = VD_DEFAULT_CLIENTS,
        .max_contexts = VD_DEFAULT_CONTEXTS,
        .max_surfaces = VD_DEFAULT_SURFACES,
        .max_bytes = VD_DEFAULT_BYTES,
        .cuda = "",
        .max_cuda_bytes = VD_DEFAULT_CUDA_BYTES,
        .max_cuda_seconds = VD_DEFAULT_CUDA_SECONDS,
        .max_run_seconds = VD_DEFAULT_RUN_SECONDS,
        .lifeline = -1,
    };
    char path[256];

    log_set_name("viaductd");
    options_parse(argc, argv, &options);
    if (!options.socket) {
        default_socket(path, sizeof(path));
        options.socket = path;
    }
    return service_run(&options);
}
