/* SPDX-License-Identifier: MIT */
#include "tls.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "tcp.h"
#include "tls_library.h"
#include "tls_secret.h"

/*
 * GnuTLS, whose names do not meet those of the programs that load the driver (some bring an OpenSSL
 * of their own). A session may be read by one thread and written by another; the handshake is over
 * before there are two.
 */
#define TLS_CONNECT_MS   10000
#define TLS_HANDSHAKE_MS 10000
/* Messages up to this size travel as one record. */
#define TLS_RECORD 16384u
/* Read at a time: GnuTLS asks for a record's head, then for its rest. */
#define TLS_AHEAD 65536u
/*
 * The client's order counts. GnuTLS's own has ChaCha20 before AES-128, and AES-256 does not go with
 * a secret (its hash is SHA-256, RFC 8446 4.2.11): with one a processor that has instructions for
 * AES would do without them, at a third of the speed.
 */
#define TLS_PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+ECDHE-PSK:+DHE-PSK:-CIPHER-ALL"
#define TLS_AES      ":+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"
#define TLS_NO_AES   ":+CHACHA20-POLY1305:+AES-128-GCM:+AES-256-GCM"

struct tls_credentials {
    gnutls_certificate_credentials_t certificate; /* NULL: a secret */
    gnutls_psk_server_credentials_t secret_server;
    gnutls_psk_client_credentials_t secret_client;
};

struct tls_channel {
    struct channel base;
    int fd;
    pid_t owner; /* a child of its has no say */
    gnutls_session_t session;
    bool shaken;                /* hands */
    bool more;                  /* the sender's: what is sent now does not end there */
    struct tls_credentials own; /* guest's; a host has one set for all */
    uint8_t record[TLS_RECORD]; /* the sender's */
    /* The receiver's: what the socket had beyond what GnuTLS asked for. */
    uint8_t ahead[TLS_AHEAD];
    size_t ahead_start, ahead_end;
};

static struct {
    bool loaded;
    struct tls_credentials credentials;
    struct tls_secret secrets[VD_MAX_SECRETS];
    int secret_count;
} tls_host;

/* Of the thread that connects. */
static _Thread_local struct tls_settings tls_client;

void tls_set_client(const struct tls_settings *settings)
{
    tls_client = *settings;
}

static void tls_free_credentials(struct tls_credentials *c)
{
    if (c->certificate)
        tls_library.certificate_free_credentials(c->certificate);
    if (c->secret_server)
        tls_library.psk_free_server_credentials(c->secret_server);
    if (c->secret_client)
        tls_library.psk_free_client_credentials(c->secret_client);
    *c = (struct tls_credentials){0};
}

static int tls_load_certificates(const struct tls_settings *s, struct tls_credentials *c)
{
    int err;

    if (!s->certificate || !s->key || !s->authority) {
        log_error("TLS needs a certificate, its key and the authority of the other side, or a "
                  "secret that both know");
        return VD_ERR_PARAMETER;
    }
    if (tls_library.certificate_allocate_credentials(&c->certificate))
        return VD_ERR_MEMORY;
    err = tls_library.certificate_set_x509_key_file(c->certificate, s->certificate, s->key,
                                                    GNUTLS_X509_FMT_PEM);
    if (err) {
        log_error("TLS: certificate %s with key %s: %s", s->certificate, s->key,
                  tls_library.strerror(err));
        return VD_ERR_PARAMETER;
    }
    err = tls_library.certificate_set_x509_trust_file(c->certificate, s->authority,
                                                      GNUTLS_X509_FMT_PEM);
    if (err <= 0) {
        log_error("TLS: authority %s: %s", s->authority,
                  err ? tls_library.strerror(err) : "no certificate in it");
        return VD_ERR_PARAMETER;
    }
    return 0;
}

/* gnutls_psk_server_credentials_function */
static int tls_find_secret(gnutls_session_t session, const char *user, gnutls_datum_t *ret_key)
{
    const struct tls_secret *found = NULL;

    (void)session;
    for (int i = 0; i < tls_host.secret_count && user; i++) {
        if (!strcmp(user, tls_host.secrets[i].name))
            found = &tls_host.secrets[i];
    }
    if (!found)
        return -1;
    ret_key->data = (*tls_library.malloc)(found->key.size);
    if (!ret_key->data)
        return -1;
    memcpy(ret_key->data, found->key.data, found->key.size);
    ret_key->size = found->key.size;
    return 0;
}

int tls_load(const struct tls_settings *settings)
{
    int err = tls_library_load();

    if (err)
        return err;
    if (settings->secret) {
        err = tls_secret_read(settings->secret, tls_host.secrets, VD_MAX_SECRETS,
                              &tls_host.secret_count);
        if (!err &&
            tls_library.psk_allocate_server_credentials(&tls_host.credentials.secret_server))
            err = VD_ERR_MEMORY;
        if (!err)
            tls_library.psk_set_server_credentials_function(tls_host.credentials.secret_server,
                                                            tls_find_secret);
    } else {
        err = tls_load_certificates(settings, &tls_host.credentials);
    }
    tls_host.loaded = !err;
    return err;
}

int tls_ready(void)
{
    return 0;
}

static uint64_t tls_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static ssize_t tls_push(gnutls_transport_ptr_t arg, const void *bytes, size_t size)
{
    struct tls_channel *self = arg;
    /* A wake-up of the other side for each record would cost more than the record. */
    ssize_t n =
        send(self->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT | (self->more ? MSG_MORE : 0));

    if (n < 0)
        tls_library.transport_set_errno(self->session, errno);
    return n;
}

static ssize_t tls_pull(gnutls_transport_ptr_t arg, void *bytes, size_t size)
{
    struct tls_channel *self = arg;
    size_t held = self->ahead_end - self->ahead_start;

    if (!held) {
        ssize_t n = recv(self->fd, self->ahead, sizeof(self->ahead), MSG_DONTWAIT);

        if (n < 0)
            tls_library.transport_set_errno(self->session, errno);
        if (n <= 0)
            return n;
        self->ahead_start = 0;
        self->ahead_end = held = (size_t)n;
    }
    if (held > size)
        held = size;
    memcpy(bytes, self->ahead + self->ahead_start, held);
    self->ahead_start += held;
    return (ssize_t)held;
}

/* GnuTLS asks only with time-outs of its own, which are off. */
static int tls_pull_timeout(gnutls_transport_ptr_t arg, unsigned ms)
{
    struct tls_channel *self = arg;
    struct pollfd p = {.fd = self->fd, .events = POLLIN};

    return self->ahead_end > self->ahead_start ? 1 : poll(&p, 1, (int)ms);
}

static int tls_wait(struct tls_channel *self, short events, int timeout_ms)
{
    struct pollfd p = {.fd = self->fd, .events = events};
    int n;

    do {
        n = poll(&p, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? VD_ERR_IO : n ? 0 : VD_ERR_TIMEOUT;
}

static bool tls_again(ssize_t n)
{
    return n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
}

/* Why the other side is not who it should be. */
static void tls_log_failure(struct tls_channel *self, int code)
{
    gnutls_datum_t text = {0};

    if (code == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR &&
        !tls_library.certificate_verification_status_print(
            tls_library.session_get_verify_cert_status(self->session), GNUTLS_CRT_X509, &text, 0)) {
        log_error("TLS: the other side is not trusted: %s", (const char *)text.data);
        (*tls_library.free)(text.data);
    } else if (code == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        log_error("TLS: the other side refuses: %s",
                  tls_library.alert_get_name(tls_library.alert_get(self->session)));
    } else {
        log_error("TLS: %s", tls_library.strerror(code));
    }
}

static int tls_shake(struct tls_channel *self)
{
    uint64_t until = tls_now_ms() + TLS_HANDSHAKE_MS;
    int code, err = 0;

    if (self->shaken)
        return 0;
    do {
        uint64_t now = tls_now_ms();

        code = tls_library.handshake(self->session);
        if (tls_again(code))
            err = now >= until
                      ? VD_ERR_TIMEOUT
                      : tls_wait(self,
                                 tls_library.record_get_direction(self->session) ? POLLOUT : POLLIN,
                                 (int)(until - now));
    } while (!err && (tls_again(code) || (code && !tls_library.error_is_fatal(code))));
    if (!err && code) {
        tls_log_failure(self, code);
        tls_library.alert_send_appropriate(self->session, code);
        err = VD_ERR_DENIED;
    }
    self->shaken = !err;
    if (!err) {
        char *text = tls_library.session_get_desc(self->session);

        log_info("TLS: %s", text ? text : "?");
        (*tls_library.free)(text);
    }
    return err;
}

static int tls_put(struct tls_channel *self, const void *bytes, size_t size, int timeout_ms)
{
    const uint8_t *at = bytes;
    bool again = false;

    while (size) {
        /* After AGAIN it wants to hear nothing: it has the record already. */
        ssize_t n;

        if (!again)
            self->more = size > TLS_RECORD;
        n = again ? tls_library.record_send(self->session, NULL, 0)
                  : tls_library.record_send(self->session, at, size);
        again = tls_again(n);
        if (again) {
            int err = tls_wait(self, POLLOUT, timeout_ms);

            if (err)
                return err;
        } else if (n < 0) {
            return VD_ERR_GONE;
        } else {
            at += n;
            size -= (size_t)n;
        }
    }
    return 0;
}

static int tls_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                    int timeout_ms)
{
    struct tls_channel *self = (struct tls_channel *)channel;
    size_t used = 0;
    int err = fd >= 0 ? VD_ERR_UNSUPPORTED : tls_shake(self);

    for (int i = 0; i < count && !err; i++) {
        if (iov[i].iov_len > sizeof(self->record) - used) {
            err = tls_put(self, self->record, used, timeout_ms);
            used = 0;
        }
        if (!err && iov[i].iov_len > sizeof(self->record)) {
            err = tls_put(self, iov[i].iov_base, iov[i].iov_len, timeout_ms);
        } else if (!err) {
            memcpy(self->record + used, iov[i].iov_base, iov[i].iov_len);
            used += iov[i].iov_len;
        }
    }
    return err ? err : tls_put(self, self->record, used, timeout_ms);
}

static int tls_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size,
                    int *ret_fd, int timeout_ms)
{
    struct tls_channel *self = (struct tls_channel *)channel;
    int err = tls_shake(self);

    *ret_fd = -1;
    while (!err) {
        ssize_t n = tls_library.record_recv(self->session, bytes, room);

        if (n > 0) {
            *ret_size = (size_t)n;
            return 0;
        }
        /* A host that wants another certificate says so after the handshake. */
        if (n == GNUTLS_E_FATAL_ALERT_RECEIVED) {
            tls_log_failure(self, (int)n);
            err = VD_ERR_DENIED;
        } else if (tls_again(n)) {
            err = tls_wait(self, POLLIN, timeout_ms);
        } else if (!n || tls_library.error_is_fatal((int)n)) {
            err = VD_ERR_GONE;
        }
    }
    return err;
}

static bool tls_alive(struct channel *channel)
{
    struct pollfd p = {.fd = ((struct tls_channel *)channel)->fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) <= 0 || !(p.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL));
}

static void tls_shut(struct channel *channel)
{
    shutdown(((struct tls_channel *)channel)->fd, SHUT_RDWR);
}

static void tls_destroy(struct channel *channel)
{
    struct tls_channel *self = (struct tls_channel *)channel;

    if (self->shaken && self->owner == getpid())
        tls_library.bye(self->session, GNUTLS_SHUT_WR);
    tls_library.deinit(self->session);
    tls_free_credentials(&self->own);
    close(self->fd);
    explicit_bzero(self->record, sizeof(self->record));
    free(self);
}

/* Whether this processor has instructions for AES and GCM. */
static bool tls_has_aes(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
    return getauxval(AT_HWCAP) & HWCAP_AES && getauxval(AT_HWCAP) & HWCAP_PMULL;
#else
    return false;
#endif
}

/* `credentials`: what the session uses; NULL: the channel's own, filled in here. */
static int tls_create(int fd, unsigned flags, const struct tls_credentials *credentials,
                      struct tls_channel **ret_channel)
{
    struct tls_channel *self = calloc(1, sizeof(*self));
    int code;

    if (!self)
        return VD_ERR_MEMORY;
    self->base.ops = &tls_ops;
    self->fd = fd;
    self->owner = getpid();
    code = tls_library.init(&self->session, flags | GNUTLS_NO_SIGNAL);
    if (!code)
        code = tls_library.priority_set_direct(
            self->session, tls_has_aes() ? TLS_PRIORITY TLS_AES : TLS_PRIORITY TLS_NO_AES, NULL);
    if (!code && credentials->certificate)
        code = tls_library.credentials_set(self->session, GNUTLS_CRD_CERTIFICATE,
                                           credentials->certificate);
    if (!code && credentials->secret_server)
        code =
            tls_library.credentials_set(self->session, GNUTLS_CRD_PSK, credentials->secret_server);
    if (!code && credentials->secret_client)
        code =
            tls_library.credentials_set(self->session, GNUTLS_CRD_PSK, credentials->secret_client);
    if (code) {
        log_error("TLS: %s", tls_library.strerror(code));
        if (self->session)
            tls_library.deinit(self->session);
        free(self);
        return VD_ERR_MEMORY;
    }
    tls_library.transport_set_ptr(self->session, self);
    tls_library.transport_set_push_function(self->session, tls_push);
    tls_library.transport_set_pull_function(self->session, tls_pull);
    tls_library.transport_set_pull_timeout_function(self->session, tls_pull_timeout);
    *ret_channel = self;
    return 0;
}

int tls_accept(int fd, struct channel **ret_channel)
{
    struct tls_channel *self;
    int err = tls_host.loaded ? tls_create(fd, GNUTLS_SERVER, &tls_host.credentials, &self)
                              : VD_ERR_UNSUPPORTED;

    if (err)
        return err;
    if (tls_host.credentials.certificate) {
        tls_library.certificate_server_set_request(self->session, GNUTLS_CERT_REQUIRE);
        tls_library.session_set_verify_cert(self->session, NULL, 0);
    }
    *ret_channel = &self->base;
    return 0;
}

int tls_prove(struct channel *channel, struct tls_proof *ret_proof)
{
    struct tls_channel *self = (struct tls_channel *)channel;
    int err = tls_shake(self);

    return err ? err : tls_proof_read(self->session, ret_proof);
}

void tls_end(struct channel *channel)
{
    struct tls_channel *self = (struct tls_channel *)channel;

    tls_library.bye(self->session, GNUTLS_SHUT_WR);
    shutdown(self->fd, SHUT_WR);
}

/* The name in an address: what the host's certificate must say. */
static void tls_name(const char *address, char *name, size_t room)
{
    const char *end = strrchr(address, ':');
    size_t n = end ? (size_t)(end - address) : strlen(address);

    if (n >= 2 && address[0] == '[') {
        address++;
        n -= 2;
    }
    snprintf(name, room, "%.*s", (int)n, address);
}

static int tls_connect(const char *address, struct channel **ret_channel)
{
    const struct tls_settings *s = &tls_client;
    struct tls_credentials credentials = {0};
    struct tls_channel *self = NULL;
    struct tls_secret secret = {0};
    char name[256];
    int fd = -1, count, err = tls_library_load();

    if (err)
        return err;
    if (s->secret) {
        err = tls_secret_read(s->secret, &secret, 1, &count);
        if (!err && (tls_library.psk_allocate_client_credentials(&credentials.secret_client) ||
                     tls_library.psk_set_client_credentials(credentials.secret_client, secret.name,
                                                            &secret.key, GNUTLS_PSK_KEY_RAW)))
            err = VD_ERR_MEMORY;
        tls_secret_finish(&secret);
    } else {
        err = tls_load_certificates(s, &credentials);
    }
    if (!err)
        err = tcp_dial(address, false, TLS_CONNECT_MS, &fd);
    if (!err)
        err = tls_create(fd, GNUTLS_CLIENT, &credentials, &self);
    if (err) {
        if (fd >= 0)
            close(fd);
        tls_free_credentials(&credentials);
        return err;
    }
    self->own = credentials;
    if (s->name)
        snprintf(name, sizeof(name), "%s", s->name);
    else
        tls_name(address, name, sizeof(name));
    if (credentials.certificate) {
        tls_library.server_name_set(self->session, GNUTLS_NAME_DNS, name, strlen(name));
        tls_library.session_set_verify_cert(self->session, name, 0);
    }
    err = tls_shake(self);
    if (err)
        tls_destroy(&self->base);
    else
        *ret_channel = &self->base;
    return err;
}

const struct channel_ops tls_ops = {
    .scheme = "tls",
    .send = tls_send,
    .recv = tls_recv,
    .alive = tls_alive,
    .shut = tls_shut,
    .destroy = tls_destroy,
    .connect = tls_connect,
};
