/* SPDX-License-Identifier: MIT */
#include "vc1_picture.h"

#include <viaduct/errors.h>

#include "bits.h"

enum frame_coding_mode { FCM_PROGRESSIVE, FCM_FRAME_INTERLACE, FCM_FIELD_INTERLACE };

#define QUANTIZER_EXPLICIT 1
#define CONDOVER_SELECT    2
#define REFDIST_ONES       14 /* at most, behind two bits (table 106) */

/* Codes 0, 10, 11 for 0, 1, 2 (FCM, CONDOVER, TRANSACFRM). */
static uint32_t read_012(struct bits_reader *r)
{
    return bits_read(r, 1) ? 1 + bits_read(r, 1) : 0;
}

/* Ones before the first zero, at most `most`; the zero is missing then. */
static uint32_t read_ones(struct bits_reader *r, uint32_t most)
{
    uint32_t n = 0;

    while (n < most && bits_read(r, 1))
        n++;
    return n;
}

/* `lines` lines of `length` bits, each behind a bit that says whether it is there (8.7.3.5). */
static void skip_lines(struct bits_reader *r, uint32_t lines, uint32_t length)
{
    for (uint32_t i = 0; i < lines && !r->error; i++) {
        if (!bits_read(r, 1))
            continue;
        for (uint32_t left = length; left > 0;) {
            uint32_t n = left < 32 ? left : 32;

            bits_read(r, n);
            left -= n;
        }
    }
}

/* Pairs of macroblocks, table 80: 0, 10x, 11. */
static void skip_norm2(struct bits_reader *r, uint32_t count)
{
    bits_read(r, count % 2);
    for (uint32_t i = 0; i < count / 2 && !r->error; i++) {
        if (bits_read(r, 1) && !bits_read(r, 1))
            bits_read(r, 1);
    }
}

/* One code of table 81, of which only the length matters. False if there is no such code. */
static bool skip_norm6_code(struct bits_reader *r)
{
    uint32_t code;

    if (bits_read(r, 1))
        return true;
    code = bits_read(r, 3);
    if (code >= 2)
        return true;
    if (code == 0)
        return bits_read(r, 4) != 15;
    if (!bits_read(r, 1)) {
        bits_read(r, 5);
        return true;
    }
    if (bits_read(r, 1))
        return true;
    code = bits_read(r, 3);
    if (code == 0)
        return bits_read(r, 4) != 15;
    return code != 1;
}

/* Tiles of six macroblocks, and what is left over at the left and the top (8.7.3.4). */
static bool skip_norm6(struct bits_reader *r, uint32_t width, uint32_t height)
{
    bool tall = height % 3 == 0 && width % 3 != 0;
    uint32_t tiles = tall ? width / 2 * (height / 3) : width / 3 * (height / 2);

    for (uint32_t i = 0; i < tiles; i++) {
        if (!skip_norm6_code(r) || r->error)
            return false;
    }
    skip_lines(r, tall ? width % 2 : width % 3, height);
    if (!tall && height % 2)
        skip_lines(r, 1, width - width % 3);
    return true;
}

/* A bit plane (8.7). False if it has no legal code. */
static bool skip_bitplane(struct bits_reader *r, uint32_t width, uint32_t height)
{
    uint32_t code;

    bits_read(r, 1); /* INVERT */
    /* IMODE, table 69 */
    switch (bits_read(r, 2)) {
    case 2: /* 10, Norm-2 */
        skip_norm2(r, width * height);
        return true;
    case 3: /* 11, Norm-6 */
        return skip_norm6(r, width, height);
    case 1: /* 01x, row and column skip */
        code = bits_read(r, 1);
        skip_lines(r, code ? width : height, code ? height : width);
        return true;
    default:
        break;
    }
    if (bits_read(r, 1)) /* 001, Diff-2 */
        skip_norm2(r, width * height);
    else if (bits_read(r, 1)) /* 0001, Diff-6 */
        return skip_norm6(r, width, height);
    /* 0000: raw, the bits are in the macroblocks. */
    return true;
}

/* VOPDQUANT (7.1.1.31). */
static void skip_dquant(struct bits_reader *r, uint32_t dquant)
{
    if (dquant != 2) {
        uint32_t profile;

        if (!bits_read(r, 1)) /* DQUANTFRM */
            return;
        profile = bits_read(r, 2);
        if (profile == 1 || profile == 2) /* double or single edges */
            bits_read(r, 2);
        else if (profile == 3 && !bits_read(r, 1)) /* all macroblocks, DQBILEVEL */
            return;
    }
    if (bits_read(r, 3) == 7) /* PQDIFF */
        bits_read(r, 5);
}

/* From the start to RNDCTRL and UVSAMP. False if it is no intra picture. */
static bool read_type(struct bits_reader *r, const VAPictureParameterBufferVC1 *param,
                      uint32_t *ret_fcm)
{
    bool interlace = param->sequence_fields.bits.interlace;
    uint32_t fcm = interlace ? read_012(r) : (uint32_t)FCM_PROGRESSIVE, type;

    if (fcm == FCM_FIELD_INTERLACE) {
        type = bits_read(r, 3); /* FPTYPE, table 105: the first field's type */
        if (type != 0 && type != 1)
            return false;
    } else {
        type = read_ones(r, 4); /* PTYPE, table 35 */
        if (type != 2 && type != 3)
            return false;
    }
    if (param->sequence_fields.bits.tfcntrflag)
        bits_read(r, 8);
    if (param->sequence_fields.bits.pulldown)
        bits_read(r, 2); /* RPTFRM, or TFF and RFF */
    bits_read(r, interlace ? 2 : 1);
    *ret_fcm = fcm;
    return true;
}

int vc1_picture_header_bits(const VAPictureParameterBufferVC1 *param, bool postprocflag,
                            const uint8_t *data, size_t size, uint64_t *ret_bits)
{
    uint32_t quantizer = param->pic_quantizer_fields.bits.quantizer;
    uint32_t dquant = param->pic_quantizer_fields.bits.dquant;
    uint32_t width = (param->coded_width + 15u) / 16, height = (param->coded_height + 15u) / 16;
    uint32_t fcm, pqindex;
    struct bits_reader r;

    /* Pan and scan windows are not looked into. */
    if (param->entrypoint_fields.bits.panscan_flag)
        return VD_ERR_UNSUPPORTED;
    bits_read_init(&r, data, size, true);
    if (!read_type(&r, param, &fcm))
        return VD_ERR_UNSUPPORTED;
    if (fcm == FCM_FIELD_INTERLACE) {
        height = (height + 1) / 2;
        if (param->reference_fields.bits.reference_distance_flag && bits_read(&r, 2) == 3)
            read_ones(&r, REFDIST_ONES);
    }
    if (fcm == FCM_PROGRESSIVE && param->sequence_fields.bits.finterpflag)
        bits_read(&r, 1);
    pqindex = bits_read(&r, 5);
    if (pqindex == 0)
        return VD_ERR_DECODE;
    if (pqindex <= 8)
        bits_read(&r, 1); /* HALFQP */
    if (quantizer == QUANTIZER_EXPLICIT)
        bits_read(&r, 1); /* PQUANTIZER */
    if (postprocflag)
        bits_read(&r, 2);
    if (fcm == FCM_FRAME_INTERLACE && !skip_bitplane(&r, width, height)) /* FIELDTX */
        return VD_ERR_DECODE;
    if (!skip_bitplane(&r, width, height)) /* ACPRED */
        return VD_ERR_DECODE;
    if (param->sequence_fields.bits.overlap &&
        param->pic_quantizer_fields.bits.pic_quantizer_scale <= 8 &&
        read_012(&r) == CONDOVER_SELECT && !skip_bitplane(&r, width, height))
        return VD_ERR_DECODE;
    read_012(&r);     /* TRANSACFRM */
    read_012(&r);     /* TRANSACFRM2 */
    bits_read(&r, 1); /* TRANSDCTAB */
    if (dquant)
        skip_dquant(&r, dquant);
    if (r.error)
        return VD_ERR_DECODE;
    *ret_bits = r.position;
    return 0;
}
