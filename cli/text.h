/* SPDX-License-Identifier: MIT */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Ends a text that came from elsewhere and replaces whatever is not printable in it: a name may
 * hold anything, also commands to a terminal.
 */
void text_printable(char *text, size_t room);
/* A fourcc as text, printable. `text` has room for 5. */
void text_fourcc(uint32_t fourcc, char *text);
/*
 * For commands that take no arguments but --help: -1 to go on, else the exit code, after the
 * usage text went where it belongs.
 */
int text_only_help(int argc, char **argv, const char *usage);

#endif
