/* SPDX-License-Identifier: MIT */
#ifndef CLI_STATS_READ_H
#define CLI_STATS_READ_H

#include <host_decoder/stats.h>

/* One answer of "<socket>.stats". Texts are terminated and printable. */
struct stats_read {
    struct stats_reply reply;
    struct stats_row *rows;
};

/*
 * Asks the service behind "unix:PATH". -VD_ERR_UNSUPPORTED for other kinds of channel,
 * -VD_ERR_GONE if nobody listens, -VD_ERR_DENIED if the policy gives no answer, -VD_ERR_PROTOCOL
 * for another version's answer.
 */
int stats_read_open(const char *uri, struct stats_read *ret_stats);
void stats_read_finish(struct stats_read *stats);
/* Ended clients and those that are connected, together. */
struct stats_counters stats_read_total(const struct stats_read *stats);

#endif
