/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_H
#define HOST_VPP_H

#include <stdbool.h>
#include <stdint.h>
#include <viaduct/protocol.h>

#include "../pixels.h"

/*
 * Video processing in software: from pictures in memory to one picture in memory, as one
 * vaBeginPicture .. vaEndPicture of VAEntrypointVideoProc asks for. Built from libswscale,
 * zimg and libavfilter; nothing here knows sessions or surfaces.
 *
 * All memory is private to the host or shared frame memory that stays mapped; parameters have
 * passed collect_proc.c (counts within limits, ids resolved), values of single fields are still the
 * guest's: anything must be coped with, or refused. Pixels may change under our feet: they are data
 * only.
 */

/* One VAProcPipelineParameterBuffer with its pictures. */
struct vpp_pipeline {
    const struct vd_proc_pipeline *params;
    const struct vd_proc_filter *filters; /* params->filter_count of them */
    struct pixels input;
    struct pixels forward[VD_MAX_PROC_REFS];  /* params->forward_count, nearest first */
    struct pixels backward[VD_MAX_PROC_REFS]; /* params->backward_count, nearest first */
};

struct vpp;

/* A processor, one a context: keeps scalers, filter graphs and tables from picture to picture. */
int vpp_create(int threads, struct vpp **ret_vpp);
/* NULL is fine. */
void vpp_destroy(struct vpp *vpp);
/*
 * Makes `target` from the pipelines, in their order (the first is below the others); what none of
 * them covers gets the first one's background colour. If that is transparent (vpp_keeps), it shows
 * `under`, of the target's size and format: what the surface held before (NULL: black). One thread
 * at a time. 0, -VD_ERR_UNSUPPORTED (a filter or combination that the caps do not promise),
 * -VD_ERR_PARAMETER, -VD_ERR_MEMORY.
 */
int vpp_run(struct vpp *vpp, const struct pixels *target, const struct pixels *under,
            const struct vpp_pipeline *pipelines, uint32_t count);
/* Whether the background of the lowest picture is transparent, as Intel's driver has it: programs
 * draw one picture after the other into a surface. */
bool vpp_keeps(const struct vd_proc_pipeline *lowest);
/*
 * What it can do, for the capability row of VAEntrypointVideoProc: formats (VA_FOURCC_*, best
 * first) and pairs of VD_ATTRIBUTE_* and value. Return how many were written.
 */
uint32_t vpp_formats(uint32_t *ret_formats, uint32_t room);
uint32_t vpp_attributes(uint32_t *ret_types, uint32_t *ret_values, uint32_t room);

#endif
