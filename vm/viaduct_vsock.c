/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <transport/vm.h>
#include <wire/log.h>

#include "bridge.h"
#include "config.h"
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

enum {
    OPT_CID = 256,
    OPT_SOCKET,
    OPT_PORT,
    OPT_NAME,
    OPT_GROUP,
    OPT_MAX,
    OPT_ONCE,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"cid", required_argument, NULL, OPT_CID},
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"port", required_argument, NULL, OPT_PORT},
    {"name", required_argument, NULL, OPT_NAME},
    {"group", required_argument, NULL, OPT_GROUP},
    {"max-connections", required_argument, NULL, OPT_MAX},
    {"once", no_argument, NULL, OPT_ONCE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

struct settings {
    struct bridge_options bridge;
    const char *socket, *group;
    bool once;
    char number[24];
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

static void parse(int argc, char **argv, struct settings *s)
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case OPT_CID:
            s->bridge.cid = front_number("cid", optarg, 3, UINT32_MAX - 1);
            break;
        case OPT_SOCKET:
            s->socket = optarg;
            break;
        case OPT_PORT:
            add_port(&s->bridge, optarg);
            break;
        case OPT_NAME:
            if (!vm_name_is_valid(optarg))
                front_refuse("name", optarg,
                             "give letters, digits, \"-\", \"_\", \".\", 47 at most");
            s->bridge.name = optarg;
            break;
        case OPT_GROUP:
            s->group = optarg;
            break;
        case OPT_MAX:
            s->bridge.max_connections =
                front_number("max-connections", optarg, 1, BRIDGE_MAX_CONNECTIONS);
            break;
        case OPT_ONCE:
            s->once = true;
            break;
        case OPT_VERSION:
            printf("viaduct-vsock %s\n", VIADUCT_VERSION);
            exit(0);
        case OPT_HELP:
            fputs(usage_text, stdout);
            exit(0);
        default:
            fputs(usage_text, stderr);
            exit(2);
        }
    }
    if (optind < argc || !s->bridge.cid || !s->socket) {
        fputs(usage_text, stderr);
        exit(2);
    }
    if (!s->bridge.name) {
        snprintf(s->number, sizeof(s->number), "%llu", (unsigned long long)s->bridge.cid);
        s->bridge.name = s->number;
    }
    if (!s->bridge.ports)
        s->bridge.port[s->bridge.ports++] = (struct bridge_port){DEFAULT_PORT, true, DEFAULT_PATH};
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
    struct settings settings = {.bridge.max_connections = 64};
    struct front front = {
        .polls = BRIDGE_POLL,
        .options = &settings.bridge,
        .create = create,
        .destroy = destroy,
        .poll = wait_for,
        .handle = handle,
    };

    log_set_name("viaduct-vsock");
    parse(argc, argv, &settings);
    front.name = settings.bridge.name;
    front.socket = settings.socket;
    front.group = settings.group;
    front.once = settings.once;
    /* A connection has one; a machine's memory and queues need some. */
    front.descriptors = settings.bridge.max_connections + 64;
    return front_run(&front);
}
