/* SPDX-License-Identifier: MIT */
#ifndef HOST_OPTIONS_H
#define HOST_OPTIONS_H

#include "service.h"

/*
 * viaductd's options: a file of "key = value" lines, whose keys are the names of the options, and
 * the command line, which wins. Lists (allow-uid, allow-gid) are added up. What is wrong ends the
 * program with exit code 2 and a message that names the place.
 */

#define OPTIONS_FILE "/etc/viaductd.conf"

/* --config, or OPTIONS_FILE if it is there, then the command line; --help and --version, too. */
void options_parse(int argc, char **argv, struct service_options *options);
/* Adds what stands in a file. Texts in `options` may point to memory that stays for good. */
void options_file(struct service_options *options, const char *path, bool must_be_there);

#endif
