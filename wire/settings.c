/* SPDX-License-Identifier: MIT */
#include "settings.h"

#include <ctype.h>
#include <string.h>
#include <viaduct/errors.h>

static char *trim(char *text)
{
    char *end = text + strlen(text);

    while (end > text && isspace((unsigned char)end[-1]))
        *--end = 0;
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

int settings_line(char *line, char **ret_key, char **ret_value)
{
    char *key = trim(line), *value = strchr(key, '=');

    if (!*key || *key == '#')
        return 0;
    if (!value)
        return VD_ERR_PARAMETER;
    *value++ = 0;
    *ret_key = trim(key);
    *ret_value = trim(value);
    return **ret_key ? 1 : VD_ERR_PARAMETER;
}
