#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real clients, end to end: stock ffmpeg, vainfo and GStreamer through the bridge.

usage: run.py --viaduct PROGRAM [--viaductd PROGRAM] [NAME...]

Every decode is compared with FFmpeg's software decoder, and the service's counters must show that
the bridge did it. A program that is not installed makes its tests skipped, with the reason.
"""
import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

X264 = "libx264"
TIMEOUT = 120


class Skip(Exception):
    """A test that cannot run here, and why."""


class Bench:
    """Folder, programs and helpers of a run."""

    def __init__(self, args, folder):
        self.args = args
        self.folder = folder
        self.made = {}
        # Cases that run at a time have a folder each, if they are given one.
        self.own = threading.local()

    def path(self, name):
        return os.path.join(getattr(self.own, "folder", self.folder), name)

    def clip(self, name, source="testsrc2=s=352x288:r=25:d=2", options=(), suffix="mp4"):
        """A clip made once by libx264."""
        if name not in self.made:
            out = self.path(f"{name}.{suffix}")
            run(["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", X264,
                 "-pix_fmt", "yuv420p", *options, "-y", out])
            self.made[name] = out
        return self.made[name]

    def bridge(self, command, extra=(), stats=True, expect=0, env=None):
        """Runs a command under `viaduct exec`; returns (output, counters)."""
        found = {}
        report = self.path("stats")
        prefix = [self.args.viaduct, "exec", "--private", *extra]
        if stats:
            prefix += ["--stats", report]
        result = run(prefix + ["--", *command], check=False, env=env)
        text = result.stdout.decode(errors="replace")
        if expect is not None and result.returncode != expect:
            raise AssertionError(f"exit code {result.returncode}: {text[-600:]}")
        if stats:
            with open(report, encoding="utf-8") as lines:
                for line in lines:
                    key, _, value = line.strip().partition(" ")
                    found[key] = value
            if int(found.get("workers_died", "0")):
                raise AssertionError(f"a worker died: {text[-600:]}")
        return text, found

    def same(self, clip, before=(), after=(), native_after=(), extra=(), options=()):
        """Frames through the bridge equal those of the software decoder."""
        want = hashes(run(ffmpeg(clip, ["-threads", "1", *before], native_after)).stdout)
        accel = ["-hwaccel", "vaapi", *options, *before]
        text, count = self.bridge(ffmpeg(clip, accel, after), extra)
        have = hashes(text.encode())
        if not want or have != want:
            bad = sum(1 for a, b in zip(have, want) if a != b)
            raise AssertionError(f"{len(have)} frames for {len(want)}, {bad} differ: {text[-300:]}")
        if int(count["decoded"]) < len(want):
            raise AssertionError(f"the bridge decoded {count['decoded']} of {len(want)}")
        return len(want)


def run(command, check=True, env=None):
    merged = dict(os.environ, **(env or {}))
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False, env=merged)
    if check and result.returncode:
        raise AssertionError(f"{command[0]} ended with {result.returncode}: "
                             f"{result.stdout.decode(errors='replace')[-600:]}")
    return result


def need(program):
    if not shutil.which(program):
        raise Skip(f"{program} is not installed")


def ffmpeg(clip, before=(), after=()):
    return ["ffmpeg", "-nostdin", "-v", "error", *before, "-i", clip, "-fps_mode", "passthrough",
            *after, "-f", "framemd5", "-"]


def hashes(output):
    lines = output.decode(errors="replace").splitlines()
    return [line.rsplit(",", 1)[1].strip() for line in lines
            if line[:2] == "0," and line.count(",") == 5]


STREAMS = {
    "high_b_pyramid": ["-preset", "slow", "-bf", "4", "-refs", "4"],
    "baseline_cavlc": ["-profile:v", "baseline"],
    "main_no_8x8": ["-profile:v", "main", "-x264-params", "weightb=1:weightp=2"],
    "four_slices": ["-slices", "4", "-x264-params", "weightp=2:bframes=3"],
    "mbaff": ["-flags", "+ildct+ilme", "-x264-params", "tff=1"],
    "fake_interlaced": ["-x264-params", "fake-interlaced=1"],
    "intra_refresh": ["-x264-params", "intra-refresh=1:keyint=20"],
    "open_gop": ["-x264-params", "open-gop=1:keyint=12:bframes=3"],
    "temporal_direct": ["-x264-params", "direct=temporal:bframes=8:b-adapt=2:ref=6"],
    "scaling_lists": ["-x264-params", "cqm=jvt:8x8dct=1"],
    "constrained_intra": ["-x264-params", "constrained-intra=1:chroma-qp-offset=-4"],
    "lossy_extreme": ["-qp", "51"],
    "near_lossless": ["-qp", "1"],
}
# Other encoders of FFmpeg; noise makes macroblocks of all kinds.
MPEG_STREAMS = {
    "mpeg2_frames.m2v": ["-c:v", "mpeg2video", "-bf", "2", "-g", "12"],
    "mpeg2_interlaced.m2v": ["-c:v", "mpeg2video", "-bf", "2", "-flags", "+ilme+ildct",
                             "-alternate_scan", "1", "-intra_vlc", "1", "-q", "3"],
    "mpeg2_matrices.m2v": ["-c:v", "mpeg2video", "-q", "3", "-dc", "10", "-slices", "3",
                           "-intra_matrix", ",".join(str(8 + i) for i in range(64)),
                           "-inter_matrix", ",".join(str(80 - i) for i in range(64))],
    "mpeg4_b.mp4": ["-c:v", "mpeg4", "-bf", "3", "-q", "4"],
    "mpeg4_quarter.mp4": ["-c:v", "mpeg4", "-flags", "+qpel+mv4", "-bf", "2", "-q", "4"],
    "mpeg4_interlaced.mp4": ["-c:v", "mpeg4", "-flags", "+ilme+ildct", "-bf", "2", "-q", "4",
                             "-alternate_scan", "1"],
    "mpeg4_matrices.mp4": ["-c:v", "mpeg4", "-mpeg_quant", "1", "-q", "4",
                           "-intra_matrix", ",".join(str(8 + i) for i in range(64))],
    "mpeg4_packets.mp4": ["-c:v", "mpeg4", "-ps", "300", "-bf", "2", "-q", "4"],
    "mpeg4_partitions.mp4": ["-c:v", "mpeg4", "-data_partitioning", "1", "-ps", "400", "-q", "4"],
    "h263.h263": ["-c:v", "h263", "-q", "5"],
    "h263_packets.h263": ["-c:v", "h263", "-ps", "300", "-q", "5"],
    "h263_extended.h263": ["-c:v", "h263p", "-threads", "1", "-q", "5", "-s", "320x240"],
}
SIZES = ["16x16", "18x34", "64x48", "130x66", "354x290", "720x576", "1918x1078"]


def test_streams(bench):
    for name, options in STREAMS.items():
        bench.same(bench.clip(name, options=options))
    return f"{len(STREAMS)} kinds of stream"


def test_mpeg_streams(bench):
    """MPEG-2, MPEG-4 part 2 and H.263."""
    for name, options in MPEG_STREAMS.items():
        clip = bench.path(name)
        run(["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i",
             "testsrc2=s=352x288:r=30000/1001:d=1.5,noise=alls=12:allf=t", "-pix_fmt", "yuv420p",
             *options, "-y", clip])
        try:
            bench.same(clip)
            if "interlaced" in name:
                bench.same(clip, extra=["--surface-format", "NV12"], after=["-pix_fmt", "yuv420p"])
        except AssertionError as why:
            raise AssertionError(f"{name}: {why}") from why
    return f"{len(MPEG_STREAMS)} kinds of stream"


def test_sizes(bench):
    for size in SIZES:
        bench.same(bench.clip(f"size{size}", f"testsrc2=s={size}:r=25:d=0.6"))
    return ", ".join(SIZES)


def test_threads(bench):
    clip = bench.clip("mbaff", options=STREAMS["mbaff"])
    for threads in ("1", "2", "5", "16"):
        bench.same(clip, extra=["--threads", threads])
    return "1, 2, 5, 16 decoder threads"


def test_ways_out(bench):
    clip = bench.clip("high_b_pyramid", options=STREAMS["high_b_pyramid"])
    surfaces = ["-hwaccel_output_format", "vaapi"]
    bench.same(clip, after=["-vf", "hwdownload,format=yuv420p"], options=surfaces)
    bench.same(clip, after=["-vf", "hwmap=mode=read+direct,format=yuv420p"], options=surfaces)
    bench.same(clip, after=["-vf", "hwmap=mode=read,format=yuv420p"], options=surfaces)
    bench.same(clip, after=["-vf", "hwdownload,format=nv12,format=yuv420p"], options=surfaces)
    bench.same(clip, after=["-pix_fmt", "nv12"], native_after=["-pix_fmt", "nv12"])
    return "hwdownload, hwmap direct, hwmap, NV12 images"


def test_nv12_surfaces(bench):
    """What clients that know no planar surfaces get."""
    only = ["--surface-format", "NV12"]
    for name in ("high_b_pyramid", "mbaff", "four_slices"):
        clip = bench.clip(name, options=STREAMS[name])
        bench.same(clip, extra=only, after=["-pix_fmt", "yuv420p"])
    return "decoded into NV12, seen as yuv420p"


def test_mpeg_cut(bench):
    """Streams that start with pictures whose references are missing."""
    for name, where in (("mpeg2_frames.m2v", 30000), ("mpeg2_interlaced.m2v", 90000)):
        clip, cut = bench.path(name), bench.path("cut_" + name)
        if not os.path.exists(clip):
            raise Skip("needs the clips of mpeg_streams")
        with open(clip, "rb") as whole, open(cut, "wb") as part:
            part.write(whole.read()[where:])
        bench.same(cut)
    return "without first pictures"


# Quantizers beyond those of 8 bit, and what else the parameter sets say.
HIGH10 = {
    "high10_b_pyramid": STREAMS["high_b_pyramid"],
    "high10_main_tools": ["-x264-params", "8x8dct=0:weightb=1:weightp=2"],
    "high10_cavlc": ["-coder", "0", "-bf", "2"],
    "high10_four_slices": STREAMS["four_slices"],
    "high10_mbaff": STREAMS["mbaff"],
    "high10_intra_refresh": STREAMS["intra_refresh"],
    "high10_temporal_direct": STREAMS["temporal_direct"],
    "high10_scaling_lists": STREAMS["scaling_lists"],
    "high10_constrained_intra": STREAMS["constrained_intra"],
    "high10_finest": ["-qp", "1"],
    "high10_fine": ["-qp", "12"],
    "high10_coarsest": ["-qp", "63"],
    "high10_intra": ["-g", "1"],
}


def test_high10(bench):
    """A profile that no program here knows, through libva itself."""
    if not bench.args.high10:
        raise Skip("the program high10 is not built")
    for name, options in HIGH10.items():
        clip = bench.clip(name, options=["-pix_fmt", "yuv420p10le", "-profile:v", "high10", *options])
        _, count = bench.bridge([os.path.abspath(bench.args.high10), clip])
        if int(count["decoded"]) != 50 or int(count["concealed"]):
            raise AssertionError(f"{name}: {count['decoded']} of 50 pictures decoded")
    return f"{len(HIGH10)} kinds of stream"


def test_seek(bench):
    clip = bench.clip("open_gop", options=STREAMS["open_gop"])
    for start in ("0.3", "0.77", "1.5"):
        bench.same(clip, before=["-ss", start])
    bench.same(clip, before=["-stream_loop", "2"])
    return "three seeks into open groups, a loop"


def need_encoder(name):
    if name not in run(["ffmpeg", "-v", "error", "-encoders"]).stdout.decode():
        raise Skip(f"this ffmpeg has no {name}")


def groups_of(path):
    """The stream cut in front of each VPS."""
    with open(path, "rb") as whole:
        data = whole.read()
    starts = [found.start() for found in re.finditer(b"\0\0\0\1\x40\1", data)] + [len(data)]
    return [data[a:b] for a, b in zip(starts, starts[1:])]


def test_hevc_jumps(bench):
    """Groups of pictures in another order, as if a recorder had cut them: no end of sequence tells
    so, leading pictures miss their references, and counts go back, some with another upper part."""
    need_encoder("libx265")
    whole, clip, joined = map(bench.path, ("groups.mp4", "groups.265", "joined.265"))
    run(["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=14",
         "-pix_fmt", "yuv420p", "-c:v", "libx265", "-preset", "fast", "-x265-params",
         "log-level=error:open-gop=1:keyint=16:min-keyint=16:bframes=4:scenecut=0", "-y", whole])
    # This repeats the parameter sets in front of each key picture.
    run(["ffmpeg", "-nostdin", "-v", "error", "-i", whole, "-c", "copy", "-y", clip])
    groups = groups_of(clip)
    orders = ((0, 1, 2, 7, 8, 3), (5, 6, 1, 2), (19, 20, 1, 2, 3), (3, 20, 9, 1, 14, 2, 0, 1))
    for order in orders:
        with open(joined, "wb") as out:
            out.write(b"".join(groups[i] for i in order))
        bench.same(joined)
    bench.same(whole, before=["-ss", "3.3"])
    bench.same(whole, before=["-stream_loop", "1"])
    return f"{len(orders)} orders, a seek, a loop"


def test_cut_open_group(bench):
    """Starts at a recovery point whose leading pictures miss their references."""
    clip = bench.clip("open_gop", options=STREAMS["open_gop"])
    cut = bench.path("cut.mkv")
    run(["ffmpeg", "-nostdin", "-v", "error", "-ss", "0.9", "-i", clip, "-c", "copy", "-y", cut])
    bench.same(cut)
    return ""


def test_size_change(bench):
    parts = [bench.clip(f"part{i}", f"testsrc2=s={size}:r=25:d=0.5", ["-bf", "2"], "h264")
             for i, size in enumerate(("320x240", "640x368", "176x144"))]
    joined = bench.path("joined.h264")
    with open(joined, "wb") as out:
        for part in parts:
            with open(part, "rb") as piece:
                out.write(piece.read())
    keep = ["-autoscale", "0"]
    bench.same(joined, after=keep, native_after=keep)
    return "three sizes in one stream"


def test_many_slices(bench):
    clip = bench.clip("many_slices", "testsrc2=s=1280x720:r=25:d=0.3", ["-x264-params",
                                                                        "slice-max-mbs=1"])
    bench.same(clip)
    return "3600 slices a picture"


def test_damage(bench):
    clip = bench.clip("damage", options=["-x264-params", "keyint=10"], suffix="h264")
    data = bytearray(open(clip, "rb").read())
    for at in range(len(data) // 3, len(data), 997):
        data[at] ^= 0x55
    bad = bench.path("bad.h264")
    with open(bad, "wb") as out:
        out.write(data)
    accel = ["-hwaccel", "vaapi", "-hwaccel_output_format", "vaapi"]
    # Errors reach the app at the sync of the damaged picture...
    text, count = bench.bridge(ffmpeg(bad, accel, ["-vf", "hwdownload,format=yuv420p"]),
                               expect=None)
    damaged = int(count["concealed"]) + int(count["failed"])
    if not damaged or "sync" not in text:
        raise AssertionError(f"no error seen: {count} {text[-300:]}")
    # ... unless the user wants them concealed.
    text, count = bench.bridge(ffmpeg(bad, accel, ["-vf", "hwdownload,format=yuv420p"]),
                               expect=None, env={"VIADUCT_ERRORS": "conceal"})
    if len(hashes(text.encode())) < 40:
        raise AssertionError(f"concealed frames are missing: {text[-300:]}")
    return f"{damaged} damaged pictures reported"


def test_parallel(bench):
    clip = bench.clip("parallel", "testsrc2=s=640x360:r=25:d=2")
    want = hashes(run(ffmpeg(clip, ["-threads", "1"])).stdout)
    script = bench.path("parallel.sh")
    command = " ".join(ffmpeg(clip, ["-hwaccel", "vaapi"]))
    with open(script, "w", encoding="utf-8") as out:
        out.write("set -e\nfor i in 1 2 3 4 5 6 7 8; do\n"
                  f"  {command} > {bench.folder}/par$i & p=\"$p $!\"\ndone\n"
                  "for i in $p; do wait $i; done\n")
    _, count = bench.bridge(["sh", script])
    for i in range(1, 9):
        with open(bench.path(f"par{i}"), "rb") as out:
            if hashes(out.read()) != want:
                raise AssertionError(f"client {i} of 8 differs")
    if int(count["decoded"]) < 8 * len(want):
        raise AssertionError(f"decoded {count['decoded']}")
    return "8 clients at a time"


def test_vainfo(bench):
    need("vainfo")
    text, _ = bench.bridge(["vainfo", "--display", "drm"], stats=False)
    for name in ("VAProfileH264ConstrainedBaseline", "VAProfileH264Main", "VAProfileH264High"):
        if name not in text:
            raise AssertionError(text)
    return ""


def test_gstreamer_vaapi(bench):
    need("gst-launch-1.0")
    need("gst-inspect-1.0")
    env = {"GST_REGISTRY": bench.path("gst.reg"), "XDG_RUNTIME_DIR": bench.folder}
    text, _ = bench.bridge(["gst-inspect-1.0", "vaapih264dec"], stats=False, expect=None, env=env)
    if "Factory Details" not in text:
        raise Skip("GStreamer's vaapi plugin is not installed or offers no H.264 decoder")
    for name in ("high_b_pyramid", "mbaff", "four_slices"):
        clip = bench.clip(name, options=STREAMS[name])
        raw, out = bench.path("n.yuv"), bench.path("g.yuv")
        run(["ffmpeg", "-nostdin", "-v", "error", "-threads", "1", "-i", clip, "-f", "rawvideo",
             "-y", raw])
        _, count = bench.bridge(
            ["gst-launch-1.0", "-q", "filesrc", f"location={clip}", "!", "qtdemux", "!",
             "h264parse", "!", "vaapih264dec", "!", "videoconvert", "!",
             "video/x-raw,format=I420", "!", "filesink", f"location={out}"], env=env)
        with open(raw, "rb") as a, open(out, "rb") as b:
            if a.read() != b.read():
                raise AssertionError(f"{name}: frames differ")
        if int(count["decoded"]) < 40:
            raise AssertionError(f"{name}: the bridge decoded {count['decoded']}")
    return "vaapih264dec, NV12 surfaces"


class Service:
    """A viaductd of its own, for what happens around it."""

    def __init__(self, bench, *options, name="service", behind=None):
        """`behind`: a service whose client this one is, through Viaduct's own VA-API driver."""
        if not bench.args.viaductd:
            raise Skip("needs --viaductd")
        self.socket = bench.path(f"{name}.sock")
        prefix = [bench.args.viaduct, "exec", "--"] if behind else []
        # One that was killed leaves its own: that is no sign that this one is ready.
        if os.path.exists(self.socket + ".stats"):
            os.unlink(self.socket + ".stats")
        self.process = subprocess.Popen(
            [*prefix, bench.args.viaductd, "--socket", self.socket, *options],
            env=dict(os.environ, VIADUCT_LOG="warn", **(behind.env if behind else {})),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(1200):
            if os.path.exists(self.socket + ".stats"):
                break
            time.sleep(0.05)
        self.env = {"VIADUCT_HOST": f"unix:{self.socket}"}

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        out, _ = self.process.communicate(timeout=20)
        return self.process.returncode, out.decode(errors="replace")


def test_config(bench):
    """viaductd.conf: what is wrong in it is named, what stands in it holds."""
    path = bench.path("viaductd.conf")
    wrong = {
        "max-client = 3": ":2: max-client = 3: there is no such setting",
        "max-clients = lots": ":2: max-clients = lots: give a number from 1",
        "max-clients": ":2: ",
        "backend =": "a value is missing",
        "allow-any = maybe": "say yes or no",
        "once = yes": "there is no such setting",
    }
    for line, message in wrong.items():
        with open(path, "w", encoding="utf-8") as conf:
            conf.write(f"# a comment\n{line}\n")
        result = run([bench.args.viaductd, "--socket", bench.path("x"), "--config", path], False)
        text = result.stdout.decode()
        if result.returncode != 2 or path not in text or message not in text:
            raise AssertionError(f"{line}: exit code {result.returncode}: {text}")
    missing = run([bench.args.viaductd, "--config", bench.path("none")], False)
    if missing.returncode != 2 or b"cannot read" not in missing.stdout:
        raise AssertionError(f"a file that is not there: {missing.stdout}")
    with open(path, "w", encoding="utf-8") as conf:
        conf.write("max-clients = 5\nmax-clients = 1\nbackend = avcodec:software\n"
                   "# 25 pictures a second of this size\nmax-pixels = 2534400\n")
    clip = bench.clip("config", "testsrc2=s=352x288:r=25:d=4")
    service = Service(bench, "--config", path, name="config")
    try:
        start = time.time()
        text = run([bench.args.viaduct, "exec", "--", *ffmpeg(clip, ["-hwaccel", "vaapi"])],
                   env=service.env).stdout
        took = time.time() - start
        # The first second's are saved up. Nothing is asserted of how fast it is without the limit.
        if len(hashes(text)) != 100 or took < 2.9:
            raise AssertionError(f"{len(hashes(text))} pictures in {took:.1f} s, 25 a second allowed")
        first = socket.socket(socket.AF_UNIX)
        first.connect(service.socket)
        time.sleep(0.3)
        refused = run([bench.args.viaduct, "info"], False, dict(service.env, VIADUCT_LOG="info"))
        first.close()
        if not refused.returncode or b"as many clients as it may" not in refused.stdout:
            raise AssertionError(f"a second client is not told: {refused.stdout}")
    finally:
        _, said = service.stop()
    if "--max-clients" not in said:
        raise AssertionError(f"the service does not say whom it refused: {said}")
    return f"{len(wrong)} mistakes are named; 75 pictures of 25 a second took {took:.1f} s"


def test_stop(bench):
    service = Service(bench)
    idle = socket.socket(socket.AF_UNIX)
    idle.connect(service.socket)
    time.sleep(0.3)
    code, text = service.stop()
    if code or os.path.exists(service.socket) or os.path.exists(service.socket + ".stats"):
        raise AssertionError(f"exit code {code}, {os.listdir(bench.folder)}: {text}")
    if idle.recv(1) != b"":
        raise AssertionError("the client's worker lives on")
    return "SIGTERM: sockets and workers gone, exit code 0"


def confinement_of(service):
    """What /proc says of a service's worker, once that has closed its sandbox."""
    found = {}
    for _ in range(100):
        for pid in workers(service):
            with open(f"/proc/{pid}/status", encoding="utf-8") as text:
                found = dict(line.partition(":\t")[::2] for line in text)
                found = {key: value.strip() for key, value in found.items()}
        if found.get("Seccomp") == "2":
            break
        time.sleep(0.1)
    return found


def test_confinement(bench):
    """A worker runs without rights before it reads a byte of its client."""
    service = Service(bench)
    idle = socket.socket(socket.AF_UNIX)
    idle.connect(service.socket)
    found = confinement_of(service)
    idle.close()
    _, said = service.stop()
    if "without a system call filter" in said:
        raise Skip("this build has no filter (sanitizer, profiler or no libseccomp)")
    if found.get("Seccomp") != "2" or found.get("NoNewPrivs") != "1":
        raise AssertionError(f"Seccomp {found.get('Seccomp')}, NoNewPrivs {found.get('NoNewPrivs')}")
    if os.geteuid() == 0 and found["Uid"].split()[0] != "65534":
        raise AssertionError(f"runs as {found['Uid']}")
    if int(found["CapEff"], 16):
        raise AssertionError(f"has capabilities {found['CapEff']}")
    return "filter, no new privileges, no capabilities"


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return int(stat.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def test_limits(bench):
    service = Service(bench, "--max-clients", "1")
    idle = socket.socket(socket.AF_UNIX)
    idle.connect(service.socket)
    time.sleep(1)
    clip = bench.clip("parallel", "testsrc2=s=640x360:r=25:d=2")
    inner = ["env", f"VIADUCT_HOST=unix:{service.socket}"] + ffmpeg(clip, ["-hwaccel", "vaapi"])
    text, _ = bench.bridge(inner, stats=False, expect=None)
    idle.close()
    service.stop()
    if "as many clients as it may" not in text:
        raise AssertionError(f"no reason given: {text[-400:]}")
    return "a client too many is told so"


def test_service_lost(bench):
    """The service dies under a client: an error soon, never a hang."""
    service = Service(bench)
    clip = bench.clip("long", "testsrc2=s=640x360:r=25:d=20", ["-preset", "ultrafast"])
    start = time.time()
    with subprocess.Popen([bench.args.viaduct, "exec", "--", "ffmpeg", "-nostdin", "-v", "error",
                           "-xerror", "-re", "-hwaccel", "vaapi", "-i", clip, "-f", "null", "-"],
                          env=dict(os.environ, **service.env), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as client:
        time.sleep(2)
        service.stop(signal.SIGKILL)
        out, _ = client.communicate(timeout=30)
        if not client.returncode or time.time() - start > 15:
            raise AssertionError(f"exit code {client.returncode} after {time.time() - start:.1f} s:"
                                 f" {out.decode(errors='replace')[-300:]}")
    return f"error after {time.time() - start - 2:.1f} s"


def workers(service):
    """Processes that serve the clients of a service."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                if comm.read().strip() != "viaduct-client":
                    continue
        except OSError:
            continue
        if parent(parent(pid)) == service.process.pid:
            found.append(int(pid))
    return found


def test_chain(bench):
    """Back ends with a device, on Viaduct's own driver: what a GPU's would be on other machines."""
    clip = bench.clip("high_b_pyramid", options=STREAMS["high_b_pyramid"])
    want = hashes(run(ffmpeg(clip, ["-threads", "1"])).stdout)
    for engine in ("vaapi", "vaapi:/dev/dri/renderD128", "avcodec:vaapi",
                   "avcodec:vaapi:/dev/dri/renderD128"):
        for after in ([], ["-vf", "hwdownload,format=yuv420p"]):
            accel = ["-hwaccel", "vaapi"]
            if after:
                accel += ["-hwaccel_output_format", "vaapi"]
            stats = bench.path("inner")
            text, behind = bench.bridge([bench.args.viaduct, "exec", "--backend", engine,
                                         "--stats", stats, "--", *ffmpeg(clip, accel, after)])
            with open(stats, encoding="utf-8") as lines:
                count = dict(line.strip().split(" ", 1) for line in lines)
            if hashes(text.encode()) != want:
                raise AssertionError(f"{engine}: frames differ: {text[-300:]}")
            if not count["engine"].startswith(engine):
                raise AssertionError(f"decoded by {count['engine']}, not {engine}")
            if min(int(c["decoded"]) for c in (count, behind)) < len(want):
                raise AssertionError(f"{engine}: decoded {count['decoded']}, {behind['decoded']}")
    return f"4 devices, {len(want)} frames each"


def test_device_lost(bench):
    """The device goes away under a client: errors, the worker and the service live on."""
    clip = bench.clip("long", "testsrc2=s=640x360:r=25:d=20", ["-preset", "ultrafast"])
    short = bench.clip("high_b_pyramid", options=STREAMS["high_b_pyramid"])
    for engine in ("vaapi", "avcodec:vaapi"):
        behind = Service(bench, name="behind")
        service = Service(bench, "--backend", engine, behind=behind)
        try:
            prefix = [bench.args.viaduct, "exec", "--"]
            with subprocess.Popen(
                    [*prefix, "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-re", "-hwaccel",
                     "vaapi", "-i", clip, "-f", "null", "-"],
                    env=dict(os.environ, **service.env), stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT) as client:
                time.sleep(2)
                start = time.time()
                for pid in workers(behind):
                    os.kill(pid, signal.SIGKILL)
                out, _ = client.communicate(timeout=30)
                if not client.returncode or client.returncode > 128:
                    raise AssertionError(f"{engine}: exit code {client.returncode}: "
                                         f"{out.decode(errors='replace')[-300:]}")
                took = time.time() - start
            stats = bench.path("after")
            result = run([bench.args.viaduct, "exec", "--stats", stats, "--",
                          *ffmpeg(short, ["-hwaccel", "vaapi"])], env=service.env)
            with open(stats, encoding="utf-8") as lines:
                count = dict(line.strip().split(" ", 1) for line in lines)
            if int(count["decoded"]) < len(hashes(result.stdout)) or not hashes(result.stdout):
                raise AssertionError(f"{engine}: a new client is not served: {count}")
            top = run([bench.args.viaduct, "top", "--json"], env=service.env).stdout.decode()
            if '"workers_died": 0' not in top:
                raise AssertionError(f"{engine}: a worker died: {top}")
        finally:
            service.stop()
            behind.stop()
    return f"error after {took:.1f} s, new clients are served"


def judge(tests, bench, names=()):
    """Runs the tests of these names, or all; returns the exit code."""
    totals = {"ok": 0, "FAIL": 0, "skip": 0}
    for name, test in tests.items():
        if names and name not in names:
            continue
        start = time.time()
        try:
            verdict, said = "ok", test(bench)
        except Skip as why:
            verdict, said = "skip", str(why)
        except (AssertionError, OSError, subprocess.TimeoutExpired) as why:
            verdict, said = "FAIL", str(why)
        totals[verdict] += 1
        print(f"{verdict:4} {name} ({time.time() - start:.1f} s) {said}", flush=True)
    print(f"{totals['ok']} passed, {totals['FAIL']} failed, {totals['skip']} skipped")
    return 1 if totals["FAIL"] or not totals["ok"] else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viaduct", required=True)
    parser.add_argument("--viaductd")
    parser.add_argument("--high10", help="the program high10")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    args.viaduct = os.path.abspath(args.viaduct)
    tests = {name[5:]: test for name, test in globals().items() if name.startswith("test_")}
    if not shutil.which("ffmpeg"):
        print("SKIP: ffmpeg is not installed")
        return 77
    if X264 not in run(["ffmpeg", "-v", "error", "-encoders"]).stdout.decode():
        print("SKIP: this ffmpeg cannot make H.264 clips (libx264)")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        return judge(tests, Bench(args, folder), args.names)


if __name__ == "__main__":
    sys.exit(main())
