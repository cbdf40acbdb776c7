/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "service.h"

uint32_t clients_of(const struct clients *clients, const struct policy_rule *rule)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < VD_MAX_STATS_CLIENTS; i++)
        count += clients->slot[i].used && clients->slot[i].rule == rule;
    return count;
}

int clients_add(struct clients *clients, const struct listen_peer *peer,
                const struct policy_rule *rule, uint32_t *ret_slot, int *ret_stats_fd)
{
    struct client *client;
    uint32_t slot = 0;
    void *page;
    int fd;

    while (slot < VD_MAX_STATS_CLIENTS && clients->slot[slot].used)
        slot++;
    if (slot == VD_MAX_STATS_CLIENTS)
        return VD_ERR_BUSY;
    fd = memfd_create("viaduct-stats", MFD_CLOEXEC);
    if (fd < 0)
        return VD_ERR_MEMORY;
    if (ftruncate(fd, sizeof(struct stats_counters)) < 0)
        goto fail;
    page = mmap(NULL, sizeof(struct stats_counters), PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        goto fail;
    client = &clients->slot[slot];
    *client = (struct client){
        .used = true, .uid = peer->uid, .pid = peer->pid, .rule = rule, .stats = page};
    clients->count++;
    clients->totals.clients_served++;
    *ret_slot = slot;
    *ret_stats_fd = fd;
    return 0;
fail:
    close(fd);
    return VD_ERR_MEMORY;
}

/* A copy whose texts end: the page is the worker's. */
static struct stats_counters counters_copy(const struct stats_counters *page)
{
    struct stats_counters copy;

    memcpy(&copy, page, sizeof(copy));
    copy.backend[sizeof(copy.backend) - 1] = 0;
    copy.engine[sizeof(copy.engine) - 1] = 0;
    copy.name[sizeof(copy.name) - 1] = 0;
    return copy;
}

void clients_remove(struct clients *clients, uint32_t slot, bool died)
{
    struct client *client = &clients->slot[slot];
    struct stats_counters *sum = &clients->totals.ended;
    struct stats_counters last;

    if (slot >= VD_MAX_STATS_CLIENTS || !client->used)
        return;
    last = counters_copy(client->stats);
    sum->decoded += last.decoded;
    sum->concealed += last.concealed;
    sum->failed += last.failed;
    sum->encoded += last.encoded;
    sum->processed += last.processed;
    sum->mapped += last.mapped;
    sum->bytes_in += last.bytes_in;
    sum->bytes_out += last.bytes_out;
    sum->inferences += last.inferences;
    sum->launches += last.launches;
    if (last.engine[0])
        memcpy(sum->engine, last.engine, sizeof(sum->engine));
    if (died)
        clients->totals.workers_died++;
    munmap(client->stats, sizeof(*client->stats));
    *client = (struct client){0};
    clients->count--;
}

void clients_report(struct clients *clients, int fd)
{
    size_t size = sizeof(struct stats_reply) + clients->count * sizeof(struct stats_row);
    uint8_t *bytes = calloc(1, size);
    struct stats_reply reply = clients->totals;
    size_t at = sizeof(reply);

    if (!bytes)
        return;
    reply.magic = STATS_MAGIC;
    reply.rows = clients->count;
    memcpy(bytes, &reply, sizeof(reply));
    for (uint32_t i = 0; i < VD_MAX_STATS_CLIENTS && at < size; i++) {
        const struct client *client = &clients->slot[i];
        struct stats_row row = {.pid = (uint32_t)client->worker,
                                .uid = client->uid,
                                .client_pid = (uint32_t)client->pid};

        if (!client->used)
            continue;
        row.counters = counters_copy(client->stats);
        memcpy(bytes + at, &row, sizeof(row));
        at += sizeof(row);
    }
    /* The answer fits into a socket's buffer; who cannot take it does not get it. */
    if (send(fd, bytes, at, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        goto out;
out:
    free(bytes);
}
