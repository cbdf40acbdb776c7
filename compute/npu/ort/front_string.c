/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "front.h"

static struct ort_status *check(const struct ort_value *value, size_t index)
{
    if (value->type != ORT_TYPE_TENSOR || !value->texts)
        return front_status(ORT_INVALID_ARGUMENT, "the value is not a tensor of strings");
    if (index >= value->count)
        return front_status(ORT_INVALID_ARGUMENT, "there is no string %zu in it", index);
    return NULL;
}

struct ort_status *ort_GetResizedStringTensorElementBuffer(struct ort_value *value, size_t index,
                                                           size_t length_in_bytes, char **buffer)
{
    struct ort_status *status = check(value, index);
    char *grown;

    if (status)
        return status;
    grown = realloc(value->texts[index].data, length_in_bytes + 1);
    if (!grown)
        return front_no_memory();
    grown[length_in_bytes] = 0;
    value->texts[index] = (struct front_text){grown, length_in_bytes};
    *buffer = grown;
    return NULL;
}

struct ort_status *ort_FillStringTensorElement(struct ort_value *value, const char *s, size_t index)
{
    size_t length = strlen(s);
    char *buffer;
    struct ort_status *status =
        ort_GetResizedStringTensorElementBuffer(value, index, length, &buffer);

    if (!status)
        memcpy(buffer, s, length);
    return status;
}

struct ort_status *ort_FillStringTensor(struct ort_value *value, const char *const *s, size_t s_len)
{
    struct ort_status *status = s_len ? check(value, s_len - 1) : NULL;

    if (!status && s_len != value->count)
        return front_status(ORT_INVALID_ARGUMENT, "%zu strings for a tensor of %zu", s_len,
                            value->count);
    for (size_t i = 0; i < s_len && !status; i++)
        status = ort_FillStringTensorElement(value, s[i], i);
    return status;
}

struct ort_status *ort_GetStringTensorDataLength(const struct ort_value *value, size_t *len)
{
    struct ort_status *status = value->count ? check(value, 0) : NULL;
    size_t sum = 0;

    for (size_t i = 0; i < value->count && !status; i++)
        sum += value->texts[i].size;
    if (!status)
        *len = sum;
    return status;
}

struct ort_status *ort_GetStringTensorContent(const struct ort_value *value, void *s, size_t s_len,
                                              size_t *offsets, size_t offsets_len)
{
    size_t at = 0;
    struct ort_status *status = ort_GetStringTensorDataLength(value, &at);

    if (!status && (s_len < at || offsets_len != value->count))
        status = front_status(ORT_INVALID_ARGUMENT,
                              "room for %zu bytes and %zu strings; %zu, %zu "
                              "are needed",
                              s_len, offsets_len, at, value->count);
    at = 0;
    for (size_t i = 0; !status && i < value->count; i++) {
        offsets[i] = at;
        if (value->texts[i].size)
            memcpy((char *)s + at, value->texts[i].data, value->texts[i].size);
        at += value->texts[i].size;
    }
    return status;
}

struct ort_status *ort_GetStringTensorElementLength(const struct ort_value *value, size_t index,
                                                    size_t *out)
{
    struct ort_status *status = check(value, index);

    if (!status)
        *out = value->texts[index].size;
    return status;
}

struct ort_status *ort_GetStringTensorElement(const struct ort_value *value, size_t s_len,
                                              size_t index, void *s)
{
    struct ort_status *status = check(value, index);

    if (!status && s_len < value->texts[index].size)
        status = front_status(ORT_INVALID_ARGUMENT, "room for %zu bytes; %zu are needed", s_len,
                              value->texts[index].size);
    if (!status && value->texts[index].size)
        memcpy(s, value->texts[index].data, value->texts[index].size);
    return status;
}
