/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_BROKER_H
#define TRANSPORT_BROKER_H

#include <stdint.h>

/*
 * Between a program of a virtual machine and viaduct-region there, which opens the machine's
 * devices for it: one question, one answer, over a Unix socket that keeps messages apart
 * (SOCK_SEQPACKET).
 */
#define BROKER_PATH    "/run/viaduct-region.sock"
#define BROKER_MAGIC   0x47524456u /* "VDRG" */
#define BROKER_VERSION 1u

struct broker_request {
    uint32_t magic, version;
    uint64_t token[2]; /* region_rep of the session that the memory is for */
};

/* With it comes the device's descriptor if status is 0. */
struct broker_reply {
    uint32_t magic;
    uint32_t status; /* error code, positive */
};

/*
 * Client: the descriptor of the device whose memory has this at its start; the caller's. Nobody
 * else has it from now on, as long as it or a mapping of it is there. -VD_ERR_GONE (nobody answers
 * there), -VD_ERR_DENIED (this user may not), -VD_ERR_UNSUPPORTED (no device has that),
 * -VD_ERR_BUSY (a program has kept it), -VD_ERR_TIMEOUT, -VD_ERR_PROTOCOL, -VD_ERR_PARAMETER.
 */
int broker_take(const char *path, const uint64_t token[2], int *ret_fd);

#endif
