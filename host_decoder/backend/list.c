/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>

#include "../backend.h"
#include "config.h"

/* The back ends, best first. null is never chosen on its own: it decodes nothing. */
static const struct backend *const backend_list[] = {
#if HAVE_AVCODEC
    &backend_avcodec,
#endif
    &backend_null,
};

#define BACKEND_COUNT (sizeof(backend_list) / sizeof(backend_list[0]))

const struct backend *backend_at(size_t index)
{
    return index < BACKEND_COUNT ? backend_list[index] : NULL;
}

const struct backend *backend_find(const char *name, const struct backend_options *options)
{
    for (size_t i = 0; i < BACKEND_COUNT; i++) {
        const struct backend *b = backend_list[i];

        if (name ? strcmp(name, b->name) : b == &backend_null)
            continue;
        if (!b->probe || !b->probe(options))
            return b;
    }
    return NULL;
}
