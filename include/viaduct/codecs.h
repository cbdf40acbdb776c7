/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CODECS_H
#define VIADUCT_CODECS_H

/* The codecs that va_structs.def and profiles.def speak of. */
enum vd_codec {
    VD_CODEC_NONE,
    VD_CODEC_H264,
    VD_CODEC_COUNT,
};

/* Codec of a VAProfile, VD_CODEC_NONE if the protocol does not know it. */
enum vd_codec codecs_of_profile(int profile);
/* "H.264 High"; "unknown" if the protocol does not know it. */
const char *codecs_profile_name(int profile);
/* "VLD", "EncSlice", ...; "unknown". */
const char *codecs_entrypoint_name(int entrypoint);

#endif
