/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_ERRORS_H
#define VIADUCT_ERRORS_H

#include <stdint.h>

/*
 * As a general rule functions return 0 or a negative VD_ERR_* code. On the wire the same code
 * travels positive in a `status` field.
 */
#define VD_ERROR(name, value, text) VD_ERR_##name = -(value),
enum vd_error {
    VD_OK = 0,
#include <viaduct/errors.def>
};

/* A `status` field of the wire as a code: 0 or negative, whatever the other side wrote. */
static inline int errors_from_wire(uint32_t status)
{
    return status > 0xffff ? VD_ERR_PROTOCOL : -(int)status;
}

/* Text of a code, negative or positive; "unknown error" for anything else. Never NULL. */
const char *errors_text(int code);

#endif
