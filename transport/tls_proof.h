/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_TLS_PROOF_H
#define TRANSPORT_TLS_PROOF_H

#include <stdint.h>
#include <viaduct/limits.h>

/* Who the other side of a TLS session has proved to be. */
enum tls_proof_kind {
    TLS_PROOF_CERTIFICATE, /* its common names, then its further ones: DNS, e-mail, URI */
    TLS_PROOF_SECRET,      /* the name of the secret that it knows */
};

struct tls_proof {
    uint32_t kind;
    uint32_t count; /* of names; a certificate may have none */
    char name[VD_MAX_PROOF_NAMES][VD_PROOF_NAME_BYTES];
};

struct gnutls_session_int;

/*
 * After the handshake, at the host. -VD_ERR_LIMIT: the certificate has a name that cannot be read,
 * or more names than fit. Leaving one out could let somebody in whom a rule keeps out.
 */
int tls_proof_read(struct gnutls_session_int *session, struct tls_proof *ret_proof);

#endif
