/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/format.h>
#include <wire/settings.h>

#include "config.h"
#include "options_private.h"

static const char usage_text[] =
    "usage: viaductd [options]\n"
    "Serves video acceleration to guests over a Unix socket, and what --listen adds.\n"
    "\n"
    "  --socket PATH        where to listen (default: /run/viaduct/viaduct.sock for root,\n"
    "                       else $XDG_RUNTIME_DIR/viaduct.sock)\n"
    "  --listen URI         serve on this, too (repeatable): tls:ADDRESS:PORT for other machines,\n"
    "                       vsock:any:PORT for virtual machines, tcp:127.0.0.1:PORT for this one,\n"
    "                       vm:PATH for viaduct-vsock and viaduct-serial on this one\n"
    "  --tls-certificate F, --tls-key F, --tls-authority F\n"
    "                       for tls: this host's certificate and its key, and the authority whose\n"
    "                       certificates clients must have (PEM files)\n"
    "  --tls-secret FILE    or a line NAME:HEX that clients must know\n"
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
    "  --max-pixels N[K|M|G] pixels a second of a client, all its pictures together; who wants\n"
    "                       more waits (default: no limit; 1080p at 60/s are 125M)\n"
    "  --cuda WHAT          what runs CUDA: cuda (the machine's driver and devices; cuda:PATH for\n"
    "                       a libcuda.so.1 elsewhere), ptx (the executor on the processors), "
    "none,\n"
    "                       idle (kernels are not run: to measure), auto (default: the best)\n"
    "  --max-cuda-bytes N[K|M|G] device memory of a client (default 4G)\n"
    "  --max-cuda-seconds N of one kernel, 0 for no limit (default 600)\n"
    "  --max-run-seconds N  of one run of a model for inference, 0 for no limit (default 600)\n"
    "  --npu-cache DIR      keep what drivers made of models there (default: nowhere)\n"
    "  --npu-cache-bytes N[K|M|G] at most (default 2G)\n"
    "  --config FILE        read options from there (default: " OPTIONS_FILE ", if it is there)\n"
    "  --once               end when the last client has left\n"
    "  --lifeline FD        end when this descriptor is closed by its other side\n"
    "  --help, --version\n";

enum option_id {
    OPT_SOCKET = 256,
    OPT_LISTEN,
    OPT_TLS_CERTIFICATE,
    OPT_TLS_KEY,
    OPT_TLS_AUTHORITY,
    OPT_TLS_SECRET,
    OPT_BACKEND,
    OPT_CUDA,
    OPT_THREADS,
    OPT_SURFACE_FORMAT,
    OPT_ALLOW_UID,
    OPT_ALLOW_GID,
    OPT_ALLOW_ANY,
    OPT_MAX_CLIENTS,
    OPT_MAX_CONTEXTS,
    OPT_MAX_SURFACES,
    OPT_MAX_BYTES,
    OPT_MAX_PIXELS,
    OPT_MAX_CUDA_BYTES,
    OPT_MAX_CUDA_SECONDS,
    OPT_MAX_RUN_SECONDS,
    OPT_NPU_CACHE,
    OPT_NPU_CACHE_BYTES,
    /* From here on only on the command line. */
    OPT_CONFIG,
    OPT_ONCE,
    OPT_LIFELINE,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"tls-certificate", required_argument, NULL, OPT_TLS_CERTIFICATE},
    {"tls-key", required_argument, NULL, OPT_TLS_KEY},
    {"tls-authority", required_argument, NULL, OPT_TLS_AUTHORITY},
    {"tls-secret", required_argument, NULL, OPT_TLS_SECRET},
    {"backend", required_argument, NULL, OPT_BACKEND},
    {"cuda", required_argument, NULL, OPT_CUDA},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"surface-format", required_argument, NULL, OPT_SURFACE_FORMAT},
    {"allow-uid", required_argument, NULL, OPT_ALLOW_UID},
    {"allow-gid", required_argument, NULL, OPT_ALLOW_GID},
    {"allow-any", no_argument, NULL, OPT_ALLOW_ANY},
    {"max-clients", required_argument, NULL, OPT_MAX_CLIENTS},
    {"max-contexts", required_argument, NULL, OPT_MAX_CONTEXTS},
    {"max-surfaces", required_argument, NULL, OPT_MAX_SURFACES},
    {"max-bytes", required_argument, NULL, OPT_MAX_BYTES},
    {"max-pixels", required_argument, NULL, OPT_MAX_PIXELS},
    {"max-cuda-bytes", required_argument, NULL, OPT_MAX_CUDA_BYTES},
    {"max-cuda-seconds", required_argument, NULL, OPT_MAX_CUDA_SECONDS},
    {"max-run-seconds", required_argument, NULL, OPT_MAX_RUN_SECONDS},
    {"npu-cache", required_argument, NULL, OPT_NPU_CACHE},
    {"npu-cache-bytes", required_argument, NULL, OPT_NPU_CACHE_BYTES},
    {"config", required_argument, NULL, OPT_CONFIG},
    {"once", no_argument, NULL, OPT_ONCE},
    {"lifeline", required_argument, NULL, OPT_LIFELINE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

void options_refuse(const struct place *place, const char *value, const char *format, ...)
{
    va_list args;

    if (place->file && !*place->name)
        fprintf(stderr, "viaductd: %s:%u: ", place->file, place->line);
    else if (place->file)
        fprintf(stderr, "viaductd: %s:%u: %s = %s: ", place->file, place->line, place->name, value);
    else
        fprintf(stderr, "viaductd: --%s %s: ", place->name, value);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

uint64_t options_number(const struct place *place, const char *text, uint64_t least, uint64_t most)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;

    if (end == text || *text == '-' || end[shift ? 1 : 0] || n > most >> shift ||
        n << shift < least)
        options_refuse(place, text, "give a number from %llu to %llu", (unsigned long long)least,
                       (unsigned long long)most);
    return n << shift;
}

static uint32_t surface_format(const struct place *place, const char *text)
{
    for (size_t i = 0; format_at(i); i++) {
        if (!strcmp(format_at(i)->name, text))
            return format_at(i)->fourcc;
    }
    options_refuse(place, text, "there is no such format");
}

static uid_t user(const struct place *place, const char *text)
{
    const struct passwd *found = getpwnam(text);

    return found ? found->pw_uid : (uid_t)options_number(place, text, 0, UINT32_MAX - 1);
}

static gid_t group(const struct place *place, const char *text)
{
    const struct group *found = getgrnam(text);

    return found ? found->gr_gid : (gid_t)options_number(place, text, 0, UINT32_MAX - 1);
}

bool options_yes(const struct place *place, const char *text)
{
    /* The command line says it by naming the option. */
    if (!text || !strcmp(text, "yes"))
        return true;
    if (strcmp(text, "no"))
        options_refuse(place, text, "say yes or no");
    return false;
}

static void set(struct service_options *o, int id, const struct place *place, const char *text)
{
    switch (id) {
    case OPT_SOCKET:
        o->socket = text;
        break;
    case OPT_LISTEN:
        if (o->listen_count == SERVICE_MAX_LISTEN)
            options_refuse(place, text, "more than %d places to listen on", SERVICE_MAX_LISTEN);
        o->listen[o->listen_count++] = text;
        break;
    case OPT_TLS_CERTIFICATE:
        o->tls_certificate = text;
        break;
    case OPT_TLS_KEY:
        o->tls_key = text;
        break;
    case OPT_TLS_AUTHORITY:
        o->tls_authority = text;
        break;
    case OPT_TLS_SECRET:
        o->tls_secret = text;
        break;
    case OPT_BACKEND:
        o->backend = text;
        break;
    case OPT_CUDA:
        o->cuda = text;
        break;
    case OPT_MAX_CUDA_BYTES:
        o->max_cuda_bytes = options_number(place, text, 1 << 20, 1ull << 40);
        break;
    case OPT_MAX_CUDA_SECONDS:
        o->max_cuda_seconds = (uint32_t)options_number(place, text, 0, 1 << 30);
        break;
    case OPT_MAX_RUN_SECONDS:
        o->max_run_seconds = (uint32_t)options_number(place, text, 0, 1 << 22);
        break;
    case OPT_NPU_CACHE:
        if (*text != '/')
            options_refuse(place, text, "a folder's path from / on is wanted");
        o->npu_cache = text;
        break;
    case OPT_NPU_CACHE_BYTES:
        o->npu_cache_bytes = options_number(place, text, 1 << 20, 1ull << 44);
        break;
    case OPT_THREADS:
        o->threads = (int)options_number(place, text, 1, 16);
        break;
    case OPT_SURFACE_FORMAT:
        o->surface_format = surface_format(place, text);
        break;
    case OPT_ALLOW_UID:
        if (o->allow_uids == SERVICE_MAX_ALLOWED)
            options_refuse(place, text, "more than %d users", SERVICE_MAX_ALLOWED);
        o->allow_uid[o->allow_uids++] = user(place, text);
        break;
    case OPT_ALLOW_GID:
        if (o->allow_gids == SERVICE_MAX_ALLOWED)
            options_refuse(place, text, "more than %d groups", SERVICE_MAX_ALLOWED);
        o->allow_gid[o->allow_gids++] = group(place, text);
        break;
    case OPT_ALLOW_ANY:
        o->allow_any = options_yes(place, text);
        break;
    case OPT_MAX_CLIENTS:
        o->max_clients = (uint32_t)options_number(place, text, 1, VD_MAX_STATS_CLIENTS);
        break;
    case OPT_MAX_CONTEXTS:
        o->max_contexts = (uint32_t)options_number(place, text, 1, VD_MAX_CONTEXTS);
        break;
    case OPT_MAX_SURFACES:
        o->max_surfaces = (uint32_t)options_number(place, text, 1, VD_MAX_SURFACES);
        break;
    case OPT_MAX_BYTES:
        o->max_bytes = options_number(place, text, 1 << 20, 1ull << 40);
        break;
    case OPT_MAX_PIXELS:
        o->max_pixels = options_number(place, text, 1 << 16, 1ull << 40);
        break;
    case OPT_ONCE:
        o->once = true;
        break;
    case OPT_LIFELINE:
        o->lifeline = (int)options_number(place, text, 0, 1 << 20);
        break;
    }
}

static const struct option *find(const char *name)
{
    for (const struct option *o = long_options; o->name && o->val < OPT_CONFIG; o++) {
        if (!strcmp(o->name, name))
            return o;
    }
    return NULL;
}

void options_file(struct service_options *options, const char *path, bool must_be_there)
{
    struct place place = {.file = path};
    struct policy_rule *rule = NULL, *section;
    FILE *file = fopen(path, "re");
    char line[1024];

    if (!file) {
        if (!must_be_there && errno == ENOENT)
            return;
        fprintf(stderr, "viaductd: cannot read %s: %s\n", path, strerror(errno));
        exit(2);
    }
    while (fgets(line, sizeof(line), file)) {
        const struct option *option;
        char *key, *value, *kept;
        int said;

        place.line++;
        place.name = "";
        if (!strchr(line, '\n') && strlen(line) == sizeof(line) - 1)
            options_refuse(&place, "", "the line is too long");
        section = options_rule(&place, line, &options->policy);
        if (section) {
            rule = section;
            continue;
        }
        said = settings_line(line, &key, &value);
        if (!said)
            continue;
        if (said < 0)
            options_refuse(&place, "", "not of the form KEY = VALUE");
        place.name = key;
        option = find(key);
        if (!rule && !option)
            options_refuse(&place, value, "there is no such setting; see viaductd(8)");
        if (!*value)
            options_refuse(&place, value, "a value is missing");
        if (rule) {
            options_rule_set(&options->policy, rule, &place, value);
            continue;
        }
        /* Lives as long as the program. */
        kept = strdup(value);
        if (!kept)
            options_refuse(&place, value, "out of memory");
        set(options, option->val, &place, kept);
        if (option->val > OPT_CUDA)
            free(kept);
    }
    fclose(file);
}

void options_parse(int argc, char **argv, struct service_options *options)
{
    const char *config = NULL;
    int c, index;

    /* The file first, whatever the order: what stands on the command line wins. */
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (c == OPT_CONFIG)
            config = optarg;
        if (c == OPT_VERSION) {
            printf("viaductd %s\n", VIADUCT_VERSION);
            exit(0);
        }
        if (c == OPT_HELP) {
            fputs(usage_text, stdout);
            exit(0);
        }
        if (c == '?') {
            fputs(usage_text, stderr);
            exit(2);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "viaductd: %s: not an option\n%s", argv[optind], usage_text);
        exit(2);
    }
    options_file(options, config ? config : OPTIONS_FILE, config);
    optind = 0;
    while ((c = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        struct place place = {.name = long_options[index].name};

        set(options, c, &place, optarg);
    }
}
