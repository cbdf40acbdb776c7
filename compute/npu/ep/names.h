/* SPDX-License-Identifier: MIT */
#ifndef EP_NAMES_H
#define EP_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Names and a number each. Zeroed is empty; names are not copied. No thread but one.
 */
struct names {
    struct names_slot {
        const char *name;
        uint32_t value;
    } * slots;
    size_t count, room; /* room: a power of two */
};

#define NAMES_NONE UINT32_MAX

/* Adds a name or gives it another number; false if there is no memory. */
bool names_set(struct names *names, const char *name, uint32_t value);
/* NAMES_NONE if it is not there. */
uint32_t names_get(const struct names *names, const char *name);
void names_finish(struct names *names);

#endif
