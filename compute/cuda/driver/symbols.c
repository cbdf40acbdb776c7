/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "symbols.h"

/*
 * The symbols as a table, for cuGetProcAddress, and those that are not implemented. Here all of
 * them are without their types.
 */

#define EXPORT __attribute__((visibility("default")))
#define NONE(symbol)                     \
    EXPORT int symbol(void);             \
    int symbol(void)                     \
    {                                    \
        return CUDA_ERROR_NOT_SUPPORTED; \
    }
#define HAVE(name, symbol, version)                int symbol(void);
#define HAVE_THREAD(name, symbol, version, suffix) HAVE(, symbol, ) HAVE(, symbol##suffix, )
#define LACK(name, symbol, version)                NONE(symbol)
#define LACK_THREAD(name, symbol, version, suffix) NONE(symbol) NONE(symbol##suffix)
#include "symbols.def"
#undef HAVE
#undef HAVE_THREAD
#undef LACK
#undef LACK_THREAD

static const struct symbol {
    const char *name;
    int version;
    int (*function)(void), (*per_thread)(void);
} symbols[] = {
#define HAVE(name, symbol, version)                {#name, version, symbol, symbol},
#define HAVE_THREAD(name, symbol, version, suffix) {#name, version, symbol, symbol##suffix},
#define LACK(name, symbol, version)
#define LACK_THREAD(name, symbol, version, suffix)
#include "symbols.def"
#undef HAVE
#undef HAVE_THREAD
#undef LACK
#undef LACK_THREAD
};

int (*symbols_find(const char *name, int version, bool per_thread,
                   CUdriverProcAddressQueryResult *ret_status))(void)
{
    const struct symbol *best = NULL;

    *ret_status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        const struct symbol *s = &symbols[i];

        if (strcmp(s->name, name))
            continue;
        if (s->version <= version && (!best || s->version >= best->version))
            best = s;
        *ret_status =
            best ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
    }
    return !best ? NULL : per_thread ? best->per_thread : best->function;
}
