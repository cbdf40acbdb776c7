/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <string.h>
#include <wire/log.h>

#include "provider.h"

/* The list of providers, best first among devices of one kind. */
static const struct provider *const all[] = {
    &provider_ort,
    &provider_openvino,
    &provider_builtin,
};

#define ALL (sizeof(all) / sizeof(all[0]))

static const struct provider *found[ALL + 1];
static pthread_once_t probed = PTHREAD_ONCE_INIT;

static void probe(void)
{
    size_t count = 0;

    for (size_t i = 0; i < ALL; i++) {
        if (all[i]->probe())
            found[count++] = all[i];
    }
}

const struct provider *const *provider_list(void)
{
    pthread_once(&probed, probe);
    return found;
}

bool provider_prepare(void)
{
    bool wanted = false;

    for (const struct provider *const *at = provider_list(); *at; at++)
        wanted = ((*at)->wants_devices && (*at)->wants_devices()) || wanted;
    return wanted;
}

uint32_t provider_devices(struct vd_npu_device *ret_devices, uint32_t room)
{
    static const uint32_t order[] = {VD_NPU_KIND_NPU, VD_NPU_KIND_GPU, VD_NPU_KIND_CPU};
    struct vd_npu_device all_devices[VD_MAX_NPU_DEVICES];
    uint32_t found_count = 0, count = 0;

    memset(ret_devices, 0, room * sizeof(*ret_devices));
    memset(all_devices, 0, sizeof(all_devices));
    for (const struct provider *const *at = provider_list(); *at; at++)
        found_count += (*at)->devices(all_devices + found_count, VD_MAX_NPU_DEVICES - found_count);
    /* What is made for inference before what is made for more. */
    for (size_t kind = 0; kind < sizeof(order) / sizeof(order[0]); kind++) {
        for (uint32_t i = 0; i < found_count && count < room; i++) {
            if (all_devices[i].kind == order[kind])
                ret_devices[count++] = all_devices[i];
        }
    }
    return count;
}

/* All of a name, or its first words. */
static bool begins(const char *name, const char *wish)
{
    size_t length = strlen(wish);

    return length && !strncmp(name, wish, length) &&
           (!name[length] || name[length] == '-' || name[length] == '.');
}

bool provider_wished(const char *wish, const struct vd_npu_device *device)
{
    static const char *const kinds[] = {
        [VD_NPU_KIND_CPU] = "cpu", [VD_NPU_KIND_GPU] = "gpu", [VD_NPU_KIND_NPU] = "npu"};
    const char *name = device->name;

    return begins(name, wish) || (!strncmp(name, "ort-", 4) && begins(name + 4, wish)) ||
           (device->kind < sizeof(kinds) / sizeof(kinds[0]) && kinds[device->kind] &&
            !strcmp(kinds[device->kind], wish));
}

const struct provider *provider_of(const char *device)
{
    struct vd_npu_device devices[VD_MAX_NPU_DEVICES];

    for (const struct provider *const *at = provider_list(); *at; at++) {
        uint32_t count = (*at)->devices(devices, VD_MAX_NPU_DEVICES);

        for (uint32_t i = 0; i < count; i++) {
            if (!strcmp(devices[i].name, device))
                return *at;
        }
    }
    return NULL;
}
