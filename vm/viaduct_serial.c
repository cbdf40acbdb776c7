/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <wire/log.h>

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

enum { OPT_SERVICE = 256 };

static const struct option long_options[] = {
    {"service", required_argument, NULL, OPT_SERVICE},
    FRONT_OPTIONS,
};

static void parse(int argc, char **argv, struct front *front, struct relay_options *options)
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (c == OPT_SERVICE)
            options->service = optarg;
        else
            front_option(front, c, usage_text);
    }
    if (optind < argc || !front->socket || !front->name)
        front_usage(usage_text);
    options->name = front->name;
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
