/* SPDX-License-Identifier: MIT */
#include "front.h"

#include <errno.h>
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

#include "config.h"
#include "confine.h"

void front_refuse(const char *option, const char *value, const char *why)
{
    fprintf(stderr, "%s: --%s %s: %s\n", program_invocation_short_name, option, value, why);
    exit(2);
}

uint32_t front_number(const char *option, const char *text, uint32_t least, uint32_t most)
{
    char *end, why[64];
    unsigned long n = strtoul(text, &end, 10);

    if (*text >= '0' && *text <= '9' && !*end && n >= least && n <= most)
        return (uint32_t)n;
    snprintf(why, sizeof(why), "give a number from %u to %u", least, most);
    front_refuse(option, text, why);
}

void front_usage(const char *usage)
{
    fputs(usage, stderr);
    exit(2);
}

void front_option(struct front *front, int option, const char *usage)
{
    switch (option) {
    case FRONT_SOCKET:
        front->socket = optarg;
        break;
    case FRONT_NAME:
        if (!vm_name_is_valid(optarg))
            front_refuse("name", optarg, "give letters, digits, \"-\", \"_\", \".\", 47 at most");
        front->name = optarg;
        break;
    case FRONT_GROUP:
        front->group = optarg;
        break;
    case FRONT_ONCE:
        front->once = true;
        break;
    case FRONT_VERSION:
        printf("%s %s\n", program_invocation_short_name, VIADUCT_VERSION);
        exit(0);
    case FRONT_HELP:
        fputs(usage, stdout);
        exit(0);
    default:
        front_usage(usage);
    }
}

static int open_socket(const struct front *f, int *ret_fd)
{
    int err = unix_listen(f->socket, f->group ? 0660 : 0600, ret_fd);
    struct group *group;

    if (err) {
        log_error("cannot listen on %s: %s", f->socket,
                  err == VD_ERR_BUSY ? "another program serves there already"
                  : err == VD_ERR_IO ? strerror(errno)
                                     : errors_text(err));
        return err;
    }
    if (!f->group)
        return 0;
    group = getgrnam(f->group);
    if (!group || chown(f->socket, (uid_t)-1, group->gr_gid) < 0) {
        log_error("cannot give %s to the group %s: %s", f->socket, f->group,
                  group ? strerror(errno) : "there is no such group");
        close(*ret_fd);
        unlink(f->socket);
        return VD_ERR_PARAMETER;
    }
    return 0;
}

struct loop {
    const struct front *front;
    void *relay; /* NULL: no machine is there */
    int listen_fd, signal_fd;
    struct pollfd *polls;
};

static void loop_accept(struct loop *l)
{
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    if (l->relay) {
        log_warn("virtual machine %s is here already: another one is refused", l->front->name);
        close(fd);
    } else if (l->front->create(fd, l->front->options, &l->relay)) {
        log_error("virtual machine %s: out of memory", l->front->name);
        close(fd);
    } else {
        log_info("virtual machine %s has come", l->front->name);
    }
}

/* False: the end. */
static bool loop_turn(struct loop *l)
{
    const struct front *f = l->front;
    unsigned n = 0;
    int timeout = -1, err;

    l->polls[0] = (struct pollfd){.fd = l->listen_fd, .events = POLLIN};
    l->polls[1] = (struct pollfd){.fd = l->signal_fd, .events = POLLIN};
    if (l->relay)
        n = f->poll(l->relay, l->polls + 2, &timeout);
    if (poll(l->polls, 2 + n, timeout) < 0)
        return errno == EINTR;
    if (l->polls[1].revents)
        return false;
    err = l->relay ? f->handle(l->relay, l->polls + 2, n) : 0;
    if (err) {
        if (err != VD_ERR_GONE)
            log_warn("virtual machine %s: its front end: %s", f->name, errors_text(err));
        log_info("virtual machine %s has left", f->name);
        f->destroy(&l->relay);
        if (f->once)
            return false;
    }
    if (l->polls[0].revents)
        loop_accept(l);
    return true;
}

int front_run(const struct front *front)
{
    struct loop loop = {.front = front};
    sigset_t set;
    int code = 1;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    loop.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    loop.polls = calloc(2 + front->polls, sizeof(*loop.polls));
    if (loop.signal_fd < 0 || !loop.polls || open_socket(front, &loop.listen_fd))
        goto out;
    if (!confine_has_filter())
        log_warn("this build runs without a system call filter");
    if (!confine_enter(front->descriptors)) {
        while (loop_turn(&loop))
            ;
        code = 0;
    }
    front->destroy(&loop.relay);
    close(loop.listen_fd);
    unlink(front->socket);
out:
    free(loop.polls);
    return code;
}
