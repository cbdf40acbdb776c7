# SPDX-License-Identifier: MIT
"""The corpus: a folder of streams with a manifest.tsv (docs/TESTING.md)."""
import csv
import dataclasses
import os

import facts

HERE = os.path.dirname(os.path.abspath(__file__))


class BadManifest(Exception):
    """What is wrong with a manifest."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """A row of the manifest, or a file of the command line."""
    path: str
    file: str = ""
    codec: str = ""
    profile: str = ""
    pix_fmt: str = ""
    status: str = "clean"
    frames: int = 0
    cap: int = 0  # compare so many frames, 0: all
    raw_md5: str = ""  # of all frames in `pix_fmt`, or of the first `cap`; "" if not known
    sha256: str = ""
    sizes: int = 1
    source: str = ""
    category: str = ""
    features: str = ""

    @property
    def reason(self):
        """Why VA-API cannot decode it, or None."""
        return facts.reason(self.codec, self.profile, self.pix_fmt, self.features)

    @property
    def suite(self):
        codec = facts.CODECS.get(self.codec)
        return f"{codec.title if codec else 'none'} {self.source or self.category or 'files'}"


COLUMNS = ("file", "codec", "profile", "pix_fmt", "capped", "status")


def number(row, column):
    text = (row.get(column) or "0").removeprefix("cap")
    if not text.isdigit():
        raise BadManifest(f"{row['file']}: {column} is {text!r}, not a number")
    return int(text)


def parse(lines, folder):
    """Streams of a manifest's lines."""
    table = csv.DictReader(lines, delimiter="\t")
    missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
    if missing:
        raise BadManifest(f"no column {', '.join(missing)}")
    found = []
    for row in table:
        if None in row or None in row.values():
            raise BadManifest(f"{row.get('file')}: {len(table.fieldnames)} columns expected")
        found.append(Stream(
            path=os.path.join(folder, row["file"]), file=row["file"], codec=row["codec"],
            profile=row["profile"], pix_fmt=row["pix_fmt"], status=row["status"],
            frames=number(row, "frames"), cap=number(row, "capped"),
            raw_md5=row.get("raw_md5") or "", sha256=row.get("sha256") or "",
            sizes=number(row, "n_frame_sizes"), source=row.get("source") or "",
            category=row.get("category") or "", features=row.get("features") or ""))
    return found


def find(named=None):
    """The folder of the corpus, or None."""
    places = (named, os.environ.get("VIADUCT_CORPUS"), os.path.join(HERE, "../../../shared/corpus"))
    for place in places:
        if place and os.path.isfile(os.path.join(place, "manifest.tsv")):
            return os.path.abspath(place)
    return None


def load(folder):
    with open(os.path.join(folder, "manifest.tsv"), encoding="utf-8", newline="") as lines:
        return parse(lines, folder)


def select(streams, codec_names, statuses, every=1):
    codecs = facts.wanted(codec_names)
    chosen = [s for s in streams if s.codec in codecs and s.status in statuses.split(",")]
    return chosen[::every]
