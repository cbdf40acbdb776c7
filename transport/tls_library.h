/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_TLS_LIBRARY_H
#define TRANSPORT_TLS_LIBRARY_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

/*
 * GnuTLS, loaded when the first TLS session is asked for: the driver is mounted into containers
 * that may not have it, and gets into programs that never see a remote host, which would pay for
 * eight libraries and their start.
 */
#define TLS_LIBRARY(X)                       \
    X(alert_get)                             \
    X(alert_get_name)                        \
    X(alert_send_appropriate)                \
    X(bye)                                   \
    X(certificate_allocate_credentials)      \
    X(certificate_free_credentials)          \
    X(certificate_get_peers)                 \
    X(certificate_server_set_request)        \
    X(certificate_set_x509_key_file)         \
    X(certificate_set_x509_trust_file)       \
    X(certificate_verification_status_print) \
    X(credentials_set)                       \
    X(deinit)                                \
    X(error_is_fatal)                        \
    X(free)                                  \
    X(handshake)                             \
    X(hex_decode2)                           \
    X(init)                                  \
    X(malloc)                                \
    X(priority_set_direct)                   \
    X(psk_allocate_client_credentials)       \
    X(psk_allocate_server_credentials)       \
    X(psk_free_client_credentials)           \
    X(psk_free_server_credentials)           \
    X(psk_server_get_username)               \
    X(psk_set_client_credentials)            \
    X(psk_set_server_credentials_function)   \
    X(record_get_direction)                  \
    X(record_recv)                           \
    X(record_send)                           \
    X(server_name_set)                       \
    X(session_get_desc)                      \
    X(session_get_verify_cert_status)        \
    X(session_set_verify_cert)               \
    X(strerror)                              \
    X(transport_set_errno)                   \
    X(transport_set_ptr)                     \
    X(transport_set_pull_function)           \
    X(transport_set_pull_timeout_function)   \
    X(transport_set_push_function)           \
    X(x509_crt_deinit)                       \
    X(x509_crt_get_dn_by_oid)                \
    X(x509_crt_get_subject_alt_name)         \
    X(x509_crt_import)                       \
    X(x509_crt_init)

/* gnutls_NAME is tls_library.NAME; its variables (free, malloc) are called as
 * (*tls_library.free)(). */
struct tls_library {
#define TLS_LIBRARY_MEMBER(name) __typeof__(gnutls_##name) *name;
    TLS_LIBRARY(TLS_LIBRARY_MEMBER)
#undef TLS_LIBRARY_MEMBER
};

/* As it is after tls_library_load has said 0; it does not change any more. */
extern struct tls_library tls_library;

/*
 * Any thread; the first call loads, in a sandbox it would be too late. VD_ERR_UNSUPPORTED: there is
 * none, which it says on the log.
 */
int tls_library_load(void);

#endif
