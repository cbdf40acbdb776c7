/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "front.h"

static size_t find(const struct ort_key_value_pairs *pairs, const char *key)
{
    size_t i = 0;

    while (i < pairs->count && strcmp(pairs->keys[i], key))
        i++;
    return i;
}

int front_pairs_set(struct ort_key_value_pairs *pairs, const char *key, const char *value)
{
    size_t i = find(pairs, key), room = pairs->count + 1;
    char *copy = strdup(value), **grown;

    if (!copy)
        return -1;
    if (i < pairs->count) {
        free(pairs->values[i]);
        pairs->values[i] = copy;
        return 0;
    }
    grown = realloc(pairs->keys, room * sizeof(*grown));
    pairs->keys = grown ? grown : pairs->keys;
    if (grown)
        grown = realloc(pairs->values, room * sizeof(*grown));
    pairs->values = grown ? grown : pairs->values;
    if (!grown || !(pairs->keys[i] = strdup(key))) {
        free(copy);
        return -1;
    }
    pairs->values[i] = copy;
    pairs->count++;
    return 0;
}

const char *front_pairs_get(const struct ort_key_value_pairs *pairs, const char *key)
{
    size_t i = find(pairs, key);

    return i < pairs->count ? pairs->values[i] : NULL;
}

void front_pairs_finish(struct ort_key_value_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->keys[i]);
        free(pairs->values[i]);
    }
    free(pairs->keys);
    free(pairs->values);
    *pairs = (struct ort_key_value_pairs){0};
}

void ort_CreateKeyValuePairs(struct ort_key_value_pairs **out)
{
    *out = calloc(1, sizeof(**out));
}

void ort_AddKeyValuePair(struct ort_key_value_pairs *kvps, const char *key, const char *value)
{
    /* There is no way to say that there is no memory. */
    if (key && *key && value)
        (void)front_pairs_set(kvps, key, value);
}

const char *ort_GetKeyValue(const struct ort_key_value_pairs *kvps, const char *key)
{
    return front_pairs_get(kvps, key);
}

void ort_GetKeyValuePairs(const struct ort_key_value_pairs *kvps, const char *const **keys,
                          const char *const **values, size_t *num_entries)
{
    *keys = (const char *const *)kvps->keys;
    *values = (const char *const *)kvps->values;
    *num_entries = kvps->count;
}

void ort_RemoveKeyValuePair(struct ort_key_value_pairs *kvps, const char *key)
{
    size_t i = find(kvps, key);

    if (i == kvps->count)
        return;
    free(kvps->keys[i]);
    free(kvps->values[i]);
    kvps->count--;
    kvps->keys[i] = kvps->keys[kvps->count];
    kvps->values[i] = kvps->values[kvps->count];
}

void ort_ReleaseKeyValuePairs(struct ort_key_value_pairs *input)
{
    if (input)
        front_pairs_finish(input);
    free(input);
}
