/* SPDX-License-Identifier: MIT */
#include "service_find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <transport/virtgpu.h>
#include <viaduct/errors.h>
#include <wire/log.h>

static void add(struct service_places *places, const char *uri, const char *source, bool chosen)
{
    struct service_place *place = &places->place[places->count++];

    *place = (struct service_place){.source = source, .chosen = chosen, .err = SERVICE_NOT_TRIED};
    snprintf(place->uri, sizeof(place->uri), "%s", uri);
}

void service_find_places(struct service_places *ret_places)
{
    const char *named = getenv("VIADUCT_HOST");
    const char *run = getenv("XDG_RUNTIME_DIR");
    char uri[sizeof(ret_places->place[0].uri)], node[64];

    ret_places->count = 0;
    if (named && *named) {
        add(ret_places, named, "VIADUCT_HOST", true);
        return;
    }
    if (host_setting("host", uri, sizeof(uri))) {
        add(ret_places, uri, "/etc/viaduct.conf", true);
        return;
    }
    if (run && *run) {
        snprintf(uri, sizeof(uri), "unix:%s/viaduct.sock", run);
        add(ret_places, uri, "the user's service", false);
    }
    add(ret_places, "unix:/run/viaduct/viaduct.sock", "the system's service", false);
    if (virtgpu_find(node, sizeof(node))) {
        snprintf(uri, sizeof(uri), "virtgpu:%s", node);
        add(ret_places, uri, "this virtual machine's virtio-gpu", false);
    }
    if (host_has_vsock())
        add(ret_places, HOST_VSOCK_URI, "this virtual machine's host", false);
}

int service_find_open_uri(const char *uri, struct host **ret_host)
{
    struct channel *channel;
    int err = host_connect(uri, &channel);

    return err ? err : host_open_channel(channel, uri, 1, ret_host);
}

int service_find_open(struct service_places *places, bool region, struct host **ret_host,
                      const struct service_place **ret_place)
{
    int err = VD_ERR_GONE;

    log_set_level(LOG_LEVEL_NONE);
    for (int i = 0; i < places->count; i++) {
        struct service_place *place = &places->place[i];

        err = place->err = region ? host_open_uri(place->uri, 1, ret_host)
                                  : service_find_open_uri(place->uri, ret_host);
        if (!err) {
            *ret_place = place;
            return 0;
        }
        if (err != VD_ERR_GONE && err != VD_ERR_DENIED)
            break;
    }
    return err;
}

bool service_find_way(const struct host *host, char *text, size_t room)
{
    unsigned long long mib = (unsigned long long)host->arena.size >> 20;
    int scheme = (int)strcspn(host->uri, ":");

    if (host->mirror)
        snprintf(text, room,
                 "sent over %.*s when a program looks at them, in messages of at most %u KiB%s",
                 scheme, host->uri, VD_MAX_MESSAGE >> 10,
                 host->channel->ops->share ? "; dma-bufs are this machine's own"
                                           : "; a program's own memory is copied");
    else if (host->link)
        snprintf(text, room,
                 "in a region of %llu MiB that this machine has in common with its host", mib);
    else
        snprintf(text, room, "in memory shared with the host, %llu MiB", mib);
    return !host->refused;
}

void service_find_print(const struct service_places *places)
{
    for (int i = 0; i < places->count; i++) {
        const struct service_place *place = &places->place[i];

        if (place->err != SERVICE_NOT_TRIED)
            fprintf(stderr, "  %s (%s): %s\n", place->uri, place->source, errors_text(place->err));
    }
}
