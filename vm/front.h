/* SPDX-License-Identifier: MIT */
#ifndef VM_FRONT_H
#define VM_FRONT_H

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

/* Serves until a signal, or once. The exit code. */
int front_run(const struct front *front);

/* An option's number, or says what it must be and ends the program. */
uint32_t front_number(const char *option, const char *text, uint32_t least, uint32_t most);
/* Says why an option is wrong, and ends the program. */
void __attribute__((noreturn)) front_refuse(const char *option, const char *value, const char *why);

#endif
