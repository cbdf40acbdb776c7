/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <transport/vm.h>
#include <wire/log.h>

#include "config.h"
#include "front.h"
#include "relay.h"

static const char usage_text[] =
    "usage: viaduct-serial --socket PATH --name NAME [options]\n"
    "The host's end of a virtio-serial port of one virtual machine, for viaductd's driver in it.\n"
    "\n"
    "  --socket PATH   where QEMU connects to (-chardev socket,path=PATH,reconnect=1)\n"
    "  --name NAME     of the machine, for logs\n"
    "  --service PATH  viaductd's socket for relays (default: /run/viaduct/vm.sock)\n"
    "  --group GROUP   its members may connect to --socket, too: QEMU's\n"
    "  --once          end when QEMU leaves\n"
    "  --help, --version\n";

enum { OPT_SOCKET = 256, OPT_NAME, OPT_SERVICE, OPT_GROUP, OPT_ONCE, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"name", required_argument, NULL, OPT_NAME},
    {"service", required_argument, NULL, OPT_SERVICE},
    {"group", required_argument, NULL, OPT_GROUP},
    {"once", no_argument, NULL, OPT_ONCE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static void parse(int argc, char **argv, struct front *front, struct relay_options *options)
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case OPT_SOCKET:
            front->socket = optarg;
            break;
        case OPT_NAME:
            if (!vm_name_is_valid(optarg))
                front_refuse("name", optarg,
                             "give letters, digits, \"-\", \"_\", \".\", 47 at most");
            options->name = front->name = optarg;
            break;
        case OPT_SERVICE:
            options->service = optarg;
            break;
        case OPT_GROUP:
            front->group = optarg;
            break;
        case OPT_ONCE:
            front->once = true;
            break;
        case OPT_VERSION:
            printf("viaduct-serial %s\n", VIADUCT_VERSION);
            exit(0);
        case OPT_HELP:
            fputs(usage_text, stdout);
            exit(0);
        default:
            fputs(usage_text, stderr);
            exit(2);
        }
    }
    if (optind < argc || !front->socket || !front->name) {
        fputs(usage_text, stderr);
        exit(2);
    }
}

static int create(int fd, const void *options, void **ret_relay)
{
    struct relay *made = NULL;
    int err = relay_create(fd, options, &made);

    *ret_relay = made;
    return err;
}

static void destroy(void **relay)
{
    struct relay *made = *relay;

    relay_destroy(&made);
    *relay = NULL;
}

static unsigned wait_for(void *relay, struct pollfd *polls, int *ret_timeout_ms)
{
    (void)ret_timeout_ms;
    relay_poll(relay, polls);
    return RELAY_POLL;
}

static int handle(void *relay, const struct pollfd *polls, unsigned count)
{
    (void)count;
    return relay_handle(relay, polls);
}

int main(int argc, char **argv)
{
    struct relay_options options = {.service = "/run/viaduct/vm.sock"};
    struct front front = {
        .descriptors = 32,
        .polls = RELAY_POLL,
        .options = &options,
        .create = create,
        .destroy = destroy,
        .poll = wait_for,
        .handle = handle,
    };

    log_set_name("viaduct-serial");
    parse(argc, argv, &front, &options);
    return front_run(&front);
}
