/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <transport/unix.h>
#include <transport/vm.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "bridge.h"
#include "config.h"
#include "confine.h"

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

static void __attribute__((noreturn)) refuse(const char *option, const char *value, const char *why)
{
    fprintf(stderr, "viaduct-vsock: --%s %s: %s\n", option, value, why);
    exit(2);
}

static uint32_t number(const char *option, const char *text, uint32_t least, uint32_t most)
{
    char *end, why[64];
    unsigned long n = strtoul(text, &end, 10);

    if (*text >= '0' && *text <= '9' && !*end && n >= least && n <= most)
        return (uint32_t)n;
    snprintf(why, sizeof(why), "give a number from %u to %u", least, most);
    refuse(option, text, why);
}

/* "PORT=vm:PATH", "PORT=unix:PATH". */
static void add_port(struct bridge_options *o, char *text)
{
    char *equal = strchr(text, '=');
    struct bridge_port *p = &o->port[o->ports];

    if (!equal)
        refuse("port", text, "write PORT=vm:PATH or PORT=unix:PATH");
    if (o->ports == BRIDGE_MAX_PORTS)
        refuse("port", text, "these are too many");
    *equal = 0;
    p->port = number("port", text, 1, UINT32_MAX - 1);
    p->named = !strncmp(equal + 1, "vm:/", 4);
    if (!p->named && strncmp(equal + 1, "unix:/", 6))
        refuse("port", equal + 1, "write vm:PATH or unix:PATH, from the root on");
    p->path = strchr(equal + 1, ':') + 1;
    for (unsigned i = 0; i < o->ports; i++) {
        if (o->port[i].port == p->port)
            refuse("port", text, "this port is there already");
    }
    o->ports++;
}

static void parse(int argc, char **argv, struct settings *s)
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case OPT_CID:
            s->bridge.cid = number("cid", optarg, 3, UINT32_MAX - 1);
            break;
        case OPT_SOCKET:
            s->socket = optarg;
            break;
        case OPT_PORT:
            add_port(&s->bridge, optarg);
            break;
        case OPT_NAME:
            if (!vm_name_is_valid(optarg))
                refuse("name", optarg, "give letters, digits, \"-\", \"_\", \".\", 47 at most");
            s->bridge.name = optarg;
            break;
        case OPT_GROUP:
            s->group = optarg;
            break;
        case OPT_MAX:
            s->bridge.max_connections =
                number("max-connections", optarg, 1, BRIDGE_MAX_CONNECTIONS);
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

static int open_socket(const struct settings *s, int *ret_fd)
{
    int err = unix_listen(s->socket, s->group ? 0660 : 0600, ret_fd);
    struct group *group;

    if (err) {
        log_error("cannot listen on %s: %s", s->socket,
                  err == VD_ERR_BUSY ? "another program serves there already"
                  : err == VD_ERR_IO ? strerror(errno)
                                     : errors_text(err));
        return err;
    }
    if (!s->group)
        return 0;
    group = getgrnam(s->group);
    if (!group || chown(s->socket, (uid_t)-1, group->gr_gid) < 0) {
        log_error("cannot give %s to the group %s: %s", s->socket, s->group,
                  group ? strerror(errno) : "there is no such group");
        close(*ret_fd);
        unlink(s->socket);
        return VD_ERR_PARAMETER;
    }
    return 0;
}

struct loop {
    const struct settings *settings;
    struct bridge *bridge; /* NULL: no machine is there */
    int listen_fd, signal_fd;
};

static void loop_accept(struct loop *l)
{
    const char *name = l->settings->bridge.name;
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    if (l->bridge) {
        log_warn("virtual machine %s is here already: another one is refused", name);
        close(fd);
    } else if (bridge_create(fd, &l->settings->bridge, &l->bridge)) {
        log_error("virtual machine %s: out of memory", name);
        close(fd);
    } else {
        log_info("virtual machine %s has come", name);
    }
}

/* Until a signal, or, once, until the machine leaves. */
static void loop_run(struct loop *l)
{
    static struct pollfd polls[2 + BRIDGE_POLL];

    for (;;) {
        unsigned n = 0;
        bool busy = false;
        int err;

        polls[0] = (struct pollfd){.fd = l->listen_fd, .events = POLLIN};
        polls[1] = (struct pollfd){.fd = l->signal_fd, .events = POLLIN};
        if (l->bridge)
            n = bridge_poll(l->bridge, polls + 2, &busy);
        if (poll(polls, 2 + n, busy ? 0 : -1) < 0 && errno != EINTR)
            return;
        if (polls[1].revents)
            return;
        err = l->bridge ? bridge_handle(l->bridge, polls + 2, n) : 0;
        if (err) {
            if (err != VD_ERR_GONE)
                log_warn("virtual machine %s: its front end: %s", l->settings->bridge.name,
                         errors_text(err));
            log_info("virtual machine %s has left", l->settings->bridge.name);
            bridge_destroy(&l->bridge);
            if (l->settings->once)
                return;
        }
        if (polls[0].revents)
            loop_accept(l);
    }
}

int main(int argc, char **argv)
{
    static struct settings settings = {.bridge.max_connections = 64};
    struct loop loop = {.settings = &settings};
    sigset_t set;
    int code = 1;

    log_set_name("viaduct-vsock");
    parse(argc, argv, &settings);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    loop.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (loop.signal_fd < 0 || open_socket(&settings, &loop.listen_fd))
        return 1;
    if (!confine_has_filter())
        log_warn("this build runs without a system call filter");
    /* Two a connection would do; a machine's memory and queues need some. */
    if (!confine_enter(settings.bridge.max_connections + 64)) {
        loop_run(&loop);
        code = 0;
    }
    bridge_destroy(&loop.bridge);
    unlink(settings.socket);
    return code;
}
