/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_CODED_H
#define BACKEND_CODED_H

#include "../backend.h"

/*
 * Completes a coded buffer: `size` bytes of the stream lie behind the head, `status` is
 * VA_CODED_BUF_STATUS_*; with an error of the picture (negative, 0: none) there are none. The
 * stream is written before: the guest looks at the head when the context's `done` says so.
 */
void coded_head(const struct backend_work *work, uint32_t size, uint32_t status, int err);

#endif
