/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>
#include <viaduct/errors.h>

#include "../backend.h"
#include "config.h"

/* The back ends, best first. null is never chosen on its own: it decodes nothing. */
static const struct backend *const backend_list[] = {
#if HAVE_AVCODEC
    &backend_avcodec,
#endif
#if HAVE_DAV1D
    &backend_dav1d,
#endif
    &backend_null,
};

#define BACKEND_COUNT (sizeof(backend_list) / sizeof(backend_list[0]))

int backend_select(const char *name, const struct backend_options *options,
                   struct backend_set *ret_set)
{
    struct backend_set set = {0};
    size_t used = 0;

    for (size_t i = 0; i < BACKEND_COUNT && set.count < BACKEND_SET_MAX; i++) {
        const struct backend *b = backend_list[i];
        size_t length = strlen(b->name);

        if (name && name[0] ? strcmp(name, b->name) : b == &backend_null)
            continue;
        if (b->probe && b->probe(options))
            continue;
        set.at[set.count++] = b;
        if (used + length + 2 > sizeof(set.name))
            continue;
        if (used > 0)
            set.name[used++] = '+';
        memcpy(set.name + used, b->name, length);
        used += length;
    }
    *ret_set = set;
    return set.count ? 0 : VD_ERR_UNSUPPORTED;
}
