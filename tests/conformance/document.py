# SPDX-License-Identifier: MIT
"""Writes docs/CONFORMANCE.md from verdicts."""
import os
import subprocess

import facts
import report

INTRO = """\
# Conformance

Which streams decode through the bridge as they do in software, client by client. Written by
`tests/conformance/run.py --table`; [TESTING.md](TESTING.md) tells how to run it.

*m/n* means: of n streams that the client could hand to the bridge, m came out bit-exact, every frame, and the service's
counters show that the bridge decoded them. *Skipped* streams are those that the client, or VA-API itself, cannot hand to any
driver: the counters show that the bridge was not asked, and the client's own software decodes them. The reference is FFmpeg's
software decoder; where GStreamer shows other frames of a stream than FFmpeg does (its parsers cut and drop in their own way),
all that it shows must be among the frames of its own software decoder.
"""

REPRODUCE = """\
## How to reproduce

    tests/conformance/run.py --viaduct build/cli/viaduct --codec all --client ffmpeg,gst \\
        --results results.json --table docs/CONFORMANCE.md
    tests/conformance/run.py --codec all --results results.json --only-report --fluster
    tests/conformance/run.py --write-suites DIR      # the same streams for fluster itself

The corpus is a folder of streams made by others, not part of this repository. A result that is wrong or missing here is a bug:
the file names are in its manifest.
"""


def first_line(command):
    try:
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                             timeout=30).stdout.decode(errors="replace")
    except OSError:
        return ""
    return out.splitlines()[0].strip() if out.strip() else ""


def versions():
    """What stood on the machine."""
    ffmpeg = first_line(["ffmpeg", "-version"]).split(" Copyright")[0].removeprefix("ffmpeg version ")
    libva = first_line(["pkg-config", "--modversion", "libva"])
    gst = first_line(["gst-launch-1.0", "--version"]).removeprefix("gst-launch-1.0 version ")
    said = [f"FFmpeg {ffmpeg}" if ffmpeg else "", f"libva API {libva}" if libva else "",
            f"GStreamer {gst}" if gst else ""]
    return "Versions: " + ", ".join(text for text in said if text) + ".\n"


def column_title(engine, client):
    names = {"ffmpeg": "FFmpeg", "gst-va": "GStreamer va", "gst-vaapi": "gstreamer-vaapi"}
    return names.get(client, client) + ("" if engine == "software" else f" ({engine})")


def clean_table(streams, results):
    columns = results.columns()
    lines = report.head("codec", "profile", "format", "streams",
                        *(column_title(engine, client) for _, engine, client in columns))
    totals = {key: [] for key, _, _ in columns}
    count = 0
    for (codec, profile, pix_fmt), members in report.groups(streams):
        cells = []
        for key, _, _ in columns:
            verdicts = report.of(results.found[key], members)
            totals[key] += verdicts
            cells.append(report.cell(verdicts))
        count += len(members)
        lines.append(report.row(facts.CODECS[codec].title, profile or "-", pix_fmt, len(members),
                                *cells))
    lines.append(report.row("**all**", "", "", count,
                            *(report.cell(totals[key]) for key, _, _ in columns)))
    return lines


def damaged_table(streams, results):
    columns = results.columns()
    lines = report.head("codec", "streams",
                        *(column_title(engine, client) for _, engine, client in columns))
    for codec in [*facts.CODECS, ""]:
        members = [s for s in streams if s.status != "clean" and s.codec == codec]
        if members:
            cells = (report.cell(report.of(results.found[key], members)) for key, _, _ in columns)
            name = facts.CODECS[codec].title if codec else "no video to be found"
            lines.append(report.row(name, len(members), *cells))
    return lines


def feature_table(streams, results, key):
    lines = report.head("codec", "feature: exact / streams")
    rows = report.feature_rows(streams, results.found.get(key, {}))
    for codec in facts.CODECS:
        cells = [f"{name} {ok}/{all_of}" for (c, name), (ok, all_of) in sorted(rows.items())
                 if c == codec]
        if cells:
            lines.append(report.row(facts.CODECS[codec].title, ", ".join(cells)))
    return lines


def listing(streams, results, kind, clean=True):
    """Lines `reason: files`, by client."""
    lines = []
    for key, engine, client in results.columns():
        reasons = {}
        for stream in streams:
            verdict = results.found[key].get(stream.file)
            if verdict and verdict.kind == kind and (not clean or stream.status == "clean"):
                reasons.setdefault(verdict.why, []).append(stream)
        if reasons:
            lines += [f"### {column_title(engine, client)}", ""]
            for why, members in sorted(reasons.items()):
                names = ", ".join(f"`{os.path.basename(s.file)}`" for s in members[:4])
                more = f" and {len(members) - 4} more" if len(members) > 4 else ""
                lines.append(f"- {why}: {len(members)} ({names}{more})")
            lines.append("")
    return lines


def write(streams, results, viaduct):
    """The whole document."""
    del viaduct
    lines = [INTRO, versions(), "## Clean streams", "", *clean_table(streams, results), "",
             "## Features", "",
             "Streams that the manifest says use a feature, decoded by FFmpeg through the bridge.",
             "", *feature_table(streams, results, "software/ffmpeg"), "",
             "## Damaged streams", "",
             "Truncated, corrupted and fuzzed files, and streams on which FFmpeg reports errors. *m/n*: of n, m ran to",
             "an end with the worker alive and the service going on; what they show is not compared.",
             "", *damaged_table(streams, results), "",
             "## What is skipped, and why", "", *listing(streams, results, "skip")]
    failed = listing(streams, results, "FAIL", clean=False)
    if failed:
        lines += ["## What is wrong", "", *failed]
    return "\n".join(lines) + "\n" + REPRODUCE
