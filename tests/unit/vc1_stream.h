/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_TEST_VC1_STREAM_H
#define VIADUCT_TEST_VC1_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include <va/va.h>

#include "bitstream/bits.h"

/*
 * The smallest real VC-1: intra pictures of one shade. The first block of a slice has a DC
 * difference, all others predict it.
 */

enum vc1_fcm { VC1_PROGRESSIVE, VC1_FRAME, VC1_FIELD };

struct vc1_spec {
    bool second_field;
    bool postprocflag;
    bool darker;
    uint32_t rows, columns; /* of macroblocks, of this slice */
    uint32_t acpred; /* coding of the bit plane: IMODE of table 69 as written, and its bits */
};

static inline void vc1_put_012(struct bits_writer *w, uint32_t value)
{
    bits_write(w, value ? 2 : 1, value ? 1 + value : 0);
}

/* IMODE codes; bit planes are all zero, in the shortest way. */
enum { VC1_RAW, VC1_NORM2, VC1_DIFF2, VC1_NORM6, VC1_DIFF6, VC1_ROWS, VC1_COLUMNS, VC1_IMODES };

static inline void vc1_put_bitplane(struct bits_writer *w, uint32_t imode, uint32_t columns,
                                    uint32_t rows)
{
    static const struct {
        uint8_t size, code;
    } codes[VC1_IMODES] = {{4, 0}, {2, 2}, {3, 1}, {2, 3}, {4, 1}, {3, 2}, {3, 3}};
    uint32_t n = 0, ones = 0;

    bits_write(w, 1, 0); /* INVERT */
    bits_write(w, codes[imode].size, codes[imode].code);
    switch (imode) {
    case VC1_NORM2:
    case VC1_DIFF2:
        n = columns * rows % 2 + columns * rows / 2;
        break;
    case VC1_NORM6:
    case VC1_DIFF6:
        if (rows % 3 == 0 && columns % 3) {
            ones = columns / 2 * (rows / 3);
            n = columns % 2;
        } else {
            ones = columns / 3 * (rows / 2);
            n = columns % 3 + rows % 2;
        }
        break;
    case VC1_ROWS:
        n = rows;
        break;
    case VC1_COLUMNS:
        n = columns;
        break;
    default:
        break;
    }
    for (uint32_t i = 0; i < ones; i++)
        bits_write(w, 1, 1); /* table 81: six zeros */
    for (uint32_t i = 0; i < n; i++)
        bits_write(w, 1, 0);
}

/* Picture header of the Advanced profile, up to the macroblocks. */
static inline void vc1_put_header(struct bits_writer *w, const VAPictureParameterBufferVC1 *p,
                                  const struct vc1_spec *spec)
{
    uint32_t fcm = p->picture_fields.bits.frame_coding_mode;
    uint32_t dquant = p->pic_quantizer_fields.bits.dquant;

    if (!spec->second_field) {
        if (p->sequence_fields.bits.interlace)
            vc1_put_012(w, fcm);
        if (fcm == VC1_FIELD)
            bits_write(w, 3, 0); /* FPTYPE I, I */
        else
            bits_write(w, 3, 6); /* PTYPE I */
        if (p->sequence_fields.bits.tfcntrflag)
            bits_write(w, 8, 0x5a);
        if (p->sequence_fields.bits.pulldown && p->sequence_fields.bits.interlace)
            bits_write(w, 2, p->picture_fields.bits.top_field_first << 1);
        else if (p->sequence_fields.bits.pulldown)
            bits_write(w, 2, 0); /* RPTFRM */
        bits_write(w, 1, 1);     /* RNDCTRL */
        if (p->sequence_fields.bits.interlace)
            bits_write(w, 1, 0); /* UVSAMP */
        if (fcm == VC1_FIELD && p->reference_fields.bits.reference_distance_flag)
            bits_write(w, 4, 14); /* REFDIST 4: 11 10 */
        if (fcm == VC1_PROGRESSIVE && p->sequence_fields.bits.finterpflag)
            bits_write(w, 1, 0);
    }
    bits_write(w, 5, p->pic_quantizer_fields.bits.pic_quantizer_scale);
    if (p->pic_quantizer_fields.bits.pic_quantizer_scale <= 8)
        bits_write(w, 1, 0); /* HALFQP */
    if (p->pic_quantizer_fields.bits.quantizer == 1)
        bits_write(w, 1, 1); /* PQUANTIZER */
    if (spec->postprocflag)
        bits_write(w, 2, 0); /* POSTPROC */
    if (fcm == VC1_FRAME)
        vc1_put_bitplane(w, VC1_RAW, spec->columns, spec->rows); /* FIELDTX */
    vc1_put_bitplane(w, spec->acpred, spec->columns, spec->rows);
    if (p->sequence_fields.bits.overlap && p->pic_quantizer_fields.bits.pic_quantizer_scale <= 8) {
        vc1_put_012(w, 2); /* CONDOVER */
        vc1_put_bitplane(w, VC1_ROWS, spec->columns, spec->rows);
    }
    vc1_put_012(w, 0);   /* TRANSACFRM */
    vc1_put_012(w, 0);   /* TRANSACFRM2 */
    bits_write(w, 1, 0); /* TRANSDCTAB */
    if (dquant == 2)
        bits_write(w, 3, 1); /* PQDIFF */
    else if (dquant)
        bits_write(w, 1, 0); /* DQUANTFRM */
}

static inline void vc1_put_macroblocks(struct bits_writer *w, const VAPictureParameterBufferVC1 *p,
                                       const struct vc1_spec *spec)
{
    for (uint32_t i = 0; i < spec->rows * spec->columns; i++) {
        if (p->picture_fields.bits.frame_coding_mode == VC1_FRAME)
            bits_write(w, 1, 0); /* FIELDTX */
        bits_write(w, 1, 1);     /* CBPCY 0 */
        if (spec->acpred == VC1_RAW)
            bits_write(w, 1, 0); /* ACPRED */
        for (unsigned block = 0; block < 4; block++) {
            if (i == 0 && block == 0) {
                bits_write(w, 4, 1); /* difference 2, and its sign */
                bits_write(w, 1, spec->darker);
            } else {
                bits_write(w, 1, 1);
            }
        }
        bits_write(w, 2, 0);
        bits_write(w, 2, 0);
    }
}

#endif
