/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_VA_NEWER_H
#define VIADUCT_VA_NEWER_H

#include <va/va.h>

/*
 * Names that the libva of this build may be too old for. The guest's may know them: what they
 * stand for is fixed.
 */

#if !VA_CHECK_VERSION(1, 18, 0)
#define VAProfileH264High10 ((VAProfile)36)
#endif

#endif
