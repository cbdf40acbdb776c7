/* SPDX-License-Identifier: MIT */
#include <va/va_backend.h>

/* Somebody else's driver, as test_fallback wants one: it only says who it is. */
VAStatus __attribute__((visibility("default"))) __vaDriverInit_1_14(VADriverContextP ctx);

VAStatus __vaDriverInit_1_14(VADriverContextP ctx)
{
    ctx->str_vendor = "other";
    return ctx->x11_screen ? VA_STATUS_ERROR_HW_BUSY : VA_STATUS_SUCCESS;
}
