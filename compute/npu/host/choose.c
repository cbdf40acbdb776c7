/* SPDX-License-Identifier: MIT */
#include "choose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "pack.h"
#include "special.h"

/* Loads with the device of this name. */
static int load_with(struct choose *c, struct shelf_model *m, const char *device, char *error,
                     size_t error_size)
{
    const struct provider *provider = provider_of(device);
    struct provider_load load = {.bytes = c->bytes,
                                 .size = m->key.size,
                                 .device = device,
                                 .threads = m->key.threads,
                                 .alone = m->key.require};
    int err;

    if (!provider) {
        snprintf(error, error_size, "this host has no such device");
        return VD_ERR_UNSUPPORTED;
    }
    memcpy(load.hash, m->key.hash, sizeof(load.hash));
    snprintf(m->device, sizeof(m->device), "%s", device);
    m->provider = provider;
    if (special_wanted_by(provider, device, c->bytes, m->key.size)) {
        err = special_describe(m, c->bytes, m->key.size, c->free, error, error_size);
        if (!err)
            c->bytes = NULL;
    } else {
        err = provider->load(&load, &m->model, error, error_size);
        if (!err)
            provider->describe(m->model, &m->description);
    }
    return err;
}

/* Adds "device: reason" to the sentence. */
static void add_reason(struct choose *c, const char *device, const char *reason)
{
    size_t length = strlen(c->text);

    snprintf(c->text + length, c->text_size - length, "%s%s: %s", length ? "; " : "", device,
             reason);
}

struct candidates {
    struct vd_npu_device devices[VD_MAX_NPU_DEVICES];
    bool tried[VD_MAX_NPU_DEVICES];
    uint32_t count;
};

static int try_device(struct choose *c, struct shelf_model *m, struct candidates *from, uint32_t i)
{
    char error[VD_NPU_TEXT_BYTES];
    int err = load_with(c, m, from->devices[i].name, error, sizeof(error));

    from->tried[i] = true;
    if (err)
        add_reason(c, from->devices[i].name, error);
    return err;
}

/* Those that a wish means; one of that very name alone, if there is one. */
static int try_wish(struct choose *c, struct shelf_model *m, struct candidates *from,
                    const char *wish)
{
    bool exact = false, known = false;
    int err = VD_ERR_UNSUPPORTED;

    for (uint32_t i = 0; i < from->count; i++)
        exact = exact || !strcmp(from->devices[i].name, wish);
    for (uint32_t i = 0; i < from->count && err && !c->left(c->owner); i++) {
        if (exact ? strcmp(from->devices[i].name, wish) : !provider_wished(wish, &from->devices[i]))
            continue;
        known = true;
        if (!from->tried[i])
            err = try_device(c, m, from, i);
    }
    if (!known)
        add_reason(c, wish, "this host has no such device");
    return err;
}

int choose_load(void *choose, struct shelf_model *m)
{
    struct choose *c = choose;
    char wanted[VD_ENGINE_BYTES], *rest = wanted;
    struct candidates from = {.count = 0};
    int err = VD_ERR_UNSUPPORTED;
    const char *wish;

    from.count = provider_devices(from.devices, VD_MAX_NPU_DEVICES);
    memcpy(wanted, m->key.devices, sizeof(wanted));
    while (err && !c->left(c->owner) && (wish = strsep(&rest, ","))) {
        if (*wish)
            err = try_wish(c, m, &from, wish);
    }
    for (uint32_t i = 0; err && !c->left(c->owner) && i < from.count; i++) {
        if (!from.tried[i] && !(m->key.require && m->key.devices[0]))
            err = try_device(c, m, &from, i);
    }
    if (err) {
        if (!c->text[0])
            snprintf(c->text, c->text_size, "this host has nothing to run models on");
        return err;
    }
    snprintf(m->text, sizeof(m->text), "%s", c->text);
    m->info = pack_info(&m->description, &m->info_size);
    if (!m->info) {
        if (m->model)
            m->provider->destroy(m->model);
        special_source_destroy(m->source);
        snprintf(c->text, c->text_size, "out of memory");
        return VD_ERR_MEMORY;
    }
    return 0;
}
