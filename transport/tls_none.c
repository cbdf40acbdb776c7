/* SPDX-License-Identifier: MIT */
#include <viaduct/errors.h>
#include <wire/log.h>

#include "tls.h"

/* A build without TLS. */

int tls_load(const struct tls_settings *settings)
{
    (void)settings;
    return tls_ready();
}

int tls_ready(void)
{
    log_error("this build has no TLS (meson option tls)");
    return VD_ERR_UNSUPPORTED;
}

int tls_accept(int fd, struct channel **ret_channel)
{
    (void)fd, (void)ret_channel;
    return VD_ERR_UNSUPPORTED;
}

int tls_prove(struct channel *channel, struct tls_proof *ret_proof)
{
    (void)channel, (void)ret_proof;
    return VD_ERR_UNSUPPORTED;
}

void tls_end(struct channel *channel)
{
    (void)channel;
}

void tls_set_client(const struct tls_settings *settings)
{
    (void)settings;
}

static int tls_connect(const char *address, struct channel **ret_channel)
{
    (void)address, (void)ret_channel;
    return tls_ready();
}

const struct channel_ops tls_ops = {.scheme = "tls", .connect = tls_connect};
