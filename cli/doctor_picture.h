/* SPDX-License-Identifier: MIT */
#ifndef CLI_DOCTOR_PICTURE_H
#define CLI_DOCTOR_PICTURE_H

#include "va.h"

/*
 * Decodes one small H.264 picture that is part of this program. 0: done, and ret_right tells
 * whether the pixels are what they must be. Otherwise a VAStatus, and ret_call the call it came
 * from.
 */
VAStatus doctor_picture_decode(const struct va *va, VADisplay display, int *ret_right,
                               const char **ret_call);

#endif
