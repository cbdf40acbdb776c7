#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Video processing, end to end: stock ffmpeg and GStreamer through the bridge.

usage: process.py --viaduct PROGRAM [--corpus DIR] [NAME...]

Each filter is compared with software that does the same; the service's counters must show that the
bridge did it, and in transcodes that no picture left the host. What this machine lacks is skipped.
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

# One device for decoders, filters and encoders.
DEVICE = ["-init_hw_device", "vaapi=va:/dev/dri/renderD128", "-filter_hw_device", "va"]
DECODE = ["-hwaccel", "vaapi", "-hwaccel_device", "va", "-hwaccel_output_format", "vaapi"]
CLIP = "testsrc2=s=320x240:r=25:d=0.6"
# Natural pictures are smoother than test patterns: patterns through a slight blur.
SOFT = "testsrc2=s=640x480:r=25:d=0.6,gblur=sigma=2"
INTERLACED = "testsrc2=s=320x240:r=50:d=1.2,gblur=sigma=1,interlace=scan=tff:lowpass=off"

# Floors in dB. The same arithmetic, bit by bit:
SAME = 99
# The same arithmetic, but for how results are rounded: an error of 1 in every sample is 48.1 dB.
ROUNDED = 48
# Another kernel of interpolation: swscale's bilinear and bicubic differ by about 38 dB on SOFT.
KERNEL = 38
# Colours by way of RGB or another matrix: errors of 2 in each sample.
COLORS = 42

# Through the bridge, in software, floor.
FILTERS = {
    "scale down": (SOFT, "scale_vaapi=w=320:h=240", "scale=320:240:flags=bicubic", KERNEL),
    "scale up": (SOFT, "scale_vaapi=w=960:h=720", "scale=960:720:flags=bicubic", KERNEL),
    "scale odd": (SOFT, "scale_vaapi=w=426:h=238", "scale=426:238:flags=bicubic", KERNEL),
    "scale fast": (SOFT, "scale_vaapi=w=320:h=240:mode=fast", "scale=320:240:flags=bilinear",
                   KERNEL),
    "scale nothing": (CLIP, "scale_vaapi=w=320:h=240", "null", SAME),
    "scale aspect": (SOFT, "scale_vaapi=w=320:h=320:force_original_aspect_ratio=decrease",
                     "scale=320:240:flags=bicubic", KERNEL),
    "to P010 and back": (CLIP, "scale_vaapi=format=p010,scale_vaapi=format=nv12", "null", SAME),
    "to full range": (CLIP, "scale_vaapi=out_range=full", "scale=out_range=full", ROUNDED - 3),
    # Between matrices swscale drops chroma unless told not to.
    "bt709": (SOFT, "setparams=colorspace=smpte170m:range=tv,scale_vaapi=out_color_matrix=bt709",
              "scale=in_color_matrix=smpte170m:out_color_matrix=bt709:"
              "flags=accurate_rnd+full_chroma_int+full_chroma_inp+bicubic", COLORS),
    "clockwise": (CLIP, "transpose_vaapi=dir=clock", "transpose=dir=clock", SAME),
    "counterclockwise": (CLIP, "transpose_vaapi=dir=cclock", "transpose=dir=cclock", SAME),
    "clockwise flip": (CLIP, "transpose_vaapi=dir=clock_flip", "transpose=dir=clock_flip", SAME),
    "counterclockwise flip": (CLIP, "transpose_vaapi=dir=cclock_flip", "transpose=dir=cclock_flip",
                              SAME),
    "half turn": (CLIP, "transpose_vaapi=dir=reversal", "hflip,vflip", SAME),
    "mirror": (CLIP, "transpose_vaapi=dir=hflip", "hflip", SAME),
    "upside down": (CLIP, "transpose_vaapi=dir=vflip", "vflip", SAME),
    "denoise": (SOFT + ",noise=alls=20:allf=t", "denoise_vaapi=denoise=32", "hqdn3d", ROUNDED),
    "sharpness": (SOFT, "sharpness_vaapi=sharpness=44", "unsharp=5:5:1:5:5:0", ROUNDED),
    "procamp nothing": (CLIP, "procamp_vaapi=b=0:c=1:h=0:s=1", "null", SAME),
    "brightness": (CLIP, "procamp_vaapi=b=16", "lutyuv=y=val+16", SAME),
    "contrast": (CLIP, "procamp_vaapi=c=1.2", "lutyuv=y=clip(round((val-16)*1.2+16)\\,0\\,255)",
                 ROUNDED),
    "saturation": (CLIP, "procamp_vaapi=s=1.5", "hue=s=1.5", ROUNDED),
    "hue": (CLIP, "procamp_vaapi=h=40", "hue=h=40", ROUNDED),
    "jellyfin": (SOFT, "scale_vaapi=w=320:h=240:format=nv12:extra_hw_frames=24,"
                       "procamp_vaapi=b=8:c=1.1",
                 "scale=320:240:flags=bicubic,lutyuv=y=clip((val-16)*1.1+24\\,0\\,255)", KERNEL),
}


def upload(name):
    return f"format=nv12,hwupload,{name},hwdownload,format=nv12"


def filtered(bench, name, clip, graph, before=(), least=None):
    """A clip through a graph on surfaces: the file; counters looked at."""
    out = bench.path(f"{name}.nut")
    file, frames = clip
    text, count = bench.bridge([*QUIET, *DEVICE, *before, "-i", file, "-vf", graph, "-c:v",
                                "rawvideo", "-y", out])
    if said(text):
        raise AssertionError(f"ffmpeg says: {text[-300:]}")
    expect(count, processed=frames if least is None else least)
    return out


def test_filters(bench):
    sources = {}

    def check(_, case):
        graph, bridge, software, floor = case
        name = sources.setdefault(graph, f"source{len(sources)}")
        clip = source(bench, name, graph)
        out = filtered(bench, "filter", clip, upload(bridge), least=0 if bridge == "null" else None)
        near(bench, out, clip[0], clip[1], floor, want_filter=software)
    return each(bench, FILTERS, check)


def test_formats(bench):
    """Layouts and depths in and out: what is stored is the same picture."""
    clip = source(bench, "clip", CLIP)
    formats = {"nv12": SAME, "yuv420p": SAME, "yuyv422": SAME, "uyvy422": SAME, "p010": ROUNDED,
               "bgra": COLORS - 4, "rgba": COLORS - 4, "bgr0": COLORS - 4}

    def check(name, floor):
        into, outof = name.split(" to ")
        # RGB has the full range, and what is made of it keeps that unless told otherwise.
        ranges = ":out_range=tv" if into in ("bgra", "rgba", "bgr0") else ""
        graph = (f"format={into},hwupload,scale_vaapi=format={outof}{ranges},hwdownload,"
                 f"format={outof},format={'yuv420p10le' if outof == 'p010' else outof}")
        out = filtered(bench, "format", clip, graph)
        near(bench, out, clip[0], clip[1], floor)
    cases = {f"{name} to nv12": floor for name, floor in formats.items() if name != "nv12"}
    cases.update({f"nv12 to {name}": floor for name, floor in formats.items() if name != "nv12"})
    # 4:2:2 carries chroma lines that 4:2:0 does not have: they are interpolated, then averaged.
    return each(bench, {name: min(floor, KERNEL) if "22" in name else floor
                 for name, floor in cases.items()}, check)


def test_deinterlace(bench):
    """
    deinterlace_vaapi loses frames at the start, one for each reference that it waits for, and
    shows the last ones again; so each must equal some frame near by, in order.
    """
    clip = source(bench, "interlaced", INTERLACED)
    cases = {
        # Bob makes the lines of the other field by itself; yadif and bwdif are what the adaptive
        # ways are made of. At the ends they have no neighbours.
        "weave": ("mode=weave", "null", SAME),
        "bob": ("mode=bob", "bwdif=mode=send_frame", 30),
        "motion_adaptive": ("mode=motion_adaptive", "yadif=mode=send_frame", ROUNDED),
        "motion_compensated": ("mode=motion_compensated", "bwdif=mode=send_frame", ROUNDED),
        "default field": ("rate=field", "bwdif=mode=send_field", ROUNDED),
        "motion_adaptive field": ("mode=motion_adaptive:rate=field", "yadif=mode=send_field",
                                  ROUNDED),
        "bob field": ("mode=bob:rate=field", "bwdif=mode=send_field", 30),
    }

    def check(name, case):
        options, software, floor = case
        graph = f"setfield=tff,format=nv12,hwupload,deinterlace_vaapi={options},hwdownload," \
                "format=nv12"
        out = filtered(bench, "deinterlaced", clip, graph, least=clip[1] - 2)
        rate = 2 if "field" in name else 1
        found = []
        for first in range(0, 3 * rate):
            found = distances(bench, out, clip[0],
                              want_filter=f"setfield=tff,{software},trim=start_frame={first}")
            if mean(found[:len(found) - 2 * rate]) >= floor:
                break
        if len(found) < rate * (clip[1] - 3):
            raise AssertionError(f"{len(found)} frames")
        middle = found[rate:len(found) - 2 * rate]
        if min(middle) < floor:
            raise AssertionError(f"{min(middle):.1f} dB, at least {floor} expected: {found}")
    return each(bench, cases, check)


def test_overlay(bench):
    """Two pictures in one. ffmpeg's own default for alpha is 0, which is: not to be seen."""
    clip = source(bench, "clip", CLIP)
    small = source(bench, "small", "testsrc=s=96x64:r=25:d=0.6")
    cases = {
        "opaque": ("overlay_vaapi=x=32:y=16:alpha=1", "overlay=x=32:y=16", SAME),
        "half": ("overlay_vaapi=x=32:y=16:alpha=0.5",
                 "[1:v]format=yuva420p,colorchannelmixer=aa=0.5[s];overlay=x=32:y=16", COLORS - 4),
        "scaled": ("overlay_vaapi=x=32:y=16:w=192:h=128:alpha=1",
                   "[1:v]scale=192:128:flags=bicubic[s];overlay=x=32:y=16", KERNEL - 6),
    }

    def check(name, case):
        bridge, software, floor = case
        out, want = bench.path("overlay.nut"), bench.path("overlaid.nut")
        _, count = bench.bridge(
            [*QUIET, *DEVICE, "-i", clip[0], "-i", small[0], "-filter_complex",
             f"[0:v]format=nv12,hwupload[a];[1:v]format=nv12,hwupload[b];[a][b]{bridge},"
             "hwdownload,format=nv12", "-c:v", "rawvideo", "-y", out])
        expect(count, processed=clip[1])
        graph = f"[0:v][1:v]{software}"
        if "[s];" in software:
            made, _, rest = software.partition("[s];")
            graph = f"{made}[s];[0:v][s]{rest}"
        run([*QUIET, "-i", clip[0], "-i", small[0], "-filter_complex", graph, "-pix_fmt",
             "yuv420p", "-c:v", "rawvideo", "-y", want])
        near(bench, out, want, clip[1], floor)
    return each(bench, cases, check)


def clip_of(bench, name, size, options=(), suffix="mp4", seconds=1):
    return bench.clip(name, f"testsrc2=s={size}:r=25:d={seconds},gblur=sigma=1",
                      ["-preset", "fast", "-crf", "12", *options], suffix)


def transcode(bench, clips, graph, encoder, out, frames, least_decoded=None, before=()):
    """Decode, process and encode on the host; the counters."""
    inputs = []
    for clip in clips:
        inputs += [*DECODE, *before, "-i", clip]
    way = ["-vf", graph] if len(clips) == 1 else ["-filter_complex", graph]
    text, count = bench.bridge([*QUIET, *DEVICE, *inputs, *way, "-c:v", *encoder, "-an", "-y",
                                out])
    if said(text):
        raise AssertionError(f"ffmpeg says: {text[-300:]}")
    expect(count, decoded=least_decoded or frames, processed=frames, encoded=frames, bytes_out=100)
    if int(count["mapped"]):
        raise AssertionError(f"{count['mapped']} pictures left the host")
    return count


def test_transcode(bench):
    """No picture of a whole transcode is seen by the guest."""
    clip = clip_of(bench, "transcode", "640x360")
    cases = {
        "h264": ("scale_vaapi=w=320:h=180", ["h264_vaapi", "-qp", "20"], "mp4"),
        "hevc": ("scale_vaapi=w=320:h=180:format=nv12", ["hevc_vaapi", "-qp", "20"], "mkv"),
        "vp8": ("scale_vaapi=w=320:h=180", ["vp8_vaapi", "-global_quality", "20"], "webm"),
        "mjpeg": ("scale_vaapi=w=320:h=180", ["mjpeg_vaapi", "-global_quality", "90"], "avi"),
        "turned": ("scale_vaapi=w=320:h=180,transpose_vaapi=dir=clock", ["h264_vaapi", "-qp", "20"],
                   "mp4"),
    }

    def check(name, case):
        graph, encoder, suffix = case
        out = bench.path(f"out.{suffix}")
        transcode(bench, [clip], graph, encoder, out, 25)
        software = "scale=320:180:flags=bicubic" + {
            "turned": ",transpose=dir=clock",
            # JPEG's samples are taken for full range.
            "mjpeg": ",scale=in_range=full:out_range=limited",
        }.get(name, "")
        # The encoder's own loss, 35 dB and more at these quantizers, dominates.
        near(bench, out, clip, 25, 33, want_filter=software)
    return each(bench, cases, check)


def test_counters(bench):
    """`viaduct top` says the same as `viaduct exec --stats`."""
    clip = clip_of(bench, "transcode", "640x360")
    script, said_file = bench.path("top.sh"), bench.path("top.json")
    command = " ".join([*QUIET, *DEVICE, *DECODE, "-i", clip, "-vf", "scale_vaapi=w=320:h=180",
                        "-c:v", "h264_vaapi", "-qp", "20", "-y", bench.path("top.mp4")])
    with open(script, "w", encoding="utf-8") as lines:
        lines.write(f"{command} && {bench.args.viaduct} top --json > {said_file} && "
                    f"{bench.args.viaduct} top --once\n")
    text, count = bench.bridge(["sh", script])
    with open(said_file, encoding="utf-8") as lines:
        total = json.load(lines)["total"]
    keys = ("decoded", "encoded", "processed", "mapped", "failed", "bytes_in", "bytes_out")
    for key in keys:
        if total[key] != int(count[key]):
            raise AssertionError(f"{key}: {total[key]} and {count[key]}")
    expect(count, decoded=25, processed=25, encoded=25, bytes_in=1000, bytes_out=1000)
    if "ENCODED" not in text or "PROCESSED" not in text:
        raise AssertionError(text[-300:])
    return ", ".join(keys)


def test_two_transcodes(bench):
    """Two programs at a time, each with three contexts."""
    clip = clip_of(bench, "transcode", "640x360")
    script = bench.path("two.sh")
    command = " ".join([*QUIET, *DEVICE, *DECODE, "-i", clip, "-vf", "scale_vaapi=w=320:h=180",
                        "-c:v", "h264_vaapi", "-qp", "20", "-y"])
    with open(script, "w", encoding="utf-8") as lines:
        lines.write(f"{command} {bench.path('two1.mp4')} & a=$!\n"
                    f"{command} {bench.path('two2.mp4')} & b=$!\nwait $a && wait $b\n")
    _, count = bench.bridge(["sh", script])
    expect(count, decoded=50, processed=50, encoded=50)
    for i in (1, 2):
        near(bench, bench.path(f"two{i}.mp4"), clip, 25, 33,
             want_filter="scale=320:180:flags=bicubic")
    return "2 clients"


def test_several_decoders(bench):
    """
    Pictures of four decoders in one: whoever waits for it waits for all four, and each of them
    holds pictures back for reordering.
    """
    sizes = {"a": [], "b": ["-bf", "4"], "c": ["-x264-params", "bframes=8:ref=6"],
             "d": ["-profile:v", "baseline"]}
    clips = [clip_of(bench, f"part_{name}", "320x180", options) for name, options in sizes.items()]
    places = (("160:h=90", 0, 0), ("160:h=90", 160, 0), ("160:h=90", 0, 90), ("160:h=90", 160, 90))
    graph, last = "[0:v]scale_vaapi=w=320:h=180[base];", "base"
    software, last_software = "[0:v]null[base];", "base"
    for i, (size, x, y) in enumerate(places):
        graph += f"[{last}][{i + 1}:v]overlay_vaapi=x={x}:y={y}:w={size}:alpha=1[o{i}];"
        software += (f"[{i + 1}:v]scale=160:90:flags=bicubic[s{i}];[{last_software}][s{i}]"
                     f"overlay=x={x}:y={y}[o{i}];")
        last = last_software = f"o{i}"
    graph += f"[{last}]scale_vaapi=w=320:h=180:format=nv12"
    out, want = bench.path("stack.mp4"), bench.path("stack.nut")
    inputs = [clips[0], *clips]
    transcode(bench, inputs, graph, ["h264_vaapi", "-qp", "16"], out, 25, least_decoded=125)
    command = list(QUIET)
    for clip in inputs:
        command += ["-i", clip]
    run([*command, "-filter_complex", software + f"[{last}]format=yuv420p", "-c:v", "rawvideo",
         "-y", want])
    return f"{near(bench, out, want, 25, 31):.1f} dB"


def corpus_file(bench, name):
    path = os.path.join(bench.args.corpus, name)
    if not os.path.exists(path):
        raise Skip(f"the corpus has no {name}")
    return path


FRAMES = {"HLG": 9}
JELLYFIN = {
    # The stream, the chain, the same in software, the floor, frames at most.
    "interlaced PAFF": ("h264/strongcourage+fuzzing-corpus/CAFI1_SVA_C.264",
                        "deinterlace_vaapi=rate=frame,scale_vaapi=w=360:h=240:format=nv12:"
                        "extra_hw_frames=24", None, 0),
    "interlaced": ("h264/luke-cha+fate-suite/interlaced_crop.mp4",
                   "deinterlace_vaapi=rate=field,scale_vaapi=w=320:h=180:format=nv12:"
                   "extra_hw_frames=24", None, 0),
    "HDR10": ("hevc/LineageOS+android_frameworks_av/video_1280x720_hevc_hdr10_static_3mbps.mp4",
              "scale_vaapi=w=640:h=360,tonemap_vaapi=format=nv12:p=bt709:t=bt709:m=bt709:"
              "extra_hw_frames=32", "zscale=w=640:h=360:t=linear:npl=100:agamma=false,format=gbrpf32le,"
              "tonemap=tonemap=hable,zscale=p=bt709:t=bt709:m=bt709:r=tv:agamma=false,"
              # The same curve: 37 dB before 2 Mb/s of H.264 take their part.
              "format=yuv420p", 33),
    # FFmpeg 5.1's tonemap_vaapi takes HDR10 only.
    "HLG": ("hevc/androidx+media/hlg10-color-test.mp4",
            "scale_vaapi=w=640:h=360:format=nv12:extra_hw_frames=32:out_color_matrix=bt709:"
            "out_color_primaries=bt709:out_color_transfer=bt709",
            "zscale=w=640:h=360:t=linear:npl=100:agamma=false,format=gbrpf32le,"
            "tonemap=tonemap=hable:peak=10,zscale=p=bt709:t=bt709:m=bt709:r=tv:agamma=false,"
            "format=yuv420p", 33),
    "rotated": ("h264/debian+firefox-esr/four-colors-h264-bt601-rotate-270.mp4",
                "transpose_vaapi=dir=clock,scale_vaapi=w=160:h=120:format=nv12:"
                "extra_hw_frames=24", "transpose=dir=clock,scale=160:120:flags=bicubic", 33),
}


def test_jellyfin(bench):
    """Its command shapes, on streams of the corpus."""
    def check(name, case):
        stream, graph, software, floor = case
        clip = corpus_file(bench, stream)
        out = bench.path("jellyfin.ts")
        text, count = bench.bridge(
            [*QUIET[:-1], "error", *DEVICE, *DECODE, "-noautorotate", "-i", clip, "-frames:v", "20",
             "-vf", graph, "-c:v", "h264_vaapi", "-rc_mode", "VBR", "-b:v", "2M", "-maxrate", "2M",
             "-bufsize", "4M", "-force_key_frames:0", "expr:gte(t,n_forced*3)", "-sei", "timing",
             "-profile:v", "high", "-an", "-y", out])
        if said(text):
            raise AssertionError(f"ffmpeg says: {text[-300:]}")
        frames = min(20, FRAMES.get(name, 20))
        expect(count, decoded=9, processed=frames, encoded=frames)
        if int(count["mapped"]):
            raise AssertionError(f"{count['mapped']} pictures left the host")
        text = run([*QUIET, "-i", out, "-f", "null", "-"]).stdout.decode()
        if said(text):
            raise AssertionError(f"decoding says: {text[-300:]}")
        if software:
            found = distances(bench, out, clip, want_filter=software,
                              want_before=["-noautorotate"])
            if len(found) < frames or mean(found) < floor:
                raise AssertionError(f"{len(found)} frames, {mean(found):.1f} dB")
    return each(bench, JELLYFIN, check)


def test_subtitles(bench):
    """Jellyfin's subtitles: pictures with alpha, uploaded, over the film."""
    clip = clip_of(bench, "transcode", "640x360")
    out = bench.path("subtitled.mp4")
    _, count = bench.bridge(
        [*QUIET, *DEVICE, *DECODE, "-i", clip, "-f", "lavfi", "-i",
         "color=white@1.0:s=200x50:r=25:d=1,format=rgba,pad=640:360:100:250:color=black@0.0",
         "-filter_complex",
         "[1:v]format=bgra,hwupload=derive_device=vaapi:extra_hw_frames=16[sub];"
         "[0:v]scale_vaapi=w=640:h=360:format=nv12:extra_hw_frames=24[main];"
         "[main][sub]overlay_vaapi=w=640:h=360:alpha=1",
         "-c:v", "h264_vaapi", "-qp", "20", "-y", out])
    expect(count, decoded=25, processed=25, encoded=25)
    return f"{near(bench, out, clip, 25, 30, want_filter='drawbox=x=100:y=250:w=200:h=50:color=white:t=fill'):.1f} dB"


def test_frigate(bench):
    """A camera's stream to raw pictures at a low rate, and a restream."""
    clip = clip_of(bench, "camera", "640x360", seconds=2)
    raw, out = bench.path("frigate.yuv"), bench.path("frigate.mp4")
    want = bench.path("detect.yuv")
    _, count = bench.bridge(
        [*QUIET, "-hwaccel", "vaapi", "-hwaccel_device", "/dev/dri/renderD128",
         "-hwaccel_output_format", "vaapi", "-hwaccel_flags", "allow_profile_mismatch", "-i", clip,
         "-r", "5", "-vf", "fps=5,scale_vaapi=w=320:h=180,hwdownload,format=nv12", "-f", "rawvideo", "-pix_fmt",
         "yuv420p", "-y", raw])
    expect(count, decoded=50, processed=10, mapped=10)
    run([*QUIET, "-i", clip, "-r", "5", "-vf", "fps=5,scale=320:180:flags=bicubic", "-f",
         "rawvideo", "-pix_fmt", "yuv420p", "-y", want])
    frames = os.path.getsize(want) // (320 * 180 * 3 // 2)
    near(bench, raw, want, frames, KERNEL - 4, before=as_raw("320x180", 25, "yuv420p"),
         want_before=as_raw("320x180", 25, "yuv420p"))
    transcode(bench, [clip], "scale_vaapi=w=640:h=360:format=nv12",
              ["h264_vaapi", "-g", "50", "-bf", "0", "-profile:v", "high", "-level:v", "4.1",
               "-sei:v", "0"], out, 50, before=["-hwaccel_flags", "allow_profile_mismatch"])
    near(bench, out, clip, 50, 30)
    return "detect and record"


def test_ways_through(bench):
    """Pictures that leave the host in the middle: downloaded, mapped for reading and writing."""
    clip = clip_of(bench, "transcode", "640x360")
    small = "scale_vaapi=w=320:h=180:format="
    plain = "scale=320:180:flags=bicubic"
    cases = {
        "download and upload": (small + "nv12,hwdownload,format=nv12,hwupload", plain),
        "P010": (small + "p010,hwdownload,format=p010le,format=nv12,hwupload", plain),
        # ffmpeg cannot upload what it has mapped: through a filter it is a copy.
        "mapped": (small + "nv12,hwmap=mode=read,format=nv12,hflip,hwupload", plain + ",hflip"),
        "mapped directly": (small + "nv12,hwmap=mode=read+direct,format=nv12,hflip,hwupload",
                            plain + ",hflip"),
        # As Jellyfin burns subtitles in on the processor.
        "written back": (small + "yuv420p,hwmap=mode=read+write+direct,format=yuv420p,"
                                 "drawbox=x=32:y=16:w=64:h=32:color=gray:t=fill,hwmap,format=vaapi",
                         plain + ",drawbox=x=32:y=16:w=64:h=32:color=gray:t=fill"),
    }

    def check(_, case):
        graph, software = case
        out = bench.path("through.mp4")
        _, count = bench.bridge([*QUIET, *DEVICE, *DECODE, "-i", clip, "-vf", graph, "-c:v",
                                 "h264_vaapi", "-qp", "20", "-y", out])
        expect(count, decoded=25, processed=25, encoded=25, mapped=25)
        near(bench, out, clip, 25, 33, want_filter=software)
    return each(bench, cases, check)


GST = {
    # Between NV12 in system memory; the same with ffmpeg, the size that comes out, the floor.
    "vapostproc scale": (
        "vapostproc ! video/x-raw(memory:VAMemory),width=160,height=120 ! vapostproc",
        "scale=160:120:flags=bicubic", "160x120", KERNEL - 8),
    "vapostproc I420": ("vapostproc ! video/x-raw,format=I420 ! videoconvert", "null", "320x240",
                        SAME),
    "vapostproc BGRA": ("vapostproc ! video/x-raw,format=BGRA ! vapostproc", "null", "320x240",
                        COLORS - 8),
    "vapostproc saturation": ("vapostproc saturation=1.5", "hue=s=1.5", "320x240", ROUNDED),
    "vapostproc hue": ("vapostproc hue=40", "hue=h=40", "320x240", ROUNDED),
    "vapostproc brightness": ("vapostproc brightness=16", "lutyuv=y=val+16", "320x240", ROUNDED),
    "vapostproc half turn": ("vapostproc video-direction=180", "hflip,vflip", "320x240", SAME),
    "vapostproc clockwise": ("vapostproc video-direction=90r", "transpose=dir=clock", "240x320",
                             SAME),
    "vapostproc mirror": ("vapostproc video-direction=horiz", "hflip", "320x240", SAME),
    "vaapipostproc scale": ("vaapipostproc width=160 height=120",
                            "scale=160:120:flags=bicubic", "160x120", KERNEL - 8),
    "vaapipostproc format": ("vaapipostproc format=i420 ! videoconvert", "null", "320x240", SAME),
    # Its range of 1 to 2 is stretched over the driver's, 1 to 10.
    "vaapipostproc saturation": ("vaapipostproc saturation=0.5", "hue=s=0.5", "320x240", ROUNDED),
    "vaapipostproc mirror": ("vaapipostproc video-direction=horiz", "hflip", "320x240", SAME),
}
VA_MEMORY = "vapostproc ! video/x-raw(memory:VAMemory) ! "
GST_INTERLACED = {
    # In system memory vadeinterlace 1.22 leaves the padding of surfaces in: vapostproc does not.
    "vadeinterlace bob": (VA_MEMORY + "vadeinterlace method=bob ! vapostproc", 30),
    "vadeinterlace adaptive": (VA_MEMORY + "vadeinterlace method=adaptive ! vapostproc", 30),
    "vadeinterlace compensated": (VA_MEMORY + "vadeinterlace method=compensated ! vapostproc", 30),
    "vaapipostproc bob": ("vaapipostproc deinterlace-mode=interlaced deinterlace-method=bob", 30),
    "vaapipostproc adaptive": (
        "vaapipostproc deinterlace-mode=interlaced deinterlace-method=motion-adaptive", 30),
}


def gst_run(bench, raw, caps, pipeline, out, frames):
    need("gst-launch-1.0")
    need("gst-inspect-1.0")
    for word in pipeline.split():
        if word in ("vapostproc", "vadeinterlace", "vaapipostproc"):
            need_element(bench, word)
    command = (f"filesrc location={raw} ! rawvideoparse format=nv12 width=320 height=240 "
               f"framerate=25/1 {caps} ! {pipeline} ! video/x-raw,format=NV12 ! "
               f"filesink location={out}")
    text, count = bench.bridge(["gst-launch-1.0", "-q", *command.split()], env=elements(bench))
    if "ERROR" in text or "CRITICAL" in text:
        raise AssertionError(text[-300:])
    expect(count, processed=frames)


def raw_of(bench, name, clip):
    raw = bench.path(f"{name}.nv12")
    run([*QUIET, "-i", clip[0], "-pix_fmt", "nv12", "-f", "rawvideo", "-y", raw])
    return raw


def as_raw(size, rate=25, pix_fmt="nv12"):
    return ["-f", "rawvideo", "-s", size, "-pix_fmt", pix_fmt, "-framerate", str(rate)]


def test_gstreamer(bench):
    clip = source(bench, "clip", CLIP)
    raw = raw_of(bench, "clip", clip)

    def check(_, case):
        pipeline, software, size, floor = case
        out = bench.path("gst.nv12")
        gst_run(bench, raw, "", pipeline, out, clip[1])
        near(bench, out, clip[0], clip[1], floor, want_filter=software, before=as_raw(size))
    return each(bench, GST, check)


def test_gstreamer_deinterlace(bench):
    """A frame of each field. Fields are interpolated in other ways than bwdif's: see bob above."""
    clip = source(bench, "interlaced", INTERLACED)
    raw = raw_of(bench, "interlaced", clip)

    def check(_, case):
        pipeline, floor = case
        out = bench.path("gst.nv12")
        gst_run(bench, raw, "interlaced=true top-field-first=true", pipeline, out, clip[1])
        best = []
        for first in range(0, 4):
            found = distances(bench, out, clip[0], before=as_raw("320x240", 50),
                              want_filter=f"setfield=tff,bwdif=mode=send_field,"
                                          f"trim=start_frame={first}")
            best.append((mean(found[2:-4]), len(found)))
        if max(best)[0] < floor or max(best)[1] < 2 * clip[1] - 6:
            raise AssertionError(f"dB and frames: {best}")
    return each(bench, GST_INTERLACED, check)


def test_gstreamer_compositor(bench):
    clip = source(bench, "clip", CLIP)
    need("gst-launch-1.0")
    need_element(bench, "vacompositor")
    raw, out, want = raw_of(bench, "clip", clip), bench.path("gst.nv12"), bench.path("want.nut")
    each_source = (f"filesrc location={raw} ! rawvideoparse format=nv12 width=320 height=240 "
                   "framerate=25/1")
    command = ("vacompositor name=c sink_0::xpos=0 sink_0::ypos=0 sink_1::xpos=320 sink_1::ypos=0 "
               "sink_1::width=160 sink_1::height=120 ! "
               "video/x-raw,format=NV12,width=480,height=240 ! "
               f"filesink location={out} {each_source} ! c.sink_0 {each_source} ! c.sink_1")
    text, count = bench.bridge(["gst-launch-1.0", "-q", *command.split()], env=elements(bench))
    if "ERROR" in text or "CRITICAL" in text:
        raise AssertionError(text[-300:])
    expect(count, processed=clip[1])
    run([*QUIET, "-i", clip[0], "-filter_complex",
         "split[a][b];[b]scale=160:120:flags=bicubic[c];[a]pad=480:240:0:0:black[d];"
         "[d][c]overlay=x=320:y=0", "-c:v", "rawvideo", "-pix_fmt", "yuv420p", "-y", want])
    return f"{near(bench, out, want, clip[1], KERNEL - 8, before=as_raw('480x240')):.1f} dB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viaduct", required=True)
    parser.add_argument("--every", type=int, default=1, metavar="N",
                        help="of tables of cases, every Nth only")
    parser.add_argument("--corpus", default=os.environ.get("VIADUCT_CORPUS") or os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "../../../shared/corpus"))
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
