#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares decodes through the bridge with FFmpeg's software decoder, frame by frame.

usage: run.py --viaduct PROGRAM [--corpus DIR] [--codec h264] [--status clean] [--jobs N] [FILE...]

Streams come from the corpus (VIADUCT_CORPUS, --corpus, ../shared/corpus) or the command line.
For each, `viaduct exec --stats` runs stock ffmpeg with -hwaccel vaapi; the service's counters
must show that the bridge decoded the pictures, since ffmpeg falls back to software silently.

`clean` streams must be equal. `errors` and `broken` streams only must not hang, crash a worker
or stop the service. A stream that VA-API has no profile for is skipped, with the reason.
"""
import argparse
import concurrent.futures
import csv
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# Seconds for one stream: the longest of the corpus takes 10 on one busy core.
TIMEOUT = 180
# ffmpeg's decoder that knows hwaccels, where it is not the first of its codec, and the formats
# for which it asks for them.
DECODER = {"av1": "av1"}
HARDWARE_FORMATS = {"av1": {"yuv420p", "yuv420p10le"}}
# Profiles of the streams, as ffmpeg names them, that the installed libva cannot say.
NO_PROFILE = {"High 10", "High 4:2:2", "High 4:4:4 Predictive", "High 4:4:4", "48",
              "Sequential", "Progressive", "Lossless"}
# Sample formats that FFmpeg has no VA surface for: it would take one that means something else.
NO_SURFACE = {"gbrp", "gbrap", "yuva420p", "yuva444p"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viaduct", required=True, help="the viaduct program to test")
    parser.add_argument("--corpus", default=os.environ.get("VIADUCT_CORPUS"))
    parser.add_argument("--codec", default="h264")
    parser.add_argument("--status", default="clean,errors,fail")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--every", type=int, default=1, help="only every N-th stream")
    parser.add_argument("--threads", default="", help="decoder threads of the service")
    parser.add_argument("--surface-format", help="surfaces of this format only, for instance NV12")
    parser.add_argument("--pix-fmt", help="compare in this format, where surfaces have another")
    parser.add_argument("files", nargs="*")
    return parser.parse_args()


def find_corpus(named):
    for place in (named, os.path.join(HERE, "../../../shared/corpus")):
        if place and os.path.isfile(os.path.join(place, "manifest.tsv")):
            return place
    return None


def streams(args):
    """Rows of (path, status, profile, capped, pix_fmt)."""
    if args.files:
        return [(path, "clean", "", "", "") for path in args.files]
    corpus = find_corpus(args.corpus)
    if not corpus:
        return None
    rows = []
    with open(os.path.join(corpus, "manifest.tsv"), encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            if row["codec"] == args.codec and row["status"] in args.status.split(","):
                rows.append((os.path.join(corpus, row["file"]), row["status"], row["profile"],
                             row["capped"].removeprefix("cap"), row["pix_fmt"]))
    return rows[:: args.every]


def decode(path, capped, prefix, extra, filters, out):
    command = prefix + ["ffmpeg", "-nostdin", "-v", "error"] + extra + [
        "-noautorotate", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough",
        "-autoscale", "0"] + filters
    if capped:
        command += ["-frames:v", capped]
    command += ["-f", "framemd5", "-y", out]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=TIMEOUT, check=False)


def hashes(path):
    with open(path, encoding="utf-8") as text:
        return [line.rsplit(",", 1)[1].strip() for line in text if not line.startswith("#")]


def counters(path):
    found = {}
    with open(path, encoding="utf-8") as text:
        for line in text:
            key, _, value = line.strip().partition(" ")
            found[key] = value
    return found


def check(stream, args):
    path, status, profile, capped, pix_fmt = stream
    if status == "clean" and profile in NO_PROFILE:
        return "skip", f"VA-API has no profile for {profile}"
    if pix_fmt and pix_fmt not in HARDWARE_FORMATS.get(args.codec, {pix_fmt}):
        return "skip", f"ffmpeg uses no hardware for {args.codec} in {pix_fmt}"
    if status == "clean" and pix_fmt in NO_SURFACE:
        return "skip", f"VA-API has no surface for {pix_fmt}"
    with tempfile.TemporaryDirectory() as folder:
        native, bridge, stats = (os.path.join(folder, name) for name in ("n", "b", "s"))
        prefix = [args.viaduct, "exec", "--private", "--stats", stats]
        if args.threads:
            prefix += ["--threads", args.threads]
        if args.surface_format:
            prefix += ["--surface-format", args.surface_format]
        accel = ["-hwaccel", "vaapi"]
        if args.codec != "mjpeg":
            accel += ["-hwaccel_flags", "allow_profile_mismatch"]
        if args.codec in DECODER:
            accel += ["-c:v", DECODER[args.codec]]
        filters = compare = ["-pix_fmt", args.pix_fmt] if args.pix_fmt else []
        if pix_fmt.endswith("10le") and not filters:
            # Surfaces are P010: the same samples in another order. The range is not to change.
            filters = compare = ["-vf", "setparams=range=tv,format=" + pix_fmt]
        if pix_fmt.startswith("yuvj"):
            # Downloaded frames are yuv there: ffmpeg would convert the range on its own.
            accel += ["-hwaccel_output_format", "vaapi"]
            filters, compare = ["-vf", "hwdownload,format=" + pix_fmt.replace("yuvj", "yuv")], []
        try:
            result = decode(path, capped, prefix + ["--"], accel, filters, bridge)
        except subprocess.TimeoutExpired:
            return "FAIL", f"no end after {TIMEOUT} s"
        said = result.stdout.decode(errors="replace").strip().splitlines()
        tail = said[-1] if said else ""
        if not os.path.exists(stats):
            return "FAIL", f"no counters: {tail}"
        count = counters(stats)
        if int(count.get("workers_died", 0)):
            return "FAIL", f"a worker died: {tail}"
        if "Assertion" in tail and "src/libavcodec/mjpegdec.c" in tail:
            return "skip", "FFmpeg itself cannot decode this sampling with hardware"
        if result.returncode < 0 or result.returncode > 128:
            return "FAIL", f"ffmpeg ended with {result.returncode}: {tail}"
        if status != "clean":
            return "ok", ""
        decode(path, capped, [], ["-threads", "1"], compare, native)
        want = hashes(native) if os.path.exists(native) else []
        have = hashes(bridge) if os.path.exists(bridge) else []
        done = int(count.get("decoded", 0)) + int(count.get("concealed", 0))
        if not want:
            return "FAIL", "ffmpeg in software decodes nothing"
        if have != want and status == "clean":
            # hwdownload cannot crop at the left or top: compare whole coded frames.
            whole = ["-apply_cropping", "0"]
            decode(path, capped, prefix + ["--"], accel + whole, filters, bridge)
            decode(path, capped, [], ["-threads", "1"] + whole, compare, native)
            if hashes(native) and hashes(native) == hashes(bridge):
                return "ok", f"{len(want)} frames, uncropped"
        if have != want:
            bad = sum(1 for a, b in zip(have, want) if a != b)
            return "FAIL", (f"{len(have)} frames for {len(want)}, {bad} differ "
                            f"(bridge decoded {done}): {tail}")
        if int(count.get("decoded", 0)) * 2 < len(want):
            return "FAIL", f"equal, but the bridge decoded {done} of {len(want)}: {tail}"
        return "ok", f"{len(want)} frames"


def main():
    args = arguments()
    todo = streams(args)
    if todo is None:
        print("SKIP: no corpus (set VIADUCT_CORPUS)")
        return 77
    totals = {"ok": 0, "FAIL": 0, "skip": 0}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for stream, (verdict, why) in zip(todo, pool.map(lambda s: check(s, args), todo)):
            totals[verdict] += 1
            if verdict != "ok" or args.files:
                print(f"{verdict:4} {stream[0]}: {why}", flush=True)
    print(f"{totals['ok']} passed, {totals['FAIL']} failed, {totals['skip']} skipped")
    return 1 if totals["FAIL"] or not totals["ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
