#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real encoders' clients, end to end: stock ffmpeg and GStreamer through the bridge.

usage: encode.py --viaduct PROGRAM [NAME...]

Every file must decode in software without a word, have all frames, and look like its source; the
service's counters must show that the bridge made it. What this host or client lacks is skipped.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile

from pictures import (QUIET, each, elements, expect, mean, distances, near, need_element, said,
                      source)
from run import Bench, Skip, judge, need, run

# Small, moving, with sharp edges and flat areas.
CLIP = "testsrc2=s=176x144:r=25:d=1"
# Noise is as expensive as the quantizer allows, so that a rate has something to control.
NOISY = "testsrc2=s=176x144:r=25:d=10,noise=alls=16:allf=t"
# Pictures of testsrc2 that are one frame apart differ by 24 dB: below that nothing says that it is
# the right one. A coder that works is far above.
RIGHT_PICTURE = 26
# Where quality is asked for: an error as large as half of the step that H.264 has at a quantizer of
# 26, in each sample, is 32 dB; the other codecs' quantizers here are finer than that.
GOOD = 32

PROFILES = {
    "h264": "VAProfileH264High", "hevc": "VAProfileHEVCMain", "vp8": "VAProfileVP8Version0_3",
    "vp9": "VAProfileVP9Profile0", "mpeg2": "VAProfileMPEG2Main", "mjpeg": "VAProfileJPEGBaseline",
}
QUANTIZER = {
    "h264": ["-qp", "24"], "hevc": ["-qp", "24"],
    "vp8": ["-rc_mode", "CQP", "-global_quality", "20"],
    "vp9": ["-rc_mode", "CQP", "-global_quality", "50"],
    "mpeg2": ["-global_quality", "4"], "mjpeg": ["-global_quality", "90"],
}
# What each of the modes of VAConfigAttribRateControl is called by ffmpeg, and given.
MODES = {
    "CBR": ["-b:v", "{rate}", "-maxrate", "{rate}"],
    "VBR": ["-b:v", "{rate}", "-maxrate", "{peak}"],
    "ICQ": ["-global_quality", "24"],
    "QVBR": ["-global_quality", "24", "-b:v", "{rate}", "-maxrate", "{peak}"],
}
# Programs store what they have as JPEG, whose samples everybody takes for full range.
SEEN = {"mjpeg": "scale=in_range=full:out_range=limited", "jpeg":
        "scale=in_range=full:out_range=limited"}
RATES = {"h264": 300, "hevc": 250, "vp8": 300, "vp9": 250, "mpeg2": 600}
TOLERANCE = 0.10

CONTAINERS = {
    "h264.mp4": [], "h264.mkv": [], "h264.ts": [], "h264.flv": [], "h264.avi": [],
    "h264.mov": [], "h264_fragments.mp4": ["-movflags", "empty_moov+frag_keyframe"],
    "h264.m3u8": ["-hls_time", "0.4", "-hls_list_size", "0"],
    "h264_fmp4.m3u8": ["-hls_time", "0.4", "-hls_list_size", "0", "-hls_segment_type", "fmp4"],
    "h264.h264": [],
    "hevc.mp4": ["-tag:v", "hvc1"], "hevc.mkv": [], "hevc.ts": [],
    "hevc_fragments.mp4": ["-movflags", "empty_moov+frag_keyframe"],
    "hevc.m3u8": ["-hls_time", "0.4", "-hls_list_size", "0"],
    "hevc_fmp4.m3u8": ["-hls_time", "0.4", "-hls_list_size", "0", "-hls_segment_type", "fmp4"],
    "vp8.webm": [], "vp8.mkv": [], "vp8.ivf": [],
    "vp9.webm": [], "vp9.mkv": [], "vp9.mp4": [], "vp9.ivf": [],
    "vp9_fragments.mp4": ["-movflags", "empty_moov+frag_keyframe"],
    "mpeg2.ts": [], "mpeg2.mkv": [], "mpeg2.mp4": [], "mpeg2.avi": [], "mpeg2.mpg": [],
    "mjpeg.avi": [], "mjpeg.mkv": [], "mjpeg.mov": [],
}

OPTIONS = {
    "h264 constrained baseline": ["-profile:v", "constrained_baseline"],
    "h264 main": ["-profile:v", "main"],
    "h264 high": ["-profile:v", "high", "-level:v", "4.1"],
    "h264 cavlc": ["-coder", "cavlc"],
    "h264 main cavlc": ["-profile:v", "main", "-coder", "cavlc"],
    "h264 slices": ["-slices", "4"],
    "h264 slices cavlc": ["-slices", "3", "-coder", "cavlc"],
    "h264 no sei": ["-sei", "0"],
    "h264 all sei": ["-sei", "identifier+timing+recovery_point", "-rc_mode", "CBR", "-b:v", "500k"],
    "h264 aud": ["-aud", "1"],
    "h264 aud slices": ["-aud", "1", "-slices", "2"],
    "h264 bframes": ["-bf", "2"],
    "h264 intra": ["-g", "1"],
    "h264 idr interval": ["-g", "5", "-idr_interval", "3"],
    "h264 idr interval cavlc": ["-g", "5", "-idr_interval", "2", "-coder", "cavlc"],
    "h264 quantizers": ["-rc_mode", "CBR", "-b:v", "500k", "-qmin", "18", "-qmax", "30"],
    "h264 frigate": ["-g", "50", "-bf", "0", "-profile:v", "high", "-level:v", "4.1", "-sei:v",
                     "0"],
    "h264 jellyfin": ["-rc_mode", "VBR", "-b:v", "600k", "-maxrate", "600k", "-bufsize", "1200k",
                      "-force_key_frames:0", "expr:gte(t,n_forced*0.4)", "-g:v:0", "10",
                      "-keyint_min:v:0", "10"],
    "h264 obs": ["-rc_mode", "CBR", "-b:v", "800k", "-maxrate", "800k", "-bufsize", "800k",
                 "-profile:v", "high", "-bf", "2", "-g", "50", "-level", "4.0"],
    "h264 one at a time": ["-async_depth", "1"],
    "h264 four at a time": ["-async_depth", "4"],
    "hevc main": ["-profile:v", "main"],
    "hevc aud": ["-aud", "1"],
    "hevc tier": ["-tier", "high", "-level", "120"],
    "hevc no sei": ["-sei", "0"],
    "hevc bframes": ["-bf", "2"],
    "hevc intra": ["-g", "1"],
    "hevc idr interval": ["-g", "5", "-idr_interval", "3"],
    "hevc quantizers": ["-rc_mode", "CBR", "-b:v", "500k", "-qmin", "18", "-qmax", "30"],
    "hevc one at a time": ["-async_depth", "1"],
    "hevc four at a time": ["-async_depth", "4"],
    "vp8 loop filter": ["-loop_filter_level", "30", "-loop_filter_sharpness", "3"],
    "vp8 intra": ["-g", "1"],
    "vp9 intra": ["-g", "1"],
    "vp9 loop filter": ["-loop_filter_level", "20", "-loop_filter_sharpness", "2"],
    "vp9 bframes": ["-bf", "2"],
    "mpeg2 simple": ["-profile:v", "simple"],
    "mpeg2 main": ["-profile:v", "main", "-level", "high"],
    "mpeg2 intra": ["-g", "1"],
    "mpeg2 bframes": ["-bf", "2"],
    "mjpeg no header": ["-jfif", "0", "-huffman", "0"],
    "mjpeg header": ["-jfif", "1", "-huffman", "1"],
}
SUFFIX = {"h264": "mp4", "hevc": "mp4", "vp8": "webm", "vp9": "webm", "mpeg2": "ts",
          "mjpeg": "avi"}


def offered(bench):
    """Rate-control modes of each profile that can be encoded, as vainfo sees them."""
    if "offered" not in bench.made:
        need("vainfo")
        text, _ = bench.bridge(["vainfo", "-a", "--display", "drm"], stats=False, expect=None)
        found, profile = {}, None
        for line in text.splitlines():
            words = line.split()
            if line.startswith("VAProfile"):
                profile = words[0].split("/")[0] if "VAEntrypointEnc" in line else None
            elif profile and words and words[0] == "VAConfigAttribRateControl":
                found[profile] = set()
            if profile in found:
                found[profile] |= {word[6:] for word in words if word.startswith("VA_RC_")}
        bench.made["offered"] = found
    return bench.made["offered"]


def need_codec(bench, codec):
    if PROFILES[codec] not in offered(bench):
        raise Skip(f"nothing encodes {codec} here")


def encode(bench, codec, out, clip, options, upload="format=nv12,hwupload", outputs=()):
    """One run of ffmpeg; (frames, its output, counters)."""
    need_codec(bench, codec)
    file, frames = clip
    text, count = bench.bridge(
        [*QUIET, "-vaapi_device", "/dev/dri/renderD128", "-i", file, "-vf", upload, "-c:v",
         f"{codec}_vaapi", *options, *outputs, "-y", out])
    expect(count, encoded=frames, bytes_out=100)
    return frames, text, count


def packets(file):
    """(size, is a key frame) of each packet."""
    text = run(["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries",
                "packet=size,flags", "-of", "json", file]).stdout.decode()
    return [(int(p["size"]), "K" in p["flags"]) for p in json.loads(text)["packets"]]


def test_containers(bench):
    """Headers that go into the container must be those that the pictures obey."""
    clip = source(bench, "clip", CLIP)

    def check(name, options):
        codec = name.partition(".")[0].partition("_")[0]
        out = bench.path(name)
        frames, _, _ = encode(bench, codec, out, clip, [*QUANTIZER[codec], "-g", "10"],
                              outputs=options)
        near(bench, out, clip[0], frames, GOOD, want_filter=SEEN.get(codec),
             before=["-framerate", "25"] if name.endswith(".h264") else [])
    return each(bench, CONTAINERS, check)


def test_options(bench):
    clip = source(bench, "clip", CLIP)

    def check(name, options):
        codec = name.split()[0]
        out = bench.path(f"options.{SUFFIX[codec]}")
        if not any(o in options for o in ("-rc_mode", "-b:v")):
            options = [*QUANTIZER[codec], *options]
        frames, _, _ = encode(bench, codec, out, clip, options)
        near(bench, out, clip[0], frames, RIGHT_PICTURE if "-b:v" in options else GOOD,
             want_filter=SEEN.get(codec))
    return each(bench, OPTIONS, check)


def test_rate_modes(bench):
    """Each mode that is advertised, and the rate that comes out of those that promise one."""
    noisy, short = source(bench, "noisy", NOISY), source(bench, "clip", CLIP)
    cases = {f"{codec} {mode}": (codec, mode) for codec, profile in PROFILES.items()
             for mode in sorted(offered(bench).get(profile, ())) if mode in MODES}

    def check(name, case):
        codec, mode = case
        clip = noisy if mode in ("CBR", "VBR") else short
        rate = RATES[codec] * 1000
        options = [o.format(rate=rate, peak=rate * 3 // 2) for o in MODES[mode]]
        out = bench.path(f"rate.{SUFFIX[codec]}")
        _, text, _ = encode(bench, codec, out, clip, ["-rc_mode", mode, "-g", "50", *options])
        if said(text):
            raise AssertionError(f"ffmpeg says: {text[-300:]}")
        sizes = [size for size, _ in packets(out)]
        if len(sizes) != clip[1]:
            raise AssertionError(f"{len(sizes)} packets of {clip[1]}")
        made = sum(sizes) * 8 * 25 / len(sizes)
        if mode in ("CBR", "VBR") and abs(made / rate - 1) > TOLERANCE:
            raise AssertionError(f"{made / 1000:.0f} kbit/s, not {rate / 1000:.0f}")
        if mode == "QVBR" and made > rate * 1.5 * (1 + TOLERANCE):
            raise AssertionError(f"{made / 1000:.0f} kbit/s, more than the peak")
        # Noise is what such a rate has to leave out: the picture below it is compared.
        if mean(distances(bench, out, clip[0], "avgblur=3", "avgblur=3")) < RIGHT_PICTURE:
            raise AssertionError("these are not the pictures")
    return each(bench, cases, check)


def test_quantizers(bench):
    """Constant quantizers: coarser ones make less, and all that was asked for is obeyed."""
    clip = source(bench, "clip", CLIP)
    steps = {
        "h264": ("-qp", ("18", "28", "38")), "hevc": ("-qp", ("18", "28", "38")),
        "vp8": ("-global_quality", ("10", "40", "80")),
        "vp9": ("-global_quality", ("40", "100", "180")),
        "mpeg2": ("-global_quality", ("2", "6", "16")),
        "mjpeg": ("-global_quality", ("90", "70", "40")),
    }

    def check(codec, case):
        made = []
        for value in case[1]:
            out = bench.path(f"quantizer.{SUFFIX[codec]}")
            frames, _, _ = encode(bench, codec, out, clip, ["-rc_mode", "CQP", case[0], value])
            size = sum(s for s, _ in packets(out))
            made.append((size, mean(distances(bench, out, clip[0], want_filter=SEEN.get(codec)))))
            if len(packets(out)) != frames:
                raise AssertionError(f"{len(packets(out))} packets of {frames}")
        if not made[0][0] > made[1][0] > made[2][0] or not made[0][1] > made[1][1] > made[2][1]:
            raise AssertionError(f"sizes and PSNR are {made}")
        if made[0][1] < GOOD:
            raise AssertionError(f"{made[0][1]:.1f} dB at the finest")
    return each(bench, steps, check)


def test_speeds(bench):
    """ffmpeg's -compression_level is VA's quality level."""
    clip = source(bench, "clip", CLIP)

    def check(name, level):
        codec = name.split()[0]
        out = bench.path(f"speed.{SUFFIX[codec]}")
        frames, _, _ = encode(bench, codec, out, clip,
                              [*QUANTIZER[codec], "-compression_level", str(level)])
        near(bench, out, clip[0], frames, GOOD)
    cases = {f"{codec} {level}": level for codec, levels in
             (("h264", range(1, 8)), ("hevc", (1, 4, 7)), ("vp8", (1, 7)), ("vp9", (1, 7)))
             for level in levels}
    return each(bench, cases, check)


def test_low_power(bench):
    """The other entry point: the same encoder makes the same pictures."""
    clip = source(bench, "clip", CLIP)

    def check(codec, _):
        made = []
        for low in ("0", "1"):
            out = bench.path(f"low{low}.{SUFFIX[codec]}")
            frames, _, _ = encode(bench, codec, out, clip,
                                  [*QUANTIZER[codec], "-low_power", low])
            made.append(run(["ffmpeg", "-v", "error", "-i", out, "-f", "md5", "-"]).stdout)
            near(bench, out, clip[0], frames, GOOD)
        if made[0] != made[1]:
            raise AssertionError("the pictures differ")
    return each(bench, {codec: None for codec in ("h264", "hevc", "vp9")}, check)


def test_key_frames(bench):
    clip = source(bench, "clip", CLIP)
    cases = {
        "every tenth": (["-g", "10"], {0, 10, 20}),
        "forced": (["-g", "100", "-force_key_frames", "0.28,0.6"], {0, 7, 15}),
        "expression": (["-g", "100", "-force_key_frames", "expr:gte(t,n_forced*0.32)"],
                       {0, 8, 16, 24}),
    }

    def check(name, case):
        codec = name.split()[0]
        out = bench.path(f"keys.{SUFFIX[codec]}")
        frames, _, _ = encode(bench, codec, out, clip, [*QUANTIZER[codec], *case[0]])
        keys = {i for i, (_, key) in enumerate(packets(out)) if key}
        if keys != case[1]:
            raise AssertionError(f"key frames {sorted(keys)}, not {sorted(case[1])}")
        near(bench, out, clip[0], frames, GOOD)
    every = {f"{codec} {name}": case for codec in ("h264", "hevc", "vp8", "vp9", "mpeg2")
             for name, case in cases.items()}
    return each(bench, every, check)


def test_seek(bench):
    """A key frame starts anew: what follows decodes without what was before."""
    clip = source(bench, "clip", CLIP)

    def check(codec, _):
        out = bench.path(f"seek.{SUFFIX[codec]}")
        encode(bench, codec, out, clip, [*QUANTIZER[codec], "-g", "10"])
        near(bench, out, clip[0], 15, GOOD, want_filter="trim=start_frame=10",
             before=["-ss", "0.4"])
    return each(bench, {codec: None for codec in ("h264", "hevc", "vp8", "vp9")}, check)


def test_sizes(bench):
    sizes = {
        "h264": ("34x34", "66x50", "130x98", "1366x768", "1918x1078"), "hevc": ("66x66", "130x98", "354x290"),
        "vp8": ("34x34", "354x290"), "vp9": ("66x50", "354x290"), "mpeg2": ("34x34", "354x290"),
        "mjpeg": ("34x34", "354x290"),
    }

    def check(name, size):
        codec = name.split()[0]
        clip = source(bench, f"size{size}", f"testsrc2=s={size}:r=25:d=0.2")
        out = bench.path(f"size.{SUFFIX[codec]}")
        frames, _, _ = encode(bench, codec, out, clip, QUANTIZER[codec])
        text = run(["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries",
                    "stream=width,height", "-of", "csv=p=0:s=x", out]).stdout.decode()
        if text.split()[0].strip("x") != size:
            raise AssertionError(f"the stream is {text.split()[0]}")
        near(bench, out, clip[0], frames, GOOD, want_filter=SEEN.get(codec))
    every = {f"{codec} {size}": size for codec, all_sizes in sizes.items() for size in all_sizes}
    return each(bench, every, check)


def test_formats(bench):
    """What programs upload; each converted by the service or by ffmpeg's own filters."""
    cases = {
        "h264 yuv420p": "format=yuv420p,hwupload",
        "h264 bgra": "format=bgra,hwupload,scale_vaapi=format=nv12",
        "h264 yuyv422": "format=yuyv422,hwupload,scale_vaapi=format=nv12",
        "h264 p010": "format=p010,hwupload,scale_vaapi=format=nv12",
        "hevc yuv420p": "format=yuv420p,hwupload",
        "mjpeg yuv420p": "format=yuv420p,hwupload",
        "vp8 yuv420p": "format=yuv420p,hwupload",
        "vp9 yuv420p": "format=yuv420p,hwupload",
    }
    clip = source(bench, "clip", CLIP)

    def check(name, upload):
        codec = name.split()[0]
        out = bench.path(f"format.{SUFFIX[codec]}")
        frames, _, count = encode(bench, codec, out, clip, QUANTIZER[codec], upload=upload)
        if "scale_vaapi" in upload:
            expect(count, processed=frames)
        near(bench, out, clip[0], frames, GOOD, want_filter=SEEN.get(codec))
    return each(bench, cases, check)


def test_ten_bits(bench):
    """P010 into HEVC Main 10: finer than what 8 bits can tell."""
    if "VAProfileHEVCMain10" not in offered(bench):
        raise Skip("nothing encodes HEVC Main 10 here")
    clip = source(bench, "clip10", "gradients=s=320x240:r=25:d=0.6:c0=gray:c1=black:speed=0.01",
                  "yuv420p10le")
    out = bench.path("ten.mkv")
    frames, _, _ = encode(bench, "hevc", out, clip, ["-profile:v", "main10", "-qp", "8"],
                          upload="format=p010,hwupload")
    text = run(["ffprobe", "-v", "error", "-show_entries", "stream=pix_fmt", "-of", "csv=p=0",
                out]).stdout.decode()
    if text.strip() != "yuv420p10le":
        raise AssertionError(f"the stream is {text.strip()}")
    return f"{near(bench, out, clip[0], frames, 40):.1f} dB"


def test_repeatable(bench):
    """The same command makes the same file."""
    clip = source(bench, "clip", CLIP)

    def check(codec, _):
        made = []
        for i in range(2):
            out = bench.path(f"same{i}.{SUFFIX[codec]}")
            encode(bench, codec, out, clip, QUANTIZER[codec],
                   outputs=["-fflags", "+bitexact", "-flags:v", "+bitexact"])
            made.append(run(["ffmpeg", "-v", "error", "-i", out, "-c", "copy", "-f", "md5",
                             "-"]).stdout)
        if made[0] != made[1]:
            raise AssertionError("two runs differ")
    return each(bench, {codec: None for codec in ("h264", "hevc", "vp8", "mpeg2", "mjpeg")}, check)


def test_several(bench):
    """Three encoders in one program, on the same pictures."""
    clip = source(bench, "clip", CLIP)
    for codec in ("h264", "hevc", "mjpeg"):
        need_codec(bench, codec)
    outs = {codec: bench.path(f"several_{codec}.{SUFFIX[codec]}")
            for codec in ("h264", "hevc", "mjpeg")}
    command = [*QUIET, "-vaapi_device", "/dev/dri/renderD128", "-i", clip[0], "-filter_complex",
               "format=nv12,hwupload,split=3[h264][hevc][mjpeg]"]
    for codec, out in outs.items():
        command += ["-map", f"[{codec}]", "-c:v", f"{codec}_vaapi", *QUANTIZER[codec], "-y", out]
    _, count = bench.bridge(command)
    expect(count, encoded=3 * clip[1])
    for codec, out in outs.items():
        near(bench, out, clip[0], clip[1], GOOD, want_filter=SEEN.get(codec))
    return "H.264, HEVC and JPEG at a time"


def test_av1(bench):
    """Through libva itself, by both entry points, into what programs play."""
    if not bench.args.av1enc:
        raise Skip("the program av1enc is not built")
    if "VAProfileAV1Profile0" not in offered(bench):
        raise Skip("nothing encodes AV1 here")
    short, noisy = source(bench, "clip", CLIP), source(bench, "noisy", NOISY)

    def check(name, case):
        mode, entrypoint, mux = case
        file, frames = short if mode == "cqp" else noisy
        raw, ivf, out = bench.path("av1.yuv"), bench.path("av1.ivf"), bench.path(f"av1.{mux}")
        run([*QUIET, "-i", file, "-f", "rawvideo", "-y", raw])
        _, count = bench.bridge([os.path.abspath(bench.args.av1enc), mode, entrypoint, "176", "144",
                                 "250000", raw, ivf])
        expect(count, encoded=frames)
        run([*QUIET, "-i", ivf, "-c", "copy", "-y", out])
        found = packets(out)
        if len(found) != frames or [i for i, (_, key) in enumerate(found) if key] != [
                i for i in range(frames) if i % 50 == 0]:
            raise AssertionError(f"{len(found)} packets of {frames}, or other key frames")
        made = sum(size for size, _ in found) * 8 * 25 / frames
        if mode != "cqp" and abs(made / 250000 - 1) > TOLERANCE:
            raise AssertionError(f"{made / 1000:.0f} kbit/s, not 250")
        near(bench, out, file, frames, GOOD if mode == "cqp" else 0)
    cases = {"cqp slice mkv": ("cqp", "slice", "mkv"), "cqp lp mp4": ("cqp", "lp", "mp4"),
             "cbr slice webm": ("cbr", "slice", "webm"), "vbr lp mkv": ("vbr", "lp", "mkv")}
    return each(bench, cases, check)


# Element, properties by mode, what follows it, and the floor.
GST_PARSERS = {"h264": ["!", "h264parse"], "h265": ["!", "h265parse"], "vp8": [], "vp9": [],
               "mpeg2": ["!", "mpegvideoparse"], "jpeg": ["!", "jpegparse"]}
GST = {
    f"{element} {mode} {mux}": (element, properties, mux)
    for element, modes in {
        "vah264enc": {"cqp": ["rate-control=cqp", "qpi=22", "qpp=22"],
                      "cbr": ["rate-control=cbr", "bitrate=600"],
                      "vbr": ["rate-control=vbr", "bitrate=600"]},
        "vah265enc": {"cqp": ["rate-control=cqp", "qpi=22", "qpp=22"],
                      "cbr": ["rate-control=cbr", "bitrate=600"],
                      "vbr": ["rate-control=vbr", "bitrate=600"]},
        "vah264lpenc": {"cqp": ["rate-control=cqp", "qpi=22", "qpp=22"],
                        "cbr": ["rate-control=cbr", "bitrate=600"]},
        "vah265lpenc": {"cqp": ["rate-control=cqp", "qpi=22", "qpp=22"],
                        "cbr": ["rate-control=cbr", "bitrate=600"]},
        "vaapih264enc": {"cqp": ["rate-control=cqp", "init-qp=22"],
                         "cbr": ["rate-control=cbr", "bitrate=600"],
                         "vbr": ["rate-control=vbr", "bitrate=600"]},
        "vaapih265enc": {"cqp": ["rate-control=cqp", "init-qp=22"],
                         "cbr": ["rate-control=cbr", "bitrate=600"],
                         "vbr": ["rate-control=vbr", "bitrate=600"]},
        "vaapivp8enc": {"cqp": ["rate-control=cqp", "yac-qi=20"],
                        "cbr": ["rate-control=cbr", "bitrate=600"]},
        "vaapivp9enc": {"cqp": ["rate-control=cqp", "yac-qi=50"],
                        "cbr": ["rate-control=cbr", "bitrate=600"]},
        "vaapimpeg2enc": {"cqp": ["rate-control=cqp", "quantizer=4"],
                          "cbr": ["rate-control=cbr", "bitrate=1200"]},
        "vaapijpegenc": {"quality": ["quality=90"]},
    }.items()
    for mode, properties in modes.items()
    for mux in (["matroskamux", "mp4mux"] if "26" in element and mode == "cqp" else
                ["matroskamux"])
}


def test_gstreamer(bench):
    need("gst-launch-1.0")
    need("gst-inspect-1.0")
    file, frames = source(bench, "clip", CLIP)
    raw = bench.path("clip.yuv")
    run([*QUIET, "-i", file, "-f", "rawvideo", "-y", raw])

    def check(name, case):
        element, properties, mux = case
        need_element(bench, element)
        codec = element.replace("vaapi", "").removeprefix("va").removesuffix("enc").removesuffix("lp")
        out = bench.path("gst." + ("mp4" if mux == "mp4mux" else "mkv"))
        text, count = bench.bridge(
            ["gst-launch-1.0", "-q", "filesrc", f"location={raw}", "!", "rawvideoparse",
             "format=i420", "width=176", "height=144", "framerate=25/1", "!", "videoconvert", "!",
             "video/x-raw,format=NV12", "!", element, *properties, *GST_PARSERS[codec], "!", mux,
             "!", "filesink", f"location={out}"], env=elements(bench))
        if "ERROR" in text or "CRITICAL" in text:
            raise AssertionError(text[-300:])
        expect(count, encoded=frames)
        near(bench, out, file, frames, GOOD if "cqp" in name or "quality" in name else
             RIGHT_PICTURE, want_filter=SEEN.get(codec))
    return each(bench, GST, check)


# Element, format of the source, and what the stream has.
GST_FORMATS = {f"{element} {source_format}": (element, source_format, pix_fmt)
               for element, source_format, pix_fmt in (
                   ("vah264enc", "YUY2", "yuv420p"), ("vah264enc", "BGRx", "yuv420p"),
                   ("vah265enc", "YUY2", "yuv422p"), ("vah265enc", "Y210", "yuv422p10le"),
                   ("vah265enc", "VUYA", "yuv444p"), ("vah265enc", "Y410", "yuv444p10le"),
                   ("vah265enc", "BGRx", "yuv420p"), ("vaapih264enc", "BGRx", "yuv420p"),
                   ("vaapivp9enc", "YUY2", "yuv420p"))}


def test_gstreamer_formats(bench):
    """Screens and webcams, and HEVC of more chroma: elements find what the encoder takes."""
    need("gst-launch-1.0")
    need("gst-inspect-1.0")
    file, frames = source(bench, "clip", CLIP)
    raw = bench.path("clip.yuv")
    run([*QUIET, "-i", file, "-f", "rawvideo", "-y", raw])

    def check(_, case):
        element, source_format, pix_fmt = case
        need_element(bench, element)
        out = bench.path("format.mkv")
        codec = element.replace("vaapi", "").removeprefix("va").removesuffix("enc")
        text, count = bench.bridge(
            ["gst-launch-1.0", "-q", "filesrc", f"location={raw}", "!", "rawvideoparse",
             "format=i420", "width=176", "height=144", "framerate=25/1", "!", "videoconvert", "!",
             f"video/x-raw,format={source_format}", "!", "videoconvert", "!", element,
             *GST_PARSERS[codec], "!", "matroskamux", "!", "filesink", f"location={out}"],
            env=elements(bench))
        if "ERROR" in text or "CRITICAL" in text:
            raise AssertionError(text[-300:])
        expect(count, encoded=frames)
        made = run(["ffprobe", "-v", "error", "-show_entries", "stream=pix_fmt", "-of", "csv=p=0",
                    out]).stdout.decode().strip()
        if made != pix_fmt:
            raise AssertionError(f"the stream is {made}, not {pix_fmt}")
        near(bench, out, file, frames, RIGHT_PICTURE)
    return each(bench, GST_FORMATS, check)


def test_captions(bench):
    """Captions of television (ATSC A/53) travel in SEI that the program packs."""
    need("gst-launch-1.0")
    need("gst-inspect-1.0")
    need_element(bench, "vah264enc")
    need_element(bench, "avdec_h264")
    text, _ = bench.bridge(["gst-inspect-1.0", "vah264enc"], stats=False, env=elements(bench))
    if "cc-insert" not in text:
        raise Skip("this GStreamer's vah264enc has no cc-insert")
    plain, clip, out = (bench.path(f"{name}.h264") for name in ("plain", "captions", "captioned"))
    made = run([*QUIET, "-f", "lavfi", "-i", CLIP, "-c:v", "libx264", "-bf", "0", "-threads", "1",
                "-y", plain], check=False)
    if made.returncode:
        raise Skip("this ffmpeg cannot make H.264 clips (libx264)")
    # user_data_registered_itu_t_t35 in front of each slice: two triples of line 21.
    body = b"\xb5\x00\x31GA94\x03" + bytes([0xc2, 0xff, 0xfc, 0xc8, 0xe9, 0xfd, 0x80, 0x80, 0xff])
    sei = b"\0\0\0\1\x06" + bytes([4, len(body)]) + body + b"\x80"
    with open(plain, "rb") as file:
        units = file.read().split(b"\0\0\1")
    with open(clip, "wb") as file:
        file.write(units[0] + b"".join((sei if u[0] & 31 in (1, 5) else b"") + b"\0\0\1" + u
                                       for u in units[1:]))
    text, count = bench.bridge(
        ["gst-launch-1.0", "-q", "filesrc", f"location={clip}", "!", "h264parse", "!",
         "avdec_h264", "!", "videoconvert", "!", "video/x-raw,format=NV12", "!", "vah264enc",
         "cc-insert=true", "rate-control=cqp", "!", "h264parse", "!",
         "video/x-h264,stream-format=byte-stream", "!", "filesink", f"location={out}"],
        env=elements(bench))
    frames = len(packets(out))
    expect(count, encoded=frames)
    found = run(["ffprobe", "-v", "error", "-select_streams", "v", "-show_frames",
                 out]).stdout.decode().count("Closed Captions")
    if frames < 20 or found != frames:
        raise AssertionError(f"captions in {found} of {frames} frames")
    near(bench, out, plain, frames, RIGHT_PICTURE)
    return f"{found} frames"


# gst-launch cannot change a property while it plays; GStreamer's own library can. Arguments: the
# pipeline, the property of the element `e`, its new value, and the time in seconds when it is set.
CHANGE_WHILE_PLAYING = """
import ctypes, sys, time
gst = ctypes.CDLL("libgstreamer-1.0.so.0")
gobject = ctypes.CDLL("libgobject-2.0.so.0")
for f in ("gst_parse_launch", "gst_bin_get_by_name", "gst_element_get_bus",
          "gst_bus_timed_pop_filtered"):
    getattr(gst, f).restype = ctypes.c_void_p
gst.gst_init(None, None)
pipeline = ctypes.c_void_p(gst.gst_parse_launch(sys.argv[1].encode(), None))
element = ctypes.c_void_p(gst.gst_bin_get_by_name(pipeline, b"e"))
bus = ctypes.c_void_p(gst.gst_element_get_bus(pipeline))
gst.gst_element_set_state(pipeline, 4)
position, changed = ctypes.c_int64(0), False
for _ in range(6000):
    # End of stream or an error.
    if gst.gst_bus_timed_pop_filtered(bus, ctypes.c_uint64(10000000), 1 | 2):
        break
    gst.gst_element_query_position(element, 3, ctypes.byref(position))
    if not changed and position.value > float(sys.argv[4]) * 1e9:
        gobject.g_object_set(element, sys.argv[2].encode(), ctypes.c_uint(int(sys.argv[3])),
                             ctypes.c_void_p(None))
        changed = True
gst.gst_element_set_state(pipeline, 1)
sys.exit(0 if changed else 3)
"""


def test_live_rate(bench):
    """A bit rate that changes while the stream runs, as programs for calls and games do it."""
    need("gst-inspect-1.0")
    file, frames = source(bench, "noisy", NOISY)
    raw = bench.path("noisy.yuv")
    run([*QUIET, "-i", file, "-f", "rawvideo", "-y", raw])
    cases = {"vah264enc": "h264", "vah265enc": "h265", "vaapih264enc": "h264"}

    def check(element, codec):
        need_element(bench, element)
        out = bench.path(f"live.{codec}")
        # As fast as 5 ms a frame: there must be time to change it in the middle.
        pipeline = (f"filesrc location={raw} ! rawvideoparse format=i420 width=176 height=144 "
                    "framerate=25/1 ! identity sleep-time=5000 ! videoconvert ! "
                    f"video/x-raw,format=NV12 ! {element} name=e rate-control=cbr bitrate=600 ! "
                    f"{codec}parse ! video/x-{codec},stream-format=byte-stream,alignment=au ! "
                    f"filesink location={out}")
        _, count = bench.bridge([sys.executable, "-c", CHANGE_WHILE_PLAYING, pipeline, "bitrate",
                                 "150", "4"], env=elements(bench))
        expect(count, encoded=frames)
        sizes = [size for size, _ in packets(out)]
        if len(sizes) != frames:
            raise AssertionError(f"{len(sizes)} packets of {frames}")
        # The middle, where it changes and settles, belongs to nobody.
        before, after = (8 * 25 * sum(part) / len(part) / 1000 for part in (sizes[:80],
                                                                          sizes[-80:]))
        if not 450 < before < 750 or not 100 < after < 225:
            raise AssertionError(f"{before:.0f} kbit/s for 600, then {after:.0f} for 150")
        # At such a rate little is left of the noise: all that counts is that it decodes.
        near(bench, out, file, frames, 0, before=["-framerate", "25"])
    return each(bench, cases, check)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viaduct", required=True)
    parser.add_argument("--every", type=int, default=1, metavar="N",
                        help="of tables of cases, every Nth only")
    parser.add_argument("--av1enc", help="the program of tests/e2e/av1enc.c")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    args.viaduct = os.path.abspath(args.viaduct)
    tests = {name[5:]: test for name, test in globals().items() if name.startswith("test_")}
    if not shutil.which("ffmpeg"):
        print("SKIP: ffmpeg is not installed")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        return judge(tests, Bench(args, folder), args.names)


if __name__ == "__main__":
    sys.exit(main())
