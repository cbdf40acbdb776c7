/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_ERRORS_H
#define VIADUCT_ERRORS_H

/*
 * As a general rule functions return 0 or a negative VD_ERR_* code. On the wire the same code
 * travels positive in a `status` field.
 */
#define VD_ERROR(name, value, text) VD_ERR_##name = -(value),
enum vd_error {
    VD_OK = 0,
#include <viaduct/errors.def>
};

/* Text of a code, negative or positive; "unknown error" for anything else. Never NULL. */
const char *errors_text(int code);

#endif
