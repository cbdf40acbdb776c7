# SPDX-License-Identifier: MIT
"""Pictures for encode.py and process.py: sources, and how far a result is from what it should be."""
import concurrent.futures
import math
import os
import tempfile

from run import Skip, run

AT_A_TIME = min(2, os.cpu_count() or 1)
QUIET = ["ffmpeg", "-nostdin", "-hide_banner", "-v", "warning"]
# What ffmpeg says of JPEG's formats of full range, of raw pictures, and of its own defaults.
HARMLESS = ("deprecated pixel format used", "Estimating duration from bitrate",
            "No quality level set")


def source(bench, name, graph, pix_fmt="yuv420p"):
    """Frames of a filter graph, without loss, made once: (file, number of frames)."""
    if name not in bench.made:
        out = bench.path(f"{name}.nut")
        text = run([*QUIET[:-1], "info", "-f", "lavfi", "-i", graph, "-pix_fmt", pix_fmt, "-c:v",
                    "rawvideo", "-threads", "1", "-y", out]).stdout.decode(errors="replace")
        bench.made[name] = out, int(text.rsplit("frame=", 1)[1].split()[0])
    return bench.made[name]


def said(text):
    """The lines of a program's output that mean something."""
    lines = [line for line in text.splitlines()
             if line.strip() and not any(words in line for words in HARMLESS)]
    return "\n".join(lines)


def distances(bench, have, want, have_filter="", want_filter="", before=(), want_before=()):
    """
    PSNR of each frame of a file against that of another, by a command of its own. Anything that
    ffmpeg says while it decodes is a failure. Planes weigh what they have of samples.
    """
    log = bench.path("psnr.log")
    if os.path.exists(log):
        os.unlink(log)
    even = "settb=1/25,setpts=N"
    graph = (f"[0:v]{have_filter or 'null'},format=yuv420p,{even}[a];"
             f"[1:v]{want_filter or 'null'},format=yuv420p,{even}[b];"
             f"[a][b]psnr=stats_file={log}:shortest=1:repeatlast=0")
    text = run([*QUIET, *before, "-i", have, *want_before, "-i", want, "-lavfi", graph, "-f", "null", "-"]).stdout
    text = said(text.decode(errors="replace"))
    if text:
        raise AssertionError(f"decoding {os.path.basename(have)} says: {text[-400:]}")
    found = []
    with open(log, encoding="utf-8") as lines:
        for line in lines:
            value = line.split("psnr_avg:")[1].split()[0]
            found.append(99.0 if value == "inf" else float(value))
    return found


def mean(values):
    """PSNR of all frames together: the mean is that of their errors."""
    return -10 * math.log10(sum(10 ** (-v / 10) for v in values) / len(values))


def near(bench, have, want, frames, floor, **options):
    """All frames there, and each at least this near; the PSNR of all."""
    found = distances(bench, have, want, **options)
    if len(found) != frames:
        raise AssertionError(f"{len(found)} frames of {frames}")
    if min(found) < floor:
        at = found.index(min(found))
        raise AssertionError(f"frame {at}: {found[at]:.1f} dB, at least {floor:.1f} expected")
    return mean(found)


def each(bench, cases, check):
    """
    Runs all rows of a table, two at a time: most of what a short case takes is programs that start
    and wait for each other. The failures of all of them are one error. `--every`: a sample.
    """
    wrong, left_out = [], []
    cases = dict(list(cases.items())[::bench.args.every])

    def own_folder():
        bench.own.folder = tempfile.mkdtemp(dir=bench.folder)

    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME, initializer=own_folder) as pool:
        running = {name: pool.submit(check, name, case) for name, case in cases.items()}
    for name, result in running.items():
        try:
            result.result()
        except Skip as why:
            left_out.append(f"{name}: {why}")
        except AssertionError as why:
            wrong.append(f"{name}: {why}")
    if wrong:
        raise AssertionError("\n    ".join([f"{len(wrong)} of {len(cases)}", *wrong]))
    if left_out and len(left_out) == len(cases):
        raise Skip("; ".join(left_out))
    return f"{len(cases) - len(left_out)} of {len(cases)}" + "".join(f"; {s}" for s in left_out)


def expect(count, **least):
    """The service's counters: at least so many, and nothing lost."""
    for key, value in least.items():
        if int(count[key]) < value:
            raise AssertionError(f"{key} {count[key]}, not {value}")
    if int(count["failed"]) or int(count["concealed"]):
        raise AssertionError(f"failed {count['failed']}, concealed {count['concealed']}")


def elements(bench):
    """Environment of GStreamer's programs, with a registry of the run's own."""
    return {"GST_REGISTRY": os.path.join(bench.folder, "gst.reg"),
            "XDG_RUNTIME_DIR": os.path.dirname(bench.path("any")),
            "GST_REGISTRY_FORK": "no"}


def need_element(bench, name):
    """Skips where GStreamer, the plugin, or the driver behind it does not have this element."""
    key = "element " + name
    if key not in bench.made:
        text, _ = bench.bridge(["gst-inspect-1.0", name], stats=False, expect=None,
                               env=elements(bench))
        bench.made[key] = "Factory Details" in text
    if not bench.made[key]:
        raise Skip(f"GStreamer has no {name} here")
