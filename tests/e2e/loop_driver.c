/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "../unit/virtgpu_loop.h"

/*
 * The guest's driver with a virtual machine around it (virtgpu_loop.h), for programs:
 * viaduct_loop_drv_video.so. VIADUCT_LOOP names the socket that viaductd has for relays.
 */
__attribute__((constructor)) static void loop_driver(void)
{
    struct loop_options options = {
        .socket = getenv("VIADUCT_LOOP"),
        .one_time_line = getenv("VIADUCT_LOOP_OLD") != NULL,
    };

    if (!options.socket || loop_start(&options)) {
        fprintf(stderr, "VIADUCT_LOOP does not name a socket\n");
        abort();
    }
    loop_install();
}
