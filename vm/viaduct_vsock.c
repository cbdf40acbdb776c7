/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <wire/log.h>

#include "bridge.h"
#include "front.h"

#define DEFAULT_PORT 7474
#define DEFAULT_PATH "/run/viaduct/vm.sock"

static const char usage_text[] =
    "usage: viaduct-vsock --cid N --socket PATH [options]\n"
    "A vsock device for one virtual machine: its connections to the host reach Unix sockets.\n"
    "\n"
    "  --cid N              the machine's number, 3 or more\n"
    "  --socket PATH        where QEMU connects to (vhost-user)\n"
    "  --port PORT=vm:PATH  what is behind a port of the host, as the guest sees it: viaductd\n"
    "  --port PORT=unix:PATH   or any service (both repeatable; default: 7474=vm:" DEFAULT_PATH
    ")\n"
    "  --name NAME          of the machine, for logs (default: its number)\n"
    "  --group GROUP        its members may connect to --socket, too: QEMU's\n"
    "  --max-connections N  of the machine at a time (default 64, 256 at most)\n"
    "  --once               end when QEMU leaves\n"
    "  --help, --version\n";

enum { OPT_CID = 256, OPT_PORT, OPT_MAX };

static const struct option long_options[] = {
    {"cid", required_argument, NULL, OPT_CID},
    {"port", required_argument, NULL, OPT_PORT},
    {"max-connections", required_argument, NULL, OPT_MAX},
    FRONT_OPTIONS,
};

/* "PORT=vm:PATH", "PORT=unix:PATH". */
static void add_port(struct bridge_options *o, char *text)
{
    char *equal = strchr(text, '=');
    struct bridge_port *p = &o->port[o->ports];

    if (!equal)
        front_refuse("port", text, "write PORT=vm:PATH or PORT=unix:PATH");
    if (o->ports == BRIDGE_MAX_PORTS)
        front_refuse("port", text, "these are too many");
    *equal = 0;
    p->port = front_number("port", text, 1, UINT32_MAX - 1);
    p->named = !strncmp(equal + 1, "vm:/", 4);
    if (!p->named && strncmp(equal + 1, "unix:/", 6))
        front_refuse("port", equal + 1, "write vm:PATH or unix:PATH, from the root on");
    p->path = strchr(equal + 1, ':') + 1;
    for (unsigned i = 0; i < o->ports; i++) {
        if (o->port[i].port == p->port)
            front_refuse("port", text, "this port is there already");
    }
    o->ports++;
}

/* `number`: room for the name of a machine that is given none. */
static void parse(int argc, char **argv, struct front *front, struct bridge_options *bridge,
                  char number[24])
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case OPT_CID:
            bridge->cid = front_number("cid", optarg, 3, UINT32_MAX - 1);
            break;
        case OPT_PORT:
            add_port(bridge, optarg);
            break;
        case OPT_MAX:
            bridge->max_connections =
                front_number("max-connections", optarg, 1, BRIDGE_MAX_CONNECTIONS);
            break;
        default:
            front_option(front, c, usage_text);
            break;
        }
    }
    if (optind < argc || !bridge->cid || !front->socket)
        front_usage(usage_text);
    if (!front->name) {
        snprintf(number, 24, "%llu", (unsigned long long)bridge->cid);
        front->name = number;
    }
    bridge->name = front->name;
    if (!bridge->ports)
        bridge->port[bridge->ports++] = (struct bridge_port){DEFAULT_PORT, true, DEFAULT_PATH};
}

static int create(int fd, const void *options, void **ret_relay)
{
    struct bridge *made = NULL;
    int err = bridge_create(fd, options, &made);

    *ret_relay = made;
    return err;
}

static void destroy(void **relay)
{
    struct bridge *made = *relay;

    bridge_destroy(&made);
    *relay = NULL;
}

static unsigned wait_for(void *relay, struct pollfd *polls, int *ret_timeout_ms)
{
    bool busy;
    unsigned n = bridge_poll(relay, polls, &busy);

    if (busy)
        *ret_timeout_ms = 0;
    return n;
}

static int handle(void *relay, const struct pollfd *polls, unsigned count)
{
    return bridge_handle(relay, polls, count);
}

int main(int argc, char **argv)
{
    struct bridge_options options = {.max_connections = 64};
    struct front front = {
        .polls = BRIDGE_POLL,
        .options = &options,
        .create = create,
        .destroy = destroy,
        .poll = wait_for,
        .handle = handle,
    };
    char number[24];

    log_set_name("viaduct-vsock");
    parse(argc, argv, &front, &options, number);
    /* A connection has one; a machine's memory and queues need some. */
    front.descriptors = options.max_connections + 64;
    return front_run(&front);
}
