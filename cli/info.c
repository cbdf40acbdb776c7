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
    char backend[sizeof(host->backend)];

    memcpy(backend, host->backend, sizeof(backend));
    text_printable(backend, sizeof(backend));
    printf("host          %s (%s)\n", place->uri, place->source);
    printf("protocol      %u.%u\n", VD_MAJOR, VD_MINOR);
    printf("back end      %s\n", backend);
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

int info_run(int argc, char **argv)
{
    int code = text_only_help(argc, argv, usage_text);
    const struct service_place *place;
    struct service_places places;
    struct host *host;

    if (code >= 0)
        return code;
    service_find_places(&places);
    if (service_find_open(&places, &host, &place)) {
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
    return CLI_OK;
}
