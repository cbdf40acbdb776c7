/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cli.h"

int npu_command_run(int argc, char **argv)
{
    (void)argc, (void)argv;
    fprintf(stderr, "viaduct npu: this build has no inference (-Dnpu=disabled)\n");
    return CLI_FAIL;
}
