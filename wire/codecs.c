/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <viaduct/codecs.h>
#include <viaduct/va_newer.h>

static const struct {
    int profile;
    enum vd_codec codec;
    const char *name;
} codecs_table[] = {
#define VD_PROFILE(profile, codec, number, name) {(number), VD_CODEC_##codec, (name)},
#include <viaduct/profiles.def>
};

#define VD_PROFILE(profile, codec, number, name) \
    _Static_assert((int)(profile) == (number), #profile);
#include <viaduct/profiles.def>

enum vd_codec codecs_of_profile(int profile)
{
    for (size_t i = 0; i < sizeof(codecs_table) / sizeof(codecs_table[0]); i++) {
        if (codecs_table[i].profile == profile)
            return codecs_table[i].codec;
    }
    return VD_CODEC_NONE;
}

enum vd_codec codecs_of(int profile, int entrypoint)
{
    enum vd_codec codec = codecs_of_profile(profile);

    return codec == VD_CODEC_HEVC_EXT && entrypoint != VAEntrypointVLD ? VD_CODEC_HEVC : codec;
}

const char *codecs_profile_name(int profile)
{
    for (size_t i = 0; i < sizeof(codecs_table) / sizeof(codecs_table[0]); i++) {
        if (codecs_table[i].profile == profile)
            return codecs_table[i].name;
    }
    return "unknown";
}

const char *codecs_entrypoint_name(int entrypoint)
{
    switch (entrypoint) {
    case VAEntrypointVLD:
        return "VLD";
    case VAEntrypointEncSlice:
        return "EncSlice";
    case VAEntrypointEncPicture:
        return "EncPicture";
    case VAEntrypointEncSliceLP:
        return "EncSliceLP";
    case VAEntrypointVideoProc:
        return "VideoProc";
    default:
        return "unknown";
    }
}
