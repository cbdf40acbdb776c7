/* SPDX-License-Identifier: MIT */
#include "stats_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "text.h"

#define STATS_READ_SECONDS 5

static int connect_to(const char *uri, int *ret_fd)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = STATS_READ_SECONDS};
    int fd, n, err;

    if (strncmp(uri, "unix:", 5))
        return VD_ERR_UNSUPPORTED;
    n = snprintf(sun.sun_path, sizeof(sun.sun_path), "%s.stats", uri + 5);
    if (n < 0 || (size_t)n >= sizeof(sun.sun_path))
        return VD_ERR_PARAMETER;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return VD_ERR_IO;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
        err = errno == EACCES ? VD_ERR_DENIED : VD_ERR_GONE;
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

static int read_all(int fd, void *bytes, size_t size)
{
    ssize_t n = recv(fd, bytes, size, MSG_WAITALL);

    if (n < 0)
        return errno == EAGAIN ? VD_ERR_TIMEOUT : VD_ERR_IO;
    if (!n)
        return VD_ERR_DENIED;
    return (size_t)n == size ? 0 : VD_ERR_PROTOCOL;
}

int stats_read_open(const char *uri, struct stats_read *ret_stats)
{
    struct stats_read stats = {0};
    int fd, err;

    err = connect_to(uri, &fd);
    if (err)
        return err;
    err = read_all(fd, &stats.reply, sizeof(stats.reply));
    if (!err && (stats.reply.magic != STATS_MAGIC || stats.reply.rows > VD_MAX_STATS_CLIENTS))
        err = VD_ERR_PROTOCOL;
    if (err)
        goto out;
    stats.rows = calloc(stats.reply.rows + 1, sizeof(*stats.rows));
    if (!stats.rows) {
        err = VD_ERR_MEMORY;
        goto out;
    }
    if (stats.reply.rows)
        err = read_all(fd, stats.rows, stats.reply.rows * sizeof(*stats.rows));
    if (err) {
        free(stats.rows);
        goto out;
    }
    text_printable(stats.reply.backend, sizeof(stats.reply.backend));
    text_printable(stats.reply.ended.engine, sizeof(stats.reply.ended.engine));
    for (uint32_t i = 0; i < stats.reply.rows; i++) {
        struct stats_counters *counters = &stats.rows[i].counters;

        text_printable(counters->backend, sizeof(counters->backend));
        text_printable(counters->engine, sizeof(counters->engine));
        text_printable(counters->name, sizeof(counters->name));
    }
    *ret_stats = stats;
out:
    close(fd);
    return err;
}

void stats_read_finish(struct stats_read *stats)
{
    free(stats->rows);
    stats->rows = NULL;
    stats->reply.rows = 0;
}

struct stats_counters stats_read_total(const struct stats_read *stats)
{
    struct stats_counters total = stats->reply.ended;

    for (uint32_t i = 0; i < stats->reply.rows; i++) {
        const struct stats_counters *counters = &stats->rows[i].counters;

        total.decoded += counters->decoded;
        total.concealed += counters->concealed;
        total.failed += counters->failed;
        total.encoded += counters->encoded;
        total.processed += counters->processed;
        total.mapped += counters->mapped;
        total.bytes_in += counters->bytes_in;
        total.bytes_out += counters->bytes_out;
        total.frame_bytes += counters->frame_bytes;
        total.inferences += counters->inferences;
        total.launches += counters->launches;
        total.cuda_bytes += counters->cuda_bytes;
        total.models += counters->models;
        if (counters->engine[0])
            memcpy(total.engine, counters->engine, sizeof(total.engine));
        total.contexts += counters->contexts;
        total.surfaces += counters->surfaces;
    }
    return total;
}
