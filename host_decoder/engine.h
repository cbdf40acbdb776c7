/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENGINE_H
#define HOST_ENGINE_H

#include "backend.h"

/* Which back ends and devices serve here: what --backend means, and what works of it. */

/*
 * Fills a set from a comma list of engines in order of preference; NULL or "" for all that work,
 * hardware first. An item is a back end ("avcodec": its devices, then software), a back end and a
 * device ("vaapi:/dev/dri/renderD129", "avcodec:cuda:1"), or "avcodec:software".
 * What does not work is logged and left out. -VD_ERR_UNSUPPORTED if nothing is left,
 * -VD_ERR_PARAMETER if an item names nothing there could be.
 *
 * Devices are opened in a child process, which the caller must be able to fork (single thread).
 */
int engine_select(const char *spec, const struct backend_options *options,
                  struct backend_set *ret_set);
/* What an engine can serve, at most VD_MAX_CAPS rows; returns how many. */
uint32_t engine_caps(const struct engine *engine, struct vd_cap *ret_caps);
/* Logs what each engine serves. */
void engine_log(const struct backend_set *set);

#endif
