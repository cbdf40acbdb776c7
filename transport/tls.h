/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_TLS_H
#define TRANSPORT_TLS_H

#include <stdbool.h>

#include "channel.h"
#include "tls_proof.h"

/*
 * TLS 1.3 over TCP (tls:HOST:PORT): hosts that are other machines. Both sides prove who they are,
 * by certificates of one authority or by a pre-shared key; there is no way to go without.
 */
struct tls_settings {
    /* Certificates in PEM files: this side's and its key, and the authority of the other's. */
    const char *certificate, *key, *authority;
    /*
     * Or a file with a line "NAME:HEX", 16 bytes at least, that both sides have. A host's may have
     * several, a guest's first one counts.
     */
    const char *secret;
    /* Guest: the name that the host's certificate must have, NULL: that of the address. */
    const char *name;
};

/*
 * Host: loads what tls_accept needs, before workers are forked; files are not opened later. Says on
 * the log what is wrong. -VD_ERR_UNSUPPORTED: a build without TLS.
 */
int tls_load(const struct tls_settings *settings);
/* Host: whether this build can: 0, or -VD_ERR_UNSUPPORTED, which it says on the log. */
int tls_ready(void);
/* Host: a channel over an accepted socket, which it takes over. The handshake happens with the
 * first bytes, within a limit of its own. */
int tls_accept(int fd, struct channel **ret_channel);
/*
 * Host: makes that handshake now, and says who the other side is. -VD_ERR_TIMEOUT, -VD_ERR_DENIED,
 * -VD_ERR_IO, -VD_ERR_LIMIT (a certificate whose names cannot all be read).
 */
int tls_prove(struct channel *channel, struct tls_proof *ret_proof);
/* Says that nothing more will be sent; the other direction stays. By the thread that sends. */
void tls_end(struct channel *channel);
/*
 * Guest: where settings come from. Called once a connection, by the program that has them
 * (environment, /etc/viaduct.conf); texts stay the caller's.
 */
void tls_set_client(const struct tls_settings *settings);

#endif
