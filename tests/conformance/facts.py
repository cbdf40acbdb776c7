# SPDX-License-Identifier: MIT
"""What the runner knows of each codec: how programs are called, and what VA-API cannot say."""
import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Codec:
    """One row a codec; names as ffprobe and the manifest have them."""
    title: str  # fluster's name, and that of the table
    info: str  # how the lines of `viaduct info` begin
    decoder: tuple = ()  # ffmpeg's options before -i that choose the decoder
    accel: tuple = ()  # the same, through VA-API only
    idct: tuple = ()  # options of the software decoder that make it decode as VA-API can say
    hidden: bool = False  # a shown frame need not be a decoded one (show_existing_frame)
    parser: str = ""  # GStreamer elements
    va: str = ""
    vaapi: str = ""
    software: str = ""


# H.264 Baseline without the constraint flag has no VA profile, nor has MPEG-4 that does not tell
# its own: ffmpeg wants to be asked to take another.
MISMATCH = ("-hwaccel_flags", "allow_profile_mismatch")
CODECS = {
    "h264": Codec("H.264", "H.264", parser="h264parse", va="vah264dec", vaapi="vaapih264dec",
                  software="avdec_h264",
                  accel=MISMATCH),
    "hevc": Codec("H.265", "HEVC", parser="h265parse", va="vah265dec", vaapi="vaapih265dec",
                  software="avdec_h265"),
    # Without -c:v ffmpeg prefers libdav1d, which has no hardware acceleration.
    "av1": Codec("AV1", "AV1", accel=("-c:v", "av1"), hidden=True, parser="av1parse",
                 va="vaav1dec", vaapi="vaapiav1dec", software="dav1ddec"),
    "vp9": Codec("VP9", "VP9", hidden=True, parser="vp9parse", va="vavp9dec", vaapi="vaapivp9dec",
                 software="avdec_vp9"),
    "vp8": Codec("VP8", "VP8", va="vavp8dec", vaapi="vaapivp8dec", software="avdec_vp8"),
    "mpeg2video": Codec("MPEG2_VIDEO", "MPEG-2", parser="mpegvideoparse", va="vampeg2dec",
                        vaapi="vaapimpeg2dec", software="avdec_mpeg2video"),
    "mpeg4": Codec("MPEG4_VIDEO", "MPEG-4", accel=MISMATCH, parser="mpeg4videoparse",
                   vaapi="vaapimpeg4dec", software="avdec_mpeg4",
                   # Xvid's name in the stream's user data chooses another one in FFmpeg.
                   idct=("-idct", "simple")),
    "h263": Codec("H.263", "H.263", parser="h263parse", vaapi="vaapih263dec",
                  software="avdec_h263"),
    "vc1": Codec("VC-1", "VC-1", parser="vc1parse", vaapi="vaapivc1dec", software="avdec_vc1"),
    "wmv3": Codec("WMV3", "VC-1", parser="vc1parse", vaapi="vaapivc1dec", software="avdec_wmv3"),
    "mjpeg": Codec("JPEG", "JPEG", parser="jpegparse", va="vajpegdec", vaapi="vaapijpegdec",
                   software="avdec_mjpeg"),
}
# Names that are easier to type, and the codecs that they mean.
ALIASES = {"jpeg": ["mjpeg"], "mpeg2": ["mpeg2video"], "vc1": ["vc1", "wmv3"],
           "h265": ["hevc"]}

# Formats with the same bytes: only the label of the range differs.
SAME_BYTES = {"yuvj420p": "yuv420p", "yuvj422p": "yuv422p", "yuvj444p": "yuv444p",
              "yuvj440p": "yuv440p", "yuvj411p": "yuv411p"}

# GStreamer's names of planar formats, as far as videocodectestsink takes them.
GST_FORMATS = {"yuv420p": "I420", "yuv422p": "Y42B", "yuv444p": "Y444",
               "yuv420p10le": "I420_10LE", "yuv422p10le": "I422_10LE", "yuv444p10le": "Y444_10LE",
               "yuv420p12le": "I420_12LE", "yuv422p12le": "I422_12LE", "yuv444p12le": "Y444_12LE"}

# Pixel formats for which FFmpeg's decoder offers VA-API at all (the lists given to get_format).
# A codec that is not here always offers it.
OFFERED = {
    "h264": {"yuv420p"},
    "hevc": {"yuv420p", "yuv420p10le", "yuv422p", "yuv422p10le"},
    "vp9": {"yuv420p", "yuv420p10le", "yuv420p12le"},
    "av1": {"yuv420p", "yuv420p10le"},
    "mpeg2video": {"yuv420p"},
}
# (codec, profile): VA-API has no such profile.
NO_PROFILE = {
    ("h264", "High 10"): "VA-API has no profile for H.264 High 10 before libva 1.18",
    ("h264", "High 4:2:2"): "VA-API has no profile for H.264 High 4:2:2",
    ("h264", "High 4:4:4"): "VA-API has no profile for H.264 High 4:4:4",
    ("h264", "High 4:4:4 Predictive"): "VA-API has no profile for H.264 High 4:4:4",
    ("mpeg2video", ""): "the stream does not tell its profile: FFmpeg's VA-API wants to be asked",
    ("mpeg2video", "4:2:2"): "VA-API has no profile for MPEG-2 4:2:2",
    ("mjpeg", "Progressive"): "VA-API has no profile for progressive JPEG",
    ("mjpeg", "Lossless"): "VA-API has no profile for lossless JPEG",
    ("mjpeg", "Sequential"): "VA-API has no profile for extended sequential JPEG",
    ("av1", "Professional"): "VA-API has no profile for AV1 Professional",
}


# What GStreamer 1.22 does not do, with any driver: plugin, codec, file name or word of the
# manifest's features, reason.
GST_CANNOT = (
    ("", "av1", r"\.av1$", "GStreamer does not recognise AV1 in a file of its own"),
    # It looks for the profile's name only, and "simple" and "main" are MPEG-2's, too.
    ("vaapi", "mpeg4", r"^profile:(Simple|Advanced Simple|Main)",
     "gstreamer-vaapi takes MPEG-4 with a profile in its caps for MPEG-2"),
)


def gst_cannot(plugin, codec, name, profile, features):
    """Why GStreamer's own code does not get as far as VA-API, or None."""
    for of_plugin, of_codec, pattern, why in GST_CANNOT:
        words = [name, f"profile:{profile}", *features.split()]
        if of_plugin in ("", plugin) and of_codec == codec and any(
                re.search(pattern, word) for word in words):
            return why
    return None


def plain(pix_fmt):
    return SAME_BYTES.get(pix_fmt, pix_fmt)


def reason(codec, profile, pix_fmt, features=""):
    """Why a clean stream cannot be decoded through VA-API by FFmpeg, or None."""
    known = NO_PROFILE.get((codec, profile))
    if known:
        return known
    if codec == "av1" and profile == "High":
        return "AV1 High is 4:4:4, for which FFmpeg's av1 decoder offers no VA-API"
    if codec in OFFERED and pix_fmt and plain(pix_fmt) not in OFFERED[codec]:
        return f"FFmpeg's {codec} decoder offers VA-API for no {pix_fmt} stream"
    if codec == "hevc" and profile == "9":
        return "FFmpeg has no VA-API profile for HEVC screen content coding"
    if codec == "hevc" and profile == "Rext" and plain(pix_fmt) in ("yuv420p", "yuv420p10le"):
        return "FFmpeg finds no VA-API profile for HEVC range extensions with 4:2:0"
    if codec == "mjpeg" and pix_fmt in ("gbrap", "yuva444p"):
        return "VA-API has no JPEG of four components"
    return None


def wanted(names):
    """The codecs that a list like `h264,jpeg` or `all` means; '' are files that have none."""
    found = []
    for name in names.split(","):
        if name == "all":
            found += ["", *CODECS]
        elif name in ALIASES:
            found += ALIASES[name]
        elif name in CODECS:
            found.append(name)
        else:
            raise ValueError(f"unknown codec {name}; one of all, {', '.join([*CODECS, *ALIASES])}")
    return list(dict.fromkeys(found))
