/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "internal.h"

/*
 * GStreamer's descriptions of models, MODEL.modelinfo: groups of "key=value" lines, a group for
 * each tensor, named like it. Of an input `ranges` counts here: "LEAST,MOST" for each channel with
 * semicolons between, what samples of 0 and 255 become.
 */

/* The next line, in place, without blanks around; NULL behind the last. */
static char *next_line(char **rest)
{
    char *line = strsep(rest, "\n"), *end;

    if (!line)
        return NULL;
    line += strspn(line, " \t\r");
    end = line + strlen(line);
    while (end > line && strchr(" \t\r", end[-1]))
        *--end = 0;
    return line;
}

/* What stands behind "KEY=", with blanks around the sign. NULL: it is another line. */
static char *value_of(char *line, const char *key)
{
    size_t length = strlen(key);

    if (strncmp(line, key, length))
        return NULL;
    line += length;
    line += strspn(line, " \t");
    if (*line++ != '=')
        return NULL;
    return line + strspn(line, " \t");
}

static int set_ranges(const char *text, struct npu_picture *picture)
{
    size_t channels = picture->order == NPU_ORDER_GRAY ? 1 : 3, count = 0;
    float mean[3], scale[3];

    while (*text && count < 3) {
        float least, most;
        int length = 0;

        if (sscanf(text, " %f , %f%n", &least, &most, &length) != 2 || !isfinite(least) ||
            !isfinite(most) || least == most)
            return client_fail(VD_ERR_PARAMETER,
                               "ranges of a modelinfo are LEAST,MOST;..., not \"%s\"", text);
        scale[count] = (most - least) / 255;
        mean[count] = -least / scale[count];
        count++;
        text += length;
        text += strspn(text, " \t");
        if (*text && *text != ';')
            return client_fail(VD_ERR_PARAMETER, "a modelinfo's ranges have \"%s\" too much", text);
        text += *text == ';';
    }
    if (*text || (count != channels && count != 1))
        return client_fail(VD_ERR_PARAMETER, "a modelinfo has ranges for other than %zu channels",
                           channels);
    for (size_t i = 0; i < channels; i++) {
        picture->mean[i] = mean[count == 1 ? 0 : i];
        picture->scale[i] = scale[count == 1 ? 0 : i];
    }
    return 0;
}

/* Groups are named like tensors, in brackets. */
static bool is_group(const char *line, const char *name)
{
    size_t length = strlen(name);

    return line[0] == '[' && !strncmp(line + 1, name, length) && !strcmp(line + 1 + length, "]");
}

int npu_picture_modelinfo(const char *text, size_t size, const struct npu_io *input,
                          struct npu_picture *picture)
{
    char *copy = strndup(text, size), *rest = copy, *line, *value;
    bool known = false, here = false, there = false;
    struct npu_picture filled = *picture;
    int err = copy ? 0 : client_fail(VD_ERR_MEMORY, "out of memory");

    while (!err && (line = next_line(&rest))) {
        if (*line == '[') {
            known = known || is_group(line, "modelinfo");
            here = is_group(line, input->name);
            there = there || here;
        } else if (here && (value = value_of(line, "ranges"))) {
            err = set_ranges(value, &filled);
        } else if (here && (value = value_of(line, "dir")) && strcmp(value, "input")) {
            err = client_fail(VD_ERR_PARAMETER, "the modelinfo says that %s is no input",
                              input->name);
        } else if (here && (value = value_of(line, "dims-order")) && strcmp(value, "row-major")) {
            err = client_fail(VD_ERR_UNSUPPORTED, "inputs with dims-order %s are not made", value);
        }
    }
    if (!err && !known)
        err = client_fail(VD_ERR_PARAMETER, "this is no modelinfo: there is no group [modelinfo]");
    if (!err && !there)
        err = client_fail(VD_ERR_PARAMETER, "the modelinfo has no group [%s]", input->name);
    if (!err)
        *picture = filled;
    free(copy);
    return err;
}
