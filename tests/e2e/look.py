#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Models that look at decoded pictures: samples/look.c, libavcodec and a service.

usage: look.py --viaduct PROGRAM --viaductd PROGRAM --look PROGRAM [--gst FOLDER] [NAME...]

Clips and models are made here, so the answers are known. The service's counters must show that the
pictures were decoded there, and that the program saw none of them.
"""
import argparse
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from channels import Remote, client, need_tls
from run import Bench, Skip, judge, run

# Bars of 64 columns: the letters of the text below. Red is the model's class 0, and its blank.
BARS = ["red", "lime", "lime", "red", "lime", "blue", "red", "blue"]
COLORS = ["red", "lime", "blue"]


def varint(value):
    out = b""
    while True:
        out += bytes([value & 127 | (128 if value > 127 else 0)])
        value >>= 7
        if not value:
            return out


def number(field, value):
    return varint(field << 3) + varint(value)


def nest(field, inner):
    inner = inner.encode() if isinstance(inner, str) else inner
    return varint(field << 3 | 2) + varint(len(inner)) + inner


def tensor_type(name, dims):
    shape = b"".join(nest(1, nest(2, d) if isinstance(d, str) else number(1, d)) for d in dims)
    return nest(1, name) + nest(2, nest(1, number(1, 1) + nest(2, shape)))


def node(op, inputs, outputs, *attributes):
    return (b"".join(nest(1, i) for i in inputs) + b"".join(nest(2, o) for o in outputs) +
            nest(4, op) + b"".join(nest(5, a) for a in attributes))


def ints(name, values):
    return nest(1, name) + b"".join(number(8, v) for v in values) + number(20, 7)


def write_model(path, nodes, in_dims, out_dims, constants=()):
    graph = (b"".join(nest(1, n) for n in nodes) + nest(2, "look") +
             b"".join(nest(5, c) for c in constants) + nest(11, tensor_type("x", in_dims)) +
             nest(12, tensor_type("y", out_dims)))
    with open(path, "wb") as file:
        file.write(number(1, 8) + nest(7, graph) + nest(8, number(2, 13)))


def clip(bench, name, graph):
    path = bench.path(name + ".mp4")
    run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", graph, "-frames:v", "12",
         "-c:v", "libx264", "-preset", "ultrafast", "-qp", "5", "-pix_fmt", "yuv420p", path])
    return path


def watch(bench, options, video, model, least=12):
    """Lines of the sample; the service decoded all and the program saw none."""
    text, stats = bench.bridge([bench.args.look, *options, video, model])
    if int(stats.get("decoded", "0")) < least:
        raise AssertionError(f"{stats.get('decoded')} pictures decoded, not {least}: {text}")
    if not int(stats.get("inferences", "0")):
        raise AssertionError("no run of a model was counted")
    if int(stats.get("mapped", "0")):
        raise AssertionError(f"{stats['mapped']} pictures came to the program")
    return [line for line in text.splitlines() if line[:1].isdigit()]


def bars(bench):
    boxes = ",".join(f"drawbox=x={64 * i}:y=0:w=64:h=64:color={c}:t=fill"
                     for i, c in enumerate(BARS))
    return clip(bench, "bars", f"color=black:s=512x64:r=25,{boxes}")


def mean_model(bench):
    path = bench.path("mean.onnx")
    write_model(path, [node("GlobalAveragePool", ["x"], ["y"])], ["N", 3, "H", "W"], ["N", 3, 1, 1])
    return path


def test_classes(bench):
    """The mean of each channel is the score of its colour."""
    model = mean_model(bench)
    labels = bench.path("labels")
    with open(labels, "w", encoding="utf-8") as file:
        file.write("\n".join(COLORS) + "\n")
    for i, color in enumerate(COLORS):
        lines = watch(bench, ["--size", "16x16", "--labels", labels],
                      clip(bench, color, f"color={color}:s=320x240:r=25"), model)
        best = [line for line in lines if f" class {i} {color} " in line]
        if len(lines) != 36 or len(best) != 12:
            raise AssertionError(f"{len(lines)} lines, {len(best)} of {color}")
        for line in lines:
            score = float(line.split()[-1])
            if abs(score - (1 if line in best else 0)) > 0.03:
                raise AssertionError(line)
        if [int(line.split()[0]) for line in best] != list(range(12)):
            raise AssertionError("pictures are not in their order")
    return ""


def test_parts(bench):
    """Parts of a picture are items of a batch; ranges of a modelinfo count."""
    model = mean_model(bench)
    with open(model + ".modelinfo", "w", encoding="utf-8") as file:
        file.write("[modelinfo]\nversion=1.0\ngroup-id=look\n\n[x]\nid=picture\ntype=float32\n"
                   "dims=-1,3,-1,-1\ndir=input\nranges=-1.0,1.0;-1.0,1.0;-1.0,3.0\n")
    lines = watch(bench, ["--size", "8x8", "--part", "64,0,64,64", "--part", "320,0,64,64",
                          "--frames", "3"], bars(bench), model, least=3)
    os.unlink(model + ".modelinfo")
    scores = {}
    for line in lines:
        words = line.split()
        scores[(int(words[2]), int(words[4]))] = float(words[-1])
    wanted = {(0, 0): -1, (0, 1): 1, (0, 2): -1, (1, 0): -1, (1, 1): -1, (1, 2): 3}
    for key, value in wanted.items():
        if abs(scores.get(key, 9) - value) > 0.06:
            raise AssertionError(f"item, class {key}: {scores.get(key)}, not {value}")
    return ""


def test_text(bench):
    """Columns become steps of a text: CTC drops the blank and what is said twice."""
    model = bench.path("text.onnx")
    write_model(model, [node("ReduceMean", ["x"], ["m"], ints("axes", [2]),
                             nest(1, "keepdims") + number(3, 0) + number(20, 2)),
                        node("Transpose", ["m"], ["y"], ints("perm", [0, 2, 1]))],
                ["N", 3, 8, 8], ["N", 8, 3])
    labels = bench.path("letters")
    with open(labels, "w", encoding="utf-8") as file:
        file.write("G\nB\n")
    lines = watch(bench, ["--post", "text", "--labels", labels], bars(bench), model)
    if len(lines) != 12 or any(' text "GGBB" ' not in line for line in lines):
        raise AssertionError(f"not GGBB: {lines[:2]}")
    return ""


def green_model(bench):
    path = bench.path("green.onnx")
    weight = (b"".join(number(1, d) for d in (1, 3, 1, 1)) + number(2, 1) + nest(8, "w") +
              nest(9, struct.pack("<3f", -1, 1, -1)))
    write_model(path, [node("Conv", ["x", "w"], ["y"])], [1, 3, 64, 64], [1, 1, 64, 64], [weight])
    return path


def box_clip(bench):
    return clip(bench, "box", "color=black:s=640x320:r=25,drawbox=x=160:y=80:w=80:h=40:color=lime:t=fill")


def test_regions(bench):
    """Boxes come in pixels of the picture, through a letterbox."""
    lines = watch(bench, ["--post", "regions", "--threshold", "0.6", "--fit", "letterbox"],
                  box_clip(bench), green_model(bench))
    for line in lines:
        at, size = line.split(" at ")[1].split(" size ")
        found = [float(v) for v in at.split(",") + size.split("x")]
        if any(abs(a - b) > 10 for a, b in zip(found, (160, 80, 80, 40))):
            raise AssertionError(line)
    if len(lines) != 12:
        raise AssertionError(f"{len(lines)} boxes")
    return ""


def test_refused(bench):
    """What cannot be ends in a sentence, and the service goes on."""
    model = mean_model(bench)
    text, stats = bench.bridge([bench.args.look, "--size", "16x16", "--part", "600,0,64,64",
                                bars(bench), model], expect=1)
    if "is not within the picture of 512x64" not in text or stats.get("workers_died") != "0":
        raise AssertionError(text)
    return ""


def test_command(bench):
    """The same as a command."""
    text, stats = bench.bridge([bench.args.viaduct, "npu", "watch", "--size", "16x16", "--frames", "2",
                                bars(bench), mean_model(bench)])
    lines = [line for line in text.splitlines() if line[:1].isdigit()]
    if len(lines) != 6 or int(stats.get("mapped", "0")):
        raise AssertionError(text)
    return ""


def look_from_afar(bench, scheme, options, env):
    """Over a channel that shares no memory: the same answers, and no picture travels."""
    service = Remote(bench, scheme, *options, name="look-" + scheme)
    command = [bench.args.look, "--size", "16x16", bars(bench), mean_model(bench)]
    try:
        near = run([bench.args.viaduct, "exec", "--", *command], env=service.near).stdout.decode()
        far = client(bench, service, command, **env).stdout.decode()
        total = service.counters(bench)["total"]
    finally:
        service.stop()
    lines = [[line for line in text.splitlines() if line[:1].isdigit()] for text in (near, far)]
    if len(lines[1]) != 36 or lines[0] != lines[1] or int(total.get("mapped", 0)):
        raise AssertionError(f"{len(lines[1])} lines, {total.get('mapped')} pictures: {far[-400:]}")
    return f"{len(lines[1])} lines as over the Unix socket"


def test_tcp(bench):
    return look_from_afar(bench, "tcp", [], {})


def test_tls(bench):
    folder = need_tls(bench)
    return look_from_afar(bench, "tls", ["--tls-secret", f"{folder}/secret"],
                          {"VIADUCT_TLS_SECRET": f"{folder}/secret"})


def pipeline(bench, video, *element):
    command = ["gst-launch-1.0", "-m", "-v", "filesrc", f"location={video}", "!", "qtdemux", "!",
               "h264parse", "!", "vah264dec", "!", "viaductinfer", *element, "!", "identity",
               "silent=false", "!", "fakesink"]
    return bench.bridge(command, env={"GST_PLUGIN_PATH": bench.args.gst, "NO_COLOR": "1"},
                        expect=None)


def test_gstreamer(bench):
    """The element: messages of boxes, and regions at the buffers; no picture comes to the program."""
    if not bench.args.gst:
        raise Skip("this build has no element for GStreamer")
    if not shutil.which("gst-launch-1.0") or \
            subprocess.run(["gst-inspect-1.0", "va"], check=False, stdout=subprocess.DEVNULL).returncode:
        raise Skip("GStreamer's plugin va is not installed")
    model, video = green_model(bench), box_clip(bench)
    text, stats = pipeline(bench, video, f"model={model}", "post=regions", "threshold=0.6", "fit=letterbox",
                           "every=2")
    found = re.findall(r"viaduct-infer, frame=\(guint64\)(\d+).*", text)
    if found != ["0", "2", "4", "6", "8", "10"]:
        raise AssertionError(f"{found}: {text[-600:]}")
    for line in text.splitlines():
        if "viaduct-infer," not in line:
            continue
        numbers = {k: int(v) for k, v in re.findall(r"\b([xywh])\\=\\\(int\\\)(\d+)", line)}
        wanted = {"x": 160, "y": 80, "w": 80, "h": 40}
        if numbers.keys() != wanted.keys() or any(abs(numbers[k] - v) > 10 for k, v in wanted.items()):
            raise AssertionError(line)
    if text.count("GstVideoRegionOfInterestMeta") < 6:
        raise AssertionError("no regions at the buffers")
    if int(stats.get("mapped", "0")) or int(stats["inferences"]) != 6:
        raise AssertionError(f"{stats['mapped']} pictures came, {stats['inferences']} runs")
    text, _ = pipeline(bench, video, f"model={model}", "post=nonsense")
    if "nonsense" not in text or "viaductinfer" not in text:
        raise AssertionError(f"a wrong post is not told: {text[-400:]}")
    return "6 messages of a box each"


TESTS = {
    "classes": test_classes,
    "parts": test_parts,
    "text": test_text,
    "regions": test_regions,
    "refused": test_refused,
    "command": test_command,
    "tcp": test_tcp,
    "tls": test_tls,
    "gstreamer": test_gstreamer,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--viaduct", required=True)
    parser.add_argument("--viaductd", required=True)
    parser.add_argument("--look", required=True)
    parser.add_argument("--gst", help="folder of the plugin for GStreamer")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if not shutil.which("ffmpeg"):
        print("skipped: ffmpeg, which makes the clips, is not installed")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        return judge(TESTS, Bench(args, folder), args.names)


if __name__ == "__main__":
    sys.exit(main())
