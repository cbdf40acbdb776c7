/* SPDX-License-Identifier: MIT */
#ifndef HOST_PORTER_H
#define HOST_PORTER_H

#include <stdint.h>
#include <sys/types.h>
#include <viaduct/limits.h>

/*
 * A porter stands between a client on TLS and the service where the service must know who somebody
 * is before it chooses a worker for him: a process of its own, in a sandbox without devices, makes
 * the handshake, tells the listener who the other side proved to be, and from then on carries bytes
 * between the client's session of TLS and a plain socket, whose other end becomes a worker's. So no
 * process that has a device, or could open one, reads a byte of somebody who has proved nothing.
 */

/*
 * The porter's whole life; never returns. Takes the client's socket, one end of a stream, and one
 * of a socket that keeps messages apart, on which it sends one struct tls_proof when the handshake
 * was made. `max_memory`: as sandbox_enter.
 */
void porter_run(int client, int plain, int proof, uint64_t max_memory) __attribute__((noreturn));

/* The nursery's: which porters there are. A door is the listener's number of a handshake. */
struct porters {
    pid_t door[VD_MAX_DOORS];
    pid_t client[VD_MAX_STATS_CLIENTS]; /* behind which that client is served */
};

void porters_add(struct porters *porters, uint32_t door, pid_t pid);
/* The handshake is over, the client of this slot is served. */
void porters_adopt(struct porters *porters, uint32_t door, uint32_t slot);
/* Ends the porter of a door, if it is there. */
void porters_shut(struct porters *porters, uint32_t door);
/* A child process has ended, of whatever kind. */
void porters_ended(struct porters *porters, pid_t pid);
void porters_stop(struct porters *porters);

#endif
