# SPDX-License-Identifier: MIT
"""What a run found, for people and for fluster."""
import json
import os
import re
import subprocess

import facts
from verdict import Verdict


class Results:
    """Verdicts by engine, client and stream; kept in a file, so that runs add up."""

    def __init__(self, path=None):
        self.path = path
        self.found = {}
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as text:
                for key, kinds in json.load(text).items():
                    self.found[key] = {file: Verdict(*entry) for file, entry in kinds.items()}

    def add(self, engine, client, stream, verdict):
        self.found.setdefault(f"{engine}/{client}", {})[stream.file or stream.path] = verdict

    def wrong(self, engine, client, stream):
        """Whether the stream failed, or has no verdict yet."""
        said = self.found.get(f"{engine}/{client}", {}).get(stream.file or stream.path)
        return not said or said.kind == "FAIL"

    def save(self):
        if self.path:
            with open(self.path, "w", encoding="utf-8") as out:
                json.dump({key: {file: (v.kind, v.why, v.odd) for file, v in sorted(kinds.items())}
                           for key, kinds in sorted(self.found.items())}, out, indent=0)

    def columns(self):
        """(key, engine, client) in the order of the tables."""
        order = ["ffmpeg", "gst-va", "gst-vaapi"]
        keys = [(key, *key.split("/")) for key in self.found]
        return sorted(keys, key=lambda k: (k[1], order.index(k[2]) if k[2] in order else 9))


def of(verdicts, streams):
    return [verdicts[s.file] for s in streams if s.file in verdicts]


def cell(verdicts):
    """A cell of the table: how many are bit-exact, skipped, wrong."""
    if not verdicts:
        return "-"
    count = {kind: sum(v.kind == kind for v in verdicts) for kind in ("ok", "skip", "FAIL")}
    parts = []
    if count["ok"] or not count["skip"]:
        parts.append(f"{count['ok']}/{count['ok'] + count['FAIL']}")
    if count["skip"]:
        parts.append(f"{count['skip']} skipped")
    return ", ".join(parts)


def groups(streams):
    """Clean streams by codec, profile and format, in the order of the codecs."""
    found = {}
    for stream in streams:
        if stream.status == "clean" and stream.codec in facts.CODECS:
            found.setdefault((stream.codec, stream.profile, stream.pix_fmt), []).append(stream)
    order = list(facts.CODECS)
    return sorted(found.items(), key=lambda item: (order.index(item[0][0]), *item[0][1:]))


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def head(*cells):
    return [row(*cells), "|" + "---|" * len(cells)]


# Words of the manifest's features that say what a stream exercises, by codec.
NOT_FEATURES = re.compile(r"=|\d{2,}/|^(profile|q0|fpar|samp|8bit|I$|P$|poc|chroma)")


def feature_names(stream):
    names = {re.sub(r"\(.*\)|\d+$", "", word) for word in stream.features.split()
             if not NOT_FEATURES.search(word)}
    return names - {""}


def feature_rows(streams, verdicts):
    """(codec title, feature, streams with it that are exact, streams with it)."""
    found = {}
    for stream in streams:
        verdict = verdicts.get(stream.file)
        if stream.status != "clean" or not verdict or verdict.kind == "skip":
            continue
        for name in feature_names(stream):
            ok, all_of = found.get((stream.codec, name), (0, 0))
            found[stream.codec, name] = (ok + (verdict.kind == "ok"), all_of + 1)
    return found


def fluster(streams, results, software):
    """fluster's summary: suites by decoders, and the vectors that do not pass."""
    columns = [column for column in results.columns() if column[2] != "software"]
    lines, totals = [], [0] * (len(columns) + 1)
    names = [f"{title(client)} through the bridge" for _, _, client in columns]
    lines += ["|Test|FFmpeg software|" + "|".join(names) + "|", "|-|" + "-|" * (len(columns) + 1)]
    vectors = 0
    suites = {}
    for stream in streams:
        if stream.status == "clean" and not stream.reason and stream.codec in facts.CODECS:
            suites.setdefault(stream.suite, []).append(stream)
    for suite, members in sorted(suites.items()):
        scores = [sum(software.get(s.file, False) for s in members)]
        scores += [sum(v.kind == "ok" for v in of(results.found[key], members))
                   for key, _, _ in columns]
        vectors += len(members)
        totals = [total + score for total, score in zip(totals, scores)]
        lines.append(f"|{suite}|" + "|".join(f"{s}/{len(members)}" for s in scores) + "|")
    lines.append("|TOTAL|" + "|".join(f"{total}/{vectors}" for total in totals) + "|")
    return "\n".join(lines)


def title(client):
    return {"ffmpeg": "FFmpeg-VAAPI", "gst-va": "GStreamer-va",
            "gst-vaapi": "GStreamer-vaapi"}.get(client, client)


# fluster's own names; it has no other codecs, and no formats of full range.
FLUSTER_CODECS = {"h264", "hevc", "vp8", "vp9", "av1", "mpeg2video", "mpeg4"}
FLUSTER_FORMATS = {"yuv420p", "yuv422p", "yuv444p", "gbrp", "gray"} | {
    f"yuv{chroma}p{depth}le" for chroma in (420, 422, 444) for depth in (10, 12)}


# Files that can have more in them than pictures.
CONTAINERS = (".3gp", ".avi", ".avif", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm")


def plain_video(path):
    """Whether fluster hashes just these frames: it takes sound along, and has pictures turned."""
    if not path.endswith(CONTAINERS):
        return True
    said = subprocess.run(["ffprobe", "-v", "error", "-show_entries",
                           "stream=codec_type:stream_side_data=rotation", "-of", "default=nw=1",
                           path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False).stdout.decode(errors="replace")
    return not set(said.split()) - {"codec_type=video"}


def write_suites(streams, folder):
    """Writes test suites that fluster runs; returns (suites, vectors, left out)."""
    suites, left = {}, 0
    for stream in streams:
        if stream.status != "clean":
            continue
        if (stream.codec not in FLUSTER_CODECS or stream.pix_fmt not in FLUSTER_FORMATS
                or stream.cap or not stream.raw_md5 or stream.sizes > 1
                or not plain_video(stream.path)):
            left += 1
            continue
        name = re.sub(r"[^\w.-]+", "-", stream.suite).strip("-")
        suite = suites.setdefault(name, {
            "name": name, "codec": facts.CODECS[stream.codec].title,
            "description": f"{facts.CODECS[stream.codec].title} streams of {stream.source}; the "
                           "results are those of FFmpeg's software decoder",
            "test_vectors": []})
        suite["test_vectors"].append({
            "name": re.sub(r"[^\w.-]+", "-", os.path.basename(stream.file)),
            "source": "file://" + os.path.abspath(stream.path), "source_checksum": md5(stream.path),
            "input_file": os.path.basename(stream.file), "output_format": stream.pix_fmt,
            "result": stream.raw_md5})
    os.makedirs(folder, exist_ok=True)
    for name, suite in suites.items():
        with open(os.path.join(folder, f"{name}.json"), "w", encoding="utf-8") as out:
            json.dump(suite, out, indent=4)
            out.write("\n")
    return len(suites), sum(len(s["test_vectors"]) for s in suites.values()), left


def md5(path):
    import hashlib
    with open(path, "rb") as data:
        return hashlib.md5(data.read()).hexdigest()
