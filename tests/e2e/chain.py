#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Encoding and video processing of the vaapi back end, without a GPU: two services in a chain.

usage: chain.py --viaduct PROGRAM [NAME...]

The service behind does all in software. The one in front, whose client is ffmpeg, has Viaduct's own
driver as the host's VA-API driver. What comes through both must be what comes through one, byte by
byte.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

NODE = "/dev/dri/renderD128"
TIMEOUT = 120
SOURCE = "testsrc2=s=320x240:r=25:d=0.5"
SKIP = 77

# Options of ffmpeg's encoders. The SEI of H.264 and HEVC names the driver: that is not the same.
ENCODERS = {
    "h264-cqp": ["-c:v", "h264_vaapi", "-qp", "25", "-sei", "0"],
    "h264-cbr": ["-c:v", "h264_vaapi", "-rc_mode", "CBR", "-b:v", "500k", "-sei", "0"],
    "h264-vbr": ["-c:v", "h264_vaapi", "-rc_mode", "VBR", "-b:v", "500k", "-maxrate", "800k",
                 "-sei", "0"],
    "h264-slices": ["-c:v", "h264_vaapi", "-qp", "30", "-slices", "3", "-sei", "0"],
    "h264-baseline": ["-c:v", "h264_vaapi", "-qp", "30", "-profile:v", "constrained_baseline",
                      "-g", "5", "-sei", "0"],
    "hevc-cqp": ["-c:v", "hevc_vaapi", "-qp", "27", "-sei", "0"],
    "hevc-cbr": ["-c:v", "hevc_vaapi", "-rc_mode", "CBR", "-b:v", "500k", "-sei", "0"],
    "hevc-vbr": ["-c:v", "hevc_vaapi", "-rc_mode", "VBR", "-b:v", "500k", "-maxrate", "800k",
                 "-sei", "0"],
    "vp8-cqp": ["-c:v", "vp8_vaapi", "-global_quality", "40"],
    "vp8-vbr": ["-c:v", "vp8_vaapi", "-rc_mode", "VBR", "-b:v", "500k", "-maxrate", "800k"],
    "vp8-cbr": ["-c:v", "vp8_vaapi", "-rc_mode", "CBR", "-b:v", "500k"],
    "vp9-cqp": ["-c:v", "vp9_vaapi", "-global_quality", "90"],
    "vp9-cbr": ["-c:v", "vp9_vaapi", "-rc_mode", "CBR", "-b:v", "500k"],
    "vp9-vbr": ["-c:v", "vp9_vaapi", "-rc_mode", "VBR", "-b:v", "500k", "-maxrate", "800k"],
    "mpeg2-cqp": ["-c:v", "mpeg2_vaapi", "-global_quality", "10"],
    "mpeg2-cbr": ["-c:v", "mpeg2_vaapi", "-rc_mode", "CBR", "-b:v", "2M"],
    "mpeg2-vbr": ["-c:v", "mpeg2_vaapi", "-rc_mode", "VBR", "-b:v", "2M", "-maxrate", "3M"],
    "mjpeg": ["-c:v", "mjpeg_vaapi", "-global_quality", "80"],
}
# Filters of ffmpeg, and the format that is downloaded.
FILTERS = {
    "scale-down": ("scale_vaapi=w=160:h=120", "nv12"),
    "scale-up": ("scale_vaapi=w=640:h=480:mode=hq", "nv12"),
    "to-bgra": ("scale_vaapi=format=bgra", "bgra"),
    "to-p010": ("scale_vaapi=format=p010", "p010"),
    "matrix": ("scale_vaapi=format=nv12:out_color_matrix=bt709:out_range=full", "nv12"),
    "bob": ("deinterlace_vaapi=mode=bob:rate=field", "nv12"),
    "adaptive": ("deinterlace_vaapi=mode=motion_adaptive", "nv12"),
    "compensated": ("deinterlace_vaapi=mode=motion_compensated", "nv12"),
    "denoise": ("denoise_vaapi=denoise=20", "nv12"),
    "sharpness": ("sharpness_vaapi=sharpness=50", "nv12"),
    "balance": ("procamp_vaapi=b=10:s=1.5:c=1.2:h=20", "nv12"),
    "rotate": ("transpose_vaapi=dir=clock", "nv12"),
    "mirror": ("transpose_vaapi=dir=hflip", "nv12"),
    "two": ("scale_vaapi=w=200:h=100,denoise_vaapi=denoise=10", "nv12"),
}
# Engines of the service in front: all on its device, or decoding in its own software.
ENGINES = {"device": "vaapi", "mixed": "avcodec:software,vaapi"}
TRANSCODES = {
    "h264": ["-vf", "scale_vaapi=w=160:h=120:format=nv12", *ENCODERS["h264-cqp"]],
    "hevc": ["-vf", "deinterlace_vaapi,scale_vaapi=w=200:h=120:format=nv12", *ENCODERS["hevc-cqp"]],
    "pictures": ["-vf", "scale_vaapi=w=160:h=120:format=nv12,hwdownload,format=nv12",
                 "-c:v", "rawvideo"],
}


class Skip(Exception):
    """A test that cannot run here, and why."""


def run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False)
    return result.returncode, result.stdout, result.stderr.decode(errors="replace")


class Bench:
    """One service, or two, and what ffmpeg says behind them."""

    def __init__(self, viaduct, folder):
        self.viaduct = viaduct
        self.folder = folder

    def prefix(self, engines=None):
        one = [self.viaduct, "exec", "--private"]
        return one + ["--"] if not engines else one + ["--", *one, "--backend", engines, "--"]

    def ffmpeg(self, engines, before, after):
        command = [*self.prefix(engines), "ffmpeg", "-nostdin", "-v", "error",
                   "-init_hw_device", f"vaapi=v:{NODE}", "-filter_hw_device", "v", *before, *after,
                   "-bitexact", "-f", "framemd5", "-"]
        code, out, err = run(command)
        frames = [line for line in out.decode().splitlines() if line[:2] == "0,"]
        return code, frames, err

    def same(self, before, after, engines="vaapi", least=10):
        code, want, err = self.ffmpeg(None, before, after)
        if code:
            raise Skip(f"software does not do it here: {err.strip()[-200:]}")
        code, have, err = self.ffmpeg(engines, before, after)
        if code:
            raise AssertionError(f"ffmpeg ended with {code}: {err.strip()[-600:]}")
        if len(want) < least or have != want:
            bad = sum(1 for a, b in zip(have, want) if a != b)
            raise AssertionError(f"{len(have)} frames for {len(want)}, {bad} differ: {err[-300:]}")


def upload(more=""):
    return ["-f", "lavfi", "-i", SOURCE, "-vf", f"format=nv12,hwupload{more}"]


def encoder_cases():
    for name, options in ENCODERS.items():
        yield f"encode-{name}", lambda b, o=options: b.same(upload()[:4], [*upload()[4:], *o])


def filter_cases():
    for name, (graph, last) in FILTERS.items():
        tail = f",{graph},hwdownload,format={last}"
        yield f"filter-{name}", lambda b, t=tail: b.same(upload()[:4], upload(t)[4:])


def transcode(bench, engines, options):
    clip = os.path.join(bench.folder, "clip.mp4")
    if not os.path.exists(clip):
        code, _, err = run(["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i",
                            "testsrc2=s=352x288:r=25:d=1", "-c:v", "libx264", "-pix_fmt",
                            "yuv420p", "-bf", "2", clip])
        if code:
            raise Skip(f"no clip: {err}")
    before = ["-hwaccel", "vaapi", "-hwaccel_device", "v", "-hwaccel_output_format", "vaapi",
              "-i", clip]
    bench.same(before, options, engines, 20)


def transcode_cases():
    for kind, engines in ENGINES.items():
        for name, options in TRANSCODES.items():
            yield (f"transcode-{kind}-{name}",
                   lambda b, e=engines, o=options: transcode(b, e, o))


def overlay(bench):
    graph = ("color=red:s=64x48:r=25:d=0.4,format=nv12,hwupload[o];"
             "testsrc2=s=320x240:r=25:d=0.4,format=nv12,hwupload[m];"
             "[m][o]overlay_vaapi=x=40:y=30:alpha=0.5,hwdownload,format=nv12")
    bench.same([], ["-filter_complex", graph])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--viaduct", required=True)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if not shutil.which("ffmpeg"):
        print("SKIP: ffmpeg is not installed")
        return SKIP
    cases = dict([*encoder_cases(), *filter_cases(), *transcode_cases(), ("overlay", overlay)])
    bad = 0
    with tempfile.TemporaryDirectory(prefix="viaduct-chain-") as folder:
        bench = Bench(args.viaduct, folder)
        for name, case in cases.items():
            if args.names and not any(n in name for n in args.names):
                continue
            try:
                case(bench)
                print(f"ok    {name}", flush=True)
            except Skip as why:
                print(f"skip  {name}: {why}", flush=True)
            except (AssertionError, subprocess.TimeoutExpired) as why:
                bad += 1
                print(f"FAIL  {name}: {why}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
