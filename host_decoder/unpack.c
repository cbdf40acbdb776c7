/* SPDX-License-Identifier: MIT */
#include "unpack.h"

#include <string.h>
#include <va/va.h>

#include "vpp/vpp_rows.h"

/* The last pixel of an odd row stands for a pair. */
static void row_21x(uint8_t *luma, uint8_t *u, uint8_t *v, const uint8_t *from, size_t width,
                    int down)
{
    size_t pairs = width / 2;
    uint8_t last[4];

    vpp_rows()->unpack21x(luma, u, v, from, pairs, down);
    if (width % 2) {
        vpp_rows()->unpack21x(last, u + 2 * pairs, v + 2 * pairs, from + 8 * pairs, 1, down);
        memcpy(luma + 4 * pairs, last, 2);
    }
}

void unpack_run(const struct pixels *pixels, uint8_t *const planes[3], const int strides[3])
{
    const uint8_t *from = pixels->bytes + pixels->layout->offset[0];

    for (size_t y = 0; y < pixels->height; y++, from += pixels->layout->pitch[0]) {
        uint8_t *luma = planes[0] + y * (size_t)strides[0];
        uint8_t *u = planes[1] + y * (size_t)strides[1], *v = planes[2] + y * (size_t)strides[2];

        switch (pixels->format->fourcc) {
        case VA_FOURCC_Y410:
            vpp_rows()->unpack10(luma, u, v, from, pixels->width);
            break;
        case VA_FOURCC_Y210:
            row_21x(luma, u, v, from, pixels->width, 6);
            break;
        case VA_FOURCC_Y212:
            row_21x(luma, u, v, from, pixels->width, 0);
            break;
        case VA_FOURCC_Y412:
            vpp_rows()->unpack41x(luma, u, v, from, pixels->width);
            break;
        default:
            vpp_rows()->unpack8(luma, u, v, from, pixels->width);
            break;
        }
    }
}
