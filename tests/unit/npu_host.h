/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_NPU_HOST_H
#define VIADUCT_TEST_NPU_HOST_H

#include "guest.h"

/*
 * A host for clients of inference, in this process: whoever connects gets a session on a thread of
 * its own. Programs are linked with channel_connect wrapped.
 */

#define NPU_HOST_CLIENTS 8

static struct npu_host {
    struct guest at[NPU_HOST_CLIENTS];
    uint32_t count;
    bool in_band; /* its channels share no memory */
    uint32_t run_seconds;
} npu_host;

int __wrap_channel_connect(const char *uri, struct channel **ret_channel);

int __wrap_channel_connect(const char *uri, struct channel **ret_channel)
{
    static struct channel_ops ops[2];
    struct guest *g = &npu_host.at[npu_host.count];
    int err;

    if (strcmp(uri, "test:") || npu_host.count == NPU_HOST_CLIENTS)
        return VD_ERR_GONE;
    memset(g, 0, sizeof(*g));
    g->backends = (struct backend_set){.at = {{.backend = &backend_null}}, .count = 1};
    g->options.threads = 1;
    g->limits = (struct session_limits){
        .contexts = 64, .surfaces = 4, .bytes = 256 << 20, .run_seconds = npu_host.run_seconds};
    err = mem_create_pair(&g->channel, &g->host_end);
    if (err)
        return err;
    if (npu_host.in_band) {
        ops[0] = *g->channel->ops;
        ops[1] = *g->host_end->ops;
        ops[0].shares_memory = ops[1].shares_memory = false;
        g->channel->ops = &ops[0];
        g->host_end->ops = &ops[1];
    }
    *ret_channel = g->channel;
    g->running = pthread_create(&g->thread, NULL, guest_serve, g) == 0;
    npu_host.count++;
    return g->running ? 0 : VD_ERR_MEMORY;
}

/* All clients have left, or been cut off; what the last session came to. */
static inline int npu_host_end(void)
{
    int result = 0;

    for (uint32_t i = 0; i < npu_host.count; i++) {
        pthread_join(npu_host.at[i].thread, NULL);
        result = npu_host.at[i].result;
    }
    npu_host.count = 0;
    return result;
}

/* The host goes away, as if its worker had died. */
static inline void npu_host_kill(void)
{
    for (uint32_t i = 0; i < npu_host.count; i++)
        npu_host.at[i].channel->ops->shut(npu_host.at[i].channel);
}

#endif
