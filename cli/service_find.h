/* SPDX-License-Identifier: MIT */
#ifndef CLI_SERVICE_FIND_H
#define CLI_SERVICE_FIND_H

#include <va_driver/host.h>

/* Which host services there are to ask, and who answers: what the driver does, but told in detail.
 */

#define SERVICE_FIND_MOST 4

struct service_place {
    char uri[192];
    const char *source; /* what named it, for people */
    bool chosen;        /* by the user, not a usual place */
    int err;            /* after service_find_open: 0, what went wrong, or not tried */
};

struct service_places {
    struct service_place place[SERVICE_FIND_MOST];
    int count;
};

#define SERVICE_NOT_TRIED 1

/* The places the driver would try, in its order. */
void service_find_places(struct service_places *ret_places);
/*
 * Opens the first that answers HELLO; with `region` as a program does, which takes a region of a
 * virtual machine's memory if there is one. The session belongs to the caller (host_unref);
 * ret_place points into `places`. Nothing is logged: place.err tells.
 */
int service_find_open(struct service_places *places, bool region, struct host **ret_host,
                      const struct service_place **ret_place);
/* One service by its URI. */
int service_find_open_uri(const char *uri, struct host **ret_host);
/*
 * For people: where frames of this session are. false: the host has offered a region, which was
 * not to be had.
 */
bool service_find_way(const struct host *host, char *text, size_t room);
/* For people: "unix:/run/... (usual place): the host service is gone", one line a place. */
void service_find_print(const struct service_places *places);

#endif
