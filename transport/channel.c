/* SPDX-License-Identifier: MIT */
#include "channel.h"

#include <string.h>
#include <viaduct/errors.h>

/* The kinds of channel a guest can name in VIADUCT_HOST. */
static const struct channel_ops *const channel_kinds[] = {
    &unix_ops, &virtgpu_ops, &vsock_ops, &tcp_ops, &tls_ops, &serial_ops,
};

int channel_connect(const char *uri, struct channel **ret_channel)
{
    for (size_t i = 0; i < sizeof(channel_kinds) / sizeof(channel_kinds[0]); i++) {
        size_t n = strlen(channel_kinds[i]->scheme);

        if (!strncmp(uri, channel_kinds[i]->scheme, n) && uri[n] == ':')
            return channel_kinds[i]->connect(uri + n + 1, ret_channel);
    }
    return VD_ERR_PARAMETER;
}

void channel_destroy(struct channel **channel)
{
    if (*channel)
        (*channel)->ops->destroy(*channel);
    *channel = NULL;
}
