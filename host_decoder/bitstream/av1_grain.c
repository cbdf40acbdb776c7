/* SPDX-License-Identifier: MIT */
#include <viaduct/errors.h>

#include "av1_parts.h"

int av1_grain_check(const VAFilmGrainStructAV1 *grain)
{
    if (grain->num_y_points > 14 || grain->num_cb_points > 10 || grain->num_cr_points > 10 ||
        grain->cb_offset > 511 || grain->cr_offset > 511)
        return VD_ERR_PARAMETER;
    for (int i = 1; i < grain->num_y_points; i++) {
        if (grain->point_y_value[i] <= grain->point_y_value[i - 1])
            return VD_ERR_PARAMETER;
    }
    for (int i = 1; i < grain->num_cb_points; i++) {
        if (grain->point_cb_value[i] <= grain->point_cb_value[i - 1])
            return VD_ERR_PARAMETER;
    }
    for (int i = 1; i < grain->num_cr_points; i++) {
        if (grain->point_cr_value[i] <= grain->point_cr_value[i - 1])
            return VD_ERR_PARAMETER;
    }
    return 0;
}

static void write_points(struct bits_writer *writer, unsigned count, const uint8_t *value,
                         const uint8_t *scaling)
{
    bits_write(writer, 4, count);
    for (unsigned i = 0; i < count; i++) {
        bits_write(writer, 8, value[i]);
        bits_write(writer, 8, scaling[i]);
    }
}

static void write_coefficients(struct bits_writer *writer, unsigned count, const int8_t *coeffs)
{
    for (unsigned i = 0; i < count; i++)
        bits_write(writer, 8, (uint32_t)(coeffs[i] + 128));
}

void av1_grain_write(struct av1_writing *h)
{
    const VAFilmGrainStructAV1 *grain = &h->param->film_grain_info;
    bool from_luma = grain->film_grain_info_fields.bits.chroma_scaling_from_luma && !h->mono;
    unsigned lag = grain->film_grain_info_fields.bits.ar_coeff_lag;
    unsigned luma = 2 * lag * (lag + 1), chroma = luma + (grain->num_y_points > 0);
    unsigned cb = 0, cr = 0;

    bits_write(h->writer, 1, grain->film_grain_info_fields.bits.apply_grain);
    if (!grain->film_grain_info_fields.bits.apply_grain)
        return;
    bits_write(h->writer, 16, grain->grain_seed);
    if (h->param->pic_info_fields.bits.frame_type == AV1_INTER_FRAME)
        bits_write(h->writer, 1, 1); /* update_grain: VA has all values */
    write_points(h->writer, grain->num_y_points, grain->point_y_value, grain->point_y_scaling);
    if (!h->mono)
        bits_write(h->writer, 1, from_luma);
    if (!h->mono && !from_luma && (h->param->profile == 1 || grain->num_y_points > 0)) {
        cb = grain->num_cb_points;
        cr = grain->num_cr_points;
        write_points(h->writer, cb, grain->point_cb_value, grain->point_cb_scaling);
        write_points(h->writer, cr, grain->point_cr_value, grain->point_cr_scaling);
    }
    bits_write(h->writer, 2, grain->film_grain_info_fields.bits.grain_scaling_minus_8);
    bits_write(h->writer, 2, lag);
    if (grain->num_y_points > 0)
        write_coefficients(h->writer, luma, grain->ar_coeffs_y);
    if (from_luma || cb > 0)
        write_coefficients(h->writer, chroma, grain->ar_coeffs_cb);
    if (from_luma || cr > 0)
        write_coefficients(h->writer, chroma, grain->ar_coeffs_cr);
    bits_write(h->writer, 2, grain->film_grain_info_fields.bits.ar_coeff_shift_minus_6);
    bits_write(h->writer, 2, grain->film_grain_info_fields.bits.grain_scale_shift);
    if (cb > 0) {
        bits_write(h->writer, 8, grain->cb_mult);
        bits_write(h->writer, 8, grain->cb_luma_mult);
        bits_write(h->writer, 9, grain->cb_offset);
    }
    if (cr > 0) {
        bits_write(h->writer, 8, grain->cr_mult);
        bits_write(h->writer, 8, grain->cr_luma_mult);
        bits_write(h->writer, 9, grain->cr_offset);
    }
    bits_write(h->writer, 1, grain->film_grain_info_fields.bits.overlap_flag);
    bits_write(h->writer, 1, grain->film_grain_info_fields.bits.clip_to_restricted_range);
}
