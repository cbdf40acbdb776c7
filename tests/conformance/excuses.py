# SPDX-License-Identifier: MIT
"""Faults of the clients themselves, on any driver: each is looked for in the stream at hand."""
import json
import re
import subprocess
import tempfile


def output(*command):
    """What a program wrote to standard output, as bytes."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False).stdout


def header_fields(path, names):
    """(name, value) of each header field with one of these names, in the stream's order."""
    # trace_headers speaks on standard error, and of each bit: a file, since it may be long.
    line = re.compile(r"\] \d+ +(\w+)(?:\[[\d\]\[]*)? +[01]* = (-?\d+)$")
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        subprocess.run(["ffmpeg", "-nostdin", "-hide_banner", "-i", path, "-map", "0:v:0", "-c",
                        "copy", "-bsf:v", "trace_headers", "-f", "null", "-"],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
                       check=False)
        said.seek(0)
        for text in said:
            found = line.search(text.rstrip())
            if found and found.group(1) in names:
                yield found.group(1), int(found.group(2))


def keeps_segmentation_data(path):
    """AV1: a frame has a new map of segments, and their data from an earlier frame."""
    new_map = False
    for name, value in header_fields(path, ("segmentation_update_map",
                                            "segmentation_update_data")):
        if name == "segmentation_update_map":
            new_map = bool(value)
        elif new_map and not value:
            return True
    return False


def changes_profile(path):
    """AV1: the file's header and the stream have sequence headers of different profiles."""
    return len({value for _, value in header_fields(path, ("seq_profile",))}) > 1


def shows_layers(path):
    """AV1: frames of more than one spatial layer are shown."""
    layer, shown = 0, set()
    for name, value in header_fields(path, ("obu_type", "spatial_id", "show_frame")):
        if name == "show_frame":
            shown |= {layer} if value else set()
        else:
            layer = value if name == "spatial_id" else 0
    return len(shown) > 1


def many_memory_operations(path):
    """H.264: a slice with more memory_management_control_operation than ten, and the end (0)."""
    count = 0
    for name, value in header_fields(path, ("slice_type", "memory_management_control_operation")):
        count = count + 1 if name != "slice_type" and value else 0
        if count > 10:
            return True
    return False


def jpeg_markers(path):
    """Markers of the first picture in front of its scan (B.1.1)."""
    data = output("ffmpeg", "-nostdin", "-v", "error", "-i", path, "-map", "0:v:0", "-c", "copy",
                  "-frames:v", "1", "-f", "mjpeg", "-")
    at = 2
    while at + 4 <= len(data) and data[at] == 0xff and data[at + 1] != 0xda:
        if data[at + 1] == 0xff:
            at += 1
            continue
        yield data[at + 1]
        at += 2 + int.from_bytes(data[at + 2:at + 4], "big")


def tables_after_frame(path):
    """JPEG: quantisation tables come after the frame header, which B.2.1 allows."""
    markers = bytes(jpeg_markers(path))
    return 0xdb in markers[markers.find(0xc0) + 1:] and 0xc0 in markers


def restarts(path):
    """JPEG: there is a restart interval."""
    return 0xdd in jpeg_markers(path)


def hevc_units(path):
    """(type, layer) of each NAL unit of an HEVC stream."""
    data = output("ffmpeg", "-nostdin", "-v", "error", "-i", path, "-map", "0:v:0", "-c", "copy",
                  "-f", "hevc", "-")
    for start in re.finditer(b"\x00\x00\x01(..)", data, re.S):
        head = int.from_bytes(start.group(1), "big")
        yield head >> 9 & 0x3f, head >> 3 & 0x3f


def unspecified_units(path):
    """HEVC: NAL units of types that the standard leaves to others, as Dolby Vision has them."""
    return any(kind >= 48 for kind, _ in hevc_units(path))


def upper_layers(path):
    """HEVC: slices with a nuh_layer_id above 0, which decoders of Main ignore."""
    return any(kind < 32 and layer for kind, layer in hevc_units(path))


def grows(path):
    """A frame is larger than the first one."""
    said = output("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
                  "frame=width,height", "-of", "json", path)
    sizes = [(f.get("width", 0), f.get("height", 0))
             for f in json.loads(said or "{}").get("frames", [])]
    return any(w > sizes[0][0] or h > sizes[0][1] for w, h in sizes)


MARKINGS = "GStreamer's H.264 parser has no room for more than 10 memory operations of a slice"
ANOTHER_PROFILE = ("the frames have another AV1 profile, and format, than the file's header says: there "
                   "is nothing to compare them with")
STUMBLES = "gstreamer-vaapi takes NAL units of unspecified types for errors, and stumbles over them"

# Client, codec, what the stream must have, and what the client then does wrong.
KNOWN = (
    ("ffmpeg", "av1", grows,
     "FFmpeg keeps surfaces of the first size where frames of AV1 grow without a sequence header"),
    ("ffmpeg", "vp8", grows, "FFmpeg keeps surfaces of the first size where key frames of VP8 grow"),
    # gst_av1_parse_segmentation_params: the copy of the earlier data takes update_map along.
    ("gst-va", "h264", many_memory_operations, MARKINGS),
    ("gst-vaapi", "h264", many_memory_operations, MARKINGS),
    ("gst-va", "av1", keeps_segmentation_data,
     "GStreamer's AV1 parser loses segmentation_update_map where segments keep their data"),
    ("gst-vaapi", "av1", keeps_segmentation_data,
     "GStreamer's AV1 parser loses segmentation_update_map where segments keep their data"),
    ("gst-va", "av1", changes_profile, ANOTHER_PROFILE),
    ("gst-vaapi", "av1", changes_profile, ANOTHER_PROFILE),
    ("gst-vaapi", "av1", shows_layers, "gstreamer-vaapi shows each spatial layer of AV1"),
    ("gst-va", "mjpeg", restarts, "GStreamer's JPEG decoder class stops at the marker DRI"),
    # It fills the tables in when it meets SOF, and takes those of annex K.
    ("gst-vaapi", "mjpeg", tables_after_frame,
     "gstreamer-vaapi ignores quantisation tables after the frame header"),
    ("gst-vaapi", "hevc", unspecified_units, STUMBLES),
    ("gst-va", "hevc", upper_layers,
     "GStreamer takes HEVC layers above 0 for pictures of their own"),
    ("gst-vaapi", "hevc", upper_layers,
     "GStreamer takes HEVC layers above 0 for pictures of their own"),
)


def find(client, stream):
    """Why this client cannot show this stream, whatever the driver; None if nothing is known."""
    for of_client, of_codec, has, why in KNOWN:
        if of_client == client and of_codec == stream.codec and has(stream.path):
            return why
    return None
