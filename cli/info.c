/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <viaduct/codecs.h>
#include <viaduct/errors.h>

#include "cli.h"
#include "service_find.h"
#include "text.h"

static const char usage_text[] =
    "usage: viaduct info\n"
    "Says which host service a program would get here and what that can do.\n"
    "\n"
    "  --help\n";

static void print_host(const struct host *host, const struct service_place *place)
{
    char backend[sizeof(host->backend)], way[192];
    bool had = service_find_way(host, way, sizeof(way));

    memcpy(backend, host->backend, sizeof(backend));
    text_printable(backend, sizeof(backend));
    printf("host          %s (%s)\n", place->uri, place->source);
    printf("protocol      %u.%u\n", VD_MAJOR, VD_MINOR);
    printf("back end      %s\n", backend);
    printf("frames are    %s%s\n", way,
           had ? "" : " (the host has offered a region, which was not to be had)");
    printf("contexts      at most %u\n", host->max_contexts);
    printf("surfaces      at most %u\n", host->max_surfaces);
    printf("frame memory  at most %llu MiB\n", (unsigned long long)host->max_bytes >> 20);
    printf("upload memory at most %llu MiB\n", (unsigned long long)host->arena.upload_size >> 20);
}

static void print_caps(const struct host *host)
{
    int width = 6;

    for (uint32_t i = 0; i < host->cap_count; i++) {
        int length = (int)strnlen(host->caps[i].engine, sizeof(host->caps[i].engine));

        width = length > width ? length : width;
    }
    printf("\n%-28s %-11s %-24s %-*s %s\n", "PROFILE", "ENTRY POINT", "PICTURE SIZE", width,
           "ENGINE", "SURFACES");
    for (uint32_t i = 0; i < host->cap_count; i++) {
        const struct vd_cap *cap = &host->caps[i];
        char size[64], engine[sizeof(cap->engine)];

        snprintf(size, sizeof(size), "%ux%u to %ux%u", cap->min_width, cap->min_height,
                 cap->max_width, cap->max_height);
        memcpy(engine, cap->engine, sizeof(engine));
        text_printable(engine, sizeof(engine));
        printf("%-28s %-11s %-24s %-*s", codecs_profile_name((int)cap->profile),
               codecs_entrypoint_name((int)cap->entrypoint), size, width, engine);
        for (uint32_t k = 0; k < cap->format_count; k++) {
            char name[5];

            text_fourcc(cap->formats[k], name);
            printf(" %s", name);
        }
        putchar('\n');
    }
}

/* CUDA has sessions of its own. */
static void print_cuda(void)
{
    struct vd_cuda_open_req req = {0};
    struct vd_cuda_open_rep rep;
    struct host *host;
    const void *tail;
    uint32_t count;
    int err = host_open_for(VD_FEATURE_CUDA, true, 0, &host);

    if (err) {
        printf("\nCUDA          none: %s\n",
               err == VD_ERR_UNSUPPORTED
                   ? "the host has none, or shares no memory with this machine"
                   : errors_text(err));
        return;
    }
    err = host_call(host, VD_OP_cuda_open, &req, NULL, 0, &rep, &tail, &count);
    if (!err)
        err = errors_from_wire(rep.status);
    if (err)
        printf("\nCUDA          none: %s\n", errors_text(err));
    for (uint32_t i = 0; !err && i < count; i++) {
        struct vd_cuda_device device;

        memcpy(&device, (const struct vd_cuda_device *)tail + i, sizeof(device));
        text_printable(device.name, sizeof(device.name));
        printf("%sCUDA          device %u: %s, %llu MiB, %u multiprocessors\n", i ? "" : "\n", i,
               device.name, (unsigned long long)device.memory >> 20, device.multiprocessors);
    }
    host_unref(&host);
}

int info_run(int argc, char **argv)
{
    int code = text_only_help(argc, argv, usage_text);
    const struct service_place *place;
    struct service_places places;
    struct host *host;

    if (code >= 0)
        return code;
    service_find_places(&places);
    if (service_find_open(&places, true, &host, &place)) {
        fputs("viaduct info: no host service answers here:\n", stderr);
        service_find_print(&places);
        fputs("start viaductd, set VIADUCT_HOST, or see what a private service has with\n"
              "`viaduct exec -- viaduct info`; `viaduct doctor` tells more\n",
              stderr);
        return CLI_FAIL;
    }
    print_host(host, place);
    print_caps(host);
    host_unref(&host);
    print_cuda();
    return CLI_OK;
}
