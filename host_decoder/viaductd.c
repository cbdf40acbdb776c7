/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wire/format.h>
#include <wire/log.h>

#include "config.h"
#include "service.h"

static const char usage_text[] =
    "usage: viaductd [options]\n"
    "Serves video acceleration to guests over a Unix socket.\n"
    "\n"
    "  --socket PATH        where to listen (default: /run/viaduct/viaduct.sock for root,\n"
    "                       else $XDG_RUNTIME_DIR/viaduct.sock)\n"
    "  --backend ENGINE,... what does the work, best first: vaapi, avcodec, dav1d, encode, "
    "filter,\n"
    "                       null, with a device vaapi:/dev/dri/renderD129, avcodec:cuda:1, or\n"
    "                       avcodec:software\n"
    "                       (default: all that works here, hardware first)\n"
    "  --threads N          decoder threads a context (default: one a processor, 16 at most)\n"
    "  --surface-format F   offer surfaces of this format only: NV12, I420 (default: all)\n"
    "  --allow-uid USER     serve this user, too (repeatable; own user and root always are)\n"
    "  --allow-gid GROUP    serve members of this group, too (repeatable)\n"
    "  --allow-any          serve everybody who can reach the socket\n"
    "  --max-clients N      clients at a time (default 64)\n"
    "  --max-contexts N     contexts of a client (default 32)\n"
    "  --max-surfaces N     surfaces of a client (default 1024)\n"
    "  --max-bytes N[K|M|G] frame memory of a client (default 4G)\n"
    "  --once               end when the last client has left\n"
    "  --lifeline FD        end when this descriptor is closed by its other side\n"
    "  --help, --version\n";

enum option_id {
    OPT_SOCKET = 256,
    OPT_BACKEND,
    OPT_THREADS,
    OPT_SURFACE_FORMAT,
    OPT_ALLOW_UID,
    OPT_ALLOW_GID,
    OPT_ALLOW_ANY,
    OPT_MAX_CLIENTS,
    OPT_MAX_CONTEXTS,
    OPT_MAX_SURFACES,
    OPT_MAX_BYTES,
    OPT_ONCE,
    OPT_LIFELINE,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"backend", required_argument, NULL, OPT_BACKEND},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"surface-format", required_argument, NULL, OPT_SURFACE_FORMAT},
    {"allow-uid", required_argument, NULL, OPT_ALLOW_UID},
    {"allow-gid", required_argument, NULL, OPT_ALLOW_GID},
    {"allow-any", no_argument, NULL, OPT_ALLOW_ANY},
    {"max-clients", required_argument, NULL, OPT_MAX_CLIENTS},
    {"max-contexts", required_argument, NULL, OPT_MAX_CONTEXTS},
    {"max-surfaces", required_argument, NULL, OPT_MAX_SURFACES},
    {"max-bytes", required_argument, NULL, OPT_MAX_BYTES},
    {"once", no_argument, NULL, OPT_ONCE},
    {"lifeline", required_argument, NULL, OPT_LIFELINE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

/* A number between least and most with an optional K, M or G; exits with a message otherwise. */
static uint64_t parse_number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;

    if (end == text || *text == '-' || end[shift ? 1 : 0] || n > most >> shift ||
        n << shift < least) {
        fprintf(stderr, "viaductd: --%s %s: give a number from %llu to %llu\n", option, text,
                (unsigned long long)least, (unsigned long long)most);
        exit(2);
    }
    return n << shift;
}

static uint32_t parse_format(const char *text)
{
    for (size_t i = 0; format_at(i); i++) {
        if (!strcmp(format_at(i)->name, text))
            return format_at(i)->fourcc;
    }
    fprintf(stderr, "viaductd: --surface-format %s: there is no such format\n", text);
    exit(2);
}

static uid_t parse_user(const char *text)
{
    const struct passwd *user = getpwnam(text);

    return user ? user->pw_uid : (uid_t)parse_number("allow-uid", text, 0, UINT32_MAX - 1);
}

static gid_t parse_group(const char *text)
{
    const struct group *group = getgrnam(text);

    return group ? group->gr_gid : (gid_t)parse_number("allow-gid", text, 0, UINT32_MAX - 1);
}

static void default_socket(char *path, size_t room)
{
    const char *run = getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0 || !run || !*run) {
        snprintf(path, room, SERVICE_RUN_DIR "/viaduct.sock");
    } else {
        snprintf(path, room, "%s/viaduct.sock", run);
    }
}

static void parse(int argc, char **argv, struct service_options *o)
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case OPT_SOCKET:
            o->socket = optarg;
            break;
        case OPT_BACKEND:
            o->backend = optarg;
            break;
        case OPT_THREADS:
            o->threads = (int)parse_number("threads", optarg, 1, 16);
            break;
        case OPT_SURFACE_FORMAT:
            o->surface_format = parse_format(optarg);
            break;
        case OPT_ALLOW_UID:
            if (o->allow_uids < SERVICE_MAX_ALLOWED)
                o->allow_uid[o->allow_uids++] = parse_user(optarg);
            break;
        case OPT_ALLOW_GID:
            if (o->allow_gids < SERVICE_MAX_ALLOWED)
                o->allow_gid[o->allow_gids++] = parse_group(optarg);
            break;
        case OPT_ALLOW_ANY:
            o->allow_any = true;
            break;
        case OPT_MAX_CLIENTS:
            o->max_clients = (uint32_t)parse_number("max-clients", optarg, 1, VD_MAX_STATS_CLIENTS);
            break;
        case OPT_MAX_CONTEXTS:
            o->max_contexts = (uint32_t)parse_number("max-contexts", optarg, 1, VD_MAX_CONTEXTS);
            break;
        case OPT_MAX_SURFACES:
            o->max_surfaces = (uint32_t)parse_number("max-surfaces", optarg, 1, VD_MAX_SURFACES);
            break;
        case OPT_MAX_BYTES:
            o->max_bytes = parse_number("max-bytes", optarg, 1 << 20, 1ull << 40);
            break;
        case OPT_ONCE:
            o->once = true;
            break;
        case OPT_LIFELINE:
            o->lifeline = (int)parse_number("lifeline", optarg, 0, 1 << 20);
            break;
        case OPT_VERSION:
            printf("viaductd %s\n", VIADUCT_VERSION);
            exit(0);
        case OPT_HELP:
            fputs(usage_text, stdout);
            exit(0);
        default:
            fputs(usage_text, stderr);
            exit(2);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "viaductd: %s: not an option\n%s", argv[optind], usage_text);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct service_options options = {
        .backend = "",
        .max_clients = VD_DEFAULT_CLIENTS,
        .max_contexts = VD_DEFAULT_CONTEXTS,
        .max_surfaces = VD_DEFAULT_SURFACES,
        .max_bytes = VD_DEFAULT_BYTES,
        .lifeline = -1,
    };
    char path[256];

    log_set_name("viaductd");
    parse(argc, argv, &options);
    if (!options.socket) {
        default_socket(path, sizeof(path));
        options.socket = path;
    }
    return service_run(&options);
}
