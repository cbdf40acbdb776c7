/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "config.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"exec", exec_run, "run a command with Viaduct's driver"},
    {"info", info_run, "what the host service is and can do"},
    {"doctor", doctor_run, "find out why something does not decode"},
    {"top", top_run, "what it does for whom right now"},
    {"bench", bench_run, "what the way to the host costs a picture"},
    {"npu", npu_command_run, "inference: devices, models, what a run costs"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_usage(FILE *file)
{
    fputs("usage: viaduct COMMAND [options]\n"
          "Video acceleration for programs on machines that have none.\n\n",
          file);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(file, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`viaduct COMMAND --help` tells more; `viaduct --version` the version.\n", file);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    for (size_t i = 0; i < COMMANDS; i++) {
        if (!strcmp(name, commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    }
    if (!strcmp(name, "--version") || !strcmp(name, "version")) {
        printf("viaduct %s\n", VIADUCT_VERSION);
        return CLI_OK;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "help")) {
        print_usage(stdout);
        return CLI_OK;
    }
    if (*name)
        fprintf(stderr, "viaduct: %s: no such command\n", name);
    print_usage(stderr);
    return CLI_USAGE;
}
