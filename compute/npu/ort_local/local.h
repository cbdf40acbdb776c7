/* SPDX-License-Identifier: MIT */
#ifndef ORT_LOCAL_H
#define ORT_LOCAL_H

#include "compute/npu/ort/versions.h"

/*
 * A libonnxruntime.so.1 that stands before the guest's own: everything goes to that one, but new
 * sessions get Viaduct's execution provider, which is in this library, too. find.c looks for the
 * guest's own; local.c has the table.
 */

/*
 * The library that a program would have without this one: $VIADUCT_ORT_LOCAL, beside the object
 * that `caller` is in, loaded already, in LD_LIBRARY_PATH, where libraries lie. If there is none,
 * Viaduct's own that forwards all. A handle of dlopen's; NULL with a log line.
 */
void *find_runtime(const void *caller);
/* The path of this library. */
const char *find_self(void);

#endif
