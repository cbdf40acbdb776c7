/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_TLS_SECRET_H
#define TRANSPORT_TLS_SECRET_H

#include <gnutls/gnutls.h>
#include <viaduct/limits.h>

/* A file of secrets: a line "NAME:HEX" each. */
struct tls_secret {
    char name[VD_PROOF_NAME_BYTES];
    gnutls_datum_t key;
};

/*
 * Reads up to `room` of them; a file that has more is refused, unless only the first is asked for.
 * Says on the log what is wrong with a line; then there are none.
 */
int tls_secret_read(const char *path, struct tls_secret *ret_secrets, int room, int *ret_count);
void tls_secret_finish(struct tls_secret *secret);

#endif
