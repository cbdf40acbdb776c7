/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_COLOR_H
#define HOST_VPP_COLOR_H

#include <stdbool.h>
#include <stdint.h>

/* What samples mean. Numbers are those of ISO/IEC 23001-8; 2 is "unspecified". */
struct vpp_color {
    int primaries, transfer, matrix;
    bool full_range;
    /* Where chroma lies, in 1/256 of a luma sample from the first; VPP_COLOR_ANYWHERE. */
    int chroma_x, chroma_y;
};

#define VPP_COLOR_UNSPECIFIED 2
#define VPP_COLOR_ANYWHERE    (-513)

/* What a matrix or primaries are in numbers. */
struct vpp_color_weights {
    double red, blue; /* of luma; green has the rest */
};

/*
 * From VAProcColorStandardType and the fields of VAProcColorProperties (VD_PROC_COLOR_FIELDS).
 * What is unspecified stays so, but for the range. `rgb`: the surface has no matrix.
 */
void vpp_color_read(uint32_t standard, const uint32_t *properties, bool rgb,
                    struct vpp_color *ret_color);
/*
 * Fills in what one side leaves open from the other, so that nothing is converted that nobody
 * asked for. Where both are silent, drivers differ; we do as Intel's does, which takes BT.601 for
 * YUV of any size, with sRGB on the other side.
 */
void vpp_color_agree(struct vpp_color *from, bool from_rgb, struct vpp_color *to, bool to_rgb);
/* Whether light itself is converted, not only its coding: primaries or transfer differ. */
bool vpp_color_light(const struct vpp_color *from, const struct vpp_color *to);

struct vpp_color_weights vpp_color_weights(int matrix);
/* From linear RGB of one set of primaries to that of another. */
void vpp_color_gamut(int from, int to, double ret_matrix[3][3]);
/*
 * Signal (0 to 1) to linear light and back, where 1 is the white of SDR (100 cd/m2), as zimg does
 * for displays: BT.709 and its kin are BT.1886's gamma of 2.4. HLG here is without its system
 * gamma.
 */
double vpp_color_to_light(int transfer, double signal);
double vpp_color_to_signal(int transfer, double light);
/* What we have numbers for: a matrix; primaries and transfer. */
bool vpp_color_matrix_known(int matrix);
bool vpp_color_light_known(const struct vpp_color *color);

#endif
