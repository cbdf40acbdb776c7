# SPDX-License-Identifier: MIT
"""Decides what a run proves."""
import dataclasses
import re

import clients
import excuses
import facts

# Full range stays full range: without this a conversion from yuvj420p also scales the values.
KEEP_RANGE = "scale=in_range=pc:out_range=pc"
# md5 of no frame at all.
NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
# Frames of a stream that should not come to the bridge.
PROBE = 5
# FFmpeg takes 4:4:4 surfaces for RGB JPEGs; their planes are R, G, B, those of gbrp G, B, R.
PLANES = {("gbrp", "yuv444p"): "shuffleplanes=2:0:1:0"}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`ok`: equal and decoded by the bridge, or survived; `skip`: not the bridge's business, and
    it was not asked; `FAIL`. `odd` is what somebody should look at although it is no failure."""
    kind: str
    why: str = ""
    odd: bool = False


@dataclasses.dataclass
class Comparison:
    """Whether frames are those of the software decoder."""
    same: bool
    frames: int = 0
    why: str = ""
    no_reference: bool = False  # the client's own software shows nothing: `why`


def robust(run):
    """What must hold of every stream, broken ones too; None if it does."""
    if run.late:
        return "no end in time"
    if run.counters is None:
        return f"no counters: {run.tail}"
    if int(run.counters.get("workers_died", 0)):
        return f"a worker died: {run.tail}"
    if run.code < 0 or run.code > 128:
        return f"the program ended with {run.code}: {run.tail}"
    return None


# Aborts of the clients themselves, on any driver; and what the stream must have to provoke it.
OWN_FAULTS = (
    (r"Assertion .* src/libavcodec/mjpegdec\.c",
     "FFmpeg itself aborts on this sampling when it decodes through VA-API", None),
    (r"gst_va_base_dec_process_output: assertion failed",
     "GStreamer itself aborts where the size changes between key frames", None),
    (r"is_surface_resolution_changed: assertion 'surface != NULL' failed",
     excuses.STUMBLES, excuses.unspecified_units),
)


# A decoder of GStreamer was not asked: its caps do not have what the parser says of the stream.
UNLINKED = re.compile(r"reason not-(linked|negotiated)|could not link|Delayed linking failed")


def own_fault(stream, run):
    """The client's own fault that ended it, or None."""
    if int((run.counters or {}).get("workers_died", 0)) or not (run.counters or run.late):
        return None
    for pattern, why, has in OWN_FAULTS:
        if (run.late or run.code) and re.search(pattern, run.said):
            return why if not has or has(stream.path) else None
    return None


def judge(stream, hidden, reason, run, compare):
    """The verdict on a run; `compare` is only called where the frames matter."""
    fault = own_fault(stream, run)
    if fault:
        return Verdict("skip", fault)
    trouble = robust(run)
    if trouble:
        return Verdict("FAIL", trouble)
    if stream.status != "clean":
        return Verdict("ok", "survived")
    if reason:
        return judge_skipped(reason, run, compare)
    seen = compare(run)
    if seen.no_reference:
        return Verdict("skip", seen.why)
    if not seen.same:
        return Verdict("FAIL", f"{seen.why} (the bridge decoded {run.decoded}): {run.tail}")
    # Repeated frames (show_existing_frame) are none for the bridge.
    need = (seen.frames + 1) // 2 if hidden else seen.frames
    if not run.decoded or run.decoded < need:
        return Verdict("FAIL", f"equal, but the bridge decoded {run.decoded} of {seen.frames} "
                               f"pictures: {run.tail}")
    return Verdict("ok", seen.why or f"{seen.frames} frames")


def judge_skipped(reason, run, compare):
    """A stream that should not come to the bridge at all."""
    if not run.decoded:
        # The program's own software must still show the right frames, if it has any.
        seen = compare(run) if run.md5 and not run.code else None
        if seen and not seen.same:
            return Verdict("FAIL", f"not by the bridge, yet {seen.why}: {run.tail}")
        return Verdict("skip", reason)
    if run.code and run.md5 in ("", NOTHING):
        return Verdict("skip", f"{reason}; refused with an error")
    seen = compare(run)
    if seen.same:
        return Verdict("ok", f"decodes after all, although: {reason}", odd=True)
    return Verdict("FAIL", f"decoded {run.decoded} and {seen.why}, although: {reason}")


def differing(have, want):
    bad = sum(1 for a, b in zip(have, want) if a != b)
    return f"{len(have)} frames for {len(want)}, {bad} differ"


class FfmpegCompare:
    """Compares a run of ffmpeg with ffmpeg's software decoder."""

    def __init__(self, client, stream, codec, bridge):
        self.client, self.stream, self.codec, self.bridge = client, stream, codec, bridge

    def native(self, **options):
        return self.client.software(self.stream, self.codec, **options)

    def again(self, **options):
        return self.client.decode(self.stream, self.codec, self.bridge, **options)

    def __call__(self, run):
        stream = self.stream
        known = stream.raw_md5
        frames = min(stream.frames, stream.cap) if stream.cap else stream.frames
        own = stream.pix_fmt
        if not known:
            native = self.native(each=True)
            own, frames = native.pix_fmt, len(native.frames)
            known = self.native().md5
        if not known:
            return Comparison(False, 0, "ffmpeg in software decodes nothing")
        if run.md5 == known:
            return Comparison(True, frames)
        note = ""
        if run.pix_fmt and facts.plain(run.pix_fmt) != facts.plain(own):
            note, same = self.converted(run, own, known)
            if same:
                return Comparison(True, frames, f"{frames} frames, {note}")
        return self.in_detail(frames, own, run.pix_fmt, note)

    def converted(self, run, own, known):
        """Surfaces have another format than the software decoder's frames."""
        to = f"{KEEP_RANGE},format={run.pix_fmt}"
        planes = PLANES.get((own, run.pix_fmt))
        if planes:
            return f"as planes of {run.pix_fmt}", self.native(filters=planes).md5 == run.md5
        native = self.native(filters=to)
        if native.md5:
            back = self.native(filters=f"{to},{KEEP_RANGE},format={facts.plain(own)}")
            note = f"as {run.pix_fmt}" + ("" if back.md5 == known else ", which loses something")
            return note, native.md5 == run.md5
        # Formats that libswscale reads but does not write.
        back = self.again(filters=f"{KEEP_RANGE},format={facts.plain(own)}")
        return f"from {run.pix_fmt}", back.md5 == known

    def in_detail(self, frames, own, pix_fmt, note):
        """What differs; and whole coded frames, since hwdownload cannot crop left and top."""
        filters = ""
        if pix_fmt and facts.plain(pix_fmt) != facts.plain(own):
            filters = f"{KEEP_RANGE},format={pix_fmt}"
        have, want = self.again(uncropped=True), self.native(uncropped=True, filters=filters)
        if want.md5 and have.md5 == want.md5:
            return Comparison(True, frames, f"{frames} frames, uncropped")
        have, want = self.again(each=True), self.native(each=True, filters=filters)
        if want.frames and have.frames == want.frames:
            return Comparison(True, len(want.frames), f"{len(want.frames)} frames")
        if self.codec and self.codec.idct:
            other = self.native(each=True, filters=filters, extra=self.codec.idct)
            if other.frames and have.frames == other.frames:
                return Comparison(True, len(other.frames), f"{len(other.frames)} frames, with "
                                                           f"{' '.join(self.codec.idct)}")
        return Comparison(False, len(want.frames),
                          differing(have.frames, want.frames) + (f" {note}" if note else ""))


def window(whole, whole_width, part, width, height):
    """Where the luma of `part` lies in that of `whole` (8 bit): (x, y) or None."""
    rows = len(whole) * 2 // 3 // whole_width if whole_width else 0
    for y in range(rows - height + 1):
        x = whole[y * whole_width:(y + 1) * whole_width].find(part[:width])
        if x >= 0 and all(whole[(y + i) * whole_width + x:][:width] == part[i * width:][:width]
                          for i in range(height)):
            return x, y
    return None


class GstCompare:
    """Compares a pipeline with FFmpeg's frames, or else with GStreamer's software decoder.

    GStreamer's own code decides which frames are shown, and cuts and counts streams otherwise than
    FFmpeg does: a stream whose frames are all among those of the software pipeline is right.
    """

    def __init__(self, client, stream, codec, bridge):
        self.client, self.stream, self.codec, self.bridge = client, stream, codec, bridge

    def __call__(self, run):
        stream = self.stream
        if run.md5 and run.md5 == stream.raw_md5 and not stream.cap:
            return Comparison(True, stream.frames)
        soft = self.client.software(stream, self.codec, each=True)
        if not soft.md5:
            # No such element, or its own trouble: FFmpeg's frames have to do.
            soft = clients.Ffmpeg().software(stream, self.codec, each=True, cap=False)
            soft.md5 = soft.md5 or (soft.frames and "frames")
        if not soft.md5:
            return Comparison(False, 0, "no software decoder shows anything", True)
        if run.md5 == soft.md5:
            return Comparison(True, len(soft.frames), f"{len(soft.frames)} frames, "
                                                      f"as {self.codec.software}")
        have = self.client.decode(stream, self.codec, self.bridge, each=True)
        if have.frames and have.frames == soft.frames:
            return Comparison(True, len(have.frames), f"{len(have.frames)} frames")
        if have.frames and set(have.frames) <= set(soft.frames):
            return Comparison(True, min(len(have.frames), len(soft.frames)),
                              f"{len(have.frames)} of {len(soft.frames)} frames shown, all equal")
        cut = self.cut_otherwise(have)
        if cut:
            return Comparison(True, len(have.frames), f"{len(have.frames)} frames, {cut}")
        return Comparison(False, len(soft.frames), differing(have.frames, soft.frames))


    def cut_otherwise(self, have):
        """FFmpeg rounds what is cropped at the left, and clients ignore it or the container."""
        if facts.plain(self.stream.pix_fmt) not in ("", "yuv420p") or not have.size or not have.md5:
            return None
        native = clients.Ffmpeg()
        whole = native.decode(self.stream, self.codec, None, uncropped=True, cap=False)
        place = whole.size and window(native.first_frame(self.stream), whole.size[0], have.first,
                                      *have.size)
        if not place:
            return None
        crop = f"crop={have.size[0]}:{have.size[1]}:{place[0]}:{place[1]}:exact=1"
        same = native.decode(self.stream, self.codec, None, uncropped=True, filters=crop,
                             cap=False).md5
        return f"cut to {have.size[0]}x{have.size[1]}+{place[0]}+{place[1]}" if (
            same == have.md5) else None


def check(stream, client, bridge):
    """Runs one stream through one client."""
    codec = facts.CODECS.get(stream.codec)
    compare = GstCompare if hasattr(client, "plugin") else FfmpegCompare
    missing = client.missing(stream, codec)
    if missing and compare is GstCompare:
        # The elements would not link: nothing to be seen.
        return Verdict("skip", missing)
    if missing and stream.status == "clean":
        # A look at the start is enough to see who decodes.
        stream = dataclasses.replace(stream, cap=PROBE, raw_md5="")
    run = client.decode(stream, codec, bridge)
    if compare is GstCompare and not run.decoded and UNLINKED.search(run.said):
        trouble = robust(run)
        return Verdict("FAIL", trouble) if trouble else Verdict(
            "skip", f"{getattr(codec, client.plugin)} does not take {stream.profile or 'its'} caps")
    if compare is GstCompare and not run.decoded and stream.reason and not robust(run):
        return Verdict("skip", f"nor does {client.title} decode it; {stream.reason}")
    hidden = bool(codec and codec.hidden)
    said = judge(stream, hidden, missing, run, compare(client, stream, codec, bridge))
    if said.kind != "FAIL" or stream.status != "clean" or robust(run):
        return said
    # What the bridge was given may have been decoded; what is missing is not its fault.
    why = excuses.find(client.name, stream)
    return Verdict("skip", why) if why else said
