/* SPDX-License-Identifier: MIT */
#ifndef DRIVER_HOST_H
#define DRIVER_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <transport/arena.h>
#include <transport/channel.h>
#include <transport/message.h>
#include <transport/mirror.h>
#include <viaduct/protocol.h>

#include "upload.h"

/*
 * The guest's end of one session with a host worker. Reference-counted, since images and buffers
 * may outlive the session they came from: the memory stays mapped until the last is gone.
 *
 * All functions are called with the driver's lock held, but for host_alive and reading fences.
 * Once a call fails with -VD_ERR_GONE, -VD_ERR_PROTOCOL, -VD_ERR_TIMEOUT or -VD_ERR_IO the
 * session is dead for good; a new one is opened by the next context or surface.
 */
struct host {
    int refs;
    bool dead;
    uint32_t generation; /* counts sessions of a display */
    struct channel *channel;
    struct message_reader reader; /* the link's after HELLO, where there is one */
    struct arena arena;
    /*
     * A thread that reads the channel: if the host does not share memory, or does so from under
     * another kernel (VD_FEATURE_REGION); else NULL. mirror: the same in the first case only.
     */
    struct mirror_guest *link, *mirror;
    struct upload upload;
    const char *region; /* at HELLO: where the machine's memory is to be had, or NULL */
    bool refused;       /* it was not, though the host had some */
    uint8_t *snapshot;  /* private mapping of the frame zone, made when first needed */
    int pagemap;        /* with it: /proc/self/pagemap, -1 if it cannot be had */
    uint32_t serial;
    uint32_t submission; /* pictures submitted */
    uint32_t max_contexts, max_surfaces;
    uint64_t max_bytes; /* of frame memory */
    char backend[VD_NAME_BYTES];
    char uri[128];
    struct vd_cap caps[VD_MAX_CAPS];
    uint32_t cap_count;
};

/* Bounds of a wait for the host's answer and for a picture. */
#define HOST_CALL_MS    10000
#define HOST_PICTURE_NS 60000000000ull

/* Where the host of a virtual machine is looked for: viaductd --listen vsock:any:7474. */
#define HOST_VSOCK_URI "vsock:host:7474"
/* Whether this kernel is a virtual machine's that has vsock, or has one itself. */
bool host_has_vsock(void);

/*
 * Finds and opens a host: VIADUCT_HOST, else "host" of /etc/viaduct.conf, else the usual
 * sockets, a render node of viaduct-gpu's, and HOST_VSOCK_URI where there is vsock. Logs what was
 * tried when nobody serves.
 */
int host_open(uint32_t generation, struct host **ret_host);
/*
 * The same for a session that is not for VA-API, by one of VD_FEATURE_CUDA, ...;
 * -VD_ERR_UNSUPPORTED if the host has nothing for it. `quiet`: who calls has another way, and says
 * so itself.
 */
int host_open_for(uint64_t features, bool quiet, uint32_t generation, struct host **ret_host);
/* The host at "scheme:address", as host_open has it: in a region, too. Logs nothing of its own. */
int host_open_uri(const char *uri, uint32_t generation, struct host **ret_host);
/* Connects to "scheme:address", with the settings that it needs (for tls who this guest is). */
int host_connect(const char *uri, struct channel **ret_channel);
/* The same over a given channel (owned from now on): for tests. */
int host_open_channel(struct channel *channel, const char *uri, uint32_t generation,
                      struct host **ret_host);
/* The same where memory of this machine is to be had by a broker at the path `region`. */
int host_open_region(struct channel *channel, const char *uri, const char *region,
                     struct host **ret_host);
struct host *host_ref(struct host *host);
/* Any thread, but never the last reference without the driver's lock. */
void host_unref(struct host **host);
/* Frees without a word to the host: in a forked child. */
void host_abandon(struct host **host);

/*
 * One round trip. `rep` gets the reply's fixed part; `status` of it is not looked at. The reply's
 * tail, if any, stays valid until the next call.
 */
int host_call(struct host *host, uint32_t op, const void *req, const void *tail,
              uint32_t tail_count, void *rep, const void **ret_tail, uint32_t *ret_tail_count);
/* A call without tails that takes a descriptor along (it stays the caller's). */
int host_call_fd(struct host *host, uint32_t op, const void *req, void *rep, int fd);
/*
 * A call whose reply may bring a descriptor: the caller's, -1 if none came (then `status` of the
 * reply should say why). The tail as in host_call.
 */
int host_call_take(struct host *host, uint32_t op, const void *req, void *rep,
                   const void **ret_tail, uint32_t *ret_tail_count, int *ret_fd);
/* A one-way message. */
int host_send(struct host *host, uint32_t op, const void *req, const void *tail,
              uint32_t tail_count);
/*
 * Whether descriptors reach the host: the app's memory for imports. Where not, pixels are copied
 * (inband.c), and the arena's descriptor is nothing to show to others.
 */
bool host_passes(const struct host *host);
/* Marks the session dead and says so once. Lock held. */
void host_lost(struct host *host);
/* For fence_wait: any thread; NULL arg is dead. */
bool host_alive(void *host);

/* Value of a key of /etc/viaduct.conf ("key = value" lines); false if there is none. */
bool host_setting(const char *key, char *text, size_t room);

#endif
