/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_CHANNEL_H
#define TRANSPORT_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * A channel carries bytes, in order, both ways between one guest and its host worker, and where
 * the kind of channel can, file descriptors with them. Everything above (framing, protocol,
 * arena) is the same for all kinds.
 *
 * Kinds stand in one visible table in channel.c: unix for containers on the same kernel, virtgpu
 * and vsock for virtual machines, serial for those without, tcp for this machine, tls for others;
 * mem, record and fuzz are for tests. A kind that cannot pass descriptors says so with
 * shares_memory = false; then the session is in-band (mirror.h).
 *
 * A channel may be used by one sender and one receiver thread at the same time. As a general
 * rule waits are bounded by `timeout_ms` and end with -VD_ERR_TIMEOUT; -VD_ERR_GONE means that
 * the other side closed or died.
 */
struct channel;

struct channel_ops {
    const char *scheme;
    bool shares_memory; /* descriptors and with them the arena reach the other side */
    /* Sends all bytes or fails; a failed channel is broken for good. `fd` -1: none. */
    int (*send)(struct channel *channel, const struct iovec *iov, int count, int fd,
                int timeout_ms);
    /*
     * Receives at least one byte. ret_fd is set to a descriptor that came with them (owned by
     * the caller) or -1. 0 bytes never happens: end of stream is -VD_ERR_GONE.
     */
    int (*recv)(struct channel *channel, void *bytes, size_t room, size_t *ret_size, int *ret_fd,
                int timeout_ms);
    /* False once the other side is gone; bytes may still wait to be received. No blocking. */
    bool (*alive)(struct channel *channel);
    /* Ends both directions: whoever waits in send or recv returns -VD_ERR_GONE. Any thread. */
    void (*shut)(struct channel *channel);
    void (*destroy)(struct channel *channel);
    /*
     * Guest side. Optional: memory that the guest's kernel passes on as a dma-buf takes the place
     * of `size` bytes at `at` (whole pages), with the same content. The descriptor is the
     * caller's. On failure the memory at `at` is as it was. Nobody else writes to it meanwhile.
     */
    int (*share)(struct channel *channel, void *at, uint64_t size, int *ret_fd);
    /* Guest side. Optional: connects to `address` (the part behind "scheme:"). */
    int (*connect)(const char *address, struct channel **ret_channel);
};

/* First member of every kind's own struct. */
struct channel {
    const struct channel_ops *ops;
};

/* Connects to "scheme:address". -VD_ERR_GONE if nobody listens, -VD_ERR_PARAMETER if malformed. */
int channel_connect(const char *uri, struct channel **ret_channel);
/* Destroys and clears; NULL is fine. */
void channel_destroy(struct channel **channel);

/*
 * A channel of this kind over a connected socket, which it takes over; on failure it stays the
 * caller's.
 */
int unix_create(int fd, struct channel **ret_channel);
int tcp_create(int fd, struct channel **ret_channel);
int vsock_create(int fd, struct channel **ret_channel);
/* mem.c: two ends in one process; descriptors are passed on, or, `in_band`, not. */
int mem_create_pair(struct channel **ret_a, struct channel **ret_b);
int mem_create_pair_in_band(struct channel **ret_a, struct channel **ret_b);
/* record.c: passes everything on to `inner` (owned from now on) and appends it to `log_fd`
 * (not owned): per transfer u32 direction (0 sent, 1 received), u32 size, bytes. */
int record_create(struct channel *inner, int log_fd, struct channel **ret_channel);
/* fuzz.c: receives `bytes` (not copied) in pieces of at most `piece`, then end of stream;
 * discards what is sent. Received descriptors: `fd` (not owned, duplicated) with the first piece,
 * -1 for none. */
int fuzz_create(const void *bytes, size_t size, size_t piece, int fd, struct channel **ret_channel);

extern const struct channel_ops unix_ops;
extern const struct channel_ops virtgpu_ops;
extern const struct channel_ops vsock_ops;
extern const struct channel_ops tcp_ops;
extern const struct channel_ops tls_ops;
extern const struct channel_ops serial_ops;
extern const struct channel_ops mem_ops;
extern const struct channel_ops mem_in_band_ops;
extern const struct channel_ops record_ops;
extern const struct channel_ops fuzz_ops;

#endif
