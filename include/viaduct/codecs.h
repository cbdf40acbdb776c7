/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CODECS_H
#define VIADUCT_CODECS_H

/*
 * The codecs that va_structs.def and profiles.def speak of. Where profiles of one standard carry
 * different structs or need different decoders they are codecs of their own.
 */
enum vd_codec {
    VD_CODEC_NONE,
    VD_CODEC_H264,
    VD_CODEC_HEVC,
    VD_CODEC_HEVC_EXT, /* range extensions and screen content coding: longer structs */
    VD_CODEC_VP8,
    VD_CODEC_VP9,
    VD_CODEC_AV1,
    VD_CODEC_MPEG2,
    VD_CODEC_MPEG4,
    VD_CODEC_H263,
    VD_CODEC_VC1,  /* Advanced */
    VD_CODEC_WMV3, /* VC-1 Simple and Main */
    VD_CODEC_JPEG,
    VD_CODEC_PROC, /* video processing: VAProfileNone */
    VD_CODEC_COUNT,
};

/* Codec of a VAProfile, VD_CODEC_NONE if the protocol does not know it. */
enum vd_codec codecs_of_profile(int profile);
/*
 * The codec of a profile under a VAEntrypoint: HEVC's extensions have structs of their own for
 * decoding only.
 */
enum vd_codec codecs_of(int profile, int entrypoint);
/* "H.264 High"; "unknown" if the protocol does not know it. */
const char *codecs_profile_name(int profile);
/* "VLD", "EncSlice", ...; "unknown". */
const char *codecs_entrypoint_name(int entrypoint);

#endif
