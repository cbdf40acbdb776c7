/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_MODULE_H
#define VIADUCT_CUDA_MODULE_H

#include "internal.h"

/* Of modules, for libraries and the linker. All with the lock. */

/* Options of a load that mean something here: where logs go. */
struct jit {
    struct jit_log {
        char *buffer;
        size_t size;
        int index; /* of the option for its size, from 1 */
    } info, error;
};

CUresult module_options(unsigned count, const CUjit_option *options, void *const *values,
                        struct jit *ret_jit);
/* Says `text` in the error log; the sizes among `values` become those of what was written. */
void module_log(const struct jit *jit, const char *text, void **values);
/* For programs that do not ask for that log, which are those with the runtime: says it in
 * Viaduct's. */
void module_refused(const struct jit *jit, const char *why);
CUresult module_create(struct CUctx_st *c, const char *text, size_t size, const struct jit *jit,
                       void **values, struct CUmod_st **ret_module);
CUresult module_function(struct CUmod_st *m, const char *name, struct CUfunc_st **ret_function);
CUresult module_global(struct CUmod_st *m, const char *name, CUdeviceptr *address, size_t *bytes);
/* A whole file with zeros behind it, to be freed; NULL: it cannot be read. Needs no lock. */
char *module_file(const char *path);

#endif
