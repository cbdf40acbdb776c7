/* SPDX-License-Identifier: MIT */
#include "tls_proof.h"

#include <stdbool.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "tls_library.h"

/* Room for a name of any kind, also of those that do not count. */
#define PROOF_ROOM 4096

/*
 * A name with a NUL would be another one to those who read up to it, one with a line's end two
 * lines of a log.
 */
static bool is_readable(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return false;
    }
    return size < VD_PROOF_NAME_BYTES;
}

static int add_name(struct tls_proof *proof, const char *name, size_t size)
{
    if (!size)
        return 0;
    if (!is_readable(name, size) || proof->count == VD_MAX_PROOF_NAMES)
        return VD_ERR_LIMIT;
    memcpy(proof->name[proof->count], name, size);
    proof->name[proof->count++][size] = 0;
    return 0;
}

static int add_common_names(struct tls_proof *proof, gnutls_x509_crt_t certificate, char *room)
{
    int code = 0, err = 0;

    for (unsigned i = 0; !err; i++) {
        size_t size = PROOF_ROOM;

        code = tls_library.x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, i, 0,
                                                  room, &size);
        if (code < 0)
            break;
        err = add_name(proof, room, size);
    }
    return err || code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE ? err : VD_ERR_LIMIT;
}

static int add_further_names(struct tls_proof *proof, gnutls_x509_crt_t certificate, char *room)
{
    int code = 0, err = 0;

    for (unsigned i = 0; !err; i++) {
        size_t size = PROOF_ROOM;

        code = tls_library.x509_crt_get_subject_alt_name(certificate, i, room, &size, NULL);
        if (code < 0)
            break;
        if (code == GNUTLS_SAN_DNSNAME || code == GNUTLS_SAN_RFC822NAME || code == GNUTLS_SAN_URI)
            err = add_name(proof, room, size);
    }
    return err || code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE ? err : VD_ERR_LIMIT;
}

static int read_certificate(gnutls_session_t session, struct tls_proof *proof)
{
    unsigned count = 0;
    const gnutls_datum_t *list = tls_library.certificate_get_peers(session, &count);
    gnutls_x509_crt_t certificate;
    char room[PROOF_ROOM];
    int err;

    proof->kind = TLS_PROOF_CERTIFICATE;
    if (!list || !count)
        return VD_ERR_DENIED;
    if (tls_library.x509_crt_init(&certificate))
        return VD_ERR_MEMORY;
    /* The first is the other side's own (RFC 8446, 4.4.2). */
    err = tls_library.x509_crt_import(certificate, list, GNUTLS_X509_FMT_DER) ? VD_ERR_LIMIT : 0;
    if (!err)
        err = add_common_names(proof, certificate, room);
    if (!err)
        err = add_further_names(proof, certificate, room);
    tls_library.x509_crt_deinit(certificate);
    if (err == VD_ERR_LIMIT)
        log_error("TLS: the other side's certificate has more than %d names, or one that is longer "
                  "than %d bytes or not text",
                  VD_MAX_PROOF_NAMES, VD_PROOF_NAME_BYTES - 1);
    return err;
}

int tls_proof_read(gnutls_session_t session, struct tls_proof *ret_proof)
{
    const char *user = tls_library.psk_server_get_username(session);
    struct tls_proof proof = {.kind = TLS_PROOF_SECRET};
    int err = user ? add_name(&proof, user, strlen(user)) : read_certificate(session, &proof);

    if (!err)
        *ret_proof = proof;
    return err;
}
