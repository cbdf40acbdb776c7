/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"

void text_printable(char *text, size_t room)
{
    text[room - 1] = 0;
    for (; *text; text++) {
        if (*text < ' ' || *text > '~')
            *text = '?';
    }
}

void text_fourcc(uint32_t fourcc, char *text)
{
    for (int i = 0; i < 4; i++)
        text[i] = (char)(fourcc >> 8 * i & 0xff);
    text_printable(text, 5);
}

int text_only_help(int argc, char **argv, const char *usage)
{
    if (argc == 1)
        return -1;
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        fputs(usage, stdout);
        return CLI_OK;
    }
    fprintf(stderr, "viaduct %s: %s: unknown argument\n%s", argv[0], argv[1], usage);
    return CLI_USAGE;
}
