/* SPDX-License-Identifier: MIT */
#ifndef VM_FRONT_H
#define VM_FRONT_H

#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * What the relays' programs have in common: a socket for QEMU, one machine at a time behind it, a
 * loop, and the end by a signal.
 */
struct front {
    const char *name;            /* of the machine, for the log */
    const char *socket;          /* where QEMU connects to */
    const char *group;           /* whose members may, too, or NULL */
    bool once;                   /* end when QEMU leaves */
    unsigned descriptors, polls; /* at most */
    const void *options;         /* of the relay */
    /* See bridge.h, relay.h: they have the same functions. ret_timeout_ms is -1 before. */
    int (*create)(int fd, const void *options, void **ret_relay);
    void (*destroy)(void **relay);
    unsigned (*poll)(void *relay, struct pollfd *polls, int *ret_timeout_ms);
    int (*handle)(void *relay, const struct pollfd *polls, unsigned count);
};

/* Options that all relays have, as rows for getopt_long; a program's own begin at 256. */
enum { FRONT_SOCKET = 512, FRONT_NAME, FRONT_GROUP, FRONT_ONCE, FRONT_HELP, FRONT_VERSION };

#define FRONT_OPTIONS                                                                             \
    {"socket", required_argument, NULL, FRONT_SOCKET},                                            \
        {"name", required_argument, NULL, FRONT_NAME},                                            \
        {"group", required_argument, NULL, FRONT_GROUP}, {"once", no_argument, NULL, FRONT_ONCE}, \
        {"help", no_argument, NULL, FRONT_HELP}, {"version", no_argument, NULL, FRONT_VERSION},   \
    {                                                                                             \
        NULL, 0, NULL, 0                                                                          \
    }

/* Takes one of those, which getopt_long gave; ends the program for --help, --version and others. */
void front_option(struct front *front, int option, const char *usage);
/* Says how the program is used, and ends it. */
void __attribute__((noreturn)) front_usage(const char *usage);

/* Serves until a signal, or once. The exit code. */
int front_run(const struct front *front);

/* An option's number, or says what it must be and ends the program. */
uint32_t front_number(const char *option, const char *text, uint32_t least, uint32_t most);
/* Says why an option is wrong, and ends the program. */
void __attribute__((noreturn)) front_refuse(const char *option, const char *value, const char *why);

#endif
