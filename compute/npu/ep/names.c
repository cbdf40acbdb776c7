/* SPDX-License-Identifier: MIT */
#include "names.h"

#include <stdlib.h>
#include <string.h>

static size_t hash(const char *name)
{
    uint64_t sum = 0xcbf29ce484222325u;

    while (*name)
        sum = (sum ^ (unsigned char)*name++) * 0x100000001b3u;
    return (size_t)(sum ^ sum >> 32);
}

static struct names_slot *find(const struct names *names, const char *name)
{
    size_t at = hash(name) & (names->room - 1);

    while (names->slots[at].name && strcmp(names->slots[at].name, name))
        at = (at + 1) & (names->room - 1);
    return &names->slots[at];
}

static bool grow(struct names *names)
{
    struct names more = {.room = names->room ? names->room * 2 : 64, .count = names->count};

    more.slots = calloc(more.room, sizeof(*more.slots));
    if (!more.slots)
        return false;
    for (size_t i = 0; i < names->room; i++) {
        if (names->slots[i].name)
            *find(&more, names->slots[i].name) = names->slots[i];
    }
    free(names->slots);
    *names = more;
    return true;
}

bool names_set(struct names *names, const char *name, uint32_t value)
{
    struct names_slot *slot;

    if (names->count >= names->room / 2 && !grow(names))
        return false;
    slot = find(names, name);
    names->count += !slot->name;
    slot->name = name;
    slot->value = value;
    return true;
}

uint32_t names_get(const struct names *names, const char *name)
{
    const struct names_slot *slot = names->room ? find(names, name) : NULL;

    return slot && slot->name ? slot->value : NAMES_NONE;
}

void names_finish(struct names *names)
{
    free(names->slots);
    *names = (struct names){0};
}
