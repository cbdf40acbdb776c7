#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A CUDA kernel between decoder and encoder: samples/compute.c, libavcodec and a service.

usage: compute.py --viaduct PROGRAM --compute PROGRAM [NAME...]

The result is compared with FFmpeg's `negate` of the same clip. The service's counters must show that
the pictures were decoded and encoded there, and that the program saw none of them.
"""
import argparse
import os
import re
import shutil
import sys
import tempfile

from run import Bench, judge, run


def psnr(result, clip):
    """Of a video against the clip's negative, in dB: of luma, and of the two chroma planes."""
    text = run(["ffmpeg", "-nostdin", "-i", result, "-i", clip, "-lavfi",
                "[1:v]negate[n];[0:v][n]psnr", "-f", "null", "-"]).stdout.decode()
    found = re.search(r"PSNR y:([0-9.inf]+) u:([0-9.inf]+) v:([0-9.inf]+)", text)
    if not found:
        raise AssertionError(text[-600:])
    return [float(value) for value in found.groups()]


def negative(bench, name, clip, pictures):
    out = bench.path(f"negative-{name}.mp4")
    text, stats = bench.bridge([bench.args.compute, clip, out])
    found = re.search(rf"compute: {pictures} pictures on (\d+) surfaces", text)
    if not found:
        raise AssertionError(text[-600:])
    # QP 22 is worth 36 dB of such a clip; a wrong plane or pitch would be below 15.
    decibels = min(psnr(out, clip))
    if decibels < 33:
        raise AssertionError(f"{decibels} dB")
    if int(stats.get("decoded", "0")) < pictures or int(stats.get("encoded", "0")) < pictures:
        raise AssertionError(f"not all was done on the host: {stats}")
    if int(stats.get("launches", "0")) < 2 * pictures:
        raise AssertionError(f"{stats.get('launches')} kernels")
    # Each surface is asked for its place, once.
    if int(stats.get("mapped", "0")) > int(found[1]):
        raise AssertionError(f"{stats['mapped']} pictures came to the program")
    return f"{found[0]}, {decibels:.1f} dB"


def test_h264(bench):
    """References and B pictures: the kernel reads what the decoder still needs."""
    return negative(bench, "h264", bench.clip("plain", "testsrc2=s=352x288:r=25:d=2"), 50)


def test_odd(bench):
    """A size that is not one of whole blocks, and more pictures than surfaces."""
    return negative(bench, "odd", bench.clip("odd", "testsrc2=s=322x182:r=25:d=4"), 100)


TESTS = {
    "h264": test_h264,
    "odd": test_odd,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viaduct", required=True)
    parser.add_argument("--compute", required=True)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if not shutil.which("ffmpeg"):
        print("skipped: no ffmpeg here")
        return 77
    args.viaduct = os.path.abspath(args.viaduct)
    args.compute = os.path.abspath(args.compute)
    with tempfile.TemporaryDirectory(prefix="viaduct-") as folder:
        return judge(TESTS, Bench(args, folder), args.names)


if __name__ == "__main__":
    sys.exit(main())
