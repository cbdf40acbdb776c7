/* SPDX-License-Identifier: MIT */
#include <viaduct/errors.h>

const char *errors_text(int code)
{
    switch (code < 0 ? code : -code) {
    case VD_OK:
        return "success";
#define VD_ERROR(name, value, text) \
    case -(value):                  \
        return text;
#include <viaduct/errors.def>
    default:
        return "unknown error";
    }
}
