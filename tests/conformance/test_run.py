#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The runner judges rightly: what is not bit-exact, or not the bridge's work, must not pass."""
import dataclasses
import io
import json
import os
import sys
import tempfile
import unittest

import clients
import corpus
import document
import excuses
import facts
import report
import verdict
from verdict import Comparison, Verdict

HEAD = "file\tcodec\tprofile\tpix_fmt\tframes\tcapped\tn_frame_sizes\tstatus\traw_md5\tsource\tfeatures"
GOOD = "0123456789abcdef0123456789abcdef"
BAD = "f" * 32


def stream(**changes):
    base = corpus.Stream(path="/x/a.264", file="h264/a.264", codec="h264", profile="High",
                         pix_fmt="yuv420p", frames=10, raw_md5=GOOD, source="maker/set")
    return dataclasses.replace(base, **changes)


def run(decoded=10, md5=GOOD, code=0, died=0, late=False, pix_fmt="yuv420p", frames=()):
    return clients.Run(code=code, late=late, md5=md5, pix_fmt=pix_fmt, frames=list(frames),
                       counters={"decoded": str(decoded), "concealed": "0",
                                 "workers_died": str(died)})


class Canned:
    """A client whose decodes are known: answers by what is asked of it."""

    def __init__(self, bridge, native):
        self.bridge, self.native = bridge, native

    @staticmethod
    def pick(answers, each, uncropped, filters):
        what = "each" if each else "uncropped" if uncropped else filters
        found = answers.get(what)
        return found if found else run(md5="", pix_fmt="")

    def decode(self, _stream, _codec, _bridge, each=False, uncropped=False, filters="", **_):
        return self.pick(self.bridge, each, uncropped, filters)

    def software(self, _stream, _codec, each=False, uncropped=False, filters="", **_):
        return self.pick(self.native, each, uncropped, filters)


def compare(one, bridge=(), native=()):
    client = Canned(dict(bridge), dict(native))
    return verdict.FfmpegCompare(client, one, facts.CODECS[one.codec], None)


def judge(one, done, how=None, reason=None, hidden=False):
    return verdict.judge(one, hidden, reason, done, how or compare(one))


class Manifest(unittest.TestCase):
    def parse(self, *rows):
        return corpus.parse(io.StringIO("\n".join((HEAD,) + rows) + "\n"), "/c")

    def test_row(self):
        row = f"h264/a.264\th264\tHigh\tyuv420p\t300\tcap300\t2\tclean\t{GOOD}\tmaker/set\tCABAC B"
        (found,) = self.parse(row)
        self.assertEqual(found.path, "/c/h264/a.264")
        self.assertEqual((found.frames, found.cap, found.sizes), (300, 300, 2))
        self.assertEqual(found.suite, "H.264 maker/set")

    def test_empty_numbers(self):
        (found,) = self.parse("b\t\t\t\t\t\t\tnovideo\t\t\t")
        self.assertEqual((found.frames, found.cap), (0, 0))

    def test_broken_manifests_are_refused(self):
        with self.assertRaises(corpus.BadManifest):
            corpus.parse(io.StringIO("file\tcodec\n"), "/c")
        with self.assertRaises(corpus.BadManifest):
            self.parse("a\th264")
        with self.assertRaises(corpus.BadManifest):
            self.parse(f"a\th264\tHigh\tyuv420p\tmany\t\t1\tclean\t{GOOD}\t\t")

    def test_select(self):
        streams = [stream(), stream(codec="mjpeg"), stream(status="errors"), stream(codec="")]
        self.assertEqual(len(corpus.select(streams, "h264", "clean")), 1)
        self.assertEqual(len(corpus.select(streams, "jpeg,h264", "clean,errors")), 3)
        self.assertEqual(len(corpus.select(streams, "all", "clean")), 3)
        self.assertEqual(len(corpus.select(streams, "all", "clean", every=2)), 2)
        with self.assertRaises(ValueError):
            corpus.select(streams, "h262", "clean")


class Clean(unittest.TestCase):
    def test_equal_and_decoded(self):
        self.assertEqual(judge(stream(), run()).kind, "ok")

    def test_another_md5_fails(self):
        one = stream()
        how = compare(one, {"each": run(frames=["a", "b"])}, {"each": run(frames=["a", "c"])})
        said = judge(one, run(md5=BAD), how)
        self.assertEqual(said.kind, "FAIL")
        self.assertIn("1 differ", said.why)

    def test_falsified_manifest_fails(self):
        # The frames are right, and the manifest is wrong about them: found out by decoding again.
        one = stream(raw_md5=BAD)
        how = compare(one, {"each": run(frames=["a"])}, {"each": run(frames=["b"])})
        self.assertEqual(judge(one, run(), how).kind, "FAIL")

    def test_silent_fallback_fails(self):
        said = judge(stream(), run(decoded=0))
        self.assertEqual(said.kind, "FAIL")
        self.assertIn("decoded 0 of 10", said.why)

    def test_partial_fallback_fails(self):
        self.assertEqual(judge(stream(), run(decoded=9)).kind, "FAIL")

    def test_repeated_frames_are_no_fallback(self):
        self.assertEqual(judge(stream(), run(decoded=5), hidden=True).kind, "ok")
        self.assertEqual(judge(stream(), run(decoded=4), hidden=True).kind, "FAIL")
        self.assertEqual(judge(stream(frames=0), run(decoded=0), hidden=True).kind, "FAIL")

    def test_missing_frames_fail(self):
        one = stream()
        how = compare(one, {"each": run(frames=["a"])}, {"each": run(frames=["a", "b"])})
        self.assertEqual(judge(one, run(md5=BAD), how).kind, "FAIL")

    def test_nothing_decoded_on_both_sides_fails(self):
        one = stream(raw_md5="")
        self.assertEqual(judge(one, run(md5=""), compare(one)).kind, "FAIL")

    def test_crop_at_the_left(self):
        one = stream()
        how = compare(one, {"uncropped": run(md5="same")}, {"uncropped": run(md5="same")})
        self.assertEqual(judge(one, run(md5=BAD), how).why, "10 frames, uncropped")

    def test_other_surface_format(self):
        to = f"{verdict.KEEP_RANGE},format=p010le"
        back = f"{to},{verdict.KEEP_RANGE},format=yuv420p10le"
        one = stream(pix_fmt="yuv420p10le")
        done = run(md5="p010", pix_fmt="p010le")
        native = {to: run(md5="p010"), back: run(md5=GOOD)}
        self.assertEqual(judge(one, done, compare(one, {}, native)).why, "10 frames, as p010le")
        native[back] = run(md5=BAD)
        self.assertIn("loses", judge(one, done, compare(one, {}, native)).why)
        native[to] = run(md5=BAD)
        self.assertEqual(judge(one, done, compare(one, {}, native)).kind, "FAIL")


class Trouble(unittest.TestCase):
    def test_every_status(self):
        for status in ("clean", "errors", "fail"):
            one = stream(status=status)
            self.assertEqual(judge(one, run(died=1)).kind, "FAIL", status)
            self.assertEqual(judge(one, run(late=True)).kind, "FAIL", status)
            self.assertEqual(judge(one, run(code=-11)).kind, "FAIL", status)
            self.assertEqual(judge(one, run(code=139)).kind, "FAIL", status)
            self.assertEqual(judge(one, clients.Run(md5=GOOD)).kind, "FAIL", status)

    def test_aborts_of_the_client_itself(self):
        done = run(code=134)
        done.said = "Assertion par failed at src/libavcodec/mjpegdec.c:650"
        self.assertEqual(judge(stream(codec="mjpeg"), done).kind, "skip")
        done.counters["workers_died"] = "1"
        self.assertEqual(judge(stream(codec="mjpeg"), done).kind, "FAIL")
        done = run(code=134)
        done.said = "the driver aborts"
        self.assertEqual(judge(stream(codec="mjpeg"), done).kind, "FAIL")

    def test_damaged_streams_may_differ(self):
        one = stream(status="errors")
        self.assertEqual(judge(one, run(md5=BAD, code=1, decoded=0)).kind, "ok")


class Skipped(unittest.TestCase):
    WHY = "VA-API has no profile for it"

    def test_not_asked(self):
        self.assertEqual(judge(stream(), run(decoded=0), reason=self.WHY), Verdict("skip", self.WHY))

    def test_no_software_either(self):
        said = judge(stream(), run(decoded=0, md5="", code=1), reason=self.WHY)
        self.assertEqual(said.kind, "skip")

    def test_decoded_is_flagged(self):
        said = judge(stream(), run(), reason=self.WHY)
        self.assertEqual((said.kind, said.odd), ("ok", True))

    def test_decoded_wrongly_fails(self):
        one = stream()
        how = compare(one, {"each": run(frames=["a"])}, {"each": run(frames=["b"])})
        self.assertEqual(judge(one, run(md5=BAD), how, self.WHY).kind, "FAIL")

    def test_refused_with_an_error(self):
        done = run(md5=verdict.NOTHING, code=1)
        self.assertEqual(judge(stream(), done, reason=self.WHY).kind, "skip")

    def test_software_that_differs_fails(self):
        one = stream()
        how = compare(one, {"each": run(frames=["a"])}, {"each": run(frames=["b"])})
        self.assertEqual(judge(one, run(decoded=0, md5=BAD), how, self.WHY).kind, "FAIL")

    def test_no_reference(self):
        def how(_):
            return Comparison(False, 0, "shows nothing", True)
        self.assertEqual(judge(stream(), run(md5=BAD), how), Verdict("skip", "shows nothing"))

    def test_reasons(self):
        self.assertIsNone(facts.reason("h264", "High", "yuvj420p"))
        self.assertIsNone(facts.reason("mjpeg", "Baseline", "yuvj444p"))
        self.assertIn("progressive", facts.reason("mjpeg", "Progressive", "yuvj420p"))
        self.assertIn("4:4:4", facts.reason("av1", "High", "yuv420p"))


    def test_gstreamer_alone(self):
        self.assertIn("MPEG-2", facts.gst_cannot("vaapi", "mpeg4", "a.avi", "Simple Profile", ""))
        self.assertIsNone(facts.gst_cannot("vaapi", "mpeg4", "a.avi", "", ""))


class Excuses(unittest.TestCase):
    """What a client does wrong is excused only where the stream has what provokes it."""

    @staticmethod
    def fields(has, *fields):
        kept, excuses.header_fields = excuses.header_fields, lambda _path, names: (
            f for f in fields if f[0] in names)
        try:
            return has("x")
        finally:
            excuses.header_fields = kept

    @staticmethod
    def data(has, said):
        kept, excuses.output = excuses.output, lambda *_: said
        try:
            return has("x")
        finally:
            excuses.output = kept

    def test_av1(self):
        new, old = ("segmentation_update_map", 1), ("segmentation_update_map", 0)
        data, kept = ("segmentation_update_data", 1), ("segmentation_update_data", 0)
        has = excuses.keeps_segmentation_data
        self.assertTrue(self.fields(has, new, data, old, kept, new, kept))
        self.assertFalse(self.fields(has, new, data, old, kept, old, data))
        frame, upper, shown = ("obu_type", 6), ("spatial_id", 1), ("show_frame", 1)
        has = excuses.shows_layers
        self.assertTrue(self.fields(has, frame, shown, frame, upper, shown))
        self.assertFalse(self.fields(has, frame, shown, frame, upper, ("show_frame", 0)))
        self.assertFalse(self.fields(has, frame, upper, shown, frame, upper, shown))
        main, high = ("seq_profile", 0), ("seq_profile", 1)
        self.assertTrue(self.fields(excuses.changes_profile, main, high))
        self.assertFalse(self.fields(excuses.changes_profile, high, high))

    def test_h264(self):
        begin, mark = ("slice_type", 5), ("memory_management_control_operation", 1)
        end = ("memory_management_control_operation", 0)
        has = excuses.many_memory_operations
        self.assertTrue(self.fields(has, begin, *[mark] * 11, end))
        self.assertFalse(self.fields(has, begin, *[mark] * 10, end, begin, mark, end))

    def test_jpeg(self):
        def has(what, *markers):
            segments = b"".join(b"\xff" + bytes([m]) + b"\0\4ab" for m in markers)
            return self.data(what, b"\xff\xd8" + segments + b"\xff\xda\0\4ab\xff\xdb\0\4ab")
        self.assertTrue(has(excuses.tables_after_frame, 0xe0, 0xc0, 0xdb))
        self.assertFalse(has(excuses.tables_after_frame, 0xe0, 0xdb, 0xc0))
        self.assertFalse(has(excuses.tables_after_frame, 0xe0, 0xdb))
        self.assertTrue(has(excuses.restarts, 0xdb, 0xc0, 0xdd))
        self.assertFalse(has(excuses.restarts, 0xdb, 0xc0))

    def test_hevc(self):
        vps, slice_of_1, rpu = b"\0\0\1\x40\1", b"\0\0\1\2\x09", b"\0\0\1\x7c\1"
        self.assertTrue(self.data(excuses.upper_layers, vps + slice_of_1))
        self.assertFalse(self.data(excuses.upper_layers, vps + rpu))
        self.assertTrue(self.data(excuses.unspecified_units, vps + rpu))
        self.assertFalse(self.data(excuses.unspecified_units, vps + slice_of_1))

    def test_growing(self):
        def has(*sizes):
            frames = [{"width": w, "height": h} for w, h in sizes]
            return self.data(excuses.grows, json.dumps({"frames": frames}))
        self.assertTrue(has((8, 8), (4, 4), (4, 9)))
        self.assertFalse(has((8, 8), (4, 4), (8, 8)))
        self.assertFalse(has())

    def test_only_for_that_client(self):
        one = stream(codec="vp8")
        self.assertIsNone(excuses.find("gst-va", one))


class Programs(unittest.TestCase):
    def test_ffmpeg_output(self):
        done = clients.Run(said="  Stream #0:0: Video: rawvideo (I420), yuv420p\nOutput #0, md5\n"
                                "  Stream #0:0: Video: rawvideo (NV12 / 0x32), nv12(pc), 64x64\n"
                                f"0, 0, 0, 1, 6144, {BAD}\nMD5={GOOD}\n")
        clients.Ffmpeg.read(done)
        self.assertEqual((done.md5, done.pix_fmt, done.frames), (GOOD, "nv12", [BAD]))

    def test_late_programs_are_ended(self):
        limit, clients.TIMEOUT = clients.TIMEOUT, 0.3
        try:
            self.assertTrue(clients.execute(["sleep", "60"], None).late)
        finally:
            clients.TIMEOUT = limit

    def test_frames_of_a_raw_file(self):
        with tempfile.NamedTemporaryFile() as raw:
            raw.write(bytes(24) + bytes(24))
            raw.flush()
            said = ("videocodectestsink0.GstPad:sink: caps = video/x-raw, format=(string)I420, "
                    "width=(int)4, height=(int)4, x=1")
            done = clients.Run()
            clients.split(raw.name, said, "I420", done)
        self.assertEqual((len(done.frames), done.size, len(done.first)), (2, (4, 4), 24))
        self.assertEqual(done.frames[0], done.frames[1])
        self.assertEqual(clients.frame_size("I420_10LE", 3, 3), (9 + 8) * 2)
        self.assertEqual(clients.frame_size("Y42B", 4, 3), 24)

    def test_window(self):
        whole = bytes(range(48)) + bytes(24)  # 8x6
        part = bytes([10, 11, 12, 13, 18, 19, 20, 21]) + bytes(4)
        self.assertEqual(verdict.window(whole, 8, part, 4, 2), (2, 1))
        self.assertIsNone(verdict.window(whole, 8, bytes(8), 4, 2))

    def test_gst_subset(self):
        one = stream(raw_md5=BAD)

        def gst(have, want):
            client = Canned({"each": run(frames=have)}, {"each": run(md5="soft", frames=want)})
            return verdict.GstCompare(client, one, facts.CODECS["h264"], None)(run())
        self.assertTrue(gst(["a", "b"], ["a", "b", "c"]).same)
        self.assertFalse(gst(["a", "x"], ["a", "b", "c"]).same)
        self.assertFalse(gst([], ["a"]).same)


class Reports(unittest.TestCase):
    def test_results_add_up(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            for client in ("ffmpeg", "gst-va"):
                results = report.Results(path)
                results.add("software", client, stream(), Verdict("ok", "10 frames"))
                results.save()
            results = report.Results(path)
        self.assertEqual([key for key, _, _ in results.columns()],
                         ["software/ffmpeg", "software/gst-va"])

    def test_document_and_summary(self):
        results = report.Results()
        streams = [stream(), stream(file="b", profile="High 10", pix_fmt="yuv420p10le"),
                   stream(file="c", status="errors")]
        results.add("software", "ffmpeg", streams[0], Verdict("FAIL", "3 differ"))
        results.add("software", "ffmpeg", streams[1], Verdict("skip", "no profile"))
        results.add("software", "ffmpeg", streams[2], Verdict("ok", "survived"))
        text = document.write(streams, results, None)
        self.assertIn("| H.264 | High | yuv420p | 1 | 0/1 |", text)
        self.assertIn("- 3 differ: 1 (`a.264`)", text)
        self.assertIn("- no profile: 1 (`b`)", text)
        table = report.fluster(streams, results, {"h264/a.264": True})
        self.assertIn("|H.264 maker/set|1/1|0/1|", table)
        self.assertIn("|TOTAL|1/1|0/1|", table)

    def test_suites(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.264")
            with open(path, "wb") as out:
                out.write(b"x")
            streams = [stream(path=path), stream(path=path, pix_fmt="yuvj420p"),
                       stream(path=path, cap=3)]
            self.assertEqual(report.write_suites(streams, folder), (1, 1, 2))
            with open(os.path.join(folder, "H.264-maker-set.json"), encoding="utf-8") as text:
                suite = json.load(text)
        self.assertEqual(suite["codec"], "H.264")
        self.assertEqual(suite["test_vectors"][0]["result"], GOOD)


if __name__ == "__main__":
    sys.exit(0 if unittest.main(exit=False).result.wasSuccessful() else 1)
