/* SPDX-License-Identifier: MIT */
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <transport/broker.h>
#include <transport/tls.h>
#include <transport/virtgpu.h>
#include <unistd.h>
#include <va/va_version.h>
#include <viaduct/errors.h>
#include <wire/dispatch.h>
#include <wire/log.h>
#include <wire/settings.h>
#include <wire/trace.h>

#define HOST_CONFIG_FILE "/etc/viaduct.conf"

bool host_setting(const char *key, char *text, size_t room)
{
    FILE *file = fopen(HOST_CONFIG_FILE, "re");
    char line[512];
    bool found = false;

    while (file && !found && fgets(line, sizeof(line), file)) {
        char *name, *value;

        if (settings_line(line, &name, &value) > 0 && !strcmp(name, key) && strlen(value) < room) {
            strcpy(text, value);
            found = true;
        }
    }
    if (file)
        fclose(file);
    return found;
}

/* Errors after which nothing more can be said over this channel. */
static int host_result(struct host *host, int err)
{
    if (err && !host->dead) {
        host->dead = true;
        log_error("lost the host %s: %s", host->uri, errors_text(err));
    }
    return err;
}

/* One message to the host, behind what waits for it. */
static int send_to(struct host *host, uint32_t op, uint32_t serial, const void *req,
                   const void *tail, uint32_t tail_count, int fd)
{
    const struct dispatch_call *call = dispatch_find(op);
    size_t element = call->req_tail ? call->req_tail->size : 0;

    if (host->link)
        return mirror_guest_send(host->link, op, serial, req, call->req->size, tail, tail_count,
                                 element, HOST_CALL_MS);
    return message_send(host->channel, op, serial, req, call->req->size, tail, tail_count, element,
                        fd, HOST_CALL_MS);
}

static int read_reply(struct host *host, int timeout_ms, const uint8_t **ret_bytes,
                      size_t *ret_size, int *ret_fd)
{
    if (host->link)
        return mirror_guest_reply(host->link, timeout_ms, ret_bytes, ret_size);
    return message_read(&host->reader, timeout_ms, ret_bytes, ret_size, ret_fd);
}

static int region_call(struct host *host, const uint64_t own[2], struct vd_region_rep *rep)
{
    const struct vd_region_req req = {.first = own[0], .second = own[1]};

    return host_call(host, VD_OP_region, &req, NULL, 0, rep, NULL, NULL);
}

/* Whether host and guest mean the same memory: what this side writes the other one must see. */
static int check_region(struct host *host)
{
    struct vd_status_page *status = host->arena.status;
    struct vd_region_rep rep;
    uint64_t own[2];

    if (getrandom(own, sizeof(own), 0) != sizeof(own))
        return VD_ERR_IO;
    own[0] |= 1; /* 0 would be a question */
    __atomic_store_n(&status->region[0], own[0], __ATOMIC_RELEASE);
    __atomic_store_n(&status->region[1], own[1], __ATOMIC_RELEASE);
    return region_call(host, own, &rep);
}

/* The arena is memory of this machine: its host says which, its broker opens it. */
static int open_region(struct host *host, const struct vd_hello_rep *hello)
{
    struct vd_region_rep rep;
    uint64_t token[2];
    int fd, err;

    err = region_call(host, (const uint64_t[2]){0, 0}, &rep);
    if (err)
        return err;
    token[0] = rep.first;
    token[1] = rep.second;
    host->refused = true;
    err = broker_take(host->region, token, &fd);
    if (!err)
        err = arena_open_region(&host->arena, fd, hello);
    if (!err)
        err = check_region(host);
    if (!err)
        err = mirror_guest_create_region(&host->reader, &host->arena, &host->link);
    if (!err)
        log_info("frames are in memory of the machine that its host sees: %llu MiB",
                 (unsigned long long)hello->arena_size >> 20);
    if (err)
        log_warn("no region of this machine's memory by %s: %s; pictures are sent instead",
                 host->region, errors_text(err));
    host->refused = err;
    return err;
}

/* The arena of a session that begins. */
static int open_arena(struct host *host, const struct vd_hello_rep *hello, int *fd)
{
    int err;

    switch (hello->features & VD_FEATURES) {
    case VD_FEATURE_SHARED_ARENA:
        err = arena_open(&host->arena, *fd, hello);
        *fd = -1;
        return err;
    case VD_FEATURE_IN_BAND:
        if (host->channel->ops->shares_memory)
            return VD_ERR_VERSION;
        err = arena_twin(&host->arena, hello);
        if (!err)
            err = mirror_guest_create(&host->reader, &host->arena, &host->link);
        host->mirror = host->link;
        return err;
    case VD_FEATURE_REGION:
        return host->region ? open_region(host, hello) : VD_ERR_VERSION;
    default:
        return VD_ERR_VERSION;
    }
}

static int call_with(struct host *host, uint32_t op, const void *req, const void *tail,
                     uint32_t tail_count, int send_fd, void *rep, const void **ret_tail,
                     uint32_t *ret_tail_count, int *ret_fd)
{
    const struct dispatch_call *call = dispatch_find(op);
    struct dispatch_message message;
    const uint8_t *bytes;
    size_t size;
    int fd = -1, err;

    if (host->dead)
        return VD_ERR_GONE;
    /* 0 marks one-way messages. */
    if (!++host->serial)
        host->serial = 1;
    err = send_to(host, op, host->serial, req, tail, tail_count, send_fd);
    /* Who refuses a client answers and closes, maybe before the question was asked. */
    if (!err)
        err = read_reply(host, HOST_CALL_MS, &bytes, &size, &fd);
    else if (err == VD_ERR_GONE)
        err = read_reply(host, 0, &bytes, &size, &fd);
    if (!err && trace_enabled())
        trace_message("<-", bytes, size);
    if (!err)
        err = dispatch_check_reply(bytes, size, call, host->serial, &message);
    if (err)
        goto out;
    memcpy(rep, message.fixed, call->rep->size);
    if (ret_tail) {
        *ret_tail = message.tail;
        *ret_tail_count = message.tail_count;
    }
    if (ret_fd) {
        *ret_fd = fd;
        fd = -1;
    }
out:
    if (fd >= 0)
        close(fd);
    return host_result(host, err);
}

int host_call(struct host *host, uint32_t op, const void *req, const void *tail,
              uint32_t tail_count, void *rep, const void **ret_tail, uint32_t *ret_tail_count)
{
    return call_with(host, op, req, tail, tail_count, -1, rep, ret_tail, ret_tail_count, NULL);
}

int host_call_fd(struct host *host, uint32_t op, const void *req, void *rep, int fd)
{
    return call_with(host, op, req, NULL, 0, fd, rep, NULL, NULL, NULL);
}

int host_call_take(struct host *host, uint32_t op, const void *req, void *rep,
                   const void **ret_tail, uint32_t *ret_tail_count, int *ret_fd)
{
    return call_with(host, op, req, NULL, 0, -1, rep, ret_tail, ret_tail_count, ret_fd);
}

int host_send(struct host *host, uint32_t op, const void *req, const void *tail,
              uint32_t tail_count)
{
    if (host->dead)
        return VD_ERR_GONE;
    return host_result(host, send_to(host, op, 0, req, tail, tail_count, -1));
}

bool host_passes(const struct host *host)
{
    return host->channel->ops->shares_memory;
}

void host_lost(struct host *host)
{
    host_result(host, VD_ERR_GONE);
}

bool host_alive(void *arg)
{
    struct host *host = arg;

    if (host && host->link)
        return mirror_guest_alive(host->link);
    return host && host->channel->ops->alive(host->channel);
}

static void host_free(struct host *host)
{
    /* Its thread reads the channel. */
    mirror_guest_destroy(host->link);
    message_finish(&host->reader);
    channel_destroy(&host->channel);
    if (host->snapshot)
        munmap(host->snapshot, host->arena.frame_size);
    if (host->pagemap >= 0)
        close(host->pagemap);
    upload_finish(&host->upload);
    arena_finish(&host->arena);
    free(host);
}

static int host_hello(struct host *host, uint64_t features)
{
    struct vd_hello_req req = {
        .magic = VD_MAGIC,
        .major = VD_MAJOR,
        .minor = VD_MINOR,
        .va_version = VA_MAJOR_VERSION << 16 | VA_MINOR_VERSION,
        .features = (host->region ? VD_FEATURES : VD_FEATURES & ~VD_FEATURE_REGION) | features,
        .pid = (uint32_t)getpid(),
    };
    struct vd_hello_rep rep;
    const void *tail;
    uint32_t count;
    int fd = -1, err;

    snprintf(req.name, sizeof(req.name), "%s", program_invocation_short_name);
    err = host_call_take(host, VD_OP_hello, &req, &rep, &tail, &count, &fd);
    if (!err)
        err = errors_from_wire(rep.status);
    if (!err && (rep.major != VD_MAJOR || rep.minor > VD_MINOR))
        err = VD_ERR_VERSION;
    /* What a session is for it is for good. */
    if (!err && (rep.features & ~VD_FEATURES) != features)
        err = features ? VD_ERR_UNSUPPORTED : VD_ERR_VERSION;
    if (!err) /* the tail must not be read again: a mirror reads on */
        memcpy(host->caps, tail, count * sizeof(host->caps[0]));
    if (!err)
        err = open_arena(host, &rep, &fd);
    if (fd >= 0)
        close(fd);
    if (err)
        return err;
    host->cap_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (host->caps[i].format_count > VD_MAX_CAP_FORMATS)
            return VD_ERR_PROTOCOL;
    }
    host->max_contexts = rep.max_contexts < VD_MAX_CONTEXTS ? rep.max_contexts : VD_MAX_CONTEXTS;
    host->max_surfaces = rep.max_surfaces < VD_MAX_SURFACES ? rep.max_surfaces : VD_MAX_SURFACES;
    host->max_bytes = rep.max_bytes;
    memcpy(host->backend, rep.backend, sizeof(host->backend));
    return 0;
}

/*
 * `region`: where this machine's memory is to be had, or NULL. *ret_again: the host has given some,
 * and it is not to be had; another try without will do.
 */
static int open_channel(struct channel *channel, const char *uri, uint32_t generation,
                        uint64_t features, const char *region, bool *ret_again,
                        struct host **ret_host)
{
    struct host *host = calloc(1, sizeof(*host));
    int err;

    if (!host) {
        channel_destroy(&channel);
        return VD_ERR_MEMORY;
    }
    host->refs = 1;
    host->generation = generation;
    host->channel = channel;
    host->arena.fd = -1;
    host->pagemap = -1;
    host->region = region;
    snprintf(host->uri, sizeof(host->uri), "%s", uri);
    message_init(&host->reader, channel);
    err = host_hello(host, features);
    host->region = NULL;
    *ret_again = host->refused;
    if (err) {
        host_free(host);
        return err;
    }
    upload_init(&host->upload, &host->arena);
    *ret_host = host;
    return 0;
}

int host_open_channel(struct channel *channel, const char *uri, uint32_t generation,
                      struct host **ret_host)
{
    return open_channel(channel, uri, generation, 0, NULL, &(bool){0}, ret_host);
}

int host_open_region(struct channel *channel, const char *uri, const char *region,
                     struct host **ret_host)
{
    return open_channel(channel, uri, 1, 0, region, &(bool){0}, ret_host);
}

/*
 * Where the machine's memory is to be had for a session over this channel, or NULL. A channel that
 * has memory of its own to export keeps that.
 */
static const char *region_path(const struct channel *channel, uint64_t features, char *text,
                               size_t room)
{
    const char *named = getenv("VIADUCT_REGION");

    if (features || channel->ops->shares_memory || channel->ops->share)
        return NULL;
    if (named && *named)
        snprintf(text, room, "%s", named);
    else if (!host_setting("region", text, room))
        snprintf(text, room, "%s", BROKER_PATH);
    /* Who may not ask does not. */
    return strcmp(text, "none") && !access(text, W_OK) ? text : NULL;
}

/* A setting of the environment, or of the file. */
static const char *tls_setting(const char *variable, const char *key, char *text, size_t room)
{
    const char *named = getenv(variable);

    if (named && *named)
        return named;
    return host_setting(key, text, room) ? text : NULL;
}

/* Who this guest is for a host that is another machine. */
static int connect_tls(const char *uri, struct channel **ret_channel)
{
    char text[5][256];
    struct tls_settings settings = {
        .certificate =
            tls_setting("VIADUCT_TLS_CERTIFICATE", "tls-certificate", text[0], sizeof(text[0])),
        .key = tls_setting("VIADUCT_TLS_KEY", "tls-key", text[1], sizeof(text[1])),
        .authority =
            tls_setting("VIADUCT_TLS_AUTHORITY", "tls-authority", text[2], sizeof(text[2])),
        .secret = tls_setting("VIADUCT_TLS_SECRET", "tls-secret", text[3], sizeof(text[3])),
        .name = tls_setting("VIADUCT_TLS_NAME", "tls-name", text[4], sizeof(text[4])),
    };
    int err;

    tls_set_client(&settings);
    err = channel_connect(uri, ret_channel);
    /* The texts end here. */
    tls_set_client(&(struct tls_settings){0});
    return err;
}

int host_connect(const char *uri, struct channel **ret_channel)
{
    return strncmp(uri, "tls:", 4) ? channel_connect(uri, ret_channel)
                                   : connect_tls(uri, ret_channel);
}

static int try_uri(const char *uri, uint32_t generation, uint64_t features, struct host **ret_host)
{
    struct channel *channel;
    char text[128];
    bool again = false;
    int err = host_connect(uri, &channel);

    if (!err)
        err = open_channel(channel, uri, generation, features,
                           region_path(channel, features, text, sizeof(text)), &again, ret_host);
    if (!err || !again)
        return err;
    err = host_connect(uri, &channel);
    if (!err)
        err = open_channel(channel, uri, generation, features, NULL, &again, ret_host);
    if (!err)
        (*ret_host)->refused = true;
    return err;
}

int host_open_uri(const char *uri, uint32_t generation, struct host **ret_host)
{
    return try_uri(uri, generation, 0, ret_host);
}

bool host_has_vsock(void)
{
    return !access("/dev/vsock", F_OK);
}

int host_open_for(uint64_t features, bool quiet, uint32_t generation, struct host **ret_host)
{
    char uri[4][192] = {""}, node[64];
    const char *named = getenv("VIADUCT_HOST");
    const char *run = getenv("XDG_RUNTIME_DIR");
    int count = 1, err = VD_ERR_GONE;

    if (named && *named) {
        snprintf(uri[0], sizeof(uri[0]), "%s", named);
    } else if (!host_setting("host", uri[0], sizeof(uri[0]))) {
        count = 0;
        if (run && *run)
            snprintf(uri[count++], sizeof(uri[0]), "unix:%s/viaduct.sock", run);
        snprintf(uri[count++], sizeof(uri[0]), "unix:/run/viaduct/viaduct.sock");
        if (virtgpu_find(node, sizeof(node)))
            snprintf(uri[count++], sizeof(uri[0]), "virtgpu:%s", node);
        if (host_has_vsock())
            snprintf(uri[count++], sizeof(uri[0]), HOST_VSOCK_URI);
    }
    for (int i = 0; i < count; i++) {
        err = try_uri(uri[i], generation, features, ret_host);
        if (!err) {
            log_info("host %s, back end %s", uri[i], (*ret_host)->backend);
            return 0;
        }
        log_info("host %s: %s", uri[i], errors_text(err));
        /* Somebody is there and refuses: the next socket would only hide that. */
        if (err != VD_ERR_GONE && err != VD_ERR_DENIED)
            break;
    }
    if (quiet)
        return err;
    log_error("no host service at %s%s%s%s%s%s%s: %s; start viaductd, set VIADUCT_HOST, or run the "
              "program with `viaduct exec -- ...`",
              uri[0], count > 1 ? ", " : "", uri[1], count > 2 ? ", " : "", uri[2],
              count > 3 ? ", " : "", uri[3], errors_text(err));
    return err;
}

int host_open(uint32_t generation, struct host **ret_host)
{
    return host_open_for(0, false, generation, ret_host);
}

struct host *host_ref(struct host *host)
{
    __atomic_add_fetch(&host->refs, 1, __ATOMIC_RELAXED);
    return host;
}

void host_unref(struct host **ref)
{
    struct host *host = *ref;

    *ref = NULL;
    if (host && !__atomic_sub_fetch(&host->refs, 1, __ATOMIC_ACQ_REL))
        host_free(host);
}

void host_abandon(struct host **ref)
{
    struct host *host = *ref;

    *ref = NULL;
    if (!host)
        return;
    /* The mappings did not come along (MADV_DONTFORK); only descriptors and heap did. */
    host->arena.base = NULL;
    host->snapshot = NULL;
    /* Its thread did not come along either; what it held stays until the child ends. */
    host->link = host->mirror = NULL;
    host_free(host);
}
