/* SPDX-License-Identifier: MIT */
#ifndef ORT_VERSIONS_H
#define ORT_VERSIONS_H

#include "ortabi.h"

/* What OrtGetApiBase returns to a function at `caller`, whichever version it was linked with. */
const struct ort_api_base *versions_base(const void *caller);

/* The library's one symbol. */
__attribute__((visibility("default"))) const struct ort_api_base *OrtGetApiBase(void);

#endif
