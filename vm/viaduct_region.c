/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <transport/arena.h>
#include <transport/broker.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "config.h"
#include "region_device.h"
#include "region_file.h"

/*
 * Memory that a virtual machine has in common with its host: on the host this makes the files, in
 * the machine it opens the devices that they are there, one for each program that a host names one
 * to (broker.h). It keeps nothing: who has what the host knows, and the kernel. So it may be
 * started when somebody asks, and end when nobody does.
 */

/* Who asks says what in this time; so long it stays when systemd started it and nobody asks. */
#define ASK_MS   2000
#define IDLE_MS  30000
#define MAX_ASKS 16
#define MAX_MAKE 8 /* as many as viaductd takes of a machine (session.h) */

static const char usage_text[] =
    "usage: viaduct-region [--socket PATH] [--group GROUP]\n"
    "       viaduct-region --make FOLDER [--count N] [--size BYTES[K|M|G]] [--group GROUP]\n"
    "Memory of a virtual machine that its host sees, for programs of the machine, one region "
    "each.\n"
    "\n"
    "In the machine, as root:\n"
    "  --socket PATH   where programs ask (default " BROKER_PATH ", or systemd's socket)\n"
    "  --group GROUP   its members may ask, too\n"
    "On the host:\n"
    "  --make FOLDER   makes files there, and says how QEMU shows them to the machine\n"
    "  --count N       of them: programs that can have one at a time (default 4, 8 at most)\n"
    "  --size BYTES    of each (default 1G, 64M at least); what is not used takes no memory\n"
    "  --group GROUP   its members may use them, too: QEMU's\n"
    "  --help, --version\n";

struct ask {
    int fd; /* -1: free */
    uint64_t until;
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static void __attribute__((noreturn)) refuse(const char *option, const char *value, const char *why)
{
    fprintf(stderr, "viaduct-region: --%s %s: %s\n", option, value, why);
    exit(2);
}

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static gid_t group_of(const char *name)
{
    const struct group *found = getgrnam(name);

    if (!found)
        refuse("group", name, "there is no such group");
    return found->gr_gid;
}

static uint64_t bytes_of(const char *text)
{
    static const char units[] = "KMG";
    char *end;
    unsigned long long n;
    const char *unit;

    errno = 0;
    n = strtoull(text, &end, 10);
    unit = *end ? strchr(units, *end) : NULL;
    if (*text < '0' || *text > '9' || errno || (*end && (!unit || end[1])) || n > 1ull << 40)
        refuse("size", text, "write a number, or one with K, M or G");
    if (unit)
        n <<= 10 * (unit - units + 1);
    n = n / (2 << 20) * (2 << 20);
    if (n < 64ull << 20 || n > ARENA_REGION_MOST)
        refuse("size", text, "64M to 64G");
    return n;
}

static int make(const char *folder, unsigned count, uint64_t bytes, gid_t group)
{
    char path[4096];

    if (mkdir(folder, 0755) < 0 && errno != EEXIST) {
        log_error("cannot make %s: %s", folder, strerror(errno));
        return 1;
    }
    for (unsigned i = 0; i < count; i++) {
        int err;

        snprintf(path, sizeof(path), "%s/%u.region", folder, i);
        err = region_file_make(path, bytes, group);
        if (err) {
            log_error("cannot make %s: %s", path,
                      err == VD_ERR_BUSY ? "it is there; a machine may use it, or remove it"
                      : err == VD_ERR_IO ? strerror(errno)
                                         : errors_text(err));
            return 1;
        }
    }
    printf(
        "QEMU: to -m add ,slots=%u,maxmem=SIZE with SIZE at least %llu MiB more than the machine "
        "has, and\n",
        count, (unsigned long long)(count * (bytes + (1ull << 30)) >> 20));
    for (unsigned i = 0; i < count; i++)
        printf(" -object memory-backend-file,id=viaduct%u,share=on,mem-path=%s/%u.region,size=%llu,"
               "align=2M -device virtio-pmem-pci,memdev=viaduct%u\n",
               i, folder, i, (unsigned long long)(bytes + (2 << 20)), i);
    return 0;
}

static void answer(int fd, int err, int device)
{
    struct broker_reply reply = {.magic = BROKER_MAGIC, .status = (uint32_t)-err};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {&reply, sizeof(reply)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *c;

    if (device >= 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &device, sizeof(int));
    }
    /* Who does not wait for the answer gets none. */
    if (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("nobody waits for the answer: %s", strerror(errno));
}

/* The question is there, or its sender is gone. */
static void hear(int fd)
{
    struct broker_request request;
    ssize_t n = recv(fd, &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
    int device = -1, err;

    if (n <= 0)
        return;
    err = n != sizeof(request) || request.magic != BROKER_MAGIC ? VD_ERR_PROTOCOL
          : request.version != BROKER_VERSION                   ? VD_ERR_VERSION
                                              : region_device_open(request.token, &device);
    if (err)
        log_warn("a program gets no region: %s", errors_text(err));
    answer(fd, err, device);
    if (device >= 0)
        close(device);
}

static void take_in(int listener, struct ask *asks)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    for (int i = 0; i < MAX_ASKS; i++) {
        if (asks[i].fd >= 0)
            continue;
        asks[i] = (struct ask){.fd = fd, .until = now_ms() + ASK_MS};
        return;
    }
    close(fd);
}

/* Until a signal, or as long as somebody asks. */
static void serve(int listener, bool on_demand)
{
    struct ask asks[MAX_ASKS];
    uint64_t last = now_ms();

    for (int i = 0; i < MAX_ASKS; i++)
        asks[i].fd = -1;
    while (!stop) {
        struct pollfd polls[1 + MAX_ASKS] = {{.fd = listener, .events = POLLIN}};
        bool any = false;

        for (int i = 0; i < MAX_ASKS; i++) {
            polls[1 + i] = (struct pollfd){.fd = asks[i].fd, .events = POLLIN};
            any = any || asks[i].fd >= 0;
        }
        if (poll(polls, 1 + MAX_ASKS, any ? ASK_MS / 4 : IDLE_MS) < 0 && errno != EINTR)
            break;
        for (int i = 0; i < MAX_ASKS; i++) {
            if (asks[i].fd < 0 || (!polls[1 + i].revents && now_ms() < asks[i].until))
                continue;
            if (polls[1 + i].revents)
                hear(asks[i].fd);
            close(asks[i].fd);
            asks[i].fd = -1;
            last = now_ms();
        }
        if (polls[0].revents)
            take_in(listener, asks);
        else if (on_demand && !any && now_ms() - last >= IDLE_MS)
            break;
    }
}

/* systemd's (sd_listen_fds(3)), else one of its own. */
static int open_socket(const char *path, gid_t group, bool *ret_on_demand)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd;

    *ret_on_demand = pid && count && atoi(pid) == getpid() && atoi(count) == 1;
    if (*ret_on_demand)
        return 3;
    if (strlen(path) >= sizeof(sun.sun_path))
        refuse("socket", path, "the path is too long");
    strcpy(sun.sun_path, path);
    umask(0177);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
        (group != (gid_t)-1 && (chown(path, (uid_t)-1, group) < 0 || chmod(path, 0660) < 0)) ||
        listen(fd, MAX_ASKS) < 0) {
        log_error("cannot listen on %s: %s", path, strerror(errno));
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'}, {"group", required_argument, NULL, 'g'},
        {"make", required_argument, NULL, 'm'},   {"count", required_argument, NULL, 'c'},
        {"size", required_argument, NULL, 'b'},   {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},      {NULL, 0, NULL, 0},
    };
    const struct sigaction end = {.sa_handler = on_signal};
    const char *path = BROKER_PATH, *folder = NULL;
    uint64_t bytes = 1ull << 30;
    gid_t group = (gid_t)-1;
    bool on_demand;
    int count = 4, fd, c;

    log_set_name("viaduct-region");
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            path = optarg;
            break;
        case 'g':
            group = group_of(optarg);
            break;
        case 'm':
            folder = optarg;
            break;
        case 'c':
            count = atoi(optarg);
            if (count < 1 || count > MAX_MAKE)
                refuse("count", optarg, "1 to 8");
            break;
        case 'b':
            bytes = bytes_of(optarg);
            break;
        case 'h':
            fputs(usage_text, stdout);
            return 0;
        case 'v':
            printf("viaduct-region %s\n", VIADUCT_VERSION);
            return 0;
        default:
            fputs(usage_text, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fputs(usage_text, stderr);
        return 2;
    }
    if (folder)
        return make(folder, (unsigned)count, bytes, group);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGINT, &end, NULL);
    fd = open_socket(path, group, &on_demand);
    serve(fd, on_demand);
    if (!on_demand)
        unlink(path);
    return 0;
}
