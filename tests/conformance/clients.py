# SPDX-License-Identifier: MIT
"""Programs that decode a stream, through the bridge or in software."""
import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
import tempfile

import facts

# Seconds for one stream: the longest of the corpus takes 10 on one busy core.
TIMEOUT = 180


@dataclasses.dataclass
class Run:
    """What a program did."""
    code: int = 0
    late: bool = False  # stopped after TIMEOUT seconds
    said: str = ""
    md5: str = ""  # of all raw frames
    frames: list = dataclasses.field(default_factory=list)  # md5 of each, where asked for
    pix_fmt: str = ""  # of the frames
    size: tuple = ()  # width and height, where they are the same for all frames
    first: bytes = b""  # the first frame, where each was asked for
    counters: dict = None  # the service's; None: there are none

    @property
    def decoded(self):
        count = self.counters or {}
        return int(count.get("decoded", 0)) + int(count.get("concealed", 0))

    @property
    def tail(self):
        lines = [line for line in self.said.splitlines() if line.strip()]
        errors = [line for line in lines if "rror" in line or "Failed" in line]
        return ((errors or lines)[-1] if lines else "").strip()[:160]


class Bridge:
    """How commands are run under `viaduct exec`."""

    def __init__(self, viaduct, threads="", surface_format="", backend="", chain=""):
        self.prefix = [viaduct, "exec", "--private"]
        for option, value in (("--threads", threads), ("--surface-format", surface_format),
                              ("--backend", backend)):
            if value:
                self.prefix += [option, value]
        # A service in front, which finds its VA-API driver and host in the outer environment.
        self.front = [viaduct, "exec", "--backend", chain] if chain else []
        if chain and surface_format:
            self.front += ["--surface-format", surface_format]

    def command(self, stats):
        if not self.front:
            return self.prefix + ["--stats", stats, "--"]
        return (self.prefix + ["--stats", stats + ".behind", "--"] +
                self.front + ["--stats", stats, "--"])

    def counters(self, stats):
        """The service's; of two in a chain the lower, as both must have seen every picture."""
        found = read_counters(stats)
        behind = read_counters(stats + ".behind") if self.front else None
        if not self.front or not found or not behind:
            return found if not self.front else None
        for key in ("decoded", "concealed", "failed", "workers_died"):
            pick = max if key == "workers_died" else min
            found[key] = str(pick(int(found.get(key, 0)), int(behind.get(key, 0))))
        return found


def read_counters(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as text:
        return dict(line.strip().partition(" ")[::2] for line in text)


def execute(command, bridge, env=None):
    """Runs a command, under the bridge if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        stats = os.path.join(folder, "stats")
        prefix = bridge.command(stats) if bridge else []
        run = Run()
        # A run that is late must not leave its service behind: the whole group is ended.
        process = subprocess.Popen(prefix + command, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=dict(os.environ, **(env or {})), start_new_session=True)
        try:
            out, _ = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            run.late = True
            os.killpg(process.pid, 15)
            try:
                out, _ = process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                out, _ = process.communicate()
        run.said = out.decode(errors="replace")
        run.code = process.returncode
        if bridge:
            run.counters = bridge.counters(stats)
        return run


class Ffmpeg:
    """Stock ffmpeg. Frames are compared as the surfaces have them, without any conversion."""
    name = "ffmpeg"
    title = "FFmpeg"

    def prepare(self, bridge):
        """Nothing to find out: ffmpeg has all decoders."""

    def close(self):
        """Nothing to clean up."""

    def missing(self, stream, codec):
        """Why the client cannot decode this stream, whatever the host can do; or None."""
        del codec
        return stream.reason

    def decode(self, stream, codec, bridge, each=False, uncropped=False, filters="", cap=True,
               extra=()):
        """One pass: md5 of all frames, or of each frame."""
        command = ["ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-v", "info"]
        if bridge:
            accel = codec.accel if codec else ()
            # Where there is no profile at all, another one would be none of the stream's.
            accel = () if accel == facts.MISMATCH and stream.reason else accel
            command += ["-hwaccel", "vaapi", *accel]
        else:
            command += ["-threads", "1", *(codec.decoder if codec else ()), *extra]
        command += ["-apply_cropping", "0"] if uncropped else []
        command += ["-noautorotate", "-i", stream.path, "-map", "0:v:0", "-fps_mode", "passthrough",
                    "-autoscale", "0"]
        command += ["-vf", filters] if filters else []
        command += ["-frames:v", str(stream.cap)] if cap and stream.cap else []
        command += ["-f", "framemd5" if each else "md5", "-"]
        run = execute(command, bridge)
        self.read(run)
        return run

    @staticmethod
    def read(run):
        """Takes hashes and the format of frames out of what ffmpeg said."""
        output = run.said.find("Output #0")
        found = re.search(r"rawvideo \([^)]*\), (\w+)", run.said[max(output, 0):])
        if not found:
            found = re.search(r"rawvideo, (\w+)", run.said[max(output, 0):])
        run.pix_fmt = found.group(1) if found else ""
        sums = re.findall(r"^MD5=([0-9a-f]{32})", run.said, re.M)
        run.md5 = sums[-1] if sums else ""
        sizes = set(re.findall(r"rawvideo.*?, (\d+)x(\d+)", run.said[max(output, 0):]))
        run.size = tuple(map(int, sizes.pop())) if len(sizes) == 1 else ()
        run.frames = re.findall(r"^0, .*, ([0-9a-f]{32})$", run.said, re.M)

    def software(self, stream, codec, **options):
        return self.decode(stream, codec, None, **options)

    @staticmethod
    def first_frame(stream):
        """The first frame's bytes, whole and not cropped."""
        with tempfile.TemporaryDirectory() as folder:
            raw = os.path.join(folder, "raw")
            execute(["ffmpeg", "-nostdin", "-v", "error", "-threads", "1", "-apply_cropping", "0",
                     "-noautorotate", "-i", stream.path, "-map", "0:v:0", "-frames:v", "1", "-f",
                     "rawvideo", raw], None)
            if not os.path.exists(raw):
                return b""
            with open(raw, "rb") as data:
                return data.read()


class Gst:
    """gst-launch-1.0 with the decoders of one plugin."""

    def __init__(self, plugin):
        self.plugin = plugin
        self.name = f"gst-{plugin}"
        self.title = {"va": "GStreamer va", "vaapi": "gstreamer-vaapi"}[plugin]
        # A registry of its own: the elements depend on the driver that is there.
        self.folder = tempfile.mkdtemp(prefix="viaduct-gst-")
        self.env = {"XDG_RUNTIME_DIR": self.folder,
                    "GST_REGISTRY": os.path.join(self.folder, "registry")}
        self.plain_env = dict(self.env, GST_REGISTRY=os.path.join(self.folder, "plain"))
        self.elements = set()

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self, bridge):
        """Finds out which elements are there with this driver."""
        run = execute(["gst-inspect-1.0"], bridge, self.env)
        self.elements = set(re.findall(r"^\w+:  ([\w-]+):", run.said, re.M))
        execute(["gst-inspect-1.0"], None, self.plain_env)

    def missing(self, stream, codec):
        element = codec and getattr(codec, self.plugin)
        if not element:
            return f"{self.title} has no decoder for {stream.codec or 'it'}"
        if element not in self.elements:
            return f"{element} is not there"
        if codec.parser and codec.parser not in self.elements:
            return f"{codec.parser} is not there"
        if stream.path.endswith(".avif"):
            return "GStreamer has no demuxer for AVIF"
        if stream.pix_fmt and facts.plain(stream.pix_fmt) not in facts.GST_FORMATS:
            return f"videocodectestsink takes no {stream.pix_fmt}"
        cannot = facts.gst_cannot(self.plugin, stream.codec, stream.path, stream.profile,
                                  stream.features)
        if cannot:
            return cannot
        if stream.reason and "FFmpeg" not in stream.reason:
            return stream.reason
        return None

    def decode(self, stream, codec, bridge, each=False, **_):
        element = getattr(codec, self.plugin) if bridge else codec.software
        form = facts.GST_FORMATS.get(facts.plain(stream.pix_fmt), "I420")
        with tempfile.TemporaryDirectory() as folder:
            raw = os.path.join(folder, "raw")
            command = ["gst-launch-1.0", "-m", *(["-v"] if each else []), "filesrc", f"location={stream.path}", "!",
                       "parsebin", "!", *([codec.parser, "!"] if codec.parser else []), element,
                       "!", "videoconvert", "dither=none", "!", f"video/x-raw,format={form}", "!",
                       "videocodectestsink"]
            command += [f"location={raw}"] if each else []
            run = execute(command, bridge, self.env if bridge else self.plain_env)
            found = re.search(r"checksum=\(string\)(\w+)", run.said)
            run.md5 = found.group(1).lower() if found else ""
            run.pix_fmt = facts.plain(stream.pix_fmt)
            if each and os.path.exists(raw):
                split(raw, run.said, form, run)
        return run

    def software(self, stream, codec, **options):
        return self.decode(stream, codec, None, **options)


# Bytes a sample, and how much smaller chroma is, by GStreamer's format names.
CHROMA = {"I420": (2, 2), "I422": (2, 1), "Y42B": (2, 1), "Y444": (1, 1)}


def frame_size(form, width, height):
    name, _, depth = form.partition("_")
    across, down = CHROMA[name]
    chroma = -(-width // across) * -(-height // down)
    return (width * height + 2 * chroma) * (2 if depth else 1)


def split(path, said, form, run):
    """md5 of each frame of a raw file; of the whole file where the size changes."""
    sizes = set(re.findall(r"codectestsink0.GstPad:sink: caps = video/x-raw.*? width=\(int\)(\d+), "
                           r"height=\(int\)(\d+)", said))
    size = os.path.getsize(path)
    if len(sizes) == 1:
        width, height = map(int, next(iter(sizes)))
        size = frame_size(form, width, height)
        run.size = (width, height)
    with open(path, "rb") as raw:
        while frame := raw.read(max(size, 1)):
            run.first = run.first or frame
            run.frames.append(hashlib.md5(frame).hexdigest())


def clients(names):
    made = []
    for name in names.split(","):
        if name == "ffmpeg":
            made.append(Ffmpeg())
        elif name in ("gst-va", "gst-vaapi"):
            made.append(Gst(name[4:]))
        elif name == "gst":
            made += [Gst("va"), Gst("vaapi")]
        else:
            raise ValueError(f"unknown client {name}; one of ffmpeg, gst, gst-va, gst-vaapi")
    return made
